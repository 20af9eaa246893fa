"""The page of paper C, one file: the verdict, people among real and synthetic distractors, gain by level beside the shuffled control, agreement of labels, every row."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polyface import page
from polyface.errors import RequestError
from polyface.evaluation.figures import write_csv
from polyface.evaluation.report import commit
from polyface.files import write_atomically
from polyface.papers import joint_claims as claims
from polyface.papers import joint_figures as figures
from polyface.papers.fusion_statistics import Estimate, percent
from polyface.papers.ifan_figures import Picture
from polyface.papers.joint_claims import Board, Judged
from polyface.papers.joint_config import JointRecipe
from polyface.papers.joint_runs import rows_of
from polyface.papers.joint_scores import FAR, HALF, REAL, SYNTHETIC, RowResult
from polyface.papers.joint_screen import unscreened

PAGE = "joint.html"
GROUPS = {"identity": "identity alone", "joint": "joint", "shuffled": "attributes shuffled"}


def write_page(out: Path, recipe: JointRecipe, rows: Mapping[str, RowResult]) -> list[Judged]:
    """OUT/joint.html, OUT/figures/*.png and .csv, OUT/scores.csv with every number, of the rows that are done. Raises RequestError where none is."""
    if not rows:
        raise RequestError(f"{out}: no row is done yet, so there is nothing to put on a page")
    board, folder = Board(recipe, out, rows), out / "figures"
    judged = claims.judge(board)
    planned = [row.name for row in rows_of(recipe)]
    notes = json.loads((out / "notes.json").read_text()) if (out / "notes.json").exists() else []
    body = page.render(
        BODY,
        recipe=recipe,
        judged=judged,
        paper=claims,
        far=FAR,
        unscreened=unscreened(recipe) if board.beside else "",
        best=board.best,
        missing=[name for name in planned if name not in rows],
        comparisons=[(each, page.table(_comparisons(each))) for each in judged],
        curves=_curves(board, folder),
        levels=_levels(board, folder),
        check=page.table(_check(board)),
        attributes=_attributes(out, folder),
        rows=page.table(_rows(rows)),
        notes=notes,
        commit=commit() or "not known",
    )
    write_csv(out / "scores.csv", [_plain(row.name, each) for row in rows.values() for each in row.numbers])
    write_atomically(out / PAGE, page.page(f"Who it is and what they look like, learned together ({recipe.name})", body, STYLE))
    return judged


def _comparisons(judged: Judged) -> list[dict[str, object]]:
    """The verdict stands before what a narrow screen may leave out."""
    return [
        {
            "compared": f"{GROUPS.get(found.given, found.given)} against {GROUPS.get(found.without, f'{found.without} alone')}",
            "on": found.measure.words,
            "points (95 % over people and seeds)": percent(found.gap.estimate, sign=True),
            "p (Holm)": None if found.adjusted is None else float(f"{found.adjusted:.2g}"),
            "verdict": ": ".join(each for each in (found.verdict or "decides nothing", found.why) if each),
            "each seed": ", ".join(f"{100 * seed:+.1f}" for seed in found.gap.seeds),
            "n": found.gap.estimate.n,
        }
        for found in judged.found
    ]


def _curves(board: Board, folder: Path) -> list[Markup]:
    """Rank 1 and TAR against the number of distractors, and CMC among the most; a mean over seeds."""
    shown = {words: list(board.names(group).values()) for group, words in GROUPS.items()}
    shown = {words: names for words, names in shown.items() if names}
    made = []
    for words, measure, file in (("rank 1", claims.rank1, "rank1.png"), ("TAR at FAR 1e-6", claims.tar, "tar.png")):
        found = {row: {kind: _points(board, names, measure, kind) for kind in (REAL, SYNTHETIC, HALF)} for row, names in shown.items()}
        found = {row: {kind: points for kind, points in kinds.items() if points} for row, kinds in found.items()}
        if any(found.values()):
            caption = f"{words} against the number of distractors, mean over seeds; crosses: the half of the real ones that the synthetic ones were not fitted to"
            made.append(_figure(figures.against_distractors(found, words, folder / file), caption))
    ranks = {}
    for row, names in shown.items():
        most = {f"{kind} {board.sizes(kind)[-1]}": f"trials {kind} {board.sizes(kind)[-1]}" for kind in (REAL, SYNTHETIC) if board.sizes(kind)}
        ranks[row] = {words: board.arrays(names[0])[array] for words, array in most.items()}
    if ranks:
        made.append(_figure(figures.cmc(ranks, folder / "cmc.png"), "CMC among the most distractors of either kind, first seed"))
    return made


def _points(board: Board, names: list[str], measure: Any, kind: str) -> list[tuple[int, float]]:
    found = [(int(size), board.mean(names, measure(kind, size))) for size in board.sizes(kind)]
    return [(size, hits.share) for size, hits in found if hits is not None]


def _levels(board: Board, folder: Path) -> list[Markup]:
    """Gain of every level over identity alone, first seed, beside that of its control."""
    made = []
    first = board.recipe.seeds[0]
    alone = board.names("identity").get(first)
    for at, measure in enumerate((*board.deciding, *board.largest, *board.beside) if alone else ()):
        gains: dict[str, dict[str, Estimate]] = {}
        for level in board.recipe.levels:
            for kind in ("joint", "shuffled"):
                found = claims.difference(board, [f"{kind}-{level}"], [str(alone)], measure) if f"{kind}-{level}" in board.rows else None
                if found is not None:
                    gains.setdefault(level, {})[GROUPS[kind]] = found.estimate
        if gains:
            caption = f"Gain by level, first seed, {measure.words}; intervals over people"
            made.append(_figure(figures.by_level(gains, measure.words, folder / f"levels-{at}.png"), caption))
    return made


def _check(board: Board) -> list[dict[str, object]]:
    """Synthetic distractors against the half of the real ones that they were not fitted to, at sizes of both."""
    names = [name for group in GROUPS for name in board.names(group).values()]
    rows = []
    for size in board.sizes(HALF):
        for name in names:
            real, drawn = (board.hits(name, claims.rank1(kind, size)) for kind in (HALF, SYNTHETIC))
            if real is not None and drawn is not None:
                rows.append({
                    "distractors": int(size), "row": name, "rank 1 among real, other half": f"{100 * real.share:.1f}",
                    "among synthetic": f"{100 * drawn.share:.1f}", "synthetic - real, points": percent(claims.gap([(drawn, real)]).estimate, sign=True),
                })  # fmt: skip
    return rows


def _attributes(out: Path, folder: Path) -> Markup:
    """Agreement within people and with human labels, from OUT/votes/attributes.parquet."""
    file = out / "votes" / "attributes.parquet"
    if not file.exists():
        return Markup("<p>No votes yet.</p>")
    import pyarrow.parquet as parquet

    rows = parquet.read_table(file).to_pylist()
    kinds = [name for name in rows[0] if name.startswith(("agreement ", "as human labels"))]
    rates = {row["attribute"]: {kind: row[kind] for kind in kinds if row[kind] is not None and math.isfinite(row[kind])} for row in rows}
    kept = [row["attribute"] for row in rows if row["kept"]]
    shown = [{name: (f"{100 * value:.1f}" if isinstance(value, float) else value) for name, value in row.items()} for row in rows]
    shown.sort(key=lambda row: not row["kept"])
    caption = "How often predictions agree within a person, and with people's own labels; kept ones in bold"
    drawn = _figure(figures.agreement(rates, kept, folder / "agreement.png"), caption)
    return page.render("{{ drawn }}<details><summary>All forty</summary>{{ table }}</details>", drawn=drawn, table=page.table(shown))


SHOWN = (
    ("pairs, folds", "pairs", "accuracy, flip"), ("TAR@0.001", "pairs", "TAR@FAR=0.001, flip"), ("attributes", "attributes", "accuracy"),
    ("attributes, balanced", "attributes", "balanced accuracy"),
)  # fmt: skip


def _rows(rows: Mapping[str, RowResult]) -> list[dict[str, object]]:
    made = []
    for name, row in rows.items():
        cells: dict[str, object] = {"row": name, "level": row.level, "seed": row.seed, "validation": "" if row.validation is None else f"{row.validation:.4f}"}
        for column, about, metric in SHOWN:
            cells[column] = next((_told(each) for each in row.numbers if each.about == about and each.metric.endswith(metric)), None)
        for each in row.numbers:
            if each.metric == "rank1" and each.about.partition(" ")[0] in (REAL, SYNTHETIC):
                cells[f"rank 1, {each.about}"] = _told(each)
        cells |= {"parameters": row.parameters, "images/s": row.images_per_second, "seconds": row.seconds}
        made.append(cells)
    columns = list(dict.fromkeys(column for row in made for column in row))
    return [{column: row.get(column) for column in columns} for row in made]


def _told(each: Any) -> str:
    """61.2 (58.0 to 64.1); why not, where a number was refused."""
    return percent({"value": each.value, "low": each.low, "high": each.high}) or "refused"


def _plain(name: str, each: Any) -> dict[str, object]:
    return {
        "row": name, "about": each.about, "metric": each.metric, "value": "" if each.value is None else each.value, "low": "" if each.low is None else each.low,
        "high": "" if each.high is None else each.high, "n": each.n, "note": each.note,
    }  # fmt: skip


def _figure(drawn: Picture, caption: str) -> Markup:
    return page.render(FIGURE, drawn=drawn, caption=caption)


FIGURE = """\
<figure><picture><source srcset="{{ drawn.dark }}" media="(prefers-color-scheme: dark)"><img src="{{ drawn.light }}" alt="{{ caption }}"></picture>
<figcaption>{{ caption }}</figcaption></figure>
"""

STYLE = """
figure { margin: 1rem 0; }
figure img { display: block; height: auto; max-width: 100%; width: 52rem; }
figcaption { color: var(--quiet); font-size: .875rem; max-width: 46rem; margin-top: .3rem; }
.note { border-left: 3px solid var(--accent); padding-left: .8rem; }
"""

BODY = """\
<p>Wang et al. 2017 train one network for who it is and what they look like, on attributes that another network predicts and each person's photographs vote for. They
report {{ paper.RANK1 }} % rank 1 and {{ paper.TAR }} % TAR at FAR 1e-6 on MegaFace with a million distractors; its pictures are not at hand, so those numbers cannot be
tested. Tested is the claim: that both together are better than each alone, on people whom no network here was trained on.</p>
{% if recipe.drawings %}<p class="note">Trained and scored on drawings: this page says that everything runs, and nothing about faces.</p>{% endif %}
<ol>{% for each in judged %}<li><strong>{{ each.verdict }}</strong>: {{ each.words }}</li>{% endfor %}</ol>
<p class="quiet">Recognition counts as shown only where the joint network beats both identity alone and the control, in which whole people's attributes are shuffled
between people: labels that are the same on all photographs of a person may help whatever they say. Chosen before any row was trained: the first claim is decided by
rank 1 among {{ "{:,}".format(paper.DISTRACTORS) }} real distractors (or the number nearest to it that was scored) and by TAR at FAR {{ far }} among the same, because
a small network finds hardly anybody among a million, where two of them cannot be told apart; the second says what the paper says, among the most distractors of
either kind, and decides nothing else. Pairs decide nothing. A comparison holds where its interval leaves 0 out, all seeds say the same, and p by Holm over the
comparisons that decide its claim is below 5 %. Intervals come from drawing people, of a pair both, each draw being off by how far seeds scatter besides. Best level
by validation people: {{ best or "not known yet" }}.</p>
{% for each, table in comparisons %}<h3>Claim {{ loop.index }}: {{ each.verdict }}</h3>{{ table }}{% endfor %}
{% if unscreened %}<p class="note">{{ unscreened }}.</p>{% endif %}
{% if missing %}<p class="note">Not done yet: {{ missing | join(", ") }}.</p>{% endif %}
<h2>Held-out people among distractors</h2>
<p>Every photograph of a held-out person in turn joins the distractors, and the person's others look for it. Real distractors are faces of other sets, without probe
people. Synthetic ones are vectors drawn from a mixture of Gaussians that was fitted to one half of the real embeddings of the same network: they are nobody.</p>
{% for each in curves %}{{ each }}{% endfor %}
<h2>Are synthetic distractors like real ones?</h2>
{{ check }}
<h2>Where the attribute branch leaves</h2>
{% for each in levels %}{{ each }}{% endfor %}
<h2>Labels of people, by vote</h2>
{{ attributes }}
<h2>All rows</h2>
{{ rows }}
<h2>Who was left out</h2>
<ul>{% for each in notes %}<li>{{ each }}</li>{% endfor %}</ul>
<p class="quiet">polyface reproduce joint --scale {{ recipe.name }}, commit {{ commit }}. Every number with its n and notes: scores.csv; those of the figures:
figures/*.csv.</p>
"""
