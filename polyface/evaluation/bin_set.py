"""insightface's `.bin` of pairs as a data set: its pictures are cut to ArcFace's template already, and say of nobody who it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polyface.datasets.base import Alignment, Dataset, Listing, Pairs, Record
from polyface.errors import InputError
from polyface.evaluation.pair_pictures import read_pair_pictures
from polyface.images import read
from polyface.images.align import ARCFACE_112
from polyface.images.read import Root, Source
from polyface.labels import People
from polyface.metrics.verification import contiguous_folds
from polyface.tasks import identity

FOLDS = 10


@dataclass(frozen=True)
class Pictures:
    """A root whose files are `0`, `1`, ..., the encoded pictures of a .bin."""

    label: str
    pictures: Sequence[bytes] = field(repr=False)

    def names(self) -> list[str]:
        return [str(at) for at in range(len(self.pictures))]

    def exists(self, name: str) -> bool:
        return name.isdecimal() and int(name) < len(self.pictures)

    def open(self, name: str) -> bytes:
        return self.pictures[int(name)]


def set_of_bin(path: Path) -> tuple[Dataset, Root]:
    """The set, named as the file, with its test split and its pairs in insightface's ten folds (one where they are too few); keys are those of `score verification`.

    Raises InputError naming the file, and the picture that is none or not square, before anything is computed.
    """
    found = read_pair_pictures(path)
    root = Pictures(str(path), found.pictures)
    listing = Listing(tuple(Record(name, Source(root, name), {}, alignment=_alignment(root, name)) for name in root.names()))
    fold = contiguous_folds(len(found.same), FOLDS) if len(found.same) >= FOLDS else np.zeros(len(found.same), np.int64)
    pairs = Pairs(tuple(root.names()[::2]), tuple(root.names()[1::2]), found.same, fold)
    title = f"{path.name} of insightface"
    return Dataset(path.name, title, "", "", {identity.name: People()}, ("test",), lambda root, split: listing, lambda root: pairs), root


def _alignment(root: Pictures, name: str) -> Alignment:
    """Pictures of another size than 112 are the same view in other pixels, as insightface takes them."""
    where = f"{root.label}, picture {name}"
    header = read.read_header(root.open(name), where)
    if header.width != header.height:
        raise InputError(f"{where}: {header.width} x {header.height} pixels, a square cut to ArcFace's template is needed")
    return Alignment(ARCFACE_112 * (header.width / 112), "stated")
