"""FASSEG: six regions in colours, in frontal portraits (`V2`) and in Pointing'04's turned heads (`V3`), whose folder is the yaw.

Layout: `V2/Train_RGB/N.bmp` with `V2/Train_Labels/N.bmp`, `V3/Train_RGB/YAW/personnePPSNN+0YAW.bmp` (person PP, series S) with `V3/Train_labels/...`, Test likewise.
`V1` holds the photographs of V2 and is not read. Every picture of V3 has a yaw, 278 of 390 have a mask; four masks of the test belong to another
cut of the photograph, shifted and not scaled: these pictures keep the yaw alone. In folder `-30` the nose points to the image's right (looked at), so our yaw is 30.

Train and Test are official. V3's cut people (1-7, 8-15), and a tenth of its training people is validation; of V2 a tenth of the pictures, by content. V2's parts share
photographs: twelve of twenty in training are in the test, six in the same bytes, six cut anew (IN_TEST). They leave training.
"""

import re
from dataclasses import dataclass

import numpy as np

from polyface.datasets.base import Dataset, Listing, Record, Split, split_of_train
from polyface.datasets.tables import Rows
from polyface.errors import InputError
from polyface.images.read import Root, Source, decode, read_header
from polyface.labels import Ranges, words
from polyface.tasks import parsing, pose

PORTRAIT = r"V2/(?:Train|Test)_RGB/\d+"
TURNED = r"V3/(?:Train|Test)_RGB/(?P<yaw>0|[+-]\d\d)/(?P<person>personne\d\d)\d{3}\+0[+-]\d+"
PICTURE = re.compile(rf"(?:.*/)?(?P<key>{PORTRAIT}|{TURNED})\.bmp", re.ASCII)
IN_TEST = {f"V2/Train_RGB/{number}" for number in (1, 3, 5, 6, 7, 10)}
"""The photographs of V2/Test_RGB/ 3, 1, 6, 5, 7 and 8, cut and scaled anew (looked at), so that bytes and thumbnails miss them."""

COLOURS = np.array([[255, 0, 0], [255, 255, 0], [127, 0, 0], [0, 0, 255], [0, 255, 255], [0, 255, 0]], np.int32)
"""RGB of the words, in the order of MEANINGS."""
MEANINGS = {
    "background": ("background", "cloth", "eye_g", "ear_r", "neck_l"),
    "skin": ("skin", "l_ear", "r_ear", "neck", "eye_g", "ear_r", "neck_l"),
    "hair": ("hair", "l_brow", "r_brow", "eye_g", "ear_r"),
    "eyes": ("l_eye", "r_eye", "eye_g"),
    "nose": ("nose", "eye_g"),
    "mouth": ("mouth", "u_lip", "l_lip"),
}
"""Glasses and jewellery are painted as what is behind them. Beards are skin. Nobody wears a hat, so the set says nothing of hats."""
FARTHEST = 80
"""Masks were resampled. A blend of two colours may be nearest to a third, but comes no closer to it than 90: what is farther than this from its nearest is unlabelled."""

YAW_SIGMA = 7.5
"""Degrees: people turned to marks 15 degrees apart; nobody measured how far they went. Half a step [INF]."""


@dataclass(frozen=True)
class ColourMask:
    """A mask in colours that is opened when it is needed: uint8 [H, W], the place of each pixel's word in MEANINGS, 255 where it is none's."""

    source: Source

    def __call__(self) -> np.ndarray:
        image = decode(self.source.read(), str(self.source)).astype(np.int32)
        distances = np.stack([np.square(image - colour).sum(-1) for colour in COLOURS])
        return np.where(distances.min(0) <= FARTHEST**2, distances.argmin(0), 255).astype(np.uint8)


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(fasseg.answers)
    found = [(name, match) for name in root.names() if (match := PICTURE.fullmatch(name))]
    for name, match in sorted(found, key=lambda entry: "/Test_RGB/" not in entry[1]["key"]):
        key, yaw, person = match["key"], match["yaw"], match["person"]
        with rows.row(name):
            content = root.open(name)
            there: Split = "test" if "/Test_RGB/" in key else split_of_train(person or content)
            if rows.is_copy(content) or there != split or key in IN_TEST:
                continue
            labels: dict[str, object] = {pose.name: {"yaw": -int(yaw)}} if yaw else {}
            mask = _mask_of(name)
            if root.exists(mask):
                with rows.row(mask):
                    _check_size(root, mask, content, name)
                    labels[parsing.name] = ColourMask(Source(root, mask))
            elif not labels:
                rows.missing(mask)
            if labels:
                rows.add(Record(key, Source(root, name), labels, subject=person))
    return rows.listing()


def _mask_of(picture: str) -> str:
    """V2 writes `Train_Labels`, V3 `Train_labels`."""
    return re.sub(r"(V2/\w+)_RGB/", r"\1_Labels/", re.sub(r"(V3/\w+)_RGB/", r"\1_labels/", picture))


def _check_size(root: Root, mask: str, content: bytes, picture: str) -> None:
    of_mask, of_picture = read_header(root.open(mask), mask), read_header(content, picture)
    if (of_mask.width, of_mask.height) != (of_picture.width, of_picture.height):
        raise InputError(f"a mask of {of_mask.width} x {of_mask.height} for a picture of {of_picture.width} x {of_picture.height}")


fasseg = Dataset(
    name="fasseg",
    title="FASSEG",
    terms="published for research",
    url="http://massimomauro.github.io/FASSEG-repository/",
    answers={parsing.name: words(parsing.vocabulary, MEANINGS), pose.name: Ranges(sigma=YAW_SIGMA)},
    splits=("train", "validation", "test"),
    list_records=list_records,
)
