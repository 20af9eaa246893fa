"""The figures of paper C, each as PNG with its numbers as CSV beside it, in a light and a dark look."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyface.papers.fusion_statistics import Estimate
from polyface.papers.ifan_figures import COLOURS, Picture, written
from polyface.papers.joint_scores import HALF, REAL, SYNTHETIC

STYLES = {REAL: "-", SYNTHETIC: "--", HALF: "none"}
MARKS = {REAL: "o", SYNTHETIC: "s", HALF: "x"}


def against_distractors(curves: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], words: str, file: Path) -> Picture:
    """{row: {kind of distractors: [(how many, share of trials)]}}: real ones whole lines, synthetic ones broken, the half that they were not fitted to as crosses."""
    rows = [{"row": row, "distractors": kind, "number": size, words: value} for row, kinds in curves.items() for kind, points in kinds.items() for size, value in points]

    def drawn(plt: Any) -> Any:
        figure, axis = plt.subplots(figsize=(7.0, 4.4))
        for at, (row, kinds) in enumerate(curves.items()):
            for kind, points in kinds.items():
                sizes, values = zip(*points, strict=True) if points else ((), ())
                look = {"ls": STYLES[kind], "marker": MARKS[kind], "ms": 5, "mfc": "none", "color": COLOURS[at % len(COLOURS)]}
                axis.plot(sizes, [100 * value for value in values], label=f"{row}, {kind}", **look)
        axis.set_xscale("log")
        axis.set_xlabel("distractors")
        axis.set_ylabel(f"{words}, %")
        axis.grid(lw=0.5)
        axis.legend(fontsize=8, ncols=2, loc="upper left", bbox_to_anchor=(-0.02, -0.14), frameon=False)
        return figure

    return written(file, drawn, rows)


LONGEST = 1000
"""The last rank of the curve."""


def cmc(ranks: Mapping[str, Mapping[str, np.ndarray]], file: Path) -> Picture:
    """{row: {kind of distractors, and how many: rank of each trial}}."""
    places = np.unique(np.geomspace(1, LONGEST, 60).astype(int))
    shares = {row: {kind: np.array([(each <= place).mean() for place in places]) for kind, each in kinds.items()} for row, kinds in ranks.items()}
    rows = [
        {"row": row, "distractors": kind, "rank": int(place), "share": float(value)}
        for row, kinds in shares.items()
        for kind, values in kinds.items()
        for place, value in zip(places, values, strict=True)
    ]

    def drawn(plt: Any) -> Any:
        figure, axis = plt.subplots(figsize=(7.0, 4.4))
        for at, (row, kinds) in enumerate(shares.items()):
            for kind, values in kinds.items():
                axis.plot(places, 100 * values, STYLES[kind.rpartition(" ")[0]], color=COLOURS[at % len(COLOURS)], label=f"{row}, {kind}")
        axis.set_xscale("log")
        axis.set_xlabel("rank")
        axis.set_ylabel("trials whose mate is so near, %")
        axis.grid(lw=0.5)
        axis.legend(fontsize=8, ncols=2, loc="upper left", bbox_to_anchor=(-0.02, -0.14), frameon=False)
        return figure

    return written(file, drawn, rows)


def by_level(gains: Mapping[str, Mapping[str, Estimate]], words: str, file: Path) -> Picture:
    """{level: {"joint" or "shuffled": its gain over identity alone}}, with intervals over people."""
    rows = [{"level": level, "row": row, **estimate.told()} for level, each in gains.items() for row, estimate in each.items()]

    def drawn(plt: Any) -> Any:
        figure, axis = plt.subplots(figsize=(6.4, 3.8))
        kinds = list(dict.fromkeys(row for each in gains.values() for row in each))
        for at, kind in enumerate(kinds):
            places = [place + 0.18 * (at - (len(kinds) - 1) / 2) for place, level in enumerate(gains) if kind in gains[level]]
            each = [gains[level][kind] for level in gains if kind in gains[level]]
            values = np.array([100 * estimate.value for estimate in each])
            ends = np.abs(np.array([[100 * estimate.low, 100 * estimate.high] for estimate in each]).T - values)
            axis.errorbar(places, values, yerr=np.nan_to_num(ends), fmt="o", ms=5, color=COLOURS[at], label=kind, capsize=3)
        axis.axhline(0, color=plt.rcParams["text.color"], lw=0.8)
        axis.set_xticks(range(len(gains)), list(gains))
        axis.set_xlabel("where the attribute branch leaves")
        axis.set_ylabel(f"points above identity alone\n{words}", fontsize=9)
        axis.grid(axis="y", lw=0.5)
        axis.legend(fontsize=8, ncols=2, loc="upper left", bbox_to_anchor=(-0.02, -0.16), frameon=False)
        return figure

    return written(file, drawn, rows)


def agreement(rates: Mapping[str, Mapping[str, float]], kept: Sequence[str], file: Path) -> Picture:
    """{attribute: {what agrees: rate}}, the kept ones first, in bold."""
    names = sorted(rates, key=lambda name: (name not in kept, -min(rates[name].values(), default=0.0)))
    rows = [{"attribute": name, "kept": name in kept, **rates[name]} for name in names]

    def drawn(plt: Any) -> Any:
        figure, axis = plt.subplots(figsize=(6.4, 0.6 + 0.19 * len(names)))
        kinds = list(dict.fromkeys(kind for each in rates.values() for kind in each))
        for at, kind in enumerate(kinds):
            points = [(100 * rates[name][kind], len(names) - place) for place, name in enumerate(names) if np.isfinite(rates[name].get(kind, np.nan))]
            axis.plot([x for x, _ in points], [y for _, y in points], "o", ms=4, color=COLOURS[at % len(COLOURS)], label=kind)
        axis.set_yticks([len(names) - place for place in range(len(names))], names, fontsize=7)
        for label, name in zip(axis.get_yticklabels(), names, strict=True):
            label.set_fontweight("bold" if name in kept else "normal")
        axis.set_xlabel("agreement, %")
        axis.grid(lw=0.5)
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(-0.02, -0.06), frameon=False)
        return figure

    return written(file, drawn, rows)
