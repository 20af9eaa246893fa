"""A .npz of class maps, written picture by picture: what `masks.read_masks` reads."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from polyface.errors import RunError
from polyface.evaluation.arrays import CLASSES, NAMES, SUBJECTS


class MaskWriter:
    """With MaskWriter(file, classes) as masks: masks.add(name, mask, subject). The file appears, whole, when the block is left without an error."""

    def __init__(self, file: Path, classes: Sequence[str]) -> None:
        self._file, self._partial = file, file.with_name(f".{file.name}.partial")
        self._classes = classes
        self._subjects: dict[str, str | None] = {}

    def __enter__(self) -> "MaskWriter":
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._archive = zipfile.ZipFile(self._partial, "w", zipfile.ZIP_DEFLATED)
        except OSError as error:
            raise RunError(f"{self._file}: cannot be written ({error.strerror or error})") from error
        return self

    def add(self, name: str, mask: np.ndarray, subject: str | None = None) -> None:
        """mask uint8 [H, W]. Subjects are written where one is known; a mask whose person is not known stands alone."""
        self._write(name, mask)
        self._subjects[name] = subject

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            with self._archive:
                if kind is None:
                    self._write(CLASSES, np.array(self._classes))
                    self._write(NAMES, np.array(list(self._subjects)))
                    if any(self._subjects.values()):
                        self._write(SUBJECTS, np.array([subject or f"? {name}" for name, subject in self._subjects.items()]))
            if kind is None:
                os.replace(self._partial, self._file)
        except OSError as error:
            raise RunError(f"{self._file}: cannot be written ({error.strerror or error})") from error
        finally:
            self._partial.unlink(missing_ok=True)

    def _write(self, name: str, array: np.ndarray) -> None:
        try:
            with self._archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
        except OSError as error:
            raise RunError(f"{self._file}: cannot be written ({error.strerror or error})") from error
