"""Files of anybody's model -> the scores of a protocol, and the hashes of the files: what `polyface score` does.

All files are read and checked before anything is scored. Rows are brought into the order of their names, so that no score depends on that of the files. Where a file is
refused nothing is scored: RequestError, which names file and row.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from polyface.errors import InputError, RequestError, nearest
from polyface.evaluation.arrays import GROUPS, SUBJECTS, Arrays, matched, read_arrays, require_same_names
from polyface.evaluation.masks import Masks, read_masks
from polyface.evaluation.pair_lists import read_pair_list
from polyface.evaluation.protocols.age import score_ages
from polyface.evaluation.protocols.attributes import score_attributes
from polyface.evaluation.protocols.classification import score_classes
from polyface.evaluation.protocols.landmarks import ALPHAS, NORMALISERS, score_points, sizeless_face
from polyface.evaluation.protocols.parsing import Benchmark, benchmark_named, score_masks
from polyface.evaluation.protocols.pose import score_poses
from polyface.evaluation.protocols.result import Result, by_group
from polyface.evaluation.protocols.verification import verify
from polyface.metrics.intervals import groups_of
from polyface.metrics.regions import UNLABELLED, region_confusion
from polyface.tasks import pose as pose_task

AXES = pose_task.axes


@dataclass(frozen=True)
class Scored:
    """inputs: {what a file is: its sha256}; seconds: what each part took, of commands that may take long."""

    result: Result
    inputs: Mapping[str, str]
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        return self.result.to_json(self.inputs)


def refusing(command: Callable[..., Scored]) -> Callable[..., Scored]:
    """A file that is refused refuses the whole request: there is no partial score."""

    @functools.wraps(command)
    def run(*arguments: object, **options: object) -> Scored:
        try:
            return command(*arguments, **options)
        except InputError as error:
            raise RequestError(str(error)) from error

    return run


@refusing
def verification(embeddings: Path, pairs: Path) -> Scored:
    """embeddings: arrays `names` [N], `embeddings` [N, d], and `subjects` [N] where people are known; pairs: see `pair_lists`."""
    found, listed = read_arrays(embeddings, "embeddings"), read_pair_list(pairs)
    vectors = vectors_of(found)
    left, right = listed.rows(found.names, found.path)
    people: np.ndarray | None = None
    if found.has(SUBJECTS):
        people = np.array(found.words(SUBJECTS))
        for pair in np.flatnonzero((people[left] == people[right]) != listed.same)[:1]:
            kind = "one person" if listed.same[pair] else "two people"
            raise InputError(f"{listed.where(int(pair))}: labelled as {kind}, but {found.path} has subjects {str(people[left[pair]])!r} and {str(people[right[pair]])!r}")
    elif listed.people is not None:
        people = np.array([listed.people.get(listed.key(name), "") for name in found.names])
    order = np.lexsort((np.array(found.names)[right], np.array(found.names)[left]))
    result = verify(vectors, left[order], right[order], listed.same[order], None if listed.fold is None else listed.fold[order], people)
    unused = len(found.names) - len(np.unique(np.concatenate([left, right])))
    counts = {**result.counts, "embeddings": len(found.names), "unused_embeddings": unused, "dimensions": vectors.shape[1]}
    counts |= {"repeated_pairs": listed.repeated} if listed.repeated else {}
    return Scored(replace(result, counts=counts), {"embeddings": found.sha256, "pairs": listed.sha256})


@refusing
def landmarks(predictions: Path, targets: Path, normalisers: Sequence[str] | None = None, alphas: Sequence[float] = ALPHAS) -> Scored:
    """values [N, P, 2] or [N, 2 P] (x, y, x, y, ...); targets may hold `boxes` [N, 4], and NaN for points without a label; predictions `missed` [N], true for faces that
    were not found. normalisers: of NORMALISERS; where nothing is said all that the arrays allow and all faces have a size by, else one that cannot be had is refused.
    """
    asked = [_known(name.replace("-", "_"), NORMALISERS, "normaliser") for name in normalisers or NORMALISERS]
    if not all(alpha > 0 for alpha in alphas):
        raise RequestError("an alpha must be above 0")
    said, true = matched(read_arrays(predictions), read_arrays(targets))
    truth = _points(true, unlabelled=True)
    missed = _vector(said, "missed") != 0 if said.has("missed") else None
    predicted = _points(said, unlabelled=missed is not None)
    if truth.shape != predicted.shape:
        raise InputError(f"{said.path}: {predicted.shape[1]} points for each face, {true.path} has {truth.shape[1]}")
    named, others = said.classes or (), true.classes or ()
    if named != others and sorted(named) == sorted(others):
        own, other = next(pair for pair in zip(named, others, strict=True) if pair[0] != pair[1])
        raise InputError(f"{said.path}: its {own!r} is where {true.path} has {other!r}; points are in one order in both")
    for row, at in np.argwhere((truth == -1).all(axis=2))[:1]:
        raise true.refusal(int(row), f"point {at} is (-1, -1), as sets write one that nobody labelled: write NaN for it")
    seen = ~np.isnan(truth).any(axis=2)
    lost = np.flatnonzero((np.isnan(predicted).any(axis=2) & seen).any(axis=1) & ~(missed if missed is not None else False))
    for row in lost[:1]:
        raise said.refusal(int(row), "a point is not finite")
    for row in np.flatnonzero(~seen.any(axis=1))[:1]:
        raise true.refusal(int(row), "no point is labelled")
    boxes = _boxes(true, truth)
    people, groups = _people_and_groups(said, true)

    def result(rows: np.ndarray) -> Result:
        return score_points(
            truth[rows],
            predicted[rows],
            people[rows],
            None if boxes is None else boxes[rows],
            None if missed is None else missed[rows],
            asked,
            alphas,
        )

    found = _by_group(result, groups, said, true)
    nothing = all(np.isnan(score.value) for score in found.scores.values())
    if normalisers or nothing:
        for row, why in [face for name in asked if (face := sizeless_face(name, truth, boxes)) is not None][:1]:
            raise true.refusal(row, why)
    if normalisers:
        for name, why in found.reasons.items():
            if name.startswith("nme_") and not name.startswith("nme_found_"):
                raise RequestError(f"{true.path}: {name} cannot be had: {why}")
    if nothing:
        raise RequestError(f"{true.path}: nothing can be scored: {'; '.join(dict.fromkeys(found.reasons.values()))}")
    return Scored(found, _inputs(said, true))


@refusing
def parsing(predictions: Path, targets: Path, benchmark: str | None = None) -> Scored:
    """Masks as `masks.read_masks` reads them; 255 in a target is not scored. benchmark: of BENCHMARKS, which says what the numbers mean; else `classes` of the files, the
    first of them background. A target of nothing but 0 and 255 is refused where no other has 255 beside its classes: a face that is painted white would not be scored.
    """
    named = benchmark_named(benchmark) if benchmark is not None else None
    said, true = read_masks(predictions), read_masks(targets)
    require_same_names(said.path, said.names, true.path, true.names)
    chosen = named or Benchmark(_classes_of_masks(said, true))
    for side in (said, true):
        if side.classes is not None and side.classes != chosen.classes:
            raise InputError(f"{side.path}: its classes are {', '.join(side.classes)}, and not {', '.join(chosen.classes)}")
    compared = [_confusion(said, true, name, len(chosen.classes)) for name in true.names]
    confusions, unlabelled = np.stack([confusion for confusion, _ in compared]), np.array([left_out for _, left_out in compared])
    painted = (unlabelled > 0) & ~confusions[:, 1:].any(axis=(1, 2))
    if painted.any() and not (unlabelled[~painted] > 0).any():  # a set that leaves pixels out does so beside its classes
        name = true.names[int(painted.argmax())]
        raise InputError(f"{true.path}, {name}: holds 0 and {UNLABELLED} only, and {UNLABELLED} is not scored; a class is its number, 1 for the first")
    subjects, by_name = (next((each for each in sides if each), None) for sides in ((true.subjects, said.subjects), (true.groups, said.groups)))
    people = groups_of([(subjects or {}).get(name) for name in true.names])
    groups = None if by_name is None else [by_name[name] for name in true.names]
    found = _known_people(by_group(lambda rows: score_masks(confusions[rows], chosen, people[rows]), groups, len(true.names)), bool(subjects))
    found = replace(found, counts={**found.counts, "unlabelled_pixels": int(unlabelled.sum())})
    return Scored(found, {"predictions": said.sha256, "targets": true.sha256})


@refusing
def attributes(predictions: Path, targets: Path, chosen: Sequence[str] | None = None) -> Scored:
    """Both `values` [N, A] with `classes` [A]: probabilities, and 1 yes, 0 no, NaN unknown, or -1 where there is a 0 too. chosen: only these attributes."""
    said, true = matched(read_arrays(predictions), read_arrays(targets))
    names, own = _classes(true), _classes(said)
    if chosen is not None:
        names = tuple(dict.fromkeys(_known(name, names, "attribute") for name in chosen))
    missing = [name for name in names if name not in own] + [name for name in own if name not in names and chosen is None]
    if missing:
        lacking = said if missing[0] not in own else true
        raise InputError(f"{lacking.path}: no attribute {missing[0]!r} among its classes; --attributes names those to be scored")
    probabilities = _of_classes(said, said.numbers("values"), own, names)
    for row, at in np.argwhere((probabilities < 0) | (probabilities > 1))[:1]:
        raise said.refusal(int(row), f"{probabilities[row, at]:g} for {names[at]} is no probability; a logit x is 1 / (1 + exp(-x))")
    labels = _labels(true, names)
    people, groups = _people_and_groups(said, true)
    of = len(_classes(true)) if chosen is not None else None
    found = _by_group(lambda rows: score_attributes(labels[rows], probabilities[rows], names, people[rows], of), groups, said, true)
    return Scored(found, _inputs(said, true))


@refusing
def classification(predictions: Path, targets: Path) -> Scored:
    """Both `values` [N]: names of classes, or their numbers in `classes`. The classes are those of the targets; where those do not list them, all that occur."""
    said, true = matched(read_arrays(predictions), read_arrays(targets))
    truth, predicted = _named(true), _named(said)
    classes = true.classes if true.classes is not None else tuple(sorted({*truth, *predicted}))
    if true.classes is None and not set(predicted) & set(truth) and len(set(truth)) > 1:
        raise InputError(f"{said.path}: no class of {true.path} occurs in it, {predicted[0]!r} first{nearest(predicted[0], set(truth))}")
    places = {name: at for at, name in enumerate(classes)}
    for row, name in enumerate(predicted):
        if name not in places:
            raise said.refusal(row, f"no class {name!r} in {true.path}{nearest(name, classes)}")
    numbers = [np.array([places[name] for name in names], np.int64) for names in (truth, predicted)]
    people, groups = _people_and_groups(said, true)
    found = _by_group(lambda rows: score_classes(numbers[0][rows], numbers[1][rows], classes, people[rows]), groups, said, true)
    return Scored(found, _inputs(said, true))


@refusing
def age(predictions: Path, targets: Path, within: Sequence[float] = (5,)) -> Scored:
    """Both `values` [N] in years; targets may hold `sigmas` [N], the deviation of people's guesses. within: the k of each CS(k)."""
    if not all(years >= 0 for years in within):
        raise RequestError("CS(k) needs a k of at least 0")
    said, true = matched(read_arrays(predictions), read_arrays(targets))
    truth, predicted = _vector(true, "values"), _vector(said, "values")
    sigmas = _vector(true, "sigmas") if true.has("sigmas") else None
    for row in np.flatnonzero(sigmas < 0)[:1] if sigmas is not None else ():
        raise true.refusal(int(row), f"{sigmas[row]:g} is no deviation", "sigmas")  # type: ignore[index]
    people, groups = _people_and_groups(said, true)
    found = _by_group(lambda rows: score_ages(truth[rows], predicted[rows], None if sigmas is None else sigmas[rows], people[rows], within), groups, said, true)
    return Scored(found, _inputs(said, true))


@refusing
def pose(predictions: Path, targets: Path, limit: float | None = None) -> Scored:
    """Both `values` [N, 3] in degrees: yaw, pitch, roll, or what `classes` names. limit: leave out faces of which a true angle is beyond it."""
    if limit is not None and not limit > 0:
        raise RequestError("a limit must be above 0 degrees")
    said, true = matched(read_arrays(predictions), read_arrays(targets))
    axes, own = (side.classes or AXES for side in (true, said))
    if sorted(axes) != sorted(own):
        raise InputError(f"{said.path}: angles {', '.join(own)}, {true.path} has {', '.join(axes)}")
    truth, predicted = _of_classes(true, true.numbers("values"), axes, axes), _of_classes(said, said.numbers("values"), own, axes)
    people, groups = _people_and_groups(said, true)
    found = _by_group(lambda rows: score_poses(truth[rows], predicted[rows], axes, people[rows], limit), groups, said, true)
    return Scored(found, _inputs(said, true))


# What the protocols ask of their arrays


def vectors_of(arrays: Arrays) -> np.ndarray:
    """The `embeddings` float64 [N, d], each of a length above 0 that float64 can hold."""
    vectors = arrays.numbers("embeddings")
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise InputError(f"{arrays.path}: embeddings of shape {list(vectors.shape)}, [names, dimensions] is needed")
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
    for row in np.flatnonzero(~(lengths > 0) | np.isinf(lengths))[:1]:
        why = "has length 0, and so no direction" if lengths[row] == 0 else "is too long for float64 to hold its length"
        raise arrays.refusal(int(row), why, "embeddings")
    return vectors


def _inputs(said: Arrays, true: Arrays) -> dict[str, str]:
    return {"predictions": said.sha256, "targets": true.sha256}


def _people_and_groups(said: Arrays, true: Arrays) -> tuple[np.ndarray, list[str] | None]:
    """Whose row each is, int [N], each its own where nothing is said; and the group of each. The targets know best."""
    subjects, groups = (next((side.words(array) for side in (true, said) if side.has(array)), None) for array in (SUBJECTS, GROUPS))
    return groups_of(subjects or [None] * len(true.names)), groups


def _by_group(result: Callable[[np.ndarray], Result], groups: list[str] | None, said: Arrays, true: Arrays) -> Result:
    try:
        return _known_people(by_group(result, groups, len(true.names)), said.has(SUBJECTS) or true.has(SUBJECTS))
    except InputError as error:
        raise InputError(f"{said.path} and {true.path}, rows in the order of their names: {error}") from error


def _known_people(result: Result, known: bool) -> Result:
    """Where nobody says whose rows they are, people are not counted."""
    return result if known else replace(result, counts={name: count for name, count in result.counts.items() if name.partition("|")[0] != "people"})


def _known(name: str, known: Sequence[str], what: str) -> str:
    if name not in known:
        raise RequestError(f"no {what} {name!r}{nearest(name, known)}")
    return name


def _vector(arrays: Arrays, array: str) -> np.ndarray:
    values = arrays.numbers(array)
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        raise InputError(f"{arrays.path}: {array} of shape {list(values.shape)}, one number for each name is needed")
    return values


def _points(arrays: Arrays, unlabelled: bool) -> np.ndarray:
    """float [N, P, 2]. Raises InputError where a table's columns are named in another order than x, y, x, y."""
    values = arrays.numbers("values", unlabelled)
    axes = [next((letter for letter in (name[:1].lower(), name[-1:].lower()) if letter in "xy"), "") for name in arrays.classes or ()]
    if values.ndim == 2 and len(axes) == values.shape[1] and all(axes) and axes != ["x", "y"] * (len(axes) // 2):
        raise InputError(f"{arrays.path}: its columns are {', '.join((arrays.classes or ())[:3])}, ...; points are x, y, x, y, ...")
    if values.ndim == 2 and values.shape[1] and values.shape[1] % 2 == 0:
        values = values.reshape(len(values), -1, 2)
    if values.ndim != 3 or values.shape[2] != 2 or not values.shape[1]:
        raise InputError(f"{arrays.path}: values of shape {list(values.shape)}, [names, points, 2] is needed")
    return values


def _boxes(true: Arrays, points: np.ndarray) -> np.ndarray | None:
    """float [N, 4], each about the middle of its labelled points [N, P, 2], or no further from them than half its size."""
    if not true.has("boxes"):
        return None
    boxes = true.numbers("boxes")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"{true.path}: boxes of shape {list(boxes.shape)}, [names, 4] is needed")
    for row in np.flatnonzero((boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1]))[:1]:
        raise true.refusal(int(row), f"({', '.join(f'{side:g}' for side in boxes[row])}) is no box x0, y0, x1, y1", "boxes")
    beyond = np.abs(np.nanmean(points, axis=1) - (boxes[:, :2] + boxes[:, 2:]) / 2) > boxes[:, 2:] - boxes[:, :2]
    for row in np.flatnonzero(beyond.any(axis=1))[:1]:
        raise true.refusal(int(row), f"({', '.join(f'{side:g}' for side in boxes[row])}) lies beside its points; a box is x0, y0, x1, y1", "boxes")
    return boxes


def _classes(arrays: Arrays) -> tuple[str, ...]:
    if arrays.classes is None:
        raise InputError(f"{arrays.path}: no array 'classes' that names the columns of its values")
    return arrays.classes


def _of_classes(arrays: Arrays, values: np.ndarray, own: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Columns [N, A] of the wanted classes, in their order."""
    if values.ndim != 2 or values.shape[1] != len(own):
        raise InputError(f"{arrays.path}: values of shape {list(values.shape)}, [names, {len(own)}] is needed for {', '.join(own[:3])}{', ...' if len(own) > 3 else ''}")
    return values[:, [list(own).index(name) for name in names]]


def _labels(true: Arrays, names: Sequence[str]) -> np.ndarray:
    """int8 [N, A]: 1 yes, 0 no, -1 unknown."""
    labels = _of_classes(true, true.numbers("values", unlabelled=True), _classes(true), names)
    for row, at in np.argwhere(~(np.isin(labels, (-1, 0, 1)) | np.isnan(labels)))[:1]:
        raise true.refusal(int(row), f"{labels[row, at]:g} for {names[at]} is not 1 (yes), 0 (no), or -1 (unknown)")
    for row, at in np.argwhere((labels == -1) & ~(labels == 0).any(axis=0))[:1]:
        raise true.refusal(int(row), f"-1 for {names[at]} and nowhere 0: write 0 for no, and NaN for unknown")
    return np.where(np.isnan(labels), -1, labels).astype(np.int8)


def _named(arrays: Arrays) -> list[str]:
    """The class of each row by name; numbers are places in `classes`."""
    values = arrays.array("values")
    if values.dtype.kind in "US":
        words = arrays.words("values")
        if arrays.classes is not None:
            for row, word in enumerate(words):
                if word not in arrays.classes:
                    raise arrays.refusal(row, f"no class {word!r}{nearest(word, arrays.classes)}")
        return words
    if values.dtype.kind not in "iu" or values.ndim != 1:
        raise InputError(f"{arrays.path}: values are {values.dtype} of shape {list(values.shape)}, a name or number of a class for each name is needed")
    if arrays.classes is None:
        raise InputError(f"{arrays.path}: its values are numbers, and no array 'classes' says what they mean")
    classes = arrays.classes
    for row in np.flatnonzero((values < 0) | (values >= len(classes)))[:1]:
        raise arrays.refusal(int(row), f"{values[row]} is no number of {len(classes)} classes")
    return [classes[number] for number in values.tolist()]


def _classes_of_masks(said: Masks, true: Masks) -> tuple[str, ...]:
    classes = true.classes or said.classes
    if classes is None:
        raise InputError(f"{true.path}: nothing says what its numbers mean: an array `classes` in a .npz, or --benchmark")
    if len(classes) < 2:
        raise InputError(f"{(true if true.classes else said).path}: classes is {', '.join(classes) or 'empty'}; background and at least one more are needed")
    return classes


def _confusion(said: Masks, true: Masks, name: str, classes: int) -> tuple[np.ndarray, int]:
    """int64 [C, C], and how many pixels it leaves out."""
    try:
        truth = true.open(name)
        confusion = region_confusion(truth, said.open(name), classes)
        return confusion, truth.size - int(confusion.sum())
    except InputError as error:
        where = "" if str(error).startswith((said.path, true.path)) else f"{said.path} and {true.path}, {name}: "
        raise InputError(f"{where}{error}") from error
