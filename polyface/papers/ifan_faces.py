"""The faces that rows of paper B's ablation are scored on, cut once for all rows.

Faces are aligned as `evaluation/evaluate.py` says: by the detector's points, or, where people labelled points, also by the box about those (`true boxes`).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from polyface import datasets, tasks
from polyface.datasets.base import Dataset, Split, thinned
from polyface.datasets.crops import Example, align_record, open_crop, read_faces, rows_of, true_box
from polyface.datasets.retold import Coarse, retelling
from polyface.errors import InputError, RequestError
from polyface.evaluation.evaluate import TRUE_BOXES
from polyface.images import align
from polyface.metrics.intervals import groups_of
from polyface.papers.ifan_config import Test
from polyface.papers.ifan_constant import FROM, Constant, constants_of
from polyface.tasks import scoring
from polyface.tasks.kinds import Points, Row, Task
from polyface.training.batches import stacked


@dataclass(frozen=True)
class Faces:
    """The faces of one split of a set, in one way of cropping, that have a label of some task.

    crops uint8 [N, S, S, 3]; matrices [N, 2, 3] from picture to crop; truths {task: a label as its score reads it, None where a face has none}; labels {task: rows in the
    crop, stacked}; missed: faces without a crop, by word for yaw; constants {task: what answers the same for every face}, of the test split only.
    """

    dataset: Dataset
    split: Split
    way: str
    tasks: tuple[Task, ...]
    keys: tuple[str, ...] = field(repr=False)
    people: tuple[int, ...] = field(repr=False)
    groups: Mapping[str, tuple[str, ...]] = field(repr=False)
    missed: Mapping[str, int]
    crops: np.ndarray = field(repr=False)
    matrices: np.ndarray = field(repr=False)
    truths: Mapping[str, tuple[np.ndarray | None, ...]] = field(repr=False)
    labels: Mapping[str, Row] = field(repr=False)
    constants: Mapping[str, Constant] = field(default_factory=dict, repr=False)


def faces_of(test: Test, coarse: Sequence[Coarse], data: Path, split: Split, crop: align.Crop, say: Callable[[str], None] = print) -> list[Faces]:
    """The ways to crop the faces of a split, the detector's first. Raises RequestError where the set is not at hand, labels none of the tasks, or no face has a crop.

    About `test.most` faces (of validation: `test.validation`), evenly through the list, all of a person or none. Validation is cropped in one way only. Pictures that
    cannot be opened are named and left out.
    """
    if split != "test":
        return _ways(test, coarse, data, split, test.validation, crop, say)
    return with_constants(_ways(test, coarse, data, split, test.most, crop, say, both_ways=test.true_boxes), test, coarse, data, crop, say)


def with_constants(ways: Sequence[Faces], test: Test, coarse: Sequence[Coarse], data: Path, crop: align.Crop, say: Callable[[str], None]) -> list[Faces]:
    """Test faces with the constant answers of the same set, cropped in the same way: learned from its training split, or from validation where it has none; never from
    test. Where neither has a face, no constant answer is known, which is said."""
    whose: Split
    for whose in ("train", "validation"):
        try:
            learned = {each.way: each for each in _ways(test, coarse, data, whose, FROM, crop, say, both_ways=len(ways) > 1)}
        except RequestError:
            continue
        words = "training" if whose == "train" else whose
        known = {way: constants_of(each.tasks, each.labels, words) for way, each in learned.items()}
        return [replace(each, constants=known.get(each.way, {})) for each in ways]
    say(f"{ways[0].dataset.name}: no training or validation face has a crop, so that no constant answer stands beside its scores")
    return list(ways)


def _ways(
    test: Test, coarse: Sequence[Coarse], data: Path, split: Split, most: int | None, crop: align.Crop, say: Callable[[str], None], both_ways: bool = False
) -> list[Faces]:
    """At most so many faces of a split. both_ways: whether points are also cropped by true boxes, which are the only ones where no detector searched."""
    original = datasets.named(test.set)
    told = retelling(original, coarse, test.tasks)
    found = read_faces(data, original.name).found
    try:
        records = original.records(datasets.find_root(data, original.name), split).records
    except InputError as error:
        raise RequestError(str(error)) from error
    kept = thinned([record for record in map(told.record, records) if record.labels], most)
    aligned = [(record, align_record(record, found.get(record.key), training=False)) for record in kept]
    examples = [example for _, example in aligned if example is not None]
    boxed = [true_box(record) for record in kept if record.alignment is not None and record.alignment.how == "labelled"]
    asked = [each.task for each in coarse if each.task.name in told.tell]
    points = [task for task in asked if isinstance(task, Points)]
    missed = Counter(record.groups.get(tasks.pose.name, "") for record, example in aligned if example is None)
    ways = [cut(told.dataset, split, "", asked, examples, missed, crop, say)] if examples else []
    if boxed and ((points and both_ways) or not examples):
        ways.append(cut(told.dataset, split, TRUE_BOXES, points if examples else asked, boxed, Counter(), crop, say))
    if not ways:
        raise RequestError(f"{original.name}: no face of the {split} split has a crop; run `polyface datasets align {original.name}`")
    return ways


def cut(
    dataset: Dataset, split: Split, way: str, asked: Sequence[Task], examples: Sequence[Example], missed: Mapping[str, int], crop: align.Crop, say: Callable[[str], None]
) -> Faces:
    """Open and cut faces, whose set answers in the coarser tasks."""
    rows = [row for row in (_face(dataset, asked, example, crop, say) for example in examples) if row is not None]
    if not rows:
        raise RequestError(f"{dataset.name}: no picture of the {split} split can be opened")
    records = [row[0].record for row in rows]
    words = {name: tuple(record.groups.get(name, "") for record in records) for name in sorted({name for record in records for name in record.groups})}
    return Faces(
        dataset=dataset,
        split=split,
        way=way,
        tasks=tuple(asked),
        keys=tuple(record.key for record in records),
        people=tuple(groups_of([record.subject for record in records]).tolist()),
        groups=words,
        missed=dict(missed),
        crops=np.stack([row[1] for row in rows]),
        matrices=np.stack([row[2] for row in rows]),
        truths={task.name: tuple(row[3].get(task.name) for row in rows) for task in asked},
        labels=stacked([row[4] for row in rows], asked, crop.size),
    )


def _face(
    dataset: Dataset, asked: Sequence[Task], example: Example, crop: align.Crop, say: Callable[[str], None]
) -> tuple[Example, np.ndarray, np.ndarray, dict[str, np.ndarray], dict[str, Row]] | None:
    matrix = align.from_points(example.points, crop)
    try:
        image, shape = open_crop(example.record, matrix, crop.size)
        labels = {task: example.record.labels[task.name] for task in asked if task.name in example.record.labels}
        truths = {task.name: scoring.truth_of(task, dataset.answers[task.name], label, shape) for task, label in labels.items()}
        return example, image, matrix, truths, rows_of(example, dataset, asked, shape, matrix, crop.size, {})
    except InputError as error:
        say(f"{dataset.name}: {error}; left out of the faces that are scored")
        return None
