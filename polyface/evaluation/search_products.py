"""Products of int8 codes, as fast as the machine multiplies: what search discards with.

onnxruntime's u8 x s8 product is there wherever a model can be used. Another one, as torch's `_int_mm` on a GPU, is handed in as a `Product` by rooms that may load torch.
Processors without 8-bit dot products may add pairs of products in 16 bits, which saturate: `checked` multiplies the codes that would, and refuses who gets them wrong.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from polyface import runtime
from polyface.errors import PolyfaceError, RunError

Multiply = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""multiply(probes int8 [p, d], rows int8 [d, n], sums int32 [n], the sums of the columns of rows) -> their product int32 [p, n], exact."""

ONE_BY_ONE = 12
"""Up to so many probes are multiplied one after the other: for one, onnxruntime reads the codes as they lie; for several it packs them anew first, which costs more."""

UINT8, INT8, INT32 = 2, 3, 6
"""Element types of ONNX (onnx.proto, TensorProto.DataType)."""


@dataclass(frozen=True)
class Product:
    """name: for people. multiply None: no product of codes, all is computed in float32 by numpy."""

    name: str
    multiply: Multiply | None


FLOAT32 = Product("float32 products of numpy", None)


@functools.cache
def best() -> Product:
    """The fastest product that needs no more than polyface itself does."""
    many, one = (runtime.session(_matmul(zero_point), threads=1) for zero_point in (128, None))

    def multiply(probes: np.ndarray, rows: np.ndarray, sums: np.ndarray) -> np.ndarray:
        shifted = probes.view(np.uint8) ^ 128  # c + 128
        if len(probes) > ONE_BY_ONE:
            return many.run(None, {"a": shifted, "b": rows})[0]
        return np.concatenate([one.run(None, {"a": probe[None], "b": rows})[0] for probe in shifted]) - 128 * sums

    try:
        return checked(Product("int8 products of onnxruntime", multiply))
    except PolyfaceError:
        return FLOAT32


def checked(product: Product) -> Product:
    """Raises RunError where the product is not that of the integers, at the codes that break what saturates first."""
    if product.multiply is None:
        return product
    d, n = 512, 32
    signs = np.random.default_rng(0).choice([-127, 127], (d, n)).astype(np.int8)
    signs[:, :2] = [127, -127]
    for probes in (signs.T[:1], signs.T):
        right = probes.astype(np.int32) @ signs.astype(np.int32)
        if not np.array_equal(product.multiply(np.ascontiguousarray(probes), signs, signs.sum(axis=0, dtype=np.int32)), right):
            raise RunError(f"{product.name} are not exact on this machine")
    return product


def _matmul(zero_point: int | None) -> bytes:
    """The ONNX file of c = (a - zero_point) b, a uint8 and b int8: small enough to be written here, so that the package `onnx` is not needed."""
    inputs = [_field(1, b"a"), _field(1, b"b"), *([_field(1, b"z")] if zero_point is not None else [])]
    graph = [_field(1, b"".join([*inputs, _field(2, b"c"), _field(4, b"MatMulInteger")])), _field(2, b"product")]
    if zero_point is not None:
        graph.append(_field(5, _field(2, UINT8) + _field(5, zero_point) + _field(8, b"z")))  # a scalar tensor; int32_data holds uint8 too
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
