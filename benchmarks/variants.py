"""What does one choice change at equal seconds of compute? Trunks, weighing of losses, eye distances: each variant in the same network, on the same sets.

    python benchmarks/variants.py trunks|balance|eyes --data DIR [--out runs/variants] [--recipe transfer] [--minutes 3] [--set key=value ...]

Each variant first takes some steps on batches that are there already; from its pace follow the steps that it can take in the minutes, as if the machine did nothing else,
so other work beside the benchmark changes nothing. Then it trains so many, with a schedule of its own length; a run that was cut off goes on, one that is done is read.
The table: losses on validation splits (less is better), milliseconds of one crop in onnxruntime on one thread. Trunks have widths with which one crop takes about as long
in each. LOG.md has what was found.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
"""Steps by which the pace of a variant is measured, after three that are not counted."""


@dataclass(frozen=True)
class Variant:
    """A setting of the recipe, or another trunk."""

    name: str
    setting: str = ""
    trunk: str = "residual"


VARIANTS: Mapping[str, tuple[Variant, ...]] = {
    "trunks": tuple(Variant(trunk, trunk=trunk) for trunk in ("residual", "plain", "inverted", "separable")),
    "balance": tuple(Variant(method, f'balance="{method}"') for method in ("fixed", "uncertainty", "dwa")),
    "eyes": tuple(Variant(f"{distance} pixels", f"crop.eye_distance={distance}.0") for distance in (16, 20, 24)),
}
"""The eye distances are those of `transfer`'s crop of 64 pixels: 32, 40 and 48 in one of 128. Losses of points are in pixels of the crop: not comparable."""


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


def main() -> None:
    arguments = _arguments()
    rows, aim = [], 0.0
    for variant in VARIANTS[arguments.what]:
        settings = [*arguments.set, *([variant.setting] if variant.setting else []), "steps=100000", "validation_rows=400"]
        recipe = config.load(arguments.recipe, settings)
        torch.set_num_threads(recipe.compute_threads or runtime.processors())
        plan = FacePlan(recipe, arguments.data)
        aim = aim or milliseconds(network(plan, "residual", 1.0), plan.crop.size)
        rows.append(measured(plan, variant, aim, arguments.minutes, arguments.out / arguments.what / variant.name))
        terminal.table(rows)


def measured(plan: FacePlan, variant: Variant, aim: float, minutes: float, folder: Path) -> dict[str, object]:
    """The row of a variant, from its file where it is there already."""
    file = folder / "row.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        paced = folder / "pace.json"
        if not paced.exists():
            factor = as_slow_as(plan, variant.trunk, aim)
            paced.write_bytes(msgspec.json.encode({"factor": factor, "seconds": seconds_of_a_step(plan, variant.trunk, factor)}))
        pace = msgspec.json.decode(paced.read_bytes())
        steps = max(1, round(minutes * 60 / pace["seconds"]))
        loop.run(TrunkPlan(plan, variant.trunk, pace["factor"], steps), folder, partial(_say, variant.name))  # type: ignore[arg-type]
        file.write_bytes(msgspec.json.encode(_row(plan, variant, pace["factor"], pace["seconds"], steps, folder)))
    return msgspec.json.decode(file.read_bytes())


def _say(name: str, step: int, steps: int, words: str) -> None:
    if step % 100 == 0:
        terminal.say(f"{name} {step}/{steps}: {words}")


def _row(plan: FacePlan, variant: Variant, factor: float, pace: float, steps: int, folder: Path) -> dict[str, object]:
    last = [entry for line in (folder / "log.jsonl").read_text().splitlines() if "validation" in (entry := msgspec.json.decode(line))][-1]["validation"]
    model = network(plan, variant.trunk, factor)
    cost = {"M parameters": round(sum(each.numel() for each in model.trunk.parameters()) / 1e6, 2), "ms a crop": round(milliseconds(model, plan.crop.size), 2)}
    return {"variant": variant.name, "widths x": factor, "ms a step": round(1000 * pace), "steps": steps, **cost} | {
        name: round(value, 4) for name, value in last.items()
    }


class TrunkPlan:
    """The plan of a recipe with another trunk and another number of steps; all else is the plan's own. On kept batches it only paces."""

    def __init__(self, plan: FacePlan, trunk: str, factor: float, steps: int, kept: Sequence[batches.Batch] = ()):
        self._plan, self._trunk, self._factor, self.steps, self._kept = plan, trunk, factor, steps, kept
        self.validate_every = steps if kept else max(1, steps // 10)

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


def as_slow_as(plan: FacePlan, trunk: str, aim: float) -> float:
    """The factor of the widths, in steps of an eighth, whose network takes a crop nearest to the aim in milliseconds, and not longer."""
    if trunk == "residual":
        return 1.0
    low, high = 5, 20
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if milliseconds(network(plan, trunk, middle / 8), plan.crop.size) <= aim else (low, middle)
    return low / 8


def seconds_of_a_step(plan: FacePlan, trunk: str, factor: float) -> float:
    """The median step of the loop itself, on batches that are there already."""
    kept, times = [batches.draw_batch(plan.mix, step, plan.crop.size) for step in range(6)], []
    with tempfile.TemporaryDirectory() as folder:
        loop.run(TrunkPlan(plan, trunk, factor, PACED + 3, kept), Path(folder), lambda step, steps, words: times.append(time.perf_counter()))  # type: ignore[arg-type]
    return float(np.median(np.diff(times[2:])))


def milliseconds(model: PolyFace, size: int) -> float:
    """The median time of one crop in onnxruntime on one thread."""
    session, crops, times = runtime.session(to_onnx(model.eval(), size), 1), np.zeros((1, size, size, 3), np.uint8), []
    for _ in range(60):
        started = time.perf_counter()
        session.run(None, {"crops": crops})
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times[10:]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Variants of one choice at equal seconds of compute.")
    parser.add_argument("what", choices=list(VARIANTS))
    parser.add_argument("--recipe", default="transfer")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--out", type=Path, default=Path("runs/variants"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
