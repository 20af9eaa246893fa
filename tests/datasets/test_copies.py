"""Who is the same: photographs by their thumbnails, people by their names."""

import numpy as np
import pytest

from polyface.datasets import copies
from polyface.datasets.base import Record
from polyface.images.read import Directory, Source


def thumbnails(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 400), dtype=np.uint8))


def test_a_copy_is_found_brighter_noisier_and_with_more_contrast() -> None:
    originals = thumbnails(50)
    random = np.random.default_rng(1)
    changed = [np.clip(0.6 * original.astype(float) + 40 + random.normal(0, 4, 400), 0, 255).astype(np.uint8) for original in originals[10:13]]
    best, whose = copies.near_copies(copies.comparable([*changed, *thumbnails(5, 9)]), copies.comparable(originals))
    assert whose[:3].tolist() == [10, 11, 12] and (best[:3] > copies.NEAR).all() and (best[3:] < 0.5).all()


def test_blocks_change_nothing() -> None:
    rows, others = copies.comparable(thumbnails(23)), copies.comparable(thumbnails(9, 1))
    whole, parts = copies.near_copies(rows, others), copies.near_copies(rows, others, block=4)
    assert np.array_equal(whole[1], parts[1]) and np.allclose(whole[0], parts[0])
    assert np.array_equal(whole[1], (rows @ others.T).argmax(1))


def test_where_nothing_is_to_be_compared_nothing_is_a_copy() -> None:
    none, some = copies.comparable([]), copies.comparable(thumbnails(3))
    assert copies.near_copies(some, none)[0].tolist() == [-1, -1, -1] and len(copies.near_copies(none, some)[0]) == 0


def test_a_flat_thumbnail_is_like_nothing_not_even_another() -> None:
    flat = copies.comparable([np.full(400, 7, np.uint8), np.full(400, 200, np.uint8)])
    assert np.isfinite(flat).all() and (flat @ np.concatenate([flat, copies.comparable(thumbnails(3))]).T < copies.NEAR).all()


def test_the_grey_around_two_dark_faces_and_the_light_on_them_make_nobody_alike() -> None:
    y, x = np.mgrid[-1:1:20j, -1:1:20j]
    faces = np.random.default_rng(0).normal(0, 3, (2, 20, 20)) + 20 + 15 * x + 5 * x * y
    faces[:, [0, 1, 2, 3, 17, 18, 19]] = faces[:, :, [0, 1, 2, 3, 16, 17, 18, 19]] = 128
    dark = faces.round().astype(np.uint8).reshape(2, 400)
    one, other = copies.comparable(dark)
    assert np.corrcoef(dark)[0, 1] > 0.98 and abs(one @ other) < 0.3


@pytest.mark.parametrize(
    ("one", "other"),
    [("Penélope Cruz", "penelope_cruz"), ("Bob Jr", "Bob, Jr."), ("  Ann  Lee ", "Ann-Lee"), ("José María", "Jose Maria"), ("ОЛЬГА  Ким", "Ольга_Ким")],
)
def test_one_name_in_two_spellings_is_one_person(one: str, other: str) -> None:
    assert copies.person_name(one) == copies.person_name(other) != ""


@pytest.mark.parametrize(("one", "other"), [("Ann Lee", "Ann Leigh"), ("王菲", "李娜"), ("Ольга", "Анна"), ("Ann Lee", "Annlee")])
def test_two_names_are_two_people_in_any_script(one: str, other: str) -> None:
    assert copies.person_name(one) != copies.person_name(other)


def test_a_photograph_keeps_its_name_in_another_folder() -> None:
    def named(key: str) -> str:
        return copies.photograph_name(Record(key, Source(Directory("x"), key), {}))

    assert named("lfw_5590/Ann_Lee_0001.jpg") == named("Ann_Lee_0001") == "ann_lee_0001" != named("Ann_Lee_0002")
