"""How far a network in eight bits may be from the one it was made from: measured when it is made, carried in its file, and asked for whenever it is opened.

Each kind of question has one measure, in a unit that its users know, and a limit to its mean over faces that the network did not learn from. The limits are two to ten
times what the shipped network shows (LOG.md), and small beside what it gets wrong: where answers change, it was between two.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from polyface.errors import RequestError
from polyface.images.align import Crop
from polyface.strict import strict
from polyface.tasks.kinds import Angles, Category, Embedding, Points, Regions, Scale, Task, Traits, median, softmax

DRIFT_IN_ONNX = "polyface.drift"
"""The metadata property of an ONNX file in eight bits that holds its Drift, as JSON."""


@dataclass(frozen=True)
class Limit:
    most: float
    unit: str


ALLOWED: Mapping[type[Task], Limit] = {
    Category: Limit(0.04, "of faces with another answer"),
    Scale: Limit(0.6, "units between the answers, such as years"),
    Traits: Limit(0.01, "of traits with another answer"),
    Points: Limit(0.015, "eye distances between the points"),
    Regions: Limit(0.03, "of pixels with another class"),
    Angles: Limit(0.5, "degrees between the angles"),
    Embedding: Limit(0.005, "of 1 - cosine between the vectors"),
}


class Drift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """of: the network in floats, as answers name it; calibrated, measured: on how many crops, of which sets; drift: {task: the mean of its kind's measure}."""

    of: str
    sets: tuple[str, ...]
    calibrated: int
    measured: int
    drift: dict[str, float]

    def rows(self, tasks: Sequence[Task]) -> list[dict[str, object]]:
        """A row for each task, for a table."""
        return [
            {"task": task.name, "drift": self.drift[task.name], "allowed": ALLOWED[type(task)].most, "unit": ALLOWED[type(task)].unit}
            for task in tasks
            if task.name in self.drift
        ]

    def too_far(self, tasks: Sequence[Task]) -> list[str]:
        """What is wrong, in words: each task that drifts by more than is allowed, or of which nobody knows how far."""
        found = []
        for task in tasks:
            drift, limit = self.drift.get(task.name), ALLOWED[type(task)]
            if drift is None:
                found.append(f"nobody measured how far {task.name} drifts")
            elif not drift <= limit.most:
                found.append(f"{task.name} drifts by {drift:.3g} {limit.unit}, {limit.most:g} is allowed")
        return found


def between(task: Task, before: np.ndarray, after: np.ndarray, crop: Crop) -> float:
    """The mean difference of two networks' outputs [N, ...] for the same crops, in the unit of the task's kind; NaN where the second answers no numbers."""
    if not np.isfinite(after).all():
        return math.nan
    match task:
        case Category() | Regions():
            return float((before.argmax(1) != after.argmax(1)).mean())
        case Traits():
            return float(((before > 0) != (after > 0)).mean())
        case Scale():
            return float(np.abs(median(softmax(before)) - median(softmax(after))).mean())
        case Points():
            return float(np.linalg.norm(before[..., :2] - after[..., :2], axis=-1).mean() / crop.eye_distance)
        case Angles():
            return float(np.mean([np.abs(task.decode(one) - task.decode(other)).mean() for one, other in zip(before, after, strict=True)]))
        case Embedding():
            return float(1 - (before * after).sum(-1).mean())
    raise TypeError(f"no drift is known for the kind {type(task).__name__}")


def drift_of_json(content: bytes, name: str) -> Drift:
    """What a file in eight bits says of itself; `name` begins the error line."""
    try:
        tree = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{name}: what it says of its drift is no JSON ({error})") from error
    return strict(tree, Drift, f"{name}: its drift")
