"""A pack is the same examples, faster: same crops, same labels, whole or not at all."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from polyface import tasks
from polyface.datasets import crops, pack
from polyface.datasets.base import Alignment, Dataset, Meaning, Record
from polyface.datasets.crops import Example, Examples
from polyface.errors import InputError, RequestError, RunError
from polyface.images import align, geometry, read
from polyface.images.align import Crop
from polyface.labels import People, PointMap, Ranges, TraitNames, same_words

ANSWERS: dict[str, Meaning] = {
    tasks.landmarks.name: PointMap(geometry.five_of_68()), tasks.age.name: Ranges({"old": (60, 116)}), tasks.identity.name: People(),
    tasks.parsing.name: same_words(tasks.parsing.vocabulary), tasks.pose.name: Ranges({"left": (-45, -15), "leaning": (10, 30)}, sigma=2.0),
    tasks.attributes.name: TraitNames({"smile": "Smiling"}), tasks.expression.name: same_words(tasks.expression.vocabulary),
}  # fmt: skip
DATASET = Dataset("drawn", "Drawn", "", "", ANSWERS, ("train",), lambda root, split: pytest.fail("nothing is listed here"))


def example(folder: Path, name: str, side: int, scale: float, lazily: bool = True, **labels: object) -> Example:
    points = geometry.apply(geometry.about((64, 60), scale, 20, (side / 2 - 64, side / 2 - 60)), Crop().template)
    coarse = np.random.default_rng(side).integers(30, 220, (10, 10, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / name), cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))
    mask = np.zeros((side, side), np.uint8)
    cv2.circle(mask, tuple(int(value) for value in points[2]), int(12 * scale), 2, -1)
    labels = {
        tasks.landmarks.name: np.where(np.arange(5)[:, None] == 4, np.nan, points), tasks.age.name: (20, 29), tasks.identity.name: "Ann",
        tasks.parsing.name: (lambda: mask) if lazily else mask, tasks.pose.name: {"yaw": "left", "roll": 12.5},
        tasks.attributes.name: {"smile": np.bool_(True)}, tasks.expression.name: {"happy": 3, "sad": np.int64(1)}, **labels,
    }  # fmt: skip
    record = Record(name, read.file_source(folder / name), labels, subject="Ann", alignment=Alignment(points, "labelled"), groups={"age": "20-29"})
    return Example(record, points, "labelled")


def packed(tmp_path: Path, *items: Example) -> tuple[Examples, tuple[InputError, ...]]:
    problems = pack.write_pack(Examples(DATASET, items), tmp_path / "p.pack")
    return pack.read_pack(tmp_path / "p.pack", DATASET), problems


def row(item: Example, size: int = 128) -> tuple[np.ndarray, dict]:
    image = crops.open_picture(item.record)
    matrix = align.from_points(item.points, Crop().scaled(size))
    return crops.cut(image, matrix, size), crops.rows_of(item, DATASET, tasks.TASKS, image.shape, matrix, size, {"Ann": 0})


def assert_same_labels(first: dict, second: dict) -> None:
    assert set(first) == set(second)
    for task in map(tasks.named, first):
        for name, wanted in first[task.name].items():
            found = second[task.name][name]
            if isinstance(task, tasks.Regions) and name == "words":
                assert (found != wanted).mean() < 0.01 and (found == 2).sum() == pytest.approx((wanted == 2).sum(), rel=0.1)
            elif isinstance(task, tasks.Points) and name == "xy":
                seen = first[task.name]["seen"]
                assert seen.sum() == 4 and np.allclose(found[seen], wanted[seen], atol=2e-2)
            else:
                assert np.allclose(found, wanted, atol=2e-2), (task.name, name)


@pytest.mark.parametrize("lazily", [True, False])
def test_a_packed_small_picture_keeps_its_bytes_and_labels(tmp_path: Path, lazily: bool) -> None:
    item = example(tmp_path, "a.png", 300, 1.2, lazily)
    found, problems = packed(tmp_path, item)
    again = found.items[0]
    assert not problems and again.record.source.read() == (tmp_path / "a.png").read_bytes()
    assert (again.record.key, again.record.subject, again.how, dict(again.record.groups)) == ("a.png", "Ann", "labelled", {"age": "20-29"})
    assert "a.png" in str(again.record.source)
    (wanted, labels), (image, found_labels) = row(item), row(again)
    assert np.array_equal(image, wanted)
    assert_same_labels(labels, found_labels)


@pytest.mark.parametrize("lazily", [True, False])
def test_a_packed_large_picture_is_a_wide_crop_with_the_same_view_and_labels(tmp_path: Path, lazily: bool) -> None:
    item = example(tmp_path, "large.png", 900, 3.5, lazily)
    again = packed(tmp_path, item)[0].items[0]
    assert crops.open_picture(again.record).shape == (384, 384, 3) and np.linalg.norm(again.points[1] - again.points[0]) == pytest.approx(60, abs=0.1)
    for size in (96, 128):
        (wanted, labels), (image, found_labels) = row(item, size), row(again, size)
        assert np.abs(image.astype(int) - wanted).mean() < 2
        assert_same_labels(labels, found_labels)


@pytest.mark.parametrize("roll", [12.5, (-5, 20), "leaning", (-99, -15), (15, 99)])
def test_however_roll_is_said_it_turns_with_the_wide_crop(tmp_path: Path, roll: object) -> None:
    item = example(tmp_path, "large.png", 900, 3.5, **{tasks.pose.name: {"yaw": 3, "roll": roll}})
    again = packed(tmp_path, item)[0].items[0]
    assert_same_labels(row(item)[1], row(again)[1])


def test_a_large_photograph_of_a_small_face_loses_no_pixel_of_it(tmp_path: Path) -> None:
    again = packed(tmp_path, example(tmp_path, "far.png", 800, 1.0))[0].items[0]
    assert crops.open_picture(again.record).shape == (800, 800, 3)


def test_a_broken_picture_and_a_mask_of_another_size_are_refused_and_the_rest_is_packed(tmp_path: Path) -> None:
    good, broken = example(tmp_path, "a.png", 300, 1.2), example(tmp_path, "b.png", 300, 1.2)
    (tmp_path / "b.png").write_bytes(b"<html>")
    wrong = example(tmp_path, "c.png", 300, 1.2, **{tasks.parsing.name: lambda: np.zeros((30, 20), np.uint8)})
    found, problems = packed(tmp_path, broken, good, wrong)
    assert [item.record.key for item in found.items] == ["a.png"]
    assert len(problems) == 2 and "b.png" in str(problems[0]) and "c.png: a mask of 20 x 30 for a picture of 300 x 300" in str(problems[1])


def test_where_every_picture_is_refused_there_is_no_pack(tmp_path: Path) -> None:
    item = example(tmp_path, "b.png", 300, 1.2)
    (tmp_path / "b.png").write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"b\.png"):
        packed(tmp_path, item)
    assert not (tmp_path / "p.pack").exists()


def test_a_pack_of_a_listing_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    item = example(tmp_path, "a.png", 300, 1.2)
    packed(tmp_path, item)
    pack.require_fresh(tmp_path / "p.pack", Examples(DATASET, (item,)))
    older = replace(item, record=replace(item.record, labels={**item.record.labels, tasks.age.name: (30, 39)}))
    for other in ((older,), (item, item), (replace(item, points=item.points + 1),)):
        with pytest.raises(RequestError, match=r"p\.pack: packed before drawn became what it is; run `polyface datasets pack drawn` again"):
            pack.require_fresh(tmp_path / "p.pack", Examples(DATASET, other))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_pack_appears_whole_or_not_at_all_and_the_one_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    item = example(tmp_path, "a.png", 300, 1.2)
    with monkeypatch.context() as patched, pytest.raises(RunError, match="No space left on device"):
        patched.setattr(os, call, full)
        packed(tmp_path, item)
    assert not (tmp_path / "p.pack").exists()
    assert len(packed(tmp_path, item)[0].items) == 1
    with monkeypatch.context() as patched, pytest.raises(RunError, match="No space left on device"):
        patched.setattr(os, "fsync", full)
        packed(tmp_path, item, example(tmp_path, "c.png", 200, 1.0))
    assert len(pack.read_pack(tmp_path / "p.pack", DATASET).items) == 1
    found = packed(tmp_path, item, example(tmp_path, "b.png", 200, 1.0))[0]
    assert [again.record.key for again in found.items] == ["a.png", "b.png"]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["p.pack"]
