import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from polyface import terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def seen(self) -> list[str]:
        return [line.rstrip() for line in re.sub("\x1b\\[[0-9;]*m", "", self.getvalue()).splitlines()]


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


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_a_terminal_of_any_width_breaks_no_word_and_no_number(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    file, words = Terminal(), "Southeast Asian, or Latino Hispanic, Mouth Slightly Open"
    terminal.table([{"task": "expression", "metric": "balanced accuracy", "value": 0.6392, "n": 2303, "answer": words, "nothing": None} for _ in range(3)], file=file)
    said = "\n".join(file.seen())
    assert all(said.count(word) == 3 for word in ("expression", "accuracy", "0.6392", "2303", "Southeast", "Slightly"))
    assert max(map(len, file.seen())) <= columns


def test_a_row_told_in_lines_goes_on_with_the_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "36")
    file = Terminal()
    terminal.table([{"picture": "photograph.jpg", "nearest": "another-photograph.jpg"}, {"picture": None, "nearest": "third-photograph.jpg"}], title="found", file=file)
    assert file.seen() == ["found", "picture photograph.jpg", "  nearest another-photograph.jpg", "  nearest third-photograph.jpg"]


def test_nothing_is_said_to_be_certain_and_one_thing_is_one() -> None:
    assert [terminal.percent(share) for share in (1.0, 0.996, 0.995, 0.004)] == [">99%", ">99%", ">99%", "<1%"]
    assert [terminal.count(1, "face"), terminal.count(2000, "face"), terminal.count(0, "person", "people")] == ["1 face", "2,000 faces", "0 people"]


def test_names_of_files_move_no_cursor(capsys: pytest.CaptureFixture) -> None:
    terminal.say("\x1b]0;owned\x07\x1b[2Ja.jpg: empty")
    assert capsys.readouterr().err == "polyface: ?]0;owned??[2Ja.jpg: empty\n"


def test_answers_in_words_move_no_cursor_and_keep_their_lines(capsys: pytest.CaptureFixture) -> None:
    terminal.tell("same\n\x1b[2J\x9b31m\u202egpj.a\r")
    assert capsys.readouterr().out == "same\n?[2J?31m?gpj.a?\n"


def test_no_rows_print_nothing() -> None:
    file = io.StringIO()
    terminal.table([], title="scores", file=file)
    assert file.getvalue() == ""


def test_where_nobody_watches_a_line_a_minute_says_how_far_it_is(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 59.0, 61.0, 61.0, 100.0, 130.0, 130.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    with terminal.progress("steps") as report:
        for done in range(3):
            report(1000 + done, 12_000, "loss 0.5")
        report(1003)
    assert capsys.readouterr().err == "polyface: steps 1,001 of 12,000 loss 0.5\npolyface: steps 1,003\n"


def test_progress_of_less_than_a_minute_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture) -> None:
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


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_what_is_printed_beside_a_bar_goes_where_it_is_sent(tmp_path: Path) -> None:
    """`polyface analyze PHOTOS > answers.jsonl`, typed at a terminal."""
    import pty

    code = "from polyface import terminal\nwith terminal.progress('pictures', 2) as report:\n    report(1)\n    print('x' * 300)"
    ours, theirs = pty.openpty()
    with open(tmp_path / "out", "wb") as out:
        assert subprocess.run([sys.executable, "-c", code], stdout=out, stderr=theirs, timeout=60).returncode == 0
    os.close(theirs)
    os.close(ours)
    assert (tmp_path / "out").read_text() == "x" * 300 + "\n"
