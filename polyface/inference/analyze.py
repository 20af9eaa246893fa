"""Photographs -> answers about every face on them.

Pictures stream through: while one group of them is looked at, the next is decoded in a thread, and all faces of a group go through the network together, so memory does
not grow with the number of pictures. An answer's form is DESIGN.md's; which kind of question gives which form is said once, in `answer_of`.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import msgspec
import numpy as np

from polyface.errors import InputError, RequestError, nearest, reason
from polyface.images import align, detect, geometry, read
from polyface.inference import engine as engines
from polyface.inference.card import AnswerCalibration, PairCalibration
from polyface.inference.engine import Engine
from polyface.tasks.kinds import Angles, Category, Embedding, Points, Regions, Scale, Task, Traits

if TYPE_CHECKING:
    from polyface.inference.compare import Comparison

GROUP_PICTURES, GROUP_PIXELS = 16, 24_000_000
"""What is decoded together; three groups are in memory at once, at 3 bytes a pixel."""

Picture = str | Path | read.Source | read.Sent
"""A picture that is still to be read: a file, one in an archive, or one that somebody sent."""

ON_DRAWINGS = "trained on drawings"
FIVE = {68: geometry.five_of_68(), 5: np.eye(5)}
"""The five points of an alignment, from a network's own points, by their number."""


@dataclass(frozen=True)
class ClassMap:
    """Regions of one face: crop uint8 [S, S] of class indices, and the matrix from a picture of `shape` (height, width) to that crop."""

    crop: np.ndarray = field(repr=False)
    matrix: np.ndarray = field(repr=False)
    shape: tuple[int, int]
    vocabulary: tuple[str, ...] = field(repr=False)

    def in_picture(self) -> np.ndarray:
        """Class indices uint8 [H, W]; outside the crop all is class 0, background."""
        height, width = self.shape
        return geometry.warp(self.crop, geometry.invert(self.matrix), (width, height), border=0, nearest=True)


@dataclass(frozen=True)
class Face:
    """One face and its answers; `face.age` is `face.answers["age"]`. box (x0, y0, x1, y1) in pixels of the upright picture.

    An answer is what its JSON holds, except a class map, which `in_picture()` makes an array.
    """

    image: str
    index: int
    detector: str
    notes: tuple[str, ...]
    box: tuple[float, float, float, float]
    score: float
    answers: Mapping[str, Any] = field(repr=False)
    model: str

    def __getattr__(self, name: str) -> Any:
        answers = self.__dict__.get("answers", {})
        if name not in answers:
            raise AttributeError(f"no answer {name!r}{nearest(name, answers)}")
        return answers[name]

    def to_dict(self) -> dict[str, Any]:
        """DESIGN.md's answer. A class map is in it once it lies in a file: see `write.py`."""
        before = {"image": self.image, "face": self.index, "detector": self.detector, "notes": list(self.notes), "box": list(self.box), "score": self.score}
        return {**before, **{name: answer for name, answer in self.answers.items() if not isinstance(answer, ClassMap)}, "model": self.model}

    def to_json(self) -> str:
        return msgspec.json.encode(self.to_dict()).decode()


@dataclass(frozen=True)
class ImageAnswers:
    """What was found on one picture: its faces, or why it was refused. pixels uint8 RGB [H, W, 3], None for a refused one."""

    image: str
    faces: tuple[Face, ...] = ()
    error: str | None = None
    pixels: np.ndarray | None = field(default=None, repr=False)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One object per line of JSON: each face; or that there is none; or the error."""
        if self.error is not None:
            return [{"image": self.image, "error": self.error}]
        return [face.to_dict() for face in self.faces] or [{"image": self.image, "faces": 0}]


@dataclass(frozen=True)
class Analyzer:
    """A network and a detector of faces, ready to answer."""

    engine: Engine
    detector: detect.Detector

    def analyze(self, picture: Picture | np.ndarray, tasks: Iterable[str] | None = None) -> list[Face]:
        """The faces of one picture, a file or an array uint8 RGB [H, W, 3], the foremost first. Raises InputError for a picture that cannot be read."""
        opened = _from_array(picture) if isinstance(picture, np.ndarray) else _open(picture)
        answers = self._answer([opened], self.chosen(tasks))[0]
        if answers.error is not None:
            raise InputError(answers.error)
        return list(answers.faces)

    def analyze_many(self, pictures: Iterable[Picture], tasks: Iterable[str] | None = None) -> Iterator[ImageAnswers]:
        """The answers of each picture, in order, while they come. Raises nothing for a picture that cannot be read: its answers hold the error."""
        chosen = self.chosen(tasks)
        return (answers for group in _decoded_ahead(pictures) for answers in self._answer(group, chosen))

    def compare(self, a: Picture | np.ndarray, b: Picture | np.ndarray, far: float | None = None) -> "Comparison":
        """The same person? Of the foremost face of each picture; far: one of the card's rates of false acceptance. Raises InputError where a picture has no face,
        RequestError where the model was not calibrated for that."""
        from polyface.inference.compare import compare

        return compare(self, a, b, far)

    def chosen(self, names: Iterable[str] | None) -> tuple[Task, ...]:
        """The tasks of these names; all where None, but for embeddings, which are biometric data and have to be asked for by name."""
        if names is None:
            return tuple(task for task in self.engine.tasks if not isinstance(task, Embedding))
        return self.engine.chosen(names)

    def _answer(self, pictures: Sequence["_Picture"], tasks: Sequence[Task]) -> list[ImageAnswers]:
        """A group at once: detect, align, cut, ask the network, decode."""
        finds = self._detect(pictures)
        owners = [(at, face) for at, (faces, _) in enumerate(finds) for face in faces]
        answers: list[dict[str, Any]] = []
        for start in range(0, len(owners), engines.CHUNK):
            seen = [(pictures[at].pixels, face) for at, face in owners[start : start + engines.CHUNK]]
            answers += self._ask(seen, tasks)
        of_picture: list[list[Face]] = [[] for _ in pictures]
        for (at, face), answer in zip(owners, answers, strict=True):
            of_picture[at].append(self._face(pictures[at].name, len(of_picture[at]), face, answer))
        return [
            ImageAnswers(picture.name, tuple(faces), error, picture.pixels if error is None else None)
            for picture, faces, (_, error) in zip(pictures, of_picture, finds, strict=True)
        ]

    def _detect(self, pictures: Sequence["_Picture"]) -> list[tuple[list[detect.Face], str | None]]:
        """(faces, error) of each picture. Where the detector chokes on a group, each picture is tried alone."""
        readable = [picture for picture in pictures if picture.error is None]
        try:
            faces = iter(self.detector.detect_many([picture.pixels for picture in readable]))
            return [([], picture.error) if picture.error is not None else (next(faces), None) for picture in pictures]
        except cv2.error as error:
            if len(pictures) == 1:
                return [([], f"{pictures[0].name}: no face can be looked for on it ({reason(error)})")]
            return [self._detect([picture])[0] for picture in pictures]

    def _ask(self, seen: Sequence[tuple[np.ndarray, detect.Face]], tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """Answers by task name for each (picture, face)."""
        matrices = self._aligned(seen)
        outputs, calibration = self.engine.run(self._cut(seen, matrices), [task.name for task in tasks]), self.engine.card.calibration
        return [
            {task.name: answer_of(task, outputs[task.name][row], matrices[row], pixels.shape[:2], calibration.get(task.name)) for task in tasks}  # type: ignore[arg-type]
            for row, (pixels, _) in enumerate(seen)
        ]

    def _aligned(self, seen: Sequence[tuple[np.ndarray, detect.Face]]) -> list[np.ndarray]:
        """Picture -> crop for each face: by the detector's five points; where it gives a box only, by those that the network itself sees in a crop by the box."""
        matrices = [self._matrix(face.points, face.box) for _, face in seen]
        task = next((task for task in self.engine.tasks if isinstance(task, Points) and task.count in FIVE), None)
        boxed = [row for row, (_, face) in enumerate(seen) if face.points is None]
        if task is None or not boxed:
            return matrices
        first_look = self._cut([seen[row] for row in boxed], [matrices[row] for row in boxed])
        for row, output in zip(boxed, self.engine.run(first_look, [task.name])[task.name], strict=True):
            points = geometry.apply(geometry.invert(matrices[row]), FIVE[task.count] @ task.decode(output))
            matrices[row] = self._matrix(points, seen[row][1].box)
        return matrices

    def _matrix(self, points: np.ndarray | None, box: Sequence[float]) -> np.ndarray:
        """By the points, unless they fall together or lie absurdly far from the size of the box: then by the box."""
        by_box = align.from_points(align.points_of_box(np.asarray(box, np.float64)), self.engine.crop)
        if points is None or not np.isfinite(points).all():
            return by_box
        by_points = align.from_points(points, self.engine.crop)
        return by_points if 1 / 4 < geometry.scale_of(by_points) / geometry.scale_of(by_box) < 4 else by_box

    def _cut(self, seen: Sequence[tuple[np.ndarray, detect.Face]], matrices: Sequence[np.ndarray]) -> np.ndarray:
        size = self.engine.crop.size
        return np.stack([geometry.warp(pixels, matrix, (size, size)) for (pixels, _), matrix in zip(seen, matrices, strict=True)])

    def _face(self, image: str, index: int, found: detect.Face, answers: dict[str, Any]) -> Face:
        notes = (ON_DRAWINGS,) if self.engine.card.trained_on_drawings else ()
        box = tuple(round(float(side), 2) for side in found.box)
        return Face(image, index, self.detector.name, notes, box, round(float(found.score), 4), answers, self.engine.label)  # type: ignore[arg-type]


def load(model: str | Path | None = None, detector: str | Path | None = None, threads: int | None = None) -> Analyzer:
    """The installed weights and OpenCV's face cascade, or a model directory and a YuNet file. Raises RequestError where they are not there or not right."""
    return Analyzer(engines.load(_path(model), threads), detect.load_detector(_path(detector), threads))


def answer_of(task: Task, output: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], calibration: AnswerCalibration | PairCalibration | None = None) -> Any:
    """One output of the network -> the answer, in the frame of a picture of `shape` (height, width) that `matrix` took to the crop.

    Calibrated, a question with classes is answered with a set too, and a number with an interval.
    """
    said = calibration if isinstance(calibration, AnswerCalibration) else AnswerCalibration()
    match task:
        case Category() | Scale():
            return task.decode(output, said.temperature, said.level)
        case Traits():
            return task.decode(output, said.temperature)
        case Points():
            return np.round(geometry.apply(geometry.invert(matrix), task.decode(output)), 2).tolist()
        case Angles():
            angles = task.decode(output) - np.array([0.0, 0.0, geometry.rotation_of(matrix)])
            return {axis: round(float((angle + 180) % 360 - 180), 1) for axis, angle in zip(task.axes, angles, strict=True)}
        case Regions():
            return ClassMap(task.decode(output), matrix, shape, task.vocabulary)
        case Embedding():
            return {"embedding": base64.b64encode(task.decode(output).astype("<f4").tobytes()).decode()}
    raise TypeError(f"no answer is known for the kind {type(task).__name__}")


def in_words(task: Task, answer: Any) -> str | None:
    """An answer short enough for a table; None for those that no table can hold."""
    match task:
        case Category():
            others = [word for word in answer.get("set", ()) if word != answer["answer"]]
            return f"{answer['answer']} {answer['probabilities'][answer['answer']]:.0%}" + (f", or {', '.join(others)}" if others else "")
        case Scale():
            return f"{answer[task.unit]:.0f} {task.unit}" + (f" ({answer['low']} to {answer['high']})" if "low" in answer else "")
        case Traits():
            likely = sorted((name for name, share in answer.items() if share >= 0.5), key=lambda name: -answer[name])
            return ", ".join(likely[:3]) + (f" +{len(likely) - 3}" if len(likely) > 3 else "")
        case Angles():
            return ", ".join(f"{axis} {angle:.0f}" for axis, angle in answer.items())
    return None


@dataclass(frozen=True)
class _Picture:
    """pixels uint8 RGB [H, W, 3]; of no pixels where it was refused."""

    name: str
    pixels: np.ndarray
    error: str | None = None


def _open(picture: Picture) -> _Picture:
    name = str(picture)
    source = read.file_source(picture) if isinstance(picture, str | Path) else picture
    try:
        return _Picture(name, read.decode(source.read(), name))
    except InputError as error:
        return _Picture(name, np.zeros((0, 0, 3), np.uint8), str(error))


def _from_array(pixels: np.ndarray) -> _Picture:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise RequestError(f"a picture is an array uint8 RGB [H, W, 3], not {pixels.dtype} {list(pixels.shape)}")
    return _Picture("", np.ascontiguousarray(pixels))


def _decoded_ahead(pictures: Iterable[Picture]) -> Iterator[list[_Picture]]:
    """Groups of pictures; while the caller looks at one, a thread decodes the next."""
    waiting = iter(pictures)
    with ThreadPoolExecutor(1, thread_name_prefix="polyface-decode") as thread:
        coming = thread.submit(_group, waiting)
        while group := coming.result():
            coming = thread.submit(_group, waiting)
            yield group


def _group(waiting: Iterator[Picture]) -> list[_Picture]:
    group: list[_Picture] = []
    for picture in waiting:
        group.append(_open(picture))
        if len(group) == GROUP_PICTURES or sum(opened.pixels.size // 3 for opened in group) >= GROUP_PIXELS:
            break
    return group


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
