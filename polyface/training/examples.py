"""What a recipe trains on and validates with: the examples of its sets, without whom and what must stay out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from polyface import datasets, tasks
from polyface.datasets import copies, pack
from polyface.datasets.base import Dataset, Record
from polyface.datasets.crops import Examples, Faces, examples, read_faces
from polyface.errors import InputError, RequestError
from polyface.tasks.kinds import Points, Regions
from polyface.training.config import Config, Data


@dataclass(frozen=True)
class Source:
    """One set of the mix. people: {key: index} in its space of people; left_out: why records stayed out, counted; unchecked: how many could not be compared with test
    pictures, because `align` never saw them; even: the task whose rare labels are drawn more often."""

    examples: Examples
    weight: float
    space: str = ""
    people: dict[str, int] = field(default_factory=dict, repr=False)
    left_out: Counter = field(default_factory=Counter)
    unchecked: int = 0
    even: str | None = None

    @property
    def dataset(self) -> Dataset:
        return self.examples.dataset


@dataclass(frozen=True)
class Withheld:
    """Thumbnails of every test picture at hand, photograph names and people of the sets that a recipe calls strangers."""

    thumbnails: np.ndarray = field(repr=False)
    photographs: frozenset[str] = field(repr=False)
    people: frozenset[str] = field(repr=False)


def training_sources(config: Config, data: Path) -> tuple[Source, ...]:
    """The train split of each set of the mix: near-copies of any test picture and photographs of strangers left out, strangers without identity."""
    tests = withheld(data, [entry.set for entry in config.data], config.strangers)
    sources = [_training_source(entry, data, tests, config) for entry in config.data]
    return numbered(sources)


def numbered(sources: Sequence[Source]) -> tuple[Source, ...]:
    """The sources with the people of each space numbered, in the order of their keys."""
    everyone: dict[str, set[str]] = {}
    for source in sources:
        everyone.setdefault(source.space, set()).update(people_of(source.examples))
    indices = {space: {key: index for index, key in enumerate(sorted(keys))} for space, keys in everyone.items()}
    return tuple(replace(source, people=indices[source.space]) for source in sources)


def validation_sources(config: Config, data: Path) -> tuple[Source, ...]:
    """The validation split of each set that has one, at most `validation_rows` pictures of each, evenly through the list."""
    sources = []
    for entry in config.data:
        dataset = _narrowed(datasets.named(entry.set), entry)
        if "validation" not in dataset.splits:
            continue
        root = datasets.find_root(data, dataset.name)
        try:
            found = examples(dataset, root, "validation", read_faces(data, dataset.name).found, training=True)
        except (InputError, RequestError):
            continue  # nothing of that split is here
        step = -(-len(found.items) // config.validation_rows)
        sources.append(Source(replace(found, items=found.items[::step]), entry.weight))
    return tuple(sources)


def thumbnails_of_tests(data: Path, names: Sequence[str]) -> np.ndarray:
    """Thumbnails of every test picture of the listed sets and of some others, for `near_copies`."""
    return withheld(data, names, ()).thumbnails


def withheld(data: Path, names: Sequence[str], strange: Sequence[str]) -> Withheld:
    thumbnails, photographs, people = [], set(), set()
    own, strangers = ({dataset.name: dataset for dataset in map(datasets.named, each)} for each in (names, strange))  # refuses a misspelt one
    for dataset in ({dataset.name: dataset for dataset in datasets.DATASETS} | strangers | own).values():
        if "test" not in dataset.splits:
            continue
        faces = read_faces(data, dataset.name)
        if not faces.thumbnails and dataset.name not in strangers:
            continue  # nothing of it could be told in training, and to list a million distractors takes minutes
        try:
            records = dataset.records(datasets.find_root(data, dataset.name), "test").records
        except (InputError, RequestError) as error:
            if dataset.name in strangers:
                raise RequestError(f"strangers: {dataset.name} is not at hand, so its people cannot be kept out ({error}); --set strangers=[] does without") from error
            continue  # nothing of it is here to keep away from
        thumbnails += [faces.thumbnails[record.key] for record in records if record.key in faces.thumbnails]
        if dataset.name in strangers:
            photographs |= {copies.photograph_name(record) for record in records}
            people |= {copies.person_name(record.subject) for record in records if record.subject}
    return Withheld(copies.comparable(thumbnails), frozenset(photographs), frozenset(people))


def _training_source(entry: Data, data: Path, tests: Withheld, config: Config) -> Source:
    dataset = _narrowed(datasets.named(entry.set), entry)
    root = datasets.find_root(data, dataset.name)
    faces, folder = read_faces(data, dataset.name), pack.pack_folder(data, dataset.name)
    listed = pack.read_pack(folder, dataset) if folder.exists() else examples(dataset, root, "train", faces.found, training=True)
    twins = near_copies([example.record.key for example in listed.items], faces, tests.thumbnails)
    left_out: Counter = Counter({"no face found": len(listed.unaligned), "refused": len(listed.problems), "absent": len(listed.absent)})
    kept = []
    for example in listed.items:
        record = example.record
        if record.key in twins:
            left_out["near-copy of a test picture"] += 1
        elif copies.photograph_name(record) in tests.photographs:
            left_out["photograph of a test list"] += 1
        elif record.subject and copies.person_name(record.subject) in tests.people and tasks.identity.name in record.labels:
            left_out["identity of a test person"] += 1
            kept.append(replace(example, record=_without_identity(record)))
        else:
            kept.append(example)
    unchecked = sum(example.record.key not in faces.thumbnails for example in kept)
    even = _checked_even(entry, dataset)
    return Source(replace(listed, items=tuple(kept)), entry.weight, dataset.space(tasks.identity.name), left_out=left_out, unchecked=unchecked, even=even)


def _narrowed(dataset: Dataset, entry: Data) -> Dataset:
    """The set with the answers that the recipe asks it for."""
    if entry.tasks is None:
        return dataset
    for name in entry.tasks:
        if name not in dataset.answers:
            raise RequestError(f"{dataset.name} does not answer {tasks.named(name).name}; it answers {', '.join(dataset.answers)}")
    return replace(dataset, answers={name: dataset.answers[name] for name in entry.tasks})


def _checked_even(entry: Data, dataset: Dataset) -> str | None:
    if entry.even is None or (entry.even in dataset.answers and not isinstance(tasks.named(entry.even), Points | Regions)):
        return entry.even
    raise RequestError(f"{dataset.name} has no labels of {tasks.named(entry.even).name} that rows could be drawn evenly by")


def near_copies(keys: Sequence[str], faces: Faces, tests: np.ndarray) -> set[str]:
    """Which pictures of a set show what a test picture shows, by thumbnails of their aligned faces; those that `align` never saw cannot be compared."""
    keys = [key for key in keys if key in faces.thumbnails]
    best, _ = copies.near_copies(copies.comparable([faces.thumbnails[key] for key in keys]), tests)
    return {key for key, correlation in zip(keys, best, strict=True) if correlation > copies.NEAR}


def _without_identity(record: Record) -> Record:
    return replace(record, labels={name: label for name, label in record.labels.items() if name != tasks.identity.name})


def people_of(listed: Examples) -> set[str]:
    """The keys of those whom the examples name."""
    if tasks.identity.name not in listed.dataset.answers:
        return set()
    return {str(example.record.labels[tasks.identity.name]) for example in listed.items if tasks.identity.name in example.record.labels}
