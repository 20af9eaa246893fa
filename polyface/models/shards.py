"""Rows that several processes have between them. In a run of one process they are its own."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def gathered(rows: Tensor) -> Tensor:
    """The rows [B, ...] of all processes, in the order of the processes, each of which asks and may have any number. The gradient is the sum over processes."""
    return _Gathered.apply(rows) if _several() else rows


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        counts = torch.zeros(dist.get_world_size(), dtype=torch.int64, device=rows.device)
        counts[dist.get_rank()] = len(rows)
        dist.all_reduce(counts)
        numbers = counts.tolist()
        padded = rows.new_zeros((max(numbers), *rows.shape[1:]))
        padded[: len(rows)] = rows
        every = [torch.empty_like(padded) for _ in numbers]
        dist.all_gather(every, padded)
        start = sum(numbers[: dist.get_rank()])
        ctx.own = slice(start, start + len(rows))
        return torch.cat([each[:number] for each, number in zip(every, numbers, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total[ctx.own]


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()
