"""The plan of paper B's network: mixed batches of any sets, cut by stream, every task's loss averaged over the passes (papers.md, B4)."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from polyface.errors import RequestError
from polyface.files import sha256_of_lines
from polyface.images.align import Crop
from polyface.models.ifan import Ifan, IfanConfig, Maps, discs, pooled, tiled
from polyface.models.losses import LOSSES, Labels
from polyface.papers.ifan_config import Stage
from polyface.tasks.kinds import Category, Points, Regions, Task
from polyface.training import batches
from polyface.training.batches import Batch
from polyface.training.config import Augment, Method, Optimiser
from polyface.training.examples import Source

Tell = Callable[[str, Mapping[str, Labels]], Callable[[Maps], Maps] | None]
"""tell(the task that is asked, labels of the rows by task) -> what enters in place of the network's own maps."""


@dataclass(frozen=True)
class Lesson:
    """What is trained, on what, and how. told: what is fed back (`told_by`); taught: tasks whose rows are trained on, all where None; frozen: nothing but the last
    stream's own set and head is trained; curve: how often the validation loss is read."""

    network: IfanConfig
    tasks: tuple[Task, ...]
    sources: tuple[Source, ...] = field(repr=False)
    stage: Stage
    optimiser: Optimiser
    weights: Mapping[str, float]
    augment: Augment
    crop: Crop
    seed: int
    validation: tuple[Source, ...] = field(default=(), repr=False)
    told: str = ""
    taught: tuple[str, ...] | None = None
    frozen: bool = False
    curve: int = 5
    threads: int = 1

    def __post_init__(self) -> None:
        for task in self.tasks:
            if task.name in self.answering and not any(task.name in source.dataset.answers for source in self.sources):
                raise RequestError(f"no set of the recipe labels {task.name}")

    @property
    def answering(self) -> tuple[str, ...]:
        """Names of the tasks whose rows are trained on."""
        return tuple(task.name for task in self.tasks) if self.taught is None else self.taught

    @property
    def mix(self) -> batches.Mix:
        """Of the sets that label a task that is trained."""
        wanted = set(self.answering)
        used = [source for source in self.sources if not wanted.isdisjoint(source.dataset.answers)]
        if len(used) > self.stage.batch:
            raise RequestError(f"{len(used)} data sets do not fit into a batch of {self.stage.batch}")
        return batches.mix(used, self.tasks, self.stage.batch, self.crop, self.augment, self.seed)


class IfanPlan:
    """make: the network as it starts. model() is what the loop asks for; no validation loss chooses a checkpoint, the last mean of the weights counts."""

    balance: Method = "fixed"

    def __init__(self, lesson: Lesson, make: Callable[[], Ifan]):
        self.lesson, self.make, self.mix = lesson, make, lesson.mix
        self.steps, self.seed, self.optimiser = lesson.stage.steps, lesson.seed, lesson.optimiser
        self.weights = lesson.weights
        self.validate_every = max(1, -(-lesson.stage.steps // lesson.curve))
        self.validation: list[Batch] | None = None
        keys = [f"{source.dataset.name}/{example.record.key}" for source in self.mix.sources for example in source.examples.items]
        self.people: Mapping[str, str] = {"pictures": sha256_of_lines(keys)}  # the loop goes on with a checkpoint only where these are the same

    def model(self) -> Ifan:
        model = self.make()
        if self.lesson.frozen:
            stream = list(model.streams)[-1]
            parts = model.parts()
            model.requires_grad_(False)
            for parameter in (*parts[f"set {model.set_of(stream)}"], *parts[f"head {model.streams[stream]}"]):
                parameter.requires_grad_(True)
        return model

    def batches(self, steps: range) -> Iterator[Batch]:
        return batches.ahead(self.mix, steps, lambda step: self.lesson.crop.size, self.lesson.threads)

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        """{task: a loss for each row that is labelled for it [n]}, rows stream by stream."""
        assert isinstance(model, Ifan)
        crops = torch.from_numpy(batch.images).to(device)
        labels = {task.name: {name: torch.from_numpy(array).to(device) for name, array in batch.labels[task.name].items()} for task in self.lesson.tasks}
        tell = told_by(self.lesson.told, model)
        rows = {stream: torch.from_numpy(at).to(device) for stream, at in self.rows(model, batch).items()}
        losses: dict[str, list[Tensor]] = {}
        for stream, outputs in _outputs(model, crops, labels, rows, tell).items():
            name = model.streams[stream]
            task, told = next(each for each in self.lesson.tasks if each.name == name), _of_rows(labels[name], rows[stream])
            losses.setdefault(name, []).append(torch.stack([loss_of(task, output, told, self.lesson.crop.size) for output in outputs]).mean(0))
        return {name: torch.cat(each) for name, each in losses.items()}

    def rows(self, model: Ifan, batch: Batch) -> dict[str, np.ndarray]:
        """{stream: the rows that are labelled for it}, without streams that have none. A picture with labels of two tasks goes through both."""
        found = {}
        for stream, name in model.streams.items():
            if name in self.lesson.answering:
                labelled = next(task for task in self.lesson.tasks if task.name == name).labelled(batch.labels[name])
                at = np.flatnonzero(labelled & _is_of(stream, name, self.mix.sources, batch.dataset))
                if len(at):
                    found[stream] = at
        return found

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """The mean loss of each task on some validation pictures; none is called loss, so that it chooses nothing."""
        if self.validation is None:
            self.validation = list(_plain_batches(self.lesson))
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        model.eval()
        with torch.inference_mode():
            for batch in self.validation:
                for name, rows in self.loss(model, batch, device).items():
                    sums[name], counts[name] = sums.get(name, 0.0) + float(rows.sum()), counts.get(name, 0) + len(rows)
        return {name: total / counts[name] for name, total in sums.items()}

    def blame(self, batch: Batch, name: str, row: int) -> dict[str, object]:
        at = np.concatenate([rows for stream, rows in self.rows(self.make(), batch).items() if stream.partition("@")[0] == name])
        return {"key": batch.keys[int(at[row])], "batch": list(batch.keys)}

    def summary(self) -> str:
        """What is trained on, as JSON."""
        rows = [
            {"name": source.dataset.name, "images": len(source.examples.items), "answers": list(source.dataset.answers), "rows": count, "left_out": dict(source.left_out)}
            for source, count in zip(self.mix.sources, self.mix.counts, strict=True)
        ]
        return json.dumps(rows, indent=1) + "\n"


# Streams


def streams_of(network: IfanConfig, tasks: Sequence[Task], sources: Sequence[Source]) -> dict[str, str]:
    """{stream: its task}: one for each task, or, with statistics for each set, one for each task and set."""
    if network.normalisation != "per_dataset":
        return {task.name: task.name for task in tasks}
    return {stream_name(task.name, source.dataset.name): task.name for task in tasks for source in sources if task.name in source.dataset.answers}


def stream_name(task: str, dataset: str) -> str:
    """Of a task with statistics for each set."""
    return f"{task}@{dataset}"


def stream_for(model: Ifan, task: str, dataset: str) -> str:
    """The stream that answers a task on a set: its own where it has one, else the first of the task."""
    streams = [stream for stream, name in model.streams.items() if name == task]
    return stream_name(task, dataset) if stream_name(task, dataset) in streams else streams[0]


def _is_of(stream: str, task: str, sources: Sequence[Source], dataset: np.ndarray) -> np.ndarray:
    """bool [B]: the rows whose set is a stream's."""
    if stream == task:
        return np.ones(len(dataset), bool)
    return np.array([stream_name(task, sources[index].dataset.name) == stream for index in dataset])


def _outputs(model: Ifan, crops: Tensor, labels: Mapping[str, Labels], rows: Mapping[str, Tensor], tell: Tell) -> dict[str, list[Tensor]]:
    """{stream: its task's output for its rows, after every pass}."""
    if model.config.normalisation == "shared":
        passes = model.together(crops, rows, tell("", labels))
        return {stream: [outputs[stream] for outputs in passes] for stream in rows}
    return {
        stream: model.passes(crops[at], stream, tell(model.streams[stream], {name: _of_rows(each, at) for name, each in labels.items()})) for stream, at in rows.items()
    }


def _of_rows(labels: Labels, rows: Tensor) -> dict[str, Tensor]:
    return {name: array[rows] for name, array in labels.items()}


# Losses


def loss_of(task: Task, output: Tensor, labels: Labels, size: int) -> Tensor:
    """[n]: of points the squared error of coordinates scaled to [0, 1], the mean over those that are labelled (B4); else the loss of the kind."""
    if isinstance(task, Points):
        return squared_error(output, labels, size)
    return LOSSES[type(task)](task, output, labels)


def squared_error(output: Tensor, labels: Labels, size: int) -> Tensor:
    """output [n, P, 3] in crop pixels; squared distance in crops' sides, the mean over the points seen."""
    with torch.autocast(output.device.type, enabled=False):
        mapped = labels["map"] @ output.float()[..., :2]
    seen = labels["seen"]
    each = ((mapped - labels["xy"]) / size).square().sum(-1)
    return torch.where(seen, each, 0.0).sum(-1) / seen.sum(-1).clamp_min(1)


# What is fed back in place of the network's own predictions


def told_by(kind: str, model: Ifan) -> Tell:
    """ "": the network's own predictions; another: those of the row before, another face's; constant: the same everywhere and always; truth: of the tasks that are not
    asked, what is labelled; without-<task>: all but that task's."""
    match kind.partition("-")[0]:
        case "":
            return lambda asked, labels: None
        case "another":
            return lambda asked, labels: lambda maps: {name: each.roll(1, 0) for name, each in maps.items()}
        case "constant":
            return lambda asked, labels: lambda maps: {name: torch.full_like(each, 1 / each.shape[1]) for name, each in maps.items()}
        case "truth":
            return lambda asked, labels: lambda maps: {name: each if name == asked else _truth(model, name, each, labels.get(name)) for name, each in maps.items()}
        case "without":
            return lambda asked, labels: lambda maps: {name: each for name, each in maps.items() if f"without-{name}" != kind}
    raise ValueError(f"nothing is known of {kind!r} to be fed back")


def _truth(model: Ifan, name: str, own: Tensor, labels: Labels | None) -> Tensor:
    """A task's labels as the maps of its predictions; the network's own where a row has none."""
    if labels is None:
        return own
    task = next(each for each in model.tasks if each.name == name)
    known = torch.from_numpy(task.labelled({key: each.cpu().numpy() for key, each in labels.items()})).to(own.device)
    return torch.where(known[:, None, None, None], labelled_maps(task, labels, model.config, own.shape[-1]), own)


def labelled_maps(task: Task, labels: Labels, network: IfanConfig, side: int) -> Tensor:
    """float32 [n, C, side, side]: labels as `models.ifan.rendered` draws predictions; several possible answers share evenly, as do all of an unlabelled pixel."""
    match task:
        case Regions():
            words, table = labels["words"].long(), labels["table"].float()
            table = torch.cat([table, torch.ones_like(table[:, :1])], 1)  # a last word for what is unlabelled
            index = torch.where(words == 255, table.shape[1] - 1, words).flatten(1)[..., None].expand(-1, -1, table.shape[-1])
            possible = table.gather(1, index).permute(0, 2, 1).unflatten(2, words.shape[1:])
            return pooled(possible / possible.sum(1, keepdim=True), side)
        case Points():
            moved = labels["map"].transpose(1, 2)  # a mirrored face's points have changed their places in the list
            seen = (moved @ labels["seen"].float()[..., None]) > 0
            return pooled(discs(torch.where(seen, moved @ labels["xy"], torch.nan), network.size, network.radius), side)
        case Category():
            shares = (labels["share"][..., None] * labels["sets"] / labels["sets"].sum(-1, keepdim=True).clamp_min(1)).sum(1)
            return tiled(shares, side)
    raise TypeError(f"labels of the kind {type(task).__name__} are not drawn")


# Validation


def _plain_batches(lesson: Lesson) -> Iterator[Batch]:
    """Pictures as they are, all of a set in one batch's `dataset`, which is an index into the sources that are trained on."""
    places = {source.dataset.name: at for at, source in enumerate(lesson.mix.sources)}
    for source in lesson.validation:
        if source.dataset.name in places:
            items = source.examples.items
            yield from batches.plain_batches(source, items, lesson.tasks, lesson.crop, len(items), places[source.dataset.name])
