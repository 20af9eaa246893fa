"""The loop: resumes to the same weights after SIGKILL, stops at NaN and says where, keeps the best by validation."""

import dataclasses
import errno
import itertools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from polyface.errors import RequestError, RunError
from polyface.synth.write import write
from polyface.training import checkpoint, loop
from polyface.training.config import Method, Optimiser, load
from polyface.training.plan import FacePlan


@dataclasses.dataclass
class Line:
    """Fits a line to noise: the loop knows nothing about faces."""

    steps: int = 12
    seed: int = 3
    optimiser: Optimiser = Optimiser(rate=0.05, ema=0.5)  # noqa: RUF009
    weights: Mapping[str, float] = dataclasses.field(default_factory=lambda: {"fit": 2.0})
    balance: Method = "fixed"
    validate_every: int = 4
    people: Mapping[str, str] = dataclasses.field(default_factory=dict)
    settings: str = ""
    validations: list[float] = dataclasses.field(default_factory=list)
    nan_at: int = -1
    die_at: int = -1

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 1))

    def batches(self, steps: range) -> Iterator[Any]:
        for step in steps:
            if step == self.die_at:
                raise KeyboardInterrupt
            yield step, torch.randn(6, 2, generator=torch.Generator().manual_seed(step))

    def loss(self, model: nn.Module, batch: Any, device: torch.device) -> dict[str, Tensor]:
        step, x = batch
        rows = (model(x)[:, 0] - x.sum(1)).square()
        if step == self.nan_at:
            rows = rows * torch.tensor([1, 1, float("nan"), 1, float("inf"), 1])
        return {"fit": rows, "size": rows[:0]}

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        return {"loss": self.validations.pop(0)} if self.validations else {}

    def blame(self, batch: Any, name: str, row: int) -> dict[str, object]:
        return {"key": f"set/{row}.jpg", "batch": [f"set/{at}.jpg" for at in range(6)]}


@pytest.fixture(autouse=True)
def disk_in_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def entries(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def weights(model: nn.Module) -> list[Tensor]:
    return list(model.state_dict().values())


def equal(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


@pytest.mark.parametrize("die_at", [2, 5, 9, 11])
def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(tmp_path: Path, die_at: int) -> None:
    whole = loop.run(Line(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        loop.run(Line(die_at=die_at), tmp_path / "cut")
    assert equal(loop.run(Line(), tmp_path / "cut"), whole)
    for name in ("model", "averaged", "optimiser"):
        first, second = (load_file(tmp_path / run / "checkpoints/last" / f"{name}.safetensors") for run in ("whole", "cut"))
        assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_the_log_of_a_resumed_run_has_every_step_once(tmp_path: Path) -> None:
    loop.run(Line(steps=8), tmp_path / "r")
    with open(tmp_path / "r" / "log.jsonl", "a") as file:
        file.write('{"step": 9, "losses": {}}\n{"step": 1')  # what was logged after the checkpoint, and half a line
    loop.run(Line(), tmp_path / "r")
    steps = [(entry["step"], "losses" in entry) for entry in entries(tmp_path / "r")]
    assert steps == [(4, False), (8, True), (8, False), (12, True), (12, False)]


def test_a_resumed_run_has_the_rates_that_are_set_anew(tmp_path: Path) -> None:
    slower = Optimiser(rate=0.01, ema=0.5)
    loop.run(Line(steps=8), tmp_path / "resumed")
    loop.run(Line(optimiser=slower), tmp_path / "resumed")
    loop.run(Line(optimiser=slower), tmp_path / "whole")
    resumed, whole = (next(entry["rate"] for entry in entries(tmp_path / run) if entry["step"] == 12) for run in ("resumed", "whole"))
    assert resumed == whole > 0


def test_the_best_of_a_run_that_goes_on_otherwise_is_of_what_comes(tmp_path: Path) -> None:
    before = loop.run(Line(steps=8, validations=[1.0, 1.0]), tmp_path / "same")
    shutil.copytree(tmp_path / "same", tmp_path / "otherwise")
    assert equal(loop.run(Line(validations=[9.0]), tmp_path / "same"), before)
    with pytest.raises(KeyboardInterrupt):  # before its first validation
        loop.run(Line(settings="other", die_at=9), tmp_path / "otherwise")
    assert not equal(loop.run(Line(settings="other", validations=[9.0]), tmp_path / "otherwise"), before)


def test_a_run_goes_on_otherwise_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    loop.run(Line(steps=4, validations=[1.0]), tmp_path)
    best = loop.run(Line(steps=8, settings="other", validations=[5.0]), tmp_path)
    assert equal(loop.run(Line(settings="other", validations=[9.0]), tmp_path), best)
    assert capsys.readouterr().err.count("goes on with other settings") == 1


@pytest.mark.parametrize(("steps", "settings"), [(4, ""), (8, "other")])
def test_a_run_that_would_go_on_without_a_step_is_refused(tmp_path: Path, steps: int, settings: str) -> None:
    loop.run(Line(steps=8), tmp_path)
    with pytest.raises(RequestError, match=f"8 steps are done, and what is set asks for {steps}"):
        loop.run(Line(steps=steps, settings=settings), tmp_path)


def test_bfloat16_is_not_computed_where_it_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)  # as of a GPU before Ampere
    assert not loop._has_bfloat16(torch.device("cuda"))


def test_a_finished_run_resumes_to_itself(tmp_path: Path) -> None:
    first = loop.run(Line(validations=[3.0, 1.0, 2.0]), tmp_path)
    assert equal(loop.run(Line(), tmp_path), first)


def test_the_best_is_by_validation_and_the_last_is_the_last(tmp_path: Path) -> None:
    best = loop.run(Line(validations=[3.0, 1.0, 2.0]), tmp_path / "a")
    assert equal(best, loop.run(Line(steps=12, validations=[3.0, 1.0, 5.0]), tmp_path / "b"))
    states = {name: json.loads((tmp_path / "a" / "checkpoints" / name / "state.json").read_text()) for name in ("best", "last")}
    assert (states["best"]["step"], states["best"]["best"], states["last"]["step"], states["last"]["best"]) == (8, 1.0, 12, 1.0)
    averaged = load_file(tmp_path / "a/checkpoints/best/averaged.safetensors")
    assert all(torch.equal(averaged[f"module.{name}"], tensor) for name, tensor in best.state_dict().items())


def test_without_any_validation_the_last_is_the_best(tmp_path: Path) -> None:
    loop.run(Line(), tmp_path)
    assert json.loads((tmp_path / "checkpoints/best/state.json").read_text())["step"] == 12


def test_a_validation_that_is_no_number_is_not_the_best_for_ever(tmp_path: Path) -> None:
    loop.run(Line(validations=[math.nan, 3.0, math.nan]), tmp_path)
    assert json.loads((tmp_path / "checkpoints/best/state.json").read_text())["step"] == 8


def test_without_a_mean_the_weights_of_the_best_step_themselves_are_kept(tmp_path: Path) -> None:
    loop.run(Line(optimiser=Optimiser(rate=0.05, ema=0.0), validations=[3.0, 1.0, 2.0]), tmp_path)
    for name in ("best", "last"):
        model, averaged = (load_file(tmp_path / f"checkpoints/{name}/{part}.safetensors") for part in ("model", "averaged"))
        assert all(torch.equal(averaged[f"module.{key}"], tensor) for key, tensor in model.items())


def test_a_batch_of_which_nobody_said_anything_changes_nothing(tmp_path: Path) -> None:
    class Silent(Line):
        def loss(self, model: nn.Module, batch: Any, device: torch.device) -> dict[str, Tensor]:
            return {} if batch[0] % 3 else super().loss(model, batch, device)

    loop.run(Silent(), tmp_path)
    assert json.loads((tmp_path / "checkpoints" / "last" / "state.json").read_text())["step"] == 12


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_picture(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"step 6: the loss of fit is not finite, first at set/2\.jpg; see .*nan\.json"):
        loop.run(Line(nan_at=6), tmp_path)
    found = json.loads((tmp_path / "nan.json").read_text())
    assert found == {"step": 6, "loss": "fit", "key": "set/2.jpg", "batch": [f"set/{at}.jpg" for at in range(6)]}
    assert json.loads((tmp_path / "checkpoints/last/state.json").read_text())["step"] == 4  # what was written is whole
    assert all(torch.isfinite(tensor).all() for tensor in load_file(tmp_path / "checkpoints/last/model.safetensors").values())


def test_a_full_disk_stops_the_run_and_the_one_before_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = checkpoint.save_file, itertools.count()

    def save_file(tensors: dict, path: Path) -> None:
        if next(written) >= 7:  # best and last at step 4 have three files each; the next best has one
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path)

    with monkeypatch.context() as patched, pytest.raises(RunError, match="No space left on device"):
        patched.setattr(checkpoint, "save_file", save_file)
        loop.run(Line(), tmp_path / "full")
    assert json.loads((tmp_path / "full/checkpoints/last/state.json").read_text())["step"] == 4
    assert equal(loop.run(Line(), tmp_path / "full"), loop.run(Line(), tmp_path / "whole"))


def test_other_people_than_those_of_the_checkpoint_are_refused(tmp_path: Path) -> None:
    loop.run(Line(steps=4, people={"a": "one"}), tmp_path)
    with pytest.raises(RequestError, match=r"trained on other people, pictures or labels than are at hand \(a\)"):
        loop.run(Line(people={"a": "another"}), tmp_path)


def test_losses_are_weighed_and_a_loss_without_rows_counts_nothing(tmp_path: Path) -> None:
    loop.run(Line(steps=1), tmp_path)
    losses = next(entry["losses"] for entry in entries(tmp_path) if "losses" in entry)
    assert losses["total"] == pytest.approx(2 * losses["fit"], abs=1e-4) and losses["size"] == 0


def test_the_rate_rises_and_falls_to_nothing() -> None:
    factors = [loop.rate_factor(step, 1000, 0.03) for step in range(1000)]
    assert 0 < factors[0] < 0.05 and factors[30] == 1 == max(factors) and 0 <= factors[-1] < 1e-5
    assert factors[:30] == sorted(factors[:30]) and factors[30:] == sorted(factors[30:], reverse=True)
    assert factors[515] == pytest.approx(0.5, abs=0.01)
    assert all(math.isfinite(loop.rate_factor(step, steps, warmup)) for steps in (1, 2, 3) for step in range(steps) for warmup in (0, 0.5, 1))


# The real thing: a process killed with SIGKILL

RECIPE = """
name = "killed"
steps = 14
batch = 8
validate_every = 2
validation_rows = 4
data = [{ set = "pins", weight = 2 }, { set = "helen" }, { set = "utkface" }]
crop = { size = 32, eye_distance = 7.5, eyes = [16, 15] }
model = { stem = 8, widths = [8, 16], blocks = [1, 1], fine = 8, hidden = 16 }
small = { size = 32, share = 0.5 }
"""
PROGRAM = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from polyface.training import loop
from polyface.training.config import load
from polyface.training.plan import FacePlan
recipe, data, folder = sys.argv[1:]
plan = FacePlan(load(recipe), Path(data))
print("ready", flush=True)
loop.run(plan, Path(folder))
"""


@pytest.mark.timeout(400)
def test_killed_at_a_random_moment_a_run_ends_with_the_weights_of_one_that_never_was(tmp_path: Path, find_faces: Callable[..., None]) -> None:
    data, recipe = tmp_path / "data", tmp_path / "killed.toml"
    for layout, name in (("folders", "pins"), ("300w", "helen"), ("utkface", "utkface")):
        write(layout, data / name, 6, 2, 1)
    find_faces(data, "pins")
    recipe.write_text(RECIPE)

    def go_on(folder: Path) -> float:
        plan, began = FacePlan(load(str(recipe)), data), time.monotonic()
        loop.run(plan, folder)
        return time.monotonic() - began

    lasts = go_on(tmp_path / "whole")
    command = [sys.executable, "-c", PROGRAM, str(recipe), str(data), str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        log, validations = tmp_path / "killed" / "log.jsonl", random.randint(0, 4)
        while not log.exists() or len(log.read_text().splitlines()) < validations:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.5) * lasts / 7)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    go_on(tmp_path / "killed")
    for name in ("last/model", "last/averaged", "last/optimiser", "best/averaged"):
        whole, killed = (load_file(tmp_path / which / "checkpoints" / f"{name}.safetensors") for which in ("whole", "killed"))
        assert whole.keys() == killed.keys() and all(torch.equal(whole[key], killed[key]) for key in whole), name
    untimed = [[{**entry, "steps_per_second": 0} for entry in entries(tmp_path / which)] for which in ("whole", "killed")]
    assert untimed[0] == untimed[1]
