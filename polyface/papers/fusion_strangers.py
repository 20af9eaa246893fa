"""What paper A does not ask: features of networks that were trained on sets which share no person, used for each other's tasks; and whether strangers are told apart.

Who it is comes from CelebA's training people with many pictures, gender from CelebA's other people, race from FairFace, age from UTKFace, expression from RAF-DB. Each
network sees its own set only, without copies of any set's test pictures. Heads learn and are tested on the target's set, with the features of all networks. Then LFW:
pairs of strangers, as far as names tell, which UTKFace, FairFace and RAF-DB do not have.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from polyface import datasets, tasks
from polyface.datasets import apart
from polyface.datasets.base import Dataset, Pairs, Record, evenly
from polyface.errors import RequestError
from polyface.evaluation.pairs import pair_gap, pair_scores
from polyface.images.read import Root
from polyface.labels import Words
from polyface.papers import fusion_statistics as statistics
from polyface.papers import votes
from polyface.papers.fusion_config import FusionConfig, digest, kept
from polyface.papers.fusion_heads import Cell, Table, run_bank
from polyface.papers.fusion_networks import Progress, Say, Trained, in_pieces, on_device
from polyface.papers.fusion_pictures import IDENTITY, Pictures, Question, Split
from polyface.papers.fusion_runs import Bench
from polyface.papers.fusion_statistics import Answers
from polyface.papers.fusion_worlds import cached, cut, of_people
from polyface.tasks.derive import derive, retell
from polyface.tasks.kinds import Embedding


@dataclass(frozen=True)
class Source:
    """Where a task's labels come from. label(record) -> its class, or None."""

    task: str
    dataset: Dataset
    classes: tuple[str, ...]
    label: Callable[[Record], str | None]


@dataclass(frozen=True)
class Strangers:
    """Heads across sets: cells {cell name: answers}; pairs {feature: LFW scores as rows}."""

    tasks: tuple[str, ...]
    targets: tuple[str, ...]
    sets: Mapping[str, str]
    networks: Mapping[str, Answers] = field(repr=False)
    cells: Mapping[str, Answers] = field(repr=False)
    constants: Mapping[str, float]
    pairs: Sequence[Mapping[str, Any]] = ()

    def one(self, source: str, target: str) -> Answers:
        return self.cells[Cell((source,), target).name]

    def all(self, target: str) -> Answers:
        return self.cells[Cell(self.tasks, target).name]

    def others(self, target: str) -> Answers:
        return self.cells[Cell(tuple(task for task in self.tasks if task != target), target).name]


def sources() -> tuple[Source, ...]:
    """The four beside identity; classes as in the paper where it has them."""

    def told(dataset: Dataset, each: votes.Poll) -> Callable[[Record], str | None]:
        _, label = retell(derive(each.of, each.task.name, each.words), each.of, each.words, dataset.answers[each.of.name])

        def of(record: Record) -> str | None:
            said = label(record.labels[each.of.name]) if each.of.name in record.labels else None
            return said if said in each.task.vocabulary else None  # type: ignore[return-value]

        return of

    words = datasets.rafdb.answers[tasks.expression.name]
    assert isinstance(words, Words)

    def expression(record: Record) -> str | None:
        said = record.labels.get(tasks.expression.name)
        return said if isinstance(said, str) else None

    age, race, gender = votes.POLLS
    return (
        Source("age", datasets.utkface, age.task.vocabulary, told(datasets.utkface, age)),
        Source("race", datasets.fairface, race.task.vocabulary, told(datasets.fairface, race)),
        Source("gender", datasets.celeba, gender.task.vocabulary, told(datasets.celeba, gender)),
        Source("expression", datasets.rafdb, words.names, expression),
    )


Sets = Mapping[str, tuple[Bench, Split]]
"""{task: its pictures and how they are parted}, in TASKS' order."""
Keep = Callable[[Dataset, Sequence[Record]], list[Record]]


def run(benches: Sets, config: FusionConfig, data: Path, out: Path, say: Say) -> Strangers:
    """Networks on five sets, heads across them, pairs of strangers. Raises NotMade for what is not trained yet, where benches make nothing."""
    trained = {task: bench.network(split, bench.spec(task)) for task, (bench, split) in benches.items()}
    names = tuple(benches)
    targets = names[1:]
    networks, constants = {}, {}
    cells: dict[Any, Any] = {}
    for target in targets:
        bench, split = benches[target]
        features = {task: trained[task].feature(bench.images, file=bench.out / f"features-{task}.npz") for task in names}
        table = Table(features, {target: split.labels[target]}, split.train, split.test, {target: bench.classes(target)})
        others = tuple(name for name in names if name != target)
        wanted = [*(Cell((name,), target) for name in names), Cell(names, target), Cell(others, target)]
        bank = run_bank(
            "strangers", wanted, table, config.heads, bench.out, config.seed, config.test_rows, seeds=config.heads.seeds, make=bench.make, progress=bench.progress
        )
        cells |= {cell.name: bench.of_bank(bank, cell) for cell in wanted}
        networks[target] = bench.answers(trained[target], split, target)
        constants[target] = statistics.constant(split.labels[target], split.train, split.test, bench.people).accuracy
        say(
            f"strangers/{target}: own {bank.accuracy(wanted[names.index(target)]):.1%}, identity's {bank.accuracy(wanted[0]):.1%}, "
            f"all {bank.accuracy(wanted[len(names)]):.1%}"
        )
    named = {task: bench.pictures.title for task, (bench, _) in benches.items()}
    return Strangers(names, targets, named, networks, cells, constants, verification(trained, benches[IDENTITY][0], benches[IDENTITY][1], data, out))


TASKS = (IDENTITY, "age", "race", "gender", "expression")
"""Identity's, then those of `sources`."""


def prepare(config: FusionConfig, data: Path, out: Path, say: Say, progress: Progress | None = None, make: bool = True) -> Sets:
    """Nothing is trained. make: whether `run` may. Raises RequestError where a set is not there, or has no picture of use."""
    made = {task: pictures() for task, pictures in _benches(config, data, out, say, progress).items()}
    return {task: (replace(bench, make=make), split) for task, (bench, split) in made.items()}


def train_one(task: str, config: FusionConfig, data: Path, out: Path, say: Say, progress: Progress | None = None) -> Trained:
    """The network of one of TASKS alone, for which its own set must be there, and CelebA's, which says who is no stranger."""
    bench, split = _benches(config, data, out, say, progress)[task]()
    return bench.network(split, bench.spec(task))


def _benches(config: FusionConfig, data: Path, out: Path, say: Say, progress: Progress | None) -> Mapping[str, Callable[[], tuple[Bench, Split]]]:
    """{task: what makes the pictures of its set ready}, in TASKS' order."""
    keep = _keeping(data)
    known = _known_people(config, data, keep)
    without = {str(record.subject) for record in known}
    made = {IDENTITY: partial(_identity, config, data, out, known, say, progress)}
    for source in sources():
        made[source.task] = partial(_bench, source, config, data, out, without, keep, say, progress)
    return made


def _keeping(data: Path) -> Keep:
    """What leaves out of a set's training pictures copies of any set's test pictures, as far as `align` saw both."""
    own = [datasets.celeba, *(source.dataset for source in sources())]
    faces = apart.faces_of(own, data)
    tests = apart.reserve(data, own, faces, "test", datasets.DATASETS)

    def keep(dataset: Dataset, records: Sequence[Record]) -> list[Record]:
        out = apart.unfit(dataset.name, "train", records, faces[dataset.name], {"test": tests})
        return [record for record in records if record.key not in out]

    return keep


def verification(trained: Mapping[str, Trained], bench: Bench, split: Split, data: Path, out: Path) -> list[dict[str, Any]]:
    """Pairs of LFW by every network's feature and by all concatenated, standardised by CelebA's training pictures; kept in pairs.json. Empty without LFW."""
    try:
        root = datasets.find_root(data, datasets.lfw.name)
        pairs = datasets.lfw.pairs(root)
    except RequestError:
        return []
    made_with = digest({task: each.made_with for task, each in trained.items()}, bench.config.eye_distance, bench.config.eyes, [pairs.left, pairs.right])
    return kept(out / "pairs.json", made_with, lambda: _pairs(trained, bench, split, data, root, pairs))


def _pairs(trained: Mapping[str, Trained], bench: Bench, split: Split, data: Path, root: Root, pairs: Pairs) -> list[dict[str, Any]]:
    dataset = datasets.lfw
    needed = {*pairs.left, *pairs.right}
    records = [record for record in dataset.records(root, "test").records if record.key in needed]
    shown, wide = cut(records, dataset, data, bench.config, None)
    margin = bench.config.network.size // 4
    crops = np.ascontiguousarray(wide[:, margin:-margin, margin:-margin])
    keys, subjects = [record.key for record in shown], [record.subject for record in shown]
    vectors, rows = {}, []
    for task, each in trained.items():
        network = on_device(each.load())
        seen = next(iter(in_pieces(network.features, bench.images, split.train[::3]).values()))
        mean, deviation = seen.mean(0), seen.std(0)
        both = []
        for side in (crops, np.ascontiguousarray(crops[:, :, ::-1])):
            found = next(iter(in_pieces(network.features, side, np.arange(len(side))).values()))
            both.append(np.where(deviation > 1e-4, (found - mean) / np.maximum(deviation, 1e-4), 0.0))
        vectors[task] = both
    vectors["all"] = [np.concatenate([_unit(each[side]) for each in vectors.values()], axis=1) for side in (0, 1)]
    vectors["all but identity"] = [np.concatenate([_unit(each[side]) for name, each in vectors.items() if name not in (IDENTITY, "all")], axis=1) for side in (0, 1)]
    for name, (plain, mirrored) in vectors.items():
        who = Embedding(IDENTITY, tasks.identity.question, plain.shape[1])
        for score in pair_scores(who, plain, mirrored, keys, subjects, pairs).scores:
            rows.append({"feature": name, "metric": score.metric, "value": score.value, "low": _known(score.low), "high": _known(score.high), "n": score.n})
    rows += _gain_of_fusion({name: plain + mirrored for name, (plain, mirrored) in vectors.items()}, rows, keys, subjects, pairs)
    return rows


def _gain_of_fusion(
    vectors: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, Any]], keys: Sequence[str], subjects: Sequence[str | None], pairs: Pairs
) -> list[dict[str, Any]]:
    """All features above the best single one, with the mirrored picture, paired; rows: the scores of each. The best is chosen on these very pairs, against the claim."""
    flipped = {each["feature"]: each for each in rows if str(each["metric"]).endswith("-fold accuracy, flip")}
    singles = [name for name in flipped if not name.startswith("all")]
    if not singles:
        return []
    best = max(singles, key=lambda name: flipped[name]["value"])
    gap = pair_gap(vectors["all"], vectors[best], keys, subjects, pairs)
    if gap is None:
        return []
    said = {"value": gap.value, "low": _known(gap.low), "high": _known(gap.high), "n": gap.n}
    return [{"feature": f"all above the best single one ({best})", "metric": flipped[best]["metric"], **said, "gain": True}]


def _known_people(config: FusionConfig, data: Path, keep: Keep) -> list[Record]:
    """People of CelebA's training split who have all the pictures that are asked for: those of its test split stay strangers."""
    records = keep(datasets.celeba, datasets.celeba.records(datasets.find_root(data, datasets.celeba.name), "train").records)
    pictures = Counter(record.subject for record in records)
    return of_people([record for record in records if pictures[record.subject] >= config.celeba.pictures], config.celeba.people, config.celeba.pictures)


def _identity(config: FusionConfig, data: Path, out: Path, records: Sequence[Record], say: Say, progress: Progress | None) -> tuple[Bench, Split]:
    def make() -> Pictures:
        shown, crops = cut(records, datasets.celeba, data, config, progress)
        names = tuple(sorted({str(record.subject) for record in shown}))
        people = np.array([names.index(str(record.subject)) for record in shown])
        return Pictures(IDENTITY, "CelebA, people with many pictures", tuple(record.key for record in shown), crops, people, names)

    pictures = cached(out / IDENTITY, config, ["strangers", [record.key for record in records]], make)
    bench = Bench(pictures, config, out / IDENTITY, config.strength, say, progress)
    return bench, bench.splits("image")[0]


def _bench(source: Source, config: FusionConfig, data: Path, out: Path, without: set[str], keep: Keep, say: Say, progress: Progress | None) -> tuple[Bench, Split]:
    """The pictures of a set that answer its task, nobody of `without` among them. Test pictures are tested as they are, without variants.

    Raises RequestError where none is left to train or to test on.
    """
    folder, most = out / source.task, config.strangers.pictures
    made_from = ["strangers without copies of tests, evenly", source.task, source.dataset.name, source.classes, most, sorted(without)]
    pictures = cached(folder, config, made_from, lambda: _of_set(source, config, data, without, keep, progress))
    assert pictures.tested is not None
    bench, count = Bench(pictures, config, folder, config.strength, say, progress), config.variants
    train = (np.flatnonzero(~pictures.tested)[:, None] * count + np.arange(count)).ravel()
    labels = {source.task: np.repeat(pictures.labels[source.task], count)}
    return bench, Split("image", 0, train, np.flatnonzero(pictures.tested) * count, (source.task,), labels)


def _of_set(source: Source, config: FusionConfig, data: Path, without: set[str], keep: Keep, progress: Progress | None) -> Pictures:
    root = datasets.find_root(data, source.dataset.name)
    chosen: dict[str, tuple[Record, int, bool]] = {}
    most = config.strangers.pictures
    for split, limit in (("train", most), ("test", most // 3)):
        records: Sequence[Record] = source.dataset.records(root, split).records  # type: ignore[arg-type]
        if split == "train":
            records = keep(source.dataset, records)
        told = [(record, source.label(record)) for record in records if record.subject not in without or record.subject is None]
        usable = [(record, source.classes.index(word)) for record, word in told if word is not None]
        if not usable:
            raise RequestError(f"{root.label}: no {split} picture of a stranger that tells {source.task}")
        chosen |= {record.key: (record, label, split == "test") for record, label in evenly(usable, limit)}
    shown, crops = cut([record for record, _, _ in chosen.values()], source.dataset, data, config, progress)
    keys = tuple(record.key for record in shown)
    names, people = np.unique([record.subject or record.key for record in shown], return_inverse=True)  # a picture of nobody in particular is somebody's only one
    label, tested = (np.array([chosen[key][at] for key in keys]) for at in (1, 2))
    question = Question(source.task, source.task, source.classes, of_person=False)
    return Pictures(source.task, source.dataset.title, keys, crops, people, tuple(names.tolist()), (question,), {source.task: label}, tested=tested)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _known(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
