"""The one training loop. It knows nothing about faces: it runs any Plan.

Around the plan: optimiser, schedule, an exponential mean of the weights, precision, checkpoints, log. A run killed at any moment resumes from its last checkpoint to the
same weights as one that was never interrupted, because a batch and the noise of a step are functions of (seed, step).
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from polyface.errors import RunError
from polyface.files import write_atomically
from polyface.training import checkpoint
from polyface.training.config import Optimiser


class Plan(Protocol):
    """What is trained. loss gives, by name, the losses of the rows that are labelled [n]; the loop takes sum / max(n, 1) and weighs them."""

    steps: int
    seed: int
    optimiser: Optimiser
    weights: Mapping[str, float]
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


def run(plan: Plan, folder: Path, report: Report | None = None) -> nn.Module:
    """Train from the folder's last checkpoint, or from the start; returns the averaged model of the best validation.

    Raises RunError when a loss is not finite, after writing the loss, the data set and the picture to FOLDER/nan.json.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(plan.seed)
    model = plan.model().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(plan.optimiser.ema), use_buffers=True)
    optimiser = _optimiser(model, plan.optimiser)
    state = _resume(folder, model, averaged, optimiser, plan)
    started, log = time.monotonic(), _Log(folder / "log.jsonl", state.step)
    best, step = state.best, state.step
    for step, batch in enumerate(plan.batches(range(state.step, plan.steps)), start=state.step + 1):
        losses = _step(plan, model, averaged, optimiser, batch, step - 1, device, folder)
        if step % LOG_EVERY == 0 or step == plan.steps:
            speed = (step - state.step) / (time.monotonic() - started)
            log.write(step=step, steps_per_second=round(speed, 3), rate=optimiser.param_groups[0]["lr"], losses=losses)
        if report:
            report(step, plan.steps, f"loss {losses['total']:.3f}")
        if step % plan.validate_every == 0 or step == plan.steps:
            numbers = plan.validate(averaged.module, device)
            log.write(step=step, validation=numbers)
            better = "loss" not in numbers or best is None or numbers["loss"] <= best
            best = numbers.get("loss") if better else best
            now = checkpoint.State(format=checkpoint.FORMAT, step=step, best=best, people=dict(plan.people))
            if better:
                checkpoint.save(folder / "checkpoints" / "best", now, model, averaged, optimiser)
            checkpoint.save(folder / "checkpoints" / "last", now, model, averaged, optimiser)
    checkpoint.load(folder / "checkpoints" / "best", model, averaged, None)
    return averaged.module


def _step(
    plan: Plan, model: nn.Module, averaged: AveragedModel, optimiser: torch.optim.Optimizer, batch: Any, step: int, device: torch.device, folder: Path
) -> dict[str, float]:
    """One step; returns the mean of every loss."""
    torch.manual_seed(plan.seed * 1_000_003 + step)
    for group in optimiser.param_groups:
        group["lr"] = plan.optimiser.rate * rate_factor(step, plan.steps, plan.optimiser.warmup)
    model.train()
    with torch.autocast(device.type, torch.bfloat16, enabled=_has_bfloat16(device)):
        losses = plan.loss(model, batch, device)
    _refuse_nan(plan, losses, batch, step, folder)
    means = {name: rows.sum() / max(len(rows), 1) for name, rows in losses.items()}
    total = torch.stack([plan.weights.get(name, 1.0) * mean for name, mean in means.items()]).sum()
    optimiser.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_(model.parameters(), plan.optimiser.clip)
    optimiser.step()
    averaged.update_parameters(model)
    return {"total": round(total.item(), 5)} | {name: round(mean.item(), 5) for name, mean in means.items()}


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up over a share of the steps, then half a cosine to zero."""
    rise = max(1.0, warmup * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1)))


def _optimiser(model: nn.Module, config: Optimiser) -> torch.optim.AdamW:
    """AdamW; no decay on norms and biases."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.rate)


def _resume(folder: Path, model: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer, plan: Plan) -> checkpoint.State:
    last = folder / "checkpoints" / "last"
    if not last.exists() and not last.with_name("last.old").exists():
        return checkpoint.State(format=checkpoint.FORMAT, step=0, best=None, people=dict(plan.people))
    state = checkpoint.load(last, model, averaged, optimiser)
    if state.people != dict(plan.people):
        raise RunError(f"{last}: trained on other people than the data at hand hold; start a new run")
    return state


def _refuse_nan(plan: Plan, losses: Mapping[str, Tensor], batch: Any, step: int, folder: Path) -> None:
    for name, rows in losses.items():
        finite = torch.isfinite(rows.detach())
        if not bool(finite.all()):
            row = int((~finite).nonzero()[0])
            found = {"step": step, "loss": name, **plan.blame(batch, name, row)}
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "nan.json").write_text(json.dumps(found, indent=1) + "\n")
            raise RunError(f"step {step}: the loss of {name} is not finite, first at {found.get('key')}; see {folder / 'nan.json'}")


def _has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster here and not merely emulated."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) if torch.backends.mkldnn.is_available() else False


class _Log:
    """FOLDER/log.jsonl, one object a line; lines beyond the checkpoint that a run resumes from are dropped first."""

    def __init__(self, path: Path, step: int):
        kept = [line for line in path.read_text().splitlines() if _step_of(line) <= step] if path.exists() else []
        write_atomically(path, "".join(line + "\n" for line in kept))
        self.path = path

    def write(self, **entry: object) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(entry) + "\n")


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf  # cut short when the run was killed
