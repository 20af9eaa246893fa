"""CelebA: forty attributes, gender and identity, of 202,599 photographs; aligned to 178 x 218 (`celeba`) and as found (`celeba_wild`).

Reads `list_attr_celeba.txt` (or the .zip that holds it), `identity_CelebA.txt` and `list_eval_partition.txt` wherever in the root they are. `celeba` takes
`img_align_celeba`, and for photographs that are not there `img_align_celeba_half`, the same at half the size. Both sets name people alike, in one space of identities.
The partition cuts people, but for one who is in test as 7310 and in train under four other ids, once with the very photograph (098498 is 196333): those four leave
training. 197961 is the photograph 186574, both in test, and is left out.
"""

import io
import zipfile
import zlib
from collections.abc import Mapping
from functools import partial

import numpy as np

from polyface.datasets.base import Alignment, Dataset, Listing, Meaning, Record, Split
from polyface.datasets.tables import Rows, as_text, find, lines, text
from polyface.errors import InputError
from polyface.images import geometry
from polyface.images.read import MAX_BYTES, Root, Source
from polyface.labels import People, TraitNames, words
from polyface.tasks import age, attributes, gender, identity

PARTITIONS: dict[str, Split] = {"0": "train", "1": "validation", "2": "test"}
IN_TEST_AS_7310 = {"7312", "7314", "7317", "7320"}
SEEN_ALREADY = {"197961.jpg"}
GENDERS = {"Male": "male", "not Male": "female"}
FIVE_POINTS = geometry.from_zero_based(np.array([[68.8, 112.5], [108.6, 112.9], [88.0, 135.3], [71.8, 152.1], [105.2, 152.6]]))
"""Means of YuNet's five points in 300 aligned pictures of 178 x 218; they deviate by 2 to 3 pixels, the nose by 6."""

Folders = Mapping[str, Alignment | None]
ALIGNED: Folders = {"img_align_celeba": Alignment(FIVE_POINTS, "stated"), "img_align_celeba_half": Alignment(FIVE_POINTS / 2, "stated")}
WILD: Folders = {"img_celeba": None}


def list_records(folders: Folders, root: Root, split: Split) -> Listing:
    rows = Rows(ANSWERS)
    names, described = _described(root)
    table = find(root, "identity_CelebA.txt")
    people = {fields[0]: fields[1] for _, fields in lines(text(root, table)) if len(fields) == 2}
    pictures = _pictures(root, folders)
    table = find(root, "list_eval_partition.txt")
    for row, fields in lines(text(root, table)):
        with rows.row(f"{table}, row {row}"):
            if len(fields) != 2 or fields[1] not in PARTITIONS:
                raise InputError("not `000001.jpg 0`, where 0 is train, 1 validation and 2 test")
            file = fields[0]
            if PARTITIONS[fields[1]] != split or file in SEEN_ALREADY or people.get(file) in IN_TEST_AS_7310:
                continue
            if file not in pictures:
                rows.missing(file)
                continue
            if file not in people:
                raise InputError(f"identity_CelebA.txt does not say who {file} is")
            rows.add(_record(root, file, pictures[file], people[file], _traits(file, names, described)))
    return rows.listing()


def _record(root: Root, file: str, picture: tuple[str, Alignment | None], person: str, traits: dict[str, bool]) -> Record:
    name, alignment = picture
    word = "Male" if traits["Male"] else "not Male"
    labels = {attributes.name: traits, gender.name: word, identity.name: person}
    groups = {gender.name: GENDERS[word], age.name: "young" if traits["Young"] else "not young"}
    return Record(file, Source(root, name), labels, subject=person, alignment=alignment, groups=groups)


def _pictures(root: Root, folders: Folders) -> dict[str, tuple[str, Alignment | None]]:
    """{file: (full name, alignment)}; a folder that is named first wins."""
    found: dict[str, dict[str, str]] = {folder: {} for folder in folders}
    for name in root.names():
        *above, file = name.split("/")
        if above and above[-1] in found:
            found[above[-1]][file] = name
    return {file: (name, folders[folder]) for folder in reversed(list(found)) for file, name in found[folder].items()}


def _described(root: Root) -> tuple[list[str], dict[str, tuple[str, str]]]:
    """The names of the attributes, and {file: (where it stands, its values)}."""
    where, content = _attribute_list(root)
    table = content.split("\n")
    names = table[1].split() if len(table) > 1 else []
    if sorted(names) != sorted(attributes.vocabulary):
        raise InputError(f"{where}: line 2 does not hold the forty names")
    described = {}
    for row, line in enumerate(table[2:], 3):
        file, _, values = line.partition(" ")
        described[file] = (f"{where}, row {row}", values)
    return names, described


def _attribute_list(root: Root) -> tuple[str, str]:
    try:
        name = find(root, "list_attr_celeba.txt")
        return name, text(root, name)
    except InputError as missing:
        try:
            name = find(root, "list_attr_celeba.zip")
        except InputError:
            raise missing from None
    try:
        with zipfile.ZipFile(io.BytesIO(root.open(name))) as archive:
            member = next(info for info in archive.infolist() if info.filename.endswith("list_attr_celeba.txt"))
            if member.file_size > MAX_BYTES:
                raise InputError(f"{name}: its list is larger than {MAX_BYTES // 1_000_000} MB")
            return name, as_text(archive.read(member), name)
    except StopIteration:
        raise InputError(f"{name}: holds no list_attr_celeba.txt") from None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{name}: cannot be read as an archive ({error})") from None


def _traits(file: str, names: list[str], described: dict[str, tuple[str, str]]) -> dict[str, bool]:
    if file not in described:
        raise InputError(f"list_attr_celeba.txt does not describe {file}")
    where, line = described[file]
    values = line.split()
    if len(values) != len(names) or not {"1", "-1"}.issuperset(values):
        raise InputError(f"{where}: not {len(names)} values of 1 and -1")
    return {name: value == "1" for name, value in zip(names, values, strict=True)}


ANSWERS: dict[str, Meaning] = {
    attributes.name: TraitNames({name: name for name in attributes.vocabulary}),
    gender.name: words(gender.vocabulary, GENDERS),
    identity.name: People(space="celeba"),
}
TERMS = "non-commercial research, no redistribution"
URL = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"

celeba = Dataset("celeba", "CelebA", TERMS, URL, ANSWERS, ("train", "validation", "test"), partial(list_records, ALIGNED))
celeba_wild = Dataset("celeba_wild", "CelebA in the wild", TERMS, URL, ANSWERS, ("train", "test"), partial(list_records, WILD))
"""The labelled face is taken to be the largest (an assumption). Partition 1 is left to the aligned set: the same people, so that validation counts nobody twice."""
