"""Coarser tasks as a recipe or a card states them, and any data set retold in them: every set that answers the finer task answers the coarser, in words of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polyface import tasks
from polyface.datasets.base import Dataset, Listing, Meaning, Record, Split
from polyface.errors import RequestError, nearest
from polyface.images.read import Root
from polyface.labels import PointMap, TraitNames, Words
from polyface.tasks.derive import Derived, derive, retell
from polyface.tasks.kinds import Category, Label, Points, Regions, Task, Traits

Tell = Callable[[object], Label | None]
"""A label of the finer task -> that of the coarser; None where it says nothing about it."""


@dataclass(frozen=True)
class Coarse:
    """A task of the network, and what it is made of."""

    task: Task
    fine: Task
    made: Derived


def coarse_tasks(derived: Mapping[str, Derived]) -> tuple[Coarse, ...]:
    """The tasks of a recipe, in its order. Raises RequestError, naming the task, for words that make none, and for kinds that paper B has no map and no loss for."""
    found = []
    for name, made in derived.items():
        fine = tasks.named(made.of)
        if not isinstance(fine, Category | Points | Regions | Traits):
            raise RequestError(f"{name}: a task of classes, points, regions or traits is needed, and {made.of} is a {type(fine).__name__}")
        for answer in made.nothing:
            if not isinstance(fine, Regions) or answer not in fine.vocabulary:
                raise RequestError(f"{name}: nothing = {answer!r}, which is no region of {made.of}{nearest(answer, getattr(fine, 'vocabulary', ()))}")
        task = derive(fine, name, made.words) if made.words else replace(fine, name=name)
        found.append(Coarse(replace(task, question=made.question or task.question), fine, made))
    return tuple(found)


@dataclass(frozen=True)
class Retelling:
    """A set in the coarser tasks. dataset: its answers in them, listing its own records retold; tell: {coarser task: (finer task, what its labels mean)}."""

    dataset: Dataset
    tell: Mapping[str, tuple[str, Tell]]

    def record(self, record: Record) -> Record:
        """The record with the coarser labels only; its word for yaw, which tables are split by, becomes a group."""
        labels = {}
        for name, (fine, tell) in self.tell.items():
            if fine in record.labels:
                label = tell(record.labels[fine])
                if label is not None:
                    labels[name] = label
        yaw = getattr(record.labels.get(tasks.pose.name), "get", lambda axis: None)("yaw")
        groups = {**record.groups, tasks.pose.name: yaw} if isinstance(yaw, str) else record.groups
        return replace(record, labels=labels, groups=groups)


def retelling(dataset: Dataset, coarse: Sequence[Coarse], only: Sequence[str] | None = None) -> Retelling:
    """A set in the coarser tasks, or in those made of some finer ones only.

    Raises RequestError where it labels none of them, and where its words say nothing about one that it does label.
    """
    for fine in only or ():
        if fine not in dataset.answers:
            raise RequestError(f"{dataset.name} does not answer {fine}{nearest(fine, dataset.answers)}; it answers {', '.join(dataset.answers)}")
    answers: dict[str, Meaning] = {}
    tell: dict[str, tuple[str, Tell]] = {}
    for each in coarse:
        if each.fine.name in dataset.answers and (only is None or each.fine.name in only):
            answers[each.task.name], told = _retold(each, dataset)
            tell[each.task.name] = each.fine.name, told
    if not answers:
        wanted = ", ".join(f"{each.task.name} (from {each.fine.name})" for each in coarse)
        raise RequestError(f"{dataset.name} labels none of the recipe's tasks, {wanted}; it answers {', '.join(dataset.answers)}")
    found = Retelling(dataset, tell)

    def list_records(root: Root, split: Split) -> Listing:
        listing = dataset.list_records(root, split)
        return replace(listing, records=tuple(record for record in map(found.record, listing.records) if record.labels))

    return replace(found, dataset=replace(dataset, answers=answers, list_records=list_records))


def told_to(dataset: Dataset, asked: Sequence[Task], made: Mapping[str, Derived]) -> Dataset:
    """The set in the tasks of a network, of which `made` says what those are made of that are none of the project's. It answers nothing where it labels none of them.

    Raises RequestError where words make no task, and where the set's own say nothing about one that it does label.
    """
    told = dataset
    if made:
        coarse = coarse_tasks({task.name: made[task.name] for task in asked if task.name in made})
        ours = tuple(Coarse(task, task, Derived(of=task.name)) for task in asked if task.name not in made)
        known = [each for each in (*coarse, *ours) if each.fine.name in dataset.answers]
        told = retelling(dataset, known).dataset if known else replace(dataset, answers={})
    for task in asked:
        if isinstance(task, Regions) and task.name in told.answers:
            told = _merged(told, task)
    return told


def _merged(dataset: Dataset, task: Regions) -> Dataset:
    """Words that mean the same regions are one, since scores are given word by word: a network that knows brows cannot tell a left one."""
    meaning = dataset.answers[task.name]
    assert isinstance(meaning, Words)
    rows = [tuple(row) for row in meaning.table.tolist()]
    kept = list(dict.fromkeys(rows))
    if len(kept) == len(rows):
        return dataset
    names = tuple(" or ".join(name for name, other in zip(meaning.names, rows, strict=True) if other == row) for row in kept)
    lookup = np.arange(256, dtype=np.uint8)  # what is no word stays, and is refused where it is read
    lookup[: len(rows)] = [kept.index(row) for row in rows]

    def relabelled(record: Record) -> Record:
        mask = record.labels.get(task.name)
        return record if mask is None else replace(record, labels={**record.labels, task.name: lambda: lookup[np.asarray(mask() if callable(mask) else mask)]})

    def list_records(root: Root, split: Split) -> Listing:
        listing = dataset.list_records(root, split)
        return replace(listing, records=tuple(map(relabelled, listing.records)))

    return replace(dataset, answers={**dataset.answers, task.name: Words(names, np.array(kept, bool))}, list_records=list_records)


def is_made_so(task: Task, made: Derived) -> bool:
    """Whether that makes this very task, in kind, size and vocabulary. Raises RequestError for words that make none."""
    return replace(coarse_tasks({task.name: made})[0].task, question=task.question) == task


def _retold(each: Coarse, dataset: Dataset) -> tuple[Meaning, Tell]:
    """What a set's words mean in a coarser task, and its labels there."""
    meaning, made = dataset.answers[each.fine.name], each.made
    silent: list[int] = []
    if made.nothing:
        assert isinstance(meaning, Words) and isinstance(each.fine, Regions)
        meaning, silent = _without_nothing(meaning, [each.fine.vocabulary.index(answer) for answer in made.nothing])
    told, tell = retell(each.task, each.fine, made.words, meaning) if made.words else (meaning, lambda label: label)
    if not _says_something(told, tell, meaning, silent):
        names = getattr(meaning, "names", ())
        said = f"its words for {each.fine.name} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})" if names else f"its {each.fine.name}"
        raise RequestError(f"{dataset.name}: {said} cannot be mapped to {each.task.name}: nothing that it says leaves fewer answers possible there")
    return told, (lambda label: Blanked(tell(label), tuple(silent))) if silent else tell


def _without_nothing(meaning: Words, nothing: list[int]) -> tuple[Words, list[int]]:
    """Words that leave the answers of no place out wherever others are left, and those words that mean nothing else, whose pixels are unlabelled."""
    table = meaning.table.copy()
    table[:, nothing] = False
    silent = np.flatnonzero(~table.any(1)).tolist()
    table[silent] = meaning.table[silent]
    return Words(meaning.names, table), silent


def _says_something(told: Meaning, tell: Tell, meaning: Meaning, silent: Sequence[int]) -> bool:
    match told:
        case Words():
            spoken = np.delete(told.table, silent, axis=0) if silent else told.table
            return bool(len(spoken)) and bool((spoken != told.scope).any())
        case PointMap():
            assert isinstance(meaning, PointMap)
            return tell(np.zeros((len(meaning.weights), 2))) is not None
        case TraitNames():
            return bool(told.meanings)
    return True


@dataclass(frozen=True)
class Blanked:
    """A mask some of whose words are unlabelled, opened when it is needed."""

    mask: object
    words: tuple[int, ...]

    def __call__(self) -> np.ndarray:
        mask = np.asarray(self.mask() if callable(self.mask) else self.mask)
        return np.where(np.isin(mask, self.words), np.uint8(255), mask)
