"""Muon: momentum whose every direction is made equally long (Jordan et al. 2024, kellerjordan.github.io/posts/muon), for the kernels of convolutions.

`torch.optim.Muon` takes matrices only; here a kernel [out, in, h, w] is the matrix [out, in * h * w]. All other parameters go on with AdamW, in one optimiser, so that
a checkpoint holds one state. In the first thousands of steps, which are all that two cores have, a picture teaches several times as much as with AdamW alone (LOG.md).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.9
QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration that brings all singular values near 1, by Jordan et al."""
ITERATIONS = 5


class MuonWithAdamW(torch.optim.AdamW):
    """Groups with `orthogonal = True` are updated by Muon, the others by AdamW."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["orthogonal"]]
        super().step(closure)
        self.param_groups = groups
        for group in groups:
            if group["orthogonal"]:
                _update(group, self.state)


def _update(group: dict[str, Any], state: Any) -> None:
    for parameter in group["params"]:
        if parameter.grad is None:
            continue
        if not state[parameter]:  # AdamW, whose state_dict this is, asks every state for its step
            state[parameter] |= {"step": torch.tensor(0.0), "momentum": torch.zeros_like(parameter)}
        state[parameter]["step"] += 1
        momentum = state[parameter]["momentum"].mul_(MOMENTUM).add_(parameter.grad)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(orthogonal(parameter.grad + MOMENTUM * momentum), alpha=-group["lr"])


def orthogonal(kernel: Tensor) -> Tensor:
    """The nearest to a kernel [out, ...] whose singular values, as a matrix of `out` rows, are all about 1: UV' of its USV', by Newton-Schulz iterations in bfloat16."""
    a, b, c = QUINTIC
    matrix = kernel.flatten(1).bfloat16()
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).to(kernel.dtype).reshape(kernel.shape)
