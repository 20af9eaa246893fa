"""MTFL's five-point error of paper B's rows: by both kinds of box, by pose, and against the paper's number."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from polyface import tasks
from polyface.datasets.mtfl import YAWS
from polyface.datasets.mtfl import mtfl as MTFL_SET
from polyface.metrics import intervals
from polyface.metrics.intervals import Score
from polyface.metrics.landmarks import MISS
from polyface.papers.ifan_claims import MTFL, with_interval_of
from polyface.papers.ifan_faces import TRUE_BOXES
from polyface.papers.ifan_rows import FEEDBACK, JOINT
from polyface.papers.ifan_runs import ConstantResult, MeasureResult, RowResult
from polyface.papers.ifan_statistics import Board
from polyface.terminal import count

FAILURE = 10.0
"""NME above which a face counts as failed (papers.md, B5)."""
NME = ("NME", "NME" + TRUE_BOXES)


@dataclass(frozen=True)
class Errors:
    """A row's NME of some faces in %, by one kind of box, and how many had no crop, which are failures."""

    row: str
    boxes: str
    values: np.ndarray
    missed: int

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    def share(self, most: float) -> float:
        """Of all faces, of those whose NME is at most so much."""
        return float((self.values <= most).sum() / (len(self.values) + self.missed))


def errors_rows(board: Board) -> list[tuple[RowResult, MeasureResult]]:
    """MTFL's NME, by both kinds of box, of the rows that a reader wants to see: the best one on all faces, three passes, one pass, points alone."""
    wanted = [*(name for name in board.names if board.planned(name).part == "whole"), FEEDBACK, JOINT, *(name for name in board.names if name.startswith("alone-"))]
    rows = [board.done(name)[0] for name in dict.fromkeys(wanted) if board.done(name)]
    return [(row, measure) for row in rows for measure in row.scores.values() if measure.dataset == MTFL_SET.name and measure.metric in NME and measure.people]


def boxes(measure: MeasureResult) -> str:
    return "true boxes" if measure.metric.endswith(TRUE_BOXES) else "detector's boxes"


def errors_of(row: RowResult, measure: MeasureResult) -> Errors:
    return Errors(row.title, boxes(measure), np.array(measure.values[-1]), sum(measure.missed.values()))


def reached(shown: Sequence[tuple[RowResult, MeasureResult]]) -> str:
    """What the first row reaches, by both kinds of box, in a sentence."""
    words = {"yes": "below it", "no": "not below it", "undecidable": "below it or not, the interval does not say"}
    first = [measure for row, measure in shown if row.name == shown[0][0].name]
    said = [f"{with_interval_of(mean_error(measure))} with {boxes(measure)}{_not_found(measure)}, {words[below(measure)]}" for measure in first]
    return f"{shown[0][0].title}: {'; '.join(said)}."


def mtfl_rows(shown: Sequence[tuple[RowResult, MeasureResult]]) -> list[dict[str, object]]:
    return [{"row": row.title, "boxes": boxes(measure), **_errors_row(measure), f"below the paper's {MTFL}": below(measure)} for row, measure in shown]


def below(measure: MeasureResult) -> str:
    """Whether the paper's number is beaten: the whole interval decides, and a face that was not found is off by one distance of the eyes."""
    score, missed = mean_error(measure), sum(measure.missed.values())
    of_found = len(measure.values[-1]) / (len(measure.values[-1]) + missed)
    low, high = (of_found * end + (1 - of_found) * 100 * MISS for end in (score.low, score.high))
    return "yes" if high < MTFL else "no" if low > MTFL else "undecidable"


def _not_found(measure: MeasureResult) -> str:
    missed = sum(measure.missed.values())
    return f" ({count(missed, 'face')} not found and left out)" if missed else ""


def pose_rows(shown: Sequence[tuple[RowResult, MeasureResult]]) -> list[dict[str, object]]:
    """By the word for yaw: on profiles the distance of the eyes collapses, by which the error is divided."""
    return [{"row": row.title, "boxes": boxes(measure), "pose": word, **_errors_row(part)} for row, measure in shown for word, part in by_pose(measure).items()]


def errors_by_pose(shown: Sequence[tuple[RowResult, MeasureResult]]) -> dict[str, list[Errors]]:
    """{word for yaw: the errors of its faces}, from one side to the other, a list entry for each row and kind of box that has such faces."""
    parts = [(row, by_pose(measure)) for row, measure in shown]
    found = {word: [errors_of(row, words[word]) for row, words in parts if word in words and words[word].people] for word in YAWS}
    return {word: errors for word, errors in found.items() if errors}


def by_pose(measure: MeasureResult) -> dict[str, MeasureResult]:
    """{word for yaw: the measure of its faces}."""
    words = measure.groups.get(tasks.pose.name, ())
    known = [word for word in YAWS if word in words or word in measure.missed]
    return {word: replace_faces(measure, [face for face, each in enumerate(words) if each == word], {word: measure.missed.get(word, 0)}) for word in known}


def replace_faces(measure: MeasureResult, at: Sequence[int], missed: dict[str, int]) -> MeasureResult:
    """Some of the faces of a measure."""
    return msgspec.structs.replace(
        measure,
        people=tuple(measure.people[face] for face in at),
        values=tuple(tuple(values[face] for face in at) for values in measure.values),
        constant=_of_faces(measure.constant, at),
        missed=missed,
        groups={},
    )


def _of_faces(constant: ConstantResult | None, at: Sequence[int]) -> ConstantResult | None:
    return None if constant is None else msgspec.structs.replace(constant, values=tuple(constant.values[face] for face in at))


def _errors_row(measure: MeasureResult) -> dict[str, object]:
    missed, values = sum(measure.missed.values()), np.array(measure.values[-1])
    faces, same = len(values) + missed, measure.of_constant()
    return {
        "faces": faces, "no face found": missed, "NME, %": with_interval_of(mean_error(measure)) if len(values) else None,
        "constant answer, %": round(same.score(), 2) if same is not None and len(values) else None,
        f"failures (above {FAILURE:g} %, or not found), %": round(100 * float((values > FAILURE).sum() + missed) / faces, 1) if faces else None,
    }  # fmt: skip


def mean_error(measure: MeasureResult) -> Score:
    return intervals.mean_score(np.array(measure.values[-1]), np.array(measure.people))
