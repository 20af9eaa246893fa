"""CosFace against a slow reference, and people who compete only inside their own space."""

import math

import numpy as np
import pytest
import torch

from polyface.errors import RequestError
from polyface.models import margins


def test_cosface_is_a_softmax_whose_own_cosine_must_win_by_a_margin() -> None:
    cosines = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    person = torch.tensor([0, 3, 3, 4])
    found = margins.cosface(cosines, person, scale=16.0, margin=0.2)
    for row in range(4):
        raised = [math.exp(16 * (float(cosines[row, k]) - (0.2 if k == person[row] else 0))) for k in range(5)]
        assert float(found[row]) == pytest.approx(-math.log(raised[int(person[row])] / sum(raised)), abs=1e-4)


def test_without_a_margin_it_is_cross_entropy() -> None:
    cosines, person = torch.rand(3, 4), torch.tensor([1, 2, 0])
    assert torch.allclose(margins.cosface(cosines, person, 8.0, 0.0), torch.nn.functional.cross_entropy(8 * cosines, person, reduction="none"))


def test_cosines_are_cosines_whatever_the_lengths() -> None:
    people = margins.People({"a": 3}, 4)
    vectors = torch.randn(2, 4)
    found = people(vectors * 7, "a").detach().numpy()
    for row in range(2):
        for person in range(3):
            u, v = vectors[row].numpy(), people.centres["a"][person].detach().numpy()
            assert found[row, person] == pytest.approx(np.dot(u, v) / np.linalg.norm(u) / np.linalg.norm(v), abs=1e-5)


def test_people_of_another_space_are_not_moved() -> None:
    people = margins.People({"a": 3, "b": 4}, 8)
    margins.cosface(people(torch.randn(2, 8), "a"), torch.tensor([0, 2])).sum().backward()
    assert people.centres["a"].grad is not None and people.centres["b"].grad is None


@pytest.mark.parametrize("name", ["mine.v2", "", "keys"])
def test_a_name_that_cannot_name_a_tensor_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="cannot be called so"):
        margins.People({name: 2}, 4)
