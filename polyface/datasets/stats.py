"""Who labels what: how many records, in how many words, and how often each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyface import tasks
from polyface.datasets import contract, scenes
from polyface.datasets.base import Dataset, Meaning
from polyface.datasets.check import Finding, listings_of
from polyface.labels import People, PointMap, Ranges, TraitNames, Words

ENDS = 6
"""Of the words of a set with many, so many of the most frequent and of the rarest are counted aloud."""


@dataclass(frozen=True)
class Stats:
    """Three tables, from listings only: how many records of each split are labelled for each task; in how many words each set speaks of it; how often each of these words
    is in train. failed: what is not in them."""

    labelled: list[dict[str, Any]]
    grains: list[dict[str, Any]]
    spoken: list[dict[str, Any]]
    failed: list[str]


def stats(chosen: Sequence[Dataset], data: Path) -> Stats:
    labelled, grains, spoken = [], [], []
    failed: list[Finding] = []
    for dataset in chosen:
        people: set[str] = set()
        listings = listings_of(dataset, data, failed)
        for split, listing in listings.items():
            counts = Counter(task for record in listing.records for task, label in record.labels.items() if label is not None)
            labelled.append({"data set": dataset.name, "split": split, "records": len(listing.records), **{task.name: counts[task.name] or None for task in tasks.TASKS}})
            people |= {str(record.labels[tasks.identity.name]) for record in listing.records if tasks.identity.name in record.labels}
        if dataset.name in scenes.LISTS:
            continue  # it says nothing
        grain = {task.name: _grain(task, dataset.answers[task.name], len(people)) for task in tasks.TASKS if task.name in dataset.answers}
        grains.append({"data set": dataset.name, **{task.name: grain.get(task.name) for task in tasks.TASKS}})
        if "train" in listings:
            train = listings["train"].records
            counted = {task: counts for task, counts in contract.word_counts(dataset, train).items() if any(task in record.labels for record in train)}
            spoken += [{"data set": dataset.name, "task": task, "words": _counted(counts)} for task, counts in counted.items()]
    return Stats(labelled, grains, spoken, [finding.words for finding in failed])


def _counted(counts: Counter[str]) -> str:
    """The words with their counts, the most frequent first; of many those and the rarest."""
    said = [f"{word} {count:,}" for word, count in counts.most_common()]
    if len(said) > 2 * ENDS:
        said[ENDS:-ENDS] = [f"{len(said) - 2 * ENDS:,} more between"]
    return ", ".join(said)


def _grain(task: tasks.Task, meaning: Meaning, people: int) -> str:
    """How finely a set speaks: "5 words of 7", "9 ranges", "5 points of 68"."""
    match meaning:
        case Words(names, table):
            return f"{len(names)} words of {table.shape[1]}"
        case Ranges(meanings):
            return f"{len(meanings)} ranges" if meanings else "numbers"
        case TraitNames(meanings) if isinstance(task, tasks.Traits):
            return f"{len(set(meanings.values()))} traits of {len(task.vocabulary)}"
        case PointMap(weights):
            return f"{len(weights)} points of {weights.shape[1]}"
        case People():
            return f"{people:,} people"
    raise TypeError(f"no grain is known for {type(meaning).__name__}")
