"""Who must not be trained on: near-copies of test pictures, photographs of a test list under another roof, and test people.

One photograph is often in several sets, cropped and compressed anew. Aligned by the same five points its copies look alike at 20 x 20 pixels: two thumbnails whose
correlation passes NEAR are taken for one photograph (chosen on pictures: LOG.md).
"""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from polyface.datasets.base import Record

NEAR = 0.96


def normalised(thumbnails: Sequence[np.ndarray]) -> np.ndarray:
    """float32 [N, 400] of mean 0 and length 1, so that a dot product is a correlation."""
    rows = np.stack(thumbnails).astype(np.float32) if len(thumbnails) else np.zeros((0, 400), np.float32)
    rows -= rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def near_copies(rows: np.ndarray, others: np.ndarray, block: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    """For each normalised row the highest correlation with the others, and whose it is: float [N], int [N]."""
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
