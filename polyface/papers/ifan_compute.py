"""What an answer of paper B's network costs: multiplications, counted; seconds and memory, measured."""

import contextlib
import itertools
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from polyface import datasets
from polyface.datasets.retold import coarse_tasks, retelling
from polyface.models.ifan import Ifan, IfanConfig
from polyface.models.sizes import closest, parameters_of
from polyface.papers.ifan_config import DRAWN, IfanRecipe, Pool
from polyface.papers.ifan_rows import Row, network_of
from polyface.papers.ifan_runs import Compute, RowResult
from polyface.tasks.kinds import Task

AT_ONCE = 16
"""Faces in a batch whose seconds are measured."""


def compute_of(model: Ifan, peak: float | None) -> Compute:
    return Compute(
        multiplications=multiplications(model, model.config.size),
        parameters=parameters_of(model),
        seconds_per_face=round(seconds_per_face(model), 6),
        threads=torch.get_num_threads(),
        batch=AT_ONCE,
        peak_memory=peak,
    )


def multiplications(model: nn.Module, size: int) -> int:
    """For one crop of size x size, all tasks answered."""
    return counted(model, model, size)


def counted(model: nn.Module, run: Callable[[Tensor], object], size: int) -> int:
    """Multiplications of convolutions and matrices of a model while something is run on one crop of size x size."""
    times = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal times
        if isinstance(layer, nn.ConvTranspose2d):
            times += inputs[0].numel() * layer.out_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
        elif isinstance(layer, nn.Conv2d):
            times += output.numel() * layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
        elif isinstance(layer, nn.Linear):
            times += output.numel() * layer.in_features

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    try:
        with torch.inference_mode():
            model.eval()
            run(torch.zeros(1, size, size, 3, dtype=torch.uint8, device=next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return times


def training_multiplications(recipe: IfanRecipe, row: Row, result: RowResult) -> int:
    """Of a row's joint stage, forward, its start left out: labelled pictures x passes x streams, all counted on the network itself.

    A picture runs once for each label that it has (with shared normalisation once for all): the label's own stream in every pass, the other tasks' in every pass but the
    last, since what they say is fed back.
    """
    config = network_of(recipe, row)
    config = widened(config, int(result.settings.get("growth", config.growth)))
    plugged = {recipe.plug.name: recipe.plug.task} if recipe.plug else {}
    tasks = tuple(each.task for each in coarse_tasks({**recipe.tasks, **plugged}) if each.task.name in result.tasks)
    runs, shares = _runs(config, tasks), labels_of(recipe, row)
    each = runs[ALL] if config.normalisation == "shared" else sum(share * runs[name] for name, share in shares.items())
    return round(result.steps * result.batch * each)


ALL = ""


@lru_cache
def _runs(config: IfanConfig, tasks: tuple[Task, ...]) -> dict[str, int]:
    """{task: multiplications of a training picture that is labelled for it}; ALL: of one that all tasks are answered for in one run. A set for each data set changes
    nothing about these."""
    model = Ifan(config, tasks, {task.name: task.name for task in tasks})
    if config.normalisation == "shared":
        return {ALL: counted(model, lambda crops: model.together(crops, {task.name: torch.zeros(1, dtype=torch.int64) for task in tasks}), config.size)}
    return {task.name: counted(model, lambda crops, name=task.name: model.passes(crops, name), config.size) for task in tasks}  # type: ignore[misc]


def labels_of(recipe: IfanRecipe, row: Row) -> dict[str, float]:
    """{task: the share of a row's training pictures that are labelled for it}; more than 1 in all where pictures have several labels."""
    tasks, plug = tuple(recipe.tasks) if row.tasks is None else row.tasks, recipe.plug.name if recipe.plug else ""
    if row.plug == "frozen":
        return {plug: 1.0}
    if row.world.startswith(DRAWN):
        return dict.fromkeys(tasks, 1 / len(tasks) if row.world == f"{DRAWN}_hybrid" else 1.0)
    pools = {"two_labels": recipe.two_labels, "hundred": recipe.hundred}.get(row.world, recipe.data)
    told = [(pool.weight, [task for task in _answers(recipe, pool) if task in tasks]) for pool in pools]
    whole = sum(weight for weight, names in told if names)
    shares = {task: sum(weight for weight, names in told if task in names) / whole for task in tasks}
    if row.plug != "joint":
        return shares
    old = len(tasks) / (len(tasks) + 1)  # the new task has as many rows as an old one on average
    return {**{task: share * old for task, share in shares.items()}, plug: 1 - old}


def _answers(recipe: IfanRecipe, pool: Pool) -> tuple[str, ...]:
    return tuple(retelling(datasets.named(pool.set), coarse_tasks(recipe.tasks), pool.tasks).tell)


def seconds_per_face(model: Ifan) -> float:
    """The quickest of a few batches: what disturbs only makes it slower."""
    crops = torch.zeros(AT_ONCE, model.config.size, model.config.size, 3, dtype=torch.uint8, device=next(model.parameters()).device)
    took = []
    with torch.inference_mode():
        for _ in range(3):
            began = time.perf_counter()
            _ = [output.cpu() for output in model.eval()(crops).values()]  # waits for a GPU
            took.append(time.perf_counter() - began)
    return min(took) / AT_ONCE


def matched_growth(config: IfanConfig, tasks: tuple[Task, ...], other: IfanConfig) -> IfanConfig:
    """The network widened until it multiplies as often as another: the nearest width."""

    def cost(each: IfanConfig) -> int:
        return multiplications(Ifan(each, tasks, {task.name: task.name for task in tasks}), each.size)

    return closest((widened(config, growth) for growth in itertools.count(config.growth)), cost, cost(other))


def widened(config: IfanConfig, growth: int) -> IfanConfig:
    """Growth and stem alike."""
    return msgspec.structs.replace(config, growth=growth, stem=round(config.stem * growth / config.growth))


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
