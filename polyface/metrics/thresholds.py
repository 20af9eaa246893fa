"""Where the line runs between one person and two: the cosines of all pairs of photographs, and the thresholds that they can vouch for.

Pairs are made inside a space only: inside one data set, or sets that name people alike; whether somebody of one space is also in another, nobody knows. Intervals come
from drawing people, not pairs: a pair of one person counts as often as that person was drawn, a pair of two as the product of both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from polyface.errors import InputError
from polyface.metrics.calibration import BINS, Logistic, about_error, bin_of, fit_logistic
from polyface.metrics.checks import require_finite, require_rows
from polyface.metrics.intervals import DRAWS, Interval, group_draws, percentiles
from polyface.metrics.rates import errors_allowed

FARS = (0.01, 0.001, 1e-4, 1e-5, 1e-6)
FRR = 0.01
ENOUGH = 10
"""A rate is offered where at least so many errors, of so many different pairs of people, stand behind it."""

STEP = 0.002
ROWS = 256
MARGIN = 3
"""People that were drawn may be more alike than all are: so many times as many of the most alike pairs are kept as the largest rate needs."""


@dataclass(frozen=True)
class AllPairs:
    """Cosines float32 of pairs of one person, same [G] with person int [G], and of two people, other [I] with people int [I, 2].

    photographs, space int [P]: how many there are of each person, and where.
    """

    same: np.ndarray = field(repr=False)
    person: np.ndarray = field(repr=False)
    other: np.ndarray = field(repr=False)
    people: np.ndarray = field(repr=False)
    photographs: np.ndarray = field(repr=False)
    space: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Line:
    """rate: the share of wrong pairs on its side; errors: how many those are, of so many different pairs of people (of one person: of so many people)."""

    rate: float
    cosine: float
    interval: Interval
    errors: int
    people: int


def all_pairs(vectors: np.ndarray, person: np.ndarray, space: np.ndarray) -> AllPairs:
    """vectors float [N, D], brought to unit length; person int [N] from 0 on, space int [N]: where that person is known by name."""
    vectors = np.asarray(vectors, np.float32)
    require_rows(vectors=vectors, person=person, space=space)
    require_finite(vectors=vectors)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not lengths.all():
        raise InputError(f"vectors: row {int(np.argmin(lengths))} has length 0, and so no direction")
    unit = vectors / lengths
    person, space = np.asarray(person, np.int32), np.asarray(space, np.int32)
    same: list[np.ndarray] = []
    other: list[np.ndarray] = []
    of_same: list[np.ndarray] = []
    of_other: list[np.ndarray] = []
    for each in np.unique(space):
        rows = np.flatnonzero(space == each)
        for start in range(0, len(rows), ROWS):
            left, right = rows[start : start + ROWS], rows[start:]
            i, j = np.nonzero(np.arange(len(right)) > np.arange(len(left))[:, None])
            cosines = (unit[left] @ unit[right].T)[i, j]
            a, b = person[left][i], person[right][j]
            one = a == b
            same.append(cosines[one])
            of_same.append(a[one])
            other.append(cosines[~one])
            of_other.append(np.stack([np.minimum(a, b), np.maximum(a, b)], 1)[~one])
    spaces = np.zeros(int(person.max(initial=-1)) + 1, np.int32)
    spaces[person] = space
    return AllPairs(
        same=np.concatenate([np.zeros(0, np.float32), *same]),
        person=np.concatenate([np.zeros(0, np.int32), *of_same]),
        other=np.concatenate([np.zeros(0, np.float32), *other]),
        people=np.concatenate([np.zeros((0, 2), np.int32), *of_other]),
        photographs=np.bincount(person, minlength=len(spaces)),
        space=spaces,
    )


def accept_lines(pairs: AllPairs, rates: Sequence[float] = FARS, draws: int = DRAWS, seed: int = 0) -> list[Line]:
    """The cosines from which on at most a rate of the pairs of two people lies, coarsest rate first, as far as ENOUGH errors stand behind them."""
    keep = min(len(pairs.other), int(np.ceil(MARGIN * max(rates) * len(pairs.other))) + ENOUGH)
    top = np.argpartition(-pairs.other, keep - 1)[:keep] if keep else np.zeros(0, np.int64)
    top = top[np.argsort(-pairs.other[top])]
    cosines, people = pairs.other[top], pairs.people[top].reshape(-1, 2)
    found = []
    for rate in sorted(rates, reverse=True):
        accepted = _within(cosines, errors_allowed(rate, len(pairs.other)))
        different = len(np.unique(people[:accepted], axis=0))
        if accepted < ENOUGH or different < ENOUGH:
            break
        found.append((rate, accepted, different))
    drawn: list[list[float]] = [[] for _ in found]
    for times in group_draws(len(pairs.space), draws if found else 0, seed):
        counted = np.cumsum(times[people[:, 0]] * times[people[:, 1]])
        budget = np.array([rate for rate, _, _ in found]) * _impostors(pairs, times)
        for values, accepted in zip(drawn, np.searchsorted(counted, budget, side="right"), strict=True):
            values.append(float(cosines[max(int(accepted) - 1, 0)]))
    return [Line(rate, float(cosines[accepted - 1]), percentiles(values), accepted, different) for (rate, accepted, different), values in zip(found, drawn, strict=True)]


def reject_line(pairs: AllPairs, rate: float = FRR, draws: int = DRAWS, seed: int = 0) -> Line:
    """The cosine under which at most a rate of the pairs of one person lies. Raises InputError where fewer than ENOUGH errors would stand behind it."""
    order = np.argsort(pairs.same)
    cosines, person = pairs.same[order], pairs.person[order]
    rejected = _within(-cosines, errors_allowed(rate, len(cosines)))
    people = len(np.unique(person[:rejected]))
    if rejected < ENOUGH or people < ENOUGH:
        raise InputError(f"too few people: {rejected} pairs of {people} people stand behind a rate of {rate:g}, {ENOUGH} of each are needed")
    drawn = []
    for times in group_draws(len(pairs.space), draws, seed):
        counted = np.cumsum(times[person])
        drawn.append(float(cosines[np.searchsorted(counted, rate * counted[-1], side="right")]) if counted[-1] else np.nan)
    return Line(rate, float(cosines[rejected]), percentiles(drawn), rejected, people)


def true_accept_rate(pairs: AllPairs, cosine: float) -> float:
    """The share of pairs of one person at or above a cosine."""
    return float(np.mean(pairs.same >= np.float32(cosine))) if len(pairs.same) else np.nan


@dataclass(frozen=True)
class Fitted:
    """ece and brier (0 to 1), with their intervals: of probabilities on people that the fit had not seen, the mean of two halves; as many pairs being of one person as of
    two."""

    logistic: Logistic
    ece: float
    brier: float
    ece_interval: Interval
    brier_interval: Interval


def fit_probability(pairs: AllPairs, draws: int = DRAWS, seed: int = 0) -> Fitted:
    """P(one person) from a cosine: fitted to all pairs, measured by halves of the people. The intervals draw those who are measured; the halves, and the fits, stay."""
    half = np.zeros(len(pairs.space), np.int32)
    for each in np.unique(pairs.space):
        members = np.flatnonzero(pairs.space == each)
        half[members] = np.arange(len(members)) % 2
    sides = half[pairs.person], np.where(half[pairs.people[:, 0]] == half[pairs.people[:, 1]], half[pairs.people[:, 0]], -1)
    times = np.array([np.ones(len(half), np.int64), *group_draws(len(half), draws, seed)])
    measured = [_measured(pairs, half, unseen, fit_logistic(*_counted(pairs, sides, 1 - unseen)), times) for unseen in (0, 1)]
    ece, brier = np.mean(measured, axis=0)
    logistic = fit_logistic(*_counted(pairs, (np.zeros_like(sides[0]), np.zeros_like(sides[1])), 0))
    return Fitted(logistic, float(ece[0]), float(brier[0]), about_error(float(ece[0]), ece[1:]), percentiles(brier[1:]))


def _counted(pairs: AllPairs, sides: tuple[np.ndarray, np.ndarray], side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosines in steps [K], and how many pairs of one person and of two people lie at each."""
    edges = np.arange(-1, 1 + STEP * 1.5, STEP)
    same, other = (np.histogram(np.clip(cosines[at == side], -1, 1), edges)[0] for cosines, at in ((pairs.same, sides[0]), (pairs.other, sides[1])))
    return (edges[:-1] + edges[1:]) / 2, same, other


def _measured(pairs: AllPairs, half: np.ndarray, side: int, logistic: Logistic, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The calibration error and the Brier score [D] of the pairs inside a half of the people, who count times int [D, P]; NaN where no pair of a kind is left."""
    here = half == side
    place, many, counted = np.cumsum(here) - 1, int(here.sum()), times[:, here].astype(np.float64)
    of_same, of_other = here[pairs.person], here[pairs.people].all(1)
    person = place[pairs.person[of_same]]
    both = place[pairs.people[of_other]] @ [many, 1]

    def over_same(values: np.ndarray) -> np.ndarray:
        """The sum over pairs [D]."""
        return counted @ np.bincount(person, values, many)

    def over_other(values: np.ndarray) -> np.ndarray:
        return ((counted @ np.bincount(both, values, many * many).reshape(many, many)) * counted).sum(1)

    gaps, brier = np.zeros((BINS, len(times))), np.zeros(len(times))
    for said, true, total in ((logistic(pairs.same[of_same]), 1.0, over_same), (logistic(pairs.other[of_other]), 0.0, over_other)):
        with np.errstate(invalid="ignore", divide="ignore"):
            share, bins = 0.5 / total(np.ones(len(said))), bin_of(said)
            gaps += [share * total((true - said) * (bins == each)) for each in range(BINS)]
            brier += share * total((true - said) ** 2)
    return np.abs(gaps).sum(0), brier


def _within(falling: np.ndarray, budget: int) -> int:
    """How many of falling scores can be accepted without exceeding a budget, ties coming together."""
    if budget >= len(falling):
        return len(falling)
    return int(np.searchsorted(-falling, -falling[budget], side="left"))


def _impostors(pairs: AllPairs, times: np.ndarray) -> float:
    """How many pairs of two people there are when each person counts so many times."""
    photographs = (times * pairs.photographs).astype(np.float64)
    return float(sum(photographs[pairs.space == each].sum() ** 2 - (photographs[pairs.space == each] ** 2).sum() for each in np.unique(pairs.space)) / 2)
