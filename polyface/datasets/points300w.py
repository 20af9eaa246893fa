"""Sets of 300-W: photographs with 68 points, each picture beside its `.pts` file, whose first pixel is 1.

`helen`: `trainset/` and `testset/`, official; a tenth of train is validation. `afw`: test only. A photograph with several labelled faces comes once per face as
`NAME_1`, `NAME_2`: splits are cut by NAME. Copies that some downloads mirrored (`NAME_1_mirror`) are left out. No angle is labelled: those of helen's train come
from the points, by a fit (`images/headpose.py`).
"""

import numpy as np

from polyface.datasets.base import Alignment, Dataset, Listing, Meaning, Record, Split, split_of_train
from polyface.datasets.tables import Rows, as_text, check_inside, photograph_of, points_of_rows
from polyface.errors import InputError
from polyface.images import geometry
from polyface.images.headpose import angles_of_68
from polyface.images.read import Root, Source
from polyface.labels import PointMap, Ranges
from polyface.tasks import landmarks, pose

ANGLE_SIGMA = 4.0
"""Degrees: how far angles from the fit of a mean head may be off [INF]."""
ENDINGS = (".jpg", ".png", ".jpeg")


def read_pts(content: str, name: str) -> np.ndarray:
    """A .pts file -> its points float [68, 2] in our coordinates. Raises InputError naming file and row."""
    table = [line.strip() for line in content.strip().split("\n")]
    if len(table) < 4 or table[0].replace(" ", "") != "version:1" or table[2] != "{" or table[-1] != "}":
        raise InputError(f"{name}: not a .pts file of version 1")
    if table[1].replace(" ", "") != f"n_points:{landmarks.count}" or len(table) != landmarks.count + 4:
        raise InputError(f"{name}: {len(table) - 4} points and `{table[1]}` where {landmarks.count} points are expected")
    return geometry.from_one_based(points_of_rows(((row, line.split()) for row, line in enumerate(table[3:-1], 4)), name))


def list_helen(root: Root, split: Split) -> Listing:
    rows = Rows(POINTS_AND_ANGLES)
    for name in _point_files(root):
        folder = name.split("/")[-2] if "/" in name else ""
        if folder == "testset":
            there: Split = "test"
        elif folder == "trainset":
            there = split_of_train(photograph_of(name))
        else:
            continue
        if there == split:
            _add(rows, root, name, with_angles=split == "train")
    return rows.listing()


def list_afw(root: Root, split: Split) -> Listing:
    rows = Rows(POINTS)
    for name in _point_files(root):
        _add(rows, root, name)
    return rows.listing()


def _point_files(root: Root) -> list[str]:
    return [name for name in root.names() if name.endswith(".pts") and not name.endswith("_mirror.pts")]


def _add(rows: Rows, root: Root, name: str, with_angles: bool = False) -> None:
    stem = name.removesuffix(".pts")
    picture = next((stem + ending for ending in ENDINGS if root.exists(stem + ending)), None)
    with rows.row(name):
        if picture is None:
            rows.missing(stem + ENDINGS[0])
            return
        points = read_pts(as_text(root.open(name), name), name)
        check_inside(points, root.open(picture), picture)
        labels: dict[str, object] = {landmarks.name: points}
        if with_angles:
            labels[pose.name] = dict(zip(pose.axes, angles_of_68(points), strict=True))
        five = Alignment(geometry.five_of_68() @ points, "labelled")
        rows.add(Record(stem, Source(root, picture), labels, alignment=five, boxes=geometry.box_of(points)[None]))


POINTS: dict[str, Meaning] = {landmarks.name: PointMap(np.eye(landmarks.count))}
POINTS_AND_ANGLES: dict[str, Meaning] = {**POINTS, pose.name: Ranges(sigma=ANGLE_SIGMA)}
TERMS = "non-commercial research"
URL = "https://ibug.doc.ic.ac.uk/resources/300-W/"

helen = Dataset("helen", "Helen (300-W)", TERMS, URL, POINTS_AND_ANGLES, ("train", "validation", "test"), list_helen)
afw = Dataset("afw", "AFW (300-W)", TERMS, URL, POINTS, ("test",), list_afw)
