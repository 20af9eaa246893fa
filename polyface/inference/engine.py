"""A model directory -> answers for crops. No task is named here: the card says which there are.

A model is a directory with `card.json`, `model.onnx` and perhaps `model.int8.onnx`, a single .onnx file that carries its card, or the installed package of weights. In a
directory the network in eight bits answers where there is one, since it is several times faster; DIR/model.onnx names the other. One whose answers drift by more than
is allowed (`drift.py`), or that does not say by how much, answers nobody.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from polyface import files, runtime
from polyface.errors import RequestError, RunError, nearest, reason
from polyface.images.align import Crop
from polyface.inference.card import CARD_IN_ONNX, Card, card_of_json, crop_of_card, network_sha256, read_card, tasks_of_card
from polyface.inference.drift import DRIFT_IN_ONNX, Drift, drift_of_json
from polyface.installed import installed
from polyface.tasks.kinds import Task

FLOATS, INT8 = "model.onnx", "model.int8.onnx"
NETWORKS = (INT8, FLOATS)
"""The networks of a directory; the first that is there answers."""

SAME_IN_BOTH_CARDS = ("name", "created", "commit", "crop", "tasks")
"""What says that a card is of this network; scores and calibrations come later."""

CHUNK = 32
"""Crops in one pass. More gain nothing on a processor and cost memory."""


@dataclass(frozen=True)
class Engine:
    """A network that answers. sha256 is that of its ONNX file; drift, of one in eight bits, how far it is from the one that it was made from."""

    card: Card
    tasks: tuple[Task, ...]
    crop: Crop
    sha256: str
    session: Any = field(repr=False)
    drift: Drift | None = field(default=None, repr=False)
    file: Path | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """What every answer carries: the name, and the beginning of the hash."""
        return f"{self.card.name}@{self.sha256[:12]}"

    @property
    def terms(self) -> str:
        """What a command says of it before it answers."""
        return f"model {self.label}; terms: {self.card.terms}"

    @cached_property
    def network(self) -> str:
        """The sha256 of its file without what is said of it (`card.network_sha256`), of which only galleries ask."""
        assert self.file is not None
        return network_sha256(self.file.read_bytes())

    def chosen(self, names: Iterable[str]) -> tuple[Task, ...]:
        """The tasks of these names, in the card's order. Raises RequestError for one the model does not answer."""
        known, wanted = [task.name for task in self.tasks], list(names)
        for name in wanted:
            if name not in known:
                raise RequestError(f"the model {self.card.name!r} has no task {name!r}{nearest(name, known)}")
        return tuple(task for task in self.tasks if task.name in wanted)

    def run(self, crops: np.ndarray, tasks: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Crops uint8 RGB [N, S, S, 3] -> {task name: float32 [N, ...]}, of all tasks or of those named.

        Raises RequestError for crops of another shape and tasks the model does not have, RunError where the network fails.
        """
        size = self.crop.size
        if crops.dtype != np.uint8 or crops.shape[1:] != (size, size, 3):
            raise RequestError(f"the model {self.card.name!r} takes crops uint8 [N, {size}, {size}, 3], not {crops.dtype} {list(crops.shape)}")
        chosen = self.tasks if tasks is None else self.chosen(tasks)
        if not chosen or not len(crops):
            return {task.name: np.zeros((0, *_shape(task, size)), np.float32) for task in chosen}
        names = [task.name for task in chosen]
        chunks = [self._run(names, crops[start : start + CHUNK]) for start in range(0, len(crops), CHUNK)]
        return {name: np.concatenate([chunk[at] for chunk in chunks]) for at, name in enumerate(names)}

    def _run(self, names: list[str], crops: np.ndarray) -> list[np.ndarray]:
        try:
            outputs = self.session.run(names, {"crops": np.ascontiguousarray(crops)})
        except Exception as error:  # onnxruntime raises many kinds, all from one call
            raise RunError(f"the network {self.label} failed: {reason(error)}") from error
        for task, output in zip(self.chosen(names), outputs, strict=True):
            expected = (len(crops), *_shape(task, self.crop.size))
            if output.shape != expected:
                raise RequestError(f"the network {self.label} answers {task.name!r} in the shape {list(output.shape)}, its card promises {list(expected)}")
        return [output.astype(np.float32, copy=False) for output in outputs]


def load(path: Path | None = None, threads: int | None = None) -> Engine:
    """Open a model directory, an .onnx file with its card inside, or (None) the installed weights; threads None: all processors this process may use.

    Raises RequestError where there is no model, or its network does not keep what its card promises.
    """
    path = installed("model") if path is None else Path(path)
    network = _network(path)
    session = runtime.session(network, threads)
    said = session.get_modelmeta().custom_metadata_map
    inside = card_of_json(said[CARD_IN_ONNX].encode(), f"{network}: its card") if CARD_IN_ONNX in said else None
    card = read_card(path / "card.json") if path.is_dir() else inside
    if card is None:
        raise RequestError(f"{network}: carries no card, so it is no model of polyface")
    if inside is not None:
        _check_cards(card, inside, network)
    drift = drift_of_json(said[DRIFT_IN_ONNX].encode(), str(network)) if DRIFT_IN_ONNX in said else None
    engine = Engine(card, tasks_of_card(card), crop_of_card(card), files.sha256_of_file(network), session, drift, network)
    _check(engine, network)
    if drift is not None or network.name == INT8:
        _check_drift(engine, network)
    return engine


def _network(path: Path) -> Path:
    """The .onnx file of a model."""
    if path.is_file():
        return path
    if not path.exists():
        raise RequestError(f"{path}: no such model")
    if not (path / "card.json").is_file():
        run_folder = (path / "model" / "card.json").is_file()
        raise RequestError(f"{path}: no model directory, it holds no card.json" + (f"; did you mean {path / 'model'}?" if run_folder else ""))
    for name in NETWORKS:
        if (path / name).is_file():
            return path / name
    raise RequestError(f"{path}: no network in it ({' or '.join(NETWORKS)})")


def _check(engine: Engine, network: Path) -> None:
    """The network takes crops and has every output its card promises, in shape where the file states it."""
    inputs = {entry.name: entry for entry in engine.session.get_inputs()}
    if list(inputs) != ["crops"] or inputs["crops"].type != "tensor(uint8)":
        raise RequestError(f"{network}: takes {', '.join(f'{name} {entry.type}' for name, entry in inputs.items())}, not crops of uint8")
    _compare(network, "crops", inputs["crops"].shape[1:], (engine.crop.size, engine.crop.size, 3))
    outputs = {entry.name: entry.shape for entry in engine.session.get_outputs()}
    for task in engine.tasks:
        if task.name not in outputs:
            raise RequestError(f"{network}: the card promises {task.name!r}, which the network does not put out{nearest(task.name, outputs)}")
        _compare(network, task.name, outputs[task.name][1:], _shape(task, engine.crop.size))


def _check_cards(beside: Card, inside: Card, network: Path) -> None:
    """The card beside a network is of this network, and not of one that lay here before or after it."""
    for what in SAME_IN_BOTH_CARDS:
        if getattr(beside, what) != getattr(inside, what):
            raise RequestError(f"{network}: the card inside is of another network than card.json beside it: they differ in {what!r}")


def _check_drift(engine: Engine, network: Path) -> None:
    """A network in eight bits answers as the one that it was made from, or not at all."""
    if engine.drift is None:
        raise RequestError(f"{network}: in eight bits, and nobody measured how far its answers drift; make it with `polyface export --int8`")
    wrong = engine.drift.too_far(engine.tasks)
    if wrong:
        raise RequestError(f"{network}: set aside: {'; '.join(wrong)}; {FLOATS} answers instead where --model names it")


def _compare(network: Path, name: str, stated: list[Any], expected: tuple[int, ...]) -> None:
    if len(stated) != len(expected) or any(isinstance(side, int) and side != wanted for side, wanted in zip(stated, expected, strict=True)):
        raise RequestError(f"{network}: {name!r} is of shape {stated} per face, the card promises {list(expected)}")


def _shape(task: Task, size: int) -> tuple[int, ...]:
    return task.shape(size)  # type: ignore[attr-defined]
