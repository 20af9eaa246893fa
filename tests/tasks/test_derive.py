"""Coarser tasks: what a data set's words mean in them, and that nothing is said that nobody knows."""

import numpy as np
import pytest

from polyface import tasks
from polyface.errors import RequestError
from polyface.images import geometry
from polyface.labels import PointMap, Ranges, TraitNames, same_words, words
from polyface.tasks import derive, retell

GROUPS = {"young": (0, 29), "adult": (30, 59), "old": (60, 116)}
FOUR = {"Asian": ("East Asian", "Southeast Asian"), "Latin": "Latino_Hispanic", "African": "Black", "White": "White"}
NINE = {
    "background": ("background", "eye_g", "hat", "ear_r", "neck_l", "neck", "cloth", "l_ear", "r_ear"), "skin": ("skin",), "brows": ("l_brow", "r_brow"),
    "eyes": ("l_eye", "r_eye"), "nose": ("nose",), "u_lip": ("u_lip",), "mouth": ("mouth",), "l_lip": ("l_lip",), "hair": ("hair",),
}  # fmt: skip
FIVE = {"eye 1": range(36, 42), "eye 2": range(42, 48), "nose": (30,), "mouth 1": (48,), "mouth 2": (54,)}


def test_ages_fall_into_their_groups_and_a_range_may_touch_several() -> None:
    task = derive(tasks.age, "age_group", GROUPS)
    assert isinstance(task, tasks.Category) and task.vocabulary == ("young", "adult", "old") and task.name == "age_group"
    meaning, label = retell(task, tasks.age, GROUPS, Ranges({"20-29": (20, 29), "30-39": (30, 39)}))
    assert [label(said) for said in (0, 29, 29.4, 29.6, 30, 60, "20-29", "30-39")] == ["young", "young", "young", "adult", "adult", "old", "young", "adult"]
    assert label((25, 35)) == "young or adult" and label((0, 116)) == "young or adult or old"
    row = task.encode(meaning, label((25, 35)))
    assert row["sets"].tolist() == [[True, True, False]] and row["scope"].all()


def test_what_has_no_place_among_the_groups_says_nothing() -> None:
    gap = {"young": (0, 29), "old": (60, 116)}
    _, label = retell(derive(tasks.age, "extremes", gap), tasks.age, gap, Ranges())
    assert label(45) is None and label((20, 40)) is None and label(70) == "old"
    task = derive(tasks.race, "race_of_four", FOUR)
    utkface = words(
        tasks.race.vocabulary, {"Asian": ("East Asian", "Southeast Asian"), "Indian": "Indian", "Others": ("Latino_Hispanic", "Middle Eastern"), "White": "White"}
    )
    meaning, label = retell(task, tasks.race, FOUR, utkface)
    assert label("Asian") == "Asian" and label("White") == "White" and label("Indian") is None and label("Others") is None
    assert task.encode(meaning, "Asian")["scope"].tolist() == [True, False, False, True]  # the set has no word for the others


def test_votes_for_finer_words_add_up() -> None:
    task = derive(tasks.race, "race_of_four", FOUR)
    _, label = retell(task, tasks.race, FOUR, same_words(tasks.race.vocabulary))
    assert label({"East Asian": 2, "Southeast Asian": 1, "Indian": 5, "White": 1}) == {"Asian": 3.0, "White": 1.0}
    assert label({"Indian": 5}) is None


def test_a_set_is_given_no_word_that_it_cannot_say_since_the_likeliest_word_is_its_answer() -> None:
    moods = {"glad": "happy", "not glad": ("anger", "sad"), "plain": "neutral"}
    task = derive(tasks.expression, "mood", moods)
    said = words(tasks.expression.vocabulary, {"happy": "happy", "cross": "anger", "down": "sad", "moved": ("happy", "sad")})
    meaning, label = retell(task, tasks.expression, moods, said)
    assert meaning.names == ("glad", "not glad", "glad or not glad") and label("moved") == "glad or not glad" and label("down") == "not glad"
    meaning, _ = retell(task, tasks.expression, moods, words(tasks.expression.vocabulary, {"happy": "happy", "cross": "anger", "none": "neutral"}))
    assert meaning.names == ("glad", "not glad", "plain"), "not all of them together, which would always be the likeliest"


def test_a_trait_becomes_a_question_with_two_answers() -> None:
    smiling = {"not smiling": ("Smiling", False), "smiling": ("Smiling", True)}
    task = derive(tasks.attributes, "smiling", smiling)
    meaning, label = retell(task, tasks.attributes, smiling, TraitNames({"smile": "Smiling"}))
    assert label({"smile": True}) == "smiling" and label({"smile": False}) == "not smiling" and label({}) is None
    assert task.encode(meaning, "smiling")["sets"].tolist() == [[False, True]]


def test_a_set_that_does_not_name_a_trait_says_nothing_of_the_question() -> None:
    bald = {"bald": ("Bald", True), "hairy": ("Bald", False)}
    meaning, label = retell(derive(tasks.attributes, "bald", bald), tasks.attributes, bald, TraitNames({"glasses": "Eyeglasses"}))
    assert meaning.table.all() and label({"glasses": True}) is None  # type: ignore[union-attr]


def test_regions_merge_and_mirror_as_their_parts_do() -> None:
    task = derive(tasks.parsing, "nine", NINE)
    assert isinstance(task, tasks.Regions) and task.mirrored == tuple(range(9))
    fasseg = words(tasks.parsing.vocabulary, {"background": "background", "hair or brow": ("hair", "l_brow", "r_brow"), "left": ("l_eye", "l_ear")})
    meaning, label = retell(task, tasks.parsing, NINE, fasseg)
    mask = np.zeros((4, 4), np.uint8)
    assert label(mask) is mask
    assert [[task.vocabulary[at] for at in np.flatnonzero(row)] for row in meaning.table] == [["background"], ["brows", "hair"], ["background", "eyes"]]
    sides = derive(tasks.parsing, "sides", {"left": ("l_eye",), "right": ("r_eye",), "rest": tuple(set(tasks.parsing.vocabulary) - {"l_eye", "r_eye"})})
    assert isinstance(sides, tasks.Regions) and sides.mirrored == (1, 0, 2)


def test_five_points_are_means_of_68_and_sets_of_five_say_them_too() -> None:
    task = derive(tasks.landmarks, "five", FIVE)
    assert isinstance(task, tasks.Points) and task.count == 5 and task.mirrored == (1, 0, 2, 4, 3)
    assert task.eyes == (0, 1) and derive(tasks.landmarks, "three", {"nose": (30,), "right": range(42, 48), "left": range(36, 42)}).eyes == (2, 1)  # type: ignore[attr-defined]
    assert derive(tasks.landmarks, "middle", {str(point): (point,) for point in (8, 27, 28, 29, 30)}).eyes is None  # type: ignore[attr-defined]
    face = np.random.default_rng(0).uniform(0, 100, (68, 2))
    _, of_all = retell(task, tasks.landmarks, FIVE, PointMap(np.eye(68)))
    _, of_five = retell(task, tasks.landmarks, FIVE, PointMap(geometry.five_of_68()))
    assert np.allclose(of_all(face), geometry.five_of_68() @ face) and np.allclose(of_five(geometry.five_of_68() @ face), of_all(face))
    face[37] = np.nan
    assert np.isnan(np.asarray(of_all(face))[0]).all() and np.isfinite(np.asarray(of_all(face))[1:]).all()
    assert np.isfinite(np.asarray(of_five(np.zeros((5, 2))))).all()
    _, of_nose = retell(task, tasks.landmarks, FIVE, PointMap(np.eye(68)[[30]]))
    assert np.isfinite(np.asarray(of_nose(np.zeros((1, 2))))).all(1).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("task", "grouping", "what"),
    [
        (tasks.race, {"Asian": ("East Asia",)}, "East Asian"),
        (tasks.race, {"a": "White", "b": "White"}, "in two words"),
        (tasks.age, {"young": (0, 30), "old": (30, 116)}, "apart from each other"),
        (tasks.age, {"old": (60, 200)}, "0 to 116"),
        (tasks.attributes, {"yes": ("Smilin", True), "no": ("Smilin", False)}, "Smiling"),
        (tasks.attributes, {"yes": ("Smiling", True), "no": ("Male", False)}, "one trait"),
        (tasks.parsing, {"skin": ("skin",)}, "in none of its regions"),
        (tasks.landmarks, {"nose": (90,)}, "0 to 67"),
        (tasks.landmarks, {"left eye": (36,)}, "mirrored face"),
        (tasks.identity, {"a": "b"}, "Embedding"),
        (tasks.gender, {}, "no words"),
        (tasks.gender, {"a": (3,)}, "'a' holds 3, not answers by name"),
        (tasks.attributes, {"yes": "Smiling", "no": "Smiling"}, "'yes' holds 'Smiling', not a trait and true or false"),
        (tasks.landmarks, {"nose": ("30",)}, "'nose' holds '30', not numbers of points"),
        (tasks.age, {"old": ("sixty", "ninety")}, "not a first and a last number"),
    ],
)
def test_a_map_that_makes_no_task_is_refused_by_name(task: tasks.Task, grouping: dict, what: str) -> None:
    with pytest.raises(RequestError, match=what):
        derive(task, "coarse", grouping)
