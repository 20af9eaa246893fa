"""Pictures of people with labels of several tasks, ready to be learned from: what all worlds of paper A have in common. Checked before anything is trained."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from polyface.errors import RequestError
from polyface.images import geometry
from polyface.papers.fusion_config import FusionConfig, SplitName, Variation

IDENTITY = "identity"


@dataclass(frozen=True)
class Question:
    """A task of a world. of_person: its answer is a function of who it is, as in the paper; else every picture has its own. beside: not in the tables, only in the
    question what more tasks add."""

    name: str
    question: str
    classes: tuple[str, ...]
    of_person: bool = True
    beside: bool = False


@dataclass(frozen=True)
class Pictures:
    """crops uint8 [N, W, W, 3], wide; people int64 [N], rows of names; labels {task: int64 [N]}, -1 where nobody answered.

    questions: what is asked beside who it is. notes: what must be known of this world. sure: bool [people], whose groups are certain, where that is not all.
    tested: bool [N], pictures that their set keeps for testing, where we do not part them.
    """

    name: str
    title: str
    keys: tuple[str, ...]
    crops: np.ndarray = field(repr=False)
    people: np.ndarray = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    questions: tuple[Question, ...] = ()
    labels: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    terms: str = ""
    drawings: bool = False
    notes: tuple[str, ...] = ()
    sure: np.ndarray | None = field(default=None, repr=False)
    tested: np.ndarray | None = field(default=None, repr=False)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Those of the tables, identity first."""
        return (IDENTITY, *(question.name for question in self.questions if not question.beside))

    @property
    def beside(self) -> tuple[str, ...]:
        return tuple(question.name for question in self.questions if question.beside)

    def question(self, task: str) -> Question:
        if task == IDENTITY:
            return Question(IDENTITY, "Which of the people of the training pictures is it?", self.names)
        return next(question for question in self.questions if question.name == task)

    def label(self, task: str) -> np.ndarray:
        return self.people if task == IDENTITY else self.labels[task]


def check(pictures: Pictures) -> None:
    """Raises RequestError naming the first task with one class, person with one picture or without a group or with two, picture that is there twice, or missing label."""
    twice = [key for key, count in Counter(pictures.keys).items() if count > 1]
    if twice:
        rows = [row for row, key in enumerate(pictures.keys) if key == twice[0]]
        for question in pictures.questions:
            if len({int(pictures.labels[question.name][row]) for row in rows}) > 1:
                raise RequestError(f"{pictures.name}: the picture {twice[0]} is in two groups of {question.name}")
        raise RequestError(f"{pictures.name}: the picture {twice[0]} is there twice")
    counts = np.bincount(pictures.people, minlength=len(pictures.names))
    if len(pictures.names) < 2:
        raise RequestError(f"{pictures.name}: identity has one class")
    if (counts < 2).any():
        person = int((counts < 2).argmax())
        raise RequestError(f"{pictures.name}: {pictures.names[person]} has {'one picture' if counts[person] else 'no picture'}; two at least are needed")
    for question in pictures.questions:
        _check_question(pictures, question)


def _check_question(pictures: Pictures, question: Question) -> None:
    labels = pictures.labels[question.name]
    present = np.unique(labels[labels >= 0])
    if len(present) < 2:
        only = f" ({question.classes[present[0]]})" if len(present) else ""
        raise RequestError(f"{pictures.name}: {question.name} has one class{only}")
    if question.of_person:
        for person, name in enumerate(pictures.names):
            own = labels[pictures.people == person]
            if (own < 0).all():
                raise RequestError(f"{pictures.name}: {name} has no group of {question.name}")
            if len(groups := np.unique(own[own >= 0])) > 1:
                raise RequestError(f"{pictures.name}: {name} is in two groups of {question.name}, {question.classes[groups[0]]} and {question.classes[groups[1]]}")
    if (labels < 0).any():
        raise RequestError(f"{pictures.name}: {pictures.keys[int((labels < 0).argmax())]} has no label of {question.name}")


# Variants: every picture ten times, as the paper augments


def variants(pictures: Pictures, config: FusionConfig, strength: float) -> np.ndarray:
    """uint8 [N * V, S, S, 3]: of each picture itself first, then its variants. A pure function of (seed, picture, variant, strength)."""
    size, count = config.network.size, config.variants
    made = np.empty((len(pictures.crops) * count, size, size, 3), np.uint8)
    margin = (pictures.crops.shape[1] - size) // 2
    for at, wide in enumerate(pictures.crops):
        made[at * count] = wide[margin : margin + size, margin : margin + size]
        random = np.random.default_rng((config.seed, at))
        for variant in range(1, count):
            made[at * count + variant] = _variant(wide, size, margin, random, config.variation, strength)
    return made


def _variant(wide: np.ndarray, size: int, margin: int, random: np.random.Generator, variation: Variation, strength: float) -> np.ndarray:
    normal, uniform = random.normal(0, 1, 8), random.random(6)  # more than are used: the noise, which is drawn after them, stays the same
    centre = (len(wide) / 2, len(wide) / 2)
    shift = (float(normal[0] * variation.shift * strength * size) - margin, float(normal[1] * variation.shift * strength * size) - margin)
    matrix = geometry.about(centre, float(np.exp(normal[2] * variation.scale * strength)), float(normal[3] * variation.degrees * strength), shift)
    image = geometry.warp(wide, matrix, (size, size))
    if uniform[0] < 0.5:
        image = cv2.flip(image, 1)
    if uniform[1] < 0.5 and variation.blur * strength > 0:
        image = cv2.GaussianBlur(image, (0, 0), max(0.2, variation.blur * strength * uniform[2]))
    light = np.exp(normal[4] * variation.light * strength), normal[5] * variation.light * strength * 60
    changed = (image.astype(np.float32) - 127.5) * light[0] + 127.5 + light[1]
    if variation.noise * strength > 0:
        changed += random.normal(0, variation.noise * strength, image.shape)
    return np.clip(changed, 0, 255).astype(np.uint8)


# Splits


@dataclass(frozen=True)
class Split:
    """Rows of variants that are trained and tested on. targets: the tasks that can be asked here; labels: those of the world, but for classes left out of it."""

    name: SplitName
    fold: int
    train: np.ndarray = field(repr=False)
    test: np.ndarray = field(repr=False)
    targets: tuple[str, ...] = ()
    labels: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        return f"{self.name}-{self.fold}" if self.name == "person" else self.name


def splits(pictures: Pictures, config: FusionConfig, name: SplitName) -> tuple[Split, ...]:
    """paper: 70/30 of all variants, as published. image: 70/30 of every person's pictures, variants go with theirs. person: people in folds, who cannot be named."""
    random, count, number = np.random.default_rng((config.seed, 99)), config.variants, len(pictures.keys)
    labels = {task: np.repeat(pictures.label(task), count) for task in (*pictures.tasks, *pictures.beside)}
    if name == "paper":
        order = random.permutation(number * count)
        cut = round(config.train_share * len(order))
        return (Split(name, 0, np.sort(order[:cut]), np.sort(order[cut:]), pictures.tasks, labels),)
    if name == "image":
        tested = np.zeros(number, bool)
        for person in range(len(pictures.names)):
            own = random.permutation(np.flatnonzero(pictures.people == person))
            tested[own[: max(1, round((1 - config.train_share) * len(own)))]] = True
        rows = np.repeat(tested, count)
        return (Split(name, 0, np.flatnonzero(~rows), np.flatnonzero(rows), pictures.tasks, labels),)
    fold_of = _folds(pictures, config.folds, random)
    labels |= {question.name: np.repeat(_common(pictures, question, config.fewest_people), count) for question in pictures.questions}
    targets = tuple(question.name for question in pictures.questions if not question.beside and len(np.unique(labels[question.name][labels[question.name] >= 0])) > 1)
    made = []
    for fold in range(config.folds):
        rows = np.repeat(fold_of[pictures.people] == fold, count)
        made.append(Split(name, fold, np.flatnonzero(~rows), np.flatnonzero(rows), targets, labels))
    return tuple(made)


def _folds(pictures: Pictures, folds: int, random: np.random.Generator) -> np.ndarray:
    """int [people]: their fold, groups dealt out evenly, so that every class is on both sides where it can be."""
    if len(pictures.names) < folds:
        raise RequestError(f"{pictures.name}: {len(pictures.names)} people do not fill {folds} folds")
    first = np.array([int((pictures.people == person).argmax()) for person in range(len(pictures.names))])
    groups = [tuple(int(pictures.labels[question.name][row]) for question in pictures.questions if question.of_person) for row in first]
    order = sorted(range(len(groups)), key=lambda person: (groups[person], random.random()))
    fold_of = np.empty(len(groups), np.int64)
    dealt = [random.permutation(folds) for _ in range(-(-len(order) // folds))]  # in turn, groups of two would always part the same way
    fold_of[order] = np.concatenate(dealt)[: len(order)]
    return fold_of


def _common(pictures: Pictures, question: Question, fewest: int) -> np.ndarray:
    """The labels without classes of fewer people than that: -1."""
    labels = pictures.labels[question.name].copy()
    for each in range(len(question.classes)):
        if len(np.unique(pictures.people[labels == each])) < fewest:
            labels[labels == each] = -1
    return labels


def random_groups(labels: np.ndarray, people: np.ndarray, seed: int) -> np.ndarray:
    """int64 [R]: people assigned to groups of the same sizes at random; a row's answer is still a function of who it is. Who has no group (-1) gets none.

    labels, people int [R], people counted from 0.
    """
    dealt = labels[np.unique(people, return_index=True)[1]]
    known = dealt >= 0
    dealt[known] = np.random.default_rng((seed, 77)).permutation(dealt[known])
    return dealt[people]


def counts(pictures: Pictures, task: str, labels: np.ndarray, people: np.ndarray) -> dict[str, int]:
    """{class: how many people are in it} of a task whose answer is a function of who it is; of another how many rows. Classes without any are left out.

    labels, people int [R].
    """
    question = pictures.question(task)
    members = ((word, people[labels == at]) for at, word in enumerate(question.classes))
    return {word: len(np.unique(each)) if question.of_person else len(each) for word, each in members if len(each)}


def joint_groups(pictures: Pictures) -> tuple[tuple[str, ...], np.ndarray]:
    """The finest groups of people, by all questions that are functions of who it is (gender x age x race), those that occur: names and int64 [N]."""
    asked = [question for question in pictures.questions if question.of_person and not question.beside]
    tuples = list(zip(*(pictures.labels[question.name] for question in asked), strict=True))
    found = sorted(set(tuples))
    names = tuple(" ".join(question.classes[answer] for question, answer in zip(asked, each, strict=True)) for each in found)
    return names, np.array([found.index(each) for each in tuples], np.int64)


def subset(pictures: Pictures, people: Sequence[int]) -> Pictures:
    """Only these people, renumbered in this order."""
    place = np.full(len(pictures.names), -1)
    place[list(people)] = np.arange(len(people))
    kept = np.flatnonzero(place[pictures.people] >= 0)
    return replace(
        pictures,
        keys=tuple(pictures.keys[row] for row in kept),
        crops=pictures.crops[kept],
        people=place[pictures.people[kept]],
        names=tuple(pictures.names[person] for person in people),
        labels={task: each[kept] for task, each in pictures.labels.items()},
    )
