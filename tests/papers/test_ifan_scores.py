"""Paper B's scores: a number for each face, beside slow references and worked values; and where rows start."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from polyface import datasets
from polyface.datasets.crops import true_box
from polyface.datasets.retold import coarse_tasks, retelling
from polyface.errors import RequestError
from polyface.files import sha256_of_lines
from polyface.images import align, geometry
from polyface.images.align import Crop
from polyface.labels import PointMap, same_words, words
from polyface.models.ifan import Ifan, IfanConfig
from polyface.papers.ifan_cards import score_entry
from polyface.papers.ifan_compute import matched_growth, multiplications
from polyface.papers.ifan_config import EMOTION, OVERALL, POINTS, REGIONS, Test
from polyface.papers.ifan_constant import FROM, Constant, constants_of
from polyface.papers.ifan_faces import TRUE_BOXES, Faces, faces_of
from polyface.papers.ifan_model import mean_ranks
from polyface.papers.ifan_plan import streams_of, told_by
from polyface.papers.ifan_runs import Compute, MeasureResult, RowResult, read_row, read_rows, write_row
from polyface.papers.ifan_scores import Kept, confusion_in_picture, exact, hits_and_either, scores
from polyface.papers.ifan_starts import load_start
from polyface.synth.write import write

SIZE = 32
CROP = Crop(SIZE, 10.0, (16.0, 14.5))
NETWORK = IfanConfig(size=SIZE, stem=6, growth=3, layers=1, levels=3, feedback=(8, 4), passes=3, radius=1.25, dropout=0.0)
COARSE = coarse_tasks({"regions": REGIONS, "points": POINTS, "emotion": EMOTION})
REGION, POINT, MOOD = TASKS = tuple(each.task for each in COARSE)
REGIONS_IN_PARTS = [[region] for part in OVERALL for region in part]
NINE = same_words(REGION.vocabulary)  # type: ignore[attr-defined]


def network(config: IfanConfig = NETWORK, seed: int = 0) -> Ifan:
    torch.manual_seed(seed)
    model = Ifan(config, TASKS, streams_of(config, TASKS, ()))
    for integrator in model.trunk.integrators.values():
        torch.nn.init.normal_(integrator.mix.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    return model.eval()


# Helen's overall F


def test_helens_overall_has_two_readings() -> None:
    """papers.md, D15: truth (upper lip, lower lip, background, nose), predicted (lower lip, lower lip, background, nose)."""
    at = REGION.vocabulary.index  # type: ignore[attr-defined]
    confusion = np.zeros((9, 9), np.int64)
    for truth, said in zip(("upper lip", "lower lip", "background", "nose"), ("lower lip", "lower lip", "background", "nose"), strict=True):
        confusion[at(truth), at(said)] += 1
    for parts, expected in ((OVERALL, 1.0), (REGIONS_IN_PARTS, 4 / 6)):
        hits, either = hits_and_either(confusion, exact(REGION, NINE, parts))  # type: ignore[arg-type]
        assert hits / either == pytest.approx(expected)


def test_a_part_that_a_sets_words_cannot_name_is_left_out() -> None:
    fasseg = retelling(datasets.fasseg, COARSE).dataset.answers["regions"]
    named = {tuple(np.flatnonzero(inside)) for _, inside in exact(REGION, fasseg, OVERALL)}  # type: ignore[arg-type]
    assert named == {(3,), (4,), (5, 6, 7)}, "eyes, nose and the mouth as one; brows lie in its hair"
    assert len(exact(REGION, fasseg, REGIONS_IN_PARTS)) == 2  # type: ignore[arg-type]
    assert len(exact(REGION, NINE, OVERALL)) == 4  # type: ignore[arg-type]


def test_confusion_is_that_of_the_picture_pixel_by_pixel() -> None:
    random = np.random.default_rng(0)
    output = random.normal(size=(9, SIZE, SIZE)).astype(np.float32)
    mask = random.integers(0, 9, (50, 40)).astype(np.uint8)
    mask[random.random((50, 40)) < 0.1] = 255
    matrix = geometry.about((16.0, 16.0), 1.3, 10.0, (-8.0, -12.0))
    found = confusion_in_picture(REGION, NINE, output, mask, matrix)  # type: ignore[arg-type]
    expected = np.zeros((9, 9), np.int64)
    for y in range(50):
        for x in range(40):
            if mask[y, x] != 255:
                u, v = np.floor(geometry.apply(matrix, np.array([[x + 0.5, y + 0.5]]))[0]).astype(int)
                inside = 0 <= u < SIZE and 0 <= v < SIZE
                expected[mask[y, x], output[:, v, u].argmax() if inside else 0] += 1
    assert found.sum() == expected.sum() == (mask != 255).sum()
    assert np.abs(found - expected).sum() < 0.02 * found.sum(), "warps may round a pixel's edge the other way"


# A number for each face


def faces(count: int = 6) -> Faces:
    random = np.random.default_rng(1)
    matrices = np.stack([geometry.about((16.0, 16.0), 0.5, 5.0 * at, (0.0, 0.0)) for at in range(count)])
    points = random.uniform(10, 60, (count, 5, 2))
    points[1, 3] = np.nan
    points[2, 1] = points[2, 0]  # eyes that fall together, in a profile
    answers = {"points": PointMap(np.eye(5)), "emotion": words(MOOD.vocabulary, {"good": "happy", "bad": ("sad", "anger"), "wow": "surprise"})}  # type: ignore[attr-defined]
    told = retelling(datasets.mtfl, COARSE).dataset
    truths = {"points": tuple(points), "emotion": tuple(np.array(word) if word >= -1 else None for word in (0, 1, 2, 0, -1, -2))}
    return Faces(
        dataset=replace(told, answers=answers), split="test", way=TRUE_BOXES, tasks=(POINT, MOOD), keys=tuple(f"{at}" for at in range(count)),
        people=tuple(range(count)), groups={"pose": tuple("ab"[at % 2] for at in range(count))}, missed={"b": 3},
        crops=random.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8), matrices=matrices, truths=truths,
        labels={"points": POINT.stack([POINT.unknown(SIZE)] * count), "emotion": MOOD.stack([MOOD.unknown(SIZE)] * count)},
    )  # fmt: skip


def test_every_face_has_its_number_after_every_pass() -> None:
    model, here = network(), faces()
    found = scores(model, [here], OVERALL)
    assert set(found) == {"mtfl/NME, true boxes", "mtfl/accuracy, true boxes"}
    nme, right = found["mtfl/NME, true boxes"], found["mtfl/accuracy, true boxes"]
    assert nme.metric == "NME, true boxes" and not nme.higher_is_better and nme.missed == {"b": 3} and len(nme.values) == 3
    kept = [0, 1, 3, 4, 5]  # the face whose eyes fall together has no size
    assert nme.people == tuple(kept) and nme.groups["pose"] == tuple("ab"[at % 2] for at in kept) and nme.sha256 == sha256_of_lines(map(str, kept))
    with torch.inference_mode():
        passes = model.passes(torch.from_numpy(here.crops), "points")
    for number, output in enumerate(passes):
        for face, value in zip(kept, nme.values[number], strict=True):
            truth = here.truths["points"][face]
            assert truth is not None
            predicted = geometry.apply(geometry.invert(here.matrices[face]), output[face, :, :2].numpy().astype(np.float64))
            distances = [np.hypot(*(predicted[point] - truth[point])) for point in range(5) if np.isfinite(truth[point]).all()]
            assert value == pytest.approx(100 * np.mean(distances) / np.hypot(*(truth[0] - truth[1])), rel=1e-3)
    assert nme.score() == pytest.approx(np.mean(nme.values[-1])) and nme.score(0) == pytest.approx(np.mean(nme.values[0]))
    assert right.people == (0, 2, 3), "a word for two answers, tied votes and no label decide nothing"
    assert set(right.values[-1]) <= {0.0, 100.0}


def test_answers_are_chosen_among_what_the_set_can_say() -> None:
    model, here = network(), faces()
    with torch.no_grad():
        model.heads["emotion"].logits.bias[MOOD.vocabulary.index("fear")] = 1e3  # type: ignore[union-attr, attr-defined, operator, index]
        model.heads["emotion"].logits.bias[MOOD.vocabulary.index("happy")] = 1e2  # type: ignore[union-attr, attr-defined, operator, index]
    assert scores(model, [here], OVERALL)["mtfl/accuracy, true boxes"].values[-1] == (100.0, 0.0, 100.0), "the set has no word for fear"


def test_tasks_that_a_network_lacks_are_not_asked() -> None:
    alone = Ifan(NETWORK, (POINT,), {"points": "points"}).eval()
    assert set(scores(alone, [faces()], OVERALL)) == {"mtfl/NME, true boxes"}


def test_another_faces_feedback_changes_later_passes_only() -> None:
    model, here = network(), faces()
    own, other = (scores(model, [here], OVERALL, tell)["mtfl/NME, true boxes"].values for tell in (None, told_by("another", model)))
    assert own[0] == other[0] and own[1] != other[1] and own[2] != other[2]


def test_some_answers_are_kept_pass_by_pass_for_pictures() -> None:
    kept = Kept(most=4)
    found = scores(network(), [faces()], OVERALL, kept=kept)
    arrays = kept.arrays
    assert {name.rpartition("/")[0] for name in arrays} == {"mtfl/points/true boxes", "mtfl/emotion/true boxes"}
    at = arrays["mtfl/points/true boxes/at"]
    assert len(at) == 4 and arrays["mtfl/points/true boxes/answers"].shape == (3, 4, 5, 2) and arrays["mtfl/points/true boxes/crops"].shape == (4, SIZE, SIZE, 3)
    assert arrays["mtfl/emotion/true boxes/answers"].shape == (3, 4, 7) and found


# The constant answer


def test_a_constant_answer_is_the_most_frequent_word_the_mean_shape_and_the_most_frequent_region() -> None:
    """By hand: three faces; a word for two emotions, an unlabelled pixel and an unseen point count for nothing."""
    moods = words(MOOD.vocabulary, {"sad": "sad", "bad": ("sad", "anger"), "happy": "happy"})  # type: ignore[attr-defined]
    mood = MOOD.stack([MOOD.encode(moods, word) for word in ("happy", "sad", "happy")] + [MOOD.encode(moods, "bad")] * 3)
    shapes = np.arange(30, dtype=float).reshape(3, 5, 2) ** 2 / 30
    shapes[1, 4] = np.nan
    point = POINT.stack([POINT.encode(PointMap(np.eye(5)), shape) for shape in shapes])
    masks = np.full((3, SIZE, SIZE), 255, np.uint8)
    masks[:, 0, 0], masks[:, 0, 1] = (4, 4, 1), (255, 255, 2)
    region = REGION.stack([REGION.encode(NINE, mask) for mask in masks])
    found = constants_of(TASKS, {"emotion": mood, "points": point, "regions": region}, "training")
    assert MOOD.vocabulary[int(found["emotion"].output.argmax())] == "happy" and found["emotion"].answer == "happy, the most frequent word of 3 training faces"  # type: ignore[attr-defined]
    assert np.allclose(found["points"].output[:, :2], np.nanmean(shapes, axis=0), rtol=1e-5)
    assert found["regions"].output[:, 0, 0].argmax() == 4 and found["regions"].output[:, 0, 1].argmax() == 2
    assert not constants_of(TASKS[1:2], {"points": POINT.stack([POINT.unknown(SIZE)])}, "training"), "labels that leave everything open teach nothing"


def test_a_constant_answer_is_learned_from_training_faces_and_never_from_test(drawn: Path) -> None:
    (test,) = faces_of(Test(set="mtfl"), COARSE, drawn, "test", CROP)
    (validation,) = faces_of(Test(set="mtfl"), COARSE, drawn, "validation", CROP)
    records = retelling(datasets.mtfl, COARSE).dataset.records(datasets.find_root(drawn, "mtfl"), "train").records
    assert 0 < len(records) <= FROM and not validation.constants
    shapes = []
    for record in records:
        matrix = align.from_points(true_box(record).points, CROP)
        shapes.append(geometry.apply(matrix, np.asarray(record.labels["points"])))
    assert np.allclose(test.constants["points"].output[:, :2], np.mean(shapes, axis=0), atol=1e-3)
    assert test.constants["points"].answer == f"the mean shape of {len(records)} training faces"


def test_a_rows_scores_hold_what_the_constant_answer_scores_on_the_same_faces() -> None:
    """As a network would score whose answers were these; a measure without one has none."""
    here = faces()
    shape = np.concatenate([np.full((5, 2), 12.0), np.zeros((5, 1))], axis=1).astype(np.float32)
    found = scores(network(), [replace(here, constants={"points": Constant("the mean shape", shape)})], OVERALL)
    nme = found["mtfl/NME, true boxes"]
    assert nme.constant is not None and nme.constant.answer == "the mean shape" and found["mtfl/accuracy, true boxes"].constant is None
    for face, value in zip((0, 1, 3, 4, 5), nme.constant.values, strict=True):
        truth = here.truths["points"][face]
        assert truth is not None
        predicted = geometry.apply(geometry.invert(here.matrices[face]), np.array([[12.0, 12.0]]))[0]
        distances = [np.hypot(*(predicted - point)) for point in truth if np.isfinite(point).all()]
        assert value == pytest.approx(100 * np.mean(distances) / np.hypot(*(truth[0] - truth[1])), rel=1e-3)
    same = nme.of_constant()
    assert same is not None and same.score() == pytest.approx(np.mean(nme.constant.values)) and same.sha256 == nme.sha256 and len(same.values) == 1


def test_a_constant_mask_is_scored_as_a_ratio_of_sums(drawn: Path) -> None:
    (here,) = faces_of(Test(set="celebamask"), COARSE, drawn, "test", CROP)
    union = scores(network(), [here], OVERALL)["celebamask/overall F, union"]
    same = union.of_constant()
    assert same is not None and len(same.of) == 1 and same.of != union.of[:1] and union.constant is not None
    assert same.score() == pytest.approx(100 * sum(union.constant.values) / sum(union.constant.of)) and same.score() > 20, "drawn faces are aligned too"


# Faces as they are cut


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    write("mtfl", folder / "mtfl", 30, 1, seed=3)
    write("celebamask", folder / "celebamask", 30, 1, seed=1)
    return folder


def test_a_set_that_no_detector_searched_is_cropped_by_boxes_about_its_points(drawn: Path) -> None:
    (true,) = faces_of(Test(set="mtfl"), COARSE, drawn, "test", CROP)
    assert true.way == TRUE_BOXES and true.crops.shape == (len(true.keys), SIZE, SIZE, 3) and "pose" in true.groups and not true.missed
    assert all(word for word in true.groups["pose"])
    (some,) = faces_of(Test(set="mtfl", most=2), COARSE, drawn, "test", CROP)
    assert 0 < len(some.keys) <= 3 and set(some.keys) < set(true.keys)


def test_masks_are_scored_in_the_pixels_of_the_picture(drawn: Path) -> None:
    (here,) = faces_of(Test(set="celebamask"), COARSE, drawn, "test", CROP)
    found = scores(network(), [here], OVERALL)
    union, pooled = found["celebamask/overall F, union"], found["celebamask/overall F, pooled"]
    assert union.score() >= pooled.score() and len(union.of) == 3 and len(union.of[0]) == len(here.keys)
    assert max(union.of[0]) > SIZE * SIZE / 10, "of 512 x 512 pixels"
    assert found["celebamask/overall F of a face"].values[-1] == pytest.approx(tuple(100 * a / b for a, b in zip(union.values[-1], union.of[-1], strict=True)), abs=1e-3)


def test_a_set_that_labels_no_task_is_not_scored(drawn: Path) -> None:
    with pytest.raises(RequestError, match="utkface labels none"):
        faces_of(Test(set="utkface"), COARSE, drawn, "test", CROP)


# Results


def measure(values: list[float], higher: bool = True, of: list[float] | None = None) -> MeasureResult:
    return MeasureResult(
        task="t", dataset="d", split="validation", metric="m", unit="%", higher_is_better=higher, sha256="s", people=tuple(range(len(values))),
        values=(tuple(values),), of=(tuple(of),) if of else (),
    )  # fmt: skip


def result(name: str, **scored: MeasureResult) -> RowResult:
    return RowResult(
        name=name, title=name, part="ablation", seed=1, settings={}, tasks=("t",), passes=1, start="shared", steps=1, batch=1, samples={},
        compute=Compute(multiplications=1, parameters=1, seconds_per_face=0.1, threads=1, batch=1), seconds=1.0, scoring_seconds=1.0, scores={},
        validation=scored, curves={},
    )  # fmt: skip


def test_a_pooled_measure_is_a_ratio_of_sums_over_any_faces() -> None:
    pooled = measure([1.0, 3.0, 0.0], of=[2.0, 4.0, 10.0])
    assert pooled.score() == pytest.approx(25.0) and pooled.score(faces=[0, 0, 1]) == pytest.approx(62.5) and np.isnan(pooled.score(faces=[]))
    assert measure([1.0, 2.0, 6.0]).score() == 3.0


def test_a_row_is_read_as_it_was_written_and_a_strange_file_is_refused(tmp_path: Path) -> None:
    row = result("a", m=measure([1.0, 2.0], of=[3.0, 4.0]))
    write_row(tmp_path / "rows" / "a", row)
    assert read_row(tmp_path / "rows" / "a") == row and read_rows(tmp_path) == {"a": row} and read_row(tmp_path / "rows" / "b") is None
    (tmp_path / "rows" / "a" / "result.json").write_text("{}")
    with pytest.raises(RequestError, match="remove it to do the row again"):
        read_row(tmp_path / "rows" / "a")


def test_the_best_row_has_the_best_mean_rank_on_validation() -> None:
    rows = [
        result("a", up=measure([10.0]), down=measure([5.0], higher=False)),
        result("b", up=measure([20.0]), down=measure([4.0], higher=False)),
        result("c", up=measure([10.0]), down=measure([9.0], higher=False)),
    ]
    assert mean_ranks(rows).tolist() == [1.25, 0.0, 1.75]
    assert mean_ranks([result("a"), result("b")]).tolist() == [0.0, 0.0]


def test_a_task_of_many_measures_is_no_heavier_in_the_choice_of_the_best() -> None:
    points = [msgspec.structs.replace(measure([value], higher=False), task="points") for value in (4.0, 9.0)]
    rows = [result(name, **{each: measure([value]) for each in ("union", "pooled")}, nme=nme) for name, value, nme in zip("ab", (10.0, 20.0), points, strict=True)]
    assert mean_ranks(rows).tolist() == [0.5, 0.5]


def test_a_line_of_the_card_has_its_interval() -> None:
    random = np.random.default_rng(0)
    mean, pooled = measure(random.uniform(0, 10, 40).tolist()), measure(random.uniform(0, 10, 40).tolist(), of=[10.0] * 40)
    for each in (mean, pooled):
        line = score_entry(each)
        assert line.low is not None and line.high is not None and line.low < line.value < line.high and line.n == 40
    assert score_entry(measure([3.0])).low is None


# What it costs


def test_multiplications_are_those_of_the_table() -> None:
    """papers.md, B3: every kernel as often as the map has pixels; one stream, no feedback."""
    config = IfanConfig(passes=1, feedback=())
    model = Ifan(config, (REGION,), {"regions": "regions"})
    kernels = {
        128: 7_056 + 19_440 + 7_056 + 42_768 + 9 * 156,  # stem, DB1, TD1, UB1, the head
        64: 31_104 + 14_400 + 54_432 + 11_664,  # DB2, TD2, UB2, and what makes TU1 of it
        32: 42_768 + 24_336 + 66_096 + 11_664,
        16: 54_432 + 36_864 + 77_760 + 11_664,
        8: 66_096 + 51_984 + 89_424 + 11_664,
        4: 77_760 + 11_664,
    }
    assert multiplications(model, model.config.size) == sum(count * side**2 for side, count in kernels.items())


def test_the_widened_network_multiplies_about_as_often() -> None:
    three, one = NETWORK, IfanConfig(**{**{name: getattr(NETWORK, name) for name in NETWORK.__struct_fields__}, "passes": 1, "feedback": ()})
    wide = matched_growth(one, TASKS, three)
    wanted, found, before = (multiplications(Ifan(config, TASKS, streams_of(config, TASKS, ())), config.size) for config in (three, wide, one))
    assert before < 0.8 * wanted and abs(found - wanted) < 0.25 * wanted and wide.growth > one.growth and wide.passes == 1


# Where rows start


def of(config: IfanConfig, **said: object) -> IfanConfig:
    return IfanConfig(**{**{name: getattr(config, name) for name in config.__struct_fields__}, **said})  # type: ignore[arg-type]


START = Ifan(of(NETWORK, passes=1, feedback=()), TASKS, {task.name: task.name for task in TASKS})
for _at, _parameter in enumerate(START.parameters()):
    torch.nn.init.normal_(_parameter, mean=0.1 * _at, std=0.1)


def test_a_network_with_feedback_starts_as_the_one_without() -> None:
    model = Ifan(NETWORK, TASKS, {task.name: task.name for task in TASKS})
    load_start(model, START.state_dict())
    crops = torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8)
    with torch.inference_mode():
        before, passes = START.eval()(crops), model.eval().refine(crops)
    assert all(torch.allclose(before[task.name], each[task.name], rtol=1e-4, atol=1e-3) for each in passes for task in TASKS), "integrators start at zero"


def test_a_shared_set_starts_from_the_mean_of_the_tasks_and_one_of_a_data_set_from_its_tasks() -> None:
    shared = Ifan(of(NETWORK, passes=1, feedback=(), normalisation="shared"), TASKS, {task.name: task.name for task in TASKS})
    load_start(shared, START.state_dict())
    place = "trunk.blocks.0.norms.0.sets"
    mean = torch.stack([START.state_dict()[f"{place}.{task.name}.weight"] for task in TASKS]).mean(0)
    assert torch.allclose(shared.state_dict()[f"{place}.shared.weight"], mean)
    streams = {"points@mtfl": "points", "points@helen": "points", "regions@celebamask": "regions", "emotion@rafdb": "emotion"}
    apart = Ifan(of(NETWORK, passes=1, feedback=(), normalisation="per_dataset"), TASKS, streams)
    load_start(apart, START.state_dict())
    for stream in ("points@mtfl", "points@helen"):
        assert torch.equal(apart.state_dict()[f"{place}.{stream}.bias"], START.state_dict()[f"{place}.points.bias"])


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(RequestError, match="are of another network"):
        load_start(Ifan(of(NETWORK, growth=4), TASKS, {task.name: task.name for task in TASKS}), START.state_dict())
