"""Contact sheets of drawn people, to look at."""

import cv2
import numpy as np

from polyface.synth.draw import Drawing, draw
from polyface.synth.people import person, photo_of
from polyface.synth.write import MASK_PALETTE


def preview(seed: int, rows: int, columns: int, labelled: bool = False, size: int = 192) -> np.ndarray:
    """One person a row, uint8 RGB [rows * size, columns * size, 3]; labelled: with regions, points, box, and the nose's direction drawn on."""
    people = [person(seed, row) for row in range(rows)]
    drawings = [[draw(photo_of(who, seed, column), size) for column in range(columns)] for who in people]
    return np.vstack([np.hstack([_labelled(drawing) if labelled else drawing.image for drawing in row]) for row in drawings])


def _labelled(drawing: Drawing) -> np.ndarray:
    labels = drawing.labels
    image = cv2.addWeighted(drawing.image, 0.5, MASK_PALETTE[labels.mask], 0.5, 0)
    for point in _fixed(labels.points):
        cv2.circle(image, point, 18, (255, 255, 255), -1, cv2.LINE_AA, 4)
    corners = _fixed(np.reshape(labels.box, (2, 2)))
    cv2.rectangle(image, corners[0], corners[1], (255, 255, 255), 1, cv2.LINE_AA, 4)
    yaw, pitch, roll = np.radians([labels.yaw, labels.pitch, labels.roll])
    flat = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    ahead = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]) @ flat * image.shape[0] * 0.3
    ends = _fixed(np.stack([labels.five[2], labels.five[2] + ahead]))
    cv2.line(image, ends[0], ends[1], (80, 255, 80), 2, cv2.LINE_AA, 4)
    cv2.putText(image, f"{labels.gender[0]} {labels.age} {labels.expression}", (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 1, cv2.LINE_AA)
    cv2.putText(image, labels.race, (4, image.shape[0] - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def _fixed(points: np.ndarray) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in np.round((points - 0.5) * 16)]
