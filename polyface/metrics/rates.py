"""How many errors a rate allows, and how many trials a rate needs: one rule wherever a threshold is chosen by a rate."""

import math

ROUNDING = 1e-9
"""Makes up for targets such as 0.29, of which 0.29 x 100 = 28.999999999999996 in floats."""


def errors_allowed(rate: float, trials: int) -> int:
    """The most errors of so many trials that do not exceed a rate."""
    return math.floor(rate * trials + ROUNDING)


def trials_needed(rate: float) -> int:
    """The fewest trials of which a rate above 0 allows one error: of fewer, it can say nothing."""
    return math.ceil(1 / rate - ROUNDING)
