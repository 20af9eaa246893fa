"""Small faces as they come, found again among 150,000 others: TinyFace's closed set (papers.md D4). A probe has several mates, and one among the first k is a hit."""

import numpy as np

from polyface.errors import InputError
from polyface.evaluation.protocols.result import Result, curve_of_ranks, row_draws, scored
from polyface.evaluation.ranks import rank_mates
from polyface.metrics.identification import average_precision, hits, hits_by_lot

RANKS = (1, 5, 20)


def score_probes(probes: np.ndarray, gallery: np.ndarray, who: np.ndarray, whose: np.ndarray) -> Result:
    """probes [P, d] and gallery [G, d] of unit length; who [P], whose [G]: the person of each, any ids.

    `rank5`: the share of probes of which a mate is among the first five, ties against it (`rank5_ties_by_lot`: on average); `map`: mean average precision over all mates,
    ties against them. Intervals draw the probes' people. Raises InputError naming the first probe that has no mate.
    """
    ranks = rank_mates(probes, gallery, who, whose)
    tied, best = ranks.best()
    for row in np.setdiff1d(np.arange(len(probes)), best.probe)[:1]:
        raise InputError(f"probe {row}: nobody in the gallery is {np.asarray(who)[row]}")
    mates = np.bincount(ranks.probe, minlength=len(probes))
    of_probe = np.split(np.arange(len(ranks.probe)), np.cumsum(mates)[:-1])
    each = {f"rank{k}": hits(best.above, best.equal, k) for k in RANKS}
    each |= {f"rank{k}_ties_by_lot": hits_by_lot(best.above, best.equal, tied, k) for k in RANKS}
    each["map"] = np.array([average_precision(ranks.score[rows], (ranks.above + ranks.equal)[rows]) for rows in of_probe])
    nothing = np.zeros(len(probes), np.int64)
    chance = {f"rank{k}": float(hits_by_lot(nothing, len(gallery) - mates, mates, k).mean()) for k in RANKS}

    def statistic(times: np.ndarray) -> dict[str, float]:
        return {name: float(times @ values / times.sum()) for name, values in each.items()}

    people = len(np.unique(who))
    independent = dict.fromkeys(each, people)
    scores = scored(statistic, len(probes), row_draws(who), chance=chance, independent=independent)
    counts = {"probes": len(probes), "people": people, "gallery": len(gallery), "mates": int(np.isin(whose, who).sum())}
    curves = {"cmc": curve_of_ranks(1 + best.above + best.equal, len(gallery))}
    return Result("tinyface", scores, counts, curves=curves, notes={f"rank{k}_ties_by_lot": "a tie with others as its average over all orders" for k in RANKS})
