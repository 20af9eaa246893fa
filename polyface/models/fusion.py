"""The networks of Li and Zhu 2016 (papers.md, section A): small feature networks, heads on their frozen features, and both as one network.

A feature network is three convolutions (5x5, 5x5, 3x3), each halved by its largest, a feature layer and an output for each task it learned. A fusion head merges the
features of several networks and adds two layers and an output; with one network it is the paper's cross-task network. What the paper leaves open is [INF] in papers.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyface.models.backbones import pixels_of
from polyface.models.sizes import closest, parameters_of
from polyface.strict import Count, NonNegative, Share
from polyface.tasks.kinds import Embedding, Task

Features = Mapping[str, Tensor]
"""{source: [B, d]}: the feature layers of frozen networks, by the name of the network."""


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the paper leaves open of its feature networks; every default is [INF] (papers.md, A2)."""

    size: int = 64
    """Side of the crop in pixels, a multiple of 8."""
    channels: tuple[Count, Count, Count] = (32, 64, 128)
    kernels: tuple[Count, Count, Count] = (5, 5, 3)
    std: NonNegative | None = None
    """Deviation of the Gaussian that filters start from; He's where nothing is said."""
    output_std: NonNegative = 0.01
    """Of the Gaussian that output layers start from, as Krizhevsky et al. 2012, section 5. With He's the first steps push down every unit of a short feature with many
    classes, until most of its ReLUs never answer again (LOG.md)."""
    dropout: Share = 0.0
    """Between feature and output."""

    def __post_init__(self) -> None:
        if self.size % 8 or self.size < 8:
            raise ValueError(f"size {self.size} is not a multiple of 8")


class FeatureNetwork(nn.Module):
    """One trunk; a feature layer and an output for each task. The paper's four have one task each, a hard-shared network has all.

    outputs: {task: (length of its feature, classes)}. forward(crops uint8 [B, S, S, 3]) -> {task: logits [B, classes]}.
    """

    def __init__(self, config: NetworkConfig, outputs: Mapping[str, tuple[int, int]]):
        super().__init__()
        self.config, widths = config, (3, *config.channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, padding=kernel // 2) for before, after, kernel in zip(widths, config.channels, config.kernels, strict=False)
        )
        flat = config.channels[-1] * (config.size // 8) ** 2
        self.feature = nn.ModuleDict({task: nn.Linear(flat, length) for task, (length, _) in outputs.items()})
        made = {task: nn.Linear(length, classes) for task, (length, classes) in outputs.items()}
        self.output = nn.ModuleDict(made)
        for layer in (*self.convolutions, *self.feature.values()):
            fan_in = layer.weight[0].numel()
            nn.init.normal_(layer.weight, std=config.std or math.sqrt(2 / fan_in))
            nn.init.zeros_(layer.bias)
        for output in made.values():
            nn.init.normal_(output.weight, std=config.output_std)
            nn.init.zeros_(output.bias)

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        return self.answers(self.features(crops))

    def answers(self, features: Features) -> dict[str, Tensor]:
        return {task: self.output[task](F.dropout(features[task], self.config.dropout, self.training)).float() for task in self.output}

    def features(self, crops: Tensor) -> dict[str, Tensor]:
        """{task: feature [B, length]}, after the ReLU."""
        flat = self.maps(crops)[-1].flatten(1)
        return {task: torch.relu(layer(flat)) for task, layer in self.feature.items()}

    def maps(self, crops: Tensor) -> list[Tensor]:
        """The three maps, each after ReLU and pooling: [B, C, S/2, S/2], [B, C, S/4, S/4], [B, C, S/8, S/8]."""
        x, maps = pixels_of(crops), []
        for convolution in self.convolutions:
            x = F.max_pool2d(torch.relu(convolution(x)), 2)
            maps.append(x)
        return maps


def shared_config(config: NetworkConfig, outputs: Mapping[str, tuple[int, int]]) -> NetworkConfig:
    """The config of one network for all tasks with about as many parameters as one network for each: its trunk is widened in steps of an eighth."""
    wanted = sum(parameters_of(FeatureNetwork(config, {task: sizes})) for task, sizes in outputs.items())
    wider = (msgspec.structs.replace(config, channels=tuple(width * eighths // 8 for width in config.channels)) for eighths in count(8))
    return closest(wider, lambda each: parameters_of(FeatureNetwork(each, outputs)), wanted)


# Merging: {source: [B, d]} -> [B, width]


class Concatenation(nn.Module):
    """The paper's. Its width is the sum of the lengths."""

    def __init__(self, lengths: Mapping[str, int]):
        super().__init__()
        self.sources, self.width = tuple(lengths), sum(lengths.values())

    def forward(self, features: Features) -> Tensor:
        return torch.cat([features[source] for source in self.sources], dim=1)


class Projected(nn.Module):
    """What the others share: every feature is brought to one width first."""

    def __init__(self, lengths: Mapping[str, int], width: int):
        super().__init__()
        self.sources, self.width = tuple(lengths), width
        self.project = nn.ModuleDict({source: nn.Linear(length, width) for source, length in lengths.items()})

    def projected(self, features: Features) -> Tensor:
        """[B, sources, width]."""
        return torch.stack([self.project[source](features[source]) for source in self.sources], dim=1)


class WeightedSum(Projected):
    """One learned weight for each source, softmax over sources."""

    def __init__(self, lengths: Mapping[str, int], width: int):
        super().__init__(lengths, width)
        self.weight = nn.Parameter(torch.zeros(len(lengths)))

    def forward(self, features: Features) -> Tensor:
        return (self.weight.softmax(0)[:, None] * self.projected(features)).sum(1)


class Attention(Projected):
    """Each row weighs its own sources: a learned query over keys of the projected features, scaled dot product (Vaswani et al. 2017, eq. 1)."""

    def __init__(self, lengths: Mapping[str, int], width: int):
        super().__init__(lengths, width)
        self.key = nn.Linear(width, width)
        self.query = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def forward(self, features: Features) -> Tensor:
        values = self.projected(features)
        weights = (torch.tanh(self.key(values)) @ self.query).softmax(1)
        return (weights[..., None] * values).sum(1)


class GatedProduct(nn.Module):
    """A low-rank product of all sources, as in MUTAN (Ben-younes et al. 2017, eq. 7): the sum over ranks of the product over sources of 1 + tanh of a projection.

    The 1, which is ours, keeps products of fewer sources in the sum, so that a source can be passed by.
    """

    RANKS = 3

    def __init__(self, lengths: Mapping[str, int], width: int):
        super().__init__()
        self.sources, self.width = tuple(lengths), width
        self.project = nn.ModuleDict({source: nn.Linear(length, self.RANKS * width) for source, length in lengths.items()})

    def forward(self, features: Features) -> Tensor:
        gates = torch.stack([1 + torch.tanh(self.project[source](features[source])) for source in self.sources])
        return gates.prod(0).unflatten(1, (self.RANKS, self.width)).sum(1)


MERGES: Mapping[str, Callable[[Mapping[str, int], int], nn.Module]] = {
    "concatenation": lambda lengths, width: Concatenation(lengths),
    "weighted sum": WeightedSum,
    "attention": Attention,
    "gated product": GatedProduct,
}


class FusionHead(nn.Module):
    """Features of some networks -> logits of one task: merge, two layers, output (the paper's fig. 6 with one source, fig. 7 with several).

    lengths: {source: length of its feature}. Features are standardised by the mean and deviation of training rows first (`fit`), which is ours [INF]: those of
    different networks are of different scales.
    """

    def __init__(self, lengths: Mapping[str, int], classes: int, merge: str = "concatenation", hidden: Sequence[int] = (256, 128), width: int = 128):
        super().__init__()
        self.lengths, self.merge = dict(lengths), MERGES[merge](lengths, width)
        sizes = (sum(lengths.values()) if isinstance(self.merge, Concatenation) else width, *hidden)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in zip(sizes, hidden, strict=False))
        self.output = nn.Linear(sizes[-1], classes)
        for layer in (*self.layers, self.output):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
            nn.init.zeros_(layer.bias)
        for source, length in lengths.items():
            self.register_buffer(f"mean {source}", torch.zeros(length))
            self.register_buffer(f"scale {source}", torch.ones(length))

    def fit(self, source: str, mean: Tensor, deviation: Tensor) -> None:
        """State what training rows of a source look like [d], [d]; a number that never changes there stays 0."""
        self.get_buffer(f"mean {source}").copy_(mean)
        self.get_buffer(f"scale {source}").copy_(torch.where(deviation > 1e-4, 1 / deviation.clamp_min(1e-4), 0.0))

    def forward(self, features: Features) -> Tensor:
        known = {source: (features[source].float() - self.get_buffer(f"mean {source}")) * self.get_buffer(f"scale {source}") for source in self.lengths}
        x = self.merge(known)
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.output(x).float()


class FusedNetwork(nn.Module):
    """Feature networks and the heads on them as one network: model(crops uint8 [B, S, S, 3]) -> {task name: output}, to be exported, or to be trained end to end.

    networks: {source: its network}; heads: {task name: head}. A task of the kind Embedding gets all features joined, made a vector of unit length.
    """

    def __init__(self, tasks: Sequence[Task], networks: Mapping[str, FeatureNetwork], heads: Mapping[str, FusionHead]):
        super().__init__()
        self.tasks = tuple(tasks)
        self.networks, self.heads = nn.ModuleDict(dict(networks)), nn.ModuleDict(dict(heads))

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        features = self.features(crops)
        return {task.name: self._output(task, features) for task in self.tasks}

    def features(self, crops: Tensor) -> dict[str, Tensor]:
        """{source: [B, d]}: of each network the feature of its own task."""
        return {source: next(iter(network.features(crops).values())) for source, network in self.networks.items()}  # type: ignore[operator]

    def _output(self, task: Task, features: Features) -> Tensor:
        if isinstance(task, Embedding):
            return F.normalize(torch.cat([features[source].float() for source in self.networks], dim=1), dim=-1)
        return self.heads[task.name](features)
