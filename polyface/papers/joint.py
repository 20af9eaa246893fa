"""Paper C rebuilt and questioned: `polyface reproduce joint` (Wang et al. 2017, ICMR, doi 10.1145/3078971.3078973; papers.md, section C).

    worlds      joint_worlds       people of recognition sets, who is refused and why; drawn people
    screen      joint_screen       training people who may be probe people under no name leave training
    attributes  joint_attributes   MOON on human labels; its predictions on recognition sets become labels of people, by majority
    plan        joint_plan         identity alone, attributes alone, or both, on the one loop
    rows        joint_runs         every level of the branch, its control with shuffled attributes, three seeds of what counts
    scores      joint_scores       pairs, people among real and synthetic distractors (joint_synthetic), attributes, on faces cut once (joint_faces)
    claims      joint_claims       the paper's claim, and what decides it
    model       joint_model        the joint network of the best level, a model like any other
    page        joint_page         one file

Everything is found again: a run that was cut off goes on where it was. `--only` takes a row (joint-late), `votes`, which ends with the labels of people, or `page`, which
makes the page anew of the rows that are done.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch

from polyface import datasets, runtime
from polyface.files import write_atomically
from polyface.papers import joint_model
from polyface.papers.joint_claims import Judged
from polyface.papers.joint_config import JointRecipe, load
from polyface.papers.joint_page import write_page
from polyface.papers.joint_runs import Bench, Row, Say, chosen, rows_of
from polyface.papers.joint_scores import REAL, SYNTHETIC, RowResult, read_rows
from polyface.papers.joint_worlds import drawn_sets
from polyface.papers.results import refuse_other_recipe
from polyface.papers.stage import Progress

PAGE, VOTES = "page", "votes"
MADE_WITH = "made_with.json"
NOT_OF_A_ROW = ("name", "seeds", "threads", "compute_threads")
"""Keys of a recipe that change nothing about a row that is done."""


def reproduce(
    scale: str,
    out: Path,
    data: Path | None = None,
    only: str | None = None,
    settings: Sequence[str] = (),
    say: Say = lambda words: None,
    progress: Progress | None = None,
) -> list[Judged]:
    """Do the rows of a scale that are not done yet, all or one, and write OUT/joint.html from all that are. Returns what came out of every claim.

    Raises RequestError before anything is trained for an unknown row, a set that is not there, or people of whom none is left; also where OUT is of another recipe.
    """
    recipe = load(scale, settings)
    rows = rows_of(recipe)
    refuse_other_recipe(out / MADE_WITH, _said(recipe))
    if only == PAGE:
        return write_page(out, recipe, read_rows(out))
    wanted = chosen(rows, None if only == VOTES else only)
    write_atomically(out / MADE_WITH, _said(recipe))
    torch.set_num_threads(recipe.compute_threads or runtime.processors())
    runtime.threads_for_opencv(1)
    data = drawn_sets(recipe.drawn, out / "data") if recipe.drawings else datasets.data_folder(data)
    bench = Bench(recipe, out, data, say, progress, results=read_rows(out))
    bench.prepare()
    if only == VOTES:
        return []
    try:
        _do(bench, rows, wanted)
    except BaseException:  # interrupted, out of disk: the page has what is done
        if read_rows(out):
            write_page(out, recipe, read_rows(out))
        raise
    return write_page(out, recipe, read_rows(out))


def _do(bench: Bench, rows: tuple[Row, ...], wanted: Sequence[Row]) -> None:
    for at, row in enumerate(wanted, start=1):
        bench.say(f"{at}/{len(wanted)} {_in_words(bench.do(row))}")
    best = joint_model.best_row(bench, rows)
    if best is not None:
        bench.say(f"the best level is {best.level}: {joint_model.write(bench, best)}")


def _in_words(result: RowResult) -> str:
    wanted = [("pairs", "10-fold accuracy, flip"), ("attributes", "accuracy")]
    wanted += [(about, "rank1") for kind in (REAL, SYNTHETIC) for about in [each.about for each in result.numbers if each.about.startswith(f"{kind} ")][-1:]]
    shown = [each for each in (result.number(*names) for names in wanted) if each is not None and each.value is not None]
    said = ", ".join(f"{each.about} {each.metric} {100 * (each.value or 0):.1f} %" for each in shown)
    return f"{result.name}{f' ({result.level})' if result.level else ''}: {said}; {result.images_per_second or 0:,.0f} images/s, trained {result.seconds:.0f} s"


def _said(recipe: JointRecipe) -> str:
    """What OUT says that it is made with."""
    return json.dumps({name: value for name, value in msgspec.to_builtins(recipe).items() if name not in NOT_OF_A_ROW}, indent=1) + "\n"
