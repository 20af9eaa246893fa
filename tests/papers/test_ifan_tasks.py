"""The coarser tasks of paper B: what sets say in them, and what is refused before anything is trained."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polyface import datasets, tasks
from polyface.datasets.base import Dataset, Listing, Record
from polyface.datasets.celebamask import celebamask
from polyface.datasets.helen_masks import helen_masks
from polyface.datasets.retold import coarse_tasks, retelling, told_to
from polyface.errors import RequestError
from polyface.images import geometry
from polyface.papers.ifan_config import EMOTION, POINTS, REGIONS, load
from polyface.papers.ifan_worlds import Worlds
from polyface.synth.write import write_once
from polyface.tasks.derive import Derived

COARSE = coarse_tasks({"regions": REGIONS, "points": POINTS, "emotion": EMOTION})


def record_of(labels: dict[str, object]) -> Record:
    return Record("a", None, labels)  # type: ignore[arg-type]


def meanings(dataset: Dataset) -> dict[str, set[str]]:
    told = retelling(dataset, COARSE).dataset.answers["regions"]
    return {name: {REGION_NAMES[at] for at in np.flatnonzero(row)} for name, row in zip(told.names, told.table, strict=True)}  # type: ignore[union-attr]


REGION_NAMES = tuple(REGIONS.words)


def test_the_tasks_are_nine_regions_five_points_and_seven_emotions() -> None:
    regions, points, emotion = (each.task for each in COARSE)
    assert isinstance(regions, tasks.Regions) and regions.vocabulary == (
        "background", "skin", "brows", "eyes", "nose", "upper lip", "inner mouth", "lower lip", "hair",
    )  # fmt: skip
    assert regions.mirrored == tuple(range(9)), "left and right are merged"
    assert isinstance(points, tasks.Points) and points.count == 5 and points.mirrored == (1, 0, 2, 4, 3)
    assert isinstance(emotion, tasks.Category) and len(emotion.vocabulary) == 7 and "contempt" not in emotion.vocabulary
    assert "68" not in points.question and "seven" in emotion.question


@pytest.mark.parametrize("name", ["celebamask", "fasseg", "facesynthetics", "lapa", "helen_masks", "helen", "mtfl", "rafdb", "fer2013", "ferplus", "affectnet"])
def test_whoever_answers_the_finer_task_answers_the_coarser(name: str) -> None:
    dataset = datasets.named(name)
    told = retelling(dataset, COARSE)
    assert set(told.dataset.answers) == {each.task.name for each in COARSE if each.fine.name in dataset.answers}
    assert told.dataset.name == name and told.dataset.splits == dataset.splits


def test_both_tasks_of_facesynthetics_are_retold() -> None:
    assert set(retelling(datasets.facesynthetics, COARSE).dataset.answers) == {"regions", "points"}
    assert set(retelling(datasets.facesynthetics, COARSE, [tasks.parsing.name]).dataset.answers) == {"regions"}


def test_what_has_no_place_of_its_own_is_background_and_glasses_and_jewellery_say_nothing() -> None:
    said = meanings(datasets.celebamask)
    assert all(said[name] == {"background"} for name in ("hat", "neck", "cloth", "l_ear", "r_ear"))
    assert said["l_brow"] == {"brows"} and said["mouth"] == {"inner mouth"}
    vocabulary = tasks.parsing.vocabulary
    mask = np.array([[vocabulary.index(name) for name in ("eye_g", "ear_r", "neck_l", "skin")]], np.uint8)
    told = retelling(datasets.celebamask, COARSE).record(record_of({tasks.parsing.name: lambda: mask}))
    assert told.labels["regions"]().tolist() == [[255, 255, 255, vocabulary.index("skin")]]  # type: ignore[operator]


def test_fassegs_colours_keep_what_they_leave_open() -> None:
    said = meanings(datasets.fasseg)
    assert said["eyes"] == {"eyes"} and said["nose"] == {"nose"} and said["background"] == {"background"}  # and not whatever glasses may hide
    assert said["hair"] == {"hair", "brows"} and said["mouth"] == {"upper lip", "inner mouth", "lower lip"}
    assert said["skin"] == {"skin", "background"}, "its skin has ears and neck, which are background here"


def test_sixty_eight_points_become_mtfls_five() -> None:
    points = np.random.default_rng(0).uniform(0, 100, (68, 2))
    told = retelling(datasets.helen, COARSE)
    assert told.record(record_of({tasks.landmarks.name: points})).labels["points"] == pytest.approx(geometry.five_of_68() @ points)
    five = points[:5]
    assert retelling(datasets.mtfl, COARSE).record(record_of({tasks.landmarks.name: five})).labels["points"] == pytest.approx(five)


def test_contempt_and_nothing_else_says_nothing_of_seven_emotions() -> None:
    told = retelling(datasets.affectnet, COARSE)
    words = datasets.affectnet.answers[tasks.expression.name].names  # type: ignore[union-attr]
    labels = [told.record(record_of({tasks.expression.name: word})).labels for word in words]
    assert sum(not each for each in labels) == 1 and len({each["emotion"] for each in labels if each}) == 7
    votes = retelling(datasets.ferplus, COARSE).record(record_of({tasks.expression.name: {"contempt": 4, "happiness": 5, "neutral": 1}}))
    assert votes.labels["emotion"] == {"happy": 5.0, "neutral": 1.0}


def test_the_word_for_yaw_goes_along_for_tables_by_pose() -> None:
    told = retelling(datasets.mtfl, COARSE).record(record_of({tasks.landmarks.name: np.ones((5, 2)), tasks.pose.name: {"yaw": "left profile"}}))
    assert told.groups == {"pose": "left profile"} and set(told.labels) == {"points"}


def test_the_class_map_is_a_recipes() -> None:
    left = ", ".join(f'"{name}"' for name in tasks.parsing.vocabulary if name not in ("hair", "background"))
    table = 'tasks={three = {of = "parsing", words = {face = [FACE], hair = "hair", rest = ["background"]}}}'
    found = coarse_tasks(load("smoke", ["losses={}", "pretrain={three={steps=1, batch=1}}", table.replace("FACE", left)]).tasks)[0].task
    assert isinstance(found, tasks.Regions) and found.name == "three" and found.vocabulary == ("face", "hair", "rest")
    with pytest.raises(RequestError, match="three: eye_g is in none of its regions"):
        coarse_tasks(load("smoke", ["losses={}", "pretrain={three={steps=1, batch=1}}", table.replace("FACE", left.replace('"eye_g", ', ""))]).tasks)


@pytest.mark.parametrize(
    ("derived", "said"),
    [
        (Derived(of="age"), "a task of classes, points, regions or traits is needed"),
        (Derived(of="expresion"), "did you mean 'expression'"),
        (Derived(of="expression", nothing=("happy",)), "no region of expression"),
        (Derived(of="parsing", nothing=("eyeglasses",)), "no region of parsing"),
    ],
)
def test_a_task_that_cannot_be_made_is_refused(derived: Derived, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        coarse_tasks({"made": derived})


def test_a_set_that_labels_none_of_the_tasks_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match=r"utkface labels none of the recipe's tasks, regions \(from parsing\), .*; it answers age, gender, race"):
        retelling(datasets.utkface, COARSE)
    with pytest.raises(RequestError, match="mtfl does not answer parsing"):
        retelling(datasets.mtfl, COARSE, ["parsing"])


MANIFEST = """
name = "own"
title = "Own"
terms = "private"
table = "faces.csv"
picture = "file"
"""
UNMAPPED = {
    "masks whose one word is everything": '[tasks.parsing]\ncolumn = "mask"\nwords = { all = ' + str(list(tasks.parsing.vocabulary)).replace("'", '"') + " }",
    "nothing but contempt": '[tasks.expression]\ncolumn = "word"\nwords = { sneer = "contempt" }',
    "one word": '[tasks.expression]\ncolumn = "word"\nwords = { glad = "happy" }',
    "points of the jaw": '[tasks.landmarks]\ncolumns = ["x", "y"]\nmeans = [[8]]',
}


@pytest.mark.parametrize("section", UNMAPPED.values(), ids=UNMAPPED)
def test_a_vocabulary_that_cannot_be_mapped_is_refused_by_name(section: str, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(MANIFEST + section)
    with pytest.raises(RequestError, match=r"own: its .* cannot be mapped to (regions|emotion|points)"):
        retelling(datasets.named(str(file)), COARSE)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = load("smoke", ['drawn.sets=[["celebamask", "celebamask", 12, 1]]'])
    return write_once(recipe.drawn.sets, tmp_path_factory.mktemp("drawn"))


def test_an_image_without_its_mask_is_named_before_training(drawn: Path, tmp_path: Path) -> None:
    recipe = load("smoke", ['data=[{set = "celebamask"}]'])
    whole = Worlds(recipe, drawn, tmp_path)
    example = whole.sources("real")[0].examples.items[0]
    mask = drawn / "celebamask" / "masks" / f"{example.record.key}.png"
    hidden = mask.rename(tmp_path / "mask.png")
    try:
        worlds = Worlds(recipe, drawn, tmp_path)
        assert len(worlds.sources("real")[0].examples.items) == len(whole.sources("real")[0].examples.items) - 1
        assert worlds.notes == [f"celebamask: 1 files are listed but absent, their pictures are left out; masks/{example.record.key}.png first"]
    finally:
        hidden.rename(mask)
    assert whole.notes == []


def test_a_pool_is_capped_evenly_and_the_same_each_time(drawn: Path, tmp_path: Path) -> None:
    keys = []
    for most in (100, 4, 4):
        recipe = load("smoke", [f'data=[{{set = "celebamask", most = {most}}}]'])
        keys.append([example.record.key for example in Worlds(recipe, drawn, tmp_path).sources("real")[0].examples.items])
    assert len(keys[1]) == 4 and keys[1] == keys[2] and {keys[0][0], keys[0][-1]} <= set(keys[1]) <= set(keys[0])


def test_a_set_that_is_not_at_hand_is_refused_by_name(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no rafdb"):
        Worlds(load("smoke", ['data=[{set = "rafdb"}]']), drawn, tmp_path).sources("real")


def test_for_scores_words_that_mean_the_same_regions_are_one() -> None:
    """Both brows of a set that has two are brows; masks say so too."""
    found = celebamask.answers["parsing"].names.index
    mask = np.array([[found("l_brow"), found("r_brow"), found("nose"), 255]], np.uint8)
    dataset = replace(celebamask, list_records=lambda root, split: Listing((record_of({"parsing": lambda: mask}),)))
    task = coarse_tasks({"regions": REGIONS})[0].task
    told = told_to(dataset, [task], {"regions": REGIONS})
    words = told.answers["regions"]
    (said,) = told.list_records(None, "test").records  # type: ignore[arg-type]
    left, right, nose, nothing = said.labels["regions"]()[0].tolist()
    assert len({tuple(row) for row in words.table.tolist()}) == len(words.names) and words.names[left] == "l_brow or r_brow"
    assert left == right and words.names[nose] == "nose" and nothing == 255
    assert "left eyebrow or right eyebrow" in told_to(helen_masks, [tasks.parsing], {}).answers["parsing"].names  # type: ignore[union-attr]
    assert told_to(celebamask, [tasks.parsing], {}) is celebamask
