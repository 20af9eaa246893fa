"""Whether the points of a set lie on its pixels.

Annotators and a detector differ by habit, by a share of the face. A difference of as many pixels on small faces as on large ones is none of anybody: the file counts
pixels from another corner than its reader, or its pictures were cut or resized without their points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FAR = 0.12  # of the side of the box; a detector's point that is further off is another's
FEW, SPREAD = 50, 1.5  # faces, and how many times as large as the tenth smallest in a hundred the tenth largest is: of faces of one size habit and shift are one
LEAST, SURE = 0.4, 5.0  # pixels, and standard errors, from which a shift is worth a word


@dataclass(frozen=True)
class Shift:
    """By how many pixels (x right, y down) labelled points lie off, their standard errors, and on how many faces."""

    pixels: tuple[float, float]
    errors: tuple[float, float]
    faces: int

    @property
    def plain(self) -> bool:
        return any(abs(pixels) > max(LEAST, SURE * error) for pixels, error in zip(self.pixels, self.errors, strict=True))


def shift(labelled: Sequence[np.ndarray], detected: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> Shift | None:
    """The shift of labelled against detected points, each [5, 2] in pixels, of faces in detected boxes [4]; None where faces are too few or too much of one size to tell.

    Least squares of labelled - detected = shift + habit of the point * side of the box, in shares of that side; the errors let a face's points err together (White 1980).
    """
    truth, found = (np.asarray(points, float).reshape(-1, 5, 2) for points in (labelled, detected))
    corners = np.asarray(boxes, float).reshape(-1, 4)
    sizes = np.sqrt(np.prod(corners[:, 2:] - corners[:, :2], axis=1))  # of a turned head too, whose eyes come close
    off = (truth - found) / np.maximum(sizes, 1)[:, None, None]
    kept = (np.abs(off) < FAR).all((1, 2))
    off, sizes = off[kept], sizes[kept]
    if len(sizes) < FEW or np.divide(*np.percentile(sizes, (90, 10))) < SPREAD:
        return None
    columns = np.zeros((len(sizes), 5, 6))
    columns[:, :, 0] = 1 / sizes[:, None]
    columns[:, range(5), range(1, 6)] = 1
    normal = np.einsum("fpi,fpj->ij", columns, columns)
    inverse = np.linalg.inv(normal)
    solved = np.einsum("ij,fpj,fpa->ia", inverse, columns, off)
    left = off - columns @ solved
    scores = np.einsum("fpi,fpa->fia", columns, left)
    variance = [(inverse @ (scores[:, :, axis].T @ scores[:, :, axis]) @ inverse)[0, 0] for axis in (0, 1)]
    (x, y), (x_error, y_error) = solved[0], np.sqrt(variance)
    return Shift((float(x), float(y)), (float(x_error), float(y_error)), len(sizes))
