"""A card as a page in Markdown, for a person: what a network answers, how well, how sure it is, what it learned from, what it was never shown.

polyface info --markdown > weights/README.md
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from polyface.inference.card import AnswerCalibration, Card, PairCalibration, Score, Smaller, tasks_of_card
from polyface.inference.detector_card import DetectorCard
from polyface.inference.drift import Drift
from polyface.metrics.groups import FEWEST
from polyface.tasks.kinds import Angles, Category, Embedding, Points, Regions, Scale, Task, Traits

NOT_FOR = (
    "Deciding anything about a person: work, credit, insurance, school, health, borders, police. An apparent age or expression is what annotators saw in a picture, "
    "not how old somebody is or what somebody feels; race and gender are annotators' words as well.",
    "Identifying people who did not agree to it.",
    "Pictures of another kind than those it learned from: who learned from photographs was never shown a drawing, and the other way round.",
)
"""What no model of this project is for, whatever its card says (README.md)."""


def markdown(card: Card, drift: Drift | None = None) -> str:
    """The page; drift: what the network in eight bits says of itself, where there is one."""
    sections = [
        ("", _about(card)),
        ("What it answers", _answers(card)),
        ("How well", _scores(card)),
        ("By group", _groups(card)),
        ("How sure it is", _calibrations(card)),
        ("Small faces", _smaller(card)),
        ("The same person, or not", _pairs(card)),
        ("In eight bits", _drift(card, drift)),
        ("How fast", _speed(card.speed)),
        ("What it learned from", _data(card)),
        *_ending(card, NOT_FOR),
    ]
    return _page(f"The network `{card.name}`", sections)


def of_detector(card: DetectorCard) -> str:
    """The page of a face detector."""
    trained = f"Trained {card.created}" + (f", by commit {card.commit[:12]}" if card.commit else "")
    about = (
        f"It finds the faces on whole photographs, and five points of each, with {card.parameters:,} parameters; what scores {card.threshold:g} or more is a face to it. "
        f"{trained}. `--detector FILE` names another, with YuNet's inputs and outputs."
    )
    sections = [("", about), ("How well", _table(card.score_rows())), ("What it learned from", _table(card.rows())), *_ending(card)]
    return _page(f"The face detector `{card.name}`", sections)


def _page(title: str, sections: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join([f"# {title}", *(f"## {name}\n\n{text}" if name else text for name, text in sections if text)]) + "\n"


def _ending(card: Card | DetectorCard, not_for: Sequence[str] = ()) -> list[tuple[str, str]]:
    return [
        ("What it was never shown, and its limits", "\n".join(f"- {limit}" for limit in card.limits)),
        ("What it is not for", "\n".join(f"- {use}" for use in not_for)),
        ("Terms", card.licence and f"{card.licence[0].upper()}{card.licence[1:]}."),
    ]


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A calibration error or a Brier score, and its interval where it is known."""
    if value is None:
        return ""
    return f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")


def smaller_rows(smaller: Sequence[Smaller]) -> list[dict[str, object]]:
    """A row for each task and test set, a column for each eye distance: the score, how often the set of answers held the truth, and of how many answers it was."""
    columns = sorted({part.eyes for part in smaller})
    rows: dict[tuple[str, str, str], dict[float, Smaller]] = {}
    for part in smaller:
        rows.setdefault((part.task, part.dataset, part.metric), {})[part.eyes] = part
    return [
        {"task": task, "test": dataset, "score": metric, "n": _span([part.n for part in parts.values()]), **{f"{eyes:g}": _worth(parts.get(eyes)) for eyes in columns}}
        for (task, dataset, metric), parts in rows.items()
    ]


def _worth(part: Smaller | None) -> str:
    if part is None:
        return ""
    return f"{part.value:.3g}" + ("" if part.coverage is None or part.size is None else f" ({part.coverage:.1%} in {part.size:.3g})")


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _about(card: Card) -> str:
    found_by = f" about a face that {card.detector.name} found" if card.detector else ""
    lines = ["**Trained on drawings, not on photographs.**"] if card.trained_on_drawings else []
    lines += [
        f"A network of polyface: it reads a crop of {card.crop.size} x {card.crop.size} pixels{found_by} and answers {len(card.tasks)} questions in one pass. "
        f"Trained {card.created}"
        + (f", by commit {card.commit[:12]}" if card.commit else "")
        + "."
        + (f" Its ONNX file answers as torch does on {card.compared}." if card.compared else ""),
        "`pip install ./weights` in a checkout of polyface makes it the network of every command; `--model DIR` names another. "
        "This page is its card, as `polyface info --markdown` prints it.",
    ]
    return "\n\n".join(lines)


def _answers(card: Card) -> str:
    tasks, worth = tasks_of_card(card), "what its labels are worth"
    return _table({"question": task.question, "name": f"`{task.name}`", "answer": _answer(task), worth: card.task_notes.get(task.name)} for task in tasks)


def _answer(task: Task) -> str:
    match task:
        case Category():
            return ", ".join(task.vocabulary)
        case Scale():
            return f"{task.unit}, 0 to {task.top}"
        case Traits():
            return f"yes or no to each of {len(task.vocabulary)}"
        case Points():
            return f"{task.count} points"
        case Regions():
            return f"for each pixel one of {len(task.vocabulary)} classes"
        case Angles():
            return f"{', '.join(task.axes)} in degrees"
        case Embedding():
            return f"a vector of {task.dimension} numbers, close to those of other pictures of the same person"
    return ""


def _scores(card: Card) -> str:
    rows = [
        {
            "task": score.task,
            "test": _test(score),
            "score": score.metric,
            "value": score.value,
            "95 %": _interval(score.low, score.high),
            "guessing": score.chance,
            "one answer for all": score.constant,
            "n": score.n,
        }
        for score in _in_order(card)
    ]
    if not rows:
        return ""
    return "Measured on test splits. *One answer for all*: the best score without looking at the face.\n\n" + _table(rows)


def _groups(card: Card) -> str:
    """Scores by the groups of faces that their test sets state: {kind: {each: {group: {value, low, high, n}}, best, worst, gap, low, high}}, less what is not known."""
    kinds = [(score, kind, found) for score in _in_order(card) for kind, found in score.groups.items()]
    gaps = [
        {
            "task": score.task,
            "test": _test(score),
            "score": score.metric,
            "by": kind,
            "best": _in_words(found["best"], found),
            "worst": _in_words(found["worst"], found),
            "gap": found.get("gap"),
            "95 %": _interval(found.get("low"), found.get("high")),
        }
        for score, kind, found in kinds
        if found.get("worst") is not None
    ]
    rows = [
        {
            "task": score.task,
            "test": _test(score),
            "score": score.metric,
            "group": f"{kind} {group}",
            "value": value.get("value"),
            "95 %": _interval(value.get("low"), value.get("high")),
            "n": value.get("n"),
        }
        for score, kind, found in kinds
        for group, value in found["each"].items()
    ]
    if not rows:
        return ""
    said = "The interval of a gap is wide enough for all pairs of groups of its kind at once: where it holds 0, chance may have made the gap."
    every = f"Every group, in the words of its test set; one of fewer than {FEWEST} faces has no score."
    return "\n\n".join([*([said, _table(gaps)] if gaps else []), every, _table(rows)])


def _in_words(group: str, found: Mapping[str, Any]) -> str:
    value = found["each"][group].get("value")
    return group if value is None else f"{group} ({_number(value)})"


def _calibrations(card: Card) -> str:
    rows = [
        {
            "task": name,
            "test": part.dataset,
            "network": part.network,
            "temperature": said.temperature,
            "calibration error": f"{part.ece[0]:.3f} → {with_interval(part.ece[1], part.ece_low, part.ece_high)}",
            "Brier score": f"{part.brier[0]:.3f} → {with_interval(part.brier[1], part.brier_low, part.brier_high)}",
            "set holds the truth": _percent(part.coverage),
            "set size": part.size,
            "worst group": f"{part.worst}: {_percent(part.worst_coverage)} of {part.worst_n}" if part.worst else None,
            "n": part.n,
        }
        for name, said in card.calibration.items()
        if isinstance(said, AnswerCalibration)
        for part in said.measured
    ]
    if not rows:
        return ""
    meant = next((said.coverage for said in card.calibration.values() if isinstance(said, AnswerCalibration) and said.coverage is not None), None)
    known = any(part.ece_low is not None for said in card.calibration.values() if isinstance(said, AnswerCalibration) for part in said.measured)
    ends = " In brackets are their 95 % intervals." if known else ""
    held = f" The set of answers, or the interval, that comes with each is meant to hold the truth {_percent(meant)} of the time." if meant else ""
    return f"Probabilities are fitted on validation pictures; calibration error and Brier score are before → after, on test pictures.{ends}{held}\n\n" + _table(rows)


def _smaller(card: Card) -> str:
    if not card.smaller:
        return ""
    shown = (
        "Test photographs, shrunk until the eyes are so many pixels apart; faces with nearer eyes are left out. A cell is the score, and behind it how often the set of "
        "answers held the truth and of how many answers (of age: years) it was. Faces are cropped by the points of the photograph as it was; on real small "
        "faces a detector's are off by more."
    )
    fitted = "A small face is answered with a temperature and sets that were fitted to faces of its size, and never bolder than those of larger ones."
    sized = any(isinstance(said, AnswerCalibration) and said.sizes for said in card.calibration.values())
    return "\n\n".join([shown, *([fitted] if sized else []), _table(smaller_rows(card.smaller))])


def _pairs(card: Card) -> str:
    parts = []
    for said in card.calibration.values():
        if isinstance(said, PairCalibration):
            fitted = ", ".join(f"{on.n:,} pictures{f' of {on.subjects} people' if on.subjects else ''} of {on.dataset}, {on.split}" for on in said.fitted)
            said_so = [
                f"Fitted on {fitted or 'unnamed pictures'}. Under a cosine of {_number(said.different)} ({_interval(said.low, said.high)}) two faces are called "
                f"two people, which is wrong of {_percent(said.frr)} of pairs of one person"
                + (f", and right of {_percent(said.told_apart)} of pairs of two people." if said.told_apart is not None else "."),
                "Between that line and the one chosen from this table it says that it cannot tell." if card.thresholds else "",
                f"The probability's calibration error is {with_interval(said.ece, said.ece_low, said.ece_high)}, "
                f"its Brier score {with_interval(said.brier, said.brier_low, said.brier_high)}."
                if said.ece is not None and said.brier is not None
                else "",
                f"Left out: {said.left_out}." if said.left_out else "",
            ]
            parts.append(" ".join(filter(None, said_so)))
    wrong = next((said.frr for said in card.calibration.values() if isinstance(said, PairCalibration)), None)
    rows = [
        {
            "false accepts": f"1 in {1 / line.far:,.0f}",
            "one person from a cosine of": line.cosine,
            "95 %": _interval(line.low, line.high),
            "true accepts": _percent(line.tar),
            "one person: cannot tell": None if wrong is None or line.tar is None else _percent(max(0.0, 1 - wrong - line.tar)),
            "false accepts seen": line.false_accepts,
            "of pairs of people": line.pairs_of_people,
        }
        for line in card.thresholds
    ]
    return "\n\n".join([*parts, *([_table(rows)] if rows else [])])


def _drift(card: Card, drift: Drift | None) -> str:
    if drift is None:
        return ""
    said = (
        f"The network that answers is in eight bits, made from {drift.of} in ranges seen on {drift.calibrated} training pictures. On {drift.measured} others, "
        f"of validation, its answers differ from those of `model.onnx` by:"
    )
    return f"{said}\n\n{_table(drift.rows(tasks_of_card(card)))}"


def _speed(speed: Mapping[str, Any]) -> str:
    """Lists of rows as tables, all else as lines: what `benchmarks/analyze.py` writes."""
    parts = [_table(value) if isinstance(value, list) else f"{name[:1].upper()}{name[1:]}: {value}." for name, value in speed.items() if value]
    return "\n\n".join(parts)


def _data(card: Card) -> str:
    rows = [{"data set": entry.name, "split": entry.split, "pictures": entry.images, "people": entry.subjects, "terms": entry.terms} for entry in card.data]
    kept_out = f"Nobody of {', '.join(card.strangers)} was known to it by name." if card.strangers else ""
    return "\n\n".join(filter(None, [_table(rows), kept_out]))


def _in_order(card: Card) -> list[Score]:
    """The scores by the order of the tasks, each task's as they were written."""
    order = {name: place for place, name in enumerate(card.tasks)}
    return sorted(card.scores, key=lambda score: order.get(score.task, len(order)))


def _test(score: Score) -> str:
    return score.dataset if score.split == "test" else f"{score.dataset}, {score.split}"


def _table(rows: Iterable[Mapping[str, object]]) -> str:
    """Rows as a table, without the columns that are empty; numbers to the right."""
    rows = list(rows)
    columns = [column for column in (rows[0] if rows else ()) if any(row.get(column) not in (None, "") for row in rows)]
    if not columns:
        return ""
    right = [all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns]
    lines = [columns, ["--:" if end else "---" for end in right], *([_cell(row.get(column)) for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = _number(value) if isinstance(value, int | float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{_number(low)} to {_number(high)}"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.1%}"
