"""FaceScrub: photographs of 530 actors and actresses. From the public scripts that fetch it, never run on the whole download.

A folder is a person. Three layouts are read, with `facescrub_actors.txt` and `facescrub_actresses.txt` or without them (then nobody's gender is known, nor where the face
is). A row of these is `name, image, face, address, x1,y1,x2,y2, sha256` between tabs, after a row of titles.
- `Some Name/Some Name_FACE.jpg`, whole photographs, as MegaFace gives them (foamliu/InsightFace-PyTorch align_facescrub.py);
- `images/Some_Name/Some_Name_IMAGE.jpg`, whole photographs (lightalchemist/FaceScrub download_facescrub.py);
- `faces/Some_Name/Some_Name_IMAGE_FACE.jpg`, cut from these by the same script; where both are there, only the whole ones are read.

Nobody is in two splits: a fixed tenth of the people is test, another validation. MegaFace's probes are 80 of these people: a network that is to be scored on them must
not be trained on them. `strangers = ["facescrub"]` in a recipe does not see to that: it keeps out the test tenth of this split, and the devkit's list names the 80.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from polyface.datasets.base import Dataset, Listing, Meaning, Record, Split, split_of
from polyface.datasets.tables import Rows, find, is_picture, number, text, whole
from polyface.errors import InputError
from polyface.images.read import Root, Source
from polyface.labels import People, words
from polyface.tasks import gender, identity

LISTS = {"facescrub_actors.txt": "male", "facescrub_actresses.txt": "female"}
NUMBERS = re.compile(r".*?_(\d+)(?:_(\d+))?")
GENDERS = {"actor": "male", "actress": "female"}
WORDS = {"male": "actor", "female": "actress"}


@dataclass(frozen=True)
class Lists:
    """What the lists say: {person: gender}; {(person, face): box [1, 4]}; {(person, image): its faces}."""

    genders: dict[str, str]
    boxes: dict[tuple[str, int], np.ndarray]
    faces: dict[tuple[str, int], list[int]]


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(ANSWERS)
    lists = _read_lists(root, rows)
    pictures = [name for name in root.names() if is_picture(name) and "/" in name]
    if any(_kind(name) == "images" for name in pictures):
        pictures = [name for name in pictures if _kind(name) != "faces"]
    for name in pictures:
        person = name.split("/")[-2].replace("_", " ").strip()
        if split_of(person) == split:
            with rows.row(name):
                for key, box in _faces_of(name, person, lists):
                    labels = {identity.name: person, **({gender.name: WORDS[lists.genders[person]]} if person in lists.genders else {})}
                    groups = {gender.name: lists.genders[person]} if person in lists.genders else {}
                    rows.add(Record(key, Source(root, name), labels, subject=person, boxes=box, groups=groups))
    return rows.listing()


def _faces_of(name: str, person: str, lists: Lists) -> list[tuple[str, np.ndarray | None]]:
    """(key, box) of each labelled face of a picture; a picture that the lists do not know has one face, wherever it is."""
    found = NUMBERS.fullmatch(PurePosixPath(name).stem)
    if found is None or found[2] is not None:
        return [(name, None)]
    if _kind(name) == "images":
        faces = lists.faces.get((person, int(found[1])), [])
        return [(f"{name}#{face}", lists.boxes[person, face]) for face in faces] or [(name, None)]
    return [(name, lists.boxes.get((person, int(found[1]))))]


def _kind(name: str) -> str:
    """The folder above the person's."""
    return ("", *name.split("/"))[-3]


def _read_lists(root: Root, rows: Rows) -> Lists:
    """Those of the two lists that are there."""
    lists = Lists({}, {}, {})
    for file, word in LISTS.items():
        try:
            table = find(root, file)
        except InputError:
            continue
        for row, line in enumerate(text(root, table).splitlines()[1:], 2):
            with rows.row(f"{table}, row {row}"):
                fields = line.split("\t")
                if len(fields) != 6:
                    raise InputError("not six fields between tabs")
                box = [number(side) for side in fields[4].split(",")]
                if len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
                    raise InputError(f"{fields[4]!r} is no box x1,y1,x2,y2")
                person, image, face = fields[0].replace("_", " ").strip(), whole(fields[1]), whole(fields[2])
                if (person, face) in lists.boxes:
                    raise InputError(f"the face {face} of {person} is listed a second time")
                lists.genders[person] = word
                lists.boxes[person, face] = np.array([box])
                lists.faces.setdefault((person, image), []).append(face)
    return lists


ANSWERS: dict[str, Meaning] = {identity.name: People(named=True), gender.name: words(gender.vocabulary, GENDERS)}

facescrub = Dataset(
    name="facescrub",
    title="FaceScrub",
    terms="published for research, rights of the photographs unclear",
    url="http://vintage.winklerbros.net/facescrub.html",
    answers=ANSWERS,
    splits=("train", "validation", "test"),
    list_records=list_records,
)
