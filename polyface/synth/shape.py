"""The face as points in space: 68 points and outlines, moved by age and mood.

Units: the distance between the eyes' centres of a person of mean proportions is 1. Origin between the eyes; x to the image's right, y down, z towards the viewer.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from polyface.synth.people import Scene

# half a jaw line, ear to chin: share of the face's half width, share of the way from the eyes to the chin, depth
_JAW_X = np.array([1.0, 0.995, 0.965, 0.905, 0.80, 0.645, 0.45, 0.23, 0.0])
_JAW_Y = np.array([0.02, 0.17, 0.33, 0.485, 0.635, 0.765, 0.88, 0.965, 1.0])
_JAW_Z = np.array([-1.12, -1.08, -0.98, -0.84, -0.64, -0.42, -0.2, -0.03, 0.07])
_JAW_SQUARE = np.array([0.0, 0.0, 0.01, 0.03, 0.06, 0.075, 0.06, 0.03, 0.0])
_TURNS = np.radians([90.0, 72.0, 54.0, 36.0, 18.0])  # from the jaw line round to the front


@dataclass(frozen=True)
class Shape:
    """A face in space. float64 arrays [n, 3]; `jaw_lines` [17, 5, 3]: from each jaw point round the cheek to the front, for the visible contour."""

    points: np.ndarray
    jaw_lines: np.ndarray
    hairline: np.ndarray
    nose: np.ndarray
    brows: tuple[np.ndarray, np.ndarray]  # image-left, image-right: closed outlines
    width: float
    chin: float
    child: float  # 1 newborn, 0 grown
    wrinkles: float  # 0 none, 1 very old
    grey: float  # the share of grey hair
    receding: float  # 0 a young hairline, 1 bald to the crown
    gap: float  # how far the lips are open

    def surface(self, x: np.ndarray, y: np.ndarray, lift: float = 0.0) -> np.ndarray:
        """Points on the face's front at (x, y), lifted off it: [n, 3]."""
        half, side, front = self._section(y)
        z = side + (front - side) * np.sqrt(np.clip(1 - (x / half) ** 2, 0.02, 1))
        return np.stack([x, y, z + lift], axis=-1)

    def _section(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        heights = np.concatenate([[-1.3, -0.9, -0.45], _JAW_Y * self.chin])
        half = np.interp(y, heights, np.concatenate([[0.75, 1.0, 1.06], np.maximum(_JAW_X, 0.2)]) * self.width)
        side = np.interp(y, heights, np.concatenate([[-0.75, -0.95, -1.08], _JAW_Z]))
        front = np.interp(y, [-1.3, -0.9, -0.4, 0.0, 0.6, 1.2, self.chin], [-0.3, -0.08, 0.06, 0.04, 0.12, 0.16, 0.1])
        return half, side, front


@dataclass(frozen=True)
class _Mood:
    """How an expression moves the face: lengths in eye distances, at intensity 1."""

    brow_in: float = 0.0  # up
    brow_out: float = 0.0
    lids: float = 0.0  # share by which the eye opens
    corners: float = 0.0  # of the mouth, up
    crooked: float = 0.0  # more on the image's right corner
    gap: float = 0.0
    wide: float = 0.0  # share
    thin: float = 0.0  # share of the lips that is pressed away
    sneer: float = 0.0  # upper lip and nostrils, up


_MOODS = {
    "neutral": _Mood(),
    "happy": _Mood(brow_in=0.02, brow_out=0.02, lids=-0.22, corners=0.15, gap=0.11, wide=0.2, thin=0.15),
    "sad": _Mood(brow_in=0.14, brow_out=-0.07, lids=-0.2, corners=-0.13, wide=-0.1),
    "surprise": _Mood(brow_in=0.17, brow_out=0.17, lids=0.45, gap=0.36, wide=-0.25),
    "fear": _Mood(brow_in=0.18, brow_out=0.02, lids=0.4, corners=-0.09, gap=0.14, wide=0.14, thin=0.25),
    "disgust": _Mood(brow_in=-0.08, brow_out=-0.02, lids=-0.38, corners=-0.05, gap=0.09, wide=-0.06, sneer=0.1),
    "anger": _Mood(brow_in=-0.15, brow_out=0.07, lids=0.06, corners=-0.06, thin=0.45, wide=-0.05),
    "contempt": _Mood(brow_out=0.03, lids=-0.16, corners=0.02, crooked=0.13, thin=0.1),
}


def shape_of(scene: Scene) -> Shape:
    who, mood, force = scene.person, _MOODS[scene.expression], scene.intensity
    grey, receding = (float(1 / (1 + np.exp(-(scene.age - middle) / 5))) for middle in (who.grey_from, who.recedes_from))
    child = float(np.clip((17 - scene.age) / 17, 0, 1))
    wrinkles = float(np.clip((scene.age - 32) / 50, 0, 1))
    gap = max(mood.gap * force, scene.mouth_open)
    width = 1.13 * who.face_width * (1 + 0.05 * child)
    rest_chin = 1.9 * who.chin * (1 - 0.19 * child)
    chin = rest_chin + 0.6 * gap

    half_x = width * (_JAW_X + _JAW_SQUARE * (who.jaw * (1 - child) + 0.6 * child + 0.5 * wrinkles))
    half = np.stack([half_x, chin * _JAW_Y, _JAW_Z + 0.1 * child * (_JAW_Z < -0.3)], axis=-1)
    jaw = np.concatenate([half * (-1, 1, 1), half[7::-1]])
    points = np.zeros((68, 3))
    points[:17] = jaw
    shape = Shape(points, _jaw_lines(jaw, chin), np.empty(0), np.empty(0), (jaw, jaw), width, chin, child, wrinkles, grey, receding, gap)

    eyes_apart = 0.5 * who.eye_spacing
    eye_half = 0.2 * who.eye_size * (1 + 0.3 * child)
    eye_height = 0.096 * who.eye_size * who.eye_height * (1 + 0.5 * child) * (1 - 0.22 * wrinkles) * (1 + mood.lids * force)
    for side, first in ((-1, 36), (1, 42)):
        points[first : first + 6] = _eye(shape, side, eyes_apart, eye_half, eye_height, who.eye_tilt - 0.07 * wrinkles)
    brow = _brow(shape, scene, mood, eyes_apart)
    points[17:22], points[22:27] = brow[::-1] * (-1, 1, 1), brow
    if scene.expression == "contempt":
        points[22:27, 1] -= np.array([0.0, 0.04, 0.08, 0.07, 0.03]) * force
    thick = 0.105 * who.brow_thickness * (1 - 0.35 * child)

    length, wide = who.nose_length * (1 - 0.3 * child) * (1 + 0.06 * wrinkles), who.nose_width * (1 - 0.12 * child)
    lift = mood.sneer * force * 0.4
    points[27:31] = [(0, 0.0, 0.14), (0, 0.2 * length, 0.26), (0, 0.4 * length, 0.4), (0, 0.59 * length - lift / 2, 0.54 * length)]
    base_x, base_y = np.array([-0.23, -0.115, 0, 0.115, 0.23]) * wide, np.array([0.725, 0.775, 0.8, 0.775, 0.725]) * length - lift
    points[31:36] = np.stack([base_x, base_y, [0.17, 0.25, 0.31, 0.25, 0.17]], axis=-1)
    points[48:68] = _mouth(shape, scene, mood, rest_chin)
    return Shape(
        points,
        shape.jaw_lines,
        _hairline(scene, width, child, receding),
        _nose(wide, length, who.nose_tip, lift),
        (_thicken(points[17:22], thick, [0.25, 0.7, 1, 1, 0.85]), _thicken(points[22:27], thick, [0.85, 1, 1, 0.7, 0.25])),
        width,
        chin,
        child,
        wrinkles,
        grey,
        receding,
        gap,
    )


def smooth(points: np.ndarray, closed: bool = False, steps: int = 5) -> np.ndarray:
    """A curve (Catmull-Rom) through points [n, d], each of which stays on it: [n * steps, d] closed, [(n - 1) * steps + 1, d] open."""
    return _spline(len(points), closed, steps) @ points


@lru_cache(maxsize=64)
def _spline(count: int, closed: bool, steps: int) -> np.ndarray:
    spans = count if closed else count - 1
    rows = np.zeros((spans * steps + (not closed), count))
    for span in range(spans):
        around = [(span + k) % count if closed else min(max(span + k, 0), count - 1) for k in (-1, 0, 1, 2)]
        for step in range(steps):
            t = step / steps
            weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3)
            for column, weight in zip(around, weights, strict=True):
                rows[span * steps + step, column] += weight / 2
    if not closed:
        rows[-1, -1] = 1
    return rows


def _jaw_lines(jaw: np.ndarray, chin: float) -> np.ndarray:
    """From each jaw point round an ellipse at its height to the front of the face [17, 5, 3]."""
    front = np.interp(jaw[:, 1], [0.0, 0.6, 1.2, chin], [-0.06, 0.04, 0.12, 0.1])
    x = jaw[:, :1] * np.sin(_TURNS)
    z = jaw[:, 2:] + (front[:, None] - jaw[:, 2:]) * np.cos(_TURNS)
    return np.stack([x, np.broadcast_to(jaw[:, 1:2], x.shape), z], axis=-1)


def _eye(shape: Shape, side: int, apart: float, half: float, height: float, tilt: float) -> np.ndarray:
    """Six points in iBUG's order of one eye: the image-left eye begins at its outer corner, the image-right at its inner one; side -1 is image-left."""
    x = np.array([-1, -0.38, 0.38, 1, 0.4, -0.4]) * half
    y = np.array([0, -1.1, -1.1, 0, 0.75, 0.75]) * height
    y = y - y.mean() - tilt * side * x
    return shape.surface(side * apart + x, y, -0.02)


def _brow(shape: Shape, scene: Scene, mood: _Mood, apart: float) -> np.ndarray:
    """Five points from the inner end to the outer end, image-right."""
    who, force = scene.person, scene.intensity
    x = apart + np.array([-0.31, -0.13, 0.08, 0.27, 0.42])
    arch = np.array([0.0, 0.05, 0.075, 0.05, -0.03]) * who.brow_arch
    moved = np.linspace(mood.brow_in, mood.brow_out, 5) * force
    y = -0.31 * who.brow_height * (1 + 0.12 * shape.child) - arch - moved + np.array([0, 0, 0, 0.01, 0.05])
    return shape.surface(x, y, 0.05)


def _thicken(line: np.ndarray, thickness: float, profile: list[float]) -> np.ndarray:
    offset = np.array(profile)[:, None] * (0, thickness / 2, 0)
    return np.concatenate([smooth(line - offset), smooth((line + offset)[::-1])])


def _mouth(shape: Shape, scene: Scene, mood: _Mood, rest_chin: float) -> np.ndarray:
    """Points 48-67."""
    who, force, gap = scene.person, scene.intensity, shape.gap
    middle = rest_chin * 0.595 * who.mouth_height
    half = 0.43 * who.mouth_width * (1 - 0.15 * shape.child) * (1 + mood.wide * force)
    plump = who.lips * (1 - mood.thin * force) * (1 - 0.35 * shape.wrinkles)
    upper, lower = 0.1 * plump, 0.125 * plump
    x = np.array([-1, -0.62, -0.24, 0, 0.24, 0.62, 1])
    top = -upper * np.array([0, 0.66, 1.05, 0.88, 1.05, 0.66, 0])
    bottom = lower * np.array([0, 0.72, 1, 1.05, 1, 0.72, 0])
    bulge = np.array([0, 0.78, 1, 1, 1, 0.78, 0]) * gap
    raised, dropped = -0.3 * bulge, 0.7 * bulge
    corners = mood.corners * force * x**2 + mood.crooked * force * np.clip(x, 0, 1) ** 2  # up
    sneer = mood.sneer * force * (1 - x**2)
    outer_top, outer_bottom = top + raised - corners - sneer, bottom + dropped - corners
    inner_x = np.array([-0.84, -0.26, 0, 0.26, 0.84])
    opening = np.array([0, 1, 1, 1, 0]) * gap
    inner_middle = -mood.corners * force * inner_x**2 - mood.crooked * force * np.clip(inner_x, 0, 1) ** 2
    inner_top = inner_middle - 0.3 * opening - mood.sneer * force * 0.7 * np.array([0, 1, 1, 1, 0])
    inner_bottom = inner_middle + 0.7 * opening
    xs = np.concatenate([x, x[5:0:-1], inner_x, inner_x[3:0:-1]]) * half
    ys = np.concatenate([outer_top, outer_bottom[5:0:-1], inner_top, inner_bottom[3:0:-1]]) + middle
    return shape.surface(xs, ys, 0.06)


def _nose(wide: float, length: float, tip: float, lift: float) -> np.ndarray:
    """The outline of the nose in space (its convex hull in the picture is the nose)."""
    x = np.array([0.09, 0.08, 0.1, 0.19 * wide, 0.265 * wide, 0.27 * wide, 0.13 * wide])
    y = np.array([0.02, 0.2, 0.4, 0.56, 0.64, 0.72, 0.8]) * length - lift * np.array([0, 0, 0, 1, 1, 1, 1])
    z = np.array([0.1, 0.18, 0.27, 0.26, 0.18, 0.12, 0.22])
    side = np.stack([x, y, z], axis=-1)
    ridge = np.array([(0, 0.0, 0.14), (0, 0.2, 0.27), (0, 0.4, 0.42), (0, 0.52, 0.52), (0, 0.6, 0.53 + 0.03 * tip), (0, 0.7, 0.5), (0, 0.8, 0.34)])
    ridge = ridge * (1, length, length) - np.array([0, 1, 0]) * lift * np.array([0, 0, 0, 1, 1, 1, 1])[:, None]
    ball = np.array([(0.1, 0.56, 0.44), (0.12, 0.64, 0.44), (0.09, 0.73, 0.4)]) * (wide * tip, length, length) - (0, lift, 0)
    return np.concatenate([side, side * (-1, 1, 1), ridge, ball, ball * (-1, 1, 1)])


def _hairline(scene: Scene, width: float, child: float, receding: float) -> np.ndarray:
    """The upper edge of the forehead from the image's left temple to its right one."""
    who = scene.person
    x = np.array([-1.06, -1.0, -0.82, -0.5, 0, 0.5, 0.82, 1.0, 1.06]) * width
    rise = np.array([0.28, 0.55, 0.84, 1.02, 1.06, 1.02, 0.84, 0.55, 0.28])
    z = np.array([-1.1, -0.95, -0.6, -0.3, -0.18, -0.3, -0.6, -0.95, -1.1])
    high = who.hairline * (1 + 0.06 * child) * (1 + 0.42 * receding * np.clip(rise, 0.5, 1))
    return np.stack([x, -rise * high - 0.12 * who.parting * x, z - 0.4 * receding * np.array([0, 0, 0.5, 1, 1, 1, 0.5, 0, 0])], axis=-1)
