"""The worlds in which paper A is rebuilt: CelebA's people, Pins with voted groups, drawn people, a user's manifest. Each becomes `Pictures`, checked and cached."""

import json
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from polyface import datasets, tasks
from polyface.datasets.base import Dataset, Record
from polyface.datasets.crops import align_record, open_crop, read_faces
from polyface.errors import InputError, RequestError
from polyface.files import write_arrays
from polyface.images import align
from polyface.inference import engine
from polyface.labels import Ranges, TraitNames, Words
from polyface.papers import votes
from polyface.papers.fusion_config import FusionConfig, digest
from polyface.papers.fusion_pictures import Pictures, Question, subset
from polyface.synth.draw import draw
from polyface.synth.people import Person, Scene, person, photo_of
from polyface.tasks.derive import derive, retell
from polyface.tasks.kinds import Category, Embedding, Scale, Traits

Report = Callable[..., None]

OF_PERSON = (tasks.gender.name, tasks.race.name)
"""Questions of a user's set that have one answer for a person, whatever its labels say; of the others, the labels say it."""

YOUNG = {"not young": ("Young", False), "young": ("Young", True)}
SMILING = {"not smiling": ("Smiling", False), "smiling": ("Smiling", True)}
OPEN = {"closed": ("Mouth_Slightly_Open", False), "open": ("Mouth_Slightly_Open", True)}


def celeba(config: FusionConfig, data: Path, report: Report | None = None) -> Pictures:
    """People of whom there are the most pictures, with CelebA's own labels: who it is, Male and Young (the majority of a person's pictures, so that they are functions of
    who it is, as in the paper), Smiling and Mouth_Slightly_Open (every picture's own)."""
    dataset = datasets.celeba
    records = of_people(everyone(dataset, data), config.celeba.people, config.celeba.pictures)
    kept, crops = cut(records, dataset, data, config, report)
    asked = (
        (Question("gender", "Man or woman, as an annotator would say?", tasks.gender.vocabulary), _labels(kept, dataset, tasks.gender.name)),
        *(
            (Question(name, question, tuple(words), of_person), _trait(kept, dataset, words))
            for name, question, words, of_person in (
                ("age", "Is the person young, as an annotator would say?", YOUNG, True),
                ("smiling", "Does the face smile?", SMILING, False),
                ("mouth", "Is the mouth open?", OPEN, False),
            )
        ),
    )
    made = _pictures("celeba", "CelebA, labels given by people", kept, crops, asked, dataset.terms)
    return _by_majority(made)


def drawn(config: FusionConfig, report: Report | None = None) -> Pictures:
    """Drawn people in the 24 groups of the paper, as evenly as they divide, every label known."""
    people = _drawn_people(config.drawn.people, config.drawn.seed)
    wide, number = config.wide, config.drawn.pictures
    crops = np.empty((len(people) * number, wide.size, wide.size, 3), np.uint8)
    expressions = np.empty(len(crops), np.int64)
    twice = wide.scaled(2 * wide.size)
    for at, (who, _) in enumerate(people):
        for photo in range(number):
            scene = photo_of(who, config.drawn.seed, photo)
            drawing = draw(_facing(scene), twice.size, five=twice.template)
            crops[at * number + photo] = drawing.image.reshape(wide.size, 2, wide.size, 2, 3).mean((1, 3)).round()
            expressions[at * number + photo] = tasks.expression.vocabulary.index(scene.expression)
        if report:
            report(at + 1, len(people), "drawn")
    index = np.repeat(np.arange(len(people)), number)
    groups = np.array([group for _, group in people])
    questions = [Question(each.task.name, each.task.question, each.task.vocabulary) for each in votes.POLLS]
    questions.append(Question("expression", tasks.expression.question, tasks.expression.vocabulary, of_person=False, beside=True))
    labels = {question.name: groups[index, at] for at, question in enumerate(questions[:3])} | {"expression": expressions}
    names = tuple(f"drawn {who.index}" for who, _ in people)
    keys = tuple(f"{names[who]}/{row % number}" for row, who in enumerate(index))
    return Pictures("drawn", "drawn people in 24 groups", keys, crops, index, names, tuple(questions), labels, drawings=True)


def pins(config: FusionConfig, data: Path, out: Path, report: Report | None = None) -> Pictures:
    """Pins with each person's gender, race and age group voted by a network that saw FairFace alone; the people who fill the groups best."""
    dataset = datasets.pins
    records = of_people(everyone(dataset, data), 10**6, config.pins.pictures)
    found = read_faces(data, dataset.name).found
    steps = [] if config.pins.voter_steps is None else [f"steps={config.pins.voter_steps}"]
    model = votes.voter(config.pins.voter, data, out / "voter", steps, report)
    network = engine.load(model)
    votes.check_alone([entry.name for entry in network.card.data])
    answers = votes.ask(network, records, found, votes.POLLS, report)
    names = sorted({str(record.subject) for record in records})
    people = np.array([names.index(str(record.subject)) for record in records])
    polled = {each.task.name: votes.majority(answers[each.task.name], people, len(each.task.vocabulary), len(names)) for each in votes.POLLS}
    groups = [tuple(int(polled[each.task.name].winner[who]) for each in votes.POLLS) for who in range(len(names))]
    shares = np.min([each.share for each in polled.values()], axis=0)
    taken = votes.fill(groups, shares, config.pins.people)
    notes = _vote_notes(network, data, names, groups, shares, taken)
    kept, crops = cut([record for record in records if names.index(str(record.subject)) in set(taken)], dataset, data, config, report)
    asked = []
    for at, each in enumerate(votes.POLLS):
        label = np.array([groups[names.index(str(record.subject))][at] for record in kept])
        asked.append((Question(each.task.name, each.task.question, each.task.vocabulary), label))
    made = _pictures("pins", "Pins, famous people with voted groups", kept, crops, asked, dataset.terms)
    sure = np.array([shares[names.index(name)] >= votes.SURE for name in made.names])
    return replace(made, notes=notes, sure=sure)


def _vote_notes(network: engine.Engine, data: Path, names: Sequence[str], groups: Sequence[tuple[int, ...]], shares: np.ndarray, taken: Sequence[int]) -> tuple[str, ...]:
    """The voter's recalls, the counts of the groups, and who was left out."""
    measured = votes.recalls(network, data, votes.POLLS)
    lines = [
        f"the voter's recall on FairFace validation, {task}: " + ", ".join(f"{word} {recall:.0%} of {n}" for word, (recall, n) in each.items())
        for task, each in measured.items()
    ]
    unclear = [names[person] for person, group in enumerate(groups) if min(group) < 0]
    counts = Counter(" ".join(each.task.vocabulary[at] for each, at in zip(votes.POLLS, groups[person], strict=True)) for person in taken)
    lines.append("people in each group: " + ", ".join(f"{group} {count}" for group, count in sorted(counts.items())))
    lines.append(
        f"without a clear majority in one question, or without a place among the groups: {len(unclear)} of {len(names)} people ({', '.join(unclear) or 'nobody'})"
    )
    lines.append(
        f"the winner's share, least of the three questions: median {np.median(shares[taken]):.2f}, at least {votes.SURE} for "
        f"{int((shares[taken] >= votes.SURE).sum())} of {len(taken)}"
    )
    return tuple(lines)


def manifest(path: Path, config: FusionConfig, data: Path, report: Report | None = None) -> Pictures:
    """A user's own set: who it is, and every question with classes, ages in groups, and traits that its manifest declares."""
    dataset = datasets.named(str(path))
    if not any(isinstance(tasks.named(name), Embedding) for name in dataset.answers):
        raise RequestError(f"{path}: does not say whose pictures these are; give it [tasks.{tasks.identity.name}] with their column")
    records = everyone(dataset, data)
    for record in records:
        for name in dataset.answers:
            if name not in record.labels and isinstance(tasks.named(name), Category | Scale | Traits | Embedding):
                raise RequestError(f"{path}: {record.key} has no label of {name}")
    kept, crops = cut(records, dataset, data, config, report)
    asked: list[tuple[Question, np.ndarray]] = []
    for name, meaning in dataset.answers.items():
        asked += _questions_of(name, meaning, kept, dataset)
    return _settled(_pictures(dataset.name, dataset.title, kept, crops, asked, dataset.terms))


def manifest_text(path: Path, data: Path) -> list[bytes]:
    """What a manifest and its table say: when either changes, the pictures are made anew."""
    dataset = datasets.named(str(path))
    root, table = datasets.find_root(data, dataset.name), tomllib.loads(path.read_text())["table"]
    return [path.read_bytes(), root.open(table) if root.exists(table) else b""]


def _questions_of(name: str, meaning: Any, records: Sequence[Record], dataset: Dataset) -> list[tuple[Question, np.ndarray]]:
    task = tasks.named(name)
    if isinstance(task, Category) and isinstance(meaning, Words):
        return [(Question(name, task.question, meaning.names), _labels(records, dataset, name))]
    if isinstance(task, Scale) and isinstance(meaning, Ranges):
        _, label = retell(derive(task, name, votes.AGE_GROUPS), task, votes.AGE_GROUPS, meaning)
        classes = tuple(votes.AGE_GROUPS)
        told = [label(record.labels[name]) for record in records]
        return [(Question(name, task.question, classes), np.array([classes.index(each) if each in classes else -1 for each in told]))]  # type: ignore[arg-type]
    if isinstance(task, Traits) and isinstance(meaning, TraitNames):
        named = {ours: {f"not {ours}": (ours, False), ours: (ours, True)} for ours in meaning.meanings.values()}
        return [(Question(ours, f"{ours.replace('_', ' ')}: yes or no?", tuple(words)), _trait(records, dataset, words)) for ours, words in named.items()]
    return []


def _settled(pictures: Pictures) -> Pictures:
    """Which questions are functions of who it is: those of OF_PERSON, of which `check` refuses a person with two answers, and those that have one answer for everybody.
    The first person for whom another has two is noted, since it may be a slip."""
    settled, notes = [], list(pictures.notes)
    for question in pictures.questions:
        labels = pictures.labels[question.name]
        two = next((person for person in range(len(pictures.names)) if len(np.unique(labels[pictures.people == person])) > 1), None)
        of_person = two is None or question.name in OF_PERSON
        settled.append(replace(question, of_person=of_person))
        if two is not None and not of_person:
            words = " and ".join(question.classes[each] for each in np.unique(labels[pictures.people == two]) if each >= 0)
            notes.append(f"{question.name} is taken for a question about each picture, since {pictures.names[two]} has {words}")
    return replace(pictures, questions=tuple(settled), notes=tuple(notes))


# What the worlds share


def cached(folder: Path, config: FusionConfig, made_from: object, make: Callable[[], Pictures]) -> Pictures:
    """The pictures of a world, made once for these settings: OUT/<world>/pictures.npz and .json. Whoever asks checks them."""
    signature = digest(config.network.size, config.eye_distance, config.eyes, made_from)
    file = folder / "pictures.npz"
    if file.exists() and (folder / "pictures.json").exists():
        said = json.loads((folder / "pictures.json").read_text())
        if said["made_with"] == signature:
            with np.load(file) as arrays:
                questions = tuple(Question(**{**each, "classes": tuple(each["classes"])}) for each in said["questions"])
                labels = {each.name: arrays[f"label {each.name}"] for each in questions}
                some = {name: arrays[name] for name in ("sure", "tested") if name in arrays.files}
                made = Pictures(said["name"], said["title"], tuple(said["keys"]), arrays["crops"], arrays["people"], tuple(said["names"]), questions, labels)
                return replace(made, terms=said["terms"], drawings=said["drawings"], notes=tuple(said["notes"]), **some)
    made = make()
    arrays = {"crops": made.crops, "people": made.people} | {f"label {name}": each for name, each in made.labels.items()}
    arrays |= {name: each for name, each in (("sure", made.sure), ("tested", made.tested)) if each is not None}
    write_arrays(file, arrays)
    questions_said = [{name: getattr(each, name) for name in ("name", "question", "classes", "of_person", "beside")} for each in made.questions]
    said = {name: getattr(made, name) for name in ("name", "title", "keys", "names", "terms", "drawings", "notes")}
    (folder / "pictures.json").write_text(json.dumps({**said, "questions": questions_said, "made_with": signature}))
    return made


def everyone(dataset: Dataset, data: Path) -> list[Record]:
    """The records of all splits that are there: the worlds cut their own. Raises RequestError for the first row that its set refuses, with its file and number."""
    root = datasets.find_root(data, dataset.name)
    records: list[Record] = []
    for split in dataset.splits:
        listing = dataset.list_records(root, split)
        if listing.problems:
            raise RequestError(f"{root.label}: {listing.problems[0]}")
        records += listing.records
    if not records:
        raise RequestError(f"{root.label}: no picture of {dataset.title}")
    return records


def of_people(records: Sequence[Record], people: int, pictures: int) -> list[Record]:
    """At most so many pictures of those people who have the most."""
    by_person: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.key):
        if record.subject is not None:
            by_person.setdefault(record.subject, []).append(record)
    chosen = sorted(by_person, key=lambda name: (-min(len(by_person[name]), pictures), name))[:people]
    return [record for name in sorted(chosen) for record in by_person[name][:pictures]]


def cut(records: Sequence[Record], dataset: Dataset, data: Path, config: FusionConfig, report: Report | None) -> tuple[list[Record], np.ndarray]:
    """The wide crops of the records that have one; those whose picture cannot be opened or whose face nobody found are left out."""
    found, wide = read_faces(data, dataset.name).found, config.wide
    kept, crops = [], []
    for done, record in enumerate(records, start=1):
        example = align_record(record, found.get(record.key), training=True)
        if example is not None:
            try:
                crops.append(open_crop(record, align.from_points(example.points, wide), wide.size)[0])
                kept.append(record)
            except InputError:
                continue
        if report and done % 100 == 0:
            report(done, len(records), dataset.name)
    if not kept:
        raise RequestError(f"{dataset.name}: no face is aligned; run `polyface datasets align {dataset.name}`")
    return kept, np.stack(crops)


def _pictures(name: str, title: str, records: Sequence[Record], crops: np.ndarray, asked: Sequence[tuple[Question, np.ndarray]], terms: str) -> Pictures:
    subjects = [str(record.labels.get(tasks.identity.name, record.subject)) for record in records]
    names = tuple(sorted(set(subjects)))
    place = {each: at for at, each in enumerate(names)}
    people = np.array([place[each] for each in subjects], np.int64)
    labels = {question.name: label for question, label in asked}
    return Pictures(name, title, tuple(record.key for record in records), crops, people, names, tuple(question for question, _ in asked), labels, terms)


def _labels(records: Sequence[Record], dataset: Dataset, name: str) -> np.ndarray:
    """The words of a data set as int64 [N]; -1 for none, and for tied votes."""
    words = dataset.answers[name]
    assert isinstance(words, Words)

    def index(label: Any) -> int:
        if isinstance(label, Mapping):
            most = [word for word, count in label.items() if count == max(label.values())]
            label = most[0] if len(most) == 1 else None
        return -1 if label is None else words.index(label)

    return np.array([index(record.labels.get(name)) for record in records], np.int64)


def _trait(records: Sequence[Record], dataset: Dataset, words: Mapping[str, tuple[str, bool]]) -> np.ndarray:
    """A class for the yes and one for the no of a trait, int64 [N], -1 where it is not said."""
    meaning, classes = dataset.answers[tasks.attributes.name], list(words)
    _, label = retell(derive(tasks.attributes, "trait", words), tasks.attributes, words, meaning)
    told = [label(record.labels[tasks.attributes.name]) for record in records]
    return np.array([classes.index(str(each)) if each is not None else -1 for each in told], np.int64)


def _by_majority(pictures: Pictures) -> Pictures:
    """Questions about persons answered by the majority of their pictures; people whose pictures are tied are left out. What was overruled is noted."""
    labels, notes, undecided = dict(pictures.labels), [], set()
    for question in pictures.questions:
        if question.of_person:
            found = votes.majority(labels[question.name], pictures.people, len(question.classes), len(pictures.names))
            undecided |= set(np.flatnonzero(found.winner < 0).tolist())
            settled = found.winner[pictures.people]
            notes.append(f"{question.name}: {(settled != labels[question.name]).mean():.1%} of the pictures had another label than most of their person's")
            labels[question.name] = settled
    made = replace(pictures, labels=labels, notes=tuple(notes))
    return subset(made, [person for person in range(len(made.names)) if person not in undecided]) if undecided else made


def _drawn_people(number: int, seed: int) -> list[tuple[Person, tuple[int, int, int]]]:
    """People whose group still has room, (age, race, gender) as in votes.POLLS; nobody within four years of a group's bound, since photographs differ by some years."""
    age, race, gender = votes.POLLS
    groups = len(age.task.vocabulary) * len(race.task.vocabulary) * len(gender.task.vocabulary)
    room, taken = -(-number // groups), []
    counts: Counter = Counter()
    for index in range(200 * number + 4000):
        who = person(seed, index)
        if min(abs(who.base_age - 29.5), abs(who.base_age - 59.5)) < 4:
            continue
        races = [at for at, held in enumerate(race.words.values()) if who.race in ((held,) if isinstance(held, str) else held)]
        if not races:
            continue
        group = (int(who.base_age > 29.5) + int(who.base_age > 59.5), races[0], gender.task.vocabulary.index(who.gender))
        if counts[group] < room:
            counts[group] += 1
            taken.append((who, group))
        if len(taken) == room * groups:
            break
    whole = sorted(taken, key=lambda each: (each[1], each[0].index))
    over = len(whole) - number
    return [each for at, each in enumerate(whole) if not (over > 0 and at % room == room - 1 and at // room < over)] if room > 1 else whole[:number]


def _facing(scene: Scene) -> Scene:
    """Aligning a profile would blow it up."""
    return replace(scene, yaw=float(np.clip(scene.yaw, -40, 40)))
