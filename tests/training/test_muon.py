"""Muon against what it approximates, and beside AdamW in one optimiser."""

import torch
from torch import nn

from polyface.training.muon import MuonWithAdamW, orthogonal


def test_an_update_has_the_directions_of_the_kernel_and_all_singular_values_about_one() -> None:
    for shape in ((16, 4, 3, 3), (64, 2, 3, 3), (8, 32, 1, 1)):
        kernel = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
        u, _, v = torch.linalg.svd(kernel.flatten(1), full_matrices=False)
        found = orthogonal(kernel)
        assert found.shape == kernel.shape and found.dtype == kernel.dtype
        values = torch.linalg.svdvals(found.flatten(1))
        assert values.min() > 0.5 and values.max() < 1.3, "the quintic brings them near 1, not to it"
        assert (found.flatten(1) * (u @ v)).sum() / (found.norm() * (u @ v).norm()) > 0.97


def test_groups_that_are_not_orthogonal_are_updated_as_by_adamw() -> None:
    torch.manual_seed(1)
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    kernel = nn.Parameter(torch.randn(4, 2, 3, 3))
    before = kernel.detach().clone()
    mixed = MuonWithAdamW([{"params": [kernel], "orthogonal": True}, {"params": list(ours.parameters()), "orthogonal": False}], lr=0.01)
    plain = torch.optim.AdamW(theirs.parameters(), lr=0.01)
    for _ in range(3):
        for optimiser, model, extra in ((mixed, ours, kernel.square().sum()), (plain, theirs, torch.zeros(()))):
            optimiser.zero_grad()
            (model(torch.ones(1, 3)).square().sum() + extra).backward()
            optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert kernel.norm() < before.norm(), "the squares of a kernel fall along its own directions"


def test_a_kernel_without_a_gradient_stays() -> None:
    kernel = nn.Parameter(torch.ones(2, 2, 3, 3))
    MuonWithAdamW([{"params": [kernel], "orthogonal": True}], lr=0.1).step()
    assert torch.equal(kernel, torch.ones(2, 2, 3, 3))


def test_its_state_goes_into_a_checkpoint_and_back() -> None:
    def stepped(steps: int, kernel: nn.Parameter, optimiser: MuonWithAdamW) -> None:
        for _ in range(steps):
            optimiser.zero_grad()
            kernel.square().sum().backward()
            optimiser.step()

    once, again = (nn.Parameter(torch.arange(36.0).reshape(2, 2, 3, 3)) for _ in range(2))
    whole, first, second = (MuonWithAdamW([{"params": [kernel], "orthogonal": True}], lr=0.1) for kernel in (once, again, again))
    stepped(4, once, whole)
    stepped(2, again, first)
    second.load_state_dict(first.state_dict())
    stepped(2, again, second)
    assert torch.equal(once, again)
