"""Pairs of photographs, "the same person?", as LFW scores them (papers.md D1): from any embeddings."""

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
