"""Each loss against a slow and obvious reference, and what it does with rows that say nothing."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyface import tasks
from polyface.images import geometry
from polyface.labels import People, PointMap, Ranges, TraitNames, Words, same_words, words
from polyface.models import losses
from polyface.tasks import Embedding, Task
from polyface.tasks.kinds import Row

SIZE = 16
FIVE = PointMap(geometry.five_of_68())
FACE = np.random.default_rng(0).uniform(2, 14, (68, 2))
FASSEG = words(tasks.parsing.vocabulary, {"background": "background", "hair or brow": ("hair", "l_brow", "r_brow"), "skin": "skin"})
EXPRESSION = words(tasks.expression.vocabulary, {word: word for word in tasks.expression.vocabulary if word != "contempt"})
TASKS = [task for task in tasks.TASKS if not isinstance(task, Embedding)]


def tensors(task: Task, *rows: Row) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in task.stack(list(rows)).items()}


def outputs(task: Task, count: int, seed: int = 0) -> torch.Tensor:
    output = torch.randn((count, *task.shape(SIZE)), generator=torch.Generator().manual_seed(seed)) * 2
    if isinstance(task, tasks.Points):
        output = torch.cat([output[..., :2] * 3 + 8, output[..., 2:].abs() + 0.3], -1)
    return output.requires_grad_()


def loss_of(task: Task, output: torch.Tensor, labels: dict[str, torch.Tensor]) -> torch.Tensor:
    return losses.LOSSES[type(task)](task, output, labels)


def probabilities(logits: torch.Tensor) -> np.ndarray:
    return torch.softmax(logits.detach().double(), -1).numpy()


LABELS = {
    tasks.age.name: (Ranges(), (20, 29)),
    tasks.gender.name: (same_words(tasks.gender.vocabulary), "male"),
    tasks.race.name: (same_words(tasks.race.vocabulary), "Indian"),
    tasks.expression.name: (EXPRESSION, {"happy": 3, "sad": 1}),
    tasks.attributes.name: (TraitNames({"smile": "Smiling", "glasses": "Eyeglasses"}), {"smile": True}),
    tasks.landmarks.name: (FIVE, FIVE.weights @ FACE),
    tasks.parsing.name: (FASSEG, np.random.default_rng(0).integers(0, 3, (SIZE, SIZE), dtype=np.uint8)),
    tasks.pose.name: (Ranges(sigma=4.0), {"yaw": 12.0}),
}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_rows_that_say_nothing_cost_and_teach_exactly_nothing(task: Task) -> None:
    meaning, label = LABELS[task.name]
    labels, output = tensors(task, task.unknown(SIZE), task.encode(meaning, label), task.unknown(SIZE)), outputs(task, 3)
    found = loss_of(task, output, labels)
    found.sum().backward()
    assert found.shape == (3,) and found.dtype == torch.float32
    assert found[0] == 0 == found[2] and found[1] > 0
    assert output.grad is not None
    assert (output.grad[[0, 2]] == 0).all() and (output.grad[1] != 0).any() and torch.isfinite(output.grad).all()


def test_a_point_that_is_not_seen_may_be_anywhere_even_nan() -> None:
    labels, output = tensors(tasks.landmarks, tasks.landmarks.encode(PointMap(np.eye(68)), FACE)), outputs(tasks.landmarks, 1)
    labels["seen"][0, 10:] = False
    without = loss_of(tasks.landmarks, output, labels)
    labels["xy"][0, 10:] = float("nan")
    found = loss_of(tasks.landmarks, output, labels)
    found.sum().backward()
    assert output.grad is not None
    assert found == without and (output.grad[0, 10:] == 0).all() and torch.isfinite(output.grad).all()


def test_a_row_costs_the_same_alone_and_in_company() -> None:
    for task in TASKS:
        meaning, label = LABELS[task.name]
        row, output = task.encode(meaning, label), outputs(task, 3)
        together = loss_of(task, output, tensors(task, task.unknown(SIZE), row, row))
        alone = loss_of(task, output[1:2], tensors(task, row))
        assert torch.allclose(together[1], alone[0], atol=1e-6), task.name


def test_votes_are_the_mean_surprise_by_shares_within_what_the_set_can_say() -> None:
    output = outputs(tasks.expression, 1)
    found = loss_of(tasks.expression, output, tensors(tasks.expression, tasks.expression.encode(EXPRESSION, {"happy": 3, "sad": 1})))
    p = probabilities(output)[0]
    p = p / p[:7].sum()  # contempt is beyond the scope
    assert float(found[0].detach()) == pytest.approx(-0.75 * math.log(p[1]) - 0.25 * math.log(p[2]), abs=1e-5)
    found.sum().backward()
    assert output.grad is not None and output.grad[0, 7] == 0


def curvature(logits: torch.Tensor) -> float:
    z = logits.detach().double().numpy()
    return losses.SMOOTHNESS * float(np.mean([(z[k - 1] - 2 * z[k] + z[k + 1]) ** 2 for k in range(1, len(z) - 1)]))


@pytest.mark.parametrize(
    ("label", "years"),
    [(30, [30]), ((20, 29), range(20, 30)), ((0, 2), range(3)), ((70, 116), range(70, 117)), (30.4, [30]), (30.5, [30, 31]), ((30.2, 30.4), [30])],
)
def test_an_age_costs_minus_log_of_the_probability_of_its_years(label: object, years: list[int]) -> None:
    output = outputs(tasks.age, 1)
    found = loss_of(tasks.age, output, tensors(tasks.age, tasks.age.encode(Ranges(), label)))
    wanted = -math.log(sum(probabilities(output)[0][year] for year in years)) + curvature(output[0])
    assert float(found[0].detach()) == pytest.approx(wanted, abs=1e-4)


@settings(max_examples=25)
@given(st.floats(0, 116), st.floats(0, 116))
def test_every_age_and_every_range_leaves_a_year_possible(first: float, second: float) -> None:
    output = outputs(tasks.age, 2)
    labels = tensors(tasks.age, tasks.age.encode(Ranges(), first), tasks.age.encode(Ranges(), (min(first, second), max(first, second))))
    assert (loss_of(tasks.age, output, labels) < 1000).all()


def test_a_precise_number_is_gaussian_shares() -> None:
    output = outputs(tasks.age, 1)
    found = loss_of(tasks.age, output, tensors(tasks.age, tasks.age.encode(Ranges(sigma=3.0), 40.5)))
    weights = [math.exp(-0.5 * ((year - 40.5) / 3) ** 2) for year in range(117)]
    wanted = -sum(weight / sum(weights) * math.log(p) for weight, p in zip(weights, probabilities(output)[0], strict=True))
    assert float(found[0].detach()) == pytest.approx(wanted + curvature(output[0]), abs=1e-4)


def test_angles_are_as_ages_on_each_axis_and_the_mean_over_known_axes() -> None:
    output = outputs(tasks.pose, 2)
    rows = (tasks.pose.encode(Ranges({"left": (-45, -15)}), {"yaw": "left", "roll": 10}), tasks.pose.encode(Ranges(sigma=4.0), {"pitch": 10.0}))
    found = loss_of(tasks.pose, output, tensors(tasks.pose, *rows)).detach()
    p, centres = probabilities(output), [-99 + 3 * (k + 0.5) for k in range(66)]
    yaw = -math.log(sum(p[0, 0, k] for k, centre in enumerate(centres) if -45 <= centre <= -15))
    roll = -math.log(sum(p[0, 2, k] for k, centre in enumerate(centres) if centre - 1.5 <= 10 <= centre + 1.5))
    assert float(found[0]) == pytest.approx((yaw + roll) / 2, abs=1e-4)
    weights = [math.exp(-0.5 * ((centre - 10) / 4) ** 2) for centre in centres]
    assert float(found[1]) == pytest.approx(-sum(w / sum(weights) * math.log(q) for w, q in zip(weights, p[1, 1], strict=True)), abs=1e-4)


def test_traits_are_the_logistic_mean_over_known_entries() -> None:
    output = outputs(tasks.attributes, 1)
    row = tasks.attributes.encode(TraitNames({"smile": "Smiling", "glasses": "Eyeglasses"}), {"smile": True, "glasses": False})
    found = loss_of(tasks.attributes, output, tensors(tasks.attributes, row)).detach()
    smile, glasses = (float(output[0, tasks.attributes.vocabulary.index(name)].detach()) for name in ("Smiling", "Eyeglasses"))
    wanted = (-math.log(1 / (1 + math.exp(-smile))) - math.log(1 - 1 / (1 + math.exp(-glasses)))) / 2
    assert float(found[0]) == pytest.approx(wanted, abs=1e-5)


def test_an_eye_is_the_mean_of_six_points_and_a_missing_one_does_not_count() -> None:
    output = outputs(tasks.landmarks, 1)
    points = FIVE.weights @ FACE
    points[2] = np.nan
    found = loss_of(tasks.landmarks, output, tensors(tasks.landmarks, tasks.landmarks.encode(FIVE, points)))
    o, each = output.detach().double().numpy()[0], []
    for labelled, ours in zip(points, [range(36, 42), range(42, 48), [30], [48], [54]], strict=True):
        if np.isfinite(labelled).all():
            x, y, spread = (float(np.mean([o[k, axis] for k in ours])) for axis in range(3))
            each.append((abs(x - labelled[0]) + abs(y - labelled[1])) / spread + 2 * math.log(2 * spread))
    assert len(each) == 4 and float(found[0].detach()) == pytest.approx(sum(each) / 4, abs=1e-4)
    found.sum().backward()
    assert output.grad is not None
    moved = torch.nonzero(output.grad[0].abs().sum(-1)).ravel().tolist()
    assert moved == [*range(36, 48), 48, 54]


def test_regions_cost_the_surprise_of_each_labelled_pixels_word() -> None:
    output = outputs(tasks.parsing, 1)
    mask = np.random.default_rng(3).integers(0, 3, (SIZE, SIZE), dtype=np.uint8)
    mask[:, 10:] = 255
    found = loss_of(tasks.parsing, output, tensors(tasks.parsing, tasks.parsing.encode(FASSEG, mask)))
    larger = torch.nn.functional.interpolate(output.detach(), size=(SIZE, SIZE), mode="bilinear")[0].double().numpy()
    each, scope = [], [index for index in range(19) if FASSEG.scope[index]]
    for y in range(SIZE):
        for x in range(10):
            possible = [index for index in range(19) if FASSEG.table[mask[y, x], index]]
            raised = np.exp(larger[:, y, x])
            each.append(-math.log(raised[possible].sum() / raised[scope].sum()))
    assert float(found[0].detach()) == pytest.approx(np.mean(each), abs=1e-4)
    found.sum().backward()
    assert output.grad is not None
    assert sorted(set(torch.nonzero(output.grad[0].abs().sum((1, 2))).ravel().tolist())) == scope  # nothing beyond U moves


def test_a_word_of_several_regions_teaches_which_only_by_what_the_network_believes() -> None:
    hair = tasks.parsing.vocabulary.index("hair")
    output = torch.zeros((1, 19, 8, 8))
    output[:, hair] = 3
    output.requires_grad_()
    loss_of(tasks.parsing, output, tensors(tasks.parsing, tasks.parsing.encode(FASSEG, np.ones((SIZE, SIZE), np.uint8)))).sum().backward()
    assert output.grad is not None
    assert output.grad[0, hair].sum() < output.grad[0, tasks.parsing.vocabulary.index("l_brow")].sum() < 0 < output.grad[0, 0].sum()


def slow_overlap(output: torch.Tensor, mask: np.ndarray, meaning: Words) -> float:
    larger = torch.nn.functional.interpolate(output.detach(), size=(SIZE, SIZE), mode="bilinear")[0].double().numpy()
    shares = np.exp(larger) / np.exp(larger[meaning.scope]).sum(0)
    each = []
    for word in set(mask.ravel().tolist()) - {255}:
        both = total = 0.0
        for y, x in zip(*np.nonzero(mask != 255), strict=True):
            other = mask[y, x] != word
            if other and (meaning.table[word] & meaning.table[mask[y, x]]).any():
                continue  # this pixel may be of the word
            share = shares[meaning.table[word], y, x].sum()
            both, total = both + share * (not other), total + share + (not other)
        each.append(1 - 2 * both / total)
    return float(np.mean(each))


MEETING = words(tasks.parsing.vocabulary, {"background": "background", "hair": "hair", "hair or skin": ("hair", "skin")})


@pytest.mark.parametrize("meaning", [FASSEG, MEETING])
def test_the_overlap_of_regions_is_one_less_the_mean_dice_of_the_words_there(meaning: Words) -> None:
    output = outputs(tasks.parsing, 1)
    mask = np.random.default_rng(3).integers(0, 3, (SIZE, SIZE), dtype=np.uint8)
    mask[:, 10:] = 255
    found = losses.overlap(tasks.parsing, output, tensors(tasks.parsing, tasks.parsing.encode(meaning, mask)))
    assert float(found[0].detach()) == pytest.approx(slow_overlap(output, mask, meaning), abs=1e-5)


def test_overlap_says_nothing_where_a_word_leaves_everything_possible_or_no_pixel_is_known() -> None:
    anything = words(tasks.parsing.vocabulary, {"hair or skin": ("hair", "skin"), "hair": "hair"})
    output = outputs(tasks.parsing, 2)
    rows = [tasks.parsing.encode(anything, np.full((SIZE, SIZE), word, np.uint8)) for word in (0, 255)]
    found = losses.overlap(tasks.parsing, output, tensors(tasks.parsing, *rows))
    found.sum().backward()
    assert found.tolist() == pytest.approx([0, 0], abs=1e-6)
    assert output.grad is not None and float(output.grad.abs().max()) < 1e-6


def test_every_kind_but_identity_has_a_loss() -> None:
    assert set(losses.LOSSES) == {type(task) for task in tasks.TASKS} - {Embedding}
    assert People not in losses.LOSSES
