"""Bytes to pictures, safely: from a file, or from a member of a .zip or .tar read in place.

`decode` gives uint8 RGB [H, W, 3], upright, or an InputError of one line; it never opens a file whose header promises more than it may
cost. `decode_mask` gives the class index of every pixel. `find_pictures` turns what a person types (photographs, folders, globs) into
files.
"""

import glob
import os
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol

import cv2
import numpy as np

from polyface.errors import InputError, RequestError
from polyface.images import headers, heif
from polyface.images.headers import PNG, Header, png_chunks

MAX_BYTES = 1_000_000_000  # one file or member
SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"})
MID_GREY = 128
BAND = 256  # rows
MAX_LINK = 4096  # bytes of where a symbolic link leads, as of any path of Linux

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what a broken picture has to say is said once, by InputError


# Where pictures are


class Root(Protocol):
    """A folder of files, or an archive that is read as one. Names are relative, with "/". `label` names it in errors."""

    @property
    def label(self) -> str: ...
    def names(self) -> list[str]: ...
    def exists(self, name: str) -> bool: ...
    def open(self, name: str) -> bytes: ...


@dataclass(frozen=True)
class Source:
    """One file of a root. Small, picklable, safe to read from any thread or process."""

    root: Root
    name: str

    def read(self) -> bytes:
        """Raises InputError naming the file."""
        return self.root.open(self.name)

    def __str__(self) -> str:
        return os.path.join(self.root.label, self.name)


@dataclass(frozen=True)
class Sent:
    """A picture that somebody sent: its bytes, and the name that it came with, which opens nothing."""

    name: str
    content: bytes = field(repr=False)

    def read(self) -> bytes:
        return self.content

    def __str__(self) -> str:
        return self.name


def file_source(path: str | os.PathLike[str]) -> Source:
    folder, name = os.path.split(Path(path))
    return Source(Directory(folder), name)


def open_root(path: str | os.PathLike[str]) -> Root:
    """A directory, a .zip or an uncompressed .tar. Where an archive holds one folder named as itself (lfw.zip: lfw/...), that folder is the
    root.

    Raises RequestError when there is nothing of the kind.
    """
    path = Path(path)
    if path.is_dir():
        return Directory(str(path))
    if not path.is_file():
        raise RequestError(f"{path}: no such folder or archive")
    try:
        if path.suffix.lower() == ".zip":
            return Archive(str(path), _without_own_folder(_index_of_zip(path), path.stem))
        if path.suffix.lower() == ".tar":
            return Archive(str(path), _without_own_folder(_index_of_tar(path), path.stem))
    except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, tarfile.TarError, struct.error, IndexError) as error:
        raise RequestError(f"{path}: cannot be read as an archive ({error})") from error
    raise RequestError(f"{path}: neither a folder nor a .zip or uncompressed .tar")


@dataclass(frozen=True)
class Directory:
    label: str

    def names(self, unread: Callable[[OSError], object] | None = None) -> list[str]:
        """Every file below, sorted; links to folders are followed, each folder once. unread(error) of each folder that cannot be read, whose `filename` it is; without it
        raises InputError, since what lies there would be missed by nobody."""
        names, seen = [], set()
        for folder, folders, files in os.walk(self.label, onerror=unread or _refuse_folder, followlinks=True):
            place = os.stat(folder)
            if (place.st_dev, place.st_ino) in seen:
                folders.clear()
                continue
            seen.add((place.st_dev, place.st_ino))
            prefix = os.path.relpath(folder, self.label).replace(os.sep, "/")
            names += files if prefix == "." else [f"{prefix}/{file}" for file in files]
        return sorted(names)

    def exists(self, name: str) -> bool:
        return os.path.isfile(os.path.join(self.label, name))

    def open(self, name: str) -> bytes:
        path = os.path.join(self.label, name)
        try:
            if not os.path.isfile(path):
                raise InputError(f"{path}: {'is not a file' if os.path.exists(path) else 'no such file'}")
            if os.path.getsize(path) > MAX_BYTES:
                raise InputError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB")
            with open(path, "rb") as file:
                return file.read()
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _unreadable(error: OSError) -> InputError:
    return InputError(f"{error.filename}: cannot be read ({error.strerror})")


def _refuse_folder(error: OSError) -> NoReturn:
    raise _unreadable(error) from error


@dataclass(frozen=True)
class Member:
    """Where one file lies in its archive. For a .zip `offset` is that of its local header, and `packed` bytes hold it; for a .tar both
    are its own.
    """

    offset: int
    size: int
    packed: int
    zip_method: int | None = None
    encrypted: bool = False
    crc: int = 0


@dataclass(frozen=True)
class Archive:
    """A .zip or .tar whose list was read once. Each read opens the file anew: no lock, and no handle shared between threads or forked
    workers.
    """

    label: str
    members: dict[str, Member] = field(repr=False, hash=False)

    def names(self) -> list[str]:
        return sorted(self.members)

    def exists(self, name: str) -> bool:
        return _inside(name) in self.members

    def open(self, name: str) -> bytes:
        member = self.members.get(_inside(name))
        if member is None:
            raise InputError(f"{self.label}/{name}: no such file in the archive")
        if max(member.size, member.packed) > MAX_BYTES:
            raise InputError(f"{self.label}/{name}: larger than {MAX_BYTES // 1_000_000} MB")
        try:
            with open(self.label, "rb") as file:
                data = _read_zipped(file, member) if member.zip_method is not None else _read_at(file, member.offset, member.size)
        except (OSError, ValueError, zlib.error, struct.error) as error:
            raise InputError(f"{self.label}/{name}: cannot be read ({error})") from error
        if len(data) != member.size:
            raise InputError(f"{self.label}/{name}: cut short")
        return data


def _index_of_zip(path: Path) -> dict[str, Member]:
    members, links = dict[str, Member](), dict[str, str]()
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = _inside(info.filename.replace("\\", "/"))  # as some tools of Windows write it
            member = Member(info.header_offset, info.file_size, info.compress_size, info.compress_type, bool(info.flag_bits & 1), info.CRC)
            if stat.S_ISLNK(info.external_attr >> 16):
                if to := _where_to(file, member):
                    links[name] = to
            elif not info.is_dir() and not name.startswith("__MACOSX/"):
                members[name] = member
    return _with_links(members, links)


def _where_to(file, member: Member) -> str | None:
    """Where a symbolic link of a .zip leads; None where it is encrypted or damaged, and nobody can say."""
    if max(member.size, member.packed) > MAX_LINK:
        return None
    try:
        return _read_zipped(file, member).decode(errors="replace")
    except (OSError, ValueError, zlib.error, struct.error):
        return None


def _index_of_tar(path: Path) -> dict[str, Member]:
    members, links = dict[str, Member](), dict[str, str]()
    with tarfile.open(path, "r:") as archive:  # "r:" refuses compression, in which nothing can be found without reading all before it
        for info in archive:
            if info.isreg():
                members[_inside(info.name)] = Member(info.offset_data, info.size, info.size)
            elif info.islnk() and (same := members.get(_inside(info.linkname))):  # a file by a second name, as tar stores it
                members[_inside(info.name)] = same
            elif info.issym():
                links[_inside(info.name)] = info.linkname
    return _with_links(members, links)


def _with_links(members: dict[str, Member], links: Mapping[str, str]) -> dict[str, Member]:
    """The members, and what symbolic links {name: where to, from its own folder} lead to, over other links too; one that leads out, nowhere or to a folder is none."""
    for name in links:
        at, seen = name, set[str]()
        while at in links and at not in seen:
            seen.add(at)
            at = posixpath.normpath(posixpath.join(posixpath.dirname(at), links[at]))
        if at in members:
            members[name] = members[at]
    return members


def _inside(name: str) -> str:
    """A member's name as a folder has it when all is unpacked into it: a/b.jpg of ./a/b.jpg, of a//b.jpg, and of /a/b.jpg, which is no path of this machine."""
    return posixpath.normpath(f"/{name}").lstrip("/")


def _without_own_folder(members: dict[str, Member], stem: str) -> dict[str, Member]:
    if members and all(name.startswith(f"{stem}/") for name in members):
        return {name.removeprefix(f"{stem}/"): member for name, member in members.items()}
    return members


def _read_at(file, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _read_zipped(file, member: Member) -> bytes:
    header = _read_at(file, member.offset, 30)
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    packed = _read_at(file, member.offset + 30 + name_length + extra_length, member.packed)
    if member.encrypted:
        raise ValueError("encrypted")
    if member.zip_method == zipfile.ZIP_STORED:
        data = packed
    elif member.zip_method == zipfile.ZIP_DEFLATED:
        data = zlib.decompressobj(-15).decompress(packed, member.size + 1)
    else:
        raise ValueError(f"compression method {member.zip_method}; stored and deflated members are read")
    if zlib.crc32(data) != member.crc:
        raise ValueError("its checksum differs: the archive is damaged")
    return data


def find_pictures(paths: Iterable[str | os.PathLike[str]], endings: frozenset[str] = SUFFIXES) -> tuple[list[Path], list[InputError]]:
    """Photographs, folders (all below them) and globs -> files, sorted and each once, and a refusal for every path that leads to none, every
    folder that cannot be read, and every name that is no text.

    A file that is named is taken whatever its name ends in; in folders and globs those with one of the endings are (`SUFFIXES`: HEIC too,
    so that it is refused aloud).
    """
    found: dict[str, Path] = {}
    refused: list[InputError] = []
    for given in map(str, paths):
        path, before = Path(given), len(refused)
        if not given:  # Path("") is the folder that one is in
            refused.append(InputError(NO_PATH))
            continue
        if os.path.isfile(path):  # unlike Path.is_file this takes a name that is too long for none
            files = [path]
        elif os.path.isdir(path):
            files = _pictures_below(path, endings, refused)
        else:
            matches = sorted(map(Path, glob.glob(given, recursive=True))) if glob.has_magic(given) else []
            files = [file for match in matches for file in (_pictures_below(match, endings, refused) if os.path.isdir(match) else [match]) if _ends_in(file, endings)]
        if not files and len(refused) == before:
            why = "holds no pictures" if os.path.isdir(path) else "no picture matches it" if glob.has_magic(given) else "no such file or folder"
            refused.append(InputError(f"{given}: {why}"))
        refused += [no_unicode(str(file)) for file in files if not is_unicode(str(file))]
        found.update({os.path.abspath(file): file for file in files if is_unicode(str(file))})
    return sorted(found.values()), refused


NO_PATH = "'' names no path"


def is_unicode(name: str) -> bool:
    """Whether a name can be written down; on POSIX a file may be called by any bytes."""
    try:
        name.encode()
        return True
    except UnicodeEncodeError:
        return False


def no_unicode(name: str) -> InputError:
    """Of a name that `is_unicode` denies."""
    return InputError(f"{name!r}: its name is no UTF-8")


def _pictures_below(folder: Path, endings: frozenset[str], refused: list[InputError]) -> list[Path]:
    """The pictures; folders that cannot be read join the refused."""
    names = Directory(str(folder)).names(lambda error: refused.append(_unreadable(error)))
    return [folder / name for name in names if _ends_in(Path(name), endings)]


def is_picture(path: Path) -> bool:
    return _ends_in(path, SUFFIXES)


def _ends_in(path: Path, endings: frozenset[str]) -> bool:
    return path.suffix.lower() in endings and not path.name.startswith(".")


# From bytes to pixels


def read_header(data: bytes, name: str) -> Header:
    """What a picture says of itself, nothing decoded. Raises InputError for what is no picture, is cut short, or would be too large to decode."""
    return heif.read_header(data, name) if heif.is_heic(data) else headers.read_header(data, name)


def decode(data: bytes, name: str, reduce: int = 1, header: Header | None = None) -> np.ndarray:
    """JPEG, PNG, WebP, GIF, BMP or TIFF -> uint8 RGB [H, W, 3], upright by EXIF; HEIC where pillow-heif is installed.

    16 bits are scaled to 8, grey and palettes and CMYK become RGB, of an animation or a stack of pages the first is taken. Transparent
    parts of PNG and WebP are laid over mid-grey, since the colours beneath are arbitrary; in TIFF and GIF alpha is dropped. `reduce` 2, 4
    or 8 gives the picture at that fraction (rounded up), for JPEG at that fraction of the cost; continuous coordinates are then those of
    the whole picture divided by `reduce` (where EXIF turns a picture whose sides `reduce` does not divide, to within one of its pixels). `header`, where it was
    read before. Raises InputError, one line that begins with `name`.
    """
    if heif.is_heic(data):
        image = heif.decode(data, name)
        return image if reduce == 1 else _shrink(image, reduce)
    header = header or read_header(data, name)
    reduced = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
    by_codec = reduce > 1 and header.format == "JPEG"
    if by_codec:  # cv2 refuses these flags together with IMREAD_COLOR_RGB
        image = cv2.cvtColor(_imdecode(data, reduced[reduce], name, "JPEG"), cv2.COLOR_BGR2RGB)
    elif header.alpha:
        image = _upright(_over_grey(_imdecode(data, cv2.IMREAD_UNCHANGED, name, header.format)), header.orientation)
    else:
        image = _imdecode(data, cv2.IMREAD_COLOR_RGB, name, header.format)
    return image if reduce == 1 or by_codec else _shrink(image, reduce)


def decode_mask(data: bytes, name: str) -> np.ndarray:
    """A PNG -> uint8 [H, W] of class indices: the index where it has a palette (not the colour), else the grey value, as it is stored (0
    and 1 in a one-bit picture).

    Raises InputError for a picture in colours, for values above 255 and for whatever `decode` refuses.
    """
    header = read_header(data, name)
    if header.format != "PNG":
        raise InputError(f"{name}: a mask must be a PNG, this is {header.format}")
    depth, kind = data[24], data[25]
    mask = _imdecode(_palette_as_grey(data) if kind == 3 else data, cv2.IMREAD_UNCHANGED, name, "PNG")
    if depth < 8:
        mask //= {1: 255, 2: 85, 4: 17}[depth]  # libpng stretches small depths of grey to 0..255
    if mask.ndim == 3:
        colours = mask[..., :3]
        if not (colours == colours[..., :1]).all():
            raise InputError(f"{name}: a picture in colours, not a mask of class indices")
        mask = colours[..., 0]
    if mask.dtype != np.uint8:
        if mask.size and mask.max() > 255:
            raise InputError(f"{name}: a mask of class indices, with a value of {mask.max()}")
        mask = mask.astype(np.uint8)
    return np.ascontiguousarray(mask)


def _imdecode(data: bytes, flags: int, name: str, format: str) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{name}: a damaged {format} that cannot be decoded" + (", or of floating point" if format == "TIFF" else ""))
    return image


def _over_grey(image: np.ndarray) -> np.ndarray:
    """BGRA (or, if the alpha that the header promised was not there, BGR or grey) of 8 or 16 bits -> uint8 RGB."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    rgba = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)
    laid = np.empty((*rgba.shape[:2], 3), np.uint8)
    for top in range(0, len(rgba), BAND):  # in floats the whole of a large picture would take a gigabyte
        band = rgba[top : top + BAND]
        alpha = band[..., 3:].astype(np.float32) / 255
        laid[top : top + BAND] = np.rint(band[..., :3] * alpha + MID_GREY * (1 - alpha))
    return laid


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """EXIF's eight orientations (CIPA DC-008, tag 0x0112)."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _shrink(image: np.ndarray, by: int) -> np.ndarray:
    """Means of by x by pixels; the last row and column are repeated up to a whole block, as JPEG does, so that coordinates divide
    exactly.
    """
    height, width = -(-image.shape[0] // by), -(-image.shape[1] // by)
    image = cv2.copyMakeBorder(image, 0, height * by - image.shape[0], 0, width * by - image.shape[1], cv2.BORDER_REPLICATE)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _palette_as_grey(data: bytes) -> bytes:
    """The same PNG with its colour type 3 (palette) written as 0 (grey): libpng then gives the indices, with its own filters, depths and
    interlacing.
    """
    pixels = [(kind, content) for kind, content in png_chunks(data) if kind in (b"IDAT", b"IEND")]
    chunks = [(b"IHDR", data[16:25] + b"\0" + data[26:29]), *pixels]
    written = [struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)) for kind, content in chunks]
    return PNG + b"".join(written)
