"""Videos: frames with their numbers and times, decoded one after the other by OpenCV; and a clip of frames that were drawn on.

What a container says of itself is not believed: frames are counted as they come, their times are read after each of them, and the end is where no more comes. A file is
opened only if it begins as a video does, since ffmpeg also opens lists that lead to other files.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from polyface import runtime
from polyface.errors import InputError, RequestError, RunError
from polyface.images.containers import container_of, container_of_file, without_an_end
from polyface.images.headers import check_size, no_picture_at_all

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".flv", ".ogv"})
USUAL_RATE = 25.0
LOWEST_RATE, HIGHEST_RATE = 0.002, 300.0
"""Frames per second that are believed; some containers say 90,000, and one whose times are in milliseconds 1,000."""
LONGEST_HOLD = 10.0
"""Seconds for which a written clip shows one frame where the next is far off in time."""
TRIES = 500
"""Packets in a row of which none gives a frame, after which no more is believed to come: twenty seconds of a usual video."""
LATE, LATER = 1.0, 0.05
"""A video that ends so many seconds, and this share of its length besides, before its own time is damaged."""

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what a broken video has to say is said once, by InputError


@dataclass(frozen=True)
class Every:
    """Which frames are looked at: each `frames`-th, or the first in each span of `seconds`."""

    frames: int = 1
    seconds: float | None = None


@dataclass(frozen=True)
class Frame:
    """`number` from 0, of all frames, those between included; `time` in seconds from the start of the video; `pixels` uint8 RGB [H, W, 3], upright."""

    number: int
    time: float
    pixels: np.ndarray


def every(text: int | str) -> Every:
    """10 -> every tenth frame, 0.5s -> every half second. Raises RequestError."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+) ?(s?)", str(text).strip())
    if found:
        number, seconds = float(found[1]), bool(found[2])
        if number > 0 and (seconds or number.is_integer()):
            return Every(seconds=number) if seconds else Every(frames=int(number))
    raise RequestError(f"every {text!r}: say a whole number of frames, as 10, or a time in seconds, as 0.5s")


def is_video(path: str | os.PathLike[str]) -> bool:
    """By the ending of its name, or, where that says nothing, by its first bytes."""
    from polyface.images import read

    suffix = Path(path).suffix.lower()
    if suffix in SUFFIXES or suffix in read.SUFFIXES:
        return suffix in SUFFIXES
    try:
        return container_of_file(Path(path)) is not None
    except OSError:
        return False


def frames(path: str | os.PathLike[str], chosen: Every = Every()) -> Iterator[Frame]:
    """The frames of a video, one in memory at a time. Raises InputError, one line that names the file: at once for what is no video, after the last frame for one that
    is cut short or damaged. A frame that cannot be decoded keeps its number; one of which a damaged container has lost every trace shows as a gap in time only."""
    cut_short = _checked(Path(path))
    number, last, due, interval, lost, stated, later = 0, 0.0, 0.0, 0.0, 0, 0.0, 0.0
    with _opened(path) as capture:
        rate = _believed(capture)
        stated = capture.get(cv2.CAP_PROP_FRAME_COUNT) / rate
        while (missed := _missed(capture)) is not None:
            number, lost = number + missed, lost + missed  # what comes after them keeps its number
            stored = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            later = 0.0 if stored > last else later
            if number and stored + later <= last:  # no time was stored with this frame, or a broken one, or times begin anew
                later = last + min(interval, 1 / rate) * (1 + missed) - stored
            time = stored + later
            interval, last = ((time - last) / (1 + missed) if number else 1 / rate), max(time, 0.0)
            if number % chosen.frames == 0 if chosen.seconds is None else last >= due - 1e-6:
                yield Frame(number, round(last, 4), _pixels(capture, path, number))
                if chosen.seconds is not None:
                    due = (int((last + 1e-6) / chosen.seconds) + 1) * chosen.seconds
            number += 1
    if cut_short:
        raise InputError(f"{path}: cut short, its end is missing" + (f" after {number:,} frames, {last:.2f} s" if number else " and no frame is left"))
    if not number:
        raise InputError(f"{path}: a video without frames")
    if lost:
        raise InputError(f"{path}: damaged, {lost:,} of its first {number:,} frames cannot be decoded")
    if _late(last + interval, stated) and _late(last + interval, ends := _end(path, stated)):
        raise InputError(f"{path}: cut short or damaged, no frame after {last:.2f} s of the {ends:.2f} s that it states")


def rate(path: str | os.PathLike[str], chosen: Every = Every()) -> float:
    """How many frames are looked at in a second, as the container has it, or USUAL_RATE where that cannot be. Raises InputError."""
    _checked(Path(path))
    with _opened(path) as capture:
        believed = _believed(capture)
    return believed / chosen.frames if chosen.seconds is None else min(1 / chosen.seconds, believed)


class Clip:
    """Writes a clip, MPEG-4 in .mp4, at a steady rate: where frames lie further apart in time one is held, so that it lasts as long as its source; none is left out.

    Use as a context manager; the file gets its name when all is written, and keeps what was written if the run ends early. Raises RunError where it cannot be written.
    """

    def __init__(self, path: Path, rate: float):
        rate = min(max(rate, LOWEST_RATE), HIGHEST_RATE)
        self.path, self.rate = path, round(rate, 3 if rate < 65 else 2 if rate < 655 else 1)  # MPEG-4 counts in 65,535ths of a second at finest
        self.partial = path.with_name(f".{path.stem}.part{path.suffix}")
        self.writer: cv2.VideoWriter | None = None
        self.size = (0, 0)
        self.shown = 0

    def __enter__(self) -> "Clip":
        return self

    def write(self, pixels: np.ndarray, time: float) -> None:
        """A frame uint8 RGB [H, W, 3] for a time in seconds; sides are made even, and those of later frames are made the first one's."""
        if self.writer is None:
            self.size = pixels.shape[1] // 2 * 2 or 2, pixels.shape[0] // 2 * 2 or 2
            self.start, self.last = time, pixels
            writer = cv2.VideoWriter(str(self.partial.absolute()), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), self.rate, self.size)
            if not writer.isOpened():
                raise RunError(f"{self.path}: cannot be written")
            self.writer = writer
        held, most = round((time - self.start) * self.rate) - self.shown, round(LONGEST_HOLD * self.rate)
        self.start += max(held - most, 0) / self.rate  # what is left out is not made up for
        for _ in range(min(held, most)):
            self._show(self.last)
        self._show(pixels)
        self.last = pixels

    def __exit__(self, *exception: object) -> None:
        if self.writer is not None:
            self.writer.release()
            if without_an_end(self.partial):
                raise RunError(f"{self.path}: cannot be written (disk full?)")
            os.replace(self.partial, self.path)

    def _show(self, pixels: np.ndarray) -> None:
        assert self.writer is not None
        height, width = pixels.shape[:2]
        if (width // 2 * 2, height // 2 * 2) == self.size:
            pixels = pixels[: self.size[1], : self.size[0]]
        else:
            pixels = cv2.resize(pixels, self.size, interpolation=cv2.INTER_AREA)
        self.writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        self.shown += 1


# The end, and frames that do not come


def _missed(capture: cv2.VideoCapture) -> int | None:
    """Grab the next frame that can be decoded: how many could not before it; None where no more comes. OpenCV says of both the same."""
    return next((missed for missed in range(TRIES) if capture.grab()), None)


def _late(end: float, stated: float) -> bool:
    return stated - end > LATE + LATER * stated


def _end(path: str | os.PathLike[str], stated: float) -> float:
    """Seconds to the end: by what a container states where that is a time; else by what is stored, decoded or not, since an MP4 counts frames that its edits leave out,
    and what an AVI counts may be wrong."""
    if container_of_file(Path(path)) not in ("MP4", "RIFF"):
        return stated
    with _opened(path, cv2.CAP_PROP_FORMAT, -1) as packets:
        end = 0.0
        while packets.grab():
            end = max(end, packets.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    return end


# What a file is, before ffmpeg sees it


def _checked(path: Path) -> bool:
    """Whether the container promises more than the file holds. Raises InputError for what is no video."""
    try:
        with open(path, "rb") as file:
            start = file.read(1024)
    except OSError as error:
        raise InputError(f"{path}: {'no such file' if isinstance(error, FileNotFoundError) else f'cannot be read ({error.strerror or error})'}") from error
    if container_of(start) is None:
        raise InputError(f"{path}: {no_picture_at_all(start) or 'not a video, or of a kind that is not read (MP4, MOV, MKV, WebM, AVI, MPEG, WMV, FLV and Ogg are)'}")
    return without_an_end(path)


@contextmanager
def _opened(path: str | os.PathLike[str], *more: int) -> Iterator[cv2.VideoCapture]:
    """more: properties of OpenCV and their values."""
    capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, runtime.processors(), *more])
    try:
        if not capture.isOpened():
            raise InputError(
                f"{path}: no frame can be decoded: " + ("cut short, its end is missing" if without_an_end(Path(path)) else "cut short, damaged, or without pictures")
            )
        check_size(int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), str(path))
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield capture
    finally:
        capture.release()


def _believed(capture: cv2.VideoCapture) -> float:
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if LOWEST_RATE <= rate <= HIGHEST_RATE else USUAL_RATE


def _pixels(capture: cv2.VideoCapture, path: str | os.PathLike[str], number: int) -> np.ndarray:
    done, pixels = capture.retrieve()
    if not done:
        raise InputError(f"{path}: frame {number} cannot be decoded")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
