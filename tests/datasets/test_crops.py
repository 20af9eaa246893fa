"""From records to crops: by which points, with which labels, and what a detector found once."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pyarrow.parquet as parquet
import pytest

from polyface import cli, tasks
from polyface.datasets import crops
from polyface.datasets.base import Alignment, Dataset, Listing, Meaning, Record, Split
from polyface.datasets.copies import NEAR, comparable, near_copies
from polyface.datasets.crops import Example, Found
from polyface.errors import InputError, RequestError
from polyface.images import align, geometry, read
from polyface.images.align import Crop
from polyface.images.detect import Face
from polyface.labels import People, PointMap, Ranges, same_words

POINTS = geometry.apply(geometry.about((64, 60), 1.5, 10, (40, 50)), Crop().template)
OTHERS = POINTS + 3
ANSWERS: dict[str, Meaning] = {
    tasks.landmarks.name: PointMap(geometry.five_of_68()), tasks.age.name: Ranges(), tasks.identity.name: People(),
    tasks.parsing.name: same_words(tasks.parsing.vocabulary),
}  # fmt: skip


How = Literal["stated", "labelled", "guess"]


def record(how: How | None = None, key: str = "a.png", folder: Path = Path("x"), **labels: object) -> Record:
    return Record(key, read.file_source(folder / key), labels, alignment=Alignment(POINTS, how) if how else None)


def dataset_of(*records: Record, splits: tuple[Split, ...] = ("train",)) -> Dataset:
    return Dataset("drawn", "Drawn", "", "", ANSWERS, splits, lambda root, split: Listing(tuple(records) if split == "train" else ()))


# Which points

FOUND, SOMEBODY_ELSE = Found(OTHERS, align.box_of_points(OTHERS), 0.9, 0.8), Found(OTHERS, np.array([0.0, 0, 5, 5]), 0.9, 0.1)


@pytest.mark.parametrize(
    ("how", "found", "training", "expected"),
    [
        ("stated", FOUND, True, "stated"), ("stated", FOUND, False, "stated"),
        ("labelled", FOUND, True, "detected"), ("labelled", FOUND, False, "detected"), ("guess", FOUND, False, "detected"), (None, FOUND, True, "detected"),
        ("labelled", None, True, "labelled"), ("labelled", None, False, None), ("labelled", SOMEBODY_ELSE, True, "labelled"), ("labelled", SOMEBODY_ELSE, False, None),
        ("guess", None, True, "guess"), ("guess", None, False, "guess"), ("guess", SOMEBODY_ELSE, False, "guess"),
        (None, None, True, None), (None, SOMEBODY_ELSE, True, None),
    ],
)  # fmt: skip
def test_a_crop_is_taken_by_the_best_points_there_are(how: How | None, found: Found | None, training: bool, expected: str | None) -> None:
    example = crops.align_record(record(how), found, training)
    assert (example.how if example else None) == expected
    if example:
        assert np.array_equal(example.points, OTHERS if expected == "detected" else POINTS)


def test_what_is_not_aligned_is_counted_and_nothing_aligned_is_an_error() -> None:
    dataset, root = dataset_of(record("guess", "a.png"), record(None, "b.png")), read.Directory("x")
    found = crops.examples(dataset, root, "train", {}, training=True)
    assert [example.record.key for example in found.items] == ["a.png"] and found.unaligned == ("b.png",) and found.ways == {"guess": 1}
    with pytest.raises(RequestError, match="no face of Drawn is aligned; run `polyface datasets align drawn`"):
        crops.examples(dataset_of(record(None)), root, "train", {}, training=True)


@pytest.mark.parametrize("ending", ["jpg", "png"])
@pytest.mark.parametrize("scale", [0.6, 0.4, 0.2, 0.11, 0.05])
def test_a_picture_decoded_small_lies_in_the_crop_where_the_whole_one_does(tmp_path: Path, ending: str, scale: float) -> None:
    image = np.zeros((1003, 1501, 3), np.uint8)  # no multiple of 8: the far corner would show a wrong scale
    cv2.circle(image, (1400, 900), 60, (0, 0, 255), -1)
    cv2.imwrite(str(tmp_path / f"a.{ending}"), image, [cv2.IMWRITE_JPEG_QUALITY, 95] if ending == "jpg" else [])
    matrix = geometry.compose(geometry.about((0, 0), scale, 25), geometry.about((0, 0), shift=(-1400, -900)))
    matrix[:, 2] += 64
    crop, shape = crops.open_crop(record("stated", f"a.{ending}", tmp_path), matrix, 128)
    assert shape == (1003, 1501) and crop.shape == (128, 128, 3)
    y, x = np.mgrid[:128, :128] + 0.5
    weights = np.clip(crop[..., 0].astype(float) - crop[..., 1] - 20, 0, None)  # red, which the grey outside is not
    landed = np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()
    assert np.abs(landed - geometry.apply(matrix, np.array([1400.5, 900.5]))).max() < 0.3


def test_a_heic_is_cropped_like_any_other_picture(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    image = np.random.default_rng(0).integers(0, 255, (6, 8, 3)).astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    pillow_heif.from_bytes("RGB", (128, 96), image.tobytes()).save(tmp_path / "a.heic", quality=95)
    crop, shape = crops.open_crop(record("stated", "a.heic", tmp_path), geometry.about((0.0, 0.0)), 64)
    assert shape == (96, 128) and np.abs(crop.astype(int) - image[:64, :64]).mean() < 10


# Labels in the crop


def test_labels_come_into_the_crop_with_the_picture() -> None:
    mask = np.zeros((200, 180), np.uint8)
    mask[int(POINTS[2, 1]) - 3 : int(POINTS[2, 1]) + 4, int(POINTS[2, 0]) - 3 : int(POINTS[2, 0]) + 4] = 2
    labels = {tasks.landmarks.name: POINTS, tasks.age.name: 30, tasks.identity.name: "Ann", tasks.parsing.name: lambda: mask}
    example = Example(record("stated", **labels), POINTS, "stated")
    rows = crops.rows_of(example, dataset_of(), tasks.TASKS, mask.shape, align.from_points(POINTS, Crop()), 128, {"Ann": 4})
    assert set(rows) == set(labels) and all(tasks.named(name).labelled(tasks.named(name).stack([row])).all() for name, row in rows.items())
    assert np.allclose(rows[tasks.landmarks.name]["xy"][:5], Crop().template, atol=1e-3)
    nose = Crop().template[2].astype(int)
    assert rows[tasks.parsing.name]["words"][nose[1], nose[0]] == 2
    assert rows[tasks.identity.name]["person"] == 4 and rows[tasks.age.name]["lo"] == 30


def test_a_person_nobody_trains_on_is_unknown() -> None:
    example = Example(record("stated", **{tasks.identity.name: "Ann"}), POINTS, "stated")
    assert not crops.rows_of(example, dataset_of(), [tasks.identity], (9, 9), np.eye(3)[:2], 128, {"Bob": 0})


@pytest.mark.parametrize(
    ("task", "label", "line"),
    [
        (tasks.age.name, 240, "a.png, age: 240 years is outside"),
        (tasks.parsing.name, lambda: np.zeros((5, 6), np.uint8), "a.png, parsing: a mask of 6 x 5 for a picture of 20 x 10"),
    ],
)
def test_a_bad_label_is_refused_with_file_and_task(task: str, label: object, line: str) -> None:
    with pytest.raises(InputError, match=line):
        crops.rows_of(Example(record("stated", **{task: label}), POINTS, "stated"), dataset_of(), tasks.TASKS, (10, 20), np.eye(3)[:2], 128, {})


# What a detector found


def face(box: tuple[float, float, float, float], points: np.ndarray = POINTS) -> Face:
    return Face(box, points, 0.9)


def test_the_detection_that_overlaps_the_labelled_face_is_chosen_else_the_largest() -> None:
    large, small = face((0, 0, 90, 90), OTHERS), face((100, 100, 130, 130))
    labelled = Record("a", read.file_source("a"), {}, boxes=np.array([[102.0, 101, 131, 132]]))
    chosen = crops.choose([large, small], labelled)
    assert chosen is not None and np.array_equal(chosen.points, POINTS) and chosen.overlap > 0.7
    chosen = crops.choose([small, large], record())
    assert chosen is not None and np.array_equal(chosen.points, OTHERS) and chosen.overlap == 1
    assert crops.choose([], record()) is None


def test_points_that_people_clicked_choose_among_detections_without_a_box_too() -> None:
    small = face(tuple(align.box_of_points(POINTS)))  # type: ignore[arg-type]
    largest = face((small.box[2], small.box[1], small.box[2] + 500, small.box[1] + 500), OTHERS)
    chosen = crops.choose([largest, small], record("labelled"))
    assert chosen is not None and np.array_equal(chosen.points, POINTS) and chosen.overlap > 0.99
    alone = crops.choose([largest], record("labelled"))
    assert alone is not None and alone.overlap < crops.SMALLEST_OVERLAP  # somebody else's face


class Fake:
    """A detector that finds the points of the picture's own number, and nothing in a black picture."""

    name, sha256 = "fake", "abc"

    def __init__(self) -> None:
        self.seen = 0

    def detect_many(self, images: list[np.ndarray], threshold: float | None = None) -> list[list[Face]]:
        self.seen += len(images)
        return [[] if image.max() == 0 else [Face(tuple(align.box_of_points(POINTS)), POINTS + image[0, 0, 0] / 10, 0.8)] for image in images]  # type: ignore[arg-type]

    def detect(self, image: np.ndarray, threshold: float | None = None) -> list[Face]:
        return self.detect_many([image])[0]


def picture(folder: Path, name: str, seed: int, corner: int = 50, quality: int | None = None) -> None:
    coarse = np.random.default_rng(seed).integers(40, 220, (12, 12, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (240, 240), interpolation=cv2.INTER_CUBIC)
    image[0, 0] = corner
    cv2.imwrite(str(folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, quality] if quality else [])


def test_what_was_found_is_kept_once_and_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    folder.mkdir()
    for seed, name in enumerate(["a.png", "b.png", "stated.png"]):
        picture(folder, name, seed)
    cv2.imwrite(str(folder / "black.png"), np.zeros((240, 240, 3), np.uint8))
    (folder / "broken.png").write_bytes(b"<html>")
    how: dict[str, Literal["stated"]] = {"stated.png": "stated"}
    dataset = dataset_of(*(record(how.get(name), name, folder) for name in ("a.png", "b.png", "stated.png", "black.png", "broken.png")), splits=("train", "test"))
    detector, reports = Fake(), []
    counts, refused = crops.align_set(dataset, read.Directory(str(folder)), tmp_path, detector, lambda done, of: reports.append((done, of)))
    assert counts == {"found": 2, "missed": 1, "stated": 1, "refused": 1} and detector.seen == 3 and reports == [(5, 5)]
    assert [str(each).startswith(f"{folder / 'broken.png'}: a web page") for each in refused] == [True]
    faces = crops.read_faces(tmp_path, "drawn")
    assert set(faces.found) == {"a.png", "b.png"} and set(faces.thumbnails) == {"a.png", "b.png", "stated.png"}
    assert faces.searched == {"a.png", "b.png", "stated.png", "black.png"}  # where nothing was found too, and not what could not be opened
    assert np.allclose(faces.found["a.png"].points, POINTS + 5, atol=1e-4) and faces.found["a.png"].overlap == 1
    metadata = parquet.read_schema(crops.faces_file(tmp_path, "drawn")).metadata
    assert metadata[b"detector"] == b"fake" and metadata[b"sha256"] == b"abc"
    assert [path.name for path in crops.faces_file(tmp_path, "drawn").parent.iterdir()] == ["drawn.faces.parquet"]


def test_no_more_pictures_are_open_at_once_than_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = [f"{number}.png" for number in range(7)]
    for seed, name in enumerate(names):
        picture(folder, name, seed)
    (folder / "3.png").write_bytes(b"<html>")
    root, dataset, groups = read.Directory(str(folder)), dataset_of(*(record(key=name, folder=folder) for name in names)), list[int]()

    class Counts(Fake):
        def detect_many(self, images: list, threshold: float | None = None) -> list:
            groups.append(len(images))
            return super().detect_many(images)

    assert crops.align_set(dataset, root, tmp_path, Counts())[0] == {"found": 6, "refused": 1}
    at_once = crops.faces_file(tmp_path, dataset.name).read_bytes()
    monkeypatch.setattr(crops, "PIXELS", 2 * 240 * 240)
    assert crops.align_set(dataset, root, tmp_path, Counts())[0] == {"found": 6, "refused": 1}
    assert groups == [6, 2, 2, 2] and crops.faces_file(tmp_path, dataset.name).read_bytes() == at_once


def test_an_align_that_was_cut_off_goes_on_where_it_was_last_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "KEPT", 64)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(150):
        picture(folder, f"{number:03}.png", number)
    root, dataset = read.Directory(str(folder)), dataset_of(*(record(key=f"{number:03}.png", folder=folder) for number in range(150)))

    class CutOff(Fake):
        batches = 0

        def detect_many(self, images: list, threshold: float | None = None) -> list:
            self.batches += 1
            if self.batches == 3:
                raise KeyboardInterrupt
            return super().detect_many(images)

    with pytest.raises(KeyboardInterrupt):
        crops.align_set(dataset, root, tmp_path, CutOff())
    assert not crops.faces_file(tmp_path, dataset.name).exists()
    other = CutOff()
    other.sha256 = "of another detector"
    with pytest.raises(KeyboardInterrupt):
        crops.align_set(dataset, root, tmp_path, other)  # begins anew
    looked = CutOff()
    looked.sha256 = "of another detector"
    counts, _ = crops.align_set(dataset, root, tmp_path, looked)
    assert looked.batches == 1 and sum(counts.values()) == 150
    resumed = crops.faces_file(tmp_path, dataset.name).read_bytes()
    whole = Fake()
    whole.sha256 = "of another detector"
    assert crops.align_set(dataset, root, tmp_path, whole)[0] == counts
    assert crops.faces_file(tmp_path, dataset.name).read_bytes() == resumed
    assert [path.name for path in (tmp_path / ".polyface").iterdir()] == [crops.faces_file(tmp_path, dataset.name).name]


def test_align_leaves_what_it_found_where_the_set_can_no_longer_be_listed(tmp_path: Path) -> None:
    picture(tmp_path, "a.png", 1)
    dataset, root = dataset_of(record(None, "a.png", tmp_path)), read.Directory(str(tmp_path))
    crops.align_set(dataset, root, tmp_path, Fake())
    with pytest.raises(RequestError, match="no picture of"):
        crops.align_set(dataset_of(), root, tmp_path, Fake())
    assert set(crops.read_faces(tmp_path, "drawn").found) == {"a.png"}


def test_align_names_each_picture_that_it_could_not_open_and_its_status_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("polyface.images.detect.load_detector", lambda file: Fake())
    folder = tmp_path / "pins" / "pins_Ann"
    folder.mkdir(parents=True)
    picture(folder, "a.png", 1)
    assert cli.run(["datasets", "align", "pins", "--data", str(tmp_path)]) == 0
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:300])
    assert cli.run(["datasets", "align", "pins", "--data", str(tmp_path)]) == InputError.exit_status
    said = capsys.readouterr()
    assert "pins_Ann/b.png: " in said.err.splitlines()[-1] and "pins: 1 found, 1 refused" in said.out


def test_where_align_never_ran_nothing_is_known(tmp_path: Path) -> None:
    faces = crops.read_faces(tmp_path, "drawn")
    assert not faces.found and not faces.thumbnails and not faces.searched


def test_thumbnails_tell_a_photograph_compressed_anew_from_another(tmp_path: Path) -> None:
    for name, seed, quality in (("a.png", 1, None), ("again.jpg", 1, 60), ("b.png", 2, None)):
        picture(tmp_path, name, seed, quality=quality)
    first, again, other = (crops.thumbnail(crops.open_picture(record("stated", name, tmp_path)), POINTS) for name in ("a.png", "again.jpg", "b.png"))
    shrunk = cv2.resize(crops.open_picture(record("stated", "a.png", tmp_path)), (120, 120), interpolation=cv2.INTER_AREA)
    correlations = near_copies(comparable([again, crops.thumbnail(shrunk, POINTS / 2), other]), comparable([first]))[0]
    assert first.shape == (400,) and (correlations[:2] > NEAR).all() and correlations[2] < NEAR
