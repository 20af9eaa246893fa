"""What `polyface train` refuses before anything is trained."""

from pathlib import Path

import pytest

from polyface.errors import RequestError
from polyface.inference import card as cards
from polyface.models.export import WEIGHTS
from polyface.models.weights import read_tensors
from polyface.synth.write import write
from polyface.training import run

RECIPE = """
name = "{name}"
steps = 1
data = [{{ set = "utkface" }}]
"""


def test_a_run_goes_on_with_the_recipe_that_began_it_and_in_its_own_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for file, name in ((folder / "config.toml", "mine"), (tmp_path / "mine.toml", "mine"), (tmp_path / "other.toml", "other")):
        file.write_text(RECIPE.format(name=name))

    def refused(recipe: str, out: Path | None = None) -> str:
        with pytest.raises(RequestError) as caught:
            run.train(recipe, tmp_path, out, resume=folder)
        return str(caught.value)

    assert "no recipe 'nosuchrecipe'" in refused("nosuchrecipe")
    assert f"{folder}: a run of 'mine', and {tmp_path / 'other.toml'} is 'other'" in refused(str(tmp_path / "other.toml"))
    assert f"a run goes on in its own folder, {folder}" in refused(str(tmp_path / "mine.toml"), tmp_path / "elsewhere")
    for recipe, out in ((tmp_path / "mine.toml", None), (folder / "config.toml", folder)):
        assert "no utkface, utkface.zip or utkface.tar in it" in refused(str(recipe), out)  # the run is right, and its data are not here


SMALL = (
    RECIPE
    + """
crop = {{ size = 32, eye_distance = 7.5, eyes = [16, 15] }}
model = {{ stem = 8, widths = [8, 16], blocks = [1, 1], hidden = 16 }}
batch = 2
"""
)


@pytest.mark.timeout(300)
def test_settings_that_do_not_fit_the_checkpoint_leave_the_run_as_it_was(tmp_path: Path) -> None:
    write("utkface", tmp_path / "utkface", people=6, photos=2, seed=0)
    (tmp_path / "mine.toml").write_text(SMALL.format(name="mine"))
    folder = run.train(str(tmp_path / "mine.toml"), tmp_path, tmp_path / "run")
    before = (folder / "config.toml").read_text()
    with pytest.raises(RequestError, match="this network's is"):
        run.train(str(tmp_path / "mine.toml"), tmp_path, settings=["model.stem=16"], out=None, resume=folder)
    assert (folder / "config.toml").read_text() == before


@pytest.mark.timeout(300)
def test_a_run_that_is_done_and_is_resumed_keeps_what_was_measured_of_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write("utkface", tmp_path / "utkface", people=6, photos=2, seed=0)
    (tmp_path / "mine.toml").write_text(SMALL.format(name="mine"))
    folder = run.train(str(tmp_path / "mine.toml"), tmp_path, tmp_path / "run")
    card = folder / "model" / "card.json"
    measured = cards.with_scores(cards.read_card(card), [{"task": "age", "dataset": "utkface", "split": "test", "metric": "MAE", "value": 9.0, "n": 5}])
    cards.write_card(card, measured)
    run.train(str(tmp_path / "mine.toml"), tmp_path, None, resume=folder)
    assert cards.read_card(card).scores == measured.scores and "holds the best of this run already" in capsys.readouterr().err
    run.train(str(tmp_path / "mine.toml"), tmp_path, None, settings=["steps=20"], resume=folder)
    assert not cards.read_card(card).scores  # of another network


@pytest.mark.timeout(300)
def test_a_run_that_goes_on_with_another_crop_ends_in_a_network_that_saw_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write("utkface", tmp_path / "utkface", people=6, photos=2, seed=0)
    (tmp_path / "mine.toml").write_text(SMALL.format(name="mine"))
    folder = run.train(str(tmp_path / "mine.toml"), tmp_path, tmp_path / "run")
    before, said = read_tensors(folder / "model" / WEIGHTS), ["crop.eye_distance=9"]
    with pytest.raises(RequestError, match="with other settings; ask for more"):
        run.train(str(tmp_path / "mine.toml"), tmp_path, None, settings=said, resume=folder)
    assert "eye_distance = 7.5" in (folder / "config.toml").read_text()
    run.train(str(tmp_path / "mine.toml"), tmp_path, None, settings=[*said, "steps=20"], resume=folder)
    assert "goes on with other settings" in capsys.readouterr().err and cards.read_card(folder / "model" / "card.json").crop.eye_distance == 9
    assert any((before[name] != tensor).any() for name, tensor in read_tensors(folder / "model" / WEIGHTS).items())
