"""Photographs -> who of a gallery is on them, or nobody: the nearest faces, by the lines that `calibrate` drew into the model's card.

A gallery is an open set: the person asked about may not be in it. Two people's faces reach a line of the card at its rate of false acceptance (FAR). A stranger is
compared with all N faces of the gallery, and so taken for somebody in it at most N times as often (FPIR, the false positive identification rate), whatever those have in
common. That holds of faces that are clear (`compare.CLEAR`): no others are compared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from polyface.errors import RequestError, RunError
from polyface.evaluation.search import search
from polyface.images.read import Source
from polyface.inference.analyze import Analyzer, Face
from polyface.inference.card import Card, PairCalibration, Threshold
from polyface.inference.compare import CLEAR, UNCLEAR, operating_line, vector_of
from polyface.inference.gallery import Gallery, GalleryFace, embedding_task, label_of, wrong_vector
from polyface.tasks.kinds import Embedding
from polyface.terminal import Report, percent

FOUND, NOBODY = "found", "nobody here"
USUAL_FPIR = 0.01
"""What is kept where nothing is said, as far as the lines of the card go."""


@dataclass(frozen=True)
class OpenSetLine:
    """From `cosine` on (low to high: its 95 % interval) a face is said to be of the person asked about. far: the share of pairs of two people who reach it; fpir: at most
    this share of strangers reaches it with any face of the gallery."""

    cosine: float
    low: float | None
    high: float | None
    far: float
    fpir: float


@dataclass(frozen=True)
class Likely:
    """A face of the gallery. probability: that it is the person asked about, of this face alone, at odds of 1 to all faces of the gallery before looking. One person
    may have several, so that they may add up to more than 1."""

    cosine: float
    probability: float
    reaches: bool
    image: str
    face: int
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Sought:
    """A face that was asked about, and the nearest of the gallery, the best first; the answer is `found` where the best one reaches the line. One that is not
    clear was not compared, and has none."""

    image: str
    face: int
    box: tuple[float, float, float, float]
    score: float
    answer: str
    nearest: tuple[Likely, ...]


@dataclass(frozen=True)
class Found:
    """What was asked of a gallery of so many faces. without: pictures without a face; refused: why pictures could not be read; notes: what else has to be said."""

    line: OpenSetLine
    faces: int
    sought: tuple[Sought, ...]
    without: tuple[str, ...]
    refused: tuple[str, ...]
    model: str
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    def rows(self) -> list[dict[str, object]]:
        """A row for each of the nearest, for a table; one for a face that has none."""
        rows: list[dict[str, object]] = []
        for sought in self.sought:
            asked: dict[str, object] = {"picture": sought.image, "face": sought.face, "answer": sought.answer}
            rows += [
                {
                    **(asked if not at else dict.fromkeys(asked)),
                    "nearest": likely and likely.image,
                    "its face": likely and likely.face,
                    "cosine": likely and f"{likely.cosine:.3f}" + ("" if likely.reaches else " under the line"),
                    "probability": likely and percent(likely.probability),
                }
                for at, likely in enumerate(sought.nearest or (None,))
            ]
        return rows

    def in_words(self) -> str:
        """What the answers mean."""
        between = "" if self.line.low is None else f" ({self.line.low:.3f} to {self.line.high:.3f})"
        return (
            f"found from a cosine of {self.line.cosine:.3f}{between} on, which {self.line.far:g} of pairs of two people reach (FAR): of strangers at most "
            f"{self.line.fpir:.2g} are taken for one of these {self.faces:,} faces (FPIR); a probability is of each face alone, at odds of 1 to {self.faces:,} beforehand"
        )


def find(
    analyzer: Analyzer,
    gallery: Gallery,
    pictures: Sequence[str | Path | Source],
    k: int = 5,
    fpir: float | None = None,
    report: Report = lambda done, total=None, more="": None,
) -> Found:
    """The k nearest faces of the gallery for every face on the pictures.

    Raises RequestError where the gallery is empty or not whole, and where the card draws no line for such a rate of strangers taken for somebody (fpir);
    RunError where the network gave a face no direction.
    """
    task, made = embedding_task(analyzer.engine), gallery.manifest
    if k < 1:
        raise RequestError(f"the {k} nearest cannot be asked for")
    if not gallery.faces:
        raise RequestError(f"{gallery.folder}: no face in this gallery")
    thresholds = analyzer.engine.card.thresholds
    said, line = open_set_line(analyzer.engine.card, task, gallery.faces, fpir)
    faces: list[Face] = []
    without, refused = [], []
    for done, answers in enumerate(analyzer.analyze_many(pictures, [task.name]), 1):
        faces += answers.faces
        report(done, len(pictures))
        if answers.error is not None:
            refused.append(answers.error)
        elif not answers.faces:
            without.append(answers.image)
    clear = [face for face in faces if face.score >= CLEAR]
    probes = np.array([vector_of(face.answers[task.name]) for face in clear], np.float32).reshape(-1, task.dimension)
    if wrong := wrong_vector(probes):
        raise RunError(f"{clear[wrong[0]].image}, face {clear[wrong[0]].index}: the network {analyzer.engine.label} gave it {wrong[1]}")
    rows_of: list[np.ndarray] = []
    best = search(probes, _clear_of(gallery, rows_of), k)
    rows = np.append(np.concatenate(rows_of), -1)[best.rows]  # -1: fewer than k
    known = gallery.faces_at(set(rows.ravel().tolist()) - {-1})
    nearest = (
        tuple(_likely(float(score), known[int(row)], said, line, gallery.faces, thresholds) for score, row in zip(its_scores, its_rows, strict=True) if row >= 0)
        for its_scores, its_rows in zip(best.scores, rows, strict=True)
    )
    sought = [_sought(face, next(nearest) if face.score >= CLEAR else None) for face in faces]
    then, now = label_of(made.detector, made.detector_sha256), label_of(analyzer.detector.name, analyzer.detector.sha256)
    notes = (f"the faces of {gallery.folder} were found by {then}, these by {now}; give --detector FILE",) if then != now else ()
    return Found(line, gallery.faces, tuple(sought), tuple(without), tuple(refused), analyzer.engine.label, notes)


def open_set_line(card: Card, task: Embedding, faces: int, fpir: float | None = None) -> tuple[PairCalibration, OpenSetLine]:
    """The coarsest line of a card that keeps to an FPIR among so many faces; where nothing is said and none does, its finest.

    Raises RequestError for a card without lines, and an FPIR that none of them can promise.
    """
    if fpir is not None and not 0 < fpir < 1:
        raise RequestError(f"an FPIR of {fpir:g}: a share of strangers lies between 0 and 1")
    said, _ = operating_line(card, task)
    offered = sorted(card.thresholds, key=lambda line: -line.far)
    kept = [line for line in offered if line.far * faces <= (USUAL_FPIR if fpir is None else fpir)]
    if not kept and fpir is not None:
        finest = f"its finest, FAR {offered[-1].far:g}, gives {min(1, offered[-1].far * faces):.2g}"
        raise RequestError(f"the card of {card.name!r} draws no line for an FPIR of {fpir:g} among {faces:,} faces; {finest}")
    line: Threshold = kept[0] if kept else offered[-1]
    return said, OpenSetLine(line.cosine, line.low, line.high, line.far, min(1.0, line.far * faces))


def _likely(cosine: float, face: GalleryFace, said: PairCalibration, line: OpenSetLine, faces: int, thresholds: Sequence[Threshold]) -> Likely:
    ratio = likelihood_ratio(cosine, said, thresholds)
    probability = ratio / (ratio + faces)
    return Likely(round(cosine, 4), round(probability, 6), cosine >= line.cosine, face.image, face.face, face.box, face.score)


def likelihood_ratio(cosine: float, said: PairCalibration, thresholds: Sequence[Threshold]) -> float:
    """How many times as often pairs of one person have such a cosine as pairs of two. Never less for a higher cosine.

    The logistic of the card, fitted to all pairs, is flat where few pairs of two people are; from a line on what counts is how many pairs of either kind lie between it
    and the next, where that is more.
    """
    before = np.log(said.prior / (1 - said.prior))
    ratio = float(np.exp(np.clip(said.slope * cosine + said.intercept - before, -60, 60)))
    lines = sorted(((line.far, line.tar, line.cosine) for line in thresholds if line.tar is not None), reverse=True)
    for (far, tar, start), (finer_far, finer_tar, _) in zip(lines, [*lines[1:], (0.0, 0.0, 1.0)], strict=False):
        if cosine >= start:
            ratio = max(ratio, (tar - finer_tar) / (far - finer_far))
    return ratio


def _sought(face: Face, nearest: tuple[Likely, ...] | None) -> Sought:
    answer = UNCLEAR if nearest is None else FOUND if nearest and nearest[0].reaches else NOBODY
    return Sought(face.image, face.index, face.box, face.score, answer, nearest or ())


def _clear_of(gallery: Gallery, rows: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The vectors of clear faces, shard by shard; their rows among all of the gallery are added to `rows`."""
    start = 0
    for shard in gallery.shards():
        clear = np.flatnonzero(shard.scores >= CLEAR)
        rows.append(start + clear)
        start += len(shard.scores)
        yield shard.embeddings[clear]
