"""Facial points, as 300-W, WFLW, COFW and MTFL score them (papers.md D7, D8): errors over every size of a face that is in use, each named."""

from collections.abc import Callable, Sequence

import numpy as np

from polyface.errors import InputError
from polyface.evaluation.protocols.result import Curve, Result, curve_of_errors
from polyface.metrics import landmarks
from polyface.metrics.intervals import Score, mean_score

ALPHAS = (0.08, 0.1)
OF_POINTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"inter_ocular": landmarks.outer_eye_distance, "inter_pupil": landmarks.pupil_distance}
OF_BOXES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"box": landmarks.box_size, "diagonal": landmarks.box_diagonal}
NORMALISERS = (*OF_POINTS, *OF_BOXES)


def score_points(
    truth: np.ndarray,
    predicted: np.ndarray,
    people: np.ndarray,
    boxes: np.ndarray | None = None,
    missed: np.ndarray | None = None,
    normalisers: Sequence[str] = NORMALISERS,
    alphas: Sequence[float] = ALPHAS,
) -> Result:
    """truth, predicted float [N, P, 2] in pixels, truth NaN where a point is not labelled; people [N]: whose face it is, any ids; boxes [N, 4] (x0, y0, x1, y1), in
    pixels; missed bool [N]: faces that were not found, whose predictions are not read.

    A normaliser that these arrays do not allow, or that one of the faces has no size by, gets no number, and says why. Raises InputError naming the first bad row.
    """
    seen = ~np.isnan(truth).any(axis=2)
    missed = np.zeros(len(truth), bool) if missed is None else np.asarray(missed, bool)
    scores: dict[str, Score] = {}
    reasons: dict[str, str] = {}
    notes: dict[str, str] = {}
    curves: dict[str, Curve] = {}
    for name in normalisers:
        size = _size(name, truth, boxes)
        without = np.zeros(0, int) if isinstance(size, str) else _faces_without(size)
        if isinstance(size, str) or len(without):
            scores[f"nme_{name}"] = Score(np.nan, np.nan, np.nan, 0)
            reasons[f"nme_{name}"] = size if isinstance(size, str) else f"{len(without)} of {len(truth)} faces: {_why(name, float(size[without[0]]))}"
            continue
        errors = landmarks.nme(truth, predicted, size, missed, seen)
        curves[name] = curve_of_errors(errors, "of the size of the face")
        capped = np.where(np.isfinite(errors), errors, landmarks.MISS)
        scores[f"nme_{name}"] = mean_score(capped, people)
        if missed.any():
            notes[f"nme_{name}"] = f"a face that was not found as {landmarks.MISS:.0%}"
            scores[f"nme_found_{name}"] = mean_score(errors[~missed], people[~missed])
            reasons |= {f"nme_found_{name}": "no face was found"} if missed.all() else {}
        for alpha in alphas:
            scores[f"fr_{name}@{alpha:g}"] = mean_score(landmarks.failures(errors, alpha), people)
            scores[f"auc_{name}@{alpha:g}"] = mean_score(landmarks.areas(errors, alpha), people)
    counts = {"faces": len(truth), "people": len(np.unique(people)), "points": truth.shape[1], "not_found": int(missed.sum()), "points_unlabelled": int((~seen).sum())}
    return Result("landmarks", scores, counts, reasons, notes, curves)


def sizeless_face(name: str, truth: np.ndarray, boxes: np.ndarray | None) -> tuple[int, str] | None:
    """The first face that has no size by a normaliser, and why; None where all have one, or the arrays do not allow the normaliser at all."""
    size = _size(name, truth, boxes)
    without = np.zeros(0, int) if isinstance(size, str) else _faces_without(size)
    return (int(without[0]), _why(name, float(size[without[0]]))) if len(without) else None


def _size(name: str, truth: np.ndarray, boxes: np.ndarray | None) -> np.ndarray | str:
    """The size of each face [N], or why it is not known."""
    if name in OF_BOXES:
        return "the targets have no `boxes`" if boxes is None else OF_BOXES[name](boxes)
    try:
        return OF_POINTS[name](truth)
    except InputError as error:
        return str(error)


def _faces_without(size: np.ndarray) -> np.ndarray:
    return np.flatnonzero(~(size > 0) | np.isinf(size))


def _why(name: str, size: float) -> str:
    return f"no {name.replace('_', '-')} size, " + ("the points that it is measured by are not labelled" if np.isnan(size) else f"it is {size:g}")
