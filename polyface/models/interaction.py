"""Tasks that see each other's predictions (paper B, papers.md, B1 and B3), in a network of any trunk and any tasks: the maps and the integrators are those of `ifan.py`.

After a pass the answers of all tasks are drawn as maps, which enter the trunk's maps through integrators that start at zero: every pass of a new network equals the
first, which knows of no predictions.

fusion       the maps of the first pass take them in, and the heads look again: the trunk runs once
feedback     so does every stage of the trunk from the second on, which reads the map before it with the predictions in it: all but the stem and the first stage run again
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from polyface.models.densenet import Integrator, Mode
from polyface.models.ifan import SHARED, channels_of, rendered
from polyface.tasks.kinds import Embedding, Points, Task

Kind = Literal["none", "fusion", "feedback"]
RADIUS = 5 / 128
"""Of the disc that stands for a point, in sides of the crop (B1)."""


class Stages(Protocol):
    """A trunk that can go on from maps that it did not make."""

    def after(self, maps: Sequence[Tensor], enter: Callable[[int, Tensor], Tensor]) -> list[Tensor]:
        """The maps given, and those of the further stages, each as `enter` gives it on: enter(place in the list, map)."""
        ...


class Interaction(nn.Module):
    """widths: channels of the trunk's maps, fine to coarse; the first, which is the stem's, takes nothing in. passes: of the network, the first counted."""

    def __init__(self, tasks: Sequence[Task], widths: Sequence[int], feedback: bool, passes: int):
        super().__init__()
        self.tasks, self.feedback = tuple(filter(is_drawn, tasks)), feedback
        encoded = sum(map(channels_of, self.tasks))
        self.integrators = nn.ModuleList(Integrator(width, encoded, [SHARED], passes) for width in widths[1:])

    def forward(self, trunk: Stages, maps: Sequence[Tensor], answers: Mapping[str, Tensor], size: int, turn: int) -> list[Tensor]:
        """maps: the trunk's of the first pass, of crops of size x size; answers: those of the pass before to the tasks that are drawn, of the same rows; turn: which pass
        this is, from 0."""
        drawn, mode = self._drawn(answers, size, maps[1].shape[-1]), Mode(SHARED, self.training, turn=turn)

        def enter(place: int, x: Tensor) -> Tensor:
            return self.integrators[place - 1](x, drawn, mode)

        if self.feedback:
            return trunk.after([maps[0], enter(1, maps[1])], enter)
        return [maps[0], *(enter(place, x) for place, x in enumerate(maps[1:], start=1))]

    def _drawn(self, answers: Mapping[str, Tensor], size: int, side: int) -> Tensor:
        """All answers as maps, one above the other [N, E, side, side]. No gradient goes through them."""
        each = []
        for task in self.tasks:
            answer, scale = answers[task.name].detach(), 1.0
            if isinstance(task, Points):  # at half the crop's side, as regions are: discs of 68 points in all its pixels cost more than the network
                answer, scale = answer / 2, 0.5
            each.append(rendered(task, answer, int(scale * size), side, RADIUS * scale * size))
        return torch.cat(each, 1)


def is_drawn(task: Task) -> bool:
    """Who somebody is says nothing alone: it is compared with others."""
    return not isinstance(task, Embedding)
