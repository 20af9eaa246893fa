"""Answers that know what they do not know: temperatures and sets of answers, fitted on validation splits and measured on test splits, for a model's card.

Fitted on the same crops and rows that `evaluate` scores, without people and pictures of any test at hand (`datasets/apart.py`). Per task, all data sets counting
equally, however large (and of traits, each trait):

- the temperature with the smallest mean of -log P(S | U), the project's one formula, so that labels of any grain fit it;
- the level: the smallest set of answers, of the model's own vocabulary, that holds the truth nine times in ten. What that means where a label leaves several answers
  possible (UTKFace's "Asian", FairFace's "20-29") is said at `metrics/calibration.py`, conformal_level: it is met where the set of answers holds one of them.

Small faces get wider sets, not bolder answers: the same is fitted to validation pictures shrunk to a few eye distances (`evaluation/small.py`), and `analyze` chooses by
that of the face in its photograph (`card.py`, at_size). What all questions are worth there is measured on test pictures.

Expected calibration error and Brier score are in the set's words, as its accuracy is; years, where no words are stated, in tens. Questions whose answer has neither a
probability nor an interval (points, regions, angles) have nothing to calibrate. Who somebody is: `calibrate_pairs.py`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import msgspec

from polyface import datasets, runtime
from polyface.datasets import apart
from polyface.datasets.base import Dataset, Split
from polyface.errors import InputError, RequestError
from polyface.evaluation.evaluate import OURS, Network, Progress, Seen, answered_by_sets, look, sets_at_hand
from polyface.evaluation.small import look_small
from polyface.images.read import Root
from polyface.inference import engine as engines
from polyface.inference.calibrate_answers import ENOUGH, Rows, fit_answers, fit_sizes, measure_answers, measure_smaller, rows_of
from polyface.inference.calibrate_pairs import calibrate_pairs, people_of
from polyface.inference.card import AnswerCalibration, Measured, PairCalibration, Smaller, Threshold
from polyface.inference.card_page import smaller_rows, with_interval
from polyface.inference.engine import Engine
from polyface.metrics.groups import FEWEST, Grouping
from polyface.tasks.derive import Derived
from polyface.tasks.kinds import Category, Embedding, Scale, Task, Traits

Looked = TypeVar("Looked")
NOTHING: Mapping[str, Collection[str]] = MappingProxyType({})


@dataclass(frozen=True)
class Coverage:
    """How often the sets of answers of a network held the truth on a test split, {kind of group: its groups}."""

    task: str
    dataset: str
    network: str
    groups: Mapping[str, Grouping]


@dataclass(frozen=True)
class Calibrated:
    """What goes into the card. coverage: of each group, of which the card names the worst only; notes: what was left out, and why; refused: a line for each picture that
    could not be used."""

    calibration: Mapping[str, AnswerCalibration | PairCalibration]
    thresholds: tuple[Threshold, ...]
    smaller: tuple[Smaller, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def to_json(self) -> str:
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"

    def answer_rows(self) -> list[dict[str, object]]:
        """A row for each task, test split and network, for a table."""
        return [_row_of(task, said, part) for task, said in self.calibration.items() if isinstance(said, AnswerCalibration) for part in said.measured]

    def smaller_rows(self) -> list[dict[str, object]]:
        """A row for each task and test split: what answers are worth by how far apart the eyes are."""
        return smaller_rows(self.smaller)

    def pair_rows(self) -> list[dict[str, object]]:
        """A row for each rate of false acceptance that is offered."""
        return [
            {
                "FAR": f"{line.far:g}",
                "cosine": line.cosine,
                "95 %": "" if line.low is None else f"{line.low:.4g} to {line.high:.4g}",
                "TAR": line.tar,
                "false accepts": line.false_accepts,
                "of pairs of people": line.pairs_of_people,
            }
            for line in self.thresholds
        ]


def calibrate(
    networks: Mapping[str, Network],
    data: Path | None,
    trained_on: Sequence[str],
    report: Progress | None = None,
    made: Mapping[str, Derived] = OURS,
    sets: Sequence[str] | None = None,
) -> Calibrated:
    """networks: by file name, the first of which is fitted, all of which are measured; trained_on: data sets that taught them; made: as in `evaluate`; sets: only these
    data sets, all that are there where nothing is said.

    Raises RequestError where no set at hand has what a fit needs.
    """
    runtime.threads_for_opencv(1)  # as in `evaluate`
    folder = datasets.data_folder(data)
    network = next(iter(networks.values()))
    answered = answered_by_sets(network, made)
    asked = tuple(task for task in answered if isinstance(task, Category | Scale | Traits))
    work = _Work(folder, sets_at_hand(answered, folder, sets, made), report)
    by_name = {datasets.named(each).name: each for each in sets or ()}  # a user's own are found by their files
    taught = [by_name.get(name, name) for name in trained_on]
    without = work.without_tests(asked)
    fitting = work.answers(network, asked, "validation", without)
    smaller = work.smaller_answers(network, asked, without)
    notes = work.notes
    calibration: dict[str, AnswerCalibration | PairCalibration] = {}
    for task in asked:
        enough = [rows for rows in fitting.get(task.name, []) if len(rows.logits) >= ENOUGH]
        notes += [
            f"{task.name}: {rows.dataset} has {len(rows.logits)} rows of validation, {ENOUGH} are needed" for rows in fitting.get(task.name, []) if rows not in enough
        ]
        if enough:
            by_size = {eyes: [rows for rows in parts if len(rows.logits) >= ENOUGH] for eyes, parts in smaller.get(task.name, {}).items()}
            calibration[task.name] = fit_sizes(task, fit_answers(task, enough), by_size)
        else:
            notes.append(f"{task.name}: no data set to calibrate it on")
    chosen = tuple(task for task in asked if task.name in calibration)
    coverage: list[Coverage] = []
    for name, each in networks.items() if chosen else ():
        for task_name, parts in work.answers(each, chosen, "test").items():
            task, fitted = next(task for task in chosen if task.name == task_name), calibration[task_name]
            assert isinstance(fitted, AnswerCalibration)
            measured = [measure_answers(task, fitted, rows, name) for rows in parts]
            coverage += [Coverage(task_name, each.dataset, name, groups) for each, groups in measured if groups]
            calibration[task_name] = msgspec.structs.replace(fitted, measured=(*fitted.measured, *(each for each, _ in measured)))
    thresholds: tuple[Threshold, ...] = ()
    for embedding in (task for task in network.tasks if isinstance(task, Embedding)):
        try:
            calibration[embedding.name], thresholds, said = calibrate_pairs(network, embedding, folder, taught, people_of(sets, embedding), report)
            notes += said
        except (InputError, RequestError) as error:
            notes.append(f"{embedding.name}: {error}")
    if not calibration:
        raise RequestError(f"{folder}: nothing to calibrate on: {'; '.join(dict.fromkeys(notes))}")
    order = [task.name for task in network.tasks]
    measured_smaller = tuple(sorted(work.measure_smaller(network, answered, calibration), key=lambda part: order.index(part.task)))
    return Calibrated(calibration, thresholds, measured_smaller, tuple(coverage), tuple(dict.fromkeys(notes)), tuple(dict.fromkeys(work.refused)))


def networks_of(model: Path) -> dict[str, Engine]:
    """The networks of a model directory by file name, the one that answers by default first. Raises RequestError for what is no model directory."""
    if not model.is_dir():
        raise RequestError(f"{model}: what is found is written into a model directory, and this is none")
    first = engines.load(model)
    names = [name for name in engines.NETWORKS if (model / name).is_file()]
    return {names[0]: first, **{name: engines.load(model / name) for name in names[1:]}}


@dataclass
class _Work:
    """Looking at the sets at hand, which were held to all questions: one that has too little for some goes on with the others. Fills notes and refused."""

    folder: Path
    at_hand: Sequence[tuple[Dataset, Root]]
    report: Progress | None
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def without_tests(self, asked: Sequence[Task]) -> dict[str, dict[str, str]]:
        """By set, {key: why} of the validation pictures that nothing is fitted on: they or who is on them are in a test."""
        chosen = [dataset for dataset, _ in self._with(asked, "validation")]
        faces = apart.faces_of(chosen, self.folder)
        tests = apart.reserve(self.folder, chosen, faces, "test", datasets.DATASETS)
        without = {}
        for dataset in chosen:
            records = apart.listed(dataset, self.folder, "validation")
            without[dataset.name] = apart.unfit(dataset.name, "validation", records, faces[dataset.name], {"test": tests})
            for why, count in Counter(without[dataset.name].values()).items():
                self.notes.append(f"{dataset.name}: {count:,} of {len(records):,} pictures of validation left out, {why}")
        return without

    def answers(self, network: Network, asked: Sequence[Task], split: Split, without: Mapping[str, Collection[str]] = NOTHING) -> dict[str, list[Rows]]:
        """By task, the rows of each set that has the split; without: by set, the keys of those that stay out."""

        def seen_of(dataset: Dataset, root: Root) -> Seen:
            return look(network, asked, dataset, root, self.folder, split, self.report, without=without.get(dataset.name, ()))

        found: dict[str, list[Rows]] = {}
        for dataset, seen in self._over_sets(asked, split, seen_of):
            self.refused += seen.refused
            for task in asked:
                if rows := rows_of(task, dataset, split, seen):
                    found.setdefault(task.name, []).append(rows)
        return found

    def smaller_answers(self, network: Network, asked: Sequence[Task], without: Mapping[str, Collection[str]]) -> dict[str, dict[int, list[Rows]]]:
        """By task and eye distance, the rows of validation of each set, its pictures shrunk."""

        def seen_of(dataset: Dataset, root: Root) -> dict[int, Seen]:
            return look_small(network, asked, dataset, root, self.folder, "validation", self.report, without.get(dataset.name, ()))

        found: dict[str, dict[int, list[Rows]]] = {}
        for dataset, by_size in self._over_sets(asked, "validation", seen_of):
            for eyes, seen in by_size.items():
                self.refused += seen.refused
                for task in asked:
                    if rows := rows_of(task, dataset, "validation", seen):
                        found.setdefault(task.name, {}).setdefault(eyes, []).append(rows)
        return found

    def measure_smaller(self, network: Network, answered: Sequence[Task], calibration: Mapping[str, AnswerCalibration | PairCalibration]) -> Iterator[Smaller]:
        """What every answer but a vector is worth by eye distance on test splits, also those that have nothing to calibrate."""
        asked = tuple(task for task in answered if not isinstance(task, Embedding))

        def seen_of(dataset: Dataset, root: Root) -> dict[int, Seen]:
            return look_small(network, asked, dataset, root, self.folder, "test", self.report)

        for dataset, by_size in self._over_sets(asked, "test", seen_of):
            for eyes, seen in by_size.items():
                self.refused += seen.refused
                for task in asked:
                    said = calibration.get(task.name)
                    assert not isinstance(said, PairCalibration)
                    measured = measure_smaller(task, said, dataset, seen, eyes) if len(seen.rows.get(task.name, [])) >= FEWEST else None
                    if measured is not None:
                        yield measured

    def _over_sets(self, asked: Sequence[Task], split: Split, looking: Callable[[Dataset, Root], Looked]) -> Iterator[tuple[Dataset, Looked]]:
        """Each set that has the split and answers any of these, and what was seen of it; where nothing could be, a note."""
        for dataset, root in self._with(asked, split):
            try:
                seen = looking(dataset, root)
            except (InputError, RequestError) as error:
                self.notes.append(str(error))
            else:
                yield dataset, seen

    def _with(self, asked: Sequence[Task], split: Split) -> list[tuple[Dataset, Root]]:
        return [(dataset, root) for dataset, root in self.at_hand if split in dataset.splits and any(task.name in dataset.answers for task in asked)]


def _row_of(task: str, said: AnswerCalibration, part: Measured) -> dict[str, object]:
    return {
        "task": task,
        "data set": part.dataset,
        "network": part.network,
        "n": part.n,
        "temperature": said.temperature,
        "ECE": f"{part.ece[0]:.3f} -> {with_interval(part.ece[1], part.ece_low, part.ece_high)}",
        "Brier": f"{part.brier[0]:.3f} -> {with_interval(part.brier[1], part.brier_low, part.brier_high)}",
        "coverage": None if part.coverage is None else f"{part.coverage:.1%}",
        "set size": part.size,
        "several possible": None if part.several is None else f"{part.several:.0%}",
        "worst group": f"{part.worst} {part.worst_coverage:.1%} of {part.worst_n}" if part.worst else None,
    }
