"""Answers on a picture.

`annotate` makes what a person would want to show. It knows the forms of answers (DESIGN.md, "An answer"), not the names of tasks: new tasks are drawn too.
The `draw_` functions draw into the uint8 RGB picture that they are given, and return it; all coordinates are continuous pixels. Text is ASCII.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

Colour = tuple[int, int, int]

ACCENTS: tuple[Colour, ...] = ((255, 209, 82), (96, 205, 255), (255, 132, 148), (140, 230, 150), (206, 160, 255), (255, 170, 90))
"""One per face, in turn; all stand out on the plate."""
PLATE, WORDS = (22, 24, 30), (240, 240, 240)
FONT = cv2.FONT_HERSHEY_DUPLEX
LEGIBLE = 640  # a picture whose long side is shorter is enlarged to it before words are written on it
STRONG, STRONGEST = 0.6, 4  # of many yes-or-no answers those at least so probable, and so many of them
CROWD = 6  # from so many faces on, each has one line
NOT_ANSWERS = frozenset({"image", "frame", "time", "track", "face", "faces", "detector", "notes", "box", "score", "model", "error"})


def annotate(image: np.ndarray, faces: Sequence[Mapping[str, Any]], margin: bool = True) -> np.ndarray:
    """A new picture: for each face a thin box, its points, axes and class map, and a panel with its answers beside the box.

    `faces` are answers as DESIGN.md says; a class map is drawn where it is uint8 [H, W] of the picture instead of a file's name. A picture smaller than LEGIBLE
    comes back enlarged, and one that a face fills comes back with a margin for the panel. Frames of a video are to be of one size: there (margin False) is one line
    for each face, which keeps its number and colour.
    """
    scale = max(1.0, LEGIBLE / max(image.shape[:2]))
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    canvas = image.copy() if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    unit = max(size) / LEGIBLE
    boxes = [np.asarray(face["box"], np.float64) * scale for face in faces]
    colours = [ACCENTS[face.get("track", at) % len(ACCENTS)] for at, face in enumerate(faces)]
    for face, box, colour in zip(faces, boxes, colours, strict=True):
        _draw_shapes(canvas, face, box, colour, scale, unit)
    crowd = len(faces) >= CROWD
    panels = [_panel(face, unit, crowd or not margin, _side(box) / 3 if crowd else np.inf) for face, box in zip(faces, boxes, strict=True)]
    room = _room(panels, boxes, size, unit) if margin else 0
    if room:
        canvas = cv2.copyMakeBorder(canvas, 0, 0, 0, room, cv2.BORDER_CONSTANT, value=PLATE)
    for panel, place, colour in zip(panels, _places(panels, boxes, (size[0] + room, size[1]), unit), colours, strict=True):
        draw_text_panel(canvas, panel.lines, place, panel.height, colour)
    return canvas


def draw_box(image: np.ndarray, box: Sequence[float] | np.ndarray, colour: Colour = ACCENTS[0], thickness: int = 1) -> np.ndarray:
    """A thin box (x0, y0, x1, y1) with stronger corners."""
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    cv2.rectangle(image, (x0, y0), (x1, y1), colour, thickness, cv2.LINE_AA)
    arm = max(2, min(x1 - x0, y1 - y0) // 7)
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
    thickness = max(1, round(size / 40))
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
            draw_regions(canvas, answer if answer.shape == canvas.shape[:2] else cv2.resize(answer, size, interpolation=cv2.INTER_NEAREST))
    draw_box(canvas, box, colour, max(1, round(min(unit, side / 80))))
    for answer in answers:
        if _is_points(answer):
            draw_points(canvas, np.asarray(answer, np.float64) * scale, (255, 255, 255), max(0.6, min(1.6 * unit, side / 110)))
        elif isinstance(answer, Mapping) and {"yaw", "pitch", "roll"} <= answer.keys():
            centre = box[0] + 0.14 * side, box[1] + 0.14 * side  # a corner of the box, so that it hides no feature
            draw_axes(canvas, answer["yaw"], answer["pitch"], answer["roll"], centre, side * 0.12)


def _side(box: np.ndarray) -> float:
    return float(max(box[2] - box[0], box[3] - box[1], 1))


def _panel(face: Mapping[str, Any], unit: float, short: bool, highest: float) -> Panel:
    """highest: a line in pixels; in a crowd words shrink with the face, since they would hide others, but stay legible."""
    answers = {name: answer for name, answer in face.items() if name not in NOT_ANSWERS}
    height = max(12, round(min(15 * unit**0.75, highest)))  # a large picture is looked at from further away, not as much further as it is larger
    if short:
        words = [text for answer in answers.values() if (text := _briefly(answer))][:2]
        number = [f"face {face['track']}:"] if "track" in face else []
        lines = [" ".join([*number, ", ".join(words)])] if words or number else []
    else:
        title = f"face {face['face']}" if "face" in face else "face"
        lines = [title, *(line for name, answer in answers.items() for line in _at_length(name, answer)), *face.get("notes", ())]
    return Panel(lines, height, panel_size(lines, height) if lines else (0, 0))


def _briefly(answer: Any) -> str | None:
    """What a crowd has room for: a number, or the best of some classes."""
    if not isinstance(answer, Mapping):
        return None
    if "probabilities" in answer:
        return _spaced(str(answer["answer"]))
    unit = _unit_of(answer)
    return f"{answer[unit]:.0f}" if unit else None


def _at_length(name: str, answer: Any) -> list[str]:
    """The lines of one answer; none for what is drawn in the picture, or is no matter for the eye."""
    if not isinstance(answer, Mapping) or not answer:
        return []
    if "probabilities" in answer:
        possible = answer.get("set") or [answer["answer"]]
        return [f"{name}: {' or '.join(map(_spaced, possible))}  {answer['probabilities'][answer['answer']]:.0%}"]
    unit = _unit_of(answer)
    if unit:
        between = f" ({answer['low']:.0f} to {answer['high']:.0f})" if {"low", "high"} <= answer.keys() else ""
        return [f"{name}: {answer[unit]:.0f} {unit}{between}"]
    if {"yaw", "pitch", "roll"} <= answer.keys():
        return [f"{name}: " + ", ".join(f"{axis} {answer[axis]:+.0f}" for axis in ("yaw", "pitch", "roll"))]
    if all(isinstance(share, int | float) for share in answer.values()):
        strong = sorted((trait for trait, share in answer.items() if share >= STRONG), key=lambda trait: -answer[trait])[:STRONGEST]
        return [f"{_spaced(trait)}  {answer[trait]:.0%}" for trait in strong]
    return []


def _unit_of(answer: Mapping[str, Any]) -> str | None:
    """`years` of {"years": 31, "low": 26, "high": 37}; None for an answer of another form."""
    units = [key for key in answer if key not in ("low", "high")]
    return units[0] if len(units) == 1 and isinstance(answer[units[0]], int | float) else None


def _is_points(answer: Any) -> bool:
    return isinstance(answer, Sequence | np.ndarray) and not isinstance(answer, str) and np.ndim(answer) == 2 and np.shape(answer)[1] == 2


def _room(panels: Sequence[Panel], boxes: Sequence[np.ndarray], size: tuple[int, int], unit: float) -> int:
    """The margin to add at the right, if a panel would else cover its own face."""
    gap = _gap(unit)
    margin = 0
    for panel, box in zip(panels, boxes, strict=True):
        if panel.lines and min(_covered((*place, *panel.size), [box]) for place in _around(panel, box, size, gap)) > 0.25:
            margin = max(margin, panel.size[0] + 2 * gap)
    return margin


def _places(panels: Sequence[Panel], boxes: Sequence[np.ndarray], size: tuple[int, int], unit: float) -> list[tuple[int, int]]:
    """The upper left corner of each panel, beside its box where that hides least."""
    taken: list[np.ndarray] = []
    places = []
    for panel, box in zip(panels, boxes, strict=True):
        around = _around(panel, box, size, _gap(unit))
        best = min(around, key=lambda place: _covered((*place, *panel.size), [*boxes, *taken, *taken]))
        taken.append(np.array([*best, best[0] + panel.size[0], best[1] + panel.size[1]], np.float64))
        places.append(best)
    return places


def _gap(unit: float) -> int:
    return max(3, round(5 * unit))


def _around(panel: Panel, box: np.ndarray, size: tuple[int, int], gap: int) -> list[tuple[int, int]]:
    """Right and left of a box, below and above it from its left or to its right, moved so that the panel lies in the picture."""
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    wide, tall = panel.size
    beside = [(x1 + gap, y0), (x0 - gap - wide, y0), *((x, y) for x in (x0, x1 - wide) for y in (y1 + gap, y0 - gap - tall))]
    return [(max(0, min(x, size[0] - wide)), max(0, min(y, size[1] - tall))) for x, y in beside]


def _covered(plate: tuple[int, int, int, int], boxes: Sequence[np.ndarray]) -> float:
    """How much of boxes (x0, y0, x1, y1) a plate (x, y, width, height) hides, as a share of the plate, summed."""
    x, y, wide, tall = plate
    hidden = 0.0
    for x0, y0, x1, y1 in boxes:
        hidden += max(0.0, min(x + wide, x1) - max(x, x0)) * max(0.0, min(y + tall, y1) - max(y, y0))
    return hidden / max(wide * tall, 1)


def _spaced(word: str) -> str:
    return word.replace("_", " ")


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
