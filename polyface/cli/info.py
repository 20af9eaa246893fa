"""`polyface info`: what must be known of a network, and of the detector that finds the faces for it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyface.inference.card import Card
    from polyface.inference.detector_card import DetectorCard


def info(
    model: Annotated[Path | None, Parameter(help="A model directory, an .onnx file of ours, or a detector's. All that is installed where nothing is said.")] = None,
    /,
    *,
    json: Annotated[bool, Parameter(help="The whole card, as JSON; of all that is installed two, by the names model and detector.")] = False,
    markdown: Annotated[bool, Parameter(help="The whole card, as a page in Markdown.")] = False,
) -> None:
    """What a model answers, how well, what it learned from, and what it was never shown; and the same of the detector that finds the faces."""
    import msgspec

    from polyface import terminal
    from polyface.errors import RequestError

    if json and markdown:
        raise RequestError("--json or --markdown, not both")
    from polyface.inference import card_page, detector_card, engine

    finder = detector_card.find(model)
    network = engine.load(model) if finder is None or model is None else None
    if json:
        cards = {name: card for name, card in (("model", network and network.card), ("detector", finder)) if card is not None}
        tree = cards if len(cards) > 1 else next(iter(cards.values()))
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(tree), indent=2).decode() + "\n")
    elif markdown:
        pages = [*([card_page.markdown(network.card, network.drift)] if network else []), *([card_page.of_detector(finder)] if finder else [])]
        terminal.tell("\n".join(pages), end="")
    else:
        if network is not None:
            _print_card(network.card, network.label)
            terminal.tell("\nnot for\n" + "\n".join(f"- {use}" for use in card_page.NOT_FOR))
        if finder is not None:
            terminal.tell("\n" if network else "", end="")
            _print_detector(finder)


def _print_card(card: "Card", label: str) -> None:
    about = {"model": label, "created": card.created, "commit": card.commit, "terms": card.terms}
    about["measured"] = f"on faces that {card.detector.name} found" if card.detector else ""
    about["compared"] = card.compared and f"onnx with torch on {card.compared}"
    if card.trained_on_drawings:
        about["note"] = "trained on drawings, not on photographs"
    _print_about(about)
    from polyface.inference.card import PairCalibration
    from polyface.inference.card_page import with_interval

    tasks = [{"task": name, "kind": entry["kind"], "question": entry.get("question", ""), "note": card.task_notes.get(name)} for name, entry in card.tasks.items()]
    scores = [{name: getattr(score, name) for name in ("task", "dataset", "split", "metric", "value", "low", "high", "chance", "constant", "n")} for score in card.scores]
    data = [{"data set": entry.name, "split": entry.split, "images": entry.images, "subjects": entry.subjects, "terms": entry.terms} for entry in card.data]
    sure = [{"FAR": f"{line.far:g}", **{name: getattr(line, name) for name in ("cosine", "low", "high", "tar")}} for line in card.thresholds]
    apart = [
        {
            "task": name,
            "under a cosine of": said.different,
            "wrongly": said.frr,
            "rightly": said.told_apart,
            "calibration error": with_interval(said.ece, said.ece_low, said.ece_high),
            "Brier score": with_interval(said.brier, said.brier_low, said.brier_high),
        }
        for name, said in card.calibration.items()
        if isinstance(said, PairCalibration)
    ]
    for title, rows in (("answers", tasks), ("scores", scores), ("one person from a cosine of", sure), ("two people", apart), ("learned from", data)):
        _print_table(title, rows)
    _print_limits(card.limits)


def _print_detector(card: "DetectorCard") -> None:
    about = {"detector": card.name, "created": card.created, "commit": card.commit, "terms": card.terms, "faces": f"from a score of {card.threshold:g}"}
    _print_about(about)
    _print_table("scores", card.score_rows())
    _print_table("learned from", card.rows())
    _print_limits(card.limits)


def _print_about(about: dict[str, str]) -> None:
    from polyface import terminal

    terminal.tell("\n".join(f"{name:9} {value}" for name, value in about.items() if value))


def _print_table(title: str, rows: "Sequence[dict]") -> None:
    from polyface import terminal

    if rows:
        terminal.tell("")
        terminal.table(rows, [column for column in rows[0] if any(row[column] not in (None, "") for row in rows)], title=title)


def _print_limits(limits: "Sequence[str]") -> None:
    from polyface import terminal

    if limits:
        terminal.tell("\nlimits\n" + "\n".join(f"- {limit}" for limit in limits))
