"""Which container a video is in, by its first bytes; and whether its end is missing, by the lengths that the file or its parts state.

A file that is cut just between two parts of a container that states nothing of the whole (MPEG, MPEG-TS, FLV, Ogg) looks whole.
"""

import struct
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

from polyface.images.headers import HEIF_BRANDS

BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof")
"""What an MP4 or QuickTime file begins with."""
EBML_SEGMENT = b"\x18\x53\x80\x67"
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
TAIL = 1 << 18
"""Bytes at the end in which a part begins: no page of Ogg is longer than 65,307 bytes, no packet of MPEG than 65,541."""


def container_of_file(path: Path) -> str | None:
    """Raises OSError."""
    with open(path, "rb") as file:
        return container_of(file.read(1024))


def container_of(start: bytes) -> str | None:
    """The format that a file begins as; None for pictures, playlists and whatever else."""
    if start[4:8] in BOXES:
        return None if start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS else "MP4"
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "RIFF"
    if start[:4] == b"\x1aE\xdf\xa3":
        return "Matroska"
    if any(start[at : at + 1] == start[at + length : at + length + 1] == b"G" for at, length in ((0, 188), (4, 192))):  # packets; Blu-ray's have a time in front
        return "MPEG-TS"
    beginnings = {b"\0\0\1\xba": "MPEG", b"\0\0\1\xb3": "MPEG", b"FLV\1": "FLV", b"OggS": "Ogg", b"0&\xb2u": "WMV"}
    return beginnings.get(start[:4])


def without_an_end(path: Path) -> bool:
    """Whether the file, or its last part, should go on. Raises OSError."""
    with open(path, "rb") as file:
        cut = CUT.get(container_of(file.read(1024)) or "")
        return cut is not None and cut(file, path.stat().st_size)


# By parts that follow each other from the start


def _reaches_beyond(length_of: Callable[[BinaryIO], int | None], file: BinaryIO, size: int) -> bool:
    at = 0
    while at < size:
        file.seek(at)
        length = length_of(file)
        if length is None:  # to the end of the file, or not known when it was written
            return False
        at += length
    return at > size


def _length_of_box(file: BinaryIO) -> int | None:
    """Of the part of an MP4 that begins here, its head included (ISO/IEC 14496-12, 4.2)."""
    head = file.read(16).ljust(16, b"\xff")
    length = struct.unpack(">I", head[:4])[0]
    if length == 1:
        return max(struct.unpack(">Q", head[8:])[0], 16)
    return max(length, 8) if length else None


def _length_of_chunk(file: BinaryIO) -> int | None:
    head = file.read(8)
    if head[:4] != b"RIFF":  # what some programs append
        return None
    length = int.from_bytes(head[4:8].ljust(4, b"\xff"), "little")
    return length + 8 + length % 2 if length else None


def _length_of_element(file: BinaryIO) -> int | None:
    """Of a Matroska file's head, or of its one segment (RFC 8794: variable-length numbers)."""
    name = file.read(4)
    first = file.read(1)
    if not first or not first[0]:
        return None if name == EBML_SEGMENT else 1 << 62
    more = 8 - first[0].bit_length()
    content = (first[0] & (1 << (7 - more)) - 1) << 8 * more | int.from_bytes(file.read(more), "big")
    return None if content == (1 << 7 * (more + 1)) - 1 else 5 + more + content


# By what the file says of itself, or its last part


def _smaller_than_stated(file: BinaryIO, size: int) -> bool:
    """WMV: its header has the size of the file, 0 where that was not known (ASF specification, 3.2)."""
    file.seek(0)
    _, found, properties = file.read(TAIL).partition(ASF_FILE_PROPERTIES)
    return bool(found) and int.from_bytes(properties[24:32], "little") > size


def _in_a_packet(file: BinaryIO, size: int) -> bool:
    """MPEG-TS: packets of 188 bytes, or of 192 with a time in front, each of which begins with a G."""
    file.seek(0)
    length, sync = (188, 0) if file.read(189)[::188] == b"GG" else (192, 4)
    file.seek(max(0, size - length + sync))
    return size % length != 0 or file.read(1) != b"G"


def _in_a_pack(file: BinaryIO, size: int) -> bool:
    """MPEG: packs of packets that state their lengths (ISO/IEC 11172-1, 13818-1). Nothing is said of what is no packet, as the zeros that some programs append."""
    file.seek(max(0, size - TAIL))
    tail = file.read()
    at = tail.find(b"\0\0\1\xba")
    while 0 <= at < len(tail):
        head = tail[at : at + 14].ljust(14, b"\0")
        match head[:3], head[3]:
            case b"\0\0\1", 0xB9:
                at += 4
            case b"\0\0\1", 0xBA:
                at += 14 + (head[13] & 7) if head[4] >> 6 == 1 else 12
            case b"\0\0\1", kind if kind > 0xBA:
                at += 6 + int.from_bytes(head[4:6], "big")
            case _:
                return False
    return at > len(tail)


def _in_a_tag(file: BinaryIO, size: int) -> bool:
    """FLV: after each tag its length is said again."""
    file.seek(max(0, size - 4))
    length = int.from_bytes(file.read(4), "big")
    file.seek(max(0, size - 4 - length))
    return int.from_bytes(file.read(4)[1:], "big") + 11 != length


def _in_a_page(file: BinaryIO, size: int) -> bool:
    """Ogg: pages that list the lengths of their parts (RFC 3533, 6)."""
    file.seek(max(0, size - TAIL))
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0:
        return False
    head = tail[at : at + 27]
    return len(head) < 27 or at + 27 + head[26] + sum(tail[at + 27 : at + 27 + head[26]]) > len(tail)


CUT: Mapping[str, Callable[[BinaryIO, int], bool]] = {
    "MP4": partial(_reaches_beyond, _length_of_box),
    "RIFF": partial(_reaches_beyond, _length_of_chunk),
    "Matroska": partial(_reaches_beyond, _length_of_element),
    "WMV": _smaller_than_stated,
    "MPEG-TS": _in_a_packet,
    "MPEG": _in_a_pack,
    "FLV": _in_a_tag,
    "Ogg": _in_a_page,
}
