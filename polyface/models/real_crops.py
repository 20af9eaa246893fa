"""Crops of real pictures, of the data sets that taught a network, on which two forms of it are held against each other: torch and ONNX, floats and eight bits."""

import itertools
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyface import datasets, terminal
from polyface.datasets.base import Split
from polyface.datasets.crops import Example, examples, open_crop, read_faces
from polyface.errors import InputError, RequestError
from polyface.images import align
from polyface.inference.card import Card

FEW = 4
"""Crops of each data set that an ONNX file is compared with torch on."""

Progress = Callable[[str, int, int], None]
"""(data set, sets done, sets in all)"""


@dataclass(frozen=True)
class RealCrops:
    """crops uint8 [N, S, S, 3], which may be none; split and sets: whose pictures they are."""

    crops: np.ndarray
    split: Split
    sets: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.crops)} of {self.split} pictures of {', '.join(self.sets)}"


def learned_from(folder: Path, card: Card) -> list[str]:
    """The sets that the network of a run or model directory learned from, as its recipe names them, so that files of one's own are found; by the card's names where no
    recipe is there."""
    recipe = (folder.parent if folder.name == "model" else folder) / "config.toml"
    if recipe.exists():
        return [entry["set"] for entry in tomllib.loads(recipe.read_text()).get("data", ())]
    return [entry.name for entry in card.data]


def real_crops(names: Sequence[str], crop: align.Crop, data: Path, split: Split, most: int, report: Progress | None = None) -> RealCrops:
    """At most so many crops of a split of each of these sets that is at hand, evenly through its list. Pictures that cannot be read are said, and left out."""
    crops: list[np.ndarray] = []
    sets: list[str] = []
    for done, name in enumerate(names, 1):
        of_set = list(_crops(name, crop, data, split, most))
        crops += of_set
        sets += [name] if of_set else []
        if report:
            report(f"{name} ({split})", done, len(names))
    return RealCrops(np.array(crops, np.uint8).reshape(-1, crop.size, crop.size, 3), split, tuple(sets))


def _crops(name: str, crop: align.Crop, data: Path, split: Split, most: int) -> Iterator[np.ndarray]:
    for example in _some(name, data, split, most):
        try:
            yield open_crop(example.record, align.from_points(example.points, crop), crop.size)[0]
        except InputError as error:
            terminal.say(f"{name}: {error}")


def _some(name: str, data: Path, split: Split, most: int) -> Iterator[Example]:
    """At most so many examples, evenly through the list; none of a set that is not at hand or has no such split. A name that is no set's is said."""
    try:
        dataset = datasets.named(name)
    except RequestError as error:
        terminal.say(str(error))
        return iter(())
    try:
        found = examples(dataset, datasets.find_root(data, dataset.name), split, read_faces(data, dataset.name).found, training=True).items
    except (InputError, RequestError):
        return iter(())
    return itertools.islice(found[:: -(-len(found) // most)], most)
