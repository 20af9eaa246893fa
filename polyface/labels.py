"""The idea the project stands on: a label is the set of answers still possible.

A task is a question with a vocabulary of answers. A data set is somebody who answered some questions in words of its own, and each of its words leaves a
set S of our answers possible: FairFace's "Indian" leaves one, UTKFace's "Asian" two ({East Asian, Southeast Asian}), a mask's "hair or brow" three, "20-29"
ten years. The scope U is everything that data set could have said at all: a set with no word for contempt can neither affirm nor deny it.

One formula trains on all of them, and scores all of them:

    loss = -log P(S | U) = logsumexp(z over U) - logsumexp(z over S)

- S of one answer, U everything: cross-entropy.
- S = U (nothing was said): loss 0 and gradient 0, exactly, because both terms are one and the same operation.
- an answer outside U: gradient 0, exactly.
- for a fixed U, a smaller S never has a smaller loss.

`surprise` is that formula in numpy; `models/losses.py` is the same in torch, and a test holds the two together. The classes below say what the words of a data set
mean: `Words` for questions with classes (gender, race, expression; regions of a face), `Ranges` for numbers (age, angles), `TraitNames` for yes-or-no traits,
`PointMap` for landmarks, `People` for identity.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from polyface.errors import InputError, RequestError, nearest


def surprise(logits: np.ndarray, possible: np.ndarray, scope: np.ndarray) -> np.ndarray:
    """-log P(possible | scope) in nats. logits float [..., C]; possible (S) and scope (U) bool [..., C], S inside U, S not empty. Returns [...]."""
    return _log_sum_exp(logits, scope) - _log_sum_exp(logits, possible)


def word_probabilities(probabilities: np.ndarray, words: "Words") -> np.ndarray:
    """What a network that answers in our vocabulary says in a data set's words: float [..., C] -> float [..., W], conditioned on the scope.

    A word's probability is the sum over its set, so a model is never blamed for being finer than the labels. Words that overlap share their answers.
    """
    within = np.where(words.scope, probabilities, 0.0)
    total = within.sum(-1, keepdims=True)
    within = np.where(total > 0, within / np.where(total > 0, total, 1.0), words.scope / words.scope.sum())
    return within @ words.table.T.astype(within.dtype)


@dataclass(frozen=True)
class Words:
    """A data set's words for a question with classes. names [W]; table bool [W, C]: the answers each word leaves possible."""

    names: tuple[str, ...]
    table: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.table) != len(self.names):
            raise RequestError(f"{len(self.names)} words, but a table of {len(self.table)} rows")
        for word, possible in zip(self.names, self.table, strict=True):
            if not possible.any():
                raise RequestError(f"the word {word!r} leaves no answer possible")

    @property
    def scope(self) -> np.ndarray:
        """U, bool [C]: the union of what the words can say."""
        return np.any(self.table, axis=0)

    @property
    def finest(self) -> np.ndarray:
        """bool [W]: which words hold no other word with answers to spare. A broader one is never less likely than what it holds, so there is no choice
        between them."""
        held: np.ndarray = (self.table[:, None] >= self.table).all(-1) & (self.table[:, None] != self.table).any(-1)
        return ~np.any(held, axis=1)

    def index(self, word: object) -> int:
        """The row of a word. Raises InputError for a word nobody knows, with the nearest known one."""
        try:
            return self.names.index(word)  # type: ignore[arg-type]
        except ValueError:
            raise InputError(f"no word {word!r} here{nearest(str(word), self.names)}") from None


def words(vocabulary: Sequence[str], meanings: Mapping[str, str | Iterable[str]]) -> Words:
    """Words of a data set from {its word: our answer, or the answers it leaves possible}. Raises RequestError for an empty set or an unknown answer."""
    table = np.zeros((len(meanings), len(vocabulary)), bool)
    for row, (word, meaning) in enumerate(meanings.items()):
        for answer in [meaning] if isinstance(meaning, str) else meaning:
            if answer not in vocabulary:
                raise RequestError(f"the word {word!r} means {answer!r}, which is not in the vocabulary{nearest(answer, vocabulary)}")
            table[row, list(vocabulary).index(answer)] = True
    return Words(tuple(meanings), table)


def same_words(vocabulary: Sequence[str]) -> Words:
    """The words of a data set that speaks our vocabulary."""
    return words(vocabulary, {answer: answer for answer in vocabulary})


@dataclass(frozen=True)
class Ranges:
    """Numbers: a label is a number, a pair (low, high) with both ends included, or a word for such a range.

    sigma > 0 says how precise the set's numbers are: a plain number then stands for Gaussian shares about it.
    """

    meanings: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sigma: float = 0.0

    def range_of(self, label: object) -> tuple[float, float]:
        """(low, high) of a label, low <= high. Raises InputError for an unknown word, or what is no number."""
        if isinstance(label, str):
            if label not in self.meanings:
                raise InputError(f"no word {label!r} here{nearest(label, self.meanings)}")
            return self.meanings[label]
        try:
            low, high = label if isinstance(label, tuple | list) else (label, label)
            low, high = float(low), float(high)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise InputError(f"{label!r} is no number") from None
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise InputError(f"{label!r} is no range of numbers")
        return low, high


@dataclass(frozen=True)
class TraitNames:
    """Yes-or-no traits: {a data set's name: ours}. A label is {its name: True or False}; a trait that is not named is unknown."""

    meanings: Mapping[str, str]


@dataclass(frozen=True)
class PointMap:
    """A data set's points as weighted means of ours: weights float [n, P], rows sum to 1. A label is xy float [n, 2] in pixels, NaN where a point is not seen."""

    weights: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class People:
    """Identity: a label is the key of a person, which means something inside its data set only, or inside a space that several sets share by name.
    named: the keys are the names people go by, so that two keys of named sets that are spelled apart are two people; else they may be numbers, or words about numbers."""

    space: str = ""
    named: bool = False


def unsaid(vocabulary: Sequence[str], meanings: Iterable[object]) -> tuple[str, ...]:
    """The answers of a vocabulary that no word of these meanings leaves possible: what a network that learns from them cannot know. Of what has no words, none."""
    said: set[str] = set()
    for meaning in meanings:
        if isinstance(meaning, Words):
            said |= {answer for answer, possible in zip(vocabulary, meaning.scope, strict=True) if possible}
        elif isinstance(meaning, TraitNames):
            said |= set(meaning.meanings.values())
        else:
            return ()
    return tuple(answer for answer in vocabulary if answer not in said)


def readable(word: str) -> str:
    """A word of a vocabulary as people write it."""
    return word.replace("_", " ")


def _log_sum_exp(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    masked = np.where(mask, np.asarray(logits, np.float32), -np.inf)
    top = masked.max(axis=-1, keepdims=True)
    return np.log(np.exp(masked - top).sum(axis=-1)) + top[..., 0]
