"""The seven kinds of question. A task is an instance of a kind: a name, a question in words, a vocabulary.

Everything that differs between tasks is here and nowhere else. A kind knows what a label of one row looks like (`unknown`, `encode` from a data set's words, `to_crop`,
`mirror`), how rows make a batch (`stack`, `labelled`), what the network puts out (`shape`, `mirror_output`) and what answer that is (`decode`). The loss of each kind is
in `models/losses.py`, its scores in `tasks/scoring.py`.

A row is a dict of arrays, as DESIGN.md's table has them without the leading [B]. `encode` gives it in the picture's frame; `to_crop` moves it into the crop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from polyface.errors import InputError, nearest
from polyface.images import geometry
from polyface.labels import People, PointMap, Ranges, TraitNames, Words
from polyface.metrics.calibration import mass_about_median, mass_before

Row = dict[str, np.ndarray]
Label = object  # a value in a data set's words; what it may be is said by each kind's encode


@dataclass(frozen=True)
class Task:
    """What all kinds share. Kinds whose labels have no place in the picture keep to_crop and mirror as they are here."""

    name: str
    question: str

    def shape(self, size: int) -> tuple[int, ...]:
        """The output of the network for one crop of size x size."""
        raise NotImplementedError

    def unknown(self, size: int) -> Row:
        """The row that says nothing."""
        raise NotImplementedError

    def encode(self, words: Any, label: Label) -> Row:
        """A label in a data set's words -> a row in the picture's frame. Raises InputError for a label that is none."""
        raise NotImplementedError

    def labelled(self, labels: Row) -> np.ndarray:
        """bool [B]: the rows of a batch that say anything."""
        raise NotImplementedError

    def decode(self, output: np.ndarray) -> Any:
        """One row of the network's output -> what it answers, in the crop's frame."""
        raise NotImplementedError

    def to_crop(self, row: Row, matrix: np.ndarray, size: int) -> Row:
        """The row after the picture went through a matrix into a crop of size x size."""
        return row

    def mirror(self, row: Row, size: int) -> Row:
        """The row of the mirrored crop."""
        return row

    def mirror_output(self, output: np.ndarray, size: int) -> np.ndarray:
        """Outputs [B, ...] for crops -> outputs for the mirrored crops, of a network that sees no difference."""
        return output

    def stack(self, rows: Sequence[Row]) -> Row:
        """Rows -> arrays with a leading [B]."""
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@dataclass(frozen=True)
class Category(Task):
    """One of a few classes. Row: share f32 [V], sets bool [V, C], scope bool [C]; V words with shares that sum to 1 (people who voted), usually one.

    sided: pairs of words that change places where the picture is mirrored, as ("left", "right") of where somebody looks."""

    vocabulary: tuple[str, ...] = ()
    sided: tuple[tuple[str, str], ...] = ()

    def shape(self, size: int) -> tuple[int, ...]:
        return (len(self.vocabulary),)

    def mirror(self, row: Row, size: int) -> Row:
        return {**row, "sets": row["sets"][:, self._mirrored], "scope": row["scope"][self._mirrored]} if self.sided else row

    def mirror_output(self, output: np.ndarray, size: int) -> np.ndarray:
        return output[:, self._mirrored] if self.sided else output

    @cached_property
    def _mirrored(self) -> list[int]:
        """Where each word's column comes from."""
        other = dict(self.sided) | {right: left for left, right in self.sided}
        return [self.vocabulary.index(other.get(word, word)) for word in self.vocabulary]

    def unknown(self, size: int) -> Row:
        everything = np.ones(len(self.vocabulary), bool)
        return {"share": np.ones(1, np.float32), "sets": everything[None], "scope": everything}

    def encode(self, words: Words, label: Label) -> Row:
        """A word, or votes {word: count}."""
        if not isinstance(label, str | Mapping):
            raise InputError(f"{label!r} is neither a word nor a table of votes")
        votes = {label: 1.0} if isinstance(label, str) else label
        try:
            counts = np.array([float(count) for count in votes.values()], np.float32)
        except (TypeError, ValueError):
            raise InputError(f"{label!r} holds a vote that is no number") from None
        if not len(counts) or not np.isfinite(counts).all() or (counts < 0).any() or counts.sum() <= 0:
            raise InputError(f"{label!r} holds no vote")
        table = words.table[[words.index(word) for word in votes]]
        return {"share": counts / counts.sum(), "sets": table, "scope": words.scope}

    def stack(self, rows: Sequence[Row]) -> Row:
        """Words that a row lacks of the longest have no share."""
        scope = np.stack([row["scope"] for row in rows])
        share = _padded([row["share"] for row in rows])
        sets = np.repeat(scope[:, None], share.shape[1], axis=1)
        for at, row in enumerate(rows):
            sets[at, : len(row["sets"])] = row["sets"]
        return {"share": share, "sets": sets, "scope": scope}

    def labelled(self, labels: Row) -> np.ndarray:
        return np.any((labels["sets"] != labels["scope"][:, None]).any(-1) & (labels["share"] > 0), axis=-1)

    def decode(self, output: np.ndarray, temperature: float = 1.0, level: float | None = None) -> dict:
        """Logits [C] -> the best answer and the probability of each; given a level, the set between them: those whose `mass_before` it reaches, the best first."""
        shares = softmax(output / temperature)
        probabilities = {word: round(float(share), 4) for word, share in zip(self.vocabulary, shares, strict=True)}
        order = np.argsort(-shares, kind="stable")
        before = mass_before(shares)
        held = {} if level is None else {"set": [self.vocabulary[at] for at in order if before[at] <= level]}
        return {"answer": self.vocabulary[order[0]], **held, "probabilities": probabilities}


@dataclass(frozen=True)
class Scale(Task):
    """A whole number from 0 to top. Row: lo, hi, sigma f32 [], ends included; sigma > 0: Gaussian shares about lo = hi."""

    top: int = 116
    unit: str = "years"

    def shape(self, size: int) -> tuple[int, ...]:
        return (self.top + 1,)

    def unknown(self, size: int) -> Row:
        return _range_row(0.0, self.top, 0.0)

    def encode(self, words: Ranges, label: Label) -> Row:
        """A number, a range (low, high), or a word that means one."""
        low, high = words.range_of(label)
        if not (low >= 0 and high <= self.top):
            raise InputError(f"{label!r} {self.unit} is outside 0 to {self.top}")
        return _range_row(low, high, words.sigma if low == high else 0.0)

    def labelled(self, labels: Row) -> np.ndarray:
        return (labels["lo"] > 0) | (labels["hi"] < self.top)

    def decode(self, output: np.ndarray, temperature: float = 1.0, level: float | None = None) -> dict:
        """Logits over numbers -> the median of their distribution, in the unit, interpolated inside a year; given a level, the first and last number that it reaches.

        The median is that of the network itself, which scores are of; only the interval knows a temperature.
        """
        middle = round(float(median(softmax(output)[None])[0]), 1)
        if level is None:
            return {self.unit: middle}
        held = np.flatnonzero(mass_about_median(softmax(output / temperature)) <= level)
        return {self.unit: middle, "low": min(int(held[0]), round(middle)), "high": max(int(held[-1]), round(middle))}


@dataclass(frozen=True)
class Traits(Task):
    """Many yes-or-no questions. Row: values int8 [A] of 0, 1, -1 where unknown."""

    vocabulary: tuple[str, ...] = ()

    def shape(self, size: int) -> tuple[int, ...]:
        return (len(self.vocabulary),)

    def unknown(self, size: int) -> Row:
        return {"values": np.full(len(self.vocabulary), -1, np.int8)}

    def encode(self, words: TraitNames, label: Label) -> Row:
        """{the set's name: True or False}, any part of its names."""
        row = self.unknown(0)
        if not isinstance(label, Mapping):
            raise InputError(f"{label!r} is no table of traits")
        for name, value in label.items():
            if name not in words.meanings:
                raise InputError(f"no trait {name!r} here{nearest(name, words.meanings)}")
            if value not in (True, False):
                raise InputError(f"{name}: {value!r} is neither True nor False")
            row["values"][self.vocabulary.index(words.meanings[name])] = bool(value)
        return row

    def labelled(self, labels: Row) -> np.ndarray:
        return np.any(labels["values"] >= 0, axis=-1)

    def decode(self, output: np.ndarray, temperature: float = 1.0) -> dict:
        return {name: round(float(share), 4) for name, share in zip(self.vocabulary, sigmoid(output / temperature), strict=True)}


@dataclass(frozen=True)
class Points(Task):
    """Points of the face. Row: xy f32 [P, 2] in pixels, seen bool [P], map f32 [P, P]: row i says which mean of our points the i-th labelled point is."""

    count: int = 68
    mirrored: tuple[int, ...] = tuple(int(index) for index in geometry.MIRRORED_68)
    eyes: tuple[int, int] | None = None
    """Which points are the middles of the eyes, by whose distance errors are measured; None where no two are."""

    def shape(self, size: int) -> tuple[int, ...]:
        return (self.count, 3)

    def unknown(self, size: int) -> Row:
        return {
            "xy": np.zeros((self.count, 2), np.float32),
            "seen": np.zeros(self.count, bool),
            "map": np.zeros((self.count, self.count), np.float32),
        }

    def encode(self, words: PointMap, label: Label) -> Row:
        """xy [n, 2] in the picture's pixels, NaN where a point is not known."""
        points, row = np.asarray(label, np.float64), self.unknown(0)
        if points.shape != (len(words.weights), 2):
            raise InputError(f"{len(words.weights)} points expected, found an array of shape {points.shape}")
        number = len(points)
        row["seen"][:number] = np.isfinite(points).all(-1)
        row["xy"][:number] = np.nan_to_num(points)
        row["map"][:number] = words.weights
        return row

    def to_crop(self, row: Row, matrix: np.ndarray, size: int) -> Row:
        """Points the crop does not hold are not seen in it."""
        xy = geometry.apply(matrix, row["xy"]).astype(np.float32)
        return {**row, "xy": xy, "seen": row["seen"] & ((xy >= 0) & (xy <= size)).all(-1)}

    def mirror(self, row: Row, size: int) -> Row:
        """Positions mirror; the map's columns swap sides, so that each labelled point stays where it is in its list."""
        xy = row["xy"].copy()
        xy[:, 0] = size - xy[:, 0]
        return {**row, "xy": xy, "map": row["map"][:, list(self.mirrored)]}

    def mirror_output(self, output: np.ndarray, size: int) -> np.ndarray:
        mirrored = output[:, list(self.mirrored)].copy()
        mirrored[..., 0] = size - mirrored[..., 0]
        return mirrored

    def labelled(self, labels: Row) -> np.ndarray:
        return np.any(labels["seen"], axis=-1)

    def decode(self, output: np.ndarray) -> np.ndarray:
        """xy float [P, 2] in crop pixels."""
        return output[:, :2].astype(np.float64)


@dataclass(frozen=True)
class Regions(Task):
    """A class for each pixel. Row: words uint8 [S, S], 255 unlabelled; table bool [W, C]: what each word leaves possible; U is the union of its rows."""

    vocabulary: tuple[str, ...] = ()
    mirrored: tuple[int, ...] = ()

    def shape(self, size: int) -> tuple[int, ...]:
        return (len(self.vocabulary), size // 2, size // 2)

    def unknown(self, size: int) -> Row:
        return {"words": np.full((size, size), 255, np.uint8), "table": np.ones((1, len(self.vocabulary)), bool)}

    def encode(self, words: Words, label: Label) -> Row:
        """A mask uint8 [H, W] of word indices, 255 where unlabelled, or a function that opens one."""
        mask = np.asarray(label() if callable(label) else label)
        if mask.ndim != 2 or mask.dtype != np.uint8:
            raise InputError(f"a mask is uint8 [H, W], found {mask.dtype} {mask.shape}")
        strangers = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[len(words.names) : 255])
        if len(strangers):
            raise InputError(f"the mask holds {len(words.names) + int(strangers[0])}, beyond the {len(words.names)} words of its set")
        return {"words": mask, "table": words.table}

    def to_crop(self, row: Row, matrix: np.ndarray, size: int) -> Row:
        return {**row, "words": geometry.warp(row["words"], matrix, (size, size), border=255, nearest=True)}

    def mirror(self, row: Row, size: int) -> Row:
        return {"words": cv2.flip(row["words"], 1), "table": row["table"][:, list(self.mirrored)]}

    def mirror_output(self, output: np.ndarray, size: int) -> np.ndarray:
        return output[:, list(self.mirrored), :, ::-1]

    def stack(self, rows: Sequence[Row]) -> Row:
        return {"words": np.stack([row["words"] for row in rows]), "table": _padded([row["table"] for row in rows])}

    def labelled(self, labels: Row) -> np.ndarray:
        return np.any(labels["words"] != 255, axis=(1, 2))

    def decode(self, output: np.ndarray) -> np.ndarray:
        """Logits [C, h, w] -> class map uint8 [2h, 2w] of the crop."""
        height, width = output.shape[1] * 2, output.shape[2] * 2
        larger = cv2.resize(np.ascontiguousarray(output.transpose(1, 2, 0)), (width, height), interpolation=cv2.INTER_LINEAR)
        return larger.argmax(-1).astype(np.uint8)


ROLL = 2
"""The axis of `Angles` that turns with the picture."""


@dataclass(frozen=True)
class Angles(Task):
    """Degrees about three axes, yaw, pitch, roll. Row: lo, hi, sigma f32 [3]; the picture's frame in labels and answers, the crop's in the network."""

    axes: tuple[str, ...] = ("yaw", "pitch", "roll")
    limit: int = 99
    step: int = 3

    @property
    def bins(self) -> int:
        return 2 * self.limit // self.step

    @property
    def centres(self) -> np.ndarray:
        """The angle each bin stands for, float [bins]."""
        return -self.limit + self.step * (np.arange(self.bins) + 0.5)

    def shape(self, size: int) -> tuple[int, ...]:
        return (len(self.axes), self.bins)

    def unknown(self, size: int) -> Row:
        return _range_row([-self.limit] * 3, [self.limit] * 3, [0.0] * 3)

    def encode(self, words: Ranges, label: Label) -> Row:
        """{axis: a number, a range or a word}, any of the axes, in degrees. A roll that is a number may be any: the head of a picture that lies on its side is upright in
        the crop."""
        row = self.unknown(0)
        if not isinstance(label, Mapping):
            raise InputError(f"{label!r} is no table of angles")
        for axis, value in label.items():
            if axis not in self.axes:
                raise InputError(f"no axis {axis!r}{nearest(axis, self.axes)}")
            low, high = words.range_of(value)
            if max(abs(low), abs(high)) > 360:
                raise InputError(f"{axis}: {value!r} is no angle in degrees")
            if low < high and (low >= self.limit or high <= -self.limit):
                raise InputError(f"{axis}: {value!r} lies beyond {self.limit} degrees, where no range is told from another")
            at = self.axes.index(axis)
            low, high = (_around(end) if at == ROLL and low == high else float(np.clip(end, -self.limit, self.limit)) for end in (low, high))
            row["lo"][at], row["hi"][at], row["sigma"][at] = low, high, words.sigma if low == high else 0.0
        return row

    def to_crop(self, row: Row, matrix: np.ndarray, size: int) -> Row:
        """The warp's rotation adds to roll; an end of a range at the limit, which means beyond it too, stays there."""
        turned, number = {name: row[name].copy() for name in row}, row["lo"][ROLL] == row["hi"][ROLL]
        for end in ("lo", "hi"):
            roll = row[end][ROLL] + geometry.rotation_of(matrix)
            if number or abs(row[end][ROLL]) < self.limit:
                turned[end][ROLL] = np.clip(_around(roll) if number else roll, -self.limit, self.limit)
        return turned

    def mirror(self, row: Row, size: int) -> Row:
        sign = np.array([-1, 1, -1], np.float32)
        low, high = row["lo"] * sign, row["hi"] * sign
        return {**row, "lo": np.minimum(low, high), "hi": np.maximum(low, high)}

    def mirror_output(self, output: np.ndarray, size: int) -> np.ndarray:
        mirrored = output.copy()
        for axis in (0, ROLL):
            mirrored[:, axis] = output[:, axis, ::-1]
        return mirrored

    def labelled(self, labels: Row) -> np.ndarray:
        return np.any((labels["lo"] > -self.limit) | (labels["hi"] < self.limit), axis=-1)

    def decode(self, output: np.ndarray) -> np.ndarray:
        """Logits [3, bins] -> the median of each axis, degrees in the crop's frame."""
        return -self.limit + self.step * median(softmax(output)) + self.step * 0.5


@dataclass(frozen=True)
class Embedding(Task):
    """Who. Row: person int64 [], an index among the people of the row's own data set, -1 unknown."""

    dimension: int = 512

    def shape(self, size: int) -> tuple[int, ...]:
        return (self.dimension,)

    def unknown(self, size: int) -> Row:
        return {"person": np.array(-1, np.int64)}

    def encode(self, words: People, label: Label) -> Row:
        """The person's index; `datasets/crops.py` turns keys into indices."""
        return {"person": np.array(label, np.int64)}

    def labelled(self, labels: Row) -> np.ndarray:
        return labels["person"] >= 0

    def decode(self, output: np.ndarray) -> np.ndarray:
        """float32 [dimension] of unit length."""
        return output.astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    raised = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(np.asarray(logits, np.float64), -60, 60)))


def median(shares: np.ndarray) -> np.ndarray:
    """Where distributions [N, K] over 0..K-1 have half their mass, float [N]; each whole number k is spread evenly over k-0.5 to k+0.5."""
    below = np.cumsum(shares, axis=-1)
    at = (below < 0.5).sum(-1)
    at = np.minimum(at, shares.shape[-1] - 1)
    rows = np.arange(len(shares))
    before = below[rows, at] - shares[rows, at]
    return at - 0.5 + (0.5 - before) / np.maximum(shares[rows, at], 1e-12)


def _padded(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays [n, ...] of different n -> [B, the largest n, ...], zeros after the end of each."""
    padded = np.zeros((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
    for at, array in enumerate(arrays):
        padded[at, : len(array)] = array
    return padded


def _around(angle: float) -> float:
    """The same angle within -180 to 180 degrees."""
    return angle if abs(angle) <= 180 else (angle + 180) % 360 - 180


def _range_row(low: object, high: object, sigma: object) -> Row:
    return {name: np.array(value, np.float32) for name, value in (("lo", low), ("hi", high), ("sigma", sigma))}
