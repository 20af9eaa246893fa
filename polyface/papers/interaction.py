"""What it gives a network of all tasks that they see each other's answers (`models/interaction.py`), and what it costs: `polyface reproduce interaction`.

**The arms** (ARMS), each with every seed of the scale, made from the joint run of `transfer` (its recipe, sets, questions and scored faces):

    none              the network as it is
    fusion            the heads look again, with all answers drawn into the maps that they read
    feedback          so does the trunk, from its second stage on
    wider-fusion      none, widened until it multiplies as often as fusion: equal compute
    wider-feedback    none, as wide as feedback costs

All see equally many pictures in equally many steps. Nothing is chosen along the way, and verdicts are given on test splits as `transfer_effects` gives them: all seeds
agree, an interval over seeds and test people leaves 0 out, p by Holm over the table is below 5 %. An interaction is worth
its cost where it beats the network widened to it.

OUT/<arm>-seed<n>/ is a run, done where it has a result.json; one that was cut off goes on. OUT/interaction.html and OUT/findings.json are written anew after each.
"""

import json
import time
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
import numpy as np

from polyface import datasets, page, runtime
from polyface.errors import RequestError, nearest
from polyface.evaluation.report import commit
from polyface.files import write_atomically
from polyface.models.export import to_onnx
from polyface.models.polyface import ModelConfig, build
from polyface.models.sizes import closest, parameters_of
from polyface.papers.ifan_compute import multiplications
from polyface.papers.transfer import GROUPS, QUESTIONS, SCALES, joint_run
from polyface.papers.transfer_effects import Contrast, Found, Result, judge, measure, read_result
from polyface.papers.transfer_page import verdict_rows
from polyface.papers.transfer_runs import Bench, Run
from polyface.synth.write import write_once
from polyface.training import config as recipes
from polyface.training.config import Config

ARMS = ("none", "fusion", "feedback", "wider-fusion", "wider-feedback")
ASKED = (
    ("feedback", "wider-feedback"), ("fusion", "wider-fusion"), ("feedback", "none"), ("fusion", "none"), ("feedback", "fusion"),
)  # fmt: skip
"""Which arm is compared with which."""
PAGE, FINDINGS, COSTS = "interaction.html", "findings.json", "costs.json"
STEP = 1 / 32
"""By which widths grow until multiplications are equal, in widths of the recipe."""
Report = Callable[[int, int, str], None]
"""report(runs done, runs in all, which run it is and how far)."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Of one face, all tasks answered. milliseconds: of the ONNX file, one face at once on one thread, the quickest of a few."""

    multiplications: int
    parameters: int
    milliseconds: float


def reproduce(scale: str, data: Path | None, out: Path, only: str | None = None, report: Report | None = None) -> list[Found]:
    """Do the runs that are not done yet, all or those of an arm, or one, and say what came out of all that are.

    Raises RequestError for an unknown name, sets that are not at hand, and a run in OUT that another recipe made.
    """
    if scale not in SCALES:
        raise RequestError(f"no scale {scale!r}{nearest(scale, SCALES)}")
    chosen, base = SCALES[scale], recipes.load(SCALES[scale].recipe)
    runs = runs_of(base, chosen.seeds)
    names = [run.name for run in runs]
    if only is not None and only not in ARMS and only not in names:
        raise RequestError(f"no arm or run {only!r}{nearest(only, [*ARMS, *names])}")
    for run in runs:
        run.refuse_other_recipe(out)
    results = _results(out, names)
    wanted = [run for run in runs if run.name not in results and only in (None, run.name, arm_of(run.name))]
    if wanted:
        folder = write_once(chosen.drawn, out / "data") if chosen.drawn else datasets.data_folder(data)
        bench = Bench(wanted, folder, out, chosen.most)
        costs = _costs(base, out)
        for run in wanted:
            bench.do(run, partial(_say, report, len(results), len(runs)))
            results = _results(out, names)  # another process may have done some meanwhile
            found = _write(out, scale, base, chosen.seeds, results, costs)
    return found if wanted else _write(out, scale, base, chosen.seeds, results, _costs(base, out))


def _results(out: Path, names: Sequence[str]) -> dict[str, Result]:
    """Of the runs that are done, by name."""
    return {name: result for name in names if (result := read_result(out / name / "result.json")) is not None}


# The runs


def runs_of(base: Config, seeds: Sequence[int]) -> list[Run]:
    """Seed after seed, so that the first says something early."""
    networks = networks_of(base)
    return [_run(joint_run(base, seed), arm, networks[arm]) for seed in seeds for arm in ARMS]


def networks_of(base: Config) -> dict[str, ModelConfig]:
    """By arm."""
    model = joint_run(base).config.model
    fusion, feedback = (msgspec.structs.replace(model, interaction=kind) for kind in ("fusion", "feedback"))
    wider = {f"wider-{other.interaction}": matched(model, other, base.crop.size) for other in (fusion, feedback)}
    return {"none": model, "fusion": fusion, "feedback": feedback, **wider}


def matched(model: ModelConfig, other: ModelConfig, size: int) -> ModelConfig:
    """All widths scaled alike until it multiplies as often as the other: the nearest."""

    def scaled(factor: float) -> ModelConfig:
        stem, fine, hidden, *widths = (round(factor * width) for width in (model.stem, model.fine, model.hidden, *model.widths))
        return msgspec.structs.replace(model, stem=stem, fine=fine, hidden=hidden, widths=tuple(widths))

    def cost(each: ModelConfig) -> int:
        return multiplications(build(each, {}), size)

    return closest(map(scaled, count(1.0, STEP)), cost, cost(other))


def arm_of(name: str) -> str:
    return name.rpartition("-seed")[0]


def _named(arm: str, seed: int) -> str:
    return f"{arm}-seed{seed}"


def _run(joint: Run, arm: str, network: ModelConfig) -> Run:
    return Run(_named(arm, joint.config.seed), msgspec.structs.replace(joint.config, model=network), joint.questions)


def _say(report: Report | None, done: int, runs: int, words: str) -> None:
    if report is not None:
        report(done, runs, words)


# What it costs


def _costs(base: Config, out: Path) -> dict[str, Cost]:
    """By arm, measured once."""
    path = out / COSTS
    if not path.exists():
        found = {arm: cost_of(network, base.crop.size) for arm, network in networks_of(base).items()}
        write_atomically(path, msgspec.json.encode(found))
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Cost])


def cost_of(network: ModelConfig, size: int) -> Cost:
    """What it has learned changes nothing about it."""
    model = build(network, {}).eval()
    session, crop, took = runtime.session(to_onnx(model, size), 1), np.zeros((1, size, size, 3), np.uint8), []
    for _ in range(10):
        began = time.perf_counter()
        session.run(None, {"crops": crop})
        took.append(time.perf_counter() - began)
    return Cost(
        multiplications=multiplications(model, size),
        parameters=parameters_of(model),
        milliseconds=round(1000 * min(took), 3),
    )


# What came out


def contrasts_of(seeds: Sequence[int], done: Container[str]) -> list[Contrast]:
    """Of the seeds that are done of both arms; of all, whose runs are then named as missing, where none is."""
    contrasts = []
    for given, without in ASKED:
        pairs = [(_named(given, seed), _named(without, seed)) for seed in seeds]
        whole = [pair for pair in pairs if all(name in done for name in pair)] or pairs
        ours, theirs = (tuple(names) for names in zip(*whole, strict=True))
        contrasts += [Contrast(question.name, f"{given} against {without}", "total", ours, theirs) for question in QUESTIONS]
    return contrasts


def score_rows(results: Mapping[str, Result], seeds: Sequence[int]) -> list[dict[str, object]]:
    """Each question on its test split, the mean of the seeds that are done, by arm."""
    rows = []
    for question in QUESTIONS:
        row: dict[str, object] = {"question": question.name}
        for arm in ARMS:
            outcomes = [results[name].test[question.name] for seed in seeds if (name := _named(arm, seed)) in results]
            row |= {"measure": f"{outcomes[0].dataset}, {outcomes[0].metric}"} if outcomes else {}
            row[arm] = round(float(np.mean([outcome.mean for outcome in outcomes])), 2) if outcomes else None
        rows.append(row)
    return rows


def cost_rows(costs: Mapping[str, Cost], results: Mapping[str, Result]) -> list[dict[str, object]]:
    rows = []
    for arm, cost in costs.items():
        took = [result.seconds for name, result in results.items() if arm_of(name) == arm]
        rows.append({
            "arm": arm, "million multiplications a face": round(cost.multiplications / 1e6, 1), "parameters": cost.parameters,
            "ms a face (ONNX, one thread)": cost.milliseconds, "training, s": round(float(np.mean(took)), 1) if took else None,
        })  # fmt: skip
    return rows


def _write(out: Path, scale: str, base: Config, seeds: Sequence[int], results: Mapping[str, Result], costs: Mapping[str, Cost]) -> list[Found]:
    """Raises RequestError where no run is done."""
    if not results:
        raise RequestError(f"{out}: no run is done yet, so there is nothing to put on a page")
    found = judge(measure(contrasts_of(seeds, results), results, "test"), len(seeds))
    missing = [name for seed in seeds for arm in ARMS if (name := _named(arm, seed)) not in results]
    scored, asked, cost = score_rows(results, seeds), verdict_rows(found), cost_rows(costs, results)
    how = {"scale": scale, "commit": commit(), "steps": base.steps, "batch": base.batch, "seeds": seeds, "missing": missing}
    write_atomically(out / FINDINGS, json.dumps({**how, "scores": scored, "verdicts": asked, "costs": cost}, indent=1) + "\n")
    tables = {"scores": page.table(scored, caption="Test splits, seeds together."), "asked": page.table(asked), "cost": page.table(cost)}
    body = page.render(BODY, **tables, base=base, missing=missing, groups=GROUPS, scale=scale, commit=commit() or "not known")
    write_atomically(out / PAGE, page.page("Tasks that see each other's answers", body))
    return found


BODY = """\
{% if base.drawings %}<p>Drawn people and next to no network: this page shows that the experiment runs, and nothing about faces.</p>{% endif %}
<p>One network answers {{ groups.values() | map("length") | sum }} questions. Does it gain when the answers of a first pass are drawn as maps and given back to it, and is
that more than as many multiplications give without? Every run sees {{ base.steps * base.batch }} pictures.</p>
{% if missing %}<p>{{ missing | length }} runs are not done: {{ missing | join(", ") }}.</p>{% endif %}
<h2>What each arm reaches</h2>
{{ scores }}
<h2>What it costs</h2>
{{ cost }}
<h2>Verdicts</h2>
<p>Above 0 is a gain of the first arm, in the metric's own unit, on test splits.</p>
{{ asked }}
<p>polyface reproduce interaction --scale {{ scale }}; commit {{ commit }}</p>
"""
