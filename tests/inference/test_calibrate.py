"""Temperatures, sets of answers and lines between people: from labels of any grain to a card, and from the card to answers."""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from polyface import cli, datasets, tasks
from polyface.datasets.base import Dataset, Listing, Meaning, Record
from polyface.datasets.retold import coarse_tasks
from polyface.errors import InputError, RequestError
from polyface.images import align
from polyface.images.read import Root, Source, open_root
from polyface.inference import calibrate as calibration
from polyface.inference import calibrate_answers as answers
from polyface.inference import calibrate_pairs as pairs
from polyface.inference import card as cards
from polyface.inference import engine as engines
from polyface.inference.analyze import answer_of, in_words
from polyface.inference.drift import Drift
from polyface.labels import People, Ranges, TraitNames, same_words, words
from polyface.synth.write import write
from polyface.tasks import scoring
from polyface.tasks.derive import Derived
from polyface.tasks.kinds import Task, softmax

HEAT = 2.0
"""The networks here are too sure: their logits are twice what their knowledge allows."""
CROP = align.Crop()
FACE = np.array([[1.0, 0, 0], [0, 1, 0]])


def rows(task: Task, meaning: Meaning, number: int, seed: int, name: str = "set", split: str = "validation", spread: float = 2.0) -> answers.Rows:
    """Truths drawn from the very probabilities of HEATed logits, and told in a set's words."""
    random = np.random.default_rng(seed)
    size = task.shape(64)[0]
    if isinstance(task, tasks.Scale):
        centres = random.uniform(15, 70, (number, 1))
        logits = -(((np.arange(size) - centres) / random.uniform(4, 12, (number, 1))) ** 2) / 2
    else:
        logits = random.normal(0, spread, (number, size))
    if isinstance(task, tasks.Traits):
        labels = [dict(zip(task.vocabulary, row, strict=True)) for row in random.random((number, size)) < 1 / (1 + np.exp(-logits))]
    else:
        truth = (softmax(logits).cumsum(1) < random.random((number, 1))).sum(1)
        labels = [_told(task, meaning, int(answer)) for answer in truth]
    truths = np.stack([scoring.truth_of(task, meaning, label, (64, 64)) for label in labels])
    records = tuple(Record(f"{name}{at}", Source(open_root(Path(".")), "x"), {}, groups={"light": "dark" if at % 3 else "bright"}) for at in range(number))
    return answers.Rows(name, split, meaning, (logits * HEAT).astype(np.float32), truths, records, np.full(number, 90.0))  # type: ignore[arg-type]


def _told(task: Task, meaning: Meaning, answer: int) -> object:
    if isinstance(task, tasks.Scale):
        assert isinstance(meaning, Ranges)
        return next((word for word, (low, high) in meaning.meanings.items() if low <= answer <= high), answer)
    return next(name for name, possible in zip(meaning.names, meaning.table, strict=True) if possible[answer])  # type: ignore[union-attr]


ASIAN = words(tasks.race.vocabulary, {word: word for word in tasks.race.vocabulary if "Asian" not in word} | {"Asian": ("East Asian", "Southeast Asian")})
DECADES = Ranges({f"{low}s": (low, min(low + 9, tasks.age.top)) for low in range(0, tasks.age.top, 10)})
MEANINGS = [
    pytest.param(tasks.race, [same_words(tasks.race.vocabulary), ASIAN], id="race"),
    pytest.param(tasks.age, [Ranges(), DECADES], id="age"),
]


@pytest.mark.parametrize(("task", "meanings"), MEANINGS)
def test_the_temperature_is_found_and_sets_hold_the_truth_nine_times_in_ten(task: Task, meanings: list[Meaning]) -> None:
    said = answers.fit_answers(task, [rows(task, meaning, 3000, seed) for seed, meaning in enumerate(meanings)])
    assert said.temperature == pytest.approx(HEAT, rel=0.06)
    exact = answers.measure_answers(task, said, rows(task, meanings[0], 4000, 10, "exact", "test"), "model.onnx")[0]
    assert exact.coverage == pytest.approx(0.9, abs=0.02)
    assert exact.several == 0
    assert exact.ece[1] < exact.ece[0] / 2 and exact.brier[1] < exact.brier[0]
    assert exact.ece_low <= exact.ece[1] <= exact.ece_high < exact.ece[0] and exact.brier_low < exact.brier[1] < exact.brier_high  # type: ignore[operator]
    vague = answers.measure_answers(task, said, rows(task, meanings[1], 4000, 11, "vague", "test"), "model.onnx")[0]
    assert vague.coverage is not None and vague.coverage >= 0.89 and vague.several is not None and vague.several > 0.1
    assert vague.ece[1] < vague.ece[0] / 2


def test_traits_have_a_temperature_and_no_set() -> None:
    meaning = TraitNames({name: name for name in tasks.attributes.vocabulary})
    said = answers.fit_answers(tasks.attributes, [rows(tasks.attributes, meaning, 300, 0)])
    assert said.temperature == pytest.approx(HEAT, rel=0.06)
    assert said.level is said.coverage is None
    measured = answers.measure_answers(tasks.attributes, said, rows(tasks.attributes, meaning, 300, 1, split="test"), "model.onnx")[0]
    assert measured.ece[1] < measured.ece[0] and measured.coverage is None and not measured.worst
    assert measured.ece_low <= measured.ece[1] <= measured.ece_high and measured.brier_low < measured.brier[1] < measured.brier_high  # type: ignore[operator]


def test_a_trait_nobody_told_counts_for_nothing() -> None:
    meaning = TraitNames({name: name for name in tasks.attributes.vocabulary})
    whole = rows(tasks.attributes, meaning, 300, 0)
    half = whole.truth.copy()
    half[:, ::2] = -1
    flipped = whole.logits.copy()
    flipped[:, ::2] *= -9
    told = [answers.Rows(whole.dataset, whole.split, meaning, logits, half, whole.records, whole.eyes) for logits in (whole.logits, flipped)]
    assert answers.fit_answers(tasks.attributes, [told[0]]).temperature == answers.fit_answers(tasks.attributes, [told[1]]).temperature


def test_a_set_that_knows_three_traits_does_not_outvote_one_that_knows_forty() -> None:
    meaning = TraitNames({name: name for name in tasks.attributes.vocabulary})
    whole, other = rows(tasks.attributes, meaning, 300, 0), rows(tasks.attributes, meaning, 300, 1)
    three = np.where(np.arange(40) < 3, other.truth, -1).astype(np.int8)
    surer = answers.Rows("three", "validation", meaning, other.logits / 8, three, other.records, other.eyes)  # of which an eighth of the temperature would be right
    assert answers.fit_answers(tasks.attributes, [surer]).temperature == pytest.approx(HEAT / 8, rel=0.2)
    assert answers.fit_answers(tasks.attributes, [whole, surer]).temperature == pytest.approx(HEAT, rel=0.1)


def test_a_word_the_set_lacks_is_still_an_answer() -> None:
    without = words(tasks.expression.vocabulary, {word: word for word in tasks.expression.vocabulary if word != "contempt"})
    logits = np.zeros((300, 8), np.float32)
    logits[:, tasks.expression.vocabulary.index("contempt")] = 5  # what the network sees, and the set has no word for
    told = rows(tasks.gender, same_words(tasks.gender.vocabulary), 300, 0)
    seen = answers.Rows("set", "test", without, logits, np.zeros(300, np.int64), told.records, told.eyes)
    measured = answers.measure_answers(tasks.expression, cards.AnswerCalibration(level=0.5), seen, "model.onnx")[0]
    assert (measured.coverage, measured.size) == (0.0, 1.0)
    assert measured.ece[0] == pytest.approx(1 - 1 / 7)  # scores are within what the set can say: one seventh, and right each time, since ties go to the first


def test_the_worst_group_is_named_unless_it_is_too_small_to_say() -> None:
    task, meaning = tasks.gender, same_words(tasks.gender.vocabulary)
    seen = rows(task, meaning, 450, 0)
    logits = np.where(np.eye(2, dtype=bool)[seen.truth], 9.0, -9.0).astype(np.float32)
    bright = np.arange(450) % 3 == 0
    logits[bright & (np.arange(450) < 90)] *= -1  # 30 of the 150 bright ones
    found = answers.Rows("set", "test", meaning, logits, seen.truth, seen.records, seen.eyes)
    measured = answers.measure_answers(task, cards.AnswerCalibration(level=0.0), found, "model.onnx")[0]
    assert (measured.worst, measured.worst_coverage, measured.worst_n) == ("light bright", pytest.approx(0.8), 150)
    few = answers.Rows("set", "test", meaning, logits[:90], seen.truth[:90], seen.records[:90], seen.eyes[:90])
    assert answers.measure_answers(task, cards.AnswerCalibration(level=0.0), few, "model.onnx")[0].worst == ""


def test_each_group_has_its_coverage_and_a_label_is_a_group_where_the_set_states_none() -> None:
    task, meaning = tasks.gender, same_words(tasks.gender.vocabulary)
    seen = rows(task, meaning, 300, 0)
    logits = np.where(np.eye(2, dtype=bool)[seen.truth], 9.0, -9.0).astype(np.float32)
    logits[:50] *= -1
    found = answers.Rows("set", "test", meaning, logits, seen.truth, seen.records, seen.eyes)
    _, held = answers.measure_answers(task, cards.AnswerCalibration(level=0.0), found, "model.onnx")
    bright, women = np.arange(300) % 3 == 0, seen.truth == meaning.names.index("female")
    assert (held["light"].each["bright"].value, held["light"].each["bright"].n) == (pytest.approx(np.mean(np.arange(300)[bright] >= 50)), 100)
    assert held["gender"].each["female"].value == pytest.approx(np.mean(np.arange(300)[women] >= 50))
    stating = tuple(Record(record.key, record.source, {}, groups={"gender": "not asked"}) for record in seen.records)
    of_them = answers.Rows("set", "test", meaning, logits, seen.truth, stating, seen.eyes)
    _, stated = answers.measure_answers(task, cards.AnswerCalibration(level=0.0), of_them, "model.onnx")
    assert list(stated) == ["gender"] and list(stated["gender"].each) == ["not asked"]


def test_answers_carry_what_the_card_says() -> None:
    said = cards.AnswerCalibration(temperature=2.0, level=0.7)
    race = np.log([0.5, 0.3, 0.1, 0.05, 0.03, 0.01, 0.01]).astype(np.float32) * 2
    answer = answer_of(tasks.race, race, FACE, (64, 64), said)
    assert list(answer) == ["answer", "set", "probabilities"]
    assert answer["set"] == ["White", "Black"] and answer["probabilities"]["White"] == pytest.approx(0.5, abs=1e-3)
    assert in_words(tasks.race, answer) == "White 50%, or Black"
    years = np.where(abs(np.arange(117) - 40) <= 10, 0.0, -40.0).astype(np.float32)
    answer = answer_of(tasks.age, years, FACE, (64, 64), said)
    assert answer == {"years": 40.0, "low": 33, "high": 47}  # of 21 equal years the middle 15 are the fewest with 70 %
    assert in_words(tasks.age, answer) == "40 years (33 to 47)"
    assert answer_of(tasks.attributes, np.full(40, 2.0), FACE, (64, 64), said)["Smiling"] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-4)


def test_an_uncalibrated_answer_is_what_it_was() -> None:
    assert answer_of(tasks.age, np.zeros(117), FACE, (64, 64)) == {"years": 58.0}
    assert list(answer_of(tasks.race, np.zeros(7), FACE, (64, 64))) == ["answer", "probabilities"]


# The same person?


@dataclass
class ByColour:
    """Who somebody is: the mean colour of the crop; everything else is flat."""

    tasks: tuple[Task, ...] = tasks.TASKS
    crop: align.Crop = CROP
    label: str = "colour@000000000000"

    def run(self, crops: np.ndarray, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        outputs = {task.name: np.zeros((len(crops), *task.shape(self.crop.size)), np.float32) for task in self.tasks if task.name in (names or ())}
        if "identity" in outputs:
            outputs["identity"][:, :3] = crops.mean((1, 2)) - 128 + 1e-3
        return outputs


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write("celeba", folder / "celeba", 36, 8, seed=2)
    write("utkface", folder / "utkface", 40, 1, seed=2)
    return folder


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn sets are small."""
    monkeypatch.setattr(calibration, "ENOUGH", 1)
    monkeypatch.setattr("polyface.metrics.thresholds.ENOUGH", 1)


def test_a_model_is_calibrated_from_files_to_card(drawn: Path, few: None, card: cards.Card) -> None:
    found = calibration.calibrate({"model.onnx": ByColour(), "model.int8.onnx": ByColour()}, drawn, ["celeba"])
    assert {"age", "gender", "race", "attributes"} <= set(found.calibration)
    assert not {"pose", "landmarks", "parsing"} & set(found.calibration)
    race = found.calibration["race"]
    assert isinstance(race, cards.AnswerCalibration)
    assert [part.dataset for part in race.fitted] == ["utkface"]
    assert [(part.dataset, part.split, part.network) for part in race.measured] == [("utkface", "test", "model.onnx"), ("utkface", "test", "model.int8.onnx")]
    assert any(note.startswith("expression: no data set") for note in found.notes)
    written = cards.with_calibration(card, found.calibration, found.thresholds)
    assert cards.card_of_json(cards.json_of_card(written), "card.json") == written
    assert len(found.answer_rows()) == sum(len(said.measured) for said in found.calibration.values() if isinstance(said, cards.AnswerCalibration))
    told = json.loads(found.to_json())
    assert told["calibration"]["race"]["of"] == "answers"
    assert [(part["dataset"], part["network"]) for part in told["coverage"] if part["task"] == "race"] == [("utkface", "model.onnx"), ("utkface", "model.int8.onnx")]
    assert all(part["groups"].keys() == {"age", "gender", "race"} for part in told["coverage"] if part["dataset"] == "utkface")


def test_nothing_is_fitted_on_a_near_copy_of_a_test_picture(drawn: Path, few: None, tmp_path: Path, find_faces: Callable[..., None]) -> None:
    shutil.copytree(drawn / "utkface", tmp_path / "utkface")
    root = datasets.find_root(tmp_path, "utkface")
    test = datasets.utkface.records(root, "test").records[0].source.read()
    picture = cv2.imdecode(np.frombuffer(test, np.uint8), cv2.IMREAD_COLOR)
    again = (cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes() for quality in range(40, 95))
    (tmp_path / "utkface" / "30_0_0_20170101000000000.jpg.chip.jpg").write_bytes(next(content for content in again if datasets.split_of(content) == "validation"))
    find_faces(tmp_path, "utkface")
    validation = len(datasets.utkface.records(datasets.find_root(tmp_path, "utkface"), "validation").records)
    found = calibration.calibrate({"model.onnx": ByColour()}, tmp_path, [])
    race = found.calibration["race"]
    assert isinstance(race, cards.AnswerCalibration)
    assert [part.n for part in race.fitted] == [validation - 1]
    assert all(part.n <= validation - 1 for size in race.sizes for part in size.fitted)
    assert f"utkface: 1 of {validation} pictures of validation left out, near-copy of a test picture" in found.notes


def test_a_task_made_of_ours_is_calibrated_on_sets_retold_in_it(drawn: Path, few: None) -> None:
    asian = ("East Asian", "Southeast Asian")
    made = {"origin": Derived(of="race", words={"Asian": asian, "other": tuple(word for word in tasks.race.vocabulary if word not in asian)})}
    network = ByColour(tasks=(coarse_tasks(made)[0].task,))
    found = calibration.calibrate({"model.onnx": network}, drawn, [], made=made)
    origin = found.calibration["origin"]
    assert isinstance(origin, cards.AnswerCalibration) and [part.dataset for part in origin.fitted] == ["utkface"]
    with pytest.raises(RequestError, match="nothing to calibrate on"):  # that it is a question of race nobody said
        calibration.calibrate({"model.onnx": network}, drawn, [])


def test_lines_are_drawn_on_people_who_taught_nothing(drawn: Path, few: None) -> None:
    said, lines, _ = pairs.calibrate_pairs(ByColour(), tasks.identity, drawn, ["celeba"], (("celeba", "validation"), ("celeba", "test"), ("celeba", "train")))
    assert [part.split for part in said.fitted] == ["validation", "test"]  # everybody of train was left out
    trained = {record.subject for record in datasets.celeba.records(datasets.find_root(drawn, "celeba"), "train").records}
    assert said.left_out == f"{len(trained)} people who are also in celeba"
    assert said.fitted[0].subjects and said.same_pairs and said.other_pairs
    assert lines and all(line.tar is not None for line in lines)
    assert said.told_apart is not None and 0 <= said.told_apart <= 1


def test_a_model_is_calibrated_on_the_sets_that_are_named_ones_own_too(drawn: Path, few: None, tmp_path: Path) -> None:
    shutil.copytree(drawn / "celeba", tmp_path / "data" / "mine")
    shutil.copytree(drawn / "utkface", tmp_path / "data" / "utkface")
    mine = tmp_path / "mine.py"
    mine.write_text('from dataclasses import replace\nfrom polyface.datasets import celeba\ndataset = replace(celeba, name="mine")\n')
    found = calibration.calibrate({"model.onnx": ByColour()}, tmp_path / "data", ["mine"], sets=[str(mine)])
    assert "race" not in found.calibration  # only UTKFace, which was not named, speaks of it
    gender, identity = found.calibration["gender"], found.calibration["identity"]
    assert isinstance(gender, cards.AnswerCalibration) and isinstance(identity, cards.PairCalibration)
    assert {part.dataset for part in (*gender.fitted, *gender.measured)} == {"mine"}
    assert [(part.dataset, part.split) for part in identity.fitted] == [("mine", "validation"), ("mine", "test")]


MOODS = """
from polyface.datasets.base import Dataset, Listing, Record
from polyface.images.read import Source
from polyface.labels import same_words
from polyface.tasks import expression


def list_records(root, split):
    return Listing(tuple(Record(name, Source(root, name), {"expression": "happy"}) for name in root.names() if name.startswith(split)))


dataset = Dataset("moods", "Moods", "private", "", {"expression": same_words(expression.vocabulary)}, ("train", "validation", "test"), list_records)
"""


def test_a_named_set_that_is_too_small_is_named_and_the_others_are_fitted(
    drawn: Path, tmp_path: Path, find_faces: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "ENOUGH", 3)
    shutil.copytree(drawn / "utkface", tmp_path / "utkface")
    (tmp_path / "moods").mkdir()
    for name in ("validation-1.png", "validation-2.png", "test-1.png"):
        cv2.imwrite(str(tmp_path / "moods" / name), np.random.default_rng(len(name)).integers(0, 256, (60, 60, 3), dtype=np.uint8))
    (tmp_path / "moods.py").write_text(MOODS)
    sets = [str(tmp_path / "moods.py"), "utkface"]
    find_faces(tmp_path, sets[0])
    found = calibration.calibrate({"model.onnx": ByColour()}, tmp_path, [], sets=sets)
    assert {"age", "gender", "race"} <= set(found.calibration) and "expression" not in found.calibration
    assert "expression: moods has 2 rows of validation, 3 are needed" in found.notes
    with pytest.raises(RequestError, match=r"moods scores none of gender; it answers expression$"):  # of that it never had any
        calibration.calibrate({"model.onnx": ByColour(tasks=(tasks.gender,))}, tmp_path, [], sets=sets)


def test_no_set_of_strangers_is_said(drawn: Path) -> None:
    with pytest.raises(RequestError, match="nobody to calibrate on; wanted are celeba_wild test"):
        pairs.calibrate_pairs(ByColour(), tasks.identity, drawn, [], (("celeba_wild", "test"),))
    with pytest.raises(RequestError, match="nobody to calibrate on; none of the named sets says who somebody is"):
        pairs.calibrate_pairs(ByColour(), tasks.identity, drawn, [], ())


def named_people(name: str, **people: Iterable[str]) -> Dataset:
    """people: of each split."""

    def list_records(root: Root, split: str) -> Listing:
        return Listing(tuple(Record(f"{person}.jpg", Source(root, "x"), {"identity": person}, subject=person) for person in people[split]))

    return Dataset(name, name, "", "", {"identity": People("")}, tuple(people), list_records)  # type: ignore[arg-type]


def test_a_namesake_in_a_set_that_taught_the_model_is_left_out_however_it_is_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        each.name: each for each in (named_people("pins", train=["Zoë Saldaña"], test=["Eva Green"]), named_people("lfw", test=["George W Bush"]), named_people("cfp"))
    }
    monkeypatch.setattr(datasets, "named", known.__getitem__)
    monkeypatch.setattr(datasets, "find_root", lambda data, name: open_root(tmp_path))
    notes: list[str] = []
    strangers = pairs._Strangers(tasks.identity, tmp_path, ["pins"], notes)
    admitted = [strangers.admit(known["cfp"], person) for person in ("zoe_saldana", "George_W._Bush", "Ada Lovelace", "eva_green")]
    assert admitted == [False, False, True, True] and not notes  # whom nobody taught is a stranger, in whatever set
    assert strangers.left_out() == "1 people who are also in pins, 1 people who are also in lfw"


def test_a_set_that_cannot_be_looked_into_is_noted(tmp_path: Path) -> None:
    notes: list[str] = []
    pairs._Strangers(tasks.identity, tmp_path, ["pins"], notes)
    assert [note.partition(" is not known")[0] for note in notes] == ["identity: whether somebody is also in pins", "identity: whether somebody is also in lfw"]


def test_too_few_people_give_no_line() -> None:
    random = np.random.default_rng(0)
    found = pairs.all_pairs(random.normal(0, 1, (12, 8)), np.repeat(np.arange(4), 3), np.zeros(12, int))
    with pytest.raises(InputError, match="too few people"):
        pairs.fit_pairs(found)


# The model directory and the command


def test_every_network_of_a_directory_is_measured(model: Path, card: cards.Card, write_network, drift: Drift) -> None:
    assert list(calibration.networks_of(model)) == ["model.onnx"]
    write_network(model / "model.onnx", card)
    write_network(model / "model.int8.onnx", card, drift=drift)
    assert list(calibration.networks_of(model)) == ["model.int8.onnx", "model.onnx"]  # the one that answers first: calibration is fitted to it
    with pytest.raises(RequestError, match="written into a model directory"):
        calibration.networks_of(model / "model.onnx")


def test_the_command_writes_the_card_and_prints_what_it_is_worth(model: Path, drawn: Path, few: None, capsys: pytest.CaptureFixture) -> None:
    before = engines.load(model).card
    assert before.calibration == {}
    assert cli.run(["calibrate", str(model), "--data", str(drawn)]) == 0
    output = capsys.readouterr()
    assert "coverage" in output.out and "utkface" in output.out and "identity: " in output.err  # everybody looks the same to this network
    after = engines.load(model).card
    assert set(after.calibration) >= {"age", "gender", "race", "attributes"}
    assert "By pixels between the eyes" in output.out
    assert msgspec.structs.replace(after, calibration={}, smaller=()) == before
    inside = engines.load(model / "model.onnx").card
    assert inside == after


def test_what_is_fitted_is_written_though_nobody_reads_what_is_printed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_unread: Callable[[list[str]], int]
) -> None:
    measured = cards.Measured(dataset="drawn", split="test", network="model.onnx", n=9, ece=(0.2, 0.1), brier=(0.5, 0.4))
    found = calibration.Calibrated({"race": cards.AnswerCalibration(temperature=1.5, measured=(measured,))}, (), (), (), (), ())
    monkeypatch.setattr(calibration, "calibrate", lambda *_: found)
    json_file = tmp_path / "out" / "found.json"
    assert run_unread(["calibrate", str(model), "--data", str(tmp_path), "--json", str(json_file)]) == cli.BROKEN_PIPE
    assert json_file.read_text() == found.to_json()
    assert engines.load(model).card.calibration == found.calibration == engines.load(model / "model.onnx").card.calibration


def test_without_data_nothing_is_written(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    before = (model / "card.json").read_bytes()
    (tmp_path / "empty").mkdir()
    assert cli.run(["calibrate", str(model), "--data", str(tmp_path / "empty")]) == RequestError.exit_status
    assert "nothing to calibrate on" in capsys.readouterr().err
    assert (model / "card.json").read_bytes() == before
