"""What the pictures of a gallery held when they were looked at: so that one that was replaced under its name is known, and a copy of one that is there under another.

A picture is what its bytes are, by their sha256. As long as the file it lies in (of a member of an archive: the archive) has the size and the time of then, nothing is
read.
"""

import hashlib
import os
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from polyface.errors import InputError
from polyface.images.read import Directory, Root, Source

Stamp = tuple[int, int]
"""The size in bytes of a file, and when it was last written to, in nanoseconds."""

NO_STAMP: Stamp = (-1, -1)
"""Of a file that is not there."""
UNREAD = bytes(32)
"""In place of the sha256 of what could not be read."""


def stamps_of(pictures: Sequence[Source]) -> dict[str, Stamp]:
    """The stamp of each picture by its name; an archive is asked once."""
    archives: dict[str, Stamp] = {}
    stamps = {}
    for picture in pictures:
        if isinstance(picture.root, Directory):
            stamps[str(picture)] = _stamp(str(picture))
            continue
        if picture.root.label not in archives:
            archives[picture.root.label] = _stamp(picture.root.label)
        stamps[str(picture)] = archives[picture.root.label]
    return stamps


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return NO_STAMP
    return found.st_size, found.st_mtime_ns


def sha256_of(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


@dataclass(frozen=True)
class Hashed:
    """A root whose files are hashed as they are read. hashes: the sha256 of each by its name in the root's words; what is among `held` is not given, an InputError is."""

    root: Root
    hashes: dict[str, bytes] = field(repr=False)
    held: Container[bytes] = field(repr=False)

    @property
    def label(self) -> str:
        return self.root.label

    def names(self) -> list[str]:
        return self.root.names()

    def exists(self, name: str) -> bool:
        return self.root.exists(name)

    def open(self, name: str) -> bytes:
        content, picture = self.root.open(name), str(Source(self.root, name))
        self.hashes[picture] = sha256_of(content)
        if self.hashes[picture] in self.held:
            raise InputError(f"{picture}: a copy")
        return content
