"""The tables of paper B's page, as rows {column: value}: scores and compute, every comparison, controls, passes, MTFL by pose, plug and play."""

from collections.abc import Container, Mapping, Sequence

import numpy as np

from polyface.metrics.intervals import Score
from polyface.papers.ifan_claims import BNU, HELEN, Judged, listed, with_interval, with_interval_of
from polyface.papers.ifan_compute import training_multiplications
from polyface.papers.ifan_config import DRAWN
from polyface.papers.ifan_figures import numbers_of
from polyface.papers.ifan_rows import FEEDBACK, JOINT
from polyface.papers.ifan_runs import Curve, MeasureResult
from polyface.papers.ifan_samples import CONSTANT, sampled
from polyface.papers.ifan_statistics import Board, Found, effect_of

PARTS: Mapping[str, str] = {
    "ablation": "The ablation",
    "controls": "Controls",
    "fed": "What is fed back, and where it enters",
    "hybrid": "Hybrid training, sets as they are: photographs, and one of renders",
    "drawn": "Drawn people, whose every label is known",
    "plug": "Plug and play",
    "whole": "The best row, on whole test splits",
}
FEWER_DRAWS = 2000


# Scores


def score_rows(board: Board, part: str) -> list[dict[str, object]]:
    """Every planned row of a part, seeds together: the score of each task on its first set, what it costs, and what a constant answer scores at the end."""
    rows = [_score_row(board, name) for name in board.names if board.planned(name).part == part]
    if rows:
        rows.append(_constant_row(board, part))
    columns = dict.fromkeys(column for row in rows for column in row if column != "seeds" or part in ("ablation", "drawn"))
    return [{column: row.get(column) for column in columns} for row in rows]


def _score_row(board: Board, name: str) -> dict[str, object]:
    planned, done = board.planned(name), board.done(name)
    row: dict[str, object] = {"row": planned.title, "seeds": f"{len(done)} of {len(board.names[name])}"}
    on = _on(planned.world)
    for task in board.config.tasks:
        measure = next((each for each in board.measures(task, on) if any(each in result.scores for result in done)), None)
        row[_headed(board, task, on)] = None if measure is None else _score(board, name, measure) + _elsewhere(board, task, measure, on)
    if not done:
        return row | {_headed(board, task, on): "not run" for task in planned.tasks or board.config.tasks}
    compute = done[0].compute
    return row | {
        "million multiplications a face": round(compute.multiplications / 1e6, 1),
        "ms a face": round(1000 * compute.seconds_per_face, 2),
        "training, 10\u00b9\u00b2 multiplications": round(training_multiplications(board.config, planned, done[0]) / 1e12, 2) or None,
        "training, s": round(float(np.mean([each.seconds for each in done]))),
    }


def _score(board: Board, name: str, measure: str) -> str:
    """With its interval, and whether it is no better than a constant answer."""
    score = with_interval_of(_over_seeds(board, name, measure))
    return score + (NOT_BEATEN if score and board.beats_constant(_seeds(board, name), measure) is False else "")


NOT_BEATEN = " \u25cb"
"""Beside a score that does not beat the constant answer."""


def _constant_row(board: Board, part: str) -> dict[str, object]:
    """What answers the same for every face, on the faces that the rows of a part are scored on."""
    row: dict[str, object] = {"row": CONSTANT}
    names = [each.name for each in board.plan if each.part == part and each.name in board.results] or list(board.results)
    on = _on(part)
    for task in board.config.tasks:
        measure = next((each for each in board.measures(task, on) if board.constant(names, each)), None)
        row[_headed(board, task, on)] = with_interval_of(board.constant(names, measure)) + _elsewhere(board, task, measure, on) if measure else "not known"
    return row


def constant_rows(board: Board) -> list[dict[str, object]]:
    """Of every headline measure: the constant answer, what it scores, and which rows are no better."""
    rows: list[dict[str, object]] = []
    tasks = [*board.config.tasks, *([board.config.plug.name] if board.config.plug else [])]
    for task in tasks:
        for measure in board.measures(task):
            names = [name for name in board.names if any(measure in row.scores for row in board.done(name))]
            score, beaten = board.constant(list(board.results), measure), {name: board.beats_constant(_seeds(board, name), measure) for name in names}
            if score is None:
                rows.append({"task": task, "measure": told(board, measure), "always answered": "not known"})
                continue
            rows.append({
                "task": task, "measure": told(board, measure), "always answered": _answer(board, measure), "it scores": with_interval_of(score),
                "rows that beat it": f"{sum(map(bool, beaten.values()))} of {len(names)}",
                "rows that do not": ", ".join(name for name, beats in beaten.items() if not beats) or None,
            })  # fmt: skip
    return rows


def _answer(board: Board, measure: str) -> str:
    return next(same.answer for result in board.results.values() if measure in result.scores and (same := result.scores[measure].constant) is not None)


def _over_seeds(board: Board, name: str, measure: str) -> Score | None:
    return board.score(_seeds(board, name), measure)


def _seeds(board: Board, name: str) -> list[str]:
    return list(board.names.get(name, {}).values())


def _on(world: str) -> str:
    return DRAWN if world.startswith(DRAWN) else ""


def _headed(board: Board, task: str, on: str = "") -> str:
    first = next(iter(board.measures(task, on)), None)
    return f"{task}: {told(board, first)}" if first else task


def _elsewhere(board: Board, task: str, measure: str, on: str) -> str:
    return "" if measure == board.measures(task, on)[0] else f", {measure.split('/')[0]}"


def told(board: Board, measure: str) -> str:
    """A measure in words, with the direction that is better."""
    about = board.about(measure)
    return f"{measure.replace('/', ' ', 1)}, {about.unit} {'↑' if about.higher_is_better else '↓'}"


def every_score(board: Board) -> list[dict[str, object]]:
    """Every measure of every row that is done, each seed by itself, for a CSV."""
    made: list[dict[str, object]] = []
    for row in board.plan:
        result = board.results.get(row.name)
        for measure, found in (result.scores if result else {}).items():
            score = board.score([row.name], measure)
            known, same = {"low": score.low, "high": score.high} if score else {}, found.of_constant()
            made.append({
                "row": row.name, "part": row.part, "seed": row.seed, "task": found.task, "dataset": found.dataset, "metric": found.metric,
                "value": found.score(), **known,
                "constant answer": same.score() if same else None, "beats it": board.beats_constant([row.name], measure),
                "faces": len(found.people), "missed": sum(found.missed.values()), "faces (sha256)": found.sha256[:12],
            })  # fmt: skip
    return made


def wide_rows(board: Board) -> list[dict[str, object]]:
    """Rows by all measures, values only."""
    measures = list(dict.fromkeys(measure for result in board.results.values() for measure in result.scores))
    constants = {measure: score.value for measure in measures if (score := board.constant(list(board.results), measure)) is not None}
    same: dict[str, object] = {"row": CONSTANT, **{measure: constants.get(measure) for measure in measures}}
    return [same] + [
        {"row": row.name, **{measure: board.results[row.name].scores[measure].score() if measure in board.results[row.name].scores else None for measure in measures}}
        for row in board.plan
        if row.name in board.results
    ]


def compute_rows(board: Board) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for row in board.plan:
        if (result := board.results.get(row.name)) is not None:
            rows.append({
                "row": row.name, **{name: result.settings.get(name) for name in _settings(board)}, "steps": result.steps, "batch": result.batch,
                "pictures seen": ", ".join(f"{name} {count:,}" for name, count in result.samples.items()), "parameters": result.compute.parameters,
                "multiplications": result.compute.multiplications, "ms a face": 1000 * result.compute.seconds_per_face,
                "joint stage, multiplications": training_multiplications(board.config, row, result) or None,
                "at": f"{result.compute.batch} at once, {result.compute.threads} threads", "peak MB": result.compute.peak_memory, "training, s": result.seconds,
                "its start, s": result.shared_seconds or None, "scoring, s": result.scoring_seconds,
            })  # fmt: skip
    return rows


def _settings(board: Board) -> list[str]:
    return list(dict.fromkeys(name for result in board.results.values() for name in result.settings))


# Comparisons


def claim_rows(claims: Sequence[Judged]) -> list[dict[str, object]]:
    """Every comparison of a claim, and what is only asked besides."""
    return [{"claim": judged.claim.words, "comparison": found.comparison.words, **_found_row(found)} for judged in claims for found in judged.found]


def comparison_rows(board: Board, found: Sequence[Found], part: str) -> list[dict[str, object]]:
    """Those of the rows of a part; what is claimed of each is a gain."""
    words = {"holds": "gains", "fails": "loses"}
    titles = {name: board.planned(name).title for name in board.names}
    return [
        {"row": titles[each.comparison.given], "against": titles[each.comparison.without], "asked": each.comparison.words, **_found_row(each),
         "verdict": words.get(each.verdict, each.verdict)}
        for each in found if board.planned(each.comparison.given).part == part
    ]  # fmt: skip


def _found_row(found: Found) -> dict[str, object]:
    effect = found.effect
    return {
        "task": found.task,
        "measure": found.measure.replace("/", " ", 1),
        "verdict": found.verdict,
        "points better (95 %)": with_interval(effect) if effect else f"missing: {_some(found.missing)}",
        "each seed": ", ".join(f"{each:+.2f}" for each in effect.seeds) if effect and len(effect.seeds) > 1 else None,
        "p (Holm)": float(f"{found.adjusted:.2g}") if effect else None,
        "faces": effect.n if effect else None,
        "why": found.why or None,
    }


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def every_comparison_rows(board: Board, found: Sequence[Found]) -> list[dict[str, object]]:
    """For a CSV."""
    return [
        {"row": each.comparison.given, "against": each.comparison.without, "asked": each.comparison.words, "task": each.task, "measure": each.measure,
         "verdict": each.verdict, "why": each.why, "missing": " ".join(each.missing), **(numbers_of(each) if each.effect else {})}
        for each in found
    ]  # fmt: skip


def control_rows(board: Board, found: Sequence[Found]) -> list[dict[str, object]]:
    """Three passes and every row of the controls: points above one pass, and above three, of each task. If one gains as much without its own predictions, it is depth."""
    known = {(each.comparison.given, each.comparison.without, each.task, each.measure): each for each in found}
    rows: list[dict[str, object]] = []
    for name in [FEEDBACK, *(name for name in board.names if board.planned(name).part == "controls")]:
        if name in board.names:
            row: dict[str, object] = {"row": board.planned(name).title}
            for task in board.config.tasks:
                measure = next(iter(board.measures(task)), "")
                for other, words in ((JOINT, "above one pass"), (FEEDBACK, "above three passes")):
                    each = known.get((name, other, task, measure))
                    row[f"{_headed(board, task)}: {words}"] = with_interval(each.effect) or "not run" if each else None
            rows.append(row)
    return rows


# Pass by pass


def pass_rows(board: Board, parts: Container[str]) -> list[dict[str, object]]:
    """Of rows of some parts: the score of each task after every pass of one trained network, and what the last gives above the first, faces drawn."""
    rows: list[dict[str, object]] = []
    for row in board.plan:
        result = board.results.get(row.name)
        if result is None or result.passes < 2 or row.part not in parts:
            continue
        for task in result.tasks:
            measure = next((each for each in board.measures(task, _on(row.world)) if each in result.scores), None)
            if measure is not None:
                rows.append(_pass_row(row.title, measure, result.scores[measure]))
    longest = max((len(row) for row in rows), default=0)
    columns = next((list(row) for row in rows if len(row) == longest), [])
    return [{column: row.get(column) for column in [*columns[:2], *columns[3:], *columns[2:3]]} for row in rows]


def _pass_row(title: str, measure: str, found: MeasureResult) -> dict[str, object]:
    sample = sampled({str(at): (found, at) for at in range(len(found.values))}, FEWER_DRAWS)
    row: dict[str, object] = {"row": title, "measure": measure.replace("/", " ", 1), "last pass against first (95 %)": None}
    if sample is None:
        return row
    effect = effect_of(sample, [(str(len(found.values) - 1), "0")])
    row["last pass against first (95 %)"] = with_interval(effect)
    same = {"constant answer": f"{sample.scores[CONSTANT]:.2f}"} if CONSTANT in sample.scores else {}
    return row | {f"pass {at + 1}": f"{sample.scores[str(at)]:.2f}" for at in range(len(found.values))} | same


# Plug and play


def plug_rows(board: Board, found: Sequence[Found]) -> list[dict[str, object]]:
    """Minutes, the new task's scores, and what the old ones lose or gain against before, and against as much training without the new one."""
    plug = board.config.plug
    if plug is None:
        return []
    known = {(each.comparison.given, each.comparison.without, each.measure): each for each in found}
    rows: list[dict[str, object]] = []
    for name in (FEEDBACK, "plug-none", "plug-frozen", "plug-joint"):
        if name not in board.names or not board.done(name):
            rows += [{"row": board.planned(name).title, "minutes": "not run"}] if name in board.names else []
            continue
        row: dict[str, object] = {
            "row": "before" if name == FEEDBACK else board.planned(name).title,
            "minutes": None if name == FEEDBACK else board.done(name)[0].seconds / 60,
        }
        for measure in board.measures(plug.name):
            row[f"{plug.name}: {told(board, measure)}"] = _score(board, name, measure)
        for task in board.config.tasks:
            measure = next(iter(board.measures(task)), "")
            against = [known.get((name, other, measure)) for other in (FEEDBACK, "plug-none")]
            row[_headed(board, task)] = with_interval_of(board.score([FEEDBACK], measure)) if name == FEEDBACK and measure else _plain(against[0])
            row[f"{task}, against training on without it"] = _plain(against[1])
        rows.append(row)
    plugged = [FEEDBACK, *(row.name for row in board.plan if row.plug)]
    scored = {f"{plug.name}: {told(board, measure)}": board.constant(plugged, measure) for measure in board.measures(plug.name)}
    scored |= {_headed(board, task): board.constant(plugged, measure) for task in board.config.tasks for measure in board.measures(task)[:1]}
    rows.append({"row": CONSTANT, **{column: with_interval_of(score) for column, score in scored.items() if score is not None}})
    widest = list(dict.fromkeys(column for row in rows for column in row))
    return [{column: row.get(column) for column in widest if any(each.get(column) is not None for each in rows)} for row in rows]


def _plain(found: Found | None) -> str | None:
    return with_interval(found.effect) if found is not None and found.effect is not None else None


# What cannot be tested


def stand_ins(board: Board) -> list[str]:
    """A sentence for each of the paper's two other numbers."""
    measured = [(result, key) for result in board.results.values() for key in result.scores]
    made = []
    for metric, own, words, lacking in (
        ("overall F, union", "helen", f"The paper's overall F of {HELEN} % on Helen", "that set's parsing masks, which are not at hand"),
        ("accuracy", "bnu", f"The paper's accuracy of {BNU} % on BNU-LSVED", "that set, which is not public"),
    ):
        found = dict.fromkeys(result.scores[key].dataset for result, key in measured if result.scores[key].metric == metric)
        sets = [name for name in found if name != DRAWN]
        there = next((name for name in sets if own in name.lower()), None)
        if there is not None:
            best = next(score for name in (FEEDBACK, JOINT, *board.names) if (score := _over_seeds(board, name, f"{there}/{metric}")) is not None)
            made.append(f"{words} stands beside {with_interval_of(best)} on {there} here.")
        else:
            others = f"{listed(sets)} {'stand' if len(sets) > 1 else 'stands'} in, whose faces and labels are others" if sets else "nothing was scored in its place yet"
            made.append(f"{words} cannot be tested without {lacking}; {others}.")
    return made


# Losses


def validation_curves(board: Board) -> dict[str, dict[str, Curve]]:
    """{task: {row: validation loss}} of the rows that are compared most."""
    found: dict[str, dict[str, Curve]] = {}
    for name in ("joint-shared", JOINT, FEEDBACK, "feedback-3-through"):
        for row in board.done(name)[:1]:
            for curve, points in row.curves.items():
                kind, _, task = curve.partition("/")
                if kind == "validation":
                    found.setdefault(task, {})[row.title] = points
    return found
