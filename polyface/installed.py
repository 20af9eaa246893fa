"""The trained weights: a package of its own (`weights/` in a checkout of polyface), with a folder for each thing that was trained."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from polyface.errors import RequestError

PACKAGE = "polyface_weights"


def installed(part: Literal["model", "detector"]) -> Path:
    """The folder of a part of the installed weights. Raises RequestError, which says what to do, where it is not there."""
    spec = find_spec(PACKAGE)
    folder = Path(spec.origin).parent / part if spec is not None and spec.origin else None
    if folder is None or not folder.is_dir():
        why = "the weights are not installed" if folder is None else "the installed weights are older than it"
        otherwise = {"model": "--model DIR", "detector": "--detector FILE"}[part]
        raise RequestError(f"no {part}: {why}; run `pip install ./weights` in a checkout of polyface, or give {otherwise}")
    return folder
