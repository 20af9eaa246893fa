"""LFWA's forty words as a table, and LFW's own 73 attributes as scores."""

import pytest

from polyface.datasets import lfwa
from polyface.errors import InputError
from polyface.tasks import attributes, gender

TITLES = ["Male", "Asian", "Youth", "Attractive Man", "5 o' Clock Shadow", "Mouth Slightly Open", "Wearing Necklace"]


def scores(*rows, titles=TITLES):
    return "\n".join(["# LFW attributes", "\t".join(["#", "person", "imagenum", *titles]), *rows]) + "\n"


def pictures(tiny):
    return {name: content for name, content in tiny.layouts["lfwa"]().items() if name.endswith(".jpg")}


def test_the_forty_words_of_the_table_are_yes_or_no(tiny):
    listing = lfwa.records(tiny.root(tiny.layouts["lfwa"]()), "test")
    record = listing.records[0]
    assert record.key == "Ann_Lee_0001" and record.subject == "Ann Lee" and record.source.name == "lfw/Ann_Lee/Ann_Lee_0001.jpg" and record.alignment.how == "guess"
    assert record.labels[attributes.name] == {word: at % 3 == 0 for at, word in enumerate(attributes.vocabulary)}
    assert record.labels[gender.name] == "not Male" and record.groups == {gender.name: "female"}


def test_minus_one_is_no_and_underscores_are_spaces(tiny):
    files = tiny.layouts["lfwa"]()
    table = files.pop("lfw_att_40.csv").replace("0.0", "-1").replace(" ", "_").replace("\\", "/")
    same = lfwa.records(tiny.root({**files, "list_attr_LFWA.csv": table}), "test").records
    assert [record.labels for record in same] == [record.labels for record in lfwa.records(tiny.root(tiny.layouts["lfwa"]()), "test").records]


def test_scores_above_0_are_yes_and_words_that_celeba_does_not_have_are_left_out(tiny):
    rows = ["Ann Lee\t2\t1.5\t-1\t0.3\t2\t-0.25\t0\t0.01", "Ann Lee\t9\t1\t1\t1\t1\t1\t1\t1"]
    listing = lfwa.records(tiny.root({**pictures(tiny), "lfw_attributes.txt": scores(*rows)}), "test")
    (record,) = listing.records
    assert record.key == "Ann_Lee_0002" and listing.absent == ("Ann_Lee_0009.jpg",)
    assert record.labels == {
        attributes.name: {"Male": True, "5_o_Clock_Shadow": False, "Mouth_Slightly_Open": False, "Wearing_Necklace": True},
        gender.name: "Male",
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.replace("1.0", "2", 1), "lfw_att_40.csv, row 2: values other than 1 and 0 or -1"),
        (lambda table: table.replace("1.0", "yes", 1), "lfw_att_40.csv, row 2: 'yes' is no number"),
        (lambda table: table + table.split("\n")[1] + "\n", "lfw_att_40.csv, row 10: Ann_Lee_0001 is listed a second time"),
    ],
)
def test_a_wrong_row_of_the_table_is_refused_by_row(tiny, change, said):
    files = tiny.layouts["lfwa"]()
    listing = lfwa.records(tiny.root({**files, "lfw_att_40.csv": change(files["lfw_att_40.csv"])}), "test")
    assert [str(problem) for problem in listing.problems] == [said]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("lfw_att_40.csv", ",Male\nA,1\n", "lfw_att_40.csv: no column '5_o_Clock_Shadow', 39 are missing in all"),
        ("lfw_attributes.txt", "# a\n# b\tc\n", "row 2: not the titles"),
        ("lfw_attributes.txt", "", "row 2: not the titles"),
        ("lfw_attributes.txt", scores(titles=["Bald"]), "no column 'Male'"),
        ("other.txt", "", "lfw_attributes.txt is missing"),
    ],
)
def test_a_table_that_is_none_is_refused_by_name(tiny, file, content, said):
    with pytest.raises(InputError, match=said):
        lfwa.records(tiny.root({**pictures(tiny), file: content}), "test")


def test_a_wrong_row_of_the_scores_is_refused_by_row(tiny):
    rows = ["Ann Lee\t1\t1", "Ann Lee\tone" + "\t1" * 7, "Ann Lee\t1" + "\tx" * 7, "Bob\t1" + "\t1" * 7]
    listing = lfwa.records(tiny.root({**pictures(tiny), "lfw_attributes.txt": scores(*rows)}), "test")
    assert [record.key for record in listing.records] == ["Bob_0001"]
    assert [str(problem).split(": ")[0] for problem in listing.problems] == [f"lfw_attributes.txt, row {at}" for at in (3, 4, 5)]
