"""Paper C's pseudo-labels: MOON is trained on human labels, answers on every picture of a recognition set, and a person's attributes are what most of the answers say.

    OUT/attributes/<all, fold-0, ...>/     networks; fold-k was trained without the people of fold k, whose attributes it predicts
    OUT/votes/predictions-<set>.parquet    a row for each picture: key, person, the network that answered, forty outputs (above 0: yes; NaN where it cannot be opened)
    OUT/votes/<set>.parquet                a row for each person and attribute: pictures, yes, share, label (1, 0, none where there is no majority)
    OUT/votes/attributes.parquet           a row for each attribute: how well predictions agree within people, and with human labels; whether it is kept, and why not

Where recognition people are the attribute network's own training people, their pictures are predicted by the network that did not see them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from polyface import tasks
from polyface.datasets.base import Record
from polyface.datasets.crops import Example
from polyface.errors import RequestError
from polyface.files import sha256_of_lines
from polyface.labels import TraitNames
from polyface.papers.joint_config import STABLE, JointRecipe
from polyface.papers.joint_plan import MADE_WITH, Lesson, trained
from polyface.papers.joint_worlds import Worlds, fold_of
from polyface.papers.stage import Progress
from polyface.papers.votes import majority
from polyface.tasks.kinds import Traits
from polyface.training import batches, parallel
from polyface.training.examples import Source

ALL = tasks.attributes
SEVERAL = 5
"""Pictures of a person of whom agreement says something: of two by lot it is 0.75 on average, of five 0.69, of many a half."""
NO_MAJORITY, NO_PICTURE = "no majority", "no picture can be opened"


@dataclass(frozen=True)
class Answers:
    """Of every picture of a set: keys [N], people [N], by which network [N], and outputs float32 [N, 40], above 0 for yes, NaN of a picture that cannot be opened; in
    the order of the pictures' list."""

    keys: tuple[str, ...] = field(repr=False)
    people: tuple[str, ...] = field(repr=False)
    networks: tuple[str, ...] = field(repr=False)
    outputs: np.ndarray = field(repr=False)

    @property
    def opened(self) -> np.ndarray:
        """bool [N]: the pictures that vote."""
        return ~np.isnan(self.outputs).any(1)


@dataclass(frozen=True)
class PersonVotes:
    """people [P]; pictures int [P], those that voted; yes int [P, 40]; label int8 [P, 40]: 1, 0, -1 where as many pictures say yes as no; unopened: pictures of all
    people that cannot be opened, and do not vote."""

    people: tuple[str, ...] = field(repr=False)
    pictures: np.ndarray = field(repr=False)
    yes: np.ndarray = field(repr=False)
    label: np.ndarray = field(repr=False)
    unopened: int = 0

    @property
    def share(self) -> np.ndarray:
        """v, float [P, 40]: the share of a person's pictures that says yes, NaN of somebody without a picture that votes."""
        return np.divide(self.yes, self.pictures[:, None], out=np.full(self.yes.shape, np.nan), where=self.pictures[:, None] > 0)

    def agreement(self, fewest: int = 1) -> np.ndarray:
        """float [40]: max(v, 1 - v), the mean over people who have so many pictures that vote; NaN where nobody has."""
        share = self.share[self.pictures >= fewest]
        return np.maximum(share, 1 - share).mean(0) if len(share) else np.full(share.shape[1], np.nan)


@dataclass(frozen=True)
class Attribute:
    """A line of the table. agreement {set: within people; "set (5 pictures or more)": of those who have SEVERAL, where not all have}; human: how often predictions say
    what the human label of the picture says, and person_human what the majority of a person's human labels says, NaN where there are none; people: with a vote."""

    name: str
    agreement: Mapping[str, float]
    human: float
    person_human: float
    no_majority: int
    kept: bool
    why: str


@dataclass(frozen=True)
class Voted:
    """votes {set}; attributes: of all forty; kept: those that joint networks learn."""

    votes: Mapping[str, PersonVotes]
    attributes: tuple[Attribute, ...]

    @property
    def task(self) -> Traits:
        """Of the attributes that are kept."""
        return replace(ALL, vocabulary=tuple(each.name for each in self.attributes if each.kept))


def vote(worlds: Worlds, sources: Sequence[Source], out: Path, progress: Progress | None = None) -> Voted:
    """Train the attribute networks that are not trained yet, ask them about the pictures of recognition sets, and count. Everything is kept and found again.

    Raises RequestError where the attribute set has no attributes, none is kept, or no picture of a set can be opened.
    """
    recipe = worlds.recipe
    teacher = worlds.listed[recipe.attributes.set]
    if ALL.name not in teacher.dataset.answers:
        raise RequestError(f"attributes.set: {teacher.dataset.name} does not answer {ALL.name}")
    answers = {source.dataset.name: _answers(source, teacher, recipe, out, progress) for source in sources}
    for name, each in answers.items():
        if not each.opened.any():
            raise RequestError(f"{name}: none of {len(each.keys)} pictures can be opened")
    votes = {name: count(each) for name, each in answers.items()}
    humans = {source.dataset.name: [_human(example.record, source) for example in source.examples.items] for source in sources}
    voted = Voted(votes, judge(votes, answers, humans, recipe))
    for name, own in votes.items():
        _write_votes(out / "votes" / f"{name}.parquet", own)
    _write(out / "votes" / "attributes.parquet", [_row(each) for each in voted.attributes])
    if not voted.task.vocabulary:
        best = max(min(each.agreement.values()) for each in voted.attributes)
        raise RequestError(f"attributes: none is kept; predictions agree in at most {best:.2f} of a person's pictures")
    return voted


def count(answers: Answers) -> PersonVotes:
    """The majority of each person's pictures that could be opened, attribute by attribute."""
    names = tuple(sorted(set(answers.people)))
    place = {name: at for at, name in enumerate(names)}
    opened = answers.opened
    people = np.array([place[person] for person in answers.people])[opened]
    says = (answers.outputs[opened] > 0).astype(np.int64)
    polled = [majority(says[:, attribute], people, 2, len(names)) for attribute in range(says.shape[1])]
    yes = np.zeros((len(names), says.shape[1]), np.int64)
    np.add.at(yes, people, says)
    return PersonVotes(names, polled[0].pictures, yes, np.stack([each.winner for each in polled], axis=1).astype(np.int8), int((~opened).sum()))


def judge(votes: Mapping[str, PersonVotes], answers: Mapping[str, Answers], humans: Mapping[str, Sequence[np.ndarray]], recipe: JointRecipe) -> tuple[Attribute, ...]:
    """Of every attribute how predictions agree, and whether it is kept. humans: int8 [40] of each picture in the order of the answers, -1 unknown."""
    said = np.concatenate([each.outputs > 0 for each in answers.values()])
    told = np.concatenate([np.where(each.opened[:, None], _stacked(humans[name]), -1) for name, each in answers.items()])
    pairs = [(votes[name], _majority_of_humans(answers[name], humans[name])) for name in votes]
    agreement = {name: own.agreement() for name, own in votes.items()}
    several = {name: own for name, own in votes.items() if 0 < (own.pictures >= SEVERAL).sum() < len(own.pictures)}
    agreement |= {f"{name} ({SEVERAL} pictures or more)": own.agreement(SEVERAL) for name, own in several.items()}
    rows = []
    for at, name in enumerate(ALL.vocabulary):
        within = {each: float(rates[at]) for each, rates in agreement.items()}
        known = told[:, at] >= 0
        both = [(own.label[:, at], truth[:, at]) for own, truth in pairs]
        same = np.concatenate([(label == truth)[(label >= 0) & (truth >= 0)] for label, truth in both])
        why = ""
        if recipe.attributes.stable_only and name not in STABLE:
            why = "belongs to a photograph rather than to a person"
        elif min(within.values()) < recipe.attributes.least_agreement:
            why = f"agreement below {recipe.attributes.least_agreement:g} in {min(within, key=within.__getitem__)}"
        rows.append(
            Attribute(
                name=name,
                agreement=within,
                human=_mean((said[:, at] == (told[:, at] == 1))[known]),
                person_human=_mean(same),
                no_majority=int(sum((own.label[:, at] < 0).sum() for own in votes.values())),
                kept=not why,
                why=why,
            )
        )
    return tuple(rows)


def labelled(sources: Sequence[Source], voted: Voted, human: bool = False, shuffled: int | None = None) -> tuple[Source, ...]:
    """The recognition sets with each person's voted attributes on all pictures. human: where a picture has human labels, those; shuffled: the votes of people of a set
    go to other people of it, by this seed."""
    kept = voted.task.vocabulary
    columns = [ALL.vocabulary.index(name) for name in kept]
    made = []
    for source in sources:
        votes = voted.votes[source.dataset.name]
        labels = votes.label[:, columns][order_of(len(votes.people), shuffled)]
        of_person = {
            who: {name: bool(value) for name, value in zip(kept, row, strict=True) if value >= 0} for who, row in zip(votes.people, labels.tolist(), strict=True)
        }
        own = human and ALL.name in source.dataset.answers
        meaning = source.dataset.answers[ALL.name] if own else TraitNames({name: name for name in kept})
        if own:
            assert isinstance(meaning, TraitNames)
            meaning = TraitNames({word: ours for word, ours in meaning.meanings.items() if ours in kept})
        items = tuple(_relabelled(example, of_person, meaning.meanings if own and isinstance(meaning, TraitNames) else None) for example in source.examples.items)
        answers = {tasks.identity.name: source.dataset.answers[tasks.identity.name], ALL.name: meaning}
        made.append(replace(source, examples=replace(source.examples, dataset=replace(source.dataset, answers=answers), items=items)))
    return tuple(made)


def shares_of(sources: Sequence[Source], voted: Voted, shuffled: int | None = None) -> dict[str, np.ndarray]:
    """{space: float32 [people, kept attributes]}: soft votes by the number of a person, -1 for people without."""
    columns = [ALL.vocabulary.index(name) for name in voted.task.vocabulary]
    made: dict[str, np.ndarray] = {}
    for source in sources:
        votes = voted.votes[source.dataset.name]
        table = made.setdefault(source.space, np.full((len(source.people), len(columns)), -1, np.float32))
        shares = np.nan_to_num(votes.share, nan=-1.0)[:, columns][order_of(len(votes.people), shuffled)]
        for who, share in zip(votes.people, shares, strict=True):
            if who in source.people:
                table[source.people[who]] = share
    return made


def order_of(people: int, shuffled: int | None) -> np.ndarray:
    """Whose votes each person gets."""
    return np.arange(people) if shuffled is None else np.random.default_rng((shuffled, 17)).permutation(people)


def _relabelled(example: Example, of_person: Mapping[str, dict[str, bool]], human: Mapping[str, str] | None) -> Example:
    who = str(example.record.labels[tasks.identity.name])
    own = example.record.labels.get(ALL.name)
    told = {word: value for word, value in own.items() if word in human} if human is not None and isinstance(own, Mapping) else of_person.get(who, {})
    return replace(example, record=replace(example.record, labels={tasks.identity.name: who, ALL.name: told}))


# The networks


def lesson_of(recipe: JointRecipe, teacher: Source, name: str) -> Lesson:
    """What an attribute network learns: `all`, or `fold-k`, everything but the people of fold k."""
    answers = {ALL.name: teacher.dataset.answers[ALL.name]}
    items = [example for example in teacher.examples.items if ALL.name in example.record.labels]
    if name != "all":
        items = [example for example in items if f"fold-{_fold(example.record, recipe)}" != name]
    own = replace(teacher, people={}, weight=1.0, examples=replace(teacher.examples, dataset=replace(teacher.dataset, answers=answers), items=tuple(items)))
    network = msgspec.structs.replace(recipe.network, level="late")  # without an embedding there is no branch at it
    return Lesson(
        network=network, tasks=(ALL,), sources=(own,), stage=recipe.attributes.stage, optimiser=recipe.optimiser, augment=recipe.augment, crop=recipe.view, seed=100,
        identity=recipe.identity, squared=recipe.attributes.loss == "squared", target=None if recipe.attributes.target == "source" else recipe.attributes.target,
        saves=recipe.saves, threads=recipe.threads,
    )  # fmt: skip


def _answers(source: Source, teacher: Source, recipe: JointRecipe, out: Path, progress: Progress | None) -> Answers:
    """From OUT/votes/predictions-<set>.parquet, made where it is not there, or was made of other pictures or networks."""
    own = source.space == teacher.space
    records = [example.record for example in source.examples.items]
    wanted = [(record.key, str(record.labels[tasks.identity.name]), f"fold-{_fold(record, recipe)}" if own else "all") for record in records]
    file = out / "votes" / f"predictions-{source.dataset.name}.parquet"
    lessons = {name: lesson_of(recipe, teacher, name) for name in sorted({network for _, _, network in wanted})}
    made_with = sha256_of_lines([*(each.made_with for each in lessons.values()), *map(repr, wanted)])[:16]
    kept = _read(file, made_with)
    if kept is None:
        asked = {name: trained(lesson, out / "attributes" / name, f"attribute network {name}", progress) for name, lesson in lessons.items()}
        items = source.examples.items
        outputs = np.full((len(items), len(ALL.vocabulary)), np.nan, np.float32)
        plain = replace(source, examples=replace(source.examples, dataset=replace(source.dataset, answers={})))
        for name, network in asked.items():
            rows = [at for at, (_, _, by) in enumerate(wanted) if by == name]
            place = {items[at].record.key: at for at in rows}
            for batch in batches.plain_batches(plain, [items[at] for at in rows], (), recipe.view, 256):
                with torch.inference_mode():
                    found = network(torch.from_numpy(batch.images).to(parallel.device()))[ALL.name].float().cpu().numpy()
                outputs[[place[key] for key in batch.keys]] = found
                if progress:
                    progress(place[batch.keys[-1]] + 1, len(items), f"attributes of {source.dataset.name}")
        told = (dict(zip(ALL.vocabulary, row.tolist(), strict=True)) for row in outputs)
        _write(file, [{"key": key, "person": who, "network": by, **row} for (key, who, by), row in zip(wanted, told, strict=True)], made_with)
        kept = _read(file, made_with)
        assert kept is not None
    outputs = np.array([[row[name] for name in ALL.vocabulary] for row in kept], np.float32).reshape(len(kept), len(ALL.vocabulary))
    return Answers(tuple(row["key"] for row in kept), tuple(row["person"] for row in kept), tuple(row["network"] for row in kept), outputs)


def _fold(record: Record, recipe: JointRecipe) -> int:
    return fold_of(record.subject or record.key, recipe.attributes.folds)


# Human labels


def _human(record: Record, source: Source) -> np.ndarray:
    """int8 [40], -1 where nobody said."""
    label = record.labels.get(ALL.name)
    return ALL.unknown(0)["values"] if label is None else ALL.encode(source.dataset.answers[ALL.name], label)["values"]  # type: ignore[arg-type]


def _stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(rows) if rows else np.zeros((0, len(ALL.vocabulary)), np.int8)


def _majority_of_humans(answers: Answers, humans: Sequence[np.ndarray]) -> np.ndarray:
    """int8 [P, 40] in the order of the votes, -1 without a majority."""
    names = {name: at for at, name in enumerate(sorted(set(answers.people)))}
    people, told = np.array([names[who] for who in answers.people]), _stacked(humans)
    return np.stack([majority(told[:, at], people, 2, len(names)).winner for at in range(told.shape[1])], axis=1).astype(np.int8)


def _mean(right: np.ndarray) -> float:
    return float(np.mean(right)) if len(right) else float("nan")


# Files


def _row(each: Attribute) -> dict[str, object]:
    within = {f"agreement {name}": value for name, value in each.agreement.items()}
    return {"attribute": each.name, **within, "as human labels, pictures": each.human, "as human labels, people": each.person_human,
            "people without majority": each.no_majority, "kept": each.kept, "why not": each.why}  # fmt: skip


def _write_votes(file: Path, votes: PersonVotes) -> None:
    rows: list[dict[str, object]] = []
    for person, name in enumerate(votes.people):
        for at, attribute in enumerate(ALL.vocabulary):
            label = int(votes.label[person, at])
            yes, pictures = int(votes.yes[person, at]), int(votes.pictures[person])
            rows.append(
                {"person": name, "attribute": attribute, "pictures": pictures, "yes": yes, "share": yes / pictures if pictures else None,
                 "label": label if label >= 0 else None, "refused": "" if label >= 0 else NO_MAJORITY if pictures else NO_PICTURE}
            )  # fmt: skip
    _write(file, rows)


def _write(file: Path, rows: Sequence[Mapping[str, object]], made_with: str = "") -> None:
    """Whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    parquet.write_table(pa.Table.from_pylist(list(rows)).replace_schema_metadata({MADE_WITH: made_with}), partial)
    partial.replace(file)


def _read(file: Path, made_with: str) -> list[dict[str, Any]] | None:
    """None where it is not there, or was made of something else."""
    if not file.exists():
        return None
    import pyarrow.parquet as parquet

    table = parquet.read_table(file)
    return table.to_pylist() if (table.schema.metadata or {}).get(MADE_WITH.encode()) == made_with.encode() else None
