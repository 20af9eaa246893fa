"""`polyface datasets check` and `stats`: what is wrong with a set is found and named, and what is right is not."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from polyface import cli, datasets, tasks
from polyface.datasets import Dataset, Listing, Pairs, Record, check, crops, scenes, stats
from polyface.datasets.base import Alignment, Split, split_of_train
from polyface.datasets.tables import Mask
from polyface.errors import InputError, RequestError
from polyface.images import align
from polyface.images.read import Root, Source
from polyface.labels import People, PointMap, Ranges, TraitNames, Words, same_words, words

SIZE = 96
FACE = Alignment(align.Crop().scaled(SIZE).template, "stated")
SPLITS: Mapping[Split, tuple[int, ...]] = {"train": (0, 1, 2), "validation": (3,), "test": (4, 5)}


class NoDetector:
    """All these faces lie where their set states."""

    name, sha256 = "none", ""

    def detect_many(self, images: list, threshold: float | None = None) -> list:
        return [[] for _ in images]

    def detect(self, image: np.ndarray, threshold: float | None = None) -> list:
        return []


def drawn(seed: int) -> np.ndarray:
    """Soft blots, so that a JPEG of any quality keeps them."""
    blots = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(blots, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


def jpeg(seed: int, quality: int = 95) -> bytes:
    return cv2.imencode(".jpg", drawn(seed), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def dataset(name: str, **changes: object) -> Dataset:
    """Six records 0 to 5, three of train, one of validation, two of test; each with an age, a name and a mask."""

    def list_records(root: Root, split: Split) -> Listing:
        return Listing(tuple(record(root, number) for number in SPLITS[split]))

    def record(root: Root, number: int) -> Record:
        person = f"{name} person {number}"
        labels = {tasks.age.name: 20 + number, tasks.identity.name: person, tasks.parsing.name: Mask(Source(root, f"{number}.png"))}
        return Record(str(number), Source(root, f"{number}.jpg"), labels, subject=person, alignment=FACE)

    answers = {tasks.age.name: Ranges(), tasks.identity.name: People(), tasks.parsing.name: same_words(tasks.parsing.vocabulary)}
    return replace(Dataset(name, name, "private", "", answers, ("train", "validation", "test"), list_records), **changes)  # type: ignore[arg-type]


def changed(whole: Dataset, key: str, **changes: object) -> Dataset:
    """The set with one record changed; labels are added to those it has."""

    def list_records(root: Root, split: Split) -> Listing:
        records = whole.list_records(root, split).records
        return Listing(tuple(replace(record, **_changed(record, changes)) if record.key == key else record for record in records))

    return replace(whole, list_records=list_records)


def _changed(record: Record, changes: dict) -> dict:
    return {**changes, **({"labels": {**record.labels, **changes["labels"]}} if "labels" in changes else {})}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(name, {file: content}): the six pictures and masks of a set in the data folder, some of them others than usual."""

    def written(name: str, files: Mapping[str, bytes] | None = None, seed: int = 0) -> Path:
        pictures = {f"{number}.jpg": jpeg(seed + number) for number in range(6)}
        masks = {f"{number}.png": cv2.imencode(".png", np.full((SIZE, SIZE), 3, np.uint8))[1].tobytes() for number in range(6)}
        (tmp_path / name).mkdir()
        for file, content in {**pictures, **masks, **(files or {})}.items():
            (tmp_path / name / file).write_bytes(content)
        return tmp_path

    return written


def aligned(data: Path, *sets: Dataset) -> None:
    for each in sets:
        crops.align_set(each, datasets.find_root(data, each.name), data, NoDetector())


def found(checked: check.Checked) -> list[tuple[str, str]]:
    return [(finding.kind, finding.words) for finding in checked.findings]


def test_a_sound_set_is_counted_and_nothing_is_found(write: Callable[..., Path]) -> None:
    data, mine = write("mine"), dataset("mine")
    aligned(data, mine)
    checked = check.check([mine], data)
    assert list(checked.lines()) == []
    assert checked.counts == ({"data set": "mine", "train": 3, "validation": 1, "test": 2, "people": 6, "refused": 0, "absent": 0},)


def test_a_label_that_is_none_is_named_with_its_record(write: Callable[..., Path]) -> None:
    broken = changed(dataset("mine"), "1", labels={tasks.age.name: 200, tasks.gender.name: "male"})
    assert found(check.check([broken], write("mine"))) == [
        ("label", "mine train 1: age: 200 years is outside 0 to 116"),
        ("label", "mine train 1: a label for gender, which the set does not answer"),
    ]


def test_masks_are_opened_and_held_to_their_picture_and_their_words(write: Callable[..., Path]) -> None:
    small, strange = (cv2.imencode(".png", np.full(shape, value, np.uint8))[1].tobytes() for shape, value in (((9, 8), 1), ((SIZE, SIZE), 77)))
    data = write("mine", {"0.png": small, "4.png": strange, "5.png": b"<html>"})
    lines = [words for kind, words in found(check.check([dataset("mine")], data)) if kind == "label"]
    assert len(lines) == 3
    assert lines[0] == f"mine train 0: a mask of 8 x 9 for a picture of {SIZE} x {SIZE}"
    assert lines[1].startswith("mine test 4: parsing: the mask holds 77") and "5.png" in lines[2]


def test_points_are_looked_for_in_their_picture(write: Callable[..., Path]) -> None:
    points = np.full((68, 2), 4.0 * SIZE)
    outside = changed(
        replace(dataset("mine"), answers={**dataset("mine").answers, tasks.landmarks.name: PointMap(np.eye(68))}), "2", labels={tasks.landmarks.name: points}
    )
    ((kind, words),) = found(check.check([outside], write("mine")))
    assert kind == "label" and words.startswith("mine train 2: point 1 at (") and words.endswith(f"is outside the picture 2 of {SIZE} x {SIZE}")


def test_a_mask_whose_reader_fails_does_not_take_the_check_with_it(write: Callable[..., Path]) -> None:
    def fails() -> np.ndarray:
        raise ZeroDivisionError("oh")

    broken = changed(dataset("mine"), "2", labels={tasks.parsing.name: fails})
    assert found(check.check([broken], write("mine"))) == [("label", "mine train 2: ZeroDivisionError: oh")]


def test_pictures_that_cannot_be_read_are_named(write: Callable[..., Path]) -> None:
    data = write("mine", {"2.jpg": jpeg(2)[:300], "5.jpg": b"<html>"})
    (data / "mine" / "3.jpg").unlink()
    kinds, lines = zip(*found(check.check([dataset("mine")], data)), strict=True)
    assert set(kinds) == {"unreadable"} and [Path(line.split(": ")[0]).name for line in lines] == ["2.jpg", "3.jpg", "5.jpg"]


def test_rows_that_the_reader_refused_are_findings_and_absent_files_are_notes(write: Callable[..., Path]) -> None:
    whole = dataset("mine")

    def list_records(root: Root, split: Split) -> Listing:
        listing = whole.list_records(root, split)
        return replace(listing, absent=(f"{split}/a.jpg", f"{split}/b.jpg"), problems=(InputError(f"{split}.csv, row 7: no age"),) if split == "test" else ())

    data = write("mine")
    checked = check.check([replace(whole, list_records=list_records)], data)
    assert found(checked) == [("refused", "mine: test.csv, row 7: no age")]
    assert checked.notes[0] == "mine: 6 files are listed but not there, train/a.jpg first"
    assert checked.counts[0]["refused"] == 1 and checked.counts[0]["absent"] == 6


def test_a_split_that_cannot_be_listed_is_named_and_the_others_are_checked(write: Callable[..., Path]) -> None:
    whole = changed(dataset("mine"), "4", labels={tasks.age.name: -1})

    def list_records(root: Root, split: Split) -> Listing:
        return Listing(()) if split == "validation" else whole.list_records(root, split)

    kinds = [kind for kind, _ in found(check.check([replace(whole, list_records=list_records)], write("mine")))]
    assert kinds == ["promise", "label"]


def test_somebody_on_both_sides_of_a_split_is_named(write: Callable[..., Path]) -> None:
    both = changed(dataset("mine"), "5", subject="mine person 0")
    assert found(check.check([both], write("mine"))) == [("promise", "mine: 5: mine person 0 is in train and in test")]


def test_copies_byte_by_byte_are_found_even_where_align_never_ran(write: Callable[..., Path]) -> None:
    data = write("mine", {"0.jpg": jpeg(4), "2.jpg": jpeg(1)})
    checked = check.check([dataset("mine")], data)
    assert found(checked) == [("twin", "mine train 0 has the same bytes as mine test 4"), ("copy", "mine train 2 has the same bytes as mine train 1")]
    assert checked.notes == ("mine: unchecked for near-copies, since `polyface datasets align mine` never ran",)


def test_pictures_without_a_face_and_those_that_align_never_opened_are_counted_apart(write: Callable[..., Path]) -> None:
    data, mine = write("mine", {"0.jpg": b"no picture yet"}), dataset("mine")
    aligned(data, changed(mine, "1", alignment=None))
    (data / "mine" / "0.jpg").write_bytes(jpeg(0))
    assert check.check([mine], data).notes == (
        "mine: 1 of 6 pictures are unchecked for near-copies, no face was found on them",
        "mine: 1 of 6 pictures are unchecked for near-copies, `polyface datasets align mine` did not open them: run it again, if they were added later",
    )


def test_near_copies_are_found_within_and_across_sets(write: Callable[..., Path]) -> None:
    write("mine", {"3.jpg": jpeg(5, quality=40), "1.jpg": jpeg(0, quality=40)})
    data = write("yours", {"2.jpg": jpeg(4, quality=50), "4.jpg": jpeg(5, quality=60)}, seed=100)
    sets = [dataset("mine"), dataset("yours")]
    aligned(data, *sets)
    checked = check.check(sets, data)
    assert [(kind, re.sub(r"(0.9|1.0)\d+", "...", words)) for kind, words in found(checked)] == [
        ("twin", "mine validation 3 correlates to ... with mine test 5"),
        ("twin", "yours train 2 correlates to ... with mine test 4"),
        ("copy", "yours test 4 correlates to ... with mine test 5"),
        ("copy", "mine train 1 correlates to ... with mine train 0"),
    ]


def test_what_check_calls_a_twin_in_train_is_what_training_leaves_out(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from polyface.training.config import from_table
    from polyface.training.examples import training_sources

    write("mine", {"3.jpg": jpeg(5, quality=40), "1.jpg": jpeg(4, quality=40), "0.jpg": jpeg(103, quality=40)})
    data = write("yours", {"2.jpg": jpeg(4, quality=50), "0.jpg": jpeg(5)}, seed=100)
    sets = [dataset("mine"), dataset("yours")]
    aligned(data, *sets)
    monkeypatch.setattr(datasets, "DATASETS", tuple(sets))
    kept = training_sources(from_table({"name": "x", "steps": 1, "data": [{"set": "mine"}, {"set": "yours"}]}, "x"), data)
    trained = {(source.dataset.name, example.record.key) for source in kept for example in source.examples.items}
    listed = {(name, str(number)) for name in ("mine", "yours") for number in SPLITS["train"]}
    twins = {(pair[0].dataset.name, pair[0].record.key) for pair in (finding.pair for finding in check.check(sets, data).findings if finding.kind == "twin") if pair}
    assert listed - trained == twins & listed == {("mine", "1"), ("mine", "0"), ("yours", "2"), ("yours", "0")}


def test_faces_of_one_photograph_are_no_copies(write: Callable[..., Path]) -> None:
    data = write("mine")
    root = datasets.find_root(data, "mine")
    crowd = changed(dataset("mine"), "1", source=Source(root, "0.jpg"))
    aligned(data, crowd)
    assert found(check.check([crowd], data)) == []


def test_faces_of_one_photograph_that_is_stored_for_each_are_no_copies_where_they_lie_apart(write: Callable[..., Path]) -> None:
    data = write("mine", {"1.jpg": jpeg(0), "2.jpg": jpeg(0)})
    boxes = {"0": (0.0, 0.0, 40.0, 40.0), "1": (50.0, 50.0, 90.0, 90.0), "2": (52.0, 50.0, 92.0, 90.0)}
    crowd = dataset("mine")
    for key, box in boxes.items():
        crowd = changed(crowd, key, boxes=np.array([box]))
    assert found(check.check([crowd], data)) == []  # 2 is compared with the first of them only, from which it lies apart: `align` says more
    same = changed(crowd, "1", boxes=np.array([boxes["0"]]))
    assert found(check.check([same], data)) == [("copy", "mine train 1 has the same bytes as mine train 0")]


def test_each_row_finds_the_one_before_it_that_is_most_like_it() -> None:
    rows = np.random.default_rng(0).normal(size=(37, 400)).astype(np.float32)
    rows[30] = rows[4] + 0.1 * rows[9]
    rows[29] = rows[4]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    best, whose = check._before(rows)
    products = np.where(np.tri(37, k=-1, dtype=bool), rows @ rows.T, -1.0)
    assert np.allclose(best, products.max(1), atol=1e-6)
    assert np.array_equal(whose[1:], products.argmax(1)[1:]) and whose[0] == -1 and whose[29] == 4


def wider(folder: Path) -> dict[str, str]:
    """A tiny WIDER of three pictures of train, one of validation, one of val; {key: file}."""
    names: dict[str, list[str]] = {"train": [], "validation": []}
    for name in (f"1--A/{at}.jpg" for at in range(100)):
        names[split_of_train(name)].append(name)
    parts = {"train": [*names["train"][:3], names["validation"][0]], "val": ["2--B/7.jpg"]}
    files = {name: f"WIDER_{part}/images/{name}" for part, listed in parts.items() for name in listed}
    for seed, file in enumerate(files.values()):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(jpeg(seed))
    (folder / "wider_face_split").mkdir()
    for part, listed in parts.items():
        table = "".join(f"{name}\n2\n1 2 30 40 0 0 0 0 0 0\n{SIZE - 20} 50 20 30 0 0 0 0 0 0\n" for name in listed)
        (folder / "wider_face_split" / f"wider_face_{part}_bbx_gt.txt").write_text(table)
    return files


def test_photographs_of_many_faces_are_checked_as_a_set_is(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = wider(tmp_path / "wider")
    checked = check.check([scenes.as_dataset("wider")], tmp_path)
    assert checked.findings == ()
    assert checked.counts == ({"data set": "wider", "train": 3, "validation": 1, "test": 1, "people": None, "refused": 0, "absent": 0},)
    first, second, third, _, test = files
    (tmp_path / "wider" / files[first]).write_bytes((tmp_path / "wider" / files[test]).read_bytes())
    (tmp_path / "wider" / files[second]).write_bytes(b"<html>")
    small = cv2.imencode(".jpg", drawn(2)[:60])[1].tobytes()
    (tmp_path / "wider" / files[third]).write_bytes(small)
    assert cli.run(["datasets", "check", "--data", str(tmp_path), "--html", str(tmp_path / "check.html")]) == InputError.exit_status
    said = capsys.readouterr().out
    assert f"label: wider train {third}: the box (76, 50, 96, 80) is not in its picture of {SIZE} x 60" in said
    assert re.search(rf"unreadable: .*{second}", said) and f"twin: wider train {first} has the same bytes as wider test {test}" in said
    assert (tmp_path / "check.html").read_text().count("<img") == 2
    assert cli.run(["datasets", "stats", "--data", str(tmp_path)]) == 0 and "wider     train             3" in capsys.readouterr().out


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (5, 5, 3, 9), (-20, 0, 10, 20), (0, 0, 10, np.nan), (200, 0, 220, 20)])
def test_a_box_that_is_none_or_lies_elsewhere_is_named(write: Callable[..., Path], box: tuple[float, ...]) -> None:
    odd = changed(dataset("mine"), "1", boxes=np.array([(-9.0, 0, 11, 20), box]))
    assert [kind for kind, words in found(check.check([odd], write("mine"))) if "mine train 1: the box (" in words] == ["label"]


def test_people_of_a_verification_list_are_named_where_they_are_trained(write: Callable[..., Path]) -> None:
    data = write("strangers", seed=50)
    write("mine")
    strangers = replace(dataset("strangers"), list_pairs=lambda root: Pairs((), (), np.zeros(0, bool), np.zeros(0, int)))
    known = changed(dataset("mine"), "2", subject="Strangers_Person 4")
    assert found(check.check([strangers, known], data)) == [("person", "mine train: Strangers_Person 4 (pictures: 1) is among the people of strangers")]


def test_a_long_list_is_cut_with_a_count_and_json_has_it_whole() -> None:
    many = tuple(check.Finding("label", f"row {number}") for number in range(check.SHOWN + 2345))
    checked = check.Checked((), ("a note",), (*many, check.Finding("copy", "one")))
    lines = list(checked.lines())
    assert len(lines) == check.SHOWN + 3 and lines[0] == "a note" and lines[1] == "label: row 0" and lines[-2:] == ["label: and 2,345 more", "copy: one"]
    assert len(json.loads(checked.to_json())["findings"]) == check.SHOWN + 2346


def test_the_page_shows_pairs_side_by_side_and_survives_a_picture_that_is_gone(write: Callable[..., Path]) -> None:
    data = write("mine", {"0.jpg": jpeg(4, quality=50), "2.jpg": jpeg(5)})
    mine = dataset("mine")
    aligned(data, mine)
    checked = check.check([mine], data)
    (data / "mine" / "2.jpg").unlink()
    html = checked.to_html()
    assert html.count("<figure>") == 2 and html.count('src="data:image/jpeg') == 3
    assert "mine train 0 correlates to" in html and check.KINDS["twin"] in html


def test_a_page_folds_a_long_list_and_counts_many_sets() -> None:
    names = [{"data set": f"set {number}"} for number in range(check.FEW + 1)]
    findings = (*(check.Finding("label", f"row {number}") for number in range(check.FEW + 1)), check.Finding("copy", "one"))
    html = check.Checked(tuple(names), (), findings).to_html()
    assert html.count("<details>") == 1 == html.count("<details open>") and html.index("<details>") < html.index("row 0") < html.index("<details open>")
    assert f"<h1>Checked: {check.FEW + 1} data sets</h1>" in html and "<h1>Checked: set 0</h1>" in check.Checked(tuple(names[:1]), (), ()).to_html()


def test_a_page_of_many_pairs_is_spread_over_all_of_them(write: Callable[..., Path]) -> None:
    data = write("mine")
    root = datasets.find_root(data, "mine")
    place = check.Place(dataset("mine"), "train", dataset("mine").list_records(root, "train").records[0])
    findings = tuple(check.Finding("copy", f"pair {number}.", (place, place)) for number in range(check.PAIRS * 2 + 1))
    html = check.Checked((), (), findings).to_html()
    shown = [number for number in range(len(findings)) if f"pair {number}." in html]
    assert len(shown) <= check.PAIRS and shown[-1] > check.PAIRS * 1.9 and "evenly through the list" in html


def test_the_command_has_status_1_where_something_is_found_and_0_where_not(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table = "picture,years,split\n" + "".join(f"{number}.jpg,{20 + number},{split}\n" for split, numbers in SPLITS.items() for number in numbers)
    (tmp_path / "own").mkdir()
    for number in range(6):
        (tmp_path / "own" / f"{number}.jpg").write_bytes(jpeg(number))
    (tmp_path / "own" / "table.csv").write_text(table)
    manifest = tmp_path / "own.toml"
    manifest.write_text('name = "own"\ntitle = "Own"\nterms = "private"\ntable = "table.csv"\npicture = "picture"\nsplit = "split"\n[tasks.age]\ncolumn = "years"\n')
    arguments = ["datasets", "check", str(manifest), "--data", str(tmp_path)]
    assert cli.run(arguments) == 0, capsys.readouterr()
    assert "nothing was found" in capsys.readouterr().err
    (tmp_path / "own" / "1.jpg").write_bytes(b"")
    assert cli.run([*arguments, "--html", str(tmp_path / "check.html"), "--json", str(tmp_path / "check.json")]) == InputError.exit_status
    output = capsys.readouterr()
    assert "unreadable: " in output.out and "1.jpg" in output.out and "1 found" in output.err
    assert "1.jpg" in (tmp_path / "check.html").read_text() and len(json.loads((tmp_path / "check.json").read_text())["findings"]) == 1


def test_what_the_command_writes_is_there_though_nobody_reads_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_unread: Callable[[list[str]], int]
) -> None:
    checked = check.Checked((), (), (check.Finding("label", "row 0"),))
    monkeypatch.setattr(check, "check", lambda *_: checked)
    html, json_file = tmp_path / "check.html", tmp_path / "check.json"
    assert run_unread(["datasets", "check", "rafdb", "--data", str(tmp_path), "--html", str(html), "--json", str(json_file)]) == cli.BROKEN_PIPE
    assert html.read_text() == checked.to_html() and json_file.read_bytes() == checked.to_json()


def test_sets_that_are_not_there_are_a_wrong_request(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for command in (["check"], ["check", "rafdb"], ["stats"]):
        assert cli.run(["datasets", *command, "--data", str(tmp_path)]) == RequestError.exit_status
    assert "none of the data sets is in it" in capsys.readouterr().err.splitlines()[-1]


def test_stats_count_labels_and_say_how_finely_each_set_speaks(write: Callable[..., Path]) -> None:
    partly = changed(dataset("mine"), "1", labels={tasks.age.name: None})
    found = stats.stats([partly], write("mine"))
    grains = found.grains
    assert not found.failed and not found.spoken  # numbers, names and masks
    assert [(row["split"], row["records"], row["age"], row["identity"], row["gender"]) for row in found.labelled] == [
        ("train", 3, 2, 3, None), ("validation", 1, 1, 1, None), ("test", 2, 2, 2, None),
    ]  # fmt: skip
    assert grains[0]["identity"] == "6 people" and grains[0]["parsing"] == "19 words of 19" and grains[0]["age"] == "numbers" and grains[0]["gender"] is None


def test_stats_count_each_word_in_train_so_that_a_wrong_column_is_seen(write: Callable[..., Path]) -> None:
    traits = [f"trait {number}" for number in range(20)]
    meanings = {
        tasks.gender.name: words(tasks.gender.vocabulary, {"M": "male", "F": "female"}),
        tasks.expression.name: words(tasks.expression.vocabulary, {"glad": "happy", "calm": "neutral"}),
        tasks.age.name: Ranges({"young": (0, 30), "old": (31, 116)}), tasks.pose.name: Ranges({"left": (-99, -15)}),
        tasks.attributes.name: TraitNames(dict.fromkeys(traits, "Smiling")),
    }  # fmt: skip
    one = {"gender": "M", "expression": {"glad": 3, "calm": 1}, "age": "old", "pose": {"yaw": "left", "roll": 3.0}, "attributes": dict.fromkeys(traits, False)}
    two = {**one, "expression": {"glad": 3, "calm": 0}, "age": 31, "attributes": {"trait 7": True}}
    mine = changed(changed(dataset("mine"), "0", labels=one), "1", labels=two)
    (*spoken,) = stats.stats([replace(mine, answers={**mine.answers, **meanings})], write("mine")).spoken
    attributes = ", ".join(["trait 7 1", *(f"trait {number} 0" for number in range(5)), "8 more between", *(f"trait {number} 0" for number in range(14, 20))])
    assert {row["task"]: row["words"] for row in spoken} == {
        "gender": "M 2, F 0", "expression": "glad 2, calm 1", "age": "old 1, young 0", "pose": "left 2", "attributes": attributes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("task", "meaning", "said"),
    [
        (tasks.race, words(tasks.race.vocabulary, {"Asian": ("East Asian", "Southeast Asian"), "White": "White"}), "2 words of 7"),
        (tasks.age, Ranges({"young": (0, 30), "old": (31, 116)}), "2 ranges"),
        (tasks.attributes, TraitNames({"smile": "Smiling", "glasses": "Eyeglasses"}), "2 traits of 40"),
        (tasks.landmarks, PointMap(np.eye(68)[:5]), "5 points of 68"),
    ],
)
def test_the_grain_of_every_meaning_has_words(task: tasks.Task, meaning: Words | Ranges | TraitNames | PointMap, said: str) -> None:
    assert stats._grain(task, meaning, 0) == said


@pytest.mark.parametrize("pixels", [0.0, 1.0])
def test_points_that_are_counted_from_another_pixel_are_found(pixels: float) -> None:
    random, places = np.random.default_rng(0), []
    counted = dataset("counted")
    for number, side in enumerate(np.geomspace(30, 120, 200)):
        points = align.Crop().scaled(round(side)).template
        labelled = points + random.normal(0, 0.01 * side, (5, 2)) + pixels
        record = Record(str(number), Source(Path(), f"{number}.jpg"), {}, alignment=Alignment(labelled, "labelled"))
        places.append(check.Place(counted, "train", record, crops.Found(points, np.array([0, 0, side, side]), 0.9, 0.8)))
    said = [finding.words for finding in check._shifted(counted, places)]
    assert [re.sub(r"\d\.\d\d", "N", each) for each in said] == (["counted train: +N pixels to the right (error N) and +N down (N), on 200 faces"] if pixels else [])
