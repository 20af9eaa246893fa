"""What tasks give each other: `polyface reproduce transfer`.

**The question.** One network learns from pictures that each answer only some questions. Does a question gain or lose by the others in it?

**The groups** (GROUPS): who it is; age, gender, race; expression; attributes; points, parsing, pose. Each set of the base recipe (`recipes/transfer.toml`) serves one
group, so that to leave a group out takes away its pictures, its heads and its losses, and nothing else. In a batch of the joint run all groups have as many rows.

**The runs**, by part (PARTS). Each is a recipe made from the base recipe, and has a folder OUT/<run> with that recipe, its log, and `result.json`, which says it is done.

- `screen`, one seed: all groups together, each alone, all but one; the last two counted both ways (COUNTINGS):
    - `total`, equal passes in all: every run sees as many pictures, steps x batch. Who is left out leaves room to the others. It asks how a given time is best spent.
    - `own`, equal passes of a question's own pictures: every run takes as many steps, and its groups have as many rows in a batch as in the joint run. The rows of who is
      left out are not there, the batch is smaller. It asks what others' pictures give beside one's own, at whatever cost. (Fewer steps with full batches would be as many
      passes too, but the joint run would win by its number of updates alone.)
- `seeds`: the pairs (question, group left out) that matter most, both ways of counting, with further seeds. They are the surest of the screen, on validation.
- `grain`: what it gives to take a coarse word as the set of answers it leaves possible, against what else is done with such words (`transfer_grain.py`); all seeds.
- `long`: the first of those pairs once more, one seed, with many times the passes. Does the sign that minutes gave survive?

**What may be said.** Everything is chosen on validation: the pairs, and with them the long run. Nothing is chosen inside a run: no best checkpoint, the last mean of the
weights counts. Verdicts are given on test splits, of which no near-copy was trained on: all seeds agree, an interval over seeds and test people drawn together leaves 0
out, and p by Holm over the table of verdicts is below 5 % (`transfer_effects.py`).

**The scales.** `small`, on real sets: by plan two and a half minutes a run on two cores, half an hour for each of the long ones, under three hours in all. `smoke`, on
drawn people: a minute, whether everything runs, and nothing about what it finds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from polyface import datasets, tasks
from polyface.errors import RequestError, nearest
from polyface.files import write_atomically
from polyface.papers.transfer_effects import Contrast, Found, Result, judge, measure, read_result, strongest
from polyface.papers.transfer_grain import GRAINS, Grain
from polyface.papers.transfer_page import Findings, page_of
from polyface.papers.transfer_runs import Bench, Question, Run
from polyface.synth.write import write_once
from polyface.tasks.kinds import Task
from polyface.training import config as recipes
from polyface.training.config import Config, Data

GROUPS: Mapping[str, tuple[Task, ...]] = {
    "identity": (tasks.identity,),
    "demography": (tasks.age, tasks.gender, tasks.race),
    "expression": (tasks.expression,),
    "attributes": (tasks.attributes,),
    "geometry": (tasks.landmarks, tasks.parsing, tasks.pose),
}
QUESTIONS = (
    Question("identity", tasks.identity, validation="celeba", test="lfw"),
    Question("age", tasks.age, "utkface", "utkface"),
    Question("gender", tasks.gender, "fairface", "fairface"),
    Question("race", tasks.race, "fairface", "fairface"),
    Question("expression", tasks.expression, "rafdb", "rafdb"),
    Question("attributes", tasks.attributes, "celeba", "celeba"),
    Question("landmarks", tasks.landmarks, "helen", "helen"),
    Question("parsing", tasks.parsing, "celebamask", "celebamask"),
    Question("pose", tasks.pose, "mtfl", "mtfl"),
)
COUNTINGS = ("total", "own")
PAGE = "transfer.html"
PARTS = ("screen", "seeds", "grain", "long")


@dataclass(frozen=True)
class Scale:
    """How much of it. pairs: how many get further seeds; longer: passes of the long runs, grain: of those about grain, in those of a run; most: scored faces of a
    split; drawn: sets to draw, as (set, layout, people, photos)."""

    recipe: str
    seeds: tuple[int, ...]
    pairs: int
    longer: float
    grain: float
    most: int
    drawn: tuple[tuple[str, str, int, int], ...] = ()


SCALES: Mapping[str, Scale] = {
    "small": Scale("transfer", seeds=(1, 2, 3), pairs=3, longer=12.0, grain=0.5, most=1000),
    "smoke": Scale(
        "transfer_smoke", seeds=(1, 2), pairs=1, longer=2.0, grain=1.0, most=40,
        drawn=(
            ("utkface", "utkface", 80, 1), ("fairface", "fairface", 40, 2), ("rafdb", "rafdb", 20, 3), ("celeba", "celeba", 20, 3),
            ("celebamask", "celebamask", 40, 1), ("helen", "300w", 30, 1), ("mtfl", "mtfl", 60, 1), ("lfw", "lfw", 8, 3),
        ),
    ),
}  # fmt: skip


# The runs


def screen_runs(base: Config) -> list[Run]:
    runs = [joint_run(base)]
    for counting in COUNTINGS:
        runs += [alone_run(base, group, counting) for group in GROUPS]
        runs += [minus_run(base, group, counting) for group in GROUPS]
    return runs


def seed_runs(base: Config, seeds: Sequence[int], pairs: Sequence[Found]) -> list[Run]:
    groups = list(dict.fromkeys(pair.contrast.group for pair in pairs))
    return [run for seed in seeds[1:] for run in (joint_run(base, seed), *(minus_run(base, group, counting, seed) for counting in COUNTINGS for group in groups))]


def grain_runs(base: Config, scale: Scale) -> list[Run]:
    return [
        Run(_name(f"grain-{grain.name}-{arm}", seed), _grain_config(base, grain, scale.grain, seed), grain.questions, change)
        for seed in scale.seeds
        for grain in grains_of(scale)
        for arm, change in (("set", None), ("otherwise", grain.otherwise))
    ]


def long_runs(base: Config, longer: float, pair: Found) -> list[Run]:
    return [joint_run(base, times=longer), minus_run(base, pair.contrast.group, pair.contrast.counting, times=longer)]


def joint_run(base: Config, seed: int = 1, times: float = 1.0) -> Run:
    return _run(base, "all", tuple(GROUPS), "own", seed, times)


def alone_run(base: Config, group: str, counting: str) -> Run:
    return _run(base, f"alone-{group}-{counting}", (group,), counting, seed=1)


def minus_run(base: Config, group: str, counting: str, seed: int = 1, times: float = 1.0) -> Run:
    return _run(base, f"minus-{group}-{counting}", tuple(other for other in GROUPS if other != group), counting, seed, times)


def grains_of(scale: Scale) -> tuple[Grain, ...]:
    """All of them, but on drawings that of FASSEG, which nobody draws."""
    return tuple(grain for grain in GRAINS if not scale.drawn or "fasseg" not in grain.sets)


def _run(base: Config, name: str, groups: Sequence[str], counting: str, seed: int, times: float = 1.0) -> Run:
    """The sets, tasks and losses of some groups; counted in total, their rows fill the batch in the same proportions."""
    data = tuple(entry for entry in base.data if group_of(entry) in groups)
    batch = base.batch if counting == "total" else round(sum(entry.weight for entry in data))
    chosen = [task.name for group in groups for task in GROUPS[group]]
    questions = tuple(question for question in QUESTIONS if question.task.name in chosen)
    return Run(_name(name, seed, times), _config(base, data, batch, chosen, seed, times), questions)


def _grain_config(base: Config, grain: Grain, times: float, seed: int) -> Config:
    known = {entry.set: entry for entry in base.data if grain.task.name in (entry.tasks or ())}
    data = tuple(msgspec.structs.replace(known.get(name, Data(set=name, tasks=(grain.task.name,))), weight=share * base.batch) for name, share in grain.sets.items())
    return _config(base, data, base.batch, [grain.task.name], seed, times)


def _config(base: Config, data: tuple[Data, ...], batch: int, chosen: Sequence[str], seed: int, times: float) -> Config:
    model = msgspec.structs.replace(base.model, tasks=tuple(chosen))
    losses = {name: weight for name, weight in base.losses.items() if name in chosen}
    return msgspec.structs.replace(base, data=data, batch=batch, steps=round(base.steps * times), seed=seed, model=model, losses=losses)


def _name(name: str, seed: int, times: float = 1.0) -> str:
    return f"{name}-seed{seed}" + ("-long" if times > 1 else "")


def group_of(entry: Data) -> str:
    """The group that a set of the base recipe serves. Raises RequestError for one that serves two, or says not whom."""
    serving = [group for group, its_tasks in GROUPS.items() if {task.name for task in its_tasks} & set(entry.tasks or ())]
    if len(serving) != 1:
        raise RequestError(f"{entry.set}: each set of this recipe serves one group of tasks, and names them")
    return serving[0]


# What is asked of the results


def screen_contrasts() -> list[Contrast]:
    """What each left-out group gives to each question, and what all others together give."""
    contrasts = []
    for counting in COUNTINGS:
        for question in QUESTIONS:
            own = next(group for group, its_tasks in GROUPS.items() if question.task in its_tasks)
            contrasts.append(Contrast(question.name, "all others", counting, (_name("all", 1),), (_name(f"alone-{own}-{counting}", 1),)))
            contrasts += [_pair(question.name, group, counting, (1,)) for group in GROUPS if group != own]
    return contrasts


def pair_contrasts(pairs: Sequence[Found], seeds: Sequence[int]) -> list[Contrast]:
    return [_pair(pair.contrast.question, pair.contrast.group, counting, seeds) for pair in pairs for counting in COUNTINGS]


def grain_contrasts(scale: Scale) -> list[Contrast]:
    def runs(grain: Grain, arm: str) -> tuple[str, ...]:
        return tuple(_name(f"grain-{grain.name}-{arm}", seed) for seed in scale.seeds)

    return [Contrast(question.name, grain.words, "total", runs(grain, "set"), runs(grain, "otherwise")) for grain in grains_of(scale) for question in grain.questions]


def long_contrast(pair: Found, longer: float) -> Contrast:
    return _pair(pair.contrast.question, pair.contrast.group, pair.contrast.counting, (1,), longer)


def _pair(question: str, group: str, counting: str, seeds: Sequence[int], times: float = 1.0) -> Contrast:
    given, without = ([_name(name, seed, times) for seed in seeds] for name in ("all", f"minus-{group}-{counting}"))
    return Contrast(question, group, counting, tuple(given), tuple(without), group)


# Doing it


@dataclass
class Experiment:
    """A scale with its base recipe and the results so far: which runs there are, which are to be done, what they say."""

    scale: Scale
    base: Config
    results: dict[str, Result]
    _pairs: list[Found] = field(default_factory=list)

    def runs(self) -> dict[str, list[Run]]:
        """By part; those of `seeds` and `long` are known when the screen is done."""
        pairs = self.pairs()
        return {
            "screen": screen_runs(self.base),
            "seeds": seed_runs(self.base, self.scale.seeds, pairs) if pairs else [],
            "grain": grain_runs(self.base, self.scale),
            "long": long_runs(self.base, self.scale.longer, pairs[0]) if pairs else [],
        }

    def pairs(self) -> list[Found]:
        """The pairs that matter most, chosen on validation; none before the screen is done."""
        if not self._pairs and all(run.name in self.results for run in screen_runs(self.base)):
            self._pairs = strongest(measure(screen_contrasts(), self.results, "validation"), self.scale.pairs)
        return self._pairs

    def wanted(self, only: str | None) -> list[Run]:
        """The runs that are to be done and can be, in order. Raises RequestError for a name that is none of a part or a run."""
        parts = self.runs()
        names = [run.name for runs in parts.values() for run in runs]
        if only is not None and only not in PARTS and only not in names:
            raise RequestError(f"no part or run {only!r}{nearest(only, [*PARTS, *names])}; runs of seeds and long are known when the screen is done")
        if only in PARTS and not parts[only]:
            raise RequestError(f"{only}: which pairs matter most is not known before the screen is done; --only screen does that")
        chosen = [run for part in PARTS for run in parts[part] if only in (None, part, run.name)]
        return [run for run in chosen if run.name not in self.results]

    def findings(self) -> Findings:
        pairs, seeds = self.pairs(), self.scale.seeds
        asked = pair_contrasts(pairs, seeds), grain_contrasts(self.scale)  # seeds may scatter otherwise in the one than in the other
        verdicts = judge([found for contrasts in asked for found in measure(contrasts, self.results, "test")], len(seeds))
        longer = measure([long_contrast(pair, self.scale.longer) for pair in pairs[:1]], self.results, "test")
        parts = self.runs()
        return Findings(
            questions=tuple(question.name for question in QUESTIONS),
            groups={group: tuple(task.name for task in its_tasks) for group, its_tasks in GROUPS.items()},
            sets={group: {entry.set: entry.weight for entry in self.base.data if group_of(entry) == group} for group in GROUPS},
            screen=measure(screen_contrasts(), self.results, "validation"),
            pairs=tuple(pairs),
            verdicts=verdicts,
            longer=longer,
            times=self.scale.longer,
            runs={part: [run.name for run in runs] for part, runs in parts.items()},
            results=self.results,
            steps=self.base.steps,
            batch=self.base.batch,
            seeds=seeds,
            drawings=self.base.drawings,
        )


Report = Callable[[int, int, str], None]
"""report(runs done, runs known, which run it is and how far)."""


def reproduce(scale: str, data: Path | None, out: Path, only: str | None = None, report: Report | None = None) -> Findings:
    """Do the runs that are not done yet, all or only a part or a run, and write OUT/transfer.html (PAGE) from all that are.

    Raises RequestError for an unknown name, sets that are not at hand, and a run in OUT that another recipe made.
    """
    if scale not in SCALES:
        raise RequestError(f"no scale {scale!r}{nearest(scale, SCALES)}")
    chosen = SCALES[scale]
    experiment = Experiment(chosen, recipes.load(chosen.recipe), dict(_results_in(out)))
    wanted, every = experiment.wanted(only), [run for runs in experiment.runs().values() for run in runs]
    for run in every:
        run.refuse_other_recipe(out)
    try:
        if wanted:
            folder = write_once(chosen.drawn, out / "data") if chosen.drawn else datasets.data_folder(data)
            bench = Bench(every if only is None else wanted, folder, out, chosen.most)
            for run in _pending(experiment, only):
                experiment.results[run.name] = bench.do(run, partial(_say, report, experiment))
    except BaseException:  # interrupted, out of disk: the page has what is done
        if experiment.results:
            _write_page(experiment, out, scale)
        raise
    return _write_page(experiment, out, scale)


def _say(report: Report | None, experiment: Experiment, words: str) -> None:
    if report is not None:
        report(len(experiment.results), sum(map(len, experiment.runs().values())), words)


def _write_page(experiment: Experiment, out: Path, scale: str) -> Findings:
    findings = experiment.findings()
    write_atomically(out / PAGE, page_of(findings, f"polyface reproduce transfer --scale {scale}"))
    return findings


def _pending(experiment: Experiment, only: str | None) -> Iterator[Run]:
    """Run after run; which there are may depend on those before."""
    while wanted := experiment.wanted(only):
        yield wanted[0]


def _results_in(out: Path) -> Iterator[tuple[str, Result]]:
    for path in sorted(out.glob("*/result.json")):
        found = read_result(path)
        if found is not None:
            yield path.parent.name, found
