from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyface import tasks
from polyface.datasets import fairface, split_of_train
from polyface.errors import InputError

HEADER = "file,age,gender,race,service_test\r\n"


def listed(root, split):
    return fairface.list_records(root, split)


def test_words_are_ranges_of_years_and_single_races(tiny):
    assert fairface.answers["age"].range_of("3-9") == (3, 9)
    assert fairface.answers["age"].range_of("more than 70") == (70, 116)
    assert len(fairface.answers["age"].meanings) == 9
    assert (fairface.answers["race"].table.sum(1) == 1).all() and len(fairface.answers["race"].names) == 7


def test_years_are_covered_once_by_the_nine_groups():
    ends = sorted(fairface.answers["age"].meanings.values())
    assert ends[0][0] == 0 and ends[-1][1] == tasks.age.top
    assert all(after[0] == before[1] + 1 for before, after in pairwise(ends))


def test_faces_are_in_the_groups_of_their_labels_and_a_strange_word_is_refused_all_the_same(tiny):
    files = tiny.layouts["fairface"]()
    files["fairface_label_val.csv"] = files["fairface_label_val.csv"].replace("val/2.jpg,more than 70,Male", "val/2.jpg,more than 70,Man")
    listing = listed(tiny.root(files), "test")
    assert listing.records[0].groups == {"age": "20-29", "gender": "female", "race": "East Asian"}
    assert [str(problem) for problem in listing.problems] == ["fairface_label_val.csv, row 3: gender: no word 'Man' here; there are Male, Female"]


@pytest.mark.parametrize("word", ["03-Sep", "Oct-19", "9-Mar"])
def test_a_spreadsheet_date_for_an_age_group_is_refused_by_row(word, tiny):
    files = tiny.layouts["fairface"]()
    files["fairface_label_val.csv"] = files["fairface_label_val.csv"].replace("val/2.jpg,more than 70", f"val/2.jpg,{word}")
    listing = listed(tiny.root(files), "test")
    assert len(listing.records) == 9
    assert [str(problem).split(";")[0] for problem in listing.problems] == [
        f"fairface_label_val.csv, row 3: age '{word}' is a date that a spreadsheet made of a group of ages"
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"), [("Female", "Femal", "did you mean 'Female'?"), ("White", "Whit", "did you mean 'White'?"), (",0-2", ",240", "no word '240'")]
)
def test_a_word_nobody_knows_is_refused_by_row(old, new, line, tiny):
    files = tiny.layouts["fairface"]()
    files["fairface_label_val.csv"] = files["fairface_label_val.csv"].replace(old, new, 1)
    listing = listed(tiny.root(files), "test")
    (problem,) = listing.problems
    assert "fairface_label_val.csv, row " in str(problem) and line in str(problem)
    assert len(listing.records) == 9


def test_a_missing_column_refuses_the_file(tiny):
    files = tiny.layouts["fairface"]()
    files["fairface_label_train.csv"] = files["fairface_label_train.csv"].replace("race", "rase", 1)
    with pytest.raises(InputError, match=r"fairface_label_train.csv: no column 'race'; did you mean 'rase'\?"):
        listed(tiny.root(files), "train")


def test_a_missing_csv_is_named(tiny):
    files = tiny.layouts["fairface"]()
    del files["fairface_label_train.csv"]
    with pytest.raises(InputError, match=r"fairface_label_train.csv is missing"):
        listed(tiny.root(files), "train")


def test_files_that_are_listed_but_absent_are_counted_once(tiny):
    files = tiny.layouts["fairface"]()
    del files["train/5.jpg"], files["val/5.jpg"]
    root = tiny.root(files)
    assert [listed(root, split).absent for split in fairface.splits] == [("train/5.jpg",), (), ("val/5.jpg",)]


def test_a_train_picture_that_equals_a_test_picture_leaves_training(tiny):
    files = tiny.layouts["fairface"]()
    files["train/7.jpg"] = files["val/3.jpg"]
    files["train/9.jpg"] = files["train/8.jpg"]
    root = tiny.root(files)
    keys = {split: {record.key for record in listed(root, split).records} for split in fairface.splits}
    assert "val/3.jpg" in keys["test"]
    trained = keys["train"] | keys["validation"]
    assert not {"train/7.jpg", "train/9.jpg"} & trained and "train/8.jpg" in trained and len(trained) == 58


def test_validation_is_a_tenth_of_train_by_content(tiny):
    root = tiny.root(tiny.layouts["fairface"]())
    for split in ("train", "validation"):
        records = listed(root, split).records
        assert records and all(split_of_train(record.source.read()) == split for record in records)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(st.one_of(st.sampled_from(["0-2", "Male", "White", "val/1.jpg", "", '"']), st.text(max_size=6)), max_size=7), max_size=4))
def test_any_csv_gives_records_or_lines(rows, tiny):
    table = HEADER + "".join(",".join(row) + "\n" for row in rows)
    if not _encodes(table):
        return
    root = tiny.root({"fairface_label_val.csv": table, "val/1.jpg": b"x"})
    try:
        listing = listed(root, "test")
    except InputError as error:
        assert "fairface_label_val.csv" in str(error)
    else:
        assert len(listing.records) <= 1
        assert all("fairface_label_val.csv, row " in str(problem) for problem in listing.problems)


def _encodes(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
