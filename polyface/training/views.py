"""Views: square windows on scenes, with the faces in them, as the detector trains on them. Like batches of crops, a function of (seed, step, row) alone.

Half of the views choose a face and a size for it, from the smallest that is looked for to nearly the whole view, evenly in the logarithm, and put it anywhere; the others
take a square of the picture, as YuNet's training does. Some are four views of half the side, since a face in each costs no more than a face in one.

Faces that are turned away, and those that no detector found, are few and what a detector misses: they, and the scenes that hold one, come more often.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from polyface import runtime, terminal
from polyface.datasets.crops import cut_from
from polyface.datasets.scene import Scene
from polyface.errors import InputError
from polyface.images import geometry
from polyface.images.read import read_header
from polyface.strict import NonNegative, Positive, Share
from polyface.training.batches import AHEAD, EVERY_ROW, shuffled, vary
from polyface.training.config import Augment, Strict

MIRRORED = [1, 0, 2, 4, 3]
"""Point i of a mirrored face is point MIRRORED[i] of the face."""
WHOLE, PART = 0.9, 0.4
"""The largest face, of the view's side; a face of which less is in the view is ignored."""
ENLARGED = 2.5
"""Pictures are enlarged by no more: it would show nothing new."""
SMALLEST_PICTURE = 0.6
"""Of the view's side: smaller a picture is not shown, since grey teaches nothing."""
SQUARES = (0.35, 1.4)
"""Sides of squares, in shorter sides of the picture."""
OFTEN = 3
"""Hard faces, and scenes with one, come so many times as often as others."""
LARGE = 20.0
"""Smaller faces, in pixels, are found by nobody, however they are turned."""
ASIDE, NARROW = 0.35, 0.6
"""A face is turned away where its nose is farther from between the eyes, in distances of the eyes, or the eyes are nearer to each other, in distances from the mouth."""
TINY = 1e-9


class Look(Strict, frozen=True, kw_only=True):
    """What views are like."""

    smallest: Positive = 8.0
    """Faces below so many pixels of the view are ignored."""
    chosen: Share = 0.5
    """Share of views about a face."""
    four: Share = 0.25
    """Share of views that are four."""
    turned: NonNegative = 8.0
    """Standard deviation in degrees."""
    covered: Share = 0.08
    """Share of faces whose lower or upper part something hides, as masks and hats do; the points stay."""
    augment: Augment = Augment(colour=0.2, grey=0.06, blur=0.06, blank=0.0, erase=0.0)
    """Light, colour, sharpness and mirrors as in batches of crops; scale and shift are a view's own."""


@dataclass(frozen=True)
class Pool:
    """The scenes of one set, and its share of the rows. broken: what could not be read while it trained, in words."""

    name: str
    scenes: tuple[Scene, ...] = field(repr=False)
    weight: float = 1.0
    broken: dict[str, object] = field(default_factory=dict, repr=False)

    @cached_property
    def turns(self) -> np.ndarray:
        """int: the scenes of one pass, those with a hard face more often."""
        return np.repeat(np.arange(len(self.scenes)), [OFTEN if hard(scene).any() else 1 for scene in self.scenes])

    def refuse(self, error: InputError) -> None:
        """Say once what could not be read, and keep it."""
        terminal.say_once(f"{self.name}: {error}", str(error), self.broken)


@dataclass(frozen=True)
class View:
    """image uint8 [S, S, 3] RGB; of each face or ignored region a row: boxes [n, 4], points [n, 5, 2] (NaN unknown), clicked bool [n], ignored bool [n]."""

    image: np.ndarray
    boxes: np.ndarray
    points: np.ndarray
    clicked: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class Views:
    """A batch: images uint8 [B, S, S, 3]; boxes f32 [B, M, 4], points f32 [B, M, 5, 2], clicked, face and ignored bool [B, M]; keys name the rows in errors."""

    images: np.ndarray
    boxes: np.ndarray
    points: np.ndarray
    clicked: np.ndarray
    face: np.ndarray
    ignored: np.ndarray
    keys: tuple[str, ...]


def ahead(
    pools: Sequence[Pool], counts: Sequence[int], steps: range, side: Callable[[int], int], look: Look, seed: int, threads: int, share: slice = EVERY_ROW
) -> Iterator[Views]:
    """The batches of some steps, or a share of the rows of each, prepared in the background, in order; side(step) is that of its views."""
    return runtime.in_order(lambda step: draw_batch(pools, counts, step, side(step), look, seed, share), steps, threads, AHEAD, "views")


def draw_batch(pools: Sequence[Pool], counts: Sequence[int], step: int, side: int, look: Look, seed: int, share: slice = EVERY_ROW) -> Views:
    """The batch of a step: so many views of each pool."""
    chosen = [(index, step * count + place) for index, count in enumerate(counts) for place in range(count)]
    views, keys = [], []
    for row, (index, position) in list(enumerate(chosen))[share]:
        pool, random = pools[index], np.random.default_rng((seed, step, row))
        scene = pool.scenes[pool.turns[shuffled(seed, index, position // len(pool.turns), len(pool.turns))[position % len(pool.turns)]]]
        if random.random() < look.four:
            others = [pool.scenes[pool.turns[random.integers(len(pool.turns))]] for _ in range(3)]
            view = four([_drawn(pool, each, side // 2, look, random) for each in (scene, *others)])
        else:
            view = _drawn(pool, scene, side, look, random)
        views.append(view)
        keys.append(f"{pool.name}/{scene.key}")
    return collate(views, keys)


def hard(scene: Scene) -> np.ndarray:
    """bool [n]: faces that are turned away by their points, or have none, since no detector found them."""
    points = scene.points
    eyes, sides = points[:, 1] - points[:, 0], scene.boxes[:, 2:] - scene.boxes[:, :2]
    apart = np.linalg.norm(eyes, axis=1)
    nose = ((points[:, 2] - points[:, 0]) * eyes).sum(1) / np.maximum(apart, TINY) ** 2
    down = np.linalg.norm(points[:, :2].mean(1) - points[:, 3:].mean(1), axis=1)
    usual = (np.abs(nose - 0.5) <= ASIDE) & (apart >= NARROW * down)  # false where a point is not known
    return ~usual & ~scene.ignored & (np.sqrt(sides.prod(1)) >= LARGE)


def plain_batches(pools: Sequence[Pool], side: int, look: Look, rows: int, share: slice = EVERY_ROW) -> Iterator[Views]:
    """Every scene once, in the same view each time, without variations of light: for validation."""
    plain = Look(
        smallest=look.smallest, chosen=look.chosen, four=0.0, turned=0.0, covered=0.0, augment=Augment(flip=0.0, colour=0.0, grey=0.0, blur=0.0, blank=0.0, erase=0.0)
    )
    scenes = [(pool, scene) for pool in pools for scene in pool.scenes]
    chosen = [(row, *each) for row, each in enumerate(scenes)][share]
    for start in range(0, len(chosen), rows):
        part = chosen[start : start + rows]
        views = [_drawn(pool, scene, side, plain, np.random.default_rng(row)) for row, pool, scene in part]
        yield collate(views, [f"{pool.name}/{scene.key}" for _, pool, scene in part])


def collate(views: Sequence[View], keys: Sequence[str]) -> Views:
    most = max(1, *(len(view.boxes) for view in views))
    boxes, points = np.zeros((len(views), most, 4), np.float32), np.full((len(views), most, 5, 2), np.nan, np.float32)
    clicked, face, ignored = (np.zeros((len(views), most), bool) for _ in range(3))
    for row, view in enumerate(views):
        here = slice(0, len(view.boxes))
        boxes[row, here], points[row, here], clicked[row, here] = view.boxes, view.points, view.clicked
        face[row, here], ignored[row, here] = ~view.ignored, view.ignored
    return Views(np.stack([view.image for view in views]), boxes, points, clicked, face, ignored, tuple(keys))


def _drawn(pool: Pool, scene: Scene, side: int, look: Look, random: np.random.Generator) -> View:
    """A view of a scene. A picture that broke after it was listed is said, and is a grey view of which nobody knows anything."""
    try:
        return draw_view(scene, side, look, random)
    except InputError as error:
        pool.refuse(error)
        image, unknown = np.full((side, side, 3), geometry.GREY[0], np.uint8), np.full((1, 5, 2), np.nan)
        return View(image, np.array([[0.0, 0, side, side]]), unknown, np.zeros(1, bool), np.ones(1, bool))


def draw_view(scene: Scene, side: int, look: Look, random: np.random.Generator) -> View:
    """One view of a scene. Raises InputError where its picture cannot be read."""
    data, name = scene.source.read(), str(scene.source)
    header = read_header(data, name)
    height, width = header.shape
    matrix = _window(scene, width, height, side, look, random)
    image = cut_from(data, name, matrix, side, header)
    view = seen(scene, matrix, image, look.smallest)
    view = _covered(view, look, random)
    if random.random() < look.augment.flip:
        view = mirrored(view)
    return View(vary(view.image, random, look.augment), view.boxes, view.points, view.clicked, view.ignored)


def seen(scene: Scene, matrix: np.ndarray, image: np.ndarray, smallest: float) -> View:
    """The faces of a scene in a window that a matrix leads to: boxes turn about their centres and are cut by the window's edges; points beyond them are unknown.

    Ignored are faces that are too small, whose centre is outside, or of which too little is seen.
    """
    side = len(image)
    centres = geometry.apply(matrix, (scene.boxes[:, :2] + scene.boxes[:, 2:]) / 2)
    half = (scene.boxes[:, 2:] - scene.boxes[:, :2]) / 2 * geometry.scale_of(matrix)
    whole = np.hstack([centres - half, centres + half])
    boxes = whole.clip(0, side)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    shown = areas > 0
    inside = ((centres > 0) & (centres < side)).all(1) & (areas >= PART * (4 * half.prod(1)))
    points = geometry.apply(matrix, scene.points)
    points[~((points > 0) & (points < side)).all(-1)] = np.nan
    ignored = scene.ignored | ~inside | (np.sqrt(areas) < smallest)
    return View(image, boxes[shown], points[shown], scene.clicked[shown], ignored[shown])


def mirrored(view: View) -> View:
    """As in a mirror: the subject's left eye is where the right one was."""
    side = len(view.image)
    boxes, points = view.boxes.copy(), view.points[:, MIRRORED].copy()
    boxes[:, [0, 2]] = side - view.boxes[:, [2, 0]]
    points[..., 0] = side - points[..., 0]
    return View(cv2.flip(view.image, 1), boxes, points, view.clicked, view.ignored)


def four(views: Sequence[View]) -> View:
    """Four views as the quarters of one."""
    side = len(views[0].image)
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]], float)
    image = np.concatenate([np.concatenate([views[row].image, views[row + 1].image], axis=1) for row in (0, 2)])
    boxes = np.concatenate([view.boxes + np.tile(corner, 2) for view, corner in zip(views, corners, strict=True)])
    points = np.concatenate([view.points + corner for view, corner in zip(views, corners, strict=True)])
    return View(image, boxes, points, np.concatenate([view.clicked for view in views]), np.concatenate([view.ignored for view in views]))


def _window(scene: Scene, width: int, height: int, side: int, look: Look, random: np.random.Generator) -> np.ndarray:
    """Picture -> view, float [2, 3]."""
    faces = np.flatnonzero(~scene.ignored)
    degrees = float(random.normal(0, look.turned)) if look.turned else 0.0
    least = SMALLEST_PICTURE * side / max(width, height)
    if len(faces) and random.random() < look.chosen:
        often = np.where(hard(scene)[faces], OFTEN, 1)
        box = scene.boxes[random.choice(faces, p=often / often.sum())]
        size = float(np.sqrt((box[2:] - box[:2]).prod()))
        wanted = np.exp(random.uniform(np.log(look.smallest), np.log(WHOLE * side)))
        scale = float(np.clip(wanted / size, least, ENLARGED))
        margin = min(size * scale / 2, side / 2)
        place, to = (box[:2] + box[2:]) / 2, random.uniform(margin, side - margin, 2)
        beyond = side - np.array([width, height]) * scale
        to = (to - place * scale).clip(np.minimum(beyond, 0), np.maximum(beyond, 0)) + place * scale  # no grey where the picture can fill the view
    else:
        square = random.uniform(*SQUARES) * min(width, height)
        scale = float(np.clip(side / square, least, ENLARGED))
        room = np.maximum(np.array([width, height]) - side / scale, 0)
        place, to = np.array([width, height]) / 2 + random.uniform(-0.5, 0.5, 2) * room, np.full(2, side / 2)
    shift = to - place
    return geometry.about((float(place[0]), float(place[1])), scale, degrees, (float(shift[0]), float(shift[1])))


def _covered(view: View, look: Look, random: np.random.Generator) -> View:
    image = view.image
    for box in view.boxes[~view.ignored]:
        if random.random() < look.covered:
            x0, y0, x1, y1 = box
            part = random.uniform(0.25, 0.5) * (y1 - y0)
            top, bottom = (y1 - part, y1) if random.random() < 0.6 else (y0, y0 + part)
            if image is view.image:
                image = image.copy()
            image[int(top) : int(bottom), int(x0) : int(x1)] = random.integers(0, 256, 3)
    return View(image, view.boxes, view.points, view.clicked, view.ignored)
