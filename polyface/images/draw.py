"""Answers on a picture.

`annotate` makes what a person would want to show. It knows the forms of answers (DESIGN.md, "An answer"), not the names of tasks: new tasks are drawn too.
The `draw_` functions draw into the uint8 RGB picture that they are given, and return it; all coordinates are continuous pixels. Text is ASCII.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from polyface.images import geometry
from polyface.labels import readable
from polyface.terminal import percent

Colour = tuple[int, int, int]

ACCENTS: tuple[Colour, ...] = ((255, 209, 82), (96, 205, 255), (255, 132, 148), (140, 230, 150), (206, 160, 255), (255, 170, 90))
"""One per face, in turn; all stand out on the plate."""
PLATE, WORDS = (22, 24, 30), (240, 240, 240)
FONT = cv2.FONT_HERSHEY_DUPLEX
LEGIBLE = 640  # a picture whose long side is shorter is enlarged to it before words are written on it
STRONG, STRONGEST = 0.6, 4  # of many yes-or-no answers those at least so probable, and so many of them
CROWD = 6  # from so many faces on that are at least a third as large as the largest, each has one line
DOTTED = 64  # pixels of a face, below which points and axes would hide it
HIDES = 0.05  # of a face or of another panel: what a panel may hide
NOT_ANSWERS = frozenset({"image", "frame", "time", "track", "face", "faces", "detector", "notes", "box", "score", "model", "error"})


def annotate(image: np.ndarray, faces: Sequence[Mapping[str, Any]], margin: bool = True) -> np.ndarray:
    """A new picture: for each face a thin box, its points, axes and class map, and a panel with its answers beside the box.

    `faces` are answers as DESIGN.md says, the foremost first; a class map is drawn where it is uint8 [H, W] of the picture instead of a file's name. A picture smaller
    than LEGIBLE comes back enlarged, and one that a face fills comes back with a margin for the panel. A panel that would hide a face or another panel shrinks to one
    line, and is left out where that has no room either. Frames of a video are to be of one size: there (margin False) is one line for each face, which keeps its number
    and colour.
    """
    scale = max(1.0, LEGIBLE / max(image.shape[:2]))
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    canvas = image.copy() if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    unit = max(size) / LEGIBLE
    boxes = [np.asarray(face["box"], np.float64) * scale for face in faces]
    colours = [ACCENTS[face.get("track", at) % len(ACCENTS)] for at, face in enumerate(faces)]
    for face, box, colour in zip(faces, boxes, colours, strict=True):
        _draw_shapes(canvas, face, box, colour, scale, unit)
    forms = _forms(faces, boxes, unit, margin)
    room = _room(forms, boxes, size, unit) if margin else 0
    if room:
        canvas = cv2.copyMakeBorder(canvas, 0, 0, 0, room, cv2.BORDER_CONSTANT, value=PLATE)
    for at, panel, place in _placed(forms, boxes, (size[0] + room, size[1]), unit):
        draw_text_panel(canvas, panel.lines, place, panel.height, colours[at])
    return canvas


def draw_box(image: np.ndarray, box: Sequence[float] | np.ndarray, colour: Colour = ACCENTS[0], thickness: int = 1) -> np.ndarray:
    """A thin box (x0, y0, x1, y1) with stronger corners, where it is large enough for them."""
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    cv2.rectangle(image, (x0, y0), (x1, y1), colour, thickness, cv2.LINE_AA)
    arm = min(x1 - x0, y1 - y0) // 7
    if arm < 4:
        return image
    for x, along in ((x0, arm), (x1, -arm)):
        for y, down in ((y0, arm), (y1, -arm)):
            cv2.line(image, (x, y), (x + along, y), colour, 3 * thickness, cv2.LINE_AA)
            cv2.line(image, (x, y), (x, y + down), colour, 3 * thickness, cv2.LINE_AA)
    return image


def draw_points(image: np.ndarray, points: np.ndarray, colour: Colour = ACCENTS[0], radius: float = 1.5) -> np.ndarray:
    """Points [N, 2] as dots with a dark rim, placed to a sixteenth of a pixel."""
    for x, y in np.asarray(points, np.float64):
        at = round((x - 0.5) * 16), round((y - 0.5) * 16)  # OpenCV's first pixel has its centre at 0
        cv2.circle(image, at, round((radius + 1) * 16), PLATE, -1, cv2.LINE_AA, shift=4)
        cv2.circle(image, at, round(radius * 16), colour, -1, cv2.LINE_AA, shift=4)
    return image


def draw_regions(image: np.ndarray, class_map: np.ndarray, palette: np.ndarray | None = None, opacity: float = 0.4) -> np.ndarray:
    """A class map uint8 [H, W] laid over the picture; class 0 and classes beyond the palette (uint8 [C, 3]) stay clear."""
    palette = region_palette() if palette is None else palette
    shown = (class_map > 0) & (class_map < len(palette))
    colours = palette[class_map[shown]].astype(np.float32)
    image[shown] = np.rint(image[shown] * (1 - opacity) + colours * opacity).astype(np.uint8)
    return image


def region_palette(classes: int = 19) -> np.ndarray:
    """uint8 [classes, 3]: hues that lie far apart for neighbouring classes; class 0 is black."""
    steps = np.arange(classes)
    hsv = np.stack([(steps * 180 * 0.618) % 180, np.where(steps % 2, 190, 130), np.full(classes, 255)], axis=1).astype(np.uint8)
    palette = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    palette[0] = 0
    return palette


def draw_axes(image: np.ndarray, yaw: float, pitch: float, roll: float, centre: Sequence[float], size: float) -> np.ndarray:
    """A head's axes in degrees (yaw > 0 to the image's right, pitch > 0 up, roll > 0 clockwise) from `centre`, `size` long:
    red to the image's right, green to the crown, blue where the nose points.
    """
    thickness = max(1, round(size / 20))
    start = round(float(centre[0])), round(float(centre[1]))
    for axis, colour in zip(axes_in_picture(yaw, pitch, roll), ((235, 80, 80), (90, 210, 110), (80, 140, 255)), strict=True):
        end = round(centre[0] + size * axis[0]), round(centre[1] + size * axis[1])
        cv2.arrowedLine(image, start, end, PLATE, thickness + 2, cv2.LINE_AA, tipLength=0.15)
        cv2.arrowedLine(image, start, end, colour, thickness, cv2.LINE_AA, tipLength=0.15)
    return image


def axes_in_picture(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """float [3, 2]: the unit vectors of a head (to the image's right, to its crown, along its nose) as seen in the picture, x right and y down."""
    yaw, pitch, roll = np.radians([yaw, pitch, roll])
    head = np.array([[1, 0, 0], [0, -1, 0], [0, 0, 1]], np.float64).T  # columns; x right, y down, z to the viewer
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    lean = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return (lean @ turn @ nod @ head).T[:, :2]


def draw_text_panel(image: np.ndarray, lines: Sequence[str], corner: Sequence[float], height: int = 16, colour: Colour = ACCENTS[0]) -> np.ndarray:
    """Lines on a dark translucent plate whose upper left corner is `corner`; `height` is that of a line. The first line is the title, in `colour`."""
    if not lines:
        return image
    wide, tall = panel_size(lines, height)
    x, y = round(corner[0]), round(corner[1])
    inside = image[max(y, 0) : max(y + tall, 0), max(x, 0) : max(x + wide, 0)]
    inside[:] = np.rint(inside * 0.25 + np.array(PLATE) * 0.75).astype(np.uint8)
    cv2.rectangle(image, (x, y), (x + max(2, height // 6), y + tall - 1), colour, -1)
    for row, line in enumerate(lines):
        at = x + height, y + height // 2 + round((row + 0.75) * height)
        cv2.putText(image, _ascii(line), at, FONT, _font_scale(height), colour if row == 0 else WORDS, _stroke(height), cv2.LINE_AA)
    return image


def panel_size(lines: Sequence[str], height: int) -> tuple[int, int]:
    """(width, height) of the plate of `draw_text_panel`."""
    widest = max((cv2.getTextSize(_ascii(line), FONT, _font_scale(height), _stroke(height))[0][0] for line in lines), default=0)
    return widest + height + height // 2, height * (len(lines) + 1)


def contact_sheet(images: Sequence[np.ndarray], columns: int, captions: Sequence[str] | None = None, cell: int = 160) -> np.ndarray:
    """Pictures of any sizes in rows, each fitted into a square of `cell` pixels, captions (shortened to fit) below."""
    rows = -(-len(images) // columns)
    below = cell // 8 if captions else 0
    sheet = np.full((max(rows, 1) * (cell + below), columns * cell, 3), PLATE, np.uint8)
    for number, image in enumerate(images):
        scale = (cell - 4) / max(image.shape[:2])
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        x, y = number % columns * cell, number // columns * (cell + below)
        left, top = x + (cell - size[0]) // 2, y + (cell - size[1]) // 2
        sheet[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        if captions:
            words = _fitting(captions[number], cell - 6, below)
            cv2.putText(sheet, words, (x + 3, y + cell + round(below * 0.7)), FONT, _font_scale(below), WORDS, 1, cv2.LINE_AA)
    return sheet


# What a face's answers look like


@dataclass(frozen=True)
class Panel:
    lines: list[str]
    height: int
    size: tuple[int, int]


def _draw_shapes(canvas: np.ndarray, face: Mapping[str, Any], box: np.ndarray, colour: Colour, scale: float, unit: float) -> None:
    """What of a face's answers has a place in the picture; lines grow with the picture, and shrink with the face."""
    side = _side(box)
    answers = [answer for name, answer in face.items() if name not in NOT_ANSWERS]
    for answer in answers:
        if isinstance(answer, np.ndarray) and answer.ndim == 2 and answer.dtype == np.uint8:
            size = canvas.shape[1::-1]
            draw_regions(canvas, answer if answer.shape == canvas.shape[:2] else geometry.warp_smoothly(answer, geometry.about((0.0, 0.0), scale), size))
    draw_box(canvas, box, colour, max(1, round(min(unit, side / 80))))
    for answer in answers if side >= DOTTED else ():
        if _is_points(answer):
            draw_points(canvas, np.asarray(answer, np.float64) * scale, (255, 255, 255), max(0.6, min(1.6 * unit, side / 110)))
        elif isinstance(answer, Mapping) and {"yaw", "pitch", "roll"} <= answer.keys():
            centre = box[0] + 0.14 * side, box[1] + 0.14 * side  # a corner of the box, so that it hides no feature
            draw_axes(canvas, answer["yaw"], answer["pitch"], answer["roll"], centre, side * 0.12)


def _side(box: np.ndarray) -> float:
    return float(max(box[2] - box[0], box[3] - box[1], 1))


def _forms(faces: Sequence[Mapping[str, Any]], boxes: Sequence[np.ndarray], unit: float, margin: bool) -> list[list[Panel]]:
    """The panels that each face may have, of which it gets the first that has room: all answers, of a large face and in no crowd; one line."""
    line = round(15 * unit**0.75)  # a large picture is looked at from further away, not as much further as it is larger
    sides = [_side(box) for box in boxes]
    at_length = margin and sum(side >= max(sides) / 3 for side in sides) < CROWD
    return [
        [
            *([_panel(_lines(face), line)] if at_length and side >= 3 * line else []),
            _panel(_line(face), max(12, min(line, round(side / 3)))),  # words shrink with the face, since they would hide others, but stay legible
        ]
        for face, side in zip(faces, sides, strict=True)
    ]


def _panel(lines: list[str], height: int) -> Panel:
    return Panel(lines, height, panel_size(lines, height) if lines else (0, 0))


def _lines(face: Mapping[str, Any]) -> list[str]:
    title = f"face {face['face']}" if "face" in face else "face"
    return [title, *(line for name, answer in _answers(face).items() for line in _at_length(name, answer)), *face.get("notes", ())]


def _line(face: Mapping[str, Any]) -> list[str]:
    words = [text for answer in _answers(face).values() if (text := _briefly(answer))][:2]
    number = [f"face {face['track']}:"] if "track" in face else []
    return [" ".join([*number, ", ".join(words)])] if words or number else []


def _answers(face: Mapping[str, Any]) -> dict[str, Any]:
    return {name: answer for name, answer in face.items() if name not in NOT_ANSWERS}


def _briefly(answer: Any) -> str | None:
    """What a crowd has room for: a number, or the best of some classes."""
    if not isinstance(answer, Mapping):
        return None
    if "probabilities" in answer:
        return readable(str(answer["answer"]))
    unit = _unit_of(answer)
    return f"{answer[unit]:.0f}" if unit else None


def _at_length(name: str, answer: Any) -> list[str]:
    """The lines of one answer; none for what is drawn in the picture, or is no matter for the eye."""
    if not isinstance(answer, Mapping) or not answer:
        return []
    if "probabilities" in answer:
        best = answer["answer"]
        others = ", ".join(readable(word) for word in answer.get("set", ()) if word != best)
        return [f"{name}: {readable(best)} {percent(answer['probabilities'][best])}" + (f", or {others}" if others else "")]  # the share is that of the one word
    unit = _unit_of(answer)
    if unit:
        between = f" ({answer['low']:.0f} to {answer['high']:.0f})" if {"low", "high"} <= answer.keys() else ""
        return [f"{name}: {answer[unit]:.0f} {unit}{between}"]
    if {"yaw", "pitch", "roll"} <= answer.keys():
        return [f"{name}: " + ", ".join(f"{axis} {round(answer[axis]):+d}" for axis in ("yaw", "pitch", "roll"))]
    if all(isinstance(share, int | float) for share in answer.values()):
        strong = sorted((trait for trait, share in answer.items() if share >= STRONG), key=lambda trait: -answer[trait])[:STRONGEST]
        return [f"{readable(trait)} {percent(answer[trait])}" for trait in strong]
    return []


def _unit_of(answer: Mapping[str, Any]) -> str | None:
    """`years` of {"years": 31, "low": 26, "high": 37}; None for an answer of another form."""
    units = [key for key in answer if key not in ("low", "high")]
    return units[0] if len(units) == 1 and isinstance(answer[units[0]], int | float) else None


def _is_points(answer: Any) -> bool:
    return isinstance(answer, Sequence | np.ndarray) and not isinstance(answer, str) and np.ndim(answer) == 2 and np.shape(answer)[1] == 2


def _room(forms: Sequence[Sequence[Panel]], boxes: Sequence[np.ndarray], size: tuple[int, int], unit: float) -> int:
    """The margin to add at the right, if a panel would else cover its own face."""
    gap = _gap(unit)
    margin = 0
    for (panel, *_), box in zip(forms, boxes, strict=True):
        if panel.lines and min(_shared(_plate(panel, place), box) for place in _around(panel, box, size, gap)) > 0.25 * panel.size[0] * panel.size[1]:
            margin = max(margin, panel.size[0] + 2 * gap)
    return margin


def _placed(forms: Sequence[Sequence[Panel]], boxes: Sequence[np.ndarray], size: tuple[int, int], unit: float) -> Iterator[tuple[int, Panel, tuple[int, int]]]:
    """(face, panel, upper left corner) of every panel that has room, beside its box where that hides least of a face or of another panel."""
    taken = list(boxes)
    for at, panels in enumerate(forms):
        for panel in panels:
            others = np.stack(taken)
            areas = np.maximum((others[:, 2:] - others[:, :2]).prod(1), 1)
            areas[len(boxes) :] = np.minimum(areas[len(boxes) :], max(panel.size[0] * panel.size[1], 1))  # of two panels the smaller hides a line of the larger
            around = _around(panel, boxes[at], size, _gap(unit))
            hidden = [float((_shared(_plate(panel, place), others) / areas).max()) for place in around]
            best = int(np.argmin(hidden))
            if panel.lines and hidden[best] <= HIDES:
                taken.append(_plate(panel, around[best]))
                yield at, panel, around[best]
                break


def _gap(unit: float) -> int:
    return max(3, round(5 * unit))


def _around(panel: Panel, box: np.ndarray, size: tuple[int, int], gap: int) -> list[tuple[int, int]]:
    """Right and left of a box, below and above it, from its one end, from its other or about its middle, moved so that the panel lies in the picture."""
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    wide, tall = panel.size
    along = [(x, y) for y in (y0, y1 - tall, (y0 + y1 - tall) // 2) for x in (x1 + gap, x0 - gap - wide)]
    beyond = [(x, y) for x in (x0, x1 - wide, (x0 + x1 - wide) // 2) for y in (y1 + gap, y0 - gap - tall)]
    return [(max(0, min(x, size[0] - wide)), max(0, min(y, size[1] - tall))) for x, y in (*along[:2], *beyond[:4], *along[2:], *beyond[4:])]


def _plate(panel: Panel, place: tuple[int, int]) -> np.ndarray:
    return np.array([*place, place[0] + panel.size[0], place[1] + panel.size[1]], np.float64)


def _shared(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The area that a box [4] (x0, y0, x1, y1) has in common with each of boxes [..., 4]."""
    return np.clip(np.minimum(boxes[..., 2:], box[2:]) - np.maximum(boxes[..., :2], box[:2]), 0, None).prod(-1)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def _font_scale(line: int) -> float:
    return cv2.getFontScaleFromHeight(FONT, max(6, round(line * 0.55)), 1)


def _stroke(line: int) -> int:
    return max(1, round(line / 22))


def _fitting(text: str, width: int, line: int) -> str:
    text = _ascii(text)
    while len(text) > 1 and cv2.getTextSize(text, FONT, _font_scale(line), 1)[0][0] > width:
        text = text[:-1]
    return text
