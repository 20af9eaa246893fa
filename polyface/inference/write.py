"""Answers to where a person wants them: JSON lines on stdout or under a folder, masks, annotated pictures and clips beside them, a table on the terminal."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from polyface import files, terminal
from polyface.errors import InputError, RequestError, RunError
from polyface.images import draw, read, video
from polyface.inference.analyze import Analyzer, ClassMap, Face, ImageAnswers, in_words
from polyface.tasks.kinds import Regions, Task

ANSWERS, PART, BEFORE = "answers.jsonl", "answers.part.jsonl", "answers.before.jsonl"
TABLE_ROWS = 50
LONGEST = 255 - len(".part") - len(".12345678")
"""Bytes of a name under which something is written: file systems know no longer ones, and while it is written it has more."""


def analyze(analyzer: Analyzer, paths: Sequence[str], tasks: Iterable[str] | None, out: Path | None, pictures: bool, every: str = "1") -> int:
    """Answer on photographs, videos, folders and globs, and write as they come. Returns the exit status: 1 where an input was refused, each named on stderr.

    out None: JSON lines to stdout, or, where that is a terminal, a table. Else JSON lines to OUT/answers.jsonl, masks and (with pictures) annotated pictures and clips
    beside it; masks of a video's frames only where they are asked for by name, since there would be thousands. every: which frames are looked at (`video.every`).

    Raises RequestError where another run is writing to OUT: their answers would be mixed.
    """
    looked_at = video.every(every)
    chosen = analyzer.chosen(tasks)
    if out is None:
        chosen = _without_masks(chosen, asked=tasks is not None)
    found, refused = read.find_pictures(paths, read.SUFFIXES | video.SUFFIXES)
    for refusal in refused:
        terminal.say(str(refusal))
    if out is not None:
        found = _without_answers(found, paths, out)
    if not found:
        raise RequestError("no picture to look at")
    if pictures and out is not None and out.resolve() in {path.resolve().parent for path in found}:
        raise RequestError(f"{out}: holds what is to be looked at, and --pictures writes under the same names; give another --out")
    if pictures and out is not None and _holds_pictures_of_others(out):
        raise RequestError(f"{out}: holds pictures, and --pictures could write over them; give another --out")
    common = os.path.commonpath([path.absolute().parent for path in found])
    rows: list[dict[str, Any]] = []
    seen = _Seen(refused=len(refused))
    place = None if out is None else _Place(out, pictures, tasks is not None, looked_at, chosen)
    with files.alone(out) if out is not None else nullcontext(), _Lines(out) as lines, terminal.progress("pictures", len(found)) as report, place or nullcontext():
        for answers in analyzer.analyze_many(found, [task.name for task in chosen], every):
            if answers.error is not None:
                terminal.say(answers.error)
            seen.add(answers)
            lines.write(answers.to_dicts() if place is None else place.written(answers))
            if len(rows) <= TABLE_ROWS:
                rows += _rows(answers, _short(answers.image, common), chosen)
            report(seen.done - (answers.time is not None), more="" if answers.time is None else f"{_short(answers.image, common)} {answers.time:.1f} s")
    _show(rows, chosen, out)
    terminal.say(seen.in_words() + (f"; answers in {out / ANSWERS}" if out is not None else ""))
    return InputError.exit_status if seen.refused else 0


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """A picture uint8 RGB [H, W, 3] or a mask [H, W], in the format that the path ends in.

    Raises RequestError for an ending that no format has, RunError where it cannot be written.
    """
    try:
        done, content = cv2.imencode(path.suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels)
    except cv2.error as error:
        raise RequestError(f"{path}: pictures are written as .jpg or .png") from error
    if not done:
        raise RunError(f"{path}: {pixels.shape[1]:,} x {pixels.shape[0]:,} pixels cannot be written as {path.suffix}")
    files.write_atomically(path, content.tobytes())


def _without_answers(found: list[Path], paths: Sequence[str], out: Path) -> list[Path]:
    """Without the masks and pictures that an earlier run wrote under OUT, to which a folder or glob above it leads; all, where somebody names OUT or what is in it."""
    place = out.resolve()
    if any(Path(path).resolve().is_relative_to(place) for path in paths):
        return found
    return [path for path in found if not path.resolve().is_relative_to(place)]


def _holds_pictures_of_others(out: Path) -> bool:
    """Whether there are photographs or videos, and no answers that an earlier run wrote them for."""
    names = os.listdir(out) if out.is_dir() else []
    return not {ANSWERS, PART, BEFORE}.intersection(names) and any(Path(name).suffix.lower() in read.SUFFIXES | video.SUFFIXES for name in names)


def _without_masks(chosen: tuple[Task, ...], asked: bool) -> tuple[Task, ...]:
    """Masks need a place to be written to."""
    masks = [task for task in chosen if isinstance(task, Regions)]
    if asked and masks:
        raise RequestError(f"{masks[0].name} is answered by pictures; give --out DIR, to write them to")
    return tuple(task for task in chosen if task not in masks)


@dataclass
class _Seen:
    """What a run has looked at so far, for its last line."""

    refused: int
    faces: int = 0
    pictures: int = 0
    frames: int = 0
    videos: int = 0
    last: tuple[str, bool] | None = None
    done: int = 0

    def add(self, answers: ImageAnswers) -> None:
        of_video = answers.frame is not None
        ends_video = answers.error is not None and self.last == (answers.image, True)
        self.done += self.last != (answers.image, of_video) and not ends_video
        self.videos += of_video and self.last != (answers.image, True)
        self.last = answers.image, of_video
        self.faces, self.refused = self.faces + len(answers.faces), self.refused + (answers.error is not None)
        self.frames, self.pictures = self.frames + of_video, self.pictures + (not of_video and answers.error is None)

    def in_words(self) -> str:
        on = [terminal.count(self.pictures, "picture")] if self.pictures or not self.frames else []
        on += [f"{terminal.count(self.frames, 'frame')} of {terminal.count(self.videos, 'video')}"] if self.frames else []
        return f"{terminal.count(self.faces, 'face')} on {' and '.join(on)}" + (f"; {self.refused} refused" if self.refused else "")


class _Place:
    """The folder that masks, annotated pictures and clips go to, each under a name of its own; a context manager, since a clip ends with its video."""

    def __init__(self, out: Path, pictures: bool, masks_of_videos: bool, every: video.Every, tasks: Sequence[Task]):
        self.out, self.pictures, self.masks_of_videos, self.every = out, pictures, masks_of_videos, every
        self.room = LONGEST - len("-999999.999999.9999..png") - max((len(task.name.encode()) for task in tasks), default=0)
        self.names: Counter[str] = Counter()
        self.video: str | None = None
        self.name = ""
        self.open = ExitStack()

    def __enter__(self) -> "_Place":
        return self

    def written(self, answers: ImageAnswers) -> list[dict[str, Any]]:
        """Write what belongs to one picture; its lines, with the masks' names in them."""
        lines = answers.to_dicts()
        if answers.frame is None or answers.image != self.video:
            self.open.close()
            self.video = answers.image if answers.frame is not None else None
            self.name = _unique(_shortened(Path(answers.image).stem, self.room), self.names)
            if self.pictures and answers.frame is not None:
                self.clip = self.open.enter_context(video.Clip(self.out / f"{self.name}.mp4", video.rate(answers.image, self.every)))
        if answers.pixels is None:
            return lines
        if answers.frame is None or self.masks_of_videos:
            self._write_masks(answers, lines)
        if not self.pictures:
            return lines
        if answers.time is None:
            write_picture(self.out / f"{self.name}.jpg", _annotated(answers, answers.pixels))
        else:
            self.clip.write(_annotated(answers, answers.pixels), answers.time)
        return lines

    def __exit__(self, *exception: object) -> None:
        self.open.close()

    def _write_masks(self, answers: ImageAnswers, lines: list[dict[str, Any]]) -> None:
        name = self.name if answers.frame is None else f"{self.name}.{answers.frame:06}"
        for face, line in zip(answers.faces, lines, strict=False):  # a picture without a face has a line of its own
            model = line.pop("model")
            for task, answer in face.answers.items():
                if isinstance(answer, ClassMap):
                    line[task] = {"png": f"{name}.{face.index}.{task}.png"}
                    write_picture(self.out / line[task]["png"], answer.in_picture())
            line["model"] = model


def _annotated(answers: ImageAnswers, pixels: np.ndarray) -> np.ndarray:
    """The picture with its answers drawn on it; the class maps of all faces are laid into one, since a crowd's would fill the memory."""
    faces = [face.to_dict() for face in answers.faces]
    for face in answers.faces:
        for task, answer in face.answers.items():
            if isinstance(answer, ClassMap):
                faces[0][task] = np.maximum(faces[0].get(task, np.uint8(0)), answer.in_picture(smooth=True))
    return draw.annotate(pixels, faces, margin=answers.frame is None)


def _shortened(stem: str, room: int) -> str:
    """As many bytes of a name as there is room for, and no part of a character."""
    content = os.fsencode(stem)
    if len(content) <= room:
        return stem
    while room > 1 and content[room] & 0b1100_0000 == 0b1000_0000:  # goes on with a character of UTF-8
        room -= 1
    return os.fsdecode(content[:room])


def _unique(stem: str, names: Counter[str]) -> str:
    """a, then a-2 for another a.jpg in another folder."""
    names[stem] += 1
    return stem if names[stem] == 1 else _unique(f"{stem}-{names[stem]}", names)


class _Lines:
    """Where JSON lines go. In a folder they gather in `PART`, which becomes `ANSWERS` when all is looked at: a run that is cut off leaves those of an earlier one. The
    part of a run before is kept as `BEFORE` until all is looked at, or more than it holds was."""

    def __init__(self, out: Path | None):
        self.path = None if out is None else out / ANSWERS
        self.quiet = out is None and sys.stdout.isatty()

    def __enter__(self) -> "_Lines":
        if self.path is not None:
            self.partial, self.before = self.path.with_name(PART), self.path.with_name(BEFORE)
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                if _size(self.partial) > _size(self.before):
                    os.replace(self.partial, self.before)
                self.file = open(self.partial, "wb", buffering=0)
            except OSError as error:
                raise RequestError(f"{self.path.parent}: cannot be written to ({error.strerror})") from error
        return self

    def write(self, lines: list[dict[str, Any]]) -> None:
        content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        if self.path is None:
            if not self.quiet:
                sys.stdout.write(content.decode())
                sys.stdout.flush()
            return
        end = self.file.tell()
        try:
            if self.file.write(content) != len(content):
                raise OSError(0, "disk full")
        except OSError as error:
            self.file.truncate(self.file.seek(end))
            raise RunError(f"{self.path}: cannot be written ({error.strerror})") from error

    def __exit__(self, exception: type[BaseException] | None, *more: object) -> None:
        if self.path is None:
            return
        written = self.file.tell()
        self.file.close()
        if not written:
            self.partial.unlink()
        elif exception is None:
            os.replace(self.partial, self.path)
        else:
            terminal.say(f"not all was looked at; the answers up to here are in {self.partial}")
        if written >= _size(self.before) or (written and exception is None):
            self.before.unlink(missing_ok=True)
        elif self.before.exists():
            terminal.say(f"a run before had looked at more; its answers are in {self.before}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _short(image: str, common: str) -> str:
    """What tells a picture from others, for a table: its path below the folder that holds them all."""
    return os.path.relpath(os.path.abspath(image), common)


def _rows(answers: ImageAnswers, image: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    where = {"image": image} if answers.time is None else {"image": image, "time": f"{answers.time:.2f} s"}
    if answers.error is not None or not answers.faces:
        return [{**where, "face": "refused" if answers.error is not None else "none"}]
    return [{**where, "face": face.index if face.track is None else face.track, **_answers_in_words(face, tasks)} for face in answers.faces]


def _answers_in_words(face: Face, tasks: Sequence[Task]) -> dict[str, str]:
    said = {task.name: in_words(task, face.answers[task.name]) for task in tasks}
    return {name: words for name, words in said.items() if words is not None}


def _show(rows: list[dict[str, Any]], tasks: Sequence[Task], out: Path | None) -> None:
    """The table on stdout where no JSON lines went, else on stderr if somebody is watching."""
    file = sys.stdout if out is not None or sys.stdout.isatty() else sys.stderr
    if file is sys.stderr and not sys.stderr.isatty():
        return
    columns = ["image", "time", "face", *(task.name for task in tasks)]
    terminal.table(rows[:TABLE_ROWS], [column for column in columns if any(row.get(column) is not None for row in rows)], file=file)
    if len(rows) > TABLE_ROWS:
        terminal.say(f"the table shows the first {TABLE_ROWS} lines")
