"""Whom a network was taught by name: no pair of a verification list is scored that has one of them, for that would measure memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyface import datasets
from polyface.datasets.base import Dataset, Pairs, Record
from polyface.datasets.copies import person_name
from polyface.errors import InputError, RequestError
from polyface.tasks.kinds import Embedding


@dataclass(frozen=True)
class Lessons:
    """What a card says. sets: the data sets that taught a network who somebody is; strangers: those whose people it was taught by no name, whatever other set they are
    in."""

    sets: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()


NOBODY = Lessons()
"""Of a network about which nothing is known: no pair is left out."""


def strangers_only(task: Embedding, dataset: Dataset, pairs: Pairs, records: Iterable[Record], lessons: Lessons, folder: Path) -> tuple[Pairs, str]:
    """The pairs of people who have no name in a training split that taught the network who somebody is, and what to say of the others.

    People are recognised by name. records: those of the pictures in the pairs; folder: that of the data sets.
    """
    if dataset.name in lessons.strangers:
        return pairs, ""
    names = {record.key: person_name(record.subject) for record in records if record.subject is not None}
    if not names:
        return pairs, "who is on these pictures is not known: pairs of people whom the network was taught by name are not left out" if lessons.sets else ""
    left, right = (np.array([names.get(key, "") for key in side], str) for side in (pairs.left, pairs.right))
    kept, said = np.ones(len(pairs.left), bool), []
    for name in lessons.sets:
        try:
            people = people_taught(task, name, folder) & set(names.values())
        except (InputError, RequestError) as error:
            said.append(f"whether its people are also in {name} is not known: {error}")
            continue
        of_them = np.isin(left, list(people)) | np.isin(right, list(people))
        if of_them.any():
            said.append(f"{(of_them & kept).sum()} of {len(kept)} pairs left out, of {len(people)} people who are also in {name}")
        kept &= ~of_them
    chosen = np.flatnonzero(kept)
    of_strangers = Pairs(tuple(pairs.left[at] for at in chosen), tuple(pairs.right[at] for at in chosen), pairs.same[chosen], pairs.fold[chosen])
    return of_strangers, "; ".join(said)


def people_taught(task: Embedding, name: str, folder: Path) -> set[str]:
    """Whom the training split of a set calls by name, as `person_name` writes them; nobody where it does not say who somebody is.

    Raises InputError or RequestError where the set is not known, or not at hand.
    """
    dataset = datasets.named(name)
    if task.name not in dataset.answers or "train" not in dataset.splits:
        return set()
    training = dataset.records(datasets.find_root(folder, dataset.name), "train").records
    return {person_name(record.subject) for record in training if record.subject is not None and task.name in record.labels}
