"""Probes against a gallery: how each mate fares among those that are no mates."""

from dataclasses import dataclass

import numpy as np

from polyface.evaluation.search import mates_in_gallery, search


@dataclass(frozen=True)
class Ranks:
    """A row for each pair of a probe and a mate of it, by probe: probe int [M], score float [M], above and equal int [M]: how many that are no mates score more than
    the mate, and as much. other float [P]: the highest score of each probe with one that is no mate, -inf where all are mates."""

    probe: np.ndarray
    score: np.ndarray
    above: np.ndarray
    equal: np.ndarray
    other: np.ndarray

    def best(self) -> tuple[np.ndarray, "Ranks"]:
        """Of each probe that has mates its best one; and how many mates share its score, int [Q]."""
        order = np.lexsort((-self.score, self.probe))
        who, first = np.unique(self.probe[order], return_index=True)
        chosen = order[first]
        top = np.full(len(self.other), np.nan)
        top[who] = self.score[chosen]
        tied = np.bincount(self.probe[self.score == top[self.probe]], minlength=len(self.other))[who]
        return tied, Ranks(who, self.score[chosen], self.above[chosen], self.equal[chosen], self.other)


def rank_mates(probes: np.ndarray, gallery: np.ndarray, who: np.ndarray, whose: np.ndarray) -> Ranks:
    """probes float [P, d] and gallery float [G, d] of unit length; who [P], whose [G]: the person of each, any ids.

    Vectors are rounded to float32, which moves a cosine by less than 2e-7 (2 x 2^-24), and then compared exactly (`search`): equal ones tie.
    """
    probes, gallery = np.asarray(probes, np.float32), np.asarray(gallery, np.float32)
    own = [np.flatnonzero(np.asarray(whose) == person) for person in who]
    mates = mates_in_gallery(probes, gallery, np.repeat(np.arange(len(own)), [len(rows) for rows in own]), np.concatenate([np.zeros(0, np.int64), *own]))
    found = search(probes, gallery, 1, mates, skip=(mates.probe, mates.row))
    return Ranks(mates.probe, mates.score, found.above[:, 0], found.equal[:, 0], found.scores[:, 0])
