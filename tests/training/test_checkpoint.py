"""Checkpoints: everything comes back, a folder is whole or not there, and what cannot be trusted is refused in one line."""

import contextlib
import errno
import itertools
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from polyface.errors import RequestError, RunError
from polyface.training import checkpoint
from polyface.training.balance import Uncertainty
from polyface.training.checkpoint import State


def parts(seed: int = 0, width: int = 3) -> tuple[nn.Module, AveragedModel, torch.optim.AdamW, Uncertainty]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width)).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW([{"params": list(model.parameters()), "weight_decay": 0.1}], lr=0.1)
    return model, AveragedModel(model, use_buffers=True), optimiser, Uncertainty({"a": 1.0, "b": 2.0})


def stepped(seed: int = 0) -> tuple[nn.Module, AveragedModel, torch.optim.AdamW, Uncertainty]:
    model, averaged, optimiser, balance = parts(seed)
    nn.init.normal_(balance.log_variance)
    for _ in range(2):
        model(torch.randn(2, 3, 5, 5)).square().sum().backward()
        optimiser.step()
        averaged.update_parameters(model)
    return model, averaged, optimiser, balance


def state(step: int) -> State:
    return State(format=checkpoint.FORMAT, step=step, best=0.5, people={"a": "hash"})


def equal(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(autouse=True)
def disk_in_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "last", state(7), *stepped())
    return tmp_path / "last"


def test_everything_comes_back_exactly(saved: Path) -> None:
    others, originals = parts(seed=5), stepped()
    assert checkpoint.load(saved, *others) == state(7)
    assert equal(others[0].state_dict(), originals[0].state_dict()) and equal(others[1].state_dict(), originals[1].state_dict())
    assert equal(others[3].state_dict(), originals[3].state_dict()) and others[3].weights() != parts()[3].weights()
    found, wanted = others[2].state_dict(), originals[2].state_dict()
    assert [{**group, "betas": tuple(group["betas"])} for group in found["param_groups"]] == wanted["param_groups"]
    assert all(equal(found["state"][index], wanted["state"][index]) for index in wanted["state"])
    assert sorted(path.name for path in saved.parent.iterdir()) == ["last"]


def test_no_file_of_a_checkpoint_is_a_pickle(saved: Path) -> None:
    assert {path.suffix for path in saved.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("saves_until_full", [0, 1, 2, 3])
def test_a_full_disk_leaves_the_last_checkpoint_whole(saved: Path, monkeypatch: pytest.MonkeyPatch, saves_until_full: int) -> None:
    real, count = checkpoint.save_file, iter(range(10))

    def save_file(tensors: dict, path: Path) -> None:
        if next(count) == saves_until_full:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", save_file)
    with pytest.raises(RunError, match=r"last: the checkpoint cannot be written .*No space left.*the one before is whole"):
        checkpoint.save(saved, state(8), *stepped(1))
    others = parts(3)
    assert checkpoint.load(saved, *others).step == 7
    assert equal(others[0].state_dict(), stepped()[0].state_dict())
    assert os.listdir(saved.parent) == ["last"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def save_and_die(monkeypatch: pytest.MonkeyPatch, at: int, folder: Path, step: int) -> None:
    """A save that is killed at its rename or removal number `at`, counted from 0; whole where it has fewer."""
    calls = itertools.count()

    def dying(real: Callable) -> Callable:
        def call(*arguments: object, **options: object) -> object:
            if next(calls) == at:
                raise Killed
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patched, contextlib.suppress(Killed):
        patched.setattr(os, "replace", dying(os.replace))
        patched.setattr(shutil, "rmtree", dying(shutil.rmtree))
        checkpoint.save(folder, state(step), *stepped(step))


@pytest.mark.parametrize("first", range(6))
def test_killed_at_any_moment_of_two_saves_a_whole_checkpoint_is_there(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    for second in range(6):
        folder = tmp_path / str(second) / "last"
        shutil.copytree(saved, folder)
        save_and_die(monkeypatch, first, folder, 8)
        save_and_die(monkeypatch, second, folder, 9)
        others = parts(3)
        step = checkpoint.load(folder, *others).step
        assert step in (7, 8, 9)
        assert equal(others[0].state_dict(), stepped(0 if step == 7 else step)[0].state_dict())
    assert step == 9  # neither save has six moments to die at


def test_a_checkpoint_cut_in_half_is_refused_by_name(saved: Path) -> None:
    for name in ("model.safetensors", "averaged.safetensors", "balance.safetensors", "optimiser.safetensors", "optimiser.json", "state.json"):
        whole = (saved / name).read_bytes()
        (saved / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(RequestError, match=name.replace(".", r"\.")) as caught:
            checkpoint.load(saved, *parts())
        assert len(str(caught.value).splitlines()) == 1
        (saved / name).unlink()
        with pytest.raises(RequestError, match=name.replace(".", r"\.")):
            checkpoint.load(saved, *parts())
        (saved / name).write_bytes(whole)
    assert checkpoint.load(saved, *parts()).step == 7


def test_a_checkpoint_of_another_version_is_refused(saved: Path) -> None:
    (saved / "state.json").write_text(json.dumps({"format": 99, "step": 7, "best": None, "people": {}}))
    with pytest.raises(RequestError, match=r"state\.json: format 99, this version reads 1"):
        checkpoint.load(saved, *parts())
    (saved / "state.json").write_text(json.dumps({"format": 99, "step": 7, "best": None, "people": {}, "more": 1}))
    with pytest.raises(RequestError, match="format 99, this version reads 1"):
        checkpoint.load(saved, *parts())


@pytest.mark.parametrize("name", ["model.safetensors", "averaged.safetensors", "balance.safetensors", "optimiser.safetensors"])
def test_a_pickle_is_refused_and_never_run(saved: Path, name: str) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (saved.parent / "run",))

    (saved / name).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(RequestError, match="a pickle is never loaded"):
        checkpoint.load(saved, *parts())
    torch.save({"a": Evil()}, saved / name)
    with pytest.raises(RequestError, match="a pickle is never loaded"):
        checkpoint.load(saved, *parts())
    assert not (saved.parent / "run").exists()


def test_a_checkpoint_of_another_network_is_refused_by_tensor(saved: Path) -> None:
    with pytest.raises(RequestError, match=r"model\.safetensors: 0\.\w+ is \[3.*\], this network's is \[4.*\]"):
        checkpoint.load(saved, *parts(width=4))


@pytest.mark.parametrize("content", ["[]", "3", '{"param_groups": []}', '{"state": {}, "param_groups": 5}'])
def test_numbers_of_an_optimiser_that_make_no_sense_are_refused(saved: Path, content: str) -> None:
    (saved / "optimiser.json").write_text(content)
    with pytest.raises(RequestError, match=r"optimiser\.json: not of this network"):
        checkpoint.load(saved, *parts())
