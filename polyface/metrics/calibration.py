"""How far probabilities can be believed, and the sets of answers that hold the truth as often as they promise.

shares float [N, C]: probabilities of C answers, which sum to 1. No rows: NaN.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from polyface.errors import InputError
from polyface.metrics.checks import require_finite, require_integers, require_rows
from polyface.metrics.intervals import DRAWS, Interval, group_draws, percentiles

BINS = 15
"""Of equal width, as Guo et al. 2017 (On Calibration of Modern Neural Networks) count."""

COVERAGE, FLOOR = 0.9, 0.89
COLDEST, HOTTEST = 0.05, 20.0  # [ours]


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray | None = None, bins: int = BINS) -> float:
    """The mean gap between what was promised and what came true, over bins of confidence (Guo et al. 2017, equation 3).

    confidence float [N] in 0..1, right bool [N] (or shares of it), weights [N].
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    weights = np.ones(len(confidence)) if weights is None else np.asarray(weights, np.float64)
    require_rows(confidence=confidence, right=right, weights=weights)
    require_finite(confidence=confidence)
    if not weights.sum():
        return np.nan
    gaps = np.bincount(bin_of(confidence, bins), weights * (right - confidence), bins)
    return float(np.abs(gaps).sum() / weights.sum())


def bin_of(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """int [N]: the bin of each confidence; one on an edge belongs below it."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def interval_of_calibration_error(confidence: np.ndarray, right: np.ndarray, groups: np.ndarray, draws: int = DRAWS, seed: int = 0) -> Interval:
    """That of `expected_calibration_error`, groups int [N] (whose row it is) coming and going together."""
    require_rows(confidence=confidence, right=right, groups=groups)
    number = np.unique(groups, return_inverse=True)[1].reshape(-1)
    count = int(number.max(initial=-1)) + 1
    gaps = np.bincount(number * BINS + bin_of(confidence), np.asarray(right, np.float64) - confidence, count * BINS).reshape(count, BINS)
    rows = np.bincount(number, minlength=count)
    drawn = [np.abs(times @ gaps).sum() / (times @ rows) for times in group_draws(count, draws, seed)]
    return about_error(expected_calibration_error(confidence, right), np.array(drawn))


def about_error(found: float, drawn: np.ndarray) -> Interval:
    """The interval of a calibration error from draws of people [D].

    A draw moves every bin, and a mean of absolute gaps only grows by that: of well calibrated answers nearly all draws lie above what was found. They are moved back by
    their mean distance, and not below 0. What was found lies itself above the error that infinitely many faces would show, for the same reason, and by about as much.
    """
    known = drawn[~np.isnan(drawn)]
    ends = percentiles(known - (known.mean() - found) if len(known) else known)
    return Interval(max(ends.low, 0.0), ends.high)


def brier_score(shares: np.ndarray, truth: np.ndarray) -> float:
    """The mean over rows of the squared distance between probabilities [N, C] and the truth, int [N]: 0 to 2, as Brier 1950 has it."""
    return float(np.mean(squared_distances(shares, truth))) if len(shares) else np.nan


def squared_distances(shares: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Those of `brier_score`, float [N]."""
    shares = np.asarray(shares, np.float64)
    require_rows(shares=shares, truth=truth)
    require_integers("truth", truth, 0, shares.shape[1])
    return (shares**2).sum(1) - 2 * shares[np.arange(len(truth)), truth] + 1


def fit_temperature(loss: Callable[[float], float]) -> float:
    """The temperature T, by which logits are divided, whose loss(T) is smallest: by golden section over its logarithm.

    For labels of one answer that is the minimum, since their loss is convex in 1 / T. Answers that are never wrong, or say nothing, are given an end of the range.
    """
    golden = (np.sqrt(5) - 1) / 2
    low, high = np.log(COLDEST), np.log(HOTTEST)
    inner = [high - golden * (high - low), low + golden * (high - low)]
    losses = [loss(float(np.exp(at))) for at in inner]
    while high - low > 1e-4:
        if losses[0] <= losses[1]:
            high, inner, losses = inner[1], [0.0, inner[0]], [0.0, losses[0]]
            inner[0] = high - golden * (high - low)
            losses[0] = loss(float(np.exp(inner[0])))
        else:
            low, inner, losses = inner[0], [inner[1], 0.0], [losses[1], 0.0]
            inner[1] = low + golden * (high - low)
            losses[1] = loss(float(np.exp(inner[1])))
    return round(float(np.exp((low + high) / 2)), 4)


# Sets of answers


def mass_before(shares: np.ndarray) -> np.ndarray:
    """The probability of all answers more probable than each, float [N, C]: 0 for the best one.

    The answers whose value is at most q are the most probable ones, taken until they have more than q together (Romano, Sesia, Candes 2020, without the lot they draw).
    """
    shares = np.asarray(shares, np.float64)
    order = np.argsort(-shares, axis=-1, kind="stable")
    ordered = np.take_along_axis(shares, order, -1)
    before = np.zeros_like(shares)
    np.put_along_axis(before, order, np.cumsum(ordered, -1) - ordered, -1)
    return before


def mass_about_median(shares: np.ndarray) -> np.ndarray:
    """Of answers in order (years): twice the probability between the median and each, float [N, C]: 0 for the one that holds the median.

    The answers whose value is at most q are the interval about the median with at least the share q: quantiles of the distribution itself, as wide as the face is hard to
    read (Chernozhukov, Wuethrich, Zhu 2021). Intervals that grow from the most probable year were no shorter at equal coverage, and fixed years on either side longer.
    """
    shares = np.asarray(shares, np.float64)
    above = np.cumsum(shares, -1)
    return 2 * np.maximum(np.maximum(0.5 - above, above - shares - 0.5), 0)


def to_be_met(masses: np.ndarray, possible: np.ndarray) -> np.ndarray:
    """The q from which on the set of answers with mass at most q meets a label: masses [N, C], possible bool [N, C], the answers each label leaves. Returns [N]."""
    return np.where(possible, masses, np.inf).min(-1)


def conformal_level(sets: Sequence[tuple[np.ndarray, np.ndarray]], coverage: float = COVERAGE, floor: float = FLOOR) -> float:
    """The smallest q whose sets of answers keep what they promise on each data set. sets: for each, (to_be_met [n], exact bool [n]).

    A label of one answer is exact: whether the set holds the truth is known. A label that leaves several is met where the set holds any of them, which is all that can
    be known ("weak coverage", Cauchois, Gupta, Ali, Duchi 2024), and never less than what is true. So the exact rows decide: on average over data sets, each counted
    once, `coverage` of them are held. And of all rows of each data set at least `floor` are met, so that no set pays for an easier one. Where no row is exact, all stand
    for them. Shares are of n + 1 rows, as split conformal prediction corrects for n. Returns 1, all answers, where nothing less will do.
    """
    known = [(met[exact], met) for met, exact in sets if len(met)]
    if not known:
        raise InputError("no row to calibrate sets of answers on")
    deciding = [exact for exact, _ in known if len(exact)] or [met for _, met in known]
    candidates = np.unique(np.concatenate([met for _, met in known]))

    def held(values: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.sort(values), candidates, side="right") / (len(values) + 1)

    good = np.mean([held(values) for values in deciding], axis=0) >= coverage - 1e-12
    for _, met in known:
        good &= held(met) >= floor - 1e-12
    least = candidates[np.argmax(good)] if good.any() else 1.0
    return float(min(np.ceil(least * 1e6) / 1e6, 1.0))  # upwards, so that writing it down loses no row


# The probability that two faces are one person


@dataclass(frozen=True)
class Logistic:
    """P(same) = 1 / (1 + exp(-(slope * cosine + intercept))), where as many pairs are of one person as of two."""

    slope: float
    intercept: float

    def __call__(self, cosines: np.ndarray | float) -> np.ndarray:
        return 1 / (1 + np.exp(-np.clip(self.slope * np.asarray(cosines, np.float64) + self.intercept, -60, 60)))


def fit_logistic(cosines: np.ndarray, same: np.ndarray, different: np.ndarray) -> Logistic:
    """same, different [N]: how many pairs of one person, and of two, have each cosine [N]; both sides count equally, whatever their numbers.

    By Newton's method, with Platt's targets (1999), a little off 0 and 1, so that sides that do not overlap have a finite slope. Raises InputError for an empty side.
    """
    cosines = np.asarray(cosines, np.float64)
    require_rows(cosines=cosines, same=same, different=different)
    totals = [float(np.sum(side)) for side in (same, different)]
    if not all(totals):
        raise InputError(f"pairs of one person and of two are needed, there are {totals[0]:.0f} and {totals[1]:.0f}")
    weights = np.asarray(same) / totals[0] + np.asarray(different) / totals[1]
    hoped = np.asarray(same) / totals[0] * (totals[0] + 1) / (totals[0] + 2) + np.asarray(different) / totals[1] / (totals[1] + 2)
    features = np.stack([cosines, np.ones_like(cosines)])

    def loss(parameters: np.ndarray) -> float:
        z = parameters @ features
        return float(weights @ np.logaddexp(0, z) - hoped @ z)

    at = np.zeros(2)
    for _ in range(200):
        said = 1 / (1 + np.exp(-np.clip(at @ features, -60, 60)))
        curvature = (features * (weights * said * (1 - said))) @ features.T
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), features @ (weights * said - hoped))
        while np.abs(step).max() > 1e-9 and loss(at - step) > loss(at):
            step = step / 2
        at = at - step
        if np.abs(step).max() < 1e-9:
            break
    return Logistic(float(at[0]), float(at[1]))
