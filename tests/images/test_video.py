"""Clips whose frames carry their number as blocks, written here by OpenCV; containers are changed byte by byte where OpenCV cannot write what is asked for."""

import contextlib
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyface.errors import InputError, RequestError, RunError
from polyface.images import containers, video
from polyface.images.video import Clip, Every

BITS, BLOCK = 7, 16
WIDTH, HEIGHT = BITS * BLOCK, 3 * BLOCK
CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP80", ".ts": "mp4v", ".mpg": "MPG1", ".wmv": "WMV2", ".flv": "FLV1"}


def numbered(number: int) -> np.ndarray:
    """uint8 RGB: the number's bits as blocks in the upper two thirds, below it a third of grey."""
    picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for bit in range(BITS):
        picture[: 2 * BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return picture


def number_on(picture: np.ndarray) -> int:
    assert picture.shape == (HEIGHT, WIDTH, 3)
    return sum(1 << bit for bit in range(BITS) if picture[BLOCK // 2 : BLOCK, bit * BLOCK + 4 : (bit + 1) * BLOCK - 4].mean() > 128)


def write_clip(path: Path, count: int, rate: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*CODECS[path.suffix]), rate, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in range(count):
        writer.write(numbered(number))
    writer.release()
    return path


@pytest.mark.parametrize("ending", CODECS)
def test_no_frame_is_lost_or_doubled_and_each_has_its_time(tmp_path: Path, ending: str) -> None:
    frames = list(video.frames(write_clip(tmp_path / f"a{ending}", 70)))
    assert [frame.number for frame in frames] == list(range(70))
    assert [number_on(frame.pixels) for frame in frames] == list(range(70))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(70) / 25, atol=0.0011)


@pytest.mark.parametrize(
    ("every", "wanted"), [(Every(7), range(0, 60, 7)), (Every(seconds=0.2), range(0, 60, 5)), (Every(seconds=0.01), range(60)), (Every(seconds=100), [0])]
)
def test_some_frames_are_looked_at_and_keep_their_numbers(tmp_path: Path, every: Every, wanted: Sequence[int]) -> None:
    frames = list(video.frames(write_clip(tmp_path / "a.mp4", 60), every))
    assert [frame.number for frame in frames] == [number_on(frame.pixels) for frame in frames] == list(wanted)


def test_times_of_a_variable_frame_rate_are_those_of_the_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 40)
    steps = [1 + number * 7 % 5 for number in range(40)]  # in 25ths of a second
    no_edits = struct.pack(">I4sII", 16, b"elst", 0, 0)
    with_boxes(path, {b"stts": lambda content: stts(content, steps), b"edts": lambda _: no_edits})  # the edits would end the clip where it ended before
    times = np.cumsum([0, *steps[:-1]]) / 25
    frames = list(video.frames(path))
    assert [number_on(frame.pixels) for frame in frames] == list(range(40))
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=0.001)
    seconds = [frame.number for frame in video.frames(path, Every(seconds=1))]
    assert seconds == [int(np.flatnonzero(times >= second - 1e-6)[0]) for second in range(int(times[-1]) + 1)]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_clip_is_upright_by_its_matrix(tmp_path: Path, degrees: int) -> None:
    path = write_clip(tmp_path / "a.mp4", 2)
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = struct.pack(">9i", cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30)
    with_boxes(path, {b"tkhd": lambda content: content[:40] + matrix + content[76:]})
    turned = [frame.pixels for frame in video.frames(path)]
    assert [number_on(np.rot90(pixels, degrees // 90)) for pixels in turned] == [0, 1]


@pytest.mark.parametrize("said", [0, 5, 500])
def test_the_number_of_frames_that_a_container_states_is_not_believed(tmp_path: Path, said: int) -> None:
    path = write_clip(tmp_path / "a.avi", 40)
    content = bytearray(path.read_bytes())
    for chunk, at in ((b"avih", 16), (b"strh", 32)):
        place = content.find(chunk) + 8 + at
        assert struct.unpack_from("<I", content, place) == (40,)
        struct.pack_into("<I", content, place, said)
    path.write_bytes(content)
    assert [number_on(frame.pixels) for frame in video.frames(path)] == list(range(40))


@pytest.mark.parametrize("ending", [ending for ending in CODECS if ending not in (".mp4", ".mov")])
def test_a_video_cut_short_gives_its_frames_and_is_named(tmp_path: Path, ending: str) -> None:
    path = write_clip(tmp_path / f"a{ending}", 60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3 | 1])  # not between two packets of MPEG-TS
    seen = []
    with pytest.raises(InputError, match=rf"^{path}: cut short, its end is missing after \d+ frames, "):
        seen += [number_on(frame.pixels) for frame in gathered(seen, path)]
    assert len(seen) > 20 and [frame.number for frame in seen] == list(range(len(seen)))
    assert [number_on(frame.pixels) for frame in seen[:-1]] == list(range(len(seen) - 1))  # of the last a part may be missing


def test_an_mp4_whose_frames_are_cut_off_behind_its_index_is_named(tmp_path: Path) -> None:
    path = index_first(write_clip(tmp_path / "a.mp4", 60))
    assert len(list(video.frames(path))) == 60
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    seen: list[video.Frame] = []
    with pytest.raises(InputError, match=rf"^{path}: cut short, its end is missing after \d+ frames"):
        list(gathered(seen, path))
    assert [number_on(frame.pixels) for frame in seen] == list(range(len(seen))) and 20 < len(seen) < 60


def gathered(seen: list[video.Frame], path: Path) -> Iterator[video.Frame]:
    for frame in video.frames(path):
        seen.append(frame)
        yield from ()


@pytest.mark.parametrize("ending", [".mp4", ".mov"])
def test_frames_that_cannot_be_decoded_are_named_and_those_after_them_come_under_their_numbers(tmp_path: Path, ending: str) -> None:
    path = write_clip(tmp_path / f"a{ending}", 60)
    blank(path, 0.3, 0.5)
    seen: list[video.Frame] = []
    with pytest.raises(InputError, match=rf"^{path}: damaged, \d+ of its first 60 frames cannot be decoded$") as said:
        list(gathered(seen, path))
    assert len(seen) == 60 - int(str(said.value).split(" of its")[0].split()[-1]) and seen[-1].number == 59
    np.testing.assert_allclose([frame.time for frame in seen], [frame.number / 25 for frame in seen], atol=0.0011)
    assert [number_on(frame.pixels) for frame in seen[-12:]] == [frame.number for frame in seen[-12:]]  # a whole frame came in between


class Timed:
    """A capture whose frames have these times in seconds."""

    def __init__(self, times: Sequence[float]):
        self.times, self.at = times, -1

    def grab(self) -> bool:
        self.at += 1
        return self.at < len(self.times)

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((2, 2, 3), np.uint8)

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_POS_MSEC: 1000 * self.times[min(self.at, len(self.times) - 1)], cv2.CAP_PROP_FPS: 25.0}.get(what, 0.0)


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ((0, 0.04, 900, 0.12, 0.16), (0, 0.04, 900, 900.04, 900.08)),  # one that is broken
        ((0, 0.04, 5.28, 0, 0.04, 0.08), (0, 0.04, 5.28, 5.32, 5.36, 5.4)),  # two recordings, one after the other
        ((0, 0.04, 0, 0.12, 0.16), (0, 0.04, 0.08, 0.12, 0.16)),  # one that is missing
    ],
)
def test_a_wrong_time_is_that_of_one_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: Sequence[float], told: Sequence[float]) -> None:
    monkeypatch.setattr(video, "_checked", lambda path: False)
    monkeypatch.setattr(video, "_opened", lambda *_: contextlib.nullcontext(Timed(times)))
    assert [frame.time for frame in video.frames(tmp_path / "a.mkv")] == pytest.approx(told)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".wmv"])
def test_a_video_of_which_nothing_is_decoded_from_somewhere_on_is_named(tmp_path: Path, ending: str) -> None:
    path = write_clip(tmp_path / f"a{ending}", 120)
    blank(path, 0.5, 1.0)
    with pytest.raises(InputError, match=rf"^{path}: cut short or damaged, no frame after [1-3]\.\d\d s of the 4\.\d\d s that it states$"):
        list(video.frames(path))


def test_an_mp4_of_which_its_edits_show_a_part_is_whole(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 120)
    edit = struct.pack(">I4sIIIii", 28, b"elst", 0, 1, 1000, 0, 1 << 16)  # the first second
    with_boxes(path, {b"edts": lambda _: edit})
    assert [number_on(frame.pixels) for frame in video.frames(path)] == list(range(25))


def blank(path: Path, start: float, end: float) -> None:
    """Zeros in place of a part of the frames, as where a disk or a download lost them."""
    content = bytearray(path.read_bytes())
    first, last = (content.find(b"mdat"), content.find(b"moov")) if path.suffix in (".mp4", ".mov") else (2000, len(content))
    place = slice(first + round(start * (last - first)) + 8, first + round(end * (last - first)) - 8)
    content[place] = bytes(place.stop - place.start)
    path.write_bytes(content)


@pytest.mark.parametrize(("size", "cut"), [(27 + 2 + 300, False), (27 + 2 + 299, True), (27, True)])
def test_an_ogg_file_is_cut_where_its_last_page_is(tmp_path: Path, size: int, cut: bool) -> None:
    page = b"OggS" + bytes(22) + b"\2" + bytes([255, 45]) + bytes(300)
    (tmp_path / "a.ogv").write_bytes(page + page[:size])
    assert containers.without_an_end(tmp_path / "a.ogv") == cut


@pytest.mark.parametrize("stated", [0, 1, 15])
def test_a_box_that_states_a_length_shorter_than_its_own_head_holds_nobody_up(tmp_path: Path, stated: int) -> None:
    (tmp_path / "a.mp4").write_bytes(struct.pack(">I4sQ", 1, b"mdat", stated) + struct.pack(">I4s", 100, b"free"))
    assert containers.without_an_end(tmp_path / "a.mp4")


def test_an_mp4_cut_short_before_its_index_has_no_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"^{path}: no frame can be decoded: cut short, its end is missing$"):
        next(video.frames(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<html>not found", "a web page"),
        (b"plain words", "not a video"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/a.ts\n", "not a video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not a video"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "no frame can be decoded"),
        (b"RIFF\xff\0\0\0AVI ", "no frame can be decoded"),
        (b"\x1aE\xdf\xa3", "no frame can be decoded"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, content: bytes, said: str, capfd: pytest.CaptureFixture) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match=f"^{tmp_path}/a.mp4: .*{said}"):
        list(video.frames(tmp_path / "a.mp4"))
    assert capfd.readouterr().err == ""


def test_a_missing_file_and_a_video_without_frames_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.mp4: no such file"):
        list(video.frames(tmp_path / "a.mp4"))
    path = write_clip(tmp_path / "b.mp4", 5)
    empty = struct.pack(">II", 0, 0)
    with_boxes(path, {b"stts": lambda _: empty, b"stsc": lambda _: empty, b"stco": lambda _: empty, b"stsz": lambda _: empty + struct.pack(">I", 0)})
    with pytest.raises(InputError, match=r"b\.mp4: (a video without frames|no frame can be decoded)"):
        list(video.frames(path))


@given(st.integers(0, 4000), st.binary(min_size=1, max_size=40))
@settings(max_examples=25)
def test_a_damaged_clip_gives_frames_or_one_line(tmp_path_factory: pytest.TempPathFactory, place: int, noise: bytes) -> None:
    path = write_clip(tmp_path_factory.mktemp("clips") / "a.mp4", 8)
    content = bytearray(path.read_bytes())
    content[place : place + len(noise)] = noise
    path.write_bytes(content)
    try:
        frames = list(video.frames(path))
    except InputError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    else:
        assert [frame.number for frame in frames] == list(range(len(frames)))
        assert (np.diff([frame.time for frame in frames]) >= 0).all()


@pytest.mark.parametrize(("text", "wanted"), [("10", Every(10)), (3, Every(3)), ("0.5s", Every(seconds=0.5)), (" 2 s", Every(seconds=2)), (".04s", Every(seconds=0.04))])
def test_every_is_frames_or_seconds(text: int | str, wanted: Every) -> None:
    assert video.every(text) == wanted


@pytest.mark.parametrize("text", ["0", "0s", "-1", "1.5", "s", "1m", "nan", "infs", ""])
def test_every_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="frames, as 10, or a time in seconds"):
        video.every(text)


def test_a_file_is_a_video_by_its_ending_or_else_by_its_first_bytes(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", 2)
    (tmp_path / "clip").write_bytes(clip.read_bytes())
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff")
    assert [video.is_video(tmp_path / name) for name in ("a.MP4", "a.jpg", "clip", "picture", "gone")] == [True, False, True, False, False]


def test_a_written_clip_lasts_as_long_as_its_frames_and_keeps_each(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 0.5, 0.505, 0.51, 0.55, 1.0]
    (tmp_path / "out").mkdir()
    with Clip(tmp_path / "out" / "a.mp4", 25.0) as clip:
        for number, time in enumerate(times):
            clip.write(numbered(number), time)
        assert not (tmp_path / "out" / "a.mp4").exists()
    frames = list(video.frames(tmp_path / "out" / "a.mp4"))
    shown = [number_on(frame.pixels) for frame in frames]
    assert sorted(set(shown)) == list(range(len(times))) and shown == sorted(shown)
    assert frames[-1].time == pytest.approx(1.0, abs=0.05)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mp4"]


def test_a_written_clip_is_whole_when_the_run_is_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Clip(tmp_path / "a.mp4", 25.0) as clip:
        clip.write(numbered(0), 0.0)
        clip.write(numbered(1)[:-1, :-1], 0.04)  # of another, odd, size
        raise KeyboardInterrupt
    assert len(list(video.frames(tmp_path / "a.mp4"))) == 2


@pytest.mark.parametrize("rate", [119.987, 90.003, 66.6667, 333.33, 1e9, 29.97, 1 / 300, 1e-9])
def test_a_clip_of_any_rate_is_written(tmp_path: Path, rate: float) -> None:
    with Clip(tmp_path / "a.mp4", rate) as clip:
        for number in range(3):
            clip.write(numbered(number), number / clip.rate)
        assert abs(clip.rate / min(max(rate, video.LOWEST_RATE), video.HIGHEST_RATE) - 1) < 0.15
    times = [frame.time for frame in video.frames(tmp_path / "a.mp4")]
    assert times == pytest.approx([number / clip.rate for number in range(3)], rel=0.01, abs=2e-3)


def test_a_clip_does_not_make_up_for_a_pause_that_it_left_out(tmp_path: Path) -> None:
    with Clip(tmp_path / "a.mp4", 25.0) as clip:
        for number in range(20):
            clip.write(numbered(number), number / 25 + (1000 if number >= 10 else 0))
        assert clip.shown == 20 + video.LONGEST_HOLD * 25


def test_a_clip_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match=r"a\.mp4: cannot be written"), Clip(tmp_path / "file" / "a.mp4", 25.0) as clip:
        clip.write(numbered(0), 0.0)


@pytest.mark.parametrize(("every", "wanted"), [(Every(), 30.0), (Every(10), 3.0), (Every(seconds=0.5), 2.0)])
def test_the_rate_is_that_of_the_frames_that_are_looked_at(tmp_path: Path, every: Every, wanted: float) -> None:
    assert video.rate(write_clip(tmp_path / "a.mp4", 3, 30.0), every) == pytest.approx(wanted)


# An MP4's boxes


INSIDE = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def with_boxes(path: Path, changes: dict) -> None:
    """Change the contents of boxes; the lengths of those about them follow. OpenCV writes the index behind the frames, which stay where they are."""
    path.write_bytes(_changed(path.read_bytes(), changes))


def _changed(content: bytes, changes: dict) -> bytes:
    parts, at = [], 0
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        inside = content[at + 8 : at + length]
        inside = _changed(inside, changes) if kind in INSIDE else changes.get(kind, lambda same: same)(inside)
        parts.append(struct.pack(">I4s", len(inside) + 8, kind) + inside)
        at += length
    return b"".join(parts)


def stts(content: bytes, steps: Sequence[int]) -> bytes:
    """Durations of frames, one for each, in the unit that was that of all."""
    entries, _, unit = struct.unpack(">III", content[4:])
    assert entries == 1
    return content[:4] + struct.pack(">I", len(steps)) + b"".join(struct.pack(">II", 1, unit * step) for step in steps)


def index_first(path: Path) -> Path:
    """The same clip with its index before its frames, as the web wants it."""
    content = path.read_bytes()
    at = content.find(b"moov") - 4
    index, rest = content[at:], content[:at]
    start = content.find(b"mdat") - 4
    moved = _changed(index, {b"stco": lambda inside: inside[:8] + b"".join(struct.pack(">I", place + len(index)) for (place,) in struct.iter_unpack(">I", inside[8:]))})
    path.write_bytes(rest[:start] + moved + rest[start:])
    return path
