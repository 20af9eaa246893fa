"""What is known of a face detector: read strictly, and printed beside the network's card for people, as JSON and as a page."""

import json
import shutil
from pathlib import Path

import pytest

from polyface import cli
from polyface.errors import RequestError
from polyface.images.detect import ABOUT, FILE
from polyface.inference import card as cards
from polyface.inference import detector_card
from polyface.inference.card_page import markdown, of_detector
from polyface.inference.detector_card import DetectorCard, Learned, Measure

CARD = DetectorCard(
    name="finder",
    created="2026-11-28",
    commit="0123456789abcdef",
    parameters=148304,
    threshold=0.55,
    data=(
        Learned("wider", "research", 1114, 5799, 0, ("yunet", "f" * 64), "a" * 64, {"absent": 3}, 1113),
        Learned("negatives", "research | teaching", 8205, 0, 0, None, "b" * 64),
    ),
    scores=(Measure(what="faces found, mtfl test", n=2995, value=0.987),),
    limits=("faces lying on their side",),
    licence="for research only",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / FILE).write_bytes(b"")
    (tmp_path / "found" / ABOUT).write_bytes(detector_card.json_of(CARD))
    return tmp_path / "found"


@pytest.fixture
def weights(model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed weights: a model and a detector."""
    package = tmp_path / "site" / "polyface_weights"
    for part, made in (("model", model), ("detector", folder)):
        shutil.copytree(made, package / part)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)


def test_a_card_is_read_as_it_was_written_by_its_folder_or_its_file(folder: Path) -> None:
    assert detector_card.find(folder) == detector_card.find(folder / FILE) == CARD
    assert detector_card.find(folder / "other.onnx") is None and detector_card.find(folder.parent) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: tree | {"treshold": 0.5}, "unknown key 'treshold'; did you mean 'threshold'"),
        (lambda tree: tree | {"threshold": 60}, "threshold"),
        (lambda tree: {key: value for key, value in tree.items() if key != "data"}, "'data'"),
        (lambda tree: [tree], "array"),
    ],
)
def test_a_card_that_is_not_right_is_refused_by_file_and_key(folder: Path, change, said: str) -> None:
    (folder / ABOUT).write_text(json.dumps(change(json.loads((folder / ABOUT).read_bytes()))))
    with pytest.raises(RequestError, match=rf"detector\.json: .*{said}") as refused:
        detector_card.find(folder)
    assert "\n" not in str(refused.value)
    (folder / ABOUT).write_bytes(b"\xff{")
    with pytest.raises(RequestError, match=r"detector\.json: cannot be read"):
        detector_card.find(folder)


def test_info_says_what_a_detector_learned_from_its_terms_and_limits(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["info", str(folder / FILE)]) == 0
    words = capsys.readouterr().out
    assert all(each in words for each in ("finder", "for research only (trained on wider, negatives)", "0.55", "1114", "1113", "yunet", "lying on their side")), words


def test_info_says_how_well_a_detector_does(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["info", str(folder)]) == 0
    assert "scores\nwhat                       n  value\nfaces found, mtfl test  2995  0.987\n" in capsys.readouterr().out
    assert cli.run(["info", str(folder), "--markdown"]) == 0
    assert "## How well\n\n| what | n | value |\n| --- | --: | --: |\n| faces found, mtfl test | 2,995 | 0.987 |\n" in capsys.readouterr().out


def test_the_detector_that_ships_says_how_well_it_does() -> None:
    card = detector_card.read(Path(__file__).parents[2] / "weights" / "polyface_weights" / "detector" / ABOUT)
    assert any(each.what.startswith("AP, WIDER val") for each in card.scores) and any(each.what.startswith("faces found, mtfl test") for each in card.scores)


def test_info_of_what_is_installed_prints_both(weights: None, card: cards.Card, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["info"]) == 0
    words = capsys.readouterr().out
    assert words.index("tiny@") < words.index("How old does the person look?") < words.index("finder") < words.index("lying on their side")
    assert cli.run(["info", "--json"]) == 0
    both = json.loads(capsys.readouterr().out)
    assert both == {"model": json.loads(cards.json_of_card(card)), "detector": json.loads(detector_card.json_of(CARD))}
    assert cli.run(["info", "--markdown"]) == 0
    assert capsys.readouterr().out == markdown(card) + "\n" + of_detector(CARD)


def test_info_of_a_detector_as_json_is_its_card(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["info", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((folder / ABOUT).read_bytes())


def test_what_the_card_says_is_on_the_page(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["info", str(folder), "--markdown"]) == 0
    page = capsys.readouterr().out
    assert page == of_detector(CARD) and page.startswith("# The face detector `finder`\n\n") and page.endswith("## Terms\n\nFor research only.\n")
    for said in (
        "148,304 parameters",
        "0.55 or more",
        "by commit 0123456789ab.",
        "| wider | 1,114 | 5,799 | 0 | yunet | 1,113 | research |",
        "research \\| teaching",
        "- faces lying",
    ):
        assert said in page
