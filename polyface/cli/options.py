"""Options that several commands take."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from polyface.errors import RequestError

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
