"""Does the network ever wait for data? Pictures per second of the loader alone, of compute alone, and of the training loop, in one run; and memory, which must stay flat.

    python benchmarks/train.py [--recipe demo] [--data DIR] [--steps 40] [--rounds 6] [--set key=value ...]

Without --data the sets of `polyface demo` are drawn first. The aim: the loop reaches 95 % of compute alone. Crops are of the recipe's full size throughout. A processor
drifts by more than the difference, so compute and loop take turns, and the mean of the rounds' ratios is given with its standard error. Rates of another run or machine
are not comparable; ratios are.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from polyface import demo, runtime, terminal
from polyface.training import config, loop
from polyface.training.plan import FacePlan

KEPT = 8
"""Batches that compute alone goes round: enough to be no cache's favourite."""


def main() -> None:
    runtime.start_anew_for_training()
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        data = arguments.data
        if data is None:
            data = Path(scratch) / "data"
            demo.draw_sets(data, demo.DRAWN)
        settings = [*arguments.set, f"steps={arguments.steps}", f"validate_every={arguments.steps}", "validation_rows=1", "small.share=0"]
        recipe = config.load(arguments.recipe, settings)
        torch.set_num_threads(recipe.compute_threads or runtime.processors())
        measure(FacePlan(recipe, data), Path(scratch), arguments.rounds)


def measure(plan: FacePlan, scratch: Path, rounds: int) -> None:
    """Prints the table. Each run of the loop is timed between its first and last step, so that neither its start nor its checkpoint counts."""
    steps, batch = plan.steps, plan.config.batch
    loader = _rate(lambda: sum(1 for _ in plan.batches(range(steps))), steps * batch)
    ready = Ready(plan)
    compute, whole, memory = [], [], []
    for turn in range(rounds):
        for kind, rates in ((ready, compute), (plan, whole)) if turn % 2 == 0 else ((plan, whole), (ready, compute)):
            clock = _Clock()
            loop.run(kind, scratch / f"{turn} {len(compute) + len(whole)}", clock)  # type: ignore[arg-type]
            rates.append((steps - 1) * batch / (clock.times[-1] - clock.times[0]))
            memory.append(clock.memory[-1])
    shares = [reached / alone for reached, alone in zip(whole, compute, strict=True)]
    error = f" +- {stdev(shares) / len(shares) ** 0.5:.1%}" if rounds > 1 else ""
    terminal.table(
        [
            {"what": "loader alone", "pictures per second": round(loader), "of compute alone": f"{loader / mean(compute):.0%}"},
            {"what": "compute alone", "pictures per second": round(mean(compute)), "of compute alone": "100%"},
            {"what": "the loop", "pictures per second": round(mean(whole)), "of compute alone": f"{mean(shares):.1%}{error}"},
        ]
    )
    print("of compute alone, round by round: " + ", ".join(f"{share:.1%}" for share in shares))
    print(f"memory: {memory[1]} MB after the first round, {memory[-1]} MB after the last")
    print(f"{batch} pictures a step of {plan.crop.size} pixels, {rounds} rounds of {steps} steps")
    print(f"{runtime.processors()} processors, {plan.config.threads} threads that prepare batches")


class Ready:
    """A plan of any kind whose batches, the first KEPT in turns, cost nothing; all else is the plan's own."""

    def __init__(self, plan: loop.Plan):
        self._plan, self._kept = plan, list(plan.batches(range(min(KEPT, plan.steps))))

    def __getattr__(self, name: str) -> object:
        return getattr(self._plan, name)

    def batches(self, steps: range) -> list[Any]:
        return [self._kept[step % len(self._kept)] for step in steps]


class _Clock:
    """A report of the loop: when each step ended, and the resident memory then, in MB."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.memory: list[int] = []

    def __call__(self, step: int, steps: int, words: str) -> None:
        self.times.append(time.perf_counter())
        self.memory.append(_resident())


def _rate(work: Callable[[], object], pictures: int) -> float:
    started = time.perf_counter()
    work()
    return pictures / (time.perf_counter() - started)


def _resident() -> int:
    """The resident memory of this process in MB; 0 where there is no /proc."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_000_000 if status.exists() else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Loader alone, compute alone, and the training loop.")
    parser.add_argument("--recipe", default=demo.RECIPE)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
