"""The tables of paper A's page, the rebuilt numbers beside the paper's own."""

from collections.abc import Sequence
from math import isnan

from markupsafe import Markup

from polyface import page
from polyface.papers import fusion_claims as claims
from polyface.papers import fusion_statistics as statistics
from polyface.papers.fusion_claims import Claim
from polyface.papers.fusion_config import SplitName
from polyface.papers.fusion_findings import World, above_all, classes
from polyface.papers.fusion_runs import Tables
from polyface.papers.fusion_statistics import Answers, Estimate, percent
from polyface.papers.fusion_strangers import Strangers


def table_1(tables: Tables) -> Markup:
    rows = []
    for source in (*tables.tasks, *tables.extra):
        row: dict[str, object] = {"feature": source}
        for target in tables.targets:
            answers = tables.networks[target] if source == target else tables.one(source, target)
            row[target] = f"{_accuracy(answers)}{_beside(claims.papers_cell(source, target))}"
        rows.append(row)
    rows.append({"feature": "constant answer", **{target: _accuracy(tables.constants[target]) for target in tables.targets}})
    return page.table(
        rows,
        caption="Table 1, accuracy in %: rows are features, columns what they are used for, the diagonal the network itself; 95 % over people | the paper's",
    )


def table_2(tables: Tables, caption: str) -> Markup:
    rows: list[dict[str, object]] = []
    for each in claims.rows_of_table_2(tables):
        cells = {target: f"{_accuracy(answers)}{_beside(claims.papers_row(each.papers, target) if each.papers else None)}" for target, answers in each.answers.items()}
        rows.append({"features": each.name, **cells})
    for what, gains in claims.gains_of_fusion(tables).items():
        rows.append({"features": f"{what}, points", **{target: f"{percent(gain, sign=True)}{_printed(what, target)}" for target, gain in gains.items()}})
    return page.table(rows, caption=f"{caption}, accuracy in %; 95 % over people | the paper's")


def people(world: World, split: SplitName) -> Markup:
    """How many are in each class: what a constant answer is worth, and how few may stand for a class."""
    rows = []
    for task, each in classes(world, split).items():
        unit = "people" if world.bench.pictures.question(task).of_person else "pictures"
        rows.append({"task": task, "classes": ", ".join(f"{word} {count:,}" for word, count in each.items()), "counted": unit})
    return page.table(rows, caption="Who is in each class")


def merges(tables: Tables) -> Markup:
    """Merging algorithms against concatenation, all features, paired over test people."""
    rows = []
    for merge, each in claims.merges(tables).items():
        compared = {target: None if merge == "concatenation" else above_all(answers, target, tables) for target, answers in each.items()}
        rows.append({"merging all features": merge, **{target: _against(answers, compared[target]) for target, answers in each.items()}})
    return page.table(rows, caption="Merging, accuracy in %, and points above concatenation with 95 % over test people")


def shapley(tables: Tables) -> Markup:
    shares = {target: claims.shapley_of(tables, target) for target in tables.targets}
    if not all(shares.values()):
        return Markup()
    rows: list[dict[str, object]] = [{"feature": source, **{target: f"{100 * shares[target][source]:+.1f}" for target in tables.targets}} for source in tables.tasks]
    return page.table(
        rows, caption=f"Shapley shares: points of accuracy above the constant answer that each feature brings, over all {2 ** len(tables.tasks) - 1} sets of features"
    )


def controls(world: World) -> Markup:
    """Each control beside all features of the same split."""
    tables = world.controlled
    if tables is None:
        return Markup()
    rows: list[dict[str, object]] = [{"control": "all features (Table 2)", **{target: _accuracy(tables.all(target)) for target in tables.targets}}]
    for each in world.controls:
        rows.append({"control": each.name, **{target: _against(answers, above_all(answers, target, tables)) for target, answers in each.answers.items()}})
    columns = ["control", *tables.targets, *world.bench.pictures.beside]
    return page.table(rows, columns, caption=f"Controls in split {tables.split}: accuracy in %, and points against all features with 95 % over test people")


def random(world: World) -> Markup:
    """Groups dealt at random beside the real ones, every task and split."""
    rows: list[dict[str, object]] = []
    for (split, task), each in world.random.items():
        tables = world.tables[split, "end"]
        gain, as_much = world.of_random[split, task]
        rows.append({
            "split": split, "groups": task, "own network": _alone(each.network), "own": _accuracy(each.own), "identity's": _accuracy(each.identity),
            "constant answer": _alone(tables.constants[task]), "gain at random": percent(gain.estimate, sign=True),
            "real gain": percent(claims.gain_of_identity(tables, task), sign=True), "random minus real": percent(as_much.estimate, sign=True),
            "as much as for real groups": as_much.verdict,
        })  # fmt: skip
    said = "People dealt once at random to groups of the same sizes: accuracy in %, what identity's feature gains over the own there and for the real groups, in points"
    return page.table(rows, caption=said) if rows else Markup()


def judged(found: Sequence[Claim], caption: str = "") -> Markup:
    """The column of claims only where there are several."""
    rows = [
        {
            "claim": each.claim, "target": each.target, "what": each.what, "points (95 %)": percent(each.estimate, sign=True),
            "p (Holm)": None if isnan(each.p) else f"{each.p:.2g}", "verdict": each.verdict,
        }
        for each in found
    ]  # fmt: skip
    several = len({each.claim for each in found}) > 1
    return page.table(rows, list(rows[0])[0 if several else 1 :], caption) if rows else Markup()


def strangers(found: Strangers) -> Markup:
    rows = []
    for name, of in (("own network", None), *((f"{task}'s feature", task) for task in found.tasks), ("all but the own", "others"), ("all", "all")):
        row: dict[str, object] = {"features": name}
        for target in found.targets:
            answers = found.networks[target] if of is None else found.all(target) if of == "all" else found.others(target) if of == "others" else found.one(of, target)
            row[target] = _accuracy(answers)
        rows.append(row)
    rows.append({"features": "constant answer", **{target: f"{100 * found.constants[target]:.1f}" for target in found.targets}})
    return page.table(rows, caption="accuracy in %, test pictures of the target's own set")


def pairs(found: Strangers) -> Markup:
    """LFW with the mirrored picture added, as the field reports it, a row for each feature."""
    rows: dict[object, dict[str, object]] = {}
    for each in found.pairs:
        metric, flip, _ = str(each["metric"]).partition(", flip")
        if flip and "insightface" not in metric:
            rows.setdefault(each["feature"], {"feature": each["feature"]})[metric] = percent(each, sign=bool(each.get("gain")))
    said = (
        "LFW: same person or not, in %, with the mirrored picture added, as the field reports it. EER: where both errors are equal; TAR@FAR: the share of pairs of one "
        "person that are accepted where so many of two are"
    )
    return page.table(rows.values(), caption=said) if rows else Markup()


def every_pair(found: Strangers) -> Markup:
    """By one crop of a face too."""
    rows = [{"feature": each["feature"], "metric": each["metric"], "value": percent(each, sign=bool(each.get("gain"))), "pairs": each["n"]} for each in found.pairs]
    return page.table(rows)


def _accuracy(answers: Answers) -> str:
    return percent(statistics.accuracy(answers))


def _alone(answers: Answers) -> str:
    return f"{100 * answers.accuracy:.1f}"


def _against(answers: Answers, gap: Estimate | None) -> str:
    return _alone(answers) if gap is None else f"{_alone(answers)} | {percent(gap, sign=True)}"


def _beside(papers: float | None) -> str:
    return "" if papers is None else f" | {papers}"


def _printed(what: str, target: str) -> str:
    """What the paper prints of its own gain."""
    if what != "all above own" or target not in claims.PRINTED_GAINS:
        return ""
    return f" | +{claims.PRINTED_GAINS[target]}" + (" (a slip)" if target == "gender" else "")
