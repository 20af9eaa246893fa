import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from polyface.errors import InputError
from polyface.labels import word_probabilities, words
from polyface.metrics import ages, baselines, classification

CLASSES = 4
answers = st.lists(st.tuples(st.integers(-1, CLASSES - 1), st.integers(0, CLASSES - 1)), max_size=30)


def split(rows):
    return np.array([t for t, _ in rows], np.int64), np.array([p for _, p in rows], np.int64)


def slow_scores(rows):
    """Recalls and F1 by counting one row at a time."""
    known = [(t, p) for t, p in rows if t != -1]
    recalls, f1 = [], []
    for c in range(CLASSES):
        tp = sum(t == c and p == c for t, p in known)
        fn = sum(t == c and p != c for t, p in known)
        fp = sum(t != c and p == c for t, p in known)
        recalls.append(tp / (tp + fn) if tp + fn else None)
        f1.append(2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None)
    return recalls, f1


def assert_per_class(result, expected):
    present = [value for value in expected if value is not None]
    assert result.absent == tuple(c for c, value in enumerate(expected) if value is None)
    np.testing.assert_allclose(result.each, [np.nan if value is None else value for value in expected])
    np.testing.assert_allclose(result.value, sum(present) / len(present) if present else np.nan)


def recalls_of(truth, predicted, classes):
    counts = classification.confusion(truth, predicted, classes)
    return classification.mean_over_present(classification.share(np.diag(counts), counts.sum(axis=1)))


def f1_of(truth, predicted, classes):
    return classification.mean_over_present(classification.f1_of_confusion(classification.confusion(truth, predicted, classes)))


@given(answers)
def test_scores_are_what_counting_by_hand_gives(rows):
    truth, predicted = split(rows)
    recalls, f1 = slow_scores(rows)
    assert_per_class(recalls_of(truth, predicted, CLASSES), recalls)
    assert_per_class(f1_of(truth, predicted, CLASSES), f1)


@given(answers.filter(lambda rows: any(t != -1 for t, _ in rows)))
@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label")
def test_scores_agree_with_scikit_learn(rows):
    truth, predicted = split([row for row in rows if row[0] != -1])
    balanced = sklearn.metrics.balanced_accuracy_score(truth, predicted)
    assert recalls_of(truth, predicted, CLASSES).value == pytest.approx(balanced)
    f1 = sklearn.metrics.f1_score(truth, predicted, average="macro")
    assert f1_of(truth, predicted, CLASSES).value == pytest.approx(f1)
    confusion = sklearn.metrics.confusion_matrix(truth, predicted, labels=range(CLASSES))
    np.testing.assert_array_equal(classification.confusion(truth, predicted, CLASSES), confusion)


def test_a_constant_answer_scores_no_better_than_chance_when_balanced():
    truth, constant = np.array([0, 0, 0, 0, 1, 2]), np.zeros(6, int)
    assert recalls_of(truth, constant, 3).value == pytest.approx(1 / 3)
    assert baselines.constant_accuracy(truth) == pytest.approx(4 / 6)


def test_a_single_class_is_scored_and_the_others_are_named():
    result = recalls_of(np.array([2, 2]), np.array([2, 0]), 3)
    assert (result.value, result.absent) == (0.5, (0, 1))


def test_what_is_no_class_is_refused_by_row():
    with pytest.raises(InputError, match="predicted: row 1 holds 3"):
        classification.confusion(np.array([0, 1]), np.array([0, 3]), 3)
    with pytest.raises(InputError, match="truth: row 0 holds -2"):
        classification.confusion(np.array([-2]), np.array([0]), 3)
    with pytest.raises(InputError, match="integers"):
        classification.confusion(np.array([np.nan]), np.array([0]), 3)
    with pytest.raises(InputError, match="truth has 2, predicted has 1"):
        classification.confusion(np.array([0, 1]), np.array([0]), 3)


def test_the_prediction_of_an_unlabelled_row_is_not_read():
    np.testing.assert_array_equal(classification.confusion(np.array([-1, 1]), np.array([99, 1]), 2), [[0, 0], [0, 1]])


def test_small_unsigned_integers_do_not_overflow():
    truth = np.full(300, 200, np.uint8)
    assert classification.confusion(truth, truth, 201)[200, 200] == 300


def test_a_coarse_word_wins_by_the_sum_of_its_answers():
    probabilities = np.array([[0.30, 0.25, 0.25, 0.20], [0.6, 0.2, 0.1, 0.1]])
    table = np.array([[1, 0, 0, 0], [0, 1, 1, 0]], bool)  # nobody can say the fourth
    assert classification.coarse_choice(probabilities, table).tolist() == [1, 0]


def test_equal_words_go_to_the_lowest():
    assert classification.coarse_choice(np.full((1, 4), 0.25), np.array([[1, 1, 0, 0], [0, 0, 1, 1]], bool)).tolist() == [0]


@given(st.lists(st.lists(st.integers(1, 1000), min_size=4, max_size=4), min_size=1, max_size=8))
def test_the_choice_is_that_of_the_words_probabilities(weights):
    probabilities = np.array(weights, float) / np.sum(weights, axis=1, keepdims=True)
    meaning = words("abcd", {"first": "a", "middle": ["b", "c"]})
    conditional = word_probabilities(probabilities, meaning)
    chosen = classification.coarse_choice(probabilities, meaning.table)
    assert (conditional[np.arange(len(chosen)), chosen] >= conditional.max(axis=1) - 1e-12).all()


def test_coarse_scoring_refuses_what_it_cannot_score():
    with pytest.raises(InputError, match="row 1 is not finite"):
        classification.coarse_choice(np.array([[1.0, 0.0], [np.nan, 0.0]]), np.eye(2, dtype=bool))
    with pytest.raises(InputError, match="word 1 leaves no answer"):
        classification.coarse_choice(np.ones((1, 2)), np.array([[1, 0], [0, 0]], bool))
    with pytest.raises(InputError, match="3 answers, words over 2"):
        classification.coarse_choice(np.ones((1, 3)), np.eye(2, dtype=bool))


def test_the_age_group_is_chosen_over_its_years():
    years = np.zeros((2, 117))
    years[0, [2, 5, 6]] = 0.4, 0.3, 0.3
    years[1, [116, 10]] = 0.6, 0.4
    assert ages.group_choice(years, np.array([[0, 2], [3, 9], [10, 19], [70, 116]])).tolist() == [1, 3]
    with pytest.raises(InputError, match="age group 0 ends before"):
        ages.group_choice(years, np.array([[3, 2]]))
