"""The networks of Wang et al. 2017 (papers.md, section C): one trunk that learns who it is and what they look like, and MOON, which learns looks alone.

The attribute branch leaves the trunk at one of four levels; without an embedding the network is MOON's, without traits it knows who it is alone. The paper's trunk,
branch level and widths were not found: what is here is a reconstruction (papers.md, C2) [INF].
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyface.models.backbones import ResidualTrunk, convolution
from polyface.models.heads import EmbeddingHead, TokenPool
from polyface.models.margins import COSFACE, Identity, People
from polyface.strict import Count
from polyface.tasks.kinds import Embedding, Task, Traits

Level = Literal["early", "mid", "late", "embedding"]
LEVELS: tuple[Level, ...] = ("early", "mid", "late", "embedding")
"""Where the attribute branch leaves: after the second map of the trunk, the third, the last, or the embedding."""


class JointConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """trunk: `residual`, the project's, whose first map is the stem's; or `face-resnet`, of the paper's time, without a stem. widths, blocks: of the other maps."""

    trunk: Literal["residual", "face-resnet"] = "residual"
    stem: Count = 24
    widths: tuple[Count, ...] = (64, 128, 256)
    blocks: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] = (1, 2, 1)
    level: Level = "late"
    hidden: Count = 256
    """Width of the branch's own layer."""

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.blocks):
            raise ValueError(f"widths and blocks name each stage: found {len(self.widths)} and {len(self.blocks)}")
        if len(self.maps) < 4:
            raise ValueError(f"levels are after the second, third and last of four maps at least; this trunk has {len(self.maps)}")

    @property
    def maps(self) -> tuple[int, ...]:
        """Channels of the trunk's maps."""
        return (self.stem, *self.widths) if self.trunk == "residual" else self.widths

    @property
    def stride(self) -> int:
        """What the side of a crop is a multiple of: every map halves the one before, and the residual trunk's shortcut leaves no pixel over."""
        return 2 ** len(self.maps) if self.trunk == "residual" else 1


def fast(config: JointConfig) -> JointConfig:
    """The fast variant: half of every width, the branch at the embedding [INF: the paper's own is not known]."""
    halved = {"stem": max(1, config.stem // 2), "widths": tuple(max(1, width // 2) for width in config.widths), "hidden": max(1, config.hidden // 2)}
    return msgspec.structs.replace(config, level="embedding", **halved)


class Joint(nn.Module):
    """model(crops uint8 [B, S, S, 3]) -> {task name: output}, of an embedding, of traits, or of both; people: {space: how many}, whose centres are not exported.

    While it learns, the embedding still has its length, which some losses look at.
    """

    def __init__(self, config: JointConfig, tasks: Sequence[Task], people: Mapping[str, int], identity: Identity = COSFACE):
        super().__init__()
        self.config, self.tasks = config, tuple(tasks)
        self.trunk = ResidualTrunk(config.stem, config.widths, config.blocks) if config.trunk == "residual" else FaceResNet(config.widths, config.blocks)
        self.heads = nn.ModuleDict({task.name: self._head(task) for task in self.tasks})
        self.embedding = next((task for task in self.tasks if isinstance(task, Embedding)), None)
        dimension = self.embedding.dimension if self.embedding else 0
        self.people = People(dict(people) if dimension else {}, dimension, identity if dimension else COSFACE)
        if config.level == "embedding" and self.embedding is None:
            raise ValueError("a branch at the embedding needs an embedding")

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        pixels = standardised(crops)
        maps = self.trunk(pixels.contiguous(memory_format=torch.channels_last) if self.training else pixels)
        found, vector = {}, None
        if self.embedding is not None:
            head = self.heads[self.embedding.name]
            assert isinstance(head, EmbeddingHead)
            vector = head.whole(maps[-2], maps[-1])
            found[self.embedding.name] = vector if self.training else F.normalize(vector, dim=-1)
        for task in self.tasks:
            if not isinstance(task, Embedding):
                at_embedding = self.config.level == "embedding" and vector is not None
                found[task.name] = self.heads[task.name](F.normalize(vector, dim=-1) if at_embedding else maps[self._map])  # type: ignore[arg-type]
        return {task.name: found[task.name] for task in self.tasks}

    @property
    def _map(self) -> int:
        return {"early": 1, "mid": 2, "late": -1}[self.config.level]

    def _head(self, task: Task) -> nn.Module:
        if isinstance(task, Embedding):
            return EmbeddingHead(self.config.maps[-2:], task.dimension)
        if isinstance(task, Traits):
            classes = len(task.vocabulary)
            if self.config.level == "embedding":
                dimension = next((other.dimension for other in self.tasks if isinstance(other, Embedding)), 1)
                return VectorBranch(dimension, self.config.hidden, classes)
            return MapBranch(self.config.maps[self._map], self.config.hidden, classes)
        raise TypeError(f"no head for the kind {type(task).__name__}")


def standardised(crops: Tensor) -> Tensor:
    """uint8 [B, S, S, 3] -> float [B, 3, S, S], each crop of mean 0 and deviation 1 (one that is nearly of one colour, of less): a small network otherwise tells people
    apart by their light (LOG.md)."""
    pixels = crops.permute(0, 3, 1, 2).float()
    pixels = pixels - pixels.mean((1, 2, 3), keepdim=True)
    return pixels / pixels.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(8.0)


class MapBranch(nn.Module):
    """Two looks at a map, a layer of its own, an output for each attribute. [B, C, h, w] -> [B, A]."""

    def __init__(self, width: int, hidden: int, classes: int):
        super().__init__()
        self.looks = TokenPool(width, 2)
        self.layer, self.norm, self.output = nn.Linear(2 * width, hidden), nn.LayerNorm(hidden), nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(torch.relu(self.norm(self.layer(self.looks(x))))).float()


class VectorBranch(nn.Module):
    """The same on an embedding of unit length, whose numbers are brought to a deviation of about 1 first."""

    def __init__(self, dimension: int, hidden: int, classes: int):
        super().__init__()
        self.scale = math.sqrt(dimension)
        self.layer, self.norm, self.output = nn.Linear(dimension, hidden), nn.LayerNorm(hidden), nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(torch.relu(self.norm(self.layer(self.scale * x)))).float()


class FaceResNet(nn.Module):
    """A residual network as face recognition had them in 2017 (SphereFace's 20 layers, Liu et al. 2017, table 2 [MEM]): each stage is a convolution of stride 2 and some
    pairs of 3x3 convolutions with a plain shortcut, PReLU throughout; batch normalisation is ours. forward [B, 3, S, S] -> the maps of all stages."""

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]):
        super().__init__()
        self.widths = tuple(widths)
        self.stages = nn.ModuleList(
            nn.Sequential(_layer(before, width, stride=2), *(_Pair(width) for _ in range(pairs)))
            for before, width, pairs in zip((3, *widths), widths, blocks, strict=False)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class _Pair(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.both = nn.Sequential(_layer(width, width), _layer(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.both(x)


def _layer(before: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(convolution(before, width, stride), nn.BatchNorm2d(width), nn.PReLU(width))


# MOON's loss (Rudd et al. 2016; papers.md, C4)


def domain_weights(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(p(+1), p(-1), flagged), each [A]: weights that make rates S+ of training labels count as rates T+ of the target; source, target [A]: S+ and T+.

    An attribute that everybody or nobody has in training cannot be re-weighed: both weights are 1, and it is flagged. So is one whose rate is not known (NaN).
    """
    yes, wanted = np.asarray(source, np.float64), np.asarray(target, np.float64)
    flagged = ~((yes > 0) & (yes < 1)) | np.isnan(wanted)
    safe = np.where(flagged, 0.5, yes)
    positive = np.where(wanted > safe, 1.0, (1 - safe) * wanted / (safe * np.maximum(1 - wanted, 1e-12)))
    negative = np.where(1 - wanted > 1 - safe, 1.0, safe * (1 - wanted) / ((1 - safe) * np.maximum(wanted, 1e-12)))
    return np.where(flagged, 1.0, positive), np.where(flagged, 1.0, negative), flagged


def moon(outputs: Tensor, shares: Tensor, positive: Tensor, negative: Tensor, squared: bool) -> Tensor:
    """The mixed objective of each row, [B]: the mean over all A attributes of weight times squared error of +-1, or logistic loss; an unknown entry gives 0.

    outputs [B, A]; shares float [B, A]: 1 yes, 0 no, between them a share of yes, below 0 unknown; positive, negative [A].
    """
    known, z = shares >= 0, outputs.float()
    yes = torch.where(known, shares.float(), 0.5)  # NaN times 0 is NaN
    each = (z - (2 * yes - 1)).square() if squared else F.binary_cross_entropy_with_logits(z, yes, reduction="none")
    return torch.where(known, (yes * positive + (1 - yes) * negative) * each, 0.0).mean(-1)
