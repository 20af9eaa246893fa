"""Verdicts, paired differences, Shapley shares and the likeness of features, on numbers that can be worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface.papers import fusion_statistics as statistics
from polyface.papers.fusion_statistics import Answers, Estimate


def answers(correct: list[float], people: list[int]) -> Answers:
    return Answers(np.array(correct), np.array(people), np.arange(len(correct)))


def test_people_are_drawn_and_not_pictures() -> None:
    ten_alike = answers([1] * 50 + [0] * 50, [0] * 50 + [1] * 50)
    hundred = answers([1] * 50 + [0] * 50, list(range(100)))
    wide, narrow = statistics.accuracy(ten_alike), statistics.accuracy(hundred)
    assert wide.value == narrow.value == 0.5 and (wide.low, wide.high) == (0, 1) and narrow.high - narrow.low < 0.25


def test_a_difference_is_paired() -> None:
    random = np.random.default_rng(0)
    base = (random.random(400) < 0.6).astype(float)
    better = np.where(np.arange(400) % 10 == 0, 1.0, base)
    people = list(range(400))
    gap = statistics.difference(answers(better.tolist(), people), answers(base.tolist(), people))
    assert gap.low > 0 and statistics.verdict(gap) == "holds" and gap.value == pytest.approx(better.mean() - base.mean())
    with pytest.raises(ValueError, match="paired"):
        statistics.difference(answers([1, 0], [0, 1]), Answers(np.array([1, 0]), np.array([0, 1]), np.array([5, 6])))


def test_two_differences_are_paired_too() -> None:
    """Both gain on the same people's pictures: what they differ in is one picture in four hundred."""
    people = np.repeat(np.arange(40), 10)
    low, high = np.zeros(400), (people < 20).astype(float)
    other = high.copy()
    other[399] = 1
    first, second = (statistics.gap(Answers(each, people, np.arange(400)), Answers(low, people, np.arange(400))) for each in (other, high))
    assert statistics.accuracy(first).high - statistics.accuracy(first).low > 0.2
    gap = statistics.difference(first, second)
    assert gap.value == pytest.approx(1 / 400) and gap.high - gap.low < 0.02
    with pytest.raises(ValueError, match="paired"):
        statistics.gap(first, Answers(high, people, np.arange(400)[::-1]))


def test_a_verdict_knows_how_many_comparisons_were_made() -> None:
    """One of three that differ by chance is no finding; one that differs much is, among however many."""
    chance, much, none = Estimate(0.02, 0.001, 0.04, 9, 0.04), Estimate(0.2, 0.1, 0.3, 9, 0.001), Estimate(0.0, -0.1, 0.1, 9, 0.9)
    unknown = Estimate(0.1, float("nan"), float("nan"), 1)
    found = statistics.corrected([chance, none, much, unknown, much], ["holds", "undecidable", "fails", "undecidable", "ceiling"])
    assert [verdict for verdict, _ in found] == ["undecidable", "undecidable", "fails", "undecidable", "ceiling"]
    assert [p for _, p in found][:3] == pytest.approx([0.08, 0.9, 0.003]) and all(np.isnan(p) for _, p in found[3:])
    assert statistics.corrected([chance], ["holds"]) == [("holds", 0.04)]


def test_p_of_a_difference_is_small_where_its_interval_leaves_zero_out() -> None:
    people = np.repeat(np.arange(100), 4)
    random = np.random.default_rng(0)
    low, high = ((random.random(400) < share).astype(float) for share in (0.5, 0.75))
    first, second = Answers(high, people, np.arange(400)), Answers(low, people, np.arange(400))
    assert statistics.difference(first, second).p < 0.01 and statistics.difference(first, first).p == 1
    assert statistics.difference(second, first).p == statistics.difference(first, second).p


def test_a_verdict_needs_its_interval_on_one_side_and_room_for_a_gain() -> None:
    assert statistics.verdict(Estimate(0.1, 0.01, 0.2, 9)) == "holds"
    assert statistics.verdict(Estimate(-0.1, -0.2, -0.01, 9)) == "fails"
    assert statistics.verdict(Estimate(0.1, -0.01, 0.2, 9)) == "undecidable"
    assert statistics.verdict(Estimate(0.1, float("nan"), float("nan"), 9)) == "undecidable"
    assert statistics.verdict(Estimate(0.1, 0.01, 0.2, 9), own_identity=0.98) == "ceiling"
    assert statistics.all_hold(["holds", "undecidable", "fails"]) == "fails" and statistics.all_hold(["holds"]) == "holds" and statistics.all_hold([]) == "undecidable"
    assert (
        statistics.one_holds(["fails", "holds"]) == "holds"
        and statistics.one_holds(["fails", "undecidable"]) == "undecidable"
        and statistics.one_holds(["fails"]) == "fails"
    )


def test_the_constant_answer_is_chosen_on_training_and_has_the_rows_of_those_it_is_compared_with() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1, -1])
    found = statistics.constant(labels, np.array([0, 1, 2, 3, 7]), np.array([2, 4, 5, 6, 7]), np.arange(8) // 2)
    assert found.accuracy == 0.25 and found.rows.tolist() == [2, 4, 5, 6] and found.people.tolist() == [1, 2, 2, 3]


@given(st.lists(st.floats(0, 1), min_size=16, max_size=16))
def test_shapley_shares_sum_to_what_all_reach(worths: list[float]) -> None:
    sources = ("a", "b", "c", "d")
    worth = {frozenset(source for at, source in enumerate(sources) if mask >> at & 1): worths[mask] for mask in range(16)}
    shares = statistics.shapley(worth, sources)
    assert sum(shares.values()) == pytest.approx(worths[15] - worths[0], abs=1e-9)


def test_a_feature_that_adds_nothing_has_no_share_and_twins_share_alike() -> None:
    worth = {frozenset(each): float(bool({"a", "b"} & set(each))) for each in ([], "a", "b", "c", "ab", "ac", "bc", "abc")}
    assert statistics.shapley(worth, ("a", "b", "c")) == {"a": pytest.approx(0.5), "b": pytest.approx(0.5), "c": pytest.approx(0)}


def test_features_are_alike_up_to_rotation_and_scale_and_unlike_noise() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 6))
    turn, _ = np.linalg.qr(random.normal(size=(6, 6)))
    assert statistics.cka(x, 3 * x @ turn + 7) == pytest.approx(1)
    assert statistics.cka(x, random.normal(size=(500, 6))) < 0.05
    assert np.isnan(statistics.cka(x, np.ones((500, 2))))


def test_numbers_are_printed_with_their_interval() -> None:
    assert statistics.percent(Estimate(0.612, 0.58, 0.641, 5)) == "61.2 (58.0 to 64.1)"
    assert statistics.percent(Estimate(0.03, -0.01, 0.05, 5), sign=True) == "+3.0 (-1.0 to +5.0)"
    assert statistics.percent(Estimate(-0.0004, -0.0007, -0.0001, 5), sign=True) == "-0.04 (-0.07 to -0.01)"
    assert statistics.percent(Estimate(0.5, float("nan"), float("nan"), 5)) == "50.0"
