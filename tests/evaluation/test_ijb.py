"""IJB-B and IJB-C: against slow and obvious float64 arithmetic, from drawn files in the public layout, and what must be refused."""

import errno
import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from polyface import cli
from polyface.errors import InputError, RequestError
from polyface.evaluation.protocols.ijb import identify_templates, pool, verify_templates
from polyface.evaluation.ranks import rank_mates
from polyface.evaluation.score_templates import ijb
from polyface.metrics.identification import average_precision, hits_by_lot

Files = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("few_draws")
GALLERIES = {"S1": range(12), "S2": range(12, 22)}
"""People 22 to 29 are in no gallery."""


@dataclass
class Drawn:
    """template -> (person, {media: [picture]}); embeddings and detector scores by picture."""

    embeddings: dict[str, np.ndarray] = field(default_factory=dict)
    detector: dict[str, float] = field(default_factory=dict)
    templates: dict[int, tuple[int, dict[int, list[str]]]] = field(default_factory=dict)
    gallery: dict[int, int] = field(default_factory=dict)
    probes: dict[int, int] = field(default_factory=dict)
    pairs: list[tuple[int, int, int]] = field(default_factory=list)


def drawn(seed: int = 0, noise: float = 1.6, decimals: int = 1, dimensions: int = 6) -> Drawn:
    """30 people, a gallery template of each of the first 22, four probes of everybody; rounded embeddings of few dimensions, so that some scores are tied."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(30, dimensions))
    made = Drawn()
    for number, person in enumerate([*range(22), *[person for person in range(30) for _ in range(4)]]):
        template, media = 100 + 7 * number, {}
        for at in range(random.integers(1, 4)):
            media[50 * number + at] = []
            for _ in range(random.integers(1, 4)):
                picture = f"{len(made.embeddings) + 1}.jpg"
                made.embeddings[picture] = np.round(centres[person] + noise * random.normal(size=dimensions), decimals) + 0.05
                made.detector[picture] = float(np.round(random.uniform(0.5, 1), 2))
                media[50 * number + at].append(picture)
        made.templates[template] = (person, media)
        (made.gallery if number < 22 else made.probes)[template] = person
    numbers = list(made.templates)
    for _ in range(400):
        a, b = random.choice(numbers, 2, replace=False).tolist()
        made.pairs.append((a, b, int(made.templates[a][0] == made.templates[b][0])))
    return made


def write(made: Drawn, folder: Path, letter: str = "b") -> Path:
    meta = folder / "meta"
    meta.mkdir(parents=True)
    rows = [f"{picture} {template} {media}" for template, (_, by_media) in made.templates.items() for media, pictures in by_media.items() for picture in pictures]
    (meta / f"ijb{letter}_face_tid_mid.txt").write_text("\n".join(rows) + "\n")
    (meta / f"ijb{letter}_template_pair_label.txt").write_text("".join(f"{a} {b} {same}\n" for a, b, same in made.pairs))
    detector = [f"{picture} 1 2 3 4 5 6 7 8 9 10 {score}" for picture, score in made.detector.items()]
    (meta / f"ijb{letter}_name_5pts_score.txt").write_text("\n".join(detector))
    heading = "TEMPLATE_ID,SUBJECT_ID,FILENAME\n"
    for name, people in GALLERIES.items():
        listed = [f"{template},{person},img/{at}.jpg\n" for template, person in made.gallery.items() if person in people for at in (1, 2)]
        (meta / f"ijb{letter}_1N_gallery_{name}.csv").write_text(heading + "".join(listed))
    (meta / f"ijb{letter}_1N_probe_mixed.csv").write_text(heading + "".join(f"{template},{person},x.jpg\n" for template, person in made.probes.items()))
    return folder


def embeddings_of(npz: Files, made: Drawn, **arrays: object) -> Path:
    return npz("E", names=list(made.embeddings), embeddings=list(made.embeddings.values()), **arrays)


# Slow and obvious


def slow_template(made: Drawn, template: int, unit: bool, detector: bool) -> list[float]:
    total = [0.0] * 6
    for pictures in made.templates[template][1].values():
        for picture in pictures:
            vector = made.embeddings[picture].tolist()
            scale = (made.detector[picture] if detector else 1.0) / (math.sqrt(math.fsum(x * x for x in vector)) if unit else 1.0)
            total = [t + x * scale / len(pictures) for t, x in zip(total, vector, strict=True)]
    length = math.sqrt(math.fsum(x * x for x in total))
    return [x / length for x in total]


def slow_cosine(a: list[float], b: list[float]) -> float:
    return round(math.fsum(x * y for x, y in zip(a, b, strict=True)), 12)


def slow_rate(accepted: list[float], rejected: list[float], limit: float) -> tuple[float, float, float]:
    """The highest share of the first that a threshold accepts that accepts at most `limit` of the second; the strictest such; its share of the second."""
    best = (0.0, math.inf, 0.0)
    for threshold in sorted({*accepted, *rejected}, reverse=True):
        wrong = sum(score >= threshold for score in rejected) / len(rejected)
        right = sum(score >= threshold for score in accepted) / len(accepted)
        if wrong <= limit and right > best[0]:
            best = right, threshold, wrong
    return best


def slow_identification(made: Drawn, vectors: dict[int, list[float]], name: str) -> dict[str, float]:
    gallery = {template: person for template, person in made.gallery.items() if person in GALLERIES[name]}
    vectors = {template: np.float32(vector).tolist() for template, vector in vectors.items()}  # float32 is what is ranked
    ranks, lots, mates, strangers = [], [], [], []
    for template, person in made.probes.items():
        scores = {other: slow_cosine(vectors[template], vectors[other]) for other in gallery}
        own = [score for other, score in scores.items() if gallery[other] == person]
        if not own:
            strangers.append(max(scores.values()))
            continue
        others = [score for other, score in scores.items() if gallery[other] != person]
        ranks.append(1 + sum(score >= own[0] for score in others))
        lots.append([1 + sum(score > own[0] for score in others) + before for before in range(sum(score == own[0] for score in others) + 1)])
        mates.append(own[0])
    found = {f"rank{k}": sum(rank <= k for rank in ranks) / len(ranks) for k in (1, 5, 10)}
    found |= {f"rank{k}_ties_by_lot": statistics.fmean(statistics.fmean(rank <= k for rank in lot) for lot in lots) for k in (1, 5, 10)}
    for fpir in (0.1, 0.01):
        if fpir * len(strangers) >= 1:
            found[f"tpir@{fpir}"], _, found[f"fpir@{fpir}"] = slow_rate(mates, strangers, fpir)
            found[f"dir@{fpir}"] = slow_rate([score if rank == 1 else -math.inf for score, rank in zip(mates, ranks, strict=True)], strangers, fpir)[0]
    return found


@pytest.mark.parametrize(("seed", "unit", "detector", "letter"), [(0, False, False, "b"), (1, True, False, "c"), (2, False, True, "b"), (3, True, True, "c")])
def test_ijb_is_what_slow_arithmetic_gives(npz: Files, tmp_path: Path, seed: int, unit: bool, detector: bool, letter: str) -> None:
    made = drawn(seed)
    scored = ijb(embeddings_of(npz, made), write(made, tmp_path / "IJB", letter), unit, detector)
    found = {name: score.value for name, score in scored.result.scores.items()}
    vectors = {template: slow_template(made, template, unit, detector) for template in made.templates}
    genuine, impostors = ([slow_cosine(vectors[a], vectors[b]) for a, b, same in made.pairs if same == side] for side in (1, 0))
    assert found["auc"] == pytest.approx(statistics.fmean((g > i) + (g == i) / 2 for g in genuine for i in impostors), rel=1e-12)
    for target, far in (("1e-1", 0.1), ("1e-2", 0.01)):
        tar, threshold, achieved = slow_rate(genuine, impostors, far)
        assert (found[f"tar@{target}"], found[f"far@{target}"]) == (pytest.approx(tar), pytest.approx(achieved))
        assert found[f"threshold@{target}"] == pytest.approx(threshold, abs=1e-11)
    assert math.isnan(found["tar@1e-3"]) and "needs 1000 impostor pairs" in scored.result.reasons["tar@1e-3"]
    each = {name: slow_identification(made, vectors, name) for name in GALLERIES}
    for name, expected in each.items():
        for score, value in expected.items():
            assert found[f"{score}:{name}"] == pytest.approx(value, rel=1e-12), (score, name)
    for score in ("rank1", "rank5", "rank10", "rank1_ties_by_lot", "tpir@0.1", "dir@0.1"):
        assert found[score] == pytest.approx(statistics.fmean(each[name][score] for name in GALLERIES), rel=1e-12)
    assert found["rank1"] < found["rank5"] < found["rank10"] and found["dir@0.1"] <= found["tpir@0.1"]
    assert math.isnan(found["tpir@0.01"]) and "FPIR 0.01 needs 100 probes without a mate, there are 72" in scored.result.reasons["tpir@0.01:S1"]
    counts = scored.result.counts
    assert (counts["templates"], counts["pictures"], counts["people"], counts["mated:S1"], counts["gallery:S2"]) == (142, len(made.embeddings), 30, 48, 10)
    assert (counts["pictures_brought_to_unit_length"] > 0, counts["pictures_times_detector_score"] > 0) == (unit, detector)
    assert ("detector scores" in scored.inputs) == detector
    assert not {"accuracy", "accuracy_insightface"} & set(found)


def test_no_score_depends_on_the_order_of_any_file(npz: Files, tmp_path: Path) -> None:
    made, random = drawn(5), np.random.default_rng(0)
    before = ijb(embeddings_of(npz, made), write(made, tmp_path / "before")).result
    order = random.permutation(len(made.embeddings)).tolist()
    names = list(made.embeddings)
    shuffled = write(made, tmp_path / "after")
    for file in (shuffled / "meta").iterdir():
        head, *rows = file.read_text().splitlines() if file.suffix == ".csv" else ["", *file.read_text().splitlines()]
        file.write_text("\n".join([*([head] if head else []), *[rows[at] for at in random.permutation(len(rows))]]))
    embeddings = npz("F", names=[f"loose_crop/{names[at]}" for at in order], embeddings=[3 * made.embeddings[names[at]] for at in order])
    after = ijb(embeddings, shuffled).result
    assert after.counts == before.counts
    for name, score in before.scores.items():
        assert after.scores[name].value == pytest.approx(score.value, nan_ok=True, abs=1e-12), name


def test_rows_of_a_npy_are_those_of_the_list(npz: Files, tmp_path: Path) -> None:
    made = drawn(1)
    meta = write(made, tmp_path / "IJB")
    np.save(tmp_path / "E.npy", np.stack(list(made.embeddings.values())))
    plain, named = (ijb(path, meta).result.scores for path in (tmp_path / "E.npy", embeddings_of(npz, made)))
    assert {name: score.value for name, score in plain.items()} == pytest.approx({name: score.value for name, score in named.items()}, nan_ok=True)
    other_way = list(made.embeddings.items())[::-1]
    rows = np.empty(len(other_way), [("names", "U64"), ("embeddings", np.float64, len(other_way[0][1]))])
    rows["names"], rows["embeddings"] = [name for name, _ in other_way], [vector for _, vector in other_way]
    np.save(tmp_path / "E.npy", rows)
    again = ijb(tmp_path / "E.npy", meta).result.scores
    assert {name: score.value for name, score in again.items()} == pytest.approx({name: score.value for name, score in named.items()}, nan_ok=True)
    np.save(tmp_path / "E.npy", np.ones((3, 6)))
    with pytest.raises(RequestError, match=r"E\.npy: 3 rows, .*face_tid_mid\.txt has"):
        ijb(tmp_path / "E.npy", meta)


# Negative controls


def values(result) -> dict[str, float]:
    return {name: score.value for name, score in result.scores.items()}


def test_a_collapsed_model_finds_nobody_and_accepts_nobody(npz: Files, tmp_path: Path) -> None:
    made = drawn(0)
    made.embeddings = {picture: np.array([0.1, 0.7, -0.3, 0.2, 0.4, 0.9]) * (1 + at % 7) for at, picture in enumerate(made.embeddings)}
    found = values(ijb(embeddings_of(npz, made), write(made, tmp_path / "IJB")).result)
    expected = {"auc": 0.5, "eer": 0.5, "tar@1e-1": 0, "rank1": 0, "rank5": 0, "rank10:S1": 0, "tpir@0.1": 0, "dir@0.1": 0, "rank1:S1": 0, "fpir@0.1:S1": 0}
    assert {name: found[name] for name in expected} == expected
    assert found["rank10:S2"] == 1, "the last of ten is among the first ten"
    assert found["rank5_ties_by_lot:S2"] == pytest.approx(0.5) and found["rank10_ties_by_lot:S2"] == pytest.approx(1)


def test_a_perfect_model_finds_everybody_and_claims_no_certainty(npz: Files, tmp_path: Path) -> None:
    made = drawn(0)
    for person, media in made.templates.values():
        made.embeddings |= {picture: np.eye(30)[person] for pictures in media.values() for picture in pictures}
    result = ijb(embeddings_of(npz, made), write(made, tmp_path / "IJB")).result
    found = values(result)
    for name in ("auc", "tar@1e-2", "rank1", "rank1:S2", "rank1_ties_by_lot", "tpir@0.1", "dir@0.1:S1"):
        assert found[name] == 1, name
    assert found["eer"] == found["fpir@0.1:S1"] == 0
    assert result.scores["rank1:S1"].low < 1 and result.scores["dir@0.1"].low < 1


def test_a_mate_that_does_not_come_first_is_not_identified_at_a_threshold_below_zero_either() -> None:
    """All cosines are negative, as of a model whose embeddings are badly centred: accepted is what scores above strangers, wherever that is."""

    def at(*degrees: float) -> np.ndarray:
        return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)

    probes, subjects = at(120, 120, *[180] * 10), np.array([0, 1, *range(2, 12)])  # subject 1, at 10 degrees, is nearer to both
    found = values(identify_templates({"G1": (at(0, 10), np.array([0, 1]))}, probes, subjects, draws=5))
    assert (found["tpir@0.1"], found["dir@0.1"], found["rank1"]) == (1.0, 0.5, 0.5)


def test_subjects_that_are_shuffled_are_found_as_often_as_by_chance() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(2000, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    subjects = random.integers(0, 40, 1960)
    result = identify_templates({"S1": (vectors[:20], np.arange(20)), "S2": (vectors[20:40], np.arange(20, 40))}, vectors[40:], subjects, draws=20)
    for k in (1, 5, 10):
        assert result.scores[f"rank{k}"].value == pytest.approx(k / 20, abs=0.05) and result.scores[f"rank{k}"].chance == k / 20
    assert result.scores["tpir@0.01"].value < 0.02


def test_a_gallery_of_nobody_who_is_asked_for_says_so() -> None:
    vectors = np.eye(6)
    result = identify_templates({"G1": (vectors[:3], np.array(["a", "b", "c"]))}, vectors[3:], np.array(["x", "y", "z"]), draws=5)
    assert all(math.isnan(score.value) for name, score in result.scores.items() if name.startswith(("rank", "tpir", "dir")))
    assert result.reasons["rank1:G1"] == "no probe has a mate in G1" and result.reasons["tpir@0.1:G1"] == "no probe has a mate in this gallery"


def test_a_person_who_is_drawn_more_often_changes_no_interval_for_the_better() -> None:
    """Copies of probes are the same person's: the interval stays as wide as it was."""
    random = np.random.default_rng(3)
    gallery = random.normal(size=(30, 5))
    probes = gallery.repeat(2, axis=0) + random.normal(size=(60, 5))
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (gallery, probes)]
    once = identify_templates({"G": (unit[0], np.arange(30))}, unit[1], np.arange(30).repeat(2)).scores["rank1"]
    often = identify_templates({"G": (unit[0], np.arange(30))}, unit[1].repeat(5, axis=0), np.arange(30).repeat(10)).scores["rank1"]
    assert (once.value, once.low, once.high) == pytest.approx((often.value, often.low, often.high))


def test_few_pairs_are_drawn_often_and_many_seldom() -> None:
    result = verify_templates(np.eye(4), np.array([0, 1]), np.array([1, 2]), np.array([True, False]), None)
    assert result.counts["draws"] == 1000 and "too narrow" in result.notes["auc"]


# The parts


def test_a_media_is_a_mean_and_a_template_a_sum() -> None:
    embeddings = np.array([[4.0, 0.0], [0.0, 2.0], [0.0, 6.0], [1.0, 1.0]])
    picture, template, media = np.array(["a", "b", "c", "d"]), np.array([9, 9, 9, 3]), np.array([1, 2, 2, 1])
    numbers, vectors = pool(embeddings, np.arange(4), picture, template, media)
    assert numbers.tolist() == [3, 9] and vectors[1] == pytest.approx([math.sqrt(0.5), math.sqrt(0.5)])  # (4, 0) + (0, (2 + 6) / 2)
    _, vectors = pool(embeddings, np.arange(4), picture, template, media, np.array([1.0, 0.0, 0.5, 1.0]))
    assert vectors[1] == pytest.approx(np.array([4.0, 1.5]) / math.hypot(4, 1.5))
    _, vectors = pool(embeddings, np.arange(4), picture, template, media, unit=True)
    assert vectors[1] == pytest.approx([math.sqrt(0.5), math.sqrt(0.5)])
    with pytest.raises(InputError, match="template 9: its pictures add up to a vector of length 0"):
        pool(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.arange(2), picture[:2], np.array([9, 9]), np.array([1, 2]))


@pytest.mark.parametrize("seed", range(4))
def test_ranks_by_lot_are_the_average_over_shuffles(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(20):
        above, equal, mates, k = random.integers(0, 4), random.integers(0, 5), random.integers(1, 4), int(random.integers(1, 8))
        hit = []
        for _ in range(4000):
            order = random.permutation(mates + equal)
            hit.append(above + np.flatnonzero(order < mates)[0] < k)
        assert hits_by_lot(np.array([above]), np.array([equal]), np.array([mates]), k)[0] == pytest.approx(np.mean(hit), abs=0.05)


def test_average_precision_is_what_counting_down_the_list_gives() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        scores, mate = random.integers(0, 8, 30), random.random(30) < 0.2
        if not mate.any():
            continue
        order = np.lexsort((mate, -scores))  # among equals, mates come last
        listed = mate[order]
        slow = np.mean([listed[: at + 1].mean() for at in np.flatnonzero(listed)])
        others = np.array([(scores[~mate] >= score).sum() for score in scores[mate]])
        assert average_precision(scores[mate], others) == pytest.approx(slow)


def test_ranks_leave_other_mates_out_and_take_the_best() -> None:
    gallery = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0], [0.8, 0.6]])
    ranks = rank_mates(np.array([[1.0, 0.0], [0.0, 1.0]]), gallery, np.array(["a", "q"]), np.array(["b", "a", "a", "c", "d"]))
    assert ranks.probe.tolist() == [0, 0] and ranks.above.tolist() == [1, 2] and ranks.equal.tolist() == [1, 0]
    tied, best = ranks.best()
    assert (best.score.tolist(), best.above.tolist(), tied.tolist()) == ([np.float32(0.8)], [1], [1])
    assert ranks.other.tolist() == [1.0, 1.0]


# What is refused


def test_the_report_names_every_file(npz: Files, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    made = drawn(0)
    out = tmp_path / "ijb.json"
    meta = write(made, tmp_path / "IJB")
    assert cli.run(["score", "ijb", "--embeddings", str(embeddings_of(npz, made)), "--meta", str(meta / "meta"), "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["protocol"] == "ijb" and list(report["inputs"]) == ["embeddings", "templates", "pairs", "gallery S1", "gallery S2", "probes"]
    assert report["scores"]["tpir@0.01"]["value"] is None and "FPIR 0.01 needs" in report["scores"]["tpir@0.01"]["reason"]
    assert report["chance"]["rank1:S1"] == pytest.approx(1 / 12)
    assert "rank5:S2" in capsys.readouterr().out


def changed(meta: Path, file: str, old: str, new: str) -> None:
    path = next((meta / "meta").glob(f"*{file}*"))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("tid_mid", "2.jpg 100 0", "2.jpg 100", "row 2: not `picture template media`"),
        ("tid_mid", "2.jpg 100 0", "2.jpg 100 zero", "row 2: 'zero' is no whole number"),
        ("tid_mid", "2.jpg 100 0", f"2.jpg {10**20} 0", f"row 2: '{10**20}' is a whole number beyond 64 bits"),
        ("tid_mid", "2.jpg 100 0", "1.jpg 100 9", "row 2: '1.jpg' is in template 100 already, by row 1"),
        ("tid_mid", "2.jpg 100 0", "2.jpeg 100 0", "picture 2: E.npz has no '2.jpeg'"),
        ("pair_label", "\n", " 5\n", "row 1: not `template template label`"),
        ("pair_label", "\n", ".5\n", "row 1: not `template template label`"),
        ("pair_label", " 0\n", " 2\n", "is neither 1 nor 0"),
        ("pair_label", " 0\n", " 1\n", "labelled as one person, its templates are of subjects"),
        ("gallery_S1", "100,0", "101,0", "row 2: no picture of template 101 in"),
        ("gallery_S1", "100,0", "100", "row 3: template 100 is of subject 0, before it was of img/1.jpg"),
        ("gallery_S1", "100,0", "x,0", "row 2: 'x' is no whole number"),
        ("gallery_S1", "100,0,img/1.jpg", "100", "row 2: does not begin `template,subject`"),
        ("gallery_S1", "TEMPLATE_ID,SUBJECT_ID,FILENAME\n", "", "row 1: template 100 where a heading is expected"),
        ("probe_mixed", "254,0", "254;0", "row 2: '254;0' is no whole number"),
        ("probe_mixed", "254,0", "107,1", "row 2: template 107 is in IJB/meta/ijbb_1N_gallery_S1.csv too, row 4: a probe would find itself"),
    ],
)
def test_a_list_that_is_wrong_is_refused_by_file_and_row(npz: Files, tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    made = drawn(0)
    meta = write(made, tmp_path / "IJB")
    changed(meta, file, old, new)
    with pytest.raises(RequestError) as caught:
        ijb(embeddings_of(npz, made), meta)
    assert said in str(caught.value).replace(str(tmp_path) + "/", ""), str(caught.value)


def test_pairs_that_contradict_each_other_are_refused_and_repeated_ones_counted(npz: Files, tmp_path: Path) -> None:
    made = drawn(0)
    a, b, same = made.pairs[0]
    made.pairs = list({(min(pair[:2]), max(pair[:2])): pair for pair in made.pairs}.values())
    embeddings, meta = embeddings_of(npz, made), write(made, tmp_path / "IJB")
    assert "repeated_pairs" not in ijb(embeddings, meta).result.counts
    table = meta / "meta" / "ijbb_template_pair_label.txt"
    once = table.read_text()
    table.write_text(once + f"{a} {b} {same}\n{b} {a} {same}\n")
    assert ijb(embeddings, meta).result.counts["repeated_pairs"] == 2
    table.write_text(once + f"{b} {a} {1 - same}\n")
    with pytest.raises(RequestError, match=rf"label\.txt, pair {len(made.pairs) + 1}: templates {b} and {a} are paired with the other label at .*label\.txt, pair \d+$"):
        ijb(embeddings, meta)


def test_a_gallery_that_is_there_twice_is_refused(npz: Files, tmp_path: Path) -> None:
    made = drawn(0)
    meta = write(made, tmp_path / "IJB")
    (meta / "ijbb_1N_gallery_S1.csv").write_text((meta / "meta" / "ijbb_1N_gallery_S2.csv").read_text())
    with pytest.raises(RequestError, match=r"IJB: both ijbb_1N_gallery_S1\.csv and meta/ijbb_1N_gallery_S1\.csv; name the folder of one benchmark"):
        ijb(embeddings_of(npz, made), meta)


@pytest.mark.parametrize("file", ["tid_mid", "pair_label", "gallery_S1"])
def test_a_list_that_cannot_be_read_is_refused_by_file(npz: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    made = drawn(0)
    embeddings, meta, read = embeddings_of(npz, made), write(made, tmp_path / "IJB"), Path.read_bytes

    def broken(path: Path) -> bytes:
        if file in path.name:
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(RequestError, match=rf"{file}\w*\.(txt|csv): cannot be read \(Input/output error\)"):
        ijb(embeddings, meta)


def test_files_that_are_missing_cut_or_of_two_benchmarks_are_refused(npz: Files, tmp_path: Path) -> None:
    made = drawn(0)
    embeddings = embeddings_of(npz, made)

    def refused(meta: Path, **options: bool) -> str:
        with pytest.raises(RequestError) as caught:
            ijb(embeddings, meta, **options)
        return str(caught.value)

    assert "no such folder" in refused(tmp_path / "nowhere")
    meta = write(made, tmp_path / "one") / "meta"
    detector = meta / "ijbb_name_5pts_score.txt"
    detector.write_text(detector.read_text()[:-2].rpartition(" ")[0])
    assert "11 fields, `picture x1 y1 ... x5 y5 score` are 12" in refused(meta, detector_scores=True)
    detector.write_text("\n".join(detector.read_text().splitlines()[:-1]))
    assert "no score for" in refused(meta, detector_scores=True)
    detector.unlink()
    assert "no ..._name_5pts_score.txt" in refused(meta, detector_scores=True)
    (meta / "ijbc_face_tid_mid.txt").write_text("1.jpg 1 1\n")
    assert "name the folder of one benchmark" in refused(meta)
    (meta / "ijbc_face_tid_mid.txt").unlink()
    (meta / "ijbb_template_pair_label.txt").unlink()
    assert "rank1" in ijb(embeddings, meta).result.scores and "auc" not in ijb(embeddings, meta).result.scores
    (meta / "ijbb_1N_probe_mixed.csv").unlink()
    assert "galleries, and no ..._1N_probe_mixed.csv" in refused(meta)
    for name in GALLERIES:
        (meta / f"ijbb_1N_gallery_{name}.csv").unlink()
    assert "neither ..._template_pair_label.txt for 1:1" in refused(meta)
    (meta / "ijbb_face_tid_mid.txt").write_text("")
    assert "is empty" in refused(meta)
    (meta / "ijbb_face_tid_mid.txt").unlink()
    assert "no ..._face_tid_mid.txt" in refused(meta)


def test_embeddings_that_are_broken_are_refused_by_row(npz: Files, tmp_path: Path) -> None:
    made = drawn(0)
    meta = write(made, tmp_path / "IJB")
    names, vectors = list(made.embeddings), np.stack(list(made.embeddings.values()))
    for row, value, said in ((3, np.nan, "row 3 (4.jpg): nan is not finite"), (5, 0.0, "row 5 (6.jpg): has length 0")):
        broken = vectors.copy()
        broken[row] = value
        with pytest.raises(RequestError, match=r"E\.npz, embeddings") as caught:
            ijb(npz("E", names=names, embeddings=broken), meta)
        assert said in str(caught.value)
    with pytest.raises(RequestError, match="is the picture of row 0"):
        ijb(npz("E", names=["x/1.jpg", *names], embeddings=np.vstack([vectors[:1], vectors])), meta)
    with pytest.raises(RequestError, match=r"has no '1\.jpg'"):
        ijb(npz("E", names=names[1:], embeddings=vectors[1:]), meta)
