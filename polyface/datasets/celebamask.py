"""CelebAMask-HQ: nineteen classes. Two layouts are read.

The course edition: `images/NAME.jpg` of 512 x 512 with `masks/NAME.png`, whose palette index is the class. The public download: `CelebA-HQ-img/N.jpg` of
1024 x 1024 with one file per part, `CelebAMask-HQ-mask-anno/K/%05d_part.png` of 512 x 512, painted in the order of the classes, later over earlier (CelebAMask-HQ,
`g_mask.py`); read from its documentation, never run on the real download. Splits are fixed tenths by the picture's content. Masks are opened when they are needed.
"""

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from polyface.datasets.base import Alignment, Dataset, Listing, Record, Split, split_of
from polyface.datasets.tables import Mask, Rows, is_picture
from polyface.errors import InputError, nearest
from polyface.images.read import Root, Source, decode_mask, read_header
from polyface.labels import same_words
from polyface.tasks import parsing

PART = re.compile(r"(.*/)?CelebAMask-HQ-mask-anno/\d+/(\d{5})_(\w+)\.png", re.ASCII)
PICTURE = re.compile(r"(.*/)?CelebA-HQ-img/(\d{1,5})\.(jpg|png)", re.ASCII)
MERGED = re.compile(r"(.*/)?images/([^/]+)\.(jpg|jpeg|png)")
FIVE_POINTS = np.array([[191.4, 241.8], [319.9, 243.6], [252.9, 318.3], [197.3, 375.3], [306.6, 377.8]])
"""Means of YuNet's five points in 300 pictures of 512 x 512; they deviate by 7 to 10 pixels, the nose by 20."""


@dataclass(frozen=True)
class PaintedMask:
    """Paints part files over each other, and enlarges the result to the picture's size: uint8 [H, W] of classes."""

    picture: Source
    parts: tuple[tuple[int, Source], ...]

    def __call__(self) -> np.ndarray:
        mask: np.ndarray | None = None
        for number, source in self.parts:
            part = decode_mask(source.read(), str(source))
            mask = np.zeros(part.shape, np.uint8) if mask is None else mask
            if part.shape != mask.shape:
                raise InputError(f"{source}: {part.shape[1]} x {part.shape[0]} pixels, other parts have {mask.shape[1]} x {mask.shape[0]}")
            mask[part > 0] = number
        header = read_header(self.picture.read(), str(self.picture))
        assert mask is not None
        times = header.height // mask.shape[0]
        if (header.height, header.width) != (mask.shape[0] * times, mask.shape[1] * times):
            raise InputError(f"{self.parts[0][1]}: {mask.shape[1]} x {mask.shape[0]} pixels do not cover a picture of {header.width} x {header.height}")
        return mask.repeat(times, axis=0).repeat(times, axis=1)


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(celebamask.answers)
    names = [name for name in root.names() if is_picture(name)]
    if any(PICTURE.fullmatch(name) for name in names):
        _list_parts(rows, root, names, split)
    else:
        _list_merged(rows, root, names, split)
    return rows.listing()


def _list_merged(rows: Rows, root: Root, names: list[str], split: Split) -> None:
    for name in names:
        if found := MERGED.fullmatch(name):
            above, stem, _ = found.groups()
            mask = f"{above or ''}masks/{stem}.png"
            with rows.row(name):
                if split_of(root.open(name)) != split:
                    continue
                if not root.exists(mask):
                    rows.missing(mask)
                    continue
                rows.add(_record(root, name, stem, Mask(Source(root, mask)), 1.0))


def _list_parts(rows: Rows, root: Root, names: list[str], split: Split) -> None:
    parts: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
    for name in names:
        if found := PART.fullmatch(name):
            parts[int(found[2])].append((found[3], name))
    pictures = sorted((int(found[2]), name) for name in names if (found := PICTURE.fullmatch(name)))
    for number, name in pictures:
        with rows.row(name):
            if split_of(root.open(name)) != split:
                continue
            if number not in parts:
                rows.missing(f"CelebAMask-HQ-mask-anno/{number // 2000}/{number:05}_*.png")
                continue
            painted = PaintedMask(Source(root, name), tuple(sorted((_class(root, *part) for part in parts[number]), key=lambda part: part[0])))
            rows.add(_record(root, name, str(number), painted, 2.0))


def _class(root: Root, part: str, file: str) -> tuple[int, Source]:
    if part not in parsing.vocabulary:
        raise InputError(f"{file}: no part {part!r} here{nearest(part, parsing.vocabulary)}")
    return parsing.vocabulary.index(part), Source(root, file)


def _record(root: Root, name: str, key: str, mask: Mask | PaintedMask, scale: float) -> Record:
    return Record(key, Source(root, name), {parsing.name: mask}, alignment=Alignment(FIVE_POINTS * scale, "guess"))


celebamask = Dataset(
    name="celebamask",
    title="CelebAMask-HQ",
    terms="non-commercial research",
    url="https://github.com/switchablenorms/CelebAMask-HQ",
    answers={parsing.name: same_words(parsing.vocabulary)},
    splits=("train", "validation", "test"),
    list_records=list_records,
)
