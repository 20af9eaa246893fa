"""The network: one trunk, one crop, one pass, a head for each task; or several passes, in which tasks see each other's answers (`interaction.py`)."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import msgspec
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from polyface import tasks
from polyface.models.backbones import ResidualTrunk, pixels_of
from polyface.models.heads import EmbeddingHead, Neck, VectorHead, head_of, is_dense, together
from polyface.models.interaction import Interaction, Kind, is_drawn
from polyface.models.margins import COSFACE, Identity, People
from polyface.models.passes import Statistics, lent
from polyface.strict import Count, refuse_twice
from polyface.tasks.kinds import Embedding, Task


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Widths of the network. stem and widths: channels of the maps at 1/2, 1/4, 1/8 ... of the crop's side; blocks: residual blocks of each stage.

    passes: where tasks interact, the first counted, which knows of no answers. tasks: its questions; none named is all that there are, and of a recipe all that its sets
    answer.
    """

    tasks: tuple[str, ...] = ()
    stem: Count = 24
    widths: tuple[Count, ...] = (64, 128, 256, 384)
    blocks: tuple[Count, ...] = (1, 2, 2, 1)
    fine: Count = 64
    hidden: Count = 128
    interaction: Kind = "none"
    passes: int = 2

    def __post_init__(self) -> None:
        refuse_twice("tasks", self.tasks)
        if len(self.widths) != len(self.blocks) or len(self.widths) < 2:
            raise ValueError(f"widths and blocks name each stage, two at least: found {len(self.widths)} and {len(self.blocks)}")
        if self.passes < 2:
            raise ValueError(f"passes = {self.passes}: tasks that interact need two at least; those that do not are interaction = 'none'")

    @property
    def stride(self) -> int:
        """Of the last map, in pixels of the crop, whose side is a multiple of it: the stem and every stage halve it."""
        return 2 ** (1 + len(self.widths))


def build(config: ModelConfig, people: Mapping[str, int], identity: Identity = COSFACE) -> "PolyFace":
    """A network for the tasks of a config; people: {space of people: how many}, whose centres train with it by the loss of identity and are not exported."""
    return PolyFace(config, dict(people), identity)


class PolyFace(nn.Module):
    """model(crops uint8 [B, S, S, 3]) -> {task name: output}, as the kinds say.

    With rows {task name: int64 [n]} each head runs on its rows only: training asks a head nothing about pictures that no one labelled for it. An embedding then still has
    its length, which some losses look at.
    """

    def __init__(self, config: ModelConfig, people: dict[str, int], identity: Identity = COSFACE):
        super().__init__()
        self.config = config
        self.tasks: tuple[Task, ...] = tuple(tasks.named(name) for name in config.tasks) or tasks.TASKS
        self.trunk = ResidualTrunk(config.stem, config.widths, config.blocks)
        self.neck = Neck(self.trunk.widths, config.fine) if any(is_dense(task) for task in self.tasks) else None
        self.heads = nn.ModuleDict({task.name: head_of(task, self.trunk.widths, config.fine, config.hidden) for task in self.tasks})
        dimension = next((task.dimension for task in self.tasks if isinstance(task, Embedding)), 0)
        self.people = People(people if dimension else {}, dimension, identity)
        self.interaction = None if config.interaction == "none" else Interaction(self.tasks, self.trunk.widths, config.interaction == "feedback", config.passes)
        if self.interaction is not None:
            self.later = nn.ModuleList(nn.ModuleList(Statistics(norm.num_features) for norm in self._again()) for _ in range(config.passes - 1))

    def forward(self, crops: Tensor, rows: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        return self.passes(crops, rows)[-1]

    def passes(self, crops: Tensor, rows: Mapping[str, Tensor] | None = None) -> list[dict[str, Tensor]]:
        """What forward answers, after every pass; one where tasks do not interact. In all passes but the last the heads whose answers are drawn run on all rows."""
        first = self.features(crops)
        if self.interaction is None:
            return [self._answers(first, rows)]
        drawn = [task.name for task in self.tasks if is_drawn(task)]
        whole = None if rows is None else {**rows, **dict.fromkeys(drawn, torch.arange(len(crops), device=crops.device))}
        found: list[dict[str, Tensor]] = []
        answers: dict[str, Tensor] = {}
        for turn in range(self.config.passes):
            asked = rows if turn == self.config.passes - 1 else whole
            with self._remembering(turn):
                answers = self._answers(self.interaction(self.trunk, first, answers, crops.shape[1], turn) if turn else first, asked)
            found.append(answers if rows is asked else {name: answers[name][at] if name in drawn else answers[name] for name, at in rows.items()})  # type: ignore[union-attr]
        return found

    @contextmanager
    def _remembering(self, turn: int) -> Iterator[None]:
        """Within it all layers normalise by the statistics of a pass; the first one's are their own (`passes.py`)."""
        with ExitStack() as stack:
            for norm, statistics in zip(self._again(), self.later[turn - 1], strict=True) if turn else ():  # type: ignore[call-overload]
                stack.enter_context(lent(norm, statistics))
            yield

    def _again(self) -> list[_BatchNorm]:
        """What normalises in every pass: heads, neck and, with feedback, the trunk from its second stage on."""
        parts = [self.heads, *([] if self.neck is None else [self.neck]), *(self.trunk.stages[1:] if self.config.interaction == "feedback" else [])]
        return [module for part in parts for module in part.modules() if isinstance(module, _BatchNorm)]

    def _answers(self, maps: list[Tensor], rows: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        asked = [task for task in self.tasks if rows is None or task.name in rows]
        fine, place = self._fine(maps, asked, rows)
        vectors = {name: head for name, head in self.heads.items() if isinstance(head, VectorHead)} if rows is None else {}
        outputs = dict(zip(vectors, together(list(vectors.values()), maps[-2], maps[-1]), strict=True)) if vectors else {}
        for task in asked:
            if task.name in outputs:
                continue
            chosen = None if rows is None else rows[task.name]
            if is_dense(task):
                inputs = (_take(maps[0], chosen), _take(fine, None if chosen is None else place[chosen]))
            else:
                inputs = (_take(maps[-2], chosen), _take(maps[-1], chosen))
            head = self.heads[task.name]
            outputs[task.name] = head.whole(*inputs) if isinstance(head, EmbeddingHead) and rows is not None else head(*inputs)
        return {task.name: outputs[task.name] for task in asked}

    def features(self, crops: Tensor) -> list[Tensor]:
        """The trunk's maps, fine to coarse."""
        return self.trunk(pixels_of(crops, self.training))

    def _fine(self, maps: list[Tensor], asked: list[Task], rows: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor]:
        """The neck's map of the rows that any dense task asks for, and where each row of the batch is in it."""
        dense = [task for task in asked if is_dense(task)]
        nowhere = torch.zeros(0, dtype=torch.int64)
        if self.neck is None or not dense:
            return maps[0], nowhere
        if rows is None:
            return self.neck(maps), nowhere
        union = torch.cat([rows[task.name] for task in dense]).unique()
        place = torch.zeros(len(maps[0]), dtype=torch.int64, device=union.device)
        place[union] = torch.arange(len(union), device=union.device)
        return self.neck([each[union] for each in maps]), place


def _take(x: Tensor, rows: Tensor | None) -> Tensor:
    return x if rows is None else x[rows]
