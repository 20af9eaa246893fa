"""The networks of paper A: its counts of parameters, frozen standardisation, and merging that is what it says."""

import msgspec
import numpy as np
import pytest
import torch

from polyface.models.fusion import MERGES, FeatureNetwork, FusedNetwork, FusionHead, NetworkConfig, shared_config
from polyface.models.sizes import parameters_of
from polyface.tasks import Category, Embedding

TINY = NetworkConfig(size=16, channels=(4, 6, 8))
LENGTHS = {"who": 7, "age": 5, "race": 5}


def crops(count: int, size: int = 16) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def features(count: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {source: torch.randn(count, length, generator=generator).relu() for source, length in LENGTHS.items()}


@pytest.mark.parametrize(("length", "classes", "count"), [(200, 77, 1_781_629), (50, 3, 537_355), (50, 4, 537_406), (50, 2, 537_304)])
def test_at_64_pixels_the_four_networks_have_the_parameters_of_papers_md(length: int, classes: int, count: int) -> None:
    assert parameters_of(FeatureNetwork(NetworkConfig(), {"task": (length, classes)})) == count


def test_maps_halve_and_the_output_is_made_from_the_feature() -> None:
    network = FeatureNetwork(TINY, {"who": (7, 3)}).eval()
    assert [tuple(each.shape) for each in network.maps(crops(2))] == [(2, 4, 8, 8), (2, 6, 4, 4), (2, 8, 2, 2)]
    feature = network.features(crops(2))
    assert feature["who"].shape == (2, 7) and (feature["who"] >= 0).all()
    assert torch.allclose(network(crops(2))["who"], network.output["who"](feature["who"]))


def test_the_stated_deviation_is_where_filters_start_from() -> None:
    torch.manual_seed(0)
    network = FeatureNetwork(msgspec.structs.replace(NetworkConfig(), std=0.01), {"who": (200, 77)})
    assert [float(layer.weight.detach().std()) for layer in network.convolutions] == pytest.approx([0.01] * 3, rel=0.1)
    assert float(network.output["who"].weight.detach().std()) == pytest.approx(NetworkConfig().output_std, rel=0.1)


def test_a_shared_network_has_as_many_parameters_as_all_others_together() -> None:
    outputs = {"who": (200, 77), "age": (50, 3), "race": (50, 4), "gender": (50, 2)}
    alone = sum(parameters_of(FeatureNetwork(NetworkConfig(), {task: sizes})) for task, sizes in outputs.items())
    shared = FeatureNetwork(shared_config(NetworkConfig(), outputs), outputs)
    assert parameters_of(shared) == pytest.approx(alone, rel=0.1) and len(shared(crops(1, 64))) == 4


@pytest.mark.parametrize("merge", MERGES)
def test_every_merge_gives_logits_and_every_source_reaches_them(merge: str) -> None:
    torch.manual_seed(0)
    head = FusionHead(LENGTHS, 3, merge, (8, 6), 5)
    given = {source: each.requires_grad_() for source, each in features().items()}
    logits = head(given)
    assert logits.shape == (4, 3)
    logits.square().sum().backward()
    assert all(given[source].grad is not None and given[source].grad.abs().sum() > 0 for source in LENGTHS)  # type: ignore[union-attr]


def test_a_head_sees_features_in_the_units_of_training() -> None:
    head, given = FusionHead(LENGTHS, 3, hidden=(8,)), features(50)
    given["age"][:, 0] = 4.0  # never changes
    scaled = {source: each * 100 + 7 for source, each in given.items()}
    twin = FusionHead(LENGTHS, 3, hidden=(8,))
    twin.load_state_dict(head.state_dict())
    for source in LENGTHS:
        head.fit(source, given[source].mean(0), given[source].std(0))
        twin.fit(source, scaled[source].mean(0), scaled[source].std(0))
    assert torch.allclose(head(given), twin(scaled), atol=1e-4)
    given["age"][:, 0] = 5.0
    assert torch.isfinite(head(given)).all()


def test_a_fused_network_is_its_networks_and_its_heads() -> None:
    networks = {"who": FeatureNetwork(TINY, {"who": (7, 3)}), "race": FeatureNetwork(TINY, {"race": (5, 4)})}
    head = FusionHead({"who": 7, "race": 5}, 4, hidden=(8, 6))
    fused = FusedNetwork([Category("race", "?", ("a", "b", "c", "d")), Embedding("face", "?", 12)], networks, {"race": head})
    found = fused(crops(3))
    separately = {source: next(iter(network.features(crops(3)).values())) for source, network in networks.items()}
    assert torch.allclose(found["race"], head(separately))
    assert torch.allclose(found["face"].norm(dim=1), torch.ones(3)) and found["face"].shape == (3, 12)
