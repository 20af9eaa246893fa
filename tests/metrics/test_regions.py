import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polyface.errors import InputError
from polyface.metrics import regions

CLASSES = 4
masks = st.tuples(arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2, 3, 255])), arrays(np.uint8, (4, 5), elements=st.integers(0, CLASSES - 1)))


@given(masks)
def test_region_scores_are_what_counting_pixels_gives(pair):
    truth, predicted = pair
    counts = regions.region_confusion(truth, predicted, CLASSES)
    pixels = [(t, p) for t, p in zip(truth.reshape(-1).tolist(), predicted.reshape(-1).tolist(), strict=True) if t != 255]
    f1 = []
    for c in range(CLASSES):
        tp, either = sum(t == p == c for t, p in pixels), sum(c in (t, p) for t, p in pixels)
        f1.append(2 * tp / (tp + either) if either else np.nan)
    result = regions.region_f1(counts)
    np.testing.assert_allclose(result.each, f1)
    assert result.absent == tuple(np.flatnonzero(np.isnan(f1)))
    np.testing.assert_allclose(result.value, np.mean(foreground) if (foreground := [v for v in f1[1:] if v == v]) else np.nan)


@given(masks.filter(lambda pair: (pair[0] != 255).any()))
def test_region_scores_agree_with_scikit_learn(pair):
    truth, predicted = pair
    known = truth != 255
    counts = regions.region_confusion(truth, predicted, CLASSES)
    f1 = sklearn.metrics.f1_score(truth[known], predicted[known], labels=range(CLASSES), average=None, zero_division=np.nan)
    np.testing.assert_allclose(regions.region_f1(counts).each, f1)


def test_confusions_of_pictures_add_up_to_that_of_the_set():
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 3, (2, 5, 4, 4)).astype(np.uint8)
    pooled = sum(regions.region_confusion(t, p, 3) for t, p in zip(truth, predicted, strict=True))
    np.testing.assert_array_equal(pooled, regions.region_confusion(truth, predicted, 3))


def test_an_absent_class_is_named_and_poisons_no_mean():
    truth = np.array([[0, 1], [1, 1]], np.uint8)
    result = regions.region_f1(regions.region_confusion(truth, truth, 3))
    assert (result.value, result.absent) == (1.0, (2,))


def test_background_alone_has_no_score():
    background = np.zeros((2, 2), np.uint8)
    counts = regions.region_confusion(background, background, 3)
    assert np.isnan(regions.region_f1(counts).value)
    assert regions.region_f1(counts, background=None).value == 1.0


def test_the_worked_helen_overall_in_both_readings():
    background, upper, lower, nose = range(4)
    truth, predicted = np.array([upper, lower, background, nose]), np.array([lower, lower, background, nose])
    counts = regions.region_confusion(truth, predicted, 4)
    assert regions.merged_f1(counts, [[upper, lower], [nose]]) == 1.0
    assert regions.merged_f1(counts, [[upper, lower, nose]]) == 1.0
    assert regions.merged_f1(counts, [[upper], [lower], [nose]]) == pytest.approx(4 / 6)
    assert np.isnan(regions.merged_f1(np.zeros((4, 4), int), [[upper]]))


@given(masks)
def test_merging_never_lowers_the_score(pair):
    counts = regions.region_confusion(*pair, CLASSES)
    merged, pooled = regions.merged_f1(counts, [[1, 2, 3]]), regions.merged_f1(counts, [[1], [2], [3]])
    assert merged >= pooled or np.isnan([merged, pooled]).all()


def test_what_is_no_class_is_refused():
    with pytest.raises(InputError, match="mask holds class 9, there are 3"):
        regions.region_confusion(np.array([[9]], np.uint8), np.array([[0]], np.uint8), 3)
    with pytest.raises(InputError, match="prediction holds class 3"):
        regions.region_confusion(np.array([[0]], np.uint8), np.array([[3]], np.uint8), 3)
    with pytest.raises(InputError, match="a mask of"):
        regions.region_confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 3)


def test_a_mask_that_says_nothing_counts_nothing():
    assert regions.region_confusion(np.full((3, 3), 255, np.uint8), np.zeros((3, 3), np.uint8), 2).sum() == 0
