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
from dataclasses import dataclass
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
from polyface.inference.calibrate_pairs import calibrate_pairs
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
    networks: Mapping[str, Network], data: Path | None, trained_on: Sequence[str], report: Progress | None = None, made: Mapping[str, Derived] = OURS
) -> Calibrated:
    """networks: by file name, the first of which is fitted, all of which are measured; trained_on: data sets that taught them; made: as in `evaluate`.

    Raises RequestError where no set at hand has what a fit needs.
    """
    runtime.threads_for_opencv(1)  # as in `evaluate`
    folder = datasets.data_folder(data)
    network = next(iter(networks.values()))
    asked = tuple(task for task in answered_by_sets(network, made) if isinstance(task, Category | Scale | Traits))
    notes: list[str] = []
    refused: list[str] = []
    without = _without_tests(asked, made, folder, notes)
    fitting = _answers(network, asked, made, folder, "validation", report, notes, refused, without)
    smaller = _smaller_answers(network, asked, made, folder, report, notes, refused, without)
    calibration: dict[str, AnswerCalibration | PairCalibration] = {}
    for task in asked:
        enough = [rows for rows in fitting.get(task.name, []) if len(rows.logits) >= ENOUGH]
        notes += [f"{task.name}: {rows.dataset} has too few rows of validation, {len(rows.logits)}" for rows in fitting.get(task.name, []) if rows not in enough]
        if enough:
            by_size = {eyes: [rows for rows in sets if len(rows.logits) >= ENOUGH] for eyes, sets in smaller.get(task.name, {}).items()}
            calibration[task.name] = fit_sizes(task, fit_answers(task, enough), by_size)
        else:
            notes.append(f"{task.name}: no data set to calibrate it on")
    chosen = tuple(task for task in asked if task.name in calibration)
    coverage: list[Coverage] = []
    for name, each in networks.items() if chosen else ():
        for task_name, parts in _answers(each, chosen, made, folder, "test", report, notes, refused).items():
            answered, fitted = next(task for task in chosen if task.name == task_name), calibration[task_name]
            assert isinstance(fitted, AnswerCalibration)
            measured = [measure_answers(answered, fitted, rows, name) for rows in parts]
            coverage += [Coverage(task_name, each.dataset, name, groups) for each, groups in measured if groups]
            calibration[task_name] = msgspec.structs.replace(fitted, measured=(*fitted.measured, *(each for each, _ in measured)))
    thresholds: tuple[Threshold, ...] = ()
    for embedding in (task for task in network.tasks if isinstance(task, Embedding)):
        try:
            calibration[embedding.name], thresholds, said = calibrate_pairs(network, embedding, folder, trained_on, report=report)
            notes += said
        except (InputError, RequestError) as error:
            notes.append(f"{embedding.name}: {error}")
    if not calibration:
        raise RequestError(f"{folder}: nothing to calibrate on: {'; '.join(dict.fromkeys(notes))}")
    order = [task.name for task in network.tasks]
    measured_smaller = tuple(sorted(_measure_smaller(network, calibration, made, folder, report, notes, refused), key=lambda part: order.index(part.task)))
    return Calibrated(calibration, thresholds, measured_smaller, tuple(coverage), tuple(dict.fromkeys(notes)), tuple(dict.fromkeys(refused)))


def networks_of(model: Path) -> dict[str, Engine]:
    """The networks of a model directory by file name, the one that answers by default first. Raises RequestError for what is no model directory."""
    if not model.is_dir():
        raise RequestError(f"{model}: what is found is written into a model directory, and this is none")
    first = engines.load(model)
    names = [name for name in engines.NETWORKS if (model / name).is_file()]
    return {names[0]: first, **{name: engines.load(model / name) for name in names[1:]}}


def _without_tests(asked: Sequence[Task], made: Mapping[str, Derived], folder: Path, notes: list[str]) -> dict[str, dict[str, str]]:
    """By set at hand, {key: why} of the validation pictures that nothing is fitted on: they or who is on them are in a test. Fills notes."""
    sets = [dataset for dataset, _ in sets_at_hand(asked, folder, None, made) if "validation" in dataset.splits]
    faces = apart.faces_of(sets, folder)
    tests = apart.reserve(folder, sets, faces, "test", datasets.DATASETS)
    without = {}
    for dataset in sets:
        records = apart.listed(dataset, folder, "validation")
        without[dataset.name] = apart.unfit(dataset.name, "validation", records, faces[dataset.name], {"test": tests})
        for why, count in Counter(without[dataset.name].values()).items():
            notes.append(f"{dataset.name}: {count:,} of {len(records):,} pictures of validation left out, {why}")
    return without


def _answers(
    network: Network,
    asked: Sequence[Task],
    made: Mapping[str, Derived],
    folder: Path,
    split: Split,
    report: Progress | None,
    notes: list[str],
    refused: list[str],
    without: Mapping[str, Collection[str]] = NOTHING,
) -> dict[str, list[Rows]]:
    """By task, the rows of each set at hand that has the split; without: by set, the keys of those that stay out. Fills notes and refused."""

    def seen_of(dataset: Dataset, root: Root) -> Seen:
        return look(network, asked, dataset, root, folder, split, report, without=without.get(dataset.name, ()))

    found: dict[str, list[Rows]] = {}
    for dataset, seen in _over_sets(asked, made, folder, split, notes, seen_of):
        refused += seen.refused
        for task in asked:
            if rows := rows_of(task, dataset, split, seen):
                found.setdefault(task.name, []).append(rows)
    return found


def _smaller_answers(
    network: Network,
    asked: Sequence[Task],
    made: Mapping[str, Derived],
    folder: Path,
    report: Progress | None,
    notes: list[str],
    refused: list[str],
    without: Mapping[str, Collection[str]],
) -> dict[str, dict[int, list[Rows]]]:
    """By task and eye distance, the rows of validation of each set at hand, its pictures shrunk. Fills notes and refused."""

    def seen_of(dataset: Dataset, root: Root) -> dict[int, Seen]:
        return look_small(network, asked, dataset, root, folder, "validation", report, without.get(dataset.name, ()))

    found: dict[str, dict[int, list[Rows]]] = {}
    for dataset, by_size in _over_sets(asked, made, folder, "validation", notes, seen_of):
        for eyes, seen in by_size.items():
            refused += seen.refused
            for task in asked:
                if rows := rows_of(task, dataset, "validation", seen):
                    found.setdefault(task.name, {}).setdefault(eyes, []).append(rows)
    return found


def _measure_smaller(
    network: Network,
    calibration: Mapping[str, AnswerCalibration | PairCalibration],
    made: Mapping[str, Derived],
    folder: Path,
    report: Progress | None,
    notes: list[str],
    refused: list[str],
) -> Iterator[Smaller]:
    """What every answer but a vector is worth by eye distance on test splits, also those that have nothing to calibrate."""
    asked = tuple(task for task in answered_by_sets(network, made) if not isinstance(task, Embedding))
    for dataset, by_size in _over_sets(asked, made, folder, "test", notes, lambda dataset, root: look_small(network, asked, dataset, root, folder, "test", report)):
        for eyes, seen in by_size.items():
            refused += seen.refused
            for task in asked:
                said = calibration.get(task.name)
                assert not isinstance(said, PairCalibration)
                measured = measure_smaller(task, said, dataset, seen, eyes) if len(seen.rows.get(task.name, [])) >= FEWEST else None
                if measured is not None:
                    yield measured


def _over_sets(
    asked: Sequence[Task], made: Mapping[str, Derived], folder: Path, split: Split, notes: list[str], looking: Callable[[Dataset, Root], Looked]
) -> Iterator[tuple[Dataset, Looked]]:
    """Each set at hand that has the split, and what was seen of it; where nothing could be, a note."""
    for dataset, root in sets_at_hand(asked, folder, None, made):
        if split in dataset.splits:
            try:
                seen = looking(dataset, root)
            except (InputError, RequestError) as error:
                notes.append(str(error))
            else:
                yield dataset, seen


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
