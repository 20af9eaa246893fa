"""Losses of identity: a softmax over the people of one data set only, whose own person must win by a margin. Nobody competes with people of another set.

A recipe's `identity` table chooses one. CosFace, ArcFace and AdaFace see directions only: logits are cosines times a scale. AdaFace gives pictures of high quality, which
have long vectors, another margin than poor ones. The plain softmax sees vectors as they are, with the center loss of its time beside it.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyface.errors import RequestError
from polyface.models.shards import gathered
from polyface.strict import NonNegative, Positive, Share

if TYPE_CHECKING:
    from polyface.models.partial import Classifier


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The loss of identity, over the people of one set."""

    loss: Literal["cosface", "arcface", "adaface", "softmax"] = "cosface"
    scale: Positive = 32.0
    margin: NonNegative = 0.25
    """At a scale of 64 the papers have 0.35 (CosFace), 0.5 (ArcFace), 0.4 (AdaFace); the softmax has neither."""
    center: NonNegative = 0.003
    """Weight of the center loss beside the softmax; 0 for none."""
    sample: Share = 0.0
    """Split the people among the processes, and let a step see such a share of each one's people (`models/partial.py`); 0: every process has them all."""

    def __post_init__(self) -> None:
        if self.sample and self.loss == "softmax" and self.center:
            raise ValueError("the means of the center loss are not split among processes: identity.sample and the softmax need center = 0")


COSFACE = Identity()


def center(vectors: Tensor, means: Tensor) -> Tensor:
    """Center loss (Wen et al. 2016, eq. 2): half the squared distance of each vector to the mean of its person, both [B, D] -> [B]."""
    return 0.5 * (vectors.float() - means).square().sum(-1)


def angle_added(cosine: Tensor, margin: float) -> Tensor:
    """cos(angle + m) while angle + m is at most pi; beyond, where it would rise again and reward the worst, cos(angle) - m sin(m), as ArcFace's authors' code has it.

    The gradient is that of the formula; their code of 2022, which adds the margin outside autograd, left out sin(angle + m) / sin(angle).
    """
    sine = (1 - cosine.square()).clamp_min(1e-6).sqrt()  # a gradient through an angle of 0 would be infinite
    added = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine > -math.cos(margin), added, cosine - margin * math.sin(margin))


EDGE = 1e-3
"""AdaFace's authors keep a cosine so far from 1 and -1, and an angle so far from 0 and pi."""


def adapted(cosine: Tensor, quality: Tensor, margin: float) -> Tensor:
    """cos(angle - m q) - (m + m q) for quality q in -1 to 1: the paper's two margins, clipped as its authors' code does (AdaFace head.py)."""
    angle = cosine.clamp(EDGE - 1, 1 - EDGE).acos()
    return (angle - margin * quality).clamp(EDGE, math.pi - EDGE).cos() - (margin + margin * quality)


def logits_of(identity: Identity, similarities: Tensor, person: Tensor, quality: Tensor | None = None) -> Tensor:
    """What the softmax is taken of: s cos for all, and s times what the margin makes of the person's own; with the plain softmax the similarities.

    CosFace (Wang et al. 2018, eq. 4): cos - m. ArcFace (Deng et al. 2019, eq. 3): `angle_added`. AdaFace (Kim et al. 2022): `adapted`, which is what ArcFace asks at
    quality -1, CosFace at 0. similarities [B, n] as `People.similarities`, person int64 [B], -1 for who is in no column, quality [B] for AdaFace (`Lengths`) -> [B, n].
    """
    similarities = similarities.float()
    if identity.loss == "softmax":
        return similarities
    rows = (person >= 0).nonzero()[:, 0]
    own = (rows, person[rows])
    if identity.loss == "arcface":
        lowered = angle_added(similarities[own], identity.margin)
    elif identity.loss == "adaface":
        assert quality is not None
        lowered = adapted(similarities[own], quality[rows], identity.margin)
    else:
        lowered = similarities[own] - identity.margin
    return identity.scale * similarities.index_put(own, lowered)


class People(nn.Module):
    """A centre for each person of each space of people. forward(embedding [B, D], space) -> cosines [B, n].

    AdaFace's statistics and the means of the center loss are buffers of it, so that checkpoints hold them.
    """

    def __init__(self, spaces: dict[str, int], dimension: int, identity: Identity = COSFACE):
        super().__init__()
        self.identity = identity
        try:
            self.centres = nn.ParameterDict({name: nn.Parameter(torch.randn(count, dimension) * 0.01) for name, count in spaces.items()})
        except KeyError as error:  # torch's rules for the names of parameters
            raise RequestError(f"a data set of people, or their space, cannot be called so: {error.args[0]}") from error
        self.lengths = Lengths() if identity.loss == "adaface" else None
        self.means = Means(spaces, dimension) if identity.loss == "softmax" and identity.center else None

    def forward(self, embedding: Tensor, space: str) -> Tensor:
        with torch.autocast(embedding.device.type, enabled=False):  # times the scale, bfloat16's rounding would be felt
            return F.normalize(embedding.float(), dim=-1) @ F.normalize(self.centres[space].float(), dim=-1).T

    def quality(self, vectors: Tensor) -> Tensor | None:
        """Of all vectors of a step [B, D], as the head made them; None for a loss that does not ask. All processes must ask, in training."""
        return self.lengths(vectors) if self.lengths is not None else None

    def losses(self, vectors: Tensor, person: Tensor, spaces: Sequence[str], split: "Classifier | None" = None) -> Tensor:
        """The loss of each row against the people of its own space only; in training the means follow. spaces: of each row; split: has the centres where processes share
        them. A process without rows takes part: its head and its statistics are shared. vectors [B, D] of any length, person int64 [B] -> [B]."""
        quality, who = self.quality(vectors), split or self
        losses = vectors.new_zeros(len(person)) if len(person) else vectors.sum(1)
        for space in sorted(split.shards if split else self.centres):
            here = torch.tensor([at for at, other in enumerate(spaces) if other == space], dtype=torch.int64, device=vectors.device)
            if len(here) or split:
                losses = losses.index_copy(0, here, who.loss(vectors[here], person[here], space, None if quality is None else quality[here]))
            if self.training:
                self.follow(vectors[here], person[here], space)
        return losses

    def loss(self, vectors: Tensor, person: Tensor, space: str, quality: Tensor | None = None) -> Tensor:
        """The loss of each row. vectors [B, D] of any length, person int64 [B] -> [B]."""
        losses = F.cross_entropy(logits_of(self.identity, self.similarities(vectors, space), person, quality), person, reduction="none")
        return losses if self.means is None else losses + self.identity.center * center(vectors, self.means.of(space)[person])

    def similarities(self, vectors: Tensor, space: str) -> Tensor:
        """Cosines, or for the plain softmax products with the centres, without a bias. [B, D] -> [B, n]."""
        if self.identity.loss != "softmax":
            return self(F.normalize(vectors, dim=-1), space)
        with torch.autocast(vectors.device.type, enabled=False):
            return vectors.float() @ self.centres[space].float().T

    def follow(self, vectors: Tensor, person: Tensor, space: str) -> None:
        """After a step's loss the means follow its vectors, where the center loss has any. All processes must ask."""
        if self.means is not None:
            self.means.follow(vectors, person, space)


class Lengths(nn.Module):
    """AdaFace's quality of a picture: how long its vector is among those of late, -1 to 1. forward(vectors [B, D]) -> [B].

    As the authors' code: lengths within 0.001 to 100, mean and deviation begin at 20 and 100, and each batch, all processes together, counts 0.01 before it is used.
    The paper's alpha of 0.99 is the weight of what was known. A batch of one has no deviation (theirs becomes NaN) and changes neither.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("deviation", torch.tensor(100.0))

    def forward(self, vectors: Tensor) -> Tensor:
        lengths = vectors.detach().float().norm(dim=-1).clamp(1e-3, 100.0)
        if self.training:
            every = gathered(lengths)
            if len(every) > 1:
                self.mean.lerp_(every.mean(), 0.01)
                self.deviation.lerp_(every.std(), 0.01)
        return ((lengths - self.mean) / (self.deviation + 1e-3) * 0.333).clamp(-1, 1)


class Means(nn.Module):
    """Where the vectors of each person are, for the center loss; 0 at first. of(space) -> [n, D]."""

    rate = 0.5
    """alpha of Wen et al. 2016."""

    def __init__(self, spaces: dict[str, int], dimension: int):
        super().__init__()
        self.spaces = tuple(spaces)
        for at, count in enumerate(spaces.values()):  # by place: a name of a space may be none of an attribute
            self.register_buffer(f"of_{at}", torch.zeros(count, dimension))

    def of(self, space: str) -> Tensor:
        return self.get_buffer(f"of_{self.spaces.index(space)}")

    @torch.no_grad()
    def follow(self, vectors: Tensor, person: Tensor, space: str) -> None:
        """c <- c - alpha sum(c - x) / (1 + n) over the n vectors x of a person in the batch, all processes together (Wen et al. 2016, eq. 4)."""
        vectors, person = gathered(vectors.detach().float()), gathered(person)
        people, place, counts = person.unique(return_inverse=True, return_counts=True)
        means = self.of(space)
        sums = torch.zeros_like(means[people]).index_add(0, place, vectors)
        means[people] += self.rate * (sums - counts[:, None] * means[people]) / (1 + counts[:, None])
