"""The parts of a portrait but for hair, each painted on the canvas from points in space."""

import cv2
import numpy as np

from polyface.synth.canvas import lit, mix, oval
from polyface.synth.hair import wave
from polyface.synth.portrait import (
    CLOTH,
    EARRING,
    GLASSES,
    HAIR,
    L_BROW,
    L_EAR,
    L_EYE,
    LOWER_LIP,
    MIRROR,
    MOUTH,
    NECK,
    NECKLACE,
    NOSE,
    R_BROW,
    R_EAR,
    R_EYE,
    SKIN,
    UPPER_LIP,
    Portrait,
)
from polyface.synth.shape import smooth

_SKULL, _SKULL_RADII = np.array([0.0, -0.32, -1.2]), np.array([1.17, 1.45, 1.4])


def body(p: Portrait) -> None:
    """Neck, clothes, tie, necklace."""
    canvas, wide = p.canvas, 0.62 * (1 - 0.25 * p.shape.child) + (0.06 if p.scene.person.gender == "male" and p.scene.age > 15 else 0)
    top = p.head.project(np.array([(-wide, 0.6, -1.1), (wide, 0.6, -1.1)]))
    base = p.body.project(smooth(np.array([(wide * 1.02, 0.85, 0.0), (wide * 1.3, 1.2, 0), (0.0, 1.75, 0.4), (-wide * 1.3, 1.2, 0), (-wide * 1.02, 0.85, 0)])))
    shoulder = np.array([(wide * 1.15, 1.05, -0.2), (1.35, 1.32, -0.3), (2.1, 1.55, -0.3), (2.6, 2.1, -0.3), (2.8, 6.0, -0.3)]) * (1 - 0.15 * p.shape.child, 1, 1)
    cloth = p.scene.cloth
    canvas.fill(p.body.project(np.concatenate([(shoulder * MIRROR)[::-1], shoulder])), cloth, CLOTH)
    canvas.fill(np.concatenate([top, base]), lit(p.skin, 0.86), NECK)
    canvas.fill(p.head.ellipsoid(np.array([0.0, 0.62 * p.shape.chin, -0.55]), np.array([0.78, 0.62 * p.shape.chin, 0.6])), lit(p.skin, 0.72), None, 0.6)
    inside = base[4:-4]
    canvas.line(inside, lit(cloth, 0.72), p.pixels(0.12), CLOTH)
    if p.scene.necklace:
        chain = p.body.project(smooth(np.array([(wide, 0.75, 0.1), (0.55 * wide, 1.15, 0.3), (0, 1.32, 0.4), (-0.55 * wide, 1.15, 0.3), (-wide, 0.75, 0.1)])))
        canvas.line(chain, (226, 190, 84), p.pixels(0.07), NECKLACE)
    if p.scene.necktie:
        tie = np.array([(-0.17, 1.6, 0.4), (0.17, 1.6, 0.4), (0.11, 1.9, 0.4), (0.3, 3.6, 0.4), (-0.3, 3.6, 0.4), (-0.11, 1.9, 0.4)])
        canvas.fill(p.body.project(tie), lit((255 - cloth[0], 255 - cloth[1], 255 - cloth[2]), 0.7), CLOTH)


def head_and_ears(p: Portrait) -> None:
    """The skull with its hair, then the ears, which the face will cover where it hides them."""
    who, canvas = p.scene.person, p.canvas
    canvas.fill(p.head.ellipsoid(_SKULL, _SKULL_RADII * (p.shape.width / 1.13, 1, 1)), lit(p.skin, 0.96), SKIN)
    if not p.hairless:
        grown = min(1.0, (p.scene.age + 1) / 4)
        v = {"shaved": 0.02, "short": 0.06 + 0.4 * who.volume, "curly": 0.15 + who.volume}.get(who.hair_style, who.volume) * grown
        outline = p.head.ellipsoid(_SKULL - np.array((0, 0.3 * v, 0)), _SKULL_RADII * (p.shape.width / 1.13, 1, 1) + v, 120)
        hair = mix(p.hair, p.skin, 0.35) if who.hair_style == "shaved" else p.hair
        canvas.fill(wave(outline, p), hair, HAIR)
        centre = outline.mean(0)
        for size, light in ((0.94, 0.8), (0.86, 1.22), (0.78, 0.82)):
            canvas.line((outline[64:116] - centre) * size + centre, lit(hair, light), p.pixels(0.05), None, 0.5)
    if p.covered_ears:
        return
    size = 0.33 * who.ears * (1 + 0.12 * p.shape.wrinkles)
    for side, label in ((-1, R_EAR), (1, L_EAR)):
        angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        centre = np.array([side * (p.shape.width + 0.03), 0.2 * p.shape.chin / 1.9 + 0.05, -1.15])
        along = np.array([side * 0.13, 0.0, -0.2]) * who.ears
        ear = centre + along * np.cos(angles)[:, None] + np.array([side * 0.08, -size, -0.05]) * np.sin(angles)[:, None]
        canvas.fill(p.head.project(ear), lit(p.skin, 0.92), label)
        canvas.line(p.head.project(centre + (ear - centre) * 0.6)[:13], lit(p.skin, 0.72), p.pixels(0.04))
        if p.scene.earrings:
            drop = p.head.project((centre + np.array((side * 0.02, size + 0.06, 0.02)))[None])[0]
            canvas.fill(oval(drop, p.pixels(0.085), p.pixels(0.11)), (238, 206, 96), EARRING)


def skin(p: Portrait) -> None:
    """The face's skin with soft light on it, the nose, and what age and beards leave there."""
    canvas, shape, scene = p.canvas, p.shape, p.scene
    canvas.fill(p.face, p.skin, SKIN)
    points = shape.points
    nose = p.head.project(shape.nose)
    nose = cv2.convexHull(nose.astype(np.float32))[:, 0]
    canvas.fill(nose, p.skin, NOSE)
    sockets = [(p.on(eye.mean(0) - np.array((0, 0.05, 0)), 0.34, 0.24), 96) for eye in (points[36:42], points[42:48])]
    cheeks = [(p.on(np.array([side * 0.62, 0.62, 0.1]), 0.3, 0.22), 144) for side in (-1, 1)]
    wings = [(p.on(points[i] + np.array((side * 0.05, -0.02, 0)), 0.1, 0.1), 104) for i, side in ((31, -1), (35, 1))]
    ridge = [(np.concatenate([p.head.project(points[27:31] + np.array((side * 0.07, 0, 0)))[::side] for side in (-1, 1)]), 156)]
    under = [(p.on(points[57] + np.array((0, 0.13, 0)), 0.3, 0.06), 112), (p.on(points[33] + np.array((0, 0.05, -0.05)), 0.22, 0.06), 108)]
    edge = [(p.contour, 128), (np.concatenate([p.contour[36:], (p.contour[36:] * (0.9, 1) + np.array((0.1 * p.contour[32, 0], 0)))[::-1]]), 112)]
    canvas.shade([*edge, *sockets, *cheeks, *wings, *ridge, *under], p.pixels(0.085), (SKIN, NOSE))
    if scene.rosy:
        for side in (side for side in (-1, 1) if side * scene.yaw < 25):
            canvas.fill(p.on(np.array([side * 0.66, 0.66, 0.1]), 0.24, 0.17), (232, 92, 92), None, 0.3)
    if scene.person.freckles:
        for x, y in ((-0.6, 0.5), (-0.45, 0.58), (-0.7, 0.62), (0.5, 0.52), (0.64, 0.6), (0.43, 0.63), (-0.52, 0.7), (0.72, 0.5), (0, 0.45), (0.08, 0.36)):
            canvas.fill(p.on(np.array([x, y, 0.2 if abs(x) < 0.2 else 0.05]), 0.025, 0.025, 8), lit(p.skin, 0.72), None, 0.7)
    if scene.person.mole is not None:
        x, y = scene.person.mole
        canvas.fill(p.on(shape.surface(np.array([x]), np.array([y]))[0], 0.045, 0.045, 10), (70, 42, 34))
    _wrinkles(p)
    _beard(p)
    dark = mix(p.skin, (60, 20, 16), 0.55)
    for i, side in ((32, -1), (34, 1)):
        canvas.fill(p.on(points[i] + np.array((side * 0.03, -0.035, 0.02)), 0.065, 0.035, 12), dark)
    canvas.line(p.head.project(smooth(points[31:36])), dark, p.pixels(0.035), None, 0.45)
    outline = p.head.project(np.array([(side * 0.27 * scene.person.nose_width, y, 0.15) for side in (-1, 1) for y in (0.6, 0.7)]) * (1, scene.person.nose_length, 1))
    for ends in (outline[:2], outline[2:]):
        canvas.line(ends, dark, p.pixels(0.04), None, 0.5)


def brows(p: Portrait) -> None:
    colour = mix(mix(lit(p.scene.person.hair, 0.8), (60, 44, 36), 0.4), (170, 168, 168), 0.7 * p.shape.grey)
    for outline, label in zip(p.shape.brows, (R_BROW, L_BROW), strict=True):
        p.canvas.fill(p.head.project(outline), mix(colour, p.skin, 0.35 * p.shape.child), label)


def eyes(p: Portrait) -> None:
    scene, shape, canvas = p.scene, p.shape, p.canvas
    who, size = scene.person, scene.person.eye_size * (1 + 0.18 * shape.child)
    female = who.gender == "female" and scene.age > 12
    for first, side, label in ((36, -1, R_EYE), (42, 1, L_EYE)):
        eye = shape.points[first : first + 6]
        upper, lower = smooth(eye[:4]), smooth(eye[[3, 4, 5, 0]])
        outline = p.head.project(np.concatenate([upper, lower]))
        canvas.fill(outline, (244, 242, 238), label)
        ahead = eye.mean(0) + np.array((scene.gaze[0] * 0.09, scene.gaze[1] * 0.03 - 0.012, 0.02))
        iris, pupil = p.on(ahead, 0.1 * size, 0.1 * size), p.on(ahead, 0.045 * size, 0.045 * size, 12)
        shadow = p.head.project(np.concatenate([upper, (upper + np.array((0, 0.04, 0)))[::-1]]))
        glint = p.on(ahead + np.array((0.035, -0.035, 0)), 0.026, 0.026, 8)
        canvas.within(outline, [(iris, lit(who.iris, 0.7)), (p.on(ahead, 0.08 * size, 0.08 * size), who.iris), (pupil, (14, 12, 14)), (shadow, (120, 112, 112))])
        canvas.within(outline, [(glint, (255, 255, 255))])
        lash = (24, 18, 20) if female or who.hair_name != "Blond" else (84, 62, 50)
        canvas.line(p.head.project(upper), lash, p.pixels(0.055 if female else 0.04))
        canvas.line(p.head.project(lower), mix(p.skin, (90, 50, 44), 0.6), p.pixels(0.025), None, 0.7)
        if female:
            corner = eye[3] if side == 1 else eye[0]
            canvas.line(p.head.project(np.array([corner, corner + np.array((side * 0.07, -0.05, 0))])), lash, p.pixels(0.05))
        crease = upper - np.array((0, 0.065 - 0.03 * who.fold, 0))
        canvas.line(p.head.project(crease[2:-1]), lit(p.skin, 0.6), p.pixels(0.03), None, 0.8 - 0.5 * who.fold)


def mouth(p: Portrait) -> None:
    scene, shape, canvas, m = p.scene, p.shape, p.canvas, p.shape.points[48:68]
    natural = mix(p.skin, (176, 62, 66), 0.42 if scene.person.gender == "female" else 0.3)
    lips = scene.lipstick or mix(natural, p.skin, 0.3 * shape.wrinkles)
    outer_top, outer_bottom = smooth(m[:7]), smooth(m[[6, 7, 8, 9, 10, 11, 0]])
    inner_top, inner_bottom = smooth(m[12:17]), smooth(m[[16, 17, 18, 19, 12]])
    project = p.head.project
    upper, lower = project(np.concatenate([outer_top, inner_top[::-1]])), project(np.concatenate([outer_bottom, inner_bottom[::-1]]))
    canvas.fill(lower, lit(lips, 1.06), LOWER_LIP)
    canvas.fill(upper, lit(lips, 0.88), UPPER_LIP)
    if p.pixels(shape.gap) < 0.75:
        canvas.line(project(np.concatenate([m[:1], inner_top, m[6:7]])), mix(lips, (50, 10, 14), 0.65), p.pixels(0.035))
        return
    inside = project(np.concatenate([inner_top, inner_bottom]))
    canvas.fill(inside, (84, 18, 24), MOUTH)
    teeth = []
    if scene.expression in ("happy", "fear", "disgust"):
        bottom = inner_top + (inner_bottom[::-1] - inner_top) * (0.6 if scene.expression == "happy" else 0.4)
        teeth = [(project(np.concatenate([inner_top, bottom[::-1]])), (246, 244, 238))]
    elif shape.gap > 0.2:
        teeth = [(p.on(m[18] + np.array((0, 0.02, -0.05)), 0.2, 0.12), (196, 84, 88))]
    canvas.within(inside, teeth)


def glasses(p: Portrait) -> None:
    """Frames and lenses are glasses in the mask; the eyes and brows that are seen through them stay eyes and brows, as in CelebAMask-HQ."""
    canvas, who, points = p.canvas, p.scene.person, p.shape.points
    seen = canvas.mask.copy()
    lenses = []
    for first in (36, 42):
        middle = points[first : first + 6].mean(0) + np.array((0, 0.05, 0.2))
        corner = 0.38 if who.round_lenses else 0.43
        if who.round_lenses:
            lens = oval(middle, corner, 0.36, 24)
        else:
            lens = smooth(
                middle
                + np.array([(-1, -0.62, 0), (0, -0.74, 0), (1, -0.62, 0), (1.02, 0, 0), (0.8, 0.7, 0), (0, 0.8, 0), (-0.8, 0.7, 0), (-1.02, 0, 0)]) * (corner, 0.4, 1),
                True,
            )
        lenses.append(p.head.project(lens))
    width = p.pixels(0.07)
    bridge = p.head.project(np.array([(-0.13, 0.02, 0.28), (0, -0.03, 0.32), (0.13, 0.02, 0.28)]))
    for lens in lenses:
        canvas.fill(lens, (226, 238, 248), GLASSES, 0.16)
    for side in (-1, 1):
        arm = p.head.project(np.array([(side * 0.92, -0.02, 0.18), (side * (p.shape.width + 0.04), 0.0, -0.5), (side * (p.shape.width + 0.06), 0.02, -1.05)]))
        if side * p.scene.yaw < 20:  # the far arm is hidden by the face
            canvas.line(arm, who.frame, width * 0.8, GLASSES)
    kept = np.isin(seen, (L_EYE, R_EYE, L_BROW, R_BROW))
    canvas.mask[kept] = seen[kept]
    for lens in lenses:
        canvas.line(lens, who.frame, width, GLASSES, closed=True)
    canvas.line(bridge, who.frame, width, GLASSES)


def _wrinkles(p: Portrait) -> None:
    old, canvas, points, shape = p.shape.wrinkles, p.canvas, p.shape.points, p.shape
    if old <= 0.05:
        return
    colour, width = lit(p.skin, 0.66), p.pixels(0.022 + 0.014 * old)
    strength = min(1.0, 0.25 + 0.9 * old)

    def crease(x: list[float], y: list[float]) -> None:
        canvas.line(p.head.project(smooth(shape.surface(np.array(x), np.array(y), 0.03))), colour, width, None, strength)

    for side in (-1, 1):
        corner = points[48] if side < 0 else points[54]
        crease([side * 0.3, side * 0.45, side * max(0.5, abs(corner[0]) + 0.09)], [0.72, 0.86, corner[1] - 0.02])
        if old > 0.2:
            eye = points[36] if side < 0 else points[45]
            for rise in (-0.07, 0.03, 0.12):
                crease([eye[0] + side * 0.07, eye[0] + side * (0.16 + 0.1 * old)], [eye[1] + rise * 0.5, eye[1] + rise * 1.3])
            low = points[[41, 40]] if side < 0 else points[[47, 46]]
            crease([low[0, 0] - 0.05, low[:, 0].mean(), low[1, 0] + 0.05], [low[0, 1] + 0.08, low[0, 1] + 0.12, low[1, 1] + 0.08])
    for number in range(int(old * 3.9)):
        height = -0.6 - 0.14 * number
        crease([-0.5, -0.2, 0.2, 0.5], [height, height - 0.03, height - 0.03, height])
    if old > 0.6:
        for side in (-1, 1):
            crease([side * 0.42, side * 0.46], [points[54, 1] + 0.16, points[54, 1] + 0.42])


def _beard(p: Portrait) -> None:
    kind = p.beard
    if kind == "none":
        return
    canvas, m, shape = p.canvas, p.shape.points[48:68], p.shape
    colour = mix(lit(p.scene.person.hair, 0.85), (196, 196, 198), shape.grey)
    if kind in ("stubble", "full"):
        upper = shape.surface(
            np.array([0.93, 0.66, 0.36, 0, -0.36, -0.66, -0.93]) * shape.width, np.array([0.42, 0.5, 0.465, 0.455, 0.465, 0.5, 0.42]) * shape.chin, 0.03
        )
        edge = np.concatenate([p.contour[10:-10], p.head.project(smooth(upper))])
        canvas.fill(edge, colour, None, 0.28 if kind == "stubble" else 0.92)
    if kind == "goatee":
        x = np.array([-0.3, -0.33, -0.2, 0.2, 0.33, 0.3, 0.16, -0.16])
        y = np.array([0, 0.2, 0.98, 0.98, 0.2, 0, 0.1, 0.1]) * (shape.chin - m[9, 1]) + m[9, 1] + 0.02
        canvas.fill(p.head.project(smooth(shape.surface(x, y, 0.06), closed=True)), colour, None, 0.92)
    if kind in ("mustache", "goatee", "full"):
        top = np.array([(-1.05, 0.04), (-0.6, -0.1), (-0.15, -0.15), (0.15, -0.15), (0.6, -0.1), (1.05, 0.04)]) * (m[6, 0] * 0.95, 1)
        line = smooth(m[:7])
        upper = shape.surface(top[:, 0], top[:, 1] + m[3, 1], 0.08)
        canvas.fill(p.head.project(np.concatenate([smooth(upper), line[::-1]])), colour, None, 0.95)
