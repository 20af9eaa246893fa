"""Tiny files in the layouts of the public downloads: a layout is {name: content}, written as a folder, a .zip or a .tar."""

import io
import itertools
import struct
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


def fasseg() -> Files:
    """Portraits and turned heads with their masks, but for the heads of the test that turn to +45."""
    pictures = [*((f"V2/Train_RGB/{i}", True) for i in (2, 4, 8, 9)), *((f"V2/Test_RGB/{i}", True) for i in range(1, 5))]
    pictures += [(f"V3/Train_RGB/-15/personne{i:02}145+0-15", True) for i in range(1, 8)]
    pictures += [(f"V3/Test_RGB/{yaw}/personne{i:02}148+0{yaw}", yaw == "+30") for i in (8, 9) for yaw in ("+30", "+45")]
    colours = np.array([[0, 0, 255], [0, 255, 255], [0, 0, 127], [255, 0, 0], [255, 255, 0], [0, 255, 0]], np.uint8)
    files: Files = {}
    for seed, (name, with_mask) in enumerate(pictures):
        image = np.random.default_rng(seed).integers(0, 256, (16, 12, 3), dtype=np.uint8)
        files[f"{name}.bmp"] = cv2.imencode(".bmp", image)[1].tobytes()
        if with_mask:
            labels = name.replace("_RGB", "_Labels" if name.startswith("V2") else "_labels")
            files[f"{labels}.bmp"] = cv2.imencode(".bmp", colours[image[..., 0] % 6])[1].tobytes()
    return files


def facesynthetics() -> Files:
    files: Files = {}
    for i in range(4):
        image = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        points = np.random.default_rng(i).uniform(0, 16, (70, 2))
        files[f"dataset_100/{i:06}.png"] = cv2.imencode(".png", image)[1].tobytes()
        files[f"dataset_100/{i:06}_seg.png"] = mask(i)
        files[f"dataset_100/{i:06}_ldmks.txt"] = "".join(f"{x:.3f} {y:.3f}\n" for x, y in points)
    return files


def cfp() -> Files:
    """Two people in each of the ten folds, two frontal pictures and a profile of each; a pair of one person and of two in each list."""
    people = range(1, 21)
    frontal = [f"Data/Images/{person:03}/frontal/{i:02}.jpg" for person in people for i in (1, 2)]
    profile = [f"Data/Images/{person:03}/profile/01.jpg" for person in people]
    files: Files = {name: noise(i) for i, name in enumerate(frontal + profile)}
    files["Data/list_name.txt"] = "".join(f"Person {chr(96 + person)}\n" for person in people)
    for letter, pictures in (("F", frontal), ("P", profile)):
        files[f"Protocol/image_list_{letter}.txt"] = "".join(f"{i} {name}\n" for i, name in enumerate(pictures, 1))
    for fold in range(10):
        first, second = 4 * fold + 1, 2 * fold + 1
        pairs = {"FF/{}/same": (first, first + 1), "FF/{}/diff": (first, first + 2), "FP/{}/same": (first, second), "FP/{}/diff": (first, second + 1)}
        files |= {f"Protocol/Split/{name.format(f'{fold + 1:02}')}.txt": f"{one},{other}\n" for name, (one, other) in pairs.items()}
    return files


def grey(seed: int, width: int = 48, height: int = 48) -> bytes:
    """A grey PNG of noise, another one for each seed."""
    return cv2.imencode(".png", np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8))[1].tobytes()


def fer2013() -> Files:
    folders, faces = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"), ("train/{}/fer{}", "validation/{}/PublicTest_{}", "test/{}/PrivateTest_{}")
    return {f"{face.format(folders[i % 7], i)}.png": grey(100 * part + i) for part, face in enumerate(faces) for i in range(7)}


def ferplus() -> Files:
    files: Files = {}
    table = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\r\nTraining,,0,0,0,0,0,0,0,0,0,10\r\n"
    for part, (usage, folder) in enumerate((("Training", "FER2013Train"), ("PublicTest", "FER2013Valid"), ("PrivateTest", "FER2013Test"))):
        for i in range(8):
            counts = np.roll([7, 0, 0, 0, 0, 0, 0, 2], i).tolist()
            files[f"{folder}/fer{10 * part + i:07}.png"] = grey(10 * part + i)
            table += ",".join(map(str, [usage, f"fer{10 * part + i:07}.png", *counts, 1, 0])) + "\r\n"
    return {**files, "fer2013new.csv": table}


def npy(value: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(value))
    return file.getvalue()


def affectnet() -> Files:
    files: Files = {}
    for part, count in (("train", 60), ("val", 8)):
        for i in range(count):
            files[f"{part}_set/images/{i}.jpg"] = noise(1000 * len(part) + i)
            files[f"{part}_set/annotations/{i}_exp.npy"] = npy(str(i % 8))
            files[f"{part}_set/annotations/{i}_lnd.npy"] = npy(np.random.default_rng(i).uniform(0, 15, 136))
    return files


def agedb() -> Files:
    return {f"AgeDB/{2 * i + k}_AnnLee{chr(65 + i % 26)}{chr(97 + i // 26)}_{20 + i}_{'mf'[i % 2]}.jpg": noise(2 * i + k) for i in range(60) for k in range(2)}


def lapa() -> Files:
    files: Files = {}
    for seed, (part, i) in enumerate((part, i) for part, count in (("train", 6), ("val", 2), ("test", 2)) for i in range(count)):
        points = np.random.default_rng(seed).uniform(0, 15, (106, 2))
        files[f"LaPa/{part}/images/{part}{i}_0.jpg"], files[f"LaPa/{part}/labels/{part}{i}_0.png"] = noise(seed), mask(seed, top=10)
        files[f"LaPa/{part}/landmarks/{part}{i}_0.txt"] = "106\n" + "".join(f"{x:.4f} {y:.4f}\n" for x, y in points)
    return files


def helen_masks() -> Files:
    files: Files = {}
    for file, names in (("exemplars", range(6)), ("tuning", range(6, 8)), ("testing", range(8, 10))):
        files[f"SmithCVPR2013_dataset_resized/{file}.txt"] = "".join(f"{row} , {name}_1\n" for row, name in enumerate(names, 1))
        for name in names:
            files[f"SmithCVPR2013_dataset_resized/images/{name}_1.jpg"] = noise(name)
            files |= {f"SmithCVPR2013_dataset_resized/labels/{name}_1/{name}_1_lbl{layer:02}.png": mask(100 * name + layer, top=254) for layer in range(11)}
    return files


def facescrub() -> Files:
    """As MegaFace gives it: whole photographs, named by the number of the face."""
    files: Files = {f"Person {i}/Person {i}_{i + k}.jpg": noise(2 * i + k) for i in range(80) for k in range(2)}
    for part, file in enumerate(("facescrub_actors.txt", "facescrub_actresses.txt")):
        rows = [f"Person {i}\t{i + k + 1000}\t{i + k}\thttp://a/{i}.jpg\t2,3,12,14\t{'0' * 64}\n" for i in range(80) if i % 2 == part for k in range(2)]
        files[file] = "name\timage_id\tface_id\turl\tbbox\tsha256\n" + "".join(rows)
    return files


def megaface() -> Files:
    files: Files = {}
    for i in range(4):
        name = f"FlickrFinal2/{901 + i % 2}/90195{i // 2}@N08/803265277{i}_0.jpg"
        files[name] = noise(i)
        files[f"{name}.json"] = '{"bounding_box": {"x": 2.5, "y": 3, "width": 10, "height": 11}, "landmarks": {}}'
    return files


def lfwa() -> Files:
    files = {name: content for name, content in lfw("lfw").items() if name != "pairs.txt"}
    rows = [f"{name.removeprefix('lfw/').replace('/', chr(92))}," + ",".join(str(float((i + k) % 3 == 0)) for k in range(40)) for i, name in enumerate(files)]
    return {**files, "lfw_att_40.csv": "\n".join([",".join(["", *(word.replace("_", " ") for word in attributes.vocabulary)]), *rows, ""])}


def recordio(people: int = 80, size: int = 16) -> Files:
    """insightface's: pictures 1 to N, then a record about each person, key 0 last."""
    content, offsets = b"", []
    contents = [(0, float(i), noise(i, size, size)) for i in range(people)]
    contents += [(2, 0.0, struct.pack("<2f", i + 1, i + 2)) for i in range(people)]
    contents.append((2, 0.0, struct.pack("<2f", people + 1, 2 * people + 1)))
    keys = [*range(1, 2 * people + 1), 0]
    for key, (flag, label, body) in zip(keys, contents, strict=True):
        offsets.append(f"{key}\t{len(content)}\n")
        body = struct.pack("<IfQQ", flag, label, key, 0) + body
        content += struct.pack("<II", 0xCED7230A, len(body)) + body + bytes(-len(body) % 4)
    return {"train.rec": content, "train.idx": "".join(offsets), "property": f"{people},{size},{size}\n"}


LAYOUTS: dict[str, Callable[[], Files]] = {
    "utkface": utkface, "fairface": fairface, "rafdb": rafdb, "celeba": celeba, "celeba_wild": celeba, "celebamask": celebamask, "helen": helen, "afw": afw, "mtfl": mtfl,
    "lfw": lfw, "pins": pins,
    "fasseg": fasseg, "facesynthetics": facesynthetics, "cfp_ff": cfp, "cfp_fp": cfp,
    "fer2013": fer2013, "ferplus": ferplus, "affectnet": affectnet, "agedb": agedb, "lapa": lapa, "helen_masks": helen_masks,
    "facescrub": facescrub, "megaface": megaface, "lfwa": lfwa, "recordio": recordio,
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
    grey, npy = staticmethod(grey), staticmethod(npy)
    layouts = LAYOUTS

    def __init__(self, folder: Path) -> None:
        self.folder, self._numbers = folder, itertools.count()

    def root(self, files: Files) -> Root:
        return write(files, self.folder / f"set{next(self._numbers)}")


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny(tmp_path)
