"""Self-contained HTML pages: one file that opens anywhere, light or dark as its reader's screen is, on a phone or a desk, and asks no other machine for anything.

    body = page.render("<h2>{{ name }}</h2>{{ numbers }}", name=name, numbers=page.table(rows))
    files.write_atomically(path, page.page("Scores", body))

Whatever goes into a template is escaped, unless it is Markup already: what `render` and `table` return.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup


def page(title: str, body: Markup, style: str = "", script: str = "") -> str:
    """A whole page: a heading and a body, in this project's looks; style is added to its own, script runs last. A policy inside forbids it to load anything."""
    return str(render(PAGE, title=title, body=body, style=Markup(STYLE + style), script=Markup(script)))


def render(template: str, **values: object) -> Markup:
    """A jinja2 template with its values, escaped. Raises jinja2's UndefinedError for a value that is missing."""
    return Markup(_compiled(template).render(**values))


def table(rows: Iterable[Mapping[str, object]], columns: Sequence[str] | None = None, caption: str = "") -> Markup:
    """Rows {column: value} under their columns, by default those of the first row; numbers to the right, None an empty cell. Wide ones scroll by themselves, shaded where
    there is more, under a caption that stays."""
    rows = list(rows)
    columns = list(columns or (rows[0] if rows else ()))
    right = {column: any(row.get(column) is not None for row in rows) and all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns}
    cells = [[(_cell(row.get(column)), right[column]) for column in columns] for row in rows]
    return render(TABLE, caption=caption, heads=[(column, right[column]) for column in columns], rows=cells)


def picture(image: np.ndarray, longest: int | None = None, quality: int = 85) -> str:
    """The data URI of a picture: uint8 RGB [H, W, 3] as JPEG, RGBA [H, W, 4] as PNG; shrunk where its longer side is more than `longest` pixels."""
    by = 1.0 if longest is None else longest / max(image.shape[:2])
    if by < 1:
        image = cv2.resize(image, (max(1, round(image.shape[1] * by)), max(1, round(image.shape[0] * by))), interpolation=cv2.INTER_AREA)
    if image.shape[2] == 4:
        form, content = "png", cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA))[1]
    else:
        form, content = "jpeg", cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return f"data:image/{form};base64,{base64.b64encode(content.tobytes()).decode()}"


_environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@cache
def _compiled(template: str) -> Template:
    return _environment.from_string(template)


def _cell(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value


PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
{{ style }}
</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
{{ body }}
</main>
{% if script %}
<script>
{{ script }}
</script>
{% endif %}
</body>
</html>
"""

TABLE = """\
<div class="wide"><table>
{% if caption %}<caption><span>{{ caption }}</span></caption>{% endif %}
<thead><tr>{% for head, right in heads %}<th scope="col"{% if right %} class="number"{% endif %}>{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr>{% for cell, right in row %}<td{% if right %} class="number"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
"""

STYLE = """\
:root { --paper: #fbfaf7; --card: #fff; --shade: #f0eee8; --line: #dcd9d0; --ink: #1d1e22; --quiet: #62656d; --accent: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15161a; --card: #1d1f25; --shade: #262931; --line: #363942; --ink: #eae9e5; --quiet: #a3a6ae; --accent: #ffd152; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 80rem; margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 2.5rem) 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
p, ul { max-width: 46rem; margin: .5rem 0; }
ul { padding-left: 1.2rem; }
a { color: var(--accent); }
summary { cursor: pointer; color: var(--accent); margin: .5rem 0; }
.quiet { color: var(--quiet); font-size: .875rem; }
.wide { overflow-x: auto; margin: 1rem 0; background:
  linear-gradient(to right, var(--paper) 50%, transparent) left / 2rem 100% no-repeat local,
  linear-gradient(to left, var(--paper) 50%, transparent) right / 2rem 100% no-repeat local,
  linear-gradient(to right, var(--line), transparent) left / .8rem 100% no-repeat,
  linear-gradient(to left, var(--line), transparent) right / .8rem 100% no-repeat; }
table { width: max-content; border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; color: var(--quiet); padding-bottom: .3rem; }
caption span { display: inline-block; position: sticky; left: 0; max-width: min(46rem, calc(100vw - 2rem)); }
th, td { text-align: left; vertical-align: top; max-width: 26rem; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--quiet); font-weight: 600; max-width: 7rem; vertical-align: bottom; }
.number { text-align: right; }
"""
