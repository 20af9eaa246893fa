"""The best row of paper B's ablation as a model like any other: card.json, model.safetensors, model.onnx."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from polyface.errors import RequestError
from polyface.inference.card import read_card
from polyface.models.export import write_model
from polyface.papers.ifan_bench import Bench
from polyface.papers.ifan_cards import CARD, score_entries
from polyface.papers.ifan_rows import BEST, Row, is_candidate
from polyface.papers.ifan_runs import RowResult, read_row

MODEL = "model"


def best_of(bench: Bench, rows: Sequence[Row]) -> Row | None:
    """The best candidate by its mean rank on validation, the earlier of equals; None while one of them is not done. Raises RequestError for no candidate."""
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
    """float [rows]: how many rows are better, equals as half, the mean over the validation measures of a task that all rows have, and then over tasks; all 0 where there
    is no measure."""
    by_task: dict[str, list[np.ndarray]] = {}
    for name, measure in results[0].validation.items():
        if all(name in result.validation for result in results):
            sign = 1.0 if measure.higher_is_better else -1.0
            scores = sign * np.array([result.validation[name].score() for result in results])
            ranks = (scores[None] > scores[:, None]).sum(1) + 0.5 * ((scores[None] == scores[:, None]).sum(1) - 1)
            by_task.setdefault(measure.task, []).append(ranks)
    return np.mean([np.mean(each, axis=0) for each in by_task.values()], axis=0) if by_task else np.zeros(len(results))


def write_best(bench: Bench, best: Row) -> Path:
    """Score the best row on whole test splits, as the row BEST, and write it as a model directory, OUT/model."""
    result, folder = bench.do_best(bench.row(BEST), best), bench.out / MODEL
    card = msgspec.structs.replace(read_card(bench.folder(best) / CARD), scores=score_entries(result.scores), compared="")
    if (folder / "card.json").exists() and msgspec.structs.replace(read_card(folder / "card.json"), compared="") == card:  # written last: all of it is there, of this row
        return folder
    return write_model(bench.network(best), card, folder)
