"""Helen's masks in their public layout: eleven grey layers for a picture, three lists."""

import cv2
import numpy as np
import pytest

from polyface import tasks
from polyface.datasets import helen_masks
from polyface.datasets.helen_masks import WORDS
from polyface.errors import InputError

CLASSES = tasks.parsing.vocabulary


def png(layer):
    return cv2.imencode(".png", layer)[1].tobytes()


def files_of(tiny, name, layers, above=""):
    return {f"{above}images/{name}.jpg": tiny.noise(1)} | {f"{above}labels/{name}/{name}_lbl{at:02}.png": png(layer) for at, layer in enumerate(layers)}


def lists(train="", tuning="", testing=""):
    return {"exemplars.txt": train, "tuning.txt": tuning, "testing.txt": testing}


def layers():
    """Eleven layers of doubt; the first row of pixels is black in all, and each of the next eleven is lightest in one layer."""
    found = np.random.default_rng(0).integers(1, 120, (11, 16, 16), dtype=np.uint8)
    found[:, 0] = 0
    for at in range(11):
        found[at, at + 1] = 121 + at
    return found


def test_a_pixel_is_what_its_lightest_layer_says_and_nothing_where_all_are_black(tiny):
    root = tiny.root(files_of(tiny, "5_1", layers()) | lists(testing="1 , 5_1\n"))
    (record,) = helen_masks.records(root, "test").records
    mask = record.labels["parsing"]()
    assert mask.dtype == np.uint8 and (mask[0] == 255).all()
    assert all((mask[at + 1] == at).all() for at in range(11))


def test_sides_are_left_open_and_ears_and_neck_are_background():
    words = helen_masks.answers["parsing"]
    possible = {name: {CLASSES[at] for at in np.flatnonzero(row)} for name, row in zip(words.names, words.table, strict=True)}
    assert list(possible) == list(WORDS) and possible["left eye"] == possible["right eye"] == {"l_eye", "r_eye"}
    assert possible["left eyebrow"] == possible["right eyebrow"] == {"l_brow", "r_brow"}
    assert {"l_ear", "r_ear", "neck", "cloth", "hat"} <= possible["background"] and possible["face skin"] == {"skin", "eye_g"} and words.scope.all()


def test_the_lists_are_the_splits_and_a_photograph_of_test_leaves_the_others(tiny):
    names = ["1_1", "1_2", "2_1", "3_1", "3_2"]
    files = {name: content for each in names for name, content in files_of(tiny, each, layers(), "Smith/").items()}
    said = lists("1 , 1_2\n2 , 3_2\n", "1 , 3_1\r\n2 , 2_1\r\n", "1 , 1_1\n")
    root = tiny.root(files | {f"Smith/{name}": content for name, content in said.items()})
    kept = {split: [record.key for record in helen_masks.list_records(root, split).records] for split in helen_masks.splits}
    assert kept == {"train": [], "validation": ["3_1", "2_1"], "test": ["1_1"]}


def test_what_is_absent_or_wrong_is_named_and_the_rest_goes_on(tiny):
    files = files_of(tiny, "5_1", layers()) | files_of(tiny, "6_1", layers()[:10])
    listing = helen_masks.list_records(tiny.root(files | lists(testing="1 , 5_1\n2 , 6_1\n3 , 7_1\nnonsense\n")), "test")
    assert [record.key for record in listing.records] == ["5_1"]
    assert list(listing.absent) == ["labels/6_1/6_1_lbl10.png", "images/7_1.jpg"]
    assert [str(problem) for problem in listing.problems] == ["testing.txt:4: 'nonsense' is no line `N , NAME`"]


def test_layers_of_different_sizes_are_refused_by_name(tiny):
    each = [*layers()[:10], np.zeros((8, 8), np.uint8)]
    (record,) = helen_masks.records(tiny.root(files_of(tiny, "5_1", each) | lists(testing="1 , 5_1\n")), "test").records
    with pytest.raises(InputError, match=r"5_1_lbl10\.png: 8 x 8 pixels, the first layer has 16 x 16"):
        record.labels["parsing"]()
