"""Scores of groups of faces: the same draws as the whole score, no score for a handful of faces, and gaps that are not made by looking for them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyface.errors import InputError
from polyface.metrics import groups as by
from polyface.metrics import intervals
from polyface.metrics.groups import NOBODY, groups_of_faces, mean_by_group, score_by_group


def stated(**kinds):
    """{kind: a letter for each face, " " where it is not known} -> Groups."""
    number = len(next(iter(kinds.values())))
    return groups_of_faces([{kind: letters[at] for kind, letters in kinds.items() if letters[at] != " "} for at in range(number)])


def slowly(values, people, rows, draws):
    """The mean over some of the rows in each draw of people, rows collected one by one; NaN where none was drawn."""
    found = []
    for times in intervals.group_draws(len(set(people)), draws):
        drawn = [
            value
            for person, again in zip(sorted(set(people)), times, strict=True)
            for at, value in enumerate(values)
            if people[at] == person and rows[at]
            for _ in range(again)
        ]
        found.append(np.mean(drawn) if drawn else np.nan)
    return found


@given(st.lists(st.tuples(st.floats(-5, 5), st.sampled_from("xyz"), st.integers(0, 4)), min_size=2, max_size=12))
@settings(max_examples=20)
def test_every_group_has_the_interval_that_collecting_its_rows_by_hand_gives(faces):
    values, words, people = np.array([face[0] for face in faces]), "".join(face[1] for face in faces), np.array([face[2] for face in faces])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by, "FEWEST", 1)
        patch.setattr(by, "DRAWS", 30)
        patch.setattr(by, "AT_ONCE", 7)
        found = mean_by_group(values, people, stated(kind=words))["kind"].each
    assert set(found) == set(words)
    for word, score in found.items():
        rows = np.array([each == word for each in words])
        assert (score.value, score.n) == (pytest.approx(values[rows].mean(), abs=1e-9), rows.sum())
        if len(set(people[rows])) < 2:
            assert np.isnan(score.low) and np.isnan(score.high)
        elif set(values[rows]) not in ({0.0}, {1.0}):
            expected = intervals.percentiles(slowly(values, people.tolist(), rows, 30))
            np.testing.assert_allclose([score.low, score.high], [expected.low, expected.high], atol=1e-9)


def test_a_group_of_everybody_has_the_score_of_everybody():
    values, people = np.random.default_rng(0).random(60), np.arange(60) // 2
    whole = intervals.mean_score(values, people)
    score = mean_by_group(values, people, stated(all="e" * 60))["all"].each["e"]
    assert (score.value, score.n) == (pytest.approx(whole.value), whole.n)
    np.testing.assert_allclose([score.low, score.high], [whole.low, whole.high])


def test_any_statistic_of_sums_is_scored_by_group():
    values, people = np.random.default_rng(0).random(80), np.arange(80) // 2
    parts = np.stack([values, np.ones(80)], 1).reshape(80, 1, 2)
    of_sums = score_by_group(parts, lambda sums: sums[0, 0] / sums[0, 1], people, stated(kind="ab" * 40))
    mean = mean_by_group(values, people, stated(kind="ab" * 40))
    assert of_sums["kind"].best == mean["kind"].best
    np.testing.assert_allclose([of_sums["kind"].gap, of_sums["kind"].low, of_sums["kind"].high], [mean["kind"].gap, mean["kind"].low, mean["kind"].high])


def test_a_group_of_fewer_than_thirty_faces_is_counted_and_not_scored():
    right = np.r_[np.zeros(29), np.ones(30), np.arange(31) % 2]
    found = mean_by_group(right, np.arange(90), stated(kind="a" * 29 + "b" * 30 + "c" * 31))["kind"]
    assert found.each["a"].n == 29 and np.isnan([found.each["a"].value, found.each["a"].low, found.each["a"].high]).all()
    assert (found.best, found.worst, found.each["b"].value) == ("b", "c", 1.0)


def test_one_group_with_a_score_has_no_gap():
    found = mean_by_group(np.ones(40, bool), np.arange(40), stated(kind="a" * 35 + "b" * 5))["kind"]
    assert (found.best, found.worst) == ("", "") and np.isnan([found.gap, found.low, found.high]).all()


def test_a_group_that_is_all_right_is_not_certain_and_counts_each_person_once():
    found = mean_by_group(np.ones(60, bool), np.arange(60) // 2, stated(kind="a" * 60))["kind"].each["a"]
    assert (found.low, found.high) == (pytest.approx(0.025 ** (1 / 30)), 1.0)


def test_many_faces_of_one_person_say_nothing_of_the_group():
    found = mean_by_group(np.arange(80) % 2 * 1.0, np.r_[np.zeros(40, int), np.arange(1, 41)], stated(kind="a" * 40 + "b" * 40))["kind"]
    assert found.each["a"].value == 0.5 and np.isnan([found.each["a"].low, found.low, found.high]).all()
    assert not np.isnan(found.each["b"].low)


def test_the_best_has_the_smallest_error_where_less_is_better():
    values, people = np.r_[np.full(30, 5.0), np.full(30, 7.0)] + np.arange(60) % 3, np.arange(60)
    more, less = (mean_by_group(values, people, stated(kind="a" * 30 + "b" * 30), lower)["kind"] for lower in (False, True))
    assert (more.best, more.worst, less.best, less.worst) == ("b", "a", "a", "b")
    assert more.gap == less.gap == pytest.approx(2.0) and (more.low, more.high) == (less.low, less.high)


def test_the_gap_of_two_groups_has_the_interval_of_a_difference_of_means():
    random = np.random.default_rng(1)
    a, b = random.normal(1, 1, 600), random.normal(0, 2, 900)
    found = mean_by_group(np.r_[a, b], np.arange(1500), stated(kind="a" * 600 + "b" * 900))["kind"]
    half = 1.96 * (a.var() / 600 + b.var() / 900) ** 0.5
    np.testing.assert_allclose([found.low, found.high], [a.mean() - b.mean() - half, a.mean() - b.mean() + half], atol=0.1 * half)


def test_what_two_groups_have_in_common_leaves_their_difference():
    """The same people, young and old: who they are moves both scores, and the gap hardly."""
    random = np.random.default_rng(0)
    values = np.repeat(random.normal(0, 5, 100), 2) + random.normal(0, 0.1, 200) + np.tile([0.0, 1.0], 100)
    found = mean_by_group(values, np.arange(200) // 2, stated(age="ab" * 100))["age"]
    assert found.each["a"].high - found.each["a"].low > 1.5
    assert found.gap == pytest.approx(1, abs=0.05) and found.high - found.low < 0.1


def test_nine_groups_that_do_not_differ_have_a_gap_that_holds_nothing_as_often_as_it_should(monkeypatch):
    """Of the largest of 36 differences; its own percentiles, which do not know that it was chosen, would call most of them real."""
    monkeypatch.setattr(by, "DRAWS", 300)
    random, groups = np.random.default_rng(0), stated(kind="abcdefghi" * 100)
    real, naive = 0, 0
    for _ in range(40):
        values = random.normal(size=900)
        found = mean_by_group(values, np.arange(900), groups)["kind"]
        real += found.low > 0
        best, worst = (values[groups.table[:, "abcdefghi".index(name)]] for name in (found.best, found.worst))
        naive += found.gap > 1.96 * ((best.var() + worst.var()) / 100) ** 0.5
    assert real <= 5 and naive >= 20


def test_groups_that_differ_have_a_gap_that_excludes_nothing():
    right = np.r_[np.arange(200) % 10 > 0, np.arange(200) % 10 > 2, np.arange(200) % 10 > 0].astype(float)
    found = mean_by_group(right, np.arange(600), stated(kind="a" * 200 + "b" * 200 + "c" * 200))["kind"]
    assert found.worst == "b" and 0 < found.low < found.gap < found.high


def test_a_face_may_be_in_groups_of_several_kinds_or_in_none():
    found = mean_by_group(np.r_[np.zeros(40), np.ones(40)], np.arange(80), stated(gender="fm" * 40, race=" " * 40 + "w" * 40))
    assert list(found) == ["gender", "race"]
    assert (found["gender"].gap, found["race"].each["w"].n, found["race"].each["w"].value) == (0, 40, 1)


def test_groups_come_in_the_order_of_their_numbers():
    words = ("more than 70", "10-19", "3-9", "0-2")
    assert [name for _, name in groups_of_faces([{"age": word} for word in words]).names] == ["0-2", "3-9", "10-19", "more than 70"]


def test_where_nothing_is_stated_there_are_no_groups():
    assert mean_by_group(np.ones(5), np.arange(5), groups_of_faces([{}] * 5)) == {}
    assert mean_by_group(np.ones(5), np.arange(5), NOBODY.of(np.ones(9, bool))) == {}


def test_a_group_that_no_row_of_a_score_is_in_is_not_listed():
    groups = stated(race="b" * 40 + "w" * 40)
    assert list(mean_by_group(np.ones(40, bool), np.arange(40), groups.of(np.arange(80) < 40))["race"].each) == ["b"]


def test_rows_that_differ_in_number_are_refused():
    with pytest.raises(InputError, match="rows differ: parts has 3, people has 3, groups has 4"):
        mean_by_group(np.ones(3), np.arange(3), stated(kind="abcd"))
