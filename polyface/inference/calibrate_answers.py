"""One question of a network: its temperature and the level of its sets of answers, and what they are worth. What they mean is said at `calibrate.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from polyface.datasets.base import Dataset, Meaning, Record, Split
from polyface.evaluation.evaluate import Seen
from polyface.files import sha256_of_lines
from polyface.inference.card import AnswerCalibration, AtSize, FittedOn, Measured, Smaller, at_size
from polyface.labels import Ranges, Words, surprise, word_probabilities
from polyface.metrics.calibration import (
    COVERAGE,
    brier_score,
    conformal_level,
    expected_calibration_error,
    fit_temperature,
    interval_of_calibration_error,
    mass_about_median,
    mass_before,
    squared_distances,
    to_be_met,
)
from polyface.metrics.groups import Grouping, Groups, groups_of_faces, mean_by_group
from polyface.metrics.intervals import groups_of, interval_of_mean
from polyface.tasks import scoring
from polyface.tasks.kinds import Category, Scale, Task, Traits, sigmoid, softmax

ENOUGH = 100
"""A data set with fewer rows has no say, and a group with fewer is not called the worst."""

TENS = 10

LARGE = 48
"""Pixels between the eyes from which on a face is answered as validation pictures are as they are; half as many again as the largest to which they are shrunk."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Answers of a network to one task, beside the labels of a split that has some: logits [N, ...]; truth [N, ...] as `scoring.truth_of` gives it; eyes [N]: how far
    apart they are in the picture that was shown, in pixels."""

    dataset: str
    split: Split
    meaning: Meaning = field(repr=False)
    logits: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    records: tuple[Record, ...] = field(repr=False)
    eyes: np.ndarray = field(repr=False)


def rows_of(task: Task, dataset: Dataset, split: Split, seen: Seen) -> Rows | None:
    """What was seen of a task, less the rows whose label is a tie of votes, or says nothing; None where nothing is left."""
    if not seen.rows.get(task.name):
        return None
    logits, truth = (np.stack([row[what] for row in seen.rows[task.name]]) for what in ("output", "truth"))
    rows = _told(task, Rows(dataset.name, split, dataset.answers[task.name], logits, truth, tuple(seen.records[task.name]), np.array(seen.eyes[task.name])))
    return rows if len(rows.logits) else None


def fit_answers(task: Task, sets: Sequence[Rows]) -> AnswerCalibration:
    """The temperature of a task, and the level of its sets of answers where it has such."""
    temperature = _temperature(task, sets)
    level = _level(task, sets, temperature)
    return AnswerCalibration(temperature=temperature, level=level, coverage=None if level is None else COVERAGE, fitted=_fitted_on(sets))


def fit_sizes(task: Task, said: AnswerCalibration, by_size: Mapping[int, Sequence[Rows]]) -> AnswerCalibration:
    """A calibration with a temperature and a level for each size of face, by how far apart the eyes are.

    A size serves the faces up to the next larger one: those are seen at least as well, so its sets hold the truth at least as often. Nor is any size hotter, or its level
    higher, than a smaller one, whatever chance or the absence of a data set (few pictures of FER2013 are that large) would have it: of the same logits, a smaller face
    never has the smaller set of words, nor the bolder probability; intervals widen with both, but in contrived distributions.
    """
    sizes: list[AtSize] = []
    temperature, level, below = said.temperature, said.level, LARGE
    for eyes in sorted((eyes for eyes, sets in by_size.items() if sets), reverse=True):
        temperature = max(temperature, _temperature(task, by_size[eyes]))
        if level is not None:
            level = max(level, _level(task, by_size[eyes], temperature) or 0.0)
        sizes.insert(0, AtSize(eyes=eyes, below=below, temperature=temperature, level=level, fitted=_fitted_on(by_size[eyes])))
        below = eyes
    return msgspec.structs.replace(said, sizes=tuple(sizes))


def measure_answers(task: Task, said: AnswerCalibration, rows: Rows, network: str) -> tuple[Measured, dict[str, Grouping]]:
    """What a calibration is worth on rows that it was not fitted on; and how often its sets of answers, if any, held the truth in each group, by kind of group."""
    scores = []
    people = groups_of([record.subject for record in rows.records])
    temperatures, levels = _by_face(said, rows)
    for temperature in (np.ones_like(temperatures), temperatures):
        shares, truth, row = _in_words(task, rows, temperature)
        scores.append((expected_calibration_error(shares.max(1), shares.argmax(1) == truth), brier_score(shares, truth)))
    (ece, brier), (ece_after, brier_after) = scores
    ece_low, ece_high = interval_of_calibration_error(shares.max(1), shares.argmax(1) == truth, people[row]).ends
    brier_low, brier_high = interval_of_mean(squared_distances(shares, truth), people[row]).ends
    sets: dict[str, Any] = {}
    groups: dict[str, Grouping] = {}
    if said.level is not None:
        held, size = _held(task, rows, temperatures, levels)
        groups = mean_by_group(held, people, _groups(task, rows))
        worst, rate, number = _worst(groups)
        sets = {"coverage": float(held.mean()), "size": float(size.mean()), "several": float((_possible(task, rows).sum(1) > 1).mean())}
        if worst:
            sets |= {"worst": worst, "worst_coverage": rate, "worst_n": number}
    measured = Measured(
        dataset=rows.dataset, split=rows.split, network=network, n=len(rows.logits), ece=(ece, ece_after), ece_low=ece_low, ece_high=ece_high,
        brier=(brier, brier_after), brier_low=brier_low, brier_high=brier_high, **sets,
    )  # fmt: skip
    return measured, groups


def measure_smaller(task: Task, said: AnswerCalibration | None, dataset: Dataset, seen: Seen, eyes: int) -> Smaller | None:
    """What answers are worth, as `analyze` gives them, on test faces that were shown with their eyes so many pixels apart; None where nothing can be said.
    Words for angles end where their set says, not where its training faces tell them apart best, as in `evaluate`."""
    rows, answered = seen.rows.get(task.name, []), {}
    if said is not None:
        temperature = at_size(said, eyes).temperature
        rows = [{**row, "output": row["output"] / temperature} for row in rows]
        told = rows_of(task, dataset, "test", seen)
        if told is not None and said.level is not None:
            held, size = _held(task, told, *_by_face(said, told))
            answered = {"coverage": float(held.mean()), "size": float(size.mean())}
    scores = scoring.scores_of(task, dataset.answers[task.name], rows, [record.subject for record in seen.records.get(task.name, [])])
    if not scores or not np.isfinite(scores[0].value):
        return None
    main = scores[0]
    low, high = (float(end) if np.isfinite(end) else None for end in (main.low, main.high))
    return Smaller(task=task.name, dataset=dataset.name, eyes=eyes, metric=main.metric, value=float(main.value), low=low, high=high, n=main.n, **answered)


# Fits


def _temperature(task: Task, sets: Sequence[Rows]) -> float:
    def loss(temperature: float) -> float:
        each = np.stack([_losses(task, rows, temperature) for rows in sets])
        return float(np.nanmean(each[:, ~np.isnan(each).all(0)], axis=0).mean())

    return fit_temperature(loss)


def _level(task: Task, sets: Sequence[Rows], temperature: float) -> float | None:
    if isinstance(task, Traits):
        return None
    return conformal_level([(_met(task, rows, temperature), _possible(task, rows).sum(1) == 1) for rows in sets])


def _fitted_on(sets: Sequence[Rows]) -> tuple[FittedOn, ...]:
    return tuple(FittedOn(dataset=rows.dataset, split=rows.split, n=len(rows.logits), sha256=sha256_of_lines([record.key for record in rows.records])) for rows in sets)


def _by_face(said: AnswerCalibration, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """The temperature [N, 1] and the level [N] that each face is answered with."""
    each = [at_size(said, eyes) for eyes in rows.eyes]
    return np.array([[at.temperature] for at in each]), np.array([np.nan if at.level is None else at.level for at in each])


def _held(task: Task, rows: Rows, temperatures: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the set of answers meets each label, bool [N], and of how many answers it is [N]."""
    return _met(task, rows, temperatures) <= levels, (_masses(task, rows, temperatures) <= levels[:, None]).sum(1)


# Rows of labels and answers


def _told(task: Task, rows: Rows) -> Rows:
    told: np.ndarray
    match task:
        case Category():
            told = rows.truth >= 0
        case Scale():
            told = (rows.truth[:, 0] > 0) | (rows.truth[:, 1] < task.top)
        case _:
            told = np.any(rows.truth >= 0, axis=1)
    records = tuple(record for record, good in zip(rows.records, told, strict=True) if good)
    return replace(rows, logits=rows.logits[told], truth=rows.truth[told], records=records, eyes=rows.eyes[told])


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


def _masses(task: Task, rows: Rows, temperature: float | np.ndarray) -> np.ndarray:
    """Over all answers, as a user's face has them: a word that the set does not know is still an answer."""
    shares = softmax(rows.logits / temperature)
    return mass_about_median(shares) if isinstance(task, Scale) else mass_before(shares)


def _met(task: Task, rows: Rows, temperature: float | np.ndarray) -> np.ndarray:
    return to_be_met(_masses(task, rows, temperature), _possible(task, rows))


def _in_words(task: Task, rows: Rows, temperature: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities [M, W] of the set's words, which of them is true, int [M], and of which row they are, int [M]. Traits: no or yes, for each that is known."""
    if isinstance(task, Traits):
        known = rows.truth >= 0
        yes = sigmoid((rows.logits / temperature)[known])
        return np.stack([1 - yes, yes], 1), rows.truth[known].astype(np.int64), known.nonzero()[0]
    shares = softmax(rows.logits / temperature)
    if isinstance(rows.meaning, Words):
        return word_probabilities(shares, rows.meaning), rows.truth, np.arange(len(shares))
    assert isinstance(task, Scale)
    bounds, word = _ranges(task, rows)
    years = np.arange(task.top + 1)
    table = (years >= bounds[:, :1]) & (years <= bounds[:, 1:])
    return shares[word >= 0] @ table.T, word[word >= 0], (word >= 0).nonzero()[0]


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
