import json
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from polyface import cli, tasks
from polyface.errors import InputError, RequestError, RunError
from polyface.inference import analyze as analysis
from polyface.inference import card as cards
from polyface.inference import engine as engines
from polyface.inference.compare import UNCLEAR, compare, operating_line


@dataclass
class Knows:
    """Answers with the vectors it is told for each picture: one per face, the foremost first."""

    card: cards.Card
    vectors: dict[str, list[list[float]]]
    seen: list[str] = field(default_factory=list)
    score: float = 0.95

    @property
    def engine(self):
        return self

    tasks = tasks.TASKS
    label = "knows@000000000000"

    def analyze(self, picture, names):
        assert list(names) == ["identity"]
        self.seen.append(str(picture))
        answers = [analysis.answer_of(tasks.identity, np.pad(np.array(vector, np.float32), (0, 510)), np.eye(2, 3), (9, 9)) for vector in self.vectors[str(picture)]]
        return [analysis.Face(str(picture), at, "red", (), (0.0, 1.0, 2.0, 3.0), self.score, {"identity": answer}, self.label) for at, answer in enumerate(answers)]


def at_cosine(cosine: float) -> list[float]:
    return [cosine, float(np.sqrt(1 - cosine**2))]


@pytest.mark.parametrize(("cosine", "answer"), [(0.9, "same"), (0.51, "same"), (0.49, "cannot tell"), (0.06, "cannot tell"), (0.04, "different"), (-0.8, "different")])
def test_an_answer_keeps_to_the_lines_of_the_card(calibrated: cards.Card, cosine: float, answer: str) -> None:
    found = compare(Knows(calibrated, {"a": [[1.0, 0.0]], "b": [at_cosine(cosine)]}), "a", "b")
    assert found.answer == answer
    assert found.cosine == pytest.approx(cosine, abs=1e-4)
    assert found.probability == pytest.approx(1 / (1 + np.exp(-(10 * cosine - 2))), abs=1e-3)
    assert (found.operating_point.far, found.operating_point.cosine, found.operating_point.different, found.prior) == (0.001, 0.5, 0.05, 0.5)


def test_of_a_face_that_is_not_clear_nothing_is_told(calibrated: cards.Card) -> None:
    found = compare(Knows(calibrated, {"a": [[1.0, 0.0]], "b": [[1.0, 0.0]]}, score=0.89), "a", "b")
    assert found.answer == "cannot tell" and [each.notes for each in found.compared] == [(UNCLEAR,)] * 2 and UNCLEAR in found.in_words()


def test_the_line_asked_for_is_the_line_used(calibrated: cards.Card) -> None:
    knows = Knows(calibrated, {"a": [[1.0, 0.0]], "b": [at_cosine(0.6)]})
    assert [compare(knows, "a", "b", far).answer for far in (0.01, 0.001, 0.0001)] == ["same", "same", "cannot tell"]
    with pytest.raises(RequestError, match=r"no line for a rate of 0\.02; there are 0\.01, 0\.001, 0\.0001"):
        compare(knows, "a", "b", 0.02)


def test_a_card_with_coarse_lines_only_gives_its_finest(calibrated: cards.Card) -> None:
    coarse = msgspec.structs.replace(calibrated, thresholds=calibrated.thresholds[:1])
    assert operating_line(coarse, tasks.identity)[1].far == 0.01


def test_lines_that_cross_leave_nothing_untold(calibrated: cards.Card) -> None:
    sure = cards.with_calibration(calibrated, {"identity": msgspec.structs.replace(calibrated.calibration["identity"], different=0.8)}, ())
    knows = Knows(sure, {"a": [[1.0, 0.0]], "b": [at_cosine(0.6)], "c": [at_cosine(0.4)]})
    assert (compare(knows, "a", "b").answer, compare(knows, "a", "c").answer) == ("same", "different")


def test_the_foremost_of_several_faces_is_used_and_said(calibrated: cards.Card) -> None:
    found = compare(Knows(calibrated, {"a": [[1.0, 0.0], [0.0, 1.0]], "b": [[1.0, 0.0]]}), "a", "b")
    assert found.answer == "same"
    assert [(each.image, each.face, each.faces) for each in found.compared] == [("a", 0, 2), ("b", 0, 1)]
    assert "a: the foremost of its 2 faces" in found.in_words() and "b: its one face" in found.in_words()
    tree = json.loads(found.to_json())
    assert list(tree) == ["answer", "probability", "prior", "cosine", "operating_point", "compared", "model"]
    assert tree["operating_point"] == {"far": 0.001, "cosine": 0.5, "low": 0.48, "high": 0.52, "different": 0.05, "frr": 0.01}


def test_a_picture_without_a_face_is_refused_by_name(calibrated: cards.Card) -> None:
    with pytest.raises(InputError, match=r"^b: no face"):
        compare(Knows(calibrated, {"a": [[1.0, 0.0]], "b": []}), "a", "b")


def test_a_vector_without_direction_is_no_answer(calibrated: cards.Card) -> None:
    with pytest.raises(RunError, match="no direction"):
        compare(Knows(calibrated, {"a": [[1.0, 0.0]], "b": [[0.0, 0.0]]}), "a", "b")


def test_a_model_that_was_never_calibrated_compares_nothing(card: cards.Card) -> None:
    knows = Knows(card, {"a": [[1.0, 0.0]]})
    with pytest.raises(RequestError, match="run `polyface calibrate MODEL --data DIR`"):
        compare(knows, "a", "a")
    assert not knows.seen  # refused before any picture is opened
    knows.tasks = (tasks.age,)
    with pytest.raises(RequestError, match="does not answer who somebody is"):
        compare(knows, "a", "a")


@pytest.fixture
def portraits(tmp_path: Path) -> Path:
    portrait = pytest.importorskip("skimage.data").astronaut()
    assert cv2.imwrite(str(tmp_path / "astronaut.png"), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    assert cv2.imwrite(str(tmp_path / "grey.png"), np.full((80, 100, 3), 128, np.uint8))
    return tmp_path


def test_the_command_compares_two_files(model: Path, calibrated: cards.Card, portraits: Path, capsys: pytest.CaptureFixture) -> None:
    cards.write_card(model / "card.json", calibrated)
    portrait = str(portraits / "astronaut.png")
    assert cli.run(["compare", portrait, portrait, "--model", str(model)]) == 0
    assert capsys.readouterr().out.startswith("the same person: >99% likely")
    assert cli.run(["compare", portrait, portrait, "--model", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "same"
    assert cli.run(["compare", portrait, str(portraits / "grey.png"), "--model", str(model)]) == InputError.exit_status
    output = capsys.readouterr()
    assert output.out == "" and "grey.png: no face on it" in output.err
    assert cli.run(["compare", portrait, portrait, "--model", str(model), "--far", "0.5"]) == RequestError.exit_status


def test_names_of_files_move_no_cursor(model: Path, calibrated: cards.Card, portraits: Path, capsys: pytest.CaptureFixture) -> None:
    cards.write_card(model / "card.json", calibrated)
    hostile = (portraits / "astronaut.png").rename(portraits / "\x1b]0;owned\x07.png")
    assert cli.run(["compare", str(hostile), str(hostile), "--model", str(model)]) == 0
    found = capsys.readouterr().out
    assert "?]0;owned?.png" in found and "\x1b" not in found and len(found.splitlines()) == 4


def test_arrays_are_compared_from_python(model: Path, calibrated: cards.Card) -> None:
    cards.write_card(model / "card.json", calibrated)
    portrait = pytest.importorskip("skimage.data").astronaut()
    analyzer = analysis.Analyzer(engines.load(model, threads=1), analysis.load(model).detector)
    found = analyzer.compare(portrait, np.ascontiguousarray(portrait[:, ::-1]))
    assert found.answer == "same" and found.compared[0].image == ""
    with pytest.raises(InputError, match="the picture: no face"):
        analyzer.compare(portrait, np.full((50, 50, 3), 99, np.uint8))
