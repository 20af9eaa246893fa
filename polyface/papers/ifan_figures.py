"""The figures of paper B, each as PNG with its numbers as CSV beside it, in a light and a dark look: forest plot, cumulative errors, losses; and faces pass by pass."""

import base64
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from polyface.evaluation.figures import png, pyplot, write_csv
from polyface.files import write_atomically
from polyface.images import draw
from polyface.metrics.regions import UNLABELLED
from polyface.papers.ifan_claims import MTFL, Judged
from polyface.papers.ifan_mtfl import Errors
from polyface.papers.ifan_runs import Curve
from polyface.papers.ifan_statistics import Found
from polyface.tasks.kinds import Category, Points, Regions, Task

COLOURS = ("#2a7fc1", "#d0602a", "#4f9a55", "#9a68b5", "#c8961e", "#3aa6a0")
BY_VERDICT = {"holds": "#2a7fc1", "fails": "#d0602a", "undecidable": "#8a8d94"}
LOOKS = {"light": ("#ffffff", "#1d1e22", "#dcd9d0"), "dark": ("#1d1f25", "#eae9e5", "#454954")}
"""Paper, ink and lines, as the page has them."""
CUT = 20.0
"""NME at which cumulative curves end."""
TICKS = (-10, -1, 0, 1, 10)


@dataclass(frozen=True)
class Picture:
    """Data URIs of one figure for a light and a dark page."""

    light: str
    dark: str


def forest(claims: Sequence[Judged], tasks: Mapping[str, str], file: Path) -> Picture:
    """Points that each comparison gives, a column for each task ({task: the measure in words}): a dot, the interval over faces (thick), and over faces and seeds (thin).
    A dotted tick is what was claimed where that is not 0."""
    lines = _lines(claims)
    heights = np.array([0.45 + 0.55 * len(words.splitlines()) for words, _, _ in lines])
    places = heights.sum() - heights.cumsum() + heights / 2
    rows = [_numbers(judged, found) for judged in claims for found in judged.found]

    def drawn(plt: Any) -> Any:
        figure, axes = plt.subplots(1, len(tasks), figsize=(3.2 + 2.4 * len(tasks), 1.1 + 0.24 * heights.sum()), sharey=True, squeeze=False)
        for axis, (task, words) in zip(axes[0], tasks.items(), strict=True):
            axis.axvline(0, color=plt.rcParams["text.color"], lw=0.8)
            for place, (_, _, found) in zip(places, lines, strict=True):
                if task in found:
                    _interval(axis, found[task], place)
            axis.set_xscale("symlog", linthresh=1, linscale=1)
            low, high = axis.get_xlim()
            axis.set_xlim(min(low, -1.2), max(high, 1.2))
            axis.set_xticks([tick for tick in TICKS if min(low, -1.2) <= tick <= max(high, 1.2)])
            axis.set_title(f"{task}\n{_folded(words, 28)}", fontsize=9)
            axis.set_xlabel("points better\n(logarithmic beyond 1)", fontsize=8)
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
            axis.grid(axis="x", lw=0.5)
            axis.tick_params(axis="x", labelsize=8)
            axis.tick_params(axis="y", length=0)
        axes[0, 0].set_yticks(places, [words for words, _, _ in lines], fontsize=8)
        for label, (_, is_claim, _) in zip(axes[0, 0].get_yticklabels(), lines, strict=True):
            label.set_fontweight("bold" if is_claim else "normal")
        axes[0, 0].set_ylim(0, heights.sum())
        handles = [plt.Line2D([], [], color=colour, marker="o", ls="", ms=5, label=words) for words, colour in BY_VERDICT.items()]
        figure.legend(handles=handles, loc="lower left", ncols=3, fontsize=8, frameon=False)
        figure.tight_layout(rect=(0, 0.02, 1, 1))
        return figure

    return written(file, drawn, rows)


def _lines(claims: Sequence[Judged]) -> list[tuple[str, bool, dict[str, Found]]]:
    """(words, whether they are a claim's, {task: what was found}): comparisons of different tasks share a line, those on several sets do not."""
    lines: list[tuple[str, bool, dict[str, Found]]] = []
    for judged in claims:
        lines.append((_folded(judged.claim.words), True, {}))
        own: dict[str, dict[str, Found]] = {}
        for found in judged.found:
            words = found.comparison.words.replace(f"against {found.task}", "against each")
            own.setdefault(_folded(words + (f", {found.measure.split('/')[0]}" if found.comparison.every and found.measure else "")), {})[found.task] = found
        lines += [(words, False, found) for words, found in own.items()]
    return lines


def _folded(words: str, width: int = 46) -> str:
    """In lines of so many letters: what is beside the plot must leave room for it."""
    return textwrap.fill(words, width)


def _interval(axis: Any, found: Found, y: float) -> None:
    effect = found.effect
    if effect is None:
        axis.text(0, y, "not run", fontsize=7, va="center", ha="center", alpha=0.7, bbox={"facecolor": axis.get_facecolor(), "edgecolor": "none", "pad": 0.5})
        return
    colour = BY_VERDICT[found.verdict]
    if effect.low == effect.low:
        axis.plot([effect.low, effect.high], [y, y], color=colour, lw=1.2)
        axis.plot([effect.faces.low, effect.faces.high], [y, y], color=colour, lw=4, alpha=0.45, solid_capstyle="butt")
    axis.plot([effect.value], [y], "o", color=colour, ms=5)
    axis.plot(effect.seeds, [y] * len(effect.seeds), "|", color=colour, ms=7, mew=1) if len(effect.seeds) > 1 else None
    if found.comparison.least:
        axis.plot([found.comparison.least] * 2, [y - 0.4, y + 0.4], color=colour, lw=1, ls=":")


def _numbers(judged: Judged, found: Found) -> dict[str, object]:
    effect = found.effect
    row: dict[str, object] = {"claim": judged.claim.words, "comparison": found.comparison.words, "task": found.task, "measure": found.measure, "verdict": found.verdict}
    return row | numbers_of(found) if effect is not None else row


def numbers_of(found: Found) -> dict[str, object]:
    """Every number of a comparison, for a CSV."""
    effect = found.effect
    assert effect is not None
    return {
        "points": effect.value, "low": effect.low, "high": effect.high, "low over faces alone": effect.faces.low, "high over faces alone": effect.faces.high,
        "claimed above": found.comparison.least, "p": effect.p, "p by Holm": found.adjusted, "seeds": " ".join(f"{each:.4g}" for each in effect.seeds),
        "scatter of seeds": effect.scatter, "faces": effect.n, "people": effect.people,
    }  # fmt: skip


def cumulative(curves: Sequence[Errors], file: Path) -> Picture:
    """The share of faces whose NME is at most so much, a line for each row and kind of box, the paper's mean marked; means are ticks at the bottom."""

    def drawn(plt: Any) -> Any:
        figure, axis = plt.subplots(figsize=(7.5, 4.6))
        _cumulative(plt, axis, curves, curves)
        axis.set_ylabel("faces, %")
        axis.set_xlabel(ERROR)
        axis.text(MTFL - 0.15, 96, f"paper's mean {MTFL}", fontsize=8, ha="right")
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(-0.02, -0.13), frameon=False)
        return figure

    return written(file, drawn, _levels(curves))


def cumulative_by_pose(curves: Mapping[str, Sequence[Errors]], file: Path) -> Picture:
    """The same, a panel for each word for yaw; every panel's lines are of the colours and kinds that they have in all."""
    every = [each for own in curves.values() for each in own]

    def drawn(plt: Any) -> Any:
        figure, axes = plt.subplots(1, len(curves), figsize=(2 * len(curves) + 0.6, 3.9), sharey=True, squeeze=False)
        for axis, (word, own) in zip(axes[0], curves.items(), strict=True):
            _cumulative(plt, axis, own, every)
            most = max(len(each.values) + each.missed for each in own)
            axis.set_title(f"{word}\n{most} faces", fontsize=9)
            axis.set_xlabel("error, %", fontsize=8)
            axis.tick_params(labelsize=8)
        axes[0, 0].set_ylabel("faces, %")
        figure.legend(*_all_handles(axes[0]), loc="lower center", ncols=2, fontsize=8, frameon=False)
        lines = len({(each.row, each.boxes) for each in every})
        figure.tight_layout(rect=(0, 0.03 + 0.05 * ((lines + 1) // 2), 1, 1))
        return figure

    return written(file, drawn, [{"pose": word, **row} for word, own in curves.items() for row in _levels(own)])


ERROR = "error, % of the distance of the eyes"


def _cumulative(plt: Any, axis: Any, curves: Sequence[Errors], every: Sequence[Errors]) -> None:
    """every: of all panels, whose order says the colour of a row and the stroke of a kind of box. Means are in the words only where there is one panel."""
    names, kinds = (list(dict.fromkeys(words)) for words in ([each.row for each in every], [each.boxes for each in every]))
    for each in curves:
        colour, style = COLOURS[names.index(each.row) % len(COLOURS)], ("-", "--")[kinds.index(each.boxes)]
        levels = np.sort(each.values[each.values <= CUT])
        share = np.arange(1, len(levels) + 1) / (len(each.values) + each.missed)
        words = f"{each.row}; {each.boxes}" + (f": mean {each.mean:.2f}" if curves is every else "")
        axis.plot([0, *levels, CUT], [0, *(100 * share), 100 * each.share(CUT)], style, color=colour, lw=1.6, label=words, drawstyle="steps-post")
        axis.plot([each.mean], [0], marker=2, color=colour, ms=9)
    axis.axvline(MTFL, color=plt.rcParams["text.color"], lw=1, ls=":")
    axis.set_xlim(0, CUT)
    axis.set_ylim(0, 100)
    axis.grid(lw=0.5)


def _levels(curves: Sequence[Errors]) -> list[dict[str, object]]:
    return [
        {"row": each.row, "boxes": each.boxes, "NME": float(level), "share of faces": each.share(level)} for each in curves for level in np.arange(0, CUT + 0.01, 0.25)
    ]


def losses(curves: Mapping[str, Mapping[str, Curve]], file: Path) -> Picture:
    """{task: {row: its validation loss}}, a panel for each task."""
    rows = [
        {"task": task, "row": row, "step": step, "loss": value}
        for task, own in curves.items()
        for row, curve in own.items()
        for step, value in zip(curve.steps, curve.values, strict=True)
    ]
    names = list(dict.fromkeys(row for own in curves.values() for row in own))

    def drawn(plt: Any) -> Any:
        figure, axes = plt.subplots(1, len(curves), figsize=(3.6 * len(curves), 3.4), squeeze=False)
        for axis, (task, own) in zip(axes[0], curves.items(), strict=True):
            for row, curve in own.items():
                axis.plot(curve.steps, curve.values, color=COLOURS[names.index(row) % len(COLOURS)], lw=1.5, marker=".", label=row)
            axis.set_title(task, fontsize=9)
            axis.set_xlabel("step of the joint stage", fontsize=8)
            axis.grid(lw=0.5)
        axes[0, 0].set_ylabel("validation loss")
        figure.legend(*_all_handles(axes[0]), loc="lower center", ncols=4, fontsize=8, frameon=False)
        figure.tight_layout(rect=(0, 0.08, 1, 1))
        return figure

    return written(file, drawn, rows)


def _all_handles(axes: Sequence[Any]) -> tuple[list[Any], list[str]]:
    known = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    return list(known.values()), list(known)


# Faces pass by pass


def changes(task: Task, answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How much better the last pass is than the first, for each face, NaN where its label decides nothing: float [n], in %.

    answers [passes, n, ...] and truth [n, ...] as pictures.npz has them. Regions: of labelled pixels that are right; points: of the distance of the eyes (points 0 and 1)
    by which points are nearer on average; classes: of probability on the true one.
    """
    first, last = _goodness(task, answers[0], truth), _goodness(task, answers[-1], truth)
    return last - first


def _goodness(task: Task, answer: np.ndarray, truth: np.ndarray) -> np.ndarray:
    match task:
        case Regions():
            known = truth != UNLABELLED
            return 100 * _share((answer == truth) & known, known)
        case Points():
            off = np.linalg.norm(answer - truth, axis=-1)
            return -100 * np.nanmean(off, axis=-1) / np.linalg.norm(truth[:, 0] - truth[:, 1], axis=-1)
        case Category():
            return np.where(truth >= 0, 100 * answer[np.arange(len(truth)), truth], np.nan)
    raise TypeError(f"no picture is known for the kind {type(task).__name__}")


def _share(some: np.ndarray, of: np.ndarray) -> np.ndarray:
    over, under = (each.reshape(len(each), -1).sum(1).astype(float) for each in (some, of))
    return np.divide(over, under, out=np.full_like(over, np.nan), where=under > 0)


def drawn_at_random(change: np.ndarray, each: int) -> tuple[list[int], list[int]]:
    """(gains, losses): so many faces of either kind, drawn at random, in the order of their numbers."""
    random = np.random.default_rng(0)
    kinds = (np.flatnonzero(change > 0), np.flatnonzero(change < 0))
    gains, losses = (sorted(int(face) for face in random.permutation(kind)[:each]) for kind in kinds)
    return gains, losses


CELL = 150


def passes(task: Task, crops: np.ndarray, answers: np.ndarray, truth: np.ndarray, faces: Sequence[int]) -> np.ndarray:
    """A row for each of some faces: the crop, the answer after every pass, the truth; uint8 RGB. crops uint8 [n, S, S, 3]; answers and truth as in `changes`."""
    change = changes(task, answers, truth)
    pictures, captions = [], []
    for face in faces:
        crop = cv2.resize(crops[face], (CELL, CELL), interpolation=cv2.INTER_CUBIC)
        shown = [crop, *(_shown(task, crop, answer[face], crops.shape[1]) for answer in answers), _shown(task, crop, truth[face], crops.shape[1])]
        pictures += shown
        captions += [f"{change[face]:+.1f}", *(f"pass {number}" for number in range(1, len(answers) + 1)), "labelled"]
    return draw.contact_sheet(pictures, len(answers) + 2, captions, CELL)


def _shown(task: Task, crop: np.ndarray, answer: np.ndarray, size: int) -> np.ndarray:
    """An answer, or a label, on an enlarged crop that had `size` pixels."""
    picture = crop.copy()
    match task:
        case Regions():
            palette = draw.region_palette(len(task.vocabulary))
            return draw.draw_regions(picture, cv2.resize(answer, (CELL, CELL), interpolation=cv2.INTER_NEAREST), palette, opacity=0.55)
        case Points():
            points = answer[np.isfinite(answer).all(-1)] * (CELL / size)
            return draw.draw_points(picture, points, radius=2.5)
        case Category():
            likely = [(task.vocabulary[at], share) for at, share in enumerate(answer) if share > 0.1] if np.ndim(answer) else [(task.vocabulary[int(answer)], None)]
            lines = [word if share is None else f"{word} {100 * share:.0f} %" for word, share in sorted(likely, key=lambda each: -(each[1] or 0))[:3]]
            return draw.draw_text_panel(picture, lines, (0, CELL - draw.panel_size(lines, 13)[1]), 13)
    raise TypeError(f"no picture is known for the kind {type(task).__name__}")


# Files


def written(file: Path, drawn: Callable[[Any], Any], rows: Sequence[Mapping[str, object]]) -> Picture:
    """FILE as PNG in the light look, its rows as CSV beside it; both looks for a page."""
    content = {look: _png(drawn, *LOOKS[look]) for look in LOOKS}
    write_atomically(file, content["light"])
    write_csv(file.with_suffix(".csv"), rows)
    return Picture(**{look: f"data:image/png;base64,{base64.b64encode(each).decode()}" for look, each in content.items()})


def _png(drawn: Callable[[Any], Any], paper: str, ink: str, line: str) -> bytes:
    plt = pyplot()
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color", "legend.labelcolor")
    papers = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")
    look = dict.fromkeys(inked, ink) | dict.fromkeys(papers, paper) | {"grid.color": line, "legend.edgecolor": line, "axes.spines.top": False, "axes.spines.right": False}
    with plt.rc_context(look):
        return png(drawn(plt))
