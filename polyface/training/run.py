"""`polyface train`: a recipe -> a run folder with the model directory in it."""

from collections.abc import Sequence
from pathlib import Path

import torch

from polyface import datasets, terminal
from polyface.datasets.crops import read_faces
from polyface.errors import InputError, RequestError
from polyface.files import require_writable, sha256_of_lines, write_atomically
from polyface.inference.card import Card, Data, Detector, entry_of_crop
from polyface.models.export import export as export_network
from polyface.models.export import holds, new_card, write_model
from polyface.models.polyface import PolyFace
from polyface.runtime import processors
from polyface.training import detector, loop, parallel
from polyface.training.config import Config, from_table, read_table, to_toml
from polyface.training.examples import Source
from polyface.training.plan import FacePlan


def train(recipe: str, data: Path | None, out: Path | None, settings: Sequence[str] = (), resume: Path | None = None, report: loop.Report | None = None) -> Path:
    """Train a recipe into a run folder (config.toml, log.jsonl, checkpoints/, model/), or go on with one, which that recipe began. Returns the folder.

    Under torchrun all its processes train together; the folder is one that all of them see, and the first writes it. Raises RequestError before anything is trained where
    the recipe, the data or the run folder do not fit.
    """
    with parallel.joined():
        return _train(recipe, data, out, settings, resume, report)


def _train(recipe: str, data: Path | None, out: Path | None, settings: Sequence[str], resume: Path | None, report: loop.Report | None) -> Path:
    if resume and not resume.is_dir():
        raise RequestError(f"--resume {resume}: no such folder")
    table, name = read_table(str(resume / "config.toml") if resume else recipe, settings)
    config: detector.Recipe | Config = detector.from_table(table, name) if table.get("network") == detector.NETWORK else from_table(table, name)
    if resume:
        _check_run(resume, config.name, recipe, settings, out)
    folder = resume or out or Path("runs") / config.name
    if not resume and (folder / "checkpoints").exists():
        raise RequestError(f"{folder}: a run is there already; go on with --resume {folder}, or choose another --out")
    require_writable(folder / "config.toml")
    torch.set_num_threads(config.compute_threads or max(1, processors() // parallel.beside()))
    where = datasets.data_folder(data)
    try:
        plan: detector.DetectorPlan | FacePlan = detector.DetectorPlan(config, where) if isinstance(config, detector.Recipe) else FacePlan(config, where)
    except InputError as error:  # one set that cannot be listed is not the recipe's without it
        raise RequestError(str(error)) from error
    writes = parallel.rank() == 0
    before = {file: file.read_bytes() for file in (folder / "config.toml", folder / "data.json") if resume and writes and file.exists()}
    if writes:
        for note in (*plan.notes, *plan.counts()) if isinstance(plan, FacePlan) else ():
            terminal.say(note)
        write_atomically(folder / "config.toml", to_toml(plan.config if isinstance(plan, FacePlan) else config))
        write_atomically(folder / "data.json", plan.summary())
    try:
        model = loop.run(plan, folder, report)
    except RequestError:  # its checkpoint does not fit what was set: the run is what it was
        for file, content in before.items():
            write_atomically(file, content)
        raise
    if writes:
        write_atomically(folder / "data.json", plan.summary())  # which now knows what could not be read
    if writes and isinstance(config, detector.Recipe):
        detector.export(folder, config)
    elif writes:
        assert isinstance(model, PolyFace) and isinstance(config, Config) and isinstance(plan, FacePlan)
        if holds(folder / "model", model, config.name):
            terminal.say(f"{folder / 'model'}: holds the best of this run already, and stays as it is")
        else:
            write_model(model, card_of(config, model, plan, where), folder / "model", plan.real_crops())
    return folder


def _check_run(folder: Path, name: str, recipe: str, settings: Sequence[str], out: Path | None) -> None:
    """A run goes on by its own config.toml, in its own folder. Raises RequestError where another recipe was asked for, by name, or another folder."""
    asked = read_table(recipe, settings)[0].get("name")
    if asked != name:
        raise RequestError(f"{folder}: a run of {name!r}, and {recipe} is {asked!r}; polyface train {folder / 'config.toml'} --resume {folder} goes on with it")
    if out is not None and out.resolve() != folder.resolve():
        raise RequestError(f"--out {out}: a run goes on in its own folder, {folder}")


def export(folder: Path, out: Path | None = None, data: Path | None = None) -> Path:
    """A run's best network as ONNX, of whichever kind, compared on pictures of its data sets that are in `data`. Returns the model directory, or the detector's file."""
    if (folder / "config.toml").exists():
        table, name = read_table(str(folder / "config.toml"), ())
        if table.get("network") == detector.NETWORK:
            return detector.export(folder, detector.from_table(table, name), out)
    return export_network(folder, out, data)


def card_of(config: Config, model: PolyFace, plan: FacePlan, data: Path) -> Card:
    """What the recipe and the data say of the network; its scores come later."""
    worthless = dict.fromkeys(plan.untaught, "no data set that it learned from answers this, so its answer is worth nothing")
    partly = {name: f"no data set that it learned from has a word for {', '.join(words)}" for name, words in plan.unsaid.items()}
    notes = {name: "; ".join(each[name] for each in (config.notes, partly, worthless) if name in each) for name in (*config.notes, *partly, *worthless)}
    said = {"task_notes": notes, "limits": config.limits, "detector": detector_entry(plan.sources, data), "strangers": config.strangers}
    return new_card(config.name, model, entry_of_crop(plan.crop), [data_entry(source) for source in plan.sources], config.drawings, **said)


def detector_entry(sources: Sequence[Source], data: Path) -> Detector | None:
    """The first detector that searched one of the sets."""
    detectors = [read_faces(data, source.dataset.name).detector for source in sources]
    name, digest = next((each for each in detectors if each), ("", ""))
    return Detector(name=name, sha256=digest) if name else None


def data_entry(source: Source) -> Data:
    keys = [example.record.key for example in source.examples.items]
    return Data(name=source.dataset.name, images=len(keys), subjects=len(source.people) or None, terms=source.dataset.terms, sha256=sha256_of_lines(keys))
