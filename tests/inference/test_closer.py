"""A detector whose points are corrected: by what the network sees in the crop, where it agrees and there is enough to see."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from polyface import tasks
from polyface.errors import RequestError
from polyface.images import align, geometry
from polyface.images.detect import Face
from polyface.inference.closer import Closer

POINTS = align.points_of_box(np.array([40.0, 30, 110, 123]))


@dataclass
class Finder:
    """Finds faces that are given, whatever it is shown."""

    faces: list[Face]
    name: str = "finder"
    sha256: str = "f" * 64

    def detect_many(self, images, threshold=None):
        return [list(self.faces) for _ in images]


@dataclass
class Sees:
    """An engine that sees the template's five points, moved by so many pixels of its crop."""

    shift: tuple[float, float]
    tasks: tuple = (tasks.age, tasks.landmarks)
    crop: align.Crop = field(default_factory=align.Crop)
    label: str = "net@123"
    crops: list = field(default_factory=list)

    def run(self, crops, names):
        self.crops.append(crops)
        points = np.zeros((68, 3), np.float32)
        five = self.crop.template + np.array(self.shift)
        for rows, point in zip((slice(36, 42), slice(42, 48), 30, 48, 54), five, strict=True):
            points[rows, :2] = point
        return {names[0]: np.stack([points] * len(crops))}


def test_points_go_where_the_network_sees_them() -> None:
    face = Face((40, 30, 110, 123), POINTS, 0.9)
    engine = Sees((2.0, -1.0))
    closer = Closer(Finder([face]), engine)
    (found,) = closer.detect(np.zeros((200, 200, 3), np.uint8))
    scale = geometry.scale_of(align.from_points(POINTS, engine.crop))
    np.testing.assert_allclose(found.points, POINTS + np.array([2.0, -1.0]) / scale, atol=0.3)
    assert (found.box, found.score) == (face.box, face.score) and engine.crops[0].shape == (1, 128, 128, 3)
    assert closer.name == "finder, points by net@123"


def test_points_that_would_jump_or_of_faces_too_small_stay() -> None:
    face, small = Face((40, 30, 110, 123), POINTS, 0.9), Face((0, 0, 10, 12), POINTS / 10, 0.8)
    found = Closer(Finder([face, small]), Sees((40.0, 0.0))).detect_many([np.zeros((200, 200, 3), np.uint8)])[0]
    for one, other in zip(found, [face, small], strict=True):
        np.testing.assert_array_equal(one.points, other.points)


def test_a_picture_without_faces_asks_the_network_nothing() -> None:
    engine = Sees((0.0, 0.0))
    assert Closer(Finder([]), engine).detect_many([np.zeros((20, 20, 3), np.uint8)] * 2) == [[], []]
    assert not engine.crops


def test_a_model_without_points_is_refused() -> None:
    with pytest.raises(RequestError, match="net@123 answers no points"):
        Closer(Finder([]), Sees((0.0, 0.0), tasks=(tasks.age,)))
