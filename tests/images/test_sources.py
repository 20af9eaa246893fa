import io
import os
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from polyface.errors import InputError
from polyface.images import read
from polyface.images.sources import find_sources, source_of


def record(number: int, content: bytes) -> bytes:
    """Of RecordIO; its content is a multiple of 4 bytes long."""
    return struct.pack("<IIIfQQ", 0xCED7230A, 24 + len(content), 0, 1.0, number, 0) + content


def names(paths: list[Path | str], below: Path) -> list[str]:
    sources, refused = find_sources(paths)
    assert not refused
    return [str(Path(str(source)).relative_to(below)) for source in sources]


@pytest.fixture
def heap(tmp_path: Path) -> Path:
    """A folder, a tar, a zip, a list and a RecordIO, in each of which a picture lies (its bytes are its name)."""
    (tmp_path / "photos" / "b").mkdir(parents=True)
    for name in ("photos/2.jpg", "photos/1.PNG", "photos/b/3.jpeg", "photos/notes.md"):
        (tmp_path / name).write_bytes(name.encode())
    with tarfile.open(tmp_path / "faces.tar", "w") as tar:
        for name in ("faces/x/1.jpg", "faces/list.csv", "faces/2.jpg"):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.writestr("a.jpg", "a.jpg")
    (tmp_path / "list.txt").write_text("photos/2.jpg\n\n" + str(tmp_path / "photos" / "notes.md") + "\n")
    (tmp_path / "im2rec.lst").write_text("0\t1.0\tphotos/2.jpg\n")
    (tmp_path / "train.rec").write_bytes(record(2, b"two\n") + record(1, b"one\n") + record(0, b""))
    return tmp_path


def test_every_heap_gives_its_pictures_sorted(heap: Path) -> None:
    assert names([heap / "photos"], heap) == ["photos/1.PNG", "photos/2.jpg", "photos/b/3.jpeg"]
    assert names([heap / "faces.tar"], heap) == ["faces.tar/2.jpg", "faces.tar/x/1.jpg"]
    assert names([heap / "faces.zip"], heap) == ["faces.zip/a.jpg"]
    assert names([heap / "list.txt"], heap) == ["photos/2.jpg", "photos/notes.md"]  # what a list names is taken, whatever it ends in
    assert names([heap / "im2rec.lst"], heap) == ["photos/2.jpg"]
    assert names([heap / "train.rec"], heap) == ["train.rec/1", "train.rec/2"]
    assert names([f"{heap}/photos/*.jpg"], heap) == ["photos/2.jpg"]


def test_a_picture_named_twice_is_taken_once(heap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(heap / "photos")
    assert names(["2.jpg", heap / "photos", heap / "list.txt", heap / "photos" / "b" / ".." / "2.jpg"], heap) == [
        "photos/2.jpg", "photos/1.PNG", "photos/b/3.jpeg", "photos/notes.md",
    ]  # fmt: skip


def test_a_name_leads_back_to_its_bytes(heap: Path) -> None:
    sources, _ = find_sources([heap / "photos", heap / "faces.tar", heap / "faces.zip", heap / "train.rec"])
    assert len(sources) == 8
    for source in sources:
        assert source_of(str(source)).read() == source.read()
    (heap / "photos" / "2.jpg").unlink()
    with pytest.raises(InputError, match=r"2\.jpg: no such file"):
        source_of(str(heap / "photos" / "2.jpg")).read()


@pytest.mark.parametrize("member", ["/faces/1.jpg", "./faces/1.jpg", "faces//1.jpg", "../faces/1.jpg"])
def test_the_picture_of_an_archive_has_a_name_in_it_whatever_its_member_is_called(tmp_path: Path, member: str) -> None:
    for archive in ("a.tar", "b.tar"):
        with tarfile.open(tmp_path / archive, "w") as tar:
            info = tarfile.TarInfo(member)
            info.size = len(archive)
            tar.addfile(info, io.BytesIO(archive.encode()))
    sources, refused = find_sources([tmp_path / "a.tar", tmp_path / "b.tar"])
    assert not refused and [str(source) for source in sources] == [str(tmp_path / archive / "faces/1.jpg") for archive in ("a.tar", "b.tar")]
    assert [source_of(str(source)).read() for source in sources] == [b"a.tar", b"b.tar"]


def test_what_leads_nowhere_is_refused_by_name_and_line(heap: Path) -> None:
    (heap / "empty.tar").write_bytes(b"")
    (heap / "cut.rec").write_bytes((heap / "train.rec").read_bytes()[:50])
    (heap / "list.txt").write_text("photos/2.jpg\nphotos/gone.jpg\n")
    (heap / "nothing.txt").write_text("\n")
    (heap / "binary.txt").write_bytes(b"\xff\xfe\xfa")
    (heap / "pairs.txt").write_text("10 300\nAda 1 2\nBob 1 2\n")
    sources, refused = find_sources([heap / name for name in ("empty.tar", "cut.rec", "list.txt", "nothing.txt", "binary.txt", "pairs.txt", "nowhere", "photos/b")])
    assert [Path(str(source)).name for source in sources] == ["2.jpg", "3.jpeg"]
    said = "\n".join(map(str, refused))
    expected = (
        "empty.tar",
        "cut.rec, record 1, byte 36: cut short",
        "list.txt, line 2: no such file: photos/gone.jpg",
        "nothing.txt: names no",
        "pairs.txt, line 1: no such file: 10 300, nor do",
        "binary.txt, line 1: ",
        "nowhere: no such",
    )
    assert all(each in said for each in expected)
    assert len(refused) == 7


def test_one_line_of_a_list_that_is_no_utf_8_is_refused_by_its_number_and_the_rest_goes_on(heap: Path) -> None:
    (heap / "list.txt").write_bytes(b"\xef\xbb\xbfphotos/2.jpg\r\nGr\xfc\xdfe.jpg\nphotos/1.PNG\n")
    (heap / "im2rec.lst").write_bytes(b"0\tGr\xfc\xdfe\tphotos/2.jpg\n1\t0\tGr\xfc\xdfe.jpg\n")  # its other fields are nobody's name
    sources, refused = find_sources([heap / "list.txt", heap / "im2rec.lst"])
    assert [Path(str(source)).name for source in sources] == ["2.jpg", "1.PNG"]
    assert [str(error) for error in refused] == [
        f"{heap}/{place}: 'Gr\\udcfc\\udcdfe.jpg': its name is no UTF-8" for place in ("list.txt, line 2", "im2rec.lst, line 2")
    ]  # fmt: skip


def test_a_name_in_a_list_ends_at_the_end_of_its_line_and_nowhere_else(heap: Path) -> None:
    name = "photos/a\u2028b\x0cc.jpg"  # characters at which str.splitlines cuts
    (heap / name).write_bytes(b"")
    (heap / "list.txt").write_text(f"{name}\nphotos/gone.jpg\n", "utf-8")
    sources, refused = find_sources([heap / "list.txt"])
    assert [str(source) for source in sources] == [f"{heap}/{name}"]
    assert [str(error) for error in refused] == [f"{heap}/list.txt, line 2: no such file: photos/gone.jpg"]


def test_a_folder_that_a_list_names_is_called_one(heap: Path) -> None:
    (heap / "list.txt").write_text("photos/2.jpg\nphotos/b\n")
    sources, refused = find_sources([heap / "list.txt"])
    assert len(sources) == 1
    assert [str(error) for error in refused] == [f"{heap}/list.txt, line 2: a folder, and lists name files: photos/b"]


def test_a_picture_in_an_archive_is_found_by_the_name_that_was_printed(heap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = [str(source) for source in find_sources([heap / "faces.tar", heap / "faces.zip", heap / "train.rec"])[0]]
    assert len(printed) == 5 and names(printed, heap) == [str(Path(name).relative_to(heap)) for name in printed]
    (heap / "list.txt").write_text("\n".join(printed))
    monkeypatch.chdir(heap)
    assert names(["faces.tar/x/1.jpg", heap / "faces.tar", "faces.tar", "list.txt"], heap) == [
        "faces.tar/x/1.jpg",
        "faces.tar/2.jpg",
        "faces.zip/a.jpg",
        "train.rec/1",
        "train.rec/2",
    ]


def test_a_picture_that_is_not_in_its_archive_is_refused_by_name_and_the_rest_of_its_list_goes_on(heap: Path) -> None:
    (heap / "broken.tar").write_bytes(b"no archive" * 100)
    (heap / "list.txt").write_text("faces.tar/gone.jpg\nbroken.tar/1.jpg\nphotos/2.jpg\n")
    sources, refused = find_sources([heap / "faces.tar" / "gone.jpg", heap / "broken.tar" / "1.jpg", heap / "list.txt"])
    assert [Path(str(source)).name for source in sources] == ["2.jpg"]
    begins = [
        f"{heap}/faces.tar/gone.jpg: no such picture in the archive",
        f"{heap}/broken.tar: cannot be read as an archive",
        f"{heap}/list.txt, line 1: no such file: faces.tar/gone.jpg",
        f"{heap}/list.txt, line 2: {heap}/broken.tar: cannot be read as an archive",
    ]
    assert len(refused) == 4 and all(str(error).startswith(begin) for error, begin in zip(refused, begins, strict=True))


def test_an_archive_that_cannot_be_read_is_tried_once(heap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (heap / "cut.zip").write_bytes((heap / "faces.zip").read_bytes()[:-10])
    tried = list[str]()
    monkeypatch.setattr(read, "open_root", lambda path, open_root=read.open_root: tried.append(path) or open_root(path))
    for number in range(3):
        with pytest.raises(InputError, match=r"cut\.zip: cannot be read as an archive"):
            source_of(str(heap / "cut.zip" / f"{number}.jpg"))
    assert len(tried) == 1


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz", ".tar.bz2", ".TAR.XZ"])
def test_a_compressed_tar_is_refused_with_what_to_do(ending: str, tmp_path: Path) -> None:
    (tmp_path / f"x{ending}").write_bytes(b"\x1f\x8b")
    sources, refused = find_sources([tmp_path / f"x{ending}"])
    assert not sources and [str(error) for error in refused] == [f"{tmp_path}/x{ending}: a compressed archive; only an uncompressed .tar is read: unpack it"]


def test_a_zip_with_a_link_that_cannot_be_read_gives_its_pictures(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link.jpg")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.writestr("a.jpg", "a.jpg")
        archive.writestr(info, "a.jpg")
    data = bytearray((tmp_path / "faces.zip").read_bytes())
    listed = data.rindex(b"PK\x01\x02")
    data[listed + 8] |= 1  # encrypted
    data[struct.unpack_from("<I", data, listed + 42)[0] + 6] |= 1
    (tmp_path / "faces.zip").write_bytes(data)
    assert names([tmp_path / "faces.zip"], tmp_path) == ["faces.zip/a.jpg"]


def test_a_name_too_long_for_a_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("word " * 1000)
    sources, refused = find_sources([tmp_path / "notes.txt", tmp_path / ("x" * 300 + ".jpg")])
    assert not sources and len(refused) == 2 and all("no such file" in str(error) and len(str(error)) < 700 for error in refused)


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xff.jpg")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system holds names in UTF-8 only")
    sources, refused = find_sources([tmp_path])
    assert not sources and "its name is no UTF-8" in str(refused[0])
