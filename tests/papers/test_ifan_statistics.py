"""What rows of paper B say about each other: resampling against a slow reference, pairing, seeds, Holm, verdicts."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from polyface.metrics.intervals import Interval, bootstrap
from polyface.models.ifan import IfanConfig
from polyface.papers.ifan_config import EMOTION, IfanRecipe, Pool, Stage, Test
from polyface.papers.ifan_runs import Compute, ConstantResult, MeasureResult, RowResult
from polyface.papers.ifan_samples import sampled
from polyface.papers.ifan_statistics import NEITHER, Board, Comparison, Effect, decide, effect_of, judged
from polyface.papers.transfer_effects import Scatter

PEOPLE, EACH = 60, 3
RECIPE = IfanRecipe(
    name="made-up", network=IfanConfig(), data=(Pool(set="mtfl"),), tests=(Test(set="rafdb"), Test(set="fer2013")),
    tasks={"emotion": EMOTION}, pretrain={"emotion": Stage(steps=1, batch=1)},
    joint=Stage(steps=1, batch=1),
)  # fmt: skip
FEEDBACK = Comparison("three passes against one", "feedback-3", "joint")


def measure(
    values: np.ndarray, of: np.ndarray | None = None, higher: bool = True, faces: str = "these", metric: str = "accuracy", dataset: str = "rafdb"
) -> MeasureResult:
    """values [N] or [passes, N]; three faces of each person."""
    table, whole = np.atleast_2d(values), () if of is None else tuple(map(tuple, np.atleast_2d(of).tolist()))
    people = tuple((np.arange(table.shape[1]) // EACH).tolist())
    return MeasureResult(
        task="emotion", dataset=dataset, split="test", metric=metric, unit="%", higher_is_better=higher, sha256=faces, people=people,
        values=tuple(map(tuple, table.tolist())), of=whole,
    )  # fmt: skip


def result(name: str, *measures: MeasureResult, seed: int = 1) -> RowResult:
    scores = {f"{each.dataset}/{each.metric}": each for each in measures}
    compute = Compute(multiplications=1, parameters=1, seconds_per_face=1.0, threads=1, batch=1)
    return RowResult(
        name=name, title=name, part="ablation", seed=seed, settings={}, tasks=("emotion",), passes=1, start="shared", steps=1, batch=1, samples={}, compute=compute,
        seconds=1.0, scoring_seconds=1.0, scores=scores, validation={}, curves={},
    )  # fmt: skip


def board(gains: Sequence[float], scatter: float = 0.3, noise: float = 4.0, draws: int = 1000, random_seed: int = 0) -> Board:
    """Joint training and feedback with a gain for each seed; hard faces are hard for all, and a run is off by its seed as a whole."""
    random = np.random.default_rng(random_seed)
    hard = np.repeat(random.normal(60, 20, PEOPLE), EACH)
    results = {}
    for seed, gain in enumerate(gains, 1):
        for name, given in (("joint", 0.0), ("feedback-3", gain)):
            full = name if seed == 1 else f"{name}-seed{seed}"
            results[full] = result(full, measure(hard + given + random.normal(0, scatter) + random.normal(0, noise, len(hard))), seed=seed)
    return Board(RECIPE, results, draws)


def test_a_pooled_score_is_resampled_as_a_ratio_of_sums_over_people() -> None:
    random = np.random.default_rng(1)
    over, of = random.integers(0, 50, PEOPLE * EACH).astype(float), random.integers(50, 90, PEOPLE * EACH).astype(float)
    found = measure(over, of, metric="overall F, union")
    sample = sampled({"a": (found, -1)}, draws=400)
    assert sample is not None and sample.people == PEOPLE and sample.n == PEOPLE * EACH
    slow = bootstrap(lambda at: found.score(-1, at.tolist()), np.array(found.people), draws=400)
    score = sample.score(["a"])
    assert score.value == pytest.approx(100 * over.sum() / of.sum()) and (score.low, score.high) == pytest.approx((slow.low, slow.high), rel=1e-5)


@pytest.mark.parametrize("higher", [True, False])
def test_two_rows_are_compared_face_by_face_and_a_gain_is_above_0_whichever_way_the_measure_runs(higher: bool) -> None:
    random = np.random.default_rng(2)
    hard, gain = random.normal(50, 20, PEOPLE * EACH), random.normal(1.0, 0.5, PEOPLE * EACH)
    rows = {"a": measure(hard + (gain if higher else -gain), higher=higher), "b": measure(hard, higher=higher)}
    sample = sampled({name: (each, -1) for name, each in rows.items()}, draws=1000)
    assert sample is not None
    paired = effect_of(sample, [("a", "b")])
    slow = bootstrap(lambda at: float(gain[at].mean()), np.array(rows["a"].people))
    assert paired.value == pytest.approx(gain.mean()) and (paired.low, paired.high) == pytest.approx((slow.low, slow.high), abs=1e-4)
    assert 0.8 < paired.low < paired.high < 1.2 and sample.score(["a"]).high - sample.score(["a"]).low > 3  # each by itself is far less certain


def test_the_last_pass_is_the_answer_and_each_can_be_asked() -> None:
    found = measure(np.stack([np.full(6, 1.0), np.full(6, 4.0)]))
    sample = sampled({"first": (found, 0), "last": (found, -1)}, draws=10)
    assert sample is not None and effect_of(sample, [("last", "first")]).value == 3.0


def test_rows_that_were_scored_on_other_faces_are_set_apart_and_named() -> None:
    made = board([2.0])
    there = made.results["feedback-3"]
    other = result("feedback-3", measure(np.array(there.scores["rafdb/accuracy"].values[0]), faces="those"))
    apart = Board(RECIPE, {**made.results, "feedback-3": other, "feedback-2": result("feedback-2", made.results["joint"].scores["rafdb/accuracy"])}, 100)
    (found,) = judged(apart, [FEEDBACK])
    assert found.verdict == "not run" and found.missing[0] == "feedback-3 was scored on other faces" and "feedback-3-seed2" in found.missing
    sample, alone = apart.sample("rafdb/accuracy"), apart.score(["feedback-3"], "rafdb/accuracy")
    assert sample is not None and sample.apart == ("feedback-3",) and alone is not None and alone.value == there.scores["rafdb/accuracy"].score()


@pytest.mark.parametrize(("gain", "verdict"), [(3.0, "holds"), (-3.0, "fails"), (0.0, "undecidable")])
def test_a_planted_effect_of_three_seeds_is_found(gain: float, verdict: str) -> None:
    (found,) = judged(board([gain] * 3), [FEEDBACK])
    assert found.verdict == verdict and found.measure == "rafdb/accuracy" and found.effect is not None and len(found.effect.seeds) == 3


def test_seeds_that_disagree_decide_nothing_and_neither_do_fewer_than_were_planned() -> None:
    effect = Effect(2.0, 0.5, 3.0, Interval(1, 3), 1e-4, (3.0, 3.5, -0.5), 300, 100, 0.2)
    assert decide(effect, 1e-3, 0.0, 3) == ("undecidable", "seeds disagree")
    (found,) = judged(board([3.0, 3.0]), [FEEDBACK])
    assert found.verdict == "undecidable" and "2 of 3 seeds" in found.why and found.missing == ("feedback-3-seed3", "joint-seed3")


def test_one_seed_is_as_uncertain_as_repeated_rows_say_and_undecidable_where_none_was() -> None:
    made = board([3.0] * 3, scatter=0.5)
    once = {**made.results, "feedback-4": result("feedback-4", made.results["feedback-3"].scores["rafdb/accuracy"])}
    four = Comparison("four passes against one", "feedback-4", "joint")
    three, one = judged(Board(RECIPE, once, 1000), [FEEDBACK, four])
    assert three.effect is not None and one.effect is not None and one.effect.scatter == three.effect.scatter > 0
    assert one.effect.high - one.effect.low > 1.4 * (three.effect.high - three.effect.low)
    assert one.effect.high - one.effect.low > one.effect.faces.high - one.effect.faces.low
    alone = {name: row for name, row in once.items() if "seed" not in name}
    assert "nobody knows how far seeds scatter" in judged(Board(RECIPE, alone, 1000), [four])[0].why


def test_a_measure_that_no_row_was_repeated_for_takes_the_largest_scatter_of_its_metric() -> None:
    made = board([3.0] * 3, scatter=0.5)
    drawn = {name: result(name, measure(np.arange(60.0), dataset="drawn")) for name in ("drawn-feedback-3", "drawn-truth")}
    both = Board(RECIPE, {**made.results, **drawn}, 100)
    assert both.scatter("drawn/accuracy") == both.scatter("rafdb/accuracy") is not None
    other = {"drawn-truth": result("drawn-truth", measure(np.arange(60.0), dataset="drawn", metric="NME"))}
    assert Board(RECIPE, {**made.results, **other}, 100).scatter("drawn/NME") is None


def test_two_readings_of_the_same_weights_have_no_scatter_of_seeds() -> None:
    made = board([3.0] * 3, scatter=0.5)
    read = {**made.results, "another-at-test": result("another-at-test", made.results["feedback-3"].scores["rafdb/accuracy"])}
    told = Comparison("what the trained network reads", "another-at-test", "feedback-3", least=-0.5)
    (found,) = judged(Board(RECIPE, read, 1000), [told])
    assert found.effect is not None and (found.effect.low, found.effect.high, found.effect.scatter) == (0.0, 0.0, 0.0) and found.verdict == "holds"


def test_scatter_is_pooled_over_rows_and_knows_on_how_much_it_rests() -> None:
    level = np.zeros(60)
    results = {}
    for seed, (a, b) in enumerate([(1.0, 10.0), (2.0, 10.0), (3.0, 13.0)], 1):
        for name, off in (("joint", a), ("feedback-3", b)):
            full = name if seed == 1 else f"{name}-seed{seed}"
            results[full] = result(full, measure(level + off), seed=seed)
    assert Board(RECIPE, results, 10).scatter("rafdb/accuracy") == Scatter(pytest.approx(math.sqrt((2.0 + 6.0) / 4)), 4)  # type: ignore[arg-type]


def test_without_an_effect_few_tables_of_three_seeds_find_one() -> None:
    """Where seeds scatter as much as faces do: resampling the three seeds themselves would find an effect far more often than one time in twenty."""
    wrong = sum(judged(board([0.0] * 3, scatter=2.0, draws=300, random_seed=seed), [FEEDBACK])[0].verdict != "undecidable" for seed in range(60))
    assert wrong <= 6


def test_holm_counts_every_comparison_of_the_table() -> None:
    made = board([1.0] * 3, scatter=0.05)
    (alone,) = judged(made, [FEEDBACK])
    others = [Comparison(f"nothing {number}", "joint", "joint") for number in range(30)]
    among = judged(made, [FEEDBACK, *others])[0]
    assert alone.effect is not None and alone.adjusted == alone.effect.p and among.adjusted == pytest.approx(31 * alone.adjusted)
    assert alone.verdict == "holds" and among.verdict == "undecidable" and "Holm" in among.why


def test_drawn_people_and_what_is_only_asked_have_a_holm_of_their_own() -> None:
    made = board([1.0] * 3, scatter=0.05)
    apart = [Comparison(f"nothing {number}", "joint", "joint", on="drawn") for number in range(30)]
    besides = [Comparison(f"nothing {number}", "joint", "joint", besides=True) for number in range(30)]
    (alone,), among = judged(made, [FEEDBACK]), judged(made, [FEEDBACK, *apart, *besides])[0]
    assert among.adjusted == alone.adjusted and among.verdict == "holds"


@pytest.mark.parametrize(("above", "verdict"), [(5.0, "undecidable"), (2.0, "holds"), (-3.0, "holds")])
def test_where_neither_row_beats_the_constant_answer_nothing_is_decided(above: float, verdict: str) -> None:
    """A gain of 3 points is planted: the constant answer stands 5 points above the worse row, then between the two, then below both."""
    made = board([3.0] * 3)
    level = made.results["joint"].scores["rafdb/accuracy"]
    constant = ConstantResult(answer="happy", values=tuple(value + above for value in level.values[-1]))
    results = {
        name: msgspec.structs.replace(row, scores={key: msgspec.structs.replace(each, constant=constant) for key, each in row.scores.items()})
        for name, row in made.results.items()
    }
    (found,) = judged(Board(RECIPE, results, 1000), [FEEDBACK])
    assert found.verdict == verdict and (found.why == NEITHER) == (verdict == "undecidable")
    assert judged(made, [FEEDBACK])[0].verdict == "holds", "where no constant answer is known, none is asked for"


def test_a_claim_of_a_small_loss_is_tested_against_that_loss() -> None:
    made = board([-0.1] * 3, scatter=0.01, noise=1.0)
    strict, lenient = judged(made, [FEEDBACK, Comparison("loses less than 0.5", "feedback-3", "joint", least=-0.5)])
    assert strict.verdict != "holds" and lenient.verdict == "holds" and lenient.effect is not None and lenient.effect.p < 0.05


def test_fewer_than_twenty_people_decide_nothing() -> None:
    effect = Effect(5.0, 4.0, 6.0, Interval(4, 6), 1e-4, (5.0,), 19, 19, 0.2)
    assert decide(effect, 1e-3, 0.0, 1)[0] == "undecidable"


def test_a_comparison_is_by_the_first_set_of_the_recipe_that_both_rows_have() -> None:
    values = np.arange(60.0)
    both, one = (measure(values, dataset=name) for name in ("fer2013", "rafdb"))
    made = Board(RECIPE, {"joint": result("joint", both, one), "feedback-2": result("feedback-2", both)}, 10)
    assert made.measures("emotion") == ["rafdb/accuracy", "fer2013/accuracy"] and made.measures("emotion", "fer2013")[0] == "fer2013/accuracy"
    (found,) = judged(made, [Comparison("two passes against one", "feedback-2", "joint")])
    assert found.measure == "fer2013/accuracy" and found.effect is not None


def test_no_rows_no_faces_and_one_person_are_no_errors() -> None:
    assert sampled({}) is None and sampled({"a": (measure(np.zeros((1, 0))), -1)}) is None
    sample = sampled({name: (measure(np.full(EACH, 2.0)), -1) for name in "ab"}, draws=10)
    assert sample is not None and math.isnan(sample.score(["a"]).low)
    effect = effect_of(sample, [("a", "b")], Scatter(1.0, 2))
    assert effect.value == 0 and effect.p == 1.0 and math.isnan(effect.low)
