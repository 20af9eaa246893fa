"""What every data set must hold to, public or a user's own: `check(dataset, root)` says in plain lines where one does not."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np

from polyface import tasks
from polyface.datasets.base import Dataset, Listing, Meaning, Record, Split, first_of
from polyface.datasets.tables import check_label, check_points
from polyface.errors import InputError, PolyfaceError, reason, shortened
from polyface.images import read
from polyface.images.read import Root
from polyface.labels import People, PointMap, Ranges, TraitNames, Words

SAMPLE = 50
FITTING: dict[type[tasks.Task], type] = {
    tasks.Category: Words,
    tasks.Regions: Words,
    tasks.Scale: Ranges,
    tasks.Angles: Ranges,
    tasks.Traits: TraitNames,
    tasks.Points: PointMap,
    tasks.Embedding: People,
}


def check(dataset: Dataset, root: Root) -> list[str]:
    """The promises that a data set breaks, a line each; none is good. Lists everything twice, and opens a sample of the pictures and masks.

    Rows that the reader itself refused are no breach: `refusals` has them.
    """
    problems = check_answers(dataset)
    listings: dict[Split, Listing] = {}
    failed: dict[str, list[Split]] = {}
    for split in dataset.splits:
        try:
            listings[split] = dataset.records(root, split)
            if _print(listings[split]) != _print(dataset.records(root, split)):
                problems.append(f"{split}: listed twice, it is not the same")
        except PolyfaceError as error:
            failed.setdefault(f"cannot be listed ({error})", []).append(split)
        except Exception as error:
            failed.setdefault(f"cannot be listed, the reader fails with {reason(error)}", []).append(split)
    problems += [f"{', '.join(splits)}: {why}" for why, splits in failed.items()]
    problems += check_splits(listings)
    records = [record for listing in listings.values() for record in listing.records]
    for record in records:
        problems += _check_labels(dataset, record)
    for record in records[:: max(1, len(records) // SAMPLE)][:SAMPLE]:
        problems += _check_files(dataset, record)
    if dataset.list_pairs is not None:
        problems += _check_pairs(dataset, root, {record.key for record in records})
    return problems


def listed(dataset: Dataset, root: Root) -> list[Listing]:
    """The splits of a set that can be listed; of another `check` says why not."""
    listings = []
    for split in dataset.splits:
        with suppress(Exception):
            listings.append(dataset.records(root, split))
    return listings


def notes(dataset: Dataset, root: Root, listings: Sequence[Listing]) -> list[str]:
    """What is no breach, but should be known: files that are not there, words that no row has, and pictures that `check` did not open."""
    absent, there = [file for listing in listings for file in listing.absent], sum(len(listing.records) for listing in listings)
    missing = [f"{dataset.name}: {len(absent):,} files are listed but not there, {first_of(absent, root)}"] if absent else []
    for task, counts in word_counts(dataset, [record for listing in listings for record in listing.records]).items() if there else ():
        if unused := [repr(word) for word, count in counts.items() if not count]:
            missing.append(f"{dataset.name}: no row says {', '.join(shortened(unused))} of {task}")
    return missing + ([f"{dataset.name}: {SAMPLE} of {there:,} pictures were opened; `polyface datasets check {dataset.called}` opens all"] if there > SAMPLE else [])


def word_counts(dataset: Dataset, records: Iterable[Record]) -> dict[str, Counter[str]]:
    """{task: {word: how many labels hold it, 0 of one that none does}} of what a set has words for: classes, votes for them, traits that are there, ranges of numbers.
    Masks are not opened."""
    counts, known = {}, {task.name for task in tasks.TASKS}
    for task, meaning in dataset.answers.items():
        if (own := _words_of(meaning)) and task in known and not isinstance(tasks.named(task), tasks.Regions):
            counts[task] = Counter(dict.fromkeys(own, 0))
    for record in records:
        for task in counts.keys() & record.labels.keys():
            counts[task].update(_words_in(dataset.answers[task], record.labels[task]))
    return counts


def _words_of(meaning: Meaning) -> Iterable[str]:
    match meaning:
        case Words(names):
            return names
        case Ranges(meanings) | TraitNames(meanings):
            return meanings
    return ()


def _words_in(meaning: Meaning, label: object) -> list[str]:
    """The words in a label; of a mapping those with votes or a yes, of angles those that are no numbers."""
    if isinstance(label, str):
        return [label]
    if not isinstance(label, Mapping):
        return []
    return [value for value in label.values() if isinstance(value, str)] if isinstance(meaning, Ranges) else [word for word, value in label.items() if value]


def refusals(dataset: Dataset, listings: Iterable[Listing]) -> list[str]:
    """The rows that were refused, each once, although one that is of no split is in the listings of all."""
    return list(dict.fromkeys(f"{dataset.name}: {problem}" for listing in listings for problem in listing.problems))


def check_answers(dataset: Dataset) -> list[str]:
    """Tasks that there are, each with a meaning of the fitting class and size."""
    problems = [] if dataset.answers else ["it answers nothing"]
    problems += [f"it has no {what}" for what in ("name", "title", "terms") if not getattr(dataset, what)]
    for name, meaning in dataset.answers.items():
        try:
            task = tasks.named(name)
        except PolyfaceError as error:
            problems.append(f"answers: {error}")
            continue
        fitting = FITTING[type(task)]
        if not isinstance(meaning, fitting):
            problems.append(f"answers: {name} needs {fitting.__name__}, found {type(meaning).__name__}")
        elif not _fits(task, meaning):
            problems.append(f"answers: what the words mean does not fit {name}")
    return problems


def check_splits(listings: Mapping[Split, Listing]) -> list[str]:
    """Keys are unique in the whole set, and nobody is in two splits."""
    problems = []
    keys: dict[str, Split] = {}
    people: dict[str, Split] = {}
    for split, listing in listings.items():
        for record in listing.records:
            if record.key in keys:
                problems.append(f"{record.key}: the key is in {keys[record.key]} already, and again in {split}")
            keys[record.key] = split
            person = record.subject or record.labels.get(tasks.identity.name)
            if isinstance(person, str) and people.setdefault(person, split) != split:
                problems.append(f"{record.key}: {person} is in {people[person]} and in {split}")
    return problems


def _fits(task: tasks.Task, meaning: Meaning) -> bool:
    if isinstance(meaning, Words) and isinstance(task, tasks.Category | tasks.Regions):
        return meaning.table.shape == (len(meaning.names), len(task.vocabulary)) and bool(meaning.table.any(axis=1).all())
    if isinstance(meaning, Ranges):
        return all(low <= high for low, high in meaning.meanings.values()) and meaning.sigma >= 0
    if isinstance(meaning, TraitNames) and isinstance(task, tasks.Traits):
        return set(task.vocabulary).issuperset(meaning.meanings.values())
    if isinstance(meaning, PointMap) and isinstance(task, tasks.Points):
        weights = meaning.weights
        fits = weights.ndim == 2 and weights.shape[1] == task.count >= len(weights)
        return fits and bool((weights >= 0).all()) and bool(np.allclose(weights.sum(axis=1), 1))
    return isinstance(meaning, People)


def _check_labels(dataset: Dataset, record: Record) -> list[str]:
    problems = []
    for task, label in record.labels.items():
        try:
            if task not in dataset.answers:
                raise InputError(f"a label for {task}, which the set does not answer")
            check_label(task, dataset.answers[task], label)
        except InputError as error:
            problems.append(f"{record.key}: {error}")
        except Exception as error:
            problems.append(f"{record.key}: its label for {task} is of no use ({reason(error)})")
    if record.alignment is not None and (np.shape(record.alignment.points) != (5, 2) or not np.isfinite(record.alignment.points).all()):
        problems.append(f"{record.key}: its alignment is not five points")
    if record.boxes is not None and (np.ndim(record.boxes) != 2 or np.shape(record.boxes)[1] != 4):
        problems.append(f"{record.key}: its boxes are not [n, 4]")
    return problems


def _check_files(dataset: Dataset, record: Record) -> list[str]:
    """The picture decodes; a mask that is opened lazily is valid, and of the picture's size."""
    try:
        image = read.decode(record.source.read(), str(record.source))
        for task, label in record.labels.items():
            if callable(label) and task in dataset.answers:
                mask = label()
                if np.shape(mask) != image.shape[:2]:
                    raise InputError(f"{record.key}: a mask of shape {np.shape(mask)} on a picture of {image.shape[:2]}")
                try:
                    check_label(task, dataset.answers[task], mask)
                except InputError as error:
                    raise InputError(f"{record.key}: {error}") from None
            elif isinstance(dataset.answers.get(task), PointMap):
                check_points(label, image.shape, record.key)
    except InputError as error:
        return [str(error)]
    except Exception as error:
        return [f"{record.key}: cannot be opened, the reader fails with {reason(error)}"]
    return []


def _check_pairs(dataset: Dataset, root: Root, keys: set[str]) -> list[str]:
    try:
        pairs = dataset.pairs(root)
    except PolyfaceError as error:
        return [f"pairs: cannot be listed ({error})"]
    if len({len(pairs.left), len(pairs.right), len(pairs.same), len(pairs.fold)}) != 1:
        return ["pairs: left, right, same and fold differ in length"]
    return [f"pairs: {key} is no record's key" for key in sorted({*pairs.left, *pairs.right} - keys)[:5]]


def _print(listing: Listing) -> list[object]:
    """What must not change between two listings."""
    records = []
    for record in listing.records:
        labels = {task: _plain(label) for task, label in record.labels.items()}
        records.append((record.key, str(record.source), record.subject, dict(record.groups), labels))
    return [records, listing.absent, [str(problem) for problem in listing.problems]]


def _plain(label: object) -> object:
    if callable(label):
        return "opened when needed"
    return (label.shape, label.tobytes()) if isinstance(label, np.ndarray) else label
