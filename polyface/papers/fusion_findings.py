"""All that was found in the worlds of paper A, as the page shows it and, in findings.json, for machines: every number of the page, with its interval."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from polyface.papers import fusion_claims as claims
from polyface.papers import fusion_statistics as statistics
from polyface.papers.fusion_claims import Claim, Judged
from polyface.papers.fusion_config import SplitName
from polyface.papers.fusion_controls import RANDOM, Control, Random
from polyface.papers.fusion_heads import CELL
from polyface.papers.fusion_networks import AT_CHANCE
from polyface.papers.fusion_pictures import IDENTITY, counts, joint_groups, subset
from polyface.papers.fusion_runs import Bench, Tables
from polyface.papers.fusion_statistics import Answers, Estimate
from polyface.papers.fusion_strangers import Strangers


@dataclass(frozen=True)
class World:
    """All that is known of a world. moment: when split `paper` was read a second time, or why not; missing: what the page was to find and is not there."""

    bench: Bench
    tables: Mapping[tuple[SplitName, str], Tables]
    random: Mapping[tuple[SplitName, str], Random]
    controls: Sequence[Control]
    model: Path
    moment: str = ""
    missing: Sequence[str] = ()
    speeds: Sequence[Mapping[str, Any]] = field(default_factory=list)
    heads_seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.bench.pictures.name

    @property
    def controlled(self) -> Tables | None:
        """The tables of the split in which the controls were made."""
        return self.tables.get((self.bench.config.controls, "end"))

    @cached_property
    def judged(self) -> dict[tuple[SplitName, str], Judged]:
        """The claims of all tables."""
        return {moment: claims.judge(tables) for moment, tables in self.tables.items()}

    @cached_property
    def of_random(self) -> dict[tuple[SplitName, str], list[Claim]]:
        """What random groups say."""
        return {(split, task): claims.judge_random(self.tables[split, "end"], each) for (split, task), each in self.random.items()}

    @cached_property
    def of_controls(self) -> list[Claim]:
        """What the controls answer."""
        return [] if self.controlled is None else claims.judge_controls(self.controlled, self.controls)


def findings(scale: str, worlds: Sequence[World], strangers: Strangers | None) -> dict[str, object]:
    """For JSON."""
    made: dict[str, object] = {"scale": scale, **{world.name: _world(world) for world in worlds}}
    return made if strangers is None else {**made, "strangers": _strangers(strangers)}


# What must be known beside the numbers


def classes(world: World, split: SplitName) -> dict[str, dict[str, int]]:
    """{task: {class: people, or pictures where every picture has an answer of its own}}: the classes that a split keeps."""
    pictures, labels = world.bench.pictures, world.bench.splits(split)[0].labels
    step = world.bench.config.variants
    return {each.name: counts(pictures, each.name, labels[each.name][::step], pictures.people) for each in pictures.questions if not each.beside}


def remarks(world: World, tables: Tables) -> list[str]:
    """Where a table is of other questions than the paper's, which stands beside it; and where a mean is of heads some of which learned nothing."""
    made = []
    kept = classes(world, tables.split)
    whole = {each.name: each for each in world.bench.pictures.questions}
    for task in (task for task in tables.targets if task in claims.CLASSES):
        words = world.bench.pictures.names if task == IDENTITY else tuple(kept[task])
        if len(words) != claims.CLASSES[task]:
            named = "people" if task == IDENTITY else f"classes ({', '.join(words)})"
            made.append(f"{task} has {len(words)} {named} here, {claims.CLASSES[task]} in the paper: chance is another")
        if task != IDENTITY and (gone := [word for word in whole[task].classes if word not in words]):
            made.append(f"{task}: {', '.join(gone)} left out, with too few people for this split, or none")
    if own := [task for task in tables.targets if task not in claims.CLASSES]:
        made.append(f"{', '.join(own)}: not asked in the paper")
    if (count := len(tables.tasks)) != len(claims.TASKS):
        made.append(f"'all' joins {count} features here ({', '.join(tables.tasks)}), 4 in the paper; 'all but the own' {count - 1}, 3 in the paper")
    if left_out := [name for name in world.bench.extra if name not in tables.extra]:
        made.append(f"your own features ({', '.join(left_out)}) are left out here: they are of a picture, and nearly every test picture has a variant in training")
    for cell, times in tables.one_answer.items():
        target, features, merge = cell.split(CELL)
        if features == "+".join(tables.tasks):
            made.append(f"{target} from all features, {merge}: {times} of {len(tables.seeds[cell])} heads gave every test row the same answer")
    return made


def unequal_steps(world: World) -> str:
    """Where networks of one split were trained longer than those of another, splits differ in that too; empty where all are equal."""
    steps = {split: world.bench.training(world.bench.splits(split)[0]).steps for split, moment in world.tables if moment == "end"}
    if len(set(steps.values())) < 2:
        return ""
    said = ", ".join(f"{count:,} in split {split}" for split, count in steps.items())
    return f"Networks did not take equally many steps: {said}. Some of what is between these splits may be that."


def unlearned(world: World) -> list[str]:
    """Networks that ended about where the constant answer is, so that what is made of their features says nothing. Those of random groups may well end there."""
    found = []
    for row in world.speeds:
        tables = world.tables.get((row["split"].split("-")[0], "end"))
        for task, value in row["accuracy"].items() if tables is not None and RANDOM not in str(row["network"]) else ():
            constant = tables.constants[task].accuracy if task in tables.constants else None  # type: ignore[union-attr]
            if constant is not None and value is not None and value - constant < AT_CHANCE * (1 - constant):
                found.append(f"{row['split']}/{row['network']} ({task} {100 * value:.1f} %, the constant answer {100 * constant:.1f} %)")
    return found


@dataclass(frozen=True)
class Sure:
    """Table 2 over the people whose groups have a share of 0.8 or more. groups: how many are in each joint group; said: what cannot be told apart among them."""

    tables: Tables
    people: int
    groups: Mapping[str, int]
    said: tuple[str, ...]


def sure(world: World) -> Sure | None:
    """In split `image`; None where all groups are certain."""
    pictures, tables = world.bench.pictures, world.tables.get(("image", "end"))
    if pictures.sure is None or tables is None or not pictures.sure.any():
        return None
    few = subset(pictures, np.flatnonzero(pictures.sure).tolist())
    first = np.unique(few.people, return_index=True)[1]
    names, groups = joint_groups(few)
    asked = {each.name: few.labels[each.name][first] for each in few.questions if each.of_person and not each.beside}
    said = [f"{name} has one class among them: there is nothing to tell" for name, each in asked.items() if len(set(each.tolist())) == 1]
    for (one, ours), (other, theirs) in combinations(asked.items(), 2):
        if 1 < len(set(zip(ours.tolist(), theirs.tolist(), strict=True))) == len(set(ours.tolist())) == len(set(theirs.tolist())):
            said.append(f"{one} and {other} are one question among them: who is in one class of the one is in one class of the other")
    by_group = Counter(names[group] for group in groups[first])
    return Sure(tables.only(pictures.sure[world.bench.people]), len(few.names), dict(by_group.most_common()), tuple(said))


# For machines


def _world(world: World) -> dict[str, object]:
    pictures, controlled, certain = world.bench.pictures, world.controlled, sure(world)
    made: dict[str, object] = {
        "pictures": len(pictures.keys), "people": len(pictures.names), "strength": world.bench.strength, "notes": list(pictures.notes), "moment": world.moment,
        "steps": unequal_steps(world), "unlearned": unlearned(world), "missing": list(world.missing),
    }  # fmt: skip
    for (split, moment), tables in world.tables.items():
        made[f"{split} {moment}"] = _split(world, tables)
    if certain is not None:
        made["sure"] = {"people": certain.people, "groups": dict(certain.groups), "said": list(certain.said), **_table_2(certain.tables)}
    made["random"] = {}
    for (split, task), each in world.random.items():
        accuracies = {"network": each.network, "own": each.own, "identity": each.identity}
        made["random"].setdefault(split, {})[task] = {  # type: ignore[attr-defined]
            **{name: statistics.accuracy(answers).told() for name, answers in accuracies.items()},
            "constant": statistics.accuracy(world.tables[split, "end"].constants[task]).told(),
            "claims": told(world.of_random[split, task]),
        }
    made["controls"] = {each.name: {target: _against(answers, target, controlled) for target, answers in each.answers.items()} for each in world.controls}
    made["control claims"] = told(world.of_controls)
    made["seconds"] = {"networks": sum(float(row["seconds"]) for row in world.speeds), "heads": world.heads_seconds}
    made["speeds"] = list(world.speeds)
    return made


def _split(world: World, tables: Tables) -> dict[str, object]:
    judged = world.judged[tables.split, tables.moment]
    return {
        "networks": _accuracies(tables.networks), "cells": _accuracies(tables.cells), "constants": _accuracies(tables.constants), "cka": tables.alike,
        **_table_2(tables),
        "merges": {merge: {target: _against(answers, target, tables) for target, answers in each.items()} for merge, each in claims.merges(tables).items()},
        "claims": told(judged.claims), "verdicts": dict(judged.verdicts), "step": tables.step,
        "shapley": {target: claims.shapley_of(tables, target) for target in tables.targets},
        "classes": classes(world, tables.split), "remarks": remarks(world, tables),
        "seeds": {cell: {"accuracy": each, "spread": max(each) - min(each), "one answer": tables.one_answer.get(cell, 0)} for cell, each in tables.seeds.items()},
    }  # fmt: skip


def _table_2(tables: Tables) -> dict[str, object]:
    gains = claims.gains_of_fusion(tables)
    return {
        "table 2": {row.name: _accuracies(row.answers) for row in claims.rows_of_table_2(tables)},
        "gains": {what: {target: estimate.told() for target, estimate in each.items()} for what, each in gains.items()},
    }


def _strangers(found: Strangers) -> dict[str, object]:
    return {
        "cells": _accuracies(found.cells), "networks": _accuracies(found.networks), "constants": dict(found.constants), "claims": told(claims.judge_strangers(found)),
        "pairs": list(found.pairs),
    }  # fmt: skip


def told(found: Sequence[Claim]) -> list[dict[str, object]]:
    return [
        {"claim": each.claim, "target": each.target, "what": each.what, "verdict": each.verdict, **each.estimate.told(), "p by Holm": None if isnan(each.p) else each.p}
        for each in found
    ]


def _accuracies(answers: Mapping[str, Answers]) -> dict[str, dict[str, float | int | None]]:
    return {name: statistics.accuracy(each).told() for name, each in answers.items()}


def _against(answers: Answers, target: str, tables: Tables | None) -> dict[str, object]:
    """An accuracy, and how far it is above all features."""
    gap = above_all(answers, target, tables)
    return {**statistics.accuracy(answers).told(), "above all": None if gap is None else gap.told()}


def above_all(answers: Answers, target: str, tables: Tables | None) -> Estimate | None:
    """None for what is not in the tables, or is of other rows."""
    if tables is None or target not in tables.targets or not np.array_equal(answers.rows, tables.all(target).rows):
        return None
    return statistics.difference(answers, tables.all(target))
