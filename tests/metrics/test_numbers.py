"""Ages, traits, angles, constant answers."""

import itertools

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from polyface.errors import InputError
from polyface.metrics import ages, angles, baselines, traits

years = st.lists(st.tuples(st.integers(0, 116), st.integers(0, 116)), min_size=1, max_size=20)
trait_rows = st.lists(st.tuples(*[st.tuples(st.integers(-1, 1), st.sampled_from([0.0, 0.2, 0.5, 0.50001, 0.9, 1.0]))] * 3), max_size=12)


@given(years, st.integers(0, 10))
def test_age_scores_are_what_counting_by_hand_gives(rows, k):
    truth, predicted = np.array(rows).T
    off = [abs(t - p) for t, p in rows]
    assert ages.mean_absolute_error(truth, predicted) == pytest.approx(sum(off) / len(off))
    assert ages.mean_absolute_error(truth, predicted) == pytest.approx(sklearn.metrics.mean_absolute_error(truth, predicted))
    assert ages.within(ages.absolute_errors(truth, predicted), k).tolist() == [o <= k for o in off]


def test_an_age_off_by_exactly_five_years_counts_in_cs5():
    assert ages.within(ages.absolute_errors(np.array([30, 30]), np.array([35.0, 35.01])), 5).tolist() == [True, False]
    tenths = np.arange(0, 1000) / 10
    for kind in (np.float64, np.float32):  # 65.4 - 60.4 is above 5 in floats
        assert ages.within(ages.absolute_errors(tenths, (tenths + 5).astype(kind)), 5).all()
    assert not ages.within(np.array([5.001]), 5)


def test_ages_in_small_unsigned_integers_do_not_wrap():
    assert ages.mean_absolute_error(np.array([10], np.uint8), np.array([20], np.uint8)) == 10


def test_the_epsilon_error_one_sigma_away_is_the_published_value():
    assert ages.epsilon_errors(np.array([30.0, 40.0]), np.array([4.0, 2.0]), np.array([34.0, 38.0])) == pytest.approx(0.39347, abs=5e-6)


def test_a_sigma_of_zero_gives_a_number():
    assert ages.epsilon_errors(np.array([30.0, 30.0]), np.zeros(2), np.array([30.0, 40.0])) == pytest.approx([0, 1])


def test_an_age_that_is_no_number_is_refused_by_row():
    with pytest.raises(InputError, match="predicted: row 1 is not finite"):
        ages.mean_absolute_error(np.array([1, 2, 3]), np.array([1, np.nan, 3]))


def test_no_rows_score_nan():
    none = np.zeros(0)
    assert np.isnan([ages.mean_absolute_error(none, none), baselines.constant_accuracy(np.array([-1])), baselines.constant_mean_absolute_error(none)]).all()


@given(trait_rows)
def test_trait_scores_are_what_counting_by_hand_gives(rows):
    labels = np.array([[label for label, _ in row] for row in rows], np.int8).reshape(-1, 3)
    probabilities = np.array([[p for _, p in row] for row in rows], float).reshape(-1, 3)
    plain, balanced = [], []
    for a in range(3):
        known = [(row[a][0], row[a][1] > 0.5) for row in rows if row[a][0] != -1]
        right = {side: [said == bool(label) for label, said in known if label == side] for side in (0, 1)}
        plain.append(np.mean(right[0] + right[1]) if known else np.nan)
        balanced.append((np.mean(right[0]) + np.mean(right[1])) / 2 if right[0] and right[1] else np.nan)
    counts = traits.trait_counts(labels, probabilities).sum(axis=0)
    for result, expected in ((traits.accuracy_of_counts(counts), plain), (traits.balanced_accuracy_of_counts(counts), balanced)):
        np.testing.assert_allclose(result.each, expected)
        assert result.absent == tuple(np.flatnonzero(np.isnan(expected)))
        present = [value for value in expected if not np.isnan(value)]
        np.testing.assert_allclose(result.value, np.mean(present) if present else np.nan)


def test_a_constant_answer_gets_one_half_in_balanced_accuracy_and_its_share_in_plain():
    labels = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.int8)
    counts = traits.trait_counts(labels, np.tile([0.9, 0.1], (4, 1))).sum(axis=0)
    assert traits.balanced_accuracy_of_counts(counts).value == 0.5
    assert traits.accuracy_of_counts(counts).value == 0.75 == baselines.constant_trait_accuracy(labels).value


def test_a_trait_of_one_class_has_no_balanced_accuracy_and_is_named():
    counts = traits.trait_counts(np.array([[1, 1], [1, 0]], np.int8), np.array([[0.9, 0.9], [0.9, 0.1]])).sum(axis=0)
    result = traits.balanced_accuracy_of_counts(counts)
    assert (result.value, result.absent) == (1.0, (0,))


def test_bad_traits_are_refused_by_row():
    with pytest.raises(InputError, match="probabilities: row 1 is not finite"):
        traits.trait_counts(np.zeros((2, 1), np.int8), np.array([[0.1], [np.nan]]))
    with pytest.raises(InputError, match="labels: row 0 holds 2"):
        traits.trait_counts(np.array([[2]], np.int8), np.array([[0.1]]))
    with pytest.raises(InputError, match="traits"):
        traits.trait_counts(np.zeros((2, 3), np.int8), np.zeros((2, 4)))


@given(st.integers(-720, 720), st.integers(-720, 720), st.integers(-3, 3))
def test_angles_are_compared_the_shorter_way_round(a, b, turns):
    error = float(angles.angle_errors(np.array([a]), np.array([b + 360 * turns]))[0])
    assert error == min(abs(a - b + 360 * k) for k in range(-8, 9)) <= 180


def test_angle_errors_are_of_each_axis():
    truth, predicted = np.array([[179.0, 0, 10], [0, 0, 0]]), np.array([[-179.0, 3, 10], [4, -1, 6]])
    np.testing.assert_allclose(angles.angle_errors(truth, predicted), [[2, 3, 0], [4, 1, 6]])


def test_pose_words_are_ranges_of_yaw():
    assert angles.words_of_angles(np.array([-80, -45, -20, 0, 15, 44, 45]), np.array([-45, -15, 15, 45])).tolist() == [0, 1, 1, 2, 3, 3, 4]


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 2)), min_size=1, max_size=9))
def test_no_other_thresholds_name_more_rows_right(rows):
    yaw, truth = np.array(rows).T
    chosen = angles.best_thresholds(yaw, truth, 3)
    assert (np.diff(chosen[np.isfinite(chosen)]) >= 0).all() and len(chosen) == 2
    grid = np.arange(-5, 6) + 0.5
    best = max((np.digitize(yaw, pair) == truth).sum() for pair in itertools.combinations_with_replacement(grid, 2))
    assert (np.digitize(yaw, chosen) == truth).sum() == best


def test_the_constant_age_is_the_median():
    truth = np.array([1, 2, 3, 50])
    assert baselines.constant_mean_absolute_error(truth) == min(np.abs(truth - c).mean() for c in np.arange(0, 60, 0.5))
