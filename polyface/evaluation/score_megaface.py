"""Files of anybody's model -> the scores of MegaFace: what `polyface score megaface` does (see `score`)."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from polyface.errors import InputError, RequestError, nearest
from polyface.evaluation.arrays import BROKEN, read_arrays
from polyface.evaluation.megaface_devkit import SIZES, Lists, feature_files, features_in, gather_features, is_noise, read_lists, read_noises, write_results
from polyface.evaluation.protocols.megaface import Identified, identify, score_megaface
from polyface.evaluation.protocols.result import Result
from polyface.evaluation.score import Scored, refusing
from polyface.evaluation.search_gallery import BLOCK, build_codes, kept_gallery, open_gallery
from polyface.files import sha256_of_file, sha256_of_lines
from polyface.terminal import Report


@dataclass(frozen=True)
class Faces:
    """One file or folder. rows [N, d], mapped where they can be; names [N], None in a .npy; people [N], where the file says them; where [N]: what each row is in
    the file; algorithm: a word for the model."""

    path: str
    sha256: str
    algorithm: str
    rows: np.ndarray = field(repr=False)
    names: Sequence[str] | None = field(repr=False, default=None)
    people: Sequence[str] | None = field(repr=False, default=None)
    where: Sequence[int | Path] | None = field(repr=False, default=None)

    def refusal(self, row: int, why: str) -> InputError:
        place = row if self.where is None else self.where[row]
        named = "" if self.names is None else f" ({self.names[row]})"
        return InputError(f"{place}: {why}" if isinstance(place, Path) else f"{self.path}, embeddings, row {place}{named}: {why}")


@refusing
def megaface(
    probes: Path | None = None,
    distractors: Path | None = None,
    devkit: Path | None = None,
    sizes: Sequence[int] | None = None,
    probe_set: str = "facescrub",
    probe_noises: Path | None = None,
    distractor_noises: Path | None = None,
    results: Path | None = None,
    cache: Path | None = None,
    report: Report | None = None,
) -> Scored:
    """probes: arrays `names`, `identities`, `embeddings`, or with a devkit a folder of its features; distractors: `names` and `embeddings`, a .npy of embeddings alone,
    or a folder of features. devkit: where its lists are, and features too, in folders `facescrub` (the name of the probe set) and `megaface`, where nothing else is said.

    sizes: of the devkit's lists; without it, so many first distractors. Noises are left out, as probes, mates and distractors (insightface's remove_noises.py puts the
    mean of the person's other features in place of a probe's, which finds more mates than there are). results: a folder for the devkit's files
    of results. cache: a folder where what was read and coded is kept, to be taken from there the next time, and the state of the search, which goes on where it was
    broken off.
    """
    if devkit is None and (probes is None or distractors is None):
        raise RequestError("both --probes and --distractors are needed, or --devkit")
    for size in sizes or ():
        if size < 1:
            raise RequestError(f"{size} distractors are none")
    lists = None if devkit is None else read_lists(devkit, probe_set, sizes)
    noises = {name: (path, read_noises(path)) for name, path in (("probes", probe_noises), ("distractors", distractor_noises)) if path is not None}
    seconds: dict[str, float] = {}
    with _folder(cache) as folder, _timed(seconds) as part:
        looking = _read(probes or Path(devkit or "", probe_set), folder / "probes.npy", report, None if lists is None else lists.probes)
        listed = None if lists is None else tuple(dict.fromkeys(name for size in sorted(lists.distractors, reverse=True) for name in lists.distractors[size]))
        others = _read(distractors or Path(devkit or "", "megaface"), folder / "distractors.npy", report, listed)
        people = np.array(_people(looking) if lists is None else lists.people)
        noisy = _noisy(looking, noises.get("probes"))
        noisy_others = _noisy(others, noises.get("distractors"), few=lists is not None and sizes is not None)
        subsets = _subsets(sizes, lists, others, noisy_others)
        _require_comparable(looking, others, people[~noisy])
        known = _probes_among(others, looking)
        kept = np.flatnonzero(~noisy)
        asked = _unit(looking.rows[kept], _lengths(looking, noisy)[kept])
        lengths = _lengths(others, noisy_others)
        part("reading")
        if cache is None:
            trials = identify(asked, people[kept], _units(others, lengths), subsets, len(others.rows), report)
        else:
            of = {"of": sha256_of_lines([others.sha256, *(others.names or ())])}
            words = f"of other distractors than {others.path}, or changed since it was made; remove the folder {folder} to have it made again"
            units = kept_gallery(folder / "unit.npy", of, len(lengths), _units(others, lengths), words)
            codes = build_codes(units, folder / "codes", report)
            part("coding")
            trials = identify(asked, people[kept], codes, subsets, len(others.rows), report, folder / "search.npz")
        part("search")
    cleaned = {2: "cleaned", 0: "uncleaned"}.get(len(noises), f"{next(iter(noises), '')} cleaned")
    if results is not None:
        for name in subsets:
            write_results(results, probe_set, f"{others.algorithm}-{cleaned.replace(' ', '-')}", name, trials.cmc(name), trials.roc(name))
    inputs = {"probes": looking.sha256, "distractors": others.sha256}
    files = {**({} if lists is None else lists.files), "probe_noises": probe_noises, "distractor_noises": distractor_noises}
    inputs |= {name: sha256_of_file(path) for name, path in files.items() if path is not None}
    counts = {"noisy_probes": int(noisy.sum()), "noisy_distractors": int(noisy_others.sum())} if noises else {}
    counts |= {"probes_among_distractors": known} if known else {}
    started = time.monotonic()
    result = _result(trials, cleaned, counts)
    return Scored(result, inputs, seconds | {"intervals": time.monotonic() - started})


def _result(trials: Identified, cleaned: str, counts: Mapping[str, int]) -> Result:
    result = score_megaface(trials, cleaned)
    known = counts.get("probes_among_distractors")
    against = f"; distractors with the name and the numbers of a probe, which count against the model: {known}" if known else ""
    notes = {**result.notes, next(iter(result.scores)): f"searched by {trials.found.by}{against}"}
    return replace(result, counts={**result.counts, **counts}, notes=notes)


@contextmanager
def _folder(cache: Path | None) -> Iterator[Path]:
    if cache is not None:
        yield cache
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextmanager
def _timed(seconds: dict[str, float]) -> Iterator[Callable[[str], None]]:
    """part(name): what was done since the one before."""
    last = time.monotonic()

    def part(name: str) -> None:
        nonlocal last
        seconds[name], last = time.monotonic() - last, time.monotonic()

    yield part


def _read(path: Path, kept: Path, report: Report | None, listed: Sequence[str] | None) -> Faces:
    """The faces of a file or folder: those that are listed, in that order, or all. kept: where features that were read are kept."""
    if path.is_dir():
        return _of_folder(path, kept, report, listed)
    if path.suffix.lower() == ".npy" and listed is None and not _has_fields(path):
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        rows = open_gallery(path, (2, 4, 8))
        if not rows.size:
            raise InputError(f"{path}: no rows")
        return Faces(str(path), sha256_of_file(path), path.stem, rows)
    found = read_arrays(path, "embeddings")
    rows = found.array("embeddings")
    rows = found.numbers("embeddings") if rows.dtype.kind in "Uiub" else rows  # a CSV holds words
    if rows.ndim != 2 or rows.dtype.kind != "f" or not rows.shape[1]:
        raise InputError(f"{path}: embeddings of {rows.dtype} and shape {list(rows.shape)}, floats [names, dimensions] are needed")
    people = found.words("identities") if found.has("identities") else None
    if listed is None:
        return Faces(found.path, found.sha256, path.stem, rows, found.names, people)
    place = {name: row for row, name in enumerate(found.names)}
    for name in listed:
        if name not in place:
            raise InputError(f"{path}: no {name!r}, which is listed{nearest(name, place)}")
    chosen = [place[name] for name in listed]
    return Faces(found.path, found.sha256, path.stem, rows[chosen], tuple(listed), None if people is None else [people[row] for row in chosen], chosen)


def _has_fields(path: Path) -> bool:
    """Whether a .npy is a structured one. What is broken is not: it is refused where it is opened."""
    try:
        return np.lib.format.open_memmap(path, mode="r").dtype.names is not None
    except BROKEN:
        return False


def _of_folder(path: Path, kept: Path, report: Report | None, listed: Sequence[str] | None) -> Faces:
    if listed is not None:
        files, ending = feature_files(path, listed)
    else:
        files, ending = features_in(path)
    rows = gather_features(files, kept, report)
    names = None if listed is None else tuple(listed)
    return Faces(str(path), sha256_of_file(kept), ending.split(".")[0].strip("_") or path.name, rows, names, None, files)


def _people(probes: Faces) -> Sequence[str]:
    if probes.people is None:
        raise InputError(f"{probes.path}: no array 'identities' that says whose each probe is, and no --devkit, whose list does")
    return probes.people


def _noisy(faces: Faces, noises: tuple[Path, frozenset[str]] | None, few: bool = False) -> np.ndarray:
    """bool [N]. Raises InputError for a list that names none of the faces, unless they are few of its own: nothing would be cleaned by it."""
    if noises is None:
        return np.zeros(len(faces.rows), bool)
    if faces.names is None:
        raise InputError(f"{faces.path}: has no names, by which noises are known{', but in a list of the devkit' if faces.where else ''}")
    path, listed = noises
    noisy = is_noise(faces.names, listed)
    if not noisy.any() and not few:
        one = min(listed)
        known = ["/".join(name.split("/")[-3:]) if "/" in one else name.rpartition("/")[2] for name in faces.names]
        raise InputError(f"{path}: names no photograph of {faces.path}, where no {one!r} is{nearest(one, known)}")
    return noisy


def _subsets(sizes: Sequence[int] | None, lists: Lists | None, others: Faces, noisy: np.ndarray) -> dict[str, int | np.ndarray]:
    total = len(others.rows)
    if lists is not None:
        place = {name: row for row, name in enumerate(others.names or ())}
        rows = {size: np.array([place[name] for name in names], np.int64) for size, names in lists.distractors.items()}
        return {str(size): each[~noisy[each]] for size, each in rows.items()}
    for size in sizes or ():
        if size > total:
            raise RequestError(f"{others.path}: {total} distractors, {size} are asked for")
    chosen = sorted({*(sizes or (*(size for size in SIZES if size < total), total))})
    return {str(size): np.flatnonzero(~noisy[:size]) if noisy.any() else size for size in chosen}


def _require_comparable(probes: Faces, distractors: Faces, people: np.ndarray) -> None:
    d = [side.rows.shape[1] for side in (probes, distractors)]
    if d[0] != d[1]:
        raise InputError(f"{distractors.path}: embeddings of {d[1]} numbers, {probes.path} has {d[0]}")
    known = set(people.tolist())
    for row, person in enumerate(distractors.people or ()):
        if person in known:
            raise distractors.refusal(row, f"shows {person!r}, who is a probe")
    if probes.rows[:, -1].any():
        return
    for row in np.flatnonzero(distractors.rows[:, -1] == 100)[:1]:
        raise distractors.refusal(int(row), "marked as a noise by a last number of 100, by insightface's remove_noises.py; give the features before it, and its lists")


def _probes_among(distractors: Faces, probes: Faces) -> int:
    """How many distractors have the name and the numbers of a probe: one photograph, if not one of a model that says the same of all."""
    place = {name: row for row, name in enumerate(probes.names or ())}
    same = [(row, place[name]) for row, name in enumerate(distractors.names or ()) if name in place]
    return sum(np.array_equal(distractors.rows[row], probes.rows[other]) for row, other in same)


def _lengths(faces: Faces, noisy: np.ndarray) -> np.ndarray:
    """float64 [N]; infinite for noises of length 0, which may be there since they are not compared. Raises InputError for the first row that has no direction."""
    lengths = np.ones(len(faces.rows))
    for start in range(0, len(lengths), BLOCK):
        with np.errstate(over="ignore"):
            lengths[start : start + BLOCK] = np.linalg.norm(np.asarray(faces.rows[start : start + BLOCK], np.float64), axis=1)
        part = lengths[start : start + BLOCK]
        for row in np.flatnonzero(~np.isfinite(part) | ((part == 0) & ~noisy[start : start + BLOCK]))[:1] + start:
            raise faces.refusal(int(row), "has length 0, and so no direction" if lengths[row] == 0 else "is not finite")
    lengths[lengths == 0] = np.inf
    return lengths


def _units(faces: Faces, lengths: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(lengths), BLOCK):
        yield _unit(faces.rows[start : start + BLOCK], lengths[start : start + BLOCK])


def _unit(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """float32 of unit length; where a length is infinite, 0."""
    return (np.asarray(rows, np.float64) / lengths[:, None]).astype(np.float32)
