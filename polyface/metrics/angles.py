"""Scores of head poses. Angles in degrees, [N] or [N, 3] (yaw, pitch, roll)."""

import numpy as np

from polyface.metrics.checks import require_finite, require_integers, require_rows


def angle_errors(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The shorter way round between two angles, 0 to 180, shaped as they are: 179 and -179 are two degrees apart."""
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    require_rows(truth=truth, predicted=predicted)
    require_finite(truth=truth, predicted=predicted)
    return np.abs((predicted - truth + 180) % 360 - 180)


def words_of_angles(angles: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Which of the T + 1 ranges between ascending thresholds [T] an angle [N] falls in, int64 [N]; one on a threshold is in the upper. A threshold may be infinite."""
    angles, thresholds = np.asarray(angles, np.float64), np.asarray(thresholds, np.float64)
    require_finite(angles=angles, thresholds=np.nan_to_num(thresholds, nan=np.nan, posinf=0.0, neginf=0.0))
    return np.digitize(angles, thresholds).astype(np.int64)


def best_thresholds(angles: np.ndarray, truth: np.ndarray, words: int) -> np.ndarray:
    """The thresholds [words - 1] under which most of `truth` (int [N], words in ascending order of angle) is named right: to be chosen on
    training.

    Exact, by dynamic programming over the observed angles; thresholds lie midway between two of them, or at infinity for a word that is
    better never said.
    """
    angles, truth = np.asarray(angles, np.float64), np.asarray(truth)
    require_rows(angles=angles, truth=truth)
    require_finite(angles=angles)
    require_integers("truth", truth, 0, words)
    values, place = np.unique(angles, return_inverse=True)
    counts = np.zeros((words, len(values) + 1))
    np.add.at(counts, (truth, place + 1), 1)
    below = counts.cumsum(axis=1)  # below[k, i]: rows of word k among the i lowest values

    best, came_from = below[0], []
    for k in range(1, words):  # best[i]: most rows right among the i lowest values, said with words 0..k, word k from cut came_from[i] on
        gain = best - below[k]
        top = np.maximum.accumulate(gain)
        came_from.append(np.maximum.accumulate(np.where(gain == top, np.arange(len(gain)), 0)))
        best = top + below[k]
    cuts = [len(values)]
    for choice in reversed(came_from):
        cuts.insert(0, int(choice[cuts[0]]))
    edges = np.concatenate([[-np.inf], (values[1:] + values[:-1]) / 2, [np.inf]]) if len(values) else np.array([np.inf])
    return edges[cuts[:-1]]
