import pickle

import cv2
import numpy as np
import pytest

from polyface import tasks
from polyface.datasets import celebamask, contract, split_of
from polyface.errors import InputError


def part(mask: np.ndarray) -> bytes:
    return cv2.imencode(".png", (mask * 255).astype(np.uint8))[1].tobytes()


def original(tiny, count=1):
    """The public layout: pictures of 32 pixels, part files of 16; skin everywhere, nose in the middle, hair above."""
    skin, nose, hair = np.ones((16, 16), bool), np.zeros((16, 16), bool), np.zeros((16, 16), bool)
    nose[6:10, 6:10], hair[:4] = True, True
    files = {}
    for number in range(count):
        files[f"CelebA-HQ-img/{number}.jpg"] = tiny.noise(number, 32, 32)
        for name, mask in (("skin", skin), ("nose", nose), ("hair", hair)):
            files[f"CelebAMask-HQ-mask-anno/{number // 2000}/{number:05}_{name}.png"] = part(mask)
    return files


def records(root):
    return [record for split in celebamask.splits for record in celebamask.list_records(root, split).records]


def test_a_mask_is_opened_only_when_it_is_needed(tiny):
    root = tiny.root({"images/a.jpg": tiny.noise(1), "masks/a.png": b"<html>"})
    (record,) = records(root)
    with pytest.raises(InputError, match=r"masks/a.png"):
        record.labels["parsing"]()


def test_part_files_are_painted_in_the_order_of_the_classes_and_fit_the_picture(tiny):
    (record,) = records(tiny.root(original(tiny)))
    mask = record.labels["parsing"]()
    names = np.array(tasks.parsing.vocabulary)
    assert mask.shape == (32, 32)
    assert names[mask[2, 2]] == "hair" and names[mask[16, 16]] == "nose" and names[mask[30, 2]] == "skin"
    assert set(names[np.unique(mask)]) == {"skin", "nose", "hair"}


def test_the_original_layout_keeps_the_contract(tiny):
    root = tiny.root({f"CelebAMask-HQ/{name}": content for name, content in original(tiny, 60).items()})
    assert contract.check(celebamask, root) == []
    assert len(records(root)) == 60


def test_the_aligned_points_are_those_of_pictures_of_1024_and_of_512(tiny):
    (large,) = records(tiny.root(original(tiny)))
    (small,) = records(tiny.root({"images/a.jpg": tiny.noise(1), "masks/a.png": tiny.mask(1)}))
    np.testing.assert_allclose(large.alignment.points[0], (382.8, 483.6))
    np.testing.assert_allclose(small.alignment.points[0], (191.4, 241.8))


def test_what_macos_leaves_beside_a_picture_is_no_record(tiny):
    files = {"images/a.jpg": tiny.noise(1), "masks/a.png": tiny.mask(1), "images/._a.jpg": b"\0\5\x16\7", "masks/._a.png": b"\0\5\x16\7"}
    assert [record.key for record in records(tiny.root(files))] == ["a"]


def test_an_unknown_part_is_refused_by_name(tiny):
    files = original(tiny)
    files["CelebAMask-HQ-mask-anno/0/00000_noze.png"] = files["CelebAMask-HQ-mask-anno/0/00000_nose.png"]
    listing = celebamask.list_records(tiny.root(files), split_of(files["CelebA-HQ-img/0.jpg"]))
    assert not listing.records and "no part 'noze' here; did you mean 'nose'?" in str(listing.problems[0])


def test_parts_of_another_size_are_refused(tiny):
    files = original(tiny)
    files["CelebAMask-HQ-mask-anno/0/00000_nose.png"] = part(np.ones((8, 8)))
    with pytest.raises(InputError, match=r"00000_skin.png|00000_nose.png"):
        records(tiny.root(files))[0].labels["parsing"]()


def test_parts_that_do_not_cover_the_picture_are_refused(tiny):
    files = original(tiny)
    files["CelebA-HQ-img/0.jpg"] = tiny.noise(0, 40, 32)
    with pytest.raises(InputError, match="do not cover a picture of 40 x 32"):
        records(tiny.root(files))[0].labels["parsing"]()


def test_a_picture_without_mask_is_absent_and_unlabelled_pictures_are_no_records(tiny):
    files = {"images/a.jpg": tiny.noise(1), "images/b.jpg": tiny.noise(2), "masks/a.png": tiny.mask(1), "unlabelled/c.jpg": tiny.noise(3)}
    listings = [celebamask.list_records(tiny.root(files), split) for split in celebamask.splits]
    assert [record.key for listing in listings for record in listing.records] == ["a"]
    assert [name for listing in listings for name in listing.absent] == ["masks/b.png"]


def test_records_travel_to_worker_processes(tiny):
    for files in (original(tiny), {"images/a.jpg": tiny.noise(1), "masks/a.png": tiny.mask(1)}):
        (record,) = records(tiny.root(files))
        copy = pickle.loads(pickle.dumps(record))
        np.testing.assert_array_equal(copy.labels["parsing"](), record.labels["parsing"]())
