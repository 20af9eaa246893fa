"""How does the page answer when many ask at once? Latency of parallel requests to `polyface serve`, and whether each got its own answer.

    python benchmarks/serve.py PHOTOS... --model DIR [--detector FILE] [--requests 50] [--rounds 5]

The server is a process of its own. In each round so many requests, one photograph each, are sent one after the other, and then all at once; PHOTOS are files and
folders, and go round where there are fewer. An answer to a parallel request must be the bytes that the same photograph got alone. Needs the extra `dev`, for httpx.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np

from polyface import runtime, terminal
from polyface.errors import RequestError
from polyface.images import read

PATIENCE = 120.0
"""Seconds that a request may take."""


def main() -> None:
    arguments = _arguments()
    found, _ = read.find_pictures(arguments.photos)
    if not found:
        raise RequestError("no photograph to send")
    photos = [found[index % len(found)] for index in range(arguments.requests)]
    options = ["--model", str(arguments.model), *(["--detector", str(arguments.detector)] if arguments.detector else [])]
    command = [sys.executable, "-m", "polyface", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            measure(_address(server), [photo.read_bytes() for photo in photos], arguments.rounds)
        finally:
            server.terminate()


def measure(address: str, photos: Sequence[bytes], rounds: int) -> None:
    rows, others = [], 0
    with httpx.Client(base_url=address, timeout=PATIENCE, limits=httpx.Limits(max_connections=len(photos))) as client, ThreadPoolExecutor(len(photos)) as pool:
        ask(client, photos[0])  # the first loads what is loaded when it is needed
        for _ in range(rounds):
            started = time.perf_counter()
            alone = [ask(client, photo) for photo in photos]
            between = time.perf_counter()
            together = list(pool.map(lambda photo: ask(client, photo), photos))
            ended = time.perf_counter()
            others += sum(other[1] is None or one[1] != other[1] for one, other in zip(alone, together, strict=True))
            rows += [("one after the other", between - started, [took for took, _ in alone]), ("all at once", ended - between, [took for took, _ in together])]
    shown = [_row(name, [row for row in rows if row[0] == name], len(photos)) for name in dict.fromkeys(row[0] for row in rows)]
    terminal.table(shown, title=f"{len(photos)} requests, {rounds} rounds, {runtime.processors()} processors")
    claim = {"claim": "answers of parallel requests that are lost or another's", "found": others, "claimed": 0, "kept": "yes" if not others else "NO"}
    terminal.table([claim], title="claims")


def ask(client: httpx.Client, photo: bytes) -> tuple[float, bytes | None]:
    """Seconds until the answer is there, and the answer; None where it is refused or lost."""
    started = time.perf_counter()
    try:
        answer = client.post("/analyze", files={"picture": ("photo.jpg", photo)})
        content = answer.content if answer.status_code == httpx.codes.OK else None
    except httpx.HTTPError:
        content = None
    return time.perf_counter() - started, content


def _row(name: str, rounds: Sequence[tuple[str, float, list[float]]], requests: int) -> dict[str, object]:
    latencies = 1e3 * np.concatenate([each[2] for each in rounds])
    median, late, last = np.percentile(latencies, [50, 95, 100]).round()
    pace = np.median([requests / each[1] for each in rounds])
    return {"requests": name, "median ms": median, "95 % within ms": late, "slowest ms": last, "requests per second": round(float(pace), 1)}


def _address(server: subprocess.Popen) -> str:
    """What the server says where it is. Raises RequestError where it ends without."""
    assert server.stderr is not None
    said = ""
    for line in server.stderr:
        said = line.strip()
        if (start := said.find("http://")) >= 0:
            return said[start:].split()[0]
    raise RequestError(f"polyface serve did not start: {said}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How polyface serve answers many at once.")
    parser.add_argument("photos", nargs="+", metavar="PHOTO")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--detector", type=Path)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
