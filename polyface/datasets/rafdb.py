"""RAF-DB, basic expressions: `basic/EmoLabel/list_patition_label.txt` (sic) with lines `train_00001.jpg 5`, aligned faces `train_00001_aligned.jpg`.

Seven words, no contempt. Train and test are official; a tenth of train is validation, by content. Of equal files the first is kept, test before train.
"""

import numpy as np

from polyface.datasets.base import Alignment, Dataset, Listing, Record, Split, split_of_train
from polyface.datasets.tables import Rows, find, lines, text
from polyface.errors import InputError
from polyface.images.read import Root, Source
from polyface.labels import words
from polyface.tasks import expression

WORDS = {"Surprise": "surprise", "Fear": "fear", "Disgust": "disgust", "Happiness": "happy", "Sadness": "sad", "Anger": "anger", "Neutral": "neutral"}
TABLE = "list_patition_label.txt"
ALIGNED_100 = Alignment(np.array([[27.0, 32.4], [71.3, 31.9], [49.0, 56.2], [30.4, 73.5], [69.7, 72.9]]), "guess")
"""Means of YuNet's five points in 298 aligned pictures of 100 x 100; they deviate by 3 to 5 pixels."""


def list_records(root: Root, split: Split) -> Listing:
    rows = Rows(rafdb.answers)
    table = find(root, f"EmoLabel/{TABLE}")
    folder = table.removesuffix(f"EmoLabel/{TABLE}") + "Image/aligned"
    entries = sorted(lines(text(root, table)), key=lambda entry: not entry[1][0].startswith("test"))
    for row, fields in entries:
        with rows.row(f"{table}, row {row}"):
            if len(fields) != 2 or not fields[0].startswith(("train_", "test_")):
                raise InputError("not `train_00001.jpg 5` or `test_0001.jpg 5`")
            file, digit = fields
            in_test = file.startswith("test_")
            name = f"{folder}/{file.rpartition('.')[0]}_aligned.jpg"
            if not root.exists(name):
                if split == ("test" if in_test else "train"):
                    rows.missing(name)
                continue
            content = root.open(name)
            if rows.is_copy(content) or split != ("test" if in_test else split_of_train(content)):
                continue
            if digit not in "1234567" or len(digit) != 1:
                raise InputError(f"{expression.name} {digit} is none of 1 to 7")
            rows.add(Record(file, Source(root, name), {expression.name: list(WORDS)[int(digit) - 1]}, alignment=ALIGNED_100))
    return rows.listing()


rafdb = Dataset(
    name="rafdb",
    title="RAF-DB",
    terms="non-commercial research, no redistribution",
    url="http://www.whdeng.cn/raf/model1.html",
    answers={expression.name: words(expression.vocabulary, WORDS)},
    splits=("train", "validation", "test"),
    list_records=list_records,
)
