"""From points or a box to the crop that every task reads."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polyface.images import geometry

ARCFACE_112 = geometry.from_zero_based(np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]))
"""ArcFace's five points in its 112 x 112 crop (insightface, `face_align.py`), in our coordinates."""


@dataclass(frozen=True)
class Crop:
    """The square crop: its side in pixels, and where ArcFace's template sits in it (eye distance, and the point between the eyes, in pixels)."""

    size: int = 128
    eye_distance: float = 30.0
    eyes: tuple[float, float] = (64.0, 60.0)

    @cached_property
    def template(self) -> np.ndarray:
        """The five points [5, 2] a face is aligned to."""
        between, distance = ARCFACE_112[:2].mean(0), np.linalg.norm(ARCFACE_112[1] - ARCFACE_112[0])
        return (ARCFACE_112 - between) * (self.eye_distance / distance) + np.array(self.eyes)

    def scaled(self, size: int) -> "Crop":
        """The same view in another number of pixels."""
        factor = size / self.size
        return Crop(size, self.eye_distance * factor, (self.eyes[0] * factor, self.eyes[1] * factor))


def from_points(points: np.ndarray, crop: Crop) -> np.ndarray:
    """Picture -> crop from five points [5, 2]. Where eyes fall together, in a profile, the fit takes the scale from the height between eyes and mouth."""
    return geometry.similarity(points, crop.template)


def eyes_in_picture(matrix: np.ndarray, crop: Crop) -> float:
    """How far apart in the picture, in pixels, the eyes of a face are that a matrix takes to the crop; of a profile, how far they would be from the front.
    0 where all five points are one."""
    scale = geometry.scale_of(matrix)
    return crop.eye_distance / scale if scale else 0.0


BOX_WIDTH, BOX_HEIGHT, EYES_DOWN_THE_BOX = 2.22, 2.95, 0.38
"""YuNet's face box in eye distances, and how far down the eyes are: medians over ten sets, see LOG.md."""


def points_of_box(box: np.ndarray) -> np.ndarray:
    """Where the five points [5, 2] of an upright face lie in a face box (x0, y0, x1, y1) from brow to chin, such as detectors draw."""
    x0, y0, x1, y1 = (float(value) for value in box)
    eye_distance = max(((x1 - x0) / BOX_WIDTH + (y1 - y0) / BOX_HEIGHT) / 2, 1.0)
    offsets = (Crop().template - np.array(Crop().eyes)) / Crop().eye_distance * eye_distance
    return np.array([(x0 + x1) / 2, y0 + EYES_DOWN_THE_BOX * (y1 - y0)]) + offsets


def box_of_points(points: np.ndarray) -> np.ndarray:
    """The face box (x0, y0, x1, y1) a detector would draw about five points [5, 2]: `points_of_box` the other way round, upright."""
    to_crop = from_points(points, Crop())
    width, height = BOX_WIDTH * Crop().eye_distance, BOX_HEIGHT * Crop().eye_distance
    centre = geometry.apply(geometry.invert(to_crop), np.array([Crop().eyes[0], Crop().eyes[1] + (0.5 - EYES_DOWN_THE_BOX) * height]))
    half = np.array([width, height]) / 2 / geometry.scale_of(to_crop)
    return np.concatenate([centre - half, centre + half])
