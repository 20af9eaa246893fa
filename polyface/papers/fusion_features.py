"""A user's own features, fused with those of paper A's networks: `--features name=E.npz`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polyface.errors import RequestError
from polyface.papers.fusion_pictures import Pictures


@dataclass(frozen=True)
class Given:
    """Features of pictures: place {key: row}, features float32 [n, d]."""

    name: str
    file: Path
    place: Mapping[str, int] = field(repr=False)
    features: np.ndarray = field(repr=False)

    def lacks(self, pictures: Pictures) -> str | None:
        """The first picture that has no features here."""
        return next((key for key in pictures.keys if key not in self.place), None)

    def of(self, pictures: Pictures, count: int) -> np.ndarray:
        """float32 [N * count, d]: of a picture, the same for all its variants."""
        return np.repeat(self.features[[self.place[key] for key in pictures.keys]], count, axis=0)


def named(asked: Sequence[str]) -> tuple[Given, ...]:
    """Those of the command, "name=E.npz" each, an .npz with `keys` [n] and `features` [n, d].

    Raises RequestError for a file that is none, and for numbers that are not finite.
    """
    given = []
    for each in asked:
        name, equals, file = each.partition("=")
        if not equals or not name or not name.replace("_", "").replace("-", "").isalnum():
            raise RequestError(f"--features {each}: expected name=E.npz")
        given.append(_read(name, Path(file)))
    return tuple(given)


def check_fit(given: Sequence[Given], worlds: Sequence[Pictures]) -> None:
    """Raises RequestError for features that are of no world's pictures, naming the first that is not among them, or that are named as a network of a world."""
    for each in given:
        for pictures in worlds:
            if each.name in pictures.tasks or each.name in pictures.beside:
                raise RequestError(f"--features {each.name}: that is a network of {pictures.name}; choose another name")
        if worlds and all(each.lacks(pictures) is not None for pictures in worlds):
            nearest = max(worlds, key=lambda pictures: sum(key in each.place for key in pictures.keys) / len(pictures.keys))
            raise RequestError(f"{each.file}: features of another image list, {each.lacks(nearest)} of {nearest.name} is not in it")


def fitting(given: Sequence[Given], pictures: Pictures, count: int) -> dict[str, np.ndarray]:
    """{name: float32 [N * count, d]} of those that are of a world's pictures, all of them."""
    return {each.name: each.of(pictures, count) for each in given if each.lacks(pictures) is None}


def _read(name: str, file: Path) -> Given:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            keys, features = arrays["keys"], np.asarray(arrays["features"], np.float32)
    except FileNotFoundError as error:
        raise RequestError(f"{file}: no such file") from error
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(f"{file}: no .npz of keys [N] and features [N, d] ({error})") from error
    if features.ndim != 2 or len(keys) != len(features):
        raise RequestError(f"{file}: {len(keys)} keys for features of shape {list(features.shape)}")
    if not np.isfinite(features).all():
        raise RequestError(f"{file}: the features of {keys[int((~np.isfinite(features).all(1)).argmax())]} are not finite")
    return Given(name, file, {str(key): row for row, key in enumerate(keys)}, features)
