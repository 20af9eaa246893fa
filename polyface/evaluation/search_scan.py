"""What one chunk of the gallery adds to a search: each comparison is decided by the cheapest product that can.

For each probe there are bars: the scores of its mates, whose ranks are wanted; the k-th best that it has found; the lowest of the largest impostor scores so far. A
product with its bound puts a score between low and high, and questions are closed from there: what is under all bars is dropped, what is over a mate's is counted, and
only what straddles a bar, or may be among the best, is asked again, more precisely: products of codes, then float32 products (of the whole tile where much is open, of
pairs where little is), then the exact score. No question is closed by an estimate, so whatever comes first, and whatever bars are known yet, the answer is the same.

Most cells of a tile must not cost more than one comparison with one number for each probe (`search_scores.Grid`). A mate with so much of the gallery above it that
picking cells out would cost more is counted in whole rows of the tile, and only the cells near its score are picked out.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polyface.errors import RunError
from polyface.evaluation.search_codes import Multiply
from polyface.evaluation.search_gallery import BLOCK, FIRST, Chunk
from polyface.evaluation.search_scores import Grid, Side, crowded, exact_scores, float_scores, float_side_of_rows

GROUP = 1024
"""Probes whose products with a tile are held at a time."""

CELLS = 2**20
"""About so many products are held by each thread: 4 MB."""

MANY = 2**16
"""From so many pairs on, equal vectors are looked for, of which a collapsed model has many."""


Subset = int | np.ndarray | None
"""So many rows from the first on, or bool over rows, or all of them."""


@dataclass(frozen=True)
class Plan:
    """What is asked. probes float32 [P, d], `floats` their side for float32 products; codes int8 [P, d] with `coded`, None where float32 is all there is.

    targets float64 [T]: the scores of mates, ascending within each probe, from begin[p] to begin[p + 1]; k best of each probe, of those that reach `least`; so many
    `largest` of each subset; hidden int64 [2, E]: rows, ascending, and probes that are not compared.
    """

    probes: np.ndarray
    floats: Side
    codes: np.ndarray | None
    coded: Side | None
    multiply: Multiply | None
    targets: np.ndarray
    begin: np.ndarray
    k: int
    least: float
    subsets: tuple[Subset, ...]
    largest: tuple[int, ...]
    hidden: np.ndarray

    def members(self, ids: np.ndarray) -> np.ndarray:
        """bool [n, S]: which rows belong to which subset; None is all of them."""
        belong = np.empty((len(ids), len(self.subsets)), bool)
        for number, subset in enumerate(self.subsets):
            if isinstance(subset, np.ndarray):
                known = belong[:, number] = ids < len(subset)
                belong[known, number] = subset[ids[known]]
            else:
                belong[:, number] = True if subset is None else ids < subset
        return belong

    @cached_property
    def twins(self) -> np.ndarray:
        """int [P]: for each probe the first with the same numbers."""
        return _twins(self.probes)


@dataclass(frozen=True)
class Bars:
    """kth float64 [P]: what a score must reach to be among a probe's best, the least while there are too few; lines float64 [S]: to be among a subset's largest, -inf
    while there are too few; inf where none is wanted.
    """

    kth: np.ndarray
    lines: np.ndarray


@dataclass(frozen=True)
class Partial:
    """What a chunk adds. probe, row int64 [m], score float64 [m]: what may be among the best; above, reached int64 [T + 1, S]: their running sums along T are how many
    rows of each subset score above a target, and at least it; compared int64 [S]: pairs.
    """

    probe: np.ndarray
    row: np.ndarray
    score: np.ndarray
    above: np.ndarray
    reached: np.ndarray
    compared: np.ndarray


def scan(plan: Plan, chunk: Chunk, bars: Bars) -> Partial:
    """Bars may be lower than they have become by now."""
    n, count = len(chunk.ids), len(plan.probes)
    member = plan.members(chunk.ids)
    kth, lines = bars.kth.copy(), bars.lines.copy()
    tally = _Tally(member, len(plan.targets))
    hidden_columns, hidden_probes = _hidden(plan.hidden, chunk.ids)
    width = min(max(CELLS // max(min(count, GROUP), 1), FIRST), BLOCK)
    for start in range(0, n, width):
        tile = _Tile(plan, chunk, start, min(start + width, n), member, kth, lines, tally)
        hidden = (hidden_columns >= start) & (hidden_columns < tile.stop)
        for first in range(0, count, GROUP):
            probes = np.arange(first, min(first + GROUP, count))
            mine = hidden & (hidden_probes >= first) & (hidden_probes <= probes[-1])
            tile.compare(probes, hidden_probes[mine] - first, hidden_columns[mine] - start)
    compared = count * np.count_nonzero(member, axis=0) - np.count_nonzero(member[hidden_columns], axis=0)
    return tally.partial(chunk.ids, compared)


@dataclass
class _Open:
    """Questions that are open: the score of probe i and column j of the tile, between low and high, against the targets `first` to `stop`; whole: also, whether it is
    among the best.
    """

    i: np.ndarray
    j: np.ndarray
    first: np.ndarray
    stop: np.ndarray
    whole: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def only(self, which: np.ndarray) -> "_Open":
        return _Open(*(each[which] for each in (self.i, self.j, self.first, self.stop, self.whole, self.low, self.high)))


@dataclass
class _Tile:
    """Columns `start` to `stop` of a chunk."""

    plan: Plan
    chunk: Chunk
    start: int
    stop: int
    member: np.ndarray
    kth: np.ndarray
    lines: np.ndarray
    tally: "_Tally"

    def __post_init__(self) -> None:
        self.n = self.stop - self.start
        self.member = self.member[self.start : self.stop]
        self.here = self.member.any(axis=0)
        self.line = np.zeros(0)  # float64 [n]: the lowest score with which a row may be among the largest of one of its subsets

    @cached_property
    def codes(self) -> np.ndarray:
        assert self.chunk.coded is not None
        return np.ascontiguousarray(self.chunk.coded.codes[:, self.start : self.stop])

    @cached_property
    def rows(self) -> np.ndarray:
        return np.ascontiguousarray(self.chunk.fetch(slice(self.start, self.stop)))

    @cached_property
    def floats(self) -> Side:
        return float_side_of_rows(self.rows)

    @cached_property
    def twins(self) -> np.ndarray:
        return _twins(self.rows)

    def compare(self, probes: np.ndarray, hidden_probes: np.ndarray, hidden_columns: np.ndarray) -> None:
        """hidden pairs are numbered within the group of probes and the tile; they get a product that is under every bar."""
        plan, coded = self.plan, self.chunk.coded
        first = plan.begin[probes]
        if coded is not None and plan.codes is not None and plan.coded is not None and plan.multiply is not None:
            part = slice(self.start, self.stop)
            values = plan.multiply(plan.codes[probes[0] : probes[-1] + 1], self.codes, coded.sums[part])
            values[hidden_probes, hidden_columns] = np.iinfo(np.int32).min
            undecided = self._settle(values, probes, first, plan.coded[probes], coded.side[part], finer=True)
            again = np.flatnonzero(undecided >= 0)
            place = np.full(len(probes), -1)
            place[again] = np.arange(len(again))
            kept = place[hidden_probes] >= 0
            probes, first = probes[again], undecided[again]
            hidden_probes, hidden_columns = place[hidden_probes[kept]], hidden_columns[kept]
        if len(probes):
            values = plan.probes[probes] @ self.rows.T
            values[hidden_probes, hidden_columns] = -np.inf
            self._settle(values, probes, first, plan.floats[probes], self.floats, finer=False)

    def _settle(self, values: np.ndarray, probes: np.ndarray, first: np.ndarray, own: Side, side: Side, finer: bool) -> np.ndarray:
        """values [p, n]: the products, finer: there are finer ones. Returns int64 [p]: the first target of each probe that these should be asked about, -1 for none."""
        grid = Grid(values, own, side)
        self._raise_bars(grid, probes)
        cold = self.here & np.isneginf(self.lines)
        forced = np.flatnonzero(self.member[:, cold].any(axis=1))
        collect = np.minimum(self.kth[probes], self.lines[self.here & ~cold].min(initial=np.inf))
        now, end = first.copy(), self.plan.begin[probes + 1]
        undecided = np.full(len(probes), -1)
        left = np.arange(len(probes))
        while len(left):
            mate = np.full(len(left), np.inf)
            more = now[left] < end[left]
            mate[more] = self.plan.targets[now[left[more]]]
            hit = grid.reaching(np.minimum(collect[left], mate), left)
            if len(forced):
                hit[:, forced] = grid.there(left, forced)
            full = crowded(hit)
            deep = full & more & (mate <= collect[left])
            sparse = ~full if finer else ~deep
            undecided[left[~sparse & ~deep]] = now[left[~sparse & ~deep]]
            self._ask(grid, probes, left[sparse], hit if sparse.all() else hit[sparse], now, end[left[sparse]], whole=True, finer=finer)
            left, hit = left[deep], hit[deep]
            sure = grid.exceeding(mate[deep], left)
            hit &= ~sure
            vague = crowded(hit) if finer else np.zeros(len(left), bool)
            undecided[left[vague]] = now[left[vague]]
            left, hit, sure = left[~vague], hit[~vague], sure[~vague]
            self.tally.count(now[left], sure, self.member)
            self._ask(grid, probes, left, hit, now, now[left] + 1, whole=False, finer=finer)
            now[left] += 1
        return undecided

    def _raise_bars(self, grid: Grid, probes: np.ndarray) -> None:
        """Where nothing is known yet: as many cells as are wanted have at least the lowest of their lower bounds."""
        k, cold = self.plan.k, np.flatnonzero(self.kth[probes] == self.plan.least)
        if len(cold) and k <= self.n:
            cold = cold[np.count_nonzero(grid.reaching(self.kth[probes[cold]], cold), axis=1) > k]
            best = np.partition(grid.values[cold], self.n - k, axis=1)[:, self.n - k]
            self.kth[probes[cold]] = np.maximum(grid.at_least(best, cold), self.plan.least)
        for subset in np.flatnonzero(self.here & np.isneginf(self.lines)):
            wanted, columns = self.plan.largest[subset], np.flatnonzero(self.member[:, subset])
            if wanted <= len(probes) * len(columns):
                cells = grid.values[:, columns]
                rows = np.repeat(np.arange(len(probes)), len(columns))
                bounds = grid.at_least(cells.ravel(), rows)
                self.lines[subset] = np.partition(bounds, len(bounds) - wanted)[len(bounds) - wanted]
        self.line = np.where(self.member, self.lines, np.inf).min(axis=1, initial=np.inf)

    def _ask(self, grid: Grid, probes: np.ndarray, which: np.ndarray, hit: np.ndarray, now: np.ndarray, stop: np.ndarray, whole: bool, finer: bool) -> None:
        """Closes the questions of the cells that were hit, hit bool [len(which), n]: about targets now[which] to stop, and, if whole, whether they are among the best."""
        at, j = np.divmod(np.flatnonzero(hit), self.n)
        if not len(at):
            return
        i = which[at]
        low, high = grid.bounds(i, j)
        questions = self._closed(_Open(probes[i], j, now[i], stop[at], np.full(len(at), whole), low, high))
        if finer and len(questions.i):
            questions = self._closed(self._by_pairs(questions))
        if len(questions.i):
            self._close_exactly(questions)

    def _closed(self, asked: _Open) -> _Open:
        """What remains open once low and high are known."""
        targets = self.plan.targets
        over = _bisect(targets, asked.first, asked.stop, asked.low, right=False)
        under = _bisect(targets, over, asked.stop, asked.high, right=True)
        self.tally.add(asked.first, over, over, self.start + asked.j)
        whole = asked.whole & ((asked.high >= self.kth[asked.i]) | (asked.high >= self.line[asked.j]))
        still = whole | (over < under)
        return _Open(asked.i, asked.j, over, under, whole, asked.low, asked.high).only(still)

    def _by_pairs(self, asked: _Open) -> _Open:
        columns, j = np.unique(asked.j, return_inverse=True)
        rows = self.chunk.fetch(self.start + columns)
        side, own = float_side_of_rows(rows)[j], self.plan.floats[asked.i]
        values = float_scores(self.plan.probes, rows, asked.i, j)
        error = own.first * side.first + own.second * side.second
        low, high = np.maximum(asked.low, values - error), np.minimum(asked.high, values + error)
        _require_possible(low, high)
        return _Open(asked.i, asked.j, asked.first, asked.stop, asked.whole, low, high)

    def _close_exactly(self, asked: _Open) -> None:
        scores = self._exact(asked.i, asked.j)
        _require_possible(np.maximum(asked.low, scores), np.minimum(asked.high, scores))
        targets = self.plan.targets
        above = _bisect(targets, asked.first, asked.stop, scores, right=False)
        reached = _bisect(targets, above, asked.stop, scores, right=True)
        columns = self.start + asked.j
        self.tally.add(asked.first, above, reached, columns)
        best = asked.whole & ((scores >= self.kth[asked.i]) | (scores >= self.line[asked.j]))
        self.tally.keep(asked.i[best], columns[best], scores[best])

    def _exact(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        if len(i) < MANY:
            columns, at = np.unique(j, return_inverse=True)
            return exact_scores(self.plan.probes, self.chunk.fetch(self.start + columns), i, at)
        pairs, at = np.unique(self.plan.twins[i] * self.n + self.twins[j], return_inverse=True)
        return exact_scores(self.plan.probes, self.rows, *np.divmod(pairs, self.n))[at]


class _Tally:
    """What a chunk has added so far."""

    def __init__(self, member: np.ndarray, targets: int):
        self.member, self.targets = member, targets
        none = np.zeros(0, np.int64)
        self.ranges = [(none, none, none, none)]
        self.rows: list[tuple[np.ndarray, np.ndarray]] = []
        self.kept = [(none, none, np.zeros(0))]

    def add(self, first: np.ndarray, above: np.ndarray, reached: np.ndarray, columns: np.ndarray) -> None:
        """A cell in each column scores above the targets first to `above`, and at least those up to `reached`."""
        some = first < reached
        self.ranges.append((first[some], above[some], reached[some], columns[some]))

    def count(self, targets: np.ndarray, sure: np.ndarray, member: np.ndarray) -> None:
        """sure bool [m, n]: cells above one target each, in the columns that `member` [n, S] is of."""
        if len(targets):
            counts = np.count_nonzero(sure, axis=1)[:, None] if member.all() else (sure.astype(np.float32) @ member.astype(np.float32)).astype(np.int64)
            self.rows.append((targets, np.broadcast_to(counts, (len(targets), member.shape[1]))))

    def keep(self, probes: np.ndarray, columns: np.ndarray, scores: np.ndarray) -> None:
        self.kept.append((probes, columns, scores))

    def partial(self, ids: np.ndarray, compared: np.ndarray) -> Partial:
        first, above, reached, columns = (np.concatenate(each) for each in zip(*self.ranges, strict=True))
        changes = np.zeros((2, self.targets + 1, self.member.shape[1]), np.int64)
        for subset in range(self.member.shape[1]):
            inside = self.member[columns, subset]
            begin = np.bincount(first[inside], minlength=self.targets + 1)
            for change, stop in zip(changes, (above, reached), strict=True):
                change[:, subset] = begin - np.bincount(stop[inside], minlength=self.targets + 1)
        for targets, counts in self.rows:
            for change in changes:
                np.add.at(change, targets, counts)
                np.subtract.at(change, targets + 1, counts)
        probe, column, score = (np.concatenate(each) for each in zip(*self.kept, strict=True))
        return Partial(probe, ids[column], score, changes[0], changes[1], compared)


def _hidden(hidden: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(columns, probes) of the hidden pairs among these rows."""
    lowest = int(ids.min())
    first, stop = np.searchsorted(hidden[0], [lowest, int(ids.max()) + 1])
    if first == stop:
        return hidden[0, :0], hidden[1, :0]
    column = np.full(int(ids.max()) + 1 - lowest, -1)
    column[ids - lowest] = np.arange(len(ids))
    columns = column[hidden[0, first:stop] - lowest]
    return columns[columns >= 0], hidden[1, first:stop][columns >= 0]


def _require_possible(low: np.ndarray, high: np.ndarray) -> None:
    """Bounds are proven, so that two that exclude each other are a fault, and what was discarded by them is not known."""
    if not (low <= high).all():
        raise RunError("a score lies outside its proven bound: the codes are not of this gallery, or this machine's products are not exact")


def _twins(vectors: np.ndarray) -> np.ndarray:
    """int [n]: for each row the first with the same bytes."""
    keys = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.shape[1] * vectors.itemsize))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse]


def _bisect(values: np.ndarray, first: np.ndarray, stop: np.ndarray, scores: np.ndarray, right: bool) -> np.ndarray:
    """For each score the place among values[first:stop], ascending, before (right: after) those that equal it."""
    low, high = first.copy(), stop.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        value = values[np.minimum(middle, len(values) - 1)]
        on = open_ & ((value <= scores) if right else (value < scores))
        low = np.where(on, middle + 1, low)
        high = np.where(open_ & ~on, middle, high)
    return low
