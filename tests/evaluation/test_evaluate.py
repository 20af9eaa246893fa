"""Evaluation from files to report, on drawn people in the layouts of the public sets. The networks here answer from the labels: always right, or always the same."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from polyface import datasets, tasks
from polyface.datasets import crops
from polyface.datasets.base import Dataset, Record
from polyface.errors import RequestError
from polyface.evaluation.evaluate import evaluate, look
from polyface.evaluation.report import Report
from polyface.files import sha256_of_lines
from polyface.images import align, geometry
from polyface.inference.card import Score as CardScore
from polyface.metrics.groups import Grouping
from polyface.synth.write import write
from polyface.tasks import TASKS, Task

LAYOUTS = {
    "utkface": ("utkface", 60, 1), "fairface": ("fairface", 20, 1), "rafdb": ("rafdb", 20, 1), "celeba": ("celeba", 20, 2), "celebamask": ("celebamask", 60, 1),
    "helen": ("300w", 20, 1), "mtfl": ("mtfl", 30, 1), "lfw": ("lfw", 6, 3),
}  # fmt: skip
CROP = align.Crop()


@dataclass
class FromLabels:
    """answers: {the bytes of a crop: {task: output}}; a crop that is not among them is an error. asked: what was asked for, in order."""

    answers: dict[bytes, dict[str, np.ndarray]]
    tasks: tuple[Task, ...] = TASKS
    crop: align.Crop = CROP
    label: str = "labels@000000000000"
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, seen: np.ndarray, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        wanted = tuple(names or ())
        self.asked.append(wanted)
        return {name: np.stack([self.answers[crop.tobytes()][name] for crop in seen]) for name in wanted}


@dataclass
class Constant(FromLabels):
    """One answer to everything: zeros, but for the logits that are raised."""

    raised: dict[str, int] = field(default_factory=dict)

    def run(self, seen: np.ndarray, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        outputs = {}
        for task in (task for task in self.tasks if task.name in (names or ())):
            answer = np.zeros(task.shape(CROP.size), np.float32)
            answer[..., self.raised.get(task.name, 0)] = 20
            outputs[task.name] = np.tile(answer, (len(seen), *[1] * answer.ndim))
        return outputs


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with eight drawn sets; every labelled face of helen and mtfl was found but the first of each test split."""
    folder = tmp_path_factory.mktemp("data")
    for name, (layout, people, photos) in LAYOUTS.items():
        write(layout, folder / name, people, photos, seed=3)
    for name in ("helen", "mtfl"):
        first, *records = datasets.named(name).records(datasets.find_root(folder, name), "test").records
        write_found(folder, name, {first.key: None, **{record.key: (jittered(record), 0.9) for record in records}})
    return folder


@pytest.fixture(scope="session")
def perfect(drawn: Path) -> FromLabels:
    """Knows every test crop of the drawn sets, however it is cut, and the training crops on which boundaries between words for angles are chosen."""
    answers: dict[bytes, dict[str, np.ndarray]] = {}
    for name in LAYOUTS:
        dataset = datasets.named(name)
        found = crops.read_faces(drawn, name).found
        splits: tuple[datasets.Split, ...] = ("train", "test") if tasks.pose.name in dataset.answers else ("test",)
        for record in (record for split in splits for record in dataset.records(datasets.find_root(drawn, name), split).records):
            learn(answers, dataset, record, found.get(record.key))
    return FromLabels(answers)


@pytest.fixture(scope="session")
def report(drawn: Path, perfect: FromLabels) -> Report:
    return evaluate(perfect, drawn, sha256="f" * 64)


def write_found(folder: Path, name: str, found: Mapping[str, tuple[np.ndarray, float] | None]) -> None:
    """What `polyface datasets align` would have written: five points and overlap by key, None where it found nothing."""
    rows: list[dict] = [{"key": key, "points": None, "box": None, "score": None, "overlap": None, "thumbnail": None} for key in found]
    for row, (points, overlap) in ((row, each) for row, each in zip(rows, found.values(), strict=True) if each is not None):
        row |= {"points": points.ravel().tolist(), "box": align.box_of_points(points).tolist(), "score": 0.9, "overlap": overlap}
    path = crops.faces_file(folder, name)
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)


def jittered(record: Record) -> np.ndarray:
    """Five points as a detector gives them: somewhat off."""
    assert record.alignment is not None
    points = record.alignment.points
    return points + np.random.default_rng(len(record.key)).normal(0, 0.05 * np.linalg.norm(points[0] - points[1]), (5, 2))


def learn(answers: dict[bytes, dict[str, np.ndarray]], dataset: Dataset, record: Record, found: crops.Found | None) -> None:
    ways = [example.points for example in [crops.align_record(record, found, training=False)] if example]
    if record.alignment is not None and record.alignment.how == "labelled":
        ways.append(align.points_of_box(align.box_of_points(record.alignment.points)))
    for points in ways:
        matrix = align.from_points(points, CROP)
        crop, _ = crops.open_crop(record, matrix, CROP.size)
        outputs = {name: right(tasks.named(name), dataset.answers[name], label, matrix) for name, label in record.labels.items()}
        for task in tasks.TASKS:
            outputs.setdefault(task.name, np.zeros(task.shape(CROP.size), np.float32))  # what the set does not say about this face
        answers[crop.tobytes()] = answers[np.ascontiguousarray(crop[:, ::-1]).tobytes()] = outputs


def right(task: tasks.Task, meaning, label, matrix: np.ndarray) -> np.ndarray:
    """What a network that knows the label puts out for the crop."""
    output = np.zeros(task.shape(CROP.size), np.float32)
    match task:
        case tasks.Category():
            output[np.flatnonzero(meaning.table[meaning.index(label)])[-1]] = 20
        case tasks.Scale():
            low, high = meaning.range_of(label)
            output[int(low + high) // 2] = 20
        case tasks.Traits():
            for name, value in label.items():
                output[task.vocabulary.index(meaning.meanings[name])] = 20 if value else -20
        case tasks.Points():
            seen = geometry.apply(matrix, label)
            output[:, :2] = seen if len(seen) == 68 else np.linalg.pinv(meaning.weights) @ seen
        case tasks.Regions():
            mask = geometry.warp(label(), matrix, (CROP.size, CROP.size), border=255, nearest=True)
            half = CROP.size // 2
            output = np.stack([(mask == word).reshape(half, 2, half, 2).mean((1, 3)) for word in range(19)]).astype(np.float32) * 30
        case tasks.Angles():
            for axis, value in label.items():
                low, high = meaning.range_of(value)
                output[task.axes.index(axis), int((low + high) / 2 + task.limit) // task.step] = 20
        case tasks.Embedding():
            output = np.random.default_rng(sum(label.encode())).normal(size=512).astype(np.float32)
            output /= np.linalg.norm(output)
    return output


def scores(report: Report, name: str) -> dict[tuple[str, str], float]:
    part = next(part for part in report.sets if part.name == name)
    return {(score.task, score.metric): score.value for score in part.scores}


def expected_of_perfect() -> Iterator[tuple[str, str, str, float]]:
    for name, asked in {
        "utkface": ("gender", "race"), "fairface": ("gender", "race"), "rafdb": ("expression",), "celeba": ("gender",), "mtfl": ("gender",),
    }.items():  # fmt: skip
        for task in asked:
            for metric in ("accuracy", "balanced accuracy", "macro-F1"):
                yield name, task, metric, 1.0
    yield from [("utkface", "age", "MAE", 0.0), ("utkface", "age", "CS(5)", 1.0), ("fairface", "age", "group accuracy", 1.0)]
    yield from [("celeba", "attributes", "mean accuracy", 1.0), ("mtfl", "attributes", "mean balanced accuracy", 1.0), ("mtfl", "pose", "yaw word accuracy", 1.0)]
    for name, alpha in (("helen", "8%"), ("mtfl", "10%")):
        for end in ("", ", true boxes"):
            yield from [(name, "landmarks", f"NME{end}", 0.0), (name, "landmarks", f"median NME{end}", 0.0)]
        yield from [(name, "landmarks", f"FR@{alpha}, true boxes", 0.0), (name, "landmarks", f"AUC@{alpha}, true boxes", 1.0)]
    for end in ("", ", flip"):
        yield from [("lfw", "identity", f"{metric}{end}", 1.0) for metric in ("3-fold accuracy", "3-fold accuracy, insightface", "AUC")]


@pytest.mark.parametrize(("name", "task", "metric", "value"), list(expected_of_perfect()))
def test_a_network_that_knows_the_labels_gets_perfect_scores(report: Report, name: str, task: str, metric: str, value: float) -> None:
    assert scores(report, name)[task, metric] == pytest.approx(value, abs=1e-4)


def test_every_task_is_scored_somewhere_and_every_set_is_there(report: Report) -> None:
    assert {part.name for part in report.sets} == set(LAYOUTS)
    assert {score.task for part in report.sets for score in part.scores} == {task.name for task in tasks.TASKS}
    assert not report.skipped or set(report.skipped) <= {"celeba_wild"}


def test_regions_seen_right_are_as_good_as_the_oracle(report: Report) -> None:
    found = scores(report, "celebamask")
    assert found["parsing", "F1 of 18 classes"] == found["parsing", "F1 of 18 classes, oracle"] > 0.8


@pytest.mark.parametrize("name", ["utkface", "rafdb", "celeba"])
def test_the_best_constant_network_scores_what_is_printed_as_constant(drawn: Path, name: str) -> None:
    best: dict[tuple[str, str], float] = {}
    printed: dict[tuple[str, str], float | None] = {}
    for answer in range(8):
        constant = Constant({}, raised={"gender": answer % 2, "race": answer % 7, "expression": answer})
        for score in evaluate(constant, drawn, [name]).sets[0].scores:
            if score.metric == "accuracy":
                key = score.task, score.metric
                best[key], printed[key] = max(best.get(key, 0), score.value), score.constant
    assert best == printed != {}


def test_one_embedding_for_everybody_is_chance(drawn: Path) -> None:
    found = {score.metric: score for score in evaluate(Constant({}), drawn, ["lfw"]).sets[0].scores}
    assert all(found[metric].value == found[metric].constant == found[metric].chance == 0.5 for metric in ("3-fold accuracy", "AUC", "3-fold accuracy, flip"))


def test_a_face_that_was_not_found_is_named_and_counted_as_failed(report: Report, drawn: Path) -> None:
    for name, alpha in (("helen", "8%"), ("mtfl", "10%")):
        part = next(part for part in report.sets if part.name == name)
        records = datasets.named(name).records(datasets.find_root(drawn, name), "test").records
        assert part.missed == (records[0].key,)
        assert part.aligned == {"detected": len(records) - 1}
        assert part.note == f"1 of {len(records)} faces were not found and have no crop"
        found = scores(report, name)
        assert found["landmarks", f"FR@{alpha}"] == pytest.approx(1 / len(records))
        counts = {score.metric: score.n for score in part.scores if score.task == "landmarks"}
        assert (counts["NME"], counts[f"FR@{alpha}"], counts["NME, true boxes"]) == (len(records) - 1, len(records), len(records))


def test_faces_that_nobody_looked_for_are_told_from_those_that_were_not_found(drawn: Path, perfect: FromLabels, tmp_path: Path) -> None:
    first, second, *records = datasets.named("helen").records(datasets.find_root(drawn, "helen"), "test").records
    (tmp_path / "helen").symlink_to(drawn / "helen")
    write_found(tmp_path, "helen", {second.key: None, **{record.key: (jittered(record), 0.9) for record in records}})
    part, of = evaluate(perfect, tmp_path, ["helen"]).sets[0], len(records) + 2
    assert part.missed == (first.key, second.key)
    never = f"1 of {of} faces were never looked for and have no crop: run `polyface datasets align helen`"
    assert part.note == f"1 of {of} faces were not found and have no crop; {never}"


def test_a_detection_of_somebody_else_is_a_miss(drawn: Path, perfect: FromLabels, tmp_path: Path) -> None:
    records = datasets.named("helen").records(datasets.find_root(drawn, "helen"), "test").records
    (tmp_path / "helen").symlink_to(drawn / "helen")
    overlaps = [0.29, *[0.31] * (len(records) - 1)]
    write_found(tmp_path, "helen", {record.key: (jittered(record), overlap) for record, overlap in zip(records, overlaps, strict=True)})
    assert evaluate(perfect, tmp_path, ["helen"]).sets[0].missed == (records[0].key,)


def test_a_labelled_set_that_no_detector_has_searched_is_scored_by_true_boxes_and_says_so(drawn: Path, perfect: FromLabels, tmp_path: Path) -> None:
    (tmp_path / "mtfl").symlink_to(drawn / "mtfl")
    part = evaluate(perfect, tmp_path, ["mtfl"]).sets[0]
    assert {score.metric.endswith(", true boxes") for score in part.scores} == {True}
    assert {score.task for score in part.scores} == {"gender", "attributes", "landmarks", "pose"}
    assert part.aligned == {"true box": part.images}
    assert not part.missed
    assert "no detector has searched" in part.note and "datasets align mtfl" in part.note


def test_labelled_points_do_not_shape_the_crop_beyond_their_box(drawn: Path) -> None:
    record = datasets.named("helen").records(datasets.find_root(drawn, "helen"), "test").records[0]
    assert record.alignment is not None
    matrix = align.from_points(align.points_of_box(align.box_of_points(record.alignment.points)), CROP)
    assert geometry.rotation_of(matrix) == pytest.approx(0, abs=1e-9)  # a leaning head stays leaning, though its labelled eyes say how much


def test_the_network_is_asked_only_what_a_set_answers(drawn: Path, perfect: FromLabels) -> None:
    perfect.asked.clear()
    evaluate(perfect, drawn, ["rafdb"])
    assert set(perfect.asked) == {("expression",)}


def test_a_network_with_one_task_is_scored_on_the_sets_that_answer_it(drawn: Path, perfect: FromLabels) -> None:
    one = FromLabels(perfect.answers, tasks=(tasks.parsing,))
    assert [part.name for part in evaluate(one, drawn).sets] == ["celebamask"]
    with pytest.raises(RequestError, match=r"rafdb scores none of parsing; it answers expression"):
        evaluate(one, drawn, ["rafdb"])


def test_a_task_in_another_vocabulary_is_left_out_by_name(drawn: Path, perfect: FromLabels) -> None:
    coarse = tasks.Category("race", "?", ("light", "dark"))
    found = evaluate(FromLabels(perfect.answers, tasks=(tasks.gender, coarse)), drawn, ["utkface"])
    assert {score.task for score in found.sets[0].scores} == {"gender"}
    assert list(found.skipped) == ["task race"]


@pytest.mark.parametrize(
    ("names", "message"), [(["rafdb", "helenn"], "did you mean 'helen'"), (["rafdb", "afw"], "no afw, afw.zip"), (["rafdb", "pins"], "pins states no pairs of pictures")]
)
def test_a_named_set_that_is_not_there_is_refused_before_anything_is_scored(drawn: Path, perfect: FromLabels, names: list[str], message: str) -> None:
    perfect.asked.clear()
    with pytest.raises(RequestError, match=message):
        evaluate(perfect, drawn, names)
    assert not perfect.asked


def test_a_folder_without_sets_is_an_error(tmp_path: Path, perfect: FromLabels) -> None:
    with pytest.raises(RequestError, match="no data set to score on"):
        evaluate(perfect, tmp_path)


def copied(drawn: Path, to: Path, name: str, change: Callable[[Path], None]) -> Path:
    """A data folder with one set whose files were changed."""
    shutil.copytree(drawn / name, to / name)
    change(to / name)
    return to


def test_a_broken_picture_is_named_and_the_others_are_scored(drawn: Path, perfect: FromLabels, tmp_path: Path) -> None:
    broken: list[Path] = []

    def cut_short(folder: Path) -> None:
        broken.append(sorted((folder / "basic/Image/aligned").glob("test_*"))[0])
        broken[0].write_bytes(broken[0].read_bytes()[:300])

    part = evaluate(perfect, copied(drawn, tmp_path, "rafdb", cut_short), ["rafdb"]).sets[0]
    assert len(part.refused) == 1 and broken[0].name in part.refused[0]
    assert {score.n for score in part.scores} == {part.images - 1}


def test_pairs_with_an_absent_picture_give_no_score(drawn: Path, perfect: FromLabels, tmp_path: Path) -> None:
    def drop_one(folder: Path) -> None:
        min(folder.rglob("*.jpg")).unlink()

    with pytest.raises(RequestError, match="absent picture"):
        evaluate(perfect, copied(drawn, tmp_path, "lfw", drop_one), ["lfw"])


def test_the_report_says_what_was_measured_on_what(report: Report, drawn: Path) -> None:
    tree = json.loads(report.to_json())
    assert (tree["model"], tree["sha256"]) == ("labels@000000000000", "f" * 64)
    part = next(part for part in tree["sets"] if part["name"] == "rafdb")
    keys = [record.key for record in datasets.named("rafdb").records(datasets.find_root(drawn, "rafdb"), "test").records]
    assert (part["title"], part["terms"], part["split"]) == (datasets.rafdb.title, datasets.rafdb.terms, "test")
    assert (part["images"], part["sha256"], part["aligned"]) == (len(keys), sha256_of_lines(keys), {"guess": len(keys)})
    accuracy = part["scores"][0]
    assert (accuracy["task"], accuracy["metric"], accuracy["n"]) == ("expression", "accuracy", len(keys))
    assert 0 < accuracy["low"] < accuracy["high"] == 1
    assert sum(entry["positives"] for entry in part["scores"][1]["parts"].values()) == len(keys)


def test_every_score_fits_a_card_and_a_table(report: Report) -> None:
    entries = [msgspec.convert(entry, CardScore) for entry in report.card_scores()]
    rows = report.rows()
    assert len(entries) == len(rows) == sum(len(part.scores) for part in report.sets)
    assert {entry.dataset for entry in entries} == set(LAYOUTS)
    assert msgspec.json.decode(msgspec.json.encode(report.card_scores())) == report.card_scores()
    assert list(rows[0]) == ["task", "data set", "metric", "value", "95 %", "chance", "constant", "n"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn sets are small: a single face is a group."""
    monkeypatch.setattr("polyface.metrics.groups.FEWEST", 1)


def test_groups_that_a_set_states_are_scored_and_nobody_is_lost(drawn: Path, perfect: FromLabels, few: None) -> None:
    found = evaluate(perfect, drawn, ["utkface", "fairface", "rafdb", "celeba", "mtfl", "lfw"])
    kinds = {part.name: {kind for score in part.scores for kind in score.groups} for part in found.sets}
    everything = {"age", "gender", "race"}
    assert kinds == {"utkface": everything, "fairface": everything, "rafdb": set(), "celeba": {"age", "gender"}, "mtfl": {"gender"}, "lfw": set()}
    for part in found.sets:
        grouped = [score for score in part.scores if score.groups]
        tasks_of_set = {score.task for score in part.scores if part.name not in ("rafdb", "lfw")}
        assert {score.task for score in grouped} == tasks_of_set and len(grouped) == len(tasks_of_set)  # one main score each; true boxes have none
        for score in grouped:
            for of in score.groups.values():
                assert sum(each.n for each in of.each.values()) == score.n
                assert all(each.value == pytest.approx(score.value, abs=1e-3) for each in of.each.values())
    genders = {name for part in found.sets for score in part.scores for name in score.groups.get("gender", Grouping({})).each}
    assert genders == {"female", "male"}  # whatever the set's words are


def test_a_network_that_calls_everybody_a_man_is_worst_on_women(drawn: Path, few: None) -> None:
    found = evaluate(Constant({}, raised={"gender": tasks.gender.vocabulary.index("male")}), drawn, ["utkface", "mtfl"])
    rows = {(row["data set"], row["task"], str(row["worst"]).split()[0]): row for row in found.group_rows()}
    for name in ("utkface", "mtfl"):
        row = rows[name, "gender", "gender"]
        assert (row["worst"], row["value"], row["best"], row["gap"]) == ("gender female", 0.0, "male", 1.0)
    assert list(row) == ["task", "data set", "metric", "worst", "value", "95 %", "n", "best", "gap", "95 % of gap"]


def test_groups_are_on_the_card_and_a_handful_of_faces_with_its_number_alone(report: Report, drawn: Path, perfect: FromLabels, few: None) -> None:
    of = next(entry for entry in report.card_scores() if (entry["dataset"], entry["task"]) == ("fairface", "gender"))["groups"]["gender"]
    assert set(of) == {"each"} and all(list(each) == ["n"] for each in of["each"].values())  # fewer than thirty
    scored = evaluate(perfect, drawn, ["fairface"])
    of = next(entry for entry in scored.card_scores() if entry["task"] == "gender")["groups"]["gender"]
    assert (of["gap"], of["each"]["male"]["value"], of["each"]["male"]["high"]) == (0, 1, 1) and "low" not in of  # nothing varies: the gap's interval is not known
    assert not report.group_rows()
    assert json.loads(report.to_json())["sets"][0]["scores"][0]["groups"].keys() == {"age", "gender", "race"}


def test_people_are_drawn_together_where_they_are_known(drawn: Path, report: Report) -> None:
    part = next(part for part in report.sets if part.name == "celeba")
    subjects = {record.subject for record in datasets.celeba.records(datasets.find_root(drawn, "celeba"), "test").records}
    accuracy = next(score for score in part.scores if score.metric == "accuracy")
    assert accuracy.low == pytest.approx(0.025 ** (1 / len(subjects)))  # all are right: the exact interval, each person counted once


def test_any_split_can_be_looked_at_as_it_is_scored(drawn: Path, perfect: FromLabels) -> None:
    root = datasets.find_root(drawn, "rafdb")
    seen = look(perfect, (tasks.age, tasks.expression), datasets.rafdb, root, drawn, "test")
    keys = [record.key for record in datasets.rafdb.records(root, "test").records]
    assert list(seen.rows) == ["expression"]
    assert [record.key for record in seen.records["expression"]] == keys
    assert all(row["output"].argmax() == datasets.rafdb.answers["expression"].table[row["truth"]].argmax() for row in seen.rows["expression"])
    flat = Constant({})
    validation = look(flat, (tasks.expression,), datasets.rafdb, root, drawn, "validation")
    assert validation.records["expression"] and not {record.key for record in validation.records["expression"]} & set(keys)


def test_every_face_with_a_name_is_looked_at_in_pairs_or_not(drawn: Path) -> None:
    root = datasets.find_root(drawn, "celeba")
    seen = look(Constant({}), (tasks.identity,), datasets.celeba, root, drawn, "validation")
    assert [record.key for record in seen.records["identity"]] == [record.key for record in datasets.celeba.records(root, "validation").records]


def test_progress_is_told_to_the_end(drawn: Path, perfect: FromLabels) -> None:
    told: list[tuple[str, int, int]] = []
    evaluate(perfect, drawn, ["celebamask", "rafdb"], report=lambda *words: told.append(words))
    assert [name for name, done, total in told if done == total] == ["celebamask", "rafdb"]


def test_people_of_a_test_who_are_in_training_too_are_said(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their own reader says in which split a picture is; a user's may say two."""
    celeba = datasets.celeba
    shared = dataclasses.replace(celeba, list_records=lambda root, split: celeba.list_records(root, "test" if split == "train" else split))
    network, people = Constant({}), {record.subject for record in celeba.records(datasets.find_root(drawn, "celeba"), "test").records}
    assert evaluate(network, drawn, ["celeba"]).sets[0].note == ""
    monkeypatch.setattr(datasets, "DATASETS", (shared,))
    assert evaluate(network, drawn, ["celeba"]).sets[0].note == f"{len(people)} of its people are in its training split too; training leaves them out there"
