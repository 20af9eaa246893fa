"""A pass over a gallery: chunks scanned on all processors, what they found put together, and kept so that a broken pass can go on."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from polyface import runtime
from polyface.errors import RequestError
from polyface.evaluation.search_gallery import Work
from polyface.evaluation.search_scan import Bars, Partial, Plan, best_of, scan
from polyface.files import write_arrays

KEPT = ("rows", "scores", "above", "reached", "impostors")


class Pass:
    """What was found so far, in the first `done` rows.

    rows, scores [P, k] and largest [S] as in `search.Found`, mates not yet among the best; above, reached as in `Partial`; impostors int64 [S]: pairs.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.rows, self.scores = np.full((len(plan.probes), plan.k), -1), np.full((len(plan.probes), plan.k), -np.inf)
        self.above, self.reached = np.zeros((2, len(plan.targets) + 1, len(plan.subsets)), np.int64)
        self.impostors, self.largest = np.zeros(len(plan.subsets), np.int64), [np.zeros(0)] * len(plan.subsets)
        self.done = 0
        self._raise_bars()

    def add(self, more: Partial, size: int) -> None:
        """What a chunk of so many rows adds."""
        self.done += size
        self.above += more.above
        self.reached += more.reached
        self.impostors += more.compared
        self.rows, self.scores = self.best_with(more.probe, more.row, more.score)
        member = self.plan.members(more.row)
        for number, keep in enumerate(self.plan.largest):
            new = more.score[member[:, number] & (more.score >= self.bars.lines[number])]
            if len(new):
                self.largest[number] = -np.sort(-np.concatenate([self.largest[number], new]))[:keep]
        self._raise_bars()

    def best_with(self, probe: np.ndarray, row: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """rows, scores with more of them, [m] in any order."""
        k = self.plan.k
        rows, scores = self.rows.copy(), self.scores.copy()
        if not k:
            return rows, scores
        better = score >= np.maximum(scores[probe, -1], self.plan.least)
        touched, at = np.unique(probe[better], return_inverse=True)
        who = np.concatenate([np.repeat(np.arange(len(touched)), k), at])
        which = np.concatenate([rows[touched].ravel(), row[better]])
        how = np.concatenate([scores[touched].ravel(), score[better]])
        first = best_of(k, len(touched), who, (which, -how))
        rows[touched], scores[touched] = which[first], how[first]
        return rows, scores

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 [T, S] twice: how many rows score above each target, and at least it."""
        return np.cumsum(self.above, axis=0)[:-1], np.cumsum(self.reached, axis=0)[:-1]

    def save(self, path: Path, asked: str) -> None:
        arrays: dict[str, Any] = {name: getattr(self, name) for name in KEPT}
        arrays |= {f"largest{number}": each for number, each in enumerate(self.largest)}
        write_arrays(path, {"asked": np.array(asked), "done": np.array(self.done), **arrays})

    def load(self, path: Path, asked: str) -> None:
        """Raises RequestError where the file was kept by another search, or is none."""
        try:
            with np.load(path, allow_pickle=False) as there:
                if str(there["asked"]) != asked:
                    raise RequestError(f"{path}: kept by another search, of other probes, mates, subsets or another gallery; remove it to begin anew")
                for name in KEPT:
                    setattr(self, name, there[name])
                self.largest, self.done = [there[f"largest{number}"] for number in range(len(self.largest))], int(there["done"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise RequestError(f"{path}: not the record of a search ({error}); remove it to begin anew") from error
        self._raise_bars()

    def _raise_bars(self) -> None:
        kth = np.maximum(self.scores[:, -1], self.plan.least) if self.plan.k else np.full(len(self.plan.probes), np.inf)
        lines = [np.inf if not keep else scores[-1] if len(scores) == keep else -np.inf for scores, keep in zip(self.largest, self.plan.largest, strict=True)]
        self.bars = Bars(self.scores, kth, np.array(lines))


def scanned(running: Pass, todo: Iterator[tuple[int, Work]], threads: int) -> Iterator[tuple[int, Partial]]:
    """(rows, what they add) of each chunk in their order, several being scanned at a time, each with the bars as they rise."""

    def of(chunk: tuple[int, Work]) -> tuple[int, Partial]:
        rows, work = chunk
        return rows, scan(running.plan, work(), lambda: running.bars)

    return runtime.in_order(of, todo, threads, threads)
