"""A scene -> a picture and every label of every task."""

from dataclasses import dataclass

import cv2
import numpy as np

from polyface.images import geometry
from polyface.synth import hair, parts
from polyface.synth.canvas import Camera, Canvas, rolled, turned
from polyface.synth.people import Scene
from polyface.synth.portrait import Portrait
from polyface.synth.shape import Shape, shape_of, smooth


@dataclass(frozen=True)
class Labels:
    """The whole truth about a drawing. Coordinates are continuous pixels of the picture, angles degrees in its frame."""

    person: int
    age: int
    gender: str
    race: str
    expression: str
    attributes: dict[str, int]  # CelebA's names, only those that have a visible cause here: 0 or 1
    points: np.ndarray  # float64 [68, 2], iBUG's order; the jaw follows the visible contour
    five: np.ndarray  # float64 [5, 2]
    mask: np.ndarray  # uint8 [H, W], CelebAMask-HQ's 19 classes
    yaw: float
    pitch: float
    roll: float
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 of the face from hairline to chin


@dataclass(frozen=True)
class Drawing:
    image: np.ndarray  # uint8 RGB [H, W, 3]
    labels: Labels


def draw(scene: Scene, size: int | tuple[int, int] = 192, five: np.ndarray | None = None) -> Drawing:
    """Draw a scene as a picture of a size (a side, or width and height).

    five: where the five points [5, 2] should lie, in least squares. Place, scale and roll then follow from that and not from the scene, and nothing is resampled.
    """
    width, height = (size, size) if isinstance(size, int) else size
    shape = shape_of(scene)
    head, roll = _camera(scene, shape, width, height, five)
    contour = _visible_jaw(shape, head)
    points = head.project(shape.points)
    points[:17] = contour[::4]
    face = _face(shape, head, contour)
    background = cv2.resize(scene.background, (width, height), interpolation=cv2.INTER_CUBIC)
    canvas = Canvas(background)
    portrait = Portrait(scene, shape, head, _body(scene, head, roll), canvas, contour, face)
    hair.behind(portrait)
    parts.body(portrait)
    parts.head_and_ears(portrait)
    hair.strands(portrait, front=False)
    parts.skin(portrait)
    parts.eyes(portrait)
    parts.brows(portrait)
    parts.mouth(portrait)
    hair.strands(portrait, front=True)
    hair.bangs(portrait)
    if scene.glasses:
        parts.glasses(portrait)
    if scene.hat is not None:
        hair.hat(portrait)
    image = _developed(canvas.image, scene, head.scale)
    five = geometry.five_of_68() @ points
    around = np.concatenate([points, face])
    x0, y0, x1, y1 = (float(value) for value in np.concatenate([around.min(0), around.max(0)]))
    who = scene.person
    labels = Labels(
        who.index,
        scene.age,
        who.gender,
        who.race,
        scene.expression,
        attributes_of(portrait),
        points,
        five,
        canvas.mask,
        scene.yaw,
        scene.pitch,
        roll,
        (x0, y0, x1, y1),
    )
    return Drawing(image, labels)


def attributes_of(portrait: Portrait) -> dict[str, int]:
    """CelebA's names with a visible cause in these drawings. Where a hat hides the cause, the name is left out."""
    scene, shape, who = portrait.scene, portrait.shape, portrait.scene.person
    beard, hairless, grey = portrait.beard, portrait.hairless, shape.grey > 0.5
    found = {
        "5_o_Clock_Shadow": beard == "stubble",
        "Bags_Under_Eyes": shape.wrinkles > 0.2,
        "Big_Lips": who.lips > 1.25,
        "Big_Nose": who.nose_width > 1.2,
        "Blurry": scene.blurry,
        "Bushy_Eyebrows": who.brow_thickness > 1.35,
        "Eyeglasses": scene.glasses,
        "Goatee": beard == "goatee",
        "Male": who.gender == "male",
        "Mouth_Slightly_Open": shape.gap > 0.04,
        "Mustache": beard in ("mustache", "goatee", "full"),
        "Narrow_Eyes": who.eye_height < 0.78,
        "No_Beard": beard in ("none", "mustache"),
        "Pale_Skin": who.race == "White" and who.skin[1] > 206,
        "Rosy_Cheeks": scene.rosy,
        "Smiling": scene.expression == "happy",
        "Wearing_Earrings": scene.earrings and not portrait.covered_ears,
        "Wearing_Hat": scene.hat is not None,
        "Wearing_Lipstick": scene.lipstick is not None,
        "Wearing_Necklace": scene.necklace,
        "Wearing_Necktie": scene.necktie,
        "Young": scene.age < 40,
    }
    styled = not hairless and who.hair_style != "shaved"
    if scene.hat is None:
        found |= {"Bald": hairless, "Bangs": portrait.bangs, "Receding_Hairline": 0.3 < shape.receding <= 0.8}
        found |= {"Wavy_Hair": styled and who.wavy, "Straight_Hair": styled and not who.wavy}
    if scene.hat is None or portrait.covered_ears:
        found |= {f"{name}_Hair": who.hair_name == name and not grey and not hairless for name in ("Black", "Blond", "Brown")}
        found["Gray_Hair"] = grey and not hairless
    return {name: int(value) for name, value in sorted(found.items())}


def _camera(scene: Scene, shape: Shape, width: int, height: int, wanted: np.ndarray | None) -> tuple[Camera, float]:
    """The head's camera, and roll as it is in the picture. wanted: the five points."""
    rotation = turned(scene.yaw, scene.pitch)
    if wanted is None:
        scale = scene.eye_distance * min(width, height)
        origin = np.array([scene.place[0] * width, scene.place[1] * height])
        return Camera(rotation, scale * rolled(scene.roll), origin), scene.roll
    straight = Camera(rotation, np.eye(2), np.zeros(2))
    matrix = geometry.similarity(geometry.five_of_68() @ straight.project(shape.points), wanted)
    return Camera(rotation, matrix[:, :2], matrix[:, 2]), geometry.rotation_of(matrix)


def _body(scene: Scene, head: Camera, roll: float) -> Camera:
    """The body hangs below the neck and follows the head half-way."""
    pivot = head.project(np.array([[0.0, 0.9, -1.2]]))[0]
    return Camera(turned(0.35 * scene.yaw, 0.0), head.scale * rolled(0.35 * roll), pivot)


def _visible_jaw(shape: Shape, head: Camera) -> np.ndarray:
    """The jaw as seen [65, 2], every fourth point one of the seventeen: on each half the outermost of the points round the cheek."""
    flat = head.flat(shape.jaw_lines)
    sideways = np.concatenate([flat[:8, :, 0].argmin(1), [0], flat[9:, :, 0].argmax(1)])
    chosen = flat[np.arange(17), sideways]
    return smooth(chosen, steps=4) @ head.linear.T + head.origin


def _face(shape: Shape, head: Camera, contour: np.ndarray) -> np.ndarray:
    heights = np.repeat([-0.85, -0.6, -0.35, -0.1], 6)
    across = np.tile([-0.95, -0.75, -0.4, 0.4, 0.75, 0.95], 4) * shape.width * np.repeat([0.8, 1, 1, 1], 6)
    front = shape.surface(across, heights)
    jaw = shape.jaw_lines[:, 0]
    inside = head.project(np.concatenate([smooth(shape.hairline), front, jaw]))
    return cv2.convexHull(np.concatenate([contour, inside]).astype(np.float32))[:, 0].astype(np.float64)


def _developed(image: np.ndarray, scene: Scene, scale: float) -> np.ndarray:
    """Light over the whole picture, blur, grain."""
    height, width = image.shape[:2]
    light = cv2.resize(scene.light, (width, height), interpolation=cv2.INTER_LINEAR)
    image = cv2.multiply(image, light, scale=1 / 128)
    if scene.blurry:
        image = cv2.GaussianBlur(image, (0, 0), 0.06 * scale)
    grain = np.random.default_rng(scene.grain).integers(0, 7, (height, width), np.uint8)
    grained = cv2.add(image, cv2.cvtColor(grain, cv2.COLOR_GRAY2RGB))
    return cv2.subtract(grained, np.full_like(grained, 3))
