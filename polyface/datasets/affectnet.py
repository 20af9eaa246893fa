"""AffectNet, the download of eight words: `train_set/images/N.jpg` with `train_set/annotations/N_exp.npy`, and `val_set` likewise. Never run on a real file.

Read from its documentation and from public code that reads it. `N_exp.npy` holds a digit, as a number or as text. The official validation is our test; a tenth of
train is validation, by content. Of equal files the first is kept, test before train. `N_lnd.npy` holds 68 points that a machine found, x and y in turn, in pixels of
the picture, the first of which is 0 (both an inference): they are no label, but say where the face is when a detector finds nothing. Valence and arousal (`_val`,
`_aro`) are not read.
"""

import io
import re

import numpy as np

from polyface.datasets.base import Alignment, Dataset, Listing, Record, Split, split_of_train
from polyface.datasets.tables import Rows, check_inside
from polyface.errors import InputError
from polyface.images import geometry
from polyface.images.read import Root, Source
from polyface.labels import same_words
from polyface.tasks import expression, landmarks

WORDS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
LEFT_OUT = {8: "none", 9: "uncertain", 10: "no face"}
"""Digits of the longer lists, that this download should not have."""
PICTURE = re.compile(r"((?:.*/)?)(train|val)_set/images/([^/]+)\.(?:jpg|jpeg|png)", re.IGNORECASE)


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(affectnet.answers)
    found = [match for name in root.names() if (match := PICTURE.fullmatch(name))]
    for match in sorted(found, key=lambda match: match[2] != "val"):
        in_test = match[2] == "val"
        if in_test or split != "test":
            with rows.row(match[0]):
                content = root.open(match[0])
                if not rows.is_copy(content) and split == ("test" if in_test else split_of_train(content)):
                    _add(rows, root, match, content)
    return rows.listing()


def _add(rows: Rows, root: Root, match: re.Match[str], content: bytes) -> None:
    above, part, stem = match.groups()
    labels, points = (f"{above}{part}_set/annotations/{stem}_{what}.npy" for what in ("exp", "lnd"))
    if not root.exists(labels):
        rows.missing(labels)
        return
    guess = Alignment(_five(root, points, content, match[0]), "guess") if root.exists(points) else None
    rows.add(Record(f"{part}_set/{stem}", Source(root, match[0]), {expression.name: _word(root, labels)}, alignment=guess))


def _word(root: Root, name: str) -> str:
    value = read_npy(root.open(name), name)
    try:
        digit = float(value.item())
    except (ValueError, SystemError):  # of text with a broken character
        digit = float("nan")
    if not digit.is_integer():
        raise InputError(f"{name}: not one digit")
    if digit in LEFT_OUT:
        raise InputError(f"{name}: {digit:.0f} ({LEFT_OUT[int(digit)]}) is no expression")
    if not 0 <= digit < len(WORDS):
        raise InputError(f"{name}: {digit:.0f} is none of 0 to {len(WORDS) - 1}")
    return WORDS[int(digit)]


def _five(root: Root, name: str, content: bytes, picture: str) -> np.ndarray:
    """The five points [5, 2] of the 68 in a file. Raises InputError naming it."""
    try:
        points = geometry.from_zero_based(read_npy(root.open(name), name).astype(np.float64).reshape(landmarks.count, 2))
    except ValueError:
        raise InputError(f"{name}: not {landmarks.count} points") from None
    if not np.isfinite(points).all():
        raise InputError(f"{name}: a point that is no number")
    check_inside(points, content, picture)
    return geometry.five_of_68() @ points


def read_npy(data: bytes, name: str) -> np.ndarray:
    """A .npy file of numbers or text; nothing pickled is loaded. Raises InputError naming it."""
    try:
        array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # its header is parsed as Python, which fails in many ways
        raise InputError(f"{name}: not a .npy file of numbers ({type(error).__name__})") from None
    if array.dtype.kind not in "iufUS":
        raise InputError(f"{name}: a .npy file of {array.dtype}")
    return array


affectnet = Dataset(
    name="affectnet",
    title="AffectNet",
    terms="non-commercial research, no redistribution",
    url="http://mohammadmahoor.com/affectnet/",
    answers={expression.name: same_words(expression.vocabulary)},
    splits=("train", "validation", "test"),
    list_records=list_records,
)
