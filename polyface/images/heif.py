"""HEIC, as telephones write it, by pillow-heif, which a plain install leaves out: its library is under another licence (LGPL), and few need it."""

from typing import Any

import numpy as np

from polyface.errors import InputError, reason
from polyface.images.headers import HEIC_BRANDS, Header, check_size


def is_heic(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS


BROKEN = (OSError, ValueError, RuntimeError, EOFError, SyntaxError)


def read_header(data: bytes, name: str) -> Header:
    """Of the main picture of the file, as it stands upright; nothing is decoded. Raises InputError as `decode` does."""
    width, height = _opened(data, name).size
    return Header("HEIC", width, height)


def decode(data: bytes, name: str) -> np.ndarray:
    """uint8 RGB [H, W, 3], upright: the main picture of the file. Raises InputError, which says what to install where that is what is missing."""
    picture = _opened(data, name)
    try:
        pixels = np.asarray(picture)
    except BROKEN as error:
        raise _damaged(name, error) from error
    if pixels.ndim == 2:
        pixels = np.dstack([pixels] * 3)
    return np.ascontiguousarray(pixels[..., :3])


def _opened(data: bytes, name: str) -> Any:
    try:
        import pillow_heif
    except ModuleNotFoundError as error:
        raise InputError(f"{name}: HEIC needs one more package: pip install 'polyface[heic]' (or save it as JPEG or PNG)") from error
    try:
        picture = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
    except BROKEN as error:
        raise _damaged(name, error) from error
    width, height = picture.size
    check_size(width, height, name)
    return picture


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(f"{name}: a damaged HEIC that cannot be decoded ({reason(error)})")
