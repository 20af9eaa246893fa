"""What the readers share: label files as lines and rows, and rows as records, each refused row with its reason."""

import csv
import hashlib
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from polyface import tasks
from polyface.datasets.base import Listing, Meaning, Record
from polyface.errors import InputError, nearest
from polyface.images.read import SUFFIXES, Root, Source, decode_mask, read_header
from polyface.labels import People

AGE_GROUPS = {
    "0-2": (0, 2),
    "3-9": (3, 9),
    **{f"{decade}-{decade + 9}": (decade, decade + 9) for decade in range(10, 70, 10)},
    "more than 70": (70, tasks.age.top),
}
"""FairFace's words and years, the last included: in these groups are scores by age, whatever set they are on."""


class Rows:
    """The records of one split as they are read; what is refused is kept as one line that names file and row, and the rest goes on."""

    def __init__(self, answers: Mapping[str, Meaning]) -> None:
        self._answers = answers
        self._records: list[Record] = []
        self._absent: list[str] = []
        self._problems: list[InputError] = []
        self._contents: set[bytes] = set()
        self._keys: set[str] = set()

    @contextmanager
    def row(self, where: str) -> Iterator[None]:
        """An InputError inside becomes a problem "where: ..."."""
        try:
            yield
        except InputError as error:
            self._problems.append(InputError(f"{where}: {error}"))

    def add(self, record: Record) -> None:
        """Raises InputError where a label is none that its task knows, or the record is there already."""
        if record.key in self._keys:
            raise InputError(f"{record.key} is listed a second time")
        for task, label in record.labels.items():
            check_label(task, self._answers[task], label)
        self._keys.add(record.key)
        self._records.append(record)

    def missing(self, file: str) -> None:
        """A file that is listed, but absent."""
        self._absent.append(file)

    def is_copy(self, content: bytes) -> bool:
        """Whether these bytes came by before; they are remembered."""
        digest = hashlib.sha256(content).digest()
        known = digest in self._contents
        self._contents.add(digest)
        return known

    def listing(self) -> Listing:
        return Listing(tuple(self._records), tuple(self._absent), tuple(self._problems))


@dataclass(frozen=True)
class Mask:
    """A label that is opened when it is needed: a PNG of class indices, uint8 [H, W]."""

    source: Source

    def __call__(self) -> np.ndarray:
        return decode_mask(self.source.read(), str(self.source))


def check_label(task: str, meaning: Meaning, label: object) -> None:
    """Raises InputError for a label that its task does not know. A mask that a function opens is checked when it is opened."""
    if isinstance(meaning, People):
        if not isinstance(label, str) or not label:
            raise InputError(f"{label!r} is no key of a person")
    elif not callable(label):
        try:
            tasks.named(task).encode(meaning, label)  # type: ignore[attr-defined]
        except InputError as error:
            raise InputError(f"{task}: {error}") from None


def text(root: Root, name: str) -> str:
    """A label file, with or without a byte order mark. Raises InputError where it is absent or no UTF-8."""
    if not root.exists(name):
        raise InputError(f"{root.label}: {name} is missing")
    return as_text(root.open(name), f"{root.label}: {name}")


def as_text(data: bytes, name: str) -> str:
    """The text of bytes in UTF-8. Raises InputError that names what they are instead, where that is plain."""
    for kind, is_kind in OTHER_FILES.items():
        if is_kind(data):
            raise InputError(f"{name}: no UTF-8 text but {kind}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}: no UTF-8 text, at byte {error.start}, in row {row}") from None


def text_of(path: Path) -> str:
    """The text of a file. Raises InputError that names it, where it cannot be read or as `as_text` does."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    return as_text(data, str(path))


OTHER_FILES: Mapping[str, Callable[[bytes], bool]] = {
    "a spreadsheet (.xlsx) or a .zip; save it as CSV UTF-8": lambda data: data.startswith(b"PK\x03\x04"),
    "an old spreadsheet (.xls); save it as CSV UTF-8": lambda data: data.startswith(b"\xd0\xcf\x11\xe0"),
    "UTF-16; save it as CSV UTF-8": lambda data: data.startswith((b"\xff\xfe", b"\xfe\xff")),
    "Parquet; its name should end in .parquet": lambda data: data.startswith(b"PAR1") and data.endswith(b"PAR1"),
}
"""What tables are saved as by mistake, by how the bytes begin."""


def lines(content: str) -> Iterator[tuple[int, list[str]]]:
    """(row, fields) of each line that is not empty, cut at white space; rows count from 1, as editors do."""
    for row, line in enumerate(content.split("\n"), 1):
        if fields := line.split():
            yield row, fields


def csv_rows(content: str, name: str, columns: Collection[str], rows: Rows, header: Sequence[str] = ()) -> list[tuple[int, dict[str, str]]]:
    """(row, {column: value}) of a CSV with a header, or where it has none with the one given; rows count from 1, the header's own. A row of too many fields is refused in
    `rows`, since a comma in a cell, such as 34,5, has shifted it, and so are one of too few with which the text breaks off and one with a wrong quote, such as "6" x.jpg;
    others of too few end in empty cells. Raises InputError for no CSV at all, a quote that is never closed, and as `check_columns`."""
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        header = header or [column.strip() for column in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"{name}, row 1: {error}") from None
    mark = next((mark for mark in ";\t" if sum(column.count(mark) for column in header) >= len(header) > 0), "")
    if mark and not set(columns) <= set(header):
        raise InputError(f"{name}: separated by {mark!r}? commas are read")
    check_columns(columns, header, name)
    last = len(io.StringIO(content, newline="").readlines()) if not content.endswith(("\n", "\r")) else None
    read = []
    for row, values in _well_quoted(reader, name, rows):
        with rows.row(f"{name}, row {row}"):
            if any(value.strip() for value in values[len(header) :]):
                raise InputError(f"{len(values)} fields where the header has {len(header)}")
            if row == last and 0 < len(values) < len(header):
                raise InputError(f"breaks off after {len(values)} of {len(header)} fields")
            if values:
                values += [""] * (len(header) - len(values))
                read.append((row, {column: value.strip() for column, value in zip(header, values, strict=False)}))
    return read


WRONG_QUOTE = "expected after"
"""In what CPython's reader says of a cell that goes on behind its closing quote; the next it reads is the next line."""


def _well_quoted(reader: Any, name: str, rows: Rows) -> Iterator[tuple[int, list[str]]]:
    """(row, fields) of what is left in a reader of csv; what has a wrong quote is refused in `rows`."""
    while True:
        begin = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            if WRONG_QUOTE not in str(error):
                raise InputError(f"{name}, row {begin}: {error}") from None  # where it begins: a quote may be open from there to the end
            with rows.row(f"{name}, row {begin}" if reader.line_num == begin else f"{name}, rows {begin} to {reader.line_num}"):
                raise InputError(str(error)) from None
            continue
        if values is None:
            return
        yield reader.line_num, values


def check_columns(columns: Iterable[str], header: Sequence[str], name: str) -> None:
    """Raises InputError for one of the columns that a table's header has not, or twice: nobody knows which of the two is meant."""
    for column in columns:
        if column not in header:
            raise InputError(f"{name}: no column {column!r}{nearest(column, header)}")
        if header.count(column) > 1:
            raise InputError(f"{name}: the column {column!r} is there twice")


def number(word: str) -> float:
    """Raises InputError for what is no finite number."""
    try:
        value = float(word if "_" not in word else "")
    except ValueError:
        raise InputError(f"{word!r} is no number") from None
    if not abs(value) < float("inf"):
        raise InputError(f"{word!r} is no finite number")
    return value


def points_of_rows(rows: Iterable[tuple[int, list[str]]], name: str) -> np.ndarray:
    """(row, fields) of lines `x y` -> float [n, 2], as they are written. Raises InputError naming file and row."""
    points = []
    for row, fields in rows:
        try:
            points.append([number(field) for field in fields])
        except InputError as error:
            raise InputError(f"{name}, row {row}: {error}") from None
        if len(fields) != 2:
            raise InputError(f"{name}, row {row}: not `x y`")
    return np.array(points)


def whole(word: str) -> int:
    """Raises InputError for what is no whole number, or beyond those of 64 bits."""
    try:
        value = int(word if "_" not in word else "")
    except ValueError:
        raise InputError(f"{word!r} is no whole number") from None
    if not -(2**63) <= value < 2**63:
        raise InputError(f"{word!r} is a whole number beyond 64 bits")
    return value


def find(root: Root, file: str) -> str:
    """The full name of a file, wherever in the root its download put it: the least deep, then the first. Raises InputError where there is none."""
    found = [name for name in root.names() if name == file or name.endswith(f"/{file}")]
    if not found:
        raise InputError(f"{root.label}: {file} is missing")
    return min(found, key=lambda name: (name.count("/"), name))


def age_group(years: float) -> str:
    """The word for the group that an age, 0 or more, is in."""
    return next(word for word, (first, _) in reversed(AGE_GROUPS.items()) if years >= first)


def is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def photograph_of(file: str) -> str:
    """The name of a file without folder, ending and the number of the face: `trainset/134212_1.pts` -> `134212`."""
    stem = PurePosixPath(file).stem
    return stem.rpartition("_")[0] or stem


def check_inside(points: np.ndarray, content: bytes, name: str) -> None:
    """Raises InputError for points that `check_points` refuses, or for what is no picture. Decodes nothing."""
    check_points(points, read_header(content, name).shape, name)


def check_points(points: object, shape: tuple[int, ...], name: str) -> None:
    """Raises InputError for points [n, 2] that lie farther outside a picture [H, W, ...] than a tenth of its longer side, or all in one place. NaN is a point that is not
    seen."""
    points, sides = np.asarray(points, float).reshape(-1, 2), shape[1::-1]
    outside = np.maximum(-points, points - sides).max(axis=1, initial=-np.inf)
    outside[np.isnan(outside)] = -np.inf
    worst = int(outside.argmax())
    if outside[worst] > max(sides) / 10:
        x, y = points[worst]
        raise InputError(f"point {worst + 1} at ({x:.1f}, {y:.1f}) is outside the picture {name} of {sides[0]} x {sides[1]}")
    seen = points[np.isfinite(points).all(1)]
    if len(seen) > 1 and not np.ptp(seen, axis=0).any():
        raise InputError(f"all points of {name} fall together")
