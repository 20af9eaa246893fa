"""Sets that share no person, and famous people whose groups are voted: both on drawn sets, to their tables."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polyface import datasets
from polyface.papers import fusion, fusion_strangers, fusion_worlds
from polyface.papers.fusion_config import FusionConfig, load
from polyface.papers.fusion_pictures import Pictures, check
from polyface.synth.write import write

TINY = [
    "network={size=16, channels=[4, 4, 8]}", "networks.steps=8", "networks.batch=32", "networks.curve=2", "heads.steps=8", "heads.batch=32", "variants=2",
    "celeba={people=6, pictures=4}",
    "strangers={pictures=60}", 'worlds=["strangers"]',
]  # fmt: skip
RECIPE = """
name = "voter"
steps = 2
batch = 8
validate_every = 2
validation_rows = 4
data = [{ set = "fairface", tasks = ["age", "gender", "race"] }]
crop = { size = 32, eye_distance = 11.0, eyes = [16.0, 14.0] }
model = { tasks = ["age", "gender", "race"], stem = 8, widths = [8, 16], blocks = [1, 1], fine = 8, hidden = 16 }
"""


def config(*more: str) -> FusionConfig:
    return load("smoke", [*TINY, *more])


@pytest.mark.timeout(900)
def test_features_cross_sets_that_share_no_person_and_pairs_of_strangers_are_compared(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for layout, people, photos in (("celeba", 24, 5), ("fairface", 24, 3), ("utkface", 30, 3), ("rafdb", 16, 4), ("lfw", 8, 3)):
        write(layout, data / layout, people, photos, 5)
    assert fusion_strangers.TASKS[1:] == tuple(source.task for source in fusion_strangers.sources())
    assert fusion.reproduce("smoke", out, data, "strangers/age", settings=TINY) == out
    assert [path.parent.name for path in out.rglob("result.json")] == ["age"], "one network of one set"
    page = fusion.reproduce("smoke", out, data, settings=TINY)
    benches = fusion_strangers.prepare(config(), data, out / "strangers", lambda words: None)
    found = fusion_strangers.run(benches, config(), data, out / "strangers", lambda words: None)
    assert found.tasks == ("identity", "age", "race", "gender", "expression") and found.targets == found.tasks[1:]
    assert all(0 <= found.one(source, target).accuracy <= 1 for source in found.tasks for target in found.targets)
    (gain,) = (each for each in found.pairs if each.get("gain"))
    assert {each["feature"] for each in found.pairs if each is not gain} == {*found.tasks, "all", "all but identity"}
    flipped = {each["feature"]: each["value"] for each in found.pairs if each["metric"] == gain["metric"] and each is not gain}
    best = max(found.tasks, key=lambda task: flipped[task])
    assert gain["metric"].endswith("-fold accuracy, flip") and best in gain["feature"] and gain["value"] == pytest.approx(flipped["all"] - flipped[best])
    assert gain["low"] <= gain["value"] <= gain["high"]
    words = page.read_text()
    assert "sets that share no person" in words and "UTKFace" in words and "fold accuracy, flip" in words
    told = json.loads((out / "findings.json").read_text())["strangers"]["claims"]
    assert {each["claim"] for each in told} == {"H2", "H3", "gain"} and all("best single" in each["what"] for each in told if each["claim"] == "H3")
    assert set(json.loads((out / "findings.json").read_text())["strangers"]["networks"]) == set(found.targets)
    gender, known = benches["gender"][0].pictures, benches["identity"][0].pictures
    assert gender.tested is not None and not set(gender.keys) & set(known.keys) and set(gender.tested.tolist()) == {True, False}
    trained, tested = (set(gender.people[gender.tested == side].tolist()) for side in (False, True))
    assert tested and not trained & tested, "people who are tested are strangers, however many pictures they have"


def test_pictures_of_strangers_are_cut_anew_where_other_ones_are_asked_for(tmp_path: Path) -> None:
    write("celeba", tmp_path / "celeba", 24, 3, 5)
    source, keep = next(each for each in fusion_strangers.sources() if each.task == "gender"), fusion_strangers._keeping(tmp_path)

    def pictures(*more: str, without: tuple[str, ...] = ()) -> Pictures:
        bench, _ = fusion_strangers._bench(source, config(*more), tmp_path, tmp_path / "out", set(without), keep, lambda words: None, None)
        return bench.pictures

    first = pictures()
    assert np.array_equal(pictures().crops, first.crops)
    assert not np.array_equal(pictures("eye_distance=0.2").crops, first.crops)
    assert pictures("network={size=24, channels=[4, 4, 8]}").crops.shape[1] == 36 and len(pictures("strangers={pictures=6}").keys) == 8
    assert first.names[0] not in pictures(without=(first.names[0],)).names


def test_pictures_of_strangers_are_taken_from_the_whole_of_a_sorted_list(tmp_path: Path) -> None:
    write("celeba", tmp_path / "celeba", 24, 3, 5)
    source = next(each for each in fusion_strangers.sources() if each.task == "gender")
    listed = datasets.celeba.records(datasets.find_root(tmp_path, "celeba"), "test").records
    bench, _ = fusion_strangers._bench(
        source, config("strangers={pictures=9}"), tmp_path, tmp_path / "out", set(), lambda dataset, records: records, lambda words: None, None
    )
    assert bench.pictures.tested is not None
    tested = [key for key, test in zip(bench.pictures.keys, bench.pictures.tested, strict=True) if test]
    assert {tested[0], tested[-1]} == {listed[0].key, listed[-1].key} and len(tested) == 3


def test_copies_of_test_pictures_leave_the_sets_that_networks_see(tmp_path: Path) -> None:
    write("celeba", tmp_path / "celeba", 24, 3, 5)
    train, test = (datasets.celeba.records(datasets.find_root(tmp_path, "celeba"), split).records for split in ("train", "test"))
    Path(str(train[0].source)).write_bytes(test[0].source.read())
    assert [record.key for record in fusion_strangers._keeping(tmp_path)(datasets.celeba, train)] == [record.key for record in train[1:]]


@pytest.mark.timeout(900)
def test_famous_people_get_their_groups_by_vote_and_the_votes_are_told(tmp_path: Path, find_faces: Callable[..., None]) -> None:
    data = tmp_path / "data"
    write("fairface", data / "fairface", 10, 3, 5)
    write("folders", data / "pins", 14, 4, 5)
    find_faces(data, "fairface", "pins")
    (tmp_path / "voter.toml").write_text(RECIPE)
    asked = config(f'pins={{people=5, pictures=3, voter="{tmp_path / "voter.toml"}"}}')
    made = fusion_worlds.pins(asked, data, tmp_path / "out")
    assert (tmp_path / "out" / "voter" / "model" / "card.json").exists()
    assert made.tasks == ("identity", "age", "race", "gender") and 1 <= len(made.names) <= 5 and max(np.bincount(made.people)) == 3
    assert made.sure is not None and len(made.sure) == len(made.names)
    assert any("recall on FairFace validation, race" in note for note in made.notes) and any("people in each group" in note for note in made.notes)
    if all(len(np.unique(made.labels[task])) > 1 for task in made.tasks[1:]):
        check(made)
