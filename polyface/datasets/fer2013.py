"""FER2013: seven words, no contempt; grey pictures of 48 x 48 that the face fills. Test is PrivateTest, validation PublicTest.

Two layouts are read. Class folders: `train/happy/NAME.png`, where a name that begins with `Training_`, `PublicTest_` or `PrivateTest_` says its part whatever its
folder (some downloads lay both tests into one). The original `fer2013.csv` of columns emotion, pixels, Usage, whose pictures become PNGs as they are opened; read
from its documentation, never run on the real file. Where the csv is there it is taken.

Photographs come more than once, often cropped or compressed anew. Test is whole; what is in it leaves validation, and what is in either leaves train. Inside a part
copies stay: where people gave one picture two words, those are two votes.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np

from polyface.datasets import copies
from polyface.datasets.base import Alignment, Dataset, Listing, Meaning, Record, Split
from polyface.datasets.tables import Rows, is_picture
from polyface.errors import InputError, nearest
from polyface.images.read import Root, Source, decode
from polyface.labels import words
from polyface.tasks import expression

WORDS = {"angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happy", "sad": "sad", "surprise": "surprise", "neutral": "neutral"}
"""The folders, in the order of the csv's digits."""
TABLE, COLUMNS, SIDE = "fer2013.csv", ("emotion", "pixels", "Usage"), 48
USAGES: dict[str, Split] = {"PrivateTest": "test", "PublicTest": "validation", "Training": "train"}
FOLDERS: dict[str, Split] = {"train": "train", "validation": "validation", "test": "test"}
PARTS: tuple[Split, ...] = ("test", "validation", "train")
PICTURE = re.compile(r"(?:.*/)?(train|validation|test)/([^/]+)/([^/]+)")
FACE_48 = Alignment(np.array([[15.5, 18.0], [32.2, 17.9], [23.5, 28.3], [17.0, 36.3], [31.0, 36.2]]), "guess")
"""Means of YuNet's five points in 160 pictures, in all of which it found a face; they deviate by 3 to 5 pixels."""
SAME = 0.96
"""The correlation of two pictures from which on they are one photograph."""

Found = tuple[Split | None, str, Callable[[], Record]]
"""A picture's part, what names it in errors, and what makes its record or raises InputError; it does where the part is None, none that there is."""


@dataclass(frozen=True)
class PixelRow:
    """A root of one picture: a row of the csv, grey values [SIDE * SIDE]. It becomes a PNG when it is opened."""

    label: str
    name: str
    pixels: bytes = field(repr=False)

    def names(self) -> list[str]:
        return [self.name]

    def exists(self, name: str) -> bool:
        return name == self.name

    def open(self, name: str) -> bytes:
        if name != self.name:
            raise InputError(f"{self.label}/{name}: no such row")
        return cv2.imencode(".png", np.frombuffer(self.pixels, np.uint8).reshape(SIDE, SIDE))[1].tobytes()


def list_records(root: Root, split: Split) -> Listing:
    table = next((name for name in root.names() if name.rpartition("/")[2] == TABLE), None)
    rows = Rows(fer2013.answers)
    add_originals(rows, fer2013.answers, split, _in_table(root, table) if table else _in_folders(root))
    return rows.listing()


def add_originals(rows: Rows, answers: Mapping[str, Meaning], split: Split, found: Iterable[Found]) -> None:
    """Adds a split's records, less the photographs that are also in a part before it (PARTS).

    Faces lie alike in all pictures of 48 x 48, so copies correlate as they stand: at SAME each of the 692 pictures of train that are, pixel by pixel, in another
    part is found though that part was compressed, and 607 more, all of those looked at the same photographs.
    """
    kept: dict[Split, list[tuple[str, Record]]] = {part: [] for part in PARTS[: PARTS.index(split) + 1]}
    thumbnails: dict[Split, list[np.ndarray]] = {part: [] for part in kept}
    elsewhere = Rows(answers)  # what is refused in another split is reported there
    for part, where, make in found:
        if part is None or part in kept:
            with (rows if part in (split, None) else elsewhere).row(where):
                record = make()
                assert part is not None
                thumbnails[part].append(_thumbnail(record.source))
                kept[part].append((where, record))
    others = np.concatenate([_normalised(thumbnails[part]) for part in kept if part != split] or [_normalised([])])
    likeness, _ = copies.near_copies(_normalised(thumbnails[split]), others)
    for (where, record), correlation in zip(kept[split], likeness, strict=True):
        if correlation <= SAME:
            with rows.row(where):
                rows.add(record)


def _thumbnail(source: Source) -> np.ndarray:
    """uint8 [400] of 20 x 20."""
    grey = cv2.cvtColor(decode(source.read(), str(source)), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (20, 20), interpolation=cv2.INTER_AREA).ravel()


def _normalised(thumbnails: Sequence[np.ndarray]) -> np.ndarray:
    """float32 [N, 400] of mean 0 and length 1, so that a dot product is a correlation."""
    rows = np.stack(thumbnails).astype(np.float32) if len(thumbnails) else np.zeros((0, 400), np.float32)
    rows -= rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def _in_folders(root: Root) -> Iterator[Found]:
    for name in root.names():
        if (match := PICTURE.fullmatch(name)) and is_picture(name):
            folder, word, file = match.groups()
            part = USAGES.get(file.partition("_")[0], FOLDERS[folder])
            yield part, name, partial(_record, name, Source(root, name), word)


def _record(key: str, source: Source, word: str) -> Record:
    if word not in WORDS:
        raise InputError(f"{expression.name}: no word {word!r} here{nearest(word, WORDS)}")
    return Record(key, source, {expression.name: word}, alignment=FACE_48)


def _in_table(root: Root, table: str) -> Iterator[Found]:
    """Row by row: the file holds 300 MB."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(root.open(table)), "utf-8-sig", newline=""), strict=True)
    label = f"{root.label}/{table}"
    try:
        header = [column.strip() for column in next(reader, [])]
        for column in COLUMNS:
            if column not in header:
                raise InputError(f"{table}: no column {column!r}{nearest(column, header)}")
        at = [header.index(column) for column in COLUMNS]
        for fields in reader:
            if fields:
                digit, pixels, usage = (fields[index].strip() if index < len(fields) else "" for index in at)
                yield USAGES.get(usage), f"{table}, row {reader.line_num}", partial(_of_row, label, reader.line_num, digit, pixels, usage)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{table}, row {reader.line_num + 1}: {error}") from None


def _of_row(label: str, row: int, digit: str, pixels: str, usage: str) -> Record:
    if usage not in USAGES:
        raise InputError(f"Usage {usage!r} is none of {', '.join(USAGES)}")
    if digit not in [str(number) for number in range(len(WORDS))]:
        raise InputError(f"emotion {digit!r} is none of 0 to {len(WORDS) - 1}")
    try:
        values = bytes(map(int, pixels.split()))
    except ValueError:
        raise InputError("its pixels are not whole numbers from 0 to 255") from None
    if len(values) != SIDE * SIDE:
        raise InputError(f"{len(values)} pixels where there are {SIDE} x {SIDE}")
    return _record(f"{usage}_{row}", Source(PixelRow(label, f"row {row}", values), f"row {row}"), list(WORDS)[int(digit)])


fer2013 = Dataset(
    name="fer2013",
    title="FER2013",
    terms="research; rights in the photographs unclear",
    url="https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge",
    answers={expression.name: words(expression.vocabulary, WORDS)},
    splits=("train", "validation", "test"),
    list_records=list_records,
)
