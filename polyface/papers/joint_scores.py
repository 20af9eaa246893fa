"""What a network of paper C is worth on people whom it never saw: pairs, one person among distractors, attributes; and the numbers by which rows are paired.

OUT/rows/<name>/result.json is a `RowResult` and says that the row is done; arrays.npz beside it holds a number for each trial, pair and picture, in one order for all
rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polyface import tasks
from polyface.errors import InputError
from polyface.evaluation.pairs import pair_scores
from polyface.evaluation.protocols.megaface import Identified, identify, score_megaface
from polyface.metrics.intervals import bootstrap_of_sums, mean_score
from polyface.metrics.thresholds import all_pairs
from polyface.metrics.traits import accuracy_of_counts, balanced_accuracy_of_counts, trait_counts
from polyface.metrics.verification import auc, roc
from polyface.models.joint import Joint
from polyface.papers import results
from polyface.papers.fusion_networks import in_pieces
from polyface.papers.joint_config import JointRecipe
from polyface.papers.joint_faces import Faces, Tests
from polyface.papers.joint_screen import unscreened
from polyface.papers.joint_synthetic import fit
from polyface.papers.results import read_done, write_done
from polyface.tasks.kinds import Embedding, Traits
from polyface.training.config import Strict

RESULT, ARRAYS = "result.json", "arrays.npz"
REAL, HALF, SYNTHETIC = "real", "other half", "synthetic"
"""Kinds of distractors: real faces; the half of them that the synthetic ones were not fitted to; synthetic embeddings."""
TRIALS, ACCEPTED = "trials", "accepted"
"""Arrays of a row: "trials <kind> <size>", the rank of each trial; "accepted <FAR> <kind> <size>", whether it is accepted at that FAR of its probes and distractors."""
FAR, PAPER_FAR = "1e-3", "1e-6"
"""What decides (`joint_claims.py`), of real distractors; and the paper's."""


class Number(Strict, frozen=True, kw_only=True):
    """One score as it is reported, with its interval over people, None where that is not known, and what it was measured on."""

    about: str
    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    note: str = ""


class RowResult(Strict, frozen=True, kw_only=True):
    """What is kept of a row. validation: AUC over all pairs of validation people, or of attributes alone their balanced accuracy, None where it is not known; images:
    pictures seen in training; scored_on: a digest of the faces (`Tests.made_with`)."""

    name: str
    kind: str
    level: str
    seed: int
    scored_on: str
    parameters: int
    images: int
    people: int
    seconds: float
    images_per_second: float | None
    validation: float | None
    numbers: tuple[Number, ...]

    def number(self, about: str, metric: str) -> Number | None:
        return next((each for each in self.numbers if (each.about, each.metric) == (about, metric)), None)


def read_row(folder: Path) -> RowResult | None:
    return read_done(folder / RESULT, RowResult, "row")


def write_row(folder: Path, result: RowResult) -> None:
    write_done(folder / RESULT, result)


def read_rows(out: Path) -> dict[str, RowResult]:
    return results.read_rows(out, RESULT, RowResult)


@dataclass(frozen=True)
class Scored:
    """numbers: those of a row; arrays: {name: a number for each trial (TRIALS, ACCEPTED, "genuine"), pair ("pairs") or picture ("attributes")}; "<what> people": whose
    each is, of a pair both."""

    validation: float | None
    numbers: tuple[Number, ...]
    arrays: Mapping[str, np.ndarray] = field(repr=False)


def score(model: Joint, tests: Tests, recipe: JointRecipe) -> Scored:
    """Everything that the network answers."""
    model = model.eval()
    traits = next((task for task in model.tasks if isinstance(task, Traits)), None)
    numbers: list[Number] = []
    arrays: dict[str, np.ndarray] = {}
    validation = np.nan
    if traits is not None:
        numbers += _attributes(_run(model, tests.attributes, traits.name), tests.attributes, traits, arrays)
        if model.embedding is None:
            validation = _balanced(_run(model, tests.validation, traits.name), tests.validation, traits)
    if model.embedding is not None:
        validation = _auc(_run(model, tests.validation, model.embedding.name), tests.validation)
        numbers += _pairs(model, model.embedding, tests, unscreened(recipe), arrays)
        numbers += _identification(model, model.embedding, tests, recipe, arrays)
    return Scored(float(validation) if np.isfinite(validation) else None, tuple(numbers), arrays)


def _run(model: Joint, faces: Faces, name: str, mirrored: bool = False) -> np.ndarray:
    def compute(crops: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: model(crops.flip(2) if mirrored else crops)[name]}

    return in_pieces(compute, faces.crops, np.arange(len(faces.crops)))[name]


def _auc(vectors: np.ndarray, faces: Faces) -> float:
    """Over all pairs within a space, whose people have names of one kind."""
    person = np.unique(faces.people, return_inverse=True)[1].reshape(-1)
    space = np.unique([who.partition("/")[0] for who in faces.people], return_inverse=True)[1].reshape(-1)
    pairs = all_pairs(vectors, person, space)
    scores = np.concatenate([pairs.same, pairs.other])
    return auc(roc(scores, np.arange(len(scores)) < len(pairs.same)))


# Attributes


def _columns(traits: Traits) -> list[int]:
    return [tasks.attributes.vocabulary.index(name) for name in traits.vocabulary]


def _balanced(outputs: np.ndarray, faces: Faces, traits: Traits) -> float:
    labels = faces.labels[:, _columns(traits)]
    known = (labels >= 0).any(1)
    return balanced_accuracy_of_counts(trait_counts(labels[known], (outputs[known] > 0).astype(float)).sum(0)).value


def _attributes(outputs: np.ndarray, faces: Faces, traits: Traits, arrays: dict[str, np.ndarray]) -> list[Number]:
    labels = faces.labels[:, _columns(traits)]
    known = (labels >= 0).any(1)
    counts = trait_counts(labels[known], (outputs[known] > 0).astype(float))
    people = faces.people[known]
    arrays["attributes"] = (counts[..., 0] + counts[..., 3]).sum(1) / np.maximum(counts.sum((1, 2)), 1)
    arrays["attributes people"] = people
    rows = []
    for metric, statistic in (("accuracy", accuracy_of_counts), ("balanced accuracy", balanced_accuracy_of_counts)):
        interval = bootstrap_of_sums(counts, lambda total, statistic=statistic: statistic(total).value, people)  # type: ignore[misc]
        note = f"mean over {len(traits.vocabulary)} attributes, labels given by people"
        rows.append(_number("attributes", metric, statistic(counts.sum(0)).value, interval.low, interval.high, int(known.sum()), note))
    each = accuracy_of_counts(counts.sum(0)).each
    return [*rows, *(_number("attributes", name, each[at], np.nan, np.nan, int((labels[:, at] >= 0).sum())) for at, name in enumerate(traits.vocabulary))]


# Pairs


def _pairs(model: Joint, embedding: Embedding, tests: Tests, warning: str, arrays: dict[str, np.ndarray]) -> list[Number]:
    """warning: goes with every number."""
    if tests.paired is None or tests.pairs is None:
        return []
    plain, mirrored = (_run(model, tests.paired, embedding.name, flip) for flip in (False, True))
    subjects = [who or None for who in tests.paired.people.tolist()]
    found = pair_scores(embedding, plain, mirrored, tests.paired.keys, subjects, tests.pairs)
    if found.correct is not None:
        arrays["pairs"] = found.correct.astype(np.float32)
        arrays["pairs people"] = np.stack([tests.paired.people[found.left], tests.paired.people[found.right]], axis=1)
    notes = ["; ".join(said for said in (each.note, warning) if said) for each in found.scores]
    return [_number("pairs", each.metric, each.value, each.low, each.high, each.n, note) for each, note in zip(found.scores, notes, strict=True)]


# One person among distractors


def _identification(model: Joint, embedding: Embedding, tests: Tests, recipe: JointRecipe, arrays: dict[str, np.ndarray]) -> list[Number]:
    probes, others = _run(model, tests.probes, embedding.name), _run(model, tests.distractors, embedding.name)
    people, total, half = tests.probes.people, len(others), len(others) // 2
    sizes: dict[str, int | np.ndarray] = {str(size): size for size in sorted({*(size for size in recipe.sizes if size < total), total})}
    checked = checked_sizes(recipe, total)
    real = identify(probes, people, others, sizes | {f"{HALF} {size}": np.arange(half, half + size) for size in checked}, total, far=float(FAR))
    numbers = _of_trials(real, {**{name: (REAL, name) for name in sizes}, **{f"{HALF} {size}": (HALF, str(size)) for size in checked}}, arrays)
    drawn = sorted(recipe.synthetic.sizes)
    made = fit(others[:half], recipe.synthetic.clusters)
    synthetic = identify(probes, people, made.draw(drawn[-1]), {str(size): size for size in drawn}, drawn[-1])
    numbers += _of_trials(synthetic, {str(size): (SYNTHETIC, str(size)) for size in drawn}, arrays)
    arrays["trials people"] = np.array(_people_of_trials(people))
    arrays["genuine"] = real.genuine
    return numbers


def checked_sizes(recipe: JointRecipe, total: int) -> list[int]:
    """Sizes at which synthetic distractors are compared with as many real ones of the half that they were not fitted to. total: of real distractors."""
    return [size for size in recipe.sizes if size <= total - total // 2]


def unreached(recipe: JointRecipe, total: int) -> tuple[str, ...]:
    """Sizes of the recipe that real distractors are too few for, in words."""
    few = [size for size in recipe.sizes if size > total]
    unchecked = [size for size in recipe.sizes if size not in checked_sizes(recipe, total)]
    said = []
    if few:
        said.append(f"no score among {_listed(few)} real distractors: there are {total:,}")
    if unchecked:
        said.append(f"synthetic distractors are not checked at {_listed(unchecked)}: the half of the real ones that they are not fitted to has {total - total // 2:,}")
    return tuple(said)


def _listed(sizes: list[int]) -> str:
    return ", ".join(f"{size:,}" for size in sizes)


def _people_of_trials(people: np.ndarray) -> list[str]:
    """Whose each trial is, in `identify`'s order: every photograph with every other one of its person."""
    number = np.unique(people, return_inverse=True)[1].reshape(-1)
    probe, _ = np.nonzero((number[:, None] == number) & ~np.eye(len(number), dtype=bool))
    return people[probe].tolist()


def _of_trials(trials: Identified, named: Mapping[str, tuple[str, str]], arrays: dict[str, np.ndarray]) -> list[Number]:
    result = score_megaface(trials, "no list of noises")
    rows = []
    for size, (kind, count) in named.items():
        arrays[f"{TRIALS} {kind} {count}"] = trials.found.ranks(size).astype(np.int32)
        for metric in ("rank1", "rank10", f"tar@{PAPER_FAR}"):
            name = f"{metric}@{size}"
            each = result.scores[name]
            rows.append(_number(f"{kind} {count}", metric, each.value, each.low, each.high, each.n, result.reasons.get(name, result.notes.get(name, ""))))
        threshold = result.scores[f"threshold@{PAPER_FAR}@{size}"].value
        if np.isfinite(threshold):
            arrays[f"{ACCEPTED} {PAPER_FAR} {kind} {count}"] = (trials.genuine >= threshold).astype(np.float32)
        if kind != SYNTHETIC:
            rows.append(_tar(trials, size, f"{kind} {count}", arrays))
    return rows


def _tar(trials: Identified, size: str, about: str, arrays: dict[str, np.ndarray]) -> Number:
    """At FAR, which thousands of pairs resolve already."""
    try:
        threshold, reached = trials.found.threshold(size, float(FAR))
    except InputError as error:
        return _number(about, f"tar@{FAR}", np.nan, np.nan, np.nan, 0, str(error))
    accepted = trials.genuine >= threshold
    arrays[f"{ACCEPTED} {FAR} {about}"] = accepted.astype(np.float32)
    found = mean_score(accepted, trials.person)
    return _number(about, f"tar@{FAR}", found.value, found.low, found.high, found.n // 2, f"FAR {reached:.4g} reached, at cosine {threshold:.6f}")


def _number(about: str, metric: str, value: Any, low: Any, high: Any, n: int, note: str = "") -> Number:
    known = {name: float(each) if np.isfinite(each) else None for name, each in (("value", value), ("low", low), ("high", high))}
    return Number(about=about, metric=metric, n=n, note=note, **known)
