"""Pairs of people whom a network was taught by name are left out of its verification scores."""

from pathlib import Path

import numpy as np
import pytest

from polyface import datasets, tasks
from polyface.datasets.base import Dataset, Listing, Pairs, Record
from polyface.errors import RequestError
from polyface.evaluation.taught import NOBODY, Lessons, strangers_only
from polyface.images.read import file_source
from polyface.labels import People

PAIRS = Pairs(("a1", "b1", "c1", "a1"), ("a2", "b2", "c2", "c1"), np.array([True, True, True, False]), np.array([0, 1, 2, 3]))


def record(key: str, person: str) -> Record:
    return Record(key, file_source(f"{key}.jpg"), {tasks.identity.name: person}, subject=person)


def a_set(name: str, people: dict[str, str], splits: tuple[str, ...] = ("train", "test")) -> Dataset:
    listing = Listing(tuple(record(key, person) for key, person in people.items()))
    return Dataset(name, name, "", "", {tasks.identity.name: People(space=name)}, splits, lambda root, split: listing)  # type: ignore[arg-type]


LISTED = a_set("listed", {"a1": "José Díaz", "a2": "José Díaz", "b1": "Ann Lee", "b2": "Ann Lee", "c1": "Bo", "c2": "Bo"}, ("test",))


def left(lessons: Lessons) -> tuple[list[int], str]:
    kept, said = strangers_only(tasks.identity, LISTED, PAIRS, LISTED.records(None, "test").records, lessons, Path())  # type: ignore[arg-type]
    assert len(kept.left) == len(kept.right) == len(kept.same) == len(kept.fold)
    return kept.fold.tolist(), said


@pytest.fixture(autouse=True)
def _sets(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {"one": a_set("one", {"x": "jose_diaz", "y": "Somebody Else"}), "away": a_set("away", {"z": "Bo"})}

    def find_root(folder: Path, name: str) -> None:
        if name == "away":
            raise RequestError("not at hand")

    monkeypatch.setattr(datasets, "named", sets.__getitem__)
    monkeypatch.setattr(datasets, "find_root", find_root)


def test_a_pair_with_somebody_of_a_training_set_is_left_out_and_counted_whatever_the_spelling() -> None:
    assert left(Lessons(("one",))) == ([1, 2], "2 of 4 pairs left out, of 1 people who are also in one")


def test_a_list_whose_people_were_kept_out_of_training_stays_whole() -> None:
    assert left(Lessons(("one",), strangers=("listed",))) == ([0, 1, 2, 3], "")


def test_of_a_set_that_is_not_at_hand_nothing_is_known_and_that_is_said() -> None:
    assert left(Lessons(("away",))) == ([0, 1, 2, 3], "whether its people are also in away is not known: not at hand")


def test_without_lessons_no_pair_is_left_out() -> None:
    assert left(NOBODY) == ([0, 1, 2, 3], "")
