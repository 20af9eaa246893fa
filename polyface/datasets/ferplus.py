"""FER+: ten people's votes for each picture of FER2013. A label is the shares of the words that were voted for, not one class.

`FER2013Train/`, `FER2013Valid/` and `FER2013Test/` hold the pictures, `fer2013new.csv` the votes by name; where it is absent the `label.csv` of each folder is read.
(They differ for 1,601 pictures that come more than once: the csv gives all copies the same ten votes, label.csv each its own.) What is in several parts leaves the
later ones, as in FER2013.

A vote for `unknown` leaves every answer possible: S = U, so that it would teach nothing, and it takes no share. (As a word it would outweigh all others wherever
words are scored.) A vote for NF, no face, leaves none possible, and takes none. Pictures are refused where NF leads, or where no expression has more votes than
`unknown`. The 173 rows without a name have no picture: ten of ten saw no face. Four names are listed twice: the first row counts, the second is refused.
"""

from collections.abc import Iterator, Mapping
from functools import partial

from polyface.datasets.base import Dataset, Listing, Record, Split
from polyface.datasets.fer2013 import FACE_48, PARTS, USAGES, Found, add_originals
from polyface.datasets.tables import Rows, csv_rows, text, whole
from polyface.errors import InputError
from polyface.images.read import Root, Source
from polyface.labels import words
from polyface.tasks import expression

WORDS = {
    "neutral": "neutral", "happiness": "happy", "surprise": "surprise", "sadness": "sad", "anger": "anger", "disgust": "disgust", "fear": "fear", "contempt": "contempt",
}  # fmt: skip
UNKNOWN, NO_FACE = "unknown", "NF"
COLUMNS = ("Image name", *WORDS, UNKNOWN, NO_FACE)
TABLE, OWN_TABLE = "fer2013new.csv", "label.csv"
FOLDERS: dict[Split, str] = {"test": "FER2013Test", "validation": "FER2013Valid", "train": "FER2013Train"}
OWN_HEADER = (COLUMNS[0], "box", *COLUMNS[1:])


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(ferplus.answers)
    places = {"/".join(name.split("/")[-2:]): name for name in root.names()}
    table = next((name for name in places.values() if name.rpartition("/")[2] == TABLE), None)
    add_originals(rows, ferplus.answers, split, _found(rows, root, split, places, _of_table(root, table, rows) if table else _of_folders(root, places, rows)))
    return rows.listing()


def _of_table(root: Root, table: str, rows: Rows) -> Iterator[tuple[Split | None, str, dict[str, str]]]:
    for row, values in csv_rows(text(root, table), table, ("Usage", *COLUMNS), rows):
        yield USAGES.get(values["Usage"]), f"{table}, row {row}", values


def _of_folders(root: Root, places: Mapping[str, str], rows: Rows) -> Iterator[tuple[Split, str, dict[str, str]]]:
    tables = {part: places[f"{FOLDERS[part]}/{OWN_TABLE}"] for part in PARTS if f"{FOLDERS[part]}/{OWN_TABLE}" in places}
    if not tables:
        raise InputError(f"{root.label}: neither {TABLE} nor a {OWN_TABLE} in {', '.join(FOLDERS.values())}")
    for part, table in tables.items():
        for row, values in csv_rows(text(root, table), table, (), rows, OWN_HEADER):
            yield part, f"{table}, row {row}", values


def _found(rows: Rows, root: Root, split: Split, places: Mapping[str, str], votes: Iterator[tuple[Split | None, str, dict[str, str]]]) -> Iterator[Found]:
    for part, where, values in votes:
        file = f"{FOLDERS[part] if part else '?'}/{values['Image name']}"
        if part is None or file in places:
            yield part, where, partial(_record, root, places.get(file, ""), values)
        elif values["Image name"] and part == split:
            rows.missing(file)


def _record(root: Root, name: str, values: Mapping[str, str]) -> Record:
    if not name:
        raise InputError(f"Usage {values['Usage']!r} is none of {', '.join(USAGES)}")
    return Record(values["Image name"], Source(root, name), {expression.name: _votes(values)}, alignment=FACE_48)


def _votes(values: Mapping[str, str]) -> dict[str, int]:
    counts = {word: whole(values[word]) for word in COLUMNS[1:]}
    if min(counts.values()) < 0:
        raise InputError("a number of votes is below 0")
    most = max(counts[word] for word in WORDS)
    if counts[NO_FACE] >= max(most, counts[UNKNOWN], 1):
        raise InputError(f"{counts[NO_FACE]} of {sum(counts.values())} votes say that this is no face")
    if most <= counts[UNKNOWN]:
        raise InputError(f"no expression has more votes than {UNKNOWN} has, {counts[UNKNOWN]} of {sum(counts.values())}")
    return {word: counts[word] for word in WORDS if counts[word]}


ferplus = Dataset(
    name="ferplus",
    title="FER+",
    terms="votes MIT; rights in the photographs, which are FER2013's, unclear",
    url="https://github.com/microsoft/FERPlus",
    answers={expression.name: words(expression.vocabulary, WORDS)},
    splits=("train", "validation", "test"),
    list_records=list_records,
)
