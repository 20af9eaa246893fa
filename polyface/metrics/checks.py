"""What every score asks of its arrays before it computes. Each refusal is an InputError that names the array and its first bad row."""

import numpy as np

from polyface.errors import InputError


def require_rows(**arrays: np.ndarray) -> None:
    """All arrays have the same number of rows."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError("rows differ: " + ", ".join(f"{name} has {length}" for name, length in lengths.items()))


def require_finite(**arrays: np.ndarray) -> None:
    """No NaN and no infinity anywhere: comparisons with NaN are False, so a broken model would otherwise get a score."""
    for name, array in arrays.items():
        finite = np.isfinite(array)
        if not finite.all():
            where = tuple(np.argwhere(~finite)[0])
            raise InputError(f"{name}: row {where[0]} is not finite ({array[where]})")


def require_integers(name: str, values: np.ndarray, lowest: int, end: int) -> None:
    """Integers from `lowest` to end - 1."""
    if values.size and values.dtype.kind not in "iub":
        raise InputError(f"{name}: integers are needed, these are {values.dtype}")
    bad = (values < lowest) | (values >= end)
    if bad.any():
        where = tuple(np.argwhere(bad)[0])
        raise InputError(f"{name}: row {where[0]} holds {values[where]}, outside {lowest} to {end - 1}")
