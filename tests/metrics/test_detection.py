import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface.errors import InputError
from polyface.images import geometry
from polyface.metrics.detection import Judgement, average_precision, five_point_errors, judge, overlaps_between


def boxes(*corners: float) -> np.ndarray:
    """Squares of side 10 at these x."""
    return np.array([[x, 0, x + 10, 10] for x in corners], float).reshape(-1, 4)


def picture(found: np.ndarray, scores: list[float], truth: np.ndarray, counts: list[bool] | None = None) -> Judgement:
    return Judgement(found, np.array(scores), truth, np.ones(len(truth), bool) if counts is None else np.array(counts))


def average_precision_slowly(pictures: list[Judgement]) -> float:
    """As the evaluation code has it: a threshold at every score, matches counted anew for each."""
    faces = sum(int(each.counts.sum()) for each in pictures)
    curve = []
    for threshold in sorted({float(score) for each in pictures for score in each.scores}, reverse=True):
        proposals = hits = 0
        for each in pictures:
            taken: set[int] = set()
            for row in sorted(range(len(each.scores)), key=lambda row: (-each.scores[row], row)):
                if each.scores[row] < threshold:
                    continue
                overlaps = [geometry.overlap(each.boxes[row], truth) for truth in each.truth]
                face = int(np.argmax(overlaps)) if overlaps else -1
                if face >= 0 and overlaps[face] >= 0.5 and not each.counts[face]:
                    continue
                proposals += 1
                if face >= 0 and overlaps[face] >= 0.5 and face not in taken:
                    taken.add(face)
                    hits += 1
        if proposals:
            curve.append((hits / faces, hits / proposals))
    area = before = 0.0
    for at, (recall, _) in enumerate(curve):
        area += (recall - before) * max(precision for _, precision in curve[at:])
        before = recall
    return area


@given(st.integers(0, 10_000))
def test_average_precision_is_the_slow_references(seed: int) -> None:
    random = np.random.default_rng(seed)
    pictures = []
    for _ in range(3):
        truth = boxes(*random.choice(60, 4, replace=False))
        found = boxes(*random.uniform(0, 60, 6))
        pictures.append(picture(found, list(random.integers(0, 10, 6) / 10), truth, list(random.random(4) < 0.7)))
    if sum(each.counts.sum() for each in pictures):
        assert average_precision(pictures) == pytest.approx(average_precision_slowly(pictures))


def test_known_by_hand() -> None:
    perfect = picture(boxes(0, 40), [0.9, 0.8], boxes(0, 40))
    assert average_precision([perfect]) == 1
    half = picture(boxes(0), [0.9], boxes(0, 40))
    assert average_precision([half]) == 0.5
    doubled = picture(boxes(0, 0.5, 40), [0.9, 0.8, 0.7], boxes(0, 40))
    assert average_precision([doubled]) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert average_precision([picture(boxes(), [], boxes(0))]) == 0
    assert np.isnan(average_precision([picture(boxes(0), [0.5], boxes(0), [False])]))


def test_finds_of_faces_that_do_not_count_are_neither_right_nor_wrong() -> None:
    judged = judge(picture(boxes(0, 20, 60), [0.9, 0.8, 0.7], boxes(0, 20), [True, False]))
    np.testing.assert_array_equal(judged, [1, np.nan, 0])


def test_a_broken_detector_gets_no_score() -> None:
    with pytest.raises(InputError, match="scores: row 0 is not finite"):
        average_precision([picture(boxes(0), [np.nan], boxes(0))])


def test_overlaps_are_those_of_two_boxes_each() -> None:
    random = np.random.default_rng(0)
    first, second = (np.hstack([corner, corner + random.uniform(1, 30, corner.shape)]) for corner in (random.uniform(0, 30, (4, 2)), random.uniform(0, 30, (3, 2))))
    np.testing.assert_allclose(overlaps_between(first, second), [[geometry.overlap(one, other) for other in second] for one in first])


def test_points_are_measured_in_eye_distances() -> None:
    truth = np.array([[[0.0, 0], [10, 0], [5, 5], [2, 8], [8, 8]]])
    assert five_point_errors(truth + np.array([3, 4]), truth) == pytest.approx([0.5])
