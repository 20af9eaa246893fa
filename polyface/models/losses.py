"""The default loss of each kind of question: functions of (task, output, labels) that return a loss for each row, float32 [B].

Rows that say nothing have loss 0 and gradient 0, exactly; unknown values are replaced before arithmetic, because NaN times 0 is NaN.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from polyface.tasks.kinds import Angles, Category, Points, Regions, Scale, Task, Traits

Labels = Mapping[str, Tensor]

MASKED = -1e9  # finite, so that a gradient through an impossible answer is 0 and not NaN


def log_sum_exp(logits: Tensor, mask: Tensor) -> Tensor:
    """logsumexp over the answers of a mask, in float32. One operation for S and for U, so that S = U gives 0."""
    return torch.where(mask, logits.float(), MASKED).logsumexp(-1)


def surprise(logits: Tensor, possible: Tensor, scope: Tensor) -> Tensor:
    """-log P(S | U): `labels.surprise` in torch. logits [..., C], masks bool [..., C] -> [...]."""
    return log_sum_exp(logits, scope) - log_sum_exp(logits, possible)


def category(task: Category, logits: Tensor, labels: Labels) -> Tensor:
    """The mean of the words' surprise by their shares."""
    each = surprise(logits[:, None], labels["sets"], labels["scope"][:, None].expand_as(labels["sets"]))
    return (labels["share"] * each).sum(-1)


SMOOTHNESS = 0.01


def scale(task: Scale, logits: Tensor, labels: Labels) -> Tensor:
    """Surprise of the interval lo..hi; a number of stated precision is Gaussian shares over the numbers.

    A number that is not whole leaves the one it rounds to possible. A little smoothness (squared second differences of the logits) ties neighbouring years, which few
    pictures show each.
    """
    numbers = torch.arange(task.top + 1, device=logits.device, dtype=torch.float32)
    curvature = logits.float().diff(n=2, dim=-1).square().mean(-1)
    labelled = (labels["lo"] > 0) | (labels["hi"] < task.top)
    return interval_surprise(logits, labels, numbers, half=0.5) + SMOOTHNESS * curvature * labelled


def angles(task: Angles, logits: Tensor, labels: Labels) -> Tensor:
    """As `scale` on each axis; the mean over the axes that are labelled. logits [B, 3, bins]."""
    centres = torch.as_tensor(task.centres, device=logits.device, dtype=torch.float32)
    each = interval_surprise(logits, labels, centres, half=task.step / 2)
    known = (labels["lo"] > -task.limit) | (labels["hi"] < task.limit)
    return (each * known).sum(-1) / known.sum(-1).clamp_min(1)


def interval_surprise(logits: Tensor, labels: Labels, numbers: Tensor, half: float) -> Tensor:
    """-log P(lo..hi) of a distribution over numbers [K], each standing for itself plus and minus half. logits [..., K], lo, hi, sigma [...] -> [...].

    Where sigma > 0 and lo = hi, the mean surprise by Gaussian shares about lo.
    """
    lo, hi, sigma = (labels[name].float()[..., None] for name in ("lo", "hi", "sigma"))
    reach = torch.where(hi - lo < 2 * half, half, 0.0)  # a number, or a range narrower than a bin, takes the bin it lies in
    possible = (numbers >= lo - reach) & (numbers <= hi + reach)
    everything = torch.ones_like(possible)
    exact = surprise(logits, possible, everything)
    shares = torch.softmax(-0.5 * ((numbers - lo) / sigma.clamp_min(1e-3)) ** 2, dim=-1)
    spread = log_sum_exp(logits, everything) - (shares * logits.float()).sum(-1)
    return torch.where(sigma[..., 0] > 0, spread, exact)


def traits(task: Traits, logits: Tensor, labels: Labels) -> Tensor:
    """Logistic loss, the mean over the entries that are known."""
    known = labels["values"] >= 0
    target = labels["values"].clamp_min(0).float()
    each = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return (each * known).sum(-1) / known.sum(-1).clamp_min(1)


def points(task: Points, output: Tensor, labels: Labels) -> Tensor:
    """Laplace negative log-likelihood of the labelled points about their mapped predictions, in pixels; the mean over the points seen.

    output [B, P, 3]: x, y and the spread b > 0. -log p = |dx| + |dy| over b, + 2 log 2b; the spread of a mean of points is the mean of theirs.
    """
    with torch.autocast(output.device.type, enabled=False):  # bfloat16 would put points on a grid of half a pixel
        mapped = labels["map"] @ output.float()
    seen = labels["seen"]
    spread = torch.where(seen, mapped[..., 2], 1.0).clamp_min(0.05)
    distance = (mapped[..., :2] - labels["xy"]).abs().sum(-1)
    each = torch.where(seen, distance, 0.0) / spread + 2 * (2 * spread).log()
    return torch.where(seen, each, 0.0).sum(-1) / seen.sum(-1).clamp_min(1)


def regions(task: Regions, logits: Tensor, labels: Labels) -> Tensor:
    """Surprise of each labelled pixel's word within the union of its set's words; the mean over the labelled pixels. logits are upsampled to the label."""
    words, table = labels["words"].long(), labels["table"]
    z = F.interpolate(logits.float(), size=words.shape[-2:], mode="bilinear", align_corners=False)
    known = words != 255
    possible = _sets_of_pixels(words, table)
    scope = table.any(1)[:, :, None, None].expand_as(possible)
    each = torch.where(scope, z, MASKED).logsumexp(1) - torch.where(possible, z, MASKED).logsumexp(1)
    return torch.where(known, each, 0.0).sum((1, 2)) / known.sum((1, 2)).clamp_min(1)


def overlap(task: Regions, logits: Tensor, labels: Labels) -> Tensor:
    """1 - Dice of each word that a row shows (Milletari et al. 2016), the mean over them: small regions count as much as large ones, as in their F1.

    A word's share of a pixel is P(S given U). Pixels of another word whose set meets S do not say whether they are this one, and are left out.
    """
    words, table = labels["words"].long(), labels["table"]
    z = F.interpolate(logits.float(), size=words.shape[-2:], mode="bilinear", align_corners=False)
    scope = table.any(1)[:, :, None, None]
    share = torch.einsum("bkc,bchw->bkhw", table.float(), torch.where(scope, z, MASKED).softmax(1))
    number = torch.arange(table.shape[1], device=words.device)
    own = words[:, None] == number[:, None, None]
    meets = table.float() @ table.float().transpose(1, 2) > 0
    of_pixels = torch.where(words == 255, 0, words).flatten(1)[:, None].expand(-1, len(number), -1)
    told = own | (~meets.gather(2, of_pixels).view_as(own) & (words != 255)[:, None])
    both = (share * own).sum((2, 3))
    dice = 2 * both / ((share * told).sum((2, 3)) + own.sum((2, 3))).clamp_min(1)
    there = own.any(-1).any(-1)
    return torch.where(there, 1 - dice, 0.0).sum(1) / there.sum(1).clamp_min(1)


def _sets_of_pixels(words: Tensor, table: Tensor) -> Tensor:
    """bool [B, C, H, W]: what the word at each pixel leaves possible; an unlabelled pixel is given its row's first word and masked by the caller."""
    batch, height, width = words.shape
    index = torch.where(words == 255, 0, words).view(batch, -1, 1).expand(-1, -1, table.shape[-1])
    return table.gather(1, index).view(batch, height, width, -1).permute(0, 3, 1, 2)


LOSSES: Mapping[type[Task], Callable[..., Tensor]] = {Category: category, Scale: scale, Traits: traits, Points: points, Regions: regions, Angles: angles}
"""Embedding's loss needs the people of each data set: `models/margins.py`."""
