"""LaPa: eleven regions and 106 points, `{train,val,test}/{images,labels,landmarks}/NAME.{jpg,png,txt}`. Never run on the real download.

Read from its documentation and the one picture of samples that its authors published.

Regions. Its `left` is the image's: in the published sample the left eye and brow are image-left in seven of seven faces with brows, so they are our subject's right.
Skin takes in ears (the sample shows it), and a clear lens on a nose or cheek has no word of its own. The background holds whatever else our classes name: neck,
clothes, hats, hair bands, earrings, and dark glasses.

Points. Those 35 are read on which two public maps to 68 agree (MMPose, `face6/rtmpose-*_face6.py`; opentrack, `dsprocess_lapa.py`): ends of the brows, bridge and
foot of the nose, eyes, mouth. Brows and nostrils are placed differently, and the jaw begins higher up. The first pixel is 0 (an inference).

Splits are official; train 18,176, validation 2,000, test 2,000. A name ends in `_N`, the N-th face or view of a photograph: a photograph of test leaves validation
and train, one of validation leaves train. Many photographs are 300-W's, some of its tests': training finds those as near-copies.
"""

import numpy as np

from polyface.datasets.base import Alignment, Dataset, Listing, Record, Split
from polyface.datasets.tables import Mask, Rows, as_text, check_inside, is_picture, photograph_of, points_of_rows
from polyface.errors import InputError
from polyface.images import align, geometry
from polyface.images.read import Root, Source
from polyface.labels import PointMap, words
from polyface.tasks import landmarks, parsing

WORDS = {
    "background": ("background", "eye_g", "hat", "ear_r", "neck_l", "neck", "cloth"),
    "skin": ("skin", "l_ear", "r_ear", "eye_g"),
    "left eyebrow": "r_brow",
    "right eyebrow": "l_brow",
    "left eye": "r_eye",
    "right eye": "l_eye",
    "nose": ("nose", "eye_g"),
    "upper lip": "u_lip",
    "inner mouth": "mouth",
    "lower lip": "l_lip",
    "hair": "hair",
}
"""In the order of the masks' numbers."""
FOLDERS: dict[Split, str] = {"test": "test", "validation": "val", "train": "train"}
COUNT = 106
OURS: dict[int, tuple[int, ...]] = {
    33: (17,), 46: (26,),
    51: (27,), 52: (28,), 53: (29,), 54: (30,), 60: (33,),
    66: (36,), 68: (37, 38), 70: (39,), 72: (40, 41),
    75: (42,), 77: (43, 44), 79: (45,), 81: (46, 47),
    **{84 + index: (48 + index,) for index in range(20)},
}  # fmt: skip
"""A point of LaPa -> the points of 68 whose mean it is."""


def weights() -> np.ndarray:
    """float [35, 68], rows in the order of OURS."""
    table = np.zeros((len(OURS), landmarks.count))
    for row, ours in enumerate(OURS.values()):
        table[row, ours] = 1 / len(ours)
    return table


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(lapa.answers)
    names = root.names()
    earlier: set[str] = set()
    for part, folder in FOLDERS.items():
        pictures = [name for name in names if f"/{name}".rpartition("/")[0].endswith(f"/{folder}/images") and name.endswith(".jpg") and is_picture(name)]
        if part == split:
            for name in pictures:
                if photograph_of(name) not in earlier:
                    with rows.row(name):
                        _add(rows, root, name, folder)
            break
        earlier |= {photograph_of(name) for name in pictures}
    return rows.listing()


def _add(rows: Rows, root: Root, name: str, folder: str) -> None:
    stem = name.rpartition("/")[2].removesuffix(".jpg")
    above = name.removesuffix(f"images/{stem}.jpg")
    mask, file = f"{above}labels/{stem}.png", f"{above}landmarks/{stem}.txt"
    if not root.exists(mask):
        rows.missing(mask)
        return
    labels: dict[str, object] = {parsing.name: Mask(Source(root, mask))}
    alignment, boxes = None, None
    if root.exists(file):
        points = read_points(as_text(root.open(file), file), file)
        check_inside(points, root.open(name), name)
        five = _five(points)
        labels[landmarks.name], alignment, boxes = points[list(OURS)], Alignment(five, "labelled"), align.box_of_points(five)[None]
    rows.add(Record(f"{folder}/{stem}", Source(root, name), labels, alignment=alignment, boxes=boxes))


def read_points(content: str, name: str) -> np.ndarray:
    """A line `106`, then 106 lines `x y` -> float [106, 2] in our coordinates. Raises InputError naming file and row."""
    table = content.strip().split("\n")
    if table[0].strip() != str(COUNT) or len(table) != COUNT + 1:
        raise InputError(f"{name}: {len(table) - 1} points and `{table[0].strip()[:20]}` where {COUNT} points are expected")
    return geometry.from_zero_based(points_of_rows(((row, line.split()) for row, line in enumerate(table[1:], 2)), name))


def _five(points: np.ndarray) -> np.ndarray:
    """Eyes as the means of their six points, of which each lid holds two; nose; corners of the mouth."""
    lids_twice = np.array([1, 2, 1, 2]) / 6
    return np.stack([lids_twice @ points[[66, 68, 70, 72]], lids_twice @ points[[75, 77, 79, 81]], points[54], points[84], points[90]])


lapa = Dataset(
    name="lapa",
    title="LaPa",
    terms="non-commercial research",
    url="https://github.com/jd-opensource/lapa-dataset",
    answers={parsing.name: words(parsing.vocabulary, WORDS), landmarks.name: PointMap(weights())},
    splits=("train", "validation", "test"),
    list_records=list_records,
)
