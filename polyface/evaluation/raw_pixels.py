"""What a face's pixels alone say of who it is: the number beside every number of verification."""

import cv2
import numpy as np

PIXELS = "raw_pixels"

SIDE = 32


def pixels(crop: np.ndarray) -> np.ndarray:
    """uint8 [S, S, 3] -> float64 [SIDE * SIDE]: the aligned crop in grey, shrunk, less its mean, at unit length. A crop of one colour is like every other such crop."""
    grey = cv2.resize(crop.mean(axis=-1).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
    beyond = grey - grey.mean()
    length = np.linalg.norm(beyond)
    return beyond / length if length > 1e-3 else np.full(SIDE * SIDE, 1.0 / SIDE)
