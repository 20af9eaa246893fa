"""What all tests share: limits of a busy machine, one thread, a detector that knows where faces are, for pictures that were drawn, and a stdout that nobody reads."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from polyface import cli, datasets
from polyface.datasets import crops
from polyface.images import align
from polyface.images.detect import Face

settings.register_profile("busy machine", deadline=None)  # tests never measure time
settings.load_profile("busy machine")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tests run beside each other, sums of one thread are the same bits every time, and a training in an earlier test may have taken more. Few tests need torch."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


class Middle:
    """Takes every picture for a face in its middle."""

    name, sha256 = "middle", ""

    def detect_many(self, images: list[np.ndarray], threshold: float | None = None) -> list[list[Face]]:
        boxes = [(0.3 * image.shape[1], 0.2 * image.shape[0], 0.7 * image.shape[1], 0.8 * image.shape[0]) for image in images]
        return [[Face(box, align.points_of_box(np.array(box)), 1.0)] for box in boxes]

    def detect(self, image: np.ndarray, threshold: float | None = None) -> list[Face]:
        return self.detect_many([image])[0]


@pytest.fixture(scope="session")
def find_faces() -> Callable[..., None]:
    """find_faces(data, names): what `polyface datasets align` does for these sets, every face taken for one in the middle."""

    def find(data: Path, *names: str) -> None:
        for dataset in map(datasets.named, names):
            crops.align_set(dataset, datasets.find_root(data, dataset.name), data, Middle())

    return find


@pytest.fixture
def run_unread(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], int]:
    """run_unread(arguments): the exit status of a command line whose stdout has lost its reader, as `head` is one, before the first line."""

    def run(arguments: list[str]) -> int:
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "w", buffering=1) as stdout, monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", stdout)
            return cli.run(arguments)

    return run
