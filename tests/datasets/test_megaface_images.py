"""MegaFace's tree of distractors and its boxes."""

import pytest

from polyface.datasets import megaface
from polyface.tasks import identity


def test_a_distractor_is_named_as_in_the_devkit_and_has_a_box(tiny):
    listing = megaface.records(tiny.root(tiny.layouts["megaface"]()), "test")
    record = next(record for record in listing.records if record.key == "901/901950@N08/8032652770_0.jpg")
    assert record.boxes.tolist() == [[2.5, 3, 12.5, 14]] and record.subject == record.labels[identity.name] == "901/901950@N08"
    assert megaface.splits == ("test",)


def test_a_photograph_without_its_json_has_no_box(tiny):
    files = {name: content for name, content in tiny.layouts["megaface"]().items() if not name.endswith(".json")}
    listing = megaface.records(tiny.root(files), "test")
    assert len(listing.records) == 4 and all(record.boxes is None for record in listing.records)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no bounding_box of x, y, width and height"),
        ("[1]", "no bounding_box"),
        ('{"bounding_box": {"x": 1, "y": 2, "width": "wide", "height": 3}}', "no bounding_box"),
        ('{"bounding_box": {"x": 1, "y": 2, "width": NaN, "height": 3}}', "a bounding_box of nan x 3"),
        ('{"bounding_box": {"x": 1, "y": 2, "width": 0, "height": 3}}', "a bounding_box of 0.0 x 3"),
        ('{"bounding_box": {"x": 1, "y": 2, "width": 1%s, "height": 3}}' % ("0" * 400), "no bounding_box"),
        ('{"bounding_box": {"x": 1e308, "y": 2, "width": 1e308, "height": 3}}', "a bounding_box of 1e+308 x 3"),
        (b"\xff\xfe", "no UTF-8"),
    ],
)
def test_a_wrong_box_is_refused_by_file(tiny, content, said):
    files = tiny.layouts["megaface"]()
    name = "FlickrFinal2/901/901950@N08/8032652770_0.jpg"
    listing = megaface.records(tiny.root({**files, f"{name}.json": content}), "test")
    assert len(listing.records) == 3 and len(listing.problems) == 1
    assert str(listing.problems[0]).startswith(f"{name}: {name}.json: ") and said in str(listing.problems[0])
