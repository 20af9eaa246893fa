"""A model on the test splits of the data sets at hand: crops -> outputs -> scores, each task in each set's own words.

Faces are aligned as `datasets/crops.py` says, never by labelled points. Where people labelled the points of a face, it is the detection that overlaps the labelled box
most; where none does (below SMALLEST_OVERLAP) the face is a miss, which is counted, named, and a failure in the scores of points. Those have a second number, named
`true boxes`: all faces, cropped by the box about their labelled points. A labelled set that no detector has searched is scored by true boxes only, and its note says so.

Where a set states groups of faces (gender, race, age), the main score of each question is given for each of them too, of the first way to crop. Verification has no such
scores: no set that states pairs says more of a person than a name.

One thread opens, decodes and cuts pictures while the network looks at those before; of each answer only what its score needs is kept.
"""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np

from polyface import datasets, runtime, tasks
from polyface.datasets.apart import people_of
from polyface.datasets.base import Dataset, Listing, Pairs, Record, Split
from polyface.datasets.crops import Example, Faces, align_record, open_crop, open_small_crop, read_faces, true_box
from polyface.datasets.retold import is_made_so, told_to
from polyface.errors import InputError, PolyfaceError, RequestError
from polyface.evaluation.pairs import pair_scores
from polyface.evaluation.report import Report, SetReport, commit
from polyface.evaluation.taught import NOBODY, Lessons, strangers_only
from polyface.files import sha256_of_lines
from polyface.images import align
from polyface.images.read import Root
from polyface.tasks import scoring
from polyface.tasks.derive import Derived
from polyface.tasks.kinds import Angles, Embedding, Points, Row, Task
from polyface.tasks.scoring import Score

BATCH = 64
AHEAD = 2
"""Batches that wait in memory, decoded."""

TAUGHT = 2000
"""Training faces that boundaries between words for angles are chosen on."""

TRUE_BOXES = ", true boxes"
"""What is behind the name of a score of faces that were cropped by their labelled points."""
OURS: Mapping[str, Derived] = MappingProxyType({})
"""Of a network all of whose tasks are the project's own."""
Progress = Callable[[str, int, int], None]
"""(data set, faces done, faces in all)"""


class Network(Protocol):
    """What is scored: any function from crops to outputs. `inference.engine.Engine`, an ONNX file that was opened, is one."""

    @property
    def tasks(self) -> tuple[Task, ...]: ...
    @property
    def crop(self) -> align.Crop: ...
    @property
    def label(self) -> str: ...
    def run(self, crops: np.ndarray, tasks: Iterable[str] | None = None) -> dict[str, np.ndarray]: ...


def evaluate(
    network: Network,
    data: Path | None,
    sets: Sequence[str] | None = None,
    report: Progress | None = None,
    sha256: str = "",
    lessons: Lessons = NOBODY,
    made: Mapping[str, Derived] = OURS,
) -> Report:
    """Score a network on the test split of the named sets, or of all at hand that answer any of its tasks; sha256 is that of its ONNX file, and goes into the report.

    lessons: who taught it, so that pairs of people whom it was taught by name are left out. made: what its tasks are made of that are none of the project's, as its card
    says; sets are retold in them.

    Raises RequestError before anything is scored where a named set is not there or answers nothing that is asked, and where no set could be scored.
    """
    runtime.threads_for_opencv(1)  # the network has the processors, the thread that cuts pictures one of them
    folder = datasets.data_folder(data)
    asked = answered_by_sets(network, made)
    skipped = {f"task {task.name}": "no data set answers it in this vocabulary" for task in network.tasks if task not in asked}
    tested = []
    for dataset, root in sets_at_hand(asked, folder, sets, made):
        try:
            tested.append(_evaluate_set(network, asked, dataset, root, folder, lessons, report))
        except (InputError, RequestError) as error:  # nothing of that split is here, or no face of it is aligned; the others are scored
            skipped[dataset.name] = str(error)
    if not tested:
        reasons = "; ".join(skipped.values()) or "it holds none that answers any of the model's tasks"
        raise RequestError(f"{folder}: no data set to score on: {reasons}")
    return Report(network.label, sha256, commit(), datetime.now(UTC).isoformat(timespec="seconds"), tuple(tested), skipped)


def answered_by_sets(network: Network, made: Mapping[str, Derived] = OURS) -> tuple[Task, ...]:
    """The tasks of a network that data sets answer: the project's own, and those made of them."""
    return tuple(task for task in network.tasks if (is_made_so(task, made[task.name]) if task.name in made else speaks_ours(task)))


def sets_at_hand(asked: Sequence[Task], folder: Path, sets: Sequence[str] | None, made: Mapping[str, Derived] = OURS) -> list[tuple[Dataset, Root]]:
    """The sets to score on, in the tasks that are asked, with their roots.

    Raises RequestError for a named one that is not there, has no test split, or answers nothing that is asked.
    """
    if sets is not None:
        chosen = []
        for original in map(datasets.named, sets):
            if "test" not in original.splits:
                raise RequestError(f"{original.name} has no test split")
            dataset = told_to(original, asked, made)
            if not _answered(asked, dataset):
                if unpaired := [task.name for task in asked if task.name in dataset.answers]:
                    raise RequestError(f"{dataset.name} states no pairs of pictures, by which {unpaired[0]} is scored")
                raise RequestError(f"{dataset.name} scores none of {', '.join(task.name for task in asked)}; it answers {', '.join(original.answers)}")
            chosen.append((dataset, datasets.find_root(folder, dataset.name)))
        return chosen
    there = []
    for original in datasets.DATASETS:
        try:
            dataset = told_to(original, asked, made)
            if "test" in dataset.splits and _answered(asked, dataset):
                there.append((dataset, datasets.find_root(folder, dataset.name)))
        except RequestError:
            continue  # not at hand, or its words say nothing in these tasks
    return there


def _answered(asked: Sequence[Task], dataset: Dataset) -> list[Task]:
    """The tasks that a set can score: those it answers; who somebody is only where it states pairs."""
    return [task for task in asked if task.name in dataset.answers and (dataset.list_pairs is not None or not isinstance(task, Embedding))]


def speaks_ours(task: Task) -> bool:
    """Whether a model's task is the one of this name that data sets answer, in kind, size and vocabulary."""
    ours = next((each for each in tasks.TASKS if each.name == task.name), None)
    return ours is not None and dataclasses.replace(ours, question=task.question) == task


def look(
    network: Network,
    asked: Sequence[Task],
    dataset: Dataset,
    root: Root,
    folder: Path,
    split: Split,
    report: Progress | None = None,
    most: int | None = None,
    without: Collection[str] = (),
) -> "Seen":
    """The answers of a network beside the labels of any split, by the crops, and as the rows, that scores are made of: what calibration is fitted on.

    most: at most so many faces, evenly through the list. without: keys of records that stay out. Of who somebody is: each face with a name, in pairs or not. Faces that
    were not found are left out. Raises InputError and RequestError where nothing is there.
    """
    listing = dataset.records(root, split)
    records = [record for record in listing.records if record.key not in without and any(task.name in record.labels for task in asked)]
    if not records:
        raise InputError(f"{dataset.name}: no picture of {split} has such a label")
    records = records[:: -(-len(records) // most) if most else 1]
    answered = tuple(task for task in asked if task.name in dataset.answers)
    passes, _ = ways_to_crop(dataset, records, read_faces(folder, dataset.name), answered)
    return ask(network, dataset, passes[0], report, flip=False)


@dataclass(frozen=True)
class Pass:
    """One way to crop the faces of a split. name: "" or the end of its metrics' names; missed: records that this way has no crop for. eyes: shown as if the photographs
    were so small that the eyes are so many pixels apart, which they are farther in all of the examples."""

    name: str
    examples: tuple[Example, ...]
    tasks: tuple[Task, ...]
    missed: tuple[Record, ...] = ()
    eyes: float | None = None


def _evaluate_set(network: Network, asked: Sequence[Task], dataset: Dataset, root: Root, folder: Path, lessons: Lessons, report: Progress | None) -> SetReport:
    started = time.monotonic()
    listing = dataset.records(root, "test")
    answered = tuple(_answered(asked, dataset))
    pairs, refused, notes = None, [str(problem) for problem in listing.problems], []
    for embedding in [task for task in answered if isinstance(task, Embedding)]:
        try:
            pairs, left_out = strangers_only(embedding, dataset, dataset.pairs(root), listing.records, lessons, folder)
            notes += [left_out] if left_out else []
        except InputError as error:
            answered = tuple(task for task in answered if not isinstance(task, Embedding))
            if not answered:
                raise
            refused.append(str(error))
    passes, note = ways_to_crop(dataset, needed(listing, answered, pairs), read_faces(folder, dataset.name), answered)
    notes = [note, *notes] if note else notes
    people = {record.subject for record in listing.records if record.subject is not None}
    shared = len(people & people_of(dataset, folder, "train")) if people else 0  # the train split is listed only where somebody could be in it
    notes += [f"{shared} of its people are in its training split too; training leaves them out there"] if shared else []
    taught = _taught(network, answered, dataset, root, folder)
    scores: list[Score] = []
    for each in passes:
        seen = ask(network, dataset, each, report)
        refused += [line for line in seen.refused if line not in refused]
        scores += _scores_of_pass(dataset, each, seen, pairs, taught, by_group=each is passes[0])
    order = {task.name: place for place, task in enumerate(answered)}
    keys = [record.key for record in listing.records]
    return SetReport(
        name=dataset.name,
        title=dataset.title,
        terms=dataset.terms,
        split="test",
        images=len(keys),
        sha256=sha256_of_lines(keys),
        aligned=dict(Counter(example.how for example in passes[0].examples)),
        missed=tuple(record.key for record in passes[0].missed),
        absent=len(listing.absent),
        refused=tuple(refused),
        note="; ".join(notes),
        seconds=round(time.monotonic() - started, 1),
        scores=tuple(sorted(scores, key=lambda score: order[score.task])),
    )


def _taught(network: Network, answered: Sequence[Task], dataset: Dataset, root: Root, folder: Path) -> dict[str, list[Row]]:
    """By task, answers on training faces, for scores in words for angles: where one word ends and the next begins is chosen there."""
    angles = tuple(task for task in answered if isinstance(task, Angles) and getattr(dataset.answers[task.name], "meanings", None))
    if not angles or "train" not in dataset.splits:
        return {}
    try:
        return look(network, angles, dataset, root, folder, "train", most=TAUGHT).rows
    except (InputError, RequestError):
        return {}  # only the test is here; the words' own boundaries serve, and the score's note says so


def needed(listing: Listing, answered: Sequence[Task], pairs: Pairs | None) -> list[Record]:
    """The records that some task scores: those with a label of it; of pairs, the pictures that are in one."""
    paired = {*pairs.left, *pairs.right} if pairs is not None else set()
    labels = {task.name for task in answered if not isinstance(task, Embedding)}
    return [record for record in listing.records if record.key in paired or not labels.isdisjoint(record.labels)]


def ways_to_crop(dataset: Dataset, records: Sequence[Record], faces: Faces, answered: tuple[Task, ...]) -> tuple[list[Pass], str]:
    """The ways to crop, the first with all tasks; and what must be said of them. Raises RequestError where no face has a crop."""
    aligned = [(record, align_record(record, faces.found.get(record.key), training=False)) for record in records]
    examples = tuple(example for _, example in aligned if example is not None)
    missed = tuple(record for record, example in aligned if example is None)
    boxed = tuple(true_box(record) for record in records if record.alignment is not None and record.alignment.how == "labelled")
    points = tuple(task for task in answered if isinstance(task, Points))
    hint = f"run `polyface datasets align {dataset.called}`"
    if examples:
        passes = [Pass("", examples, answered, missed)]
        never = sum(record.key not in faces.searched for record in missed)
        counts = {"were not found and have no crop": len(missed) - never, f"were never looked for and have no crop: {hint}": never}
        note = "; ".join(f"{count} of {len(records)} faces {what}" for what, count in counts.items() if count)
        return [*passes, *([Pass(TRUE_BOXES, boxed, points)] if boxed and points else [])], note
    if boxed:
        return [Pass(TRUE_BOXES, boxed, answered)], f"no detector has searched this set: all crops are by boxes about labelled points; {hint}"
    raise RequestError(f"{dataset.name}: no face has a crop; {hint}")


@dataclass
class Seen:
    """Of each task, what is kept of its rows, whose they are, and how far apart the eyes are in the pictures that were shown, in pixels; a line for each picture that was
    refused."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    records: dict[str, list[Record]] = field(default_factory=dict)
    eyes: dict[str, list[float]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def keep(self, task: Task, face: "Face", row: Row) -> None:
        self.rows.setdefault(task.name, []).append(row)
        self.records.setdefault(task.name, []).append(face.record)
        self.eyes.setdefault(task.name, []).append(face.eyes)


@dataclass(frozen=True)
class Face:
    """crop uint8 [S, S, 3]; matrix from the picture to it; truths by task, as `scoring.truth_of` reads them; eyes: how far apart in the picture that was shown."""

    record: Record
    crop: np.ndarray
    matrix: np.ndarray
    truths: dict[str, np.ndarray]
    eyes: float


RowOf = Callable[[Task, Face, np.ndarray, np.ndarray | None], Row | None]
"""(task, face, output, output for the mirrored crop or None) -> what is kept."""


def ask(network: Network, dataset: Dataset, each: Pass, report: Progress | None, flip: bool = True, row_of: RowOf = lambda *_: None) -> Seen:
    """All faces of a pass through the network; with flip, their mirrored crops too, where an embedding is asked for. row_of: what is kept of an answer, None for what
    scores need."""
    seen, done = Seen(), 0
    names = [task.name for task in each.tasks]
    embeddings = [task.name for task in each.tasks if flip and isinstance(task, Embedding)]
    for batch in _ahead(each, dataset, network.crop):
        faces = [face for face in batch if isinstance(face, Face)]
        seen.refused += [str(error) for error in batch if isinstance(error, PolyfaceError)]
        if faces:
            crops = np.stack([face.crop for face in faces])
            outputs = network.run(crops, names)
            mirrored = network.run(np.ascontiguousarray(crops[:, :, ::-1]), embeddings) if embeddings else {}
            for at, face in enumerate(faces):
                _keep(seen, dataset, each.tasks, face, {name: outputs[name][at] for name in names}, {name: mirrored[name][at] for name in embeddings}, row_of)
        done += len(batch)
        if report is not None:
            report(dataset.name, done, len(each.examples))
    return seen


def _keep(seen: Seen, dataset: Dataset, asked: Sequence[Task], face: Face, outputs: dict[str, np.ndarray], mirrored: dict[str, np.ndarray], row_of: RowOf) -> None:
    for task in asked:
        row = row_of(task, face, outputs[task.name], mirrored.get(task.name))
        if row is not None:
            seen.keep(task, face, row)
        elif task.name in mirrored:
            seen.keep(task, face, {"output": outputs[task.name], "mirrored": mirrored[task.name]})
        elif task.name in face.truths:
            row = scoring.row_of(task, dataset.answers[task.name], outputs[task.name], face.truths[task.name], face.matrix)
            seen.keep(task, face, row)


def _ahead(each: Pass, dataset: Dataset, crop: align.Crop) -> Iterator[list[Face | InputError]]:
    """Batches of faces, cut in a thread while the caller looks at those before."""

    def load(start: int) -> list[Face | InputError]:
        return [_face(example, dataset, each, crop) for example in each.examples[start : start + BATCH]]

    return runtime.in_order(load, range(0, len(each.examples), BATCH), 1, AHEAD, "evaluate")


def _face(example: Example, dataset: Dataset, each: Pass, crop: align.Crop) -> Face | InputError:
    """The crop and the labels of one face, or why it is refused."""
    record = example.record
    matrix = align.from_points(example.points, crop)
    eyes = align.eyes_in_picture(matrix, crop)
    try:
        image, shape = open_crop(record, matrix, crop.size) if each.eyes is None else open_small_crop(record, matrix, crop.size, each.eyes / eyes)
    except InputError as error:
        return error
    truths = {}
    for task in each.tasks:
        if task.name in record.labels:
            try:
                truths[task.name] = scoring.truth_of(task, dataset.answers[task.name], record.labels[task.name], shape)
            except InputError as error:
                return InputError(f"{record.source}, {task.name}: {error}")
    return Face(record, image, matrix, truths, each.eyes or eyes)


def _scores_of_pass(dataset: Dataset, each: Pass, seen: Seen, pairs: Pairs | None, taught: Mapping[str, Sequence[Row]], by_group: bool) -> list[Score]:
    scores = []
    for task in each.tasks:
        rows, records = seen.rows.get(task.name, []), seen.records.get(task.name, [])
        subjects = [record.subject for record in records]
        if isinstance(task, Embedding):
            if pairs is not None and rows:
                vectors, mirrored = (np.stack([row[end] for row in rows]) for end in ("output", "mirrored"))
                scores += pair_scores(task, vectors, mirrored, [record.key for record in records], subjects, pairs).scores
            continue
        missed = [record.subject for record in each.missed if task.name in record.labels]
        stated = [record.groups for record in records] if by_group else ()
        scores += scoring.scores_of(task, dataset.answers[task.name], rows, subjects, missed, taught.get(task.name, ()), stated)
    return [dataclasses.replace(score, metric=score.metric + each.name) for score in scores]
