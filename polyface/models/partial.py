"""A classifier whose people are split among processes, and of which a step sees a sample: Partial FC (An et al. 2022), for people whose centres fit in no one memory.

Each process holds the centres of consecutive people; shards differ by one at most. A step takes of each shard all people of the joined batch and strangers at random, up
to a share of the shard. The softmax over all shards is computed where the centres are: what travels is the vectors, and three numbers a row. Only centres that a step
took are changed, with what their optimiser remembers of them. They are no parameters of the model: the loop's sum of gradients and its norm, the averaged weights and the
files of the model know nothing of them. When the sample is everything, the gradients are those of the whole classifier in one process (tests/training/test_partial.py).

As in insightface's partial_fc_v2.py, if there are more people in the batch than the share, all of them are taken, and no stranger. Not as there, a process may have any
number of rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyface.models.margins import Identity, logits_of
from polyface.models.shards import bounds, counted, gathered, place, shared_cross_entropy

OptimiserOf = Callable[[nn.Parameter], torch.optim.Optimizer]


@dataclass
class Shard:
    """This process's part of a space of so many people: centres [n, D] from the person `first` on, and what their optimiser remembers, of each [n, D] or of all []."""

    people: int
    first: int
    centres: Tensor = field(repr=False)
    moments: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def moment(self, name: str) -> Tensor:
        """One of each person, 0 before any step."""
        if name not in self.moments:
            self.moments[name] = torch.zeros_like(self.centres)
        return self.moments[name]


class Classifier:
    """The centres of every space of people. Each process has one, and all do the same with it in the same order.

    optimiser: what would train a whole matrix of centres; seed: of the centres before any step, which are the same for any number of processes. taken: since the last
    step, the rows of a shard that were taken, int64 [k], and their centres [k, D], whose gradients the backward pass leaves there.
    """

    def __init__(self, spaces: Mapping[str, int], dimension: int, identity: Identity, optimiser: OptimiserOf, seed: int, device: torch.device):
        self.identity, self.optimiser = identity, optimiser
        self.shards: dict[str, Shard] = {}
        for number, (space, people) in enumerate(sorted(spaces.items())):
            first, last = bounds(people, *place())
            self.shards[space] = Shard(people, first, first_centres(first, last, dimension, seed * 1_000 + number).to(device))
        self.taken: list[tuple[Shard, Tensor, nn.Parameter]] = []

    def loss(self, vectors: Tensor, person: Tensor, space: str, quality: Tensor | None = None) -> Tensor:
        """The loss of each row of this process, of which there may be none. vectors [B, D] of any length, person int64 [B], quality [B] for AdaFace -> [B]."""
        shard, counts = self.shards[space], counted(person)
        if not any(counts):  # nobody of that space in any process
            return vectors.sum(1)
        start = sum(counts[: place()[0]])
        end = start + len(person)
        vectors, person, quality = gathered(vectors.float()), gathered(person), None if quality is None else gathered(quality)
        index, column = take(person, shard.first, len(shard.centres), self.identity.sample)
        centres = nn.Parameter(shard.centres[index])
        self.taken.append((shard, index, centres))
        with torch.autocast(vectors.device.type, enabled=False):  # times the scale, bfloat16's rounding would be felt
            plain = self.identity.loss == "softmax"
            similarities = vectors @ centres.T if plain else F.normalize(vectors, dim=-1) @ F.normalize(centres, dim=-1).T
            losses = shared_cross_entropy(logits_of(self.identity, similarities, column, quality), column)
        return losses[start:end]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Change the centres that the last losses took, by their gradients, as the optimiser would change all at its rate times a factor."""
        for shard, index, centres in self.taken:
            if centres.grad is None:
                continue
            optimiser = self.optimiser(centres)
            for group in optimiser.param_groups:
                group["lr"] *= factor
            if shard.moments:
                optimiser.state[centres] = {name: moment[index] if moment.ndim else moment for name, moment in shard.moments.items()}
            optimiser.step()
            shard.centres[index] = centres
            for name, moment in optimiser.state[centres].items():
                if not moment.ndim:
                    shard.moments[name] = moment
                else:
                    shard.moment(name)[index] = moment
        self.taken = []


def take(person: Tensor, first: int, count: int, share: float) -> tuple[Tensor, Tensor]:
    """Of a shard of so many people from the first on: the rows that a step sees, int64 [k], rising, and the place of each person among them, int64 [B], or -1."""
    here = (person >= first) & (person < first + count)
    own = (person[here] - first).unique()
    wanted = int(share * count)
    if wanted > len(own):
        chance = torch.rand(count, device=person.device)
        chance[own] = 2.0
        index = chance.topk(wanted).indices.sort().values
    else:
        index = own
    column = torch.full_like(person, -1)
    column[here] = torch.searchsorted(index, person[here] - first)
    return index, column


BLOCK = 1024
"""People whose first centres are drawn together."""


def first_centres(first: int, last: int, dimension: int, seed: int) -> Tensor:
    """Normal, 0.01 wide, float32 [last - first, D]: a function of the seed and the person."""
    centres = torch.empty(last - first, dimension)
    for block in range(first // BLOCK, -(-last // BLOCK)):
        drawn = torch.randn(BLOCK, dimension, generator=torch.Generator().manual_seed(seed * 1_000_003 + block)) * 0.01
        start, end = max(first, block * BLOCK), min(last, (block + 1) * BLOCK)
        centres[start - first : end - first] = drawn[start - block * BLOCK : end - block * BLOCK]
    return centres
