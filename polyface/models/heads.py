"""From the trunk's maps to each kind's output. A head is chosen by the kind of a task, never by its name."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyface.models.backbones import convolution
from polyface.tasks.kinds import Angles, Category, Embedding, Points, Regions, Scale, Task, Traits

IDENTITY_TOKENS = 4


def is_dense(task: Task) -> bool:
    """Whether a task's head reads the fine map of the neck."""
    return isinstance(task, Points | Regions)


def head_of(task: Task, widths: tuple[int, ...], fine: int, hidden: int) -> nn.Module:
    """The head of a task: dense ones are called with (the stem's map, the fine map), the others with the last two maps of the trunk."""
    last_two = widths[-2:]
    if isinstance(task, Embedding):
        return EmbeddingHead(last_two, task.dimension)
    if isinstance(task, Points):
        return PointsHead(fine, task.count)
    if isinstance(task, Regions):
        return RegionsHead(widths[0], fine, len(task.vocabulary))
    if isinstance(task, Category | Traits | Scale | Angles):
        return VectorHead(last_two, hidden, task.shape(0))
    raise TypeError(f"no head for the kind {type(task).__name__}")


class TokenPool(nn.Module):
    """Learned looks at a map: each token is the mean of the map [B, C, H, W] under its own softmax over positions, -> [B, tokens * C]. Any map size will do."""

    def __init__(self, width: int, tokens: int):
        super().__init__()
        self.look = nn.Conv2d(width, tokens, 1)
        nn.init.normal_(self.look.weight, std=0.01)
        nn.init.constant_(self.look.bias, 0.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return tokens([self], x).flatten(1)


def tokens(pools: Sequence[TokenPool], x: Tensor) -> Tensor:
    """What all looks of some pools see of a map, one after the other [B, tokens, C]."""
    weight, bias = (torch.cat([pool.look.get_parameter(name) for pool in pools]) for name in ("weight", "bias"))
    return F.conv2d(x, weight, bias).flatten(2).float().softmax(-1) @ x.flatten(2).float().transpose(1, 2)


class VectorHead(nn.Module):
    """Two looks at the last map, one at the map before, a hidden layer, logits of any shape."""

    def __init__(self, widths: tuple[int, ...], hidden: int, shape: tuple[int, ...]):
        super().__init__()
        self.shape = shape
        self.middle, self.last = TokenPool(widths[0], 1), TokenPool(widths[1], 2)
        self.hidden = nn.Linear(widths[0] + 2 * widths[1], hidden)
        self.norm, self.dropout = nn.LayerNorm(hidden), nn.Dropout(0.2)
        self.logits = nn.Linear(hidden, int(torch.tensor(shape).prod()))

    def forward(self, middle: Tensor, last: Tensor) -> Tensor:
        return self.answer(torch.cat([self.middle(middle), self.last(last)], dim=1))

    def answer(self, seen: Tensor) -> Tensor:
        """What it says of what its looks see."""
        return self.logits(self.dropout(torch.relu(self.norm(self.hidden(seen))))).float().unflatten(1, self.shape)


def together(heads: Sequence[VectorHead], middle: Tensor, last: Tensor) -> list[Tensor]:
    """What each head says of the same rows. All look at a map at once: of maps so small, each look by itself would mostly be overhead."""
    once = tokens([head.middle for head in heads], middle)
    twice = tokens([head.last for head in heads], last).unflatten(1, (len(heads), -1)).flatten(2)
    seen = torch.cat([once, twice], dim=2).flatten(1).chunk(len(heads), dim=1)
    return [head.answer(each) for head, each in zip(heads, seen, strict=True)]


class EmbeddingHead(nn.Module):
    """Several looks at the last map -> a vector of unit length."""

    def __init__(self, widths: tuple[int, ...], dimension: int):
        super().__init__()
        self.looks = TokenPool(widths[1], IDENTITY_TOKENS)
        self.vector = nn.Linear(IDENTITY_TOKENS * widths[1], dimension, bias=False)
        self.norm = _VectorNorm(dimension, affine=False)

    def forward(self, middle: Tensor, last: Tensor) -> Tensor:
        return F.normalize(self.whole(middle, last), dim=-1)

    def whole(self, middle: Tensor, last: Tensor) -> Tensor:
        """The vector before its length is made 1."""
        return self.norm(self.vector(self.looks(last)).float())


class _VectorNorm(nn.BatchNorm1d):
    """Batch normalisation; a batch of one, which has no statistics of its own, takes the running ones."""

    def forward(self, input: Tensor) -> Tensor:
        alone = self.training and len(input) == 1
        return F.batch_norm(input, self.running_mean, self.running_var) if alone else super().forward(input)


class Neck(nn.Module):
    """A feature pyramid's top-down path (Lin et al. 2017), down to the map at a quarter of the crop's side."""

    def __init__(self, widths: tuple[int, ...], fine: int):
        super().__init__()
        self.across = nn.ModuleList(nn.Conv2d(width, fine, 1) for width in widths[1:])
        self.smooth = nn.Sequential(convolution(fine, fine), nn.BatchNorm2d(fine), nn.ReLU(inplace=True))

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = self.across[-1](maps[-1])
        for across, finer in zip(reversed(self.across[:-1]), reversed(maps[1:-1]), strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest") + across(finer)
        return self.smooth(x)


class PointsHead(nn.Module):
    """A map of each point whose mean position is the point (integral regression, Sun et al. 2018), and its spread. -> [B, P, 3] in crop pixels."""

    stride = 4

    def __init__(self, fine: int, count: int):
        super().__init__()
        self.body = nn.Sequential(convolution(fine, fine), nn.BatchNorm2d(fine), nn.ReLU(inplace=True))
        self.heat = nn.Conv2d(fine, count, 1)
        self.spread = nn.Conv2d(fine, count, 1)

    def forward(self, stem: Tensor, fine: Tensor) -> Tensor:
        x = self.body(fine)
        heat = self.heat(x).flatten(2).float().softmax(-1)
        height, width = fine.shape[-2:]
        across = (torch.arange(width, device=x.device, dtype=torch.float32) + 0.5) * self.stride
        down = (torch.arange(height, device=x.device, dtype=torch.float32) + 0.5) * self.stride
        places = torch.stack([across.repeat(height), down.repeat_interleave(width)], dim=-1)
        spread = (heat * softplus(self.spread(x).flatten(2).float())).sum(-1, keepdim=True) + 0.1
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would put points on a grid of half a pixel
            return torch.cat([heat @ places, spread], dim=-1)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), by what onnxruntime computes many at once: its own Softplus takes five times as long.

    Its sigmoid is exact about 1 only, which is where it is asked; and the difference is no sum, which eight bits would round.
    """
    return x.clamp_min(0) - x.abs().sigmoid().log()


class RegionsHead(nn.Module):
    """Logits at half the crop's side from the fine map and the stem's."""

    def __init__(self, stem: int, fine: int, classes: int):
        super().__init__()
        self.doubled = nn.Sequential(nn.Conv2d(fine, 4 * stem, 1), DepthToSpace())
        self.body = nn.Sequential(convolution(2 * stem, 32), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        self.logits = nn.Conv2d(32, classes, 1)

    def forward(self, stem: Tensor, fine: Tensor) -> Tensor:
        return self.logits(self.body(torch.cat([stem, self.doubled(fine)], dim=1))).float()


class DepthToSpace(nn.Module):
    """Each pixel's channels as 2x2 pixels (Shi et al. 2016), [B, 4 * C, H, W] -> [B, C, 2 * H, 2 * W].

    Channels are in the order row, column, channel: then runs of them are moved whole, which onnxruntime does ten times faster than in the order of torch's PixelShuffle,
    channel, row, column.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows, channels, height, width = x.shape
        runs = x.permute(0, 2, 3, 1).reshape(rows, height, width, 2, 2, channels // 4)
        return runs.permute(0, 1, 3, 2, 4, 5).reshape(rows, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)
