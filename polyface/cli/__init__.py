"""The command line: parse, call, print. What a command does is in the rooms; they are imported where they are used, so that --help is there at once."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from polyface import __version__
from polyface.cli import datasets, gallery, reproduce, score, synth
from polyface.cli.info import info
from polyface.cli.options import Data, DetectorFile, Json, Model, loaded, names_in
from polyface.errors import INTERRUPTED, PolyfaceError, RequestError, RunError, reason

BROKEN_PIPE = 141
"""The reader of our output is gone; what a shell reports of a process that SIGPIPE ended."""

TERMINATED = 143
"""Likewise of SIGTERM."""

EXTRA_OF = {
    **dict.fromkeys(("torch", "safetensors", "onnx", "onnxscript"), "train"),
    **dict.fromkeys(("pyarrow", "scipy", "matplotlib"), "data"),
    "skimage": "demo",
    **dict.fromkeys(("fastapi", "uvicorn", "starlette", "python_multipart"), "serve"),
}
"""What to install where a package is missing, which a plain install leaves out."""

TRAINING = (["train"], ["reproduce"], ["demo"])
"""Commands that train, which `main` starts anew."""

app = App(
    name="polyface",
    help="One network for every question about a face. Nothing leaves this machine.",
    help_epilogue="Exit status: 0 all done; 1 done, some inputs were refused; 2 the request was wrong; 3 started and failed; "
    "130 interrupted; 141 nobody reads what is printed; 143 ended by SIGTERM.",
    version=__version__,
    help_format="plaintext",
    default_parameter=Parameter(negative=(), show_default=False),
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
app.command(datasets.app)
app.command(score.app)
app.command(synth.app)
app.command(reproduce.app)
for command in (gallery.embed, gallery.find, gallery.people):
    app.command(command, sort_key=3)
app.command(info, sort_key=4)


def main() -> NoReturn:
    """The command `polyface`. Whoever ends it by SIGTERM, as a batch system or a container does, has what was written ended as well as whoever presses Ctrl-C."""
    if sys.argv[1:2] in TRAINING:
        from polyface import runtime

        runtime.start_anew_for_training()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115 (closed ones are None; for the whole process)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is, whatever the language of the machine
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit status; what goes wrong becomes one line on stderr. POLYFACE_DEBUG=1 shows where an unexpected error comes from."""
    try:
        status = app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return status or 0
    except CycloptsError as error:
        said = f"{' '.join(error.unused_tokens or ())}: more than this command takes" if isinstance(error, UnusedCliTokensError) else str(error)
        return _failed(f"{said} ({' '.join(('polyface', *(error.command_chain or ())))} --help)", RequestError.exit_status)
    except PolyfaceError as error:
        return _failed(str(error), error.exit_status)
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python's own flush at exit must not fail once more
        return BROKEN_PIPE
    except Exception as error:
        if os.environ.get("POLYFACE_DEBUG") == "1":
            raise
        missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        if missing.partition(".")[0] in EXTRA_OF:
            return _failed(f"this needs {missing}: pip install 'polyface[{EXTRA_OF[missing.partition('.')[0]]}]'", RequestError.exit_status)
        return _failed(f"{reason(error)} (POLYFACE_DEBUG=1 shows where)", RunError.exit_status)


def _failed(words: str, status: int) -> int:
    from polyface import terminal

    terminal.say(" ".join(words.split()))
    return status


# Using a model


@app.command(sort_key=1)
def demo(
    *,
    out: Annotated[Path, Parameter(help="Where pictures, the model and answers go.", show_default=True)] = Path("polyface-demo"),
    minutes: Annotated[float, Parameter(help="How long to train.", show_default=True)] = 2.0,
) -> None:
    """Answer on a portrait, then draw data sets, train a network on them, score it and answer with it."""
    from polyface.demo import demo

    demo(out, minutes)


@app.command(sort_key=2)
def analyze(
    *paths: Annotated[str, Parameter(help="Photographs, videos, folders and globs.", required=True)],
    tasks: Annotated[str | None, Parameter(help="Only these, as a,b. All but identity where nothing is said.")] = None,
    model: Model = None,
    detector: DetectorFile = None,
    out: Annotated[Path | None, Parameter(help="Write answers.jsonl and masks here, rather than answers to stdout.")] = None,
    pictures: Annotated[bool, Parameter(help="Write each picture, and each video as a clip without sound, with its answers drawn on it, under --out.")] = False,
    every: Annotated[str, Parameter(help="Which frames of a video: 10 for each tenth, 0.5s for one each half second. All where nothing is said.")] = "1",
    report: Annotated[bool, Parameter(help="Write report.html under --out: every face with its answers, to look through in a browser.")] = False,
) -> int:
    """Answer every question about every face on photographs and videos: one JSON object per face and line, and a table for a person."""
    from polyface import terminal
    from polyface.inference import write

    if pictures and out is None:
        raise RequestError("--pictures needs --out DIR, to write them to")
    if report and out is None:
        raise RequestError("--report needs --out DIR, to write it to")
    analyzer = loaded(model, detector)
    if not report or out is None:
        return write.analyze(analyzer, paths, names_in(tasks), out, pictures, every)
    from polyface.inference import report as reports

    reporting = reports.Reporting(analyzer.engine, analyzer.detector)
    try:
        status = write.analyze(reporting, paths, names_in(tasks), out, pictures, every)
    except BaseException:  # interrupted, it shows what was answered
        if reporting.gathered != reports.Gathered():
            terminal.say(str(reports.write(out, reporting)))
        raise
    print(reports.write(out, reporting))
    return status


@app.command(sort_key=3)
def compare(
    a: Annotated[str, Parameter(help="A photograph.")],
    b: Annotated[str, Parameter(help="Another.")],
    /,
    *,
    far: Annotated[float | None, Parameter(help="How often two people may be called one, such as 0.01: a rate of the model's card.")] = None,
    model: Model = None,
    detector: DetectorFile = None,
    json: Annotated[bool, Parameter(help="The answer as one JSON object.")] = False,
) -> None:
    """The same person on both photographs, different people, or cannot tell: of the foremost face of each, with a probability and the line that was drawn."""
    from polyface import terminal

    found = loaded(model, detector).compare(a, b, far)
    if json:
        print(found.to_json())
    else:
        terminal.tell(found.in_words())


@app.command(sort_key=3)
def serve(
    *,
    port: Annotated[int, Parameter(help="Of this machine's loopback address; 0: any that is free.", show_default=True)] = 8730,
    model: Model = None,
    detector: DetectorFile = None,
) -> None:
    """A page in the browser, on this machine only: drop photographs or use the camera, see faces with their answers, compare two. Nothing is stored."""
    from polyface.inference import detector_card
    from polyface.inference.serve import app as serving

    with serving.listen(port) as listener:
        serving.serve(loaded(model, detector), listener, detector_card.find(detector))


# Making a model


@app.command(sort_key=4)
def train(
    recipe: Annotated[str, Parameter(help="A recipe of the package by name, or a .toml file.")],
    /,
    *,
    data: Data = None,
    out: Annotated[Path | None, Parameter(help="The run folder. runs/NAME, by the recipe's name, where nothing is said.")] = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", help="Change a value of the recipe, as key=value; may be repeated.")] = (),
    resume: Annotated[Path | None, Parameter(help="Continue the run of this folder by its own config.toml, which RECIPE began.")] = None,
) -> None:
    """Train a network by a recipe, on data sets that each answer some of the questions."""
    from polyface import terminal
    from polyface.training import run

    with terminal.progress("steps") as report:
        folder = run.train(recipe, data, out, list(settings), resume, report)
    if os.environ.get("RANK", "0") == "0":  # of torchrun
        print(folder)


@app.command(sort_key=5)
def evaluate(
    model: Annotated[Path, Parameter(help="A model directory, or an .onnx file of ours.")],
    /,
    *,
    data: Data = None,
    sets: Annotated[str | None, Parameter(help="Only these data sets, as a,b. All that are there where nothing is said.")] = None,
    json: Json = None,
    card: Annotated[bool, Parameter(help="Write the scores into the model's card, in place of those of the same tasks and sets.", negative="")] = False,
    protocol: Annotated[
        str | None, Parameter(help="One protocol of `polyface score`: verification, landmarks, parsing, attributes, classification, age or pose.")
    ] = None,
    save: Annotated[Path | None, Parameter(help="With --protocol: write the arrays here, FILE.npz, and the truth beside it, as `polyface score` takes them.")] = None,
) -> int:
    """Score a model on the test splits, each task with its field's metric, beside chance and the best constant answer; or by one protocol, as any other model's arrays.

    `megaface`, `ijb` and `tinyface` are protocols of `polyface score` only. With --protocol verification, --data may also be one of insightface's .bin of pairs, such as
    agedb_30.bin, calfw.bin or cplfw.bin, whose pictures are cut to ArcFace's template.

    With --protocol the arrays are computed (of verification the embeddings of a face and of its mirror image are added, and raw pixels are scored beside them), written,
    and scored by the code of `polyface score`. Of several sets or tasks FILE gets their names before its ending.
    """
    if protocol is not None:
        if card:
            raise RequestError("--card takes the scores of all tasks, and not those of --protocol")
        return _evaluate_protocol(model, protocol, data, names_in(sets), save, json)
    if save is not None:
        raise RequestError("--save needs --protocol, which says what is saved")
    if card and not model.is_dir():
        raise RequestError(f"{model}: --card writes into a model directory, and this is none")
    from polyface import files, terminal
    from polyface.errors import shortened
    from polyface.evaluation.evaluate import evaluate
    from polyface.inference import card as cards
    from polyface.inference import engine

    files.require_writable(json, *([model / "card.json"] if card else []))
    if card:
        cards.require_onnx()
    network = engine.load(model)
    with terminal.progress("scoring") as report:
        said = network.sha256, _lessons(network.card), network.card.made_of
        found = evaluate(network, data, names_in(sets), lambda name, done, total: report(done, total, name), *said)
    if json is not None:
        files.write_atomically(json, found.to_json())
    if card:
        cards.rewrite(model, cards.with_scores(network.card, found.card_scores()))
    terminal.table(found.rows())
    terminal.table(found.group_rows(), title="The worst group of each kind")
    for part in found.sets:
        if part.note:
            terminal.say(f"{part.name}: {part.note}")
        for line in shortened(part.refused):
            terminal.say(f"{part.name}: {line}")
    for name, why in found.skipped.items():
        terminal.say(f"{name} is not scored: {why}")
    return 1 if any(part.refused for part in found.sets) or len(found.sets) < len(names_in(sets) or ()) else 0


@app.command(sort_key=5)
def calibrate(
    model: Annotated[Path, Parameter(help="A model directory.")],
    /,
    *,
    data: Data = None,
    sets: Annotated[str | None, Parameter(help="Only these data sets, as a,b. All that are there where nothing is said.")] = None,
    json: Json = None,
) -> int:
    """Fit how sure a model may be on validation splits, measure it on test splits, and write it into its card: temperatures and sets of answers, by the size
    of the face too, lines between people."""
    from polyface import files, terminal
    from polyface.inference import calibrate as calibration
    from polyface.inference import card as cards

    cards.require_onnx()
    files.require_writable(json, model / "card.json")
    networks = calibration.networks_of(model)
    card = next(iter(networks.values())).card
    with terminal.progress("calibrating") as report:
        learned = [entry.name for entry in card.data]
        found = calibration.calibrate(networks, data, learned, lambda name, done, total: report(done, total, name), card.made_of, names_in(sets))
    if json is not None:
        files.write_atomically(json, found.to_json())
    cards.rewrite(model, cards.with_calibration(card, found.calibration, found.thresholds, found.smaller))
    terminal.table(found.answer_rows())
    if found.smaller:
        terminal.tell("")
        terminal.table(found.smaller_rows(), title="By pixels between the eyes: score (the set holds the truth, in so many answers)")
    if found.thresholds:
        terminal.tell("")
        terminal.table(found.pair_rows())
    for note in (*found.notes, *found.refused):
        terminal.say(note)
    return 1 if found.refused else 0


@app.command(sort_key=6)
def export(
    run: Annotated[Path, Parameter(help="The run folder.")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="The model directory. RUN/model where nothing is said.")] = None,
    int8: Annotated[bool, Parameter(help="Make model.int8.onnx of the model.onnx that is there, and compare them, on pictures of the sets it learned from.")] = False,
    data: Data = None,
) -> None:
    """Write a run's best network as ONNX with its card inside, compared with torch, on validation pictures too of those of its data sets that are there; or that network
    in eight bits. Of a detector's run, detector.onnx. A row of `polyface reproduce ifan` is a run too: OUT/rows/NAME."""
    if not int8:
        from polyface.training import run as runs

        print(runs.export(run, out, data))
        return
    from polyface import terminal
    from polyface.models.quantise import quantise

    with terminal.progress("crops") as report:
        made = quantise(run, data, out, lambda name, done, total: report(done, total, name))
    terminal.table(made.rows())
    print(made.path)


def _evaluate_protocol(model: Path, protocol: str, data: Path | None, sets: list[str] | None, save: Path | None, json: Path | None) -> int:
    from polyface import files, terminal
    from polyface.evaluation.answers import evaluate_protocol
    from polyface.inference import engine

    files.require_writable(json, save)
    network = engine.load(model)
    with terminal.progress("scoring") as report:
        said = _lessons(network.card), network.card.made_of
        found, skipped = evaluate_protocol(network, protocol, data, sets, save, lambda name, done, total: report(done, total, name), *said)
    if json is not None:
        for each in found:
            files.write_atomically(json if len(found) == 1 else json.with_name(f"{json.stem}.{each.name}{json.suffix}"), each.scored.to_json())
    for each in found:
        score.show(each.scored, None, title=each.title)
        for line in (*each.notes, *each.refused, *([f"the same from the saved files: {each.command}"] if each.command else [])):
            terminal.say(f"{each.name}: {line}")
    for name, why in skipped.items():
        terminal.say(f"{name} is not scored: {why}")
    return 1 if any(each.refused for each in found) or (sets and skipped) else 0


def _lessons(card: Any) -> Any:
    """Which sets taught a network who somebody is, by its card."""
    from polyface.evaluation.taught import Lessons

    return Lessons(tuple(entry.name for entry in card.data if entry.subjects), card.strangers)
