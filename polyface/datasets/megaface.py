"""MegaFace's distractors: `FlickrFinal2/901/9019583@N08/8032652775_0.jpg`, and beside each photograph `8032652775_0.jpg.json`, whose `bounding_box` {x, y, width, height}
is where the face is (visym/vipy megaface.py; the folders also in public paths). Written from these, never run on the real tree.

The second folder is a Flickr user, who may show several people: it is what the set itself counts as 690,572 identities, and no more. Test only: everybody is a stranger.
A photograph without its .json, as in trees that somebody aligned, has no box.
"""

import json

import numpy as np

from polyface.datasets.base import Dataset, Listing, Record, Split
from polyface.datasets.tables import Rows, as_text, is_picture
from polyface.errors import InputError
from polyface.images.read import Root, Source
from polyface.labels import People
from polyface.tasks import identity

SIDES = ("x", "y", "width", "height")


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(megaface.answers)
    names = root.names()
    described = {name for name in names if name.endswith(".json")}
    for name in names:
        if is_picture(name) and name.count("/") >= 2:
            with rows.row(name):
                key = "/".join(name.split("/")[-3:])  # as the devkit's lists name it
                user = key.rpartition("/")[0]
                box = read_box(root, f"{name}.json") if f"{name}.json" in described else None
                rows.add(Record(key, Source(root, name), {identity.name: user}, subject=user, boxes=box))
    return rows.listing()


def read_box(root: Root, name: str) -> np.ndarray:
    """[1, 4]. Raises InputError naming the file."""
    try:
        table = json.loads(as_text(root.open(name), name))
        x, y, width, height = (float(table["bounding_box"][side]) for side in SIDES)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InputError(f"{name}: no bounding_box of x, y, width and height") from error
    if not (np.isfinite([x, y, x + width, y + height]).all() and width > 0 and height > 0):
        raise InputError(f"{name}: a bounding_box of {width} x {height} at ({x}, {y})")
    return np.array([[x, y, x + width, y + height]])


megaface = Dataset(
    name="megaface",
    title="MegaFace distractors",
    terms="was for non-commercial research, and has been withdrawn by its authors; photographs under Creative Commons licences of their owners",
    url="http://megaface.cs.washington.edu/",
    answers={identity.name: People()},
    splits=("test",),
    list_records=list_records,
)
