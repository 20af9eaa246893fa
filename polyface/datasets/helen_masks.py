"""Helen's masks (Smith et al. 2013, `SmithCVPR2013_dataset_resized`): eleven regions of 2,330 photographs. Never run on the real download.

Read from what public code does with it (papers.md, D9): `images/NAME.jpg` and `labels/NAME/NAME_lbl00.png` to `_lbl10.png`, one grey layer for each region, as sure as it
is light; a pixel is what its lightest layer says, and nothing where all are black. The lists `exemplars.txt` (train, 2,000), `tuning.txt` (validation, 230) and
`testing.txt` (test, 100) are official, lines `N , NAME`.

Skin is the face alone: ears and neck are background [INF], as clothes and hats are. Glasses have no word. Which side `left` is nobody says, so that a left brow or eye
may be either. NAME ends in `_N`, the N-th face of a photograph: a photograph of test leaves validation and train, one of validation leaves train. No points are
labelled; the pictures are those of `helen`, whose test training finds as near-copies.
"""

from dataclasses import dataclass

import numpy as np

from polyface.datasets.base import Dataset, Listing, Record, Split
from polyface.datasets.tables import Rows, find, photograph_of, text
from polyface.errors import InputError
from polyface.images.read import Root, Source, decode_mask
from polyface.labels import words
from polyface.tasks import parsing

BROWS, EYES = ("l_brow", "r_brow"), ("l_eye", "r_eye")
WORDS = {
    "background": ("background", "hat", "neck", "neck_l", "cloth", "l_ear", "r_ear", "ear_r", "eye_g"),
    "face skin": ("skin", "eye_g"),
    "left eyebrow": BROWS,
    "right eyebrow": BROWS,
    "left eye": EYES,
    "right eye": EYES,
    "nose": ("nose", "eye_g"),
    "upper lip": "u_lip",
    "inner mouth": "mouth",
    "lower lip": "l_lip",
    "hair": "hair",
}
"""In the order of the layers."""
LISTS: dict[Split, str] = {"test": "testing.txt", "validation": "tuning.txt", "train": "exemplars.txt"}


@dataclass(frozen=True)
class Layers:
    """A mask that is opened when it is needed: uint8 [H, W], the lightest of the layers, 255 where all are black."""

    sources: tuple[Source, ...]

    def __call__(self) -> np.ndarray:
        layers = [decode_mask(source.read(), str(source)) for source in self.sources]
        for source, layer in zip(self.sources, layers, strict=True):
            if layer.shape != layers[0].shape:
                raise InputError(f"{source}: {layer.shape[1]} x {layer.shape[0]} pixels, the first layer has {layers[0].shape[1]} x {layers[0].shape[0]}")
        stack = np.stack(layers)
        return np.where(stack.any(0), stack.argmax(0), 255).astype(np.uint8)


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(helen_masks.answers)
    above = find(root, LISTS["test"]).removesuffix(LISTS["test"])
    earlier: set[str] = set()
    for part, file in LISTS.items():
        listed = [(row, line, photograph_of(line.rpartition(",")[2].strip())) for row, line in enumerate(text(root, above + file).splitlines(), 1)]
        if part == split:
            for row, line, photograph in listed:
                if line.strip() and photograph not in earlier:
                    with rows.row(f"{above}{file}:{row}"):
                        _add(rows, root, above, _name(line))
            break
        earlier |= {photograph for _, _, photograph in listed}
    return rows.listing()


def _name(line: str) -> str:
    number, comma, name = (part.strip() for part in line.partition(","))
    if not comma or not number.isdigit() or not name or "/" in name:
        raise InputError(f"{line.strip()!r} is no line `N , NAME`")
    return name


def _add(rows: Rows, root: Root, above: str, name: str) -> None:
    picture = f"{above}images/{name}.jpg"
    layers = [f"{above}labels/{name}/{name}_lbl{index:02}.png" for index in range(len(WORDS))]
    for file in (picture, *layers):
        if not root.exists(file):
            rows.missing(file)
            return
    rows.add(Record(name, Source(root, picture), {parsing.name: Layers(tuple(Source(root, file) for file in layers))}))


helen_masks = Dataset(
    name="helen_masks",
    title="Helen, masks",
    terms="non-commercial research",
    url="https://pages.cs.wisc.edu/~lizhang/projects/face-parsing/",
    answers={parsing.name: words(parsing.vocabulary, WORDS)},
    splits=("train", "validation", "test"),
    list_records=list_records,
)
