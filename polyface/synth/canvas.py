"""A picture and its mask, painted together from the same outlines, so that the labels are exact; and the camera that puts points in space on them."""

from dataclasses import dataclass

import cv2
import numpy as np

from polyface.synth.people import Colour

_FAR = 14.0  # of the camera from the face, in eye distances: about 0.9 m
_SHIFT = 4  # OpenCV takes sixteenths of a pixel
_FAT = 0.57  # pixels by which OpenCV's filled polygons reach beyond their outlines, measured on ellipses


@dataclass(frozen=True)
class Camera:
    """rotation [3, 3] turns the head, linear [2, 2] (scale and roll) and origin [2] place what is seen in the picture."""

    rotation: np.ndarray
    linear: np.ndarray
    origin: np.ndarray

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 3] in space -> [..., 2] in the picture, in weak perspective."""
        return self.flat(points) @ self.linear.T + self.origin

    def flat(self, points: np.ndarray) -> np.ndarray:
        """As seen, before scale, roll and place."""
        turned = points @ self.rotation.T
        return turned[..., :2] * (_FAR / (_FAR - turned[..., 2:]))

    def ellipsoid(self, centre: np.ndarray, radii: np.ndarray, count: int = 40) -> np.ndarray:
        """The outline of an ellipsoid [count, 2], clockwise from the image's right."""
        spread = (self.rotation * radii**2) @ self.rotation.T
        angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        return (circle @ np.linalg.cholesky(spread[:2, :2]).T + self.flat(centre)) @ self.linear.T + self.origin

    @property
    def scale(self) -> float:
        """Pixels for one eye distance."""
        return float(np.hypot(self.linear[0, 0], self.linear[1, 0]))


def turned(yaw: float, pitch: float) -> np.ndarray:
    """The head's rotation: nod by pitch, then turn by yaw (roll, last, lies in the picture): as in 300W-LP, R = Rz(roll) Ry(yaw) Rx(pitch)."""
    a, b = np.radians(yaw), np.radians(pitch)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return turn @ nod


def rolled(degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


class Canvas:
    """image uint8 RGB [H, W, 3] and mask uint8 [H, W]. Outlines are [n, 2] in continuous pixels; widths are in pixels."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.mask = np.zeros(image.shape[:2], np.uint8)

    def fill(self, outline: np.ndarray, colour: Colour, label: int | None = None, opacity: float = 1.0) -> None:
        points = _fixed(_inside(outline))
        if label is not None:
            cv2.fillPoly(self.mask, [points], label, cv2.LINE_8, _SHIFT)
        if opacity >= 1:
            cv2.fillPoly(self.image, [points], colour, cv2.LINE_AA, _SHIFT)
        elif (area := self._around(outline)) is not None:
            x0, y0, x1, y1 = area
            patch = self.image[y0:y1, x0:x1]
            painted = patch.copy()
            cv2.fillPoly(painted, [points - (x0 << _SHIFT, y0 << _SHIFT)], colour, cv2.LINE_AA, _SHIFT)
            cv2.addWeighted(painted, opacity, patch, 1 - opacity, 0, dst=painted)
            patch[:] = painted

    def line(self, points: np.ndarray, colour: Colour, width: float, label: int | None = None, opacity: float = 1.0, closed: bool = False) -> None:
        """A stroke; thinner than a pixel it fades instead."""
        opacity *= min(1.0, width)
        thickness = max(1, round(width))
        fixed = _fixed(points)
        if label is not None:
            cv2.polylines(self.mask, [fixed], closed, label, thickness, cv2.LINE_8, _SHIFT)
        if opacity >= 1:
            cv2.polylines(self.image, [fixed], closed, colour, thickness, cv2.LINE_AA, _SHIFT)
        elif (area := self._around(points, thickness)) is not None:
            x0, y0, x1, y1 = area
            patch = self.image[y0:y1, x0:x1]
            painted = patch.copy()
            cv2.polylines(painted, [fixed - (x0 << _SHIFT, y0 << _SHIFT)], closed, colour, thickness, cv2.LINE_AA, _SHIFT)
            cv2.addWeighted(painted, opacity, patch, 1 - opacity, 0, dst=painted)
            patch[:] = painted

    def within(self, outline: np.ndarray, shapes: list[tuple[np.ndarray, Colour]]) -> None:
        """Fill shapes, one over the other, where they lie inside an outline."""
        if (area := self._around(outline)) is None:
            return
        x0, y0, x1, y1 = area
        corner = (x0 << _SHIFT, y0 << _SHIFT)
        patch = self.image[y0:y1, x0:x1]
        painted, stencil = patch.copy(), np.zeros(patch.shape[:2], np.uint8)
        cv2.fillPoly(stencil, [_fixed(_inside(outline)) - corner], 255, cv2.LINE_AA, _SHIFT)
        for shape, colour in shapes:
            cv2.fillPoly(painted, [_fixed(_inside(shape)) - corner], colour, cv2.LINE_AA, _SHIFT)
        share = stencil[..., None].astype(np.uint16)
        patch[:] = ((painted * share + patch * (255 - share) + 127) // 255).astype(np.uint8)

    def shade(self, shapes: list[tuple[np.ndarray, int]], blur: float, labels: tuple[int, ...]) -> None:
        """Multiply what carries these labels by soft light: shapes of brightness (128 is neutral), blurred by that many pixels."""
        height, width = self.image.shape[:2]
        small = (max(1, width // 2), max(1, height // 2))
        light = np.full((small[1], small[0]), 128, np.uint8)
        for outline, value in shapes:
            cv2.fillPoly(light, [_fixed(outline * (small[0] / width, small[1] / height))], value, cv2.LINE_AA, _SHIFT)
        light = cv2.resize(cv2.GaussianBlur(light, (0, 0), max(0.5, blur / 2)), (width, height), interpolation=cv2.INTER_LINEAR)
        member = np.zeros(256, np.uint8)
        member[list(labels)] = 1
        light[cv2.LUT(self.mask, member) == 0] = 128
        self.image = cv2.multiply(self.image, cv2.cvtColor(light, cv2.COLOR_GRAY2RGB), scale=1 / 128)

    def _around(self, points: np.ndarray, margin: float = 0.0) -> tuple[int, int, int, int] | None:
        """The part of the picture that may be touched, or None."""
        height, width = self.image.shape[:2]
        (left, top), (right, bottom) = (points.min(0) - margin - 2).tolist(), (points.max(0) + margin + 3).tolist()
        x0, y0, x1, y1 = max(int(left), 0), max(int(top), 0), min(int(right), width), min(int(bottom), height)
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """share 0 is the first colour, 1 the second."""
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(first, second, strict=True))
    return red, green, blue


def lit(colour: Colour, factor: float) -> Colour:
    red, green, blue = (int(min(255, round(value * factor))) for value in colour)
    return red, green, blue


def oval(centre: np.ndarray, half_width: float, half_height: float, count: int = 20) -> np.ndarray:
    """An ellipse about a point of any dimension, in its first two coordinates: [count, d]."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points = np.repeat(np.asarray(centre, np.float64)[None], count, axis=0)
    points[:, 0] += half_width * np.cos(angles)
    points[:, 1] += half_height * np.sin(angles)
    return points


def _inside(outline: np.ndarray) -> np.ndarray:
    """An outline drawn in by half a pixel: OpenCV fills its own outline too, and without this every shape would be half a pixel fat all round."""
    corners = np.ascontiguousarray(outline, np.float64).view(np.complex128)[:, 0]
    edges = np.append(corners[1:], corners[0]) - corners
    clockwise = (corners.conj() @ edges).imag > 0
    outward = edges / np.maximum(np.abs(edges), 1e-9)
    outward += np.append(outward[-1], outward[:-1])
    outward *= (-1j if clockwise else 1j) * _FAT / np.maximum(np.abs(outward), 1e-9)
    return (corners - outward).view(np.float64).reshape(-1, 2)


def _fixed(points: np.ndarray) -> np.ndarray:
    """Continuous pixels -> OpenCV's fixed point, whose pixel centres are whole numbers."""
    return np.round((points - 0.5) * (1 << _SHIFT)).astype(np.int32)
