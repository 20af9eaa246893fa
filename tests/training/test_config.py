"""Recipes: strict, complete, and written back as they were read."""

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyface import datasets, tasks
from polyface.errors import RequestError
from polyface.models.polyface import PolyFace, build
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
TASKS_OF_A_SET = st.lists(TEXT, min_size=1, max_size=3, unique=True)


@settings(deadline=None, max_examples=50)
@given(
    st.fixed_dictionaries(
        {
            "name": TEXT,
            "steps": st.integers(1, 10**6),
            "data": st.lists(st.fixed_dictionaries({"set": TEXT}, optional={"tasks": TASKS_OF_A_SET, "weight": st.floats(1e-9, 1e9)}), min_size=1, max_size=3),
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
        (SHORT + "[crop]\neyes = [nan, 60]\n", "eyes at nan, 60 are not in the middle of a crop"),
        (SHORT + "model.tasks = ['age', 'pose', 'age']\n", "tasks names 'age' more than once in model"),
        (SHORT.replace("weight", "tasks = ['age', 'age'], weight"), r"tasks names 'age' more than once in data\[.\]"),
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


@pytest.mark.parametrize("value", ["0", "-8"])
@pytest.mark.parametrize("key", ["stem", "fine", "hidden", "widths", "blocks"])
def test_a_network_without_channels_or_blocks_is_refused(recipe: str, key: str, value: str) -> None:
    setting = f"model.{key}=[1, 1, {value}, 1]" if key in ("widths", "blocks") else f"model.{key}={value}"
    with pytest.raises(RequestError, match=rf"expected 'int' >= 1 in model\.{key}"):
        load(recipe, [setting])


@pytest.mark.parametrize(
    "key",
    [
        "augment.degrees", "augment.scale", "augment.shift", "augment.colour", "optimiser.rate", "optimiser.kernel_rate", "optimiser.weight_decay", "identity.scale",
        "identity.margin", "identity.center", "crop.eye_distance", "losses.age", "overlap",
    ],
)  # fmt: skip
def test_a_number_that_nothing_can_be_trained_with_is_refused(recipe: str, key: str) -> None:
    said = re.escape(key.replace(".age", "[...]"))
    for value in ("-0.1", "nan", "inf", "-inf"):
        with pytest.raises(RequestError, match=rf"expected 'float' (> 0\.0|>= 0\.0|< inf) in {said}$"):
            load(recipe, [f"{key}={value}"])


def network_of(stages: int) -> list[str]:
    return [f"model.widths={[8] * stages}", f"model.blocks={[1] * stages}", "model.stem=8", "model.fine=8", "model.hidden=8"]


def can_read(model: PolyFace, size: int) -> bool:
    try:
        return bool(model(torch.zeros(1, size, size, 3, dtype=torch.uint8)))
    except RuntimeError:
        return False


@pytest.mark.parametrize("stages", [5, 6])
def test_a_crop_that_the_network_cannot_halve_is_refused_and_no_other(recipe: str, stages: int) -> None:
    model = build(load(recipe, [*network_of(stages), "crop.size=128"]).model, {}).eval()
    for size in (32, 64, 96, 128, 160):
        settings = [*network_of(stages), f"crop.size={size}", f"crop.eyes={[size / 2, size / 2]}"]
        if can_read(model, size):
            assert load(recipe, settings).crop.size == size
        else:
            with pytest.raises(RequestError, match=rf"crop\.size {size} is not a multiple of {2 ** (stages + 1)}, which a network of {stages} model\.widths needs"):
                load(recipe, settings)


def test_the_smaller_crop_is_one_that_the_network_can_halve_where_any_step_sees_it(recipe: str) -> None:
    assert load(recipe, [*network_of(5), "small.size=96"]).small.size == 96
    with pytest.raises(RequestError, match=r"small\.size 96 is not a multiple of 64"):
        load(recipe, [*network_of(5), "small.size=96", "small.share=0.1"])


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
