"""The strength of the drawn world's variation, and the tables at the moment when identity passes 60 %."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyface.papers import fusion_runs
from polyface.papers.fusion_config import FusionConfig, load
from polyface.papers.fusion_pictures import IDENTITY, Pictures, Question, Split
from polyface.papers.fusion_runs import Bench, strength_of, tables

CONFIG = load("smoke", ["network={size=16, channels=[4, 4, 8]}", "networks.steps=6", "networks.curve=3", "networks.batch=8", "heads.steps=4", "heads.batch=8",
                        "heads.curve=2", "heads.seeds=2", "variants=2", "drawn.tries=5"])  # fmt: skip


def pictures(people: int = 4, each: int = 4) -> Pictures:
    crops = np.random.default_rng(0).integers(0, 255, (people * each, 24, 24, 3), dtype=np.uint8)
    whose = np.repeat(np.arange(people), each)
    names = tuple(f"p{person}" for person in range(people))
    keys = tuple(f"{name}/{row}" for name in names for row in range(each))
    return Pictures("drawn", "drawn", keys, crops, whose, names, (Question("age", "how old?", ("young", "old")),), {"age": whose % 2})


@dataclass
class Reached:
    accuracy: dict[str, float]


def tried(monkeypatch: pytest.MonkeyPatch, folder: Path, accuracy: Any, config: FusionConfig = CONFIG) -> tuple[float, list[float]]:
    """The strength that is found where a network trained at a strength reaches accuracy(strength), and the strengths at which one was trained."""
    strengths = []

    def network(bench: Bench, split: Split, spec: object) -> Reached:
        assert bench.training(split).steps == config.networks.steps, "the world's networks are trained for as long"
        whole = bench.splits("paper")[0]
        assert not set(split.test) & set(whole.test) and not set(split.test) & set(split.train), "test rows choose nothing"
        strengths.append(bench.strength)
        return Reached({IDENTITY: accuracy(bench.strength)})

    monkeypatch.setattr(Bench, "network", network)
    return strength_of(pictures(), config, folder, lambda words: None), strengths


def test_the_strength_is_searched_until_identity_is_as_hard_as_in_the_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, strengths = tried(monkeypatch, tmp_path, lambda strength: 1.0 - 0.13 * strength)
    assert strengths == [1.0, 2.0, 4.0, 3.0][: len(strengths)] and found == strengths[-1] and abs(1.0 - 0.13 * found - 0.602) <= 0.10
    again, trained = tried(monkeypatch, tmp_path, lambda strength: pytest.fail("tried again"))
    assert again == found and trained == []


def test_a_strength_of_other_networks_is_not_taken_for_this_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried(monkeypatch, tmp_path, lambda strength: 1.0 - 0.13 * strength)
    longer = load("smoke", ["network={size=16, channels=[4, 4, 8]}", "networks.steps=7", "variants=2", "drawn.tries=5"])
    assert tried(monkeypatch, tmp_path, lambda strength: 0.6, longer) == (1.0, [1.0])


def test_where_no_try_comes_near_the_nearest_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, strengths = tried(monkeypatch, tmp_path, lambda strength: 0.9 if strength < 8 else 0.8)
    assert len(strengths) == 5 and found in strengths and found >= 8
    assert len(json.loads((tmp_path / "strength.json").read_text())["tries"]) == 5


def test_tables_are_read_a_second_time_where_identity_passes_60_percent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(pictures(), CONFIG, tmp_path, 1.0, lambda words: None)
    end = tables(bench, "paper")
    assert end is not None and end.moment == "end" and end.step is None
    with np.load(tmp_path / "paper" / "heads" / "tables.npz") as heads:
        mean = np.mean([heads[f"log age|{source}|concatenation"].astype(np.float32) for source in (IDENTITY, "age")], axis=0)
    late = end.late["age"]
    assert np.array_equal(late.correct > 0.5, mean.argmax(1) == bench.splits("paper")[0].labels["age"][late.rows]), "late fusion is the mean of the logits"
    curve = bench.own(bench.splits("paper")[0], IDENTITY).curve
    assert [point["step"] for point in curve] == [2, 4, 6]
    for level, step in ((-1.0, 2), (2.0, None)):
        monkeypatch.setattr(fusion_runs, "EARLY", level)
        early = tables(bench, "paper", early=True)
        assert early is None if step is None else early is not None and early.moment == "early" and early.step == step and set(early.networks) == {IDENTITY, "age"}


def test_each_seed_of_a_head_is_kept_beside_their_mean(tmp_path: Path) -> None:
    bench = Bench(pictures(8), CONFIG, tmp_path, 1.0, lambda words: None)
    for split, heads in (("image", CONFIG.heads.seeds), ("person", CONFIG.folds)):  # one for each fold
        found = tables(bench, split)  # type: ignore[arg-type]
        assert found is not None
        of_seeds = found.seeds["age|age|concatenation"]
        assert len(of_seeds) == heads and np.mean(of_seeds) == pytest.approx(found.one("age", "age").accuracy, abs=1e-3)
        assert all(0 < count <= len(found.seeds[cell]) for cell, count in found.one_answer.items())
