"""The files of MegaFace's devkit (papers.md D2): features, lists of photographs, lists of noises, and results. Written from documentation, never run on the real ones.

<photograph><ending>                              a feature: OpenCV's matrix as the devkit's matio writes it: four little-endian int32, rows, columns, bytes of a row,
                                                  and type (5: float32, 6: float64), then the numbers. A vector of d is (d, 1, 4, 5). matio itself says 4 bytes a
                                                  column for float64 too, so that is read as well
templatelists/megaface_features_list.json_<n>_1   {"path": [...]}: n distractors, the first of the devkit's sets
templatelists/<probes>_features_list.json         {"path": [...], "id": [...]}; facescrub, facescrub_uncropped, fgnet
facescrub_noises.txt, megaface_noises.txt         insightface's: a photograph in a row, by its name, or by its last two folders and name after a tab
cmc_<probes>_megaface_<algorithm>_<n>_1.json      {"cmc": [ranks from 0, rates], "roc": [false accept rates, true accept rates]}
"""

import json
import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from polyface import runtime
from polyface.datasets.tables import text_of
from polyface.errors import InputError, RequestError
from polyface.evaluation.search_gallery import kept_gallery
from polyface.evaluation.search_scores import LARGEST
from polyface.files import sha256_of_lines, write_atomically
from polyface.images.read import SUFFIXES
from polyface.terminal import Report

TYPES: dict[int, np.dtype] = {5: np.dtype("<f4"), 6: np.dtype("<f8")}

ENDING = re.compile(rf".*(?:{'|'.join(map(re.escape, sorted(SUFFIXES)))})(_.*\.bin)", re.IGNORECASE)

TOGETHER = 1024
"""Files that a thread reads before it reports."""

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)


class _List(msgspec.Struct):
    """Other keys are left alone."""

    path: list[str]
    id: list[str | int] | None = None


@dataclass(frozen=True)
class Lists:
    """probes: names [P] and people [P]; distractors {size: names}; files {what: path}, those that were read."""

    probes: tuple[str, ...]
    people: tuple[str, ...]
    distractors: Mapping[int, tuple[str, ...]]
    files: Mapping[str, Path]


def read_lists(devkit: Path, probe_set: str, sizes: Sequence[int] | None = None) -> Lists:
    """The lists of a devkit, of these sizes, or of all that are there. Raises InputError naming file and row, RequestError where a list is not there."""
    folder = devkit / "templatelists"
    probes, found = folder / f"{probe_set}_features_list.json", {size: folder / f"megaface_features_list.json_{size}_1" for size in sizes or SIZES}
    if sizes is None:
        found = {size: path for size, path in found.items() if path.is_file()}
    for path in (probes, *(found.values() or [folder / f"megaface_features_list.json_{SIZES[-1]}_1"])):
        if not path.is_file():
            raise RequestError(f"{path}: no such file; --devkit is the folder that holds templatelists")
    listed = _read_list(probes)
    if listed.id is None or len(listed.id) != len(listed.path):
        raise InputError(f"{probes}: {len(listed.path)} paths and {'no' if listed.id is None else len(listed.id)} ids, one for each is needed")
    distractors = {size: tuple(_read_list(path).path) for size, path in found.items()}
    for size, names in distractors.items():
        if len(names) != size:
            raise InputError(f"{found[size]}: {len(names)} paths, its name promises {size}")
    files = {"probe_list": probes} | {f"distractor_list_{size}": path for size, path in found.items()}
    return Lists(tuple(listed.path), tuple(map(str, listed.id)), distractors, files)


def _read_list(path: Path) -> _List:
    try:
        listed = msgspec.json.decode(path.read_bytes(), type=_List)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: not a list of the devkit ({error})") from error
    seen: dict[str, int] = {}
    for row, name in enumerate(listed.path):
        if seen.setdefault(name, row) != row:
            raise InputError(f"{path}, path {row}: {name!r} is there already, path {seen[name]}")
    if not listed.path:
        raise InputError(f"{path}: names no photograph")
    return listed


def read_noises(path: Path) -> frozenset[str]:
    """Names of photographs, or the ends of their paths."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    rows = (row.strip() for row in text_of(path).splitlines())
    noises = frozenset(row.split("\t")[:2][-1] for row in rows if row and not row.startswith("#"))
    if not noises:
        raise InputError(f"{path}: names no photograph")
    return noises


def is_noise(names: Sequence[str], noises: frozenset[str]) -> np.ndarray:
    """bool [N]: which photographs are named, by their name or with the two folders that they are in."""
    return np.array([name.rpartition("/")[2] in noises or "/".join(name.split("/")[-3:]) in noises for name in names], bool)


def feature_files(folder: Path, photographs: Sequence[str]) -> tuple[list[Path], str]:
    """The files of these photographs' features, and their ending, which is that of the first. Raises InputError where it has none or several."""
    first = folder / photographs[0]
    endings = sorted(path.name[len(first.name) :] for path in first.parent.glob("*.bin") if path.name.startswith(first.name))
    if len(endings) != 1:
        raise InputError(f"{first}: {'features of several models: ' + ', '.join(endings) if endings else 'no feature of it, <photograph>_<algorithm>.bin'}")
    return [folder / f"{name}{endings[0]}" for name in photographs], endings[0]


def features_in(folder: Path) -> tuple[list[Path], str]:
    """All features of a folder, sorted, and their ending, which follows that of a picture; "" where a name has none. Raises InputError where there are none, or several
    endings: features of another model are no further distractors."""
    files = sorted(folder.rglob("*.bin"))
    if not files:
        raise InputError(f"{folder}: holds no features (.bin)")
    first = _ending(files[0])
    for file in files:
        if _ending(file) != first:
            raise InputError(f"{file}: of another model than {files[0].name}; a folder of features without lists is of one")
    return files, first


def _ending(feature: Path) -> str:
    """`_net.bin` of `a.b.jpg_net.bin`."""
    found = ENDING.fullmatch(feature.name)
    return found[1] if found else ""


def write_results(folder: Path, probe_set: str, algorithm: str, size: str, cmc: tuple[np.ndarray, np.ndarray], roc: tuple[np.ndarray, np.ndarray]) -> Path:
    """What the devkit's FuseResults writes for one number of distractors, but with every point at which a rate rises; its `matches_...json` is not written."""
    path = folder / f"cmc_{probe_set.partition('_')[0]}_megaface_{algorithm}_{size}_1.json"
    write_atomically(path, json.dumps({"cmc": [each.tolist() for each in cmc], "roc": [each.tolist() for each in roc]}))
    return path


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

    Raises InputError naming a file that is listed twice, missing, no feature, or of another length than the first; RequestError where `out` is of other files, or
    one or the other has changed since. Nothing is kept of a list that was refused.
    """
    if not files:
        raise InputError(f"{out}: no features are listed")
    names = [str(file) for file in files]
    twice = [name for name, times in Counter(names).most_common(1) if times > 1]
    if twice:
        raise InputError(f"{twice[0]}: listed twice")
    listed = {"files": sha256_of_lines(map(_stamp, files))}
    return kept_gallery(out, listed, len(files), _features(files, report), "of other features, or changed since it was made; remove it to have it made again")


def _features(files: Sequence[Path], report: Report | None) -> Iterator[np.ndarray]:
    """In blocks float32 [n, d], read by several threads."""
    d = len(read_feature(files[0]))

    def read(start: int) -> np.ndarray:
        rows = np.empty((len(files[start : start + TOGETHER]), d), np.float32)
        for row, file in enumerate(files[start : start + TOGETHER]):
            vector = read_feature(file)
            if len(vector) != d:
                raise InputError(f"{file}: {len(vector)} numbers, {files[0]} has {d}")
            rows[row] = vector
        return rows

    done, threads = 0, 2 * runtime.processors()
    for rows in runtime.in_order(read, range(0, len(files), TOGETHER), threads, threads):
        yield rows
        done += len(rows)
        if report is not None:
            report(done, len(files), "features read")


def _stamp(file: Path) -> str:
    """What a file is known by, as long as nobody sets its time back."""
    try:
        stat = file.stat()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}") from error
    return f"{file} {stat.st_size} {stat.st_mtime_ns}"
