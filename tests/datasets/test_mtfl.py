import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyface import tasks
from polyface.datasets import mtfl, split_of_train

LINE = "AFLW/a.jpg 1 2 3 4 5 6 7 8 9 10 1 2 1 4"


def one(tiny, line=LINE):
    return mtfl.list_records(tiny.root({"testing.txt": f" {line}\r\n", "AFLW/a.jpg": tiny.noise(1)}), "test")


def test_a_line_holds_points_gender_smile_glasses_and_pose(tiny):
    (record,) = one(tiny).records
    np.testing.assert_array_equal(record.labels["landmarks"], np.array([[1, 6], [2, 7], [3, 8], [4, 9], [5, 10]]) - 1)
    assert record.labels["gender"] == record.groups["gender"] == "male"
    assert record.labels["attributes"] == {"smile": False, "glasses": True}
    assert record.labels["pose"] == {"yaw": "right"}
    assert record.alignment.how == "labelled"


def test_whole_pixels_count_from_one_and_clicks_begin_there(tiny):
    """A click on pixel k of a picture of 250 that is shown at twice its size is 1 + (k + 1/2) / 2 in the list; pixel k is at (k + 1/2) / 2."""
    line = "{} " + " ".join(str(1 + (click + 0.5) / 2) for click in range(10)) + " 1 2 1 4\n"
    files = {name: tiny.noise(at) for at, name in enumerate(("lfw_5590/Ann_Lee_0001.jpg", "net_7876/0_0_0.jpg"))}
    root = tiny.root({"testing.txt": "", "training.txt": "".join(line.format(name) for name in files), **files})
    clicked, whole = (record.labels["landmarks"] for record in mtfl.list_records(root, split_of_train("Ann Lee")).records)
    np.testing.assert_allclose(clicked.T.ravel(), (np.arange(10) + 0.5) / 2)
    np.testing.assert_allclose(whole - clicked, 0.5)


def test_smile_and_glasses_are_two_of_the_forty_attributes(tiny):
    values = tasks.attributes.encode(mtfl.answers["attributes"], {"smile": True, "glasses": False})["values"]
    assert {name: value for name, value in zip(tasks.attributes.vocabulary, values, strict=True) if value >= 0} == {"Smiling": 1, "Eyeglasses": 0}


def test_the_left_profile_turns_the_nose_to_the_images_left():
    row = tasks.pose.encode(mtfl.answers["pose"], {"yaw": "left profile"})
    assert (row["lo"][0], row["hi"][0]) == (-99, -45)
    assert (row["lo"][1], row["hi"][1]) == (-99, 99)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (LINE + " 5", "16 fields where there are 15"),
        (LINE[:-2], "14 fields where there are 15"),
        (LINE.replace(" 3 ", " x "), "'x' is no number"),
        (LINE.replace(" 3 ", " inf "), "'inf' is no finite number"),
        (LINE.replace(" 3 ", " 400 "), "point 3 at (399.0, 7.0) is outside the picture AFLW/a.jpg of 16 x 16"),
        ("AFLW/a.jpg" + " 3" * 10 + " 1 2 1 4", "all points of AFLW/a.jpg fall together"),
        (LINE[:-1] + "6", "pose 6 is none of 1 to 5"),
        (LINE.replace("10 1", "10 3"), "gender 3 is none of 1 to 2"),
    ],
)
def test_a_bad_line_is_refused_by_row(line, why, tiny):
    listing = one(tiny, line)
    assert not listing.records
    assert [str(problem) for problem in listing.problems] == [f"testing.txt, row 1: {why}"]


def test_both_slashes_are_read_and_keys_have_one(tiny):
    root = tiny.root(tiny.layouts["mtfl"]())
    assert all("\\" not in record.key and "/" in record.key for split in mtfl.splits for record in mtfl.records(root, split).records)


def test_people_are_known_by_lfw_names_only_and_cut_into_train_and_validation(tiny):
    root = tiny.root(tiny.layouts["mtfl"]())
    for split in ("train", "validation"):
        records = [record for record in mtfl.records(root, split).records if record.key.startswith("lfw_5590/")]
        assert records and all(split_of_train(record.subject) == split for record in records)
        assert all(record.subject.startswith("Ann ") for record in records)
    others = [record for record in mtfl.records(root, "train").records if record.key.startswith("net_7876/")]
    assert len(others) == 4 and all(record.subject is None for record in others)


def test_copies_leave_training_before_test(tiny):
    files = tiny.layouts["mtfl"]()
    files["net_7876/0_0_0.jpg"] = files["AFLW/0000-image.jpg"]
    files["net_7876/1_0_0.jpg"] = files["net_7876/2_0_0.jpg"]
    root = tiny.root(files)
    trained = [record.key for record in mtfl.records(root, "train").records]
    assert "net_7876/0_0_0.jpg" not in trained
    assert ("net_7876/1_0_0.jpg" in trained) + ("net_7876/2_0_0.jpg" in trained) == 1
    assert len(mtfl.records(root, "test").records) == 4


def test_absent_pictures_are_named_in_their_split(tiny):
    files = tiny.layouts["mtfl"]()
    del files["net_7876/0_0_0.jpg"]
    root = tiny.root(files)
    assert [mtfl.records(root, split).absent for split in mtfl.splits] == [("net_7876/0_0_0.jpg",), (), ()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(fields=st.lists(st.one_of(st.sampled_from(["1", "2", "3.5", "AFLW/a.jpg", "\\", "-1"]), st.text("0123456789.eE-+²x\0", max_size=5)), max_size=16))
def test_any_line_gives_a_record_or_one_line(fields, tiny):
    listing = mtfl.list_records(tiny.root({"testing.txt": " ".join(["AFLW/a.jpg", *fields]), "AFLW/a.jpg": tiny.noise(1)}), "test")
    assert len(listing.records) + len(listing.problems) == 1
