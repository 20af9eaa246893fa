"""The page in the browser: one file, whose style and script are named by their hashes in its policy, so that nothing else runs and nothing is loaded from anywhere."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polyface import page
from polyface.errors import RequestError
from polyface.images import draw
from polyface.inference import analyze, report
from polyface.inference.compare import operating_line
from polyface.inference.detector_card import DetectorCard
from polyface.inference.engine import Engine
from polyface.inference.gallery import embedding_task
from polyface.inference.serve import uploads
from polyface.tasks.kinds import Angles, Category, Regions, Scale, Task, Traits

HERE = Path(__file__).parent


def html(engine: Engine, detector: str, finder: DetectorCard | None = None) -> tuple[str, str]:
    """The page, and its Content-Security-Policy. detector: its name, and its card where there is one."""
    style, script = page.STYLE + (HERE / "page.css").read_text(), (HERE / "page.js").read_text()
    values = {"style": Markup(style), "script": Markup(script), "model": model(engine), "card": engine.card, "label": engine.label, "about": report.about(engine)}
    values |= {"detector": detector, "finder": finder, "taught": page.table(finder.rows()) if finder else ""}
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src blob: data:; media-src blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    return str(page.render((HERE / "page.html").read_text(), **values)), policy


def model(engine: Engine) -> dict[str, Any]:
    """What the script has to know of the model: its questions, by kind; whether it can compare."""
    return {
        "tasks": [{"name": task.name, "kind": type(task).__name__, "question": task.question, **_more(task)} for task in engine.tasks],
        "compares": _compares(engine),
        "largest": uploads.LARGEST,
        "likely": analyze.LIKELY,
        "accents": [f"rgb{colour}" for colour in draw.ACCENTS],
    }


def _more(task: Task) -> dict[str, Any]:
    match task:
        case Category() | Traits():
            return {"words": task.vocabulary}
        case Scale():
            return {"top": task.top, "unit": task.unit}
        case Angles():
            return {"axes": task.axes}
        case Regions():
            words, colours = zip(*report.legend(task), strict=True)
            return {"words": words, "colours": colours}
    return {}


def _compares(engine: Engine) -> bool:
    try:
        return bool(operating_line(engine.card, embedding_task(engine)))
    except RequestError:
        return False


def _hash(inline: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}"
