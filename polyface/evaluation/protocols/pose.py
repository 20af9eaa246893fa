"""Head poses in degrees (papers.md D10), errors the shorter way round the circle."""

from collections.abc import Sequence

import numpy as np

from polyface.evaluation.protocols.result import Result, curve_of_errors
from polyface.metrics.angles import angle_errors
from polyface.metrics.intervals import mean_score

RADIANS = 3.15
"""As far as angles go that were never brought to degrees: AFLW2000's are so."""


def score_poses(truth: np.ndarray, predicted: np.ndarray, axes: Sequence[str], people: np.ndarray, limit: float | None = None) -> Result:
    """truth, predicted float [N, A] in degrees; axes: what they are, `yaw`; people [N]: whose face it is, any ids.

    limit: faces of which any true angle is beyond it, the shorter way round, are left out and counted, as most papers do with 99 on AFLW2000. Raises InputError naming
    the first bad row.
    """
    errors = angle_errors(truth, predicted)
    turned = np.fmod(np.abs(truth), 360)
    kept = np.ones(len(truth), bool) if limit is None else (np.minimum(turned, 360 - turned) <= limit).all(axis=1)
    errors, people = errors[kept], people[kept]
    scores = {"mae": mean_score(errors.mean(axis=1), people)}
    scores |= {f"mae_{axis}": mean_score(errors[:, at], people) for at, axis in enumerate(axes)}
    reasons = {} if kept.any() else dict.fromkeys(scores, f"every face has an angle beyond {limit:g} degrees")
    beyond = "" if limit is None else f"; without {(~kept).sum()} faces that have an angle beyond {limit:g}"
    beyond += "; no true angle is beyond 3.15: are they radians?" if len(truth) > 1 and np.abs(truth).max() <= RADIANS else ""
    counts = {"faces": int(kept.sum()), "people": len(np.unique(people)), "left_out": int((~kept).sum())}
    curves = {axis: curve_of_errors(errors[:, at], "degrees") for at, axis in enumerate(axes)} if kept.any() else {}
    return Result("pose", scores, counts, reasons, {"mae": f"degrees, mean of {', '.join(axes)}{beyond}"}, curves)
