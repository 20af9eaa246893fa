import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from polyface.inference import track
from polyface.inference.card import Card, CropEntry, Threshold
from polyface.inference.track import Tracks

NEAR, ANYWHERE = 0.6, 0.8
BOX = np.array([100.0, 100.0, 140.0, 150.0])


def person(number: int, off: float = 0.0) -> np.ndarray:
    """One of 8 people, all at right angles, `off` degrees away from itself."""
    vector = np.zeros(16)
    vector[number], vector[number + 8] = np.cos(np.radians(off)), np.sin(np.radians(off))
    return vector


def tracks() -> Tracks:
    return Tracks(NEAR, ANYWHERE)


def test_a_face_that_drifts_keeps_its_number() -> None:
    faces = tracks()
    assert [faces.follow(at / 25, [BOX + 5 * at], [person(0, 20 * (at % 2))]) for at in range(50)] == [[0]] * 50


def test_two_faces_that_change_places_keep_their_numbers() -> None:
    faces = tracks()
    for at in range(41):
        boxes = [BOX + np.array([x, 0, x, 0]) for x in (5 * at, 200 - 5 * at)]
        order = [1, 0] if at % 3 else [0, 1]  # whichever is the foremost on this frame
        assert faces.follow(at / 25, [boxes[each] for each in order], [person(each) for each in order]) == order


def test_two_people_who_are_exchanged_by_a_cut_keep_their_numbers_though_they_look_alike() -> None:
    faces = tracks()
    alike, places = [person(0), person(0, 60)], [BOX, BOX + 300]  # a cosine of 0.5, as a face may have with itself
    assert [faces.follow(at / 25, places, alike) for at in range(3)] == [[0, 1]] * 3
    assert faces.follow(0.12, places, alike[::-1]) == [1, 0]


def test_another_face_at_the_same_place_after_a_cut_is_another() -> None:
    faces = tracks()
    assert [faces.follow(at / 25, [BOX], [person(0 if at < 3 else 1)]) for at in range(5)] == [[0], [0], [0], [1], [1]]


def test_a_face_that_jumps_is_known_by_its_embedding() -> None:
    faces = tracks()
    assert faces.follow(0.0, [BOX], [person(0)]) == [0]
    assert faces.follow(0.1, [BOX + 70], [person(0, 45)]) == [0]  # near: a cosine of 0.7 is enough
    assert faces.follow(0.2, [BOX + 900], [person(0, 10)]) == [0]  # far off: it has to be surer
    assert faces.follow(0.3, [BOX], [person(0, 60)]) == [1]


def test_a_face_that_comes_back_soon_keeps_its_number_and_later_gets_a_new_one() -> None:
    faces = tracks()
    assert faces.follow(0.0, [BOX], [person(0)]) == [0]
    for at in range(1, 30):
        assert faces.follow(at / 10, [], []) == []
    assert faces.follow(3.0, [BOX + 500], [person(0)]) == [0]
    for at in range(31, 200):
        faces.follow(at / 10, [], [])
    assert faces.tracks == []
    assert faces.follow(20.0, [BOX + 500], [person(0)]) == [1]


def test_looks_that_are_far_apart_in_time_do_not_forget() -> None:
    faces = tracks()
    assert [faces.follow(60.0 * at, [BOX], [person(0)]) for at in range(4)] == [[0]] * 4


def test_a_place_says_little_after_a_while() -> None:
    lately, later = tracks(), tracks()
    for faces in (lately, later):
        assert faces.follow(0.0, [BOX], [person(0)]) == [0]
    assert lately.follow(0.1, [BOX], [person(0, 60)]) == [0]  # a cosine of 0.5
    assert later.follow(2.0, [BOX], [person(0, 60)]) == [1]


def test_without_embeddings_the_place_decides() -> None:
    for faces, vectors in ((Tracks(), [person(0)]), (tracks(), None)):
        assert faces.follow(0.0, [BOX], vectors) == [0]
        assert faces.follow(0.1, [BOX + 10], vectors) == [0]
        assert faces.follow(0.2, [BOX + 300], vectors) == [1]


@given(st.lists(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(0, 7)), max_size=8), max_size=12))
@settings(max_examples=40)
def test_no_two_faces_of_a_frame_share_a_number_and_numbers_are_given_in_turn(frames: list[list[tuple[int, int, int]]]) -> None:
    faces, known = tracks(), -1
    for at, frame in enumerate(frames):
        numbers = faces.follow(at / 25, [BOX + np.array([x, y, x, y]) for x, y, _ in frame], [person(who, 30) for _, _, who in frame])
        assert len(set(numbers)) == len(numbers) == len(frame)
        new = sorted(number for number in numbers if number > known)
        assert new == list(range(known + 1, known + 1 + len(new)))
        known += len(new)


def test_a_card_says_how_sure_a_cosine_is() -> None:
    card = Card(name="a", created="2026-11-28", crop=CropEntry(size=64, eye_distance=15.0, eyes=(32.0, 30.0)), tasks={}, data=(), licence="none")
    assert (track.tracks_by(card).near, track.tracks_by(card).anywhere) == (None, None)
    lines = tuple(Threshold(far=far, cosine=cosine) for far, cosine in ((0.01, 0.6), (0.001, 0.7), (0.0001, 0.8)))
    calibrated = track.tracks_by(msgspec.structs.replace(card, thresholds=lines))
    assert (calibrated.near, calibrated.anywhere) == (0.6, 0.8)
