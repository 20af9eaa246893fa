"""The network: shapes, rows, subsets of tasks, size."""

import msgspec
import pytest
import torch

from polyface import tasks
from polyface.models.heads import DepthToSpace, softplus
from polyface.models.polyface import ModelConfig, PolyFace, build
from polyface.tasks import Task

TINY = ModelConfig(stem=8, widths=(8, 16, 16, 16), blocks=(1, 1, 1, 1), fine=8, hidden=16)


def crops(count: int, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def tiny(*names: str, people: dict[str, int] | None = None) -> PolyFace:
    torch.manual_seed(0)
    model = build(msgspec.structs.replace(TINY, tasks=names or TINY.tasks), people or {})
    for parameter in model.parameters():  # nothing is zero, so that nothing agrees by accident
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    return model


@pytest.mark.parametrize("size", [64, 96])
def test_outputs_have_the_shapes_of_their_kinds_at_any_size(size: int) -> None:
    found = tiny().eval()(crops(2, size))
    assert {name: tuple(output.shape[1:]) for name, output in found.items()} == {task.name: task.shape(size) for task in tasks.TASKS}
    assert all(output.dtype == torch.float32 and torch.isfinite(output).all() for output in found.values())


def test_points_lie_in_the_crop_with_a_positive_spread_and_embeddings_have_unit_length() -> None:
    found = tiny().eval()(crops(3))
    points = found[tasks.landmarks.name]
    assert (points[..., :2] > 0).all() and (points[..., :2] < 64).all() and (points[..., 2] > 0).all()
    assert torch.allclose(found[tasks.identity.name].norm(dim=-1), torch.ones(3), atol=1e-5)


def test_heads_asked_for_some_rows_answer_them_as_in_the_whole_batch() -> None:
    model = tiny().eval()
    batch = crops(6)
    rows = {task.name: torch.tensor([[0, 3], [5], [4, 2, 1]][index % 3]) for index, task in enumerate(tasks.TASKS)}
    with torch.inference_mode():
        whole, part = model(batch), model(batch, rows)
    assert part.keys() == rows.keys()
    assert not torch.allclose(part[tasks.identity.name].norm(dim=-1), torch.ones(1), atol=0.1)  # the loss may look at its length
    part[tasks.identity.name] = torch.nn.functional.normalize(part[tasks.identity.name], dim=-1)
    for name, chosen in rows.items():
        assert torch.allclose(part[name], whole[name][chosen], atol=1e-4), name


def test_softplus_is_torchs_and_so_is_its_slope() -> None:
    x = torch.tensor([-200.0, -30.0, -1.0, -0.1, 0.1, 1.0, 30.0, 1e4], requires_grad=True)
    found, wanted = softplus(x), torch.nn.functional.softplus(x)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert torch.allclose(torch.autograd.grad(found.sum(), x)[0], torch.autograd.grad(wanted.sum(), x)[0], atol=1e-6)


def test_depth_becomes_space_as_torch_does_it_in_another_order_of_channels() -> None:
    x = torch.randn(2, 12, 3, 5)
    other = x.unflatten(1, (4, 3)).transpose(1, 2).flatten(1, 2)  # channel, row, column
    assert torch.equal(DepthToSpace()(x), torch.nn.functional.pixel_shuffle(other, 2))
    nobody = torch.zeros(0, 12, 3, 5, requires_grad=True)
    DepthToSpace()(nobody).sum().backward()  # one of several processes may have no rows
    assert nobody.grad is not None and nobody.grad.shape == nobody.shape


def test_a_task_that_no_row_asks_for_is_not_answered() -> None:
    found = tiny()(crops(2), {tasks.age.name: torch.tensor([1])})
    assert list(found) == [tasks.age.name] and len(found[tasks.age.name]) == 1


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_any_task_alone_makes_a_network(task: Task) -> None:
    model = tiny(task.name)
    assert list(model(crops(2))) == [task.name]
    assert not model.people.centres


def test_two_tasks_in_any_order_make_a_network() -> None:
    assert list(tiny(tasks.parsing.name, tasks.age.name)(crops(2))) == [tasks.parsing.name, tasks.age.name]


def test_a_batch_of_one_trains() -> None:
    model = tiny(people={"a": 3}).train()
    found = model(crops(1))
    sum(output.sum() for output in found.values()).backward()  # type: ignore[union-attr]
    gradients = [parameter.grad for name, parameter in model.named_parameters() if not name.startswith("people.")]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


def test_centres_of_people_are_there_for_each_space_and_only_with_identity() -> None:
    assert {name: tuple(centre.shape) for name, centre in tiny(people={"a": 3, "b": 5}).people.centres.items()} == {"a": (3, 512), "b": (5, 512)}
    assert not tiny(tasks.age.name, people={"a": 3}).people.centres


def test_the_whole_network_has_a_few_million_parameters() -> None:
    assert 4e6 < sum(parameter.numel() for parameter in build(ModelConfig(), {}).parameters()) < 7.2e6


@pytest.mark.parametrize("wrong", [{"widths": (8, 16)}, {"blocks": (1,)}, {"widths": (8,), "blocks": (1,)}])
def test_widths_and_blocks_must_name_the_same_stages(wrong: dict) -> None:
    with pytest.raises(ValueError, match="widths and blocks"):
        msgspec.structs.replace(TINY, **wrong)
