"""What a person names as a heap of pictures -> each picture, once: photographs, folders and globs, .zip and .tar, lists of paths, MXNet's RecordIO.

A picture's name is its absolute path; inside an archive, that of the archive and its name in there: /data/faces.tar/a/1.jpg, /data/train.rec/17.
"""

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


def find_sources(paths: Iterable[str | os.PathLike[str]]) -> tuple[list[Source], list[InputError]]:
    """The pictures, those of each path sorted, each once, and a refusal for every path, and line of a list, that leads to none."""
    found: dict[str, Source] = {}
    refused: list[InputError] = []
    for given in map(str, paths):
        try:
            sources, without = _below(given) if given else ([], [InputError(read.NO_PATH)])
        except (InputError, RequestError) as error:
            sources, without = [], [InputError(str(error))]
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
    path = Path(name)
    for file in path.parents:
        if file.suffix.lower() in (*ARCHIVES, *RECORDS) and os.path.isfile(file):
            try:
                return Source(_root(str(file), file.stat().st_mtime_ns), path.relative_to(file).as_posix())
            except RequestError as error:
                raise InputError(str(error)) from error
    return read.file_source(path)


def _below(given: str) -> tuple[list[Source], list[InputError]]:
    path = Path(os.path.abspath(given))
    suffix = path.suffix.lower() if os.path.isfile(path) else ""
    if suffix in LISTS:
        return _listed(path)
    if suffix in (*ARCHIVES, *RECORDS):
        root = _root(str(path), path.stat().st_mtime_ns)
        names = [name for name in root.names() if suffix in RECORDS or read.is_picture(Path(name))]
        return [Source(root, name) for name in names], [] if names else [InputError(f"{given}: holds no pictures")]
    files, refused = read.find_pictures([given])
    return [_of_file(file) for file in files], refused


@lru_cache(maxsize=64)
def _root(path: str, changed: int) -> Root:
    """An archive whose list is read once, as long as it does not change."""
    return open_records(Path(path)) if Path(path).suffix.lower() in RECORDS else read.open_root(path)


def _of_file(path: Path) -> Source:
    path = Path(os.path.abspath(path))
    return Source(Directory(str(path.parent)), path.name)


def _listed(path: Path) -> tuple[list[Source], list[InputError]]:
    """The files that a list names, a path in each line, or after the last tab of a line of im2rec's .lst; relative ones lie below the list's own folder."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a list of paths ({error})") from error
    sources, refused = [], []
    for number, line in enumerate(lines, 1):
        name = line.rpartition("\t")[2].strip() if path.suffix.lower() == ".lst" else line.strip()
        if not name:
            continue
        file = path.parent / name
        if os.path.isfile(file):  # unlike Path.is_file this takes a name that is too long for none
            sources.append(_of_file(file))
        else:
            refused.append(InputError(f"{path}, line {number}: no such file: {name[:SHOWN]}"))
    if not sources:  # no list of paths at all: one line, whatever it is
        refused = [InputError(f"{path}: names no pictures" if not refused else str(refused[0]) + ", nor do its other lines name one")]
    return sources, refused
