"""What tasks give each other: the arithmetic on made-up numbers, the design on paper, and all of it on drawn people."""

import dataclasses
import itertools
import json
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from polyface import cli, datasets, tasks
from polyface.datasets.base import Record
from polyface.datasets.crops import Example, Examples
from polyface.errors import RequestError
from polyface.papers import transfer, transfer_effects, transfer_grain
from polyface.papers.transfer_effects import Contrast, Effect, Found, Outcome, Result
from polyface.papers.transfer_page import page_of, sentences, verdict_rows
from polyface.papers.transfer_runs import own_auc
from polyface.training import config as recipes
from polyface.training.examples import Source

PEOPLE, FACES_OF_EACH = 60, 3
pytestmark = pytest.mark.timeout(900)  # all of `smoke`, on a machine that has other things to do
SMALL = transfer.SCALES["small"]
BASE = recipes.load(SMALL.recipe)


def outcome(values: np.ndarray, higher_is_better: bool = True, faces: str = "these") -> Outcome:
    people = tuple(np.arange(len(values)) // FACES_OF_EACH)
    return Outcome(dataset="made-up", metric="points", higher_is_better=higher_is_better, sha256=faces, people=people, values=tuple(values.tolist()))


def result(run: str, test: Outcome, question: str = "age") -> Result:
    return Result(
        run=run, seed=1, steps=1, batch=1, seconds=60.0, scoring_seconds=1.0, pictures={}, validation={question: test}, test={question: test}
    )  # fmt: skip


def made_up(gains: tuple[float, ...], random: np.random.Generator, scatter: float = 0.0, higher_is_better: bool = True) -> tuple[Contrast, dict[str, Result]]:
    """Runs with and without something that gives each seed so much; hard faces are hard for all, and a run is off by its seed as a whole."""
    hard = np.repeat(random.normal(50, 20, PEOPLE), FACES_OF_EACH)
    results = {}
    for seed, gain in enumerate(gains, 1):
        for name, given in (("with", gain), ("without", 0.0)):
            values = hard + random.normal(0, 5, len(hard)) + random.normal(0, scatter) + (given if higher_is_better else -given)
            results[f"{name}-{seed}"] = result(f"{name}-{seed}", outcome(values, higher_is_better))
    with_, without = (tuple(f"{name}-{seed}" for seed in range(1, len(gains) + 1)) for name in ("with", "without"))
    return Contrast("age", "identity", "own", with_, without, "identity"), results


def verdict_of(contrast: Contrast, results: dict[str, Result]) -> Found:
    return transfer_effects.judge(transfer_effects.measure([contrast], results, "test"), 3)[0]


@pytest.mark.parametrize("higher_is_better", [True, False])
@pytest.mark.parametrize(("gain", "verdict"), [(3.0, "gains"), (-3.0, "loses")])
def test_a_planted_effect_is_found_whichever_way_the_metric_runs(gain: float, verdict: str, higher_is_better: bool) -> None:
    found = verdict_of(*made_up((gain,) * 3, np.random.default_rng(1), scatter=0.1, higher_is_better=higher_is_better))
    assert found.verdict == verdict
    assert found.effect is not None and found.effect.low < gain < found.effect.high
    assert found.effect.people == PEOPLE and found.effect.n == PEOPLE * FACES_OF_EACH


@pytest.mark.parametrize("scatter", [0.0, 5.0])
def test_where_there_is_no_effect_there_is_hardly_ever_a_verdict(scatter: float) -> None:
    """Seeds that scatter far agree one time in four, with intervals over people that leave 0 out: the very thing a verdict must not be made of."""
    tried = [verdict_of(*made_up((0.0,) * 3, np.random.default_rng(seed), scatter)) for seed in range(24)]
    agreeing = sum(found.effect is not None and len(set(np.sign(found.effect.seeds))) == 1 for found in tried)
    assert agreeing >= 4, "else this test would prove nothing"
    assert sum(found.verdict in ("gains", "loses") for found in tried) <= 2


def test_seeds_that_disagree_give_no_verdict() -> None:
    found = verdict_of(*made_up((9.0, 9.0, -2.0), np.random.default_rng(2)))
    assert found.effect is not None and found.effect.value > 4
    assert found.verdict == "undecided"


def test_one_seed_gives_no_verdict() -> None:
    found = verdict_of(*made_up((9.0,), np.random.default_rng(3)))
    assert found.effect is not None and found.effect.low > 0
    assert found.verdict == "one seed"


def test_a_few_people_give_no_verdict() -> None:
    random = np.random.default_rng(4)
    given, without = ([outcome(random.normal(mean, 1, 10 * FACES_OF_EACH)) for _ in range(3)] for mean in (60, 50))
    found = Found(Contrast("age", "identity", "own", (), ()), transfer_effects.effect(given, without))
    assert transfer_effects.judge([found], 3)[0].verdict == "undecided"


def test_faces_of_one_person_count_as_one() -> None:
    random = np.random.default_rng(5)
    of_people = np.repeat(random.normal(0, 1, 50), 20)
    alone = Outcome(dataset="d", metric="m", higher_is_better=True, sha256="", people=tuple(range(1000)), values=tuple(of_people))
    together = Outcome(dataset="d", metric="m", higher_is_better=True, sha256="", people=tuple(np.arange(1000) // 20), values=tuple(of_people))
    nothing = constant(alone, 0.0), constant(together, 0.0)
    assert transfer_effects.effect([together], [nothing[1]]).spread > 3 * transfer_effects.effect([alone], [nothing[0]]).spread


def constant(like: Outcome, value: float) -> Outcome:
    return Outcome(
        dataset=like.dataset, metric=like.metric, higher_is_better=True, sha256=like.sha256, people=like.people, values=(value,) * len(like.values)
    )  # fmt: skip


def test_how_far_seeds_scatter_is_pooled_over_all_repeated_runs() -> None:
    faces = PEOPLE * FACES_OF_EACH
    results = {name: result(name, outcome(np.full(faces, mean))) for name, mean in (("a1", 1.0), ("a2", 3.0), ("b1", 10.0), ("b2", 10.0), ("c1", 5.0))}
    contrasts = [Contrast("age", "x", "own", ("a1", "a2"), ("b1", "b2")), Contrast("age", "y", "own", ("a1", "a2"), ("c1",))]
    assert transfer_effects.seed_scatter(contrasts, results, "test") == {"age": transfer_effects.Scatter(1.0, 2)}
    fewer = Contrast("age", "z", "own", ("a1",), ("b1",))  # some seeds of the same runs, where others are not done
    assert transfer_effects.seed_scatter([*contrasts, fewer], results, "test") == {"age": transfer_effects.Scatter(1.0, 2)}


def test_holm_is_as_holm_has_it() -> None:
    assert transfer_effects.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert transfer_effects.holm([0.9, 0.6]) == [1.0, 1.0]
    assert transfer_effects.holm([]) == []


def test_a_table_of_many_asks_more_of_each() -> None:
    borderline = Found(Contrast("age", "identity", "own", (), ()), Effect(1.0, 0.1, 1.9, 0.4, 0.03, (1.0, 1.0, 1.0), 900, 300))
    assert transfer_effects.judge([borderline], 3)[0].verdict == "gains"
    assert {found.verdict for found in transfer_effects.judge([borderline] * 3, 3)} == {"undecided"}


def test_a_missing_run_is_named_and_leaves_the_others_their_verdicts() -> None:
    contrast, results = made_up((3.0,) * 3, np.random.default_rng(6))
    other = dataclasses.replace(contrast, without=("without-1", "gone-2", "gone-3"))
    found = transfer_effects.judge(transfer_effects.measure([contrast, other], results, "test"), 3)
    assert [each.verdict for each in found] == ["gains", "missing"]
    assert found[1].missing == ("gone-2", "gone-3")
    assert "gone-2, gone-3" in str(verdict_rows(found)[1]["95 %"])


def test_runs_that_were_scored_on_different_faces_are_not_compared() -> None:
    contrast, results = made_up((3.0,), np.random.default_rng(7))
    results["without-1"] = result("without-1", outcome(np.zeros(PEOPLE * FACES_OF_EACH), faces="others"))
    with pytest.raises(RequestError, match=r"with-1.*different faces"):
        transfer_effects.measure([contrast], results, "test")


def test_the_surest_pairs_are_chosen_each_once_and_only_groups_that_were_left_out() -> None:
    def found(question: str, group: str, counting: str, value: float, words: str = "") -> Found:
        return Found(Contrast(question, words or group, counting, (), (), group), Effect(value, 0, 0, 1.0, 1.0, (value,), 9, 9))

    screen = [
        found("age", "identity", "total", -3), found("age", "identity", "own", 2), found("age", "", "own", 9, "all others"),
        found("race", "identity", "own", 1), found("race", "geometry", "own", 2.5), Found(Contrast("pose", "identity", "own", (), (), "identity")),
    ]  # fmt: skip
    chosen = transfer_effects.strongest(screen, 2)
    assert [(each.contrast.question, each.contrast.group, each.contrast.counting) for each in chosen] == [("age", "identity", "total"), ("race", "geometry", "own")]


def test_a_photograph_is_measured_by_how_often_its_own_are_closer() -> None:
    vectors = np.array([[1, 0], [1, 0.1], [0.9, 0.5], [0, 1], [-1, 0]], float)
    found = own_auc(vectors, np.array([0, 0, 1, 1, 2]))
    assert found[:4] == pytest.approx([1.0, 1.0, 1 / 3, 1.0])
    assert math.isnan(found[4])
    assert own_auc(np.ones((4, 2)), np.array([0, 0, 1, 1])) == pytest.approx([0.5] * 4)


# The design


def test_runs_are_made_from_one_recipe_by_taking_groups_away() -> None:
    runs = {run.name: run for run in transfer.screen_runs(BASE)}
    assert len(runs) == 1 + 2 * 5 + 2 * 5
    joint, minus, alone = (runs[name].config for name in ("all-seed1", "minus-geometry-own-seed1", "alone-geometry-own-seed1"))
    assert joint.data == BASE.data and joint.losses == BASE.losses
    assert joint.model == msgspec.structs.replace(BASE.model, tasks=tuple(task.name for task in tasks.TASKS))
    assert {*minus.data, *alone.data} == {*joint.data} and not {*minus.data} & {*alone.data}
    assert {*minus.model.tasks, *alone.model.tasks} == {task.name for task in tasks.TASKS} and {*alone.losses} == {"landmarks", "parsing", "pose"}
    assert {question.name for question in runs["alone-geometry-own-seed1"].questions} == {"landmarks", "parsing", "pose"}


def test_both_ways_of_counting_keep_equal_what_they_say() -> None:
    for run in transfer.screen_runs(BASE):
        assert run.config.steps == BASE.steps
        if "-total-" in run.name:
            assert run.config.batch == BASE.batch
        else:  # as many rows of each set as in the joint run
            assert run.config.batch == sum(entry.weight for entry in run.config.data)


def test_every_group_has_as_many_rows_of_a_joint_batch() -> None:
    rows = {group: sum(entry.weight for entry in BASE.data if transfer.group_of(entry) == group) for group in transfer.GROUPS}
    assert set(rows.values()) == {BASE.batch / len(transfer.GROUPS)}


def test_the_plan_keeps_to_three_minutes_a_run_and_three_hours_in_all() -> None:
    groups = list(transfer.GROUPS)[: SMALL.pairs]
    pairs = [Found(Contrast("age", group, "total", (), (), group)) for group in groups]
    usual = [*transfer.screen_runs(BASE), *transfer.seed_runs(BASE, SMALL.seeds, pairs), *transfer.grain_runs(BASE, SMALL)]
    longer = transfer.long_runs(BASE, SMALL.longer, pairs[0])
    minutes = {run.name: 2.5 * run.config.steps * run.config.batch / 80_000 for run in (*usual, *longer)}  # the recipe says what a picture takes
    assert max(minutes[run.name] for run in usual) <= 3
    assert [minutes[run.name] for run in longer] == [30, 30]
    assert sum(minutes.values()) <= 165  # scoring takes the rest
    assert len(minutes) == len(usual) + len(longer)  # no two of one name


# What is done to labels


def source_of(dataset: datasets.Dataset, labels: list[dict[str, object]]) -> Source:
    items = [Example(Record(str(at), None, each), np.zeros((5, 2)), "stated") for at, each in enumerate(labels)]  # type: ignore[arg-type]
    return Source(Examples(dataset, tuple(items)), 1.0)


def test_ages_by_their_midpoints_are_numbers_inside_their_ranges() -> None:
    before, after = (source.dataset.answers["age"] for source in (source_of(datasets.fairface, []), transfer_grain.midpoints(source_of(datasets.fairface, []))))
    for word, (low, high) in before.meanings.items():
        first, last = after.meanings[word]
        assert low < first == last < high
    assert after.meanings["20-29"] == (24.5, 24.5)


def test_only_utkface_loses_its_asian_rows() -> None:
    labels: list[dict[str, object]] = [{"race": "Asian"}, {"race": "White"}, {"age": 3}]
    kept = transfer_grain.without_asian(source_of(datasets.utkface, labels)).examples.items
    assert [dict(example.record.labels) for example in kept] == labels[1:]
    assert len(transfer_grain.without_asian(source_of(datasets.fairface, labels)).examples.items) == 3


def test_hair_or_brow_is_unlabelled_and_all_other_pixels_stay() -> None:
    mask = np.array([[0, 1, 2], [2, 3, 255]], np.uint8)
    changed = transfer_grain.without_hair_or_brow(source_of(datasets.fasseg, [{"parsing": lambda: mask}, {"pose": {"yaw": 0}}])).examples.items
    assert changed[0].record.labels["parsing"]().tolist() == [[0, 1, 255], [255, 3, 255]]  # type: ignore[operator]
    assert "parsing" not in changed[1].record.labels


# All of it


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transfer") / "out"
    assert cli.run(["reproduce", "transfer", "--scale", "smoke", "--out", str(folder)]) == 0
    return folder


def test_on_drawn_people_every_run_is_done_and_the_page_says_so(out: Path) -> None:
    found = transfer.reproduce("smoke", None, out)
    assert found.missing == []
    assert {part: len(names) for part, names in found.runs.items()} == {"screen": 21, "seeds": 3, "grain": 8, "long": 2}
    assert all((out / name / "config.toml").is_file() for names in found.runs.values() for name in names)
    assert all(each.effect is not None for each in (*found.screen, *found.verdicts, *found.longer))
    page = (out / transfer.PAGE).read_text()
    assert all(said in page for said in ("Drawn people", "Equal passes in all", "Equal passes of own pictures", "UTKFace&#39;s Asian as a set", "survive"))
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "") and "runs are missing" not in page


def test_what_is_done_stays_done_and_one_run_is_done_again_alone(out: Path) -> None:
    again, kept = out / "grain-asian-set-seed1", out / "all-seed1" / "result.json"
    before, stamp = json.loads((again / "result.json").read_text()), kept.stat().st_mtime_ns
    (again / "result.json").unlink()
    assert transfer.Experiment(transfer.SCALES["smoke"], recipes.load("transfer_smoke"), dict(transfer._results_in(out))).wanted(None)[0].name == again.name
    found = transfer.reproduce("smoke", None, out, only=again.name)
    after = json.loads((again / "result.json").read_text())
    assert after["test"] == before["test"], "the same seed, the same answers"
    assert kept.stat().st_mtime_ns == stamp and found.missing == []


def test_a_page_with_runs_missing_names_them(out: Path) -> None:
    results = {name: each for name, each in transfer._results_in(out) if name != "alone-geometry-own-seed1"}
    findings = transfer.Experiment(transfer.SCALES["smoke"], recipes.load("transfer_smoke"), results).findings()
    assert findings.missing == ["alone-geometry-own-seed1"] and findings.pairs == ()
    page = page_of(findings, "")
    assert "1 runs are missing" in page and page.count("missing: alone-geometry-own-seed1") == 3
    assert any("undecided" in line or "no verdict" in line for line in sentences(findings))


def test_a_run_that_another_recipe_made_is_refused(out: Path) -> None:
    path = out / "alone-identity-own-seed1" / "config.toml"
    recipe = path.read_text()
    path.write_text(recipe.replace("steps = 3", "steps = 4"))
    try:
        with pytest.raises(RequestError, match="another recipe"):
            transfer.reproduce("smoke", None, out)
    finally:
        path.write_text(recipe)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "scren"], "did you mean 'screen'?"),
        (["--only", "all-seed11"], "no part or run 'all-seed11'"),
        (["--only", "long"], "--only screen does that"),
        (["--scale", "small", "--data", "nowhere"], "nowhere"),
    ],
)
def test_a_wrong_request_leaves_nothing_behind(arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["reproduce", "transfer", *arguments, "--out", str(tmp_path / "out")]) == RequestError.exit_status
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_page_in_words_says_whether_a_sign_survives() -> None:
    contrast, results = made_up((3.0,) * 3, np.random.default_rng(8))
    findings = transfer.Experiment(transfer.SCALES["small"], BASE, {}).findings()
    usual = transfer_effects.judge(transfer_effects.measure([contrast], results, "test"), 3)
    for gain, said in ((2.0, "survives"), (-2.0, "does not survive")):
        long, more = made_up((gain,), np.random.default_rng(9))
        longer = transfer_effects.measure([long], more, "test")
        lines = sentences(dataclasses.replace(findings, verdicts=usual, longer=longer))
        assert any(line.startswith("age gains by identity") for line in lines)
        assert any(f"the sign of identity for age (passes of own pictures) {said} 12 times the passes" in line for line in lines)


def test_names_of_runs_say_what_they_are() -> None:
    pairs = [Found(Contrast("age", "identity", "own", (), (), "identity"))]
    every = itertools.chain(
        transfer.screen_runs(BASE), transfer.seed_runs(BASE, SMALL.seeds, pairs), transfer.grain_runs(BASE, SMALL), transfer.long_runs(BASE, 12, pairs[0])
    )
    names = {run.name for run in every}
    asked = [*transfer.screen_contrasts(), *transfer.pair_contrasts(pairs, SMALL.seeds), *transfer.grain_contrasts(SMALL), transfer.long_contrast(pairs[0], 12)]
    assert names == {run for contrast in asked for run in (*contrast.given, *contrast.without)}, "every run is compared, and every comparison has its runs"
