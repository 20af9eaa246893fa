"""A detector whose five points a network of ours corrects: what the next detector learns from, where nobody clicked any."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from polyface.errors import RequestError
from polyface.images import align, geometry
from polyface.images.detect import Detector, Face
from polyface.inference.engine import Engine
from polyface.tasks.kinds import Points

FIVE = {68: geometry.five_of_68(), 5: np.eye(5)}
"""The five points of an alignment, from a network's own points, by their number."""
SMALLEST = 24.0
"""Faces below so many pixels show the network nothing that the detector did not see."""
FARTHEST = 0.25
"""Of a face's size: points that are moved by more, in the mean, are left where the detector put them."""


class Closer:
    """Finds of a detector, their points where the network sees them; name says who both are, sha256 is the detector's."""

    def __init__(self, detector: Detector, engine: Engine):
        task = next((task for task in engine.tasks if isinstance(task, Points) and task.count in FIVE), None)
        if task is None:
            raise RequestError(f"the model {engine.label} answers no points that five can be taken from")
        self.detector, self.engine, self.task = detector, engine, task
        self.name, self.sha256 = f"{detector.name}, points by {engine.label}", detector.sha256

    def detect(self, image: np.ndarray, threshold: float | None = None) -> list[Face]:
        return self.detect_many([image], threshold)[0]

    def detect_many(self, images: Sequence[np.ndarray], threshold: float | None = None) -> list[list[Face]]:
        return [self._corrected(image, faces) for image, faces in zip(images, self.detector.detect_many(images, threshold), strict=True)]

    def _corrected(self, image: np.ndarray, faces: list[Face]) -> list[Face]:
        task, crop, size = self.task, self.engine.crop, self.engine.crop.size
        rows = [row for row, face in enumerate(faces) if _size(face) >= SMALLEST]
        if not rows:
            return faces
        matrices = [align.from_points(faces[row].points, crop) for row in rows]
        outputs = self.engine.run(np.stack([geometry.warp(image, matrix, (size, size)) for matrix in matrices]), [task.name])[task.name]
        faces = list(faces)
        for row, matrix, output in zip(rows, matrices, outputs, strict=True):
            points = geometry.apply(geometry.invert(matrix), FIVE[task.count] @ task.decode(output))
            if np.linalg.norm(points - faces[row].points, axis=1).mean() <= FARTHEST * _size(faces[row]):
                faces[row] = replace(faces[row], points=points)
        return faces


def _size(face: Face) -> float:
    """The side of a square as large as the box."""
    x0, y0, x1, y1 = face.box
    return float(np.sqrt((x1 - x0) * (y1 - y0)))
