"""The networks of paper C: where the attribute branch leaves, MOON's weights by the worked check, and its loss against a slow one."""

import math

import numpy as np
import pytest
import torch

from polyface.models.joint import LEVELS, FaceResNet, Joint, JointConfig, domain_weights, fast, moon, standardised
from polyface.tasks.kinds import Embedding, Traits

WHO, LOOKS = Embedding("who", "Who?", 16), Traits("looks", "What?", ("a", "b", "c"))
SMALL = JointConfig(stem=4, widths=(6, 8, 10), blocks=(1, 1, 1), hidden=8)
OF_THE_TIME = JointConfig(trunk="face-resnet", widths=(4, 6, 8, 10), blocks=(1, 1, 1, 1), hidden=8)


def with_level(config: JointConfig, level: str) -> JointConfig:
    return JointConfig(trunk=config.trunk, stem=config.stem, widths=config.widths, blocks=config.blocks, hidden=config.hidden, level=level)  # type: ignore[arg-type]


@pytest.mark.parametrize("config", [SMALL, OF_THE_TIME], ids=["residual", "face-resnet"])
@pytest.mark.parametrize("level", LEVELS)
def test_the_branch_leaves_the_trunk_where_the_recipe_says(config: JointConfig, level: str) -> None:
    model = Joint(with_level(config, level), (WHO, LOOKS), {"set": 5}).train()
    model(torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8))["looks"].square().sum().backward()
    maps = [stage for stage in ([model.trunk.stem] if config.trunk == "residual" else []) + list(model.trunk.stages)]
    reached = [any(parameter.grad is not None for parameter in stage.parameters()) for stage in maps]
    assert reached == {"early": [True, True, False, False], "mid": [True, True, True, False]}.get(level, [True] * 4)
    assert any(parameter.grad is not None for parameter in model.heads["who"].parameters()) == (level == "embedding")


def test_one_network_answers_one_question_or_both() -> None:
    crops = torch.zeros((2, 32, 32, 3), dtype=torch.uint8)
    assert {name: tuple(each.shape) for name, each in Joint(SMALL, (WHO, LOOKS), {"set": 5}).eval()(crops).items()} == {"who": (2, 16), "looks": (2, 3)}
    assert list(Joint(SMALL, (WHO,), {"set": 5}).eval()(crops)) == ["who"] and list(Joint(SMALL, (LOOKS,), {"set": 5}).eval()(crops)) == ["looks"]
    assert not list(Joint(SMALL, (LOOKS,), {"set": 5}).people.parameters()), "nobody is learned by name where nobody asks who it is"
    with pytest.raises(ValueError, match="needs an embedding"):
        Joint(with_level(SMALL, "embedding"), (LOOKS,), {})


def test_a_darker_or_paler_photograph_is_the_same_to_the_network() -> None:
    crops = torch.from_numpy(np.random.default_rng(0).integers(0, 100, (2, 32, 32, 3), dtype=np.uint8))
    torch.testing.assert_close(standardised(2 * crops + 50), standardised(crops))
    assert standardised(torch.full((1, 32, 32, 3), 77, dtype=torch.uint8)).abs().max() == 0


def test_the_fast_variant_has_half_of_every_width_and_its_branch_at_the_embedding() -> None:
    halved = fast(JointConfig(stem=24, widths=(48, 96, 192), blocks=(1, 2, 1), hidden=256))
    assert (halved.stem, halved.widths, halved.blocks, halved.hidden, halved.level) == (12, (24, 48, 96), (1, 2, 1), 128, "embedding")


def test_a_trunk_with_too_few_maps_for_the_levels_is_refused() -> None:
    with pytest.raises(ValueError, match="four maps"):
        JointConfig(widths=(8, 16), blocks=(1, 1))
    with pytest.raises(ValueError, match="name each stage"):
        JointConfig(widths=(8, 16, 32), blocks=(1, 1))


@pytest.mark.parametrize(("size", "sides"), [(64, [32, 16, 8, 4]), (112, [56, 28, 14, 7])])
def test_each_stage_of_the_time_s_network_halves_its_map(size: int, sides: list[int]) -> None:
    assert [each.shape[-1] for each in FaceResNet((2, 3, 4, 5), (1, 1, 0, 1)).eval()(torch.zeros(1, 3, size, size))] == sides


def test_weights_are_those_of_the_worked_check() -> None:
    positive, negative, flagged = domain_weights(np.array([0.8]), np.array([0.5]))
    assert positive == pytest.approx(0.25) and negative == 1 and not flagged.any()  # papers.md C4


@pytest.mark.parametrize("source", [0.05, 0.3, 0.5, 0.77])
@pytest.mark.parametrize("target", [0.2, 0.5, 0.9])
def test_weighted_masses_stand_to_each_other_as_the_target_s_rates(source: float, target: float) -> None:
    positive, negative, _ = domain_weights(np.array([source]), np.array([target]))
    assert source * positive[0] * (1 - target) == pytest.approx((1 - source) * negative[0] * target)
    assert max(positive[0], negative[0]) == pytest.approx(1)


def test_an_attribute_of_everybody_or_nobody_is_flagged_and_not_weighed() -> None:
    positive, negative, flagged = domain_weights(np.array([0.0, 1.0, math.nan, 0.5]), np.full(4, 0.5))
    assert flagged.tolist() == [True, True, True, False] and (positive == 1).all() and (negative == 1).all()


@pytest.mark.parametrize("squared", [True, False])
def test_the_mixed_objective_is_the_slow_loop_s(squared: bool) -> None:
    random = np.random.default_rng(0)
    outputs, shares = random.normal(0, 2, (6, 5)), random.choice([-1, 0, 0.25, 1], (6, 5))
    positive, negative = random.uniform(0.1, 1, 5), random.uniform(0.1, 1, 5)
    slow = []
    for row in range(6):
        total = 0.0
        for at in range(5):
            share, z = shares[row, at], outputs[row, at]
            if share >= 0:
                weight = share * positive[at] + (1 - share) * negative[at]
                logistic = -share * math.log(1 / (1 + math.exp(-z))) - (1 - share) * math.log(1 - 1 / (1 + math.exp(-z)))
                total += weight * ((z - (2 * share - 1)) ** 2 if squared else logistic)
        slow.append(total / 5)
    tensors = [torch.tensor(each, dtype=torch.float32) for each in (outputs, shares, positive, negative)]
    assert moon(*tensors, squared=squared).tolist() == pytest.approx(slow, rel=1e-4)


def test_an_unknown_entry_has_no_loss_and_no_gradient() -> None:
    outputs = torch.tensor([[3.0, float("nan"), -1.0]], requires_grad=True)
    shares = torch.tensor([[1.0, -1.0, -1.0]])
    loss = moon(outputs, shares, torch.ones(3), torch.ones(3), squared=True)
    loss.sum().backward()
    assert loss.tolist() == [pytest.approx(4 / 3)] and outputs.grad is not None and outputs.grad[0, 2] == 0
