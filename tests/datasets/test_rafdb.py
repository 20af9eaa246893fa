import pytest

from polyface import tasks
from polyface.datasets import rafdb, split_of_train

TABLE = "basic/EmoLabel/list_patition_label.txt"


def picture(stem):
    return f"basic/Image/aligned/{stem}_aligned.jpg"


def test_the_seven_digits_are_read_in_rafdbs_order(tiny):
    expected = ["Surprise", "Fear", "Disgust", "Happiness", "Sadness", "Anger", "Neutral"]
    files = {TABLE: "".join(f"test_{i:04}.jpg {i}\n" for i in range(1, 8))} | {picture(f"test_{i:04}"): tiny.noise(i) for i in range(1, 8)}
    assert [record.labels["expression"] for record in rafdb.records(tiny.root(files), "test").records] == expected


def test_a_set_without_contempt_leaves_it_out_of_scope():
    scope = rafdb.answers["expression"].scope
    assert [word for word, said in zip(tasks.expression.vocabulary, scope, strict=True) if not said] == ["contempt"]


@pytest.mark.parametrize("line", ["test_0001.jpg 8", "test_0001.jpg happy", "test_0001.jpg", "test_0001.jpg 1 2", "other.jpg 1", "test_0001.jpg ²"])
def test_a_bad_line_is_refused_by_row_and_the_rest_goes_on(line, tiny):
    files = {TABLE: f"{line}\ntest_0002.jpg 4\n", picture("test_0001"): tiny.noise(1), picture("test_0002"): tiny.noise(2)}
    listing = rafdb.list_records(tiny.root(files), "test")
    assert [record.key for record in listing.records] == ["test_0002.jpg"]
    assert len(listing.problems) == 1 and str(listing.problems[0]).startswith(f"{TABLE}, row 1: ")


def test_a_train_copy_of_a_test_picture_is_dropped_though_it_is_listed_first(tiny):
    files = {TABLE: "train_00001.jpg 4\ntrain_00002.jpg 4\ntest_0001.jpg 4\n", picture("test_0001"): tiny.noise(1)}
    files |= {picture("train_00001"): tiny.noise(1), picture("train_00002"): tiny.noise(2)}
    root = tiny.root(files)
    assert [record.key for record in rafdb.records(root, "test").records] == ["test_0001.jpg"]
    assert [record.key for record in rafdb.records(root, split_of_train(tiny.noise(2))).records] == ["train_00002.jpg"]


def test_absent_pictures_are_named(tiny):
    files = {TABLE: "test_0001.jpg 4\ntest_0002.jpg 4\n", picture("test_0001"): tiny.noise(1)}
    assert rafdb.records(tiny.root(files), "test").absent == (picture("test_0002"),)
