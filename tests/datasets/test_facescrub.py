"""FaceScrub's three layouts, and lists with wrong rows."""

import pytest

from polyface.datasets import facescrub
from polyface.tasks import gender, identity

TITLES = "name\timage_id\tface_id\turl\tbbox\tsha256\n"


def records(root, split=None):
    listings = [facescrub.list_records(root, each) for each in ("train", "validation", "test")]
    return {record.key: record for listing in listings for record in listing.records}, [str(problem) for listing in listings for problem in listing.problems]


def row(name, image, face, box="1,2,11,13"):
    return f"{name}\t{image}\t{face}\thttp://a/b.jpg\t{box}\t{'0' * 64}\n"


def test_megafaces_whole_photographs_are_named_by_the_number_of_the_face(tiny):
    files = {"Ann Lee/Ann Lee_7.jpg": tiny.noise(1), "Ann Lee/Ann Lee_8.png": tiny.noise(2), "facescrub_actresses.txt": TITLES + row("Ann Lee", 70, 7)}
    found, problems = records(tiny.root(files))
    assert not problems and found.keys() == {"Ann Lee/Ann Lee_7.jpg", "Ann Lee/Ann Lee_8.png"}
    listed, unlisted = found["Ann Lee/Ann Lee_7.jpg"], found["Ann Lee/Ann Lee_8.png"]
    assert listed.subject == "Ann Lee" and listed.labels == {identity.name: "Ann Lee", gender.name: "actress"} and listed.groups == {gender.name: "female"}
    assert listed.boxes.tolist() == [[1, 2, 11, 13]] and unlisted.boxes is None


def test_a_photograph_of_the_script_has_all_its_listed_faces_and_the_faces_cut_from_it_are_left_alone(tiny):
    files = {f"actors/{kind}/Bo_Ek/Bo_Ek_{number}.jpeg": tiny.noise(seed) for seed, (kind, number) in enumerate([("images", "5"), ("faces", "5_1"), ("faces", "5_2")])}
    files["facescrub_actors.txt"] = TITLES + row("Bo Ek", 5, 1) + row("Bo Ek", 5, 2, "3,4,9,9") + row("Bo Ek", 6, 3)
    found, problems = records(tiny.root(files))
    boxes = {key: record.boxes.tolist() for key, record in found.items()}
    assert not problems and boxes == {"actors/images/Bo_Ek/Bo_Ek_5.jpeg#1": [[1, 2, 11, 13]], "actors/images/Bo_Ek/Bo_Ek_5.jpeg#2": [[3, 4, 9, 9]]}
    del files["actors/images/Bo_Ek/Bo_Ek_5.jpeg"]
    found, _ = records(tiny.root(files))
    assert {key: record.boxes for key, record in found.items()} == {"actors/faces/Bo_Ek/Bo_Ek_5_1.jpeg": None, "actors/faces/Bo_Ek/Bo_Ek_5_2.jpeg": None}
    assert {record.subject for record in found.values()} == {"Bo Ek"}


def test_folders_of_people_without_lists_are_people_of_unknown_gender(tiny):
    found, problems = records(tiny.root({"Ann Lee/anything.jpg": tiny.noise(1), "loose.jpg": tiny.noise(2)}))
    assert not problems and [record.labels for record in found.values()] == [{identity.name: "Ann Lee"}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Ann Lee\t1\t2\n", "not six fields between tabs"),
        (row("Ann Lee", 1, 2, "1,2,3"), "'1,2,3' is no box x1,y1,x2,y2"),
        (row("Ann Lee", 1, 2, "9,2,3,4"), "'9,2,3,4' is no box x1,y1,x2,y2"),
        (row("Ann Lee", 1, 2, "1,2,3,x"), "'x' is no number"),
        (row("Ann Lee", "one", 2), "'one' is no whole number"),
        (row("Ann Lee", 1, 7), "the face 7 of Ann Lee is listed a second time"),
    ],
)
def test_a_wrong_row_of_a_list_is_refused_by_row_and_the_rest_goes_on(tiny, line, said):
    files = {"Ann Lee/Ann Lee_7.jpg": tiny.noise(1), "facescrub_actresses.txt": TITLES + row("Ann Lee", 70, 7) + line}
    found, problems = records(tiny.root(files))
    assert problems == [f"facescrub_actresses.txt, row 3: {said}"] * 3 and found["Ann Lee/Ann Lee_7.jpg"].boxes is not None
