import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface import tasks
from polyface.datasets import afw, helen, split_of_train
from polyface.datasets.points300w import read_pts
from polyface.datasets.tables import photograph_of
from polyface.errors import InputError


def lines(points):
    return ["version: 1", "n_points:  68", "{", *(f"{x} {y}" for x, y in points), "}"]


GRID = np.stack(np.meshgrid(np.arange(1.0, 18), np.arange(1.0, 5)), -1).reshape(-1, 2)


def test_the_first_pixel_of_a_pts_file_is_one():
    points = read_pts("\n".join(lines(GRID)), "a.pts")
    np.testing.assert_array_equal(points, GRID - 0.5)


def test_line_ends_of_windows_and_other_spaces_are_read():
    text = "\r\n".join(["version:1", "n_points: 68", "{", *(f"  {x}\t{y} " for x, y in GRID), "}", ""])
    np.testing.assert_array_equal(read_pts(text, "a.pts"), GRID - 0.5)


@pytest.mark.parametrize(
    ("row", "text", "line"),
    [
        (5, "1 nose", "a.pts, row 6: 'nose' is no number"),
        (5, "1", "a.pts, row 6: not `x y`"),
        (5, "1 2 3", "a.pts, row 6: not `x y`"),
        (5, "nan 1", "a.pts, row 6: 'nan' is no finite number"),
        (1, "n_points: 67", "a.pts: 68 points and `n_points: 67` where 68 points are expected"),
        (0, "version: 2", "a.pts: not a .pts file of version 1"),
        (-1, "", "a.pts: not a .pts file of version 1"),
    ],
)
def test_a_bad_pts_file_is_refused_by_row(row, text, line):
    table = lines(GRID)
    table[row] = text
    with pytest.raises(InputError) as refused:
        read_pts("\n".join(table), "a.pts")
    assert str(refused.value) == line


@given(
    st.one_of(
        st.text(),
        st.lists(st.text("0123456789. -e\t", max_size=12), min_size=66, max_size=70).map(lambda rows: "\n".join(["version: 1", "n_points: 68", "{", *rows, "}"])),
    )
)
def test_any_text_gives_points_or_one_line(text):
    try:
        points = read_pts(text, "a.pts")
    except InputError as error:
        assert str(error).startswith("a.pts")
    else:
        assert points.shape == (68, 2) and np.isfinite(points).all()


def test_records_hold_points_box_and_labelled_alignment(tiny):
    root = tiny.root({"testset/1_1.jpg": tiny.noise(1, 20, 20), "testset/1_1.pts": "\n".join(lines(GRID))})
    (record,) = helen.records(root, "test").records
    np.testing.assert_array_equal(record.labels["landmarks"], GRID - 0.5)
    np.testing.assert_array_equal(record.boxes, [[0.5, 0.5, 16.5, 3.5]])
    assert record.alignment.how == "labelled"
    np.testing.assert_array_equal(record.alignment.points[2], GRID[30] - 0.5)


def test_only_train_has_angles_from_the_points(tiny):
    root = tiny.root(tiny.layouts["helen"]())
    assert all(set(record.labels["pose"]) == set(tasks.pose.axes) for record in helen.records(root, "train").records)
    assert all("pose" not in record.labels for split in ("validation", "test") for record in helen.records(root, split).records)


def test_faces_of_one_photograph_stay_in_one_split(tiny):
    files = {f"trainset/{photo}_{face}{ending}": make(photo) for photo in range(40) for face in (1, 2) for ending, make in ((".jpg", tiny.noise), (".pts", tiny.pts))}
    root = tiny.root(files)
    for split in ("train", "validation"):
        photographs = [record.key.split("/")[1].split("_")[0] for record in helen.records(root, split).records]
        assert photographs and all(photographs.count(photograph) == 2 and split_of_train(photograph) == split for photograph in photographs)


def test_photographs_that_are_called_otherwise_are_told_apart_too():
    assert [photograph_of(name) for name in ("trainset/134212_1.pts", "trainset/image1.pts", "image2.pts")] == ["134212", "image1", "image2"]


def test_mirrored_copies_are_left_out_and_lonely_points_are_absent(tiny):
    files = {"afw/1_1.jpg": tiny.noise(1), "afw/1_1.pts": tiny.pts(1), "afw/1_1_mirror.jpg": tiny.noise(1), "afw/1_1_mirror.pts": tiny.pts(1), "afw/2_1.pts": tiny.pts(1)}
    listing = afw.records(tiny.root(files), "test")
    assert [record.key for record in listing.records] == ["afw/1_1"]
    assert listing.absent == ("afw/2_1.jpg",)


def test_a_point_far_outside_the_picture_is_refused_by_name(tiny):
    far = GRID.copy()
    far[3] = (4, 500)
    files = {"testset/1_1.jpg": tiny.noise(1, 20, 20), "testset/1_1.pts": "\n".join(lines(far)), "testset/2_1.jpg": tiny.noise(2), "testset/2_1.pts": tiny.pts(2)}
    listing = helen.records(tiny.root(files), "test")
    assert [str(problem) for problem in listing.problems] == ["testset/1_1.pts: point 4 at (3.5, 499.5) is outside the picture testset/1_1.jpg of 20 x 20"]
    assert len(listing.records) == 1


def test_a_truncated_photograph_is_refused_by_name(tiny):
    listing = afw.list_records(tiny.root({"1_1.jpg": tiny.noise(1)[:-40], "1_1.pts": tiny.pts(1)}), "test")
    assert "1_1.jpg: cut short" in str(listing.problems[0])
