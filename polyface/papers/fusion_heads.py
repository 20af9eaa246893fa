"""Heads on cached features: cross-task networks, fusion networks and merging algorithms. Many heads train at once, each on its own loss and weights, on the same rows.

That is the paper's second stage: features are frozen, only the new layers learn. A bank of heads is one plan of the one loop; its checkpoints are of no use afterwards
(a bank takes seconds), what stays is OUT/<world>/<split>/heads/<bank>.npz: of every head whether each test row was right.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyface.errors import RequestError, RunError
from polyface.files import write_arrays, write_atomically
from polyface.models.fusion import FusionHead
from polyface.papers.fusion_config import Heads, digest
from polyface.papers.fusion_networks import AT_ONCE, Progress, _losses, optimiser_of, some_of
from polyface.training import loop, parallel
from polyface.training.config import Method

CELL = "|"
FIRST = (0, 1, 2, 5, 10, 20, 50, 100, 200)
"""Steps taken when a curve is read too, as far as they come before its first point: heads are most of the way up by then."""


@dataclass(frozen=True)
class Cell:
    """One head: which features it reads, which task it answers, how it merges."""

    sources: tuple[str, ...]
    target: str
    merge: str = "concatenation"

    @property
    def name(self) -> str:
        return CELL.join((self.target, "+".join(self.sources), self.merge)).replace(".", "_")


@dataclass(frozen=True)
class Table:
    """Cached features and labels of the same rows. features {source: [R, d]}; labels {task: int64 [R]}, -1 unknown; train, test: rows."""

    features: Mapping[str, np.ndarray] = field(repr=False)
    labels: Mapping[str, np.ndarray] = field(repr=False)
    train: np.ndarray = field(repr=False)
    test: np.ndarray = field(repr=False)
    classes: Mapping[str, int]


@dataclass(frozen=True)
class Bank:
    """Heads that were trained. correct {cell: float [test rows of its target]}, 1 right, 0 wrong, a mean over seeds; rows {target: which rows those are}; curves
    {cell: [(step, accuracy)]}; log_probabilities {cell: float16 [n, classes]}, for late fusion, of those that were asked for; seeds {cell: the accuracy of each seed};
    one_answer {cell: how many of its seeds gave all test rows the same answer}, of those where any did: what a mean over seeds would hide."""

    correct: Mapping[str, np.ndarray] = field(repr=False)
    rows: Mapping[str, np.ndarray] = field(repr=False)
    curves: Mapping[str, list[tuple[int, float]]] = field(repr=False)
    log_probabilities: Mapping[str, np.ndarray] = field(repr=False)
    seeds: Mapping[str, list[float]]
    one_answer: Mapping[str, int]
    seconds: float = 0.0

    def of(self, cell: Cell) -> np.ndarray:
        return self.correct[cell.name]

    def accuracy(self, cell: Cell) -> float:
        return float(self.of(cell).mean())

    def with_(self, other: "Bank") -> "Bank":
        return Bank(
            {**self.correct, **other.correct},
            {**self.rows, **other.rows},
            {**self.curves, **other.curves},
            {**self.log_probabilities, **other.log_probabilities},
            {**self.seeds, **other.seeds},
            {**self.one_answer, **other.one_answer},
            seconds=self.seconds + other.seconds,
        )


class HeadsPlan:
    """Every head of a bank on the same batches of rows; their parameters share nothing and each is clipped by its own norm, so that each learns as if alone."""

    weights: Mapping[str, float] = {}
    people: Mapping[str, str] = {}
    balance: Method = "fixed"
    apart = True

    def __init__(self, cells: Sequence[Cell], table: Table, heads: Heads, seed: int, test_rows: int, curve: bool):
        self.cells, self.table, self.heads, self.seed = list(cells), table, heads, seed
        self.steps, self.batch = heads.steps, heads.batch
        self.optimiser = optimiser_of(heads)
        self.validate_every = max(1, -(-heads.steps // heads.curve)) if curve else heads.steps
        self.taken, self.first = 0, [step for step in FIRST if step < self.validate_every] if curve else []
        self.points: list[tuple[int, dict[str, float]]] = []
        targets = {cell.target for cell in cells}
        known = np.any([table.labels[target] >= 0 for target in targets], axis=0)
        self.train, self.tested = table.train[known[table.train]], table.test[known[table.test]]
        self.some = some_of(self.tested, test_rows)
        device = parallel.device()
        self.features = {source: torch.from_numpy(np.asarray(table.features[source])).to(device) for source in {each for cell in cells for each in cell.sources}}
        seen = torch.from_numpy(self.train).to(device)
        self.looks = {source: _look(each[seen]) for source, each in self.features.items()}

    def model(self) -> nn.Module:
        made = {}
        for cell in self.cells:
            lengths = {source: self.features[source].shape[1] for source in cell.sources}
            head = FusionHead(lengths, self.table.classes[cell.target], cell.merge, self.heads.hidden, self.heads.width)
            for source in cell.sources:
                head.fit(source, *(each.cpu() for each in self.looks[source]))
            made[cell.name] = head
        return nn.ModuleDict(made)

    def batches(self, steps: range) -> Iterator[np.ndarray]:
        for step in steps:
            yield self.train[np.random.default_rng((self.seed, step)).integers(0, len(self.train), self.batch)]

    def loss(self, model: nn.Module, batch: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        if self.taken in self.first:  # the loop validates after a step: what there is before, and how it rises at first, is read here
            self.points.append((self.taken, self.validate(model, device)))
            model.train()
        self.taken += 1
        return {name: _losses(logits, self.table.labels[name.split(CELL)[0]][batch]) for name, logits in self._logits(model, batch).items()}

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        given, _ = self.answers(model, self.some)
        return {name: float(right.mean()) if len(right) else 0.0 for name, right in self.right(given, self.some).items()}

    def blame(self, batch: np.ndarray, name: str, row: int) -> dict[str, object]:
        return {"key": f"row {int(batch[row])}", "batch": batch.tolist()}

    def answers(self, model: nn.Module, rows: np.ndarray, keep: Sequence[str] = ()) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """By cell, its answers to those of the rows that have a label, int64 [n]; and log probabilities float32 [n, classes] of those cells that are to be kept."""
        answers: dict[str, list[np.ndarray]] = {}
        logs: dict[str, list[np.ndarray]] = {}
        model.eval()
        with torch.inference_mode():
            for start in range(0, len(rows), AT_ONCE * 4):
                some = rows[start : start + AT_ONCE * 4]
                for name, logits in self._logits(model, some).items():
                    known = self._truth(name, some) >= 0
                    answers.setdefault(name, []).append(logits.argmax(1).cpu().numpy()[known])
                    if name in keep:
                        logs.setdefault(name, []).append(F.log_softmax(logits, 1).cpu().numpy()[known])
        return {name: np.concatenate(each) for name, each in answers.items()}, {name: np.concatenate(each) for name, each in logs.items()}

    def right(self, answers: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Whether each of those answers is right, bool [n]."""
        truths = {name: self._truth(name, rows) for name in answers}
        return {name: each == truths[name][truths[name] >= 0] for name, each in answers.items()}

    def _truth(self, name: str, rows: np.ndarray) -> np.ndarray:
        return self.table.labels[name.split(CELL)[0]][rows]

    def _logits(self, model: nn.Module, rows: np.ndarray) -> dict[str, Tensor]:
        chosen = torch.from_numpy(rows).to(parallel.device())
        features = {source: each[chosen] for source, each in self.features.items()}
        assert isinstance(model, nn.ModuleDict)
        return {cell.name: model[cell.name](features) for cell in self.cells}


class NotMade(RunError):
    """What is only to be found, not made, is not there, or was made with other settings."""


def run_bank(
    name: str, cells: Sequence[Cell], table: Table, heads: Heads, folder: Path, seed: int, test_rows: int, seeds: int = 1, curve: bool = False,
    keep: Sequence[Cell] = (), make: bool = True, progress: Progress | None = None,
) -> Bank:  # fmt: skip
    """Train a bank once for each seed, or find it done. keep: cells whose log probabilities are kept (of the first seed). Raises NotMade where make is False and none
    is there."""
    cells = list({cell.name: cell for cell in cells}.values())
    if not cells:  # two tasks have no subsets of features but those of the tables
        return Bank({}, {}, {}, {}, {}, {})
    used = {source: table.features[source] for source in sorted({source for cell in cells for source in cell.sources})}
    for source, each in used.items():
        if len(each) != len(next(iter(table.labels.values()))):
            raise RequestError(f"the features of {source} are of {len(each)} rows, the labels of {len(next(iter(table.labels.values())))}")
    labels = [table.labels[target] for target in sorted({cell.target for cell in cells})]
    made_with = digest(name, sorted(cell.name for cell in cells), heads, seed, seeds, curve, table.train, table.test, *labels, *used.values())
    file = folder / "heads" / f"{name}.npz"
    found = _kept(file, made_with)
    if found is not None:
        return found
    if not make:
        raise NotMade(f"{file}: not made as it is now asked for")
    correct: dict[str, Any] = {}
    curves: dict[str, list[tuple[int, float]]] = {}
    logs: dict[str, np.ndarray] = {}
    accuracies: dict[str, list[float]] = {}
    one_answer: Counter[str] = Counter()
    seconds = 0.0
    for turn in range(seeds):
        plan = HeadsPlan(cells, table, heads, seed * 100 + turn, test_rows, curve and turn == 0)
        with tempfile.TemporaryDirectory(prefix="polyface-heads-") as scratch:
            model = loop.run(plan, Path(scratch), progress)
            entries = [json.loads(line) for line in (Path(scratch) / "log.jsonl").read_text().splitlines()]
        seconds += sum(plan.steps / entry["steps_per_second"] for entry in [entry for entry in entries if "losses" in entry][-1:])
        given, kept = plan.answers(model, plan.tested, [cell.name for cell in keep] if turn == 0 else [])
        logs |= kept
        one_answer.update(cell for cell, each in given.items() if len(np.unique(each)) == 1)
        for cell, right in plan.right(given, plan.tested).items():
            correct[cell] = correct.get(cell, 0) + right.astype(np.float32) / seeds
            accuracies.setdefault(cell, []).append(round(float(right.mean()), 5) if len(right) else 0.0)
        for step, point in [*plan.points, *((entry["step"], entry.get("validation", {})) for entry in entries)] if curve and turn == 0 else ():
            for cell, value in point.items():
                curves.setdefault(cell, []).append((step, value))
    rows = {target: plan.tested[table.labels[target][plan.tested] >= 0] for target in {cell.target for cell in cells}}
    bank = Bank(correct, rows, curves, {cell: each.astype(np.float16) for cell, each in logs.items()}, accuracies, dict(one_answer), round(seconds, 1))
    _keep(file, made_with, bank)
    return bank


def train_heads(cells: Sequence[Cell], table: Table, heads: Heads, seed: int) -> dict[str, FusionHead]:
    """{target: head} of cells with one target each, for a network that is to be kept whole."""
    plan = HeadsPlan(cells, table, heads, seed * 100, 1, False)
    with tempfile.TemporaryDirectory(prefix="polyface-heads-") as scratch:
        model = loop.run(plan, Path(scratch))
    assert isinstance(model, nn.ModuleDict)
    return {cell.target: model[cell.name].cpu() for cell in cells}  # type: ignore[misc]


def subsets(sources: Sequence[str]) -> list[tuple[str, ...]]:
    """All that are not empty, in the sources' order: 15 of four."""
    return [tuple(source for at, source in enumerate(sources) if mask >> at & 1) for mask in range(1, 2 ** len(sources))]


def _look(features: Tensor) -> tuple[Tensor, Tensor]:
    return features.float().mean(0), features.float().std(0)


def _keep(file: Path, made_with: str, bank: Bank) -> None:
    arrays = {f"correct {cell}": each for cell, each in bank.correct.items()} | {f"rows {target}": each for target, each in bank.rows.items()}
    write_arrays(file, arrays | {f"log {cell}": each for cell, each in bank.log_probabilities.items()})
    said = {
        "made_with": made_with,
        "seconds": bank.seconds,
        "accuracy": {cell: round(float(each.mean()), 5) for cell, each in bank.correct.items()},
        "seeds": bank.seeds,
        "one_answer": bank.one_answer,
        "curves": bank.curves,
    }
    write_atomically(file.with_suffix(".json"), json.dumps(said, indent=1) + "\n")


def _kept(file: Path, made_with: str) -> Bank | None:
    """A bank from its files, if it was made as it is now asked for."""
    if not file.exists() or not file.with_suffix(".json").exists():
        return None
    said = json.loads(file.with_suffix(".json").read_text())
    if said["made_with"] != made_with:
        return None
    with np.load(file) as arrays:
        parts = {kind: {name.removeprefix(f"{kind} "): arrays[name] for name in arrays.files if name.startswith(f"{kind} ")} for kind in ("correct", "rows", "log")}
    curves = {cell: [(int(step), float(value)) for step, value in each] for cell, each in said["curves"].items()}
    return Bank(parts["correct"], parts["rows"], curves, parts["log"], said["seeds"], said["one_answer"], said["seconds"])
