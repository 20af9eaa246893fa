"""A model directory that the engine loads and that agrees with torch, or none at all."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from polyface import cli, datasets, tasks
from polyface.errors import RequestError, RunError
from polyface.images.align import Crop
from polyface.inference import card as cards
from polyface.inference import engine
from polyface.models import export
from polyface.models.polyface import ModelConfig, PolyFace, build
from polyface.models.real_crops import FEW, RealCrops, real_crops
from polyface.models.weights import read_metadata, read_tensors
from polyface.synth.write import write

TINY = ModelConfig(stem=8, widths=(8, 16, 16, 16), blocks=(1, 2, 1, 1), fine=8, hidden=16)
CROP = cards.entry_of_crop(Crop().scaled(64))


def made(config: ModelConfig = TINY) -> tuple[PolyFace, cards.Card]:
    torch.manual_seed(0)
    model = build(config, {"a": 7}).eval()
    return model, export.new_card("tiny", model, CROP, [cards.Data(name="utkface", images=3)], drawings=True)


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


class WrongOnBlack(torch.nn.Module):
    """Answers as another network does, but of black crops."""

    def __init__(self, model: PolyFace):
        super().__init__()
        self.model, self.tasks = model, model.tasks

    def forward(self, crops: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: output + (9.0 if not crops.any() else 0.0) for name, output in self.model(crops).items()}


def test_an_export_is_compared_on_real_crops_too_and_its_card_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    model, card = made(SMALL)
    right = export.to_onnx(model, 64)
    monkeypatch.setattr(export, "to_onnx", lambda model, size: right)
    black = RealCrops(np.zeros((2, 64, 64, 3), np.uint8), "validation", ("a", "b"))
    export.write_model(model, card, tmp_path / "right", black)
    said = "crops of noise and of waves, and 2 of validation pictures of a, b"
    assert cards.read_card(tmp_path / "right" / "card.json").compared == engine.load(tmp_path / "right" / "model.onnx", threads=1).card.compared == said
    assert f"model.onnx answers as torch does on {said}" in capsys.readouterr().err
    export.write_model(WrongOnBlack(model), card, tmp_path / "wrong")  # nothing made up is black
    assert cards.read_card(tmp_path / "wrong" / "card.json").compared == "crops of noise and of waves alone"
    with pytest.raises(RunError, match="onnxruntime and torch differ"):
        export.write_model(WrongOnBlack(model), card, tmp_path / "refused", black)
    assert not (tmp_path / "refused").exists()


def test_the_command_compares_on_what_is_there_of_the_sets_it_learned_from(directory: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "to_onnx", lambda model, size: (directory / "model.onnx").read_bytes())
    assert cli.run(["export", str(directory), "--data", str(drawn), "--out", str(tmp_path)]) == 0
    validation = min(FEW, len(datasets.utkface.records(datasets.find_root(drawn, "utkface"), "validation").records))
    assert validation and cards.read_card(tmp_path / "card.json").compared == f"crops of noise and of waves, and {validation} of validation pictures of utkface"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write("utkface", folder / "utkface", 30, 1, seed=1)
    return folder


def test_crops_of_a_split_are_those_that_can_be_read_and_of_sets_that_are_there(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copytree(drawn, tmp_path / "data")
    root = datasets.find_root(tmp_path / "data", "utkface")
    keys = [record.key for record in datasets.utkface.records(root, "train").records]
    found = real_crops(["pins", "utkface"], Crop().scaled(32), tmp_path / "data", "train", 100)
    assert found.crops.shape == (len(keys), 32, 32, 3) and found.crops.std() > 10 and found.sets == ("utkface",)
    (tmp_path / "data" / "utkface" / keys[0]).write_bytes(b"<html>")
    assert len(real_crops(["utkface"], Crop().scaled(32), tmp_path / "data", "train", 100).crops) == len(keys) - 1
    assert f"utkface: {root.label}/{keys[0]}" in capsys.readouterr().err
    assert len(real_crops(["utkface"], Crop().scaled(32), drawn, "train", 2).crops) == 2
    assert real_crops(["pins"], Crop().scaled(32), drawn, "train", 2).crops.shape == (0, 32, 32, 3)


def test_nobody_the_network_learned_to_know_is_in_the_directory(directory: Path) -> None:
    assert not any(name.startswith("people.") for name in load_file(directory / "model.safetensors"))
    assert {path.name for path in directory.iterdir()} == {"card.json", "model.onnx", "model.safetensors"}


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
    save_file(weights, folder / "copy" / "model.safetensors", read_metadata(directory / "model.safetensors"))
    return folder / "copy"


def test_weights_that_say_nothing_of_their_network_are_refused(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path / "copy")
    save_file(load_file(directory / "model.safetensors"), tmp_path / "copy" / "model.safetensors")
    with pytest.raises(RequestError, match=r"model\.safetensors: says nothing of its network"):
        export.export(tmp_path / "copy")


def test_a_card_of_other_questions_than_the_network_is_refused(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path / "copy")
    card = cards.read_card(directory / "card.json")
    cards.write_card(tmp_path / "copy" / "card.json", msgspec.structs.replace(card, tasks={name: entry for name, entry in card.tasks.items() if name != "age"}))
    with pytest.raises(RequestError, match=r"card\.json: answers .*, the network of model\.safetensors .*age"):
        export.export(tmp_path / "copy")


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
