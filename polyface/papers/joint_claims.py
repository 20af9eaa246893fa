"""What paper C claims, its own numbers, and what the rows say: differences of rows on the same trials, pairs and pictures, with intervals over people and seeds.

The claim counts as shown only where the joint network beats the one whose attributes were shuffled between people: labels that are the same on all pictures of a person
help to tell people apart whatever they say, so that beating identity alone may be mere regularisation.

**What decides was chosen before any row of scale `small` was trained.** Small networks find next to nobody among a million, so that rank 1 there can tell nothing of
two of them; it is judged as a claim of its own, `LARGEST`, which the page always shows, and decides nothing else. Whether attributes help recognition is decided by
`DECIDING`: rank 1 among 1,000 real distractors, and TAR at FAR 1e-3 among the same, which asks of all probes together what rank 1 among 1,000 asks of each by itself,
and which millions of pairs of a probe and a distractor can resolve. Each must hold against the control and against identity alone. Pairs of LFW are shown beside and
decide nothing: training people without names may be people of LFW (`joint_screen.py`).

A comparison holds where its interval leaves 0 out, every seed says the same, and p by Holm over the comparisons that decide the claim is below 5 %. Draws are of
people, and where several seeds are compared each is off by how far seeds scatter besides (`transfer_effects.py`): a difference must be one of methods, not of these
few networks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from polyface.evaluation.protocols.verification import drawn_means
from polyface.metrics.intervals import LEVEL, percentiles
from polyface.papers import fusion_statistics as statistics
from polyface.papers.fusion_statistics import Estimate, Verdict
from polyface.papers.joint_config import JointRecipe
from polyface.papers.joint_runs import BEST, best_level, rows_of
from polyface.papers.joint_scores import ACCEPTED, ARRAYS, FAR, PAPER_FAR, REAL, SYNTHETIC, TRIALS, RowResult
from polyface.papers.transfer_effects import FEWEST, Scatter, holm, off_by_seeds, pooled_scatter, two_sided

RANK1, TAR = 77.74, 79.24
"""Wang et al. 2017, abstract: MegaFace with FaceScrub's probes, a million distractors, small protocol: rank 1, and TAR at FAR 1e-6, in %."""
RECOGNITION, LARGEST, ATTRIBUTES = "recognition", "recognition, most distractors", "attributes"
CLAIMS = {
    RECOGNITION: "Learning attributes too makes a network better at telling people apart whom it never saw.",
    LARGEST: "It does so among the most distractors as well, as the paper says of a million.",
    ATTRIBUTES: "Learning who it is too makes a network better at attributes.",
}
GROUPS = ("identity", "attributes", "joint", "shuffled")
DISTRACTORS = 1000
"""Real ones among whom the claim is decided; where rows were not scored among so many, the number nearest to it (in ratio) that they were."""


@dataclass(frozen=True)
class Hits:
    """correct float [N], of trials, pairs or pictures; people int [N, 2]: whose each is, one person twice but for a pair of photographs of two."""

    correct: np.ndarray
    people: np.ndarray

    @property
    def share(self) -> float:
        return float(np.mean(self.correct))


@dataclass(frozen=True)
class Measure:
    """words: for a person; array: its name in arrays.npz; people: whose each entry is."""

    words: str
    array: str
    people: str

    def of(self, arrays: Mapping[str, np.ndarray]) -> Hits | None:
        if self.array not in arrays:
            return None
        found, people = arrays[self.array], arrays[self.people]
        number = np.unique(people, return_inverse=True)[1].reshape(people.shape)
        both = number if number.ndim == 2 else np.stack([number, number], axis=1)
        return Hits((found <= 1).astype(float) if self.array.startswith(TRIALS) else found.astype(float), both)


def rank1(kind: str, size: str) -> Measure:
    return Measure(f"rank 1 among {int(size):,} {kind} distractors", f"{TRIALS} {kind} {size}", "trials people")


def tar(kind: str, size: str, far: str = PAPER_FAR) -> Measure:
    return Measure(f"TAR at FAR {far} among {int(size):,} {kind} distractors", f"{ACCEPTED} {far} {kind} {size}", "trials people")


def tar_of_thousand(kind: str, size: str) -> Measure:
    return tar(kind, size, FAR)


PAIRS = Measure("pairs, accuracy over folds", "pairs", "pairs people")
PICTURES = Measure("attributes, accuracy", "attributes", "attributes people")
DECIDING: tuple[Callable[[str, str], Measure], ...] = (rank1, tar_of_thousand)
"""What decides about recognition, among DISTRACTORS real ones: see the head of this file."""


@dataclass(frozen=True)
class Gap:
    """given - without: with its interval, two-sided p, and each seed's own difference; of so many people."""

    estimate: Estimate
    p: float
    seeds: tuple[float, ...]
    people: int


@dataclass(frozen=True)
class Found:
    """given - without on one measure. adjusted: p by Holm over what decides the claim, None of what is shown beside; then there is no verdict either. why: it is
    undecidable."""

    given: str
    without: str
    measure: Measure
    gap: Gap
    adjusted: float | None = None
    verdict: Verdict | None = None
    why: str = ""


@dataclass(frozen=True)
class Judged:
    """A claim, its comparisons, and the verdict over those that decide; undecidable while rows are missing."""

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

    def hits(self, name: str, measure: Measure) -> Hits | None:
        return measure.of(self.arrays(name))

    def mean(self, names: Sequence[str], measure: Measure) -> Hits | None:
        """The mean over rows (seeds) of every trial, pair or picture; None where a row has none."""
        each = [found for name in names if (found := self.hits(name, measure)) is not None]
        return Hits(np.mean([found.correct for found in each], axis=0), each[0].people) if each and len(each) == len(names) else None

    def scatter(self, measure: Measure) -> Scatter | None:
        """How far the share of a row is off by its seed alone, pooled over all that were done with several; None where none was."""
        each = [[self.hits(name, measure) for name in self.names(group).values()] for group in GROUPS]
        return pooled_scatter([found.share for found in own if found is not None] for own in each)

    def sizes(self, kind: str) -> list[str]:
        """Numbers of distractors that rows were scored among, rising."""
        name = next((name for name, row in self.rows.items() if any(each.about.startswith(f"{kind} ") for each in row.numbers)), None)
        if name is None:
            return []
        found = {each.about.removeprefix(f"{kind} ") for each in self.rows[name].numbers if each.about.startswith(f"{kind} ")}
        return sorted(found, key=int)

    @property
    def deciding(self) -> list[Measure]:
        """`DECIDING`, among the number of real distractors that is nearest to DISTRACTORS."""
        sizes = self.sizes(REAL)
        nearest = min(sizes, key=lambda size: abs(np.log(int(size) / DISTRACTORS)), default=None)
        return [] if nearest is None else [measure(REAL, nearest) for measure in DECIDING]

    @property
    def largest(self) -> list[Measure]:
        """The paper's two numbers among the most distractors of both kinds, those that could be told."""
        most = [measure(kind, self.sizes(kind)[-1]) for kind in (REAL, SYNTHETIC) if self.sizes(kind) for measure in (rank1, tar)]
        return [measure for measure in most if any(measure.array in self.arrays(name) for group in GROUPS for name in self.names(group).values())]

    @property
    def beside(self) -> list[Measure]:
        """Shown, deciding nothing."""
        return [PAIRS] if any(each.about == "pairs" for row in self.rows.values() for each in row.numbers) else []


def judge(board: Board) -> list[Judged]:
    """Recognition must hold against both: the control, and identity alone."""
    both = ("shuffled", "identity")
    return [
        _judged(board, RECOGNITION, both, board.deciding, board.beside),
        _judged(board, LARGEST, both, board.largest),
        _judged(board, ATTRIBUTES, ("attributes",), [PICTURES]),
    ]


def _judged(board: Board, claim: str, withouts: Sequence[str], deciding: Sequence[Measure], beside: Sequence[Measure] = ()) -> Judged:
    compared = [(measure, without, compare(board, "joint", without, measure)) for measure in (*deciding, *beside) for without in withouts]
    found = [Found("joint", without, measure, gap) for measure, without, gap in compared if gap is not None]
    decisive = [at for at, each in enumerate(found) if each.measure in deciding]
    for at, adjusted in zip(decisive, holm([found[at].gap.p for at in decisive]), strict=True):
        verdict, why = decide(found[at].gap, adjusted, len(board.recipe.seeds))
        found[at] = replace(found[at], adjusted=adjusted, verdict=verdict, why=why)
    whole = len(decisive) == len(deciding) * len(withouts)
    verdicts = [said for at in decisive if (said := found[at].verdict) is not None]
    return Judged(claim, CLAIMS[claim], tuple(found), statistics.all_hold(verdicts) if whole else "undecidable")


def compare(board: Board, given: str, without: str, measure: Measure) -> Gap | None:
    """Groups of rows, on the seeds that both have; None where one has none, or has no such measure."""
    one, other = board.names(given), board.names(without)
    seeds = [seed for seed in one if seed in other]
    return difference(board, [one[seed] for seed in seeds], [other[seed] for seed in seeds], measure)


def difference(board: Board, given: Sequence[str], without: Sequence[str], measure: Measure) -> Gap | None:
    """Of rows, seed by seed."""
    one, other = ([board.hits(name, measure) for name in names] for names in (given, without))
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return gap(pairs, board.scatter(measure)) if pairs and len(pairs) == len(given) else None


def gap(pairs: Sequence[tuple[Hits, Hits]], scatter: Scatter | None = None) -> Gap:
    """(given, without) of each seed, all on the same trials, pairs or pictures: the mean over seeds, people drawn for all at once, and both people of a pair.

    scatter: of a row by its seed alone, which counts where there are several seeds. Raises ValueError where two are of other people.
    """
    first = pairs[0][0].people
    if any(not np.array_equal(first, each.people) for pair in pairs for each in pair):
        raise ValueError("hits of different people cannot be paired")
    gaps = np.stack([given.correct - without.correct for given, without in pairs])
    left, right = first.T
    drawn = np.fromiter(drawn_means(gaps.mean(0), left == right, (left, right)), float)
    if scatter is not None and len(pairs) > 1:
        drawn = off_by_seeds(drawn, scatter, len(pairs))
    interval = percentiles(drawn, LEVEL)
    estimate = Estimate(float(gaps.mean()), interval.low, interval.high, gaps.shape[1])
    return Gap(estimate, two_sided(drawn), tuple(gaps.mean(1).tolist()), len(np.unique(first)))


def decide(found: Gap, adjusted: float, seeds: int) -> tuple[Verdict, str]:
    """Of the claim that a difference is above 0; why it is undecidable. seeds: of the recipe."""
    if found.people < FEWEST:
        return "undecidable", f"of {found.people} people, at least {FEWEST} are needed"
    if len(found.seeds) < max(seeds, 2):
        return "undecidable", f"{len(found.seeds)} of {max(seeds, 2)} seeds are done"
    said = statistics.verdict(found.estimate)
    if said == "undecidable":
        return said, "the interval holds 0"
    if min(found.seeds) <= 0 <= max(found.seeds):
        return "undecidable", "seeds disagree"
    return (said, "") if adjusted < 1 - LEVEL else ("undecidable", f"p by Holm is {adjusted:.2g}")
