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
upwards. For probes all is in float64, whose rounding, of u and r', of (1) as it is evaluated, and of the score, which is itself a rounded sum (`search_scores`), is less
than 2^-44 |u| |v| each; for |u| |v| is at least the sum of |q_i x_i|, by Cauchy-Schwarz over the blocks. That is paid for already. Where a > 0 the largest coordinate of
u has the code 127, so that |a c'| is no less than 2^-8 |u| at up to 2^15 dimensions, and the 2^-18 |v| in |r| makes (1) larger by 2^-26 |u| |v|. Where a = 0, u = r', of
which the norm is enlarged by 2^-30 (`search_scores.UP`), and of that its own sum of squares takes less than half.

**Size.** At 512 dimensions and unit length (1) is about 0.0148; the largest true error is a fifth of it. No second code, of residuals, is kept: what (1) leaves open is
decided by float32 products of the vectors themselves, whose bound (`search_scores.float_side_of_rows`) is as small as that of a second byte would be, 3e-5.

**Products.** onnxruntime's u8 x s8 product is there wherever a model can be used: rows are stored as c + 128, row by row, so that few probes are multiplied with them as
they lie. Another one, as torch's `_int_mm` on a GPU, is handed in as a `Product` by rooms that may load torch. Processors without 8-bit dot products may add pairs of
products in 16 bits, which saturate: `checked` multiplies the codes that would.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from polyface import runtime
from polyface.errors import PolyfaceError, RunError
from polyface.evaluation.search_scores import UP, Side

if TYPE_CHECKING:
    import onnxruntime

COLUMNS = 1024
"""Rows that are coded at a time: their float32 coordinates fit in a cache."""


Multiply = Callable[[np.ndarray, np.ndarray, np.ndarray], None]
"""multiply(codes of probes int8 [p, d], codes of rows + 128 as uint8 [n, d], product int32 [p, n]): writes the exact product of the codes into the last."""

ABOVE = 128
"""What stored codes of rows are above c: whole numbers from 1 to 255."""

FEW = 256
"""Up to so many probes, onnxruntime packs these, and reads rows as they lie; from there on a product for which it packs rows is faster."""

UINT8, INT8, INT32 = 2, 3, 6
"""Element types of ONNX (onnx.proto, TensorProto.DataType)."""


@dataclass(frozen=True)
class Coded:
    """codes uint8 [n, d], 128 above c; order int [n]: which row it is, those of small scale first."""

    codes: np.ndarray
    side: Side
    order: np.ndarray


def code_rows(rows: np.ndarray) -> Coded:
    """rows float32 [n, d], finite and at most 1e17. Sorted by scale, so that one threshold serves many neighbours."""
    n, d = rows.shape
    codes = np.empty((n, d), np.uint8)
    scale, residual, norm = np.empty((3, n), np.float32)
    for start in range(0, n, COLUMNS):
        part = slice(start, start + COLUMNS)
        turned = _turned(rows[part].T.copy(), up=True)
        scale[part] = np.maximum(turned.max(axis=0), -turned.min(axis=0)) / np.float32(127)
        inverse = np.divide(1, scale[part], out=np.zeros_like(scale[part]), where=scale[part] > 1e-30)
        scale[part] *= inverse > 0
        rounded = np.rint(turned * inverse)
        codes[part] = cv2.transpose((rounded + ABOVE).astype(np.uint8))
        norm[part] = _rounded_up((1 + 2.0**-18) * _norms(turned))
        rounded *= scale[part]
        turned -= rounded
        residual[part] = _rounded_up(_norms(turned) + 2.0**-18 * norm[part])
    order = np.argsort(scale, kind="stable")
    return Coded(codes[order], Side(*(each[order] for each in (scale, residual, norm))), order)


def code_probes(probes: np.ndarray) -> tuple[np.ndarray, Side]:
    """float32 [p, d] -> codes int8 [p, d] and what the bound needs of them."""
    turned = _turned(probes.T.astype(np.float64), up=False)
    scale = np.abs(turned).max(axis=0) / 127
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 1e-200)
    scale *= inverse > 0
    codes = np.rint(turned * inverse)
    norms = [np.sqrt((each**2).sum(axis=0)) * UP for each in (codes * scale, turned - codes * scale)]
    return np.ascontiguousarray(codes.T.astype(np.int8)), Side(scale, *norms)


def norms_of_coded(side: Side) -> np.ndarray:
    """float64 [n]: not smaller than the rows' norms: B times a block is as long as the block, or by sqrt(2) shorter."""
    return side.second.astype(np.float64) * (2**0.5 * UP)


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


@dataclass(frozen=True)
class Product:
    """name: for people. multiply None: no product of codes, all is computed in float32 by numpy."""

    name: str
    multiply: Multiply | None


FLOAT32 = Product("float32 products of numpy", None)


@functools.cache
def best_product() -> Product:
    """The fastest product that needs no more than polyface itself does."""
    session = runtime.session(_matmul(), threads=1)

    def multiply(probes: np.ndarray, rows: np.ndarray, product: np.ndarray) -> None:
        if len(probes) > FEW:
            _run(session, probes.view(np.uint8) ^ ABOVE, cv2.transpose(rows ^ ABOVE).view(np.int8), product)
        else:
            columns = np.empty(product.shape[::-1], np.int32)
            _run(session, rows, np.ascontiguousarray(probes.T), columns)
            cv2.transpose(columns, product)

    try:
        return checked(Product("int8 products of onnxruntime", multiply))
    except PolyfaceError:
        return FLOAT32


def _run(session: "onnxruntime.InferenceSession", a: np.ndarray, b: np.ndarray, product: np.ndarray) -> None:
    bound = session.io_binding()
    bound.bind_cpu_input("a", a)
    bound.bind_cpu_input("b", b)
    bound.bind_output("c", "cpu", 0, np.int32, product.shape, product.ctypes.data)
    session.run_with_iobinding(bound)


def checked(product: Product) -> Product:
    """Raises RunError where the product is not that of the integers, at the codes that break what saturates first."""
    if product.multiply is None:
        return product
    signs = np.random.default_rng(0).choice([-127, 127], (FEW + 1, 512)).astype(np.int8)
    signs[:2] = [[127], [-127]]
    for probes in (signs[:2], signs):
        right = probes.astype(np.int32) @ signs.T.astype(np.int32)
        found = np.empty_like(right)
        product.multiply(probes, signs.view(np.uint8) ^ ABOVE, found)
        if not np.array_equal(found, right):
            raise RunError(f"{product.name} are not exact on this machine")
    return product


def _matmul() -> bytes:
    """The ONNX file of c = (a - 128) b, a uint8 and b int8: small enough to be written here, so that the package `onnx` is not needed."""
    node = b"".join([*(_field(1, name) for name in (b"a", b"b", b"z")), _field(2, b"c"), _field(4, b"MatMulInteger")])
    zero_point = _field(2, UINT8) + _field(5, ABOVE) + _field(8, b"z")  # a scalar tensor; int32_data holds uint8 too
    graph = [_field(1, node), _field(2, b"product"), _field(5, zero_point)]
    graph += [_field(11, _matrix(b"a", UINT8)), _field(11, _matrix(b"b", INT8)), _field(12, _matrix(b"c", INT32))]
    return _field(1, 8) + _field(7, b"".join(graph)) + _field(8, _field(2, 13))  # IR version 8, opset 13


def _matrix(name: bytes, kind: int) -> bytes:
    """ValueInfoProto of a matrix of any size."""
    sides = _field(1, b"") * 2
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, sides)))


def _field(number: int, value: int | bytes) -> bytes:
    """One field of a protobuf message: a varint, or bytes with their length in front."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = []
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
