"""What paper B trains on, retold in its coarser tasks (`datasets/retold.py`): pictures of a source that have a label there, and what is left out, by name."""

from dataclasses import replace

from polyface.datasets.base import evenly
from polyface.datasets.crops import Example
from polyface.datasets.retold import Retelling
from polyface.errors import RequestError
from polyface.training.examples import Source


def retold_source(source: Source, found: Retelling, most: int | None = None) -> Source:
    """The pictures of a source that have a coarser label, at most so many, evenly through the list. Raises RequestError where none has."""
    items: list[Example] = []
    for example in source.examples.items:
        record = found.record(example.record)
        if record.labels:
            items.append(replace(example, record=record))
    if not items:
        raise RequestError(f"{source.dataset.name}: no picture of this split has a label of the recipe's tasks")
    kept = evenly(items, most) if most else items
    return replace(source, examples=replace(source.examples, dataset=found.dataset, items=tuple(kept)))


def left_out(source: Source) -> list[str]:
    """A line for each kind of picture that is listed and cannot be trained on, such as an image without its mask, with the first by name."""
    name, listed = source.dataset.name, source.examples
    lines = []
    if listed.absent:
        lines.append(f"{name}: {len(listed.absent)} files are listed but absent, their pictures are left out; {listed.absent[0]} first")
    if listed.problems:
        lines.append(f"{name}: {len(listed.problems)} rows are refused; {listed.problems[0]}")
    if listed.unaligned:
        lines.append(f"{name}: of {len(listed.unaligned)} pictures nobody knows where the face is, {listed.unaligned[0]} first")
    return lines
