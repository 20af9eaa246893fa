"""What rows of paper B's ablation are trained on: sets retold in the recipe's tasks, listed once for all rows; and drawn people whose every label is known.

real          the recipe's sets, each with the labels it has; a fixed pool of pictures
two_labels    the set whose pictures have two of the labels; hundred: as many pictures of sets with one label each
drawn         drawn people with every label; drawn_both, drawn_hybrid: the same pictures with two labels each, with one label each
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np

from polyface import datasets, tasks
from polyface.datasets.retold import Coarse, coarse_tasks, retelling
from polyface.errors import InputError, RequestError, nearest
from polyface.files import write_atomically
from polyface.papers.ifan_config import Drawn, IfanRecipe, Pool
from polyface.papers.ifan_tasks import left_out, retold_source
from polyface.synth.draw import draw
from polyface.synth.people import person, photo_of
from polyface.synth.write import once
from polyface.training.config import Config, Data
from polyface.training.examples import Source, training_sources, validation_sources

WORLDS = ("real", "two_labels", "hundred", "drawn", "drawn_both", "drawn_hybrid")


@dataclass
class Worlds:
    """The sources of every world, listed when they are first asked for. data: the folder of the recipe's sets; own: where drawn people are kept; notes: what was left
    out of training, and why, in words."""

    recipe: IfanRecipe
    data: Path
    own: Path
    notes: list[str] = field(default_factory=list)
    _worlds: dict[str, tuple[Source, ...]] = field(default_factory=dict, repr=False)
    _sets: dict[str, Source] = field(default_factory=dict, repr=False)

    @cached_property
    def coarse(self) -> tuple[Coarse, ...]:
        return coarse_tasks(self.recipe.tasks)

    def sources(self, world: str) -> tuple[Source, ...]:
        """Raises RequestError for a set that is not at hand, that labels none of the tasks, or whose words cannot be mapped."""
        if world not in self._worlds:
            self._worlds[world] = self._list(world)
        return self._worlds[world]

    def plugged(self, coarse: Coarse, pools: Sequence[Pool]) -> tuple[Source, ...]:
        """The sources of a task that is plugged in."""
        return self._pools(pools, (coarse,), self.data)

    def validation(self, coarse: Sequence[Coarse]) -> tuple[Source, ...]:
        """Validation pictures of the recipe's sets, for curves of the loss."""
        listing = _listing(self.recipe.data, self.recipe.curve_rows)
        told = [(source, retelling(source.dataset, coarse)) for source in validation_sources(listing, self.data) if _answers(source, coarse)]
        return tuple(retold_source(source, found) for source, found in told)

    def _list(self, world: str) -> tuple[Source, ...]:
        match world:
            case "real":
                return self._pools(self.recipe.data, self.coarse, self.data)
            case "two_labels" | "hundred":
                return self._pools(self.recipe.two_labels if world == "two_labels" else self.recipe.hundred, self.coarse, self.data)
            case "drawn":
                return self._pools((Pool(set=str(drawn_people(self.recipe.drawn, self.own))),), self.coarse, self.own)
            case "drawn_both":
                return tuple(_labelled_for(source, _first_two(self.coarse)) for source in self.sources("drawn"))
            case "drawn_hybrid":  # as sets with one label each, so that in pre-training, too, every picture that is shown has the label that is asked for
                turns = list(enumerate(_first_two(self.coarse)))
                return tuple(_labelled_for(source, (name,), at, len(turns)) for source in self.sources("drawn") for at, name in turns)
        raise RequestError(f"no world {world!r}{nearest(world, WORLDS)}")

    def _pools(self, pools: Sequence[Pool], coarse: Sequence[Coarse], folder: Path) -> tuple[Source, ...]:
        """Each set is listed once: to keep test pictures out, every test split at hand is listed too."""
        found = [(pool, retelling(datasets.named(pool.set), coarse, pool.tasks)) for pool in pools]  # refuses what cannot be trained on before anything is listed
        new = [pool for pool in pools if pool.set not in self._sets]
        try:
            listed = training_sources(_listing(new), folder) if new else ()
        except InputError as error:
            raise RequestError(str(error)) from error
        for pool, source in zip(new, listed, strict=True):
            self._sets[pool.set] = source
            self.notes += left_out(source)
        return tuple(replace(retold_source(self._sets[pool.set], each, pool.most), weight=pool.weight) for pool, each in found)


def _listing(pools: Sequence[Pool], validation_rows: int = 1) -> Config:
    """As much of a recipe as listing sets reads."""
    data = tuple(Data(set=pool.set, weight=pool.weight) for pool in pools)
    return Config(name="ifan", data=data, steps=1, batch=max(96, len(data)), validation_rows=validation_rows)


def _answers(source: Source, coarse: Sequence[Coarse]) -> bool:
    return any(each.fine.name in source.dataset.answers for each in coarse)


def _first_two(coarse: Sequence[Coarse]) -> tuple[str, ...]:
    return tuple(each.task.name for each in coarse[:2])


def _labelled_for(source: Source, kept: Sequence[str], first: int = 0, step: int = 1) -> Source:
    """Every step-th picture, with its labels of some tasks only."""
    examples = source.examples
    items = tuple(
        replace(each, record=replace(each.record, labels={name: label for name, label in each.record.labels.items() if name in kept}))
        for each in examples.items[first::step]
    )
    dataset = replace(examples.dataset, answers={name: meaning for name, meaning in examples.dataset.answers.items() if name in kept})
    return replace(source, examples=replace(examples, dataset=dataset, items=items))


# Drawn people


def drawn_people(drawn: Drawn, folder: Path) -> Path:
    """The manifest of drawn people with masks, 68 points and expressions, FOLDER/drawn.toml; drawn once."""
    manifest, columns = folder / "drawn.toml", ", ".join(f'"{axis}"' for axis in AXES)
    once(folder / "drawn", [drawn.people, drawn.photos, drawn.size, SEED], partial(_draw_people, drawn))
    write_atomically(manifest, MANIFEST.format(parsing=tasks.parsing.name, landmarks=tasks.landmarks.name, expression=tasks.expression.name, columns=columns))
    return manifest


AXES = tuple(f"{axis}{point}" for point in range(tasks.landmarks.count) for axis in "xy")


def _draw_people(drawn: Drawn, folder: Path) -> None:
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["file", "person", "mask", "expression", *AXES])
    for index in range(drawn.people):
        who = person(SEED, index)
        for photo in range(drawn.photos):
            drawing = draw(photo_of(who, SEED, photo), drawn.size)
            name = f"{index:05d}_{photo}"
            _write_png(folder / f"pictures/{name}.png", cv2.cvtColor(drawing.image, cv2.COLOR_RGB2BGR))
            _write_png(folder / f"masks/{name}.png", drawing.labels.mask)
            points = [f"{value:.2f}" for value in drawing.labels.points.ravel()]
            rows.writerow([f"pictures/{name}.png", index, f"masks/{name}.png", drawing.labels.expression, *points])
    write_atomically(folder / "faces.csv", table.getvalue())


SEED = 2017
MANIFEST = """name = "drawn"
title = "Drawn people, every label"
terms = ""
table = "faces.csv"
picture = "file"
subject = "person"

[tasks.{parsing}]
column = "mask"
words = "same"

[tasks.{landmarks}]
columns = [{columns}]
first_pixel = 0.5

[tasks.{expression}]
column = "expression"
words = "same"
"""


def _write_png(path: Path, image: np.ndarray) -> None:
    write_atomically(path, cv2.imencode(".png", image)[1].tobytes())
