"""Words, progress and tables for a person at a terminal: bars only on a terminal, elsewhere a line a minute; words on stderr, tables plain where nobody is watching."""

import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

Report = Callable[..., None]
"""report(done, total=None, more=""): so many things are done by now, of so many in all; more words say which, or how it goes."""


EVERY = 60.0
"""Seconds between two lines on how far it is, where stderr is no terminal: a log of hours shows that something is done."""
LONG = 24
"""Columns from which a word on a terminal is a path or the like, which may be broken where a line ends."""


def count(number: int, thing: str, things: str = "") -> str:
    """1 face, 2,000 faces; things: where they are no thing with an s."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def percent(share: float) -> str:
    """A probability for a person. No network is certain, so what rounds to 100 % or to nothing says less."""
    return ">99%" if share >= 0.995 else "<1%" if share < 0.005 else f"{share:.0%}"


def say(words: str) -> None:
    """A line on stderr, with the command's name in front, as errors have it."""
    print(printable(f"polyface: {words}"), file=sys.stderr, flush=True)


def tell(words: str, end: str = "\n") -> None:
    """What a command answers in words, on stdout; paths of what it wrote, for another program, and JSON are printed as they are."""
    print(printable(words), end=end)


def say_once(words: str, by: str, said: dict[str, object]) -> None:
    """A line, unless one of this name was said before, which `said` knows; threads may have it to say at the same time."""
    mine = object()
    if said.setdefault(by, mine) is mine:
        say(words)


@contextmanager
def progress(words: str, total: int | None = None) -> Iterator[Report]:
    """A bar on stderr while the block runs, if that is a terminal, or a line now and then; the block calls what it is given as things get done."""
    if not sys.stderr.isatty():
        yield _now_and_then(words, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:  # answers may go to a file meanwhile
        task = bar.add_task(words, total=total)
        yield lambda done, total=None, more="": bar.update(task, completed=done, total=total, description=printable(f"{words} {more}".strip()))


def _now_and_then(words: str, total: int | None) -> Report:
    last = time.monotonic()

    def report(done: int, total: int | None = total, more: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            say(" ".join(filter(None, (words, f"{done:,}" + (f" of {total:,}" if total else ""), more))))

    return report


def table(rows: Iterable[Mapping[str, object]], columns: Sequence[str] | None = None, title: str = "", file: TextIO | None = None) -> None:
    """Rows {column: value} under their columns, by default those of the first row: aligned by spaces, never cut; on a terminal with rules, and in its width. On one too
    narrow for that each row is told in lines of "column value".
    """
    rows, file = list(rows), file or sys.stdout
    if not rows:
        return
    columns = list(columns or rows[0])
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    right = [all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns]
    if not file.isatty():
        _plain(columns, cells, right, title, file)
        return
    from rich.console import Console

    console = Console(file=file)
    widths = _widths([columns, *cells], console.width)
    if widths:
        _ruled(columns, cells, right, title, console, widths)
    else:
        _told(columns, cells, title, console)


def _widths(lines: Sequence[Sequence[str]], room: int) -> list[int]:
    """How wide each column of a table is in `room` columns of a terminal, with two between them; none where words or numbers would have to be broken."""
    by_column = list(zip(*lines, strict=True))
    least = [max(min(_width(word), LONG) for cell in column for word in cell.split() or [""]) for column in by_column]
    widths = [max(map(_width, column)) for column in by_column]
    room -= 2 * (len(widths) - 1)
    if sum(least) > room:
        return []
    while sum(widths) > room:  # the widest gives way
        widest = max((at for at, width in enumerate(widths) if width > least[at]), key=lambda at: widths[at])
        widths[widest] -= 1
    return widths


def _ruled(columns: Sequence[str], cells: list[list[str]], right: list[bool], title: str, console: "Console", widths: list[int]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold"
    )
    for column, to_the_right, width in zip(columns, right, widths, strict=True):
        drawn.add_column(Text(column), justify="right" if to_the_right else "left", overflow="fold", width=width)
    for line in cells:
        drawn.add_row(*map(Text, line))
    console.print(drawn)


def _told(columns: Sequence[str], cells: list[list[str]], title: str, console: "Console") -> None:
    """Each row as "column value, column value", which goes on indented; a row without its first value goes on with the one before it."""
    from rich.text import Text

    lines = [Text(title)] if title else []
    for row in cells:
        line = Text("  " if not row[0] else "")
        for column, cell in zip(columns, row, strict=True):
            said = Text.assemble((column, "dim"), " ", cell)
            if line.plain.strip() and line.cell_len + 3 + said.cell_len > console.width:
                lines.append(line)
                line = Text("  ")
            if cell:
                line.append("   " if line.plain.strip() else "").append(said)
        lines.append(line)
    console.print(*lines, sep="\n", overflow="fold")


def _plain(columns: Sequence[str], cells: list[list[str]], right: list[bool], title: str, file: TextIO) -> None:
    widths = [max(map(_width, (column, *(line[at] for line in cells)))) for at, column in enumerate(columns)]
    lines = [title] if title else []
    for line in (columns, *cells):
        padded = [(" " * (width - _width(cell)), cell, end) for cell, width, end in zip(line, widths, right, strict=True)]
        lines.append("  ".join(space + cell if end else cell + space for space, cell, end in padded).rstrip())
    print("\n".join(lines), file=file, flush=True)


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Lines without what moves a terminal's cursor, or worse: names of files and the words of a card may hold it."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def _width(text: str) -> int:
    """Columns on a terminal: Chinese, Japanese and Korean characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
