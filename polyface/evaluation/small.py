"""Faces shown as if their photographs were smaller: what answers are worth by how far apart the eyes are.

A photograph is shrunk until the eyes of its face are so many pixels apart, then cropped as ever, so the network sees the blur that a small face has. The five points are
those of the photograph as it is: on one that small a detector is off by more, which is not in these numbers.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from polyface.datasets.base import Dataset, Split
from polyface.datasets.crops import read_faces
from polyface.evaluation.evaluate import Network, Progress, Seen, ask, needed, ways_to_crop
from polyface.files import sha256_of_lines
from polyface.images import align
from polyface.images.read import Root
from polyface.tasks.kinds import Task

EYES = (8, 12, 16, 24, 32)
"""Pixels between the eyes."""

MOST = 500
"""Faces of a data set and size: those whose keys have the smallest hashes, so that they are the same ones at every size and in every run. Two sets answer most
questions, so a question has a thousand."""


def look_small(
    network: Network,
    asked: Sequence[Task],
    dataset: Dataset,
    root: Root,
    folder: Path,
    split: Split,
    report: Progress | None = None,
    without: Collection[str] = (),
) -> dict[int, Seen]:
    """As `look`, by eye distance: a sample of a split at each of EYES. A face whose eyes are nearer in its photograph is left out, since no shrinking makes it larger.

    Raises InputError and RequestError where nothing is there.
    """
    answered = tuple(task for task in asked if task.name in dataset.answers)
    records = [record for record in needed(dataset.records(root, split), answered, None) if record.key not in without]
    records = sorted(records, key=lambda record: sha256_of_lines([record.key]))
    passes, _ = ways_to_crop(dataset, records, read_faces(folder, dataset.name), answered)
    crop = network.crop
    sizes = [align.eyes_in_picture(align.from_points(example.points, crop), crop) for example in passes[0].examples]
    seen = {}
    for eyes in EYES:
        examples = [example for example, size in zip(passes[0].examples, sizes, strict=True) if size >= eyes][:MOST]
        seen[eyes] = ask(network, dataset, replace(passes[0], examples=tuple(examples), missed=(), eyes=eyes), report, flip=False)
    return seen
