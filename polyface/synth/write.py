"""Drawn photographs in the layouts of public downloads, file by file as the real ones are.

What a layout cannot say it leaves as the real set would. CelebA's names without a visible cause here (Attractive, Double_Chin and the like) and those that a hat hides
are written -1, since that file has no word for unknown; RAF-DB knows no contempt, so nobody shows it; UTKFace and MTFL know no people.
"""

import dataclasses
import hashlib
import itertools
import json
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from polyface import tasks
from polyface.datasets.celeba import FIVE_POINTS as CELEBA
from polyface.datasets.celebamask import FIVE_POINTS as CELEBAMASK
from polyface.datasets.rafdb import ALIGNED_100 as RAFDB
from polyface.datasets.tables import age_group
from polyface.datasets.utkface import CHIP as UTKFACE
from polyface.errors import RequestError, RunError
from polyface.files import write_atomically
from polyface.images import geometry, paletted
from polyface.images.align import ARCFACE_112
from polyface.synth.draw import Drawing, draw
from polyface.synth.people import Scene, person, photo_of

_UTKFACE_RACE = {"White": 0, "Black": 1, "East Asian": 2, "Southeast Asian": 2, "Indian": 3, "Latino_Hispanic": 4, "Middle Eastern": 4}
MOST_YAW_ALIGNED = 40  # degrees
_RAFDB_WORDS = {"surprise": 1, "fear": 2, "disgust": 3, "happy": 4, "sad": 5, "anger": 6, "neutral": 7}
MASK_PALETTE = np.frombuffer(
    bytes.fromhex("000000 cc0000 4c9900 cccc00 3333ff cc00cc 00ffff ffcccc 663300 ff0000 66cc00 ffff00 000099 0000cc ff3399 00cccc 003300 ff9933 00cc00"),
    np.uint8,
).reshape(19, 3)


def write(layout: str, out: Path, people: int, photos: int, seed: int, shared_people: bool = False) -> int:
    """Draw `photos` pictures of each of `people` persons under the folder `out`; returns how many pictures were written.

    People never cross the splits that a layout has. Two layouts of one seed show different people, unless shared_people: then person i is the same in every
    layout written with it, on other photographs. Raises RequestError for an unknown layout, a folder that is not empty or too few people, RunError when a
    file cannot be written.
    """
    if layout not in LAYOUTS:
        raise RequestError(f"no layout {layout!r} here: {', '.join(LAYOUTS)}")
    if people < 1 or photos < 1 or seed < 0:
        raise RequestError(f"people and photos must be at least 1 and the seed at least 0, not {people}, {photos} and {seed}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"{out} is there already and is not an empty folder")
    return LAYOUTS[layout](_Job(layout, out, people, photos, seed, shared_people))


def write_once(drawn: Iterable[tuple[str, str, int, int]], folder: Path) -> Path:
    """Draw each of these sets, (name, layout, people, photos), that is not in the folder, and return the folder."""
    for name, layout, people, photos in drawn:
        once(folder / name, [layout, people, photos], partial(write, layout, people=people, photos=photos, seed=1))
    return folder


DRAWN_OF = ".of.json"


def once(place: Path, of: Sequence[object], draw: Callable[[Path], object]) -> bool:
    """A folder that `draw` fills: whole or not at all, so that what was cut off is drawn anew, and so is what was drawn of something else (`of`, kept in it). Whether it
    was drawn now. What somebody else put there stays."""
    record, said = place / DRAWN_OF, json.dumps(of)
    if place.exists() and not (record.exists() and record.read_text() != said):
        return False
    unfinished = place.with_name(f".{place.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    draw(unfinished)
    write_atomically(unfinished / DRAWN_OF, said)
    shutil.rmtree(place, ignore_errors=True)
    unfinished.rename(place)
    return True


@dataclass(frozen=True)
class _Job:
    layout: str
    out: Path
    people: int
    photos: int
    seed: int
    shared_people: bool

    def scenes(self, people: range | None = None) -> Iterator[tuple[Scene, int, int]]:
        """(scene, person, photo), person by person."""
        own = (self.seed << 32) | zlib.crc32(self.layout.encode())
        for index in range(self.people) if people is None else people:
            who = person(self.seed if self.shared_people else own, index)
            for photo in range(self.photos):
                yield photo_of(who, own, photo), index, photo

    def split(self, *shares: float) -> list[range]:
        """Consecutive people for the first part and for parts of these shares, at least one person each."""
        counts = [max(1, round(self.people * share)) for share in shares]
        if self.people <= sum(counts):
            raise RequestError(
                f"the layout {self.layout} has {len(counts) + 1} splits without common people: draw at least {len(counts) + 1 + (sum(counts) > len(counts))} people"
            )
        edges = np.cumsum([0, self.people - sum(counts), *counts])
        return [range(int(a), int(b)) for a, b in itertools.pairwise(edges)]

    def name(self, index: int) -> str:
        return f"Drawn_{'Shared' if self.shared_people else self.layout.title()}_{index:04d}"

    def picture(self, path: str, image: np.ndarray, quality: int = 92) -> None:
        encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        self.file(path, encoded.tobytes())

    def file(self, path: str, content: bytes) -> None:
        target = self.out / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            raise RunError(f"{target}: cannot be written ({error.strerror or error})") from error

    def text(self, path: str, lines: list[str], end: str = "\n") -> None:
        write_atomically(self.out / path, "".join(line + end for line in lines))


def _utkface(job: _Job) -> int:
    for number, (scene, _, _) in enumerate(job.scenes()):
        labels = (drawing := draw(_facing(scene), 200, five=UTKFACE.points)).labels
        seconds, thousandths = divmod(number, 1000)
        date = f"20170101{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}{thousandths:03d}"
        gender = 0 if labels.gender == "male" else 1
        job.picture(f"{labels.age}_{gender}_{_UTKFACE_RACE[labels.race]}_{date}.jpg.chip.jpg", drawing.image)
    return job.people * job.photos


def _fairface(job: _Job) -> int:
    for split, people in zip(("train", "val"), job.split(0.2), strict=True):
        lines = ["file,age,gender,race,service_test"]
        for number, (scene, _, _) in enumerate(job.scenes(people), 1):
            close = dataclasses.replace(scene, eye_distance=scene.eye_distance * 0.2 + 0.178, place=(scene.place[0], 0.42))
            labels = (drawing := draw(close, 224)).labels
            lines.append(f"{split}/{number}.jpg,{age_group(labels.age)},{labels.gender.title()},{labels.race},{number % 2 == 1}")
            job.picture(f"{split}/{number}.jpg", drawing.image)
        job.text(f"fairface_label_{split}.csv", lines)
    return job.people * job.photos


def _rafdb(job: _Job) -> int:
    lines = []
    for split, digits, people in zip(("train", "test"), (5, 4), job.split(0.2), strict=True):
        for number, (scene, _, photo) in enumerate(job.scenes(people), 1):
            if scene.expression == "contempt":
                scene = dataclasses.replace(scene, expression=list(_RAFDB_WORDS)[(scene.person.index + photo) % 7])
            stem = f"{split}_{number:0{digits}d}"
            job.picture(f"basic/Image/aligned/{stem}_aligned.jpg", draw(_facing(scene), 100, five=RAFDB.points).image, 95)
            lines.append(f"{stem}.jpg {_RAFDB_WORDS[scene.expression]}")
    job.text("basic/EmoLabel/list_patition_label.txt", lines)
    return len(lines)


def _celeba(job: _Job) -> int:
    attributes, identities, partitions, number = [], [], [], 0
    for partition, people in enumerate(job.split(0.1, 0.1)):
        for scene, index, _ in job.scenes(people):
            number += 1
            name, drawing = f"{number:06d}.jpg", draw(_facing(scene), (178, 218), five=CELEBA)
            job.picture(f"img_align_celeba/{name}", drawing.image, 95)
            found = drawing.labels.attributes
            attributes.append(f"{name} " + " ".join(f"{1 if found.get(word) else -1:2d}" for word in tasks.attributes.vocabulary))
            identities.append(f"{name} {index + 1}")
            partitions.append(f"{name} {partition}")
    job.text("list_attr_celeba.txt", [str(number), " ".join(tasks.attributes.vocabulary) + " ", *attributes])
    job.text("identity_CelebA.txt", identities)
    job.text("list_eval_partition.txt", partitions)
    return number


def _celebamask(job: _Job) -> int:
    for scene, index, photo in job.scenes():
        drawing = draw(_facing(scene), 512, five=CELEBAMASK)
        name = hashlib.md5(f"{job.seed} {index} {photo}".encode(), usedforsecurity=False).hexdigest()
        job.picture(f"images/{name}.jpg", drawing.image, 95)
        job.file(f"masks/{name}.png", paletted.encode(drawing.labels.mask, MASK_PALETTE))
    return job.people * job.photos


def _300w(job: _Job) -> int:
    for split, people in zip(("trainset", "testset"), job.split(0.2), strict=True):
        for scene, index, photo in job.scenes(people):
            size = ((400, 300), (300, 400), (360, 360))[(index + photo) % 3]
            drawing = draw(scene, size)
            name = f"{split}/{1000000 + index}_{photo + 1}"
            job.picture(f"{name}.jpg", drawing.image)
            points = geometry.to_one_based(drawing.labels.points)
            job.text(f"{name}.pts", ["version: 1", "n_points:  68", "{", *(f"{x:.6f} {y:.6f}" for x, y in points), "}"])
    return job.people * job.photos


def _mtfl(job: _Job) -> int:
    train, test = job.split(0.2)
    lines = []
    for scene, index, photo in job.scenes(train):
        path = f"lfw_5590/{job.name(index)}_{photo + 1:04d}.jpg" if index % 2 == 0 else f"net_7876/{index}_{photo}_0.jpg"
        drawing = draw(scene, 250)
        job.picture(path, drawing.image)
        lines.append(_mtfl_line(path.replace("/", "\\"), drawing))
    job.text("training.txt", [lines[0], *(" " + line for line in lines[1:])], "\r\n")
    lines = []
    for number, (scene, index, _) in enumerate(job.scenes(test), 1):
        path, drawing = f"AFLW/{number:04d}-image{10000 + index:05d}.jpg", draw(scene, 150)
        job.picture(path, drawing.image)
        lines.append(_mtfl_line(path, drawing))
    job.text("testing.txt", [lines[0], *(" " + line for line in lines[1:])], "\r\n")
    return job.people * job.photos


def _mtfl_line(path: str, drawing: Drawing) -> str:
    labels = drawing.labels
    points = (geometry.to_one_based if path.startswith("net_7876") else geometry.to_corner_at_one)(labels.five).T.ravel()
    gender = 1 if labels.gender == "male" else 2
    smile, glasses = (1 if labels.attributes[name] else 2 for name in ("Smiling", "Eyeglasses"))
    pose = 1 + int(np.searchsorted([-45, -15, 15, 45], labels.yaw))
    return " ".join([path, *(f"{value:.6f}" for value in points), f"{gender} {smile} {glasses} {pose}"])


def _lfw(job: _Job) -> int:
    folds = min(10, job.people // 2)
    if folds < 2 or job.photos < 2:
        raise RequestError(f"the layout lfw needs at least 4 people with 2 photos each for its pairs, not {job.people} with {job.photos}")
    for scene, index, photo in job.scenes():
        image = draw(_facing(scene), 112, five=ARCFACE_112).image
        job.picture(f"lfw_aligned_112/{job.name(index)}/{job.name(index)}_{photo + 1:04d}.jpg", image, 95)
    rng = np.random.default_rng([job.seed, job.people, job.photos])
    candidates = [_pairs(job, list(range(fold, job.people, folds)), rng) for fold in range(folds)]
    count = min(300, *(len(kind) for pairs in candidates for kind in pairs))
    job.text("pairs.txt", [f"{folds}\t{count}", *(line for pairs in candidates for kind in pairs for line in sorted(kind[:count]))])
    return job.people * job.photos


def _pairs(job: _Job, people: list[int], rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Lines of pairs of one person and of two, each once, in random order; at most a thousand of each."""
    numbers = range(1, job.photos + 1)
    same = [f"{job.name(who)}\t{i}\t{j}" for who in people for i, j in itertools.combinations(numbers, 2)]
    different = [f"{job.name(a)}\t{i}\t{job.name(b)}\t{j}" for a, b in itertools.combinations(people, 2) for i in numbers for j in numbers]
    shuffled = ([kind[k] for k in rng.permutation(len(kind))[:1000]] for kind in (same, different))
    return next(shuffled), next(shuffled)


def _folders(job: _Job) -> int:
    for scene, index, photo in job.scenes():
        job.picture(f"{job.name(index)}/{photo:03d}.jpg", draw(scene, 160 + 16 * ((index + photo) % 3)).image)
    return job.people * job.photos


def _facing(scene: Scene) -> Scene:
    """Aligned sets show faces that more or less look at the camera; aligning a profile would blow it up."""
    return dataclasses.replace(scene, yaw=float(np.clip(scene.yaw, -MOST_YAW_ALIGNED, MOST_YAW_ALIGNED)))


LAYOUTS: dict[str, Callable[[_Job], int]] = {
    "utkface": _utkface,
    "fairface": _fairface,
    "rafdb": _rafdb,
    "celeba": _celeba,
    "celebamask": _celebamask,
    "300w": _300w,
    "mtfl": _mtfl,
    "lfw": _lfw,
    "folders": _folders,
}
