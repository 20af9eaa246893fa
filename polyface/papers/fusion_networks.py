"""The feature networks of paper A: plans of the one training loop, resumed network by network, their features computed once and kept.

A network's folder, OUT/<world>/<split>/<network>/, holds result.json, weights.safetensors, features.npz, and snapshots/ where a curve needs earlier weights; log.jsonl is
the loop's. A folder with a result.json is done.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save as serialised
from torch import Tensor, nn

from polyface.errors import RunError
from polyface.files import write_arrays, write_atomically
from polyface.models.fusion import FeatureNetwork, NetworkConfig
from polyface.models.sizes import parameters_of
from polyface.models.weights import read_tensors
from polyface.papers import stage
from polyface.papers.fusion_config import FusionConfig, Training, digest
from polyface.papers.fusion_pictures import IDENTITY, Split
from polyface.training import parallel
from polyface.training.config import Method, Optimiser

AT_ONCE = 1000
"""Rows that go through a network together when features are computed."""
AT_CHANCE = 0.02
"""A network that is not even this share of the way from the constant answer to certainty has learned nothing."""
MADE_WITH = "made_with"

Say = Callable[[str], None]
Progress = Callable[..., None]


@dataclass(frozen=True)
class Spec:
    """A network that is to be trained. outputs: {task: (length of its feature, classes)}; labels: those that are not the split's own; rows: a part of the split's
    training rows; snapshots: keep the weights of every point of the curve; start: of what it starts from, in a digest, where that is not a new network."""

    name: str
    outputs: Mapping[str, tuple[int, int]]
    network: NetworkConfig
    seed: int = 0
    labels: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    rows: np.ndarray | None = field(default=None, repr=False)
    snapshots: bool = False
    start: str = ""


class NetworkPlan:
    """Rows of variants through a feature network: cross-entropy of every task it has. Test accuracy is read at every point of the curve, and chooses nothing."""

    weights: Mapping[str, float] = {}
    balance: Method = "fixed"

    def __init__(self, spec: Spec, images: np.ndarray, split: Split, training: Training, config: FusionConfig, folder: Path, make: Callable[[], nn.Module] | None = None):
        self.spec, self.images, self.folder, self.make = spec, images, folder, make
        self.labels = {task: np.asarray(spec.labels.get(task, split.labels.get(task))) for task in spec.outputs}
        known = np.any([each >= 0 for each in self.labels.values()], axis=0)
        rows = split.train if spec.rows is None else spec.rows
        self.train, self.tested = rows[known[rows]], split.test[known[split.test]]
        if not len(self.train):
            raise RunError(f"{spec.name}: nothing to train on in split {split.label}")
        self.steps, self.batch, self.seed = training.steps, training.batch, config.seed * 1000 + spec.seed
        self.optimiser = optimiser_of(training)
        self.validate_every = max(1, -(-training.steps // training.curve))
        self.some = some_of(self.tested, config.test_rows)
        self.classes = _classes(next(iter(self.labels.values())), self.train) if config.balanced else None
        self.seen = 0
        outputs = {task: list(sizes) for task, sizes in spec.outputs.items()}
        made_with = digest(spec.name, outputs, spec.network, self.seed, training, config.balanced, self.train, _look(images), *self.labels.values(), spec.start)
        self.people: Mapping[str, str] = {"settings": made_with}  # the loop goes on with a checkpoint only where these are the same

    def model(self) -> nn.Module:
        return FeatureNetwork(self.spec.network, self.spec.outputs) if self.make is None else self.make()

    def batches(self, steps: range) -> Iterator[np.ndarray]:
        """Rows int64 [B]: every pass over the training rows is a new order; balanced, every class is as likely."""
        for step in steps:
            self.seen = step + 1
            yield self._drawn(step)

    def _drawn(self, step: int) -> np.ndarray:
        if self.classes is not None:
            random = np.random.default_rng((self.seed, step))
            chosen = random.integers(0, len(self.classes), self.batch)
            return np.array([self.classes[each][random.integers(len(self.classes[each]))] for each in chosen])
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        epochs, within = places // len(self.train), places % len(self.train)
        return np.array([self.train[_order(self.seed, int(epoch), len(self.train))[at]] for epoch, at in zip(epochs, within, strict=True)])

    def loss(self, model: nn.Module, batch: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        logits = model(torch.from_numpy(self.images[batch]).to(device))
        return {task: _losses(logits[task], self.labels[task][batch]) for task in self.spec.outputs}

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Accuracy of every task on some test rows; none of it is called loss, so that the last weights are the network."""
        found = {}
        logits = logits_of(model, self.images, self.some)
        for task in self.spec.outputs:
            truth = self.labels[task][self.some]
            found[task] = float((logits[task].argmax(1) == truth)[truth >= 0].mean()) if (truth >= 0).any() else 0.0
        if self.spec.snapshots:
            save(model, self.folder / "snapshots" / f"{self.seen:06d}.safetensors")
        return found

    def blame(self, batch: np.ndarray, name: str, row: int) -> dict[str, object]:
        return {"key": f"row {int(batch[row])}", "batch": batch.tolist()}


@dataclass(frozen=True)
class Trained:
    """A network that was trained. accuracy: by task, on all test rows; curve: [{step, accuracy by task}]; made_with: what it was trained from, in a digest."""

    folder: Path
    spec: Spec
    accuracy: Mapping[str, float]
    curve: list[dict[str, Any]]
    seconds: float
    images_per_second: float
    made_with: str
    untrained: Callable[[], nn.Module] = field(repr=False)

    def load(self, step: int | None = None) -> Any:
        """The network, as it was in the end or at a point of its curve."""
        file = self.folder / ("weights.safetensors" if step is None else f"snapshots/{step:06d}.safetensors")
        network = self.untrained()
        network.load_state_dict(read_tensors(file))
        return network.eval()

    def features(self, images: np.ndarray, step: int | None = None, file: Path | None = None) -> dict[str, np.ndarray]:
        """{task: float16 [rows, length]} of all variants; computed once for these pictures and this network, kept in `file` where the pictures are of another set."""

        def make() -> dict[str, np.ndarray]:
            network = on_device(self.load(step))
            return {task: each.astype(np.float16) for task, each in in_pieces(lambda crops: network.features(crops), images, np.arange(len(images))).items()}

        return self.kept(file or self._file("features", step), images, step, make)

    def feature(self, images: np.ndarray, step: int | None = None, file: Path | None = None) -> np.ndarray:
        """Of a network of one task."""
        return next(iter(self.features(images, step, file).values()))

    def correct(self, images: np.ndarray, split: Split, task: str, step: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Whether the network's own answer is right, bool [n], and which rows those are: the test rows that have a label."""
        truth = np.asarray(self.spec.labels.get(task, split.labels.get(task)))
        rows = split.test[truth[split.test] >= 0]

        def make() -> dict[str, np.ndarray]:
            return {each: logits.argmax(1).astype(np.int32) for each, logits in logits_of(on_device(self.load(step)), images, split.test).items()}

        answers = self.kept(self._file("answers", step), images, step, make)[task]
        return answers[truth[split.test] >= 0] == truth[rows], rows

    def kept(self, file: Path, images: np.ndarray, step: int | None, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """What a file holds, if it was made of these pictures by this network; else made anew, and kept."""
        made_with = digest(self.made_with, step, list(images.shape), _look(images))
        if file.exists():
            with np.load(file) as arrays:
                if MADE_WITH in arrays.files and str(arrays[MADE_WITH]) == made_with:
                    return {name: arrays[name] for name in arrays.files if name != MADE_WITH}
        made = make()
        write_arrays(file, {**made, MADE_WITH: np.array(made_with)})
        return made

    def _file(self, what: str, step: int | None) -> Path:
        return self.folder / (f"{what}.npz" if step is None else f"{what}-{step:06d}.npz")


def train(
    spec: Spec, images: np.ndarray, split: Split, training: Training, config: FusionConfig, folder: Path, say: Say, progress: Progress | None = None,
    make: Callable[[], nn.Module] | None = None,
) -> Trained:  # fmt: skip
    """Train a network, or go on with it, or find it done. make: what it starts from, where that is not a new one of `spec`.

    Raises RunError where the folder holds one that was made with other settings or from other pictures.
    """
    plan, done = NetworkPlan(spec, images, split, training, config, folder, make), folder / "result.json"
    if not done.exists():
        network = stage.run(plan, folder, progress)
        return _finish(plan, network, split, stage.seconds_of(folder), say)
    kept = json.loads(done.read_text())
    if kept["made_with"] != plan.people["settings"]:
        raise RunError(f"{folder}: trained with other settings or other pictures; choose another --out, or remove it")
    return Trained(folder, spec, kept["accuracy"], kept["curve"], kept["seconds"], kept["images_per_second"], kept["made_with"], plan.model)


def _finish(plan: NetworkPlan, network: nn.Module, split: Split, seconds: float, say: Say) -> Trained:
    """Keep the weights and the small result of a training that ended; its checkpoints are no longer needed."""
    spec, folder = plan.spec, plan.folder
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    curve = [{"step": entry["step"], **entry["validation"]} for entry in entries if "validation" in entry]
    speeds = [entry["steps_per_second"] for entry in entries if "losses" in entry]
    save(network, folder / "weights.safetensors")
    logits = logits_of(network, plan.images, plan.tested)
    accuracy, at_chance = {}, []
    for task in spec.outputs:
        truth = plan.labels[task][plan.tested]
        if task == IDENTITY and split.name == "person" and task not in spec.labels:  # it cannot be asked of people nobody has seen
            truth = np.full(len(truth), -1)
        accuracy[task] = float((logits[task].argmax(1) == truth)[truth >= 0].mean()) if (truth >= 0).any() else float("nan")
        seen = plan.labels[task][plan.train]
        constant = float(np.mean(truth[truth >= 0] == np.bincount(seen[seen >= 0]).argmax())) if (truth >= 0).any() else float("nan")
        if accuracy[task] < constant + AT_CHANCE * (1 - constant):
            at_chance.append(task)
    speed = round(float(speeds[-1]) * plan.batch, 1)
    result = {
        "network": spec.name, "split": split.label, "accuracy": accuracy, "at_chance": at_chance, "curve": curve, "parameters": parameters_of(network),
        "steps": plan.steps, "batch": plan.batch, "rows": len(plan.train), "images_per_second": speed, "seconds": round(seconds, 1), "made_with": plan.people["settings"],
    }  # fmt: skip
    write_atomically(folder / "result.json", json.dumps(result, indent=1) + "\n")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    said = ", ".join(f"{task} {value:.1%}" if np.isfinite(value) else f"{task} learned" for task, value in accuracy.items())
    unlearned = f"; at chance: {', '.join(at_chance)}" if at_chance else ""
    say(f"{folder.parent.parent.name}/{split.label}/{spec.name}: {said}{unlearned}; {speed:,.0f} images/s, {seconds:.0f} s")
    return Trained(folder, spec, accuracy, curve, round(seconds, 1), speed, plan.people["settings"], plan.model)


def optimiser_of(training: Training) -> Optimiser:
    """SGD with a rate that drops; no mean of the weights (ema 0 keeps the weights as they are), no warm-up but half the rate in the first step."""
    said: dict[str, Any] = {"rate": training.rate, "weight_decay": training.weight_decay, "warmup": 0.0, "clip": training.clip, "ema": 0.0}
    if training.algorithm == "sgd":
        return Optimiser(**said, algorithm="sgd", momentum=training.momentum, drops=training.drops)
    return Optimiser(**(said | {"rate": training.rate / 10, "kernel_rate": training.rate}))


def logits_of(model: nn.Module, images: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """{task: float32 [rows, classes]}."""
    return in_pieces(model.eval(), images, rows)


def in_pieces(compute: Callable[[Tensor], Mapping[str, Tensor]], images: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Images uint8 [R, S, S, 3] of some rows through a function, a thousand at a time: {name: float32 [rows, ...]}."""
    device = parallel.device()
    parts: dict[str, list[np.ndarray]] = {}
    with torch.inference_mode():
        for start in range(0, max(len(rows), 1), AT_ONCE):
            crops = torch.from_numpy(images[rows[start : start + AT_ONCE]]).to(device)
            for name, each in compute(crops).items():
                parts.setdefault(name, []).append(each.float().cpu().numpy())
    return {name: np.concatenate(each) for name, each in parts.items()}


def on_device(module: nn.Module) -> Any:
    return module.to(parallel.device()).eval()


def save(module: nn.Module, file: Path) -> None:
    write_atomically(file, serialised({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}))


def some_of(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many, in their order, drawn by lot: every n-th of the variants of pictures could be the same variant of each."""
    return rows if len(rows) <= most else rows[np.sort(np.random.default_rng(0).permutation(len(rows))[:most])]


def _look(images: np.ndarray) -> np.ndarray:
    """Some of many pictures, by which a digest knows them."""
    return images[some_of(np.arange(len(images)), 500)]


def _losses(logits: Tensor, truth: np.ndarray) -> Tensor:
    """Cross-entropy of the rows that have a label, [n]."""
    rows = np.flatnonzero(truth >= 0)
    chosen = torch.from_numpy(rows).to(logits.device)
    return F.cross_entropy(logits[chosen], torch.from_numpy(truth[rows].astype(np.int64)).to(logits.device), reduction="none")


def _classes(labels: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    return [rows[labels[rows] == each] for each in np.unique(labels[rows]) if each >= 0]


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)
