"""What a person names as a heap of pictures -> each picture, once: photographs, folders and globs, .zip and .tar, lists of paths, MXNet's RecordIO.

A picture's name is its absolute path; inside an archive, that of the archive and its name in there: /data/faces.tar/a/1.jpg, /data/train.rec/17.
"""

import codecs
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from polyface.errors import InputError, RequestError
from polyface.images import read
from polyface.images.read import Directory, Root, Source
from polyface.images.recordio import open_records

SHOWN = 200
"""Characters of a line that names nothing: a list may be anything."""

ARCHIVES, RECORDS, LISTS = (".zip", ".tar"), (".rec",), (".txt", ".lst")
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def find_sources(paths: Iterable[str | os.PathLike[str]]) -> tuple[list[Source], list[InputError]]:
    """The pictures, those of each path sorted, each once, and a refusal for every path, and line of a list, that leads to none."""
    found: dict[str, Source] = {}
    refused: list[InputError] = []
    for given in map(str, paths):
        try:
            sources, without = _below(given) if given else ([], [InputError(read.NO_PATH)])
        except InputError as error:
            sources, without = [], [error]
        refused += without
        for source in sources:
            name = str(source)
            if read.is_unicode(name):
                found.setdefault(name, source)
            else:
                refused.append(read.no_unicode(name))
    return list(found.values()), refused


def source_of(name: str) -> Source:
    """The picture of a name that `find_sources` gave. Raises InputError where its file is gone."""
    return _in_archive(Path(name)) or read.file_source(Path(name))


def _in_archive(path: Path) -> Source | None:
    """What a path names that goes on behind an archive, /data/faces.tar/a/1.jpg, there or not; None where there is no archive above it."""
    for file in path.parents:
        if file.suffix.lower() in (*ARCHIVES, *RECORDS) and os.path.isfile(file):
            return Source(_root(str(file), file.stat().st_mtime_ns), path.relative_to(file).as_posix())
    return None


def _below(given: str) -> tuple[list[Source], list[InputError]]:
    path = Path(os.path.abspath(given))
    suffix = path.suffix.lower() if os.path.isfile(path) else ""
    if suffix and path.name.lower().endswith(PACKED):
        raise InputError(f"{given}: a compressed archive; only an uncompressed .tar is read: unpack it")
    if suffix in LISTS:
        return _listed(path)
    if suffix in (*ARCHIVES, *RECORDS):
        root = _root(str(path), path.stat().st_mtime_ns)
        names = [name for name in root.names() if suffix in RECORDS or read.is_picture(Path(name))]
        return [Source(root, name) for name in names], [] if names else [InputError(f"{given}: holds no pictures")]
    if member := _in_archive(path):
        if not member.root.exists(member.name):
            raise InputError(f"{given}: no such picture in the archive")
        return [member], []
    files, refused = read.find_pictures([given])
    return [_of_file(file) for file in files], refused


def _root(path: str, changed: int) -> Root:
    """An archive whose list is read once, as long as it does not change."""
    root = _opened(path, changed)
    if isinstance(root, str):
        raise InputError(root)
    return root


@lru_cache(maxsize=64)
def _opened(path: str, changed: int) -> Root | str:
    """The archive, or why it cannot be read: that, too, may take as long as reading its whole list."""
    try:
        return open_records(Path(path)) if Path(path).suffix.lower() in RECORDS else read.open_root(path)
    except (InputError, RequestError) as error:
        return str(error)


def _of_file(path: Path) -> Source:
    path = Path(os.path.abspath(path))
    return Source(Directory(str(path.parent)), path.name)


def _listed(path: Path) -> tuple[list[Source], list[InputError]]:
    """The files that a list names, a path in each line, or after the last tab of a line of im2rec's .lst; relative ones lie below the list's own folder."""
    try:
        lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a list of paths ({error})") from error
    sources, refused = [], []
    for number, line in enumerate(lines, 1):
        named = (line.rpartition(b"\t")[2] if path.suffix.lower() == ".lst" else line).strip()
        if not named:
            continue
        try:
            sources.append(_of_line(path.parent, named))
        except InputError as error:
            refused.append(InputError(f"{path}, line {number}: {error}"))
    if not sources:  # no list of paths at all: one line, whatever it is
        refused = [InputError(f"{path}: names no pictures" if not refused else str(refused[0]) + ", nor do its other lines name one")]
    return sources, refused


def _of_line(folder: Path, named: bytes) -> Source:
    """The picture that a line of a list in this folder names. Raises InputError where it names none."""
    try:
        name = os.fsdecode(named)
        name.encode()
    except UnicodeError:  # for bytes that are no UTF-8 this system may have a file, but nobody could write down its name
        raise read.no_unicode(named[:SHOWN].decode(errors="surrogateescape")) from None
    path = Path(os.path.abspath(folder / name))
    if os.path.isfile(path):  # unlike Path.is_file this takes a name that is too long for none
        return _of_file(path)
    member = _in_archive(path)
    if member and member.root.exists(member.name):
        return member
    raise InputError(f"{'a folder, and lists name files' if os.path.isdir(path) else 'no such file'}: {name[:SHOWN]}")
