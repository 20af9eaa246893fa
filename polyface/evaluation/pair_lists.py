"""Lists of pairs, "the same person?", as the field publishes them (papers.md D1), and the names that embeddings need for them.

    pairs.txt of LFW                 a row `folds<TAB>n`, then for each fold n rows `name i j`, n rows `name i name j`; photographs are `name_0001`
    pairs_CALFW.txt, pairs_CPLFW.txt two rows for each pair, `name_0001.jpg label` (CPLFW `name_1.jpg`); 0 is two people; genuine and impostor pairs are cut into
                                             ten folds each
    Protocol/Split/FF or FP of CFP   a folder of ten with same.txt and diff.txt; photographs are `001_frontal_01`
    any rows                         `name name 1` or `name name 0`, and a fold where the set has folds; else ten as of CALFW
    a .csv or .parquet               columns left, right, same and, where the set has folds, fold
    insightface's .bin               photographs are `0`, `1`, ... in the order of the file; ten folds, as insightface cuts them

For LFW, CALFW, CPLFW and CFP the folder and ending of an embedding's name do not matter.

Two photographs that are paired twice, whichever of them comes first, are refused where the labels differ, or where the list's own folds do: one fold chooses the
threshold for the other. CFP's own frontal-frontal list has 130 of its 7,000 pairs again in the same fold, turned round; such pairs count as often as the list has
them, and how many they are is said.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polyface.datasets import cfp
from polyface.datasets.base import Pairs
from polyface.datasets.lfw import read_pairs as read_lfw
from polyface.datasets.tables import lines, text_of, whole
from polyface.errors import InputError, nearest
from polyface.evaluation.arrays import read_table
from polyface.evaluation.pair_pictures import read_pair_pictures
from polyface.files import sha256_of_file, sha256_of_lines
from polyface.images.read import SUFFIXES
from polyface.metrics.verification import contiguous_folds, interleaved_folds

FOLDS = 10
LFW_NAME = re.compile(r"(.+)_\d+", re.ASCII)
CFP_NAME = re.compile(r"(?:.*/)?(\d{3})[/_](frontal|profile)[/_](\d\d)(?:\.\w+)?", re.ASCII)


@dataclass(frozen=True)
class PairList:
    """left, right: names [N]; same bool [N]; fold int [N], None for too few pairs; where(pair) names its file and row; key: an embedding's name as the list has it;
    people {name: person}, where the names say it; repeated: how many pairs an earlier one has in either order."""

    path: str
    sha256: str
    left: tuple[str, ...] = field(repr=False)
    right: tuple[str, ...] = field(repr=False)
    same: np.ndarray = field(repr=False)
    fold: np.ndarray | None = field(repr=False)
    where: Callable[[int], str] = field(repr=False)
    key: Callable[[str], str] = field(repr=False)
    people: Mapping[str, str] | None = field(repr=False, default=None)
    repeated: int = 0

    def rows(self, names: Sequence[str], file: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of embeddings, int [N] each side. Raises InputError where two of `file`'s names are one photograph, or the list names one that is not there."""
        place: dict[str, int] = {}
        for row, name in enumerate(names):
            if place.setdefault(self.key(name), row) != row:
                raise InputError(f"{file}, names, row {row}: {name!r} is the photograph of row {place[self.key(name)]}, {names[place[self.key(name)]]!r}")
        for pair, both in enumerate(zip(self.left, self.right, strict=True)):
            for name in both:
                if name not in place:
                    raise InputError(f"{self.where(pair)}: {file} has no {name!r}{nearest(name, place)}")
        return tuple(np.array([place[name] for name in side], np.int64) for side in (self.left, self.right))  # type: ignore[return-value]


def read_pair_list(path: Path) -> PairList:
    """Raises InputError naming file and row."""
    if path.is_dir():
        return _of_cfp(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix.lower() == ".bin":
        return _of_bin(path)
    if path.suffix.lower() in (".csv", ".parquet"):
        return _of_table(path)
    content = text_of(path)
    rows = list(lines(content))
    if not rows:
        raise InputError(f"{path}: is empty")
    first = rows[0][1]
    if len(first) <= 2 and all(word.isdecimal() for word in first):
        return _of_lfw(path, content)
    return _of_two_rows(path, rows) if len(first) == 2 else _of_rows(path, rows)


def _of_lfw(path: Path, content: str) -> PairList:
    pairs = read_lfw(content, str(path))
    return _listed(path, pairs, lambda pair: f"{path}, row {pair + 2}", _stem, _people(pairs))


def _of_two_rows(path: Path, rows: list[tuple[int, list[str]]]) -> PairList:
    if len(rows) % 2:
        raise InputError(f"{path}, row {rows[-1][0]}: has no second row, a pair has two")
    for row, fields in rows:
        if len(fields) != 2 or not fields[1].isdecimal():
            raise InputError(f"{path}, row {row}: not `name label`")
    for (row, (_, label)), (_, (_, other)) in zip(rows[::2], rows[1::2], strict=True):
        if (label == "0") != (other == "0"):
            raise InputError(f"{path}, row {row + 1}: labelled {other}, the first of the pair is labelled {label}")
    names = [_stem(fields[0]) for _, fields in rows]
    same = np.array([fields[1] != "0" for _, fields in rows[::2]], bool)
    pairs = Pairs(tuple(names[::2]), tuple(names[1::2]), same, np.zeros(0, np.int64))
    numbers = [row for row, _ in rows[::2]]
    return _listed(path, pairs, lambda pair: f"{path}, row {numbers[pair]}", _stem, _people(pairs))


def _of_rows(path: Path, rows: list[tuple[int, list[str]]]) -> PairList:
    width, parsed = len(rows[0][1]), []
    for row, fields in rows:
        if len(fields) != width or width not in (3, 4):
            raise InputError(f"{path}, row {row}: not `name name 1` or `name name 0`, with a fold after it in all rows or in none")
        parsed.append((f"{path}, row {row}", *fields))
    return _of_fields(path, parsed)


def _of_table(path: Path) -> PairList:
    columns, numbers = read_table(path, ("left", "right", "same"))
    needed = [name for name in ("left", "right", "same", "fold") if name != "fold" or name in columns]
    for name in needed:
        if name not in columns:
            raise InputError(f"{path}: no column {name!r}{nearest(name, columns)}")
    word = "row" if numbers is None else "line"
    values = [columns[name]().tolist() for name in needed]
    places = numbers or range(len(values[0]))
    fields = zip(*(map(str, column) for column in values), strict=True)
    return _of_fields(path, [(f"{path}, {word} {place}", *each) for place, each in zip(places, fields, strict=True)])


def _of_fields(path: Path, rows: list[tuple[str, ...]]) -> PairList:
    """(where, left, right, same) or (where, left, right, same, fold)."""
    truths = {"1": True, "true": True, "0": False, "false": False, "-1": False}
    sames, folds = [], []
    for where, left, right, same, *fold in rows:
        truth = truths.get(_without_zeros(same).lower())
        if truth is None:
            raise InputError(f"{where}: {same!r} is neither 1 nor 0")
        if not left or not right:
            raise InputError(f"{where}: a name is empty")
        try:
            folds += [whole(_without_zeros(word)) for word in fold]
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        sames.append(truth)
    if not rows:
        raise InputError(f"{path}: no pairs")
    pairs = Pairs(tuple(row[1] for row in rows), tuple(row[2] for row in rows), np.array(sames, bool), np.array(folds, np.int64))
    return _listed(path, pairs, lambda pair: rows[pair][0], str, None)


def _without_zeros(word: str) -> str:
    """`1.0` -> `1`: so pandas writes the whole numbers of a column that had a gap."""
    return re.sub(r"(?<=\d)\.0+\Z", "", word)


def _of_bin(path: Path) -> PairList:
    same = read_pair_pictures(path).same
    left, right = (tuple(str(2 * pair + side) for pair in range(len(same))) for side in (0, 1))
    fold = contiguous_folds(len(same), FOLDS) if len(same) >= FOLDS else None
    return PairList(str(path), sha256_of_file(path), left, right, same, fold, lambda pair: f"{path}, pair {pair}", str)


def _of_cfp(path: Path) -> PairList:
    """`Protocol/Split/FP`, whose image lists are two folders above."""
    view = path.name
    tables = [path.parent.parent / f"image_list_{letter}.txt" for letter in view]
    files = [path / f"{fold:02}" / f"{word}.txt" for fold in range(1, FOLDS + 1) for word in ("same", "diff")]
    for file in [*tables, *files]:
        if view not in ("FF", "FP") or not file.is_file():
            raise InputError(f"{path}: not CFP's Protocol/Split/FF or FP, {file} is missing")
    texts = {file: text_of(file) for file in [*tables, *files]}
    keys = [cfp.read_keys(texts[table], str(table)) for table in tables]
    left, right, same, fold, places = [], [], [], [], []
    for at, file in enumerate(files):
        genuine = at % 2 == 0
        pairs = cfp.read_pairs(texts[file], str(file), keys[0], keys[-1], genuine)
        left += [one for one, _ in pairs]
        right += [other for _, other in pairs]
        same += [genuine] * len(pairs)
        fold += [at // 2] * len(pairs)
        places += [f"{file}, row {row}" for row, _ in lines(texts[file])]
    digest = sha256_of_lines(f"{file.name} {sha256_of_file(file)}" for file in [*tables, *files])
    people = {name: name[:3] for name in (*left, *right)}
    found = Pairs(tuple(left), tuple(right), np.array(same, bool), np.array(fold, np.int64))
    repeated = _repeated(found, places.__getitem__)
    return PairList(str(path), digest, found.left, found.right, found.same, found.fold, places.__getitem__, _cfp_key, people, repeated)


def _listed(path: Path, pairs: Pairs, where: Callable[[int], str], key: Callable[[str], str], people: Mapping[str, str] | None) -> PairList:
    """A list of one file; without folds of its own it is cut into ten, where each can have both kinds of pair. Raises InputError for a photograph paired with itself."""
    for pair, (one, other) in enumerate(zip(pairs.left, pairs.right, strict=True)):
        if one == other:
            raise InputError(f"{where(pair)}: a photograph is paired with itself")
    repeated = _repeated(pairs, where)
    fold: np.ndarray | None = pairs.fold
    if not len(pairs.fold):
        fold = interleaved_folds(pairs.same, FOLDS) if min(pairs.same.sum(), (~pairs.same).sum()) >= FOLDS else None
    return PairList(str(path), sha256_of_file(path), pairs.left, pairs.right, pairs.same, fold, where, key, people, repeated)


def _repeated(pairs: Pairs, where: Callable[[int], str]) -> int:
    """How many pairs are there already. Raises InputError for one that says something else the second time."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys((*pairs.left, *pairs.right)))}
    left, right = (np.array([numbers[name] for name in side], np.int64) for side in (pairs.left, pairs.right))

    def named(pair: int) -> str:
        return f"{pairs.left[pair]!r} and {pairs.right[pair]!r}"

    return count_repeated(left, right, {"with the other label": pairs.same, **({"in another fold": pairs.fold} if len(pairs.fold) else {})}, where, named)


def count_repeated(left: np.ndarray, right: np.ndarray, said: Mapping[str, np.ndarray], where: Callable[[int], str], named: Callable[[int], str]) -> int:
    """How many pairs an earlier one has in either order. left, right int64 [N]: numbers of the two; said {what another value is called: values [N]}.

    Raises InputError for a pair of which something else was said before; where(pair) and named(pair): the words for its place, and for the two.
    """
    low, high = np.minimum(left, right), np.maximum(left, right)
    order = np.lexsort((high, low))  # equal ones stay in their order
    begins = np.ones(len(order), bool)
    begins[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    before = np.empty(len(order), np.int64)
    before[order] = order[begins][np.cumsum(begins) - 1]
    for another, values in said.items():
        for pair in np.flatnonzero(values[before] != values)[:1].tolist():
            raise InputError(f"{where(pair)}: {named(pair)} are paired {another} at {where(int(before[pair]))}")
    return int(len(order) - begins.sum())


def _people(pairs: Pairs) -> dict[str, str] | None:
    """{`Some_Body_0001`: `Some_Body`}, where every name has that form and no pair contradicts it."""
    people = {}
    for name in (*pairs.left, *pairs.right):
        match = LFW_NAME.fullmatch(name)
        if match is None:
            return None
        people[name] = match[1]
    agree = [(people[left] == people[right]) == same for left, right, same in zip(pairs.left, pairs.right, pairs.same, strict=True)]
    return people if all(agree) else None


def _stem(name: str) -> str:
    """`Some_Body/Some_Body_0001.jpg` -> `Some_Body_0001`."""
    file = name.rpartition("/")[2]
    stem, dot, ending = file.rpartition(".")
    return stem if dot and f".{ending.lower()}" in SUFFIXES else file


def _cfp_key(name: str) -> str:
    """`Data/Images/001/frontal/01.jpg` -> `001_frontal_01`."""
    match = CFP_NAME.fullmatch(name)
    return "_".join(match.groups()) if match else name
