"""The face detector: where every face of a photograph is, how sure that is, and five points of it.

What it reads and answers is what YuNet does (Wu et al., Machine Intelligence Research 2023), so that either file runs in onnxruntime (`images/detect.py`) and in OpenCV's
FaceDetectorYN: pictures float [1, 3, H, W], BGR, 0 to 255, sides multiples of 32; for each stride cls and obj [1, N, 1] after the sigmoid, whose geometric mean is the
score, bbox [1, N, 4] and kps [1, N, 10], where N are the cells row by row.

Where it differs: depthwise convolutions come before 1 x 1 ones, so that a stride costs a quarter; few channels where the maps are large and many where they are small,
which costs no more time and sees more, since what fills the picture is found on the smallest map, with kernels of 5 x 5.
"""

import contextlib
import hashlib
import io
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyface import runtime
from polyface.errors import RequestError, RunError
from polyface.images.detect import BEST_SIZE_IN_ONNX, NAME_IN_ONNX, THRESHOLD_IN_ONNX
from polyface.models.sizes import parameters_of
from polyface.strict import Count

if TYPE_CHECKING:
    import onnx

STRIDES = (8, 16, 32)
PARTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
"""What each cell answers: how well its box fits, whether a face is here, (centre, log of the sides) in strides from the cell's corner, five points likewise."""
OUTPUTS = tuple(f"{part}_{stride}" for part in PARTS for stride in STRIDES)
INPUT = "input"
RARE = 0.01
"""How likely a cell holds a face before anything is learned (Lin et al. 2017)."""
MOST_PARAMETERS = 150_000
LARGEST_DRIFT = 1e-3
"""The largest difference between torch and onnxruntime that is rounding, relative to the largest output."""


class DetectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Channels at half and a quarter of the picture's side, at each stride, and of the maps that the heads read; blocks at each stride."""

    stem: Count = 16
    early: Count = 32
    widths: tuple[Count, Count, Count] = (64, 96, 128)
    blocks: tuple[Count, Count, Count] = (3, 3, 3)
    neck: Count = 64


class Detector(nn.Module):
    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.stem = _convolution(3, config.stem, 3, stride=2, active=True)
        self.early = nn.Sequential(Separable(config.stem, config.early, stride=2), Separable(config.early, config.early))
        before = (config.early, *config.widths)
        self.stages = nn.ModuleList(
            nn.Sequential(Separable(before[at], width, stride=2), *(Separable(width, width, kernel=5 if at == 2 else 3) for _ in range(blocks - 1)))
            for at, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True))
        )
        self.laterals = nn.ModuleList(_convolution(width, config.neck, 1) for width in config.widths)
        self.smooth = nn.ModuleList(Separable(config.neck, config.neck) for _ in STRIDES)
        self.heads = nn.ModuleList(Head(config.neck) for _ in STRIDES)

    def forward(self, pictures: Tensor) -> list[dict[str, Tensor]]:
        """float [B, 3, H, W], BGR, 0 to 255 -> for each stride {part: [B, N, n]}, cls and obj as logits."""
        x = self.early(self.stem(pictures / 128))
        maps = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            maps.append(lateral(x))
        for at in (1, 0):
            maps[at] = maps[at] + F.interpolate(maps[at + 1], scale_factor=2.0, mode="nearest")
        return [head(smooth(each.relu())) for each, smooth, head in zip(maps, self.smooth, self.heads, strict=True)]


START = {"cls": (0.0,), "obj": (math.log(RARE / (1 - RARE)),), "bbox": (0.5, 0.5, 0.0, 0.0), "kps": (0.5,) * 10}
"""What a cell answers before anything is learned: hardly ever a face; a box of one stride, and points, in its middle."""


class Separable(nn.Module):
    """Each channel on its own, then all of them in each place; added to what came in where that is of the same shape."""

    def __init__(self, width_in: int, width: int, stride: int = 1, kernel: int = 3):
        super().__init__()
        self.spread = _convolution(width_in, width_in, kernel, stride, groups=width_in)
        self.mix = _convolution(width_in, width, 1)
        self.adds = stride == 1 and width_in == width

    def forward(self, x: Tensor) -> Tensor:
        out = self.mix(self.spread(x))
        return (out + x if self.adds else out).relu()


class Head(nn.Module):
    """What the cells of one stride answer."""

    def __init__(self, width: int):
        super().__init__()
        self.look = Separable(width, width)
        self.answers = nn.ModuleDict({part: _answer(width, start) for part, start in START.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.look(x)
        return {part: convolution(x).permute(0, 2, 3, 1).reshape(len(x), -1, PARTS[part]) for part, convolution in self.answers.items()}


def build(config: DetectorConfig) -> Detector:
    """Raises RequestError where the network is larger than a detector should be."""
    model = Detector(config)
    if (size := parameters_of(model)) > MOST_PARAMETERS:
        raise RequestError(f"a detector of {size:,} parameters; at most {MOST_PARAMETERS:,} are a small one")
    return model


def pictures_of(images: Tensor) -> Tensor:
    """uint8 RGB [B, H, W, 3] -> what the network reads."""
    return images.flip(-1).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)


def cells(height: int, width: int, stride: int) -> np.ndarray:
    """Corners int [N, 2] (column, row) of the cells of a picture, row by row: the order of every output."""
    rows, columns = np.mgrid[: height // stride, : width // stride]
    return np.stack([columns.ravel(), rows.ravel()], axis=1)


def name_of(model: Detector, recipe: str, threshold: float, best_size: float) -> str:
    """What answers, cards and alignments call it: its recipe, and the beginning of a hash of all that its finds depend on, so that no two detectors share a name."""
    digest = hashlib.sha256(f"{threshold} {best_size}".encode())
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode() + tensor.cpu().numpy().tobytes())
    return f"{recipe}-{digest.hexdigest()[:8]}"


def to_onnx(model: Detector, name: str, threshold: float, best_size: float) -> bytes:
    """The network as an ONNX file with YuNet's inputs and outputs, for pictures of any sides that are multiples of 32; name: what answers call it; threshold: the score
    from which a find is a face; best_size: of a face, in pixels, at which points err least.

    Of torch's two exporters this takes the older, which leaves shapes of a fixed picture as numbers only where they are none of its sides; the sides are then opened.
    Raises RunError where onnxruntime and torch disagree, at any of three sizes.
    """
    import onnx

    named, file = _Named(model.cpu().float()).eval(), io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(named, (torch.zeros(1, 3, 64, 96),), file, dynamo=False, input_names=[INPUT], output_names=list(OUTPUTS), opset_version=13)  # type: ignore[arg-type]
    network = onnx.load_from_string(file.getvalue())
    open_sides(network)
    for node in network.graph.node:
        node.doc_string = ""  # where in this machine's files it came from
    onnx.helper.set_model_props(network, {NAME_IN_ONNX: name, THRESHOLD_IN_ONNX: str(threshold), BEST_SIZE_IN_ONNX: str(best_size)})
    onnx.checker.check_model(network)
    content = network.SerializeToString()
    _compare(named, content)
    return content


def open_sides(network: "onnx.ModelProto") -> None:
    """Leave the sides of the picture that a network of YuNet's form reads open, in place: YuNet's own file declares 640 x 640, though nothing in it needs that."""
    for side, name in ((2, "height"), (3, "width")):
        network.graph.input[0].type.tensor_type.shape.dim[side].dim_param = name
    for output in network.graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = f"cells_{output.name.rpartition('_')[2]}"
    del network.graph.value_info[:]


class _Named(nn.Module):
    """The network with YuNet's outputs, in the order of OUTPUTS."""

    def __init__(self, model: Detector):
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        answers = self.model(pictures)
        return tuple(answer[part].sigmoid() if part in ("cls", "obj") else answer[part] for part in PARTS for answer in answers)


def _compare(named: _Named, content: bytes, sizes: Sequence[tuple[int, int]] = ((64, 96), (160, 64), (32, 32))) -> None:
    session, random = runtime.session(content), np.random.default_rng(0)
    for height, width in sizes:
        picture = random.uniform(0, 255, (1, 3, height, width)).astype(np.float32)
        with torch.inference_mode():
            expected = named(torch.from_numpy(picture))
        for name, found, wanted in zip(OUTPUTS, session.run(list(OUTPUTS), {INPUT: picture}), expected, strict=True):
            drift = float(np.abs(found - wanted.numpy()).max() / max(float(wanted.abs().max()), 1.0))
            if not drift < LARGEST_DRIFT:
                raise RunError(f"onnxruntime and torch differ by {drift:.2g} in {name} on a picture of {width} x {height}")


def _answer(width: int, start: Sequence[float]) -> nn.Conv2d:
    convolution = nn.Conv2d(width, len(start), 1)
    nn.init.normal_(convolution.weight, std=0.01)
    assert convolution.bias is not None
    with torch.no_grad():
        convolution.bias.copy_(torch.tensor(start))
    return convolution


def _convolution(width_in: int, width: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = False) -> nn.Sequential:
    layers = [nn.Conv2d(width_in, width, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(width)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if active else []))
