"""Exact search: the k best rows of a gallery for each probe, the rank of known mates, the largest impostor scores, in one pass over a gallery
that may be larger than memory.

Exact: the score of two float32 vectors is the float64 sum of their products in a fixed order (`search_scores`); a tie is equality; among equal scores
the row with the lower number comes first. The machine's fastest product of int8 codes discards what is proven to score lower than what was found already
(`search_codes` has the proof), and only what that leaves open is computed more precisely (`search_scan`). What is found does not depend on the product,
on threads, on where a gallery is cut, or, but for the numbers of rows and for such ties, on their order: parts that were searched by several machines are put
together by `merge` (`search_ray`).

    gallery = build_codes(open_gallery(path), folder)
    found = search(probes, gallery, mates=mates_outside(probes, faces, who, face), subsets={"1000": 1000, "all": None}, largest=kept_for(1e-6, pairs))
    found.ranks("1000"), found.threshold("all", 1e-6), found.rows
"""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyface import runtime
from polyface.errors import InputError, PolyfaceError, RequestError, RunError
from polyface.evaluation.search_codes import FLOAT32, Product, best_product, checked, code_probes
from polyface.evaluation.search_gallery import Codes, check_rows, file_of, name_of, works
from polyface.evaluation.search_pass import Pass, scanned
from polyface.evaluation.search_scan import Plan, Subset
from polyface.evaluation.search_scores import exact_scores, float_side_of_probes
from polyface.metrics.checks import require_finite, require_integers, require_rows
from polyface.metrics.rates import errors_allowed, trials_needed
from polyface.terminal import Report

Gallery = np.ndarray | Codes | Iterable[np.ndarray]

ENOUGH = 256
"""From so many probes on, coding a row that has no codes yet costs less than comparing it in float32."""

SAVE_SECONDS = 30.0


@dataclass(frozen=True)
class Mates:
    """Pairs of one person. probe int [M]; score float64 [M], exact; row int [M]: the mate's number in the gallery, -1 where it is not in it.

    A mate's rank counts the rows that are no mates of its probe; a mate is never an impostor, but may be among the k best.
    """

    probe: np.ndarray
    score: np.ndarray
    row: np.ndarray


def mates_in_gallery(probes: np.ndarray, gallery: np.ndarray, probe: np.ndarray, row: np.ndarray) -> Mates:
    """Row row[m] of the gallery [N, d] shows the person of probe probe[m]."""
    return _mates(probes, gallery, probe, row, np.asarray(row, np.int64))


def mates_outside(probes: np.ndarray, faces: np.ndarray, probe: np.ndarray, face: np.ndarray) -> Mates:
    """Row face[m] of faces [F, d], none of which is in the gallery, shows the person of probe probe[m], and is thought to join the gallery alone (MegaFace)."""
    return _mates(probes, faces, probe, face, np.full(len(face), -1))


@dataclass(frozen=True)
class Found:
    """rows int64 [P, k], scores float64 [P, k]: the best first, of those that reach the least score; -1 and -inf where there are fewer.

    above, equal int64 [M, S]: how many rows of each subset, mates of the probe left out, score above a mate, and the same. largest: the largest impostor
    scores of each subset, falling, `kept` of them or all; impostors int64 [S]: of so many. gallery: rows seen, from row `first` of a gallery of `whole` rows on. by:
    the products that were used.
    """

    rows: np.ndarray
    scores: np.ndarray
    above: np.ndarray
    equal: np.ndarray
    largest: tuple[np.ndarray, ...]
    kept: tuple[int, ...]
    impostors: np.ndarray
    subsets: tuple[str, ...]
    gallery: int
    first: int
    whole: int
    by: str

    def ranks(self, subset: str) -> np.ndarray:
        """int64 [M], from 1 on: a tie is lost (papers.md D13)."""
        at = self.subsets.index(subset)
        return 1 + self.above[:, at] + self.equal[:, at]

    def threshold(self, subset: str, far: float) -> tuple[float, float]:
        """(t, FAR reached): s >= t accepts, t the smallest float64 at which no more than this share of the impostors is accepted.

        Raises InputError for a FAR that is no rate, and where fewer than 1 / FAR impostors could not tell, RequestError where too few of their scores were kept
        (`kept_for`).
        """
        if not 0 < far <= 1:
            raise InputError(f"a FAR of {far:g}: above 0 and at most 1 is needed")
        at = self.subsets.index(subset)
        count, largest = int(self.impostors[at]), self.largest[at]
        allowed = errors_allowed(far, count)
        if allowed < 1:
            raise InputError(f"FAR {far:g} needs {trials_needed(far)} impostor pairs, {subset} has {count}")
        if allowed >= count:
            return -np.inf, 1.0
        if allowed >= len(largest):
            raise RequestError(f"FAR {far:g} of {count} impostor pairs needs their {allowed + 1} largest scores, {len(largest)} were kept")
        return float(np.nextafter(largest[allowed], np.inf)), int(np.searchsorted(-largest, -largest[allowed])) / count


def kept_for(far: float, impostors: int) -> int:
    """How many of the largest impostor scores tell the threshold at a FAR."""
    return errors_allowed(far, impostors) + 1


def search(
    probes: np.ndarray,
    gallery: Gallery,
    k: int = 10,
    mates: Mates | None = None,
    least: float = -np.inf,
    skip: tuple[np.ndarray, np.ndarray] | None = None,
    subsets: Mapping[str, int | np.ndarray | None] | None = None,
    largest: int | Mapping[str, int] = 0,
    part: tuple[int, int] | None = None,
    product: Product | None = None,
    threads: int | None = None,
    state: Path | None = None,
    report: Report | None = None,
) -> Found:
    """probes float32 [P, d]; gallery: rows float32 or float16 [N, d] (`open_gallery` maps a file), arrays of them one after the other, or `build_codes` of one.

    least: only scores of at least this much are among the k best; what the first product puts below costs no other; mates' ranks and impostors are as without.
    skip: (probes, rows) int [E] of pairs that are not compared, as a photograph with itself. subsets: a number of rows from row 0 on, the rows themselves
    (int), or None for all; {"all": None} by default. largest: how many of the largest impostor scores of all probes together are kept, for each subset.
    part: where the gallery is a part of a larger one, the number of its first row there, and the larger one's rows: those of mates, skip and subsets.
    product: by default the best without torch. threads: by default one for each processor. state: a file where the pass is kept from time to time: after a broken
    one, the same call goes on from there; it is removed at the end. Only arrays and codes tell whether they are the same again. report(rows, rows in all, "by ...").

    Raises InputError naming file and row for what is no embedding or of another length: of arrays before anything is compared, of other iterables when
    their part comes. RequestError where `state` is of another search, or asked for other iterables, or codes are of another gallery; RunError where a score
    lies outside its bound: a row has changed since it was coded, or a product is wrong.
    """
    probes = np.ascontiguousarray(check_rows(probes, name_of(probes, "probes")), np.float32)
    parts, codes = _parts(gallery, probes.shape[1])
    if state is not None and not isinstance(parts, Sequence):
        raise RequestError(f"{state}: a search of a gallery that is iterated cannot go on, since nothing tells whether it is the same again; hand in arrays or codes")
    product = best_product() if product is None else checked(product)
    coding = product.multiply is not None and (codes is not None or len(probes) >= ENOUGH)
    names, plan, order, mates = _planned(probes, k, mates, least, skip, {"all": None} if subsets is None else subsets, largest, product, coding)
    total = sum(map(len, parts)) if isinstance(parts, Sequence) else None
    first, whole = (0, total) if part is None else part
    if whole is not None:
        _require_in_gallery(names, plan, whole, InputError)
        _require_part(first, 0 if total is None else total, whole, InputError)
    running = Pass(plan)
    asked = _asked(names, plan, (first, whole), parts) if state is not None and isinstance(parts, Sequence) else ""
    if state is not None and state.exists():
        running.load(state, asked)
    todo = works(parts, coding, first, running.done, plan.tile) if codes is None else codes.works(first, running.done, plan.tile)
    by = product.name if coding else FLOAT32.name
    saved = time.monotonic()
    for size, more in scanned(running, todo, threads or runtime.processors()):
        running.add(more, size)
        if report is not None:
            report(running.done, total, f"by {by}")
        if state is not None and time.monotonic() - saved > SAVE_SECONDS:
            running.save(state, asked)
            saved = time.monotonic()
    if whole is None:
        whole = running.done
        _require_in_gallery(names, plan, whole, RunError)
    _require_part(first, running.done, whole, RunError)
    seen = _once(mates, skip, first, first + running.done)
    rows, scores = running.best_with(mates.probe[seen], mates.row[seen], mates.score[seen])
    above, reached = np.empty((2, len(order), len(names)), np.int64)
    above[order], reached[order] = running.counts()
    if state is not None:
        state.unlink(missing_ok=True)
    return Found(rows, scores, above, reached - above, tuple(running.largest), plan.largest, running.impostors, names, running.done, first, whole, by)


def merge(parts: Sequence[Found]) -> Found:
    """What one search of the whole gallery would have found, from searches of its parts (`part`), in any order, with the same probes, mates and subsets.

    Raises RequestError for parts of different searches, and where they are not the whole gallery, each row once.
    """
    if not parts:
        raise RequestError("no parts of a search")
    one = parts[0]
    if any((each.subsets, each.kept, each.rows.shape, each.above.shape) != (one.subsets, one.kept, one.rows.shape, one.above.shape) for each in parts):
        raise RequestError("these are parts of different searches")
    _require_whole(parts)
    rows, scores = (np.concatenate([getattr(each, name) for each in parts], axis=1) for name in ("rows", "scores"))
    order = np.lexsort((np.where(rows < 0, np.iinfo(np.int64).max, rows), -scores), axis=1)[:, : one.rows.shape[1]]
    return Found(
        rows=np.take_along_axis(rows, order, axis=1),
        scores=np.take_along_axis(scores, order, axis=1),
        above=np.sum([each.above for each in parts], axis=0),
        equal=np.sum([each.equal for each in parts], axis=0),
        largest=tuple(-np.sort(-np.concatenate([each.largest[at] for each in parts]))[:kept] for at, kept in enumerate(one.kept)),
        kept=one.kept,
        impostors=np.sum([each.impostors for each in parts], axis=0),
        subsets=one.subsets,
        gallery=one.whole,
        first=0,
        whole=one.whole,
        by=", ".join(sorted({each.by for each in parts})),
    )


def _mates(probes: np.ndarray, faces: np.ndarray, probe: np.ndarray, face: np.ndarray, row: np.ndarray) -> Mates:
    probe, face = np.asarray(probe, np.int64), np.asarray(face, np.int64)
    require_rows(probe=probe, face=face)
    require_integers("probe", probe, 0, len(probes))
    require_integers("face", face, 0, len(faces))
    if probes.shape[1] != faces.shape[1]:
        raise InputError(f"{name_of(faces, 'faces')}: rows of {faces.shape[1]} numbers, those of the probes have {probes.shape[1]}")
    scores = exact_scores(np.asarray(probes, np.float32), faces, probe, face)
    if not np.isfinite(scores).all():
        pair = int(np.argmin(np.isfinite(scores)))
        raise InputError(f"mates: row {face[pair]} of {name_of(faces, 'faces')}, or row {probe[pair]} of the probes, is not finite")
    return Mates(probe, scores, row)


def _parts(gallery: Gallery, d: int) -> tuple[Iterable[np.ndarray], Codes | None]:
    """The arrays of a gallery, checked: now where they are at hand, else as they come. Codes were made of checked rows."""
    if isinstance(gallery, Codes):
        if gallery.rows.shape[1] != d:
            raise InputError(f"{name_of(gallery.rows, 'the gallery')}: rows of {gallery.rows.shape[1]} numbers, those of the probes have {d}")
        gallery.require_own()
        return [gallery.rows], gallery
    parts = [gallery] if isinstance(gallery, np.ndarray) else gallery
    checked = (check_rows(rows, name_of(rows, "the gallery" if parts is not gallery else f"the gallery's part {number}"), d) for number, rows in enumerate(parts))
    return list(checked) if isinstance(parts, Sequence) else checked, None


def _planned(
    probes: np.ndarray,
    k: int,
    mates: Mates | None,
    least: float,
    skip: tuple[np.ndarray, np.ndarray] | None,
    subsets: Mapping[str, int | np.ndarray | None],
    largest: int | Mapping[str, int],
    product: Product,
    coding: bool,
) -> tuple[tuple[str, ...], Plan, np.ndarray, Mates]:
    """Names of subsets, the plan, and which mates its targets are."""
    nothing = np.zeros(0, np.int64)
    mates = Mates(nothing, np.zeros(0), nothing) if mates is None else mates
    skipped, rows_skipped = (nothing, nothing) if skip is None else (np.asarray(each, np.int64) for each in skip)
    require_rows(probe=mates.probe, score=mates.score, row=mates.row)
    require_rows(skipped_probes=skipped, skipped_rows=rows_skipped)
    require_integers("mates", mates.probe, 0, len(probes))
    require_integers("skip", skipped, 0, len(probes))
    require_finite(scores_of_mates=mates.score)
    if not least < np.inf:
        raise InputError(f"no score is at least {least}")
    order = np.lexsort((mates.score, mates.probe))
    inside = mates.row >= 0
    hidden = np.concatenate([[mates.row[inside], mates.probe[inside]], [rows_skipped, skipped]], axis=1)
    codes, coded = code_probes(probes) if coding else (None, None)
    plan = Plan(
        probes=probes,
        floats=float_side_of_probes(probes),
        codes=codes,
        coded=coded,
        multiply=product.multiply,
        targets=np.asarray(mates.score, np.float64)[order],
        begin=np.searchsorted(mates.probe[order], np.arange(len(probes) + 1)),
        k=k,
        least=float(least),
        subsets=tuple(_subset(name, subset) for name, subset in subsets.items()),
        largest=tuple(largest if isinstance(largest, int) else largest.get(name, 0) for name in subsets),
        hidden=np.unique(hidden.astype(np.int64), axis=1),
    )
    return tuple(subsets), plan, order, mates


def _once(mates: Mates, skip: tuple[np.ndarray, np.ndarray] | None, begin: int, end: int) -> np.ndarray:
    """The mates that lie in these rows and are not skipped, each pair once."""
    pairs = np.stack([mates.probe, mates.row])
    skipped = np.zeros((2, 0), np.int64) if skip is None else np.stack([np.asarray(each, np.int64) for each in skip])
    _, first = np.unique(np.concatenate([skipped, pairs], axis=1), axis=1, return_index=True)
    seen = first[first >= skipped.shape[1]] - skipped.shape[1]
    return seen[(mates.row[seen] >= begin) & (mates.row[seen] < end)]


def _subset(name: str, subset: int | np.ndarray | None) -> Subset:
    if isinstance(subset, int | np.integer) and subset < 0:
        raise InputError(f"subset {name}: {subset} rows")
    if subset is None or isinstance(subset, int | np.integer):
        return None if subset is None else int(subset)
    rows = np.asarray(subset)
    require_integers(f"subset {name}", rows, 0, np.iinfo(np.int64).max)
    numbers, times = np.unique(rows, return_counts=True)
    if (times > 1).any():
        raise InputError(f"subset {name}: row {numbers[times > 1][0]} is named twice")
    inside = np.zeros(int(rows.max(initial=-1)) + 1, bool)
    inside[rows] = True
    return inside


def _require_in_gallery(names: Sequence[str], plan: Plan, size: int, error: type[PolyfaceError]) -> None:
    """Rows that were named are there."""
    ends = {f"subset {name}": subset if isinstance(subset, int) else len(subset) for name, subset in zip(names, plan.subsets, strict=True) if subset is not None}
    ends["mates or skip"] = int(plan.hidden[0].max(initial=-1)) + 1
    for name, end in ends.items():
        if end > size:
            raise error(f"{name}: row {end - 1} is named, the gallery has {size} rows")


def _require_part(first: int, rows: int, whole: int, error: type[PolyfaceError]) -> None:
    if first < 0 or first + rows > whole:
        raise error(f"part: {rows} rows from row {first} on, the gallery has {whole} rows")


def _require_whole(parts: Sequence[Found]) -> None:
    end = 0
    for part in sorted(parts, key=lambda part: (part.first, part.gallery)):
        if part.whole != parts[0].whole:
            raise RequestError(f"these are parts of different galleries, of {parts[0].whole} and of {part.whole} rows")
        if part.first != end:
            raise RequestError(f"rows {end} to {part.first - 1} are in no part" if part.first > end else f"rows from {part.first} on are in two parts")
        end += part.gallery
    if end != parts[0].whole:
        raise RequestError(f"rows {end} to {parts[0].whole - 1} are in no part")


def _asked(names: Sequence[str], plan: Plan, place: tuple[int, int | None], parts: Sequence[np.ndarray]) -> str:
    """The hash of all that decides what a pass finds."""
    digest = hashlib.sha256()
    for array in (plan.probes, plan.targets, plan.begin, plan.hidden, *(np.asarray(-1 if subset is None else subset) for subset in plan.subsets)):
        digest.update(f"{array.shape} {array.dtype} ".encode() + array.tobytes())
    said: list[object] = [plan.k, plan.least, plan.largest, tuple(names), place]
    for part in parts:
        file = file_of(part)
        said.append((part.shape, part.dtype.name, Path(file).stat().st_mtime_ns if file else hashlib.sha256(np.ascontiguousarray(part).data).hexdigest()))
    digest.update(repr(said).encode())
    return digest.hexdigest()
