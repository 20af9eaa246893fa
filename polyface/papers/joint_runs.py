"""The rows of paper C's experiment, and doing them: train with the one loop, score on people nobody saw, keep. What is done stays done; what was cut off goes on.

OUT/rows/<name>/     a row: made of one seed, one level and one kind of labels (`joint_scores.py`); model/model.safetensors, log.jsonl
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from polyface import tasks
from polyface.errors import RequestError, nearest
from polyface.files import write_arrays, write_atomically
from polyface.models.joint import Joint, JointConfig, Level, fast
from polyface.papers.joint_attributes import Voted, labelled, shares_of, vote
from polyface.papers.joint_config import JointRecipe
from polyface.papers.joint_faces import Tests, tests_of
from polyface.papers.joint_plan import Lesson, require_same, trained
from polyface.papers.joint_scores import ARRAYS, RESULT, RowResult, read_row, score, unreached, write_row
from polyface.papers.joint_screen import Screened, screen, unscreened
from polyface.papers.joint_worlds import REFUSED, Worlds, without
from polyface.papers.stage import Progress, seconds_of
from polyface.tasks.kinds import Embedding, Task
from polyface.training.examples import Source

Say = Callable[[str], None]
Kind = Literal["identity", "attributes", "joint", "shuffled", "human", "fast"]
BEST = "best"
"""The level of rows that wait until all levels were tried."""


@dataclass(frozen=True)
class Row:
    """kind: identity alone; attributes alone; both; both with attributes shuffled between people; both with human labels where there are some; both, the fast variant."""

    name: str
    kind: Kind
    level: str
    seed: int


def rows_of(recipe: JointRecipe) -> tuple[Row, ...]:
    """In the order they are done: the best level, and the fast variant, can be known only after all levels."""
    first, *others = recipe.seeds
    rows = [Row("identity", "identity", "", first), Row("attributes", "attributes", "late", first)]
    rows += [Row(f"joint-{level}", "joint", level, first) for level in recipe.levels]
    rows += [Row(f"shuffled-{level}", "shuffled", level, first) for level in recipe.levels]
    for seed in others:
        rows += [Row(f"identity-seed{seed}", "identity", "", seed), Row(f"attributes-seed{seed}", "attributes", "late", seed)]
        rows += [Row(f"joint-{BEST}-seed{seed}", "joint", BEST, seed), Row(f"shuffled-{BEST}-seed{seed}", "shuffled", BEST, seed)]
    return (*rows, Row("human", "human", BEST, first), Row("fast", "fast", "embedding", first))


def chosen(rows: Sequence[Row], only: str | None) -> tuple[Row, ...]:
    """All rows, or one by its name with those that its level depends on. Raises RequestError for an unknown name."""
    if only is None:
        return tuple(rows)
    row = next((row for row in rows if row.name == only), None)
    if row is None:
        raise RequestError(f"--only {only}: no row of this scale{nearest(only, [row.name for row in rows])}")
    before = [each for each in rows if each.kind == "joint" and each.level != BEST] if row.level == BEST else []
    return (*before, row)


def best_level(rows: Sequence[Row], results: Mapping[str, RowResult]) -> Level | None:
    """The level whose first seed tells validation people apart best; None until all levels are done."""
    tried = [row for row in rows if row.kind == "joint" and row.level != BEST]
    if not tried or any(row.name not in results for row in tried):
        return None
    return max(tried, key=lambda row: results[row.name].validation or 0.0).level  # type: ignore[return-value]


@dataclass
class Bench:
    """What rows share: people, their votes, faces to be scored on."""

    recipe: JointRecipe
    out: Path
    data: Path
    say: Say
    progress: Progress | None = None
    results: dict[str, RowResult] = field(default_factory=dict)

    def do(self, row: Row) -> RowResult:
        """Train and score a row, or go on with it, or find it done.

        Raises RequestError where its level is not known yet, and where it was trained or scored on other faces than are at hand now.
        """
        folder, row = self.folder(row), self.settled(row)
        lesson = self.lesson(row)
        if (done := read_row(folder)) is not None:
            require_same(folder, lesson.made_with)
            if done.scored_on != self.tests.made_with:
                raise RequestError(f"{folder}: scored on other faces than are at hand now; remove {folder / RESULT} to do it again, or choose another --out")
            self.results[row.name] = done
            return done
        model = self.network(row)
        found = score(model, self.tests, self.recipe)
        write_arrays(folder / ARRAYS, found.arrays)
        result = RowResult(
            name=row.name,
            kind=row.kind,
            level=row.level,
            seed=row.seed,
            scored_on=self.tests.made_with,
            parameters=sum(parameter.numel() for name, parameter in model.named_parameters() if not name.startswith("people.")),
            images=lesson.stage.steps * lesson.stage.batch,
            people=sum(lesson.people.values()),
            seconds=round(seconds_of(folder), 1),
            images_per_second=_speed(folder / "log.jsonl", lesson.stage.batch),
            validation=found.validation,
            numbers=found.numbers,
        )
        write_row(folder, result)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        self.results[row.name] = result
        return result

    def folder(self, row: Row) -> Path:
        return self.out / "rows" / row.name

    def settled(self, row: Row) -> Row:
        """The row with a level."""
        if row.level != BEST:
            return row
        level = best_level(rows_of(self.recipe), self.results)
        if level is None:
            raise RequestError(f"{row.name}: which level is best is not known before all levels of `joint` are done")
        return replace(row, level=level)

    def network(self, row: Row) -> Joint:
        """That of a row with a level, for answering: trained, or found done."""
        return trained(self.lesson(row), self.folder(row), row.name, self.progress)

    def lesson(self, row: Row) -> Lesson:
        """What a row trains. All rows of a seed see the same pictures in the same order."""
        recipe, asked = self.recipe, recipe_tasks(self.recipe, row.kind, self.voted)
        shuffled = row.seed if row.kind == "shuffled" else None
        soft = recipe.attributes.vote == "soft" and row.kind not in ("identity", "attributes", "human")
        return Lesson(
            network=network_of(recipe, row),
            tasks=asked,
            sources=labelled(self.sources, self.voted, row.kind == "human", shuffled),
            stage=recipe.joint,
            optimiser=recipe.optimiser,
            augment=recipe.augment,
            crop=recipe.view,
            seed=row.seed,
            identity=recipe.identity,
            weight=recipe.weight,
            squared=recipe.attributes.loss == "squared",
            target=None if recipe.attributes.target == "source" else recipe.attributes.target,
            shares=shares_of(self.sources, self.voted, shuffled) if soft else {},
            saves=recipe.saves,
            threads=recipe.threads,
        )

    @cached_property
    def worlds(self) -> Worlds:
        return Worlds(self.recipe, self.data)

    @cached_property
    def tests(self) -> Tests:
        return tests_of(self.recipe, self.data, self.out, self.progress)

    @cached_property
    def screened(self) -> Screened:
        return screen(self.recipe, self.worlds.recognition, self.tests.probes, self.tests.distractors, self.out, self.progress)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The recognition sets without anybody who may be a probe person."""
        return without(self.worlds.recognition, {(each.space, each.person) for each in self.screened.removed})

    @cached_property
    def voted(self) -> Voted:
        return vote(self.worlds, self.sources, self.out, self.progress)

    def prepare(self) -> None:
        """Everything before the first row: who is trained on, by which attributes; what is left out is said, and written to OUT/refused.csv and OUT/notes.json."""
        recognition, tests = self.worlds.recognition, self.tests
        self.worlds.write_refused(self.out / REFUSED)
        notes = [*self.worlds.notes, *_counted(self.worlds), self.screened.in_words(), *tests.removed, *tests.notes]
        if self.screened.reached is not None:
            notes.append(self.screened.reached.in_words(self.screened.far))
        if tests.pairs is not None and (said := unscreened(self.recipe)):
            notes.append(said)
        kept = ", ".join(f"{source.dataset.name} {len(source.people):,} people, {len(source.examples.items):,} pictures" for source in self.sources)
        notes.append(f"trained on: {kept} (of {sum(len(source.examples.items) for source in recognition):,})")
        notes.append(f"scored on {len(set(tests.probes.people))} held-out people, {len(tests.distractors.keys):,} real distractors")
        notes += unreached(self.recipe, len(tests.distractors.keys))
        for name, votes in self.voted.votes.items():
            if votes.unopened:
                notes.append(f"{name}: {votes.unopened:,} pictures cannot be opened and do not vote")
            undecided = int((votes.label < 0).sum())
            notes.append(f"{name}: {undecided:,} of {votes.label.size:,} labels of a person have no majority and are masked (OUT/votes/{name}.parquet names them)")
        for each in self.voted.attributes:
            if each.kept:
                within = ", ".join(f"{name} {rate:.3f}" for name, rate in each.agreement.items())
                notes.append(f"{each.name}: agreement within a person {within}; with human labels {each.human:.3f} of pictures, {each.person_human:.3f} of people")
        dropped = [f"{each.name} ({min(each.agreement.values()):.2f})" for each in self.voted.attributes if not each.kept and "agreement" in each.why]
        notes.append(f"{len(self.voted.task.vocabulary)} attributes are learned; dropped for too little agreement: {', '.join(dropped) or 'none'}")
        for note in notes:
            self.say(note)
        write_atomically(self.out / "notes.json", json.dumps(notes, indent=1) + "\n")


def recipe_tasks(recipe: JointRecipe, kind: str, voted: Voted) -> tuple[Task, ...]:
    embedding = Embedding(tasks.identity.name, tasks.identity.question, recipe.dimension)
    return {"identity": (embedding,), "attributes": (voted.task,)}.get(kind, (embedding, voted.task))


def network_of(recipe: JointRecipe, row: Row) -> JointConfig:
    if row.kind == "fast":
        return fast(recipe.network)
    return msgspec.structs.replace(recipe.network, level=row.level or "late")  # type: ignore[arg-type]


def _counted(worlds: Worlds) -> list[str]:
    """Refusals by reason, with the first person of each."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in worlds.refused:
        reasons.setdefault((each.set, each.why), []).append(each.person)
    return [f"{name}: {len(people):,} people refused, {why}; {people[0]} first, all in OUT/{REFUSED}" for (name, why), people in reasons.items()]


def _speed(log: Path, batch: int) -> float | None:
    """Of the last entry of a log."""
    speeds = [entry["steps_per_second"] for entry in map(json.loads, log.read_text().splitlines()) if "steps_per_second" in entry] if log.exists() else []
    return round(speeds[-1] * batch, 1) if speeds else None
