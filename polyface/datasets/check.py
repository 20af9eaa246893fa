"""Whether data sets are what they say they are: every label, every picture, every photograph that lies in two places.

`check` opens each picture once. Twins are found as training finds them (`copies.py`), by the thumbnails that `align` kept; of a set that it never saw only copies byte
by byte are found, and that is said.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from markupsafe import Markup

from polyface import page, runtime, tasks
from polyface.datasets import contract, copies, crops, find_root, scenes, shift
from polyface.datasets.base import Dataset, Listing, Record, Split, first_of
from polyface.datasets.tables import check_label, check_points
from polyface.errors import InputError, PolyfaceError, reason
from polyface.images import align, geometry, read
from polyface.labels import PointMap

SHOWN = 10
"""So many findings of a kind are printed, and the number of the rest; --json has them all."""
FEW = 5
"""Lines and names that a page shows without being asked."""
PAIRS = 60
"""So many pairs of a kind are on the page, evenly through all of them."""
CROP = align.Crop()
FILES, BLOCK = 256, 1024  # opened together; rows of a product with a hundred thousand others

KINDS = {
    "refused": "Rows that the reader refused",
    "promise": "Promises of a data set that are broken: its answers, its keys, nobody in two splits",
    "label": "Labels that are none in the words of their set, or do not fit their picture",
    "shift": "Points that lie off their faces by as many pixels on small faces as on large ones, against what the detector found",
    "unreadable": "Pictures that cannot be read",
    "person": "People of a verification list who have a name in training; a recipe that calls the list strangers takes it from them",
    "twin": "Pictures in train and validation of which a test picture is a copy, or in train of which one of validation is; training leaves them out",
    "copy": "Copies that lie in the same split",
}


@dataclass(frozen=True)
class Place:
    """A record, where it is listed, and what `align` knows of it: what was found, and a thumbnail uint8 [400]."""

    dataset: Dataset
    split: Split
    record: Record
    found: crops.Found | None = None
    thumbnail: np.ndarray | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.dataset.name} {self.split} {self.record.key}"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be: its kind (of KINDS), one line, and the two places where it is about a pair of pictures."""

    kind: str
    words: str
    pair: tuple[Place, Place] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Checked:
    """counts: a row for each set. notes: what is no fault, but should be known. findings: in the order of KINDS."""

    counts: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]

    def lines(self) -> Iterator[str]:
        """The notes, then the findings, long lists cut with a count."""
        yield from self.notes
        for kind, group in self.groups():
            yield from (f"{kind}: {finding.words}" for finding in group[:SHOWN])
            if len(group) > SHOWN:
                yield f"{kind}: and {len(group) - SHOWN:,} more"

    def groups(self) -> Iterator[tuple[str, list[Finding]]]:
        for kind in KINDS:
            if group := [finding for finding in self.findings if finding.kind == kind]:
                yield kind, group

    def to_json(self) -> bytes:
        findings = [{"kind": finding.kind, "words": finding.words} for finding in self.findings]
        return msgspec.json.format(msgspec.json.encode({"sets": self.counts, "notes": self.notes, "findings": findings}), indent=2) + b"\n"

    def to_html(self) -> str:
        """A page with the table, all kinds of findings, and pairs of pictures side by side as the network would see them."""
        sections = [{"title": KINDS[kind], "count": len(group), **_shown(group)} for kind, group in self.groups()]
        body = page.render(PAGE, counts=page.table(self.counts), notes=self.notes, sections=sections, few=FEW)
        names = [row["data set"] for row in self.counts]
        return page.page("Checked: " + (", ".join(names) if len(names) <= FEW else f"{len(names)} data sets"), body, style=STYLE)


def check(chosen: Sequence[Dataset], data: Path, progress: crops.Progress | None = None) -> Checked:
    """Check these sets, each by itself and against each other. Raises RequestError where one of them is not there."""
    findings: list[Finding] = []
    notes: list[str] = []
    counts: list[dict[str, Any]] = []
    places: list[Place] = []
    for dataset in chosen:
        listings = listings_of(dataset, data, findings)
        faces = crops.read_faces(data, dataset.name)
        listed = _places(dataset, listings, faces)
        findings += _broken(dataset, listings, listed)
        findings += _shifted(dataset, listed)
        notes += _notes(dataset, data, listings, listed, faces)
        counts.append(_count(dataset, listings, listed))
        places += listed
    digests = _open_all(places, findings, progress)
    findings += _known_strangers(places)
    findings += _copies(places, digests)
    return Checked(tuple(counts), tuple(notes), tuple(sorted(findings, key=lambda finding: list(KINDS).index(finding.kind))))


# Each set by itself


def listings_of(dataset: Dataset, data: Path, findings: list[Finding]) -> dict[Split, Listing]:
    """What each split lists; one that cannot be listed is among the findings."""
    root, listings = find_root(data, dataset.name), {}
    for split in dataset.splits:
        try:
            listings[split] = dataset.records(root, split)
        except PolyfaceError as error:
            findings.append(Finding("promise", f"{dataset.name} {split}: cannot be listed ({error})"))
    return listings


def _places(dataset: Dataset, listings: dict[Split, Listing], faces: crops.Faces) -> list[Place]:
    return [
        Place(dataset, split, record, faces.found.get(record.key), faces.thumbnails.get(record.key)) for split, listing in listings.items() for record in listing.records
    ]


def _broken(dataset: Dataset, listings: dict[Split, Listing], listed: Sequence[Place]) -> Iterator[Finding]:
    """What can be said without opening a picture."""
    yield from (Finding("refused", line) for line in contract.refusals(dataset, listings.values()))
    answers = contract.check_answers(dataset) if dataset.name not in scenes.LISTS else []
    for problem in (*answers, *contract.check_splits(listings)):
        yield Finding("promise", f"{dataset.name}: {problem}")
    for place in listed:
        for task, label in place.record.labels.items():
            yield from _check_label(place, task, label)


def _shifted(dataset: Dataset, listed: Sequence[Place]) -> Iterator[Finding]:
    for split in dataset.splits:
        found = [(place.record.alignment.points, place.found) for place in listed if place.split == split and _is_comparable(place)]  # type: ignore[union-attr]
        lies = shift.shift([points for points, _ in found], [each.points for _, each in found], [each.box for _, each in found])  # type: ignore[union-attr]
        if lies is not None and lies.plain:
            (x, y), (x_error, y_error) = lies.pixels, lies.errors
            yield Finding(
                "shift", f"{dataset.name} {split}: {x:+.2f} pixels to the right (error {x_error:.2f}) and {y:+.2f} down ({y_error:.2f}), on {lies.faces:,} faces"
            )


def _is_comparable(place: Place) -> bool:
    known, found = place.record.alignment, place.found
    return known is not None and known.how == "labelled" and found is not None and found.overlap >= crops.SMALLEST_OVERLAP


def _notes(dataset: Dataset, data: Path, listings: dict[Split, Listing], listed: Sequence[Place], faces: crops.Faces) -> Iterator[str]:
    absent = [file for listing in listings.values() for file in listing.absent]
    if absent:
        yield f"{dataset.name}: {len(absent):,} files are listed but not there, {first_of(absent, find_root(data, dataset.name))}"
    unseen = [place for place in listed if place.thumbnail is None]
    never, why_never = sum(place.record.key not in faces.searched for place in unseen), crops.never_searched(dataset, faces)
    if listed and dataset.name in scenes.LISTS:
        yield f"{dataset.name}: copies are found by their bytes only, since near-copies are told by thumbnails of one face, and these photographs show many or none"
    elif unseen and not faces.searched:
        yield f"{dataset.name}: unchecked for near-copies, since {why_never}"
    else:
        counts = {"no face was found on them": len(unseen) - never, why_never: never}
        yield from (f"{dataset.name}: {count:,} of {len(listed):,} pictures are unchecked for near-copies, {why}" for why, count in counts.items() if count)


def _count(dataset: Dataset, listings: dict[Split, Listing], listed: Sequence[Place]) -> dict[str, Any]:
    pictures = {split: len(listings[split].records) if split in listings else None for split in ("train", "validation", "test")}
    people = len({place.record.subject for place in listed if place.record.subject is not None})
    refused, absent = len(contract.refusals(dataset, listings.values())), sum(len(listing.absent) for listing in listings.values())
    return {"data set": dataset.name, **pictures, "people": people or None, "refused": refused, "absent": absent}


def _open_all(places: Sequence[Place], findings: list[Finding], progress: crops.Progress | None) -> dict[str, str]:
    """Open each picture once, and the masks of its records; the sha256 of each file that could be read, by its name."""
    of_file: dict[str, list[Place]] = {}
    for place in places:
        of_file.setdefault(str(place.record.source), []).append(place)
    names, digests = list(of_file), {}
    with ThreadPoolExecutor(runtime.processors(), thread_name_prefix="polyface-check") as threads:
        for start in range(0, len(names), FILES):  # a person who interrupts waits for one group
            group = names[start : start + FILES]
            for name, (digest, found) in zip(group, threads.map(_open, [of_file[name] for name in group]), strict=True):
                findings += found
                if digest is not None:
                    digests[name] = digest
            if progress:
                progress(start + len(group), len(names))
    return digests


def _open(sharers: Sequence[Place]) -> tuple[str | None, list[Finding]]:
    """One file, and the records that share it."""
    source = sharers[0].record.source
    try:
        content = source.read()
        shape = read.decode(content, str(source)).shape
    except PolyfaceError as error:
        return None, [Finding("unreadable", str(error))]
    found = list(_check_boxes(sharers[0], shape))
    for place in sharers:
        for task, label in place.record.labels.items():
            if callable(label) or isinstance(place.dataset.answers.get(task), PointMap):
                found += _check_label(place, task, label, shape)
    return hashlib.sha256(content).hexdigest(), found


def _check_boxes(place: Place, shape: tuple[int, ...]) -> Iterator[Finding]:
    """The boxes of all faces of a photograph: of each at least half lies in it, since boxes about points, and about faces at the edge, may reach beyond."""
    for box in () if place.record.boxes is None else np.asarray(place.record.boxes, float).reshape(-1, 4):
        inside = np.clip(box, 0, [shape[1], shape[0]] * 2)
        width, height = box[2:] - box[:2]
        if not (width > 0 and height > 0 and np.prod(inside[2:] - inside[:2]) >= width * height / 2):  # NaN is none either
            said = ", ".join(f"{each:g}" for each in box)
            yield Finding("label", f"{place}: the box ({said}) is not in its picture of {shape[1]} x {shape[0]}")


def _check_label(place: Place, task: str, label: Any, shape: tuple[int, ...] | None = None) -> list[Finding]:
    """Of a picture of a shape: a mask is opened, points are looked for in it. A user's own reader may fail in any way; the other labels are checked all the same."""
    try:
        if task not in place.dataset.answers:
            raise InputError(f"a label for {task}, which the set does not answer")
        if shape is not None and callable(label):
            label = label()
            crops.check_mask(label, shape)
        elif shape is not None:
            check_points(label, shape, place.record.key)
            return []  # its form was held to its words before the picture was opened
        check_label(task, place.dataset.answers[task], label)
    except Exception as error:
        return [Finding("label", f"{place}: {reason(error)}")]
    return []


# Against each other


def _known_strangers(places: Sequence[Place]) -> Iterator[Finding]:
    """People by their names, as training knows them: those of the test pictures of a set that states pairs, who carry a name in another's training split."""
    lists: dict[str, str] = {}
    for place in places:
        if place.dataset.list_pairs is not None and place.split == "test" and place.record.subject:
            lists.setdefault(copies.person_name(place.record.subject), place.dataset.name)
    named = Counter(
        (place.dataset.name, place.record.subject) for place in places if place.split == "train" and place.record.subject and tasks.identity.name in place.record.labels
    )
    for (name, subject), pictures in named.items():
        where = lists.get(copies.person_name(subject))
        if where not in (None, name):
            yield Finding("person", f"{name} train: {subject} (pictures: {pictures}) is among the people of {where}")


def _copies(places: Sequence[Place], digests: dict[str, str]) -> Iterator[Finding]:
    tests, validation, train = ([place for place in places if place.split == split] for split in ("test", "validation", "train"))
    for earlier, later in (([place for place in places if place.split != "test"], tests), (train, validation)):
        yield from (Finding("twin", f"{one} {alike} {other}", (one, other)) for one, other, alike in _alike(earlier, later, digests))
    for side in (tests, validation, train):
        yield from (Finding("copy", f"{one} {alike} {other}", (one, other)) for one, other, alike in _alike(side, None, digests))


def _alike(places: Sequence[Place], others: Sequence[Place] | None, digests: dict[str, str]) -> Iterator[tuple[Place, Place, str]]:
    """Each place with the one of the others that holds the same photograph, in the same bytes or as a near-copy; others None: with one before it among themselves.

    The faces of one photograph are no copies, whether their records share a file or each has its own.
    """
    firsts: dict[str, Place] = {}
    for other in others or ():
        if digest := digests.get(str(other.record.source)):
            firsts.setdefault(digest, other)
    unlike = []
    for place in places:
        digest = digests.get(str(place.record.source))
        twin = firsts.get(digest) if digest else None
        if digest and others is None:
            firsts.setdefault(digest, place)
        if twin is not None and not _share(place, twin):
            yield place, twin, "has the same bytes as"
        elif place.thumbnail is not None:
            unlike.append(place)
    against = unlike if others is None else [other for other in others if other.thumbnail is not None]
    rows = _thumbnails(unlike)
    best, whose = _before(rows) if others is None else copies.near_copies(rows, _thumbnails(against), BLOCK)
    for at in np.flatnonzero(best > copies.NEAR):
        if not _share(unlike[at], against[whose[at]]):
            yield unlike[at], against[whose[at]], f"correlates to {best[at]:.3f} with"


def _before(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`near_copies` of each row with those before it, by halves, so that no pair is looked at twice."""
    if len(rows) < 2:
        return np.full(len(rows), -1.0, np.float32), np.full(len(rows), -1)
    half = len(rows) // 2
    (first_best, first_whose), (inner_best, inner_whose) = _before(rows[:half]), _before(rows[half:])
    best, whose = copies.near_copies(rows[half:], rows[:half], BLOCK)
    inside = inner_best > best
    best, whose = np.where(inside, inner_best, best), np.where(inside, inner_whose + half, whose)
    return np.concatenate([first_best, best]), np.concatenate([first_whose, whose])


def _thumbnails(places: Sequence[Place]) -> np.ndarray:
    return copies.comparable([place.thumbnail for place in places if place.thumbnail is not None])


def _share(one: Place, other: Place) -> bool:
    """Whether they are faces of one photograph: of one file, or of two in one split of a set (300-W stores a photograph once for each face) that lie apart."""
    if str(one.record.source) == str(other.record.source):
        return True
    here, there = _box(one), _box(other)
    apart = here is not None and there is not None and geometry.overlap(here, there) < crops.SMALLEST_OVERLAP
    return apart and (one.dataset.name, one.split) == (other.dataset.name, other.split)


def _box(place: Place) -> np.ndarray | None:
    """float [4], where the face is: as it is labelled, or else found."""
    labelled = crops.labelled_box(place.record)
    return labelled if labelled is not None or place.found is None else place.found.box


# The page


def _shown(group: Sequence[Finding]) -> dict[str, Any]:
    """What the page shows of a kind: lines, or pairs of pictures."""
    pairs = [finding for finding in group if finding.pair]
    sample = pairs[:: -(-len(pairs) // PAIRS)] if pairs else []
    figures = [{"words": finding.words, "pictures": [_face(place) for place in finding.pair or ()]} for finding in sample]
    lines = [finding.words for finding in group if finding.pair is None]
    return {"figures": figures, "lines": lines[: SHOWN * 10], "rest": max(0, len(lines) - SHOWN * 10)}


def _face(place: Place) -> str | Markup:
    """The data URI of the aligned crop, or of the whole picture where nobody knows where the face is."""
    example = crops.align_record(place.record, place.found, training=True)
    try:
        if example is None:
            return page.picture(crops.open_picture(place.record), longest=CROP.size)
        return page.picture(crops.open_crop(place.record, align.from_points(example.points, CROP), CROP.size)[0])
    except PolyfaceError:
        return ""


STYLE = """\
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; margin: 1rem 0; }
figure { margin: 0; padding: .6rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; content-visibility: auto; }
figure div { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
figure img { width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--shade); }
figcaption { color: var(--quiet); font-size: .8rem; margin-top: .4rem; }
"""

PAGE = """\
{{ counts }}
{% for note in notes %}<p class="quiet">{{ note }}</p>{% endfor %}
{% if not sections %}<p>Nothing was found.</p>{% endif %}
{% for section in sections %}
<h2>{{ section.title }}: {{ "{:,}".format(section.count) }}</h2>
{% if section.lines %}
<details{% if section.lines|length <= few %} open{% endif %}><summary>Each of them</summary>
<ul>{% for line in section.lines %}<li>{{ line }}</li>{% endfor %}{% if section.rest %}<li>and {{ "{:,}".format(section.rest) }} more</li>{% endif %}</ul>
</details>
{% endif %}
{% if section.figures %}
{% if section.figures|length < section.count %}<p class="quiet">{{ section.figures|length }} of them, evenly through the list.</p>{% endif %}
<div class="pairs">
{% for figure in section.figures %}
<figure><div>{% for uri in figure.pictures %}<img src="{{ uri }}" alt="" loading="lazy">{% endfor %}</div><figcaption>{{ figure.words }}</figcaption></figure>
{% endfor %}
</div>
{% endif %}
{% endfor %}
"""
