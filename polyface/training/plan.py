"""The plan of the network `polyface`: what the loop asks of it, step by step."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from polyface import tasks
from polyface.datasets.base import Split
from polyface.datasets.pack import plain
from polyface.errors import RequestError
from polyface.files import sha256_of_lines
from polyface.images.align import Crop
from polyface.labels import unsaid
from polyface.models.losses import LOSSES, overlap
from polyface.models.partial import Classifier
from polyface.models.polyface import PolyFace, build
from polyface.models.real_crops import FEW, RealCrops
from polyface.tasks.kinds import Angles, Embedding, Points, Regions, Task
from polyface.training import batches, loop, parallel
from polyface.training.batches import Batch
from polyface.training.config import Config, settings_digest
from polyface.training.examples import Source, training_sources, validation_sources, withheld


class FacePlan:
    """Every step draws from every set, every task has the loss of its kind. Of several processes each draws and validates its share of the rows.

    sources: sets that were listed before, for a plan that validates nothing; those of the recipe are listed where there are none. untaught: tasks that no set answers.
    unsaid: by task, the answers that no set has a word for.
    """

    def __init__(self, config: Config, data: Path, sources: Sequence[Source] | None = None):
        self.steps, self.seed = config.steps, config.seed
        self.optimiser, self.validate_every = config.optimiser, config.validate_every
        self.balance, self.share = config.balance, batches.share_of(parallel.rank(), parallel.count())
        if config.batch < parallel.count():
            raise RequestError(f"a batch of {config.batch} rows cannot be shared by {parallel.count()} processes")
        asked, weighed = ([tasks.named(name) for name in names] for names in (config.model.tasks, config.losses))
        if asked and (besides := [task.name for task in weighed if task not in asked]):
            raise RequestError(f"losses: the network has no task {besides[0]}")
        self.crop = Crop(config.crop.size, config.crop.eye_distance, config.crop.eyes)
        if sources is None:
            without = withheld(config, data)
            self.sources, self.validation = training_sources(config, data, without), validation_sources(config, data, without)
        else:
            self.sources, self.validation = tuple(sources), ()
        taught = {name for source in self.sources for name in source.dataset.answers}
        self.tasks: tuple[Task, ...] = tuple(asked) or tuple(task for task in tasks.TASKS if task.name in taught)
        self.config = msgspec.structs.replace(config, model=msgspec.structs.replace(config.model, tasks=tuple(task.name for task in self.tasks)))
        self.settings = settings_digest(self.config)
        self.weights: Mapping[str, float] = {task.name: config.losses.get(task.name, 1.0) for task in self.tasks}
        self.untaught = tuple(task.name for task in self.tasks if task.name not in taught)
        meanings = {task: [source.dataset.answers[task.name] for source in self.sources if task.name in source.dataset.answers] for task in self.tasks}
        missing = {task.name: unsaid(getattr(task, "vocabulary", ()), said) for task, said in meanings.items() if said}
        self.unsaid = {name: words for name, words in missing.items() if words}
        self.notes: tuple[str, ...] = tuple(note for source in (*self.sources, *self.validation) for note in source.notes)
        if self.untaught:
            self.notes += (f"no data set answers {', '.join(self.untaught)}, so what the network says there is worth nothing",)
        self.notes += tuple(
            f"{name}: no data set has a word for {', '.join(words)}, so what the network says of them is worth nothing" for name, words in self.unsaid.items()
        )
        self.spaces = {source.space: source.people for source in self.sources if source.people}
        sets = dict.fromkeys(source.dataset.name for source in self.sources)  # a recipe may name one twice, for other answers
        learned = {f"pictures of {name}": _digest([source for source in self.sources if source.dataset.name == name]) for name in sets}
        self.people: Mapping[str, str] = {space: sha256_of_lines(sorted(keys)) for space, keys in self.spaces.items()} | learned
        self.classifier: Classifier | None = None
        self.mix = batches.mix(self.sources, self.tasks, config.batch, self.crop, config.augment, config.seed)

    def model(self) -> PolyFace:
        """The network, and the classifier of its people where the recipe splits them among processes."""
        people, identity = {space: len(keys) for space, keys in self.spaces.items()}, self.config.identity
        dimension = next((task.dimension for task in self.tasks if isinstance(task, Embedding)), 0)
        if identity.sample and dimension:
            self.classifier = Classifier(people, dimension, identity, partial(loop.optimiser_of_matrix, config=self.optimiser), self.seed, parallel.device())
            people = {}
        return build(self.config.model, people, identity)

    def batches(self, steps: range) -> Iterator[Batch]:
        return batches.ahead(self.mix, steps, self.crop_size, self.config.threads, self.share)

    def crop_size(self, step: int) -> int:
        """The first share of the steps sees smaller crops."""
        return self.config.small.size if step < self.config.small.share * self.steps else self.crop.size

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        rows = {task.name: torch.from_numpy(task.labelled(batch.labels[task.name]).nonzero()[0]).to(device) for task in self.tasks}
        counts: list[float] = [len(index) for index in rows.values()]
        if model.training:  # a head that any process has rows for runs in all of them, since they share its batch statistics
            counts = parallel.summed(counts)
        rows = {name: index for (name, index), count in zip(rows.items(), counts, strict=True) if count}
        assert isinstance(model, PolyFace)
        passes = model.passes(torch.from_numpy(batch.images).to(device), rows)
        each = [self._losses(model, outputs, batch, rows) for outputs in (passes if model.training else passes[-1:])]
        return {name: torch.stack([losses[name] for losses in each]).mean(0) for name in each[0]}

    def _losses(self, model: PolyFace, outputs: Mapping[str, Tensor], batch: Batch, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of one pass."""
        losses = {}
        for task in self.tasks:
            if task.name in rows:
                chosen = rows[task.name]
                if not len(chosen) and not isinstance(task, Embedding):
                    losses[task.name] = outputs[task.name].flatten(1).sum(1)  # no rows here, but other processes wait for the backward pass of the head
                    continue
                labels = {name: torch.from_numpy(array).to(chosen.device)[chosen] for name, array in batch.labels[task.name].items()}
                if isinstance(task, Embedding):
                    spaces = [self.sources[index].space for index in batch.dataset[chosen.cpu().numpy()]]
                    losses[task.name] = model.people.losses(outputs[task.name], labels["person"], spaces, self.classifier)
                else:
                    losses[task.name] = LOSSES[type(task)](task, outputs[task.name], labels)
                    if self.config.overlap and model.training and isinstance(task, Regions):
                        losses[task.name] = losses[task.name] + self.config.overlap * overlap(task, outputs[task.name], labels)
        return losses

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """The mean loss of each task on the validation splits, and their sum by the recipe's weights, whatever the balance, as `loss`."""
        return loop.mean_losses(self, model, self._validation_batches(), [task.name for task in self.tasks], device)

    def blame(self, batch: Batch, name: str, row: int) -> dict[str, object]:
        """Which data set and picture a row of a task's losses came from, and all pictures of the batch."""
        labelled = tasks.named(name).labelled(batch.labels[name]).nonzero()[0]
        return {"key": batch.keys[labelled[row]], "batch": list(batch.keys)}

    def real_crops(self) -> RealCrops:
        """The first pictures of validation of each set as they are, or of training where there is no validation: what the exported network is compared on."""
        split: Split = "validation" if self.validation else "train"
        found = [
            (source, batch.images)
            for source in self.validation or self.sources
            for batch in batches.plain_batches(source, source.examples.items[:FEW], (), self.crop, FEW)
        ]
        crops = np.concatenate([images for _, images in found]) if found else np.zeros((0, self.crop.size, self.crop.size, 3), np.uint8)
        return RealCrops(crops, split, tuple(dict.fromkeys(source.dataset.name for source, _ in found)))

    def counts(self) -> list[str]:
        """A line for each set: how many pictures train and validate, how many stayed out of training, and why."""
        lines = []
        for source in self.sources:
            name, pictures = source.dataset.name, len(source.examples.items)
            validation = sum(len(each.examples.items) for each in _of(source, self.validation))
            out = ", ".join(f"{count:,} {why}" for why, count in source.left_out.items() if count)
            lines.append(f"{name}: {pictures:,} pictures to train on, {validation:,} to validate on" + (f"; left out of training: {out}" if out else ""))
        return lines

    def summary(self) -> str:
        """What is trained on, as JSON: counts, ways of alignment, what stayed out and why, hash of the list of each set; what this process could not read so far."""
        return json.dumps([_summary(source, self.validation) for source in self.sources], indent=1) + "\n"

    def _validation_batches(self) -> Iterator[Batch]:
        for source in self.validation:
            yield from batches.plain_batches(source, source.examples.items[self.share], self.tasks, self.crop, self.config.batch)


def _digest(entries: Sequence[Source]) -> str:
    """Of which pictures a set has in each of its entries in the recipe, what is said of them, and what that means; of points, masks and angles, which a pack draws anew,
    only that they are there."""
    inside = {task.name for task in tasks.TASKS if isinstance(task, Points | Regions | Angles)}
    said: list[object] = []
    for source in entries:
        said.append({name: vars(meaning) for name, meaning in source.dataset.answers.items() if name not in inside})
        records = (example.record for example in source.examples.items)
        said += ([record.key, {name: None if name in inside else label for name, label in record.labels.items()}] for record in records)
    return sha256_of_lines([json.dumps(each, default=plain) for each in said])


def _of(source: Source, validation: Sequence[Source]) -> list[Source]:
    """What a source of training validates on; a recipe may name a set twice, for other answers."""
    return [each for each in validation if each.dataset.name == source.dataset.name and each.dataset.answers.keys() == source.dataset.answers.keys()]


def _summary(source: Source, validation: Sequence[Source]) -> Mapping[str, object]:
    keys = [example.record.key for example in source.examples.items]
    validation = _of(source, validation)
    return {
        "name": source.dataset.name,
        "images": len(keys),
        "people": len(source.people),
        "aligned": dict(source.examples.ways),
        "left_out": {reason: count for reason, count in source.left_out.items() if count},
        "unchecked_for_copies": source.unchecked,
        "validation": sum(len(each.examples.items) for each in validation),
        "left_out_of_validation": {reason: count for each in validation for reason, count in each.left_out.items()},
        "broken": sorted({line for each in (source, *validation) for line in each.broken}),
        "sha256": sha256_of_lines(keys),
    }
