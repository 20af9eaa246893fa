"""FairFace: nine groups of age, two of gender, seven of race, in `fairface_label_train.csv` and `fairface_label_val.csv`.

Its val is our test; a tenth of its train is validation, by content. A picture of train that is byte for byte one of val, or an earlier one of train, is left
out. Copies of the csv that went through a spreadsheet hold dates for groups ("03-Sep" was 3-9): those rows are refused, not guessed.
"""

import re

import numpy as np

from polyface.datasets.base import Alignment, Dataset, Listing, Record, Split, split_of_train
from polyface.datasets.tables import AGE_GROUPS, Rows, csv_rows, find, text
from polyface.errors import InputError
from polyface.images.read import Root, Source
from polyface.labels import Ranges, same_words, words
from polyface.tasks import age, gender, race

COLUMNS = ("file", "age", "gender", "race")
GENDERS = {"Male": "male", "Female": "female"}
SPREADSHEET_DATE = re.compile(r"\d{1,2}-[A-Za-z]{3}|[A-Za-z]{3}-\d{1,2}")
MARGIN_025 = Alignment(np.array([[70.8, 67.0], [151.3, 66.3], [107.9, 113.9], [77.4, 150.3], [145.9, 150.7]]), "guess")
"""Medians of YuNet's five points in 300 pictures of 224 x 224 (the face box and a quarter around it); turned heads move them by up to 24 pixels."""


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(fairface.answers)
    folder = find(root, "fairface_label_val.csv").rpartition("/")[0]
    prefix = f"{folder}/" if folder else ""
    _read(rows, root, prefix, "fairface_label_val.csv", split, in_test=True)
    if split != "test":
        _read(rows, root, prefix, "fairface_label_train.csv", split, in_test=False)
    return rows.listing()


def _read(rows: Rows, root: Root, prefix: str, table: str, split: Split, in_test: bool) -> None:
    for row, values in csv_rows(text(root, prefix + table), prefix + table, COLUMNS, rows):
        name = prefix + values["file"]
        with rows.row(f"{prefix}{table}, row {row}"):
            if not root.exists(name):
                if split == ("test" if in_test else "train"):
                    rows.missing(name)
                continue
            content = root.open(name)
            if not rows.is_copy(content) and split == ("test" if in_test else split_of_train(content)):
                rows.add(_record(root, name, values))


def _record(root: Root, name: str, values: dict[str, str]) -> Record:
    if SPREADSHEET_DATE.fullmatch(values["age"]):
        raise InputError(f"age {values['age']!r} is a date that a spreadsheet made of a group of ages; take the csv as it was published")
    labels = {task: values[task] for task in (age.name, gender.name, race.name)}
    groups = {**labels, gender.name: GENDERS.get(values["gender"], "")}  # a word that is none is refused with its row
    return Record(values["file"], Source(root, name), labels, alignment=MARGIN_025, groups=groups)


fairface = Dataset(
    name="fairface",
    title="FairFace",
    terms="CC BY 4.0",
    url="https://github.com/joojs/fairface",
    answers={
        age.name: Ranges(AGE_GROUPS),
        gender.name: words(gender.vocabulary, GENDERS),
        race.name: same_words(race.vocabulary),
    },
    splits=("train", "validation", "test"),
    list_records=list_records,
)
