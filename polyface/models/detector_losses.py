"""What the detector should have said: which cells answer for which face (SimOTA, Ge et al. 2021), and what each answer costs.

All coordinates are pixels of the view. A cell that no face chose is background, unless it lies in a region that is ignored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from polyface.models.detector import STRIDES, cells

NEAR = 2.5
"""Cells whose middle is in a face, or within so many strides of its centre, may answer for it."""
BOTH = 1e5
"""What a cell costs that is not both."""
OVERLAP = 3.0
"""Weight of -log(overlap) against that of the score in the choice."""
BEST = 10
"""A face is given as many cells as its so many best overlaps add up to."""
TINY = 1e-7


@dataclass(frozen=True)
class Faces:
    """Of the views of a batch: boxes [B, M, 4], points [B, M, 5, 2] (NaN unknown), trust [B, M], the weight of these points; face and ignored bool [B, M]."""

    boxes: Tensor
    points: Tensor
    trust: Tensor
    face: Tensor
    ignored: Tensor


def losses_of(answers: Sequence[Mapping[str, Tensor]], faces: Faces, side: int) -> dict[str, Tensor]:
    """seen [B]: whether a face is in each cell, summed over a view's cells; for each cell that a face chose, fit: how well its
    box will fit, and box; points: for each whose face has some, their mean distance in sizes of the face, times its trust."""
    corner, stride = every_cell(side, faces.boxes.device)
    said = {part: torch.cat([answer[part].float() for answer in answers], dim=1) for part in answers[0]}
    boxes = boxes_of(said["bbox"], corner, stride)
    cls, obj = said["cls"][..., 0], said["obj"][..., 0]
    middle = (corner + 0.5) * stride[:, None]
    owner = torch.full(obj.shape, -1, dtype=torch.long, device=obj.device)
    with torch.no_grad():
        scores = (cls.sigmoid() * obj.sigmoid()).sqrt()
        for row in range(len(obj)):
            known = faces.face[row].nonzero()[:, 0]
            if len(known):
                chosen = assign(middle, stride, boxes[row].detach(), scores[row], faces.boxes[row, known])
                owner[row] = torch.where(chosen >= 0, known[chosen.clamp_min(0)], -1)
        counts = (owner >= 0) | ~_inside(middle, faces.boxes, faces.ignored)
    view, cell = (owner >= 0).nonzero(as_tuple=True)
    face = owner[view, cell]
    truth, found = faces.boxes[view, face], boxes[view, cell]
    seen = F.binary_cross_entropy_with_logits(obj, (owner >= 0).float(), reduction="none") * counts
    points = (said["kps"][view, cell].unflatten(-1, (5, 2)) + corner[cell, None]) * stride[cell, None, None]
    return {
        "seen": seen.sum(1),
        "fit": F.binary_cross_entropy_with_logits(cls[view, cell], overlaps_of(found.detach(), truth), reduction="none"),
        "box": box_loss(found, truth),
        "points": points_loss(points, faces.points[view, face], truth, faces.trust[view, face]),
    }


def assign(middle: Tensor, stride: Tensor, boxes: Tensor, scores: Tensor, truth: Tensor) -> Tensor:
    """The face [P] that each cell answers for, -1 for none: middles [P, 2] and strides [P] of the cells, the boxes [P, 4] and scores [P] they give, faces [n, 4].

    Each face takes the cells that cost least, as many as its best overlaps add up to, at least one; a cell that several want goes to the face it costs least for.
    """
    centre = (truth[:, None, :2] + truth[:, None, 2:]) / 2
    within = ((middle > truth[:, None, :2]) & (middle < truth[:, None, 2:])).all(-1)
    near = ((middle - centre).abs() < NEAR * stride[:, None]).all(-1)
    overlaps = torch.where(within | near, overlaps_of(boxes[None], truth[:, None]), 0.0)
    cost = -scores.clamp_min(TINY).log() - OVERLAP * overlaps.clamp_min(TINY).log() + BOTH * (~(within & near)).float() + BOTH**2 * (~(within | near)).float()
    count = overlaps.topk(min(BEST, len(middle)), dim=1).values.sum(1).int().clamp_min(1)
    rank = cost.argsort(dim=1, stable=True).argsort(dim=1)
    wanted = (rank < count[:, None]) & (within | near)
    best = torch.where(wanted, cost, torch.inf).min(dim=0)
    return torch.where(wanted.any(0), best.indices, -1)


def boxes_of(said: Tensor, corner: Tensor, stride: Tensor) -> Tensor:
    """bbox [..., P, 4] as the network gives it -> corners in pixels."""
    centre, half = (said[..., :2] + corner) * stride[:, None], said[..., 2:].clamp(max=10).exp() * stride[:, None] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def overlaps_of(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes [..., 4], which broadcast."""
    sides = (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])).clamp_min(0)
    shared = sides.prod(-1)
    return shared / (_area(first) + _area(second) - shared).clamp_min(TINY)


def box_loss(found: Tensor, truth: Tensor) -> Tensor:
    """EIoU (Zhang et al. 2022): one less the overlap, and the distances of centres and of sides, each by the box around both."""
    around = torch.maximum(found[:, 2:], truth[:, 2:]) - torch.minimum(found[:, :2], truth[:, :2])
    centres = ((found[:, :2] + found[:, 2:]) - (truth[:, :2] + truth[:, 2:])) / 2
    sides = (found[:, 2:] - found[:, :2]) - (truth[:, 2:] - truth[:, :2])
    far = centres.square().sum(1) / around.square().sum(1).clamp_min(TINY) + (sides.square() / around.square().clamp_min(TINY)).sum(1)
    return 1 - overlaps_of(found, truth) + far


def points_loss(found: Tensor, truth: Tensor, boxes: Tensor, trust: Tensor) -> Tensor:
    """For each face with a known point: the mean distance, |x| + |y|, of its known ones from where they should be, in sizes of the face, times its trust."""
    known = torch.isfinite(truth).all(-1)
    size = _area(boxes).clamp_min(TINY).sqrt()
    distance = (found - torch.where(known[..., None], truth, found.detach())).abs().sum(-1) * known
    rows = distance.sum(1) / known.sum(1).clamp_min(1) / size * trust
    return rows[known.any(1)]


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # validation may be the first to ask, and training has the same tensors
def every_cell(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Corners [P, 2] in strides, and strides [P], of all cells of a square view."""
    corners = [torch.from_numpy(cells(side, side, stride)).float() for stride in STRIDES]
    strides = [torch.full((len(corner),), float(stride)) for corner, stride in zip(corners, STRIDES, strict=True)]
    return torch.cat(corners).to(device), torch.cat(strides).to(device)


def _inside(middle: Tensor, boxes: Tensor, chosen: Tensor) -> Tensor:
    """Whether each middle [P, 2] lies in any of a view's chosen boxes [B, M, 4]: bool [B, P]."""
    within = ((middle > boxes[:, :, None, :2]) & (middle < boxes[:, :, None, 2:])).all(-1)
    return (within & chosen[:, :, None]).any(1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)
