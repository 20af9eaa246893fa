"""Whether tasks that see each other's answers gain: arms that differ in nothing else, equal compute, and all of it on drawn people."""

import json
from pathlib import Path

import msgspec
import pytest

from polyface import cli
from polyface.errors import RequestError
from polyface.files import write_atomically
from polyface.models.polyface import build
from polyface.papers import interaction, transfer
from polyface.papers.ifan_compute import multiplications
from polyface.papers.transfer_effects import Result, read_result
from polyface.papers.transfer_runs import Bench, Run, Say
from polyface.training import config as recipes

BASE = recipes.load(transfer.SCALES["small"].recipe)
SMOKE = recipes.load(transfer.SCALES["smoke"].recipe)


def test_the_arms_of_a_seed_differ_in_their_networks_only() -> None:
    runs = interaction.runs_of(SMOKE, (1, 2))
    assert [run.name for run in runs] == [f"{arm}-seed{seed}" for seed in (1, 2) for arm in interaction.ARMS]
    for run in runs:
        assert msgspec.structs.replace(run.config, model=SMOKE.model, seed=1) == msgspec.structs.replace(transfer.joint_run(SMOKE).config, model=SMOKE.model)
    kinds = {run.name: (run.config.model.interaction, run.config.seed) for run in runs}
    assert kinds["feedback-seed2"] == ("feedback", 2) and kinds["fusion-seed1"] == ("fusion", 1) and kinds["wider-fusion-seed1"] == kinds["none-seed1"] == ("none", 1)
    assert [interaction.arm_of(run.name) for run in runs] == 2 * list(interaction.ARMS)


def test_each_interaction_is_compared_with_a_wider_network_that_multiplies_as_often() -> None:
    counted = {arm: multiplications(build(network, {}), BASE.crop.size) for arm, network in interaction.networks_of(BASE).items()}
    for arm in ("fusion", "feedback"):
        assert counted[f"wider-{arm}"] == pytest.approx(counted[arm], rel=0.03) and (arm, f"wider-{arm}") in interaction.ASKED
    assert counted["none"] < counted["fusion"] < counted["feedback"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interaction") / "out"
    assert cli.run(["reproduce", "interaction", "--only", "feedback-seed1", "--out", str(folder)]) == 0
    return folder


@pytest.mark.timeout(900)
def test_a_run_that_is_done_is_on_the_page_and_in_the_findings_and_stays_done(out: Path, capsys: pytest.CaptureFixture) -> None:
    found = json.loads((out / interaction.FINDINGS).read_text())
    assert len(found["missing"]) == 9 and "feedback-seed1" not in found["missing"]
    assert all(row["feedback"] is not None and row["none"] is None for row in found["scores"])
    assert {row["verdict"] for row in found["verdicts"]} == {"missing"} and [row["arm"] for row in found["costs"]] == list(interaction.ARMS)
    assert all(row["ms a face (ONNX, one thread)"] > 0 for row in found["costs"])
    stamp = (out / "feedback-seed1" / "result.json").stat().st_mtime_ns
    assert cli.run(["reproduce", "interaction", "--only", "feedback-seed1", "--out", str(out)]) == 0
    assert (out / "feedback-seed1" / "result.json").stat().st_mtime_ns == stamp and "9 runs are not done" in (out / interaction.PAGE).read_text()
    capsys.readouterr()


def test_runs_that_another_process_does_meanwhile_are_on_the_page(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = read_result(out / "feedback-seed1" / "result.json")
    assert isinstance(result, Result)

    def do(bench: Bench, run: Run, say: Say | None = None) -> Result:
        for name in (run.name, "none-seed1"):
            write_atomically(bench.out / name / "result.json", msgspec.json.encode(msgspec.structs.replace(result, run=name)))
        return result

    monkeypatch.setattr(Bench, "do", do)
    interaction.reproduce("smoke", None, tmp_path, "feedback-seed1")
    missing = json.loads((tmp_path / interaction.FINDINGS).read_text())["missing"]
    assert len(missing) == 8 and not {"feedback-seed1", "none-seed1"} & set(missing)


def test_seeds_that_are_done_of_both_arms_are_compared_before_the_others_are(out: Path) -> None:
    result = read_result(out / "feedback-seed1" / "result.json")
    assert isinstance(result, Result)
    done = {name: msgspec.structs.replace(result, run=name) for name in ("feedback-seed1", "none-seed1", "none-seed2")}
    asked = {(each.question, each.words): each for each in interaction.contrasts_of((1, 2), done)}
    assert asked["age", "feedback against none"].given == ("feedback-seed1",) and asked["age", "feedback against none"].without == ("none-seed1",)
    assert asked["age", "fusion against none"].given == ("fusion-seed1", "fusion-seed2")


@pytest.mark.parametrize(("arguments", "said"), [(["--only", "fedback"], "did you mean 'feedback'?"), (["--scale", "small", "--data", "nowhere"], "nowhere")])
def test_a_wrong_request_leaves_nothing_behind(arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["reproduce", "interaction", *arguments, "--out", str(tmp_path / "out")]) == RequestError.exit_status
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
