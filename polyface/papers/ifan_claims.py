"""What paper B claims, its own numbers, and the comparisons of rows that decide each claim here, written down before any row is done."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from polyface.metrics.intervals import Score
from polyface.papers.ifan_config import DRAWN, IfanRecipe
from polyface.papers.ifan_rows import FEEDBACK, JOINT, Row
from polyface.papers.ifan_statistics import Board, Comparison, Effect, Found, Verdict, base, judged

HELEN, MTFL, BNU = 91.15, 5.81, 45.73
"""Li et al. 2017, abstract: overall F of Helen's parsing and accuracy on BNU-LSVED in %, five-point NME of MTFL in % of the distance of the eyes."""
MARGIN = 0.5
"""Points that an old task may lose when another is plugged in (issue 14), and that disjoint labels may cost."""

CONTROLS = {"another": "another face's predictions", "constant": "constant maps", "same-cost": "as many multiplications without feedback"}
"""Rows as deep as that with feedback, which say nothing about the face."""


@dataclass(frozen=True)
class Claim:
    """One line of the verdicts."""

    words: str
    comparisons: tuple[Comparison, ...]


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
    """All claims that the recipe has rows for; one table, so that Holm is over all of it."""
    claims = claims_of(board.config)
    found = judged(board, [comparison for claim in claims for comparison in claim.comparisons])
    made = [Judged(claim, tuple(each for each in found if each.comparison in claim.comparisons)) for claim in claims]
    return [each for each in made if each.found]


def claims_of(recipe: IfanRecipe) -> list[Claim]:
    """In the order of the page."""
    return [
        Claim(
            "Tasks that are trained together help each other, at as many pictures in all",
            tuple(Comparison(f"joint against {task} alone", JOINT, f"alone-{task}", task) for task in recipe.tasks),
        ),
        Claim(
            "Other tasks' pictures help beside as many of one's own",
            tuple(Comparison(f"joint against {task} with its own rows only", JOINT, f"own-{task}", task) for task in recipe.tasks),
        ),
        Claim(
            "A normalisation for each task is what lets sets with different pixels train together",
            (Comparison("own statistics against shared", JOINT, "joint-shared"),),
        ),
        Claim(
            "Tasks that see each other's predictions help each other",
            (Comparison("three passes against one", FEEDBACK, JOINT),),
        ),
        Claim(
            "Every further pass helps",
            (
                Comparison("two passes against one", "feedback-2", JOINT),
                Comparison("three against two", FEEDBACK, "feedback-2"),
                Comparison("four against three", "feedback-4", FEEDBACK),
            ),
        ),
        Claim(
            "What helps is interaction, and not depth",
            tuple(Comparison(f"against {words}", FEEDBACK, name) for name, words in CONTROLS.items()),
        ),
        Claim(
            "Sets with different labels, trained together, beat the one set that has two of the labels",
            (Comparison("all sets, many more pictures, against the one", "all-of-hybrid", "two-labels", every=True),),
        ),
        Claim(
            f"At equal picture counts, one label for each picture costs less than {MARGIN:g} points against two labels for each",
            (
                Comparison("real pictures, of other sets", "hundred", "two-labels", least=-MARGIN),
                Comparison("drawn people", "drawn-hybrid", "drawn-both", on=DRAWN, least=-MARGIN),
            ),
        ),
        Claim(
            "The more the others know, the more they help: their ground truth beats their predictions",
            (Comparison("ground truth against predictions", "drawn-truth", "drawn-feedback-3", on=DRAWN),),
        ),
        Claim(
            f"A further task plugs in, and the old ones lose less than {MARGIN:g} points",
            (
                Comparison("convolutions frozen", "plug-frozen", FEEDBACK, least=-MARGIN),
                Comparison("all trained on", "plug-joint", "plug-none", least=-MARGIN),
            ),
        ),
    ]  # fmt: skip


def every_comparison(board: Board) -> list[Comparison]:
    """All rows against all that the plan compares them with, on every set; seeds together."""
    return list(dict.fromkeys(_planned(board.plan, {row.name: base(row) for row in board.plan})))


def _planned(plan: Sequence[Row], names: dict[str, str]) -> Iterator[Comparison]:
    for row in plan:
        for other in row.against:
            if other in names:
                on = DRAWN if row.world.startswith(DRAWN) else ""
                asked = row.question if not names[other].startswith("alone-") else "all tasks instead of one"
                yield Comparison(asked, base(row), names[other], on=on, every=True)


# What it means, in sentences


def sentences(claims: Sequence[Judged]) -> list[tuple[Verdict, str, list[str]]]:
    """Of each claim: its verdict, its words, and a line for each comparison."""
    return [(each.verdict, each.claim.words, [_line(words, found) for words, found in _grouped(each.found)]) for each in claims]


def counted(claims: Sequence[Judged]) -> str:
    """Of 10 claims 3 hold, 1 fails, 6 are undecidable."""
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
