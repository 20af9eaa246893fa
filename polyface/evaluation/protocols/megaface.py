"""MegaFace challenge 1: people among distractors, from any embeddings (papers.md D2, D13).

Identification: each photograph of a person in turn joins the distractors, and the person's others look for it: M photographs are M (M - 1) trials. A trial is a hit at
rank r if fewer than r distractors score at least as high as the mate: a tie is lost, so that a model that says the same of everybody hits nothing.
Verification: the pairs of one person against all pairs of a photograph and a distractor, none of them sampled; accepted from the lowest threshold on whose FAR does not
exceed the target, which the exact k-th largest of the impostor scores gives.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyface.errors import InputError
from polyface.evaluation.protocols.result import Curve, Result, curve_of_ranks, curve_of_rates, scored
from polyface.evaluation.search import Found, Gallery, kept_for, mates_outside, search
from polyface.metrics.checks import require_rows
from polyface.metrics.intervals import DRAWS, Score, group_draws
from polyface.terminal import Report

RANKS = (1, 10)
FAR = 1e-6
ROC_FAR = 1e-4
"""As far the curve is kept: beyond, nearly all impostor scores would have to be."""


@dataclass(frozen=True)
class Identified:
    """Trials. person int [T]: whose, from 0 on; genuine float64 [T]: how its two photographs score (each pair is two trials); found: ranks and impostors by size.

    photographs: of all people, those with one photograph included, who are impostors only.
    """

    person: np.ndarray
    genuine: np.ndarray
    found: Found
    photographs: int

    def cmc(self, size: str) -> tuple[np.ndarray, np.ndarray]:
        """Ranks int [C] from 0 on, rising, and the share of trials up to each: where it rises, at rank 0, and at the last there is."""
        values, counts = np.unique(self.found.ranks(size) - 1, return_counts=True)
        last = int(self.found.impostors[self.found.subsets.index(size)]) // self.photographs
        ranks = np.unique(np.concatenate([[0], values, [last]]))
        return ranks, np.append(0, np.cumsum(counts))[np.searchsorted(values, ranks, side="right")] / len(self.genuine)

    def roc(self, size: str) -> tuple[np.ndarray, np.ndarray]:
        """FAR, rising, and TAR at observed impostor scores: at FAR 0, wherever TAR rises, and at the last that is kept (about `far` of `identify`)."""
        at = self.found.subsets.index(size)
        largest, total = self.found.largest[at], int(self.found.impostors[at])
        scores, counts = np.unique(-largest, return_counts=True)
        if len(largest) < total:
            scores, counts = scores[:-1], counts[:-1]  # more may equal the last that was kept
        far = np.append(0, np.cumsum(counts)) / total
        genuine = np.sort(-self.genuine)
        above_all = np.searchsorted(genuine, -largest[0]) if len(largest) else len(genuine)
        tar = np.append(above_all, np.searchsorted(genuine, scores, side="right")) / len(genuine)
        rises = np.flatnonzero(np.append(True, np.diff(tar) > 0) | (np.arange(len(far)) == len(far) - 1))
        return far[rises], tar[rises]


def identify(
    probes: np.ndarray,
    people: np.ndarray,
    distractors: Gallery,
    sizes: Mapping[str, int | np.ndarray],
    rows: int,
    report: Report | None = None,
    state: Path | None = None,
    far: float = ROC_FAR,
) -> Identified:
    """probes float32 [P, d]; people [P], any ids; distractors: `rows` of them, as `search` takes a gallery, none of them of these people; sizes: for each number of
    distractors by its name, so many first rows, or the rows. state: as of `search`. far: as far as thresholds can be told, and the curve is kept.

    All of unit length: scores are inner products. Raises InputError as `search` does, and where nobody has two photographs.
    """
    require_rows(probes=probes, people=people)
    number = np.unique(people, return_inverse=True)[1].reshape(-1)
    probe, mate = np.nonzero((number[:, None] == number) & ~np.eye(len(number), dtype=bool))
    if not len(probe):
        raise InputError("nobody has two photographs: no trials")
    counts = {name: size if isinstance(size, int) else len(size) for name, size in sizes.items()}
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"size {name}: no distractors")
    largest = {name: kept_for(far, len(probes) * count) for name, count in counts.items()}
    mates = mates_outside(probes, probes, probe, mate)
    found = search(probes, distractors, 0, mates, subsets=sizes, largest=largest, part=(0, rows), state=state, report=report)
    return Identified(np.unique(number[probe], return_inverse=True)[1].reshape(-1), mates.score, found, len(probes))


def score_megaface(trials: Identified, cleaned: str, draws: int = DRAWS) -> Result:
    """cleaned: "cleaned" or "uncleaned", or what else was done with the lists of noises: it is part of the protocol's name. Intervals come from drawing people."""
    found, person = trials.found, trials.person
    people, total = int(person.max()) + 1, len(person)
    hits: dict[str, np.ndarray] = {}
    chance: dict[str, float] = {}
    counts: dict[str, int] = {}
    reasons: dict[str, str] = {}
    notes: dict[str, str] = {}
    plain: dict[str, Score] = {}
    curves: dict[str, Curve] = {}
    impostors = dict(zip(found.subsets, found.impostors.tolist(), strict=True))
    for at, size in enumerate(found.subsets):
        ranks, distractors = found.ranks(size), impostors[size] // trials.photographs
        for rank in RANKS:
            hits[f"rank{rank}@{size}"] = ranks <= rank
            chance[f"rank{rank}@{size}"] = min(1.0, rank / (distractors + 1))
        hits[f"rank1_by_lot@{size}"] = np.where(found.above[:, at] == 0, 1 / (1 + found.equal[:, at]), 0)
        chance[f"rank1_by_lot@{size}"] = chance[f"rank1@{size}"]
        notes[f"rank1_by_lot@{size}"] = "ties broken by lot; everywhere else they are lost"
        counts[f"distractors@{size}"] = distractors
        curves[f"cmc {size}"] = curve_of_ranks(ranks, distractors + 1)
        far, tar = trials.roc(size)
        if far[-1] > 0:  # of few impostors only FAR 0 is kept, which is no curve
            curves[f"roc {size}"] = curve_of_rates(far, tar, impostors[size])
        target = f"1e-6@{size}"
        try:
            threshold, reached = found.threshold(size, FAR)
        except InputError as error:
            reasons |= dict.fromkeys((f"tar@{target}", f"far@{target}", f"threshold@{target}"), str(error))
            threshold, reached = np.nan, np.nan
        hits[f"tar@{target}"] = np.where(np.isnan(threshold), np.nan, trials.genuine >= threshold)
        chance[f"tar@{target}"] = FAR
        plain |= {f"far@{target}": Score(reached, np.nan, np.nan, impostors[size]), f"threshold@{target}": Score(threshold, np.nan, np.nan, impostors[size])}
        notes[f"tar@{target}"] = f"FAR {reached:.4g} reached, at cosine {threshold:.6f}"
    sums = {name: np.bincount(person, weights=each, minlength=people) for name, each in hits.items()}
    of = np.bincount(person, minlength=people)

    def statistic(times: np.ndarray) -> dict[str, float]:
        return {name: float(each @ times / (of @ times)) for name, each in sums.items()}

    pairs = {name: total // 2 if name.startswith("tar") else total for name in hits}
    shares = scored(statistic, people, group_draws(people, draws), pairs, chance, dict.fromkeys(hits, people))
    names = [name for size in found.subsets for name in {**shares, **plain} if name.rpartition("@")[2] == size]
    counts |= {"probes": trials.photographs, "people": people, "trials": total, "genuine_pairs": total // 2}
    return Result(f"megaface, {cleaned}", {name: {**shares, **plain}[name] for name in names}, counts, reasons, notes, curves)
