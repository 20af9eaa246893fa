import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface.errors import InputError
from polyface.metrics import landmarks

errors_with_misses = st.lists(st.one_of(st.floats(0, 0.3), st.just(np.inf)), min_size=1, max_size=20)


def test_the_nme_is_what_measuring_by_hand_gives():
    random = np.random.default_rng(0)
    truth, predicted, seen = random.random((6, 5, 2)), random.random((6, 5, 2)), random.random((6, 5)) < 0.7
    seen[:, 0] = True
    size = random.random(6) + 1
    expected = []
    for n in range(6):
        distances = [((truth[n, p, 0] - predicted[n, p, 0]) ** 2 + (truth[n, p, 1] - predicted[n, p, 1]) ** 2) ** 0.5 for p in range(5) if seen[n, p]]
        expected.append(sum(distances) / len(distances) / size[n])
    np.testing.assert_allclose(landmarks.nme(truth, predicted, size, seen=seen), expected)


def test_normalisers_are_distances_of_the_right_points():
    points = np.zeros((1, 68, 2))
    points[0, 36], points[0, 45] = (10, 0), (40, 40)
    assert landmarks.outer_eye_distance(points).tolist() == [50]
    points[0, 36:42, 0], points[0, 42:48, 0], points[0, 36:48, 1] = 10, 40, 7
    assert landmarks.pupil_distance(points).tolist() == [30]
    assert landmarks.eye_distance(np.array([[[0, 0], [3, 4], [9, 9], [9, 9], [9, 9]]])).tolist() == [5]
    boxes = np.array([[1, 1, 4, 5], [0, 0, 4, 9]])
    assert landmarks.box_diagonal(boxes[:1]).tolist() == [5]
    assert landmarks.box_size(boxes[1:]).tolist() == [6]


def test_the_worked_auc_and_failure_rate():
    errors = np.array([0.04, 0.12])
    assert landmarks.auc(errors, 0.08) == pytest.approx(0.25)
    assert landmarks.failure_rate(errors, 0.08) == 0.5


@pytest.mark.parametrize("alpha", [0.05, 0.07, 0.08, 0.10])
def test_a_perfect_model_has_an_auc_of_exactly_one(alpha):
    assert landmarks.auc(np.zeros(7), alpha) == 1.0


@given(errors_with_misses, st.floats(0.01, 0.2))
def test_the_auc_is_the_area_under_the_curve_of_failures_left_out(errors, alpha):
    steps = np.linspace(0, alpha, 2001)[:-1] + alpha / 4000
    area = np.mean([np.mean(np.array(errors) <= step) for step in steps])
    assert landmarks.auc(np.array(errors), alpha) == pytest.approx(area, abs=1e-3)


@given(errors_with_misses, st.floats(0.01, 0.2), st.floats(0.01, 0.2))
def test_failures_fall_and_the_auc_rises_with_alpha(errors, a, b):
    errors, low, high = np.array(errors), min(a, b), max(a, b)
    assert landmarks.failure_rate(errors, low) >= landmarks.failure_rate(errors, high)
    assert landmarks.auc(errors, low) <= landmarks.auc(errors, high) + 1e-12
    assert landmarks.auc(errors, low) <= 1 - landmarks.failure_rate(errors, low) + 1e-12


def test_an_error_of_exactly_alpha_is_no_failure():
    assert landmarks.failure_rate(np.array([0.08]), 0.08) == 0


def test_a_miss_fails_and_adds_no_area_and_no_face_is_no_score():
    truth = np.zeros((4, 5, 2))
    predicted = np.full((4, 5, 2), np.nan)
    predicted[:3] = 0
    predicted[2, :, 0] = 0.2
    errors = landmarks.nme(truth, predicted, np.ones(4), missed=np.array([0, 0, 0, 1], bool))
    assert (landmarks.failure_rate(errors, 0.1), landmarks.auc(errors, 0.1)) == (0.5, 0.5)
    assert (landmarks.failure_rate(np.full(3, np.inf), 0.1), landmarks.auc(np.full(3, np.inf), 0.1)) == (1, 0)
    assert np.isnan([landmarks.failure_rate(np.zeros(0), 0.1), landmarks.auc(np.zeros(0), 0.1)]).all()


def test_bad_points_are_refused_by_row():
    good = np.zeros((2, 5, 2))
    bad = good.copy()
    bad[1, 2, 0] = np.nan
    with pytest.raises(InputError, match="predicted: row 1 is not finite"):
        landmarks.nme(good, bad, np.ones(2))
    with pytest.raises(InputError, match="truth: row 1 is not finite"):
        landmarks.nme(bad, good, np.ones(2))
    with pytest.raises(InputError, match="face 1 has no size"):
        landmarks.nme(good, good, np.array([1.0, 0.0]))
    with pytest.raises(InputError, match="face 0 has no labelled point"):
        landmarks.nme(good, good, np.ones(2), seen=np.array([[False] * 5, [True] * 5]))
    with pytest.raises(InputError, match="errors: row 1 is nan"):
        landmarks.auc(np.array([0.1, np.nan]), 0.1)


def test_the_truth_of_an_unlabelled_point_is_not_read():
    truth, seen = np.zeros((1, 5, 2)), np.ones((1, 5), bool)
    truth[0, 3], seen[0, 3] = np.nan, False
    assert landmarks.nme(truth, np.ones((1, 5, 2)), np.ones(1), seen=seen)[0] == pytest.approx(2**0.5)
