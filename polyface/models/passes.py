"""Layers that run in several passes of one network remember the mean and variance of each pass apart; weights, scales and shifts are the same in all of them.

What a layer sees differs from pass to pass: one memory of all of them would be right for none, and the first pass worse than in a network without further ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

NAMES = ("running_mean", "running_var", "num_batches_tracked")


class Statistics(nn.Module):
    """What batch normalisation of so many channels remembers of one pass."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.register_buffer("num_batches_tracked", torch.tensor(0))


@contextmanager
def lent(norm: _BatchNorm, statistics: nn.Module) -> Iterator[None]:
    """Within it batch normalisation of any class normalises by these statistics, or remembers what it sees in them, as if they were its own."""
    own = {name: getattr(norm, name) for name in NAMES}
    for name in NAMES:
        setattr(norm, name, getattr(statistics, name))
    try:
        yield
    finally:
        for name, buffer in own.items():
            setattr(norm, name, buffer)
