"""The same person? A probability for a cosine, and the cosines at which to say so, fitted on people who taught the network nothing.

On the people of PEOPLE, or of the held-out splits of the sets that are named, without those whom a training split taught the model by name (`evaluation/taught.py`), and
those in LFW, which is a test. One photograph counts once, in however many sets it is.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyface import datasets
from polyface.datasets.base import Dataset, Split
from polyface.datasets.copies import person_name
from polyface.errors import InputError, RequestError
from polyface.evaluation.evaluate import Network, Progress, look
from polyface.evaluation.taught import people_taught
from polyface.files import sha256_of_lines
from polyface.inference.card import FittedOn, PairCalibration, Threshold
from polyface.metrics import thresholds
from polyface.metrics.thresholds import AllPairs, all_pairs
from polyface.tasks.kinds import Embedding

PEOPLE: tuple[tuple[str, Split], ...] = (("cfp_fp", "test"), ("celeba", "validation"), ("celeba", "test"), ("celeba_wild", "test"))
"""`cfp_fp` has the photographs of `cfp_ff` too."""
TESTS = ("lfw",)
"""Whose people are for scores only."""


def people_of(sets: Sequence[str] | None, task: Embedding) -> tuple[tuple[str, Split], ...]:
    """Whose people the fit may be on: those held out by each of these sets that says who somebody is; PEOPLE where nothing is said."""
    if sets is None:
        return PEOPLE
    held_out: tuple[Split, ...] = ("validation", "test")
    return tuple((name, split) for name in sets if task.name in datasets.named(name).answers for split in held_out if split in datasets.named(name).splits)


def calibrate_pairs(
    network: Network, task: Embedding, folder: Path, trained_on: Sequence[str], people: Sequence[tuple[str, Split]] = PEOPLE, report: Progress | None = None
) -> tuple[PairCalibration, tuple[Threshold, ...], list[str]]:
    """The calibration of "the same person?", the thresholds offered, and what must be said of them. people: (data set, split), of which those at hand are taken.

    Raises InputError or RequestError where they are too few.
    """
    notes: list[str] = []
    strangers = _Strangers(task, folder, trained_on, notes)
    faces: list[_Face] = []
    known: set[tuple[str, str]] = set()
    fitted = []
    for name, split in people:
        try:
            dataset = datasets.named(name)
            seen = look(network, (task,), dataset, datasets.find_root(folder, dataset.name), folder, split, report)
        except (InputError, RequestError) as error:
            notes.append(f"{task.name}: {error}")
            continue
        notes += seen.refused
        space = dataset.space(task.name)
        taken = []
        for record, row in zip(seen.records.get(task.name, []), seen.rows.get(task.name, []), strict=True):
            if (space, record.key) not in known and record.subject is not None and strangers.admit(dataset, record.subject):
                known.add((space, record.key))
                taken.append(_Face(record.key, record.subject, space, row["output"]))
        faces += taken
        if taken:
            keys, subjects = [face.key for face in taken], len({face.person for face in taken})
            fitted.append(FittedOn(dataset=dataset.name, split=split, n=len(taken), subjects=subjects, sha256=sha256_of_lines(keys)))
    if not faces:
        wanted = f"wanted are {', '.join(f'{name} {split}' for name, split in people)}" if people else "none of the named sets says who somebody is"
        raise RequestError(f"nobody to calibrate on; {wanted}")
    calibration, lines = fit_pairs(_pairs(faces), strangers.left_out(), tuple(fitted))
    return calibration, lines, notes


def fit_pairs(pairs: AllPairs, left_out: str = "", fitted: tuple[FittedOn, ...] = ()) -> tuple[PairCalibration, tuple[Threshold, ...]]:
    """Raises InputError where the pairs are too few for a line on either side."""
    accept, reject = thresholds.accept_lines(pairs), thresholds.reject_line(pairs)
    if not accept:
        raise InputError(f"too few people: no rate of false acceptance has {thresholds.ENOUGH} errors of as many pairs of people behind it")
    found = thresholds.fit_probability(pairs)
    low, high = reject.interval.ends
    ece_low, ece_high = found.ece_interval.ends
    brier_low, brier_high = found.brier_interval.ends
    calibration = PairCalibration(
        slope=found.logistic.slope,
        intercept=found.logistic.intercept,
        different=reject.cosine,
        low=low,
        high=high,
        frr=reject.rate,
        told_apart=float((pairs.other < reject.cosine).mean()),
        ece=found.ece,
        ece_low=ece_low,
        ece_high=ece_high,
        brier=found.brier,
        brier_low=brier_low,
        brier_high=brier_high,
        same_pairs=len(pairs.same),
        other_pairs=len(pairs.other),
        left_out=left_out,
        fitted=fitted,
    )
    return calibration, tuple(_threshold(pairs, line) for line in accept)


@dataclass(frozen=True, eq=False)
class _Face:
    key: str
    person: str
    space: str
    vector: np.ndarray


class _Strangers:
    """Whom the network was not taught, and no test is about. Counts whom it turns away."""

    def __init__(self, task: Embedding, folder: Path, trained_on: Sequence[str], notes: list[str]):
        self.task = task
        self.names: dict[str, set[str]] = {}
        self.away: dict[str, set[str]] = {}
        for name in dict.fromkeys([*trained_on, *TESTS]):
            try:
                self.names[name] = _everybody(name, folder) if name in TESTS else people_taught(task, name, folder)
            except (InputError, RequestError) as error:
                notes.append(f"{task.name}: whether somebody is also in {name} is not known: {error}")

    def admit(self, dataset: Dataset, person: str) -> bool:
        plain = person_name(person)
        for name, people in self.names.items():
            if plain in people:
                self.away.setdefault(name, set()).add(f"{dataset.space(self.task.name)} {plain}")
                return False
        return True

    def left_out(self) -> str:
        counts = Counter({name: len(people) for name, people in self.away.items()})
        return ", ".join(f"{number} people who are also in {name}" for name, number in counts.items())


def _everybody(name: str, folder: Path) -> set[str]:
    dataset = datasets.named(name)
    root = datasets.find_root(folder, name)
    return {person_name(record.subject) for split in dataset.splits for record in dataset.records(root, split).records if record.subject is not None}


def _pairs(faces: Sequence[_Face]) -> AllPairs:
    people: dict[tuple[str, str], int] = {}
    spaces: dict[str, int] = {}
    person = [people.setdefault((face.space, face.person), len(people)) for face in faces]
    space = [spaces.setdefault(face.space, len(spaces)) for face in faces]
    return all_pairs(np.stack([face.vector for face in faces]), np.array(person), np.array(space))


def _threshold(pairs: AllPairs, line: thresholds.Line) -> Threshold:
    low, high = line.interval.ends
    tar = thresholds.true_accept_rate(pairs, line.cosine)
    return Threshold(far=line.rate, cosine=line.cosine, low=low, high=high, tar=tar, false_accepts=line.errors, pairs_of_people=line.people)
