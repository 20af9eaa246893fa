"""The model of the best level is done when its card has its lines, and is of the row as it was done last."""

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from torch import nn

from polyface.papers import joint_model
from polyface.papers.joint_config import load
from polyface.papers.joint_runs import Row
from polyface.papers.joint_scores import Number, RowResult

ROW = Row("joint-late", "joint", "late", 1)
RESULT = RowResult(
    name="joint-late", kind="joint", level="late", seed=1, scored_on="", parameters=1, images=1, people=1, seconds=1.5, images_per_second=None, validation=0.7,
    numbers=(Number(about="pairs", metric="accuracy", value=0.6, low=0.5, high=None, n=3),),
)  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Of a network nobody looks into; `done` says what was done to the model."""
    done: list[str] = []
    monkeypatch.setattr(joint_model, "new_card", lambda *said, **more: None)
    monkeypatch.setattr(joint_model, "detector_entry", lambda *said: None)
    monkeypatch.setattr(
        joint_model, "write_model", lambda model, card, folder: (folder.mkdir(exist_ok=True), (folder / "card.json").write_text("{}"), done.append("model"))
    )
    monkeypatch.setattr(joint_model, "lines", lambda bench, folder: done.append("lines"))
    voted, worlds = SimpleNamespace(task=SimpleNamespace(vocabulary=())), SimpleNamespace(strangers=())
    return SimpleNamespace(
        recipe=load("smoke"), out=tmp_path, data=tmp_path, results={ROW.name: RESULT}, voted=voted, worlds=worlds, done=done,
        lesson=lambda row: SimpleNamespace(sources=()), network=lambda row: nn.Identity(),
    )  # fmt: skip


def test_a_model_that_was_cut_off_before_its_lines_is_finished(bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(*asked: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(joint_model, "lines", cut_off)
        with pytest.raises(KeyboardInterrupt):
            joint_model.write(bench, ROW)
    assert (bench.out / joint_model.MODEL / "card.json").exists() and bench.done == ["model"]
    joint_model.write(bench, ROW)
    assert bench.done == ["model", "model", "lines"]
    assert joint_model.write(bench, ROW) == bench.out / joint_model.MODEL and len(bench.done) == 3, "found done"


def test_a_row_that_was_done_again_makes_the_model_anew(bench: SimpleNamespace) -> None:
    joint_model.write(bench, ROW)
    bench.results[ROW.name] = msgspec.structs.replace(RESULT, seconds=2.5)
    joint_model.write(bench, ROW)
    assert bench.done == ["model", "lines"] * 2
