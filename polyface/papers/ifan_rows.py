"""The rows of paper B's ablation, as a table: what each changes in the recipe, and what it is compared with.

All rows, those of other seeds too, start from one set of pre-trained weights and see equally many pictures, unless their words say otherwise: seeds differ in the joint
stage's order and draws alone.

Equal picture counts mean one thing: as many different pictures to learn from, and as many shown in every stage, repeats counted. A picture with two labels teaches two
tasks when it is shown, so that of as many pictures the network learns from twice as many labels, by twice as many runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from polyface.errors import RequestError, nearest
from polyface.models.ifan import IfanConfig
from polyface.papers.ifan_config import IfanRecipe, Plan

JOINT, FEEDBACK = "joint", "feedback-3"
"""The rows that others are compared with: joint training with own normalisation and one pass, and the same with the paper's three."""
BEST = "best"
"""The row that is a model of its own: of those that answer all tasks, trained on all sets, the best by validation."""


@dataclass(frozen=True)
class Row:
    """network: changes of the network's configuration; tasks: those that it has, all where None; world: what is trained on (`ifan_worlds.py`); told: what is fed back in
    place of its own predictions (`ifan_plan.told_by`); start: `shared`, `own` (the same pre-training, on this row's network and world) or another row's weights;
    share: of the recipe's rows in a batch; trains: False for a row that only scores; plug: how a fourth task is plugged in; matched: widened to the multiplications of
    another row; seed: 0 is the recipe's first."""

    name: str
    title: str
    part: str
    question: str = ""
    against: tuple[str, ...] = ()
    network: Mapping[str, object] = field(default_factory=dict)
    tasks: tuple[str, ...] | None = None
    world: str = "real"
    told: str = ""
    start: str = "shared"
    share: float = 1.0
    trains: bool = True
    plug: str = ""
    matched: str = ""
    seed: int = 0


def rows_of(recipe: IfanRecipe) -> list[Row]:
    """All rows, or those that the recipe names and those that they start from, in the order in which they are done: a row comes after the one that it starts from.

    Raises RequestError for a name in recipe.rows that is none.
    """
    rows = [replace(row, seed=row.seed or recipe.seeds[0]) for row in _every_row(recipe)]
    known = [row.name for row in rows]
    for name in recipe.rows:
        if name not in known:
            raise RequestError(f"recipe ifan/{recipe.name}: no row {name!r}{nearest(name, known)}")
    return _with_starts(rows, list(recipe.rows or known))


def network_of(recipe: IfanRecipe, row: Row) -> IfanConfig:
    """The network of a row, one that is `matched` before it is widened; without feedback it has no integrators."""
    config = msgspec.structs.replace(recipe.network, **row.network)  # type: ignore[arg-type]
    return config if config.passes > 1 else msgspec.structs.replace(config, feedback=())


def chosen(rows: Sequence[Row], only: str | None) -> list[Row]:
    """All rows, or those of a part, or one, with those that they start from. Raises RequestError for a name that is neither."""
    names, parts = [row.name for row in rows], list(dict.fromkeys(row.part for row in rows))
    if only is not None and only not in names and only not in parts:
        raise RequestError(f"--only {only}: no part or row of this scale{nearest(only, [*parts, *names])}")
    return _with_starts(rows, [row.name for row in rows if only in (None, row.name, row.part)])


def _with_starts(rows: Sequence[Row], wanted: list[str]) -> list[Row]:
    """The rows of these names and those that they start from, in the order of the rows."""
    start = {row.name: row.start for row in rows}
    for name in wanted:  # grows while it is walked
        if start[name] in start and start[name] not in wanted:
            wanted.append(start[name])
    return [row for row in rows if row.name in wanted]


def is_candidate(row: Row, first: int) -> bool:
    """Whether a row may be the best: it answers all tasks, learned from all sets and its own predictions, with the first seed, and need not know a photograph's set."""
    own = row.trains and row.tasks is None and row.world == "real" and not row.told and not row.plug
    return own and row.network.get("normalisation") != "per_dataset" and row.seed == first


def planned_minutes(recipe: IfanRecipe, plan: Plan, rows: Sequence[Row]) -> float:
    """The starts included."""
    tasks = len(recipe.tasks)
    pretraining = {name: stage.steps * stage.batch * plan.first for name, stage in recipe.pretrain.items()}
    milliseconds = sum(pretraining.values()) if any(row.start == "shared" for row in rows) else 0.0
    minutes = 0.0
    for row in rows:
        passes, own = int(row.network.get("passes", recipe.network.passes)), row.tasks or tuple(recipe.tasks)  # type: ignore[call-overload]
        wide = WIDER if row.matched else 1.0
        each = wide * plan.first + (passes - 1) * (plan.through if row.network.get("through") else plan.further) * len(own) / tasks
        labels = {"drawn": tasks, "drawn_both": 2}.get(row.world, 1)
        stage = recipe.plug.stage if row.plug and recipe.plug else recipe.joint
        share = {"frozen": 1 / tasks, "joint": 1 + 1 / tasks}.get(row.plug, row.share * labels)
        milliseconds += stage.steps * stage.batch * share * each * row.trains + wide * sum(pretraining[name] for name in own) * (row.start == "own")
        minutes += plan.scoring * passes * (WHOLE if row.part == "whole" else 1)
    return milliseconds / 60_000 + minutes


WIDER, WHOLE = 1.3, 10
"""Times the milliseconds of the network that is widened, and the faces that the best row is scored on, by plan."""


def _every_row(recipe: IfanRecipe) -> Iterator[Row]:
    first = recipe.seeds[0]
    yield from _compared(recipe, first)
    yield from _ablation(recipe)
    yield from _controls(recipe)
    yield from _fed(recipe)
    yield from _hybrid(recipe)
    yield from _drawn(recipe)
    for seed in recipe.seeds[1:]:
        yield from _compared(recipe, seed)
    if recipe.plug is not None:
        yield from _plug(recipe.plug.name)
    yield Row(BEST, "the best row by validation, on whole test splits", "whole", network={}, start=BEST, trains=False, seed=first)


def _compared(recipe: IfanRecipe, seed: int) -> Iterator[Row]:
    """Those of which every seed has one: single against joint, shared against own statistics, one pass against three."""
    part, first = ("ablation", True) if seed == recipe.seeds[0] else ("seeds", False)

    def row(name: str, title: str, question: str = "", against: str = "", **said: object) -> Row:
        def named(name: str) -> str:
            return name if first or not name else f"{name}-seed{seed}"

        return Row(named(name), title, part, question, (named(against),) if against else (), seed=seed, **said)  # type: ignore[arg-type]

    for task in recipe.tasks:
        yield row(f"alone-{task}", f"{task} alone", network={"passes": 1}, tasks=(task,))
    yield row("joint-shared", "joint, shared normalisation", network={"passes": 1, "normalisation": "shared"})
    joint = row(JOINT, "joint, a normalisation for each task", "own statistics for each task", "joint-shared", network={"passes": 1})
    yield replace(joint, against=(*joint.against, *(f"alone-{task}" + ("" if first else f"-seed{seed}") for task in recipe.tasks)))
    yield row(FEEDBACK, "feedback, 3 passes", "three passes against one", JOINT, network={"passes": 3})


def _ablation(recipe: IfanRecipe) -> Iterator[Row]:
    for task in recipe.tasks:
        yield Row(
            f"own-{task}",
            f"{task} alone, its own rows only",
            "ablation",
            "others' pictures beside as many own",
            (JOINT,),
            {"passes": 1},
            (task,),
            share=1 / len(recipe.tasks),
        )
    for passes in (2, 4):
        yield Row(f"feedback-{passes}", f"feedback, {passes} passes", "ablation", f"{passes} passes against one", (JOINT, FEEDBACK), {"passes": passes})
    yield Row(
        "feedback-3-through", "feedback, 3 passes, gradients through the loop", "ablation", "gradients through the loop", (FEEDBACK,), {"passes": 3, "through": True}
    )


def _controls(recipe: IfanRecipe) -> Iterator[Row]:
    three = {"passes": 3}
    yield Row("another", "feedback of another face's predictions", "controls", "another face's predictions instead of its own", (FEEDBACK, JOINT), three, told="another")
    yield Row("constant", "feedback of constant maps", "controls", "constant maps instead of its own predictions", (FEEDBACK, JOINT), three, told="constant")
    yield Row(
        "another-at-test", "trained with its own, tested with another face's predictions", "controls", "what the trained network reads in its feedback",
        (FEEDBACK,), three, told="another", start=FEEDBACK, trains=False,
    )  # fmt: skip
    yield Row(
        "same-cost", "no feedback, widened to as many multiplications", "controls", "depth and width instead of feedback", (FEEDBACK, JOINT), {"passes": 1},
        start="own", matched=FEEDBACK,
    )  # fmt: skip
    yield Row(
        "per-dataset", "joint, a normalisation for each data set", "controls", "statistics for each set instead of each task", (JOINT,),
        {"passes": 1, "normalisation": "per_dataset"},
    )  # fmt: skip


def _fed(recipe: IfanRecipe) -> Iterator[Row]:
    """What of the feedback matters: where it enters, and whose predictions (papers.md, B4)."""
    three: Mapping[str, object] = {"passes": 3}
    sides, tasks = recipe.network.feedback, tuple(recipe.tasks)
    for count in range(1, len(sides)):
        entering = sides[:count]
        yield Row(
            f"feedback-at-{'-'.join(map(str, entering))}", f"feedback, 3 passes, entering at {' and '.join(map(str, entering))} only", "fed",
            f"feedback at fewer than {len(sides)} sides", (FEEDBACK, JOINT), {"passes": 3, "feedback": entering},
        )  # fmt: skip
    for task in tasks:
        yield Row(f"without-{task}", f"feedback of all but {task}", "fed", f"{task} not fed back", (FEEDBACK, JOINT), three, told=f"without-{task}")
    for left_out in tasks[::-1]:
        others = tuple(task for task in tasks if task != left_out)
        yield Row(
            f"two-{'-'.join(others)}", f"{' and '.join(others)}, 3 passes, {left_out} nowhere", "fed", f"{left_out} neither trained nor fed back, as many own pictures",
            (FEEDBACK,), three, others, share=len(others) / len(tasks),
        )  # fmt: skip


def _hybrid(recipe: IfanRecipe) -> Iterator[Row]:
    three: Mapping[str, object] = {"passes": 3}
    if not recipe.two_labels:
        return
    two, names = _answered(recipe), ", ".join(pool.set for pool in recipe.two_labels)
    yield Row("two-labels", f"trained on {names} only, which has two of the labels", "hybrid", "", (), three, two, "two_labels", start="own")
    against: tuple[str, ...] = ("two-labels",)
    if recipe.hundred:
        asks, others = "as many pictures with one label each instead of two", ", ".join(pool.set for pool in recipe.hundred)
        yield Row("hundred", f"trained on as many pictures of {others}", "hybrid", asks, against, three, two, "hundred", start="own")
        against = (*against, "hundred")
    asks = "all sets instead of so few pictures"
    yield Row("all-of-hybrid", "trained on all sets, which is feedback with 3 passes", "hybrid", asks, against, three, start=FEEDBACK, trains=False)


def _answered(recipe: IfanRecipe) -> tuple[str, ...]:
    """The first two tasks, regions and points as the recipe has them: those that a set with two labels has."""
    return tuple(recipe.tasks)[:2]


def _drawn(recipe: IfanRecipe) -> Iterator[Row]:
    third, three, two = 1 / len(recipe.tasks), {"passes": 3}, _answered(recipe)
    for seed in recipe.seeds:  # no other rows are scored on drawn people, so that how far seeds scatter there is known from these
        joint, fed = (name if seed == recipe.seeds[0] else f"{name}-seed{seed}" for name in ("drawn-joint", "drawn-feedback-3"))
        yield Row(joint, "drawn people, every label, one pass", "drawn", "", (), {"passes": 1}, world="drawn", share=third, seed=seed)
        yield Row(fed, "drawn people, 3 passes", "drawn", "three passes against one", (joint,), three, world="drawn", share=third, seed=seed)
    yield Row(
        "drawn-truth", "drawn people, the other tasks' ground truth fed back", "drawn", "ground truth of the others: the upper bound",
        ("drawn-feedback-3", "drawn-joint"), three, world="drawn", told="truth", share=third,
    )  # fmt: skip
    yield Row("drawn-both", "drawn people, both labels of each picture", "drawn", "", (), three, two, "drawn_both", start="own")
    yield Row(
        "drawn-hybrid", "drawn people, one label of each picture", "drawn", "as many pictures with one label each instead of two",
        ("drawn-both",), three, two, "drawn_hybrid", start="own",
    )  # fmt: skip


def _plug(task: str) -> Iterator[Row]:
    three = {"passes": 3}
    yield Row("plug-none", "trained on, nothing plugged in", "plug", "", (), three, start=FEEDBACK, plug="none")
    yield Row("plug-frozen", f"{task} plugged in, convolutions frozen", "plug", "what the old tasks lose", (FEEDBACK,), three, start=FEEDBACK, plug="frozen")
    yield Row("plug-joint", f"{task} plugged in, all trained on", "plug", "what the old tasks lose or gain", ("plug-none", FEEDBACK), three, start=FEEDBACK, plug="joint")
