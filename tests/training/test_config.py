"""Recipes: strict, complete, and written back as they were read."""

import tomllib
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyface import datasets, tasks
from polyface.errors import RequestError
from polyface.training.config import Config, from_table, load, to_toml

SHORT = 'name = "short"\nsteps = 3\ndata = [{ set = "utkface", weight = 2.0 }, { set = "pins" }]\n'
FILES = [entry for entry in resources.files("polyface.recipes").iterdir() if entry.name.endswith(".toml")]
BUNDLED = sorted(entry.name.removesuffix(".toml") for entry in FILES if "network" not in tomllib.loads(entry.read_text()))  # the detector's has tests of its own


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "short.toml").write_text(SHORT)
    return str(tmp_path / "short.toml")


@pytest.mark.parametrize("name", BUNDLED)
def test_a_recipe_of_the_package_loads_and_names_sets_and_tasks_that_there_are(name: str) -> None:
    config = load(name)
    assert {entry.set for entry in config.data} | set(config.strangers) <= {dataset.name for dataset in datasets.DATASETS}
    assert set(config.losses) | set(config.model.tasks) <= {task.name for task in tasks.TASKS}


def test_there_are_recipes() -> None:
    assert BUNDLED


@pytest.mark.parametrize("name", BUNDLED)
def test_a_config_written_out_is_the_same_config_with_every_default(name: str) -> None:
    config = load(name)
    written = tomllib.loads(to_toml(config))
    assert from_table(written, "written") == config
    assert written["optimiser"]["rate"] == config.optimiser.rate and written["model"]["widths"] == list(config.model.widths)


MINIMAL = {"name": "x", "steps": 1, "data": [{"set": "utkface"}]}
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=10)


@settings(deadline=None, max_examples=50)
@given(
    st.fixed_dictionaries(
        {
            "name": TEXT,
            "steps": st.integers(1, 10**6),
            "data": st.lists(
                st.fixed_dictionaries({"set": TEXT}, optional={"tasks": st.lists(TEXT, min_size=1, max_size=3), "weight": st.floats(1e-9, 1e9)}), min_size=1, max_size=3
            ),
        },
        optional={
            "crop": st.fixed_dictionaries({"eyes": st.tuples(st.floats(52, 76), st.floats(1, 127))}),
            "losses": st.dictionaries(st.sampled_from(["age", "my task", "ä.b"]), st.floats(0, 1e6)),
            "strangers": st.lists(TEXT, max_size=2),
        },
    )
)
def test_any_config_survives_toml(table: dict) -> None:
    config = from_table(table, "drawn")
    assert from_table(tomllib.loads(to_toml(config)), "written") == config


def test_settings_change_plain_and_nested_keys_in_tomls_notation(recipe: str) -> None:
    config = load(recipe, ["steps=7", "optimiser.rate = 0.01", "losses.age=0.5", "strangers=['lfw']", "name=plain words", "crop.eyes=[60, 50]", "drawings=true"])
    assert (config.steps, config.optimiser.rate, config.losses, config.strangers, config.name) == (7, 0.01, {"age": 0.5}, ("lfw",), "plain words")
    assert config.crop.eyes == (60.0, 50.0) and config.drawings and config.optimiser.warmup == Config(**MINIMAL).optimiser.warmup  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (SHORT.replace("steps", "stepz"), "unknown key .stepz.*did you mean 'steps'"),
        (SHORT + "[optimiser]\nrates = 1.0\n", r"unknown key .rates. in optimiser.*did you mean 'rate'"),
        (SHORT.replace("weight", "wieght"), r"unknown key .wieght. in data.*did you mean 'weight'"),
        (SHORT + "[model]\nwidth = [8, 8]\n", "unknown key .width. in model.*did you mean 'widths'"),
        (SHORT + "[model]\nwidths = [8, 8]\n", "widths and blocks name each stage"),
        (SHORT.replace("3", "0"), ">= 1 in steps"),
        (SHORT.replace("3", "'three'"), "in steps"),
        (SHORT + "[augment]\nflip = 1.5\n", "<= 1"),
        (SHORT + "[crop]\nsize = 100\n", "multiple of 32"),
        (SHORT + "[crop]\nsize = 64\n", "eyes at 64, 60 are not in the middle of a crop of 64 pixels.* in crop"),
        (SHORT + "losses.age = -1.0\n", r">= 0.0 in losses"),
        (SHORT.replace("weight", "tasks = [], weight"), r"length >= 1 in data\[.\].tasks"),
        ("seed = -1\n" + SHORT, "seed"),
        ("name = 'x'\nsteps = 1\ndata = []\n", "a recipe names at least one data set"),
        (SHORT + "batch = 1\n", "2 data sets do not fit into a batch of 1"),
        ("name = 'x'\n", "missing required field"),
        ("name = \n", "not TOML"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line_that_names_file_and_key(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(RequestError, match=line) as caught:
        load(str(tmp_path / "r.toml"))
    assert str(tmp_path / "r.toml") in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no recipe 'frist'; did you mean 'first'"):
        load("frist")
    with pytest.raises(RequestError, match=r"none\.toml: cannot be read"):
        load(str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\0")
    with pytest.raises(RequestError, match=r"binary\.toml: cannot be read"):
        load(str(tmp_path / "binary.toml"))


@pytest.mark.parametrize(
    ("setting", "line"),
    [("steps", "expected key=value"), ("steps.more=1", "steps is no table"), ("stepz=1", "did you mean 'steps'"), ("data.weight=1", "data is no table")],
)
def test_a_wrong_setting_is_refused(recipe: str, setting: str, line: str) -> None:
    with pytest.raises(RequestError, match=line):
        load(recipe, [setting])
