"""Exact search against the slow and obvious one at the top of this file: every pair scored in plain Python, everything sorted."""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from polyface.errors import InputError, RequestError, RunError
from polyface.evaluation import search as searching
from polyface.evaluation import search_codes, search_gallery, search_pass, search_scan, search_scores
from polyface.evaluation.search import Mates, kept_for, mates_in_gallery, mates_outside, merge, search
from polyface.evaluation.search_codes import ABOVE, FEW, FLOAT32, Product
from polyface.evaluation.search_gallery import build_codes, open_gallery
from polyface.metrics import verification


def score(one, other):
    """Products in float64, the second half of the list added to the first until one number is left."""
    terms = [float(a) * float(b) for a, b in zip(one, other, strict=True)]
    while len(terms) > 1:
        half = (len(terms) + 1) // 2
        terms = [a + b for a, b in zip(terms[:half], [*terms[half:], 0.0], strict=False)]
    return terms[0]


def compare_everything(probes, gallery, k, mates, least, skip, subsets, largest):
    scores = np.array([[score(probe, row) for row in gallery] for probe in probes])
    skipped = set(zip(*(each.tolist() for each in skip), strict=True))
    known = skipped | set(zip(mates.probe.tolist(), mates.row.tolist(), strict=True))
    rows, best = np.full((len(probes), k), -1), np.full((len(probes), k), -np.inf)
    for probe in range(len(probes)):
        order = sorted((-scores[probe, row], row) for row in range(len(gallery)) if (probe, row) not in skipped and scores[probe, row] >= least)
        for place, (negative, row) in enumerate(order[:k]):
            rows[probe, place], best[probe, place] = row, -negative
    above, equal, tops, counts = [], [], [], []
    for subset in subsets.values():
        members = range(len(gallery)) if subset is None else range(subset) if isinstance(subset, int) else subset.tolist()
        strangers = [[scores[probe, row] for row in members if (probe, row) not in known] for probe in range(len(probes))]
        above.append([sum(s > mate for s in strangers[probe]) for probe, mate in zip(mates.probe, mates.score, strict=True)])
        equal.append([sum(s == mate for s in strangers[probe]) for probe, mate in zip(mates.probe, mates.score, strict=True)])
        everybody = sorted((s for each in strangers for s in each), reverse=True)
        tops.append(everybody[:largest])
        counts.append(len(everybody))
    return rows, best, np.array(above).T, np.array(equal).T, tops, counts


def assert_same(found, expected):
    rows, best, above, equal, tops, counts = expected
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.scores, best)
    np.testing.assert_array_equal(found.above, above)
    np.testing.assert_array_equal(found.equal, equal)
    assert [each.tolist() for each in found.largest] == tops
    assert found.impostors.tolist() == counts


def drawn(seed, probes=8, rows=50, d=16):
    random = np.random.default_rng(seed)
    return tuple(random.normal(size=(n, d)).astype(np.float32) for n in (probes, rows))


@pytest.fixture
def small(monkeypatch):
    """Galleries of a few rows have many chunks, and their rows are coded."""
    set_sizes(monkeypatch, first=8, block=32, enough=1)


def set_sizes(patch, first, block, enough, cells=64, group=4, sparse=4, many=2):
    for module in (search_gallery, search_scan):
        patch.setattr(module, "BLOCK", block)
    patch.setattr(search_gallery, "FIRST", first)
    patch.setattr(search_scan, "WIDTH", first)
    for module, name, value in ((search_scan, "CELLS", cells), (search_scan, "GROUP", group), (search_scan, "MANY", many), (search_scores, "SPARSE", sparse)):
        patch.setattr(module, name, value)
    patch.setattr(searching, "ENOUGH", enough)


KINDS = {
    "plain": lambda random, plain, base: plain,
    "whole numbers, many ties": lambda random, plain, base: random.integers(-2, 3, plain.shape),
    "a decaying spectrum": lambda random, plain, base: plain * 2.0 ** -np.arange(len(base)),
    "few different rows": lambda random, plain, base: plain[random.integers(0, max(1, len(plain) // 5), len(plain))],
    "zero vectors": lambda random, plain, base: plain * (random.random((len(plain), 1)) < 0.6),
    "all alike, within a rounding of each other": lambda random, plain, base: base * (1 + 2.0**-23 * random.integers(-1, 2, plain.shape)),
    "of very different length": lambda random, plain, base: plain * 10.0 ** random.integers(-22, 15, (len(plain), 1)),
    "one coordinate each": lambda random, plain, base: np.eye(len(base))[random.integers(0, len(base), len(plain))] * random.choice([-1, 1], (len(plain), 1)),
    "numbers that float32 hardly holds": lambda random, plain, base: plain * 1e-42,
}
"""What search meets, and what is made to be hard for it."""


def vectors(random, kind, n, base):
    return KINDS[kind](random, random.normal(size=(n, len(base))), base).astype(np.float32)


@hypothesis_settings(max_examples=60)
@given(st.data())
def test_search_finds_what_comparing_everything_finds(data):
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 10**6), "seed"))
    d, n, p = draw(st.sampled_from([1, 2, 3, 8, 13, 16, 32]), "d"), draw(st.integers(1, 60), "rows"), draw(st.integers(1, 9), "probes")
    kind, base = draw(st.sampled_from(sorted(KINDS)), "kind"), random.normal(size=d)
    probes, gallery = vectors(random, kind, p, base), vectors(random, kind, n, base)
    who = random.integers(0, p, draw(st.integers(0, 20), "mates"))
    if draw(st.booleans(), "mates in the gallery"):
        mates = mates_in_gallery(probes, gallery, who, random.integers(0, n, len(who)))
    else:
        mates = mates_outside(probes, gallery[random.integers(0, n, 5)].copy(), who, random.integers(0, 5, len(who)))
    skipped = draw(st.integers(0, 1), "pairs that are not compared") * 5
    skip = tuple(random.integers(0, end, skipped) for end in (p, n))
    subsets = {"all": None, "first": int(random.integers(0, n + 1)), "some": random.permutation(n)[: random.integers(0, n + 1)]}
    some = score(probes[random.integers(0, p)], gallery[random.integers(0, n)])
    least = draw(st.sampled_from([-np.inf, some, np.nextafter(some, np.inf), np.nextafter(some, -np.inf), 0.0, 1e30]), "least")
    asked = (draw(st.integers(0, 6), "k"), mates, least, skip, subsets, draw(st.sampled_from([0, 1, 3, 50]), "largest"))
    expected = compare_everything(probes, gallery, *asked)
    with pytest.MonkeyPatch.context() as patch:
        first, block = draw(st.sampled_from([(4, 16), (16, 64), (2048, 16384)]), "chunks")
        set_sizes(patch, first, block, draw(st.sampled_from([1, 10**9])), *draw(st.sampled_from([(32, 4, 1, 1), (64, 4, 4, 2), (2**21, 1024, 64, 2**16)]), "tiles"))
        make = draw(st.sampled_from(["array", "parts", "iterator", "codes"]), "gallery")
        whole = {
            "array": lambda: gallery,
            "parts": lambda: [gallery[: n // 2], gallery[n // 2 :]],
            "iterator": lambda: iter([gallery[: n // 3], gallery[n // 3 :]]),
            "codes": lambda: build_codes(gallery),
        }[make]()
        product = draw(st.sampled_from([None, FLOAT32]), "product")
        assert_same(search(probes, whole, *asked, product=product), expected)


def test_scores_that_differ_in_their_last_bits_are_told_apart(small):
    """Rows whose true scores lie closer together than any product's error, in an order that is none of theirs."""
    random = np.random.default_rng(0)
    probes = random.normal(size=(3, 64)).astype(np.float32)
    gallery = np.repeat(random.normal(size=(1, 64)), 90, axis=0).astype(np.float32)
    gallery[np.arange(90), random.integers(0, 64, 90)] *= 1 + 2.0**-23 * random.integers(-2, 3, 90).astype(np.float32)
    mates = mates_in_gallery(probes, gallery, np.arange(3), np.array([5, 40, 80]))
    scores = np.unique([score(probes[0], row) for row in gallery])
    assert 3 < len(scores) < 90 and np.ptp(scores) < 1e-5
    for least in (-np.inf, scores[len(scores) // 2], np.nextafter(scores[len(scores) // 2], np.inf)):
        asked = (60, mates, least, (np.zeros(0, int), np.zeros(0, int)), {"all": None}, 7)
        expected = compare_everything(probes, gallery, *asked)
        assert least == -np.inf or 0 < np.count_nonzero(expected[0][0] >= 0) < 60  # the line lies among them
        for product in (None, FLOAT32):
            assert_same(search(probes, gallery, *asked, product=product), expected)


@pytest.mark.parametrize("d", [1, 2, 5, 64, 100, 129, 512])
@pytest.mark.parametrize("kind", KINDS)
def test_no_score_lies_outside_its_bound(d, kind):
    random = np.random.default_rng(d)
    base = random.normal(size=d)
    probes, rows = vectors(random, kind, 40, base), vectors(random, kind, 60, base)
    exact = probes.astype(np.longdouble) @ rows.T.astype(np.longdouble)
    codes, own = search_codes.code_probes(probes)
    coded = search_codes.code_rows(rows)
    assert_bounded(codes.astype(np.int64) @ (coded.codes.T.astype(np.int64) - ABOVE), own, coded.side, exact[:, coded.order])
    assert sorted(coded.order) == list(range(60)) and (np.diff(coded.side.scale) >= 0).all()
    floats = (search_scores.float_side_of_probes(probes), search_scores.float_side_of_rows(rows))
    assert_bounded(probes @ rows.T, *floats, exact)
    assert (search_codes.norms_of_coded(coded.side) >= np.linalg.norm(rows.astype(np.longdouble), axis=1)[coded.order]).all()
    i, j = np.divmod(np.arange(exact.size), 60)
    assert_bounded(search_scores.float_scores(probes, rows, i, j).reshape(exact.shape), *floats, exact)
    assert_bounded(search_scores.exact_scores(probes, rows, i, j).reshape(exact.shape), *floats, exact)


@hypothesis_settings(max_examples=60)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.0, 1e-3, 1.0]), st.sampled_from([0.0, 2.0**-26, 2.0**-30]))
def test_what_a_grid_says_of_a_whole_row_is_what_the_bounds_of_its_cells_say(seed, integers, unsure, beside):
    """Bars lie on a cell's bound, and so near it that float32 could not tell; `exceeding` is never wrong, and `reaching` misses nothing."""
    random = np.random.default_rng(seed)
    values = random.integers(-9, 10, (5, 12)).astype(np.int32) if integers else random.normal(size=(5, 12)).astype(np.float32)
    own = search_scores.Side(random.uniform(0.5, 2, 5) if integers else np.ones(5), *(unsure * random.random((2, 5))))
    rows = search_scores.Side(random.uniform(0.9, 1.1, 12) if integers else np.ones(12), *random.random((2, 12)))
    grid, everyone = search_scores.Grid(values, own, rows), np.arange(5)
    low, high = (bound.reshape(5, 12) for bound in grid.bounds(*np.divmod(np.arange(60), 12)))
    spare = 2.0**-40 * (np.abs(values).max() + 2)  # what float64 loses, which the bounds make up for
    for column in range(12):
        for bound in (low[:, column], high[:, column], values[:, column] * grid.small - grid.error):
            for bars in (bound, bound + beside * np.abs(values[:, column]), bound - beside * np.abs(values[:, column])):
                sure = grid.exceeding(bars, everyone)
                assert (low > bars[:, None] - spare)[sure].all()
                assert grid.reaching(bars, everyone)[high >= bars[:, None] + spare].all()
                assert not (sure & ~grid.reaching(bars, everyone)).any()
                np.testing.assert_array_equal(grid.touching(bars, everyone), grid.reaching(bars, everyone).any(axis=1))


def assert_bounded(values, own, side, exact):
    error = own.first[:, None] * side.first.astype(float) + own.second[:, None] * side.second.astype(float)
    assert (np.abs(values * (own.scale[:, None] * side.scale.astype(float)) - exact) <= error).all()


def test_the_bound_of_unit_vectors_of_512_is_what_the_issue_names():
    for spectrum in (np.ones(512), np.arange(1, 513) ** -1.0):
        probes, rows = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (array * spectrum for array in drawn(0, 50, 50, 512)))
        _, own = search_codes.code_probes(probes.astype(np.float32))
        coded = search_codes.code_rows(rows.astype(np.float32))
        assert 0.008 < np.mean(own.first[:, None] * coded.side.first + own.second[:, None] * coded.side.second) < 0.016


@pytest.mark.parametrize("d", [1, 2, 8, 12, 129])
def test_what_was_turned_has_the_scores_that_it_had(d):
    """A^T B = 1: in float64, to rounding, for one Hadamard matrix and for several."""
    probes, rows = (each.astype(np.float64) for each in drawn(d, d=d))
    turned = search_codes._turned(probes.T.copy(), up=False).T @ search_codes._turned(rows.T.copy(), up=True)
    np.testing.assert_allclose(turned, probes @ rows.T, atol=1e-12)


def test_scores_are_added_in_the_order_that_is_promised():
    probes, rows = drawn(3, 4, 5, d=37)
    i, j = np.divmod(np.arange(20), 5)
    assert search_scores.exact_scores(probes, rows, i, j).tolist() == [score(probes[a], rows[b]) for a, b in zip(i, j, strict=True)]


def test_a_collapsed_model_hits_nobody_and_ties_go_by_row(small):
    probes, gallery = np.ones((5, 8), np.float32), np.ones((70, 8), np.float32)
    mates = mates_outside(probes, probes, np.arange(5), np.roll(np.arange(5), 1))
    found = search(probes, gallery, k=3, mates=mates, largest=20)
    assert (found.ranks("all") == 71).all() and (found.above == 0).all() and (found.equal == 70).all()
    assert (found.rows == [0, 1, 2]).all() and (found.scores == 8).all()
    assert found.threshold("all", 0.05) == (np.nextafter(8, 9), 0.0)


def test_what_is_under_the_least_score_is_not_asked_about(small, monkeypatch):
    """Of pairs that are far under it, none gets a second product, and none an exact score."""
    probes, gallery = drawn(5, 6, 90, d=64)
    gallery[40] = probes[2]
    asked = []
    monkeypatch.setattr(search_scan, "exact_scores", lambda *given: asked.extend(given[2].tolist()) or search_scores.exact_scores(*given))
    monkeypatch.setattr(search_scan, "float_scores", lambda *given: asked.extend(given[2].tolist()) or search_scores.float_scores(*given))
    found = search(probes, gallery, k=3, least=score(probes[2], probes[2]))
    assert found.rows.tolist() == [[-1] * 3] * 2 + [[40, -1, -1]] + [[-1] * 3] * 3 and found.scores[2, 0] == score(probes[2], probes[2])
    assert asked == [2, 2]  # by float32 first, then exactly


def test_of_a_chunk_hardly_more_than_the_best_are_scored_exactly(monkeypatch):
    probes, gallery = drawn(7, 20, 2000, d=64)
    asked = []
    monkeypatch.setattr(search_scan, "exact_scores", lambda *given: asked.extend(given[2].tolist()) or search_scores.exact_scores(*given))
    search(probes, gallery, k=3)
    assert 20 * 3 <= len(asked) <= 20 * 4


def test_nobody_who_is_looked_for_is_found_nowhere():
    found = search(np.zeros((0, 4), np.float32), np.eye(4, dtype=np.float32), 2)
    assert found.rows.shape == found.scores.shape == (0, 2) and found.gallery == 4


def test_a_mates_own_row_and_other_mates_are_never_counted(small):
    """Two photographs of the probe's person, the lower of which is beaten by the other and by one stranger, and a probe that lies in the gallery itself."""
    gallery = np.array([[1.0], [0.9], [0.7], [0.5], [0.1]], np.float32)
    probes = np.array([[1.0]], np.float32)
    mates = mates_in_gallery(probes, gallery, np.array([0, 0]), np.array([1, 3]))
    found = search(probes, gallery, k=4, mates=mates, skip=(np.array([0]), np.array([0])), largest=10)
    assert found.ranks("all").tolist() == [1, 2]
    assert found.rows.tolist() == [[1, 2, 3, 4]]  # mates are among the best, what is skipped is nowhere
    assert found.largest[0].tolist() == [gallery[2, 0], gallery[4, 0]] and found.impostors.tolist() == [2]


def test_the_threshold_at_a_far_is_that_of_the_worked_example_and_of_the_whole_curve():
    """papers.md D15: genuine {.9 .8 .4}, impostors {.7 .5 .3 .1}; and `verification.tar_at_far`, which has all scores before it."""
    genuine, impostors = (np.array(each, np.float32)[:, None] for each in ([0.9, 0.8, 0.4], [0.7, 0.5, 0.3, 0.1]))
    found = search(np.ones((1, 1), np.float32), impostors, k=0, largest=4)
    for far, tar in ((0.25, 2 / 3), (0.5, 1), (1, 1)):
        threshold, reached = found.threshold("all", far)
        assert np.mean(genuine >= threshold) == tar and reached <= far
    with pytest.raises(InputError, match="needs 5 impostor pairs, all has 4"):
        found.threshold("all", 0.2)
    for far in (0, -0.1, 1.1, np.nan):
        with pytest.raises(InputError, match="above 0 and at most 1 is needed"):
            found.threshold("all", far)
    probes, gallery = (np.round(each) for each in drawn(5, 6, 80, d=4))  # ties
    mates = mates_outside(probes, gallery[:9].copy(), np.arange(9) % 6, np.arange(9))
    found = search(probes, gallery, k=0, mates=mates, largest=kept_for(0.2, 480))
    scores = (probes.astype(float) @ gallery.T.astype(float)).ravel()
    curve = verification.roc(np.concatenate([mates.score, scores]), np.arange(9 + 480) < 9)
    for far in (0.01, 0.05, 0.2):
        threshold, reached = found.threshold("all", far)
        assert np.mean(mates.score >= threshold) == verification.tar_at_far(curve, far).point.tar
        assert reached == np.mean(scores >= threshold) <= far < np.mean(scores >= np.nextafter(threshold, -np.inf))
    with pytest.raises(RequestError, match="needs their 241 largest scores, 97 were kept"):
        found.threshold("all", 0.5)


@pytest.mark.parametrize("product", [None, FLOAT32])
def test_a_float16_gallery_is_searched_as_its_numbers_are(product, small):
    probes, gallery = drawn(1)
    halves = gallery.astype(np.float16)
    expected = search(probes, halves.astype(np.float32), product=product)
    np.testing.assert_array_equal(search(probes, halves, product=product).scores, expected.scores)


def test_parts_of_a_gallery_searched_by_two_processes_are_one_search(tmp_path):
    probes, gallery = drawn(2, 6, 90)
    gallery[60:70] = gallery[:10]  # ties across parts
    np.save(tmp_path / "gallery.npy", gallery)
    mates = mates_in_gallery(probes, gallery, np.arange(6), np.arange(6) * 15)
    asked = dict(k=5, mates=mates, least=7.0, subsets={"all": None, "first": 50, "some": np.arange(0, 90, 7)}, largest=9)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(search, probes, gallery[begin:end], **asked, part=(begin, 90)) for begin, end in ((0, 40), (40, 90))]
        merged = merge([part.result() for part in reversed(parts)])
    expected = compare_everything(probes, gallery, 5, mates, asked["least"], (np.zeros(0, int), np.zeros(0, int)), asked["subsets"], 9)
    assert_same(merged, expected)
    assert merged.gallery == 90
    with pytest.raises(RequestError, match="different searches"):
        merge([search(probes, gallery, k=5), search(probes, gallery, k=4)])


@pytest.mark.parametrize(
    ("cuts", "words"),
    [
        ([(0, 20), (40, 60)], "rows 20 to 39 are in no part"),
        ([(20, 40), (40, 60)], "rows 0 to 19 are in no part"),
        ([(0, 20), (20, 40)], "rows 40 to 59 are in no part"),
        ([(0, 20), (20, 40), (0, 20), (40, 60)], "rows from 0 on are in two parts"),
        ([(0, 40), (20, 60)], "rows from 20 on are in two parts"),
        ([], "no parts"),
    ],
)
def test_parts_that_are_not_the_whole_gallery_once_are_no_search(cuts, words):
    probes, gallery = drawn(2, 3, 60)
    with pytest.raises(RequestError, match=words):
        merge([search(probes, gallery[begin:end], part=(begin, 60)) for begin, end in cuts])
    assert merge([search(probes, gallery[begin:end], part=(begin, 60)) for begin, end in ((20, 20), (20, 60), (0, 20))]).gallery == 60
    with pytest.raises(RequestError, match="different galleries, of 60 and of 61 rows"):
        merge([search(probes, gallery[:20], part=(0, 60)), search(probes, gallery[20:], part=(20, 61))])


def test_a_part_that_reaches_over_the_end_of_its_gallery_is_refused():
    probes, gallery = drawn(2, 3, 10)
    for part in ((5, 8), (-1, 20)):
        with pytest.raises(InputError, match=f"part: 10 rows from row {part[0]} on, the gallery has {part[1]} rows"):
            search(probes, gallery, part=part)
    with pytest.raises(RunError, match="part: 10 rows from row 5 on, the gallery has 8 rows"):
        search(probes, iter([gallery]), part=(5, 8))


class Broken(Exception):
    pass


def test_a_broken_pass_goes_on_where_it_was(small, tmp_path, monkeypatch):
    probes, gallery = drawn(4, 6, 100)
    mates, state = mates_in_gallery(probes, gallery, np.arange(6), np.arange(6) * 15), tmp_path / "state.npz"
    asked = dict(mates=mates, largest=9, subsets={"all": None, "first": 30})
    expected = search(probes, gallery, **asked)
    monkeypatch.setattr(searching, "SAVE_SECONDS", 0)

    def stop(done, total=None, more=""):
        assert total == 100 and more == f"by {expected.by}"
        if done > 40:
            raise Broken

    with pytest.raises(Broken):
        search(probes, gallery, **asked, state=state, report=stop)
    seen = []
    monkeypatch.setattr(search_pass, "scan", lambda plan, chunk, bars: seen.append(len(chunk.ids)) or search_scan.scan(plan, chunk, bars))
    with pytest.raises(RequestError, match="kept by another search"):
        search(probes, gallery, mates=mates, state=state)
    again = search(probes, gallery, **asked, state=state)
    assert sum(seen) == 100 - 32 and not state.exists()
    for name in ("rows", "scores", "above", "equal", "impostors"):
        np.testing.assert_array_equal(getattr(again, name), getattr(expected, name))
    assert [each.tolist() for each in again.largest] == [each.tolist() for each in expected.largest]
    np.save(tmp_path / "whole.npy", np.concatenate([gallery, -gallery]))
    whole = search_gallery.open_gallery(tmp_path / "whole.npy")
    assert search_gallery.file_of(whole) and not search_gallery.file_of(whole[: len(gallery)]), "a part of a file is known by its bytes"
    with pytest.raises(RequestError, match="a gallery that is iterated cannot go on"):  # it may be another one the next time
        search(probes, iter([gallery]), state=state)
    state.write_bytes(b"PK, but no archive")
    with pytest.raises(RequestError, match=r"state\.npz: not the record of a search"):
        search(probes, gallery, **asked, state=state)


@pytest.mark.parametrize("shape", [(1, 20), (1, 1), (5, 20), (FEW, 3), (FEW + 1, 7)])
def test_the_product_of_onnxruntime_is_that_of_the_integers(shape):
    probes, rows = (np.random.default_rng(0).integers(-127, 128, (size, 24), np.int8) for size in shape)
    product = search_codes.best_product()
    assert product.multiply is not None, "int8 products are exact here, or this machine has no 8-bit dot products"
    found = np.empty(shape, np.int32)
    product.multiply(probes, rows.view(np.uint8) ^ ABOVE, found)
    np.testing.assert_array_equal(found, probes.astype(int) @ rows.T.astype(int))


def saturating(probes, rows, product):
    """Pairs of products are added in 16 bits, as vpmaddubsw does."""
    products = rows.astype(np.int32)[:, None] * probes.astype(np.int32)
    sums = np.clip(products[:, :, ::2] + products[:, :, 1::2], -(2**15), 2**15 - 1).sum(axis=2)
    product[:] = sums.T - ABOVE * probes.sum(axis=1, dtype=np.int32)[:, None]


def test_a_product_that_saturates_is_refused():
    with pytest.raises(RunError, match="bad products are not exact on this machine"):
        search(*drawn(0), product=Product("bad products", saturating))


def test_the_onnx_file_that_is_written_by_hand_is_one():
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load_from_string(search_codes._matmul()), full_check=True)


def test_torchs_product_finds_the_same(small):
    torch = pytest.importorskip("torch")

    def multiply(probes, rows, product):
        torch._int_mm(torch.from_numpy(probes), torch.from_numpy((rows ^ ABOVE).view(np.int8)).T, out=torch.from_numpy(product))

    product = Product("int8 products of torch", multiply)
    probes, gallery = drawn(6, 8, 60)
    found, expected = search(probes, gallery, product=product, largest=5), search(probes, gallery, largest=5)
    assert found.by == product.name != expected.by
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.largest[0], expected.largest[0])


# What is refused.


def mapped(path, array):
    np.save(path, array)
    return open_gallery(path)


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, r"row 33 is not finite \(nan\)"), (-np.inf, r"row 33 is not finite \(-inf\)"), (1e20, "row 33 is 1.*e\\+20, too large")]
)
def test_rows_that_are_no_embedding_are_refused_by_file_and_row_before_anything_is_compared(value, words, tmp_path, small, monkeypatch):
    monkeypatch.setattr(search_pass, "scan", None)
    probes, gallery = drawn(0)
    gallery[33, 3] = value
    rows = mapped(tmp_path / "faces.npy", gallery)
    for attempt in (lambda: search(probes, rows), lambda: search(probes, [gallery[:9], rows]), lambda: build_codes(rows)):
        with pytest.raises(InputError, match=rf"faces\.npy: {words}"):
            attempt()
    with pytest.raises(InputError, match=f"probes: {words}"):
        search(gallery, probes)
    with pytest.raises(InputError, match=r"mates: row 33 of .*faces\.npy, or row 0 of the probes, is not finite") if value != 1e20 else pytest.raises(TypeError):
        mates_in_gallery(probes, rows, np.array([0]), np.array([33]))
        raise TypeError


def test_an_iterated_gallery_is_refused_when_its_part_comes(small):
    probes, gallery = drawn(0)
    gallery[33, 3] = np.nan
    with pytest.raises(InputError, match="the gallery's part 1: row 3 is not finite"):
        search(probes, (gallery[start : start + 30] for start in (0, 30)))


def test_rows_of_another_length_are_refused(small):
    probes, gallery = drawn(0)
    for whole in (gallery[:, :-1], build_codes(gallery[:, :-1]), [gallery, gallery[:, :-1]], iter([gallery[:, :-1]])):
        with pytest.raises(InputError, match="rows of 15 numbers, those of the probes have 16"):
            search(probes, whole)
    with pytest.raises(InputError, match="faces: rows of 15 numbers, those of the probes have 16"):
        mates_outside(probes, gallery[:, :-1], np.array([0]), np.array([0]))


def test_galleries_that_are_cut_short_or_of_another_kind_are_refused_by_name(tmp_path):
    _, gallery = drawn(0)
    path = tmp_path / "faces.npy"

    def refused(content, words):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content)
        with pytest.raises(InputError, match=rf"faces\.npy: {words}"):
            open_gallery(path)

    np.save(path, gallery)
    whole = path.read_bytes()
    np.testing.assert_array_equal(open_gallery(path), gallery)
    refused(whole[: 128 + 64 * 7 + 3], "cut short: its header promises 50 rows of 16 float32, the file ends in row 7")
    refused(whole + whole[-64:], "its header promises 50 rows of 16 float32, 64 more bytes follow")
    refused(whole[:40], "not a .npy file, or cut short in its header")
    refused(b"not an array at all", "not a .npy file")
    refused(gallery.astype(">f4"), r"f4 of the other byte order \(big-endian\)")
    refused(gallery.astype(np.float64), "float64; scores are of float32 or float16")
    refused(gallery.astype(np.int64), "int64; scores are of float32 or float16")
    refused(np.asfortranarray(gallery), "stored column by column")
    refused(gallery[0], "an array of 1 dimensions")
    path.unlink()
    with pytest.raises(InputError, match=r"faces\.npy: No such file"):
        open_gallery(path)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (dict(subsets={"all": None, "1000": 51}), "subset 1000: row 50 is named, the gallery has 50 rows"),
        (dict(subsets={"some": np.array([3, 50])}), "subset some: row 50 is named, the gallery has 50 rows"),
        (dict(subsets={"some": np.array([3, 4, 3])}), "subset some: row 3 is named twice"),
        (dict(subsets={"some": np.array([0.5])}), "subset some: integers are needed"),
        (dict(subsets={"fewer": -5}), "subset fewer: -5 rows"),
        (dict(skip=(np.array([8]), np.array([0]))), "skip: row 0 holds 8"),
        (dict(least=np.nan), "no score is at least nan"),
        (dict(skip=(np.array([0]), np.array([50]))), "mates or skip: row 50 is named"),
        (dict(mates=Mates(np.array([0]), np.array([np.nan]), np.array([-1]))), "scores_of_mates: row 0 is not finite"),
        (dict(mates=Mates(np.array([0, 1]), np.array([0.0]), np.array([-1]))), "rows differ"),
    ],
)
def test_what_names_something_that_is_not_there_is_refused(asked, words):
    probes, gallery = drawn(0)
    with pytest.raises(InputError, match=words):
        search(probes, gallery, **asked)
    if "is named, " in words:
        with pytest.raises(RunError, match=words):
            search(probes, iter([gallery]), **asked)


# Codes that are kept.


def test_codes_are_made_once_and_go_on_where_they_were_broken_off(small, tmp_path, monkeypatch):
    probes, gallery = drawn(7, 6, 150)
    rows, folder = mapped(tmp_path / "faces.npy", gallery), tmp_path / "codes"
    monkeypatch.setattr(search_gallery, "SAVED", 1)

    def stop(done, total=None, more=""):
        if done > 64:
            raise Broken

    with pytest.raises(Broken):
        build_codes(rows, folder, stop)
    assert json.loads((folder / "codes.json").read_text())["done"] == 64
    done = []
    codes = build_codes(rows, folder, lambda now, total=None, more="": done.append((now, total)))
    assert done == [(96, 150), (128, 150), (150, 150)]
    os.utime(tmp_path / "faces.npy", (1, 1))  # copied elsewhere: the hash tells that it is the same
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_gallery, "code_rows", None)
        kept = build_codes(open_gallery(tmp_path / "faces.npy"), folder)
    for made in (codes, kept):
        np.testing.assert_array_equal(search(probes, made).rows, search(probes, gallery, product=FLOAT32).rows)


def test_codes_of_another_gallery_are_refused(small, tmp_path):
    probes, gallery = drawn(8, 6, 60)
    path, folder = tmp_path / "faces.npy", tmp_path / "codes"
    codes = build_codes(mapped(path, gallery), folder)
    path.unlink()  # a mapped file that shrinks or changes would change under the codes
    other = mapped(path, gallery[::-1])
    os.utime(path, (1, 1))
    with pytest.raises(RequestError, match=r"codes: codes of another gallery than .*faces\.npy, or of another version"):
        build_codes(other, folder)
    for k in (1, 10):  # refused before anything is compared, whatever is asked
        with pytest.raises(RequestError, match="the gallery: these are codes of another gallery"):
            search(probes, search_gallery.Codes(gallery[::-1], codes.codes, codes.about), k)


def test_a_score_outside_its_bound_breaks_the_search():
    """A row that changed after its codes were made, and that they say to be the best by far."""
    probes, gallery = drawn(8, 1, 3000, 256)
    gallery[1234] = probes[0]
    codes = build_codes(gallery)
    gallery[1234] *= -1
    with pytest.raises(RunError, match="outside its proven bound"):
        search(probes, codes, k=1)


@pytest.mark.parametrize(("file", "content"), [("codes.npy", None), ("about.npy", b"cut"), ("codes.json", b"[]"), ("codes.json", b"{")])
def test_broken_codes_are_refused_by_name(file, content, small, tmp_path):
    rows, folder = mapped(tmp_path / "faces.npy", drawn(9)[1]), tmp_path / "codes"
    build_codes(rows, folder)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(RequestError, match=rf"{file}: .*remove the folder"):
        build_codes(rows, folder)
