"""One measure of paper B's rows on people drawn anew, the same people for all rows: scores with intervals, and paired differences.

Rows are compared face by face, which takes away all that is hard about a face; faces of one person are drawn together. A pooled measure (an overall F) is a ratio of
sums, drawn as such.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from polyface.metrics.intervals import Score, group_draws, percentiles
from polyface.papers.ifan_runs import MeasureResult

DRAWS = 20_000
"""So many that p by Holm can fall below 5 % in a table of some hundred comparisons."""
AT_ONCE = 1000
CONSTANT = "the constant answer"
"""The column of a sample that answers the same for every face (`ifan_constant.py`)."""


@dataclass(frozen=True)
class Sample:
    """One measure of all columns (rows, or passes of a row, and CONSTANT where it is known) that were scored on the same faces. scores: as they are; drawn float32
    [draws]: on people drawn anew, the same for all columns, empty for fewer than two people; apart: columns scored on other faces; about: the measure of one of them."""

    scores: Mapping[str, float]
    drawn: Mapping[str, np.ndarray] = field(repr=False)
    people: int
    apart: tuple[str, ...]
    about: MeasureResult = field(repr=False)

    @property
    def n(self) -> int:
        return len(self.about.people)

    def score(self, columns: Sequence[str]) -> Score:
        """The mean over columns with its interval over faces."""
        interval = percentiles(np.mean([self.drawn[column] for column in columns], axis=0))
        return Score(float(np.mean([self.scores[column] for column in columns])), interval.low, interval.high, self.n)

    def turned(self, given: str, without: str) -> tuple[float, np.ndarray]:
        """The difference of two columns, above 0 a gain, and its draws."""
        sign = 1.0 if self.about.higher_is_better else -1.0
        return sign * (self.scores[given] - self.scores[without]), sign * (self.drawn[given] - self.drawn[without])

    def beats_constant(self, columns: Sequence[str]) -> bool | None:
        """Whether the mean of some columns is better than the constant answer by the whole interval over faces; None where that is not known."""
        if CONSTANT not in self.scores:
            return None
        return percentiles(np.mean([self.turned(column, CONSTANT)[1] for column in columns], axis=0)).low > 0


def sampled(columns: Mapping[str, tuple[MeasureResult, int]], draws: int = DRAWS) -> Sample | None:
    """{column: (measure, index of the pass)} -> those of the same faces as most, on people drawn anew; None for no columns and for no faces."""
    faces = Counter(measure.sha256 for measure, _ in columns.values())
    if not faces:
        return None
    sha256 = faces.most_common(1)[0][0]
    kept = {column: each for column, each in columns.items() if each[0].sha256 == sha256}
    about = next(iter(kept.values()))[0]
    if not about.people:
        return None
    constant = next((same for measure, _ in kept.values() if (same := measure.of_constant()) is not None), None)
    if constant is not None:
        kept[CONSTANT] = constant, -1
    person = np.unique(np.array(about.people, np.int64), return_inverse=True)[1].reshape(-1)
    people = int(person.max()) + 1
    over = np.stack([_by_person(person, measure.values[at]) for measure, at in kept.values()], axis=1)
    under = np.stack([_by_person(person, measure.of[at]) / 100 if measure.of else np.bincount(person).astype(float) for measure, at in kept.values()], axis=1)
    parts = [_ratio(times @ over, times @ under).astype(np.float32) for times in _in_parts(group_draws(people, draws))]
    drawn = np.concatenate(parts) if parts else np.zeros((0, len(kept)), np.float32)
    scores = {column: measure.score(at) for column, (measure, at) in kept.items()}
    return Sample(scores, {column: drawn[:, number] for number, column in enumerate(kept)}, people, tuple(column for column in columns if column not in kept), about)


def _by_person(person: np.ndarray, values: Sequence[float]) -> np.ndarray:
    return np.bincount(person, np.array(values, np.float64))


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    return np.divide(over, under, out=np.full_like(over, np.nan), where=under > 0)


def _in_parts(draws: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    """[AT_ONCE, people] at a time: all at once would be gigabytes."""
    coming = iter(draws)
    while part := list(islice(coming, AT_ONCE)):
        yield np.array(part, np.float64)
