"""Two pictures -> the same person, different people, or cannot tell, by the lines that `calibrate` drew into the model's card."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from polyface.errors import InputError, RequestError, RunError
from polyface.images import video
from polyface.inference.card import SAME_FAR, Card, PairCalibration, Threshold
from polyface.inference.gallery import embedding_task
from polyface.metrics.calibration import Logistic
from polyface.tasks.kinds import Embedding
from polyface.terminal import percent

if TYPE_CHECKING:
    from polyface.inference.analyze import Analyzer, Face, Picture

SAME, DIFFERENT, CANNOT_TELL = "same", "different", "cannot tell"
CLEAR = 0.9
"""The score of a find from which the lines hold: what the detector is less sure of, blurs and things that are no faces, is like each other whoever it is (LOG.md).
In ordinary photographs one to three faces in a hundred are below, of profiles eight."""
UNCLEAR = "too unclear to tell who it is"
USUAL_FAR = 0.001
"""What is used where nothing is said, or the finest that the card offers."""


@dataclass(frozen=True)
class OperatingPoint:
    """Same from `cosine` on (low to high: its 95 % interval), which the share far of pairs of two people reach; different under `different`, as the share frr of pairs
    of one person are."""

    far: float
    cosine: float
    low: float | None
    high: float | None
    different: float
    frr: float


@dataclass(frozen=True)
class Compared:
    """A face that was compared: the foremost of `faces` on its picture. box (x0, y0, x1, y1) in pixels of the upright picture."""

    image: str
    face: int
    faces: int
    detector: str
    notes: tuple[str, ...]
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Comparison:
    """answer: same, different, or cannot tell, as of faces that are not clear. probability: that it is one person, where the share `prior` of all pairs that are asked
    about is of one person."""

    answer: str
    probability: float
    prior: float
    cosine: float
    operating_point: OperatingPoint
    compared: tuple[Compared, Compared] = field(repr=False)
    model: str

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    def in_words(self) -> str:
        """Lines for a person."""
        answer = {SAME: "the same person", DIFFERENT: "different people", CANNOT_TELL: "cannot tell"}[self.answer]
        at = self.operating_point
        between = "" if at.low is None else f" ({at.low:.3f} to {at.high:.3f})"
        return "\n".join(
            [
                f"{answer}: {percent(self.probability)} likely to be one person, if {self.prior:.0%} of all pairs asked about are",
                f"cosine {self.cosine:.3f}; same from {at.cosine:.3f}{between}, which {at.far:g} of pairs of two people reach; "
                f"different under {at.different:.3f}, as {at.frr:g} of pairs of one person are",
                *(_of_face(each) for each in self.compared),
            ]
        )


def compare(analyzer: "Analyzer", a: "Picture | np.ndarray", b: "Picture | np.ndarray", far: float | None = None) -> Comparison:
    """The foremost face of each picture. Raises InputError where a picture has none or cannot be read, RequestError where the card offers no such line."""
    task = embedding_task(analyzer.engine)
    said, line = operating_line(analyzer.engine.card, task, far)
    (left, one), (right, other) = (_foremost(analyzer, picture, task) for picture in (a, b))
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    if not length > 0:
        raise RunError(f"the network {analyzer.engine.label} gave a face no direction")
    cosine = float(one @ other) / length
    frr = said.frr if said.different <= line.cosine or line.tar is None else 1 - line.tar  # of a line that is lower, those under that
    at = OperatingPoint(line.far, line.cosine, line.low, line.high, min(said.different, line.cosine), frr)
    unclear = min(left.score, right.score) < CLEAR
    answer = CANNOT_TELL if unclear else SAME if cosine >= at.cosine else DIFFERENT if cosine < at.different else CANNOT_TELL
    probability = float(Logistic(said.slope, said.intercept)(cosine))
    return Comparison(answer, round(probability, 4), said.prior, round(cosine, 4), at, (left, right), analyzer.engine.label)


def operating_line(card: Card, task: Embedding, far: float | None = None) -> tuple[PairCalibration, Threshold]:
    """The calibration of a card, and its line for a rate of false acceptance. Raises RequestError for a card that was never calibrated, and a rate it does not offer."""
    said = card.calibration.get(task.name)
    if not isinstance(said, PairCalibration) or not card.thresholds:
        raise RequestError(f"the card of {card.name!r} does not say from which cosine on two faces are one person; run `polyface calibrate MODEL --data DIR`")
    offered = sorted(card.thresholds, key=lambda line: -line.far)
    if far is None:
        return said, next((line for line in offered if line.far <= USUAL_FAR), offered[-1])
    for line in offered:
        if np.isclose(line.far, far, rtol=SAME_FAR, atol=0):
            return said, line
    raise RequestError(f"the card of {card.name!r} offers no line for a rate of {far:g}; there are {', '.join(f'{line.far:g}' for line in offered)}")


def _foremost(analyzer: "Analyzer", picture: "Picture | np.ndarray", task: Embedding) -> tuple[Compared, np.ndarray]:
    if isinstance(picture, str | Path) and video.is_video(picture):
        raise InputError(f"{picture}: a video; faces are compared on photographs")
    faces: Sequence[Face] = analyzer.analyze(picture, [task.name])
    name = "the picture" if isinstance(picture, np.ndarray) else str(picture)
    if not faces:
        raise InputError(f"{name}: no face on it, so there is nothing to compare")
    face = faces[0]
    notes = (*face.notes, *([UNCLEAR] if face.score < CLEAR else []))
    return Compared(face.image, face.index, len(faces), face.detector, notes, face.box, face.score), vector_of(face.answers[task.name])


def vector_of(answer: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(answer["embedding"]), "<f4").astype(np.float64)


def _of_face(each: Compared) -> str:
    which = "its one face" if each.faces == 1 else f"the foremost of its {each.faces} faces"
    x0, y0, x1, y1 = each.box
    notes = f"; {', '.join(each.notes)}" if each.notes else ""
    return f"{each.image or 'a picture'}: {which}, at {x0:.0f},{y0:.0f} to {x1:.0f},{y1:.0f}, found by {each.detector} with a score of {each.score:.2f}{notes}"
