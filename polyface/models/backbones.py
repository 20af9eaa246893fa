"""Trunks: crops in, maps of several scales out. Plain 3x3 convolutions, which are what two cores train and run fastest (libraries.md, section 2)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions with batch normalisation around a shortcut (He et al. 2016); stride 2 halves the map by the first."""

    def __init__(self, width_in: int, width_out: int, stride: int = 1):
        super().__init__()
        self.first, self.norm1 = convolution(width_in, width_out, stride), nn.BatchNorm2d(width_out)
        self.second, self.norm2 = convolution(width_out, width_out), nn.BatchNorm2d(width_out)
        nn.init.zeros_(self.norm2.weight)
        same = stride == 1 and width_in == width_out
        shrink = nn.AvgPool2d(2) if stride == 2 else nn.Identity()
        self.shortcut = nn.Identity() if same else nn.Sequential(shrink, nn.Conv2d(width_in, width_out, 1, bias=False), nn.BatchNorm2d(width_out))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.first(x)))
        return torch.relu(self.norm2(self.second(y)) + self.shortcut(x))


class ResidualTrunk(nn.Module):
    """A stem at half the crop's side, then one stage for each width, each halving the map. forward [B, 3, S, S] -> the stem's map and every stage's."""

    def __init__(self, stem: int, widths: Sequence[int], blocks: Sequence[int]):
        super().__init__()
        self.widths = (stem, *widths)
        self.stem = nn.Sequential(convolution(3, stem, stride=2), nn.BatchNorm2d(stem), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList()
        for width_in, width, depth in zip(self.widths, widths, blocks, strict=False):
            self.stages.append(nn.Sequential(Residual(width_in, width, stride=2), *(Residual(width, width) for _ in range(depth - 1))))

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.after([self.stem(x)], lambda place, x: x)

    def after(self, maps: Sequence[Tensor], enter: Callable[[int, Tensor], Tensor]) -> list[Tensor]:
        """The maps given, and those of the further stages, each as `enter` gives it on: enter(place in the list, map)."""
        maps = list(maps)
        for stage in self.stages[len(maps) - 1 :]:
            maps.append(enter(len(maps), stage(maps[-1])))
        return maps


def convolution(width_in: int, width_out: int, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(width_in, width_out, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def pixels_of(crops: Tensor, channels_last: bool = False) -> Tensor:
    """uint8 [B, S, S, 3] -> what a trunk reads, float [B, 3, S, S], about -2 to 2; channels_last: laid out as training is quickest."""
    pixels = (crops.permute(0, 3, 1, 2).float() - 127.5) / 64.0
    return pixels.contiguous(memory_format=torch.channels_last) if channels_last else pixels
