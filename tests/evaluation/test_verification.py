import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from polyface.errors import InputError
from polyface.evaluation.protocols.verification import accuracy_gap, score_pairs
from polyface.metrics.intervals import group_draws


def people_and_pairs(noise, people=40, seed=0):
    """Two photographs of each person, as unit vectors about a direction of their own; 10 folds of (4 + 4) pairs."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), 2)
    embeddings = random.normal(size=(people, 32))[who] + noise * random.normal(size=(2 * people, 32))
    first = np.arange(people) * 2
    left, right = np.concatenate([first, first]), np.concatenate([first + 1, np.roll(first, -1) + 1])
    same, fold = np.repeat([True, False], people), np.tile(np.arange(people) % 10, 2)
    return embeddings, left, right, same, fold, who


def test_embeddings_that_know_people_score_high_with_an_interval_about_the_score():
    result = score_pairs(*people_and_pairs(noise=1.0), fars=(0.1, 0.01), draws=200)
    assert result.people == 40
    for score in (result.accuracy, result.auc):
        assert score.chance == 0.5 and score.n == 80
        assert 0.85 < score.low <= score.value <= score.high <= 1
    assert result.accuracy.value == result.lfw.mean
    assert result.eer.low <= result.eer.value <= result.eer.high < 0.15
    (at_tenth, interval), (at_hundredth, none) = result.tar
    assert at_tenth.point.far <= 0.1 and interval.low <= at_tenth.point.tar <= interval.high
    assert at_hundredth.point is None and np.isnan(none.low) and "needs 100" in at_hundredth.reason


def test_the_interval_of_an_accuracy_is_about_the_mean_over_folds_however_large_they_are():
    """A large fold of hard pairs, nine small ones of easy ones."""
    random = np.random.default_rng(0)
    fold, same = np.concatenate([np.zeros(900, int), np.repeat(np.arange(1, 10), 20)]), np.arange(1080) % 2 == 0
    apart = np.where(same, 0.0, 1.0) + np.where(fold == 0, 3, 0.1) * random.normal(size=1080)
    embeddings = np.stack([np.tile([1.0, 0.0], (1080, 1)), np.stack([np.cos(apart / 9), np.sin(apart / 9)], axis=1)], axis=1).reshape(-1, 2)
    left = np.arange(1080) * 2
    result = score_pairs(embeddings, left, left + 1, same, fold, None, draws=200)
    for score in (result.accuracy, result.accuracy_insightface):
        assert score.low < score.value < score.high
    gap = accuracy_gap(embeddings, np.ones_like(embeddings), left, left + 1, same, fold, None, draws=200)
    assert gap.low < gap.value < gap.high


def test_the_length_of_an_embedding_does_not_matter():
    embeddings, *rest = people_and_pairs(noise=1.5)
    scaled = embeddings * np.random.default_rng(0).uniform(0.1, 10, (len(embeddings), 1))
    assert score_pairs(scaled, *rest, draws=20).auc == score_pairs(embeddings, *rest, draws=20).auc


def test_collapsed_embeddings_score_as_a_coin():
    embeddings, *rest = people_and_pairs(noise=1.0)
    constant = np.tile(np.random.default_rng(0).normal(size=32).astype(np.float32), (len(embeddings), 1))
    result = score_pairs(constant, *rest, fars=(0.1,), draws=20)
    assert (result.accuracy.value, result.insightface.mean, result.auc.value, result.eer.value) == (0.5, 0.5, 0.5, 0.5)
    assert (result.tar[0][0].point.tar, result.d_prime) == (0, 0)


def test_a_gap_of_accuracies_is_paired_over_people():
    embeddings, *rest = people_and_pairs(noise=2.5)
    better = people_and_pairs(noise=2.2)[0]
    one, other = (score_pairs(each, *rest, draws=200).accuracy for each in (better, embeddings))
    gap = accuracy_gap(better, embeddings, *rest, draws=200)
    assert gap.value == pytest.approx(one.value - other.value) and gap.low <= gap.value <= gap.high and gap.n == 80
    assert gap.high - gap.low < (one.high - one.low) + (other.high - other.low)
    same = accuracy_gap(embeddings, 3 * embeddings, *rest, draws=20)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_one_fold_has_rates_but_no_accuracy():
    embeddings, left, right, same, fold, who = people_and_pairs(noise=1.0)
    result = score_pairs(embeddings, left, right, same, np.zeros_like(fold), who, draws=20)
    assert result.lfw is None and result.insightface is None and np.isnan([result.accuracy.value, result.accuracy.low]).all()
    assert result.auc.value > 0.9


def test_people_who_return_in_many_pairs_widen_the_interval():
    """Five people in all pairs of 50 photographs: drawing pairs would promise far too much."""
    random, who = np.random.default_rng(0), np.repeat(np.arange(5), 10)
    embeddings = random.normal(size=(5, 4))[who] + 1.0 * random.normal(size=(50, 4))
    left, right = np.triu_indices(50, 1)
    same, fold = who[left] == who[right], np.arange(len(left)) % 10
    by_person, by_pair = (score_pairs(embeddings, left, right, same, fold, people, draws=200).auc for people in (who, None))
    assert by_person.value == by_pair.value
    assert by_person.high - by_person.low > 2 * (by_pair.high - by_pair.low)


def test_the_interval_is_that_of_people_drawn_by_hand():
    embeddings, left, right, same, fold, who = people_and_pairs(noise=2.0, people=12)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    aucs = []
    for times in group_draws(12, 50):
        scores, truth = [], []
        for a, b in zip(left, right, strict=True):
            copies = times[who[a]] if who[a] == who[b] else times[who[a]] * times[who[b]]
            scores += [unit[a] @ unit[b]] * copies
            truth += [who[a] == who[b]] * copies
        if len(set(truth)) == 2:
            aucs.append(roc_auc_score(truth, scores))
    found = score_pairs(embeddings, left, right, same, fold, who, draws=50).auc
    np.testing.assert_allclose([found.low, found.high], np.quantile(aucs, [0.025, 0.975]), atol=1e-9)


def test_only_a_few_pairs_are_scored_and_none_is_no_score():
    embeddings = np.eye(3)
    few = score_pairs(embeddings, np.array([0]), np.array([1]), np.array([False]), np.array([0]), np.array([0, 1, 2]), draws=20)
    assert np.isnan(few.auc.value) and few.tar[0][0].point is None
    empty = np.zeros(0, int)
    none = score_pairs(embeddings, empty, empty, empty.astype(bool), empty, np.arange(3), draws=20)
    assert np.isnan(none.auc.value) and none.auc.n == 0


def test_what_cannot_be_scored_is_refused_by_row():
    embeddings, left, right, same, fold, who = people_and_pairs(noise=1.0)

    def refused(message, embeddings=embeddings, left=left, same=same):
        with pytest.raises(InputError, match=message):
            score_pairs(embeddings, left, right, same, fold, who, draws=2)

    broken = embeddings.copy()
    broken[7, 3] = np.nan
    refused("embeddings: row 7 is not finite", embeddings=broken)
    refused("embeddings: row 0 is not finite", embeddings=np.full_like(embeddings, np.nan))
    refused("embeddings: row 2 has length 0", embeddings=np.where(np.arange(80)[:, None] == 2, 0, embeddings))
    refused("left: row 0 holds -1", left=np.where(left == 0, -1, left))
    refused("pair 0 is labelled as two people", same=~same)
