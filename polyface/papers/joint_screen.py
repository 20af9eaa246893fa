"""Training people who may be probe people under no name: of two sets without common names only faces can tell. OUT/screen/screen.json says who left training, and why.

A network that knows who it is alone is trained on everybody; of each person the centre of some embeddings is compared with the centre of every probe person. The line
is that network's own threshold: the cosine that at most a share `far` of pairs of people reaches who are known to be different, by their names or because one set knows
both.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from polyface import datasets, tasks
from polyface.datasets.base import Dataset, evenly
from polyface.files import sha256_of_lines
from polyface.metrics.rates import errors_allowed
from polyface.models.joint import Joint
from polyface.papers.fusion_networks import in_pieces
from polyface.papers.joint_config import JointRecipe
from polyface.papers.joint_faces import Faces
from polyface.papers.joint_plan import Lesson, trained
from polyface.papers.joint_worlds import has_name
from polyface.papers.results import read_done, write_done
from polyface.papers.stage import Progress
from polyface.tasks.kinds import Embedding
from polyface.training import batches
from polyface.training.config import Strict
from polyface.training.examples import Source

FILE, NETWORK = "screen.json", "screen/network"


class Removed(Strict, frozen=True, kw_only=True):
    """A training person, and the probe person whom it resembles most."""

    space: str
    person: str
    probe: str
    cosine: float


class Reached(Strict, frozen=True, kw_only=True):
    """Distractors who may be probe people, none of them known to be another: so many photographs, those that reach the line with one; pairs of a photograph and a probe
    person, and those that reach it."""

    distractors: int
    over: int
    pairs: int
    pairs_over: int

    def in_words(self, far: float) -> str:
        return (
            f"{self.over:,} of {self.distractors:,} distractors without a name reach that cosine with a probe person, in {self.pairs_over:,} of {self.pairs:,} pairs, "
            f"where {far * self.pairs:,.0f} would by chance were single photographs like centres; they stay: else the strangers nearest to probe people would be gone"
        )


class Screened(Strict, frozen=True, kw_only=True):
    """threshold: None where too few pairs of known-different people could tell one. known, unknown: pairs of people; reached: of distractors, None without a line or
    where all of them are known to be others. made_with: a digest of all who were compared, and of the network."""

    far: float
    threshold: float | None
    known: int
    unknown: int
    removed: tuple[Removed, ...] = ()
    reached: Reached | None = None
    made_with: str = ""

    def in_words(self) -> str:
        if not self.unknown:
            return "every training person is known to be no probe person, by name or because one set knows both"
        if self.threshold is None:
            return f"whether a training person is a probe person cannot be told: {self.known} pairs of known-different people are too few for FAR {self.far:g}"
        return (
            f"{len(self.removed)} training people left out who may be probe people: their centres reach a cosine of {self.threshold:.3f} with one, as at most "
            f"{self.far:g} of {self.known:,} pairs of known-different people do ({self.unknown:,} pairs are of people who cannot be compared by name)"
        )


def screen(recipe: JointRecipe, sources: Sequence[Source], probes: Faces, distractors: Faces, out: Path, progress: Progress | None = None) -> Screened:
    """Made once of the same people and pictures; nothing is trained where names tell everybody apart."""
    file, lesson = out / "screen" / FILE, lesson_of(recipe, sources)
    made_with = sha256_of_lines([lesson.made_with, repr(recipe.screen), *probes.keys, *probes.people, *distractors.keys, *distractors.people])[:16]
    done = read_done(file, Screened, "screening")
    if done is not None and done.made_with == made_with:
        return done
    training = sorted({(source.space, str(example.record.labels[tasks.identity.name])) for source in sources for example in source.examples.items})
    looking = sorted(set(probes.people.tolist()))
    named = named_spaces(
        [*(source.dataset for source in sources), *map(datasets.named, [*(each.set for each in recipe.probes), *(each.set for each in recipe.distractors)])]
    )
    different = known_different(training, looking, named)
    if different.all():
        found = Screened(far=recipe.screen.far, threshold=None, known=int(different.sum()), unknown=0)
    else:
        model = trained(lesson, out / NETWORK, "screen", progress)
        centres = _centres(recipe, model, sources, training)
        others = _means(_embedded(model, probes.crops), np.searchsorted(looking, probes.people), len(looking))
        found = compare(centres, others, training, looking, different, recipe.screen.far)
        if found.threshold is not None:
            found = msgspec.structs.replace(found, reached=reaching(_embedded(model, distractors.crops), distractors.people, others, looking, named, found.threshold))
    found = msgspec.structs.replace(found, made_with=made_with)
    write_done(file, found)
    return found


def unscreened(recipe: JointRecipe) -> str:
    """Why training people may be in the list of pairs, in words, "" where names tell or they are screened as probe people."""
    listed, trained_on = datasets.named(recipe.pairs), [datasets.named(pool.set) for pool in recipe.data]
    who = tasks.identity.name
    if listed.space(who) in {datasets.named(each.set).space(who) for each in recipe.probes}:
        return ""
    named = named_spaces([listed, *trained_on])
    unnamed = [each.name for each in trained_on if listed.space(who) not in named or each.space(who) not in {*named, listed.space(who)}]
    if not unnamed:
        return ""
    return (
        f"pairs of {listed.name}: its people are kept out of training by name only, and those of {', '.join(unnamed)} have none, so that some of them may be trained on"
    )


def named_spaces(sets: Iterable[Dataset]) -> frozenset[str]:
    """Spaces of which every set says that its people's keys are names."""
    said = [(each.space(tasks.identity.name), each.names_people(tasks.identity.name)) for each in sets]
    return frozenset(space for space, _ in said) - {space for space, named in said if not named}


def known_different(training: Sequence[tuple[str, str]], probes: Sequence[str], named: Collection[str]) -> np.ndarray:
    """bool [T, P]: whether a training person (space, key) and a probe person ("space/key") are known to be two, none of them being named alike: both are of one space, or
    of spaces where keys are names."""
    by_name = np.array([space in named and has_name(who) for space, who in training], bool)
    probes_by_name = np.array([space in named and has_name(who) for space, _, who in (each.partition("/") for each in probes)], bool)
    one_space = np.array([space for space, _ in training], object)[:, None] == np.array([each.partition("/")[0] for each in probes], object)[None]
    return one_space | (by_name[:, None] & probes_by_name[None])


def compare(centres: np.ndarray, others: np.ndarray, training: Sequence[tuple[str, str]], probes: Sequence[str], different: np.ndarray, far: float) -> Screened:
    """centres [T, D] and others [P, D] of unit length."""
    cosines = centres @ others.T
    known = np.sort(cosines[different])[::-1]
    allowed = errors_allowed(far, len(known))
    said = {"far": far, "known": len(known), "unknown": int((~different).sum())}
    if allowed < 1:
        return Screened(threshold=None, **said)  # type: ignore[arg-type]
    threshold = float(np.nextafter(known[allowed], np.inf, dtype=known.dtype))
    alike = np.where(different, -np.inf, cosines)
    over = np.flatnonzero(alike.max(1) >= threshold).tolist()
    removed = tuple(Removed(space=training[at][0], person=training[at][1], probe=probes[int(alike[at].argmax())], cosine=round(float(alike[at].max()), 4)) for at in over)
    return Screened(threshold=threshold, removed=removed, **said)  # type: ignore[arg-type]


def reaching(vectors: np.ndarray, people: np.ndarray, centres: np.ndarray, probes: Sequence[str], named: Collection[str], threshold: float) -> Reached | None:
    """vectors [N, D] of unit length and people [N] of distractors, "" where nobody knows who it is; centres [P, D] of probe people.

    None where all are known to be others.
    """
    who, place = np.unique(people, return_inverse=True)
    different = known_different([(space, key) for space, _, key in (each.partition("/") for each in who.tolist())], probes, named)[place.reshape(-1)]
    over = ~different & (vectors @ centres.T >= threshold)
    unknown = ~different.all(1)
    if not unknown.any():
        return None
    return Reached(distractors=int(unknown.sum()), over=int(over.any(1).sum()), pairs=int((~different).sum()), pairs_over=int(over.sum()))


def lesson_of(recipe: JointRecipe, sources: Sequence[Source]) -> Lesson:
    """Who it is alone, of everybody."""
    task = Embedding(tasks.identity.name, tasks.identity.question, recipe.dimension)
    return Lesson(
        network=recipe.network, tasks=(task,), sources=tuple(sources), stage=recipe.screen.stage, optimiser=recipe.optimiser, augment=recipe.augment, crop=recipe.view,
        seed=200, identity=recipe.identity, saves=recipe.saves, threads=recipe.threads,
    )  # fmt: skip


def _centres(recipe: JointRecipe, model: Joint, sources: Sequence[Source], training: Sequence[tuple[str, str]]) -> np.ndarray:
    """float32 [T, D] of unit length, of some photographs of each person; one without a picture that opens is nobody's like."""
    place = {who: at for at, who in enumerate(training)}
    vectors, whose = [np.zeros((0, recipe.dimension), np.float32)], []
    for source in sources:
        by_person: dict[str, list] = {}
        for example in source.examples.items:
            by_person.setdefault(str(example.record.labels[tasks.identity.name]), []).append(example)
        chosen = [example for own in by_person.values() for example in evenly(own, recipe.screen.photos)]
        who_of = {example.record.key: place[source.space, str(example.record.labels[tasks.identity.name])] for example in chosen}
        for batch in batches.plain_batches(source, chosen, (), recipe.view, 256):
            vectors.append(_embedded(model, batch.images))
            whose += [who_of[key] for key in batch.keys]
    return _means(np.concatenate(vectors), np.array(whose, np.int64), len(training))


def _means(vectors: np.ndarray, whose: np.ndarray, count: int) -> np.ndarray:
    """float32 [count, D] of unit length, 0 for nobody's."""
    sums = np.zeros((count, vectors.shape[1]), np.float32)
    np.add.at(sums, whose, vectors)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def _embedded(model: Joint, crops: np.ndarray) -> np.ndarray:
    return in_pieces(lambda piece: {"": model(piece)[tasks.identity.name]}, crops, np.arange(len(crops)))[""]
