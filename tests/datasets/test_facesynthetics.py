import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface import tasks
from polyface.datasets import facesynthetics
from polyface.datasets.facesynthetics import MEANINGS, read_points
from polyface.errors import InputError

GRID = np.stack(np.meshgrid(np.arange(1.0, 15), np.arange(1.0, 6)), -1).reshape(-1, 2)
ROWS = [f"{x} {y}" for x, y in GRID]
OFFICIAL = [  # FaceSynthetics' readme; its "right" is the image's
    ("background", "background"), ("skin", "skin"), ("nose", "nose"), ("right_eye", "l_eye"), ("left_eye", "r_eye"), ("right_brow", "l_brow"), ("left_brow", "r_brow"),
    ("right_ear", "l_ear"), ("left_ear", "r_ear"), ("mouth_interior", "mouth"), ("top_lip", "u_lip"), ("bottom_lip", "l_lip"), ("neck", "neck"), ("hair", "hair"),
    ("beard", "skin"), ("clothing", "cloth"), ("glasses", "eye_g"), ("headwear", "hat"), ("facewear", "skin"),
]  # fmt: skip


def possible(word: int) -> set[str]:
    return set(np.array(tasks.parsing.vocabulary)[facesynthetics.answers["parsing"].table[word]])


@pytest.mark.parametrize(("word", "name", "ours"), [(word, name, ours) for word, (name, ours) in enumerate(OFFICIAL)], ids=[name for name, _ in OFFICIAL])
def test_each_class_leaves_ours_possible(word, name, ours):
    assert ours in possible(word)


def test_only_words_that_are_wider_than_ours_leave_several():
    wide = {name for word, name in enumerate(MEANINGS) if len(possible(word)) > 1}
    assert wide == {"skin", "beard", "headwear", "facewear"}
    assert possible(14) == {"skin", "hair"}


def test_nobody_wears_jewellery_so_nothing_is_said_of_it():
    names = np.array(tasks.parsing.vocabulary)
    assert set(names[~facesynthetics.answers["parsing"].scope]) == {"ear_r", "neck_l"}


def test_the_pupils_are_left_out_and_points_are_ours_already():
    np.testing.assert_array_equal(read_points("\n".join(ROWS), "a_ldmks.txt"), GRID[:68])


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (ROWS[:68], "a.txt: 68 points where there are 70"),
        ([*ROWS[:4], "1 nose", *ROWS[5:]], "a.txt, row 5: 'nose' is no number"),
        ([*ROWS[:4], "1", *ROWS[5:]], "a.txt, row 5: not `x y`"),
        ([*ROWS[:4], "1 inf", *ROWS[5:]], "a.txt, row 5: 'inf' is no finite number"),
        ([], "a.txt: 0 points where there are 70"),
    ],
)
def test_bad_points_are_refused_by_row(rows, line):
    with pytest.raises(InputError) as refused:
        read_points("\n".join(rows), "a.txt")
    assert str(refused.value) == line


@given(st.one_of(st.text(), st.lists(st.text("0123456789. -e\t", max_size=12), min_size=68, max_size=72).map("\n".join)))
def test_any_text_gives_points_or_one_line(text):
    try:
        points = read_points(text, "a.txt")
    except InputError as error:
        assert str(error).startswith("a.txt")
    else:
        assert points.shape == (68, 2) and np.isfinite(points).all()


def test_records_hold_points_mask_box_and_labelled_alignment(tiny):
    root = tiny.root(tiny.layouts["facesynthetics"]())
    record = facesynthetics.records(root, "train").records[0]
    points = record.labels["landmarks"]
    assert record.key == "000000" and record.alignment.how == "labelled" and record.subject is None
    np.testing.assert_array_equal(record.alignment.points[2], points[30])
    np.testing.assert_array_equal(record.boxes, [[*points.min(0), *points.max(0)]])
    assert record.labels["parsing"]().shape == (16, 16)


def test_pixels_to_ignore_are_unlabelled(tiny):
    files = tiny.layouts["facesynthetics"]()
    files["dataset_100/000000_seg.png"] = cv2.imencode(".png", np.array([[255, 18], [0, 255]], np.uint8))[1].tobytes()
    mask = facesynthetics.records(tiny.root(files), "train").records[0].labels["parsing"]
    row = tasks.parsing.encode(facesynthetics.answers["parsing"], mask)
    assert row["words"].tolist() == [[255, 18], [0, 255]]


def test_rendered_people_are_for_training_only():
    assert facesynthetics.splits == ("train",)


def test_a_picture_without_points_or_mask_is_absent(tiny):
    files = tiny.layouts["facesynthetics"]()
    del files["dataset_100/000001_ldmks.txt"], files["dataset_100/000002_seg.png"]
    listing = facesynthetics.records(tiny.root(files), "train")
    assert listing.absent == ("dataset_100/000001_ldmks.txt", "dataset_100/000002_seg.png")
    assert "000001" not in {record.key for record in listing.records} and not listing.problems


def test_a_point_far_outside_the_picture_is_refused_by_name(tiny):
    files = tiny.layouts["facesynthetics"]()
    files["dataset_100/000001_ldmks.txt"] = "\n".join(["500 3", *ROWS[1:]])
    listing = facesynthetics.records(tiny.root(files), "train")
    assert [str(problem) for problem in listing.problems] == ["dataset_100/000001.png: point 1 at (500.0, 3.0) is outside the picture dataset_100/000001.png of 16 x 16"]
