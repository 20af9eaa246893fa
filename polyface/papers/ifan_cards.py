"""What the card of a network of paper B says: a row that is done is a run like any other, and `polyface export OUT/rows/NAME` makes a model of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyface.datasets.retold import Coarse
from polyface.inference.card import Card, Score, entry_of_crop
from polyface.metrics import intervals
from polyface.models.export import new_card
from polyface.models.ifan import Ifan
from polyface.papers.ifan_config import IfanRecipe
from polyface.papers.ifan_runs import MeasureResult
from polyface.tasks.kinds import Regions
from polyface.training.examples import Source
from polyface.training.run import data_entry, detector_entry

CARD = "model/card.json"
"""In a row's folder, beside its weights."""
LIMITS = (
    "Trained to compare rows of an experiment: no network to rely on.",
    "Nobody has looked at how it does on groups of people.",
)


def card_of(
    name: str, model: Ifan, recipe: IfanRecipe, coarse: Sequence[Coarse], sources: Sequence[Source], data: Path, drawings: bool, scores: Mapping[str, MeasureResult]
) -> Card:
    """name: of the row; sources: what it was trained on, of the folder `data`."""
    return new_card(
        f"ifan-{recipe.name}-{name}",
        model,
        entry_of_crop(recipe.view),
        [data_entry(source) for source in sources],
        drawings,
        scores=score_entries(scores),
        detector=detector_entry(sources, data),
        limits=LIMITS,
        task_notes={each.task.name: _note(each) for each in coarse},
        made_of={each.task.name: each.made for each in coarse},
    )


def score_entries(scores: Mapping[str, MeasureResult]) -> tuple[Score, ...]:
    """A line of the card for each measure of some faces."""
    return tuple(score_entry(measure) for measure in scores.values() if measure.people)


def score_entry(measure: MeasureResult) -> Score:
    """Its interval is over people."""
    people = np.array(measure.people)
    if measure.of:
        parts = np.stack([measure.values[-1], measure.of[-1]], 1)
        interval = intervals.bootstrap_of_sums(parts, lambda sums: 100 * sums[0] / sums[1] if sums[1] else np.nan, people)
    else:
        interval = intervals.interval_of_mean(np.array(measure.values[-1]), people)
    known: dict[str, Any] = {"low": interval.low, "high": interval.high} if np.isfinite(interval.low) else {}
    missed = f", {sum(measure.missed.values())} faces not found left out" if measure.missed else ""
    return Score(
        task=measure.task,
        dataset=measure.dataset,
        split=measure.split,
        metric=f"{measure.metric}, {measure.unit}{missed}",
        value=measure.score(),
        n=len(people),
        sha256=measure.sha256,
        **known,
    )


def _note(coarse: Coarse) -> str:
    scored = "; scored at the crop's own side, answered at half of it" if isinstance(coarse.task, Regions) else ""
    return f"made of {coarse.fine.name}: {', '.join(coarse.made.words) or 'as it is'}{scored}"
