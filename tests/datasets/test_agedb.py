import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface.datasets import agedb, split_of
from polyface.datasets.agedb import person_of


def listings(root):
    return [agedb.list_records(root, split) for split in agedb.splits]


def test_person_age_and_gender_are_in_the_name(tiny):
    root = tiny.root({"AgeDB/0_MariaCallas_35_f.jpg": tiny.noise(1), "AgeDB/7_PaulMcCartney_60_M.JPG": tiny.noise(2)})
    records = {record.key: record for listing in listings(root) for record in listing.records}
    maria, paul = records["0_MariaCallas_35_f.jpg"], records["7_PaulMcCartney_60_M.JPG"]
    assert (
        maria.labels == {"age": 35, "gender": "f", "identity": "Maria Callas"}
        and maria.subject == "Maria Callas"
        and maria.groups == {"age": "30-39", "gender": "female"}
    )
    assert paul.labels == {"age": 60, "gender": "m", "identity": "Paul McCartney"}


def test_people_stay_in_one_split(tiny):
    root = tiny.root(tiny.layouts["agedb"]())
    for split in agedb.splits:
        records = agedb.records(root, split).records
        assert records and all(split_of(record.subject) == split for record in records)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("MariaCallas", "Maria Callas"),
        ("JohnFKennedy", "John F Kennedy"),
        ("PaulMcCartney", "Paul McCartney"),
        ("ShirleyMacLaine", "Shirley MacLaine"),
        ("DJQualls", "DJ Qualls"),
        ("Jean_Reno", "Jean Reno"),
        ("Cher", "Cher"),
        ("RenéClair", "René Clair"),
    ],
)
def test_names_are_taken_apart_as_other_sets_write_them(written, name):
    assert person_of(written) == name


@given(st.text(min_size=1))
def test_taking_a_name_apart_loses_no_letter(name):
    assert "".join(person_of(name).split()) == "".join(name.replace("_", " ").split())


@pytest.mark.parametrize("file", ["MariaCallas_35_f.jpg", "0_MariaCallas_f.jpg", "0_MariaCallas_35_x.jpg", "0_MariaCallas_2000_f.jpg", "0_MariaCallas_²_f.jpg"])
def test_a_file_named_otherwise_is_refused_by_name_and_the_rest_goes_on(file, tiny):
    found = listings(tiny.root({file: tiny.noise(1), "1_MariaCallas_40_f.jpg": tiny.noise(2)}))
    assert [record.key for listing in found for record in listing.records] == ["1_MariaCallas_40_f.jpg"]
    assert {str(problem) for listing in found for problem in listing.problems} == {f"{file}: not named N_Name_age_m.jpg or N_Name_age_f.jpg"}


def test_an_age_that_nobody_has_is_refused_by_name(tiny):
    found = listings(tiny.root({"1_MariaCallas_140_f.jpg": tiny.noise(2)}))
    assert [str(problem) for listing in found for problem in listing.problems] == ["1_MariaCallas_140_f.jpg: age: 140 years is outside 0 to 116"]
