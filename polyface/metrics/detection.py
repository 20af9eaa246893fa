"""Scores of face detectors: average precision as WIDER FACE counts it, and how far five points are off."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyface.metrics.checks import require_finite, require_rows

OVERLAP = 0.5


@dataclass(frozen=True)
class Judgement:
    """Of one picture: boxes [n, 4] and scores [n] that were found; the labelled boxes [m, 4], and which of them count, bool [m]. The others are no misses, and finds of
    them neither right nor wrong."""

    boxes: np.ndarray
    scores: np.ndarray
    truth: np.ndarray
    counts: np.ndarray


def average_precision(pictures: Sequence[Judgement], overlap: float = OVERLAP) -> float:
    """The area under precision over recall of all pictures' finds, precision being the best at that recall or above (the evaluation code of Yang et al. 2016, without its
    thousand thresholds); finds of one score come together. A find is right where the labelled face it overlaps most, by `overlap` or more, was not found by a surer one;
    NaN where no face counts.
    """
    scores, right = [], []
    for picture in pictures:
        require_rows(boxes=picture.boxes, scores=picture.scores)
        require_finite(boxes=picture.boxes, scores=picture.scores)
        judged = judge(picture, overlap)
        known = ~np.isnan(judged)
        scores.append(np.asarray(picture.scores)[known])
        right.append(judged[known])
    faces = sum(int(np.sum(picture.counts)) for picture in pictures)
    if not faces:
        return float("nan")
    order = np.argsort(-np.concatenate(scores), kind="stable")
    last = np.flatnonzero(np.append(np.diff(np.concatenate(scores)[order]), -1.0)[: len(order)])
    hits = np.cumsum(np.concatenate(right)[order])[last]
    precision = np.append(hits / (last + 1), 0.0)
    recall = np.append(hits / faces, 1.0)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * best).sum())


def judge(picture: Judgement, overlap: float = OVERLAP) -> np.ndarray:
    """Of each find of a picture 1 where it is right, 0 where it is not, NaN where it does not matter: float [n]."""
    found = np.full(len(picture.scores), 0.0)
    if not len(picture.truth) or not len(found):
        return found
    overlaps = overlaps_between(picture.boxes, picture.truth)
    taken = np.zeros(len(picture.truth), bool)
    for row in np.argsort(-np.asarray(picture.scores), kind="stable"):
        face = int(overlaps[row].argmax())
        if overlaps[row, face] >= overlap:
            found[row] = np.nan if not picture.counts[face] else float(not taken[face])
            taken[face] = True
    return found


def overlaps_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of each of boxes [n, 4] with each of boxes [m, 4]: [n, m]."""
    first, second = np.asarray(first, float).reshape(-1, 1, 4), np.asarray(second, float).reshape(1, -1, 4)
    shared = (np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])).clip(0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clip(0).prod(-1) for boxes in (first, second)]
    return shared / np.maximum(areas[0] + areas[1] - shared, 1e-12)


def five_point_errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The mean distance of five points [n, 5, 2] from the true ones, in distances between the true eyes: [n]."""
    require_rows(found=found, truth=truth)
    eyes = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=-1)
    return np.linalg.norm(found - truth, axis=-1).mean(1) / np.maximum(eyes, 1e-9)
