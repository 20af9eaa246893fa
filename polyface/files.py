"""Files written whole or not at all, and hashes."""

import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from polyface.errors import RunError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write under a temporary name in the same folder, sync, rename: a reader sees the old file or the new one, never half of it.

    Raises RunError naming the path when the disk is full or the folder cannot be written; the old file is then untouched.
    """
    with _whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """An .npz, written as `write_atomically` does. The arrays are not copied, which may be most of the memory."""
    import numpy as np

    with _whole(path) as file:
        np.savez(file, **arrays)


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def make_mapped(path: Path, kind: Any, shape: tuple[int, ...]) -> Any:
    """A new .npy of zeros, mapped so that it can be filled. Its place on the disk is taken at once: where there is none this raises OSError now, and the process is not
    killed when a page that has no place is written (SIGBUS)."""
    import numpy as np

    array = np.lib.format.open_memmap(path, "w+", np.dtype(kind), shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:  # a file system that cannot is none that is full
                if error.errno in NO_ROOM:
                    raise
    return array


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def sha256_of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_lines(lines: Iterable[str]) -> str:
    """The hash of a list of names: what a score was measured on, in one word."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
