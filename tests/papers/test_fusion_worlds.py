"""Worlds: drawn people fill their groups, CelebA's labels become people's, a user's manifest has any tasks, and what is missing is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from polyface import cli
from polyface.errors import RequestError
from polyface.papers import fusion_worlds as worlds
from polyface.papers.fusion_config import FusionConfig, load
from polyface.papers.fusion_pictures import check
from polyface.synth.write import write


def config(**said: object) -> FusionConfig:
    return load("smoke", ["network={size=16}", *(f"{key}={value}" for key, value in said.items())])


@pytest.mark.parametrize("number", [24, 30])
def test_drawn_people_fill_the_24_groups_evenly(number: int) -> None:
    people = worlds._drawn_people(number, 7)
    counts = [sum(group == each for _, group in people) for each in {group for _, group in people}]
    assert len(people) == number and len(counts) == 24 and max(counts) - min(counts) <= 1
    assert all((who.base_age > 59.5) + (who.base_age > 29.5) == group[0] and abs(who.base_age - 29.5) >= 4 for who, group in people)


def test_drawn_pictures_know_every_label_and_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(drawn="{people=24, pictures=2}")
    made = worlds.cached(tmp_path / "drawn", asked, ["drawn"], lambda: worlds.drawn(asked))
    check(made)
    assert made.tasks == ("identity", "age", "race", "gender") and made.beside == ("expression",) and len(made.keys) == 48 and made.drawings
    assert made.crops.shape == (48, 24, 24, 3) and made.crops.std() > 10
    again = worlds.cached(tmp_path / "drawn", asked, ["drawn"], lambda: pytest.fail("drawn again"))
    assert np.array_equal(again.crops, made.crops) and again.questions == made.questions and again.keys == made.keys
    with pytest.raises(ZeroDivisionError):
        worlds.cached(tmp_path / "drawn", asked, ["another"], lambda: 1 // 0)  # type: ignore[arg-type, return-value]


def test_celebas_labels_are_the_majority_of_a_persons_pictures_where_they_are_about_the_person(tmp_path: Path) -> None:
    write("celeba", tmp_path / "celeba", 8, 4, 3)
    made = worlds.celeba(config(celeba="{people=6, pictures=3}"), tmp_path)
    check(made)
    assert made.tasks == ("identity", "gender", "age", "smiling", "mouth") and len(made.names) <= 6
    assert max(np.bincount(made.people)) == 3 and any("gender" in note for note in made.notes)
    assert [question.of_person for question in made.questions] == [True, True, False, False]
    asked = [question.question for question in made.questions]
    assert len(set(asked)) == 4 and not any("forty" in each for each in asked), "a model's card says what each of its answers is about"


MANIFEST = """
name = "own"
title = "Own"
terms = "private"
table = "table.csv"
picture = "file"
subject = "who"
[tasks.identity]
column = "who"
[tasks.gender]
column = "sex"
words = { M = "male", F = "female" }
[tasks.age]
column = "age"
[tasks.attributes]
traits = { smile = "Smiling" }
"""


def own_set(folder: Path, change: dict[int, str] | None = None) -> Path:
    write("folders", folder / "own", 4, 3, 1)
    files = sorted(str(path.relative_to(folder / "own")) for path in (folder / "own").rglob("*.jpg"))
    rows = [f"{file},{file.split('/')[0]},{'MF'[at // 3 % 2]},{20 + 15 * (at // 3)},{at % 2}" for at, file in enumerate(files)]
    for row, line in (change or {}).items():
        rows[row] = rows[row].replace(*line.split(">")) if ">" in line else line
    (folder / "own" / "table.csv").write_text("\n".join(["file,who,sex,age,smile", *rows]) + "\n")
    (folder / "own.toml").write_text(MANIFEST)
    return folder / "own.toml"


def found_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces in the middle, without a detector."""
    from polyface.datasets.crops import Example
    from polyface.images import align

    monkeypatch.setattr(worlds, "align_record", lambda record, found, training: Example(record, align.points_of_box(np.array([40, 40, 120, 130])), "guess"))


def test_a_manifest_may_have_any_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found_everywhere(monkeypatch)
    made = worlds.manifest(own_set(tmp_path), config(), tmp_path)
    check(made)
    assert [(question.name, question.classes, question.of_person) for question in made.questions] == [
        ("gender", ("M", "F"), True), ("age", ("young", "adult", "old"), True), ("Smiling", ("not Smiling", "Smiling"), False),
    ]  # fmt: skip
    assert made.labels["age"].tolist() == [0] * 3 + [1] * 6 + [2] * 3 or set(made.labels["age"]) == {0, 1, 2}


def test_a_picture_without_a_label_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found_everywhere(monkeypatch)
    path = own_set(tmp_path, {4: ",F,>,,"})
    with pytest.raises(RequestError, match=r"Drawn_Folders_0001/001\.jpg has no label of gender"):
        worlds.manifest(path, config(), tmp_path)


def test_a_manifest_that_does_not_say_who_is_refused(tmp_path: Path) -> None:
    path = own_set(tmp_path)
    path.write_text(MANIFEST.replace('[tasks.identity]\ncolumn = "who"\n', ""))
    with pytest.raises(RequestError, match=r"give it \[tasks.identity\]"):
        worlds.manifest(path, config(), tmp_path)


TWICE = "Drawn_Folders_0001/001.jpg,Drawn_Folders_0001"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({4: ",F,>,X,"}, r"table\.csv, row \d+: gender: .*'X'"),
        ({4: f"{TWICE},F,35,0\n{TWICE},M,35,0"}, r"table\.csv, row \d+: .*001\.jpg is listed a second time"),
    ],
)
def test_a_row_that_a_manifest_refuses_is_named_with_its_file(tmp_path: Path, change: dict[int, str], what: str) -> None:
    with pytest.raises(RequestError, match=what):
        worlds.manifest(own_set(tmp_path, change), config(), tmp_path)


def test_a_person_of_two_genders_is_named_and_one_of_two_ages_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found_everywhere(monkeypatch)
    slip = worlds.manifest(own_set(tmp_path / "slip", {4: ",F,>,M,"}), config(), tmp_path / "slip")
    with pytest.raises(RequestError, match="Drawn_Folders_0001 is in two groups of gender, M and F"):
        check(slip)
    aged = worlds.manifest(own_set(tmp_path / "aged", {4: ",35,>,65,"}), config(), tmp_path / "aged")
    check(aged)
    assert {question.name: question.of_person for question in aged.questions} == {"gender": True, "age": False, "Smiling": False}
    assert "age is taken for a question about each picture, since Drawn_Folders_0001 has adult and old" in aged.notes


def test_pictures_of_a_manifest_are_made_anew_when_its_table_changes(tmp_path: Path) -> None:
    path = own_set(tmp_path)
    before = worlds.manifest_text(path, tmp_path)
    assert worlds.manifest_text(path, tmp_path) == before
    table = tmp_path / "own" / "table.csv"
    table.write_text(table.read_text().replace(",M,", ",F,", 1))
    assert worlds.manifest_text(path, tmp_path) != before


@pytest.mark.timeout(900)
def test_a_users_manifest_is_a_world_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found_everywhere(monkeypatch)
    path = own_set(tmp_path)
    path.write_text(MANIFEST.replace('[tasks.age]\ncolumn = "age"\n', ""))
    tiny = ("network={size=16, channels=[4, 4, 8]}", "networks.steps=4", "networks.curve=2", "heads.steps=3", "variants=2")
    fewer = ('splits=["image"]', 'merges=["concatenation"]', "ensemble=[]")
    settings = [part for each in (*tiny, *fewer) for part in ("--set", each)]
    command = ["reproduce", "fusion", "--scale", "smoke", "--data", str(tmp_path), "--manifest", str(path), "--out", str(tmp_path / "run"), *settings]
    assert cli.run(command) == 0
    found = json.loads((tmp_path / "run" / "findings.json").read_text())
    assert found["own"]["people"] == 4 and set(found["own"]["image end"]["networks"]) == {"identity", "gender", "Smiling"}
    table = tmp_path / "own" / "table.csv"
    table.write_text(table.read_text().replace(",M,", ",X,", 1))
    assert cli.run(command) == 2 and "table.csv, row" in capsys.readouterr().err
