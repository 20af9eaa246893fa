import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface import tasks
from polyface.datasets import split_of, utkface
from polyface.datasets.utkface import list_records
from polyface.images.read import Directory

SPLITS = utkface.splits


def listed(root):
    return [list_records(root, split) for split in SPLITS]


def only(root):
    (record,) = [record for listing in listed(root) for record in listing.records]
    return record


def problems(root):
    return [str(problem) for listing in listed(root) for problem in listing.problems]


def test_the_name_holds_age_gender_and_race(tiny):
    record = only(tiny.root({"31_1_2_20170101.jpg.chip.jpg": tiny.noise(1)}))
    assert record.labels == {"age": 31, "gender": "female", "race": "Asian"}
    assert record.groups == {"age": "30-39", "gender": "female", "race": "Asian"}


def test_asian_and_others_each_leave_two_races_possible():
    row = tasks.race.encode(utkface.answers["race"], "Asian")
    assert [name for name, possible in zip(tasks.race.vocabulary, row["sets"][0], strict=True) if possible] == ["East Asian", "Southeast Asian"]
    row = tasks.race.encode(utkface.answers["race"], "Others")
    assert [name for name, possible in zip(tasks.race.vocabulary, row["sets"][0], strict=True) if possible] == ["Latino_Hispanic", "Middle Eastern"]


def test_a_name_without_race_keeps_age_and_gender(tiny):
    record = only(tiny.root({"61_1_20170109142408075.jpg.chip.jpg": tiny.noise(1)}))
    assert record.labels == {"age": 61, "gender": "female"}
    assert record.groups == {"age": "60-69", "gender": "female"}


@pytest.mark.parametrize("name", ["24_0_1_20170116220224657 .jpg.chip.jpg", "55_0_0_20170116232725357jpg.chip.jpg"])
def test_the_two_broken_endings_are_read(name, tiny):
    assert set(only(tiny.root({name: tiny.noise(1)})).labels) == {"age", "gender", "race"}


def test_of_equal_files_the_first_is_kept_with_what_all_agree_on(tiny):
    same = tiny.noise(1)
    record = only(tiny.root({"20_1_0_2.jpg.chip.jpg": same, "25_1_0_1.jpg.chip.jpg": same, "25_1_4_1.jpg.chip.jpg": same}))
    assert record.key == "20_1_0_2.jpg.chip.jpg"
    assert record.labels == record.groups == {"gender": "female"}


@pytest.mark.parametrize("name", ["10_7_0_1.jpg.chip.jpg", "25_1_9_9.jpg.chip.jpg"])
def test_of_equal_files_only_the_one_whose_name_is_wrong_is_refused(name, tiny):
    same = tiny.noise(1)
    root = tiny.root({"20_1_0_2.jpg.chip.jpg": same, name: same})
    assert only(root).key == "20_1_0_2.jpg.chip.jpg" and len(only(root).labels) == 3
    assert len(problems(root)) == 1 and name in problems(root)[0]


def test_a_copy_with_the_same_labels_keeps_them_all(tiny):
    same = tiny.noise(1)
    assert len(only(tiny.root({"25_1_0_1.jpg.chip.jpg": same, "25_1_0_2.jpg.chip.jpg": same})).labels) == 3


def test_the_split_is_cut_by_content_and_not_by_name(tiny):
    for seed in range(5):
        content = tiny.noise(seed)
        for name in ("1_0_0_1.jpg.chip.jpg", "9_1_1_2.jpg.chip.jpg"):
            assert len(list_records(tiny.root({name: content}), split_of(content)).records) == 1


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("240_0_0_1.jpg.chip.jpg", "240_0_0_1.jpg.chip.jpg: age: 240 years is outside 0 to 116"),
        ("20_3_0_1.jpg.chip.jpg", "20_3_0_1.jpg.chip.jpg: gender 3 is none of 0 to 1"),
        ("20_0_7_1.jpg.chip.jpg", "20_0_7_1.jpg.chip.jpg: race 7 is none of 0 to 4"),
        ("holiday.jpg", "holiday.jpg: not named age_gender_race_date.jpg.chip.jpg"),
    ],
)
def test_a_name_that_cannot_be_read_is_refused_and_the_rest_goes_on(name, line, tiny):
    root = tiny.root({name: tiny.noise(1), "20_0_0_1.jpg.chip.jpg": tiny.noise(2), "readme.txt": "no picture"})
    assert problems(root) == [line]
    assert only(root).labels["age"] == 20


@given(st.text(string.digits + "_. -٣jpgchip", max_size=40))
def test_any_name_gives_a_record_or_one_line(name):
    class One(Directory):
        def names(self):
            return [f"1{name}.chip.jpg"]

        def open(self, name):
            return b"x"

    listing = list_records(One("there"), split_of(b"x"))
    assert len(listing.records) + len(listing.problems) == 1
