"""Probes against a gallery: how each mate fares among those that are no mates."""

from dataclasses import dataclass

import numpy as np

BLOCK = 256
"""Probes that are compared at a time."""

DECIMALS = 12
"""As in `protocols.verification`: a difference below is one of rounding, which would part what is tied."""


@dataclass(frozen=True)
class Ranks:
    """A row for each pair of a probe and a mate of it, by probe: probe int [M], score float [M], above and equal int [M]: how many that are no mates score more than
    the mate, and as much. other float [P]: the highest score of each probe with one that is no mate, -inf where all are mates."""

    probe: np.ndarray
    score: np.ndarray
    above: np.ndarray
    equal: np.ndarray
    other: np.ndarray

    def best(self) -> tuple[np.ndarray, "Ranks"]:
        """Of each probe that has mates its best one; and how many mates share its score, int [Q]."""
        order = np.lexsort((-self.score, self.probe))
        who, first = np.unique(self.probe[order], return_index=True)
        chosen = order[first]
        top = np.full(len(self.other), np.nan)
        top[who] = self.score[chosen]
        tied = np.bincount(self.probe[self.score == top[self.probe]], minlength=len(self.other))[who]
        return tied, Ranks(who, self.score[chosen], self.above[chosen], self.equal[chosen], self.other)


def rank_mates(probes: np.ndarray, gallery: np.ndarray, who: np.ndarray, whose: np.ndarray) -> Ranks:
    """probes float [P, d] and gallery float [G, d] of unit length; who [P], whose [G]: the person of each, any ids. Cosines are rounded to DECIMALS."""
    turned = np.asarray(gallery, np.float64).T
    other = np.full(len(probes), -np.inf)
    found: list[tuple[int, float, int, int]] = []
    for start in range(0, len(probes), BLOCK):
        cosines = np.round(np.asarray(probes[start : start + BLOCK], np.float64) @ turned, DECIMALS)
        mates = np.asarray(who)[start : start + BLOCK, None] == np.asarray(whose)
        others = np.where(mates, -np.inf, cosines)
        other[start : start + BLOCK] = others.max(axis=1, initial=-np.inf)
        for at, row in np.argwhere(mates):
            score, rivals = cosines[at, row], others[at]
            found.append((start + int(at), float(score), int(np.count_nonzero(rivals > score)), int(np.count_nonzero(rivals == score))))
    probe, score, above, equal = np.array(found, np.float64).reshape(-1, 4).T
    return Ranks(probe.astype(np.int64), score, above.astype(np.int64), equal.astype(np.int64), other)
