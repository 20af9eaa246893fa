"""A network of paper B on test faces: a number for each face, after every pass.

Arrays in, numbers out: what a face is worth is said by the kind of question, in the words of its set (`ifan_faces.py` cuts the faces).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from polyface.files import sha256_of_lines
from polyface.images import geometry
from polyface.labels import PointMap, Words
from polyface.metrics import landmarks
from polyface.metrics.regions import UNLABELLED
from polyface.models.ifan import Ifan
from polyface.papers.ifan_faces import TRUE_BOXES, Faces
from polyface.papers.ifan_plan import Tell, stream_for
from polyface.papers.ifan_runs import ConstantResult, MeasureResult
from polyface.tasks.kinds import Category, Points, Regions, Task, Traits, sigmoid, softmax

BATCH = 64


# The network's answers


def answers(model: Ifan, stream: str, faces: Faces, tell: Tell | None = None) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """What a stream answers after every pass, batch by batch: (rows, [passes][n, ...])."""
    model.eval()
    device = next(model.parameters()).device
    for start in range(0, len(faces.crops), BATCH):
        rows = slice(start, start + BATCH)
        labels = {name: {key: torch.from_numpy(each[rows]).to(device) for key, each in row.items()} for name, row in faces.labels.items()}
        with torch.inference_mode():
            passes = model.passes(torch.from_numpy(faces.crops[rows]).to(device), stream, None if tell is None else tell(model.streams[stream], labels))
        yield rows, [output.float().cpu().numpy() for output in passes]


# A number for each face


def scores(model: Ifan, faces: Sequence[Faces], overall: Sequence[Sequence[str]], tell: Tell | None = None, kept: "Kept | None" = None) -> dict[str, MeasureResult]:
    """All measures of the tasks that a network has, by name: "mtfl/NME, true boxes", "celebamask/overall F, union". kept: where answers are put for pictures."""
    found: dict[str, MeasureResult] = {}
    has = {task.name for task in model.tasks}
    for each in faces:
        for task in each.tasks:
            if task.name in has:
                found |= _measures(model, each, task, overall, tell, kept)
    return found


@dataclass
class Kept:
    """Answers of some faces pass by pass, for pictures: arrays by "set/task/what", as `ifan_runs` says of pictures.npz."""

    most: int
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def keep(self, faces: Faces, task: Task, at: np.ndarray, decoded: np.ndarray) -> None:
        """decoded [passes, n, ...] of the faces `at`."""
        name = f"{faces.dataset.name}/{task.name}" + ("/true boxes" if faces.way == TRUE_BOXES else "")
        self.arrays |= {f"{name}/at": at, f"{name}/crops": faces.crops[at], f"{name}/answers": decoded, f"{name}/truth": _truth_in_crop(task, faces, at)}


def _measures(model: Ifan, faces: Faces, task: Task, overall: Sequence[Sequence[str]], tell: Tell | None, kept: Kept | None) -> dict[str, MeasureResult]:
    stream = stream_for(model, task.name, faces.dataset.name)
    known = np.array([truth is not None for truth in faces.truths[task.name]])
    looked = np.flatnonzero(known)
    if kept is not None and len(looked) > kept.most:
        looked = np.sort(np.random.default_rng(0).permutation(looked)[: kept.most])
    numbers: dict[str, list[list[np.ndarray]]] = {}
    decoded: list[list[np.ndarray]] = [[] for _ in range(model.config.passes)]
    for rows, passes in answers(model, stream, faces, tell):
        at = np.arange(*rows.indices(len(faces.crops)))
        for number, output in enumerate(passes):
            for name, values in _values(task, faces, at, output, overall).items():
                numbers.setdefault(name, [[] for _ in range(model.config.passes)])[number].append(values)
            if kept is not None:
                decoded[number].extend(_shown(task, output[row]) for row, face in enumerate(at) if face in looked)
    if kept is not None and len(looked):
        kept.keep(faces, task, looked, np.stack([np.stack(each) for each in decoded]))
    found, constant = {}, _constant(task, faces, overall)
    for name, parts in numbers.items():
        whole = np.stack([np.concatenate(each) for each in parts])  # [passes, N] or [passes, N, 2], numerators and denominators
        found[f"{faces.dataset.name}/{name}{faces.way}"] = _measure(task, faces, name, whole, constant.get(name))
    return found


def _constant(task: Task, faces: Faces, overall: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """{metric: what the constant answer is worth on each face}, as `_values`; empty where none is known."""
    learned, count = faces.constants.get(task.name), len(faces.crops)
    if learned is None:
        return {}
    return _values(task, faces, np.arange(count), np.broadcast_to(learned.output, (count, *learned.output.shape)), overall)


METRICS = {
    "accuracy": ("%", True),
    "accuracy of attributes": ("%", True),
    "NME": ("%", False),
    "overall F, union": ("%", True),
    "overall F, pooled": ("%", True),
    "overall F of a face": ("%", True),
}


def _measure(task: Task, faces: Faces, metric: str, whole: np.ndarray, constant: np.ndarray | None) -> MeasureResult:
    numbers = whole if whole.ndim == 2 else whole[..., 0]
    decided = np.flatnonzero(np.isfinite(numbers[0]))

    def listed(array: np.ndarray) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(round(float(value), 4) for value in row[decided]) for row in array)

    same = None
    if constant is not None and np.isfinite(constant[decided]).all():  # a face without a part has no F of its own where none is answered either
        values, *of = listed(constant.reshape(len(constant), -1).T)
        same = ConstantResult(answer=faces.constants[task.name].answer, values=values, of=of[0] if of else ())

    unit, higher = METRICS[metric]
    return MeasureResult(
        task=task.name,
        dataset=faces.dataset.name,
        split=faces.split,
        metric=metric + faces.way,
        unit=unit,
        higher_is_better=higher,
        sha256=sha256_of_lines(faces.keys[int(at)] for at in decided),
        people=tuple(faces.people[int(at)] for at in decided),
        values=listed(numbers),
        of=listed(whole[..., 1]) if whole.ndim == 3 else (),
        groups={name: tuple(words[int(at)] for at in decided) for name, words in faces.groups.items()},
        missed=dict(faces.missed),
        constant=same,
    )


def _values(task: Task, faces: Faces, at: np.ndarray, output: np.ndarray, overall: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """{metric: a number for each face [n], NaN where its label decides nothing; or numerator and denominator [n, 2]}."""
    truths = [faces.truths[task.name][int(face)] for face in at]
    meaning = faces.dataset.answers[task.name]
    match task, meaning:
        case Category(), Words():
            return {"accuracy": _right(meaning, output, truths)}
        case Traits(), _:
            return {"accuracy of attributes": np.array([_share_right(row, truth) for row, truth in zip(output, truths, strict=True)])}
        case Points(), PointMap():
            return {"NME": np.array([_nme(meaning, task, row, truth, faces.matrices[int(face)]) for row, truth, face in zip(output, truths, at, strict=True)])}
        case Regions(), Words():
            return _overall(task, meaning, faces, at, output, truths, overall)
    raise TypeError(f"no measure is known for the kind {type(task).__name__} with {type(meaning).__name__}")


def _right(meaning: Words, logits: np.ndarray, truths: Sequence[np.ndarray | None]) -> np.ndarray:
    """100 where the best answer within what the set can say is the labelled one; NaN where the label leaves several possible, or votes are tied."""
    best = np.where(meaning.scope, logits, -np.inf).argmax(-1)
    words = np.array([-1 if truth is None else int(truth) for truth in truths])
    certain = (words >= 0) & (meaning.table[words].sum(-1) == 1)
    return np.where(certain, 100.0 * meaning.table[words, best], np.nan)


def _share_right(logits: np.ndarray, truth: np.ndarray | None) -> float:
    known = truth >= 0 if truth is not None else np.zeros(len(logits), bool)
    return float(100.0 * ((sigmoid(logits) > 0.5) == (truth == 1))[known].mean()) if known.any() else np.nan


def _nme(words: PointMap, task: Points, output: np.ndarray, truth: np.ndarray | None, matrix: np.ndarray) -> float:
    """In per cent of the distance of the eyes, in the picture; NaN where the eyes fall together or are not labelled."""
    if truth is None or not np.isfinite(truth[:2]).all():
        return np.nan
    size = landmarks.eye_distance(truth[None])
    if size[0] <= 0:
        return np.nan
    predicted = geometry.apply(geometry.invert(matrix), words.weights @ task.decode(output))
    seen: np.ndarray = np.all(np.isfinite(truth), axis=-1)
    return float(100.0 * landmarks.nme(truth[None], predicted[None], size, seen=seen[None])[0])


def _overall(
    task: Regions, words: Words, faces: Faces, at: np.ndarray, output: np.ndarray, truths: Sequence[np.ndarray | None], overall: Sequence[Sequence[str]]
) -> dict[str, np.ndarray]:
    """Helen's overall F in both readings (papers.md B5), in pixels of the original picture; what lies outside the crop is background."""
    union = exact(task, words, overall)
    if not union:
        return {}
    apart = exact(task, words, [[region] for part in overall for region in part])
    readings = {"overall F, union": union} | ({"overall F, pooled": apart} if len(apart) == sum(map(len, overall)) else {})
    counts: dict[str, list[tuple[float, float]]] = {name: [] for name in readings}
    there = np.zeros(len(truths), bool)  # a mask without any part has no F of its own, whatever is answered
    for number, (row, truth, face) in enumerate(zip(output, truths, at, strict=True)):
        confusion = None if truth is None else confusion_in_picture(task, words, row, truth, faces.matrices[int(face)])
        there[number] = confusion is not None and any(confusion[part].any() for part, _ in union)
        for name, parts in readings.items():
            counts[name].append((np.nan, np.nan) if confusion is None else hits_and_either(confusion, parts))
    found = {name: np.array(each) for name, each in counts.items()}
    hits, either = found["overall F, union"].T
    return found | {"overall F of a face": 100 * np.divide(hits, either, out=np.full(len(hits), np.nan), where=there)}


Part = tuple[np.ndarray, np.ndarray]
"""(words bool [W], regions bool [C]) that are one and the same part of the face."""


def exact(task: Regions, words: Words, parts: Sequence[Sequence[str]]) -> list[Part]:
    """The parts that a set's words can name: every word that touches one lies inside it. FASSEG's hair holds the brows, so it cannot name them."""
    found = []
    for part in parts:
        inside: np.ndarray = np.isin(task.vocabulary, part)
        touching: np.ndarray = np.any(words.table[:, inside], axis=1)
        if touching.any() and not words.table[touching][:, ~inside].any() and words.table[touching].any(0)[inside].all():
            found.append((touching, inside))
    return found


def confusion_in_picture(task: Regions, words: Words, output: np.ndarray, mask: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """int64 [W, C]: row the mask's word, column the predicted region, over the labelled pixels of the picture; outside the crop all is the first region, background."""
    height, width = mask.shape
    said = geometry.warp(_class_map(output), geometry.invert(matrix), (width, height), border=0, nearest=True)
    known = mask != UNLABELLED
    count = len(task.vocabulary)
    pairs = mask[known].astype(np.int64) * count + said[known]
    return np.bincount(pairs, minlength=len(words.names) * count).reshape(len(words.names), count)


def hits_and_either(confusion: np.ndarray, parts: Sequence[Part]) -> tuple[float, float]:
    """(2 TP, 2 TP + FP + FN) summed over parts, of a confusion [W, C]."""
    hits = sum(confusion[np.ix_(words, inside)].sum() for words, inside in parts)
    either = sum(confusion[words].sum() + confusion[:, inside].sum() for words, inside in parts)
    return float(2 * hits), float(either)


def _class_map(output: np.ndarray) -> np.ndarray:
    """Logits [C, h, w] -> uint8 [h, w] of the crop, in its own pixels."""
    return output.argmax(0).astype(np.uint8)


def _shown(task: Task, output: np.ndarray) -> np.ndarray:
    """An answer as pictures.npz holds it."""
    match task:
        case Regions():
            return _class_map(output)
        case Points():
            return task.decode(output).astype(np.float32)
        case Category():
            return softmax(output).astype(np.float32)
    return sigmoid(output).astype(np.float32)


def _truth_in_crop(task: Task, faces: Faces, at: np.ndarray) -> np.ndarray:
    """Regions: uint8 [n, S, S] where the mask's word is one region, 255 elsewhere; points: float32 [n, P, 2], NaN where not labelled; classes: int64 [n], -1 where the
    label leaves several possible."""
    labels = faces.labels[task.name]
    meaning = faces.dataset.answers[task.name]
    match task, meaning:
        case Regions(), Words():
            single = np.where(meaning.table.sum(1) == 1, meaning.table.argmax(1), UNLABELLED).astype(np.uint8)
            return np.append(single, np.full(256 - len(single), UNLABELLED, np.uint8))[labels["words"][at]]
        case Points(), _:
            return np.where(labels["seen"][at][..., None], labels["xy"][at], np.nan).astype(np.float32)
        case Category(), Words():
            sets = labels["sets"][at][:, 0]
            return np.where(sets.sum(-1) == 1, sets.argmax(-1), -1)
    return labels["values"][at]
