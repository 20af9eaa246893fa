"""What a split must do without, so that what is measured later is not learned before: people and photographs of another split, of its own set or of any at hand.

Test is measured last, validation before it: who is in two splits stays in the later one, and leaves the other. Photographs are told by thumbnails of aligned faces
(`copies.py`); where `align` never saw a face, by the bytes of the file, which finds copies only that nobody changed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from polyface import datasets
from polyface.datasets import copies
from polyface.datasets.base import Dataset, Record, Split
from polyface.datasets.crops import Faces, read_faces
from polyface.errors import InputError, RequestError
from polyface.images.read import Source
from polyface.tasks import identity

LATER: dict[Split, tuple[Split, ...]] = {"train": ("test", "validation"), "validation": ("test",), "test": ()}
"""The splits that are measured after one."""

PERSON = "somebody of another split"
NEAR_COPY: dict[Split, str] = {split: f"near-copy of a {split} picture" for split in ("test", "validation")}
SAME_BYTES: dict[Split, str] = {split: f"same bytes as a {split} picture" for split in ("test", "validation")}
"""Why a picture stays out."""

MOST_HASHED = 100_000
"""So many unaligned pictures of a set are read to compare their bytes; more of them take longer than `align` would."""


@dataclass(frozen=True)
class Reserved:
    """The pictures of one split of all sets. thumbnails: as `copies.comparable` makes them; seen, unseen: the files with and without one; people: by set,
    those of all sets of its space, in which their keys mean the same."""

    thumbnails: np.ndarray = field(repr=False)
    seen: tuple[Source, ...] = field(default=(), repr=False)
    unseen: tuple[Source, ...] = field(default=(), repr=False)
    people: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)

    @cached_property
    def unseen_digests(self) -> frozenset[str]:
        return frozenset(filter(None, map(_digest, self.unseen)))

    @cached_property
    def digests(self) -> frozenset[str]:
        return self.unseen_digests | frozenset(filter(None, map(_digest, self.seen)))


def reserve(data: Path, own: Sequence[Dataset], known: Mapping[str, Faces], split: Split, others: Sequence[Dataset] = ()) -> Reserved:
    """What other splits must do without: the pictures of a split of one's own sets, and of those others that `align` saw, where they are at hand. known: `faces_of` one's
    own."""
    mine = {dataset.name: dataset for dataset in own}
    every = {dataset.name: dataset for dataset in others} | mine
    thumbnails: list[np.ndarray] = []
    people: dict[str, frozenset[str]] = {}
    seen: list[Source] = []
    unseen: list[Source] = []
    for dataset in every.values():
        if split not in dataset.splits:
            continue
        faces = known[dataset.name] if dataset.name in known else read_faces(data, dataset.name)
        if not faces.thumbnails and dataset.name not in mine:
            continue  # nothing of it could be told elsewhere, and to list a million distractors takes minutes
        records = listed(dataset, data, split)
        thumbnails += [faces.thumbnails[record.key] for record in records if record.key in faces.thumbnails]
        for record in records:
            (seen if record.key in faces.thumbnails else unseen).append(record.source)
        space = dataset.space(identity.name)
        people[space] = people.get(space, frozenset()) | _subjects(records)
    of_sets = {name: people.get(dataset.space(identity.name), frozenset()) for name, dataset in every.items()}
    return Reserved(copies.comparable(thumbnails), tuple(seen), tuple(unseen), of_sets)


def faces_of(own: Sequence[Dataset], data: Path) -> dict[str, Faces]:
    """What `align` knows of each set, by its name: read once for all that is asked of it. Raises RequestError where two sets have one name."""
    files: dict[str, str] = {}
    for dataset in own:
        if files.setdefault(dataset.name, dataset.called) != dataset.called:
            raise RequestError(f"{files[dataset.name]} and {dataset.called} are both named {dataset.name!r}: two sets need two names, which may be links to one folder")
    return {name: read_faces(data, name) for name in dict.fromkeys(dataset.name for dataset in own)}


def people_of(dataset: Dataset, data: Path, split: Split) -> frozenset[str]:
    """Who is in a split; nobody where nothing of it is here."""
    return _subjects(listed(dataset, data, split))


def _subjects(records: Sequence[Record]) -> frozenset[str]:
    return frozenset(record.subject for record in records if record.subject is not None)


def listed(dataset: Dataset, data: Path, split: Split) -> tuple[Record, ...]:
    """The records of a split; none where nothing of it is here."""
    try:
        return dataset.records(datasets.find_root(data, dataset.name), split).records
    except (InputError, RequestError):
        return ()


def unfit(name: str, split: Split, records: Sequence[Record], faces: Faces, reserved: dict[Split, Reserved]) -> dict[str, str]:
    """{key: why} of the records of a split of the set `name` that stay out of it."""
    out: dict[str, str] = {}
    for later in (each for each in LATER[split] if each in reserved):
        kept = reserved[later]
        people = kept.people.get(name, frozenset())
        found = {record.key: PERSON for record in records if record.subject in people}
        found |= dict.fromkeys(near_copies([record.key for record in records], faces, kept.thumbnails), NEAR_COPY[later])
        unseen = [record for record in records if record.key not in faces.thumbnails]
        if 0 < len(unseen) <= MOST_HASHED:
            for searched in (True, False):  # the detector that missed a face misses its copy too
                of_these = [record for record in unseen if (record.key in faces.searched) is searched]
                digests = (kept.unseen_digests if searched else kept.digests) if of_these else ()
                found |= {record.key: SAME_BYTES[later] for record in of_these if digests and _digest(record.source) in digests}
        out = found | out
    return out


def near_copies(keys: Sequence[str], faces: Faces, others: np.ndarray) -> set[str]:
    """Which pictures of a set show what one of the others shows, by thumbnails of their aligned faces; those that `align` never saw cannot be compared."""
    keys = [key for key in keys if key in faces.thumbnails]
    best, _ = copies.near_copies(copies.comparable([faces.thumbnails[key] for key in keys]), others)
    return {key for key, correlation in zip(keys, best, strict=True) if correlation > copies.NEAR}


def _digest(source: Source) -> str | None:
    """sha256 of a file; None where it cannot be read, which is said where it is opened."""
    try:
        return hashlib.sha256(source.read()).hexdigest()
    except InputError:
        return None
