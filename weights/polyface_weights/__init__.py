"""The trained network of polyface: a model directory, `card.json` and `model.onnx`. For research only, see LICENSE."""

from pathlib import Path


def directory() -> Path:
    """The model directory."""
    return Path(__file__).parent / "model"
