"""The detector's recipe, views and plan: labels move with pixels, a batch is a function of its step, a run ends in a file that both runtimes read."""

import json
import math
import re
import tomllib
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest

from polyface.datasets import scenes
from polyface.datasets.base import split_of, split_of_train
from polyface.datasets.scene import Scene
from polyface.errors import RequestError
from polyface.images import geometry
from polyface.images.detect import Face, load_detector
from polyface.images.read import file_source
from polyface.inference import detector_card
from polyface.training import detector, run, views
from polyface.training.config import Augment, to_toml, with_settings

SIDE = 128
POINTS = np.array([[0.3, 0.35], [0.7, 0.35], [0.55, 0.55], [0.35, 0.8], [0.65, 0.8]])
"""Of the face's box."""
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
PLAIN = Augment(flip=0.0, colour=0.0, grey=0.0, blur=0.0, blank=0.0, erase=0.0)


def paint(box: np.ndarray, width: int = 240, height: int = 180) -> np.ndarray:
    """A grey picture with a white box in it, whose five points are discs of five colours."""
    image = np.full((height, width, 3), 128, np.uint8)
    x0, y0, x1, y1 = box.astype(int)
    image[y0:y1, x0:x1] = 255
    for point, colour in zip(points_of(box), COLOURS, strict=True):
        cv2.circle(image, tuple(int(value) for value in point), 5, colour, -1)
    return image


def points_of(box: np.ndarray) -> np.ndarray:
    return box[:2] + POINTS * (box[2:] - box[:2])


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    box = np.array([60.0, 40, 140, 140])
    cv2.imwrite(str(tmp_path / "a.png"), paint(box)[..., ::-1])
    return Scene.of("a", file_source(tmp_path / "a.png"), box[None], points_of(box)[None], complete=True)


def colour_at(image: np.ndarray, point: np.ndarray) -> tuple[int, ...]:
    x, y = (int(value) for value in point)
    return tuple(int(value) for value in np.where(image[y, x] > 127, 255, 0))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_points_lie_on_what_they_name_in_every_view_and_in_its_mirror(scene: Scene, seed: int, flip: float) -> None:
    look = views.Look(chosen=1.0, four=0.0, covered=0.0, smallest=60.0, augment=Augment(flip=flip, colour=0.0, grey=0.0, blur=0.0, blank=0.0, erase=0.0))
    view = views.draw_view(scene, 256, look, np.random.default_rng(seed))
    expected = [COLOURS[at] for at in (views.MIRRORED if flip else range(5))]
    found = [(colour_at(view.image, point), colour) for point, colour in zip(view.points[0], expected, strict=True) if np.isfinite(point).all()]
    assert len(found) >= 2 and all(one == other for one, other in found)
    x0, y0, x1, y1 = view.boxes[0]
    assert 0 <= x0 < x1 <= 256 and 0 <= y0 < y1 <= 256 and not view.ignored[0]


@pytest.mark.parametrize("seed", range(6))
def test_the_box_is_where_the_face_is(scene: Scene, seed: int) -> None:
    look = views.Look(chosen=1.0, four=0.0, covered=0.0, turned=0.0, smallest=40.0, augment=PLAIN)
    view = views.draw_view(scene, SIDE, look, np.random.default_rng(seed))
    x0, y0, x1, y1 = np.rint(view.boxes[0]).astype(int)
    painted = (np.abs(view.image.astype(int) - 128) > 60).any(-1)
    assert painted[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].mean() > 0.98
    painted[max(0, y0 - 2) : y1 + 2, max(0, x0 - 2) : x1 + 2] = False
    assert not painted.any()


def test_chosen_views_show_faces_of_all_sizes(scene: Scene) -> None:
    look = views.Look(chosen=1.0, four=0.0, turned=0.0, augment=PLAIN)
    shown = [views.draw_view(scene, SIDE, look, np.random.default_rng(seed)) for seed in range(120)]
    sizes = np.array([np.sqrt((view.boxes[0, 2:] - view.boxes[0, :2]).prod()) for view in shown if len(view.boxes)])
    assert sizes.min() < 30 and sizes.max() > 90 and len(sizes) > 110


@pytest.mark.parametrize("seed", range(6))
def test_no_grey_where_the_picture_can_fill_the_view(tmp_path: Path, seed: int) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((200, 300, 3), 255, np.uint8))
    corner = Scene.of("a", file_source(tmp_path / "a.png"), np.array([[4.0, 4, 24, 24]]), complete=True)
    view = views.draw_view(corner, SIDE, views.Look(chosen=1.0, four=0.0, turned=0.0, covered=0.0, smallest=20.0, augment=PLAIN), np.random.default_rng(seed))
    assert (view.image > 250).mean() > 0.98  # its edge is half a pixel of grey


@pytest.mark.parametrize(
    ("points", "width", "ignored", "expected"),
    [
        (POINTS, 80, False, False),
        (POINTS + np.array([[0.0, 0]] * 2 + [[0.13, 0]] + [[0.0, 0]] * 2), 80, False, True),
        (POINTS * [0.5, 1], 80, False, True),
        (POINTS * np.nan, 80, False, True),
        (POINTS * np.nan, 18, False, False),
        (POINTS * np.nan, 80, True, False),
    ],
    ids=["usual", "the nose aside", "the eyes near each other", "no detector found it", "but it is small", "but nobody knows whether it is one"],
)
def test_faces_that_are_turned_away_or_were_found_by_nobody_are_hard(points: np.ndarray, width: int, ignored: bool, expected: bool, tmp_path: Path) -> None:
    box = np.array([20.0, 20, 20 + width, 20 + width])
    scene = Scene.of("a", file_source(tmp_path / "a.png"), box[None], (20 + points * width)[None], np.array([ignored]))
    assert views.hard(scene).tolist() == [expected]


def test_hard_faces_and_the_scenes_with_one_come_three_times_as_often(scene: Scene) -> None:
    boxes, points = np.array([[10.0, 10, 60, 60], [120.0, 60, 200, 140]]), np.stack([points_of(np.array([10.0, 10, 60, 60])), np.full((5, 2), np.nan)])
    both = Scene.of("b", scene.source, boxes, points)
    pool = views.Pool("a", (scene, both))
    keys = [views.draw_batch([pool], (1,), step, 32, views.Look(four=0.0), 1).keys[0] for step in range(8)]
    assert sorted(keys) == ["a/a"] * 2 + ["a/b"] * 6
    matrices = [views._window(both, 240, 180, SIDE, views.Look(chosen=1.0, turned=0.0), np.random.default_rng(seed)) for seed in range(400)]
    shown = [views.seen(both, matrix, np.zeros((SIDE, SIDE, 3), np.uint8), 8.0) for matrix in matrices]
    alone = [np.isnan(view.points[~view.ignored]).all() for view in shown if (~view.ignored).sum() == 1]
    assert 0.65 < np.mean(alone) < 0.85


def test_small_cut_and_outside_faces_are_ignored_and_never_background(tmp_path: Path) -> None:
    boxes = np.array([[10.0, 10, 14, 14], [40, 40, 60, 60], [-15, 40, 5, 60], [95, 40, 135, 60], [200, 200, 220, 220]])
    scene = Scene.of("a", file_source(tmp_path), boxes)
    view = views.seen(scene, geometry.about((0.0, 0.0)), np.zeros((100, 100, 3), np.uint8), smallest=8.0)
    np.testing.assert_array_equal(view.boxes, [[10, 10, 14, 14], [40, 40, 60, 60], [0, 40, 5, 60], [95, 40, 100, 60]])
    assert view.ignored.tolist() == [True, False, True, True]


def test_a_mirror_of_a_mirror_is_the_view(scene: Scene) -> None:
    view = views.draw_view(scene, SIDE, views.Look(augment=PLAIN), np.random.default_rng(3))
    again = views.mirrored(views.mirrored(view))
    assert (again.image == view.image).all()
    np.testing.assert_allclose(again.boxes, view.boxes)
    np.testing.assert_allclose(again.points, view.points)


def test_four_views_are_the_quarters_of_one(scene: Scene) -> None:
    parts = [views.draw_view(scene, 64, views.Look(augment=PLAIN), np.random.default_rng(seed)) for seed in range(4)]
    whole = views.four(parts)
    assert whole.image.shape == (128, 128, 3) and (whole.image[64:, :64] == parts[2].image).all()
    start = sum(len(part.boxes) for part in parts[:3])
    np.testing.assert_allclose(whole.boxes[start:], parts[3].boxes + 64)
    np.testing.assert_allclose(whole.points[start:], parts[3].points + 64)


def test_something_may_hide_part_of_a_face_and_its_points_stay(scene: Scene) -> None:
    look = views.Look(chosen=1.0, four=0.0, turned=0.0, smallest=60.0, covered=1.0, augment=PLAIN)
    plain = views.Look(chosen=1.0, four=0.0, turned=0.0, smallest=60.0, covered=0.0, augment=PLAIN)
    one, other = (views.draw_view(scene, SIDE, each, np.random.default_rng(5)) for each in (look, plain))
    changed = (one.image != other.image).any(-1)
    x0, y0, x1, y1 = one.boxes[0]
    assert 0.15 < changed.sum() / ((x1 - x0) * (y1 - y0)) < 0.6
    np.testing.assert_array_equal(one.points, other.points)


def test_a_batch_is_a_function_of_seed_step_and_row_whoever_draws_it(scene: Scene) -> None:
    pools = [views.Pool("a", (scene,) * 5), views.Pool("b", (scene,) * 3)]
    whole = views.draw_batch(pools, (3, 2), 7, 64, views.Look(), 1)
    (again,) = views.ahead(pools, (3, 2), range(7, 8), lambda step: 64, views.Look(), 1, threads=2)
    assert (whole.images == again.images).all() and whole.keys == again.keys == ("a/a",) * 3 + ("b/a",) * 2
    second = views.draw_batch(pools, (3, 2), 7, 64, views.Look(), 1, slice(1, None, 2))
    assert (second.images == whole.images[1::2]).all()
    other = views.draw_batch(pools, (3, 2), 8, 64, views.Look(), 1)
    assert (other.images != whole.images).any()


def test_a_picture_that_broke_is_said_once_and_is_a_grey_view_of_which_nothing_is_known(scene: Scene, capsys: pytest.CaptureFixture) -> None:
    Path(str(scene.source)).write_bytes(b"hello")
    pool = views.Pool("a", (scene,))
    batch = views.draw_batch([pool], [3], 0, 64, views.Look(four=0.5), 1)
    assert (batch.images == 128).all() and not batch.face.any() and batch.ignored[:, 0].all()
    assert len(pool.broken) == 1 and capsys.readouterr().err.count("a.png: not a JPEG") == 1


# The recipe and a whole run

RECIPE = """
network = "detector"
name = "tiny"
steps = 6
batch = 4
sides = [64, 96]
last_sides = [128]
last = 0.5
validate_every = 3
validation_rows = 4
data = [{ set = "wider", weight = 3 }, { set = "negatives" }]
model = { stem = 4, early = 4, widths = [8, 8, 8], blocks = [1, 1, 1], neck = 8 }
"""


def write_sets(data: Path) -> None:
    lines = []
    (data / "wider/WIDER_train/images/0--A").mkdir(parents=True)
    for at in range(12):
        name, box = f"0--A/{at}.png", np.array([40.0 + at, 30, 120 + at, 120])
        cv2.imwrite(str(data / "wider/WIDER_train/images" / name), paint(box)[..., ::-1])
        lines += [name, "1", f"{box[0]:.0f} {box[1]:.0f} 80 90 0 0 0 0 0 0"]
    (data / "wider/wider_face_split").mkdir()
    (data / "wider/wider_face_split/wider_face_train_bbx_gt.txt").write_text("\n".join(lines))
    for grey, kind in enumerate("abcdefghij", start=100):
        (data / "negatives/caltech101" / kind).mkdir(parents=True)
        cv2.imwrite(str(data / f"negatives/caltech101/{kind}/0.png"), np.full((90, 120, 3), grey, np.uint8))


def test_the_recipe_that_ships_loads_and_names_sets_that_there_are() -> None:
    text = resources.files("polyface.recipes").joinpath("detector.toml").read_text()
    recipe = detector.from_table(tomllib.loads(text), "detector")
    assert detector.from_table(tomllib.loads(to_toml(recipe)), "written") == recipe
    for entry in recipe.data:
        assert scenes.terms_of(entry.set)
    with pytest.raises(RequestError, match=r"wrong: unknown key 'side'; did you mean 'sides'"):
        detector.from_table(tomllib.loads(text.replace("batch =", "side = 64\nbatch =")), "wrong")


@pytest.mark.parametrize("key", ["losses.points", "look.turned", "look.augment.colour", "optimiser.weight_decay"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_number_that_no_detector_can_be_trained_with_is_refused(key: str, value: float) -> None:
    table = with_settings(tomllib.loads(RECIPE), [f"{key}={value}"])
    with pytest.raises(RequestError, match=rf"wrong: expected 'float' (>= 0\.0|< inf) in {re.escape(key)}$"):
        detector.from_table(table, "wrong")


def test_the_last_steps_have_larger_views() -> None:
    recipe = detector.from_table(tomllib.loads(RECIPE), "tiny")
    assert [recipe.side(step) for step in range(6)] == [64, 96, 64, 128, 128, 128]


def test_a_run_ends_in_a_file_that_finds_faces_and_says_what_it_learned_from(tmp_path: Path) -> None:
    write_sets(tmp_path / "data")
    (tmp_path / "tiny.toml").write_text(RECIPE)
    folder = run.train(str(tmp_path / "tiny.toml"), tmp_path / "data", tmp_path / "run")
    file = folder / "model" / "detector.onnx"
    assert isinstance(load_detector(file, 1).detect(np.zeros((100, 140, 3), np.uint8)), list)
    about = detector_card.read(folder / "model" / "detector.json")
    trained = [at for at in range(12) if split_of_train(f"0--A/{at}.png") == "train"]
    assert about.data[0].scenes == about.data[0].faces == len(trained) and about.data[0].found_by is None
    assert [each.unchecked for each in about.data] == [each.scenes for each in about.data]  # nobody aligned their faces, so their bytes alone were compared
    assert about.data[1].scenes == sum(split_of(kind) == "train" for kind in "abcdefghij")
    assert about.threshold == load_detector(file, 1).threshold == 0.6  # type: ignore[attr-defined]
    validations = [json.loads(line)["validation"] for line in (folder / "log.jsonl").read_text().splitlines() if "validation" in line]
    assert len(validations) == 2 and all("loss" in each for each in validations)
    again = run.export(folder, tmp_path / "again")
    assert again.read_bytes() == file.read_bytes()
    config = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(config.replace("threshold = 0.6", "threshold = 0.45"))
    run.export(folder)  # chosen on validation, once there is a network to choose for
    assert detector_card.read(folder / "model" / "detector.json").threshold == load_detector(file, 1).threshold == 0.45  # type: ignore[attr-defined]
    with pytest.raises(RequestError, match="a run is there already"):
        run.train(str(tmp_path / "tiny.toml"), tmp_path / "data", tmp_path / "run")


def test_a_run_may_learn_from_another_detector_and_its_card_says_from_which(tmp_path: Path) -> None:
    write_sets(tmp_path / "data")
    (tmp_path / "tiny.toml").write_text(RECIPE)
    teacher = run.train(str(tmp_path / "tiny.toml"), tmp_path / "data", tmp_path / "first") / "model" / "detector.onnx"
    folder = run.train(str(tmp_path / "tiny.toml"), tmp_path / "data", tmp_path / "run", settings=[f"teacher={teacher}"])
    learned = detector_card.read(folder / "model" / "detector.json").data
    taught_by, found_by = load_detector(teacher, 1), load_detector(folder / "model" / "detector.onnx", 1)
    assert {each.taught_by for each in learned} == {(taught_by.name, taught_by.sha256)} and taught_by.name == detector_card.read(teacher.with_name("detector.json")).name
    assert taught_by.name != found_by.name and all(re.fullmatch("tiny-[0-9a-f]{8}", each.name) for each in (taught_by, found_by))
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line["validation"]["taught"]) for line in lines if "validation" in line)
    assert (folder / "model" / "detector.onnx").read_bytes() != teacher.read_bytes()


def test_a_set_whose_other_faces_nobody_looked_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sets(tmp_path)
    some = Scene.of("a", file_source(tmp_path / "a.png"), np.array([[1.0, 2, 30, 40]]), complete=False)
    monkeypatch.setattr(scenes, "list_scenes", lambda name, data, split: scenes.Scenes((some,)))
    without = detector._reserved(detector.from_table(tomllib.loads(RECIPE.replace('"wider"', '"helen"')), "tiny"), tmp_path)
    with pytest.raises(RequestError, match=r"polyface datasets scan helen$"):
        detector._pool(detector.SceneSet(set="helen"), tmp_path, without)
    found = scenes.Finds({"a": [Face((1, 2, 30, 40), POINTS * 30, 0.9)]}, ("yunet", "f" * 64))
    monkeypatch.setattr(scenes, "read_finds", lambda data, name: found)
    pool, learned = detector._pool(detector.SceneSet(set="helen"), tmp_path, without)
    assert (learned.scenes, learned.faces, learned.clicked, learned.found_by) == (1, 1, 0, ("yunet", "f" * 64))
    assert len(pool.scenes) == 1


def test_a_copy_of_a_test_photograph_leaves_training_and_validation_and_one_of_validation_training(tmp_path: Path) -> None:
    write_sets(tmp_path)
    pictures = tmp_path / "wider" / "WIDER_train" / "images"
    names = {split: [f"0--A/{at}.png" for at in range(12) if split_of_train(f"0--A/{at}.png") == split] for split in ("train", "validation")}
    (tmp_path / "wider/WIDER_val/images").mkdir(parents=True)
    (tmp_path / "wider/WIDER_val/images/t.png").write_bytes((pictures / names["train"][0]).read_bytes())
    (tmp_path / "wider/wider_face_split/wider_face_val_bbx_gt.txt").write_text("t.png\n1\n40 30 80 90 0 0 0 0 0 0\n")
    (pictures / names["train"][1]).write_bytes((pictures / names["validation"][0]).read_bytes())
    recipe = detector.from_table(tomllib.loads(RECIPE), "tiny")
    plan = detector.DetectorPlan(recipe, tmp_path)
    assert [scene.key for scene in plan.pools[0].scenes] == names["train"][2:]
    assert plan.learned[0].left_out == {"same bytes as a test picture": 1, "same bytes as a validation picture": 1}
    assert [[scene.key for scene in pool.scenes] for pool in plan.validation if pool.name == "wider"] == [names["validation"]]
    (tmp_path / "wider/WIDER_val/images/t.png").write_bytes((pictures / names["validation"][0]).read_bytes())
    assert all(pool.name != "wider" for pool in detector.DetectorPlan(recipe, tmp_path).validation)
    for name in names["train"]:
        (pictures / name).write_bytes((pictures / names["train"][1]).read_bytes())
    with pytest.raises(RequestError, match="wider: nothing is left to train on: 11 same bytes as a test picture"):
        detector.DetectorPlan(recipe, tmp_path)
