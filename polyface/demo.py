"""`polyface demo`: what the project does, shown on a machine that has nothing else.

First the installed weights answer on a portrait. Then seven data sets are drawn, of which each answers only some of the nine questions; one network learns from six of
them, is scored on people it never saw, and answers on drawn photographs. The second half needs torch, and says so where it is not there.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from polyface import terminal
from polyface.errors import RequestError
from polyface.files import write_atomically
from polyface.installed import installed

if TYPE_CHECKING:
    from polyface.evaluation.report import Report
    from polyface.inference.analyze import Analyzer

MADE_BY_US = ".polyface-demo"
"""The file by which a later run knows that the folder is a demo's, and may be made anew."""
RECIPE, RECIPE_MINUTES = "demo", 2.0
"""The recipe's steps take so long on two processors that have nothing else to do."""
SEED, OTHER_SEED = 1, 2


@dataclass(frozen=True)
class DrawnSet:
    """One set to draw: its name, the layout it is written in, how many people, how many photographs of each."""

    name: str
    layout: str
    people: int
    photos: int


# Where a set is split by picture, each person is drawn once, so that nobody is in train and test.
DRAWN = (
    DrawnSet("utkface", "utkface", people=1200, photos=1),
    DrawnSet("rafdb", "rafdb", people=240, photos=5),
    DrawnSet("celeba", "celeba", people=80, photos=7),
    DrawnSet("celebamask", "celebamask", people=200, photos=1),
    DrawnSet("helen", "300w", people=240, photos=2),
    DrawnSet("mtfl", "mtfl", people=240, photos=2),
    DrawnSet("lfw", "lfw", people=60, photos=4),  # pairs to test identity on, never trained
)
PHOTOGRAPHS = DrawnSet("photographs", "folders", people=6, photos=2)


def demo(out: Path, minutes: float = RECIPE_MINUTES, drawn: Sequence[DrawnSet] = DRAWN, settings: Sequence[str] = ()) -> None:
    """Run it all into the folder `out`, which is made anew where an earlier demo made it; settings change the recipe.

    Raises RequestError for a folder that holds anything else, and where the weights are not installed: they find the faces on what is drawn, too.
    """
    if minutes <= 0:
        raise RequestError(f"how long to train must be more than 0 minutes, not {minutes:g}")
    installed("detector")
    _fresh(out)
    _heading("A portrait")
    portrait(out)
    if find_spec("torch") is None:
        terminal.say("the second half trains a network, which needs torch: pip install 'polyface[train]', then polyface demo once more (make demo does both)")
        return
    _heading("Data sets, drawn: each answers only some of the questions")
    draw_sets(out / "data", drawn)
    _heading("One network for all of them")
    model = train(out, minutes, settings)
    _heading("Its scores on people it never saw")
    scores(model, out)
    _heading("Its answers on drawn photographs it never saw")
    answers(model, out)
    print(_where(out, model))


def portrait(out: Path) -> None:
    """The installed weights answer on the portrait that scikit-image's wheel carries (Eileen Collins; NASA, public domain)."""
    import skimage.data

    from polyface.inference import analyze, write

    path = out / "astronaut.png"
    write.write_picture(path, skimage.data.astronaut())
    analyzer = analyze.load()
    terminal.say(analyzer.engine.terms)
    _answer(analyzer, path, out / "portrait")


def draw_sets(data: Path, drawn: Sequence[DrawnSet]) -> None:
    """Draw each set under data/<name>, in the layout of the public one of that name, and say what each answers."""
    from polyface import datasets
    from polyface.synth.write import write

    rows: list[dict[str, object]] = []
    with terminal.progress("drawing", len(drawn)) as report:
        for each in drawn:
            report(len(rows), len(drawn), each.name)
            pictures = write(each.layout, data / each.name, each.people, each.photos, SEED)
            rows.append({"data set": each.name, "pictures": pictures, "answers": ", ".join(datasets.named(each.name).answers)})
    terminal.table(rows)


def train(out: Path, minutes: float, settings: Sequence[str] = ()) -> Path:
    """Train the recipe `demo`, its steps in proportion to the minutes; returns the model directory."""
    from polyface.training import config, run

    steps = max(1, round(config.load(RECIPE, list(settings)).steps * minutes / RECIPE_MINUTES))
    terminal.say(f"training {steps} steps, about {minutes:g} min on two processors that have nothing else to do")
    with terminal.progress("training", steps) as report:
        folder = run.train(RECIPE, out / "data", out / "run", [*settings, f"steps={steps}"], report=report)
    return folder / "model"


def scores(model: Path, out: Path) -> None:
    """Score the model on the test split of every drawn set: one row for each question a set answers, all of them in scores.json."""
    from polyface.evaluation.evaluate import evaluate
    from polyface.inference import engine

    network = engine.load(model)
    with terminal.progress("scoring") as report:
        found = evaluate(network, out / "data", report=lambda name, done, total: report(done, total, name), sha256=network.sha256)
    write_atomically(out / "scores.json", found.to_json())
    terminal.table(first_of_each(found), ["task", "data set", "metric", "value", "chance", "constant", "n"])
    print("chance: a blind guess; constant: the best answer that never looks at a picture. All scores, with intervals: scores.json")


def first_of_each(report: "Report") -> list[dict[str, object]]:
    """The first score of each task on each set, which is its main one, task by task."""
    first: dict[tuple[object, object], dict[str, object]] = {}
    for row in report.rows():
        first.setdefault((row["task"], row["data set"]), row)
    order = list(dict.fromkeys(task for task, _ in first))
    return sorted(first.values(), key=lambda row: order.index(row["task"]))


def answers(model: Path, out: Path) -> None:
    """Draw photographs of people that no set holds, and answer on them as `polyface analyze` does."""
    from polyface.inference import analyze
    from polyface.synth.write import write

    folder = out / PHOTOGRAPHS.name
    write(PHOTOGRAPHS.layout, folder, PHOTOGRAPHS.people, PHOTOGRAPHS.photos, OTHER_SEED)
    _answer(analyze.load(model), folder, out / "answers")


def _answer(analyzer: "Analyzer", path: Path, out: Path) -> None:
    from polyface.inference import write

    write.analyze(analyzer, [str(path)], None, out, pictures=True)


def _fresh(out: Path) -> None:
    """An empty folder with our mark in it; what an earlier demo left there goes."""
    if out.exists() and not (out / MADE_BY_US).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"{out} is there already and no demo made it; choose another --out")
    if out.exists():
        shutil.rmtree(out)
    write_atomically(out / MADE_BY_US, "made by `polyface demo`, which empties this folder when it runs again\n")


def _heading(words: str) -> None:
    print(f"\n{words}\n", flush=True)


def _where(out: Path, model: Path) -> str:
    places = {
        out / "portrait": "the portrait with its answers",
        out / "data": "the drawn sets, in the layouts of public ones",
        out / "run": "the run: complete recipe, log, checkpoints",
        model: f"the model; `polyface info {model}` says what is in it",
        out / "scores.json": "all scores",
        out / "answers": "the drawn photographs with their answers, and answers.jsonl",
    }
    width = max(len(str(place)) for place in places)
    return "\nWhere everything is\n\n" + "\n".join(f"{place!s:{width}}  {what}" for place, what in places.items() if place.exists())
