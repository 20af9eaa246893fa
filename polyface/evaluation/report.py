"""What an evaluation found: as JSON, as the rows of a table, as the scores of a card."""

import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from polyface.metrics.groups import Grouping
from polyface.tasks.scoring import Score


@dataclass(frozen=True)
class SetReport:
    """The scores on one data set, and on what exactly they were measured.

    images: labelled faces of the split, sha256: of the list of their keys; aligned: {how a face's five points were known: count}; missed: keys of faces that no detection
    fits; absent: how many listed files are not there; refused: a line for each row or picture that could not be used; note: a sentence that must stand beside the scores.
    """

    name: str
    title: str
    terms: str
    split: str
    images: int
    sha256: str
    aligned: Mapping[str, int]
    missed: tuple[str, ...]
    absent: int
    refused: tuple[str, ...]
    note: str
    seconds: float
    scores: tuple[Score, ...] = field(repr=False)


@dataclass(frozen=True)
class Report:
    """model: name and beginning of the hash, as answers carry it; sha256: of the whole ONNX file; commit: of the checkout that scored, empty outside one;
    skipped: {data set or task: why it has no scores}."""

    model: str
    sha256: str
    commit: str
    created: str
    sets: tuple[SetReport, ...]
    skipped: Mapping[str, str]

    def to_json(self) -> str:
        """Indented, a number that is not finite as null."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"

    def rows(self) -> list[dict[str, object]]:
        """A row for each score, for a table."""
        return [
            {
                "task": score.task,
                "data set": part.name,
                "metric": score.metric,
                "value": known(score.value),
                "95 %": interval_in_words(score.low, score.high),
                "chance": score.chance,
                "constant": score.constant,
                "n": score.n,
            }
            for part in self.sets
            for score in part.scores
        ]

    def group_rows(self) -> list[dict[str, object]]:
        """A row for each main score and kind of group with a worst group: how it does, and how far it is from the best, for a table."""
        return [
            {
                "task": score.task,
                "data set": part.name,
                "metric": score.metric,
                "worst": f"{kind} {found.worst}",
                "value": found.each[found.worst].value,
                "95 %": interval_in_words(found.each[found.worst].low, found.each[found.worst].high),
                "n": found.each[found.worst].n,
                "best": found.best,
                "gap": found.gap,
                "95 % of gap": interval_in_words(found.low, found.high),
            }
            for part in self.sets
            for score in part.scores
            for kind, found in score.groups.items()
            if found.worst
        ]

    def card_scores(self) -> list[dict[str, Any]]:
        """The entries of a card's `scores`; what is not finite has no place on a card."""
        return [
            {
                "task": score.task,
                "dataset": part.name,
                "split": part.split,
                "metric": score.metric,
                "value": score.value,
                "low": known(score.low),
                "high": known(score.high),
                "n": score.n,
                "chance": known(score.chance),
                "constant": known(score.constant),
                "sha256": part.sha256,
                "groups": {kind: _on_card(found) for kind, found in score.groups.items()},
            }
            for part in self.sets
            for score in part.scores
            if math.isfinite(score.value)
        ]


def commit() -> str:
    """The commit of the checkout this package runs from, `-dirty` where files differ from it; empty outside a checkout."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return ""
    try:
        described = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        found = subprocess.run(described, cwd=checkout, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def _on_card(found: Grouping) -> dict[str, Any]:
    """{each: {group: {value, low, high, n}}, best, worst, gap, low, high}, without what is not known."""
    parts = {group: _finite({"value": each.value, "low": each.low, "high": each.high}) | {"n": each.n} for group, each in found.each.items()}
    ends = {"best": found.best, "worst": found.worst} if found.worst else {}
    return {"each": parts, **ends, **_finite({"gap": found.gap, "low": found.low, "high": found.high})}


def _finite(numbers: Mapping[str, float]) -> dict[str, Any]:
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def interval_in_words(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}" if math.isfinite(low) and math.isfinite(high) else ""


def known(number: float | None) -> float | None:
    return float(number) if number is not None and math.isfinite(number) else None
