"""The constant answer to each task of paper B: the same for every face, learned from other faces' labels and no picture. A row that does no better answers nothing.

The most frequent word, the mean shape in the crop, the most frequent region of each pixel of the crop, the more frequent value of each trait.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from polyface.metrics.regions import UNLABELLED
from polyface.tasks.kinds import Category, Points, Regions, Row, Task, Traits

FROM = 300
"""Faces of the training split that a constant answer is learned from, evenly through the list."""


@dataclass(frozen=True)
class Constant:
    """answer: in words; output: as a network would give it for one face."""

    answer: str
    output: np.ndarray = field(repr=False)


def constants_of(tasks: tuple[Task, ...], labels: Mapping[str, Row], whose: str) -> dict[str, Constant]:
    """{task: the constant answer} of some faces' labels in their crops, as `training.batches.stacked` has them; whose: "training", for the words. No entry for a task
    whose labels leave everything open."""
    found = {task.name: _learned(task, labels[task.name], whose) for task in tasks}
    return {name: each for name, each in found.items() if each is not None}


def _learned(task: Task, labels: Row, whose: str) -> Constant | None:
    match task:
        case Category():
            certain = labels["sets"].sum(-1, keepdims=True) == 1
            counts = (labels["share"][..., None] * labels["sets"] * certain).sum((0, 1))
            said, output, faces = f"{task.vocabulary[int(counts.argmax())]}, the most frequent word", counts, int(np.any(certain, axis=1).sum())
        case Points():
            moved = labels["map"].transpose(0, 2, 1)  # labelled points to the task's, as `ifan_plan.labelled_maps` has it
            seen = (moved @ labels["seen"][..., None].astype(np.float32)) > 0
            times = seen.sum(0)
            if not times.all():
                return None
            xy = np.where(seen, moved @ labels["xy"], 0).sum(0) / times
            said, output, faces = "the mean shape", np.concatenate([xy, np.zeros((task.count, 1))], axis=1), int(times.min())
        case Regions():
            said, output, faces = "the most frequent region of each pixel", _counted(task, labels), int(task.labelled(labels).sum())
        case Traits():
            known = labels["values"] >= 0
            output = np.where(known, 2.0 * labels["values"] - 1, 0).sum(0)
            said, faces = "the more frequent value of each", int(np.any(known, axis=1).sum())
        case _:
            raise TypeError(f"no constant answer is known for the kind {type(task).__name__}")
    return Constant(f"{said} of {faces:,} {whose} faces", output.astype(np.float32)) if faces else None


def _counted(task: Regions, labels: Row) -> np.ndarray:
    """float [C, S, S]: how often each pixel is of each region; words that leave several possible share evenly."""
    counts = np.zeros((len(task.vocabulary), *labels["words"].shape[1:]))
    for words, table in zip(labels["words"], labels["table"], strict=True):
        shares = table / np.maximum(table.sum(1, keepdims=True), 1)
        known = words != UNLABELLED
        counts[:, known] += shares[words[known]].T
    return counts
