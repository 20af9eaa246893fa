"""Feature networks learn, are resumed one by one, and keep what later stages need."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from polyface.errors import RunError
from polyface.papers import fusion_networks as networks
from polyface.papers.fusion_config import FusionConfig, load
from polyface.papers.fusion_networks import NetworkPlan, Spec, train
from polyface.papers.fusion_pictures import Split

CONFIG = load("smoke", ["network={size=16, channels=[4, 4, 8]}", "networks.steps=60", "networks.batch=24", "networks.curve=3"])


def reds_and_blues(count: int = 60) -> tuple[np.ndarray, Split]:
    """Class 0 is red, class 1 blue; a fifth is red."""
    label = (np.arange(count) % 5 > 0).astype(np.int64)
    images = np.random.default_rng(0).integers(0, 60, (count, 16, 16, 3), dtype=np.uint8)
    images[np.arange(count), :, :, np.where(label == 0, 0, 2)] += 150
    return images, Split("image", 0, np.arange(0, count - 20), np.arange(count - 20, count), ("colour",), {"colour": label})


def spec(**said: object) -> Spec:
    return replace(Spec("colour", {"colour": (6, 2)}, CONFIG.network), **said)  # type: ignore[arg-type]


def trained(folder: Path, config: FusionConfig = CONFIG, **said: object) -> networks.Trained:
    images, split = reds_and_blues()
    return train(spec(**said), images, split, config.networks, config, folder / "world" / "image" / "colour", lambda words: None)


def test_a_network_learns_and_keeps_its_curve_its_features_and_its_small_result(tmp_path: Path) -> None:
    images, split = reds_and_blues()
    found = trained(tmp_path, snapshots=True)
    assert found.accuracy["colour"] == 1.0 and [point["step"] for point in found.curve] == [20, 40, 60]
    assert found.feature(images).shape == (60, 6) and found.feature(images).dtype == np.float16
    correct, rows = found.correct(images, split, "colour")
    assert correct.all() and np.array_equal(rows, split.test)
    kept = json.loads((found.folder / "result.json").read_text())
    assert kept["parameters"] == sum(each.numel() for each in found.load().parameters()) and kept["images_per_second"] > 0
    assert not (found.folder / "checkpoints").exists()
    early = found.load(20)
    assert not all(torch.equal(a, b) for a, b in zip(early.parameters(), found.load().parameters(), strict=True))
    assert found.feature(images, 20).shape == (60, 6)


def test_a_network_that_is_done_is_not_trained_again_and_one_of_other_settings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained(tmp_path)
    monkeypatch.setattr(networks.stage, "run", lambda *_: pytest.fail("trained again"))
    again = trained(tmp_path)
    assert again.accuracy == first.accuracy and again.curve == first.curve
    with pytest.raises(RunError, match="other settings or other pictures"):
        trained(tmp_path, msgspec.structs.replace(CONFIG, networks=msgspec.structs.replace(CONFIG.networks, steps=61)))


def test_a_network_that_was_cut_off_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(tmp_path / "whole").load()
    real = NetworkPlan.loss

    def dies(plan: NetworkPlan, model: torch.nn.Module, batch: np.ndarray, device: torch.device) -> dict[str, torch.Tensor]:
        if plan.seen == 33:
            raise KeyboardInterrupt
        return real(plan, model, batch, device)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(NetworkPlan, "loss", dies)
        trained(tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), trained(tmp_path / "cut").load().parameters(), strict=True))


def test_features_of_another_network_or_of_other_pictures_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    images, _ = reds_and_blues()
    file = tmp_path / "features-colour.npz"
    first, second = trained(tmp_path / "one"), trained(tmp_path / "other", seed=5)
    kept = first.feature(images, file=file)
    assert np.array_equal(first.feature(images, file=file), kept)
    assert np.array_equal(second.feature(images, file=file), second.feature(images)) and not np.array_equal(second.feature(images), kept)
    assert not np.array_equal(first.feature(images[::-1], file=file), kept)


def test_a_network_that_learned_nothing_is_told(tmp_path: Path) -> None:
    images, split = reds_and_blues()
    by_chance = np.random.default_rng(3).integers(0, 2, 60)
    said = []
    found = train(spec(labels={"colour": by_chance}), images, split, CONFIG.networks, CONFIG, tmp_path / "world" / "image" / "colour", said.append)
    assert json.loads((found.folder / "result.json").read_text())["at_chance"] == ["colour"] and "at chance: colour" in said[0]
    learned = trained(tmp_path / "learned")
    assert json.loads((learned.folder / "result.json").read_text())["at_chance"] == []


def test_a_short_feature_of_many_classes_stays_alive_at_the_recipes_rate(tmp_path: Path) -> None:
    """With outputs that start as wide as filters do, most of the fifty units were dead after fifty steps."""
    random, recipe = np.random.default_rng(0), load("small")
    faces = random.integers(0, 256, (150, 4, 4, 3)).astype(np.uint8).repeat(4, 1).repeat(4, 2)
    images = np.clip(faces.repeat(3, 0).astype(int) + random.integers(-40, 40, (450, 16, 16, 3)), 0, 255).astype(np.uint8)
    split = Split("image", 0, np.arange(450), np.arange(0, 450, 3), ("who",), {"who": np.arange(450) // 3})
    network = msgspec.structs.replace(recipe.network, size=16)
    training = msgspec.structs.replace(recipe.networks, steps=50, batch=64, curve=1)
    found = train(Spec("who", {"who": (50, 150)}, network), images, split, training, recipe, tmp_path / "world" / "image" / "who", lambda words: None)
    assert (found.feature(images).std(0) > 1e-3).sum() > 35


def test_balanced_drawing_gives_every_class_alike(tmp_path: Path) -> None:
    images, split = reds_and_blues()
    shares = []
    for balanced in (False, True):
        plan = NetworkPlan(spec(), images, split, CONFIG.networks, msgspec.structs.replace(CONFIG, balanced=balanced), tmp_path)
        rows = np.concatenate(list(plan.batches(range(40))))
        assert set(rows) <= set(split.train)
        shares.append(float(np.mean(split.labels["colour"][rows] == 0)))
    assert shares[0] == pytest.approx(0.2, abs=0.02) and shares[1] == pytest.approx(0.5, abs=0.06)


def test_rows_without_a_label_are_neither_learned_from_nor_tested(tmp_path: Path) -> None:
    images, split = reds_and_blues()
    labels = split.labels["colour"].copy()
    labels[::3] = -1
    plan = NetworkPlan(spec(labels={"colour": labels}), images, split, CONFIG.networks, CONFIG, tmp_path)
    assert (labels[plan.train] >= 0).all() and (labels[plan.tested] >= 0).all()
    with pytest.raises(RunError, match="nothing to train on"):
        NetworkPlan(spec(labels={"colour": np.full(60, -1)}), images, split, CONFIG.networks, CONFIG, tmp_path)


def test_every_pass_is_a_new_order_of_all_rows(tmp_path: Path) -> None:
    images, split = reds_and_blues(68)
    plan = NetworkPlan(spec(), images, split, msgspec.structs.replace(CONFIG.networks, batch=16), CONFIG, tmp_path)
    epochs = np.concatenate(list(plan.batches(range(6)))).reshape(2, 48)
    assert all(sorted(epoch) == split.train.tolist() for epoch in epochs) and not np.array_equal(*epochs)
    assert np.array_equal(next(plan.batches(range(4, 5))), epochs[1, 16:32])


def test_some_rows_of_many_are_of_all_variants() -> None:
    rows = networks.some_of(np.arange(48 * 500), 500)
    assert len(rows) == 500 and (np.diff(rows) > 0).all() and len(np.unique(rows % 48)) == 48
    np.testing.assert_array_equal(networks.some_of(np.arange(7), 500), np.arange(7))
