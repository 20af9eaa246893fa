"""What the plan of the network `polyface` asks of a step."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from polyface import tasks
from polyface.synth.write import write
from polyface.training.config import from_table
from polyface.training.examples import training_sources
from polyface.training.plan import FacePlan


def test_overlap_is_learned_beside_the_surprise_of_regions_which_alone_is_validated(tmp_path: Path) -> None:
    write("celebamask", tmp_path / "celebamask", people=4, photos=1, seed=0)
    table = {
        "name": "masks",
        "steps": 1,
        "batch": 2,
        "data": [{"set": "celebamask"}],
        "crop": {"size": 32, "eye_distance": 7.5, "eyes": [16, 15]},
        "model": {"tasks": ["parsing"], "stem": 8, "widths": [8, 16], "blocks": [1, 1], "fine": 8, "hidden": 16},
    }
    lessons = [FacePlan(from_table({**table, "overlap": overlap}, "masks"), tmp_path) for overlap in (0.0, 0.5, 1.0)]
    model = lessons[0].model()
    (batch,) = lessons[0].batches(range(1))

    def losses() -> list[float]:
        with torch.no_grad():
            return [float(lesson.loss(model, batch, torch.device("cpu"))[tasks.parsing.name].sum()) for lesson in lessons]

    none, half, whole = losses()
    assert 0 < whole - none < len(batch.images)
    assert half - none == pytest.approx((whole - none) / 2, abs=1e-4)
    model.eval()
    assert len(set(losses())) == 1


def test_a_network_answers_what_its_sets_do_unless_the_recipe_names_its_questions(tmp_path: Path) -> None:
    write("utkface", tmp_path / "utkface", people=6, photos=2, seed=0)
    table = {"name": "own", "steps": 1, "batch": 2, "data": [{"set": "utkface"}]}
    narrow = {"data": [{"set": "utkface", "tasks": ["age", "gender"]}]}
    for said, answered in (({}, ["age", "gender", "race"]), (narrow, ["age", "gender"]), ({"model": {"tasks": ["gender"]}}, ["gender"])):
        plan = FacePlan(from_table({**table, **said}, "own"), tmp_path)
        assert [task.name for task in plan.tasks] == list(plan.config.model.tasks) == answered
        assert plan.untaught == ()
    worthless = FacePlan(from_table({**table, "model": {"tasks": ["age", "pose"]}}, "own"), tmp_path)
    assert worthless.untaught == ("pose",) and any("pose" in note for note in worthless.notes)


def test_a_run_goes_on_only_with_the_pictures_of_every_entry_of_a_set_that_is_listed_twice(tmp_path: Path) -> None:
    write("utkface", tmp_path / "utkface", people=6, photos=2, seed=0)
    entries = [{"set": "utkface", "tasks": ["age"]}, {"set": "utkface", "tasks": ["gender"]}]
    config = from_table({"name": "own", "steps": 1, "batch": 2, "data": entries}, "own")
    first, second = training_sources(config, tmp_path)
    fewer = [replace(source, examples=replace(source.examples, items=source.examples.items[:-1])) for source in (first, second)]
    plans = [FacePlan(config, tmp_path, sources) for sources in ((first, second), (fewer[0], second), (first, fewer[1]))]
    assert len({tuple(plan.people.items()) for plan in plans}) == len(plans)


def test_a_plan_says_how_many_pictures_of_each_set_train_and_what_stayed_out(tmp_path: Path) -> None:
    write("utkface", tmp_path / "utkface", people=12, photos=2, seed=0)
    for number in range(8):  # of a race that there is not; some of them would be train
        (tmp_path / "utkface" / f"40_0_9_2017010100000000{number}.jpg.chip.jpg").write_bytes(bytes(number))
    (line,) = FacePlan(from_table({"name": "own", "steps": 1, "batch": 2, "data": [{"set": "utkface"}]}, "own"), tmp_path).counts()
    assert re.fullmatch(r"utkface: [1-9]\d* pictures to train on, [1-9]\d* to validate on; left out of training: [1-9] refused", line)
