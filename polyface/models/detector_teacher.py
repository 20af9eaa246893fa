"""What another detector says of every cell of a view: a label beside those of people, from one who has seen more scenes than are at hand (Hinton et al. 2015).

Any file with YuNet's inputs and outputs may teach, since its cells are those of ours. It is asked about the very pixels that the network learns from, however they were
turned, covered or put together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from polyface import runtime
from polyface.errors import RequestError
from polyface.images.detect import load_detector
from polyface.models.detector import OUTPUTS, PARTS, STRIDES, open_sides, pictures_of
from polyface.models.detector_losses import box_loss, boxes_of, every_cell

SURE = 0.5
"""The score from which a teacher's box is one to learn."""


@dataclass(frozen=True)
class Taught:
    """Of all cells of a batch's views: how well a face's box fits and whether a face is there [B, P], both 0 to 1; boxes [B, P, 4], in pixels of the view."""

    cls: Tensor
    obj: Tensor
    boxes: Tensor


class Teacher:
    """`name` and `sha256` of the file. Raises RequestError naming one that is missing, is something else, or answers for pictures of one size only."""

    def __init__(self, path: Path, threads: int | None = None):
        known = load_detector(path, threads)
        self.name, self.sha256 = known.name, known.sha256
        network = onnx.load(path)
        open_sides(network)
        self.session, self.input = runtime.session(network.SerializeToString(), threads), network.graph.input[0].name
        try:
            self.of(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise RequestError(f"{path}: cannot teach, it answers for pictures of one size only ({str(error).splitlines()[0]})") from error

    def of(self, images: Tensor) -> Taught:
        """What it says of views uint8 [B, S, S, 3], RGB; on their device."""
        said = [self.session.run(list(OUTPUTS), {self.input: picture[None].contiguous().numpy()}) for picture in pictures_of(images.cpu())]
        joined = [torch.from_numpy(np.concatenate(each)).to(images.device) for each in zip(*said, strict=True)]
        cls, obj, boxes, _ = (torch.cat(joined[at : at + len(STRIDES)], dim=1) for at in range(0, len(OUTPUTS), len(STRIDES)))
        return Taught(cls[..., 0], obj[..., 0], boxes_of(boxes, *every_cell(images.shape[1], images.device)))


def losses_of(answers: Sequence[Mapping[str, Tensor]], taught: Taught, side: int) -> dict[str, Tensor]:
    """taught [B]: what both scores of each cell are off, the first as far as a face is there, summed over a view's cells;
    taught_box: the box of each cell where the teacher is sure. Points are not learned from it: people's and the fine network's are better."""
    said = {part: torch.cat([answer[part].float() for answer in answers], dim=1) for part in PARTS}
    seen = F.binary_cross_entropy_with_logits(said["obj"][..., 0], taught.obj, reduction="none")
    fit = F.binary_cross_entropy_with_logits(said["cls"][..., 0], taught.cls, reduction="none") * taught.obj
    sure = (taught.cls * taught.obj).sqrt() > SURE
    boxes = boxes_of(said["bbox"], *every_cell(side, seen.device))
    return {"taught": (seen + fit).sum(1), "taught_box": box_loss(boxes[sure], taught.boxes[sure])}
