"""How far a score could be off, had other people been photographed: percentile bootstrap over groups of rows.

Rows of one group (the photographs of one person) come and go together, because they are not independent; rows without a known person stand
alone (`groups_of`). With fewer than two groups nothing is known about the spread, and both ends are NaN. Intervals from fewer than about 20
groups are too narrow.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from polyface.metrics.checks import require_finite, require_rows

DRAWS = 1000
LEVEL = 0.95
SAME = 1e-12
"""Of their size, what numbers differ by that differ by rounding only."""


@dataclass(frozen=True)
class Interval:
    """Both ends NaN: not known."""

    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float] | tuple[None, None]:
        """As a card has them: None where they are not known."""
        return (self.low, self.high) if np.isfinite([self.low, self.high]).all() else (None, None)


@dataclass(frozen=True)
class Score:
    """A score as it is reported: with its interval, the number of rows it was measured on (0: value NaN), a blind answer's score."""

    value: float
    low: float
    high: float
    n: int
    chance: float | None = None


def mean_score(values: np.ndarray, groups: np.ndarray, chance: float | None = None, seed: int = 0) -> Score:
    """The mean of values [N] with its interval; NaN throughout when there are none."""
    interval = interval_of_mean(values, groups, seed=seed)
    return Score(float(np.mean(values)) if len(values) else np.nan, interval.low, interval.high, len(values), chance)


def score(statistic: Callable[[np.ndarray], float], groups: np.ndarray, chance: float | None = None, draws: int = DRAWS, seed: int = 0) -> Score:
    """Any statistic of row indices with its interval; NaN throughout when there are no rows."""
    n = len(groups)
    interval = bootstrap(statistic, groups, draws, seed=seed)
    return Score(float(statistic(np.arange(n))) if n else np.nan, interval.low, interval.high, n, chance)


def bootstrap(statistic: Callable[[np.ndarray], float], groups: np.ndarray, draws: int = DRAWS, level: float = LEVEL, seed: int = 0) -> Interval:
    """The interval of `statistic(indices)`, a number from row indices int64 [M] (with repeats, in ascending order).

    groups [N]: whose row it is.

    Draws in which the statistic is NaN (a rare class was not drawn) are left out.
    """
    group_of_row, count = _numbered(groups)
    rows = np.arange(len(group_of_row))
    return percentiles((statistic(np.repeat(rows, times[group_of_row])) for times in group_draws(count, draws, seed)), level)


def bootstrap_of_sums(
    parts: np.ndarray, statistic: Callable[[np.ndarray], float], groups: np.ndarray, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> Interval:
    """As `bootstrap`, for a statistic of the column sums of parts [N, ...]: confusion matrices of pictures, counts of hits. Much faster:
    rows are summed once per group.
    """
    return percentiles(drawn_of_sums(parts, statistic, groups, draws, seed), level)


def drawn_of_sums(parts: np.ndarray, statistic: Callable[[np.ndarray], float], groups: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """The statistic of every draw of `bootstrap_of_sums`, float64 [draws]; none for fewer than two groups."""
    require_rows(parts=parts, groups=groups)
    group_of_row, count = _numbered(groups)
    sums = np.zeros((count, *parts.shape[1:]))
    np.add.at(sums, group_of_row, parts)
    return np.array([statistic(np.tensordot(times, sums, axes=1)) for times in group_draws(count, draws, seed)])


def interval_of_mean(values: np.ndarray, groups: np.ndarray, draws: int = DRAWS, level: float = LEVEL, seed: int = 0) -> Interval:
    """The interval of the mean of values [N].

    Where every value of a share, values bool, is 0 or every one is 1, resampling sees no spread at all; the exact (Clopper-Pearson) interval is given then,
    counting each group once. Where it sees none of other values, the interval is not known.
    """
    share, values = np.asarray(values).dtype == bool, np.asarray(values, np.float64)
    require_rows(values=values, groups=groups)
    require_finite(values=values)
    exact = exact_interval(values, _numbered(groups)[1], level) if share else None
    return exact or with_spread(bootstrap_of_sums(np.stack([values, np.ones_like(values)], axis=1), lambda sums: sums[0] / sums[1], groups, draws, level, seed))


def exact_interval(values: np.ndarray, count: int, level: float = LEVEL) -> Interval | None:
    """That of the mean of values [N] of `count` groups, where every value is 0 or every value is 1; None where resampling says it, or nothing does."""
    if count >= 2 and (values == 0).all():
        return Interval(0.0, 1 - ((1 - level) / 2) ** (1 / count))
    if count >= 2 and (values == 1).all():
        return Interval(((1 - level) / 2) ** (1 / count), 1.0)
    return None


def groups_of(subjects: Sequence[Hashable | None]) -> np.ndarray:
    """Numbers [N] for the subjects of rows; a row whose subject is None stands alone."""
    numbers: dict[object, int] = {}
    keys = (("row", row) if subject is None else ("subject", subject) for row, subject in enumerate(subjects))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def group_draws(count: int, draws: int = DRAWS, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each of `count` groups is drawn, int64 [count], once per draw; none at all for fewer than two groups."""
    random = np.random.default_rng(seed)
    for _ in range(draws if count >= 2 else 0):
        yield np.bincount(random.integers(0, count, count), minlength=count)


def percentiles(values: Iterable[float], level: float = LEVEL) -> Interval:
    """The middle `level` of the values that are not NaN."""
    drawn = np.fromiter(values, np.float64)
    known = drawn[~np.isnan(drawn)]
    if not known.size:
        return Interval(np.nan, np.nan)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def with_spread(interval: Interval) -> Interval:
    """The same, not known where it has no width: resampling saw no spread, as of a perfect answer, or of a score that rests on one group, which is no certainty."""
    return interval if interval.high - interval.low > SAME * abs(interval.high) else Interval(np.nan, np.nan)


def _numbered(groups: np.ndarray) -> tuple[np.ndarray, int]:
    names, number = np.unique(np.asarray(groups), return_inverse=True)
    return number.reshape(-1), len(names)
