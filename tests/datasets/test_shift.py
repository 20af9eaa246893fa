import numpy as np
import pytest

from polyface.datasets.shift import shift
from polyface.images.align import ARCFACE_112

HABIT = np.array([[-0.02, 0.01], [0.02, 0.0], [0.0, -0.03], [0.01, 0.02], [0.0, 0.0]])  # of the box: eyes a little lower than the detector's, the nose higher


def faces(sizes: np.ndarray, pixels: tuple[float, float], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labelled points, a detector's, and its boxes, of faces of these sizes whose labels lie so many pixels off."""
    random = np.random.default_rng(seed)
    detected = ARCFACE_112 / 112 * sizes[:, None, None]
    labelled = detected + (HABIT + random.normal(0, 0.02, (len(sizes), 5, 2))) * sizes[:, None, None] + pixels
    boxes = np.concatenate([np.zeros((len(sizes), 2)), np.repeat(sizes[:, None], 2, axis=1)], axis=1)
    return labelled, detected, boxes


SIZES = np.geomspace(30, 120, 1000)


@pytest.mark.parametrize("pixels", [(1.0, 1.0), (-0.8, 0.0)])
def test_points_that_lie_off_by_the_same_pixels_on_faces_of_all_sizes_are_found(pixels):
    lies = shift(*faces(SIZES, pixels))
    assert lies.plain
    assert np.allclose(lies.pixels, pixels, atol=4 * max(lies.errors))


def test_habits_of_annotators_which_grow_with_the_face_are_no_shift():
    lies = shift(*faces(SIZES, (0.0, 0.0)))
    assert not lies.plain
    assert np.allclose(lies.pixels, 0, atol=4 * max(lies.errors))


def test_errors_are_the_spread_over_draws_of_faces():
    drawn = [shift(*faces(SIZES, (0.5, 0.5), seed)) for seed in range(60)]
    assert np.std([each.pixels[0] for each in drawn]) == pytest.approx(np.mean([each.errors[0] for each in drawn]), rel=0.3)


def test_a_detector_that_found_somebody_else_does_not_count():
    labelled, detected, boxes = faces(SIZES, (0.0, 0.0))
    detected[::10] += 40
    lies = shift(labelled, detected, boxes)
    assert lies.faces == len(SIZES) - len(SIZES[::10])
    assert not lies.plain


@pytest.mark.parametrize("sizes", [np.linspace(58, 62, 1000), np.geomspace(30, 120, 49)])
def test_nothing_is_said_of_faces_of_one_size_or_of_few(sizes):
    assert shift(*faces(sizes, (1.0, 1.0))) is None
