"""Exit statuses and one-line messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface.errors import InputError, PolyfaceError, RequestError, RunError, nearest, reason, respelled, shortened


@pytest.mark.parametrize(("kind", "status"), [(InputError, 1), (RequestError, 2), (RunError, 3), (PolyfaceError, 3)])
def test_each_error_has_the_exit_status_of_the_command_line(kind: type[PolyfaceError], status: int) -> None:
    assert kind("x").exit_status == status and issubclass(kind, PolyfaceError)


@given(st.text())
def test_whatever_an_error_is_made_of_it_is_one_line(text: str) -> None:
    for line in (str(InputError(text)), reason(ValueError(text)), reason(InputError(text))):
        assert len(line.splitlines()) <= 1


def test_a_foreign_exception_is_named_by_its_type_and_ours_is_not() -> None:
    assert reason(ValueError("a\n b")) == "ValueError: a b"
    assert reason(KeyError()) == "KeyError"
    assert reason(InputError("a.jpg: is  cut\nshort")) == "a.jpg: is cut short"


def test_names_that_look_alike_are_told_apart() -> None:
    composed, apart = "Jos\u00e9", "Jose\u0301"
    assert "another form of Unicode" in nearest(composed, ["Ana", apart]) and nearest(composed, ["Jose"]) == "; did you mean 'Jose'?"


@pytest.mark.parametrize(
    ("name", "there", "said"),
    [
        ("a\\b.jpg", "a/b.jpg", "; a/b.jpg is there: folders end in /, not in \\"),
        ("a/b.JPG", "a/b.jpg", "; a/b.jpg is there: its ending is in small letters"),
        ("a/b.jpg", "a/b.JPG", "; a/b.JPG is there: its ending is in capitals"),
        ("Jos\u00e9/b.jpg", "Jose\u0301/b.jpg", "; Jose\u0301/b.jpg is there: its accents are written in another form of Unicode (NFD)"),
        ("Jose\u0301/b.jpg", "Jos\u00e9/b.jpg", "; Jos\u00e9/b.jpg is there: its accents are written in another form of Unicode (NFC)"),
        ("a\\b.jpg", "a/b.JPG", "; a/b.JPG is there: folders end in /, not in \\ and its ending is in capitals"),
        ("a/b.jpg", "a/c.jpg", ""), ("b", "B", ""), ("", "a", ""),
    ],
)  # fmt: skip
def test_a_file_that_is_there_under_another_spelling_is_named(name: str, there: str, said: str) -> None:
    assert respelled(name, {there}.__contains__) == said


def test_of_many_lines_the_first_are_said_and_the_rest_counted() -> None:
    assert shortened([1, InputError("b")], 2) == ["1", "b"]
    assert shortened([*"abcd"], 2) == ["a", "b", "and 2 more"]
