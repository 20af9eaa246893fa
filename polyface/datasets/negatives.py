"""Photographs without people, in a folder for each kind of thing: `caltech101/CLASS/*.jpg` (Caltech 101) and any other folder of pictures.

A tenth of the classes is test and another validation, so that nothing of a kind is on both sides; a folder that holds thousands of unnamed pictures is cut by picture.
Classes of Caltech 101 that show people, or faces drawn and carved, are left out.
"""

from pathlib import PurePosixPath

import numpy as np

from polyface.datasets.base import Split, split_of
from polyface.datasets.scene import Scene, Scenes
from polyface.datasets.tables import is_picture
from polyface.images.read import Root, Source

TITLE = "photographs without people"
TERMS = "Caltech 101: CC BY 4.0; others: nothing stated"
WITH_FACES = {
    "BACKGROUND_Google", "Faces", "Faces_easy", "accordion", "buddha", "cougar_face", "dalmatian", "dollar_bill", "garfield", "saxophone", "snoopy", "wheelchair",
}  # fmt: skip
CLASSES = "caltech101"


def list_scenes(root: Root, split: Split) -> Scenes:
    items = []
    for name in root.names():
        folders = PurePosixPath(name).parts[:-1]
        if is_picture(name) and WITH_FACES.isdisjoint(folders) and split_of(folders[-1] if CLASSES in folders else name) == split:
            items.append(Scene.of(name, Source(root, name), np.empty((0, 4)), complete=True))
    return Scenes(tuple(items))
