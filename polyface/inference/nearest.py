"""Exact search among unit vectors, by plain blocked numpy: whoever has a faster exact engine puts it here, and nowhere else.

A score is the float64 inner product of the float32 vectors, summed by numpy in one order, and a tie is equality. Float32 products, of which BLAS makes many a second,
only discard: for vectors a, b of d dimensions any order of summing them is off by at most gamma |a| |b|, gamma = d u / (1 - d u) with u = 2^-24 (Higham 2002, Accuracy
and Stability of Numerical Algorithms, section 3.1), and what that leaves open is summed again.
"""

from collections.abc import Iterable

import numpy as np

ROWS = 4096
LONGEST = 1.01
"""No vector is longer; galleries are refused whose vectors are not of unit length."""


def nearest(probes: np.ndarray, gallery: Iterable[np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the gallery for each probe: scores float64 [P, k], the best first, and rows int64 [P, k], counted over all blocks; of a tie the earlier row.

    probes float32 [P, d]; gallery: blocks float32 [n, d], each looked at once. Fewer rows than k: -inf and -1 at the end.
    """
    scores, rows = np.full((len(probes), k), -np.inf), np.full((len(probes), k), -1, np.int64)
    start = 0
    for block in gallery:
        for first in range(0, len(block), ROWS):
            part = block[first : first + ROWS]
            rough, off = probes @ part.T, _bound(part.shape[1])
            for probe in range(len(probes)):
                best = np.partition(rough[probe], -k)[-k] if len(part) > k else -np.inf
                kept = np.flatnonzero(rough[probe] >= max(best - 2 * off, scores[probe, -1] - off))
                exact = np.concatenate([scores[probe], _exact(probes[probe], part[kept])])
                at = np.concatenate([rows[probe], start + first + kept])
                order = np.argsort(-exact, kind="stable")[:k]  # earlier rows stand first
                scores[probe], rows[probe] = exact[order], at[order]
        start += len(block)
    return scores, rows


def pairs_from(vectors: np.ndarray, cosine: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of vectors float32 [N, d] whose score is at least `cosine`: rows i < j, int64 [E] each, in order, and scores float64 [E]."""
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    off = _bound(vectors.shape[1])
    for first in range(0, len(vectors), ROWS):
        left = vectors[first : first + ROWS]
        for second in range(first, len(vectors), ROWS):
            i, j = np.nonzero(left @ vectors[second : second + ROWS].T >= cosine - off)
            i, j = i + first, j + second
            i, j = i[i < j], j[i < j]
            for at in range(0, len(i), ROWS):
                a, b = i[at : at + ROWS], j[at : at + ROWS]
                exact = _exact(vectors[a], vectors[b])
                found.append((a[exact >= cosine], b[exact >= cosine], exact[exact >= cosine]))
    i, j, scores = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.lexsort((j, i))
    return i[order], j[order], scores[order]


def _exact(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Inner products of float32 vectors along the last axis, float64: each product is exact, their sum is numpy's over one contiguous row."""
    return (one.astype(np.float64) * others.astype(np.float64)).sum(-1)


def _bound(dimension: int) -> float:
    share = dimension * 2.0**-24
    return share / (1 - share) * LONGEST**2
