"""A person's labels by majority: a network answers on every picture of a person, and what most of its answers say is the person's. Papers A and C need groups that no
table gives.

The network is trained on FairFace alone (recipe `fusion-voter`), so that nobody's face was labelled by hand here. A vote is an answer of a model about pictures, and says
nothing about a person beyond that.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polyface import datasets, tasks
from polyface.datasets.base import Record
from polyface.datasets.crops import align_record, open_crop, read_faces
from polyface.errors import InputError, RequestError
from polyface.evaluation.evaluate import Network
from polyface.files import write_atomically
from polyface.images import align
from polyface.labels import words
from polyface.metrics.classification import confusion, share
from polyface.papers.results import refuse_other_recipe
from polyface.tasks.derive import Grouping, derive, retell
from polyface.tasks.kinds import Category, Scale, Task, median, softmax

AGE_GROUPS: Grouping = {"young": (0, 29), "adult": (30, 59), "old": (60, 116)}
"""The paper names its groups and not their bounds: below 30 and from 60 [INF]."""
RACES: Grouping = {"Asian": ("East Asian", "Southeast Asian"), "Latin-American": "Latino_Hispanic", "African": "Black", "White": "White"}
"""The paper's four; Indian and Middle Eastern have no place among them."""
SURE = 0.8
AT_ONCE = 64
MOST = 4000
"""Pictures of FairFace, about, on which the network is measured."""


@dataclass(frozen=True)
class Poll:
    """A question put to the network: the coarse task, and the network's own that it is derived from."""

    task: Category
    of: Task
    words: Grouping

    def answers(self, output: np.ndarray) -> np.ndarray:
        """Outputs [N, ...] of the network's own task -> int64 [N], the group of its best answer (of a Scale: its median), -1 where that has no place among them."""
        if isinstance(self.of, Scale):
            years = np.floor(median(softmax(output)) + 0.5)
            inside = np.array([[low <= year <= high for low, high in self.words.values()] for year in years], bool).reshape(len(output), -1)
        else:
            assert isinstance(self.of, Category)
            inside = words(self.of.vocabulary, self.words).table.T[np.argmax(output, axis=-1)]
        return np.where(inside.any(1), inside.argmax(1), -1)


def poll(task: Task, name: str, words: Grouping) -> Poll:
    coarse = derive(task, name, words)
    assert isinstance(coarse, Category)
    return Poll(coarse, task, words)


POLLS: tuple[Poll, ...] = (
    poll(tasks.age, "age", AGE_GROUPS),
    poll(tasks.race, "race", RACES),
    poll(tasks.gender, "gender", {"male": "male", "female": "female"}),
)
"""The paper's three tasks, in its order."""


@dataclass(frozen=True)
class Votes:
    """Of every person: the winner int64 [P], -1 without a clear majority; its share of all the person's pictures, float [P]; their number int64 [P]."""

    winner: np.ndarray = field(repr=False)
    share: np.ndarray = field(repr=False)
    pictures: np.ndarray = field(repr=False)


def majority(answers: np.ndarray, people: np.ndarray, classes: int, number: int) -> Votes:
    """answers int [N], -1 for none; people int [N] below number. A clear majority is more than half of all the person's pictures, those without an answer counted."""
    counts = np.zeros((number, classes), np.int64)
    known = answers >= 0
    np.add.at(counts, (people[known], answers[known]), 1)
    pictures = np.bincount(people, minlength=number)
    best = counts.max(1)
    shares = np.divide(best, pictures, out=np.zeros(number), where=pictures > 0)
    return Votes(np.where(2 * best > pictures, counts.argmax(1), -1), shares, pictures)


def ask(network: Network, records: Sequence[Record], found: Mapping, polls: Sequence[Poll], report: Callable[[int, int], None] | None = None) -> dict[str, np.ndarray]:
    """{poll's task: int64 [records]}, -1 where the answer has no place, the face was not found or the picture cannot be opened."""
    answers = {each.task.name: np.full(len(records), -1, np.int64) for each in polls}
    for start in range(0, len(records), AT_ONCE):
        rows, crops = [], []
        for row in range(start, min(start + AT_ONCE, len(records))):
            example = align_record(records[row], found.get(records[row].key), training=True)
            if example is None:
                continue
            try:
                crops.append(open_crop(example.record, align.from_points(example.points, network.crop), network.crop.size)[0])
            except InputError:
                continue
            rows.append(row)
        if rows:
            outputs = network.run(np.stack(crops), {each.of.name for each in polls})
            for each in polls:
                answers[each.task.name][rows] = each.answers(outputs[each.of.name])
        if report:
            report(min(start + AT_ONCE, len(records)), len(records))
    return answers


def recalls(network: Network, data: Path, polls: Sequence[Poll], split: str = "validation") -> dict[str, dict[str, tuple[float, int]]]:
    """How often the network names each group right on FairFace: {task: {group: (recall, pictures)}}. Records whose label has no place among the groups are left out."""
    dataset = datasets.named("fairface")
    listing = dataset.records(datasets.find_root(data, dataset.name), split)  # type: ignore[arg-type]
    records = listing.records[:: max(1, -(-len(listing.records) // MOST))]
    said = ask(network, records, read_faces(data, dataset.name).found, polls)
    found = {}
    for each in polls:
        _, label = retell(each.task, each.of, each.words, dataset.answers[each.of.name])
        told = [label(record.labels[each.of.name]) if each.of.name in record.labels else None for record in records]
        truth = np.array([each.task.vocabulary.index(word) if word in each.task.vocabulary else -1 for word in told])
        count = len(each.task.vocabulary)
        table = confusion(truth, np.where(said[each.task.name] >= 0, said[each.task.name], count), count + 1)[:count]
        recall = share(np.diag(table), table.sum(1))
        found[each.task.name] = {word: (float(recall[at]), int(table[at].sum())) for at, word in enumerate(each.task.vocabulary)}
    return found


def fill(groups: Sequence[tuple[int, ...]], shares: np.ndarray, number: int) -> list[int]:
    """The people who fill the groups best: one from each group in turn, the surest first. groups: one tuple a person, those with a -1 are never taken."""
    waiting: dict[tuple[int, ...], list[int]] = {}
    for person in np.argsort(-np.asarray(shares), kind="stable"):
        if min(groups[person]) >= 0:
            waiting.setdefault(groups[person], []).append(int(person))
    taken: list[int] = []
    while len(taken) < number and any(waiting.values()):
        for group in sorted(waiting, key=lambda group: (len(waiting[group]), group)):
            if waiting[group] and len(taken) < number:
                taken.append(waiting[group].pop(0))
    return sorted(taken)


def voter(recipe: str, data: Path, folder: Path, settings: Iterable[str] = (), report: Callable[..., None] | None = None) -> Path:
    """The model directory of the network that votes, trained where it is not there yet (or gone on with). Raises RequestError where the folder has one of another recipe
    or of other settings."""
    from polyface.training import run

    settings, made_with = list(settings), folder / "made_with.json"
    refuse_other_recipe(made_with, json.dumps([recipe, settings]))
    write_atomically(made_with, json.dumps([recipe, settings]))
    if not (folder / "model" / "card.json").exists():
        resume = folder if (folder / "checkpoints").exists() else None
        run.train(recipe, data, folder, settings, resume, report)
    return folder / "model"


def check_alone(network_sets: Sequence[str]) -> None:
    """Raises RequestError where the voter learned from anything but FairFace: it would have seen the very people, or other people's words."""
    strangers = [name for name in network_sets if name != "fairface"]
    if strangers:
        raise RequestError(f"the voter learned from {strangers[0]} too; it is to be trained on fairface alone")
