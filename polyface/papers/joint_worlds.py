"""What paper C is trained on: people of recognition sets, without those who must not be there, each refused by name and reason; and drawn people in their place."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np

from polyface import datasets, tasks
from polyface.datasets import copies
from polyface.datasets.base import thinned
from polyface.datasets.crops import Example, align_set, read_faces
from polyface.errors import InputError, RequestError
from polyface.evaluation.figures import write_csv
from polyface.files import write_atomically
from polyface.images.align import ARCFACE_112
from polyface.images.detect import Face
from polyface.papers.joint_config import Drawn, JointRecipe
from polyface.synth.draw import draw
from polyface.synth.people import person, photo_of
from polyface.synth.write import once, write_once
from polyface.training.config import Config, Data
from polyface.training.examples import Source, numbered, people_of, training_sources

REFUSED = "refused.csv"
OF_STRANGERS, IN_PROBES, SPELLED, SEEN_TWICE, TOO_FEW = (
    "a person of a set that is kept for tests", "also a probe person", "another spelling of one name", "a photograph of it is another person's too", "too few pictures",
)  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """A person who is not trained on; detail: the other name, or the photographs."""

    set: str
    person: str
    pictures: int
    why: str
    detail: str = ""


@dataclass
class Worlds:
    """Listed when first asked for. data: the folder of the sets; refused: who is not trained on, and why; notes: what else was left out."""

    recipe: JointRecipe
    data: Path
    refused: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def listed(self) -> dict[str, Source]:
        """{set: its training split}, of the recognition sets and the attribute network's: near-copies of test pictures and photographs of strangers left out, people of
        sets that are kept for tests without a name."""
        names = list(dict.fromkeys([*(pool.set for pool in self.recipe.data), self.recipe.attributes.set]))
        config = Config(name="joint", data=tuple(Data(set=name) for name in names), steps=1, batch=max(96, len(names)), strangers=self.strangers)
        try:
            found = training_sources(config, self.data)
        except InputError as error:
            raise RequestError(str(error)) from error
        for source in found:
            self.notes += [f"{source.dataset.name}: {count} pictures left out, {why}" for why, count in source.left_out.items() if count]
        return dict(zip(names, found, strict=True))

    @property
    def strangers(self) -> tuple[str, ...]:
        """Sets whose people are known by no name: those of the recipe, and probes that are not of a set that is trained on."""
        trained = {pool.set for pool in self.recipe.data}
        return tuple(dict.fromkeys([*self.recipe.strangers, *(each.set for each in self.recipe.probes if each.set not in trained)]))

    @cached_property
    def recognition(self) -> tuple[Source, ...]:
        """The recognition sets, their people counted anew. Raises RequestError where a set does not say who is who, or nobody is left of it."""
        self.refused.clear()
        made = []
        for pool in self.recipe.data:
            source = self.listed[pool.set]
            if tasks.identity.name not in source.dataset.answers:
                raise RequestError(f"{pool.set} does not say who is who")
            items, refused = admitted(source, self.probe_people, self.recipe.fewest, self._thumbnails(source))
            self.refused += refused
            kept = {id(record) for record in thinned([example.record for example in items], pool.most)}
            made.append(replace(source, examples=replace(source.examples, items=tuple(each for each in items if id(each.record) in kept)), weight=pool.weight))
        return counted(made)

    @cached_property
    def probe_people(self) -> dict[str, set[str]]:
        """{space: keys} of all people who are probes or choose the best level."""
        found: dict[str, set[str]] = {}
        for each in (*self.recipe.probes, *self.recipe.validation):
            dataset = datasets.named(each.set)
            records = dataset.records(datasets.find_root(self.data, dataset.name), each.split).records
            found.setdefault(dataset.space(tasks.identity.name), set()).update(record.subject for record in records if record.subject is not None)
        return found

    def write_refused(self, file: Path) -> None:
        write_csv(file, [{"set": each.set, "person": each.person, "pictures": each.pictures, "why": each.why, "detail": each.detail} for each in self.refused])

    def _thumbnails(self, source: Source) -> Mapping[str, np.ndarray]:
        return read_faces(self.data, source.dataset.name).thumbnails


def admitted(
    source: Source, probe_people: Mapping[str, set[str]], fewest: int, thumbnails: Mapping[str, np.ndarray] | None = None
) -> tuple[list[Example], list[Refusal]]:
    """The examples whose people may be trained by name, and the people who may not: those of sets kept for tests, probe people, the lesser of two names for one person
    (alike but for accents, case and punctuation, or with one photograph under both), and those with fewer pictures than that."""
    by_person: dict[str, list[Example]] = {}
    strangers: Counter = Counter()
    for example in source.examples.items:
        who = example.record.labels.get(tasks.identity.name)
        if isinstance(who, str):
            by_person.setdefault(who, []).append(example)
        elif example.record.subject is not None:
            strangers[example.record.subject] += 1
    refused = [Refusal(source.dataset.name, who, count, OF_STRANGERS) for who, count in sorted(strangers.items())]

    def refuse(why: str, people: Mapping[str, str]) -> None:
        refused.extend(Refusal(source.dataset.name, who, len(by_person.pop(who)), why, detail) for who, detail in people.items())

    keys, names = probe_people.get(source.space, set()), {copies.person_name(who) for people in probe_people.values() for who in people if has_name(who)}
    refuse(IN_PROBES, {who: "" for who in by_person if who in keys or (has_name(who) and copies.person_name(who) in names)})
    refuse(SPELLED, _twice_named({who: len(own) for who, own in by_person.items()}))
    refuse(SEEN_TWICE, _twice_seen(by_person, thumbnails or {}))
    refuse(TOO_FEW, {who: f"{fewest} at least are needed" for who, own in by_person.items() if len(own) < fewest})
    kept = {id(example) for own in by_person.values() for example in own}
    return [example for example in source.examples.items if id(example) in kept], refused


def counted(sources: Iterable[Source]) -> tuple[Source, ...]:
    """The sources with the people of each space numbered anew. Raises RequestError for a set of which nobody is left."""
    sources = tuple(sources)
    for source in sources:
        people = people_of(source.examples)
        if len(people) < 2:
            raise RequestError(f"{source.dataset.name}: {len(people)} people are left to be told apart")
    return numbered(sources)


def without(sources: Iterable[Source], people: set[tuple[str, str]]) -> tuple[Source, ...]:
    """people: (space, key) of those to be left out."""
    made = []
    for source in sources:
        items = tuple(each for each in source.examples.items if (source.space, str(each.record.labels[tasks.identity.name])) not in people)
        made.append(replace(source, examples=replace(source.examples, items=items)))
    return counted(made)


def has_name(person: str) -> bool:
    """Whether a key can be a name by which somebody is known in another set: it is no bare number."""
    return any(letter.isalpha() for letter in person)


def fold_of(person: str, folds: int) -> int:
    """Of a person, or of a picture of nobody in particular, for ever."""
    return int(hashlib.sha256(person.encode()).hexdigest()[8:16], 16) % folds


def _twice_named(pictures: Mapping[str, int]) -> dict[str, str]:
    """The lesser of two keys that are one name."""
    best: dict[str, str] = {}
    lesser = {}
    for who in sorted(pictures, key=lambda who: (-pictures[who], who)):
        first = best.setdefault(copies.person_name(who), who)
        if first != who:
            lesser[who] = first
    return lesser


def _twice_seen(by_person: Mapping[str, Sequence[Example]], thumbnails: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The lesser of two people of one set who share a photograph, by thumbnails of their aligned faces."""
    rows = [(who, example.record.key) for who, own in by_person.items() for example in own if example.record.key in thumbnails]
    faces = copies.comparable([thumbnails[key] for _, key in rows])
    people = np.unique([who for who, _ in rows], return_inverse=True)[1].reshape(-1)
    lesser: dict[str, str] = {}
    for start in range(0, len(rows), 2048):
        alike = faces[start : start + 2048] @ faces.T > copies.NEAR_WITHIN
        for one, other in zip(*np.nonzero(alike & (people[start : start + 2048, None] < people[None])), strict=True):
            pair = sorted((rows[start + one][0], rows[other][0]), key=lambda who: (-len(by_person[who]), who))
            lesser.setdefault(pair[1], f"{rows[start + one][1]} is {rows[other][1]}; the other person is {pair[0]}")
    return lesser


# Drawn people, in place of real sets


class _Aligned:
    """Knows where the face is, because the pictures were drawn by it."""

    name, sha256 = "drawn by ArcFace's template", ""

    def detect_many(self, images: Sequence[np.ndarray], threshold: float | None = None) -> list[list[Face]]:
        return [[Face((10.0, 5.0, 102.0, 110.0), ARCFACE_112, 1.0)] for _ in images]

    def detect(self, image: np.ndarray, threshold: float | None = None) -> list[Face]:
        return self.detect_many([image])[0]


SEED = 2017


def drawn_sets(drawn: Drawn, folder: Path) -> Path:
    """The folder with a scale's sets, drawn once."""
    write_once(drawn.sets, folder)
    for name, (people, photos) in drawn.people.items():
        new = once(folder / name, [people, photos, SEED], partial(_draw_people, name, people, photos))
        if new or not read_faces(folder, name).found:
            align_set(datasets.named(name), datasets.find_root(folder, name), folder, _Aligned())
    return folder


def _draw_people(name: str, people: int, photos: int, folder: Path) -> None:
    for index in range(people):
        who = person(SEED, index)
        for photo in range(photos):
            scene = photo_of(who, SEED, photo)
            image = draw(replace(scene, yaw=float(np.clip(scene.yaw, -20, 20))), 112, five=ARCFACE_112).image
            write_atomically(folder / f"{name} {index}" / f"{name}-{index}-{photo}.png", cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
