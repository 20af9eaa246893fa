"""The plan of paper C's networks: who is asked what, how losses are weighed, and that votes as shares take the place of labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from polyface import datasets, tasks
from polyface.datasets.base import Record
from polyface.datasets.crops import Example, Examples
from polyface.errors import RequestError
from polyface.labels import TraitNames
from polyface.models import margins
from polyface.models.export import write_weights
from polyface.models.joint import JointConfig, moon
from polyface.papers import joint_plan, stage
from polyface.papers.joint_config import Stage, load
from polyface.papers.joint_plan import JointPlan, Lesson, trained
from polyface.papers.joint_worlds import counted
from polyface.tasks.kinds import Embedding, Traits
from polyface.training.batches import Batch
from polyface.training.examples import Source

WHO, LOOKS = Embedding(tasks.identity.name, "Who?", 8), Traits(tasks.attributes.name, "What?", ("Male", "Young"))


def source(name: str, labels: dict[str, dict[str, bool]]) -> Source:
    dataset = replace(datasets.pins, name=name, answers={**datasets.pins.answers, LOOKS.name: TraitNames({trait: trait for trait in LOOKS.vocabulary})})
    items = [
        Example(Record(f"{who}/{at}", None, {WHO.name: who, LOOKS.name: said}, who), np.zeros((5, 2)), "stated")  # type: ignore[arg-type]
        for who, said in labels.items()
        for at in range(2)
    ]
    return Source(Examples(dataset, tuple(items)), 1.0, name)


def plan_of(*asked: Embedding | Traits, **said: object) -> JointPlan:
    recipe = load("smoke")
    sources = counted(
        [source("a", {"Ann": {"Male": True, "Young": False}, "Bob": {"Male": True}}), source("b", {"Cy": {"Male": False, "Young": True}, "Di": {"Male": True}})]
    )
    network = JointConfig(stem=4, widths=(4, 4, 4), blocks=(1, 1, 1), hidden=4)
    lesson = Lesson(
        network=network, tasks=asked, sources=sources, stage=Stage(steps=3, batch=4), optimiser=recipe.optimiser, augment=recipe.augment, crop=recipe.view, seed=1,
        identity=recipe.identity, weight=0.1, target=0.5,
    )  # fmt: skip
    return JointPlan(replace(lesson, **said))  # type: ignore[arg-type]


def batch() -> Batch:
    """Ann and Bob of a, Cy of b, and somebody of b whom nobody names."""
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    values = np.array([[1, 0], [1, -1], [0, 1], [-1, -1]], np.int8)
    return Batch(images, {WHO.name: {"person": np.array([0, 1, 0, -1])}, LOOKS.name: {"values": values}}, np.array([0, 0, 1, 1]), ("a/0", "a/1", "b/0", "b/1"))


def test_attributes_are_weighed_only_where_they_are_beside_identity() -> None:
    assert plan_of(WHO, LOOKS).weights == {WHO.name: 1.0, LOOKS.name: 0.1}
    assert plan_of(LOOKS).weights == {LOOKS.name: 1.0} and plan_of(WHO).weights == {WHO.name: 1.0}


def test_rates_are_those_of_the_labels_that_batches_draw_and_unknown_ones_count_nowhere() -> None:
    lesson = plan_of(LOOKS).lesson
    assert lesson.rates.tolist() == [0.75, 0.5]
    a, b = lesson.sources
    often = replace(lesson, sources=(a, replace(b, weight=3.0)))  # of four rows one is of a, where all are male, and three are of b, where half are
    assert often.rates.tolist() == pytest.approx([(1 + 3 * 0.5) / 4, 3 * 0.5 / (1 * 0.5 + 3 * 0.5)])


def test_losses_are_of_labelled_rows_and_nobody_competes_with_people_of_another_set() -> None:
    plan, given = plan_of(WHO, LOOKS), batch()
    model = plan.model().eval()
    found = plan.loss(model, given, torch.device("cpu"))
    outputs = model(torch.from_numpy(given.images))
    expected = []
    for row, (space, person) in enumerate((("a", 0), ("a", 1), ("b", 0))):
        cosines = plan.lesson.identity.scale * model.people(outputs[WHO.name][row : row + 1], space)
        cosines[0, person] -= plan.lesson.identity.scale * plan.lesson.identity.margin
        expected.append(torch.nn.functional.cross_entropy(cosines, torch.tensor([person])).item())
    assert found[WHO.name].tolist() == pytest.approx(expected, rel=1e-4)
    positive, negative = torch.tensor([1 / 3, 1.0]), torch.tensor([1.0, 1.0])  # yes in 0.75 and 0.5 of the labels, counted as half
    shares = torch.tensor([[1.0, 0], [1, -1], [0, 1]])
    assert found[LOOKS.name].tolist() == pytest.approx(moon(outputs[LOOKS.name][:3], shares, positive, negative, True).tolist(), rel=1e-4)


def test_soft_votes_take_the_place_of_labels_by_the_number_of_a_person() -> None:
    soft = {"a": np.array([[0.75, 0.25], [1, 0.5]], np.float32)}
    plan = plan_of(WHO, LOOKS, shares=soft)
    assert plan._shares(batch(), LOOKS, np.array([0, 1, 2])).tolist() == [[0.75, 0.25], [1, 0.5], [0, 1]]


def test_the_row_that_is_to_blame_is_named_and_nothing_to_train_on_is_refused() -> None:
    assert plan_of(WHO, LOOKS).blame(batch(), LOOKS.name, 2)["key"] == "b/0"
    with pytest.raises(RequestError, match="no picture"):
        JointPlan(replace(plan_of(LOOKS).lesson, sources=()))


@pytest.mark.parametrize("loss", ["cosface", "arcface", "adaface", "softmax"])
def test_the_recipe_s_loss_of_identity_trains_the_network(loss: str) -> None:
    plan = plan_of(WHO, LOOKS, identity=margins.Identity(loss=loss))
    model = plan.model().train()
    found = plan.loss(model, batch(), torch.device("cpu"))
    found[WHO.name].sum().backward()
    assert torch.isfinite(found[WHO.name]).all() and all(parameter.grad is not None for parameter in model.people.parameters())
    unit = model.eval()(torch.from_numpy(batch().images))[WHO.name]
    assert unit.norm(dim=1).tolist() == pytest.approx([1.0] * 4, abs=1e-4)


def test_a_network_is_found_again_only_of_the_lesson_it_was_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lesson = plan_of(WHO, LOOKS).lesson
    runs: list[str] = []

    def train(plan: JointPlan, folder: Path, words: str, progress: object) -> None:
        runs.append(words)
        write_weights(plan.model(), words, (folder / stage.WEIGHTS).parent)

    monkeypatch.setattr(joint_plan, "train", train)
    first, again = (trained(each, tmp_path / "run", "row", None) for each in (lesson, plan_of(WHO, LOOKS).lesson))
    assert runs == ["row"] and not again.training
    assert all(torch.equal(mine, its) for mine, its in zip(first.parameters(), again.parameters(), strict=True))
    with pytest.raises(RequestError, match="other people, pictures or labels"):
        trained(replace(lesson, seed=2), tmp_path / "run", "row", None)
    (tmp_path / "run" / joint_plan.MADE_WITH).unlink()
    with pytest.raises(RequestError, match="other people, pictures or labels"):
        trained(lesson, tmp_path / "run", "row", None)


def test_a_lesson_is_another_with_anything_of_it() -> None:
    lesson = plan_of(WHO, LOOKS).lesson
    first, second = lesson.sources
    fewer = replace(second, examples=replace(second.examples, items=second.examples.items[1:]))
    relabelled = source("b", {"Cy": {"Male": True, "Young": True}, "Di": {"Male": True}})
    others = [
        replace(lesson, sources=(second, first)), replace(lesson, sources=(first, fewer)), replace(lesson, sources=(first, relabelled)),
        replace(lesson, sources=(first, replace(second, weight=2.0))), replace(lesson, tasks=(WHO,)), replace(lesson, tasks=(WHO, replace(LOOKS, vocabulary=("Male",)))),
        replace(lesson, weight=0.2), replace(lesson, stage=Stage(steps=4, batch=4)), replace(lesson, shares={"a": np.zeros((2, 2), np.float32)}),
        replace(lesson, shares={"a": np.ones((2, 2), np.float32)}),
    ]  # fmt: skip
    assert len({each.made_with for each in (lesson, *others)}) == 11
    assert replace(lesson, threads=2).made_with == plan_of(WHO, LOOKS).lesson.made_with == lesson.made_with
