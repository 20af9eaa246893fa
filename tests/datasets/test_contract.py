"""The contract suite over every listed set, from a folder and from archives; and that it finds what is wrong."""

from dataclasses import replace

import numpy as np
import pytest

from polyface import tasks
from polyface.datasets import DATASETS, Alignment, Dataset, Listing, Pairs, Record, contract, people_in_folders
from polyface.errors import InputError
from polyface.images.read import Source
from polyface.labels import People, PointMap, Ranges, TraitNames, same_words
from polyface.synth.write import LAYOUTS as DRAWN
from polyface.synth.write import write as draw

COUNTS = {
    "utkface": 80,
    "fairface": 70,
    "rafdb": 68,
    "celeba": 12,
    "celeba_wild": 10,
    "celebamask": 80,
    "helen": 64,
    "afw": 4,
    "mtfl": 68,
    "lfw": 8,
    "pins": 160,
    "fasseg": 19,
    "facesynthetics": 4,
    "cfp_ff": 40,
    "cfp_fp": 60,
    "fer2013": 21,
    "ferplus": 24,
    "affectnet": 68,
    "agedb": 120,
    "lapa": 10,
    "helen_masks": 10,
    "facescrub": 160,
    "megaface": 4,
    "lfwa": 8,
    "recordio": 80,
}
"""celeba_wild has no validation, where two of the twelve photographs are."""


@pytest.mark.parametrize("form", ["", ".zip", ".tar"])
@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_every_listed_set_keeps_the_contract(dataset, form, tiny):
    if dataset.name == "recordio" and form:
        pytest.skip("a .rec is an archive itself, and is not read inside another")
    root = tiny.write(tiny.layouts[dataset.name](), tiny.folder / f"there{form}")
    assert contract.check(dataset, root) == []
    listings = [dataset.records(root, split) for split in dataset.splits]
    assert sum(len(listing.records) for listing in listings) == COUNTS[dataset.name]
    assert not any(listing.problems for listing in listings)
    labelled = {task for listing in listings for record in listing.records for task in record.labels}
    assert labelled == set(dataset.answers)


def test_an_archive_and_a_folder_list_the_same(tiny):
    dataset = next(dataset for dataset in DATASETS if dataset.name == "mtfl")
    roots = [tiny.write(tiny.layouts["mtfl"](), tiny.folder / name) for name in ("there", "there.zip", "there.tar")]
    keys = [[record.key for record in dataset.records(root, "train").records] for root in roots]
    assert len(keys[0]) > 40 and keys[0] == keys[1] == keys[2]


@pytest.mark.parametrize("layout", sorted(DRAWN))
def test_what_is_drawn_in_a_layout_is_read_whole(layout, tmp_path):
    name = {"300w": "helen", "folders": "pins"}.get(layout, layout)
    dataset = next(dataset for dataset in DATASETS if dataset.name == name)
    count = draw(layout, tmp_path / "drawn", people=6, photos=2, seed=1)
    root = contract.read.open_root(tmp_path / "drawn")
    listings = [dataset.list_records(root, split) for split in dataset.splits]
    assert sum(len(listing.records) for listing in listings) == count
    assert not any(listing.problems or listing.absent for listing in listings)


@pytest.fixture
def good(tiny):
    """A sound set of six pictures, and its root; tests break one thing."""
    root = tiny.root({f"{i}.jpg": tiny.noise(i) for i in range(6)} | {"m.png": tiny.mask(1), "small.png": tiny.mask(1, width=8), "bad.jpg": b"<html>"})
    splits = {"train": (0, 1, 2), "validation": (3,), "test": (4, 5)}

    def list_records(root, split):
        return Listing(tuple(Record(str(i), Source(root, f"{i}.jpg"), {tasks.age.name: i}, subject=f"p{i}") for i in splits[split]))

    answers = {tasks.age.name: Ranges(), tasks.parsing.name: same_words(tasks.parsing.vocabulary), tasks.identity.name: People()}
    return Dataset("mine", "Mine", "private", "", answers, ("train", "validation", "test"), list_records), root


def changed(dataset: Dataset, where: str, **changes) -> Dataset:
    """The set with the first record of a split changed."""

    def list_records(root, split):
        first, *rest = dataset.list_records(root, split).records
        return Listing((replace(first, **changes) if split == where else first, *rest))

    return replace(dataset, list_records=list_records)


def test_a_sound_set_has_no_problems(good):
    assert contract.check(*good) == []


BROKEN_RECORDS = [
    ({"key": "1"}, "1: the key is in train already"),
    ({"subject": "p3"}, "3: p3 is in train and in validation"),
    ({"labels": {"age": 240}}, "0: age: 240 years is outside 0 to 116"),
    ({"labels": {"age": object()}}, "0: age:"),
    ({"labels": {"gender": "male"}}, "which the set does not answer"),
    ({"labels": {"identity": 3}}, "3 is no key of a person"),
    ({"alignment": Alignment(np.zeros((3, 2)), "labelled")}, "its alignment is not five points"),
    ({"boxes": np.zeros(4)}, "its boxes are not [n, 4]"),
]


@pytest.mark.parametrize(("changes", "line"), BROKEN_RECORDS, ids=[line for _, line in BROKEN_RECORDS])
def test_a_broken_record_is_named(good, changes, line):
    dataset, root = good
    problems = contract.check(changed(dataset, "train", **changes), root)
    assert any(line in problem for problem in problems), problems


def test_a_picture_that_cannot_be_opened_is_named(good):
    dataset, root = good
    assert any("bad.jpg: a web page" in problem for problem in contract.check(changed(dataset, "train", source=Source(root, "bad.jpg")), root))


def test_a_mask_of_another_size_is_named(good):
    dataset, root = good
    opens = {"m.png": 0, "small.png": 1}
    for name, expected in opens.items():
        labels = {tasks.parsing.name: lambda name=name: contract.read.decode_mask(root.open(name), name)}
        assert len(contract.check(changed(dataset, "train", labels=labels), root)) == expected


def test_a_mask_of_unknown_classes_and_points_outside_their_picture_are_named_by_record(good):
    dataset, root = good
    dataset = replace(dataset, answers={**dataset.answers, tasks.landmarks.name: PointMap(np.eye(68))})
    for task, label, line in (
        (tasks.parsing.name, lambda: np.full((16, 16), 77, np.uint8), "0: parsing: the mask holds 77, beyond the 19 words of its set"),
        (tasks.landmarks.name, np.full((68, 2), 90.0), "point 1 at (90.0, 90.0) is outside the picture 0 of 16 x 16"),
        (tasks.landmarks.name, np.full((68, 2), np.nan), None),
    ):
        assert contract.check(changed(dataset, "train", labels={task: label}), root) == ([line] if line else [])


def test_files_that_are_not_there_and_pictures_that_were_not_opened_are_counted(good):
    dataset, root = good
    whole = dataset.list_records(root, "train")
    assert contract.notes(dataset, root, [whole]) == []
    listing = Listing(whole.records * 20, ("gone.jpg", "lost.jpg"))
    assert contract.notes(dataset, root, [listing]) == [
        "mine: 2 files are listed but not there, gone.jpg first",
        "mine: 50 of 60 pictures were opened; `polyface datasets check mine` opens all",
    ]


def test_a_set_that_lists_differently_each_time_is_found(good):
    dataset, root = good
    calls = iter(range(100))

    def list_records(root, split):
        return Listing(tuple(replace(record, groups={"call": str(next(calls))}) for record in dataset.list_records(root, split).records))

    assert "train: listed twice, it is not the same" in contract.check(replace(dataset, list_records=list_records), root)


def test_answers_that_fit_no_task_are_found(good):
    dataset, _ = good
    wrong = {"agee": Ranges(), tasks.age.name: People(), tasks.gender.name: same_words(tasks.race.vocabulary), tasks.attributes.name: TraitNames({"smile": "smiling"})}
    problems = contract.check_answers(replace(dataset, answers=wrong))
    assert len(problems) == 4 and "did you mean 'age'?" in problems[0]
    assert "agee" not in contract.word_counts(replace(dataset, answers={"agee": Ranges({"old": (60, 99)})}), [])
    too_many = {tasks.landmarks.name: PointMap(np.eye(68)[[*range(68), 30]])}  # a row of labels has room for 68
    assert contract.check_answers(replace(dataset, answers=too_many)) == ["answers: what the words mean does not fit landmarks"]


def test_a_reader_that_fails_is_a_problem_and_no_crash(good):
    dataset, root = good

    def list_records(root, split):
        raise InputError("labels.csv is missing") if split == "train" else KeyError("column")  # the same of two splits is one line

    problems = contract.check(replace(dataset, list_records=list_records), root)
    assert len(problems) == 2 and "labels.csv is missing" in problems[0] and problems[1].startswith("validation, test: ") and "KeyError" in problems[1]


def test_pairs_of_pictures_that_are_not_listed_are_found(good):
    dataset, root = good
    pairs = Pairs(("0", "1"), ("1", "9"), np.array([True, False]), np.zeros(2, int))
    assert contract.check(replace(dataset, list_pairs=lambda root: pairs), root) == ["pairs: 9 is no record's key"]


def test_people_in_folders_make_a_set_in_one_line(tiny):
    mine = people_in_folders("mine", "Mine", "private", "")
    assert contract.check(mine, tiny.root(tiny.layouts["pins"]())) == []
