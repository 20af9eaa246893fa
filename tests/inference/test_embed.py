import hashlib
import io
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from polyface import cli
from polyface.errors import RequestError, RunError
from polyface.images import align
from polyface.images.detect import Face
from polyface.images.read import Directory
from polyface.images.sources import find_sources
from polyface.inference import card as cards
from polyface.inference import embed as embedding
from polyface.inference.analyze import Analyzer
from polyface.inference.compare import vector_of
from polyface.inference.embed import embed, gather
from polyface.inference.forget import forget
from polyface.inference.gallery import Gallery, faces_of, open_gallery
from polyface.tasks import Embedding

SIZE = 16


@dataclass(frozen=True)
class Colours:
    """A network whose vector is the mean colour of the crop and the three after it, of unit length; `length` is what it makes of that."""

    card: cards.Card
    network: str = "c" * 64
    length: float = 1.0
    label = "colours@cccccccccccc"
    tasks = (Embedding("identity", "Who?", dimension=6),)
    crop = align.Crop().scaled(SIZE)

    def chosen(self, names: list[str]) -> tuple[Embedding, ...]:
        return self.tasks

    def run(self, crops: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
        colours = np.concatenate([crops.mean((1, 2)), crops[:, :8].mean((1, 2))], 1) + 1
        return {"identity": (self.length * colours / np.linalg.norm(colours, axis=1, keepdims=True)).astype(np.float32)}


class Quarters:
    """Finds a face in every quarter of a picture that is not black in its middle."""

    name, sha256 = "quarters", "d" * 64

    def detect_many(self, images: list[np.ndarray], threshold: float | None = None) -> list[list[Face]]:
        return [self.detect(image) for image in images]

    def detect(self, image: np.ndarray, threshold: float | None = None) -> list[Face]:
        h, w = image.shape[0] / 2, image.shape[1] / 2
        boxes = [(x, y, x + w, y + h) for x in (0, w) for y in (0, h) if image[int(y + h / 2), int(x + w / 2)].any()]
        return [Face(box, align.points_of_box(np.array(box)), 0.9) for box in boxes]


def colours(**changed: object) -> Colours:
    identity = cards.entry_of_task(Colours.tasks[0])
    card = cards.Card(name="colours", created="2026-11-28", crop=cards.entry_of_crop(Colours.crop), tasks={"identity": identity})
    return Colours(card, **changed)  # type: ignore[arg-type]


def looking(**changed: object) -> Analyzer:
    return Analyzer(colours(**changed), Quarters())  # type: ignore[arg-type]


def draw(folder: Path, count: int, first: int = 0) -> None:
    """Pictures of number % 5 coloured quarters (none: black), no two of the same bytes; number 3 is broken."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        picture = np.zeros((24, 32, 3), np.uint8)
        for quarter in range(number % 5):
            y, x = quarter % 2 * 12, quarter // 2 * 16
            picture[y : y + 12, x : x + 16] = np.random.default_rng([number, quarter]).integers(1, 256, 3)
        picture[0, 0] = number
        assert cv2.imwrite(str(folder / f"{number:03d}.png"), picture)
    if first <= 3 < first + count:
        (folder / "003.png").write_bytes(b"<html>")


def run(folder: Path, out: Path, shard: int = 4, **changed: object):
    return embed(looking(**changed), find_sources([folder])[0], out, shard_pictures=shard)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_gallery_holds_what_analyze_finds(tmp_path: Path) -> None:
    draw(tmp_path / "p", 11)
    done = run(tmp_path / "p", tmp_path / "g")
    rows = [face for shard in done.gallery.shards() for face in faces_of(shard)]
    vectors = np.concatenate([shard.embeddings for shard in done.gallery.shards()])
    at = 0
    for answers in looking().analyze_many(sorted((tmp_path / "p").iterdir()), ["identity"]):
        for face in answers.faces:
            assert (rows[at].image, rows[at].face, rows[at].box, rows[at].score) == (face.image, face.index, face.box, face.score)
            assert np.allclose(vectors[at], vector_of(face.answers["identity"]), atol=1e-6)
            at += 1
    assert at == len(rows) == done.faces == done.gallery.faces == 1 + 2 + 4 + 0 + 1 + 2 + 3 + 4 + 0
    assert (done.pictures, len(done.refused)) == (10, 1) and "003.png: a web page" in done.refused[0]
    shard = next(done.gallery.shards())
    assert [Path(str(name)).name for name in shard.pictures] == ["000.png", "001.png", "002.png", "003.png"]
    assert [Path(str(name)).name for name in shard.refused] == ["003.png"]
    manifest = json.loads((tmp_path / "g" / "gallery.json").read_bytes())
    assert (manifest["network"], manifest["detector"], len(manifest["shards"])) == ("c" * 64, "quarters", 3)
    for entry in manifest["shards"]:
        assert hashlib.sha256((tmp_path / "g" / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]


def test_pictures_are_added_without_touching_what_is_there(tmp_path: Path) -> None:
    draw(tmp_path / "p", 6)
    run(tmp_path / "p", tmp_path / "g")
    before = contents(tmp_path / "g")
    again = run(tmp_path / "p", tmp_path / "g")
    assert (again.pictures, again.faces) == (0, 0) and contents(tmp_path / "g") == before
    assert len(again.refused) == 1  # what was refused is said again
    draw(tmp_path / "p", 5, first=6)
    more = run(tmp_path / "p", tmp_path / "g")
    after = contents(tmp_path / "g")
    assert more.pictures == 5 and sorted(set(after) - set(before)) == ["00002.npz", "00003.npz"]
    assert all(after[name] == before[name] for name in before if name.endswith(".npz"))
    assert sum(len(shard.pictures) for shard in more.gallery.shards()) == 11


def test_what_was_refused_is_tried_again_when_it_is_asked_for(tmp_path: Path) -> None:
    draw(tmp_path / "p", 6)
    run(tmp_path / "p", tmp_path / "g")
    draw(tmp_path, 1, first=7)
    (tmp_path / "007.png").rename(tmp_path / "p" / "003.png")
    mended = run(tmp_path / "p", tmp_path / "g")
    assert (mended.pictures, mended.faces, mended.refused) == (1, 2, ())
    assert sum(Path(row.image).name == "003.png" for shard in mended.gallery.shards() for row in faces_of(shard)) == 2
    before = contents(tmp_path / "g")
    again = run(tmp_path / "p", tmp_path / "g")
    assert (again.pictures, again.faces, again.refused) == (0, 0, ()) and contents(tmp_path / "g") == before


def images(gallery: Gallery) -> list[str]:
    """The file's name of each face's picture, sorted."""
    return sorted(Path(face.image).name for shard in gallery.shards() for face in faces_of(shard))


def swap(one: Path, other: Path) -> None:
    """The bytes of two pictures, as old as each was."""
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def test_a_picture_that_was_replaced_is_looked_at_again_and_its_old_faces_are_gone(tmp_path: Path) -> None:
    draw(tmp_path / "p", 9)
    before = run(tmp_path / "p", tmp_path / "g").gallery
    (old,) = (shard.embeddings[0] for shard in list(before.shards())[:1])  # of 001.png
    kept = (tmp_path / "g" / "00001.npz").read_bytes()
    draw(tmp_path / "other", 1, first=102)
    (tmp_path / "other" / "102.png").rename(tmp_path / "p" / "001.png")
    done = run(tmp_path / "p", tmp_path / "g")
    assert (done.pictures, done.replaced, done.faces) == (1, 1, 2)
    assert images(done.gallery).count("001.png") == 2 and len(done.refused) == 1
    assert all(old.tobytes() not in content for content in contents(tmp_path / "g").values())
    assert (tmp_path / "g" / "00001.npz").read_bytes() == kept and "00000.npz" not in contents(tmp_path / "g")
    again = run(tmp_path / "p", tmp_path / "g")
    assert (again.pictures, again.replaced, again.faces) == (0, 0, 0)


def test_a_picture_replaced_by_what_cannot_be_read_is_refused_and_answers_no_more(tmp_path: Path) -> None:
    draw(tmp_path / "p", 3)
    run(tmp_path / "p", tmp_path / "g")
    (tmp_path / "p" / "001.png").write_bytes(b"<html>")
    done = run(tmp_path / "p", tmp_path / "g")
    assert (done.replaced, len(done.refused), images(done.gallery)) == (1, 1, ["002.png", "002.png"])


def test_a_picture_that_was_only_touched_stays_as_it_is(tmp_path: Path) -> None:
    draw(tmp_path / "p", 3)
    run(tmp_path / "p", tmp_path / "g")
    (before,) = open_gallery(tmp_path / "g", colours()).shards()
    os.utime(tmp_path / "p" / "001.png", (1, 1))
    done = run(tmp_path / "p", tmp_path / "g")
    (after,) = done.gallery.shards()
    assert (done.pictures, done.replaced) == (0, 0) and after.stamps[1].tolist() == [before.stamps[1][0], 10**9]
    assert all(np.array_equal(array, getattr(after, name)) for name, array in vars(before).items() if name != "stamps")


def test_a_picture_that_was_only_touched_is_read_once_more_and_never_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "p", 3)
    run(tmp_path / "p", tmp_path / "g")
    os.utime(tmp_path / "p" / "001.png", (1, 1))
    run(tmp_path / "p", tmp_path / "g")
    before = contents(tmp_path / "g")
    monkeypatch.setattr(Directory, "open", lambda *_: pytest.fail("read"))
    assert run(tmp_path / "p", tmp_path / "g").pictures == 0 and contents(tmp_path / "g") == before


def test_a_picture_whose_size_and_time_are_the_same_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "p", 3)
    run(tmp_path / "p", tmp_path / "g")
    monkeypatch.setattr(Directory, "open", lambda *_: pytest.fail("read"))
    assert run(tmp_path / "p", tmp_path / "g").pictures == 0


def test_members_of_an_archive_that_were_replaced_are_looked_at_again_and_no_others(tmp_path: Path) -> None:
    def pack() -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for path in sorted((tmp_path / "p").iterdir()):
                tar.add(path, path.name)

    draw(tmp_path / "p", 3)
    pack()
    run(tmp_path / "a.tar", tmp_path / "g")
    draw(tmp_path, 1, first=104)
    (tmp_path / "104.png").rename(tmp_path / "p" / "001.png")
    pack()
    done = run(tmp_path / "a.tar", tmp_path / "g")
    assert (done.pictures, done.replaced, images(done.gallery)) == (1, 1, ["001.png"] * 4 + ["002.png"] * 2)


def test_pictures_that_change_places_change_their_faces(tmp_path: Path) -> None:
    draw(tmp_path / "p", 3)
    run(tmp_path / "p", tmp_path / "g")
    swap(tmp_path / "p" / "001.png", tmp_path / "p" / "002.png")
    done = run(tmp_path / "p", tmp_path / "g")
    assert (done.replaced, done.copies, images(done.gallery)) == (2, 0, ["001.png", "001.png", "002.png"])


def test_a_copied_folder_doubles_nobody(tmp_path: Path) -> None:
    draw(tmp_path / "p", 11)
    before = run(tmp_path / "p", tmp_path / "g").gallery
    shutil.copytree(tmp_path / "p", tmp_path / "w")
    done = run(tmp_path / "w", tmp_path / "g")
    assert (done.pictures, done.copies, done.faces) == (0, 10, 0)  # what was refused there is refused here
    assert images(done.gallery) == images(before) and done.gallery.pictures == before.pictures + 1
    again = run(tmp_path / "w", tmp_path / "g")
    assert (again.pictures, again.copies, again.faces) == (0, 10, 0)


def test_copies_among_new_pictures_are_known_whatever_shard_they_fall_into(tmp_path: Path) -> None:
    draw(tmp_path / "p", 3)
    for name in ("001 copy.png", "zzz.png"):
        shutil.copy(tmp_path / "p" / "001.png", tmp_path / "p" / name)
    for shard in (1, 2, 9):
        done = run(tmp_path / "p", tmp_path / f"g{shard}", shard)
        assert (done.pictures, done.copies, images(done.gallery)) == (3, 2, ["001 copy.png", "002.png", "002.png"])


def test_a_cluster_whose_workers_know_of_no_copies_writes_the_bytes_of_one_machine_which_only_reads_them(tmp_path: Path) -> None:
    draw(tmp_path / "p", 11)
    for number in (2, 3, 4, 9):
        shutil.copy(tmp_path / "p" / f"{number:03d}.png", tmp_path / "p" / f"z{number}.png")
    alone = run(tmp_path / "p", tmp_path / "alone")
    apart = embed(
        looking(), find_sources([tmp_path / "p"])[0], tmp_path / "apart", shard_pictures=4, look=lambda who, batches, _: (gather(who, each) for each in batches)
    )
    assert contents(tmp_path / "alone") == contents(tmp_path / "apart")
    assert (alone.copies, len(alone.refused)) == (apart.copies, len(apart.refused)) == (3, 2) and alone.faces == apart.faces


def test_a_copy_whose_original_was_replaced_has_faces_of_its_own(tmp_path: Path) -> None:
    draw(tmp_path / "p", 3)
    shutil.copy(tmp_path / "p" / "002.png", tmp_path / "p" / "z.png")
    run(tmp_path / "p", tmp_path / "g")
    draw(tmp_path, 1, first=104)
    (tmp_path / "104.png").rename(tmp_path / "p" / "002.png")
    done = run(tmp_path / "p", tmp_path / "g")
    assert (done.replaced, done.copies, images(done.gallery)) == (1, 0, ["001.png"] + ["002.png"] * 4 + ["z.png"] * 2)


@pytest.mark.parametrize("shard", [1, 2, 9])
def test_what_copies_hold_outlives_an_original_that_is_replaced_though_they_are_not_asked_for(tmp_path: Path, shard: int) -> None:
    draw(tmp_path / "p", 3)
    for name in ("y.png", "z.png"):
        shutil.copy(tmp_path / "p" / "002.png", tmp_path / "p" / name)
    before = np.concatenate([each.embeddings for each in run(tmp_path / "p", tmp_path / "g", shard).gallery.shards()])
    draw(tmp_path, 1, first=104)
    (tmp_path / "104.png").rename(tmp_path / "p" / "002.png")
    done = run(tmp_path / "p" / "002.png", tmp_path / "g", shard)
    assert (done.pictures, done.replaced, done.gallery.pictures) == (1, 1, 4)
    assert (found := images(done.gallery)) == ["001.png"] + ["002.png"] * 4 + ["y.png"] * 2
    assert np.array_equal(np.concatenate([each.embeddings for each in done.gallery.shards()])[:3], before)
    (tmp_path / "p" / "y.png").touch()
    again = run(tmp_path / "p", tmp_path / "g", shard)
    assert (again.pictures, again.replaced, again.copies, again.gallery.pictures) == (0, 0, 1, 4) and images(again.gallery) == found
    (tmp_path / "p" / "y.png").write_bytes((tmp_path / "p" / "001.png").read_bytes())
    last = run(tmp_path / "p" / "y.png", tmp_path / "g", shard)
    assert (last.replaced, last.copies, images(last.gallery)) == (1, 1, ["001.png"] + ["002.png"] * 4 + ["z.png"] * 2)


def test_copies_that_are_replaced_with_their_original_take_nothing_over(tmp_path: Path) -> None:
    draw(tmp_path / "p", 3)
    shutil.copy(tmp_path / "p" / "002.png", tmp_path / "p" / "z.png")
    run(tmp_path / "p", tmp_path / "g")
    for name in ("002.png", "z.png"):
        shutil.copy(tmp_path / "p" / "000.png", tmp_path / "p" / name)
    done = run(tmp_path / "p", tmp_path / "g")
    assert (done.replaced, done.copies, images(done.gallery)) == (2, 2, ["001.png"])


def test_a_picture_that_was_refused_and_could_be_read_later_counts_once(tmp_path: Path) -> None:
    draw(tmp_path / "p", 6)
    (tmp_path / "p" / "002.png").rename(tmp_path / "002.png")
    (tmp_path / "p" / "002.png").write_bytes(b"<html>")
    assert run(tmp_path / "p", tmp_path / "g").gallery.pictures == 6
    (tmp_path / "002.png").rename(tmp_path / "p" / "002.png")
    shutil.copy(tmp_path / "p" / "001.png", tmp_path / "p" / "003.png")
    done = run(tmp_path / "p", tmp_path / "g")
    assert (done.refused, done.gallery.pictures) == ((), 5)  # one is a copy


def test_what_was_deleted_is_named_and_stays(tmp_path: Path) -> None:
    draw(tmp_path / "p", 3)
    run(tmp_path / "p", tmp_path / "g")
    before = contents(tmp_path / "g")
    (tmp_path / "p" / "001.png").unlink()
    assert run(tmp_path / "p", tmp_path / "g").gone == (str(tmp_path / "p" / "001.png"),) and contents(tmp_path / "g") == before


def test_pictures_that_were_moved_keep_their_faces_under_their_new_names(tmp_path: Path) -> None:
    draw(tmp_path / "p", 9)
    shutil.copy(tmp_path / "p" / "001.png", tmp_path / "p" / "copy.png")
    before = run(tmp_path / "p", tmp_path / "g")
    found = images(before.gallery)
    (tmp_path / "p").rename(tmp_path / "q")
    after = run(tmp_path / "q", tmp_path / "g")
    assert (after.pictures, after.moved, after.copies, after.gallery.faces) == (0, 8, 1, before.gallery.faces) and images(after.gallery) == found
    assert after.gone == (str(tmp_path / "p" / "003.png"), str(tmp_path / "p" / "copy.png"))  # without faces of their own
    forget(tmp_path / "g", [str(tmp_path / "p")])
    again = run(tmp_path / "q", tmp_path / "g")
    assert (again.pictures, again.moved, again.gone, again.gallery.faces) == (0, 0, (), before.gallery.faces)


def test_a_gallery_that_another_run_has_changed_is_not_called_damaged(tmp_path: Path) -> None:
    draw(tmp_path / "p", 3)
    before = run(tmp_path / "p", tmp_path / "g").gallery
    forget(tmp_path / "g", [str(tmp_path / "p" / "001.png")])
    draw(tmp_path / "p", 5)
    run(tmp_path / "p", tmp_path / "g")
    with pytest.raises(RequestError, match="another run has changed this gallery meanwhile; ask again"):
        list(before.shards())


def test_what_could_not_be_read_and_was_deleted_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "p", 3)
    (tmp_path / "p" / "001.png").write_bytes(b"<html>")
    run(tmp_path / "p", tmp_path / "g")
    (tmp_path / "p" / "001.png").unlink()
    assert run(tmp_path / "p", tmp_path / "g").gone == (str(tmp_path / "p" / "001.png"),)


def test_what_cannot_be_told_is_not_called_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "p", 3)
    run(tmp_path / "p", tmp_path / "g")
    draw(tmp_path / "q", 1, first=7)
    stat = os.stat

    def refuse(path: str, *more: object, **words: object) -> os.stat_result:
        if str(path).startswith(str(tmp_path / "p") + "/"):
            raise PermissionError(13, "Permission denied", path)
        return stat(path, *more, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", refuse)
    assert run(tmp_path / "q", tmp_path / "g").gone == ()


def test_pictures_of_another_time_that_were_read_are_not_read_again_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "p", 8, first=10)
    run(tmp_path / "p", tmp_path / "g")
    for path in (tmp_path / "p").iterdir():
        os.utime(path, (1, 1))
    monkeypatch.setattr(embedding, "TOUCHED", 3)
    said = list[int]()

    def die(done: int, total: int | None = None, more: str = "") -> None:
        said.append(done)
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(looking(), find_sources([tmp_path / "p"])[0], tmp_path / "g", die)
    embed(looking(), find_sources([tmp_path / "p"])[0], tmp_path / "g", lambda done, total=None, more="": said.append(total or 0))
    assert said == [1, 2, 3, 4, 5, 6, 7, 2, 2]


def test_pictures_in_archives_are_as_those_in_folders(tmp_path: Path) -> None:
    draw(tmp_path / "p", 9)
    (tmp_path / "p" / "003.png").unlink()
    pictures = sorted((tmp_path / "p").iterdir())
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for path in pictures:
            tar.add(path, path.name)
    records = [struct.pack("<IfQQ", 0, 0.0, number, 0) + path.read_bytes() for number, path in enumerate(pictures)]
    (tmp_path / "a.rec").write_bytes(b"".join(struct.pack("<II", 0xCED7230A, len(record)) + record + bytes(-len(record) % 4) for record in records))
    (tmp_path / "a.txt").write_text("".join(f"p/{path.name}\n" for path in pictures))
    heaps = [embed(looking(), find_sources([tmp_path / heap])[0], tmp_path / f"of {heap}").gallery for heap in ("p", "a.tar", "a.rec", "a.txt")]
    expected = next(heaps[0].shards())
    for gallery in heaps:
        (shard,) = gallery.shards()
        assert np.array_equal(shard.embeddings, expected.embeddings) and np.array_equal(shard.boxes, expected.boxes) and len(shard.pictures) == 8
    assert faces_of(next(heaps[2].shards()))[0].image == str(tmp_path / "a.rec" / "1")


def test_progress_is_told_for_every_new_picture(tmp_path: Path) -> None:
    draw(tmp_path / "p", 6)
    told = []
    embed(looking(), find_sources([tmp_path / "p"])[0], tmp_path / "g", lambda done, total=None, more="": told.append((done, total, more)), shard_pictures=4)
    assert [(done, total) for done, total, _ in told] == [(number, 6) for number in range(1, 7)]
    assert all(more.endswith(" pictures/s") for _, _, more in told)


CHILD = """
import sys; sys.path.insert(0, sys.argv[1])
import test_embed
from pathlib import Path
from polyface.images.sources import find_sources
from polyface.inference.embed import embed
def report(done, total=None, more=""): print(done, flush=True)
embed(test_embed.looking(), find_sources([sys.argv[2]])[0], Path(sys.argv[3]), report, shard_pictures=4)
"""


def test_a_run_that_is_killed_again_and_again_leaves_the_bytes_of_one_that_was_not(tmp_path: Path) -> None:
    draw(tmp_path / "p", 30)
    run(tmp_path / "p", tmp_path / "whole")
    out, chance, kept, killed = tmp_path / "g", random.Random(), {}, 0
    for attempt in range(30):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(Path(__file__).parent), str(tmp_path / "p"), str(out)], stdout=subprocess.PIPE)
        for _ in range(chance.randint(1, 11) if attempt < 4 else 99):
            if not child.stdout.readline():
                break
        else:
            time.sleep(chance.uniform(0, 0.01))
            os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        manifest = json.loads((out / "gallery.json").read_bytes())
        for entry in manifest["shards"]:
            place = (out / entry["file"]).stat()
            assert kept.setdefault(entry["file"], (place.st_ino, place.st_mtime_ns)) == (place.st_ino, place.st_mtime_ns)  # no shard is written twice
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        killed += 1
    assert killed and contents(out) == contents(tmp_path / "whole")


KILLED = CHILD.replace(
    "import test_embed",
    """import os, signal, test_embed
left = int(sys.argv[4])
def dying(does):
    def do(*arguments, **named):
        global left
        if not (left := left - 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return does(*arguments, **named)
    return do
os.replace, os.unlink = dying(os.replace), dying(os.unlink)""",
)
"""Dies where it is about to rename or delete a file for the n-th time."""


def test_a_run_killed_while_it_takes_out_what_was_replaced_leaves_the_bytes_of_one_that_was_not(tmp_path: Path) -> None:
    draw(tmp_path / "p", 6)
    shutil.copy(tmp_path / "p" / "002.png", tmp_path / "p" / "copy.png")
    run(tmp_path / "p", tmp_path / "before")
    (tmp_path / "p" / "004.png").touch()
    draw(tmp_path / "new", 3, first=101)
    for number in (1, 2, 5):
        (tmp_path / "new" / f"{101 + number // 2}.png").rename(tmp_path / "p" / f"{number:03d}.png")
    shutil.copytree(tmp_path / "before", tmp_path / "whole")
    run(tmp_path / "p", tmp_path / "whole")
    for at in range(1, 6):  # both shards, gallery.json, the old shards
        out = shutil.copytree(tmp_path / "before", tmp_path / f"killed {at}")
        child = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path / "p"), str(out), str(at)]
        assert subprocess.run(child, capture_output=True).returncode == -signal.SIGKILL
        list(open_gallery(out, colours()).shards())  # it is whole
        run(tmp_path / "p", out)
        assert contents(out) == contents(tmp_path / "whole")


def test_what_a_killed_run_left_half_done_is_swept_away(tmp_path: Path) -> None:
    draw(tmp_path / "p", 6)
    run(tmp_path / "p", tmp_path / "g")
    whole = contents(tmp_path / "g")
    manifest = json.loads(whole["gallery.json"])
    manifest["shards"].pop()
    (tmp_path / "g" / "gallery.json").write_text(json.dumps(manifest))
    (tmp_path / "g" / "00001.npz").write_bytes(b"half")
    (tmp_path / "g" / ".00002.npz.x1y2").write_bytes(b"ha")
    (tmp_path / "g" / ".gallery.json.x1y2").write_bytes(b"{")
    run(tmp_path / "p", tmp_path / "g")
    assert contents(tmp_path / "g") == whole


def test_two_runs_do_not_write_to_one_gallery(tmp_path: Path) -> None:
    draw(tmp_path / "p", 2)
    said = []

    def other(*_: object, **__: object) -> None:
        with pytest.raises(RequestError, match="another run is writing to it"):
            run(tmp_path / "p", tmp_path / "g")
        said.append(True)

    embed(looking(), find_sources([tmp_path / "p"])[0], tmp_path / "g", other)
    assert said


def test_another_model_or_detector_does_not_add_to_a_gallery(tmp_path: Path) -> None:
    draw(tmp_path / "p", 2)
    run(tmp_path / "p", tmp_path / "g")
    with pytest.raises(RequestError, match=r"gallery\.json: made by the model colours@cccccccccccc, whose vectors say nothing"):
        run(tmp_path / "p", tmp_path / "g", network="e" * 64)
    analyzer = looking()
    analyzer.detector.sha256 = "f" * 64
    with pytest.raises(RequestError, match="its faces were found by quarters@dddddddddddd, not by quarters@ffffffffffff"):
        embed(analyzer, find_sources([tmp_path / "p"])[0], tmp_path / "g")


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "00000.npz").write_bytes(b"mine")
    draw(tmp_path / "p", 2)
    with pytest.raises(RequestError, match=r"holds 00000\.npz and no gallery\.json"):
        run(tmp_path / "p", tmp_path / "g")
    assert contents(tmp_path / "g") == {"00000.npz": b"mine"}


@pytest.mark.parametrize(("length", "said"), [(2.0, "a vector of length 2, not 1"), (np.nan, "a vector that is not finite")])
def test_a_vector_without_direction_is_never_written(tmp_path: Path, length: float, said: str) -> None:
    draw(tmp_path / "p", 2)
    with pytest.raises(RunError, match=rf"001\.png, face 0: .* gave it {said}"):
        run(tmp_path / "p", tmp_path / "g", length=length)
    assert open_gallery(tmp_path / "g", colours()).faces == 0


def rewritten(folder: Path, file: str = "00001.npz", **changed: np.ndarray) -> None:
    """Another shard in place of one, with its checksum."""
    with np.load(folder / file) as arrays:
        content = io.BytesIO()
        np.savez(content, **{name: changed.get(name, arrays[name]) for name in arrays})
    (folder / file).write_bytes(content.getvalue())
    manifest = json.loads((folder / "gallery.json").read_bytes())
    for entry in manifest["shards"]:
        if entry["file"] == file:
            entry["sha256"] = hashlib.sha256(content.getvalue()).hexdigest()
    (folder / "gallery.json").write_text(json.dumps(manifest))


def _changed(folder: Path, what: str) -> None:
    shard, manifest = folder / "00001.npz", json.loads((folder / "gallery.json").read_bytes())
    with np.load(shard) as arrays:
        vectors = arrays["embeddings"].copy()
    if what == "missing":
        shard.unlink()
    elif what == "cut":
        shard.write_bytes(shard.read_bytes()[:-100])
    elif what == "swapped":
        shard.write_bytes((folder / "00000.npz").read_bytes())
    elif what in ("nan", "long", "zero"):
        vectors[2] = {"nan": np.nan, "long": 7, "zero": 0}[what]
        rewritten(folder, embeddings=vectors)
    elif what == "narrow":
        rewritten(folder, embeddings=vectors[:, :5])
    elif what == "few":
        rewritten(folder, embeddings=vectors[1:])
    elif what == "double":
        rewritten(folder, embeddings=vectors.astype(np.float64))
    elif what == "network":
        rewritten(folder, network=np.array("e" * 64))
    elif what == "version":
        (folder / "gallery.json").write_text(json.dumps(manifest | {"gallery": 2}))
    elif what == "key":
        (folder / "gallery.json").write_text(json.dumps(manifest | {"detektor": "x"}))
    elif what == "card":
        (folder / "gallery.json").write_text('{"polyface": 1}')
    elif what == "half":
        (folder / "gallery.json").write_text('{"gallery": 1,')
    elif what == "none":
        (folder / "gallery.json").unlink()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("missing", r"00001\.npz: missing, of the 2 shards"),
        ("cut", r"00001\.npz: not the bytes that gallery\.json names"),
        ("swapped", r"00001\.npz: not the bytes that gallery\.json names"),
        ("nan", r"00001\.npz, row 2 \(.*006\.png, face 1\)|00001\.npz, row 2 \(.*, face \d\): a vector that is not finite"),
        ("long", r"00001\.npz, row 2 \(.*, face \d\): a vector of length 17\.15, not 1"),
        ("zero", r"00001\.npz, row 2 \(.*, face \d\): a vector of length 0, not 1"),
        ("narrow", r"00001\.npz: embeddings is float32 of shape \[\d+, 5\], float32 of \[\d+, 6\] is needed"),
        ("few", r"00001\.npz: embeddings is float32 of shape"),
        ("double", r"00001\.npz: embeddings is float64"),
        ("network", r"00001\.npz: made by the network eeeeeeeeeeee, the gallery by cccccccccccc"),
        ("version", r"gallery\.json: a gallery of format 2; this polyface reads format 3; `polyface embed` makes it anew, into another folder"),
        ("key", r"gallery\.json: unknown key 'detektor'; did you mean 'detector'"),
        ("card", r"gallery\.json: not of a gallery"),
        ("half", r"gallery\.json: no JSON"),
        ("none", r"gallery\.json: cannot be read"),
    ],
)
def test_a_gallery_that_is_not_whole_is_refused_by_file_and_row(tmp_path: Path, what: str, said: str) -> None:
    draw(tmp_path / "p", 8)
    run(tmp_path / "p", tmp_path / "g")
    _changed(tmp_path / "g", what)
    with pytest.raises(RequestError, match=said) as error:
        list(open_gallery(tmp_path / "g", colours()).shards())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["../g1/00000.npz"], r"gallery\.json: names the shard '\.\./g1/00000\.npz'; a shard lies beside it"),
        (["abc.npz"], r"gallery\.json: names the shard 'abc\.npz'; .* called by its number, such as 00000\.npz"),
        (["0" * 5000 + ".npz"], r"gallery\.json: names the shard '0+\.npz'"),
        (["00000.npz", "00000.npz"], r"gallery\.json: names the shard 00000\.npz twice"),
    ],
)
def test_a_gallery_whose_shards_are_not_its_own_or_named_twice_is_refused(tmp_path: Path, files: list[str], said: str) -> None:
    draw(tmp_path / "p", 3)
    for folder in ("g", "g1"):
        run(tmp_path / "p", tmp_path / folder)
    manifest = json.loads((tmp_path / "g" / "gallery.json").read_bytes())
    manifest["shards"] = [manifest["shards"][0] | {"file": file} for file in files]
    (tmp_path / "g" / "gallery.json").write_text(json.dumps(manifest))
    for use in (lambda: open_gallery(tmp_path / "g", colours()), lambda: run(tmp_path / "p", tmp_path / "g"), lambda: forget(tmp_path / "g", ["x"])):
        with pytest.raises(RequestError, match=said) as error:
            use()
        assert "\n" not in str(error.value)


def test_faces_are_found_by_their_rows(tmp_path: Path) -> None:
    draw(tmp_path / "p", 9)
    gallery = run(tmp_path / "p", tmp_path / "g").gallery
    rows = [face for shard in gallery.shards() for face in faces_of(shard)]
    assert Gallery(gallery.folder, gallery.manifest).faces_at([7, 0, len(rows) - 1, 7]) == {row: rows[row] for row in (0, 7, len(rows) - 1)}


def test_the_command_embeds_lists_what_is_bad_and_goes_on(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    portrait = pytest.importorskip("skimage.data").astronaut()
    (tmp_path / "p").mkdir()
    assert cv2.imwrite(str(tmp_path / "p" / "astronaut.jpg"), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    (tmp_path / "p" / "broken.jpg").write_bytes(b"<html>")
    command = ["embed", str(tmp_path / "p"), str(tmp_path / "gone.tar"), "--out", str(tmp_path / "g"), "--model", str(model)]
    assert cli.run(command) == 1
    said = capsys.readouterr()
    assert (
        said.out == "" and "1 face on 1 new picture," in said.err and "broken.jpg: a web page" in said.err and "gone.tar: no such" in said.err and "2 refused" in said.err
    )
    assert cli.run(command) == 1
    assert f"0 faces on 0 new pictures; 2 refused; 1 face of 1 picture in {tmp_path / 'g'}, and 1 picture that could not be read\n" in capsys.readouterr().err
    shutil.copy(tmp_path / "p" / "astronaut.jpg", tmp_path / "p" / "z.jpg")
    assert cli.run(command) == 1
    assert "0 faces on 0 new pictures; 1 picture is a copy of ones already there; 2 refused; 1 face of 1 picture in" in capsys.readouterr().err
    (tmp_path / "p" / "z.jpg").unlink()
    assert cli.run(command) == 1
    assert f"z.jpg: no longer there, and still in {tmp_path / 'g'}; --forget takes it out" in capsys.readouterr().err
    assert cli.run(["embed", str(tmp_path / "gone.tar"), "--out", str(tmp_path / "h"), "--model", str(model)]) == 2
    assert not (tmp_path / "h").exists()


def test_what_is_said_at_the_end_counts_pictures_that_were_looked_at_and_names_the_refused_apart(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    draw(tmp_path / "p", 5)
    command = ["embed", str(tmp_path / "p"), "--out", str(tmp_path / "g"), "--model", str(model)]
    assert cli.run(command) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert " on 4 new pictures, " in said and "; 1 refused; " in said and said.endswith(f" of 4 pictures in {tmp_path / 'g'}, and 1 picture that could not be read")
    draw(tmp_path, 1, first=7)
    (tmp_path / "007.png").rename(tmp_path / "p" / "003.png")
    assert cli.run(command) == 0
    said = capsys.readouterr().err.splitlines()[-1]
    assert " on 1 new picture, " in said and "refused" not in said and said.endswith(f" of 5 pictures in {tmp_path / 'g'}")
    assert cli.run(["embed", "--forget", str(tmp_path / "p" / "000.png"), "--out", str(tmp_path / "g")]) == 0
    assert capsys.readouterr().err.endswith(f" of 4 pictures in {tmp_path / 'g'}\n")


def test_embedding_loads_no_torch() -> None:
    code = "import polyface.inference.embed, polyface.images.sources, polyface.inference.find, polyface.inference.people, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
