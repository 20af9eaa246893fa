"""The integrated face analytics network of Li et al. 2017 (papers.md, section B; what the paper leaves open is [INF] there).

All tasks share the kernels of one `densenet.Trunk`; each owns a set of batch normalisation and a head. After a pass, all predictions are drawn as maps, which the next
pass takes in at several resolutions: the update is simultaneous, the weights are the same in every pass, and the first pass is the network without feedback.
A task's output comes from the run that uses its own set; so do the maps that it feeds to the others, by its running statistics where the rows are not labelled for it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Literal

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyface.models.backbones import pixels_of
from polyface.models.densenet import Features, Mode, Norm, Trunk, Upsample
from polyface.strict import Positive, Share
from polyface.tasks.kinds import Angles, Category, Points, Regions, Scale, Task, Traits

Maps = Mapping[str, Tensor]
"""{task name: float32 [N, channels, r, r]}: predictions as maps, at the finest resolution that feedback enters at (`Ifan.side`)."""
Told = Callable[[Maps], Maps]
"""What enters in place of the network's own maps, of the same rows; a task that it leaves out enters as zeros."""

SHARED = "shared"
"""The one set of batch normalisation where all streams share it."""


class IfanConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The paper's network by default. Half of every width, on half the side, is stem 24, growth 6, size 64, feedback (16, 8, 4), radius 2.5."""

    size: int = 128
    """Side of the crop in pixels, a multiple of 2 to the power of levels."""
    stem: int = 48
    growth: int = 12
    layers: int = 3
    levels: int = 5
    feedback: tuple[int, ...] = (32, 16, 8)
    """Sides of the maps before whose dense block predictions enter; none: no integrator."""
    passes: int = 3
    """The first counted: 1 is no feedback."""
    normalisation: Literal["shared", "per_task", "per_dataset"] = "per_task"
    radius: Positive = 5.0
    """Of the disc that stands for a point, in crop pixels."""
    upsample: Upsample = "transposed"
    dropout: Share = 0.2
    through: bool = False
    """Gradients through the unrolled passes, into the other tasks' sets too. Discs are soft then (`discs`)."""
    checkpointing: bool = False
    """Dense blocks are computed again in the backward pass, and kept by nobody until then."""

    def __post_init__(self) -> None:
        sides = [self.size >> level for level in range(self.levels + 1)]
        if min(self.size, self.stem, self.growth, self.layers, self.levels, self.passes) < 1:
            raise ValueError("size, stem, growth, layers, levels and passes are 1 at least")
        if self.size % 2**self.levels:
            raise ValueError(f"size {self.size} cannot be halved {self.levels} times")
        for side in self.feedback:
            if side not in sides:
                raise ValueError(f"feedback: no map has the side {side}, only {', '.join(map(str, sides))}")
        if self.passes > 1 and not self.feedback:
            raise ValueError(f"{self.passes} passes without feedback are the first one {self.passes} times: state feedback, or passes = 1")


class Ifan(nn.Module):
    """model(crops uint8 [B, S, S, 3]) -> {task name: output of the last pass}, shaped as the kinds say.

    streams: {stream: name of the task whose labels its rows have}, one at least for each task. A stream's set of batch normalisation is the one that all share, its
    task's, or its own, by config.normalisation; a task answers by its first stream's. `tasks` and `streams` may grow (`add_task`).
    """

    def __init__(self, config: IfanConfig, tasks: Sequence[Task], streams: Mapping[str, str]):
        super().__init__()
        self.config, self.tasks, self.streams = config, tuple(tasks), dict(streams)
        for name in streams.values():
            if name not in {task.name for task in tasks}:
                raise ValueError(f"a stream is labelled for {name!r}, which is no task of this network")
        for task in tasks:
            if task.name not in streams.values():
                raise ValueError(f"no stream is labelled for {task.name!r}")
        self.trunk = Trunk(
            size=config.size, stem=config.stem, growth=config.growth, layers=config.layers, levels=config.levels, feedback=config.feedback,
            encoded=sum(map(channels_of, tasks)), passes=config.passes, upsample=config.upsample, dropout=config.dropout, sets=self.sets,
        )  # fmt: skip
        self.heads = nn.ModuleDict({task.name: self._head(task) for task in tasks})

    @property
    def sets(self) -> list[str]:
        """The sets of batch normalisation."""
        return list(dict.fromkeys(map(self.set_of, self.streams)))

    def set_of(self, stream: str) -> str:
        """The set of batch normalisation of a stream."""
        return {"shared": SHARED, "per_task": self.streams[stream], "per_dataset": stream}[self.config.normalisation]

    @property
    def side(self) -> int:
        """Of the maps that are fed back, before they are averaged further; 0 without feedback."""
        return max(self.config.feedback, default=0)

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        return self.refine(crops)[-1]

    def refine(self, crops: Tensor, told: Told | None = None) -> list[dict[str, Tensor]]:
        """What forward answers, after every pass; always by running statistics. Logits of regions are averaged to half the crop's side, as their kind wants them."""
        passes = self._run(crops, {self._stream(task): None for task in self.tasks}, told, batch=False)
        return [{task.name: _as_its_kind(task, outputs[self._stream(task)]) for task in self.tasks} for outputs in passes]

    def passes(self, crops: Tensor, stream: str, told: Told | None = None) -> list[Tensor]:
        """The output of the stream's task after every pass, for rows that are all of this stream: what training asks for. Logits of regions are at the crop's own side.

        In training the stream's set normalises by these rows and remembers them, and no other set changes. The other tasks' maps are computed for the same rows by their
        own sets' running statistics, without gradient unless config.through. In eval mode all are running ones.
        """
        return [outputs[stream] for outputs in self._run(crops, {stream: None}, told, batch=self.training)]

    def together(self, crops: Tensor, rows: Mapping[str, Tensor], told: Told | None = None) -> list[dict[str, Tensor]]:
        """For shared normalisation: a mixed batch in one run, by the statistics of all its rows, as a network that knows no streams would have it.

        rows: {stream: int64 [n]}, those labelled for it -> {stream: its task's output for those rows} after every pass. Sub-batches normalised each by itself would meet
        statistics at test that none of them had. Maps of tasks that a row is not labelled for come from the same run.
        """
        if self.config.normalisation != "shared":
            raise ValueError(f"{self.config.normalisation} normalisation takes each stream by itself")
        return self._run(crops, rows, told, batch=self.training)

    def add_task(self, task: Task, stream: str) -> None:
        """Plug in a new task: a set of batch normalisation, copied from that of the first stream, a new head, and channels of the integrators that are zero, so that no
        old task's answer changes by it. An optimiser made before does not know the new parameters."""
        if stream in self.streams or task.name in self.heads:
            raise ValueError(f"there is a stream {stream!r} or a task {task.name!r} already")
        self.streams[stream] = task.name
        if self.config.normalisation != "shared":
            self.trunk.add_set(self.set_of(stream), self.set_of(next(iter(self.streams))))
        self.tasks = (*self.tasks, task)
        self.heads[task.name] = self._head(task).to(self.trunk.stem.weight.device)
        self.trunk.widen(channels_of(task))
        self.train(self.training)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """All parameters: "kernels", which all streams share; "set NAME", a set of batch normalisation of the trunk; "head NAME", a task's head with its own sets."""
        sets = {f"set {name}": self.trunk.set_of(name) for name in self.sets}
        return {"kernels": self.trunk.kernels()} | sets | {f"head {task.name}": list(self.heads[task.name].parameters()) for task in self.tasks}

    def _head(self, task: Task) -> nn.Module:
        sets = dict.fromkeys(self.set_of(stream) for stream, name in self.streams.items() if name == task.name)
        return head_of(task, self.config, self.trunk, list(sets))

    def _stream(self, task: Task) -> str:
        """The stream whose set a task answers by."""
        return next(stream for stream, name in self.streams.items() if name == task.name)

    def _run(self, crops: Tensor, asked: Mapping[str, Tensor | None], told: Told | None, batch: bool) -> list[dict[str, Tensor]]:
        """{stream asked for: its task's output} after every pass, of its rows [n] or (None) of all."""
        own = list(dict.fromkeys(map(self.set_of, asked)))
        answered = {self.streams[stream] for stream, rows in asked.items() if rows is None}
        beside = {} if self.config.passes == 1 else {task.name: self.set_of(self._stream(task)) for task in self.tasks if task.name not in answered}
        readers = [(self.set_of(stream), self.streams[stream]) for stream in asked]
        modes = {name: Mode(name, batch and name in own, self.config.checkpointing and self.training) for name in (*own, *beside.values())}
        stem, tops = self.trunk.stem(pixels_of(crops, self.training)), {}
        for name, mode in modes.items():
            with self._gradient(name in own):
                tops[name] = self.trunk.top(stem, mode)
        passes: list[dict[str, Tensor]] = []
        maps: Tensor | None = None
        while True:
            last, features = len(passes) + 1 == self.config.passes, {}
            now = {name: replace(mode, turn=len(passes)) for name, mode in modes.items()}
            fine = {name for name, task in (readers if last else [*readers, *((name, task) for task, name in beside.items())]) if isinstance(self._task(task), Regions)}
            for name in own if last else modes:
                with self._gradient(name in own):
                    features[name] = self.trunk.below(tops[name], maps, now[name], name in fine)
            passes.append({stream: self._answer(task, features[name].of(asked[stream]), now[name]) for stream, (name, task) in zip(asked, readers, strict=True)})
            if last:
                return passes
            with self._gradient(False):
                answers = {task: self._answer(task, features[name], replace(now[name], batch=False)) for task, name in beside.items()}
                for stream, rows in asked.items():
                    name, output = self.streams[stream], passes[-1][stream]
                    answers[name] = output if rows is None else answers[name].index_copy(0, rows, output)
                maps = self._feedback(answers, told)

    def _feedback(self, answers: Mapping[str, Tensor], told: Told | None) -> Tensor:
        """Outputs of all tasks as maps, one above the other [N, E, r, r], in the order of the tasks."""
        config, side = self.config, self.side
        own = {task.name: rendered(task, answers[task.name], config.size, side, config.radius, config.through) for task in self.tasks}
        entering = own if told is None else told(own)
        joined = torch.cat([entering[name] if name in entering else torch.zeros_like(maps) for name, maps in own.items()], 1)
        return joined if config.through else joined.detach()

    def _gradient(self, own: bool) -> AbstractContextManager[object]:
        """Only training saves anything by stating that what is not the stream's own has no gradient: exporters stumble over it."""
        return nullcontext() if own or self.config.through or not self.training else torch.no_grad()

    def _answer(self, task: str, features: Features, mode: Mode) -> Tensor:
        return self.heads[task](features, mode)

    def _task(self, name: str) -> Task:
        return next(task for task in self.tasks if task.name == name)


# Heads: (features, mode) -> output in float32


def head_of(task: Task, config: IfanConfig, trunk: Trunk, sets: Sequence[str]) -> nn.Module:
    """By the kind of a task, never by its name."""
    if isinstance(task, Regions):
        return RegionsHead(trunk.fine_width, len(task.vocabulary))
    if isinstance(task, Points):
        return PointsHead(trunk.deep_width, trunk.sides[-1], task.count, config.size, sets, config.passes)
    if isinstance(task, Category | Traits | Scale | Angles):
        return VectorHead(trunk.deep_width, task.shape(0), sets, config.passes)
    raise TypeError(f"no head for the kind {type(task).__name__}")


class RegionsHead(nn.Module):
    """-> logits [N, C, S, S] of the crop's own size."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.logits = _from_he(nn.Conv2d(width, classes, 1))

    def forward(self, features: Features, mode: Mode) -> Tensor:
        assert features.fine is not None
        return self.logits(features.fine).float()


class PointsHead(nn.Module):
    """BN, ReLU, and all of the map to coordinates from 0 to 1, given in crop pixels -> [N, P, 3]. The third number, in place of the kind's spread, is always 1."""

    def __init__(self, width: int, side: int, count: int, size: int, sets: Sequence[str], passes: int):
        super().__init__()
        self.size, self.norm = size, Norm(width, sets, passes)
        self.places = _from_he(nn.Linear(width * side * side, 2 * count), bias=0.5)  # the middle of the crop

    def forward(self, features: Features, mode: Mode) -> Tensor:
        with torch.autocast(features.deep.device.type, enabled=False):  # bfloat16 would put points on a grid of half a pixel
            seen = F.relu(self.norm(features.deep.float(), mode))
            xy = self.places(seen.flatten(1)).unflatten(1, (-1, 2)) * self.size
            return torch.cat([xy, torch.ones_like(xy[..., :1])], -1)


class VectorHead(nn.Module):
    """BN, ReLU, mean over the map -> logits of any shape."""

    def __init__(self, width: int, shape: tuple[int, ...], sets: Sequence[str], passes: int):
        super().__init__()
        self.shape, self.norm = shape, Norm(width, sets, passes)
        self.logits = _from_he(nn.Linear(width, math.prod(shape)))

    def forward(self, features: Features, mode: Mode) -> Tensor:
        with torch.autocast(features.deep.device.type, enabled=False):
            return self.logits(F.relu(self.norm(features.deep.float(), mode)).mean((2, 3))).unflatten(1, self.shape)


# Re-encoders: they have no weights


def channels_of(task: Task) -> int:
    """How many maps a task's prediction is drawn as."""
    if isinstance(task, Points):
        return task.count
    return len(task.vocabulary) if isinstance(task, Regions) else math.prod(task.shape(0))


def rendered(task: Task, output: Tensor, size: int, side: int, radius: float, soft: bool = False) -> Tensor:
    """A head's output for crops of size x size as maps float32 [N, channels, side, side]: shares of regions, discs about points, or shares of answers (of traits, each
    one's yes) all over. Means over pixels keep what a map sums to, by the factor of area."""
    if isinstance(task, Regions):
        return pooled(output.float().softmax(1), side)
    if isinstance(task, Points):
        return pooled(discs(output[..., :2], size, radius, soft), side)
    shares = output.float().sigmoid() if isinstance(task, Traits) else output.float().softmax(-1)
    return tiled(shares.flatten(1), side)


def discs(xy: Tensor, size: int, radius: float, soft: bool = False) -> Tensor:
    """Points [N, P, 2] in crop pixels -> float32 [N, P, size, size], 1 where (x - cx)^2 + (y - cy)^2 <= radius^2, (x, y) a pixel's centre; all 0 where a point is NaN.

    The centre of the first pixel is (0.5, 0.5) here and (0, 0) in B3, which counts 81 pixels about an interior integer at radius 5: its (63, 63) is our (63.5, 63.5).
    soft: sigmoid of (radius^2 - distance^2) / radius, near the rim twice the distance to it in pixels; 1/2 on the rim, about the disc's area, and with a gradient.
    """
    with torch.autocast(xy.device.type, enabled=False):
        centres = torch.arange(size, device=xy.device, dtype=torch.float32) + 0.5
        across, down = ((centres - xy[..., axis, None].float()).square() for axis in (0, 1))
        inside = radius**2 - (down[..., :, None] + across[..., None, :])
        return (inside / radius).sigmoid().nan_to_num() if soft else (inside >= 0).float()


def tiled(vector: Tensor, side: int) -> Tensor:
    """[N, C] -> [N, C, side, side], the same everywhere."""
    return vector[:, :, None, None].expand(-1, -1, side, side)


def pooled(maps: Tensor, side: int) -> Tensor:
    """Means over squares [N, C, S, S] -> [N, C, side, side]; side divides S."""
    return F.avg_pool2d(maps, maps.shape[-1] // side)


def _as_its_kind(task: Task, output: Tensor) -> Tensor:
    return F.avg_pool2d(output, 2) if isinstance(task, Regions) else output


def _from_he(layer: nn.Conv2d | nn.Linear, bias: float = 0.0) -> nn.Module:
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
    return layer
