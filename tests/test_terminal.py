import io

import pytest

from polyface import terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


ROWS = [{"name": "a", "value": 1.23456, "note": None}, {"name": "a longer one", "value": 12, "note": "two\nlines"}]


def test_a_table_that_nobody_watches_is_aligned_and_plain() -> None:
    file = io.StringIO()
    terminal.table(ROWS, title="scores", file=file)
    assert file.getvalue().splitlines() == [
        "scores",
        "name          value  note",
        "a             1.235",
        "a longer one     12  two lines",
    ]  # fmt: skip


def test_wide_characters_take_two_columns_and_control_characters_none() -> None:
    file = io.StringIO()
    terminal.table([{"name": "顔", "at": "x"}, {"name": "\x1b[31mred", "at": "y"}], file=file)
    _, wide, red = file.getvalue().splitlines()
    assert wide == "顔        x" and red == "?[31mred  y"


def test_a_table_on_a_terminal_holds_words_as_they_are() -> None:
    file = Terminal()
    terminal.table([{"name": "[bold]not markup[/bold]"}], title="[1]", file=file)
    assert "[bold]not markup[/bold]" in file.getvalue() and "[1]" in file.getvalue()


def test_no_rows_print_nothing() -> None:
    file = io.StringIO()
    terminal.table([], title="scores", file=file)
    assert file.getvalue() == ""


def test_progress_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture) -> None:
    with terminal.progress("steps", 3) as report:
        report(1)
        report(2, 3, "loss 1.0")
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Terminal()
    monkeypatch.setattr("sys.stderr", file)
    with terminal.progress("steps") as report:
        report(2, 3, "loss 1.0")
    assert "steps loss 1.0" in file.getvalue() and "2/3" in file.getvalue()
