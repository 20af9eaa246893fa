"""One formula for labels of any grain: what it promises, in numpy and in torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from polyface import labels, tasks
from polyface.errors import InputError, RequestError
from polyface.models import losses

COUNT = 6
LOGITS = arrays.arrays(np.float32, COUNT, elements=st.floats(-30, 30, width=32))


def some(draw: st.DrawFn, within: np.ndarray) -> np.ndarray:
    """A random set of answers that is not empty, inside another."""
    places = np.flatnonzero(within)
    chosen = draw(st.sets(st.sampled_from(places.tolist()), min_size=1))
    mask = np.zeros(COUNT, bool)
    mask[list(chosen)] = True
    return mask


@st.composite
def sets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(smaller, possible, scope): smaller inside possible inside scope."""
    scope = some(draw, np.ones(COUNT, bool))
    possible = some(draw, scope)
    return some(draw, possible), possible, scope


def torch_surprise(logits: np.ndarray, possible: np.ndarray, scope: np.ndarray) -> tuple[float, np.ndarray]:
    """Loss and gradient."""
    z = torch.tensor(logits, requires_grad=True)
    loss = losses.surprise(z, torch.tensor(possible), torch.tensor(scope))
    loss.sum().backward()
    assert z.grad is not None
    return float(loss.detach()), z.grad.numpy()


@given(LOGITS, st.integers(0, COUNT - 1))
def test_one_answer_in_the_whole_vocabulary_is_cross_entropy(logits: np.ndarray, answer: int) -> None:
    z = torch.tensor(logits, requires_grad=True)
    wanted = F.cross_entropy(z[None], torch.tensor([answer]))
    wanted.backward()
    assert z.grad is not None
    loss, gradient = torch_surprise(logits, np.arange(COUNT) == answer, np.ones(COUNT, bool))
    assert loss == pytest.approx(float(wanted.detach()), abs=1e-5)
    assert np.allclose(gradient, z.grad.numpy(), atol=1e-6)


@given(LOGITS, sets())
def test_saying_nothing_costs_nothing_exactly(logits: np.ndarray, some_sets: tuple[np.ndarray, ...]) -> None:
    _, _, scope = some_sets
    loss, gradient = torch_surprise(logits, scope, scope)
    assert loss == 0 and (gradient == 0).all()
    assert labels.surprise(logits, scope, scope) == 0


@given(LOGITS, sets())
def test_an_answer_that_a_set_has_no_word_for_is_not_moved_at_all(logits: np.ndarray, some_sets: tuple[np.ndarray, ...]) -> None:
    _, possible, scope = some_sets
    _, gradient = torch_surprise(logits, possible, scope)
    assert (gradient[~scope] == 0).all()
    changed = np.where(scope, logits, 30).astype(np.float32)
    assert torch_surprise(changed, possible, scope)[0] == torch_surprise(logits, possible, scope)[0]


@given(LOGITS, sets())
def test_knowing_more_never_costs_less(logits: np.ndarray, some_sets: tuple[np.ndarray, ...]) -> None:
    smaller, possible, scope = some_sets
    assert torch_surprise(logits, smaller, scope)[0] >= torch_surprise(logits, possible, scope)[0] - 1e-5
    assert labels.surprise(logits, smaller, scope) >= labels.surprise(logits, possible, scope) - 1e-5
    assert labels.surprise(logits, possible, scope) >= 0


@given(LOGITS, sets())
def test_numpy_and_torch_say_the_same_and_both_say_minus_log_p_of_s_given_u(logits: np.ndarray, some_sets: tuple[np.ndarray, ...]) -> None:
    _, possible, scope = some_sets
    raised = np.exp(logits.astype(np.float64))
    wanted = -np.log(raised[possible].sum() / raised[scope].sum())
    assert labels.surprise(logits, possible, scope) == pytest.approx(wanted, abs=1e-4)
    assert torch_surprise(logits, possible, scope)[0] == pytest.approx(wanted, abs=1e-4)


def test_gradients_stay_finite_where_answers_are_far_apart() -> None:
    loss, gradient = torch_surprise(np.array([5e4, -5e4, 0, 0, 0, 0], np.float32), np.arange(COUNT) == 1, np.arange(COUNT) < 2)
    assert loss == pytest.approx(1e5) and np.isfinite(gradient).all()


# Words

ASIAN = {"White": "White", "Asian": ("East Asian", "Southeast Asian")}


def test_a_word_leaves_its_answers_possible_and_the_scope_is_all_that_was_sayable() -> None:
    meaning = labels.words(tasks.race.vocabulary, ASIAN)
    possible = {word: {tasks.race.vocabulary[at] for at in np.flatnonzero(row)} for word, row in zip(meaning.names, meaning.table, strict=True)}
    assert possible == {"White": {"White"}, "Asian": {"East Asian", "Southeast Asian"}}
    assert {tasks.race.vocabulary[at] for at in np.flatnonzero(meaning.scope)} == {"White", "East Asian", "Southeast Asian"}


@pytest.mark.parametrize("empty", [(), [], iter(())])
def test_a_word_that_leaves_nothing_possible_is_refused(empty: object) -> None:
    with pytest.raises(RequestError, match="'none' leaves no answer possible"):
        labels.words(("a", "b"), {"a": "a", "none": empty})  # type: ignore[dict-item]


def test_a_table_made_by_hand_is_held_to_the_same() -> None:
    with pytest.raises(RequestError, match="'b' leaves no answer possible"):
        labels.Words(("a", "b"), np.array([[True, False], [False, False]]))
    with pytest.raises(RequestError, match="2 words, but a table of 1 rows"):
        labels.Words(("a", "b"), np.ones((1, 2), bool))


def test_an_unknown_answer_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(RequestError, match="did you mean 'East Asian'"):
        labels.words(tasks.race.vocabulary, {"Asian": "East Asien"})


def test_an_unknown_word_is_refused_with_the_nearest_known_one() -> None:
    meaning = labels.same_words(tasks.expression.vocabulary)
    with pytest.raises(InputError, match="no word 'hapy' here; did you mean 'happy'"):
        meaning.index("hapy")
    with pytest.raises(InputError, match="no word 7 here; there are neutral, happy"):
        meaning.index(7)


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=20), max_size=20))
def test_the_hint_of_an_error_names_only_what_there_is(word: str, known: list[str]) -> None:
    hint = labels.nearest(word, known)
    assert (hint == "") == (not known)
    if hint.startswith("; did you mean"):
        assert any(repr(name) in hint for name in known)


def test_a_networks_words_are_sums_over_their_sets_within_the_scope() -> None:
    meaning = labels.words(("a", "b", "c", "d"), {"x": "a", "bc": ("b", "c")})
    found = labels.word_probabilities(np.array([[0.1, 0.2, 0.1, 0.6], [0, 0, 0, 1.0]]), meaning)
    assert np.allclose(found[0], [0.25, 0.75])  # d is beyond what the set can say
    assert np.allclose(found[1], [1 / 3, 2 / 3])  # nothing within the scope: as if nothing were known


@given(arrays.arrays(np.float64, (3, 7), elements=st.floats(0, 1)))
def test_words_that_share_no_answer_have_probabilities_that_sum_to_one(raw: np.ndarray) -> None:
    found = labels.word_probabilities(raw, labels.words(tasks.race.vocabulary, ASIAN))
    assert np.allclose(found.sum(-1), 1)


# Ranges


def test_a_range_is_a_number_a_pair_or_a_word() -> None:
    groups = labels.Ranges({"20-29": (20, 29)})
    assert groups.range_of(25) == (25, 25) and groups.range_of((3, 9)) == (3, 9) and groups.range_of([3, 9]) == (3, 9) and groups.range_of("20-29") == (20, 29)


@pytest.mark.parametrize("label", ["03-Sep", (9, 3), (1, 2, 3), (), None, float("nan"), (0, float("inf")), {"a": 1}, np.zeros(3), "25"])
def test_what_is_no_range_is_refused_in_one_line(label: object) -> None:
    with pytest.raises(InputError) as caught:
        labels.Ranges({"3-9": (3, 9)}).range_of(label)
    assert len(str(caught.value).splitlines()) == 1


def test_what_no_word_leaves_possible_is_unsaid() -> None:
    glad = labels.words(("happy", "sad", "fear"), {"glad": "happy"})
    low = labels.words(("happy", "sad", "fear"), {"low": ("sad", "fear"), "glad": "happy"})
    assert labels.unsaid(("happy", "sad", "fear"), [glad]) == ("sad", "fear") and labels.unsaid(("happy", "sad", "fear"), [glad, low]) == ()
    assert labels.unsaid(("Smiling", "Bald"), [labels.TraitNames({"smile": "Smiling"})]) == ("Bald",)
    assert labels.unsaid((), [labels.Ranges()]) == ()
