"""CFP, celebrities in frontal and profile view: ten frontal and four profile photographs of each of 500 people, a test and never trained on.

Two sets of one download: `cfp_ff`, frontal against frontal, and `cfp_fp`, frontal against profile, each with all its official pairs, in ten folds that share
nobody. `Protocol/image_list_F.txt` and `_P.txt` number the photographs (`1 Data/Images/001/frontal/01.jpg`); `Protocol/Split/FP/01/same.txt` and `diff.txt` hold
pairs of numbers `F,P`; line n of `Data/list_name.txt` names the person of folder n, some in a spelling of its own (SPELT).

`Data/Fiducials` are 30 points of one half of a face, from which five cannot be made; a detector finds the faces. 28 photographs are byte copies of another of the
same person, and FF pairs three of them with their copy; the official lists have them, so they stay.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from polyface.datasets.base import Dataset, Listing, Meaning, Pairs, Record, Split
from polyface.datasets.tables import Rows, find, lines, text, whole
from polyface.errors import InputError
from polyface.images.read import Root, Source
from polyface.labels import People
from polyface.tasks import identity

FOLDS = 10
PICTURE = re.compile(r"Data/Images/(\d{3})/(frontal|profile)/(\d\d)\.jpg", re.ASCII)
SPELT = {
    "Alex Fergusson": "Alex Ferguson",
    "Chris Patt": "Chris Pratt",
    "Christiano Ronaldo": "Cristiano Ronaldo",
    "David Cruso": "David Caruso",
    "Diane Feinstein": "Dianne Feinstein",
    "Fernando Alanso": "Fernando Alonso",
    "George Bush": "George W Bush",
    "Gerard Schroeder": "Gerhard Schroeder",
    "Jean Chretian": "Jean Chretien",
    "Jennifer Anniston": "Jennifer Aniston",
    "Jennifer Capriarti": "Jennifer Capriati",
    "Joe Biden": "Joseph Biden",
    "Mathew Mcconaughey": "Matthew McConaughey",
    "Nancy Peloci": "Nancy Pelosi",
    "Nicholas Cage": "Nicolas Cage",
    "Robert Do Niro": "Robert De Niro",
    "Robert Downey": "Robert Downey Jr",
    "Rooh Moo-hyan": "Roh Moo-hyun",
    "Warren Buffet": "Warren Buffett",
}
"""As LFW and Pins write them, so that people who are in both are recognised by name; found by nearest names, there may be more."""


def list_records(letters: str, root: Root, split: Split) -> Listing:
    rows = Rows(ANSWERS)
    people = [" ".join(line.split()) for line in text(root, find(root, "Data/list_name.txt")).rstrip().split("\n")]
    for letter in letters:
        table, entries = _image_list(root, letter)
        prefix = table.removesuffix(f"Protocol/image_list_{letter}.txt")
        for row, fields in entries:
            with rows.row(f"{table}, row {row}"):
                _, picture = _entry(fields)
                person = _person(picture, people)
                name = prefix + picture[0]
                if root.exists(name):
                    rows.add(Record(_key(picture), Source(root, name), {identity.name: person}, subject=person))
                else:
                    rows.missing(name)
    return rows.listing()


def list_pairs(view: str, root: Root) -> Pairs:
    """The pairs of `Protocol/Split/FF` or `FP`, ten folds. Raises InputError naming file and row, or absent pictures: a score over a part of them is none of CFP's."""
    tables = [find(root, f"Protocol/image_list_{letter}.txt") for letter in view]
    keys = [read_keys(text(root, table), table) for table in tables]
    above = find(root, "Protocol/image_list_F.txt").removesuffix("image_list_F.txt")
    left, right, same, fold = [], [], [], []
    sizes = set()
    for number in range(1, FOLDS + 1):
        for word in ("same", "diff"):
            table = f"{above}Split/{view}/{number:02}/{word}.txt"
            pairs = read_pairs(text(root, table), table, keys[0], keys[1], word == "same")
            left += [one for one, _ in pairs]
            right += [other for _, other in pairs]
            same += [word == "same"] * len(pairs)
            fold += [number - 1] * len(pairs)
            sizes.add(len(pairs))
    if len(sizes) != 1 or sizes == {0}:
        raise InputError(f"{root.label}: the lists in {above}Split/{view} hold {min(sizes)} to {max(sizes)} pairs where all hold as many")
    _check_there(root, above, {*left, *right})
    return Pairs(tuple(left), tuple(right), np.array(same, bool), np.array(fold, np.int64))


def read_pairs(content: str, name: str, lefts: Mapping[int, str], rights: Mapping[int, str], is_same: bool) -> list[tuple[str, str]]:
    """Lines `5,97` -> keys, by what each number stands for.

    Raises InputError naming file and row, also for a pair of one person among those of two, or the other way round.
    """
    pairs = []
    for row, fields in lines(content):
        try:
            numbers = "".join(fields).split(",")
            if len(numbers) != 2:
                raise InputError("not two numbers `5,97`")
            one, other = _of_number(numbers[0], lefts), _of_number(numbers[1], rights)
            if one == other:
                raise InputError("a photograph is paired with itself")
            if (one[:3] == other[:3]) != is_same:
                raise InputError(f"a pair of {'two people' if is_same else 'one person'} among those of {'one person' if is_same else 'two people'}")
            pairs.append((one, other))
        except InputError as error:
            raise InputError(f"{name}, row {row}: {error}") from None
    return pairs


def _of_number(word: str, keys: Mapping[int, str]) -> str:
    number = whole(word)
    if number not in keys:
        raise InputError(f"the image list has no number {number}")
    return keys[number]


def read_keys(content: str, name: str) -> dict[int, str]:
    """`image_list_F.txt` or `image_list_P.txt`: what each number of a photograph stands for. Raises InputError naming file and row."""
    keys = {}
    for row, fields in lines(content):
        try:
            number, picture = _entry(fields)
        except InputError as error:
            raise InputError(f"{name}, row {row}: {error}") from None
        keys[number] = _key(picture)
    return keys


def _image_list(root: Root, letter: str) -> tuple[str, Iterator[tuple[int, list[str]]]]:
    table = find(root, f"Protocol/image_list_{letter}.txt")
    return table, lines(text(root, table))


def _entry(fields: list[str]) -> tuple[int, re.Match]:
    """The number of a photograph, and its place."""
    picture = PICTURE.fullmatch(fields[-1])
    if len(fields) != 2 or picture is None:
        raise InputError("not `1 Data/Images/001/frontal/01.jpg`")
    return whole(fields[0]), picture


def _key(picture: re.Match) -> str:
    """`001_frontal_01`: the folder of the person first; a file's name alone, `01`, would be taken for a photograph of other sets (`copies.photograph_name`)."""
    return "_".join(picture.groups())


def _person(picture: re.Match, people: list[str]) -> str:
    folder = int(picture[1])
    name = people[folder - 1] if 1 <= folder <= len(people) else ""
    if not name:
        raise InputError(f"list_name.txt does not name person {folder}")
    return SPELT.get(name, name)


def _check_there(root: Root, above: str, keys: set[str]) -> None:
    prefix = above.removesuffix("Protocol/")
    names = {key: f"{prefix}Data/Images/{'/'.join(key.split('_'))}.jpg" for key in keys}
    absent = sorted(name for name in names.values() if not root.exists(name))
    if absent:
        raise InputError(f"{root.label}: {len(absent)} pictures of the pairs are absent, {absent[0]} first")


ANSWERS: dict[str, Meaning] = {identity.name: People(space="cfp", named=True)}
TERMS = "published for research"
URL = "http://www.cfpw.io/"

cfp_ff = Dataset("cfp_ff", "CFP, frontal-frontal", TERMS, URL, ANSWERS, ("test",), partial(list_records, "F"), partial(list_pairs, "FF"))
cfp_fp = Dataset("cfp_fp", "CFP, frontal-profile", TERMS, URL, ANSWERS, ("test",), partial(list_records, "FP"), partial(list_pairs, "FP"))
