"""The joint network of the best level as a model like any other, OUT/model: `polyface analyze`, `compare` and `calibrate` take it, its card says what it is."""

from pathlib import Path

from polyface import tasks
from polyface.errors import InputError, RequestError
from polyface.evaluation.evaluate import Network
from polyface.inference import calibrate_pairs as pairs
from polyface.inference import card as cards
from polyface.inference import engine
from polyface.inference.card import Score, entry_of_crop
from polyface.models.export import new_card, write_model
from polyface.papers.joint_runs import Bench, Row, best_level
from polyface.papers.joint_scores import RowResult
from polyface.papers.joint_screen import unscreened
from polyface.papers.results import read_done, write_done
from polyface.tasks.kinds import Embedding
from polyface.training.run import data_entry, detector_entry

MODEL, ROW = "model", "row.json"
"""ROW, in MODEL: the result of the row that it is of, written when the card has its lines; without it the model is not done."""
LIMITS = (
    "a rebuilt experiment (Wang et al. 2017, doi 10.1145/3078971.3078973), not a product: a small network that saw few people",
    "attributes are what a network that learned from CelebA's annotators says most often of a person's photographs, and no fact about anybody",
)
FARS = (0.01, 0.001, 1e-4)
"""Rates of false acceptance that the card offers lines for, as far as held-out people vouch for them."""


def best_row(bench: Bench, rows: tuple[Row, ...]) -> Row | None:
    """The first seed's row at the best level; None while a level is not done."""
    level = best_level(rows, bench.results)
    return None if level is None else next(row for row in rows if row.kind == "joint" and row.level == level)


def write(bench: Bench, row: Row) -> Path:
    """Found done where there is one of this row as it was done last."""
    folder, name, result = bench.out / MODEL, f"joint-{bench.recipe.name}-{row.level}", bench.results[row.name]
    if read_done(folder / ROW, RowResult, "model") == result:
        return folder
    (folder / ROW).unlink(missing_ok=True)
    lesson = bench.lesson(row)
    model = bench.network(row).cpu()
    count = len(bench.voted.task.vocabulary)
    notes = {tasks.attributes.name: f"{count} attributes, learned from votes about people; above one half is yes, and no calibrated probability"}
    limits = (*LIMITS, *([said] if (said := unscreened(bench.recipe)) else []))
    card = new_card(
        name, model, entry_of_crop(bench.recipe.view), [data_entry(source) for source in lesson.sources], bench.recipe.drawings,
        scores=_scores(result, bench), detector=detector_entry(lesson.sources, bench.data), limits=limits, task_notes=notes, strangers=bench.worlds.strangers,
    )  # fmt: skip
    write_model(model, card, folder)
    lines(bench, folder)
    write_done(folder / ROW, result)
    return folder


def lines(bench: Bench, folder: Path) -> None:
    """Lines between one person and two, fitted on held-out people, into the card; where these are too few, that is said, and the card has none."""
    network = engine.load(folder)
    people = [(each.set, each.split) for each in dict.fromkeys((*bench.recipe.probes, *bench.recipe.validation))]
    task = next(task for task in network.tasks if isinstance(task, Embedding))
    try:
        taught: Network = network
        calibration, thresholds, notes = pairs.calibrate_pairs(taught, task, bench.data, [pool.set for pool in bench.recipe.data], tuple(dict.fromkeys(people)))
    except (InputError, RequestError) as error:
        bench.say(f"the model's card has no line between one person and two: {error}")
        return
    for note in notes:
        bench.say(note)
    offered = [line for line in thresholds if line.far in FARS]
    cards.rewrite(folder, cards.with_calibration(network.card, {task.name: calibration}, offered))


def _scores(result: RowResult, bench: Bench) -> tuple[Score, ...]:
    """Pairs, and attributes on average."""
    made = []
    for each in result.numbers:
        if each.value is None or each.about not in ("pairs", "attributes") or (each.about == "attributes" and "accuracy" not in each.metric):
            continue
        task, dataset = (tasks.identity, bench.recipe.pairs) if each.about == "pairs" else (tasks.attributes, bench.recipe.attribute_test.set)
        made.append(Score(task=task.name, dataset=dataset, split="test", metric=each.metric, value=each.value, low=each.low, high=each.high, n=each.n))
    return tuple(made)
