"""`polyface score tinyface`: embeddings whose names say which part of TinyFace's `Testing_Set` they are of, and whose -> scores."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from polyface.errors import InputError, nearest
from polyface.evaluation.arrays import BROKEN, Arrays, read_arrays
from polyface.evaluation.protocols.tinyface import score_probes
from polyface.evaluation.score import Scored, refusing, vectors_of
from polyface.files import sha256_of_file

NAME = re.compile(r"(?:.*/)?((Probe|Gallery_Match|Gallery_Distractor)/([^/]+))")
LISTS = {"Probe": ("probe_img_ID_pairs.mat", "probe_set", "probe_ids"), "Gallery_Match": ("gallery_match_img_ID_pairs.mat", "gallery_set", "gallery_ids")}
PERSON = re.compile(r"(\d{1,18})_.+", re.ASCII)


@refusing
def tinyface(embeddings: Path, meta: Path | None = None) -> Scored:
    """embeddings: arrays `names` [N], such as `Probe/12_1.jpg`, `Gallery_Match/12_2.jpg`, `Gallery_Distractor/x.jpg`, and `embeddings` [N, d]; the number in front of a
    probe's or a mate's first `_` is the person. meta: the folder of the set's two .mat lists, which must name the same pictures and people; their readers were written
    from the code of others, never run on the files.
    """
    found = read_arrays(embeddings, "embeddings")
    vectors = vectors_of(found)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    parts, people, places = _named(found)
    inputs = {"embeddings": found.sha256}
    for part, (file, *keys) in LISTS.items() if meta is not None else ():
        path = meta / file  # type: ignore[operator]
        _require_listed(path, part, _read_list(path, *keys), places, people, found)
        inputs[file] = sha256_of_file(path)
    for part in ("Probe", "Gallery_Match", "Gallery_Distractor"):
        if not (parts == part).any():
            raise InputError(f"{found.path}: no name in {part}/")
    probe = np.flatnonzero(parts == "Probe")
    gallery = np.flatnonzero(parts != "Probe")
    for row in probe[~np.isin(people[probe], people[gallery])][:1]:
        raise found.refusal(int(row), f"person {people[row]} has nobody in Gallery_Match", "names")
    return Scored(score_probes(vectors[probe], vectors[gallery], people[probe], people[gallery]), inputs)


def _named(found: Arrays) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Part and person of each row, -1 for a distractor; {`Probe/12_1.jpg`: row}."""
    parts: list[str] = []
    people: list[int] = []
    places: dict[str, int] = {}
    for row, name in enumerate(found.names):
        match = NAME.fullmatch(name)
        if match is None:
            raise found.refusal(row, "is not in Probe/, Gallery_Match/ or Gallery_Distractor/", "names")
        key, part, file = match.groups()
        if key in places:
            raise found.refusal(row, f"is the picture of row {places[key]}", "names")
        person = PERSON.fullmatch(file)
        if person is None and part != "Gallery_Distractor":
            raise found.refusal(row, "does not begin with a person's number, of at most 18 digits, and `_`", "names")
        places[key] = row
        parts.append(part)
        people.append(int(person[1]) if person is not None and part != "Gallery_Distractor" else -1)
    return np.array(parts), np.array(people, np.int64), places


def _read_list(path: Path, names: str, ids: str) -> dict[str, int]:
    """{file name: person} of a .mat. Raises InputError for what is no such list."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        read = loadmat(path, variable_names=[names, ids])
    except (MatReadError, IndexError, KeyError, *BROKEN) as error:
        raise InputError(f"{path}: cannot be read ({error or type(error).__name__})") from error
    for key in (names, ids):
        if key not in read:
            raise InputError(f"{path}: no array {key!r}")
    files, people = [_word(each) for each in read[names].reshape(-1)], read[ids].reshape(-1)
    if people.dtype.kind not in "iuf" or len(files) != len(people):
        raise InputError(f"{path}: {len(files)} names and {len(people)} numbers of people ({people.dtype})")
    if len(set(files)) != len(files):
        raise InputError(f"{path}: {next(file for file in files if files.count(file) > 1)!r} is there twice")
    return dict(zip(files, people.astype(np.int64).tolist(), strict=True))


def _word(cell: Any) -> str:
    """A cell of a MATLAB cell array of words."""
    return str(np.asarray(cell).reshape(-1)[0]) if np.size(cell) else ""


def _require_listed(path: Path, part: str, listed: dict[str, int], places: dict[str, int], people: np.ndarray, found: Arrays) -> None:
    """The embeddings of a part are those of its list, and of the same people."""
    for name, person in listed.items():
        row = places.get(f"{part}/{name}")
        if row is None:
            raise InputError(f"{path}: {found.path} has no '{part}/{name}'{nearest(f'{part}/{name}', places)}")
        if people[row] != person:
            raise found.refusal(row, f"person {people[row]} by its name, {path} says {person}", "names")
    for key, row in places.items():
        if key.startswith(f"{part}/") and key.partition("/")[2] not in listed:
            raise found.refusal(row, f"is not in {path}", "names")
