"""Pairs of photographs, "the same person?", in the layout of LFW (papers.md D1): the list of pairs, and the scores of any embeddings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyface.errors import InputError
from polyface.metrics.baselines import constant_accuracy
from polyface.metrics.checks import require_finite, require_integers, require_rows
from polyface.metrics.intervals import DRAWS, Interval, Score, group_draws, percentiles
from polyface.metrics.verification import (
    FoldAccuracy,
    TarAtFar,
    auc,
    d_prime,
    eer,
    insightface_accuracy,
    lfw_accuracy,
    operating_point,
    roc,
    tar_at_far,
)

FARS = (0.1, 0.01, 0.001)


@dataclass(frozen=True)
class Pairs:
    """left, right: photographs as LFW names them, `Name/Name_0001.jpg`; same bool [N]; fold int [N]."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    same: np.ndarray
    fold: np.ndarray

    def rows(self, photos: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Where the left and the right photographs are among `photos`, int [N] each; -1 for one that is not there."""
        place = {photo: row for row, photo in enumerate(photos)}
        return tuple(np.array([place.get(photo, -1) for photo in side], np.int64) for side in (self.left, self.right))  # type: ignore[return-value]


def read_pairs(text: str, name: str) -> Pairs:
    """pairs.txt, pairsDevTrain.txt or pairsDevTest.txt.

    First line: `folds<TAB>n`, or `n` alone for one fold. Then for each fold n lines `name i j` (the same person) and n lines `name1 i name2
    j` (two people), separated by tabs, or by spaces in a line without tabs. Raises InputError with `name` and the number of the line.
    """
    lines = [line.rstrip("\r") for line in text.removeprefix("\ufeff").rstrip().split("\n")]
    header = _fields(lines[0])
    if len(header) not in (1, 2) or not all(_number(field) for field in header):
        raise InputError(f"{name}:1: {_shown(lines[0])} is no header (folds, then pairs of each kind in a fold; or the latter alone)")
    folds, each = (1, *map(int, header))[-2:]
    if len(lines) - 1 != folds * each * 2:
        raise InputError(f"{name}: {folds} x 2 x {each} pairs announced, {len(lines) - 1} lines follow")
    fold, place = np.divmod(np.arange(folds * each * 2), 2 * each)
    same = place < each
    pairs = [_pair(line, bool(expected), f"{name}:{row + 2}") for row, (line, expected) in enumerate(zip(lines[1:], same, strict=True))]
    return Pairs(tuple(left for left, _ in pairs), tuple(right for _, right in pairs), same, fold)


@dataclass(frozen=True)
class VerificationResult:
    """accuracy is the mean of `lfw` with its interval; both conventions are None (accuracy NaN) for a list of one fold.

    tar: refused targets have NaN intervals.
    """

    accuracy: Score
    lfw: FoldAccuracy | None
    insightface: FoldAccuracy | None
    auc: Score
    eer: Score
    tar: tuple[tuple[TarAtFar, Interval], ...]
    d_prime: float
    people: int | None


def score_pairs(
    embeddings: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    same: np.ndarray,
    fold: np.ndarray,
    people: np.ndarray | None,
    fars: Sequence[float] = FARS,
    draws: int = DRAWS,
) -> VerificationResult:
    """embeddings [M, D], brought to unit length here; left, right int [N]: rows of them; same bool, fold int [N]; people [M]: any ids.

    Intervals come from drawing people, not pairs: a pair of one person counts as often as that person was drawn, a pair of two as the
    product of both. That is right where every person meets many others, and wider than need be for lists such as LFW's, where most people
    are in a pair or two. The interval of the accuracy keeps the threshold of each fold. Without people (None) each pair is drawn by itself,
    which is too narrow where photographs recur. Raises InputError naming the first bad row.
    """
    require_rows(left=left, right=right, same=same, fold=fold)
    same = np.asarray(same, bool)
    unit = _unit(embeddings)
    require_integers("left", np.asarray(left), 0, len(unit))
    require_integers("right", np.asarray(right), 0, len(unit))
    cosines = np.sum(unit[left] * unit[right], axis=1)
    several_folds = len(np.unique(fold)) > 1
    lfw = lfw_accuracy(cosines, same, fold) if several_folds else None
    insightface = insightface_accuracy(np.sum((unit[left] - unit[right]) ** 2, axis=1), same, fold) if several_folds else None
    curve = roc(cosines, same)

    weights = _pair_draws(left, right, same, people, draws)
    curves = [roc(cosines, same, times) for times in weights]
    tar = [tar_at_far(curve, far) for far in fars]

    def scored(value: float, resampled: Sequence[float], chance: float) -> Score:
        interval = percentiles(resampled)
        return Score(value, interval.low, interval.high, len(same), chance)

    return VerificationResult(
        accuracy=scored(lfw.mean if lfw else np.nan, [_weighted_mean(lfw.correct, times) for times in weights] if lfw else [], constant_accuracy(same)),
        lfw=lfw,
        insightface=insightface,
        auc=scored(auc(curve), [auc(drawn) for drawn in curves], 0.5),
        eer=scored(eer(curve), [eer(drawn) for drawn in curves], 0.5),
        tar=tuple((at, percentiles(operating_point(drawn, at.far).tar for drawn in curves if at.point and drawn.impostors)) for at in tar),
        d_prime=d_prime(cosines, same),
        people=None if people is None else len(np.unique(np.asarray(people)[np.concatenate([left, right])])),
    )


def _pair_draws(left: np.ndarray, right: np.ndarray, same: np.ndarray, people: np.ndarray | None, draws: int) -> list[np.ndarray]:
    """How often each pair counts in each draw, int64 [N]."""
    if people is None:
        return list(group_draws(len(same), draws))
    numbers = np.unique(np.asarray(people)[np.concatenate([left, right])], return_inverse=True)[1]
    a, b = numbers[: len(left)], numbers[len(left) :]
    wrong = np.flatnonzero((a == b) != same)
    if wrong.size:
        kind = "one person" if same[wrong[0]] else "two people"
        raise InputError(f"pair {wrong[0]} is labelled as {kind}, its photographs say otherwise")
    return [np.where(same, times[a], times[a] * times[b]) for times in group_draws(int(numbers.max(initial=-1)) + 1, draws)]


def _weighted_mean(correct: np.ndarray, times: np.ndarray) -> float:
    total = times.sum()
    return float((correct * times).sum() / total) if total else np.nan


def _unit(embeddings: np.ndarray) -> np.ndarray:
    embeddings = np.asarray(embeddings, np.float64)
    require_finite(embeddings=embeddings)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    require_finite(lengths=lengths)
    if not lengths.all():
        raise InputError(f"embeddings: row {int(np.argmin(lengths))} has length 0, and so no direction")
    return embeddings / lengths


def _pair(line: str, same: bool, where: str) -> tuple[str, str]:
    fields = _fields(line)
    if len(fields) != (3 if same else 4):
        layout = "`name i j`, one person" if same else "`name1 i name2 j`, two people"
        raise InputError(f"{where}: {_shown(line)} stands where a pair is due as {layout}")
    name, i, other, j = (fields[0], fields[1], fields[0], fields[2]) if same else fields
    if same and i == j:
        raise InputError(f"{where}: a photograph is paired with itself")
    if not same and name == other:
        raise InputError(f"{where}: a pair of two people names {name} twice")
    return _photo(name, i, where), _photo(other, j, where)


def _photo(name: str, number: str, where: str) -> str:
    if not re.fullmatch(r"[^/\\\x00-\x1f]+", name) or name in (".", ".."):
        raise InputError(f"{where}: {_shown(name)} cannot be the name of a folder")
    if not _number(number):
        raise InputError(f"{where}: {_shown(number)} is no number of a photograph")
    return f"{name}/{name}_{int(number):04d}.jpg"


def _fields(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _number(field: str) -> bool:
    return re.fullmatch(r"0*[1-9][0-9]{0,5}", field) is not None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
