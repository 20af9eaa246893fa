"""A tiny model that answers all questions by rules simple enough to check by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from polyface import tasks
from polyface.images.align import Crop
from polyface.inference import card as cards
from polyface.inference.drift import DRIFT_IN_ONNX, Drift

SIZE = 64
CROP = Crop().scaled(SIZE)
MARK = (64 / 2, 60 / 2)  # the point between the eyes in that crop


@pytest.fixture
def card() -> cards.Card:
    return cards.Card(
        name="tiny",
        created="2026-11-24",
        crop=cards.entry_of_crop(CROP),
        tasks={task.name: cards.entry_of_task(task) for task in tasks.TASKS},
        data=(cards.Data(name="drawn", images=3, terms="none"),),
        licence="Apache-2.0",
    )


@pytest.fixture
def calibrated(card: cards.Card) -> cards.Card:
    """With a probability and three lines for "the same person?"."""
    said = cards.PairCalibration(slope=10.0, intercept=-2.0, different=0.05, frr=0.01)
    lines = tuple(cards.Threshold(far=far, cosine=cosine, low=cosine - 0.02, high=cosine + 0.02) for far, cosine in ((0.01, 0.3), (0.001, 0.5), (1e-4, 0.7)))
    return cards.with_calibration(card, {"identity": said}, lines)


@pytest.fixture
def model(tmp_path: Path, card: cards.Card) -> Path:
    """A model directory: all tasks, card beside the network."""
    folder = tmp_path / "model"
    cards.write_card(folder / "card.json", card)
    onnx.save(network(), folder / "model.onnx")
    return folder


@pytest.fixture
def drift() -> Drift:
    """What a network in eight bits says that answers just as the one in floats."""
    return Drift(of="tiny@000000000000", sets=("drawn",), calibrated=3, measured=3, drift={task.name: 0.0 for task in tasks.TASKS})


@pytest.fixture
def write_network() -> Callable[..., Path]:
    """write_network(path, card=None, names=all, drift=None): the network alone, with a card inside where one is given, and what one in eight bits says of itself."""

    def write(path: Path, card: cards.Card | None = None, names: Sequence[str] | None = None, drift: Drift | None = None) -> Path:
        built = network(names)
        inside = {"polyface.card": cards.json_of_card(card).decode()} if card is not None else {}
        helper.set_model_props(built, inside | ({DRIFT_IN_ONNX: msgspec.json.encode(drift).decode()} if drift is not None else {}))
        onnx.save(built, path)
        return path

    return write


def network(names: Sequence[str] | None = None) -> onnx.ModelProto:
    """Points: the template's, moved to where the red of the crop lies. Gender: male where the point between the eyes is red, else female. Others: constants."""
    names = [task.name for task in tasks.TASKS] if names is None else names
    constants = {name: numpy_helper.from_array(values, name) for name, values in _constants().items()}
    nodes = [
        helper.make_node("Cast", ["crops"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["pixels", "zero", "one", "last"], ["red_one"]),  # [N, S, S, 1]
        helper.make_node("Slice", ["pixels", "one", "three", "last"], ["others"]),
        helper.make_node("ReduceMax", ["others"], ["other_one"], axes=[3], keepdims=1),
        helper.make_node("Sub", ["red_one", "other_one"], ["difference"]),
        helper.make_node("Relu", ["difference"], ["red"]),
        helper.make_node("ReduceSum", ["red", "sides"], ["sum"], keepdims=1),  # [N, 1, 1, 1]
        helper.make_node("Add", ["sum", "tiny"], ["mass"]),
        helper.make_node("Mul", ["red", "grid"], ["moments"]),  # [N, S, S, 3]
        helper.make_node("ReduceSum", ["moments", "sides"], ["moment"], keepdims=1),
        helper.make_node("Div", ["moment", "mass"], ["centre"]),  # [N, 1, 1, 3]
        helper.make_node("Squeeze", ["centre", "one"], ["centre_row"]),  # [N, 1, 3]
        helper.make_node("Add", ["centre_row", "offsets"], ["landmarks"]),
        helper.make_node("Slice", ["red", "mark", "after_mark", "sides"], ["between"]),
        helper.make_node("Reshape", ["between", "column"], ["red_between"]),  # [N, 1]
        helper.make_node("Sub", ["red_between", "fifty"], ["is_red"]),
        helper.make_node("Mul", ["is_red", "plus_minus"], ["gender"]),
        helper.make_node("Mul", ["red_between", "no"], ["zero_column"]),
    ]
    for task in tasks.TASKS:
        if task.name in ("gender", "landmarks"):
            continue
        nodes.append(helper.make_node("Reshape", ["zero_column", f"{task.name}_ones"], [f"{task.name}_zeros"]))
        nodes.append(helper.make_node("Add", [f"{task.name}_zeros", f"{task.name}_answer"], [task.name]))
    outputs = [helper.make_tensor_value_info(task.name, TensorProto.FLOAT, ["n", *task.shape(SIZE)]) for task in tasks.TASKS if task.name in names]
    crops = helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", SIZE, SIZE, 3])
    graph = helper.make_graph(nodes, "tiny", [crops], outputs, list(constants.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _constants() -> dict[str, np.ndarray]:
    whole = {name: np.array([value], np.int64) for name, value in {"zero": 0, "one": 1, "three": 3, "last": 3}.items()}
    whole |= {"sides": np.array([1, 2], np.int64), "column": np.array([-1, 1], np.int64)}
    whole |= {"mark": np.array(MARK[::-1], np.int64), "after_mark": np.array(MARK[::-1], np.int64) + 1}
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    offsets = np.zeros((1, 68, 3), np.float32)
    for rows, point in zip((range(36, 42), range(42, 48), (30,), (48,), (54,)), CROP.template - np.array(MARK), strict=True):
        offsets[0, list(rows), :2] = point
    numbers = {
        "grid": np.stack([x, y, np.zeros_like(x)], -1)[None],
        "tiny": np.full((1, 1, 1, 1), 1e-6),
        "offsets": offsets,
        "fifty": np.array([[50.0]]),
        "plus_minus": np.array([[1.0, -1.0]]),
        "no": np.array([[0.0]]),
    }
    for task in tasks.TASKS:
        whole[f"{task.name}_ones"] = np.array([-1, *[1] * len(task.shape(SIZE))], np.int64)
        numbers[f"{task.name}_answer"] = _answer(task)[None]
    return {**whole, **{name: np.asarray(values, np.float32) for name, values in numbers.items()}}


def _answer(task) -> np.ndarray:
    """Logits that are sure: 30 years; the fourth class; the first two traits; skin in the middle rows; yaw, pitch, roll of 10.5, -10.5, 4.5 degrees; a unit vector."""
    logits = np.full(task.shape(SIZE), -30.0, np.float32)
    if isinstance(task, tasks.Scale):
        logits[30] = 30
    elif isinstance(task, tasks.Category):
        logits[3 % len(logits)] = 30
    elif isinstance(task, tasks.Traits):
        logits[:2] = 30
    elif isinstance(task, tasks.Regions):
        logits[0] = 0
        logits[1, 8:24] = 30
    elif isinstance(task, tasks.Angles):
        for axis, angle in enumerate((10.5, -10.5, 4.5)):
            logits[axis, int((angle + task.limit) // task.step)] = 30
    elif isinstance(task, tasks.Embedding):
        logits[:] = 1 / np.sqrt(task.dimension)
    return logits
