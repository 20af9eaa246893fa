"""Doing the rows of paper B's ablation: pre-train once, train row by row with the one loop, score, keep. What is done stays done; what was cut off goes on.

OUT/start/{regions,points,emotion}/          task-wise pre-training, where the rows of all seeds start; made_with.json: by which recipe
OUT/rows/<name>/                             a row (`ifan_runs.py`)
OUT/model/                                   the best row by validation, a model like any other (`ifan_model.py`)
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from polyface.datasets.retold import Coarse, coarse_tasks
from polyface.errors import RequestError
from polyface.files import write_arrays, write_atomically
from polyface.inference.card import Card, write_card
from polyface.models.ifan import Ifan, IfanConfig
from polyface.models.weights import read_tensors
from polyface.papers.ifan_cards import CARD, card_of
from polyface.papers.ifan_compute import compute_of, matched_growth, peak_memory, reset_peak_memory
from polyface.papers.ifan_config import DRAWN, IfanRecipe, Stage, Test
from polyface.papers.ifan_faces import Faces, faces_of
from polyface.papers.ifan_plan import IfanPlan, Lesson, streams_of, told_by
from polyface.papers.ifan_rows import BEST, Row, network_of, rows_of
from polyface.papers.ifan_runs import PICTURES, Curve, RowResult, read_row, write_row
from polyface.papers.ifan_scores import Kept, scores
from polyface.papers.ifan_starts import fresh, load_start
from polyface.papers.ifan_worlds import Worlds, drawn_people
from polyface.papers.results import refuse_other_recipe
from polyface.papers.stage import WEIGHTS, Progress, seconds_of, train
from polyface.tasks.kinds import Task
from polyface.training import parallel
from polyface.training.examples import Source

Say = Callable[[str], None]
MADE_WITH = "made_with.json"
PLUGGED = ("frozen", "joint")
NOT_OF_A_ROW = ("name", "rows", "seeds", "plan", "pictures", "threads", "compute_threads")
"""Keys of a recipe that change nothing about a row that is done."""


OF_THE_START = ("crop", "tasks", "data", "pretrain", "optimiser", "losses", "augment")
"""Keys of a recipe that the shared start depends on, its network beside."""


@dataclass
class Bench:
    """A recipe and what its rows share: sources, faces that are scored, starts."""

    recipe: IfanRecipe
    out: Path
    worlds: Worlds
    say: Say
    progress: Progress | None = None
    _faces: dict[tuple[Test, str, tuple[str, ...]], list[Faces]] = field(default_factory=dict, repr=False)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """All that there are, whichever of them are asked for."""
        return tuple(rows_of(msgspec.structs.replace(self.recipe, rows=())))

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def folder(self, row: Row) -> Path:
        return self.out / "rows" / row.name

    # Doing a row

    def do(self, row: Row) -> RowResult:
        """Train and score a row, or go on with it, or find it done. Raises RequestError where another recipe left something there."""
        self.refuse_other_recipe(row)
        folder = self.folder(row)
        if (done := read_row(folder)) is not None:
            return done
        write_atomically(folder / MADE_WITH, made_with(self.recipe, row))
        reset_peak_memory()
        lesson = self._train(row) if row.trains else None
        result = self._scored(row, lesson, peak_memory() if row.trains else None)
        if lesson is not None:
            write_card(folder / CARD, self._card(row, lesson, result))
        write_row(folder, result)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return result

    def do_best(self, row: Row, best: Row) -> RowResult:
        """The row BEST, of another row's network; done again where another one was best before."""
        done = read_row(self.folder(row))
        if done is not None and done.start != best.name:
            shutil.rmtree(self.folder(row))
        return self.do(replace(row, start=best.name))

    def refuse_other_recipe(self, row: Row) -> None:
        """Raises RequestError where a row or the start that it shares, done or begun, was made by another recipe than it has now."""
        if row.start == "shared":
            refuse_other_recipe(self._start_folder(row) / MADE_WITH, self._start_made_with(row))
        refuse_other_recipe(self.folder(row) / MADE_WITH, made_with(self.recipe, row))

    def _train(self, row: Row) -> Lesson:
        """Into the row's folder, unless its weights are there."""
        folder, lesson = self.folder(row), self.lesson(row)
        start = self._start(row)

        def make() -> Ifan:
            model = self._untrained(replace(row, plug=""))
            load_start(model, read_tensors(start))
            return self._with_plug(model, row)

        plan = IfanPlan(lesson, make)
        write_atomically(folder / "data.json", plan.summary())
        if not (folder / WEIGHTS).exists():
            train(plan, folder, row.name, self.progress)
        return lesson

    def _scored(self, row: Row, lesson: Lesson | None, peak: float | None) -> RowResult:
        began, model, kept = time.monotonic(), self.network(row).to(parallel.device()), Kept(self.recipe.pictures)
        tell = told_by(row.told, model) if row.told else None
        test = scores(model, self.faces(row, "test"), self.recipe.overall, tell, kept)
        validation = scores(model, self.faces(row, "validation"), self.recipe.overall, tell)
        if model.config.passes > 1 and row.part == "ablation":
            write_arrays(self.folder(row) / PICTURES, kept.arrays)
        return RowResult(
            name=row.name,
            title=row.title,
            part=row.part,
            seed=row.seed,
            against=row.against,
            question=row.question,
            settings=settings_of(row, model.config),
            tasks=tuple(task.name for task in model.tasks),
            passes=model.config.passes,
            start=row.start,
            steps=lesson.stage.steps if lesson else 0,
            batch=lesson.stage.batch if lesson else 0,
            samples=self._samples(row, lesson) if lesson else {},
            compute=compute_of(model, peak),
            seconds=seconds_of(self.folder(row)),
            shared_seconds=self._seconds_of_start(row),
            scoring_seconds=round(time.monotonic() - began, 1),
            scores=test,
            validation=validation,
            curves=curves_of(self.folder(row) / "log.jsonl"),
        )

    def _card(self, row: Row, lesson: Lesson, result: RowResult) -> Card:
        drawn = row.world.startswith(DRAWN)
        coarse = (*self.worlds.coarse, self.plugged) if row.plug in PLUGGED else self.worlds.coarse
        known = [each for each in coarse if each.task.name in result.tasks]
        folder = self.worlds.own if drawn else self.worlds.data
        return card_of(row.name, self.network(row), self.recipe, known, lesson.mix.sources, folder, drawn or self.recipe.drawings, result.scores)

    # Networks

    def network(self, row: Row) -> Ifan:
        """The trained network of a row that is done, in eval mode."""
        if not row.trains:
            return self.network(self.row(row.start))
        model = self._with_plug(self._untrained(replace(row, plug="")), row)
        model.load_state_dict(read_tensors(self.folder(row) / WEIGHTS))
        return model.eval()

    def config(self, row: Row) -> IfanConfig:
        config = network_of(self.recipe, row)
        return matched_growth(config, self.tasks(row), self.config(self.row(row.matched))) if row.matched else config

    def tasks(self, row: Row) -> tuple[Task, ...]:
        return tuple(each.task for each in self.worlds.coarse if row.tasks is None or each.task.name in row.tasks)

    def _untrained(self, row: Row) -> Ifan:
        config, tasks = self.config(row), self.tasks(row)
        return fresh(config, tasks, streams_of(config, tasks, self.worlds.sources(row.world)))

    def _with_plug(self, model: Ifan, row: Row) -> Ifan:
        if row.plug in PLUGGED:
            model.add_task(self.plugged.task, self.plugged.task.name)
        return model

    @cached_property
    def plugged(self) -> Coarse:
        assert self.recipe.plug is not None
        return coarse_tasks({self.recipe.plug.name: self.recipe.plug.task})[0]

    # Lessons

    def lesson(self, row: Row) -> Lesson:
        """What a row trains in its joint stage."""
        recipe, sources, tasks = self.recipe, self.worlds.sources(row.world), self.tasks(row)
        stage, share, taught, plug, count = recipe.joint, row.share, None, recipe.plug, len(tasks)
        if row.plug and plug is not None:
            stage = plug.stage
            if row.plug in PLUGGED:
                tasks, sources = (*tasks, self.plugged.task), _beside(sources, self._sources_of_plug, count)
                share, taught = (1 / count, (self.plugged.task.name,)) if row.plug == "frozen" else (1 + 1 / count, None)
        return Lesson(
            network=self.config(row),
            tasks=tasks,
            sources=sources,
            stage=Stage(steps=stage.steps, batch=max(1, round(stage.batch * share))),
            optimiser=recipe.optimiser,
            weights=recipe.losses,
            augment=recipe.augment,
            crop=recipe.view,
            seed=row.seed,
            validation=self._validation if row.world == "real" else (),
            told=row.told,
            taught=taught,
            frozen=row.plug == "frozen",
            curve=recipe.curve,
            threads=recipe.threads,
        )

    @cached_property
    def _sources_of_plug(self) -> tuple[Source, ...]:
        assert self.recipe.plug is not None
        return self.worlds.plugged(self.plugged, self.recipe.plug.data)

    @cached_property
    def _validation(self) -> tuple[Source, ...]:
        return self.worlds.validation(self.worlds.coarse)

    # Starts

    def _start(self, row: Row) -> Path:
        """The weights that a row starts from, made where they are not there yet: task after task, the trunk going on."""
        if row.start not in ("shared", "own"):
            return self.folder(self.row(row.start)) / WEIGHTS
        network, tasks, before = self._network_of_start(row), self.tasks(self._own(row)), None
        if row.start == "shared":
            write_atomically(self._start_folder(row) / MADE_WITH, self._start_made_with(row))
        for task, lesson in self._lessons_of_start(row).items():
            folder = self._start_folder(row) / task
            if not (folder / WEIGHTS).exists():
                train(IfanPlan(lesson, lambda before=before: _goes_on(network, tasks, before)), folder, f"{row.name}: {task} first", self.progress)  # type: ignore[misc]
                shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            before = folder / WEIGHTS
        assert before is not None
        return before

    def _own(self, row: Row) -> Row:
        """Whose world and width a start has."""
        return replace(row, plug="") if row.start == "own" else Row("start", "", "start", seed=self.recipe.seeds[0])

    def _network_of_start(self, row: Row) -> IfanConfig:
        return msgspec.structs.replace(self.config(self._own(row)), passes=1, feedback=(), normalisation="per_task", through=False)

    def _start_made_with(self, row: Row) -> str:
        """Everything that the shared start depends on, as JSON; nothing of it is of the joint stage or of what is scored."""
        said = {name: msgspec.to_builtins(getattr(self.recipe, name)) for name in OF_THE_START}
        return json.dumps({"recipe": said, "network": msgspec.to_builtins(self._network_of_start(row)), "seed": self._own(row).seed}, indent=1) + "\n"

    def _lessons_of_start(self, row: Row) -> dict[str, Lesson]:
        """{task: its stage}, in the recipe's order (B4)."""
        own, network = self._own(row), self._network_of_start(row)
        names = {task.name for task in self.tasks(own)}
        stages = [(name, stage) for name, stage in self.recipe.pretrain.items() if name in names]
        return {
            name: replace(self.lesson(own), network=network, stage=stage, told="", taught=(name,), seed=100 * own.seed + at) for at, (name, stage) in enumerate(stages)
        }

    def _start_folder(self, row: Row) -> Path:
        return self.folder(row) / "start" if row.start == "own" else self.out / "start"

    def _seconds_of_start(self, row: Row) -> float:
        if row.start not in ("shared", "own"):
            return 0.0
        return round(sum(seconds_of(self._start_folder(row) / task.name) for task in self.tasks(self._own(row))), 1)

    def _samples(self, row: Row, lesson: Lesson) -> dict[str, int]:
        """Pictures seen by set, repeats counted, pre-training included."""
        seen: dict[str, int] = {}
        before = self._lessons_of_start(row).values() if row.start in ("shared", "own") else ()
        for each in (*before, lesson):
            mixed = each.mix
            for source, count in zip(mixed.sources, mixed.counts, strict=True):
                seen[source.dataset.name] = seen.get(source.dataset.name, 0) + count * each.stage.steps
        return seen

    # Faces

    def faces(self, row: Row, split: str) -> list[Faces]:
        """Those that a row is scored on, cut once for all rows."""
        found: list[Faces] = []
        for test, coarse, folder in self._tests(row):
            if split == "validation" and (row.part == "whole" or not test.validation):
                continue
            key = (test, split, tuple(each.task.name for each in coarse))
            if key not in self._faces:
                try:
                    self._faces[key] = faces_of(test, coarse, folder, split, self.recipe.view, self.say)  # type: ignore[arg-type]
                except RequestError:
                    if split == "test":
                        raise
                    self._faces[key] = []  # nothing of its validation split is here: its test is scored, and chooses nothing
            found += self._faces[key]
        return found

    def _tests(self, row: Row) -> list[tuple[Test, tuple[Coarse, ...], Path]]:
        if row.world.startswith(DRAWN):
            return [(Test(set=str(drawn_people(self.recipe.drawn, self.worlds.own))), self.worlds.coarse, self.worlds.own)]
        tests = [(test, self.worlds.coarse, self.worlds.data) for test in self.recipe.tests]
        if row.plug and self.recipe.plug is not None:
            tests += [(test, (self.plugged,), self.worlds.data) for test in self.recipe.plug.tests]
        return [(msgspec.structs.replace(test, most=None), *rest) for test, *rest in tests] if row.part == "whole" else tests  # type: ignore[misc]


def made_with(recipe: IfanRecipe, row: Row) -> str:
    """Everything that a row depends on, as JSON."""
    said = msgspec.to_builtins(recipe)
    for name in (*NOT_OF_A_ROW, *(() if row.plug else ("plug",))):
        said.pop(name)
    words = ("title", "question", "against")
    return json.dumps({"recipe": said, "row": {name: value for name, value in asdict(row).items() if name not in words}}, indent=1) + "\n"


def of_this_recipe(recipe: IfanRecipe, out: Path, results: Mapping[str, RowResult]) -> tuple[dict[str, RowResult], list[str]]:
    """Of the rows that are done in OUT those that the recipe would make as they are, and the names of the others."""
    known = {row.name: row for row in rows_of(msgspec.structs.replace(recipe, rows=()))}
    kept = {}
    for name, result in results.items():
        row = known.get(name)
        if row is not None and name == BEST:  # of another row's network, which the plan does not know
            row = replace(row, start=result.start)
        file = out / "rows" / name / MADE_WITH
        if row is not None and file.exists() and file.read_text() == made_with(recipe, row):
            kept[name] = result
    return kept, [name for name in results if name not in kept]


def _beside(old: Sequence[Source], new: Sequence[Source], tasks: int) -> tuple[Source, ...]:
    """Sets of a further task, with as many rows of a batch as one of the old tasks has on average."""
    share = sum(source.weight for source in old) / tasks / sum(source.weight for source in new)
    return (*old, *(replace(source, weight=source.weight * share) for source in new))


def _goes_on(network: IfanConfig, tasks: Sequence[Task], weights: Path | None) -> Ifan:
    """The network of a start, after the task before."""
    model = fresh(network, tasks, streams_of(network, tasks, ()))
    if weights is not None:
        model.load_state_dict(read_tensors(weights))
    return model


# What is said of a row


def settings_of(row: Row, network: IfanConfig) -> dict[str, str]:
    """In words, for a table."""
    several = network.passes > 1
    said = {
        "normalisation": {"shared": "shared", "per_task": "for each task", "per_dataset": "for each data set"}[network.normalisation],
        "passes": str(network.passes),
        "feedback at": ", ".join(map(str, network.feedback)) if several else "",
        "fed back": (row.told or "own predictions") if several else "",
        "gradients": "through the loop" if network.through else "",
        "growth": str(network.growth),
        "trained on": row.world.replace("_", " "),
    }
    return {name: words for name, words in said.items() if words}


def curves_of(log: Path) -> dict[str, Curve]:
    """Losses ("train/points") and validation losses ("validation/points") of a log, against steps."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        entry = json.loads(line)
        for kind, key in (("train", "losses"), ("validation", "validation")):
            for name, value in entry.get(key, {}).items():
                if np.isfinite(value):
                    found.setdefault(f"{kind}/{name}", []).append((entry["step"], float(value)))
    return {name: Curve(steps=tuple(step for step, _ in points), values=tuple(value for _, value in points)) for name, points in found.items()}
