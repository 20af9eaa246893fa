"""Which faces of a video are one face: by where they are, and by what the network's embedding says of them.

Measured with the weights of 2026-11-28 on photographs of WIDER that were moved and stored anew as the next frame of a film would be: one face keeps a cosine of 0.65
and more, blurred and small 0.2 to 0.4 in one of twenty; two faces of one picture reach 0.47 in the median. So a cosine alone says little, and what it may say depends on
how far the face has moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from polyface.inference.card import Card
from polyface.metrics.detection import overlaps_between

SAME_PLACE = 0.3
"""Overlap (intersection over union) from which two boxes are of one face, unless it was not seen lately or the cosine is under ANOTHER."""
RECENT = 0.3
"""Seconds since a face was seen for which its place says so: after longer, another may be where it was."""
ANOTHER = 0.3
"""Cosine of two embeddings under which a face at the same place is another one: after a cut of the film, 75 of 100 strangers are under it."""
NEAR_FAR, ANYWHERE_FAR = 0.01, 0.0001
"""The rates of false acceptance of the card's lines that a cosine must reach for a face that is not at the same place: where its box would overlap if both were
three times as large, and anywhere in the picture."""
NEAR = 3.0
SURE = 2.0
"""More than any place and cosine add up to: faces that are known anywhere are told first."""
FORGOTTEN_SECONDS, FORGOTTEN_LOOKS = 10.0, 5
"""A face that was not seen for so long, and on so many frames that were looked at, gets a new number when it comes back."""
FRESH = 0.3
"""The share of the newest embedding in that of a track."""


@dataclass
class Track:
    """box (x0, y0, x1, y1) where it was seen last, at a time in seconds and on the so-manieth frame looked at; vector of unit length, or none."""

    number: int
    box: np.ndarray
    vector: np.ndarray | None
    time: float
    look: int


@dataclass
class Tracks:
    """The faces of one video, frame after frame, all with embeddings or none. near, anywhere: cosines (see NEAR_FAR); None: only the place counts."""

    near: float | None = None
    anywhere: float | None = None
    tracks: list[Track] = field(default_factory=list)
    numbers: int = 0
    looks: int = 0

    def follow(self, time: float, boxes: Sequence[Sequence[float]], vectors: Sequence[np.ndarray] | None = None) -> list[int]:
        """The number of each face of the next frame, from 0; vectors: their embeddings, of any length."""
        self.looks += 1
        self.tracks = [track for track in self.tracks if time - track.time <= FORGOTTEN_SECONDS or self.looks - track.look <= FORGOTTEN_LOOKS]
        found = np.asarray(boxes, np.float64).reshape(-1, 4)
        directions = None if vectors is None else [_unit(vector) for vector in vectors]
        numbers = [-1] * len(found)
        taken: set[int] = set()
        for row, at in self._pairs(time, found, directions):
            if numbers[row] < 0 and at not in taken:
                numbers[row] = self.tracks[at].number
                taken.add(at)
                self._see(self.tracks[at], time, found[row], None if directions is None else directions[row])
        for row in range(len(found)):
            if numbers[row] < 0:
                numbers[row], self.numbers = self.numbers, self.numbers + 1
                self.tracks.append(Track(numbers[row], found[row], None if directions is None else directions[row], time, self.looks))
        return numbers

    def _pairs(self, time: float, boxes: np.ndarray, vectors: Sequence[np.ndarray] | None) -> list[tuple[int, int]]:
        """(face, track) of all that may be one, the likeliest first."""
        if not len(boxes) or not self.tracks:
            return []
        places = np.stack([track.box for track in self.tracks])
        overlaps = overlaps_between(boxes, places)
        if vectors is None or self.near is None or self.anywhere is None:
            score, possible = overlaps, overlaps >= SAME_PLACE
        else:
            cosines = np.stack([*vectors]) @ np.stack([track.vector for track in self.tracks if track.vector is not None]).T
            near = overlaps_between(_grown(boxes), _grown(places)) > 0
            overlaps = overlaps * np.array([time - track.time <= RECENT for track in self.tracks])
            possible = (overlaps >= SAME_PLACE) & (cosines >= ANOTHER) | near & (cosines >= self.near) | (cosines >= self.anywhere)
            score = overlaps + cosines + SURE * (cosines >= self.anywhere)  # or a stranger at somebody's place would be taken for them
        rows, columns = np.nonzero(possible)
        order = np.argsort(-score[rows, columns], kind="stable")
        return list(zip(rows[order].tolist(), columns[order].tolist(), strict=True))

    def _see(self, track: Track, time: float, box: np.ndarray, vector: np.ndarray | None) -> None:
        track.time, track.look, track.box = time, self.looks, box
        if vector is not None and track.vector is not None:
            track.vector = _unit((1 - FRESH) * track.vector + FRESH * vector)


def tracks_by(card: Card) -> Tracks:
    """As sure as a model may be by its card; where it was not calibrated on pairs of people, by place only."""
    lines = {line.far: line.cosine for line in card.thresholds}
    return Tracks(lines.get(NEAR_FAR), lines.get(ANYWHERE_FAR))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _grown(boxes: np.ndarray) -> np.ndarray:
    more = (boxes[:, 2:] - boxes[:, :2]) * (NEAR - 1) / 2
    return np.hstack([boxes[:, :2] - more, boxes[:, 2:] + more])
