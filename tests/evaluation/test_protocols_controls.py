"""What every protocol must say of answers that know nothing, know everything, or are broken; and what no score may depend on."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyface.errors import InputError
from polyface.evaluation.protocols.age import score_ages
from polyface.evaluation.protocols.attributes import score_attributes
from polyface.evaluation.protocols.classification import score_classes
from polyface.evaluation.protocols.landmarks import score_points
from polyface.evaluation.protocols.parsing import BENCHMARKS, ELEVEN, Benchmark, score_masks
from polyface.evaluation.protocols.pose import score_poses
from polyface.evaluation.protocols.result import Result, by_group, scored
from polyface.evaluation.protocols.verification import verify
from polyface.metrics.intervals import Score, group_draws
from polyface.metrics.regions import region_confusion
from polyface.metrics.verification import contiguous_folds, d_prime, interleaved_folds


def values(result: Result) -> dict[str, float]:
    return {name: score.value for name, score in result.scores.items()}


# Verification


def pairs_of(people: int = 40, seed: int = 0, noise: float = 1.5):
    """Two photographs of each person; every person in a genuine pair and an impostor pair; ten folds."""
    random = np.random.default_rng(seed)
    who = np.arange(people).repeat(2)
    embeddings = random.normal(size=(people, 16))[who] + noise * random.normal(size=(2 * people, 16))
    first = 2 * np.arange(people)
    left, right = np.concatenate([first, first]), np.concatenate([first + 1, np.roll(first, -1) + 1])
    same = np.repeat([True, False], people)
    return embeddings, left, right, same, interleaved_folds(same), who


@pytest.mark.parametrize("lengths", [1.0, "each its own"])
def test_a_collapsed_model_verifies_as_a_coin_whatever_the_lengths_of_its_vectors(lengths) -> None:
    embeddings, *rest = pairs_of()
    scales = np.random.default_rng(1).uniform(0.01, 100, (len(embeddings), 1)) if isinstance(lengths, str) else lengths
    constant = (np.random.default_rng(2).normal(size=16) * scales * np.ones((len(embeddings), 1))).astype(np.float32)
    found = values(verify(constant, *rest, draws=10))
    assert {name: found[name] for name in ("accuracy", "accuracy_insightface", "auc", "eer", "tar@1e-1", "d_prime")} == {
        "accuracy": 0.5, "accuracy_insightface": 0.5, "auc": 0.5, "eer": 0.5, "tar@1e-1": 0.0, "d_prime": 0.0,
    }  # fmt: skip


def test_a_perfect_model_has_an_interval_that_does_not_claim_certainty() -> None:
    _, left, right, same, fold, who = pairs_of()
    result = verify(np.eye(40)[who], left, right, same, fold, who, draws=50)
    found = values(result)
    assert [found[name] for name in ("accuracy", "accuracy_insightface", "auc", "eer", "tar@1e-1", "far@1e-1")] == [1, 1, 1, 0, 1, 0]
    assert math.isinf(found["d_prime"]) and "infinite" in result.reasons["d_prime"]
    for name in ("accuracy", "tar@1e-1"):
        assert 0.85 < result.scores[name].low < 1 == result.scores[name].high
    assert json.loads(result.to_json({}))["scores"]["d_prime"] == {"value": None, "low": None, "high": None, "n": 80, "reason": result.reasons["d_prime"]}


def test_embeddings_of_other_people_verify_as_a_coin() -> None:
    embeddings, *rest = pairs_of(people=300, noise=0.5)
    shuffled = values(verify(np.random.default_rng(0).permutation(embeddings), *rest, draws=5))
    assert values(verify(embeddings, *rest, draws=5))["auc"] > 0.95
    assert abs(shuffled["auc"] - 0.5) < 0.08 and abs(shuffled["accuracy"] - 0.5) < 0.08


def test_pairs_of_one_kind_have_no_rates_and_a_reason() -> None:
    embeddings, left, right, same, _, who = pairs_of()
    result = verify(embeddings, left[same], right[same], same[same], None, who, draws=5)
    assert all(math.isnan(values(result)[name]) for name in ("accuracy", "auc", "eer", "tar@1e-1", "d_prime"))
    assert result.reasons["auc"] == "no impostor pairs" and result.reasons["accuracy"] == f"too few pairs for ten folds: {same.sum()} genuine, 0 impostor"
    assert "there are 0" in result.reasons["tar@1e-1"]


def test_one_pair_is_scored_without_a_batch_of_others() -> None:
    result = verify(np.eye(2), np.array([0]), np.array([1]), np.array([False]), None, None, draws=5)
    assert set(result.reasons) >= {"accuracy", "auc", "eer", "tar@1e-1", "d_prime"} and result.counts["pairs"] == 1
    assert "deviation_insightface" not in result.scores


def test_photographs_of_the_same_people_do_not_narrow_the_interval() -> None:
    """The negative control of a duplicated subject: every pair ten times over, all of the same forty people."""
    embeddings, left, right, same, fold, who = pairs_of(noise=2.5)
    once, often = (verify(embeddings, *(np.tile(side, times) for side in (left, right, same, fold)), who, draws=200).scores["auc"] for times in (1, 10))
    assert often.value == pytest.approx(once.value) and often.low == pytest.approx(once.low) and often.high == pytest.approx(once.high)


@settings(max_examples=25)
@given(st.integers(0, 99), st.data())
def test_no_verification_score_depends_on_the_length_of_an_embedding(seed: int, data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    embeddings = random.integers(-1, 2, (24, 3)).astype(float)  # three dimensions of three values: many pairs are tied
    embeddings[~embeddings.any(axis=1)] = 1
    scales = np.array(data.draw(st.lists(st.floats(1e-6, 1e6), min_size=24, max_size=24)))
    left, same = np.arange(0, 24, 2).repeat(2), np.tile([True, False], 12)
    right = (left + np.where(same, 1, 3)) % 24
    before, after = (verify(each, left, right, same, contiguous_folds(24), None, draws=3) for each in (embeddings, embeddings * scales[:, None]))
    for name, value in values(before).items():
        assert values(after)[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name


@settings(max_examples=25)
@given(st.permutations(range(12)), st.permutations(range(16)), st.booleans())
def test_no_verification_score_depends_on_the_order_of_names_or_pairs(photographs: list[int], order: list[int], mirrored: bool) -> None:
    embeddings, left, right, same, fold, who = pairs_of(people=8, noise=2.0)
    embeddings, who = embeddings[:12], who[:12]
    left, right, same, fold = [*left[:5], 0, 2, 4], [*right[:5], 3, 5, 7], np.array([True] * 5 + [False] * 3), np.arange(8) % 2
    left, right, same, fold = np.tile(left, 2), np.tile(right, 2), np.tile(same, 2), np.concatenate([fold, 1 - fold])
    place = np.argsort(photographs)
    a, b = (right, left) if mirrored else (left, right)
    one = verify(embeddings, left, right, same, fold, who, draws=5)
    other = verify(embeddings[photographs], place[a][order], place[b][order], same[order], fold[order], who[photographs], draws=5)
    for name, score in one.scores.items():
        assert other.scores[name].value == pytest.approx(score.value, abs=1e-12, nan_ok=True), name
        assert other.scores[name].low == pytest.approx(score.low, abs=1e-12, nan_ok=True), name


def test_weighted_d_prime_is_that_of_pairs_written_out() -> None:
    random = np.random.default_rng(0)
    scores, same, times = random.normal(size=20), np.arange(20) % 3 == 0, random.integers(0, 4, 20)
    assert d_prime(scores, same, times) == pytest.approx(d_prime(scores.repeat(times), same.repeat(times)))
    assert math.isnan(d_prime(scores, same, np.where(same, 0, times)))


def test_folds_of_a_list_with_all_genuine_pairs_first_hold_both_kinds() -> None:
    """CALFW and CPLFW: 3,000 genuine, then 3,000 impostors; 300 and 300 in each fold, by their order. LFW's own list keeps LFW's own folds."""
    calfw, lfw = np.repeat([True, False], 3000), np.tile(np.repeat([True, False], 300), 10)
    np.testing.assert_array_equal(interleaved_folds(calfw)[:3000], np.arange(3000) // 300)
    np.testing.assert_array_equal(interleaved_folds(calfw)[3000:], np.arange(3000) // 300)
    np.testing.assert_array_equal(interleaved_folds(lfw), contiguous_folds(6000))


# Classes and attributes


def test_one_answer_for_every_face_has_chance_recall_and_the_constant_accuracy() -> None:
    truth = np.array([0] * 6 + [1] * 3 + [2])
    result = score_classes(truth, np.zeros(10, np.int64), "abc", np.arange(10))
    found = values(result)
    assert (found["accuracy"], found["accuracy_constant"], found["mean_recall"], found["macro_f1"]) == (0.6, 0.6, 1 / 3, 0.25)
    assert result.scores["recall:b"].value == 0 and 0 < result.scores["recall:b"].high < 1 and result.scores["recall:b"].n == 3


def test_a_class_that_is_answered_but_never_labelled_has_an_f1_of_nought_and_no_recall() -> None:
    result = score_classes(np.array([0, 1, 1]), np.array([0, 2, 1]), "abc", np.arange(3))
    assert math.isnan(values(result)["recall:c"]) and result.notes["mean_recall"] == "without c"
    assert values(result)["f1:c"] == 0 and "macro_f1" not in result.notes
    assert values(result)["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_every_answer_right_is_no_certainty() -> None:
    truth = np.arange(30) % 3
    result = score_classes(truth, truth, "abc", np.arange(30))
    assert all(score.value == 1 for name, score in result.scores.items() if name != "accuracy_constant")
    assert result.scores["accuracy"].low < 0.9 and result.scores["recall:a"].low < 0.75
    same_person = score_classes(truth, truth, "abc", np.zeros(30))
    assert math.isnan(same_person.scores["accuracy"].low), "thirty pictures of one person say nothing about others"


@settings(max_examples=10)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12), st.permutations(range(4)))
def test_no_score_depends_on_how_classes_are_named_or_numbered(rows: list[tuple[int, int]], renamed: list[int]) -> None:
    truth, predicted = np.array(rows).T
    before = score_classes(truth, predicted, "abcd", np.arange(len(rows)))
    after = score_classes(np.array(renamed)[truth], np.array(renamed)[predicted], "pqrs", np.arange(len(rows)))
    names = {name: f"{name[:-1]}{'pqrs'[renamed['abcd'.index(name[-1])]]}" if ":" in name else name for name in before.scores}
    for name, score in before.scores.items():
        other = after.scores[names[name]]
        assert [other.value, other.low, other.high, other.n] == pytest.approx([score.value, score.low, score.high, score.n], nan_ok=True), name


def test_attributes_of_a_constant_score_one_half_balanced() -> None:
    labels = np.array([[1, 0], [1, 0], [1, 1], [0, -1]], np.int8)
    result = score_attributes(labels, np.full((4, 2), 0.9), ["x", "y"], np.arange(4))
    found = values(result)
    assert found["mean_balanced_accuracy"] == 0.5 and found["mean_accuracy"] == pytest.approx((3 / 4 + 1 / 3) / 2)
    assert found["mean_accuracy_constant"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert result.scores["accuracy:y"].n == 3


def test_an_attribute_that_everybody_shows_has_no_balanced_accuracy_and_is_named() -> None:
    labels = np.array([[1, 1, -1], [1, 0, -1]], np.int8)
    result = score_attributes(labels, np.full((2, 3), 0.9), ["all", "half", "unknown"], np.arange(2))
    assert result.notes["mean_balanced_accuracy"] == "without all, unknown" and result.notes["mean_accuracy"] == "without unknown"
    assert math.isnan(values(result)["accuracy:unknown"]) and values(result)["mean_accuracy"] == 0.75
    nothing = score_attributes(labels[:, 2:], np.full((2, 1), 0.9), ["unknown"], np.arange(2))
    assert set(nothing.reasons) == set(nothing.scores)


def test_logits_are_no_probabilities() -> None:
    with pytest.raises(InputError, match="row 1 holds -2 for x"):
        score_attributes(np.zeros((2, 1), np.int8), np.array([[0.4], [-2.0]]), ["x"], np.arange(2))


# Ages, poses, points, masks


def test_the_median_age_for_everybody_scores_as_the_constant_beside_it() -> None:
    truth = np.array([1.0, 20, 30, 40, 90])
    found = values(score_ages(truth, np.full(5, 30.0), np.zeros(5), np.arange(5)))
    assert found["mae"] == found["mae_constant"] and found["cs@5"] == 0.2 and found["epsilon_error"] == pytest.approx(0.8)


def test_angles_are_compared_on_the_circle_and_a_limit_that_leaves_nobody_says_so() -> None:
    truth, predicted = np.array([[179.0, 0, 0]]), np.array([[-179.0, 0, 0]])
    assert values(score_poses(truth, predicted, ("yaw", "pitch", "roll"), np.arange(1)))["mae_yaw"] == 2
    nobody = score_poses(truth, predicted, ("yaw", "pitch", "roll"), np.arange(1), limit=99)
    assert set(nobody.reasons) == set(nobody.scores) and nobody.counts["left_out"] == 1


def test_a_limit_leaves_out_what_is_beyond_it_the_shorter_way_round() -> None:
    """350 degrees are -10; an angle of exactly the limit stays."""
    truth = np.array([[350.0, 0, 0], [0, -350, 0], [-33.3, 33.3, 0], [33.4, 0, 0], [0, 0, 180], [326, 0, 0]])
    result = score_poses(truth, truth, ("yaw", "pitch", "roll"), np.arange(6), limit=33.3)
    assert (result.counts["faces"], result.counts["left_out"]) == (3, 3)


def test_an_error_of_exactly_alpha_is_no_failure() -> None:
    truth = np.array([[[0.0, 0], [10, 0], [5, 5], [2, 8], [8, 8]]])
    result = score_points(truth, truth + np.array([1, 0]), np.arange(1), normalisers=["inter_pupil"], alphas=[0.1, 0.0999])
    assert [values(result)[name] for name in ("nme_inter_pupil", "fr_inter_pupil@0.1", "fr_inter_pupil@0.0999")] == [0.1, 0, 1]


def test_a_face_that_was_not_found_fails_at_every_alpha() -> None:
    truth = np.tile([[[0.0, 0], [10, 0], [5, 5], [2, 8], [8, 8]]], (4, 1, 1))
    predicted = truth.copy()
    predicted[3] = np.nan
    result = score_points(truth, predicted, np.arange(4), missed=np.arange(4) == 3, normalisers=["inter_pupil"])
    found = values(result)
    assert (found["nme_inter_pupil"], found["nme_found_inter_pupil"], found["fr_inter_pupil@0.1"], found["auc_inter_pupil@0.1"]) == (0.25, 0.0, 0.25, 0.75)
    with pytest.raises(InputError, match="predicted: row 3 is not finite"):
        score_points(truth, predicted, np.arange(4), normalisers=["inter_pupil"])


@pytest.mark.parametrize("eye", [[0.0, 0.0], [np.nan, np.nan]])
def test_a_normaliser_that_one_face_has_no_size_by_gets_a_reason_and_the_others_their_numbers(eye: list[float]) -> None:
    truth = np.tile([[[0.0, 0], [10, 0], [5, 5], [2, 8], [8, 8]]], (2, 1, 1))
    truth[1, 1] = eye
    boxes = np.tile([0.0, 0, 10, 10], (2, 1))
    result = score_points(truth, truth + 1, np.arange(2), boxes)
    assert result.reasons["nme_inter_pupil"].startswith("1 of 2 faces: no inter-pupil size, ") and math.isnan(values(result)["nme_inter_pupil"])
    assert values(result)["nme_box"] == pytest.approx(2**0.5 / 10) and not any(name.startswith("fr_inter_pupil") for name in result.scores)


def test_masks_of_nothing_but_background_have_no_score_of_parts() -> None:
    counts = region_confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8), 11)[None]
    result = score_masks(counts, BENCHMARKS["helen"], np.arange(1))
    assert values(result)["f1:background"] == 1 == values(result)["f1_11_classes_with_background"]
    assert {"f1_10_classes", "f1_overall_union", "f1_overall_pooled", "iou:skin", "f1:l_eye+r_eye"} <= set(result.reasons)
    assert result.reasons["iou:skin"] == "in no picture and no answer" and result.reasons["f1_10_classes"].endswith(": " + ", ".join(ELEVEN[1:]))


def test_masks_of_one_class_score_what_their_area_gives() -> None:
    truth = np.array([[0, 1, 1, 2]], np.uint8)
    counts = region_confusion(truth, np.ones_like(truth), 3)[None]
    found = values(score_masks(counts, Benchmark(("background", "skin", "hair")), np.arange(1)))
    assert found["f1:skin"] == pytest.approx(2 / 3) and found["iou:skin"] == pytest.approx(0.5) and found["f1:hair"] == 0
    assert found["f1_2_classes"] == pytest.approx(1 / 3) and found["miou_3_classes_with_background"] == pytest.approx(0.5 / 3)


# What all share


def test_intervals_are_those_of_people_drawn_by_hand() -> None:
    people, truth, predicted = np.array([5, 5, 7, 7, 9]), np.array([0, 1, 1, 0, 1]), np.array([0, 0, 1, 1, 1])
    found = score_classes(truth, predicted, "ab", people).scores["macro_f1"]
    drawn = []
    for times in group_draws(3):
        rows = [row for row in range(5) for _ in range(times[{5: 0, 7: 1, 9: 2}[people[row]]])]
        f1 = []
        for each in (0, 1):
            either = sum(truth[row] == each for row in rows) + sum(predicted[row] == each for row in rows)
            if either:
                f1.append(2 * sum(truth[row] == each == predicted[row] for row in rows) / either)
        drawn.append(np.mean(f1))
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist())


def test_groups_are_scored_each_beside_all() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    result = by_group(lambda rows: score_classes(truth[rows], predicted[rows], "ab", rows), ["x", "x", "y", "y"], 4)
    assert (values(result)["accuracy"], values(result)["accuracy|x"], values(result)["accuracy|y"]) == (0.75, 0.5, 1.0)
    assert result.counts["faces|x"] == 2 and "recall:a|x" not in result.scores


def test_a_score_without_a_number_cannot_go_without_a_reason() -> None:
    nothing = Score(math.nan, math.nan, math.nan, 0)
    with pytest.raises(ValueError, match="no reason"):
        Result("age", {"mae": nothing}, {})
    assert json.loads(Result("age", {"mae": nothing}, {}, {"mae": "no faces"}).to_json({}))["scores"]["mae"]["reason"] == "no faces"


def test_a_share_that_rests_on_one_person_has_no_interval() -> None:
    scores = scored(lambda times: {"share": 1.0, "half": 0.5}, 3, group_draws(3), independent={"share": 1})
    assert all(math.isnan(score.low) and math.isnan(score.high) for score in scores.values())
    once = score_classes(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ["a", "b"], np.array([0, 0, 1, 2]))
    assert once.scores["recall:a"].value == 0.5 and math.isnan(once.scores["recall:a"].low)


def test_means_of_shares_that_are_all_one_claim_no_certainty() -> None:
    truth = np.array([0, 1, 0, 1, 1])
    classes = score_classes(truth, truth, ["a", "b"], np.arange(5)).scores
    assert (classes["mean_recall"].low, classes["mean_recall"].high) == (classes["recall:a"].low, 1.0) and 0 < classes["recall:a"].low < classes["recall:b"].low
    assert math.isnan(classes["macro_f1"].low)  # no share: nobody knows
    assert [classes[name].chance for name in ("accuracy", "mean_recall", "recall:a", "macro_f1")] == [0.5, 0.5, 0.5, None]
    shown = score_attributes(truth[:, None], truth[:, None].astype(float), ["a"], np.arange(5)).scores
    assert 0 < shown["mean_accuracy"].low < 1 and math.isnan(shown["mean_balanced_accuracy"].low)
    assert [shown[name].chance for name in ("mean_accuracy", "mean_balanced_accuracy", "accuracy:a", "balanced_accuracy:a")] == [0.5] * 4
