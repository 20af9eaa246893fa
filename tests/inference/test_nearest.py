import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyface.inference import nearest as module
from polyface.inference.nearest import nearest, pairs_from


def unit(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    vectors = rng.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def slow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Every score, float64, one product after the other."""
    return np.array([[(one.astype(np.float64) * other.astype(np.float64)).sum() for other in b] for one in a]).reshape(len(a), len(b))


def crowded(seed: int, n: int, d: int) -> np.ndarray:
    """Vectors of which many are one float32 step from each other, or equal: float32 products cannot tell them apart."""
    rng = np.random.default_rng(seed)
    centres = unit(rng, 3, d)
    vectors = centres[rng.integers(0, 3, n)]
    steps = rng.integers(-1, 2, vectors.shape)
    return np.where(steps == 0, vectors, np.nextafter(vectors, np.float32(2) * steps.astype(np.float32)))


@settings(max_examples=25)
@given(seed=st.integers(0, 999), n=st.integers(1, 40), k=st.integers(1, 12), blocks=st.integers(1, 4), d=st.sampled_from([2, 33, 512]), rows=st.sampled_from([5, 4096]))
def test_the_nearest_are_those_of_all_scores_sorted(seed: int, n: int, k: int, blocks: int, d: int, rows: int) -> None:
    gallery = crowded(seed, n, d)
    probes = np.concatenate([crowded(seed, 2, d), unit(np.random.default_rng(seed), 2, d)])
    before, module.ROWS = module.ROWS, rows
    try:
        scores, found = nearest(probes, np.array_split(gallery, blocks), k)
    finally:
        module.ROWS = before
    truth = slow(probes, gallery)
    for probe in range(len(probes)):
        order = np.argsort(-truth[probe], kind="stable")[:k]
        assert found[probe, : len(order)].tolist() == order.tolist()
        assert scores[probe, : len(order)].tolist() == truth[probe, order].tolist()
    assert (found[:, n:] == -1).all() and np.isneginf(scores[:, n:]).all()


@settings(max_examples=25)
@given(seed=st.integers(0, 999), n=st.integers(1, 30), d=st.sampled_from([2, 33, 512]), rows=st.sampled_from([4, 4096]), at=st.integers(0, 10_000))
def test_pairs_are_those_of_all_scores_and_a_tie_with_the_line_reaches_it(seed: int, n: int, d: int, rows: int, at: int) -> None:
    vectors = crowded(seed, n, d)
    truth = slow(vectors, vectors)
    cosine = float(truth.ravel()[at % truth.size])  # a line that some pair, or face, lies on exactly
    before, module.ROWS = module.ROWS, rows
    try:
        i, j, scores = pairs_from(vectors, cosine)
    finally:
        module.ROWS = before
    expected = [(a, b) for a in range(n) for b in range(a + 1, n) if truth[a, b] >= cosine]
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == expected
    assert scores.tolist() == [truth[a, b] for a, b in expected]


def test_float32_alone_would_err() -> None:
    """The test above can fail: products in float32 put other rows first."""
    gallery = crowded(0, 40, 512)
    truth, rough = slow(gallery[:1], gallery)[0], (gallery[:1] @ gallery.T)[0]
    assert np.argsort(-truth, kind="stable").tolist() != np.argsort(-rough, kind="stable").tolist()


@pytest.mark.parametrize("d", [2, 128, 512])
def test_the_bound_covers_the_worst_that_float32_products_do(d: int) -> None:
    vectors = unit(np.random.default_rng(d), 200, d)
    exact = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    assert 0 < np.abs(vectors @ vectors.T - exact).max() < module._bound(d)
