"""A card as a page that a person can read, and the page of the weights that come with the project."""

import re
from pathlib import Path

import msgspec
import pytest

import polyface
from polyface import cli
from polyface.inference import card as cards
from polyface.inference import detector_card, engine
from polyface.inference.card_page import NOT_FOR, markdown, of_detector
from polyface.inference.drift import Drift

WEIGHTS = Path(polyface.__file__).parents[1] / "weights"


@pytest.fixture
def told(card: cards.Card) -> cards.Card:
    score = cards.Score(task="age", dataset="utkface", split="test", metric="MAE", value=7.4417, low=7.1055, high=7.7798, n=2303, chance=37.8, constant=15.0)
    each = {"Black": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 40}, "White": {"value": 0.95, "n": 50}, "Indian": {"n": 9}}
    groups = {"each": each, "best": "White", "worst": "Black", "gap": 0.15, "low": 0.02, "high": 0.28}
    by_group = cards.Score(
        task="gender", dataset="fairface", split="test", metric="accuracy", value=0.82, n=99, groups={"race": groups, "site": {"each": {"north": {"n": 9}}}}
    )
    measured = cards.Measured(
        dataset="utkface",
        split="test",
        network="model.onnx",
        n=900,
        ece=(0.1, 0.02),
        brier=(0.3, 0.2),
        coverage=0.91,
        size=1.2,
        worst="race Black",
        worst_coverage=0.87,
        worst_n=120,
    )
    pairs = cards.PairCalibration(
        slope=10,
        intercept=-3,
        different=0.2,
        low=0.15,
        high=0.25,
        frr=0.01,
        told_apart=0.21,
        ece=0.012,
        brier=0.134,
        left_out="3 people of lfw",
        fitted=(cards.FittedOn(dataset="cfp", split="test", n=40),),
    )
    return msgspec.structs.replace(
        card,
        data=(cards.Data(name="pins", images=14314, subjects=75, terms="rights | unclear"),),
        scores=(by_group, score),
        calibration={"gender": cards.AnswerCalibration(temperature=1.3, level=0.8, coverage=0.9, measured=(measured,)), "identity": pairs},
        thresholds=(cards.Threshold(far=0.01, cosine=0.31, low=0.3, high=0.33, tar=0.43, false_accepts=60, pairs_of_people=1200),),
        speed={"processor": "a slow one", "one pass": [{"threads": 1, "all tasks": 3.9}]},
        limits=("not for the law",),
        task_notes={"pose": "no set labels angles"},
    )


@pytest.mark.parametrize(
    "line",
    [
        "# The network `tiny`",
        "| age | utkface | MAE | 7.442 | 7.106 to 7.78 | 37.8 | 15 | 2,303 |",
        "| gender | fairface | accuracy | race | White (0.95) | Black (0.8) | 0.15 | 0.02 to 0.28 |",
        "| gender | fairface | accuracy | race Black | 0.8 | 0.7 to 0.9 | 40 |",
        "| gender | fairface | accuracy | race White | 0.95 |  | 50 |",
        "| gender | fairface | accuracy | race Indian |  |  | 9 |",
        "| gender | fairface | accuracy | site north |  |  | 9 |",
        "| gender | utkface | model.onnx | 1.3 | 0.100 → 0.020 | 0.300 → 0.200 | 91.0% | 1.2 | race Black: 87.0% of 120 | 900 |",
        "| 1 in 100 | 0.31 | 0.3 to 0.33 | 43.0% | 56.0% | 60 | 1,200 |",
        "| pins | train | 14,314 | 75 | rights \\| unclear |",
        "| 1 | 3.9 |",
        "Processor: a slow one.",
        "- not for the law",
        *(f"- {use}" for use in NOT_FOR),
        "40 pictures of cfp, test.",
        "wrong of 1.0% of pairs of one person, and right of 21.0% of pairs of two people. Between that line",
        "The probability's calibration error is 0.012, its Brier score 0.134.",
        "Left out: 3 people of lfw.",
        "no set labels angles |",
    ],
)
def test_what_the_card_says_is_on_the_page(told: cards.Card, line: str) -> None:
    assert line in markdown(told)


def test_what_is_known_of_how_far_a_probability_could_be_off_is_on_the_page(told: cards.Card) -> None:
    calibration = dict(told.calibration)
    gender, identity = calibration["gender"], calibration["identity"]
    assert isinstance(gender, cards.AnswerCalibration) and "brackets" not in markdown(told)
    ends = {"ece_low": 0.011, "ece_high": 0.031, "brier_low": 0.12, "brier_high": 0.22}
    measured = (msgspec.structs.replace(gender.measured[0], **ends),)
    known = msgspec.structs.replace(
        told, calibration={"gender": msgspec.structs.replace(gender, measured=measured), "identity": msgspec.structs.replace(identity, **ends)}
    )
    page = markdown(cards.card_of_json(cards.json_of_card(known), "told"))
    assert "| 0.100 → 0.020 (0.011 to 0.031) | 0.300 → 0.200 (0.120 to 0.220) |" in page and "In brackets are their 95 % intervals." in page
    assert "calibration error is 0.012 (0.011 to 0.031), its Brier score 0.134 (0.120 to 0.220)." in page


def test_what_an_export_was_compared_on_is_on_the_page(told: cards.Card) -> None:
    assert "Its ONNX file answers as torch does on noise." in markdown(msgspec.structs.replace(told, compared="noise")) and "as torch does" not in markdown(told)


def test_every_table_has_as_many_cells_in_each_row(told: cards.Card) -> None:
    tables = re.findall(r"(?:^\|.*\|\n)+", markdown(told), re.MULTILINE)
    assert len(tables) >= 8
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_a_group_without_a_number_is_named_without_one(told: cards.Card) -> None:
    best = {"each": {"a": {"n": 40}, "b": {"value": 0.5, "n": 40}}, "best": "a", "worst": "b"}
    score = msgspec.structs.replace(told.scores[0], groups={"race": best})
    assert "| race | a | b (0.5) |" in markdown(msgspec.structs.replace(told, scores=(score,)))


def test_a_measure_of_speed_needs_no_name(told: cards.Card) -> None:
    assert "\n: 3 ms." in markdown(msgspec.structs.replace(told, speed={"": "3 ms"}))


def test_scores_come_by_task(told: cards.Card) -> None:
    page = markdown(told)
    assert page.index("| age | utkface | MAE") < page.index("| gender | fairface | accuracy")


def test_a_bare_card_has_no_empty_sections(card: cards.Card) -> None:
    page = markdown(card)
    assert "## What it answers" in page and "## What it learned from" in page
    assert not {"## How well", "## By group", "## How fast", "## In eight bits", "## How sure it is"} & set(page.splitlines())


def test_a_network_in_eight_bits_says_how_far_it_drifts(card: cards.Card, drift: Drift) -> None:
    assert "| landmarks | 0 | 0.015 | eye distances between the points |" in markdown(card, drift)


def test_a_network_of_drawings_says_so_first(card: cards.Card) -> None:
    page = markdown(msgspec.structs.replace(card, trained_on_drawings=True))
    assert page.splitlines()[2] == "**Trained on drawings, not on photographs.**"


def test_the_command_prints_the_page(model: Path, card: cards.Card, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["info", str(model), "--markdown"]) == 0
    assert capsys.readouterr().out == markdown(card)


def test_the_card_of_the_weights_says_what_every_label_is_worth() -> None:
    card = cards.read_card(WEIGHTS / "polyface_weights" / "model" / "card.json")
    assert set(card.task_notes) == set(card.tasks)


def test_the_page_of_the_weights_is_that_of_their_cards() -> None:
    """pip install ./weights; polyface info --markdown > weights/README.md"""
    loaded = engine.load(WEIGHTS / "polyface_weights" / "model", threads=1)
    finder = detector_card.read(WEIGHTS / "polyface_weights" / "detector" / "detector.json")
    assert (WEIGHTS / "README.md").read_text() == markdown(loaded.card, loaded.drift) + "\n" + of_detector(finder)
