import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface import tasks
from polyface.datasets import lapa
from polyface.datasets.lapa import COUNT, OURS, read_points, weights
from polyface.errors import InputError
from polyface.images import geometry

CLASSES = tasks.parsing.vocabulary


def face():
    """68 points of a face, and LaPa's 106 of the same face where the map knows them; the others far off."""
    ours = np.random.default_rng(5).uniform(2, 14, (68, 2))
    theirs = np.full((COUNT, 2), 1.0)
    theirs[list(OURS)] = weights() @ ours
    return ours, theirs


def text(points):
    return f"{COUNT}\n" + "".join(f"{x:.6f} {y:.6f}\n" for x, y in points)


def files_of(tiny, name, seed, points=None, mask=None):
    part, stem = name.split("/")
    files = {f"{part}/images/{stem}.jpg": tiny.noise(seed), f"{part}/labels/{stem}.png": tiny.mask(seed, top=10) if mask is None else mask}
    return files if points is None else files | {f"{part}/landmarks/{stem}.txt": points}


def kept(root):
    return {split: [record.key for record in lapa.list_records(root, split).records] for split in lapa.splits}


def test_left_is_the_images_left_and_so_the_subjects_right():
    words = lapa.answers["parsing"]
    possible = {name: [CLASSES[at] for at in np.flatnonzero(row)] for name, row in zip(words.names, words.table, strict=True)}
    assert [possible[name] for name in ("left eyebrow", "right eyebrow", "left eye", "right eye")] == [["r_brow"], ["l_brow"], ["r_eye"], ["l_eye"]]


def test_ears_may_be_skin_and_what_lapa_has_no_word_for_background():
    words = lapa.answers["parsing"]
    possible = {name: {CLASSES[at] for at in np.flatnonzero(row)} for name, row in zip(words.names, words.table, strict=True)}
    assert possible["skin"] == {"skin", "l_ear", "r_ear", "eye_g"}
    assert possible["background"] == {"background", "eye_g", "hat", "ear_r", "neck_l", "neck", "cloth"}
    assert words.scope.all() and words.names[10] == "hair"


def test_a_masks_numbers_are_the_eleven_words_in_order(tiny):
    mask = cv2.imencode(".png", np.arange(256, dtype=np.uint8).reshape(16, 16) % 11)[1].tobytes()
    (record,) = lapa.records(tiny.root(files_of(tiny, "test/a_0", 1, mask=mask)), "test").records
    row = tasks.parsing.encode(lapa.answers["parsing"], record.labels["parsing"])
    assert row["words"][0, :11].tolist() == list(range(11))
    assert [CLASSES[int(possible.argmax())] for possible in row["table"][2:6]] == ["r_brow", "l_brow", "r_eye", "l_eye"]


def test_the_points_are_means_of_ours_and_the_alignment_is_theirs(tiny):
    ours, theirs = face()
    (record,) = lapa.records(tiny.root(files_of(tiny, "test/a_0", 1, text(theirs))), "test").records
    np.testing.assert_allclose(record.labels["landmarks"], weights() @ ours + 0.5, atol=1e-5)
    np.testing.assert_allclose(record.alignment.points, geometry.five_of_68() @ ours + 0.5, atol=1e-5)
    assert record.alignment.how == "labelled" and record.boxes.shape == (1, 4)


def test_the_map_is_its_own_mirror_image():
    """Mirrored, each point that is read means the points of the other side, and is one that is read too."""
    mirrored = {frozenset(tasks.landmarks.mirrored[point] for point in ours) for ours in OURS.values()}
    assert mirrored == {frozenset(ours) for ours in OURS.values()} and len(OURS) == 35


def test_a_photograph_of_test_leaves_the_other_parts_and_one_of_validation_leaves_train(tiny):
    names = ("test/HELEN_1_2_0", "val/HELEN_1_2_3", "val/LFPW_image_test_0001_0", "train/HELEN_1_2_7", "train/LFPW_image_test_0001_4", "train/HELEN_1_3_0", "train/77")
    root = tiny.root({file: content for seed, name in enumerate(names) for file, content in files_of(tiny, f"LaPa/{name}".removeprefix("LaPa/"), seed).items()})
    assert kept(root) == {"train": ["train/77", "train/HELEN_1_3_0"], "validation": ["val/LFPW_image_test_0001_0"], "test": ["test/HELEN_1_2_0"]}


def test_what_macos_leaves_beside_a_picture_is_no_record(tiny):
    listing = lapa.records(tiny.root(files_of(tiny, "test/a_0", 1) | {"test/images/._a_0.jpg": b"\0\5\x16\7", "test/labels/._a_0.png": b"\0\5\x16\7"}), "test")
    assert [record.key for record in listing.records] == ["test/a_0"] and not listing.absent and not listing.problems


def test_a_picture_without_a_mask_is_absent_and_one_without_points_has_none(tiny):
    files = files_of(tiny, "test/a_0", 1) | {"test/images/b_0.jpg": tiny.noise(2)}
    listing = lapa.records(tiny.root(files), "test")
    assert [(record.key, set(record.labels), record.alignment) for record in listing.records] == [("test/a_0", {"parsing"}, None)]
    assert listing.absent == ("test/labels/b_0.png",)


def test_bad_points_are_refused_by_row_and_the_rest_goes_on(tiny):
    good = text(face()[1])
    files = files_of(tiny, "test/a_0", 1, good.replace("\n1.000000 ", "\nx ", 1)) | files_of(tiny, "test/b_0", 2, good)
    listing = lapa.records(tiny.root(files | files_of(tiny, "test/c_0", 3, text(face()[1] + 49)) | files_of(tiny, "test/d_0", 4, text(np.ones((COUNT, 2))))), "test")
    assert [record.key for record in listing.records] == ["test/b_0"]
    assert [str(problem) for problem in listing.problems] == [
        "test/images/a_0.jpg: test/landmarks/a_0.txt, row 2: 'x' is no number",
        "test/images/c_0.jpg: point 76 at (57.3, 63.0) is outside the picture test/images/c_0.jpg of 16 x 16",
        "test/images/d_0.jpg: all points of test/images/d_0.jpg fall together",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "a.txt: 0 points and `` where 106 points are expected"),
        ("68\n" + "1 1\n" * 68, "a.txt: 68 points and `68` where 106 points are expected"),
        ("106\n" + "1 1\n" * 105, "a.txt: 105 points and `106` where 106 points are expected"),
        ("106\n" + "1 1\n" * 105 + "1 1 1\n", "a.txt, row 107: not `x y`"),
        ("106\n" + "inf 1\n" * 106, "a.txt, row 2: 'inf' is no finite number"),
        ("106\n\n" + "1 1\n" * 105, "a.txt, row 2: not `x y`"),
    ],
)
def test_a_bad_file_of_points_is_refused_by_row(content, line):
    with pytest.raises(InputError) as refused:
        read_points(content, "a.txt")
    assert str(refused.value) == line


@given(
    st.one_of(st.text(), st.tuples(st.integers(0, 106), st.text()).map(lambda change: "\n".join(["106", *["1 1"] * change[0], change[1], *["1 1"] * (105 - change[0])])))
)
def test_any_text_gives_points_or_one_line(content):
    try:
        points = read_points(content, "a.txt")
    except InputError as error:
        assert str(error).startswith("a.txt") and "\n" not in str(error)
    else:
        assert points.shape == (COUNT, 2) and np.isfinite(points).all()
