"""Pixel conventions and transforms: a dot lands where `apply` says."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyface.images import geometry


@st.composite
def matrices(draw: st.DrawFn, smallest: float = 0.6, largest: float = 2.0) -> np.ndarray:
    scale, degrees = draw(st.floats(smallest, largest)), draw(st.floats(-180, 180))
    return geometry.about((32, 32), scale, degrees, (draw(st.floats(-5, 5)), draw(st.floats(-5, 5))))


def centre_of_mass(image: np.ndarray) -> np.ndarray:
    """In continuous pixels."""
    weights = image.astype(np.float64)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


@settings(max_examples=40)
@given(matrices(), st.integers(24, 39), st.integers(24, 39))
def test_a_soft_dot_lands_where_apply_says(matrix: np.ndarray, x: int, y: int) -> None:
    """Soft, since of a dot of one pixel a shrink by 0.6 may sample a single value, whose place is half a pixel off."""
    rows, columns = np.mgrid[:64, :64]
    image = (255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.5**2))).round().astype(np.uint8)
    landed = geometry.warp(image, geometry.compose(geometry.about((32, 32), shift=(32, 32)), matrix), (128, 128), border=0)
    expected = geometry.apply(matrix, np.array([x + 0.5, y + 0.5])) + 32
    assert np.abs(centre_of_mass(landed) - expected).max() < 0.1


@settings(max_examples=40)
@given(matrices(), st.integers(24, 38), st.integers(24, 38))
def test_a_pixel_of_a_mask_lands_where_apply_says(matrix: np.ndarray, x: int, y: int) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[y : y + 3, x : x + 3] = 7
    landed = geometry.warp(mask, geometry.compose(geometry.about((32, 32), shift=(32, 32)), matrix), (128, 128), border=255, nearest=True)
    assert set(np.unique(landed)) <= {0, 7, 255}
    at = np.floor(geometry.apply(matrix, np.array([x + 1.5, y + 1.5])) + 32).astype(int)
    assert landed[at[1], at[0]] == 7
    assert np.abs(centre_of_mass(landed == 7) - geometry.apply(matrix, np.array([x + 1.5, y + 1.5])) - 32).max() < 0.6


@pytest.mark.parametrize("scale", [0.45, 0.3, 0.1])
def test_a_large_shrink_keeps_places_and_does_not_alias(scale: float) -> None:
    image = np.zeros((400, 400), np.uint8)
    image[100:140, 240:280] = 255
    matrix = geometry.about((200, 200), scale)
    assert np.abs(centre_of_mass(geometry.warp(image, matrix, (400, 400), border=0)) - geometry.apply(matrix, np.array([260, 120]))).max() < 0.35
    stripes = np.tile(np.array([0, 255], np.uint8), (400, 200))
    assert np.std(geometry.warp(stripes, geometry.about((0, 0), scale), (30, 30)).astype(float)) < 127.5 / 4


def test_what_lies_outside_is_the_border_value() -> None:
    landed = geometry.warp(np.zeros((4, 4, 3), np.uint8), geometry.about((0, 0), shift=(2, 0)), (8, 4))
    assert (landed[:, :2] == geometry.GREY).all() and (landed[:, 2:6] == 0).all() and (landed[:, 6:] == geometry.GREY).all()


def test_nothing_moves_under_the_identity() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    assert np.array_equal(geometry.warp(image, np.eye(3)[:2], (7, 9)), image)


def test_conventions_name_the_centre_of_the_first_pixel() -> None:
    assert (geometry.from_zero_based(np.zeros(2)) == 0.5).all()
    assert (geometry.from_one_based(np.ones(2)) == 0.5).all()
    assert (geometry.from_corner_at_one(np.full(2, 1.5)) == 0.5).all()
    for back, there in ((geometry.to_one_based, geometry.from_one_based), (geometry.to_corner_at_one, geometry.from_corner_at_one)):
        assert (back(there(np.arange(4.0))) == np.arange(4.0)).all()


@given(matrices(), matrices())
def test_composed_matrices_apply_in_order_and_invert(second: np.ndarray, first: np.ndarray) -> None:
    points = np.random.default_rng(0).uniform(0, 64, (5, 2))
    both = geometry.compose(second, first)
    assert np.allclose(geometry.apply(both, points), geometry.apply(second, geometry.apply(first, points)))
    assert np.allclose(geometry.apply(geometry.invert(both), geometry.apply(both, points)), points)


@given(st.floats(0.1, 5), st.floats(-179, 179), st.tuples(st.floats(-50, 50), st.floats(-50, 50)))
def test_a_similarity_is_found_again_from_points(scale: float, degrees: float, shift: tuple[float, float]) -> None:
    matrix = geometry.about((10, 20), scale, degrees, shift)
    points = np.random.default_rng(1).uniform(0, 64, (5, 2))
    found = geometry.similarity(points, geometry.apply(matrix, points))
    assert np.allclose(found, matrix, atol=1e-6)
    assert geometry.scale_of(found) == pytest.approx(scale) and geometry.rotation_of(found) == pytest.approx(degrees, abs=1e-6)


def test_a_similarity_is_as_near_as_opencvs_and_never_mirrors() -> None:
    random = np.random.default_rng(2)
    source, target = random.uniform(0, 100, (5, 2)), random.uniform(0, 100, (5, 2))
    found = geometry.similarity(source, target)

    def error(matrix: np.ndarray) -> float:
        return float(((geometry.apply(matrix, source) - target) ** 2).sum())

    opencv = cv2.estimateAffinePartial2D(source, target, method=cv2.LMEDS)[0]
    assert error(found) <= error(opencv) + 1e-9
    for change in random.normal(0, 1e-3, (20, 4)):
        a, b = found[0, 0] + change[0], found[1, 0] + change[1]
        assert error(found) <= error(np.array([[a, -b, found[0, 2] + change[2]], [b, a, found[1, 2] + change[3]]])) + 1e-9
    assert np.linalg.det(geometry.similarity(source, source * [-1, 1])[:, :2]) > 0


def test_turning_is_clockwise_as_seen() -> None:
    right = geometry.apply(geometry.about((0, 0), degrees=90), np.array([1.0, 0.0]))
    assert np.allclose(right, [0, 1])  # y is down: what was at the right is now below


def test_sides_swap_in_the_mirrored_68_points_and_swap_back() -> None:
    assert np.array_equal(geometry.MIRRORED_68[geometry.MIRRORED_68], np.arange(68))
    assert geometry.MIRRORED_68[[0, 8, 17, 27, 31, 36, 39, 48, 60]].tolist() == [16, 8, 26, 27, 35, 45, 42, 54, 64]


def test_five_points_are_means_of_the_68_and_mirror_with_them() -> None:
    weights = geometry.five_of_68()
    assert np.allclose(weights.sum(1), 1)
    assert np.allclose(weights[:, geometry.MIRRORED_68], weights[[1, 0, 2, 4, 3]])


def test_overlap_is_intersection_over_union() -> None:
    box = np.array([0.0, 0, 2, 2])
    assert geometry.overlap(box, box) == 1
    assert geometry.overlap(box, np.array([1.0, 0, 3, 2])) == pytest.approx(1 / 3)
    assert geometry.overlap(box, np.array([2.0, 2, 3, 3])) == 0 == geometry.overlap(np.zeros(4), np.zeros(4))
    assert geometry.box_of(np.array([[1, 5], [3, 2]])).tolist() == [1, 2, 3, 5]


def test_classes_are_enlarged_without_steps_and_lie_where_they_lay() -> None:
    rows, columns = np.mgrid[:64, :64]
    slope = np.where(2 * rows > columns + 20, 7, 0).astype(np.uint8)
    matrix = geometry.about((0, 0), scale=10, shift=(300, -100))
    smooth = geometry.warp_smoothly(slope, matrix, (1400, 500))
    stepped = geometry.warp(slope, matrix, (1400, 500), border=0, nearest=True)
    assert set(np.unique(smooth)) == {0, 7} and (smooth != stepped).mean() < 0.01
    edges = [len(np.unique((classes[:, 300:940] > 0).argmax(0))) for classes in (smooth, stepped)]
    assert edges[0] > 2 * edges[1]  # the edge climbs in more and smaller steps
    assert not geometry.warp_smoothly(slope, geometry.about((0, 0), shift=(2000, 0)), (300, 200)).any()
