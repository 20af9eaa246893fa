"""The page of paper A: the rebuilt tables and figures beside the paper's own numbers, a verdict for every claim, the controls, in one file that opens anywhere."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
from markupsafe import Markup

from polyface import page
from polyface.evaluation.report import commit
from polyface.files import write_atomically
from polyface.images import read
from polyface.papers import fusion_claims as claims
from polyface.papers import fusion_figures as figures
from polyface.papers import fusion_statistics as statistics
from polyface.papers import fusion_tables as tables
from polyface.papers.fusion_config import FusionConfig, SplitName
from polyface.papers.fusion_findings import World, findings, remarks, sure, unequal_steps, unlearned
from polyface.papers.fusion_pictures import IDENTITY
from polyface.papers.fusion_runs import Tables
from polyface.papers.fusion_statistics import Estimate
from polyface.papers.fusion_strangers import Strangers

SPLITS: Mapping[SplitName, str] = {
    "paper": "as published: 70/30 after augmentation, so that nearly every test picture has a variant in training",
    "image": "70/30 of every person's pictures before augmentation; people are on both sides",
    "person": "people in folds, nobody on both sides; who it is cannot be asked",
}
FINDINGS = "findings.json"
PAGE = "fusion.html"


def write_page(out: Path, config: FusionConfig, worlds: Sequence[World], strangers: Strangers | None) -> Path:
    """OUT/fusion.html, OUT/figures/*.png and .csv, and OUT/findings.json, which has every number of the page."""
    pictures = out / "figures"
    sections = [_opening(config, worlds, strangers, pictures), *(_world(world, pictures) for world in worlds)]
    if strangers is not None:
        sections.append(_strangers(strangers))
    write_atomically(out / FINDINGS, json.dumps(findings(config.name, worlds, strangers), indent=1) + "\n")
    body = page.render(BODY, sections=sections, scale=config.name, commit=commit() or "not known")
    write_atomically(out / PAGE, page.page(f"Learning and fusing features across tasks, rebuilt ({config.name})", body, STYLE))
    return out / PAGE


# The opening: the figure that convinces


def _opening(config: FusionConfig, worlds: Sequence[World], strangers: Strangers | None, folder: Path) -> Markup:
    drawn = []
    for world in worlds:
        if found := _gains(world, strangers):
            file = folder / f"gains-{world.name}.png"
            figures.gains(found, file)
            drawn.append((world.bench.pictures.title, _uri(file)))
    rows = [
        {"world": world.bench.pictures.title, "split": shown.split, "networks": "at the end" if shown.moment == "end" else f"at {shown.step:,} steps"}
        | {name: world.judged[moment].counted(name) for name in claims.HYPOTHESES}
        for world in worlds
        for moment, shown in world.tables.items()
    ]
    drawings = strangers is None and all(world.bench.pictures.drawings for world in worlds)
    return page.render(OPENING, drawn=drawn, verdicts=page.table(rows) if rows else "", hypotheses=claims.HYPOTHESES, config=config, splits=SPLITS, drawings=drawings)


def _gains(world: World, strangers: Strangers | None) -> list[tuple[str, str, Estimate, Estimate | None]]:
    """(split, task, what identity's feature gains, the same for random groups) of every task that is a function of who it is, in every split that asks it."""
    found: list[tuple[str, str, Estimate, Estimate | None]] = []
    for task in (each.name for each in world.bench.pictures.questions if each.of_person and not each.beside):
        for (split, moment), shown in world.tables.items():
            if moment == "end" and task in shown.targets:
                random = world.random.get((split, task))
                found.append((split, task, claims.gain_of_identity(shown, task), None if random is None else claims.gain_at_random(random)))
        if strangers is not None and task in strangers.targets:
            found.append(("strangers", task, statistics.difference(strangers.one(IDENTITY, task), strangers.one(task, task)), None))
    return found


# A world


def _world(world: World, folder: Path) -> Markup:
    pictures, bench = world.bench.pictures, world.bench
    counts = f"{len(pictures.keys):,} pictures of {len(pictures.names)} people, {bench.config.variants} variants of each, {bench.config.network.size} pixels"
    parts = [_split(world, shown, folder) for shown in world.tables.values()]
    certain = sure(world)
    few = None if certain is None else tables.table_2(certain.tables, f"Table 2 in split image, {certain.people} test people whose groups have a share of 0.8 or more")
    return page.render(
        WORLD, title=pictures.title, counts=counts, notes=pictures.notes, strength=f"{bench.strength:g}", parts=parts, random=tables.random(world),
        controls=tables.controls(world),
        answers=tables.judged(world.of_controls, f"What the controls answer, split {bench.config.controls}: points on the same test rows"),
        sure=few, certain=certain, speeds=page.table(_speeds(world), caption=NAMES),
        total=sum(float(row["seconds"]) for row in world.speeds), heads=world.heads_seconds, model=world.model.name, steps=unequal_steps(world),
        unlearned=unlearned(world), missing=world.missing,
    )  # fmt: skip


def _split(world: World, shown: Tables, folder: Path) -> Markup:
    stem = f"{world.name}-{shown.split}" + ("" if shown.moment == "end" else "-early")
    pictures: list[tuple[str, str]] = []
    for target in shown.targets:
        file = folder / f"curves-{stem}-{target}.png"
        first = figures.curves(shown, target, file)
        pictures.append((f"test accuracy of {target} while the new layers learn, from iteration {first:,} (figures 8 to 11)", _uri(file)))
    figures.overlap(shown, folder / f"overlap-{stem}.png")
    pictures.append(("overlap of features on test pictures, 1 the same but for rotation and scale, linear CKA (figure 2)", _uri(folder / f"overlap-{stem}.png")))
    if shown.moment == "end":
        split = world.bench.splits(shown.split)[0]
        networks = {task: world.bench.own(split, task).load() for task in shown.tasks}
        figures.filters(networks, folder / f"filters-{stem}.png")
        figures.maps(networks, world.bench.images[split.test[0]], folder / f"maps-{stem}.png")
        pictures += [
            ("filters of the three convolutions (figure 4)", _uri(folder / f"filters-{stem}.png")),
            ("one face at every layer (figure 5)", _uri(folder / f"maps-{stem}.png")),
        ]
    judged = world.judged[shown.split, shown.moment]
    numbers = [tables.table_1(shown), tables.table_2(shown, "Table 2"), tables.people(world, shown.split), tables.merges(shown), tables.shapley(shown)]
    ceiling = shown.own_identity is not None and shown.split == "paper" and shown.own_identity > statistics.CEILING
    return page.render(
        SPLIT, name=f"Split {shown.split}, networks {_moment(shown)}", what=SPLITS[shown.split], tables=numbers, claims=tables.judged(judged.claims), shown=pictures,
        verdicts=judged.verdicts, ceiling=ceiling, remarks=remarks(world, shown), moment=world.moment if (shown.split, shown.moment) == ("paper", "end") else "",
    )  # fmt: skip


def _speeds(world: World) -> list[dict[str, object]]:
    """Without the accuracies, which stand in the tables."""
    return [{name: each for name, each in row.items() if name != "accuracy"} for row in world.speeds]


def _strangers(found: Strangers) -> Markup:
    return page.render(
        STRANGERS, sets=found.sets, table=tables.strangers(found), gains=tables.judged(claims.judge_strangers(found)), pairs=tables.pairs(found),
        every_pair=tables.every_pair(found),
    )  # fmt: skip


def _moment(shown: Tables) -> str:
    return "at the end of training" if shown.moment == "end" else f"where identity's own accuracy passed 60 % (iteration {shown.step:,})"


def _uri(file: Path) -> str:
    image = cv2.cvtColor(read.decode(file.read_bytes(), str(file)), cv2.COLOR_RGB2RGBA)
    return page.picture(image)


STYLE = """
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
h2::first-letter, p::first-letter, figcaption::first-letter { text-transform: uppercase; }
figure { margin: 1rem 0; max-width: 100%; overflow-x: auto; }
figure img { display: block; max-width: max(100%, 32rem); background: #fff; }
figcaption { color: var(--quiet); font-size: .875rem; max-width: min(46rem, calc(100vw - 2rem)); position: sticky; left: 0; }
.shown { display: flex; flex-wrap: wrap; gap: 0 1rem; }
.shown figcaption { max-width: 32rem; }
.note { border-left: 3px solid var(--accent); padding-left: .8rem; }
th { max-width: 7rem; }
th, td { padding-right: .5rem; }
td { white-space: nowrap; }
"""

NAMES = (
    "@50: with a feature of so many numbers; #1: from another seed; half: on half of the training pictures; shared: one network for all tasks; groups: of joint groups; "
    "person-0: a fold of split person"
)
"""Of networks, as their folders are named."""

BODY = """\
{% for each in sections %}{{ each }}{% endfor %}
<p class="quiet">Made by <code>polyface reproduce fusion --scale {{ scale }}</code>, commit {{ commit }}.
Every number of this page: findings.json; those of the figures: figures/*.csv.</p>
"""

OPENING = """\
{% if drawings %}<p class="note">Drawn people only: nothing on this page is about photographs.</p>{% endif %}
<p>Li and Zhu (2016, arXiv 1610.04322) train four small networks on the same faces, for who it is, age, race and gender, freeze their features, and find that features
learned for identity answer the other questions better than those learned for them, and that all together do best. Is that true, and is it about faces, or about
remembering people?</p>
<p class="quiet">A network's feature is its last layer before the answers, {{ config.identity_length }} numbers for who it is and {{ config.other_length }} for each
other task; the own feature of a task is that of the network which was trained for it. A head, two new layers, learns a task from frozen features, of one network or of
several joined. The constant answer is the most frequent one in training, given to every face. Variants of a picture are turned, shifted, lit and blurred a little.</p>
{% for title, uri in drawn %}
<figure><img src="{{ uri }}" alt="gain of identity's feature over the own feature in each split">
<figcaption>{{ title }}: what identity's feature gains over the own feature, both
with the same two new layers, for each task that is a function of who it is, in each split that can ask it; beside it the same where people were put into groups
of the same sizes at random. A gain at random groups is memory of people.
Strangers are other sets, with classes of their own, at the end of this page.</figcaption></figure>
{% endfor %}
<h2>Verdicts</h2>
<ul>{% for name, words in hypotheses.items() %}<li><strong>{{ name }}</strong> {{ words }}</li>{% endfor %}</ul>
<ul>{% for name, words in splits.items() %}<li>Split <strong>{{ name }}</strong>: {{ words }}</li>{% endfor %}</ul>
{{ verdicts }}
<p class="quiet">A comparison holds where its 95 % interval, people drawn together, lies above 0, and fails where it lies below, if p by Holm over all comparisons of
that hypothesis in that split is below 5 % too; else it is undecidable. H1 and H3 hold where every cell does, and fail where some cell does; H2 holds where one does, and
fails where all do. Ceiling: identity's own accuracy is above 97 %, so that nothing is left to gain. Each task has one network; a head of Tables 1 and 2 and of
merging is the mean of a few seeds, others (late fusion, controls, subsets) have one: how far other networks would scatter is in no interval.</p>
<p>The paper prints its gain for gender as 21.8 in its abstract, its section 5 and its conclusion. Its own Table 2 gives 96.1 - 84.3 = 11.8;
21.8 is a slip that was copied twice.</p>
<p class="quiet">Each network took {{ "{:,}".format(config.networks.steps) }} steps of {{ config.networks.batch }} pictures, each head
{{ "{:,}".format(config.heads.steps) }} of {{ config.heads.batch }}; the paper says 20,000 of 200.
{% if config.networks.algorithm != "sgd" %}The paper trains with SGD; these networks were trained with Muon and AdamW, at a tenth of the rate.{% endif %}</p>
"""

WORLD = """\
<h2>{{ title }}</h2>
<p>{{ counts }}. Strength of variation {{ strength }}. The fused network is a model directory, <code>{{ model }}</code> in this world's folder:
<code>polyface analyze --model</code> runs it.</p>
{% if notes %}<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
{% if steps %}<p>{{ steps }}</p>{% endif %}
{% if missing %}<ul>{% for each in missing %}<li>not on this page: {{ each }}</li>{% endfor %}</ul>{% endif %}
{% for part in parts %}{{ part }}{% endfor %}
{% if sure %}{{ sure }}
<p>These are {% for group, count in certain.groups.items() %}{{ count }} {{ group }}{{ ", " if not loop.last else "." }}{% endfor %}
{% for each in certain.said %}{{ each }}{{ "; " if not loop.last else "." }}{% endfor %}</p>{% endif %}
<h3>What a sceptic asks</h3>
<p>Is a gain memory of people (groups dealt at random)? An ensemble (one task from four seeds)? Length (all features equally long)? Sharing (one network for all tasks)?
Depth (heads on earlier convolutions, conv1 to conv3)? Heads that learn on the very pictures which their networks have seen (out-of-fold: they do not)? Finer groups
(gender, age and race joint)? And what does training the whole on, end to end, give?</p>
{{ random }}
{{ answers }}
{% if controls %}<details><summary>Accuracy of every control</summary>{{ controls }}</details>{% endif %}
{% if unlearned %}<p>Networks that ended about where the constant answer is, so that what is made of their features says nothing:
{{ unlearned|join("; ") }}.</p>{% endif %}
<details><summary>Speed: {{ "%.0f"|format(total) }} s for all networks of this world, {{ "%.0f"|format(heads) }} s for all heads</summary>{{ speeds }}</details>
"""

SPLIT = """\
<h3>{{ name }}</h3>
<p>{{ what }}. {% for claim, verdict in verdicts.items() %}<strong>{{ claim }} {{ verdict }}</strong>{{ ", " if not loop.last else "." }}{% endfor %}
{% if ceiling %}Identity's own network is above 97 %: gains are at the ceiling.{% endif %}</p>
{% if moment %}<p>{{ moment }}.</p>{% endif %}
{% if remarks %}<ul>{% for each in remarks %}<li>{{ each }}</li>{% endfor %}</ul>{% endif %}
{% for table in tables %}{{ table }}{% endfor %}
<details><summary>Every claim with its interval</summary>{{ claims }}</details>
<details><summary>Figures, numbered as the paper's</summary><div class="shown">
{% for caption, uri in shown %}<figure><img src="{{ uri }}" alt="{{ caption }}"><figcaption>{{ caption }}</figcaption></figure>{% endfor %}
</div></details>
"""

STRANGERS = """\
<h2>Strangers: sets that share no person</h2>
<p>{% for task, title in sets.items() %}{{ task }} from {{ title }}{{ "; " if not loop.last else "." }}{% endfor %} 
Each network saw its own set alone, without copies of test pictures; heads learn and are tested on the target's. CelebA's people are told apart by name; the other sets
name nobody.</p>
{{ table }}
{{ gains }}
<p class="quiet">H3 is of all features above the best single one, whichever it is; above the own is less to ask, and is named apart.</p>
{{ pairs }}
<details><summary>The same without the mirrored picture too</summary>{{ every_pair }}</details>
"""
