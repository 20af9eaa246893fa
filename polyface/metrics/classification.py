"""Scores of answers with classes.

truth, predicted: integers [N], class numbers; truth -1 is unlabelled and ignored. Nothing labelled: NaN.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from polyface.errors import InputError
from polyface.metrics.checks import require_finite, require_integers, require_rows


@dataclass(frozen=True)
class PerClass:
    """A score per class [C], NaN where the class gives none; `value` is the mean over the others, and `absent` lists the classes that were
    left out for that.
    """

    value: float
    each: np.ndarray
    absent: tuple[int, ...]


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int64 [C, C]: row truth, column prediction."""
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    require_rows(truth=truth, predicted=predicted)
    require_integers("truth", truth, -1, classes)
    known = truth != -1
    require_integers("predicted", np.where(known, predicted, 0), 0, classes)
    truth, predicted = truth[known].astype(np.int64), predicted[known].astype(np.int64)
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def f1_of_confusion(counts: np.ndarray) -> np.ndarray:
    """2TP / (2TP + FP + FN) of each class of counts [C, C]; NaN for a class in neither truth nor prediction."""
    return share(2 * np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1))


def mean_over_present(each: np.ndarray, without: Collection[int] = ()) -> PerClass:
    """The mean of the scores [C] that are not NaN, classes `without` left aside."""
    missing = np.isnan(each)
    counted = ~missing
    counted[list(without)] = False
    return PerClass(float(each[counted].mean()) if counted.any() else np.nan, each, tuple(np.flatnonzero(missing).tolist()))


def coarse_choice(probabilities: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The best word of a data set: the one whose answers together are the most probable. Ties: the lowest.

    probabilities [N, C] over our answers, table bool [W, C]: the answers that each word leaves possible. Returns int64 [N]. A model is
    so never blamed for being finer than the labels. Conditioning on the scope (the union of the words) divides all words by one number and
    changes no choice, so it is left out here.
    """
    table = np.asarray(table, bool)
    if probabilities.shape[-1] != table.shape[1]:
        raise InputError(f"probabilities of {probabilities.shape[-1]} answers, words over {table.shape[1]}")
    if not table.any(axis=1).all():
        raise InputError(f"word {int(np.argmin(table.any(axis=1)))} leaves no answer possible")
    require_finite(probabilities=probabilities)
    return np.argmax(probabilities @ table.T.astype(probabilities.dtype), axis=-1)


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole of each class, NaN where the whole is nothing."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
