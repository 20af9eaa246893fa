"""What a protocol found, whoever made the arrays: scores by flat names, and how all of them get their intervals."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from polyface import __version__
from polyface.evaluation.report import interval_in_words, known
from polyface.metrics.intervals import Score, exact_interval, group_draws, percentiles, with_spread
from polyface.metrics.verification import Roc

POINTS = 1000
FIRST = 50

Drawn = Callable[[np.ndarray], Mapping[str, float]]
"""weights [N], how often each row counts -> scores by name."""


@dataclass(frozen=True)
class Curve:
    """What a plot shows. kind: roc (FAR, TAR), cmc (rank, share found), errors (error, share of faces with at most so much); x rising and y [n]; unit: of x."""

    kind: str
    x: np.ndarray
    y: np.ndarray
    unit: str = ""


@dataclass(frozen=True)
class Result:
    """scores by name; reasons: for each that is no finite number, why not; notes: what has to stand beside a score; counts: what they were measured on; curves by name.

    Names are flat: `tar@1e-4` at a target, `recall:happy` of one class, `accuracy|women` of one group of faces.
    """

    protocol: str
    scores: Mapping[str, Score]
    counts: Mapping[str, int]
    reasons: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        missing = [name for name, score in self.scores.items() if not math.isfinite(score.value) and not self.reasons.get(name)]
        if missing:
            raise ValueError(f"{self.protocol}: {missing[0]} is {self.scores[missing[0]].value}, and no reason says why")

    def to_json(self, inputs: Mapping[str, str]) -> str:
        """inputs: {what it is: sha256}. `version` is this package's. A refused score has null for its value, and a `reason`; another a `note` where it needs one."""
        document: dict[str, Any] = {
            "protocol": self.protocol,
            "version": __version__,
            "scores": {name: self._entry(name, score) for name, score in self.scores.items()},
            "counts": dict(self.counts),
            "chance": {name: score.chance for name, score in self.scores.items() if score.chance is not None},
            "inputs": dict(inputs),
        }
        return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"

    def _entry(self, name: str, score: Score) -> dict[str, Any]:
        entry: dict[str, Any] = {"value": known(score.value), "low": known(score.low), "high": known(score.high), "n": score.n}
        if entry["value"] is None:
            return entry | {"reason": self.reasons[name]}
        return entry | {"note": self.notes[name]} if self.notes.get(name) else entry

    def rows(self) -> list[dict[str, object]]:
        """A row for each score, for a table."""
        return [
            {
                "score": name,
                "value": known(score.value),
                "95 %": interval_in_words(score.low, score.high),
                "chance": score.chance,
                "n": score.n,
                "note": self.reasons.get(name, "") if not math.isfinite(score.value) else self.notes.get(name, ""),
            }
            for name, score in self.scores.items()
        ]


def curve_of_roc(curve: Roc) -> dict[str, Curve]:
    """As `curve_of_rates`; none where one kind of pair is missing."""
    return {"roc": curve_of_rates(curve.far, curve.tar, curve.impostors)} if curve.genuine and curve.impostors else {}


def curve_of_rates(far: np.ndarray, tar: np.ndarray, impostors: int) -> Curve:
    """far, rising, and tar [n] at observed thresholds, of so many impostor pairs: at most POINTS of them, evenly over the logarithm of FAR."""
    allowed = np.unique(np.concatenate([[0], np.geomspace(1, impostors, POINTS).round()])) / impostors
    chosen = np.searchsorted(far, allowed, side="right") - 1
    chosen = np.unique(chosen[chosen >= 0])
    return Curve("roc", far[chosen], tar[chosen])


def curve_of_errors(errors: np.ndarray, unit: str) -> Curve:
    """errors [N] of faces, infinite for one that was not found: the share with at most so much, at each finite one."""
    known = np.sort(errors[np.isfinite(errors)])
    return Curve("errors", known, np.arange(1, len(known) + 1) / len(errors), unit)


def curve_of_ranks(ranks: np.ndarray, gallery: int) -> Curve:
    """ranks int [N], from 1: the share found among the first k, for k up to FIRST or the gallery's size."""
    first = np.arange(1, min(FIRST, gallery) + 1)
    return Curve("cmc", first.astype(np.float64), np.array([np.mean(ranks <= k) for k in first]))


def row_draws(people: np.ndarray) -> Iterator[np.ndarray]:
    """How often each row counts in each draw, int64 [N]: all rows of one of `people` [N] as often as that person was drawn."""
    who, first = np.unique(people, return_index=True)
    place = np.searchsorted(who, people)
    return (times[place] for times in group_draws(len(first)))


def scored(
    statistic: Drawn,
    rows: int,
    draws: Iterable[np.ndarray],
    counts: Mapping[str, int] | None = None,
    chance: Mapping[str, float] | None = None,
    independent: Mapping[str, int] | None = None,
) -> dict[str, Score]:
    """Statistics of weighted rows with their intervals, from one pass over the draws. counts: {name: n} where that is not all rows.

    independent: {name: how many people (rows) it rests on} of scores that are shares, or means of shares of at least so many: where one is 0 or 1, resampling sees no
    spread, and the exact interval of so many is given. Where it sees none of another score, no interval is.
    """
    counts, chance, independent = counts or {}, chance or {}, independent or {}
    values = statistic(np.ones(rows, np.int64))
    drawn = [statistic(weights) for weights in draws]
    scores = {}
    for name, value in values.items():
        exact = exact_interval(np.array([value]), independent.get(name, 0))
        interval = exact or with_spread(percentiles(each[name] for each in drawn if math.isfinite(each[name])))
        scores[name] = Score(float(value), interval.low, interval.high, counts.get(name, rows), chance.get(name))
    return scores


def by_group(result: Callable[[np.ndarray], Result], groups: Sequence[str] | None, rows: int) -> Result:
    """The result of all rows, and beside it that of each group of them, as `accuracy|women`; of single classes only over all.

    result: indices int [M] -> Result; groups: whose row each is, None for no groups.
    """
    everybody = result(np.arange(rows))
    scores, counts, reasons, notes = dict(everybody.scores), dict(everybody.counts), dict(everybody.reasons), dict(everybody.notes)
    for group in sorted(set(groups or ())):
        part = result(np.flatnonzero(np.array(groups) == group))
        scores |= {f"{name}|{group}": score for name, score in part.scores.items() if ":" not in name}
        counts |= {f"{name}|{group}": count for name, count in part.counts.items()}
        reasons |= {f"{name}|{group}": reason for name, reason in part.reasons.items()}
        notes |= {f"{name}|{group}": note for name, note in part.notes.items()}
    return replace(everybody, scores=scores, counts=counts, reasons=reasons, notes=notes)
