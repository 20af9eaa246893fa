"""MXNet's RecordIO of pictures, read in place like an archive: train.rec, with its train.idx where that is there.

A record is a magic number, a length that says in its three highest bits whether it is whole, a first, a middle or a last part, the bytes, and zeros up to a multiple
of 4. A writer splits bytes where they hold the magic number themselves, at a multiple of 4, and leaves it out. The bytes of a picture begin with a header: how many
labels follow it (0: there is one, in the header), a label, two numbers. Sources: apache/mxnet python/mxnet/recordio.py and src/io/image_recordio.h, dmlc/recordio.h;
insightface rec_builder.py, whose records about people hold no picture. Written from these; never run on a public download.
"""

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from polyface.errors import InputError

MAGIC = struct.pack("<I", 0xCED7230A)
WHOLE, FIRST, MIDDLE, LAST = range(4)
PART = struct.Struct("<4sI")
HEADER = struct.Struct("<IfQQ")
LABEL = struct.Struct("<f")


@dataclass(frozen=True)
class Records:
    """The pictures of a .rec by their keys, and of each the first of its labels. May be read from any thread or forked process."""

    label: str
    offsets: dict[str, int] = field(repr=False, hash=False)
    labels: dict[str, float] = field(repr=False, hash=False)

    def names(self) -> list[str]:
        return list(self.offsets)

    def exists(self, name: str) -> bool:
        return name in self.offsets

    def open(self, name: str) -> bytes:
        if name not in self.offsets:
            raise InputError(f"{self.label}/{name}: no such record")
        try:
            data = _mapped(self.label)
            return _picture(data, _parts(data, self.offsets[name])[0])
        except (OSError, ValueError) as error:
            raise InputError(f"{self.label}/{name}: cannot be read ({error})") from error


def _mapped(path: str) -> mmap.mmap:
    """A file as it is now, mapped once: doing so for each record took a quarter of the time of a loader (LOG.md)."""
    stat = os.stat(path)
    return _mapping(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _mapping(path: str, *_: int) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def open_records(path: Path) -> Records:
    """The pictures of a .rec, named by the keys of its .idx, without one by the number in each header; in the order of those numbers.

    Raises InputError naming the record, or the line of the .idx, that is not right: of a file that was cut nothing is taken.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = list(_records(data, path))
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    index = path.with_suffix(".idx")
    keys = _keys(index, path, {each.offset for each in found}) if index.is_file() else _numbers(path, found)
    kept = sorted((each for each in found if each.pictured and each.offset in keys), key=lambda each: keys[each.offset])
    names = [str(keys[each.offset]) for each in kept]
    return Records(str(path), dict(zip(names, (each.offset for each in kept), strict=True)), dict(zip(names, (each.label for each in kept), strict=True)))


class _Record(NamedTuple):
    """Its byte offset, the number in its header, the first of its labels, whether bytes of a picture follow."""

    offset: int
    number: int
    label: float
    pictured: bool


def _records(data: mmap.mmap, path: Path) -> Iterator[_Record]:
    at = row = 0
    while at < len(data):
        try:
            parts, after = _parts(data, at)
            head = data[parts[0][0] : min(parts[0][1], parts[0][0] + HEADER.size + LABEL.size)] if len(parts) == 1 else _joined(data, parts)
            if len(head) < HEADER.size:
                raise ValueError("too short for the header of a picture")
            labels, label, number, _ = HEADER.unpack_from(head)
            size = sum(end - start for start, end in parts) + len(MAGIC) * (len(parts) - 1)
            if size < HEADER.size + 4 * labels:
                raise ValueError(f"too short for its {labels} labels")
        except ValueError as error:
            raise InputError(f"{path}, record {row}, byte {at}: {error}") from None
        yield _Record(at, number, LABEL.unpack_from(head, HEADER.size)[0] if labels else label, size > HEADER.size + 4 * labels)
        at, row = after, row + 1


def _parts(data: mmap.mmap, at: int) -> tuple[list[tuple[int, int]], int]:
    """Where the bytes of the record at `at` lie, (start, end) of each part, and where the next record begins. Raises ValueError."""
    parts: list[tuple[int, int]] = []
    while True:
        if at + PART.size > len(data):
            raise ValueError("cut short")
        magic, word = PART.unpack_from(data, at)
        kind, length = word >> 29, word & ((1 << 29) - 1)
        if magic != MAGIC or kind not in ((MIDDLE, LAST) if parts else (WHOLE, FIRST)):
            raise ValueError("no record begins here" if not parts else "a part of it is missing")
        start = at + PART.size
        at = start + -(-length // 4) * 4
        if at > len(data):
            raise ValueError("cut short")
        parts.append((start, start + length))
        if kind in (WHOLE, LAST):
            return parts, at


def _joined(data: mmap.mmap, parts: list[tuple[int, int]]) -> bytes:
    return MAGIC.join(data[start:end] for start, end in parts)


def _picture(data: mmap.mmap, parts: list[tuple[int, int]]) -> bytes:
    content = _joined(data, parts)
    if len(content) < HEADER.size:
        raise ValueError("too short for the header of a picture")
    return content[HEADER.size + 4 * HEADER.unpack_from(content)[0] :]


def _keys(index: Path, path: Path, offsets: set[int]) -> dict[int, int]:
    """{byte offset: key} of a .idx, `key<TAB>offset` in each line."""
    keys: dict[int, int] = {}
    lines: dict[int, int] = {}
    for line, row in enumerate(index.read_bytes().splitlines(), 1):
        try:
            key, offset = map(int, row.split())
        except ValueError:
            raise InputError(f"{index}, line {line}: not a key and a byte offset") from None
        if offset not in offsets:
            raise InputError(f"{index}, line {line}: no record of {path.name} begins at byte {offset}")
        if key in lines or offset in keys:
            raise InputError(f"{index}, line {line}: {f'the key {key}' if key in lines else f'the record at byte {offset}'} is there already")
        keys[offset], lines[key] = key, line
    return keys


def _numbers(path: Path, found: list[_Record]) -> dict[int, int]:
    keys: dict[int, int] = {}
    rows: dict[int, int] = {}
    for row, (offset, number, _, pictured) in enumerate(found):
        if pictured and number in rows:
            raise InputError(f"{path}, record {row}: has the number {number}, as record {rows[number]} has; it takes {path.with_suffix('.idx').name} to tell them apart")
        if pictured:
            keys[offset], rows[number] = number, row
    return keys
