"""What several commands share: options, and the analyzer that they ask."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from polyface.errors import RequestError

if TYPE_CHECKING:
    from polyface.inference.analyze import Analyzer

Model = Annotated[Path | None, Parameter(help="A model directory, or an .onnx file of ours. The installed weights where nothing is said.")]
Data = Annotated[Path | None, Parameter(help="The folder of the data sets: DIR/<name>, DIR/<name>.zip or DIR/<name>.tar.", env_var="POLYFACE_DATA")]
DetectorFile = Annotated[Path | None, Parameter(help="An .onnx file of YuNet's form that finds faces. That of the installed weights where nothing is said.")]
Json = Annotated[Path | None, Parameter(name="--json", help="Write the report here, as JSON.")]


def names_in(listed: str | None) -> list[str] | None:
    """a,b -> [a, b]."""
    if listed is None:
        return None
    names = [name.strip() for name in listed.split(",") if name.strip()]
    if not names:
        raise RequestError(f"{listed!r} names nothing")
    return names


def loaded(model: Path | None, detector: Path | None) -> "Analyzer":
    """An analyzer for this whole process; the terms of its weights are said, once a run."""
    from polyface import runtime, terminal
    from polyface.inference import analyze as analysis

    runtime.threads_for_opencv(runtime.processors())
    analyzer = analysis.load(model, detector)
    terminal.say(analyzer.engine.terms)
    return analyzer
