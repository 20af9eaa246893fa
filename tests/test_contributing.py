"""What CONTRIBUTING.md shows works as it stands there."""

import re
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch

from polyface import datasets, labels, tasks
from polyface.datasets import contract
from polyface.datasets.tables import check_label
from polyface.images import geometry
from polyface.images.align import Crop
from polyface.images.read import open_root
from polyface.inference.card import entry_of_crop
from polyface.labels import same_words
from polyface.models import export
from polyface.models import polyface as networks
from polyface.models.losses import LOSSES
from polyface.training.config import load

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```(?:python|toml)\n(.*?)```", TEXT, re.DOTALL)


def block(begins: str) -> str:
    (found,) = (each for each in BLOCKS if each.startswith(begins))
    return found


def write_picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8))


def test_the_manifest_reads_a_table(tmp_path: Path) -> None:
    (tmp_path / "clinic.toml").write_text(block("# clinic.toml"))
    rows = [f"{number}.jpg,p{number},{'MF'[number % 2]},{('20-29', 'old', '41')[number % 3]}" for number in range(40)]
    for number in range(40):
        write_picture(tmp_path / "clinic" / f"{number}.jpg", number)
    (tmp_path / "clinic" / "faces.csv").write_text("\n".join(["file,patient,sex,years", *rows]) + "\n")
    clinic = datasets.named(str(tmp_path / "clinic.toml"))
    root = open_root(tmp_path / "clinic")
    assert contract.check(clinic, root) == []
    assert set(clinic.records(root, "train").records[0].labels) == {tasks.gender.name, tasks.age.name}


def test_the_reader_in_python_keeps_the_contract_and_names_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "moods.py").write_text(block("# moods.py"))
    for person in range(40):
        for number, word in enumerate(("glad", "cross", "calm")):
            write_picture(tmp_path / "moods" / f"p{person}" / f"{word}-{number}.jpg", 3 * person + number)
    moods, root = datasets.named(str(tmp_path / "moods.py")), open_root(tmp_path / "moods")
    assert contract.check(moods, root) == []
    write_picture(tmp_path / "moods" / "p0" / "glad.jpg", 999)
    problems = [str(problem) for split in moods.splits for problem in moods.list_records(open_root(tmp_path / "moods"), split).problems]
    assert problems == ["p0/glad.jpg: not named WORD-NUMBER.jpg"]


def test_what_a_set_says_of_each_question_is_a_label() -> None:
    lines = TEXT[TEXT.index("| question |") : TEXT.index("A record that does not answer")].splitlines()[2:-1]
    rows = {question.strip("| "): (re.findall("`(.+?)`", meaning), re.findall("`(.+?)`", label)) for question, meaning, label in (line.split(" | ") for line in lines)}
    assert list(rows) == ["gender, race, expression", "age", "attributes", "landmarks", "parsing", "pose", "identity"]
    space = {**vars(labels), "geometry": geometry, "np": np}
    for task, shown in (("age", "(20, 29)"), ("attributes", '{"glasses": True}'), ("pose", '{"yaw": -12.5}')):
        assert shown in rows[task][1]
        check_label(task, eval(rows[task][0][0], space), eval(shown))
    for meaning, count in zip(rows["landmarks"][0], (5, 68), strict=True):
        check_label("landmarks", eval(meaning, space), np.zeros((count, 2)))


def test_the_recipe_of_a_data_set_is_one(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(block("# mine.toml"))
    assert [(entry.set, entry.even) for entry in load(str(tmp_path / "mine.toml")).data] == [("moods.py", "expression"), ("utkface", None)]


def test_a_new_task_is_answered_and_trained_without_another_line(monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict = {}
    exec(block("# polyface/tasks/gaze.py"), space)
    gaze = space["gaze"]
    monkeypatch.setattr(tasks, "TASKS", (*tasks.TASKS, gaze))
    config = networks.ModelConfig(tasks=(gaze.name,), stem=8, widths=(8, 16), blocks=(1, 1), fine=8, hidden=8)
    output = networks.build(config, {})(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))[gaze.name]
    words = same_words(gaze.vocabulary)
    labels = {name: torch.from_numpy(array) for name, array in gaze.stack([gaze.encode(words, "left"), gaze.encode(words, "closed")]).items()}
    losses = LOSSES[type(gaze)](gaze, output, labels)
    losses.sum().backward()
    assert losses.shape == (2,) and (losses > 0).all()
    for word, mirrored in (("left", "right"), ("right", "left"), ("closed", "closed")):
        said, asked = gaze.mirror(gaze.encode(words, word), 32), gaze.encode(words, mirrored)
        assert all(np.array_equal(said[name], asked[name]) for name in asked)


def test_another_trunk_carries_every_head_and_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections.abc import Sequence
    from itertools import pairwise

    from torch import Tensor, nn

    from polyface.models.backbones import convolution

    space: dict = {"nn": nn, "Tensor": Tensor, "Sequence": Sequence, "convolution": convolution, "pairwise": pairwise}
    exec(block("class PlainTrunk"), space)
    monkeypatch.setattr(networks, "ResidualTrunk", lambda stem, widths, blocks: space["PlainTrunk"]((stem, *widths)))
    config = networks.ModelConfig(stem=8, widths=(8, 16, 16, 16), fine=8, hidden=8)
    outputs = networks.build(config, {"people": 3}).eval()(torch.zeros(2, 64, 64, 3, dtype=torch.uint8))
    assert {name: tuple(output.shape[1:]) for name, output in outputs.items()} == {task.name: task.shape(64) for task in tasks.TASKS}
    model = networks.build(msgspec.structs.replace(config, tasks=(tasks.gender.name,)), {}).eval()
    export.write_model(model, export.new_card("plain", model, entry_of_crop(Crop().scaled(64)), (), drawings=True), tmp_path)
    assert export.export(tmp_path, tmp_path / "again") == tmp_path / "again"
