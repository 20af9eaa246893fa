"""What a picture's file says of itself in its first bytes: its format, its size, which way is up. Nothing is decoded, so that nothing can
cost much before it is known to be a whole picture of a size that may be decoded.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from polyface.errors import InputError

MAX_PIXELS = 100_000_000  # 300 MB as RGB; the largest phones take 50 to 200 megapixels, nearly all of them shrunk before saving
MAX_SIDE = 65_535  # what JPEG itself allows; a panorama of 30,000 x 2,000 is read
MAX_JPEG_SCANS = 200  # a progressive picture has about ten; thousands of empty ones take minutes to decode
PNG = b"\x89PNG\r\n\x1a\n"
EXIF = b"Exif\0\0"
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)  # in a JPEG; neither a byte of a scan nor a restart within it
LENGTHY = frozenset((*range(0xC0, 0xD0), *range(0xDA, 0xF0), 0xFE))  # markers of segments that say how long they are
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
HEIF_BRANDS = (*HEIC_BRANDS, b"avif", b"avis")


@dataclass(frozen=True)
class Header:
    """What a file says of itself before anything is decoded. `width` and `height` as stored, before `orientation` (EXIF, 1 to 8) is
    applied.
    """

    format: str
    width: int
    height: int
    alpha: bool = False
    orientation: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the picture when it stands upright."""
        return (self.height, self.width) if self.orientation < 5 else (self.width, self.height)


def read_header(data: bytes, name: str) -> Header:
    """What the first bytes say, nothing decoded. Raises InputError for what is no picture, is cut short, or would be too large to decode."""
    try:
        header = _header(data)
    except (struct.error, IndexError):
        raise InputError(f"{name}: cut short, its end is missing") from None
    if header is None:
        raise InputError(f"{name}: {_what_it_is(data)}")
    scans, whole = _jpeg_scans(data) if header.format == "JPEG" else (1, _is_whole(data, header.format))
    if not whole:
        raise InputError(f"{name}: cut short, its end is missing")
    if header.width < 1 or header.height < 1:
        raise InputError(f"{name}: {header.format} of {header.width} x {header.height} pixels")
    check_size(header.width, header.height, name)
    if scans > MAX_JPEG_SCANS:
        raise InputError(f"{name}: a JPEG of more than {MAX_JPEG_SCANS} scans, made to take long")
    return header


def check_size(width: int, height: int, name: str) -> None:
    """Raises InputError for what would be too large to decode."""
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS // 1_000_000} megapixels and {MAX_SIDE:,} a side"
        raise InputError(f"{name}: {width:,} x {height:,} pixels, more than the limit of {limit}")


def _header(data: bytes) -> Header | None:
    """None for a format that is not read; struct.error or IndexError where the header itself is cut."""
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_header(data)
    if data.startswith(PNG):
        return _png_header(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_header(data)
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return Header("GIF", *struct.unpack("<HH", data[6:10]))
    if data.startswith(b"BM"):
        old = struct.unpack("<I", data[14:18])[0] == 12
        width, height = struct.unpack("<HH", data[18:22]) if old else struct.unpack("<ii", data[18:26])
        return Header("BMP", width, abs(height))
    if data[:4] in (b"II*\0", b"MM\0*"):
        tags = _tiff_tags(data)
        return Header("TIFF", tags.get(0x100, 0), tags.get(0x101, 0), orientation=_known(tags.get(0x112)))
    return None


def _jpeg_header(data: bytes) -> Header:
    """An Exif segment counts up to the first scan, and of several the first that states an orientation."""
    at, frame, stated = 2, None, None
    while True:
        if data[at] != 0xFF:  # decoders skip what lies between segments
            at = data.find(b"\xff", at) if data.find(b"\xff", at) >= 0 else len(data)
            continue
        marker = data[at + 1]
        if frame and marker in (0xD9, 0xDA):
            return Header("JPEG", *frame, orientation=_known(stated))
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # fill, or a marker without length
            at += 1 if marker == 0xFF else 2
        else:
            length = struct.unpack(">H", data[at + 2 : at + 4])[0]
            if marker == 0xE1 and data[at + 4 : at + 10] == EXIF and stated is None:
                stated = _orientation(data[at + 10 : at + 2 + length])
            elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and not frame:
                height, width = struct.unpack(">HH", data[at + 5 : at + 9])
                frame = width, height
            at += 2 + length


def _jpeg_scans(data: bytes) -> tuple[int, bool]:
    """How many scans the first picture has, at most one more than are read, and whether its end marker is there. What follows it is another picture, a film or
    anything, as phones write them; a scan and its segments cannot hold the marker."""
    at, scans = 2, 0
    while scans <= MAX_JPEG_SCANS and (found := MARKER.search(data, at)):
        kind, at = data[found.start() + 1], found.end()
        if kind == 0xD9:
            return scans, True
        if kind in LENGTHY:
            if at + 2 > len(data):
                break
            at += struct.unpack(">H", data[at : at + 2])[0]
            scans += kind == 0xDA
    return scans, scans > MAX_JPEG_SCANS


def _png_header(data: bytes) -> Header:
    """The first eXIf that is one counts, before the pixels or behind them."""
    width, height = struct.unpack(">II", data[16:24])
    alpha, exif, pixels = data[25] in (4, 6), b"", False
    for kind, content in png_chunks(data):
        if kind == b"tRNS" and not pixels:
            alpha = True
        elif kind == b"eXIf" and content.startswith((b"II", b"MM")):
            exif = exif or content
        pixels |= kind == b"IDAT"
    return Header("PNG", width, height, alpha, _known(_orientation(exif)))


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 12 <= len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _webp_header(data: bytes) -> Header | None:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return Header("WebP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        bits = struct.unpack("<I", data[21:25])[0]
        return Header("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1))
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        exif = next((content for kind, content in _webp_chunks(data) if kind == b"EXIF"), b"") if data[20] & 8 else b""
        return Header("WebP", width, height, bool(data[20] & 16), _known(_orientation(exif)))
    return None


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, end = 12, min(len(data), struct.unpack("<I", data[4:8])[0] + 8)
    while at + 8 <= end:
        length = struct.unpack("<I", data[at + 4 : at + 8])[0]
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _orientation(exif: bytes) -> int | None:
    """The first orientation in the first directory, whatever the tag says of its type and count, as OpenCV reads it. None where there is none."""
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order = "<" if exif[:2] == b"II" else ">"
    try:
        start = struct.unpack(f"{order}I", exif[4:8])[0]
        for entry in range(struct.unpack(f"{order}H", exif[start : start + 2])[0]):
            at = start + 2 + 12 * entry
            if struct.unpack(f"{order}H", exif[at : at + 2])[0] == 0x112:
                return struct.unpack(f"{order}H", exif[at + 8 : at + 10])[0]
    except struct.error:
        pass
    return None


def _known(orientation: int | None) -> int:
    """What is stated, where it is one of the eight."""
    return orientation if orientation is not None and 1 <= orientation <= 8 else 1


def _tiff_tags(data: bytes) -> dict[int, int]:
    """Single whole numbers of the first directory of a TIFF, by tag."""
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack(f"{order}I", data[4:8])[0]
    tags = {}
    for entry in range(struct.unpack(f"{order}H", data[start : start + 2])[0]):
        at = start + 2 + 12 * entry
        tag, kind, count = struct.unpack(f"{order}HHI", data[at : at + 8])
        if count == 1 and kind in (1, 3, 4):
            tags[tag] = struct.unpack(order + {1: "B", 3: "H", 4: "I"}[kind], data[at + 8 : at + 8 + {1: 1, 3: 2, 4: 4}[kind]])[0]
    return tags


def _is_whole(data: bytes, format: str) -> bool:
    """Decoders fill what is missing with grey, and say nothing."""
    if format == "PNG":
        return any(kind == b"IEND" for kind, _ in png_chunks(data))  # OpenCV gives a chunk the memory that its length claims
    if format == "WebP":
        return struct.unpack("<I", data[4:8])[0] + 8 <= len(data)
    return True


def _what_it_is(data: bytes) -> str:
    """A file that is no picture that can be read, said so that a person knows what to do."""
    return no_picture_at_all(data) or "not a JPEG, PNG, WebP, GIF, BMP or TIFF picture"


def no_picture_at_all(data: bytes) -> str | None:
    """What lies where a picture or a video should, if these bytes say."""
    start = data[:1024].lstrip().lower()
    if not data:
        return "empty"
    if data.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the picture (git lfs pull brings it)"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")) or b"<html" in start:
        return "a web page, not a picture"
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        return "AVIF needs to be converted: save it as JPEG or PNG" if data[8:11] == b"avi" else "HEIC, not a video"
    return None
