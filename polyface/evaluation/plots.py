"""Curves of a result as a PNG, and their numbers as CSV beside it: ROC on a logarithmic axis, CMC, and how errors are spread."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from polyface.errors import RequestError
from polyface.evaluation.figures import png, pyplot, write_csv
from polyface.evaluation.protocols.result import Result
from polyface.files import require_writable, write_atomically

AXES = {
    "roc": ("FAR, share of impostor pairs accepted", "TAR, share of genuine pairs accepted"),
    "cmc": ("rank", "share of probes with a mate so near"),
    "errors": ("error", "share of faces with at most so much"),
}
COLUMNS = {"roc": ("far", "tar"), "cmc": ("rank", "found"), "errors": ("error", "share")}


def require_outputs(json: Path | None, plot: Path | None, inputs: Iterable[Path | None]) -> None:
    """Raises RequestError, before anything is scored, for a plot's name that is no PNG's, and for a report, a plot or its numbers that would be written over a file that
    is read, or over each other, or cannot be written; ModuleNotFoundError for a plot where matplotlib is not installed."""
    if plot is not None and plot.suffix.lower() != ".png":
        raise RequestError(f"{plot}: a plot is a .png, and its numbers a .csv beside it")
    written = {f"the report {json}": json, f"the plot {plot}": plot, f"the numbers of the plot {plot}": plot and plot.with_suffix(".csv")}
    kept = [each for each in inputs if each is not None]
    for folder in kept:
        if json is not None and json.suffix.lower() != ".json" and json.exists() and folder.is_dir() and json.resolve().is_relative_to(folder.resolve()):
            raise RequestError(f"{folder}: the report {json} would be written over a file in it; choose another name")
    for what, file in written.items():
        if file is not None:
            for other in kept:
                if _is_same(file, other):
                    raise RequestError(f"{other}: {what} would be written over it; choose another name")
            kept.append(file)
    require_writable(*written.values())
    if plot is not None:
        pyplot()


def _is_same(one: Path, other: Path) -> bool:
    """Also in other letters, where the disk knows no capitals."""
    return one.samefile(other) if one.exists() and other.exists() else one.resolve() == other.resolve()


def write_plot(result: Result, file: Path) -> list[Path]:
    """FILE.png with one panel for each kind of curve, and FILE.csv: a row for each point, which names its protocol and curve. Nothing where the result has no curve."""
    if not result.curves:
        return []
    plt = pyplot()
    kinds = list(dict.fromkeys(curve.kind for curve in result.curves.values()))
    figure, panels = plt.subplots(1, len(kinds), figsize=(5.5 * len(kinds), 4.2), squeeze=False)
    rows: list[dict[str, object]] = []
    for kind, panel in zip(kinds, panels[0], strict=True):
        units = ""
        for name, curve in result.curves.items():
            if curve.kind == kind:
                shown = curve.x > 0 if kind == "roc" else np.ones(len(curve.x), bool)  # FAR 0 is nowhere on a logarithmic axis
                alone = "o" if shown.sum() == 1 else None  # no line goes through one point
                panel.plot(curve.x[shown], curve.y[shown], marker=alone, label=name, drawstyle="default" if kind == "cmc" else "steps-post")
                of = {"protocol": result.protocol, "curve": name}
                rows += [{**of, COLUMNS[kind][0]: float(x), COLUMNS[kind][1]: float(y)} for x, y in zip(curve.x, curve.y, strict=True)]
                units = curve.unit
        across, up = AXES[kind]
        panel.set(xlabel=f"{across}, {units}" if units else across, ylabel=up, ylim=(-0.01, 1.01), title=result.protocol, **({"xscale": "log"} if kind == "roc" else {}))
        panel.grid(alpha=0.3)
        panel.legend()
    write_atomically(file, png(figure))
    write_csv(file.with_suffix(".csv"), rows)
    return [file, file.with_suffix(".csv")]
