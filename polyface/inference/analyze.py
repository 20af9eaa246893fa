"""Photographs -> answers about every face on them.

Pictures stream through: while two groups of them are looked at, the next is decoded in a thread, and all faces of a group go through the network together, so memory does
not grow with the number of pictures. The frames of a video are such pictures, each with its number and time; along it a face keeps its number (`track.py`). An
answer's form is DESIGN.md's; which kind of question gives which form is said once, in `answer_of`.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import cv2
import msgspec
import numpy as np

from polyface import runtime
from polyface.errors import InputError, RequestError, nearest, reason
from polyface.images import align, detect, geometry, read, video
from polyface.inference import engine as engines
from polyface.inference.card import AnswerCalibration, Card, at_size
from polyface.inference.engine import Engine
from polyface.inference.track import Tracks, tracks_by
from polyface.labels import readable
from polyface.tasks.kinds import Angles, Category, Embedding, Points, Regions, Scale, Task, Traits
from polyface.terminal import percent

if TYPE_CHECKING:
    from polyface.inference.compare import Comparison

GROUP_PICTURES, GROUP_PIXELS = 16, 16_000_000
"""What is decoded together; five groups are in memory at once, at 3 bytes a pixel: one being decoded, one waiting, two looked at, one told."""
LOOKS = 2
"""While one group's faces are cut and its answers put in words, which one processor does, the network has the others with another group."""

LIKELY = 0.5
"""Traits that are at least so probable are named."""

Picture = str | Path | read.Source | read.Sent
"""A picture that is still to be read: a file, one in an archive, or one that somebody sent."""

NO_PIXELS = np.zeros((0, 0, 3), np.uint8)
ON_DRAWINGS = "trained on drawings"
TOO_SMALL = "smaller than the faces its sets were fitted on"


@dataclass(frozen=True)
class ClassMap:
    """Regions of one face: crop uint8 [S, S] of class indices, and the matrix from a picture of `shape` (height, width) to that crop."""

    crop: np.ndarray = field(repr=False)
    matrix: np.ndarray = field(repr=False)
    shape: tuple[int, int]
    vocabulary: tuple[str, ...] = field(repr=False)

    def in_picture(self, smooth: bool = False) -> np.ndarray:
        """Class indices uint8 [H, W]; outside the crop all is class 0, background. smooth: for the eye, without the steps of the crop's pixels."""
        height, width = self.shape
        if smooth:
            return geometry.warp_smoothly(self.crop, geometry.invert(self.matrix), (width, height))
        return geometry.warp(self.crop, geometry.invert(self.matrix), (width, height), border=0, nearest=True)


@dataclass(frozen=True)
class Face:
    """One face and its answers; `face.age` is `face.answers["age"]`. box (x0, y0, x1, y1) in pixels of the upright picture.

    In a video also the number of the frame from 0, its time in seconds, and the number that the face keeps along the video. An answer is what its JSON holds, except
    a class map, which `in_picture()` makes an array.
    """

    image: str
    index: int
    detector: str
    notes: tuple[str, ...]
    box: tuple[float, float, float, float]
    score: float
    answers: Mapping[str, Any] = field(repr=False)
    model: str
    frame: int | None = None
    time: float | None = None
    track: int | None = None

    def __getattr__(self, name: str) -> Any:
        answers = self.__dict__.get("answers", {})
        if name not in answers:
            raise AttributeError(f"no answer {name!r}{nearest(name, answers)}")
        return answers[name]

    def to_dict(self) -> dict[str, Any]:
        """DESIGN.md's answer. A class map is in it once it lies in a file: see `write.py`."""
        where = {} if self.frame is None else {"frame": self.frame, "time": self.time, "track": self.track}
        before = {"image": self.image, **where, "face": self.index, "detector": self.detector, "notes": list(self.notes), "box": list(self.box), "score": self.score}
        return {**before, **{name: answer for name, answer in self.answers.items() if not isinstance(answer, ClassMap)}, "model": self.model}

    def to_json(self) -> str:
        return msgspec.json.encode(self.to_dict()).decode()


@dataclass(frozen=True)
class ImageAnswers:
    """What was found on one picture, or on one frame of a video: its faces, or why it was refused. pixels uint8 RGB [H, W, 3], None for a refused one."""

    image: str
    faces: tuple[Face, ...] = ()
    error: str | None = None
    pixels: np.ndarray | None = field(default=None, repr=False)
    frame: int | None = None
    time: float | None = None

    def to_dicts(self) -> list[dict[str, Any]]:
        """One object per line of JSON: each face; or that there is none; or the error."""
        if self.error is not None:
            return [{"image": self.image, "error": self.error}]
        where = {} if self.frame is None else {"frame": self.frame, "time": self.time}
        return [face.to_dict() for face in self.faces] or [{"image": self.image, **where, "faces": 0}]


@dataclass(frozen=True)
class Analyzer:
    """A network and a detector of faces, ready to answer."""

    engine: Engine
    detector: detect.Detector

    def analyze(self, picture: Picture | np.ndarray, tasks: Iterable[str] | None = None) -> list[Face]:
        """The faces of one picture, a file or an array uint8 RGB [H, W, 3], the foremost first; of a video those of all frames (`analyze_many` gives them one by one).
        Raises InputError for what cannot be read."""
        if not isinstance(picture, np.ndarray) and _is_video(picture):
            return [face for answers in self.analyze_many([picture], tasks) for face in _or_raise(answers).faces]
        opened = _from_array(picture) if isinstance(picture, np.ndarray) else _open(picture)
        chosen = self.chosen(tasks)
        return list(_or_raise(self._told(self._look([opened], chosen)[0], chosen)).faces)

    def analyze_many(self, pictures: Iterable[Picture], tasks: Iterable[str] | None = None, every: int | str = 1) -> Iterator[ImageAnswers]:
        """The answers of each picture, and of each frame of a video, in order, while they come; every: 10 looks at each tenth frame, "0.5s" at one in each half second.
        Raises nothing for what cannot be read: its answers hold the error, which comes last where a video is cut short."""
        chosen, looked_at = self.chosen(tasks), video.every(every)
        return self._answered(_decoded_ahead(pictures, looked_at, self.engine.card), chosen)

    def compare(self, a: Picture | np.ndarray, b: Picture | np.ndarray, far: float | None = None) -> "Comparison":
        """The same person? Of the foremost face of each picture; far: one of the card's rates of false acceptance. Raises InputError where a picture has no face,
        RequestError where the model was not calibrated for that."""
        from polyface.inference.compare import compare

        return compare(self, a, b, far)

    def chosen(self, names: Iterable[str] | None) -> tuple[Task, ...]:
        """The tasks of these names, or of this one; all where None, but for embeddings, which are biometric data and have to be asked for by name."""
        if names is None:
            return tuple(task for task in self.engine.tasks if not isinstance(task, Embedding))
        return self.engine.chosen([names] if isinstance(names, str) else names)

    def _answered(self, groups: Iterable[Sequence["_Picture"]], tasks: Sequence[Task]) -> Iterator[ImageAnswers]:
        """Groups are looked at side by side and answered in order, since along a video a face keeps its number."""
        for looked in runtime.in_order(lambda group: self._look(group, tasks), groups, LOOKS, LOOKS, "polyface-look"):
            yield from (self._told(seen, tasks) for seen in looked)

    def _look(self, pictures: Sequence["_Picture"], tasks: Sequence[Task]) -> list["_Seen"]:
        """A group at once: detect, align, cut, ask the network, decode. Of a video's frames the network is asked for embeddings too, even if nobody asked."""
        finds = self._detect(pictures)
        person = self._person() if any(picture.tracks is not None for picture in pictures) else None
        asked = tasks if person is None or person in tasks else [*tasks, person]
        owners = [(at, face, self._matrix(face)) for at, (faces, _) in enumerate(finds) for face in faces]
        seen = [_Seen(picture, error) for picture, (_, error) in zip(pictures, finds, strict=True)]
        for start in range(0, len(owners), engines.CHUNK):
            chunk = owners[start : start + engines.CHUNK]
            answers = self._ask([(pictures[at].pixels, matrix) for at, _, matrix in chunk], asked)
            for (at, face, matrix), answer in zip(chunk, answers, strict=True):
                seen[at].faces.append((face, matrix, answer))
        return seen

    def _told(self, seen: "_Seen", tasks: Sequence[Task]) -> ImageAnswers:
        """What leaves: each face with its number along a video, and without an embedding that nobody asked for."""
        picture, names = seen.picture, {task.name for task in tasks}
        tracks = seen.followed(self._person())
        faces = tuple(self._face(picture, index, *face, names, track) for index, (face, track) in enumerate(zip(seen.faces, tracks, strict=True)))
        return ImageAnswers(picture.name, faces, seen.error, picture.pixels if seen.error is None else None, picture.frame, picture.time)

    def _person(self) -> Embedding | None:
        return next((task for task in self.engine.tasks if isinstance(task, Embedding)), None)

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

    def _ask(self, faces: Sequence[tuple[np.ndarray, np.ndarray]], tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """Answers by task name for each (picture, matrix from it to the crop)."""
        size = self.engine.crop.size
        crops = np.stack([geometry.warp(pixels, matrix, (size, size)) for pixels, matrix in faces])
        outputs = self.engine.run(crops, [task.name for task in tasks])
        return [
            {task.name: answer_of(task, outputs[task.name][row], matrix, pixels.shape[:2], self._calibration(task, matrix)) for task in tasks}  # type: ignore[arg-type]
            for row, (pixels, matrix) in enumerate(faces)
        ]

    def _calibration(self, task: Task, matrix: np.ndarray) -> AnswerCalibration | None:
        """What the card says of answers about a face of this size."""
        said = self.engine.card.calibration.get(task.name)
        return at_size(said, align.eyes_in_picture(matrix, self.engine.crop)) if isinstance(said, AnswerCalibration) else None

    def _matrix(self, face: detect.Face) -> np.ndarray:
        """Picture -> crop: by the points, unless they fall together or lie absurdly far from the size of the box: then by the box."""
        by_box = align.from_points(align.points_of_box(np.asarray(face.box, np.float64)), self.engine.crop)
        if not np.isfinite(face.points).all():
            return by_box
        by_points = align.from_points(face.points, self.engine.crop)
        return by_points if 1 / 4 < geometry.scale_of(by_points) / geometry.scale_of(by_box) < 4 else by_box

    def _face(self, picture: "_Picture", index: int, found: detect.Face, matrix: np.ndarray, answers: dict[str, Any], names: set[str], track: int | None) -> Face:
        notes = ((ON_DRAWINGS,) if self.engine.card.trained_on_drawings else ()) + ((TOO_SMALL,) if self._is_too_small(matrix) else ())
        box = tuple(round(float(side), 2) for side in found.box)
        told = {name: answer for name, answer in answers.items() if name in names}
        said = self.detector.name, notes, box, round(float(found.score), 4), told, self.engine.label
        return Face(picture.name, index, *said, picture.frame, picture.time, track)  # type: ignore[arg-type]

    def _is_too_small(self, matrix: np.ndarray) -> bool:
        """Whether the sets of answers hold the truth less often than the card says, since nobody fitted any to so small a face."""
        return self._smallest_fitted > 0 and align.eyes_in_picture(matrix, self.engine.crop) < self._smallest_fitted

    @cached_property
    def _smallest_fitted(self) -> float:
        """Pixels between the eyes; 0 where the card tells no sizes apart."""
        return min((said.sizes[0].eyes for said in self.engine.card.calibration.values() if isinstance(said, AnswerCalibration) and said.sizes), default=0.0)


def load(model: str | Path | None = None, detector: str | Path | None = None, threads: int | None = None) -> Analyzer:
    """The installed weights, or a model directory and a detector's file. Raises RequestError where they are not there or not right."""
    return Analyzer(engines.load(_path(model), threads), detect.load_detector(_path(detector), threads))


def answer_of(task: Task, output: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], calibration: AnswerCalibration | None = None) -> Any:
    """One output of the network -> the answer, in the frame of a picture of `shape` (height, width) that `matrix` took to the crop.

    Calibrated, a question with classes is answered with a set too, and a number with an interval.
    """
    said = calibration or AnswerCalibration()
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
            words = f"{answer['answer']} {percent(answer['probabilities'][answer['answer']])}"
            others = ", ".join(word for word in answer.get("set", ()) if word != answer["answer"])
            return readable(f"{words}, or {others}" if others else words)
        case Scale():
            return f"{answer[task.unit]:.0f} {task.unit}" + (f" ({answer['low']} to {answer['high']})" if "low" in answer else "")
        case Traits():
            likely = likely_traits(answer)
            return readable(", ".join(likely[:3])) + (f" +{len(likely) - 3}" if len(likely) > 3 else "")
        case Angles():
            return ", ".join(f"{axis} {round(angle)}" for axis, angle in answer.items())
    return None


def likely_traits(answer: Mapping[str, float]) -> list[str]:
    """Those that are named, the surest first."""
    return sorted((name for name, share in answer.items() if share >= LIKELY), key=lambda name: -answer[name])


@dataclass(frozen=True)
class _Picture:
    """pixels uint8 RGB [H, W, 3]; of no pixels where it was refused. Of a frame of a video also its number and time, and the faces of the video so far."""

    name: str
    pixels: np.ndarray
    error: str | None = None
    frame: int | None = None
    time: float | None = None
    tracks: Tracks | None = None


@dataclass(frozen=True)
class _Seen:
    """A picture that was looked at: each face with its matrix to the crop and all answers, or why there is none."""

    picture: _Picture
    error: str | None
    faces: list[tuple[detect.Face, np.ndarray, dict[str, Any]]] = field(default_factory=list)

    def followed(self, person: Embedding | None) -> Sequence[int | None]:
        """The number along the video of each face, None on a photograph."""
        if self.picture.tracks is None or self.picture.time is None:
            return [None] * len(self.faces)
        from polyface.inference.compare import vector_of

        vectors = None if person is None else [vector_of(answers[person.name]) for _, _, answers in self.faces]
        return self.picture.tracks.follow(self.picture.time, [face.box for face, _, _ in self.faces], vectors)


def _open(picture: Picture) -> _Picture:
    name = str(picture)
    source = read.file_source(picture) if isinstance(picture, str | Path) else picture
    try:
        if not read.is_unicode(name):
            raise read.no_unicode(name)
        return _Picture(name, read.decode(source.read(), name))
    except InputError as error:
        return _Picture(name, NO_PIXELS, str(error))


def _from_array(pixels: np.ndarray) -> _Picture:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise RequestError(f"a picture is an array uint8 RGB [H, W, 3], not {pixels.dtype} {list(pixels.shape)}")
    return _Picture("", np.ascontiguousarray(pixels))


def _is_video(picture: Any) -> TypeGuard[str | Path]:
    return isinstance(picture, str | Path) and video.is_video(picture)


def _or_raise(answers: ImageAnswers) -> ImageAnswers:
    if answers.error is not None:
        raise InputError(answers.error)
    return answers


def _decoded_ahead(pictures: Iterable[Picture], every: video.Every, card: Card) -> Iterator[list[_Picture]]:
    """Groups of pictures; while the caller looks at one, a thread decodes the next."""
    waiting = _pictures(pictures, every, card)
    with ThreadPoolExecutor(1, thread_name_prefix="polyface-decode") as thread:
        coming = thread.submit(_group, waiting)
        while group := coming.result():
            coming = thread.submit(_group, waiting)
            yield group


def _pictures(pictures: Iterable[Picture], every: video.Every, card: Card) -> Iterator[_Picture]:
    """Photographs, and the frames of videos one by one."""
    for picture in pictures:
        if not _is_video(picture):
            yield _open(picture)
            continue
        tracks = tracks_by(card)
        try:
            for frame in video.frames(picture, every):
                yield _Picture(str(picture), frame.pixels, None, frame.number, frame.time, tracks)
        except InputError as error:
            yield _Picture(str(picture), NO_PIXELS, str(error))


def _group(waiting: Iterator[_Picture]) -> list[_Picture]:
    group: list[_Picture] = []
    for picture in waiting:
        group.append(picture)
        if len(group) == GROUP_PICTURES or sum(opened.pixels.size // 3 for opened in group) >= GROUP_PIXELS:
            break
    return group


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
