"""The MegaFace devkit's features, a file for each photograph, read once into one mapped array (papers.md D2).

A file is OpenCV's matrix as the devkit's matio writes it: four little-endian int32, rows, columns, bytes of a row, and type (5: float32, 6: float64), then the numbers.
A vector of d is (d, 1, 4, 5). The devkit's own writer says 4 bytes a column for float64 too, so that is read as well.
"""

import json
import os
import struct
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from polyface import runtime
from polyface.errors import InputError, RequestError, RunError
from polyface.evaluation.search_gallery import open_gallery
from polyface.evaluation.search_scores import LARGEST
from polyface.files import sha256_of_file, sha256_of_lines, write_atomically
from polyface.terminal import Report

TYPES: dict[int, np.dtype] = {5: np.dtype("<f4"), 6: np.dtype("<f8")}

TOGETHER = 1024
"""Files that a thread reads before it reports."""


def read_feature(path: Path) -> np.ndarray:
    """float32 [d]; float64 is rounded. Raises InputError naming the file where it is no such vector, not of the size that it says, or not finite."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if len(content) < 16:
        raise InputError(f"{path}: cut short: {len(content)} bytes, the header alone has 16")
    rows, columns, step, kind = struct.unpack("<4i", content[:16])
    if kind not in TYPES:
        turned = struct.unpack(">4i", content[:16])[3] in TYPES
        raise InputError(f"{path}: big-endian; the devkit writes little-endian" if turned else f"{path}: not a feature of the devkit (type {kind}, known are 5 and 6)")
    size = TYPES[kind].itemsize
    if min(rows, columns) != 1:
        raise InputError(f"{path}: a matrix of {rows} x {columns}, a vector is expected")
    if step not in (columns * size, columns * 4) or len(content) != 16 + rows * columns * size:
        raise InputError(f"{path}: its header promises {rows} x {columns} {TYPES[kind].name} in rows of {step} bytes, {len(content) - 16} bytes follow")
    with np.errstate(over="ignore"):
        vector = np.frombuffer(content, TYPES[kind], offset=16).astype(np.float32)
    if not (np.abs(vector) <= LARGEST).all():
        raise InputError(f"{path}: number {int(np.argmin(np.abs(vector) <= LARGEST))} is not finite, or too large for an embedding")
    return vector


def gather_features(files: Sequence[Path], out: Path, report: Report | None = None) -> np.ndarray:
    """The features of these files as rows of one mapped float32 array [N, d], kept as `out` (.npy) with a checksum beside it (.json): made now, or made before.

    Raises InputError naming a file that is listed twice, missing, no feature, or of another length than the first; RequestError where `out` is of another list
    of files or has changed since. Nothing is kept of a list that was refused.
    """
    if not files:
        raise InputError(f"{out}: no features are listed")
    names = [str(file) for file in files]
    twice = [name for name, times in Counter(names).most_common(1) if times > 1]
    if twice:
        raise InputError(f"{twice[0]}: listed twice")
    record, listed = out.with_suffix(".json"), sha256_of_lines(names)
    if out.exists() and record.exists():
        said = json.loads(record.read_text())
        if said.get("files") != listed or said.get("sha256") != sha256_of_file(out):
            raise RequestError(f"{out}: of another list of features, or changed since it was made; remove it to have it made again")
        return open_gallery(out)
    d = len(read_feature(files[0]))
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        rows = np.lib.format.open_memmap(unfinished, "w+", np.dtype(np.float32), (len(files), d))

        def read(start: int) -> int:
            for number, file in enumerate(files[start : start + TOGETHER], start):
                vector = read_feature(file)
                if len(vector) != d:
                    raise InputError(f"{file}: {len(vector)} numbers, {files[0]} has {d}")
                rows[number] = vector
            return min(start + TOGETHER, len(files))

        with ThreadPoolExecutor(2 * runtime.processors()) as pool:
            try:
                for done in pool.map(read, range(0, len(files), TOGETHER)):
                    if report is not None:
                        report(done, len(files), "features read")
            finally:
                pool.shutdown(cancel_futures=True)
        rows.flush()
        unfinished.replace(out)
        write_atomically(record, json.dumps({"files": listed, "rows": len(files), "sha256": sha256_of_file(out)}, indent=1))
    except OSError as error:
        raise RunError(f"{out}: cannot be written ({error.strerror or error})") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return open_gallery(out)
