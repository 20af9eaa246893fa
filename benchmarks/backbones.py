"""Which trunk learns most in equal time, and what does it cost to use? Four trunks in the same network, on the same batches, for equal seconds of compute.

    python benchmarks/backbones.py --data DIR [--recipe transfer] [--minutes 3] [--only NAME] [--set key=value ...]

Each trunk first takes some steps on batches that are there already; from their pace follow the steps that it can take in the minutes, as if the machine did nothing else,
so other work beside the benchmark changes nothing. Then it trains so many, with a schedule of its own length. The table: losses on validation splits (less is better),
milliseconds of one crop in onnxruntime on one thread and on all. Widths are chosen so that all trunks take about as long for one crop. LOG.md has what was found.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from polyface import runtime, terminal
from polyface.models.backbones import ResidualTrunk, convolution
from polyface.models.export import to_onnx
from polyface.models.polyface import PolyFace
from polyface.training import batches, config, loop
from polyface.training.plan import FacePlan

PACED = 12
"""Steps by which the pace of a trunk is measured, after three that are not counted."""


class StackTrunk(nn.Module):
    """Stages of one kind of block behind a stem at half the crop's side; what `ResidualTrunk` is, of any blocks."""

    def __init__(self, stem: int, widths: Sequence[int], blocks: Sequence[int], block: type[nn.Module]):
        super().__init__()
        self.widths = (stem, *widths)
        self.stem = nn.Sequential(convolution(3, stem, stride=2), nn.BatchNorm2d(stem), nn.ReLU(inplace=True))
        pairs = zip(self.widths, widths, blocks, strict=False)
        self.stages = nn.ModuleList(nn.Sequential(block(before, width, 2), *(block(width, width, 1) for _ in range(depth - 1))) for before, width, depth in pairs)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps


class Plain(nn.Sequential):
    """Two 3x3 convolutions without a shortcut (Simonyan and Zisserman 2015)."""

    def __init__(self, before: int, width: int, stride: int):
        layers = [(before, width, stride), (width, width, 1)]
        super().__init__(*(part for layer in layers for part in (convolution(*layer), nn.BatchNorm2d(width), nn.ReLU(inplace=True))))


class Inverted(nn.Module):
    """Wide inside, a depthwise 3x3, linear and narrow at the ends (MobileNetV2, Sandler et al. 2018), four times as wide inside."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        inside = 4 * before
        self.body = nn.Sequential(
            nn.Conv2d(before, inside, 1, bias=False), nn.BatchNorm2d(inside), nn.ReLU(inplace=True),
            nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False), nn.BatchNorm2d(inside), nn.ReLU(inplace=True),
            nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.same = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.same else self.body(x)


class Separable(nn.Module):
    """A depthwise 7x7 and two layers of 1x1 around a shortcut (ConvNeXt, Liu et al. 2022), with batch normalisation; a stage begins with a strided convolution."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.shrink = nn.Identity() if stride == 1 and before == width else nn.Sequential(nn.Conv2d(before, width, 2, 2, bias=False), nn.BatchNorm2d(width))
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 7, 1, 3, groups=width, bias=False), nn.BatchNorm2d(width),
            nn.Conv2d(width, 3 * width, 1), nn.ReLU(inplace=True), nn.Conv2d(3 * width, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.shrink(x)
        return x + self.body(x)


TRUNKS: Mapping[str, type[nn.Module] | None] = {"residual": None, "plain": Plain, "inverted": Inverted, "separable": Separable}
"""None: the project's own."""


class TrunkPlan:
    """The plan of a recipe with another trunk and another number of steps; all else is the plan's own."""

    def __init__(self, plan: FacePlan, trunk: str, factor: float, steps: int, kept: Sequence[batches.Batch] = ()):
        self._plan, self._trunk, self._factor, self.steps, self._kept = plan, trunk, factor, steps, kept
        self.validate_every = steps

    def __getattr__(self, name: str) -> object:
        return getattr(self._plan, name)

    def model(self) -> PolyFace:
        return network(self._plan, self._trunk, self._factor)

    def batches(self, steps: range) -> object:
        return [self._kept[step % len(self._kept)] for step in steps] if self._kept else self._plan.batches(steps)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        return {} if self._kept else self._plan.validate(model, device)


def network(plan: FacePlan, trunk: str, factor: float) -> PolyFace:
    """The recipe's network, its trunk of these blocks and of widths times a factor."""
    ours = plan.config.model
    widths = tuple(8 * round(width * factor / 8) for width in ours.widths)
    model = PolyFace(msgspec.structs.replace(ours, widths=widths), {space: len(keys) for space, keys in plan.spaces.items()})
    block = TRUNKS[trunk]
    model.trunk = ResidualTrunk(ours.stem, widths, ours.blocks) if block is None else StackTrunk(ours.stem, widths, ours.blocks, block)  # type: ignore[assignment]
    return model


def main() -> None:
    arguments = _arguments()
    settings = [*arguments.set, "steps=100000", "validation_rows=400"]
    recipe = config.load(arguments.recipe, settings)
    torch.set_num_threads(recipe.compute_threads or runtime.processors())
    plan = FacePlan(recipe, arguments.data)
    kept = [batches.draw_batch(plan.mix, step, plan.crop.size) for step in range(6)]
    aim = milliseconds(network(plan, "residual", 1.0), plan.crop.size, 1)
    rows = []
    for trunk in [arguments.only] if arguments.only else TRUNKS:
        factor = as_slow_as(plan, trunk, aim)
        pace = seconds_of_a_step(plan, trunk, factor, kept)
        steps = max(1, round(arguments.minutes * 60 / pace))
        folder = arguments.out / trunk
        loop.run(TrunkPlan(plan, trunk, factor, steps), folder, partial(_say, trunk))  # type: ignore[arg-type]
        rows.append(row_of(plan, trunk, factor, pace, steps, folder))
        terminal.table(rows)


def _say(trunk: str, step: int, steps: int, words: str) -> None:
    if step % 100 == 0:
        terminal.say(f"{trunk} {step}/{steps}: {words}")


def row_of(plan: FacePlan, trunk: str, factor: float, pace: float, steps: int, folder: Path) -> dict[str, object]:
    last = [entry for line in (folder / "log.jsonl").read_text().splitlines() if "validation" in (entry := msgspec.json.decode(line))][-1]["validation"]
    model = network(plan, trunk, factor)
    size, threads = plan.crop.size, runtime.processors()
    cost = {f"ms, {count} thread{'s' if count > 1 else ''}": round(milliseconds(model, size, count), 2) for count in sorted({1, threads})}
    parameters = sum(each.numel() for each in model.trunk.parameters())
    return {"trunk": trunk, "widths x": factor, "M parameters": round(parameters / 1e6, 2), "ms a step": round(1000 * pace), "steps": steps, **cost} | {
        name: round(value, 4) for name, value in last.items()
    }


def as_slow_as(plan: FacePlan, trunk: str, aim: float) -> float:
    """The factor of the widths, in steps of an eighth, whose network takes a crop nearest to the aim in milliseconds."""
    if trunk == "residual":
        return 1.0
    factors = [each / 8 for each in range(5, 21)]
    low, high = 0, len(factors) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if milliseconds(network(plan, trunk, factors[middle]), plan.crop.size, 1) < aim else (low, middle)
    return factors[low]


def seconds_of_a_step(plan: FacePlan, trunk: str, factor: float, kept: Sequence[batches.Batch]) -> float:
    """The median step of the loop itself, on batches that are there already."""
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        loop.run(TrunkPlan(plan, trunk, factor, PACED + 3, kept), Path(folder), lambda step, steps, words: times.append(time.perf_counter()))  # type: ignore[arg-type]
    return float(np.median(np.diff(times[2:])))


def milliseconds(model: PolyFace, size: int, threads: int) -> float:
    """The median time of one crop in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(to_onnx(model.eval(), size), options, providers=["CPUExecutionProvider"])
    crops, times = np.zeros((1, size, size, 3), np.uint8), []
    for _ in range(60):
        started = time.perf_counter()
        session.run(None, {"crops": crops})
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times[10:]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Four trunks, equal seconds of compute.")
    parser.add_argument("--recipe", default="transfer")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--only", choices=list(TRUNKS))
    parser.add_argument("--out", type=Path, default=Path("runs/backbones"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
