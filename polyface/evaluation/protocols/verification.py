"""Pairs of photographs, "the same person?", as LFW scores them (papers.md D1, D13): from any embeddings."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from polyface.errors import InputError
from polyface.evaluation.protocols.result import Result, curve_of_roc, scored
from polyface.metrics.baselines import constant_accuracy
from polyface.metrics.checks import require_finite, require_integers, require_rows
from polyface.metrics.intervals import DRAWS, Interval, Score, group_draws, percentiles
from polyface.metrics.verification import (
    FoldAccuracy,
    Roc,
    TarAtFar,
    auc,
    d_prime,
    eer,
    insightface_accuracy,
    lfw_accuracy,
    operating_point,
    resampled_roc,
    tar_at_far,
)

FARS = (0.1, 0.01, 0.001)
ALL_FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
DECIMALS = 12
"""Cosines and distances are rounded to so many: a difference below is one of rounding, which would part what is tied, all pairs of a collapsed model for one."""

BLOCK = 16384
"""Pairs that are compared at a time."""


@dataclass(frozen=True)
class VerificationResult:
    """accuracy is the mean of `lfw` with its interval, accuracy_insightface that of `insightface`; both conventions are None (accuracies NaN) for a list of one fold.

    tar: refused targets have NaN intervals. pairs are genuine and impostors together.
    """

    accuracy: Score
    accuracy_insightface: Score
    lfw: FoldAccuracy | None
    insightface: FoldAccuracy | None
    auc: Score
    eer: Score
    tar: tuple[tuple[TarAtFar, Interval], ...]
    d_prime: float
    d_prime_interval: Interval
    people: int | None
    genuine: int
    impostors: int
    roc: Roc


def verify(
    embeddings: np.ndarray, left: np.ndarray, right: np.ndarray, same: np.ndarray, fold: np.ndarray | None, people: np.ndarray | None, draws: int = DRAWS
) -> Result:
    """The whole protocol: TAR at FAR 1e-1 to 1e-6, each with its threshold and the FAR that it reached. fold None: too few pairs to be cut, no accuracy.

    Other arguments and errors as of `score_pairs`.
    """
    found = score_pairs(embeddings, left, right, same, np.zeros(len(same), np.int64) if fold is None else fold, people, ALL_FARS, draws)
    one_kind = "" if found.genuine and found.impostors else f"no {'impostor' if found.genuine else 'genuine'} pairs"
    alone = "" if people is not None else "each pair drawn by itself, since no people are known: too narrow where photographs recur"
    few = f"too few pairs for ten folds: {found.genuine:,} genuine, {found.impostors:,} impostor"
    scores = {"accuracy": found.accuracy, "accuracy_insightface": found.accuracy_insightface}
    reasons: dict[str, str] = {}
    notes = {"accuracy": alone}
    if found.lfw is None or found.insightface is None:
        reasons |= dict.fromkeys(scores, "accuracy is over folds, and the pairs are in one" if fold is not None else few)
    else:
        folds = len(found.lfw.accuracies)
        scores["standard_error"] = _plain(found.lfw.standard_error, folds)
        scores["deviation_insightface"] = _plain(found.insightface.population_deviation, folds)
        notes |= {
            "accuracy": "; ".join(part for part in (f"mean of {folds} folds, each at the best threshold of the others", alone) if part),
            "accuracy_insightface": "thresholds on a grid of 0.01 of squared distance",
            "standard_error": "of `accuracy`, over folds",
            "deviation_insightface": "of `accuracy_insightface` over folds, of the population: what insightface prints after +-",
        }
    scores |= {"auc": found.auc, "eer": found.eer}
    for at, interval in found.tar:
        target = f"{at.far:.0e}".replace("e-0", "e-")
        tar = Score(at.point.tar if at.point else np.nan, interval.low, interval.high, found.genuine, at.far)
        scores |= {f"tar@{target}": tar, f"far@{target}": _plain(at.point.far if at.point else np.nan, found.impostors)}
        scores[f"threshold@{target}"] = _plain(at.point.threshold if at.point else np.nan, found.impostors)
        if at.point is None:
            reasons |= dict.fromkeys((f"tar@{target}", f"far@{target}", f"threshold@{target}"), at.reason)
        else:
            none = at.point.threshold == np.inf
            notes[f"tar@{target}"] = "nothing can be accepted" if none else f"FAR {at.point.far:.4g} reached, at cosine {at.point.threshold:.4f}"
            reasons |= {f"threshold@{target}": "infinite: nothing can be accepted"} if none else {}
    scores["d_prime"] = Score(found.d_prime, found.d_prime_interval.low, found.d_prime_interval.high, len(same), 0.0)
    reasons |= {name: one_kind or "infinite: neither kind of pair has any spread" for name in ("auc", "eer", "d_prime") if not np.isfinite(scores[name].value)}
    counts = {"pairs": len(same), "genuine": found.genuine, "impostors": found.impostors, "folds": 0 if found.lfw is None else len(found.lfw.accuracies)}
    return Result("verification", scores, counts | ({} if found.people is None else {"people": found.people}), reasons, notes, curve_of_roc(found.roc))


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
    cosines = _of_pairs(unit, left, right, lambda a, b: a * b)
    several_folds = len(np.unique(fold)) > 1
    lfw = lfw_accuracy(cosines, same, fold) if several_folds else None
    insightface = insightface_accuracy(_of_pairs(unit, left, right, lambda a, b: (a - b) ** 2), same, fold) if several_folds else None
    numbers = None if people is None else _numbers(left, right, same, people)
    curve_of = resampled_roc(cosines, same)
    tar = [tar_at_far(curve_of(np.ones(len(same), np.int64)), far) for far in fars]

    folds = np.unique(fold, return_inverse=True)[1]

    def statistic(times: np.ndarray) -> dict[str, float]:
        curve = curve_of(times)
        of_folds = {name: _mean_of_folds(each.correct, folds, times) if each else np.nan for name, each in (("lfw", lfw), ("insightface", insightface))}
        rates = {str(at.far): operating_point(curve, at.far).tar if at.point and curve.impostors else np.nan for at in tar}
        return {**of_folds, "auc": auc(curve), "eer": eer(curve), "d_prime": d_prime(cosines, same, times), **rates}

    people_in = len(same) if numbers is None else len(np.unique(np.concatenate(numbers)))
    genuine_people = int(same.sum()) if numbers is None else len(np.unique(numbers[0][same]))
    independent = dict.fromkeys(("lfw", "insightface"), people_in) | {str(at.far): genuine_people for at in tar}
    half = dict.fromkeys(("lfw", "insightface"), constant_accuracy(same)) | {"auc": 0.5, "eer": 0.5}
    found = scored(statistic, len(same), _pair_draws(same, numbers, draws), chance=half, independent=independent)
    return VerificationResult(
        accuracy=_valued(found["lfw"], lfw),
        accuracy_insightface=_valued(found["insightface"], insightface),
        lfw=lfw,
        insightface=insightface,
        auc=found["auc"],
        eer=found["eer"],
        tar=tuple((at, Interval(found[str(at.far)].low, found[str(at.far)].high)) for at in tar),
        d_prime=found["d_prime"].value,
        d_prime_interval=Interval(found["d_prime"].low, found["d_prime"].high),
        people=None if numbers is None else people_in,
        genuine=int(same.sum()),
        impostors=int((~same).sum()),
        roc=curve_of(np.ones(len(same), np.int64)),
    )


def accuracy_gap(
    first: np.ndarray, second: np.ndarray, left: np.ndarray, right: np.ndarray, same: np.ndarray, fold: np.ndarray, people: np.ndarray | None, draws: int = DRAWS
) -> Score:
    """How much more accurate by LFW's convention the first embeddings [M, D] are than the second [M, E] on the same pairs, people drawn for both at once; chance 0.

    Other arguments and errors as of `score_pairs`; of several folds.
    """
    require_rows(left=left, right=right, same=same, fold=fold)
    same = np.asarray(same, bool)
    numbers = None if people is None else _numbers(left, right, same, people)
    one, other = (lfw_accuracy(_of_pairs(_unit(each), left, right, lambda a, b: a * b), same, fold) for each in (first, second))
    gaps = one.correct.astype(np.float64) - other.correct
    interval = percentiles(drawn_means(gaps, same, numbers, draws, np.unique(fold, return_inverse=True)[1]))
    return Score(one.mean - other.mean, interval.low, interval.high, len(same), 0.0)


def drawn_means(
    values: np.ndarray, same: np.ndarray, numbers: tuple[np.ndarray, np.ndarray] | None, draws: int = DRAWS, folds: np.ndarray | None = None
) -> Iterator[float]:
    """The mean of values [N] in each draw of people, as `score_pairs` draws them; NaN where nobody of a pair was drawn.

    same bool [N]; numbers: int [N] from 0 on for the people of both sides, None: each pair is drawn by itself. folds: int [N] from 0 on, of which the mean is that of
    their means.
    """
    folds = np.zeros(len(values), int) if folds is None else folds
    return (_mean_of_folds(values, folds, times) for times in _pair_draws(same, numbers, draws))


def _of_pairs(unit: np.ndarray, left: np.ndarray, right: np.ndarray, products: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """The sum over coordinates for each pair [N], rounded; some pairs at a time, for IJB-C has 15,658,489."""
    sums = np.empty(len(left))
    for start in range(0, len(left), BLOCK):
        part = slice(start, start + BLOCK)
        sums[part] = np.sum(products(unit[left[part]], unit[right[part]]), axis=1)
    return np.round(sums, DECIMALS)


def _numbers(left: np.ndarray, right: np.ndarray, same: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers from 0 for the people of both sides [N]. Raises InputError for a pair that they contradict."""
    numbers = np.unique(np.asarray(people)[np.concatenate([left, right])], return_inverse=True)[1]
    a, b = numbers[: len(left)], numbers[len(left) :]
    wrong = np.flatnonzero((a == b) != same)
    if wrong.size:
        kind = "one person" if same[wrong[0]] else "two people"
        raise InputError(f"pair {wrong[0]} is labelled as {kind}, its photographs say otherwise")
    return a, b


def _pair_draws(same: np.ndarray, numbers: tuple[np.ndarray, np.ndarray] | None, draws: int) -> Iterator[np.ndarray]:
    """How often each pair counts in each draw, int64 [N]."""
    if numbers is None:
        return group_draws(len(same), draws)
    a, b = numbers
    return (np.where(same, times[a], times[a] * times[b]) for times in group_draws(int(max(a.max(initial=-1), b.max(initial=-1))) + 1, draws))


def _mean_of_folds(values: np.ndarray, folds: np.ndarray, times: np.ndarray) -> float:
    """The mean over folds of the mean of values [N] that count so many times; of folds of which any counts."""
    totals, sums = np.bincount(folds, times), np.bincount(folds, values * times)
    return float((sums[totals > 0] / totals[totals > 0]).mean()) if totals.any() else np.nan


def _valued(score: Score, folds: FoldAccuracy | None) -> Score:
    """The field's value is the mean over folds, which need not be equally large."""
    return Score(folds.mean if folds else np.nan, score.low, score.high, score.n, score.chance)


def _plain(value: float, n: int) -> Score:
    return Score(float(value), np.nan, np.nan, n)


def _unit(embeddings: np.ndarray) -> np.ndarray:
    embeddings = np.asarray(embeddings, np.float64)
    require_finite(embeddings=embeddings)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    require_finite(lengths=lengths)
    if not lengths.all():
        raise InputError(f"embeddings: row {int(np.argmin(lengths))} has length 0, and so no direction")
    return embeddings / lengths
