"""What paper A's numbers are worth: intervals over test people, paired differences, verdicts, Shapley shares of features, how alike features are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from polyface.metrics import intervals
from polyface.papers.transfer_effects import DRAWS, holm, two_sided

Verdict = Literal["holds", "fails", "undecidable", "ceiling"]

FINE = 0.002
"""An interval of a difference that is narrower is told with two digits."""
CEILING = 0.97
"""Above this own accuracy of identity, nothing can be said of gains (issue)."""


@dataclass(frozen=True)
class Estimate:
    """A share or a difference of shares, with its 95 % interval over people, and the number of test rows; p of a difference: two-sided. NaN: unknown."""

    value: float
    low: float
    high: float
    n: int
    p: float = float("nan")

    def told(self) -> dict[str, float | int | None]:
        """For JSON."""
        return {name: (None if isinstance(each, float) and not math.isfinite(each) else each) for name, each in asdict(self).items()}


@dataclass(frozen=True)
class Answers:
    """Whether each of some test rows was right, float [n], and whose rows those are, int [n]; rows name them, so that two can be paired."""

    correct: np.ndarray
    people: np.ndarray
    rows: np.ndarray

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.correct)) if len(self.correct) else float("nan")


def joined(parts: Sequence[Answers]) -> Answers:
    """The folds of a cross-validation together."""
    return Answers(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("correct", "people", "rows")))


def accuracy(answers: Answers) -> Estimate:
    """Rows of one person come and go together."""
    correct = np.asarray(answers.correct, float)  # a mean over seeds may lie between 0 and 1
    found = intervals.mean_score(correct.astype(bool) if np.isin(correct, (0, 1)).all() else correct, answers.people)
    return Estimate(found.value, found.low, found.high, found.n)


def difference(first: Answers, second: Answers) -> Estimate:
    """first - second on the same rows, people drawn for both at once. Raises ValueError where the rows are not the same."""
    gaps = gap(first, second).correct
    if not len(gaps):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    sums = np.stack([gaps, np.ones_like(gaps)], axis=1)
    drawn = intervals.drawn_of_sums(sums, lambda total: total[0] / total[1], first.people, DRAWS)
    interval = intervals.percentiles(drawn)
    return Estimate(float(gaps.mean()), interval.low, interval.high, len(gaps), two_sided(drawn))


def gap(first: Answers, second: Answers) -> Answers:
    """first - second row by row, so that two differences can be paired. Raises ValueError where the rows are not the same."""
    if not np.array_equal(first.rows, second.rows):
        raise ValueError("answers of different rows cannot be paired")
    return Answers(np.asarray(first.correct, float) - np.asarray(second.correct, float), first.people, first.rows)


def verdict(estimate: Estimate, own_identity: float | None = None) -> Verdict:
    """Of the claim that a number is above 0. own_identity: accuracy of identity's own network, which tells whether there is room for a gain at all."""
    if own_identity is not None and own_identity > CEILING:
        return "ceiling"
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return "undecidable"
    return "holds" if estimate.low > 0 else "fails" if estimate.high < 0 else "undecidable"


def corrected(estimates: Sequence[Estimate], verdicts: Sequence[Verdict]) -> list[tuple[Verdict, float]]:
    """The verdicts of comparisons that stand together, and p of each by Holm over all of them that have one: what holds or fails does so below 5 % only. NaN beside those
    that nothing can be said of."""
    asked = [at for at, each in enumerate(verdicts) if each != "ceiling" and math.isfinite(estimates[at].low)]
    made = [(each, float("nan")) for each in verdicts]
    for at, p in zip(asked, holm([estimates[at].p for at in asked]), strict=True):
        made[at] = (verdicts[at] if p < 1 - intervals.LEVEL else "undecidable", p)
    return made


def all_hold(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a claim about every cell."""
    if not verdicts:
        return "undecidable"
    return next((each for each in ("fails", "ceiling", "undecidable") if each in verdicts), "holds")  # type: ignore[return-value]


def one_holds(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a claim that there is such a cell."""
    return next((each for each in ("holds", "ceiling", "undecidable") if each in verdicts), "fails" if verdicts else "undecidable")  # type: ignore[return-value]


def constant(labels: np.ndarray, train: np.ndarray, test: np.ndarray, people: np.ndarray) -> Answers:
    """The answer that is the most frequent in training, given to every labelled test row: who is drawn changes its accuracy too, so that it is compared as others are.

    labels, people int [R]; train, test: rows.
    """
    seen, rows = labels[train], test[labels[test] >= 0]
    seen = seen[seen >= 0]
    most = np.bincount(seen).argmax() if len(seen) else -1
    return Answers((labels[rows] == most).astype(np.float32), people[rows], rows)


def shapley(worth: Mapping[frozenset[str], float], sources: Sequence[str]) -> dict[str, float]:
    """Each feature's share of what all of them reach together: the mean over all orders of what it adds. worth of every subset, the empty one's is the constant answer's.

    The shares sum to worth(all) - worth(none).
    """
    count = len(sources)
    shares = {}
    for source in sources:
        others = [other for other in sources if other != source]
        total = 0.0
        for size in range(count):
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for chosen in combinations(others, size):
                total += weight * (worth[frozenset((*chosen, source))] - worth[frozenset(chosen)])
        shares[source] = total
    return shares


def cka(first: np.ndarray, second: np.ndarray) -> float:
    """Linear centred kernel alignment of features [n, p] and [n, q] of the same rows (Kornblith et al. 2019, eq. 4 with linear kernels): 0 nothing alike, 1 the same but
    for rotation and scale. NaN where one never changes."""
    x, y = (np.asarray(each, np.float64) - np.mean(each, axis=0, dtype=np.float64) for each in (first, second))
    norms = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / norms) if norms > 0 else float("nan")


def percent(estimate: Estimate | Mapping[str, Any] | None, sign: bool = False) -> str:
    """61.2 (58.0 to 64.1), or +3.2 (...) for a difference; -0.04 (-0.07 to -0.01) where one digit would hide on which side of 0 it lies."""
    if estimate is None:
        return ""
    told = estimate.told() if isinstance(estimate, Estimate) else estimate
    value, low, high = told["value"], told["low"], told["high"]
    if value is None:
        return ""
    if low is None or high is None:
        return f"{100 * value:{'+.1f' if sign else '.1f'}}"
    form = "+.2f" if sign and high - low < FINE else "+.1f" if sign else ".1f"
    return f"{100 * value:{form}} ({100 * low:{form}} to {100 * high:{form}})"
