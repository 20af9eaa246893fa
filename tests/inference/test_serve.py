"""`polyface serve`: the answers of the command line over HTTP, of this machine to this machine, with nothing kept."""

import asyncio
import base64
import json
import socket
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from polyface import cli, tasks
from polyface.errors import RequestError
from polyface.images import align, read
from polyface.images.detect import Face
from polyface.inference import analyze as analysis
from polyface.inference import card as cards
from polyface.inference import engine as engines
from polyface.inference.detector_card import DetectorCard, Learned

pytest.importorskip("fastapi", reason="polyface[serve] is not installed")
from fastapi.testclient import TestClient

from polyface.inference.serve import app as serving
from polyface.inference.serve import guard, page, uploads

HERE = "http://127.0.0.1:8730"
CALIBRATION = cards.PairCalibration(slope=10.0, intercept=-2.0, different=0.05, frr=0.01)
LINES = (cards.Threshold(far=0.01, cosine=0.3), cards.Threshold(far=0.001, cosine=0.5))


class OnePlace:
    """Sees one face on every picture that is not black."""

    name, sha256 = "one place", ""

    def detect_many(self, images: list[np.ndarray], threshold: float | None = None) -> list[list[Face]]:
        box = (40.0, 30.0, 90.0, 95.0)
        return [[Face(box, align.points_of_box(np.array(box)), 0.9)] if image.any() else [] for image in images]

    def detect(self, image: np.ndarray, threshold: float | None = None) -> list[Face]:
        return self.detect_many([image])[0]


@pytest.fixture
def calibrated(model: Path) -> Path:
    cards.write_card(model / "card.json", cards.with_calibration(cards.read_card(model / "card.json"), {"identity": CALIBRATION}, LINES))
    return model


@pytest.fixture
def analyzer(calibrated: Path) -> analysis.Analyzer:
    return analysis.Analyzer(engines.load(calibrated, threads=1), OnePlace())


@pytest.fixture
def client(analyzer: analysis.Analyzer) -> TestClient:
    return TestClient(serving.application(analyzer), base_url=HERE)


@pytest.fixture
def running(analyzer: analysis.Analyzer) -> Iterator[int]:
    """The port of a server that runs beside the test."""
    server = serving.server(analyzer)
    with serving.listen(0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def png(value: int = 90, size: tuple[int, int] = (160, 120)) -> bytes:
    return cv2.imencode(".png", np.full((size[1], size[0], 3), value, np.uint8))[1].tobytes()


def post(client: TestClient, content: bytes, name: str = "a.png", query: str = "") -> Any:
    return client.post(f"/analyze{query}", files={"picture": (name, content)})


@pytest.fixture
def on_the_command_line(calibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., list[dict]]:
    """on_the_command_line(contents, arguments): the JSON lines of `polyface analyze` for pictures {name: content} in the working folder."""

    def ask(command: str, contents: dict[str, bytes], *arguments: str) -> list[dict]:
        monkeypatch.setattr("polyface.images.detect.load_detector", lambda *_: OnePlace())
        monkeypatch.chdir(tmp_path)
        for name, content in contents.items():
            Path(name).write_bytes(content)
        cli.run([command, *contents, "--model", str(calibrated), *arguments])
        return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]

    return ask


# The same answers


@pytest.mark.parametrize("query", ["", "?tasks=age,gender", "?tasks=identity"])
@pytest.mark.parametrize("value", [90, 0])
def test_a_picture_is_answered_as_on_the_command_line(client: TestClient, on_the_command_line: Callable, query: str, value: int) -> None:
    answer = post(client, png(value), query=query)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert answer.json() == on_the_command_line("analyze", {"a.png": png(value)}, *(["--tasks", query.removeprefix("?tasks=")] if query else []))


def test_masks_are_those_that_the_command_line_writes(client: TestClient, on_the_command_line: Callable, tmp_path: Path) -> None:
    (line,) = post(client, png(), query="?masks=true").json()
    on_the_command_line("analyze", {"a.png": png()}, "--out", "out")
    (expected,) = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    whole = cv2.imread(str(tmp_path / "out" / expected["parsing"]["png"]), cv2.IMREAD_UNCHANGED)
    part = read.decode_mask(base64.b64decode(line["parsing"]["png"].partition(",")[2]), "mask")
    x, y = line["parsing"]["at"]
    laid = np.zeros_like(whole)
    laid[y : y + part.shape[0], x : x + part.shape[1]] = part
    assert whole.any() and np.array_equal(laid, whole)
    assert {**line, "parsing": 0} == {**expected, "parsing": 0} and list(line) == list(expected)


def test_two_pictures_are_compared_as_on_the_command_line(client: TestClient, on_the_command_line: Callable) -> None:
    answer = client.post("/compare?far=0.01", files={"a": ("a.png", png()), "b": ("b.png", png(60))})
    assert [answer.json()] == on_the_command_line("compare", {"a.png": png(), "b.png": png(60)}, "--far", "0.01", "--json")
    without = client.post("/compare", files={"a": ("a.png", png()), "b": ("b.png", png(0))})
    assert (without.status_code, without.json()) == (422, {"error": "b.png: no face on it, so there is nothing to compare"})


def test_a_refused_picture_is_the_line_of_the_command_line(client: TestClient, on_the_command_line: Callable) -> None:
    answer = post(client, b"<html>", "page.jpg")
    assert answer.status_code == 422
    assert [answer.json()] == on_the_command_line("analyze", {"page.jpg": b"<html>"})


def test_the_card_is_that_of_the_model(client: TestClient, analyzer: analysis.Analyzer) -> None:
    assert client.get("/card").content == cards.json_of_card(analyzer.engine.card)


def test_every_answer_keeps_to_the_openapi_description(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    (face,) = post(client, png(), query=f"?masks=true&tasks={','.join(task.name for task in tasks.TASKS)}").json()
    (nobody,) = post(client, png(0)).json()
    keeps(face, schemas["Face"], schemas)
    keeps(nobody, schemas["NoFace"], schemas)
    keeps(post(client, b"").json(), schemas["Error"], schemas)
    keeps(client.post("/compare", files={"a": ("a.png", png()), "b": ("b.png", png())}).json(), schemas["Comparison"], schemas)
    with pytest.raises(AssertionError):
        keeps({**face, "age": {"yeers": 3}}, schemas["Face"], schemas)
    assert {path: list(methods) for path, methods in described["paths"].items()} == {"/analyze": ["post"], "/compare": ["post"], "/card": ["get"]}
    for reference in json.dumps(described).split('"$ref":')[1:]:
        assert reference.split('"')[1].removeprefix("#/components/schemas/") in schemas


def keeps(value: Any, schema: dict, schemas: dict) -> None:
    """The part of JSON Schema that the description uses."""
    if "$ref" in schema:
        keeps(value, schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "enum" in schema:
        assert value in schema["enum"]
    kinds = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int}
    assert isinstance(value, kinds.get(schema.get("type", ""), object))
    if schema.get("type") == "object":
        assert set(schema.get("required", ())) <= value.keys() <= schema["properties"].keys()
        for key, inner in value.items():
            keeps(inner, schema["properties"][key], schemas)
    if schema.get("type") == "array":
        assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        for inner, inner_schema in zip(value, schema.get("prefixItems", [schema.get("items", {})] * len(value)), strict=True):
            keeps(inner, inner_schema, schemas)


# Bad input


@pytest.mark.parametrize(
    ("request_of", "status", "line"),
    [
        (lambda client: post(client, b""), 422, "a.png: empty"),
        (lambda client: post(client, b"not a picture"), 422, "a.png: not a JPEG"),
        (lambda client: post(client, png()[:60]), 422, "a.png: cut short"),
        (lambda client: post(client, bomb()), 422, "more than the limit"),
        (lambda client: post(client, png(), query="?tasks=agee"), 400, "did you mean 'age'"),
        (lambda client: post(client, png(), query="?tasks=parsing"), 400, "ask with masks=true"),
        (lambda client: post(client, png(), query="?tasks=,"), 400, "names nothing"),
        (lambda client: post(client, png(), query="?masks=perhaps"), 400, "masks='perhaps'"),
        (lambda client: client.post("/analyze", content=png()), 400, "send a form"),
        (lambda client: client.post("/analyze", files={"photo": png()}), 400, "must hold the file 'picture'"),
        (lambda client: client.post("/analyze", files=[("picture", png()), ("picture", png())]), 400, "Too many files"),
        (lambda client: client.post("/analyze", data={"picture": "text"}, files={"picture": png()}), 400, "Too many fields"),
        (lambda client: client.post("/analyze", content=b"--", headers={"content-type": "multipart/form-data"}), 400, "Missing boundary"),
        *((lambda client, charset=charset: post_in(client, charset), 400, "are not in the charset") for charset in ("undefined", "punycode")),
        (lambda client: client.post("/compare", files={"a": png()}), 400, "the file 'a' and the file 'b'"),
        (lambda client: client.post("/compare?far=0.5", files={"a": png(), "b": png()}), 400, "no line for a rate of 0.5"),
        (lambda client: client.get("/analyze"), 405, "GET /analyze"),
        (lambda client: client.get("/../../etc/passwd"), 404, "/openapi.json says what there is"),
    ],
)
def test_what_is_wrong_gets_one_clear_line(client: TestClient, request_of: Callable, status: int, line: str) -> None:
    answer = request_of(client)
    assert answer.status_code == status
    assert line in answer.json()["error"] and "\n" not in answer.json()["error"]
    assert post(client, png()).status_code == 200  # and the server goes on


def post_in(client: TestClient, charset: str) -> Any:
    """A form that says in which charset its names are; in some of them nothing is."""
    body = b'--x\r\nContent-Disposition: form-data; name="p\xff\xae\xae-"; filename="a.png"\r\n\r\n' + png() + b"\r\n--x--\r\n"
    return client.post("/analyze", content=body, headers={"content-type": f"multipart/form-data; boundary=x; charset={charset}"})


def bomb() -> bytes:
    """A PNG of a few bytes that promises 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("promised", [None, b"1000", b"2000000000"])
def test_an_upload_of_2_gb_is_read_no_further_than_its_limit_whatever_it_promises(analyzer: analysis.Analyzer, promised: bytes | None) -> None:
    block, taken, sent = bytes(1_000_000), 0, []

    async def receive() -> dict:
        nonlocal taken
        taken += 1
        content = b'--b\r\nContent-Disposition: form-data; name="picture"; filename="big.jpg"\r\n\r\n' if taken == 1 else block
        return {"type": "http.request", "body": content, "more_body": taken < 2000}

    async def send(message: dict) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"multipart/form-data; boundary=b")] + ([(b"content-length", promised)] if promised else [])
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/analyze",
        "raw_path": b"/analyze",
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
    }
    asyncio.run(serving.application(analyzer)(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 413 and json.loads(sent[1]["body"]) == {"error": "the upload is larger than 50 MB"}
    assert taken <= (1 if promised == b"2000000000" else uploads.LARGEST // len(block) + 3)


def test_of_two_pictures_one_may_not_have_the_room_of_both(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LARGEST", 10_000)
    answer = client.post("/compare", files={"a": ("large.png", bytes(15_000)), "b": ("b.png", png())})
    assert answer.status_code == 413 and answer.json()["error"].startswith("large.png: larger than")


def test_an_upload_that_stalls_gives_up_its_turn(running: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", running), timeout=60) as stalled:
        stalled.sendall(b"POST /analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 99\r\n\r\n--b\r\n")
        assert stalled.recv(4000).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\windows\\win.ini", "win.ini"),
        ("/etc/a.png", "a.png"),
        ("C:\\fakepath\\a.png", "a.png"),
        ("..", "picture"),
        ("", "picture"),
        (None, "picture"),
        ("a\nb\x1b[31m.png", "ab[31m.png"),
        ("é ü.png", "é ü.png"),
        ("x" * 500 + ".png", "x" * 196 + ".png"),
    ],
)
def test_a_name_that_climbs_out_of_its_folder_is_its_last_part(sent: str | None, name: str) -> None:
    assert uploads.name_of(sent) == name


def test_a_name_opens_and_writes_nothing(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    before = sorted(tmp_path.rglob("*"))
    (line,) = post(client, png(), "../climbed.png").json()
    assert line["image"] == "climbed.png" and sorted(tmp_path.rglob("*")) == before


def test_uploads_stay_in_memory(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise AssertionError("a temporary file")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("tempfile._TemporaryFile", refuse, raising=False)
    noise = np.random.default_rng(0).integers(1, 255, (1000, 1000, 3), dtype=np.uint8)
    large = cv2.imencode(".png", noise)[1].tobytes()
    assert len(large) > 2_000_000 and post(client, large).status_code == 200


def test_a_port_that_is_taken_is_one_line_and_its_server_goes_on(running: int, model: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["serve", "--port", str(running), "--model", str(model)]) == RequestError.exit_status
    (line,) = capsys.readouterr().err.splitlines()
    assert f"port {running} cannot be had" in line and "--port 0" in line
    assert ask(running, png())[0] == 200


def test_a_port_that_is_none_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["serve", "--port", "70000"]) == RequestError.exit_status
    assert "port 70000 is no port" in capsys.readouterr().err


def ask(port: int, content: bytes, name: str = "a.png") -> tuple[int, Any]:
    body = b'--b\r\nContent-Disposition: form-data; name="picture"; filename="%s"\r\n\r\n%s\r\n--b--\r\n' % (name.encode(), content)
    connection = HTTPConnection("127.0.0.1", port, timeout=100)
    connection.request("POST", "/analyze?tasks=age,landmarks", body, {"Content-Type": "multipart/form-data; boundary=b"})
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    return answer.status, said


def test_of_50_requests_at_once_none_is_lost_and_each_gets_its_own_answer(running: int) -> None:
    names = [f"{number:02}.png" for number in range(50)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda name: ask(running, png(0 if name == "07.png" else 90), name), names))
    assert [status for status, _ in answers] == [200] * 50
    assert [said[0]["image"] for _, said in answers] == names
    assert [name for name, (_, said) in zip(names, answers, strict=True) if "box" not in said[0]] == ["07.png"]


def test_no_more_are_in_memory_than_may_be(analyzer: analysis.Analyzer, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = 0, 0

    async def counted(request: Any, fields: tuple[str, ...]) -> tuple[read.Sent, ...]:
        nonlocal inside, most
        inside, most = inside + 1, max(most, inside + 1)
        await asyncio.sleep(0.01)
        inside -= 1
        return (read.Sent("a.png", png()),)

    monkeypatch.setattr(uploads, "pictures", counted)

    async def all_at_once() -> list[int]:
        import httpx

        async with httpx.AsyncClient(transport=httpx.ASGITransport(serving.application(analyzer)), base_url=HERE) as client:
            return [answer.status_code for answer in await asyncio.gather(*(client.post("/analyze?tasks=age") for _ in range(20)))]

    assert asyncio.run(all_at_once()) == [200] * 20 and 1 < most <= serving.AT_ONCE


# To this machine only


def test_the_server_listens_on_the_loopback_address_only() -> None:
    with serving.listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8730", "192.168.1.5:8730", "", "127.0.0.1:8730@evil.example"])
def test_a_foreign_host_is_refused(client: TestClient, host: str) -> None:
    for answer in (client.get("/", headers={"host": host}), client.post("/analyze", headers={"host": host}, files={"picture": png()})):
        assert answer.status_code == 403 and "on this machine only" in answer.json()["error"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9999", "https://127.0.0.1:8730", "http://localhost:8730", ""])
def test_a_foreign_page_is_refused(client: TestClient, origin: str) -> None:
    answer = client.post("/analyze", headers={"origin": origin}, files={"picture": png()})
    assert answer.status_code == 403 and "its own page only" in answer.json()["error"]


@pytest.mark.parametrize("host", ["127.0.0.1:8730", "localhost:8730", "localhost:9000", "localhost"])
def test_its_own_page_is_answered_by_either_name_and_through_a_tunnel(client: TestClient, host: str) -> None:
    answer = client.post("/analyze", headers={"host": host, "origin": f"http://{host}"}, files={"picture": png()})
    assert answer.status_code == 200


# The page


def test_the_page_loads_nothing_and_only_its_own_script_runs(client: TestClient) -> None:
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy and "connect-src 'self'" in policy
    script = (page.HERE / "page.js").read_text()
    assert f"<script>{script}</script>" in answer.text and page._hash(script) in policy
    assert not [attribute for attribute in ('src="', "style=", " onclick", "@import", "//cdn") if attribute in answer.text.replace(script, "")]
    for path in ("/", "/card", "/openapi.json", "/nothing"):
        headers = client.get(path).headers
        assert all(name in headers for name in guard.HEADERS) and headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers and "server" not in headers


def test_the_page_says_what_the_model_is_its_terms_and_what_it_is_not_for(client: TestClient, analyzer: analysis.Analyzer) -> None:
    from html import unescape

    from polyface.inference import report

    text = unescape(client.get("/").text)
    assert all(line in text for line in (analyzer.engine.label, analyzer.engine.card.terms, *report.NOT_FOR))
    assert text.count('href="#model"') >= 2


def test_the_page_says_what_the_detector_learned_from_and_its_limits(analyzer: analysis.Analyzer) -> None:
    learned = Learned("drawn scenes", "terms of the scenes", 7, 9, 0, None, "0" * 64)
    finder = DetectorCard(name="own", created="2026-11-28", parameters=5, threshold=0.7, data=(learned,), limits=("never shown <owls>",), licence="for nobody")
    text = TestClient(serving.application(analyzer, finder), base_url=HERE).get("/").text
    assert all(words in text for words in ("drawn scenes", "terms of the scenes", "never shown &lt;owls&gt;", "for nobody", "0.7"))
    assert "Faces are found by one place. No card" in page.html(analyzer.engine, "one place")[0]


def test_a_card_cannot_write_into_the_page(calibrated: Path) -> None:
    nasty = "</script><script>alert(1)</script>"
    card = cards.read_card(calibrated / "card.json")
    kinds = {**card.tasks, "expression": {**card.tasks["expression"], "question": nasty}}
    cards.write_card(calibrated / "card.json", cards.msgspec.structs.replace(card, licence=nasty, limits=(nasty,), tasks=kinds))
    whole, _ = page.html(engines.load(calibrated, threads=1), "one place")
    assert "<script>alert" not in whole and whole.count("<script") == 2


def test_a_model_without_lines_between_people_offers_no_comparison(analyzer: analysis.Analyzer) -> None:
    card = cards.msgspec.structs.replace(analyzer.engine.card, calibration={}, thresholds=())
    engine = engines.Engine(card, analyzer.engine.tasks, analyzer.engine.crop, analyzer.engine.sha256, analyzer.engine.session)
    assert 'data-view="compare"' in page.html(analyzer.engine, "one place")[0] and 'data-view="compare"' not in page.html(engine, "one place")[0]


# The command


def test_help_loads_no_fastapi() -> None:
    code = "from polyface.cli import run; run(['serve', '--help'])\nimport sys\nprint([name for name in ('fastapi', 'uvicorn', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_without_the_extra_the_command_says_what_to_install(missing: str, model: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("polyface.inference.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("polyface.inference.serve")
    monkeypatch.setitem(sys.modules, missing, None)  # type: ignore[arg-type]
    assert cli.run(["serve", "--model", str(model)]) == RequestError.exit_status
    assert capsys.readouterr().err.splitlines()[-1] == f"polyface: this needs {missing}: pip install 'polyface[serve]'"
