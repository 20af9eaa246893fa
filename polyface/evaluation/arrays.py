"""Arrays of anybody's model, and of targets, from .npz, .npy, CSV and Parquet: whole, and checked by file and row before anything is scored.

`names` [N] say whose row each is; other arrays have as many rows, only `classes` does not. A table has a column for each array, `values`, or a column for each part of a
row, `values.yaw,values.pitch,values.roll`: the ends of such columns are its `classes`; where all are numbers, `values.0,values.1`, they say the order. A .npy file is
one array, whose rows are named by their number from 0, or a structured one whose fields are arrays. Nothing pickled is read.

What nobody asks for may hold anything: a column or a member of an archive is looked at, and refused, when it is asked for.
"""

import csv
import io
import struct
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from polyface.datasets.tables import text_of
from polyface.errors import InputError, nearest
from polyface.files import sha256_of_file

NAMES, CLASSES, SUBJECTS, GROUPS = "names", "classes", "subjects", "groups"
BROKEN = (
    OSError, EOFError, ValueError, TypeError, MemoryError, OverflowError, RuntimeError, SyntaxError, struct.error, tokenize.TokenError, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What numpy and zipfile raise for files that are no arrays."""

TRUTHS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0, "nan": np.nan}
"""Words of an array of yes and no, in small letters, as pandas may mix them; where others are among them, true is no number."""

Opened = Callable[[], np.ndarray]
"""An array, or a column of a table, as it is looked at when it is asked for. Raises InputError, or BROKEN."""


@dataclass(frozen=True)
class Arrays:
    """One file. arrays {name: [N, ...], or what opens it}; places [N]: where the file has each row, whatever their order here; unit: a "row", from 0, or an editor's
    "line"."""

    path: str
    sha256: str
    names: tuple[str, ...]
    arrays: Mapping[str, np.ndarray | Opened] = field(repr=False)
    classes: tuple[str, ...] | None
    places: Sequence[int] = field(repr=False)
    unit: str

    def refusal(self, row: int, why: str, array: str = "values") -> InputError:
        """An error that names file, array, row and its name."""
        return InputError(f"{self.path}, {array}, {self.unit} {self.places[row]} ({self.names[row]}): {why}")

    def has(self, array: str) -> bool:
        return array in self.arrays

    def array(self, array: str) -> np.ndarray:
        """[N, ...]. Raises InputError where it is not there, or has not a row for each name."""
        if array not in self.arrays:
            raise InputError(f"{self.path}: no array {array!r}{nearest(array, self.arrays)}")
        found = self._opened(array)
        if found.ndim == 0 or len(found) != len(self.names):
            raise InputError(f"{self.path}: {array} has {len(found) if found.ndim else 'no'} rows, there are {len(self.names)} names")
        return found

    def numbers(self, array: str, unlabelled: bool = False) -> np.ndarray:
        """float64 [N, ...], finite; with `unlabelled`, NaN, or nothing in a cell of a table, may stand for what nobody labelled. Raises InputError naming the row."""
        values = self.array(array)
        if values.dtype.kind == "U":
            values = self._parsed(array, np.where(values == "", "nan", values) if unlabelled else values)
        elif values.dtype.kind not in "iufb":
            raise InputError(f"{self.path}: {array} holds {values.dtype}, numbers are needed")
        values = values.astype(np.float64)
        bad = ~np.isfinite(values) & ~(np.isnan(values) & unlabelled)
        if bad.any():
            where = tuple(np.argwhere(bad)[0])
            raise self.refusal(int(where[0]), f"{values[where]} is not finite", array)
        return values

    def words(self, array: str) -> list[str]:
        """[N] words, none empty. Raises InputError naming the row."""
        values = self.array(array)
        if values.ndim != 1 or values.dtype.kind not in "USiub":
            raise InputError(f"{self.path}: {array} is {values.dtype} of shape {list(values.shape)}, one word or whole number for each name is needed")
        words = strings(values)
        if "" in words:
            raise self.refusal(words.index(""), _is_empty(array), array)
        return words

    def taken(self, rows: Sequence[int] | np.ndarray) -> "Arrays":
        """These rows, in this order; arrays that have not a row for each name stay as they are."""
        rows = np.asarray(rows, np.int64)

        def take(name: str) -> np.ndarray:
            array = self._opened(name)
            return array[rows] if array.ndim and len(array) == len(self.names) else array

        arrays = {name: partial(take, name) for name in self.arrays}
        return replace(self, names=tuple(self.names[row] for row in rows), arrays=arrays, places=[self.places[row] for row in rows])

    def _opened(self, array: str) -> np.ndarray:
        kept = self.arrays[array]
        try:
            return kept if isinstance(kept, np.ndarray) else kept()
        except BROKEN as error:
            raise InputError(f"{self.path}: cannot be read ({error or type(error).__name__})") from error

    def _parsed(self, array: str, values: np.ndarray) -> np.ndarray:
        parsed = np.zeros(values.shape)
        for where, word in np.ndenumerate(values):
            try:
                parsed[where] = float(word if "_" not in word else "")
            except ValueError:
                if word.lower() in TRUTHS:
                    return self._truths(array, values, f"{str(word)!r} ({self.names[where[0]]})")
                raise self.refusal(where[0], f"{str(word)!r} is no number", array) from None
        return parsed

    def _truths(self, array: str, values: np.ndarray, one: str) -> np.ndarray:
        truths = np.zeros(values.shape)
        for where, word in np.ndenumerate(values):
            if word.lower() not in TRUTHS:
                raise self.refusal(where[0], f"{str(word)!r} is neither true nor false, as {one} is", array)
            truths[where] = TRUTHS[word.lower()]
        return truths


def read_arrays(path: Path, main: str = "values") -> Arrays:
    """The arrays of a .npz, .npy, .csv or .parquet file; main: what the only array of a .npy is. Raises InputError naming the file, and its row."""
    read: dict[str, Callable[[Path], tuple[dict[str, Opened], tuple[int, ...] | None]]] = {
        ".npz": lambda file: (_npz(file), None),
        ".npy": lambda file: (_npy(file, main), None),
        ".csv": _table,
        ".parquet": _table,
    }
    if path.suffix.lower() not in read:
        raise InputError(f"{path}: not one of {', '.join(read)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        arrays, lines = read[path.suffix.lower()](path)
        names = _unique_names(path, arrays.pop(NAMES)(), lines)
        classes = read_classes(path, arrays.pop(CLASSES)()) if CLASSES in arrays else None
    except BROKEN as error:
        raise InputError(f"{path}: cannot be read ({error or type(error).__name__})") from error
    return Arrays(str(path), sha256_of_file(path), names, arrays, classes, range(len(names)) if lines is None else lines, "row" if lines is None else "line")


def read_classes(path: Path, values: np.ndarray) -> tuple[str, ...]:
    """Raises InputError for a class without a name, or one that is there twice."""
    classes = tuple(strings(values))
    if "" in classes:
        raise InputError(f"{path}, classes, number {classes.index('')}: is empty")
    if len(set(classes)) != len(classes):
        raise InputError(f"{path}: classes names {next(name for name in classes if classes.count(name) > 1)!r} twice")
    return classes


def matched(predictions: Arrays, targets: Arrays) -> tuple[Arrays, Arrays]:
    """Both in the order of their sorted names. Raises InputError where a name is only in one of them."""
    require_same_names(predictions.path, predictions.names, targets.path, targets.names)
    both = [sorted(range(len(side.names)), key=side.names.__getitem__) for side in (predictions, targets)]
    return predictions.taken(both[0]), targets.taken(both[1])


def require_same_names(one: str, names: Sequence[str], other: str, others: Sequence[str]) -> None:
    """Raises InputError with the first name that only one of two files has."""
    for here, known, there, asked in ((one, names, other, others), (other, others, one, names)):
        missing = sorted(set(asked) - set(known))
        if missing:
            raise InputError(f"{here}: {len(missing)} of the {len(asked)} names of {there} are missing, {missing[0]!r} first{nearest(missing[0], known)}")


def open_npz(path: Path) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """The archive, whose list is long where it has many masks and is read once, and {key: member}. Raises BROKEN for what is no .npz."""
    archive = zipfile.ZipFile(path)
    found = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    members = {info.filename.removesuffix(".npy"): info for info in found}
    if len(members) != len(found) or not members:
        raise ValueError("an archive without arrays" if not members else "it holds two arrays of one name")
    return archive, members


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array of a .npz. Raises BROKEN; an array whose header claims other than its bytes is refused before it is given memory."""
    if member.file_size > 1100 * member.compress_size:  # deflate packs 1,032 bytes into one at best
        raise ValueError(f"{member.filename}: {member.compress_size} packed bytes cannot be {member.file_size}")
    with archive.open(member) as stream:
        _check_header(stream, member.file_size, member.filename)
    with archive.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _npz(path: Path) -> dict[str, Opened]:
    archive, members = open_npz(path)
    if NAMES not in members:
        raise InputError(f"{path}: no array 'names' that says whose each row is{nearest(NAMES, members)}")

    def read(key: str) -> np.ndarray:
        return _decoded(path, key, read_member(archive, members[key]))

    return {key: partial(read, key) for key in members}


def _npy(path: Path, main: str) -> dict[str, Opened]:
    with open(path, "rb") as stream:
        _check_header(stream, path.stat().st_size, path.name)
        stream.seek(0)
        array = np.lib.format.read_array(stream, allow_pickle=False)
    if array.ndim == 0:
        raise ValueError("a single number")
    found = {main: array} if array.dtype.names is None else {name: array[name] for name in array.dtype.names}
    return {key: partial(_decoded, path, key, values) for key, values in {NAMES: np.arange(len(array)), **found}.items()}


def _decoded(path: Path, array: str, values: np.ndarray) -> np.ndarray:
    """Bytes as the words that they are in UTF-8."""
    if values.dtype.kind != "S":
        return values
    try:
        return np.array(strings(values), dtype=str).reshape(values.shape)
    except ValueError as error:
        raise InputError(f"{path}, {array}, {error}") from None


def _check_header(stream: IO[bytes], size: int, name: str) -> None:
    """Raises ValueError where the shape that a .npy claims is not that of its `size` bytes, or it holds objects."""
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{name}: version {version} of the format")
    shape, _, dtype = readers[version](stream)
    if dtype.hasobject:
        raise ValueError(f"{name}: holds Python objects, which are not unpickled; save words as np.array(words, dtype=str)")
    if not dtype.itemsize:  # of which any number of rows is no byte
        raise ValueError(f"{name}: holds {dtype}, words of no length")
    claimed, there = dtype.itemsize, size - stream.tell()
    for side in shape:
        claimed *= side
    if claimed != there:
        raise ValueError(f"{name}: its header claims {list(shape)} of {dtype}, {claimed} bytes, there are {there}")


def read_table(path: Path, needed: Collection[str]) -> tuple[dict[str, Opened], tuple[int, ...] | None]:
    """The columns of a .csv (all words) or .parquet, and the lines of a CSV's rows. Raises InputError naming the file, and its row; columns that are needed tell whether
    a CSV is separated by commas."""
    columns, lines = _csv(path, needed) if path.suffix.lower() == ".csv" else (_parquet(path), None)
    counts = Counter(name for name, _ in columns)
    return {name: opened if counts[name] == 1 else partial(_refuse, f"{path}: the column {name!r} is there twice") for name, opened in columns}, lines


def _csv(path: Path, needed: Collection[str]) -> tuple[list[tuple[str, Opened]], tuple[int, ...]]:
    reader = csv.reader(io.StringIO(text_of(path), newline=""), strict=True)
    rows, lines = [], []
    try:
        header = [column.strip() for column in next(reader, [])]
        mark = next((mark for mark in ";\t" if sum(column.count(mark) for column in header) >= len(header) > 0), "")
        if mark and not set(needed) <= set(header):
            raise InputError(f"{path}: separated by {mark!r}? commas are read")
        for values in reader:
            if values:
                if len(values) != len(header):
                    raise InputError(f"{path}, line {reader.line_num}: {len(values)} fields under {len(header)} columns")
                rows.append([value.strip() for value in values])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from None

    def read(at: int) -> np.ndarray:
        return _words(path, header[at], [row[at] for row in rows], lines)

    return [(column, partial(read, at)) for at, column in enumerate(header)], tuple(lines)


def _words(path: Path, column: str, words: list[str], lines: Sequence[int] | None = None) -> np.ndarray:
    for row, word in enumerate(words):
        if word.endswith("\0"):  # which numpy drops
            raise InputError(f"{path}, {column}, {_place(row, lines)}: {word!r} ends in a NUL")
    return np.array(words, dtype=str)


def _parquet(path: Path) -> list[tuple[str, Opened]]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    return [(name, partial(_column, path, name, table.column(at))) for at, name in enumerate(table.column_names)]


def _column(path: Path, name: str, column: Any) -> np.ndarray:
    """Numbers, words, or lists of one length, of a pyarrow.ChunkedArray. An empty float is NaN, which pandas writes so."""
    import pyarrow as pa
    import pyarrow.compute as compute

    kind, array = column.type, column.combine_chunks()
    if column.null_count and not pa.types.is_floating(kind):
        raise InputError(f"{path}, {name}, row {column.is_null().to_pylist().index(True)}: {_is_empty(name)}")
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    inside = kind.value_type if lists else kind
    if pa.types.is_floating(inside) or pa.types.is_integer(inside) or pa.types.is_boolean(inside):
        if not lists:
            return array.to_numpy(zero_copy_only=False)
        lengths = compute.list_value_length(array).to_pylist()
        if len(set(lengths)) > 1:
            raise InputError(f"{path}, {name}, row {next(row for row, length in enumerate(lengths) if length != lengths[0])}: is not as long as row 0")
        flat = array.flatten()
        if flat.null_count and not pa.types.is_floating(inside):
            raise InputError(f"{path}, {name}, row {flat.is_null().to_pylist().index(True) // max(lengths[0], 1)}: holds an empty number")
        return flat.to_numpy(zero_copy_only=False).reshape(len(array), -1)
    words = array.to_pylist()
    if not all(isinstance(word, str) for word in words):
        raise InputError(f"{path}: {name} holds {kind}, neither numbers, nor words, nor lists of numbers")
    return _words(path, name, words)


def _table(path: Path) -> tuple[dict[str, Opened], tuple[int, ...] | None]:
    """Columns `values` are arrays; columns `values.a`, `values.b` are one, and their ends its classes."""
    columns, lines = read_table(path, (NAMES,))
    if NAMES not in columns:
        raise InputError(f"{path}: no column 'names' that says whose each row is{nearest(NAMES, columns)}")
    arrays = {column: opened for column, opened in columns.items() if "." not in column}
    parts: dict[str, dict[str, Opened]] = {}
    for column, opened in columns.items():
        array, dot, end = column.partition(".")
        if dot and array in columns:
            arrays[array] = partial(_refuse, f"{path}: {array!r} is a column, and {column!r} a part of it")
        elif dot:
            parts.setdefault(array, {})[end] = opened
    arrays |= {array: partial(_stacked, path, array, each) for array, each in parts.items()}
    if "values" in parts:
        arrays[CLASSES] = partial(np.array, _in_order(parts["values"]), dtype=str)
    return arrays, lines


def _stacked(path: Path, array: str, parts: dict[str, Opened]) -> np.ndarray:
    """[N, parts]. Raises InputError where numbers, if these are the ends of all columns, are not each of 0 to n - 1, or of 1 to n."""
    ends = _in_order(parts)
    for due, end in enumerate(ends, min(int(ends[0]), 1)) if _numbered(ends) else ():
        if int(end) != due:
            are = f"{len(ends)} numbered columns are 0 to {len(ends) - 1}, or 1 to {len(ends)}, each once"
            raise InputError(f"{path}: column '{array}.{end}' where '{array}.{due}' is due; {are}")
    return np.stack([parts[end]() for end in ends], axis=1)


def _in_order(parts: Collection[str]) -> list[str]:
    """As the file has them; by number, where all are numbers: who sorts such columns as text has 10 before 2."""
    return sorted(parts, key=int) if _numbered(parts) else list(parts)


def _numbered(ends: Collection[str]) -> bool:
    return all(end.isascii() and end.isdecimal() for end in ends)


def _refuse(why: str) -> np.ndarray:
    raise InputError(why)


def _is_empty(array: str) -> str:
    return "is empty" + ("; where nobody knows the person, write a name that no other row has" if array == SUBJECTS else "")


def _place(row: int, lines: Sequence[int] | None) -> str:
    return f"row {row}" if lines is None else f"line {lines[row]}"


def _unique_names(path: Path, values: np.ndarray, lines: tuple[int, ...] | None) -> tuple[str, ...]:
    if values.ndim != 1 or values.dtype.kind not in "USiu":
        raise InputError(f"{path}: names is {values.dtype} of shape {list(values.shape)}, a list of words is needed")
    names = strings(values)
    if not names:
        raise InputError(f"{path}: no rows")
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        if not name or name in seen:
            why = f"{name!r} is there already, {_place(seen[name], lines)}" if name else "is empty"
            raise InputError(f"{path}, names, {_place(row, lines)}: {why}")
        seen[name] = row
    return tuple(names)


def strings(values: np.ndarray) -> list[str]:
    """All words of an array. Raises ValueError naming the row of bytes that are no UTF-8: what stands for them could be another's name."""
    if values.dtype.kind != "S":
        return [str(value) for value in values.reshape(-1).tolist()]
    words = []
    for where, word in np.ndenumerate(np.atleast_1d(values)):
        try:
            words.append(bytes(word).decode())
        except UnicodeDecodeError:
            raise ValueError(f"row {where[0]}: {bytes(word)!r} is no UTF-8 text") from None
    return words
