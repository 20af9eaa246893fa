"""One byte for each number of a face's vector, and how far a product of such codes can be from the score: what `search` may discard, and the proof.

**Codes.** Let D flip signs and reorder coordinates, and H be Hadamard matrices along the diagonal, H_h H_h = h: one of d where d is a power of two, else of the
powers of two that add up to d. A row x becomes v = B x and a probe q becomes u = A q with, block by block, B = 2^-ceil(log2(h) / 2) H D and
A = 2^-floor(log2(h) / 2) H D, so that A^T B = 1 and q.x = u.v exactly; whatever the spectrum of the vectors, energy is now spread over all coordinates. Code, scale and
residual: v = b c + r with b = max|v| / 127 and c whole numbers from -127 to 127; likewise u = a c' + r'.

**Bound.** u.v = (a c' + r').(b c + r) = a b c'.c + a c'.r + r'.v, and by Cauchy-Schwarz

    |q.x - a b c'.c| <= |a c'| |r| + |r'| |v|.                                                                (1)

c'.c is a product of integers, exact. Of what is kept with a row, |r| and |v| must not be smaller than they are:
- v is computed as w in k = log2(h) rounds of float32 additions. Each computes (a +- b)(1 + e), |e| <= 2^-24, so the norm of its error is at most 2^-24 of the norm of
  what it should have been, and rounds are orthogonal but for a factor: |w - v| <= ((1 + 2^-24)^k - 1) |v| < 2^-19 |v| for k <= 30.
- w - b c is computed in float32, a product and a difference, each off by at most 2^-24 of itself: by less than 2^-22 |w| together.
- Norms come from sums of d float32 squares, in any order within d 2^-24 of themselves. Numbers that are flushed to 0, as squares below 2^-126 may be, were below 2^-63.
So |v| <= (1 + 2^-18) N(w) and |r| <= N(w - b c) + 2^-18 |v|, where N is the computed norm, enlarged by d 2^-24 of itself and by 2^-63 sqrt(d). Float32 rounds both
upwards. For probes all is in float64, and |r'| is enlarged by 2^-40 |u|. That pays for float64's rounding: of u, of (1) as it is evaluated, and of the score, which
is itself a rounded sum (`search_scores`), each less than 2^-44 |u| |v|; for |u| |v| is at least the sum of |q_i x_i|, by Cauchy-Schwarz over the blocks.

**Size.** At 512 dimensions and unit length (1) is about 0.0148; the largest true error is a fifth of it. No second code, of residuals, is kept: what (1) leaves open is
decided by float32 products of the vectors themselves, whose bound (`search_scores.float_side_of_rows`) is as small as that of a second byte would be, 3e-5.
"""

import functools
from dataclasses import dataclass

import numpy as np

from polyface.evaluation.search_scores import ROUNDING, UP, Side

COLUMNS = 1024
"""Rows that are coded at a time: their float32 coordinates fit in a cache."""


@dataclass(frozen=True)
class Coded:
    """codes int8 [d, n], a column for each row; sums int32 [n] of the columns; order int [n]: which row it is, those of small scale first."""

    codes: np.ndarray
    sums: np.ndarray
    side: Side
    order: np.ndarray


def code_rows(rows: np.ndarray) -> Coded:
    """rows float32 [n, d], finite and at most 1e17. Sorted by scale, so that one threshold serves many neighbours."""
    n, d = rows.shape
    codes = np.empty((d, n), np.int8)
    scale, residual, norm = np.empty((3, n), np.float32)
    for start in range(0, n, COLUMNS):
        part = slice(start, start + COLUMNS)
        turned = _turned(rows[part].T.copy(), up=True)
        scale[part] = np.maximum(turned.max(axis=0), -turned.min(axis=0)) / np.float32(127)
        inverse = np.divide(1, scale[part], out=np.zeros_like(scale[part]), where=scale[part] > 1e-30)
        scale[part] *= inverse > 0
        rounded = np.rint(turned * inverse)
        codes[:, part] = rounded
        norm[part] = _rounded_up((1 + 2.0**-18) * _norms(turned))
        rounded *= scale[part]
        turned -= rounded
        residual[part] = _rounded_up(_norms(turned) + 2.0**-18 * norm[part])
    order = np.argsort(scale, kind="stable")
    codes = np.take(codes, order, axis=1)
    return Coded(codes, codes.sum(axis=0, dtype=np.int32), Side(*(each[order] for each in (scale, residual, norm))), order)


def code_probes(probes: np.ndarray) -> tuple[np.ndarray, Side]:
    """float32 [p, d] -> codes int8 [p, d] and what the bound needs of them."""
    turned = _turned(probes.T.astype(np.float64), up=False)
    scale = np.abs(turned).max(axis=0) / 127
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 1e-200)
    scale *= inverse > 0
    codes = np.rint(turned * inverse)
    norms = [np.sqrt((each**2).sum(axis=0)) * UP for each in (codes * scale, turned - codes * scale, turned)]
    return np.ascontiguousarray(codes.T.astype(np.int8)), Side(scale, norms[0], norms[1] + ROUNDING * norms[2])


def _turned(columns: np.ndarray, up: bool) -> np.ndarray:
    """B (up) or A times columns [d, n], in their own precision; columns are used up."""
    d = len(columns)
    order, signs, sizes = _rotation(d)
    turned = columns[order] if len(sizes) > 1 else columns
    turned *= signs[:, None].astype(columns.dtype)
    start = 0
    for size in sizes:
        block = turned[start : start + size]
        half = 1
        while half < size:
            pairs = block.reshape(-1, 2, half, block.shape[1])
            difference = pairs[:, 0] - pairs[:, 1]
            pairs[:, 0] += pairs[:, 1]
            pairs[:, 1] = difference
            half *= 2
        rounds = size.bit_length() - 1
        block *= columns.dtype.type(2.0 ** -((rounds + 1) // 2 if up else rounds // 2))
        start += size
    return turned


@functools.cache
def _rotation(d: int) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Order and signs of the coordinates, and the sizes of blocks. Stored codes depend on them: of its generators, numpy promises only RandomState never to change."""
    random = np.random.RandomState(16)
    order, signs = random.permutation(d), random.randint(0, 2, d) * 2 - 1
    return order, signs, tuple(1 << bit for bit in reversed(range(d.bit_length())) if d >> bit & 1)


def _norms(columns: np.ndarray) -> np.ndarray:
    """N of the proof, float64 [n], for float32 columns [d, n]."""
    d = len(columns)
    return np.sqrt(np.einsum("ij,ij->j", columns, columns).astype(np.float64)) * (1 + d * 2.0**-24) + 2.0**-63 * d**0.5


def _rounded_up(values: np.ndarray) -> np.ndarray:
    return np.nextafter((values * UP).astype(np.float32), np.float32(np.inf))
