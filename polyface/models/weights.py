"""Weights on disk: safetensors, never a pickle."""

from pathlib import Path

import safetensors
from safetensors.torch import load_file
from torch import Tensor

from polyface.errors import RequestError


def read_metadata(path: Path) -> dict[str, str]:
    """What a file of weights says beside its tensors. Raises RequestError as `read_tensors` does."""
    try:
        with safetensors.safe_open(path, "pt") as file:  # type: ignore[no-untyped-call]
            return file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise RequestError(f"{path}: cannot be read as safetensors ({error}); a pickle is never loaded") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Raises RequestError naming a file that is missing, cut short, or no safetensors."""
    try:
        return load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise RequestError(f"{path}: cannot be read as safetensors ({error}); a pickle is never loaded") from error
