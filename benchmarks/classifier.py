"""What a classifier of many people costs: memory of each process, and steps per second of the classifier alone, in shards and whole, in one run.

    python benchmarks/classifier.py [--people 1000000] [--processes 2] [--samples 0.1 1] [--batch 128] [--steps 10]

A step is the loss of a batch of random vectors, its gradients, and AdamW on the centres; no network, no pictures. A sample of 0 is the whole classifier in every process.
Memory is the most that the process ever held, less what it held before it made the classifier: centres, what the optimiser remembers, and what a step needs on top. Each
line is measured in processes of its own, on processors; rates of another run or machine are not comparable, ratios are.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

from polyface import terminal
from polyface.models.margins import Identity, People
from polyface.models.partial import Classifier
from polyface.runtime import processors
from polyface.training import loop, parallel
from polyface.training.config import Optimiser

DIMENSION = 512


def main() -> None:
    arguments = _arguments()
    if arguments.rank is not None:
        print(json.dumps(measure(arguments)))
        return
    table = []
    for sample in arguments.samples:
        each = _in_processes(sample, arguments)
        table.append(
            {
                "classifier": f"shards, a step sees {sample:.0%}" if sample else "whole in every process",
                "centres of a process": each[0]["centres"],
                "memory of a process": " and ".join(f"{found['megabytes']:,} MB" for found in each),
                "steps per second": f"{min(found['rate'] for found in each):.3g}",
            }
        )
    terminal.table(table)
    print(f"{arguments.people:,} people of {DIMENSION} numbers, {arguments.processes} processes, {processors()} processors, {arguments.batch} rows a step")


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """In one of the processes."""
    torch.set_num_threads(max(1, processors() // arguments.processes))
    dist.init_process_group("gloo", init_method=f"file://{arguments.meeting}", rank=arguments.rank, world_size=arguments.processes)
    sample, rows, before = arguments.samples[0], arguments.batch // arguments.processes, _megabytes()
    if sample:
        optimiser = partial(loop.optimiser_of_matrix, config=Optimiser())
        classifier = Classifier({"people": arguments.people}, DIMENSION, Identity(sample=sample), optimiser, 1, torch.device("cpu"))
        centres = classifier.shards["people"].centres
    else:
        people = People({"people": arguments.people}, DIMENSION)
        centres = people.centres["people"]
        whole = loop.optimiser_of_matrix(centres, Optimiser())  # type: ignore[arg-type]
    started = 0.0
    for step in range(arguments.steps + 1):
        if step == 1:  # the first makes room for the optimiser
            started = time.monotonic()
        torch.manual_seed(arguments.rank + step * arguments.processes)
        vectors, person = torch.randn(rows, DIMENSION, requires_grad=True), torch.randint(0, arguments.people, (rows,))
        (classifier if sample else people).loss(vectors, person, "people").mean().backward()
        if sample:
            classifier.step(1.0)
        else:
            parallel.add_gradients(people.parameters())
            whole.step()
            whole.zero_grad()
    seconds = time.monotonic() - started
    return {"rate": arguments.steps / seconds, "megabytes": _megabytes() - before, "centres": len(centres)}


def _in_processes(sample: float, arguments: argparse.Namespace) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--people", str(arguments.people), "--processes", str(arguments.processes), "--samples", str(sample)]
        command += ["--batch", str(arguments.batch), "--steps", str(arguments.steps), "--meeting", str(Path(folder, "meeting"))]
        started = [subprocess.Popen([*command, "--rank", str(rank)], stdout=subprocess.PIPE, text=True) for rank in range(arguments.processes)]
        said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a process failed; what it said is above")
    return [json.loads(each.splitlines()[-1]) for each in said]


def _megabytes() -> int:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--samples", type=float, nargs="+", default=[0.1, 1.0], help="shares of the people that a step sees; 0 for the whole classifier in every process")
    parser.add_argument("--batch", type=int, default=128, help="rows of all processes together")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--meeting", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
