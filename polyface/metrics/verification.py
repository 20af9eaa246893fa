"""Scores of "the same person?" (papers.md D1, D13).

scores float [N], higher is more alike; same bool [N]. A pair is accepted when its score is at or above the threshold.

Thresholds are observed scores, or midways between them; no grid, no interpolation of a rate that nobody reached. Where there are no genuine
or no impostor pairs, rates are NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from polyface.errors import InputError
from polyface.metrics.checks import require_finite, require_rows
from polyface.metrics.rates import errors_allowed, trials_needed


@dataclass(frozen=True)
class Roc:
    """One point for each distinct score, falling, after the threshold inf at which nothing is accepted.

    All arrays [T + 1]; accepts are counts (or sums of weights) of pairs.
    """

    thresholds: np.ndarray
    true_accepts: np.ndarray
    false_accepts: np.ndarray

    @property
    def genuine(self) -> int:
        return int(self.true_accepts[-1])

    @property
    def impostors(self) -> int:
        return int(self.false_accepts[-1])

    @property
    def tar(self) -> np.ndarray:
        """True accept rate at each threshold; NaN without genuine pairs."""
        return self.true_accepts / (self.genuine or np.nan)

    @property
    def far(self) -> np.ndarray:
        """False accept rate at each threshold; NaN without impostor pairs."""
        return self.false_accepts / (self.impostors or np.nan)


def roc(scores: np.ndarray, same: np.ndarray, weights: np.ndarray | None = None) -> Roc:
    """weights int [N]: how often each pair counts; once by default."""
    curve = resampled_roc(scores, same)
    return curve(np.ones(len(scores), np.int64) if weights is None else weights)


def resampled_roc(scores: np.ndarray, same: np.ndarray) -> Callable[[np.ndarray], Roc]:
    """weights int [N] -> the curve of pairs that count so often; they are sorted once, however many curves are drawn."""
    scores, same = _checked(scores, same)
    order = np.argsort(-scores)
    ordered, genuine = scores[order], same[order]
    last_of_tie = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(scores) - 1)[: len(scores)]
    thresholds = np.append(np.inf, ordered[last_of_tie])

    def curve(weights: np.ndarray) -> Roc:
        accepted = [np.append(0, np.cumsum(weights[order] * side)[last_of_tie]) for side in (genuine, ~genuine)]
        return Roc(thresholds, *accepted)

    return curve


def auc(curve: Roc) -> float:
    """P(genuine > impostor) + P(equal) / 2: what the trapezoids under the observed points add up to, ties being slanted edges."""
    if not (curve.genuine and curve.impostors):
        return np.nan
    area = np.sum(np.diff(curve.false_accepts) * (curve.true_accepts[1:] + curve.true_accepts[:-1]) / 2)
    return float(area / curve.genuine / curve.impostors)


def eer(curve: Roc) -> float:
    """Where the observed points, joined by straight lines as for the AUC (a tie is broken by lot), have FAR = 1 - TAR.

    Half for a constant score.
    """
    if not (curve.genuine and curve.impostors):
        return np.nan
    excess = curve.false_accepts * curve.genuine - (curve.genuine - curve.true_accepts) * curve.impostors  # integers: FAR - FRR, exactly
    after = int(np.argmax(excess >= 0))
    before = after - 1
    part = -excess[before] / (excess[after] - excess[before])
    return float(curve.far[before] + part * (curve.far[after] - curve.far[before]))


@dataclass(frozen=True)
class OperatingPoint:
    """threshold inf: nothing is accepted."""

    threshold: float
    tar: float
    far: float


def operating_point(curve: Roc, far: float) -> OperatingPoint:
    """The highest TAR whose FAR is at most `far`, at the strictest threshold that reaches it."""
    within = curve.false_accepts <= errors_allowed(far, curve.impostors)
    reached = curve.true_accepts[within][-1]
    point = int(np.argmax(curve.true_accepts == reached))
    return OperatingPoint(float(curve.thresholds[point]), float(curve.tar[point]), float(curve.far[point]))


@dataclass(frozen=True)
class TarAtFar:
    """far: the target. point is None where it is refused, `reason` says why."""

    far: float
    point: OperatingPoint | None
    reason: str = ""


def tar_at_far(curve: Roc, far: float) -> TarAtFar:
    """`operating_point`, refused where the pairs cannot resolve the target.

    With fewer than 1/FAR impostors a target allows no false accept at all, and the number would say nothing about it.
    """
    if not curve.genuine:
        return TarAtFar(far, None, "no genuine pairs")
    if errors_allowed(far, curve.impostors) < 1:
        return TarAtFar(far, None, f"FAR {far:g} needs {trials_needed(far)} impostor pairs, there are {curve.impostors}")
    return TarAtFar(far, operating_point(curve, far))


def d_prime(scores: np.ndarray, same: np.ndarray, weights: np.ndarray | None = None) -> float:
    """(mean of genuine - mean of impostors) / sqrt of the mean of their variances; weights int [N]: how often each pair counts.

    0 for a constant score, infinite for two different constants.
    """
    scores, same = _checked(scores, same)
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    require_rows(scores=scores, weights=weights)
    moments = []
    for side in (same, ~same):
        times = weights[side]
        if not times.sum():
            return np.nan
        first = scores[side][0]
        beyond = scores[side] - first  # a constant score becomes exactly 0, so that rounding makes no spread
        mean = beyond @ times / times.sum()
        moments.append((first + mean, (beyond - mean) ** 2 @ times / times.sum()))
    (genuine, spread), (impostor, other_spread) = moments
    gap, deviation = genuine - impostor, np.sqrt((spread + other_spread) / 2)
    return float(gap / deviation) if deviation > 0 else float(np.sign(gap) * np.inf) if gap else 0.0


@dataclass(frozen=True)
class FoldAccuracy:
    """accuracies, thresholds [K], one for each fold; correct bool [N]: which pairs were answered right at the threshold of their fold."""

    accuracies: np.ndarray
    thresholds: np.ndarray
    correct: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.accuracies.mean())

    @property
    def standard_error(self) -> float:
        """What LFW asks to be reported beside the mean: deviation over folds (n - 1) / sqrt(K)."""
        return float(self.accuracies.std(ddof=1) / np.sqrt(len(self.accuracies)))

    @property
    def population_deviation(self) -> float:
        """What insightface prints after +-: no standard error (with ten folds three times as much)."""
        return float(self.accuracies.std())


def lfw_accuracy(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> FoldAccuracy:
    """LFW's convention: each fold is answered at the threshold that is best on all the others, any threshold allowed. folds int [N]."""
    scores, same = _checked(scores, same)
    return _over_folds(same, folds, lambda train: best_threshold(scores[train], same[train]), lambda threshold: scores >= threshold)


def insightface_accuracy(distances: np.ndarray, same: np.ndarray, folds: np.ndarray) -> FoldAccuracy:
    """insightface's convention (recognition/arcface_torch/eval/verification.py).

    Squared distances of unit vectors, accepted below a threshold from 0, 0.01 .. 3.99, the first that is best on the other folds.
    """
    distances, same = _checked(distances, same)
    grid = np.arange(0, 4, 0.01)
    right = (distances < grid[:, None]) == same

    def first_best(train: np.ndarray) -> float:
        return float(grid[np.argmax(right[:, train].sum(axis=1))])

    return _over_folds(same, folds, first_best, lambda threshold: distances < threshold)


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The threshold with the most right answers; of equally good ones the middle one.

    It lies midway between two neighbouring scores, or at -inf (accept all) or inf (accept none).
    """
    curve = roc(scores, same)
    right = curve.true_accepts + curve.impostors - curve.false_accepts
    best = np.flatnonzero(right == right.max())
    place = best[(len(best) - 1) // 2]
    if place in (0, len(right) - 1):
        return np.inf if place == 0 else -np.inf
    above, under = curve.thresholds[place], curve.thresholds[place + 1]
    midway = above / 2 + under / 2
    return float(midway if midway > under else above)  # neighbouring floats have nothing between them


def contiguous_folds(pairs: int, folds: int = 10) -> np.ndarray:
    """Fold numbers [N] of contiguous folds, the first N % K of them one pair longer: how insightface's evaluation cuts its lists."""
    return np.repeat(np.arange(folds), [pairs // folds + (fold < pairs % folds) for fold in range(folds)])


def interleaved_folds(same: np.ndarray, folds: int = 10) -> np.ndarray:
    """Fold numbers [N]: fold k has the k-th part of the genuine pairs and the k-th part of the impostors, in their order.

    That is how CALFW and CPLFW, whose lists have all genuine pairs first, are cut; of LFW's own list it makes LFW's own folds.
    """
    same = np.asarray(same, bool)
    numbers = np.zeros(len(same), np.int64)
    for side in (same, ~same):
        numbers[side] = contiguous_folds(int(side.sum()), folds)
    return numbers


def _over_folds(same: np.ndarray, folds: np.ndarray, choose: Callable[[np.ndarray], float], accept: Callable[[float], np.ndarray]) -> FoldAccuracy:
    """choose: training rows (bool [N]) -> threshold; accept: threshold -> bool [N]."""
    folds = np.asarray(folds)
    require_rows(same=same, folds=folds)
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise InputError(f"accuracy over folds needs at least two, there are {len(numbers)}")
    thresholds = np.array([choose(folds != number) for number in numbers])
    correct = np.zeros(len(same), bool)
    for number, threshold in zip(numbers, thresholds, strict=True):
        inside = folds == number
        correct[inside] = (accept(threshold) == same)[inside]
    return FoldAccuracy(np.array([correct[folds == number].mean() for number in numbers]), thresholds, correct)


def _checked(scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    require_rows(scores=scores, same=same)
    require_finite(scores=scores)
    return scores, same
