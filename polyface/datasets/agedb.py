"""AgeDB: `N_MariaCallas_35_f.jpg`, a person, their age and gender in the file's name. From documentation, never run on a real file: 16,488 pictures, 568 people.

Nobody is in two splits: a fixed tenth of the people is test, another validation. Names are written together and are taken apart again ("MariaCallas" is Maria
Callas), so that people of other sets are recognised.
"""

import re

from polyface.datasets.base import Dataset, Listing, Record, Split, split_of
from polyface.datasets.tables import Rows, age_group, is_picture
from polyface.errors import InputError
from polyface.images.read import Root, Source
from polyface.labels import People, Ranges, words
from polyface.tasks import age, gender, identity

NAME = re.compile(r"\d+_(.+)_(\d{1,3})_([mf])\.\w+", re.ASCII | re.IGNORECASE)
SEAM = re.compile(r"(?<=[^\W\d_A-Z])(?<!Mc)(?<!Mac)(?=[A-Z])|(?<=[A-Z])(?=[A-Z][^\W\d_A-Z])")
"""Between a small letter and a capital, and before the last of several capitals; not in McCartney and MacLaine."""
GENDERS = {"m": "male", "f": "female"}


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(agedb.answers)
    for name in root.names():
        if is_picture(name):
            with rows.row(name):
                file = name.rpartition("/")[2]
                if not (found := NAME.fullmatch(file)):
                    raise InputError("not named N_Name_age_m.jpg or N_Name_age_f.jpg")
                person = person_of(found[1])
                if split_of(person) == split:
                    labels = {age.name: int(found[2]), gender.name: found[3].lower(), identity.name: person}
                    groups = {gender.name: GENDERS[found[3].lower()], age.name: age_group(int(found[2]))}
                    rows.add(Record(file, Source(root, name), labels, subject=person, groups=groups))
    return rows.listing()


def person_of(name: str) -> str:
    """`JohnFKennedy` -> John F Kennedy."""
    return " ".join(SEAM.sub(" ", name.replace("_", " ")).split())


agedb = Dataset(
    name="agedb",
    title="AgeDB",
    terms="non-commercial research",
    url="https://ibug.doc.ic.ac.uk/resources/agedb/",
    answers={age.name: Ranges(), gender.name: words(gender.vocabulary, GENDERS), identity.name: People(named=True)},
    splits=("train", "validation", "test"),
    list_records=list_records,
)
