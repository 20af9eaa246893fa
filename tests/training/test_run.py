"""What `polyface train` refuses before anything is trained."""

from pathlib import Path

import pytest

from polyface.errors import RequestError
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
