"""`polyface score`: a table on screen, JSON for machines, one line for what is wrong, and no partial score."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from polyface import __version__, cli
from polyface.errors import RequestError
from polyface.evaluation import score

Files = Callable[..., Path]
PROTOCOLS = ["verification", "landmarks", "parsing", "attributes", "classification", "age", "pose", "megaface"]
OF_LISTS = ["ijb", "tinyface"]
"""Which have test files of their own."""


@pytest.fixture
def ages(npz: Files) -> tuple[Path, Path]:
    names = [f"face {at}" for at in range(20)]
    truth = np.arange(20) * 4
    targets = npz("T", names=names, values=truth, subjects=np.arange(20) // 2, groups=["women", "men"] * 10)
    return npz("P", names=names[::-1], values=(truth + 3)[::-1]), targets


def test_the_report_is_exactly_what_was_promised(ages: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out" / "age.json"
    assert cli.run(["score", "age", "--predictions", str(ages[0]), "--targets", str(ages[1]), "--within", "2,5", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert list(report) == ["protocol", "version", "scores", "counts", "chance", "inputs"]
    assert (report["protocol"], report["version"]) == ("age", __version__)
    assert report["inputs"] == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in zip(("predictions", "targets"), ages, strict=True)}
    assert report["scores"]["mae"] == {"value": 3.0, "low": None, "high": None, "n": 20, "note": "years"}  # all are as far off: nobody knows the spread
    assert report["scores"]["cs@2"]["value"] == 0 and report["scores"]["cs@5|women"]["value"] == 1 and report["scores"]["mae|men"]["n"] == 10
    assert report["scores"]["epsilon_error"] == {
        "value": None,
        "low": None,
        "high": None,
        "n": 0,
        "reason": "the targets have no `sigmas`, the deviations of people's guesses",
    }
    assert report["counts"]["people"] == 10
    table = capsys.readouterr().out
    assert "cs@5|women" in table and "no `sigmas`" in table and "20 faces; 10 people" in table


def test_people_are_not_counted_where_nobody_says_who_they_are(npz: Files) -> None:
    names, groups = ["a", "b", "c"], ["x", "y", "x"]
    found = score.age(npz("P", names=names, values=[1, 2, 3]), npz("T", names=names, values=[1, 2, 4], groups=groups))
    assert found.result.counts == {"faces": 3, "faces|x": 2, "faces|y": 1}


def test_every_protocol_runs_from_the_command_line(npz: Files, tmp_path: Path) -> None:
    """Chance stands beside what has one, and every score is {value, low, high, n}, with a reason where it has no value."""
    names = [f"Some_Body_{at:04}" for at in range(1, 7)]
    (tmp_path / "pairs.txt").write_text("1\nSome_Body\t1\t2\nSome_Body\t3\tNo_Body\t1\n")
    embeddings = npz("E", names=[*names, "No_Body_0001"], embeddings=np.random.default_rng(0).normal(size=(7, 3)))
    of_labels = {
        "classification": ({"values": list("aabbab")}, {"values": list("aabbba")}),
        "attributes": ({"values": np.full((6, 2), 0.7), "classes": ["x", "y"]}, {"values": [[0, 1]] * 6, "classes": ["x", "y"]}),
        "landmarks": ({"values": np.arange(60.0).reshape(6, 5, 2)}, {"values": np.arange(60.0).reshape(6, 5, 2) + 1}),
        "age": ({"values": np.arange(6)}, {"values": np.arange(6)}),
        "pose": ({"values": np.zeros((6, 3))}, {"values": np.ones((6, 3))}),
    }
    commands = {"verification": ["--embeddings", str(embeddings), "--pairs", str(tmp_path / "pairs.txt")]}
    for protocol, (said, true) in of_labels.items():
        commands[protocol] = ["--predictions", str(npz(f"P {protocol}", names=names, **said)), "--targets", str(npz(f"T {protocol}", names=names, **true))]
    faces = [npz(side, names=names, identities=list(people), embeddings=np.eye(6)) for side, people in (("P faces", "aabbcc"), ("D faces", "uvwxyz"))]
    commands["megaface"] = ["--probes", str(faces[0]), "--distractors", str(faces[1])]
    masks = [str(npz(f"{side} parsing", a=np.arange(12).reshape(3, 4) % 11, b=np.zeros((2, 2), int))) for side in "PT"]
    commands["parsing"] = ["--predictions", masks[0], "--targets", masks[1], "--benchmark", "lapa"]
    assert sorted(commands) == sorted(PROTOCOLS)
    for protocol, arguments in commands.items():
        out = tmp_path / f"{protocol}.json"
        assert cli.run(["score", protocol, *arguments, "--json", str(out)]) == 0, protocol
        report = json.loads(out.read_text())
        assert report["protocol"].partition(",")[0] == protocol and report["scores"] and set(report["chance"]) <= set(report["scores"])
        for name, entry in report["scores"].items():
            assert [key for key in entry if key != "note"] == ["value", "low", "high", "n"] + (["reason"] if entry["value"] is None else []), name


def test_no_report_is_written_over_what_is_read(npz: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    said, true = (npz(side, names=[1, 2], values=[30, 40]) for side in ("P", "T"))
    lists = (
        "pairs.txt",
        "masks/1.png",
        "meta/x_face_tid_mid.txt",
        "meta/gallery_match_img_ID_pairs.mat",
        "devkit/templatelists/facescrub_features_list.json",
        "noises.txt",
    )
    for file in lists:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(file)
    both = ["--predictions", str(said), "--targets", str(true)]
    commands = [
        *(([protocol, *both], read) for protocol in ("age", "pose", "classification", "attributes", "landmarks") for read in (said, true)),
        (["parsing", "--predictions", "masks", "--targets", str(true)], "masks/1.png"),
        (["verification", "--embeddings", str(said), "--pairs", "pairs.txt"], "pairs.txt"),
        (["ijb", "--embeddings", str(said), "--meta", "meta"], "meta/x_face_tid_mid.txt"),
        (["tinyface", "--embeddings", str(said), "--meta", "meta"], "meta/gallery_match_img_ID_pairs.mat"),
        (["megaface", "--devkit", "devkit"], "devkit/templatelists/facescrub_features_list.json"),
        (["megaface", "--probes", str(said), "--distractors", str(true), "--probe-noises", "noises.txt"], "noises.txt"),
    ]
    for command, read in commands:
        before = Path(read).read_bytes()
        assert cli.run(["score", *command, "--json", str(read)]) == 2, command
        words = capsys.readouterr()
        assert f"the report {read} would be written over" in words.err and not words.out and Path(read).read_bytes() == before
    assert cli.run(["score", "age", *both, "--json", "age.json"]) == cli.run(["score", "age", *both, "--json", "age.json"]) == 0, "its own of before it replaces"


def test_help_is_there_at_once(capsys: pytest.CaptureFixture) -> None:
    asked = "from polyface.cli import run; run(['score', '--help']); run(['score', 'verification', '--help'])"
    code = f"{asked}\nimport sys\nprint([name for name in ('numpy', 'cv2') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for protocol in (*PROTOCOLS, *OF_LISTS):
        assert f" {protocol} " in done.stdout
        assert cli.run(["score", protocol, "--help"]) == 0


def refused(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """The one line on stderr of a command that did nothing."""
    assert cli.run(["score", *map(str, arguments)]) == RequestError.exit_status
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_a_name_that_one_side_lacks_refuses_all(npz: Files, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    both = npz("T", names=["a", "b", "face c"], values=[1, 2, 3])
    fewer = npz("P", names=["a", "b"], values=[1, 2])
    out = tmp_path / "out.json"
    assert "P.npz: 1 of the 3 names of" in (line := refused(capsys, "age", "--predictions", fewer, "--targets", both, "--json", out)) and "'face c' first" in line
    assert "P.npz: 1 of the 3 names" in refused(capsys, "age", "--predictions", both, "--targets", fewer)
    assert not out.exists()
    assert "'face d' first; did you mean 'face c'?" in refused(capsys, "age", "--predictions", both, "--targets", npz("U", names=["a", "b", "face d"], values=[1, 2, 3]))


def test_what_cannot_be_scored_is_refused_by_file_row_and_name(npz: Files, capsys: pytest.CaptureFixture) -> None:
    names = ["a", "b"]

    def line(protocol: str, said: dict, true: dict, *options: str) -> str:
        return refused(capsys, protocol, "--predictions", npz("P", **{"names": names, **said}), "--targets", npz("T", **{"names": names, **true}), *options)

    assert "P.npz, values, row 1 (b): nan is not finite" in line("age", {"values": [1, np.nan]}, {"values": [1, 2]})
    assert "T.npz, values, row 0 (a): inf is not finite" in line("age", {"values": [1, 2]}, {"values": [np.inf, 2]})
    assert "T.npz, sigmas, row 1 (b): -1 is no deviation" in line("age", {"values": [1, 2]}, {"values": [1, 2], "sigmas": [1, -1]})
    assert "P.npz, values, row 0 (b): nan is not finite" in line("age", {"names": ["b", "a"], "values": [np.nan, 1]}, {"values": [1, 2]}), "the row in the file"
    assert "one number for each name" in line("age", {"values": [[1, 2], [3, 4]]}, {"values": [1, 2]})
    assert "no class 'hapy'" in line("classification", {"values": ["happy", "hapy"]}, {"values": ["happy", "sad"], "classes": ["happy", "sad"]})
    assert "P.npz, values, row 0 (a): 2 is no number of 2 classes" in line("classification", {"values": [2, 0], "classes": ["x", "y"]}, {"values": ["x", "y"]})
    assert "P.npz: its values are numbers, and no array 'classes' says" in line("classification", {"values": [1, 0]}, {"values": ["x", "y"]})
    assert "no class of" in line("classification", {"values": ["1", "2"]}, {"values": ["x", "y"]})
    listed = npz("P", names=names, values=["z", "z"]), npz("T", names=names, values=["x", "y"], classes=["x", "y", "z"])
    assert score.classification(*listed).result.scores["accuracy"].value == 0  # a class that is known, and never right
    two = {"values": [[0.5, 0.5]] * 2, "classes": ["x", "y"]}
    assert "row 1 (b): 3 for y is no probability" in line("attributes", {**two, "values": [[0, 1], [0, 3]]}, two | {"values": [[0, 1]] * 2})
    assert "write 0 for no" in line("attributes", two, two | {"values": [[1, -1]] * 2})
    assert "row 0 (a): 2 for x is not 1 (yes)" in line("attributes", two, two | {"values": [[2, 0]] * 2})
    assert "P.npz: no attribute 'z'" in line("attributes", two, {"values": [[1, 0]] * 2, "classes": ["x", "z"]})
    assert "no attribute 'q'" in line("attributes", two, two | {"values": [[1, 0]] * 2}, "--attributes", "q")
    five = np.arange(20.0).reshape(2, 5, 2)
    assert "P.npz: 5 points for each face, " in line("landmarks", {"values": five}, {"values": five[:, :4]})
    holes = np.where(np.arange(2)[:, None, None] == 1, np.nan, five)
    assert "T.npz, values, row 1 (b): no point is labelled" in line("landmarks", {"values": five}, {"values": holes})
    assert "P.npz, values, row 1 (b): nan is not finite" in line("landmarks", {"values": holes}, {"values": five})
    absent = np.where((np.arange(2)[:, None] == 1) & (np.arange(5) == 3), -1.0, five.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert "T.npz, values, row 1 (b): point 3 is (-1, -1), as sets write one that nobody labelled: write NaN for it" in line(
        "landmarks", {"values": five}, {"values": absent}
    )
    assert "P.npz, values, row 1 (b): a point is not finite" in line("landmarks", {"values": holes, "missed": [1, 0]}, {"values": five})
    assert "nme_box cannot be had: the targets have no `boxes`" in line("landmarks", {"values": five}, {"values": five}, "--normaliser", "box")
    assert "boxes, row 0 (a): (0, 0, 0, 5) is no box" in line("landmarks", {"values": five}, {"values": five, "boxes": [[0, 0, 0, 5]] * 2})
    assert "P.npz: missed of shape [2, 5], one number for each name is needed" in line("landmarks", {"values": five, "missed": np.zeros((2, 5))}, {"values": five})
    assert "T.npz, values, row 0 (a): no inter-pupil size, it is 0" in line("landmarks", {"values": five}, {"values": np.ones_like(five)})
    pupil = np.where((np.arange(2)[:, None] == 1) & (np.arange(5) == 0), np.nan, five.transpose(2, 0, 1)).transpose(1, 2, 0)
    boxed = {"values": pupil, "boxes": [[0, 0, 9, 9], [9, 9, 20, 20]]}
    line_of_box = line("landmarks", {"values": five}, {"values": five, "boxes": [[0, 0, 9, 9], [9, 9, 11, 11]]})
    assert "T.npz, boxes, row 1 (b): (9, 9, 11, 11) lies beside its points; a box is x0, y0, x1, y1" in line_of_box  # it was x0, y0, width, height
    assert "T.npz, values, row 1 (b): no inter-pupil size, the points" in line("landmarks", {"values": five}, boxed, "--normaliser", "inter-pupil")
    found = score.landmarks(npz("P", names=names, values=five), npz("T", names=names, **boxed)).result
    assert found.scores["nme_box"].value == 0 and "1 of 2 faces: no inter-pupil size" in found.reasons["nme_inter_pupil"]
    assert "angles pitch, roll" in line("pose", {"values": np.zeros((2, 2)), "classes": ["pitch", "roll"]}, {"values": np.zeros((2, 3))})


def test_points_of_tables_are_taken_in_the_order_that_their_columns_say(tmp_path: Path) -> None:
    def table(file: str, *columns: str) -> Path:
        (tmp_path / file).write_text("\n".join([",".join(["names", *(f"values.{column}" for column in columns)]), "a," + ",".join(map(str, range(len(columns))))]))
        return tmp_path / file

    pairs = [f"{axis}{at}" for at in range(5) for axis in "xy"]
    good, turned = table("T.csv", *pairs), table("P.csv", *sorted(pairs))
    with pytest.raises(RequestError, match=r"P\.csv: its columns are x0, x1, x2, \.\.\.; points are x, y, x, y"):
        score.landmarks(turned, good)
    with pytest.raises(RequestError, match=r"P\.csv: its 'x1' is where .*T\.csv has 'x0'; points are in one order"):
        score.landmarks(table("P.csv", *pairs[2:], *pairs[:2]), good)
    assert score.landmarks(table("P.csv", *pairs), good).result.scores["nme_inter_pupil"].value == 0
    assert score.landmarks(good, table("P.csv", *map(str, range(10)))).result.scores["nme_inter_pupil"].value == 0


def test_points_of_which_nothing_can_be_scored_are_refused(npz: Files) -> None:
    points = np.arange(38.0).reshape(1, 19, 2)
    with pytest.raises(RequestError, match=r"T\.npz: nothing can be scored: it is not known which of 19 points"):
        score.landmarks(npz("P", names=["a"], values=points), npz("T", names=["a"], values=points))


def test_embeddings_that_cannot_be_scored_are_refused_by_file_row_and_name(npz: Files, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "pairs.txt").write_text("1\nA\t1\t2\nA\t1\tB\t1\n")
    names, vectors = ["A_0001", "A_0002", "B_0001"], np.eye(3)

    def line(**arrays: object) -> str:
        embeddings = npz("E", **{"names": names, "embeddings": vectors, **arrays})
        return refused(capsys, "verification", "--embeddings", embeddings, "--pairs", tmp_path / "pairs.txt")

    zero, nan = np.where(np.arange(3)[:, None] == 1, 0, vectors), np.where(np.arange(3)[:, None] == 2, np.nan, vectors)
    assert "E.npz, embeddings, row 1 (A_0002): has length 0" in line(embeddings=zero)
    assert "E.npz, embeddings, row 2 (B_0001): nan is not finite" in line(embeddings=nan)
    assert "E.npz, embeddings, row 0 (A_0001): is too long" in line(embeddings=vectors * 1e200 * [[1], [1e-200], [1e-200]] + 1e199)
    assert "E.npz, embeddings, row 0 (A_0001): has length 0" in line(embeddings=vectors * 1e-200)
    assert "pairs.txt, row 3: " in (missing := line(names=["A_0001", "A_0002", "C_0001"])) and "has no 'B_0001'" in missing
    assert "E.npz: embeddings has 2 rows, there are 3 names" in line(embeddings=vectors[:2])
    assert "[names, dimensions] is needed" in line(embeddings=vectors[0])
    assert (two := line(subjects=["x", "x", "x"])).endswith("E.npz has subjects 'x' and 'x'") and "pairs.txt, row 3: labelled as two people" in two
    assert "no array 'embeddings'" in refused(capsys, "verification", "--embeddings", npz("F", names=names, values=vectors), "--pairs", tmp_path / "pairs.txt")


def test_people_of_the_embeddings_come_before_those_of_the_list(npz: Files, tmp_path: Path) -> None:
    """Somebody who is in the list under two names is drawn as one person."""
    rows = [f"P{at}_0001.jpg 1\nP{at}_0002.jpg 1" for at in range(10)] + [f"P{at}_0001.jpg 0\nP{(at + 1) % 10}_0002.jpg 0" for at in range(10)]
    (tmp_path / "pairs.txt").write_text("\n".join(rows))
    names = [f"P{at}_000{photograph}" for at in range(10) for photograph in (1, 2)]
    vectors = np.random.default_rng(0).normal(size=(20, 4))
    by_list = score.verification(npz("E", names=names, embeddings=vectors), tmp_path / "pairs.txt").result
    by_subjects = score.verification(
        npz("F", names=names, embeddings=vectors, subjects=[f"{at // 2 % 5} {at // 2 % 2}" for at in range(20)]), tmp_path / "pairs.txt"
    ).result
    fewer = score.verification(npz("G", names=names, embeddings=vectors, subjects=[f"{at // 2 % 5}" for at in range(20)]), tmp_path / "pairs.txt").result
    assert (by_list.counts["people"], by_subjects.counts["people"], fewer.counts["people"]) == (10, 10, 5)
    assert by_list.scores["auc"].value == fewer.scores["auc"].value and by_list.scores["auc"].low != fewer.scores["auc"].low
    assert by_list.counts["unused_embeddings"] == 0 and by_list.counts["folds"] == 10


def test_options_that_mean_nothing_are_refused(ages: tuple[Path, Path], capsys: pytest.CaptureFixture) -> None:
    files = ["--predictions", ages[0], "--targets", ages[1]]
    assert "'five' is no list of numbers" in refused(capsys, "age", *files, "--within", "five")
    assert "1000.5 is no whole number" in refused(capsys, "megaface", "--probes", ages[0], "--distractors", ages[1], "--sizes", "10,1000.5")
    assert "k of at least 0" in refused(capsys, "age", *files, "--within", "-1")
    assert "above 0 degrees" in refused(capsys, "pose", *files, "--limit", "0")
    assert "an alpha must be above 0" in refused(capsys, "landmarks", *files, "--alpha", "0")
    assert "no normaliser 'eyes'" in refused(capsys, "landmarks", *files, "--normaliser", "eyes")
    assert "no benchmark 'lapaa'; did you mean 'lapa'?" in refused(capsys, "parsing", *files, "--benchmark", "lapaa")


def test_masks_are_matched_by_name_in_folders_and_archives(npz: Files, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    masks = {f"{folder}/{at}": random.integers(0, 11, (6, 5)).astype(np.uint8) for folder in "ab" for at in range(2)}
    for name, mask in masks.items():
        (tmp_path / "png" / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(tmp_path / "png" / f"{name}.png"), mask)
    of_folder = score.parsing(tmp_path / "png", npz("T", **masks), "lapa")
    of_arrays = score.parsing(npz("P", **masks), npz("T", **masks), "lapa")
    assert of_folder.result.scores["f1_10_classes"].value == 1 == of_arrays.result.scores["f1_10_classes"].value
    assert of_folder.result.counts == of_arrays.result.counts
    before = of_folder.inputs["predictions"]
    assert cv2.imwrite(str(tmp_path / "png" / "b" / "1.png"), masks["a/0"])
    assert score.parsing(tmp_path / "png", npz("T", **masks), "lapa").inputs["predictions"] != before


def test_masks_that_do_not_fit_are_refused_by_name(npz: Files, tmp_path: Path) -> None:
    flat = {"a": np.zeros((4, 4), np.uint8), "b": np.ones((4, 4), np.uint8)}
    targets = npz("T", **flat, classes=["background", "skin"])

    def refused_masks(message: str, **masks: object) -> None:
        with pytest.raises(RequestError, match=message):
            score.parsing(npz("P", **masks), targets)

    assert score.parsing(npz("P", **flat), targets).result.scores["f1_1_classes"].value == 1
    refused_masks("1 of the 2 names of .* are missing, 'b' first", a=flat["a"])
    refused_masks(r"P.npz and .*T.npz, b: a mask of \(4, 4\) for a prediction of \(4, 5\)", a=flat["a"], b=np.zeros((4, 5), np.uint8))
    refused_masks("b: prediction holds class 2, there are 2", a=flat["a"], b=flat["b"] + 1)
    refused_masks("P.npz, b: float64 of shape", a=flat["a"], b=flat["b"] * 0.5)
    refused_masks("P.npz, b: class numbers from -1", a=flat["a"], b=flat["b"].astype(int) - 2)
    refused_masks("its classes are background, hair, and not", **flat, classes=["background", "hair"])
    with pytest.raises(RequestError, match="--benchmark"):
        score.parsing(npz("P", **flat), npz("U", **flat))
    with pytest.raises(RequestError, match=r"U\.npz: classes is background; background and at least one more"):
        score.parsing(npz("P", **flat), npz("U", **flat, classes=["background"]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="holds no PNG"):
        score.parsing(tmp_path / "empty", targets)
    people = npz("V", **flat, classes=["background", "skin"], names=["a", "c"], subjects=["x", "y"])
    with pytest.raises(RequestError, match="`names` are not those of its pictures, 'b' first"):
        score.parsing(npz("P", **flat), people)


def test_classes_people_and_groups_of_masks_that_are_empty_or_there_twice_are_refused(npz: Files) -> None:
    """As those of arrays: one name for two classes would be one score for both."""
    flat = {"a": np.zeros((4, 4), np.uint8), "b": np.ones((4, 4), np.uint8)}
    good = {"classes": ["background", "skin"], "names": ["a", "b"], "subjects": ["x", "y"], "groups": ["m", "f"]}

    def refused_masks(message: str, **beside: object) -> None:
        with pytest.raises(RequestError, match=message):
            score.parsing(npz("P", **flat), npz("T", **flat, **{**good, **beside}))

    assert score.parsing(npz("P", **flat), npz("T", **flat, **good)).result.counts["people"] == 2
    refused_masks(r"T\.npz: classes names 'skin' twice", classes=["background", "skin", "hair", "skin"])
    refused_masks(r"T\.npz, classes, number 1: is empty", classes=["background", ""])
    refused_masks(r"T\.npz, groups, row 0 \(a\): is empty", groups=["", "x"])
    refused_masks(r"T\.npz, subjects, row 1 \(b\): is empty", subjects=["x", ""])
    refused_masks(r"T\.npz: groups has 3 rows, there are 2 names", groups=["m", "f", "m"])
    refused_masks(r"T\.npz: subjects is float64", subjects=[0.5, 1.5])
    with pytest.raises(RequestError, match=r"T\.npz: groups needs an array `names`"):
        score.parsing(npz("P", **flat), npz("T", **flat, classes=good["classes"], groups=["m", "f"]))


def test_faces_painted_white_are_refused_and_not_left_out_of_the_score(npz: Files) -> None:
    """255 is not scored: a mask of 0 and 255 would be one of background alone."""
    face = (np.arange(16).reshape(4, 4) % 2).astype(np.uint8)
    with pytest.raises(RequestError, match=r"T\.npz, b: holds 0 and 255 only, and 255 is not scored"):
        score.parsing(npz("P", a=face, b=face), npz("T", a=0 * face, b=255 * face, classes=["background", "face"]))
    with pytest.raises(RequestError, match=r"T\.npz, b: holds 0 and 255 only"):
        score.parsing(npz("P", a=face, b=face), npz("T", a=face, b=255 * face, classes=["background", "face"]))
    beside = face.copy()
    beside[0, 0] = 255
    found = score.parsing(npz("P", a=face, b=face), npz("T", a=beside, b=255 * face, classes=["background", "face"])).result
    assert found.scores["f1:face"].value == 1 and found.counts["unlabelled_pixels"] == 9


def test_people_and_groups_of_masks_are_read_beside_them(npz: Files) -> None:
    flat = {f"p{at}": (np.arange(16).reshape(4, 4) + at).astype(np.uint8) % 2 for at in range(4)}
    beside = {"classes": ["background", "skin"], "names": ["p1", "p0", "p3", "p2"], "subjects": list("xxyy"), "groups": list("mfmf")}
    found = score.parsing(npz("P", **flat), npz("T", **flat, **beside)).result
    assert found.counts["people"] == 2 and found.counts["pictures|f"] == 2 and found.scores["f1_1_classes|m"].value == 1
    assert score.parsing(npz("P", **flat, **beside), npz("T", **flat)).result == found, "or beside the answers, as of any other protocol"


def test_no_score_depends_on_the_order_of_a_file(npz: Files) -> None:
    random = np.random.default_rng(0)
    names, truth, predicted = np.array([f"n{at}" for at in range(30)]), random.integers(0, 3, 30), random.integers(0, 3, 30)
    order, other = random.permutation(30), random.permutation(30)
    classes = ["x", "y", "z"]
    one = score.classification(npz("P", names=names, values=predicted, classes=classes), npz("T", names=names, values=truth, classes=classes))
    two = score.classification(npz("P", names=names[order], values=predicted[order], classes=classes), npz("T", names=names[other], values=truth[other], classes=classes))
    assert one.result == two.result
    vectors, pairs = random.normal(size=(30, 4)), [f"n{left},n{right},{left % 2},{left % 3}\n" for left, right in enumerate(random.permutation(30)) if left < right]
    lists = [npz("E", names=names, embeddings=vectors).with_name(f"{at}.csv") for at in range(2)]
    for file, rows in zip(lists, (pairs, pairs[::-1]), strict=True):
        file.write_text("left,right,same,fold\n" + "".join(rows))
    turned = npz("F", names=names[order], embeddings=vectors[order])
    one, two = score.verification(npz("E", names=names, embeddings=vectors), lists[0]), score.verification(turned, lists[1])
    assert one.result.scores == two.result.scores


def test_an_attribute_that_says_no_as_celeba_does_is_refused_whatever_the_others_say(npz: Files) -> None:
    classes = ["bald", "male"]
    said = npz("P", names=list("abcd"), values=np.ones((4, 2)), classes=classes)
    with pytest.raises(RequestError, match=r"T\.npz, values, row 1 \(b\): -1 for bald and nowhere 0: write 0 for no, and NaN for unknown"):
        score.attributes(said, npz("T", names=list("abcd"), values=[[1, 1], [-1, 0], [-1, 1], [-1, 0]], classes=classes))
    found = score.attributes(said, npz("T", names=list("abcd"), values=[[1, 1], [np.nan, 0], [np.nan, -1], [np.nan, 0]], classes=classes)).result
    assert found.scores["accuracy:bald"].value == 1 and found.scores["accuracy:male"].value == 1 / 3
