"""A split written once as training reads it: all pictures in one file, all labels in one table.

A pack is a list of records like any other: same keys, same words, only the sources read from one memory-mapped file. A picture whose face is drawn larger than training
can use becomes a wide crop (twice the crop's scale, half as much again around, JPEG 95), its points and masks moved along; all others keep their bytes. Decoding a
5,000-pixel photograph costs more than training on it.
"""

import json
import mmap
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from polyface import tasks
from polyface.datasets.base import Alignment, Dataset, Record
from polyface.datasets.crops import Example, Examples, Progress, check_mask, examples, read_faces
from polyface.errors import InputError, RequestError, RunError
from polyface.files import sha256_of_lines
from polyface.images import align, geometry, read
from polyface.labels import Ranges

WIDE = align.Crop(size=384, eye_distance=60.0, eyes=(192.0, 180.0))
LISTING = "listing"
"""In a pack: the digest of the listing that it was made of."""
LARGE = 400  # a picture of at most so many pixels along its longer side is cheap to decode as it is


@dataclass(frozen=True)
class Slices:
    """The bytes of a pack, mapped; `Source.name` is "offset:length:what it was"."""

    label: str
    data: mmap.mmap

    def names(self) -> list[str]:
        return []

    def exists(self, name: str) -> bool:
        return True

    def open(self, name: str) -> bytes:
        offset, length, _ = name.split(":", 2)
        return self.data[int(offset) : int(offset) + int(length)]


def pack_folder(data: Path, name: str) -> Path:
    return data / ".polyface" / f"{name}.train.pack"


def pack_set(dataset: Dataset, root: read.Root, data: Path, progress: Progress | None = None) -> tuple[InputError, ...]:
    """Pack a set's train split under DATA/.polyface, where training looks first. Returns the rows and pictures that were refused, each with its reason."""
    listed = examples(dataset, root, "train", read_faces(data, dataset.name).found, training=True)
    return (*listed.problems, *write_pack(listed, pack_folder(data, dataset.name), progress))


def write_pack(listed: Examples, folder: Path, progress: Progress | None = None) -> tuple[InputError, ...]:
    """Write the examples of a split into a folder that appears whole or not at all. Returns the pictures that were refused, each with its reason."""
    partial, old = folder.with_name(folder.name + ".partial"), folder.with_name(folder.name + ".old")
    rows, problems = [], []
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with open(partial / "bytes", "wb") as file:
            for done, example in enumerate(listed.items, start=1):
                try:
                    moved, picture, masks = _shrink(example, listed.dataset)
                except InputError as problem:
                    problems.append(problem)
                    continue
                place = (file.tell(), file.write(picture))
                rows.append(_row(moved, place, {name: (file.tell(), file.write(mask)) for name, mask in masks.items()}))
                if progress:
                    progress(done, len(listed.items))
            file.flush()
            os.fsync(file.fileno())
        if not rows:
            raise problems[0] if problems else InputError(f"{folder}: nothing to pack")
        _write_table(rows, partial / "records.parquet")
        (partial / LISTING).write_text(_digest(listed))
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(partial, folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return tuple(problems)


def require_fresh(folder: Path, listed: Examples) -> None:
    """Raises RequestError where a pack was made when the split had other rows, labels (but for the pixels of masks) or points."""
    file = folder / LISTING
    if not file.exists() or file.read_text() != _digest(listed):
        raise RequestError(f"{folder}: packed before {listed.dataset.name} became what it is; run `polyface datasets pack {listed.dataset.called}` again, or remove it")


def read_pack(folder: Path, dataset: Dataset) -> Examples:
    """The examples of a pack."""
    import pyarrow.parquet as parquet

    with open(folder / "bytes", "rb") as file:
        slices = Slices(str(folder), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    items = []
    for row in parquet.read_table(folder / "records.parquet").to_pylist():
        source = read.Source(slices, row["picture"])
        labels = {name: _label_in(name, label, slices) for name, label in json.loads(row["labels"]).items()}
        points = np.array(row["points"]).reshape(5, 2)
        record = Record(row["key"], source, labels, row["subject"], Alignment(points, "stated"), groups=json.loads(row["groups"]))
        items.append(Example(record, points, row["how"]))
    return Examples(dataset, tuple(items))


def _shrink(example: Example, dataset: Dataset) -> tuple[Example, bytes, dict[str, bytes]]:
    """The example in the pixels it is packed in, its picture and its masks as bytes."""
    record = example.record
    data = record.source.read()
    image = read.decode(data, str(record.source))
    matrix = align.from_points(example.points, WIDE)
    masks = {name: _mask_of(label, image, str(record.source)) for name, label in record.labels.items() if isinstance(tasks.named(name), tasks.Regions)}
    if max(image.shape[:2]) > LARGE and geometry.scale_of(matrix) < 1:
        size = (WIDE.size, WIDE.size)
        encoded = cv2.imencode(".jpg", cv2.cvtColor(geometry.warp(image, matrix, size), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        data = encoded.tobytes()
        masks = {name: geometry.warp(mask, matrix, size, border=255, nearest=True) for name, mask in masks.items()}
        labels = {name: _label_through(name, label, dataset, matrix) for name, label in record.labels.items()}
        example = replace(example, record=replace(record, labels=labels), points=geometry.apply(matrix, example.points))
    return example, data, {name: cv2.imencode(".png", mask)[1].tobytes() for name, mask in masks.items()}


def _digest(listed: Examples) -> str:
    """Of a listing, in one word."""
    lines = []
    for example in listed.items:
        record = example.record
        labels = {name: None if isinstance(tasks.named(name), tasks.Regions) else label for name, label in record.labels.items()}
        lines.append(json.dumps([record.key, record.subject, example.points, labels, dict(record.groups)], default=plain))
    return sha256_of_lines(lines)


def _mask_of(label: object, image: np.ndarray, name: str) -> np.ndarray:
    mask = np.asarray(label() if callable(label) else label)
    try:
        check_mask(mask, image.shape)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return mask


def _label_through(name: str, label: object, dataset: Dataset, matrix: np.ndarray) -> object:
    """A label after its picture went through a matrix: points move, and a head's roll turns with the picture. Masks are warped elsewhere."""
    task, meaning = tasks.named(name), dataset.answers.get(name)
    if isinstance(task, tasks.Points):
        return geometry.apply(matrix, np.asarray(label))
    if isinstance(task, tasks.Angles) and isinstance(label, Mapping) and isinstance(meaning, Ranges) and "roll" in label:
        (low, high), turn = meaning.range_of(label["roll"]), geometry.rotation_of(matrix)
        open_ended = [low < high and abs(end) >= task.limit for end in (low, high)]  # "and beyond", however the head is turned
        return {**label, "roll": tuple(end if beyond else end + turn for end, beyond in zip((low, high), open_ended, strict=True))}
    return label


def _row(example: Example, picture: tuple[int, int], masks: dict[str, tuple[int, int]]) -> dict:
    record = example.record
    places = {name: {"mask": f"{offset}:{length}:{record.source.name}"} for name, (offset, length) in masks.items()}
    return {
        "key": record.key,
        "picture": f"{picture[0]}:{picture[1]}:{record.source.name}",
        "labels": json.dumps({**record.labels, **places}, default=plain),
        "subject": record.subject,
        "points": example.points.ravel().tolist(),
        "how": example.how,
        "groups": json.dumps(dict(record.groups)),
    }


def _label_in(name: str, label: object, slices: Slices) -> object:
    if isinstance(tasks.named(name), tasks.Regions) and isinstance(label, dict):
        source = read.Source(slices, label["mask"])
        return lambda: read.decode_mask(source.read(), str(source))
    return np.array(label, np.float64) if isinstance(tasks.named(name), tasks.Points) else label


def plain(value: object) -> object:
    """numpy values and mappings for JSON; NaN stays NaN, which Python reads back."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a label of type {type(value).__name__} cannot be packed")


def _write_table(rows: list[dict], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.Table.from_pylist(rows), path)
