"""Calibration errors, temperatures, sets of answers and the level at which they hold the truth, the logistic curve."""

import numpy as np
import pytest
import sklearn.linear_model
from hypothesis import given
from hypothesis import strategies as st

from polyface.errors import InputError
from polyface.metrics import calibration as cal
from polyface.metrics.intervals import bootstrap

simplex = st.lists(st.floats(0.01, 1), min_size=2, max_size=8).map(lambda weights: np.array(weights) / sum(weights))


def test_who_is_right_as_often_as_promised_has_no_calibration_error():
    confidence = np.repeat([0.75, 0.5], [400, 200])
    right = np.concatenate([np.arange(400) < 300, np.arange(200) < 100])
    assert cal.expected_calibration_error(confidence, right) == pytest.approx(0)
    assert cal.expected_calibration_error(confidence, np.ones(600, bool)) == pytest.approx((400 * 0.25 + 200 * 0.5) / 600)


def test_weights_count_rows_as_repeats_would():
    confidence, right, weights = np.array([0.9, 0.2, 0.6]), np.array([1, 0, 0]), np.array([3, 1, 2])
    assert cal.expected_calibration_error(confidence, right, weights) == pytest.approx(
        cal.expected_calibration_error(np.repeat(confidence, weights), np.repeat(right, weights))
    )


def test_a_confidence_of_one_and_of_zero_have_a_bin():
    assert cal.expected_calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0


def test_a_brier_score_is_the_squared_distance_to_the_truth():
    assert cal.brier_score(np.array([[0.5, 0.3, 0.2]]), np.array([1])) == pytest.approx(0.25 + 0.49 + 0.04)
    assert cal.brier_score(np.eye(3), np.arange(3)) == 0
    assert np.isnan(cal.brier_score(np.zeros((0, 3)), np.zeros(0, np.int64)))


def photographed(faces: int, seed: int, heat: float, photographs: int = 1):
    """Confidence and whether it was right, of faces of which each has so many photographs, all alike; whose each row is."""
    random = np.random.default_rng(seed)
    logits = np.abs(random.normal(0, 2, faces))
    right = random.random(faces) < 1 / (1 + np.exp(-logits))
    return np.repeat(1 / (1 + np.exp(-heat * logits)), photographs), np.repeat(right, photographs), np.repeat(np.arange(faces), photographs)


@pytest.mark.parametrize("heat", [1.0, 2.0])
def test_the_interval_of_a_calibration_error_holds_what_other_faces_would_show(heat):
    shown = [cal.expected_calibration_error(*photographed(400, seed, heat)[:2]) for seed in range(100, 300)]
    intervals = [cal.interval_of_calibration_error(*photographed(400, seed, heat), draws=200) for seed in range(40)]
    assert np.mean([each.low <= np.mean(shown) <= each.high for each in intervals]) >= 0.85
    assert all(each.low <= cal.expected_calibration_error(*photographed(400, seed, heat)[:2]) <= each.high for seed, each in enumerate(intervals))


def test_photographs_of_a_face_come_and_go_together():
    once, thrice = (cal.interval_of_calibration_error(*photographed(200, 0, 2.0, photographs), draws=200) for photographs in (1, 3))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    confidence, right, groups = photographed(200, 0, 2.0, 3)
    alone = cal.interval_of_calibration_error(confidence, right, np.arange(600), draws=200)
    assert alone.high - alone.low < 0.8 * (once.high - once.low)
    assert np.isnan(cal.interval_of_calibration_error(confidence[:3], right[:3], groups[:3]).low)  # of one face nothing is known
    slow = [bootstrap(lambda rows: cal.expected_calibration_error(confidence[rows], right[rows]), groups, draws=200)]
    assert thrice.high - thrice.low == pytest.approx(slow[0].high - slow[0].low)


@pytest.mark.parametrize("heat", [0.4, 1.0, 3.0])
def test_the_temperature_that_spoiled_logits_is_found_again(heat):
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (20_000, 4))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (shares.cumsum(1) < random.random((len(shares), 1))).sum(1)
    seen = logits * heat

    def loss(temperature):
        z = seen / temperature
        return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), truth]))

    assert cal.fit_temperature(loss) == pytest.approx(heat, rel=0.05)


def test_answers_that_are_never_wrong_get_the_end_of_the_range():
    assert cal.fit_temperature(lambda temperature: temperature) == pytest.approx(cal.COLDEST, rel=1e-2)


@given(simplex, st.floats(0, 1))
def test_a_set_is_the_fewest_of_the_best_answers_that_have_more_than_the_level(shares, level):
    inside = cal.mass_before(shares[None])[0] <= level
    assert inside[shares.argmax()]
    if not inside.all():
        assert shares[inside].min() >= shares[~inside].max()
        assert shares[inside].sum() > level - 1e-9
    assert np.sort(shares[inside])[1:].sum() <= level + 1e-9  # without the least of them it had not


@given(simplex, st.floats(0, 1))
def test_an_interval_has_no_gap_holds_the_median_and_at_least_the_level(shares, level):
    inside = np.flatnonzero(cal.mass_about_median(shares[None])[0] <= level + 1e-12)  # half of it, but for rounding, is half of it
    assert len(inside) == inside[-1] - inside[0] + 1
    assert inside[0] <= (np.cumsum(shares) < 0.5 - 1e-12).sum() <= inside[-1]
    assert shares[inside].sum() >= level - 1e-9


def rows(random, number, classes=5):
    """(to_be_met, exact) of answers drawn from the very probabilities."""
    shares = random.dirichlet(np.ones(classes), number)
    truth = (shares.cumsum(1) < random.random((number, 1))).sum(1)
    return cal.to_be_met(cal.mass_before(shares), np.eye(classes, dtype=bool)[truth]), np.ones(number, bool)


def test_new_rows_are_covered_nine_times_in_ten():
    random = np.random.default_rng(2)
    level = cal.conformal_level([rows(random, 3000)])
    assert np.mean(rows(random, 30_000)[0] <= level) == pytest.approx(0.9, abs=0.015)
    assert 0 < level < 1


def test_the_correction_for_few_rows_is_that_of_split_conformal_prediction():
    met = np.arange(1, 20) / 20  # 19 rows: the 18th of 20 places, ceil(20 * 0.9)
    assert cal.conformal_level([(met, np.ones(19, bool))], floor=0) == pytest.approx(18 / 20)
    assert cal.conformal_level([(met[:8], np.ones(8, bool))], floor=0) == 1.0  # of eight rows nine in ten cannot be promised


def test_data_sets_count_equally_however_large():
    easy, hard = np.zeros(10_000), np.linspace(0, 1, 1000)
    level = cal.conformal_level([(easy, np.ones(10_000, bool)), (hard, np.ones(1000, bool))], floor=0)
    assert level == pytest.approx(0.8, abs=0.01)  # half of the weight is held anyway; of the other half 80 % are


def test_no_data_set_falls_below_the_floor():
    easy, hard = np.zeros(10_000), np.linspace(0, 1, 1000)
    level = cal.conformal_level([(easy, np.ones(10_000, bool)), (hard, np.ones(1000, bool))])
    assert level == pytest.approx(cal.FLOOR, abs=0.01)


def test_a_label_that_leaves_several_answers_does_not_lower_what_exact_ones_ask_for():
    exact, vague = np.linspace(0, 1, 1000), np.zeros(5000)
    mixed = np.concatenate([exact, vague]), np.arange(6000) < 1000
    assert cal.conformal_level([mixed]) == pytest.approx(0.9, abs=0.01)
    assert cal.conformal_level([(exact, np.zeros(1000, bool))]) == pytest.approx(0.9, abs=0.01)  # where none is exact, all stand for them


def test_a_label_is_met_by_any_of_the_answers_it_leaves():
    masses = np.array([[0.0, 0.5, 0.8, 0.95]])
    assert cal.to_be_met(masses, np.array([[False, True, False, True]])) == [0.5]


def test_the_level_loses_no_row_by_being_written_down():
    met = np.random.default_rng(3).random(999)
    level = cal.conformal_level([(met, np.ones(999, bool))], floor=0)
    assert level == float(f"{level:.6f}") and (met <= level).sum() == 900


def test_without_rows_there_is_no_level():
    with pytest.raises(InputError, match="no row"):
        cal.conformal_level([(np.zeros(0), np.zeros(0, bool))])


def test_the_logistic_curve_is_that_of_scikit_learn_with_both_sides_equal():
    random = np.random.default_rng(4)
    cosines = np.concatenate([random.normal(0.4, 0.2, 300), random.normal(0.0, 0.15, 3000)])
    same = np.arange(3300) < 300
    found = cal.fit_logistic(cosines, same, ~same)
    reference = sklearn.linear_model.LogisticRegression(C=1e9, class_weight="balanced", tol=1e-10, max_iter=1000).fit(cosines[:, None], same)
    assert found.slope == pytest.approx(reference.coef_[0, 0], rel=0.03)  # Platt's targets are a little off 0 and 1
    assert found.intercept == pytest.approx(reference.intercept_[0], rel=0.03)
    assert found(1.0) > found(0.3) > found(-1.0)


def test_sides_that_do_not_overlap_have_a_finite_curve():
    found = cal.fit_logistic(np.array([-0.1, 0.0, 0.7, 0.8]), np.array([0, 0, 10, 10]), np.array([10, 10, 0, 0]))
    assert np.isfinite([found.slope, found.intercept]).all() and 0.5 < found(0.7) < 1


def test_one_side_alone_has_no_curve():
    with pytest.raises(InputError, match="pairs of one person and of two are needed, there are 0 and 2"):
        cal.fit_logistic(np.array([0.1, 0.2]), np.zeros(2), np.ones(2))
