"""The page of `polyface reproduce transfer`: verdicts, heat maps, scores of every run, and how it was done. Results in, one self-contained HTML file out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from polyface import page
from polyface.evaluation.report import commit
from polyface.papers.transfer_effects import Contrast, Effect, Found, Result, sureness

FULL_COLOUR = 4.0
"""Spreads from 0 at which a cell has its full colour."""
COUNTED = {"total": "passes in all", "own": "passes of own pictures"}


@dataclass(frozen=True)
class Findings:
    """What is shown. screen: on validation; verdicts and longer: on test; runs: names by part; groups: names of tasks; sets: rows of a batch by set, by group."""

    questions: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    sets: Mapping[str, Mapping[str, float]]
    screen: Sequence[Found]
    pairs: Sequence[Found]
    verdicts: Sequence[Found]
    longer: Sequence[Found]
    times: float
    runs: Mapping[str, Sequence[str]]
    results: Mapping[str, Result]
    steps: int
    batch: int
    seeds: tuple[int, ...]
    drawings: bool

    @property
    def missing(self) -> list[str]:
        return [name for names in self.runs.values() for name in names if name not in self.results]


def page_of(findings: Findings, command: str) -> str:
    body = page.render(
        BODY,
        said=sentences(findings),
        verdicts=page.table(verdict_rows(findings.verdicts), caption="On test splits. Above 0 is a gain, in the metric's own unit."),
        longer=page.table(longer_rows(findings)) if findings.longer else "",
        times=f"{findings.times:g}",
        maps=[(counting, words, heat_map(findings, counting)) for counting, words in COUNTED.items()],
        pairs=", ".join(f"{pair.contrast.words} for {pair.contrast.question}" for pair in findings.pairs),
        scores=page.table(score_rows(findings, "validation"), caption="Validation splits, where everything was chosen."),
        test_scores=page.table(score_rows(findings, "test"), caption="Test splits."),
        metrics=page.table(metric_rows(findings)),
        groups=page.table(group_rows(findings)),
        compute=page.table(compute_rows(findings)),
        missing=findings.missing,
        undecided=findings.runs.get("seeds", ()) == [],
        f=findings,
        command=command,
        commit=commit() or "not known",
    )
    return page.page("What tasks give each other", body, STYLE)


def sentences(findings: Findings) -> list[str]:
    """The verdicts in words."""
    decided = [each for each in findings.verdicts if each.verdict in ("gains", "loses")]
    said = [
        f"{each.contrast.question} {each.verdict} by {each.contrast.words} ({counted(each.contrast)}): {_with_interval(each.effect)}, {each.metric}" for each in decided
    ]
    open_ones = sum(each.verdict == "undecided" for each in findings.verdicts)
    if open_ones:
        said.append(f"{open_ones} of {len(findings.verdicts)} comparisons with all seeds are undecided: seeds disagree, or the interval or p by Holm leaves 0 possible")
    if not decided and not open_ones:
        said.append("no comparison has all its seeds yet, so there is no verdict")
    return said + [survival(findings, each) for each in findings.longer]


def survival(findings: Findings, longer: Found) -> str:
    """Whether the sign of the same comparison, at the usual length and with the same seed, is that of the long one."""
    contrast = longer.contrast
    what = f"{contrast.words} for {contrast.question} ({counted(contrast)})"
    if longer.effect is None:
        return f"{what} at {findings.times:g} times the passes is not measured yet: {', '.join(longer.missing)} missing"
    same = [each.effect for each in findings.verdicts if (key(each.contrast) == key(contrast)) and each.effect is not None]
    if not same:
        return f"{what} at {findings.times:g} times the passes: {_with_interval(longer.effect)}, {longer.metric}; with the usual passes it is not measured yet"
    survives = "survives" if longer.effect.value * same[0].seeds[0] > 0 else "does not survive"
    sure = "its interval leaves 0 out" if longer.effect.low > 0 or longer.effect.high < 0 else "though its interval holds 0"
    return (
        f"the sign of {what} {survives} {findings.times:g} times the passes: {_signed(same[0].seeds[0])} became {_with_interval(longer.effect)}, {longer.metric}; {sure}"
    )


def verdict_rows(found: Sequence[Found]) -> list[dict[str, object]]:
    """A row for each comparison, for a table; a missing run is named where the effect would be."""
    return [
        {
            "question": each.contrast.question,
            "given": each.contrast.words,
            "counted by": counted(each.contrast),
            "verdict": each.verdict,
            "effect": _signed(each.effect.value) if each.effect else None,
            "95 %": _interval(each.effect) if each.effect else f"missing: {_first_of(each.missing)}",
            "each seed": ", ".join(map(_signed, each.effect.seeds)) if each.effect else None,
            "p (Holm)": each.adjusted if math.isfinite(each.adjusted) else None,
            "faces": each.effect.n if each.effect else None,
            "people": each.effect.people if each.effect else None,
            "metric": f"{each.metric} ({each.dataset})" if each.effect else None,
        }
        for each in found
    ]


def longer_rows(findings: Findings) -> list[dict[str, object]]:
    same = [each for each in findings.verdicts if any(key(each.contrast) == key(longer.contrast) for longer in findings.longer)]
    rows = []
    for length, each in [("usual passes, all seeds", each) for each in same] + [(f"{findings.times:g} times the passes, one seed", each) for each in findings.longer]:
        row = verdict_rows([each])[0]
        rows.append({"length": length} | {name: row[name] for name in ("question", "given", "counted by", "effect", "95 %", "each seed", "metric")})
    return rows


def heat_map(findings: Findings, counting: str) -> Markup:
    """Questions down, groups across: what each left-out group gives, and what all others together give a group that else is alone."""
    cells = {(each.contrast.question, each.contrast.words): each for each in findings.screen if each.contrast.counting == counting}
    own = {task: group for group, its_tasks in findings.groups.items() for task in its_tasks}
    rows = []
    for question in findings.questions:
        row = [_cell(cells.get((question, group)), own.get(question) == group) for group in (*findings.groups, "all others")]
        metric = next((each.metric for each in cells.values() if each.contrast.question == question and each.metric), "")
        rows.append((question, metric, row))
    return page.render(HEAT_MAP, groups=list(findings.groups), rows=rows)


def _cell(found: Found | None, own: bool) -> dict[str, str]:
    if own:
        return {"text": "", "title": "its own group", "style": "", "kind": "own"}
    if found is None or found.effect is None:
        return {"text": "?", "title": f"missing: {_first_of(found.missing)}" if found else "missing", "style": "", "kind": "absent"}
    strength = 0.7 * min(abs(sureness(found.effect)) / FULL_COLOUR, 1.0)
    colour = "30, 110, 210" if found.effect.value > 0 else "205, 80, 20"
    apart = found.effect.low > 0 or found.effect.high < 0
    title = f"{_interval(found.effect)}; {found.metric}, {found.effect.n} faces of {found.effect.people} people; {sureness(found.effect):+.1f} spreads from 0"
    text = f"{found.effect.value:+.2g}" if found.effect.value else "0"
    return {"text": text, "title": title, "style": f"background: rgba({colour}, {strength:.2f})", "kind": "apart" if apart else ""}


def score_rows(findings: Findings, split: str) -> list[dict[str, object]]:
    """The mean of every question in every run."""
    rows = []
    for part, names in findings.runs.items():
        for name in names:
            if name in findings.results:
                outcomes = getattr(findings.results[name], split)
                rows.append({"run": name, "part": part} | {question: outcomes[question].mean if question in outcomes else None for question in findings.questions})
    return rows


def metric_rows(findings: Findings) -> list[dict[str, object]]:
    """What each question is measured by, and on which faces."""
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for result in findings.results.values():
        for split in ("validation", "test"):
            for question, outcome in getattr(result, split).items():
                better = "higher" if outcome.higher_is_better else "lower"
                rows.setdefault(
                    (question, split),
                    {"question": question, "split": split, "set": outcome.dataset, "metric": outcome.metric, "better": better,
                     "faces": len(outcome.values), "people": len(set(outcome.people)), "list": outcome.sha256[:12]},
                )  # fmt: skip
    return [rows[at] for at in sorted(rows, key=lambda at: (at[1] == "test", at[0]))]


def group_rows(findings: Findings) -> list[dict[str, object]]:
    return [
        {"group": group, "tasks": ", ".join(its_tasks), "rows of a joint batch": ", ".join(f"{name} {rows:g}" for name, rows in findings.sets[group].items())}
        for group, its_tasks in findings.groups.items()
    ]


def compute_rows(findings: Findings) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for part, names in findings.runs.items():
        done = [findings.results[name] for name in names if name in findings.results]
        seconds = sum(result.seconds for result in done)
        row = {"part": part, "runs": len(names), "done": len(done), "minutes of training": seconds / 60}
        rows.append(row | {"longest": max((result.seconds for result in done), default=0.0) / 60, "minutes of scoring": sum(each.scoring_seconds for each in done) / 60})
    return rows


def counted(contrast: Contrast) -> str:
    return COUNTED[contrast.counting]


def key(contrast: Contrast) -> tuple[str, str, str]:
    return contrast.question, contrast.words, contrast.counting


def _interval(found: Effect) -> str:
    return f"{_signed(found.low)} to {_signed(found.high)}" if math.isfinite(found.low) else "not known"


def _with_interval(found: Effect | None) -> str:
    return f"{_signed(found.value)} ({_interval(found)})" if found else ""


def _signed(value: float) -> str:
    return f"{value:+.3g}" if value else "0"


def _first_of(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


BODY = """\
{% if f.drawings %}<p class="note">Drawn people and next to no network: this page shows that the experiment runs, and nothing about faces.</p>{% endif %}
<p>One network learns from pictures that each answer only some questions. Does a question gain or lose by the others in it?</p>
<ul>
{% for line in said %}
<li>{{ line }}</li>
{% endfor %}
</ul>
{% if missing %}
<details><summary>{{ missing | length }} runs are missing</summary><p>{{ missing | join(", ") }}</p></details>
{% endif %}
{% if undecided %}<p class="quiet">Which pairs get further seeds, and which the long run, is known when the screen is done.</p>{% endif %}

<h2>Verdicts</h2>
<p>The pairs that matter most by validation, and what grain gives, each with seeds {{ f.seeds | join(", ") }}. An interval comes from drawing test people and
seeds together; how far seeds scatter is estimated over all runs here that were repeated. A verdict needs all seeds to agree, an interval without 0, and p below 5 % by
Holm over this table.</p>
{{ verdicts }}

<h2>Does a sign survive {{ times }} times the passes?</h2>
{% if longer %}{{ longer }}{% else %}<p class="quiet">Not yet asked.</p>{% endif %}

<h2>What each group gives each question</h2>
<p>Validation, one seed: a map to choose by, no verdicts. A cell is the score of all groups together less that of all but one, in the metric's unit, turned so
that above 0 is a gain. Colour says how many spreads it is from 0 ({{ full }} and more: full); bold, that its interval over people leaves 0 out. The last column is all
together less the question's own group alone.{% if pairs %} Chosen for further seeds: {{ pairs }}.{% endif %}</p>
<p class="quiet">The question <span class="key gain">gains</span> or <span class="key loss">loses</span> by the group above the column.
Point at a cell for its interval.</p>
{% for counting, words, map in maps %}
<h3>Equal {{ words }}</h3>
<p class="quiet">{% if counting == "total" %}Who is left out leaves room in the batch to the others: how is a given time best spent?
{% else %}The rows of who is left out are not there, all else is the same: what do others' pictures give beside one's own?{% endif %}</p>
{{ map }}
{% endfor %}

<h2>How it was done</h2>
<p>{{ f.steps }} steps of {{ f.batch }} pictures for a run of usual length. Each set serves one group, so that a group that is left out takes its pictures, heads and
losses away and nothing else. Nothing is chosen inside a run; everything else is chosen on validation. Near-copies of test pictures left training.</p>
{{ groups }}
{{ compute }}
{{ metrics }}
<details><summary>The scores of every run</summary>
{{ scores }}
{{ test_scores }}
</details>
<p class="quiet">{{ command }}; commit {{ commit }}</p>
""".replace("{{ full }}", f"{FULL_COLOUR:g}")

HEAT_MAP = """\
<div class="wide"><table class="map">
<thead><tr><th scope="col">question</th>{% for group in groups %}<th scope="col">{{ group }}</th>{% endfor %}<th scope="col">all others</th>
<th scope="col">metric</th></tr></thead>
<tbody>
{% for question, metric, row in rows %}
<tr><th scope="row">{{ question }}</th>{% for cell in row %}<td class="{{ cell.kind }}" style="{{ cell.style }}" title="{{ cell.title }}">{{ cell.text }}</td>{% endfor %}
<td class="metric">{{ metric }}</td></tr>
{% endfor %}
</tbody></table></div>
"""

STYLE = """\
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
.note { border-left: 3px solid var(--accent); padding-left: .8rem; }
.map { border-collapse: separate; border-spacing: 3px; }
.map th, .map td { border: 0; padding: .45rem .7rem; vertical-align: middle; }
.map td { text-align: right; min-width: 5.5rem; border-radius: 3px; }
.map td.own { background: repeating-linear-gradient(45deg, var(--line) 0 1px, transparent 1px 6px); }
.map td.absent { color: var(--quiet); text-align: center; }
.map td.apart { font-weight: 700; }
.map td.metric { text-align: left; color: var(--quiet); }
.key { padding: .1rem .5rem; border-radius: 3px; }
.key.gain { background: rgba(30, 110, 210, .5); }
.key.loss { background: rgba(205, 80, 20, .5); }
"""
