"""Head pose from 68 points: a perspective fit to a mean head.

Where no set labels pose, training angles come from here, and the card says so. The 68 vertices are those of ICT-FaceKit Light's neutral head (MIT, see NOTICE), in
centimetres: x to the image's right of a head that faces the camera, y up, z towards the camera.
"""

import cv2
import numpy as np

HEAD_68 = np.array([
    (-7.36, 3.68, 3.66), (-7.28, 1.49, 3.93), (-6.94, -0.46, 4.53), (-6.56, -2.36, 5.17), (-5.72, -4.49, 6.13), (-4.30, -6.21, 7.35),
    (-3.05, -6.91, 8.77), (-1.54, -7.26, 10.27), (0.00, -7.57, 10.43), (1.54, -7.26, 10.27), (3.05, -6.91, 8.77), (4.30, -6.21, 7.35),
    (5.72, -4.49, 6.13), (6.56, -2.36, 5.17), (6.94, -0.46, 4.53), (7.28, 1.49, 3.93), (7.36, 3.68, 3.66), (-5.82, 5.20, 7.91),
    (-4.93, 5.98, 8.99), (-3.79, 6.26, 9.83), (-2.41, 6.19, 10.48), (-1.17, 5.91, 10.73), (1.17, 5.91, 10.73), (2.41, 6.19, 10.48),
    (3.79, 6.26, 9.83), (4.93, 5.98, 8.99), (5.82, 5.20, 7.91), (0.00, 3.74, 10.73), (0.00, 2.63, 11.52), (0.00, 1.61, 12.31),
    (0.00, 0.41, 13.07), (-1.25, -1.14, 10.87), (-0.60, -1.14, 11.42), (0.00, -1.20, 11.57), (0.60, -1.14, 11.42), (1.25, -1.14, 10.87),
    (-4.46, 3.43, 8.60), (-3.87, 3.87, 9.36), (-2.78, 3.94, 9.53), (-1.84, 3.25, 9.20), (-2.73, 3.08, 9.41), (-3.86, 3.07, 9.23),
    (1.84, 3.25, 9.20), (2.78, 3.94, 9.53), (3.87, 3.87, 9.36), (4.46, 3.43, 8.60), (3.86, 3.07, 9.23), (2.73, 3.08, 9.41),
    (-2.53, -3.52, 10.19), (-1.70, -2.78, 11.22), (-0.73, -2.42, 11.73), (0.00, -2.48, 11.84), (0.73, -2.42, 11.73), (1.70, -2.78, 11.22),
    (2.53, -3.52, 10.19), (1.80, -4.06, 10.90), (1.03, -4.30, 11.39), (0.00, -4.38, 11.55), (-1.03, -4.30, 11.39), (-1.80, -4.06, 10.90),
    (-2.21, -3.49, 10.13), (-1.00, -3.30, 11.09), (0.00, -3.32, 11.28), (1.00, -3.30, 11.09), (2.21, -3.49, 10.13), (1.07, -3.38, 11.04),
    (0.00, -3.40, 11.25), (-1.07, -3.38, 11.04),
])  # fmt: skip

RIGID = [0, 1, 2, 14, 15, 16, *range(27, 48)]
"""Nose, eyes, and the jaw's ends beside the ears."""

DISTANCE = 8.0
"""The camera stands so many face widths away, as for a portrait [INF]: a picture does not say."""


def angles_of_68(points: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees of a head whose 68 points [68, 2] are given in a picture's pixels.

    Yaw > 0: the nose points to the image's right; pitch > 0: up; roll > 0: the head leans clockwise as seen. The camera looks straight at the face, wherever it is in the
    picture. Only points that no expression moves are fitted: with brows and mouth among them a grin reads as a bowed head (LOG.md).
    """
    picture, head = np.asarray(points, np.float64)[RIGID], HEAD_68[RIGID] * [1, -1, -1]  # OpenCV's camera: y down, z away
    focal = DISTANCE * float(np.ptp(np.asarray(points), axis=0).max())
    camera = np.array([[focal, 0, picture[:, 0].mean()], [0, focal, picture[:, 1].mean()], [0, 0, 1]])
    _, turn, shift = cv2.solvePnP(head, picture, camera, None, flags=cv2.SOLVEPNP_EPNP)
    _, turn, shift = cv2.solvePnP(head, picture, camera, None, turn, shift, True, cv2.SOLVEPNP_ITERATIVE)
    return angles_of_rotation(cv2.Rodrigues(turn)[0])


def angles_of_rotation(rotation: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch, roll of a head turned by a rotation [3, 3] in OpenCV's camera (x right, y down, z away): roll about z after yaw about y after
    pitch about x, as in 300W-LP.

    The nose of a head at rest points along (0, 0, -1), its ears along (1, 0, 0). Roll comes last, so that turning a picture changes roll and nothing else.
    """
    nose, ears = rotation @ np.array([0.0, 0.0, -1.0]), rotation @ np.array([1.0, 0.0, 0.0])
    roll = np.arctan2(ears[1], ears[0])
    across, down = np.cos(roll) * nose[0] + np.sin(roll) * nose[1], np.cos(roll) * nose[1] - np.sin(roll) * nose[0]
    yaw, pitch = np.arctan2(across, -nose[2]), np.arcsin(np.clip(-down, -1, 1))
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))
