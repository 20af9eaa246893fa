"""`polyface analyze --report`: one page with every face and its answers, which any browser opens and no other machine is asked for."""

import base64
import html as html_module
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import cv2
import numpy as np
import pytest

from polyface import cli, page, tasks
from polyface.errors import INTERRUPTED, InputError, RequestError
from polyface.images import align
from polyface.images.detect import Face as Detected
from polyface.inference import card as cards
from polyface.inference import engine as engines
from polyface.inference import report
from polyface.inference.analyze import ClassMap, Face, ImageAnswers

PIXELS = np.full((120, 160, 3), 90, np.uint8)
ALL = {
    "age": {"years": 31.2, "low": 26, "high": 37},
    "gender": {"answer": "female", "set": ["female"], "probabilities": {"female": 0.98, "male": 0.02}},
    "race": {"answer": "East Asian", "set": ["East Asian", "Latino_Hispanic"], "probabilities": {"East Asian": 0.61, "Latino_Hispanic": 0.3, "White": 0.09}},
    "attributes": {"Smiling": 0.9, "No_Beard": 0.95, "Bald": 0.01},
    "pose": {"yaw": -8.1, "pitch": 3.0, "roll": 0.4},
    "landmarks": [[80.0, 60.0]] * 68,
    "identity": {"embedding": "c2VjcmV0"},
}


def face(answers: dict[str, Any], image: str = "a.jpg", index: int = 0, notes: tuple[str, ...] = ()) -> Face:
    return Face(image, index, "yunet", notes, (60.0, 40.0, 100.0, 90.0), 0.98, answers, "tiny@0")


def gathered(*faces: Face, pixels: np.ndarray = PIXELS) -> report.Gathered:
    found = report.Gathered()
    found.add(ImageAnswers(faces[0].image if faces else "a.jpg", faces, pixels=pixels), tasks.TASKS)
    return found


@pytest.fixture
def engine(model: Path) -> engines.Engine:
    return engines.load(model, threads=1)


def articles(html: str) -> list[str]:
    return re.findall(r"<article.*?</article>", html, re.S)


def answers_of(article: str) -> dict:
    return json.loads(re.search(r"data-answers='(.*?)'", article, re.S)[1])  # type: ignore[index]


def words_of(article: str) -> str:
    return html_module.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", article)))


def test_a_face_has_its_answers_in_words_with_their_sets(engine: engines.Engine) -> None:
    (article,) = articles(report.html(gathered(face(ALL)), engine))
    words = words_of(article)
    assert all(
        said in words for said in ("age 31 years 26 to 37", "gender female 98%", "race East Asian 61% East Asian or Latino Hispanic", "yaw −8°, pitch 3°, roll 0°")
    )
    assert "attributes No Beard, Smiling" in words and "Bald" not in words
    assert article.count('class="among"') == 2  # a set of one is no more than its answer


def test_answers_without_sets_are_shown_without(engine: engines.Engine) -> None:
    bare = {"age": {"years": 31.2}, "gender": {"answer": "female", "probabilities": {"female": 0.98, "male": 0.02}}}
    html = report.html(gathered(face(bare)), engine)
    assert 'class="among"' not in html and 'name="possible"' not in html
    assert answers_of(articles(html)[0])["age"] == {"at": 31.2, "low": 31.2, "high": 31.2, "others": False}
    assert 'name="possible"' in report.html(gathered(face(ALL)), engine)


def test_an_embedding_is_on_no_page(engine: engines.Engine) -> None:
    html = report.html(gathered(face(ALL)), engine)
    assert "c2VjcmV0" not in html and "identity" not in words_of(articles(html)[0])


def test_filters_offer_the_words_that_were_answered_and_count_the_faces(engine: engines.Engine) -> None:
    male = {"gender": {"answer": "male", "set": ["male", "female"], "probabilities": {"female": 0.4, "male": 0.6}}}
    html = report.html(gathered(face(ALL), face(male, index=1), face(male, index=2)), engine)
    select = re.search(r'<select name="word gender">.*?</select>', html, re.S)
    assert select and re.findall(r">([^<>]*)</option>", select[0]) == ["all", "female (1)", "male (2)"]
    assert '<option value="No_Beard">No Beard (1)' in html and '<option value="Latino_Hispanic">' not in html
    assert 'name="from age"' in html and 'name="to age"' in html


def test_the_picture_shows_the_face_and_points_and_regions_lie_on_it(engine: engines.Engine) -> None:
    pixels = PIXELS.copy()
    pixels[60:70, 75:85] = (250, 10, 10)  # the middle of the box
    classes = np.zeros((64, 64), np.uint8)
    classes[:, 32:] = 1
    squared = ClassMap(classes, np.array([[64 / 160, 0, 0], [0, 64 / 120, 0]]), pixels.shape[:2], tasks.parsing.vocabulary)
    (article,) = articles(report.html(gathered(face({**ALL, "parsing": squared}), pixels=pixels), engine))
    crop, regions = (
        cv2.imdecode(np.frombuffer(base64.b64decode(uri), np.uint8), cv2.IMREAD_UNCHANGED) for uri in re.findall(r'src="data:image/(?:jpeg|png);base64,([^"]+)"', article)
    )
    middle = report.SIDE // 2
    assert crop.shape == (report.SIDE, report.SIDE, 3) and crop[middle, middle, 2] > 200 > 60 > crop[middle, middle, 0] and crop[5, 5].max() < 140
    assert regions[middle // 2, middle // 2 + 4, 3] > 0 == regions[middle // 2, middle // 2 - 4, 3]
    path = re.search(r'<path d="([^"]+)"', article)
    assert path and path[1].startswith(f"M{middle} {round(middle - 5 * report.SIDE / (report.ROOM * 50))}h0")


def test_a_face_at_the_border_of_its_picture_is_shown(engine: engines.Engine) -> None:
    edge = Face("a.jpg", 0, "yunet", (), (-40.0, -30.0, 9.0, 20.0), 0.9, {}, "tiny@0")
    assert len(articles(report.html(gathered(edge), engine))) == 1


def seen(image: str, track: int, frame: int, side: float, score: float = 0.9) -> ImageAnswers:
    """A frame of a video at 10 a second, with one face, whose age is the frame's number."""
    shown = Face(image, 0, "yunet", (), (10.0, 10.0, 10.0 + side, 10.0 + side), score, {"age": {"years": float(frame)}}, "tiny@0", frame, frame / 10, track)
    return ImageAnswers(image, (shown,), pixels=PIXELS, frame=frame, time=frame / 10)


@pytest.mark.parametrize(
    ("views", "best"),
    [
        ([(40, 0.9), (80, 0.9), (60, 0.9)], 1),  # the largest
        ([(50, 0.6), (50, 0.8), (50, 0.7)], 1),  # of one size the surest
        ([(50, 0.5), (50, 0.9), (54, 0.6)], 1),  # larger, but not by what it is less sure
        ([(50, 0.9), (50, 0.9), (40, 0.9)], 0),  # of equals the first
        ([(90, 0.9), (50, 0.9), (60, 0.99)], 0),
    ],
)
def test_a_face_of_a_video_is_shown_once_where_it_is_seen_best(engine: engines.Engine, views: list[tuple[float, float]], best: int) -> None:
    found = report.Gathered()
    for frame, (side, score) in enumerate(views):
        found.add(seen("a.mp4", 0, frame, side, score), tasks.TASKS)
    html = report.html(found, engine)
    (article,) = articles(html)
    assert f"face 0, {best / 10:.2f} s" in words_of(article) and answers_of(article)["age"]["at"] == best
    assert "Faces: 1; pictures: 0; videos: 1, each face once." in words_of(html)


def test_faces_of_several_videos_keep_their_places_whenever_each_is_seen_best(engine: engines.Engine) -> None:
    found = report.Gathered()
    for image, track, frame, side in (("a.mp4", 0, 0, 40), ("a.mp4", 1, 1, 50), ("a.mp4", 0, 2, 60), ("b.mp4", 0, 3, 30), ("b.mp4", 0, 4, 35)):
        found.add(seen(image, track, frame, side), tasks.TASKS)
    found.add(ImageAnswers("c.jpg", (face(ALL, image="c.jpg"), face(ALL, image="c.jpg", index=1)), pixels=PIXELS), tasks.TASKS)
    shown = [re.search(r"<h3 title=.*?</h3>", article, re.S)[0] for article in articles(report.html(found, engine))]  # type: ignore[index]
    assert [words_of(each).strip() for each in shown] == ["a.mp4 face 0, 0.20 s", "a.mp4 face 1, 0.10 s", "b.mp4 face 0, 0.40 s", "c.jpg face 0", "c.jpg face 1"]


def test_the_page_says_what_the_model_is_its_terms_limits_and_what_it_is_not_for(model: Path) -> None:
    card = cards.read_card(model / "card.json")
    score = cards.Score(task="age", dataset="drawn set", split="test", metric="MAE", value=7.25, low=7.0, high=7.5, n=40, constant=20.0)
    said = {"limits": ("never shown children",), "task_notes": {"pose": "from points"}, "licence": "for research only", "scores": (score,), "trained_on_drawings": True}
    cards.write_card(model / "card.json", cards.msgspec.structs.replace(card, **said))
    engine = engines.load(model, threads=1)
    words = words_of(report.html(gathered(face(ALL, notes=("trained on drawings",))), engine))
    assert all(line in words for line in (engine.label, engine.card.terms, "for research only", "never shown children", "pose: from points", *report.NOT_FOR))
    assert all(line in words for line in ("This model was trained on drawings", "7 to 7.5", "drawn set"))


def test_what_comes_from_files_cannot_write_into_the_page(engine: engines.Engine) -> None:
    nasty = """<script>alert(1)</script>' onload='x.jpg"""
    found = gathered(face(ALL, image=nasty))
    found.add(ImageAnswers(nasty), tasks.TASKS)
    found.add(ImageAnswers(nasty, error=nasty), tasks.TASKS)
    html = report.html(found, engine)
    assert html.count("<script") == 1 and "alert(1)</script>" not in html and "' onload='" not in html
    assert answers_of(articles(html)[0])["gender"]["words"] == ["female"]


def test_pictures_without_a_face_and_refused_ones_are_named(engine: engines.Engine) -> None:
    found = gathered(face(ALL))
    found.add(ImageAnswers("empty.jpg", pixels=PIXELS), tasks.TASKS)
    found.add(ImageAnswers("broken.jpg", error="broken.jpg: cut short"), tasks.TASKS)
    words = words_of(report.html(found, engine))
    assert "Faces: 1; pictures: 2; refused: 1." in words and "No face was found on: 1 empty.jpg" in words and "broken.jpg: cut short" in words


def test_no_faces_make_a_page_without_filters(engine: engines.Engine) -> None:
    html = report.html(gathered(), engine)
    assert "<form" not in html and "No face was found on" in html


class OnePlace:
    name, sha256 = "one place", ""

    def detect_many(self, images: list[np.ndarray], threshold: float | None = None) -> list[list[Detected]]:
        box = (40.0, 30.0, 90.0, 95.0)
        return [[Detected(box, align.points_of_box(np.array(box)), 0.9)] if image.any() else [] for image in images]

    def detect(self, image: np.ndarray, threshold: float | None = None) -> list[Detected]:
        return self.detect_many([image])[0]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(40):
        assert cv2.imwrite(str(tmp_path / "in" / f"{number:02}.png"), np.full((120, 160, 3), 6 * number, np.uint8))
    (tmp_path / "in" / "page.jpg").write_text("<html>")
    return tmp_path / "in"


def test_the_command_writes_one_page_beside_the_answers(
    model: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("polyface.images.detect.load_detector", lambda *_: OnePlace())
    out = tmp_path / "out"
    assert cli.run(["analyze", str(photographs), "--model", str(model), "--tasks", "age,gender,parsing", "--out", str(out), "--report"]) == InputError.exit_status
    html = (out / "report.html").read_text()
    assert [Path(re.search(r'data-picture="([^"]+)"', article)[1]).name for article in articles(html)] == [f"{number:02}.png" for number in range(1, 40)]  # type: ignore[index]
    assert "00.png" in html and "page.jpg" in html and len((out / "answers.jsonl").read_text().splitlines()) == 41
    assert str(out / "report.html") in capsys.readouterr().out
    assert set(answers_of(articles(html)[0])) == {"age", "gender"}


@pytest.mark.parametrize(("at", "faces"), [(20, 15), (1, 0)])
def test_the_page_of_an_interrupted_run_is_whole_and_of_what_was_answered(
    model: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, at: int, faces: int
) -> None:
    """Answers come in groups; the first picture has no face."""
    out = tmp_path / "out"
    arguments = ["analyze", str(photographs), "--model", str(model), "--tasks", "age", "--out", str(out), "--report"]
    monkeypatch.setattr("polyface.inference.analyze.GROUP_PICTURES", 16 if faces else 1)

    class Interrupted(OnePlace):
        def detect_many(self, images: list[np.ndarray], threshold: float | None = None) -> list[list[Detected]]:
            if any((image == 6 * at).all() for image in images):
                raise KeyboardInterrupt
            return super().detect_many(images)

    out.mkdir()
    earlier = {"answers.jsonl": "lines of an earlier run", "report.html": "page of an earlier run"}
    for name, content in earlier.items():
        (out / name).write_text(content)
    monkeypatch.setattr("polyface.images.detect.load_detector", lambda *_: Interrupted())
    assert cli.run(arguments) == INTERRUPTED
    said = capsys.readouterr().err
    assert str(out / "answers.part.jsonl") in said and str(out / "report.part.html") in said
    html = (out / "report.part.html").read_text()
    assert "The run was cut off" in html
    lines = [json.loads(line) for line in (out / "answers.part.jsonl").read_text().splitlines()]
    answered = [line["image"] for line in lines if "age" in line]
    assert len(answered) == faces and len(lines) == faces + 1
    assert html.startswith("<!doctype html>") and html.endswith("</html>") and "00.png" in html
    assert [re.search(r'data-picture="([^"]+)"', article)[1] for article in articles(html)] == answered  # type: ignore[index]
    assert {name: (out / name).read_text() for name in earlier} == earlier
    monkeypatch.setattr("polyface.images.detect.load_detector", lambda *_: OnePlace())
    assert cli.run(arguments) == InputError.exit_status  # a web page among the pictures
    assert sorted(path.name for path in out.iterdir()) == ["answers.jsonl", "report.html"] and "The run was cut off" not in (out / "report.html").read_text()


def test_a_run_that_is_interrupted_before_its_first_answer_leaves_an_earlier_page(
    model: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(OnePlace):
        def detect_many(self, images: list[np.ndarray], threshold: float | None = None) -> list[list[Detected]]:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("of an earlier run")
    monkeypatch.setattr("polyface.images.detect.load_detector", lambda *_: Interrupted())
    assert cli.run(["analyze", str(photographs), "--model", str(model), "--out", str(out), "--report"]) == INTERRUPTED
    assert {path.name: path.read_text() for path in out.iterdir()} == {"report.html": "of an earlier run"}


def test_the_page_is_written_though_nobody_reads_the_table(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_unread: Callable[[list[str]], int]) -> None:
    """Of pictures without a face too."""
    monkeypatch.setattr("polyface.images.detect.load_detector", lambda *_: OnePlace())
    for name, grey in (("without.png", 0), ("face.png", 90)):
        assert cv2.imwrite(str(tmp_path / name), np.full((120, 160, 3), grey, np.uint8))
        out = tmp_path / f"of {name}"
        assert run_unread(["analyze", str(tmp_path / name), "--model", str(model), "--tasks", "age", "--out", str(out), "--report"]) == cli.BROKEN_PIPE
        assert len((out / "answers.jsonl").read_text().splitlines()) == 1 and name in (out / "report.html").read_text()


def test_pictures_are_not_kept(engine: engines.Engine, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reporting = report.Reporting(engine, OnePlace())
    alive: list[Any] = []
    import weakref

    for answers in reporting.analyze_many(sorted(photographs.glob("*.png")), ["age"]):
        alive.append(weakref.ref(answers.pixels))
    del answers
    assert len(reporting.gathered.faces) == 39 and sum(each() is not None for each in alive) <= 16
    assert max(map(len, reporting.gathered.faces)) < 20_000


def test_a_report_needs_a_place(model: Path, photographs: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["analyze", str(photographs), "--model", str(model), "--report"]) == RequestError.exit_status
    assert "--report needs --out DIR" in capsys.readouterr().err


FILTER_TEST = """
const faces = FACES;
const cases = CASES;
console.log(JSON.stringify(cases.map(([values, possible]) => faces.map(face => values.every(value => passes(face, value, possible))))));
"""


def test_the_filters_pass_the_faces_that_they_should(engine: engines.Engine) -> None:
    node = which("node")
    if node is None:
        pytest.skip("no node to run the page's script")
    male = {"gender": {"answer": "male", "set": ["male", "female"], "probabilities": {"female": 0.4, "male": 0.6}}, "age": {"years": 60.0, "low": 36, "high": 80}}
    html = report.html(gathered(face(ALL, image="in/Anna.jpg"), face(male, image="in/b.jpg", index=1)), engine)
    faces = [{"picture": re.search(r'data-picture="([^"]+)"', article)[1].lower(), "answers": answers_of(article)} for article in articles(html)]  # type: ignore[index]
    cases: list[tuple[list[tuple[str, str]], bool, list[bool]]] = [
        ([("word gender", ""), ("from age", ""), ("picture", ""), ("over", "points")], False, [True, True]),
        ([("word gender", "female")], False, [True, False]),
        ([("word gender", "female")], True, [True, True]),
        ([("word race", "Latino_Hispanic")], False, [False, False]),
        ([("word race", "Latino_Hispanic")], True, [True, False]),
        ([("word attributes", "Smiling")], False, [True, False]),
        ([("from age", "35"), ("to age", "61")], False, [False, True]),
        ([("from age", "35"), ("to age", "61")], True, [True, True]),
        ([("picture", "ANNA")], False, [True, False]),
        ([("picture", "jpg"), ("word gender", "male")], False, [False, True]),
    ]
    function = re.search(r"function passes.*?\n}\n", report.SCRIPT, re.S)
    assert function
    script = function[0] + FILTER_TEST.replace("FACES", json.dumps(faces)).replace("CASES", json.dumps([case[:2] for case in cases]))
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [case[2] for case in cases]


def test_the_script_is_whole_and_inside_the_page(engine: engines.Engine) -> None:
    assert page.Markup(report.SCRIPT) in report.html(gathered(face(ALL)), engine)
