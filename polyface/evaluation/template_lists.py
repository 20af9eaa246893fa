"""The lists of IJB-B and IJB-C as they are handed round for face recognition (insightface, recognition/_evaluation_/ijb; papers.md D3). X is b or c:

    ijbX_face_tid_mid.txt                           `picture template media`: a template is a set of pictures of one person, a media one photograph or one video
    ijbX_template_pair_label.txt                    `template template label`, label 1 or 0, for 1:1
    ijbX_1N_gallery_S1.csv, _S2 (c: _G1, _G2)       a heading, then rows that begin `template,subject`, for 1:N
    ijbX_1N_probe_mixed.csv                         likewise
    ijbX_name_5pts_score.txt                        `picture x1 y1 ... x5 y5 score` of the face detector

Written from that code and its documentation, never run on the files themselves, which NIST gives on request.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polyface.datasets.tables import lines, number, text_of, whole
from polyface.errors import InputError, nearest
from polyface.evaluation.pair_lists import count_repeated
from polyface.files import sha256_of_file

GALLERY = re.compile(r".*_1N_gallery_(\w+)\.csv", re.IGNORECASE)


@dataclass(frozen=True)
class People:
    """Templates and whose they are, each once: template int64 [n], subject [n]; row [n]: where the file names it first."""

    path: Path
    template: np.ndarray
    subject: tuple[str, ...]
    row: tuple[int, ...]


@dataclass(frozen=True)
class Templates:
    """picture [R], template and media int64 [R]: the pictures of templates. left, right int64 [N] templates and same bool [N]: the pairs, None where there is no
    list; repeated: how many an earlier one has in either order. galleries by name, and the probes, none where there are no lists. files: {what it is: sha256}."""

    path: Path
    picture: tuple[str, ...] = field(repr=False)
    template: np.ndarray = field(repr=False)
    media: np.ndarray = field(repr=False)
    pair_file: Path
    left: np.ndarray | None = field(repr=False)
    right: np.ndarray | None = field(repr=False)
    same: np.ndarray | None = field(repr=False)
    repeated: int
    galleries: Mapping[str, People]
    probes: People | None
    files: Mapping[str, str]

    def rows(self, names: Sequence[str], file: str) -> np.ndarray:
        """Of each picture its row among the names of embeddings, int64 [R]; their folders do not matter where the list has none. Raises InputError."""
        folders = any("/" in picture for picture in self.picture)
        place: dict[str, int] = {}
        for row, name in enumerate(names):
            key = name if folders else name.rpartition("/")[2]
            if place.setdefault(key, row) != row:
                raise InputError(f"{file}, names, row {row}: {name!r} is the picture of row {place[key]}, {names[place[key]]!r}")
        for row, picture in enumerate(self.picture):
            if picture not in place:
                raise InputError(f"{self.path}, picture {row + 1}: {file} has no {picture!r}{nearest(picture, place)}")
        return np.array([place[picture] for picture in self.picture], np.int64)


def read_templates(folder: Path) -> Templates:
    """The lists of one benchmark, in a folder or its `meta`. Raises InputError naming file and row, also where neither 1:1 nor 1:N could be scored."""
    found = _files(folder)
    path = _only(folder, found, "face_tid_mid.txt")
    if path is None:
        raise InputError(f"{folder}: no ..._face_tid_mid.txt in it, nor in its meta")
    pictures, template, media = _pictures(path)
    known = np.unique(template)
    pair_file, files = _only(folder, found, "template_pair_label.txt"), {"templates": path}
    left = right = same = None
    repeated = 0
    if pair_file is not None:
        left, right, same, repeated = _pairs(pair_file, known, path)
        files["pairs"] = pair_file
    galleries: dict[str, People] = {}
    for file in found:
        if match := GALLERY.fullmatch(file.name):
            if match[1] in galleries:
                raise _two(folder, galleries[match[1]].path, file)
            galleries[match[1]] = _people(file, known, path)
            files[f"gallery {match[1]}"] = file
    probe_file = _only(folder, found, "1N_probe_mixed.csv")
    if (probe_file is None) == bool(galleries):
        raise InputError(f"{folder}: " + ("galleries, and no ..._1N_probe_mixed.csv" if galleries else f"{probe_file}, and no ..._1N_gallery_..csv"))
    probes = None
    if probe_file is not None:
        probes = _people(probe_file, known, path)
        files["probes"] = probe_file
    if pair_file is None and probes is None:
        raise InputError(f"{folder}: neither ..._template_pair_label.txt for 1:1, nor ..._1N_gallery_..csv and ..._1N_probe_mixed.csv for 1:N")
    _require_one_subject([*galleries.values(), *([probes] if probes else [])])
    if probes is not None:
        for gallery in galleries.values():
            _require_others(probes, gallery)
    digests = {what: sha256_of_file(file) for what, file in files.items()}
    return Templates(path, pictures, template, media, pair_file or path, left, right, same, repeated, galleries, probes, digests)


def lists_of(folder: Path) -> list[Path]:
    """Its .csv files, the lists of 1:N, and those of its `meta`."""
    return [path for place in (folder, folder / "meta") for path in place.glob("*_1[Nn]_*.[Cc][Ss][Vv]")]


def read_detector_scores(folder: Path, pictures: Sequence[str]) -> tuple[np.ndarray, str]:
    """Of each picture the score of ..._name_5pts_score.txt, float64 [R], at least 0; and the file's sha256. Raises InputError naming file and row."""
    path = _only(folder, _files(folder), "name_5pts_score.txt")
    if path is None:
        raise InputError(f"{folder}: no ..._name_5pts_score.txt in it, nor in its meta")
    scores: dict[str, float] = {}
    for row, fields in _lines(path):
        if len(fields) != 12:
            raise InputError(f"{path}, row {row}: {len(fields)} fields, `picture x1 y1 ... x5 y5 score` are 12")
        if fields[0] in scores:
            raise InputError(f"{path}, row {row}: {fields[0]!r} is there already")
        try:
            scores[fields[0]] = number(fields[-1])
        except InputError as error:
            raise InputError(f"{path}, row {row}: {error}") from None
        if scores[fields[0]] < 0:
            raise InputError(f"{path}, row {row}: a score of {fields[-1]}, below 0")
    for picture in pictures:
        if picture not in scores:
            raise InputError(f"{path}: no score for {picture!r}{nearest(picture, scores)}")
    return np.array([scores[picture] for picture in pictures]), sha256_of_file(path)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    return sorted(path for place in (folder, folder / "meta") if place.is_dir() for path in place.iterdir() if path.is_file())


def _only(folder: Path, found: Sequence[Path], ending: str) -> Path | None:
    """The file with this ending, None where there is none. Two are two benchmarks."""
    those = [path for path in found if path.name.lower().endswith(f"_{ending.lower()}")]
    if len(those) > 1:
        raise _two(folder, *those[:2])
    return those[0] if those else None


def _two(folder: Path, one: Path, other: Path) -> InputError:
    return InputError(f"{folder}: both {one.relative_to(folder)} and {other.relative_to(folder)}; name the folder of one benchmark")


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    return lines(text_of(path))


def _pictures(path: Path) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    pictures: list[str] = []
    numbers: list[tuple[int, int]] = []
    seen: dict[tuple[str, int], int] = {}
    for row, fields in _lines(path):
        if len(fields) != 3:
            raise InputError(f"{path}, row {row}: not `picture template media`")
        try:
            template, media = whole(fields[1]), whole(fields[2])
        except InputError as error:
            raise InputError(f"{path}, row {row}: {error}") from None
        if seen.setdefault((fields[0], template), row) != row:
            raise InputError(f"{path}, row {row}: {fields[0]!r} is in template {template} already, by row {seen[fields[0], template]}")
        pictures.append(fields[0])
        numbers.append((template, media))
    if not pictures:
        raise InputError(f"{path}: is empty")
    template, media = np.array(numbers, np.int64).T
    return tuple(pictures), template, media


def _pairs(path: Path, known: np.ndarray, templates: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """left, right, same, and how many are repeated. Whole numbers of millions of rows are read by numpy, and row by row where it stumbles."""
    if not text_of(path).strip():
        raise InputError(f"{path}: is empty")
    try:
        table = np.loadtxt(path, np.int64, comments=None, ndmin=2)
        if table.shape[1] != 3:
            raise ValueError("three columns are needed")
    except (ValueError, OverflowError) as error:
        for row, fields in _lines(path):
            if len(fields) != 3 or not all(re.fullmatch(r"-?\d{1,18}", word, re.ASCII) for word in fields):
                raise InputError(f"{path}, row {row}: not `template template label`") from None
        raise InputError(f"{path}: cannot be read ({error})") from error
    left, right, label = table.T
    for at in np.flatnonzero((label != 0) & (label != 1))[:1]:
        raise InputError(f"{path}, pair {at + 1}: {label[at]} is neither 1 nor 0")
    for side in (left, right):
        for at in np.flatnonzero(~np.isin(side, known))[:1]:
            raise InputError(f"{path}, pair {at + 1}: no picture of template {side[at]} in {templates}")
    for at in np.flatnonzero(left == right)[:1]:
        raise InputError(f"{path}, pair {at + 1}: template {left[at]} is paired with itself")
    said = {"with the other label": label}
    repeated = count_repeated(left, right, said, lambda pair: f"{path}, pair {pair + 1}", lambda pair: f"templates {left[pair]} and {right[pair]}")
    return left, right, label == 1, repeated


def _people(path: Path, known: np.ndarray, templates: Path) -> People:
    reader = csv.reader(io.StringIO(text_of(path), newline=""), strict=True)
    subjects: dict[int, str] = {}
    rows: dict[int, int] = {}
    there = set(known.tolist())
    try:
        if (heading := next(reader, [])) and heading[0].strip().isdecimal():
            raise InputError(f"{path}, row 1: template {heading[0].strip()} where a heading is expected")
        for fields in reader:
            if not fields:
                continue
            where = f"{path}, row {reader.line_num}"
            if len(fields) < 2 or not fields[1].strip():
                raise InputError(f"{where}: does not begin `template,subject`")
            try:
                template = whole(fields[0])
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            if template not in there:
                raise InputError(f"{where}: no picture of template {template} in {templates}")
            rows.setdefault(template, reader.line_num)
            if subjects.setdefault(template, fields[1].strip()) != fields[1].strip():
                raise InputError(f"{where}: template {template} is of subject {fields[1].strip()}, before it was of {subjects[template]}")
    except csv.Error as error:
        raise InputError(f"{path}, row {reader.line_num}: {error}") from None
    if not subjects:
        raise InputError(f"{path}: names no template")
    order = sorted(subjects)
    return People(path, np.array(order, np.int64), tuple(subjects[template] for template in order), tuple(rows[template] for template in order))


def _require_one_subject(lists: Sequence[People]) -> None:
    """A template is of one person in all lists."""
    known: dict[int, tuple[str, Path]] = {}
    for people in lists:
        for template, subject in zip(people.template.tolist(), people.subject, strict=True):
            before, file = known.setdefault(template, (subject, people.path))
            if before != subject:
                raise InputError(f"{people.path}: template {template} is of subject {subject}, in {file} of {before}")


def _require_others(probes: People, gallery: People) -> None:
    """No probe lies in a gallery itself: it would find itself, whatever the model."""
    both, mine, theirs = np.intersect1d(probes.template, gallery.template, return_indices=True)
    if len(both):
        where = f"{probes.path}, row {probes.row[mine[0]]}"
        raise InputError(f"{where}: template {both[0]} is in {gallery.path} too, row {gallery.row[theirs[0]]}: a probe would find itself")
