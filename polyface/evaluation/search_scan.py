"""What one chunk of the gallery adds to a search: each comparison is decided by the cheapest product that can.

For each probe there are bars: the scores of its mates, whose ranks are wanted; the k-th best that it has found; the lowest of the largest impostor scores so far. A
product with its bound puts a score between low and high, and questions are closed from there: what is under all bars is dropped, what is over a mate's is counted, and
only what straddles a bar, or may be among the best, is asked again, more precisely: products of codes, then float32 products (of the whole tile where much is open, of
pairs where little is), then the exact score. No question is closed by an estimate, so whatever comes first, and whatever bars are known yet, the answer is the same.

Most cells of a tile must not cost more than a look for the largest of each probe, and where that reaches a bar, one comparison with one number (`search_scores.Grid`).
A mate with so much of the gallery above it that picking cells out would cost more is counted in whole rows of the tile, and only the cells near its score are picked
out. What products of tiles leave open is kept, and closed together: by then the chunk's own best have raised the bars.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polyface.errors import RunError
from polyface.evaluation.search_codes import Multiply, norms_of_coded
from polyface.evaluation.search_gallery import BLOCK, Chunk
from polyface.evaluation.search_scores import Grid, Side, crowded, exact_scores, float_scores, float_side_of_norms, float_side_of_rows

GROUP, CELLS, WIDTH = 4096, 2**20, 1024
"""So many probes at most are compared with a tile together; it is as wide as makes about CELLS products, and no narrower than WIDTH. Each thread holds 16 MB at most."""

MANY = 2**16
"""From so many open questions on, those of a chunk are closed before it ends. From so many pairs on, equal vectors are looked for: a collapsed model has many."""


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

    @property
    def tile(self) -> int:
        """How many rows are compared together."""
        return min(max(CELLS // max(min(len(self.probes), GROUP), 1), WIDTH), BLOCK)

    @cached_property
    def twins(self) -> np.ndarray:
        """int [P]: for each probe the first with the same numbers."""
        return _twins(self.probes)


@dataclass(frozen=True)
class Bars:
    """best float64 [P, k]: the best scores of each probe so far, falling, -inf while there are fewer; kth float64 [P]: what a score must reach to be among them, at least
    the least that is asked for; lines float64 [S]: to be among a subset's largest, -inf while there are too few; inf where none is wanted.
    """

    best: np.ndarray
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


def scan(plan: Plan, chunk: Chunk, bars: Callable[[], Bars]) -> Partial:
    """bars(): what the pass has found by now of other chunks."""
    n, count = len(chunk.ids), len(plan.probes)
    asked = _Asked(plan, chunk, bars)
    hidden_columns, hidden_probes = _hidden(plan.hidden, chunk.ids)
    memory = np.empty(min(count, GROUP) * min(plan.tile, n), np.int32)
    for start in range(0, n, plan.tile):
        asked.raise_bars()
        tile = _Tile(asked, start, min(start + plan.tile, n), memory)
        hidden = (hidden_columns >= start) & (hidden_columns < tile.stop)
        for first in range(0, count, GROUP):
            probes = np.arange(first, min(first + GROUP, count))
            mine = hidden & (hidden_probes >= first) & (hidden_probes <= probes[-1])
            tile.compare(probes, hidden_probes[mine] - first, hidden_columns[mine] - start)
            if asked.open >= MANY:
                asked.close()
    asked.close()
    compared = count * np.count_nonzero(asked.member, axis=0) - np.count_nonzero(asked.member[hidden_columns], axis=0)
    return asked.tally.partial(chunk.ids, compared)


@dataclass
class _Open:
    """Questions that are open: the score of probe i and a column of the chunk, between low and high, against the targets `first` to `stop`; whole: also, whether it is
    among the best.
    """

    i: np.ndarray
    column: np.ndarray
    first: np.ndarray
    stop: np.ndarray
    whole: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __len__(self) -> int:
        return len(self.i)

    def only(self, which: np.ndarray) -> "_Open":
        return _Open(*(each[which] for each in self._arrays()))

    @staticmethod
    def joined(parts: "Sequence[_Open]") -> "_Open":
        return _Open(*(np.concatenate(each) for each in zip(*(part._arrays() for part in parts), strict=True)))

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.i, self.column, self.first, self.stop, self.whole, self.low, self.high


NONE, NOT = np.zeros(0, np.int64), np.zeros(0)
NOTHING = _Open(NONE, NONE, NONE, NONE, np.zeros(0, bool), NOT, NOT)


class _Asked:
    """What is asked of a chunk: bars, which rise as more is found, questions that products of whole tiles left open, by codes and by float32, and what was answered."""

    def __init__(self, plan: Plan, chunk: Chunk, bars: Callable[[], Bars]):
        self.plan, self.chunk, self.bars = plan, chunk, bars
        self.member = plan.members(chunk.ids)
        self.kth, self.lines = np.full(len(plan.probes), -np.inf), np.full(len(plan.subsets), -np.inf)
        self.best = np.full((len(plan.probes), plan.k), -np.inf)  # what scores in this chunk are at least
        self.tally = _Tally(self.member, len(plan.targets))
        self.coarse, self.fine = [NOTHING], [NOTHING]

    @property
    def open(self) -> int:
        return sum(map(len, self.coarse)) + sum(map(len, self.fine))

    def raise_bars(self) -> None:
        """To where the pass has them by now."""
        now = self.bars()
        self.kth, self.lines = np.maximum(self.kth, now.kth), np.maximum(self.lines, now.lines)

    def close(self) -> None:
        """Answers all that is open: by float32 products of pairs, what they leave open by the exact score."""
        pairs = self._by_pairs(self._closed(_Open.joined(self.coarse)))
        asked = _Open.joined([pairs, *self.fine])
        self.coarse, self.fine = [NOTHING], [NOTHING]
        self._raise_kth(asked)
        self._close_exactly(self._closed(asked))

    def _raise_kth(self, asked: _Open) -> None:
        """To the k-th largest of the scores that the pass has found and of what those of this chunk are at least."""
        k = self.plan.k
        better = np.flatnonzero(asked.whole & (asked.low > self.kth[asked.i]))
        if k and len(better):
            touched, at = np.unique(asked.i[better], return_inverse=True)
            who = np.concatenate([np.repeat(np.arange(len(touched)), k), at])
            low = np.concatenate([self.best[touched].ravel(), asked.low[better]])
            self.best[touched] = low[best_of(k, len(touched), who, (-low,))]
            known = np.concatenate([self.best[touched], self.bars().best[touched]], axis=1)
            self.kth[touched] = np.maximum(self.kth[touched], np.partition(known, k, axis=1)[:, k])

    def _closed(self, asked: _Open) -> _Open:
        """What remains open once low and high are known."""
        targets = self.plan.targets
        over = _bisect(targets, asked.first, asked.stop, asked.low, right=False)
        under = _bisect(targets, over, asked.stop, asked.high, right=True)
        self.tally.add(asked.first, over, over, asked.column)
        whole = asked.whole & self._among_best(asked, asked.high)
        still = whole | (over < under)
        return _Open(asked.i, asked.column, over, under, whole, asked.low, asked.high).only(still)

    def _by_pairs(self, asked: _Open) -> _Open:
        if not len(asked):
            return asked
        assert self.chunk.coded is not None
        side, own = float_side_of_norms(norms_of_coded(self.chunk.coded.side[asked.column])), self.plan.floats[asked.i]
        values = float_scores(self.plan.probes, self.chunk.rows, asked.i, asked.column)
        error = own.first * side.first + own.second * side.second
        low, high = np.maximum(asked.low, values - error), np.minimum(asked.high, values + error)
        _require_possible(low, high)
        return _Open(asked.i, asked.column, asked.first, asked.stop, asked.whole, low, high)

    def _close_exactly(self, asked: _Open) -> None:
        scores = self._exact(asked.i, asked.column)
        _require_possible(np.maximum(asked.low, scores), np.minimum(asked.high, scores))
        targets = self.plan.targets
        above = _bisect(targets, asked.first, asked.stop, scores, right=False)
        reached = _bisect(targets, above, asked.stop, scores, right=True)
        self.tally.add(asked.first, above, reached, asked.column)
        best = asked.whole & self._among_best(asked, scores)
        self.tally.keep(asked.i[best], asked.column[best], scores[best])

    def _among_best(self, asked: _Open, scores: np.ndarray) -> np.ndarray:
        """bool: whether such scores would be among the best of their probes, or among the largest of a subset that their rows belong to."""
        among = scores >= self.kth[asked.i]
        for subset in np.flatnonzero(self.lines < np.inf):
            among |= (scores >= self.lines[subset]) & self.member[asked.column, subset]
        return among

    def _exact(self, i: np.ndarray, column: np.ndarray) -> np.ndarray:
        if len(i) < MANY:
            return exact_scores(self.plan.probes, self.chunk.rows, i, column)
        columns, at = np.unique(column, return_inverse=True)
        rows = self.chunk.rows[columns]
        pairs, at = np.unique(self.plan.twins[i] * len(rows) + _twins(rows)[at], return_inverse=True)
        return exact_scores(self.plan.probes, rows, *np.divmod(pairs, len(rows)))[at]


class _Tile:
    """Columns `start` to `stop` of a chunk; memory: for as many products of codes as are made at a time."""

    def __init__(self, asked: _Asked, start: int, stop: int, memory: np.ndarray):
        self.asked, self.plan, self.chunk, self.memory = asked, asked.plan, asked.chunk, memory
        self.start, self.stop, self.n = start, stop, stop - start
        self.member = asked.member[start:stop]
        self.here = self.member.any(axis=0)

    @cached_property
    def rows(self) -> np.ndarray:
        return np.ascontiguousarray(self.chunk.rows[self.start : self.stop])

    @cached_property
    def floats(self) -> Side:
        return float_side_of_rows(self.rows)

    def compare(self, probes: np.ndarray, hidden_probes: np.ndarray, hidden_columns: np.ndarray) -> None:
        """hidden pairs are numbered within the group of probes and the tile; they get a product that is under every bar."""
        plan, coded = self.plan, self.chunk.coded
        first = plan.begin[probes]
        if coded is not None and plan.codes is not None and plan.coded is not None and plan.multiply is not None:
            part = slice(self.start, self.stop)
            values = self._space(len(probes))
            plan.multiply(plan.codes[probes[0] : probes[-1] + 1], coded.codes[part], values)
            values[hidden_probes, hidden_columns] = np.iinfo(np.int32).min
            undecided = self._settle(values, probes, first, plan.coded[probes], coded.side[part], finer=True)
            again = np.flatnonzero(undecided >= 0)
            place = np.full(len(probes), -1)
            place[again] = np.arange(len(again))
            kept = place[hidden_probes] >= 0
            probes, first = probes[again], undecided[again]
            hidden_probes, hidden_columns = place[hidden_probes[kept]], hidden_columns[kept]
        if len(probes):
            values = np.matmul(plan.probes[probes], self.rows.T, out=self._space(len(probes)).view(np.float32))
            values[hidden_probes, hidden_columns] = -np.inf
            self._settle(values, probes, first, plan.floats[probes], self.floats, finer=False)

    def _space(self, probes: int) -> np.ndarray:
        return self.memory[: probes * self.n].reshape(probes, self.n)

    def _settle(self, values: np.ndarray, probes: np.ndarray, first: np.ndarray, own: Side, side: Side, finer: bool) -> np.ndarray:
        """values [p, n]: the products, finer: there are finer ones. Returns int64 [p]: the first target of each probe that these should be asked about, -1 for none."""
        grid = Grid(values, own, side)
        self._raise_first_bars(grid, probes)
        lines = self.asked.lines
        cold = self.here & np.isneginf(lines)
        forced = np.flatnonzero(self.member[:, cold].any(axis=1))
        collect = np.minimum(self.asked.kth[probes], lines[self.here & ~cold].min(initial=np.inf))
        now, end = first.copy(), self.plan.begin[probes + 1]
        undecided = np.full(len(probes), -1)
        left = np.arange(len(probes))
        while len(left):
            mate = np.full(len(left), np.inf)
            more = now[left] < end[left]
            mate[more] = self.plan.targets[now[left[more]]]
            bars = np.minimum(collect[left], mate)
            if not len(forced):
                near = grid.touching(bars, left)
                if 2 * np.count_nonzero(near) < len(near):  # fewer are copied than are compared for nothing
                    left, more, mate, bars = left[near], more[near], mate[near], bars[near]
            hit = grid.reaching(bars, left)
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
            self.asked.tally.count(now[left], sure, self.member)
            self._ask(grid, probes, left, hit, now, now[left] + 1, whole=False, finer=finer)
            now[left] += 1
        return undecided

    def _raise_first_bars(self, grid: Grid, probes: np.ndarray) -> None:
        """Where nothing is known yet: as many cells as are wanted have at least the lowest of their lower bounds."""
        kth, lines, least, k = self.asked.kth, self.asked.lines, self.plan.least, self.plan.k
        cold = np.flatnonzero(kth[probes] == least)
        cold = cold[grid.touching(kth[probes[cold]], cold)]
        if len(cold) and k <= self.n:
            cold = cold[np.count_nonzero(grid.reaching(kth[probes[cold]], cold), axis=1) > k]
            best = np.partition(grid.low(cold), self.n - k, axis=1)[:, self.n - k]
            kth[probes[cold]] = np.maximum(best, least)
        for subset in np.flatnonzero(self.here & np.isneginf(lines)):
            wanted, columns = self.plan.largest[subset], np.flatnonzero(self.member[:, subset])
            if wanted <= len(probes) * len(columns):
                bounds = grid.low(np.arange(len(probes)))[:, columns].ravel()
                lines[subset] = np.partition(bounds, len(bounds) - wanted)[len(bounds) - wanted]

    def _ask(self, grid: Grid, probes: np.ndarray, which: np.ndarray, hit: np.ndarray, now: np.ndarray, stop: np.ndarray, whole: bool, finer: bool) -> None:
        """Opens questions of the cells that were hit, hit bool [len(which), n]: about targets now[which] to stop, and, if whole, whether they are among the best."""
        at, j = np.divmod(np.flatnonzero(hit), self.n)
        if not len(at):
            return
        i = which[at]
        low, high = grid.bounds(i, j)
        questions = _Open(probes[i], self.start + j, now[i], stop[at], np.full(len(at), whole), low, high)
        (self.asked.coarse if finer else self.asked.fine).append(questions)


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


def best_of(k: int, count: int, who: np.ndarray, keys: tuple[np.ndarray, ...]) -> np.ndarray:
    """int [count, k]: of each of so many, who int [m], the k places of smallest keys, the last key first; each has as many at least."""
    order = np.lexsort((*keys, who))
    return order[np.searchsorted(who[order], np.arange(count))[:, None] + np.arange(k)]


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
