"""Whole photographs with the faces in them, for the detector: what people labelled, and what another detector found.

A data set answers questions about one face and lists it as a record; a detector asks where all of them are, and where none is. So `wider` and `negatives`, which
answer no question, are lists of scenes only (`wider.py`, `negatives.py`), and any data set becomes one by its photographs. What is not known to be a face or none is
`ignored`: it neither raises nor lowers an answer.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from polyface import datasets
from polyface.datasets import negatives, wider
from polyface.datasets.base import Dataset, Listing, Record, Split
from polyface.datasets.crops import Progress, detector_of, write_finds
from polyface.datasets.scene import Scene, Scenes
from polyface.errors import InputError, RequestError
from polyface.images import detect, geometry, read
from polyface.images.read import Root

LISTS: Mapping[str, tuple[str, str, Callable[[Root, Split], Scenes]]] = {
    "wider": (wider.TITLE, wider.TERMS, wider.list_scenes),
    "negatives": (negatives.TITLE, negatives.TERMS, negatives.list_scenes),
}
"""Sets of scenes that are no data sets: title, terms, list(root, split)."""

SAME_FACE = 0.4
"""Overlap from which a find is a labelled face: a box about five clicked points is no more exact."""
SURE, NOTHING = 0.7, 0.3
"""A find of this score or more is a face where nobody labelled one; below the second it is none, between them nobody knows."""


def list_scenes(name: str, data: Path, split: Split) -> Scenes:
    """The scenes of a set of this page, or of a data set by name or by file.

    Raises RequestError where it is unknown or has no such split, InputError where nothing of it is there.
    """
    if name in LISTS:
        root = datasets.find_root(data, name)
        found = LISTS[name][2](root, split)
        if not found.items:
            raise InputError(f"{root.label}: no picture of {LISTS[name][0]}, split {split}")
        return found
    dataset = datasets.named(name)
    listing = dataset.records(datasets.find_root(data, dataset.name), split)
    return Scenes(of_records(listing.records), listing.absent, listing.problems)


def as_dataset(name: str) -> Dataset:
    """A set of this page as a data set that answers nothing, a record for each photograph with the boxes of all its faces; any other by name or by file."""
    if name not in LISTS:
        return datasets.named(name)
    title, terms, list_of = LISTS[name]

    def list_records(root: Root, split: Split) -> Listing:
        found = list_of(root, split)
        return Listing(records_of(found.items), found.absent, found.problems)

    return Dataset(name, title, terms, "", {}, ("train", "validation", "test"), list_records)


def records_of(scenes: Sequence[Scene]) -> tuple[Record, ...]:
    """The photographs as records that say nothing but where faces are."""
    return tuple(Record(scene.key, scene.source, {}, boxes=scene.boxes) for scene in scenes)


def terms_of(name: str) -> str:
    return LISTS[name][1] if name in LISTS else datasets.named(name).terms


def of_records(records: Sequence[Record]) -> tuple[Scene, ...]:
    """Photographs of records, each with the faces of its records; others may be in it. A record without a box says nothing of where its face is."""
    photographs: dict[str, list[Record]] = {}
    for record in records:
        photographs.setdefault(str(record.source), []).append(record)
    scenes = []
    for together in photographs.values():
        boxed = [record for record in together if record.boxes is not None]
        points = [record.alignment.points if record.alignment and record.alignment.how == "labelled" else np.full((5, 2), np.nan) for record in boxed]
        boxes = np.array([record.boxes[0] for record in boxed], np.float64).reshape(-1, 4)  # type: ignore[index]
        scenes.append(Scene.of(together[0].key, together[0].source, boxes, np.array(points, float), complete=False))
    return tuple(scenes)


def with_finds(scene: Scene, finds: Sequence[detect.Face]) -> Scene:
    """A scene after another detector looked at it.

    A find that overlaps a labelled face gives it the points it lacks, and the box where that was only guessed from points. One that overlaps none is a face where it is
    sure, and ignored where nobody knows; in a complete scene it is ignored where it is sure, since people overlook faces, and else none.
    """
    boxes, points, clicked, ignored = scene.boxes.copy(), scene.points.copy(), scene.clicked.copy(), scene.ignored.copy()
    taken: set[int] = set()
    extra = []
    for face in sorted(finds, key=lambda face: -face.score):
        if face.score < NOTHING:
            continue
        box = np.asarray(face.box, float)
        overlaps = [geometry.overlap(box, other) for other in scene.boxes]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best < 0 or overlaps[best] < SAME_FACE:
            if face.score >= SURE or not scene.complete:
                extra.append((box, face))
        elif best not in taken:
            taken.add(best)
            if not clicked[best]:
                points[best] = face.points
            elif not scene.complete:
                boxes[best] = box
    if extra:
        sure = np.array([not scene.complete and face.score >= SURE for _, face in extra])
        boxes, points = np.concatenate([boxes, [box for box, _ in extra]]), np.concatenate([points, [face.points for _, face in extra]])
        clicked, ignored = np.concatenate([clicked, np.zeros(len(extra), bool)]), np.concatenate([ignored, ~sure])
    return replace(scene, boxes=boxes, points=points, clicked=clicked, ignored=ignored)


# What a detector found, once for each set


@dataclass(frozen=True)
class Finds:
    """Every face that a detector found, by scene; detector: its name and sha256, None where it never looked."""

    faces: Mapping[str, Sequence[detect.Face]] = field(default_factory=dict)
    detector: tuple[str, str] | None = None


def finds_file(data: Path, name: str) -> Path:
    """Where the finds of a set are, by the set's own name, however it is called: by name or by file. Raises RequestError where it is unknown."""
    return data / ".polyface" / f"{as_dataset(name).name}.finds.parquet"


def read_finds(data: Path, name: str) -> Finds:
    """What `find_all` wrote for a set; empty where it never ran."""
    path = finds_file(data, name)
    if not path.exists():
        return Finds()
    import pyarrow.parquet as parquet

    table = parquet.read_table(path)
    faces: dict[str, list[detect.Face]] = {}
    for row in table.to_pylist():
        found = faces.setdefault(row["key"], [])
        if row["score"] is not None:  # a scene without a find has a row that says so
            found.append(detect.Face(tuple(row["box"]), np.array(row["points"]).reshape(5, 2), row["score"]))
    return Finds(faces, detector_of(table))


def find_all(name: str, data: Path, detector: detect.Detector, progress: Progress | None = None) -> tuple[Counter, tuple[InputError, ...]]:
    """Look for every face of every training and validation photograph of a set once, and keep the finds in a Parquet file under DATA/.polyface.

    Returns counts of photographs, faces, refused, and of each refused picture the reason.
    """
    import pyarrow as pa

    scenes: list[Scene] = []
    for split in TRAINED:
        try:
            scenes += list_scenes(name, data, split).items
        except (InputError, RequestError):
            continue  # the set has no such split, or nothing of it is here
    if not scenes:
        raise RequestError(f"{data}: no training photograph of {name}")
    rows: list[dict] = []
    counts: Counter = Counter()
    refused: list[InputError] = []
    for start in range(0, len(scenes), 32):
        images, kept = [], []
        for scene in scenes[start : start + 32]:
            try:
                images.append(read.decode(scene.source.read(), str(scene.source)))
                kept.append(scene)
            except InputError as error:
                counts["refused"] += 1
                refused.append(error)
        for scene, faces in zip(kept, detector.detect_many(images, NOTHING), strict=True):
            counts += Counter({"photographs": 1, "faces": len(faces)})
            rows += [_row(scene.key, face) for face in faces] or [{"key": scene.key, "box": None, "points": None, "score": None}]
        if progress:
            progress(min(start + 32, len(scenes)), len(scenes))
    numbers = pa.list_(pa.float32())
    columns = [("key", pa.string()), ("box", numbers), ("points", numbers), ("score", pa.float32())]
    write_finds(finds_file(data, name), rows, columns, detector)
    return counts, tuple(refused)


TRAINED: tuple[Split, ...] = ("train", "validation")


def _row(key: str, face: detect.Face) -> dict:
    return {"key": key, "box": list(face.box), "points": face.points.ravel().tolist(), "score": face.score}
