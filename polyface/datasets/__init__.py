"""The data sets. Adding a public one is a file beside these and a line in DATASETS; a user's own is a `.py` file or a manifest, named by its path."""

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

from polyface.datasets.affectnet import affectnet
from polyface.datasets.agedb import agedb
from polyface.datasets.base import Alignment, Dataset, Listing, Pairs, Record, Split, split_of, split_of_train, tenth
from polyface.datasets.celeba import celeba, celeba_wild
from polyface.datasets.celebamask import celebamask
from polyface.datasets.cfp import cfp_ff, cfp_fp
from polyface.datasets.facescrub import facescrub
from polyface.datasets.facesynthetics import facesynthetics
from polyface.datasets.fairface import fairface
from polyface.datasets.fasseg import fasseg
from polyface.datasets.fer2013 import fer2013
from polyface.datasets.ferplus import ferplus
from polyface.datasets.folders import people_in_folders, pins
from polyface.datasets.helen_masks import helen_masks
from polyface.datasets.lapa import lapa
from polyface.datasets.lfw import lfw
from polyface.datasets.lfwa import lfwa
from polyface.datasets.manifest import read_manifest
from polyface.datasets.megaface import megaface
from polyface.datasets.mtfl import mtfl
from polyface.datasets.points300w import afw, helen
from polyface.datasets.rafdb import rafdb
from polyface.datasets.recordio import recordio
from polyface.datasets.utkface import utkface
from polyface.errors import RequestError, nearest, reason
from polyface.images.read import Root, open_root

DATASETS: tuple[Dataset, ...] = (
    utkface, fairface, rafdb, fer2013, ferplus, affectnet, agedb, celeba, celeba_wild, celebamask, lapa, fasseg, facesynthetics,
    helen, helen_masks, afw, mtfl, lfw, lfwa, cfp_ff, cfp_fp, pins, facescrub, megaface, recordio,
)  # fmt: skip

PART_OF = {celeba_wild.name: (celeba.name,), cfp_ff.name: ("cfp",), cfp_fp.name: ("cfp",)}
"""Sets that come in the download of another."""


def named(name: str) -> Dataset:
    """A listed set by name, or a user's own by the path of its `.py` (which defines `dataset`) or manifest `.toml`. Raises RequestError."""
    for dataset in DATASETS:
        if dataset.name == name:
            return dataset
    if name.endswith((".toml", ".py")):
        own = read_manifest(Path(name)) if name.endswith(".toml") else _of_module(Path(name))
        if own.name in ("", ".", "..") or {*"/\\"} & {*own.name}:
            raise RequestError(f"{name}: the name {own.name!r} is that of no folder")
        if own.name in [dataset.name for dataset in DATASETS]:  # what `align` and `pack` keep, and the scores in a card, go by name
            raise RequestError(f"{name}: the name {own.name!r} is that of a listed set; choose another, which may be a link to the same folder")
        return replace(own, file=name)
    raise RequestError(f"no data set {name!r}{nearest(name, [dataset.name for dataset in DATASETS])}")


def find_root(data: Path | None, name: str) -> Root:
    """DIR/<name>, DIR/<name>.zip or DIR/<name>.tar, where DIR is $POLYFACE_DATA unless given. Raises RequestError saying where it looked."""
    data = data_folder(data)
    for folder in (name, *PART_OF.get(name, ())):
        for place in (data / folder, data / f"{folder}.zip", data / f"{folder}.tar"):
            if place.exists():
                return open_root(place)
    raise RequestError(f"{data}: no {name}, {name}.zip or {name}.tar in it")


def data_folder(data: Path | None) -> Path:
    """The folder that holds the sets. Raises RequestError where nobody said which, or it is not there."""
    if data is None:
        if not os.environ.get("POLYFACE_DATA"):
            raise RequestError("where are the data sets? give --data DIR, or set POLYFACE_DATA")
        data = Path(os.environ["POLYFACE_DATA"])
    if not data.exists():
        raise RequestError(f"{data}: no such folder")
    return data


def _of_module(path: Path) -> Dataset:
    if not path.is_file():
        raise RequestError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(f"polyface_user_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RequestError(f"{path}: cannot be loaded ({reason(error)})") from error
    dataset = getattr(module, "dataset", None)
    if not isinstance(dataset, Dataset):
        raise RequestError(f"{path}: defines no `dataset = Dataset(...)`")
    return dataset


__all__ = [
    "DATASETS", "Alignment", "Dataset", "Listing", "Pairs", "Record", "Split", "affectnet", "afw", "agedb", "celeba", "celeba_wild", "celebamask", "cfp_ff",
    "cfp_fp", "data_folder", "facescrub", "facesynthetics", "fairface", "fasseg", "fer2013", "ferplus", "find_root", "helen", "helen_masks", "lapa", "lfw", "lfwa",
    "megaface", "mtfl", "named", "people_in_folders", "pins", "rafdb", "read_manifest", "recordio", "split_of", "split_of_train", "tenth", "utkface",
]  # fmt: skip
