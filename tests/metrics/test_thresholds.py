"""Lines between one person and two."""

import itertools

import numpy as np
import pytest

from polyface.errors import InputError
from polyface.metrics import thresholds
from polyface.metrics.calibration import about_error, expected_calibration_error, fit_logistic
from polyface.metrics.intervals import group_draws, percentiles
from polyface.metrics.verification import operating_point, roc


def people(number: int, photographs: int, spread: float = 1.0, seed: int = 0):
    """vectors [N, 32], person [N], space [N] of zeros."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 1, (number, 32))
    person = np.repeat(np.arange(number), photographs)
    return centres[person] + random.normal(0, spread, (len(person), 32)), person, np.zeros(len(person), int)


def test_every_pair_is_there_once_and_on_its_side():
    vectors, person, space = people(7, 50)
    pairs = thresholds.all_pairs(vectors, person, space)  # more rows than one block
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    every = [(unit[i] @ unit[j], person[i], person[j]) for i, j in itertools.combinations(range(len(person)), 2)]
    np.testing.assert_allclose(np.sort(pairs.same), np.sort([cosine for cosine, a, b in every if a == b]), atol=1e-5)
    np.testing.assert_allclose(np.sort(pairs.other), np.sort([cosine for cosine, a, b in every if a != b]), atol=1e-5)
    assert set(map(tuple, pairs.people.tolist())) == set(itertools.combinations(range(7), 2))
    assert pairs.photographs.tolist() == [50] * 7


def test_nobody_is_compared_across_spaces():
    vectors, person, _ = people(6, 4)
    pairs = thresholds.all_pairs(vectors, person, person // 3)
    assert len(pairs.same) == 6 * 6 and len(pairs.other) == 2 * 3 * 16
    assert {(a // 3, b // 3) for a, b in pairs.people.tolist()} == {(0, 0), (1, 1)}


def test_a_line_is_where_the_roc_has_it():
    pairs = thresholds.all_pairs(*people(60, 6))
    curve = roc(np.concatenate([pairs.same, pairs.other]), np.arange(len(pairs.same) + len(pairs.other)) < len(pairs.same))
    lines = thresholds.accept_lines(pairs, (0.1, 0.01), draws=200)
    assert [line.rate for line in lines] == [0.1, 0.01]
    for line in lines:
        point = operating_point(curve, line.rate)
        assert thresholds.true_accept_rate(pairs, line.cosine) == pytest.approx(point.tar)
        assert np.mean(pairs.other >= line.cosine) == pytest.approx(line.errors / len(pairs.other)) and line.errors / len(pairs.other) <= line.rate
        assert line.interval.low <= line.cosine <= line.interval.high and line.interval.low < line.interval.high


def test_the_finest_rate_is_the_one_with_ten_errors_of_ten_pairs_of_people():
    pairs = thresholds.all_pairs(*people(60, 6))  # 63,720 pairs of two people
    assert [line.rate for line in thresholds.accept_lines(pairs, draws=20)] == [0.01, 0.001]
    twins = pairs.people.copy()
    twins[pairs.other >= np.sort(pairs.other)[-100]] = (0, 1)  # all of the most alike are the same two
    same_two = thresholds.AllPairs(pairs.same, pairs.person, pairs.other, twins, pairs.photographs, pairs.space)
    assert [line.rate for line in thresholds.accept_lines(same_two, draws=20)] == [0.01]


def test_scores_that_are_equal_are_accepted_together_or_not_at_all():
    pairs = thresholds.all_pairs(*people(20, 5))
    tied = thresholds.AllPairs(pairs.same, pairs.person, np.round(pairs.other, 1), pairs.people, pairs.photographs, pairs.space)
    (line,) = thresholds.accept_lines(tied, (0.05,), draws=5)
    assert np.mean(tied.other >= line.cosine) <= 0.05
    assert line.errors == (tied.other >= line.cosine).sum()


def test_people_who_are_all_alike_have_no_line():
    vectors, person, space = people(20, 5)
    assert thresholds.accept_lines(thresholds.all_pairs(np.ones_like(vectors), person, space), draws=5) == []


def test_the_other_line_leaves_a_hundredth_of_the_pairs_of_one_person_below():
    pairs = thresholds.all_pairs(*people(150, 6))
    line = thresholds.reject_line(pairs, draws=200)
    assert np.mean(pairs.same < line.cosine) == pytest.approx(line.errors / len(pairs.same)) and 0.008 < line.errors / len(pairs.same) <= 0.01
    assert line.interval.low <= line.cosine <= line.interval.high


def test_too_few_people_draw_no_line():
    with pytest.raises(InputError, match="too few people"):
        thresholds.reject_line(thresholds.all_pairs(*people(5, 4)), draws=5)


def test_the_probability_is_measured_on_people_it_was_not_fitted_to():
    fitted = thresholds.fit_probability(thresholds.all_pairs(*people(60, 6)))
    assert fitted.logistic.slope > 0
    assert fitted.ece < 0.1 and fitted.brier < 0.15
    random = np.random.default_rng(5)
    blind = thresholds.fit_probability(thresholds.all_pairs(random.normal(0, 1, (360, 32)), np.repeat(np.arange(60), 6), np.zeros(360, int)))
    assert blind.brier == pytest.approx(0.25, abs=0.01)  # who knows nothing says one half


def test_the_scores_of_the_probability_have_intervals_of_people():
    pairs = thresholds.all_pairs(*people(40, 5))
    fitted = thresholds.fit_probability(pairs, draws=100)
    assert fitted.ece_interval.low <= fitted.ece <= fitted.ece_interval.high and fitted.brier_interval.low < fitted.brier < fitted.brier_interval.high
    half = np.arange(40) % 2
    wanted = np.array([slowly(pairs, half, times) for times in group_draws(40, 100)])
    np.testing.assert_allclose((fitted.ece, fitted.brier), slowly(pairs, half, np.ones(40, int)), atol=1e-9)
    brier, ece = percentiles(wanted[:, 1]), about_error(fitted.ece, wanted[:, 0])
    np.testing.assert_allclose((fitted.brier_interval.low, fitted.brier_interval.high), (brier.low, brier.high), atol=1e-9)
    np.testing.assert_allclose((fitted.ece_interval.low, fitted.ece_interval.high), (ece.low, ece.high), atol=1e-9)


def slowly(pairs: thresholds.AllPairs, half: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Calibration error and Brier score, each pair repeated as often as its people count; the fits are those of everybody."""
    cosines, is_same = np.concatenate([pairs.same, pairs.other]), np.arange(len(pairs.same) + len(pairs.other)) < len(pairs.same)
    first, second = np.concatenate([np.stack([pairs.person, pairs.person], 1), pairs.people]).T
    counts = np.where(is_same, times[first], times[first] * times[second])
    edges = np.arange(-1, 1.003, thresholds.STEP)
    scores = []
    for side in (0, 1):
        seen, unseen = ((half[first] == each) & (half[second] == each) for each in (1 - side, side))
        steps = [np.histogram(cosines[seen & kind], edges)[0] for kind in (is_same, ~is_same)]
        logistic = fit_logistic((edges[:-1] + edges[1:]) / 2, *steps)
        weights = counts * unseen / np.where(is_same, (counts * unseen)[is_same].sum(), (counts * unseen)[~is_same].sum())
        said = logistic(cosines)
        scores.append((expected_calibration_error(said, is_same, weights), weights @ (said - is_same) ** 2 / weights.sum()))
    return np.mean(scores, axis=0)


def test_a_vector_without_direction_is_refused_by_row():
    vectors, person, space = people(3, 2)
    vectors[4] = 0
    with pytest.raises(InputError, match="row 4 has length 0"):
        thresholds.all_pairs(vectors, person, space)
