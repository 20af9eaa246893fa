import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface import tasks
from polyface.datasets import contract, fer2013
from polyface.datasets.fer2013 import _of_row
from polyface.errors import InputError
from polyface.images.read import decode

HEADER = "emotion,pixels,Usage\n"


def values(seed):
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def line(digit, seed, usage):
    return f"{digit},{' '.join(map(str, values(seed).ravel()))},{usage}\n"


def keys(root, split):
    return [record.key for record in fer2013.records(root, split).records]


def smoothed(content, quality=60):
    """The same photograph out of another download: blurred, brighter, and compressed."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.imencode(".jpg", np.clip(cv2.GaussianBlur(image, (3, 3), 0.7) * 0.8 + 30.0, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def photograph(tiny, seed):
    """Noise of four pixels a grain, so that a blur leaves it what it is."""
    grain = cv2.imdecode(np.frombuffer(tiny.grey(seed, 12, 12), np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.imencode(".png", cv2.resize(grain, (48, 48), interpolation=cv2.INTER_CUBIC))[1].tobytes()


def test_the_seven_folders_mean_seven_of_our_words_and_contempt_is_out_of_scope(tiny):
    words = fer2013.answers["expression"]
    ours = {name: tasks.expression.vocabulary[int(row.argmax())] for name, row in zip(words.names, words.table, strict=True)}
    assert ours == {"angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happy", "sad": "sad", "surprise": "surprise", "neutral": "neutral"}
    assert [word for word, said in zip(tasks.expression.vocabulary, words.scope, strict=True) if not said] == ["contempt"]


def test_a_files_name_says_its_part_whatever_its_folder(tiny):
    root = tiny.root({"archive/test/sad/PublicTest_1.png": tiny.grey(1), "archive/test/sad/PrivateTest_2.png": tiny.grey(2), "archive/train/sad/im0.png": tiny.grey(3)})
    assert keys(root, "validation") == ["archive/test/sad/PublicTest_1.png"]
    assert keys(root, "test") == ["archive/test/sad/PrivateTest_2.png"]
    assert keys(root, "train") == ["archive/train/sad/im0.png"]


def test_other_folders_and_files_are_no_pictures_of_the_set(tiny):
    root = tiny.root(
        {"test/sad/a.png": tiny.grey(1), "blurred/sad/b.png": tiny.grey(2), "unsorted/c.png": tiny.grey(3), "test/sad/notes.txt": "x", "test/d.png": tiny.grey(4)}
    )
    assert keys(root, "test") == ["test/sad/a.png"]


def test_a_copy_leaves_the_later_part_though_it_was_blurred_and_compressed(tiny):
    one, two, three = (photograph(tiny, seed) for seed in (1, 2, 3))
    files = {"test/sad/PrivateTest_1.jpg": smoothed(one), "validation/sad/PublicTest_1.jpg": smoothed(one, 80), "validation/sad/PublicTest_2.jpg": smoothed(two)}
    root = tiny.root(files | {"train/sad/fer1.png": one, "train/sad/fer2.png": two, "train/sad/fer3.png": three})
    assert keys(root, "test") == ["test/sad/PrivateTest_1.jpg"]
    assert keys(root, "validation") == ["validation/sad/PublicTest_2.jpg"]
    assert keys(root, "train") == ["train/sad/fer3.png"]


def test_copies_inside_a_part_stay_with_both_words(tiny):
    root = tiny.root({"test/sad/1.png": tiny.grey(1), "test/fear/1.png": tiny.grey(1), "train/sad/2.png": tiny.grey(2), "train/fear/2.png": tiny.grey(2)})
    assert keys(root, "test") == ["test/fear/1.png", "test/sad/1.png"] and keys(root, "train") == ["train/fear/2.png", "train/sad/2.png"]


def test_pictures_of_one_grey_are_copies_of_nothing(tiny):
    black = cv2.imencode(".png", np.zeros((48, 48), np.uint8))[1].tobytes()
    assert len(keys(tiny.root({"test/sad/1.png": black, "train/sad/2.png": black}), "train")) == 1


def test_an_unknown_folder_and_a_broken_picture_are_refused_by_name_where_they_lie(tiny):
    root = tiny.root({"test/hapy/1.png": tiny.grey(1), "test/sad/2.png": tiny.grey(2)[:-30], "test/sad/3.png": tiny.grey(3), "train/sad/4.png": tiny.grey(4)})
    listing = fer2013.records(root, "test")
    assert [record.key for record in listing.records] == ["test/sad/3.png"]
    first, second = map(str, listing.problems)
    assert first.startswith("test/hapy/1.png: expression: no word 'hapy' here") and first.endswith("did you mean 'happy'?")
    assert second.startswith("test/sad/2.png: ") and "cut short" in second
    assert not fer2013.records(root, "train").problems


def test_rows_of_the_csv_are_read_with_their_pixels_word_and_part(tiny):
    words = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    table = HEADER + "".join(line(digit, digit, "PrivateTest") for digit in range(7)) + line(3, 10, "PublicTest") + line(3, 11, "Training")
    root = tiny.root({"fer2013/fer2013.csv": table})
    records = fer2013.records(root, "test").records
    assert [record.labels["expression"] for record in records] == words and [record.key for record in records] == [f"PrivateTest_{row}" for row in range(2, 9)]
    assert keys(root, "validation") == ["PublicTest_9"] and keys(root, "train") == ["Training_10"]
    for seed, record in enumerate(records):
        record = pickle.loads(pickle.dumps(record))
        np.testing.assert_array_equal(decode(record.source.read(), str(record.source))[..., 1], values(seed))
    assert str(records[0].source).endswith("fer2013/fer2013.csv/row 2")


def test_the_csv_keeps_the_contract_in_a_zip_with_a_mark_other_columns_and_spaces(tiny):
    rows = "".join(
        f"{i % 7}, {usage},{line(0, 10 * part + i, '').split(',')[1]}\n" for part, usage in enumerate(("Training", "PublicTest", "PrivateTest")) for i in range(3)
    )
    root = tiny.write({"fer2013.csv": "\ufeffemotion, Usage, pixels\n" + rows}, tiny.folder / "fer2013.zip")
    assert contract.check(fer2013, root) == []
    assert [len(keys(root, split)) for split in fer2013.splits] == [3, 3, 3]


def test_a_copy_in_the_csv_leaves_the_later_part(tiny):
    root = tiny.root({"fer2013.csv": HEADER + line(3, 1, "Training") + line(3, 2, "Training") + line(4, 1, "PrivateTest")})
    assert keys(root, "test") == ["PrivateTest_4"] and keys(root, "train") == ["Training_3"]


BAD_ROWS = [
    (f"7,{'0 ' * 2304},PrivateTest", "emotion '7' is none of 0 to 6"),
    (f"²,{'0 ' * 2304},PrivateTest", "emotion '²' is none of 0 to 6"),
    (f"3,{'0 ' * 2303},PrivateTest", "2303 pixels where there are 48 x 48"),
    (f"3,{'256 ' * 2304},PrivateTest", "its pixels are not whole numbers from 0 to 255"),
    (f"3,{'x ' * 2304},PrivateTest", "its pixels are not whole numbers from 0 to 255"),
    (f"3,{'0 ' * 2304},Testing", "Usage 'Testing' is none of PrivateTest, PublicTest, Training"),
    ("3", "Usage '' is none of PrivateTest, PublicTest, Training"),
]


@pytest.mark.parametrize(("row", "problem"), BAD_ROWS, ids=[problem for _, problem in BAD_ROWS])
def test_a_bad_row_is_refused_by_row_and_the_rest_goes_on(row, problem, tiny):
    listing = fer2013.records(tiny.root({"fer2013.csv": HEADER + f"{row}\n" + line(3, 1, "PrivateTest")}), "test")
    assert [record.key for record in listing.records] == ["PrivateTest_3"]
    assert [str(problem) for problem in listing.problems] == [f"fer2013.csv, row 2: {problem}"]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("emotions,pixels,Usage\n", "fer2013.csv: no column 'emotion'; did you mean 'emotions'?"),
        ("", "no column 'emotion'"),
        ('emotion,pixels,Usage\n3,"0', "fer2013.csv, row "),
    ],
)
def test_a_table_that_is_none_is_refused_by_name(table, problem, tiny):
    with pytest.raises(InputError, match=problem.replace("?", r"\?")):
        fer2013.records(tiny.root({"fer2013.csv": table}), "test")


def test_a_table_in_another_alphabet_is_refused_by_name(tiny):
    with pytest.raises(InputError, match=r"fer2013\.csv, row "):
        fer2013.records(tiny.root({"fer2013.csv": HEADER.encode() + b"\xff\xfe"}), "test")


@given(st.text("0123456789. -x", max_size=3), st.integers(0, 2304), st.text(max_size=9))
def test_any_row_gives_a_picture_or_one_line(digit, before, odd):
    pixels = "17 " * before + odd + " 200" * (2303 - before)
    try:
        record = _of_row("fer2013.csv", 2, digit, pixels, "Training")
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert decode(record.source.read(), "x").shape == (48, 48, 3)
