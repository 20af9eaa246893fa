"""Scores of yes-or-no traits: labels int8 [N, A] of 0, 1 and -1 (unknown, ignored), probabilities [N, A]. A probability above one half says
yes.

The mean over traits is that of the field: each trait counts once, however many rows know it.
"""

import numpy as np

from polyface.errors import InputError
from polyface.metrics.checks import require_finite, require_integers, require_rows
from polyface.metrics.classification import PerClass, mean_over_present, share


def trait_counts(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """What intervals sum over: bool [N, A, 4], yes said yes, yes said no, no said yes, no said no."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    require_rows(labels=labels, probabilities=probabilities)
    if labels.shape != probabilities.shape:
        raise InputError(f"labels of {labels.shape[1:]} traits, probabilities of {probabilities.shape[1:]}")
    require_finite(probabilities=probabilities)
    require_integers("labels", labels, -1, 2)
    yes, no, said = labels == 1, labels == 0, probabilities > 0.5
    return np.stack([yes & said, yes & ~said, no & said, no & ~said], axis=-1)


def accuracy_of_counts(counts: np.ndarray) -> PerClass:
    """Accuracy of each trait; a trait that no row knows is absent.

    counts [A, 4] summed over rows, as `bootstrap_of_sums(trait_counts(...), ...)` hands them on.
    """
    return mean_over_present(share(counts[:, 0] + counts[:, 3], counts.sum(axis=1)))


def balanced_accuracy_of_counts(counts: np.ndarray) -> PerClass:
    """The mean of the recalls of yes and of no, of each trait; a trait without positives or without negatives has none and is absent."""
    return mean_over_present((share(counts[:, 0], counts[:, 0] + counts[:, 1]) + share(counts[:, 3], counts[:, 2] + counts[:, 3])) / 2)
