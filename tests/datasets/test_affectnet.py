import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface.datasets import affectnet, split_of_train
from polyface.datasets.affectnet import read_npy
from polyface.errors import InputError


def files_of(tiny, exp, part="val", name="1", seed=1, **more):
    files = {f"{part}_set/images/{name}.jpg": tiny.noise(seed), f"{part}_set/annotations/{name}_exp.npy": exp}
    return files | {f"{part}_set/annotations/{name}_{what}.npy": content for what, content in more.items()}


@pytest.mark.parametrize("kind", [str, int, float, np.uint8])
def test_the_eight_digits_are_read_in_affectnets_order_as_numbers_or_text(kind, tiny):
    files = {}
    for digit in range(8):
        value = f"{digit}" if kind is str else kind(digit)
        files |= files_of(tiny, tiny.npy(value if digit % 2 else [value]), name=str(digit), seed=digit)
    expected = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"]
    assert [record.labels["expression"] for record in affectnet.records(tiny.root(files), "test").records] == expected


def test_the_official_validation_is_our_test_and_a_tenth_of_train_validation(tiny):
    root = tiny.root(tiny.layouts["affectnet"]())
    kept = {split: affectnet.records(root, split).records for split in affectnet.splits}
    assert all(record.key.startswith("val_set/") for record in kept["test"]) and len(kept["test"]) == 8
    for split in ("train", "validation"):
        assert kept[split] and all(record.key.startswith("train_set/") and split_of_train(record.source.read()) == split for record in kept[split])


def test_a_train_copy_of_a_test_picture_is_dropped(tiny):
    files = files_of(tiny, tiny.npy("1")) | files_of(tiny, tiny.npy("1"), part="train", name="5") | files_of(tiny, tiny.npy("1"), part="train", name="6", seed=2)
    root = tiny.root(files)
    assert [record.key for record in affectnet.records(root, split_of_train(tiny.noise(2))).records] == ["train_set/6"]
    assert [record.key for record in affectnet.records(root, "test").records] == ["val_set/1"]


def test_the_points_of_a_machine_are_a_guess_and_no_label(tiny):
    points = np.stack(np.meshgrid(np.arange(17.0), np.arange(4.0)), -1).reshape(-1, 2)
    for stored in (points.ravel(), points):
        (record,) = affectnet.records(tiny.root(files_of(tiny, tiny.npy("1"), lnd=tiny.npy(stored))), "test").records
        assert set(record.labels) == {"expression"} and record.alignment.how == "guess"
        np.testing.assert_allclose(record.alignment.points[[2, 3, 4]], points[[30, 48, 54]] + 0.5)
        np.testing.assert_allclose(record.alignment.points[0], points[36:42].mean(0) + 0.5)
    (record,) = affectnet.records(tiny.root(files_of(tiny, tiny.npy("1"))), "test").records
    assert record.alignment is None


BAD = [
    ({"exp": "8"}, "val_set/annotations/1_exp.npy: 8 (none) is no expression"),
    ({"exp": 11}, "val_set/annotations/1_exp.npy: 11 is none of 0 to 7"),
    ({"exp": 2.5}, "val_set/annotations/1_exp.npy: not one digit"),
    ({"exp": "happy"}, "val_set/annotations/1_exp.npy: not one digit"),
    ({"exp": [1, 2]}, "val_set/annotations/1_exp.npy: not one digit"),
    ({"exp": float("nan")}, "val_set/annotations/1_exp.npy: not one digit"),
    ({"exp": float("inf")}, "val_set/annotations/1_exp.npy: not one digit"),
    ({"exp": True}, "val_set/annotations/1_exp.npy: a .npy file of bool"),
    ({"exp": "1", "lnd": np.zeros(134)}, "val_set/annotations/1_lnd.npy: not 68 points"),
    ({"exp": "1", "lnd": np.full(136, np.nan)}, "val_set/annotations/1_lnd.npy: a point that is no number"),
    ({"exp": "1", "lnd": np.full(136, 99.0)}, "point 1 at (99.5, 99.5) is outside the picture val_set/images/1.jpg of 16 x 16"),
]


@pytest.mark.parametrize(("values", "problem"), BAD, ids=[problem for _, problem in BAD])
def test_a_bad_file_is_refused_by_name_and_the_rest_goes_on(values, problem, tiny):
    files = files_of(tiny, **{what: tiny.npy(value) for what, value in values.items()}) | files_of(tiny, tiny.npy("3"), name="2", seed=2)
    listing = affectnet.records(tiny.root(files), "test")
    assert [record.key for record in listing.records] == ["val_set/2"]
    assert [str(found) for found in listing.problems] == [f"val_set/images/1.jpg: {problem}"]


def test_a_text_with_a_broken_character_is_refused(tiny):
    files = files_of(tiny, exp=tiny.npy("3")[:-4] + b"\xff" * 4) | files_of(tiny, tiny.npy("3"), name="2", seed=2)
    assert "not one digit" in str(affectnet.records(tiny.root(files), "test").problems[0])


def test_nothing_pickled_is_loaded(tiny):
    with pytest.raises(InputError, match=r"a\.npy: not a \.npy file of numbers"):
        read_npy(tiny.npy(np.array([object()], dtype=object)), "a.npy")


def test_a_picture_without_an_annotation_is_absent(tiny):
    listing = affectnet.list_records(tiny.root({"val_set/images/1.jpg": tiny.noise(1)}), "test")
    assert listing.absent == ("val_set/annotations/1_exp.npy",) and not listing.records


@given(
    st.one_of(st.binary(max_size=200), st.binary(max_size=80).map(lambda tail: b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }" + tail))
)
def test_any_bytes_give_an_array_or_one_line(data):
    try:
        assert isinstance(read_npy(data, "a.npy"), np.ndarray)
    except InputError as error:
        assert str(error).startswith("a.npy: ") and "\n" not in str(error)
