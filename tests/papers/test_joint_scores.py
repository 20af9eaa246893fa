"""People among distractors: synthetic ones are drawn as promised, trials have the order of the protocol, and the claim is shown only against the control."""

from pathlib import Path

import numpy as np
import pytest

from polyface.datasets.base import evenly
from polyface.evaluation.protocols.megaface import identify
from polyface.evaluation.protocols.verification import accuracy_gap, score_pairs
from polyface.files import write_arrays
from polyface.papers import joint_claims as claims
from polyface.papers.joint_claims import Board, Gap, Hits, decide, gap, judge
from polyface.papers.joint_config import load
from polyface.papers.joint_runs import BEST, best_level, chosen, rows_of
from polyface.papers.joint_scores import Number, RowResult, _people_of_trials, checked_sizes, unreached
from polyface.papers.joint_synthetic import fit
from polyface.papers.transfer_effects import Scatter
from polyface.training.config import SCALES


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(5, 24))
    return unit(centres[random.integers(0, 5, count)] + 0.5 * random.normal(size=(count, 24)))


def test_synthetic_distractors_are_of_unit_length_and_the_first_of_many_are_the_few() -> None:
    made = fit(clustered(400), 5)
    few, many = (np.concatenate(list(made.draw(count, block=100))) for count in (150, 320))
    assert few.shape == (150, 24) and many.shape == (320, 24) and np.array_equal(few, many[:150])
    assert np.linalg.norm(many, axis=1) == pytest.approx(1, abs=1e-5) and np.isfinite(many).all()


def test_synthetic_distractors_stand_in_the_way_as_real_ones_of_the_same_kind_do() -> None:
    real, other = clustered(2000), clustered(2000, 1)
    drawn = np.concatenate(list(fit(real, 5).draw(2000)))
    highest = [np.sort((clustered(300, 2) @ rows.T).max(1)).mean() for rows in (other, drawn)]
    noise = unit(np.random.default_rng(3).normal(size=(2000, 24)))
    assert highest[1] == pytest.approx(highest[0], abs=0.02) and (clustered(300, 2) @ noise.T).max(1).mean() < highest[0] - 0.1


def test_a_few_or_equal_vectors_can_be_fitted() -> None:
    for rows in (unit(np.ones((3, 8))), clustered(10)):
        drawn = np.concatenate(list(fit(rows, 64).draw(7)))
        assert drawn.shape == (7, rows.shape[1]) and np.isfinite(drawn).all()


def test_trials_are_named_in_the_order_of_the_protocol() -> None:
    people = np.array(["b", "a", "b", "c", "a", "b"])
    trials = identify(clustered(6), people, clustered(20, 1), {"20": 20}, 20)
    named = np.array(_people_of_trials(people))
    assert len(named) == len(trials.person) == 8 and "c" not in named
    assert (np.unique(named, return_inverse=True)[1] == trials.person).all()


def test_a_size_that_real_distractors_do_not_reach_is_named() -> None:
    small = load("small")
    assert small.sizes[-1] == 10_000 and checked_sizes(small, 20_000) == list(small.sizes) and unreached(small, 20_000) == ()
    assert checked_sizes(small, 19_638) == [10, 100, 1000]
    (said,) = unreached(small, 19_638)
    assert said == "synthetic distractors are not checked at 10,000: the half of the real ones that they are not fitted to has 9,819"
    few, unchecked = unreached(small, 900)
    assert few == "no score among 1,000, 10,000 real distractors: there are 900" and "at 1,000, 10,000: " in unchecked and "has 450" in unchecked


def test_enough_real_distractors_are_asked_for_that_the_largest_size_is_checked() -> None:
    for scale in SCALES:
        recipe = load(scale)
        asked = sum(each.most for each in recipe.distractors)
        assert unreached(recipe, int(0.9 * asked)) == (), f"{scale}: a tenth of them may be probe people or have no crop"


def test_photographs_are_taken_evenly() -> None:
    assert evenly(list("abcdefg"), 3) == ["a", "d", "g"] and evenly(list("ab"), 3) == ["a", "b"] and evenly(list("abc"), 1) == ["a"]


# Rows


def test_the_rows_are_what_the_issue_asks_for() -> None:
    rows = {row.name: row for row in rows_of(load("small"))}
    for level in ("early", "mid", "late", "embedding"):
        assert rows[f"joint-{level}"].seed == rows[f"shuffled-{level}"].seed == 1
    for seed in (2, 3):
        assert {f"{name}-seed{seed}" for name in ("identity", "attributes", f"joint-{BEST}", f"shuffled-{BEST}")} <= set(rows)
    assert {"human", "fast"} <= set(rows) and len(rows) == 20
    assert [row.name for row in chosen(tuple(rows.values()), "human")] == [*(f"joint-{level}" for level in ("early", "mid", "late", "embedding")), "human"]


def result(name: str, validation: float = 0.5, numbers: tuple[Number, ...] = ()) -> RowResult:
    return RowResult(
        name=name, kind="", level="", seed=1, scored_on="", parameters=1, images=1, people=1, seconds=1, images_per_second=None, validation=validation, numbers=numbers
    )  # fmt: skip


def test_the_best_level_is_known_when_all_are_done_and_chosen_by_validation_people() -> None:
    rows = rows_of(load("smoke"))
    done = {name: result(name, value) for name, value in (("joint-early", 0.7), ("joint-late", 0.9), ("joint-embedding", 0.8))}
    assert best_level(rows, done) == "late" and best_level(rows, {name: done[name] for name in list(done)[:2]}) is None


# Claims

PEOPLE = np.repeat([f"p{number}" for number in range(100)], 6)
DECIDE = ("trials real 160", "accepted 1e-3 real 160")
MOST = ("trials synthetic 2000", "accepted 1e-6 synthetic 2000")


def board(folder: Path, hits: dict[str, float], most: float | None = None) -> Board:
    """Rows of `smoke` that are right in so large a share of the trials, by person; most: among synthetic distractors, whatever the row."""
    hard = np.random.default_rng(0).random(600)
    numbers = (Number(about="real 160", metric="rank1", value=0.5), Number(about="synthetic 2000", metric="rank1", value=0.5))
    rows = {}
    for name, share in hits.items():
        right = {array: hard < (share if most is None or "real" in array else most) for array in (*DECIDE, *MOST)}
        arrays = {array: np.where(own, 1, 5) if array.startswith("trials") else own.astype(np.float32) for array, own in right.items()}
        write_arrays(folder / "rows" / name / "arrays.npz", arrays | {"trials people": PEOPLE})
        rows[name] = result(name, 0.9 if name == "joint-late" else 0.5, numbers)
    return Board(load("smoke"), folder, rows)


EVERY = {"joint-early": 0.5, "joint-late": 0.6, "joint-embedding": 0.5, "joint-best-seed2": 0.61, "identity": 0.4, "identity-seed2": 0.41}
CONTROL = {"shuffled-late": 0.5, "shuffled-best-seed2": 0.51}


def test_the_claim_is_shown_only_where_joint_beats_shuffled_and_not_merely_identity(tmp_path: Path) -> None:
    better = judge(board(tmp_path / "1", EVERY | CONTROL))[0]
    assert better.verdict == "holds" and {(found.measure.array, found.without) for found in better.found} == {
        (array, row) for array in DECIDE for row in ("identity", "shuffled")
    }
    assert better.found[0].gap.seeds == pytest.approx((0.1, 0.1), abs=0.05)
    merely = judge(board(tmp_path / "2", EVERY | {"shuffled-late": 0.6, "shuffled-best-seed2": 0.61}))[0]
    assert {found.verdict for found in merely.found if found.without == "identity"} == {"holds"} and merely.verdict == "undecidable"
    worse = judge(board(tmp_path / "3", EVERY | {"shuffled-late": 0.8, "shuffled-best-seed2": 0.81}))[0]
    assert worse.verdict == "fails"


def test_the_most_distractors_are_a_claim_of_their_own_and_decide_nothing_else(tmp_path: Path) -> None:
    recognition, largest, _ = judge(board(tmp_path, EVERY | CONTROL, most=0.001))
    assert recognition.verdict == "holds" and largest.verdict == "undecidable"
    assert {found.measure.array for found in largest.found} == {"trials real 160", *MOST} and "million" in largest.words
    nobody = judge(board(tmp_path / "none", {"identity": 0.5}))
    assert [each.claim for each in nobody] == [claims.RECOGNITION, claims.LARGEST, claims.ATTRIBUTES] and {each.verdict for each in nobody} == {"undecidable"}


def test_what_decides_is_chosen_before_any_row_is_seen(tmp_path: Path) -> None:
    """Of small's sizes 1,000 real distractors; nothing that a row scored can change that."""
    few = board(tmp_path, {"identity": 0.5})
    assert (claims.rank1, claims.tar_of_thousand) == claims.DECIDING and [each.array for each in few.deciding] == list(DECIDE)
    numbers = tuple(Number(about=f"real {size}", metric="rank1", value=0.5) for size in (*load("small").sizes, 22_541))
    full = Board(load("small"), tmp_path, {"identity": result("identity", numbers=numbers)})
    assert [each.words for each in full.deciding] == ["rank 1 among 1,000 real distractors", "TAR at FAR 1e-3 among 1,000 real distractors"]


def test_without_the_control_nothing_is_shown(tmp_path: Path) -> None:
    assert judge(board(tmp_path, EVERY))[0].verdict == "undecidable"


def gap_of(low: float, high: float, seeds: tuple[float, ...], people: int = 100) -> Gap:
    return Gap(claims.Estimate((low + high) / 2, low, high, 100), 0.01, seeds, people)


def test_a_verdict_needs_all_seeds_alike_enough_people_and_holm() -> None:
    clear = gap_of(0.01, 0.09, (0.02, 0.08))
    assert decide(clear, 0.04, 2) == ("holds", "") and decide(gap_of(-0.09, -0.01, (-0.1, -0.01)), 0.04, 2) == ("fails", "")
    assert decide(gap_of(0.01, 0.09, (0.12, -0.02)), 0.04, 2) == ("undecidable", "seeds disagree")
    assert decide(clear, 0.06, 2) == ("undecidable", "p by Holm is 0.06") and decide(clear, 0.04, 3) == ("undecidable", "2 of 3 seeds are done")
    assert decide(gap_of(0.01, 0.09, (0.05,)), 0.04, 1)[0] == "undecidable", "one seed says nothing of others"
    assert "at least 20" in decide(gap_of(0.01, 0.09, (0.02, 0.08), people=19), 0.04, 2)[1]
    assert decide(gap_of(-0.01, 0.09, (0.02, 0.08)), 0.04, 2) == ("undecidable", "the interval holds 0")


def test_holm_is_over_what_decides_a_claim_alone(tmp_path: Path) -> None:
    made = board(tmp_path, EVERY | CONTROL)
    for found in judge(made)[0].found:
        p = claims.compare(made, "joint", found.without, found.measure).p  # type: ignore[union-attr]
        assert found.adjusted == pytest.approx(4 * p), "all four are as sure as draws can be"


def test_seeds_that_scatter_widen_an_interval_over_people() -> None:
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(100), 6)
    both = np.stack([people, people], axis=1)
    pairs = [(Hits((random.random(600) < 0.5).astype(float), both), Hits((random.random(600) < 0.4).astype(float), both)) for _ in range(3)]
    narrow, wide = gap(pairs), gap(pairs, Scatter(0.1, 6))
    assert narrow.estimate.value == wide.estimate.value == pytest.approx(np.mean(narrow.seeds))
    assert wide.estimate.low < narrow.estimate.low - 0.1 and wide.p > narrow.p
    assert gap(pairs[:1], Scatter(0.1, 6)) == gap(pairs[:1]), "of one seed nothing is known about others"


def test_both_people_of_a_pair_are_drawn_as_the_scores_of_pairs_draw_them() -> None:
    """By a slow reference: the gap of accuracies of LFW's convention, from embeddings, which is a mean over five folds and not over pairs."""
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 3)
    better, worse = (random.normal(size=(30, 8))[people] + noise * random.normal(size=(90, 8)) for noise in (0.6, 1.5))
    left, right = random.integers(0, 90, (2, 400))
    left, right = left[left != right], right[left != right]
    same, fold = people[left] == people[right], np.arange(len(left)) % 5
    expected = accuracy_gap(better, worse, left, right, same, fold, people)
    whose = np.stack([people[left], people[right]], axis=1)
    given, without = (Hits(score_pairs(each, left, right, same, fold, None, draws=0).lfw.correct.astype(float), whose) for each in (better, worse))  # type: ignore[union-attr]
    found = gap([(given, without)]).estimate
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=2e-3) and found.value == pytest.approx(expected.value, abs=1e-3)
    alone = gap([(Hits(given.correct, whose[:, :1].repeat(2, 1)), Hits(without.correct, whose[:, :1].repeat(2, 1)))]).estimate
    assert alone.high - alone.low < found.high - found.low, "by the left face alone it would be too narrow"
