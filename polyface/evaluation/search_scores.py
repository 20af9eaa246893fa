"""What a score is, to the last bit, and how far a float32 product may be from it.

The score of two float32 vectors is the sum of their products in float64, where each product is exact, added in this order: the second half of the list to the first,
until one is left (`exact_scores`). These are elementwise operations, so that any machine, with any width of its registers, gets the same bits.
"""

from dataclasses import dataclass

import numpy as np

UP = 1 + 2.0**-30
"""Norms are enlarged by this much: more than float64 loses in a sum of squares of fewer than a million numbers."""

ROUNDING = 2.0**-40
"""Of |q| |x|: what float64 may lose in a score, in a value that is compared with it, and in the bound between both."""

LARGEST = 1e17
"""Larger numbers are no embedding, and their products would leave float32."""

LONGEST = 2**15
"""Longer vectors would leave int32 in products of codes."""

PAIRS = 256
"""Pairs that are scored at a time: their vectors fit in a cache."""


@dataclass(frozen=True)
class Side:
    """Of each of n vectors, float64 (float32 where stored) [n]: the product of two, multiplied by scale scale', is within first first' + second second' of the score."""

    scale: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def __getitem__(self, which: np.ndarray | slice) -> "Side":
        return Side(self.scale[which], self.first[which], self.second[which])


def exact_scores(left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """float64 [m]: the scores of row i of one float32 matrix [*, d] and row j of the other."""
    scores = np.empty(len(i))
    for start in range(0, len(i), PAIRS):
        part = slice(start, start + PAIRS)
        products = left[i[part]].astype(np.float64)
        products *= right[j[part]]
        width = products.shape[1]
        while width > 1:
            half = (width + 1) // 2
            products[:, : width - half] += products[:, half:width]
            width = half
        scores[part] = products[:, 0]
    return scores


def float_scores(left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """As `exact_scores`, but float32 [m] and off by up to the bound of `float_side_of_rows`."""
    scores = np.empty(len(i), np.float32)
    for start in range(0, len(i), PAIRS):
        part = slice(start, start + PAIRS)
        np.vecdot(left[i[part]], right[j[part]], out=scores[part])
    return scores


def float_side_of_probes(probes: np.ndarray) -> Side:
    """For products that float32 adds up, in any order, with or without fused additions.

    |fl(q.x) - q.x| <= g sum|q_i x_i| <= g |q| |x| with g = d 2^-24 / (1 - d 2^-24) (Higham, Accuracy and Stability of Numerical Algorithms, 3.1); numbers and products
    below 2^-126, which hardware may take for 0, add at most 2^-126 d (1 + |q|) (1 + |x|).
    """
    d = probes.shape[1]
    g = d * 2.0**-24 / (1 - d * 2.0**-24)
    norm = np.sqrt((probes.astype(np.float64) ** 2).sum(axis=1)) * UP
    return Side(np.ones(len(norm)), (g * UP + ROUNDING) * norm, 2.0**-126 * d * (1 + norm))


def float_side_of_rows(rows: np.ndarray) -> Side:
    """As for probes. The norm comes from float32 squares: within d 2^-24 of itself, but for squares below 2^-126, which are of numbers below 2^-63."""
    d = rows.shape[1]
    norm = (np.sqrt(np.vecdot(rows, rows).astype(np.float64)) * (1 + d * 2.0**-24) + 2.0**-63 * d**0.5) * UP
    return Side(np.ones(len(norm)), norm, 1 + norm)
