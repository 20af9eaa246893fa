"""The best row of paper B's ablation as a model like any other: card.json, model.safetensors, model.onnx."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyface.errors import RequestError
from polyface.inference.card import Score, entry_of_crop
from polyface.metrics import intervals
from polyface.models.export import new_card, write_model
from polyface.papers.ifan_bench import Bench
from polyface.papers.ifan_rows import BEST, Row, is_candidate
from polyface.papers.ifan_runs import MeasureResult, RowResult, read_row
from polyface.papers.ifan_tasks import Coarse
from polyface.tasks.kinds import Regions
from polyface.training.run import data_entry, detector_entry

MODEL = "model"
LIMITS = (
    "Trained to compare rows of an experiment: no network to rely on.",
    "Nobody has looked at how it does on groups of people.",
)


def best_of(bench: Bench, rows: Sequence[Row]) -> Row | None:
    """The best candidate by its mean rank over validation measures, the earlier of equals; None while one of them is not done. Raises RequestError for no candidate."""
    candidates = [row for row in rows if is_candidate(row, bench.recipe.seeds[0])]
    if not candidates:
        raise RequestError("no row of this recipe answers all tasks, so that none is a model")
    done = [read_row(bench.folder(row)) for row in candidates]
    results = [result for result in done if result is not None]
    if len(results) < len(candidates):
        return None
    ranks = mean_ranks(results)
    return candidates[int(np.argmin(ranks))]


def mean_ranks(results: Sequence[RowResult]) -> np.ndarray:
    """float [rows]: the mean over validation measures that all rows have of how many rows are better, equals as half; all 0 where there is no measure."""
    names = [name for name in results[0].validation if all(name in result.validation for result in results)]
    ranks = np.zeros(len(results))
    for name in names:
        measures = [result.validation[name] for result in results]
        sign = 1.0 if measures[0].higher_is_better else -1.0
        scores = sign * np.array([measure.score() for measure in measures])
        ranks += ((scores[None] > scores[:, None]).sum(1) + 0.5 * ((scores[None] == scores[:, None]).sum(1) - 1)) / len(names)
    return ranks


def write_best(bench: Bench, best: Row) -> Path:
    """Score the best row on whole test splits, as the row BEST, and write it as a model directory, OUT/model."""
    whole, folder = bench.row(BEST), bench.out / MODEL
    before = read_row(bench.folder(whole))
    result = bench.do_best(whole, best)
    if before == result and (folder / "card.json").exists():
        return folder
    model = bench.network(best)
    sources = bench.worlds.sources(best.world)
    card = new_card(
        f"ifan-{bench.recipe.name}-{best.name}",
        model,
        entry_of_crop(bench.recipe.view),
        [data_entry(source) for source in sources],
        bench.recipe.drawings,
        scores=tuple(score_entry(measure) for measure in result.scores.values() if measure.people),
        detector=detector_entry(sources, bench.worlds.data),
        limits=LIMITS,
        task_notes={each.task.name: _note(each) for each in bench.worlds.coarse},
    )
    return write_model(model, card, folder)


def _note(coarse: Coarse) -> str:
    scored = "; scored at the crop's own side, answered at half of it" if isinstance(coarse.task, Regions) else ""
    return f"made of {coarse.fine.name}: {', '.join(coarse.made.words) or 'as it is'}{scored}"


def score_entry(measure: MeasureResult) -> Score:
    """A line of the card, its interval over people."""
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
