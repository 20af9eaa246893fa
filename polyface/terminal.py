"""Words, progress and tables for a person at a terminal: bars only on a terminal, words on stderr, tables plain where nobody is watching."""

import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

Report = Callable[..., None]
"""report(done, total=None, more=""): so many things are done by now, of so many in all; more words say which, or how it goes."""


def say(words: str) -> None:
    """A line on stderr, with the command's name in front, as errors have it."""
    print(f"polyface: {words}", file=sys.stderr, flush=True)


@contextmanager
def progress(words: str, total: int | None = None) -> Iterator[Report]:
    """A bar on stderr while the block runs, if that is a terminal; the block calls what it is given as things get done."""
    if not sys.stderr.isatty():
        yield lambda done, total=None, more="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done, total=None, more="": bar.update(task, completed=done, total=total, description=f"{words} {more}".strip())


def table(rows: Iterable[Mapping[str, object]], columns: Sequence[str] | None = None, title: str = "", file: TextIO | None = None) -> None:
    """Rows {column: value} under their columns, by default those of the first row: with rules on a terminal, else aligned by spaces, never cut."""
    rows, file = list(rows), file or sys.stdout
    if not rows:
        return
    columns = list(columns or rows[0])
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    right = [all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns]
    if file.isatty():
        _ruled(columns, cells, right, title, file)
    else:
        _plain(columns, cells, right, title, file)


def _ruled(columns: Sequence[str], cells: list[list[str]], right: list[bool], title: str, file: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column, to_the_right in zip(columns, right, strict=True):
        drawn.add_column(Text(column), justify="right" if to_the_right else "left", overflow="fold")
    for line in cells:
        drawn.add_row(*map(Text, line))
    Console(file=file).print(drawn)


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
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def _width(text: str) -> int:
    """Columns on a terminal: Chinese, Japanese and Korean characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
