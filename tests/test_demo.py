"""The demo at toy scale, and what README.md, CONTRIBUTING.md and the Makefile promise: commands that are there, examples that run."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from polyface import cli, demo, tasks
from polyface.datasets import DATASETS, named, scenes
from polyface.errors import RequestError
from polyface.synth.write import LAYOUTS
from polyface.training import config

ROOT = Path(__file__).parents[1]
TOY = (
    demo.DrawnSet("utkface", "utkface", 24, 1),
    demo.DrawnSet("rafdb", "rafdb", 5, 2),
    demo.DrawnSet("celeba", "celeba", 5, 2),
    demo.DrawnSet("celebamask", "celebamask", 6, 1),
    demo.DrawnSet("helen", "300w", 5, 1),
    demo.DrawnSet("mtfl", "mtfl", 5, 1),
    demo.DrawnSet("lfw", "lfw", 4, 2),
)
FOUR_STEPS = 4 * demo.RECIPE_MINUTES / config.load(demo.RECIPE).steps
TINY = ("batch=12", "model={stem=4, widths=[4, 8], blocks=[1, 1], fine=4, hidden=8}")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    demo.demo(out, FOUR_STEPS, TOY, TINY)
    return out


def test_the_demo_trains_scores_and_answers(done: Path) -> None:
    scored = {score["task"] for part in json.loads((done / "scores.json").read_text())["sets"] for score in part["scores"]}
    assert {tasks.age.name, tasks.expression.name, tasks.attributes.name, tasks.landmarks.name, tasks.pose.name, tasks.identity.name} <= scored
    assert len((done / "run" / "log.jsonl").read_text().splitlines()) >= 2
    pictures = demo.PHOTOGRAPHS.people * demo.PHOTOGRAPHS.photos
    assert len(list((done / "answers").glob("*.jpg"))) == pictures


def test_every_answer_of_the_drawn_model_says_that_it_learned_from_drawings(done: Path) -> None:
    faces = [line for line in map(json.loads, (done / "answers" / "answers.jsonl").read_text().splitlines()) if "notes" in line]
    assert faces
    assert all("trained on drawings" in face["notes"] for face in faces)


def test_the_demo_makes_its_own_folder_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)  # no torch
    demo.demo(tmp_path / "out")
    assert (tmp_path / "out" / "portrait" / "answers.jsonl").read_text()
    (tmp_path / "out" / "old").write_text("of the run before")
    demo.demo(tmp_path / "out")
    assert not (tmp_path / "out" / "old").exists()


def test_the_demo_leaves_a_folder_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RequestError, match="no demo made it"):
        demo.demo(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_without_torch_the_demo_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    demo.demo(tmp_path / "out")
    assert "pip install 'polyface[train]'" in capsys.readouterr().err
    assert not (tmp_path / "out" / "data").exists()


def test_without_the_weights_the_demo_says_how_to_get_them_before_it_does_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polyface_weights", None)
    with pytest.raises(RequestError, match=r"pip install \./weights"):
        demo.demo(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_drawn_sets_answer_all_nine_questions_and_none_answers_all() -> None:
    recipe = config.load(demo.RECIPE)
    trained = [set(named(entry.set).answers) for entry in recipe.data]
    everything = {task.name for task in tasks.TASKS}
    assert set.union(*trained) == everything
    assert all(answers < everything for answers in trained)
    assert {entry.set for entry in recipe.data} <= {each.name for each in demo.DRAWN}
    assert recipe.drawings


def commands(file: str) -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / file).read_text(), re.S)
    return [tokens for block in blocks for line in block.splitlines() if (tokens := shlex.split(line, comments=True))]


POLYFACE = [tokens[1:] for file in ("README.md", "CONTRIBUTING.md") for tokens in commands(file) if tokens[0] == "polyface"]


@pytest.mark.parametrize("tokens", POLYFACE, ids=" ".join)
def test_each_command_of_the_readme_is_one_that_polyface_knows(tokens: list[str]) -> None:
    cli.app.parse_args(tokens, exit_on_error=False, print_error=False)


def test_the_check_of_commands_would_notice_one_that_is_not_there() -> None:
    assert len(POLYFACE) >= 8
    for tokens in (["evaluate", "model", "--no-such-flag"], ["no-such-command"]):
        with pytest.raises(cli.CycloptsError):
            cli.app.parse_args(tokens, exit_on_error=False, print_error=False)


def test_the_makefile_has_the_two_commands_of_the_readme_and_ci_runs_the_second() -> None:
    asked = [tokens[1] for tokens in commands("README.md") if tokens[0] == "make"]
    assert asked[:2] == ["demo", "test"]
    targets = re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.M)
    assert set(asked) <= set(targets)
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_readme_names_every_data_set() -> None:
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`([\w]+)`", " ".join(row.split("|")[1] for row in rows))) == {*(dataset.name for dataset in DATASETS), *scenes.LISTS}
    assert {each.layout for each in demo.DRAWN} <= set(LAYOUTS)
