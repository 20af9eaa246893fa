import itertools
import pickle

import cv2
import numpy as np
import pytest

from polyface import tasks
from polyface.datasets import fasseg
from polyface.datasets.fasseg import COLOURS, MEANINGS, ColourMask
from polyface.errors import InputError
from polyface.images.read import Source

WORDS = list(MEANINGS)


def picture(seed: int, width: int = 12, height: int = 10) -> bytes:
    return bmp(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def bmp(rgb: np.ndarray) -> bytes:
    return cv2.imencode(".bmp", np.ascontiguousarray(rgb[..., ::-1].astype(np.uint8)))[1].tobytes()


def painted(words: np.ndarray) -> bytes:
    return bmp(COLOURS[words])


def turned(yaw: str, part: str = "Test", person: str = "08", series: int = 1) -> str:
    return f"V3/{part}_RGB/{yaw}/personne{person}{series}46+0{'+0' if yaw == '0' else yaw}"


def read(tiny, content: bytes) -> np.ndarray:
    return ColourMask(Source(tiny.root({"m.bmp": content}), "m.bmp"))()


def records(root, split="test"):
    return {record.key: record for record in fasseg.list_records(root, split).records}


def test_each_colour_is_its_word(tiny):
    words = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(read(tiny, painted(words)), words)
    assert [WORDS[word] for word in read(tiny, bmp(np.array([[[255, 255, 0], [127, 0, 0], [0, 255, 255]]])))[0]] == ["skin", "hair", "nose"]


def test_a_blend_of_two_colours_is_one_of_the_two_or_unlabelled(tiny):
    """Between blue eyes and yellow skin lies grey, nearest to the brown of hair: resampled masks would have brows all round the eyes."""
    shares = np.linspace(0, 1, 256)[:, None]
    for one, other in itertools.combinations(range(6), 2):
        blend = np.rint(COLOURS[one] * (1 - shares) + COLOURS[other] * shares)
        words = read(tiny, bmp(blend[None]))[0]
        assert words[0] == one and words[-1] == other
        assert {one, other, 255} >= set(words.tolist()), (WORDS[one], WORDS[other])


def test_masks_are_opened_when_needed_also_by_worker_processes(tiny):
    root = tiny.root({"V2/Test_RGB/1.bmp": picture(1), "V2/Test_Labels/1.bmp": painted(np.full((10, 12), 4))})
    (record,) = pickle.loads(pickle.dumps(list(records(root).values())))
    assert callable(record.labels["parsing"])
    assert (record.labels["parsing"]() == 4).all()


def test_words_leave_what_is_painted_alike_and_say_nothing_of_hats():
    meaning = fasseg.answers["parsing"]
    names = np.array(tasks.parsing.vocabulary)
    possible = {word: set(names[meaning.table[meaning.index(word)]]) for word in WORDS}
    assert {"hair", "l_brow", "r_brow"} <= possible["hair"] and not possible["hair"] & {"skin", "background"}
    assert {"skin", "l_ear", "r_ear", "neck"} <= possible["skin"] and possible["mouth"] == {"mouth", "u_lip", "l_lip"}
    assert "cloth" in possible["background"]
    assert set(names[~meaning.scope]) == {"hat"}


def test_a_minus_in_the_folder_is_a_nose_to_the_images_right(tiny):
    files = {f"{turned(yaw)}.bmp": picture(i) for i, yaw in enumerate(("-90", "-15", "0", "+30"))}
    found = records(tiny.root(files))
    assert {key.split("/")[2]: record.labels["pose"] for key, record in found.items()} == {"-90": {"yaw": 90}, "-15": {"yaw": 15}, "0": {"yaw": 0}, "+30": {"yaw": -30}}
    assert {record.subject for record in found.values()} == {"personne08"}


def test_a_turned_head_without_a_mask_answers_pose_alone_and_a_portrait_without_one_is_absent(tiny):
    root = tiny.root({f"{turned('+45')}.bmp": picture(1), "V2/Test_RGB/1.bmp": picture(2)})
    listing = fasseg.list_records(root, "test")
    assert [set(record.labels) for record in listing.records] == [{"pose"}]
    assert listing.absent == ("V2/Test_Labels/1.bmp",) and not listing.problems


def test_a_mask_of_another_cut_is_refused_by_name_and_the_yaw_is_kept(tiny):
    name = turned("+60")
    mask = name.replace("_RGB", "_labels")
    listing = fasseg.list_records(tiny.root({f"{name}.bmp": picture(1), f"{mask}.bmp": picture(2, width=11)}), "test")
    assert [str(problem) for problem in listing.problems] == [f"{mask}.bmp: a mask of 11 x 10 for a picture of 12 x 10"]
    assert [set(record.labels) for record in listing.records] == [{"pose"}]


def test_test_photographs_leave_training_by_bytes_and_by_name(tiny):
    files = {}
    for part, numbers in (("Train", range(1, 21)), ("Test", range(1, 4))):
        for number in numbers:
            seed = 1 if (part, number) in (("Train", 15), ("Test", 2)) else 100 * len(part) + number
            files |= {f"V2/{part}_RGB/{number}.bmp": picture(seed), f"V2/{part}_Labels/{number}.bmp": painted(np.zeros((10, 12), int))}
    root = tiny.root(files)
    trained = {key for split in ("train", "validation") for key in records(root, split)}
    assert trained == {f"V2/Train_RGB/{number}" for number in (2, 4, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19, 20)}
    assert set(records(root)) == {f"V2/Test_RGB/{number}" for number in (1, 2, 3)}


def test_people_of_v3_stay_in_one_split(tiny):
    files = {
        f"{turned(yaw, 'Train', f'{person:02}', series)}.bmp": picture(100 * person + 10 * series + i)
        for person in range(1, 8)
        for series in (1, 2)
        for i, yaw in enumerate(("0", "+15"))
    }
    people = [{record.subject for record in records(tiny.root(files), split).values()} for split in ("train", "validation")]
    assert len(people[0]) + len(people[1]) == 7 and people[1] == {"personne03"}


def test_v1_which_holds_the_photographs_of_v2_is_not_read(tiny):
    files = {"V1/Test_RGB/1.bmp": picture(1), "V1/Test_Labels/1.bmp": picture(1)}
    with pytest.raises(InputError, match="no picture of FASSEG, split test"):
        fasseg.records(tiny.root(files), "test")


def test_a_picture_cut_short_is_refused_by_name(tiny):
    listing = fasseg.list_records(tiny.root({"V2/Test_RGB/1.bmp": picture(1)[:20], "V2/Test_Labels/1.bmp": picture(2)}), "test")
    assert not listing.records and "V2/Test_RGB/1.bmp" in str(listing.problems[0])
