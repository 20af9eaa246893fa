"""One stage of training of a paper's network, by the loop that trains everything: its weights and its seconds in a folder, and on where it was cut off."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from torch import nn

from polyface.files import write_atomically
from polyface.models import export
from polyface.models.ifan import Ifan
from polyface.models.joint import Joint
from polyface.training import loop

WEIGHTS = f"model/{export.WEIGHTS}"
"""Where `polyface export` looks for them."""
SECONDS = "seconds.json"
Progress = Callable[[int, int, str], None]
"""progress(steps done, steps of this stage, which stage of which row)."""


def train(plan: loop.Plan, folder: Path, words: str, progress: Progress | None) -> None:
    """Train into FOLDER/model/model.safetensors."""
    model = run(plan, folder, lambda step, steps, more: progress and progress(step, steps, f"{words}, {more}"))
    assert isinstance(model, Ifan | Joint)
    export.write_weights(model, folder.name, (folder / WEIGHTS).parent)


def run(plan: loop.Plan, folder: Path, progress: loop.Report | None) -> nn.Module:
    """As `loop.run`; how long it took, what was cut off before included, is in FOLDER/seconds.json."""
    began, before = time.monotonic(), seconds_of(folder)

    def report(step: int, steps: int, more: str) -> None:
        if progress is not None:
            progress(step, steps, more)
        if step % loop.LOG_EVERY == 0:
            _write_seconds(folder, before + time.monotonic() - began)

    model = loop.run(plan, folder, report)
    _write_seconds(folder, before + time.monotonic() - began)
    return model


def seconds_of(folder: Path) -> float:
    """Of training, so far."""
    file = folder / SECONDS
    return float(json.loads(file.read_text())) if file.exists() else 0.0


def _write_seconds(folder: Path, seconds: float) -> None:
    write_atomically(folder / SECONDS, f"{seconds:.1f}\n")
