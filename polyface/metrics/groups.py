"""A score for each group of faces that a data set states (women and men, ages, races), and how far the best and the worst group are apart.

Groups come in kinds: `race` has the groups White, Black, ..., and a face is in at most one group of each kind. All groups of a score are resampled together, people by
people, in the same draws as the score of everybody (`metrics/intervals.py`): one pass gives all intervals, and what two groups have in common leaves their difference.

A group of fewer than FEWEST faces is listed with its number of faces and no score. The best and the worst group are chosen by looking at all of them, so the interval of
their gap is wide enough for every pair of groups of their kind at once: one that excludes 0 says that groups do differ, however many there are.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from polyface.metrics.checks import require_rows
from polyface.metrics.intervals import DRAWS, LEVEL, Interval, exact_interval, group_draws, percentiles

FEWEST = 30
AT_ONCE = 50
"""Draws that are multiplied together: enough to be fast, few enough to be small."""

Statistic = Callable[[np.ndarray], float]


@dataclass(frozen=True, eq=False)
class Groups:
    """Which groups the face of each row is in. names [G]: kind and group; table bool [N, G]."""

    names: tuple[tuple[str, str], ...]
    table: np.ndarray = field(repr=False)

    def of(self, rows: np.ndarray | slice) -> "Groups":
        """The same of some of the rows."""
        return Groups(self.names, self.table[rows]) if self.names else self


NOBODY = Groups((), np.zeros((0, 0), bool))
"""No group is stated, however many rows there are."""


@dataclass(frozen=True)
class GroupScore:
    """value with its interval over n faces. NaN: not known; all three for fewer than FEWEST faces, the ends alone for those of a single person."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Grouping:
    """The scores of the groups of one kind, and the gap between the best and the worst of those that have one, never negative. Fewer than two: no names, and NaN."""

    each: Mapping[str, GroupScore]
    best: str = ""
    worst: str = ""
    gap: float = np.nan
    low: float = np.nan
    high: float = np.nan


def groups_of_faces(stated: Sequence[Mapping[str, str]]) -> Groups:
    """stated [N]: {kind: group} of each face. Kinds by name; groups by the number they begin with, then by name ("3-9", "10-19", "more than 70")."""
    names = sorted({name for face in stated for name in face.items()}, key=lambda name: (name[0], _leading_number(name[1]), name[1]))
    table = [[face.get(kind) == group for kind, group in names] for face in stated]
    return Groups(tuple(names), np.array(table, bool).reshape(len(stated), len(names)))


def mean_by_group(values: np.ndarray, people: np.ndarray, groups: Groups, lower: bool = False) -> dict[str, Grouping]:
    """{kind: the means of values [N] in its groups}, bool where they are shares. people [N]: whose row it is; lower: less is better."""
    share, values = np.asarray(values).dtype == bool, np.asarray(values, np.float64)
    parts = np.stack([values, np.ones_like(values)], axis=1)

    def exact(rows: np.ndarray) -> Interval | None:
        return exact_interval(values[rows], len(np.unique(people[rows]))) if share else None

    return _by_kind(parts, lambda sums: sums[0] / sums[1], people, groups, lower, exact)


def score_by_group(parts: np.ndarray, statistic: Statistic, people: np.ndarray, groups: Groups) -> dict[str, Grouping]:
    """{kind: the statistic of the column sums of parts [N, ...] in its groups}; more is better. As `intervals.bootstrap_of_sums`."""
    return _by_kind(parts, statistic, people, groups, lower=False, exact=lambda rows: None)


def interval_of_gap(values: np.ndarray, drawn: np.ndarray, level: float = LEVEL) -> Interval:
    """The interval of last - first of ascending values [G], of which drawn [D, G] are the draws (NaN: no value): one into which all differences of two would fit at once.

    Differences are as far off as the `level` quantile, over draws, of the largest deviation from what was found, each in its own standard error (single-step max-T,
    Westfall and Young 1993); of two groups that is 1.96 standard errors, about. Not known where no draw moves the difference.
    """
    found = values[:, None] - values
    off = drawn[:, :, None] - drawn[:, None] - found
    known = ~np.isnan(off)
    off = np.where(known, off, 0.0)
    error = np.sqrt((off**2).sum(0) / np.maximum(known.sum(0), 1))
    if not error[-1, 0] > 0:
        return Interval(np.nan, np.nan)
    largest = (np.abs(off) / np.where(error > 0, error, 1.0)).max((1, 2))
    reach = np.quantile(largest, level) * error[-1, 0]
    return Interval(float(found[-1, 0] - reach), float(found[-1, 0] + reach))


def _by_kind(
    parts: np.ndarray, statistic: Statistic, people: np.ndarray, groups: Groups, lower: bool, exact: Callable[[np.ndarray], Interval | None]
) -> dict[str, Grouping]:
    """exact: the interval of some rows (bool [N]) where no resampling is needed."""
    if not groups.names:
        return {}
    require_rows(parts=parts, people=people, groups=groups.table)
    enough = np.flatnonzero(groups.table.sum(0) >= FEWEST)
    drawn = dict(zip(enough.tolist(), _draws(parts, statistic, people, groups.table[:, enough]).T, strict=True))
    kinds: dict[str, dict[str, int]] = {}
    for column, (kind, group) in enumerate(groups.names):
        if groups.table[:, column].any():
            kinds.setdefault(kind, {})[group] = column
    found = {}
    for kind, columns in kinds.items():
        each = {}
        for group, column in columns.items():
            rows = groups.table[:, column]
            value, interval = np.nan, Interval(np.nan, np.nan)
            if column in drawn:
                value, interval = float(statistic(parts[rows].sum(0))), exact(rows) or percentiles(drawn[column])
            each[group] = GroupScore(value, interval.low, interval.high, int(rows.sum()))
        found[kind] = _with_gap(each, {group: drawn[column] for group, column in columns.items() if not np.isnan(each[group].value)}, lower)
    return found


def _with_gap(each: Mapping[str, GroupScore], drawn: Mapping[str, np.ndarray], lower: bool) -> Grouping:
    """drawn: {group that has a score: its draws [D]}."""
    if len(drawn) < 2:
        return Grouping(each)
    ascending = sorted(drawn, key=lambda group: each[group].value)
    interval = interval_of_gap(np.array([each[group].value for group in ascending]), np.stack([drawn[group] for group in ascending], axis=1))
    low, high = ascending[0], ascending[-1]
    best, worst = (low, high) if lower else (high, low)
    return Grouping(each, best, worst, each[high].value - each[low].value, interval.low, interval.high)


def _draws(parts: np.ndarray, statistic: Statistic, people: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The statistic of each group in each draw of people, [D, G]; NaN where nobody of a group was drawn, and for a group of one person. table bool [N, G]."""
    if not table.shape[1]:
        return np.zeros((0, 0))
    person = np.unique(people, return_inverse=True)[1].reshape(-1)
    count = int(person.max(initial=-1)) + 1
    sums, there = np.zeros((count, table.shape[1], *parts.shape[1:])), np.zeros((count, table.shape[1]))
    for group, rows in enumerate(table.T):
        np.add.at(sums[:, group], person[rows], parts[rows])
        there[person[rows], group] = 1
    several = there.sum(0) >= 2
    draws, drawn = group_draws(count, DRAWS), []
    while times := list(islice(draws, AT_ONCE)):
        totals = np.tensordot(times, sums, axes=1)
        known = (np.tensordot(times, there, axes=1) > 0) & several
        drawn += [[statistic(total) if good else np.nan for total, good in zip(*of, strict=True)] for of in zip(totals, known, strict=True)]
    return np.array(drawn, np.float64).reshape(-1, table.shape[1])


def _leading_number(name: str) -> float:
    found = re.match(r"\d+", name)
    return int(found[0]) if found else np.inf
