import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from polyface import files, tasks
from polyface.errors import RequestError
from polyface.inference import card as cards
from polyface.inference import engine as engines
from polyface.inference.drift import Drift


@pytest.fixture
def engine(model: Path) -> engines.Engine:
    return engines.load(model, threads=1)


def test_every_task_is_answered_in_the_shape_of_its_kind(engine: engines.Engine) -> None:
    outputs = engine.run(np.zeros((3, 64, 64, 3), np.uint8))
    assert {name: output.shape for name, output in outputs.items()} == {task.name: (3, *task.shape(64)) for task in tasks.TASKS}
    assert all(output.dtype == np.float32 for output in outputs.values())


def test_chunks_give_what_single_crops_give(engine: engines.Engine) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (engines.CHUNK * 2 + 3, 64, 64, 3), np.uint8)
    together = engine.run(crops, ["gender", "landmarks"])
    for row in (0, engines.CHUNK - 1, engines.CHUNK, len(crops) - 1):
        alone = engine.run(crops[row : row + 1], ["gender", "landmarks"])
        for name in together:
            np.testing.assert_allclose(together[name][row], alone[name][0], rtol=1e-4, atol=1e-3)


def test_the_network_is_asked_for_the_named_tasks_only(engine: engines.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Listening:
        def run(self, names: list[str], feed: dict) -> list[np.ndarray]:
            asked.append(list(names))
            return engine.session.run(names, feed)

    listening = engines.Engine(engine.card, engine.tasks, engine.crop, engine.sha256, Listening())
    assert list(listening.run(np.zeros((1, 64, 64, 3), np.uint8), ["pose", "age"])) == ["age", "pose"]
    assert asked == [["age", "pose"]]


def test_no_crops_give_no_answers_of_the_right_shape(engine: engines.Engine) -> None:
    outputs = engine.run(np.zeros((0, 64, 64, 3), np.uint8), ["age"])
    assert outputs["age"].shape == (0, 117)


@pytest.mark.parametrize("crops", [np.zeros((1, 128, 128, 3), np.uint8), np.zeros((1, 64, 64, 3), np.float32), np.zeros((64, 64, 3), np.uint8)])
def test_crops_of_another_shape_or_type_are_refused(engine: engines.Engine, crops: np.ndarray) -> None:
    with pytest.raises(RequestError, match=r"takes crops uint8 \[N, 64, 64, 3\]"):
        engine.run(crops)


def test_an_unknown_task_is_refused_with_the_nearest_known_one(engine: engines.Engine) -> None:
    with pytest.raises(RequestError, match="no task 'gendr'; did you mean 'gender'"):
        engine.run(np.zeros((1, 64, 64, 3), np.uint8), ["gendr"])


def test_the_label_says_which_file_answered(engine: engines.Engine, model: Path) -> None:
    assert engine.label == f"tiny@{files.sha256_of_file(model / 'model.onnx')[:12]}"


def test_a_network_that_is_measured_anew_is_the_network_that_it_was(model: Path, card: cards.Card) -> None:
    before = engines.load(model)
    network = before.network
    cards.rewrite(model, msgspec.structs.replace(card, created="1999-12-31"))
    after = engines.load(model)
    assert after.network == network and after.sha256 != before.sha256
    content = bytearray((model / "model.onnx").read_bytes())
    weights = onnx.load_from_string(bytes(content)).graph.initializer[0].raw_data
    assert cards.network_sha256(bytes(content).replace(weights, bytes(len(weights) - 1) + b"x")) != after.network


def test_one_file_with_its_card_inside_is_a_model(tmp_path: Path, card: cards.Card, write_network: Callable) -> None:
    assert engines.load(write_network(tmp_path / "alone.onnx", card), threads=1).tasks == tasks.TASKS


def test_one_file_without_card_is_refused(tmp_path: Path, write_network: Callable) -> None:
    with pytest.raises(RequestError, match=r"alone\.onnx: carries no card"):
        engines.load(write_network(tmp_path / "alone.onnx"), threads=1)


def test_the_network_in_eight_bits_answers_where_there_is_one(model: Path, write_network: Callable, drift: Drift) -> None:
    write_network(model / "model.int8.onnx", drift=drift)
    found = engines.load(model, threads=1)
    assert found.label == f"tiny@{files.sha256_of_file(model / 'model.int8.onnx')[:12]}" and found.drift == drift
    (model / "model.onnx").unlink()
    assert engines.load(model, threads=1).tasks == tasks.TASKS


def test_the_network_in_floats_is_named_by_its_file(model: Path, card: cards.Card, write_network: Callable, drift: Drift) -> None:
    write_network(model / "model.int8.onnx", card, drift=drift)
    write_network(model / "model.onnx", card)
    found = engines.load(model / "model.onnx", threads=1)
    assert found.sha256 == files.sha256_of_file(model / "model.onnx") and found.drift is None


def test_eight_bits_of_which_nobody_knows_how_they_drift_answer_nobody(model: Path, write_network: Callable) -> None:
    write_network(model / "model.int8.onnx")
    with pytest.raises(RequestError, match=r"model\.int8\.onnx: in eight bits, and nobody measured how far its answers drift; .*export --int8"):
        engines.load(model, threads=1)


@pytest.mark.parametrize("name", ["model.int8.onnx", "renamed.onnx"])
def test_eight_bits_that_drift_too_far_are_set_aside_by_task_under_any_name(model: Path, card: cards.Card, write_network: Callable, drift: Drift, name: str) -> None:
    far = msgspec.structs.replace(drift, drift={**drift.drift, "landmarks": 0.2})
    write_network(model / name, card, drift=far)
    with pytest.raises(RequestError, match=rf"{name}: set aside: landmarks drifts by 0\.2 eye distances .*, 0\.015 is allowed; model\.onnx answers instead") as refused:
        engines.load(model / name if name == "renamed.onnx" else model, threads=1)
    assert "age" not in str(refused.value)


def test_a_task_whose_drift_was_never_measured_is_named(model: Path, write_network: Callable, drift: Drift) -> None:
    write_network(model / "model.int8.onnx", drift=msgspec.structs.replace(drift, drift={"age": 0.1}))
    with pytest.raises(RequestError, match="nobody measured how far identity drifts"):
        engines.load(model, threads=1)


@pytest.mark.parametrize("network", ["model.onnx", "model.int8.onnx"])
def test_a_network_of_another_training_than_its_card_is_named(model: Path, card: cards.Card, write_network: Callable, drift: Drift, network: str) -> None:
    older = msgspec.structs.replace(card, commit="0123456789ab")
    write_network(model / network, older, drift=drift if "int8" in network else None)
    with pytest.raises(RequestError, match=rf"{network}: the card inside is of another network than card.json beside it: they differ in 'commit'"):
        engines.load(model, threads=1)


def test_scores_and_calibrations_may_differ_between_the_card_inside_and_the_one_beside(model: Path, card: cards.Card, write_network: Callable) -> None:
    write_network(model / "model.onnx", msgspec.structs.replace(card, limits=("said later",)))
    assert engines.load(model, threads=1).card == card


def test_a_network_with_a_card_of_another_format_inside_is_named(model: Path, card: cards.Card, write_network: Callable) -> None:
    write_network(model / "model.onnx", card)
    built = onnx.load(model / "model.onnx")
    onnx.helper.set_model_props(built, {"polyface.card": cards.json_of_card(card).decode().replace('"polyface": 1', '"polyface": 7', 1)})
    onnx.save(built, model / "model.onnx")
    with pytest.raises(RequestError, match=r"model\.onnx: its card: a card of format 7; this polyface reads format 1"):
        engines.load(model, threads=1)


def test_a_promised_output_that_is_missing_is_named(model: Path, write_network: Callable) -> None:
    write_network(model / "model.onnx", names=["gender", "landmarks"])
    with pytest.raises(RequestError, match=r"model\.onnx: the card promises 'identity', which the network does not put out"):
        engines.load(model, threads=1)


def test_an_output_of_another_shape_is_named(model: Path, card: cards.Card) -> None:
    tree = json.loads((model / "card.json").read_bytes())
    tree["tasks"]["race"]["vocabulary"].append("Martian")
    (model / "card.json").write_text(json.dumps(tree))
    with pytest.raises(RequestError, match=r"'race' is of shape \[7\] per face, the card promises \[8\]"):
        engines.load(model, threads=1)


def test_a_crop_of_another_size_is_named(model: Path) -> None:
    tree = json.loads((model / "card.json").read_bytes())
    tree["crop"]["size"] = 128
    (model / "card.json").write_text(json.dumps(tree))
    with pytest.raises(RequestError, match=r"'crops' is of shape \[64, 64, 3\]"):
        engines.load(model, threads=1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "card.json").unlink(), "holds no card.json"),
        (lambda folder: (folder / "model.onnx").unlink(), "no network in it"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"no network"), "model.onnx: not an ONNX model"),
        (lambda folder: (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:2000]), "model.onnx: not an ONNX model"),
        (lambda folder: (folder / "model.onnx").write_bytes(b""), "model.onnx: empty"),
        (lambda folder: (folder / "card.json").write_text("{"), "card.json: no JSON"),
    ],
)
def test_a_spoilt_model_directory_is_refused_by_name(model: Path, spoil: Callable, said: str) -> None:
    spoil(model)
    with pytest.raises(RequestError) as refused:
        engines.load(model, threads=1)
    assert said in str(refused.value)
    assert str(model) in str(refused.value)


def test_a_run_folder_points_to_the_model_in_it(model: Path) -> None:
    with pytest.raises(RequestError, match=f"did you mean {model}"):
        engines.load(model.parent)


def test_without_weights_it_says_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polyface_weights", None)
    with pytest.raises(RequestError, match=r"no model: .*pip install \./weights.* --model DIR"):
        engines.load()


def test_installed_weights_are_found(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = model.parent / "site" / "polyface_weights"
    shutil.copytree(model, package / "model")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    assert engines.load(threads=1).card.name == "tiny"
