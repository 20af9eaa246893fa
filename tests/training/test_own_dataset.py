"""A user's own data set, one file: checked by the contract suite, then trained on by a recipe that names its path."""

import json
from pathlib import Path

import numpy as np
import pytest

from polyface import datasets, tasks
from polyface.datasets import contract
from polyface.errors import RequestError
from polyface.inference import card as cards
from polyface.inference import engine
from polyface.models.real_crops import learned_from, real_crops
from polyface.synth.write import write
from polyface.training import loop, run

MINE = """
import numpy as np
from polyface.datasets.base import Alignment, Dataset, Listing, Record
from polyface.images.read import Source
from polyface.labels import Ranges, words
from polyface.tasks import age, gender

MIDDLE = Alignment(np.array([[60.3, 56.8], [137.3, 56.8], [98.5, 103.4], [65.5, 135.5], [131.0, 135.5]]), "stated")


def list_records(root, split):
    records = []
    for number, name in enumerate(sorted(name for name in root.names() if name.endswith(".jpg"))):
        if (number % 4 == 0) == (split == "validation"):
            years, sex = name.split("_")[:2]
            records.append(Record(name, Source(root, name), {age.name: int(years), gender.name: "mw"[int(sex)]}, alignment=MIDDLE))
    return Listing(tuple(records))


answers = {age.name: Ranges(sigma=1.0), gender.name: words(gender.vocabulary, {"m": "male", "w": "female"})}
dataset = Dataset("mine", "Mine", "my own", "", answers, ("train", "validation"), list_records)
"""
RECIPE = """
name = "own"
steps = 3
batch = 4
validate_every = 2
data = [{ set = "%s" }]
crop = { size = 32, eye_distance = 7.5, eyes = [16, 15] }
model = { tasks = ["age", "gender"], stem = 8, widths = [8, 16], blocks = [1, 1], hidden = 16 }
"""


@pytest.mark.timeout(300)
def test_a_task_that_no_data_set_answers_is_said_and_noted_in_the_card(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write("utkface", tmp_path / "data" / "mine", 4, 2, 1)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "own.toml").write_text(RECIPE.replace('"gender"', '"race"') % (tmp_path / "mine.py"))
    folder = run.train(str(tmp_path / "own.toml"), tmp_path / "data", tmp_path / "run")
    notes = engine.load(folder / "model", threads=1).card.task_notes
    assert list(notes) == ["race"] and "no data set" in notes["race"] and "no data set answers race, " in capsys.readouterr().err


def trained(tmp_path: Path) -> Path:
    """A run on one's own set."""
    write("utkface", tmp_path / "data" / "mine", 12, 2, 1)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "own.toml").write_text(RECIPE % (tmp_path / "mine.py"))
    return run.train(str(tmp_path / "own.toml"), tmp_path / "data", tmp_path / "run")


@pytest.mark.timeout(300)
def test_a_run_goes_on_with_the_pictures_labels_and_meanings_it_began_with(tmp_path: Path) -> None:
    """What the card says of its data would be wrong else."""
    folder = trained(tmp_path)
    said = (folder / "data.json").read_text()
    picture = next(path for at, path in enumerate(sorted((tmp_path / "data" / "mine").glob("*.jpg"))) if at % 4)
    for change in ("meaning", "label", "picture"):
        match change:
            case "meaning":
                (tmp_path / "mine.py").write_text(MINE.replace('{"m": "male", "w": "female"}', '{"w": "male", "m": "female"}'))
            case "label":
                (tmp_path / "mine.py").write_text(MINE.replace("int(years)", "int(years) + 1"))
            case "picture":
                (tmp_path / "mine.py").write_text(MINE)
                picture.unlink()
        with pytest.raises(RequestError, match=r"other people, pictures or labels than are at hand \(pictures of mine\)"):
            run.train(str(tmp_path / "own.toml"), tmp_path / "data", None, settings=["steps=4"], resume=folder)
        assert (folder / "data.json").read_text() == said, change


@pytest.mark.timeout(300)
def test_a_network_of_ones_own_sets_is_fitted_to_them_in_eight_bits(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    card = cards.read_card(folder / "model" / "card.json")
    assert learned_from(folder, card) == learned_from(folder / "model", card) == [str(tmp_path / "mine.py")]
    assert real_crops(learned_from(folder, card), cards.crop_of_card(card), tmp_path / "data", "train", 4).sets == (str(tmp_path / "mine.py"),)
    assert learned_from(tmp_path, card) == ["mine"]
    assert learned_from(folder / "elsewhere", card) == ["mine"]  # that config.toml may be of anything


@pytest.mark.timeout(300)
def test_answers_that_no_set_has_a_word_for_are_said_and_noted_in_the_card(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write("utkface", tmp_path / "data" / "mine", 4, 2, 1)
    (tmp_path / "mine.py").write_text(MINE.replace(', "w": "female"', "").replace('"mw"[int(sex)]', '"m"'))
    (tmp_path / "own.toml").write_text(RECIPE % (tmp_path / "mine.py") + 'notes.gender = "of drawings"\n')
    folder = run.train(str(tmp_path / "own.toml"), tmp_path / "data", tmp_path / "run")
    notes = engine.load(folder / "model", threads=1).card.task_notes
    assert notes == {"gender": "of drawings; no data set that it learned from has a word for female"}
    assert "gender: no data set has a word for female, so" in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_a_data_set_of_ones_own_passes_the_contract_and_trains(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write("utkface", tmp_path / "data" / "mine", 4, 2, 1)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "own.toml").write_text(RECIPE % (tmp_path / "mine.py"))
    mine = datasets.named(str(tmp_path / "mine.py"))
    assert contract.check(mine, datasets.find_root(tmp_path / "data", mine.name)) == []
    name = sorted(path.name for path in (tmp_path / "data" / "mine").glob("*.jpg"))[1]
    (tmp_path / "data" / "mine" / name).write_bytes(b"<html>")
    folder = run.train(str(tmp_path / "own.toml"), tmp_path / "data", tmp_path / "run")
    found = engine.load(folder / "model", threads=1)
    assert [task.name for task in found.tasks] == [tasks.age.name, tasks.gender.name] and [entry.name for entry in found.card.data] == ["mine"]
    answers = found.run(np.zeros((1, 32, 32, 3), np.uint8))
    assert all(np.isfinite(answer).all() for answer in answers.values())
    summary = json.loads((folder / "data.json").read_text())
    assert summary[0]["images"] == 6 and summary[0]["aligned"] == {"stated": 6}
    assert [line.split(": ")[0].endswith(name) for line in summary[0]["broken"]] == [True]
    said = capsys.readouterr().err
    assert said.count(name) == 1 and "mine: 6 of 6 pictures are compared with those of tests by their bytes only" in said
    assert {path.name for path in folder.iterdir()} >= {"config.toml", "log.jsonl", "checkpoints", "model"} and loop.LOG_EVERY > 0
    assert found.card.compared == "crops of noise and of waves, and 2 of validation pictures of mine"
    validations = [json.loads(line)["validation"] for line in (folder / "log.jsonl").read_text().splitlines() if "validation" in line]
    assert len(validations) == 2 and all({"age", "gender", "loss"} == set(each) for each in validations)
