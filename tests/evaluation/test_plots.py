"""Plots of scores: the numbers are beside the picture, and are those that the scores are read from."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polyface import cli
from polyface.evaluation import plots
from polyface.evaluation.protocols.result import Curve, Result, curve_of_errors, curve_of_ranks, curve_of_roc
from polyface.metrics.verification import roc

Files = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("few_draws")


def rows_of(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as stream:
        return list(csv.DictReader(stream))


def test_an_error_distribution_is_drawn_and_written(npz: Files, tmp_path: Path) -> None:
    names, errors = np.arange(12), np.array([0, 1, 1, 2, 3, 3, 3, 4, 5, 8, 13, 21])
    files = ["--predictions", str(npz("P", names=names, values=30 + errors)), "--targets", str(npz("T", names=names, values=[30] * 12))]
    assert cli.run(["score", "age", *files, "--plot", str(tmp_path / "out" / "age.png")]) == 0
    assert (tmp_path / "out" / "age.png").read_bytes().startswith(b"\x89PNG")
    rows = rows_of(tmp_path / "out" / "age.csv")
    assert [float(row["error"]) for row in rows] == errors.tolist() and {(row["protocol"], row["curve"]) for row in rows} == {("age", "errors")}
    again = ["score", "age", *files, "--plot", str(tmp_path / "out" / "age.png"), "--json", str(tmp_path / "out" / "age.json")]
    assert cli.run(again) == 0, "a plot may be drawn again, and stand beside the report"
    for row in rows:
        assert float(row["share"]) <= np.mean(errors <= float(row["error"])) + 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_a_roc_is_drawn_through_observed_points_only(seed: int) -> None:
    random = np.random.default_rng(seed)
    same = random.random(5000) < 0.2
    scores = np.round(random.normal(size=5000) + same, 2)
    curve = curve_of_roc(roc(scores, same))["roc"]
    assert (np.diff(curve.x) >= 0).all() and (np.diff(curve.y) >= 0).all() and (curve.x[-1], curve.y[-1]) == (1, 1)
    points = {(float(np.mean(scores[~same] >= t)), float(np.mean(scores[same] >= t))) for t in [*np.unique(scores), np.inf]}
    assert all(any(abs(x - far) + abs(y - tar) < 1e-12 for far, tar in points) for x, y in zip(curve.x, curve.y, strict=True))
    assert curve_of_roc(roc(scores, np.ones(5000, bool))) == {}


def test_a_face_that_was_not_found_never_comes_under_the_curve() -> None:
    curve = curve_of_errors(np.array([0.2, np.inf, 0.1, 0.2]), "")
    assert (curve.x.tolist(), curve.y.tolist()) == ([0.1, 0.2, 0.2], [0.25, 0.5, 0.75])


def test_a_cmc_says_who_is_found_among_the_first() -> None:
    curve = curve_of_ranks(np.array([1, 1, 2, 4, 90]), 3)
    assert (curve.x.tolist(), curve.y.tolist()) == ([1, 2, 3], [0.4, 0.6, 0.6])


def test_a_roc_of_zeros_and_one_of_one_point_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(plots, "png", lambda figure: shown.extend(figure.axes) or b"")
    curves = {"nobody": Curve("roc", np.array([0, 0.01, 1.0]), np.zeros(3)), "one": Curve("roc", np.array([0, 0.5]), np.array([0, 0.7]))}
    plots.write_plot(Result("drawn", {}, {}, {}, {}, curves), tmp_path / "r.png")
    nobody, one = shown[0].lines
    assert nobody.get_ydata().tolist() == [0, 0] and shown[0].get_ylim()[0] < 0
    assert one.get_xdata().tolist() == [0.5] and one.get_marker() == "o" and nobody.get_marker() == "None"


def test_roc_and_cmc_of_templates_are_in_one_picture(npz: Files, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = [f"{part}/{person}_{at}.jpg" for person in range(6) for part, at in (("Probe", 0), ("Gallery_Match", 1))] + [
        f"Gallery_Distractor/{at}.jpg" for at in range(9)
    ]
    embeddings = npz("E", names=names, embeddings=random.normal(size=(len(names), 4)))
    assert cli.run(["score", "tinyface", "--embeddings", str(embeddings), "--plot", str(tmp_path / "t.png")]) == 0
    rows = rows_of(tmp_path / "t.csv")
    assert [row["rank"] for row in rows] == [str(k) for k in range(1, 16)] and float(rows[-1]["found"]) == 1


def test_what_cannot_be_drawn_is_refused_before_anything_is_scored(npz: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    files = ["--predictions", str(npz("P", names=[1], values=[30])), "--targets", str(npz("T", names=[1], values=[31]))]
    assert cli.run(["score", "age", *files, "--plot", str(tmp_path / "age.svg")]) == 2
    captured = capsys.readouterr()
    assert "age.svg: a plot is a .png" in captured.err and captured.out == ""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.run(["score", "age", *files, "--plot", str(tmp_path / "age.png")]) == 2
    captured = capsys.readouterr()
    assert "pip install 'polyface[data]'" in captured.err and captured.out == ""
    assert cli.run(["score", "age", *files]) == 0


def test_no_plot_is_written_over_a_file_that_is_read_or_written_too(npz: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    embeddings = str(npz("E", names=list("abc"), embeddings=np.eye(3)))
    tables = {"ages.csv": "names,values\na,1\nb,2\n", "pairs.csv": "left,right,same\na,b,1\na,c,0\n", "IJB/meta/ijbb_1N_probe_mixed.csv": "TEMPLATE_ID,SUBJECT_ID\n1,1\n"}
    for file, content in tables.items():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(content)
    Path("picture.png").symlink_to("ages.csv")

    def refused(*arguments: str) -> str:
        assert cli.run(["score", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and {file: Path(file).read_text() for file in tables} == tables
        return captured.err

    ages = ("age", "--predictions", "ages.csv", "--targets", "ages.csv")
    said = "ages.csv: the numbers of the plot ages.png would be written over it"
    assert said in refused(*ages, "--plot", "ages.png")
    assert said in refused("pose", *ages[1:], "--plot", "ages.png") and said in refused("landmarks", *ages[1:], "--plot", "ages.png")
    assert f"numbers of the plot {tmp_path}/ages.png" in refused(*ages, "--plot", f"{tmp_path}/ages.png"), "however the file is named"
    assert "ages.csv: the plot picture.png would be written over it" in refused(*ages, "--plot", "picture.png")
    assert "o.csv: the numbers of the plot o.png" in refused(*ages, "--json", "o.csv", "--plot", "o.png")
    assert "o.png: the plot o.png" in refused(*ages, "--json", "o.png", "--plot", "o.png")
    assert "pairs.csv: the numbers" in refused("verification", "--embeddings", embeddings, "--pairs", "pairs.csv", "--plot", "pairs.png")
    assert "ages.csv: the numbers" in refused("tinyface", "--embeddings", "ages.csv", "--plot", "ages.png")
    for option in ("--distractors", "--probe-noises"):
        assert "ages.csv: the numbers" in refused("megaface", "--probes", embeddings, option, "ages.csv", "--plot", "ages.png")
    for meta in ("IJB", "IJB/meta"):
        assert "ijbb_1N_probe_mixed.csv: the numbers" in refused("ijb", "--embeddings", embeddings, "--meta", meta, "--plot", "IJB/meta/ijbb_1N_probe_mixed.png")
