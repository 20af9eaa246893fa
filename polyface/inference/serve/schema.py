"""What the server's answers look like, as JSON Schema for its OpenAPI description: built from the model's own questions."""

from typing import Any

import msgspec

from polyface.inference.card import Card
from polyface.inference.compare import Comparison
from polyface.inference.engine import Engine
from polyface.tasks.kinds import Angles, Category, Embedding, Points, Regions, Scale, Task, Traits

REFERENCE = "#/components/schemas/{name}"
TEXT, NUMBER, SHARE, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "number", "minimum": 0, "maximum": 1}, {"type": "integer", "minimum": 0}


def components(engine: Engine) -> dict[str, Any]:
    """{name: schema}: Face and NoFace, which a picture is answered by; Comparison; Card; Error, one line about what went wrong."""
    _, ours = msgspec.json.schema_components((Comparison, Card), ref_template=REFERENCE)
    fixed = {"image": TEXT, "face": WHOLE, "detector": TEXT, "notes": _list(TEXT), "box": _list(NUMBER, 4), "score": NUMBER}
    answered = {task.name: {"description": task.question, **_answer(task)} for task in engine.tasks}
    face = _object({**fixed, **answered, "model": TEXT}, [*fixed, "model"])
    no_face = _object({"image": TEXT, "faces": {"const": 0}})
    error = _object({"image": TEXT, "error": {**TEXT, "description": "one line"}}, ["error"])
    return {"Face": face, "NoFace": no_face, "Error": error, **ours}


def _answer(task: Task) -> dict[str, Any]:
    """Of each kind of question, in the forms of DESIGN.md."""
    match task:
        case Category():
            word = {"enum": list(task.vocabulary)}
            return _object({"answer": word, "set": _list(word), "probabilities": _object(dict.fromkeys(task.vocabulary, SHARE))}, ["answer", "probabilities"])
        case Scale():
            return _object({task.unit: NUMBER, "low": WHOLE, "high": WHOLE}, [task.unit])
        case Traits():
            return _object(dict.fromkeys(task.vocabulary, SHARE))
        case Points():
            return _list(_list(NUMBER, 2), task.count)
        case Angles():
            return _object(dict.fromkeys(task.axes, NUMBER))
        case Regions():
            return _object({"png": {**TEXT, "format": "uri"}, "at": _list(WHOLE, 2)})
        case Embedding():
            return _object({"embedding": {**TEXT, "contentEncoding": "base64"}})
    raise TypeError(f"no schema is known for the kind {type(task).__name__}")


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required, "additionalProperties": False}


def _list(items: dict[str, Any], length: int | None = None) -> dict[str, Any]:
    return {"type": "array", "items": items, **({} if length is None else {"minItems": length, "maxItems": length})}
