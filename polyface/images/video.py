"""Videos: frames with their numbers and times, decoded one after the other by OpenCV; and a clip of frames that were drawn on.

What a container says of itself is not believed: frames are counted as they come, their times are read after each of them, and the end is where no more comes. A file is
opened only if it begins as a video does, since ffmpeg also opens lists that lead to other files.
"""

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from polyface import runtime
from polyface.errors import InputError, RequestError, RunError
from polyface.images.headers import HEIF_BRANDS, check_size, no_picture_at_all

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".flv", ".ogv"})
USUAL_RATE = 25.0
LOWEST_RATE, HIGHEST_RATE = 0.001, 1000.0
"""Frames per second that are believed; some containers say 90,000."""
LONGEST_HOLD = 10.0
"""Seconds for which a written clip shows one frame where the next is far off in time."""
BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof")
"""What an MP4 or QuickTime file begins with."""
EBML_SEGMENT = b"\x18\x53\x80\x67"

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
    raise RequestError(f"every {text!r}: a whole number of frames, as 10, or of seconds, as 0.5s")


def is_video(path: str | os.PathLike[str]) -> bool:
    """By the ending of its name, or, where that says nothing, by its first bytes."""
    from polyface.images import read

    suffix = Path(path).suffix.lower()
    if suffix in SUFFIXES or suffix in read.SUFFIXES:
        return suffix in SUFFIXES
    try:
        with open(path, "rb") as file:
            return _container(file.read(1024)) is not None
    except OSError:
        return False


def frames(path: str | os.PathLike[str], chosen: Every = Every()) -> Iterator[Frame]:
    """The frames of a video, one in memory at a time. Raises InputError, one line that names the file: at once for what is no video, after the last frame for one that
    is cut short."""
    cut_short = _checked(Path(path))
    number, last, due, interval = 0, 0.0, 0.0, 0.0
    with _opened(path) as capture:
        rate = _believed(capture)
        while capture.grab():
            time = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if number and time <= last:  # no time was stored with this frame, or a broken one
                time = last + interval
            interval, last = (time - last if number else 1 / rate), max(time, 0.0)
            if number % chosen.frames == 0 if chosen.seconds is None else last >= due - 1e-6:
                yield Frame(number, round(last, 4), _pixels(capture, path, number))
                if chosen.seconds is not None:
                    due = (int((last + 1e-6) / chosen.seconds) + 1) * chosen.seconds
            number += 1
    if cut_short:
        raise InputError(f"{path}: cut short, its end is missing" + (f" after {number:,} frames, {last:.2f} s" if number else " and no frame is left"))
    if not number:
        raise InputError(f"{path}: a video without frames")


def rate(path: str | os.PathLike[str], chosen: Every = Every()) -> float:
    """How many frames are looked at in a second, as the container has it, or USUAL_RATE where that cannot be. Raises InputError."""
    if chosen.seconds is not None:
        return 1 / chosen.seconds
    _checked(Path(path))
    with _opened(path) as capture:
        return _believed(capture) / chosen.frames


class Clip:
    """Writes a clip, MPEG-4 in .mp4, at a steady rate: where frames lie further apart in time one is held, so that it lasts as long as its source; none is left out.

    Use as a context manager; the file gets its name when all is written, and keeps what was written if the run ends early. Raises RunError where it cannot be written.
    """

    def __init__(self, path: Path, rate: float):
        self.path, self.rate = path, min(max(rate, LOWEST_RATE), HIGHEST_RATE)
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
        held = min(round((time - self.start) * self.rate) - self.shown, round(LONGEST_HOLD * self.rate))
        for _ in range(held):
            self._show(self.last)
        self._show(pixels)
        self.last = pixels

    def __exit__(self, *exception: object) -> None:
        if self.writer is not None:
            self.writer.release()
            if _without_an_end(self.partial):
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


# What a file is, before ffmpeg sees it


def _checked(path: Path) -> bool:
    """Whether the container promises more than the file holds. Raises InputError for what is no video."""
    try:
        with open(path, "rb") as file:
            start = file.read(1024)
    except OSError as error:
        raise InputError(f"{path}: {'no such file' if isinstance(error, FileNotFoundError) else f'cannot be read ({error.strerror or error})'}") from error
    if _container(start) is None:
        raise InputError(f"{path}: {no_picture_at_all(start) or 'not a video, or of a kind that is not read (MP4, MOV, MKV, WebM, AVI, MPEG, WMV, FLV and Ogg are)'}")
    return _without_an_end(path)


def _container(start: bytes) -> str | None:
    """The format that a file begins as; None for pictures, playlists and whatever else."""
    if start[4:8] in BOXES:
        return None if start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS else "MP4"
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "RIFF"
    if start[:4] == b"\x1aE\xdf\xa3":
        return "Matroska"
    if any(start[at : at + 1] == start[at + length : at + length + 1] == b"G" for at, length in ((0, 188), (4, 192))):  # packets; Blu-ray's have a time in front
        return "MPEG-TS"
    beginnings = {b"\0\0\1\xba": "MPEG", b"\0\0\1\xb3": "MPEG", b"FLV\1": "FLV", b"OggS": "Ogg", b"0&\xb2u": "WMV"}
    return beginnings.get(start[:4])


def _without_an_end(path: Path) -> bool:
    """Whether a part of the file reaches beyond it, in the containers whose parts have lengths."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        container = _container(file.read(1024))
        lengths = {"MP4": _length_of_box, "RIFF": _length_of_chunk, "Matroska": _length_of_element}.get(container or "")
        at = 0
        while lengths is not None and at < size:
            file.seek(at)
            length = lengths(file)
            if length is None:  # to the end of the file, or not known when it was written
                return False
            at += length
    return at > size


def _length_of_box(file: BinaryIO) -> int | None:
    """Of the part of an MP4 that begins here, its head included (ISO/IEC 14496-12, 4.2)."""
    head = file.read(16).ljust(16, b"\xff")
    length = struct.unpack(">I", head[:4])[0]
    return struct.unpack(">Q", head[8:])[0] if length == 1 else max(length, 8) if length else None


def _length_of_chunk(file: BinaryIO) -> int | None:
    head = file.read(8)
    if head[:4] != b"RIFF":  # what some programs append
        return None
    length = int.from_bytes(head[4:8].ljust(4, b"\xff"), "little")
    return length + 8 + length % 2 if length else None


def _length_of_element(file: BinaryIO) -> int | None:
    """Of a Matroska file's head, or of its one segment (RFC 8794: variable-length numbers)."""
    name = file.read(4)
    first = file.read(1)
    if not first or not first[0]:
        return None if name == EBML_SEGMENT else 1 << 62
    more = 8 - first[0].bit_length()
    content = (first[0] & (1 << (7 - more)) - 1) << 8 * more | int.from_bytes(file.read(more), "big")
    return None if content == (1 << 7 * (more + 1)) - 1 else 5 + more + content


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[cv2.VideoCapture]:
    capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, runtime.processors()])
    try:
        if not capture.isOpened():
            raise InputError(
                f"{path}: no frame can be decoded: " + ("cut short, its end is missing" if _without_an_end(Path(path)) else "cut short, damaged, or without pictures")
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
