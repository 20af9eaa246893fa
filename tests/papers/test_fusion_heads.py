"""Heads on cached features: many at once, each as if alone, kept, and refused where features and labels are of other rows."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from polyface.errors import RequestError
from polyface.papers import fusion_heads as fusion
from polyface.papers.fusion_config import Heads, load
from polyface.papers.fusion_heads import Cell, HeadsPlan, Table, run_bank, subsets

HEADS = Heads(steps=120, batch=64, rate=0.2, algorithm="muon", hidden=(12, 8), width=8, curve=2)
XOR = Cell(("a", "b"), "xor")


def table(rows: int = 400) -> Table:
    """`a` says the first bit, `b` the second; xor needs both, `noise` nothing."""
    random = np.random.default_rng(0)
    bits = random.integers(0, 2, (rows, 2))
    features = {name: np.stack([bits[:, at] * 2 - 1, *random.normal(0, 1, (2, rows))], axis=1).astype(np.float16) for at, name in enumerate("ab")}
    features["noise"] = random.normal(0, 1, (rows, 3)).astype(np.float16)
    labels = {"first": bits[:, 0].copy(), "xor": bits[:, 0] ^ bits[:, 1]}
    labels["first"][::7] = -1
    return Table(features, labels, np.arange(0, 300), np.arange(300, rows), {"first": 2, "xor": 2})


CELLS = [Cell(("a",), "first"), Cell(("noise",), "first"), Cell(("a",), "xor"), XOR, Cell(("a", "b"), "xor", "gated product")]


def bank(folder: Path, name: str = "tables", **said: object) -> fusion.Bank:
    return run_bank(name, CELLS, table(), HEADS, folder, 1, 50, **said)  # type: ignore[arg-type]


def test_each_head_knows_what_its_features_know(tmp_path: Path) -> None:
    found = bank(tmp_path, curve=True, keep=[XOR])
    assert found.accuracy(Cell(("a",), "first")) > 0.95 and 0.25 < found.accuracy(Cell(("noise",), "first")) < 0.75
    assert found.accuracy(XOR) > 0.9 and found.accuracy(Cell(("a", "b"), "xor", "gated product")) > 0.9 and found.accuracy(Cell(("a",), "xor")) < 0.75
    assert [step for step, _ in found.curves[XOR.name]] == [0, 1, 2, 5, 10, 20, 50, 60, 120], "a curve starts before the first step"
    assert 0.25 < found.curves[XOR.name][0][1] < 0.75 and found.curves[XOR.name][-1][1] > 0.9, "and at chance"
    assert np.array_equal(found.rows["first"], [row for row in range(300, 400) if row % 7]) and len(found.of(CELLS[0])) == len(found.rows["first"])
    logs = found.log_probabilities[XOR.name].astype(np.float32)
    assert np.allclose(np.exp(logs).sum(1), 1, atol=1e-2) and np.array_equal(logs.argmax(1) == table().labels["xor"][300:], found.of(XOR) > 0.5)


def test_a_bank_that_is_done_is_read_and_one_of_other_cells_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bank(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(fusion.loop, "run", lambda *_: pytest.fail("trained again"))
        again = bank(tmp_path)
    assert all(np.array_equal(first.correct[cell], again.correct[cell]) for cell in first.correct) and first.rows.keys() == again.rows.keys()
    assert json.loads((tmp_path / "heads" / "tables.json").read_text())["accuracy"][XOR.name] == pytest.approx(first.accuracy(XOR), abs=1e-4)
    fewer = run_bank("tables", CELLS[:1], table(), HEADS, tmp_path, 1, 50)
    assert set(fewer.correct) == {CELLS[0].name}


def test_a_bank_that_is_only_looked_for_is_found_or_named_and_never_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank(tmp_path)
    monkeypatch.setattr(fusion.loop, "run", lambda *_: pytest.fail("trained"))
    assert XOR.name in bank(tmp_path, make=False).correct
    with pytest.raises(fusion.NotMade, match=r"other\.npz"):
        bank(tmp_path, "other", make=False)
    with pytest.raises(fusion.NotMade, match=r"tables\.npz"):
        run_bank("tables", CELLS[:1], table(), HEADS, tmp_path, 1, 50, make=False)


def test_several_seeds_are_a_mean(tmp_path: Path) -> None:
    values = set(np.unique(bank(tmp_path, seeds=2).of(CELLS[1])).tolist())
    assert values <= {0.0, 0.5, 1.0} and 0.5 in values


def test_heads_of_a_bank_share_nothing() -> None:
    plan = HeadsPlan(CELLS, table(), HEADS, 1, 50, False)
    model = plan.model()
    losses = plan.loss(model, np.arange(20), torch.device("cpu"))
    losses[XOR.name].sum().backward()
    moved = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.abs().sum() > 0}
    assert moved == {XOR.name}
    assert len(losses[CELLS[0].name]) == 17  # three of twenty have no label


def test_a_head_beside_one_whose_gradients_are_huge_learns_as_if_alone(tmp_path: Path) -> None:
    made = table()
    loud = Table({**made.features, "loud": np.random.default_rng(1).normal(0, 1, (400, 40)).astype(np.float16)}, made.labels, made.train, made.test, made.classes)
    recipe = msgspec.structs.replace(load("small").heads, steps=30, batch=64, hidden=(12, 8), width=8)
    product = Cell(("loud", "a", "b"), "xor", "gated product")
    alone, beside = (HeadsPlan(cells, loud, recipe, 1, 50, False) for cells in ([XOR], [XOR, product]))
    weights = [fusion.loop.run(plan, tmp_path / str(at))[XOR.name].output.weight for at, plan in enumerate((alone, beside))]  # type: ignore[index]
    assert torch.equal(*weights)


def test_the_recipes_way_to_train_heads_ends_no_product_of_many_features_at_one_answer(tmp_path: Path) -> None:
    """At the recipe's rate of SGD, unclipped, such heads ended at the same answer for all rows."""
    random = np.random.default_rng(2)
    label = (random.random(600) < 0.3).astype(np.int64)
    signs = np.where(label, 1.0, -1.0)[:, None]
    features = {name: np.maximum(0, random.normal(0, 1, (600, 50)) + 0.4 * signs * random.normal(0, 1, 50)).astype(np.float16) for name in "abcde"}
    made = Table(features, {"rare": label}, np.arange(400), np.arange(400, 600), {"rare": 2})
    heads = msgspec.structs.replace(load("small").heads, steps=60)
    cell = Cell(tuple("abcde"), "rare", "gated product")
    found = run_bank("tables", [cell], made, heads, tmp_path, 1, 50, seeds=3)
    assert found.one_answer == {} and min(found.seeds[cell.name]) > 0.85, found.seeds


def test_a_head_that_gives_all_rows_one_answer_is_told_seed_by_seed(tmp_path: Path) -> None:
    made, blind = table(), Cell(("blind",), "first")
    dark = Table({**made.features, "blind": np.zeros((400, 2), np.float16)}, made.labels, made.train, made.test, made.classes)
    for _ in range(2):  # made, then found
        found = run_bank("tables", [CELLS[0], blind], dark, HEADS, tmp_path, 1, 50, seeds=2)
        assert found.one_answer == {blind.name: 2}
        assert len(found.seeds[CELLS[0].name]) == 2 and np.mean(found.seeds[CELLS[0].name]) == pytest.approx(found.accuracy(CELLS[0]), abs=1e-4)


def test_features_of_other_rows_than_the_labels_are_refused(tmp_path: Path) -> None:
    made = table()
    wrong = Table({**made.features, "a": made.features["a"][:-1]}, made.labels, made.train, made.test, made.classes)
    with pytest.raises(RequestError, match="features of a are of 399 rows"):
        run_bank("tables", CELLS, wrong, HEADS, tmp_path, 1, 50)


def test_four_features_have_fifteen_subsets() -> None:
    found = subsets(("a", "b", "c", "d"))
    assert len(found) == len(set(found)) == 15 and ("a", "c") in found and ("a", "b", "c", "d") in found
