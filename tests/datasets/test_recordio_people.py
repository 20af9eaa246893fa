"""People of a .rec: read in place, by their labels, in one split each."""

import struct

import pytest

from polyface.datasets import recordio
from polyface.errors import InputError
from polyface.tasks import identity


def test_pictures_are_read_in_place_and_records_about_people_are_none(tiny):
    root = tiny.root(tiny.layouts["recordio"]())
    records = [record for split in recordio.splits for record in recordio.records(root, split).records]
    found = {int(record.key.removeprefix("train-")): record for record in records}
    assert sorted(found) == list(range(1, 81))
    assert all(record.source.read() == tiny.noise(number - 1) for number, record in found.items())
    assert all(record.labels == {identity.name: f"number {number - 1}"} and record.alignment is None for number, record in found.items())


def test_pictures_of_112_are_cut_to_the_template_if_property_says_so(tiny):
    files = {**tiny.layouts["recordio"](), "property": "80,112,112"}
    assert all(record.alignment.how == "stated" for record in recordio.records(tiny.root(files), "train").records)
    del files["property"]
    assert all(record.alignment is None for record in recordio.records(tiny.root(files), "train").records)


def test_a_recipe_trains_on_it_in_an_order_of_its_own_and_every_picture_once_a_pass(tiny):
    from polyface.images.align import Crop
    from polyface.training import batches, config, examples

    people = {**tiny.layouts["recordio"](80, 112), "property": "80,112,112"}
    tiny.write(people, tiny.folder / "data/recordio")
    recipe = config.from_table({"name": "x", "steps": 9, "data": [{"set": "recordio"}]}, "x")
    (source,) = examples.training_sources(recipe, tiny.folder / "data")
    count = len(source.examples.items)
    mixed = batches.mix([source], [identity], count, Crop(32, 7.5, (16.0, 15.0)), recipe.augment, 1)
    passes = [batches.draw_batch(mixed, step, 32) for step in range(2)]
    listed = [f"recordio/{example.record.key}" for example in source.examples.items]
    assert all(sorted(batch.keys) == sorted(listed) for batch in passes) and list(passes[0].keys) != listed != list(passes[1].keys) != list(passes[0].keys)
    assert sorted(passes[0].labels[identity.name]["person"]) == list(range(count)) and passes[0].images.std() > 5


@pytest.mark.parametrize("label", [0.5, -1.0, 80.0, 1e20, float("nan"), float("inf")])
def test_a_label_that_is_nobody_is_refused_by_record(tiny, label):
    files = tiny.layouts["recordio"]()
    files["train.rec"] = files["train.rec"][:12] + struct.pack("<f", label) + files["train.rec"][16:]
    root = tiny.root(files)
    listing = recordio.records(root, "train")
    assert [str(problem) for problem in listing.problems] == [f"{root.label}/train.rec/1: the label {label:g} is none of the 80 people"]
    assert "train-1" not in {record.key for record in listing.records}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"property": "80,112\n"}, "property is not `people,height,width`: '80,112'"),
        ({"property": "80,a,112\n"}, "property is not `people,height,width`"),
        ({"property": "16777217,112,112"}, "16777217 people, whom float32 labels do not tell apart"),
        ({"other.rec": b"x"}, "other.rec and train.rec are there; a set of people is one"),
        ({"train.rec": b"damaged"}, "train.rec, record 0, byte 0: cut short"),
    ],
)
def test_what_is_no_set_of_people_is_refused_by_name(tiny, change, said):
    with pytest.raises(InputError, match=said):
        recordio.records(tiny.root({**tiny.layouts["recordio"](), **change}), "train")


def test_a_set_without_a_rec_and_one_inside_an_archive_are_refused(tiny):
    with pytest.raises(InputError, match=r"no \.rec is there"):
        recordio.records(tiny.root({"property": "1,112,112"}), "train")
    with pytest.raises(InputError, match=r"train\.rec cannot be read inside an archive; unpack it"):
        recordio.records(tiny.write(tiny.layouts["recordio"](), tiny.folder / "a.zip"), "train")


def test_a_file_that_changed_is_read_anew(tiny):
    files = tiny.layouts["recordio"]()
    root = tiny.root(files)
    before = len(recordio.records(root, "train").records)
    first = files["train.idx"].splitlines()[:20]
    tiny.write({"train.idx": "\n".join(first)}, tiny.folder / "set0")
    assert len(recordio.records(root, "train").records) < before
