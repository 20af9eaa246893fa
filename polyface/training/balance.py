"""What each task's loss is multiplied by: fixed weights, or weights that follow the losses by a published method. A recipe's `balance` names it.

A method gives the weights of a step and then looks at the losses of that step, over all processes. What it has learned is its state, which checkpoints hold. The
weights of the recipe are where every method begins. Methods that compare the gradients of tasks (TorchJD's) are left out: with eight tasks a step takes seven times as
long, and under bfloat16 they do not run as they come (libraries.md, section 5).
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polyface.training.config import Method


def balance_of(method: Method, weights: Mapping[str, float], epoch: int) -> "Balance":
    """weights: by the name of the loss; a loss that is not named there weighs 1 and is not balanced. epoch: over how many steps a method that needs it takes means."""
    if method == "uncertainty":
        return Uncertainty(weights)
    if method == "dwa":
        return DynamicWeightAverage(weights, epoch)
    return Fixed(weights)


class Fixed(nn.Module):
    """The recipe's weights."""

    def __init__(self, weights: Mapping[str, float]):
        super().__init__()
        self.given = dict(weights)

    def weights(self) -> dict[str, float]:
        return self.given

    def observe(self, means: Mapping[str, float]) -> None:
        """Fixed weights learn nothing."""


REACH = 100.0
"""Uncertainty takes a weight at most so many times up or down: a loss near or below 0, as the logarithm of a density can be, would raise its own without end."""


class Uncertainty(nn.Module):
    """A task's loss L becomes exp(-s) L + s / 2, where s, the logarithm of its variance, is learned with the network (Kendall et al. 2018, eq. 10; all our losses are
    -log P, hence its form for classification). Weights end near 1 / 2L, wherever they begin.
    """

    def __init__(self, weights: Mapping[str, float]):
        super().__init__()
        self.given = dict(weights)
        self.log_variance = nn.Parameter(torch.zeros(len(weights)))

    def weights(self) -> dict[str, float]:
        limit = math.log(REACH)
        factors = (-self.log_variance.detach().double()).clamp(-limit, limit).exp()
        return {name: weight * factor for (name, weight), factor in zip(self.given.items(), factors.tolist(), strict=True)}

    def observe(self, means: Mapping[str, float]) -> None:
        """Sets the gradient that the optimiser is about to follow: that of exp(-s) L + s / 2 where the step had rows, 0 elsewhere."""
        weights = self.weights()
        gradient = torch.tensor([0.5 - weights[name] * means[name] if name in means else 0.0 for name in self.given])
        outward = (self.log_variance.abs() >= math.log(REACH)) & (gradient * self.log_variance < 0)
        self.log_variance.grad = torch.where(outward, 0.0, gradient)


TEMPERATURE = 2.0
"""Liu et al. 2019, section 3.2."""


class DynamicWeightAverage(nn.Module):
    """Tasks whose losses fall slowest weigh most: weight = recipe's * K softmax(r / T), r a task's mean loss of the last epoch over that of the one before
    (Liu et al. 2019, eq. 7). r is 1 where either is unknown or not above 0.
    """

    factors: Tensor
    last: Tensor
    sums: Tensor
    counts: Tensor
    steps: Tensor

    def __init__(self, weights: Mapping[str, float], epoch: int):
        super().__init__()
        self.given, self.epoch = dict(weights), epoch
        nothing = torch.zeros(len(weights), dtype=torch.float64)
        self.register_buffer("factors", nothing + 1)
        self.register_buffer("last", nothing.clone())
        self.register_buffer("sums", nothing.clone())
        self.register_buffer("counts", nothing.clone())
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def weights(self) -> dict[str, float]:
        return {name: weight * factor for (name, weight), factor in zip(self.given.items(), self.factors.tolist(), strict=True)}

    def observe(self, means: Mapping[str, float]) -> None:
        for at, name in enumerate(self.given):
            if name in means:
                self.sums[at] += means[name]
                self.counts[at] += 1
        self.steps += 1
        if self.steps >= self.epoch:
            mean = self.sums / self.counts.clamp_min(1)
            ratio = torch.where((mean > 0) & (self.last > 0), mean / self.last.clamp_min(1e-12), 1.0)
            self.factors.copy_(len(ratio) * torch.softmax(ratio / TEMPERATURE, 0))
            self.last.copy_(mean)
            for each in (self.sums, self.counts, self.steps):
                each.zero_()


Balance = Fixed | Uncertainty | DynamicWeightAverage
