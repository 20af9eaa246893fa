"""One world of paper A on the bench: its networks, their features, and the tables 1 and 2 in every split. Whatever was made is found again and not made twice."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from torch import nn

from polyface.files import write_atomically
from polyface.models.fusion import NetworkConfig
from polyface.papers import fusion_statistics as statistics
from polyface.papers.fusion_config import FusionConfig, SplitName, Training, digest
from polyface.papers.fusion_heads import Bank, Cell, NotMade, Table, run_bank, subsets
from polyface.papers.fusion_networks import Progress, Say, Spec, Trained, train
from polyface.papers.fusion_pictures import IDENTITY, Pictures, Split, splits, variants
from polyface.papers.fusion_statistics import Answers

PAPERS_IDENTITY = 0.602
"""Own accuracy of identity in the paper's Table 1."""
EARLY = 0.60
"""Own accuracy of identity at which split `paper` is read a second time."""


@dataclass
class Bench:
    """A world and what it takes to work on it. extra: {name: features [rows of variants, d]} of a user's own. make: whether what is not there is trained, or NotMade."""

    pictures: Pictures
    config: FusionConfig
    out: Path
    strength: float
    say: Say
    progress: Progress | None = None
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    make: bool = True

    @cached_property
    def images(self) -> np.ndarray:
        return variants(self.pictures, self.config, self.strength)

    @cached_property
    def people(self) -> np.ndarray:
        """Whose each row of variants is."""
        return np.repeat(self.pictures.people, self.config.variants)

    def splits(self, name: SplitName) -> tuple[Split, ...]:
        return splits(self.pictures, self.config, name)

    def classes(self, task: str) -> int:
        return len(self.pictures.question(task).classes)

    def spec(self, task: str, **said: Any) -> Spec:
        """The paper's network of a task: a feature of 200 for identity, of 50 for the others."""
        length = said.pop("length", self.config.length(task, IDENTITY))
        network: NetworkConfig = said.pop("network", self.config.network)
        return Spec(said.pop("name", task), {task: (length, self.classes(task))}, network, **said)

    def training(self, split: Split) -> Training:
        steps = self.config.person_steps if split.name == "person" else None
        return self.config.networks if steps is None else msgspec.structs.replace(self.config.networks, steps=steps)

    def network(self, split: Split, spec: Spec, training: Training | None = None, make: Callable[[], nn.Module] | None = None) -> Trained:
        """training: where it is not the split's; make: what it starts from, where that is not a new network."""
        folder = self.out / split.label / spec.name.replace("/", "-")
        if not self.make and not (folder / "result.json").exists():
            raise NotMade(f"{folder}: not trained")
        return train(spec, self.images, split, training or self.training(split), self.config, folder, self.say, self.progress, make)

    def own(self, split: Split, task: str) -> Trained:
        """The paper's network of a task; in split `paper` with the weights of every point of its curve."""
        return self.network(split, self.spec(task, snapshots=split.name == "paper", seed=self.seed_of(task)))

    def seeds(self, split: Split) -> int:
        """How many heads a cell is the mean of; of the folds each has networks and heads of its own already."""
        return 1 if split.name == "person" else self.config.heads.seeds

    def seed_of(self, task: str) -> int:
        return (*self.pictures.tasks, *self.pictures.beside).index(task)

    def answers(self, trained: Trained, split: Split, task: str, step: int | None = None) -> Answers:
        correct, rows = trained.correct(self.images, split, task, step)
        return Answers(correct.astype(np.float32), self.people[rows], rows)

    def table(self, split: Split, features: Mapping[str, np.ndarray], train: np.ndarray | None = None) -> Table:
        targets = {task: split.labels[task] for task in (*split.targets, *self.pictures.beside)}
        classes = {name: self.classes(name) for name in targets}
        return Table(features, targets, split.train if train is None else train, split.test, classes)

    def bank(self, split: Split, name: str, cells: Sequence[Cell], table: Table, **said: Any) -> Bank:
        return run_bank(
            name, cells, table, self.config.heads, self.out / split.label, self.config.seed, self.config.test_rows, make=self.make, progress=self.progress, **said
        )

    def of_bank(self, bank: Bank, cell: Cell) -> Answers:
        rows = bank.rows[cell.target]
        return Answers(bank.of(cell), self.people[rows], rows)


@dataclass(frozen=True)
class Tables:
    """Tables 1 and 2 of one world and split, folds joined. networks {task: answers of its own network}; cells {cell name: answers of a head}; constants {task: the most
    frequent training answer}; alike {source: {source: CKA}}; late {task: answers of the mean of the four features' logits}; seeds {cell name: the accuracy of each seed
    of its head, fold after fold}; one_answer {cell name: how many of those gave every test row the same answer}: what a mean would hide."""

    split: SplitName
    moment: str
    tasks: tuple[str, ...]
    targets: tuple[str, ...]
    networks: Mapping[str, Answers] = field(repr=False)
    cells: Mapping[str, Answers] = field(repr=False)
    late: Mapping[str, Answers] = field(repr=False)
    constants: Mapping[str, Answers] = field(repr=False)
    curves: Mapping[str, list[tuple[int, float]]] = field(repr=False)
    alike: Mapping[str, Mapping[str, float]] = field(repr=False)
    seeds: Mapping[str, list[float]] = field(default_factory=dict, repr=False)
    one_answer: Mapping[str, int] = field(default_factory=dict)
    step: int | None = None
    extra: tuple[str, ...] = ()

    def one(self, source: str, target: str) -> Answers:
        """Table 1 off its diagonal; on it, the own feature with the same two layers (a control that the paper lacks)."""
        return self.cells[Cell((source,), target).name]

    def all(self, target: str, merge: str = "concatenation") -> Answers:
        return self.cells[Cell(self.tasks, target, merge).name]

    def others(self, target: str) -> Answers:
        return self.cells[Cell(tuple(task for task in self.tasks if task != target), target).name]

    def subset(self, sources: Sequence[str], target: str) -> Answers:
        return self.cells[Cell(tuple(sources), target).name]

    @property
    def own_identity(self) -> float | None:
        """Accuracy of identity's own network, where it can be asked."""
        return self.networks[IDENTITY].accuracy if IDENTITY in self.networks else None

    def only(self, rows: np.ndarray) -> "Tables":
        """The same answers of some rows of variants only (bool [rows])."""

        def kept(each: Answers) -> Answers:
            chosen = rows[each.rows]
            return Answers(each.correct[chosen], each.people[chosen], each.rows[chosen])

        made: dict[str, Any] = {name: {key: kept(each) for key, each in getattr(self, name).items()} for name in ANSWERS}
        return replace(self, **made)


ANSWERS = ("networks", "cells", "late", "constants")
"""The fields of `Tables` that hold answers."""


def tables(bench: Bench, name: SplitName, early: bool = False) -> Tables | None:
    """Both tables in a split; None where nothing can be asked in it. early: with the networks as they were at the first point of identity's curve above 60 %; None where
    there is none before the end (`early_moment` says why)."""
    parts = []
    for split in bench.splits(name):
        if not split.targets:
            return None
        trained = {task: bench.own(split, task) for task in bench.pictures.tasks}
        step = early_moment(trained[IDENTITY].curve)[0] if early else None
        if early and step is None:
            return None
        parts.append(_tables_of_split(bench, split, trained, step))
    return _joined(parts)


def early_moment(curve: Sequence[Mapping[str, Any]]) -> tuple[int | None, str]:
    """The point of the curve of identity's own network at which split `paper` is read a second time, None where there is none before the end; and in words which moment
    that is, since the accuracy is known at the points of the curve alone."""
    at = next((at for at, point in enumerate(curve) if point[IDENTITY] > EARLY), None)
    if at is None:
        best = max(curve, key=lambda point: point[IDENTITY])
        reached = f"{100 * best[IDENTITY]:.1f} % at best, at iteration {best['step']:,}"
        return None, f"identity's own accuracy never passed 60 % ({reached}), so this split is not read a second time"
    before, step = curve[at - 1]["step"] if at else 0, int(curve[at]["step"])
    said = f"identity's own accuracy passed 60 % between iterations {before:,} and {step:,}, where it was {100 * curve[at][IDENTITY]:.1f} %"
    return (step, said) if at < len(curve) - 1 else (None, f"{said}: that is the end, which the tables show")


def _tables_of_split(bench: Bench, split: Split, trained: Mapping[str, Trained], step: int | None) -> Tables:
    sources = bench.pictures.tasks
    features = {task: trained[task].feature(bench.images, step) for task in sources}
    extra = dict(bench.extra) if split.name != "paper" else {}  # of a picture, not of a variant: half of the test would be training
    table = bench.table(split, {**features, **extra})
    end = "" if step is None else f"-{step:06d}"
    main = _cells(sources, split.targets, bench.config.merges, tuple(extra))
    rest = _rest(sources, split.targets, main) if split.name == bench.config.controls and step is None else []
    singles = [Cell((source,), target) for target in split.targets for source in sources]
    first = bench.bank(split, f"tables{end}", main, table, seeds=bench.seeds(split), curve=True, keep=singles)
    bank = first.with_(bench.bank(split, "subsets", rest, table)) if rest else first
    rows = split.test[:: max(1, len(split.test) // 2000)]
    return Tables(
        split=split.name,
        moment="end" if step is None else "early",
        tasks=sources,
        targets=split.targets,
        networks={task: bench.answers(trained[task], split, task, step) for task in split.targets},
        cells={cell.name: bench.of_bank(bank, cell) for cell in (*main, *rest)},
        late=_late(bench, split, first, sources),
        constants={target: statistics.constant(split.labels[target], split.train, split.test, bench.people) for target in split.targets},
        curves=first.curves,
        alike={a: {b: statistics.cka(features[a][rows], features[b][rows]) for b in sources} for a in sources},
        seeds=bank.seeds,
        one_answer=bank.one_answer,
        step=step,
        extra=tuple(extra),
    )


def _cells(sources: tuple[str, ...], targets: Sequence[str], merges: Sequence[str], extra: tuple[str, ...]) -> list[Cell]:
    """The cells of both tables, of the merging algorithms and of a user's features."""
    made: dict[str, Cell] = {}
    for target in targets:
        others = tuple(source for source in sources if source != target)
        wanted = [Cell((source,), target) for source in sources] + [Cell(sources, target, merge) for merge in dict.fromkeys(("concatenation", *merges))]
        wanted += [Cell(others, target)] + [Cell((name,), target) for name in extra] + [Cell((*sources, name), target) for name in extra]
        made |= {cell.name: cell for cell in wanted}
    return list(made.values())


def _rest(sources: tuple[str, ...], targets: Sequence[str], made: Sequence[Cell]) -> list[Cell]:
    """All other subsets of the features: a control, made where controls are."""
    names = {cell.name for cell in made}
    return [cell for target in targets for cell in (Cell(subset, target) for subset in subsets(sources)) if cell.name not in names]


def _late(bench: Bench, split: Split, bank: Bank, sources: Sequence[str]) -> dict[str, Answers]:
    """Late fusion: the mean of the log probabilities that the heads of single features give."""
    found = {}
    for target in split.targets:
        rows = bank.rows[target]
        total = sum(bank.log_probabilities[Cell((source,), target).name].astype(np.float32) for source in sources)
        found[target] = Answers((np.argmax(total, axis=1) == split.labels[target][rows]).astype(np.float32), bench.people[rows], rows)
    return found


def _joined(parts: Sequence[Tables]) -> Tables:
    """Folds together; of a split without folds, itself. Targets that some fold cannot ask are left out."""
    first = parts[0]
    if len(parts) == 1:
        return first

    together: dict[str, Any] = {name: {key: statistics.joined([getattr(part, name)[key] for part in parts]) for key in getattr(first, name)} for name in ANSWERS}
    alike = {a: {b: float(np.mean([part.alike[a][b] for part in parts])) for b in row} for a, row in first.alike.items()}
    seeds = {cell: [each for part in parts for each in part.seeds[cell]] for cell in first.seeds}
    one_answer = dict(sum((Counter(part.one_answer) for part in parts), Counter[str]()))
    curves = {cell: _mean_curve([part.curves[cell] for part in parts]) for cell in first.curves if all(cell in part.curves for part in parts)}
    return replace(first, **together, curves=curves, alike=alike, seeds=seeds, one_answer=one_answer)


def _mean_curve(folds: Sequence[list[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Of the same steps."""
    return [(points[0][0], float(np.mean([value for _, value in points]))) for points in zip(*folds, strict=True)]


# The drawn world's one strength


def strength_of(pictures: Pictures, config: FusionConfig, out: Path, say: Say, progress: Progress | None = None) -> float:
    """The strength of variation at which identity is about as hard as in the paper: own accuracy within ten points of 60.2 on rows held out of training, of a network
    trained as the world's own are. At most five tries, kept in OUT/<world>/strength.json; then it is what came closest."""
    file = out / "strength.json"
    looks = pictures.crops[:: max(1, len(pictures.crops) // 500)]
    made_with = digest(looks, pictures.people, config.network, config.networks, config.variants, config.variation, config.seed)
    said = json.loads(file.read_text()) if file.exists() else None
    tries: list[dict[str, float]] = said["tries"] if isinstance(said, dict) and said["made_with"] == made_with else []
    low, high, strength = 0.0, None, 1.0
    for at in range(config.drawn.tries):
        if at < len(tries):
            strength, reached = tries[at]["strength"], tries[at]["accuracy"]
        else:
            bench = Bench(pictures, config, out / f"try-{at}", strength, say, progress)
            whole = bench.splits("paper")[0]
            held = np.arange(len(whole.train)) % 7 == 0  # validation: test rows choose nothing
            split = replace(whole, train=whole.train[~held], test=whole.train[held])
            reached = bench.network(split, bench.spec(IDENTITY)).accuracy[IDENTITY]
            tries.append({"strength": strength, "accuracy": reached})
            write_atomically(file, json.dumps({"made_with": made_with, "tries": tries}, indent=1) + "\n")
        if abs(reached - PAPERS_IDENTITY) <= 0.10:
            return strength
        low, high = (strength, high) if reached > PAPERS_IDENTITY else (low, strength)
        strength = strength * 2 if high is None else (low + high) / 2
    return min(tries, key=lambda each: abs(each["accuracy"] - PAPERS_IDENTITY))["strength"] if tries else 1.0
