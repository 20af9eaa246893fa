"""What does an answer cost? Milliseconds for each face, seconds to start, pictures per second and memory, measured in one run.

    python benchmarks/analyze.py PHOTOS... --model DIR [--detector FILE] [--pictures 1000] [--rounds 15] [--card]

Four measurements, each with what the project claims of it: all tasks in one pass against one network for each task with the same backbone, which are cut out of the same
file; detection and alignment apart; a cold `polyface analyze` of one photograph; and many photographs, against decoding, detection and network one after the other.
PHOTOS are files and folders; where there are fewer than --pictures, they go round. --card writes the first two and the start into the model's card. Milliseconds of
another machine are not comparable; ratios are. Needs the extra `train`, for onnx.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx.utils import Extractor

from polyface import runtime, terminal
from polyface.errors import RequestError
from polyface.images import align, geometry, read
from polyface.images.detect import Face
from polyface.inference import analyze, engine
from polyface.inference import card as cards

MOST_MS, MOST_TIMES_DEAREST = 15, 1.3
MOST_SECONDS, MOST_MEGABYTES = 1.0, 250
LEAST_OF_STAGES = 0.95
STARTS = 5
BATCHES, THREADS = (1, 32), (1, 2)
ENOUGH = 40
"""Photographs that detection and alignment are timed on."""

WATCH = """
import resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""A small process between, since a process begins with the resident memory of the one that started it."""

Row = dict[str, Any]


def main() -> None:
    arguments = _arguments()
    folder = arguments.model
    found, _ = read.find_pictures(arguments.photos)
    if not found:
        raise RequestError("no photograph to look at")
    photos = [found[at % len(found)] for at in range(arguments.pictures)]
    start, imports = cold_start(folder, arguments.detector, photos[0])
    terminal.table([start], title="polyface analyze, one photograph")
    terminal.table(imports, title="its imports")
    analyzer = analyze.load(folder, arguments.detector)
    stages, whole = many(analyzer, photos)
    terminal.table(stages, title=f"{len(photos)} photographs, {whole['faces']} faces")
    before = detection_and_alignment(folder, arguments.detector, photos[:ENOUGH])
    terminal.table(before, title="detection and alignment, milliseconds")
    crops = _crops(analyzer, photos)
    passes = [row for name in engine.NETWORKS if (folder / name).is_file() for row in one_pass(folder / name, crops, arguments.rounds)]
    terminal.table(passes, title=f"the network, milliseconds for each face, {_processor()}")
    terminal.table(_claims(passes, start, whole), title="claims")
    if arguments.card:
        card = cards.read_card(folder / "card.json")
        speed = {"processor": _processor(), "all tasks in one pass, milliseconds for each face": passes, "before the network": before, "start": [start]}
        cards.rewrite(folder, msgspec.structs.replace(card, speed=speed))


def one_pass(network: Path, crops: np.ndarray, rounds: int) -> list[Row]:
    """All tasks by one network, and each by one of its own: medians of rounds in which every network has its turn, so that a busy minute is everybody's."""
    model = onnx.load(network)
    tasks = [output.name for output in model.graph.output]
    alone = {task: Extractor(model).extract_model(["crops"], [task]).SerializeToString() for task in tasks}
    rows = []
    for threads in THREADS:
        sessions = {"": runtime.session(network, threads), **{task: runtime.session(content, threads) for task, content in alone.items()}}
        for batch in BATCHES:
            feed = {"crops": crops[:batch]}
            times = _in_turn({name: partial(session.run, None, feed) for name, session in sessions.items()}, max(3, rounds // batch))
            together = times.pop("") / batch
            dearest = max(times, key=times.__getitem__)
            rows.append(
                {
                    "network": network.name,
                    "threads": threads,
                    "batch": batch,
                    "all tasks": round(together, 2),
                    "one network each": round(sum(times.values()) / batch, 2),
                    "dearest alone": round(times[dearest] / batch, 2),
                    "which is": dearest,
                    "of the dearest": round(together / (times[dearest] / batch), 2),
                }
            )
    return rows


def detection_and_alignment(model: Path, detector: Path | None, photos: Sequence[Path]) -> list[Row]:
    """Milliseconds to find the faces of one photograph after another, and to cut each face out."""
    pictures = [_opened(photo) for photo in photos]
    rows = []
    for threads in THREADS:
        runtime.threads_for_opencv(threads)
        analyzer = analyze.load(model, detector, threads)
        analyzer.detector.detect_many(pictures[:1])
        looks, cuts = [], []
        for picture in pictures:
            took, finds = _timed(analyzer.detector.detect_many, [picture])
            looks.append(took)
            cuts += [_timed(_cut, picture, face, analyzer.engine.crop)[0] for face in finds[0]]
        pixels = statistics.median(picture.shape[0] * picture.shape[1] for picture in pictures) / 1e6
        said = {"detector": analyzer.detector.name, "threads": threads, "megapixels": round(pixels, 2), "detection, a photograph": round(statistics.median(looks), 2)}
        rows.append({**said, "alignment, a face": round(statistics.median(cuts), 3) if cuts else None})
    return rows


def cold_start(model: Path, detector: Path | None, photo: Path) -> tuple[Row, list[Row]]:
    """Seconds and resident memory of a process that answers on one photograph, and what its imports take, by package."""
    command = ["-m", "polyface", "analyze", str(photo), "--model", str(model), *(["--detector", str(detector)] if detector else [])]
    runs = [_process([sys.executable, *command]) for _ in range(STARTS)]
    seconds, busy, megabytes = (sorted(each) for each in zip(*runs, strict=True))
    traced = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True)
    start: Row = {"seconds": round(statistics.median(seconds), 2), "fastest": round(seconds[0], 2), "slowest": round(seconds[-1], 2)}
    start |= {"of processor": round(statistics.median(busy), 2), "megabytes": round(megabytes[-1])}
    return start, _imports(traced.stderr)


def many(analyzer: analyze.Analyzer, photos: Sequence[Path]) -> tuple[list[Row], Row]:
    """Each stage alone, one after the other over groups as `analyze` makes them; then `analyze` itself, which decodes while it looks."""
    runtime.threads_for_opencv(runtime.processors())
    seconds, faces = _stages(analyzer, photos)
    memory, started = [], time.perf_counter()
    for _ in analyzer.analyze_many(photos):
        memory.append(_resident())
    took = time.perf_counter() - started
    rows: list[Row] = [{"what": name, "seconds": round(each, 2), "photographs per second": round(len(photos) / each, 1)} for name, each in seconds.items()]
    allowed = sum(seconds.values())
    rows.append({"what": "these, one after the other", "seconds": round(allowed, 2), "photographs per second": round(len(photos) / allowed, 1)})
    rows.append({"what": "polyface analyze, all of it", "seconds": round(took, 2), "photographs per second": round(len(photos) / took, 1)})
    quarter = memory[len(memory) // 4]
    return rows, {"of the stages": allowed / took, "faces": faces, "quarter": quarter, "end": memory[-1]}


def _stages(analyzer: analyze.Analyzer, photos: Sequence[Path]) -> tuple[dict[str, float], int]:
    """Seconds of decoding, detection and network over all photographs; cutting and the words of answers are in none of them. And the number of faces."""
    seconds, faces = Counter[str](), 0
    names, crop = [task.name for task in analyzer.chosen(None)], analyzer.engine.crop
    for start in range(0, len(photos), analyze.GROUP_PICTURES):
        group = photos[start : start + analyze.GROUP_PICTURES]
        took, pictures = _timed(list, map(_opened, group))
        seconds["decoding"] += took / 1000
        took, finds = _timed(analyzer.detector.detect_many, pictures)
        seconds["detection"] += took / 1000
        crops = [_cut(picture, face, crop) for picture, found in zip(pictures, finds, strict=True) for face in found]
        faces += len(crops)
        if crops:
            took, _ = _timed(analyzer.engine.run, np.stack(crops), names)
            seconds["network"] += took / 1000
    return dict(seconds), faces


def _claims(passes: Sequence[Row], start: Row, whole: Row) -> list[Row]:
    first = next(row for row in passes if row["threads"] == 1 and row["batch"] == 1)
    rows = [
        ("all tasks, one face, one thread, ms", first["all tasks"], f"at most {MOST_MS}", first["all tasks"] <= MOST_MS),
        ("of the dearest task alone", first["of the dearest"], f"at most {MOST_TIMES_DEAREST}", first["of the dearest"] <= MOST_TIMES_DEAREST),
        ("cold start, seconds", start["seconds"], f"at most {MOST_SECONDS}", start["seconds"] <= MOST_SECONDS),
        ("cold start, MB", start["megabytes"], f"at most {MOST_MEGABYTES}", start["megabytes"] <= MOST_MEGABYTES),
        ("analyze, of what its stages allow", round(whole["of the stages"], 3), f"at least {LEAST_OF_STAGES}", whole["of the stages"] >= LEAST_OF_STAGES),
        ("memory at the end, MB", whole["end"], f"as after a quarter, {whole['quarter']}", whole["end"] <= 1.05 * whole["quarter"]),
    ]
    return [{"claim": claim, "found": found, "claimed": claimed, "kept": "yes" if kept else "NO"} for claim, found, claimed, kept in rows]


def _in_turn(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median milliseconds of each."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(_timed(work)[0])
    return {name: statistics.median(each) for name, each in times.items()}


def _timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Milliseconds, and what came of it."""
    started = time.perf_counter()
    found = work(*arguments)
    return 1000 * (time.perf_counter() - started), found


def _process(command: Sequence[str]) -> tuple[float, float, float]:
    """Seconds until a command has ended, seconds of processor that it took, and the most megabytes that it had resident."""
    done = subprocess.run([sys.executable, "-c", WATCH, *command], capture_output=True, text=True)
    if done.returncode:
        raise RequestError(f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}")
    seconds, busy, kilobytes = map(float, done.stdout.split())
    return seconds, busy, kilobytes / 1000


def _imports(trace: str) -> list[Row]:
    """`-X importtime`: milliseconds that each package spends in modules of its own, the largest first."""
    own: Counter[str] = Counter()
    for line in trace.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and len(parts) == 3 and parts[0].strip().isdigit():
            own[parts[2].strip().partition(".")[0]] += int(parts[0])
    rows: list[Row] = [{"package": name, "milliseconds": round(microseconds / 1000, 1)} for name, microseconds in own.most_common(10)]
    return [*rows, {"package": "all", "milliseconds": round(own.total() / 1000, 1)}]


def _crops(analyzer: analyze.Analyzer, photos: Iterable[Path]) -> np.ndarray:
    """As many crops of real faces as the largest batch."""
    crops: list[np.ndarray] = []
    for photo in photos:
        picture = _opened(photo)
        crops += [_cut(picture, face, analyzer.engine.crop) for face in analyzer.detector.detect_many([picture])[0]]
        if len(crops) >= max(BATCHES):
            return np.stack(crops[: max(BATCHES)])
    if not crops:
        raise RequestError("no face on the photographs")
    return np.stack([crops[at % len(crops)] for at in range(max(BATCHES))])


def _cut(picture: np.ndarray, face: Face, crop: align.Crop) -> np.ndarray:
    return geometry.warp(picture, align.from_points(face.points, crop), (crop.size, crop.size))


def _opened(photo: Path) -> np.ndarray:
    return read.decode(photo.read_bytes(), str(photo))


def _resident() -> int:
    """The resident memory of this process in MB; 0 where there is no /proc."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_000_000 if status.exists() else 0


def _processor() -> str:
    """Its name, where the system says it, and how many this process has."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "an unnamed processor")
    return f"{name}, {runtime.processors()} processors"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What an answer costs: each face, the start, many photographs.")
    parser.add_argument("photos", nargs="+", metavar="PHOTOS")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--detector", type=Path)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--card", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
