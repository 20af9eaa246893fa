"""Our face detector beside YuNet (or any two files with its inputs and outputs), on the same pictures in one run.

    python benchmarks/detector.py --data DIR --detector OURS.onnx --detector face_detection_yunet_2023mar.onnx [--validation] [--most N] [--json OUT] [--card]

- average precision on the WIDER FACE validation pictures that are there, whole at their own size through OpenCV's FaceDetectorYN, by the official lists. With fewer than
  the 3,226 pictures this is not WIDER's number, and the table says how many there were.
- share of the faces of these pictures found by polyface's own way of looking (`images/detect.py`), by size, each file at the threshold that it carries (0.6 where it says
  none), beside the finds that nobody labelled.
- share of labelled faces found (an overlap of 0.3 or more) and the error of the five points, by one look at a long side of 640 through FaceDetectorYN (Helen, AFW), and
  by polyface's own way, at a score of 0.5 (Helen, MTFL).
- the same of Helen's photographs laid on their sides and heads.
- finds per 1,000 pictures without people, polyface's own way, each file at its own threshold. No class of them was in training;
  finds that both detectors make at one place are counted apart, since most are faces: drawn, carved or far off.
- milliseconds of the network alone at 640 x 480 in onnxruntime on one thread, the detectors taking turns; best and median.

--validation measures something else instead, to choose what the file carries (`threshold` and `best_size` in the recipe, then `polyface export RUN`), never on test: for
each score, polyface's own way, the share of WIDER's faces found, of all and of those from 20 pixels, the finds on those photographs that nobody labelled, and the finds
on pictures without people; and the error of the five points when Helen's faces are shown once at one size and another.

--card writes what was measured of the first file, but for its speed, into the detector.json beside it, which `polyface info` prints.
--most takes so many pictures of each set, evenly, for a try. Times of another run or machine are not comparable; ratios are.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx

from polyface import datasets, runtime, terminal
from polyface.datasets import scenes, wider
from polyface.datasets.scene import Scene
from polyface.errors import InputError, RequestError
from polyface.files import sha256_of_file, write_atomically
from polyface.images import read
from polyface.images.detect import ABOUT, Face, best_match, load_detector
from polyface.inference.detector_card import Measure, json_of
from polyface.inference.detector_card import read as read_card
from polyface.metrics.detection import Judgement, average_precision, five_point_errors, overlaps_between
from polyface.models.detector import open_sides

FOUND = 0.3
LOWEST, NMS, MOST_FINDS = 0.02, 0.45, 5000
"""Of a curve: the lowest score, and the overlap and number of finds as in YuNet's own evaluation."""
LONG_SIDE = 640
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SIZES = (64, 90, 110, 130, 180, 220, 260, 300)
SIDES = (8, 12, 16, 24, 40, 80, 1024)
"""Of the faces that are counted apart, in pixels."""
LARGE = 20
"""Pixels of a face's side; smaller ones are those of crowds."""
SPEED_SIZE = (480, 640)
RUNS = 60

Rows = list[dict[str, object]]


def main() -> None:
    arguments = _arguments()
    cv2.setNumThreads(1)
    files = [Path(file) for file in arguments.detector]
    labels = _labels(files)
    rows: Rows = []
    scores: list[Measure] = []
    for measure in (by_threshold, by_size) if arguments.validation else (precision_on_wider, crowds, portraits, lying, without_people, speed):
        try:
            found = measure(files, arguments.data, arguments.most)
        except (InputError, RequestError) as error:
            terminal.say(f"{measure.__name__} is left out: {error}")
            continue
        rows += [{"what": what, "pictures": pictures, **dict(zip(labels, values, strict=True))} for what, pictures, values in found]
        scores += [Measure(what=what, n=pictures, value=values[0]) for what, pictures, values in found if measure is not speed]
        terminal.table(rows[-len(found) :])
    if arguments.card:
        about = files[0].with_name(ABOUT)
        write_atomically(about, json_of(msgspec.structs.replace(read_card(about), scores=tuple(scores))))
    if arguments.json:
        known = {label: {"file": file.name, "sha256": sha256_of_file(file)} for label, file in zip(labels, files, strict=True)}
        write_atomically(arguments.json, json.dumps({"detectors": known, "rows": rows}, indent=1) + "\n")


Measured = list[tuple[str, int, list[float]]]
"""What, on how many pictures, and the number of each detector."""


def precision_on_wider(files: Sequence[Path], data: Path, most: int | None) -> Measured:
    judged = wider.read_levels(datasets.find_root(data, "wider"))
    pictures = _some(scenes.list_scenes("wider", data, "test").items, most)
    by_level: dict[str, list[list[Judgement]]] = {level: [[] for _ in files] for level in wider.LEVELS}
    for scene in pictures:
        image, truth = _open(scene), judged[scene.key]
        for at, file in enumerate(files):
            faces = _one_look(file, image, LOWEST, NMS)
            boxes, scores = _boxes(faces), np.array([face.score for face in faces])
            for level in wider.LEVELS:
                by_level[level][at].append(Judgement(boxes, scores, truth.boxes, truth.counts[level]))
    share = f"{len(pictures)} of {len(judged)}"
    return [(f"AP, WIDER val ({share} pictures), {level}", len(pictures), [round(average_precision(each), 4) for each in by_level[level]]) for level in wider.LEVELS]


def crowds(files: Sequence[Path], data: Path, most: int | None) -> Measured:
    pictures = _some(scenes.list_scenes("wider", data, "test").items, most)
    sides = _sides(pictures)
    looked = [_beside_labels(_own_way(file, pictures), pictures) for file in files]
    rows: Measured = []
    for low, high in pairwise(SIDES):
        asked = (sides >= low) & (sides < high)
        rows.append((f"faces of {low} to {high} pixels found, WIDER val, own way", int(asked.sum()), [round(float(found[asked].mean()), 4) for found, _ in looked]))
    return [*rows, ("finds per 1,000 of these pictures that nobody labelled", len(pictures), [round(1000 * strange / len(pictures), 1) for _, strange in looked])]


def portraits(files: Sequence[Path], data: Path, most: int | None) -> Measured:
    rows: Measured = []
    for name, way, threshold in (("helen", "one look", 0.6), ("helen", "own way", 0.5), ("afw", "one look", 0.6), ("mtfl", "own way", 0.5)):
        try:
            photographs = _some(scenes.list_scenes(name, data, "test").items, most)
        except (InputError, RequestError) as error:
            terminal.say(f"{name} is left out: {error}")
            continue
        look = _whole if way == "one look" else _own_way
        judged = [_of_labelled(look(file, photographs, threshold), photographs) for file in files]
        rows += [(f"faces found, {name} test, {way}, score {threshold}", len(photographs), [found for found, _ in judged])]
        rows += [(f"five-point error / eye distance, {name} test, {way}", len(photographs), [points for _, points in judged])]
    return rows


def lying(files: Sequence[Path], data: Path, most: int | None) -> Measured:
    photographs = _some(scenes.list_scenes("helen", data, "test").items, most)
    rows: Measured = []
    for turn in (1, 2, 3):
        turned = [_turned(scene, turn) for scene in photographs]
        judged = []
        for file in files:
            detector = load_detector(file, 1)
            judged.append(_of_labelled([detector.detect(np.rot90(_open(scene), turn), 0.5) for scene in photographs], turned))
        words = f"helen test turned by {90 * turn} degrees, own way, score 0.5"
        rows += [(f"faces found, {words}", len(photographs), [found for found, _ in judged])]
        rows += [(f"five-point error / eye distance, {words}", len(photographs), [points for _, points in judged])]
    return rows


def _turned(scene: Scene, turn: int) -> Scene:
    """The labels of a photograph after quarter turns by `np.rot90`."""
    height, width = _open(scene).shape[:2]
    boxes, points = scene.boxes.reshape(-1, 2, 2), scene.points
    for done in range(turn):
        boxes, points = (np.stack([xy[..., 1], (height if done % 2 else width) - xy[..., 0]], -1) for xy in (boxes, points))
    return replace(scene, boxes=np.concatenate([boxes.min(1), boxes.max(1)], 1), points=points)


def without_people(files: Sequence[Path], data: Path, most: int | None) -> Measured:
    pictures = _some(scenes.list_scenes("negatives", data, "test").items, most)
    finds = [_own_way(file, pictures) for file in files]
    boxes = [list(map(_boxes, each)) for each in finds]
    alone = []
    for at in range(len(files)):
        others = [np.concatenate([boxes[other][row] for other in range(len(files)) if other != at] or [np.empty((0, 4))]) for row in range(len(pictures))]
        lonely = [overlaps_between(mine, theirs).max(1, initial=0) < FOUND for mine, theirs in zip(boxes[at], others, strict=True)]
        alone.append(round(1000 * sum(int(each.sum()) for each in lonely) / len(pictures), 2))
    every = [round(1000 * sum(map(len, each)) / len(pictures), 2) for each in finds]
    rows: Measured = [("finds per 1,000 pictures without people", len(pictures), every)]
    return rows if len(files) == 1 else [*rows, ("of these, made by this detector alone", len(pictures), alone)]


def by_threshold(files: Sequence[Path], data: Path, most: int | None) -> Measured:
    """Pictures are looked at anew with each score: where nothing is found polyface looks again, so finds at one score are not those at a lower one less the weaker."""
    pictures = _some(scenes.list_scenes("wider", data, "validation").items, most)
    nobody = _some(scenes.list_scenes("negatives", data, "validation").items, most)
    large = _sides(pictures) >= LARGE
    rows: Measured = []
    for threshold in THRESHOLDS:
        shares, large_shares, unlabelled, without = [], [], [], []
        for file in files:
            found, strange = _beside_labels(_own_way(file, pictures, threshold), pictures)
            shares.append(round(float(found.mean()), 4))
            large_shares.append(round(float(found[large].mean()), 4))
            unlabelled.append(round(1000 * strange / len(pictures), 1))
            without.append(round(1000 * sum(map(len, _own_way(file, nobody, threshold))) / len(nobody), 1))
        rows += [
            (f"faces found, wider validation, score {threshold}", len(pictures), shares),
            (f"of those from {LARGE} pixels, score {threshold}", len(pictures), large_shares),
            (f"finds per 1,000 of these that nobody labelled, score {threshold}", len(pictures), unlabelled),
            (f"finds per 1,000 pictures without people, validation, score {threshold}", len(nobody), without),
        ]
    return rows


def by_size(files: Sequence[Path], data: Path, most: int | None) -> Measured:
    """Each photograph is shown once with its labelled face at a size."""
    photographs = _some(scenes.list_scenes("helen", data, "validation").items, most)
    rows: Measured = []
    for size in SIZES:
        errors = []
        for file in files:
            looked = []
            for scene in photographs:
                image, face = _open(scene), scene.boxes[0]
                looked.append(_one_look(file, image, 0.5, FOUND, round(max(image.shape[:2]) * size / np.sqrt((face[2:] - face[:2]).prod()))))
            errors.append(_of_labelled(looked, photographs)[1])
        rows.append((f"five-point error / eye distance, helen validation, faces of {size} pixels", len(photographs), errors))
    return rows


def speed(files: Sequence[Path], data: Path, most: int | None) -> Measured:
    sessions = [runtime.session(_open_sided(file), 1) for file in files]
    picture = np.random.default_rng(0).uniform(0, 255, (1, 3, *SPEED_SIZE)).astype(np.float32)
    times: list[list[float]] = [[] for _ in files]
    for _ in range(RUNS):
        for session, taken in zip(sessions, times, strict=True):
            started = time.perf_counter()
            session.run(None, {session.get_inputs()[0].name: picture})
            taken.append(1000 * (time.perf_counter() - started))
    rows: Measured = [("ms at 640 x 480, one thread, best", RUNS, [round(min(each), 2) for each in times])]
    return [*rows, ("ms at 640 x 480, one thread, median", RUNS, [round(float(np.median(each)), 2) for each in times])]


def _sides(pictures: Sequence[Scene]) -> np.ndarray:
    """Of a square as large as each labelled face, in pixels."""
    boxes = np.concatenate([scene.boxes[~scene.ignored] for scene in pictures])
    return np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))


def _beside_labels(looked: Sequence[Sequence[Face]], pictures: Sequence[Scene]) -> tuple[np.ndarray, int]:
    """Which labelled faces were found, bool [faces of all pictures], and how many finds nobody labelled."""
    boxes = [_boxes(faces) for faces in looked]
    found = [overlaps_between(scene.boxes[~scene.ignored], finds).max(1, initial=0) >= FOUND for scene, finds in zip(pictures, boxes, strict=True)]
    strange = [overlaps_between(finds, scene.boxes).max(1, initial=0) < FOUND for scene, finds in zip(pictures, boxes, strict=True)]
    return np.concatenate(found), sum(int(each.sum()) for each in strange)


def _boxes(faces: Sequence[Face]) -> np.ndarray:
    """float [n, 4]."""
    return np.array([face.box for face in faces]).reshape(-1, 4)


def _of_labelled(looked: Sequence[Sequence[Face]], photographs: Sequence[Scene]) -> tuple[float, float]:
    """The share of photographs whose labelled face was found, and the mean error of its five points in eye distances."""
    pairs = [best_match(faces, scene.boxes[0]) for faces, scene in zip(looked, photographs, strict=True)]
    hits = [(face, scene) for (face, overlap), scene in zip(pairs, photographs, strict=True) if face is not None and overlap >= FOUND]
    points = five_point_errors(np.array([face.points for face, _ in hits]).reshape(-1, 5, 2), np.array([scene.points[0] for _, scene in hits]).reshape(-1, 5, 2))
    return round(len(hits) / len(photographs), 4), round(float(points.mean()), 4) if len(points) else float("nan")


def _own_way(file: Path, pictures: Sequence[Scene], threshold: float | None = None) -> list[list[Face]]:
    """The faces of each picture as polyface looks for them, many pictures at once; threshold None: the file's own."""
    detector, found = load_detector(file, 1), []
    for start in range(0, len(pictures), 64):
        found += detector.detect_many([_open(scene) for scene in pictures[start : start + 64]], threshold)
    return found


def _whole(file: Path, pictures: Sequence[Scene], threshold: float) -> list[list[Face]]:
    """The same by one look at each whole picture."""
    return [_one_look(file, _open(scene), threshold, FOUND, LONG_SIDE) for scene in pictures]


def _one_look(file: Path, image: np.ndarray, threshold: float, nms: float, long_side: int | None = None) -> list[Face]:
    """Through OpenCV's FaceDetectorYN, shrunk or enlarged to a long side where one is given."""
    scale = long_side / max(image.shape[:2]) if long_side else 1.0
    if scale != 1.0:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    detector = _opencvs(file, threshold, nms)
    detector.setInputSize(image.shape[1::-1])
    found = detector.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    rows = np.empty((0, 15)) if found is None else found.astype(float)
    corners = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]) / scale
    return [Face(tuple(box), row[4:14].reshape(5, 2) / scale, float(row[14])) for box, row in zip(corners, rows, strict=True)]


@cache
def _opencvs(file: Path, threshold: float, nms: float) -> cv2.FaceDetectorYN:
    return cv2.FaceDetectorYN.create(str(file), "", (32, 32), threshold, nms, MOST_FINDS)


def _open(scene: Scene) -> np.ndarray:
    return read.decode(scene.source.read(), str(scene.source))


def _open_sided(file: Path) -> bytes:
    model = onnx.load(file)
    open_sides(model)
    return model.SerializeToString()


def _some(items: Sequence[Scene], most: int | None) -> list[Scene]:
    return list(items[:: -(-len(items) // most)] if most else items)


def _labels(files: Sequence[Path]) -> list[str]:
    """The files' names, numbered where they are equal."""
    stems = [file.stem for file in files]
    return [stem if stems.count(stem) == 1 else f"{stem} ({at + 1})" for at, stem in enumerate(stems)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Face detectors side by side.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--detector", action="append", required=True)
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--most", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--card", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
