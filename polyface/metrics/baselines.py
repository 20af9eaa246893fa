"""What an answer scores that does not look at the picture: no score means anything without it beside. The constant is the best one for the
very rows it is scored on.
"""

import numpy as np

from polyface.metrics.ages import mean_absolute_error
from polyface.metrics.classification import PerClass, mean_over_present, share


def constant_accuracy(truth: np.ndarray) -> float:
    """The share of the most common class among labelled rows (int [N], -1 unlabelled); NaN when there are none."""
    known = truth[truth != -1].astype(np.int64)
    return float(np.bincount(known).max() / len(known)) if known.size else np.nan


def constant_mean_absolute_error(truth: np.ndarray) -> float:
    """Every face has the median age: no constant has a smaller mean error."""
    return mean_absolute_error(truth, np.full(len(truth), np.median(truth))) if len(truth) else np.nan


def constant_trait_accuracy(labels: np.ndarray) -> PerClass:
    """The more common answer to each trait: labels int8 [N, A], -1 unknown. Balanced, any constant scores one half."""
    yes, known = (labels == 1).sum(axis=0), (labels != -1).sum(axis=0)
    return mean_over_present(share(np.maximum(yes, known - yes), known))
