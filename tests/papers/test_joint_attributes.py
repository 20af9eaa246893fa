"""Votes of paper C: majority by the worked check, out-of-fold networks, what is kept, and labels that are shuffled person by person."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from polyface import datasets, tasks
from polyface.datasets.base import Record
from polyface.datasets.crops import Example, Examples
from polyface.errors import InputError
from polyface.images.align import ARCFACE_112
from polyface.images.read import Directory
from polyface.images.read import Source as ReadSource
from polyface.labels import TraitNames
from polyface.papers import joint_attributes as attributes
from polyface.papers.joint_attributes import ALL, Answers, PersonVotes, Voted, count, judge, labelled, lesson_of, order_of, shares_of
from polyface.papers.joint_config import STABLE, load
from polyface.papers.joint_worlds import counted, fold_of
from polyface.training.examples import Source

MALE, SMILING, HAIR = (ALL.vocabulary.index(name) for name in ("Male", "Smiling", "Black_Hair"))


def answers_of(votes: dict[str, list[int]], at: int = MALE) -> Answers:
    """Each picture says yes or no to one attribute, and no to the others."""
    people = [who for who, said in votes.items() for _ in said]
    outputs = np.full((len(people), len(ALL.vocabulary)), -1.0, np.float32)
    outputs[:, at] = [1.0 if each else -1.0 for said in votes.values() for each in said]
    return Answers(tuple(f"{who}/{number}" for number, who in enumerate(people)), tuple(people), ("all",) * len(people), outputs)


def test_a_majority_is_the_worked_check_and_a_tie_is_masked() -> None:
    found = count(answers_of({"Ann": [1, 1, 0], "Bob": [1, 0], "Cy": [0, 0]}))  # papers.md D15
    assert found.people == ("Ann", "Bob", "Cy") and found.pictures.tolist() == [3, 2, 2]
    assert found.label[:, MALE].tolist() == [1, -1, 0] and found.yes[:, MALE].tolist() == [2, 1, 0]
    assert found.share[:, MALE].tolist() == [pytest.approx(2 / 3), 0.5, 0.0]
    assert found.agreement()[MALE] == pytest.approx((2 / 3 + 0.5 + 1) / 3) and found.agreement()[SMILING] == 1


class Broken:
    name = "broken"

    def read(self) -> bytes:
        raise InputError("cut short")


def test_a_picture_that_cannot_be_opened_does_not_vote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of Ann's three and all of Bob's: the networks say yes to everything, and what is not asked is no `no`."""
    sound, buffer = ReadSource(Directory(str(tmp_path)), "sound.png"), cv2.imencode(".png", np.full((112, 112, 3), 90, np.uint8))[1]
    (tmp_path / "sound.png").write_bytes(buffer.tobytes())
    pictures = [("Ann", sound), ("Ann", Broken()), ("Ann", Broken()), ("Bob", Broken())]
    items = [
        Example(Record(f"{who}/{at}.png", source, {tasks.identity.name: who}, who), ARCFACE_112, "stated")  # type: ignore[arg-type]
        for at, (who, source) in enumerate(pictures)
    ]
    pins = Source(Examples(datasets.pins, tuple(items)), 1.0, "pins", {"Ann": 0, "Bob": 1})
    monkeypatch.setattr(attributes, "trained", lambda *asked: lambda images: {ALL.name: torch.ones(len(images), 40)})
    for _ in range(2):  # asked, and found again
        answers = attributes._answers(pins, world()[0][1], load("smoke"), tmp_path, None)
        assert answers.opened.tolist() == [True, False, False, False]
    found = count(answers)
    assert found.people == ("Ann", "Bob") and found.pictures.tolist() == [1, 0] and found.unopened == 3
    assert (found.label[0] == 1).all() and (found.label[1] == -1).all() and (found.agreement() == 1).all()
    human = np.zeros((4, len(ALL.vocabulary)), np.int8)
    human[0] = 1
    kept = judge({"pins": found}, {"pins": answers}, {"pins": list(human)}, load("small"))
    assert {each.human for each in kept} == {1.0}, "of pictures that were looked at"
    assert (shares_of([pins], Voted({"pins": found}, kept))["pins"] == [[1], [-1]]).all()
    attributes._write_votes(tmp_path / "pins.parquet", found)
    rows = attributes._read(tmp_path / "pins.parquet", "")
    assert rows is not None and {(row["person"], row["share"], row["refused"]) for row in rows} == {("Ann", 1.0, ""), ("Bob", None, attributes.NO_PICTURE)}


def test_only_attributes_of_a_person_that_agree_are_kept_and_the_others_say_why() -> None:
    recipe = load("small")
    steady, torn = answers_of({"Ann": [1] * 5, "Bob": [0] * 5}), answers_of({"Ann": [1, 1, 1, 0, 0], "Bob": [0, 0, 0, 1, 1]}, HAIR)
    both = Answers(steady.keys, steady.people, steady.networks, np.maximum(steady.outputs, torn.outputs))
    human = np.full((10, len(ALL.vocabulary)), -1, np.int8)
    human[:, MALE] = [1, 1, 1, 1, 0, 0, 0, 0, 0, 1]
    found = {each.name: each for each in judge({"pins": count(both)}, {"pins": both}, {"pins": list(human)}, recipe)}
    assert found["Male"].kept and found["Male"].human == pytest.approx(0.8) and found["Male"].person_human == 1
    assert not found["Black_Hair"].kept and "below 0.8 in pins" in found["Black_Hair"].why and found["Black_Hair"].agreement["pins"] == pytest.approx(0.6)
    assert not found["Smiling"].kept and "photograph" in found["Smiling"].why and np.isnan(found["Smiling"].human)
    everything = judge({"pins": count(both)}, {"pins": both}, {"pins": list(human)}, load("small", ["attributes.stable_only=false", "attributes.least_agreement=0"]))
    assert all(each.kept for each in everything)


def test_agreement_of_people_with_two_pictures_does_not_hide_that_of_people_with_five() -> None:
    """Of two pictures that answer by lot half agree fully."""
    answers = answers_of({"Ann": [1, 1, 1, 0, 0], "Bob": [0, 0, 0, 1, 1], **{f"P{at}": [at % 2] * 2 for at in range(20)}})
    found = count(answers)
    assert found.agreement()[MALE] > 0.9 and found.agreement(5)[MALE] == pytest.approx(0.6) and np.isnan(found.agreement(6)).all()
    human = [np.full(len(ALL.vocabulary), -1, np.int8)] * len(answers.keys)
    male = judge({"celeba": found}, {"celeba": answers}, {"celeba": human}, load("small"))[MALE]
    assert not male.kept and male.why == "agreement below 0.8 in celeba (5 pictures or more)" and set(male.agreement) == {"celeba", "celeba (5 pictures or more)"}


def world() -> tuple[tuple[Source, ...], Voted]:
    """Two sets; celeba has human labels."""

    def source(dataset: datasets.Dataset, people: list[str], human: bool) -> Source:
        items = []
        for number, who in enumerate(people):
            labels = {tasks.identity.name: who} | ({ALL.name: {"Male": False, "Smiling": True}} if human else {})
            items += [Example(Record(f"{who}/{number}/{at}", None, labels, who), np.zeros((5, 2)), "stated") for at in range(2)]  # type: ignore[arg-type]
        return Source(Examples(dataset, tuple(items)), 1.0, dataset.name)

    sources = counted([source(datasets.pins, ["Ann", "Bob", "Cy"], False), source(datasets.celeba, [str(number) for number in range(20)], True)])
    votes = {
        "pins": count(answers_of({"Ann": [1, 1], "Bob": [0, 0], "Cy": [1, 0]})),
        "celeba": count(answers_of({str(number): [number % 2] * 2 for number in range(20)})),
    }
    found = tuple(attributes.Attribute(name, {}, 0, 0, 0, name in ("Male", "Black_Hair"), "") for name in ALL.vocabulary)
    return sources, Voted(votes, found)


def told(source: Source) -> dict[str, dict]:
    return {str(example.record.subject): example.record.labels[ALL.name] for example in source.examples.items}  # type: ignore[misc]


def test_a_person_s_votes_are_on_all_its_pictures_and_what_has_no_majority_is_masked() -> None:
    sources, voted = world()
    pins, celeba = labelled(sources, voted)
    assert voted.task.vocabulary == ("Black_Hair", "Male")
    assert told(pins) == {"Ann": {"Black_Hair": False, "Male": True}, "Bob": {"Black_Hair": False, "Male": False}, "Cy": {"Black_Hair": False}}
    assert told(celeba)["1"] == {"Black_Hair": False, "Male": True}, "votes, not the human labels"
    encoded = voted.task.encode(pins.dataset.answers[ALL.name], told(pins)["Cy"])
    assert encoded["values"].tolist() == [0, -1]


def test_human_labels_are_taken_where_there_are_some() -> None:
    sources, voted = world()
    pins, celeba = labelled(sources, voted, human=True)
    assert told(pins)["Ann"] == {"Black_Hair": False, "Male": True} and told(celeba)["1"] == {"Male": False}
    assert isinstance(celeba.dataset.answers[ALL.name], TraitNames) and set(celeba.dataset.answers[ALL.name].meanings) == {"Black_Hair", "Male"}


def test_the_control_gives_whole_people_s_labels_to_other_people_of_their_set() -> None:
    sources, voted = world()
    plain, shuffled = labelled(sources, voted)[1], labelled(sources, voted, shuffled=3)[1]
    before, after = (sorted(str(each) for each in told(source).values()) for source in (plain, shuffled))
    assert before == after and told(plain) != told(shuffled)
    assert told(labelled(sources, voted, shuffled=3)[1]) == told(shuffled)
    for example in shuffled.examples.items:
        assert example.record.labels[ALL.name] == told(shuffled)[str(example.record.subject)], "the same on all pictures of a person"
    assert sorted(order_of(9, 4)) == list(range(9)) and order_of(9, None).tolist() == list(range(9))


def test_soft_votes_are_shares_by_the_number_of_a_person() -> None:
    sources, voted = world()
    shares = shares_of(sources, voted)
    assert shares["pins"][sources[0].people["Cy"]].tolist() == [0.0, 0.5] and shares["celeba"].shape == (20, 2)


def test_nobody_s_attributes_are_predicted_by_a_network_that_was_trained_on_that_person() -> None:
    sources, _ = world()
    recipe = load("smoke")
    for fold in range(recipe.attributes.folds):
        trained = {str(example.record.subject) for example in lesson_of(recipe, sources[1], f"fold-{fold}").sources[0].examples.items}
        predicted = {str(example.record.subject) for example in sources[1].examples.items if fold_of(str(example.record.subject), recipe.attributes.folds) == fold}
        assert trained and predicted and not trained & predicted
    assert len(lesson_of(recipe, sources[1], "all").sources[0].examples.items) == 40


def test_votes_are_a_table_with_counts_that_a_person_can_open(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    attributes._write_votes(tmp_path / "pins.parquet", count(answers_of({"Ann": [1, 1, 0], "Bob": [1, 0]})))
    rows = {(row["person"], row["attribute"]): row for row in parquet.read_table(tmp_path / "pins.parquet").to_pylist()}
    assert rows["Ann", "Male"] == {"person": "Ann", "attribute": "Male", "pictures": 3, "yes": 2, "share": 2 / 3, "label": 1, "refused": ""}
    assert rows["Bob", "Male"]["label"] is None and rows["Bob", "Male"]["refused"] == attributes.NO_MAJORITY and len(rows) == 80


def test_the_stable_attributes_are_the_project_s() -> None:
    assert set(STABLE) < set(ALL.vocabulary) and len(STABLE) == 20
    assert isinstance(count(answers_of({"Ann": [1, 1]})), PersonVotes)
