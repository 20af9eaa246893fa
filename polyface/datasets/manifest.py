"""A user's own set: a table with a row per picture, declared in a small TOML file, the manifest. Its path stands wherever a data set's name may stand.

    name = "clinic"                 # the pictures and the table are in DIR/clinic, DIR/clinic.zip or DIR/clinic.tar (--data DIR); no listed set's name
    title = "Faces of the clinic"
    terms = "private"
    url = ""                        # optional
    table = "faces.csv"             # a CSV in UTF-8 with commas and a header, or faces.parquet (needs polyface[data]); its columns may have any names, each its own
    picture = "file"                # the column that holds the picture's path, seen from the folder of the set
    subject = "patient"             # optional: who it is; without `split` nobody is in two, with it whoever is stays in the later one only
    groups = ["site"]               # optional: columns for the tables of fairness
    split = "part"                  # optional: a column of train, validation, test. Without it: fixed tenths of the subjects, or of the pictures' contents.
                                    # Where no row says validation, a tenth of train is
    splits = ["test"]               # optional: the splits there are, if not all three. One alone and no column: every row is in it

    [tasks.gender]                  # questions with classes: gender, race, expression
    column = "sex"
    words = { M = "male", F = "female" }            # {its word: our answer}, or words = "same" where it speaks our vocabulary

    [tasks.race]
    column = "origin"
    words = { Asian = ["East Asian", "Southeast Asian"], Black = "Black" }      # a word may leave several answers possible
    unknown = ["NA", "-1"]          # optional, of any question: cells that say no more than an empty one

    [tasks.expression]              # or, where several people were asked: {its column of counts: our answer}
    votes = { happy_votes = "happy", upset = ["sad", "fear"] }

    [tasks.age]                     # a cell is a number or one of the ranges' words; ends included
    column = "age"
    ranges = { "20-29" = [20, 29], "old" = [65, 116] }
    sigma = 2.0                     # optional: how precise plain numbers are

    [tasks.attributes]              # {its column: our attribute}; cells are 1, true, yes or 0, -1, false, no
    traits = { glasses = "Eyeglasses", smile = "Smiling" }

    [tasks.landmarks]               # columns x, y, x, y, ... of 5 or 68 points in our order, or of any 68 at most, with `means`; both empty: unseen
    columns = ["ex", "ey", "nx", "ny"]
    means = [[36, 37, 38, 39, 40, 41], [30]]        # for each point, of which of the 68 it is the mean
    first_pixel = 0                 # the coordinate of the first pixel's centre: 0 (OpenCV, most tools; the default), 0.5, or 1 (MATLAB, .pts)

    [tasks.parsing]                 # a column of paths of PNG masks whose values are class indices, 255 where unlabelled
    column = "mask"
    words = { background = "background", hairy = ["hair", "l_brow", "r_brow"] } # in the order of the indices, or "same"

    [tasks.pose]                    # {axis: its column}, degrees: yaw > 0 nose to the image's right, pitch > 0 up, roll > 0 clockwise as seen
    columns = { yaw = "turn" }
    ranges = { left = [-99, -15] }  # optional; sigma too

    [tasks.identity]                # people to be told apart; usually the column of the subject
    column = "patient"

An empty cell, in Parquet null or NaN, is a question that nobody answered. A cell that cannot be read refuses its row, by name, and the rest goes on.
A column of Parquet that is asked for and holds neither text nor numbers, such as the pictures themselves, refuses the table.
Keys that are not listed here are refused.
"""

import io
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from polyface import tasks
from polyface.datasets.base import Alignment, Dataset, Listing, Meaning, Record, Split, split_of, split_of_train
from polyface.datasets.tables import Mask, Rows, check_columns, check_inside, csv_rows, number, text
from polyface.errors import InputError, RequestError, nearest, respelled
from polyface.images import geometry
from polyface.images.read import Root, Source
from polyface.labels import People, PointMap, Ranges, TraitNames, Words, same_words, words
from polyface.strict import strict

Cells = Mapping[str, str]


def read_manifest(path: Path) -> Dataset:
    """The data set that a manifest declares; its table is not opened yet. Raises RequestError, one line, for whatever in the manifest is not as it should be."""
    try:
        given = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    sections = given.pop("tasks", {})
    manifest = strict(given, Manifest, str(path))
    if not isinstance(sections, dict) or not sections:
        raise RequestError(f"{path}: no [tasks.NAME] says what the set answers")
    if not manifest.splits or len(set(manifest.splits)) < len(manifest.splits):
        raise RequestError(f"{path}: splits are some of train, validation, test, each once")
    if manifest.split is None and len(manifest.splits) == 2:
        raise RequestError(f"{path}: two splits need a column that says which (split = ...)")
    readers: dict[str, Columns] = {}
    answers: dict[str, Meaning] = {}
    for name, section in sections.items():
        where = f"{path}: [tasks.{name}]"
        if name not in [task.name for task in tasks.TASKS]:
            raise RequestError(f"{where}: no task {name!r}{nearest(name, [task.name for task in tasks.TASKS])}; a new one is a file (CONTRIBUTING.md, A task)")
        try:
            task = tasks.named(name)
            voted = isinstance(task, tasks.Category) and isinstance(section, dict) and "votes" in section
            readers[name] = strict(section, VoteColumns if voted else READERS[type(task)], where)
            answers[name] = readers[name].meaning(task)  # type: ignore[arg-type]  # READERS pairs them by kind
        except RequestError as error:
            raise error if str(error).startswith(where) else RequestError(f"{where}: {error}") from None
    person = readers.get(tasks.identity.name)
    if manifest.subject is None and isinstance(person, PersonColumn):  # whoever can be asked for is in one split only
        manifest = msgspec.structs.replace(manifest, subject=person.column)
    lister = partial(list_records, manifest, readers, answers)
    return Dataset(manifest.name, manifest.title, manifest.terms, manifest.url, answers, manifest.splits, lister)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys above the tasks."""

    name: str
    title: str
    terms: str
    table: str
    picture: str
    url: str = ""
    subject: str | None = None
    groups: tuple[str, ...] = ()
    split: str | None = None
    splits: tuple[Split, ...] = ("train", "validation", "test")

    def columns(self) -> list[str]:
        return [self.picture, *self.groups, *([self.subject] if self.subject else []), *([self.split] if self.split else [])]


# One struct for each kind of question: its keys, what its words mean, and the label in a row's cells (None where nobody answered).


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """unknown: cells of its columns that are as good as empty."""

    unknown: tuple[str, ...] = ()


class ClassColumn(Column, frozen=True, forbid_unknown_fields=True, kw_only=True):
    column: str
    words: Literal["same"] | dict[str, str | tuple[str, ...]]

    def columns(self) -> list[str]:
        return [self.column]

    def meaning(self, task: tasks.Category | tasks.Regions) -> Words:
        return same_words(task.vocabulary) if isinstance(self.words, str) else words(task.vocabulary, self.words)

    def label(self, cells: Cells, root: Root) -> object:
        return cells[self.column] or None


class VoteColumns(Column, frozen=True, forbid_unknown_fields=True, kw_only=True):
    votes: dict[str, str | tuple[str, ...]]

    def columns(self) -> list[str]:
        return list(self.votes)

    def meaning(self, task: tasks.Category) -> Words:
        return words(task.vocabulary, self.votes)

    def label(self, cells: Cells, root: Root) -> object:
        counts = {column: number(cells[column]) for column in self.votes if cells[column]}
        return counts if any(counts.values()) else None


class MaskColumn(ClassColumn, frozen=True, forbid_unknown_fields=True, kw_only=True):
    def label(self, cells: Cells, root: Root) -> object:
        name = cells[self.column]
        if name and not root.exists(name):
            raise InputError(f"no mask {name}{respelled(name, root.exists)}")
        return Mask(Source(root, name)) if name else None


class NumberColumn(Column, frozen=True, forbid_unknown_fields=True, kw_only=True):
    column: str
    ranges: dict[str, tuple[float, float]] = {}
    sigma: float = 0.0

    def columns(self) -> list[str]:
        return [self.column]

    def meaning(self, task: tasks.Scale) -> Ranges:
        for word, (low, high) in self.ranges.items():
            if not (low >= 0 and high <= task.top):
                raise RequestError(f"the word {word!r} means {low:g} to {high:g}, which is outside 0 to {task.top}")
        return _ranges(self.ranges, self.sigma)

    def label(self, cells: Cells, root: Root) -> object:
        cell = cells[self.column]
        return _number_or_word(cell, self.ranges) if cell else None


class AngleColumns(Column, frozen=True, forbid_unknown_fields=True, kw_only=True):
    of_axes: dict[str, str] = msgspec.field(name="columns")
    ranges: dict[str, tuple[float, float]] = {}
    sigma: float = 0.0

    def columns(self) -> list[str]:
        return list(self.of_axes.values())

    def meaning(self, task: tasks.Angles) -> Ranges:
        for axis in self.of_axes:
            if axis not in task.axes:
                raise RequestError(f"no axis {axis!r}{nearest(axis, task.axes)}")
        return _ranges(self.ranges, self.sigma)

    def label(self, cells: Cells, root: Root) -> object:
        return {axis: _number_or_word(cells[column], self.ranges) for axis, column in self.of_axes.items() if cells[column]} or None


class TraitColumns(Column, frozen=True, forbid_unknown_fields=True, kw_only=True):
    traits: dict[str, str]

    def columns(self) -> list[str]:
        return list(self.traits)

    def meaning(self, task: tasks.Traits) -> TraitNames:
        for ours in self.traits.values():
            if ours not in task.vocabulary:
                raise RequestError(f"no attribute {ours!r}{nearest(ours, task.vocabulary)}")
        return TraitNames(self.traits)

    def label(self, cells: Cells, root: Root) -> object:
        return {column: _yes_or_no(cells[column]) for column in self.traits if cells[column]} or None


class PointColumns(Column, frozen=True, forbid_unknown_fields=True, kw_only=True):
    coordinates: tuple[str, ...] = msgspec.field(name="columns")
    means: tuple[tuple[int, ...], ...] = ()
    first_pixel: float = 0

    def columns(self) -> list[str]:
        return list(self.coordinates)

    def meaning(self, task: tasks.Points) -> PointMap:
        if len(self.coordinates) % 2 or not self.coordinates:
            raise RequestError("columns are x, y, x, y, ...: an even number of them")
        if self.first_pixel not in FROM_FIRST_PIXEL:
            raise RequestError(f"first_pixel {self.first_pixel:g} is none of 0, 0.5, 1")
        count = len(self.coordinates) // 2
        if count > task.count:
            raise RequestError(f"{count} points, of which a row holds at most {task.count}: leave some out")
        if self.means:
            if len(self.means) != count or not all(mean and all(0 <= point < task.count for point in mean) for mean in self.means):
                raise RequestError(f"means must hold, for each of the {count} points, numbers from 0 to {task.count - 1}")
            return PointMap(np.array([np.bincount(mean, minlength=task.count) / len(mean) for mean in self.means]))
        if count not in (5, task.count):
            raise RequestError(f"{count} points, neither 5 nor {task.count}: say with `means` what they are")
        return PointMap(geometry.five_of_68() if count == 5 else np.eye(task.count))

    def label(self, cells: Cells, root: Root) -> object:
        values = [number(cells[column]) if cells[column] else np.nan for column in self.coordinates]
        points = FROM_FIRST_PIXEL[self.first_pixel](np.array(values).reshape(-1, 2))
        seen = np.isfinite(points)
        if (halves := seen.any(-1) != seen.all(-1)).any():
            raise InputError(f"point {int(halves.argmax()) + 1} has one coordinate, and not the other")
        return points if seen.any() else None


class PersonColumn(Column, frozen=True, forbid_unknown_fields=True, kw_only=True):
    column: str

    def columns(self) -> list[str]:
        return [self.column]

    def meaning(self, task: tasks.Embedding) -> People:
        return People()

    def label(self, cells: Cells, root: Root) -> object:
        return cells[self.column] or None


Columns = ClassColumn | VoteColumns | MaskColumn | NumberColumn | AngleColumns | TraitColumns | PointColumns | PersonColumn
READERS: dict[type[tasks.Task], Any] = {
    tasks.Category: ClassColumn,
    tasks.Regions: MaskColumn,
    tasks.Scale: NumberColumn,
    tasks.Angles: AngleColumns,
    tasks.Traits: TraitColumns,
    tasks.Points: PointColumns,
    tasks.Embedding: PersonColumn,
}
FROM_FIRST_PIXEL: dict[float, Callable[[np.ndarray], np.ndarray]] = {0: geometry.from_zero_based, 0.5: np.asarray, 1: geometry.from_one_based}
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "-1", "-1.0", "false", "no")


def list_records(manifest: Manifest, readers: Mapping[str, Columns], answers: Mapping[str, Meaning], root: Root, split: Split) -> Listing:
    rows = Rows(answers)
    columns = [*manifest.columns(), *(column for reader in readers.values() for column in reader.columns())]
    table = _table(root, manifest.table, columns, rows)
    stated = {cells[manifest.split] for _, cells in table} if manifest.split else set()
    for row, cells in table:
        name = cells[manifest.picture]
        with rows.row(f"{manifest.table}, row {row}"):
            if not name:
                raise InputError(f"no picture in column {manifest.picture!r}")
            if not root.exists(name):
                if split == manifest.splits[0]:
                    rows.missing(name)
                continue
            person = _person(manifest, readers, cells)
            if _split(manifest, root, cells, stated, person) == split:
                rows.add(_record(manifest, readers, answers, root, cells, person))
    return rows.listing()


def _person(manifest: Manifest, readers: Mapping[str, Columns], cells: Cells) -> str:
    """Whose picture it is; empty where nobody knows."""
    if not manifest.subject:
        return ""
    columns = [reader for reader in readers.values() if isinstance(reader, PersonColumn) and reader.column == manifest.subject]
    return "" if any(cells[manifest.subject] in reader.unknown for reader in columns) else cells[manifest.subject]


def _split(manifest: Manifest, root: Root, cells: Cells, stated: set[str], person: str) -> Split:
    if manifest.split is None and len(manifest.splits) == 1:
        return manifest.splits[0]
    content = person or root.open(cells[manifest.picture])
    if manifest.split is None:
        return split_of(content)
    word = cells[manifest.split]
    if word not in manifest.splits:
        raise InputError(f"no split {word!r}{nearest(word, manifest.splits)}")
    if word == "train" and "validation" in manifest.splits and "validation" not in stated:
        return split_of_train(content)
    return word  # type: ignore[return-value]


def _record(manifest: Manifest, readers: Mapping[str, Columns], answers: Mapping[str, Meaning], root: Root, cells: Cells, person: str) -> Record:
    labels = {}
    for task, reader in readers.items():
        own = {column: "" if cells[column] in reader.unknown else cells[column] for column in reader.columns()}
        try:
            label = reader.label(own, root)
            if isinstance(label, np.ndarray):
                check_inside(label, root.open(cells[manifest.picture]), cells[manifest.picture])
        except InputError as error:
            raise InputError(f"{task}: {error}") from None
        if label is not None:
            labels[task] = label
    groups = {column: cells[column] for column in manifest.groups if cells[column]}
    return Record(cells[manifest.picture], Source(root, cells[manifest.picture]), labels, person or None, _alignment(labels, answers), groups=groups)


def _alignment(labels: Mapping[str, object], answers: Mapping[str, Meaning]) -> Alignment | None:
    """Five or sixty-eight labelled points, all seen and not all in one place, say where the face is."""
    points, meaning = labels.get(tasks.landmarks.name), answers.get(tasks.landmarks.name)
    if not isinstance(points, np.ndarray) or not isinstance(meaning, PointMap) or not np.isfinite(points).all() or not np.ptp(points, axis=0).any():
        return None
    if np.array_equal(meaning.weights, np.eye(tasks.landmarks.count)):
        return Alignment(geometry.five_of_68() @ points, "labelled")
    return Alignment(points, "labelled") if np.array_equal(meaning.weights, geometry.five_of_68()) else None


def _table(root: Root, name: str, columns: list[str], rows: Rows) -> list[tuple[int, dict[str, str]]]:
    if not name.lower().endswith(".parquet"):
        content = text(root, name)
        try:
            return csv_rows(content, name, columns, rows)
        except InputError as error:
            raise InputError(f"{root.label}: {error}") from None
    try:
        import pyarrow
        from pyarrow import parquet, types
    except ImportError:
        raise RequestError(f"{name}: reading Parquet needs pyarrow: pip install polyface[data]") from None
    if not root.exists(name):
        raise InputError(f"{root.label}: {name} is missing")
    try:
        schema = parquet.read_schema(io.BytesIO(root.open(name)))
        check_columns(columns, schema.names, f"{root.label}: {name}")
        for column in columns:
            kind = schema.field(column).type
            if types.is_nested(kind) or "binary" in str(kind):  # as pictures themselves are stored: a struct of their bytes and path
                raise InputError(f"{root.label}: {name}: the column {column!r} holds {str(kind).partition('<')[0]}, neither text nor numbers")
        table = parquet.read_table(io.BytesIO(root.open(name)), columns=sorted(set(columns))).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{root.label}: {name}: cannot be read as Parquet ({error})") from None
    return [(row, {column: _cell(value) for column, value in cells.items()}) for row, cells in enumerate(table, 1)]


def _cell(value: object) -> str:
    """A value of Parquet as a CSV has it: null and NaN, by which pandas means nothing too, are empty."""
    return "" if value is None or value != value else str(value).strip()


def _ranges(meanings: Mapping[str, tuple[float, float]], sigma: float) -> Ranges:
    for word, (low, high) in meanings.items():
        if not low <= high:
            raise RequestError(f"the word {word!r} means {low:g} to {high:g}, which is no range")
    if not sigma >= 0:
        raise RequestError(f"sigma {sigma:g} is negative")
    return Ranges(meanings, sigma)


def _number_or_word(cell: str, ranges: Mapping[str, object]) -> float | str:
    if cell in ranges:
        return cell
    try:
        return number(cell)
    except InputError:
        raise InputError(f"{cell!r} is neither a number nor a word of the manifest{nearest(cell, ranges)}") from None


def _yes_or_no(cell: str) -> bool:
    if cell.lower() not in YES + NO:
        raise InputError(f"{cell!r} is neither yes nor no")
    return cell.lower() in YES
