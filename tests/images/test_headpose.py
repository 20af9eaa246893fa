"""Angles from 68 points, and their signs: on a camera's projections of the head, and on drawn faces."""

import dataclasses

import cv2
import numpy as np
import pytest

from polyface.images import geometry
from polyface.images.headpose import HEAD_68, RIGID, angles_of_68, angles_of_rotation
from polyface.synth.draw import draw
from polyface.synth.people import person, photo_of


def turn(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """A head at rest turned about x, then y, then z of OpenCV's camera, so that the nose goes right, up and the head clockwise."""
    about_y, about_x, about_z = (cv2.Rodrigues(np.radians(np.array(axis, float)))[0] for axis in ((0, -yaw, 0), (-pitch, 0, 0), (0, 0, roll)))
    return about_z @ about_y @ about_x


def photographed(yaw: float, pitch: float, roll: float, head: np.ndarray = HEAD_68) -> np.ndarray:
    focal = 1200.0
    camera = np.array([[focal, 0, 320], [0, focal, 240], [0, 0, 1]])
    rotation = cv2.Rodrigues(turn(yaw, pitch, roll))[0]
    return cv2.projectPoints(head * [1, -1, -1], rotation, np.array([0.0, 0, 120]), camera, None)[0][:, 0]


def test_a_head_that_faces_the_camera_is_at_rest() -> None:
    assert np.allclose(angles_of_68(photographed(0, 0, 0)), 0, atol=1.5)


@pytest.mark.parametrize("angles", [(30, 0, 0), (-30, 0, 0), (0, 20, 0), (0, -20, 0), (0, 0, 25), (0, 0, -25), (40, 10, -15), (-20, -15, 30)])
def test_known_turns_are_found(angles: tuple[float, float, float]) -> None:
    found = angles_of_68(photographed(*angles))
    assert np.allclose(found, angles, atol=3), found
    for wanted, each in zip(angles, found, strict=True):
        assert wanted == 0 or np.sign(wanted) == np.sign(each)


@pytest.mark.parametrize("angles", [(30, 0, 0), (0, 20, 0), (0, 0, 25), (-60, 0, 0), (40, 10, -15), (-20, -15, 30)])
def test_angles_of_a_rotation_are_exact(angles: tuple[float, float, float]) -> None:
    assert np.allclose(angles_of_rotation(turn(*angles)), angles)


def test_signs_hold_in_the_picture() -> None:
    rest = photographed(0, 0, 0)
    assert photographed(25, 0, 0)[30, 0] > rest[30, 0]  # the tip of the nose goes right
    assert photographed(0, 20, 0)[30, 1] < rest[30, 1]  # up
    eyes = photographed(0, 0, 20)[45] - photographed(0, 0, 20)[36]
    assert eyes[1] > 0  # the image-right eye goes down: clockwise


def test_a_grin_moves_no_angle() -> None:
    grin = HEAD_68.copy()
    grin[48:] += [0, 0.8, 0]
    grin[4:13] += [0, -1.0, 0]
    grin[17:27] += [0, 0.6, 0]
    assert not set(range(48, 68)) & set(RIGID)
    plain, grinning = angles_of_68(photographed(10, 5, 0)), angles_of_68(photographed(10, 5, 0, grin))
    assert np.allclose(plain, grinning, atol=1.5)


def test_a_mirrored_picture_has_the_other_yaw_and_roll() -> None:
    points = photographed(30, 10, -12)
    mirrored = (points * [-1, 1] + [640, 0])[geometry.MIRRORED_68]
    assert np.allclose(angles_of_68(mirrored), np.array(angles_of_68(points)) * [-1, 1, -1], atol=0.5)


def test_turning_the_picture_turns_roll_alone() -> None:
    points = photographed(20, -10, 5)
    turned = geometry.apply(geometry.about((320, 240), degrees=15), points)
    assert np.allclose(np.array(angles_of_68(turned)) - angles_of_68(points), [0, 0, 15], atol=1)


def test_drawn_faces_turn_the_way_their_labels_say() -> None:
    scene = photo_of(person(1, 0), 1, 0)
    for axis in ("yaw", "roll"):
        found = []
        for angle in (-20.0, 20.0):
            drawing = draw(dataclasses.replace(scene, **{"yaw": 0.0, "pitch": 0.0, "roll": 0.0, axis: angle}), 192)
            found.append(angles_of_68(drawing.labels.points)[("yaw", "pitch", "roll").index(axis)])
        assert found[0] < -8 and found[1] > 8
