"""Files appear whole or not at all."""

import errno
import hashlib
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from polyface import cli, files
from polyface.errors import RequestError, RunError


def test_a_file_is_written_and_replaced_whole_in_a_folder_that_need_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    files.write_atomically(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    files.write_atomically(path, b"second")
    assert path.read_bytes() == b"second" and os.listdir(path.parent) == ["a.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(RunError, match=r"a\.json: cannot be written \(No space left on device\)"):
        files.write_atomically(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.json"]


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link.json").symlink_to("there/a.json")
    for content in ("first", "second"):  # the file that it leads to is not there, and is
        files.require_writable(tmp_path / "link.json")
        files.write_atomically(tmp_path / "link.json", content)
        assert (tmp_path / "link.json").is_symlink() and (tmp_path / "there" / "a.json").read_text() == content
    assert os.listdir(tmp_path / "there") == ["a.json"]
    (tmp_path / "round.json").symlink_to("round.json")
    with pytest.raises(RunError, match=r"round\.json: cannot be written"):
        files.write_atomically(tmp_path / "round.json", "x")
    with pytest.raises(RequestError, match=r"round\.json: cannot be written"):
        files.require_writable(tmp_path / "round.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes that have a name")
@pytest.mark.parametrize("named", ["pipe", "link"])
def test_a_pipe_is_written_into_and_stays_one(named: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for write, begin in ((lambda path: files.write_atomically(path, "all"), b"all"), (lambda path: files.write_arrays(path, {"a": np.arange(3)}), b"PK")):
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)  # so that a writer waits for nobody
        try:
            write(tmp_path / named)
            assert os.read(reader, 9999).startswith(begin)
        finally:
            os.close(reader)
    assert stat.S_ISFIFO(os.stat(tmp_path / named).st_mode) and sorted(os.listdir(tmp_path)) == ["link", "pipe"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes that have a name")
def test_a_pipe_that_nobody_reads_yet_can_be_written_as_far_as_anyone_knows(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    asked = threading.Thread(target=files.require_writable, args=(tmp_path / "pipe",), daemon=True)
    asked.start()
    asked.join(20)
    assert not asked.is_alive() and os.listdir(tmp_path) == ["pipe"]


def test_a_device_is_written_into_and_nothing_is_tried_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.stat(os.devnull).st_rdev)  # one of our own: what fails here, run by root, leaves the machine its own
        open(device, "wb").close()
    except (AttributeError, OSError):
        pytest.skip("needs root, on a system and a disk that have devices")
    with monkeypatch.context() as patched:
        patched.setattr(files, "_temporary", lambda path: pytest.fail("a file beside a device"))
        files.require_writable(device)
        files.write_atomically(device, "x")
        files.write_arrays(device, {"a": np.arange(3)})
    assert stat.S_ISCHR(os.stat(device).st_mode) and os.listdir(tmp_path) == ["null"]


def test_a_device_that_nobody_may_write_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(RequestError, match=r"cannot be written \(Permission denied\)"):
        files.require_writable(Path(os.devnull))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot take a place on the disk at once")
def test_a_mapped_array_has_its_place_on_the_disk_before_it_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = files.make_mapped(tmp_path / "a.npy", np.float32, (1000, 1000))
    assert os.stat(tmp_path / "a.npy").st_blocks * 512 >= array.nbytes
    array[-1] = 3
    array.flush()
    assert (np.load(tmp_path / "a.npy")[-2:, 0] == [0, 3]).all()

    def refuse(number: int) -> None:
        def refused(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", refused)

    refuse(errno.EOPNOTSUPP)
    assert files.make_mapped(tmp_path / "b.npy", np.int8, (3,)).shape == (3,)
    refuse(errno.ENOSPC)
    with pytest.raises(OSError, match="No space left on device"):
        files.make_mapped(tmp_path / "c.npy", np.int8, (3,))


def test_arrays_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.npz"
    files.write_arrays(path, {"numbers": np.arange(3)})
    with pytest.raises(RuntimeError, match="cut off"):
        files.write_arrays(path, {"numbers": np.arange(4), "more": Unready()})
    with np.load(path) as there:
        assert there["numbers"].tolist() == [0, 1, 2] and os.listdir(path.parent) == ["a.npz"]


class Unready:
    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise RuntimeError("cut off")


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(RunError, match=r"f/a\.json: cannot be written"):
        files.write_atomically(tmp_path / "f" / "a.json", "x")


def test_a_file_that_could_not_be_written_is_refused_before_there_is_anything_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_text("old")
    monkeypatch.chdir(tmp_path)
    for refused, why in (
        ("f/a.json", r"cannot be written \(Not a directory\)"),
        ("f/new/a.json", "cannot be written"),
        (".", "is a folder"),
        ("a" * 250, "File name too long"),
    ):
        with pytest.raises(RequestError, match=why) as caught:
            files.require_writable(None, Path("b.json"), Path(refused))
        assert str(caught.value).startswith(f"{Path(refused)}: ")
    files.require_writable(Path("f"), Path("new/folder/a.json"), tmp_path / "a.json")
    assert os.listdir(tmp_path) == ["f"] and Path("f").read_text() == "old", "nothing is left behind, nor touched"


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "nowhere", "--json"],
        ["evaluate", "nowhere", "--protocol", "age", "--json"],
        ["evaluate", "nowhere", "--protocol", "age", "--save"],
        ["calibrate", "nowhere", "--json"],
        ["datasets", "check", "--data", ".", "--html"],
        ["datasets", "check", "--data", ".", "--json"],
        ["people", "--gallery", "nowhere", "--html"],
        ["people", "--gallery", "nowhere", "--json"],
        ["train", "first", "--out"],
        ["score", "age", "--predictions", "nowhere.npz", "--targets", "nowhere.npz", "--json"],
        ["score", "age", "--predictions", "nowhere.npz", "--targets", "nowhere.npz", "--plot"],
        ["score", "parsing", "--predictions", "nowhere", "--targets", "nowhere", "--json"],
        ["score", "megaface", "--devkit", "nowhere", "--results"],
    ],
    ids=" ".join,
)
def test_a_command_whose_outcome_could_not_be_written_ends_before_its_work(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "f").write_text("")
    monkeypatch.chdir(tmp_path)
    assert cli.run([*command, "f/out.png"]) == RequestError.exit_status  # of what there is to work on nothing is there, and nobody has looked
    said = capsys.readouterr()
    assert said.err.startswith("polyface: f/out.png") and said.err.endswith(": cannot be written (Not a directory)\n") and said.err.count("\n") == 1 and not said.out


def test_a_written_file_can_be_read_by_whom_the_umask_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o027)
    try:
        files.write_atomically(tmp_path / "a", "x")
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
        assert os.umask(0o027) == 0o027  # and the mask is as it was
        monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the mask is of all threads, and two that set it at once may leave it open"))
        files.write_atomically(tmp_path / "a", "x")
    finally:
        monkeypatch.undo()
        os.umask(before)


def test_hashes_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\nb\n")
    assert files.sha256_of_file(tmp_path / "a") == hashlib.sha256(b"a\nb\n").hexdigest() == files.sha256_of_lines(["a", "b"])
    assert files.sha256_of_lines(["b", "a"]) != files.sha256_of_lines(["a", "b"])
