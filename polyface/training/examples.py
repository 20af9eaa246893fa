"""What a recipe trains on and validates with: the examples of its sets, without whom and what must stay out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from polyface import datasets, tasks, terminal
from polyface.datasets import apart, copies, pack
from polyface.datasets.apart import Reserved
from polyface.datasets.base import Dataset, Record, Split
from polyface.datasets.crops import Example, Examples, Faces, examples, never_searched
from polyface.errors import InputError, RequestError, shortened
from polyface.tasks.kinds import Embedding, Points, Regions
from polyface.training.config import Config, Data


@dataclass(frozen=True)
class Source:
    """One set of the mix. people: {key: index} in its space of people; left_out: why records stayed out, counted; unchecked: how many pictures could be compared with
    other splits by their bytes only, because `align` never saw their faces; even: the task whose rare labels are drawn more often; notes: what to say of it.
    broken: pictures and masks that could not be read when they were drawn, a line for each, which names its file."""

    examples: Examples
    weight: float
    space: str = ""
    people: dict[str, int] = field(default_factory=dict, repr=False)
    left_out: Counter = field(default_factory=Counter)
    unchecked: int = 0
    even: str | None = None
    notes: tuple[str, ...] = ()
    broken: dict[str, object] = field(default_factory=dict, repr=False, compare=False)

    @property
    def dataset(self) -> Dataset:
        return self.examples.dataset

    def refuse(self, error: InputError) -> None:
        """Say once what could not be read, and keep it."""
        terminal.say_once(f"{self.dataset.name}: {error}", str(error), self.broken)


@dataclass(frozen=True)
class Withheld:
    """What training does without: by split, what is measured later; photograph names and people of the sets that a recipe calls strangers. faces: what `align` knows of
    each set of the mix."""

    faces: Mapping[str, Faces] = field(repr=False)
    reserved: dict[Split, Reserved] = field(repr=False)
    photographs: frozenset[str] = field(repr=False)
    people: frozenset[str] = field(repr=False)


def training_sources(config: Config, data: Path, without: Withheld | None = None) -> tuple[Source, ...]:
    """The train split of each set of the mix: people and pictures of other splits (`datasets/apart.py`) and strangers' photographs left out, strangers nameless."""
    without = without or withheld(config, data)
    return numbered([_training_source(entry, data, without, config) for entry in config.data])


def numbered(sources: Sequence[Source]) -> tuple[Source, ...]:
    """The sources with the people of each space numbered, in the order of their keys."""
    everyone: dict[str, set[str]] = {}
    for source in sources:
        everyone.setdefault(source.space, set()).update(people_of(source.examples))
    indices = {space: {key: index for index, key in enumerate(sorted(keys))} for space, keys in everyone.items()}
    return tuple(replace(source, people=indices[source.space]) for source in sources)


def validation_sources(config: Config, data: Path, without: Withheld | None = None) -> tuple[Source, ...]:
    """The validation split of each set that has one, without who and what is in a test, at most `validation_rows` pictures of each, evenly through the list."""
    without = without or withheld(config, data)
    sources = []
    for entry in config.data:
        dataset = _narrowed(datasets.named(entry.set), entry)
        if "validation" not in dataset.splits:
            continue
        root, faces = datasets.find_root(data, dataset.name), without.faces[dataset.name]
        try:
            found = examples(dataset, root, "validation", faces.found, training=True)
        except (InputError, RequestError):
            continue  # nothing of that split is here
        why = apart.unfit(dataset.name, "validation", [example.record for example in found.items], faces, without.reserved)
        kept = tuple(example for example in found.items if example.record.key not in why)
        step = -(-len(kept) // config.validation_rows)
        if kept:
            sources.append(Source(replace(found, items=kept[::step]), entry.weight, left_out=Counter(why.values()), notes=_notes(dataset, "validation", why)))
    return tuple(sources)


def withheld(config: Config, data: Path) -> Withheld:
    """Raises RequestError for strangers that are not at hand, since their people could not be kept out."""
    photographs, people = set(), set()
    strangers = {dataset.name: dataset for dataset in map(datasets.named, config.strangers)}  # refuses a misspelt one
    for dataset in strangers.values():
        if "test" not in dataset.splits:
            continue
        try:
            records = dataset.records(datasets.find_root(data, dataset.name), "test").records
        except (InputError, RequestError) as error:
            raise RequestError(f"strangers: {dataset.name} is not at hand, so its people cannot be kept out ({error}); --set strangers=[] does without") from error
        names = Counter(copies.photograph_name(record) for record in records)
        photographs |= {name for name, count in names.items() if count == 1}  # 01 of every person's folder names no photograph
        people |= {copies.person_name(record.subject) for record in records if record.subject}
    own = [datasets.named(entry.set) for entry in config.data]
    faces = apart.faces_of(own, data)
    tests = apart.reserve(data, own, faces, "test", (*datasets.DATASETS, *strangers.values()))
    return Withheld(faces, {"test": tests, "validation": apart.reserve(data, own, faces, "validation")}, frozenset(photographs), frozenset(people))


def _training_source(entry: Data, data: Path, without: Withheld, config: Config) -> Source:
    dataset = _narrowed(datasets.named(entry.set), entry)
    root = datasets.find_root(data, dataset.name)
    faces, folder = without.faces[dataset.name], pack.pack_folder(data, dataset.name)
    listed = examples(dataset, root, "train", faces.found, training=True)
    why = apart.unfit(dataset.name, "train", [example.record for example in listed.items], faces, without.reserved)  # before packs: no file has the bytes of theirs
    unpacked = 0
    if folder.exists():
        pack.require_fresh(folder, listed)
        packed = pack.read_pack(folder, dataset).items
        unpacked, listed = len(listed.items) - len(packed), replace(listed, items=packed)
    never = sum(key not in faces.searched for key in listed.unaligned)
    unaligned = {"no face found": len(listed.unaligned) - never, "never aligned": never}
    left_out: Counter = Counter({**unaligned, "refused": len(listed.problems) + unpacked, "absent": len(listed.absent)})
    kept, people = [], {task.name for task in tasks.TASKS if isinstance(task, Embedding)}
    for example in listed.items:
        record = example.record
        if record.key in why:
            left_out[why[record.key]] += 1
        elif copies.photograph_name(record) in without.photographs:
            left_out["photograph of a test list"] += 1
        elif record.subject and copies.person_name(record.subject) in without.people and people & set(record.labels):
            left_out["identity of a test person"] += 1
            kept.append(replace(example, record=_without(people, record)))
        else:
            kept.append(example)
    notes = (*(f"{dataset.name}: {problem}" for problem in shortened(listed.problems)), *_notes(dataset, "train", why))
    if not kept:
        raise RequestError(f"{dataset.name}: nothing is left to train on: " + ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count))
    if never:
        notes = (*notes, f"{dataset.name}: {never:,} pictures are left out, since {never_searched(dataset, faces)}")
    unchecked = [example for example in kept if example.record.key not in faces.thumbnails]
    if unchecked and not config.drawings:
        notes = (*notes, _unchecked(dataset, unchecked, len(kept), faces))
    even = _checked_even(entry, dataset)
    return Source(replace(listed, items=tuple(kept)), entry.weight, dataset.space(_identity(dataset)), {}, left_out, len(unchecked), even, notes)


def _notes(dataset: Dataset, split: Split, why: dict[str, str]) -> tuple[str, ...]:
    """A line where people of a set are in two of its splits, which are then not what they say they are."""
    shared = [key for key, reason in why.items() if reason == apart.PERSON]
    return (f"{dataset.name}: {len(shared):,} pictures are left out of {split}, they show people of another split; {shared[0]} first",) if shared else ()


def _unchecked(dataset: Dataset, unchecked: Sequence[Example], of: int, faces: Faces) -> str:
    how = "by their bytes only" if len(unchecked) <= apart.MOST_HASHED else "in no way"
    never = sum(example.record.key not in faces.searched for example in unchecked)
    why = never_searched(dataset, faces) if never else f"`polyface datasets align {dataset.called}` found no face on them"
    return f"{dataset.name}: {len(unchecked):,} of {of:,} pictures are compared with those of tests {how}, since {why}"


def _narrowed(dataset: Dataset, entry: Data) -> Dataset:
    """The set with the answers that the recipe asks it for."""
    if entry.tasks is None:
        return dataset
    for name in entry.tasks:
        if name not in dataset.answers:
            raise RequestError(f"{dataset.name} does not answer {tasks.named(name).name}; it answers {', '.join(dataset.answers)}")
    return replace(dataset, answers={name: dataset.answers[name] for name in entry.tasks})


def _checked_even(entry: Data, dataset: Dataset) -> str | None:
    if entry.even is None or (entry.even in dataset.answers and not isinstance(tasks.named(entry.even), Points | Regions)):
        return entry.even
    raise RequestError(f"{dataset.name} has no labels of {tasks.named(entry.even).name} that rows could be drawn evenly by")


def _without(names: set[str], record: Record) -> Record:
    return replace(record, labels={name: label for name, label in record.labels.items() if name not in names})


def people_of(listed: Examples) -> set[str]:
    """The keys of those whom the examples name."""
    identity = _identity(listed.dataset)
    return {str(example.record.labels[identity]) for example in listed.items if identity in example.record.labels}


def _identity(dataset: Dataset) -> str:
    """The task by which a set says who somebody is; "" where it does not."""
    return next((name for name in dataset.answers if isinstance(tasks.named(name), Embedding)), "")
