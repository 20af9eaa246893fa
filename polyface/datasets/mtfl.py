"""MTFL: five points, gender, smile, glasses and a word for yaw, in `training.txt` and `testing.txt`.

A line is `path x1..x5 y1..y5 gender smile glasses pose`, with `\\` or `/` in the path; points are image-left eye, image-right eye, nose, mouth left, mouth right.
Labels of net_7876 are whole pixels, the first of them 1. The others are clicks on enlarged pictures, 1 + (k + 1/2) / zoom, so that the first pixel begins at 1: every
number of lfw_5590 lies on that grid at a zoom of 2, every one of AFLW at 551/160. LOG.md, 2026-11-29 and -30, holds both against a detector's points.
testing.txt is the test; validation is a tenth of the people of lfw_5590, whose files are named as in LFW (nobody else is known). Of equal files
the first is kept, test before train. The five poses are read as ranges of yaw (an inference; signs checked on pictures: in pose 1 the nose points to the image's left).
"""

import re

import numpy as np

from polyface.datasets.base import Alignment, Dataset, Listing, Record, Split, split_of_train
from polyface.datasets.tables import Rows, check_inside, find, lines, number, text
from polyface.errors import InputError
from polyface.images import align, geometry
from polyface.images.read import Root, Source
from polyface.labels import PointMap, Ranges, TraitNames, words
from polyface.tasks import attributes, gender, landmarks, pose

YAWS = {"left profile": (-99, -45), "left": (-45, -15), "frontal": (-15, 15), "right": (15, 45), "right profile": (45, 99)}
LFW_FILE = re.compile(r"lfw_5590/(.+)_\d{4}\.jpg")
FIELDS, WHOLE_PIXELS = 15, "net_7876/"


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(mtfl.answers)
    _read(rows, root, "testing.txt", split)
    if split != "test":
        _read(rows, root, "training.txt", split)
    return rows.listing()


def _read(rows: Rows, root: Root, file: str, split: Split) -> None:
    table = find(root, file)
    prefix = table.removesuffix(file)
    for row, fields in lines(text(root, table)):
        with rows.row(f"{table}, row {row}"):
            key = fields[0].replace("\\", "/")
            person = _person(key)
            there: Split = "test" if file == "testing.txt" else split_of_train(person) if person else "train"
            if not root.exists(prefix + key):
                if there == split:
                    rows.missing(prefix + key)
                continue
            content = root.open(prefix + key)
            if not rows.is_copy(content) and there == split:
                points = _points(key, fields)
                check_inside(points, content, key)
                rows.add(_record(key, Source(root, prefix + key), person, fields, points))


def _person(key: str) -> str | None:
    found = LFW_FILE.fullmatch(key)
    return found[1].replace("_", " ") if found else None


def _points(key: str, fields: list[str]) -> np.ndarray:
    if len(fields) != FIELDS:
        raise InputError(f"{len(fields)} fields where there are {FIELDS}")
    points = np.array([number(field) for field in fields[1:11]]).reshape(2, 5).T
    return geometry.from_one_based(points) if key.startswith(WHOLE_PIXELS) else geometry.from_corner_at_one(points)


def _record(key: str, source: Source, person: str | None, fields: list[str], points: np.ndarray) -> Record:
    sex, smile, glasses = (_word(field, what, count=2) for field, what in zip(fields[11:14], ("gender", "smile", "glasses"), strict=True))
    word = ("male", "female")[sex]
    labels = {
        landmarks.name: points,
        gender.name: word,
        attributes.name: {"smile": smile == 0, "glasses": glasses == 0},
        pose.name: {"yaw": list(YAWS)[_word(fields[14], "pose", count=5)]},
    }
    boxes = align.box_of_points(points)[None]
    return Record(key, source, labels, subject=person, alignment=Alignment(points, "labelled"), boxes=boxes, groups={gender.name: word})


def _word(field: str, what: str, count: int) -> int:
    """1 to count -> 0 to count - 1."""
    if field not in [str(number) for number in range(1, count + 1)]:
        raise InputError(f"{what} {field} is none of 1 to {count}")
    return int(field) - 1


mtfl = Dataset(
    name="mtfl",
    title="MTFL",
    terms="non-commercial research",
    url="https://mmlab.ie.cuhk.edu.hk/projects/TCDCN.html",
    answers={
        landmarks.name: PointMap(geometry.five_of_68()),
        gender.name: words(gender.vocabulary, {"male": "male", "female": "female"}),
        attributes.name: TraitNames({"smile": "Smiling", "glasses": "Eyeglasses"}),
        pose.name: Ranges(YAWS),
    },
    splits=("train", "validation", "test"),
    list_records=list_records,
)
