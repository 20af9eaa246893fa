"""Where rows of paper B's ablation start: weights of task-wise pre-training, or of another row, fitted into a network of other sets, tasks or feedback."""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polyface.errors import RequestError
from polyface.models.ifan import SHARED, Ifan, IfanConfig, PointsHead
from polyface.tasks.kinds import Task


def fresh(network: IfanConfig, tasks: Sequence[Task], streams: Mapping[str, str]) -> Ifan:
    """A network as it is before any training: points begin in the middle of the crop, and not at random places about it [INF]. Else a hundred steps are spent on bringing
    them back: their validation error was then five times as high."""
    model = Ifan(network, tasks, streams)
    for head in model.heads.values():
        if isinstance(head, PointsHead):
            nn.init.zeros_(head.places.weight)  # type: ignore[arg-type]
    return model


def load_start(model: Ifan, weights: Mapping[str, Tensor]) -> None:
    """Weights into a network that may have other sets of batch normalisation, fewer tasks, more passes, or integrators that the weights lack, which stay as they are.

    A set that all streams share starts from the mean of the tasks' sets [INF], one of a data set from its task's; a further pass remembers what the first does. Raises
    RequestError where anything else is missing.
    """
    state, tasks = model.state_dict(), [task.name for task in model.tasks]
    for name, own in state.items():
        first = LATER.sub(rf"{SETS}\1.", name)
        found = weights[name] if name in weights else weights[first] if first in weights else _of_other_sets(first, weights, tasks)
        if found is not None and found.shape == own.shape:
            state[name] = found.to(own.dtype)
        elif ".integrators." not in name:
            raise RequestError(f"the weights to start from are of another network: {name} is missing or of another shape")
    model.load_state_dict(state)


SETS, LATER = ".sets.", re.compile(r"\.later\.([^.]+)\.\d+\.")
"""Where the names of weights have a set, and a further pass of it (`models/densenet.Norm`)."""


def _of_other_sets(name: str, weights: Mapping[str, Tensor], tasks: list[str]) -> Tensor | None:
    """What the weights hold at the same place of batch normalisation under other names."""
    before, inside, after = name.partition(SETS)
    wanted, _, leaf = after.partition(".")
    if not inside:
        return None
    names = tasks if wanted == SHARED else [wanted.partition("@")[0]]
    found = [weights[key] for each in names if (key := f"{before}{SETS}{each}.{leaf}") in weights]
    return torch.stack([tensor.float() for tensor in found]).mean(0) if found else None
