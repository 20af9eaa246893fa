"""A page of answers: every face with what was answered of it, to look through in a browser, and what its reader has to know of the model.

Of each face a small picture is kept and the words about it; pictures stream by. The page knows the kinds of questions, not the names of tasks: new tasks are shown too.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from polyface import files, page
from polyface.images import draw, geometry
from polyface.inference.analyze import Analyzer, ClassMap, Face, ImageAnswers, Picture, likely_traits
from polyface.inference.card_page import NOT_FOR
from polyface.inference.engine import Engine
from polyface.labels import readable
from polyface.tasks.kinds import Angles, Category, Points, Regions, Scale, Task, Traits
from polyface.tasks.parsing import IN_WORDS
from polyface.terminal import percent

REPORT, PART = "report.html", "report.part.html"
SIDE, ROOM = 168, 1.5
"""The side of a face's picture in pixels, and how many times its box that shows."""


@dataclass(frozen=True)
class Shown:
    """One face of the page, how well it is seen there (size times score), and what can be asked for of it."""

    drawn: Markup
    seen: float
    filterable: dict[str, Any]


@dataclass
class Gathered:
    """What a page will show: each face of a photograph, and of a video each face once, where it is seen best.

    at: where in `shown` the face of a video with this number is. numbers {task: unit}: for the page's filters."""

    shown: list[Shown] = field(default_factory=list)
    at: dict[tuple[str, int], int] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    pictures: int = 0
    videos: set[str] = field(default_factory=set)
    without: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    whole: bool = False
    """Whether all was looked at."""

    def add(self, answers: ImageAnswers, tasks: Sequence[Task]) -> None:
        if answers.error is not None:
            self.refused.append(answers.error)
            return
        if answers.frame is not None:
            self.videos.add(answers.image)
        else:
            self.pictures += 1
            self.without += [] if answers.faces else [answers.image]
        for face in answers.faces:
            x0, y0, x1, y1 = face.box
            seen, at = (x1 - x0) * (y1 - y0) * face.score, len(self.shown)
            if face.track is not None:
                at = self.at.setdefault((face.image, face.track), at)
                if at < len(self.shown) and self.shown[at].seen >= seen:
                    continue
            filterable = {task.name: found for task in tasks if task.name in face.answers and (found := _filterable(task, face.answers[task.name]))}
            self.numbers.update({task.name: task.unit for task in tasks if isinstance(task, Scale) and task.name in filterable})
            assert answers.pixels is not None
            self.shown[at : at + 1] = [Shown(_drawn(face, answers.pixels, tasks, filterable), seen, filterable)]

    @property
    def faces(self) -> list[Markup]:
        return [each.drawn for each in self.shown]

    def words(self) -> dict[str, Counter[str]]:
        """How many faces have each word, by task."""
        counted: dict[str, Counter[str]] = {}
        for name, found in self._filterable():
            counted.setdefault(name, Counter()).update(found.get("words", [])[: 1 if found.get("one") else None])
        return counted

    def possible(self) -> bool:
        """Whether any answer comes with others that are possible."""
        return any(found.get("others") for _, found in self._filterable())

    def _filterable(self) -> Iterator[tuple[str, Any]]:
        return (item for each in self.shown for item in each.filterable.items())


@dataclass(frozen=True)
class Reporting(Analyzer):
    """An analyzer that gathers what it answers for a page."""

    gathered: Gathered = field(default_factory=Gathered)

    def analyze_many(self, pictures: Iterable[Picture], tasks: Iterable[str] | None = None, every: int | str = 1) -> Iterator[ImageAnswers]:
        chosen = self.chosen(tasks)
        for answers in super().analyze_many(pictures, [task.name for task in chosen], every):
            yield answers
            self.gathered.add(answers, chosen)  # after whoever asked has written it
        self.gathered.whole = True


def write(out: Path, analyzer: Reporting) -> Path:
    """OUT/report.html, or, where the analyzer was cut off, OUT/report.part.html of what it has answered, which leaves the page of an earlier run."""
    written = out / (REPORT if analyzer.gathered.whole else PART)
    files.write_atomically(written, html(analyzer.gathered, analyzer.engine))
    if analyzer.gathered.whole:
        (out / PART).unlink(missing_ok=True)
    return written


def html(gathered: Gathered, engine: Engine) -> str:
    filters = [{"name": name, "words": sorted(words.items())} for name, words in gathered.words().items() if words]
    values = {"gathered": gathered, "filters": filters, "card": engine.card, "label": engine.label, "about": about(engine), "possible": gathered.possible()}
    values["legend"] = [entry for task in engine.tasks if isinstance(task, Regions) for entry in legend(task)[1:]]
    body = page.render(BODY, **values, faces=Markup("\n").join(gathered.faces), spaced=readable)
    return page.page("Faces and answers", body, STYLE, SCRIPT)


def about(engine: Engine) -> Markup:
    """What the reader of any answers has to know: what not to use them for, the model's terms and limits, how well it does, what it learned from."""
    limits = [*engine.card.limits, *(f"{name}: {note}" for name, note in engine.card.task_notes.items())]
    return page.render(ABOUT, card=engine.card, label=engine.label, limits=limits, not_for=NOT_FOR, scores=_scores(engine), data=_data(engine))


def legend(task: Regions) -> list[tuple[str, str]]:
    """Each class in words, and its colour as CSS has it, the background first."""
    colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in draw.region_palette(len(task.vocabulary))]
    return [(readable(IN_WORDS.get(word, word)), colour) for word, colour in zip(task.vocabulary, colours, strict=True)]


# One face


def _drawn(face: Face, pixels: np.ndarray, tasks: Sequence[Task], filterable: dict[str, Any]) -> Markup:
    to_thumbnail = geometry.to_square(face.box, SIDE, ROOM)
    crop = page.picture(geometry.warp(pixels, to_thumbnail, (SIDE, SIDE)), quality=80)
    regions, points = None, ""
    for task in tasks:
        answer = face.answers.get(task.name)
        if isinstance(answer, ClassMap):
            regions = page.picture(_coloured(answer, to_thumbnail))
        elif isinstance(task, Points) and answer is not None:
            points += "".join(f"M{x:.0f} {y:.0f}h0" for x, y in geometry.apply(to_thumbnail, np.asarray(answer)))
    said = [words for task in tasks if task.name in face.answers and (words := _in_words(task, face.answers[task.name]))]
    values = {"face": face, "name": Path(face.image).name, "crop": crop, "regions": regions, "points": points, "said": said}
    return page.render(FACE, **values, filterable=filterable, side=SIDE)


def _coloured(regions: ClassMap, to_thumbnail: np.ndarray) -> np.ndarray:
    """uint8 RGBA [SIDE / 2, SIDE / 2, 4], background clear."""
    half = geometry.compose(geometry.about((0.0, 0.0), 0.5), geometry.compose(to_thumbnail, geometry.invert(regions.matrix)))
    classes = geometry.warp_smoothly(regions.crop, half, (SIDE // 2, SIDE // 2))
    return np.dstack([draw.region_palette(len(regions.vocabulary))[classes], np.where(classes > 0, 130, 0).astype(np.uint8)])


@dataclass(frozen=True)
class _Said:
    """An answer in a few words, what goes beside it, and the words or numbers that hold the truth nine times in ten; or a list of things."""

    name: str
    best: str = ""
    beside: str = ""
    among: str = ""
    listed: str = ""


def _in_words(task: Task, answer: Any) -> _Said | None:
    match task:
        case Category():
            possible = answer.get("set") or ()
            beside = percent(answer["probabilities"][answer["answer"]])
            return _Said(task.name, readable(answer["answer"]), beside, " or ".join(map(readable, possible)) if len(possible) > 1 else "")
        case Scale():
            among = f"{answer['low']:.0f} to {answer['high']:.0f}" if {"low", "high"} <= answer.keys() else ""
            return _Said(task.name, f"{answer[task.unit]:.0f} {task.unit}", among=among)
        case Traits():
            return _Said(task.name, listed=", ".join(map(readable, likely_traits(answer))) or "none")
        case Angles():
            return _Said(task.name, listed=", ".join(f"{axis} {round(answer[axis])}°".replace("-", "−") for axis in task.axes))
    return None


def _filterable(task: Task, answer: Any) -> dict[str, Any] | None:
    """What the page's script compares: words, the best first, of which `one` is the answer and the others are possible; or a number and its interval."""
    match task:
        case Category():
            others = [word for word in answer.get("set") or () if word != answer["answer"]]
            return {"one": True, "words": [answer["answer"], *others], "others": bool(others)}
        case Traits():
            return {"words": likely_traits(answer)}
        case Scale():
            best = answer[task.unit]
            return {"at": best, "low": answer.get("low", best), "high": answer.get("high", best), "others": "low" in answer}
    return None


# The model


def _scores(engine: Engine) -> Markup | None:
    rows = []
    for score in engine.card.scores:
        interval = None if score.low is None or score.high is None else f"{score.low:.4g} to {score.high:.4g}"
        measured = {"question": score.task, "data set": score.dataset, "measure": score.metric, "value": score.value, "95 %": interval}
        rows.append({**measured, "best constant answer": score.constant, "faces or pairs": score.n})
    return page.table(rows) if rows else None


def _data(engine: Engine) -> Markup | None:
    rows = [{"data set": entry.name, "pictures": entry.images, "people": entry.subjects, "terms": entry.terms} for entry in engine.card.data]
    return page.table(rows) if rows else None


FACE = """\
<article class="face" data-picture="{{ face.image }}" data-answers='{{ filterable|tojson }}'>
<div class="crop"><img src="{{ crop }}" width="{{ side }}" height="{{ side }}" alt="face {{ face.index }} of {{ name }}" loading="lazy">
{% if regions %}<img class="regions" src="{{ regions }}" alt="" loading="lazy">{% endif %}
{% if points %}<svg class="points" viewBox="0 0 {{ side }} {{ side }}" aria-hidden="true"><path d="{{ points }}"/></svg>{% endif %}
</div>
<div>
<h3 title="{{ face.image }}">{{ name }}
<span>{% if face.track is none %}face {{ face.index }}{% else %}face {{ face.track }}, {{ "%.2f"|format(face.time) }} s{% endif %}</span></h3>
<dl>
{% for answer in said if answer.best %}
<dt>{{ answer.name }}</dt><dd><b>{{ answer.best }}</b> {{ answer.beside }}</dd>
{% if answer.among %}<dd class="among">{{ answer.among }}</dd>{% endif %}
{% endfor %}
</dl>
</div>
{% for answer in said if answer.listed %}<p><span>{{ answer.name }}</span> {{ answer.listed }}</p>{% endfor %}
{% for note in face.notes %}<p>{{ note }}</p>{% endfor %}
</article>"""

BODY = """\
{% if not gathered.whole %}<p><b>The run was cut off: these are the answers up to there.</b></p>{% endif %}
<p>Faces: {{ "{:,}".format(gathered.faces|length) }}; pictures: {{ "{:,}".format(gathered.pictures) }}
{%- if gathered.videos %}; videos: {{ "{:,}".format(gathered.videos|length) }}, each face once{% endif %}
{%- if gathered.refused %}; refused: {{ "{:,}".format(gathered.refused|length) }}{% endif %}.
By the model <b>{{ label }}</b>. <a href="#limits">What not to use it for, its limits and terms</a>.</p>
{% if card.trained_on_drawings %}<p><b>This model was trained on drawings, not on photographs.</b></p>{% endif %}
<p class="quiet">Answers are what annotators would say of a picture.
{%- if possible %} In a frame: all the answers it takes to hold theirs for nine faces in ten of all; where one is enough for that
there is no frame. How sure it is of this very face is the percentage.{% endif %}</p>
{% if gathered.faces %}
<form hidden>
{% for filter in filters %}
<label>{{ filter.name }}<select name="word {{ filter.name }}"><option value="">all</option>
{% for word, count in filter.words %}<option value="{{ word }}">{{ spaced(word) }} ({{ count }})</option>{% endfor %}
</select></label>
{% endfor %}
{% for name, unit in gathered.numbers.items() %}
<label>{{ name }} from<input type="number" name="from {{ name }}" placeholder="{{ unit }}"></label>
<label>to<input type="number" name="to {{ name }}" placeholder="{{ unit }}"></label>
{% endfor %}
<label>picture<input type="search" name="picture" placeholder="part of its name"></label>
<label>on the faces<select name="over"><option value="">nothing</option><option>points</option><option>regions</option></select></label>
{% if possible %}<label class="check"><input type="checkbox" name="possible">also those of whom it is possible</label>{% endif %}
<button type="reset">all faces</button>
<output aria-live="polite"></output>
</form>
{% if legend %}<ul class="legend" aria-label="Colours of the regions">
{%- for word, colour in legend %}<li><i style="background: {{ colour }}"></i>{{ word }}</li>{% endfor %}</ul>{% endif %}
{% endif %}
<div class="faces">
{{ faces }}
</div>
{% for title, names in (("No face was found on", gathered.without), ("Refused", gathered.refused)) if names %}
<details><summary>{{ title }}: {{ "{:,}".format(names|length) }}</summary><ul>{% for name in names %}<li>{{ name }}</li>{% endfor %}</ul></details>
{% endfor %}
{{ about }}
"""

ABOUT = """\
<h2 id="limits">What not to use it for</h2>
<ul>{% for line in not_for %}<li>{{ line }}</li>{% endfor %}</ul>
<h2>The model and its limits</h2>
<p>{{ label }}, made {{ card.created }}. Terms: {{ card.terms }}.</p>
{% if limits %}<ul>{% for line in limits %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
{% if scores %}<details><summary>How well it answers</summary>{{ scores }}</details>{% endif %}
{% if data %}<details><summary>What it learned from</summary>{{ data }}</details>{% endif %}
"""

STYLE = """\
form { display: flex; flex-wrap: wrap; gap: .6rem .8rem; align-items: end; margin: 1.5rem 0; padding: .8rem 1rem; background: var(--shade); border-radius: .6rem; }
form[hidden] { display: none; }
label { display: grid; font-size: .8rem; color: var(--quiet); }
label.check { display: flex; align-items: center; gap: .4rem; height: 2.2rem; }
label.check input { height: auto; }
select, input, button { font: inherit; font-size: .9rem; height: 2.2rem; padding: 0 .4rem; color: var(--ink); background: var(--card); border: 1px solid var(--line);
  border-radius: .35rem; }
select, input[type=search] { max-width: 11rem; }
input[type=number] { width: 5.2rem; }
output { line-height: 2.2rem; font-variant-numeric: tabular-nums; }
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 23rem), 1fr)); gap: 1rem; align-items: start; margin-bottom: 1.5rem; }
.face { display: grid; grid-template-columns: 7.5rem 1fr; gap: .5rem .9rem; padding: .8rem; background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  content-visibility: auto; contain-intrinsic-size: auto 12rem; }
.face[hidden] { display: none; }
.crop { position: relative; align-self: start; }
.crop > * { display: block; width: 100%; height: auto; border-radius: .35rem; }
.crop > .points, .crop > .regions { position: absolute; inset: 0; height: 100%; display: none; }
.legend { list-style: none; display: none; flex-wrap: wrap; gap: .1rem .9rem; max-width: none; margin: 0 0 1rem; padding: 0; font-size: .8rem; color: var(--quiet); }
.legend i { display: inline-block; width: .75rem; height: .75rem; margin-right: .35rem; border-radius: .2rem; vertical-align: -.08em; }
[data-over=regions] .legend { display: flex; }
.points path { stroke: #fff; stroke-width: 2.6; stroke-linecap: round; filter: drop-shadow(0 0 1px #000); }
[data-over=points] .crop > .points, [data-over=regions] .crop > .regions { display: block; }
h3 { margin: 0 0 .3rem; font-size: .85rem; font-weight: 600; line-height: 1.3; }
h3 span, .face p span { color: var(--quiet); font-weight: 400; }
dl { margin: 0; display: grid; grid-template-columns: auto 1fr; gap: .1rem .7rem; font-size: .875rem; line-height: 1.4; }
dt { color: var(--quiet); }
.face p { grid-column: 1 / -1; margin: 0; font-size: .8rem; line-height: 1.4; }
dd { margin: 0; }
dd.among { grid-column: 2; justify-self: start; margin-bottom: .25rem; padding: 0 .45rem; border: 1px solid var(--accent); border-radius: .35rem; font-size: .8rem; }
"""

SCRIPT = """\
const form = document.querySelector('form'), shown = form?.querySelector('output');
const faces = [...document.querySelectorAll('.face')].map(element =>
  ({element, picture: element.dataset.picture.toLowerCase(), answers: JSON.parse(element.dataset.answers)}));

function passes(face, [name, value], possible) {
  const [what, task] = [name.split(' ', 1)[0], name.slice(name.indexOf(' ') + 1)], answer = face.answers[task];
  if (value === '' || name === 'over' || name === 'possible') return true;
  if (name === 'picture') return face.picture.includes(value.toLowerCase());
  if (answer === undefined) return false;
  if (what === 'word') return answer.one && !possible ? answer.words[0] === value : answer.words.includes(value);
  if (what === 'from') return (possible ? answer.high : answer.at) >= Number(value);
  return (possible ? answer.low : answer.at) <= Number(value);
}

function show() {
  const values = [...new FormData(form)], possible = form.elements.possible?.checked;
  let count = 0;
  for (const face of faces) {
    face.element.hidden = !values.every(value => passes(face, value, possible));
    count += !face.element.hidden;
  }
  shown.textContent = `${count} of ${faces.length} faces`;
  document.body.dataset.over = form.elements.over.value;
}

if (form) {
  form.hidden = false;
  form.addEventListener('input', show);
  form.addEventListener('reset', () => setTimeout(show));
  form.addEventListener('submit', event => event.preventDefault());
  addEventListener('pageshow', show);  // by then a browser that comes back to the page has filled the form in again
  show();
}
"""
