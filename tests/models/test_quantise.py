"""A network in eight bits that says how far its answers drift, or none at all."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from polyface import cli, tasks
from polyface.errors import RequestError, RunError
from polyface.images.align import Crop
from polyface.inference import card as cards
from polyface.inference import drift as drifts
from polyface.inference import engine
from polyface.models import export, quantise
from polyface.models.polyface import ModelConfig, build
from polyface.synth.write import write

TINY = ModelConfig(stem=8, widths=(8, 16, 16, 16), blocks=(1, 2, 1, 1), fine=8, hidden=16)
CROP = cards.entry_of_crop(Crop().scaled(64))
FLOATS = {"first convolution": "trunk.stem", "heat": "landmarks.heat", "spread": "landmarks.spread"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write("utkface", folder / "utkface", 30, 1, seed=1)
    return folder


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained, as its answers are all between two: any rounding turns some."""
    torch.manual_seed(0)
    model = build(TINY, {}).eval()
    card = export.new_card("tiny", model, CROP, [cards.Data(name="utkface", images=30), cards.Data(name="pins", images=1)], drawings=True)
    return export.write_model(model, card, tmp_path_factory.mktemp("runs") / "run" / "model")


@pytest.fixture
def anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """However far it drifts."""
    monkeypatch.setattr(drifts, "ALLOWED", {kind: drifts.Limit(1000, limit.unit) for kind, limit in drifts.ALLOWED.items()})


@pytest.fixture(scope="module")
def content(directory: Path) -> bytes:
    return quantise.in_eight_bits(directory / "model.onnx", np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8))


def test_the_command_makes_one_that_the_engine_prefers_and_that_knows_its_drift(directory: Path, drawn: Path, tmp_path: Path, anything: None, capsys) -> None:
    assert cli.run(["export", str(directory.parent), "--int8", "--data", str(drawn), "--out", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert str(tmp_path / "model.int8.onnx") in output and all(task.name in output for task in tasks.TASKS)
    assert {path.name for path in tmp_path.iterdir()} == {"model.int8.onnx", "card.json"}
    found, before = engine.load(tmp_path, threads=1), engine.load(directory, threads=1)
    assert found.card == before.card and found.drift is not None
    assert found.drift.of == before.label and found.drift.sets == ("utkface",) and found.drift.calibrated > 0 < found.drift.measured
    assert set(found.drift.drift) == {task.name for task in tasks.TASKS}


def test_it_is_smaller_and_answers_nearly_as_the_one_in_floats(directory: Path, content: bytes) -> None:
    before = engine.load(directory, threads=1)
    crops = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    drift = quantise.measure(before, content, crops, (), 12).drift
    assert drift["identity"] < 0.05 and drift["age"] < 3 and drift["landmarks"] < 0.1  # untrained: all of them would be 0 only where nothing was rounded
    assert any(value > 0 for value in drift.values())


def test_the_weights_are_in_eight_bits_but_where_a_map_or_a_pixel_would_suffer(directory: Path, content: bytes) -> None:
    named = {node.name: node.input[1] for node in onnx.load(directory / "model.onnx").graph.node if node.op_type == "Conv"}
    kept = [named[name] for name in quantise.in_floats(onnx.load(directory / "model.onnx").graph)]
    assert len(kept) == len(FLOATS) and all(any(part in name for name in kept) for part in FLOATS.values())
    stored = onnx.load_from_string(content).graph.initializer
    floats = {tensor.name for tensor in stored if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 4}
    assert floats == set(kept)


def test_no_sum_of_two_products_can_overflow_sixteen_bits(content: bytes) -> None:
    weights = [numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(content).graph.initializer if tensor.data_type == TensorProto.INT8]
    assert len(weights) > 20 and any(weight.size > 100 for weight in weights)
    assert max(int(np.abs(weight.astype(int)).max()) for weight in weights) * 255 * 2 < 2**15


def test_a_network_that_drifts_too_far_is_named_and_not_written(directory: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = {kind: drifts.Limit(1e-6 if kind is tasks.Points else 1000, limit.unit) for kind, limit in drifts.ALLOWED.items()}
    monkeypatch.setattr(drifts, "ALLOWED", strict)
    with pytest.raises(RunError, match=r"model\.onnx: in eight bits landmarks drifts by .* eye distances .*, 1e-06 is allowed; nothing was written") as refused:
        quantise.quantise(directory, drawn)
    assert "age" not in str(refused.value)
    assert not (directory / "model.int8.onnx").exists()


def test_without_any_of_the_pictures_it_learned_from_there_is_none(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match=r"eight bits are fitted to pictures of the sets that 'tiny' learned from \(utkface, pins\), and no train picture of them is there"
    ):
        quantise.quantise(directory, tmp_path)


def test_a_directory_without_a_network_in_floats_is_named(directory: Path, drawn: Path, tmp_path: Path) -> None:
    cards.write_card(tmp_path / "card.json", cards.read_card(directory / "card.json"))
    with pytest.raises(RequestError, match=r"model\.onnx: no such model"):
        quantise.quantise(tmp_path, drawn)
