"""UTKFace: age, gender and race in the file's name, `age_gender_race_date.jpg.chip.jpg`, faces cut and turned upright by landmarks.

No split is stated and no person known: a fixed tenth by the picture's content. Of equal files (375 groups) the first is kept, with those answers on which their names
agree: in 205 groups ages differ, in 70 races, in 40 genders. Three names lack the race, two have a broken ending; both are read. Race 2, Asian, may be East or Southeast
Asian; 4, Others, "like Hispanic, Latino, Middle Eastern".
"""

import hashlib
import re

import numpy as np

from polyface.datasets.base import Alignment, Dataset, Listing, Record, Split, split_of
from polyface.datasets.tables import Rows, age_group, is_picture
from polyface.errors import InputError
from polyface.images.read import Root, Source
from polyface.labels import Ranges, same_words, words
from polyface.tasks import age, gender, race

GENDERS = ("male", "female")
RACES = ("White", "Black", "Asian", "Indian", "Others")
NAME = re.compile(r"(\d{1,3})_(\d)(?:_(\d))?_\d+ ?\.?jpg\.chip\.jpg", re.ASCII)
CHIP = Alignment(np.array([[59.4, 57.2], [138.0, 56.9], [97.4, 101.7], [64.4, 135.8], [132.6, 135.6]]), "guess")
"""Means of YuNet's five points in 300 chips of 200 x 200; they deviate by 3 to 6 pixels."""


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(utkface.answers)
    copies: dict[bytes, list[str]] = {}
    for name in root.names():
        if is_picture(name):
            with rows.row(name):
                content = root.open(name)
                if split_of(content) == split:
                    copies.setdefault(hashlib.sha256(content).digest(), []).append(name)
    for names in copies.values():
        told = {}
        for name in names:
            with rows.row(name):
                told[name] = _labels(name)
        for name, labels in list(told.items())[:1]:
            with rows.row(name):
                agreed = {task: label for task, label in labels.items() if all(other.get(task, label) == label for other in told.values())}
                groups = {task: age_group(label) if isinstance(label, int) else str(label) for task, label in agreed.items()}
                rows.add(Record(name, Source(root, name), agreed, alignment=CHIP, groups=groups))
    return rows.listing()


def _labels(name: str) -> dict[str, object]:
    found = NAME.fullmatch(name.rpartition("/")[2])
    if not found:
        raise InputError("not named age_gender_race_date.jpg.chip.jpg")
    years, sex, group = (int(digits) if digits else None for digits in found.groups())
    labels: dict[str, object] = {age.name: years, gender.name: _word(GENDERS, sex, gender.name)}
    if group is not None:
        labels[race.name] = _word(RACES, group, race.name)
    return labels


def _word(names: tuple[str, ...], digit: int | None, what: str) -> str:
    if digit is None or digit >= len(names):
        raise InputError(f"{what} {digit} is none of 0 to {len(names) - 1}")
    return names[digit]


utkface = Dataset(
    name="utkface",
    title="UTKFace",
    terms="non-commercial research; the photographs belong to their owners",
    url="https://susanqq.github.io/UTKFace/",
    answers={
        age.name: Ranges(),
        gender.name: same_words(gender.vocabulary),
        race.name: words(
            race.vocabulary,
            {
                "White": "White",
                "Black": "Black",
                "Asian": ("East Asian", "Southeast Asian"),
                "Indian": "Indian",
                "Others": ("Latino_Hispanic", "Middle Eastern"),
            },
        ),
    },
    splits=("train", "validation", "test"),
    list_records=list_records,
)
