"""Answers to where a person wants them: JSON lines on stdout or under a folder, masks and annotated pictures beside them, a table on the terminal."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from polyface import files, runtime, terminal
from polyface.errors import InputError, RequestError, RunError
from polyface.images import draw, read
from polyface.inference.analyze import Analyzer, ClassMap, Face, ImageAnswers, in_words
from polyface.tasks.kinds import Regions, Task

ANSWERS = "answers.jsonl"
TABLE_ROWS = 50


def analyze(analyzer: Analyzer, paths: Sequence[str], tasks: Iterable[str] | None, out: Path | None, pictures: bool) -> int:
    """Answer on photographs, folders and globs, and write as they come. Returns the exit status: 1 where an input was refused, each named on stderr.

    out None: JSON lines to stdout, or, where that is a terminal, a table. Else JSON lines to OUT/answers.jsonl, masks and (with pictures) annotated pictures beside it.
    """
    chosen = analyzer.chosen(tasks)
    if out is None:
        chosen = _without_masks(chosen, asked=tasks is not None)
    found, refused = read.find_pictures(paths)
    for refusal in refused:
        terminal.say(str(refusal))
    if not found:
        raise RequestError("no picture to look at")
    runtime.threads_for_opencv(runtime.processors())
    common = os.path.commonpath([path.absolute().parent for path in found])
    rows: list[dict[str, Any]] = []
    faces, broken = 0, 0
    with _Lines(out) as lines, terminal.progress("pictures", len(found)) as report:
        names: Counter[str] = Counter()
        for done, answers in enumerate(analyzer.analyze_many(found, [task.name for task in chosen]), 1):
            if answers.error is not None:
                terminal.say(answers.error)
            faces, broken = faces + len(answers.faces), broken + (answers.error is not None)
            lines.write(_written(answers, out, _unique(Path(answers.image).stem, names), pictures))
            if len(rows) < TABLE_ROWS:
                rows += _rows(answers, _short(answers.image, common), chosen)
            report(done)
    _show(rows, chosen, out)
    said = f"{_count(faces, 'face')} on {_count(len(found) - broken, 'picture')}"
    said += f"; {broken + len(refused)} refused" if broken or refused else ""
    terminal.say(said + (f"; answers in {out / ANSWERS}" if out is not None else ""))
    return InputError.exit_status if broken or refused else 0


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """A picture uint8 RGB [H, W, 3] or a mask [H, W], in the format that the path ends in.

    Raises RequestError for an ending that no format has, RunError where it cannot be written.
    """
    try:
        content = cv2.imencode(path.suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels)[1]
    except cv2.error as error:
        raise RequestError(f"{path}: pictures are written as .jpg or .png") from error
    files.write_atomically(path, content.tobytes())


def _without_masks(chosen: tuple[Task, ...], asked: bool) -> tuple[Task, ...]:
    """Masks need a place to be written to."""
    kept = tuple(task for task in chosen if not isinstance(task, Regions))
    if asked and not kept:
        raise RequestError(f"{chosen[0].name} is answered by pictures; give --out DIR, to write them to")
    return kept


def _written(answers: ImageAnswers, out: Path | None, name: str, pictures: bool) -> list[dict[str, Any]]:
    """Write the masks and the annotated picture of one picture; its lines, with the masks' names in them."""
    lines = answers.to_dicts()
    if out is None or answers.pixels is None:
        return lines
    for face, line in zip(answers.faces, lines, strict=False):  # a picture without a face has a line of its own
        model = line.pop("model")
        for task, answer in face.answers.items():
            if isinstance(answer, ClassMap):
                line[task] = {"png": f"{name}.{face.index}.{task}.png"}
                write_picture(out / line[task]["png"], answer.in_picture())
        line["model"] = model
    if pictures:
        write_picture(out / f"{name}.jpg", _annotated(answers, answers.pixels))
    return lines


def _annotated(answers: ImageAnswers, pixels: np.ndarray) -> np.ndarray:
    """The picture with its answers drawn on it; the class maps of all faces are laid into one, since a crowd's would fill the memory."""
    faces = [face.to_dict() for face in answers.faces]
    for face in answers.faces:
        for task, answer in face.answers.items():
            if isinstance(answer, ClassMap):
                faces[0][task] = np.maximum(faces[0].get(task, np.uint8(0)), answer.in_picture())
    return draw.annotate(pixels, faces)


def _unique(stem: str, names: Counter[str]) -> str:
    """a, then a-2 for another a.jpg in another folder."""
    names[stem] += 1
    return stem if names[stem] == 1 else _unique(f"{stem}-{names[stem]}", names)


class _Lines:
    """Where JSON lines go. In a folder they gather under another name until the run ends, however it ends; each line there is whole."""

    def __init__(self, out: Path | None):
        self.path = None if out is None else out / ANSWERS
        self.quiet = out is None and sys.stdout.isatty()

    def __enter__(self) -> "_Lines":
        if self.path is not None:
            self.partial = self.path.with_name(f".{ANSWERS}.part")
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
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
            self.file.truncate(end)
            raise RunError(f"{self.path}: cannot be written ({error.strerror})") from error

    def __exit__(self, *exception: object) -> None:
        if self.path is not None:
            self.file.close()
            os.replace(self.partial, self.path)


def _short(image: str, common: str) -> str:
    """What tells a picture from others, for a table: its path below the folder that holds them all."""
    return os.path.relpath(os.path.abspath(image), common)


def _rows(answers: ImageAnswers, image: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    if answers.error is not None or not answers.faces:
        return [{"image": image, "face": "refused" if answers.error is not None else "no face"}]
    return [{"image": image, "face": face.index, **_answers_in_words(face, tasks)} for face in answers.faces]


def _answers_in_words(face: Face, tasks: Sequence[Task]) -> dict[str, str]:
    said = {task.name: in_words(task, face.answers[task.name]) for task in tasks}
    return {name: words for name, words in said.items() if words is not None}


def _show(rows: list[dict[str, Any]], tasks: Sequence[Task], out: Path | None) -> None:
    """The table on stdout where no JSON lines went, else on stderr if somebody is watching."""
    file = sys.stdout if out is not None or sys.stdout.isatty() else sys.stderr
    if file is sys.stderr and not sys.stderr.isatty():
        return
    columns = ["image", "face", *(task.name for task in tasks)]
    terminal.table(rows[:TABLE_ROWS], [column for column in columns if any(row.get(column) is not None for row in rows)], file=file)
    if len(rows) >= TABLE_ROWS:
        terminal.say(f"the table shows the first {TABLE_ROWS} lines")


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
