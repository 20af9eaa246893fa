"""A model directory that the engine loads and that agrees with torch, or none at all."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from polyface import tasks
from polyface.errors import RequestError, RunError
from polyface.images.align import Crop
from polyface.inference import card as cards
from polyface.inference import engine
from polyface.models import export
from polyface.models.polyface import ModelConfig, PolyFace, build
from polyface.models.weights import read_tensors

TINY = ModelConfig(stem=8, widths=(8, 16, 16, 16), blocks=(1, 2, 1, 1), fine=8, hidden=16)
CROP = cards.entry_of_crop(Crop().scaled(64))


def made(config: ModelConfig = TINY) -> tuple[PolyFace, cards.Card]:
    torch.manual_seed(0)
    model = build(config, {"a": 7}).eval()
    return model, export.new_card("tiny", model, CROP, [cards.Data(name="drawn", images=3)], drawings=True)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export.write_model(*made(), tmp_path_factory.mktemp("models") / "tiny")


def test_the_engine_loads_what_was_exported_and_answers_as_torch_does(directory: Path) -> None:
    found = engine.load(directory, threads=1)
    assert [task.name for task in found.tasks] == [task.name for task in tasks.TASKS] and found.card.name == "tiny" and found.card.trained_on_drawings
    crops = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        wanted = made()[0](torch.from_numpy(crops))
    for name, output in found.run(crops).items():
        assert np.allclose(output, wanted[name].numpy(), atol=2e-3), name
    assert np.allclose(found.run(crops[:1], [tasks.age.name])[tasks.age.name], wanted[tasks.age.name][:1].numpy(), atol=2e-3)


def test_the_onnx_file_alone_carries_its_card(directory: Path) -> None:
    assert engine.load(directory / "model.onnx", threads=1).card == cards.read_card(directory / "card.json")


def test_nobody_the_network_learned_to_know_is_in_the_directory(directory: Path) -> None:
    assert not any(name.startswith("people.") for name in load_file(directory / "model.safetensors"))
    assert {path.name for path in directory.iterdir()} == {"card.json", "model.onnx", "model.safetensors"}


def test_widths_are_read_from_the_weights(directory: Path) -> None:
    assert export.model_config(cards.read_card(directory / "card.json"), directory) == TINY


def test_a_directory_is_exported_anew_from_its_weights(directory: Path, tmp_path: Path) -> None:
    again = export.export(directory, tmp_path / "again")
    crops = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    first, second = engine.load(directory, threads=1).run(crops), engine.load(again, threads=1).run(crops)
    assert all(np.allclose(first[name], second[name], atol=1e-5) for name in first)


@pytest.mark.parametrize("name", ["trunk.stem.0.weight", "trunk.stages.2.0.first.weight", "neck.smooth.0.weight", "heads.age.logits.bias"])
def test_a_directory_with_a_tensor_too_few_is_refused_by_its_name(directory: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match=rf"model\.safetensors: {name} is missing"):
        export.export(copy_of(directory, tmp_path, lambda weights: weights.pop(name)))


def test_a_directory_with_a_tensor_of_another_shape_is_refused_by_its_name(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"model\.safetensors: heads\.age\.logits\.bias is of shape \[3\], the network of its card wants \[117\]"):
        export.export(copy_of(directory, tmp_path, lambda weights: weights.update({"heads.age.logits.bias": torch.zeros(3)})))


def copy_of(directory: Path, folder: Path, spoil: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    shutil.copytree(directory, folder / "copy")
    weights = load_file(directory / "model.safetensors")
    spoil(weights)
    save_file(weights, folder / "copy" / "model.safetensors")
    return folder / "copy"


def test_a_network_in_eight_bits_does_not_outlive_the_one_it_was_made_from(tmp_path: Path) -> None:
    (tmp_path / "model.int8.onnx").write_bytes(b"of another network")
    export.write_model(*made(SMALL), tmp_path)
    assert not (tmp_path / "model.int8.onnx").exists()


SMALL = msgspec.structs.replace(TINY, tasks=(tasks.gender.name,))


def test_a_network_that_onnxruntime_reads_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = export.to_onnx

    def of_another_network(model: PolyFace, size: int) -> bytes:
        other = build(SMALL, {}).eval()
        torch.nn.init.constant_(other.heads[tasks.gender.name].logits.bias, 1.0)
        return real(other, size)

    monkeypatch.setattr(export, "to_onnx", of_another_network)
    with pytest.raises(RunError, match=f"onnxruntime and torch differ by .* in {tasks.gender.name}"):
        export.write_model(*made(SMALL), tmp_path / "m")
    assert not (tmp_path / "m" / "model.onnx").exists()


def test_a_network_that_answers_nan_is_refused(tmp_path: Path) -> None:
    model, card = made(SMALL)
    torch.nn.init.constant_(model.heads[tasks.gender.name].logits.bias, float("nan"))
    with pytest.raises(RunError, match="differ by nan"):
        export.write_model(model, card, tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95pickled", b"\x10\0\0\0\0\0\0\0{}"])
def test_weights_that_are_no_safetensors_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(RequestError, match=r"model\.safetensors: cannot be read as safetensors .*a pickle is never loaded") as caught:
        read_tensors(tmp_path / "model.safetensors")
    assert len(str(caught.value).splitlines()) == 1


def test_weights_that_are_not_there_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"model\.safetensors"):
        read_tensors(tmp_path / "model.safetensors")
