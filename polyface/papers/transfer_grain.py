"""What grain gives: a coarse word taken for the set of answers it leaves possible, against what else is done with such words (`transfer.py`, part `grain`).

Both arms see the same sets, as many pictures, and the same seeds. They are scored by questions whose labels no coarse word is in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from polyface import datasets, tasks
from polyface.datasets.crops import Example
from polyface.labels import Ranges, Words
from polyface.papers.transfer_runs import Question
from polyface.tasks.kinds import Task
from polyface.training.examples import Source


@dataclass(frozen=True)
class Grain:
    """A coarse word as a set, or `otherwise`. sets: {set: share of a batch}."""

    name: str
    words: str
    task: Task
    sets: Mapping[str, float]
    otherwise: Callable[[Source], Source]
    questions: tuple[Question, ...]


OLDEST = 75.0
"""Years for FairFace's "more than 70", whose middle, 93, nobody would take."""


def midpoints(source: Source) -> Source:
    """FairFace's groups of ages by the year in their middle."""
    ranges = source.dataset.answers[tasks.age.name]
    assert isinstance(ranges, Ranges)
    middles = {word: (low + high) / 2 if high < tasks.age.top else OLDEST for word, (low, high) in ranges.meanings.items()}
    answers = {**source.dataset.answers, tasks.age.name: Ranges({word: (year, year) for word, year in middles.items()})}
    return replace(source, examples=replace(source.examples, dataset=replace(source.dataset, answers=answers)))


def without_asian(source: Source) -> Source:
    """UTKFace without the rows whose word leaves East and Southeast Asian possible. Other sets stay."""
    if source.dataset.name != datasets.utkface.name:
        return source
    return _with_items(source, tuple(example for example in source.examples.items if example.record.labels.get(tasks.race.name) != "Asian"))


def without_hair_or_brow(source: Source) -> Source:
    """FASSEG with its pixels of hair or brow unlabelled; what its other pixels say is as before. Other sets stay."""
    if source.dataset.name != datasets.fasseg.name:
        return source
    words = source.dataset.answers[tasks.parsing.name]
    assert isinstance(words, Words)
    return _with_items(source, tuple(_unsaid(example, words.index("hair")) for example in source.examples.items))


def _unsaid(example: Example, word: int) -> Example:
    labels = example.record.labels
    if tasks.parsing.name not in labels:
        return example
    return replace(example, record=replace(example.record, labels={**labels, tasks.parsing.name: Unsaid(labels[tasks.parsing.name], word)}))


def _with_items(source: Source, items: tuple[Example, ...]) -> Source:
    return replace(source, examples=replace(source.examples, items=items))


@dataclass(frozen=True)
class Unsaid:
    """A mask in which one word is unlabelled."""

    mask: object
    word: int

    def __call__(self) -> np.ndarray:
        mask = np.asarray(self.mask() if callable(self.mask) else self.mask)
        return np.where(mask == self.word, np.uint8(255), mask)


GRAINS = (
    Grain(
        name="ages",
        words="FairFace's ages as ranges, against their midpoints",
        task=tasks.age,
        sets={"fairface": 1.0},
        otherwise=midpoints,
        questions=(Question("age", tasks.age, "utkface", "utkface"), Question("age groups", tasks.age, "fairface", "fairface")),
    ),
    Grain(
        name="asian",
        words="UTKFace's Asian as a set, against leaving those rows out",
        task=tasks.race,
        sets={"fairface": 0.4, "utkface": 0.6},
        otherwise=without_asian,
        questions=(Question("race", tasks.race, "fairface", "fairface"),),
    ),
    Grain(
        name="hair",
        words="FASSEG's hair or brow as a set, against leaving it out",
        task=tasks.parsing,
        sets={"celebamask": 0.5, "fasseg": 0.5},
        otherwise=without_hair_or_brow,
        questions=(Question("parsing", tasks.parsing, "celebamask", "celebamask"),),
    ),
)
