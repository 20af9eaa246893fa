"""Answers of a network beside labels of a data set -> scores, by the kind of question.

`truth_of` reads a label in the set's own words, `row_of` keeps of one answer the little that its score needs, `scores_of` makes the scores of all rows. A network is
scored in the set's words: the probability of a word is the sum over what it leaves possible, within what the set can say at all, so that a model is never blamed for
being finer than the labels. Each score has its 95 % interval (rows of one person are drawn together), what a uniform guess gets (chance), and what the best answer gets
that never looks at the picture (constant), chosen for the very rows it is scored on. The main score of a question, the first one, also has its value for each group of
faces that the set states (`metrics/groups.py`).

Embeddings are scored by pairs, see `evaluation/pairs.py`.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from polyface.errors import InputError, RequestError
from polyface.images import geometry
from polyface.labels import PointMap, Ranges, TraitNames, Words, word_probabilities
from polyface.metrics import ages, angles, baselines, classification, intervals, landmarks, regions, traits
from polyface.metrics.classification import PerClass
from polyface.metrics.groups import NOBODY, Grouping, Groups, groups_of_faces, mean_by_group, score_by_group
from polyface.tasks.kinds import Angles, Category, Embedding, Points, Regions, Row, Scale, Task, Traits, median, sigmoid, softmax


@dataclass(frozen=True)
class Part:
    """One class, attribute or region inside a score: its own value, and how many rows (of regions: pixels) are of it."""

    value: float
    positives: int


@dataclass(frozen=True)
class Score:
    """value with its interval (NaN: not known) over n faces (pairs); chance and constant are None where a metric has none.

    parts: the value of each class. groups: {kind of group: the value of each of its groups}, of a main score.
    """

    task: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    chance: float | None = None
    constant: float | None = None
    note: str = ""
    parts: Mapping[str, Part] = field(default_factory=dict, repr=False)
    groups: Mapping[str, Grouping] = field(default_factory=dict, repr=False)


def truth_of(task: Task, meaning: object, label: object, shape: tuple[int, int]) -> np.ndarray:
    """A label as its score reads it, for a picture of `shape` (height, width). Raises InputError for what the set's words do not know, and a mask of another size.

    Category: int64 [], the word, -1 where votes are tied. Scale: float [2], first and last. Traits: int8 [A]. Points: float [n, 2], NaN unknown. Regions: uint8 [H, W]
    of words. Angles: float [axes, 2]. Embedding: nothing.
    """
    match task:
        case Category():
            votes = label if isinstance(label, Mapping) else {label: 1}
            most = [word for word, count in votes.items() if count == max(votes.values())]
            return np.array(meaning.index(most[0]) if len(most) == 1 else -1, np.int64)  # type: ignore[attr-defined]
        case Scale():
            row = task.encode(meaning, label)  # type: ignore[arg-type]
            return np.array([row["lo"], row["hi"]], np.float64)
        case Traits():
            return task.encode(meaning, label)["values"]  # type: ignore[arg-type]
        case Points():
            task.encode(meaning, label)  # type: ignore[arg-type]
            return np.asarray(label, np.float64)
        case Regions():
            mask = task.encode(meaning, label)["words"]  # type: ignore[arg-type]
            if mask.shape != shape:
                raise InputError(f"a mask of {mask.shape[1]} x {mask.shape[0]} for a picture of {shape[1]} x {shape[0]}")
            return mask
        case Angles():
            row = task.encode(meaning, label)  # type: ignore[arg-type]
            return np.stack([row["lo"], row["hi"]], -1).astype(np.float64)
        case Embedding():
            return np.zeros(0)
    raise TypeError(f"no score is known for the kind {type(task).__name__}")


def row_of(task: Task, meaning: object, output: np.ndarray, truth: np.ndarray, matrix: np.ndarray) -> Row:
    """What is kept of one answer: output as the network gives it, matrix from the picture to the crop."""
    match task:
        case Points():
            return {"xy": task.decode(output), "truth": truth, "matrix": matrix}
        case Angles():
            return {"output": output, "truth": truth, "rotation": np.array(geometry.rotation_of(matrix))}
        case Regions():
            return _region_counts(task, meaning, output, truth, matrix)  # type: ignore[arg-type]
    return {"output": output, "truth": truth}


def scores_of(
    task: Task,
    meaning: object,
    rows: Sequence[Row],
    subjects: Sequence[Hashable | None],
    missed: Sequence[Hashable | None] = (),
    taught: Sequence[Row] = (),
    stated: Sequence[Mapping[str, str]] = (),
) -> list[Score]:
    """The scores of a task. subjects: the person of each row, None unknown; missed: those of labelled faces that were not found, which count as failures of points;
    taught: rows of the training split, on which it is chosen where one word for angles ends and the next begins; stated: the groups of each row's face."""
    if not rows:
        return []
    kept = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    everyone = intervals.groups_of([*subjects, *missed])
    people, groups = everyone[: len(rows)], groups_of_faces(stated)
    match task, meaning:
        case Category(), Words():
            return category_scores(task, meaning, kept["output"], kept["truth"], people, groups)
        case Scale(), Ranges():
            return scale_scores(task, meaning, kept["output"], kept["truth"], people, groups)
        case Traits(), TraitNames():
            return trait_scores(task, kept["output"], kept["truth"], people, groups)
        case Points(), PointMap():
            return point_scores(task, meaning, kept["xy"], kept["truth"], kept["matrix"], everyone, groups)
        case Regions(), Words():
            return region_scores(task, meaning, kept["counts"], kept["oracle"], kept["inside"], people, groups)
        case Angles(), Ranges():
            before = {name: np.stack([row[name] for row in taught]) for name in taught[0]} if taught else None
            return angle_scores(task, meaning, kept, people, before, groups)
    raise TypeError(f"no score is known for the kind {type(task).__name__} with {type(meaning).__name__}")


def category_scores(task: Category, words: Words, logits: np.ndarray, truth: np.ndarray, people: np.ndarray, groups: Groups = NOBODY) -> list[Score]:
    """logits [N, C], truth int [N] a word or -1: accuracy, balanced accuracy, macro-F1 over the set's words; over the finest of them, where some hold others."""
    names, known, chosen = in_finest_words(words, logits, truth)
    broad = int((truth >= 0).sum() - (known >= 0).sum())
    note = "" if len(names) == len(task.vocabulary) else f"in the {len(names)} words of the set"
    note += f"; {broad} rows whose word holds another are left out" if broad else ""
    return _class_scores(task.name, names, known, chosen, people, groups, note=note.removeprefix("; "))


def in_finest_words(words: Words, logits: np.ndarray, truth: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The words that hold no others, and in them the truth and what logits [N, C] say: int [N], truth -1 for a broader word as for none."""
    asked = np.flatnonzero(words.finest)
    place = np.full(len(words.names) + 1, -1)  # the last for what is unlabelled
    place[asked] = np.arange(len(asked))
    return [words.names[at] for at in asked], place[truth], word_probabilities(softmax(logits), words)[:, asked].argmax(-1)


def scale_scores(task: Scale, words: Ranges, logits: np.ndarray, truth: np.ndarray, people: np.ndarray, groups: Groups = NOBODY) -> list[Score]:
    """logits [N, K], truth float [N, 2] first and last. Numbers: MAE and CS(5) of the median. Ranges that are words: accuracy by the mass in each. Others: no score."""
    shares = softmax(logits)
    word = words_of_ranges(words, truth)
    numbers = (truth[:, 0] == truth[:, 1]) & (word < 0)
    scores = _number_scores(task, truth[numbers, 0], median(shares[numbers]), people[numbers], groups.of(numbers)) if numbers.any() else []
    if (word >= 0).any():
        chosen = ages.group_choice(shares, np.array(list(words.meanings.values())))
        scores += _class_scores(task.name, tuple(words.meanings), word, chosen, people, groups, "group ")
    return scores


def trait_scores(task: Traits, logits: np.ndarray, truth: np.ndarray, people: np.ndarray, groups: Groups = NOBODY) -> list[Score]:
    """logits [N, A], truth int8 [N, A] with -1 unknown: means over the attributes that the set names, plain and balanced."""
    named: np.ndarray = np.any(truth >= 0, axis=0)
    names = [name for name, known in zip(task.vocabulary, named, strict=True) if known]
    rows: np.ndarray = np.any(truth >= 0, axis=1)
    labels, logits, people = truth[rows][:, named], logits[rows][:, named], people[rows]
    if not names:
        return []
    counts = traits.trait_counts(labels, sigmoid(logits)).astype(np.float32)
    positives = (labels == 1).sum(0)
    note = "" if len(names) == len(task.vocabulary) else f"of {len(names)}: {', '.join(names)}" if len(names) <= 3 else f"of {len(names)}"
    scores = []
    for metric, statistic, constant in (
        ("mean accuracy", traits.accuracy_of_counts, baselines.constant_trait_accuracy(labels).value),
        ("mean balanced accuracy", traits.balanced_accuracy_of_counts, 0.5),
    ):
        found = statistic(counts.sum(0))
        interval = intervals.with_spread(intervals.bootstrap_of_sums(counts, _value_of(statistic), people))
        scores.append(Score(task.name, metric, found.value, interval.low, interval.high, len(labels), 0.5, constant, note, _parts(names, found.each, positives)))
    by_group = score_by_group(counts, _value_of(traits.accuracy_of_counts), people, groups.of(rows))
    return [replace(scores[0], groups=by_group), *scores[1:]]


def point_scores(task: Points, words: PointMap, xy: np.ndarray, truth: np.ndarray, matrices: np.ndarray, people: np.ndarray, groups: Groups = NOBODY) -> list[Score]:
    """xy [N, P, 2] in crop pixels, truth [N, n, 2] in the picture's, matrices [N, 2, 3] between them; people [N + M]: those of M missed faces are last.

    The constant answer is the mean face of these rows in the crop, which knows of a picture only how it was aligned.
    """
    sizes, size_name, alpha = _normaliser(task, words, truth)
    seen = np.isfinite(truth).all(-1)
    usable = np.isfinite(sizes) & (sizes > 0) & seen.any(1)
    back = np.stack([geometry.invert(matrix) for matrix in matrices])
    in_crop = np.stack([geometry.apply(matrix, points) for matrix, points in zip(matrices, truth, strict=True)])
    known = (seen & usable[:, None])[..., None]
    mean_face = np.where(known, in_crop, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    predicted = np.stack([geometry.apply(inverse, words.weights @ points) for inverse, points in zip(back, xy, strict=True)])
    blind = np.stack([geometry.apply(inverse, mean_face) for inverse in back])
    found, blindly = (landmarks.nme(truth[usable], points[usable], sizes[usable], seen=seen[usable]) for points in (predicted, blind))
    misses = len(people) - len(truth)
    errors, blind_errors = (np.concatenate([each, np.full(misses, np.inf)]) for each in (found, blindly))
    everyone = np.concatenate([people[: len(truth)][usable], people[len(truth) :]])
    if not len(everyone):
        return []
    note = "; ".join(
        [f"{truth.shape[1]} points over the {size_name}"]
        + ([f"{misses} of {len(errors)} faces not found"] if misses else [])
        + ([f"{(~usable).sum()} faces without a size left out"] if not usable.all() else [])
    )

    def score(metric: str, each: np.ndarray, of: np.ndarray, constant: float) -> Score:
        mean = intervals.mean_score(each, of)
        return Score(task.name, metric, mean.value, mean.low, mean.high, mean.n, None, constant, note)

    capped, blind_capped = (np.where(np.isfinite(each), each, landmarks.MISS) for each in (errors, blind_errors))
    by_group = mean_by_group(found, everyone[: len(found)], groups.of(usable), lower=True)
    scores = [replace(score("NME", found, everyone[: len(found)], float(blindly.mean()) if len(blindly) else np.nan), groups=by_group)]
    if misses:
        scores.append(score(f"NME, a miss as {landmarks.MISS:.0%}", capped, everyone, float(blind_capped.mean())))
    middle = intervals.score(lambda rows: float(np.median(capped[rows])), everyone)
    scores.append(Score(task.name, "median NME", middle.value, middle.low, middle.high, middle.n, None, float(np.median(blind_capped)), note))
    scores.append(score(f"FR@{alpha:.0%}", landmarks.failures(errors, alpha), everyone, landmarks.failure_rate(blind_errors, alpha)))
    scores.append(score(f"AUC@{alpha:.0%}", landmarks.areas(errors, alpha), everyone, landmarks.auc(blind_errors, alpha)))
    return scores


def region_scores(task: Regions, words: Words, counts: np.ndarray, oracle: np.ndarray, inside: np.ndarray, people: np.ndarray, groups: Groups = NOBODY) -> list[Score]:
    """counts, oracle int [N, W, W]: confusions of each picture, pixels of the original; inside [N, W]: pixels of each word inside the crop.

    F1 over words without background, from pooled counts. The constant answer fills the crop with one word. The oracle is the true mask through the same crop and grid.
    """
    background = _background(task, words)
    pooled, hidden = counts.sum(0), inside.sum(0)

    def filled(word: int) -> float:
        blind = np.zeros_like(pooled)
        blind[:, word] += hidden
        blind[:, background] += pooled.sum(1) - hidden
        return regions.region_f1(blind, background).value

    def value(sums: np.ndarray) -> float:
        return regions.region_f1(sums, background).value

    constant = float(np.nanmax([filled(word) for word in range(len(words.names))]))
    scores = []
    for end, each in (("", counts), (", oracle", oracle)):
        found = regions.region_f1(each.sum(0), background)
        interval = intervals.bootstrap_of_sums(each, value, people)
        absent = [words.names[word] for word in found.absent]
        note = "pooled pixels of the original pictures" + (f"; in no picture: {', '.join(absent)}" if absent else "")
        parts = _parts(words.names, found.each, pooled.sum(1))
        scores.append(Score(task.name, f"F1 of {len(words.names) - 1} classes{end}", found.value, interval.low, interval.high, len(each), None, constant, note, parts))
    return [replace(scores[0], groups=score_by_group(counts, value, people, groups)), *scores[1:]]


def angle_scores(task: Angles, words: Ranges, kept: Row, people: np.ndarray, taught: Row | None = None, groups: Groups = NOBODY) -> list[Score]:
    """kept: output [N, axes, bins] in the crop's frame, truth [N, axes, 2] in the picture's, rotation [N] degrees that the crop was turned by; taught: of training.

    Numbers: mean absolute error of each axis. Words: accuracy, by where the median falls between the boundaries that name most of taught right; without those, between
    the words' own. The constant answer is one angle in the crop.
    """
    predicted, truth = angles_in_picture(task, kept), kept["truth"]
    scores = []
    for at, axis in enumerate(task.axes):
        word = words_of_ranges(words, truth[:, at], task.limit)
        numbers = (truth[:, at, 0] == truth[:, at, 1]) & (word < 0)
        if numbers.any():
            true = truth[numbers, at, 0]
            errors = angles.angle_errors(true, predicted[numbers, at])
            mean = intervals.mean_score(errors, people[numbers])
            turn = kept["rotation"][numbers] if axis == "roll" else 0.0
            constant = baselines.constant_mean_absolute_error(true + turn)
            by_group = mean_by_group(errors, people[numbers], groups.of(numbers), lower=True)
            scores.append(Score(task.name, f"MAE {axis}", mean.value, mean.low, mean.high, mean.n, None, constant, groups=by_group))
        if (word >= 0).any():
            order, boundaries, note = _boundaries(task, words, at, taught)
            chosen = order[angles.words_of_angles(predicted[:, at], boundaries)]
            scores += _class_scores(task.name, tuple(words.meanings), word, chosen, people, groups, f"{axis} word ", note)
    return scores


def angles_in_picture(task: Angles, kept: Row) -> np.ndarray:
    """The median of each axis in degrees, [N, axes]; kept as in `angle_scores`."""
    turned = task.decode(kept["output"].reshape(-1, task.bins)).reshape(len(kept["output"]), len(task.axes))
    rotation = np.stack([kept["rotation"] if axis == "roll" else np.zeros(len(turned)) for axis in task.axes], -1)
    return (turned - rotation + 180) % 360 - 180


def _boundaries(task: Angles, words: Ranges, at: int, taught: Row | None) -> tuple[np.ndarray, np.ndarray, str]:
    """The words in ascending order of angle, int [W]; the angles between them [W - 1]; and how those were chosen."""
    bounds = np.array(list(words.meanings.values()), np.float64)
    order = np.argsort(bounds[:, 0])
    word = words_of_ranges(words, taught["truth"][:, at], task.limit) if taught is not None else np.zeros(0)
    if taught is None or not (word >= 0).any():
        return order, (bounds[order[:-1], 1] + bounds[order[1:], 0]) / 2, "between the words by their own boundaries, not by those chosen on training"
    rank = np.argsort(order)[word[word >= 0]]
    found = angles.best_thresholds(angles_in_picture(task, taught)[word >= 0, at], rank, len(order))
    return order, found, f"between the words at {', '.join(f'{angle:.0f}' for angle in found)} degrees, chosen on {len(rank)} faces of training"


# What the kinds share


def _class_scores(
    task: str, names: Sequence[str], truth: np.ndarray, chosen: np.ndarray, people: np.ndarray, groups: Groups, what: str = "", note: str = ""
) -> list[Score]:
    """truth int [N], -1 unlabelled. `what` goes in front of the metrics' names."""
    known = truth >= 0
    truth, chosen, people, count = truth[known], chosen[known], people[known], len(names)
    if not len(truth):
        return []
    right = truth == chosen
    accuracy, by_group = intervals.mean_score(right, people), mean_by_group(right, people, groups.of(known))
    constant = baselines.constant_accuracy(truth)
    scores = [Score(task, f"{what}accuracy", accuracy.value, accuracy.low, accuracy.high, accuracy.n, 1 / count, constant, note, groups=by_group)]
    confusions = np.zeros((len(truth), count, count), np.float32)
    confusions[np.arange(len(truth)), truth, chosen] = 1
    pooled = classification.confusion(truth, chosen, count)
    blind = classification.confusion(truth, np.full(len(truth), np.bincount(truth).argmax()), count)
    for metric, each_of, chance in (("balanced accuracy", _recalls, 1 / count), ("macro-F1", _f1s, None)):
        found = each_of(pooled)
        interval = intervals.with_spread(intervals.bootstrap_of_sums(confusions, _value_of(each_of), people))
        constant = each_of(blind).value
        parts = _parts(names, found.each, pooled.sum(1))
        scores.append(Score(task, f"{what}{metric}", found.value, interval.low, interval.high, len(truth), chance, constant, note, parts))
    return scores


def _recalls(counts: np.ndarray) -> PerClass:
    return classification.mean_over_present(classification.share(np.diag(counts), counts.sum(1)))


def _f1s(counts: np.ndarray) -> PerClass:
    return classification.mean_over_present(classification.f1_of_confusion(counts))


def _value_of(statistic: Callable[[np.ndarray], PerClass]) -> Callable[[np.ndarray], float]:
    return lambda sums: statistic(sums).value


def _number_scores(task: Scale, true: np.ndarray, said: np.ndarray, people: np.ndarray, groups: Groups) -> list[Score]:
    errors = ages.absolute_errors(true, said)
    guesses = np.abs(true[:, None] - np.arange(task.top + 1))  # [N, K]: what each constant is off by, each time
    scores = []
    for metric, each, chance, constant in (
        ("MAE", errors, guesses.mean(), baselines.constant_mean_absolute_error(true)),
        ("CS(5)", ages.within(errors, 5), ages.within(guesses, 5).mean(), ages.within(guesses, 5).mean(0).max()),
    ):
        mean = intervals.mean_score(each, people)
        scores.append(Score(task.name, metric, mean.value, mean.low, mean.high, mean.n, float(chance), float(constant), "of the median"))
    return [replace(scores[0], groups=mean_by_group(errors, people, groups, lower=True)), *scores[1:]]


def words_of_ranges(words: Ranges, truth: np.ndarray, limit: float = np.inf) -> np.ndarray:
    """Which word a range [N, 2] is, as `encode` rounds it to float32 and clips it to the limit: int64 [N], -1 for none."""
    bounds = np.clip(np.array(list(words.meanings.values()), np.float32).reshape(-1, 2), -limit, limit)
    place = {tuple(bound): index for index, bound in reversed(list(enumerate(bounds.tolist())))}
    return np.array([place.get(tuple(bound), -1) for bound in truth.tolist()], np.int64)


def _normaliser(task: Points, words: PointMap, truth: np.ndarray) -> tuple[np.ndarray, str, float]:
    """The size that errors are a share of [N], its name, and the error from which on a face counts as failed: of 68 points, and of others among
    which are the eyes."""
    if np.array_equal(words.weights, np.eye(68)):
        return landmarks.outer_eye_distance(truth), "distance of the outer eye corners", 0.08
    eyes = (0, 1) if np.array_equal(words.weights, geometry.five_of_68()) else task.eyes
    if eyes is not None:
        return landmarks.eye_distance(truth[:, eyes]), "distance of the eyes", 0.1
    low, high = (np.array([end(points[np.isfinite(points).all(-1)], axis=0, initial=start) for points in truth]) for end, start in ((np.min, np.inf), (np.max, -np.inf)))
    return landmarks.box_size(np.hstack([low, high])), "side of the points' box", 0.1


def _region_counts(task: Regions, words: Words, output: np.ndarray, mask: np.ndarray, matrix: np.ndarray) -> Row:
    """Confusions of one picture with its prediction and with the oracle, int64 [W, W], and the pixels of each word inside the crop, int64 [W]."""
    size, count, background = output.shape[-1] * 2, len(words.names), _background(task, words)
    seen = geometry.warp(mask, matrix, (size, size), border=regions.UNLABELLED, nearest=True)
    shares = (seen == np.arange(count)[:, None, None]).reshape(count, size // 2, 2, size // 2, 2).mean((2, 4)).astype(np.float32)
    within = _pasted(np.ones((size, size), np.uint8), mask.shape, matrix, 0) == 1
    labelled = mask[within & (mask != regions.UNLABELLED)]
    return {
        "counts": regions.region_confusion(mask, regions_in_picture(task, words, output, mask.shape, matrix), count),
        "oracle": regions.region_confusion(mask, _pasted(task.decode(shares), mask.shape, matrix, background), count),
        "inside": np.bincount(labelled, minlength=count),
    }


def regions_in_picture(task: Regions, words: Words, output: np.ndarray, shape: tuple[int, ...], matrix: np.ndarray) -> np.ndarray:
    """The set's word for each pixel of a picture, uint8 of its shape (height, width), from one output [C, h, w]; outside the crop the word for background."""
    said = np.stack([np.logaddexp.reduce(output[possible], axis=0) for possible in words.table])
    return _pasted(task.decode(said), shape, matrix, _background(task, words))


def _pasted(crop: np.ndarray, shape: tuple[int, ...], matrix: np.ndarray, outside: int) -> np.ndarray:
    height, width = shape
    return geometry.warp(crop, geometry.invert(matrix), (width, height), border=outside, nearest=True)


def _background(task: Regions, words: Words) -> int:
    """The word that holds the first class, background."""
    if not words.table[:, 0].any():
        raise RequestError(f"the masks have no word for {task.vocabulary[0]}: what lies outside the crop cannot be scored")
    return int(words.table[:, 0].argmax())


def _parts(names: Sequence[str], values: np.ndarray, positives: np.ndarray) -> dict[str, Part]:
    return {name: Part(float(value), int(count)) for name, value, count in zip(names, values, positives, strict=True)}
