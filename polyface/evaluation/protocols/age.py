"""Ages in years (papers.md D10): mean absolute error, CS(k), and the epsilon error of apparent age."""

from collections.abc import Sequence

import numpy as np

from polyface.evaluation.protocols.result import Result, curve_of_errors
from polyface.metrics import ages
from polyface.metrics.baselines import constant_mean_absolute_error
from polyface.metrics.intervals import Score, mean_score


def score_ages(truth: np.ndarray, predicted: np.ndarray, sigmas: np.ndarray | None, people: np.ndarray, within: Sequence[float] = (5,)) -> Result:
    """truth, predicted float [N] in years; sigmas [N]: the deviation of the guesses whose mean is the truth, None for real ages; within: the k of each CS(k), inclusive;
    people [N]: whose face it is, any ids. Raises InputError naming the first bad row.
    """
    errors = ages.absolute_errors(truth, predicted)
    scores = {"mae": mean_score(errors, people), "mae_constant": Score(constant_mean_absolute_error(truth), np.nan, np.nan, len(truth))}
    scores |= {f"cs@{years:g}": mean_score(ages.within(errors, years), people) for years in within}
    curves = {"errors": curve_of_errors(errors, "years")}
    notes = {"mae": "years", "mae_constant": "of the median age for every face"}
    if sigmas is None:
        scores["epsilon_error"] = Score(np.nan, np.nan, np.nan, 0)
        return Result("age", scores, _counts(people), {"epsilon_error": "the targets have no `sigmas`, the deviations of people's guesses"}, notes, curves)
    scores["epsilon_error"] = mean_score(ages.epsilon_errors(truth, sigmas, predicted), people)
    notes["epsilon_error"] = f"a sigma below {ages.SMALLEST_SIGMA} counts as {ages.SMALLEST_SIGMA}"
    return Result("age", scores, _counts(people), {}, notes, curves)


def _counts(people: np.ndarray) -> dict[str, int]:
    return {"faces": len(people), "people": len(np.unique(people))}
