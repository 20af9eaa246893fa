"""`polyface reproduce fusion` from end to end on drawn people: every cell, every figure, a verdict for every claim, and a model that answers."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polyface import cli
from polyface.errors import RequestError
from polyface.inference import engine
from polyface.models.weights import read_tensors
from polyface.papers import fusion
from polyface.papers import fusion_claims as claims
from polyface.papers.fusion_config import load
from polyface.papers.fusion_controls import controls, random_controls
from polyface.papers.fusion_heads import Cell
from polyface.papers.fusion_networks import NetworkPlan
from polyface.papers.fusion_statistics import percent
from polyface.synth.draw import draw
from polyface.synth.people import person, photo_of

TASKS = ("identity", "age", "race", "gender")
TINY = ["networks.steps=10", "networks.curve=2", "person_steps=6", "heads.steps=8", "heads.curve=2", "drawn.pictures=4"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of the scale `smoke`, cut short, by the command, with a user's features beside."""
    out = tmp_path_factory.mktemp("fusion")
    keys = [f"drawn {who}/{photo}" for who in indices() for photo in range(4)]
    np.savez(out / "own.npz", keys=np.array(keys), features=np.random.default_rng(0).normal(size=(len(keys), 5)))
    settings = [part for each in TINY for part in ("--set", each)]
    assert cli.run(["reproduce", "fusion", "--scale", "smoke", "--out", str(out / "run"), "--features", f"mine={out / 'own.npz'}", *settings]) == 0
    return out / "run"


def indices() -> list[int]:
    from polyface.papers.fusion_worlds import _drawn_people

    return [who.index for who, _ in _drawn_people(24, 7)]


def findings(folder: Path) -> dict:
    return json.loads((folder / "findings.json").read_text())["drawn"]


@pytest.mark.timeout(1200)
def test_every_cell_of_both_tables_is_there_in_every_split(done: Path) -> None:
    found = findings(done)
    for split, targets in (("paper end", TASKS), ("image end", TASKS), ("person end", TASKS[1:])):
        cells = found[split]["cells"]
        for target in targets:
            others = tuple(task for task in TASKS if task != target)
            merged = [Cell(TASKS, target, merge) for merge in load("smoke").merges]
            for cell in [*(Cell((source,), target) for source in TASKS), Cell(others, target), Cell(TASKS, target), *merged]:
                assert 0 <= cells[cell.name]["value"] <= 1, cell.name
            assert len(found[split]["shapley"][target]) == (4 if split == "image end" else 0)  # where the controls are
        assert set(found[split]["networks"]) == set(targets) and set(found[split]["verdicts"]) == {"H1", "H2", "H3"}
    assert Cell(("mine",), "age").name in found["image end"]["cells"] and Cell(("mine",), "age").name not in found["paper end"]["cells"]


@pytest.mark.timeout(1200)
def test_every_control_is_there(done: Path) -> None:
    names = " | ".join(findings(done)["controls"])
    for what in ("four seeds", "all lengths 12", "all lengths 32", "one network for all tasks", "conv1 of identity", "conv3 of race", "out-of-fold: all", "joint groups",
                 "all, and expression", "fine-tuned"):  # fmt: skip
        assert what in names, what
    dealt = findings(done)["random"]
    assert {split: set(each) for split, each in dealt.items()} == {split: {"age", "race", "gender"} for split in ("paper", "image", "person")}
    drawn = csv.DictReader((done / "figures" / "gains-drawn.csv").read_text().splitlines())
    points = {(row["split"], row["what"], row["groups"]) for row in drawn}
    assert len(points) == 3 * 3 * 2, "the first figure has every split, every task that is a function of who it is, real groups and random ones"
    answered = {(each["what"], each["target"]) for each in findings(done)["control claims"]}
    for setting in ("all lengths 12", "all lengths 32", "out-of-fold", "conv1", "conv2", "conv3"):
        assert (f"identity's feature above the own, {setting}", "gender") in answered
    assert ("all features above the own network from four seeds", "race") in answered and ("fine-tuned above all features, frozen", "age") in answered


@pytest.mark.timeout(1200)
def test_every_number_of_the_page_is_in_the_findings(done: Path) -> None:
    """Every accuracy and difference with an interval, and every percentage that stands alone in a table, but the paper's own."""
    content, found = (done / "fusion.html").read_text(), findings(done)
    intervals = set(re.findall(r"[+-]?\d+\.\d+ \([+-]?\d+\.\d+ to [+-]?\d+\.\d+\)", content))
    estimates = [each for each in every(found) if isinstance(each, dict) and {"value", "low", "high"} <= set(each)]
    assert len(intervals) > 60 and intervals <= {percent(each, sign) for each in estimates for sign in (False, True)}
    numbers = [each for each in every(found) if isinstance(each, float)]
    plain = {f"{100 * each:{form}}" for each in numbers for form in (".1f", "+.1f", "+.2f")} | {f"{each:.4g}" for each in numbers}
    plain |= {f"{each['p by Holm']:.2g}" for each in every(found) if isinstance(each, dict) and each.get("p by Holm") is not None}
    papers = {str(each) for row in (*claims.TABLE_1.values(), *claims.TABLE_2.values()) for each in row} | {f"+{each}" for each in claims.PRINTED_GAINS.values()}
    alone = {number for cell in re.findall(r"<td[^>]*>([^<(]*)", content) for number in re.findall(r"(?<![\w.])[+-]?\d+\.\d+(?![\w.])", cell)}
    assert len(alone) > 20 and alone <= plain | papers


def every(found: object) -> Iterator[object]:
    yield found
    for each in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from every(each)


@pytest.mark.timeout(1200)
def test_the_page_says_what_differs_from_the_paper_and_what_a_user_brought(done: Path) -> None:
    content, found = (done / "fusion.html").read_text(), findings(done)
    for words in (
        "identity has 24 people here, 77 in the paper", "your own features (mine) are left out here", "all and mine (your own)", "all and mine above all, points",
        "identity&#39;s own accuracy never passed 60 %", "10 in split paper, 10 in split image, 6 in split person", "Who is in each class",
        "as much as for real groups", "from iteration 0 (figures 8 to 11)", "Drawn people only", "of 12 hold", "32 numbers for who it is and 12 for each",
    ):  # fmt: skip
        assert words in content, words
    assert "all and mine (your own)" in found["image end"]["table 2"] and "all and mine (your own)" not in found["paper end"]["table 2"]
    assert found["image end"]["classes"]["gender"]["male"] + found["image end"]["classes"]["gender"]["female"] == 24


@pytest.mark.timeout(1200)
def test_the_tables_of_figures_hold_what_is_drawn(done: Path) -> None:
    rows = {
        name: list(csv.DictReader((done / "figures" / f"{name}.csv").read_text().splitlines()))
        for name in ("filters-drawn-image", "maps-drawn-image", "curves-drawn-image-age")
    }
    weights = read_tensors(done / "drawn" / "image" / "race" / "weights.safetensors")
    kernel = weights["convolutions.0.weight"].numpy()
    drawn = [row for row in rows["filters-drawn-image"] if (row["network"], row["layer"], row["filter"], row["channel"]) == ("race", "conv1", "3", "green")]
    assert np.allclose([[float(row[f"x{x}"]) for x in range(5)] for row in drawn], kernel[3, 1], rtol=1e-3, atol=1e-6)
    first = [row for row in rows["maps-drawn-image"] if (row["network"], row["unit"]) == ("age", "0")]
    sides = {layer: [row for row in first if row["layer"] == layer] for layer in ("conv1", "conv2", "conv3")}
    assert {layer: len(each) for layer, each in sides.items()} == {"conv1": 12, "conv2": 6, "conv3": 3} and sides["conv1"][0]["x11"] and not sides["conv3"][0]["x3"]
    assert {int(row["iteration"]) for row in rows["curves-drawn-image-age"]} == {0, 1, 2, 4, 8}


@pytest.mark.timeout(1200)
def test_the_page_alone_trains_nothing_and_names_what_is_not_there(done: Path, tmp_path: Path) -> None:
    request = fusion.Request(load("smoke", TINY), done, None, ("page",), {}, None, print, None)
    bench = replace(fusion._bench(request, "drawn", fusion._pictures(request, "drawn")), out=tmp_path)
    dealt, missing = random_controls(bench, "image")
    assert not dealt and len(missing) == 3 and all("random groups of" in each for each in missing)
    made, missing = controls(bench, "image")
    assert not made and len(missing) == 8 and not list(tmp_path.iterdir())


@pytest.mark.timeout(1200)
def test_the_page_opens_alone_and_the_figures_are_pictures_and_tables(done: Path) -> None:
    content = (done / "fusion.html").read_text()
    assert "http://" not in content and "https://" not in content and content.count("data:image") > 10
    for words in ("Verdicts", "21.8", "11.8", "89.2", "Shapley", "late fusion", "random groups"):
        assert words in content, words
    for name in ("gains-drawn", "curves-drawn-image-age", "overlap-drawn-paper", "filters-drawn-image", "maps-drawn-person"):
        assert (done / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert len((done / "figures" / f"{name}.csv").read_text().splitlines()) > 1


@pytest.mark.timeout(1200)
def test_what_is_done_is_not_done_again_and_numbers_stay(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = findings(done)
    monkeypatch.setattr(NetworkPlan, "batches", lambda *_: pytest.fail("trained again"))
    page = fusion.reproduce("smoke", done, None, "page", [f"mine={done.parent / 'own.npz'}"], None, TINY)
    assert page == done / "fusion.html" and findings(done) == before


@pytest.mark.timeout(1200)
def test_one_network_can_be_trained_alone(done: Path, tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    for file in ("pictures.npz", "pictures.json", "strength.json"):
        (tmp_path / "drawn" / file).write_bytes((done / "drawn" / file).read_bytes())
    assert fusion.reproduce("smoke", tmp_path, None, "drawn/image/race", settings=TINY) == tmp_path
    made = [path.parent for path in tmp_path.rglob("result.json")]
    assert made == [tmp_path / "drawn" / "image" / "race"]
    whole = json.loads((done / "drawn" / "image" / "race" / "result.json").read_text())
    assert json.loads((made[0] / "result.json").read_text())["accuracy"] == whole["accuracy"]


@pytest.mark.timeout(1200)
def test_a_world_of_which_only_a_split_is_done_is_on_no_page(done: Path, tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    for file in ("pictures.npz", "pictures.json", "strength.json"):
        (tmp_path / "drawn" / file).write_bytes((done / "drawn" / file).read_bytes())
    shutil.copytree(done / "drawn" / "image", tmp_path / "drawn" / "image")
    assert fusion.reproduce("smoke", tmp_path, None, "drawn/image", settings=TINY) == tmp_path
    with pytest.raises(RequestError, match="no world is done yet"):
        fusion.reproduce("smoke", tmp_path, None, "page", settings=TINY)


def test_worlds_that_are_on_the_page_beside_those_asked_for_are_not_trained(tmp_path: Path) -> None:
    asked = fusion.Request(load("smoke", TINY), tmp_path, None, ("pins",), {}, None, print, None)
    assert asked.makes("pins") and not asked.makes("celeba")
    assert replace(asked, only=("pins", "image", "race")).makes("pins") and replace(asked, only=()).makes("celeba")
    assert not replace(asked, only=fusion.PAGE_ALONE).makes("pins")


@pytest.mark.timeout(1200)
def test_a_fused_network_is_a_model_that_answers_on_photographs(done: Path) -> None:
    model = engine.load(done / "drawn" / "model", threads=1)
    assert [task.name for task in model.tasks] == ["identity", "age_group", "race", "gender"] and model.card.trained_on_drawings and "Li and Zhu" in model.card.limits[0]
    scene = photo_of(person(3, 0), 3, 0)
    crop = draw(scene, model.crop.size, five=model.crop.template).image
    answers = model.run(crop[None])
    assert answers["identity"].shape == (1, 32 + 3 * 12) and np.linalg.norm(answers["identity"]) == pytest.approx(1, abs=1e-4)
    assert {name: each.shape[1] for name, each in answers.items() if name != "identity"} == {"age_group": 3, "race": 4, "gender": 2}


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"only": "celeba"}, "no world of this scale"),
        ({"only": "drawn/imagine"}, "did you mean 'image'"),
        ({"only": "drawn/image/race/x"}, "nothing is under drawn/image/race"),
        ({"only": "page/image"}, "nothing is under page"),
        ({"only": "strangers/agee", "settings": ['worlds=["strangers"]']}, "did you mean 'age'"),
        ({"only": "strangers/age/x", "settings": ['worlds=["strangers"]']}, "nothing is under strangers/age"),
        ({"features": ["mine"]}, "expected name=E.npz"),
        ({"settings": ["networks.step=3"]}, "steps"),
        ({"settings": ['worlds=["mars"]']}, "no world 'mars'"),
        ({"only": "page"}, "no world is done yet"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(tmp_path: Path, arguments: dict, what: str) -> None:
    with pytest.raises(RequestError, match=what):
        fusion.reproduce("smoke", tmp_path, None, **arguments)


@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_the_recipes_of_all_scales_load(scale: str) -> None:
    config = load(scale)
    assert config.name == scale and config.wide.size > config.crop.size == config.network.size


@pytest.mark.parametrize(
    "setting",
    [
        "networks.weight_decay=nan", "heads.drops=[1.5]", "heads.hidden=[0]", "network.channels=[8, 0, 8]", "network.kernels=[5, 5, -3]", "network.std=-1.0",
        "network.output_std=inf", "network.dropout=1.5", "variation.noise=-1.0", "variation.scale=inf", "strength=nan",
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_run_is_refused_by_its_key(setting: str) -> None:
    with pytest.raises(RequestError, match=rf"recipe fusion/smoke: expected '(int|float)' .* in {re.escape(setting.partition('=')[0])}"):
        load("smoke", [setting])


def test_at_small_where_verdicts_are_judged_the_networks_of_all_splits_take_as_many_steps() -> None:
    assert load("small").person_steps in (None, load("small").networks.steps)


def test_the_papers_scale_is_the_papers() -> None:
    config = load("paper")
    assert (config.networks.steps, config.networks.batch, config.variants, config.train_share) == (20000, 200, 10, 0.7)
    assert (config.identity_length, config.other_length) == (200, 50)
    assert config.networks.algorithm == "sgd" and (config.drawn.people, config.drawn.pictures) == (77, 300) and config.pins.people == 77


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"settings": [*TINY, 'worlds=["drawn", "celeba"]']}, "celeba"),
        ({"settings": [*TINY, 'worlds=["drawn", "pins"]']}, "pins"),
        ({"settings": [*TINY, 'worlds=["drawn", "strangers"]']}, "celeba"),
        ({"settings": TINY, "features": ["mine={folder}/other.npz"]}, "features of another image list, drawn .* of drawn is not in it"),
        ({"settings": TINY, "only": "drawn/image/rice"}, "did you mean 'race'"),
    ],
)
def test_what_any_world_lacks_is_told_before_any_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict, what: str) -> None:
    monkeypatch.setattr(NetworkPlan, "batches", lambda *_: pytest.fail("trained"))
    np.savez(tmp_path / "other.npz", keys=np.array(["somebody/1"]), features=np.zeros((1, 2)))
    asked = arguments | {"features": [each.format(folder=tmp_path) for each in arguments.get("features", [])]}
    (tmp_path / "data").mkdir()
    with pytest.raises(RequestError, match=what):
        fusion.reproduce("smoke", tmp_path / "out", tmp_path / "data", **asked)


def test_features_of_one_world_are_left_out_of_the_others_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", keys=np.array(["a", "b"]), features=np.zeros((2, 2)))
    said: list[str] = []
    request = fusion.Request(load("smoke", TINY), tmp_path, None, (), fusion.fusion_features.named([f"mine={tmp_path / 'e.npz'}"]), None, said.append, None)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patched:
        patched.setattr(fusion, "strength_of", lambda *_: 1.0)
        bench = fusion._bench(request, "drawn", fusion._pictures(request, "drawn"))
    assert bench.extra == {} and said == [f"drawn: --features mine is left out here: {bench.pictures.keys[0]} is not in it"]
