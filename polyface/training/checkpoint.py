"""Checkpoints: safetensors and JSON, the optimiser included, no pickle. A folder appears whole or not at all."""

import json
import os
import shutil
from pathlib import Path

import msgspec
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from polyface.errors import RequestError, RunError
from polyface.models.weights import read_tensors

FORMAT = 1


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a checkpoint knows beside its tensors. best: the lowest validation so far; people: hash of the sorted list of people of each space, and of each
    set's pictures and labels. settings: of what was set, but for the length; of one made before that was kept, empty."""

    format: int
    step: int
    best: float | None
    people: dict[str, str]
    settings: str = ""


def save(folder: Path, state: State, model: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer, balance: nn.Module) -> None:
    """Write to a temporary name, sync, rename. Raises RunError naming the folder when the disk is full; the checkpoint before is then untouched."""
    partial, old = folder.with_name(folder.name + ".partial"), folder.with_name(folder.name + ".old")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_tensors(model), partial / "model.safetensors")
        save_file(_tensors(averaged), partial / "averaged.safetensors")
        if balance.state_dict():  # fixed weights have none
            save_file(_tensors(balance), partial / "balance.safetensors")
        tensors, numbers = _flatten(optimiser.state_dict())
        save_file(tensors, partial / "optimiser.safetensors")
        (partial / "optimiser.json").write_text(json.dumps(numbers))
        (partial / "state.json").write_bytes(msgspec.json.encode(state))
        for file in partial.iterdir():
            with open(file, "rb") as written:
                os.fsync(written.fileno())
        if folder.exists():  # else a run was killed between the two renames, and old is the only checkpoint there is
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(partial, folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, safetensors.SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(f"{folder}: the checkpoint cannot be written ({error}); the one before is whole") from error


def there(folder: Path) -> Path:
    """Where a checkpoint is: a run may have been killed between the two renames."""
    old = folder.with_name(folder.name + ".old")
    return old if old.exists() and not folder.exists() else folder


def load(folder: Path, model: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer | None = None, balance: nn.Module | None = None) -> State:
    """Restore everything that is given in place. Raises RequestError naming the file that is missing, cut short, of another version or of another network."""
    folder = there(folder)
    path = folder / "state.json"
    try:
        table = msgspec.json.decode(path.read_bytes(), type=dict)
        if table.get("format") != FORMAT:
            raise RequestError(f"{path}: format {table.get('format')}, this version reads {FORMAT}")
        state = msgspec.convert(table, State)
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: no checkpoint that can be read ({error})") from error
    _load_into(model, folder / "model.safetensors")
    _load_into(averaged, folder / "averaged.safetensors")
    if balance is not None:
        _load_balance(balance, folder / "balance.safetensors")
    if optimiser is not None:
        tensors = read_tensors(folder / "optimiser.safetensors")
        try:
            optimiser.load_state_dict(_unflatten(tensors, json.loads((folder / "optimiser.json").read_text())))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RequestError(f"{folder / 'optimiser.json'}: not of this network ({error})") from error
    return state


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items()}


def _load_into(module: nn.Module, path: Path) -> None:
    tensors, wanted = read_tensors(path), module.state_dict()
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise RequestError(f"{path}: {missing[0]} is missing, {len(missing)} tensors in all")
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            raise RequestError(f"{path}: {name} is {list(tensors[name].shape)}, this network's is {list(tensor.shape)}")
    module.load_state_dict({name: tensors[name] for name in wanted})


def _load_balance(balance: nn.Module, path: Path) -> None:
    if balance.state_dict():
        _load_into(balance, path)
    elif path.exists():
        raise RequestError(f"{path}: this run learned the weights of its losses, which the recipe now fixes")


def _flatten(state: dict) -> tuple[dict[str, Tensor], dict]:
    """An optimiser's state as named tensors and plain numbers."""
    tensors: dict[str, Tensor] = {}
    numbers: dict = {"param_groups": state["param_groups"], "state": {}}
    for index, values in state["state"].items():
        numbers["state"][str(index)] = {name: value for name, value in values.items() if not isinstance(value, Tensor)}
        tensors |= {f"{index}/{name}": value.contiguous() for name, value in values.items() if isinstance(value, Tensor)}
    return tensors, numbers


def _unflatten(tensors: dict[str, Tensor], numbers: dict) -> dict:
    state = {int(index): dict(values) for index, values in numbers["state"].items()}
    for name, tensor in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = tensor
    return {"param_groups": numbers["param_groups"], "state": state}
