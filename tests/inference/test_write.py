"""What becomes of answers where they cannot be written."""

import io
from pathlib import Path

import pytest

from polyface.errors import RunError
from polyface.inference import write


class Full(io.FileIO):
    """A disk with room for so many bytes more: the last write is a short one."""

    room = 0

    def write(self, content: bytes) -> int:  # type: ignore[override]
        written = super().write(content[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize(("room", "left"), [(5, "earlier"), (20, '{"image":"a"}\n')])
def test_a_disk_that_fills_up_leaves_whole_lines_or_those_of_an_earlier_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, left: str) -> None:
    (tmp_path / write.ANSWERS).write_text("earlier")
    monkeypatch.setattr(Full, "room", room)
    monkeypatch.setattr(write, "open", lambda path, mode, buffering: Full(path, mode), raising=False)
    with pytest.raises(RunError, match="cannot be written"), write._Lines(tmp_path) as lines:
        for image in "ab":
            lines.write([{"image": image}])
    assert [path.name for path in tmp_path.iterdir()] == [write.ANSWERS] and (tmp_path / write.ANSWERS).read_text() == left
