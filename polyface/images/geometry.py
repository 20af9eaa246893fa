"""Transforms, and the one place that converts between pixel conventions.

Inside the project a coordinate is a continuous pixel: the centre of the first pixel is (0.5, 0.5), the picture spans [0, W] x [0, H]. OpenCV, ArcFace's template
and CelebA put the first pixel's centre at (0, 0); 300-W's .pts and MTFL at (1, 1). Matrices are float64 [2, 3] from a source's coordinates to a destination's.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

GREY = (128, 128, 128)

MIRRORED_68 = np.array(
    [
        *(*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
    ]
)
"""Point i of a mirrored face is point MIRRORED_68[i] of the face (iBUG's order)."""


def from_zero_based(points: np.ndarray) -> np.ndarray:
    """Coordinates whose first pixel's centre is 0 (OpenCV, ArcFace, CelebA) -> ours."""
    return np.asarray(points, np.float64) + 0.5


def from_one_based(points: np.ndarray) -> np.ndarray:
    """Coordinates whose first pixel's centre is 1 (300-W's .pts, a part of MTFL) -> ours."""
    return np.asarray(points, np.float64) - 0.5


def to_one_based(points: np.ndarray) -> np.ndarray:
    return np.asarray(points, np.float64) + 0.5


def from_corner_at_one(points: np.ndarray) -> np.ndarray:
    """Coordinates whose first pixel begins at 1, its centre at 1.5 (the other parts of MTFL) -> ours."""
    return np.asarray(points, np.float64) - 1.0


def to_corner_at_one(points: np.ndarray) -> np.ndarray:
    return np.asarray(points, np.float64) + 1.0


def five_of_68() -> np.ndarray:
    """float [5, 68]: image-left eye, image-right eye (each the mean of its six points), nose tip 30, mouth corners 48 and 54."""
    weights = np.zeros((5, 68))
    weights[0, 36:42] = weights[1, 42:48] = 1 / 6
    weights[2, 30] = weights[3, 48] = weights[4, 54] = 1
    return weights


def similarity(source: np.ndarray, destination: np.ndarray) -> np.ndarray:
    """The rotation, uniform scale and shift that takes source [N, 2] nearest to destination in least squares (Umeyama 1991, without reflection)."""
    source, destination = np.asarray(source, np.float64), np.asarray(destination, np.float64)
    from_mean, to_mean = source.mean(0), destination.mean(0)
    a, b = source - from_mean, destination - to_mean
    power = max((a**2).sum(), 1e-12)
    cosine, sine = (a * b).sum() / power, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / power
    return _turn(cosine, sine, from_mean, to_mean)


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The matrix that applies first, then second."""
    both = second[:, :2] @ first
    both[:, 2] += second[:, 2]
    return both


def invert(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.inv(np.vstack([matrix, [0.0, 0.0, 1.0]]))[:2]


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [..., 2] through a matrix."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def scale_of(matrix: np.ndarray) -> float:
    """How many destination pixels one source pixel becomes, along a side."""
    (a, b, _), (c, d, _) = matrix.tolist()
    return math.sqrt(abs(a * d - b * c))


def rotation_of(matrix: np.ndarray) -> float:
    """Degrees by which a matrix turns a picture, clockwise as seen (x right, y down)."""
    return float(np.degrees(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1])))


def about(centre: tuple[float, float], scale: float = 1.0, degrees: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Turn clockwise and scale about a centre, then shift."""
    cosine, sine = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return _turn(cosine, sine, centre, (centre[0] + shift[0], centre[1] + shift[1]))


def to_square(box: Sequence[float], side: int, room: float) -> np.ndarray:
    """Picture -> a square of `side` pixels about a box (x0, y0, x1, y1), that shows `room` times its longer side."""
    x0, y0, x1, y1 = box
    scale = side / (room * max(x1 - x0, y1 - y0, 1.0))
    return _turn(scale, 0.0, ((x0 + x1) / 2, (y0 + y1) / 2), (side / 2, side / 2))


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int | tuple[int, int, int] = GREY, nearest: bool = False) -> np.ndarray:
    """One resampling of an image [H, W] or [H, W, 3] into size (width, height); what lies outside the source becomes the border value.

    A shrink of more than two goes through INTER_AREA first, so that nothing aliases.
    """
    scale = scale_of(matrix)
    if scale < 0.5 and not nearest:
        image, back = shrunk(image, scale * 1.5)
        matrix = compose(matrix, back)
    flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return cv2.warpAffine(image, _zero_based(matrix), size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=border)


def warp_smoothly(classes: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Class indices uint8 [H, W] in size (width, height), enlarged without steps; outside the source 0.

    They are first enlarged, up to four times, each class blended by itself: a pixel is of the class that is strongest there. Steps a fourth as large nobody sees.
    """
    times = min(max(round(scale_of(matrix)), 1), 4)
    finer = np.zeros((classes.shape[0] * times, classes.shape[1] * times), np.uint8)
    strongest = np.zeros_like(finer)
    for number in np.unique(classes):
        strength = cv2.resize((classes == number).astype(np.uint8) * 255, finer.shape[::-1], interpolation=cv2.INTER_LINEAR)
        finer[strength > strongest] = number
        np.maximum(strength, strongest, out=strongest)
    return warp(finer, compose(matrix, about((0.0, 0.0), 1 / times)), size, border=0, nearest=True)


def shrunk(image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The same picture smaller, each pixel the mean of those it stands for (INTER_AREA), and the matrix from it back to the image. scale: at most 1."""
    height, width = image.shape[:2]
    to = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, to, interpolation=cv2.INTER_AREA), np.array([[width / to[0], 0.0, 0.0], [0.0, height / to[1], 0.0]])


def box_of(points: np.ndarray) -> np.ndarray:
    """(x0, y0, x1, y1) about points [N, 2]."""
    return np.concatenate([np.min(points, axis=0), np.max(points, axis=0)])


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    union = float(np.prod(np.subtract(first[2:], first[:2])) + np.prod(np.subtract(second[2:], second[:2]))) - shared
    return shared / union if union > 0 else 0.0


def _turn(cosine: float, sine: float, middle: Sequence[float] | np.ndarray, to: Sequence[float] | np.ndarray) -> np.ndarray:
    """Turn and scale about a middle, which goes to a place."""
    (x, y), (u, v) = middle, to
    return np.array([[cosine, -sine, u - cosine * x + sine * y], [sine, cosine, v - sine * x - cosine * y]])


def _zero_based(matrix: np.ndarray) -> np.ndarray:
    """The same transform between OpenCV's coordinates, whose first pixel's centre is (0, 0)."""
    (a, b, x), (c, d, y) = matrix.tolist()
    return np.array([[a, b, x + (a + b - 1) / 2], [c, d, y + (c + d - 1) / 2]])
