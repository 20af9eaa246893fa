import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from polyface import cli, tasks
from polyface.errors import RequestError
from polyface.inference import analyze as analysis
from polyface.inference import card as cards
from polyface.inference.compare import UNCLEAR
from polyface.inference.find import FOUND, NOBODY, find, likelihood_ratio, open_set_line
from polyface.inference.gallery import Gallery, Shard, add_shard, manifest_of


@dataclass
class Knows:
    """Answers with the vectors it is told for each picture: one per face; "broken" is refused."""

    card: cards.Card
    vectors: dict[str, list[np.ndarray]] = field(default_factory=dict)
    name: str = "knows"
    sha256: str = "a" * 64
    network: str = "a" * 64
    score: float = 0.95
    label: str = "knows@aaaaaaaaaaaa"
    tasks = tasks.TASKS

    @property
    def engine(self):
        return self

    @property
    def detector(self):
        return self

    def analyze_many(self, pictures, names):
        assert list(names) == ["identity"]
        for picture in map(str, pictures):
            if picture == "broken":
                yield analysis.ImageAnswers(picture, error="broken: a web page")
                continue
            answers = [analysis.answer_of(tasks.identity, vector, np.eye(2, 3), (9, 9)) for vector in self.vectors[picture]]
            faces = [analysis.Face(picture, at, self.name, (), (0.0, 1.0, 2.0, 3.0), self.score, {"identity": each}, self.label) for at, each in enumerate(answers)]
            yield analysis.ImageAnswers(picture, tuple(faces))


def at(*parts: float) -> np.ndarray:
    """A unit vector float32 [512] that begins so; what is missing to its length goes to the last place."""
    rest = np.sqrt(max(1 - np.square(parts).sum(), 0))
    return np.pad(np.array(parts, np.float32), (0, 512 - len(parts))) + np.eye(512, dtype=np.float32)[511] * np.float32(rest)


def gallery_of(folder: Path, knows: Knows, shards: list[list[np.ndarray]], scores: tuple[float, ...] = (0.95,)) -> Gallery:
    """scores: of the finds of each shard, in turn."""
    manifest, number = manifest_of(knows, knows), 0
    for vectors, clear in zip(shards, itertools.cycle(scores), strict=False):
        names = np.array([f"/g/{number + row}.jpg" for row in range(len(vectors))], str)
        number += len(vectors)
        count, none = len(vectors), np.array([], str)
        arrays = (names, np.zeros(count, np.int32), np.tile(np.float32([1, 2, 3, 4]), (count, 1)), np.full(count, clear, np.float32))
        contents = np.zeros((count, 32), np.uint8), np.zeros((count, 2), np.int64)
        manifest = add_shard(folder, manifest, Shard(*arrays, np.array(vectors, np.float32).reshape(count, 512), names, none, none, none, *contents))
    return Gallery(folder, manifest)


def test_the_nearest_are_named_over_all_shards_and_the_line_decides(calibrated: cards.Card, tmp_path: Path) -> None:
    knows = Knows(calibrated, {"a": [at(1.0), at(0, 0, 1.0)], "none": []})
    gallery = gallery_of(tmp_path, knows, [[at(0.2), at(0.6, 0.8)], [at(0.9), at(-1.0)]])
    found = find(knows, gallery, ["a", "broken", "none"], k=3)
    assert (found.line.far, found.line.cosine, found.line.fpir, found.faces) == (0.001, 0.5, 0.004, 4)
    first, second = found.sought
    assert (first.image, first.face, first.answer) == ("a", 0, FOUND)
    assert [(each.image, each.cosine, each.reaches) for each in first.nearest] == [("/g/2.jpg", 0.9, True), ("/g/1.jpg", 0.6, True), ("/g/0.jpg", 0.2, False)]
    assert (second.face, second.answer) == (1, NOBODY)
    assert [each.image for each in second.nearest] == ["/g/0.jpg", "/g/1.jpg", "/g/2.jpg"]  # all at 0: a tie is equality, the earlier first
    assert (found.without, found.refused) == (("none",), ("broken: a web page",))
    assert json.loads(found.to_json())["sought"][0]["nearest"][0]["box"] == [1, 2, 3, 4]
    assert find(knows, gallery, ["none"]).sought == ()
    assert len(found.rows()) == 6 and "FPIR" in found.in_words() and "0.004" in found.in_words()


def test_faces_that_are_not_clear_are_not_compared(calibrated: cards.Card, tmp_path: Path) -> None:
    knows = Knows(calibrated, {"a": [at(1.0)]})
    gallery = gallery_of(tmp_path / "some", knows, [[at(1.0)], [at(0.6), at(0.9)]], scores=(0.89, 0.95))
    (sought,) = find(knows, gallery, ["a"]).sought
    assert (sought.answer, [(each.image, each.cosine) for each in sought.nearest]) == (FOUND, [("/g/2.jpg", 0.9), ("/g/1.jpg", 0.6)])
    (sought,) = find(knows, gallery_of(tmp_path / "none", knows, [[at(1.0)]], scores=(0.5,)), ["a"]).sought
    assert (sought.answer, sought.nearest) == (NOBODY, ())
    knows.score = 0.89
    found = find(knows, gallery, ["a"])
    assert [(each.answer, each.nearest) for each in found.sought] == [(UNCLEAR, ())]
    assert found.rows() == [{"picture": "a", "face": 0, "answer": UNCLEAR, "nearest": None, "its face": None, "cosine": None, "probability": None}]


def test_a_probability_is_bayes_of_each_face_alone_at_odds_of_one_to_all_faces(calibrated: cards.Card, tmp_path: Path) -> None:
    knows = Knows(calibrated, {"a": [at(1.0)]})
    found = find(knows, gallery_of(tmp_path, knows, [[at(cosine) for cosine in (0.9, 0.5, 0.1)]]), ["a"])
    for likely in found.sought[0].nearest:
        ratio = np.exp(10 * likely.cosine - 2)  # of the two densities, as the card has it, whose prior is a half
        assert likely.probability == pytest.approx(ratio * (1 / 4) / (ratio * (1 / 4) + 3 / 4), abs=1e-5)


def test_between_lines_what_lies_there_counts_where_the_logistic_is_flat() -> None:
    lines = [cards.Threshold(far=far, cosine=cosine, tar=tar) for far, cosine, tar in ((0.01, 0.3, 0.5), (0.001, 0.5, 0.3), (1e-4, 0.7, 0.2))]
    flat = cards.PairCalibration(slope=1.0, intercept=0.0, different=0.05, frr=0.01)
    expected = {0.2: np.exp(0.2), 0.3: 0.2 / 0.009, 0.49: 0.2 / 0.009, 0.5: 0.1 / 0.0009, 0.7: 0.2 / 0.0001, 1.0: 0.2 / 0.0001}
    assert {cosine: likelihood_ratio(cosine, flat, lines) for cosine in expected} == pytest.approx(expected)
    steep = msgspec.structs.replace(flat, slope=30.0, prior=0.25)
    assert likelihood_ratio(0.5, steep, lines) == pytest.approx(3 * np.exp(15))
    ratios = [likelihood_ratio(cosine, flat, lines) for cosine in np.linspace(-1, 1, 200)]
    assert ratios == sorted(ratios)


def test_the_line_is_the_coarsest_that_keeps_the_fpir_in_a_gallery_of_its_size(calibrated: cards.Card) -> None:
    def lines(faces: int, fpir: float | None = None) -> tuple[float, float]:
        line = open_set_line(calibrated, tasks.identity, faces, fpir)[1]
        return line.far, round(line.fpir, 9)

    assert [lines(faces) for faces in (1, 2, 10, 100)] == [(0.01, 0.01), (0.001, 0.002), (0.001, 0.01), (1e-4, 0.01)]
    assert lines(100_000) == (1e-4, 1.0)  # nothing was asked for, so the finest there is, which says what it gives
    assert lines(100, 0.5) == (0.001, 0.1)
    with pytest.raises(RequestError, match=r"no line for an FPIR of 0\.001 among 100 faces; its finest, FAR 0\.0001, gives 0\.01"):
        lines(100, 0.001)


def test_a_card_without_lines_and_an_empty_gallery_are_refused(card: cards.Card, calibrated: cards.Card, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="run `polyface calibrate MODEL --data DIR`"):
        find(Knows(card), gallery_of(tmp_path / "a", Knows(card), [[at(1.0)]]), ["a"])
    with pytest.raises(RequestError, match="no face in this gallery"):
        find(Knows(calibrated), gallery_of(tmp_path / "b", Knows(calibrated), [[]]), ["a"])


def test_a_share_of_strangers_that_is_none_is_refused(calibrated: cards.Card) -> None:
    for fpir in (0.0, -0.1, 1.0, 2.0):
        with pytest.raises(RequestError, match="between 0 and 1"):
            open_set_line(calibrated, tasks.identity, 4, fpir)


def test_a_shard_that_is_cut_gives_no_partial_answer(calibrated: cards.Card, tmp_path: Path) -> None:
    knows = Knows(calibrated, {"a": [at(1.0)]})
    gallery = gallery_of(tmp_path, knows, [[at(1.0)], [at(0.5)]])
    (tmp_path / "00001.npz").write_bytes((tmp_path / "00001.npz").read_bytes()[:-1])
    with pytest.raises(RequestError, match=r"00001\.npz: not the bytes"):
        find(knows, gallery, ["a"])


def test_faces_found_by_another_detector_are_said_to_be(calibrated: cards.Card, tmp_path: Path) -> None:
    knows = Knows(calibrated, {"a": [at(1.0)]})
    gallery = gallery_of(tmp_path, knows, [[at(1.0)]])
    assert find(knows, gallery, ["a"]).notes == ()
    knows.name = "other"
    assert "were found by knows@aaaaaaaaaaaa, these by other@aaaaaaaaaaaa" in find(knows, gallery, ["a"]).notes[0]


def test_the_commands_embed_find_and_group(model: Path, calibrated: cards.Card, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cards.write_card(model / "card.json", calibrated)
    portrait = cv2.cvtColor(pytest.importorskip("skimage.data").astronaut(), cv2.COLOR_RGB2BGR)
    (tmp_path / "p").mkdir()
    for name in ("a.png", "b.png"):
        portrait[0, 0] += 1  # no copies
        assert cv2.imwrite(str(tmp_path / "p" / name), portrait)
    given = ["--gallery", str(tmp_path / "g"), "--model", str(model)]
    assert cli.run(["embed", str(tmp_path / "p"), "--out", str(tmp_path / "g"), "--model", str(model)]) == 0
    capsys.readouterr()
    assert cli.run(["find", str(tmp_path / "p" / "a.png"), *given, "--json"]) == 0
    (sought,) = json.loads(capsys.readouterr().out)["sought"]
    assert sought["answer"] == "found" and [Path(each["image"]).name for each in sought["nearest"]] == ["a.png", "b.png"]
    assert cli.run(["find", str(tmp_path / "p" / "a.png"), *given]) == 0
    assert "found from a cosine of" in capsys.readouterr().out
    assert cli.run(["find", str(tmp_path / "gone.png"), str(tmp_path / "lost.png"), *given]) == 2
    said = capsys.readouterr().err
    assert all(f"{name}.png: no such" in said for name in ("gone", "lost")) and "no picture to look at" in said
    html, report = tmp_path / "people.html", tmp_path / "people.json"
    assert cli.run(["people", *given, "--html", str(html), "--json", str(report)]) == 0
    said = capsys.readouterr()
    assert "1 person of 2 faces" in said.out and "; terms: " in said.err
    assert [len(person["faces"]) for person in json.loads(report.read_bytes())["people"]] == [2]
    assert html.read_text().count("data:image/jpeg;base64") == 2 and "://" not in html.read_text()
    assert "<figcaption>b.png</figcaption>" in html.read_text()  # to read without a mouse
    (tmp_path / "p" / "b.png").unlink()
    assert cli.run(["people", *given, "--html", str(html)]) == 1
    assert "not on the sheet: " in capsys.readouterr().err and html.read_text().count("data:image/jpeg;base64") == 1
