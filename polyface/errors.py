"""One family of exceptions, and the exit status each of them means.

0 all done; 1 done, but some inputs were refused; 2 the request itself was wrong, nothing was done; 3 started and failed, what was written is whole; 130 interrupted;
141 nobody reads what is printed; 143 ended by SIGTERM (`cli`).
"""

import difflib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import PurePosixPath

INTERRUPTED = 130


class PolyfaceError(Exception):
    """What went wrong, in one line for a person."""

    exit_status = 3

    def __str__(self) -> str:
        return " ".join(super().__str__().split())


class InputError(PolyfaceError):
    """One input is refused: the message names the file and, in a table, the row. The rest of the work goes on."""

    exit_status = 1


class RequestError(PolyfaceError):
    """The request cannot be carried out as it stands; nothing was done."""

    exit_status = 2


class RunError(PolyfaceError):
    """The work started and failed; what it had written is whole."""

    exit_status = 3


def reason(error: BaseException) -> str:
    """One line about any exception: our own as they are, others with their type in front."""
    text = " ".join(str(error).split())
    return text if isinstance(error, PolyfaceError) else f"{type(error).__name__}: {text}".rstrip(": ")


def nearest(word: str, known: Iterable[str]) -> str:
    """Words for an error line: the nearest known name, or the first few there are; two that look alike are told apart."""
    known = list(known)
    if unicodedata.normalize("NFC", word) in (unicodedata.normalize("NFC", name) for name in known):
        return "; there is one that looks alike, but its accents are written in another form of Unicode (NFC, NFD)"
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}" if known else ""


def respelled(name: str, exists: Callable[[str], bool]) -> str:
    """Words for an error line about a file that is not there: the spelling under which it is, with the fewest changes; nothing where none of them fits."""
    for count in (1, 2, 3):
        for chosen in combinations(SPELLINGS.items(), count):
            other = name
            for _, change in chosen:
                other = change(other)
            if other != name and exists(other):
                return f"; {other} is there: {' and '.join(why for why, _ in chosen)}"
    return ""


def _with_ending(name: str, change: Callable[[str], str]) -> str:
    ending = PurePosixPath(name).suffix
    return name.removesuffix(ending) + change(ending)


SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "folders end in /, not in \\": lambda name: name.replace("\\", "/"),
    "its ending is in small letters": lambda name: _with_ending(name, str.lower),
    "its ending is in capitals": lambda name: _with_ending(name, str.upper),
    "its accents are written in another form of Unicode (NFC)": partial(unicodedata.normalize, "NFC"),
    "its accents are written in another form of Unicode (NFD)": partial(unicodedata.normalize, "NFD"),
}
"""How a name on one machine may differ from that on another."""


def shortened(lines: Sequence[object], most: int = 10) -> list[str]:
    """The first lines of many, and how many more there are."""
    more = len(lines) - most
    return [*map(str, lines[:most]), *([f"and {more:,} more"] if more > 0 else [])]
