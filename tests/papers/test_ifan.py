"""Paper B from end to end on drawn people: every row, resumed, compared, and the best of them a model like any other; and the ablation as a table."""

import csv
import json
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from polyface import cli
from polyface.errors import RequestError
from polyface.images.read import SUFFIXES
from polyface.inference import analyze, engine
from polyface.models.weights import read_tensors
from polyface.papers import ifan, ifan_rows
from polyface.papers.ifan_config import load
from polyface.papers.ifan_rows import FEEDBACK, JOINT, chosen, is_candidate, planned_minutes, rows_of
from polyface.papers.ifan_runs import PICTURES, RowResult, read_rows
from polyface.papers.stage import WEIGHTS
from polyface.training.config import SCALES

pytestmark = pytest.mark.timeout(900)  # all of `smoke`, on a machine that has other things to do


# The ablation as a table


@pytest.mark.parametrize("scale", SCALES)
def test_every_recipe_has_rows_with_names_of_their_own_that_are_compared_with_rows_of_their_seed(scale: str) -> None:
    recipe = load(scale, ["rows=[]"])
    rows = {row.name: row for row in rows_of(recipe)}
    assert len(rows) == len(rows_of(recipe)) and {row.seed for row in rows.values()} == set(recipe.seeds)
    others = msgspec.structs.replace(recipe, seeds=tuple(10 + seed for seed in recipe.seeds))
    assert [row.seed for row in rows_of(others)] == [10 + row.seed for row in rows.values()], "whatever seeds are called"
    for row in rows.values():
        assert all(rows[other].seed == row.seed for other in row.against), row.name
        assert row.start in ("shared", "own", ifan_rows.BEST) or row.start in list(rows)[: list(rows).index(row.name)], "what a row starts from comes before it"
        assert bool(row.against) == bool(row.question), row.name
        if row.tasks is not None:
            assert set(row.tasks) <= set(recipe.tasks)


@pytest.mark.parametrize("setting", ["network.radius=0.0", "network.radius=inf", "network.dropout=-0.1", "network.dropout=nan", "augment.degrees=-1.0"])
def test_a_recipe_that_cannot_be_run_is_refused_by_its_key(setting: str) -> None:
    with pytest.raises(RequestError, match=rf"recipe ifan/smoke: expected 'float' .* in {re.escape(setting.partition('=')[0])}$"):
        load("smoke", [setting])


def test_the_ablation_has_what_the_issue_asks_for() -> None:
    recipe = load("small")
    rows = {row.name: row for row in rows_of(recipe)}
    asked = [
        "alone-regions", "alone-points", "alone-emotion", "joint-shared", JOINT, "feedback-2", FEEDBACK, "feedback-4", "feedback-3-through", "another", "constant",
        "same-cost", "per-dataset", "two-labels", "hundred", "all-of-hybrid", "drawn-both", "drawn-hybrid", "drawn-truth", "plug-none", "plug-frozen", "plug-joint",
        "own-regions", "own-points", "own-emotion", "another-at-test", "drawn-joint", "drawn-feedback-3", ifan_rows.BEST,
        "feedback-at-16", "feedback-at-16-8", "without-regions", "without-points", "without-emotion",  # these two lines by papers.md, B4
        "two-regions-points", "two-regions-emotion", "two-points-emotion",
    ]  # fmt: skip
    assert set(asked) == {name for name, row in rows.items() if row.seed == 1}
    for name in ("alone-regions", "joint-shared", JOINT, FEEDBACK):  # single against joint, shared against own statistics, one pass against three
        assert {f"{name}-seed2", f"{name}-seed3"} <= set(rows)
    assert {name for name, row in rows.items() if row.seed != 1} == {
        f"{name}-seed{seed}"
        for seed in (2, 3)
        for name in ("alone-regions", "alone-points", "alone-emotion", "joint-shared", JOINT, FEEDBACK, "drawn-joint", "drawn-feedback-3")
    }
    small = recipe.network
    assert (small.size, small.stem, small.growth, small.feedback, small.radius) == (64, 24, 6, (16, 8, 4), 2.5)
    there = {"celebamask": 790, "fasseg": 163, "facesynthetics": 100, "helen": 782}  # pictures of sets that are taken whole
    assert 5000 < sum(pool.most or there[pool.set] for pool in recipe.data) < 7000
    several, one_each = (sum(pool.most or there[pool.set] for pool in pools) for pools in (recipe.two_labels, recipe.hundred))
    assert several == one_each, "equal picture counts: as many to learn from"
    for first, second in (("two-labels", "hundred"), ("drawn-both", "drawn-hybrid")):
        assert (rows[first].share, rows[first].start) == (rows[second].share, rows[second].start), "and as many shown"


def test_the_plan_keeps_to_two_hours_and_a_quarter_for_what_is_fed_back() -> None:
    recipe = load("small")
    rows = rows_of(recipe)
    assert recipe.plan is not None
    assert planned_minutes(recipe, recipe.plan, [row for row in rows if row.part != "fed"]) <= 120 and planned_minutes(recipe, recipe.plan, rows) <= 136


def test_a_row_that_is_asked_for_brings_what_it_starts_from() -> None:
    rows = rows_of(load("smoke"))
    assert [row.name for row in chosen(rows, "plug-frozen")] == [FEEDBACK, "plug-frozen"]
    assert {row.part for row in chosen(rows, "plug")} == {"ablation", "plug"}
    assert [row.name for row in rows_of(load("smoke", ['rows=["joint", "alone-points"]']))] == ["alone-points", "joint"]
    with pytest.raises(RequestError, match=r"no row 'jiont'.*did you mean 'joint'"):
        rows_of(load("smoke", ['rows=["jiont"]']))


# All of it


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ifan") / "out"
    assert cli.run(["reproduce", "ifan", "--scale", "smoke", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def rows(out: Path) -> dict[str, RowResult]:
    return read_rows(out)


def test_every_row_is_done_and_on_the_page(out: Path, rows: dict[str, RowResult]) -> None:
    assert set(rows) == {row.name for row in rows_of(load("smoke"))}
    for row in rows.values():
        assert row.compute.multiplications > 0 and row.compute.seconds_per_face > 0 and row.scores
        assert all(len(measure.values) == row.passes and np.isfinite(measure.values).all() for measure in row.scores.values()), row.name
    page = (out / "ifan.html").read_text()
    assert "91.15" in page and "5.81" in page and "45.73" in page and "feedback, 3 passes" in page
    assert (out / "rows" / FEEDBACK / PICTURES).is_file() and not (out / "rows" / FEEDBACK / "checkpoints").exists()
    assert rows[FEEDBACK].curves["validation/points"].steps and rows[JOINT].settings["normalisation"] == "for each task"


def test_rows_of_a_seed_see_equally_many_pictures(rows: dict[str, RowResult]) -> None:
    joint = [row for row in rows.values() if row.start == "shared" and not row.name.startswith(("own-", "two-", "drawn-"))]
    assert len(joint) > 15 and len({sum(row.samples.values()) for row in joint}) == 1
    drawn = [sum(rows[name].samples.values()) for name in ("drawn-both", "drawn-hybrid")]
    assert drawn[0] == drawn[1], "pictures, however many labels each has"
    assert rows["own-points"].batch * 3 == rows["alone-points"].batch, "one task's share of the rows"
    assert rows["two-points-emotion"].batch * 3 == rows[FEEDBACK].batch * 2, "two tasks' share of them"
    assert set(rows["alone-points"].samples) > {"mtfl", "helen"} and rows[JOINT].samples == rows[FEEDBACK].samples == rows["another"].samples


def test_rows_are_scored_on_the_same_faces(rows: dict[str, RowResult]) -> None:
    for row in rows.values():
        for other in row.against:
            for name in set(row.scores) & set(rows[other].scores):
                assert row.scores[name].sha256 == rows[other].scores[name].sha256, (row.name, other)


def test_the_first_pass_knows_nothing_of_what_is_fed_back(rows: dict[str, RowResult]) -> None:
    own, other = (rows[name].scores["mtfl/NME, true boxes"].values for name in (FEEDBACK, "another-at-test"))
    assert own[0] == other[0] and own[1:] != other[1:]


def test_convolutions_frozen_the_old_tasks_lose_nothing_at_all(rows: dict[str, RowResult]) -> None:
    before, after = rows[FEEDBACK].scores, rows["plug-frozen"].scores
    assert {name: after[name].values for name in before} == {name: each.values for name, each in before.items()}
    assert set(after) - set(before) == {"celeba/accuracy of attributes"} and rows["plug-frozen"].tasks[-1] == "attributes"
    assert rows["plug-joint"].scores["celebamask/overall F of a face"].values != before["celebamask/overall F of a face"].values


def test_what_is_done_stays_done_and_one_row_is_done_again_alone(out: Path) -> None:
    again, kept = out / "rows" / "another", out / "rows" / FEEDBACK / "result.json"
    before, stamp = json.loads((again / "result.json").read_text()), kept.stat().st_mtime_ns
    for file in ("result.json", WEIGHTS, "log.jsonl"):
        (again / file).unlink()
    assert ifan.reproduce("smoke", out, only="another") and (out / "ifan.html").is_file()
    assert json.loads((again / "result.json").read_text())["scores"] == before["scores"], "the same seed, the same answers"
    assert kept.stat().st_mtime_ns == stamp


def test_a_row_that_was_trained_but_not_scored_is_not_trained_again(out: Path) -> None:
    folder = out / "rows" / "constant"
    stamp = (folder / WEIGHTS).stat().st_mtime_ns
    (folder / "result.json").unlink()
    ifan.reproduce("smoke", out, only="constant")
    assert (folder / "result.json").is_file() and (folder / WEIGHTS).stat().st_mtime_ns == stamp


def test_tasks_are_pre_trained_in_the_order_of_the_recipe(out: Path) -> None:
    recipe = load("smoke")
    ended = {task: (out / "start" / task / WEIGHTS).stat().st_mtime_ns for task in recipe.pretrain}
    assert sorted(ended, key=ended.__getitem__) == list(recipe.pretrain) != list(recipe.tasks)


def test_a_row_that_another_recipe_made_is_refused(out: Path) -> None:
    with pytest.raises(RequestError, match=r"joint/made_with\.json: made by another recipe"):
        ifan.reproduce("smoke", out, only="joint", settings=["joint.steps=3"])


def test_a_start_that_another_recipe_made_is_refused_and_one_of_another_joint_stage_is_not(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "start", tmp_path / "start")
    (tmp_path / "data").symlink_to(out / "data")
    with pytest.raises(RequestError, match=r"start/made_with\.json: made by another recipe"):
        ifan.reproduce("smoke", tmp_path, only="joint", settings=["pretrain.points.steps=3"])
    assert not (tmp_path / "rows").exists()
    stamp = (tmp_path / "start" / "points" / WEIGHTS).stat().st_mtime_ns
    ifan.reproduce("smoke", tmp_path, only="alone-points", settings=["joint.steps=1"])
    assert (tmp_path / "start" / "points" / WEIGHTS).stat().st_mtime_ns == stamp


def test_rows_of_another_recipe_are_kept_off_the_page_and_named(out: Path, tmp_path: Path) -> None:
    for name in (JOINT, FEEDBACK, "best"):
        (tmp_path / "rows" / name).mkdir(parents=True)
        for file in ("result.json", "made_with.json"):
            shutil.copy(out / "rows" / name / file, tmp_path / "rows" / name)
    made = tmp_path / "rows" / JOINT / "made_with.json"
    made.write_text(made.read_text().replace('"steps": 2', '"steps": 1'))
    ifan.reproduce("smoke", tmp_path, only="page")
    page = (tmp_path / "ifan.html").read_text()
    assert f"not by this recipe, and left out of this page: {JOINT}." in page
    assert {row["row"] for row in csv.DictReader((tmp_path / "scores.csv").open())} == {FEEDBACK, "best"}


def test_every_seed_starts_from_the_same_weights(out: Path, rows: dict[str, RowResult]) -> None:
    assert sorted(path.name for path in (out / "start").iterdir()) == ["emotion", "made_with.json", "points", "regions"] and not list(out.glob("start-*"))
    first, second = (read_tensors(out / "rows" / name / WEIGHTS)["trunk.stem.weight"] for name in (JOINT, f"{JOINT}-seed2"))
    assert not first.equal(second), "another order and other draws of the joint stage"


def test_the_page_is_made_anew_without_data(out: Path, tmp_path: Path) -> None:
    (out / "ifan.html").unlink()
    assert ifan.reproduce("smoke", out, only="page")
    with pytest.raises(RequestError, match="no row is done yet"):
        ifan.reproduce("smoke", tmp_path / "nowhere", only="page")


def test_the_best_row_is_a_model_like_any_other(out: Path, rows: dict[str, RowResult], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    loaded = engine.load(out / "model")
    assert [task.name for task in loaded.tasks] == ["regions", "points", "emotion"] and loaded.card.trained_on_drawings
    assert loaded.card.name == f"ifan-smoke-{rows['best'].start}" and {score.dataset for score in loaded.card.scores} == {"celebamask", "mtfl", "helen", "rafdb"}
    picture = next(path for path in sorted((out / "data" / "mtfl").rglob("*")) if path.suffix in SUFFIXES)
    face = analyze.load(out / "model").analyze(picture)
    for answers in face:
        assert len(answers.points) == 5 and len(answers.emotion["probabilities"]) == 7 and answers.regions.in_picture().max() < 9
    assert cli.run(["analyze", str(picture), "--model", str(out / "model"), "--out", str(tmp_path / "answers"), "--pictures"]) == 0
    assert (tmp_path / "answers" / "answers.jsonl").is_file()
    capsys.readouterr()


def test_the_best_row_is_scored_as_any_other_model_by_sets_retold_in_its_tasks(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["evaluate", str(out / "model"), "--data", str(out / "data"), "--json", str(tmp_path / "scores.json")]) == 0
    found = json.loads((tmp_path / "scores.json").read_text())
    scored = {(part["name"], score["task"]) for part in found["sets"] for score in part["scores"]}
    assert scored >= {("celebamask", "regions"), ("mtfl", "points"), ("helen", "points"), ("rafdb", "emotion")} and "celeba" not in {name for name, _ in scored}
    capsys.readouterr()


def test_a_row_is_a_run_of_which_a_model_is_made(out: Path, rows: dict[str, RowResult], tmp_path: Path) -> None:
    assert cli.run(["export", str(out / "rows" / JOINT), "--out", str(tmp_path / "joint")]) == 0
    card = engine.load(tmp_path / "joint").card
    assert card.name == f"ifan-smoke-{JOINT}" and card.made_of["points"].of == "landmarks" and {entry.name for entry in card.data} == set(rows[JOINT].samples)
    assert {(score.dataset, score.task) for score in card.scores} == {(measure.dataset, measure.task) for measure in rows[JOINT].scores.values() if measure.people}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "feedback3"], "did you mean 'feedback-3'?"),
        (["--scale", "small", "--data", "nowhere"], "nowhere"),
        (["--set", "joint.stepz=3"], "unknown key 'stepz'"),
        (["--set", "network.feedback=[5]"], "no map has the side 5"),
        (["--set", "losses.speech=1.0"], "no task 'speech'"),
        (["--set", "pretrain={points={steps=1,batch=4}}"], "pretrain has a stage for each of regions, points, emotion, and for nothing else: found points"),
    ],
)
def test_a_wrong_request_leaves_nothing_behind(arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["reproduce", "ifan", *arguments, "--out", str(tmp_path / "out")]) == RequestError.exit_status
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_set_that_labels_none_of_the_tasks_is_refused_before_anything_is_trained(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other = tmp_path / "out"
    (other / "data").mkdir(parents=True)
    for name in ("celebamask", "mtfl", "helen", "rafdb", "celeba"):
        (other / "data" / name).symlink_to(out / "data" / name)
    assert cli.run(["reproduce", "ifan", "--set", 'data=[{set = "utkface"}]', "--out", str(other)]) == RequestError.exit_status
    assert "utkface labels none of the recipe's tasks" in capsys.readouterr().err
    assert not (other / "rows").exists() and not list(other.glob("start-*"))


def test_a_network_that_must_be_told_the_set_of_a_photograph_is_never_the_best() -> None:
    rows = {row.name: row for row in rows_of(load("smoke"))}
    assert is_candidate(rows["joint"], 1) and not is_candidate(rows["per-dataset"], 1)
