"""A grid of products, each with a bound: which cells may reach a bar, and which exceed it for certain, by one comparison a cell."""

import numpy as np

from polyface.evaluation.search_scores import Side

SPARSE = 64
"""More than 1 cell in so many: a product of the whole tile in float32 costs less than pairs."""


class Grid:
    """Products of probes and rows with their bounds. What is said of a whole row of the grid takes the worst scale and bound of the tile."""

    def __init__(self, values: np.ndarray, own: Side, side: Side):
        self.values, self.own, self.side = values, own, side
        self.integers = values.dtype.kind == "i"
        self.hidden = np.iinfo(values.dtype).min if self.integers else -np.inf
        self.small, self.large = (own.scale * float(scale) for scale in (side.scale.min(), side.scale.max()))
        self.error = own.first * float(side.first.max()) + own.second * float(side.second.max())

    def reaching(self, bars: np.ndarray, which: np.ndarray) -> np.ndarray:
        """bool [len(which), n]: at least every cell of these probes whose score may be at or above their bar."""
        gap = bars - self.error[which]
        return self._of(which) >= self._limits(gap, np.where(gap > 0, self.large[which], self.small[which]), -1)

    def exceeding(self, bars: np.ndarray, which: np.ndarray) -> np.ndarray:
        """bool [len(which), n]: only cells whose score is above the bar for certain."""
        gap = bars + self.error[which]
        return self._of(which) >= self._limits(gap, np.where(gap > 0, self.small[which], self.large[which]), 1)

    def at_least(self, values: np.ndarray, which: np.ndarray) -> np.ndarray:
        """float64: what scores with such products are at least, wherever in these rows of the grid they are."""
        scale = np.where(values > 0, self.small[which], self.large[which])
        return np.where(values == self.hidden, -np.inf, values * scale - self.error[which])

    def bounds(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own, side = self.own[i], self.side[j]
        values = self.values[i, j] * (own.scale * side.scale)
        error = own.first * side.first + own.second * side.second
        return values - error, values + error

    def there(self, which: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """bool [len(which), len(columns)]: which cells are compared at all."""
        return self.values[np.ix_(which, columns)] != self.hidden

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
    total = np.count_nonzero(hit)
    if total * SPARSE <= hit.shape[1]:
        return np.zeros(len(hit), bool)
    return np.count_nonzero(hit, axis=1) * SPARSE > hit.shape[1]
