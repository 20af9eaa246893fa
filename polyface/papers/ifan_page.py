"""The page of paper B: what was asked and found, a verdict for every claim, the ablation with its costs, controls, MTFL's curve, faces pass by pass, in one file.

Whatever rows are done are shown, the others are named. Every number is also in findings.json and in a CSV beside the page.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import msgspec
import numpy as np
from markupsafe import Markup

from polyface import datasets, page
from polyface.datasets.facesynthetics import facesynthetics
from polyface.datasets.retold import coarse_tasks
from polyface.errors import RequestError
from polyface.evaluation.figures import write_csv
from polyface.evaluation.report import commit
from polyface.files import write_atomically
from polyface.papers import ifan_claims as claims
from polyface.papers import ifan_figures as figures
from polyface.papers import ifan_mtfl as mtfl
from polyface.papers import ifan_tables as tables
from polyface.papers.ifan_claims import Judged
from polyface.papers.ifan_config import IfanRecipe
from polyface.papers.ifan_figures import Picture
from polyface.papers.ifan_rows import FEEDBACK
from polyface.papers.ifan_runs import PICTURES, RowResult
from polyface.papers.ifan_samples import DRAWS
from polyface.papers.ifan_statistics import Board, judged
from polyface.tasks.kinds import Category, Points, Regions, Task

PAGE = "ifan.html"
FINDINGS = "findings.json"
EACH = 3
"""Gains and losses that are shown of each measure."""


def write_page(out: Path, config: IfanRecipe, rows: Mapping[str, RowResult], command: str = "", notes: tuple[str, ...] = (), draws: int = DRAWS) -> list[Judged]:
    """OUT/ifan.html of the rows that are done, by name; OUT/findings.json, scores.csv and comparisons.csv; OUT/figures/*.png and .csv. Pictures of faces are taken from
    OUT/rows.

    notes: what was left out of training, and why. Returns what came out of every claim. Raises RequestError where no row is done.
    """
    if not rows:
        raise RequestError(f"{out}: no row is done yet, so there is nothing to put on a page")
    board = Board(config, rows, draws)
    verdicts, every = claims.judge(board), judged(board, claims.every_comparison(board.plan))
    folder = out / "figures"
    body = page.render(
        BODY,
        config=config,
        opening=_opening(board, verdicts, folder),
        scores=_by_part(lambda part: tables.score_rows(board, part), list(tables.PARTS)),
        comparisons=_by_part(lambda part: tables.comparison_rows(board, every, part), list(tables.PARTS)),
        controls=page.table(tables.control_rows(board, every), caption="Points, with 95 % over faces and seeds"),
        constants=page.table(tables.constant_rows(board)),
        explained=claims.explained(verdicts, config.tasks),
        passes=page.table(tables.pass_rows(board, ("ablation",))),
        other_passes=page.table(tables.pass_rows(board, tuple(part for part in tables.PARTS if part not in ("ablation", "whole")))),
        mtfl=_mtfl(board, folder),
        pictures=_pictures(out, config, folder),
        plug=page.table(tables.plug_rows(board, every)),
        losses=_losses(board, folder),
        wide=page.table(tables.wide_rows(board)),
        compute=page.table(tables.compute_rows(board)),
        notes=notes,
        command=command,
        commit=commit() or "not known",
    )
    scored, compared = tables.every_score(board), tables.every_comparison_rows(board, every)
    write_csv(out / "scores.csv", scored)
    write_csv(out / "comparisons.csv", compared)
    write_atomically(out / FINDINGS, _findings(board, verdicts, {"command": command, "scores": scored, "comparisons": compared, "compute": tables.compute_rows(board)}))
    write_atomically(out / PAGE, page.page(f"Tasks that see each other's predictions, rebuilt ({config.name})", body, STYLE))
    return verdicts


def _findings(board: Board, verdicts: list[Judged], more: Mapping[str, object]) -> bytes:
    """The page's numbers as JSON; what is not finite is null."""
    how = {"scale": board.config.name, "commit": commit(), "draws": board.draws, "done": list(board.results), "missing": [row.name for row in board.missing]}
    found = {**how, "verdicts": {each.claim.words: each.verdict for each in verdicts if each.claim.claimed}, "claims": tables.claim_rows(verdicts), **more}
    return msgspec.json.format(msgspec.json.encode(found, enc_hook=float), indent=1) + b"\n"


def _opening(board: Board, verdicts: list[Judged], folder: Path) -> Markup:
    measures = {task: next(iter(board.measures(task)), "") for task in board.config.tasks}
    columns = {task: tables.told(board, measure) if measure else "not scored yet" for task, measure in measures.items()}
    drawn = figures.forest(verdicts, columns, folder / "forest.png") if verdicts else None
    shown = mtfl.errors_rows(board)
    return page.render(
        OPENING,
        drawings=board.config.drawings,
        said=claims.sentences(verdicts),
        counted=claims.counted(verdicts),
        mtfl=mtfl.reached(shown) if shown else "",
        stand_ins=tables.stand_ins(board),
        done=len(board.plan) - len(board.missing),
        planned=len(board.plan),
        missing=board.missing,
        names=page.table([{"row": name, "what it is": board.planned(name).title} for name in board.names]),
        sets=_sets(board.config),
        forest=drawn and _figure(drawn, "Points that each comparison gives, with intervals", FOREST),
        verdicts=page.table(_said_once(tables.claim_rows(verdicts))),
        seeds=_seeds(board),
        renders=any(pool.set == facesynthetics.name for pool in board.config.two_labels),
        paper=claims,
    )


def _sets(config: IfanRecipe) -> dict[str, str]:
    """{name: title} of listed sets, where the one does not say the other."""
    plug = config.plug
    pools, tests = (*config.data, *config.two_labels, *config.hundred, *(plug.data if plug else ())), (*config.tests, *(plug.tests if plug else ()))
    asked = {pool.set for pool in pools} | {test.set for test in tests}
    return {each.name: each.title for each in datasets.DATASETS if each.name in asked and each.title.lower() != each.name}


def _seeds(board: Board) -> list[str]:
    """What is done of every seed, in words."""
    said = []
    for seed in board.config.seeds:
        own = [row for row in board.plan if row.seed == seed]
        said.append(f"{sum(row.name in board.results for row in own)} of {len(own)} of seed {seed}")
    return said


def _said_once(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """A claim beside its first comparison only."""
    return [row | {"claim": None} if at and row["claim"] == rows[at - 1]["claim"] else row for at, row in enumerate(rows)]


def _by_part(rows_of, parts: list[str]) -> list[tuple[str, Markup]]:  # type: ignore[no-untyped-def]
    made = [(tables.PARTS[part], rows_of(part)) for part in parts]
    return [(title, page.table(rows)) for title, rows in made if rows]


def _mtfl(board: Board, folder: Path) -> Markup:
    shown = mtfl.errors_rows(board)
    if not shown:
        return Markup("<p>No row that answers MTFL's five points is done yet.</p>")
    curve = figures.cumulative([mtfl.errors_of(row, measure) for row, measure in shown], folder / "mtfl.png")
    caption = "The share of all test faces whose error is at most so much; a face that was not found is an error of any size. Ticks: means."
    first = [(row, measure) for row, measure in shown if row.name == shown[0][0].name]
    poses = mtfl.errors_by_pose(shown)
    turned = figures.cumulative_by_pose(poses, folder / "mtfl-poses.png") if poses else None
    others = [pair for pair in shown if pair not in first]
    return page.render(
        MTFL,
        curve=_figure(curve, "Share of MTFL's test faces by error", caption, 46),
        rows=page.table(mtfl.mtfl_rows(shown)),
        by_pose=_figure(turned, "Share of MTFL's test faces by error, for each word for yaw", BY_POSE) if turned else "",
        poses=page.table(mtfl.pose_rows(first)),
        others=page.table(mtfl.pose_rows(others)) if others else "",
    )


def _losses(board: Board, folder: Path) -> Markup:
    curves = tables.validation_curves(board)
    if not curves:
        return Markup()
    return _figure(figures.losses(curves, folder / "losses.png"), "Validation losses", "The loss on validation pictures during the joint stage, averaged over passes.")


# Faces pass by pass


def _pictures(out: Path, config: IfanRecipe, folder: Path) -> list[tuple[str, str, str]]:
    """(title, what is shown, data URI) for each measure whose answers were kept of the row with feedback."""
    file = out / "rows" / FEEDBACK / PICTURES
    if not file.exists():
        return []
    known = {each.task.name: each.task for each in coarse_tasks(config.tasks)}
    made = []
    with np.load(file, allow_pickle=False) as kept:
        for name in dict.fromkeys(key.rpartition("/")[0] for key in kept.files):
            dataset, task, *way = name.split("/")
            if isinstance(known.get(task), Category | Points | Regions):
                crops, answers, truth = (kept[f"{name}/{what}"] for what in ("crops", "answers", "truth"))
                made.append(_sheet(f"{dataset}, {', '.join([task, *way])}", known[task], crops, answers, truth, folder))
    return [each for each in made if each is not None]


def _sheet(title: str, task: Task, crops: np.ndarray, answers: np.ndarray, truth: np.ndarray, folder: Path) -> tuple[str, str, str] | None:
    """Gains above, losses below, drawn at random from those that were kept, which were drawn at random from the test."""
    change = figures.changes(task, answers, truth)
    gains, losses = figures.drawn_at_random(change, EACH)
    known = int(np.isfinite(change).sum())
    if not known:
        return None
    better, worse = int((change > 0).sum()), int((change < 0).sum())
    by = f"by {float(np.nanmean(change)):+.2f} on average ({UNITS[type(task)]})"
    words = f"Of {known} test faces drawn at random the last pass is better than the first on {better}, worse on {worse}, {by}."
    if not gains + losses:
        return title, f"{words} There is nothing to show.", ""
    sheet = figures.passes(task, crops, answers, truth, [*gains, *losses])
    file = folder / f"passes-{title.replace(', ', '-').replace(' ', '-')}.png"
    write_atomically(file, cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes())
    write_csv(file.with_suffix(".csv"), [{"face": face, "change": float(value), "shown": face in (*gains, *losses)} for face, value in enumerate(change)])
    return title, f"{words} Shown: {len(gains)} gains, then {len(losses)} losses, drawn at random.", page.picture(sheet)


UNITS: Mapping[type, str] = {Regions: "% of labelled pixels that are right", Points: "% of the distance of the eyes", Category: "% of probability on the labelled class"}


def _figure(drawn: Picture, words: str, caption: str, width: int = 64) -> Markup:
    """width: in rem, on a screen that has it."""
    return page.render(FIGURE, drawn=drawn, words=words, caption=caption, width=width)


STYLE = """
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
figure { margin: 1rem 0; }
th { max-width: 7.5rem; font-size: .8125rem; }
td { max-width: 12.75rem; }
figure img { display: block; height: auto; max-width: max(100%, 40rem); }
.sheets { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.sheets figure { flex: 1 1 30rem; max-width: 36rem; margin: 0; }
.sheets img { width: 100%; max-width: 100%; margin-top: .5rem; }
figcaption { color: var(--quiet); font-size: .875rem; max-width: 46rem; margin-top: .3rem; }
.note { border-left: 3px solid var(--accent); padding-left: .8rem; }
.claims { list-style: none; padding: 0; max-width: 54rem; }
.claims > li { margin: .9rem 0; }
.claims ul { color: var(--quiet); font-size: .875rem; }
.verdict { display: inline-block; font-size: .8rem; font-weight: 600; padding: 0 .5rem; border-radius: 3px; margin-right: .3rem; background: rgba(138, 141, 148, .3); }
.verdict.holds { background: rgba(42, 127, 193, .35); }
.verdict.fails { background: rgba(208, 96, 42, .35); }
"""

FIGURE = """\
<figure><div class="wide"><picture><source media="(prefers-color-scheme: dark)" srcset="{{ drawn.dark }}">
<img src="{{ drawn.light }}" alt="{{ words }}" style="width: {{ width }}rem"></picture></div>
<figcaption>{{ caption }}</figcaption></figure>
"""

FOREST = (
    "Points by which the first is better than the second; right of 0 is a gain, whichever way the measure runs. Thick: 95 % over test faces, people drawn together. "
    "Thin: faces and seeds together. Ticks: each seed. Dotted: what was claimed, where that is not 0."
)

BY_POSE = (
    "The same for each word for yaw, with the number of its faces, those that were not found included. On profiles the eyes lie close together in the picture, and the "
    "error is divided by their distance. Dotted: the paper's mean over all faces."
)

OPENING = """\
{% if drawings %}<p class="note">Drawn people and next to no network: this page shows that the experiment runs, and nothing about faces.</p>{% endif %}
<p>Li et al. (2017, arXiv 1711.06055) answer three questions about a face by one network: which region is each pixel, where are five points, which emotion is it. They
train it on sets that have one of those labels each, draw all its predictions as maps, and feed these back into it, pass after pass. Do tasks that see each other's
predictions help each other, and is it that, or only that the network became deeper? {{ counted }}</p>
<p class="quiet">A row is one network, trained and scored. Numbers are points by which the first row is better, with 95 % over faces and seeds. Overall F is of the pixels
of brows, eyes, nose and mouth (of FASSEG, whose hair holds the brows, of the others); NME is the mean error of points in % of the distance of the eyes; the constant
answer is the same for every face.
{% for name, title in sets.items() %}{{ "; " if not loop.first else "Sets by their short names: " }}{{ name }} is {{ title }}{{ "." if loop.last }}{% endfor %}</p>
<ul class="claims">
{% for verdict, words, lines in said %}
<li><span class="verdict {{ verdict.split()[0] }}">{{ verdict }}</span> <strong>{{ words }}.</strong>
<ul>{% for line in lines %}<li>{{ line }}</li>{% endfor %}</ul></li>
{% endfor %}
</ul>
{% if mtfl %}<p>Of the paper's own numbers one can be tested, the error of five points on MTFL's test faces, {{ paper.MTFL }} % of the distance of the eyes.
Here {{ mtfl }}</p>{% endif %}
{% for line in stand_ins %}<p>{{ line }}</p>{% endfor %}
<p>{{ done }} of {{ planned }} planned rows are done.</p>
{% if missing %}
<details><summary>Not run: {{ missing | length }}</summary>
<p>{% for row in missing %}{{ row.name }} ({{ row.title }}){{ ", " if not loop.last else "" }}{% endfor %}</p></details>
{% endif %}
<details><summary>What the rows are called</summary>{{ names }}</details>

<h2>Every comparison behind the verdicts</h2>
{% if forest %}{{ forest }}{% endif %}
<p class="quiet">A claim holds where every one of its comparisons does, and fails where one does. A comparison holds, or fails, where the interval over faces and seeds
leaves out what was claimed (0 where nothing else is said), all seeds agree, one of the two rows beats the constant answer, and p by Holm is below 5 %; else it is
undecidable. Holm is over four tables: what is claimed and what is only asked, each of sets as they are and of drawn people.
Planned rows that are done: {{ seeds | join("; ") }}. All have the first seed, those that are compared most the others too. How
far a row is off by its seed alone is estimated, by measure, from the rows that were repeated, and is in every interval; for a measure of which none was, the largest of
that metric on other sets stands in; two readings of the same weights have none. Where nothing was repeated nothing is decided. Which comparisons decide was written down
before any row was done.</p>
{% if renders %}<p class="quiet">Two labels on each picture against one is asked twice, and decided once. The one set here that has both labels, facesynthetics, is
rendered; the sets with one label are photographs, and among them the very sets that rows are tested on, which may win for that alone: what row
&ldquo;hundred&rdquo; shows has several causes, and so has what training on all sets gains. Drawn people are the same in both arms: they decide.</p>{% endif %}
<details><summary>Every comparison of a claim, and what is only asked besides, with its numbers</summary>{{ verdicts }}</details>
"""

MTFL = """\
{{ curve }}
{{ by_pose }}
{{ rows }}
<h3>By pose</h3>
{{ poses }}
{% if others %}<details><summary>The other rows by pose</summary>{{ others }}</details>{% endif %}
"""

BODY = """\
{{ opening }}

<h2>Beside a constant answer</h2>
<p>What answers the same for every face without looking at any: learned from labels of other faces of the same set, never from test. Where neither of two rows is
better than that, by an interval over faces, there is nothing to compare between them.</p>
{{ constants }}

<h2>The ablation and what it costs</h2>
<p>All rows, of every seed, start from the same weights, pre-trained task by task, unless their words say otherwise, and see equally many pictures. Scores with 95 %
over test faces, people drawn together; where a row has several seeds, their mean; &#9675;: no better than the constant answer. Multiplications of a face are those of
all tasks of the row answered. Multiplications of training are those of the joint stage, forward: labelled pictures &times; passes &times; streams, since a picture runs
once for each of its labels, and all streams run in every pass whose predictions are fed back; backward comes on top, through the label's own stream, and through all
where gradients go through the loop. Seconds are those of one machine, with whatever else ran on it; both are without the start.</p>
{% for title, table in scores %}<h3>{{ title }}</h3>{{ table }}{% endfor %}

<h2>Is it interaction?</h2>
<p>What each gains above one pass, and above three of its own predictions. If a row gains as much by another face's predictions, by constant maps, or by as many
multiplications without feedback, then it gains by depth; if a network that was trained with its own predictions loses nothing by another face's, then it does not
read them.</p>
{{ controls }}
{% if explained %}<ul>{% for line in explained %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}

<h2>Pass by pass</h2>
<p>One trained network, read after each of its passes. The interval is over faces: it is the same network before and after.</p>
{{ passes }}
<details><summary>Controls and all other rows pass by pass</summary>{{ other_passes }}</details>
{% if pictures %}<p class="quiet">Under each crop is how much better the last pass is than the first.</p>
<div class="sheets">
{% for title, words, uri in pictures %}
<figure class="faces"><figcaption><strong>{{ title }}.</strong> {{ words }}</figcaption>
{% if uri %}<img src="{{ uri }}" alt="faces, answers pass by pass, labels: {{ title }}">{% endif %}</figure>
{% endfor %}
</div>{% endif %}

<h2>Five points on MTFL</h2>
{{ mtfl }}

<h2>A fourth task plugged in</h2>
{% if config.plug %}<p>New statistics and a new head for {{ config.plug.name }} in the network that was trained with three passes; then either nothing else is trained, or
all goes on. Cells of the old tasks: points against before, and against as much training without the new task, with 95 % over faces and seeds.</p>
{{ plug }}
{% else %}<p>This recipe plugs nothing in.</p>{% endif %}

<h2>How it was done</h2>
<p>{{ config.network.size }} pixels, {{ config.joint.steps | string }} steps of {{ config.joint.batch }} pictures, from a start that all rows and seeds share:
{% for task, stage in config.pretrain.items() %}{{ stage.steps }} steps of {{ stage.batch }} for {{ task }}{{ ", " if not loop.last }}{% endfor %}.
Nothing was chosen on test pictures.</p>
{% if notes %}<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
{{ losses }}
<details><summary>Every comparison of every row, on every set</summary>
<p class="quiet">Holm over all of these together, drawn people by themselves, so that a verdict here needs more than one above.</p>
{% for title, table in comparisons %}<h3>{{ title }}</h3>{{ table }}{% endfor %}
</details>
<details><summary>Every measure of every row</summary>{{ wide }}</details>
<details><summary>Settings, pictures, seconds and memory of every row</summary>{{ compute }}</details>
<p class="quiet">{{ command }}{{ "; " if command else "" }}commit {{ commit }}</p>
"""
