import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from polyface.datasets import negatives, scenes, wider
from polyface.datasets.base import Alignment, Record, split_of, split_of_train
from polyface.datasets.scene import Scene
from polyface.errors import InputError, PolyfaceError, RequestError
from polyface.images.detect import Face
from polyface.images.read import Source, open_root

POINTS = np.array([[3.0, 4], [7, 4], [5, 6], [3, 8], [7, 8]])


def listing(*scenes: tuple[str, list[str]]) -> str:
    """A WIDER list; a scene without a box has one line of zeros."""
    return "".join(f"{name}\n{len(rows)}\n" + "\n".join(rows or ["0 0 0 0 0 0 0 0 0 0"]) + "\n" for name, rows in scenes)


def wider_root(tiny, *written: tuple[str, list[str]], part: str = "train"):
    pictures = {f"WIDER_{part}/images/{name}": tiny.noise(at) for at, (name, _) in enumerate(written)}
    return tiny.root({f"wider_face_split/wider_face_{part}_bbx_gt.txt": listing(*written), **pictures})


def names_in(split: str, count: int) -> list[str]:
    return [name for name in (f"1--A/{at}.jpg" for at in range(100)) if split_of_train(name) == split][:count]


def test_wider_boxes_are_corners_and_invalid_ones_are_ignored(tiny):
    (name,) = names_in("train", 1)
    (scene,) = wider.list_scenes(wider_root(tiny, (name, ["1 2 3 4 0 0 0 0 0 0 ", "5 6 7 8 2 0 0 1 0 0", "9 9 0 4 0 0 0 0 0 0"])), "train").items
    np.testing.assert_array_equal(scene.boxes, [[1, 2, 4, 6], [5, 6, 12, 14]])
    assert scene.ignored.tolist() == [False, True] and scene.complete and not scene.clicked.any() and np.isnan(scene.points).all()


def test_a_wider_scene_without_faces_shifts_no_other(tiny):
    first, second = names_in("train", 2)
    empty, one = wider.list_scenes(wider_root(tiny, (first, []), (second, ["1 2 3 4 0 0 0 0 0 0"])), "train").items
    assert (empty.key, len(empty.boxes), one.key, len(one.boxes)) == (first, 0, second, 1)


def test_the_official_val_is_the_test_and_a_tenth_of_train_validation(tiny):
    train, held = names_in("train", 1)[0], names_in("validation", 1)[0]
    row = ["1 2 3 4 0 0 0 0 0 0"]
    root = wider_root(tiny, (train, row), (held, row))
    assert [scene.key for split in ("train", "validation") for scene in wider.list_scenes(root, split).items] == [train, held]
    assert [scene.key for scene in wider.list_scenes(wider_root(tiny, (train, row), (held, row), part="val"), "test").items] == [train, held]


@pytest.mark.parametrize(
    "content", ["a.jpg\n", "a.jpg\nmany\n1 2 3 4 0 0 0 0 0 0\n", "a.jpg\n3\n1 2 3 4 0 0 0 0 0 0\n", "a.jpg\n1\n1 2 3\n", "a.jpg\n1\n1 2 x 4 0 0 0 0 0 0\n"]
)
def test_a_wider_list_that_is_none_is_refused_by_row(tiny, content):
    root = tiny.root({"wider_face_split/wider_face_val_bbx_gt.txt": content, "WIDER_val/images/a.jpg": tiny.noise(1)})
    try:
        (problem,) = wider.list_scenes(root, "test").problems
    except InputError as error:
        problem = error
    assert "wider_face_val_bbx_gt.txt, row 1: " in str(problem)


@given(st.text(alphabet="1 -x.\n", max_size=60))
def test_whatever_a_wider_list_holds_it_is_read_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("wider")
    (folder / "wider_face_val_bbx_gt.txt").write_text(content)
    with contextlib.suppress(InputError):
        wider.list_scenes(open_root(folder), "test")


def test_levels_say_which_faces_of_val_count(tmp_path):
    def cells(*values):
        array = np.empty((len(values), 1), object)
        for at, value in enumerate(values):
            array[at, 0] = value
        return array

    files = cells(cells("one", "two"))
    boxes = cells(cells(np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), np.zeros((0, 4))))
    for level, counted in (("easy", [[1]]), ("medium", [[2]]), ("hard", [[1], [2]])):
        gt = cells(cells(np.array(counted), np.zeros((0, 1))))
        savemat(tmp_path / f"wider_{level}_val.mat", {"event_list": cells("1--A"), "file_list": files, "face_bbx_list": boxes, "gt_list": gt})
    judged = wider.read_levels(open_root(tmp_path))
    assert list(judged) == ["1--A/one.jpg", "1--A/two.jpg"] and len(judged["1--A/two.jpg"].boxes) == 0
    np.testing.assert_array_equal(judged["1--A/one.jpg"].boxes, [[1, 2, 4, 6], [5, 6, 12, 14]])
    assert {level: counted.tolist() for level, counted in judged["1--A/one.jpg"].counts.items()} == {"easy": [True, False], "medium": [False, True], "hard": [True, True]}
    (tmp_path / "wider_hard_val.mat").write_bytes(b"hello")
    with pytest.raises(InputError, match=r"wider_hard_val\.mat"):
        wider.read_levels(open_root(tmp_path))
    savemat(tmp_path / "wider_hard_val.mat", {"x": 1})
    with pytest.raises(InputError, match=r"^wider_hard_val\.mat: no 'event_list' in it; it is not the list of the evaluation code$"):
        wider.read_levels(open_root(tmp_path))
    savemat(tmp_path / "wider_hard_val.mat", {"event_list": 1, "file_list": 1, "face_bbx_list": 1, "gt_list": 1})
    with pytest.raises(InputError, match=r"wider_\*_val\.mat are not the lists of the evaluation code"):
        wider.read_levels(open_root(tmp_path))


def test_classes_of_negatives_are_in_one_split_each_and_those_with_faces_in_none(tiny):
    classes = [*"abcdefghijklmnopqrstuvwxyz", "buddha"]
    root = tiny.root({f"caltech101/{name}/{at}.jpg": tiny.noise(at) for name in classes for at in range(2)} | {f"haar/{at}.png": tiny.noise(at) for at in range(40)})
    splits = {split: {scene.key for scene in negatives.list_scenes(root, split).items} for split in ("train", "validation", "test")}
    assert sum(map(len, splits.values())) == 26 * 2 + 40 == len(set().union(*splits.values()))
    for name in classes[:-1]:
        assert {f"caltech101/{name}/{at}.jpg" for at in range(2)} <= splits[split_of(name)]
    assert all(any(key.startswith("haar") for key in keys) for keys in splits.values())


def record(key: str, file: str, box: list[float] | None, points: np.ndarray | None = POINTS) -> Record:
    boxes = None if box is None else np.array([box], float)
    return Record(key, Source(open_root("."), file), {}, alignment=None if points is None else Alignment(points, "labelled"), boxes=boxes)


def test_records_of_one_photograph_are_one_scene_with_all_their_faces():
    first, second, third = record("a", "p.jpg", [0, 0, 10, 10]), record("b", "p.jpg", [20, 0, 30, 10], None), record("c", "q.jpg", None)
    one, other = scenes.of_records([first, second, third])
    assert one.key == "a" and one.clicked.tolist() == [True, False] and not one.complete
    np.testing.assert_array_equal(one.boxes, [[0, 0, 10, 10], [20, 0, 30, 10]])
    assert len(other.boxes) == 0


def scene(complete: bool, clicked: bool = False) -> Scene:
    return Scene.of("a", Source(open_root("."), "a.jpg"), np.array([[0.0, 0, 10, 10]]), POINTS[None] if clicked else None, complete=complete)


def test_a_find_gives_a_labelled_face_its_points_but_never_moves_clicked_ones():
    find = Face((1, 0, 11, 10), POINTS + 1, 0.9)
    unclicked = scenes.with_finds(scene(complete=True), [find])
    np.testing.assert_array_equal(unclicked.points[0], POINTS + 1)
    np.testing.assert_array_equal(unclicked.boxes, [[0, 0, 10, 10]])  # people drew the box
    clicked = scenes.with_finds(scene(complete=False, clicked=True), [find])
    np.testing.assert_array_equal(clicked.points[0], POINTS)
    np.testing.assert_array_equal(clicked.boxes, [[1, 0, 11, 10]])  # this one was guessed from the points
    assert clicked.clicked.tolist() == [True] and unclicked.clicked.tolist() == [False]


def test_two_finds_of_a_face_count_once_the_surer_first():
    found = scenes.with_finds(scene(complete=True), [Face((0, 1, 10, 11), POINTS + 2, 0.5), Face((0, 0, 10, 10), POINTS + 1, 0.9)])
    np.testing.assert_array_equal(found.points, [POINTS + 1])


@pytest.mark.parametrize(
    ("complete", "score", "expected"), [(False, 0.8, "face"), (False, 0.5, "ignored"), (False, 0.2, "none"), (True, 0.9, "ignored"), (True, 0.5, "none")]
)
def test_a_find_where_nobody_labelled_a_face(complete, score, expected):
    found = scenes.with_finds(scene(complete), [Face((20, 20, 30, 30), POINTS + 20, score)])
    assert {1: "none", 2: "ignored" if found.ignored[-1] else "face"}[len(found.boxes)] == expected
    assert len(found.boxes) == len(found.points) == len(found.clicked) == len(found.ignored)


class Corner:
    """A detector that finds a face in every second picture."""

    name, sha256 = "corner", "f" * 64

    def detect_many(self, images, threshold=None):
        return [[Face((0.0, 0.0, 8.0, 8.0), POINTS, 0.75)] if at % 2 else [] for at in range(len(images))]


def test_finds_are_kept_with_their_detector_and_read_again(tiny, tmp_path: Path):
    names = [*names_in("train", 3), *names_in("validation", 1)]
    tiny.write(wider_files(tiny, names), tmp_path / "wider")
    assert scenes.find_all("wider", tmp_path, Corner()) == ({"photographs": 4, "faces": 2}, ())
    found = scenes.read_finds(tmp_path, "wider")
    assert found.detector == ("corner", "f" * 64) and set(found.faces) == set(names)
    assert [len(found.faces[name]) for name in names] == [0, 1, 0, 1]
    np.testing.assert_array_equal(found.faces[names[1]][0].points, POINTS)
    assert scenes.read_finds(tmp_path, "helen") == scenes.Finds()
    with pytest.raises(RequestError, match="no training photograph of wider"):
        scenes.find_all("wider", tmp_path / "nothing", Corner())


def test_finds_of_a_users_own_set_are_kept_by_its_own_name_whatever_path_it_is_called_by(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny.write({"mine/faces.csv": "file,years\n0.png,30\n1.png,40\n", **{f"mine/{at}.png": tiny.noise(at) for at in range(2)}}, tmp_path / "data")
    (tmp_path / "sub").mkdir()
    declared = 'name = "mine"\ntitle = ""\nterms = ""\ntable = "faces.csv"\npicture = "file"\nsplits = ["train"]\n[tasks.age]\ncolumn = "years"\n'
    (tmp_path / "sub" / "own.toml").write_text(declared)
    monkeypatch.chdir(tmp_path)
    for called in ("sub/own.toml", str(tmp_path / "sub" / "own.toml")):
        scenes.find_all(called, tmp_path / "data", Corner())
        assert [path.name for path in (tmp_path / "data" / ".polyface").iterdir()] == ["mine.finds.parquet"]
    assert {key: len(faces) for key, faces in scenes.read_finds(tmp_path / "data", "sub/own.toml").faces.items()} == {"0.png": 0, "1.png": 1}
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["own.toml"]


def wider_files(tiny, names: list[str]) -> dict:
    written = [(name, ["1 2 3 4 0 0 0 0 0 0"]) for name in names]
    return {"wider_face_split/wider_face_train_bbx_gt.txt": listing(*written), **{f"WIDER_train/images/{name}": tiny.noise(at) for at, name in enumerate(names)}}


@pytest.mark.parametrize(("name", "split"), [("nobody", "train"), ("celeba_wild", "validation"), ("wider", "train")])
def test_what_is_not_there_is_refused_in_one_line(tmp_path: Path, name: str, split: str):
    (tmp_path / "celeba").mkdir()
    with pytest.raises(PolyfaceError):
        scenes.list_scenes(name, tmp_path, split)
