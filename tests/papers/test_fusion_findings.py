"""What the page says beside its numbers: who is in a class, where the question is not the paper's, what was not trained alike, what did not learn, when it is read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polyface.papers import fusion_findings as fusion
from polyface.papers.fusion_config import FusionConfig, load
from polyface.papers.fusion_findings import World
from polyface.papers.fusion_heads import Cell, subsets
from polyface.papers.fusion_pictures import Pictures, Question
from polyface.papers.fusion_runs import Bench, Tables, early_moment
from polyface.papers.fusion_statistics import Answers

TASKS = ("identity", "age", "gender")
PEOPLE, EACH = 12, 5


def config(**said: object) -> FusionConfig:
    return load("smoke", ["variants=2", "fewest_people=3", *(f"{key}={value}" for key, value in said.items())])


def pictures(sure: np.ndarray | None = None) -> Pictures:
    """Twelve people: ten young, two old; the first six are women. Among the first six nobody is old, among the last three age is gender."""
    who = np.repeat(np.arange(PEOPLE), EACH)
    ages, genders = np.where(np.arange(PEOPLE) < 10, 0, 2), np.where(np.arange(PEOPLE) < 6, 1, 0)
    genders[9] = 1
    questions = (Question("age", "?", ("young", "adult", "old")), Question("gender", "?", ("male", "female")))
    crops = np.zeros((len(who), 4, 4, 3), np.uint8)
    labels = {"age": ages[who], "gender": genders[who]}
    return Pictures("tiny", "tiny", tuple(f"{row}.jpg" for row in range(len(who))), crops, who, tuple(f"p{at}" for at in range(PEOPLE)), questions, labels, sure=sure)


def tables(bench: Bench, split: str) -> Tables:
    rows = np.arange(PEOPLE * EACH * 2)
    right = Answers((rows % 2).astype(np.float32), bench.people, rows)
    wrong = replace(right, correct=np.zeros(len(rows), np.float32))
    cells = {Cell(sources, target).name: right for target in TASKS for sources in subsets(TASKS)}
    return Tables(split, "end", TASKS, TASKS, dict.fromkeys(TASKS, right), cells, {}, dict.fromkeys(TASKS, wrong), {}, {})  # type: ignore[arg-type]


def world(sure: np.ndarray | None = None, **said: object) -> World:
    bench = Bench(pictures(sure), config(), Path("nowhere"), 1.0, print)
    found = {(split, "end"): tables(bench, split) for split in ("paper", "image", "person")}
    return replace(World(bench, found, {}, [], Path("model")), **said)  # type: ignore[arg-type]


def test_people_are_counted_by_class_in_the_classes_that_a_split_keeps() -> None:
    made = world()
    assert fusion.classes(made, "image") == {"age": {"young": 10, "old": 2}, "gender": {"male": 5, "female": 7}}
    assert fusion.classes(made, "person")["age"] == {"young": 10}


def test_what_is_another_question_than_the_papers_is_said_beside_its_numbers() -> None:
    made = world()
    said = " | ".join(fusion.remarks(made, made.tables["image", "end"]))
    assert "identity has 12 people here, 77 in the paper" in said and "age has 2 classes (young, old) here, 3 in the paper" in said and "age: adult left out" in said
    assert "'all' joins 3 features here" in said and "gender has" not in said
    assert "age: adult, old left out" in " | ".join(fusion.remarks(made, made.tables["person", "end"]))
    brought = replace(made, bench=replace(made.bench, extra={"mine": np.zeros((2, 2))}))
    assert "your own features (mine) are left out here" in " | ".join(fusion.remarks(brought, made.tables["paper", "end"]))


def test_a_mean_of_heads_that_gave_one_answer_is_told_beside_it_and_every_seed_is_in_the_findings() -> None:
    made, cell = world(), Cell(TASKS, "gender", "gated product").name
    shown = replace(made.tables["image", "end"], seeds={cell: [0.95, 0.71, 0.71]}, one_answer={cell: 2})
    assert "gender from all features, gated product: 2 of 3 heads gave every test row the same answer" in fusion.remarks(made, shown)
    told = fusion._split(replace(made, tables={("image", "end"): shown}), shown)["seeds"]
    assert told == {cell: {"accuracy": [0.95, 0.71, 0.71], "spread": pytest.approx(0.24), "one answer": 2}}


def test_splits_whose_networks_took_other_steps_are_told_apart() -> None:
    made = world()
    assert "40 in split paper, 40 in split image, 20 in split person" in fusion.unequal_steps(made)
    assert fusion.unequal_steps(replace(made, bench=replace(made.bench, config=config(person_steps=40)))) == ""


def test_a_network_that_ended_at_the_constant_answer_is_named_but_for_random_groups() -> None:
    rows = [
        {"split": "image", "network": "identity@12", "accuracy": {"identity": 0.012}},
        {"split": "person-1", "network": "age", "accuracy": {"age": 0.9}},
        {"split": "image", "network": "random groups of age", "accuracy": {"random groups of age": 0.0}},
        {"split": "image", "network": "groups", "accuracy": {"groups": 0.0}},
    ]
    assert fusion.unlearned(world(speeds=rows)) == ["image/identity@12 (identity 1.2 %, the constant answer 0.0 %)"]


def test_of_people_whose_groups_are_sure_the_page_says_who_they_are_and_what_cannot_be_told_apart() -> None:
    certain = np.arange(PEOPLE) >= 9
    found = fusion.sure(world(certain))
    assert found is not None and found.people == 3 and dict(found.groups) == {"old male": 2, "young female": 1}
    assert found.said == ("age and gender are one question among them: who is in one class of the one is in one class of the other",)
    assert set(found.tables.networks["age"].people) == {9, 10, 11} and set(found.tables.constants["age"].people) == {9, 10, 11}
    young = fusion.sure(world(np.arange(PEOPLE) < 8))
    assert young is not None and young.said == ("age has one class among them: there is nothing to tell",)
    assert fusion.sure(world()) is None


@pytest.mark.parametrize(
    ("reached", "step", "words"),
    [
        ((0.2, 0.4, 0.5), None, "never passed 60 % (50.0 % at best, at iteration 30), so this split is not read a second time"),
        ((0.2, 0.7, 0.8), 20, "passed 60 % between iterations 10 and 20, where it was 70.0 %"),
        ((0.7, 0.8, 0.9), 10, "passed 60 % between iterations 0 and 10, where it was 70.0 %"),
        ((0.2, 0.4, 0.7), None, "where it was 70.0 %: that is the end, which the tables show"),
    ],
)
def test_the_moment_of_60_percent_is_named_or_said_to_be_absent(reached: tuple[float, ...], step: int | None, words: str) -> None:
    found, said = early_moment([{"step": 10 * (at + 1), "identity": each} for at, each in enumerate(reached)])
    assert found == step and words in said
