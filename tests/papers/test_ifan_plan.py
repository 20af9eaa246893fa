"""Paper B's plan on made-up batches: who is trained by what, losses over passes, and what is fed back instead of predictions."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from polyface import datasets
from polyface.datasets.base import Record
from polyface.datasets.crops import Example, Examples
from polyface.datasets.retold import coarse_tasks, retelling
from polyface.errors import RequestError
from polyface.images import align
from polyface.models.ifan import Ifan, IfanConfig, rendered
from polyface.models.losses import LOSSES
from polyface.papers.ifan_config import EMOTION, POINTS, REGIONS, Stage, load
from polyface.papers.ifan_plan import IfanPlan, Lesson, labelled_maps, loss_of, squared_error, stream_for, streams_of, told_by
from polyface.tasks.kinds import Row, Task
from polyface.training.batches import Batch
from polyface.training.config import Augment, Optimiser
from polyface.training.examples import Source

SIZE = 32
NETWORK = IfanConfig(size=SIZE, stem=6, growth=3, layers=1, levels=3, feedback=(8, 4), passes=3, radius=1.25, dropout=0.0)
COARSE = coarse_tasks({"regions": REGIONS, "points": POINTS, "emotion": EMOTION})
TASKS = tuple(each.task for each in COARSE)
REGION, POINT, MOOD = TASKS
CPU = torch.device("cpu")


def source(name: str, count: int = 4) -> Source:
    told = retelling(datasets.named(name), COARSE)
    items = [Example(Record(f"{at}", None, {}), align.ARCFACE_112, "stated") for at in range(count)]  # type: ignore[arg-type]
    return Source(Examples(told.dataset, tuple(items)), 1.0)


SOURCES = tuple(source(name) for name in ("celebamask", "mtfl", "helen", "rafdb", "facesynthetics"))


def lesson(network: IfanConfig = NETWORK, **said: object) -> Lesson:
    known: dict[str, object] = {
        "network": network, "tasks": TASKS, "sources": SOURCES, "stage": Stage(steps=2, batch=8), "optimiser": Optimiser(), "weights": {}, "augment": Augment(),
        "crop": align.Crop(SIZE, 10.0, (16.0, 14.5)), "seed": 1,
    }  # fmt: skip
    return Lesson(**(known | said))  # type: ignore[arg-type]


def row(task: Task, random: np.random.Generator) -> Row:
    """A label that says something."""
    if task is REGION:
        return {"words": random.integers(0, 9, (SIZE, SIZE)).astype(np.uint8), "table": np.eye(9, dtype=bool)}
    if task is POINT:
        return {"xy": random.uniform(4, 28, (5, 2)).astype(np.float32), "seen": np.ones(5, bool), "map": np.eye(5, dtype=np.float32)}
    sets = np.eye(7, dtype=bool)[random.integers(7)][None]
    return {"share": np.ones(1, np.float32), "sets": sets, "scope": np.ones(7, bool)}


def batch(*rows: tuple[int, tuple[Task, ...]], seed: int = 0) -> Batch:
    """(index of the source, tasks that the row is labelled for) of each row."""
    random = np.random.default_rng(seed)
    labels = {task.name: task.stack([row(task, random) if task in known else task.unknown(SIZE) for _, known in rows]) for task in TASKS}
    images = random.integers(0, 256, (len(rows), SIZE, SIZE, 3), dtype=np.uint8)
    return Batch(images, labels, np.array([at for at, _ in rows]), tuple(f"row {at}" for at in range(len(rows))))


MIXED = batch((0, (REGION,)), (0, (REGION,)), (1, (POINT,)), (2, (POINT,)), (3, (MOOD,)), (3, (MOOD,)), (4, (REGION, POINT)))


def network(config: IfanConfig = NETWORK, seed: int = 0) -> Ifan:
    torch.manual_seed(seed)
    model = Ifan(config, TASKS, streams_of(config, TASKS, SOURCES))
    for integrator in model.trunk.integrators.values():
        torch.nn.init.normal_(integrator.mix.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    return model


def as_tensors(labels: Row) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in labels.items()}


# Who is trained by what


def test_a_row_counts_for_the_tasks_it_is_labelled_for_and_a_picture_with_two_labels_for_both() -> None:
    plan = IfanPlan(lesson(), network)
    losses = plan.loss(network().train(), MIXED, CPU)
    assert {name: len(rows) for name, rows in losses.items()} == {"regions": 3, "points": 3, "emotion": 2}
    assert plan.blame(MIXED, "points", 2)["key"] == "row 6"


@pytest.mark.parametrize("normalisation", ["per_task", "per_dataset"])
def test_a_streams_statistics_are_moved_by_its_own_rows_only(normalisation: str) -> None:
    config = IfanConfig(**{**{name: getattr(NETWORK, name) for name in NETWORK.__struct_fields__}, "normalisation": normalisation})
    model = network(config).train()
    only_mtfl = batch((1, (POINT,)), (1, (POINT,)), (1, (POINT,)))
    before = {name: value.clone() for name, value in model.state_dict().items() if "running_mean" in name}
    IfanPlan(lesson(config), network).loss(model, only_mtfl, CPU)
    moved = {
        re.split(r"\.(?:sets|later)\.", name)[1].partition(".")[0]
        for name, value in model.state_dict().items()
        if name in before and not torch.equal(value, before[name])
    }
    assert moved == {"points" if normalisation == "per_task" else "points@mtfl"}


def test_sets_have_streams_of_their_own_where_that_is_asked() -> None:
    config = IfanConfig(**{**{name: getattr(NETWORK, name) for name in NETWORK.__struct_fields__}, "normalisation": "per_dataset"})
    model = network(config)
    assert set(model.streams) == {"regions@celebamask", "regions@facesynthetics", "points@mtfl", "points@helen", "points@facesynthetics", "emotion@rafdb"}
    assert stream_for(model, "points", "helen") == "points@helen" and stream_for(model, "points", "afw") == "points@mtfl", "others are answered by the first"
    rows = IfanPlan(lesson(config), network).rows(model, MIXED)
    assert {name: at.tolist() for name, at in rows.items()} == {
        "regions@celebamask": [0, 1], "regions@facesynthetics": [6], "points@mtfl": [2], "points@helen": [3], "points@facesynthetics": [6], "emotion@rafdb": [4, 5],
    }  # fmt: skip
    assert streams_of(NETWORK, TASKS, SOURCES) == {"regions": "regions", "points": "points", "emotion": "emotion"}


def test_shared_normalisation_takes_the_mixed_batch_in_one_run() -> None:
    config = IfanConfig(**{**{name: getattr(NETWORK, name) for name in NETWORK.__struct_fields__}, "normalisation": "shared", "passes": 1, "feedback": ()})
    model = network(config).train()
    losses = IfanPlan(lesson(config), network).loss(model, MIXED, CPU)
    expected = network(config).train().together(torch.from_numpy(MIXED.images), {"points": torch.tensor([2, 3, 6])})[0]["points"]
    wanted = squared_error(expected, {name: each[[2, 3, 6]] for name, each in as_tensors(MIXED.labels["points"]).items()}, SIZE)
    assert torch.allclose(losses["points"], wanted, atol=1e-6)


def test_training_one_task_leaves_the_others_out() -> None:
    plan = IfanPlan(lesson(taught=("emotion",)), network)
    assert set(plan.loss(network().train(), MIXED, CPU)) == {"emotion"}
    assert [each.dataset.name for each in plan.mix.sources] == ["rafdb"], "sets that do not label it are not opened"


def test_a_task_that_no_set_labels_and_too_many_sets_are_refused() -> None:
    with pytest.raises(RequestError, match="no set of the recipe labels emotion"):
        lesson(sources=SOURCES[:2])
    with pytest.raises(RequestError, match="5 data sets do not fit into a batch of 4"):
        _ = lesson(stage=Stage(steps=1, batch=4)).mix


# Losses


def test_losses_are_means_over_the_passes() -> None:
    losses = IfanPlan(lesson(taught=("emotion",)), network).loss(network().train(), MIXED, CPU)  # other streams would move their statistics first
    at = torch.tensor([4, 5])
    outputs = network().train().passes(torch.from_numpy(MIXED.images)[at], "emotion")
    labels = {name: each[at] for name, each in as_tensors(MIXED.labels["emotion"]).items()}
    each = [LOSSES[type(MOOD)](MOOD, output, labels) for output in outputs]
    assert len(each) == 3 and not torch.allclose(each[0], each[2])
    assert torch.allclose(losses["emotion"], sum(each) / 3, atol=1e-6)  # type: ignore[operator, arg-type]


def test_squared_error_is_that_of_shares_of_the_crop_over_the_points_seen() -> None:
    random = np.random.default_rng(3)
    rows = [row(POINT, random) for _ in range(4)]
    rows[1]["seen"][[0, 3]] = False
    rows[1]["xy"][0] = 1e6
    rows[2] = POINT.mirror(rows[2], SIZE)
    rows[3]["seen"][:] = False
    predicted = random.uniform(0, SIZE, (4, 5, 3)).astype(np.float32)
    found = squared_error(torch.from_numpy(predicted), as_tensors(POINT.stack(rows)), SIZE)
    for at, each in enumerate(rows):
        places = [0, 1, 2, 3, 4] if at != 2 else list(POINT.mirrored)  # type: ignore[attr-defined]
        errors = [sum(((predicted[at, places[point], axis] - each["xy"][point, axis]) / SIZE) ** 2 for axis in (0, 1)) for point in range(5) if each["seen"][point]]
        assert float(found[at]) == pytest.approx(np.mean(errors) if errors else 0.0, rel=1e-4)


def test_other_losses_are_those_of_their_kind() -> None:
    output, labels = torch.randn(2, 9, SIZE, SIZE), as_tensors(REGION.stack([row(REGION, np.random.default_rng(at)) for at in range(2)]))
    assert torch.equal(loss_of(REGION, output, labels, SIZE), LOSSES[type(REGION)](REGION, output, labels))


def test_validation_chooses_nothing() -> None:
    plan = IfanPlan(lesson(), network)
    plan.validation = [MIXED]
    numbers = plan.validate(network(), CPU)
    assert set(numbers) == {"regions", "points", "emotion"} and "loss" not in numbers


# What is fed back


@pytest.fixture
def maps() -> dict[str, Tensor]:
    return {task.name: torch.rand(3, channels, 8, 8) for task, channels in ((REGION, 9), (POINT, 5), (MOOD, 7))}


def told(kind: str, maps: dict[str, Tensor], asked: str = "regions", labels: dict[str, dict[str, Tensor]] | None = None) -> dict[str, Tensor]:
    change = told_by(kind, network())(asked, labels or {})
    assert change is not None
    return dict(change(maps))


def test_another_face_is_the_row_before(maps: dict[str, Tensor]) -> None:
    changed = told("another", maps)
    assert all(torch.equal(changed[name][1], maps[name][0]) and torch.equal(changed[name][0], maps[name][2]) for name in maps)


def test_without_a_task_the_others_enter_as_they_are(maps: dict[str, Tensor]) -> None:
    assert told("without-points", maps) == {name: maps[name] for name in ("regions", "emotion")}


def test_constant_maps_say_nothing(maps: dict[str, Tensor]) -> None:
    assert all(each.unique().numel() == 1 and each.shape == maps[name].shape for name, each in told("constant", maps).items())
    assert told_by("", network())("regions", {}) is None
    with pytest.raises(ValueError, match="nothing is known"):
        told_by("anything", network())


def perfect(task: Task, labels: Row) -> Tensor:
    """The output that says what is labelled, and is sure."""
    if task is REGION:
        return torch.from_numpy(np.eye(9, dtype=np.float32)[labels["words"]]).permute(0, 3, 1, 2) * 100
    if task is POINT:
        return torch.from_numpy(np.concatenate([labels["xy"], np.ones_like(labels["xy"][..., :1])], -1))
    return torch.from_numpy(labels["sets"][:, 0].astype(np.float32)) * 100


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_ground_truth_is_drawn_as_a_perfect_prediction_would_be(task: Task) -> None:
    labels = task.stack([row(task, np.random.default_rng(at)) for at in range(3)])
    drawn = labelled_maps(task, as_tensors(labels), NETWORK, 8)
    assert torch.allclose(drawn, rendered(task, perfect(task, labels), SIZE, 8, NETWORK.radius), atol=1e-5)


def test_ground_truth_of_a_mirrored_face_lies_where_its_points_are() -> None:
    plain = row(POINT, np.random.default_rng(5))
    mirrored = POINT.mirror(plain, SIZE)
    drawn = [labelled_maps(POINT, as_tensors(POINT.stack([each])), NETWORK, SIZE)[0] for each in (plain, mirrored)]
    assert torch.equal(drawn[1], drawn[0][list(POINT.mirrored)].flip(-1))  # type: ignore[attr-defined]


def test_ground_truth_is_of_the_others_and_only_where_it_is_known(maps: dict[str, Tensor]) -> None:
    here = batch((4, (REGION, POINT)), (0, (REGION,)), (3, (MOOD,)))
    labels = {name: as_tensors(each) for name, each in here.labels.items()}
    changed = told("truth", maps, "regions", labels)
    assert torch.equal(changed["regions"], maps["regions"]), "a task is not told its own answer"
    assert not torch.equal(changed["points"][0], maps["points"][0]) and torch.equal(changed["points"][1:], maps["points"][1:])
    assert not torch.equal(changed["emotion"][2], maps["emotion"][2]) and torch.equal(changed["emotion"][:2], maps["emotion"][:2])


def test_what_several_answers_share_is_shared_evenly() -> None:
    table = np.zeros((2, 9), bool)
    table[0, [1, 8]], table[1, 0] = True, True
    words = np.full((SIZE, SIZE), 255, np.uint8)
    words[:, :16], words[:16, 16:] = 0, 1
    drawn = labelled_maps(REGION, as_tensors(REGION.stack([{"words": words, "table": table}])), NETWORK, 8)[0]
    assert torch.allclose(drawn.sum(0), torch.ones(8, 8)) and drawn[1, 0, 0] == drawn[8, 0, 0] == 0.5 and drawn[0, 0, 7] == 1
    assert torch.allclose(drawn[:, 7, 7], torch.full((9,), 1 / 9)), "an unlabelled pixel leaves all possible"


# Frozen convolutions


def test_with_frozen_convolutions_the_old_tasks_answer_exactly_as_before() -> None:
    plug = coarse_tasks({"attributes": load("smoke").plug.task})[0].task  # type: ignore[union-attr]
    celeba = retelling(datasets.celeba, coarse_tasks({"attributes": load("smoke").plug.task})).dataset  # type: ignore[union-attr]
    items = SOURCES[0].examples.items

    def make() -> Ifan:
        model = network()
        model.add_task(plug, plug.name)
        return model

    plan = IfanPlan(lesson(tasks=(*TASKS, plug), sources=(*SOURCES, Source(Examples(celeba, items), 1.0)), taught=(plug.name,), frozen=True), make)
    model = plan.model()
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained and all(".attributes." in f".{name}." for name in trained)
    crops = torch.from_numpy(MIXED.images)
    before = model.eval()(crops)
    labels = {**MIXED.labels, plug.name: {"values": np.random.default_rng(0).integers(0, 2, (7, 40)).astype(np.int8)}}
    labels |= {task.name: task.stack([task.unknown(SIZE)] * 7) for task in TASKS}
    optimiser = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.5)
    losses = plan.loss(model.train(), Batch(MIXED.images, labels, np.full(7, 5), MIXED.keys), CPU)
    assert set(losses) == {plug.name}
    losses[plug.name].mean().backward()
    optimiser.step()
    after = model.eval()(crops)
    assert all(torch.equal(before[task.name], after[task.name]) for task in TASKS)
    assert not torch.allclose(before[plug.name], after[plug.name])


# The paper's scale


def test_the_papers_scale_takes_a_forward_and_a_training_step() -> None:
    recipe = load("paper", ["network.checkpointing=true"])
    assert recipe.network.size == 128 and recipe.network.growth == 12 and recipe.network.passes == 3
    plan = IfanPlan(lesson(recipe.network, crop=recipe.view), lambda: Ifan(recipe.network, TASKS, streams_of(recipe.network, TASKS, SOURCES)))
    model = plan.model()
    assert sum(parameter.numel() for parameter in model.parameters()) == 996_524, "papers.md, B3"
    labels = {task.name: task.stack([task.unknown(128)]) for task in TASKS}
    labels["emotion"] = MOOD.stack([row(MOOD, np.random.default_rng(0))])
    losses = plan.loss(model.train(), Batch(np.zeros((1, 128, 128, 3), np.uint8), labels, np.array([3]), ("a",)), CPU)
    losses["emotion"].sum().backward()
    assert any(parameter.grad is not None and bool(parameter.grad.abs().sum() > 0) for parameter in model.parts()["kernels"])
    with torch.inference_mode():
        answers = model.eval()(torch.zeros(1, 128, 128, 3, dtype=torch.uint8))
    assert {name: tuple(each.shape) for name, each in answers.items()} == {"regions": (1, 9, 64, 64), "points": (1, 5, 3), "emotion": (1, 7)}
