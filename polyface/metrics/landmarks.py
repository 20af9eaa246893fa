"""Scores of facial points (papers.md D7).

points float [N, P, 2] in pixels; an error is a share of the face's own size (0.05: five per cent).

A face that was not found is a miss: its error is infinite, so it fails at every alpha and adds nothing to the AUC. No faces: NaN.
"""

from collections.abc import Mapping

import numpy as np

from polyface.errors import InputError
from polyface.metrics.checks import require_finite, require_rows

OUTER_CORNERS = {68: ((36,), (45,)), 98: ((60,), (72,)), 29: ((8,), (9,))}
"""Of 300-W, WFLW and COFW, from 0 (HRNet-Facial-Landmark-Detection, lib/core/evaluation.py)."""

PUPILS = {5: ((0,), (1,)), 68: (tuple(range(36, 42)), tuple(range(42, 48))), 98: ((96,), (97,))}
MISS = 1.0  # [ours] what a miss costs in the mean over all faces: every point off by one whole normaliser


def outer_eye_distance(points: np.ndarray) -> np.ndarray:
    """Inter-ocular: between the outer eye corners of 68, 98 or 29 points. [N]."""
    return _between(points, OUTER_CORNERS, "outer eye corners")


def pupil_distance(points: np.ndarray) -> np.ndarray:
    """Inter-pupil: between the pupils of five or 98 points, or the centroids of 36-41 and 42-47 of 68. [N]."""
    return _between(points, PUPILS, "pupils")


def eye_distance(points: np.ndarray) -> np.ndarray:
    """Inter-pupil of five points (MTFL): between the first two. [N]."""
    return _distance(points[:, 0], points[:, 1])


def box_size(boxes: np.ndarray) -> np.ndarray:
    """sqrt(width x height) of boxes [N, 4] (x0, y0, x1, y1). [N]."""
    return np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def box_diagonal(boxes: np.ndarray) -> np.ndarray:
    """The diagonal of boxes [N, 4] (x0, y0, x1, y1). [N]."""
    return _distance(boxes[:, :2], boxes[:, 2:])


def nme(truth: np.ndarray, predicted: np.ndarray, normaliser: np.ndarray, missed: np.ndarray | None = None, seen: np.ndarray | None = None) -> np.ndarray:
    """Mean distance of the points of each face over its normaliser [N]; infinite where missed (bool [N], whose predictions are not read).

    seen bool [N, P]: points without a label are left out (their truth is not read); a face needs at least one. Raises InputError naming the
    row.
    """
    missed = np.zeros(len(truth), bool) if missed is None else np.asarray(missed, bool)
    seen = np.ones(truth.shape[:2], bool) if seen is None else np.asarray(seen, bool)
    require_rows(truth=truth, predicted=predicted, normaliser=normaliser, missed=missed, seen=seen)
    truth = np.where(seen[..., None], truth, 0.0)  # a point without a label is then off by 0
    predicted = np.where(seen[..., None] & ~missed[:, None, None], predicted, 0.0)
    require_finite(truth=truth, predicted=predicted, normaliser=normaliser)
    for problem, bad in (("has no size to divide by", np.asarray(normaliser) <= 0), ("has no labelled point", ~seen.any(axis=1))):
        if bad.any():
            raise InputError(f"face {int(np.argmax(bad))} {problem}")
    errors = _distance(truth, predicted).sum(axis=1) / seen.sum(axis=1) / normaliser
    return np.where(missed, np.inf, errors)


def failure_rate(errors: np.ndarray, alpha: float) -> float:
    """FR@alpha: the share of faces that fail."""
    return _mean(failures(errors, alpha))


def auc(errors: np.ndarray, alpha: float) -> float:
    """AUC@alpha: the area under the cumulative error curve up to alpha."""
    return _mean(areas(errors, alpha))


def failures(errors: np.ndarray, alpha: float) -> np.ndarray:
    """Whether each face fails, bool [N]: its error is above alpha."""
    return _checked(errors) > alpha


def areas(errors: np.ndarray, alpha: float) -> np.ndarray:
    """What each face adds to the AUC [N], exactly: max(0, 1 - NME / alpha), whose mean is the area. No grid, no Simpson's rule."""
    return np.maximum(0.0, 1.0 - _checked(errors) / alpha)


def _between(points: np.ndarray, places: Mapping[int, tuple[tuple[int, ...], tuple[int, ...]]], what: str) -> np.ndarray:
    if points.shape[1] not in places:
        raise InputError(f"it is not known which of {points.shape[1]} points are the {what}; they are of {', '.join(map(str, places))}")
    left, right = places[points.shape[1]]
    return _distance(points[:, left].mean(axis=1), points[:, right].mean(axis=1))


def _mean(each: np.ndarray) -> float:
    return float(each.mean()) if len(each) else np.nan


def _checked(errors: np.ndarray) -> np.ndarray:
    errors = np.asarray(errors, np.float64)
    bad = np.isnan(errors) | (errors < 0)
    if bad.any():
        raise InputError(f"errors: row {int(np.argmax(bad))} is {errors[np.argmax(bad)]}")
    return errors


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64), axis=-1)
