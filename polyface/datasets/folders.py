"""People in folders, `FOLDER/person/photo.jpg`: any such set in one line, and Pins.

Nobody is in two splits: a fixed tenth of the people is test, another validation. A name is its folder's, without a leading `pins_` and with spaces.
"""

from functools import partial

from polyface.datasets.base import Dataset, Listing, Record, Split, split_of
from polyface.datasets.tables import Rows, is_picture
from polyface.images.read import Root, Source
from polyface.labels import People
from polyface.tasks import identity


def people_in_folders(name: str, title: str, terms: str, url: str, named: bool = False) -> Dataset:
    """A data set of photographs in a folder per person; named: folders are called by people's names, and not by numbers."""
    answers = {identity.name: People(named=named)}
    return Dataset(name, title, terms, url, answers, ("train", "validation", "test"), partial(list_records, answers))


def list_records(answers: dict, root: Root, split: Split) -> Listing:
    rows = Rows(answers)
    for name in root.names():
        if is_picture(name) and "/" in name:
            person = name.split("/")[-2].removeprefix("pins_").replace("_", " ").strip()
            if split_of(person) == split:
                with rows.row(name):
                    rows.add(Record(name, Source(root, name), {identity.name: person}, subject=person))
    return rows.listing()


pins = people_in_folders(
    "pins",
    "Pins Face Recognition",
    "photographs collected from Pinterest, rights unclear",
    "https://www.kaggle.com/datasets/hereisburak/pins-face-recognition",
    named=True,
)
