"""From a trained network to a model directory: card.json, model.safetensors, model.onnx with the card inside.

The ONNX file is compared with torch before anything is called done: on random crops, on smooth ones, and on real ones of its data sets where these are at hand; the card
says on which.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec
import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from polyface import runtime, terminal
from polyface.errors import RequestError, RunError
from polyface.evaluation.report import commit
from polyface.files import write_atomically
from polyface.inference import card as cards
from polyface.inference.engine import FLOATS, INT8
from polyface.models.ifan import Ifan, IfanConfig
from polyface.models.joint import Joint, JointConfig
from polyface.models.polyface import ModelConfig, PolyFace, build
from polyface.models.real_crops import FEW, RealCrops, learned_from, real_crops
from polyface.models.weights import read_metadata, read_tensors
from polyface.strict import strict
from polyface.tasks.kinds import Task

WEIGHTS = "model.safetensors"
LARGEST_DRIFT = 2e-3
"""The largest difference between torch and onnxruntime that is rounding, relative to the largest output."""


class Network(Protocol):
    """Any nn.Module with tasks that answers crops uint8 [N, S, S, 3] by {task name: output}, as the kinds say."""

    tasks: tuple[Task, ...]

    def __call__(self, crops: Tensor, /) -> dict[str, Tensor]: ...
    def cpu(self) -> Self: ...
    def eval(self) -> Self: ...
    def state_dict(self) -> dict[str, Any]: ...


class Named(nn.Module):
    """The network with its outputs as a tuple in the order of its tasks, as ONNX wants them."""

    def __init__(self, model: Network):
        super().__init__()
        self.model = model

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(crops)
        return tuple(outputs[task.name] for task in self.model.tasks)


def write_model(model: Network, card: cards.Card, folder: Path, real: RealCrops | None = None) -> Path:
    """Write a model directory; real: crops of its data sets to compare on too. Raises RunError, and leaves no model.onnx, where onnxruntime and torch disagree."""
    model = model.cpu().eval()
    shown = [real] if real is not None and len(real.crops) else []
    card = msgspec.structs.replace(card, compared="crops of noise and of waves" + (f", and {shown[0]}" if shown else " alone"))
    content = cards.put_into_onnx(to_onnx(model, card.crop.size), card)
    compare(model, content, [*made_up(card.crop.size), *(each.crops for each in shown)])
    (folder / INT8).unlink(missing_ok=True)  # it was made of another network
    write_atomically(folder / FLOATS, content)
    cards.write_card(folder / "card.json", card)
    write_weights(model, card.name, folder)  # last, since by them `holds` knows whose the others are
    terminal.say(f"{folder / FLOATS} answers as torch does on {card.compared}")
    return folder


def write_weights(model: Network, name: str, folder: Path) -> None:
    """FOLDER/model.safetensors: with the card beside it, all that `export` needs."""
    write_atomically(folder / WEIGHTS, save(exported_weights(model), _beside_weights(model, name)))


def holds(folder: Path, model: Network, name: str) -> bool:
    """Whether a model directory is of this network as it is: then its card, with what was measured since, stays."""
    if not all((folder / file).exists() for file in (WEIGHTS, FLOATS, "card.json")):
        return False
    try:
        there, beside = read_tensors(folder / WEIGHTS), read_metadata(folder / WEIGHTS)
    except RequestError:
        return False
    now = exported_weights(model.cpu().eval())
    same = there.keys() == now.keys() and all(torch.equal(there[key], now[key]) for key in now)
    return same and beside == _beside_weights(model, name)  # not by the file's bytes: metadata have no order


def new_card(name: str, model: Network, crop: cards.CropEntry, data: Sequence[cards.Data], drawings: bool, **said: Any) -> cards.Card:
    """The card of a network that has not been measured yet; `said` are further entries of the card, such as its limits."""
    return cards.Card(
        name=name,
        created=datetime.now(UTC).date().isoformat(),
        commit=commit(),
        crop=crop,
        tasks={task.name: cards.entry_of_task(task) for task in model.tasks},
        data=tuple(data),
        trained_on_drawings=drawings,
        licence="Apache-2.0" if drawings else "for research only, as the data it was trained on",
        **said,
    )


def export(folder: Path, out: Path | None = None, data: Path | None = None) -> Path:
    """The model directory of a model directory or run folder, its ONNX file written anew from its weights; compared on pictures of its data sets that are in `data`."""
    source = model_directory(folder)
    card = cards.read_card(source / "card.json")
    model = _untrained(card, source)
    if (own := [task.name for task in model.tasks]) != list(card.tasks):
        raise RequestError(f"{source / 'card.json'}: answers {', '.join(card.tasks)}, the network of {WEIGHTS} {', '.join(own)}")
    weights = read_tensors(source / WEIGHTS)
    for name, wanted in exported_weights(model).items():
        if name not in weights:
            raise RequestError(f"{source / WEIGHTS}: {name} is missing")
        if weights[name].shape != wanted.shape:
            raise RequestError(f"{source / WEIGHTS}: {name} is of shape {list(weights[name].shape)}, the network of its card wants {list(wanted.shape)}")
    model.load_state_dict(weights, strict=False)
    real = real_crops(learned_from(folder, card), cards.crop_of_card(card), data, "validation", FEW) if data else None
    return write_model(model, card, out or source, real)


def model_directory(folder: Path) -> Path:
    """The model directory of a run folder, or the folder itself. Raises RequestError where there is no folder."""
    if not folder.is_dir():
        raise RequestError(f"{folder}: no such folder")
    return folder / "model" if (folder / "model" / "card.json").exists() else folder


class _OfIfan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a card does not say of an integrated network."""

    config: IfanConfig
    streams: dict[str, str]


IFAN = "ifan"
"""The key of `_OfIfan`, as JSON, in the metadata of a file of weights."""

JOINT = "joint"
"""The key of the configuration, as JSON, of a joint network."""

POLYFACE = "config"
"""The key of the configuration, as JSON, of the project's own network."""


def _beside_weights(model: Network, name: str) -> dict[str, str]:
    said = {"polyface": name}
    match model:
        case Ifan():
            return said | {IFAN: msgspec.json.encode(_OfIfan(model.config, model.streams)).decode()}
        case Joint():
            return said | {JOINT: msgspec.json.encode(model.config).decode()}
        case PolyFace():
            config = msgspec.structs.replace(model.config, tasks=tuple(task.name for task in model.tasks))
            return said | {POLYFACE: msgspec.json.encode(config).decode()}
    return said


def _untrained(card: cards.Card, folder: Path) -> PolyFace | Ifan | Joint:
    """The network of a card and of the weights beside it, without them."""
    said = read_metadata(folder / WEIGHTS)
    if not said.keys() & {IFAN, JOINT, POLYFACE}:
        raise RequestError(f"{folder / WEIGHTS}: says nothing of its network, without which it cannot be exported")
    where = f"{folder / WEIGHTS}: its network"
    try:
        if POLYFACE in said:
            return build(strict(msgspec.json.decode(said[POLYFACE]), ModelConfig, where), {})
        if JOINT in said:
            return Joint(strict(msgspec.json.decode(said[JOINT]), JointConfig, where), cards.tasks_of_card(card), {})
        told = strict(msgspec.json.decode(said[IFAN]), _OfIfan, where)
        return Ifan(told.config, cards.tasks_of_card(card), told.streams)
    except (ValueError, TypeError) as error:  # no JSON, or streams and tasks that do not fit
        raise RequestError(f"{where}: {error}") from error


def exported_weights(model: Network) -> dict[str, Tensor]:
    """What a user of the network needs: everything but the centres of the people it was trained on."""
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items() if not name.startswith("people.")}


def to_onnx(model: Network, size: int) -> bytes:
    """The network as an ONNX file: crops uint8 [N, S, S, 3] in, an output for each task, named as the task."""
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    batch = torch.export.Dim("n", min=1, max=4096)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            Named(model),
            (example,),
            dynamo=True,
            input_names=["crops"],
            output_names=[task.name for task in model.tasks],
            dynamic_shapes={"crops": {0: batch}},
            external_data=False,
            verbose=False,
        )
    assert program is not None
    network = program.model_proto
    for part in (*network.graph.node, *network.graph.value_info, *network.graph.initializer, *network.graph.input, *network.graph.output, network.graph):
        part.ClearField("metadata_props")  # stack traces of the exporter, with the paths of this machine
    return network.SerializeToString()


def made_up(size: int) -> tuple[np.ndarray, ...]:
    """Batches uint8 [N, S, S, 3] of three crops and of one: noise, and waves, which are as smooth as pictures are."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    waves = np.clip(128 + 100 * np.sin(np.linspace(0, 6, size))[None, :, None, None] * random.uniform(0.2, 1, (3, 1, size, 3)), 0, 255).astype(np.uint8)
    return noise, waves, noise[:1]


def compare(model: Network, content: bytes, batches: Iterable[np.ndarray]) -> None:
    """Torch against onnxruntime on batches of crops uint8 [N, S, S, 3]. Raises RunError naming the output that drifts."""
    session = runtime.session(content)
    for crops in batches:
        with torch.inference_mode():
            expected = model(torch.from_numpy(crops))
        for task, found in zip(model.tasks, session.run([task.name for task in model.tasks], {"crops": crops}), strict=True):
            wanted = expected[task.name].float().numpy()
            drift = float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1.0))
            if not drift < LARGEST_DRIFT:
                raise RunError(f"onnxruntime and torch differ by {drift:.2g} in {task.name}")
