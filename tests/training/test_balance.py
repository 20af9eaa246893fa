"""Weights of losses: fixed ones stay, learned ones go where their papers say, and come back with a checkpoint."""

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from polyface.errors import RequestError
from polyface.training import loop
from polyface.training.balance import REACH, Balance, DynamicWeightAverage, Fixed, Uncertainty, balance_of
from polyface.training.config import Method, Optimiser, from_table

LEARNED: list[Method] = ["uncertainty", "dwa"]
GIVEN = {"loud": 2.0, "soft": 0.5}


@dataclasses.dataclass
class TwoLines:
    """Two tasks on one layer, one of them a hundred times as loud."""

    steps: int = 12
    seed: int = 3
    optimiser: Optimiser = Optimiser(rate=0.05, ema=0.5)  # noqa: RUF009
    weights: Mapping[str, float] = dataclasses.field(default_factory=lambda: {"loud": 1.0, "soft": 1.0})
    balance: Method = "fixed"
    validate_every: int = 3
    people: Mapping[str, str] = dataclasses.field(default_factory=dict)
    die_at: int = -1

    def model(self) -> nn.Module:
        return nn.Linear(2, 2)

    def batches(self, steps: range) -> Iterator[Any]:
        for step in steps:
            if step == self.die_at:
                raise KeyboardInterrupt
            yield torch.randn(6, 2, generator=torch.Generator().manual_seed(step))

    def loss(self, model: nn.Module, batch: Any, device: torch.device) -> dict[str, Tensor]:
        found = model(batch)
        return {"loud": 100 * (found[:, 0] - batch.sum(1)).square(), "soft": (found[:, 1] - batch.prod(1)).square()}

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        return {}

    def blame(self, batch: Any, name: str, row: int) -> dict[str, object]:
        return {}


@pytest.fixture(autouse=True)
def disk_in_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def follow(balance: Balance, means: Mapping[str, float], steps: int) -> dict[str, float]:
    """The weights after some steps of the loop with the same losses."""
    learned = list(balance.parameters())
    optimiser = torch.optim.AdamW(learned, lr=0.05, weight_decay=0.0) if learned else None
    for _ in range(steps):
        balance.observe(means)
        if optimiser:
            optimiser.step()
    return balance.weights()


@pytest.mark.parametrize(("method", "kind"), [("fixed", Fixed), ("uncertainty", Uncertainty), ("dwa", DynamicWeightAverage)])
def test_every_method_begins_with_the_weights_of_the_recipe(method: Method, kind: type) -> None:
    balance = balance_of(method, GIVEN, 5)
    assert type(balance) is kind and balance.weights() == GIVEN


def test_fixed_weights_stay() -> None:
    balance = balance_of("fixed", GIVEN, 5)
    assert follow(balance, {"loud": 9.0, "soft": 0.1}, 20) == GIVEN and not balance.state_dict()


def test_by_uncertainty_a_weight_ends_at_one_over_twice_the_loss_wherever_it_began() -> None:
    for given in (GIVEN, {"loud": 1.0, "soft": 1.0}):
        found = follow(balance_of("uncertainty", given, 5), {"loud": 4.0, "soft": 0.25}, 600)
        assert found == pytest.approx({"loud": 1 / 8, "soft": 2.0}, rel=0.01)


def test_the_gradient_of_uncertainty_is_that_of_its_loss() -> None:
    balance = Uncertainty(GIVEN)
    balance.log_variance.data = torch.tensor([0.7, -0.4])
    balance.observe({"loud": 3.0, "soft": 0.2})
    s = torch.tensor([0.7, -0.4], requires_grad=True)
    ((-s).exp() * torch.tensor([2.0 * 3.0, 0.5 * 0.2]) + s / 2).sum().backward()
    assert balance.log_variance.grad is not None and s.grad is not None and torch.allclose(balance.log_variance.grad, s.grad)


def test_by_uncertainty_a_task_without_rows_keeps_its_weight() -> None:
    found = follow(balance_of("uncertainty", GIVEN, 5), {"loud": 4.0}, 50)
    assert found["soft"] == 0.5 and found["loud"] < 1


@pytest.mark.parametrize("loss", [0.0, -3.0])
def test_a_loss_below_zero_does_not_raise_its_weight_without_end(loss: float) -> None:
    found = follow(balance_of("uncertainty", GIVEN, 5), {"loud": loss, "soft": 1e9}, 2000)
    assert found == pytest.approx({"loud": 2.0 * REACH, "soft": 0.5 / REACH})


def test_dwa_weighs_by_the_last_two_epochs_as_its_paper_says() -> None:
    balance = balance_of("dwa", GIVEN, 2)
    epochs = [[(8.0, 1.0), (4.0, 1.0)], [(2.0, 1.0), (1.0, 0.8)], [(1.5, 0.9), (1.5, 0.9)]]  # means: 6 and 1; 1.5 and 0.9; 1.5 and 0.9
    ratios = [(1.0, 1.0), (1.5 / 6, 0.9), (1.0, 1.0)]  # of the first epoch there is no epoch before
    for epoch, (loud, soft) in zip(epochs, ratios, strict=True):
        before = balance.weights()
        for at, (first, second) in enumerate(epoch):
            assert at == 0 or balance.weights() == before  # they change between epochs only
            balance.observe({"loud": first, "soft": second})
        whole = math.exp(loud / 2) + math.exp(soft / 2)
        wanted = {"loud": 2.0 * 2 * math.exp(loud / 2) / whole, "soft": 0.5 * 2 * math.exp(soft / 2) / whole}
        assert balance.weights() == pytest.approx(wanted)


def test_dwa_takes_no_ratio_of_what_it_does_not_know() -> None:
    balance = balance_of("dwa", {"a": 1.0, "b": 1.0, "c": 1.0}, 1)
    for means in ({"a": 1.0, "b": -1.0}, {"a": 1.0, "b": -2.0, "c": 5.0}, {"a": 1.0, "b": 3.0}):
        balance.observe(means)
        assert balance.weights() == pytest.approx({"a": 1.0, "b": 1.0, "c": 1.0})


@pytest.mark.parametrize("method", LEARNED)
@pytest.mark.parametrize("die_at", [5, 7])
def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(tmp_path: Path, method: Method, die_at: int) -> None:
    loop.run(TwoLines(balance=method, steps=11), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        loop.run(TwoLines(balance=method, steps=11, die_at=die_at), tmp_path / "cut")
    loop.run(TwoLines(balance=method, steps=11), tmp_path / "cut")
    for name in ("model", "averaged", "optimiser", "balance"):
        first, second = (load_file(tmp_path / run / "checkpoints/last" / f"{name}.safetensors") for run in ("whole", "cut"))
        assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first), name


@pytest.mark.parametrize("method", LEARNED)
def test_the_log_has_the_weights_that_a_total_was_made_with(tmp_path: Path, method: Method) -> None:
    loop.run(TwoLines(balance=method, steps=20), tmp_path)
    entry = next(each for each in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines()) if "losses" in each)
    losses, weights = entry["losses"], entry["weights"]
    assert losses["total"] == pytest.approx(weights["loud"] * losses["loud"] + weights["soft"] * losses["soft"], rel=1e-3)
    assert weights["loud"] != pytest.approx(1, abs=1e-3) and weights["soft"] != pytest.approx(1, abs=1e-3)


def test_fixed_weights_are_neither_logged_nor_kept(tmp_path: Path) -> None:
    loop.run(TwoLines(steps=3), tmp_path)
    assert "weights" not in (tmp_path / "log.jsonl").read_text() and not (tmp_path / "checkpoints/last/balance.safetensors").exists()


@pytest.mark.parametrize(
    ("before", "after"), [("fixed", "dwa"), ("fixed", "uncertainty"), ("dwa", "fixed"), ("uncertainty", "fixed"), ("dwa", "uncertainty"), ("uncertainty", "dwa")]
)
def test_a_run_does_not_go_on_with_another_method(tmp_path: Path, before: Method, after: Method) -> None:
    loop.run(TwoLines(balance=before, steps=3), tmp_path)
    with pytest.raises(RequestError, match=r"balance\.safetensors: ") as caught:
        loop.run(TwoLines(balance=after), tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_recipe_names_the_method_and_a_misspelt_one_is_refused() -> None:
    table = {"name": "x", "steps": 1, "data": [{"set": "utkface"}]}
    assert from_table(table, "r").balance == "fixed" and from_table({**table, "balance": "dwa"}, "r").balance == "dwa"
    with pytest.raises(RequestError, match="r: invalid enum value 'dva' in balance; known are dwa, fixed, uncertainty"):
        from_table({**table, "balance": "dva"}, "r")
