"""What several processes compute between them; all of them must ask, in the same order. A run of one process is its own and only shard."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def place() -> tuple[int, int]:
    """Which process this is, and of how many."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def bounds(people: int, rank: int, processes: int) -> tuple[int, int]:
    """The people first to last, the last excluded, of one process's shard: the first shards hold one more where people do not divide."""
    share, more = divmod(people, processes)
    first = share * rank + min(rank, more)
    return first, first + share + (rank < more)


def counted(rows: Tensor) -> list[int]:
    """How many rows each process has."""
    rank, processes = place()
    counts = torch.zeros(processes, dtype=torch.int64, device=rows.device)
    counts[rank] = len(rows)
    if processes > 1:
        dist.all_reduce(counts)
    return counts.tolist()


def gathered(rows: Tensor) -> Tensor:
    """The rows [B, ...] of all processes, in the order of the processes, each of which may have any number. The gradient is the sum over processes."""
    return _Gathered.apply(rows) if place()[1] > 1 else rows


def shared_cross_entropy(logits: Tensor, column: Tensor) -> Tensor:
    """Cross-entropy over the columns of all processes, which gather no logits. logits [B, n]: the same rows, each process its columns; column int64 [B]: the right one,
    -1 where another process has it -> [B], the same in all. Each process may use some of the rows only: the gradient is that of the sum over processes.
    """
    return _SharedCrossEntropy.apply(logits, column)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        counts, (rank, _) = counted(rows), place()
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows
        every = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(every, padded)
        start = sum(counts[:rank])
        ctx.own = slice(start, start + len(rows))
        return torch.cat([each[:count] for each, count in zip(every, counts, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])[ctx.own]


class _SharedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, column: Tensor) -> Tensor:
        top = logits.amax(1) if logits.shape[1] else logits.new_full((len(logits),), -torch.inf)
        if place()[1] > 1:
            dist.all_reduce(top, dist.ReduceOp.MAX)
        here = (column >= 0).nonzero()[:, 0]
        own = logits.new_zeros(len(logits))
        own[here] = logits[here, column[here]] - top[here]
        raised = (logits - top[:, None]).exp_()
        total, own = _summed(torch.stack([raised.sum(1), own]))
        ctx.save_for_backward(raised.div_(total[:, None]), here, column)
        return total.log() - own

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        shares, here, column = ctx.saved_tensors
        gradient = _summed(gradients[0])
        towards = shares * gradient[:, None]
        towards[here, column[here]] -= gradient[here]
        return towards, None


def _summed(values: Tensor) -> Tensor:
    """Over all processes."""
    total = values.clone(memory_format=torch.contiguous_format)
    if place()[1] > 1:
        dist.all_reduce(total)
    return total
