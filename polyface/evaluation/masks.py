"""Class maps of anybody's model, and of targets: a folder, .zip or .tar of PNGs, or a .npz with one array for each picture. They are opened one by one."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polyface.errors import InputError, RequestError
from polyface.evaluation.arrays import BROKEN, CLASSES, GROUPS, NAMES, SUBJECTS, Arrays, open_npz, read_classes, read_member, strings
from polyface.files import sha256_of_file, sha256_of_lines
from polyface.images.read import Root, decode_mask, open_root

BESIDE = (NAMES, CLASSES, SUBJECTS, GROUPS)


@dataclass(frozen=True)
class Masks:
    """names of pictures, sorted; open(name) -> uint8 [H, W] of class numbers. subjects, groups {name: word}: where the file has them."""

    path: str
    sha256: str
    names: tuple[str, ...]
    open: Callable[[str], np.ndarray] = field(repr=False)
    classes: tuple[str, ...] | None = None
    subjects: dict[str, str] | None = None
    groups: dict[str, str] | None = None


def read_masks(path: Path) -> Masks:
    """A .npz may hold `classes`, and `subjects` and `groups` for its array `names`. PNGs are named by their paths without `.png`. Raises InputError naming the file."""
    if path.suffix.lower() == ".npz" and path.is_file():
        try:
            return _of_npz(path)
        except BROKEN as error:
            raise InputError(f"{path}: cannot be read ({error or type(error).__name__})") from error
    try:
        root = open_root(path)
    except RequestError as error:
        raise InputError(str(error)) from error
    files = [name for name in root.names() if name.lower().endswith(".png") and not name.rpartition("/")[2].startswith(".")]
    if not files:
        raise InputError(f"{path}: holds no PNG")
    names = {name[: -len(".png")]: name for name in files}
    if twice := sorted(set(files) - set(names.values())):
        raise InputError(f"{path}: {twice[0]} is there twice, once in other letters")
    return Masks(str(path), _sha256(path, root, files), tuple(sorted(names)), lambda name: decode_mask(root.open(names[name]), f"{path}/{names[name]}"))


def _of_npz(path: Path) -> Masks:
    archive, members = open_npz(path)
    beside = {key: read_member(archive, members[key]) for key in BESIDE if key in members}
    listed = strings(beside[NAMES]) if NAMES in beside else None
    names = tuple(sorted(set(members) - set(beside)))
    if not names:
        raise InputError(f"{path}: no picture, an array [height, width] for each name is needed")
    if listed is not None and sorted(listed) != list(names):
        odd = sorted(set(listed) ^ set(names))
        raise InputError(f"{path}: `names` are not those of its pictures, {odd[0]!r} first" if odd else f"{path}: `names` has a name twice")
    classes = read_classes(path, beside[CLASSES]) if CLASSES in beside else None
    said = Arrays(str(path), sha256_of_file(path), tuple(listed or ()), beside, classes, range(len(listed or ())), "row")
    by_name: dict[str, dict[str, str]] = {}
    for key in (SUBJECTS, GROUPS):
        if said.has(key):
            if listed is None:
                raise InputError(f"{path}: {key} needs an array `names` that says whose they are")
            by_name[key] = dict(zip(listed, said.words(key), strict=True))
    return Masks(said.path, said.sha256, names, lambda name: _opened(archive, name, members[name]), classes, by_name.get(SUBJECTS), by_name.get(GROUPS))


def _opened(archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo) -> np.ndarray:
    path = archive.filename
    try:
        mask = read_member(archive, member)
    except BROKEN as error:
        raise InputError(f"{path}, {name}: cannot be read ({error or type(error).__name__})") from error
    if mask.ndim != 2 or mask.dtype.kind not in "iub":
        raise InputError(f"{path}, {name}: {mask.dtype} of shape {list(mask.shape)}, class numbers [height, width] are needed")
    if mask.size and not 0 <= mask.min() <= mask.max() <= 255:
        raise InputError(f"{path}, {name}: class numbers from {mask.min()} to {mask.max()}, 0 to 255 are read")
    return mask.astype(np.uint8)


def _sha256(path: Path, root: Root, files: list[str]) -> str:
    """Of the archive; of a folder, that of the list of its files' hashes."""
    return sha256_of_file(path) if path.is_file() else sha256_of_lines(f"{name} {sha256_of_file(path / name)}" for name in sorted(files))
