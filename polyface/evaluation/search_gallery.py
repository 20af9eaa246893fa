"""Galleries as they lie: arrays, mapped `.npy` files, parts that come one after the other, and codes that were stored; each as chunks that search goes through.

Nothing that is not a finite float32 or float16 number gets through, and each refusal names file and row.
"""

import hashlib
import io
import json
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from polyface import runtime
from polyface.errors import InputError, RequestError, RunError
from polyface.evaluation.arrays import BROKEN
from polyface.evaluation.search_codes import Coded, code_rows
from polyface.evaluation.search_scores import LARGEST, LONGEST, Ordered, Rows, Side
from polyface.files import make_mapped, sha256_of_file, write_atomically
from polyface.terminal import Report

BLOCK = 65536
"""Rows of which codes are stored together, in the order of their scales, and most rows of a chunk."""

FIRST = 2048
"""Rows of the first chunks, or as many as are compared together. Later ones have half as many as all before: bars are high before much is compared with them."""

SIZES = (2, 4)
"""Bytes of the numbers that are searched: float16 and float32."""

VERSION = 3


@dataclass(frozen=True)
class Chunk:
    """Rows that are looked at together. ids int64 [n]: their numbers in the gallery; rows float32 [n, d]; coded None: none is wanted."""

    ids: np.ndarray
    rows: Rows
    coded: Coded | None


Work = Callable[[], Chunk]


def open_gallery(path: Path, sizes: tuple[int, ...] = SIZES) -> np.ndarray:
    """A `.npy` file of float32 or float16 [N, d], mapped, or of floats of other `sizes` in bytes, which cannot be searched as they are.

    Raises InputError naming the file where it is anything else, is cut short, or goes on after the rows that its header promises.
    """
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_column, kind = read_header(file)
            start, there = file.tell(), file.seek(0, io.SEEK_END)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except BROKEN as error:
        raise InputError(f"{path}: not a .npy file, or cut short in its header ({error})") from error
    _require_numbers(kind, len(shape), str(path), sizes)
    if by_column:
        raise InputError(f"{path}: stored column by column (Fortran order); write numpy.ascontiguousarray of it")
    row = shape[1] * kind.itemsize
    if there < start + shape[0] * row:
        raise InputError(f"{path}: cut short: its header promises {shape[0]} rows of {shape[1]} {kind.name}, the file ends in row {(there - start) // max(row, 1)}")
    if there > start + shape[0] * row:
        raise InputError(f"{path}: its header promises {shape[0]} rows of {shape[1]} {kind.name}, {there - start - shape[0] * row} more bytes follow")
    return np.memmap(path, kind, "r", start, shape) if 0 not in shape else np.empty(shape, kind)


def kept_gallery(path: Path, of: Mapping[str, str], count: int, blocks: Iterable[np.ndarray], refusal: str) -> np.ndarray:
    """Rows float32 [count, d], which come in blocks, as one mapped `.npy` file; what it is of and its checksum stand beside it (.json). Made now, or made before: then no
    block is asked for.

    Raises RequestError with the words of `refusal` where the file is of something else, or has changed since. Nothing is kept where a block is refused.
    """
    record = path.with_suffix(".json")
    if path.exists() and record.exists():
        try:
            same = json.loads(record.read_text()) == {**of, "sha256": sha256_of_file(path)}
        except ValueError:
            same = False
        if not same:
            raise RequestError(f"{path}: {refusal}")
        return open_gallery(path)
    unfinished, done = path.with_name(f".{path.name}.{os.getpid()}"), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for block in blocks:
            if not done:
                rows = make_mapped(unfinished, np.float32, (count, block.shape[1]))
            rows[done : done + len(block)] = block
            done += len(block)
        assert done == count, f"{done} of {count} rows"
        rows.flush()
        unfinished.replace(path)
        write_atomically(record, json.dumps({**of, "sha256": sha256_of_file(path)}, indent=1))
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()
    return open_gallery(path)


def check_rows(rows: np.ndarray, name: str, dimension: int | None = None, first: int = 0) -> np.ndarray:
    """The rows as an array, every number of which was looked at. Raises InputError naming `name` and the row, counted from `first` on."""
    rows = np.asanyarray(rows)
    _require_numbers(rows.dtype, rows.ndim, name)
    if dimension is not None and rows.shape[1] != dimension:
        raise InputError(f"{name}: rows of {rows.shape[1]} numbers, those of the probes have {dimension}")
    if not 0 < rows.shape[1] <= LONGEST:
        raise InputError(f"{name}: rows of {rows.shape[1]} numbers; 1 to {LONGEST} are compared")

    def check(start: int) -> None:
        part = np.asarray(rows[start : start + FIRST], np.float32)
        if part.min() >= -LARGEST and part.max() <= LARGEST:  # false for NaN
            return
        row, column = np.argwhere(~(np.abs(part) <= LARGEST))[0]
        value = part[row, column]
        why = f"{value}, too large for an embedding" if np.isfinite(value) else f"not finite ({value})"
        raise InputError(f"{name}: row {first + start + row} is {why}")

    with ThreadPoolExecutor(runtime.processors()) as pool:
        for _ in pool.map(check, range(0, len(rows), FIRST)):
            pass
    return rows


def file_of(rows: np.ndarray) -> str | None:
    """The file that an array maps whole; a part of one is known by its bytes alone."""
    return getattr(rows, "filename", None) if isinstance(rows.base, mmap.mmap) else None


def name_of(rows: Any, otherwise: str) -> str:
    return str(getattr(rows, "filename", None) or otherwise)


def steps(count: int, done: int, tile: int) -> Iterator[int]:
    """How many rows each chunk has, those that are `done` left out; none reaches over the end of a block. tile: rows that are compared together."""
    while done < count:
        size = min(max(FIRST, tile, done // 2), BLOCK - done % BLOCK, count - done)
        yield size
        done += size


def works(parts: Iterable[np.ndarray], coding: bool, first: int, done: int, tile: int) -> Iterator[tuple[int, Work]]:
    """(rows, how to make the chunk) of arrays one after the other, without the first `done` rows. The first row of all is numbered `first`."""
    at = 0
    for part in parts:
        begin, end = at, at + len(part)
        at = min(max(at, done), end)
        for size in steps(end, at, tile):
            yield size, partial(_chunk_of, part[at - begin : at - begin + size], first + at, coding)
            at += size


def _chunk_of(rows: np.ndarray, first: int, coding: bool) -> Chunk:
    floats = np.asarray(rows, np.float32)
    if not coding:
        return Chunk(first + np.arange(len(floats)), floats, None)
    coded = code_rows(floats)
    return Chunk(first + coded.order, Ordered(floats, coded.order), coded)


@dataclass(frozen=True)
class Codes:
    """A gallery with its codes, made once. rows float32 or float16 [N, d]; codes uint8 [N, d], block after block, in each by scale (`search_codes.Coded`); about
    int32 [4, N], in the order of the codes: row in its block, and the bits of three float32: scale, residual, norm.
    """

    rows: np.ndarray
    codes: np.ndarray
    about: np.ndarray

    def works(self, first: int, done: int, tile: int) -> Iterator[tuple[int, Work]]:
        """As the function `works`."""
        for size in steps(len(self.rows), done, tile):
            yield size, partial(self._chunk, first, done, done + size)
            done += size

    def require_own(self) -> None:
        """Raises RequestError where one row of each block, coded anew, is not what was stored: codes of another gallery would discard what should be found."""
        firsts = np.arange(0, len(self.rows), BLOCK)
        coded = code_rows(np.asarray(self.rows[firsts + self.about[0, firsts]], np.float32))
        theirs = firsts[coded.order]
        if not (np.array_equal(self.codes[theirs], coded.codes) and np.array_equal(self.about[1, theirs], coded.side.scale.view(np.int32))):
            raise RequestError(f"{name_of(self.rows, 'the gallery')}: these are codes of another gallery, or it has changed since they were made")

    def _chunk(self, first: int, begin: int, end: int) -> Chunk:
        block = begin - begin % BLOCK
        order, *side = (np.asarray(each) for each in self.about[:, begin:end])
        rows = block + order.astype(np.int64)
        coded = Coded(np.asarray(self.codes[begin:end]), Side(*(each.view(np.float32) for each in side)), order)
        return Chunk(first + rows, Ordered(np.asarray(self.rows), rows), coded)


def build_codes(rows: np.ndarray, folder: Path | None = None, report: Report | None = None) -> Codes:
    """The codes of a gallery [N, d]: those that `folder` holds, or else made now, and stored there as they get done: where that is broken off, the next call goes on.

    Raises InputError for rows that are no embeddings, RequestError when the folder's codes are of another gallery.
    """
    name = name_of(rows, "the gallery")
    _require_numbers(rows.dtype, rows.ndim, name)
    n, d = rows.shape
    if not n:
        raise InputError(f"{name}: no rows")
    done, said = 0, dict[str, Any]()
    if folder is None:
        codes, about = np.empty((n, d), np.uint8), np.empty((4, n), np.int32)
    else:
        said, done = _identity(rows, folder, name)
        mode = "r" if done == n else "r+" if done else "w+"
        codes, about = _mapped(folder / "codes.npy", np.uint8, (n, d), mode), _mapped(folder / "about.npy", np.int32, (4, n), mode)

    def code(block: int) -> int:
        part = check_rows(rows[block : block + BLOCK], name, d, block)
        coded = code_rows(np.asarray(part, np.float32))
        end = block + len(part)
        codes[block:end], about[0, block:end] = coded.codes, coded.order
        about[1:, block:end] = np.stack([coded.side.scale, coded.side.first, coded.side.second]).view(np.int32)
        return end

    with ThreadPoolExecutor(runtime.processors()) as pool:
        waiting = range(done, n, BLOCK)
        for at in range(0, len(waiting), SAVED):
            for end in pool.map(code, waiting[at : at + SAVED]):
                done = end
                if report is not None:
                    report(done, n, "rows coded")
            if folder is not None:
                _keep(folder, {**said, "done": done}, codes, about)
    return Codes(rows, codes, about)


SAVED = 16
"""Blocks after which codes that are being made are written down as done: a million rows."""


def _identity(rows: np.ndarray, folder: Path, name: str) -> tuple[dict[str, Any], int]:
    """What codes of these rows say that they are of, and how many rows the folder's codes are made of already.

    A mapped file is known by its size and time, and by its hash where the time has changed; an array in memory by its hash.
    """
    file = file_of(rows)
    said: dict[str, Any] = {"version": VERSION, "shape": list(rows.shape), "dtype": rows.dtype.name, "changed": Path(file).stat().st_mtime_ns if file else None}
    path = folder / "codes.json"
    try:
        there = json.loads(path.read_text()) if path.exists() else {}
        trusted = file is not None and there.get("changed") == said["changed"]
        said["sha256"] = there["sha256"] if trusted else sha256_of_file(Path(file)) if file else hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest()
        if any(there.get(key) != said[key] for key in ("version", "shape", "dtype", "sha256") if there):
            raise RequestError(f"{folder}: codes of another gallery than {name}, or of another version of it; remove the folder to have them made again")
        return said, int(there.get("done", 0))
    except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        raise RequestError(f"{path}: not a record of codes ({error}); remove the folder to have them made again") from error


def _mapped(path: Path, kind: Any, shape: tuple[int, ...], mode: str) -> np.ndarray:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = make_mapped(path, kind, shape) if mode == "w+" else np.lib.format.open_memmap(path, mode)
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: missing, cut short or not to be written ({error}); remove the folder to have the codes made again") from error
    if array.shape != shape or array.dtype != kind:
        raise RequestError(f"{path}: {array.shape} of {array.dtype}, {shape} is expected; remove the folder to have the codes made again")
    return array


def _keep(folder: Path, said: dict[str, Any], *arrays: Any) -> None:
    for array in arrays:
        try:
            array.flush()
        except OSError as error:
            raise RunError(f"{folder}: codes cannot be written ({error.strerror or error})") from error
    write_atomically(folder / "codes.json", json.dumps(said, indent=1))


def _require_numbers(kind: np.dtype, dimensions: int, name: str, sizes: tuple[int, ...] = SIZES) -> None:
    if kind.kind != "f" or kind.itemsize not in sizes:
        raise InputError(f"{name}: {kind.name}; scores are of float32 or float16 numbers")
    if not kind.isnative:
        raise InputError(f"{name}: {kind.str[1:]} of the other byte order (big-endian); write array.astype({kind.newbyteorder('=').name!r})")
    if dimensions != 2:
        raise InputError(f"{name}: an array of {dimensions} dimensions; a gallery has two, rows and numbers")
