"""What runs say about each other: paired differences, their intervals over seeds and test subjects together, Holm over a table, and verdicts. Arrays in, numbers out.

A run leaves an `Outcome` for every question and split: one number for each face, on the same faces in the same order as every other run. Two runs are therefore compared
face by face, which takes away all that is hard about a face; and faces of one person are drawn together, because they are not independent.

Seeds are drawn with the people, but not from the three that there are: without any effect those agree one time in four, and then no resampling of them ever comes to the
other side of 0. How far seeds scatter is estimated from all runs of a table that were repeated, by question, and a draw adds Student's t of as many degrees of freedom.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from polyface.errors import RequestError
from polyface.metrics.intervals import LEVEL, group_draws, percentiles
from polyface.papers.results import read_done

DRAWS = 2000
FEWEST = 20
"""People below whom an interval is too narrow to be believed (`metrics/intervals.py`)."""
Split = Literal["validation", "test"]
Verdict = Literal["gains", "loses", "undecided", "one seed", "missing"]


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A question on a split. values [N], in the metric's unit; people [N]: a number for whose face it is; sha256: of the list of their keys."""

    dataset: str
    metric: str
    higher_is_better: bool
    sha256: str
    people: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values)) if self.values else np.nan


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is kept of a run. pictures: how many it saw of each set, repeats counted; outcomes by question."""

    run: str
    seed: int
    steps: int
    batch: int
    seconds: float
    scoring_seconds: float
    pictures: dict[str, int]
    validation: dict[str, Outcome]
    test: dict[str, Outcome]


def read_result(path: Path) -> Result | None:
    """None where the run is not done. Raises RequestError for a file that is none of ours."""
    return read_done(path, Result, "run")


@dataclass(frozen=True)
class Contrast:
    """One comparison: the score of a question in the runs `given`, less that in the runs `without`, one of each for every seed. words: what was given."""

    question: str
    words: str
    counting: str
    given: tuple[str, ...]
    without: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True)
class Effect:
    """Of n faces of so many people: the mean difference, above 0 a gain, with its interval; the spread (standard deviation) of its draws; each seed's own; two-sided p.

    With one seed the interval knows of test subjects only: another start might have ended elsewhere.
    """

    value: float
    low: float
    high: float
    spread: float
    p: float
    seeds: tuple[float, ...]
    n: int
    people: int


@dataclass(frozen=True)
class Found:
    """A contrast as it was measured: no effect where runs are missing, which are named. adjusted: p by Holm, over the table it was judged in."""

    contrast: Contrast
    effect: Effect | None = None
    metric: str = ""
    dataset: str = ""
    missing: tuple[str, ...] = ()
    adjusted: float = np.nan
    verdict: Verdict = "missing"


def measure(contrasts: Sequence[Contrast], results: Mapping[str, Result], split: Split) -> list[Found]:
    """Every contrast of a table on a split. Raises RequestError where two runs were scored on different faces."""
    scatter = seed_scatter(contrasts, results, split)
    return [_measured(contrast, results, split, scatter.get(contrast.question)) for contrast in contrasts]


@dataclass(frozen=True)
class Scatter:
    """The standard deviation of a run's score over seeds, and on how many degrees of freedom it rests."""

    deviation: float
    freedom: int


def seed_scatter(contrasts: Sequence[Contrast], results: Mapping[str, Result], split: Split) -> dict[str, Scatter]:
    """By question, pooled over all runs of some contrasts that were done with several seeds; none for a question that no run was repeated for."""
    every = {(contrast.question, runs) for contrast in contrasts for runs in (contrast.given, contrast.without)}
    repeated = [(question, runs) for question, runs in every if not any(question == other and set(runs) < set(more) for other, more in every)]  # seeds count once
    means: dict[str, list[list[float]]] = {}
    for question, runs in sorted(repeated):
        found = [getattr(results[run], split)[question].mean for run in runs if run in results and question in getattr(results[run], split)]
        means.setdefault(question, []).append(found)
    return {question: scatter for question, each in means.items() if (scatter := pooled_scatter(each)) is not None}


def pooled_scatter(repeated: Iterable[Sequence[float]]) -> Scatter | None:
    """Of scores that differ by their seeds alone, list by list; None where no list holds two."""
    lists = [np.array(scores, float) for scores in repeated if len(scores) > 1]
    freedom = sum(len(scores) - 1 for scores in lists)
    return Scatter(float(np.sqrt(sum(float(np.square(scores - scores.mean()).sum()) for scores in lists) / freedom)), freedom) if lists else None


def _measured(contrast: Contrast, results: Mapping[str, Result], split: Split, scatter: Scatter | None) -> Found:
    runs = (*contrast.given, *contrast.without)
    outcomes = {run: getattr(results[run], split)[contrast.question] for run in runs if run in results and contrast.question in getattr(results[run], split)}
    missing = tuple(run for run in runs if run not in outcomes)
    if missing:
        return Found(contrast, missing=missing)
    first = outcomes[runs[0]]
    for run in runs:
        if outcomes[run].sha256 != first.sha256:
            raise RequestError(f"{run} and {runs[0]} were scored on different faces of {first.dataset} ({contrast.question}); remove one and do it again")
    found = effect([outcomes[run] for run in contrast.given], [outcomes[run] for run in contrast.without], scatter)
    return Found(contrast, found, first.metric, first.dataset)


def effect(given: Sequence[Outcome], without: Sequence[Outcome], scatter: Scatter | None = None) -> Effect:
    """Outcomes of the same faces, one of each kind for every seed; scatter: how far a run's score is off by its seed alone, where that is known."""
    sign = 1.0 if given[0].higher_is_better else -1.0
    differences = sign * np.stack([np.subtract(a.values, b.values) for a, b in zip(given, without, strict=True)])
    person = np.unique(np.array(given[0].people, np.int64), return_inverse=True)[1]
    sums, faces = np.bincount(person, differences.mean(0)), np.bincount(person)
    times = _times_drawn(len(faces))
    drawn = times @ sums / (times @ faces)
    if scatter is not None and len(given) > 1:
        drawn = off_by_seeds(drawn, scatter, len(given))
    interval = percentiles(drawn, LEVEL)
    return Effect(
        value=float(differences.mean()),
        low=interval.low,
        high=interval.high,
        spread=float(drawn.std()) if len(drawn) else np.nan,
        p=two_sided(drawn),
        seeds=tuple(float(row.mean()) for row in differences),
        n=differences.shape[1],
        people=len(faces),
    )


@lru_cache(maxsize=16)
def _times_drawn(people: int) -> np.ndarray:
    """How often each person is drawn, [DRAWS, people], the same for all comparisons of as many people; no draws for fewer than two."""
    return np.array(list(group_draws(people, DRAWS)), np.float32).reshape(-1, people)


def off_by_seeds(drawn: np.ndarray, scatter: Scatter, seeds: int) -> np.ndarray:
    """Draws of a difference of two means of so many seeds, each of them off by how far seeds scatter besides: by Student's t of as many degrees of freedom."""
    student = np.random.default_rng(0).standard_t(scatter.freedom, len(drawn))
    return drawn + student * scatter.deviation * np.sqrt(2 / seeds)


def two_sided(drawn: np.ndarray, least: float = 0.0) -> float:
    """Twice the share of draws on the smaller side of `least`, never 0: so many draws cannot know more. 1 where nothing could be drawn."""
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return 1.0
    tail = min(int((known <= least).sum()), int((known >= least).sum()))
    return min(1.0, 2 * (tail + 1) / (len(known) + 1))


def holm(ps: Sequence[float]) -> list[float]:
    """p of each test adjusted for how many there are (Holm 1979): the k-th smallest of m times m - k + 1, never below the one before it, at most 1."""
    order = np.argsort(ps, kind="stable")
    scaled = np.array(ps, float)[order] * np.arange(len(ps), 0, -1)
    adjusted = np.empty(len(ps))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if len(ps) else scaled
    return adjusted.tolist()


def judge(found: Sequence[Found], seeds: int) -> list[Found]:
    """The verdicts of one table. A verdict needs at least so many seeds, two in any case, which all agree; FEWEST people; an interval that leaves 0 out; and p by Holm
    below 5 %."""
    measured = [at for at, each in enumerate(found) if each.effect is not None]
    adjusted = dict(zip(measured, holm([found[at].effect.p for at in measured]), strict=True))  # type: ignore[union-attr]
    return [replace(each, adjusted=adjusted.get(at, np.nan), verdict=_verdict(each.effect, adjusted.get(at, np.nan), max(seeds, 2))) for at, each in enumerate(found)]


def _verdict(found: Effect | None, adjusted: float, seeds: int) -> Verdict:
    if found is None:
        return "missing"
    if len(found.seeds) == 1:
        return "one seed"
    if len(found.seeds) < seeds or found.people < FEWEST:
        return "undecided"
    if adjusted < 1 - LEVEL and found.low > 0 and min(found.seeds) > 0:
        return "gains"
    if adjusted < 1 - LEVEL and found.high < 0 and max(found.seeds) < 0:
        return "loses"
    return "undecided"


def sureness(found: Effect | None) -> float:
    """The effect in spreads of its draws: what cells are coloured by, and pairs chosen. 0 where it is not known."""
    return found.value / found.spread if found is not None and found.spread > 0 else 0.0


def strongest(found: Iterable[Found], count: int) -> list[Found]:
    """The contrasts of a left-out group that are surest, of each (question, group) the surer way of counting: what further seeds are spent on."""
    best: dict[tuple[str, str], Found] = {}
    for each in sorted(found, key=lambda each: -abs(sureness(each.effect))):
        if each.effect is not None and each.contrast.group:
            best.setdefault((each.contrast.question, each.contrast.group), each)
    return list(best.values())[:count]
