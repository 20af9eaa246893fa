"""FaceSynthetics, rendered people: `NNNNNN.png` of 512 x 512, nineteen regions in `NNNNNN_seg.png`, 70 points (iBUG's 68, then two pupils) in `NNNNNN_ldmks.txt`.

Train only: rendered people are no test of photographs, and choose no model. Looked at in a hundred pictures: the "right" of the regions is the image's, so that class
3, the "right eye", is the subject's left; the points are in iBUG's order, whose "right" is the subject's, and their (0, 0) is the first pixel's corner, as ours is
(mask edges agree to 0.3 pixels). Points are those of a solid head: hidden ones are given too, and of a turned head the far jaw lies behind the contour that
people click.
"""

import re

import numpy as np

from polyface.datasets.base import Alignment, Dataset, Listing, Record, Split
from polyface.datasets.tables import Mask, Rows, as_text, check_inside, lines, points_of_rows
from polyface.errors import InputError
from polyface.images import geometry
from polyface.images.read import Root, Source
from polyface.labels import PointMap, words
from polyface.tasks import landmarks, parsing

PICTURE = re.compile(r"(?:.*/)?(\d{6})\.png", re.ASCII)
PUPILS = 2
MEANINGS = {
    "background": "background",
    "skin": ("skin", "eye_g"),
    "nose": "nose",
    "image-right eye": "l_eye",
    "image-left eye": "r_eye",
    "image-right brow": "l_brow",
    "image-left brow": "r_brow",
    "image-right ear": "l_ear",
    "image-left ear": "r_ear",
    "mouth interior": "mouth",
    "top lip": "u_lip",
    "bottom lip": "l_lip",
    "neck": "neck",
    "hair": "hair",
    "beard": ("skin", "hair"),
    "clothing": "cloth",
    "glasses": "eye_g",
    "headwear": ("hat", "eye_g", "background"),
    "facewear": ("background", "skin", "nose", "eye_g", "mouth", "u_lip", "l_lip", "hat", "cloth"),
}
"""The order is the class. Glasses are frames and dark lenses, while skin behind a clear lens is skin here and eye_g with us. Headwear is hats, and headphones and a
headset too. Facewear is in none of the hundred pictures: the one mask over a mouth is background. Nobody wears jewellery. 255 is unlabelled, as with us."""


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(facesynthetics.answers)
    for name in root.names():
        if found := PICTURE.fullmatch(name):
            stem = name.removesuffix(".png")
            table, mask = f"{stem}_ldmks.txt", f"{stem}_seg.png"
            absent = [file for file in (table, mask) if not root.exists(file)]
            if absent:
                rows.missing(absent[0])
                continue
            with rows.row(name):
                points = read_points(as_text(root.open(table), table), table)
                check_inside(points, root.open(name), name)
                labels = {landmarks.name: points, parsing.name: Mask(Source(root, mask))}
                five = Alignment(geometry.five_of_68() @ points, "labelled")
                rows.add(Record(found[1], Source(root, name), labels, alignment=five, boxes=geometry.box_of(points)[None]))
    return rows.listing()


def read_points(content: str, name: str) -> np.ndarray:
    """`x y` in 70 lines -> the 68 points float [68, 2] in our coordinates. Raises InputError naming file and row."""
    points = points_of_rows(lines(content), name)
    if len(points) != landmarks.count + PUPILS:
        raise InputError(f"{name}: {len(points)} points where there are {landmarks.count + PUPILS}")
    return points[: landmarks.count]


facesynthetics = Dataset(
    name="facesynthetics",
    title="FaceSynthetics",
    terms="non-commercial research",
    url="https://github.com/microsoft/FaceSynthetics",
    answers={parsing.name: words(parsing.vocabulary, MEANINGS), landmarks.name: PointMap(np.eye(landmarks.count))},
    splits=("train",),
    list_records=list_records,
)
