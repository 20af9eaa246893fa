"""Tasks of the network that see each other's answers: it starts as the network without, takes predictions in where it says, and is exported whole."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from polyface import tasks
from polyface.images.align import Crop
from polyface.inference import card as cards
from polyface.inference import engine
from polyface.models import export
from polyface.models.densenet import Integrator, Mode
from polyface.models.ifan import SHARED
from polyface.models.polyface import ModelConfig, PolyFace, build

NONE = ModelConfig(stem=8, widths=(8, 16, 16, 16), blocks=(1, 1, 1, 1), fine=8, hidden=16)
FUSION, FEEDBACK = (msgspec.structs.replace(NONE, interaction=kind) for kind in ("fusion", "feedback"))
BOTH = pytest.mark.parametrize("config", [FUSION, FEEDBACK], ids=["fusion", "feedback"])


def network(config: ModelConfig, trained: bool = True) -> PolyFace:
    """trained: as if by training, so that predictions that enter change something."""
    torch.manual_seed(0)
    model = build(config, {}).eval()
    for module in model.modules():
        if isinstance(module, Integrator) and trained:
            torch.nn.init.kaiming_uniform_(module.mix.weight, nonlinearity="relu")
    return model


def crops(count: int = 3, size: int = 64) -> Tensor:
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def same(first: dict[str, Tensor], second: dict[str, Tensor], atol: float = 0.0) -> bool:
    return first.keys() == second.keys() and all(torch.allclose(first[name], second[name], atol=atol) for name in first)


def test_without_interaction_the_network_is_what_it_was() -> None:
    assert ModelConfig().interaction == "none"
    model = network(NONE)
    assert model.interaction is None and not any(name.startswith("interaction.") for name in model.state_dict())
    assert len(model.passes(crops())) == 1


@BOTH
def test_pass_zero_is_the_network_without_feedback_and_so_is_every_pass_of_a_new_one(config: ModelConfig) -> None:
    plain, new, trained = network(NONE), network(msgspec.structs.replace(config, passes=3), trained=False), network(config)
    for model in (new, trained):
        model.load_state_dict(plain.state_dict(), strict=False)
    with torch.inference_mode():
        wanted, passes, (first, last) = plain(crops()), new.passes(crops()), trained.passes(crops())
    assert len(passes) == 3 and all(same(wanted, each) for each in passes)
    assert same(wanted, first) and all(not torch.allclose(first[name], last[name]) for name in wanted), "every task hears of the others"


@pytest.mark.parametrize("size", [64, 96])
def test_feedback_is_the_trunk_run_again_with_predictions_in_every_map_but_the_stems(size: int) -> None:
    """The slow reference; fusion, with the same weights, puts them in without running any stage again."""
    model, other = network(FEEDBACK), network(FUSION)
    assert model.interaction is not None and other.interaction is not None
    other.load_state_dict(model.state_dict(), strict=False)  # the trunk's later passes are its own
    with torch.inference_mode():
        first, answers = model.features(crops(2, size)), model.passes(crops(2, size))[0]
        drawn = model.interaction._drawn(answers, size, size // 4)
        mode, x, again = Mode(SHARED, turn=1), first[1], [first[0]]
        for place, integrator in enumerate(model.interaction.integrators, start=1):
            x = integrator(x if place == 1 else model.trunk.stages[place - 1](x), drawn, mode)
            again.append(x)
        fused = [first[0], *(integrator(each, drawn, mode) for integrator, each in zip(model.interaction.integrators, first[1:], strict=True))]
        assert same(model(crops(2, size)), model._answers(again, None)) and same(other(crops(2, size)), other._answers(fused, None))
        assert torch.equal(again[1], fused[1]) and not torch.allclose(again[2], fused[2])


def test_all_answers_but_who_it_is_are_drawn_shares_as_shares_and_points_as_discs() -> None:
    model = network(FEEDBACK)
    assert model.interaction is not None and [task.name for task in model.interaction.tasks] == [task.name for task in tasks.TASKS if task.name != tasks.identity.name]
    with torch.inference_mode():
        answers = model.passes(crops())[0]
        answers[tasks.landmarks.name][:, :, :2] = torch.tensor([24.0, 40.0])  # across, down
        drawn = model.interaction._drawn(answers, 64, 16)
    widths = [model.interaction.integrators[0].norm.width - 8]
    for task in model.interaction.tasks:
        widths.append(task.count if task is tasks.landmarks else int(np.prod(answers[task.name].shape[1:2] if task is tasks.parsing else answers[task.name].shape[1:])))
    assert drawn.shape == (3, widths[0], 16, 16) and widths[0] == sum(widths[1:])
    at = {task.name: sum(widths[1 : place + 1]) for place, task in enumerate(model.interaction.tasks)}
    point, gender = drawn[0, at[tasks.landmarks.name]], drawn[:, at[tasks.gender.name] : at[tasks.gender.name] + 2]
    assert torch.allclose(gender.sum(1), torch.ones(3, 16, 16)) and gender[0, 0].unique().numel() == 1
    down, across = point.nonzero().float().mean(0)
    assert float(across) == pytest.approx(24 / 4 - 0.5) and float(down) == pytest.approx(40 / 4 - 0.5)
    assert float(point.sum() * 16) == pytest.approx(np.pi * 2.5**2, rel=0.3), "the area of the disc in pixels of the crop"


@BOTH
def test_heads_asked_for_some_rows_answer_them_after_every_pass_as_in_the_whole_batch(config: ModelConfig) -> None:
    model = network(config)
    rows = {task.name: torch.tensor([[0, 3], [5], [4, 2, 1]][index % 3]) for index, task in enumerate(tasks.TASKS)}
    with torch.inference_mode():
        for whole, part in zip(model.passes(crops(6)), model.passes(crops(6), rows), strict=True):
            part[tasks.identity.name] = torch.nn.functional.normalize(part[tasks.identity.name], dim=-1)
            assert same({name: whole[name][chosen] for name, chosen in rows.items()}, part, 1e-4)
        few = {tasks.age.name: torch.tensor([1])}
        assert all(list(each) == [tasks.age.name] and len(each[tasks.age.name]) == 1 for each in model.passes(crops(2), few))


@BOTH
def test_each_pass_remembers_what_it_saw_and_the_first_as_if_there_were_no_other(config: ModelConfig) -> None:
    model, alone, times = network(config).train(), network(NONE).train(), 3
    alone.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        for _ in range(times):
            model.passes(crops(8, 32))
            alone.passes(crops(8, 32))
    of_model = dict(model.named_modules())
    for name, norm in alone.named_modules():
        if isinstance(norm, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            assert torch.allclose(norm.running_mean, of_model[name].running_mean, atol=1e-5), name  # type: ignore[arg-type]
            assert torch.allclose(norm.running_var, of_model[name].running_var, atol=1e-5), name  # type: ignore[arg-type]
    later = list(model.later[0])  # type: ignore[arg-type]
    assert all(int(each.num_batches_tracked) == times for each in later) and not list(model.later.parameters())
    assert any(not torch.allclose(each.running_mean, norm.running_mean) for each, norm in zip(later, model._again(), strict=True))  # type: ignore[arg-type]


@BOTH
def test_no_gradient_goes_through_what_is_drawn(config: ModelConfig) -> None:
    model = network(config)
    model.train().passes(crops())[-1][tasks.age.name].sum().backward()
    heads = {name for name, parameter in model.heads.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    assert heads and all(name.startswith(f"{tasks.age.name}.") for name in heads)
    assert model.interaction is not None and model.interaction.integrators[-1].mix.weight.grad is not None


@BOTH
def test_the_whole_loop_is_exported_and_again_from_its_weights(config: ModelConfig, tmp_path: Path) -> None:
    model = network(msgspec.structs.replace(config, tasks=(tasks.gender.name, tasks.landmarks.name, tasks.parsing.name)))
    card = export.new_card("tiny", model, cards.entry_of_crop(Crop().scaled(64)), [cards.Data(name="drawn", images=3)], drawings=True)
    export.write_weights(model, "tiny", tmp_path)
    (tmp_path / export.FLOATS).touch()
    (tmp_path / "card.json").touch()
    assert all(export.holds(tmp_path, model, "tiny") for _ in range(8)) and not export.holds(tmp_path, network(config, trained=False), "tiny")
    assert not export.holds(tmp_path, model, "another")
    cards.write_card(tmp_path / "card.json", card)
    found = engine.load(export.export(tmp_path), threads=1)
    with torch.inference_mode():
        wanted = model.eval()(crops(5))
    assert all(np.allclose(answer, wanted[name].numpy(), atol=2e-3) for name, answer in found.run(crops(5).numpy()).items())
    assert load_file(tmp_path / "model.safetensors").keys() == model.state_dict().keys()


def test_one_pass_is_no_interaction() -> None:
    with pytest.raises(ValueError, match="two at least"):
        msgspec.structs.replace(FEEDBACK, passes=1)
