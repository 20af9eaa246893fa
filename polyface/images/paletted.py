"""A class map as a PNG with a palette: its pixels are class indices (`read.decode_mask` gives them back), and any viewer shows them in colours."""

import struct
import zlib

import cv2
import numpy as np

from polyface.images.headers import PNG, png_chunks


def encode(classes: np.ndarray, palette: np.ndarray) -> bytes:
    """classes uint8 [H, W], all below C; palette uint8 [C, 3], C at most 256. Class 0 is clear."""
    grey = cv2.imencode(".png", classes)[1].tobytes()
    header, *pixels = [(kind, content) for kind, content in png_chunks(grey) if kind in (b"IHDR", b"IDAT", b"IEND")]
    indexed = (b"IHDR", header[1][:9] + b"\x03" + header[1][10:])  # colour type 3, a palette, in place of 0, grey
    chunks = [indexed, (b"PLTE", palette.astype(np.uint8).tobytes()), (b"tRNS", b"\0"), *pixels]
    return PNG + b"".join(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)) for kind, content in chunks)
