"""What must be known of a face detector of ours: `detector.json` beside its file, which `polyface train` writes."""

from pathlib import Path
from typing import Annotated

import msgspec

from polyface.errors import RequestError
from polyface.images.detect import ABOUT, FILE
from polyface.installed import installed
from polyface.strict import strict


class Learned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a set gave: how many photographs and faces, on how many of these people placed points, who found what nobody labelled (name and sha256), the hash of the list
    of photographs, what stayed out and why. unchecked: how many of the photographs were compared with test pictures by their bytes at most, because nothing aligned their
    faces; None where nobody counted. taught_by: which detector said of every cell of its views what it sees (name and sha256)."""

    name: str
    terms: str
    scenes: int
    faces: int
    clicked: int
    found_by: tuple[str, str] | None
    sha256: str
    left_out: dict[str, int] = {}
    unchecked: int | None = None
    taught_by: tuple[str, str] | None = None


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line of `benchmarks/detector.py`: what was measured, on how many pictures or faces, and what came out."""

    what: str
    n: int
    value: float


class DetectorCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """name: as answers have it. threshold: the score from which on a find is a face, where nobody says another. scores: nothing until somebody measured it."""

    name: str
    created: str
    commit: str = ""
    parameters: int
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)]
    data: tuple[Learned, ...]
    scores: tuple[Measure, ...] = ()
    limits: tuple[str, ...] = ()
    licence: str = ""

    @property
    def terms(self) -> str:
        """One line, as a network's card says it."""
        licence = self.licence or "no licence stated"
        return f"{licence} (trained on {', '.join(each.name for each in self.data)})" if self.data else licence

    def score_rows(self) -> list[dict[str, object]]:
        """How well it does, as a table."""
        return [msgspec.to_builtins(each) for each in self.scores]

    def rows(self) -> list[dict[str, object]]:
        """What it learned from, as a table."""
        return [
            {
                "data set": each.name,
                "photographs": each.scenes,
                "faces": each.faces,
                "with points by people": each.clicked,
                "other faces found by": each.found_by[0] if each.found_by else None,
                **({"taught by": each.taught_by[0]} if each.taught_by else {}),
                "compared with tests by bytes at most": each.unchecked,
                "terms": each.terms,
            }
            for each in self.data
        ]


def find(path: Path | None) -> DetectorCard | None:
    """The card of the detector that is this folder or file, or of the installed one; None where the path is nothing of a detector.

    Raises RequestError where nothing is installed, or in one line that names the file and the key, for a card that is not right.
    """
    if path is None:
        return read(installed("detector") / ABOUT)
    beside = path / ABOUT if path.is_dir() else path.with_name(ABOUT)
    return read(beside) if beside.is_file() and (path.is_dir() or path.name == FILE) else None


def read(path: Path) -> DetectorCard:
    try:
        tree = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: cannot be read ({error})") from error
    return strict(tree, DetectorCard, str(path))


def json_of(card: DetectorCard) -> bytes:
    """Indented for people."""
    return msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n"
