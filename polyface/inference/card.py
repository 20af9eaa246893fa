"""The card: what a user of a model must know, as JSON beside the network and inside its ONNX file.

A card says how faces are cropped and which questions the network answers, completely: `task_of_card` builds the kinds of question from it, so that code which runs a
network names no task. It also says what the network learned from, how well it does, and what it was never shown.
"""

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec

from polyface import files
from polyface.errors import RequestError, nearest
from polyface.images.align import Crop
from polyface.strict import Count, Positive, Share, strict
from polyface.tasks.derive import Derived
from polyface.tasks.kinds import Angles, Category, Embedding, Points, Regions, Scale, Task, Traits

CARD_IN_ONNX = "polyface.card"
"""The metadata property of an ONNX file that holds its card."""

VERSION = 1
"""The format of the card; raised when a reader of the old one would misread the new one."""

NAME, LONGEST_NAME = re.compile(r"[\w@-]+"), 100
"""Of a task, and how many bytes it may have: it becomes a part of the names of files."""

Rate = Annotated[float, msgspec.Meta(ge=1e-12, lt=1)]
"""A share of pairs that is neither none nor all: it is divided by."""
Temperature = Annotated[float, msgspec.Meta(ge=1e-3, le=1e3)]
"""Wider than any that is fitted (`metrics/calibration.py`), and narrow enough that logits which are divided by it stay numbers."""

KINDS: dict[str, type[Task]] = {kind.__name__: kind for kind in (Category, Scale, Traits, Points, Regions, Angles, Embedding)}


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all parts of a card share: they do not change, and know every key that they may have."""


class CropEntry(_Entry, frozen=True, kw_only=True):
    """`images/align.py`'s Crop: side in pixels, eye distance and the point between the eyes."""

    size: Count
    eye_distance: Positive
    eyes: tuple[float, float]


class Detector(_Entry, frozen=True, kw_only=True):
    """What found the faces that the network was trained and tested on."""

    name: str
    sha256: str = ""


class Data(_Entry, frozen=True, kw_only=True):
    """A data set behind the network. sha256 is that of the list of its pictures' keys."""

    name: str
    images: int
    subjects: int | None = None
    split: str = "train"
    terms: str = ""
    sha256: str = ""


class GroupEntry(_Entry, frozen=True, kw_only=True):
    """The score of a group of faces, where it has one."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int


class Grouped(_Entry, frozen=True, kw_only=True):
    """The scores of the groups of one kind, and the gap between the best and the worst of them, where there are two."""

    each: dict[str, GroupEntry]
    best: str | None = None
    worst: str | None = None
    gap: float | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        for end in (self.best, self.worst):
            if end is not None and end not in self.each:
                raise ValueError(f"{end!r} is none of the groups")
        if (self.best is None) != (self.worst is None):
            raise ValueError("best and worst go together")


class Score(_Entry, frozen=True, kw_only=True):
    """One number, what it was measured on, its 95 % interval, and what guessing and the best constant answer would have scored.

    groups: {kind: what `Grouped` is written as}.
    """

    task: str
    dataset: str
    split: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int
    chance: float | None = None
    constant: float | None = None
    sha256: str = ""
    groups: dict[str, Any] = {}


class Threshold(_Entry, frozen=True, kw_only=True):
    """The cosine from which on two faces are called one person, for a rate of false acceptance, with its interval had other people been photographed.

    tar: the share of pairs of one person that reach it; false_accepts pairs of two people do, of pairs_of_people different pairs of people.
    """

    far: Rate
    cosine: float
    low: float | None = None
    high: float | None = None
    tar: Share | None = None
    false_accepts: int | None = None
    pairs_of_people: int | None = None


SAME_FAR = 1e-6
"""Rates that differ by less, as a share of either, are one."""


class FittedOn(_Entry, frozen=True, kw_only=True):
    """What a calibration was fitted on. sha256 is that of the list of its pictures' keys."""

    dataset: str
    split: str
    n: int
    subjects: int | None = None
    sha256: str = ""


class Measured(_Entry, frozen=True, kw_only=True):
    """A calibration on a test split, by one network of the model: before and after the temperature, in the set's words, with the 95 % intervals of the scores after it;
    how often the set of answers held the truth.

    several: the share of rows whose label leaves several answers possible; a set of answers that meets such a label may or may not hold the truth.
    worst: the group of faces for which it did so least often, and how often.
    """

    dataset: str
    split: str
    network: str
    n: int
    ece: tuple[float, float]
    ece_low: float | None = None
    ece_high: float | None = None
    brier: tuple[float, float]
    brier_low: float | None = None
    brier_high: float | None = None
    coverage: Share | None = None
    size: float | None = None
    several: Share | None = None
    worst: str = ""
    worst_coverage: Share | None = None
    worst_n: int | None = None


class AtSize(_Entry, frozen=True, kw_only=True):
    """The temperature and the level for faces whose eyes are fewer than `below` pixels apart in the picture, and no fewer than the next smaller size says: fitted on
    validation pictures that were shrunk until the eyes were `eyes` apart."""

    eyes: Positive
    below: Positive
    temperature: Temperature
    level: Share | None = None
    fitted: tuple[FittedOn, ...] = ()


class Smaller(_Entry, frozen=True, kw_only=True):
    """What answers are worth on a sample of a test split whose pictures were shrunk until the eyes were `eyes` pixels apart, faces with nearer eyes left out: the task's
    main score, with its 95 % interval; how often the set of answers held the truth, and of how many answers it was. Of the network that answers by default."""

    task: str
    dataset: str
    eyes: Positive
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int
    coverage: Share | None = None
    size: float | None = None


class AnswerCalibration(_Entry, frozen=True, kw_only=True, tag_field="of", tag="answers"):
    """Logits are divided by the temperature before they are probabilities. level: up to which mass (`metrics/calibration.py`) answers are in the set, which is meant to
    hold the truth as often as `coverage` says. sizes: those of smaller faces, the smallest first; `at_size` chooses."""

    temperature: Temperature = 1.0
    level: Share | None = None
    coverage: Share | None = None
    fitted: tuple[FittedOn, ...] = ()
    sizes: tuple[AtSize, ...] = ()
    measured: tuple[Measured, ...] = ()


class PairCalibration(_Entry, frozen=True, kw_only=True, tag_field="of", tag="pairs"):
    """P(one person) = 1 / (1 + exp(-(slope * cosine + intercept))), where the share `prior` of all pairs is of one person.

    different: the cosine under which two faces are called two people, with its interval; the share frr of pairs of one person lies under it, and told_apart of
    pairs of two. ece and brier, with their 95 % intervals: measured on people that a fit to the others had not seen. left_out: who was, and why.
    """

    slope: float
    intercept: float
    prior: Rate = 0.5
    different: float
    low: float | None = None
    high: float | None = None
    frr: Share
    told_apart: Share | None = None
    ece: float | None = None
    ece_low: float | None = None
    ece_high: float | None = None
    brier: float | None = None
    brier_low: float | None = None
    brier_high: float | None = None
    same_pairs: int | None = None
    other_pairs: int | None = None
    left_out: str = ""
    fitted: tuple[FittedOn, ...] = ()


class Card(_Entry, frozen=True, kw_only=True):
    """The whole card. tasks: {name: {"kind": ..., and the fields of that kind}}, in the order of answers; made_of: what those are made of
    that are none of the project's, so that data sets can be retold in them; strangers: data sets whose people it was taught by no name;
    compared: the crops on which its ONNX file answered as torch did before it was written."""

    polyface: int = VERSION
    name: str
    created: str
    commit: str = ""
    crop: CropEntry
    tasks: dict[str, dict[str, Any]]
    task_notes: dict[str, str] = {}
    made_of: dict[str, Derived] = {}
    detector: Detector | None = None
    data: tuple[Data, ...] = ()
    strangers: tuple[str, ...] = ()
    trained_on_drawings: bool = False
    compared: str = ""
    scores: tuple[Score, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    calibration: dict[str, AnswerCalibration | PairCalibration] = {}
    smaller: tuple[Smaller, ...] = ()
    speed: dict[str, str | float | int | bool | list[dict[str, Any]] | None] = {}
    limits: tuple[str, ...] = ()
    licence: str = ""

    @property
    def terms(self) -> str:
        """One line: the licence of the weights and the data sets it comes from."""
        licence = " ".join(self.licence.split()) or "no licence stated"
        limited = [entry.name for entry in self.data if entry.terms]
        return f"{licence} (trained on {', '.join(limited)})" if limited else licence


def read_card(path: Path) -> Card:
    """Raises RequestError, in one line that names the file and the key, for a card that is not there or not right."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror})") from error
    return card_of_json(content, str(path))


def write_card(path: Path, card: Card) -> None:
    """Write it whole, or raise RequestError for a card that could not be read again."""
    files.write_atomically(path, json_of_card(card))


def card_of_json(content: bytes, name: str) -> Card:
    """The card in a file, or in the metadata of an ONNX file; `name` begins every error line."""
    try:
        tree = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{name}: no JSON ({error})") from error
    version = tree.get("polyface") if isinstance(tree, dict) else None
    if type(version) is not int:
        raise RequestError(f"{name}: no card of a polyface model (its key 'polyface' must hold the version of the format)")
    if version != VERSION:
        raise RequestError(f"{name}: a card of format {version}; this polyface reads format {VERSION}")
    card = strict(tree, Card, name)
    for task_name in card.tasks:
        if not NAME.fullmatch(task_name) or len(task_name.encode()) > LONGEST_NAME:
            raise RequestError(f"{name}: the task {task_name!r}: names of tasks are of letters, digits, '_', '-' and '@', and of {LONGEST_NAME} bytes at most")
        task_of_card(task_name, card.tasks[task_name], name, card.crop.size)
    for what, names in (("a note on", card.task_notes), ("an origin of", card.made_of), ("a calibration of", card.calibration)):
        for task_name in names:
            if task_name not in card.tasks:
                raise RequestError(f"{name}: {what} {task_name!r}, which is no task of this model{nearest(task_name, card.tasks)}")
    for task_name, said in card.calibration.items():
        if isinstance(said, PairCalibration) != (card.tasks[task_name]["kind"] == Embedding.__name__):
            raise RequestError(f"{name}: the calibration of {task_name!r} is not of its kind, {card.tasks[task_name]['kind']}")
        if isinstance(said, AnswerCalibration) and list(said.sizes) != sorted(said.sizes, key=lambda size: size.below):
            raise RequestError(f"{name}: the sizes in the calibration of {task_name!r} are not in order, the smallest first")
    for score in card.scores:
        for kind, found in score.groups.items():
            strict(found, Grouped, f"{name}: the groups {kind!r} of the score {score.metric!r} of {score.task!r}")
    for far, next_far in pairwise(sorted(line.far for line in card.thresholds)):
        if math.isclose(far, next_far, rel_tol=SAME_FAR):
            raise RequestError(f"{name}: thresholds has two lines of the rate {far:g}")
    return card


def at_size(said: AnswerCalibration, eyes: float) -> AnswerCalibration:
    """The calibration of a face whose eyes are so many pixels apart in its picture: that of the largest size that it reaches, or of the smallest there is."""
    size = next((size for size in said.sizes if eyes < size.below), None)
    return said if size is None else msgspec.structs.replace(said, temperature=size.temperature, level=size.level)


def json_of_card(card: Card) -> bytes:
    """Indented for people. Raises RequestError where the card would be refused on reading, such as a score that is not finite."""
    content = msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"
    card_of_json(content, f"the card of {card.name!r}")
    return content


def put_into_onnx(network: bytes, card: Card) -> bytes:
    """An ONNX file with the card in its metadata, in place of one that was there. Needs the package onnx."""
    import onnx

    model = onnx.load_from_string(network)
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != CARD_IN_ONNX}
    onnx.helper.set_model_props(model, {**kept, CARD_IN_ONNX: json_of_card(card).decode()})
    return model.SerializeToString()


METADATA_PROPS = 14
"""The field of ModelProto, in onnx.proto, that holds what is said of a network: its card."""


def network_sha256(content: bytes) -> str:
    """The sha256 of an ONNX file but for its metadata: a network that was measured or calibrated anew is the network that it was. content: one that onnxruntime opens."""
    sha256, at = hashlib.sha256(), 0
    while at < len(content):
        start = at
        key, at = _varint(content, at)
        if key & 7 == 2:  # so many bytes
            length, at = _varint(content, at)
            at += length
        else:  # a number; ModelProto has no others
            _, at = _varint(content, at)
        if key >> 3 != METADATA_PROPS:
            sha256.update(memoryview(content)[start:at])
    return sha256.hexdigest()


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of protobuf's, seven bits in a byte, the last first; and where it ends."""
    number = shift = 0
    while True:
        number |= (content[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if content[at - 1] < 128:
            return number, at


def with_scores(card: Card, scores: Sequence[dict[str, Any]]) -> Card:
    """The card with these entries of scores in place of those it had of the same task, data set and split; the others stay."""
    new = tuple(msgspec.convert(score, Score) for score in scores)
    measured = {(score.task, score.dataset, score.split) for score in new}
    kept = tuple(score for score in card.scores if (score.task, score.dataset, score.split) not in measured)
    return msgspec.structs.replace(card, scores=kept + new)


def with_calibration(
    card: Card, calibration: Mapping[str, AnswerCalibration | PairCalibration], thresholds: Sequence[Threshold], smaller: Sequence[Smaller] = ()
) -> Card:
    """The card with these calibrations in place of those it had of the same tasks, these thresholds, where there are any, and these scores of smaller faces in place of
    those of the same task and data set."""
    both, measured = {**card.calibration, **calibration}, {(score.task, score.dataset) for score in smaller}
    kept = tuple(score for score in card.smaller if (score.task, score.dataset) not in measured)
    return msgspec.structs.replace(card, calibration=both, thresholds=tuple(thresholds) or card.thresholds, smaller=kept + tuple(smaller))


def require_onnx() -> None:
    """Raises ModuleNotFoundError where the package is missing by which cards are put into networks: before hours are spent on what is to be on one."""
    import onnx  # noqa: F401


def rewrite(folder: Path, card: Card) -> None:
    """Give a model directory another card, beside its network and inside it."""
    for network in sorted(folder.glob("*.onnx")):
        files.write_atomically(network, put_into_onnx(network.read_bytes(), card))
    write_card(folder / "card.json", card)


def crop_of_card(card: Card) -> Crop:
    return Crop(card.crop.size, card.crop.eye_distance, card.crop.eyes)


def entry_of_crop(crop: Crop) -> CropEntry:
    return CropEntry(size=crop.size, eye_distance=float(crop.eye_distance), eyes=(float(crop.eyes[0]), float(crop.eyes[1])))


def tasks_of_card(card: Card) -> tuple[Task, ...]:
    """The kinds of question of a card, in its order."""
    return tuple(task_of_card(name, entry) for name, entry in card.tasks.items())


def task_of_card(name: str, entry: dict[str, Any], where: str = "the card", size: int = 128) -> Task:
    """The kind of question a card's entry describes. Raises RequestError for an unknown kind or key, a value of the wrong type, and an answer of no size."""
    said = str(entry.get("kind"))
    kind = KINDS.get(said)
    if kind is None:
        raise RequestError(f"{where}: the task {name!r} is of an unknown kind {said!r}{nearest(said, KINDS)}")
    known = [field.name for field in dataclasses.fields(kind) if field.name != "name"]
    for key in entry:
        if key != "kind" and key not in known:
            raise RequestError(f"{where}: the task {name!r} has an unknown key {key!r}{nearest(key, known)}")
    task = strict({**entry, "name": name}, kind, f"{where}: the task {name!r}")
    try:
        empty = min(task.shape(size)) < 1  # type: ignore[attr-defined]
    except ZeroDivisionError:
        empty = True
    if empty:
        raise RequestError(f"{where}: the task {name!r} has no answers to choose from")
    return task


def entry_of_task(task: Task) -> dict[str, Any]:
    """What a card says of a task: its kind, and that kind's fields."""
    return {"kind": type(task).__name__, **{name: _listed(value) for name, value in dataclasses.asdict(task).items() if name != "name"}}


def _listed(value: Any) -> Any:
    """Tuples as the lists that JSON gives back."""
    return [_listed(each) for each in value] if isinstance(value, tuple) else value
