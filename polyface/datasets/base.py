"""Who answered which question: a data set lists records, and says what its words leave possible.

No pixels are read to list records. A data set is a `Dataset` in one file; CONTRIBUTING.md shows how to write one, `polyface datasets test FILE.py` checks it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np

from polyface.errors import InputError, PolyfaceError, RequestError, RunError, nearest, reason, respelled
from polyface.images.read import Root, Source
from polyface.labels import People, PointMap, Ranges, TraitNames, Words
from polyface.metrics.intervals import groups_of

Meaning = Words | Ranges | TraitNames | PointMap | People
Split = Literal["train", "validation", "test"]
Each = TypeVar("Each")


@dataclass(frozen=True)
class Alignment:
    """What a data set itself knows about where a face is: five points [5, 2] in the picture's pixels, and how far they are to be trusted.

    stated: the set was cropped to these points, they serve everywhere. labelled: people clicked them, they serve in training only and choose among
    detections. guess: where a pre-cropped face should be, for when a detector finds nothing.
    """

    points: np.ndarray = field(repr=False)
    how: Literal["stated", "labelled", "guess"]


@dataclass(frozen=True)
class Record:
    """One labelled face. key is unique in its set; labels by task, in the set's words; boxes [n, 4] are all labelled faces of a whole
    photograph, this one first; groups, {kind: group}, are for tables of fairness: gender (male, female), race in the set's words, age (`tables.AGE_GROUPS`; CelebA: young
    or not), or what a user's own set states."""

    key: str
    source: Source
    labels: Mapping[str, object]
    subject: str | None = None
    alignment: Alignment | None = None
    boxes: np.ndarray | None = None
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """The records that are there; the files that are listed but absent; the rows that were refused, each with its reason."""

    records: tuple[Record, ...]
    absent: tuple[str, ...] = ()
    problems: tuple[InputError, ...] = ()


@dataclass(frozen=True)
class Pairs:
    """A verification list: keys of records left and right, whether they are one person, and the fold of each pair."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    same: np.ndarray
    fold: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """A public data set, or a user's own, which came from `file`. answers: {task name: what the set's words leave possible}; list_records(root, split) and
    list_pairs(root) read its files."""

    name: str
    title: str
    terms: str
    url: str
    answers: Mapping[str, Meaning]
    splits: tuple[Split, ...]
    list_records: Callable[[Root, Split], Listing] = field(repr=False)
    list_pairs: Callable[[Root], Pairs] | None = field(default=None, repr=False)
    file: str = ""

    @property
    def called(self) -> str:
        """What commands and recipes call it."""
        return self.file or self.name

    def records(self, root: Root, split: Split) -> Listing:
        """The records of a split. Raises RequestError where the set has no such split, InputError where nothing of it is there, RunError where
        a user's own reader fails: a split that cannot be listed is not one that is not there."""
        if split not in self.splits:
            raise RequestError(f"{self.name} has no split {split!r}{nearest(split, self.splits)}")
        try:
            listing = self.list_records(root, split)
        except Exception as error:
            if self.file and not isinstance(error, PolyfaceError):
                raise RunError(f"{self.file}: its list_records fails with {reason(error)}; POLYFACE_DEBUG=1 shows where") from error
            raise
        if not listing.records:
            hint = f"; {len(listing.absent)} files are listed but absent, {first_of(listing.absent, root)}" if listing.absent else ""
            hint += f"; {len(listing.problems)} rows were refused: {listing.problems[0]}" if listing.problems else ""
            raise InputError(f"{root.label}: no picture of {self.title}, split {split}{hint}")
        return listing

    def space(self, task: str) -> str:
        """Where a person's key means something: the space that the set's answer to a task names, or the set alone."""
        meaning = self.answers.get(task)
        return (meaning.space if isinstance(meaning, People) else "") or self.name

    def names_people(self, task: str) -> bool:
        """Whether the set says that the keys of its people are the names they go by."""
        meaning = self.answers.get(task)
        return isinstance(meaning, People) and meaning.named

    def pairs(self, root: Root) -> Pairs:
        if self.list_pairs is None:
            raise RequestError(f"{self.name} states no pairs")
        return self.list_pairs(root)


def first_of(absent: Sequence[str], root: Root) -> str:
    """Words about files that are listed, but absent: the first, and the spelling under which it is there."""
    return f"{absent[0]} first{respelled(absent[0], root.exists)}"


def thinned(records: Sequence[Record], most: int | None) -> list[Record]:
    """About so many records, evenly through the list, all of a person or none; all of them where nothing is said."""
    every = -(-len(records) // most) if most else 1
    people = groups_of([record.subject for record in records])
    return [record for record, person in zip(records, people, strict=True) if person % every == 0]


def evenly(items: Sequence[Each], most: int) -> list[Each]:
    """At most so many, from the first to the last."""
    return [items[at] for at in np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))]


def tenth(content: bytes | str) -> int:
    """0 to 9 from a subject's key or a file's bytes, evenly and for ever: how splits are cut where a set states none."""
    data = content.encode() if isinstance(content, str) else content
    return int(hashlib.sha256(data).hexdigest()[:8], 16) % 10


def split_of(content: bytes | str) -> Split:
    """Tenth 0 is test, 1 validation, the rest train."""
    return {0: "test", 1: "validation"}.get(tenth(content), "train")  # type: ignore[return-value]


def split_of_train(content: bytes | str) -> Split:
    """Where a set states train and test only: tenth 1 of its train is validation."""
    return "validation" if tenth(content) == 1 else "train"
