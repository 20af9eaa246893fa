import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polyface import cli
from polyface.errors import RequestError
from polyface.images.sources import find_sources
from polyface.inference.embed import embed
from polyface.inference.forget import forget
from polyface.inference.gallery import open_gallery

sys.path.insert(0, str(Path(__file__).parent))

from test_embed import colours, contents, draw, images, looking, run


def test_pictures_are_taken_out_with_their_vectors_and_names(tmp_path: Path) -> None:
    draw(tmp_path / "p", 9)
    gallery = run(tmp_path / "p", tmp_path / "g").gallery
    before, found = contents(tmp_path / "g"), images(gallery)
    vectors = {Path(str(name)).name: vector for shard in gallery.shards() for name, vector in zip(shard.names, shard.embeddings, strict=True)}
    done = forget(tmp_path / "g", [str(tmp_path / "p" / "001.png")])
    assert (done.pictures, done.faces, done.unmatched) == ((str(tmp_path / "p" / "001.png"),), 1, ())
    after = contents(tmp_path / "g")
    assert sorted(after) == ["00001.npz", "00002.npz", "00003.npz", "gallery.json"] and after["00001.npz"] == before["00001.npz"]
    assert any(vectors["001.png"].tobytes() in content for content in before.values()) and not any(vectors["001.png"].tobytes() in content for content in after.values())
    assert not any(word in content for content in after.values() for word in (b"001.png", "001.png".encode("utf-32-le")))
    opened = open_gallery(tmp_path / "g", colours())
    assert images(opened) == [name for name in found if name != "001.png"]
    rows = [(str(name), vector) for shard in opened.shards() for name, vector in zip(shard.names, shard.embeddings, strict=True)]
    assert [name for name, _ in rows] == sorted(name for name, _ in rows)  # in the order of before


def test_what_is_taken_out_is_new_where_it_is_asked_for_and_added_after_the_last(tmp_path: Path) -> None:
    draw(tmp_path / "p", 6)
    run(tmp_path / "p", tmp_path / "g")
    forget(tmp_path / "g", [str(tmp_path / "p" / "005.png"), str(tmp_path / "p" / "004.png")])  # a whole shard
    assert sorted(contents(tmp_path / "g")) == ["00000.npz", "gallery.json"]
    done = run(tmp_path / "p", tmp_path / "g")
    assert (done.pictures, images(done.gallery).count("004.png")) == (2, 4)


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("p/a", ["b1.png"]),
        ("p/a/", ["b1.png"]),
        ("p/?/*2.png", ["[1].png", "b1.png"]),
        ("*/a/*", ["b1.png"]),
        ("p/a/[1].png", ["a2.png", "b1.png"]),
        ("p/./b/../b/b1.png", ["[1].png", "a2.png"]),
        ("p*", []),
        ("p/A", None),
        ("a", None),
        ("a2.png", None),
    ],
)
def test_a_pattern_is_a_path_a_folder_or_a_glob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, left: list[str] | None) -> None:
    draw(tmp_path, 1, first=1)
    for number, name in enumerate(("a/[1].png", "a/a2.png", "b/b1.png")):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes((tmp_path / "001.png").read_bytes() + bytes(number))
    run(tmp_path / "p", tmp_path / "g", shard=2)
    before = contents(tmp_path / "g")
    shutil.rmtree(tmp_path / "p")  # they need not be there any more
    monkeypatch.chdir(tmp_path)
    done = forget(Path("g"), [pattern])
    if left is None:
        assert done.unmatched == (pattern,) and contents(tmp_path / "g") == before
    else:
        assert done.unmatched == () and images(done.gallery) == left


def test_a_picture_whose_name_is_a_glob_too_is_itself_alone(tmp_path: Path) -> None:
    draw(tmp_path / "p", 2)
    for number, name in enumerate(("a[1].png", "a1.png")):
        (tmp_path / "p" / f"{number:03}.png").rename(tmp_path / "p" / name)
    run(tmp_path / "p", tmp_path / "g")
    assert images(forget(tmp_path / "g", [str(tmp_path / "p" / "a[1].png")]).gallery) == ["a1.png"]


def test_a_glob_means_the_folder_it_is_given_in_whatever_brackets_are_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path, 1, first=1)
    for number, name in enumerate(("[ab]/bob.png", "a/bob.png", "b/bob.png")):
        (tmp_path / "br" / name).parent.mkdir(parents=True)
        (tmp_path / "br" / name).write_bytes((tmp_path / "001.png").read_bytes() + bytes(number))
    run(tmp_path / "br", tmp_path / "g")
    others = tuple(str(tmp_path / "br" / name) for name in ("a/bob.png", "b/bob.png"))
    monkeypatch.chdir(tmp_path / "br" / "[ab]")
    assert forget(Path("../../g"), ["bob.jpg"]).unmatched == ("bob.jpg",)
    assert forget(Path("../../g"), ["*bob*"]).pictures == (str(tmp_path / "br" / "[ab]" / "bob.png"),)
    assert forget(Path("../../g"), ["../?/bob*"]).pictures == others


def test_a_copy_that_is_taken_out_names_what_has_its_bytes_and_stays(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    draw(tmp_path / "p", 3)
    run(tmp_path / "p", tmp_path / "g")
    shutil.copytree(tmp_path / "p", tmp_path / "w")
    shutil.copytree(tmp_path / "p", tmp_path / "x")
    for folder in ("w", "x"):
        run(tmp_path / folder, tmp_path / "g")
    original, out = str(tmp_path / "p" / "001.png"), ["--out", str(tmp_path / "g")]
    done = forget(tmp_path / "g", [str(tmp_path / "w" / "001.png")])
    assert (done.faces, done.originals, done.copies) == (0, (original,), ())
    assert cli.run(["embed", "--forget", str(tmp_path / "x" / "001.png"), *out]) == 0
    assert f"{original}: has the bytes of one that is taken out, and stays with its faces; --forget takes it out" in capsys.readouterr().err
    done = forget(tmp_path / "g", [str(tmp_path / "*" / "002.png")])  # all of them: nothing stays
    assert (len(done.pictures), done.originals, done.copies) == (3, (), ())
    assert forget(tmp_path / "g", [original]).originals == ()


def test_copies_of_what_is_taken_out_are_new_and_other_copies_stay(tmp_path: Path) -> None:
    draw(tmp_path / "p", 3)
    run(tmp_path / "p", tmp_path / "g")
    shutil.copytree(tmp_path / "p", tmp_path / "w")
    run(tmp_path / "w", tmp_path / "g")
    done = forget(tmp_path / "g", [str(tmp_path / "p" / "001.png")])
    assert done.copies == (str(tmp_path / "w" / "001.png"),)
    assert not any("001.png" in str(name) for shard in done.gallery.shards() for name in shard.pictures)
    again = run(tmp_path / "w", tmp_path / "g")
    assert (again.pictures, again.copies, images(again.gallery)) == (1, 2, ["001.png", "002.png", "002.png"])


def test_a_refused_picture_can_be_taken_out(tmp_path: Path) -> None:
    draw(tmp_path / "p", 4)
    run(tmp_path / "p", tmp_path / "g")
    left = forget(tmp_path / "g", [str(tmp_path / "p" / "003.png")]).gallery
    assert sum(len(shard.refused) + len(shard.reasons) for shard in left.shards()) == 0 and left.pictures == 3


def _dying(left: list[int], does: Callable) -> Callable:
    def do(*arguments: object, **named: object) -> object:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return does(*arguments, **named)

    return do


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment_it_leaves_a_whole_gallery_and_repeated_the_same_bytes(tmp_path: Path) -> None:
    draw(tmp_path / "p", 12)
    run(tmp_path / "p", tmp_path / "before")
    patterns = [str(tmp_path / "p" / name) for name in ("001.png", "002.png", "006.png")]
    forget(shutil.copytree(tmp_path / "before", tmp_path / "whole"), patterns)
    for at in range(1, 99):
        out = shutil.copytree(tmp_path / "before", tmp_path / f"killed {at}")
        child = os.fork()
        if not child:
            os.replace, os.unlink = _dying(left := [at], os.replace), _dying(left, os.unlink)
            forget(out, patterns)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = images(open_gallery(out, colours()))
        assert found in (images(open_gallery(tmp_path / folder, colours())) for folder in ("before", "whole"))
        forget(out, patterns)
        assert {name: content for name, content in contents(out).items() if name != ".lock"} == contents(tmp_path / "whole")
        if not status:
            break
        assert status == -signal.SIGKILL
    assert at > 5  # two shards and gallery.json written, two shards deleted


def test_what_is_no_gallery_or_not_whole_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"gallery\.json: cannot be read"):
        forget(tmp_path / "none", ["p"])
    assert not (tmp_path / "none").exists()
    draw(tmp_path / "p", 6)
    run(tmp_path / "p", tmp_path / "g")
    with pytest.raises(RequestError, match="an empty pattern"):
        forget(tmp_path / "g", [""])
    (tmp_path / "g" / "00001.npz").write_bytes(b"cut")
    before = contents(tmp_path / "g")
    with pytest.raises(RequestError, match=r"00001\.npz: not the bytes"):
        forget(tmp_path / "g", [str(tmp_path / "p")])
    assert contents(tmp_path / "g") == before


def test_the_command_takes_out_several_without_a_model_and_says_what_matched_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    draw(tmp_path / "p", 6)
    run(tmp_path / "p", tmp_path / "g")
    out = ["--out", str(tmp_path / "g")]
    assert cli.run(["embed", "--forget", str(tmp_path / "p" / "001.png"), str(tmp_path / "p" / "*4.png"), *out]) == 0
    assert f"2 pictures taken out, with 5 faces; 2 faces of 3 pictures in {tmp_path / 'g'}, and 1 picture that could not be read" in capsys.readouterr().err
    assert cli.run(["embed", *out, "--forget", "nobody"]) == 1
    assert f"nobody: no picture of {tmp_path / 'g'} matches it" in capsys.readouterr().err
    assert cli.run(["embed", str(tmp_path / "p"), *out, "--forget", "x"]) == 2
    assert "--forget takes pictures out; add others by a command of its own" in capsys.readouterr().err
    assert cli.run(["embed", *out]) == 2
    assert "no PATHS" in capsys.readouterr().err


def test_a_gallery_that_is_empty_afterwards_can_be_added_to(tmp_path: Path) -> None:
    draw(tmp_path / "p", 3)
    whole = run(tmp_path / "p", tmp_path / "g").gallery
    before = contents(tmp_path / "g")
    assert forget(tmp_path / "g", [str(tmp_path)]).gallery.faces == 0 and list(contents(tmp_path / "g")) == ["gallery.json"]
    done = run(tmp_path / "p", tmp_path / "g")
    assert contents(tmp_path / "g") == before and images(done.gallery) == images(whole)
    assert np.isfinite(next(done.gallery.shards()).embeddings).all()


def test_a_glob_takes_out_all_that_it_is_to_embed(tmp_path: Path) -> None:
    for folder in ("p", "p/x", "p/x/y"):
        draw(tmp_path / folder, 1, first=len(folder))
        shutil.move(next((tmp_path / folder).glob("*.png")), tmp_path / folder / "bob.png")
    for pattern in ("p/**/bob.png", "**/x/**/*.png", "p/**"):
        sources = find_sources([str(tmp_path / pattern)])[0]
        embed(looking(), sources, tmp_path / "g")
        assert len(forget(tmp_path / "g", [str(tmp_path / pattern)]).pictures) == len(sources) > 1
