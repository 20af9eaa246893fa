import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from polyface import __version__, cli, tasks
from polyface.errors import InputError, RequestError, RunError
from polyface.images.align import Crop
from polyface.images.detect import load_detector
from polyface.inference import card as cards
from polyface.synth.write import write

COMMANDS = [
    "demo",
    "analyze",
    "compare",
    "embed",
    "find",
    "people",
    "serve",
    "info",
    "train",
    "evaluate",
    "calibrate",
    "export",
    "reproduce",
    "datasets",
    "score",
    "synth",
]


def polyface(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "polyface", *map(str, arguments)], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers the same of every face: all logits 0, all points in one place."""
    folder = tmp_path_factory.mktemp("model")
    crop = Crop()
    score = cards.Score(task="age", dataset="drawn", split="test", metric="MAE", value=7.25, n=40, chance=20.0)
    card = cards.Card(
        name="flat",
        created="2026-11-24",
        crop=cards.entry_of_crop(crop),
        tasks={task.name: cards.entry_of_task(task) for task in tasks.TASKS},
        data=(cards.Data(name="drawn", images=3, terms="none"),),
        scores=(score,),
        limits=("children",),
        licence="for research only",
        trained_on_drawings=True,
    )
    cards.write_card(folder / "card.json", card)
    nodes, constants = [helper.make_node("Shape", ["crops"], ["n"], start=0, end=1)], []
    for task in tasks.TASKS:
        constants.append(numpy_helper.from_array(np.array(task.shape(crop.size), np.int64), f"{task.name}_sides"))
        nodes.append(helper.make_node("Concat", ["n", f"{task.name}_sides"], [f"{task.name}_shape"], axis=0))
        nodes.append(helper.make_node("ConstantOfShape", [f"{task.name}_shape"], [task.name]))
    outputs = [helper.make_tensor_value_info(task.name, TensorProto.FLOAT, ["n", *task.shape(crop.size)]) for task in tasks.TASKS]
    graph = helper.make_graph(nodes, "flat", [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", 128, 128, 3])], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder with a portrait, a picture without a face, and a broken one."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    portrait = pytest.importorskip("skimage.data").astronaut()
    assert cv2.imwrite(str(folder / "astronaut.jpg"), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    assert cv2.imwrite(str(folder / "grey.png"), np.full((80, 100, 3), 128, np.uint8))
    (folder / "page.jpg").write_text("<html>")
    return folder


def test_help_lists_every_command() -> None:
    assert sorted(COMMANDS) == sorted(name for name in cli.app if not name.startswith("-"))
    done = polyface("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in done.stdout


@pytest.mark.parametrize("command", [*COMMANDS, "datasets list", "datasets test", "datasets align", "datasets scan", "datasets pack", "synth preview", "synth write"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture) -> None:
    assert cli.run([*command.split(), "--help"]) == 0
    assert f"polyface {command}" in capsys.readouterr().out


def test_a_wrong_option_names_the_help_of_its_command(capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["analyze", "a.jpg", "--oot", "x"]) == RequestError.exit_status
    assert "did you mean --out?" in (said := capsys.readouterr().err).lower() and "(polyface analyze --help)" in said


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_analyze_answers_on_real_photographs_from_end_to_end(model: Path, photographs: Path) -> None:
    done = polyface("analyze", photographs, "--model", model)
    assert done.returncode == InputError.exit_status
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(line["image"]).name for line in lines] == ["astronaut.jpg", "grey.png", "page.jpg"]
    face, without, broken = lines
    x0, y0, x1, y1 = face["box"]
    assert x0 < 224 < x1 and y0 < 115 < y1  # her nose
    assert face["detector"] == load_detector().name
    assert face["notes"] == ["trained on drawings"]
    assert "parsing" not in face and "identity" not in face
    assert len(face["landmarks"]) == 68 and len(face["attributes"]) == 40
    assert without == {"image": str(photographs / "grey.png"), "faces": 0}
    assert list(broken) == ["image", "error"]
    said = done.stderr.splitlines()
    assert said[0].startswith("polyface: model flat@") and "for research only" in said[0]
    assert sum("page.jpg: a web page" in line for line in said) == 1
    assert said[-1] == "polyface: 1 face on 2 pictures; 1 refused"


def test_out_takes_answers_and_masks_and_stdout_the_table(model: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (photographs / "page.jpg").unlink()
    out = tmp_path / "out"
    assert cli.run(["analyze", str(photographs), "--model", str(model), "--out", str(out)]) == 0
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert list(lines[0])[-1] == "model"
    mask = cv2.imread(str(out / lines[0]["parsing"]["png"]), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (512, 512) and mask.dtype == np.uint8
    assert sorted(path.name for path in out.iterdir()) == ["answers.jsonl", "astronaut.0.parsing.png"]
    table = capsys.readouterr().out
    assert "astronaut.jpg" in table and "none" in table and "{" not in table


def test_pictures_of_one_name_in_two_folders_do_not_overwrite_each_other(model: Path, photographs: Path, tmp_path: Path) -> None:
    (photographs / "other").mkdir()
    (photographs / "other" / "astronaut.jpg").write_bytes((photographs / "astronaut.jpg").read_bytes())
    assert cli.run(["analyze", f"{photographs}/**/*.jpg", "--model", str(model), "--tasks", "parsing", "--out", str(tmp_path / "out")]) == 1
    masks = [json.loads(line).get("parsing") for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    names = {mask["png"] for mask in masks if mask}
    assert names == {"astronaut.0.parsing.png", "astronaut-2.0.parsing.png"}
    assert all((tmp_path / "out" / name).is_file() for name in names)


def test_pictures_with_the_longest_names_get_masks_and_pictures_of_their_own(model: Path, photographs: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for last in "ab":
        shutil.copy(photographs / "astronaut.jpg", many / f"{'顔' * 83}{last}.jpg")
    assert cli.run(["analyze", str(many), "--model", str(model), "--tasks", "parsing", "--pictures", "--out", str(tmp_path / "out")]) == 0
    masks = [json.loads(line)["parsing"]["png"] for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert len(set(masks)) == 2 and all((tmp_path / "out" / name).is_file() and name.startswith("顔" * 60) for name in masks)
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 2


def test_annotated_pictures_are_written_beside_the_answers(model: Path, photographs: Path, tmp_path: Path) -> None:
    assert cli.run(["analyze", str(photographs / "astronaut.jpg"), "--model", str(model), "--pictures", "--out", str(tmp_path / "out")]) == 0
    drawn = cv2.imread(str(tmp_path / "out" / "astronaut.jpg"))
    plain = cv2.imread(str(photographs / "astronaut.jpg"))
    assert drawn is not None and (drawn.shape != plain.shape or np.abs(drawn.astype(int) - plain).max() > 50)


@pytest.fixture
def clip(photographs: Path) -> Path:
    """Her portrait for a second, at 10 frames per second, moving to the right."""
    portrait = cv2.resize(cv2.imread(str(photographs / "astronaut.jpg")), (320, 320))
    writer = cv2.VideoWriter(str(photographs / "clip.mp4"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (320, 320))
    for at in range(10):
        writer.write(np.roll(portrait, 4 * at, axis=1))
    writer.release()
    return photographs / "clip.mp4"


def test_photographs_and_videos_are_answered_in_one_call(model: Path, photographs: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (photographs / "cut.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    (photographs / "empty.mov").write_bytes(b"")
    out = tmp_path / "out"
    arguments = ["--model", str(model), "--tasks", "age,gender", "--out", str(out), "--pictures", "--report", "--every", "0.2s"]
    assert cli.run(["analyze", str(photographs), *arguments]) == InputError.exit_status
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert [Path(line["image"]).name for line in lines] == ["astronaut.jpg", *["clip.mp4"] * 5, "cut.mp4", "empty.mov", "grey.png", "page.jpg"]
    frames = lines[1:6]
    assert [(line["frame"], line["time"], line["track"], line["face"]) for line in frames] == [(2 * at, round(0.2 * at, 4), 0, 0) for at in range(5)]
    assert [line["error"].partition(": ")[2] for line in lines if "error" in line] == [
        "no frame can be decoded: cut short, its end is missing", "empty", "a web page, not a picture",
    ]  # fmt: skip
    said = capsys.readouterr().err.splitlines()
    assert sum("cut.mp4: " in line for line in said) == sum("empty.mov: " in line for line in said) == 1
    assert said[-1] == f"polyface: 6 faces on 2 pictures and 5 frames of 1 video; 3 refused; answers in {out / 'answers.jsonl'}"
    assert sorted(path.name for path in out.iterdir()) == ["answers.jsonl", "astronaut.jpg", "clip.mp4", "grey.jpg", "report.html"]
    drawn = cv2.VideoCapture(str(out / "clip.mp4"))
    shown = [drawn.read()[1] for _ in range(5)]
    assert not drawn.read()[0] and drawn.get(cv2.CAP_PROP_FPS) == 5
    assert all(picture.shape == (640, 640, 3) for picture in shown)
    assert (out / "report.html").read_text().count("<article") == 2  # of the video one face, where it is seen best


def test_masks_of_a_video_are_written_where_they_are_asked_for(model: Path, clip: Path, tmp_path: Path) -> None:
    assert cli.run(["analyze", str(clip), "--model", str(model), "--out", str(tmp_path / "some"), "--every", "5"]) == 0
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["answers.jsonl"]
    assert cli.run(["analyze", str(clip), "--model", str(model), "--out", str(tmp_path / "all"), "--every", "5", "--tasks", "parsing"]) == 0
    masks = [json.loads(line)["parsing"]["png"] for line in (tmp_path / "all" / "answers.jsonl").read_text().splitlines()]
    assert masks == ["clip.000000.0.parsing.png", "clip.000005.0.parsing.png"]
    assert cv2.imread(str(tmp_path / "all" / masks[0]), cv2.IMREAD_UNCHANGED).shape == (320, 320)


def test_annotated_pictures_never_replace_what_they_are_made_of(model: Path, photographs: Path, clip: Path, capsys: pytest.CaptureFixture) -> None:
    before = {path.name: path.read_bytes() for path in photographs.iterdir()}
    assert cli.run(["analyze", str(clip), "--model", str(model), "--pictures", "--out", str(photographs)]) == RequestError.exit_status
    assert "give another --out" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in photographs.iterdir()} == before


def test_what_an_earlier_run_wrote_is_not_looked_at(model: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photographs)
    arguments = ["--model", str(model), "--tasks", "parsing", "--pictures", "--out", "out"]
    said = []
    for path in (".", ".", "**/*.*"):
        assert cli.run(["analyze", path, *arguments]) == InputError.exit_status
        said.append(sorted(json.loads(line)["image"] for line in Path("out/answers.jsonl").read_text().splitlines()))
    assert said[0] == said[1] == said[2] == ["astronaut.jpg", "grey.png", "page.jpg"]
    assert cli.run(["analyze", "out/astronaut.jpg", "--model", str(model), "--tasks", "age"]) == 0


def test_a_run_that_is_interrupted_before_its_first_answer_leaves_those_of_another(
    model: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["analyze", str(photographs / "astronaut.jpg"), "--model", str(model), "--tasks", "age", "--out", str(tmp_path / "out")]
    assert cli.run(arguments) == 0
    before = (tmp_path / "out" / "answers.jsonl").read_bytes()

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("polyface.inference.analyze.Analyzer.analyze_many", interrupted)
    assert cli.run(arguments) == 130
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {"answers.jsonl": before}


@pytest.mark.parametrize("command", ["pack", "align"])
def test_a_set_that_cannot_be_listed_leaves_the_others_their_turn(tmp_path: Path, capsys: pytest.CaptureFixture, command: str) -> None:
    write("utkface", tmp_path / "utkface", people=3, photos=1, seed=0)
    (tmp_path / "raf").mkdir()
    (tmp_path / "bad.toml").write_text('name = "raf"\ntitle = "r"\nterms = ""\ntable = "t.csv"\npicture = "file"\n[tasks.age]\ncolumn = "years"\n')
    (tmp_path / "raf" / "t.csv").write_text("file\na.jpg\n")
    bad = str(tmp_path / "bad.toml")
    for names, status in (([bad, "utkface"], 1), (["utkface", bad], 1), ([bad], 2)):
        assert cli.run(["datasets", command, *names, "--data", str(tmp_path)]) == status
        said = capsys.readouterr()
        assert "no column 'years'" in said.err and ("utkface" in said.out + said.err) == (len(names) == 2)


def test_a_video_is_not_compared(model: Path, clip: Path, photographs: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["compare", str(clip), str(photographs / "astronaut.jpg"), "--model", str(model)]) != 0
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["analyz"], 'Unknown command "analyz". Did you mean "analyze"?'),
        (["analyze"], "PATHS requires an argument"),
        (["analyze", "a.jpg", "--taks", "age"], "Did you mean --tasks?"),
        (["info", "a", "b"], "b: more than this command takes"),
        (["export", "nowhere"], "nowhere: no such folder"),
        (["train", "first", "--resume", "nowhere"], "--resume nowhere: no such folder"),
        (["train", "first", "--set", "balance=equal"], "'equal' in balance; known are dwa, fixed, uncertainty"),
        (["analyze", "nothing.jpg"], "no picture to look at"),
        (["analyze", "a.jpg", "--tasks", "agee"], "no task 'agee'; did you mean 'age'?"),
        (["analyze", "a.jpg", "--tasks", ","], "',' names nothing"),
        (["analyze", "a.jpg", "--tasks", "parsing"], "give --out DIR"),
        (["analyze", "a.jpg", "--tasks", "age,parsing"], "parsing is answered by pictures; give --out DIR"),
        (["analyze", "a.jpg", "--pictures"], "--pictures needs --out DIR"),
        (["analyze", "a.mp4", "--every", "often"], "say a whole number of frames, as 10, or a time in seconds, as 0.5s"),
        (["analyze", "a.jpg", "--detector", "nowhere.onnx"], "nowhere.onnx: "),
        (["info", "--json", "--markdown"], "--json or --markdown, not both"),
        (["synth", "preview", "--out", "a.xyz", "--people", "1", "--photos", "1"], "a.xyz: pictures are written as .jpg or .png"),
        (["synth", "preview", "--people", "0"], "must be at least 1"),
    ],
)
def test_a_wrong_request_is_one_line_and_status_2(arguments: list[str], said: str, model: Path, capsys: pytest.CaptureFixture) -> None:
    given = [*arguments, "--model", str(model)] if arguments[0] == "analyze" and len(arguments) > 1 else arguments
    assert cli.run(given) == RequestError.exit_status
    output = capsys.readouterr()
    assert output.out == ""
    assert said in output.err.splitlines()[-1]
    assert all(line.startswith("polyface: ") for line in output.err.splitlines())


def test_info_prints_the_card(model: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["info", str(model)]) == 0
    words = capsys.readouterr().out
    assert all(said in words for said in ("flat@", "for research only", "trained on drawings", "How old does the person look?", "7.25", "children"))


@pytest.mark.parametrize("how", [[], ["--markdown"]])
def test_the_words_of_a_card_move_no_cursor(how: list[str], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copytree(model, tmp_path / "model")
    hostile = {name: "\x1b]0;owned\x07" for name in ("name", "created", "commit", "licence", "compared")}
    card = msgspec.structs.replace(cards.read_card(model / "card.json"), **hostile, limits=("\x9b2J",), task_notes={"age": "\x1b[2J"})  # type: ignore[arg-type]
    cards.write_card(tmp_path / "model" / "card.json", card)
    assert cli.run(["info", str(tmp_path / "model"), *how]) == 0
    found = capsys.readouterr()
    assert "?]0;owned?" in found.out and "?2J" in found.out and all(letter.isprintable() or letter == "\n" for letter in found.out + found.err)


def test_info_as_json_is_the_card(model: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["info", str(model), "--json"]) == 0
    assert cards.card_of_json(capsys.readouterr().out.encode(), "stdout") == cards.read_card(model / "card.json")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> list[str]:
    """The arguments of a command that fails so."""
    module = ModuleType("polyface.demo")

    def demo(out: Path, minutes: float) -> None:
        raise error

    module.demo = demo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "polyface.demo", module)
    return ["demo"]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("a.jpg: empty"), 1, "polyface: a.jpg: empty"),
        (RequestError("no\nsuch thing"), 2, "polyface: no such thing"),
        (RunError("disk full"), 3, "polyface: disk full"),
        (KeyboardInterrupt(), 130, "polyface: interrupted"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "polyface: this needs torch: pip install 'polyface[train]'"),
        (ZeroDivisionError("by\nzero"), 3, "polyface: ZeroDivisionError: by zero (POLYFACE_DEBUG=1 shows where)"),
    ],
)
def test_what_goes_wrong_is_one_line_and_its_status(error: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.delenv("POLYFACE_DEBUG", raising=False)
    assert cli.run(failing(monkeypatch, error)) == status
    assert capsys.readouterr().err.splitlines() == [said]


@pytest.mark.parametrize("command", [["calibrate"], ["evaluate", "--card"]])
def test_what_a_card_is_written_with_is_missed_before_anything_is_measured(
    command: list[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert cli.run([command[0], str(model), *command[1:], "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "polyface: this needs onnx: pip install 'polyface[train]'\n"


def test_debugging_shows_where_an_unexpected_error_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYFACE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.run(failing(monkeypatch, ZeroDivisionError()))


def test_a_reader_that_leaves_is_no_error(model: Path, photographs: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "polyface", "info", str(model), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.wait() == cli.BROKEN_PIPE
        assert process.stderr.read() == ""


@pytest.mark.skipif(os.name != "posix", reason="a shell's")
def test_closed_outputs_are_no_error(model: Path) -> None:
    assert subprocess.run(["sh", "-c", 'exec "$0" -m polyface info "$1" >&- 2>&-', sys.executable, str(model)], check=False).returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="nobody else sends SIGTERM")
def test_answers_of_a_run_that_is_ended_from_outside_are_there(model: Path, photographs: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(300):
        shutil.copy(photographs / "astronaut.jpg", many / f"{number:03d}.jpg")
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-m", "polyface", "analyze", str(many), "--model", str(model), "--out", str(out)], stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not ((part := out / "answers.part.jsonl").exists() and part.stat().st_size):
            time.sleep(0.05)
        process.terminate()
        assert process.wait() == cli.TERMINATED
    lines = part.read_text().splitlines()
    assert 0 < len(lines) < 300 and all(json.loads(line) for line in lines) and not (out / "answers.jsonl").exists()


def test_answers_are_utf_8_whatever_the_language_of_the_machine(model: Path, photographs: Path, tmp_path: Path) -> None:
    name = tmp_path / "Иван 写真.jpg"
    shutil.copy(photographs / "astronaut.jpg", name)
    arguments = [sys.executable, "-m", "polyface", "analyze", str(name), "--model", str(model)]
    done = subprocess.run(arguments, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=True)
    assert json.loads(done.stdout.decode("utf-8").splitlines()[0])["image"] == str(name)


def test_drawn_people_are_previewed(tmp_path: Path) -> None:
    assert cli.run(["synth", "preview", "--out", str(tmp_path / "drawn.png"), "--people", "1", "--photos", "2"]) == 0
    assert cv2.imread(str(tmp_path / "drawn.png")).shape == (192, 384, 3)


def test_the_data_sets_are_listed_with_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "utkface").mkdir()
    assert cli.run(["datasets", "list", "--data", str(tmp_path)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert " yes " in lines["utkface"] and " yes " not in lines["fairface"] and "detector only" in lines["wider"]
    assert cli.run(["datasets", "list", "--data", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"polyface: {tmp_path / 'nowhere'}: no such folder\n"


CLINIC = """
name = "clinic"
title = "Faces of the clinic"
terms = "private"
table = "faces.csv"
picture = "file"
tasks.age.column = "years"
"""


def test_rows_that_a_set_of_ones_own_refuses_are_said_where_it_is_tested(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for number in range(30):
        draw(tmp_path / "clinic" / f"{number}.png", number)
    rows = [",40\n", *(f"{number}.png,{'240' if number == 4 else '40'}\n" for number in range(30))]
    (tmp_path / "clinic" / "faces.csv").write_text("file,years\n" + "".join(rows))
    (tmp_path / "clinic.toml").write_text(CLINIC)
    assert cli.run(["datasets", "test", str(tmp_path / "clinic.toml"), "--data", str(tmp_path)]) == InputError.exit_status
    said = capsys.readouterr()
    assert sorted(said.out.splitlines()) == [  # that of no split once
        "clinic: faces.csv, row 2: no picture in column 'file'",
        "clinic: faces.csv, row 7: age: 240.0 years is outside 0 to 116",
    ]
    assert "keeps the contract; 2 rows are refused" in said.err


@pytest.mark.parametrize(("column", "line"), [("years", "run `polyface datasets align {own}`"), ("yaers", "faces.csv: no column 'yaers'; did you mean 'years'?")])
def test_a_set_of_ones_own_that_cannot_be_trained_on_is_a_wrong_request(column: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for number in range(30):
        draw(tmp_path / "clinic" / f"{number}.png", number)
    (tmp_path / "clinic" / "faces.csv").write_text("file,years\n" + "".join(f"{number}.png,40\n" for number in range(30)))
    own = tmp_path / "clinic.toml"
    own.write_text(CLINIC.replace("years", column))
    (tmp_path / "r.toml").write_text(f'name = "r"\nsteps = 1\ndata = [{{ set = "{own}" }}]\n')
    assert cli.run(["train", str(tmp_path / "r.toml"), "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == RequestError.exit_status
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"polyface: {tmp_path / 'clinic'}: ") and said.endswith(line.format(own=own)) and not (tmp_path / "run").exists()


def test_stats_of_a_set_of_ones_own_are_given_by_its_file_and_one_that_cannot_be_listed_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for number in range(30):
        draw(tmp_path / "clinic" / f"{number}.png", number)
    (tmp_path / "clinic" / "faces.csv").write_text("file,years\n" + "".join(f"{number}.png,40\n" for number in range(30)))
    own = tmp_path / "clinic.toml"
    own.write_text(CLINIC)
    assert cli.run(["datasets", "stats", str(own), "--data", str(tmp_path)]) == 0
    assert "clinic    train" in capsys.readouterr().out
    own.write_text(CLINIC + "tasks.age.ranges = { old = [65, 116] }\n")
    assert cli.run(["datasets", "stats", str(own), "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("\nhow often each word is in train\ndata set  task  words\nclinic    age   old 0\n")
    own.write_text(CLINIC.replace("years", "yaers"))
    assert cli.run(["datasets", "stats", str(own), "--data", str(tmp_path)]) == InputError.exit_status
    assert "clinic train: cannot be listed (" in capsys.readouterr().err


STATED = """
import numpy as np
from polyface.datasets import Alignment, Dataset, Listing, Record
from polyface.errors import InputError
from polyface.images.read import Source
from polyface.labels import Ranges

FACE = Alignment(np.array([[6.0, 6.0], [10.0, 6.0], [8.0, 8.0], [6.5, 10.0], [9.5, 10.0]]), "stated")


def list_records(root, split):
    records = tuple(Record(name, Source(root, name), {"age": 40}, alignment=FACE) for name in root.names())
    return Listing(records, (), tuple(InputError(f"row {row}: no such age") for row in range(12)))


dataset = Dataset("mine", "Mine", "private", "", {"age": Ranges()}, ("test",), list_records)
"""


def test_evaluate_names_what_it_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    draw(tmp_path / "mine" / "1.png", 1)
    (tmp_path / "mine.py").write_text(STATED)
    assert cli.run(["evaluate", str(model), "--data", str(tmp_path), "--sets", str(tmp_path / "mine.py")]) == InputError.exit_status
    said = capsys.readouterr().err
    assert "mine: row 0: no such age" in said and "row 10" not in said and "mine: and 2 more" in said


def test_scores_are_written_though_nobody_reads_what_is_printed(model: Path, tmp_path: Path, run_unread: Callable[[list[str]], int]) -> None:
    draw(tmp_path / "mine" / "1.png", 1)
    (tmp_path / "mine.py").write_text(STATED)
    shutil.copytree(model, tmp_path / "model")
    arguments = ["evaluate", str(tmp_path / "model"), "--data", str(tmp_path), "--sets", str(tmp_path / "mine.py")]
    assert run_unread([*arguments, "--card", "--json", str(tmp_path / "scores.json")]) == cli.BROKEN_PIPE
    (mine,) = json.loads((tmp_path / "scores.json").read_text())["sets"]
    assert mine["name"] == "mine" and [score["task"] for score in mine["scores"]]
    assert {score.dataset for score in cards.read_card(tmp_path / "model" / "card.json").scores} == {"drawn", "mine"}


def test_scores_of_every_set_of_a_protocol_are_written_though_nobody_reads_what_is_printed(model: Path, tmp_path: Path, run_unread: Callable[[list[str]], int]) -> None:
    for name in ("mine", "other"):
        draw(tmp_path / name / "1.png", 1)
        (tmp_path / f"{name}.py").write_text(STATED.replace('"mine"', f'"{name}"'))
    sets = f"{tmp_path / 'mine.py'},{tmp_path / 'other.py'}"
    arguments = ["evaluate", str(model), "--data", str(tmp_path), "--sets", sets, "--protocol", "age", "--json", str(tmp_path / "out" / "age.json")]
    assert run_unread(arguments) == cli.BROKEN_PIPE
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["age.mine.age.json", "age.other.age.json"]


def test_a_named_set_that_cannot_be_scored_is_no_success(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    whole = STATED.replace("range(12)", "range(0)")
    for name, text in (("mine", whole), ("other", whole.replace("alignment=FACE", "alignment=None").replace('"mine"', '"other"'))):
        draw(tmp_path / name / "1.png", 1)
        (tmp_path / f"{name}.py").write_text(text)
    mine, both = str(tmp_path / "mine.py"), f"{tmp_path / 'mine.py'},{tmp_path / 'other.py'}"
    assert cli.run(["evaluate", str(model), "--data", str(tmp_path), "--sets", mine]) == 0
    assert cli.run(["evaluate", str(model), "--data", str(tmp_path), "--sets", both]) == InputError.exit_status
    assert "other is not scored: " in capsys.readouterr().err


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8))
