"""The referee table: for each protocol, arrays drawn from a seed, scored from files as a stranger would, against slow and obvious float64 arithmetic,
scikit-learn where it has the score, and the worked values of papers.md D15.
"""

import itertools
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk

from polyface.evaluation import score
from polyface.evaluation.protocols.parsing import ELEVEN

Files = Callable[..., Path]


def values(scored: score.Scored) -> dict[str, float]:
    return {name: entry.value for name, entry in scored.result.scores.items()}


def agrees(found: dict[str, float], expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


# Verification


def drawn_pairs(seed: int = 0, people: int = 60, noise: float = 2.0, decimals: int = 1):
    """Rounded embeddings, so that some pairs are tied; a list of ten folds of (6 + 6) pairs in LFW's form."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(people, 8))
    names = [f"P_{person:03}_{photograph:04}" for person in range(people) for photograph in (1, 2)]
    embeddings = np.round(centres.repeat(2, axis=0) + noise * random.normal(size=(2 * people, 8)), decimals)
    rows, pairs = ["10\t6"], []
    for fold in range(10):
        for person in range(6 * fold, 6 * fold + 6):
            rows.append(f"P_{person:03}\t1\t2")
            pairs.append((2 * person, 2 * person + 1, True, fold))
        for person in range(6 * fold, 6 * fold + 6):
            other = 6 * fold + (person + 1) % 6
            rows.append(f"P_{person:03}\t1\tP_{other:03}\t2")
            pairs.append((2 * person, 2 * other + 1, False, fold))
    return names, embeddings, "\n".join(rows), pairs


def slow_cosine(a: np.ndarray, b: np.ndarray) -> float:
    dot = math.fsum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))
    return round(dot / math.sqrt(math.fsum(x * x for x in a.tolist())) / math.sqrt(math.fsum(x * x for x in b.tolist())), 12)


def slow_tar(genuine: list[float], impostors: list[float], far: float) -> float:
    reached = 0.0
    for threshold in sorted({*genuine, *impostors}):
        if sum(s >= threshold for s in impostors) / len(impostors) <= far:
            reached = max(reached, sum(s >= threshold for s in genuine) / len(genuine))
    return reached


def slow_eer(genuine: list[float], impostors: list[float]) -> float:
    """Along the straight lines between the points of all thresholds, by bisection on each."""
    points = [(0.0, 0.0)]
    for threshold in sorted({*genuine, *impostors}, reverse=True):
        points.append((sum(s >= threshold for s in impostors) / len(impostors), sum(s >= threshold for s in genuine) / len(genuine)))
    for (far0, tar0), (far1, tar1) in itertools.pairwise(points):
        if far1 >= 1 - tar1:
            low, high = 0.0, 1.0
            for _ in range(200):
                t = (low + high) / 2
                low, high = (t, high) if far0 + t * (far1 - far0) < 1 - (tar0 + t * (tar1 - tar0)) else (low, t)
            return far0 + low * (far1 - far0)
    raise AssertionError


def slow_lfw(scores: list[float], same: list[bool], folds: list[int]) -> list[float]:
    """Of all cuts between neighbouring scores that are right most often on the other folds, the middle one."""
    accuracies = []
    for fold in range(10):
        train = [(s, t) for s, t, f in zip(scores, same, folds, strict=True) if f != fold]
        levels = sorted({s for s, _ in train}, reverse=True)
        cuts = [math.inf, *[(a + b) / 2 for a, b in itertools.pairwise(levels)], -math.inf]
        right = [sum((s >= cut) == t for s, t in train) for cut in cuts]
        best = [cut for cut, count in zip(cuts, right, strict=True) if count == max(right)]
        test = [(s >= best[(len(best) - 1) // 2]) == t for s, t, f in zip(scores, same, folds, strict=True) if f == fold]
        accuracies.append(sum(test) / len(test))
    return accuracies


def slow_insightface(distances: list[float], same: list[bool], folds: list[int]) -> list[float]:
    """As recognition/arcface_torch/eval/verification.py: the first threshold of the grid that is best on the other folds."""
    accuracies = []
    for fold in range(10):
        best, chosen = -1, 0.0
        for threshold in np.arange(0, 4, 0.01):
            right = sum((d < threshold) == t for d, t, f in zip(distances, same, folds, strict=True) if f != fold)
            if right > best:
                best, chosen = right, threshold
        test = [(d < chosen) == t for d, t, f in zip(distances, same, folds, strict=True) if f == fold]
        accuracies.append(sum(test) / len(test))
    return accuracies


@pytest.mark.parametrize("seed", [0, 1])
def test_verification_is_what_slow_arithmetic_gives(npz: Files, tmp_path: Path, seed: int) -> None:
    names, embeddings, listed, pairs = drawn_pairs(seed)
    (tmp_path / "pairs.txt").write_text(listed)
    found = score.verification(npz("E", names=names, embeddings=embeddings), tmp_path / "pairs.txt")
    scores = [slow_cosine(embeddings[a], embeddings[b]) for a, b, _, _ in pairs]
    same, folds = [t for _, _, t, _ in pairs], [f for _, _, _, f in pairs]
    genuine, impostors = ([s for s, t in zip(scores, same, strict=True) if t == side] for side in (True, False))
    lfw, grid = slow_lfw(scores, same, folds), slow_insightface([2 - 2 * s for s in scores], same, folds)
    d_prime = (statistics.fmean(genuine) - statistics.fmean(impostors)) / math.sqrt((statistics.pvariance(genuine) + statistics.pvariance(impostors)) / 2)
    expected = {
        "accuracy": statistics.fmean(lfw),
        "standard_error": statistics.stdev(lfw) / math.sqrt(10),
        "accuracy_insightface": statistics.fmean(grid),
        "deviation_insightface": statistics.pstdev(grid),
        "auc": sum((g > i) + (g == i) / 2 for g in genuine for i in impostors) / len(genuine) / len(impostors),
        "eer": slow_eer(genuine, impostors),
        "tar@1e-1": slow_tar(genuine, impostors, 0.1),
        "d_prime": d_prime,
    }
    agrees(values(found), expected)
    assert values(found)["auc"] == pytest.approx(sk.roc_auc_score(same, scores), abs=1e-12)
    threshold = values(found)["threshold@1e-1"]
    assert threshold in scores and values(found)["far@1e-1"] == sum(s >= threshold for s in impostors) / 60 <= 0.1
    assert values(found)["tar@1e-1"] == sum(s >= threshold for s in genuine) / 60
    assert found.result.counts["people"] == 60 and found.result.counts["folds"] == 10
    for name in ("tar@1e-2", "far@1e-3", "threshold@1e-6"):
        assert math.isnan(values(found)[name]) and "needs" in found.result.reasons[name]


def test_the_worked_tar_is_read_at_observed_scores(npz: Files, tmp_path: Path) -> None:
    """papers.md D15: genuine .9 .8 .4, impostors .7 .5 .3 .1: TAR at FAR 0.1 takes none of four impostors, so it is refused; ten times as many say 2/3."""
    cosines = [0.9, 0.8, 0.4] * 10 + [0.7, 0.5, 0.3, 0.1] * 10
    rows = [f"a{at} b{at} {int(at < 30)}" for at in range(70)]
    (tmp_path / "pairs.txt").write_text("\n".join(rows))
    left = [[1.0, 0.0]] * 70
    right = [[c, math.sqrt(1 - c * c)] for c in cosines]
    names = [f"{side}{at}" for side in "ab" for at in range(70)]
    found = values(score.verification(npz("E", names=names, embeddings=left + right), tmp_path / "pairs.txt"))
    assert (found["tar@1e-1"], found["far@1e-1"]) == (pytest.approx(2 / 3), 0.0)
    assert found["threshold@1e-1"] == pytest.approx(0.8)


# Classes, attributes, ages, poses


@pytest.mark.parametrize("seed", [0, 1])
def test_classification_is_what_scikit_learn_gives(npz: Files, seed: int) -> None:
    random, classes = np.random.default_rng(seed), ["neutral", "happy", "sad", "contempt"]
    truth = random.choice(classes[:3], 200, p=[0.6, 0.3, 0.1])
    predicted = np.where(random.random(200) < 0.6, truth, random.choice(classes[:3], 200))
    names = [f"face {at}" for at in range(200)]
    shuffled = random.permutation(200)
    predictions = npz("P", names=np.array(names)[shuffled], values=predicted[shuffled])
    found = score.classification(predictions, npz("T", names=names, values=[classes.index(word) for word in truth], classes=classes))
    agrees(
        values(found),
        {
            "accuracy": sk.accuracy_score(truth, predicted),
            "mean_recall": sk.balanced_accuracy_score(truth, predicted),
            "macro_f1": sk.f1_score(truth, predicted, average="macro"),
            "recall:sad": sk.recall_score(truth, predicted, labels=["sad"], average=None)[0],
            "f1:happy": sk.f1_score(truth, predicted, labels=["happy"], average=None)[0],
            "accuracy_constant": max(np.mean(truth == word) for word in classes),
        },
    )
    assert math.isnan(values(found)["recall:contempt"]) and math.isnan(values(found)["f1:contempt"])
    assert "contempt" in found.result.notes["mean_recall"]
    assert found.result.scores["accuracy"].chance == 0.25


def test_attributes_are_what_counting_gives(npz: Files) -> None:
    random, classes = np.random.default_rng(3), ["Smiling", "Male", "Young", "Bald"]
    labels = (random.random((150, 4)) < [0.5, 0.4, 0.7, 0.05]).astype(int)
    labels[random.random((150, 4)) < 0.1] = -1
    probabilities = np.clip(0.5 + (labels - 0.5) * 0.3 + random.normal(size=(150, 4)) * 0.25, 0, 1)
    names, order = np.arange(150), [2, 0, 3, 1]
    predictions = npz("P", names=names, values=probabilities[:, order], classes=[classes[at] for at in order])
    targets = npz("T", names=names, values=labels, classes=classes)
    plain, balanced = {}, {}
    for at, name in enumerate(classes):
        known = labels[:, at] != -1
        said, true = probabilities[known, at] > 0.5, labels[known, at] == 1
        plain[name], balanced[name] = sk.accuracy_score(true, said), sk.balanced_accuracy_score(true, said)
    found = values(score.attributes(predictions, targets))
    agrees(found, {"mean_accuracy": statistics.fmean(plain.values()), "mean_balanced_accuracy": statistics.fmean(balanced.values())})
    agrees(found, {f"accuracy:{name}": value for name, value in plain.items()} | {f"balanced_accuracy:{name}": value for name, value in balanced.items()})
    chosen = score.attributes(predictions, targets, ["Bald", "Smiling"])
    assert "mean_accuracy" not in values(chosen), "a mean of two attributes has another name than that of all"
    agrees(values(chosen), {"mean_accuracy_subset": (plain["Bald"] + plain["Smiling"]) / 2})
    assert chosen.result.notes["mean_accuracy_subset"] == "2 of 4 attributes"
    assert score.attributes(predictions, targets, ["Bald", "Smiling", "Bald"]).result == chosen.result, "one that is named twice counts once"


def test_ages_are_what_counting_gives(npz: Files) -> None:
    random = np.random.default_rng(4)
    truth, sigmas = random.integers(0, 90, 120), random.uniform(0, 8, 120)
    predicted = truth + random.integers(-9, 10, 120)
    names = np.arange(120)
    found = score.age(npz("P", names=names, values=predicted), npz("T", names=names, values=truth, sigmas=sigmas), within=(3, 5))
    off = [abs(a - b) for a, b in zip(truth.tolist(), predicted.tolist(), strict=True)]
    agrees(
        values(found),
        {
            "mae": sk.mean_absolute_error(truth, predicted),
            "cs@3": sum(each <= 3 for each in off) / 120,
            "cs@5": sum(each <= 5 for each in off) / 120,
            "epsilon_error": statistics.fmean(1 - math.exp(-(each**2) / (2 * max(sigma, 0.1) ** 2)) for each, sigma in zip(off, sigmas.tolist(), strict=True)),
            "mae_constant": min(statistics.fmean(abs(age - guess) for age in truth.tolist()) for guess in range(100)),
        },
    )


def test_the_worked_epsilon_error_is_that_of_one_sigma(npz: Files) -> None:
    found = score.age(npz("P", names=["a", "b"], values=[34, 38]), npz("T", names=["a", "b"], values=[30, 40], sigmas=[4, 2]))
    assert values(found)["epsilon_error"] == pytest.approx(0.39347, abs=5e-6)
    without = score.age(npz("P", names=["a"], values=[34]), npz("T", names=["a"], values=[30]))
    assert "sigmas" in without.result.reasons["epsilon_error"]


def test_poses_are_what_the_shorter_way_round_gives(npz: Files) -> None:
    random = np.random.default_rng(5)
    truth, predicted = random.uniform(-180, 180, (2, 80, 3))
    names = np.arange(80)
    predictions = npz("P", names=names, values=predicted[:, [1, 0, 2]], classes=["pitch", "yaw", "roll"])
    targets = npz("T", names=names, values=truth)
    errors = np.array([[min(abs(t - p + 360 * k) for k in (-2, -1, 0, 1, 2)) for t, p in zip(*rows, strict=True)] for rows in zip(truth, predicted, strict=True)])
    by_axis = {f"mae_{axis}": errors[:, at].mean() for at, axis in enumerate(("yaw", "pitch", "roll"))}
    agrees(values(score.pose(predictions, targets)), {"mae": errors.mean(), **by_axis})
    kept = (np.abs(truth) <= 99).all(axis=1)
    limited = score.pose(predictions, targets, limit=99)
    agrees(values(limited), {"mae": errors[kept].mean(), "mae_roll": errors[kept, 2].mean()})
    assert (limited.result.counts["faces"], limited.result.counts["left_out"]) == (kept.sum(), (~kept).sum())
    small = [npz(name, names=np.arange(len(truth)), values=np.radians(angles)) for name, angles in (("P", predicted), ("T", truth))]
    assert "are they radians?" in score.pose(*small).result.notes["mae"] and "radians" not in limited.result.notes["mae"]


# Points and masks


@pytest.mark.parametrize(("points", "corners", "pupils"), [(68, ([36], [45]), (range(36, 42), range(42, 48))), (98, ([60], [72]), ([96], [97])), (5, None, ([0], [1]))])
def test_landmarks_are_what_slow_arithmetic_gives(npz: Files, points: int, corners, pupils) -> None:
    random = np.random.default_rng(points)
    truth = random.uniform(0, 100, (40, points, 2))
    predicted = truth + random.normal(size=truth.shape) * random.uniform(1, 12, (40, 1, 1))
    truth[random.random((40, points)) < 0.02] = np.nan
    for at in (*(corners or ((), ())), *pupils):
        truth[:, list(at)] = np.where(np.isnan(truth[:, list(at)]), 50.0, truth[:, list(at)])
    boxes = np.concatenate([random.uniform(0, 40, (40, 2)), random.uniform(60, 130, (40, 2))], axis=1)
    found = score.landmarks(npz("P", names=np.arange(40), values=predicted.reshape(40, -1)), npz("T", names=np.arange(40), values=truth, boxes=boxes))

    def centroid(face: np.ndarray, at) -> tuple[float, float]:
        return statistics.fmean(face[i][0] for i in at), statistics.fmean(face[i][1] for i in at)

    sizes = {"box": [math.sqrt((x1 - x0) * (y1 - y0)) for x0, y0, x1, y1 in boxes], "diagonal": [math.dist(box[:2], box[2:]) for box in boxes]}
    sizes["inter_pupil"] = [math.dist(centroid(face, pupils[0]), centroid(face, pupils[1])) for face in truth]
    if corners:
        sizes["inter_ocular"] = [math.dist(face[corners[0][0]], face[corners[1][0]]) for face in truth]
    for name, each in sizes.items():
        errors = []
        for face, answer, size in zip(truth, predicted, each, strict=True):
            distances = [math.dist(a, b) for a, b in zip(face.tolist(), answer.tolist(), strict=True) if not math.isnan(a[0])]
            errors.append(sum(distances) / len(distances) / size)
        expected = {f"nme_{name}": statistics.fmean(errors)}
        for alpha in (0.08, 0.1):
            expected[f"fr_{name}@{alpha}"] = sum(error > alpha for error in errors) / 40
            grid = np.linspace(0, alpha, 20001)
            share = np.searchsorted(np.sort(errors), grid, side="right") / 40
            assert values(found)[f"auc_{name}@{alpha}"] == pytest.approx(np.trapezoid(share, grid) / alpha, abs=2e-3), "the area under the curve of errors"
            expected[f"auc_{name}@{alpha}"] = statistics.fmean(max(0.0, 1 - error / alpha) for error in errors)
        agrees(values(found), expected)
    if not corners:
        assert "outer eye corners" in found.result.reasons["nme_inter_ocular"]


def test_the_worked_auc_of_two_faces(npz: Files) -> None:
    """papers.md D15: NME 0.04 and 0.12 at 8 %: AUC 0.25, failure rate 0.5."""
    truth = np.tile([[[0.0, 0.0], [100.0, 0.0], [50, 50], [20, 80], [80, 80]]], (2, 1, 1))
    predicted = truth + np.array([4.0, 12.0])[:, None, None] * [1, 0]
    found = values(score.landmarks(npz("P", names=["a", "b"], values=predicted), npz("T", names=["a", "b"], values=truth)))
    assert (found["auc_inter_pupil@0.08"], found["fr_inter_pupil@0.08"]) == (pytest.approx(0.25), 0.5)


@pytest.mark.parametrize("benchmark", ["helen", "lapa", "celebamask-hq"])
def test_parsing_is_what_counting_pixels_gives(npz: Files, benchmark: str) -> None:
    classes = list(ELEVEN) if benchmark != "celebamask-hq" else list(score.benchmark_named(benchmark).classes)
    random, count = np.random.default_rng(7), len(classes)
    truth = {f"face {at}": random.integers(0, count - 1, (9, 7)).astype(np.uint8) for at in range(6)}  # the last class is nowhere
    predicted = {name: np.where(random.random((9, 7)) < 0.7, mask, random.integers(0, count - 1, (9, 7))).astype(np.uint8) for name, mask in truth.items()}
    truth["face 0"][:3] = 255
    found = score.parsing(npz("P", **predicted), npz("T", **truth), benchmark)
    pixels = [(t, p) for name in truth for t, p in zip(truth[name].ravel().tolist(), predicted[name].ravel().tolist(), strict=True) if t != 255]
    f1, iou = {}, {}
    for at, name in enumerate(classes[:-1]):
        hits, either = sum(t == p == at for t, p in pixels), sum(at in (t, p) for t, p in pixels)
        f1[name], iou[name] = 2 * hits / (hits + either), hits / either
    parts = {name: value for name, value in f1.items() if name != "background"}
    without = f"{count - 1}_classes"
    expected = {f"f1_{without}": statistics.fmean(parts.values()), f"f1_{count}_classes_with_background": statistics.fmean(f1.values())}
    expected |= {f"miou_{count}_classes_with_background": statistics.fmean(iou.values()), "iou:skin": iou["skin"], "f1:l_eye": f1["l_eye"]}
    if benchmark == "celebamask-hq":
        expected["f1_10_classes"] = statistics.fmean(f1[name] for name in ELEVEN[1:])
        expected["miou_10_classes"] = statistics.fmean(iou[name] for name in ELEVEN[1:])
    if benchmark == "helen":
        merged = [{4, 5}, {2, 3}, {6}, {7, 8, 9}]
        tp = sum(sum(t in part and p in part for t, p in pixels) for part in merged)
        both = sum(sum((t in part) + (p in part) for t, p in pixels) for part in merged)
        single = [at for part in merged for at in part]
        expected["f1_overall_one_region"] = 2 * sum(t in single and p in single for t, p in pixels) / both
        expected["f1_overall_union"] = 2 * tp / both
        expected["f1_overall_pooled"] = 2 * sum(t == p and t in single for t, p in pixels) / sum((t in single) + (p in single) for t, p in pixels)
        expected["f1:l_eye+r_eye"] = 2 * sum(t in (4, 5) and p in (4, 5) for t, p in pixels) / sum((t in (4, 5)) + (p in (4, 5)) for t, p in pixels)
        assert found.result.scores["f1_overall_union"].value >= found.result.scores["f1_overall_pooled"].value
    agrees(values(found), expected)
    assert math.isnan(values(found)[f"f1:{classes[-1]}"]) and classes[-1] in found.result.notes[f"f1_{without}"]


def test_the_worked_helen_overall_in_each_reading(npz: Files) -> None:
    upper, lower, nose = (ELEVEN.index(name) for name in ("u_lip", "l_lip", "nose"))
    found = values(score.parsing(npz("P", a=[[lower, lower, 0, nose]]), npz("T", a=[[upper, lower, 0, nose]]), "helen"))
    assert (found["f1_overall_one_region"], found["f1_overall_union"], found["f1_overall_pooled"]) == (1.0, 1.0, pytest.approx(4 / 6))


def test_helens_overall_of_one_region_is_the_public_evaluators(npz: Files) -> None:
    """insightface, parsing/dml_csr/utils/miou.py: eyes, brows, nose and mouth are one list of classes, so that a brow that is called an eye is right."""
    brow, eye, nose, lip = (ELEVEN.index(name) for name in ("l_brow", "l_eye", "nose", "u_lip"))
    found = values(score.parsing(npz("P", a=[[eye, eye, nose, lip, 0]]), npz("T", a=[[brow, eye, nose, lip, nose]]), "helen"))
    assert found["f1_overall_one_region"] == pytest.approx(2 * 4 / (4 + 5)) and found["f1_overall_union"] == pytest.approx(2 * 3 / (4 + 5))
