"""Several processes that train one network: each computes its share of the rows of every batch, and all take the same step.

`torchrun --nproc-per-node N -m polyface train ...` starts them. Gradients are added up by hand, not by DistributedDataParallel: the centres of people are used outside
the network's forward, which is all that DDP watches for parameters without a gradient, and those change from step to step. A gradient that no process has stays None, so
that the optimiser leaves its parameter alone. DDP's mean over processes would have to be undone besides: the loss of a task is a sum divided by the rows that all
processes have for it. What DDP hides, sending while the backward pass goes on, is little with networks of this size.

Everything here also works in a run of one process, which is the sum of itself.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@contextmanager
def joined() -> Iterator[None]:
    """As one of the processes that torchrun started, if it did: gloo on processors, NCCL on GPUs, one for each process of a machine."""
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield
        return
    where = device()
    if where.type == "cuda":
        torch.cuda.set_device(where)
    dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Which process this is; the one numbered 0 writes."""
    return dist.get_rank() if _several() else 0


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _several() else 1


def beside() -> int:
    """How many of them share this machine's processors."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if _several() else 1


def device() -> torch.device:
    """Where this process computes."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else torch.device("cpu")


def wait() -> None:
    """Until every process is here."""
    if _several():
        dist.barrier()


def summed(numbers: Sequence[float]) -> list[float]:
    """Each number added up over all processes, the same bits in each of them. All processes must ask, with equally many numbers."""
    if not _several():
        return list(numbers)
    total = torch.tensor(numbers, dtype=torch.float64, device=device())
    dist.all_reduce(total)
    return total.tolist()


def add_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Each gradient becomes its sum over all processes; one that no process has stays None."""
    if not _several():
        return
    parameters = list(parameters)
    own = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    present = own[0].new_tensor([each.grad is not None for each in parameters])
    total = torch.cat([*(gradient.flatten() for gradient in own), present])
    dist.all_reduce(total)
    *sums, present = total.split([*(gradient.numel() for gradient in own), len(own)])
    for parameter, gradient, flat, somewhere in zip(parameters, own, sums, present.tolist(), strict=True):
        if somewhere:
            parameter.grad = gradient.copy_(flat.view(gradient.shape))


def average_buffers(module: nn.Module) -> None:
    """Each buffer of floats, such as running statistics that every process had of its own rows, becomes its mean over all processes."""
    if not _several():
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= count()


def synchronise(module: nn.Module) -> None:
    """Every batch normalisation inside a module takes its statistics from the rows of all processes; parameters, buffers and their order stay."""
    if not _several():
        return
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(module, name, SyncBatchNorm.of(child))
        else:
            synchronise(child)


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the rows of all processes, on any device: torch's own SyncBatchNorm has no code for processors.

    A process may have no rows, if only it takes part in the forward and the backward pass. One value for each channel in all processes together has no statistics of its
    own and takes the running ones, as `models/heads.py` does.
    """

    @classmethod
    def of(cls, plain: nn.modules.batchnorm._BatchNorm) -> "SyncBatchNorm":
        same = cls(plain.num_features, plain.eps, plain.momentum, plain.affine)
        same.weight, same.bias = plain.weight, plain.bias
        same.running_mean, same.running_var, same.num_batches_tracked = plain.running_mean, plain.running_var, plain.num_batches_tracked
        return same.train(plain.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any map [B, C, ...] will do."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None and self.momentum is not None
        mean, var, total = _statistics(input)
        alone = total <= 1
        # no .item() here: a GPU would be waited for at every layer
        with torch.no_grad():
            momentum = torch.where(alone, 0.0, self.momentum)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(var * total / (total - 1).clamp_min(1), momentum)
            self.num_batches_tracked.add_(~alone)
            mean, var = torch.where(alone, self.running_mean, mean), torch.where(alone, self.running_var, var)
        share = torch.where(alone, 0.0, 1 / total.clamp_min(1))
        return _Normalise.apply(input, self.weight, self.bias, mean, var, share, self.eps)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [C], variance [C] and number of values for each channel, over all processes.

    From each one's own mean and squared distances to it (Chan et al. 1979): a mean of squares less the square of the mean would lose what float32 has.
    """
    values, over = x.detach().float(), _all_but_channels(x)
    number = x.numel() // x.shape[1]
    mean = values.sum(over) / max(number, 1)
    squares = (values - _per_channel(mean, x)).square().sum(over)
    own = torch.cat([mean, squares, mean.new_tensor([number])])
    every = [torch.empty_like(own) for _ in range(count())]
    dist.all_gather(every, own)
    means, distances, numbers = torch.stack(every).split([len(mean), len(mean), 1], dim=1)
    total = numbers.sum()
    mean = (numbers * means).sum(0) / total.clamp_min(1)
    var = (distances + numbers * (means - mean).square()).sum(0) / total.clamp_min(1)
    return mean, var, total


class _Normalise(torch.autograd.Function):
    """(x - mean) / deviation * weight + bias, where mean and variance come from the x of all processes, of which each value is one share.

    The gradients of weight and bias are this process's own, to be added up with all others.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, share: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, weight, mean, (var + eps).rsqrt(), share)
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, share = ctx.saved_tensors
        gradient, over = gradients[0].float(), _all_but_channels(x)
        normal = (x.float() - _per_channel(mean, x)) * _per_channel(scale, x)
        own = torch.stack([gradient.sum(over), (gradient * normal).sum(over)])
        everywhere = own.clone()
        dist.all_reduce(everywhere)
        through_mean, through_deviation = (_per_channel(each, x) for each in share * everywhere)
        steepness = _per_channel(scale if weight is None else scale * weight, x)
        towards_x = steepness * (gradient - through_mean - normal * through_deviation)
        towards_weight, towards_bias = (None, None) if weight is None else (own[1], own[0])
        return towards_x.to(x.dtype), towards_weight, towards_bias, None, None, None, None


def _all_but_channels(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """[C] -> [1, C, 1, ...], to go with x."""
    return values.view(1, -1, *[1] * (x.ndim - 2))


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()
