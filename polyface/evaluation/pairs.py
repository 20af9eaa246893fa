"""Embeddings of faces beside a list of pairs -> scores (papers.md D1)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from polyface.datasets.base import Pairs
from polyface.evaluation.protocols.verification import VerificationResult, accuracy_gap, score_pairs
from polyface.metrics import intervals
from polyface.metrics.intervals import Interval
from polyface.tasks.kinds import Embedding
from polyface.tasks.scoring import Score


@dataclass(frozen=True)
class PairsFound:
    """scores: those of a table. left, right int64 [N]: rows of the pairs that are whole; correct bool [N]: which of them the flip's embeddings answer rightly, by LFW's
    convention, None for a list of one fold."""

    scores: list[Score]
    left: np.ndarray = field(repr=False)
    right: np.ndarray = field(repr=False)
    correct: np.ndarray | None = field(repr=False)


def pair_scores(task: Embedding, vectors: np.ndarray, mirrored: np.ndarray, keys: Sequence[str], subjects: Sequence[str | None], pairs: Pairs) -> PairsFound:
    """vectors, mirrored float [N, D]: embeddings of crops and of the mirrored crops; keys and subjects of these rows.

    First by the one crop, as all other tasks are scored; then, named `flip`, by the sum of both embeddings, which is what the field reports. Pairs of which a face is
    missing here are left out and counted.
    """
    left, right, there = _rows(keys, pairs)
    if not there.any():
        return PairsFound([], left[there], right[there], None)
    people = None if None in subjects else intervals.groups_of(subjects)
    note = "" if there.all() else f"{(~there).sum()} of {len(there)} pairs left out, a face of each is missing"
    scores, correct = [], None
    for end, embeddings in (("", vectors), (", flip", np.asarray(vectors, np.float64) + mirrored)):
        result = score_pairs(embeddings, left[there], right[there], pairs.same[there], pairs.fold[there], people)
        scores += _of_result(task.name, result, int(there.sum()), end, note)
        correct = None if result.lfw is None else result.lfw.correct
    return PairsFound(scores, left[there], right[there], correct)


def pair_gap(first: np.ndarray, second: np.ndarray, keys: Sequence[str], subjects: Sequence[str | None], pairs: Pairs) -> intervals.Score | None:
    """How much more accurate embeddings [N, D] are than others [N, E] of the same rows, on the same pairs; None where no pair is there or the list has one fold."""
    left, right, there = _rows(keys, pairs)
    if len(np.unique(pairs.fold[there])) < 2:
        return None
    people = None if None in subjects else intervals.groups_of(subjects)
    return accuracy_gap(first, second, left[there], right[there], pairs.same[there], pairs.fold[there], people)


def _rows(keys: Sequence[str], pairs: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of both sides of the pairs, int64 [P], -1 for a face that is missing; and which pairs are whole."""
    place = {key: row for row, key in enumerate(keys)}
    left, right = (np.array([place.get(key, -1) for key in side], np.int64) for side in (pairs.left, pairs.right))
    return left, right, (left >= 0) & (right >= 0)


def _of_result(task: str, result: VerificationResult, n: int, end: str, note: str) -> list[Score]:
    def score(metric: str, value: float, interval: Interval, chance: float, constant: float | None, said: str = "") -> Score:
        return Score(task, f"{metric}{end}", value, interval.low, interval.high, n, chance, constant, "; ".join(part for part in (note, said) if part))

    scores = []
    if result.lfw is not None and result.insightface is not None:
        blind, unknown = result.accuracy.chance, Interval(np.nan, np.nan)
        folds = len(result.lfw.accuracies)
        error = f"standard error over {folds} folds {result.lfw.standard_error:.4f}"
        scores.append(score(f"{folds}-fold accuracy", result.accuracy.value, _interval(result.accuracy), 0.5, blind, error))
        spread = f"population deviation over {folds} folds {result.insightface.population_deviation:.4f}"
        scores.append(score(f"{folds}-fold accuracy, insightface", result.insightface.mean, unknown, 0.5, blind, spread))
    scores.append(score("AUC", result.auc.value, _interval(result.auc), 0.5, 0.5))
    scores.append(score("EER", result.eer.value, _interval(result.eer), 0.5, 0.5))
    for tar, interval in result.tar:
        if tar.point is not None:
            reached = f"FAR {tar.point.far:.4g} at cosine {tar.point.threshold:.4f}"
            scores.append(score(f"TAR@FAR={tar.far:g}", tar.point.tar, interval, tar.far, 0.0, reached))
    return scores


def _interval(score: intervals.Score) -> Interval:
    return Interval(score.low, score.high)
