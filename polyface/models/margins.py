"""Losses of identity: a softmax with a margin, over the people of one data set only. Logits are cosines; nobody competes with people of another set."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyface.errors import RequestError


def cosface(cosines: Tensor, person: Tensor, scale: float = 64.0, margin: float = 0.35) -> Tensor:
    """CosFace (Wang et al. 2018, eq. 4): s(cos - m) for the person, s cos for the others. cosines [B, n], person int64 [B] -> [B]."""
    target = F.one_hot(person, cosines.shape[1]).to(torch.bool)
    logits = scale * torch.where(target, cosines.float() - margin, cosines.float())
    return F.cross_entropy(logits, person, reduction="none")


class People(nn.Module):
    """One centre of unit length for each person of each space of people. forward(embedding [B, D], person [B], space) -> cosines [B, n]."""

    def __init__(self, spaces: dict[str, int], dimension: int):
        super().__init__()
        try:
            self.centres = nn.ParameterDict({name: nn.Parameter(torch.randn(count, dimension) * 0.01) for name, count in spaces.items()})
        except KeyError as error:  # torch's rules for the names of parameters
            raise RequestError(f"a data set of people, or their space, cannot be called so: {error.args[0]}") from error

    def forward(self, embedding: Tensor, space: str) -> Tensor:
        with torch.autocast(embedding.device.type, enabled=False):  # times the scale, bfloat16's rounding would be felt
            return F.normalize(embedding.float(), dim=-1) @ F.normalize(self.centres[space].float(), dim=-1).T
