"""Coarser tasks from finer ones by a label map: age in three groups, race in four, nine regions, five points. They are ordinary tasks.

`derive` makes the task; `retell` says what a data set's words for the finer task mean in it, so that any set that answers the one answers the other.

    groups = derive(tasks.age, "age_group", {"young": (0, 29), "adult": (30, 59), "old": (60, 116)})
    meaning, label = retell(groups, tasks.age, {"young": (0, 29), ...}, fairface.answers["age"])
    label("20-29") -> "young", label("25-35") -> "young or adult", label of what has no place among the groups -> None
"""

from collections.abc import Callable, Mapping
from itertools import combinations, pairwise
from typing import Any

import msgspec
import numpy as np

from polyface import labels
from polyface.errors import RequestError, nearest
from polyface.images import geometry
from polyface.labels import PointMap, Ranges, TraitNames, Words
from polyface.tasks.kinds import Category, Label, Points, Regions, Scale, Task, Traits

Grouping = Mapping[str, Any]
"""{answer of the coarser task: what it holds of the finer}: classes or regions by name, (first, last) numbers, (trait, yes or no), indices of points."""
Retold = tuple[Any, Callable[[Any], Label | None]]
"""A data set's meaning for the coarser task, and its labels there; None for a label that says nothing, or nothing certain, about it."""


class Derived(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a recipe or a card says what a task is made of: {its answer: what it holds of the finer task}; without words it is the finer task by another name.

    nothing: answers of the finer task whose pixels say nothing here, whatever word holds them; question: as the card puts it, the finer task's where nothing is said.
    """

    of: str
    question: str = ""
    words: dict[str, str | tuple[bool | int | str, ...]] = msgspec.field(default_factory=dict)
    nothing: tuple[str, ...] = ()


def derive(task: Task, name: str, words: Grouping) -> Task:
    """The coarser task: a Category from a Category, Scale or Traits, Regions from Regions, Points from Points. Answers of the finer task that no word holds have no
    place in it; of regions each must be in exactly one. Raises RequestError for an unknown or repeated answer, and for a kind that has no coarser one."""
    if not words:
        raise RequestError(f"{name}: no words")
    for word, held in words.items():
        _check_form(f"{name}: {word!r}", task, (held,) if isinstance(held, str) else tuple(held))
    match task:
        case Category():
            _each_once(name, words, task.vocabulary)
            return Category(name, task.question, tuple(words))
        case Scale():
            _check_ranges(name, words, task)
            return Category(name, task.question, tuple(words))
        case Traits():
            for trait, _ in words.values():
                if trait not in task.vocabulary:
                    raise RequestError(f"{name}: no trait {trait!r}{nearest(trait, task.vocabulary)}")
            if len({trait for trait, _ in words.values()}) != 1 or {value for _, value in words.values()} != {True, False} or len(words) != 2:
                raise RequestError(f"{name}: a class for the yes and one for the no of one trait are needed")
            return Category(name, task.question, tuple(words))
        case Regions():
            _each_once(name, words, task.vocabulary)
            if left := [region for region in task.vocabulary if not any(region in held for held in words.values())]:
                raise RequestError(f"{name}: {left[0]} is in none of its regions")
            table = labels.words(task.vocabulary, words).table
            return Regions(name, task.question, tuple(words), _mirrored(name, table, list(task.mirrored)))
        case Points():
            table = _means(name, words, task.count)
            return Points(name, task.question, len(words), _mirrored(name, table, list(task.mirrored)), _eyes(table))
    raise RequestError(f"{name}: nothing coarser can be made of the kind {type(task).__name__}")


def retell(coarse: Task, task: Task, words: Grouping, meaning: Any) -> Retold:
    """What a data set's words for `task` mean in the task that was derived from it by `words`."""
    match task:
        case Category():
            return _retold_words(words, task.vocabulary, meaning)
        case Scale():
            return _retold_ranges(words, meaning)
        case Traits():
            return _retold_trait(words, meaning)
        case Regions():
            table = (meaning.table.astype(int) @ labels.words(task.vocabulary, words).table.T.astype(int)) > 0
            return Words(meaning.names, table), lambda label: label
        case Points():
            return _retold_points(_means(coarse.name, words, task.count), meaning)
    raise RequestError(f"{coarse.name}: nothing coarser can be made of the kind {type(task).__name__}")


def _check_form(where: str, task: Task, held: tuple[Any, ...]) -> None:
    match task:
        case Scale():
            right, form = len(held) == 2 and all(isinstance(end, int | float) for end in held), "a first and a last number"
        case Traits():
            right, form = len(held) == 2 and isinstance(held[0], str) and held[1] in (True, False), "a trait and true or false"
        case Points():
            right, form = all(isinstance(index, int) for index in held), "numbers of points"
        case _:
            right, form = all(isinstance(answer, str) for answer in held), "answers by name"
    if not right:
        raise RequestError(f"{where} holds {', '.join(map(repr, held))}, not {form}")


# Classes


def _each_once(name: str, words: Grouping, vocabulary: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for word, held in words.items():
        for answer in (held,) if isinstance(held, str) else held:
            if answer not in vocabulary:
                raise RequestError(f"{name}: {word!r} holds {answer!r}, which is not in the vocabulary{nearest(answer, vocabulary)}")
            if answer in seen:
                raise RequestError(f"{name}: {answer!r} is in two words")
            seen.add(answer)


def _retold_words(words: Grouping, vocabulary: tuple[str, ...], meaning: Words) -> Retold:
    groups = labels.words(vocabulary, words).table
    outside = ~groups.any(0)
    rows = zip(meaning.names, meaning.table, strict=True)
    certain: dict[str, set[int]] = {name: set(np.flatnonzero((groups & row).any(1)).tolist()) for name, row in rows if not (row & outside).any()}
    said = {word: held for word, held in _unions(tuple(words)).items() if held in certain.values()}  # no others, since scores are given by words, the likeliest of them
    by_set = {frozenset(held): word for word, held in said.items()}
    table = _words_of_unions(tuple(words), said, set().union(*certain.values()) if certain else set())

    def label(word: Any) -> Label | None:
        if isinstance(word, Mapping):
            votes: dict[str, float] = {}
            for each, count in word.items():
                if meaning.names[meaning.index(each)] in certain:
                    held = by_set[frozenset(certain[each])]
                    votes[held] = votes.get(held, 0.0) + float(count)
            return votes if sum(votes.values()) > 0 else None
        only = certain.get(meaning.names[meaning.index(word)])
        return by_set[frozenset(only)] if only else None

    return table, label


def _unions(names: tuple[str, ...]) -> dict[str, set[int]]:
    """{"a": {0}, "a or b": {0, 1}, ...}: a word for every set of answers."""
    return {" or ".join(names[at] for at in chosen): set(chosen) for count in range(1, len(names) + 1) for chosen in combinations(range(len(names)), count)}


def _words_of_unions(names: tuple[str, ...], told: dict[str, set[int]], scope: set[int]) -> Words:
    """Words for the sets inside the scope: what the data set cannot say at all stays out of U."""
    kept = {word: held for word, held in told.items() if held <= scope}
    return Words(tuple(kept), np.array([[at in held for at in range(len(names))] for held in kept.values()], bool).reshape(-1, len(names)))


# Numbers


def _check_ranges(name: str, words: Grouping, task: Scale) -> None:
    ends = sorted((float(low), float(high)) for low, high in words.values())
    if any(low > high or low < 0 or high > task.top for low, high in ends) or any(after[0] <= before[1] for before, after in pairwise(ends)):
        raise RequestError(f"{name}: its words are not ranges apart from each other inside 0 to {task.top}")


def _retold_ranges(words: Grouping, meaning: Ranges) -> Retold:
    """A whole number is held by a range that holds it; a range leaves possible every word that it touches, and says nothing certain where it leaves them."""
    bounds = np.array(list(words.values()), float)
    told = _unions(tuple(words))
    by_set = {frozenset(held): word for word, held in told.items()}

    def label(said: Any) -> Label | None:
        low, high = meaning.range_of(said)
        numbers = np.arange(np.floor(low + 0.5), np.floor(high + 0.5) + 1)
        inside = (numbers[:, None] >= bounds[:, 0]) & (numbers[:, None] <= bounds[:, 1])
        return by_set[frozenset(np.flatnonzero(inside.any(0)))] if inside.any(1).all() else None

    return _words_of_unions(tuple(words), told, set(range(len(words)))), label


# Traits


def _retold_trait(words: Grouping, meaning: TraitNames) -> Retold:
    trait = next(trait for trait, _ in words.values())
    named = next((name for name, ours in meaning.meanings.items() if ours == trait), None)
    word_of = {value: word for word, (_, value) in words.items()}

    def label(said: Any) -> Label | None:
        return word_of[bool(said[named])] if named in said else None

    known = np.eye(len(words), dtype=bool)
    return Words(tuple(words), known if named is not None else np.ones_like(known)), label  # a set that does not name the trait leaves both possible


# Points


def _means(name: str, words: Grouping, count: int) -> np.ndarray:
    """float [points, count]: each point a mean of the finer task's."""
    table = np.zeros((len(words), count))
    for row, (point, indices) in enumerate(words.items()):
        if not len(indices) or not all(0 <= index < count for index in indices):
            raise RequestError(f"{name}: {point!r} is no mean of points from 0 to {count - 1}")
        table[row, list(indices)] = 1 / len(indices)
    return table


def _eyes(means: np.ndarray) -> tuple[int, int] | None:
    """Which of these means of the 68 points are the eyes of the five; None unless both are there."""
    found = [np.flatnonzero((means == eye).all(1)) for eye in geometry.five_of_68()[:2] if means.shape[1] == len(eye)]
    return (int(found[0][0]), int(found[1][0])) if found and all(map(len, found)) else None


def _retold_points(means: np.ndarray, meaning: PointMap) -> Retold:
    """A point is known where the set's points have it among their means, or hold every point that it is the mean of."""
    weights = meaning.weights
    solved = np.zeros((len(means), len(weights)))
    for row, mean in enumerate(means):
        same = np.flatnonzero(np.isclose(weights, mean).all(1))
        singles = {int(index): at for at, each in enumerate(weights) for index in np.flatnonzero(each) if np.isclose(each[index], 1)}
        needed = np.flatnonzero(mean)
        if len(same):
            solved[row, same[0]] = 1
        elif all(int(index) in singles for index in needed):
            solved[row, [singles[int(index)] for index in needed]] = mean[needed]

    def label(said: Any) -> Label | None:
        points = np.asarray(said, float)
        known = np.where(np.isfinite(points), points, 0.0)
        found = solved @ known
        missing = (solved > 0) @ (~np.isfinite(points).all(-1)) > 0
        found[missing | ~solved.any(1)] = np.nan
        return found if np.isfinite(found).any() else None

    return PointMap(np.eye(len(means))), label


def _mirrored(name: str, table: np.ndarray, mirrored: list[int]) -> tuple[int, ...]:
    """Where each coarse answer goes in a mirror, given where each fine one does."""
    swapped = table[:, mirrored]
    partners = [np.flatnonzero((np.asarray(table) == row).all(1)) for row in swapped]
    if not all(len(partner) for partner in partners):
        raise RequestError(f"{name}: its answers are not those of the mirrored face")
    return tuple(int(partner[0]) for partner in partners)
