"""Paper B rebuilt and questioned: `polyface reproduce ifan` (Li et al. 2017, arXiv 1711.06055; papers.md, section B).

    tasks     ifan_tasks         nine regions, five points, seven emotions from the project's tasks; every set retold in them
    worlds    ifan_worlds        what is trained on: sets as they are, the one with two labels, drawn people
    plan      ifan_plan          mixed batches cut by stream, losses averaged over passes; what is fed back instead of the network's own predictions
    rows      ifan_rows          the ablation and its controls, as a table
    bench     ifan_bench         row after row: start (ifan_starts), train, score, keep (results: ifan_runs)
    scores    ifan_scores        a number for each test face (ifan_faces), after every pass; what it costs: ifan_compute
    model     ifan_model         the best row by validation, a model like any other
    page      ifan_page          one file with forest plots, curves and pictures (ifan_samples, ifan_statistics, ifan_claims)

Everything is found again: a run that was cut off goes on where it was; page and findings.json are written after every row. What another recipe made, a row or the start
that all rows share, is refused before anything is trained; the page leaves rows of another recipe out and names them. `--only` takes a part (ablation, controls, fed,
hybrid, drawn, seeds, plug, whole), a row, or `page`, which makes the page anew of the rows that are done.

The paper's 91.15 on Helen and 45.73 on BNU-LSVED are not tested here, since their labels are not at hand. Who has Helen's masks adds `helen_masks` to `data` and `tests`
(`datasets/helen_masks.py`), who has BNU-LSVED a manifest of it (`datasets/manifest.py`).
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from polyface import datasets, runtime
from polyface.files import write_atomically
from polyface.papers.ifan_bench import Bench, Say, of_this_recipe
from polyface.papers.ifan_claims import Judged
from polyface.papers.ifan_config import IfanRecipe, load
from polyface.papers.ifan_model import best_of, write_best
from polyface.papers.ifan_page import write_page
from polyface.papers.ifan_rows import BEST, Row, chosen, planned_minutes, rows_of
from polyface.papers.ifan_runs import RowResult, read_row, read_rows
from polyface.papers.ifan_samples import DRAWS
from polyface.papers.ifan_worlds import Worlds
from polyface.papers.stage import Progress
from polyface.synth.write import write_once

PAGE = "page"
LEFT_OUT = "left_out.json"
PAUSE = 30.0
"""Seconds: rows that come sooner after one another, as those of `smoke` do, wait for the next to be on the page."""
FEW_DRAWS = 1000
"""For the page after every row, which is to take seconds: intervals are rough, and p by Holm decides nothing yet."""


def reproduce(
    scale: str,
    out: Path,
    data: Path | None = None,
    only: str | None = None,
    settings: Sequence[str] = (),
    say: Say = lambda words: None,
    progress: Progress | None = None,
) -> list[Judged]:
    """Do the rows of a scale that are not done yet, all or only a part or one, and write OUT/ifan.html from all that are. Returns what came out of every claim.

    Raises RequestError before anything is trained for an unknown part, a set that is not there, that labels none of the tasks, or whose words cannot be mapped to them.
    """
    recipe = load(scale, settings)
    rows = rows_of(recipe)
    if only == PAGE:
        say("making the page of the rows that are done, which takes minutes where there are many")
    else:
        wanted = chosen(rows, only)
        bench = Bench(recipe, out, Worlds(recipe, _folder(recipe, out, data), out / "data"), say, progress)
        torch.set_num_threads(recipe.compute_threads or runtime.processors())
        runtime.threads_for_opencv(1)
        say("reading the faces that rows are scored on")
        _check(bench, wanted)
        todo = [row for row in wanted if read_row(bench.folder(row)) is None]
        if recipe.plan is not None and todo:
            say(f"{len(todo)} of {len(wanted)} rows to do: by plan {planned_minutes(recipe, recipe.plan, todo):.0f} minutes of two processors with nothing else to do")
        try:
            _do(bench, rows, wanted, lambda: _page(out, recipe, scale, FEW_DRAWS))
        except BaseException:  # interrupted, out of disk: the page has what is done
            if of_this_recipe(recipe, out, read_rows(out))[0]:
                _page(out, recipe, scale)
            raise
    return _page(out, recipe, scale)


def _do(bench: Bench, rows: Sequence[Row], wanted: Sequence[Row], write: Callable[[], object]) -> None:
    written = time.monotonic()
    for at, row in enumerate(wanted, start=1):
        if row.name != BEST:
            new = read_row(bench.folder(row)) is None
            bench.say(f"{at}/{len(wanted)} {_in_words(bench.do(row))}")
            if new and time.monotonic() - written > PAUSE:
                write()
                written = time.monotonic()
            continue
        best = best_of(bench, rows)
        if best is None:
            bench.say(f"{at}/{len(wanted)} {BEST}: not all rows are done that it is chosen from")
            continue
        bench.say(f"{at}/{len(wanted)} {BEST} is {best.name}: {write_best(bench, best)}")


def _in_words(result: RowResult) -> str:
    said = ", ".join(f"{name} {measure.score():.2f}" for name, measure in result.scores.items() if measure.people)
    cost = f"{result.compute.multiplications / 1e6:,.0f} M multiplications a face, trained {result.seconds:.0f} s, scored {result.scoring_seconds:.0f} s"
    return f"{result.name}: {said}; {cost}"


def _folder(recipe: IfanRecipe, out: Path, data: Path | None) -> Path:
    return write_once(recipe.drawn.sets, out / "data") if recipe.drawn.sets else datasets.data_folder(data)


def _check(bench: Bench, rows: Sequence[Row]) -> None:
    """What is wrong with the sets, or with what lies in OUT, comes out before anything is trained; what is left out of training is said."""
    for row in rows:
        if row.name != BEST:  # which network that is nobody knows yet
            bench.refuse_other_recipe(row)
            bench.faces(row, "test")
        if row.trains:
            bench.lesson(row)
    for note in bench.worlds.notes:
        bench.say(note)
    write_atomically(bench.out / LEFT_OUT, json.dumps(bench.worlds.notes, indent=1) + "\n")


def _page(out: Path, recipe: IfanRecipe, scale: str, draws: int = DRAWS) -> list[Judged]:
    """Raises RequestError where no row is done."""
    notes = tuple(json.loads((out / LEFT_OUT).read_text())) if (out / LEFT_OUT).exists() else ()
    rows, others = of_this_recipe(recipe, out, read_rows(out))
    if others:
        notes = (*notes, f"Done in this folder, but not by this recipe, and left out of this page: {', '.join(others)}.")
    return write_page(out, recipe, rows, f"polyface reproduce ifan --scale {scale}", notes, draws)
