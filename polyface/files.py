"""Files written whole or not at all, folders that one run writes to, and hashes."""

import errno
import hashlib
import io
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from polyface.errors import RequestError, RunError

LOCK = ".lock"
"""While a run writes. A file of its own, because a network's file system locks files that can be written, and no folders."""


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write under a temporary name in the same folder, sync, rename: a reader sees the old file or the new one, never half of it. A link stays, and what it leads to is
    replaced; a device or a pipe is written into.

    Raises RunError naming the path when the disk is full or the folder cannot be written; the old file is then untouched.
    """
    with _whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """An .npz, written as `write_atomically` does. The arrays are not copied, which may be most of the memory."""
    import numpy as np

    with _whole(path) as file:
        np.savez(file, **arrays)


def require_writable(*paths: Path | None) -> None:
    """Before the work whose outcome is to be written there: that each of these files can be, as far as its folder says, which is made only when it is written to. Nothing
    is left behind. Raises RequestError naming the file."""
    for path in paths:
        if path is None:
            continue
        if os.path.isdir(path):
            raise RequestError(f"{path}: is a folder; name a file")
        try:
            if _is_special(path):
                _require_allowed(path)
            else:
                _try_beside(Path(os.path.realpath(path)))
        except OSError as error:
            raise RequestError(f"{path}: cannot be written ({error.strerror or error})") from error


def _require_allowed(path: Path) -> None:
    """Nothing is opened: a pipe would wait for its reader."""
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _try_beside(path: Path) -> None:
    temporary = _temporary(next(folder for folder in path.parents if os.path.lexists(folder)) / path.name)
    open(temporary, "xb").close()
    temporary.unlink()


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
    try:
        with _Straight(open(path, "wb", buffering=0)) if _is_special(path) else _replacing(Path(os.path.realpath(path))) as file:
            yield file
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error})") from error


def _is_special(path: Path) -> bool:
    """Whether there is something that is no file, such as a device or a pipe: nothing may take its place."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


class _Straight(io.BufferedWriter):
    """Written from front to back: a device such as /dev/null says that it can be sought in, and is always at its beginning, where no .npz ends."""

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _temporary(path: Path) -> Path:
    return path.parent / f".{path.name}.{secrets.token_hex(4)}"


def sha256_of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_lines(lines: Iterable[str]) -> str:
    """The hash of a list of names: what a score was measured on, in one word."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """The folder, for this run only; the lock goes with the process, however it ends. Raises RequestError where another run has it, or it cannot be made."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{out}: cannot be written to ({error.strerror})") from error
    if sys.platform == "win32":
        yield
        return
    import fcntl

    file = out / LOCK
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise RequestError(f"{out}: cannot be written to ({error.strerror})") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RequestError(f"{out}: another run is writing to it") from error
        except OSError as error:
            raise RequestError(f"{out}: its file system knows no locks ({error.strerror}); choose another place") from error
        if not (file.exists() and os.path.samestat(os.fstat(handle), os.stat(file))):  # another run ended between the two
            raise RequestError(f"{out}: another run was writing to it just now")
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
    finally:
        os.close(handle)
