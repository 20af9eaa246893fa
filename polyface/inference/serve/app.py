"""`polyface serve`: a page on this machine's loopback address, and the same answers as JSON.

What answers is `analyze_many` and `compare`, as on the command line. Pictures live in memory while they are looked at, and nowhere else. Requests are taken in turns, so
that however many come at once, no more than AT_ONCE are in memory; the others wait unread, and none is lost.
"""

import asyncio
import base64
import os
import socket
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import numpy as np
import uvicorn
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from polyface import __version__, terminal
from polyface.errors import InputError, PolyfaceError, RequestError, RunError, reason
from polyface.images import draw, paletted
from polyface.images.read import Sent
from polyface.inference import card as cards
from polyface.inference.analyze import Analyzer, ClassMap, ImageAnswers
from polyface.inference.detector_card import DetectorCard
from polyface.inference.serve import guard, page, schema, uploads
from polyface.tasks.kinds import Regions, Task

HOST = "127.0.0.1"
AT_ONCE = 4
"""Requests whose pictures are in memory: as files of up to `uploads.LARGEST` bytes, and one of each as pixels, up to `read`'s limit."""
STATUS: dict[type[PolyfaceError], int] = {uploads.TooLarge: 413, uploads.TooSlow: 408, InputError: 422, RequestError: 400, PolyfaceError: 500}


def serve(analyzer: Analyzer, listener: socket.socket, finder: DetectorCard | None = None) -> None:
    """Answer on a socket that listens, until interrupted. finder: what the page says of the detector."""
    terminal.say(f"http://{HOST}:{listener.getsockname()[1]}/ on this machine only; Ctrl-C ends it")
    try:
        server(analyzer, finder).run(sockets=[listener])
    except KeyboardInterrupt:
        terminal.say("stopped; nothing was kept")


def listen(port: int) -> socket.socket:
    """A socket on the loopback address; port 0: one that is free. Raises RequestError where the port cannot be had."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # a port whose last server has just ended is free; elsewhere this option would take it from one that runs
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        why = "is no port" if isinstance(error, OverflowError) else f"cannot be had ({error.strerror}): another program may have it"
        raise RequestError(f"port {port} {why}; --port N takes another, --port 0 any that is free") from error
    return listener


def server(analyzer: Analyzer, finder: DetectorCard | None = None) -> uvicorn.Server:
    app = application(analyzer, finder)
    return uvicorn.Server(uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_level="error", access_log=False, server_header=False))


def application(analyzer: Analyzer, finder: DetectorCard | None = None) -> guard.Guard:
    """The ASGI application: / the page; /analyze, /compare and /card its answers as JSON; /openapi.json their description."""
    engine, turns = analyzer.engine, asyncio.Semaphore(AT_ONCE)
    app = FastAPI(title="polyface", version=__version__, description=ABOUT, docs_url=None, redoc_url=None)
    whole, policy = page.html(engine, analyzer.detector.name, finder)
    card = cards.json_of_card(engine.card)

    async def answered(request: Request, fields: tuple[str, ...], answer: Callable[..., bytes]) -> Response:
        async with turns:
            sent = await uploads.pictures(request, fields)
            return Response(await run_in_threadpool(_guarded, answer, *sent), media_type=JSON)

    @app.get("/", include_in_schema=False)
    async def show() -> Response:
        return Response(whole, media_type="text/html", headers={"Content-Security-Policy": policy})

    @app.post("/analyze", summary="The faces of a photograph, as `polyface analyze` answers", **_described(("picture",), FACES))
    async def analyze(request: Request, tasks: Tasks = None, masks: Masks = False) -> Response:
        chosen = _chosen(analyzer, tasks, masks)
        return await answered(request, ("picture",), lambda picture: msgspec.json.encode(lines(analyzer, picture, chosen)))

    @app.post("/compare", summary="The same person or not, as `polyface compare` answers", **_described(("a", "b"), _reference("Comparison")))
    async def compare(request: Request, far: Far = None) -> Response:
        return await answered(request, ("a", "b"), lambda a, b: analyzer.compare(a, b, far).to_json().encode())

    @app.get("/card", summary="The model's card: what it learned from, how well it does, its terms and limits", **_described((), _reference("Card")))
    async def model_card() -> Response:
        return Response(card, media_type=JSON)

    app.exception_handler(PolyfaceError)(_failed)
    app.exception_handler(HTTPException)(_no_such_thing)
    app.exception_handler(RequestValidationError)(_wrong_value)
    app.openapi().setdefault("components", {})["schemas"] = schema.components(engine)
    return guard.Guard(app)


def lines(analyzer: Analyzer, picture: Sent, tasks: tuple[Task, ...]) -> list[dict[str, Any]]:
    """What `polyface analyze` writes of a picture; class maps lie inside, where it would write them beside. Raises InputError for a picture that is refused."""
    (answers,) = analyzer.analyze_many([picture], [task.name for task in tasks])
    if answers.error is not None:
        raise NotAnswered(answers)
    found = answers.to_dicts()
    for face, line in zip(answers.faces, found, strict=False):  # a picture without a face has a line of its own
        model = line.pop("model")
        line |= {name: _mask(answer) for name, answer in face.answers.items() if isinstance(answer, ClassMap)} | {"model": model}
    return found


class NotAnswered(InputError):
    """A picture that was refused."""

    def __init__(self, answers: ImageAnswers):
        super().__init__(answers.error)
        (self.line,) = answers.to_dicts()


def _mask(regions: ClassMap) -> dict[str, Any]:
    """The part of the picture that is not background: a PNG of class indices with a palette, and where its corner lies in the picture."""
    classes = regions.in_picture()
    rows, columns = np.flatnonzero(classes.any(1)), np.flatnonzero(classes.any(0))
    (top, bottom), (left, right) = ((int(held[0]), int(held[-1]) + 1) if len(held) else (0, 1) for held in (rows, columns))
    png = paletted.encode(classes[top:bottom, left:right], draw.region_palette(len(regions.vocabulary)))
    return {"png": f"data:image/png;base64,{base64.b64encode(png).decode()}", "at": [left, top]}


def _chosen(analyzer: Analyzer, tasks: str | None, masks: bool) -> tuple[Task, ...]:
    wanted = None if tasks is None else [name.strip() for name in tasks.split(",") if name.strip()]
    chosen = analyzer.chosen(wanted)
    of_masks = [] if masks else [task for task in chosen if isinstance(task, Regions)]
    if wanted is not None and (of_masks or not chosen):
        raise RequestError(f"{of_masks[0].name} is answered by pictures; ask with masks=true" if of_masks else f"tasks={tasks!r} names nothing")
    return tuple(task for task in chosen if task not in of_masks)


def _guarded(answer: Callable[..., bytes], *sent: Sent) -> bytes:
    """What goes wrong unforeseen is one line as well."""
    try:
        return answer(*sent)
    except PolyfaceError:
        raise
    except Exception as error:
        raise RunError(f"{', '.join(map(str, sent))}: {reason(error)}") from error


# What goes wrong


async def _failed(request: Request, error: Exception) -> Response:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return Response(msgspec.json.encode(error.line if isinstance(error, NotAnswered) else {"error": str(error)}), status, media_type=JSON)


async def _no_such_thing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = f"{request.method} {request.url.path}: {error.detail}; /openapi.json says what there is"
    return Response(msgspec.json.encode({"error": said}), error.status_code, media_type=JSON)


async def _wrong_value(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = "; ".join(f"{each['loc'][-1]}={each.get('input')!r}: {each['msg']}" for each in error.errors())
    return Response(msgspec.json.encode({"error": said}), 400, media_type=JSON)


# The description

JSON = "application/json"
ABOUT = "What one network says of faces. Nothing is stored, nothing leaves the machine."

Tasks = Annotated[str | None, Query(description="Only these, as a,b. All but embeddings, which are biometric data, where nothing is said.")]
Masks = Annotated[bool, Query(description="With the regions of each face, as a PNG of class indices and where its corner lies in the picture.")]
Far = Annotated[float | None, Query(description="How often two people may be called one, such as 0.01: a rate of the model's card.")]


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": schema.REFERENCE.format(name=name)}


FACES = {"type": "array", "items": {"anyOf": [_reference("Face"), _reference("NoFace")]}}


def _described(fields: tuple[str, ...], answer: dict[str, Any]) -> dict[str, Any]:
    """What FastAPI cannot see: the files of the form, and what comes back."""
    errors = {status: {"description": words, "content": {JSON: {"schema": _reference("Error")}}} for status, words in ERRORS.items() if fields}
    form = {"type": "object", "properties": {field: {"type": "string", "format": "binary"} for field in fields}, "required": list(fields)}
    body = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}} if fields else {}
    return {"responses": {200: {"description": "answers", "content": {JSON: {"schema": answer}}}, **errors}, "openapi_extra": body}


ERRORS = {
    400: "the request is wrong",
    403: "from another page, or under another name",
    408: "too slow",
    413: "too large",
    422: "a picture that cannot be answered",
    500: "the network failed",
}
