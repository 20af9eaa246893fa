"""People among distractors: synthetic ones are drawn as promised, trials have the order of the protocol, and the claim is shown only against the control."""

from pathlib import Path

import numpy as np
import pytest

from polyface.evaluation.protocols.megaface import identify
from polyface.files import write_arrays
from polyface.papers import joint_claims as claims
from polyface.papers.joint_claims import Board, judge, verdict
from polyface.papers.joint_config import SCALES, load
from polyface.papers.joint_faces import evenly
from polyface.papers.joint_runs import BEST, best_level, chosen, rows_of
from polyface.papers.joint_scores import Number, RowResult, _people_of_trials, checked_sizes, unreached
from polyface.papers.joint_synthetic import fit


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
        name=name, kind="", level="", seed=1, parameters=1, images=1, people=1, seconds=1, images_per_second=None, validation=validation, numbers=numbers
    )  # fmt: skip


def test_the_best_level_is_known_when_all_are_done_and_chosen_by_validation_people() -> None:
    rows = rows_of(load("smoke"))
    done = {name: result(name, value) for name, value in (("joint-early", 0.7), ("joint-late", 0.9), ("joint-embedding", 0.8))}
    assert best_level(rows, done) == "late" and best_level(rows, {name: done[name] for name in list(done)[:2]}) is None


# Claims


def board(folder: Path, hits: dict[str, float]) -> Board:
    """Rows of `smoke` whose rank is 1 in so large a share of the trials, by person."""
    random = np.random.default_rng(0)
    hard = random.random(600)
    numbers = (Number(about="real 160", metric="rank1", value=0.5), Number(about="synthetic 2000", metric="rank1", value=0.5))
    rows = {}
    for name, share in hits.items():
        ranks = np.where(hard < share, 1, 5)
        arrays = {f"trials {about}": ranks for about in ("real 160", "synthetic 2000")}
        write_arrays(folder / "rows" / name / "arrays.npz", arrays | {"trials people": np.repeat([f"p{number}" for number in range(100)], 6)})
        rows[name] = result(name, 0.9 if name == "joint-late" else 0.5, numbers)
    return Board(load("smoke"), folder, rows)


EVERY = {"joint-early": 0.5, "joint-late": 0.6, "joint-embedding": 0.5, "joint-best-seed2": 0.61, "identity": 0.4, "identity-seed2": 0.41}


def test_the_claim_is_shown_only_where_joint_beats_shuffled_and_not_merely_identity(tmp_path: Path) -> None:
    better = judge(board(tmp_path / "1", EVERY | {"shuffled-late": 0.5, "shuffled-best-seed2": 0.5}))[0]
    assert better.verdict == "holds" and {found.without for found in better.found} == {"identity", "shuffled"} and len(better.found) == 4
    assert better.found[0].seeds == pytest.approx((0.1, 0.11), abs=0.05)
    merely = judge(board(tmp_path / "2", EVERY | {"shuffled-late": 0.6, "shuffled-best-seed2": 0.61}))[0]
    assert {found.verdict for found in merely.found if found.without == "identity"} == {"holds"} and merely.verdict == "undecidable"
    worse = judge(board(tmp_path / "3", EVERY | {"shuffled-late": 0.8, "shuffled-best-seed2": 0.8}))[0]
    assert worse.verdict == "fails"


def test_without_the_control_nothing_is_shown(tmp_path: Path) -> None:
    assert judge(board(tmp_path, EVERY))[0].verdict == "undecidable"


def test_seeds_that_disagree_leave_a_difference_undecided() -> None:
    estimate = claims.Estimate(0.05, 0.01, 0.09, 100)
    assert verdict(estimate, (0.02, 0.08)) == "holds" and verdict(estimate, (0.12, -0.02)) == "undecidable"
