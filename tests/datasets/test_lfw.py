import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface.datasets import lfw
from polyface.datasets.lfw import read_pairs
from polyface.errors import InputError
from polyface.images.align import ARCFACE_112

PAIRS = "2\t1\nAnn_Lee\t1\t4\nAnn_Lee\t1\tBob\t22\nBob\t1\t2\nBob\t3\tAnn_Lee\t4\n"


def test_people_are_named_with_spaces_and_pictures_as_lfw_names_them(tiny):
    records = lfw.records(tiny.root(tiny.layouts["lfw"]()), "test").records
    assert [record.key for record in records if record.subject == "Cid van Ox"] == ["Cid_van_Ox_0001", "Cid_van_Ox_0002"]
    assert all(record.labels["identity"] == record.subject for record in records)


def test_aligned_pictures_state_arcfaces_points_and_the_public_ones_guess(tiny):
    aligned, public = (lfw.records(tiny.root(tiny.layouts["lfw"](folder)), "test").records[0].alignment for folder in ("lfw_aligned_112", "lfw"))
    assert aligned.how == "stated" and public.how == "guess"
    np.testing.assert_array_equal(aligned.points, ARCFACE_112)


def test_where_both_layouts_are_there_the_aligned_one_is_taken(tiny):
    root = tiny.root(tiny.layouts["lfw"]("lfw") | tiny.layouts["lfw"]("lfw_aligned_112"))
    records = lfw.records(root, "test").records
    assert len(records) == 8 and all(record.source.name.startswith("lfw_aligned_112/") for record in records)


def test_pairs_are_read_with_folds():
    pairs = read_pairs(PAIRS, "pairs.txt")
    assert pairs.left == ("Ann_Lee_0001", "Ann_Lee_0001", "Bob_0001", "Bob_0003")
    assert pairs.right == ("Ann_Lee_0004", "Bob_0022", "Bob_0002", "Ann_Lee_0004")
    assert pairs.same.tolist() == [True, False, True, False] and pairs.fold.tolist() == [0, 0, 1, 1]


def test_a_list_for_development_is_one_fold():
    pairs = read_pairs("1\nAnn\t1\t2\nAnn\t1\tBob\t2\n", "pairsDevTest.txt")
    assert pairs.same.tolist() == [True, False] and pairs.fold.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (PAIRS.replace("Bob\t1\t2\n", ""), "pairs.txt: 3 pairs where its first row announces 4"),
        (PAIRS.replace("1\t4\n", "1\tfour\n", 1), "pairs.txt, row 2: 'four' is no whole number"),
        (PAIRS.replace("Bob\t1\t2\n", "Bob\t1\tAnn\t2\n"), "pairs.txt, row 4: not `name i j`"),
        ("ten\t300\n", "pairs.txt, row 1: not `folds pairs`"),
        ("0\t300\n", "pairs.txt, row 1: 0 folds of 300 pairs"),
        ("", "pairs.txt, row 1: not `folds pairs`"),
    ],
)
def test_a_bad_list_of_pairs_is_refused_by_row(text, line):
    with pytest.raises(InputError) as refused:
        read_pairs(text, "pairs.txt")
    assert str(refused.value) == line


@given(
    st.one_of(st.text(), st.lists(st.lists(st.sampled_from(["A", "1", "2", "x"]), max_size=5).map("\t".join), max_size=5).map(lambda rows: "\n".join(["1\t1", *rows])))
)
def test_any_text_gives_pairs_or_one_line(text):
    try:
        pairs = read_pairs(text, "pairs.txt")
    except InputError as error:
        assert str(error).startswith("pairs.txt")
    else:
        assert len(pairs.left) == len(pairs.right) == len(pairs.same) == len(pairs.fold) > 0


def test_pairs_with_an_absent_picture_are_counted_and_refused(tiny):
    files = tiny.layouts["lfw"]()
    del files["lfw_aligned_112/Bob/Bob_0002.jpg"]
    with pytest.raises(InputError, match=r"1 of the 4 pairs of pairs.txt have an absent picture, Bob_0002 first"):
        lfw.pairs(tiny.root(files))
