"""LFW: `NAME/NAME_0001.jpg`, and the pairs of `pairs.txt`. Test only; nobody of LFW is trained.

Two layouts are read: `lfw_aligned_112/`, pictures of 112 x 112 cut to ArcFace's template, and the public one of 250 x 250 (`lfw/`, `lfw-deepfunneled/`), which was never
run on the whole download. Where both are there the aligned one is taken.
"""

import re

import numpy as np

from polyface.datasets.base import Alignment, Dataset, Listing, Pairs, Record, Split
from polyface.datasets.tables import Rows, find, text, whole
from polyface.errors import InputError
from polyface.images.align import ARCFACE_112
from polyface.images.read import Root, Source
from polyface.labels import People
from polyface.tasks import identity

PICTURE = re.compile(r"(?:(.*)/)?([^/]+)/(\2_\d{4})\.jpg")
ALIGNED_112 = Alignment(ARCFACE_112, "stated")
PUBLIC_250 = Alignment(np.array([[105.2, 113.2], [146.3, 112.5], [125.9, 136.9], [108.7, 158.0], [144.3, 157.4]]), "guess")
"""Means of the points that MTFL's authors clicked in 4,150 of LFW's pictures of 250 x 250; they deviate by 3 to 7 pixels."""


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(lfw.answers)
    for name, match, alignment in pictures(root):
        with rows.row(name):
            person = match[2].replace("_", " ")
            rows.add(Record(match[3], Source(root, name), {identity.name: person}, subject=person, alignment=alignment))
    return rows.listing()


def pictures(root: Root) -> list[tuple[str, re.Match, Alignment]]:
    """(full name, its match of PICTURE, alignment) of the photographs of one layout."""
    found = [(name, match) for name in root.names() if (match := PICTURE.fullmatch(name))]
    aligned = [(name, match) for name, match in found if (match[1] or "").endswith("lfw_aligned_112")]
    return [(name, match, ALIGNED_112 if aligned else PUBLIC_250) for name, match in aligned or found]


def list_pairs(root: Root) -> Pairs:
    """The pairs of pairs.txt. Raises InputError where pictures are absent: a score over a part of them is none of LFW's."""
    table = find(root, "pairs.txt")
    pairs = read_pairs(text(root, table), table)
    keys = {match[3] for name in root.names() if (match := PICTURE.fullmatch(name))}
    incomplete = [index for index, pair in enumerate(zip(pairs.left, pairs.right, strict=True)) if not keys.issuperset(pair)]
    if incomplete:
        first = next(key for key in (pairs.left[incomplete[0]], pairs.right[incomplete[0]]) if key not in keys)
        raise InputError(f"{root.label}: {len(incomplete)} of the {len(pairs.left)} pairs of {table} have an absent picture, {first} first")
    return pairs


def read_pairs(content: str, name: str) -> Pairs:
    """`pairs.txt`: `folds<TAB>n` (or `n`: one fold), then for each fold n lines `name i j` and n lines `name1 i name2 j`. Keys are `name_%04d`.

    Raises InputError naming file and row.
    """
    table = content.rstrip().split("\n")
    folds, count = _sizes(table[0].split(), name)
    if len(table) != 1 + 2 * folds * count:
        raise InputError(f"{name}: {len(table) - 1} pairs where its first row announces {2 * folds * count}")
    left, right, same, fold = [], [], [], []
    for row, line in enumerate(table[1:]):
        is_same = row // count % 2 == 0
        fields = line.split()
        try:
            if len(fields) != (3 if is_same else 4):
                raise InputError("not `name i j`" if is_same else "not `name i name j`")
            if is_same and fields[1] == fields[2]:
                raise InputError("a photograph is paired with itself")
            if not is_same and fields[0] == fields[2]:
                raise InputError(f"a pair of two people names {fields[0]} twice")
            left.append(_key(fields[0], fields[1]))
            right.append(_key(fields[-2] if not is_same else fields[0], fields[-1]))
        except InputError as error:
            raise InputError(f"{name}, row {row + 2}: {error}") from None
        same.append(is_same)
        fold.append(row // (2 * count))
    return Pairs(tuple(left), tuple(right), np.array(same, bool), np.array(fold, np.int64))


def _sizes(fields: list[str], name: str) -> tuple[int, int]:
    try:
        folds, count = (whole(field) for field in (fields if len(fields) == 2 else ["1", *fields]))
    except (InputError, ValueError):
        raise InputError(f"{name}, row 1: not `folds pairs`") from None
    if folds < 1 or count < 1:
        raise InputError(f"{name}, row 1: {folds} folds of {count} pairs")
    return folds, count


def _key(person: str, photograph: str) -> str:
    return f"{person}_{whole(photograph):04}"


lfw = Dataset(
    name="lfw",
    title="LFW",
    terms="published for research",
    url="http://vis-www.cs.umass.edu/lfw/",
    answers={identity.name: People(named=True)},
    splits=("test",),
    list_records=list_records,
    list_pairs=list_pairs,
)
