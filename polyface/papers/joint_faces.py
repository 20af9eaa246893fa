"""The faces that paper C's networks are scored on, cut once for all of them: OUT/faces/<what>.npz."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from polyface import datasets, tasks
from polyface.datasets import apart, copies
from polyface.datasets.base import Dataset, Pairs, Record, evenly
from polyface.datasets.crops import align_record, open_crop, read_faces
from polyface.errors import InputError, RequestError
from polyface.files import sha256_of_lines, write_arrays
from polyface.images import align
from polyface.papers.joint_config import Distractors, JointRecipe, People
from polyface.papers.joint_worlds import has_name

Report = Callable[..., None]


@dataclass(frozen=True)
class Faces:
    """crops uint8 [N, S, S, 3]; keys and people [N], a person as space/key, "" where nobody knows who it is; labels int8 [N, 40]: human labels of attributes, -1 where
    there are none."""

    crops: np.ndarray = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)
    people: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Tests:
    """All that networks are scored on. attributes: None where the split has none; pairs: of `paired`, None where the set is not at hand; removed: distractors that were
    left out, in words; notes: what is missing."""

    probes: Faces
    validation: Faces
    distractors: Faces
    attributes: Faces
    paired: Faces | None
    pairs: Pairs | None
    removed: tuple[str, ...]
    notes: tuple[str, ...]

    @cached_property
    def made_with(self) -> str:
        """A digest of whose faces these are, and in which order."""
        each = {"probes": self.probes, "validation": self.validation, "distractors": self.distractors, "attributes": self.attributes, "pairs": self.paired}
        lines = [f"{what} {key} {who}" for what, faces in each.items() if faces is not None for key, who in zip(faces.keys, faces.people.tolist(), strict=True)]
        pairs = [] if self.pairs is None else [*self.pairs.left, *self.pairs.right]
        return sha256_of_lines([*lines, *pairs])[:16]


def tests_of(recipe: JointRecipe, data: Path, out: Path, report: Report | None = None) -> Tests:
    """Raises RequestError where held-out people or distractors are not at hand, or fewer than two held-out people have two photographs."""
    cache = _Cache(recipe, data, out / "faces", report)
    probes = cache.faces("probes", [_of_people(each, data) for each in recipe.probes])
    named, counts = np.unique(probes.people, return_counts=True)
    if (counts > 1).sum() < 2:
        raise RequestError(f"probes: {(counts > 1).sum()} of {len(named)} held-out people have two photographs")
    validation = cache.faces("validation", [_of_people(each, data) for each in recipe.validation])
    chosen, removed = _distractors(recipe.distractors, probes, recipe, data)
    attributes = cache.faces("attributes", [_of_people(recipe.attribute_test, data)])
    paired, pairs, notes = None, None, []
    try:
        dataset = datasets.named(recipe.pairs)
        root = datasets.find_root(data, dataset.name)
        pairs = dataset.pairs(root)
        needed = {*pairs.left, *pairs.right}
        paired = cache.faces("pairs", [(dataset, [record for record in dataset.records(root, "test").records if record.key in needed])])
    except (InputError, RequestError) as error:
        notes.append(f"pairs of {recipe.pairs} are not scored: {error}")
        pairs = None
    return Tests(probes, validation, cache.faces("distractors", chosen), attributes, paired, pairs, removed, tuple(notes))


def _of_people(asked: People, data: Path) -> tuple[Dataset, list[Record]]:
    """At most so many photographs of each person, evenly through the person's own."""
    dataset = datasets.named(asked.set)
    by_person: dict[str, list[Record]] = {}
    for record in dataset.records(datasets.find_root(data, dataset.name), asked.split).records:
        if record.subject is not None:
            by_person.setdefault(record.subject, []).append(record)
    return dataset, [record for who in sorted(by_person) for record in evenly(by_person[who], asked.photos)]


def _distractors(asked: Sequence[Distractors], probes: Faces, recipe: JointRecipe, data: Path) -> tuple[list[tuple[Dataset, list[Record]]], tuple[str, ...]]:
    """Faces of all splits of sets, in an order of their own, without probe people: by name where both have names, and near-copies of their photographs."""
    names = {copies.person_name(who.partition("/")[2]) for who in probes.people if has_name(who.partition("/")[2])}
    looks = []
    for name in dict.fromkeys(each.set for each in recipe.probes):
        thumbnails = read_faces(data, datasets.named(name).name).thumbnails
        looks += [thumbnails[key] for key in probes.keys if key in thumbnails]
    shown = copies.comparable(looks)
    chosen, removed = [], []
    for each in asked:
        dataset = datasets.named(each.set)
        root = datasets.find_root(data, dataset.name)
        records: list[Record] = []
        for split in dataset.splits:
            records += dataset.list_records(root, split).records
        records = evenly(records, each.most)
        by_name = {record.key for record in records if record.subject is not None and copies.person_name(record.subject) in names}
        alike = apart.near_copies([record.key for record in records], read_faces(data, dataset.name), shown) - by_name
        if by_name or alike:
            removed.append(f"{dataset.name}: {len(by_name)} faces of probe people by name, {len(alike)} near-copies of their photographs left out")
        chosen.append((dataset, [record for record in records if record.key not in by_name and record.key not in alike]))
    return chosen, tuple(removed)


class _Cache:
    """Crops are cut once; a file that is of other pictures, or of another crop, is made anew."""

    def __init__(self, recipe: JointRecipe, data: Path, folder: Path, report: Report | None):
        self.recipe, self.data, self.folder, self.report = recipe, data, folder, report

    def faces(self, what: str, sets: Sequence[tuple[Dataset, list[Record]]]) -> Faces:
        """Raises RequestError where no face has a crop."""
        crop, file = self.recipe.view, self.folder / f"{what}.npz"
        made_with = sha256_of_lines([repr(crop), *(f"{dataset.name}/{record.key}" for dataset, records in sets for record in records)])
        if file.exists():
            with np.load(file) as kept:
                if str(kept["made_with"]) == made_with:
                    return Faces(kept["crops"], tuple(kept["keys"].tolist()), kept["people"], kept["labels"])
        crops, keys, people, labels, total = [], [], [], [], sum(len(records) for _, records in sets)
        for dataset, records in sets:
            found = read_faces(self.data, dataset.name).found
            for record in records:
                example = align_record(record, found.get(record.key), training=False)
                if example is None:
                    continue
                try:
                    crops.append(open_crop(record, align.from_points(example.points, crop), crop.size)[0])
                except InputError:
                    continue
                keys.append(record.key)
                people.append(f"{dataset.space(tasks.identity.name)}/{record.subject}" if record.subject is not None else "")
                labels.append(_labels(dataset, record))
                if self.report and len(keys) % 200 == 0:
                    self.report(len(keys), total, f"faces, {what}")
        if not keys:
            raise RequestError(f"{what}: no face of {', '.join(dataset.name for dataset, _ in sets)} has a crop; run `polyface datasets align`")
        order = np.random.default_rng(5).permutation(len(keys)) if what == "distractors" else np.arange(len(keys))
        made = Faces(np.stack(crops)[order], tuple(keys[at] for at in order), np.array(people)[order], np.stack(labels)[order])
        write_arrays(file, {"crops": made.crops, "keys": np.array(made.keys), "people": made.people, "labels": made.labels, "made_with": np.array(made_with)})
        return made


def _labels(dataset: Dataset, record: Record) -> np.ndarray:
    label = record.labels.get(tasks.attributes.name)
    if label is None:
        return tasks.attributes.unknown(0)["values"]
    return tasks.attributes.encode(dataset.answers[tasks.attributes.name], label)["values"]  # type: ignore[arg-type]
