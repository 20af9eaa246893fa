"""Synthetic distractors: unit vectors drawn from a mixture of Gaussians that was fitted to embeddings of real faces. They are nobody, and are named synthetic throughout.

They stand for real ones only as far as the two were compared: a model fitted to one half of the real embeddings is checked against the other half at sizes that both
reach.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

ROUNDS = 15
BLOCK = 50_000
"""Vectors that are drawn at a time."""


@dataclass(frozen=True)
class Mixture:
    """shares [K] sum to 1; means float32 [K, D]; spread float32 [D, D]: what a standard normal is multiplied with, the same for all clusters."""

    shares: np.ndarray = field(repr=False)
    means: np.ndarray = field(repr=False)
    spread: np.ndarray = field(repr=False)

    def draw(self, rows: int, block: int = BLOCK) -> Iterator[np.ndarray]:
        """float32 [<= block, D] of unit length, `rows` in all. A function of the block: the first rows of many are the rows of few, where blocks are whole."""
        for number, start in enumerate(range(0, rows, block)):
            random = np.random.default_rng((0, number))
            count = min(block, rows - start)
            own = random.choice(len(self.shares), block, p=self.shares)
            vectors = (self.means[own] + random.standard_normal((block, self.spread.shape[0]), np.float32) @ self.spread)[:count]  # BLAS adds up fewer rows otherwise
            yield vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def fit(vectors: np.ndarray, clusters: int) -> Mixture:
    """vectors float [N, D] of unit length -> k-means (spherical), and one covariance within all clusters; no cluster has fewer than 20 vectors on average."""
    vectors = np.asarray(vectors, np.float32)
    count = max(1, min(clusters, len(vectors) // 20))
    random = np.random.default_rng(0)
    means = vectors[random.permutation(len(vectors))[:count]]
    own = np.zeros(len(vectors), np.int64)
    for _ in range(ROUNDS):
        own = (vectors @ means.T).argmax(1)
        sums = np.zeros_like(means)
        np.add.at(sums, own, vectors)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        means = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), means)  # a cluster that nobody is in stays where it was
    sizes = np.bincount(own, minlength=count)
    centres = np.zeros_like(means)
    np.add.at(centres, own, vectors)
    centres /= np.maximum(sizes, 1)[:, None]
    off = vectors - centres[own]
    covariance = (off.T @ off).astype(np.float64) / max(len(vectors) - count, 1)
    values, axes = np.linalg.eigh(covariance)
    spread = np.sqrt(np.maximum(values, 0))[:, None] * axes.T
    return Mixture(sizes / sizes.sum(), centres, spread.astype(np.float32))
