"""A gallery -> the people in it, without saying how many: groups of faces that are joined, directly or by way of others.

Two faces are joined where their cosine reaches a line of the model's card, and each is among the NEAREST of the other. All pairs are looked at, exactly; what is
connected is one person. Among N faces of N people a line with a rate of false acceptance FAR joins a face with N * FAR wrong ones on average, and from one on, random
graphs fall into one great group (Erdos and Renyi 1960, On the Evolution of Random Graphs, section 9): so the coarsest line is taken that stays under.

Two faces of one picture are two people, though light and blur that they share make them alike. Faces that are not clear (`compare.CLEAR`) are left out.
"""

from dataclasses import dataclass, field

import msgspec
import numpy as np

from polyface.errors import RequestError
from polyface.evaluation.search import search
from polyface.inference.card import Card, Threshold
from polyface.inference.compare import CLEAR, operating_line
from polyface.inference.engine import Engine
from polyface.inference.gallery import Gallery, GalleryFace, embedding_task, faces_of
from polyface.tasks.kinds import Embedding
from polyface.terminal import Report, count

NEAREST = 3
"""Of 2, 3, 5 and all, on 200 faces of LFW: what joins pairs of one person best without great groups, see LOG.md."""
MOST_WRONG = 1.0
"""Wrong faces that a face may be joined with on average, counted as if no person were twice in the gallery."""


@dataclass(frozen=True)
class Person:
    """Faces taken for one person, the most typical first. likeness: the mean cosine of those of them that are joined; None of one alone."""

    faces: tuple[GalleryFace, ...]
    likeness: float | None = None


@dataclass(frozen=True)
class People:
    """people: of at least two faces, those of most first; alone: faces that are joined with no other, each a Person; unclear: faces that were not compared. From `cosine`
    on two are joined, a rate of `far`. faces: of the gallery."""

    people: tuple[Person, ...]
    alone: tuple[Person, ...]
    unclear: tuple[GalleryFace, ...]
    cosine: float
    far: float
    model: str
    faces: int = field(default=0)

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    def rows(self) -> list[dict[str, object]]:
        """A row for each person of several faces, for a table."""
        return [
            {
                "person": number,
                "faces": len(person.faces),
                "pictures": len({face.image for face in person.faces}),
                "likeness": person.likeness,
                "most typical": person.faces[0].image,
            }
            for number, person in enumerate(self.people, 1)
        ]

    def in_words(self) -> str:
        joined = self.faces - len(self.alone) - len(self.unclear)
        parts = [f"{count(len(self.people), 'person', 'people')} of {count(joined, 'face')}", f"{count(len(self.alone), 'face')} like no other"]
        parts += [f"{count(len(self.unclear), 'face')} too unclear to compare"] if self.unclear else []
        said = f"{', '.join(parts[:-1])}, and {parts[-1]}"
        return f"{said}. Joined from a cosine of {self.cosine:.3f} on, which {self.far:g} of pairs of two people reach."


def people(gallery: Gallery, engine: Engine, far: float | None = None, report: Report | None = None) -> People:
    """Group a gallery; far: a rate of the card, in place of the one that its size calls for.

    Raises RequestError for a gallery that is empty or not whole, a model that was never calibrated, and a rate that its card does not offer.
    """
    shards = list(gallery.shards())
    if not gallery.faces:
        raise RequestError(f"{gallery.folder}: no face in this gallery")
    every = [face for shard in shards for face in faces_of(shard)]
    clear = [row for row, face in enumerate(every) if face.score >= CLEAR]
    faces, unclear = [every[row] for row in clear], tuple(face for face in every if face.score < CLEAR)
    line = joining_line(engine.card, embedding_task(engine), len(faces), far)
    if not faces:
        return People((), (), unclear, line.cosine, line.far, engine.label, len(every))
    vectors = np.concatenate([shard.embeddings for shard in shards])[clear]
    joined = mutual(vectors, line.cosine, np.unique([face.image for face in faces], return_inverse=True)[1], report=report)
    group = connected(len(faces), *joined.edges())
    of_pair = group[joined.first[joined.i]]
    sums, counts = (np.bincount(of_pair, weights, minlength=len(faces)) for weights in (joined.scores * joined.times(), joined.times()))
    found, alone = [], []
    order = np.argsort(group, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        if len(rows) == 1:
            alone.append(Person((faces[rows[0]],)))
            continue
        typical = np.argsort(-(vectors[rows] @ vectors[rows].mean(0)), kind="stable")
        number = group[rows[0]]
        found.append(Person(tuple(faces[row] for row in rows[typical]), round(float(sums[number] / counts[number]), 4)))
    found.sort(key=lambda person: -len(person.faces))
    return People(tuple(found), tuple(alone), unclear, line.cosine, line.far, engine.label, len(every))


def joining_line(card: Card, task: Embedding, faces: int, far: float | None = None) -> Threshold:
    """The line of a rate of the card; where nothing is said the coarsest that joins a face with less than one wrong one on average, or the finest there is."""
    if far is not None:
        return operating_line(card, task, far)[1]
    operating_line(card, task)  # refuses a card without lines
    offered = sorted(card.thresholds, key=lambda line: -line.far)
    return next((line for line in offered if line.far * faces <= MOST_WRONG), offered[-1])


@dataclass(frozen=True)
class Joined:
    """Which of N vectors are joined, equal ones standing together, since each of them is joined with the same others.

    first int64 [D]: a row of each vector; twin int64 [N]: which vector a row has; copies int64 [D]. i <= j int64 [E]: every row with vector i is joined with every other
    one with vector j; scores float64 [E].
    """

    first: np.ndarray
    twin: np.ndarray
    copies: np.ndarray
    i: np.ndarray
    j: np.ndarray
    scores: np.ndarray

    def times(self) -> np.ndarray:
        """How many pairs of rows each stands for, int64 [E]."""
        return np.where(self.i == self.j, self.copies[self.i] * (self.copies[self.i] - 1) // 2, self.copies[self.i] * self.copies[self.j])

    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of rows that connect what all pairs do: one row of each side with all of the other. Of n equal vectors n pairs, in place of n (n - 1) / 2."""
        members, begin = np.argsort(self.twin, kind="stable"), np.cumsum(self.copies) - self.copies
        sides = []
        for one, other in ((self.i, self.j), (self.j, self.i)):
            counts = self.copies[other]
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            sides.append((np.repeat(self.first[one], counts), members[np.repeat(begin[other], counts) + within]))
        return np.concatenate([sides[0][0], sides[1][0]]), np.concatenate([sides[0][1], sides[1][1]])


def mutual(vectors: np.ndarray, cosine: float, pictures: np.ndarray, nearest: int = NEAREST, report: Report | None = None) -> Joined:
    """The pairs of vectors float32 [N, d] that reach a cosine and are each among the `nearest` best of the other; what ties with the last of them is among them.

    pictures: int [N], the picture of each. Two vectors that lie on one picture are of two people: they are no pair, and no neighbours of each other.
    report: as of `search`, of one pass over the vectors, and of another for each time that some tie with more.
    """
    keys = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.shape[1] * vectors.itemsize))).ravel()
    _, first, twin, copies = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    distinct = vectors[first]
    apart = _beside(twin, pictures)
    asked, k, found = np.arange(len(distinct)), nearest + 1, []
    while len(asked):
        single = np.flatnonzero(copies[asked] == 1)  # others find their own copies in their own row
        rivals = np.isin(apart[0], asked)
        skip = np.concatenate([[single, asked[single]], [np.searchsorted(asked, apart[0][rivals]), apart[1][rivals]]], axis=1)
        best = search(distinct[asked], distinct, k, least=cosine, skip=(skip[0], skip[1]), report=report)
        others = np.where(best.rows < 0, 0, copies[best.rows] - (best.rows == asked[:, None]))
        enough = np.cumsum(others, axis=1) >= nearest
        last = np.take_along_axis(best.scores, enough.argmax(axis=1)[:, None], axis=1)[:, 0]
        least = np.where(enough.any(axis=1), np.maximum(last, cosine), cosine)
        more = best.scores[:, -1] >= least  # what ties with the last may not be all there
        at, place = np.nonzero((best.scores >= least[:, None]) & ~more[:, None])
        found.append((asked[at], best.rows[at, place], best.scores[at, place]))
        asked, k = asked[more], 2 * k
    one, other, scores = (np.concatenate(each) for each in zip(*found, strict=True))
    pair, at, named = np.unique(np.minimum(one, other) * len(distinct) + np.maximum(one, other), return_index=True, return_counts=True)
    i, j = np.divmod(pair, len(distinct))
    both = named == np.where(i == j, 1, 2)
    return Joined(first, twin, copies, i[both], j[both], scores[at[both]])


def _beside(twin: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Which different vectors lie on one picture, int64 [2, E], each pair both ways."""
    from scipy.sparse import coo_array

    lies = coo_array((np.ones(len(twin), np.int32), (twin, pictures))).tocsr()
    one, other = (lies @ lies.T).nonzero()
    return np.stack([one, other]).astype(np.int64)[:, one != other]


def connected(faces: int, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """The number of the connected group of each face, int [faces], of the graph of these pairs."""
    from scipy.sparse import coo_array  # of the extra "data"
    from scipy.sparse.csgraph import connected_components

    return connected_components(coo_array((np.ones(len(i), np.int8), (i, j)), shape=(faces, faces)), directed=False)[1]
