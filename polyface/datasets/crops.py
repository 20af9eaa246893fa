"""From a record to what a network reads: five points, a crop, rows of labels. And the cache of points that a detector found.

Every picture comes to the same crop, by the first of these that there is: the geometry a set states; the detector's five points (the detection that overlaps the labelled
face most; else the largest); points that people clicked, in training only; where a pre-cropped face should be.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polyface import tasks
from polyface.datasets.base import Dataset, Record, Split
from polyface.errors import InputError, RequestError
from polyface.images import align, detect, geometry, read
from polyface.tasks.kinds import Row, Task

Progress = Callable[[int, int], None]
"""progress(done so far, in all)."""

SMALLEST_OVERLAP = 0.3  # below this the detection is somebody else (DESIGN.md; the rule for misses)


@dataclass(frozen=True)
class Found:
    """What a detector found of a record's face: five points [5, 2] and box [4] in the picture's pixels, its score, and its overlap with the
    labelled face, 1 where none is labelled."""

    points: np.ndarray = field(repr=False)
    box: np.ndarray = field(repr=False)
    score: float
    overlap: float


@dataclass(frozen=True)
class Faces:
    """What `align` knows of a set, by record key: what was found, and a thumbnail of each aligned face (uint8 [400]), by which copies are recognised.

    searched: the keys of all records whose pictures it opened, also of those on which it found nothing. detector: its name and sha256; None where `align` never ran.
    """

    found: Mapping[str, Found] = field(default_factory=dict)
    thumbnails: Mapping[str, np.ndarray] = field(default_factory=dict)
    detector: tuple[str, str] | None = None
    searched: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Example:
    """A record and the five points its crop is taken by; how says where they come from."""

    record: Record
    points: np.ndarray = field(repr=False)
    how: str


@dataclass(frozen=True)
class Examples:
    """The examples of a split, those left out because nobody knows where their face is, and what was refused or absent."""

    dataset: Dataset
    items: tuple[Example, ...]
    unaligned: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    problems: tuple[InputError, ...] = ()

    @property
    def ways(self) -> Counter:
        return Counter(example.how for example in self.items)


def examples(dataset: Dataset, root: read.Root, split: Split, found: Mapping[str, Found], training: bool) -> Examples:
    """List a split and align each record."""
    listing = dataset.records(root, split)
    items: list[Example] = []
    unaligned: list[str] = []
    for record in listing.records:
        example = align_record(record, found.get(record.key), training)
        if example is None:
            unaligned.append(record.key)
        else:
            items.append(example)
    if not items:
        raise RequestError(f"{root.label}: no face of {dataset.title} is aligned; run `polyface datasets align {dataset.called}`")
    return Examples(dataset, tuple(items), tuple(unaligned), listing.absent, listing.problems)


def align_record(record: Record, found: Found | None, training: bool) -> Example | None:
    known = record.alignment
    if known is not None and known.how == "stated":
        return Example(record, known.points, "stated")
    if found is not None and found.overlap >= SMALLEST_OVERLAP:
        return Example(record, found.points, "detected")
    if known is not None and (known.how == "guess" or training):
        return Example(record, known.points, known.how)
    return None


def true_box(record: Record) -> Example:
    """Cropped by the box about the labelled points, so that the points themselves do not leak into the crop."""
    assert record.alignment is not None
    return Example(record, align.points_of_box(align.box_of_points(record.alignment.points)), "true box")


def open_picture(record: Record) -> np.ndarray:
    """uint8 RGB [H, W, 3]. Raises InputError naming the file."""
    return read.decode(record.source.read(), str(record.source))


def open_crop(record: Record, matrix: np.ndarray, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The crop uint8 [size, size, 3] of a record's picture, and the shape (height, width) of the whole picture.

    Raises InputError naming the file.
    """
    data, name = record.source.read(), str(record.source)
    header = read.read_header(data, name)
    return cut_from(data, name, matrix, size, header), header.shape


def open_small_crop(record: Record, matrix: np.ndarray, size: int, scale: float) -> tuple[np.ndarray, tuple[int, int]]:
    """As `open_crop`, of a photograph that was `scale` times as large, at most 1: what is cut is the shrunk picture, so the crop is as blurred as that of a small face.
    The matrix and the shape are those of the picture as it is."""
    image = open_picture(record)
    small, back = geometry.shrunk(image, scale)
    return cut(small, geometry.compose(matrix, back), size), image.shape[:2]


def cut_from(data: bytes, name: str, matrix: np.ndarray, size: int, header: read.Header) -> np.ndarray:
    """The crop uint8 [size, size, 3] of a picture's bytes. Of a shrink by more than two the decoder does its part, which costs least there. Raises InputError."""
    scale = geometry.scale_of(matrix)
    reduce = max(by for by in (1, 2, 4, 8) if by == 1 or by * scale <= 1)
    return cut(read.decode(data, name, reduce, header), geometry.compose(matrix, geometry.about((0.0, 0.0), float(reduce))), size)


def cut(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The crop uint8 [size, size, 3]; mid-grey outside the picture."""
    return geometry.warp(image, matrix, (size, size))


def rows_of(
    example: Example, dataset: Dataset, wanted: Sequence[Task], shape: tuple[int, ...], matrix: np.ndarray, size: int, people: Mapping[str, int]
) -> dict[str, Row]:
    """The rows of labels of one example, whose picture is of a shape (height, width), in its crop; no row for what its set does not say.

    Raises InputError naming file and task, also for a mask of another size than the picture.
    """
    rows = {}
    for task in wanted:
        label = example.record.labels.get(task.name) if task.name in dataset.answers else None
        if isinstance(task, tasks.Embedding):
            label = people.get(label) if isinstance(label, str) else None
        if label is None:
            continue
        try:
            row = task.encode(dataset.answers[task.name], label)
            if isinstance(task, tasks.Regions):
                check_mask(row["words"], shape)
            rows[task.name] = task.to_crop(row, matrix, size)
        except InputError as error:
            raise InputError(f"{example.record.source}, {task.name}: {error}") from error
    return rows


def check_mask(mask: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raises InputError for a mask of another size than its picture, which is of a shape (height, width)."""
    if mask.shape != shape[:2]:
        raise InputError(f"a mask of {mask.shape[1]} x {mask.shape[0]} for a picture of {shape[1]} x {shape[0]}")


# What a detector found, once for each set

THUMBNAIL = align.Crop(size=20, eye_distance=5.6, eyes=(10.0, 8.5))


def faces_file(data: Path, name: str) -> Path:
    return data / ".polyface" / f"{name}.faces.parquet"


def read_faces(data: Path, name: str) -> Faces:
    """What `align_set` wrote for a set; empty where it never ran."""
    path = faces_file(data, name)
    if not path.exists():
        return Faces()
    import pyarrow.parquet as parquet

    found, thumbnails = {}, {}
    table = parquet.read_table(path)
    for row in table.to_pylist():
        if row["points"] is not None:
            found[row["key"]] = Found(np.array(row["points"]).reshape(5, 2), np.array(row["box"]), row["score"], row["overlap"])
        if row["thumbnail"] is not None:
            thumbnails[row["key"]] = np.frombuffer(row["thumbnail"], np.uint8)
    return Faces(found, thumbnails, detector_of(table), frozenset(table["key"].to_pylist()))


def never_searched(dataset: Dataset, faces: Faces) -> str:
    """Why nothing is known of pictures that `align` did not open, with the command that mends it."""
    return f"`polyface datasets align {dataset.called}` " + ("did not open them: run it again, if they were added later" if faces.searched else "never ran")


def align_set(dataset: Dataset, root: read.Root, data: Path, detector: detect.Detector, progress: Progress | None = None) -> tuple[Counter, tuple[InputError, ...]]:
    """Detect the face of every record of a set once, and keep what was found in a Parquet file under DATA/.polyface. Pictures whose geometry the set states
    are not searched. What a run had found that was cut off, up to its last KEPT pictures, is taken up by the next.

    Returns counts of found, missed, stated, refused, and of each refused picture the reason. Raises RequestError where no split can be listed.
    """
    import pyarrow as pa

    numbers = pa.list_(pa.float32())
    columns = [("key", pa.string()), ("points", numbers), ("box", numbers), ("score", pa.float32()), ("overlap", pa.float32()), ("thumbnail", pa.binary())]
    file = faces_file(data, dataset.name)
    records, begun = _records(dataset, root), file.with_suffix(".begun")
    keys = {record.key for record in records}
    rows = [row for row in _begun(begun, detector) if row["key"] in keys]
    done = {row["key"] for row in rows}
    left = [record for record in records if record.key not in done]
    refused: list[InputError] = []
    for start in range(0, len(left), 64):
        for images, kept in _opened(left[start : start + 64], refused):
            sought = [index for index, record in enumerate(kept) if not _is_stated(record)]
            detections = dict(zip(sought, detector.detect_many([images[index] for index in sought]), strict=True))
            for index, (record, image) in enumerate(zip(kept, images, strict=True)):
                rows.append(_face_row(record, image, choose(detections[index], record) if index in detections else None))
        if start and start % KEPT == 0:
            write_finds(begun, rows, columns, detector)
        if progress:
            progress(len(records) - len(left) + min(start + 64, len(left)), len(records))
    write_finds(file, rows, columns, detector)
    begun.unlink(missing_ok=True)
    stated = {record.key for record in records if _is_stated(record)}
    counts = Counter("stated" if row["key"] in stated else "found" if row["points"] is not None else "missed" for row in rows)
    return counts + Counter(refused=len(refused)), tuple(refused)


KEPT = 1024
"""After so many pictures `align_set` writes down what it has."""


PIXELS = 50_000_000
"""Of pictures that are open at once; the last may exceed it."""


def _opened(records: Sequence[Record], refused: list[InputError]) -> Iterator[tuple[list[np.ndarray], list[Record]]]:
    """The pictures in groups that memory holds, and whose they are; those that cannot be read join the refused."""
    images: list[np.ndarray] = []
    kept: list[Record] = []
    for record in records:
        try:
            images.append(open_picture(record))
            kept.append(record)
        except InputError as error:
            refused.append(error)
        if sum(image.shape[0] * image.shape[1] for image in images) >= PIXELS:
            yield images, kept
            images, kept = [], []
    if kept:
        yield images, kept


def _is_stated(record: Record) -> bool:
    return record.alignment is not None and record.alignment.how == "stated"


def _begun(path: Path, detector: detect.Detector) -> list[dict]:
    """The rows of a run that was cut off; none where another detector made them, or nobody can read them."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowException):
        return []
    return table.to_pylist() if detector_of(table) == (detector.name, detector.sha256) else []


def write_finds(path: Path, rows: list[dict], columns: list, detector: detect.Detector) -> None:
    """A Parquet file, whole or not at all, of what a detector found; columns: (name, type of pyarrow). `detector_of` reads whose it is."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    schema = pa.schema(columns, metadata={"detector": detector.name, "sha256": detector.sha256})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), partial)
    os.replace(partial, path)


def detector_of(table: Any) -> tuple[str, str] | None:
    """Name and sha256 of the detector of a pyarrow table that `write_finds` wrote; None where it says nothing."""
    said = table.schema.metadata or {}
    return (said[b"detector"].decode(), said[b"sha256"].decode()) if b"detector" in said else None


def thumbnail(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """uint8 [400]: the aligned face in 20 x 20 grey pixels."""
    small = cut(image, align.from_points(points, THUMBNAIL), THUMBNAIL.size)
    return small.mean(-1).round().astype(np.uint8).ravel()


def _face_row(record: Record, image: np.ndarray, found: Found | None) -> dict:
    example = align_record(record, found, training=True)
    return {
        "key": record.key,
        "points": found.points.ravel().tolist() if found else None,
        "box": found.box.tolist() if found else None,
        "score": found.score if found else None,
        "overlap": found.overlap if found else None,
        "thumbnail": thumbnail(image, example.points).tobytes() if example else None,
    }


def labelled_box(record: Record) -> np.ndarray | None:
    """float [4], where a record's face is labelled: its own box, or that of its points."""
    if record.boxes is not None and len(record.boxes):
        return np.asarray(record.boxes[0], np.float64)
    if record.alignment is not None and record.alignment.how == "labelled":
        return align.box_of_points(record.alignment.points)
    return None


def choose(faces: Sequence[detect.Face], record: Record) -> Found | None:
    """The detection of a record's face: where its box or its points are labelled, the one whose box overlaps theirs most; else the largest."""
    if not faces:
        return None
    boxes = [np.asarray(face.box, np.float64) for face in faces]
    overlaps = [1.0] * len(faces)
    labelled = labelled_box(record)
    if labelled is not None:
        overlaps = [geometry.overlap(box, labelled) for box in boxes]
        best = int(np.argmax(overlaps))
    else:
        best = int(np.argmax([np.prod(box[2:] - box[:2]) for box in boxes]))
    return Found(np.asarray(faces[best].points, np.float64), boxes[best], float(faces[best].score), overlaps[best])


def _records(dataset: Dataset, root: read.Root) -> list[Record]:
    """The records of all splits, each key once; of some splits there may be nothing."""
    records: dict[str, Record] = {}
    problems: list[InputError] = []
    for split in dataset.splits:
        try:
            records |= {record.key: record for record in dataset.records(root, split).records}
        except InputError as problem:
            problems.append(problem)
    if not records:
        raise RequestError(str(problems[0]))
    return list(records.values())
