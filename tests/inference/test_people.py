import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyface import cli, tasks
from polyface.errors import RequestError
from polyface.inference import card as cards
from polyface.inference import people_page
from polyface.inference.gallery import Gallery, GalleryFace, Shard, add_shard, manifest_of
from polyface.inference.people import People, Person, connected, joining_line, mutual, people
from polyface.tasks import Embedding

pytest.importorskip("scipy")

LINES = tuple(cards.Threshold(far=far, cosine=cosine) for far, cosine in ((0.01, 0.3), (0.001, 0.5), (1e-4, 0.7)))


class Engine:
    """Of a network and a detector, what a gallery has to know."""

    name, terms = "drawn", "by a drawn model"
    sha256, network, label, tasks = "a" * 64, "a" * 64, "knows@aaaaaaaaaaaa", (Embedding("identity", "Who?", dimension=3),)

    def __init__(self, card: cards.Card):
        self.card = card


@pytest.fixture
def engine(card: cards.Card) -> Engine:
    return Engine(cards.with_calibration(card, {"identity": cards.PairCalibration(slope=10.0, intercept=-2.0, different=0.05, frr=0.01)}, LINES))


def gallery_of(folder: Path, engine: Engine, degrees: list[list[float]], unclear: float = 360) -> Gallery:
    """Faces on a circle, a shard for each list; those on one place of two lists are on one picture, those beyond `unclear` degrees blurred."""
    manifest = manifest_of(engine, engine)
    for angles in degrees:
        turned, count, none = np.radians(angles), len(angles), np.array([], str)
        vectors = np.stack([np.cos(turned), np.sin(turned), np.zeros(count)], 1).astype(np.float32)
        names = np.array([f"/g/{row}.jpg" for row in range(count)], str)
        arrays = (
            names,
            np.full(count, len(manifest.shards), np.int32),
            np.zeros((count, 4), np.float32),
            np.where(np.array(angles) > unclear, 0.5, 1.0).astype(np.float32),
        )
        contents = np.zeros((count, 32), np.uint8), np.zeros((count, 2), np.int64)
        manifest = add_shard(folder, manifest, Shard(*arrays, vectors, names, none, none, none, *contents))
    return Gallery(folder, manifest)


def test_a_chain_of_alike_faces_is_one_person_and_the_rest_are_alone(engine: Engine, tmp_path: Path) -> None:
    found = people(gallery_of(tmp_path, engine, [[0, 40, 180], [80, 270]]), engine, far=1e-4)  # cosine 0.7 is 45.6 degrees
    (person,) = found.people
    assert [(face.image, face.face) for face in person.faces] == [("/g/1.jpg", 0), ("/g/0.jpg", 0), ("/g/0.jpg", 1)]  # the middle of the chain first
    assert person.likeness == pytest.approx(np.cos(np.radians(40)), abs=1e-4)
    assert [each.faces[0].image for each in found.alone] == ["/g/2.jpg", "/g/1.jpg"]
    assert (found.cosine, found.far, found.faces) == (0.7, 1e-4, 5)
    assert found.rows()[0] == {"person": 1, "faces": 3, "pictures": 2, "likeness": person.likeness, "most typical": "/g/1.jpg"}


def test_a_coarser_line_joins_more(engine: Engine, tmp_path: Path) -> None:
    gallery = gallery_of(tmp_path, engine, [[0, 50, 120, 121]])
    assert [len(person.faces) for person in people(gallery, engine, far=1e-4).people] == [2]
    assert [len(person.faces) for person in people(gallery, engine, far=0.001).people] == [2, 2]
    assert [len(person.faces) for person in people(gallery, engine, far=0.01).people] == [4]


def test_two_faces_of_one_picture_are_two_people(engine: Engine, tmp_path: Path) -> None:
    found = people(gallery_of(tmp_path, engine, [[0, 90], [1, 95]]), engine, far=1e-4)
    assert not found.people and len(found.alone) == 4
    joined = mutual(np.array([[1, 0], [1, 0.1], [1, 0.2]], np.float32), 0.5, np.array([0, 0, 1]), nearest=1)
    assert {int(joined.first[joined.i[0]]), int(joined.first[joined.j[0]])} == {1, 2} and len(joined.i) == 1  # nor does who stands beside one keep others away


def test_unclear_faces_are_left_out_and_counted(engine: Engine, tmp_path: Path) -> None:
    found = people(gallery_of(tmp_path / "some", engine, [[0, 10, 200, 201, 202]], unclear=180), engine)
    assert [len(person.faces) for person in found.people] == [2] and not found.alone and [face.image for face in found.unclear] == [f"/g/{row}.jpg" for row in (2, 3, 4)]
    assert found.in_words().startswith("1 person of 2 faces, 0 faces like no other, and 3 faces too unclear to compare.")
    assert people(gallery_of(tmp_path / "none", engine, [[0, 10]]), engine).in_words().startswith("1 person of 2 faces, and 0 faces like no other. Joined")
    nobody = people(gallery_of(tmp_path / "all", engine, [[200, 201]], unclear=180), engine)
    assert (nobody.people, nobody.alone, len(nobody.unclear), nobody.faces) == ((), (), 2, 2)


def test_many_copies_of_a_face_are_one_person_by_as_many_edges(engine: Engine, tmp_path: Path) -> None:
    """100,000 pairs of copies would be 5,000,000,000 pairs."""
    copies = 100_000
    vectors = np.zeros((copies + 2, 3), np.float32)
    vectors[:, 0], vectors[-1] = 1, (0, 1, 0)
    vectors[-2] = np.cos(0.1), np.sin(0.1), 0
    joined = mutual(vectors, 0.7, np.arange(len(vectors)))
    i, j = joined.edges()
    assert len(i) <= 3 * copies and len(set(connected(len(vectors), i, j).tolist())) == 3
    assert joined.times().tolist() == [copies * (copies - 1) // 2]  # the face beside them has no place among the nearest of any copy
    found = people(gallery_of(tmp_path, engine, [[0] * 9 + [90, 100]]), engine, far=1e-4)
    assert [(len(person.faces), person.likeness) for person in found.people] == [(9, 1.0), (2, pytest.approx(np.cos(np.radians(10)), abs=1e-4))]


def test_new_photographs_join_the_people_that_are_there(engine: Engine, tmp_path: Path) -> None:
    before = people(gallery_of(tmp_path / "a", engine, [[0, 10, 90, 100]]), engine)
    after = people(gallery_of(tmp_path / "b", engine, [[0, 10, 90, 100], [5, 200]]), engine)
    assert sorted(len(person.faces) for person in before.people) == [2, 2]
    assert sorted(len(person.faces) for person in after.people) == [2, 3] and len(after.alone) == 1


@pytest.mark.parametrize(("faces", "far"), [(1, 0.01), (100, 0.01), (101, 0.001), (1000, 0.001), (5000, 1e-4), (10**6, 1e-4)])
def test_the_line_joins_less_than_one_wrong_face_on_average(engine: Engine, faces: int, far: float) -> None:
    assert joining_line(engine.card, tasks.identity, faces).far == far


def test_a_rate_that_the_card_does_not_offer_is_refused(engine: Engine, card: cards.Card) -> None:
    with pytest.raises(RequestError, match=r"no line for a rate of 0\.5"):
        joining_line(engine.card, tasks.identity, 5, 0.5)
    with pytest.raises(RequestError, match="run `polyface calibrate"):
        joining_line(card, tasks.identity, 5)


def test_what_the_command_writes_is_there_though_nobody_reads_what_it_prints(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_unread: Callable[[list[str]], int]
) -> None:
    monkeypatch.setattr("polyface.inference.engine.load", lambda model: engine)
    gallery = gallery_of(tmp_path / "gallery", engine, [[0, 10, 180]])
    found = people(gallery, engine)
    html, json_file = tmp_path / "people.html", tmp_path / "people.json"
    assert run_unread(["people", "--gallery", str(tmp_path / "gallery"), "--html", str(html), "--json", str(json_file)]) == cli.BROKEN_PIPE
    assert json_file.read_text() == found.to_json() and len(json.loads(json_file.read_text())["people"]) == 1
    assert html.read_text() == people_page.contact_sheet(found, gallery)[0]


class AsTheyAre:
    """A gallery of pictures that did not change."""

    def sha256_of(self, names: Iterable[str]) -> dict[str, bytes]:
        return {name: hashlib.sha256(Path(name).read_bytes()).digest() for name in names if Path(name).exists()}


def faces_on(folder: Path, names: Iterable[object]) -> tuple[GalleryFace, ...]:
    """A face in the middle of a picture for each name, files or not."""
    return tuple(GalleryFace(str(folder / f"{name}.png"), 0, (20.0, 20.0, 60.0, 60.0), 1.0) for name in names)


def test_a_sheet_shows_so_many_faces_and_says_how_many_more_there_are(tmp_path: Path) -> None:
    many = Person(faces_on(tmp_path / "many", range(people_page.SHOWN + 1234)), 0.7)
    whole = Person(faces_on(tmp_path / "whole", range(people_page.SHOWN)), 0.6)
    alone = tuple(Person(faces_on(tmp_path / "alone", [number])) for number in range(people_page.SHOWN_ALONE + 5))
    html, refused = people_page.contact_sheet(People((many, whole), alone, (), 0.5, 0.001, "drawn", len(many.faces) + len(whole.faces) + len(alone)), AsTheyAre())  # type: ignore[arg-type]
    one, other, rest = re.split("<h2>Person 2|<h2>Alone", html)
    assert [part.count("<figure>") for part in (one, other, rest)] == [people_page.SHOWN, people_page.SHOWN, people_page.SHOWN_ALONE]
    assert [re.findall("and ([0-9,]+) more", part) for part in (one, other, rest)] == [["1,234"], [], ["5"]]
    shown = [*many.faces[: people_page.SHOWN], *whole.faces, *(person.faces[0] for person in alone[: people_page.SHOWN_ALONE])]
    assert re.findall('title="(.*), face 0"', html) == [face.image for face in shown]
    assert len(refused) == len(shown)  # none is there, and no other was looked for


def test_a_sheet_shows_faces_and_names_those_whose_pictures_are_gone(tmp_path: Path) -> None:
    red, gone = faces_on(tmp_path, ["red", "gone"])
    pixels = np.full((100, 100, 3), 90, np.uint8)
    pixels[20:60, 20:60] = (10, 10, 250)
    assert cv2.imwrite(red.image, pixels)
    html, (refusal,) = people_page.contact_sheet(People((Person((red, gone), 0.9),), (), (), 0.5, 0.001, "drawn", 2), AsTheyAre())  # type: ignore[arg-type]
    (uri,) = re.findall('src="data:image/jpeg;base64,([^"]+)"', html)
    crop = cv2.imdecode(np.frombuffer(base64.b64decode(uri), np.uint8), cv2.IMREAD_COLOR).astype(int)
    assert crop.shape == (people_page.SIDE, people_page.SIDE, 3) and (np.abs(crop[people_page.SIDE // 2, people_page.SIDE // 2] - (10, 10, 250)) < 20).all()
    assert (np.abs(crop[3, 3] - 90) < 20).all()
    assert refusal.startswith(f"{gone.image}: ") and html.count("no picture") == 1 and "and 0 more" not in html


def test_a_sheet_shows_nobody_of_a_picture_that_was_replaced(engine: Engine, tmp_path: Path) -> None:
    gallery = gallery_of(tmp_path / "gallery", engine, [[0, 10]])
    (shard,) = gallery.shards()
    pictures = np.array([str(tmp_path / f"{each}.png") for each in range(2)])
    for name in pictures:
        assert cv2.imwrite(name, np.full((50, 50, 3), 90, np.uint8))
    digests = np.stack([np.frombuffer(hashlib.sha256(Path(name).read_bytes()).digest(), np.uint8) for name in pictures])
    manifest = add_shard(tmp_path / "gallery", manifest_of(engine, engine), replace(shard, names=pictures, pictures=pictures, sha256=digests))
    gallery = Gallery(tmp_path / "gallery", manifest)
    found = people(gallery, engine)
    assert people_page.contact_sheet(found, gallery)[1] == []
    assert cv2.imwrite(pictures[1], np.zeros((50, 50, 3), np.uint8))
    html, refused = people_page.contact_sheet(found, gallery)
    assert refused == [f"{pictures[1]}: another picture than the gallery's"] and html.count("<img") == 1


@settings(max_examples=50)
@given(
    seed=st.integers(0, 9999), faces=st.integers(1, 30), nearest=st.integers(1, 4), d=st.sampled_from([2, 3, 512]), at=st.integers(0, 10_000), beside=st.integers(0, 6)
)  # fmt: skip
def test_mutual_pairs_and_groups_are_those_of_the_definition(seed: int, faces: int, nearest: int, d: int, at: int, beside: int) -> None:
    """Of few whole numbers, so that many scores tie and many vectors are equal, with a line that some pair lies on exactly, and `beside` faces on pictures of others."""
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-1, 2, (4, d))[rng.integers(0, 4, faces)].astype(np.float32)
    vectors[:, 0] = rng.integers(-1, 2, faces)
    scores = (vectors.astype(int) @ vectors.astype(int).T).tolist()
    line = scores[at % faces][at // 100 % faces]
    pictures = np.arange(faces)
    pictures[rng.integers(0, faces, beside)] = rng.integers(0, faces, beside)
    kept = mutual(vectors, line, pictures, nearest)
    lie = [{pictures[other] for other in range(faces) if (vectors[other] == vectors[face]).all()} for face in range(faces)]  # a copy lies where any of them does

    def rivals(face: int) -> list[int]:
        return [other for other in range(faces) if other != face and ((vectors[other] == vectors[face]).all() or not lie[face] & lie[other])]

    def among(face: int, other: int) -> bool:
        return other in rivals(face) and sum(scores[face][third] > scores[face][other] for third in rivals(face)) < nearest

    expected = [(a, b) for a in range(faces) for b in range(a + 1, faces) if scores[a][b] >= line and among(a, b) and among(b, a)]
    rows = [np.flatnonzero(kept.twin == which).tolist() for which in range(len(kept.first))]
    pairs = [(i, j, score, {(min(a, b), max(a, b)) for a in rows[i] for b in rows[j] if a != b}) for i, j, score in zip(kept.i, kept.j, kept.scores, strict=True)]
    assert sorted(pair for _, _, _, those in pairs for pair in those) == expected
    assert kept.times().tolist() == [len(those) for _, _, _, those in pairs]
    assert all(scores[a][b] == score for _, _, score, those in pairs for a, b in those)
    assert (kept.copies[kept.twin] == [len(rows[which]) for which in kept.twin]).all() and kept.twin[kept.first].tolist() == list(range(len(kept.first)))
    group = list(range(faces))
    for a, b in expected * faces:
        group[a] = group[b] = min(group[a], group[b])
    found = connected(faces, *kept.edges())
    assert [[found[a] == found[b] for b in range(faces)] for a in range(faces)] == [[group[a] == group[b] for b in range(faces)] for a in range(faces)]
