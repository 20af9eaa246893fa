"""What says that a run of an experiment is done: a file with its result, written whole at its end. And by which recipe: a file that is written at its beginning."""

from pathlib import Path
from typing import TypeVar

import msgspec

from polyface.errors import RequestError
from polyface.files import write_atomically

Kind = TypeVar("Kind", bound=msgspec.Struct)


def read_done(path: Path, kind: type[Kind], what: str) -> Kind | None:
    """None where it is not done; what: what has one, "run". Raises RequestError for a file that is none of ours."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: no result that can be read ({error}); remove it to do the {what} again") from error


def read_rows(out: Path, result: str, kind: type[Kind]) -> dict[str, Kind]:
    """{name: result} of the rows that are done, OUT/rows/<name>/<result>, in the order of their names."""
    found = ((path.parent.name, read_done(path, kind, "row")) for path in sorted((out / "rows").glob(f"*/{result}")))
    return {name: row for name, row in found if row is not None}


def write_done(path: Path, result: msgspec.Struct) -> None:
    write_atomically(path, msgspec.json.encode(result) + b"\n")


def refuse_other_recipe(path: Path, recipe: str) -> None:
    """Raises RequestError where the file says that a run, done or begun, was made by another recipe than it has now."""
    if path.exists() and path.read_text() != recipe:
        raise RequestError(f"{path}: made by another recipe; remove its folder or choose another --out")
