import io
import zipfile

import numpy as np
import pytest

from polyface.datasets import celeba, celeba_wild
from polyface.errors import InputError


def keys(dataset, root, split):
    return [record.key for record in dataset.list_records(root, split).records]


def test_attributes_gender_and_person_are_read(tiny):
    files = tiny.layouts["celeba"]()
    line = files["list_attr_celeba.txt"].split("\r\n")[2].split()
    record = celeba.records(tiny.root(files), "train").records[0]
    assert list(record.labels["attributes"].values()) == [value == "1" for value in line[1:]]
    assert record.labels["gender"] == ("Male" if line[21] == "1" else "not Male")
    assert record.labels["identity"] == record.subject == "0"
    assert record.groups == {"gender": "male" if line[21] == "1" else "female", "age": "young" if line[40] == "1" else "not young"}


def test_the_aligned_picture_is_preferred_to_its_half(tiny):
    records = celeba.records(tiny.root(tiny.layouts["celeba"]()), "train").records
    assert [record.source.name.split("/")[0] for record in records[:2]] == ["img_align_celeba", "img_align_celeba_half"]
    whole, half = (record.alignment for record in records[:2])
    assert whole.how == half.how == "stated"
    np.testing.assert_allclose(half.points, whole.points / 2)
    np.testing.assert_allclose(whole.points[0], (69.3, 113.0))


def test_partitions_are_the_splits(tiny):
    root = tiny.root(tiny.layouts["celeba"]())
    assert [len(keys(celeba, root, split)) for split in celeba.splits] == [6, 2, 4]
    assert [len(keys(celeba_wild, root, split)) for split in celeba_wild.splits] == [6, 4]
    assert all(record.alignment is None for record in celeba_wild.records(root, "train").records)


def test_both_sets_name_people_in_one_space(tiny):
    root = tiny.root(tiny.layouts["celeba"]())
    assert celeba.answers["identity"].space == celeba_wild.answers["identity"].space == "celeba"
    people = [{record.key: record.subject for record in dataset.records(root, "test").records} for dataset in (celeba, celeba_wild)]
    assert people[0] == people[1] and len(people[0]) == 4


def test_the_test_person_who_trains_under_four_other_ids_leaves_training(tiny):
    ids = {1: "7312", 2: "7314", 3: "7317", 4: "7320", 5: "8", 6: "8", 9: "7310", 10: "7310"}
    files = {**tiny.layouts["celeba"](), "identity_CelebA.txt": "".join(f"{n:06}.jpg {ids.get(n, n)}\n" for n in range(1, 13))}
    root = tiny.root(files)
    assert keys(celeba, root, "train") == keys(celeba_wild, root, "train") == ["000005.jpg", "000006.jpg"]
    assert {"000009.jpg", "000010.jpg"} <= set(keys(celeba, root, "test"))


def test_the_photograph_that_is_twice_in_test_counts_once(tiny):
    table = tiny.layouts["celeba"]()["list_attr_celeba.txt"].split("\r\n")
    both = ("186574.jpg", "197961.jpg")
    files = {
        **{f"img_align_celeba/{file}": tiny.noise(i) for i, file in enumerate(both)},
        "list_attr_celeba.txt": "\n".join([*table[:2], *(table[2].replace("000001.jpg", file) for file in both)]),
        "identity_CelebA.txt": "".join(f"{file} 9807\n" for file in both),
        "list_eval_partition.txt": "".join(f"{file} 2\n" for file in both),
    }
    assert keys(celeba, tiny.root(files), "test") == ["186574.jpg"]


def test_the_attribute_list_may_lie_in_its_zip_and_files_where_the_download_puts_them(tiny):
    files = tiny.layouts["celeba"]()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("list_attr_celeba.txt", files.pop("list_attr_celeba.txt"))
    moved = {("Img/" if name.endswith(".jpg") else "Anno/") + name: content for name, content in files.items()}
    root = tiny.root({**moved, "Anno/list_attr_celeba.zip": packed.getvalue()})
    assert len(keys(celeba, root, "train")) == 6


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive"])
def test_a_zip_that_is_none_is_refused_by_name(content, tiny):
    files = tiny.layouts["celeba"]()
    del files["list_attr_celeba.txt"]
    with pytest.raises(InputError, match=r"list_attr_celeba.zip: cannot be read"):
        celeba.records(tiny.root({**files, "list_attr_celeba.zip": content}), "train")


def test_a_damaged_list_in_the_zip_is_refused_by_name(tiny):
    files, packed = tiny.layouts["celeba"](), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("list_attr_celeba.txt", files.pop("list_attr_celeba.txt"))
    start = 30 + len("list_attr_celeba.txt")
    damaged = packed.getvalue()[:start] + b"\xff" * 20 + packed.getvalue()[start + 20 :]
    with pytest.raises(InputError, match=r"^list_attr_celeba.zip: cannot be read as an archive \(Error -3"):
        celeba.records(tiny.root({**files, "list_attr_celeba.zip": damaged}), "train")


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "identity_CelebA.txt", "list_eval_partition.txt"])
def test_a_missing_list_is_named(name, tiny):
    files = tiny.layouts["celeba"]()
    del files[name]
    with pytest.raises(InputError, match=f"{name} is missing"):
        celeba.records(tiny.root(files), "train")


@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        ("list_attr_celeba.txt", "000002.jpg ", "000002.jpg 0 ", "list_attr_celeba.txt, row 4: not 40 values of 1 and -1"),
        ("list_attr_celeba.txt", "000002.jpg", "000022.jpg", "list_attr_celeba.txt does not describe 000002.jpg"),
        ("identity_CelebA.txt", "000002.jpg", "000022.jpg", "identity_CelebA.txt does not say who 000002.jpg is"),
        ("list_eval_partition.txt", "000002.jpg 0", "000002.jpg 3", "list_eval_partition.txt, row 2: not `000001.jpg 0`"),
        ("list_eval_partition.txt", "000002.jpg 0", "000001.jpg 0", "list_eval_partition.txt, row 2: 000001.jpg is listed a second time"),
    ],
)
def test_a_bad_row_is_refused_and_the_rest_goes_on(name, old, new, line, tiny):
    files = tiny.layouts["celeba"]()
    files[name] = files[name].replace(old, new, 1)
    listing = celeba.list_records(tiny.root(files), "train")
    assert len(listing.records) == 5
    assert len(listing.problems) == 1 and line in str(listing.problems[0])


def test_other_names_than_the_forty_are_refused(tiny):
    files = tiny.layouts["celeba"]()
    files["list_attr_celeba.txt"] = files["list_attr_celeba.txt"].replace("Smiling", "Smile")
    with pytest.raises(InputError, match="line 2 does not hold the forty names"):
        celeba.records(tiny.root(files), "train")


def test_photographs_of_the_partition_that_are_not_here_are_counted(tiny):
    files = {name: content for name, content in tiny.layouts["celeba"]().items() if "000003.jpg" not in name}
    assert celeba.records(tiny.root(files), "train").absent == ("000003.jpg",)
