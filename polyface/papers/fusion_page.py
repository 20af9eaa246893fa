"""The page of paper A: the rebuilt tables and figures beside the paper's own numbers, a verdict for every claim, the controls, in one file that opens anywhere."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from markupsafe import Markup

from polyface import page
from polyface.files import write_atomically
from polyface.images import read
from polyface.papers import fusion_claims as claims
from polyface.papers import fusion_figures as figures
from polyface.papers import fusion_statistics as statistics
from polyface.papers.fusion_config import FusionConfig, SplitName
from polyface.papers.fusion_controls import Control, Random
from polyface.papers.fusion_pictures import IDENTITY
from polyface.papers.fusion_runs import Bench, Tables
from polyface.papers.fusion_statistics import Answers, Estimate, percent
from polyface.papers.fusion_strangers import Strangers

SPLITS: Mapping[SplitName, str] = {
    "paper": "as published: 70/30 after augmentation, so that nearly every test picture has a variant in training",
    "image": "70/30 of every person's pictures before augmentation; people are on both sides",
    "person": "people in folds, nobody on both sides; who it is cannot be asked",
}
FINDINGS = "findings.json"
PAGE = "fusion.html"


@dataclass(frozen=True)
class World:
    """All that is known of a world."""

    bench: Bench
    tables: Mapping[tuple[SplitName, str], Tables]
    random: Mapping[SplitName, Random]
    controls: Sequence[Control]
    model: Path
    speeds: Sequence[Mapping[str, object]] = field(default_factory=list)
    heads_seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.bench.pictures.name


def write_page(out: Path, config: FusionConfig, worlds: Sequence[World], strangers: Strangers | None) -> Path:
    """OUT/fusion.html, OUT/figures/*.png and .csv, and OUT/findings.json, which has every number of the page."""
    pictures = out / "figures"
    findings: dict[str, object] = {"scale": config.name}
    sections = [_opening(config, worlds, strangers, pictures)]
    for world in worlds:
        sections.append(_world(world, pictures))
        findings[world.name] = _findings(world)
    if strangers is not None:
        sections.append(_strangers(strangers))
        findings["strangers"] = _findings_of_strangers(strangers)
    write_atomically(out / FINDINGS, json.dumps(findings, indent=1) + "\n")
    body = page.render("{% for each in sections %}{{ each }}{% endfor %}", sections=sections)
    write_atomically(out / PAGE, page.page(f"Learning and fusing features across tasks, rebuilt ({config.name})", body, STYLE))
    return out / PAGE


# The opening: the figure that convinces


def _opening(config: FusionConfig, worlds: Sequence[World], strangers: Strangers | None, folder: Path) -> Markup:
    drawn = []
    for world in worlds:
        found: list[tuple[str, str, Estimate, Estimate | None]] = []
        for (split, moment), tables in world.tables.items():
            random = world.random.get(split)
            if random is not None and moment == "end" and random.task in tables.targets:
                found.append((split, random.task, claims.gain_of_identity(tables, random.task), claims.gain_at_random(random)))
        if strangers is not None and found and found[0][1] in strangers.targets:
            found.append(("strangers", found[0][1], statistics.difference(strangers.one(IDENTITY, found[0][1]), strangers.one(found[0][1], found[0][1])), None))
        if found:
            file = folder / f"gains-{world.name}.png"
            figures.gains(found, file)
            drawn.append((world.bench.pictures.title, _uri(file)))
    rows = [
        {"world": world.name, "split": split, "read at": _moment(tables), **claims.judge(tables).verdicts}
        for world in worlds
        for (split, _), tables in world.tables.items()
    ]
    return page.render(OPENING, drawn=drawn, verdicts=page.table(rows), hypotheses=claims.HYPOTHESES, sgd=config.networks.algorithm == "sgd", splits=SPLITS)


# A world


def _world(world: World, folder: Path) -> Markup:
    pictures, bench = world.bench.pictures, world.bench
    counts = f"{len(pictures.keys):,} pictures of {len(pictures.names)} people, {bench.config.variants} variants of each, {bench.config.network.size} pixels"
    parts = [_split(world, tables, folder) for tables in world.tables.values()]
    sure = None
    if pictures.sure is not None and "image" in [split for split, _ in world.tables]:
        tables = world.tables["image", "end"]
        sure = _table_2(
            tables.only(pictures.sure[bench.people]), f"Table 2 in split image, test people whose groups have a share of 0.8 or more: {int(pictures.sure.sum())}"
        )
    seconds = {str(row["split"]): 0.0 for row in world.speeds}
    for row in world.speeds:
        seconds[str(row["split"])] += float(row["seconds"])  # type: ignore[arg-type]
    return page.render(
        WORLD, title=pictures.title, counts=counts, notes=pictures.notes, strength=f"{bench.strength:g}", parts=parts, controls=_controls(world), sure=sure,
        speeds=page.table(world.speeds), total=sum(seconds.values()), heads=world.heads_seconds, model=world.model.name,
    )  # fmt: skip


def _split(world: World, tables: Tables, folder: Path) -> Markup:
    stem = f"{world.name}-{tables.split}" + ("" if tables.moment == "end" else "-early")
    shown: list[tuple[str, str]] = []
    for target in tables.targets:
        figures.curves(tables, target, folder / f"curves-{stem}-{target}.png")
        shown.append((f"test accuracy of {target} while the new layers learn (figures 8 to 11)", _uri(folder / f"curves-{stem}-{target}.png")))
    figures.overlap(tables, folder / f"overlap-{stem}.png")
    shown.append(("overlap of features on test pictures, linear CKA (figure 2)", _uri(folder / f"overlap-{stem}.png")))
    if tables.moment == "end":
        split = world.bench.splits(tables.split)[0]
        networks = {task: world.bench.own(split, task).load() for task in tables.tasks}
        figures.filters(networks, folder / f"filters-{stem}.png")
        figures.maps(networks, world.bench.images[split.test[0]], folder / f"maps-{stem}.png")
        shown += [
            ("filters of the three convolutions (figure 4)", _uri(folder / f"filters-{stem}.png")),
            ("one face at every layer (figure 5)", _uri(folder / f"maps-{stem}.png")),
        ]
    judged = claims.judge(tables)
    rows = [
        {"claim": each.claim, "target": each.target, "what": each.what, "points (95 %)": percent(each.estimate, sign=True), "verdict": each.verdict}
        for each in judged.claims
    ]
    tables_shown = [_table_1(tables), _table_2(tables, "Table 2, accuracy in %"), _merges(tables), _shapley(tables)]
    ceiling = tables.own_identity is not None and tables.split == "paper" and tables.own_identity > statistics.CEILING
    return page.render(
        SPLIT, name=f"Split {tables.split}, {_moment(tables)}", what=SPLITS[tables.split], tables=tables_shown, claims=page.table(rows), shown=shown,
        verdicts=judged.verdicts,
        ceiling=ceiling,
    )  # fmt: skip


def _table_1(tables: Tables) -> Markup:
    rows = []
    for source in (*tables.tasks, *tables.extra):
        row: dict[str, object] = {"feature": source}
        for target in tables.targets:
            diagonal = source == target
            answers = tables.networks[target] if diagonal else tables.one(source, target)
            row[target] = f"{percent(statistics.accuracy(answers))}{_beside(claims.papers_cell(source, target))}"
        rows.append(row)
    rows.append({"feature": "constant answer", **{target: percent(statistics.accuracy(tables.constants[target])) for target in tables.targets}})
    return page.table(
        rows,
        caption="Table 1, accuracy in %: rows are features, columns what they are used for, the diagonal the network itself; 95 % over people | the paper's",
    )


def _table_2(tables: Tables, caption: str) -> Markup:
    named = (
        ("own", "own", lambda target: tables.networks[target]),
        ("own, with the same two layers", None, lambda target: tables.one(target, target)),
        ("identity's feature", None, lambda target: tables.one(IDENTITY, target)),
        ("other three", "other three", lambda target: tables.others(target)),
        ("all", "all", lambda target: tables.all(target)),
    )
    rows: list[dict[str, object]] = []
    for name, papers, of in named:
        shown = "all but the own" if name == "other three" and len(tables.tasks) != 4 else name
        row: dict[str, object] = {"features": shown}
        row |= {target: f"{percent(statistics.accuracy(of(target)))}{_beside(claims.papers_row(papers, target) if papers else None)}" for target in tables.targets}
        rows.append(row)
    gains: dict[str, object] = {"features": "all above own, points"}
    for target in tables.targets:
        said = claims.PRINTED_GAINS.get(target)
        corrected = " (Table 2 gives +11.8)" if target == "gender" else ""
        gains[target] = percent(statistics.difference(tables.all(target), tables.networks[target]), sign=True) + (f" | printed +{said}{corrected}" if said else "")
    return page.table([*rows, gains], caption=caption)


def _merges(tables: Tables) -> Markup:
    """Merging algorithms against concatenation, all features, paired over test people."""
    merges = list(dict.fromkeys(name.rsplit("|", 1)[1] for name in tables.cells))
    rows = [{"merging all features": "logits averaged (late fusion)", **{target: _against(tables.late[target], tables.all(target)) for target in tables.targets}}]
    for merge in merges:
        cells = {target: tables.all(target, merge) for target in tables.targets}
        rows.append(
            {"merging all features": merge, **{target: _against(cells[target], tables.all(target) if merge != "concatenation" else None) for target in tables.targets}}
        )
    return page.table(rows, caption="Merging, accuracy in %, and points above concatenation with 95 % over test people")


def _shapley(tables: Tables) -> Markup:
    if tables.moment == "early":
        return Markup()
    shares = {target: claims.shapley_of(tables, target) for target in tables.targets}
    rows: list[dict[str, object]] = [{"feature": source, **{target: f"{100 * shares[target][source]:+.1f}" for target in tables.targets}} for source in tables.tasks]
    return page.table(
        rows, caption=f"Shapley shares: points of accuracy above the constant answer that each feature brings, over all {2 ** len(tables.tasks) - 1} sets of features"
    )


def _controls(world: World) -> Markup:
    """Each control beside all, own and identity's of the same split."""
    split = world.bench.config.controls
    if split is None or (split, "end") not in world.tables:
        return Markup()
    tables = world.tables[split, "end"]
    columns = [*tables.targets, *world.bench.pictures.beside]
    rows: list[dict[str, object]] = [{"control": "all features (Table 2)", **{target: percent(statistics.accuracy(tables.all(target))) for target in tables.targets}}]
    for each in world.controls:
        row: dict[str, object] = {"control": each.name}
        for target, answers in each.answers.items():
            compared = tables.all(target) if target in tables.targets and np.array_equal(answers.rows, tables.all(target).rows) else None
            row[target] = _against(answers, compared)
        rows.append(row)
    for name, random in world.random.items():
        gap = claims.gain_at_random(random)
        rows.append({
            "control": f"random groups of the sizes of {random.task}, split {name}: own {percent(statistics.accuracy(random.own))}, identity's feature "
            f"{percent(statistics.accuracy(random.identity))}, gain {percent(gap, sign=True)}"
        })  # fmt: skip
    return page.table(rows, ["control", *columns], caption=f"Controls in split {split}: accuracy in %, and points against all features with 95 % over test people")


def _strangers(found: Strangers) -> Markup:
    rows = []
    for name, of in (("own network", None), *((f"{task}'s feature", task) for task in found.tasks), ("all but the own", "others"), ("all", "all")):
        row: dict[str, object] = {"features": name}
        for target in found.targets:
            answers = found.networks[target] if of is None else found.all(target) if of == "all" else found.others(target) if of == "others" else found.one(of, target)
            row[target] = percent(statistics.accuracy(answers))
        rows.append(row)
    rows.append({"features": "constant answer", **{target: f"{100 * found.constants[target]:.1f}" for target in found.targets}})
    gains = [_gain_row(found, target) for target in found.targets]
    pairs = [
        {"feature": each["feature"], "metric": each["metric"], "value": _pair(each), "pairs": each["n"]} for each in found.pairs if "flip" not in str(each["metric"])
    ]
    return page.render(
        STRANGERS, sets=found.sets, table=page.table(rows, caption="accuracy in %, test pictures of the target's own set"), gains=page.table(gains),
        pairs=page.table(pairs, caption="LFW: same person or not"),
    )  # fmt: skip


def _gain_row(found: Strangers, target: str) -> dict[str, object]:
    gap = statistics.difference(found.one(IDENTITY, target), found.one(target, target))
    fusion = statistics.difference(found.all(target), found.one(target, target))
    return {
        "target": target, "identity's feature above the own": percent(gap, sign=True), "H2": statistics.verdict(gap), "all above the own": percent(fusion, sign=True),
        "H3 against the own": statistics.verdict(fusion),
    }  # fmt: skip


# Findings, for machines


def _findings(world: World) -> dict[str, object]:
    made: dict[str, object] = {"pictures": len(world.bench.pictures.keys), "people": len(world.bench.pictures.names), "strength": world.bench.strength}
    for (split, moment), tables in world.tables.items():
        judged = claims.judge(tables)
        made[f"{split} {moment}"] = {
            "networks": {target: statistics.accuracy(answers).told() for target, answers in tables.networks.items()},
            "cells": {cell: statistics.accuracy(answers).told() for cell, answers in tables.cells.items()},
            "constants": {target: statistics.accuracy(answers).told() for target, answers in tables.constants.items()},
            "cka": tables.alike,
            "claims": [
                {"claim": each.claim, "target": each.target, "what": each.what, "verdict": each.verdict, **each.estimate.told()} for each in judged.claims
            ],
            "verdicts": dict(judged.verdicts),
            "shapley": {target: claims.shapley_of(tables, target) for target in tables.targets} if moment == "end" else {},
        }  # fmt: skip
    made["random"] = {split: {"task": each.task, "gain": claims.gain_at_random(each).told(), "own": each.own.accuracy} for split, each in world.random.items()}
    made["controls"] = {each.name: {target: statistics.accuracy(answers).told() for target, answers in each.answers.items()} for each in world.controls}
    made["seconds"] = {"networks": sum(float(str(row["seconds"])) for row in world.speeds), "heads": world.heads_seconds}
    return made


def _findings_of_strangers(found: Strangers) -> dict[str, object]:
    return {
        "cells": {cell: statistics.accuracy(answers).told() for cell, answers in found.cells.items()},
        "networks": {target: statistics.accuracy(answers).told() for target, answers in found.networks.items()},
        "constants": dict(found.constants), "pairs": list(found.pairs),
    }  # fmt: skip


def _moment(tables: Tables) -> str:
    return "at the end" if tables.moment == "end" else f"where identity's own accuracy passed 60 % (iteration {tables.step:,})"


def _against(answers: Answers, compared: Answers | None) -> str:
    value = f"{100 * answers.accuracy:.1f}"
    return value if compared is None else f"{value} | {percent(statistics.difference(answers, compared), sign=True)}"


def _beside(papers: float | None) -> str:
    return "" if papers is None else f" | {papers}"


def _pair(each: Mapping[str, object]) -> str:
    return percent(each) if each["low"] is not None else f"{100 * float(str(each['value'])):.1f}"


def _uri(file: Path) -> str:
    image = cv2.cvtColor(read.decode(file.read_bytes(), str(file)), cv2.COLOR_RGB2RGBA)
    return page.picture(image)


STYLE = """
figure { margin: 1rem 0; }
figure img { max-width: 100%; background: #fff; }
figcaption { color: var(--quiet); font-size: .875rem; }
td { white-space: nowrap; }
"""

OPENING = """\
<p>Li and Zhu (2016, arXiv 1610.04322) train four small networks on the same faces, for who it is, age, race and gender, freeze their features, and find that features
learned for identity answer the other questions better than those learned for them, and that all together do best. Is that true, and is it about faces, or about
remembering people?</p>
{% for title, uri in drawn %}
<figure><img src="{{ uri }}" alt="gain of identity's feature over the own feature in each split">
<figcaption>{{ title }}: what identity's feature gains over the own feature, both
with the same two new layers, in each split; beside it the same where people were put into groups of the same sizes at random.
A gain at random groups is memory of people.</figcaption></figure>
{% endfor %}
<h2>Verdicts</h2>
<ul>{% for name, words in hypotheses.items() %}<li><strong>{{ name }}</strong> {{ words }}</li>{% endfor %}</ul>
{{ verdicts }}
<p class="quiet">holds: the 95 % interval, people drawn together, lies above 0 (H1 and H3: for every cell; H2: for one at least); fails: below 0
(H1 and H3: for some cell; H2: for all); ceiling: identity's own accuracy is above 97 %, so that nothing is left to gain.</p>
<ul>{% for name, words in splits.items() %}<li><strong>{{ name }}</strong>: {{ words }}</li>{% endfor %}</ul>
<p>The paper prints its gain for gender as 21.8 in its abstract, its section 5 and its conclusion. Its own Table 2 gives 96.1 - 84.3 = 11.8;
21.8 is a slip that was copied twice.</p>
{% if not sgd %}<p class="quiet">The paper trains with SGD; these networks were trained with Muon and AdamW, at a tenth of the rate.</p>{% endif %}
"""

WORLD = """\
<h2>{{ title }}</h2>
<p>{{ counts }}. Strength of variation {{ strength }}. The fused network is a model directory, <code>{{ model }}</code> in this world's folder:
<code>polyface analyze --model</code> runs it.</p>
{% if notes %}<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
{% for part in parts %}{{ part }}{% endfor %}
{% if sure %}{{ sure }}{% endif %}
<h3>What a sceptic asks</h3>
{{ controls }}
<details><summary>Speed: {{ "%.0f"|format(total) }} s for all networks of this world, {{ "%.0f"|format(heads) }} s for all heads</summary>{{ speeds }}</details>
"""

SPLIT = """\
<h3>{{ name }}</h3>
<p>{{ what }}. {% for claim, verdict in verdicts.items() %}<strong>{{ claim }} {{ verdict }}</strong>{{ ", " if not loop.last else "." }}{% endfor %}
{% if ceiling %}Identity's own network is above 97 %: gains are at the ceiling.{% endif %}</p>
{% for table in tables %}{{ table }}{% endfor %}
<details><summary>Every claim with its interval</summary>{{ claims }}</details>
<details><summary>Figures</summary>
{% for caption, uri in shown %}<figure><img src="{{ uri }}" alt="{{ caption }}"><figcaption>{{ caption }}</figcaption></figure>{% endfor %}
</details>
"""

STRANGERS = """\
<h2>Strangers: sets that share no person</h2>
<p>{% for task, title in sets.items() %}{{ task }} from {{ title }}{{ "; " if not loop.last else "." }}{% endfor %} 
Each network saw its own set alone; heads learn and are tested on the target's.</p>
{{ table }}
{{ gains }}
{{ pairs }}
"""
