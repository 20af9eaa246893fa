"""A photograph and the faces in it."""

from dataclasses import dataclass, field

import numpy as np

from polyface.errors import InputError
from polyface.images.read import Source


@dataclass(frozen=True)
class Scene:
    """boxes float [n, 4]; points float [n, 5, 2], NaN where unknown; clicked bool [n]: people placed the points; ignored bool [n]: neither a face nor none.

    complete: every face is labelled, so that what else looks like one is none, or was left out on purpose.
    """

    key: str
    source: Source
    boxes: np.ndarray = field(repr=False)
    points: np.ndarray = field(repr=False)
    clicked: np.ndarray = field(repr=False)
    ignored: np.ndarray = field(repr=False)
    complete: bool = False

    @classmethod
    def of(cls, key: str, source: Source, boxes: np.ndarray, points: np.ndarray | None = None, ignored: np.ndarray | None = None, complete: bool = False) -> "Scene":
        """As people labelled it."""
        boxes = np.asarray(boxes, float).reshape(-1, 4)
        points = np.full((len(boxes), 5, 2), np.nan) if points is None else np.asarray(points, float).reshape(-1, 5, 2)
        ignored = np.zeros(len(boxes), bool) if ignored is None else np.asarray(ignored, bool)
        return cls(key, source, boxes, points, np.isfinite(points).all((1, 2)), ignored, complete)


@dataclass(frozen=True)
class Scenes:
    """The scenes of a split that are there; files that are listed but absent; rows that were refused, each with its reason."""

    items: tuple[Scene, ...]
    absent: tuple[str, ...] = ()
    problems: tuple[InputError, ...] = ()
