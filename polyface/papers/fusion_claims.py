"""Paper A's own numbers, its claims, and what the rebuilt tables say of each: holds, fails, undecidable, or at the ceiling, with the interval that decides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from polyface.papers import fusion_statistics as statistics
from polyface.papers.fusion_controls import ENSEMBLE, GROUPS, OWN, SHARED, TUNED, Control, Random
from polyface.papers.fusion_heads import CELL, Cell, subsets
from polyface.papers.fusion_pictures import IDENTITY
from polyface.papers.fusion_runs import Tables
from polyface.papers.fusion_statistics import Answers, Estimate, Verdict
from polyface.papers.fusion_strangers import Strangers

TASKS = (IDENTITY, "age", "race", "gender")
TABLE_1: Mapping[str, tuple[float, float, float, float]] = {
    IDENTITY: (60.2, 83.2, 83.0, 92.3), "age": (23.6, 69.1, 58.4, 76.9), "race": (24.8, 62.3, 67.7, 76.7), "gender": (22.8, 63.1, 58.3, 84.3),
}  # fmt: skip
"""Li and Zhu 2016, Table 1, accuracy in %: rows are features, columns the targets in TASKS' order."""
TABLE_2: Mapping[str, tuple[float, float, float, float]] = {
    "own": (60.2, 69.1, 67.7, 84.3), "other three": (45.3, 87.3, 86.9, 94.9), "all": (67.4, 89.2, 89.9, 96.1),
}  # fmt: skip
CLASSES = {IDENTITY: 77, "age": 3, "race": 4, "gender": 2}
"""Of the paper's tasks."""
LATE = "logits averaged (late fusion)"
PRINTED_GAINS = {IDENTITY: 7.2, "age": 20.1, "race": 22.2, "gender": 21.8}
"""As abstract, section 5 and conclusion print them. Gender's contradicts Table 2: 96.1 - 84.3 = 11.8."""

HYPOTHESES = {
    "H1": "Features of different tasks overlap, so that cross-task use works: every cell of Table 1 off its diagonal is above the constant answer.",
    "H2": "Another task's feature may beat the own: identity's feature beats the own feature of some other task, both with the same two new layers.",
    "H3": "A feature may cover what the others lack, so that fusion beats single features: all features beat the best single one for every task.",
}


@dataclass(frozen=True)
class Claim:
    """One line of the page. claim: H1, H2, H3, 'order', 'control', 'memory' or 'gain'; what: the comparison; estimate: of a difference that is claimed to be above 0;
    p: by Holm over the lines of the same claim in the same table, NaN where nothing can be said."""

    claim: str
    target: str
    what: str
    estimate: Estimate
    verdict: Verdict
    p: float = float("nan")


@dataclass(frozen=True)
class Judged:
    """The claims of one split, and the three verdicts over all of its targets."""

    claims: tuple[Claim, ...]
    verdicts: Mapping[str, Verdict]

    def counted(self, name: str) -> str:
        """undecidable (9 of 12 hold, 1 fails)."""
        own = [each.verdict for each in self.claims if each.claim == name]
        failed = own.count("fails")
        fails = f", {failed} fail{'s' if failed == 1 else ''}" if failed else ""
        return f"{self.verdicts[name]} ({own.count('holds')} of {len(own)} hold{fails})"


def judge(tables: Tables) -> Judged:
    """Everything the paper claims, in one split at one moment."""
    own = tables.own_identity if tables.split == "paper" else None
    claims = _corrected([*_cross(tables), *_identity_beats(tables, own), *_fusion_beats(tables, own), *_orders(tables, own)])
    by_claim: dict[str, list[Verdict]] = {}
    for each in claims:
        by_claim.setdefault(each.claim, []).append(each.verdict)
    over_all = {name: (statistics.one_holds if name == "H2" else statistics.all_hold)(by_claim.get(name, [])) for name in HYPOTHESES}
    return Judged(tuple(claims), over_all)


def gain_of_identity(tables: Tables, target: str) -> Estimate:
    """Identity's feature above the own, both with two new layers."""
    return statistics.difference(tables.one(IDENTITY, target), tables.one(target, target))


def gain_at_random(random: Random) -> Estimate:
    """The same where people were put into groups at random: what remembering people is worth."""
    return statistics.difference(random.identity, random.own)


def judge_random(tables: Tables, random: Random) -> list[Claim]:
    """Of groups dealt at random: whether identity's feature gains there, and whether it gains as much as for the real groups, on the same rows."""
    own = tables.own_identity if tables.split == "paper" else None
    at_random, at_real = statistics.gap(random.identity, random.own), statistics.gap(tables.one(IDENTITY, random.task), tables.one(random.task, random.task))
    return _corrected([
        _claim("memory", random.task, "identity's feature above the own, random groups", random.identity, random.own, own),
        _claim("memory", random.task, "identity's feature gains as much for random groups as for real ones", at_random, at_real, own),
    ])  # fmt: skip


def judge_controls(tables: Tables, controls: Sequence[Control]) -> list[Claim]:
    """What every control was made to answer, as paired differences on the same test rows: identity's feature against the own in every setting, fusion against what else
    might explain it."""
    found = {(each.setting, each.feature): each for each in controls}
    made = []
    for setting in dict.fromkeys(each.setting for each in controls if each.setting):
        for target in (target for target in tables.targets if target != IDENTITY):
            own, identity = found.get((setting, OWN), found.get((setting, target))), found.get((setting, IDENTITY))
            if own is not None and identity is not None:
                made.append(_claim("control", target, f"identity's feature above the own, {setting}", identity.answers[target], own.answers[target]))
    for feature, what in ((ENSEMBLE, "all features above the own network from four seeds"), (SHARED, "all features above one network for all tasks")):
        if ("", feature) in found:
            made += [_claim("control", target, what, tables.all(target), answers) for target, answers in found["", feature].answers.items()]
    for feature, what, of in (
        (TUNED, "fine-tuned above all features, frozen", {target: tables.all(target) for target in tables.targets}),
        (GROUPS, "the feature of joint groups above the own", {target: tables.one(target, target) for target in tables.targets}),
    ):
        if ("", feature) in found:
            made += [_claim("control", target, what, answers, of[target]) for target, answers in found["", feature].answers.items()]
    return _corrected(made)


def judge_strangers(found: Strangers) -> list[Claim]:
    """H2 and H3 among sets that share no person, and the gain over the own feature, which is easier to have than H3 and is not the same."""
    made = []
    for target in found.targets:
        best = max(found.tasks, key=lambda source: found.one(source, target).accuracy)
        made += [
            _claim("H2", target, "identity's feature above the own, both with two layers", found.one(IDENTITY, target), found.one(target, target)),
            _claim("gain", target, "all features above the own, both with two layers", found.all(target), found.one(target, target)),
            _claim("H3", target, f"all features above the best single one ({best})", found.all(target), found.one(best, target)),
        ]
    return _corrected(made)


# The rows of Table 2 and of the merging algorithms


@dataclass(frozen=True)
class Row:
    """name: as the page has it; papers: the row of TABLE_2 that is the same, or None; answers {target: ...}."""

    name: str
    papers: str | None
    answers: Mapping[str, Answers]


def rows_of_table_2(tables: Tables) -> list[Row]:
    """Those of the paper, the own feature with the same two layers, identity's, and a user's own features alone and with all."""
    others = "other three" if len(tables.tasks) == 4 else "all but the own"
    named: list[tuple[str, str | None, Callable[[str], Answers]]] = [
        ("own", "own", lambda target: tables.networks[target]),
        ("own, with the same two layers", None, lambda target: tables.one(target, target)),
        ("identity's feature", None, lambda target: tables.one(IDENTITY, target)),
        (others, "other three", tables.others),
        ("all", "all", tables.all),
    ]
    made = [Row(name, papers, {target: of(target) for target in tables.targets}) for name, papers, of in named]
    for name in tables.extra:
        made.append(Row(f"{name} (your own)", None, {target: tables.one(name, target) for target in tables.targets}))
        made.append(Row(f"all and {name} (your own)", None, {target: tables.subset((*tables.tasks, name), target) for target in tables.targets}))
    return made


def gains_of_fusion(tables: Tables) -> dict[str, dict[str, Estimate]]:
    """{what: {target: points}}: what all features give above the own network, and what a user's own features add to all."""
    found = {"all above own": {target: statistics.difference(tables.all(target), tables.networks[target]) for target in tables.targets}}
    for name in tables.extra:
        found[f"all and {name} above all"] = {
            target: statistics.difference(tables.subset((*tables.tasks, name), target), tables.all(target)) for target in tables.targets
        }
    return found


def merges(tables: Tables) -> dict[str, dict[str, Answers]]:
    """{merging algorithm: {target: answers of all features merged so}}, late fusion first."""
    names = dict.fromkeys(cell.rsplit(CELL, 1)[1] for cell in tables.cells)
    return {LATE: dict(tables.late), **{name: {target: tables.all(target, name) for target in tables.targets} for name in names}}


def shapley_of(tables: Tables, target: str) -> dict[str, float]:
    """{feature: its share of the accuracy above the constant answer's}; none where the split has not all subsets."""
    chosen = subsets(tables.tasks)
    if any(Cell(sources, target).name not in tables.cells for sources in chosen):
        return {}
    worth = {frozenset(sources): tables.subset(sources, target).accuracy for sources in chosen}
    return statistics.shapley({frozenset(): tables.constants[target].accuracy, **worth}, tables.tasks)


def _claim(claim: str, target: str, what: str, first: Answers, second: Answers, own: float | None = None) -> Claim:
    estimate = statistics.difference(first, second)
    return Claim(claim, target, what, estimate, statistics.verdict(estimate, own))


def _corrected(claims: Sequence[Claim]) -> list[Claim]:
    """In their order, each by Holm over those of its name."""
    made = list(claims)
    for name in dict.fromkeys(each.claim for each in claims):
        own = [at for at, each in enumerate(claims) if each.claim == name]
        found = statistics.corrected([claims[at].estimate for at in own], [claims[at].verdict for at in own])
        for at, (verdict, p) in zip(own, found, strict=True):
            made[at] = replace(claims[at], verdict=verdict, p=p)
    return made


def _cross(tables: Tables) -> list[Claim]:
    """Every cell but the diagonal. There is no ceiling to mind: a constant answer leaves room."""
    pairs = [(source, target) for target in tables.targets for source in tables.tasks if source != target]
    return [_claim("H1", target, f"{source}'s feature above the constant answer", tables.one(source, target), tables.constants[target]) for source, target in pairs]


def _identity_beats(tables: Tables, own: float | None) -> list[Claim]:
    return [
        _claim("H2", target, "identity's feature above the own, both with two layers", tables.one(IDENTITY, target), tables.one(target, target), own)
        for target in tables.targets
        if target != IDENTITY
    ]


def _fusion_beats(tables: Tables, own: float | None) -> list[Claim]:
    """The best single feature is chosen on the very test rows, which is against the claim and not for it."""
    made = []
    for target in tables.targets:
        best = max(tables.tasks, key=lambda source: tables.one(source, target).accuracy)
        made.append(_claim("H3", target, f"all features above the best single one ({best})", tables.all(target), tables.one(best, target), own))
    return made


def _orders(tables: Tables, own: float | None) -> list[Claim]:
    """As in Table 2, with the own network's accuracy as 'own'."""
    made = []
    for target in tables.targets:
        network, others, everything = tables.networks[target], tables.others(target), tables.all(target)
        if target == IDENTITY:
            steps = (("all above own", everything, network), ("own above the others", network, others))
        else:
            steps = (("all above the others", everything, others), ("the others above own", others, network))
        made += [_claim("order", target, what, first, second, own) for what, first, second in steps]
        if target != IDENTITY:
            made.append(_claim("order", target, "identity's feature above the own network", tables.one(IDENTITY, target), network, own))
    return made


def papers_cell(source: str, target: str) -> float | None:
    """Table 1's number, where the paper has such a cell."""
    return TABLE_1[source][TASKS.index(target)] if source in TABLE_1 and target in TASKS else None


def papers_row(row: str, target: str) -> float | None:
    return TABLE_2[row][TASKS.index(target)] if target in TASKS else None
