"""The plan of paper C's networks: identity alone, attributes alone, or both, on any sources. The one loop runs it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from polyface.errors import RequestError
from polyface.files import sha256_of_lines, write_atomically
from polyface.images.align import Crop
from polyface.models.joint import Joint, JointConfig, domain_weights, moon
from polyface.models.margins import Identity
from polyface.models.weights import read_tensors
from polyface.papers.joint_config import Stage
from polyface.papers.stage import WEIGHTS, Progress, train
from polyface.tasks.kinds import Embedding, Task, Traits
from polyface.training import batches, parallel
from polyface.training.batches import Batch
from polyface.training.config import Augment, Method, Optimiser
from polyface.training.examples import Source

MADE_WITH = "made_with"
"""Beside a network: the digest of its lesson."""


@dataclass(frozen=True)
class Lesson:
    """What is trained, on what, and how. target: T+ of every attribute, None for the rates as they are; weight: of the attribute loss beside identity's; shares
    {space: float32 [people, A]}: votes as shares of yes, below 0 unknown, in place of the sets' own answers."""

    network: JointConfig
    tasks: tuple[Task, ...]
    sources: tuple[Source, ...] = field(repr=False)
    stage: Stage
    optimiser: Optimiser
    augment: Augment
    crop: Crop
    seed: int
    identity: Identity
    weight: float = 1.0
    squared: bool = True
    target: float | None = 0.5
    shares: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    saves: int = 3
    threads: int = 1

    @property
    def people(self) -> dict[str, int]:
        """{space: how many}."""
        return {source.space: len(source.people) for source in self.sources if source.people}

    @cached_property
    def rates(self) -> np.ndarray:
        """S+ [A]: the rate of yes among the labels of what batches draw, of each source by its share of them; NaN where there is none."""
        traits = next(task for task in self.tasks if isinstance(task, Traits))
        yes, known = np.zeros((2, len(traits.vocabulary)))
        drawn = batches.shares([source.weight for source in self.sources], self.stage.batch)
        for source, count in zip(self.sources, drawn, strict=True):
            labels = [example.record.labels.get(traits.name) for example in source.examples.items]
            told = [traits.encode(source.dataset.answers[traits.name], label)["values"] for label in labels if label is not None]  # type: ignore[arg-type]
            values = np.array(told, np.int8).reshape(-1, len(yes))
            yes += count / max(len(labels), 1) * (values == 1).sum(0)
            known += count / max(len(labels), 1) * (values >= 0).sum(0)
        return np.divide(yes, known, out=np.full(len(yes), np.nan), where=known > 0)

    @cached_property
    def made_with(self) -> str:
        """A digest of all that the network is made of: settings, people, pictures and their labels."""
        vocabularies = [(task.name, getattr(task, "vocabulary", ())) for task in self.tasks]
        settings = (self.network, vocabularies, self.stage, self.optimiser, self.augment, self.crop, self.seed, self.identity, self.weight, self.squared, self.target)
        pictures = [
            f"{source.space}/{source.dataset.name}/{example.record.key} {source.weight} {sorted(example.record.labels.items())}"
            for source in self.sources
            for example in source.examples.items
        ]
        shares = [f"{space} {sha256(np.ascontiguousarray(each).tobytes()).hexdigest()}" for space, each in sorted(self.shares.items())]
        return sha256_of_lines([repr(settings), *pictures, *shares])[:16]


def trained(lesson: Lesson, folder: Path, words: str, progress: Progress | None) -> Joint:
    """The network of a lesson, for answering: trained, gone on with where it was cut off, or found done in FOLDER.

    Raises RequestError where FOLDER holds one that was made of something else.
    """
    require_same(folder, lesson.made_with)
    write_atomically(folder / MADE_WITH, lesson.made_with + "\n")
    if not (folder / WEIGHTS).exists():
        train(JointPlan(lesson), folder, words, progress)
    model = Joint(lesson.network, lesson.tasks, {})
    model.load_state_dict(read_tensors(folder / WEIGHTS))
    return model.to(parallel.device()).eval()


def require_same(folder: Path, made_with: str) -> None:
    """Raises RequestError where FOLDER holds a network, done or begun, of another lesson."""
    said = folder / MADE_WITH
    other = said.read_text().strip() != made_with if said.exists() else (folder / WEIGHTS).exists()
    if other:
        raise RequestError(f"{folder}: trained on other people, pictures or labels than are at hand now, or otherwise; remove it, or choose another --out")


class JointPlan:
    """No validation loss chooses a checkpoint: the last mean of the weights counts, as in all rows."""

    balance: Method = "fixed"

    def __init__(self, lesson: Lesson):
        self.lesson = lesson
        self.steps, self.seed, self.optimiser = lesson.stage.steps, lesson.seed, lesson.optimiser
        self.weights: Mapping[str, float] = {task.name: lesson.weight if isinstance(task, Traits) and len(lesson.tasks) > 1 else 1.0 for task in lesson.tasks}
        self.validate_every = max(1, -(-lesson.stage.steps // lesson.saves))
        if not any(source.examples.items for source in lesson.sources):
            raise RequestError("no picture to train on is left")
        self.mix = batches.mix(lesson.sources, lesson.tasks, lesson.stage.batch, lesson.crop, lesson.augment, lesson.seed)
        self.people: Mapping[str, str] = {"lesson": lesson.made_with}  # the loop goes on with a checkpoint only where these are the same
        if any(isinstance(task, Traits) for task in lesson.tasks):
            rates = lesson.rates
            positive, negative, _ = domain_weights(rates, rates if lesson.target is None else np.full(len(rates), lesson.target))
            self._positive, self._negative = (torch.from_numpy(each.astype(np.float32)) for each in (positive, negative))

    def model(self) -> Joint:
        return Joint(self.lesson.network, self.lesson.tasks, self.lesson.people, self.lesson.identity)

    def batches(self, steps: range) -> Iterator[Batch]:
        return batches.ahead(self.mix, steps, lambda step: self.lesson.crop.size, self.lesson.threads)

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        """{task: a loss for each row that is labelled for it [n]}."""
        assert isinstance(model, Joint)
        outputs = model(torch.from_numpy(batch.images).to(device))
        losses = {}
        for task in self.lesson.tasks:
            rows = np.flatnonzero(task.labelled(batch.labels[task.name]))
            chosen = torch.from_numpy(rows).to(device)
            if isinstance(task, Embedding):
                people = torch.from_numpy(batch.labels[task.name]["person"]).to(device)[chosen]
                losses[task.name] = model.people.losses(outputs[task.name][chosen], people, [self.lesson.sources[at].space for at in batch.dataset[rows]])
            else:
                shares = torch.from_numpy(self._shares(batch, task, rows)).to(device)
                losses[task.name] = moon(outputs[task.name][chosen], shares, self._positive.to(device), self._negative.to(device), self.lesson.squared)
        return losses

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        return {}

    def blame(self, batch: Batch, name: str, row: int) -> dict[str, object]:
        task = next(task for task in self.lesson.tasks if task.name == name)
        return {"key": batch.keys[int(task.labelled(batch.labels[name]).nonzero()[0][row])], "batch": list(batch.keys)}

    def _shares(self, batch: Batch, task: Task, rows: np.ndarray) -> np.ndarray:
        """float32 [n, A]: the labels of the rows, or the votes about the people on them."""
        shares = batch.labels[task.name]["values"][rows].astype(np.float32)
        embedding = next((other for other in self.lesson.tasks if isinstance(other, Embedding)), None)
        for at, row in enumerate(rows if self.lesson.shares and embedding is not None else ()):
            space, person = self.lesson.sources[batch.dataset[row]].space, int(batch.labels[embedding.name]["person"][row])  # type: ignore[union-attr]
            if space in self.lesson.shares and person >= 0:
                shares[at] = self.lesson.shares[space][person]
        return shares
