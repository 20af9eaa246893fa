"""Labels by majority: what counts as clear, who is taken, and that answers without a place vote for nobody."""

from pathlib import Path

import numpy as np
import pytest

from polyface import datasets, tasks
from polyface.errors import RequestError
from polyface.images.align import Crop
from polyface.papers import votes
from polyface.synth.write import write

AGE, RACE, GENDER = votes.POLLS


def sure(task: tasks.Task, at: int) -> np.ndarray:
    output = np.zeros(task.shape(0), np.float32)
    output[at] = 30
    return output


def test_an_answer_is_the_group_of_the_best_one_and_some_have_no_place() -> None:
    race = np.stack([sure(tasks.race, tasks.race.vocabulary.index(word)) for word in ("Southeast Asian", "Black", "Indian", "Middle Eastern", "White")])
    assert [RACE.task.vocabulary[at] if at >= 0 else None for at in RACE.answers(race)] == ["Asian", "African", None, None, "White"]
    age = np.stack([sure(tasks.age, years) for years in (5, 29, 30, 59, 60, 99)])
    assert AGE.answers(age).tolist() == [0, 0, 1, 1, 2, 2]
    assert GENDER.answers(np.array([[2.0, 1.0], [0.0, 1.0]])).tolist() == [0, 1]


def test_a_clear_majority_is_more_than_half_of_all_pictures() -> None:
    answers = np.array([0, 0, 1, 0, 1, 1, 1, -1, -1, 1])
    people = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3])
    found = votes.majority(answers, people, 2, 5)
    assert found.winner.tolist() == [0, -1, -1, 1, -1]
    assert found.share.tolist() == [pytest.approx(2 / 3), 0.5, 0.5, 1.0, 0.0] and found.pictures.tolist() == [3, 2, 4, 1, 0]


def test_the_people_taken_fill_every_group_and_are_the_surest_of_theirs() -> None:
    groups = [(0,)] * 10 + [(1,)] * 2 + [(-1,)] * 3
    shares = np.array([0.6, 0.9, 0.7, 0.8, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.55, 0.95, 1, 1, 1])
    assert votes.fill(groups, shares, 5) == [1, 2, 3, 10, 11]
    assert len(votes.fill(groups, shares, 99)) == 12


def test_a_voter_that_saw_more_than_fairface_is_refused() -> None:
    votes.check_alone(["fairface"])
    with pytest.raises(RequestError, match="celeba"):
        votes.check_alone(["fairface", "celeba"])


class Knows:
    """Says of everybody the first answer there is."""

    tasks, crop, label = (tasks.race, tasks.gender, tasks.age), Crop().scaled(32), "knows"

    def run(self, crops: np.ndarray, names: object = None) -> dict[str, np.ndarray]:
        assert crops.dtype == np.uint8 and crops.shape[1:] == (32, 32, 3)
        return {task.name: np.stack([sure(task, 0)] * len(crops)) for task in self.tasks}


def test_the_voter_is_asked_on_every_picture_and_measured_on_fairface(tmp_path: Path) -> None:
    write("fairface", tmp_path / "fairface", 6, 3, 1)
    write("folders", tmp_path / "pins", 6, 3, 1)
    dataset = datasets.named("pins")
    records = [record for split in ("train", "validation", "test") for record in dataset.list_records(datasets.find_root(tmp_path, "pins"), split).records]  # type: ignore[arg-type]
    nobody_found = votes.ask(Knows(), records, {}, votes.POLLS)
    assert all((each == -1).all() for each in nobody_found.values())
    found = votes.recalls(Knows(), tmp_path, votes.POLLS, "train")
    assert [recall for recall, n in found["gender"].values() if n] == [1.0, 0.0][: sum(n > 0 for _, n in found["gender"].values())]
    assert sum(n for _, n in found["gender"].values()) >= sum(n for _, n in found["race"].values()) > 0  # Indian and Middle Eastern have no place
