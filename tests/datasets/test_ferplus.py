import numpy as np
import pytest

from polyface import tasks
from polyface.datasets import contract, ferplus
from polyface.errors import InputError

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"


def listing_of(tiny, *votes):
    """A test picture for each line of ten votes."""
    table = HEADER + "".join(f"PrivateTest,fer{i}.png,{line}\n" for i, line in enumerate(votes))
    return ferplus.list_records(tiny.root({"fer2013new.csv": table} | {f"FER2013Test/fer{i}.png": tiny.grey(i) for i in range(len(votes))}), "test")


def test_votes_are_read_in_the_order_of_the_columns(tiny):
    words = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
    listing = listing_of(tiny, *(",".join("9" if column == word else "0" for column in range(8)) + ",1,0" for word in range(8)))
    assert [record.labels["expression"] for record in listing.records] == [{word: 9} for word in words]
    meaning = ferplus.answers["expression"]
    ours = [tasks.expression.vocabulary[int(row.argmax())] for row in meaning.table]
    assert ours == ["neutral", "happy", "surprise", "sad", "anger", "disgust", "fear", "contempt"] and meaning.table.sum() == 8


def test_a_label_is_the_shares_of_the_votes_for_an_expression(tiny):
    (record,) = listing_of(tiny, "4,0,0,1,0,0,0,0,3,2").records
    row = tasks.expression.encode(ferplus.answers["expression"], record.labels["expression"])
    shares = {tasks.expression.vocabulary[int(possible.argmax())]: float(share) for share, possible in zip(row["share"], row["sets"], strict=True)}
    assert shares == pytest.approx({"neutral": 0.8, "sad": 0.2})
    assert np.array_equal(row["sets"].sum(1), [1, 1]) and row["scope"].all()


REFUSED = [
    ("0,0,0,0,0,0,0,0,0,10", "10 of 10 votes say that this is no face"),
    ("3,1,0,0,0,0,0,0,2,4", "4 of 10 votes say that this is no face"),
    ("0,0,0,0,0,0,0,0,6,4", "no expression has more votes than unknown has, 6 of 10"),
    ("4,2,0,0,0,0,0,0,4,0", "no expression has more votes than unknown has, 4 of 10"),
    ("0,0,0,0,0,0,0,0,0,0", "no expression has more votes than unknown has, 0 of 0"),
    ("-1,9,0,0,0,0,0,0,0,0", "a number of votes is below 0"),
    ("1.5,9,0,0,0,0,0,0,0,0", "'1.5' is no whole number"),
    ("9", "'' is no whole number"),
]


@pytest.mark.parametrize(("votes", "problem"), REFUSED, ids=[problem for _, problem in REFUSED])
def test_a_row_without_an_answer_is_refused_by_row_and_the_rest_goes_on(votes, problem, tiny):
    listing = listing_of(tiny, votes, "9,0,0,0,0,0,0,0,0,1")
    assert [record.key for record in listing.records] == ["fer1.png"]
    assert [str(found) for found in listing.problems] == [f"fer2013new.csv, row 2: {problem}"]


def test_rows_without_a_name_are_skipped_listed_pictures_without_a_file_are_absent(tiny):
    table = (
        HEADER
        + "PrivateTest,,0,0,0,0,0,0,0,0,0,10\nPrivateTest,fer1.png,9,0,0,0,0,0,0,0,1,0\nPrivateTest,fer2.png,9,0,0,0,0,0,0,0,1,0\nTraining,fer3.png,9,0,0,0,0,0,0,0,1,0\n"
    )
    listing = ferplus.records(tiny.root({"fer2013new.csv": table, "FER2013Test/fer1.png": tiny.grey(1)}), "test")
    assert [record.key for record in listing.records] == ["fer1.png"]
    assert listing.absent == ("FER2013Test/fer2.png",) and not listing.problems


def test_a_name_listed_twice_counts_once(tiny):
    table = HEADER + "PrivateTest,fer1.png,9,0,0,0,0,0,0,0,1,0\nPrivateTest,fer1.png,0,9,0,0,0,0,0,0,1,0\n"
    listing = ferplus.records(tiny.root({"fer2013new.csv": table, "FER2013Test/fer1.png": tiny.grey(1)}), "test")
    assert [record.labels["expression"] for record in listing.records] == [{"neutral": 9}]
    assert [str(problem) for problem in listing.problems] == ["fer2013new.csv, row 3: fer1.png is listed a second time"]


def test_an_unknown_usage_is_refused_by_row(tiny):
    table = HEADER + "Testing,fer1.png,9,0,0,0,0,0,0,0,1,0\nPrivateTest,fer2.png,9,0,0,0,0,0,0,0,1,0\n"
    listing = ferplus.records(tiny.root({"fer2013new.csv": table, "FER2013Test/fer2.png": tiny.grey(1)}), "test")
    assert [str(problem) for problem in listing.problems] == ["fer2013new.csv, row 2: Usage 'Testing' is none of PrivateTest, PublicTest, Training"]


def test_a_picture_of_a_later_part_that_is_in_an_earlier_one_is_left_out(tiny):
    pictures = {
        "FER2013Test/fer7.png": 1,
        "FER2013Valid/fer5.png": 1,
        "FER2013Valid/fer6.png": 2,
        "FER2013Train/fer1.png": 1,
        "FER2013Train/fer2.png": 2,
        "FER2013Train/fer3.png": 3,
    }
    usages = {"FER2013Test": "PrivateTest", "FER2013Valid": "PublicTest", "FER2013Train": "Training"}
    table = HEADER + "".join(f"{usages[name.split('/')[0]]},{name.split('/')[1]},9,0,0,0,0,0,0,0,1,0\n" for name in pictures)
    root = tiny.root({"fer2013new.csv": table} | {name: tiny.grey(seed) for name, seed in pictures.items()})
    kept = {split: [record.key for record in ferplus.records(root, split).records] for split in ferplus.splits}
    assert kept == {"train": ["fer3.png"], "validation": ["fer6.png"], "test": ["fer7.png"]}


def own_tables(tiny):
    files = {}
    for part, folder in enumerate(("FER2013Train", "FER2013Valid", "FER2013Test")):
        files[f"data/{folder}/label.csv"] = "".join(f'fer{10 * part + i:07}.png,"(0, 0, 48, 48)",0,{6 + i},0,0,0,0,0,1,1,0\n' for i in range(3))
        files |= {f"data/{folder}/fer{10 * part + i:07}.png": tiny.grey(10 * part + i) for i in range(3)}
    return files


def test_without_the_table_the_one_of_each_folder_is_read(tiny):
    root = tiny.root(own_tables(tiny))
    assert contract.check(ferplus, root) == []
    (first, *_) = ferplus.records(root, "validation").records
    assert first.key == "fer0000010.png" and first.labels["expression"] == {"happiness": 6, "contempt": 1}


def test_rows_of_a_folders_table_count_from_one(tiny):
    files = own_tables(tiny)
    files["data/FER2013Test/label.csv"] = files["data/FER2013Test/label.csv"].replace(",6,", ",six,", 1)
    listing = ferplus.records(tiny.root(files), "test")
    assert [str(problem) for problem in listing.problems] == ["data/FER2013Test/label.csv, row 1: 'six' is no whole number"]


def test_a_set_without_votes_is_refused(tiny):
    with pytest.raises(InputError, match=r"neither fer2013new\.csv nor a label\.csv in FER2013Test, FER2013Valid, FER2013Train"):
        ferplus.records(tiny.root({"FER2013Test/fer1.png": tiny.grey(1)}), "test")
