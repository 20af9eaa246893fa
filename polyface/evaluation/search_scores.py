"""What a score is, to the last bit, how far a float32 product may be from it, and what a grid of products with their bounds says of the scores.

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

PAIRS = 64
"""Pairs that are scored at a time: their vectors fit in a cache."""


SPARSE, FETCHED = 64, 64
"""More than 1 cell in SPARSE: a product of the whole tile in float32 costs less than pairs. Fetching the tile costs as much as the products of so many probes."""


@dataclass(frozen=True)
class Side:
    """Of each of n vectors, float64 (float32 where stored) [n]: the product of two, multiplied by scale scale', is within first first' + second second' of the score."""

    scale: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def __getitem__(self, which: np.ndarray | slice) -> "Side":
        return Side(self.scale[which], self.first[which], self.second[which])


@dataclass(frozen=True)
class Ordered:
    """rows [*, d] as float32, in the order int [n], of which those are read that are asked for."""

    rows: np.ndarray
    order: np.ndarray

    def __getitem__(self, which: np.ndarray | slice) -> np.ndarray:
        return np.asarray(self.rows[self.order[which]], np.float32)


Rows = np.ndarray | Ordered


def exact_scores(left: np.ndarray, right: Rows, i: np.ndarray, j: np.ndarray) -> np.ndarray:
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


def float_scores(left: np.ndarray, right: Rows, i: np.ndarray, j: np.ndarray) -> np.ndarray:
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
    return float_side_of_norms(norm)


def float_side_of_norms(norms: np.ndarray) -> Side:
    """norms float64 [n]: not smaller than those of the rows."""
    return Side(np.ones(len(norms)), norms, 1 + norms)


class Grid:
    """Products of probes and rows with their bounds: which cells may reach a bar, and which exceed it for certain, by one comparison a cell.

    What is said of a whole row of the grid takes the worst scale and bound of the tile. largest [p]: of each row.
    """

    def __init__(self, values: np.ndarray, own: Side, side: Side):
        self.values, self.own, self.side = values, own, side
        self.largest = values.max(axis=1)
        self.integers = values.dtype.kind == "i"
        self.hidden = np.iinfo(values.dtype).min if self.integers else -np.inf
        self.small, self.large = (own.scale * float(scale) for scale in (side.scale.min(), side.scale.max()))
        self.error = own.first * float(side.first.max()) + own.second * float(side.second.max())

    def touching(self, bars: np.ndarray, which: np.ndarray) -> np.ndarray:
        """bool [len(which)]: whether `reaching` would give any cell of these probes."""
        return self.largest[which] >= self._lowest(bars, which)[:, 0]

    def reaching(self, bars: np.ndarray, which: np.ndarray) -> np.ndarray:
        """bool [len(which), n]: at least every cell of these probes whose score may be at or above their bar."""
        return self._of(which) >= self._lowest(bars, which)

    def exceeding(self, bars: np.ndarray, which: np.ndarray) -> np.ndarray:
        """bool [len(which), n]: only cells whose score is above the bar for certain."""
        gap = bars + self.error[which]
        return self._of(which) >= self._limits(gap, np.where(gap > 0, self.small[which], self.large[which]), 1)

    def low(self, which: np.ndarray) -> np.ndarray:
        """float64 [len(which), n]: what the scores of these probes are at least, -inf where they are not compared."""
        own, side, values = self.own[which], self.side, self._of(which)
        low = values * np.multiply.outer(own.scale, side.scale)
        low -= np.multiply.outer(own.first, side.first)
        low -= np.multiply.outer(own.second, side.second)
        low[values == self.hidden] = -np.inf
        return low

    def bounds(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own, side = self.own[i], self.side[j]
        values = self.values[i, j] * (own.scale * side.scale)
        error = own.first * side.first + own.second * side.second
        return values - error, values + error

    def there(self, which: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """bool [len(which), len(columns)]: which cells are compared at all."""
        return self.values[np.ix_(which, columns)] != self.hidden

    def _lowest(self, bars: np.ndarray, which: np.ndarray) -> np.ndarray:
        gap = bars - self.error[which]
        return self._limits(gap, np.where(gap > 0, self.large[which], self.small[which]), -1)

    def _of(self, which: np.ndarray) -> np.ndarray:
        return self.values if len(which) == len(self.values) else self.values[which]

    def _limits(self, gaps: np.ndarray, scales: np.ndarray, side: int) -> np.ndarray:
        """[m, 1]: gaps / scales in the type of the products, moved to the safe side (down for -1, up for 1) by more than was rounded, and never so low that a hidden cell
        reaches it. Where a scale is 0 all products are, and the gap's sign alone decides.
        """
        beyond = np.where((gaps > 0) | ((gaps == 0) & (side > 0)), np.inf, -np.inf)
        values = np.divide(gaps, scales, out=beyond, where=scales > 0)[:, None]
        if self.integers:
            limits = np.iinfo(np.int32)
            return np.clip(np.floor(values) + 2 * side, limits.min + 1, limits.max).astype(np.int32)
        with np.errstate(over="ignore"):
            moved = np.nextafter(values.astype(np.float32), np.float32(side * np.inf))
        return np.clip(moved, np.finfo(np.float32).min, np.finfo(np.float32).max)


def crowded(hit: np.ndarray) -> np.ndarray:
    """bool [m]: rows of a grid with too many cells to be picked out one by one."""
    total, most = np.count_nonzero(hit), hit.shape[1] * (1 + FETCHED / max(len(hit), 1)) / SPARSE
    if total <= most:
        return np.zeros(len(hit), bool)
    few = total * SPARSE <= hit.size  # then it costs less to look where they are than to add up whole rows
    counts = np.bincount(np.flatnonzero(hit) // hit.shape[1], minlength=len(hit)) if few else np.count_nonzero(hit, axis=1)
    return counts > most
