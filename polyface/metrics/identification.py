"""Scores of "who of the gallery is this?" (papers.md D3, D12, D13): ranks of mates, and what is accepted of probes that may have none.

A tie never counts as a hit: the rank of a mate is 1 + the number of others that score at least as much. Beside it stands what would be hit, on average, were ties
broken by lot.
"""

import numpy as np

from polyface.metrics.rates import trials_needed
from polyface.metrics.verification import Roc, TarAtFar, tar_at_far


def hits(above: np.ndarray, equal: np.ndarray, k: int) -> np.ndarray:
    """Whether the best mate is among the first k, float [N]; above, equal int [N]: how many of the gallery that are no mates score more than it, and as much."""
    return (above + equal < k).astype(np.float64)


def hits_by_lot(above: np.ndarray, equal: np.ndarray, mates: np.ndarray, k: int) -> np.ndarray:
    """How probable it is that a mate is among the first k [N], where all that are tied are shuffled; mates int [N]: how many share the best mate's score, at least 1.

    None of the first j of m mates and e others is a mate with probability (e / (m + e)) ((e - 1) / (m + e - 1)) ... of j factors.
    """
    missed = np.ones(len(above))
    for place in range(k):
        left = np.maximum(equal - place, 0)
        missed *= np.where(place < k - above, left / (mates + left), 1.0)
    return 1.0 - missed


def average_precision(scores: np.ndarray, others: np.ndarray) -> float:
    """Of one probe: the mean over its mates of the share of mates among all down to it. scores [m]: of the mates; others [m]: how many that are no mates score at
    least as much as each. A mate that ties with others comes behind them."""
    order = np.argsort(-scores, kind="stable")
    place = np.arange(1, len(scores) + 1)
    return float(np.mean(place / (place + others[order])))


def tpir_at_fpir(curve: Roc, fpir: float) -> TarAtFar:
    """The highest share of mated probes (genuine) that is accepted where at most `fpir` of those without a mate (impostors) are, at observed scores only.

    The curve's scores: of a mated probe that of its mate, of another one the highest of its scores. Refused, with the reason, where fewer than 1 / fpir have no mate.
    """
    if not curve.genuine:
        return TarAtFar(fpir, None, "no probe has a mate in this gallery")
    found = tar_at_far(curve, fpir)
    if found.point is None:
        return TarAtFar(fpir, None, f"FPIR {fpir:g} needs {trials_needed(fpir)} probes without a mate, there are {curve.impostors}")
    return found
