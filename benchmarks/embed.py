"""What does a gallery cost? Pictures per second of the whole `polyface embed`, against its stages alone, one after the other, measured in one run.

    python benchmarks/embed.py PATH... --model DIR [--detector FILE] [--rounds 3]

In each round decoding, detection and network take all pictures one after the other, in groups as `embed` makes them, and then the command takes them as a process of its
own, start and shards included; medians are shown. PATHs are what `embed` takes; some thousand pictures, so that the start is little of it. Pictures per second of another
machine are not comparable; ratios are.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyface import runtime, terminal
from polyface.errors import InputError, RequestError
from polyface.images import align, geometry, read
from polyface.images.detect import Face
from polyface.images.sources import find_sources
from polyface.inference import analyze
from polyface.inference.analyze import Analyzer
from polyface.inference.gallery import MANIFEST, embedding_task

LEAST_OF_STAGES = 0.95
STAGES = ("decoding", "detection", "network")
COMMAND = "polyface embed, all of it"


def main() -> None:
    arguments = _arguments()
    pictures, _ = find_sources(arguments.paths)
    if not pictures:
        raise RequestError("no picture to look at")
    runtime.threads_for_opencv(runtime.processors())
    analyzer = analyze.load(arguments.model, arguments.detector)
    rounds = []
    for _ in range(arguments.rounds):
        seconds, faces = stages(analyzer, pictures)
        rounds.append({**seconds, COMMAND: command(arguments)})
    terminal.table(_rows(rounds, len(pictures)), title=f"{len(pictures)} pictures, {faces} faces, {runtime.processors()} processors")
    ratio = statistics.median(sum(each[name] for name in STAGES) / each[COMMAND] for each in rounds)
    kept = "yes" if ratio >= LEAST_OF_STAGES else "NO"
    claim = {"claim": "embed, of what its stages allow", "found": round(ratio, 3), "claimed": f"at least {LEAST_OF_STAGES}", "kept": kept}
    terminal.table([claim], title="claims")


def stages(analyzer: Analyzer, pictures: Sequence[read.Source]) -> tuple[dict[str, float], int]:
    """Seconds of each stage over all pictures, one group after the other; cutting faces out, and writing, are in none of them. And the number of faces."""
    seconds, faces = dict.fromkeys(STAGES, 0.0), 0
    task, crop = embedding_task(analyzer.engine), analyzer.engine.crop
    for start in range(0, len(pictures), analyze.GROUP_PICTURES):
        took, opened = _timed(_opened, pictures[start : start + analyze.GROUP_PICTURES])
        seconds["decoding"] += took
        took, finds = _timed(analyzer.detector.detect_many, opened)
        seconds["detection"] += took
        crops = [_cut(picture, face, crop) for picture, found in zip(opened, finds, strict=True) for face in found]
        faces += len(crops)
        if crops:
            took, _ = _timed(analyzer.engine.run, np.stack(crops), [task.name])
            seconds["network"] += took
    return seconds, faces


def command(arguments: argparse.Namespace) -> float:
    """Seconds of `polyface embed` in a process of its own, into a new gallery."""
    with tempfile.TemporaryDirectory() as folder:
        gallery = Path(folder) / "gallery"
        options = ["--out", str(gallery), "--model", str(arguments.model), *(["--detector", str(arguments.detector)] if arguments.detector else [])]
        took, done = _timed(subprocess.run, [sys.executable, "-m", "polyface", "embed", *arguments.paths, *options], capture_output=True, text=True)
        if done.returncode not in (0, InputError.exit_status) or not (gallery / MANIFEST).exists():
            raise RequestError(f"polyface embed failed: {done.stderr.strip()[-300:]}")
    return took


def _opened(pictures: Sequence[read.Source]) -> list[np.ndarray]:
    """Those that can be read."""
    opened = []
    for picture in pictures:
        try:
            opened.append(read.decode(picture.read(), str(picture)))
        except InputError:
            continue
    return opened


def _cut(picture: np.ndarray, face: Face, crop: align.Crop) -> np.ndarray:
    return geometry.warp(picture, align.from_points(face.points, crop), (crop.size, crop.size))


def _rows(rounds: Sequence[dict[str, float]], pictures: int) -> list[dict[str, object]]:
    together = "these, one after the other"
    shown = [{**{name: each[name] for name in STAGES}, together: sum(each[name] for name in STAGES), COMMAND: each[COMMAND]} for each in rounds]
    medians = {name: statistics.median(each[name] for each in shown) for name in shown[0]}
    return [{"what": name, "seconds": round(took, 2), "pictures per second": round(pictures / took, 1)} for name, took in medians.items()]


def _timed(work: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work(*arguments, **named)
    return time.perf_counter() - started, found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a gallery costs, against its stages.")
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--detector", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
