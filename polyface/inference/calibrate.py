"""Answers that know what they do not know: temperatures and sets of answers, fitted on validation splits and measured on test splits, for a model's card.

Fitted on the same crops and rows that `evaluate` scores. Per task, all data sets counting equally, however large (and of traits, each trait):

- the temperature with the smallest mean of -log P(S | U), the project's one formula, so that labels of any grain fit it;
- the level: the smallest set of answers, of the model's own vocabulary, that holds the truth nine times in ten. What that means where a label leaves several answers
  possible (UTKFace's "Asian", FairFace's "20-29") is said at `metrics/calibration.py`, conformal_level: it is met where the set of answers holds one of them.

Expected calibration error and Brier score are in the set's words, as its accuracy is; years, where no words are stated, in tens. Questions whose answer has neither a
probability nor an interval (points, regions, angles) have nothing to calibrate. Who somebody is: `calibrate_pairs.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np

from polyface import datasets, runtime
from polyface.datasets.base import Meaning, Record, Split
from polyface.errors import InputError, RequestError
from polyface.evaluation.evaluate import OURS, Network, Progress, answered_by_sets, look, sets_at_hand
from polyface.files import sha256_of_lines
from polyface.inference import engine as engines
from polyface.inference.calibrate_pairs import calibrate_pairs
from polyface.inference.card import AnswerCalibration, FittedOn, Measured, PairCalibration, Threshold
from polyface.inference.engine import Engine
from polyface.labels import Ranges, Words, surprise, word_probabilities
from polyface.metrics.calibration import COVERAGE, brier_score, conformal_level, expected_calibration_error, fit_temperature, mass_about_median, mass_before, to_be_met
from polyface.metrics.groups import Grouping, Groups, groups_of_faces, mean_by_group
from polyface.metrics.intervals import groups_of
from polyface.tasks.derive import Derived
from polyface.tasks.kinds import Category, Embedding, Scale, Task, Traits, sigmoid, softmax

ENOUGH = 100
"""A data set with fewer rows has no say, and a group with fewer is not called the worst."""

TENS = 10


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
    coverage: tuple[Coverage, ...] = ()
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def to_json(self) -> str:
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"

    def answer_rows(self) -> list[dict[str, object]]:
        """A row for each task, test split and network, for a table."""
        return [_row_of(task, said, part) for task, said in self.calibration.items() if isinstance(said, AnswerCalibration) for part in said.measured]

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
    fitting = _answers(network, asked, made, folder, "validation", report, notes, refused)
    calibration: dict[str, AnswerCalibration | PairCalibration] = {}
    for task in asked:
        enough = [rows for rows in fitting.get(task.name, []) if len(rows.logits) >= ENOUGH]
        notes += [f"{task.name}: {rows.dataset} has too few rows of validation, {len(rows.logits)}" for rows in fitting.get(task.name, []) if rows not in enough]
        if enough:
            calibration[task.name] = fit_answers(task, enough)
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
        raise RequestError(f"{folder}: nothing to calibrate on: {'; '.join(notes)}")
    return Calibrated(calibration, thresholds, tuple(coverage), tuple(dict.fromkeys(notes)), tuple(dict.fromkeys(refused)))


def networks_of(model: Path) -> dict[str, Engine]:
    """The networks of a model directory by file name, the one that answers by default first. Raises RequestError for what is no model directory."""
    if not model.is_dir():
        raise RequestError(f"{model}: what is found is written into a model directory, and this is none")
    first = engines.load(model)
    names = [name for name in engines.NETWORKS if (model / name).is_file()]
    return {names[0]: first, **{name: engines.load(model / name) for name in names[1:]}}


@dataclass(frozen=True, eq=False)
class Rows:
    """Answers of a network to one task, beside the labels of a split that has some: logits [N, ...]; truth [N, ...] as `scoring.truth_of` gives it."""

    dataset: str
    split: Split
    meaning: Meaning = field(repr=False)
    logits: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    records: tuple[Record, ...] = field(repr=False)


def fit_answers(task: Task, sets: Sequence[Rows]) -> AnswerCalibration:
    """The temperature of a task, and the level of its sets of answers where it has such."""

    def loss(temperature: float) -> float:
        each = np.stack([_losses(task, rows, temperature) for rows in sets])
        return float(np.nanmean(each[:, ~np.isnan(each).all(0)], axis=0).mean())

    temperature = fit_temperature(loss)
    level = None
    if not isinstance(task, Traits):
        level = conformal_level([(_met(task, rows, temperature), _possible(task, rows).sum(1) == 1) for rows in sets])
    fitted = tuple(FittedOn(dataset=rows.dataset, split=rows.split, n=len(rows.logits), sha256=sha256_of_lines([record.key for record in rows.records])) for rows in sets)
    return AnswerCalibration(temperature=temperature, level=level, coverage=None if level is None else COVERAGE, fitted=fitted)


def measure_answers(task: Task, said: AnswerCalibration, rows: Rows, network: str) -> tuple[Measured, dict[str, Grouping]]:
    """What a calibration is worth on rows that it was not fitted on; and how often its sets of answers, if any, held the truth in each group, by kind of group."""
    scores = []
    for temperature in (1.0, said.temperature):
        shares, truth = _in_words(task, rows, temperature)
        scores.append((expected_calibration_error(shares.max(1), shares.argmax(1) == truth), brier_score(shares, truth)))
    (ece, brier), (ece_after, brier_after) = scores
    sets: dict[str, object] = {}
    groups: dict[str, Grouping] = {}
    if said.level is not None:
        held = _met(task, rows, said.temperature) <= said.level
        size = (_masses(task, rows, said.temperature) <= said.level).sum(1)
        groups = mean_by_group(held, groups_of([record.subject for record in rows.records]), _groups(task, rows))
        worst, rate, number = _worst(groups)
        sets = {"coverage": float(held.mean()), "size": float(size.mean()), "several": float((_possible(task, rows).sum(1) > 1).mean())}
        if worst:
            sets |= {"worst": worst, "worst_coverage": rate, "worst_n": number}
    measured = Measured(dataset=rows.dataset, split=rows.split, network=network, n=len(rows.logits), ece=(ece, ece_after), brier=(brier, brier_after), **sets)  # type: ignore[arg-type]
    return measured, groups


# Rows of labels and answers


def _answers(
    network: Network, asked: Sequence[Task], made: Mapping[str, Derived], folder: Path, split: Split, report: Progress | None, notes: list[str], refused: list[str]
) -> dict[str, list[Rows]]:
    """By task, the rows of each set at hand that has the split. Fills notes and refused."""
    found: dict[str, list[Rows]] = {}
    for dataset, root in sets_at_hand(asked, folder, None, made):
        if split not in dataset.splits:
            continue
        try:
            seen = look(network, asked, dataset, root, folder, split, report)
        except (InputError, RequestError) as error:
            notes.append(str(error))
            continue
        refused += seen.refused
        for task in asked:
            if seen.rows.get(task.name):
                logits, truth = (np.stack([row[what] for row in seen.rows[task.name]]) for what in ("output", "truth"))
                rows = _told(task, Rows(dataset.name, split, dataset.answers[task.name], logits, truth, tuple(seen.records[task.name])))
                if len(rows.logits):
                    found.setdefault(task.name, []).append(rows)
    return found


def _told(task: Task, rows: Rows) -> Rows:
    """Without the rows whose label is a tie of votes, or says nothing."""
    told: np.ndarray
    match task:
        case Category():
            told = rows.truth >= 0
        case Scale():
            told = (rows.truth[:, 0] > 0) | (rows.truth[:, 1] < task.top)
        case _:
            told = np.any(rows.truth >= 0, axis=1)
    records = tuple(record for record, good in zip(rows.records, told, strict=True) if good)
    return replace(rows, logits=rows.logits[told], truth=rows.truth[told], records=records)


def _possible(task: Task, rows: Rows) -> np.ndarray:
    """The answers that each label leaves possible, bool [N, C]."""
    if isinstance(rows.meaning, Words):
        return rows.meaning.table[rows.truth]
    assert isinstance(task, Scale)
    years = np.arange(task.top + 1)
    return (years >= rows.truth[:, :1]) & (years <= rows.truth[:, 1:])


def _losses(task: Task, rows: Rows, temperature: float) -> np.ndarray:
    """The mean loss of the rows, float [1]; of traits that of each, [A], NaN where nobody told: a set that knows three of forty has a say on three."""
    if isinstance(task, Traits):
        known = rows.truth >= 0
        losses = np.logaddexp(0, np.where(rows.truth == 1, -1, 1) * (rows.logits / temperature))
        return np.where(known.any(0), np.where(known, losses, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan)
    possible = _possible(task, rows)
    scope = rows.meaning.scope if isinstance(rows.meaning, Words) else np.ones(possible.shape[1], bool)
    return surprise(rows.logits / temperature, possible, np.broadcast_to(scope, possible.shape)).mean(keepdims=True)


def _masses(task: Task, rows: Rows, temperature: float) -> np.ndarray:
    """Over all answers, as a user's face has them: a word that the set does not know is still an answer."""
    shares = softmax(rows.logits / temperature)
    return mass_about_median(shares) if isinstance(task, Scale) else mass_before(shares)


def _met(task: Task, rows: Rows, temperature: float) -> np.ndarray:
    return to_be_met(_masses(task, rows, temperature), _possible(task, rows))


def _in_words(task: Task, rows: Rows, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [M, W] of the set's words, and which of them is true, int [M]. Traits: no or yes, a row for each that is known."""
    if isinstance(task, Traits):
        known = rows.truth >= 0
        yes = sigmoid(rows.logits[known] / temperature)
        return np.stack([1 - yes, yes], 1), rows.truth[known].astype(np.int64)
    shares = softmax(rows.logits / temperature)
    if isinstance(rows.meaning, Words):
        return word_probabilities(shares, rows.meaning), rows.truth
    assert isinstance(task, Scale)
    bounds, word = _ranges(task, rows)
    years = np.arange(task.top + 1)
    table = (years >= bounds[:, :1]) & (years <= bounds[:, 1:])
    return shares[word >= 0] @ table.T, word[word >= 0]


def _ranges(task: Scale, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """The words for numbers [W, 2], first and last, and the word of each row, -1 for none: those that the set states, or tens."""
    stated = list(rows.meaning.meanings.values()) if isinstance(rows.meaning, Ranges) else []
    bounds = np.array(stated or [(low, low + TENS - 1) for low in range(0, task.top + 1, TENS)], np.float64)
    inside = (rows.truth[:, None] == bounds).all(-1) if stated else (rows.truth[:, :1] >= bounds[:, 0]) & (rows.truth[:, 1:] <= bounds[:, 1])
    return bounds, np.where(inside.any(1), inside.argmax(1), -1)


# What is said of them


def _groups(task: Task, rows: Rows) -> Groups:
    """The groups that each face is in: those that its set states, and that of its own label where the set states none of that kind."""
    if isinstance(rows.meaning, Words):
        own = [rows.meaning.names[word] for word in rows.truth]
    else:
        assert isinstance(task, Scale)
        bounds, word = _ranges(task, rows)
        own = [f"{bounds[at, 0]:.0f}-{bounds[at, 1]:.0f}" if at >= 0 else "" for at in word]
    return groups_of_faces([({task.name: word} if word else {}) | dict(record.groups) for record, word in zip(rows.records, own, strict=True)])


def _worst(groups: Mapping[str, Grouping]) -> tuple[str, float, int]:
    """The group of at least ENOUGH faces whose sets held the truth least often; no name where none is so large."""
    scores = [(score, f"{kind} {group}") for kind, grouping in groups.items() for group, score in grouping.each.items()]
    rates = [(score.value, name, score.n) for score, name in scores if score.n >= ENOUGH and not np.isnan(score.value)]
    rate, name, number = min(rates, default=(np.nan, "", 0))
    return name, rate, number


def _row_of(task: str, said: AnswerCalibration, part: Measured) -> dict[str, object]:
    return {
        "task": task,
        "data set": part.dataset,
        "network": part.network,
        "n": part.n,
        "temperature": said.temperature,
        "ECE": f"{part.ece[0]:.3f} -> {part.ece[1]:.3f}",
        "Brier": f"{part.brier[0]:.3f} -> {part.brier[1]:.3f}",
        "coverage": None if part.coverage is None else f"{part.coverage:.1%}",
        "set size": part.size,
        "several possible": None if part.several is None else f"{part.several:.0%}",
        "worst group": f"{part.worst} {part.worst_coverage:.1%} of {part.worst_n}" if part.worst else None,
    }
