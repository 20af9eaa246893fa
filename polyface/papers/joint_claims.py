"""What paper C claims, its own numbers, and what the rows say: differences of rows on the same trials, pairs and pictures, with intervals over people.

The claim counts as shown only where the joint network beats the one whose attributes were shuffled between people: labels that are the same on all pictures of a person
help to tell people apart whatever they say, so that beating identity alone may be mere regularisation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from polyface.papers import fusion_statistics as statistics
from polyface.papers.fusion_statistics import Answers, Estimate, Verdict
from polyface.papers.joint_config import JointRecipe
from polyface.papers.joint_runs import BEST, best_level, rows_of
from polyface.papers.joint_scores import ARRAYS, REAL, SYNTHETIC, RowResult

RANK1, TAR = 77.74, 79.24
"""Wang et al. 2017, abstract: MegaFace with FaceScrub's probes, a million distractors, small protocol: rank 1, and TAR at FAR 1e-6, in %."""
RECOGNITION, ATTRIBUTES = "recognition", "attributes"
CLAIMS = {
    RECOGNITION: "Learning attributes too makes a network better at telling people apart whom it never saw.",
    ATTRIBUTES: "Learning who it is too makes a network better at attributes.",
}


@dataclass(frozen=True)
class Measure:
    """words: for a person; array: its name in arrays.npz; people: whose each entry is."""

    words: str
    array: str
    people: str

    def of(self, arrays: Mapping[str, np.ndarray]) -> Answers | None:
        if self.array not in arrays:
            return None
        found = arrays[self.array]
        right = (found <= 1).astype(float) if self.array.startswith("trials ") else found.astype(float)
        people = np.unique(arrays[self.people], return_inverse=True)[1].reshape(-1)
        return Answers(right, people, np.arange(len(right)))


def rank1(kind: str, size: str) -> Measure:
    return Measure(f"rank 1 among {int(size):,} {kind} distractors", f"trials {kind} {size}", "trials people")


def tar(kind: str, size: str) -> Measure:
    return Measure(f"TAR at FAR 1e-6 among {int(size):,} {kind} distractors", f"accepted {kind} {size}", "trials people")


PAIRS = Measure("pairs, accuracy over folds", "pairs", "pairs people")
PICTURES = Measure("attributes, accuracy", "attributes", "attributes people")


@dataclass(frozen=True)
class Found:
    """given - without on one measure; seeds: each seed's own difference; verdict over people and seeds."""

    claim: str
    given: str
    without: str
    measure: Measure
    estimate: Estimate
    seeds: tuple[float, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Judged:
    """A claim, its comparisons, and the verdict over them; undecidable while rows are missing."""

    claim: str
    words: str
    found: tuple[Found, ...]
    verdict: Verdict

    def in_words(self) -> str:
        return f"{self.verdict}: {self.words}"


@dataclass
class Board:
    """The rows that are done, and the numbers by which they are paired."""

    recipe: JointRecipe
    out: Path
    rows: Mapping[str, RowResult]
    _arrays: dict[str, dict[str, np.ndarray]] = field(default_factory=dict, repr=False)

    @cached_property
    def best(self) -> str | None:
        return best_level(rows_of(self.recipe), self.rows)

    def names(self, group: str) -> dict[int, str]:
        """{seed: its row}, of those that are done: identity, attributes, and at the best level joint and shuffled."""
        first, *others = self.recipe.seeds
        levelled = group in ("joint", "shuffled")
        named = {first: f"{group}-{self.best}" if levelled else group} | {seed: f"{group}-{BEST}-seed{seed}" if levelled else f"{group}-seed{seed}" for seed in others}
        return {seed: name for seed, name in named.items() if name in self.rows}

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        if name not in self._arrays:
            with np.load(self.out / "rows" / name / ARRAYS) as kept:
                self._arrays[name] = {key: kept[key] for key in kept.files}
        return self._arrays[name]

    def answers(self, names: Sequence[str], measure: Measure) -> Answers | None:
        """The mean over rows (seeds) of every trial, pair or picture; None where a row has none."""
        each = [measure.of(self.arrays(name)) for name in names]
        if not each or any(found is None for found in each):
            return None
        first = each[0]
        assert first is not None
        return Answers(np.mean([found.correct for found in each if found is not None], axis=0), first.people, first.rows)

    def sizes(self, kind: str) -> list[str]:
        """Numbers of distractors that rows were scored among, rising."""
        name = next((name for name, row in self.rows.items() if any(each.about.startswith(f"{kind} ") for each in row.numbers)), None)
        if name is None:
            return []
        found = {each.about.removeprefix(f"{kind} ") for each in self.rows[name].numbers if each.about.startswith(f"{kind} ")}
        return sorted(found, key=int)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Those that decide about recognition: the most distractors of both kinds, and pairs where there are any."""
        most = [rank1(kind, self.sizes(kind)[-1]) for kind in (REAL, SYNTHETIC) if self.sizes(kind)]
        return (*most, *([PAIRS] if any(each.about == "pairs" for row in self.rows.values() for each in row.numbers) else []))


def judge(board: Board) -> list[Judged]:
    """Recognition must hold against both: the control, and identity alone."""
    recognition = [found for measure in board.measures for without in ("shuffled", "identity") if (found := compare(board, RECOGNITION, "joint", without, measure))]
    attributes = [found for found in [compare(board, ATTRIBUTES, "joint", "attributes", PICTURES)] if found]
    # of people among distractors the claim is made; pairs are told beside it
    decisive = [found for found in recognition if found.measure is not PAIRS]
    against = {found.without for found in decisive}
    shown = statistics.all_hold([found.verdict for found in decisive]) if against == {"shuffled", "identity"} else "undecidable"
    return [
        Judged(RECOGNITION, CLAIMS[RECOGNITION], tuple(recognition), shown),
        Judged(ATTRIBUTES, CLAIMS[ATTRIBUTES], tuple(attributes), statistics.all_hold([found.verdict for found in attributes])),
    ]


def compare(board: Board, claim: str, given: str, without: str, measure: Measure) -> Found | None:
    """Groups of rows, on the seeds that both have; None where one has none, or has no such measure."""
    one, other = board.names(given), board.names(without)
    seeds_of_both = [seed for seed in one if seed in other]
    found = difference(board, [one[seed] for seed in seeds_of_both], [other[seed] for seed in seeds_of_both], measure)
    if found is None:
        return None
    estimate, seeds = found
    return Found(claim, given, without, measure, estimate, seeds, verdict(estimate, seeds))


def difference(board: Board, given: Sequence[str], without: Sequence[str], measure: Measure) -> tuple[Estimate, tuple[float, ...]] | None:
    """The mean over seeds, people drawn for all at once; and seed by seed."""
    one, other = board.answers(given, measure), board.answers(without, measure)
    if one is None or other is None:
        return None
    seeds = tuple(
        float(np.mean(first.correct) - np.mean(second.correct))
        for first, second in ((board.answers([a], measure), board.answers([b], measure)) for a, b in zip(given, without, strict=True))
        if first is not None and second is not None
    )
    return statistics.difference(one, other), seeds


def verdict(estimate: Estimate, seeds: Sequence[float]) -> Verdict:
    """Of the claim that a difference is above 0: its interval over people must say so, and no seed the opposite."""
    said = statistics.verdict(estimate)
    sign = {"holds": 1, "fails": -1}.get(said, 0)
    return "undecidable" if sign and any(sign * each < 0 for each in seeds) else said
