"""Photograph -> faces: boxes, five points, scores.

`YuNet` runs any ONNX file with YuNet's inputs and outputs: the one that comes with the trained weights, or the user's.

What the network is shown is a canvas on which patches of pictures lie: a whole picture shrunk to it, tiles of a large one, many small ones
side by side, a second look at a face. A level of the pyramid, a letterbox and a mosaic are thus one thing, and a model that declares one
input size is used as fully as one that takes any.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from polyface import runtime
from polyface.errors import RequestError
from polyface.files import sha256_of_file
from polyface.images import geometry
from polyface.installed import installed
from polyface.metrics.detection import overlaps_between

STRIDES = (8, 16, 32)
CANVAS = 640  # the largest side of what is shown at once, where the model leaves it open
CELL = 32  # a model's input sides are multiples of its largest stride
GUTTER = 16  # grey between patches
SMALL = 480  # a picture up to this long side is taken for a portrait or a crop: one look at it enlarged or shrunk to PORTRAIT
PORTRAIT = 304
AFTER_NOTHING = (144, 640)  # further looks at a small picture without a find: smaller for a face that fills it, larger for a small face
LARGE_LEVELS = (640, 192)  # a photograph; the second finds the face that fills it
FINEST = 1920  # small faces: a photograph is searched in tiles, at its own size up to this long side, where a face of 10 pixels shows
FOREMOST = 0.2  # of the long side; where such a face is found a photograph is of this person, and is not searched in tiles
AROUND, UNSURE = 1.6, 0.3  # what is shown of that face, in its own sizes, and the score from which a find of it counts
UPRIGHT_SIZE = 48.0  # of that face on the canvas: its turns are told apart as well as at 110, in half the time
UPRIGHT_BY = 0.03  # a photograph is turned where its foremost face scores more by so much when it is
LYING = 0.9  # and one without a find where a face scores so much when it is: 146 of 148 such photographs, none of 373 without people (LOG.md)
BEST_SIZE = 260.0  # of a face on the canvas, where a file says none: YuNet's five points are off by 7.7 % of the eye distance, at 180 by 8.8, at 128 by 10.4
BORDER = 60  # around a face in its second look
GOOD_SIZES = (0.65, 1.55)  # in best sizes; outside these a face gets a second look at its best size
SMALLEST_SECOND_LOOK = 24  # pixels of the picture; enlarging fewer shows nothing new
FILE, ABOUT = "detector.onnx", "detector.json"  # a detector of ours, and what must be known of it
NAME_IN_ONNX = "polyface_detector"  # a file of ours says what it is called in answers,
THRESHOLD_IN_ONNX, BEST_SIZE_IN_ONNX = "polyface_threshold", "polyface_best_size"  # from which score a find is a face, and at which size its points err least
THRESHOLD = 0.6  # where a file says none
SAME_FACE = 0.3  # overlap from which two finds are one face (as in OpenCV's FaceDetectorYN)
SAME_SHAPE = 0.5  # overlap from which a find's points join the mean


@dataclass(frozen=True)
class Face:
    """`box` (x0, y0, x1, y1) and `points` float64 [5, 2] in continuous pixels of the picture; both may reach beyond its edge. `score` 0
    to 1.
    """

    box: tuple[float, float, float, float]
    points: np.ndarray
    score: float


class Detector(Protocol):
    """`name` and `sha256` (of the model's file) say in every answer who found the face. Faces are sorted by size times score, the
    foremost first.
    """

    name: str
    sha256: str

    def detect(self, image: np.ndarray, threshold: float | None = None) -> list[Face]: ...
    def detect_many(self, images: Sequence[np.ndarray], threshold: float | None = None) -> list[list[Face]]: ...


def load_detector(path: Path | None = None, threads: int | None = None) -> Detector:
    """A file with YuNet's inputs and outputs, or the detector of the installed weights. Raises RequestError naming a file that is missing, broken or something else."""
    return YuNet(installed("detector") / FILE if path is None else Path(path), threads)


def best_match(faces: Iterable[Face], box: Sequence[float]) -> tuple[Face | None, float]:
    """The face that overlaps a labelled box most, and by how much (intersection over union); None and 0 where none does."""
    overlaps = [(geometry.overlap(np.asarray(face.box), np.asarray(box)), face) for face in faces]
    overlap, face = max(overlaps, key=lambda pair: pair[0], default=(0.0, None))
    return (face, overlap) if overlap > 0 else (None, 0.0)


class YuNet:
    """YuNet (Wu et al., Machine Intelligence Research 2023) in onnxruntime, decoded as OpenCV's face_detect.cpp does.

    Points are the means of all finds of a face, by score: about a tenth closer than those of the best find alone. May be called from
    several threads at once.
    """

    def __init__(self, path: Path, threads: int | None = None):
        self.session = runtime.session(path, threads)
        said = self.session.get_modelmeta().custom_metadata_map
        self.name = said.get(NAME_IN_ONNX, "yunet")
        try:
            self.threshold, self.best_size = float(said.get(THRESHOLD_IN_ONNX, THRESHOLD)), float(said.get(BEST_SIZE_IN_ONNX, BEST_SIZE))
        except ValueError as error:
            raise RequestError(f"{path}: its threshold or best size is no number ({error})") from error
        if not (0 <= self.threshold <= 1 and self.best_size > 0):
            raise RequestError(f"{path}: a threshold of {self.threshold:g} and a best size of {self.best_size:g}; 0 to 1 and a number of pixels are needed")
        self.sha256 = sha256_of_file(path)
        self.outputs = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or not set(self.outputs) <= {output.name for output in self.session.get_outputs()}:
            raise RequestError(f"{path}: not a detector with YuNet's inputs and outputs (cls, obj, bbox, kps at strides 8, 16, 32)")
        self.input = inputs[0].name
        height, width = inputs[0].shape[2:]
        self.fixed = isinstance(height, int) and isinstance(width, int)
        self.canvas = (width, height) if self.fixed else (CANVAS, CANVAS)
        if self.canvas[0] % CELL or self.canvas[1] % CELL:
            raise RequestError(f"{path}: declares an input of {width} x {height} pixels; the sides must be multiples of {CELL}")

    def detect(self, image: np.ndarray, threshold: float | None = None) -> list[Face]:
        return self.detect_many([image], threshold)[0]

    def detect_many(self, images: Sequence[np.ndarray], threshold: float | None = None) -> list[list[Face]]:
        """uint8 RGB pictures of any sizes -> the faces of each that score `threshold` or more.

        A photograph that lies on its side or its head is looked at upright too; of finds of one face in both the surer counts.
        """
        threshold = self.threshold if threshold is None else threshold
        found = self._found(images, threshold)
        turns = self._turns(images, found)
        lying = [index for index, turn in enumerate(turns) if turn]
        upright = self._found([np.rot90(images[index], turns[index]) for index in lying], threshold)
        for index, finds in zip(lying, upright, strict=True):
            found[index] = _surest(found[index] + _turned_back(finds, turns[index], images[index].shape[:2]))
        return [_foremost_first(finds) for finds in found]

    def _found(self, images: Sequence[np.ndarray], threshold: float) -> list["Finds"]:
        """As they lie."""
        finds = self._look(images, [patch for index, image in enumerate(images) for patch in self._first_looks(index, image)], threshold)
        further = [patch for index, image in enumerate(images) for patch in self._further_looks(index, image, finds[index])]
        faces = [_merge(first + second, self.best_size) for first, second in zip(finds, self._look(images, further, threshold), strict=True)]
        return [_merge(found, self.best_size) for found in self._second_look(images, faces, threshold)]

    def _turns(self, images: Sequence[np.ndarray], found: Sequence["Finds"]) -> list[int]:
        """How many quarter turns, as `np.rot90` counts, put each picture's foremost face upright: it is shown in all four, small, since only its score is asked. One
        without a find is shown whole in the other three."""
        shown: list[np.ndarray] = []
        owners: list[tuple[int, int]] = []
        scores = np.zeros((len(images), 4))
        for index, finds in enumerate(found):
            if len(finds.scores):
                window = _window(finds.boxes[_order(finds)[0]], images[index])
                shown += [np.rot90(window, turn) for turn in range(4)]
                owners += [(index, turn) for turn in range(4)]
        side = min(UPRIGHT_SIZE * AROUND, *self.canvas)
        patches = [_patch(at, (0, 0, *window.shape[1::-1]), side / max(window.shape[:2]), window) for at, window in enumerate(shown)]
        for (index, turn), finds in zip(owners, self._find(shown, patches, UNSURE, [index for index, _ in owners]), strict=True):
            scores[index, turn] = finds.scores.max(initial=0)
        nothing = [(index, turn) for index, finds in enumerate(found) for turn in (1, 2, 3) if not len(finds.scores)]
        turned = [np.rot90(images[index], turn) for index, turn in nothing]
        looks = self._look(turned, [patch for at, image in enumerate(turned) for patch in self._first_looks(at, image)], LYING)
        for (index, turn), finds in zip(nothing, looks, strict=True):
            scores[index, turn] = finds.scores.max(initial=0)
        best = scores.argmax(1)
        return [int(turn) if scores[index, turn] > scores[index, 0] + UPRIGHT_BY else 0 for index, turn in enumerate(best)]

    def _first_looks(self, index: int, image: np.ndarray) -> list["Patch"]:
        levels: tuple[int, ...] = (PORTRAIT,) if max(image.shape[:2]) <= SMALL else LARGE_LEVELS
        if levels[0] > min(self.canvas):  # it lies in tiles, which are for small faces
            levels = (*levels, min(self.canvas))
        return [patch for level in levels for patch in self._level(index, image, level)]

    def _further_looks(self, index: int, image: np.ndarray, found: "Finds") -> list["Patch"]:
        longest = max(image.shape[:2])
        if longest <= SMALL:
            levels: tuple[int, ...] = () if len(found.scores) else AFTER_NOTHING
        else:
            levels = (min(longest, FINEST),) if longest > LARGE_LEVELS[0] and _sizes(found.boxes).max(initial=0) < FOREMOST * longest else ()
        return [patch for level in levels for patch in self._level(index, image, level)]

    def _level(self, index: int, image: np.ndarray, level: int) -> list["Patch"]:
        """A picture with its long side at `level` pixels: one patch, or tiles that overlap by a quarter of the canvas."""
        height, width = image.shape[:2]
        scale = level / max(width, height)
        spans: list[list[tuple[int, int]]] = []
        for length, room in ((width, self.canvas[0]), (height, self.canvas[1])):
            shown = max(1, round(length * scale))
            count = 1 if shown <= room else -(-(shown - room // 4) // (room - room // 4))
            asked = math.ceil((shown + (count - 1) * (room // 4)) / count / scale)  # by the overlap, and no more
            tile = length if count == 1 else min(length, asked, int(room / scale))
            spans.append([(int(start), int(start) + tile) for start in np.linspace(0, length - tile, count)])
        largest = np.inf if len(spans[0]) == len(spans[1]) == 1 else min(self.canvas) // 4
        return [_patch(index, (x0, y0, x1, y1), scale, image, largest) for y0, y1 in spans[1] for x0, x1 in spans[0]]

    def _second_look(self, images: Sequence[np.ndarray], faces: list["Finds"], threshold: float) -> list["Finds"]:
        """Faces seen too small or too large for good points are shown once more at the best size, where points err least; where that look
        agrees, it gives box and points.
        """
        aim = self.best_size + BORDER
        cell = min(int(aim), *self.canvas)
        patches, owners = [], []
        for index, found in enumerate(faces):
            for row in range(len(found.scores)):
                size = float(_sizes(found.boxes[row]))
                if GOOD_SIZES[0] <= found.seen[row] / self.best_size <= GOOD_SIZES[1] or size < SMALLEST_SECOND_LOOK:
                    continue
                scale = self.best_size / size * cell / aim
                centre = (found.boxes[row, :2] + found.boxes[row, 2:]) / 2
                window = max(1, int(cell / scale))
                corner = np.rint(centre - window / 2).astype(int)
                low, high = np.maximum(corner, 0), np.minimum(corner + window, images[index].shape[1::-1])
                if (high > low).all():
                    patches.append(_patch(index, (*low, *high), scale, images[index]))
                    owners.append((index, row))
        for (index, row), closer in zip(owners, self._find(images, patches, threshold), strict=True):
            found = faces[index]
            closer = _merge(closer, self.best_size)
            agreeing = overlaps_between(found.boxes[row], closer.boxes)[0]
            if len(agreeing) and agreeing.max() > SAME_FACE:
                best = int(agreeing.argmax())
                found.boxes[row], found.points[row] = closer.boxes[best], closer.points[best]
                found.scores[row] = max(found.scores[row], closer.scores[best])
        return faces

    def _look(self, images: Sequence[np.ndarray], patches: list["Patch"], threshold: float) -> list["Finds"]:
        """What all patches of each picture show, together."""
        by_image = [NOTHING] * len(images)
        for patch, found in zip(patches, self._find(images, patches, threshold), strict=True):
            by_image[patch.image] = by_image[patch.image] + found
        return by_image

    def _find(self, images: Sequence[np.ndarray], patches: list["Patch"], threshold: float, owners: Sequence[int] | None = None) -> list["Finds"]:
        """What each patch shows, in coordinates of its picture. Only patches of one owner, the picture where nothing is said, share a canvas: a network sees beyond their
        edges, and what is said of a photograph must not depend on which others are looked at."""
        finds = [NOTHING] * len(patches)
        for places in _packed(patches, [patch.image for patch in patches] if owners is None else owners, self.canvas):
            boxes, points, scores = self._run(self._painted(images, patches, places), threshold)
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            for number, left, top in places:
                patch = patches[number]
                corner = np.array([left, top])
                inside = ((centres >= corner) & (centres - corner < np.array([patch.width, patch.height]))).all(1)
                if inside.any():
                    finds[number] = patch.found(boxes[inside], points[inside], scores[inside], corner)
        return finds

    def _painted(self, images: Sequence[np.ndarray], patches: list["Patch"], places: list[tuple[int, int, int]]) -> np.ndarray:
        width, height = self.canvas
        if not self.fixed:
            width = max(_up(left + patches[number].width) for number, left, _ in places)
            height = max(_up(top + patches[number].height) for number, _, top in places)
        canvas = np.full((height, width, 3), geometry.GREY, np.uint8)
        for number, left, top in places:
            patch = patches[number]
            region = images[patch.image][patch.y0 : patch.y1, patch.x0 : patch.x1]
            shrinks = patch.width < region.shape[1]
            resized = cv2.resize(region, (patch.width, patch.height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
            canvas[top : top + patch.height, left : left + patch.width] = resized
        return canvas

    def _run(self, canvas: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes [N, 4], points [N, 5, 2] and scores [N] above the threshold, in continuous pixels of the canvas.

        Mirrored pictures put the points' bias between 0 (small faces) and -0.5 (large ones), -0.3 in the mean: no convention to correct, and 0.3 % of an eye distance.
        """
        blob = cv2.dnn.blobFromImage(canvas, swapRB=True)  # BGR, 0 to 255
        outputs = dict(zip(self.outputs, self.session.run(self.outputs, {self.input: blob}), strict=True))
        boxes, points, scores = [], [], []
        for stride in STRIDES:
            likely = np.clip(outputs[f"cls_{stride}"][0, :, 0], 0, 1) * np.clip(outputs[f"obj_{stride}"][0, :, 0], 0, 1)
            chosen = np.flatnonzero(likely >= threshold**2)
            columns = canvas.shape[1] // stride
            grid = np.stack([chosen % columns, chosen // columns], axis=1).astype(np.float64)
            box = outputs[f"bbox_{stride}"][0, chosen].astype(np.float64)
            centre, half = (grid + box[:, :2]) * stride, np.exp(np.minimum(box[:, 2:], 10)) * stride / 2
            boxes.append(np.hstack([centre - half, centre + half]))
            points.append((outputs[f"kps_{stride}"][0, chosen].reshape(-1, 5, 2) + grid[:, None]) * stride)
            scores.append(np.sqrt(likely[chosen]).astype(np.float64))
        return np.concatenate(boxes), np.concatenate(points), np.concatenate(scores)


@dataclass(frozen=True)
class Patch:
    """Where part (x0, y0, x1, y1) of picture number `image`, of `picture` (width, height) pixels, is shown at width x height pixels.

    Of faces larger than `largest` pixels of the canvas it may show a part only, which the network likes to complete: those are left to
    looks from further away.
    """

    image: int
    x0: int
    y0: int
    x1: int
    y1: int
    width: int
    height: int
    picture: tuple[int, int]
    largest: float = np.inf

    def found(self, boxes: np.ndarray, points: np.ndarray, scores: np.ndarray, corner: np.ndarray) -> "Finds":
        """Finds on the canvas, where this patch's corner lies at `corner`, in the picture's coordinates; faces that the patch cuts, and
        the picture does not, are left to others.
        """
        shown = np.array([self.width, self.height])
        start, end = np.array([self.x0, self.y0]), np.array([self.x1, self.y1])
        scale = shown / (end - start)
        low, high = boxes[:, :2] - corner, boxes[:, 2:] - corner
        cut = ((low < 0) & (start > 0)) | ((high > shown) & (end < self.picture))
        whole = ~cut.any(1) & (_sizes(boxes) <= self.largest)
        in_picture = np.hstack([low[whole] / scale + start, high[whole] / scale + start])
        return Finds(in_picture, (points[whole] - corner) / scale + start, scores[whole], _sizes(boxes[whole]))


@dataclass(frozen=True)
class Finds:
    """Boxes [N, 4], points [N, 5, 2], scores [N] in a picture; `seen` [N] is the size in pixels of the canvas on which each was found."""

    boxes: np.ndarray
    points: np.ndarray
    scores: np.ndarray
    seen: np.ndarray

    def __add__(self, other: "Finds") -> "Finds":
        return Finds(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))


NOTHING = Finds(np.empty((0, 4)), np.empty((0, 5, 2)), np.empty(0), np.empty(0))


def _merge(finds: Finds, best_size: float) -> Finds:
    """One find per face: greedily the best, which takes with it all that overlap it. Looks that saw the face near the best size go first."""
    scales = finds.seen / np.maximum(_sizes(finds.boxes), 1e-9)
    amiss = np.abs(np.log2(np.maximum(finds.seen, 1e-9) / best_size))
    left = np.argsort(-(finds.scores - 0.1 * amiss), kind="stable")
    points, kept = finds.points.copy(), []
    while len(left):
        best = left[0]
        overlaps = overlaps_between(finds.boxes[best], finds.boxes[left])[0]
        same = left[(overlaps > SAME_SHAPE) & (np.abs(scales[left] / scales[best] - 1) < 0.1)]  # and from the same level
        if len(same) > 1:
            points[best] = np.average(finds.points[same], axis=0, weights=finds.scores[same])
        kept.append(best)
        left = left[1:][overlaps[1:] <= SAME_FACE]
    rows = np.array(kept, int)
    return Finds(finds.boxes[rows], points[rows], finds.scores[rows], finds.seen[rows])


def _foremost_first(finds: Finds) -> list[Face]:
    return [Face(_corners(finds.boxes[row]), finds.points[row], float(finds.scores[row])) for row in _order(finds)]


def _order(finds: Finds) -> np.ndarray:
    """The foremost first."""
    return np.argsort(-finds.scores * _sizes(finds.boxes), kind="stable")


def _window(box: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The square around a face, as far as the picture goes."""
    half = np.ceil((box[2:] - box[:2]).max() * AROUND / 2)
    low = np.maximum(np.rint((box[:2] + box[2:]) / 2 - half), 0).astype(int)
    high = np.rint((box[:2] + box[2:]) / 2 + half).astype(int)
    return image[low[1] : high[1], low[0] : high[0]]


def _turned_back(finds: Finds, turn: int, shape: tuple[int, int]) -> Finds:
    """Finds on a picture of `shape` (height, width) after `turn` quarter turns by `np.rot90`, in the picture before them."""

    def back(xy: np.ndarray) -> np.ndarray:
        for done in range(turn, 0, -1):
            xy = np.stack([shape[done % 2] - xy[..., 1], xy[..., 0]], -1)  # the width of the picture before this turn
        return xy

    corners = back(finds.boxes.reshape(-1, 2, 2))
    return Finds(np.concatenate([corners.min(1), corners.max(1)], 1), back(finds.points), finds.scores, finds.seen)


def _surest(finds: Finds) -> Finds:
    """One find per face, the one of the highest score."""
    corners, sides = finds.boxes[:, :2], finds.boxes[:, 2:] - finds.boxes[:, :2]
    rows = np.asarray(cv2.dnn.NMSBoxes(np.hstack([corners, sides]).tolist(), finds.scores.tolist(), 0.0, SAME_FACE), np.intp)
    return Finds(finds.boxes[rows], finds.points[rows], finds.scores[rows], finds.seen[rows])


def _patch(image: int, region: Sequence[int], scale: float, picture: np.ndarray, largest: float = np.inf) -> Patch:
    x0, y0, x1, y1 = map(int, region)
    width, height = max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))
    return Patch(image, x0, y0, x1, y1, width, height, (picture.shape[1], picture.shape[0]), largest)


def _packed(patches: list[Patch], owners: Sequence[int], canvas: tuple[int, int]) -> list[list[tuple[int, int, int]]]:
    """Which patches lie on which canvas, and where: rows of patches of like height, as many of one owner as fit. Corners lie on the grid
    of the largest stride.
    """
    canvases: list[list[tuple[int, int, int]]] = []
    left = top = row = 0
    owner = None
    for number in sorted(range(len(patches)), key=lambda number: (owners[number], -patches[number].height, number)):
        if owners[number] != owner:
            owner = owners[number]
            canvases.append([])
            left = top = row = 0
        width, height = min(_up(patches[number].width + GUTTER), canvas[0]), min(_up(patches[number].height + GUTTER), canvas[1])
        if left + width > canvas[0]:
            left, top, row = 0, top + row, 0
        if top + height > canvas[1]:
            canvases.append([])
            left = top = row = 0
        canvases[-1].append((number, left, top))
        left, row = left + width, max(row, height)
    return canvases


def _up(length: int) -> int:
    return -(-length // CELL) * CELL


def _sizes(boxes: np.ndarray) -> np.ndarray:
    """The side of a square as large as each box [..., 4]."""
    return np.sqrt((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))


def _corners(box: np.ndarray) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = map(float, box)
    return x0, y0, x1, y1
