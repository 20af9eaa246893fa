"""Templates, sets of pictures of one person, as IJB-B and IJB-C compare them (papers.md D3, D12): 1:1 by a list of pairs, and 1:N against galleries, of which some
probes have a mate in it and others have not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from polyface.errors import InputError
from polyface.evaluation.protocols.result import Result, curve_of_ranks, row_draws, scored
from polyface.evaluation.protocols.verification import verify
from polyface.evaluation.ranks import rank_mates
from polyface.metrics.identification import hits, hits_by_lot, tpir_at_fpir
from polyface.metrics.intervals import DRAWS, Score
from polyface.metrics.verification import operating_point, resampled_roc

RANKS = (1, 5, 10)
FPIRS = (0.1, 0.01)

WORK = 1_000_000_000
"""Pairs times draws of the intervals of 1:1: IJB-C's 15,658,489 pairs are drawn 100 times, which is the least; DRAWS times where they are up to a million."""

OF_FOLDS = ("accuracy", "accuracy_insightface")


def pool(
    embeddings: np.ndarray, row: np.ndarray, picture: np.ndarray, template: np.ndarray, media: np.ndarray, weight: np.ndarray | None = None, unit: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Templates, rising, int64 [T], and their vectors of unit length, float64 [T, d].

    embeddings [N, d], of which row int [R] are of each picture [R] (its name: pictures are added in its order), which is in a template by way of a media int [R].
    Unit: each embedding is brought to unit length first; then it is multiplied by its weight [R], such as the detector's score. A media is the mean of its pictures, a
    template the sum of its media. Raises InputError for one that adds up to nothing.
    """
    order = np.lexsort((picture, media, template))
    numbers, first = np.unique(template[order], return_index=True)
    vectors = np.empty((len(numbers), embeddings.shape[1]))
    for at, rows in enumerate(np.split(order, first[1:])):
        _, place, count = np.unique(media[rows], return_inverse=True, return_counts=True)
        parts = embeddings[row[rows]].astype(np.float64)
        if unit:
            parts /= np.linalg.norm(parts, axis=1, keepdims=True)
        share = (1.0 if weight is None else weight[rows]) / count[place]
        vectors[at] = (parts * share[:, None]).sum(axis=0)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    for at in np.flatnonzero(~(lengths > 0) | ~np.isfinite(lengths))[:1]:
        raise InputError(f"template {numbers[at]}: its pictures add up to a vector of length {lengths[at, 0]:g}, which has no direction")
    return numbers, vectors / lengths


def verify_templates(templates: np.ndarray, left: np.ndarray, right: np.ndarray, same: np.ndarray, people: np.ndarray | None) -> Result:
    """1:1. templates float [T, d]; left, right int [N]: rows of them; same bool [N]; people [T]: any ids, None: not known. As `verification`, in one fold."""
    draws = int(np.clip(WORK // max(len(same), 1), 100, DRAWS))
    found = verify(templates, left, right, same, None, people, draws)
    scores = {name: score for name, score in found.scores.items() if name not in OF_FOLDS}
    reasons = {name: reason for name, reason in found.reasons.items() if name not in OF_FOLDS}
    notes = {name: note for name, note in found.notes.items() if name not in OF_FOLDS}
    if people is None:
        notes["auc"] = "each pair drawn by itself, since no people are known: too narrow"
    return Result("ijb", scores, {name: count for name, count in found.counts.items() if name != "folds"} | {"draws": draws}, reasons, notes, found.curves)


@dataclass(frozen=True)
class _Gallery:
    """One gallery and all probes. ranks int [M]: of mated probes. rank and by_lot {k: float [P]}: hits of mated probes, 0 elsewhere. open_set {name: scores float
    [P]}: of a mated probe that of its mate (of `dir` only where it comes first, else below all); of others the highest."""

    size: int
    mated: np.ndarray
    ranks: np.ndarray
    rank: Mapping[int, np.ndarray]
    by_lot: Mapping[int, np.ndarray]
    open_set: Mapping[str, np.ndarray]


def identify_templates(galleries: Mapping[str, tuple[np.ndarray, np.ndarray]], probes: np.ndarray, subjects: np.ndarray, draws: int = DRAWS) -> Result:
    """1:N. galleries {name: (vectors [G, d], subjects [G])}, probes [P, d] and their subjects [P]; vectors of unit length, subjects any ids.

    Closed set: `rank5`, the share of probes with a mate in the gallery that have it among the first five, ties against it (`rank5_ties_by_lot`: on average).
    Open set: a threshold is an observed score that at most so many probes without a mate reach with anybody (FPIR); `tpir@0.01` is the share of probes with a mate
    whose mate reaches it, `dir@0.01` where the mate also comes first. Each for every gallery, as `rank5:S1`, and their mean. Intervals draw the probes' people.
    """
    each = {name: _against(vectors, whose, probes, subjects) for name, (vectors, whose) in galleries.items()}
    curves = {(name, kind): resampled_roc(scores, gallery.mated) for name, gallery in each.items() for kind, scores in gallery.open_set.items()}
    once = np.ones(len(probes), np.int64)
    points = {(*at, fpir): tpir_at_fpir(curve(once), fpir) for at, curve in curves.items() for fpir in FPIRS}

    def statistic(times: np.ndarray) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, gallery in each.items():
            weights = times * gallery.mated
            mated = weights.sum() or np.nan
            found |= {f"rank{k}:{name}": float(weights @ gallery.rank[k] / mated) for k in RANKS}
            found |= {f"rank{k}_ties_by_lot:{name}": float(weights @ gallery.by_lot[k] / mated) for k in RANKS}
            for kind in gallery.open_set:
                curve = curves[name, kind](times)
                for fpir in FPIRS:
                    known = points[name, kind, fpir].point is not None and curve.impostors and curve.genuine
                    found[f"{kind}@{fpir:g}:{name}"] = operating_point(curve, fpir).tar if known else np.nan
        means = list(dict.fromkeys(name.partition(":")[0] for name in found))
        return {mean: float(np.mean([found[f"{mean}:{name}"] for name in each])) for mean in means} | found

    counts: dict[str, int] = {}
    chance: dict[str, float] = {}
    independent: dict[str, int] = {}
    for name, gallery in each.items():
        people = len(np.unique(subjects[gallery.mated]))
        for k in RANKS:
            counts |= dict.fromkeys((f"rank{k}:{name}", f"rank{k}_ties_by_lot:{name}"), int(gallery.mated.sum()))
            chance[f"rank{k}:{name}"] = min(1.0, k / gallery.size)
            independent |= dict.fromkeys((f"rank{k}:{name}", f"rank{k}_ties_by_lot:{name}"), people)
        for kind in gallery.open_set:
            counts |= {f"{kind}@{fpir:g}:{name}": int(gallery.mated.sum()) for fpir in FPIRS}
            independent |= {f"{kind}@{fpir:g}:{name}": people for fpir in FPIRS}
    for mean in dict.fromkeys(name.partition(":")[0] for name in counts):
        counts[mean] = sum(counts[f"{mean}:{name}"] for name in each)
        independent |= {mean: min(independent[f"{mean}:{name}"] for name in each)} if f"{mean}:{next(iter(each))}" in independent else {}
        chance |= {mean: float(np.mean([chance[f"{mean}:{name}"] for name in each]))} if f"{mean}:{next(iter(each))}" in chance else {}
    scores = scored(statistic, len(probes), row_draws(subjects), counts, chance, independent)
    reasons: dict[str, str] = {}
    notes = {f"rank{k}_ties_by_lot": "a tie with others as its average over all orders" for k in RANKS}
    for name, gallery in each.items():
        for kind in gallery.open_set:
            for fpir in FPIRS:
                at, found = f"{kind}@{fpir:g}", points[name, kind, fpir]
                if found.point is None:
                    reasons |= {f"{at}:{name}": found.reason, at: f"{name}: {found.reason}"}
                    continue
                none = found.point.threshold == np.inf
                notes[f"{at}:{name}"] = "nothing can be accepted" if none else f"FPIR {found.point.far:.4g} reached, at cosine {found.point.threshold:.4f}"
                if kind == "tpir":
                    scores[f"fpir@{fpir:g}:{name}"] = Score(found.point.far, np.nan, np.nan, int((~gallery.mated).sum()))
        if not gallery.mated.any():
            reasons |= {f"rank{k}{end}{where}": f"no probe has a mate in {name}" for k in RANKS for end in ("", "_ties_by_lot") for where in ("", f":{name}")}
    totals = {"probes": len(probes), "probe_people": len(np.unique(subjects))}
    totals |= {f"{what}:{name}": int(count) for name, gallery in each.items() for what, count in (("gallery", gallery.size), ("mated", gallery.mated.sum()))}
    cmc = {f"cmc {name}": curve_of_ranks(gallery.ranks, gallery.size) for name, gallery in each.items() if len(gallery.ranks)}
    return Result("ijb", scores, totals, reasons, notes, cmc)


def _against(vectors: np.ndarray, whose: np.ndarray, probes: np.ndarray, subjects: np.ndarray) -> _Gallery:
    ranks = rank_mates(probes, vectors, subjects, whose)
    tied, best = ranks.best()
    mated = np.zeros(len(probes), bool)
    mated[best.probe] = True

    def spread(values: np.ndarray, elsewhere: np.ndarray | float = 0.0) -> np.ndarray:
        full = np.full(len(probes), 0.0) + elsewhere
        full[best.probe] = values
        return full

    rank = {k: spread(hits(best.above, best.equal, k)) for k in RANKS}
    by_lot = {k: spread(hits_by_lot(best.above, best.equal, tied, k)) for k in RANKS}
    highest = np.where(mated, 0.0, ranks.other)
    first = np.where(hits(best.above, best.equal, 1) == 1, best.score, -2.0)  # below any cosine: accepted only where all are
    return _Gallery(len(vectors), mated, 1 + best.above + best.equal, rank, by_lot, {"tpir": spread(best.score, highest), "dir": spread(first, highest)})
