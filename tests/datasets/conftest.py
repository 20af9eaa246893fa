"""Tiny files in the layouts of the public downloads: a layout is {name: content}, written as a folder, a .zip or a .tar."""

import io
import itertools
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from polyface.images.read import Root, open_root
from polyface.tasks import attributes

Files = dict[str, bytes | str]


def noise(seed: int, width: int = 16, height: int = 16) -> bytes:
    """A JPEG of noise, another one for each seed."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


def mask(seed: int, width: int = 16, height: int = 16, top: int = 18) -> bytes:
    image = np.random.default_rng(seed).integers(0, top + 1, (height, width), dtype=np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def pts(seed: int, size: int = 16) -> str:
    points = np.random.default_rng(seed).uniform(1, size, (68, 2))
    return "\n".join(["version: 1", "n_points:  68", "{", *(f"{x:.6f} {y:.6f}" for x, y in points), "}"])


def utkface() -> Files:
    return {f"{i}_{i % 2}_{i % 5}_2017010100000{i:04}.jpg.chip.jpg": noise(i) for i in range(80)}


def fairface() -> Files:
    header, row = "file,age,gender,race,service_test\r\n", "{}/{}.jpg,{},{},{},False\r\n"
    files: Files = {}
    for part, count in (("train", 60), ("val", 10)):
        ages, races = ("0-2", "20-29", "more than 70"), ("White", "East Asian", "Latino_Hispanic")
        rows = [row.format(part, i, ages[i % 3], ("Male", "Female")[i % 2], races[i % 3]) for i in range(1, count + 1)]
        files[f"fairface_label_{part}.csv"] = header + "".join(rows)
        files |= {f"{part}/{i}.jpg": noise(1000 * len(part) + i) for i in range(1, count + 1)}
    return files


def rafdb() -> Files:
    stems = [*(f"train_{i:05}" for i in range(60)), *(f"test_{i:04}" for i in range(8))]
    files: Files = {f"basic/Image/aligned/{stem}_aligned.jpg": noise(i) for i, stem in enumerate(stems)}
    return {**files, "basic/EmoLabel/list_patition_label.txt": "".join(f"{stem}.jpg {i % 7 + 1}\n" for i, stem in enumerate(stems))}


def celeba(partitions: str = "000000112222", people: Mapping[int, str] | None = None) -> Files:
    """Aligned pictures of odd numbers, half-size ones of all, wild ones of all; two photographs of each person."""
    numbers = range(1, len(partitions) + 1)
    values = {number: np.random.default_rng(number).choice([-1, 1], 40) for number in numbers}
    people = people or {}
    return {
        **{f"img_align_celeba/{number:06}.jpg": noise(number, 178, 218) for number in numbers if number % 2},
        **{f"img_align_celeba_half/{number:06}.jpg": noise(100 + number, 89, 109) for number in numbers},
        **{f"img_celeba/{number:06}.jpg": noise(200 + number, 40, 30) for number in numbers},
        "list_attr_celeba.txt": "\r\n".join(
            [str(len(partitions)), " ".join(attributes.vocabulary), *(f"{number:06}.jpg " + " ".join(f"{value:2}" for value in values[number]) for number in numbers), ""]
        ),
        "identity_CelebA.txt": "".join(f"{number:06}.jpg {people.get(number, str((number - 1) // 2))}\n" for number in numbers),
        "list_eval_partition.txt": "".join(f"{number:06}.jpg {part}\n" for number, part in zip(numbers, partitions, strict=True)),
    }


def celebamask() -> Files:
    return {f"{folder}/{i:04x}.{ending}": make(i) for i in range(80) for folder, ending, make in (("images", "jpg", noise), ("masks", "png", mask))}


def helen() -> Files:
    names = [*(f"trainset/{i}_1" for i in range(60)), *(f"testset/{i}_1" for i in range(100, 104))]
    return {name + ending: make(i) for i, name in enumerate(names) for ending, make in ((".jpg", noise), (".pts", pts))}


def afw() -> Files:
    names = [f"afw/{i}_{face}" for i in range(2) for face in (1, 2)]
    return {name + ending: make(i) for i, name in enumerate(names) for ending, make in ((".jpg", noise), (".pts", pts))}


def mtfl() -> Files:
    train = [*(f"lfw_5590\\Ann_{chr(97 + i % 26)}{chr(97 + i // 26)}_0001.jpg" for i in range(60)), *(f"net_7876\\{i}_0_0.jpg" for i in range(4))]
    test = [f"AFLW/{i:04}-image.jpg" for i in range(4)]
    files: Files = {name.replace("\\", "/"): noise(i) for i, name in enumerate(train + test)}
    line = " {} 5 10 7.5 5 10 5 5 8 12 12 {} {} {} {}\r\n"
    for file, names in (("training.txt", train), ("testing.txt", test)):
        files[file] = "".join(line.format(name, i % 2 + 1, i % 2 + 1, 2 - i % 2, i % 5 + 1) for i, name in enumerate(names)).lstrip()
    return files


def lfw(folder: str = "lfw_aligned_112") -> Files:
    names = ("Ann_Lee", "Bob", "Cid_van_Ox", "Dee")
    files: Files = {f"{folder}/{name}/{name}_{i:04}.jpg": noise(10 * k + i) for k, name in enumerate(names) for i in (1, 2)}
    return {**files, "pairs.txt": "2\t1\nAnn_Lee\t1\t2\nAnn_Lee\t1\tBob\t2\nCid_van_Ox\t1\t2\nDee\t2\tCid_van_Ox\t1\n"}


def pins() -> Files:
    return {f"pins_Person {i}/Person {i}_{k}.jpg": noise(2 * i + k) for i in range(80) for k in range(2)}


LAYOUTS: dict[str, Callable[[], Files]] = {
    "utkface": utkface, "fairface": fairface, "rafdb": rafdb, "celeba": celeba, "celeba_wild": celeba, "celebamask": celebamask, "helen": helen, "afw": afw, "mtfl": mtfl,
    "lfw": lfw, "pins": pins,
}  # fmt: skip


def write(files: Files, place: Path) -> Root:
    """A folder, or an archive where the place's name says so."""
    contents = {name: content.encode() if isinstance(content, str) else content for name, content in files.items()}
    if place.suffix == ".zip":
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
    elif place.suffix == ".tar":
        with tarfile.open(place, "w") as archive:
            for name, content in contents.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        for name, content in contents.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return open_root(place)


class Tiny:
    """What the tests draw from; `root(files)` writes them to a new folder."""

    noise, mask, pts, write = staticmethod(noise), staticmethod(mask), staticmethod(pts), staticmethod(write)
    layouts = LAYOUTS

    def __init__(self, folder: Path) -> None:
        self.folder, self._numbers = folder, itertools.count()

    def root(self, files: Files) -> Root:
        return write(files, self.folder / f"set{next(self._numbers)}")


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny(tmp_path)
