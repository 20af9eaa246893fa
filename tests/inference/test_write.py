"""What becomes of answers where they cannot be written, and how many of them a table shows."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyface.errors import RequestError, RunError
from polyface.inference import write
from polyface.inference.analyze import ImageAnswers
from polyface.tasks import Task


class Full(io.FileIO):
    """A disk with room for so many bytes more: the last write is a short one."""

    room = 0

    def write(self, content: bytes) -> int:  # type: ignore[override]
        written = super().write(content[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize(("room", "left"), [(5, {}), (20, {write.PART: '{"image":"a"}\n'})])
def test_a_disk_that_fills_up_leaves_whole_lines_beside_those_of_an_earlier_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, left: dict[str, str]) -> None:
    (tmp_path / write.ANSWERS).write_text("earlier")
    monkeypatch.setattr(Full, "room", room)
    monkeypatch.setattr(write, "open", lambda path, mode, buffering: Full(path, mode), raising=False)
    with pytest.raises(RunError, match="cannot be written"), write._Lines(tmp_path) as lines:
        for image in "ab":
            lines.write([{"image": image}])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {write.ANSWERS: "earlier", **left}


def test_a_run_that_is_cut_off_keeps_what_one_before_had_more_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def cut_off(*images: str) -> dict[str, str]:
        with pytest.raises(KeyboardInterrupt), write._Lines(tmp_path) as lines:
            for image in images:
                lines.write([{"image": image}])
            raise KeyboardInterrupt
        return {path.name: path.read_text().replace('{"image":"', "").replace('"}\n', "") for path in tmp_path.iterdir()}

    assert cut_off("a", "b", "c") == {write.PART: "abc"}
    assert cut_off() == {write.BEFORE: "abc"} and f"its answers are in {tmp_path / write.BEFORE}" in capsys.readouterr().err
    assert cut_off("a") == {write.PART: "a", write.BEFORE: "abc"} == cut_off("a")
    assert cut_off("a", "b", "c", "d") == {write.PART: "abcd"}
    with write._Lines(tmp_path) as lines:
        lines.write([{"image": "a"}])
    assert [path.name for path in tmp_path.iterdir()] == [write.ANSWERS]


def test_pictures_are_not_written_among_those_of_others(tmp_path: Path) -> None:
    (tmp_path / "day1").mkdir()
    for name in ("1.jpg", "day1/1.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(RequestError, match="holds pictures, and --pictures could write over them; give another --out"):
        write.analyze(Nobody(), [str(tmp_path / "day1")], None, tmp_path, pictures=True)  # type: ignore[arg-type]
    for _ in range(2):  # among those of an earlier run they are
        assert write.analyze(Nobody(), [str(tmp_path / "day1")], None, tmp_path / "out", pictures=True) == 0  # type: ignore[arg-type]
        (tmp_path / "out" / "1.jpg").touch()


class Nobody:
    """An analyzer that finds no face on anything."""

    def chosen(self, tasks: object) -> tuple[Task, ...]:
        return ()

    def analyze_many(self, pictures: list[Path], tasks: object, every: str) -> Iterator[ImageAnswers]:
        return (ImageAnswers(str(picture)) for picture in pictures)


@pytest.mark.parametrize("more", [0, 1, 7])
def test_a_table_shows_the_first_lines_and_says_where_there_are_more(more: int, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    names = [f"{number:03d}.jpg" for number in range(write.TABLE_ROWS + more)]
    for name in names:
        (tmp_path / name).touch()
    assert write.analyze(Nobody(), [str(tmp_path)], None, tmp_path / "out", pictures=False) == 0  # type: ignore[arg-type]
    output = capsys.readouterr()
    assert [line.split() for line in output.out.splitlines()] == [["image", "face"], *([name, "none"] for name in names[: write.TABLE_ROWS])]
    assert (f"the table shows the first {write.TABLE_ROWS} lines" in output.err) == (more > 0)
    assert len((tmp_path / "out" / write.ANSWERS).read_text().splitlines()) == len(names)


class Twice(Nobody):
    """An analyzer during whose run another one is begun, into the same folder."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def analyze_many(self, pictures: list[Path], tasks: object, every: str) -> Iterator[ImageAnswers]:
        for picture in pictures:
            yield ImageAnswers(str(picture))
            with pytest.raises(RequestError, match=r"out: another run is writing to it$"):
                write.analyze(Nobody(), [str(picture)], None, self.out, pictures=False)  # type: ignore[arg-type]


@pytest.mark.skipif(os.name != "posix", reason="its locks")
def test_a_second_run_into_one_folder_is_refused_and_the_answers_are_those_of_the_first(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg", "c.jpg"]
    for name in names:
        (tmp_path / name).touch()
    out = tmp_path / "out"
    assert write.analyze(Twice(out), [str(tmp_path)], None, out, pictures=False) == 0  # type: ignore[arg-type]
    assert [Path(json.loads(line)["image"]).name for line in (out / write.ANSWERS).read_text().splitlines()] == names
    assert [path.name for path in out.iterdir()] == [write.ANSWERS]
    assert write.analyze(Nobody(), [str(tmp_path / "a.jpg")], None, out, pictures=False) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stem", "cut"), [("short", "short"), ("a" * 12, "a" * 10), ("顔" * 4, "顔" * 3), ("ab" + "😀" * 3, "ab" + "😀" * 2), (os.fsdecode(b"\x80" * 12), None)]
)
def test_a_long_name_is_cut_between_two_characters(stem: str, cut: str | None) -> None:
    found = write._shortened(stem, 10)
    assert stem.startswith(found) and found and len(os.fsencode(found)) <= 10 and cut in (found, None)
