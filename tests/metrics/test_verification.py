import itertools

import numpy as np
import pytest
import sklearn.metrics
import sklearn.model_selection
from hypothesis import given
from hypothesis import strategies as st

from polyface.errors import InputError
from polyface.metrics import verification

# few distinct values, so that ties are the rule
tied_pairs = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=25).filter(lambda rows: len({s for _, s in rows}) == 2)


def split(rows):
    return np.array([score for score, _ in rows], float), np.array([same for _, same in rows], bool)


def slow_points(scores, same):
    """(threshold, TAR, FAR) for every observed threshold and for accepting nothing, one pair at a time."""
    points = []
    for threshold in [np.inf, *sorted(set(scores.tolist()), reverse=True)]:
        accepted = [score >= threshold for score in scores]
        tar = sum(a and s for a, s in zip(accepted, same, strict=True)) / same.sum()
        far = sum(a and not s for a, s in zip(accepted, same, strict=True)) / (~same).sum()
        points.append((threshold, tar, far))
    return points


@given(tied_pairs)
def test_the_curve_has_a_point_at_each_observed_score_and_nowhere_else(rows):
    scores, same = split(rows)
    curve = verification.roc(scores, same)
    np.testing.assert_allclose(np.stack([curve.thresholds, curve.tar, curve.far], axis=1), slow_points(scores, same))
    fpr, tpr, thresholds = sklearn.metrics.roc_curve(same, scores, drop_intermediate=False)
    np.testing.assert_allclose([curve.far, curve.tar, curve.thresholds], [fpr, tpr, thresholds])


@given(tied_pairs)
def test_the_auc_is_the_chance_of_ranking_right_with_half_for_a_tie(rows):
    scores, same = split(rows)
    wins = [(g > i) + (g == i) / 2 for g in scores[same] for i in scores[~same]]
    assert verification.auc(verification.roc(scores, same)) == pytest.approx(np.mean(wins), abs=1e-12)
    assert verification.auc(verification.roc(scores, same)) == pytest.approx(sklearn.metrics.roc_auc_score(same, scores), abs=1e-12)


@given(tied_pairs)
def test_a_rising_map_of_the_scores_changes_no_rate(rows):
    scores, same = split(rows)
    before, after = verification.roc(scores, same), verification.roc(np.exp(2 * scores) - 7, same)
    assert verification.auc(before) == verification.auc(after)
    assert verification.eer(before) == verification.eer(after)
    for far in (0.0, 0.2, 0.5):
        a, b = verification.operating_point(before, far), verification.operating_point(after, far)
        assert (a.tar, a.far) == (b.tar, b.far)


@given(tied_pairs)
def test_turning_the_scores_round_turns_the_auc_round(rows):
    scores, same = split(rows)
    there, back = verification.auc(verification.roc(scores, same)), verification.auc(verification.roc(-scores, same))
    assert there + back == pytest.approx(1)


@given(tied_pairs, st.data())
def test_a_weight_is_a_repeated_pair(rows, data):
    scores, same = split(rows)
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    weighted = verification.roc(scores, same, times)
    repeated = verification.roc(np.repeat(scores, times), np.repeat(same, times))
    assert verification.auc(weighted) == pytest.approx(verification.auc(repeated), nan_ok=True)
    assert verification.eer(weighted) == pytest.approx(verification.eer(repeated), nan_ok=True)


@given(tied_pairs)
def test_at_the_equal_error_rate_both_errors_are_equal_on_the_joined_points(rows):
    scores, same = split(rows)
    points = slow_points(scores, same)
    eer = verification.eer(verification.roc(scores, same))
    crossings = []
    for (_, tar0, far0), (_, tar1, far1) in itertools.pairwise(points):
        for part in np.linspace(0, 1, 201):
            far, tar = far0 + part * (far1 - far0), tar0 + part * (tar1 - tar0)
            crossings.append((abs(far - (1 - tar)), far))
    assert eer == pytest.approx(min(crossings)[1], abs=0.01)


@given(tied_pairs, st.floats(0, 1))
def test_the_operating_point_is_the_best_allowed_one(rows, target):
    scores, same = split(rows)
    allowed = [point for point in slow_points(scores, same) if point[2] <= target + 1e-9]
    best = max(tar for _, tar, _ in allowed)
    threshold, _, far = max(point for point in allowed if point[1] == best)
    found = verification.operating_point(verification.roc(scores, same), target)
    assert found.far <= target + 1e-9
    assert (found.threshold, found.tar, found.far) == pytest.approx((threshold, best, far))


def test_the_worked_true_accept_rates():
    curve = verification.roc(np.array([0.9, 0.8, 0.4, 0.7, 0.5, 0.3, 0.1]), np.arange(7) < 3)
    assert verification.operating_point(curve, 0.2).tar == pytest.approx(2 / 3)
    assert verification.operating_point(curve, 0.25).tar == pytest.approx(2 / 3)
    at_half = verification.operating_point(curve, 0.5)
    assert (at_half.threshold, at_half.tar, at_half.far) == (0.4, 1.0, 0.5)


def test_a_target_that_the_impostors_cannot_resolve_is_refused_with_the_reason():
    curve = verification.roc(np.array([0.9, 0.8, 0.4, 0.7, 0.5, 0.3, 0.1]), np.arange(7) < 3)
    refused = verification.tar_at_far(curve, 0.2)
    assert refused.point is None and refused.reason == "FAR 0.2 needs 5 impostor pairs, there are 4"
    assert verification.tar_at_far(curve, 0.25).point == verification.operating_point(curve, 0.25)
    assert verification.tar_at_far(verification.roc(np.zeros(5), np.zeros(5, bool)), 0.5).reason == "no genuine pairs"


def test_rounding_takes_no_false_accept_from_a_target():
    curve = verification.roc(np.append(np.arange(100.0), 70.5), np.append(np.zeros(100, bool), True))
    assert 0.29 * 100 < 29
    assert verification.operating_point(curve, 0.29).tar == 1


@pytest.mark.parametrize(("impostors", "far"), [(1000, 1e-3), (100, 0.01), (10**6, 1e-6), (300, 1 / 300)])
def test_exactly_enough_impostors_are_enough(impostors, far):
    curve = verification.roc(np.append(np.zeros(impostors), 1.0), np.append(np.zeros(impostors, bool), True))
    assert verification.tar_at_far(curve, far).point is not None


def test_a_constant_score_is_worth_nothing():
    scores, same, folds = np.full(600, 0.1), np.arange(600) % 2 == 0, np.arange(600) // 60
    curve = verification.roc(scores, same)
    assert verification.auc(curve) == 0.5
    assert verification.eer(curve) == 0.5
    assert verification.tar_at_far(curve, 0.01).point == verification.OperatingPoint(np.inf, 0, 0)
    assert verification.d_prime(scores, same) == 0
    assert verification.lfw_accuracy(scores, same, folds).mean == 0.5
    assert verification.insightface_accuracy(np.zeros(600), same, folds).mean == 0.5


@pytest.mark.parametrize("genuine", [1, 7, 299])
def test_rounding_gives_a_constant_score_no_d_prime(genuine):
    assert verification.d_prime(np.full(600, 0.1), np.arange(600) < genuine) == 0


def test_a_perfect_score_is_perfect():
    same, folds = np.arange(60) % 2 == 0, np.arange(60) // 6
    curve = verification.roc(same.astype(float), same)
    assert (verification.auc(curve), verification.eer(curve), verification.tar_at_far(curve, 0.1).point.tar) == (1, 0, 1)
    assert verification.d_prime(same.astype(float), same) == np.inf
    assert verification.lfw_accuracy(same.astype(float), same, folds).mean == 1
    assert verification.lfw_accuracy(same.astype(float), same, folds).standard_error == 0


def test_a_score_that_is_not_finite_is_refused_by_row():
    scores, same, folds = np.array([0.1, np.nan, 0.3, 0.4]), np.array([True, False, True, False]), np.array([0, 0, 1, 1])
    for measure in (
        lambda: verification.roc(scores, same),
        lambda: verification.d_prime(scores, same),
        lambda: verification.lfw_accuracy(scores, same, folds),
        lambda: verification.insightface_accuracy(scores, same, folds),
        lambda: verification.best_threshold(scores, same),
    ):
        with pytest.raises(InputError, match="row 1 is not finite"):
            measure()
    with pytest.raises(InputError, match="row 0 is not finite"):
        verification.roc(np.array([np.inf]), np.array([True]))


@pytest.mark.parametrize("same", [np.ones(6, bool), np.zeros(6, bool), np.zeros(0, bool)])
def test_one_kind_of_pair_alone_has_no_rates(same):
    scores = np.linspace(0, 1, len(same))
    curve = verification.roc(scores, same)
    assert np.isnan([verification.auc(curve), verification.eer(curve), verification.d_prime(scores, same)]).all()
    assert verification.tar_at_far(curve, 0.5).point is None


def test_d_prime_is_the_gap_in_deviations():
    genuine, impostor = np.array([3.0, 5, 4]), np.array([0.0, 1, 2, 1])
    spread = ((genuine.var() + impostor.var()) / 2) ** 0.5
    found = verification.d_prime(np.append(genuine, impostor), np.arange(7) < 3)
    assert found == pytest.approx((4 - 1) / spread)


@given(tied_pairs)
def test_no_threshold_is_better_than_the_best(rows):
    scores, same = split(rows)
    found = np.mean((scores >= verification.best_threshold(scores, same)) == same)
    every = [np.mean((scores >= threshold) == same) for threshold in np.arange(-5, 5, 0.5)]
    assert found == pytest.approx(max(every))


def test_the_best_threshold_is_midway_and_the_middle_of_equals():
    assert verification.best_threshold(np.array([0.0, 1.0]), np.array([False, True])) == 0.5
    assert verification.best_threshold(np.array([0.0, 1.0, 2.0]), np.ones(3, bool)) == -np.inf
    assert verification.best_threshold(np.array([0.0, 1.0, 2.0]), np.zeros(3, bool)) == np.inf
    assert verification.best_threshold(np.arange(6.0), np.arange(6) % 2 == 1) == 2.5  # 0.5 and 4.5 are as good
    next_to_one = np.nextafter(1.0, 2.0)
    pair, same = np.array([1.0, next_to_one]), np.array([False, True])
    assert ((pair >= verification.best_threshold(pair, same)) == same).all()


def noisy_pairs(n=200):
    random = np.random.default_rng(4)
    same = np.arange(n) % 2 == 0
    return np.round(np.clip(0.3 * same + random.normal(0.2, 0.3, n), -1, 1), 2), same


def test_the_lfw_accuracy_is_each_fold_at_the_best_threshold_of_the_others():
    scores, same = noisy_pairs()
    folds = np.arange(200) // 20
    found = verification.lfw_accuracy(scores, same, folds)
    for fold in range(10):
        train = [(s, t) for s, t, f in zip(scores, same, folds, strict=True) if f != fold]
        test = [(s, t) for s, t, f in zip(scores, same, folds, strict=True) if f == fold]

        def right(rows, threshold):
            return sum((s >= threshold) == t for s, t in rows)

        assert right(train, found.thresholds[fold]) == max(right(train, threshold) for threshold in np.arange(-1.1, 1.1, 0.005))
        assert found.accuracies[fold] == right(test, found.thresholds[fold]) / 20
    assert found.mean == pytest.approx(found.correct.mean())
    assert found.standard_error == pytest.approx(np.std(found.accuracies, ddof=1) / 10**0.5)
    assert found.standard_error == pytest.approx(found.population_deviation / 3)


def test_a_score_on_the_threshold_of_its_fold_is_accepted():
    scores, same = np.array([0.0, 1.0, 0.5, 0.5]), np.array([False, True, True, False])
    found = verification.lfw_accuracy(scores, same, np.array([0, 0, 1, 1]))
    assert found.thresholds[1] == 0.5
    assert found.correct[2:].tolist() == [True, False]


def test_a_distance_on_the_grid_is_rejected_as_in_insightface():
    distances = np.arange(0, 4, 0.01)[np.random.default_rng(0).integers(100, 106, 200)]
    same = np.arange(200) % 3 == 0
    found = verification.insightface_accuracy(distances, same, verification.contiguous_folds(200))
    np.testing.assert_array_equal(found.accuracies, insightface_reference(distances, same))
    near, far = np.arange(0, 4, 0.01)[[50, 51]]
    on_it = verification.insightface_accuracy(np.array([near, far, far]), np.array([True, False, True]), np.array([0, 0, 1]))
    assert on_it.thresholds[1] == far
    assert on_it.correct.tolist()[2] is False


def insightface_reference(distances, same):
    """recognition/arcface_torch/eval/verification.py, calculate_roc and calculate_accuracy, on given squared distances."""
    thresholds, accuracy = np.arange(0, 4, 0.01), np.zeros(10)
    for fold, (train, test) in enumerate(sklearn.model_selection.KFold(n_splits=10, shuffle=False).split(np.arange(len(same)))):
        in_train = np.zeros(len(thresholds))
        for i, threshold in enumerate(thresholds):
            predict = np.less(distances[train], threshold)
            in_train[i] = (np.sum(predict & same[train]) + np.sum(~predict & ~same[train])) / len(train)
        predict = np.less(distances[test], thresholds[np.argmax(in_train)])
        accuracy[fold] = (np.sum(predict & same[test]) + np.sum(~predict & ~same[test])) / len(test)
    return accuracy


@pytest.mark.parametrize("n", [200, 203])
def test_the_insightface_accuracy_is_what_its_evaluation_computes(n):
    scores, same = noisy_pairs(n)
    distances = 2 - 2 * scores
    found = verification.insightface_accuracy(distances, same, verification.contiguous_folds(n))
    np.testing.assert_array_equal(found.accuracies, insightface_reference(distances, same))


@given(st.integers(10, 200), st.integers(2, 10))
def test_contiguous_folds_are_those_of_an_unshuffled_k_fold(n, k):
    expected = np.zeros(n, int)
    for fold, (_, test) in enumerate(sklearn.model_selection.KFold(k).split(np.arange(n))):
        expected[test] = fold
    np.testing.assert_array_equal(verification.contiguous_folds(n, k), expected)


def test_a_single_fold_is_refused():
    with pytest.raises(InputError, match="at least two, there are 1"):
        verification.lfw_accuracy(np.array([0.1, 0.2]), np.array([True, False]), np.zeros(2, int))
