"""The fully convolutional DenseNet of paper B (papers.md, B2 and B3; after Jégou et al. 2016): one set of kernels that all streams share, sets of batch normalisation of
their own, and the places where maps of predictions enter. What these maps show is said in `ifan.py`; no task is known here.

All counts of channels and parameters are those of the tables in B3 [INF].
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from polyface.models.passes import NAMES, Statistics, lent

Upsample = Literal["transposed", "depth_to_space"]


@dataclass(frozen=True)
class Mode:
    """How a run through the shared kernels normalises. batch: by the statistics of this batch, which the set then remembers, and with dropout; else by those remembered.
    recompute: dense blocks keep nothing for the backward pass and run again in it. turn: which pass it is, from 0; each has statistics of its own (`passes.py`)."""

    set: str
    batch: bool = False
    recompute: bool = False
    turn: int = 0


class Top(NamedTuple):
    """What no feedback reaches: the map [N, C, H, W] that the first integrator takes, and the skips above it, fine to coarse."""

    x: Tensor
    skips: tuple[Tensor, ...]


class Features(NamedTuple):
    """What heads read: the whole stack of the bottleneck [N, C, s, s], and that of the last block at the crop's own size, None where no head asked for it."""

    deep: Tensor
    fine: Tensor | None

    def of(self, rows: Tensor | None) -> "Features":
        return self if rows is None else Features(self.deep[rows], None if self.fine is None else self.fine[rows])


class Trunk(nn.Module):
    """Stem, `levels` dense blocks each halved by its mean, the bottleneck, and up again with skips.

    feedback: sides of the maps before whose dense block an `Integrator` stands; encoded: channels of the maps that enter there; passes: how often what lies below runs.
    """

    def __init__(
        self, size: int, stem: int, growth: int, layers: int, levels: int, feedback: Sequence[int], encoded: int, passes: int, upsample: Upsample, dropout: float,
        sets: Sequence[str],
    ):  # fmt: skip
        super().__init__()
        new, self.sides = layers * growth, tuple(size >> level for level in range(levels + 1))
        self.first = min((self.sides.index(side) for side in feedback), default=0)
        """The first level that feedback reaches."""
        widths = [stem + level * new for level in range(levels + 1)]
        self.stem = convolution(3, stem, 7)
        fed = {str(side): width for side, width in zip(self.sides, widths, strict=True) if side in feedback}
        self.integrators = nn.ModuleDict({side: Integrator(width, encoded, sets, passes) for side, width in fed.items()})
        runs = [1 if level < self.first else passes for level in range(levels + 1)]
        self.blocks = nn.ModuleList(DenseBlock(width, growth, layers, dropout, sets, times) for width, times in zip(widths, runs, strict=True))
        self.downs = nn.ModuleList(Down(width + new, dropout, sets, times) for width, times in zip(widths[:-1], runs, strict=False))
        self.ups = nn.ModuleList(Up(new, upsample) for _ in widths[:-1])
        self.up_blocks = nn.ModuleList(DenseBlock(new + width + new, growth, layers, dropout, sets, passes) for width in widths[:-1])
        self.deep_width, self.fine_width = widths[-1] + new, new + stem + new + new

    def top(self, stem: Tensor, mode: Mode) -> Top:
        """From the stem's map, which no statistics touch, to where feedback enters first."""
        x, skips = stem, []
        for level in range(self.first):
            x, skip = self._down(level, x, None, mode)
            skips.append(skip)
        return Top(x, tuple(skips))

    def below(self, top: Top, maps: Tensor | None, mode: Mode, fine: bool) -> Features:
        """The rest, with maps of predictions [N, E, r, r] fed back or, in pass 0, without; the way up only where the fine map is asked for."""
        x, skips = top.x, list(top.skips)
        for level in range(self.first, len(self.downs)):
            x, skip = self._down(level, x, maps, mode)
            skips.append(skip)
        x, new = self._dense(len(self.downs), x, maps, mode)
        deep = torch.cat([x, new], 1)
        if not fine:
            return Features(deep, None)
        for level in reversed(range(len(self.ups))):
            x = torch.cat([self.ups[level](new), skips[level]], 1)
            new = self.up_blocks[level](x, mode)
        return Features(deep, torch.cat([x, new], 1))

    def _down(self, level: int, x: Tensor, maps: Tensor | None, mode: Mode) -> tuple[Tensor, Tensor]:
        skip = torch.cat(self._dense(level, x, maps, mode), 1)
        return self.downs[level](skip, mode), skip

    def _dense(self, level: int, x: Tensor, maps: Tensor | None, mode: Mode) -> tuple[Tensor, Tensor]:
        """The block's input, after the integrator, and its new maps."""
        side = str(self.sides[level])
        if maps is not None and side in self.integrators:
            x = self.integrators[side](x, maps, mode)
        return x, self.blocks[level](x, mode)

    def add_set(self, name: str, like: str) -> None:
        """A set of batch normalisation that starts as a copy of another."""
        for norm in self._norms():
            norm.add(name, like)

    def widen(self, extra: int) -> None:
        """Room for more channels of fed back maps, which change nothing until they are trained."""
        for integrator in self.integrators.values():
            integrator.widen(extra)  # type: ignore[operator]

    def kernels(self) -> list[nn.Parameter]:
        """What all streams share."""
        own = {id(parameter) for norm in self._norms() for parameter in norm.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def set_of(self, name: str) -> list[nn.Parameter]:
        return [parameter for norm in self._norms() for parameter in norm.of(name).parameters()]

    def _norms(self) -> Iterator["Norm"]:
        return (module for module in self.modules() if isinstance(module, Norm))


class DenseBlock(nn.Module):
    """x [N, C, H, W] -> the new maps [N, layers * growth, H, W]; each layer (BN, ReLU, 3x3, dropout) sees x and all maps before its own."""

    def __init__(self, width: int, growth: int, layers: int, dropout: float, sets: Iterable[str], passes: int):
        super().__init__()
        self.dropout = dropout
        widths = [width + layer * growth for layer in range(layers)]
        self.norms = nn.ModuleList(Norm(each, sets, passes) for each in widths)
        self.convolutions = nn.ModuleList(convolution(each, growth, 3) for each in widths)

    def forward(self, x: Tensor, mode: Mode) -> Tensor:
        if mode.recompute and torch.is_grad_enabled():
            return checkpoint(self._new, x, mode, use_reentrant=False, context_fn=_once)  # type: ignore[return-value]
        return self._new(x, mode)

    def _new(self, x: Tensor, mode: Mode) -> Tensor:
        maps = [x]
        for norm, convolve in zip(self.norms, self.convolutions, strict=True):
            seen = torch.cat(maps, 1) if len(maps) > 1 else x
            maps.append(F.dropout(convolve(F.relu(norm(seen, mode), inplace=True)), self.dropout, mode.batch))
        return torch.cat(maps[1:], 1)


class Down(nn.Module):
    """BN, ReLU, 1x1 of the same width, dropout, mean of 2x2."""

    def __init__(self, width: int, dropout: float, sets: Iterable[str], passes: int):
        super().__init__()
        self.dropout = dropout
        self.norm, self.mix = Norm(width, sets, passes), convolution(width, width, 1)

    def forward(self, x: Tensor, mode: Mode) -> Tensor:
        return F.avg_pool2d(F.dropout(self.mix(F.relu(self.norm(x, mode), inplace=True)), self.dropout, mode.batch), 2)


class Up(nn.Module):
    """Twice the side, the same width: a transposed 3x3 convolution of stride 2; or a 1x1 convolution to four times the width, whose maps are dealt out to
    2x2 pixels (Shi et al. 2016)."""

    def __init__(self, width: int, upsample: Upsample):
        super().__init__()
        self.width = width
        self.transposed = upsample == "transposed"
        if self.transposed:
            self.larger: nn.Module = nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1, bias=False)
            nn.init.kaiming_uniform_(self.larger.weight, nonlinearity="relu")  # type: ignore[arg-type]
        else:
            self.larger = convolution(width, 4 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.transposed:
            return self.larger(x)
        dealt = self.larger(x).unflatten(1, (self.width, 2, 2)).permute(0, 1, 4, 2, 5, 3)  # nn.PixelShuffle, which has no backward pass for no rows
        return dealt.flatten(4, 5).flatten(2, 3)


class Integrator(nn.Module):
    """x + W ReLU(BN([x; e])), e the mean of the maps over each pixel of x. W starts at zero, so that at first nothing that is fed back changes anything.

    It runs in all passes but the first.
    """

    def __init__(self, width: int, encoded: int, sets: Iterable[str], passes: int):
        super().__init__()
        self.norm, self.mix = Norm(width + encoded, sets, max(1, passes - 1)), convolution(width + encoded, width, 1)
        nn.init.zeros_(self.mix.weight)

    def forward(self, x: Tensor, maps: Tensor, mode: Mode) -> Tensor:
        encoded = F.avg_pool2d(maps, maps.shape[-1] // x.shape[-1]).to(x.dtype)
        return x + self.mix(F.relu(self.norm(torch.cat([x, encoded], 1), replace(mode, turn=mode.turn - 1)), inplace=True))

    def widen(self, extra: int) -> None:
        self.norm.widen(extra)
        old = self.mix.weight
        self.mix.weight = nn.Parameter(torch.cat([old.detach(), old.new_zeros(len(old), extra, 1, 1)], 1), old.requires_grad)
        self.mix.in_channels += extra


class Norm(nn.Module):
    """Batch normalisation, a set of statistics and of scales and shifts for each name; of each set, statistics for each pass that it runs in."""

    def __init__(self, width: int, sets: Iterable[str], passes: int):
        super().__init__()
        self.width = width
        self.sets = nn.ModuleDict({_key(name): _Set(width) for name in sets})
        self.later = nn.ModuleDict({name: nn.ModuleList(Statistics(width) for _ in range(passes - 1)) for name in self.sets if passes > 1})

    def forward(self, x: Tensor, mode: Mode) -> Tensor:
        one, statistics = self.of(mode.set), self._remembered(mode)
        if mode.batch:
            with lent(one, _copied(statistics) if _again.get() else statistics):
                return one(x)
        mean, var = statistics.running_mean, statistics.running_var
        assert isinstance(mean, Tensor) and isinstance(var, Tensor)
        if self.training and torch.is_grad_enabled():  # the backward pass reads them, and by then another sub-batch may have moved them
            mean, var = mean.clone(), var.clone()
        return F.batch_norm(x, mean, var, one.weight, one.bias, eps=one.eps)

    def of(self, name: str) -> nn.modules.batchnorm._BatchNorm:
        """`parallel.synchronise` puts a class of its own here where several processes train."""
        return self.sets[_key(name)]  # type: ignore[return-value]

    def _remembered(self, mode: Mode) -> nn.Module:
        """The first pass's statistics are the set's own."""
        return self.later[_key(mode.set)][mode.turn - 1] if mode.turn else self.of(mode.set)  # type: ignore[index]

    def add(self, name: str, like: str) -> None:
        self.sets[_key(name)] = copy.deepcopy(self.of(like)).requires_grad_(True)
        if self.later:
            self.later[_key(name)] = copy.deepcopy(self.later[_key(like)])

    def widen(self, extra: int) -> None:
        self.width += extra
        fills = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        for one in (*self.sets.values(), *(each for passes in self.later.values() for each in passes)):  # type: ignore[attr-defined]
            for name in fills.keys() & {*one._parameters, *one._buffers}:
                old = getattr(one, name)
                wider = torch.cat([old.detach(), old.new_full((extra,), fills[name])])
                setattr(one, name, nn.Parameter(wider, old.requires_grad) if isinstance(old, nn.Parameter) else wider)
        for one in self.sets.values():
            one.num_features = self.width  # type: ignore[assignment]


class _Set(nn.BatchNorm2d):
    """By the batch it is given; one value for each channel, or none, has no statistics of its own and takes the running ones."""

    def forward(self, input: Tensor) -> Tensor:
        if input.numel() <= self.num_features:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


_again: ContextVar[bool] = ContextVar("again", default=False)
"""Whether a dense block runs a second time, in the backward pass: its batch has been remembered already."""


def _once() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _running_again()


@contextmanager
def _running_again() -> Iterator[None]:
    token = _again.set(True)
    try:
        yield
    finally:
        _again.reset(token)


def _copied(statistics: nn.Module) -> Statistics:
    """For a second run, which is to leave them as they are: autograd watches the true ones for changes."""
    same = Statistics(0)
    for name in NAMES:
        setattr(same, name, getattr(statistics, name).clone())
    return same


def convolution(width: int, width_out: int, kernel: int) -> nn.Conv2d:
    """Without bias, from He's uniform."""
    layer = nn.Conv2d(width, width_out, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    return layer


def _key(name: str) -> str:
    """torch takes no dots in names of modules, which names of files have."""
    return name.replace(".", "-")
