"""A network in eight bits: model.int8.onnx beside model.onnx, a quarter of its size and several times faster.

onnxruntime's static quantisation, as pairs of quantise and dequantise nodes: weights int8 for each channel they put out, maps uint8, in the ranges that they have on
crops of training pictures. The weights keep to seven of their eight bits, because processors without VNNI add two products in sixteen bits, which then cannot overflow:
the file answers the same everywhere. What stays in floats was chosen by measured drift (LOG.md): the first convolution, whose pixels are worth more than 256 levels; the
last of the head that makes points, because a point is a mean over such a map; and what small heads put out.

How far the answers are from those of the network in floats is measured on pictures that neither learned from, goes into the file, and must be within `drift.ALLOWED`.
"""

import contextlib
import io
import itertools
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from polyface import datasets, runtime
from polyface.datasets.base import Split
from polyface.errors import RequestError, RunError
from polyface.files import write_atomically
from polyface.inference import card as cards
from polyface.inference import engine as engines
from polyface.inference.drift import DRIFT_IN_ONNX, Drift, between
from polyface.inference.engine import Engine
from polyface.models.export import model_directory
from polyface.models.real_crops import Progress, RealCrops, learned_from, real_crops

CALIBRATED, MEASURED = 12, 64
"""Crops of each data set that ranges are taken from, and that drift is measured on. Ranges of four times as many gave the same drift (LOG.md)."""

PERCENTILE = 99.999
"""Of the values of a map, the range leaves one in a hundred thousand outside at each end; with all of them inside, embeddings and ages drift nearly twice as far."""

QUANTISED = ("Conv", "Gemm", "Add", "AveragePool", "Resize", "Relu", "Concat", "Split", "DepthToSpace")
WEIGHED = ("Conv", "Gemm")
"""The nodes whose weights are most of the file."""


@dataclass(frozen=True)
class Quantised:
    """path: the file; drift: how far it is from `network`, which it was made from."""

    path: Path
    network: Engine
    drift: Drift

    def rows(self) -> list[dict[str, object]]:
        return self.drift.rows(self.network.tasks)


def quantise(folder: Path, data: Path | None, out: Path | None = None, report: Progress | None = None) -> Quantised:
    """Write model.int8.onnx into a run's model directory, or into `out`, from its model.onnx.

    Raises RequestError where none of the data sets that the network learned from is at hand; RunError, and writes nothing, where a head drifts by more than is allowed.
    """
    source = model_directory(folder)
    network = engines.load(source / engines.FLOATS)
    place = datasets.data_folder(data)
    learned = learned_from(folder, network.card)
    calibration = _real(network, learned, place, "train", CALIBRATED, report)
    unseen = _real(network, learned, place, "validation", MEASURED, report)
    content = in_eight_bits(source / engines.FLOATS, calibration.crops)
    drift = measure(network, content, unseen.crops, calibration.sets, len(calibration.crops))
    wrong = drift.too_far(network.tasks)
    if wrong:
        raise RunError(f"{source / engines.FLOATS}: in eight bits {'; '.join(wrong)}; nothing was written")
    path = (out or source) / engines.INT8
    write_atomically(path, _with_drift(cards.put_into_onnx(content, network.card), drift))
    if out is not None:
        cards.write_card(out / "card.json", network.card)
    return Quantised(path, network, drift)


def in_eight_bits(network: Path, crops: np.ndarray) -> bytes:
    """An ONNX file in floats -> one in eight bits, its ranges those on crops uint8 [N, S, S, 3]."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / engines.INT8
        with _quietly():
            quantize_static(
                network,
                made,
                _Reader(crops),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=in_floats(onnx.load(network).graph),
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={"CalibPercentile": PERCENTILE, "OpTypesToExcludeOutputQuantization": ["Gemm"]},
            )
        return made.read_bytes()


def in_floats(graph: onnx.GraphProto) -> list[str]:
    """The names of the convolutions that stay in floats: the first, and those after which none of WEIGHED follows, but whose maps are no answer by themselves."""
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)

    def last(node: onnx.NodeProto) -> bool:
        after = list(itertools.chain.from_iterable(users.get(name, ()) for name in node.output))
        return all(each.op_type not in WEIGHED and last(each) for each in after)

    answers = {output.name for output in graph.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    return [node.name for at, node in enumerate(convolutions) if at == 0 or (last(node) and answers.isdisjoint(node.output))]


def measure(network: Engine, content: bytes, crops: np.ndarray, sets: tuple[str, ...], calibrated: int) -> Drift:
    """How far the answers of an ONNX file are from those of the network that it was made from, on crops uint8 [N, S, S, 3]."""
    other = replace(network, session=runtime.session(content))
    before, after = network.run(crops), other.run(crops)
    drift = {task.name: between(task, before[task.name], after[task.name], network.crop) for task in network.tasks}
    return Drift(of=network.label, sets=sets, calibrated=calibrated, measured=len(crops), drift=drift)


class _Reader(CalibrationDataReader):
    """Crops one by one, since percentiles are taken of batches of one size only."""

    def __init__(self, crops: np.ndarray):
        self.crops = iter(crops)

    def get_next(self) -> dict[str, np.ndarray] | None:
        crop = next(self.crops, None)
        return None if crop is None else {"crops": crop[None]}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The quantiser prints how it goes, and advises a preparation that torch's exporter has done already."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.root.setLevel(level)


def _real(network: Engine, learned: list[str], data: Path, split: Split, most: int, report: Progress | None) -> RealCrops:
    """Raises RequestError where no such picture is at hand."""
    found = real_crops(learned, network.crop, data, split, most, report)
    if not len(found.crops):
        raise RequestError(
            f"{data}: eight bits are fitted to pictures of the sets that {network.card.name!r} learned from ({', '.join(learned) or 'its card names none'}), "
            f"and no {split} picture of them is there"
        )
    return found


def _with_drift(network: bytes, drift: Drift) -> bytes:
    model = onnx.load_from_string(network)
    onnx.helper.set_model_props(model, {**{entry.key: entry.value for entry in model.metadata_props}, DRIFT_IN_ONNX: msgspec.json.encode(drift).decode()})
    return model.SerializeToString()
