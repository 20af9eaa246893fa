import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface.datasets import cfp_ff, cfp_fp, copies, find_root
from polyface.datasets.cfp import FOLDS, SPELT, read_pairs
from polyface.errors import InputError

FRONTAL = {1: "001_frontal_01", 2: "001_frontal_02", 3: "002_frontal_01"}
PROFILE = {1: "001_profile_01", 2: "002_profile_01"}


def test_frontal_pictures_are_in_both_sets_and_profiles_in_one(tiny):
    root = tiny.root(tiny.layouts["cfp_ff"]())
    keys = [[record.key for record in dataset.records(root, "test").records] for dataset in (cfp_ff, cfp_fp)]
    assert keys[0][:3] == ["001_frontal_01", "001_frontal_02", "002_frontal_01"]
    assert set(keys[1]) - set(keys[0]) == {f"{person:03}_profile_01" for person in range(1, 2 * FOLDS + 1)}


def test_line_n_of_the_list_names_the_person_of_folder_n(tiny):
    records = cfp_fp.records(tiny.root(tiny.layouts["cfp_fp"]()), "test").records
    assert all(record.subject == record.labels["identity"] == f"Person {chr(96 + int(record.key[:3]))}" for record in records)


def test_both_sets_are_one_download_in_one_space_of_people(tiny):
    tiny.write(tiny.layouts["cfp_ff"](), tiny.folder / "cfp")
    assert find_root(tiny.folder, "cfp_ff").label == find_root(tiny.folder, "cfp_fp").label
    assert cfp_ff.answers["identity"].space == cfp_fp.answers["identity"].space == "cfp"


def test_nobody_of_cfp_is_ever_trained_on():
    assert cfp_ff.splits == cfp_fp.splits == ("test",)


def test_people_are_recognised_where_the_list_misspells_them(tiny):
    files = tiny.layouts["cfp_ff"]()
    files["Data/list_name.txt"] = files["Data/list_name.txt"].replace("Person a\n", "Christiano Ronaldo\n")
    assert cfp_ff.records(tiny.root(files), "test").records[0].subject == "Cristiano Ronaldo"
    assert all(copies.person_name(written) != copies.person_name(right) for written, right in SPELT.items())


def test_keys_are_no_names_that_other_sets_give_to_their_photographs(tiny):
    names = [copies.photograph_name(record) for record in cfp_fp.records(tiny.root(tiny.layouts["cfp_fp"]()), "test").records]
    assert len(set(names)) == len(names) and "01" not in names


def test_fp_pairs_a_frontal_with_a_profile_and_folds_follow_the_folders(tiny):
    root = tiny.root(tiny.layouts["cfp_fp"]())
    pairs = cfp_fp.pairs(root)
    assert all("_frontal_" in key for key in pairs.left) and all("_profile_" in key for key in pairs.right)
    assert pairs.same.tolist() == [True, False] * FOLDS and pairs.fold.tolist() == [fold for fold in range(FOLDS) for _ in range(2)]
    assert (pairs.left[3], pairs.right[3]) == ("003_frontal_01", "004_profile_01")
    assert all("_frontal_" in key for key in cfp_ff.pairs(root).right)


def test_numbers_stand_for_pictures_of_their_own_list():
    assert read_pairs("2,1\n\n1,1\r\n", "same.txt", FRONTAL, PROFILE, True) == [("001_frontal_02", "001_profile_01"), ("001_frontal_01", "001_profile_01")]
    assert read_pairs("3,1\n1 , 2\n", "diff.txt", FRONTAL, PROFILE, False) == [("002_frontal_01", "001_profile_01"), ("001_frontal_01", "002_profile_01")]


@pytest.mark.parametrize(
    ("text", "is_same", "line"),
    [
        ("2,1\n1\n", True, "p.txt, row 2: not two numbers `5,97`"),
        ("1,2,3\n", True, "p.txt, row 1: not two numbers `5,97`"),
        ("1,two\n", True, "p.txt, row 1: 'two' is no whole number"),
        ("1,3\n", True, "p.txt, row 1: the image list has no number 3"),
        ("3,1\n", True, "p.txt, row 1: a pair of two people among those of one person"),
        ("1,1\n", False, "p.txt, row 1: a pair of one person among those of two people"),
    ],
)
def test_a_bad_pair_is_refused_by_row(text, is_same, line):
    with pytest.raises(InputError) as refused:
        read_pairs(text, "p.txt", FRONTAL, PROFILE, is_same)
    assert str(refused.value) == line


def test_a_photograph_paired_with_itself_is_refused():
    with pytest.raises(InputError, match="row 1: a photograph is paired with itself"):
        read_pairs("1,1\n", "p.txt", FRONTAL, FRONTAL, True)


@given(st.one_of(st.text(), st.text("0123, \n")), st.booleans())
def test_any_text_gives_pairs_or_one_line(text, is_same):
    try:
        pairs = read_pairs(text, "p.txt", FRONTAL, PROFILE, is_same)
    except InputError as error:
        assert str(error).startswith("p.txt, row")
    else:
        assert all((one[:3] == other[:3]) is is_same for one, other in pairs)


def test_a_list_of_pairs_cut_short_is_refused(tiny):
    files = tiny.layouts["cfp_ff"]()
    files["Protocol/Split/FF/03/same.txt"] = ""
    with pytest.raises(InputError, match=r"the lists in Protocol/Split/FF hold 0 to 1 pairs where all hold as many"):
        cfp_ff.pairs(tiny.root(files))
    del files["Protocol/Split/FF/03/same.txt"]
    with pytest.raises(InputError, match=r"Protocol/Split/FF/03/same.txt is missing"):
        cfp_ff.pairs(tiny.root(files))


def test_a_listed_picture_that_is_absent_is_named_and_its_pairs_are_no_score(tiny):
    files = tiny.layouts["cfp_fp"]()
    del files["Data/Images/001/profile/01.jpg"]
    root = tiny.root(files)
    assert cfp_fp.records(root, "test").absent == ("Data/Images/001/profile/01.jpg",)
    with pytest.raises(InputError, match=r"1 pictures of the pairs are absent, Data/Images/001/profile/01.jpg first"):
        cfp_fp.pairs(root)
    assert len(cfp_ff.pairs(root).same) == 2 * FOLDS


def test_a_row_of_the_image_list_that_is_none_is_refused_by_row(tiny):
    files = tiny.layouts["cfp_ff"]()
    files["Protocol/image_list_F.txt"] = files["Protocol/image_list_F.txt"].replace("2 Data/Images/001", "2 Data/Pictures/001")
    listing = cfp_ff.records(tiny.root(files), "test")
    assert [str(problem) for problem in listing.problems] == ["Protocol/image_list_F.txt, row 2: not `1 Data/Images/001/frontal/01.jpg`"]
    with pytest.raises(InputError, match=r"Protocol/image_list_F.txt, row 2"):
        cfp_ff.pairs(tiny.root(files))


def test_a_person_whom_the_list_does_not_name_is_refused(tiny):
    files = tiny.layouts["cfp_ff"]()
    files["Data/list_name.txt"] = "Ann\n"
    listing = cfp_ff.records(tiny.root(files), "test")
    assert len(listing.records) == 2 and str(listing.problems[0]) == "Protocol/image_list_F.txt, row 3: list_name.txt does not name person 2"


def test_folds_share_nobody(tiny):
    pairs = cfp_fp.pairs(tiny.root(tiny.layouts["cfp_fp"]()))
    people = [{key[:3] for key, fold in zip((*pairs.left, *pairs.right), np.tile(pairs.fold, 2), strict=True) if fold == each} for each in range(FOLDS)]
    assert sum(map(len, people)) == len(set.union(*people)) == 2 * FOLDS
