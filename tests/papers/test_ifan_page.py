"""The page of paper B, on rows that nobody trained: numbers drawn for a recipe, with gains that are planted, so that it is known what should be found."""

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from polyface.datasets.mtfl import YAWS
from polyface.datasets.retold import coarse_tasks
from polyface.errors import RequestError
from polyface.files import sha256_of_lines
from polyface.models.ifan import Ifan, IfanConfig
from polyface.papers import ifan_claims, ifan_figures, ifan_mtfl, ifan_tables
from polyface.papers.ifan_compute import multiplications, training_multiplications
from polyface.papers.ifan_config import Drawn, IfanRecipe, Plug, Pool, Stage, Test
from polyface.papers.ifan_faces import TRUE_BOXES
from polyface.papers.ifan_page import PAGE, write_page
from polyface.papers.ifan_rows import FEEDBACK, JOINT, Row, rows_of
from polyface.papers.ifan_runs import PICTURES, Compute, ConstantResult, Curve, MeasureResult, RowResult
from polyface.papers.ifan_statistics import Board, base
from polyface.tasks.derive import Derived
from polyface.tasks.kinds import Task
from polyface.training.config import CropConfig

FACES, DRAWS = 150, 5000
RECIPE = IfanRecipe(
    name="made-up",
    network=IfanConfig(size=64, stem=24, growth=6, feedback=(16, 8, 4), radius=2.5),
    crop=CropConfig(size=64, eye_distance=15.0, eyes=(32.0, 30.0)),
    data=(Pool(set="celebamask"), Pool(set="mtfl"), Pool(set="rafdb")),
    tests=(Test(set="celebamask"), Test(set="mtfl"), Test(set="rafdb"), Test(set="facesynthetics")),
    pretrain=dict.fromkeys(("regions", "points", "emotion"), Stage(steps=10, batch=8)),
    joint=Stage(steps=20, batch=24),
    two_labels=(Pool(set="facesynthetics"),),
    hundred=(Pool(set="celebamask", most=50), Pool(set="mtfl", most=50)),
    drawn=Drawn(people=40),
    plug=Plug(name="attributes", task=Derived(of="attributes"), data=(Pool(set="celeba"),), tests=(Test(set="celeba"),), stage=Stage(steps=5, batch=8)),
)
GAINS = {
    "joint-shared": -6.0,
    "feedback-2": 1.5,
    FEEDBACK: 3.0,
    "feedback-4": 3.0,
    "feedback-3-through": 3.0,
    "drawn-feedback-3": 1.0,
    "drawn-truth": 5.0,
    "two-labels": -9.0,
}
"""Points above joint training with one pass, of every task."""
SETS = {"regions": ("celebamask", "facesynthetics"), "points": ("mtfl", "facesynthetics"), "emotion": ("rafdb",), "attributes": ("celeba",)}
LEVELS = {"regions": 70.0, "points": 9.0, "emotion": 60.0, "attributes": 80.0}
CONSTANT = {"regions": 50.0, "points": 20.0, "emotion": 40.0, "attributes": 65.0}
"""What the constant answer scores."""


@cache
def faces(name: str) -> tuple[np.ndarray, tuple[int, ...], tuple[str, ...]]:
    """How hard each face of a set is, whose it is, and a word for its yaw."""
    random = np.random.default_rng(sum(map(ord, name)))
    return random.normal(0, 2, FACES), tuple((np.arange(FACES) // 2).tolist()), tuple(random.choice(list(YAWS), FACES).tolist())


def measures(row: Row, gain: float, random: np.random.Generator) -> dict[str, MeasureResult]:
    found = {}
    passes = int(row.network.get("passes", 1))  # type: ignore[call-overload]
    for task in (*(row.tasks or tuple(RECIPE.tasks)), *(("attributes",) if row.plug in ("frozen", "joint") else ())):
        for dataset in ("drawn",) if row.world.startswith("drawn") else SETS[task]:
            ways = ("", TRUE_BOXES) if dataset == "mtfl" else ("",)
            found |= {key: each for way in ways for key, each in measure(task, dataset, way, passes, gain, random).items()}
    return found


def measure(task: str, dataset: str, way: str, passes: int, gain: float, random: np.random.Generator) -> dict[str, MeasureResult]:
    hard, people, yaws = faces(dataset)
    higher = task != "points"
    off = random.normal(0, 0.1)
    values = [
        LEVELS[task] + hard * (1 if higher else 0.7) + (1 if higher else -0.5) * (gain * (at + 1) / passes + off) + random.normal(0, 1, FACES) for at in range(passes)
    ]
    metrics = {"regions": ("overall F, union", "overall F, pooled", "overall F of a face"), "points": ("NME" + way,), "attributes": ("accuracy of attributes",)}
    made = {}
    for metric in metrics.get(task, ("accuracy",)):
        pooled = metric in ("overall F, union", "overall F, pooled")
        made[f"{dataset}/{metric}"] = MeasureResult(
            task=task,
            dataset=dataset,
            split="test",
            metric=metric,
            unit="%",
            higher_is_better=higher,
            sha256=sha256_of_lines([dataset]),
            people=people,
            values=tuple(tuple((each * 10 if pooled else each.clip(0.1)).tolist()) for each in values),
            of=((1000.0,) * FACES,) * passes if pooled else (),
            groups={"pose": yaws} if dataset == "mtfl" else {},
            missed={"left profile": 7} if dataset == "mtfl" and not way else {},
            constant=ConstantResult(
                answer="the same for all",
                values=tuple(((CONSTANT[task] + hard) * (10 if pooled else 1)).tolist()),
                of=(1000.0,) * FACES if pooled else (),
            ),
        )
    return made


@cache
def made_up() -> Mapping[str, RowResult]:
    """Every row of the recipe."""
    rows = {}
    for number, row in enumerate(rows_of(RECIPE)):
        random = np.random.default_rng(number)
        scores = measures(row, GAINS.get(base(row), 0.0), random)
        loss = tuple(float(each) for each in np.exp(-np.arange(5) / 3) + random.random(5) / 20)
        rows[row.name] = RowResult(
            name=row.name,
            title=row.title,
            part=row.part,
            seed=row.seed,
            against=row.against,
            question=row.question,
            settings={"normalisation": "for each task", "passes": "3"},
            tasks=(*(row.tasks or RECIPE.tasks), *(("attributes",) if row.plug in ("frozen", "joint") else ())),
            passes=int(row.network.get("passes", 1)),  # type: ignore[call-overload]
            start=row.start,
            steps=20,
            batch=24,
            samples={"celebamask": 1200, "mtfl": 800},
            compute=Compute(multiplications=123_456_789, parameters=400_000, seconds_per_face=0.0042, threads=2, batch=16, peak_memory=812.0),
            seconds=93.0,
            scoring_seconds=4.0,
            scores=scores,
            validation=scores,
            curves={f"validation/{task}": Curve(steps=(4, 8, 12, 16, 20), values=loss) for task in row.tasks or RECIPE.tasks},
        )
    return rows


def some(*parts: str) -> dict[str, RowResult]:
    return {name: row for name, row in made_up().items() if row.part in parts}


def write_pictures(out: Path) -> None:
    """What is kept of a row for pictures: some faces that get better and some that get worse, of each kind of answer."""
    random = np.random.default_rng(0)
    crops = random.integers(90, 160, (10, 64, 64, 3), np.uint8)
    truth = np.zeros((10, 64, 64), np.uint8)
    truth[:, 16:48, 16:48] = 1
    regions = np.stack([truth] * 3)
    regions[0, :6, 16:48, 16:30] = 0
    regions[2, 6:, 16:48, 16:20] = 8
    xy = np.tile(np.array([[25.0, 30], [40, 30], [32, 38], [27, 46], [38, 46]], np.float32), (10, 1, 1))
    points = np.stack([xy + random.normal(0, scale, xy.shape).astype(np.float32) for scale in (2.0, 1.9, 1.8)])
    emotions = random.dirichlet(np.ones(7), (3, 10)).astype(np.float32)
    arrays = {"celebamask/regions": (regions, truth), "mtfl/points/true boxes": (points, xy), "rafdb/emotion": (emotions, random.integers(-1, 7, 10))}
    file = out / "rows" / FEEDBACK / PICTURES
    file.parent.mkdir(parents=True)
    np.savez(file, **{f"{name}/{what}": array for name, pair in arrays.items() for what, array in zip(("answers", "truth", "crops"), (*pair, crops), strict=True)})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Of all rows."""
    out = tmp_path_factory.mktemp("ifan")
    write_pictures(out)
    write_page(out, RECIPE, made_up(), "polyface reproduce ifan", ("mtfl: 3 files are absent",), draws=DRAWS)
    return out / PAGE, (out / PAGE).read_text()


def test_planted_gains_hold_and_what_was_not_planted_does_not() -> None:
    verdicts = {each.claim.words: each.verdict for each in ifan_claims.judge(Board(RECIPE, made_up(), DRAWS))}
    claims = ifan_claims.claims_of(rows_of(RECIPE))
    assert [verdicts[each.words] for each in claims[2:4]] == ["holds", "holds"]  # a normalisation for each task, and feedback
    assert verdicts["What helps is interaction, and not depth"] == "holds" and verdicts[claims[0].words] == "undecidable"
    assert verdicts["Every further pass helps"] == "undecidable"  # four gain no more than three


def test_every_row_stands_in_the_forest_with_all_that_it_is_compared_with(page: tuple[Path, str]) -> None:
    """Whatever a row asks, by `against`, is judged: nothing of the ablation and its controls is in the score tables alone."""
    pairs = {frozenset((base(row), against)) for row in rows_of(RECIPE) for against in row.against if row.seed == 1}
    claims = ifan_claims.claims_of(rows_of(RECIPE))
    assert {frozenset((each.given, each.without)) for claim in claims for each in claim.comparisons} == pairs
    compared = {name for pair in pairs for name in pair}
    assert compared >= {base(row) for row in rows_of(RECIPE) if row.part in ("ablation", "controls", "fed")}
    assert not [words for words, said in ifan_claims.CLAIMS if not any(each.words == words for each in claims)], "no claim of rows that do not exist"
    forest = {row["comparison"] for row in csv.DictReader((page[0].parent / "figures" / "forest.csv").open())}
    for name in ("feedback-3-through against feedback-3: gradients through the loop", "per-dataset against joint: statistics for each set instead of each task"):
        assert name in forest
    assert "against another face's predictions at test only" in forest, "the cleanest control"


def test_what_is_only_asked_has_no_verdict_of_its_own() -> None:
    verdicts = ifan_claims.judge(Board(RECIPE, made_up(), 200))
    asked = verdicts[-1]
    assert not asked.claim.claimed and all(each.comparison.besides for each in asked.found)
    assert asked.claim.words not in [words for _, words, _ in ifan_claims.sentences(verdicts)]
    assert ifan_claims.counted(verdicts).startswith(f"Of {len(verdicts) - 1} claims")
    assert ifan_claims.counted([]) == "No claim is about the rows that were done alone."


def test_drawn_people_share_holm_with_no_other_claim() -> None:
    tables = {each.table for claim in ifan_claims.claims_of(rows_of(RECIPE)) for each in claim.comparisons if claim.claimed and "rawn" in claim.words}
    assert tables == {("drawn", False)}
    others = {each.table for claim in ifan_claims.claims_of(rows_of(RECIPE)) for each in claim.comparisons if claim.claimed and "rawn" not in claim.words}
    assert others == {("", False)}


def test_every_score_stands_beside_a_constant_answer(page: tuple[Path, str]) -> None:
    board = Board(RECIPE, made_up(), 500)
    for part in ifan_tables.PARTS:
        *rows, constant = ifan_tables.score_rows(board, part)
        assert rows and constant["row"] == "the constant answer"
        cells = [str(value) for column, value in constant.items() if column.endswith(("↑", "↓"))]
        assert len(cells) == 3 and not any("not known" in cell for cell in cells), part
        scored = {column.split()[1] for column in constant if column.endswith(("↑", "↓"))}
        assert scored == ({"drawn"} if part == "drawn" else {"celebamask", "mtfl", "rafdb"}), "columns are headed by the set that is scored in them"
    assert str(ifan_tables.score_rows(board, "ablation")[-1]["points: mtfl NME, % ↓"]).startswith(f"{CONSTANT['points'] + faces('mtfl')[0].mean():.2f} (")
    scores = list(csv.DictReader((page[0].parent / "scores.csv").open()))
    assert all(float(row["constant answer"]) > 0 and row["beats it"] == "True" for row in scores)
    assert all(row["constant answer"] is not None for row in ifan_tables.pass_rows(board, ("ablation",)))
    assert all(float(str(row["constant answer, %"])) > 15 for row in ifan_mtfl.pose_rows(ifan_mtfl.errors_rows(board)))
    assert "the same for all" in page[1] and "Beside a constant answer" in page[1]


def test_a_row_that_does_not_beat_the_constant_answer_is_marked_and_named() -> None:
    rows = dict(made_up())
    bad = rows["feedback-4"].scores["mtfl/NME"]
    assert bad.constant is not None
    alike = msgspec.structs.replace(bad, values=(*bad.values[:-1], bad.constant.values))
    rows["feedback-4"] = msgspec.structs.replace(rows["feedback-4"], scores={**rows["feedback-4"].scores, "mtfl/NME": alike})
    board = Board(RECIPE, rows, 500)
    marked = [row["row"] for row in ifan_tables.score_rows(board, "ablation") if ifan_tables.NOT_BEATEN in str(row["points: mtfl NME, % ↓"])]
    assert marked == ["feedback, 4 passes"]
    (named,) = [row for row in ifan_tables.constant_rows(board) if str(row["measure"]).startswith("mtfl NME")]
    assert named["rows that do not"] == "feedback-4" and named["always answered"] == "the same for all"


def test_training_is_counted_in_multiplications() -> None:
    """Against the network's own count of an answer, which is all streams in all passes; and against each other."""
    rows, planned = made_up(), {row.name: row for row in rows_of(RECIPE)}
    tasks = tuple(each.task for each in coarse_tasks(RECIPE.tasks))

    def answer(asked: tuple[Task, ...] = tasks, **said: object) -> int:
        config = msgspec.structs.replace(RECIPE.network, **said)  # type: ignore[arg-type]
        return multiplications(Ifan(config, asked, {task.name: task.name for task in asked}), config.size)

    found = {name: training_multiplications(RECIPE, planned[name], row) / (20 * 24) for name, row in rows.items() if planned[name].trains}
    alone = [answer((task,), passes=1, feedback=()) for task in tasks]
    assert [found[f"alone-{task.name}"] for task in tasks] == alone, "each runs once, in one pass"
    assert found[JOINT] == found["per-dataset"] == pytest.approx(sum(alone) / 3) and found["joint-shared"] == answer(passes=1, feedback=(), normalisation="shared")
    assert found["feedback-4"] - found[FEEDBACK] == found[FEEDBACK] - found["feedback-2"] == answer(passes=4) - answer(passes=3), "a further pass is of all streams"
    below = answer(passes=3) - answer(passes=2)
    assert answer(passes=3) - below < found[FEEDBACK] < answer(passes=3), "of the last pass, the label's own stream only"
    assert found["feedback-3-through"] == found["another"] == found["constant"] == found[FEEDBACK]
    assert found["drawn-feedback-3"] == pytest.approx(3 * found[FEEDBACK]) and found["drawn-both"] == pytest.approx(2 * found["drawn-hybrid"])
    assert found["two-labels"] == pytest.approx(2 * found["hundred"]) and found["plug-joint"] > found[FEEDBACK]
    wide = msgspec.structs.replace(rows["same-cost"], settings={"growth": "12"})
    assert training_multiplications(RECIPE, planned["same-cost"], wide) > 2 * 20 * 24 * found[JOINT]
    assert training_multiplications(RECIPE, planned["another-at-test"], msgspec.structs.replace(rows["another-at-test"], steps=0)) == 0
    assert all("training, 10¹² multiplications" in row for row in ifan_tables.score_rows(Board(RECIPE, rows, 100), "controls")[:-1])


def test_the_page_says_which_seeds_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ifan_figures, "_png", lambda *_: b"")
    write_page(tmp_path, RECIPE, some("ablation"), draws=100)
    plan = rows_of(RECIPE)
    first, second = (sum(row.seed == seed for row in plan) for seed in (1, 2))
    assert f"{len(some('ablation'))} of {first} of seed 1; 0 of {second} of seed 2; 0 of" in (tmp_path / PAGE).read_text()


def test_the_page_says_what_the_set_with_two_labels_is(page: tuple[Path, str]) -> None:
    text = " ".join(page[1].split())
    assert "has both labels, facesynthetics, is rendered" in text and "the very sets that rows are tested on" in text and "real pictures" not in text
    assert not [each for _, said in ifan_claims.CLAIMS for each in said if each.row == "hundred"], "what has several causes decides no claim"


def test_a_gain_that_stays_with_another_faces_predictions_is_called_depth() -> None:
    rows = made_up()
    random = np.random.default_rng(0)
    another = next(row for row in rows_of(RECIPE) if row.name == "another")
    deep = {**rows, "another": msgspec.structs.replace(rows["another"], scores=measures(another, GAINS[FEEDBACK], random))}
    said = {each: ifan_claims.explained(ifan_claims.judge(Board(RECIPE, made, DRAWS)), RECIPE.tasks) for each, made in (("interaction", rows), ("depth", deep))}
    assert len(said["interaction"]) == 3 and all("it is interaction" in line for line in said["interaction"])
    assert all("not shown to go away with another face's predictions" in line for line in said["depth"])
    fewer = {name: row for name, row in rows.items() if name != "same-cost"}
    partly = ifan_claims.explained(ifan_claims.judge(Board(RECIPE, fewer, DRAWS)), RECIPE.tasks)
    assert all("as far as was run: not as many multiplications without feedback" in line for line in partly)


def test_the_page_asks_nothing_of_other_machines_and_says_what_cannot_be_tested(page: tuple[Path, str]) -> None:
    text = page[1]
    assert not re.search(r"(src|href|srcset)=\"(?!data:)", text) and "url(" not in text
    assert "91.15" in text and "45.73" in text and "cannot be tested" in text and "celebamask and facesynthetics stand in" in text
    assert "mtfl: 3 files are absent" in text and "polyface reproduce ifan" in text


def test_where_helens_masks_are_at_hand_the_papers_number_stands_beside() -> None:
    rows = made_up()
    helen = {
        f"helen_masks/{each.metric}": msgspec.structs.replace(each, dataset="helen_masks") for each in rows[FEEDBACK].scores.values() if each.dataset == "celebamask"
    }
    said = ifan_tables.stand_ins(Board(RECIPE, {FEEDBACK: msgspec.structs.replace(rows[FEEDBACK], scores=helen)}, 100))
    assert "91.15 % on Helen stands beside 72." in said[0] and "45.73 % on BNU-LSVED cannot be tested" in said[1]


def test_every_number_is_in_a_csv_beside_the_page(page: tuple[Path, str]) -> None:
    out = page[0].parent
    scores = list(csv.DictReader((out / "scores.csv").open()))
    assert {row["row"] for row in scores} == set(made_up()) and all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in scores)
    comparisons = list(csv.DictReader((out / "comparisons.csv").open()))
    shared = next(row for row in comparisons if (row["row"], row["against"], row["measure"]) == (JOINT, "joint-shared", "mtfl/NME"))
    assert float(shared["points"]) == pytest.approx(3.0, abs=0.2) and len(shared["seeds"].split()) == 3  # of planted 6, halved for points; less is better there
    for name in ("forest", "mtfl", "losses"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 1000 and (out / "figures" / f"{name}.csv").exists()


@pytest.mark.parametrize("parts", [("ablation",), ("controls", "plug"), ("fed",), ("hybrid",), ("drawn",), ("seeds",)])
def test_rows_that_are_missing_are_named_and_the_others_shown(parts: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ifan_figures, "_png", lambda *_: b"")  # drawing takes most of the time, and is tested on all rows
    write_page(tmp_path, RECIPE, some(*parts), draws=100)
    text = (tmp_path / PAGE).read_text()
    missing = [row for row in rows_of(RECIPE) if row.part not in parts]
    assert f"Not run: {len(missing)}" in text and all(f"{row.name} (" in text for row in missing)


def test_without_any_row_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no row is done"):
        write_page(tmp_path, RECIPE, {})
    assert not list(tmp_path.iterdir())


def test_a_comparison_whose_row_is_missing_is_not_run() -> None:
    rows = ifan_tables.claim_rows(ifan_claims.judge(Board(RECIPE, some("ablation", "seeds"), DRAWS)))
    feedback = [row for row in rows if row["comparison"] == "three passes against one"]
    assert [row["task"] for row in feedback] == list(RECIPE.tasks) and all(row["verdict"] == "holds" for row in feedback)
    interaction = [row for row in rows if row["comparison"] == "against constant maps"]
    assert all(row["verdict"] == "not run" and row["points better (95 %)"] == "missing: constant" for row in interaction)


def test_faces_that_were_not_found_count_as_failures_and_in_no_mean() -> None:
    board = Board(RECIPE, made_up(), DRAWS)
    shown = ifan_mtfl.errors_rows(board)
    detector, true = (next(pair for pair in shown if pair[0].name == FEEDBACK and ifan_mtfl.boxes(pair[1]) == how) for how in ("detector's boxes", "true boxes"))
    poses = ifan_mtfl.pose_rows([detector])
    assert [row["pose"] for row in poses] == list(YAWS) and [row["no face found"] for row in poses] == [7, 0, 0, 0, 0]
    assert sum(int(str(row["faces"])) for row in poses) == FACES + 7
    assert ifan_mtfl.errors_of(*detector).share(1000) == pytest.approx(FACES / (FACES + 7)) and ifan_mtfl.errors_of(*true).share(1000) == 1
    assert ifan_mtfl.errors_of(*detector).mean == pytest.approx(detector[1].score())


def test_errors_accumulate_for_each_word_for_yaw(page: tuple[Path, str]) -> None:
    shown = ifan_mtfl.errors_rows(Board(RECIPE, made_up(), 100))
    rows = list(csv.DictReader((page[0].parent / "figures" / "mtfl-poses.csv").open()))
    assert list(dict.fromkeys(row["pose"] for row in rows)) == list(YAWS) and (page[0].parent / "figures" / "mtfl-poses.png").stat().st_size > 1000
    row, measure = next(pair for pair in shown if ifan_mtfl.boxes(pair[1]) == "detector's boxes")
    for word in YAWS:
        errors = [value for value, own in zip(measure.values[-1], measure.groups["pose"], strict=True) if own == word]
        of = len(errors) + (7 if word == "left profile" else 0)
        (found,) = [each for each in rows if (each["pose"], each["row"], each["boxes"], float(each["NME"])) == (word, row.title, "detector's boxes", 9)]
        assert float(found["share of faces"]) == pytest.approx(sum(error <= 9 for error in errors) / of, abs=1e-4)
    assert "for each word for yaw" in page[1]


def test_the_papers_number_is_beaten_only_by_a_whole_interval() -> None:
    def scored(level: float) -> MeasureResult:
        found = made_up()[JOINT].scores["mtfl/NME"]
        return msgspec.structs.replace(found, missed={}, values=(tuple(level + hard / 5 for hard in faces("mtfl")[0]),))

    assert [ifan_mtfl.below(scored(level)) for level in (5.0, 5.82, 7.0)] == ["yes", "undecidable", "no"]
    skipped = msgspec.structs.replace(scored(5.0), missed={"": len(scored(5.0).values[-1]) // 50})
    assert ifan_mtfl.below(skipped) == "no", "a face that was not found is no easy one"


def test_pictures_show_gains_and_losses_drawn_at_random_of_every_kind_of_answer(page: tuple[Path, str]) -> None:
    out, text = page[0].parent / "figures", page[1]
    assert "better than the first on 6, worse on 4" in text  # as written for the regions
    for name, across in (("celebamask-regions", 5), ("mtfl-points-true-boxes", 5), ("rafdb-emotion", 5)):
        sheet = cv2.imread(str(out / f"passes-{name}.png"))
        rows = list(csv.DictReader((out / f"passes-{name}.csv").open()))
        shown = [float(row["change"]) for row in rows if row["shown"] == "True"]
        assert sheet.shape[1] == across * ifan_figures.CELL and len(shown) == sheet.shape[0] // (ifan_figures.CELL + ifan_figures.CELL // 8)
        assert sum(change > 0 for change in shown) <= 3 and sum(change < 0 for change in shown) <= 3


def test_changes_are_what_the_last_pass_gives_over_the_first() -> None:
    regions, points, emotion = (each.task for each in coarse_tasks(RECIPE.tasks))
    truth = np.array([[[0, 1], [1, 255]], [[255, 255], [255, 255]]], np.uint8)
    answers = np.stack([np.zeros_like(truth), np.ones_like(truth)])
    assert ifan_figures.changes(regions, answers, truth) == pytest.approx([100 / 3, np.nan], nan_ok=True)  # one of three right, then two; nothing labelled
    xy = np.array([[[0, 0], [10, 0], [5, 5], [2, 9], [np.nan, np.nan]]], np.float32)
    moved = np.stack([xy + np.array([3.0, 4.0]), xy])
    assert ifan_figures.changes(points, moved, xy) == pytest.approx([50.0])
    shares = np.stack([np.full((2, 7), 1 / 7), np.eye(7)[[3, 3]]]).astype(np.float32)
    assert ifan_figures.changes(emotion, shares, np.array([3, -1])) == pytest.approx([600 / 7, np.nan], nan_ok=True)


def test_drawing_at_random_is_from_either_kind_and_the_same_every_time() -> None:
    change = np.array([1.0, -1, 0, np.nan, 2, 3, 4, -5])
    gains, losses = ifan_figures.drawn_at_random(change, 3)
    assert len(gains) == 3 and set(gains) < {0, 4, 5, 6} and losses == [1, 7]
    assert (gains, losses) == ifan_figures.drawn_at_random(change, 3)
    assert ifan_figures.drawn_at_random(np.zeros(4), 3) == ([], [])
