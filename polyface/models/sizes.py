"""How large a network is, and which of some is as large as another."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TypeVar

from torch import nn

Config = TypeVar("Config")


def parameters_of(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def closest(configs: Iterable[Config], cost: Callable[[Config], int], wanted: int) -> Config:
    """Of configs that cost more and more, without end, the one whose cost is nearest to what is wanted: the next is farther off."""
    off = ((abs(cost(config) - wanted), config) for config in configs)
    return next(config for (here, config), (there, _) in pairwise(off) if there > here)
