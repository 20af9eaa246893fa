"""Parsing: CelebAMask-HQ's nineteen classes. `l_` is the subject's left, the image's right."""

from polyface.tasks.kinds import Regions

CLASSES = (
    "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip

parsing = Regions(
    "parsing",
    "Which part of the face is each pixel?",
    CLASSES,
    mirrored=tuple(CLASSES.index({"l": "r", "r": "l"}[name[0]] + name[1:]) if name[:2] in ("l_", "r_") and name != "l_lip" else index for index, name in enumerate(CLASSES)),
)
