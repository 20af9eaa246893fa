import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface import tasks
from polyface.datasets.base import Record
from polyface.datasets.tables import AGE_GROUPS, Rows, age_group, as_text, check_label, csv_rows, find, lines, number, text, whole
from polyface.errors import InputError
from polyface.images.read import Source
from polyface.labels import Ranges


def test_rows_count_as_an_editor_counts_them():
    assert [row for row, _ in csv_rows("a,b\n1,2\n\n3,4\n", "t.csv", "ab", Rows({}))] == [2, 4]
    assert [row for row, _ in lines("x 1\n\n y 2\n")] == [1, 3]


def test_a_short_row_has_empty_cells_and_spaces_are_stripped():
    assert csv_rows(" a ,b\n 1\n", "t.csv", "ab", Rows({})) == [(2, {"a": "1", "b": ""})]


@pytest.mark.parametrize(("end", "kept"), [("", 1), ("\n", 2), ("\r\n", 2)])
def test_a_row_with_which_a_table_breaks_off_is_refused(end: str, kept: int) -> None:
    rows = Rows({})
    assert len(csv_rows("a,b\n1,2\n3" + end, "t.csv", "ab", rows)) == kept
    assert [str(problem) for problem in rows.listing().problems] == ["t.csv, row 3: breaks off after 1 of 2 fields"] * (2 - kept)


def test_a_quote_that_is_never_closed_is_said_of_the_row_in_which_it_opens() -> None:
    with pytest.raises(InputError, match=r"t.csv, row 3: unexpected end of data"):
        csv_rows('a,b\n1,2\n3,"4\n5,6\n7,8\n', "t.csv", "ab", Rows({}))


def test_a_wrong_quote_refuses_its_row_and_the_rest_goes_on() -> None:
    rows = Rows({})
    assert csv_rows('a,b\n1,2\n"6" x.jpg,3\n\n4,5\n"9" y\n', "t.csv", "ab", rows) == [(2, {"a": "1", "b": "2"}), (5, {"a": "4", "b": "5"})]
    assert csv_rows('"6 x.jpg,3\n7,"8"\n9,10\n', "u.csv", (), rows, ("a", "b")) == [(3, {"a": "9", "b": "10"})]  # open to the next quote, rows behind it too
    said = "',' expected after '\"'"
    assert [str(problem) for problem in rows.listing().problems] == [f"{place}: {said}" for place in ("t.csv, row 3", "t.csv, row 6", "u.csv, rows 1 to 2")]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('a,b\n"6" x.jpg,3\n1,"2\n3,4', "t.csv, row 3: unexpected end of data"),
        ('a,"b" c\n1,2\n', "t.csv, row 1: ',' expected after '\"'"),
        ('a,b\n1,"' + "2,3\n" * 40_000 + '"\n', "t.csv, row 2: field larger than field limit (131072)"),
    ],
)
def test_a_table_of_which_nobody_knows_where_its_rows_begin_is_refused(content: str, line: str) -> None:
    with pytest.raises(InputError) as refused:
        csv_rows(content, "t.csv", "ab", Rows({}))
    assert str(refused.value) == line


def test_a_byte_order_mark_is_no_part_of_the_first_column(tiny):
    root = tiny.root({"t.csv": b"\xef\xbb\xbffile,x\n1,2\n"})
    assert csv_rows(text(root, "t.csv"), "t.csv", ["file"], Rows({}))[0][1]["file"] == "1"


def test_a_file_that_is_no_text_is_refused_by_name():
    with pytest.raises(InputError, match=r"t.csv: no UTF-8 text, at byte 2, in row 1$"):
        as_text(b"ab\xff", "t.csv")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00", "t.csv: no UTF-8 text but a spreadsheet (.xlsx) or a .zip; save it as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "t.csv: no UTF-8 text but an old spreadsheet (.xls); save it as CSV UTF-8"),
        ("file,x\n1,2\n".encode("utf-16"), "t.csv: no UTF-8 text but UTF-16; save it as CSV UTF-8"),
        (b"PAR1\x15\x04PAR1", "t.csv: no UTF-8 text but Parquet; its name should end in .parquet"),
    ],
)
def test_a_table_that_was_saved_as_something_else_is_refused_by_what_it_is(data, line):
    with pytest.raises(InputError) as refused:
        as_text(data, "t.csv")
    assert str(refused.value) == line
    assert as_text(b"PK,PAR1\n1,2\n", "t.csv")  # columns may be called so


def test_a_table_that_is_not_separated_by_commas_is_refused_with_what_it_is_separated_by():
    for mark, said in ((";", "';'"), ("\t", r"'\t'")):
        with pytest.raises(InputError) as refused:
            csv_rows(f"a{mark}b\n1{mark}2\n", "t.csv", "ab", Rows({}))
        assert str(refused.value) == f"t.csv: separated by {said}? commas are read"
    assert csv_rows("a,b;c\n1,2\n", "t.csv", ["b;c"], Rows({}))[0][1] == {"a": "1", "b;c": "2"}
    with pytest.raises(InputError, match=r"t.csv: no column 'b'"):
        csv_rows("a,b;c\n1,2\n", "t.csv", "ab", Rows({}))


def test_a_row_of_too_many_fields_is_refused_and_the_rest_goes_on():
    rows = Rows({})
    assert csv_rows("a,b\n1,34,5\n2,3,,\n4,5\n", "t.csv", "ab", rows) == [(3, {"a": "2", "b": "3"}), (4, {"a": "4", "b": "5"})]
    assert csv_rows("1,2\n1,2,3\n", "u.csv", (), rows, ("a", "b")) == [(1, {"a": "1", "b": "2"})]
    assert [str(problem) for problem in rows.listing().problems] == ["t.csv, row 2: 3 fields where the header has 2", "u.csv, row 2: 3 fields where the header has 2"]


def test_an_empty_csv_lacks_its_columns():
    with pytest.raises(InputError, match=r"t.csv: no column 'a'"):
        csv_rows("", "t.csv", "a", Rows({}))


def test_a_column_that_is_there_twice_is_refused_where_it_is_asked_for():
    with pytest.raises(InputError, match=r"^t.csv: the column 'b' is there twice$"):
        csv_rows("a,b, b\n1,2,3\n", "t.csv", "ab", Rows({}))
    assert csv_rows("a,b,b\n1,2,3\n", "t.csv", "a", Rows({}))[0][1]["a"] == "1"


@given(st.text())
def test_any_text_gives_rows_of_all_columns_or_one_line(content):
    try:
        rows = csv_rows("a,b\n" + content, "t.csv", "ab", Rows({}))
    except InputError as error:
        assert str(error).startswith("t.csv, row ")
    else:
        assert all(set(cells) == {"a", "b"} and row >= 2 for row, cells in rows)


@given(st.text(max_size=12))
def test_numbers_are_finite_or_refused(word):
    for read in (number, whole):
        try:
            assert abs(read(word)) < float("inf")
        except InputError as error:
            assert "number" in str(error)


def test_whole_numbers_are_those_that_an_array_can_hold():
    assert [whole(str(value)) for value in (-(2**63), 2**63 - 1)] == np.array([-(2**63), 2**63 - 1], np.int64).tolist()
    for word in (str(2**63), str(-(2**63) - 1), "9" * 5000):
        with pytest.raises(InputError, match="whole number"):
            whole(word)


@pytest.mark.parametrize("read", [number, whole])
def test_an_underscore_is_no_digit(read):
    with pytest.raises(InputError, match=r"^'3_4' is no (whole )?number$"):
        read("3_4")


def test_a_problem_names_where_it_was_and_the_rest_goes_on(tiny):
    root, rows = tiny.root({"a.jpg": b""}), Rows({tasks.age.name: Ranges()})
    for row, years in enumerate((3, 240, 5), 1):
        with rows.row(f"t.csv, row {row}"):
            rows.add(Record(str(row), Source(root, "a.jpg"), {tasks.age.name: years}))
    with rows.row("t.csv, row 4"):
        rows.add(Record("1", Source(root, "a.jpg"), {}))
    listing = rows.listing()
    assert [record.key for record in listing.records] == ["1", "3"]
    assert [str(problem) for problem in listing.problems] == ["t.csv, row 2: age: 240 years is outside 0 to 116", "t.csv, row 4: 1 is listed a second time"]


@given(st.integers(0, 116))
def test_every_age_is_in_the_group_whose_years_hold_it(years):
    low, high = AGE_GROUPS[age_group(years)]
    assert low <= years <= high and age_group(years + 0.9) == age_group(years)


def test_other_errors_than_refusals_are_not_swallowed():
    with pytest.raises(ZeroDivisionError), Rows({}).row("t.csv, row 1"):
        raise ZeroDivisionError


def test_the_least_deep_file_of_a_name_is_found(tiny):
    root = tiny.root({"a/b/list.txt": "", "z/list.txt": "", "z/mylist.txt": ""})
    assert find(root, "list.txt") == "z/list.txt"
    with pytest.raises(InputError, match=r"none.txt is missing"):
        find(root, "none.txt")


def test_a_mask_is_not_opened_to_check_it():
    def mask():
        raise AssertionError("opened")

    check_label(tasks.parsing.name, None, mask)
