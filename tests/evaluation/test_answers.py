"""`polyface evaluate MODEL --protocol NAME`: the arrays that it saves score as it says, and as `polyface evaluate` scores the same model by another way."""

import json
import pickle
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from polyface import cli, datasets
from polyface.datasets import crops
from polyface.datasets.retold import coarse_tasks
from polyface.errors import RequestError
from polyface.evaluation.answers import KINDS, evaluate_protocol
from polyface.evaluation.evaluate import evaluate
from polyface.evaluation.masks import read_masks
from polyface.evaluation.raw_pixels import pixels
from polyface.evaluation.score import verification
from polyface.evaluation.taught import Lessons
from polyface.images import align
from polyface.synth.write import write
from polyface.tasks import TASKS, Task, parsing, race
from polyface.tasks.derive import Derived

pytestmark = pytest.mark.usefixtures("few_draws")
CROP = align.Crop()
LAYOUTS = {
    "utkface": ("utkface", 60, 1), "fairface": ("fairface", 12, 1), "celeba": ("celeba", 20, 2), "celebamask": ("celebamask", 60, 1), "helen": ("300w", 20, 1),
    "mtfl": ("mtfl", 30, 1), "lfw": ("lfw", 6, 3),
}  # fmt: skip
SETS = {
    "verification": ["lfw"], "landmarks": ["helen", "mtfl"], "parsing": ["celebamask"], "attributes": ["celeba", "mtfl"],
    "classification": ["utkface", "fairface"], "age": ["utkface"],
}  # fmt: skip


@dataclass
class Projects:
    """A network that knows nothing: each number it says is a weighted sum of some pixels, another one for the mirrored crop."""

    tasks: tuple[Task, ...] = TASKS
    crop: align.Crop = CROP
    label: str = "projects@000000000000"

    def run(self, seen: np.ndarray, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        few = seen[:, 5::16, 3::16].reshape(len(seen), -1) / 255 - 0.5
        outputs = {}
        for task in (task for task in self.tasks if task.name in (names or ())):
            random, shape = np.random.default_rng(len(task.name)), task.shape(self.crop.size)
            if len(shape) == 3:  # a map for each class, of the crop's own brightness
                grey = seen[:, ::2, ::2].mean(axis=-1) / 255
                weight, more = random.normal(size=(2, shape[0], 1, 1))
                outputs[task.name] = (8 * weight * grey[:, None] + more).astype(np.float32)
            else:
                outputs[task.name] = (few @ random.normal(size=(few.shape[1], int(np.prod(shape))))).reshape(len(seen), *shape).astype(np.float32)
                outputs[task.name] += 64 if task.name == "landmarks" else 0
        return outputs


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven drawn sets; of helen and mtfl every labelled face was found but the first of the test split."""
    folder = tmp_path_factory.mktemp("data")
    for name, (layout, people, photos) in LAYOUTS.items():
        write(layout, folder / name, people, photos, seed=3)
    for name in ("helen", "mtfl"):
        root = datasets.find_root(folder, name)
        _, *records = datasets.named(name).records(root, "test").records
        records += datasets.named(name).records(root, "train").records
        rows = []
        for at, record in enumerate(records):
            assert record.alignment is not None
            points = record.alignment.points + np.random.default_rng(at).normal(0, 2, (5, 2))
            rows.append(
                {"key": record.key, "points": points.ravel().tolist(), "box": align.box_of_points(points).tolist(), "score": 0.9, "overlap": 0.9, "thumbnail": None}
            )
        path = crops.faces_file(folder, name)
        path.parent.mkdir(exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(rows), path)
    return folder


def test_what_is_saved_scores_as_the_protocol_says_and_as_evaluate_says(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Two ways to the same number: `polyface evaluate` without and with --protocol; and `polyface score` on the saved files gives the very same report."""
    network = Projects()
    reports = {part.name: {(entry.task, entry.metric): entry for entry in part.scores} for part in evaluate(network, drawn).sets}
    found = {}
    for protocol, sets in SETS.items():
        for each in evaluate_protocol(network, protocol, drawn, sets, tmp_path / f"my {protocol}.npz")[0]:
            found[protocol, each.name] = {name: score.value for name, score in each.scored.result.scores.items()}
            assert cli.run([*shlex.split(each.command)[1:], "--json", str(tmp_path / "again.json")]) == 0
            again, first = json.loads((tmp_path / "again.json").read_text()), json.loads(each.scored.to_json())
            own = {name: entry for name, entry in first["scores"].items() if not name.endswith("|raw pixels")}
            assert again["scores"] == own and again["counts"] == first["counts"], (protocol, each.name)
            assert again["inputs"].items() <= first["inputs"].items()
    same = {
        ("verification", "lfw.identity"): {"accuracy": "3-fold accuracy, flip", "auc": "AUC, flip", "eer": "EER, flip"},
        ("landmarks", "helen.landmarks"): {"nme_found_inter_ocular": "NME", "fr_inter_ocular@0.08": "FR@8%"},
        ("landmarks", "mtfl.landmarks"): {"nme_found_inter_pupil": "NME", "auc_inter_pupil@0.1": "AUC@10%"},
        ("parsing", "celebamask.parsing"): {"f1_18_classes": "F1 of 18 classes"},
        ("attributes", "celeba.attributes"): {"mean_accuracy": "mean accuracy", "mean_balanced_accuracy": "mean balanced accuracy"},
        ("attributes", "mtfl.attributes"): {"mean_accuracy": "mean accuracy"},
        ("classification", "utkface.gender"): {"accuracy": "accuracy", "macro_f1": "macro-F1"},
        ("classification", "utkface.race"): {"accuracy": "accuracy", "mean_recall": "balanced accuracy"},
        ("classification", "fairface.age"): {"accuracy": "group accuracy"},
        ("age", "utkface.age"): {"mae": "MAE", "cs@5": "CS(5)"},
    }
    assert same.keys() <= found.keys() and {name for _, name in found} - {name for _, name in same} <= {"fairface.gender", "fairface.race"}
    for at, names in same.items():
        for ours, theirs in names.items():
            assert found[at][ours] == pytest.approx(reports[at[1].partition(".")[0]][at[1].partition(".")[2], theirs].value, abs=2e-6), (at, ours)
    assert {f"{name}|raw pixels" for name in ("accuracy", "auc", "tar@1e-1")} <= found["verification", "lfw.identity"].keys()
    assert (tmp_path / "my classification.utkface.race.targets.npz").exists() and (tmp_path / "my verification.npz").exists()


def pairs_in_a_bin(path: Path, size: int = 112, pairs: int = 20, seed: int = 0) -> tuple[Path, np.ndarray]:
    """Noisy pictures of 112 or more pixels; of one person, the second is the first again, with less noise than picture. Returns the pictures [2 N, size, size, 3] too."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (2 * pairs, 14, 14, 3)).repeat(size // 14, axis=1).repeat(size // 14, axis=2)
    pictures[1::4] = np.clip(pictures[0::4] + random.integers(-20, 21, pictures[0::4].shape), 0, 255)
    encoded = [cv2.imencode(".png", picture[..., ::-1].astype(np.uint8))[1].tobytes() for picture in pictures]
    path.write_bytes(pickle.dumps((encoded, [at % 2 == 0 for at in range(pairs)])))
    return path, pictures.astype(np.uint8)


def test_the_pictures_of_a_bin_are_decoded_embedded_and_scored(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The embeddings are those of the crops of the pictures by ArcFace's template and of their mirror images; the scores, those of `score` by the .bin itself."""
    network = Projects()
    path, pictures = pairs_in_a_bin(tmp_path / "agedb_30.bin")
    (found,), skipped = evaluate_protocol(network, "verification", path, save=tmp_path / "E.npz", lessons=Lessons(("celeba",)))
    assert (found.name, skipped, found.refused) == ("agedb_30.bin.identity", {}, ())
    assert found.notes == ("who is on these pictures is not known: pairs of people whom the network was taught by name are not left out",)
    saved = np.load(tmp_path / "E.npz")
    seen = np.stack([crops.cut(picture, align.from_points(align.ARCFACE_112, CROP), CROP.size) for picture in pictures])
    both = [network.run(each, ["identity"])["identity"].astype(np.float64) for each in (seen, seen[:, :, ::-1])]
    assert saved["names"].tolist() == [str(at) for at in range(40)]
    np.testing.assert_allclose(saved["embeddings"], both[0] + both[1], atol=1e-4)
    scores = {name: score.value for name, score in found.scored.result.scores.items()}
    by_bin = verification(tmp_path / "E.npz", path).result.scores
    assert scores["accuracy"] > 0.9 and {name: score.value for name, score in by_bin.items()} == pytest.approx({name: scores[name] for name in by_bin}, nan_ok=True)
    assert found.scored.result.counts["folds"] == 10


def test_pictures_of_a_bin_of_another_size_are_the_same_view(tmp_path: Path) -> None:
    one, other = (evaluate_protocol(Projects(), "verification", pairs_in_a_bin(tmp_path / f"{size}.bin", size)[0])[0][0].scored.result for size in (112, 224))
    assert other.scores["auc"].value == pytest.approx(one.scores["auc"].value, abs=0.05)


def test_a_bin_that_cannot_be_scored_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    class Refuses(Projects):
        def run(self, seen: np.ndarray, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
            raise AssertionError

    path, pictures = pairs_in_a_bin(tmp_path / "x.bin")
    for protocol, sets in (("age", None), ("verification", ["lfw"])):
        with pytest.raises(RequestError, match=r"x\.bin: holds pairs"):
            evaluate_protocol(Refuses(), protocol, path, sets)
    encoded, same = pickle.loads(path.read_bytes())
    for wrong, words in ((b"none", "picture 7"), (cv2.imencode(".png", pictures[7][:50])[1].tobytes(), "picture 7: 112 x 50 pixels")):
        path.write_bytes(pickle.dumps(([*encoded[:7], wrong, *encoded[8:]], same)))
        with pytest.raises(RequestError, match=rf"x\.bin, {words}"):
            evaluate_protocol(Refuses(), "verification", path)
    path.write_bytes(pickle.dumps((print, same)))
    with pytest.raises(RequestError, match="it asks for builtins"):
        evaluate_protocol(Refuses(), "verification", path)


def test_tasks_made_of_ours_are_scored_on_sets_retold_in_them(drawn: Path, tmp_path: Path) -> None:
    brows = ("l_brow", "r_brow")
    made = {
        "regions": Derived(of="parsing", words={"rest": tuple(name for name in parsing.vocabulary if name not in brows), "brows": brows}),
        "points": Derived(of="landmarks", words={"eye": tuple(range(36, 42)), "other eye": tuple(range(42, 48)), "nose": (30,), "mouth": (48,), "its other end": (54,)}),
        "part": Derived(of="race", words={"one": ("White", "Latino_Hispanic"), "other": tuple(set(race.vocabulary) - {"White", "Latino_Hispanic"})}),
    }
    network = Projects(tasks=tuple(each.task for each in coarse_tasks(made)))
    reports = {part.name: {(entry.task, entry.metric): entry.value for entry in part.scores} for part in evaluate(network, drawn, made=made).sets}
    for protocol, name, ours, metric in (
        ("parsing", "celebamask.regions", "f1_1_classes", "F1 of 1 classes"),
        ("landmarks", "mtfl.points", "nme_found_inter_pupil", "NME"),
        ("classification", "utkface.part", "accuracy", "accuracy"),
    ):
        found = {each.name: each for each in evaluate_protocol(network, protocol, drawn, save=tmp_path / f"{protocol}.npz", made=made)[0]}
        dataset, task = name.split(".")
        assert found[name].scored.result.scores[ours].value == pytest.approx(reports[dataset][task, metric], abs=2e-6)
        assert "--benchmark" not in found[name].command
    with pytest.raises(RequestError, match="answers no question that parsing scores"):
        evaluate_protocol(network, "parsing", drawn)


def test_a_set_is_looked_at_once_whatever_it_is_asked(drawn: Path) -> None:
    class Counts(Projects):
        seen = 0

        def run(self, seen: np.ndarray, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
            self.seen += len(seen)
            return super().run(seen, names)

    network = Counts()
    found, _ = evaluate_protocol(network, "classification", drawn, ["fairface"])
    assert [each.name for each in found] == ["fairface.age", "fairface.gender", "fairface.race"]
    assert network.seen == len(datasets.named("fairface").records(datasets.find_root(drawn, "fairface"), "test").records)


def test_poses_are_those_of_evaluate(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On helen's training faces, for no drawn set has angles in its test."""
    helen = datasets.named("helen")
    turned = replace(helen, list_records=lambda root, split: helen.list_records(root, "train"))
    monkeypatch.setattr(datasets, "named", lambda name: turned)
    ((answered,), _) = evaluate_protocol(Projects(), "pose", drawn, ["helen"], tmp_path / "P.npz")
    found = {score.metric: score for score in evaluate(Projects(), drawn, ["helen"]).sets[0].scores if score.task == "pose"}
    for axis in ("yaw", "pitch", "roll"):
        assert answered.scored.result.scores[f"mae_{axis}"].value == pytest.approx(found[f"MAE {axis}"].value, abs=1e-4)
        assert answered.scored.result.counts["faces"] == found[f"MAE {axis}"].n > 0


def test_a_set_without_such_labels_is_named_where_none_was_asked_for(drawn: Path) -> None:
    with pytest.raises(RequestError, match=r"helen\.pose: no picture of the test split has such a label"):
        evaluate_protocol(Projects(), "pose", drawn)


def test_a_face_that_was_not_found_is_a_miss_and_masks_are_of_the_picture(drawn: Path, tmp_path: Path) -> None:
    ((answered,), _) = evaluate_protocol(Projects(), "landmarks", drawn, ["helen"], tmp_path / "P.npz")
    records = datasets.named("helen").records(datasets.find_root(drawn, "helen"), "test").records
    with np.load(tmp_path / "P.npz") as said, np.load(tmp_path / "P.targets.npz") as true:
        assert said["names"][said["missed"] == 1].tolist() == [records[0].key] and np.isnan(said["values"][said["missed"] == 1]).all()
        labels = {record.key: record.labels["landmarks"] for record in records}
        for name, points in zip(true["names"], true["values"], strict=True):
            assert np.array_equal(points, labels[name])
    assert answered.scored.result.counts["not_found"] == 1
    ((answered,), _) = evaluate_protocol(Projects(), "parsing", drawn, ["celebamask"], tmp_path / "M.npz")
    masks, truths = read_masks(tmp_path / "M.npz"), read_masks(tmp_path / "M.targets.npz")
    assert "--benchmark celebamask-hq" in answered.command and "f1_10_classes" in answered.scored.result.scores
    for record in datasets.named("celebamask").records(datasets.find_root(drawn, "celebamask"), "test").records:
        truth = record.labels["parsing"]()
        assert np.array_equal(truths.open(record.key), truth) and masks.open(record.key).shape == truth.shape


def test_nothing_is_left_behind_where_nothing_is_saved(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ((answered,), _) = evaluate_protocol(Projects(), "age", drawn, ["utkface"])
    assert answered.command == "" and not list(tmp_path.iterdir())


def test_raw_pixels_know_neither_brightness_nor_contrast() -> None:
    random = np.random.default_rng(0)
    crop = random.integers(60, 120, (128, 128, 3)).astype(np.uint8)
    assert pixels(2 * crop) == pytest.approx(pixels(crop), abs=1e-5) and pixels(crop + 50) == pytest.approx(pixels(crop), abs=1e-5)
    assert abs(pixels(crop) @ pixels(random.integers(60, 120, (128, 128, 3)).astype(np.uint8))) < 0.2
    assert np.linalg.norm(pixels(crop)) == pytest.approx(1) == np.linalg.norm(pixels(np.full((128, 128, 3), 90, np.uint8)))
    assert pixels(crop[:, ::-1]).reshape(32, 32)[:, ::-1].ravel() == pytest.approx(pixels(crop), abs=1e-5)


def test_what_cannot_be_scored_is_refused_before_anything_is_written(drawn: Path, tmp_path: Path) -> None:
    network, file = Projects(), tmp_path / "out" / "E.npz"

    def refused(protocol: str, sets: list[str], data: Path = drawn, network: Projects = network, save: Path = file) -> str:
        with pytest.raises(RequestError) as caught:
            evaluate_protocol(network, protocol, data, sets, save)
        return str(caught.value)

    assert "did you mean 'verification'?" in refused("verificaton", ["lfw"])
    assert (said := refused("megaface", ["lfw"])).startswith("no protocol 'megaface' that has sets here; there are verification") and said.count("pose") == 1
    assert "saved as a .npz" in refused("age", ["utkface"], save=tmp_path / "E.csv")
    assert "labels that age scores, of fairface" in refused("age", ["fairface"])
    assert "fairface: no labels there that age scores" in refused("age", ["utkface", "fairface"])
    assert "labels that pose scores, of mtfl" in refused("pose", ["mtfl"])
    assert "helen scores none of identity; it answers landmarks, pose" in refused("verification", ["helen"])
    assert "no afw" in refused("landmarks", ["afw"])
    silent = Projects(tasks=tuple(task for task in TASKS if task.name != "age"))
    assert "answers no question that age scores" in refused("age", ["utkface"], network=silent)
    assert not file.parent.exists()


def test_the_command_says_what_belongs_together(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    for arguments, said in ((["--save", "E.npz"], "--save needs --protocol"), (["--protocol", "age", "--card"], "--card takes the scores of all tasks")):
        assert cli.run(["evaluate", str(tmp_path), *arguments]) == 2
        assert said in capsys.readouterr().err
    (tmp_path / "model.onnx").touch()
    assert cli.run(["evaluate", str(tmp_path / "model.onnx"), "--card"]) == 2  # before anything is scored
    assert "model.onnx: --card writes into a model directory" in capsys.readouterr().err
    assert cli.run(["evaluate", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(protocol in text for protocol in KINDS)
