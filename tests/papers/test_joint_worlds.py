"""Who is trained on: each who must not be is refused by name and reason; and who may be a probe person under no name."""

import csv
import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from polyface import datasets, tasks
from polyface.datasets import copies
from polyface.datasets.base import Record
from polyface.datasets.crops import Example, Examples
from polyface.errors import RequestError
from polyface.labels import People
from polyface.papers import joint_worlds as worlds
from polyface.papers.joint_config import load
from polyface.papers.joint_screen import Reached, _means, compare, known_different, named_spaces, reaching, unscreened
from polyface.papers.joint_worlds import Refusal, Worlds, admitted, counted, without
from polyface.training.examples import Source


def source_of(pictures: dict[str, int], unnamed: tuple[str, ...] = (), space: str = "pins") -> Source:
    """So many pictures of each; of the unnamed nobody says who they are."""
    items = [
        Example(Record(f"{who}/{number}.jpg", None, {} if who in unnamed else {tasks.identity.name: who}, who), np.zeros((5, 2)), "stated")  # type: ignore[arg-type]
        for who, count in pictures.items()
        for number in range(count)
    ]
    return Source(Examples(datasets.pins, tuple(items)), 1.0, space)


def refused(source: Source, probes: dict[str, set[str]] | None = None, thumbnails: dict | None = None) -> tuple[set[str], dict[str, str]]:
    kept, people = admitted(source, probes or {}, 2, thumbnails)
    return {str(example.record.subject) for example in kept}, {each.person: each.why for each in people}


def test_an_identity_with_one_image_is_refused_by_name() -> None:
    kept, found = admitted(source_of({"Ann": 3, "Bob": 1}), {}, 2)
    assert {example.record.subject for example in kept} == {"Ann"}
    assert found == [Refusal("pins", "Bob", 1, worlds.TOO_FEW, "2 at least are needed")]


def test_one_person_under_two_spellings_is_trained_once() -> None:
    kept, found = refused(source_of({"Zoë Saldana": 3, "zoe_saldana": 2, "Ann": 2}))
    assert kept == {"Zoë Saldana", "Ann"} and found == {"zoe_saldana": worlds.SPELLED}


def test_one_photograph_under_two_people_refuses_the_lesser() -> None:
    random = np.random.default_rng(0)
    thumbnails = {f"{who}/{number}.jpg": random.integers(0, 256, 400, np.uint8) for who in ("Ann", "Bob", "Cy") for number in range(3)}
    thumbnails["Bob/1.jpg"] = np.clip(thumbnails["Ann/2.jpg"].astype(int) + 1, 0, 255).astype(np.uint8)
    source = source_of({"Ann": 3, "Bob": 2, "Cy": 2})
    kept, found = refused(source, thumbnails=thumbnails)
    assert kept == {"Ann", "Cy"} and found == {"Bob": worlds.SEEN_TWICE}
    detail = admitted(source, {}, 2, thumbnails)[1][0].detail
    assert "Bob/1.jpg" in detail and "Ann/2.jpg" in detail


def test_two_people_who_look_alike_stay_and_one_photograph_under_two_names_goes() -> None:
    random = np.random.default_rng(0)
    ann, bob, cy, dora = (random.normal(0, 1, 400) for _ in range(4))
    faces = {"Ann": ann, "Bob": ann + 0.33 * bob, "Cy": cy, "Dora": cy + 0.1 * dora}
    thumbnails = {f"{who}/0.jpg": np.clip(128 + 30 * face, 0, 255).astype(np.uint8) for who, face in faces.items()}
    rows = copies.comparable(list(thumbnails.values()))
    assert rows[0] @ rows[1] == pytest.approx(0.95, abs=0.01) and rows[2] @ rows[3] > 0.98
    assert rows[0] @ rows[1] > copies.NEAR, "to be told from a test picture it would be too near"
    kept, found = refused(source_of({"Ann": 3, "Bob": 2, "Cy": 3, "Dora": 2}), thumbnails=thumbnails)
    assert kept == {"Ann", "Bob", "Cy"} and found == {"Dora": worlds.SEEN_TWICE}


def test_a_probe_person_is_not_trained_on_by_key_or_by_name() -> None:
    kept, found = refused(source_of({"Ann": 2, "Bob Lee": 2, "17": 2}), {"pins": {"Ann"}, "cfp": {"bob_lee", "17"}})
    assert found == {"Ann": worlds.IN_PROBES, "Bob Lee": worlds.IN_PROBES}
    assert kept == {"17"}, "a number is no name in another set"


def test_people_of_sets_kept_for_tests_are_named_too() -> None:
    kept, found = refused(source_of({"Ann": 2, "Bob": 4}, unnamed=("Bob",)))
    assert kept == {"Ann"} and found == {"Bob": worlds.OF_STRANGERS}


def test_refusals_can_be_read_in_a_table(tmp_path: Path) -> None:
    made = Worlds(SimpleNamespace(), tmp_path, refused=[Refusal("pins", "Bob", 1, worlds.TOO_FEW)])  # type: ignore[arg-type]
    made.write_refused(tmp_path / "refused.csv")
    (row,) = csv.DictReader((tmp_path / "refused.csv").open())
    assert row == {"set": "pins", "person": "Bob", "pictures": "1", "why": worlds.TOO_FEW, "detail": ""}


def test_people_are_numbered_anew_in_their_space_and_nobody_left_is_an_error() -> None:
    one, other = source_of({"Ann": 2, "Cy": 2}), source_of({"Bob": 2, "Cy": 2})
    first, second = counted([one, other])
    assert first.people == second.people == {"Ann": 0, "Bob": 1, "Cy": 2}
    left = without([source_of({"Ann": 2, "Bob": 2, "Cy": 2})], {("pins", "Cy"), ("elsewhere", "Ann")})
    assert left[0].people == {"Ann": 0, "Bob": 1}
    with pytest.raises(RequestError, match="pins: 1 people are left"):
        without([source_of({"Ann": 2, "Cy": 2})], {("pins", "Cy")})


def test_folds_are_for_ever_and_even() -> None:
    folds = [worlds.fold_of(f"person {number}", 4) for number in range(4000)]
    assert folds[:4] == [worlds.fold_of(f"person {number}", 4) for number in range(4)]
    assert np.bincount(folds, minlength=4).min() > 900


# Who may be a probe person under no name


def test_only_people_without_common_names_are_compared_by_face() -> None:
    training = [("pins", "Ann"), ("celeba", "12")]
    probes = ["cfp/Bob", "celeba/99", "pins/Cy"]
    assert known_different(training, probes, {"pins", "cfp"}).tolist() == [[True, False, True], [False, True, False]]


def test_a_word_about_a_number_is_no_name() -> None:
    """RecordIO's people are `number 17`; of VGGFace2's folders nobody said that they are names."""
    vggface2 = datasets.people_in_folders("vggface2", "", "", "")
    named = named_spaces([datasets.recordio, vggface2, datasets.pins, datasets.lfw, datasets.cfp_fp, datasets.cfp_ff, datasets.celeba])
    assert named == {"pins", "lfw", "cfp"}
    training = [("recordio", "number 17"), ("vggface2", "n000001"), ("pins", "Ann"), ("pins", "17")]
    assert known_different(training, ["cfp/Adam Sandler"], named).tolist() == [[False], [False], [True], [False]]


def test_a_space_is_of_names_only_where_all_its_sets_say_so() -> None:
    other = dataclasses.replace(datasets.pins, name="other", answers={tasks.identity.name: People(space="pins")})
    assert named_spaces([datasets.pins, other]) == frozenset()


def test_a_training_person_who_looks_like_a_probe_person_leaves_and_the_line_is_that_of_known_strangers() -> None:
    random = np.random.default_rng(0)
    training = [("celeba", str(number)) for number in range(300)]
    probes = [f"celeba/{1000 + number}" for number in range(60)] + [f"cfp/N{number}" for number in range(20)]
    centres, others = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (random.normal(size=(300, 64)), random.normal(size=(80, 64))))
    others[65] = centres[7] + 0.01 * others[65]
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    found = compare(centres, others, training, probes, known_different(training, probes, {"cfp"}), far=1e-3)
    assert found.known == 300 * 60 and found.unknown == 300 * 20 and found.threshold is not None
    reached = (centres @ others[:60].T >= found.threshold).sum()
    assert reached <= 18, "at most a thousandth of the pairs of known strangers"
    assert "7" in {each.person for each in found.removed} and next(each for each in found.removed if each.person == "7").probe == "cfp/N5"
    assert len(found.removed) < 20


def test_a_line_that_too_few_strangers_vouch_for_is_not_drawn() -> None:
    found = compare(np.eye(3), np.eye(3)[:2], [("a", "1")] * 3, ["a/2", "b/3"], np.array([[True, False]] * 3), far=1e-4)
    assert found.threshold is None and not found.removed and "too few" in found.in_words()


def test_distractors_under_no_name_that_reach_the_line_are_counted() -> None:
    probes, named = ["celeba/1", "cfp/Bob"], {"cfp", "lfw"}
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0.6, 0.8]], np.float32)
    people = np.array(["", "lfw/Ann", "lfw/Cy", ""])
    found = reaching(vectors, people, np.eye(2, dtype=np.float32), probes, named, 0.75)
    assert found == Reached(distractors=4, over=3, pairs=6, pairs_over=3), "Ann may be 1 of CelebA, Cy is not Bob"
    assert found.in_words(0.5).startswith("3 of 4 distractors without a name") and " where 3 would by chance" in found.in_words(0.5)
    assert reaching(vectors[1:3], people[1:3], np.eye(2, dtype=np.float32)[1:], probes[1:], named, 0.75) is None


def test_the_centre_of_a_person_is_of_unit_length_and_nobody_s_is_nothing() -> None:
    assert _means(np.array([[3, 0], [0, 4], [0, 2]], np.float32), np.array([0, 2, 2]), 3).tolist() == [[1, 0], [0, 0], [0, 1]]


def test_pairs_that_training_people_may_be_in_are_said_to_be() -> None:
    said = unscreened(load("small"))
    assert said.startswith("pairs of lfw") and "those of celeba have none" in said
    assert not unscreened(load("small", ['data=[{ set = "pins" }]'])), "names tell"
    assert not unscreened(load("small", ['pairs="cfp_ff"'])), "its people are probe people, who are screened"
