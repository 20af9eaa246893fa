import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface import tasks
from polyface.errors import RequestError
from polyface.images.align import Crop
from polyface.inference import card as cards

PAIRS = {"of": "pairs", "slope": 1, "intercept": 0, "different": 0, "frr": 0.01}


def scored(task: str, dataset: str, value: float, metric: str = "accuracy") -> dict:
    return {"task": task, "dataset": dataset, "split": "test", "metric": metric, "value": value, "n": 9}


def test_every_task_comes_back_from_its_card_as_it_was(card: cards.Card, tmp_path: Path) -> None:
    cards.write_card(tmp_path / "card.json", card)
    again = cards.read_card(tmp_path / "card.json")
    assert again == card
    assert cards.tasks_of_card(again) == tasks.TASKS


def test_the_crop_comes_back_from_its_card_as_it_was(card: cards.Card) -> None:
    crop = Crop(96, 24.5, (48.0, 45.25))
    changed = json.loads(cards.json_of_card(card)) | {"crop": {"size": 96, "eye_distance": 24.5, "eyes": [48.0, 45.25]}}
    assert cards.crop_of_card(cards.card_of_json(json.dumps(changed).encode(), "card.json")) == crop
    assert cards.entry_of_crop(crop) == cards.CropEntry(size=96, eye_distance=24.5, eyes=(48.0, 45.25))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: tree.update(licnce="MIT"), "unknown key 'licnce'; did you mean 'licence'?"),
        (lambda tree: tree["data"][0].update(imags=1), "unknown key 'imags' in data[0]; did you mean 'images'?"),
        (lambda tree: tree["data"][0].update(images="3"), "expected 'int', got 'str' in data[0].images"),
        (lambda tree: tree["crop"].pop("size"), "missing required field 'size' in crop"),
        (lambda tree: tree["tasks"]["gender"].update(vocablary=[]), "the task 'gender' has an unknown key 'vocablary'; did you mean 'vocabulary'?"),
        (lambda tree: tree["tasks"]["gender"].update(vocabulary=[]), "the task 'gender' has no answers"),
        (lambda tree: tree["tasks"]["gender"].update(vocabulary=["male", 3]), "the task 'gender': expected 'str', got 'int' in vocabulary[1]"),
        (lambda tree: tree["tasks"]["gender"].update(kind="Categry"), "unknown kind 'Categry'; did you mean 'Category'?"),
        (lambda tree: tree["tasks"]["gender"].pop("kind"), "unknown kind 'None'"),
        (lambda tree: tree["tasks"]["pose"].update(step=0), "the task 'pose' has no answers"),
        (lambda tree: tree.update(task_notes={"pos": "from points"}), "a note on 'pos', which is no task of this model; did you mean 'pose'?"),
        (lambda tree: tree.update(calibration={"agee": {"of": "answers"}}), "a calibration of 'agee', which is no task of this model; did you mean 'age'?"),
        (lambda tree: tree.update(calibration={"age": {"of": "answers", "temperature": 0}}), "in calibration"),
        (lambda tree: tree.update(calibration={"age": {"of": "answers", "levle": 0.5}}), "unknown key 'levle'"),
        (lambda tree: tree.update(calibration={"identity": {"of": "answers"}}), "the calibration of 'identity' is not of its kind, Embedding"),
        (lambda tree: tree.update(calibration={"age": {"of": "pairs", "slope": 1, "intercept": 0, "different": 0, "frr": 0.01}}), "of 'age' is not of its kind, Scale"),
        (lambda tree: tree.update(calibration={"age": {"of": "answers", "temperature": 1e-320}}), "expected 'float' >= 0.001"),
        (lambda tree: tree.update(calibration={"age": {"of": "answers", "coverage": 90}}), "expected 'float' <= 1.0"),
        (lambda tree: tree.update(calibration={"age": {"of": "answers", "sizes": [{"eyes": 8, "below": 12, "temperature": 1e-4}]}}), "expected 'float' >= 0.001"),
        (lambda tree: tree.update(calibration={"identity": {**PAIRS, "prior": 1}}), "expected 'float' < 1.0"),
        (lambda tree: tree.update(calibration={"identity": {**PAIRS, "prior": 0}}), "expected 'float' >= 1e-12"),
        (lambda tree: tree.update(calibration={"identity": {**PAIRS, "frr": -0.1}}), "expected 'float' >= 0.0"),
        (lambda tree: tree.update(thresholds=[{"far": 0, "cosine": 0.5}]), "expected 'float' >= 1e-12 in thresholds[0].far"),
        (lambda tree: tree.update(thresholds=[{"far": far, "cosine": 0.5} for far in (0.01, 0.1, 0.01)]), "thresholds has two lines of the rate 0.01"),
        (lambda tree: tree["crop"].update(size=0), "expected 'int' >= 1 in crop.size"),
        (
            lambda tree: tree.update(scores=[scored("age", "drawn", 5) | {"groups": {"race": {"best": "a"}}}]),
            "the groups 'race' of the score 'accuracy' of 'age': object missing required field 'each'",
        ),
        (lambda tree: tree.update(scores=[scored("age", "drawn", 5) | {"groups": {"race": {"each": {}, "best": "a", "worst": "b"}}}]), "'a' is none of the groups"),
        (lambda tree: tree.update(scores=[scored("age", "drawn", 5) | {"groups": {"race": {"each": {"a": {"n": 3}}, "worst": "a"}}}]), "best and worst go together"),
        (lambda tree: tree.update(speed={"rows": [3]}), "expected 'object', got 'int' in speed"),
        (lambda tree: tree.update(polyface=2), "a card of format 2; this polyface reads format 1"),
        (lambda tree: tree.pop("polyface"), "no card of a polyface model"),
    ],
)
def test_what_is_wrong_with_a_card_is_said_in_one_line(card: cards.Card, change: Callable, said: str) -> None:
    tree = json.loads(cards.json_of_card(card))
    change(tree)
    with pytest.raises(RequestError) as refused:
        cards.card_of_json(json.dumps(tree).encode(), "some/card.json")
    assert str(refused.value).startswith("some/card.json: ")
    assert said in str(refused.value)


def test_a_card_from_before_calibration_is_read_and_one_with_it_comes_back(card: cards.Card, tmp_path: Path) -> None:
    old = json.loads(cards.json_of_card(card))
    for key in ("calibration", "thresholds", "smaller"):
        old.pop(key)
    read = cards.card_of_json(json.dumps(old).encode(), "card.json")
    assert (read.calibration, read.thresholds, read.smaller) == ({}, (), ())
    said = {
        "age": cards.AnswerCalibration(temperature=0.9, level=0.87, coverage=0.9, fitted=(cards.FittedOn(dataset="drawn", split="validation", n=300),)),
        "identity": cards.PairCalibration(slope=9.5, intercept=-2.0, different=0.02, frr=0.01),
    }
    lines = (cards.Threshold(far=0.01, cosine=0.31, low=0.29, high=0.33, tar=0.5, false_accepts=90, pairs_of_people=60),)
    cards.write_card(tmp_path / "card.json", cards.with_calibration(read, said, lines))
    again = cards.read_card(tmp_path / "card.json")
    assert (again.calibration, again.thresholds) == (said, lines)
    later = cards.with_calibration(again, {"age": cards.AnswerCalibration(temperature=1.1)}, ())
    assert (later.calibration["age"].temperature, later.calibration["identity"], later.thresholds) == (1.1, said["identity"], lines)


def test_scores_replace_those_of_the_same_task_and_test_and_no_others(card: cards.Card) -> None:
    first = cards.with_scores(
        card, [scored("gender", "utkface", 0.8), scored("gender", "utkface", 0.7, "macro-F1"), scored("gender", "fairface", 0.6), scored("age", "utkface", 5)]
    )
    later = cards.with_scores(first, [scored("gender", "utkface", 0.9)])
    found = {(score.task, score.dataset, score.metric): score.value for score in later.scores}
    assert found == {("gender", "utkface", "accuracy"): 0.9, ("gender", "fairface", "accuracy"): 0.6, ("age", "utkface", "accuracy"): 5}


def test_scores_of_small_faces_replace_those_of_the_same_task_and_set_and_no_others(card: cards.Card) -> None:
    def small(task: str, dataset: str, eyes: float, value: float) -> cards.Smaller:
        return cards.Smaller(task=task, dataset=dataset, eyes=eyes, metric="accuracy", value=value, n=9)

    first = cards.with_calibration(card, {}, (), [small("gender", "utkface", 8, 0.7), small("gender", "utkface", 12, 0.8), small("age", "utkface", 8, 5)])
    later = cards.with_calibration(first, {}, (), [small("gender", "utkface", 8, 0.9), small("gender", "fairface", 8, 0.6)])
    assert {(score.task, score.dataset, score.eyes): score.value for score in later.smaller} == {
        ("age", "utkface", 8): 5, ("gender", "utkface", 8): 0.9, ("gender", "fairface", 8): 0.6,
    }  # fmt: skip
    assert cards.with_calibration(later, {}, ()).smaller == later.smaller


@pytest.mark.parametrize("name", ["x/../../../escaped/evil", "..", "", "a.b", "a b", "a\\b", "age\n", "\x1b[2J", "a" * 101, "顔" * 34])
def test_a_task_whose_name_could_lead_out_of_a_folder_is_refused(card: cards.Card, name: str) -> None:
    tree = json.loads(cards.json_of_card(card))
    tree["tasks"] = {name: tree["tasks"]["parsing"]}
    with pytest.raises(RequestError, match=r"^some/card\.json: the task '.*: names of tasks are of letters"):
        cards.card_of_json(json.dumps(tree).encode(), "some/card.json")


@pytest.mark.parametrize("name", ["age_group", "parsing@helen", "points-68", "возраст", "a" * 100])
def test_a_task_of_ones_own_has_a_name_of_letters_digits_and_a_few_signs(card: cards.Card, name: str) -> None:
    tree = json.loads(cards.json_of_card(card))
    tree["tasks"] = {name: tree["tasks"]["parsing"]}
    assert list(cards.card_of_json(json.dumps(tree).encode(), "some/card.json").tasks) == [name]


def test_a_card_that_could_not_be_read_again_is_not_written(card: cards.Card, tmp_path: Path) -> None:
    score = cards.Score(task="age", dataset="drawn", split="test", metric="MAE", value=float("nan"), n=3)
    spoilt = cards.Card(**{name: getattr(card, name) for name in card.__struct_fields__} | {"scores": (score,)})
    with pytest.raises(RequestError, match=r"scores\[0\]\.value"):
        cards.write_card(tmp_path / "card.json", spoilt)
    assert list(tmp_path.iterdir()) == []


def test_the_terms_are_one_line_that_names_the_data(card: cards.Card) -> None:
    assert card.terms == "Apache-2.0 (trained on drawn)"


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda tree: st.lists(tree) | st.dictionaries(st.text(), tree))


@given(st.binary(max_size=200) | JSON.map(lambda tree: json.dumps(tree).encode()))
def test_whatever_is_no_card_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(RequestError, match=r"^here: "):
        cards.card_of_json(content, "here")


@given(key=st.sampled_from(["name", "crop", "tasks", "data", "scores", "limits", "detector", "speed"]), value=JSON)
def test_a_card_with_one_value_replaced_is_read_or_refused_by_name(key: str, value: object) -> None:
    tree: dict = {"polyface": 1, "name": "n", "created": "c", "crop": {"size": 64, "eye_distance": 15, "eyes": [32, 30]}, "tasks": {}}
    try:
        card = cards.card_of_json(json.dumps(tree | {key: value}).encode(), "here")
        assert json.loads(cards.json_of_card(card))[key] == value
    except RequestError as refused:
        assert str(refused).startswith("here: ")
