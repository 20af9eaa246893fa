"""What rows of paper B's ablation say about each other: scores with intervals, and paired differences with intervals, Holm over a table, and verdicts.

Rows are compared face by face (`ifan_samples.py`). Three seeds are drawn with the faces, but not from the three that there are (`transfer_effects.py` says why): how
far a row's score is off by its seed alone is estimated, by measure, from all rows that were repeated, and a draw adds Student's t of as many degrees of freedom. So a
row with one seed has an interval that knows of seeds too, wider than that of three.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from polyface.metrics.intervals import LEVEL, Interval, Score, percentiles
from polyface.papers.ifan_config import IfanRecipe
from polyface.papers.ifan_faces import TRUE_BOXES
from polyface.papers.ifan_rows import Row, rows_of
from polyface.papers.ifan_runs import MeasureResult, RowResult
from polyface.papers.ifan_samples import CONSTANT, DRAWS, Sample, sampled
from polyface.papers.transfer_effects import FEWEST, Scatter, holm, off_by_seeds, pooled_scatter, two_sided

ONE_NETWORK = Scatter(0.0, 1)
"""Of two readings of the same weights."""
HEADLINES = ("overall F, union", "NME", "accuracy", "accuracy of attributes")
"""Of a task on a set, the one measure that comparisons are made by: the first of these, by the detector's boxes where there are two kinds."""

NEITHER = "neither beats the constant answer"

Verdict = Literal["holds", "fails", "undecidable", "not run"]


@dataclass(frozen=True)
class Comparison:
    """The claim that rows named `given` (of every seed) score more than `least` points above those named `without`. on: the set that is asked where it has the task,
    else the first of the recipe's tests; every: on every set, each by itself; besides: asked, but not claimed."""

    words: str
    given: str
    without: str
    on: str = ""
    every: bool = False
    least: float = 0.0
    besides: bool = False

    @property
    def table(self) -> tuple[str, bool]:
        """Comparisons of one table share Holm: drawn people by themselves, and what is claimed apart from what is only asked."""
        return self.on, self.besides


@dataclass(frozen=True)
class Effect:
    """Points by which one row is better than another, in the measure's unit: with the interval over faces and seeds, and that over faces alone; p, two-sided, of no more
    and no less than what was claimed; each seed's own; of n faces of so many people. scatter: standard deviation of a row over seeds, NaN where no row was repeated.
    empty: neither row beats the constant answer, so that there is nothing to compare."""

    value: float
    low: float
    high: float
    faces: Interval
    p: float
    seeds: tuple[float, ...]
    n: int
    people: int
    scatter: float
    empty: bool = False


@dataclass(frozen=True)
class Found:
    """A comparison on a measure ("" where nothing is known of it yet). missing: names of rows that are not done, or words why two cannot be paired; why: of an
    undecidable one."""

    comparison: Comparison
    task: str
    measure: str
    effect: Effect | None = None
    missing: tuple[str, ...] = ()
    adjusted: float = math.nan
    verdict: Verdict = "not run"
    why: str = ""


# The rows of a recipe, as far as they are done


@dataclass
class Board:
    """The rows that a recipe plans, and the results of those that are done. What is drawn is kept, measure by measure."""

    config: IfanRecipe
    results: Mapping[str, RowResult]
    draws: int = DRAWS
    _samples: dict[str, Sample | None] = field(default_factory=dict, repr=False)

    @cached_property
    def plan(self) -> tuple[Row, ...]:
        return tuple(rows_of(self.config))

    @cached_property
    def names(self) -> dict[str, dict[int, str]]:
        """{name of a row without its seed: {seed: name}}, in the order of the plan."""
        found: dict[str, dict[int, str]] = {}
        for row in self.plan:
            found.setdefault(base(row), {})[row.seed] = row.name
        return found

    @property
    def missing(self) -> list[Row]:
        return [row for row in self.plan if row.name not in self.results]

    def planned(self, name: str) -> Row:
        """The first row of a name without its seed."""
        return next(row for row in self.plan if base(row) == name)

    def done(self, name: str) -> list[RowResult]:
        """The seeds of a row that are done."""
        return [self.results[each] for each in self.names.get(name, {}).values() if each in self.results]

    def measures(self, task: str, on: str = "") -> list[str]:
        """Headline measures of a task: on the set `on` first, then in the order of the recipe's tests."""
        order = [Path(test.set).stem for test in self.config.tests]
        known = {key: measure for result in self.results.values() for key, measure in result.scores.items() if measure.task == task and measure.people}
        headlines: dict[str, str] = {}
        for metric in (*HEADLINES, *(metric + TRUE_BOXES for metric in HEADLINES)):
            for key, measure in known.items():
                if measure.metric == metric:
                    headlines.setdefault(measure.dataset, key)
        places = {name: order.index(name) if name in order else len(order) for name in headlines}
        return [headlines[name] for name in sorted(headlines, key=lambda name: (name != on, places[name]))]

    def about(self, measure: str) -> MeasureResult:
        return next(result.scores[measure] for result in self.results.values() if measure in result.scores)

    def sample(self, measure: str) -> Sample | None:
        if measure not in self._samples:
            columns = {row.name: self.results[row.name] for row in self.plan if row.name in self.results}
            self._samples[measure] = sampled({name: (row.scores[measure], -1) for name, row in columns.items() if measure in row.scores}, self.draws)
        return self._samples[measure]

    def score(self, rows: Sequence[str], measure: str) -> Score | None:
        """The mean of some rows, such as the seeds of one. Those that were scored on other faces than most are sampled by themselves."""
        sample, columns = self._columns(rows, measure)
        return sample.score(columns) if sample is not None and columns else None

    def constant(self, rows: Sequence[str], measure: str) -> Score | None:
        """What the constant answer scores on the faces of some rows; None where it is not known."""
        sample, columns = self._columns(rows, measure)
        return sample.score([CONSTANT]) if sample is not None and columns and CONSTANT in sample.scores else None

    def beats_constant(self, rows: Sequence[str], measure: str) -> bool | None:
        """Whether the mean of some rows is better than the constant answer by an interval over faces; None where that is not known."""
        sample, columns = self._columns(rows, measure)
        return sample.beats_constant(columns) if sample is not None and columns else None

    def _columns(self, rows: Sequence[str], measure: str) -> tuple[Sample | None, list[str]]:
        sample = self.sample(measure)
        if sample is None or not any(name in sample.scores for name in rows):
            alone = {name: (self.results[name].scores[measure], -1) for name in rows if name in self.results and measure in self.results[name].scores}
            key = f"{measure} of {', '.join(alone)}"
            if key not in self._samples:
                self._samples[key] = sampled(alone, self.draws)
            sample = self._samples[key]
        return sample, [name for name in rows if sample is not None and name in sample.scores]

    def scatter(self, measure: str) -> Scatter | None:
        """How far a row's score is off by its seed alone, pooled over all rows that were repeated. Where none was, the largest of the same metric on
        other sets stands in; None where there is none either."""
        own = self._repeated(measure)
        if own is not None:
            return own
        metric = self.about(measure).metric
        others = {key for result in self.results.values() for key, each in result.scores.items() if each.metric == metric and key != measure}
        return max((each for each in map(self._repeated, sorted(others)) if each is not None), key=lambda each: each.deviation, default=None)

    def is_one_network(self, given: str, without: str) -> bool:
        """Whether a row is another one, of which nothing was trained further that answers the same tasks: what seeds do is then in both alike."""
        rows = self.planned(given), self.planned(without)
        return any(row.start == other.name and (not row.trains or row.plug == "frozen") for row, other in (rows, rows[::-1]))

    def _repeated(self, measure: str) -> Scatter | None:
        sample = self.sample(measure)
        return None if sample is None else pooled_scatter([sample.scores[name] for name in seeds.values() if name in sample.scores] for seeds in self.names.values())


def base(row: Row) -> str:
    """Its name without its seed."""
    return row.name.removesuffix(f"-seed{row.seed}")


# Comparisons


def judged(board: Board, comparisons: Iterable[Comparison]) -> list[Found]:
    """Every comparison on each of its measures, with Holm over all of its table (`Comparison.table`) that could be measured, and verdicts."""
    found = [each for comparison in comparisons for each in _measured(board, comparison)]
    for table in dict.fromkeys(each.comparison.table for each in found):
        effects = [(at, each.effect) for at, each in enumerate(found) if each.effect is not None and each.comparison.table == table]
        for (at, effect), adjusted in zip(effects, holm([effect.p for _, effect in effects]), strict=True):
            seeds = [seed for seed in board.names[found[at].comparison.given] if seed in board.names[found[at].comparison.without]]
            verdict, why = decide(effect, adjusted, found[at].comparison.least, len(seeds))
            found[at] = replace(found[at], adjusted=adjusted, verdict=verdict, why=why)
    return found


def decide(effect: Effect, adjusted: float, least: float, seeds: int) -> tuple[Verdict, str]:
    """A verdict needs so many seeds, which all agree; FEWEST people; a row that beats the constant answer; a scatter of seeds that is known; an interval that leaves
    `least` out; and p by Holm below 5 %."""
    if effect.people < FEWEST:
        return "undecidable", f"of {effect.people} people, at least {FEWEST} are needed"
    if effect.empty:
        return "undecidable", NEITHER
    if len(effect.seeds) < seeds:
        return "undecidable", f"{len(effect.seeds)} of {seeds} seeds are done"
    if math.isnan(effect.scatter):
        return "undecidable", "no row was repeated, so that nobody knows how far seeds scatter"
    if effect.low <= least <= effect.high:
        return "undecidable", f"the interval holds {least:g}"
    if min(effect.seeds) <= least <= max(effect.seeds):
        return "undecidable", "seeds disagree"
    if adjusted >= 1 - LEVEL:
        return "undecidable", f"p by Holm is {adjusted:.2g}"
    return ("holds", "") if effect.low > least else ("fails", "")


def _measured(board: Board, comparison: Comparison) -> list[Found]:
    """On each of its measures; none where the recipe does not plan both rows."""
    if comparison.given not in board.names or comparison.without not in board.names:
        return []
    found = []
    for task in _tasks(board, comparison):
        known = board.measures(task, comparison.on)
        shared = [measure for measure in known if all(_has(board, name, measure) for name in (comparison.given, comparison.without))]
        for measure in (shared or known[:1] or [""]) if comparison.every else [*shared, *known, ""][:1]:
            found.append(_compared(board, comparison, task, measure))
    return found


def _tasks(board: Board, comparison: Comparison) -> list[str]:
    """Those of the recipe that both rows have."""
    rows = [board.planned(name) for name in (comparison.given, comparison.without)]
    return [task for task in board.config.tasks if all(row.tasks is None or task in row.tasks for row in rows)]


def _has(board: Board, name: str, measure: str) -> bool:
    return any(measure in result.scores for result in board.done(name))


def _compared(board: Board, comparison: Comparison, task: str, measure: str) -> Found:
    given, without = board.names[comparison.given], board.names[comparison.without]
    pairs = [(name, without[seed]) for seed, name in given.items() if seed in without]
    missing = tuple(dict.fromkeys(name for pair in pairs for name in pair if name not in board.results))
    sample = board.sample(measure) if measure else None
    whole = [pair for pair in pairs if sample is not None and all(name in sample.scores for name in pair)]
    if sample is None or not whole:
        names = [name for pair in pairs for name in pair if name in board.results]
        apart = [f"{name} was scored on other faces" for name in names if sample is not None and name in sample.apart]
        return Found(comparison, task, measure, missing=(*apart, *missing) or ("no measure in common",))
    scatter = ONE_NETWORK if board.is_one_network(comparison.given, comparison.without) else board.scatter(measure)
    return Found(comparison, task, measure, effect_of(sample, whole, scatter, comparison.least), missing)


def effect_of(sample: Sample, pairs: Sequence[tuple[str, str]], scatter: Scatter | None = None, least: float = 0.0) -> Effect:
    """Of columns (given, without), one pair for every seed."""
    turned = [sample.turned(*pair) for pair in pairs]
    faces = np.mean([draws for _, draws in turned], axis=0)
    drawn = faces if scatter is None else off_by_seeds(faces, scatter, len(pairs))
    interval = percentiles(drawn)
    return Effect(
        value=float(np.mean([value for value, _ in turned])),
        low=interval.low,
        high=interval.high,
        faces=percentiles(faces),
        p=two_sided(drawn, least),
        seeds=tuple(value for value, _ in turned),
        n=sample.n,
        people=sample.people,
        scatter=scatter.deviation if scatter is not None else math.nan,
        empty=[sample.beats_constant(columns) for columns in zip(*pairs, strict=True)] == [False, False],
    )
