"""From five points or a box to the crop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface.images import align, geometry
from polyface.images.align import Crop


def test_the_crop_has_an_eye_distance_of_30_about_64_60() -> None:
    template = Crop().template
    assert np.linalg.norm(template[1] - template[0]) == pytest.approx(30)
    assert np.allclose(template[:2].mean(0), (64, 60))
    assert (template[2:, 1] > 60).all() and template[0, 0] < template[1, 0] and template[3, 0] < template[4, 0]


def test_arcfaces_template_is_arcfaces_own_crop() -> None:
    distance = float(np.linalg.norm(align.ARCFACE_112[1] - align.ARCFACE_112[0]))
    crop = Crop(112, distance, tuple(align.ARCFACE_112[:2].mean(0)))  # type: ignore[arg-type]
    assert np.allclose(align.from_points(align.ARCFACE_112, crop), np.eye(3)[:2], atol=1e-9)


@given(st.floats(0.2, 8), st.floats(-179, 179), st.floats(-300, 300))
def test_a_face_of_any_size_and_turn_comes_to_the_template(scale: float, degrees: float, shift: float) -> None:
    moved = geometry.about((64, 60), scale, degrees, (shift, -shift))
    points = geometry.apply(moved, Crop().template)
    matrix = align.from_points(points, Crop())
    assert np.allclose(geometry.apply(matrix, points), Crop().template, atol=1e-6)
    assert geometry.rotation_of(matrix) == pytest.approx(-degrees, abs=1e-6)


@pytest.mark.parametrize("size", [64, 96, 384])
def test_a_crop_of_another_size_is_the_same_view(size: int) -> None:
    points = geometry.apply(geometry.about((10, 10), 2.5, 15), Crop().template)
    small, large = align.from_points(points, Crop().scaled(size)), align.from_points(points, Crop())
    assert np.allclose(geometry.apply(small, points) / size, geometry.apply(large, points) / 128)


def test_a_profile_takes_its_scale_from_eyes_to_mouth() -> None:
    profile = Crop().template.copy()
    profile[:, 0] = 64 + (profile[:, 0] - 64) * 0.05
    assert 0.6 < geometry.scale_of(align.from_points(profile, Crop())) < 1.4


@given(st.floats(10, 500), st.floats(-100, 1000))
def test_points_of_a_box_and_the_box_of_points_are_one_face(size: float, left: float) -> None:
    box = np.array([left, 20, left + size * align.BOX_WIDTH, 20 + size * align.BOX_HEIGHT])
    points = align.points_of_box(box)
    assert np.allclose(align.box_of_points(points), box, atol=1e-6 * size)
    assert np.linalg.norm(points[1] - points[0]) == pytest.approx(size)
    assert (points > box[:2]).all() and (points < box[2:]).all()


def test_a_box_without_size_gives_points_that_can_be_aligned() -> None:
    assert np.isfinite(align.from_points(align.points_of_box(np.array([5.0, 5, 5, 5])), Crop())).all()
