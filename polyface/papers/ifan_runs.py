"""Rows of paper B's ablation: what each is, and what is kept of it once it is done.

OUT/rows/<name>/result.json is a `RowResult` and says that the row is done; beside it lie made_with.json, log.jsonl (the loop's), pictures.npz
and model/, of which `polyface export` makes a model: card.json and model.safetensors.
Rows are compared face by face: `MeasureResult`s of one name, dataset and sha256 are of the same faces in the same order in all rows.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from polyface.papers import results
from polyface.papers.results import read_done, write_done
from polyface.training.config import Strict


class ConstantResult(Strict, frozen=True, kw_only=True):
    """What the constant answer (`ifan_constant.py`) scores on the faces of a measure. answer: in words; values, of [N]: as after one pass of a network."""

    answer: str
    values: tuple[float, ...]
    of: tuple[float, ...] = ()


class MeasureResult(Strict, frozen=True, kw_only=True):
    """One measure on the faces of a split, after every pass of the network.

    values [passes][N]: a number for each face; the last pass is the answer. Where `of` is there (same shape), the measure is pooled: values are numerators, `of` the
    denominators, in pixels, and the score of faces is 100 * sum(values) / sum(of), so that it is bootstrapped by sums. Else it is the mean of values.
    groups: a word for each face, such as {"pose": ("frontal", ...)}; missed: faces that no detector found, which have no value, counted by the word "pose" where there
    is one ("" where not), failures all; people [N]: a number for whose face it is, drawn together; sha256: of the list of keys. constant: what answers the same for
    every face, None where no label to learn it from was at hand.
    """

    task: str
    dataset: str
    split: str
    metric: str
    unit: str
    higher_is_better: bool
    sha256: str
    people: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]
    of: tuple[tuple[float, ...], ...] = ()
    groups: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    missed: dict[str, int] = msgspec.field(default_factory=dict)
    constant: ConstantResult | None = None

    def score(self, at: int = -1, faces: Sequence[int] | None = None) -> float:
        """The score after a pass, over all faces or some (which may repeat); NaN for none."""
        chosen = slice(None) if faces is None else np.asarray(faces, np.int64)
        numbers = np.array(self.values[at])[chosen]
        if not len(numbers):
            return float("nan")
        if not self.of:
            return float(numbers.mean())
        whole = np.array(self.of[at])[chosen].sum()
        return float(100 * numbers.sum() / whole) if whole else float("nan")

    def of_constant(self) -> "MeasureResult | None":
        """The constant answer on the same faces, as a network of one pass."""
        if self.constant is None:
            return None
        return msgspec.structs.replace(self, values=(self.constant.values,), of=(self.constant.of,) if self.constant.of else (), constant=None)


class Compute(Strict, frozen=True, kw_only=True):
    """What a row costs. multiplications: of one face, in its answer to all tasks that it has (convolutions and matrices); seconds_per_face: likewise, measured on
    `threads` threads in batches of `batch`; parameters: of the network, statistics left out; peak_memory: megabytes of the process at most while it trained, None where
    that is not known."""

    multiplications: int
    parameters: int
    seconds_per_face: float
    threads: int
    batch: int
    peak_memory: float | None = None


class Curve(Strict, frozen=True, kw_only=True):
    """A loss, or a number on validation, against steps of the stage."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


class RowResult(Strict, frozen=True, kw_only=True):
    """What is kept of a row.

    part: ablation, controls, fed, hybrid, drawn, seeds, plug, whole. against: names of the rows that it is to be compared with, face by face (they have the same
    seed); question: what that comparison asks. settings: in words, for a table (normalisation, passes, feedback at ...). steps, batch: of the joint stage, whose start is
    `start`; samples: pictures seen by set, repeats counted, pre-training included. seconds: of training, without scoring; shared_seconds: of the start that it shares.
    scores: of the test splits; validation: of the validation splits, by which alone anything is chosen.
    """

    name: str
    title: str
    part: str
    seed: int
    against: tuple[str, ...] = ()
    question: str = ""
    settings: dict[str, str]
    tasks: tuple[str, ...]
    passes: int
    start: str
    steps: int
    batch: int
    samples: dict[str, int]
    compute: Compute
    seconds: float
    shared_seconds: float = 0.0
    scoring_seconds: float
    scores: dict[str, MeasureResult]
    validation: dict[str, MeasureResult]
    curves: dict[str, Curve]


RESULT = "result.json"
PICTURES = "pictures.npz"


def read_row(folder: Path) -> RowResult | None:
    """None where the row is not done. Raises RequestError for a file that is none of ours."""
    return read_done(folder / RESULT, RowResult, "row")


def write_row(folder: Path, result: RowResult) -> None:
    write_done(folder / RESULT, result)


def read_rows(out: Path) -> dict[str, RowResult]:
    return results.read_rows(out, RESULT, RowResult)
