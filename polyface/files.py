"""Files written whole or not at all, and hashes."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from polyface.errors import RunError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write under a temporary name in the same folder, sync, rename: a reader sees the old file or the new one, never half of it.

    Raises RunError naming the path when the disk is full or the folder cannot be written; the old file is then untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise RunError(f"{path}: cannot be written ({error.strerror or error})") from error


def sha256_of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_lines(lines: Iterable[str]) -> str:
    """The hash of a list of names: what a score was measured on, in one word."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
