"""A model on a test split -> the very files that `polyface score` takes, and what that says of them: `polyface evaluate MODEL --protocol NAME`.

Faces are cropped as in `evaluate`: by what a detector found, never by labelled points. Labels and answers are in the set's own words and in the pixels of its pictures. A
face that was not found is a miss of points, and is left out and counted elsewhere, as are pairs of which a face is missing.
"""

import csv
import io
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from polyface import datasets, runtime
from polyface.datasets.base import Dataset, Listing, Pairs
from polyface.datasets.crops import read_faces
from polyface.errors import InputError, RequestError, nearest
from polyface.evaluation import score
from polyface.evaluation.bin_set import set_of_bin
from polyface.evaluation.evaluate import OURS, Face, Network, Pass, Progress, RowOf, Seen, answered_by_sets, ask, needed, sets_at_hand, speaks_ours, ways_to_crop
from polyface.evaluation.mask_writer import MaskWriter
from polyface.evaluation.protocols.parsing import BENCHMARKS
from polyface.evaluation.raw_pixels import PIXELS, pixels
from polyface.evaluation.score import Scored
from polyface.evaluation.taught import NOBODY, Lessons, strangers_only
from polyface.files import write_arrays, write_atomically
from polyface.images import geometry
from polyface.images.read import Root
from polyface.labels import PointMap, Ranges, Words
from polyface.metrics import ages
from polyface.tasks import scoring
from polyface.tasks.derive import Derived
from polyface.tasks.kinds import Angles, Category, Embedding, Points, Regions, Row, Scale, Task, Traits, median, sigmoid, softmax

Options = Mapping[str, Path | str]
"""Of `polyface score`: {name: value}."""

KINDS: Mapping[str, tuple[type[Task], ...]] = {
    "verification": (Embedding,),
    "landmarks": (Points,),
    "parsing": (Regions,),
    "attributes": (Traits,),
    "classification": (Category, Scale),
    "age": (Scale,),
    "pose": (Angles,),
}
"""What `--protocol` names, and the kinds of question that it scores."""

PUBLIC = {"celebamask": "celebamask-hq", "lapa": "lapa"}
"""Data sets whose masks have the classes of a benchmark, in its order, unless they are retold."""


@dataclass(frozen=True)
class Answered:
    """One question on one set. name: `lfw.identity`; command: what scores the saved files, "" where they were not saved; notes: what was left out; refused: pictures."""

    name: str
    title: str
    scored: Scored
    command: str
    notes: tuple[str, ...]
    refused: tuple[str, ...]


def evaluate_protocol(
    network: Network,
    protocol: str,
    data: Path | None,
    sets: Sequence[str] | None = None,
    save: Path | None = None,
    report: Progress | None = None,
    lessons: Lessons = NOBODY,
    made: Mapping[str, Derived] = OURS,
) -> tuple[list[Answered], dict[str, str]]:
    """Each question of the protocol on each set named, or at hand, that can answer it; and why others at hand were not. save: where the arrays go, FILE.npz; of
    several questions FILE.SET.TASK.npz. lessons and made: as in `evaluate`. data: the folder of the sets, or for verification one of insightface's .bin.

    Raises RequestError before anything is computed where there is nothing to score, or a named set has no label for it; and where nothing could be scored.
    """
    if protocol not in KINDS:
        raise RequestError(f"no protocol {protocol!r} that has sets here{nearest(protocol, KINDS)}")
    if save is not None and save.suffix != ".npz":
        raise RequestError(f"{save}: the arrays are saved as a .npz")
    folder, at_hand = datasets.data_folder(data), None
    if folder.suffix.lower() == ".bin" and folder.is_file():
        folder, at_hand = folder.parent, _of_bin(folder, protocol, sets)
    asked = tuple(task for task in answered_by_sets(network, made) if isinstance(task, KINDS[protocol]))
    if not asked:
        raise RequestError(f"{network.label} answers no question that {protocol} scores")
    there = [
        _Asked(network, dataset, root, folder, tuple(task for task in asked if _suits(protocol, task, dataset)), report)
        for dataset, root in at_hand or sets_at_hand(asked, folder, sets, made)
    ]
    questions = [(each, task) for each in there for task in each.tasks]
    if sets is not None and questions and (silent := [each.dataset.name for each in there if not each.tasks]):
        raise RequestError(f"{', '.join(silent)}: no labels there that {protocol} scores")
    if not questions:
        raise RequestError(f"{folder}: no set there has labels that {protocol} scores" + (f", of {', '.join(sets)}" if sets else ""))
    runtime.threads_for_opencv(1)
    found, skipped = [], {}
    for each, task in questions:
        name = f"{each.dataset.name}.{task.name}"
        with _place(save, name if len(questions) > 1 else "") as file:
            try:
                found.append(_answered(protocol, each, task, file, save is not None, lessons))
            except (InputError, RequestError) as error:
                skipped[name] = str(error)
    if not found:
        raise RequestError(f"{folder}: nothing that {protocol} scores; " + "; ".join(f"{name}: {why}" for name, why in skipped.items()))
    return found, skipped


def _of_bin(path: Path, protocol: str, sets: Sequence[str] | None) -> list[tuple[Dataset, Root]]:
    if protocol != "verification" or sets is not None:
        raise RequestError(f"{path}: holds pairs, which --protocol verification scores, and no other sets")
    try:
        return [set_of_bin(path)]
    except InputError as error:
        raise RequestError(str(error)) from error


def _suits(protocol: str, task: Task, dataset: Dataset) -> bool:
    """Whether the set's labels are what the protocol scores: words for classes, numbers for ages and angles."""
    if task.name not in dataset.answers or (protocol == "verification" and dataset.list_pairs is None):
        return False
    meaning = dataset.answers[task.name]
    if isinstance(meaning, Ranges):
        return bool(meaning.meanings) == (protocol == "classification")
    return protocol != "age"


@contextmanager
def _place(save: Path | None, name: str) -> Iterator[Path]:
    if save is not None:
        yield save.with_name(f"{save.stem}.{name}.npz") if name else save
        return
    with tempfile.TemporaryDirectory(prefix="polyface-") as folder:
        yield Path(folder) / "arrays.npz"


@dataclass
class _Asked:
    """A set, and what it is asked."""

    network: Network
    dataset: Dataset
    root: Root
    folder: Path
    tasks: tuple[Task, ...]
    report: Progress | None

    def crops(self, asked: tuple[Task, ...], pairs: Pairs | None = None) -> Pass:
        """Raises InputError where the test split has no label of any of these."""
        records = needed(self.listing, asked, pairs)
        if not records:
            raise InputError("no picture of the test split has such a label")
        return ways_to_crop(self.dataset, records, read_faces(self.folder, self.dataset.name), asked)[0][0]

    def ask(self, each: Pass, row_of: RowOf = lambda *_: None) -> Seen:
        return ask(self.network, self.dataset, each, self.report, row_of=row_of)

    @cached_property
    def listing(self) -> Listing:
        return self.dataset.records(self.root, "test")

    @cached_property
    def all_at_once(self) -> tuple[Pass, Seen]:
        """Each face looked at once for all questions."""
        each = self.crops(self.tasks)
        return each, self.ask(each)


def _answered(protocol: str, asked: _Asked, task: Task, file: Path, saved: bool, lessons: Lessons) -> Answered:
    dataset, notes = asked.dataset, []
    pairs: Pairs | None = None
    if isinstance(task, Embedding):
        pairs, left_out = strangers_only(task, dataset, dataset.pairs(asked.root), asked.listing.records, lessons, asked.folder)
        notes += [left_out] if left_out else []
    each = asked.crops((task,), pairs) if isinstance(task, Embedding | Regions) else asked.all_at_once[0]
    missed = [record for record in each.missed if isinstance(task, Embedding) or task.name in record.labels]
    if missed and not isinstance(task, Points):
        notes.append(f"{len(missed)} faces were not found and are left out")
    if each.name:
        notes.append("cropped by the boxes about labelled points, for no detector has searched this set")
    if isinstance(task, Embedding):
        assert pairs is not None
        seen = asked.ask(each, _with_pixels)
        scored, options = _verification(seen, task, pairs, file, notes)
    elif isinstance(task, Regions):
        scored, options, seen = _parsing(asked, task, each, file)
    else:
        seen, targets = asked.all_at_once[1], _beside(file, "targets")
        for path, arrays in zip((file, targets), _arrays(protocol, task, dataset, each, seen), strict=True):
            write_arrays(path, arrays)
        scored, options = getattr(score, protocol)(file, targets), {"predictions": file, "targets": targets}
    if seen.refused:
        notes.append(f"{len(seen.refused)} pictures were refused and are left out")
    command = " ".join(["polyface score", protocol, *(f"--{name} {shlex.quote(str(value))}" for name, value in options.items())]) if saved else ""
    return Answered(f"{dataset.name}.{task.name}", f"{dataset.title}, {task.name}", scored, command, tuple(notes), tuple(seen.refused))


# Pairs


def _with_pixels(task: Task, face: Face, output: np.ndarray, mirrored: np.ndarray | None) -> Row:
    """Flip fusion: the embeddings of the crop and of its mirror image are added; of the pixels likewise."""
    assert mirrored is not None
    return {"output": np.asarray(output, np.float64) + mirrored, PIXELS: pixels(face.crop) + pixels(face.crop[:, ::-1])}


def _verification(seen: Seen, task: Task, pairs: Pairs, file: Path, notes: list[str]) -> tuple[Scored, Options]:
    records, rows = seen.records.get(task.name, []), seen.rows.get(task.name, [])
    keys = {record.key for record in records}
    there = np.array([left in keys and right in keys for left, right in zip(pairs.left, pairs.right, strict=True)], bool)
    if not there.any():
        raise InputError("no pair of which both faces are there")
    if not there.all():
        notes.append(f"{(~there).sum()} of {len(there)} pairs left out, a face of each is missing")
    listed, text = _beside(file, "pairs", ".csv"), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("left", "right", "same", "fold"))
    for at in np.flatnonzero(there):
        writer.writerow((pairs.left[at], pairs.right[at], int(pairs.same[at]), int(pairs.fold[at])))
    write_atomically(listed, text.getvalue())
    scored = {}
    for kind, path in (("output", file), (PIXELS, _beside(file, "pixels"))):
        subjects = {score.SUBJECTS: np.array([record.subject for record in records])} if all(record.subject for record in records) else {}
        write_arrays(path, {"names": np.array([record.key for record in records]), "embeddings": np.stack([row[kind] for row in rows]).astype(np.float32), **subjects})
        scored[kind] = score.verification(path, listed)
    return _beside_pixels(scored["output"], scored[PIXELS]), {"embeddings": file, "pairs": listed}


def _beside_pixels(model: Scored, baseline: Scored) -> Scored:
    """The scores of the model, then those of raw pixels, as `accuracy|raw pixels`."""
    name, ours, theirs = PIXELS.replace("_", " "), model.result, baseline.result
    result = replace(
        ours,
        scores={**ours.scores, **{f"{key}|{name}": score for key, score in theirs.scores.items()}},
        reasons={**ours.reasons, **{f"{key}|{name}": why for key, why in theirs.reasons.items()}},
        notes={**ours.notes, **{f"{key}|{name}": note for key, note in theirs.notes.items()}},
    )
    return Scored(result, {**model.inputs, PIXELS: baseline.inputs["embeddings"]})


# Masks


def _parsing(asked: _Asked, task: Regions, each: Pass, file: Path) -> tuple[Scored, Options, Seen]:
    """Masks go to the files as they come, since those of a whole split need not fit in memory."""
    words, benchmark = asked.dataset.answers[task.name], PUBLIC.get(asked.dataset.name) if speaks_ours(task) else None
    assert isinstance(words, Words)
    classes = BENCHMARKS[benchmark].classes if benchmark else words.names
    targets = _beside(file, "targets")
    with MaskWriter(file, classes) as said, MaskWriter(targets, classes) as true:

        def write(task: Task, face: Face, output: np.ndarray, _: np.ndarray | None) -> Row | None:
            if task.name in face.truths:
                mask = face.truths[task.name]
                said.add(face.record.key, scoring.regions_in_picture(task, words, output, mask.shape, face.matrix), face.record.subject)  # type: ignore[arg-type]
                true.add(face.record.key, mask, face.record.subject)
            return {}

        seen = asked.ask(each, write)
    options = {"predictions": file, "targets": targets} | ({"benchmark": benchmark} if benchmark else {})
    return score.parsing(file, targets, benchmark), options, seen


# Everything else: predictions and targets


def _arrays(protocol: str, task: Task, dataset: Dataset, each: Pass, seen: Seen) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Raises InputError where no face has a label."""
    rows, records, meaning = seen.rows.get(task.name, []), seen.records.get(task.name, []), dataset.answers[task.name]
    if not rows:
        raise InputError("no face of the test split has a label and a crop")
    kept = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    make: dict[str, Callable[..., tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]]] = {
        "classification": _classes, "age": _years, "attributes": _traits, "pose": _angles,
    }  # fmt: skip
    if isinstance(task, Points):
        assert isinstance(meaning, PointMap)
        missed = [record for record in each.missed if task.name in record.labels]
        said, true = _points(task, meaning, kept, [record.labels[task.name] for record in missed])
        if all(record.boxes is not None and len(record.boxes) for record in (*records, *missed)):
            true["boxes"] = np.array([record.boxes[0] for record in (*records, *missed)], np.float64)  # type: ignore[index]
        records, use = [*records, *missed], ~np.isnan(true["values"]).any(axis=2).all(axis=1)
    else:
        said, true, use = make[protocol](task, meaning, kept)
    if not use.any():
        raise InputError("no face of the test split has a label that this protocol scores")
    names = {"names": np.array([record.key for record in records])}
    if any(record.subject for record in records):  # one whose person is not known stands alone
        names[score.SUBJECTS] = np.array([record.subject or f"? {record.key}" for record in records])
    return tuple(  # type: ignore[return-value]
        {**{name: array if name == "classes" else array[use] for name, array in side.items()}, **{name: array[use] for name, array in names.items()}}
        for side in (said, true)
    )


def _classes(task: Task, meaning: Words | Ranges, kept: Row) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """In the words of the set; a face whose votes are tied has none and is left out, as is one whose word holds other words."""
    if isinstance(meaning, Ranges):
        names: Sequence[str] = tuple(meaning.meanings)
        truth, chosen = scoring.words_of_ranges(meaning, kept["truth"]), ages.group_choice(softmax(kept["output"]), np.array(list(meaning.meanings.values())))
    else:
        names, truth, chosen = scoring.in_finest_words(meaning, kept["output"], kept["truth"])
    words = np.array(names)
    return {"values": words[chosen], "classes": words}, {"values": words[truth], "classes": words}, truth >= 0


def _years(task: Task, meaning: Ranges, kept: Row) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """The median; a face whose age is a range of years is left out."""
    low, high = kept["truth"].T
    return {"values": median(softmax(kept["output"]))}, {"values": low}, low == high


def _traits(task: Traits, meaning: object, kept: Row) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Only the attributes that some face has a label of."""
    known: np.ndarray = np.any(kept["truth"] >= 0, axis=0)
    classes, truth = np.array(task.vocabulary)[known], kept["truth"][:, known]
    labels = np.where(truth >= 0, truth, np.nan)
    return {"values": sigmoid(kept["output"])[:, known], "classes": classes}, {"values": labels, "classes": classes}, np.any(truth >= 0, axis=1)


def _angles(task: Angles, meaning: object, kept: Row) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """The axes that every face has a number of, in the picture's frame."""
    low, high = kept["truth"][..., 0], kept["truth"][..., 1]
    known = (low == high).all(axis=0)
    axes, use = np.array(task.axes)[known], np.full(len(low), bool(known.any()))
    return {"values": scoring.angles_in_picture(task, kept)[:, known], "classes": axes}, {"values": low[:, known], "classes": axes}, use


def _points(task: Points, meaning: PointMap, kept: Row, of_missed: Sequence[object]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The set's own points in the picture's pixels; those of faces that were not found are last, and NaN."""
    predicted = np.stack([geometry.apply(geometry.invert(matrix), meaning.weights @ xy) for matrix, xy in zip(kept["matrix"], kept["xy"], strict=True)])
    lost = np.full((len(of_missed), *predicted.shape[1:]), np.nan)
    truth = np.concatenate([kept["truth"], *(np.asarray(label, np.float64)[None] for label in of_missed)])
    missed = np.arange(len(truth)) >= len(predicted)
    return {"values": np.concatenate([predicted, lost]), "missed": missed.astype(np.uint8)}, {"values": truth}


# Files


def _beside(file: Path, what: str, ending: str = ".npz") -> Path:
    return file.with_name(f"{file.stem}.{what}{ending}")
