"""A face shown as if its photograph were smaller is the face of a smaller photograph."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from polyface import datasets, tasks
from polyface.datasets import crops
from polyface.datasets.base import Alignment, Dataset, Listing, Record
from polyface.errors import InputError
from polyface.evaluation import small
from polyface.evaluation.evaluate import look
from polyface.images import align, geometry, read
from polyface.images.detect import Face
from polyface.inference.analyze import Analyzer
from polyface.labels import same_words
from polyface.synth.draw import draw
from polyface.synth.people import person, photo_of
from polyface.tasks import Task

FEW = 12
CROP = align.Crop()


@dataclass
class Watching:
    """Answers nothing and keeps the crops that it was shown."""

    tasks: tuple[Task, ...] = tasks.TASKS
    crop: align.Crop = CROP
    label: str = "watching@000000000000"
    shown: list[np.ndarray] = field(default_factory=list)

    def run(self, seen: np.ndarray, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        self.shown += list(seen)
        return {name: np.zeros((len(seen), *tasks.named(name).shape(self.crop.size)), np.float32) for name in names or ()}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, read.Root]:
    """Drawn people of known gender, in pictures of 90 to 322 pixels: eyes 14 to 72 pixels apart."""
    folder = tmp_path_factory.mktemp("people")
    records = []
    for number in range(FEW):
        drawing = draw(photo_of(person(5, number), 5, 0), 90 + 20 * number + number % 2)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.cvtColor(drawing.image, cv2.COLOR_RGB2BGR))
        source = read.file_source(folder / f"{number}.png")
        records.append(Record(f"{number}.png", source, {"gender": drawing.labels.gender}, alignment=Alignment(drawing.labels.five, "stated")))
    answers = {"gender": same_words(tasks.gender.vocabulary)}
    dataset = Dataset("drawn", "Drawn", "", "", answers, ("test",), lambda root, split: Listing(tuple(records)))  # type: ignore[arg-type]
    return dataset, read.open_root(folder)


def test_the_crop_is_the_one_that_analyze_cuts_from_a_smaller_photograph(people: tuple[Dataset, read.Root], tmp_path: Path) -> None:
    dataset, root = people
    watching = Watching()
    seen = small.look_small(watching, (tasks.gender,), dataset, root, tmp_path, "test")
    shown = iter(watching.shown)
    for eyes in small.EYES:
        for record in seen[eyes].records["gender"]:
            image, points = crops.open_picture(record), record.alignment.points  # type: ignore[union-attr]
            scale = eyes / align.eyes_in_picture(align.from_points(points, watching.crop), watching.crop)
            smaller = cv2.resize(image, [round(side * scale) for side in image.shape[1::-1]], interpolation=cv2.INTER_AREA)
            points = points * (smaller.shape[1] / image.shape[1], smaller.shape[0] / image.shape[0])
            other = Watching()
            analyzer = Analyzer(other, None)  # type: ignore[arg-type]
            analyzer._ask([(smaller, analyzer._matrix(Face(tuple(align.box_of_points(points)), points, 1.0)))], ())  # type: ignore[arg-type]
            assert np.array_equal(other.shown[0], next(shown))
    assert next(shown, None) is None


def test_a_face_that_is_smaller_is_left_out_and_every_row_knows_its_size(people: tuple[Dataset, read.Root], tmp_path: Path) -> None:
    dataset, root = people
    own = look(Watching(), (tasks.gender,), dataset, root, tmp_path, "test")
    sizes = {record.key: eyes for record, eyes in zip(own.records["gender"], own.eyes["gender"], strict=True)}
    assert min(sizes.values()) < 16 < 32 < max(sizes.values())
    for eyes, seen in small.look_small(Watching(), (tasks.gender,), dataset, root, tmp_path, "test").items():
        assert {record.key for record in seen.records["gender"]} == {key for key, size in sizes.items() if size >= eyes}
        assert set(seen.eyes["gender"]) == {eyes}


def test_the_sample_is_of_the_same_faces_at_every_size(people: tuple[Dataset, read.Root], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, root = people
    monkeypatch.setattr(small, "MOST", 3)
    seen = small.look_small(Watching(), (tasks.gender,), dataset, root, tmp_path, "test")
    keys = [{record.key for record in each.records["gender"]} for each in seen.values()]
    assert [len(each) for each in keys] == [3] * len(small.EYES)
    assert keys[0] == keys[1] and len(keys[0] & keys[-1]) >= 1


def test_a_face_as_large_as_it_is_shown_is_left_as_it_is(people: tuple[Dataset, read.Root]) -> None:
    record = people[0].records(people[1], "test").records[4]
    matrix = align.from_points(record.alignment.points, align.Crop())  # type: ignore[union-attr]
    (same, shape), (whole, as_stored) = crops.open_small_crop(record, matrix, 128, 1.0), crops.open_crop(record, matrix, 128)
    assert np.array_equal(same, whole) and shape == as_stored


def test_the_size_of_a_profile_is_not_that_of_its_eyes() -> None:
    crop = align.Crop()
    profile = crop.template.copy()
    profile[1] = profile[0] + (1.0, 0)
    assert align.eyes_in_picture(align.from_points(crop.template * 2, crop), crop) == pytest.approx(60)
    assert align.eyes_in_picture(align.from_points(profile, crop), crop) > 20
    assert geometry.scale_of(align.from_points(profile, crop)) < 1.5
    assert align.eyes_in_picture(align.from_points(np.full((5, 2), 7.0), crop), crop) == 0


def test_a_set_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "utkface").mkdir()
    with pytest.raises(InputError, match="no picture"):
        small.look_small(Watching(), (tasks.gender,), datasets.utkface, datasets.find_root(tmp_path, "utkface"), tmp_path, "test")
