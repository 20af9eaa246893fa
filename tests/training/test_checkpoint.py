"""Checkpoints: everything comes back, a folder is whole or not there, and what cannot be trusted is refused in one line."""

import errno
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from polyface.errors import RequestError, RunError
from polyface.training import checkpoint
from polyface.training.checkpoint import State

torch.set_num_threads(1)


def parts(seed: int = 0, width: int = 3) -> tuple[nn.Module, AveragedModel, torch.optim.AdamW]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width)).to(memory_format=torch.channels_last)
    return model, AveragedModel(model, use_buffers=True), torch.optim.AdamW([{"params": list(model.parameters()), "weight_decay": 0.1}], lr=0.1)


def stepped(seed: int = 0) -> tuple[nn.Module, AveragedModel, torch.optim.AdamW]:
    model, averaged, optimiser = parts(seed)
    for _ in range(2):
        model(torch.randn(2, 3, 5, 5)).square().sum().backward()
        optimiser.step()
        averaged.update_parameters(model)
    return model, averaged, optimiser


def state(step: int) -> State:
    return State(format=checkpoint.FORMAT, step=step, best=0.5, people={"a": "hash"})


def equal(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "last", state(7), *stepped())
    return tmp_path / "last"


def test_everything_comes_back_exactly(saved: Path) -> None:
    others, originals = parts(seed=5), stepped()
    assert checkpoint.load(saved, *others) == state(7)
    assert equal(others[0].state_dict(), originals[0].state_dict()) and equal(others[1].state_dict(), originals[1].state_dict())
    found, wanted = others[2].state_dict(), originals[2].state_dict()
    assert found["param_groups"] == wanted["param_groups"] and all(equal(found["state"][index], wanted["state"][index]) for index in wanted["state"])
    assert sorted(path.name for path in saved.parent.iterdir()) == ["last"]


def test_no_file_of_a_checkpoint_is_a_pickle(saved: Path) -> None:
    assert {path.suffix for path in saved.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("saves_until_full", [0, 1, 2])
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


@pytest.mark.parametrize("at", range(6))
def test_killed_at_any_moment_of_two_saves_a_whole_checkpoint_is_there(saved: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Dies at each rename and each removal of a save, then at each of the next."""
    calls = iter(range(100))
    real_replace, real_rmtree = os.replace, shutil.rmtree

    def dying(real):  # type: ignore[no-untyped-def]
        def call(*arguments, **options):  # type: ignore[no-untyped-def]
            if next(calls) == at:
                raise Killed
            return real(*arguments, **options)

        return call

    for second in range(6):
        monkeypatch.setattr(checkpoint.os, "replace", dying(real_replace))
        monkeypatch.setattr(checkpoint.shutil, "rmtree", dying(real_rmtree))
        calls = iter(range(100))
        try:
            checkpoint.save(saved, state(8), *stepped(1))
        except Killed:
            pass
        at_first = at
        at, calls = second, iter(range(100))
        try:
            checkpoint.save(saved, state(9), *stepped(2))
        except Killed:
            pass
        at = at_first
        monkeypatch.undo()
        assert checkpoint.load(saved, *parts(3)).step in (7, 8, 9)


def test_a_checkpoint_cut_in_half_is_refused_by_name(saved: Path) -> None:
    for name in ("model.safetensors", "averaged.safetensors", "optimiser.safetensors", "optimiser.json", "state.json"):
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


@pytest.mark.parametrize("name", ["model.safetensors", "averaged.safetensors", "optimiser.safetensors"])
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
    with pytest.raises(RequestError, match=r"model\.safetensors: 0\.bias is \[3\], this network's is \[4\]"):
        checkpoint.load(saved, *parts(width=4))


@pytest.mark.parametrize("content", ["[]", "3", '{"param_groups": []}', '{"state": {}, "param_groups": 5}'])
def test_numbers_of_an_optimiser_that_make_no_sense_are_refused(saved: Path, content: str) -> None:
    (saved / "optimiser.json").write_text(content)
    with pytest.raises(RequestError, match=r"optimiser\.json: not of this network"):
        checkpoint.load(saved, *parts())
