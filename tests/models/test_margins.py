"""Each loss of identity against a slow reference in float64, and people who compete only inside their own space."""

import math

import numpy as np
import pytest
import torch

from polyface.errors import RequestError
from polyface.models import margins

LOSSES = ("cosface", "arcface", "adaface", "softmax")


def losses_of(loss: str, cosines: torch.Tensor, person: torch.Tensor, scale: float, margin: float, quality: torch.Tensor | None = None) -> torch.Tensor:
    identity = margins.Identity(loss=loss, scale=scale, margin=margin)  # type: ignore[arg-type]
    return torch.nn.functional.cross_entropy(margins.logits_of(identity, cosines, person, quality), person, reduction="none")


def test_cosface_is_a_softmax_whose_own_cosine_must_win_by_a_margin() -> None:
    cosines = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    person = torch.tensor([0, 3, 3, 4])
    found = losses_of("cosface", cosines, person, 16.0, 0.2)
    for row in range(4):
        raised = [math.exp(16 * (float(cosines[row, k]) - (0.2 if k == person[row] else 0))) for k in range(5)]
        assert float(found[row]) == pytest.approx(-math.log(raised[int(person[row])] / sum(raised)), abs=1e-4)


def lowest(cosines: np.ndarray, person: int, target: float, scale: float) -> float:
    """-log of the softmax at a person whose cosine a margin has made `target`."""
    raised = [math.exp(scale * (target if k == person else float(cosine))) for k, cosine in enumerate(cosines)]
    return -math.log(raised[person] / sum(raised))


def arc(cosine: float, margin: float) -> float:
    angle = math.acos(cosine)
    return math.cos(angle + margin) if angle + margin <= math.pi else cosine - margin * math.sin(margin)


def ada(cosine: float, quality: float, margin: float) -> float:
    angle = math.acos(max(-0.999, min(0.999, cosine)))
    return math.cos(max(0.001, min(math.pi - 0.001, angle - margin * quality))) - (margin * quality + margin)


def drawn_cosines() -> tuple[torch.Tensor, torch.Tensor]:
    """Among them a person's own cosines near 1 and -1."""
    cosines = torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) * 2 - 1
    cosines[0, 2], cosines[1, 4], cosines[2, 0] = 0.9995, -0.9996, -0.95
    return cosines, torch.tensor([2, 4, 0, 1, 1, 3])


@pytest.mark.parametrize("margin", [0.5, 0.1])
def test_arcface_adds_the_margin_to_the_angle_of_a_persons_own(margin: float) -> None:
    cosines, person = drawn_cosines()
    found = losses_of("arcface", cosines, person, 16.0, margin)
    for row, own in enumerate(person.tolist()):
        exact = cosines[row].double().numpy()
        assert float(found[row]) == pytest.approx(lowest(exact, own, arc(exact[own], margin), 16), rel=1e-4, abs=1e-4)


def test_arcface_never_rewards_a_larger_angle() -> None:
    cosines = torch.linspace(1, -1, 2001)
    assert (margins.angle_added(cosines, 0.5).diff() <= 0).all()


def test_adaface_moves_its_margin_by_the_quality_of_the_picture() -> None:
    cosines, person = drawn_cosines()
    quality = torch.tensor([-1.0, 1.0, 0.3, 0.0, -0.4, 0.9])
    found = losses_of("adaface", cosines, person, 16.0, 0.4, quality)
    for row, own in enumerate(person.tolist()):
        exact = cosines[row].double().numpy()
        assert float(found[row]) == pytest.approx(lowest(exact, own, ada(exact[own], float(quality[row]), 0.4), 16), rel=1e-4, abs=1e-4)


def test_target_logits_are_the_worked_values() -> None:
    """papers.md D15: at a cosine of 0.5 and a scale of 64."""
    half = torch.tensor([0.5], dtype=torch.float64)
    assert 64 * float(margins.angle_added(half, 0.5)) == pytest.approx(1.5102, abs=1e-4)
    assert [64 * float(margins.adapted(half, torch.tensor([quality]), 0.4)) for quality in (-1.0, 0.0, 1.0)] == pytest.approx([7.8902, 6.4, -0.1423], abs=1e-4)


@pytest.mark.parametrize("loss", ["cosface", "arcface", "adaface"])
def test_gradients_are_finite_and_those_of_the_formula(loss: str) -> None:
    identity = margins.Identity(loss=loss, scale=4.0, margin=0.3)  # type: ignore[arg-type]
    cosines, person = drawn_cosines()
    cosines, quality = cosines[3:].double().clamp(-0.9, 0.9), torch.tensor([0.5, -0.5, 0.0], dtype=torch.float64)
    inside = lambda given: margins.logits_of(identity, given, person[3:], quality)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # float64 throughout
        assert torch.autograd.gradcheck(inside, (cosines.requires_grad_(),))
    edge = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], requires_grad=True)
    margins.logits_of(identity, edge, torch.tensor([0, 0]), torch.tensor([1.0, -1.0])).sum().backward()
    assert torch.isfinite(edge.grad).all()  # type: ignore[arg-type]


def test_a_person_in_no_column_has_no_target() -> None:
    cosines = torch.rand(2, 3)
    found = margins.logits_of(margins.Identity(scale=2.0, margin=0.25), cosines, torch.tensor([-1, 1]))
    assert torch.allclose(found, 2 * (cosines - 0.25 * torch.tensor([[0.0, 0, 0], [0, 1, 0]])))


def test_quality_is_a_length_among_those_of_late() -> None:
    lengths, known = margins.Lengths(), (20.0, 100.0)
    for step in range(3):
        vectors = torch.randn(5, 8, generator=torch.Generator().manual_seed(step)) * torch.tensor([1e-6, 1.0, 5.0, 9.0, 1e4])[:, None]
        found = lengths.train()(vectors)
        exact = np.clip(np.sqrt((vectors.double().numpy() ** 2).sum(1)), 1e-3, 100)
        known = 0.99 * known[0] + 0.01 * exact.mean(), 0.99 * known[1] + 0.01 * exact.std(ddof=1)
        assert found.tolist() == pytest.approx(np.clip((exact - known[0]) / (known[1] + 1e-3) * 0.333, -1, 1), abs=1e-4)
    before = lengths.state_dict()["mean"].clone()
    lengths.eval()(torch.randn(4, 8))
    lengths.train()(torch.randn(1, 8))
    assert torch.isfinite(lengths.deviation) and lengths.mean == before


def test_a_softmax_with_center_loss_is_that_of_wen_et_al() -> None:
    identity = margins.Identity(loss="softmax", center=0.2)
    people = margins.People({"other": 2, "a": 3}, 4, identity)
    person, means = [1, 1, 0, 1], np.zeros((3, 4))
    for step in range(3):
        vectors = torch.randn(4, 4, generator=torch.Generator().manual_seed(step))
        found = people.loss(vectors, torch.tensor(person), "a")
        exact, centres = vectors.double().numpy(), people.centres["a"].detach().double().numpy()
        for row, own in enumerate(person):
            raised = [math.exp(exact[row] @ centre) for centre in centres]
            wanted = -math.log(raised[own] / sum(raised)) + 0.2 / 2 * ((exact[row] - means[own]) ** 2).sum()
            assert float(found[row].detach()) == pytest.approx(wanted, rel=1e-5)
        people.follow(vectors, torch.tensor(person), "a")
        for own in range(3):
            mine = [exact[row] for row in range(4) if person[row] == own]
            means[own] -= 0.5 * sum((means[own] - x for x in mine), np.zeros(4)) / (1 + len(mine))
        assert people.means is not None and np.allclose(people.means.of("a"), means, atol=1e-5)
    assert people.means is not None and not people.means.of("other").any()


def test_what_a_loss_has_seen_is_in_the_checkpoint_and_what_no_loss_asks_for_is_not() -> None:
    names = {loss: {name for name in margins.People({"a": 2}, 4, margins.Identity(loss=loss)).state_dict() if name != "centres.a"} for loss in LOSSES}
    assert names == {"cosface": set(), "arcface": set(), "adaface": {"lengths.mean", "lengths.deviation"}, "softmax": {"means.of_0"}}


def test_the_loss_of_a_recipe_is_the_one_it_names() -> None:
    vectors, person, quality = torch.randn(3, 4), torch.tensor([1, 2, 0]), torch.tensor([0.5, 0.0, -1.0])
    found = {}
    for loss in LOSSES:
        torch.manual_seed(0)
        people = margins.People({"a": 3}, 4, margins.Identity(loss=loss, scale=8.0, margin=0.2, center=0.0))
        found[loss] = people.loss(vectors, person, "a", quality)
        cosines = people(vectors, "a")
    for row, own in enumerate(person.tolist()):
        exact = cosines[row].detach().double().numpy()
        targets = (exact[own] - 0.2, arc(exact[own], 0.2), ada(exact[own], float(quality[row]), 0.2))
        for loss, target in zip(LOSSES, targets, strict=False):
            assert float(found[loss][row].detach()) == pytest.approx(lowest(exact, own, target, 8), abs=1e-4)
    assert torch.allclose(found["softmax"], torch.nn.functional.cross_entropy(vectors @ people.centres["a"].T, person, reduction="none"))


def test_without_a_margin_it_is_cross_entropy() -> None:
    cosines, person = torch.rand(3, 4), torch.tensor([1, 2, 0])
    assert torch.allclose(losses_of("cosface", cosines, person, 8.0, 0.0), torch.nn.functional.cross_entropy(8 * cosines, person, reduction="none"))


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
    people.loss(torch.randn(2, 8), torch.tensor([0, 2]), "a").sum().backward()
    assert people.centres["a"].grad is not None and people.centres["b"].grad is None


@pytest.mark.parametrize("name", ["mine.v2", "", "keys"])
def test_a_name_that_cannot_name_a_tensor_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="cannot be called so"):
        margins.People({name: 2}, 4)
