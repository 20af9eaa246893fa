"""The detector's network and its losses: shapes, YuNet's inputs and outputs, which cell answers for which face, and what it costs."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from polyface import runtime
from polyface.errors import RequestError
from polyface.images.detect import load_detector
from polyface.inference import detector_card
from polyface.models import detector, detector_teacher
from polyface.models.detector import INPUT, OUTPUTS, PARTS, STRIDES, DetectorConfig, build, cells, name_of, pictures_of, to_onnx
from polyface.models.detector_losses import Faces, assign, box_loss, boxes_of, every_cell, losses_of, overlaps_of, points_loss
from polyface.models.detector_teacher import Taught, Teacher
from polyface.models.sizes import parameters_of

TINY = DetectorConfig(stem=4, early=4, widths=(8, 8, 8), blocks=(1, 1, 2), neck=8)


@pytest.fixture(scope="module")
def content() -> bytes:
    torch.manual_seed(0)
    model = build(TINY)
    for head in model.heads:
        torch.nn.init.constant_(head.answers["obj"].bias, 4.0)  # finds something everywhere
    return to_onnx(model, "tiny", 0.45, 96.0)


def test_the_network_that_ships_is_small_and_a_large_one_is_refused() -> None:
    assert 100_000 < parameters_of(build(DetectorConfig())) <= 150_000
    with pytest.raises(RequestError, match="at most 150,000"):
        build(DetectorConfig(widths=(64, 128, 256)))


def test_the_file_has_yunets_inputs_and_outputs_at_any_size(content: bytes) -> None:
    session = runtime.session(content)
    assert [(each.name, each.shape[:2]) for each in session.get_inputs()] == [(INPUT, [1, 3])]
    assert [each.name for each in session.get_outputs()] == [f"{part}_{stride}" for part in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]
    for height, width in ((32, 32), (96, 64), (64, 160)):
        found = session.run(None, {INPUT: np.zeros((1, 3, height, width), np.float32)})
        assert [each.shape for each in found] == [(1, height * width // stride**2, PARTS[part]) for part in PARTS for stride in STRIDES]
        assert all(0 <= each.min() <= each.max() <= 1 for each in found[:6])


def test_opencvs_own_detector_decodes_the_file_as_ours_does(content: bytes, tmp_path: Path) -> None:
    """FaceDetectorYN on a picture whose sides are none of 32's multiples: it pads to the right and below, boxes without NMS are ours."""
    (tmp_path / "own.onnx").write_bytes(content)
    image = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    theirs = cv2.FaceDetectorYN.create(str(tmp_path / "own.onnx"), "", (70, 50), 0.0, 1.0, 5000)
    found = theirs.detect(image)[1]
    canvas = np.zeros((64, 96, 3), np.uint8)
    canvas[:50, :70] = image[..., ::-1]  # BGR -> RGB
    ours = load_detector(tmp_path / "own.onnx", 1)
    assert (ours.name, ours.threshold, ours.best_size) == ("tiny", 0.45, 96.0)  # type: ignore[attr-defined]
    boxes, points, scores = ours._run(canvas, 0.0)  # type: ignore[attr-defined]
    order, other = np.argsort(-scores, kind="stable"), np.argsort(-found[:, 14], kind="stable")
    assert len(found) == len(scores) == 12 * 8 + 6 * 4 + 3 * 2
    np.testing.assert_allclose(found[other, 14], scores[order], atol=1e-4)
    near = found[other[0]]
    best = order[np.abs(scores - scores.max()) < 1e-4]
    corners = np.hstack([near[:2], near[:2] + near[2:4]])
    assert min(np.abs(boxes[row] - corners).max() for row in best) < 0.05
    assert min(np.abs(points[row].ravel() - near[4:14]).max() for row in best) < 0.05


def test_a_file_that_answers_otherwise_than_the_network_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "LARGEST_DRIFT", 0.0)
    with pytest.raises(detector.RunError, match="onnxruntime and torch differ by"):
        to_onnx(build(TINY), "tiny", 0.6, 260.0)


def test_two_detectors_never_share_a_name_and_one_keeps_its_own() -> None:
    torch.manual_seed(0)
    model, other = build(TINY), build(TINY)
    name = name_of(model, "mine", 0.6, 260.0)
    assert name.startswith("mine-") and name == name_of(model, "mine", 0.6, 260.0)
    others = [name_of(other, "mine", 0.6, 260.0), name_of(model, "mine", 0.5, 260.0), name_of(model, "mine", 0.6, 130.0), name_of(model, "yours", 0.6, 260.0)]
    assert len({name, *others}) == 5


def test_the_detector_that_ships_keeps_its_name() -> None:
    shipped = Path(__file__).parents[2] / "weights" / "polyface_weights" / "detector"
    assert load_detector(shipped / "detector.onnx", 1).name == detector_card.read(shipped / "detector.json").name == "polyface"


def test_what_the_network_reads_is_bgr() -> None:
    image = torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8)
    assert pictures_of(image).flatten().tolist() == [3, 2, 1]


def test_cells_come_row_by_row() -> None:
    np.testing.assert_array_equal(cells(16, 24, 8), [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]])


# Losses


def random_boxes(count: int, seed: int, side: float = 64) -> torch.Tensor:
    random = np.random.default_rng(seed)
    corner, size = random.uniform(0, side * 0.7, (count, 2)), random.uniform(4, side * 0.6, (count, 2))
    return torch.from_numpy(np.hstack([corner, corner + size])).float()


def grid(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    corner = torch.from_numpy(np.concatenate([cells(side, side, stride) for stride in STRIDES])).float()
    return corner, torch.cat([torch.full(((side // stride) ** 2,), float(stride)) for stride in STRIDES])


def assign_slowly(middle: torch.Tensor, stride: torch.Tensor, boxes: torch.Tensor, scores: torch.Tensor, truth: torch.Tensor) -> list[int]:
    """Cell by cell, face by face."""
    costs: list[dict[int, float]] = []
    for face in truth.tolist():
        cost, overlaps = {}, []
        for at, (x, y) in enumerate(middle.tolist()):
            within = face[0] < x < face[2] and face[1] < y < face[3]
            near = max(abs(x - (face[0] + face[2]) / 2), abs(y - (face[1] + face[3]) / 2)) < 2.5 * float(stride[at])
            if within or near:
                overlap = float(overlaps_of(boxes[at], torch.tensor(face)))
                overlaps.append(overlap)
                cost[at] = -np.log(max(float(scores[at]), 1e-7)) - 3 * np.log(max(overlap, 1e-7)) + (0 if within and near else 1e5)
        count = max(1, int(sum(sorted(overlaps)[-10:])))
        costs.append({at: cost[at] for at in sorted(cost, key=lambda at: (cost[at], at))[:count]})
    owners = []
    for at in range(len(middle)):
        wanting = [(cost[at], face) for face, cost in enumerate(costs) if at in cost]
        owners.append(min(wanting)[1] if wanting else -1)
    return owners


@pytest.mark.parametrize("seed", range(4))
def test_cells_are_given_as_the_slow_reference_gives_them(seed: int) -> None:
    corner, stride = grid(64)
    middle, truth = (corner + 0.5) * stride[:, None], random_boxes(seed + 1, seed)
    boxes = random_boxes(len(middle), seed + 10)
    scores = torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, len(middle))).float()
    assert assign(middle, stride, boxes, scores, truth).tolist() == assign_slowly(middle, stride, boxes, scores, truth)


def test_every_face_gets_a_cell_however_bad_the_boxes_are() -> None:
    corner, stride = grid(64)
    truth = torch.tensor([[2.0, 2, 12, 12], [0, 0, 64, 64], [40, 40, 56, 60]])
    owner = assign((corner + 0.5) * stride[:, None], stride, torch.full((len(corner), 4), 1e4), torch.zeros(len(corner)), truth)
    assert set(owner.tolist()) == {-1, 0, 1, 2}


def test_overlaps_and_the_box_loss_of_boxes_known_by_hand() -> None:
    first, second = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 3, 2]])
    assert overlaps_of(first, second).item() == pytest.approx(1 / 3)
    assert overlaps_of(first, first + 10).item() == 0
    assert box_loss(first, first).item() == pytest.approx(0, abs=1e-6)
    assert box_loss(first, second).item() == pytest.approx(1 - 1 / 3 + 1 / (9 + 4))
    assert box_loss(first, torch.tensor([[0.0, 0, 4, 2]])).item() == pytest.approx(1 - 0.5 + 1 / (16 + 4) + 4 / 16)


def test_boxes_are_centre_and_log_of_sides_in_strides() -> None:
    said = torch.tensor([[0.5, 0.25, np.log(2.0), 0.0]]).float()
    np.testing.assert_allclose(boxes_of(said, torch.tensor([[3.0, 1.0]]), torch.tensor([16.0])), [[40, 12, 72, 28]], rtol=1e-6)


def test_unknown_points_cost_nothing_and_have_no_gradient() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 20, 20], [0, 0, 10, 10]])
    truth = torch.full((3, 5, 2), torch.nan)
    truth[0, 0], truth[1] = torch.tensor([1.0, 1.0]), 5.0
    found = torch.zeros((3, 5, 2), requires_grad=True)
    rows = points_loss(found, truth, boxes, torch.tensor([1.0, 0.5, 1.0]))
    assert rows.tolist() == pytest.approx([2 / 10, 0.5 * 10 / 20])
    rows.sum().backward()
    assert torch.isfinite(found.grad).all() and (found.grad[2] == 0).all() and (found.grad[0, 1:] == 0).all() and (found.grad[0, 0] != 0).all()


def faces_of(boxes: list[list[float]], face: list[bool], ignored: list[bool]) -> Faces:
    count = len(boxes)
    points = torch.full((1, count, 5, 2), torch.nan)
    return Faces(torch.tensor([boxes]).float(), points, torch.ones(1, count), torch.tensor([face]), torch.tensor([ignored]))


def silent(side: int) -> list[dict[str, torch.Tensor]]:
    return [{part: torch.zeros(1, (side // stride) ** 2, count, requires_grad=True) for part, count in PARTS.items()} for stride in STRIDES]


def test_a_cell_in_an_ignored_region_is_neither_raised_nor_lowered() -> None:
    answers = silent(64)
    losses = losses_of(answers, faces_of([[0, 0, 32, 32]], [False], [True]), 64)
    losses["seen"].sum().backward()
    gradient = answers[0]["obj"].grad[0, :, 0].reshape(8, 8)
    assert (gradient[:4, :4] == 0).all() and (gradient[4:] > 0).all() and (gradient[:, 4:] > 0).all()
    assert [len(losses[name]) for name in ("seen", "fit", "box", "points")] == [1, 0, 0, 0]


def test_the_cells_of_a_face_are_raised_and_all_others_lowered() -> None:
    answers = silent(64)
    losses = losses_of(answers, faces_of([[16, 16, 40, 40], [0, 0, 0, 0]], [True, False], [False, False]), 64)
    losses["seen"].sum().backward()
    raised = torch.cat([answer["obj"].grad[0, :, 0] for answer in answers]) < 0
    assert 1 <= raised.sum() <= 10 and len(losses["fit"]) == len(losses["box"]) == raised.sum() and len(losses["points"]) == 0


def test_the_network_learns_one_view_by_heart() -> None:
    """A bright square on black: after some steps its box, its points and nothing else are found."""
    torch.manual_seed(1)
    model = build(DetectorConfig(stem=8, early=8, widths=(16, 16, 16), blocks=(1, 1, 1), neck=16))
    images = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    images[0, 16:40, 24:48] = 255
    box = torch.tensor([24.0, 16, 48, 40])
    points = torch.tensor([[30.0, 24], [42, 24], [36, 28], [31, 34], [41, 34]])
    faces = Faces(box.expand(2, 1, 4), points.expand(2, 1, 5, 2), torch.ones(2, 1), torch.tensor([[True], [False]]), torch.zeros(2, 1, dtype=torch.bool))
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    history = []
    for _ in range(120):
        losses = losses_of(model(pictures_of(images)), faces, 64)
        weights = {"seen": 2 / max(len(losses["fit"]), 2), "fit": 1, "box": 5, "points": 10}
        total = sum(weight * losses[name].mean() for name, weight in weights.items() if len(losses[name]))
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        history.append(float(total.detach()))
    assert history[-1] < history[0] / 5
    answers = model(pictures_of(images))
    corner, stride = grid(64)
    said = {part: torch.cat([answer[part] for answer in answers], 1).detach() for part in PARTS}
    scores = (said["cls"].sigmoid() * said["obj"].sigmoid()).sqrt()[..., 0]
    best = int(scores[0].argmax())
    assert float(overlaps_of(boxes_of(said["bbox"][0], corner, stride)[best], box)) > 0.7
    assert float(((said["kps"][0, best].reshape(5, 2) + corner[best]) * stride[best] - points).abs().max()) < 3
    assert float(scores[0, best]) > 0.5 > float(scores[1].max())


def test_parts_and_strides_are_named_in_yunets_order() -> None:
    assert tuple(f"{part}_{stride}" for part, stride in itertools.product(PARTS, STRIDES)) == OUTPUTS


# What another detector teaches


@pytest.fixture
def taught_by(content: bytes, tmp_path: Path) -> Teacher:
    (tmp_path / "teacher.onnx").write_bytes(content)
    return Teacher(tmp_path / "teacher.onnx", 1)


def test_a_teacher_says_of_every_cell_of_every_view_what_its_network_answers(taught_by: Teacher) -> None:
    torch.manual_seed(0)
    same = build(TINY).eval()
    for head in same.heads:
        torch.nn.init.constant_(head.answers["obj"].bias, 4.0)
    images = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8))
    said = taught_by.of(images)
    with torch.inference_mode():
        answers = same(pictures_of(images))
    expected = {part: torch.cat([answer[part] for answer in answers], dim=1) for part in PARTS}
    torch.testing.assert_close(said.obj, expected["obj"][..., 0].sigmoid(), atol=1e-4, rtol=0)
    torch.testing.assert_close(said.cls, expected["cls"][..., 0].sigmoid(), atol=1e-4, rtol=0)
    torch.testing.assert_close(said.boxes, boxes_of(expected["bbox"], *every_cell(96, torch.device("cpu"))), atol=1e-2, rtol=1e-3)


def test_who_says_what_the_teacher_says_has_nothing_to_learn_and_who_says_otherwise_has() -> None:
    side, cells_of_all = 64, 64 + 16 + 4
    obj = torch.zeros(1, cells_of_all)
    obj[0, [5, 70]] = 0.9
    boxes = torch.tensor([10.0, 12, 30, 40]).repeat(1, cells_of_all, 1)
    corner, stride = every_cell(side, torch.device("cpu"))
    centre, sides = torch.tensor([20.0, 26]) / stride[:, None] - corner, torch.log(torch.tensor([20.0, 28]) / stride[:, None])
    taught = Taught(torch.full_like(obj, 0.8), obj, boxes)
    scores = {"obj": torch.logit(obj, 1e-6)[..., None], "cls": torch.logit(taught.cls)[..., None]}
    agreed = scores | {"bbox": torch.cat([centre, sides], 1)[None], "kps": torch.zeros(1, cells_of_all, 10)}
    answers = {name: each.clone().requires_grad_() for name, each in agreed.items()}
    rows = detector_teacher.losses_of([answers], taught, side)
    assert len(rows["taught_box"]) == 2 and rows["taught_box"].max() < 1e-4
    sum(each.sum() for each in rows.values()).backward()  # type: ignore[union-attr]
    assert all(answers[name].grad.abs().max() < 1e-4 for name in ("obj", "cls"))  # type: ignore[union-attr]
    assert answers["kps"].grad is None or not answers["kps"].grad.any()
    for name in ("obj", "cls"):
        other = detector_teacher.losses_of([agreed | {name: agreed[name] - 1}], taught, side)
        assert other["taught"].sum() > rows["taught"].sum()


def test_what_cannot_teach_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RequestError, match=r"none\.onnx"):
        Teacher(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(content[:100])
    with pytest.raises(RequestError, match=r"broken\.onnx"):
        Teacher(tmp_path / "broken.onnx")
