"""Files of arrays, as a stranger's model would leave them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Files = Callable[..., Path]


@pytest.fixture
def npz(tmp_path: Path) -> Files:
    """npz(name, array=values, ...): a .npz of that name."""

    def write(file: str, **arrays: object) -> Path:
        np.savez(tmp_path / f"{file}.npz", **{name: np.array(array) for name, array in arrays.items()})
        return tmp_path / f"{file}.npz"

    return write
