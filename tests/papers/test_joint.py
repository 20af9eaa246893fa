"""Paper C from end to end on drawn people: every row, found again, on a page, and the best of them a model like any other."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as parquet
import pytest

from polyface import cli, datasets, tasks
from polyface.datasets.crops import read_faces
from polyface.errors import RequestError
from polyface.inference import engine
from polyface.metrics import thresholds
from polyface.models.export import export
from polyface.papers import joint, joint_model
from polyface.papers import joint_claims as claims
from polyface.papers.joint_attributes import ALL, Attribute, PersonVotes, Voted, lesson_of
from polyface.papers.joint_config import STABLE, Distractors, People, load
from polyface.papers.joint_faces import Faces, _distractors
from polyface.papers.joint_plan import JointPlan
from polyface.papers.joint_runs import Bench, Row, rows_of
from polyface.papers.joint_scores import RowResult, read_rows
from polyface.papers.joint_worlds import Worlds, counted
from polyface.training import loop
from polyface.training.config import SCALES

pytestmark = pytest.mark.timeout(900)  # all of `smoke`, on a machine that has other things to do


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joint") / "out"
    assert cli.run(["reproduce", "joint", "--scale", "smoke", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def rows(out: Path) -> dict[str, RowResult]:
    return read_rows(out)


@pytest.mark.parametrize("scale", SCALES)
def test_every_recipe_is_complete(scale: str) -> None:
    recipe = load(scale)
    assert recipe.view.size == {"smoke": 32, "small": 64, "paper": 112}[scale] and rows_of(recipe)
    assert recipe.strangers == ("lfw",), "nobody of LFW is known by name"


@pytest.mark.parametrize("setting", ["network.stem=0", "network.widths=[12, -1, 24]", "network.hidden=0", "network.blocks=[1, -1, 1]", "augment.shift=nan"])
def test_a_recipe_that_cannot_be_run_is_refused_by_its_key(setting: str) -> None:
    with pytest.raises(RequestError, match=rf"recipe joint/smoke: expected '(int|float)' >= [01].* in {re.escape(setting.partition('=')[0])}"):
        load("smoke", [setting])


FOUR_STAGES = "network.widths=[12, 16, 24, 24]", "network.blocks=[1, 1, 1, 1]", "crop.size=112", "crop.eyes=[56, 52]"


def test_a_crop_is_refused_that_the_residual_trunk_cannot_halve_and_the_one_of_the_time_can() -> None:
    with pytest.raises(RequestError, match=r"crop\.size 112 is not a multiple of 32, which a trunk of 5 maps needs"):
        load("smoke", FOUR_STAGES)
    assert load("smoke", [*FOUR_STAGES, "network.trunk='face-resnet'"]).crop.size == 112


def test_every_row_is_done_and_on_the_page(out: Path, rows: dict[str, RowResult]) -> None:
    assert set(rows) == {row.name for row in rows_of(load("smoke"))}
    page = (out / "joint.html").read_text()
    (out / "joint.html").unlink()
    assert [each.verdict for each in joint.reproduce("smoke", out, only=joint.PAGE)] and (out / "joint.html").read_text() == page
    assert all(words in page for words in claims.CLAIMS.values()) and "rank 1 among 2,000 synthetic distractors" in page and "some of them may be trained on" in page
    assert "77.74" in page and "undecidable" in page and all(name in page for name in rows)
    assert {file.name for file in (out / "figures").glob("*.png")} >= {"rank1.png", "cmc.png", "levels-0.png", "agreement.png"}
    assert "synthetic" in (out / "figures" / "rank1.csv").read_text() and len(list(csv.DictReader((out / "scores.csv").open()))) > 100


def test_all_rows_are_scored_on_the_same_trials_and_say_what_they_could_not_tell(rows: dict[str, RowResult], out: Path) -> None:
    for name, row in rows.items():
        with np.load(out / "rows" / name / "arrays.npz") as arrays:
            assert ("attributes" in arrays) == (row.kind != "identity") and ("genuine" in arrays) == (row.kind != "attributes")
        if row.kind != "attributes":
            assert row.number("synthetic 2000", "rank1") is not None and row.number("other half 50", "rank1") is not None
            assert row.number("real 50", "tar@1e-3") is not None and row.number("other half 50", "tar@1e-3") is not None
            refused = row.number("real 10", "tar@1e-6")
            assert refused is not None and refused.value is None and "FAR 1e-06 needs" in refused.note
    trials = {(np.load(out / "rows" / name / "arrays.npz")["trials people"]).tobytes() for name, row in rows.items() if row.kind != "attributes"}
    assert len(trials) == 1


def test_rows_of_one_seed_differ_only_in_what_is_asked(rows: dict[str, RowResult]) -> None:
    assert rows["joint-late"].number("real 50", "rank1") != rows["identity"].number("real 50", "rank1") or rows["joint-late"].validation != rows["identity"].validation
    assert rows["fast"].parameters < rows["joint-embedding"].parameters and len({row.images for row in rows.values()}) == 1
    assert rows["joint-late"].parameters > rows["identity"].parameters


def test_what_is_done_is_found_and_what_was_cut_off_goes_on(out: Path, rows: dict[str, RowResult]) -> None:
    again = out / "rows" / "identity-seed2"
    shutil.rmtree(again)
    done = {name: (out / "rows" / name / "result.json").stat().st_mtime_ns for name in rows if name != "identity-seed2"}
    votes = (out / "votes" / "attributes.parquet").read_bytes()

    def cut_off(step: int, steps: int, words: str) -> None:
        if words.startswith("identity-seed2") and step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        joint.reproduce("smoke", out, only="identity-seed2", progress=cut_off)
    assert (again / "checkpoints" / "last").exists() and not (again / "result.json").exists()
    steps: list[int] = []
    joint.reproduce("smoke", out, progress=lambda step, _, words: steps.append(step) if words.startswith("identity-seed2") else None)
    assert steps == [4, 5, 6], "from the checkpoint at three of six steps on"
    assert {name: (out / "rows" / name / "result.json").stat().st_mtime_ns for name in done} == done
    made = read_rows(out)["identity-seed2"]
    assert made.numbers == rows["identity-seed2"].numbers, "the same seed, the same weights"
    assert (out / "votes" / "attributes.parquet").read_bytes() == votes


def first_off(faces: Faces) -> Faces:
    return Faces(faces.crops[1:], faces.keys[1:], faces.people[1:], faces.labels[1:])


def test_what_was_made_of_other_people_is_not_taken_for_done(out: Path, tmp_path: Path) -> None:
    """As after a set was aligned anew, or another --data."""
    copy, recipe = tmp_path / "out", load("smoke")
    shutil.copytree(out, copy)
    row = next(row for row in rows_of(recipe) if row.name == "attributes")

    def bench() -> Bench:
        return Bench(recipe, copy, out / "data", print, results=read_rows(copy))

    assert bench().do(row) == read_rows(copy)["attributes"]
    fewer = bench()
    fewer.tests = replace(fewer.tests, distractors=first_off(fewer.tests.distractors))  # type: ignore[misc]
    with pytest.raises(RequestError, match="scored on other faces"):
        fewer.do(row)
    others = bench()
    others.tests = replace(others.tests, probes=first_off(others.tests.probes))  # type: ignore[misc]
    assert others.screened.made_with != fewer.screened.made_with, "the file that is there is of other probe people"
    less = bench()
    source = less.worlds.recognition[1]
    less.sources = (less.sources[0], replace(source, examples=replace(source.examples, items=source.examples.items[4:])))  # type: ignore[misc]
    answers = (copy / "votes" / "predictions-celeba.parquet").read_bytes()
    with pytest.raises(RequestError, match="trained on other people, pictures or labels"):
        less.do(row)
    assert (copy / "votes" / "predictions-celeba.parquet").read_bytes() != answers, "asked again about those who are left"
    (copy / "attributes" / "all" / "made_with").write_text("others")
    (copy / "votes" / "predictions-pins.parquet").unlink()
    with pytest.raises(RequestError, match=r"attributes/all: trained on other people"):
        bench().do(row)


def test_another_recipe_in_the_same_folder_is_refused(out: Path) -> None:
    with pytest.raises(RequestError, match="another recipe"):
        joint.reproduce("smoke", out, settings=["weight=0.5"])
    with pytest.raises(RequestError, match="another recipe"):
        joint.reproduce("small", out, only=joint.PAGE)
    with pytest.raises(RequestError, match=r"no row of this scale.*did you mean 'joint-late'"):
        joint.reproduce("smoke", out, only="joint-lat")


def test_the_best_level_is_a_model_like_any_other(out: Path, tmp_path: Path) -> None:
    network = engine.load(out / "model")
    vocabulary = network.card.tasks[tasks.attributes.name]["vocabulary"]
    found = network.run(np.zeros((2, 32, 32, 3), np.uint8))
    assert found[tasks.identity.name].shape == (2, 32) and found[tasks.attributes.name].shape == (2, len(vocabulary)) and set(vocabulary) <= set(STABLE)
    assert network.card.trained_on_drawings and network.card.strangers == ("lfw",) and {entry.name for entry in network.card.data} == {"pins", "celeba"}
    assert any("may be trained on" in limit for limit in network.card.limits)
    assert {score.task for score in network.card.scores} == {tasks.attributes.name, tasks.identity.name}
    (tmp_path / "copy").mkdir()
    for file in ("card.json", "model.safetensors"):
        shutil.copy(out / "model" / file, tmp_path / "copy" / file)
    export(tmp_path / "copy")
    anew = engine.load(tmp_path / "copy").run(np.zeros((2, 32, 32, 3), np.uint8))
    assert np.allclose(anew[tasks.attributes.name], found[tasks.attributes.name], atol=1e-5)


def test_who_was_left_out_is_written_down(out: Path) -> None:
    notes = json.loads((out / "notes.json").read_text())
    assert any("probe people" in note for note in notes) and any("no majority" in note for note in notes) and any("held-out people" in note for note in notes)
    assert any("distractors without a name reach" in note for note in notes) and any("pairs of lfw" in note for note in notes)
    with (out / "scores.csv").open() as file:
        assert all("may be trained on" in row["note"] for row in csv.DictReader(file) if row["about"] == "pairs")
    assert (out / "refused.csv").exists() and json.loads((out / "screen" / "screen.json").read_text())["far"] == 0.05


def test_probe_people_are_no_distractors_by_name_nor_by_a_near_copy(out: Path) -> None:
    data, recipe = out / "data", msgspec.structs.replace(load("smoke"), probes=(People(set="pins"),))
    root = datasets.find_root(data, "lfw")
    named = {str(record.subject) for split in datasets.lfw.splits for record in datasets.lfw.list_records(root, split).records}
    person, shown = min(named), sorted(read_faces(data, "pins").thumbnails)[3]
    probes = Faces(np.zeros((2, 32, 32, 3), np.uint8), (shown, "elsewhere.jpg"), np.array(["celeba/17", f"cfp/{person.upper()}"]), np.zeros((2, 40), np.int8))
    ((_, faces), (_, pins)), removed = _distractors((Distractors(set="lfw", most=1000), Distractors(set="pins", most=1000)), probes, recipe, data)
    assert {record.subject for record in faces} == named - {person} and len(faces) == 69
    assert len(pins) == 143 and shown not in {record.key for record in pins}
    assert [said[:40] for said in removed] == ["lfw: 3 faces of probe people by name, 0 ", "pins: 0 faces of probe people by name, 1"]


def test_nobody_s_attributes_come_from_a_network_that_knows_the_person(out: Path) -> None:
    """In the file of answers, against the network's own list of pictures."""
    recipe, made = load("smoke"), Worlds(load("smoke"), out / "data")
    rows = parquet.read_table(out / "votes" / "predictions-celeba.parquet").to_pylist()
    teacher = made.listed["celeba"]
    taught = {name: {example.record.subject for example in lesson_of(recipe, teacher, name).sources[0].examples.items} for name in ("fold-0", "fold-1")}
    screened = {each["person"] for each in json.loads((out / "screen" / "screen.json").read_text())["removed"] if each["space"] == "celeba"}
    asked = [example for example in teacher.examples.items if example.record.subject not in screened]
    assert {row["network"] for row in rows} == set(taught) and len(rows) == len(asked) > 50
    assert not [row for row in rows if row["person"] in taught[row["network"]]], "out of fold"
    assert {row["person"] for row in rows} <= set.union(*taught.values())
    assert {row["network"] for row in parquet.read_table(out / "votes" / "predictions-pins.parquet").to_pylist()} == {"all"}


def test_the_card_has_lines_where_enough_people_vouch_for_them(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """smoke's own held-out people are too few, which is said; were one error enough, and celeba not trained on, it would have them."""
    said: list[str] = []
    recipe = load("smoke")
    copy = shutil.copytree(out / "model", tmp_path / "model")
    joint_model.lines(Bench(recipe, out, out / "data", said.append), copy)
    assert any("no line between one person and two" in words for words in said) and not engine.load(copy).card.thresholds
    monkeypatch.setattr(thresholds, "ENOUGH", 1)
    many = msgspec.structs.replace(recipe, data=recipe.data[:1], probes=(People(set="celeba", split="train"),))
    joint_model.lines(Bench(many, out, out / "data", said.append), copy)
    card = engine.load(copy).card
    assert tuple(line.far for line in card.thresholds) == joint_model.FARS


def test_the_paper_s_network_takes_a_step(out: Path, tmp_path: Path) -> None:
    smoke, recipe = load("smoke"), load("paper", ["joint.steps=1", "joint.batch=4"])
    bench = Bench(msgspec.structs.replace(recipe, probes=smoke.probes, validation=smoke.validation), tmp_path, out / "data", print)
    bench.sources = counted(bench.worlds.recognition)  # type: ignore[misc]
    votes = {}
    for source in bench.sources:
        people = tuple(sorted({str(example.record.labels[tasks.identity.name]) for example in source.examples.items}))
        votes[source.dataset.name] = PersonVotes(people, np.ones(len(people), int), np.ones((len(people), 40), int), np.ones((len(people), 40), np.int8))
    bench.voted = Voted(votes, tuple(Attribute(name, {}, 1, 1, 0, name in STABLE, "") for name in ALL.vocabulary))  # type: ignore[misc]
    plan = JointPlan(bench.lesson(Row("joint-late", "joint", "late", 1)))
    assert (plan.lesson.network.trunk, plan.lesson.crop.size) == ("face-resnet", 112)
    loop.run(plan, tmp_path / "run")
    assert (tmp_path / "run" / "log.jsonl").exists()
