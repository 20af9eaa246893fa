"""Files of arrays, as a stranger's model would leave them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polyface.evaluation.protocols import result, verification
from polyface.metrics import intervals
from polyface.metrics.intervals import group_draws

Files = Callable[..., Path]


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals of ten draws, where a test is about values."""
    for module in (result, verification, intervals):
        monkeypatch.setattr(module, "group_draws", lambda count, draws=10, seed=0: group_draws(count, min(draws, 10), seed))


@pytest.fixture
def npz(tmp_path: Path) -> Files:
    """npz(name, array=values, ...): a .npz of that name."""

    def write(file: str, **arrays: object) -> Path:
        np.savez(tmp_path / f"{file}.npz", **{name: np.array(array) for name, array in arrays.items()})
        return tmp_path / f"{file}.npz"

    return write
