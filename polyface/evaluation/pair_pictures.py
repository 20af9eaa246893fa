"""insightface's `.bin`: a pickle of (pictures, same), from which nothing but bytes, numbers and lists can come."""

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polyface.errors import InputError


@dataclass(frozen=True)
class PairPictures:
    """pictures: 2N encoded images, pair k is 2k and 2k + 1; same bool [N]."""

    path: str
    pictures: tuple[bytes, ...] = field(repr=False)
    same: np.ndarray = field(repr=False)


def read_pair_pictures(path: Path) -> PairPictures:
    """Raises InputError naming the file for any pickle but a pair of lists: encoded pictures (bytes, or uint8 arrays), and a truth value for every two of them."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        found = _Restricted(data).load()
    except Exception as error:  # pickle promises nothing of what a damaged file raises
        raise InputError(f"{path}: no pickle of pictures and truth values ({error or type(error).__name__})") from error
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise InputError(f"{path}: holds {type(found).__name__}, a pair (pictures, same) is needed")
    pictures = tuple(_picture(each, f"{path}, picture {row}") for row, each in enumerate(_items(found[0], f"{path}, pictures")))
    same = [_truth(each, f"{path}, pair {row}") for row, each in enumerate(_items(found[1], f"{path}, same"))]
    if not same or len(pictures) != 2 * len(same):
        raise InputError(f"{path}: {len(pictures)} pictures for {len(same)} pairs")
    return PairPictures(str(path), pictures, np.array(same, bool))


class _Restricted(pickle.Unpickler):
    """Calls nothing of numpy: its arrays, types and scalars become records of what they would have been made from. Strings of Python 2 stay bytes.

    Everything that it hands out is new for each file, because a pickle can write to what it is given.
    """

    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data), encoding="bytes")
        left = [2 * len(data)]  # bytes to make of what the file holds; it may ask for the same ones any number of times

        class Record(_Record):
            pass

        def encode(text: str, encoding: object = None) -> bytes:
            """How protocol 2 writes bytes."""
            left[0] -= len(text)
            if encoding not in ("latin1", b"latin1") or left[0] < 0:
                raise pickle.UnpicklingError("it asks for more bytes than it has, or for text that is not latin1")
            return text.encode("latin1")

        def no_bytes(*nothing: object) -> bytes:
            """How protocol 2 writes empty bytes; bytes(10 ** 12) would be a terabyte."""
            if nothing:
                raise pickle.UnpicklingError("it asks for bytes(...)")
            return b""

        def from_buffer(data: bytes | bytearray, dtype: object, shape: object, order: object) -> _Record:
            """How protocol 5 writes arrays."""
            left[0] -= len(data)
            if left[0] < 0:
                raise pickle.UnpicklingError("it asks for more bytes than it has")
            record = Record()
            record.state = (1, shape, dtype, False, bytes(data))
            return record

        self._known: dict[tuple[str, str], Any] = {("_codecs", "encode"): encode, ("numpy", "dtype"): Record, ("numpy", "ndarray"): Record}
        self._known |= {(module, "bytes"): no_bytes for module in ("builtins", "__builtin__")}
        for core in ("numpy.core", "numpy._core"):
            self._known |= {(f"{core}.multiarray", "_reconstruct"): Record, (f"{core}.multiarray", "scalar"): Record, (f"{core}.numeric", "_frombuffer"): from_buffer}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self._known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it asks for something outside the file")


class _Record:
    def __init__(self, *made_from: Any):
        self.made_from: tuple[Any, ...] = made_from
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _items(found: Any, what: str) -> Sequence[Any]:
    if isinstance(found, _Record):
        return _array(found, what, "b1", "O", "O8")
    if not isinstance(found, list | tuple):
        raise InputError(f"{what}: {type(found).__name__}, a list is needed")
    return found


def _picture(found: Any, what: str) -> bytes:
    encoded = bytes(_array(found, what, "u1")) if isinstance(found, _Record) else found
    if not isinstance(encoded, bytes) or not encoded:
        raise InputError(f"{what}: not the bytes of an encoded picture")
    return encoded


def _truth(found: Any, what: str) -> bool:
    if isinstance(found, _Record) and len(found.made_from) == 2:  # numpy.bool_ is made from its type and a byte
        found = {b"\0": False, b"\x01": True}.get(found.made_from[1]) if _type_of(found.made_from[0]) == "b1" else None
    if not isinstance(found, bool | int) or found not in (0, 1):
        raise InputError(f"{what}: whether it is one person is no truth value")
    return bool(found)


def _array(record: _Record, what: str, *kinds: str) -> Sequence[Any]:
    """The items of an array of one dimension; an array's state is (version, shape, type, Fortran order, data)."""
    state = record.state
    if isinstance(state, tuple) and len(state) == 5 and isinstance(state[1], tuple) and isinstance(state[4], bytes | list):
        _, shape, dtype, _, data = state
        kind = _type_of(dtype)
        if kind in kinds and shape in ((len(data),), (len(data), 1)) and isinstance(data, list) == kind.startswith("O"):
            return [byte != 0 for byte in data] if kind == "b1" else data
    raise InputError(f"{what}: not a list, nor an array of one dimension of {' or '.join(kinds)}")


def _type_of(dtype: Any) -> str:
    name = dtype.made_from[0] if isinstance(dtype, _Record) and dtype.made_from else ""
    return (name.decode("latin1") if isinstance(name, bytes) else str(name)).lstrip("|")
