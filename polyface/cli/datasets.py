"""`polyface datasets ...`"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import App, Parameter

from polyface.cli.options import Data, DetectorFile, Json
from polyface.errors import InputError, RequestError

if TYPE_CHECKING:
    from polyface.datasets.base import Dataset

Set = TypeVar("Set")  # a name or a data set

app = App(name="datasets", help="The data sets: what is known, what is there, checks and preparation.", sort_key=7)


@app.command(name="list", sort_key=1)
def datasets_list(*, data: Data = None) -> None:
    """The public data sets that polyface reads, what each answers, and whether it is there."""
    from polyface import terminal
    from polyface.datasets import data_folder

    folder, rows = data and data_folder(data), []
    for dataset in _every():
        there = {} if folder is None else {"there": "yes" if _is_there(dataset.name, folder) else ""}
        said = {
            "answers": ", ".join(dataset.answers) or "detector only",
            "splits": ", ".join(dataset.splits),
            "title": dataset.title,
            "terms": dataset.terms,
            "from": dataset.url,
        }
        rows.append({"name": dataset.name, **there, **said})
    terminal.table(rows)


@app.command(name="test", sort_key=2)
def datasets_test(
    file: Annotated[str, Parameter(help="A user's .py or manifest .toml, or the name of a listed set.")],
    /,
    *,
    data: Data = None,
) -> int:
    """Hold a data set to the contract: unique keys, splits disjoint by subject, valid labels, the same list twice; status 1 where it breaks it, or a row is refused."""
    from polyface import terminal
    from polyface.datasets import contract, find_root, named

    dataset = named(file)
    root = find_root(data, dataset.name)
    problems, listings = contract.check(dataset, root), contract.listed(dataset, root)
    refused = contract.refusals(dataset, listings)
    for line in (*problems, *refused):
        terminal.tell(line)
    for note in contract.notes(dataset, root, listings):
        terminal.say(note)
    terminal.say(f"{dataset.name} " + ("breaks the contract" if problems else "keeps the contract") + (f"; {len(refused):,} rows are refused" if refused else ""))
    return 1 if problems or refused else 0


@app.command(name="align", sort_key=3)
def datasets_align(
    *names: Annotated[str, Parameter(help="Data sets, by name or by file.", required=True)],
    data: Data = None,
    detector: DetectorFile = None,
) -> int:
    """Detect the five points of every face once, and keep them with the detector and its score."""
    from polyface import terminal
    from polyface.datasets import crops, data_folder, find_root, named
    from polyface.images.detect import load_detector

    folder, finder = data_folder(data), load_detector(detector)

    def align(dataset: "Dataset") -> bool:
        root = find_root(data, dataset.name)
        with terminal.progress(dataset.name) as report:
            counts, refused = crops.align_set(dataset, root, folder, finder, report)
        troubled = _say_all(refused)
        terminal.tell(f"{dataset.name}: {', '.join(f'{count} {what}' for what, count in counts.items())}")
        return troubled

    return _set_by_set([named(name) for name in names], align)


@app.command(name="scan", sort_key=3)
def datasets_scan(
    *names: Annotated[str, Parameter(help="wider, negatives, or data sets, by name or by file.", required=True)],
    data: Data = None,
    detector: DetectorFile = None,
    points: Annotated[Path | None, Parameter(help="A model directory, or an .onnx file of ours, which corrects the detector's points.")] = None,
) -> int:
    """Find every face of every training photograph once: what our detector learns from beside what people labelled."""
    from polyface import terminal
    from polyface.datasets import data_folder, scenes
    from polyface.images.detect import load_detector

    folder, finder = data_folder(data), load_detector(detector)
    if points is not None:
        from polyface.inference import closer, engine

        finder = closer.Closer(finder, engine.load(points))

    def scan(name: str) -> bool:
        with terminal.progress(name) as report:
            counts, refused = scenes.find_all(name, folder, finder, report)
        troubled = _say_all(refused)
        terminal.tell(f"{name}: {', '.join(f'{count} {what}' for what, count in counts.items())}")
        return troubled

    return _set_by_set(names, scan)


@app.command(name="pack", sort_key=4)
def datasets_pack(
    *names: Annotated[str, Parameter(help="Data sets, by name or by file.", required=True)],
    data: Data = None,
) -> int:
    """Write the training split once as training reads it, large photographs as wide crops."""
    from polyface import terminal
    from polyface.datasets import data_folder, find_root, named, pack

    folder = data_folder(data)

    def write(dataset: "Dataset") -> bool:
        with terminal.progress(dataset.name) as report:
            problems = pack.pack_set(dataset, find_root(data, dataset.name), folder, report)
        troubled = _say_all(problems)
        print(pack.pack_folder(folder, dataset.name))
        return troubled

    return _set_by_set([named(name) for name in names], write)


@app.command(name="check", sort_key=5)
def datasets_check(
    *names: Annotated[str, Parameter(help="Data sets, by name or by file, wider, negatives. All that are there where nothing is said.")],
    data: Data = None,
    html: Annotated[Path | None, Parameter(help="Write a page here: what was found, pairs of pictures side by side.")] = None,
    json: Json = None,
) -> int:
    """Count, hold labels to their words and boxes to their pictures, open every picture, find points that lie off their faces by the same pixels everywhere (after
    align), copies within and across sets, people on both sides of a split; status 1 where anything is found."""
    from polyface import files, terminal
    from polyface.datasets import check, data_folder, scenes

    folder = data_folder(data)
    files.require_writable(html, json)
    with terminal.progress("pictures") as report:
        checked = check.check([scenes.as_dataset(name) for name in names] or _all_there(folder), folder, report)
    if html is not None:
        files.write_atomically(html, checked.to_html())
    if json is not None:
        files.write_atomically(json, checked.to_json())
    terminal.table(checked.counts)
    for line in checked.lines():
        terminal.tell(line)
    terminal.say(f"{len(checked.findings):,} found" if checked.findings else "nothing was found")
    return 1 if checked.findings else 0


@app.command(name="stats", sort_key=6)
def datasets_stats(
    *names: Annotated[str, Parameter(help="Data sets, by name or by file, wider, negatives. All listed ones that are there where nothing is said.")],
    data: Data = None,
) -> int:
    """What labels what: how many records of each split carry a label for each task, how finely each set speaks, and how often each of its words is in train; of what the
    detector learns from, photographs."""
    from polyface import terminal
    from polyface.datasets import data_folder, scenes
    from polyface.datasets.stats import stats

    folder = data_folder(data)
    found = stats([scenes.as_dataset(name) for name in names] or _all_there(folder), folder)
    for at, (title, rows) in enumerate({"labelled records": found.labelled, "words": found.grains, "how often each word is in train": found.spoken}.items()):
        if rows:
            print(end="\n" if at else "")
            terminal.table(rows, title=title)
    for line in found.failed:
        terminal.say(line)
    return 1 if found.failed else 0


def _set_by_set(sets: Sequence[Set], work: Callable[[Set], bool]) -> int:
    """The exit status of work on each, which says whether inputs were refused. A set that cannot be read is said, and the others go on."""
    from polyface import terminal

    statuses = []
    for each in sets:
        try:
            statuses.append(InputError.exit_status if work(each) else 0)
        except (InputError, RequestError) as error:
            terminal.say(str(error))
            statuses.append(RequestError.exit_status)
    return RequestError.exit_status if min(statuses) == RequestError.exit_status else InputError.exit_status if any(statuses) else 0


def _say_all(refused: Sequence[InputError]) -> bool:
    """A line for each picture that was refused; whether there was any."""
    from polyface import terminal

    for problem in refused:
        terminal.say(str(problem))
    return bool(refused)


def _is_there(name: str, data: Path) -> bool:
    from polyface.datasets import find_root

    try:
        find_root(data, name)
    except RequestError:
        return False
    return True


def _all_there(data: Path) -> list[Any]:
    there = [dataset for dataset in _every() if _is_there(dataset.name, data)]
    if not there:
        raise RequestError(f"{data}: none of the data sets is in it (polyface datasets list)")
    return there


def _every() -> list[Any]:
    """The data sets, and the sets of scenes that only a detector learns from."""
    from polyface.datasets import DATASETS, scenes

    return [*DATASETS, *map(scenes.as_dataset, scenes.LISTS)]
