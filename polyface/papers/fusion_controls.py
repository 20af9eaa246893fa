"""What a sceptic asks of paper A: is it fusion, or an ensemble; length, or knowledge; groups, or people? And what its authors left as future work.

Every control is a few more networks at most, then heads on cached features. They are made in one split (`controls` of the recipe), random groups in all.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from polyface.models.fusion import FeatureNetwork, FusedNetwork, shared_config
from polyface.models.sizes import parameters_of
from polyface.papers import fusion_statistics as statistics
from polyface.papers.fusion_config import SplitName, digest
from polyface.papers.fusion_heads import Bank, Cell, NotMade, Table, train_heads
from polyface.papers.fusion_networks import Spec, Trained, in_pieces, on_device
from polyface.papers.fusion_pictures import IDENTITY, Split, joint_groups, random_groups
from polyface.papers.fusion_runs import Bench
from polyface.papers.fusion_statistics import Answers
from polyface.tasks.kinds import Category

RANDOM = "random groups"
GROUPS = "groups"
SEEDS = 4
DEPTHS = ("conv1", "conv2", "conv3")

OWN, ENSEMBLE, SHARED, TUNED = "own", "four seeds", "shared", "fine-tuned"
"""Features of controls beside those of tasks and of joint groups."""


@dataclass(frozen=True)
class Control:
    """name: what was done, in a few words; answers {target: ...}. setting and feature say which controls differ in the feature alone: OWN, or that of a task."""

    name: str
    answers: Mapping[str, Answers] = field(repr=False)
    setting: str = ""
    feature: str = ""


@dataclass(frozen=True)
class Random:
    """People assigned to groups of the same sizes as a task's at random: its own network, heads on the own feature and on identity's. The rows are the task's own."""

    split: SplitName
    task: str
    network: Answers = field(repr=False)
    own: Answers = field(repr=False)
    identity: Answers = field(repr=False)


def controls(bench: Bench, name: SplitName) -> tuple[list[Control], list[str]]:
    """All controls of one split but random groups, folds joined, in the order of the page; and what is not there, where nothing is to be made."""
    by_name: dict[str, list[Control]] = {}
    missing = []
    for make in CONTROLS:
        try:
            made = [control for split in bench.splits(name) for control in make(bench, split)]
        except NotMade as error:
            missing.append(str(error))
            continue
        for control in made:
            by_name.setdefault(control.name, []).append(control)
    return [_joined(parts) for parts in by_name.values()], missing


def random_controls(bench: Bench, name: SplitName) -> tuple[list[Random], list[str]]:
    """Of every task that the split can ask and that is a function of who it is; and what is not there, where nothing is to be made."""
    made, missing = [], []
    for question in bench.pictures.questions:
        if question.of_person and question.name in bench.splits(name)[0].targets:
            try:
                made.append(_random(bench, name, question.name))
            except NotMade as error:
                missing.append(str(error))
    return made, missing


def _random(bench: Bench, name: SplitName, task: str) -> Random:
    """Over the classes that the split keeps."""
    called = f"{RANDOM} of {task}"
    parts = []
    for split in bench.splits(name):
        labels = random_groups(split.labels[task], bench.people, bench.config.seed)
        own = bench.network(split, Spec(called, {called: (bench.config.other_length, bench.classes(task))}, bench.config.network, labels={called: labels}))
        features = {called: own.feature(bench.images), IDENTITY: bench.own(split, IDENTITY).feature(bench.images)}
        table = Table(features, {called: labels}, split.train, split.test, {called: bench.classes(task)})
        cells = [Cell((called,), called), Cell((IDENTITY,), called)]
        bank = bench.bank(split, called.replace(" ", "-"), cells, table, seeds=bench.seeds(split))
        parts.append((bench.answers(own, split, called), *(bench.of_bank(bank, cell) for cell in cells)))
    return Random(name, task, *(statistics.joined(each) for each in zip(*parts, strict=True)))


# The controls, each [Control] of one split


def ensembles(bench: Bench, split: Split) -> list[Control]:
    """The own network from four seeds, their features concatenated."""
    chosen = [task for task in split.targets if bench.config.ensemble is None or task in bench.config.ensemble]
    features, cells = {}, {}
    for task in chosen:
        features[task] = bench.own(split, task).feature(bench.images)
        twins = [f"{task}#{each}" for each in range(1, SEEDS)]
        for at, twin in enumerate(twins):
            features[twin] = bench.network(split, bench.spec(task, name=twin, seed=100 * (at + 1))).feature(bench.images)
        cells[task] = Cell((task, *twins), task)
    return [replace(_heads(bench, split, "own network from four seeds, concatenated", cells, features), feature=ENSEMBLE)] if cells else []


def lengths(bench: Bench, split: Split) -> list[Control]:
    """All features at equal length: 50/50 and 200/200."""
    made = []
    for length in (bench.config.other_length, bench.config.identity_length):
        features = {}
        for task in bench.pictures.tasks:
            if bench.config.length(task, IDENTITY) == length:
                trained = bench.own(split, task)
            else:
                trained = bench.network(split, bench.spec(task, name=f"{task}@{length}", length=length, seed=bench.seed_of(task)))
            features[task] = trained.feature(bench.images)
        for what, feature, cells in _three(bench.pictures.tasks, split):
            setting = f"all lengths {length}"
            made.append(replace(_heads(bench, split, f"{setting}: {what}", cells, features), setting=setting, feature=feature))
    return made


def shared(bench: Bench, split: Split) -> list[Control]:
    """One hard-shared network of as many parameters as all base networks together; in split `person` without identity, which cannot be asked there."""
    outputs = {task: (bench.config.length(task, IDENTITY), bench.classes(task)) for task in split.targets}
    spec = Spec("shared", outputs, shared_config(bench.config.network, outputs))
    trained = bench.network(split, spec)
    answers = {task: bench.answers(trained, split, task) for task in split.targets}
    return [Control(f"one network for all tasks ({parameters_of(FeatureNetwork(spec.network, outputs)):,} parameters)", answers, feature=SHARED)]


def depths(bench: Bench, split: Split) -> list[Control]:
    """Transfer by depth: heads on the maps of the three convolutions, averaged over quarters of the picture, and on the feature."""
    features, made = {}, []
    for task in bench.pictures.tasks:
        trained = bench.own(split, task)
        for depth, each in _maps(trained, bench.images).items():
            features[f"{task} {depth}"] = each
    for depth in DEPTHS:
        for source in bench.pictures.tasks:
            cells = {target: Cell((f"{source} {depth}",), target) for target in split.targets}
            made.append((f"{depth} of {source}", cells))
    places = [(depth, source) for depth in DEPTHS for source in bench.pictures.tasks]
    return [replace(control, setting=depth, feature=source) for control, (depth, source) in zip(_several(bench, split, "depths", made, features), places, strict=True)]


def halves(bench: Bench, split: Split) -> list[Control]:
    """Heads on out-of-fold features: the networks see one half of the training pictures (people, in split `person`), the heads learn on the other."""
    unit = bench.people if split.name == "person" else np.arange(len(bench.images)) // bench.config.variants
    side = np.random.default_rng((bench.config.seed, 55)).integers(0, 2, int(unit.max()) + 1)[unit]
    first, second = split.train[side[split.train] == 0], split.train[side[split.train] == 1]
    features = {}
    for task in bench.pictures.tasks:
        features[task] = bench.network(split, bench.spec(task, name=f"half {task}", rows=first, seed=bench.seed_of(task))).feature(bench.images)
    table = bench.table(split, features, train=second)
    wanted = _three(bench.pictures.tasks, split)
    made = _several(bench, split, "halves", [(f"out-of-fold: {what}", cells) for what, _, cells in wanted], features, table)
    return [replace(control, setting="out-of-fold", feature=feature) for control, (_, feature, _) in zip(made, wanted, strict=True)]


def groups(bench: Bench, split: Split) -> list[Control]:
    """Finer groups for coarser tasks: a network of the joint groups (gender x age x race), its feature for each of them, alone and with all others."""
    names, labels = joint_groups(bench.pictures)
    asked = [question.name for question in bench.pictures.questions if question.of_person and question.name in split.targets]
    if len(names) < 3 or len(asked) < 2:
        return []
    spec = Spec(GROUPS, {GROUPS: (bench.config.other_length, len(names))}, bench.config.network, labels={GROUPS: np.repeat(labels, bench.config.variants)})
    features = {task: bench.own(split, task).feature(bench.images) for task in bench.pictures.tasks}
    features[GROUPS] = bench.network(split, spec).feature(bench.images)
    wanted = [
        (f"feature of {len(names)} joint groups", {target: Cell((GROUPS,), target) for target in asked}),
        ("all, and that of joint groups", {target: Cell((*bench.pictures.tasks, GROUPS), target) for target in asked}),
    ]
    return [replace(control, feature=GROUPS) if at == 0 else control for at, control in enumerate(_several(bench, split, "groups", wanted, features))]


def beside(bench: Bench, split: Split) -> list[Control]:
    """More tasks in the fusion, such as expression: what they give the others, and what the others give them."""
    if not bench.pictures.beside:
        return []
    sources, more = bench.pictures.tasks, bench.pictures.beside
    features = {task: bench.own(split, task).feature(bench.images) for task in (*sources, *more)}
    said = ", ".join(more)
    wanted = [
        (f"all, and {said}", {target: Cell((*sources, *more), target) for target in split.targets}),
        (f"{said}: own feature", {target: Cell((target,), target) for target in more}),
        (f"{said}: all without the own", {target: Cell(sources, target) for target in more}),
        (f"{said}: all and the own", {target: Cell((*sources, *more), target) for target in more}),
    ]
    return _several(bench, split, "beside", wanted, features)


def fine_tuning(bench: Bench, split: Split) -> list[Control]:
    """The whole, features and heads, trained on end to end from where the two stages ended: half the steps, a tenth of the rate."""
    start = digest([bench.own(split, task).made_with for task in bench.pictures.tasks], bench.config.heads, bench.config.seed)
    spec = Spec(TUNED, {target: (0, bench.classes(target)) for target in split.targets}, bench.config.network, seed=1, start=start)
    training = bench.training(split)
    training = msgspec.structs.replace(training, steps=max(1, training.steps // 2), rate=training.rate / 10)
    trained = bench.network(split, spec, training, lambda: fused(bench, split))
    return [Control("all, fine-tuned end to end", {task: bench.answers(trained, split, task) for task in split.targets}, feature=TUNED)]


def fused(bench: Bench, split: Split) -> FusedNetwork:
    """The base networks with a head on all features for each target, as one network; on the processor."""
    sources = bench.pictures.tasks
    trained = {task: bench.own(split, task) for task in sources}
    table = bench.table(split, {task: trained[task].feature(bench.images) for task in sources})
    heads = train_heads([Cell(sources, target) for target in split.targets], table, bench.config.heads, bench.config.seed)
    asked = [bench.pictures.question(target) for target in split.targets]
    return FusedNetwork([Category(each.name, each.question, each.classes) for each in asked], {task: trained[task].load().cpu() for task in sources}, heads)


CONTROLS: tuple[Callable[[Bench, Split], list[Control]], ...] = (ensembles, lengths, shared, depths, halves, groups, beside, fine_tuning)


def _three(sources: Sequence[str], split: Split) -> list[tuple[str, str, dict[str, Cell]]]:
    """(in words, feature, cells): the own feature, identity's, all."""
    return [
        ("own feature", OWN, {target: Cell((target,), target) for target in split.targets}),
        ("identity's feature", IDENTITY, {target: Cell((IDENTITY,), target) for target in split.targets}),
        ("all", "all", {target: Cell(tuple(sources), target) for target in split.targets}),
    ]


def _heads(bench: Bench, split: Split, name: str, cells: Mapping[str, Cell], features: Mapping[str, np.ndarray]) -> Control:
    return _several(bench, split, name.replace(" ", "-").replace(":", "").replace("'", "").replace(",", ""), [(name, cells)], features)[0]


def _several(
    bench: Bench, split: Split, bank_name: str, wanted: Sequence[tuple[str, Mapping[str, Cell]]], features: Mapping[str, np.ndarray], table: Table | None = None
) -> list[Control]:
    """Controls that are heads, in one bank."""
    cells = [cell for _, each in wanted for cell in each.values()]
    bank: Bank = bench.bank(split, bank_name, cells, table or bench.table(split, features))
    return [Control(name, {target: bench.of_bank(bank, cell) for target, cell in each.items()}) for name, each in wanted]


def _maps(trained: Trained, images: np.ndarray) -> dict[str, np.ndarray]:
    """{depth: float16 [rows, 4 C]}: the mean of each quarter of a map; kept."""

    def make() -> dict[str, np.ndarray]:
        network = on_device(trained.load())

        def quarters(crops: Tensor) -> dict[str, Tensor]:
            return {name: F.adaptive_avg_pool2d(each, 2).flatten(1) for name, each in zip(DEPTHS, network.maps(crops), strict=True)}

        return {name: each.astype(np.float16) for name, each in in_pieces(quarters, images, np.arange(len(images))).items()}

    return trained.kept(trained.folder / "maps.npz", images, None, make)


def _joined(parts: Sequence[Control]) -> Control:
    targets = [target for target in parts[0].answers if all(target in part.answers for part in parts)]
    return replace(parts[0], answers={target: statistics.joined([part.answers[target] for part in parts]) for target in targets})


def speeds(out: Path) -> list[dict[str, Any]]:
    """Images per second of every network that is done in a world: what a phase took; and the accuracy it reached."""
    rows = []
    for file in sorted(out.glob("*/*/result.json")):
        said = json.loads(file.read_text())
        rows.append(
            {
                "split": said["split"], "network": said["network"], "steps": said["steps"], "images per second": said["images_per_second"], "seconds": said["seconds"],
                "accuracy": {task: value if math.isfinite(value) else None for task, value in said["accuracy"].items()},
            }
        )  # fmt: skip
    return rows


def heads_seconds(out: Path) -> float:
    return float(sum(json.loads(file.read_text())["seconds"] for file in out.glob("*/heads/*.json")))
