"""The one training loop. It knows nothing about faces: it runs any Plan.

Around the plan: optimiser, schedule, an exponential mean of the weights, precision, processes, checkpoints, log. A run killed at any moment resumes from its last
checkpoint to the same weights as one that was never interrupted, because a batch and the noise of a step are functions of (seed, step), the noise of the process too.
Several processes compute what one would on the joined batch, to the rounding of sums, but for the noise of dropout, which is each process's own; a run may go on with
another number of them.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from polyface import terminal
from polyface.errors import RequestError, RunError
from polyface.files import write_atomically
from polyface.models.partial import Classifier
from polyface.training import checkpoint, parallel, shards
from polyface.training.balance import Balance, balance_of
from polyface.training.config import Method, Optimiser
from polyface.training.muon import MuonWithAdamW


class Plan(Protocol):
    """What is trained. loss gives, by name, the losses of the rows that are labelled [n]; the loop takes sum / max(n, 1) over all processes and weighs them.

    In several processes (`parallel.py`) each has a plan, whose batches are its share of the rows; loss gives the same names in all of them, validate the same numbers.
    A plan may have a `classifier` (`models/partial.py`) once its model is made: it takes its own steps beside the model's, and its shards lie beside the checkpoints.
    One whose model is many that learn `apart` has the gradients of each of its children clipped by their own norm.
    One with `own_statistics` normalises by the statistics of each process's own rows, which is several times as fast on processors; what is validated
    and kept is the mean of their running statistics.
    One whose run may go on with other settings has a digest of them, but for its length, as `settings`: what was best before is then not compared with what comes.
    """

    steps: int
    seed: int
    optimiser: Optimiser
    weights: Mapping[str, float]
    balance: Method
    validate_every: int
    people: Mapping[str, str]

    def model(self) -> nn.Module: ...
    def batches(self, steps: range) -> Iterator[Any]: ...
    def loss(self, model: nn.Module, batch: Any, device: torch.device) -> dict[str, Tensor]: ...
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]: ...
    def blame(self, batch: Any, name: str, row: int) -> dict[str, object]: ...


Report = Callable[[int, int, str], None]
"""report(steps done, steps in all, a few words)."""

LOG_EVERY = 20


class _Parts(NamedTuple):
    """What a step changes and a checkpoint holds."""

    model: nn.Module
    averaged: AveragedModel
    optimiser: torch.optim.Optimizer
    balance: Balance


def run(plan: Plan, folder: Path, report: Report | None = None) -> nn.Module:
    """Train from the folder's last checkpoint, or from the start; returns the averaged model of the best validation.

    Raises RequestError where the checkpoint is not of this plan or no step would follow, RunError when a loss is not finite, after writing the loss, the data set and the
    picture to FOLDER/nan.json.
    """
    device = parallel.device()
    torch.manual_seed(plan.seed)
    model = plan.model().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(plan.optimiser.ema), use_buffers=True)
    own_statistics = getattr(plan, "own_statistics", False)
    if not own_statistics:
        parallel.synchronise(model)
    balance = balance_of(plan.balance, plan.weights, plan.validate_every)
    parts = _Parts(model, averaged, _optimiser(model, balance, plan.optimiser), balance)
    classifier: Classifier | None = getattr(plan, "classifier", None)
    state = _resume(folder, parts, plan, classifier)
    settings = getattr(plan, "settings", "")
    otherwise = state.step > 0 and state.settings != settings
    started, log = time.monotonic(), _Log(folder / "log.jsonl", state.step)
    if state.step > plan.steps or (otherwise and state.step == plan.steps):
        raise RequestError(f"{folder}: {state.step:,} steps are done, and what is set asks for {plan.steps:,}{' with other settings' if otherwise else ''}; ask for more")
    if otherwise and parallel.rank() == 0:
        terminal.say(f"{folder} goes on with other settings: what was best before is not compared with what comes")
    best, step = None if otherwise else state.best, state.step
    for step, batch in enumerate(plan.batches(range(state.step, plan.steps)), start=state.step + 1):
        weights = balance.weights()
        losses = _step(plan, parts, weights, batch, step - 1, device, folder)
        if classifier is not None:
            classifier.step(rate_factor(step - 1, plan.steps, plan.optimiser.warmup, plan.optimiser.drops))
        if step % LOG_EVERY == 0 or step == plan.steps:
            speed = (step - state.step) / (time.monotonic() - started)
            learned = {} if plan.balance == "fixed" else {"weights": {name: round(weight, 5) for name, weight in weights.items()}}
            log.write(step=step, steps_per_second=round(speed, 3), rate=parts.optimiser.param_groups[-1]["lr"], losses=losses, **learned)
        if report and parallel.rank() == 0:
            report(step, plan.steps, f"loss {losses['total']:.3f}")
        if step % plan.validate_every == 0 or step == plan.steps:
            if not plan.optimiser.ema:  # no mean: the weights as they are
                averaged.update_parameters(model)
            if own_statistics:
                parallel.average_buffers(model)
                parallel.average_buffers(averaged)
            numbers = plan.validate(averaged.module, device)
            log.write(step=step, validation=numbers)
            loss = numbers.get("loss", math.nan)  # what is no number is better than nothing, and any number is better
            better = "loss" not in numbers or best is None or loss <= best
            if better:
                best = None if math.isnan(loss) else loss
            if classifier is not None:
                shards.save(folder / "checkpoints", step, classifier)
            now = checkpoint.State(format=checkpoint.FORMAT, step=step, best=best, people=dict(plan.people), settings=settings)
            for name in ("best", "last") if better else ("last",):
                if parallel.rank() == 0:
                    checkpoint.save(folder / "checkpoints" / name, now, *parts)
            if classifier is not None and parallel.rank() == 0:
                shards.forget_others(folder / "checkpoints", step)
    parallel.wait()  # the best may just be on its way to the disk
    checkpoint.load(folder / "checkpoints" / "best", model, averaged)
    return averaged.module


def mean_losses(plan: Plan, model: nn.Module, batches: Iterable[Any], names: Iterable[str], device: torch.device) -> dict[str, float]:
    """What a plan's `validate` gives: of these losses the mean over the rows of all batches and processes, and their sum by the plan's weights as `loss`."""
    names = list(names)
    sums, counts = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            for name, rows in plan.loss(model, batch, device).items():
                sums[name] += float(rows.sum())
                counts[name] += len(rows)
    everywhere = parallel.summed([*sums.values(), *counts.values()])
    means = {name: total / rows for name, total, rows in zip(names, everywhere, everywhere[len(names) :], strict=False) if rows}
    return means | ({"loss": sum(plan.weights[name] * mean for name, mean in means.items())} if means else {})


NOISE_APART = 10_000_019
"""Between the seeds of one process's dropout and the next one's: more than a run has steps."""


def _step(plan: Plan, parts: _Parts, weights: Mapping[str, float], batch: Any, step: int, device: torch.device, folder: Path) -> dict[str, float]:
    """One step; returns the mean of every loss over all processes."""
    torch.manual_seed(plan.seed * 1_000_003 + step + parallel.rank() * NOISE_APART)
    for group in parts.optimiser.param_groups:
        group["lr"] = group["rate"] * rate_factor(step, plan.steps, plan.optimiser.warmup, plan.optimiser.drops)
    parts.model.train()
    with torch.autocast(device.type, torch.bfloat16, enabled=_has_bfloat16(device)):
        losses = plan.loss(parts.model, batch, device)
    if not losses:  # no row of any process says anything
        return {"total": 0.0}
    sums = torch.stack([rows.sum() for rows in losses.values()])
    known = parallel.summed([*(len(rows) for rows in losses.values()), *sums.tolist()])
    counts, totals = known[: len(losses)], known[len(losses) :]
    if not all(math.isfinite(total) for total in totals):
        _refuse_nan(plan, losses, batch, step, folder)
    own = [weights.get(name, 1.0) * (part / max(count, 1)) for name, part, count in zip(losses, sums, counts, strict=True)]
    parts.optimiser.zero_grad(set_to_none=True)
    torch.stack(own).sum().backward()
    parallel.add_gradients(parts.model.parameters())
    for part in parts.model.children() if getattr(plan, "apart", False) else (parts.model,):
        nn.utils.clip_grad_norm_(part.parameters(), plan.optimiser.clip)
    means = {name: total / max(count, 1) for name, total, count in zip(losses, totals, counts, strict=True)}
    parts.balance.observe({name: mean for (name, mean), count in zip(means.items(), counts, strict=True) if count})
    parts.optimiser.step()
    if plan.optimiser.ema:
        parts.averaged.update_parameters(parts.model)
    total = sum(weights.get(name, 1.0) * mean for name, mean in means.items())
    return {"total": round(total, 5)} | {name: round(mean, 5) for name, mean in means.items()}


def rate_factor(step: int, steps: int, warmup: float, drops: Sequence[float] = ()) -> float:
    """Linear warm-up over a share of the steps, then half a cosine to zero; or a tenth after each of the drops, which are shares of the steps."""
    rise = max(1.0, warmup * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    if drops:
        return 0.1 ** sum(step >= drop * steps for drop in drops)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1)))


def _optimiser(model: nn.Module, balance: Balance, config: Optimiser) -> torch.optim.Optimizer:
    """Muon for the kernels of convolutions, AdamW for all else, or SGD; no decay on norms, biases and what the balance learns."""
    parameters = [*model.parameters(), *balance.parameters()]
    kernels = [parameter for parameter in parameters if _is_kernel(parameter)]
    matrices = [parameter for parameter in parameters if parameter.ndim > 1 and not _is_kernel(parameter)]
    plain = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [
        {"params": kernels, "orthogonal": True, "rate": config.kernel_rate, "weight_decay": config.weight_decay},
        {"params": matrices, "orthogonal": False, "rate": config.rate, "weight_decay": config.weight_decay},
        {"params": plain, "orthogonal": False, "rate": config.rate, "weight_decay": 0.0},
    ]
    if config.algorithm == "sgd":
        groups[0]["rate"] = config.rate
        return torch.optim.SGD([group for group in groups if group["params"]], lr=config.rate, momentum=config.momentum)
    return MuonWithAdamW([group for group in groups if group["params"]], lr=config.rate)


def optimiser_of_matrix(matrix: nn.Parameter, config: Optimiser) -> torch.optim.Optimizer:
    """What `_optimiser` would train a matrix alone with, at the full rate."""
    if config.algorithm == "sgd":
        return torch.optim.SGD([matrix], lr=config.rate, momentum=config.momentum, weight_decay=config.weight_decay)
    return torch.optim.AdamW([matrix], lr=config.rate, weight_decay=config.weight_decay)


def _is_kernel(parameter: Tensor) -> bool:
    """A convolution that looks at more than one place and channel; one of 1 x 1 is a matrix like any other, and one channel's own has no directions to make equal."""
    return parameter.ndim == 4 and parameter.shape[1] > 1 and parameter[0, 0].numel() > 1


def _resume(folder: Path, parts: _Parts, plan: Plan, classifier: Classifier | None) -> checkpoint.State:
    last = folder / "checkpoints" / "last"
    if not last.exists() and not last.with_name("last.old").exists():
        return checkpoint.State(format=checkpoint.FORMAT, step=0, best=None, people=dict(plan.people))
    stated = [{key: value for key, value in group.items() if key != "params"} for group in parts.optimiser.param_groups]
    state = checkpoint.load(last, *parts)
    for group, now in zip(parts.optimiser.param_groups, stated, strict=True):
        group.update(now)  # rates and decay are the recipe's, which may be set anew; the checkpoint has those it began with
    if state.people != dict(plan.people):
        other = ", ".join(name for name in {**state.people, **plan.people} if state.people.get(name) != plan.people.get(name))
        raise RequestError(f"{last}: trained on other people, pictures or labels than are at hand ({other}); start a new run")
    if classifier is not None:
        shards.load(folder / "checkpoints", state.step, classifier)
    return state


def _refuse_nan(plan: Plan, losses: Mapping[str, Tensor], batch: Any, step: int, folder: Path) -> NoReturn:
    for name, rows in losses.items():
        finite = torch.isfinite(rows.detach())
        if not bool(finite.all()):
            row = int((~finite).nonzero()[0])
            found = {"step": step, "loss": name, **plan.blame(batch, name, row)}
            write_atomically(folder / "nan.json", json.dumps(found, indent=1) + "\n")
            raise RunError(f"step {step}: the loss of {name} is not finite, first at {found.get('key')}; see {folder / 'nan.json'}")
    raise RunError(f"step {step}: a loss is not finite in another process; see {folder / 'nan.json'}")


def _has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster here and not merely emulated."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) if torch.backends.mkldnn.is_available() else False


class _Log:
    """FOLDER/log.jsonl, one object a line, written by the first process; lines beyond the checkpoint that a run resumes from are dropped first."""

    def __init__(self, path: Path, step: int):
        self.path, self.writes = path, parallel.rank() == 0
        if self.writes:
            kept = [line for line in path.read_text().splitlines() if _step_of(line) <= step] if path.exists() else []
            write_atomically(path, "".join(line + "\n" for line in kept))

    def write(self, **entry: object) -> None:
        if self.writes:
            with open(self.path, "a") as file:
                file.write(json.dumps(entry) + "\n")


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf  # cut short when the run was killed
