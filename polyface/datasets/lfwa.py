"""LFWA: attributes of LFW's photographs (Liu et al. 2015), and these in either layout of `lfw`. Test only, as LFW. Never run on a public download.

Its own file of forty words, `lfw_att_40.mat`, is HDF5, which nothing here reads. Read are, from wherever in the root they are, the first of
- `lfw_att_40.csv`, or `list_attr_lfwa.csv` in any case of letters: that file as a table, as several public readers write it: the first column `NAME/NAME_0001.jpg` with
  either slash, then a column for each word, its spaces perhaps underscores, with 1 for yes and 0 or -1 for no;
- `lfw_attributes.txt`, LFW's own attributes (Kumar et al. 2009): a comment, then titles `#, person, imagenum, Male, ...` and rows between tabs. Its numbers are scores of
  classifiers, above 0 for yes, not what people said. 38 of its 73 words are CelebA's; it has no word for Young or Attractive.

The paper's test is 6,880 of the photographs, listed in another HDF5 file; here all are the test.
"""

import re
from collections.abc import Iterator

from polyface.datasets.base import Dataset, Listing, Meaning, Record, Split
from polyface.datasets.lfw import pictures
from polyface.datasets.tables import Rows, csv_rows, find, number, text, whole
from polyface.errors import InputError
from polyface.images.read import Root, Source
from polyface.labels import TraitNames, words
from polyface.tasks import attributes, gender

TABLES = ("lfw_att_40.csv", "list_attr_lfwa.csv")
SCORES = "lfw_attributes.txt"
GENDERS = {"Male": "male", "not Male": "female"}

Row = tuple[str, str, dict[str, bool]]
"""Where it stands, the key of the photograph as `lfw` has it, its traits."""


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(ANSWERS)
    found = {match[3]: (name, alignment) for name, match, alignment in pictures(root)}
    for where, key, traits in _rows(root, rows):
        with rows.row(where):
            if key not in found:
                rows.missing(f"{key}.jpg")
                continue
            name, alignment = found[key]
            person = key.rpartition("_")[0].replace("_", " ")
            word = "Male" if traits["Male"] else "not Male"
            groups = {gender.name: GENDERS[word]}
            rows.add(Record(key, Source(root, name), {attributes.name: traits, gender.name: word}, subject=person, alignment=alignment, groups=groups))
    return rows.listing()


def _rows(root: Root, rows: Rows) -> Iterator[Row]:
    tables = [name for file in TABLES for name in root.names() if name.rpartition("/")[2].lower() == file]
    return _of_table(root, min(tables, key=lambda name: (name.count("/"), name)), rows) if tables else _of_scores(root, find(root, SCORES), rows)


def _of_table(root: Root, name: str, rows: Rows) -> Iterator[Row]:
    """All forty words are asked for: fewer are another table."""
    content = text(root, name)
    titles = content.split("\n", 1)[0].split(",")
    first, columns = titles[0].strip(), _columns([title.strip() for title in titles[1:]])
    if missing := sorted(set(attributes.vocabulary) - columns.keys()):
        raise InputError(f"{name}: no column {missing[0]!r}, {len(missing)} are missing in all")
    for at, row in csv_rows(content, name, columns.values(), rows):
        with rows.row(f"{name}, row {at}"):
            key = re.split(r"[/\\]", row[first])[-1].removesuffix(".jpg")
            values = {trait: number(row[title]) for trait, title in columns.items()}
            if not {-1.0, 0.0, 1.0}.issuperset(values.values()):
                raise InputError("values other than 1 and 0 or -1")
            yield f"{name}, row {at}", key, {trait: value > 0 for trait, value in values.items()}


def _of_scores(root: Root, name: str, rows: Rows) -> Iterator[Row]:
    lines = text(root, name).splitlines()
    titles = lines[1].lstrip("#").strip("\t ").split("\t") if len(lines) > 1 else []
    if titles[:2] != ["person", "imagenum"]:
        raise InputError(f"{name}, row 2: not the titles `# person imagenum ...` between tabs")
    columns = _columns(titles)
    if "Male" not in columns:
        raise InputError(f"{name}, row 2: no column 'Male'")
    for at, line in enumerate(lines[2:], 3):
        with rows.row(f"{name}, row {at}"):
            fields = line.rstrip("\t\r ").split("\t")
            if len(fields) != len(titles):
                raise InputError(f"{len(fields)} fields where there are {len(titles)} titles")
            row = dict(zip(titles, fields, strict=True))
            key = f"{row['person'].strip().replace(' ', '_')}_{whole(row['imagenum']):04}"
            yield f"{name}, row {at}", key, {trait: number(row[title]) > 0 for trait, title in columns.items()}


def _columns(titles: list[str]) -> dict[str, str]:
    """{CelebA's word: the title that says it}: `5 o' Clock Shadow` is 5_o_Clock_Shadow."""
    known = {_plain(word): word for word in attributes.vocabulary}
    return {known[_plain(title)]: title for title in titles if _plain(title) in known}


def _plain(word: str) -> str:
    return re.sub(r"[\W_]", "", word).lower()


ANSWERS: dict[str, Meaning] = {attributes.name: TraitNames({name: name for name in attributes.vocabulary}), gender.name: words(gender.vocabulary, GENDERS)}

lfwa = Dataset(
    name="lfwa",
    title="LFWA",
    terms="non-commercial research",
    url="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    answers=ANSWERS,
    splits=("test",),
    list_records=list_records,
)
