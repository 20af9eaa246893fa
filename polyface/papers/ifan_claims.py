"""What paper B claims, its own numbers, and the comparisons of rows that decide each claim here, written down before any row is done."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from polyface.metrics.intervals import Score
from polyface.papers.ifan_config import DRAWN
from polyface.papers.ifan_rows import FEEDBACK, JOINT, Row
from polyface.papers.ifan_statistics import Board, Comparison, Effect, Found, Verdict, base, judged

HELEN, MTFL, BNU = 91.15, 5.81, 45.73
"""Li et al. 2017, abstract: overall F of Helen's parsing and accuracy on BNU-LSVED in %, five-point NME of MTFL in % of the distance of the eyes."""
MARGIN = 0.5
"""Points that an old task may lose when another is plugged in (issue 14), and that disjoint labels may cost."""

CONTROLS = {
    "another": "another face's predictions",
    "constant": "constant maps",
    "same-cost": "as many multiplications without feedback",
    "another-at-test": "another face's predictions at test only",
}
"""Rows as deep as that with feedback, which say nothing about the face."""


@dataclass(frozen=True)
class Claim:
    """One line of the verdicts."""

    words: str
    comparisons: tuple[Comparison, ...]

    @property
    def claimed(self) -> bool:
        """Else it is only asked besides, and has no verdict of its own."""
        return not self.comparisons[0].besides


@dataclass(frozen=True)
class Judged:
    """A claim and what was found of each of its comparisons."""

    claim: Claim
    found: tuple[Found, ...]

    @property
    def verdict(self) -> Verdict:
        """Holds where it does in every comparison, fails where it does in one."""
        verdicts = {each.verdict for each in self.found}
        if verdicts <= {"not run"}:
            return "not run"
        return "fails" if "fails" in verdicts else "holds" if verdicts == {"holds"} else "undecidable"


def judge(board: Board) -> list[Judged]:
    """All claims that the recipe has rows for, and what it asks besides. Holm is over all that is claimed of real sets, of drawn people, and over what is only asked."""
    claims = claims_of(board.plan)
    found = judged(board, [comparison for claim in claims for comparison in claim.comparisons])
    made = [Judged(claim, tuple(each for each in found if each.comparison in claim.comparisons)) for claim in claims]
    return [each for each in made if each.found]


def claims_of(plan: Sequence[Row]) -> list[Claim]:
    """In the order of the page. Every row stands here with every other that it names in `against`: under what is claimed of the two, or else with its own question."""
    asked = {(comparison.given, comparison.without): comparison for comparison in planned(plan)}
    claims = []
    for words, said in CLAIMS:
        comparisons = []
        for each in said:
            own = [pair for pair in asked if each.is_of(*pair)]
            comparisons += [each.claimed(asked.pop(pair)) for pair in own]
        claims.append(Claim(words, tuple(comparisons)))
    besides = tuple(replace(each, words=f"{given} against {without}: {each.words}", besides=True) for (given, without), each in asked.items())
    return [each for each in (*claims, Claim("Asked besides, and claimed by nobody: is the first better than the second?", besides)) if each.comparisons]


def planned(plan: Sequence[Row]) -> list[Comparison]:
    """All rows against all that they name, in the words of their question, on the first set of each task; seeds together."""
    names = {row.name: base(row) for row in plan}
    return list(dict.fromkeys(
        Comparison(row.question, base(row), names[other], on=DRAWN if row.world.startswith(DRAWN) else "")
        for row in plan for other in row.against if other in names
    ))  # fmt: skip


def every_comparison(plan: Sequence[Row]) -> list[Comparison]:
    """The same on every set."""
    return [replace(each, every=True, words="all tasks instead of one" if each.without.startswith("alone-") else each.words) for each in planned(plan)]


@dataclass(frozen=True)
class Said:
    """What is claimed of a row and another that it names in `against` ("alone-*": of each such): that the row is better, or, where turned, that the other one is.
    {}: what * stands for."""

    row: str
    against: str
    words: str
    turned: bool = False
    least: float = 0.0
    every: bool = False

    def is_of(self, row: str, against: str) -> bool:
        return fnmatchcase(row, self.row) and fnmatchcase(against, self.against)

    def claimed(self, asked: Comparison) -> Comparison:
        given, without = (asked.without, asked.given) if self.turned else (asked.given, asked.without)
        words = self.words.format(asked.without.partition("-")[2] if "*" in self.against else asked.given.partition("-")[2])
        return replace(asked, words=words, given=given, without=without, least=self.least, every=self.every)


CLAIMS: tuple[tuple[str, tuple[Said, ...]], ...] = (
    (
        "Tasks that are trained together help each other, at as many pictures in all",
        (Said(JOINT, "alone-*", "joint against {} alone"),),
    ),
    (
        "Other tasks' pictures help beside as many of one's own",
        (Said("own-*", JOINT, "joint against {} with its own rows only", turned=True),),
    ),
    (
        "A normalisation for each task is what lets sets with different pixels train together",
        (Said(JOINT, "joint-shared", "own statistics against shared"),),
    ),
    (
        "Tasks that see each other's predictions help each other",
        (Said(FEEDBACK, JOINT, "three passes against one"),),
    ),
    (
        "Every further pass helps",
        (
            Said("feedback-2", JOINT, "two passes against one"),
            Said("feedback-2", FEEDBACK, "three against two", turned=True),
            Said("feedback-4", FEEDBACK, "four against three"),
        ),
    ),
    (
        "What helps is interaction, and not depth",
        tuple(Said(name, FEEDBACK, f"against {words}", turned=True) for name, words in CONTROLS.items()),
    ),
    (
        "Sets with different labels, trained together, beat the one set that has two of the labels",
        (Said("all-of-hybrid", "two-labels", "all sets, many more pictures and those of the tested sets among them, against the one", every=True),),
    ),
    (
        f"A further task plugs in, and the old ones lose less than {MARGIN:g} points",
        (
            Said("plug-frozen", FEEDBACK, "convolutions frozen", least=-MARGIN),
            Said("plug-joint", "plug-none", "all trained on", least=-MARGIN),
        ),
    ),
    (
        "Drawn people: tasks that see each other's predictions help each other",
        (Said("drawn-feedback-3", "drawn-joint", "drawn people, three passes against one"),),
    ),
    (
        f"Drawn people: at equal picture counts, one label for each picture costs less than {MARGIN:g} points against two labels for each",
        (Said("drawn-hybrid", "drawn-both", "the same people, one label against two", least=-MARGIN),),
    ),
    (
        "Drawn people: the more the others know, the more they help; their ground truth beats their predictions",
        (Said("drawn-truth", "drawn-feedback-3", "ground truth against predictions"),),
    ),
)  # fmt: skip
"""What paper B claims, in the order of the page, written down before any row was done. Rows that no claim names stand under it with their own
question; so does `hundred`: it has one label for each picture against two, but also photographs against renders, and of the very sets that are tested."""


# What it means, in sentences


def sentences(claims: Sequence[Judged]) -> list[tuple[Verdict, str, list[str]]]:
    """Of each claim: its verdict, its words, and a line for each comparison."""
    return [(each.verdict, each.claim.words, [_line(words, found) for words, found in _grouped(each.found)]) for each in claims if each.claim.claimed]


def counted(claims: Sequence[Judged]) -> str:
    """Of 10 claims 3 hold, 1 fails, 6 are undecidable."""
    claims = [each for each in claims if each.claim.claimed]
    if not claims:
        return "No claim is about the rows that were done alone."
    count = Counter(each.verdict for each in claims)
    words = {"holds": ("holds", "hold"), "fails": ("fails", "fail"), "undecidable": ("is undecidable", "are undecidable"), "not run": ("was not run", "were not run")}
    said = [f"{count[verdict]} {one if count[verdict] == 1 else many}" for verdict, (one, many) in words.items() if count[verdict]]  # type: ignore[index]
    return f"Of {len(claims)} claims {', '.join(said)}."


def _grouped(found: Sequence[Found]) -> list[tuple[str, list[Found]]]:
    groups: dict[str, list[Found]] = {}
    for each in found:
        groups.setdefault(each.comparison.words, []).append(each)
    return list(groups.items())


def _line(words: str, found: Sequence[Found]) -> str:
    return f"{words}: " + "; ".join(_said(each) for each in found)


def _said(found: Found) -> str:
    where = found.task + (f" on {found.measure.split('/')[0]}" if found.comparison.every and found.measure else "")
    if found.effect is None:
        return f"{where} not run"
    return f"{where} {with_interval(found.effect)} {found.verdict}" + (f" ({found.why})" if found.why and not found.why.startswith("the interval") else "")


def with_interval(effect: Effect | None) -> str:
    """+1.2 (+0.4 to +2.0)."""
    return "" if effect is None else f"{effect.value:+.2f}" + (f" ({effect.low:+.2f} to {effect.high:+.2f})" if effect.low == effect.low else "")


def with_interval_of(score: Score | None) -> str:
    """72.3 (70.1 to 74.4)."""
    if score is None:
        return ""
    return f"{score.value:.2f}" + (f" ({score.low:.2f} to {score.high:.2f})" if score.low == score.low else "")


def explained(claims: Sequence[Judged], tasks: Iterable[str]) -> list[str]:
    """Of every task, whether what it gains by feedback is interaction: as the controls have it."""
    found = {(each.comparison.given, each.comparison.without, each.task): each for judged in claims for each in judged.found}
    made = []
    for task in tasks:
        gain, controls = found.get((FEEDBACK, JOINT, task)), {words: found.get((FEEDBACK, name, task)) for name, words in CONTROLS.items()}
        beaten = [words for words, each in controls.items() if each is not None and each.verdict == "holds"]
        left = [words for words, each in controls.items() if each is not None and each.verdict in ("fails", "undecidable")]
        if gain is None or gain.verdict == "not run" or not beaten + left:
            continue
        if gain.verdict == "fails":
            made.append(f"{task} loses by three passes: there is no gain to explain.")
        elif gain.verdict != "holds":
            made.append(f"{task}: no gain by feedback is shown, so that there is nothing for the controls to explain.")
        elif left:
            made.append(f"{task}: its gain is not shown to go away with {listed(left)}, so that it may be depth and not interaction.")
        else:
            absent = [words for words in controls if words not in beaten]
            made.append(f"{task}: its gain goes away with {listed(beaten)}: it is interaction{f', as far as was run: not {listed(absent)}' if absent else ''}.")
    return made


def listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
