"""Scores of class maps (papers.md D9): confusion pooled over the pixels of a whole set, then F1 per class, then the mean without background.

A class in neither truth nor prediction has no score: NaN, left out of the mean, listed. In words: truth holds a data set's words, the
prediction is brought to the same words, and "classes" below are words.
"""

from collections.abc import Sequence

import numpy as np

from polyface.errors import InputError
from polyface.metrics.classification import PerClass, f1_of_confusion, mean_over_present

UNLABELLED = 255


def region_confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int64 [C, C], row truth, column prediction, of one class map or many, uint8 [...].

    Truth 255 is ignored. Sum over pictures to pool.
    """
    if truth.shape != predicted.shape:
        raise InputError(f"a mask of {truth.shape} for a prediction of {predicted.shape}")
    labelled = truth != UNLABELLED
    truth, predicted = truth[labelled].astype(np.int64), predicted[labelled].astype(np.int64)
    for name, values in (("mask", truth), ("prediction", predicted)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise InputError(f"{name} holds class {int(values.max() if values.max() >= classes else values.min())}, there are {classes}")
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def region_f1(counts: np.ndarray, background: int | None = 0) -> PerClass:
    """F1 of each class of pooled counts [C, C], and its mean without background. Positives of a class, in pixels: counts.sum(axis=1)."""
    return mean_over_present(f1_of_confusion(counts), () if background is None else (background,))


def merged_f1(counts: np.ndarray, parts: Sequence[Sequence[int]]) -> float:
    """One F1 for several parts: each part is the union of its classes (confusion inside it is free), and hits and errors are added up over
    the parts.

    Helen's "overall" in each of its readings (papers.md B5): one class a part is "pooled"; merged eyes, brows, nose, mouth a part each is
    "union"; all of them a single part is what the public evaluator prints (insightface, parsing/dml_csr/utils/miou.py). NaN where nothing occurs.
    """
    hits = sum(counts[np.ix_(part, part)].sum() for part in parts)
    either = sum(counts[list(part)].sum() + counts[:, list(part)].sum() for part in parts)
    return float(2 * hits / either) if either else np.nan
