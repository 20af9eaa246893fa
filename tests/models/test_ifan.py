"""The network of paper B: its tables to the number, passes that start as no feedback, streams that leave each other's statistics alone, maps that show what was said."""

import copy
import math
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polyface.errors import RequestError
from polyface.images.align import Crop
from polyface.inference import card as cards
from polyface.inference import engine
from polyface.models import export
from polyface.models.densenet import DenseBlock, Integrator, Norm, Trunk
from polyface.models.ifan import Ifan, IfanConfig, Maps, channels_of, discs, pooled, rendered, tiled
from polyface.models.passes import NAMES, Statistics
from polyface.models.weights import read_tensors
from polyface.tasks import Category, Embedding, Points, Regions, Traits
from polyface.tasks.kinds import Angles, Scale, Task
from polyface.training import parallel

REGIONS = Regions("regions", "Which part?", tuple(f"part {index}" for index in range(9)), mirrored=tuple(range(9)))
POINTS = Points("points", "Where?", 5, (1, 0, 2, 4, 3))
MOOD = Category("mood", "Which mood?", tuple(f"mood {index}" for index in range(7)))
THREE = (REGIONS, POINTS, MOOD)
HATS = Traits("hats", "Which hats?", ("cap", "crown", "helmet"))

TINY = IfanConfig(size=32, stem=6, growth=3, layers=2, levels=3, feedback=(16, 8), passes=3, radius=2.5, dropout=0.0)


def network(config: IfanConfig = TINY, tasks: tuple[Task, ...] = THREE, streams: Mapping[str, str] | None = None, trained: bool = True) -> Ifan:
    """trained: as if by training, so that feedback says something and statistics of sets differ."""
    torch.manual_seed(0)
    model = Ifan(config, tasks, streams or {task.name: task.name for task in tasks})
    if trained:
        for module in model.modules():
            if isinstance(module, Integrator):
                torch.nn.init.kaiming_uniform_(module.mix.weight, nonlinearity="relu")
            if isinstance(module, torch.nn.BatchNorm2d | Statistics):
                torch.nn.init.normal_(module.running_mean, std=0.3)  # type: ignore[arg-type]
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, std=0.3)
    return model


def crops(count: int = 4, size: int = 32, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def changed(model: Ifan, **settings: object) -> Ifan:
    """The same weights under other settings."""
    other = Ifan(msgspec.structs.replace(model.config, **settings), model.tasks, model.streams)
    other.load_state_dict(model.state_dict(), strict=False)
    return other.train(model.training)


def loss_of(outputs: list[Tensor]) -> Tensor:
    """Any number that every pass has a part in, most of all the last."""
    return sum((at + 1) * (output * torch.linspace(-1, 1, output.numel()).view_as(output)).mean() for at, output in enumerate(outputs))  # type: ignore[return-value]


def gradients(model: Ifan, streams: tuple[str, ...], x: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    for stream in streams:
        loss_of(model.passes(x, stream)).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor], atol: float = 1e-5) -> bool:
    return first.keys() == second.keys() and all(torch.allclose(first[name], second[name], atol=atol, rtol=1e-4) for name in first)


# The tables of papers.md, B3

TABLE = [
    ("stem", 128, 3, 48, 7_056, 0),
    ("DB1", 128, 48, 84, 19_440, 360),
    ("TD1", 128, 84, 84, 7_056, 168),
    ("DB2", 64, 84, 120, 31_104, 576),
    ("TD2", 64, 120, 120, 14_400, 240),
    ("TI32", 32, 141, 120, 16_920, 282),
    ("DB3", 32, 120, 156, 42_768, 792),
    ("TD3", 32, 156, 156, 24_336, 312),
    ("TI16", 16, 177, 156, 27_612, 354),
    ("DB4", 16, 156, 192, 54_432, 1_008),
    ("TD4", 16, 192, 192, 36_864, 384),
    ("TI8", 8, 213, 192, 40_896, 426),
    ("DB5", 8, 192, 228, 66_096, 1_224),
    ("TD5", 8, 228, 228, 51_984, 456),
    ("DB6", 4, 228, 264, 77_760, 1_440),
    ("TU5", 8, 36, 36, 11_664, 0),
    ("UB5", 8, 264, 300, 89_424, 1_656),
    ("TU4", 16, 36, 36, 11_664, 0),
    ("UB4", 16, 228, 264, 77_760, 1_440),
    ("TU3", 32, 36, 36, 11_664, 0),
    ("UB3", 32, 192, 228, 66_096, 1_224),
    ("TU2", 64, 36, 36, 11_664, 0),
    ("UB2", 64, 156, 192, 54_432, 1_008),
    ("TU1", 128, 36, 36, 11_664, 0),
    ("UB1", 128, 120, 156, 42_768, 792),
]


Unit = tuple[str, int, int, int, int, int]
"""A line of the table: name, side of the map that it works at, channels in and out (the whole stack), parameters of its kernels and of one set of its norms."""


def units_of(trunk: Trunk) -> list[Unit]:
    """In the order of the table: TI before DB where there is one, TD after it."""
    units = [unit("stem", trunk.sides[0], trunk.stem)]
    for level, side in enumerate(trunk.sides):
        if str(side) in trunk.integrators:
            units.append(unit(f"TI{side}", side, trunk.integrators[str(side)]))
        units.append(unit(f"DB{level + 1}", side, trunk.blocks[level]))
        if level < len(trunk.downs):
            units.append(unit(f"TD{level + 1}", side, trunk.downs[level]))
    for level in reversed(range(len(trunk.ups))):
        units.append(unit(f"TU{level + 1}", trunk.sides[level], trunk.ups[level]))
        units.append(unit(f"UB{level + 1}", trunk.sides[level], trunk.up_blocks[level]))
    return units


def unit(name: str, side: int, module: torch.nn.Module) -> Unit:
    layers = [each for each in module.modules() if isinstance(each, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    norms = [each for each in module.modules() if isinstance(each, Norm)]
    wide_in, new = layers[0].in_channels, sum(layer.out_channels for layer in layers)
    kernels = sum(parameter.numel() for parameter in module.parameters()) - sum(parameter.numel() for norm in norms for parameter in norm.parameters())
    return name, side, wide_in, wide_in + new if isinstance(module, DenseBlock) else new, kernels, sum(2 * norm.width for norm in norms)


def test_every_unit_has_the_channels_resolution_and_parameters_of_the_table() -> None:
    assert units_of(Ifan(IfanConfig(), THREE, {task.name: task.name for task in THREE}).trunk) == TABLE


def test_maps_have_the_channels_and_resolutions_that_the_table_says() -> None:
    """What runs, not what is counted: the inputs and outputs of convolutions in one forward pass."""
    model, seen = network(IfanConfig(), trained=False).eval(), []
    for name, module in model.trunk.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.register_forward_hook(lambda _, inputs, output, name=name: seen.append((name, inputs[0].shape[1], output.shape[1], output.shape[-1])))
    with torch.inference_mode():
        passes = model.passes(crops(1, 128), REGIONS.name)
    assert [tuple(output.shape) for output in passes] == [(1, 9, 128, 128)] * 3
    found = set(seen)
    assert ("stem", 3, 48, 128) in found
    for level, (side, width) in enumerate(zip((128, 64, 32, 16, 8, 4), (48, 84, 120, 156, 192, 228), strict=True)):
        assert {(f"blocks.{level}.convolutions.{layer}", width + 12 * layer, 12, side) for layer in range(3)} <= found
        if level < 5:
            assert (f"downs.{level}.mix", width + 36, width + 36, side) in found  # halved after it
            assert (f"ups.{level}.larger", 36, 36, side) in found
            assert {(f"up_blocks.{level}.convolutions.{layer}", 36 + width + 36 + 12 * layer, 12, side) for layer in range(3)} <= found
    assert {(f"integrators.{side}.mix", width + 21, width, side) for side, width in ((32, 120), (16, 156), (8, 192))} <= found


NO_FEEDBACK = {"feedback": (), "passes": 1}


@pytest.mark.parametrize(
    ("tasks", "settings", "kernels", "norms", "heads", "total"),
    [
        (THREE, {}, 907_524, 42_426, 45_518 + 1_056, 996_524),
        ((REGIONS, POINTS), {}, 904_248, 28_200, 43_663 + 528, 976_639),
        ((REGIONS, MOOD), {}, 905_184, 28_224, 3_268 + 528, 937_204),
        ((POINTS, MOOD), {}, 903_312, 28_176, 44_105 + 1_056, 976_649),
        (THREE, NO_FEEDBACK, 822_096, 39_240, 45_518 + 1_056, 907_910),
        ((REGIONS,), NO_FEEDBACK, 822_096, 13_080, 1_413, 836_589),
        ((POINTS,), NO_FEEDBACK, 822_096, 13_080, 42_250 + 528, 877_954),
        ((MOOD,), NO_FEEDBACK, 822_096, 13_080, 1_855 + 528, 837_559),
    ],
)
def test_every_model_has_the_parameters_of_the_table(tasks: tuple[Task, ...], settings: dict, kernels: int, norms: int, heads: int, total: int) -> None:
    model = Ifan(IfanConfig(**settings), tasks, {task.name: task.name for task in tasks})
    counts = {name: sum(parameter.numel() for parameter in part) for name, part in model.parts().items()}
    by_kind = {kind: sum(count for name, count in counts.items() if name.split()[0] == kind) for kind in ("kernels", "set", "head")}
    assert by_kind == {"kernels": kernels, "set": norms, "head": heads}
    assert sum(parameter.numel() for parameter in model.parameters()) == total == sum(counts.values())


def test_the_small_scale_is_half_of_every_width_on_half_the_side() -> None:
    config = IfanConfig(size=64, stem=24, growth=6, feedback=(16, 8, 4), radius=2.5)
    units = units_of(Ifan(config, THREE, {task.name: task.name for task in THREE}).trunk)
    halves = [(side // 2, wide_in // 2 if wide_in != 3 else 3, wide_out // 2) for name, side, wide_in, wide_out, *_ in TABLE if name[:2] != "TI"]
    assert [(side, wide_in, wide_out) for name, side, wide_in, wide_out, *_ in units if name[:2] != "TI"] == halves
    integrators = [(name, wide_in, wide_out) for name, _, wide_in, wide_out, *_ in units if name[:2] == "TI"]
    assert integrators == [("TI16", 60 + 21, 60), ("TI8", 78 + 21, 78), ("TI4", 96 + 21, 96)]


# Passes


def test_at_initialisation_every_pass_is_the_first_one() -> None:
    model = network(trained=False).eval()
    passes = model.refine(crops())
    assert len(passes) == 3 and same(passes[0], passes[1], 0) and same(passes[0], passes[2], 0)
    in_training = network(msgspec.structs.replace(TINY, dropout=0.0), trained=False).passes(crops(), REGIONS.name)
    assert torch.allclose(in_training[0], in_training[2], atol=1e-5)


def test_pass_zero_is_the_network_without_feedback() -> None:
    model = network().eval()
    without = changed(model, passes=1, feedback=())
    passes = model.refine(crops())
    assert same(passes[0], without(crops()))
    assert not same(passes[0], passes[1]) and not same(passes[1], passes[2])
    assert same(model(crops()), passes[2], 0)


def slowly(model: Ifan, x: Tensor) -> list[dict[str, Tensor]]:
    """All passes as papers.md says it: every task its own full run in every pass, all units of it written out, predictions of the pass before to all at once."""
    config, norm = model.config, torch.nn.functional.batch_norm
    passes: list[dict[str, Tensor]] = []
    for turn in range(config.passes):
        maps = {}
        for task in model.tasks if passes else ():
            output = passes[-1][task.name]
            if isinstance(task, Regions):
                full = output.softmax(1)
            elif isinstance(task, Points):
                full = torch.zeros(len(x), task.count, config.size, config.size)
                for row, point in np.ndindex(len(x), task.count):
                    centre = output[row, point, :2].tolist()
                    for down, across in np.ndindex(config.size, config.size):
                        full[row, point, down, across] = math.dist((across + 0.5, down + 0.5), centre) <= config.radius
            else:
                full = output.softmax(1)[:, :, None, None].repeat(1, 1, config.size, config.size)
            maps[task.name] = full

        def run(name: str, maps: dict[str, Tensor] = maps, turn: int = turn) -> Tensor:
            def active(value: Tensor, module: torch.nn.Module) -> Tensor:
                """Integrators run in later passes only; nothing above them runs again."""
                one = seen = module.sets[name]  # type: ignore[index]
                again = module.later[name] if module.later else []  # type: ignore[index]
                if len(again) == config.passes - 1 and turn > 0:
                    seen = again[turn - 1]
                elif again and turn > 1:
                    seen = again[turn - 2]
                return norm(value, seen.running_mean, seen.running_var, one.weight, one.bias).relu()

            def dense(value: Tensor, block: torch.nn.Module) -> Tensor:
                for each, convolve in zip(block.norms, block.convolutions, strict=True):  # type: ignore[arg-type]
                    value = torch.cat([value, convolve(active(value, each))], 1)
                return value

            value, skips, new = model.trunk.stem((x.permute(0, 3, 1, 2).float() - 127.5) / 64), [], config.layers * config.growth
            for level in range(config.levels + 1):
                side = config.size // 2**level
                if maps and side in config.feedback:
                    unit = model.trunk.integrators[str(side)]
                    encoded = torch.cat([torch.nn.functional.avg_pool2d(maps[task.name], config.size // side) for task in model.tasks], 1)
                    value = value + unit.mix(active(torch.cat([value, encoded], 1), unit.norm))  # type: ignore[operator, arg-type]
                value = dense(value, model.trunk.blocks[level])
                if level < config.levels:
                    skips.append(value)
                    down = model.trunk.downs[level]
                    value = torch.nn.functional.avg_pool2d(down.mix(active(value, down.norm)), 2)  # type: ignore[operator, arg-type]
            head = model.heads[name]
            if isinstance(model._task(name), Regions):
                for level in reversed(range(config.levels)):
                    value = dense(torch.cat([model.trunk.ups[level](value[:, -new:]), skips[level]], 1), model.trunk.up_blocks[level])
                return head.logits(value)  # type: ignore[operator]
            value = active(value, head.norm)  # type: ignore[arg-type]
            if isinstance(model._task(name), Points):
                xy = head.places(value.flatten(1)).view(len(x), -1, 2) * config.size  # type: ignore[operator]
                return torch.cat([xy, torch.ones(*xy.shape[:2], 1)], 2)
            return head.logits(value.mean((2, 3)))  # type: ignore[operator]

        passes.append({task.name: run(task.name) for task in model.tasks})
    return passes


def test_all_passes_are_those_of_the_slow_network() -> None:
    model = network().eval()
    with torch.inference_mode():
        expected, found = slowly(model, crops(2)), model.refine(crops(2))
        own = {task.name: model.passes(crops(2), task.name) for task in THREE}
    for at, wanted in enumerate(expected):
        halved = {**wanted, REGIONS.name: torch.nn.functional.avg_pool2d(wanted[REGIONS.name], 2)}
        assert same(found[at], halved, 1e-4)
        assert same({name: outputs[at] for name, outputs in own.items()}, wanted, 1e-4)


def test_outputs_have_the_shapes_of_their_kinds_and_points_start_in_the_middle() -> None:
    tasks = (*THREE, HATS, Scale("years", "How old?", 12), Angles("turn", "Which way?"))
    model = network(tasks=tasks).eval()
    outputs = model(crops(2))
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {task.name: (2, *task.shape(32)) for task in tasks}
    assert all(output.dtype == torch.float32 for output in outputs.values())
    assert (outputs[POINTS.name][..., 2] == 1).all()
    with torch.no_grad():
        model.heads[POINTS.name].places.weight.zero_()  # type: ignore[union-attr, operator]
    assert (model(crops(1))[POINTS.name][..., :2] == 16).all()


def test_what_is_above_the_first_integrator_is_computed_once() -> None:
    model, runs = network().train(), {name: 0 for name in ("stem", "downs.0.mix", "integrators.16.mix", "blocks.1.convolutions.0", "up_blocks.0.convolutions.0")}
    for name in runs:
        model.trunk.get_submodule(name).register_forward_hook(lambda *_, name=name: runs.update({name: runs[name] + 1}))
    model.passes(crops(), MOOD.name)
    # three runs of the own set, two of each other one, whose last pass nobody reads; only one task reads the fine map
    assert runs == {"stem": 1, "downs.0.mix": 3, "integrators.16.mix": 2 + 1 + 1, "blocks.1.convolutions.0": 3 + 2 + 2, "up_blocks.0.convolutions.0": 2}


# Feedback that is told


def test_told_sees_every_tasks_maps_and_what_it_says_enters() -> None:
    model, seen = network().eval(), []

    def told(maps: Maps) -> Maps:
        seen.append({name: tuple(each.shape) for name, each in maps.items()})
        return maps

    assert same(model.refine(crops(), told)[-1], model(crops()), 0)
    assert seen == [{REGIONS.name: (4, 9, 16, 16), POINTS.name: (4, 5, 16, 16), MOOD.name: (4, 7, 16, 16)}] * 2 and model.side == 16
    order = torch.tensor([1, 2, 3, 0])
    another = model.refine(crops(), lambda maps: {name: each[order] for name, each in maps.items()})
    assert same(another[0], model.refine(crops())[0], 0) and not same(another[1], model.refine(crops())[1])


def test_maps_that_never_change_make_the_second_pass_the_last_word() -> None:
    """Where all passes remember the same."""
    model = network().eval()
    for norm in (module for module in model.modules() if isinstance(module, Norm)):
        for name, later in norm.later.items():
            for each in later:  # type: ignore[attr-defined]
                each.load_state_dict({buffer: getattr(norm.sets[name], buffer) for buffer in NAMES})
    first = model.refine(crops(), lambda maps: {name: torch.full_like(each, 0.25) for name, each in maps.items()})
    assert same(first[1], first[2], 0) and not same(first[0], first[1])


def test_a_task_that_is_left_out_enters_as_zeros() -> None:
    model = network().eval()
    without = model.refine(crops(), lambda maps: {name: each for name, each in maps.items() if name != MOOD.name})
    zeros = model.refine(crops(), lambda maps: {name: each * (name != MOOD.name) for name, each in maps.items()})
    assert all(same(first, second, 0) for first, second in zip(without, zeros, strict=True))
    assert not same(without[1], model.refine(crops())[1])


# Each pass has statistics of its own


def test_what_a_pass_remembers_is_what_it_saw() -> None:
    """A batch that is all that is remembered is answered in use as it was in training, pass by pass."""
    model, x = network().train(), crops(16)
    with torch.no_grad():
        for _ in range(40):
            learned = model.passes(x, REGIONS.name)
        used = model.eval().passes(x, REGIONS.name)
    for at, (wanted, found) in enumerate(zip(learned, used, strict=True)):
        assert (found - wanted).square().mean() < 0.05 * wanted.var(), at


def test_the_first_pass_of_a_network_trained_with_feedback_is_as_good_by_running_statistics_as_by_its_batchs_own() -> None:
    """A bright square whose middle is asked for. With one memory for all passes the first was three times as bad by it."""
    torch.manual_seed(0)
    middle = Points("middle", "Where?", 1, (0,))
    model = Ifan(msgspec.structs.replace(TINY, size=16, levels=2, layers=1, feedback=(8, 4)), (middle,), {middle.name: middle.name})

    def errors(seed: int) -> list[Tensor]:
        """Of every pass, on new pictures."""
        random = np.random.default_rng(seed)
        middles = random.integers(3, 13, (32, 2))
        pictures = random.integers(0, 60, (32, 16, 16, 3), dtype=np.uint8)
        for picture, (across, down) in zip(pictures, middles, strict=True):
            picture[down - 2 : down + 2, across - 2 : across + 2] = 255
        return [(output[:, 0, :2] - torch.from_numpy(middles)).square().mean() for output in model.passes(torch.from_numpy(pictures), middle.name)]

    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for step in range(100):
        optimiser.zero_grad()
        torch.stack(errors(step)).mean().backward()
        optimiser.step()
    with torch.no_grad():
        model.eval()
        running = torch.tensor([errors(seed) for seed in range(1000, 1004)]).mean(0)
        model.train()
        own = torch.tensor([errors(seed) for seed in range(1000, 1004)]).mean(0)
    assert own[0] < 2 and (running < 1.5 * own).all(), (running, own)


# Streams


def statistics(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


@pytest.mark.parametrize("own", [task.name for task in THREE])
def test_only_the_streams_own_statistics_and_norms_move(own: str) -> None:
    model = network().train()
    before = statistics(model)
    loss_of(model.passes(crops(), own)).backward()
    moved = {name for name, buffer in statistics(model).items() if not torch.equal(buffer, before[name])}
    assert moved and all(f".{own}." in name for name in moved)
    for name, part in model.parts().items():
        touched = any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in part)
        assert touched == (name in ("kernels", f"set {own}", f"head {own}")), name


def test_in_use_too_feedback_has_no_gradient() -> None:
    model = network().eval()
    loss_of(model.passes(crops(), MOOD.name)).backward()
    parts = model.parts()
    assert all(parameter.grad is None for name in (REGIONS.name, POINTS.name) for kind in ("set", "head") for parameter in parts[f"{kind} {name}"])


def test_kernels_get_the_sum_of_all_streams_gradients() -> None:
    model = network().train()
    names = [task.name for task in THREE]
    initial = copy.deepcopy(model.state_dict())
    apart = []
    for name in names:
        model.load_state_dict(initial)
        apart.append(gradients(model, (name,), crops(seed=names.index(name))))
    model.load_state_dict(initial)
    model.zero_grad(set_to_none=True)
    for name in names:
        # each from the same statistics as apart, which the streams before have moved for their own sets only
        kept = statistics(model)
        loss_of(model.passes(crops(seed=names.index(name)), name)).backward()
        model.load_state_dict({**model.state_dict(), **kept})
    joint = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    for name, gradient in joint.items():
        assert torch.allclose(gradient, sum(each[name] for each in apart if name in each), atol=1e-5), name  # type: ignore[arg-type]


def test_the_other_tasks_answer_by_their_running_statistics() -> None:
    """In training, what comes back of the others is what they answer in use; of the own task, what it answers in training."""
    model, seen = network().train(), []
    expected = network().eval().passes(crops(), POINTS.name)[0]
    own = model.passes(crops(), REGIONS.name, lambda maps: seen.append(maps) or maps)  # type: ignore[func-returns-value]
    assert torch.allclose(seen[0][POINTS.name], rendered(POINTS, expected, 32, 16, 2.5))
    assert torch.allclose(seen[0][REGIONS.name], rendered(REGIONS, own[0], 32, 16, 2.5))
    assert not any(each.requires_grad for maps in seen for each in maps.values())


def test_dropout_belongs_to_the_stream_in_training() -> None:
    model, seen = network(msgspec.structs.replace(TINY, dropout=0.5)).train(), []
    first, second = (model.passes(crops(), MOOD.name, lambda maps: seen.append(maps) or maps)[0] for _ in range(2))  # type: ignore[func-returns-value]
    assert not torch.allclose(first, second)
    assert torch.equal(seen[0][REGIONS.name], seen[2][REGIONS.name]) and not torch.equal(seen[0][MOOD.name], seen[2][MOOD.name])
    assert same(model.refine(crops())[-1], model.eval()(crops()), 0)


STREAMS = {"lab": POINTS.name, "wild.py": POINTS.name, "painted": REGIONS.name}


@pytest.mark.parametrize(("normalisation", "sets"), [("shared", ["shared"]), ("per_task", [POINTS.name, REGIONS.name]), ("per_dataset", ["lab", "wild.py", "painted"])])
def test_the_sets_are_one_or_a_tasks_or_a_data_sets(normalisation: str, sets: list[str]) -> None:
    model = network(msgspec.structs.replace(TINY, normalisation=normalisation), (REGIONS, POINTS), STREAMS).train()
    assert model.sets == sets
    before = statistics(model)
    model.passes(crops(), "wild.py")
    moved = {name for name, buffer in statistics(model).items() if not torch.equal(buffer, before[name])}
    own = model.set_of("wild.py").replace(".", "-")
    assert moved and all(f".{own}." in name for name in moved)
    answers, lab = model.eval()(crops()), model.passes(crops(), "lab")[-1]
    assert torch.allclose(answers[POINTS.name], lab, atol=1e-5)  # a task answers by its first stream
    assert torch.allclose(model.passes(crops(), "wild.py")[-1], lab, atol=1e-5) == (normalisation != "per_dataset")


def test_a_mixed_batch_of_shared_normalisation_is_normalised_as_one() -> None:
    config = msgspec.structs.replace(TINY, normalisation="shared", passes=1)
    model, rows = network(config).train(), {REGIONS.name: torch.tensor([0, 1]), POINTS.name: torch.tensor([2, 3]), MOOD.name: torch.tensor([], dtype=torch.int64)}
    initial = copy.deepcopy(model.state_dict())
    mixed = model.together(crops(), rows)[0]
    after = statistics(model.trunk)
    model.load_state_dict(initial)
    whole = model.passes(crops(), REGIONS.name)[0]
    assert torch.allclose(mixed[REGIONS.name], whole[:2], atol=1e-5) and mixed[MOOD.name].shape == (0, 7)
    assert same(statistics(model.trunk), after)
    model.load_state_dict(initial)
    assert not torch.allclose(model.passes(crops()[:2], REGIONS.name)[0], whole[:2], atol=1e-3)
    with pytest.raises(ValueError, match="per_task normalisation"):
        network().together(crops(), rows)


def test_a_mixed_batch_feeds_back_every_tasks_maps_for_every_row() -> None:
    model, seen = network(msgspec.structs.replace(TINY, normalisation="shared")).train(), []
    rows, before = {REGIONS.name: torch.tensor([0, 1]), POINTS.name: torch.tensor([1, 3])}, statistics(model.heads[MOOD.name])
    outputs = model.together(crops(), rows, lambda maps: seen.append(maps) or maps)  # type: ignore[func-returns-value]
    assert [{name: len(output) for name, output in each.items()} for each in outputs] == [{REGIONS.name: 2, POINTS.name: 2}] * 3
    assert all(len(each) == 4 for maps in seen for each in maps.values()) and same(statistics(model.heads[MOOD.name]), before, 0)
    assert torch.allclose(seen[0][POINTS.name][rows[POINTS.name]], rendered(POINTS, outputs[0][POINTS.name], 32, 16, 2.5))
    loss_of([outputs[-1][REGIONS.name]]).backward()
    assert all(parameter.grad is None for name in (POINTS.name, MOOD.name) for parameter in model.parts()[f"head {name}"])
    used = model.eval().together(crops(), rows)[-1]
    assert torch.allclose(used[POINTS.name], model(crops())[POINTS.name][rows[POINTS.name]], atol=1e-5)


@pytest.mark.parametrize("upsample", ["transposed", "depth_to_space"])
@pytest.mark.parametrize("count", [0, 1])
def test_no_row_and_one_row_train_without_harm(upsample: str, count: int) -> None:
    """A process of several may have none; one row has one value of each channel where the map is one pixel."""
    model = network(msgspec.structs.replace(TINY, upsample=upsample, levels=5)).train()
    for task in THREE:
        outputs = model.passes(crops(count), task.name)
        assert [len(output) for output in outputs] == [count] * 3
        sum(output.sum() for output in outputs).backward()
    assert all(torch.isfinite(buffer).all() for buffer in model.buffers())


def test_depth_to_space_is_pixel_shuffle_of_a_mixed_map() -> None:
    up = network(msgspec.structs.replace(TINY, upsample="depth_to_space")).trunk.ups[0]
    x = torch.randn(2, 6, 5, 5)
    assert torch.equal(up(x), torch.nn.functional.pixel_shuffle(up.larger(x), 2)) and up(x).shape == (2, 6, 10, 10)  # type: ignore[operator]


# Gradients through the loop


def test_through_the_loop_the_other_tasks_are_taught_by_this_one() -> None:
    model = network(msgspec.structs.replace(TINY, through=True)).train()
    before = statistics(model)
    loss_of([model.passes(crops(), MOOD.name)[-1]]).backward()
    for name, part in model.parts().items():
        assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in part), name
    moved = {name for name, buffer in statistics(model).items() if not torch.equal(buffer, before[name])}
    assert all(f".{MOOD.name}." in name for name in moved)


def test_gradients_through_the_loop_are_those_of_finite_differences() -> None:
    """Where points are reaches the mood through soft discs alone."""
    model = network(msgspec.structs.replace(TINY, through=True, passes=2)).eval()
    head, x, step = model.heads[POINTS.name], crops(2), 1e-4  # a longer one crosses bends of the ReLUs
    head.places.weight.data.mul_(0.2)  # type: ignore[union-attr, operator]  # into the crop
    places = head.places.bias  # type: ignore[union-attr]
    direction = torch.randn(10, generator=torch.Generator().manual_seed(0))

    def loss() -> Tensor:
        return model.passes(x, MOOD.name)[-1].double().square().mean()

    loss().backward()
    found = float(places.grad @ direction)  # type: ignore[union-attr, operator]
    with torch.no_grad():
        places += step * direction
        above = float(loss())
        places -= 2 * step * direction
        below = float(loss())
    assert found != 0 and found == pytest.approx((above - below) / (2 * step), rel=0.1)


def test_streams_trained_after_do_not_change_gradients_through_the_loop() -> None:
    """Sets that answer beside are read in the backward pass; a sub-batch run in between has moved their statistics."""
    model = network(msgspec.structs.replace(TINY, through=True)).train()
    initial = copy.deepcopy(model.state_dict())
    alone = gradients(model, (MOOD.name,), crops())
    model.load_state_dict(initial)
    model.zero_grad(set_to_none=True)
    loss = loss_of(model.passes(crops(), MOOD.name))
    for name in (REGIONS.name, POINTS.name):
        model.passes(crops(seed=5), name)
    loss.backward()
    assert same(alone, {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None})


# Recomputation and precision


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3}, {"through": True}, {"upsample": "depth_to_space"}], ids=str)
def test_recomputed_blocks_give_the_same_gradients_and_remember_a_batch_once(settings: dict) -> None:
    kept = network(msgspec.structs.replace(TINY, **settings)).train()
    again = changed(kept, checkpointing=True)
    found = []
    for model in (kept, again):
        torch.manual_seed(3)
        found.append((gradients(model, tuple(task.name for task in THREE), crops()), statistics(model)))
    (gradients_kept, statistics_kept), (gradients_again, statistics_again) = found
    assert same(gradients_kept, gradients_again, 1e-6)
    assert same(statistics_kept, statistics_again, 1e-6)
    counts = {int(buffer) for name, buffer in statistics_again.items() if name.endswith("num_batches_tracked")}
    assert counts == {0, 1}  # none in the way up of streams that need none


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_layer_of_several_processes_takes_the_place_of_every_set(checkpointing: bool) -> None:
    """As `parallel.synchronise` puts it there; a group of one process computes what none does."""
    kept = changed(network().train(), checkpointing=checkpointing)
    several = copy.deepcopy(kept)
    names = tuple(task.name for task in THREE)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        parallel.synchronise(several)
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in several.modules())
        found = gradients(several, names, crops())
    finally:
        torch.distributed.destroy_process_group()
    expected = gradients(kept, names, crops())
    assert same(found, expected, 2e-3) and same(statistics(several), statistics(kept), 1e-4)


def test_recomputed_blocks_are_not_kept() -> None:
    def bytes_kept(model: Ifan) -> int:
        held = {}
        with torch.autograd.graph.saved_tensors_hooks(lambda x: held.setdefault(x.untyped_storage().data_ptr(), x), lambda x: x):
            loss_of(model.passes(crops(8), REGIONS.name))
        return sum(x.untyped_storage().nbytes() for x in held.values())

    model = network(msgspec.structs.replace(TINY, layers=4)).train()
    assert bytes_kept(changed(model, checkpointing=True)) < 0.6 * bytes_kept(model)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_bfloat16_trains_and_keeps_points_and_shares_in_float32(checkpointing: bool) -> None:
    model = network(msgspec.structs.replace(TINY, checkpointing=checkpointing)).train()
    exact = network().train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = {task.name: model.passes(crops(), task.name) for task in THREE}
        loss = sum(loss_of(each) for each in outputs.values())
    loss.backward()  # type: ignore[union-attr]
    assert all(each.dtype == torch.float32 for passes in outputs.values() for each in passes)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)
    xy = outputs[POINTS.name][0][..., :2]
    assert not torch.equal(xy, xy.bfloat16().float())
    assert torch.allclose(xy, exact.passes(crops(), POINTS.name)[0][..., :2], atol=1.5)


def test_channels_last_changes_nothing_but_the_order_in_memory() -> None:
    model = network()
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for name in (REGIONS.name, POINTS.name):
        assert all(torch.allclose(first, second, atol=1e-4) for first, second in zip(model.passes(crops(), name), last.passes(crops(), name), strict=True))


# Re-encoders


def test_a_disc_has_the_pixels_of_the_paper() -> None:
    centre = torch.tensor([[[64.5, 70.5]]])  # (64, 70) where the first pixel's centre is (0, 0)
    disc = discs(centre, 128, 5.0)[0, 0]
    assert disc.sum() == 81 and disc[70, 64] == 1 and disc[70, 69] == 1 and disc[70, 70] == 0 and disc[65, 64] == 1 and disc[64, 64] == 0
    corner = discs(torch.tensor([[[0.5, 0.5]]]), 128, 5.0)
    assert corner.sum() == sum(math.isqrt(25 - row**2) + 1 for row in range(6))  # a quarter and its edges
    assert discs(torch.tensor([[[float("nan"), 3.0], [-40.0, 3.0]]]), 128, 5.0).sum() == 0
    assert discs(torch.tensor([[[float("nan"), 3.0]]]), 128, 5.0, soft=True).sum() == 0


@given(st.floats(-4, 20), st.floats(-4, 20), st.floats(0.5, 6))
def test_a_disc_is_on_where_the_circle_is(x: float, y: float, radius: float) -> None:
    disc = discs(torch.tensor([[[x, y]]], dtype=torch.float64), 16, radius)[0, 0]
    for down, across in np.ndindex(16, 16):
        beyond = (across + 0.5 - x) ** 2 + (down + 0.5 - y) ** 2 - radius**2
        assert abs(beyond) < 1e-3 or bool(disc[down, across]) == (beyond <= 0)


def test_a_soft_disc_is_half_on_its_rim_and_has_the_area_of_the_hard_one() -> None:
    for radius in (2.5, 5.0):
        soft = discs(torch.tensor([[[60.5 + radius % 1, 60.5]]]), 128, radius, soft=True)[0, 0]
        assert float(soft[60, 60 + math.floor(radius + radius % 1)]) == pytest.approx(0.5, abs=1e-5)
        assert float(soft.sum()) == pytest.approx(math.pi * radius**2, rel=0.05)


def test_maps_keep_what_they_sum_to_when_they_are_averaged() -> None:
    torch.manual_seed(0)
    regions, xy, mood = torch.randn(2, 9, 32, 32) * 4, torch.cat([torch.rand(2, 5, 2) * 20 + 6, torch.ones(2, 5, 1)], 2), torch.randn(2, 7)
    for side in (32, 16, 8, 4):
        for task, output in ((REGIONS, regions), (MOOD, mood)):
            maps = rendered(task, output, 32, side, 2.5)
            assert maps.shape == (2, channels_of(task), side, side) and torch.allclose(maps.sum(1), torch.ones(2, side, side))
        points = rendered(POINTS, xy, 32, side, 2.5)
        assert torch.allclose(points.sum((2, 3)) * (32 // side) ** 2, discs(xy[..., :2], 32, 2.5).sum((2, 3)), rtol=1e-4)
        assert torch.equal(pooled(rendered(POINTS, xy, 32, 32, 2.5), side), points)
    assert torch.equal(rendered(MOOD, mood, 32, 4, 2.5), tiled(mood.softmax(1), 4))
    hats = rendered(HATS, torch.tensor([[0.0, 9.0, -9.0]]), 32, 4, 2.5)
    assert torch.allclose(hats[0, :, 2, 1], torch.tensor([0.5, 1.0, 0.0]), atol=1e-3)


# Plug in and play


@pytest.mark.parametrize(
    ("task", "normalisation"),
    [
        (HATS, "per_task"),
        (HATS, "shared"),
        (HATS, "per_dataset"),
        (Category("weather", "?", ("sun", "rain")), "per_task"),
        (Scale("years", "?", 12), "per_task"),
        (Points("ears", "?", 2, (1, 0)), "per_task"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_fourth_task_changes_no_old_answer_when_it_is_plugged_in(task: Task, normalisation: str) -> None:
    model = network(msgspec.structs.replace(TINY, normalisation=normalisation)).eval()
    before = model.refine(crops())
    model.add_task(task, "new.py")
    after = model.refine(crops())
    for old, new in zip(before, after, strict=True):
        assert same(old, {name: output for name, output in new.items() if name != task.name}, 1e-6) and new[task.name].shape == (4, *task.shape(32))
    fresh = Ifan(model.config, (*THREE, task), {**{each.name: each.name for each in THREE}, "new.py": task.name}).eval()
    fresh.load_state_dict(model.state_dict())
    assert same(fresh(crops()), after[-1], 1e-6)


def test_a_new_set_starts_as_a_copy_and_goes_its_own_way() -> None:
    model = network().train()
    model.add_task(HATS, HATS.name)
    new, old = model.trunk.set_of(HATS.name), model.trunk.set_of(REGIONS.name)
    assert all(torch.equal(first, second) and first is not second for first, second in zip(new, old, strict=True))
    loss_of(model.passes(crops(), HATS.name)).backward()
    assert all(parameter.grad is None for parameter in old) and any(parameter.grad is not None for parameter in new)
    for task, stream in ((MOOD, HATS.name), (HATS, "more")):
        with pytest.raises(ValueError, match=f"there is a stream '{stream}' or a task '{task.name}' already"):
            model.add_task(task, stream)


def test_with_kernels_frozen_the_old_tasks_lose_nothing_at_all() -> None:
    model = network()
    before = model.eval()(crops())
    model.add_task(HATS, HATS.name)
    for parameter in model.parts()["kernels"]:
        parameter.requires_grad_(False)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    first = None
    for _ in range(3):
        loss = model.passes(crops(), HATS.name)[-1].square().mean()
        first = first or loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = model.eval()(crops())
    assert same(before, {name: after[name] for name in before}, 1e-6) and loss.item() < first  # type: ignore[operator]


def test_once_trained_the_new_task_reaches_the_old_ones() -> None:
    model = network()
    model.add_task(HATS, HATS.name)
    loss_of(model.train().passes(crops(), MOOD.name)).backward()
    for integrator in model.trunk.integrators.values():
        gradient = integrator.mix.weight.grad  # type: ignore[union-attr]
        assert gradient.shape[1] == integrator.norm.width and gradient[:, -3:].abs().sum() > 0  # type: ignore[union-attr, index, operator]


# As a model like any other

TINIEST = msgspec.structs.replace(TINY, levels=2, layers=1)
"""Whose whole loop is exported in seconds."""


def test_the_whole_loop_is_exported_and_answers_as_torch_does(tmp_path: Path) -> None:
    model = network(TINIEST)
    card = export.new_card("tiny", model, cards.entry_of_crop(Crop().scaled(32)), [cards.Data(name="drawn", images=3)], drawings=True)
    found = engine.load(export.write_model(model, card, tmp_path / "tiny"), threads=1)
    x = crops(5, seed=7)
    with torch.inference_mode():
        wanted = model(x)
    answers = found.run(x.numpy())
    for task in found.tasks:
        assert np.allclose(answers[task.name], wanted[task.name].numpy(), atol=2e-3), task.name
    assert found.tasks[0].decode(answers[REGIONS.name][0]).shape == (32, 32)
    assert found.tasks[1].decode(answers[POINTS.name][0]).shape == (5, 2)


def test_a_run_of_weights_and_a_card_is_exported_whatever_its_network(tmp_path: Path) -> None:
    """Soft discs, one set for all and depth to space, too."""
    model = network(msgspec.structs.replace(TINIEST, through=True, normalisation="shared", upsample="depth_to_space", passes=2))
    card = export.new_card("tiny", model, cards.entry_of_crop(Crop().scaled(32)), [cards.Data(name="drawn", images=3)], drawings=True)
    export.write_weights(model, "tiny", tmp_path / "run" / "model")
    cards.write_card(tmp_path / "run" / "model" / "card.json", card)
    found = engine.load(export.export(tmp_path / "run"), threads=1)
    with torch.inference_mode():
        wanted = model.eval()(crops(2))
    assert all(np.allclose(answer, wanted[name].numpy(), atol=2e-3) for name, answer in found.run(crops(2).numpy()).items())


def test_a_network_is_built_again_from_what_its_weights_say(tmp_path: Path) -> None:
    model = network(msgspec.structs.replace(TINIEST, normalisation="per_dataset"), (REGIONS, POINTS), STREAMS)
    model.add_task(HATS, "hats@wild.py")
    card = export.new_card("tiny", model, cards.entry_of_crop(Crop().scaled(32)), [], drawings=True)
    export.write_weights(model, "tiny", tmp_path)
    again = export._untrained(card, tmp_path)
    again.load_state_dict(read_tensors(tmp_path / "model.safetensors"))
    assert isinstance(again, Ifan) and again.streams == model.streams and same(model.eval()(crops()), again.eval()(crops()), 0)
    with pytest.raises(RequestError, match=r"model\.safetensors: its network: a stream is labelled for 'hats', which is no task"):
        export._untrained(msgspec.structs.replace(card, tasks={name: entry for name, entry in card.tasks.items() if name != "hats"}), tmp_path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 100}, "size 100 cannot be halved 5 times"),
        ({"feedback": (32, 12)}, "feedback: no map has the side 12, only 128, 64, 32, 16, 8, 4"),
        ({"feedback": ()}, "3 passes without feedback"),
        ({"passes": 0, "feedback": ()}, "are 1 at least"),
    ],
)
def test_a_configuration_that_makes_no_network_is_refused(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        IfanConfig(**settings)


def test_tasks_without_a_stream_streams_without_a_task_and_kinds_without_a_head_are_refused() -> None:
    with pytest.raises(ValueError, match="no stream is labelled for 'mood'"):
        Ifan(TINY, (MOOD, POINTS), {"points": "points"})
    with pytest.raises(ValueError, match="labelled for 'mood', which is no task"):
        Ifan(TINY, (POINTS,), {"points": "points", "mood": "mood"})
    with pytest.raises(TypeError, match="no head for the kind Embedding"):
        Ifan(TINY, (Embedding("face", "Who?", 8),), {"face": "face"})
