"""The figures of paper A, as PNG and as CSV beside it: filters (4), feature maps (5), curves (8 to 11), overlap (2), and the one that convinces."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polyface.evaluation.figures import png, pyplot, write_csv
from polyface.files import write_atomically
from polyface.models.fusion import FeatureNetwork
from polyface.papers.fusion_heads import CELL
from polyface.papers.fusion_runs import Tables
from polyface.papers.fusion_statistics import Estimate

COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#8e5ea2", "#d39b1d", "#3aa6a0", "#7a7a7a", "#000000")


def filters(networks: Mapping[str, FeatureNetwork], file: Path) -> None:
    """Figure 4: a row for each network, a column for each convolution; the first as colours, the others as means over inputs. The CSV has them row by row."""
    plt = pyplot()
    figure, axes = plt.subplots(len(networks), 3, figsize=(9, 2.2 * len(networks)), squeeze=False)
    rows = []
    for row, (task, network) in enumerate(networks.items()):
        for column, layer in enumerate(network.convolutions):
            weights = layer.weight.detach().float().numpy()  # type: ignore[operator]
            first = weights.shape[1] == 3
            pictures = weights.transpose(0, 2, 3, 1) if first else weights.mean(1)[..., None].repeat(3, -1)
            axes[row, column].imshow(_sheet([_stretched(each) for each in pictures]), interpolation="nearest")
            axes[row, column].set_axis_off()
            axes[row, column].set_title(f"{task}, conv{column + 1}" if row == 0 or column == 0 else "", fontsize=8)
            for at, each in enumerate(weights if first else weights.mean(1, keepdims=True)):
                for channel, plane in zip(("red", "green", "blue") if first else ("mean",), each, strict=True):
                    rows += _lines({"network": task, "layer": f"conv{column + 1}", "filter": at, "channel": channel}, plane)
    _write(figure, file, rows)


def maps(networks: Mapping[str, FeatureNetwork], face: np.ndarray, file: Path) -> None:
    """Figure 5: the maps of one face uint8 [S, S, 3] at every layer, and the feature as a strip. The CSV has them row by row."""
    plt = pyplot()
    figure, axes = plt.subplots(len(networks), 5, figsize=(11, 2.2 * len(networks)), squeeze=False)
    rows = []
    for row, (task, network) in enumerate(networks.items()):
        with torch.inference_mode():
            crops = torch.from_numpy(face[None])
            found = [each[0].numpy() for each in network.maps(crops)]
            feature = next(iter(network.features(crops).values()))[0].numpy()
        axes[row, 0].imshow(face)
        for column, each in enumerate(found):
            axes[row, column + 1].imshow(_sheet([_stretched(channel[..., None].repeat(3, -1)) for channel in each]), interpolation="nearest")
            rows += [line for at, channel in enumerate(each) for line in _lines({"network": task, "layer": f"conv{column + 1}", "unit": at}, channel)]
        strip = feature.reshape(-1, _width(len(feature)))
        axes[row, 4].imshow(_stretched(strip[..., None].repeat(3, -1)), interpolation="nearest")
        rows += _lines({"network": task, "layer": "feature", "unit": 0}, strip)
        for column, name in enumerate(("face", "conv1", "conv2", "conv3", "feature")):
            axes[row, column].set_axis_off()
            axes[row, column].set_title(f"{task}: {name}" if column == 0 else name if row == 0 else "", fontsize=8)
    _write(figure, file, rows)


def curves(tables: Tables, target: str, file: Path) -> int:
    """Figures 8 to 11: test accuracy of a target during the training of its heads, a line for each set of features. Returns the iteration they start at."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(5.5, 3.8))
    names = {("+".join(tables.tasks)): "all", "+".join(task for task in tables.tasks if task != target): "all but the own"}
    rows: list[dict[str, Any]] = []
    at = 0
    for cell, points in tables.curves.items():
        asked, sources, merge = cell.split(CELL)
        if asked != target or merge != "concatenation":
            continue
        label = names.get(sources, f"{sources} (own)" if sources == target else sources)
        axis.plot([step for step, _ in points], [100 * value for _, value in points], label=label, color=COLOURS[at % len(COLOURS)], lw=2.4 if label == "all" else 1.4)
        rows += [{"target": target, "features": label, "iteration": step, "accuracy": 100 * value} for step, value in points]
        at += 1
    axis.axhline(100 * tables.constants[target].accuracy, color="grey", lw=0.8, ls=":", label="constant answer")
    axis.set_xlabel("iterations of the new layers")
    axis.set_ylabel(f"test accuracy of {target}, %")
    axis.legend(fontsize=7)
    _write(figure, file, rows)
    return min(int(row["iteration"]) for row in rows)


def overlap(tables: Tables, file: Path) -> None:
    """Figure 2 made measurable: linear CKA between the features on test pictures."""
    plt = pyplot()
    names = list(tables.alike)
    grid = np.array([[tables.alike[a][b] for b in names] for a in names])
    figure, axis = plt.subplots(figsize=(1.1 * len(names) + 1.5, 1.1 * len(names) + 0.8))
    axis.imshow(grid, vmin=0, vmax=1, cmap="Blues")
    for row, column in np.ndindex(grid.shape):
        axis.text(column, row, f"{grid[row, column]:.2f}", ha="center", va="center", color="white" if grid[row, column] > 0.6 else "black", fontsize=9)
    axis.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    _write(figure, file, [{"feature": a, "other": b, "cka": float(grid[i, j])} for i, a in enumerate(names) for j, b in enumerate(names)])


def gains(found: Sequence[tuple[str, str, Estimate, Estimate | None]], file: Path) -> None:
    """The figure that convinces: (split, what, gain of identity's feature over the own for real groups, the same for random ones), points with their intervals."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(max(6.0, 1.1 * len(found) + 1.5), 4.4))
    rows = []
    for at, (split, what, real, random) in enumerate(found):
        for name, estimate, colour, shift in (("real groups", real, COLOURS[0], -0.12), ("random groups", random, COLOURS[1], 0.12)):
            if estimate is None or not np.isfinite(estimate.value):
                continue
            ends = np.array([[estimate.value - estimate.low], [estimate.high - estimate.value]]) * 100
            axis.errorbar([at + shift], [100 * estimate.value], yerr=np.nan_to_num(np.maximum(ends, 0)), fmt="o", color=colour, capsize=4, label=name)
            rows.append({"split": split, "what": what, "groups": name, "gain": 100 * estimate.value, "low": 100 * estimate.low, "high": 100 * estimate.high})
    handles, labels = axis.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axis.axhline(0, color="grey", lw=0.8)
    axis.set_xticks(range(len(found)), [f"{split}\n{what}" for split, what, _, _ in found], fontsize=8)
    axis.set_xlim(-0.5, len(found) - 0.5)
    axis.set_ylabel("accuracy of identity's feature\nabove the own feature, points")
    if unique:
        axis.legend(unique.values(), unique.keys(), fontsize=8)
    _write(figure, file, rows)


def _lines(said: Mapping[str, object], plane: np.ndarray) -> list[dict[str, object]]:
    """A row of the CSV for each row of a picture [h, w]."""
    return [{**said, "y": y, **{f"x{x}": float(value) for x, value in enumerate(line)}} for y, line in enumerate(plane)]


def _write(figure: object, file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    write_atomically(file, png(figure))
    write_csv(file.with_suffix(".csv"), rows)


def _stretched(picture: np.ndarray) -> np.ndarray:
    low, high = float(picture.min()), float(picture.max())
    return (picture - low) / (high - low) if high > low else np.zeros_like(picture, float)


def _sheet(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """[h, w, 3] each -> one sheet, about square, with white lines between."""
    across = math.ceil(math.sqrt(len(pictures)))
    height, width = pictures[0].shape[:2]
    down = -(-len(pictures) // across)
    sheet = np.ones((down * (height + 1), across * (width + 1), 3))
    for at, each in enumerate(pictures):
        y, x = at // across * (height + 1), at % across * (width + 1)
        sheet[y : y + height, x : x + width] = each
    return sheet


def _width(length: int) -> int:
    return next(width for width in (10, 8, 6, 5, 4, 3, 2, 1) if length % width == 0)
