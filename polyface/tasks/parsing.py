"""Parsing: CelebAMask-HQ's nineteen classes. `l_` is the subject's left, the image's right."""

from polyface.tasks.kinds import Regions

CLASSES = (
    "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip

SIDES = (("l_eye", "r_eye"), ("l_brow", "r_brow"), ("l_ear", "r_ear"))
OTHER_SIDE = {left: right for left, right in SIDES} | {right: left for left, right in SIDES}
IN_WORDS = {"eye_g": "glasses", "u_lip": "upper lip", "l_lip": "lower lip", "mouth": "inside of the mouth", "ear_r": "earring", "neck_l": "necklace"} | {
    word: f"{side} {part}" for part in ("eye", "brow", "ear") for word, side in ((f"l_{part}", "left"), (f"r_{part}", "right"))
}
"""Of the classes whose names are codes, for people to read."""

parsing = Regions("parsing", "Which part of the face is each pixel?", CLASSES, mirrored=tuple(CLASSES.index(OTHER_SIDE.get(name, name)) for name in CLASSES))
