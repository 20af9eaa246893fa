"""Batches: every step draws from every set, one warp carries a picture and its labels to the crop, and all of it is a pure function of (seed, step, row).

Any worker, any resume and any number of processes therefore make the same batch; of several processes each draws its own rows of it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from polyface import runtime, tasks
from polyface.datasets.crops import Example, open_crop, rows_of
from polyface.errors import InputError
from polyface.images import align, geometry
from polyface.tasks.kinds import Category, Row, Task
from polyface.training.config import Augment
from polyface.training.examples import Source

AHEAD = 4  # batches kept ready; more only costs memory
ORDERS = 32
"""Orders kept, each as long as its list. Batches made side by side read one of each list, and two where a pass ends. A batch draws a list's rows one after another,
so that with more lists an order is made once for each batch, not for each row."""


@dataclass(frozen=True)
class Batch:
    """images uint8 [B, S, S, 3] RGB; labels {task name: arrays [B, ...]}; dataset int64 [B], an index into the sources; keys name the rows in errors."""

    images: np.ndarray
    labels: dict[str, Row]
    dataset: np.ndarray
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Mix:
    """Sources and how many rows of each batch every one gives; turns: which examples of each make one pass over it, some of them more than once."""

    sources: tuple[Source, ...]
    turns: tuple[np.ndarray, ...]
    tasks: tuple[Task, ...]
    counts: tuple[int, ...]
    crop: align.Crop
    augment: Augment
    seed: int


def mix(sources: Sequence[Source], tasks: Sequence[Task], batch: int, crop: align.Crop, augment: Augment, seed: int) -> Mix:
    return Mix(tuple(sources), tuple(map(turns_of, sources)), tuple(tasks), shares([source.weight for source in sources], batch), crop, augment, seed)


def turns_of(source: Source) -> np.ndarray:
    """int64: every example once; where a task is drawn evenly, the commonest label once and rarer ones so often that labels come by the square roots of their numbers.
    Of votes the label is the word that has most of them; without a label an example comes once."""
    items = source.examples.items
    if source.even is None:
        return np.arange(len(items))
    votes = isinstance(tasks.named(source.even), Category)
    labels = [example.record.labels.get(source.even) for example in items]
    said = [str(max(label, key=label.__getitem__) if votes and isinstance(label, Mapping) else label) for label in labels]
    counts = Counter(word for word, label in zip(said, labels, strict=True) if label is not None)
    often, seen, turns = max(counts.values(), default=1), Counter[str](), []
    for at, word in enumerate(said):
        times, before = (often / counts.get(word, often)) ** 0.5, seen[word]
        turns += [at] * (int((before + 1) * times) - int(before * times))
        seen[word] += 1
    return np.array(turns)


def shares(weights: Sequence[float], batch: int) -> tuple[int, ...]:
    """How many rows of a batch each source gives: by weight, at least one, the largest remainders first."""
    exact = np.array(weights) / np.sum(weights) * batch
    counts = np.maximum(np.floor(exact).astype(int), 1)
    while counts.sum() < batch:
        counts[np.argmax(exact - counts)] += 1
    while counts.sum() > batch:
        counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    return tuple(int(count) for count in counts)


EVERY_ROW = slice(None)


def share_of(rank: int, processes: int) -> slice:
    """The rows of one process: every so-many-th, so that each gets its part of every source."""
    return slice(rank, None, processes)


def draw_batch(mixed: Mix, step: int, size: int, share: slice = EVERY_ROW) -> Batch:
    """The batch of a step, or a share of its rows, its crops in size x size pixels."""
    chosen = [(index, draw_example(mixed, index, step * count + place)) for index, count in enumerate(mixed.counts) for place in range(count)]
    crop = mixed.crop.scaled(size)
    rows = [_row(mixed, index, example, crop, (mixed.seed, step, row)) for row, (index, example) in list(enumerate(chosen))[share]]
    keys = [f"{mixed.sources[index].dataset.name}/{example.record.key}" for index, example in chosen[share]]
    return collate(rows, mixed.tasks, [index for index, _ in chosen[share]], keys)


def draw_example(mixed: Mix, index: int, position: int) -> Example:
    """The example at a position of a source's endless sequence: every pass over the set is a new order."""
    turns = mixed.turns[index]
    turn = shuffled(mixed.seed, index, position // len(turns), len(turns))[position % len(turns)]
    return mixed.sources[index].examples.items[turns[turn]]


def collate(rows: Sequence[tuple[np.ndarray, dict[str, Row]]], tasks: Sequence[Task], dataset: Sequence[int], keys: Sequence[str]) -> Batch:
    """A batch of crops and their rows of labels, of which each crop may lack some."""
    images = np.stack([image for image, _ in rows])
    return Batch(images, stacked([row for _, row in rows], tasks, images.shape[1]), np.array(dataset, np.int64), tuple(keys))


def stacked(rows: Sequence[dict[str, Row]], tasks: Sequence[Task], size: int) -> dict[str, Row]:
    """The labels of crops of size x size by task, each with a leading [B]; unknown where a crop has no row."""
    labels = {}
    for task in tasks:
        unknown = task.unknown(size)
        labels[task.name] = task.stack([row.get(task.name, unknown) for row in rows])
    return labels


def ahead(mixed: Mix, steps: range, size_of_step: Callable[[int], int], threads: int, share: slice = EVERY_ROW) -> Iterator[Batch]:
    """The batches of some steps, or a share of the rows of each, prepared in the background, in order."""
    return runtime.in_order(lambda step: draw_batch(mixed, step, size_of_step(step), share), steps, threads, AHEAD, "batches")


def plain_row(source: Source, example: Example, tasks: Sequence[Task], crop: align.Crop) -> tuple[np.ndarray, dict[str, Row]]:
    """The crop and labels of an example as they are, for validation. Raises InputError where the picture cannot be read."""
    return _read(source, example, tasks, align.from_points(example.points, crop), crop.size)


def plain_batches(source: Source, items: Sequence[Example], tasks: Sequence[Task], crop: align.Crop, most: int, place: int = 0) -> Iterator[Batch]:
    """Examples of a source as they are, at most so many in a batch; pictures that cannot be read are said, and left out. place: what `dataset` says of them."""
    rows, keys = [], []
    for at, example in enumerate(items, start=1):
        try:
            rows.append(plain_row(source, example, tasks, crop))
            keys.append(example.record.key)
        except InputError as error:
            source.refuse(error)
        if rows and (len(rows) == most or at == len(items)):
            yield collate(rows, tasks, [place] * len(rows), keys)
            rows, keys = [], []


def _row(mixed: Mix, index: int, example: Example, crop: align.Crop, place: tuple[int, int, int]) -> tuple[np.ndarray, dict[str, Row]]:
    random, augment = np.random.default_rng(place), mixed.augment
    wobble = geometry.about(
        crop.eyes,
        float(np.exp(random.normal(0, augment.scale))),
        float(random.normal(0, augment.degrees)),
        tuple(random.normal(0, augment.shift * crop.size / mixed.crop.size, 2)),
    )
    matrix = geometry.compose(wobble, align.from_points(example.points, crop))
    source = mixed.sources[index]
    try:
        image, rows = _read(source, example, mixed.tasks, matrix, crop.size)
    except InputError as error:  # a grey crop that says nothing
        source.refuse(error)
        grey = np.full((crop.size, crop.size, 3), geometry.GREY[0], np.uint8)
        return grey, {}
    if random.random() < augment.flip:
        image = cv2.flip(image, 1)
        rows = {task.name: task.mirror(rows[task.name], crop.size) for task in mixed.tasks if task.name in rows}
    return vary(image, random, augment), rows


def _read(source: Source, example: Example, tasks: Sequence[Task], matrix: np.ndarray, size: int) -> tuple[np.ndarray, dict[str, Row]]:
    """The crop of an example, and its labels less those that cannot be read, such as a mask of another size. Raises InputError where the picture cannot be."""
    image, shape = open_crop(example.record, matrix, size)
    rows: dict[str, Row] = {}
    for task in tasks:
        try:
            rows |= rows_of(example, source.dataset, [task], shape, matrix, size, source.people)
        except InputError as error:
            source.refuse(error)
    return image, rows


def vary(image: np.ndarray, random: np.random.Generator, augment: Augment) -> np.ndarray:
    """Light, colour, sharpness, blank borders and a blank rectangle; the labels stay."""
    size = len(image)
    if random.random() < augment.blur:
        if random.random() < 0.5:
            small = int(size * random.uniform(0.25, 0.7))
            image = cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (size, size), interpolation=cv2.INTER_LINEAR)
        else:
            image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.5, 1.8))
    grey = random.random() < augment.grey
    strength = random.uniform(-augment.colour, augment.colour, 4)
    if grey:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    levels = np.arange(256) / 255.0
    curve = (levels ** np.exp(strength[0] * 1.5) - 0.5) * (1 + strength[1]) + 0.5 + strength[2] * 0.4
    tints = 1 + (0 if grey else 0.3) * augment.colour * random.normal(0, 1, 3)
    table = np.rint(np.clip(curve[:, None] * tints * 255, 0, 255)).astype(np.uint8)
    image = cv2.LUT(image, np.ascontiguousarray(table[:, None, :].transpose(1, 0, 2)))
    if random.random() < augment.blank:
        low, high = random.uniform(0, 0.2, 2) * size, size - random.uniform(0, 0.2, 2) * size
        kept = np.full_like(image, geometry.GREY[0])
        window = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
        kept[window] = image[window]
        image = kept
    if random.random() < augment.erase:
        sides = (random.uniform(0.12, 0.35, 2) * size).astype(int)
        x, y = (int(random.uniform(0, size - side)) for side in sides)
        image = image.copy()
        image[y : y + sides[1], x : x + sides[0]] = random.integers(0, 256, 3)
    return image


@lru_cache(maxsize=ORDERS)
def shuffled(seed: int, index: int, epoch: int, count: int) -> np.ndarray:
    """The order int [count] in which one of several lists is gone through for the n-th time."""
    return np.random.default_rng((seed, index, epoch)).permutation(count)
