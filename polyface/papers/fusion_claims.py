"""Paper A's own numbers, its claims, and what the rebuilt tables say of each: holds, fails, undecidable, or at the ceiling, with the interval that decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polyface.papers import fusion_statistics as statistics
from polyface.papers.fusion_controls import Random
from polyface.papers.fusion_heads import subsets
from polyface.papers.fusion_pictures import IDENTITY
from polyface.papers.fusion_runs import Tables
from polyface.papers.fusion_statistics import Answers, Estimate, Verdict

TASKS = (IDENTITY, "age", "race", "gender")
TABLE_1: Mapping[str, tuple[float, float, float, float]] = {
    IDENTITY: (60.2, 83.2, 83.0, 92.3), "age": (23.6, 69.1, 58.4, 76.9), "race": (24.8, 62.3, 67.7, 76.7), "gender": (22.8, 63.1, 58.3, 84.3),
}  # fmt: skip
"""Li and Zhu 2016, Table 1, accuracy in %: rows are features, columns the targets in TASKS' order."""
TABLE_2: Mapping[str, tuple[float, float, float, float]] = {
    "own": (60.2, 69.1, 67.7, 84.3), "other three": (45.3, 87.3, 86.9, 94.9), "all": (67.4, 89.2, 89.9, 96.1),
}  # fmt: skip
PRINTED_GAINS = {IDENTITY: 7.2, "age": 20.1, "race": 22.2, "gender": 21.8}
"""As abstract, section 5 and conclusion print them. Gender's contradicts Table 2: 96.1 - 84.3 = 11.8."""

HYPOTHESES = {
    "H1": "Features of different tasks overlap, so that cross-task use works: every cell of Table 1 off its diagonal is above the constant answer.",
    "H2": "Another task's feature may beat the own: identity's feature beats the own feature of some other task, both with the same two new layers.",
    "H3": "A feature may cover what the others lack, so that fusion beats single features: all features beat the best single one for every task.",
}


@dataclass(frozen=True)
class Claim:
    """One line of the page. claim: H1, H2, H3, or 'order'; what: the comparison; estimate: of a difference that is claimed to be above 0."""

    claim: str
    target: str
    what: str
    estimate: Estimate
    verdict: Verdict


@dataclass(frozen=True)
class Judged:
    """The claims of one split, and the three verdicts over all of its targets."""

    claims: tuple[Claim, ...]
    verdicts: Mapping[str, Verdict]


def judge(tables: Tables) -> Judged:
    """Everything the paper claims, in one split at one moment."""
    own = tables.own_identity if tables.split == "paper" else None
    claims = [*_cross(tables), *_identity_beats(tables, own), *_fusion_beats(tables, own), *_orders(tables, own)]
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


def shapley_of(tables: Tables, target: str) -> dict[str, float]:
    """Each feature's share of the accuracy above the constant answer's."""
    worth = {frozenset(sources): tables.subset(sources, target).accuracy for sources in subsets(tables.tasks)}
    return statistics.shapley({frozenset(): tables.constants[target].accuracy, **worth}, tables.tasks)


def _claim(claim: str, target: str, what: str, first: Answers, second: Answers, own: float | None = None) -> Claim:
    estimate = statistics.difference(first, second)
    return Claim(claim, target, what, estimate, statistics.verdict(estimate, own))


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


def papers_cell(source: str, target: str, tasks: Sequence[str] = TASKS) -> float | None:
    """Table 1's number, where the paper has such a cell."""
    return TABLE_1[source][tasks.index(target)] if source in TABLE_1 and target in tasks else None


def papers_row(row: str, target: str) -> float | None:
    return TABLE_2[row][TASKS.index(target)] if target in TASKS else None
