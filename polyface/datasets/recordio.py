"""People in a file of MXNet's RecordIO, as insightface gives training sets: `train.rec`, `train.idx` and `property` in a folder, read in place and in any order.

A person is the first label of a record (`images/recordio.py`). `property`, a row `people,height,width`, says how many there are; pictures of 112 x 112 are taken to be
cut to ArcFace's template, as insightface's are; others go through a detector like any photographs. Nobody is in two splits: a fixed tenth of the people is test, another
validation. People have numbers, which mean nothing outside the file: whether one of them is in another set is unknown.
Never run on a public download.

The file lies in a folder, not in a .zip or .tar, inside which nothing could be read without unpacking.
"""

from functools import lru_cache
from pathlib import Path

from polyface.datasets.base import Alignment, Dataset, Listing, Record, Split, split_of
from polyface.datasets.tables import Rows, text, whole
from polyface.errors import InputError
from polyface.images.align import ARCFACE_112
from polyface.images.read import Root, Source
from polyface.images.recordio import Records, open_records
from polyface.labels import People
from polyface.tasks import identity

ALIGNED_112 = Alignment(ARCFACE_112, "stated")
MOST = 2**24
"""Labels are float32: beyond this number two people may have one label."""


def list_records(root: Root, split: Split) -> Listing:
    """Raises InputError where the folder does not hold one .rec, or its property is wrong."""
    found = [name for name in root.names() if name.endswith(".rec")]
    if len(found) != 1:
        raise InputError(f"{root.label}: {f'{found[0]} and {found[1]} are there' if found else 'no .rec is there'}; a set of people is one")
    path = Path(root.label, found[0])
    if not path.is_file():
        raise InputError(f"{root.label}: {found[0]} cannot be read inside an archive; unpack it")
    people, alignment = _property(root, (Path(found[0]).parent / "property").as_posix())
    index = path.with_suffix(".idx")
    records, rows = _opened(path, path.stat().st_mtime_ns, index.stat().st_mtime_ns if index.is_file() else 0), Rows(recordio.answers)
    for key, label in records.labels.items():
        with rows.row(f"{path}/{key}"):
            if not (0 <= label < people and label == int(label)):  # NaN is nobody either
                raise InputError(f"the label {label:g} is none of the {people} people")
            person = f"number {int(label)}"
            if split_of(person) == split:
                name = f"{path.stem}-{key}"  # a bare number is what pictures of other sets are called too
                rows.add(Record(name, Source(records, key), {identity.name: person}, subject=person, alignment=alignment))
    return rows.listing()


def _property(root: Root, name: str) -> tuple[int, Alignment | None]:
    """How many people there are, and how their pictures are aligned; without the file, as many as labels can tell apart."""
    if not root.exists(name):
        return MOST, None
    content = text(root, name).strip()
    try:
        people, height, width = (whole(field) for field in content.split(","))
    except (InputError, ValueError):
        raise InputError(f"{root.label}: {name} is not `people,height,width`: {content[:60]!r}") from None
    if people > MOST:
        raise InputError(f"{root.label}: {name} says {people} people, whom float32 labels do not tell apart")
    return people, ALIGNED_112 if (height, width) == (112, 112) else None


@lru_cache(maxsize=4)
def _opened(path: Path, changed: int, index_changed: int) -> Records:
    """Its list is read once, as long as neither file changes."""
    return open_records(path)


recordio = Dataset(
    name="recordio",
    title="People in RecordIO",
    terms="those of the set that the file holds",
    url="https://github.com/deepinsight/insightface/tree/master/recognition/_datasets_",
    answers={identity.name: People()},
    splits=("train", "validation", "test"),
    list_records=list_records,
)
