"""One run of an experiment: train a recipe by the loop that trains everything, score it face by face, keep the result.

What runs share is made once: the sets as training lists them (without near-copies of any test picture), and the faces that are scored, with their points.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
import torch

from polyface import datasets, runtime
from polyface.datasets.base import Alignment, Dataset, Listing, Record, Split, thinned
from polyface.datasets.crops import align_record, read_faces, true_box
from polyface.errors import RequestError
from polyface.evaluation.evaluate import look
from polyface.files import sha256_of_lines, write_atomically
from polyface.images import align, geometry
from polyface.labels import PointMap, Ranges, Words, word_probabilities
from polyface.metrics import ages, landmarks, regions
from polyface.metrics.intervals import groups_of
from polyface.models.polyface import PolyFace
from polyface.papers import stage
from polyface.papers.results import refuse_other_recipe, write_done
from polyface.papers.transfer_effects import Outcome, Result, read_result
from polyface.tasks.kinds import Angles, Category, Embedding, Points, Regions, Row, Scale, Task, Traits, median, sigmoid, softmax
from polyface.training.config import Config, Data, to_toml
from polyface.training.examples import Source, training_sources
from polyface.training.plan import FacePlan

Say = Callable[[str], None]
SPLITS: tuple[Split, ...] = ("validation", "test")


@dataclass(frozen=True)
class Question:
    """A task as it is scored: on the validation split of one set, by which all is chosen, and on the test split of one, by which verdicts are given."""

    name: str
    task: Task
    validation: str
    test: str


@dataclass(frozen=True)
class Run:
    """A recipe, complete; what it is asked; and, where labels are not taken as they are, what is done to its sets."""

    name: str
    config: Config
    questions: tuple[Question, ...]
    change: Callable[[Source], Source] | None = None

    def refuse_other_recipe(self, out: Path) -> None:
        """Raises RequestError where OUT has a run of this name, done or begun, by another recipe."""
        refuse_other_recipe(out / self.name / "config.toml", to_toml(self.config))


class Bench:
    """Does runs. Raises RequestError before the first where a set is not at hand, or no face of a split that is scored is aligned."""

    def __init__(self, runs: Sequence[Run], data: Path, out: Path, most: int):
        self.out = out
        runtime.threads_for_opencv(1)
        asked = list(dict.fromkeys(question for run in runs for question in run.questions))
        self.faces: dict[tuple[str, Split], Dataset] = {}
        for split in SPLITS:
            for name in dict.fromkeys(getattr(question, split) for question in asked):
                wanted = [question.task for question in asked if getattr(question, split) == name]
                self.faces[name, split] = faces_of(datasets.named(name), wanted, data, split, most)
        self.data = data
        entries = {_key(entry): entry for run in runs for entry in run.config.data}
        every = msgspec.structs.replace(runs[0].config, data=tuple(entries.values()), batch=max(runs[0].config.batch, len(entries)))
        self.sources = dict(zip(entries, training_sources(every, data), strict=True))

    def do(self, run: Run, say: Say | None = None) -> Result:
        """Train, score, write OUT/<run>/result.json; a run that was interrupted goes on. Raises RequestError where another recipe left something there."""
        folder = self.out / run.name
        if (done := read_result(folder / "result.json")) is not None:
            return done
        run.refuse_other_recipe(self.out)
        write_atomically(folder / "config.toml", to_toml(run.config))
        torch.set_num_threads(run.config.compute_threads or runtime.processors())
        plan = self._plan_of(run)
        model = stage.run(plan, folder, lambda step, steps, words: say and say(f"{run.name} {step}/{steps}"))
        trained = time.monotonic()
        assert isinstance(model, PolyFace)
        network = Trained(model, plan.tasks, plan.crop)
        scores = {split: self._ask(network, run.questions, split) for split in SPLITS}
        result = Result(
            run=run.name,
            seed=run.config.seed,
            steps=run.config.steps,
            batch=run.config.batch,
            seconds=stage.seconds_of(folder),
            scoring_seconds=round(time.monotonic() - trained, 1),
            pictures={_words(source): count * run.config.steps for source, count in zip(plan.sources, plan.mix.counts, strict=True)},
            validation=scores["validation"],
            test=scores["test"],
        )
        write_done(folder / "result.json", result)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return result

    def _plan_of(self, run: Run) -> FacePlan:
        """Of sets that were listed once: to list them again would take longer than a run. Nothing is validated along the way: nothing is chosen there."""
        sources = [replace(self.sources[_key(entry)], weight=entry.weight) for entry in run.config.data]
        return FacePlan(run.config, self.data, [run.change(source) if run.change else source for source in sources])

    def _ask(self, network: "Trained", questions: Sequence[Question], split: Split) -> dict[str, Outcome]:
        """Each set is looked at once, whatever it is asked."""
        found = {}
        for name in dict.fromkeys(getattr(question, split) for question in questions):
            here = [question for question in questions if getattr(question, split) == name]
            dataset = self.faces[name, split]
            seen = look(network, [question.task for question in here], dataset, datasets.find_root(self.data, name), self.out, split)
            for question in here:
                found[question.name] = outcome_of(question.task, dataset, seen.rows[question.task.name], seen.records[question.task.name])
        return found


def _key(entry: Data) -> tuple[str, tuple[str, ...] | None]:
    return entry.set, entry.tasks


def _words(source: Source) -> str:
    return f"{source.dataset.name} ({', '.join(source.dataset.answers)})"


@dataclass(frozen=True)
class Trained:
    """A network in memory, as what is scored (`evaluation.evaluate.Network`)."""

    model: PolyFace = field(repr=False)
    tasks: tuple[Task, ...]
    crop: align.Crop
    label: str = ""

    def run(self, crops: np.ndarray, tasks: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        names = [task.name for task in self.tasks] if tasks is None else list(tasks)
        device = next(self.model.parameters()).device
        everyone = torch.arange(len(crops), device=device)
        with torch.inference_mode():
            outputs = self.model.eval()(torch.from_numpy(crops).to(device), dict.fromkeys(names, everyone))
        return {name: outputs[name].float().cpu().numpy() for name in names}


# The faces that are scored


def faces_of(dataset: Dataset, asked: Sequence[Task], data: Path, split: Split, most: int) -> Dataset:
    """A set that lists, at once and for any split, the faces of one split: about `most`, evenly through the list, all of a person or none. Their points are those that
    evaluation takes: the detector's, or where none searched, those of the box about labelled points."""
    found = read_faces(data, dataset.name).found
    named = {task.name for task in asked}
    records = []
    for record in dataset.records(datasets.find_root(data, dataset.name), split).records:
        points = _points_of(record, found)
        if points is not None and not named.isdisjoint(record.labels):
            records.append(replace(record, alignment=Alignment(points, "stated")))
    if not records:
        raise RequestError(f"{dataset.name}: no face of the {split} split has a crop; run `polyface datasets align {dataset.name}`")
    listing = Listing(tuple(thinned(records, most)))
    return replace(dataset, list_records=lambda root, split: listing)


def _points_of(record: Record, found: Mapping) -> np.ndarray | None:
    example = align_record(record, found.get(record.key), training=False)
    if example is not None:
        return example.points
    if not found and record.alignment is not None:
        return true_box(record).points
    return None


# A number for each face


def outcome_of(task: Task, dataset: Dataset, rows: Sequence[Row], records: Sequence[Record]) -> Outcome:
    """The answers to a task on some faces, each by itself. Faces whose label decides nothing (tied votes, people with one photograph) are left out."""
    meaning = dataset.answers[task.name]
    kept = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    people = groups_of([record.subject for record in records])
    metric, higher, values = _values(task, meaning, kept, people)
    decided = np.flatnonzero(np.isfinite(values))
    return Outcome(
        dataset=dataset.name,
        metric=metric,
        higher_is_better=higher,
        sha256=sha256_of_lines(records[int(at)].key for at in decided),
        people=tuple(people[decided].tolist()),
        values=tuple(round(float(value), 4) for value in values[decided]),
    )


def _values(task: Task, meaning: object, kept: Row, people: np.ndarray) -> tuple[str, bool, np.ndarray]:
    """(metric, whether more of it is better, a number for each face, NaN where its label decides nothing)."""
    match task, meaning:
        case Category(), Words():
            right = word_probabilities(softmax(kept["output"]), meaning).argmax(-1) == kept["truth"]
            return "accuracy, %", True, np.where(kept["truth"] >= 0, 100.0 * right, np.nan)
        case Scale(), Ranges() if meaning.meanings:
            groups = np.array(list(meaning.meanings.values()))
            right = groups[ages.group_choice(softmax(kept["output"]), groups)] == kept["truth"]
            return "accuracy of groups, %", True, 100.0 * right.all(-1)
        case Scale(), Ranges():
            return "mean absolute error, years", False, ages.absolute_errors(kept["truth"][:, 0], median(softmax(kept["output"])))
        case Traits(), _:
            known = kept["truth"] >= 0
            right = (sigmoid(kept["output"]) > 0.5) == (kept["truth"] == 1)
            return "accuracy over attributes, %", True, 100.0 * (right & known).sum(-1) / np.where(known.any(-1), known.sum(-1), np.nan)
        case Points(), PointMap():
            return "NME, %", False, 100.0 * _nme(meaning, kept)
        case Regions(), Words():
            background = int(meaning.table[:, 0].argmax())
            return "F1 of a picture's regions, %", True, 100.0 * np.array([regions.region_f1(counts, background).value for counts in kept["counts"]])
        case Angles(), Ranges():
            return "accuracy of words of yaw, %", True, 100.0 * _yaw_word_right(task, meaning, kept)
        case Embedding(), _:
            return "AUC of a photograph, %", True, 100.0 * own_auc(kept["output"], people)
    raise TypeError(f"no outcome is known for the kind {type(task).__name__} with {type(meaning).__name__}")


def _nme(words: PointMap, kept: Row) -> np.ndarray:
    truth = kept["truth"]
    predicted = np.stack([geometry.apply(geometry.invert(matrix), words.weights @ xy) for matrix, xy in zip(kept["matrix"], kept["xy"], strict=True)])
    sizes = landmarks.outer_eye_distance(truth) if truth.shape[1] == 68 else landmarks.eye_distance(truth)
    seen: np.ndarray = np.all(np.isfinite(truth), axis=-1)
    return landmarks.nme(truth, predicted, sizes, seen=seen)


def _yaw_word_right(task: Angles, words: Ranges, kept: Row) -> np.ndarray:
    """Whether the word with most of the mass of yaw is the labelled one."""
    ranges = np.clip(np.array(list(words.meanings.values()), np.float64), -task.limit, task.limit)
    inside = (task.centres >= ranges[:, :1]) & (task.centres <= ranges[:, 1:])
    mass = softmax(kept["output"][:, 0]) @ inside.T
    return (ranges[mass.argmax(-1)] == kept["truth"][:, 0]).all(-1)


def own_auc(vectors: np.ndarray, people: np.ndarray) -> np.ndarray:
    """For each photograph, how often another one of the same person is closer to it than one of somebody else is, ties half: vectors [N, D], people [N] -> [N].

    NaN where nobody else, or no other photograph of the person, is there.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    found = np.full(len(people), np.nan)
    for row, person in enumerate(people):
        same = people == person
        others = np.sort(cosines[row, ~same])
        same[row] = False
        if same.any() and len(others):
            own = cosines[row, same]
            below = (np.searchsorted(others, own, "left") + np.searchsorted(others, own, "right")) / 2
            found[row] = below.mean() / len(others)
    return found
