"""Batches: pure functions of (seed, step, row), and one warp for a picture and all its labels."""

import dataclasses
from collections import Counter
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from polyface import tasks
from polyface.datasets.base import Alignment, Dataset, Meaning, Record
from polyface.datasets.crops import Example, Examples
from polyface.images import align, geometry, read
from polyface.labels import PointMap, Ranges, same_words
from polyface.tasks import Task
from polyface.training import batches
from polyface.training.batches import Batch, Mix
from polyface.training.config import Augment
from polyface.training.examples import Source

SIZE = 200
DOT = 30  # the tip of the nose, which keeps its number in a mirror
NOSE = tasks.parsing.vocabulary.index("nose")
PLAIN = Augment(colour=0, grey=0, blur=0, blank=0, erase=0, flip=0)
TASKS: tuple[Task, ...] = (tasks.landmarks, tasks.parsing, tasks.pose, tasks.age)
ANSWERS: dict[str, Meaning] = {
    tasks.landmarks.name: PointMap(np.eye(68)), tasks.parsing.name: same_words(tasks.parsing.vocabulary), tasks.pose.name: Ranges(), tasks.age.name: Ranges(),
}  # fmt: skip
CROP = align.Crop()


def example_of(folder: Path, index: int) -> Example:
    """A picture with a red disc, whose centre is a labelled point and whose area is the nose in the mask, and a blue one at the subject's left mouth corner."""
    random = np.random.default_rng(index)
    face = geometry.apply(geometry.about((64, 60), random.uniform(0.8, 1.6), random.uniform(-25, 25), (30, 30)), CROP.template)
    points = np.tile(face[2], (68, 1)) + random.normal(0, 9, (68, 2))
    points[DOT], points[48], points[54] = face[2], face[3], face[4]
    image, mask = np.full((SIZE, SIZE, 3), 90, np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    for point, colour in ((points[DOT], (255, 0, 0)), (points[54], (0, 0, 255))):
        at = tuple(round(float(value) * 16) for value in point - 0.5)  # OpenCV: the first pixel's centre is 0
        cv2.circle(image, at, 6 * 16, colour, -1, cv2.LINE_AA, 4)
        if colour[0]:
            cv2.circle(mask, at, 6 * 16, NOSE, -1, cv2.LINE_8, 4)
    path = folder / f"{index}.png"
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    labels = {tasks.landmarks.name: points, tasks.parsing.name: lambda: mask, tasks.pose.name: {"yaw": 20.0, "roll": 5.0}, tasks.age.name: index}
    return Example(Record(path.name, read.file_source(path), labels, alignment=Alignment(face, "stated")), face, "stated")


def source_of(folder: Path, name: str, indices: range, weight: float = 1.0) -> Source:
    folder.mkdir(exist_ok=True)
    dataset = Dataset(name, name, "", "", ANSWERS, ("train",), lambda root, split: pytest.fail("nothing is listed here"))
    return Source(Examples(dataset, tuple(example_of(folder, index) for index in indices)), weight)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, ...]:
    folder = tmp_path_factory.mktemp("pictures")
    return (source_of(folder / "a", "a", range(7), 5.0), source_of(folder / "b", "b", range(20, 23), 1.0))


def mixed(sources: tuple[Source, ...], augment: Augment = Augment(), batch: int = 8, seed: int = 1) -> Mix:  # noqa: B008
    return batches.mix(sources, TASKS, batch, CROP, augment, seed)


def same(first: Batch, second: Batch) -> bool:
    return (
        np.array_equal(first.images, second.images)
        and first.keys == second.keys
        and np.array_equal(first.dataset, second.dataset)
        and all(np.array_equal(first.labels[task][name], second.labels[task][name]) for task in first.labels for name in first.labels[task])
    )


def test_a_batch_drawn_twice_is_the_same_batch_and_others_are_others(sources: tuple[Source, ...]) -> None:
    first = batches.draw_batch(mixed(sources), 3, 128)
    assert same(first, batches.draw_batch(mixed(sources), 3, 128))
    assert not np.array_equal(first.images, batches.draw_batch(mixed(sources), 4, 128).images)
    assert not np.array_equal(first.images, batches.draw_batch(mixed(sources, seed=2), 3, 128).images)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_and_the_step_one_starts_at_change_nothing(sources: tuple[Source, ...], threads: int) -> None:
    found = list(batches.ahead(mixed(sources), range(5, 12), lambda step: 64 if step < 8 else 128, threads))
    assert [batch.images.shape[1] for batch in found] == [64, 64, 64, 128, 128, 128, 128]
    for step, batch in zip(range(5, 12), found, strict=True):
        assert same(batch, batches.draw_batch(mixed(sources), step, 64 if step < 8 else 128))


@pytest.mark.parametrize("processes", [2, 3, 8])
def test_the_shares_of_any_number_of_processes_are_the_joined_batch(sources: tuple[Source, ...], processes: int) -> None:
    mix, joined = mixed(sources), batches.draw_batch(mixed(sources), 3, 64)
    for rank in range(processes):
        share = batches.share_of(rank, processes)
        own = batches.draw_batch(mix, 3, 64, share)
        assert len(own.keys) >= 8 // processes and same(own, next(batches.ahead(mix, range(3, 4), lambda step: 64, 1, share)))
        labels = {task: {name: array[share] for name, array in arrays.items()} for task, arrays in joined.labels.items()}
        assert same(own, Batch(joined.images[share], labels, joined.dataset[share], joined.keys[share]))


def test_a_batch_has_the_arrays_of_the_contract(sources: tuple[Source, ...]) -> None:
    batch = batches.draw_batch(mixed(sources), 0, 96)
    assert batch.images.shape == (8, 96, 96, 3) and batch.images.dtype == np.uint8
    for task in TASKS:
        wanted = task.stack([task.unknown(96)] * 8)
        assert {name: (array.dtype, len(array)) for name, array in batch.labels[task.name].items()} == {name: (array.dtype, 8) for name, array in wanted.items()}
    assert batch.dataset.tolist() == sorted(batch.dataset) and [key.split("/")[0] for key in batch.keys] == ["ab"[index] for index in batch.dataset]


def test_every_source_is_in_every_batch_however_light(sources: tuple[Source, ...]) -> None:
    light = (sources[0], dataclasses.replace(sources[1], weight=1e-6))
    assert mixed(light).counts == (7, 1) and mixed(sources, batch=12).counts == (10, 2) and mixed(light, batch=2).counts == (1, 1)
    many = (*[light[1]] * 5, sources[0])
    assert mixed(many, batch=8).counts == (1, 1, 1, 1, 1, 3)
    for step in range(4):
        assert set(batches.draw_batch(mixed(light), step, 64).dataset) == {0, 1}


def test_each_example_comes_once_in_every_pass_and_passes_differ(sources: tuple[Source, ...]) -> None:
    mix = mixed(sources)
    count = mix.counts[0]
    drawn = [batches.draw_example(mix, 0, position).record.key for position in range(7 * 20)]
    passes = [drawn[start : start + 7] for start in range(0, len(drawn), 7)]
    assert all(Counter(each) == Counter(f"{index}.png" for index in range(7)) for each in passes)
    assert len({tuple(each) for each in passes}) > 10
    keys = [key for step in range(4) for key in batches.draw_batch(mix, step, 64).keys if key.startswith("a/")]
    assert keys == [f"a/{key}" for key in drawn[: 4 * count]]


def test_orders_of_passes_that_are_over_are_forgotten_and_none_is_made_twice(sources: tuple[Source, ...]) -> None:
    mix = mixed((sources[0],) * 13, batch=13)
    batches.shuffled.cache_clear()
    for position in range(7 * 20):
        for index in range(13):
            batches.draw_example(mix, index, position)
    info = batches.shuffled.cache_info()
    assert info.misses == 20 * 13 and info.currsize < 3 * 13


def test_rare_labels_come_by_the_square_root_of_their_pictures_and_every_picture_comes(sources: tuple[Source, ...]) -> None:
    first, one = sources[0].examples, sources[0].examples.items[0]
    counts = {"happy": 64, "sad": 16, "afraid": 3}
    said = [word for word, count in counts.items() for _ in range(count)]
    items = tuple(dataclasses.replace(one, record=dataclasses.replace(one.record, labels={tasks.expression.name: word})) for word in said)
    turns = batches.turns_of(dataclasses.replace(sources[0], examples=dataclasses.replace(first, items=items), even=tasks.expression.name))
    drawn = Counter(said[turn] for turn in turns)
    assert set(turns) == set(range(len(items)))
    assert drawn == {"happy": 64, "sad": 32, "afraid": int(3 * (64 / 3) ** 0.5)}


def test_an_example_without_a_label_is_no_rare_one_and_votes_are_the_word_with_most(sources: tuple[Source, ...]) -> None:
    first, one = sources[0].examples, sources[0].examples.items[0]
    labels = [{"happy": 10 + number, "sad": 1} for number in range(16)] + [{"sad": 7, "happy": number} for number in range(4)] + [None]
    records = [dataclasses.replace(one.record, labels={} if label is None else {tasks.expression.name: label}) for label in labels]
    items = tuple(dataclasses.replace(one, record=record) for record in records)
    turns = batches.turns_of(dataclasses.replace(sources[0], examples=dataclasses.replace(first, items=items), even=tasks.expression.name))
    assert Counter(turns.tolist()) == {**dict.fromkeys(range(16), 1), **dict.fromkeys(range(16, 20), 2), 20: 1}


def disc(image: np.ndarray, channel: int) -> np.ndarray:
    """The centre of a disc, in continuous pixels."""
    others = [other for other in range(3) if other != channel]
    weights = np.clip(image[..., channel].astype(float) - image[..., others].max(-1) - 40, 0, None)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("size", [96, 128])
def test_one_warp_carries_picture_points_and_mask(sources: tuple[Source, ...], flip: float, size: int) -> None:
    for step in range(3):
        batch = batches.draw_batch(mixed(sources, msgspec.structs.replace(PLAIN, flip=flip)), step, size)
        points, regions = batch.labels[tasks.landmarks.name], batch.labels[tasks.parsing.name]
        for row, image in enumerate(batch.images):
            nose, mouth = disc(image, 0), disc(image, 2)
            assert points["seen"][row, DOT]
            assert np.abs(points["xy"][row, DOT] - nose).max() < 0.7
            named = (points["map"][row] @ np.arange(68)).astype(int)  # which of our points each labelled one is
            corner = 48 if flip else 54  # the blue corner is the mirrored face's other one
            assert np.abs(points["xy"][row][named == corner] - mouth).max() < 0.7
            assert regions["words"][row][int(nose[1]), int(nose[0])] == NOSE
            y, x = np.nonzero(regions["words"][row] == NOSE)
            assert np.abs(np.array([x.mean() + 0.5, y.mean() + 0.5]) - nose).max() < 0.7
        yaw = batch.labels[tasks.pose.name]["lo"][:, 0]
        assert (yaw == (-20 if flip else 20)).all()


def test_half_of_the_pictures_are_mirrored_and_labels_know_which(sources: tuple[Source, ...]) -> None:
    yaws = np.concatenate([batches.draw_batch(mixed(sources), step, 32).labels[tasks.pose.name]["lo"][:, 0] for step in range(8)])
    assert 0.3 < (yaws < 0).mean() < 0.7


def test_light_and_blanks_change_pixels_and_no_label(sources: tuple[Source, ...]) -> None:
    strong = Augment(colour=0.5, grey=1, blur=1, blank=1, erase=1, flip=0)
    first, second = (batches.draw_batch(mixed(sources, augment), 0, 96) for augment in (PLAIN, strong))
    assert (first.images != second.images).mean() > 0.5
    for task in TASKS:
        assert all(np.array_equal(first.labels[task.name][name], second.labels[task.name][name]) for name in first.labels[task.name])


def test_without_any_variation_a_crop_is_the_plain_one(sources: tuple[Source, ...]) -> None:
    still = msgspec.structs.replace(PLAIN, degrees=0, scale=0, shift=0)
    batch = batches.draw_batch(mixed(sources, still), 0, 128)
    example = next(example for example in sources[0].examples.items if batch.keys[0] == f"a/{example.record.key}")
    image, rows = batches.plain_row(sources[0], example, TASKS, CROP)
    assert np.abs(image.astype(int) - batch.images[0]).max() <= 1
    for task in TASKS:
        for name, array in rows[task.name].items():
            assert np.allclose(array, batch.labels[task.name][name][0], atol=1e-4), (task.name, name)


@pytest.mark.parametrize("broken", ["truncated", "missing"])
def test_a_picture_that_broke_is_a_grey_crop_that_says_nothing_and_is_named_once(tmp_path: Path, broken: str, capsys: pytest.CaptureFixture) -> None:
    source = source_of(tmp_path / "c", "c", range(3))
    path = tmp_path / "c" / "1.png"
    if broken == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    else:
        path.unlink()
    batch = batches.draw_batch(mixed((source,), batch=3), 0, 64)
    row = batch.keys.index("c/1.png")
    assert (batch.images[row] == 128).all()
    for task in TASKS:
        assert task.labelled(batch.labels[task.name]).tolist() == [at != row for at in range(3)]
    batches.draw_batch(mixed((source,), batch=3), 1, 64)
    plain = list(batches.plain_batches(source, source.examples.items, TASKS, CROP, 8))
    assert [batch.keys for batch in plain] == [("0.png", "2.png")]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith(f"polyface: c: {path}: ") and [f"polyface: c: {line}" for line in source.broken] == said


def test_a_mask_of_another_size_than_its_picture_is_named_and_costs_no_other_label(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """It would lie somewhere else."""
    source = source_of(tmp_path / "c", "c", range(3))
    items = list(source.examples.items)
    labels = {**items[1].record.labels, tasks.parsing.name: lambda: np.zeros((50, 60), np.uint8)}
    items[1] = dataclasses.replace(items[1], record=dataclasses.replace(items[1].record, labels=labels))
    source = dataclasses.replace(source, examples=dataclasses.replace(source.examples, items=tuple(items)))
    batch = batches.draw_batch(mixed((source,), PLAIN, batch=3), 0, 64)
    row = batch.keys.index("c/1.png")
    assert (batch.images[row] != 128).any()
    for task in TASKS:
        assert task.labelled(batch.labels[task.name])[row] == (task is not tasks.parsing), task.name
    (plain,) = batches.plain_batches(source, source.examples.items, TASKS, CROP, 8)
    assert tasks.age.labelled(plain.labels[tasks.age.name]).all()
    assert capsys.readouterr().err == f"polyface: c: {tmp_path / 'c' / '1.png'}, parsing: a mask of 60 x 50 for a picture of 200 x 200\n"
