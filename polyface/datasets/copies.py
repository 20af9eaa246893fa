"""Who must not be trained on: near-copies of test pictures, photographs of a test list under another roof, and test people.

One photograph is often in several sets, cropped and compressed anew. Aligned by the same five points its copies look alike at 20 x 20 pixels: two thumbnails are taken
for one photograph where their faces correlate to more than NEAR, or within one set, where a hundred million pairs of people are compared who all look into a camera, to
more than NEAR_WITHIN (both chosen on pictures: LOG.md).
"""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from polyface.datasets.base import Record

NEAR, NEAR_WITHIN = 0.93, 0.97
FACE = slice(4, 17), slice(4, 16)
"""Rows and columns of a thumbnail. What lies around them is outside the picture where a set cut it closely, and that grey is the same for all dark faces."""


def comparable(thumbnails: Sequence[np.ndarray]) -> np.ndarray:
    """Thumbnails uint8 [400] -> float32 [N, 156], a dot product of which is the correlation of two faces less the light on them: the surface of second degree that comes
    nearest to a face is taken off, because all faces lit from one side are alike. A face of nothing else is like no other."""
    rows = np.stack(thumbnails).astype(np.float32) if len(thumbnails) else np.zeros((0, 400), np.float32)
    rows = rows.reshape(-1, 20, 20)[:, *FACE]
    y, x = (axis.ravel() for axis in np.meshgrid(*(np.linspace(-1, 1, side) for side in rows.shape[1:]), indexing="ij"))
    light = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1))[0].astype(np.float32)
    rows = rows.reshape(len(rows), len(light))
    rows -= rows @ light @ light.T
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)  # what is less than one grey level in all is rounding


def near_copies(rows: np.ndarray, others: np.ndarray, block: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    """For each row of length 1 the highest correlation with the others, and whose it is: float [N], int [N]."""
    best, whose = np.full(len(rows), -1.0, np.float32), np.full(len(rows), -1)
    for start in range(0, len(rows) if len(others) else 0, block):
        products = rows[start : start + block] @ others.T
        whose[start : start + block] = products.argmax(1)
        best[start : start + block] = products.max(1)
    return best, whose


def person_name(subject: str) -> str:
    """A person's name without accents, case and punctuation: how people are recognised across sets that name them, in any script."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", subject) if not unicodedata.combining(letter))
    return re.sub(r"[\W_]+", " ", plain.casefold()).strip()


def photograph_name(record: Record) -> str:
    """The file's own name without folder and suffix: LFW's photographs keep theirs in MTFL."""
    return PurePosixPath(record.key).stem.lower()
