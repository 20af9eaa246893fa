"""Files of figures, for protocols and papers: a PNG, and its numbers as CSV beside it. matplotlib is loaded where something is drawn."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyface.files import write_atomically


def pyplot() -> Any:
    """matplotlib.pyplot, which draws into memory and asks for no screen."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def png(figure: Any) -> bytes:
    """The figure, which is closed then; the same numbers give the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight", metadata={"Software": None})
    pyplot().close(figure)
    return buffer.getvalue()


def write_csv(file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Rows {column: value}, which may lack some; numbers to five digits."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = [row.get(column, "") for column in columns]
        writer.writerow([f"{cell:.5g}" if isinstance(cell, float) else cell for cell in cells])
    write_atomically(file, text.getvalue())
