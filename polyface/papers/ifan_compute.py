"""What an answer of paper B's network costs: multiplications, counted; seconds and memory, measured."""

import contextlib
import time
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from polyface import datasets
from polyface.datasets.retold import coarse_tasks, retelling
from polyface.models.ifan import Ifan, IfanConfig
from polyface.papers.ifan_config import DRAWN, IfanRecipe, Pool
from polyface.papers.ifan_rows import Row
from polyface.papers.ifan_runs import Compute, RowResult
from polyface.tasks.kinds import Task

AT_ONCE = 16
"""Faces in a batch whose seconds are measured."""


def compute_of(model: Ifan, peak: float | None) -> Compute:
    return Compute(
        multiplications=multiplications(model, model.config.size),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        seconds_per_face=round(seconds_per_face(model), 6),
        threads=torch.get_num_threads(),
        batch=AT_ONCE,
        peak_memory=peak,
    )


def multiplications(model: nn.Module, size: int) -> int:
    """Of convolutions and matrices, for one crop of size x size, all tasks answered."""
    counted = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        if isinstance(layer, nn.ConvTranspose2d):
            counted += inputs[0].numel() * layer.out_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
        elif isinstance(layer, nn.Conv2d):
            counted += output.numel() * layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
        elif isinstance(layer, nn.Linear):
            counted += output.numel() * layer.in_features

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, size, size, 3, dtype=torch.uint8, device=next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return counted


def training_multiplications(recipe: IfanRecipe, row: Row, result: RowResult) -> int:
    """Of a row's joint stage, forward, its start left out: labelled pictures x passes x streams, by the multiplications of an answer.

    A picture runs once for each label that it has. In every pass but the last all streams run, since their predictions are fed back; in the last the label's own. An
    answer is all streams in all passes. With shared normalisation one run answers all.
    """
    shared, passes = row.network.get("normalisation") == "shared", result.passes
    streams = 1 if shared else len(result.tasks)
    share = (streams * (passes - 1) + 1) / (streams * passes)
    return round(result.steps * result.batch * (1.0 if shared else labels_of(recipe, row)) * result.compute.multiplications * share)


def labels_of(recipe: IfanRecipe, row: Row) -> float:
    """Labels of a training picture that a row learns from, on average over a batch."""
    tasks = tuple(recipe.tasks) if row.tasks is None else row.tasks
    if row.plug == "frozen" or row.world == f"{DRAWN}_hybrid":
        return 1.0
    if row.world.startswith(DRAWN):
        return float(len(tasks))
    pools = {"two_labels": recipe.two_labels, "hundred": recipe.hundred}.get(row.world, recipe.data)
    answered = [(pool.weight, sum(task in tasks for task in _answers(recipe, pool))) for pool in pools]
    return sum(weight * count for weight, count in answered) / sum(weight for weight, count in answered if count)


def _answers(recipe: IfanRecipe, pool: Pool) -> tuple[str, ...]:
    return tuple(retelling(datasets.named(pool.set), coarse_tasks(recipe.tasks), pool.tasks).tell)


def seconds_per_face(model: Ifan, times: int = 3) -> float:
    """The quickest of a few batches: what disturbs only makes it slower."""
    crops = torch.zeros(AT_ONCE, model.config.size, model.config.size, 3, dtype=torch.uint8, device=next(model.parameters()).device)
    took = []
    with torch.inference_mode():
        for _ in range(times):
            began = time.perf_counter()
            _ = [output.cpu() for output in model.eval()(crops).values()]  # waits for a GPU
            took.append(time.perf_counter() - began)
    return min(took) / AT_ONCE


def matched_growth(config: IfanConfig, tasks: tuple[Task, ...], other: IfanConfig) -> IfanConfig:
    """The network widened, growth and stem alike, until it multiplies as often as another: the nearest width."""
    streams = {task.name: task.name for task in tasks}
    wanted = multiplications(Ifan(other, tasks, streams), other.size)
    best, least = config, abs(multiplications(Ifan(config, tasks, streams), config.size) - wanted)
    for growth in range(config.growth + 1, 8 * config.growth):
        wider = msgspec.structs.replace(config, growth=growth, stem=round(config.stem * growth / config.growth))
        distance = abs(multiplications(Ifan(wider, tasks, streams), config.size) - wanted)
        if distance > least:
            break
        best, least = wider, distance
    return best


PEAK = "VmHWM:"


def reset_peak_memory() -> None:
    """So that `peak_memory` is of what comes now; on systems other than Linux nothing happens."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> float | None:
    """Megabytes of this process at most since the last reset; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(PEAK)]
    return round(int(found[0]) / 1024, 1) if found else None
