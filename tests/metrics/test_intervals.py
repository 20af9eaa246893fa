import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from polyface.errors import InputError
from polyface.metrics import intervals
from polyface.metrics.intervals import Interval


def unknown(interval):
    return np.isnan(interval.low) and np.isnan(interval.high)


def slow_bootstrap_of_mean(values, groups, draws, seed):
    """The same draws, rows collected one group at a time."""
    names = sorted(set(groups))
    random, means = np.random.default_rng(seed), []
    for _ in range(draws):
        drawn = random.integers(0, len(names), len(names))
        rows = [value for d in drawn for value, group in zip(values, groups, strict=True) if group == names[d]]
        means.append(sum(rows) / len(rows))
    return np.quantile(means, [0.025, 0.975])


@given(st.lists(st.tuples(st.floats(-5, 5), st.sampled_from("abcd")), min_size=2, max_size=12))
def test_all_three_ways_give_what_collecting_rows_by_hand_gives(rows):
    values, groups = np.array([v for v, _ in rows]), np.array([g for _, g in rows])
    if len(set(groups)) < 2 or len(set(values)) < 2:
        return
    expected = slow_bootstrap_of_mean(values, groups, 50, 3)
    parts = np.stack([values, np.ones(len(values))], axis=1)
    for found in (
        intervals.interval_of_mean(values, groups, draws=50, seed=3),
        intervals.bootstrap(lambda rows: values[rows].mean(), groups, draws=50, seed=3),
        intervals.bootstrap_of_sums(parts, lambda sums: sums[0] / sums[1], groups, draws=50, seed=3),
    ):
        np.testing.assert_allclose([found.low, found.high], expected, atol=1e-9)


def test_the_interval_of_many_single_rows_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(size=2000)
    found = intervals.interval_of_mean(values, np.arange(2000))
    half = 1.96 * values.std() / 2000**0.5
    np.testing.assert_allclose([found.low, found.high], [values.mean() - half, values.mean() + half], atol=0.1 * half)


def test_intervals_over_people_hold_the_truth_where_intervals_over_rows_do_not():
    random, held = np.random.default_rng(0), np.zeros(2)
    people = np.repeat(np.arange(40), 10)
    for seed in range(100):
        values = random.normal(size=40)[people] + 0.1 * random.normal(size=400)  # the true mean is 0
        for which, groups in enumerate((people, np.arange(400))):
            found = intervals.interval_of_mean(values, groups, draws=200, seed=seed)
            held[which] += found.low <= 0 <= found.high
    assert held[0] >= 88
    assert held[1] < 60


def test_the_same_seed_gives_the_same_interval_and_another_another():
    values, groups = np.arange(30.0), np.arange(30)
    assert intervals.interval_of_mean(values, groups) == intervals.interval_of_mean(values, groups)
    assert intervals.interval_of_mean(values, groups) != intervals.interval_of_mean(values, groups, seed=1)


def test_a_higher_level_is_a_wider_interval():
    values, groups = np.arange(30.0), np.arange(30)
    narrow, wide = intervals.interval_of_mean(values, groups, level=0.5), intervals.interval_of_mean(values, groups, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("groups", [[], [7], [7, 7, 7]])
def test_fewer_than_two_people_say_nothing_about_the_spread(groups):
    values = np.ones(len(groups))
    assert unknown(intervals.interval_of_mean(values, np.array(groups)))
    assert unknown(intervals.bootstrap(lambda rows: 1.0, np.array(groups)))
    score = intervals.mean_score(values, np.array(groups))
    assert score.n == len(groups) and (score.value == 1.0 if groups else np.isnan(score.value))


@pytest.mark.parametrize("value", [False, True])
def test_all_right_or_all_wrong_is_not_certain(value):
    found = intervals.interval_of_mean(np.full(20, value), np.arange(20))
    exact = scipy.stats.binomtest(20 * value, 20).proportion_ci(0.95, "exact")
    np.testing.assert_allclose([found.low, found.high], [exact.low, exact.high])
    assert unknown(intervals.interval_of_mean(np.full(20, float(value)), np.arange(20)))  # errors are no shares, though all be 1


def test_numbers_that_are_all_one_say_nothing_about_the_spread():
    assert unknown(intervals.interval_of_mean(np.full(5, 3.0), np.arange(5)))


def test_draws_without_a_value_are_left_out_and_none_left_is_unknown():
    groups = np.arange(3)
    only_with_the_first = intervals.bootstrap(lambda rows: 5.0 if 0 in rows else np.nan, groups)
    assert only_with_the_first == Interval(5.0, 5.0)
    assert unknown(intervals.bootstrap(lambda rows: np.nan, groups))


def test_a_value_that_is_not_finite_is_refused_by_row():
    with pytest.raises(InputError, match="values: row 2 is not finite"):
        intervals.interval_of_mean(np.array([0, 1, np.nan]), np.arange(3))
    with pytest.raises(InputError, match="values has 2, groups has 3"):
        intervals.interval_of_mean(np.zeros(2), np.arange(3))


def test_rows_of_one_subject_go_together_and_rows_of_nobody_alone():
    assert intervals.groups_of(["ann", None, "ben", "ann", None]).tolist() == [0, 1, 2, 0, 3]
    assert intervals.groups_of([1, None, "row"]).tolist() == [0, 1, 2]


def test_a_score_carries_its_value_interval_count_and_chance():
    values = np.array([1.0, 0, 1, 1, 0, 1])
    score = intervals.score(lambda rows: values[rows].mean(), np.arange(6), chance=0.5)
    assert score == intervals.mean_score(values, np.arange(6), chance=0.5)
    assert (score.value, score.n, score.chance) == (pytest.approx(4 / 6), 6, 0.5)
    assert score.low < score.value < score.high


def test_an_interval_without_width_is_not_known_to_be_one():
    assert unknown(intervals.with_spread(Interval(1.0, 1.0))) and unknown(intervals.with_spread(Interval(1 / 3, np.nextafter(1 / 3, 1))))
    assert unknown(intervals.with_spread(Interval(np.nan, np.nan))) and intervals.with_spread(Interval(-0.5, -0.25)) == Interval(-0.5, -0.25)
