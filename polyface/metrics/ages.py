"""Scores of ages in years (papers.md D10). truth, predicted: float [N]. No rows: NaN."""

import numpy as np

from polyface.errors import InputError
from polyface.metrics.checks import require_finite, require_rows
from polyface.metrics.classification import coarse_choice

DECIMALS = 4
"""Errors are rounded to so many before they are counted: less than an hour, and more than floats of 32 bits lose."""

SMALLEST_SIGMA = 0.1  # [ours] years: people who all guessed the same age still were not surer than this


def absolute_errors(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """|predicted - truth| in years, [N]."""
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    require_rows(truth=truth, predicted=predicted)
    require_finite(truth=truth, predicted=predicted)
    return np.abs(predicted - truth)


def within(errors: np.ndarray, years: float) -> np.ndarray:
    """bool [N]: which errors are at most so many years, these included: 65.4 - 60.4 is 5, though not in floats. Their share is CS(k)."""
    return np.round(errors, DECIMALS) <= years


def mean_absolute_error(truth: np.ndarray, predicted: np.ndarray) -> float:
    """MAE in years."""
    errors = absolute_errors(truth, predicted)
    return float(np.mean(errors)) if len(errors) else np.nan


def epsilon_errors(mean: np.ndarray, sigma: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Apparent age: 1 - exp(-(x - mu)^2 / (2 sigma^2)) of each face [N], where people's guesses had mean mu and deviation sigma (at least SMALLEST_SIGMA)."""
    errors, sigma = absolute_errors(mean, predicted), np.asarray(sigma, np.float64)
    require_rows(mean=errors, sigma=sigma)
    require_finite(sigma=sigma)
    return 1 - np.exp(-(errors**2) / (2 * np.maximum(sigma, SMALLEST_SIGMA) ** 2))


def group_choice(probabilities: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The most probable age group: probabilities [N, Y] over years 0..Y-1, groups int [G, 2] (first year, last year), both included.
    Returns int64 [N].

    The group accuracy is `accuracy(truth, group_choice(...))`, whatever finer answer the model gives.
    """
    years = np.arange(probabilities.shape[-1])
    groups = np.asarray(groups)
    if (groups[:, 0] > groups[:, 1]).any():
        raise InputError(f"age group {int(np.argmax(groups[:, 0] > groups[:, 1]))} ends before it begins")
    return coarse_choice(probabilities, (years >= groups[:, :1]) & (years <= groups[:, 1:]))
