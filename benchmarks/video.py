"""What does a long video cost? Frames per second and memory of `polyface analyze` on a clip of photographs that are panned about, made here.

    python benchmarks/video.py PHOTOS... --model DIR [--detector FILE] [--minutes 10] [--every 1] [--clip FILE]

Each photograph is shown for five seconds in 640 x 360 pixels at 30 frames per second, under a window that wanders over it. The claims: every frame is answered, none
twice, in order, with its time; resident memory in the last quarter of the time is within a twentieth of the first's. Tracks over several photographs say how the
numbering went. PHOTOS are files and folders. The command runs in a process of its own, watched from outside; its answers go to a temporary folder.
"""

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np

from polyface import runtime, terminal
from polyface.errors import InputError, RequestError
from polyface.images import read

SIZE, RATE, SHOWN = (640, 360), 30, 150
"""Pixels, frames per second, and frames for which a photograph is shown."""
ROOM = 1.3
"""How many times the window a photograph is, along its shorter side."""


def main() -> None:
    arguments = _arguments()
    photos, _ = read.find_pictures(arguments.photos)
    if not photos:
        raise RequestError("no photograph to show")
    random.Random(0).shuffle(photos)
    frames = round(arguments.minutes * 60 * RATE)
    with tempfile.TemporaryDirectory() as folder:
        clip = arguments.clip or Path(folder) / "clip.mp4"
        if not clip.exists():
            write_clip(clip, photos, frames)
        seconds, memory = watched(clip, Path(folder) / "out", arguments)
        lines = [msgspec.json.decode(line) for line in (Path(folder) / "out" / "answers.jsonl").open("rb")]
    numbers = [number for number, _ in itertools.groupby(line["frame"] for line in lines)]
    tracks = Counter(line["track"] for line in lines if "track" in line)
    shown = Counter((line["track"], line["frame"] // SHOWN) for line in lines if "track" in line)
    complete = _complete(lines, numbers, frames, arguments.every)
    quarter, end = max(memory[: len(memory) // 4 + 1]), max(memory[-(len(memory) // 4 + 1) :])
    rows = [
        {
            "what": "frames looked at",
            "value": len(numbers),
            "claim": "all, once, in order, with their times" if complete else "MISSED",
        },
        {"what": "frames per second", "value": round(len(numbers) / seconds, 1), "claim": f"on {runtime.processors()} processors"},
        {"what": "resident MB, at most in the first quarter", "value": quarter, "claim": ""},
        {"what": "resident MB, at most in the last", "value": end, "claim": "flat" if end <= 1.05 * quarter else "NOT FLAT"},
        {"what": "faces", "value": sum(tracks.values()), "claim": ""},
        {"what": "tracks", "value": len(tracks), "claim": ""},
        {"what": "faces in tracks over several photographs", "value": _astray(shown), "claim": ""},
    ]
    terminal.table(rows, title=f"{arguments.minutes:g} minutes, {SIZE[0]} x {SIZE[1]}, {RATE} frames per second, every {arguments.every}")


def write_clip(path: Path, photos: Sequence[Path], frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), RATE, SIZE)
    for at, picture in enumerate(itertools.islice(_panned(photos), frames)):
        writer.write(picture)
        if at % 3000 == 0:
            terminal.say(f"{at:,} of {frames:,} frames are made")
    writer.release()


def watched(clip: Path, out: Path, arguments: argparse.Namespace) -> tuple[float, list[int]]:
    """Seconds that the command took, and its resident megabytes four times a second."""
    command = [sys.executable, "-m", "polyface", "analyze", str(clip), "--model", str(arguments.model), "--out", str(out), "--every", arguments.every]
    command += ["--tasks", arguments.tasks] if arguments.tasks else []
    command += ["--detector", str(arguments.detector)] if arguments.detector else []
    command += ["--pictures"] if arguments.pictures else []
    started, memory = time.perf_counter(), []
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            memory.append(_resident(process.pid))
            time.sleep(0.25)
    if process.returncode:
        raise RequestError(f"the command ended with status {process.returncode}")
    return time.perf_counter() - started, [each for each in memory if each]


def _panned(photos: Sequence[Path]) -> Iterator[np.ndarray]:
    """uint8 BGR frames: a window that wanders over one photograph after the other."""
    rng = np.random.default_rng(0)
    for photo in itertools.cycle(photos):
        try:
            pixels = read.decode(photo.read_bytes(), str(photo))
        except InputError:
            continue
        scale = ROOM * max(SIZE[0] / pixels.shape[1], SIZE[1] / pixels.shape[0])
        pixels = cv2.cvtColor(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), cv2.COLOR_RGB2BGR)
        room = np.array([pixels.shape[1] - SIZE[0], pixels.shape[0] - SIZE[1]])
        turns, phases = rng.uniform(0.5, 2.0, 2), rng.uniform(0, 2 * np.pi, 2)
        for at in range(SHOWN):
            x, y = (room * (0.5 + 0.5 * np.sin(2 * np.pi * turns * at / SHOWN + phases))).astype(int)
            yield np.ascontiguousarray(pixels[y : y + SIZE[1], x : x + SIZE[0]])


def _complete(lines: Sequence[dict], numbers: Sequence[int], frames: int, every: str) -> bool:
    times = all(abs(line["time"] - line["frame"] / RATE) < 0.002 for line in lines)
    return times and (list(numbers) == list(range(0, frames, int(every))) if every.isdigit() else sorted(set(numbers)) == list(numbers))


def _astray(shown: Counter[tuple[int, int]]) -> int:
    """Faces whose track holds more faces of another photograph than of theirs: no face is on two photographs."""
    of_track: dict[int, list[int]] = {}
    for (track, _), count in shown.items():
        of_track.setdefault(track, []).append(count)
    return sum(sum(counts) - max(counts) for counts in of_track.values())


def _resident(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--detector", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", default="1")
    parser.add_argument("--tasks")
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument("--clip", type=Path, help="Keep the clip here, and take it if it is here.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
