"""WIDER FACE: scenes with every face in a box, `wider_face_{train,val}_bbx_gt.txt` beside `WIDER_{train,val}/images`.

A scene is a name, a count and so many lines `x y w h blur expression illumination invalid occlusion pose`; one without a face has count 0 and a line of zeros. Faces
that the list calls invalid are ignored. The official val is the test; a tenth of train is validation. Which faces of val are easy, medium and hard is said by
`wider_{easy,medium,hard}_val.mat` (`ground_truth/` of the evaluation code), which scipy reads (`polyface[data]`).
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from polyface.datasets.base import Split, split_of_train
from polyface.datasets.scene import Scene, Scenes
from polyface.datasets.tables import find, number, text, whole
from polyface.errors import InputError
from polyface.images.read import Root, Source

TITLE = "WIDER FACE"
TERMS = "published for research, rights of the photographs unclear"
INVALID = 7
LEVELS = ("easy", "medium", "hard")
LISTS = ("event_list", "file_list", "face_bbx_list", "gt_list")


def list_scenes(root: Root, split: Split) -> Scenes:
    """Raises InputError where the list is missing or no list at all; a scene whose rows are wrong is refused by name."""
    part = "val" if split == "test" else "train"
    table = find(root, f"wider_face_{part}_bbx_gt.txt")
    prefix = table.removesuffix(f"wider_face_split/wider_face_{part}_bbx_gt.txt")
    items, absent, problems = [], [], []
    for row, key, lines in _scenes(text(root, table), table):
        if part == "train" and split_of_train(key) != split:
            continue
        picture = f"{prefix}WIDER_{part}/images/{key}"
        if not root.exists(picture):
            absent.append(picture)
            continue
        try:
            boxes, ignored = _boxes(lines)
            items.append(Scene.of(key, Source(root, picture), boxes, ignored=ignored, complete=True))
        except InputError as error:
            problems.append(InputError(f"{table}, row {row}: {error}"))
    return Scenes(tuple(items), tuple(absent), tuple(problems))


@dataclass(frozen=True)
class Judged:
    """The boxes float [n, 4] of a scene of val as the evaluation code lists them, and for each level which of them count, bool [n]."""

    boxes: np.ndarray
    counts: Mapping[str, np.ndarray]


def read_levels(root: Root) -> dict[str, Judged]:
    """{scene: its boxes and which of them count} of the official lists. Raises InputError where one is missing or no such file."""
    lists = {level: _mat(root, f"wider_{level}_val.mat") for level in LEVELS}
    try:
        return _judged(lists)
    except (IndexError, TypeError, ValueError) as error:
        raise InputError(f"{root.label}: wider_*_val.mat are not the lists of the evaluation code ({error})") from None


def _judged(lists: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Judged]:
    first = lists[LEVELS[0]]
    judged = {}
    for event in range(len(first["event_list"])):
        folder = str(first["event_list"][event, 0][0])
        for place, name in enumerate(first["file_list"][event, 0]):
            boxes = np.asarray(first["face_bbx_list"][event, 0][place, 0], float).reshape(-1, 4)
            counts = {}
            for level in LEVELS:
                counts[level] = np.zeros(len(boxes), bool)
                counts[level][np.asarray(lists[level]["gt_list"][event, 0][place, 0], int).ravel() - 1] = True
            judged[f"{folder}/{name[0][0]}.jpg"] = Judged(np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]), counts)
    return judged


def _mat(root: Root, file: str) -> dict[str, np.ndarray]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    name = find(root, file)
    try:
        table = loadmat(io.BytesIO(root.open(name)))
    except (MatReadError, ValueError, TypeError, OSError, EOFError, KeyError) as error:
        raise InputError(f"{name}: no MATLAB file that can be read ({error})") from None
    if missing := [key for key in LISTS if key not in table]:
        raise InputError(f"{name}: no {missing[0]!r} in it; it is not the list of the evaluation code")
    return table


def _scenes(content: str, table: str) -> Iterator[tuple[int, str, list[str]]]:
    """(row, name, its lines) of each scene."""
    lines = [line.strip() for line in content.strip().split("\n")]
    at = 0
    while at < len(lines):
        try:
            count = max(1, whole(lines[at + 1]))
            rows = lines[at + 2 : at + 2 + count]
            if count != len(rows):
                raise InputError("the file ends before its boxes")
        except (InputError, IndexError) as error:
            raise InputError(f"{table}, row {at + 1}: not a name, a count and so many boxes ({error})") from None
        yield at + 1, lines[at], rows
        at += 2 + count


def _boxes(lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [n, 4] and which are to be ignored; those of no size are dropped."""
    rows = np.array([[number(word) for word in line.split()] for line in lines if len(line.split()) == 10])
    if len(rows) != len(lines):
        raise InputError("a box has not ten numbers")
    rows = rows[(rows[:, 2] > 0) & (rows[:, 3] > 0)]
    return np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]), rows[:, INVALID] > 0
