"""Hair, from behind the neck to the bangs, and hats on it."""

import cv2
import numpy as np

from polyface.synth.canvas import lit
from polyface.synth.portrait import HAIR, HAT, MIRROR, Portrait
from polyface.synth.shape import smooth


def behind(p: Portrait) -> None:
    """Hair that falls behind the neck, or is tied on top."""
    who, style = p.scene.person, p.scene.person.hair_style
    if p.hairless:
        return
    dark = lit(p.hair, 0.8)
    if p.covered_ears:
        length = who.hair_length if style == "long" else 1.35
        v = who.volume
        side = np.array([(0.9, -0.9, -1), (1.22 + v, -0.3, -1.2), (1.28 + v, 0.5, -1.2), (1.26 + v, 1.1, -1.2), (1.2, length, -1.1), (0.6, length + 0.15, -1.3)])
        p.canvas.fill(p.head.project(wave(smooth(np.concatenate([side, (side * MIRROR)[::-1]]), closed=True), p)), dark, HAIR)
    elif style == "tied" and p.scene.age >= 3:
        p.canvas.fill(p.head.ellipsoid(np.array([0.0, -1.85, -1.6]), np.array([0.5, 0.45, 0.5])), lit(p.hair, 0.9), HAIR)


def strands(p: Portrait, front: bool) -> None:
    """Long hair beside the face: before the face is painted the strand that it hides, after it (front) the others."""
    who, shape, canvas = p.scene.person, p.shape, p.canvas
    if p.covered_ears:
        length = who.hair_length if who.hair_style == "long" else 1.3
        v, w = who.volume, shape.width / 1.13
        inner = np.array([(0.5, -1.12, -0.2), (0.86, -0.72, -0.45), (1.0, -0.25, -0.75), (1.05, 0.4, -0.85), (1.03, 1.0, -0.85), (0.88, length, -0.6)])
        outer = np.array([(1.2 + v, length, -1.1), (1.26 + v, 1.0, -1.2), (1.22 + v, 0.2, -1.2), (1.1 + v, -0.6, -1.1), (0.7, -1.35, -0.7)])
        strand = wave(smooth(np.concatenate([inner, outer]) * (w, 1, 1), closed=True), p)
        shine = smooth(inner * (w, 1, 1) + np.array((0.14, 0.1, 0)))
        for side in (MIRROR, np.ones(3)):
            if front == (side[0] * p.scene.yaw < 12):
                canvas.fill(p.head.project(strand * side), p.hair, HAIR)
                canvas.line(p.head.project(shine * side), lit(p.hair, 1.25), p.pixels(0.05), None, 0.5)


def bangs(p: Portrait) -> None:
    who, shape, canvas = p.scene.person, p.shape, p.canvas
    if p.bangs:
        x = np.linspace(-0.93, 0.93, 13) * shape.width
        y = -0.53 + 0.18 * who.parting * x - 0.2 * (np.abs(x) / shape.width) ** 4
        low = shape.surface(x, y, 0.06)
        lock = np.zeros((13, 3))
        lock[:, 1] = 0.07
        canvas.fill(cv2.convexHull(p.head.project(np.concatenate([shape.hairline[1:-1] * (1, 1.06, 1), low])).astype(np.float32))[:, 0], p.hair, HAIR)
        for i in range(0, 12, 2):
            canvas.fill(p.head.project(np.stack([low[i], low[i + 1] + lock[i], low[i + 2]])), p.hair, HAIR)
            canvas.line(p.head.project(np.array([low[i], low[i] * (0.75, 1.6, 1)])), lit(p.hair, 0.75), p.pixels(0.035), None, 0.6)


def hat(p: Portrait) -> None:
    canvas, colour, w = p.canvas, p.scene.hat_colour, p.shape.width / 1.13 * (1 + 0.3 * p.scene.person.volume)
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    ring = np.stack([np.cos(angles), np.zeros(32), np.sin(angles)], axis=-1)
    low = -0.66

    def level(y: float, size: float) -> np.ndarray:
        return ring * (1.26 * w * size, 1, 1.5 * size) + np.array((0, y, -1.15))

    dome = np.concatenate([level(low, 1.0), level(-1.1, 0.99), level(-1.5, 0.86), level(-1.85, 0.6), level(-2.0, 0.3)])
    crown = cv2.convexHull(p.head.project(dome).astype(np.float32))[:, 0]
    if p.scene.hat == "brim":
        canvas.fill(p.head.project(level(low - 0.05, 1.5)), lit(colour, 0.8), HAT)
    canvas.fill(crown, colour, HAT)
    front = ring[:, 2] > -0.1
    band = level(low, 1.0)[front]
    if p.scene.hat == "beanie":
        fold = np.concatenate([band, (band - np.array((0, 0.3, 0)))[::-1]])
        canvas.fill(p.head.project(fold), lit(colour, 0.78), HAT)
    elif p.scene.hat == "cap":
        visor = (ring * (1.15 * w, 1, 2.3) + np.array((0, low, -1.1)) + ring[:, 2:] * (0, 0.2, 0))[ring[:, 2] > 0.3]
        canvas.fill(p.head.project(np.concatenate([visor, band[2:-2][::-1]])), lit(colour, 0.7), HAT)
    else:
        canvas.fill(p.head.project(np.concatenate([band, (band - np.array((0, 0.22, 0)))[::-1]])), lit((255 - colour[0], 255 - colour[1], 255 - colour[2]), 0.6), HAT)


def wave(outline: np.ndarray, p: Portrait) -> np.ndarray:
    """Wavy hair has a wavy outline; its size is relative to the outline's own units (space or pixels)."""
    who = p.scene.person
    if not who.wavy or who.hair_style == "shaved":
        return outline
    unit = 1.0 if outline.shape[1] == 3 else p.head.scale
    size = 0.09 if who.hair_style == "curly" else 0.055
    outward = outline[:, :2] - outline[:, :2].mean(0)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    waved = outline.copy()
    waved[:, :2] += outward * (size * unit * np.sin(np.arange(len(outline)) * 2 * np.pi / (len(outline) // (18 if who.hair_style == "curly" else 12))))[:, None]
    return waved
