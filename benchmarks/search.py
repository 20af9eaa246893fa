"""How fast is exact search? Seconds of a query and peak memory against other exact searches and against the bare matrix product, measured in one run.

    python benchmarks/search.py [--rows 1000000] [--probes 3530] [--dimensions 512] [--rounds 3] [--scratch DIR]

Unit vectors are drawn in clusters, as faces are: people about groups, photographs about people; each probe has one mate, outside the gallery. The gallery is one
mapped file under --scratch. Building its codes is timed apart. In each round every search has its turn, so that a busy minute is everybody's; medians are shown.
Beside ours: float32 blocks of numpy, faiss-cpu as installed and at its best setting, usearch, and torch's int8 product inside our search, each where it is
installed; faiss and usearch give the k best and no ranks. The bare product multiplies the same codes by the same tiles and looks at nothing. Peak memory is what
each takes beyond what is there when it starts; files that are mapped, and our codes, which the claim counts, are not in it, and nothing of faiss, which has a process of
its own (two where its BLAS knows a faster kernel, with a copy of the gallery each). Seconds of another machine are not comparable; ratios are.
"""

import argparse
import importlib.util
import os
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from polyface import runtime, terminal
from polyface.evaluation import megaface_devkit
from polyface.evaluation.search import Found, mates_outside, search
from polyface.evaluation.search_codes import ABOVE, FLOAT32, Multiply, Product, best_product, code_probes
from polyface.evaluation.search_gallery import BLOCK, Codes, build_codes, open_gallery
from polyface.evaluation.search_scan import GROUP, WIDTH

K = 10
LEAST_OF_FAISS, MOST_OF_PRODUCT, MOST_MEGABYTES, MOST_OF_READING = 2, 2, 2000, 1.3
TRIED = 10
"""faiss's settings are tried on one row in so many."""

CORE = "OPENBLAS_CORETYPE"
FaissSetting = tuple[int, int, int]
"""Threads, and how many probes and rows its BLAS multiplies together."""
OPENED: dict[str, Any] = {}
"""Of a process of faiss: its index, the probes, and the setting as installed."""

USEARCH = 128
"""Probes that usearch is given at a time."""

FEATURES = 20000
"""Files of the devkit that are written and gathered."""

Row = dict[str, Any]


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        path = Path(scratch) / "gallery.npy"
        probes, faces = draw(path, arguments.probes, arguments.rows, arguments.dimensions)
        gallery = open_gallery(path)
        built, codes = _timed(lambda: build_codes(gallery))
        mates = mates_outside(probes, faces, np.arange(len(probes)), np.arange(len(probes)))
        ours = {product.name: (lambda product=product: search(probes, codes, K, mates, product=product)) for product in _products()}
        exact = search(probes, gallery, K, mates, product=FLOAT32)
        others = {"numpy, float32 blocks": lambda: blocks(probes, gallery, mates.score), **_faiss(path, probes), **_usearch(probes, gallery)}
        bare = {f"bare {name}": (lambda multiply=multiply: multiply_all(multiply, probes, codes)) for name, multiply in _multiplies()}
        seconds, memory, found = in_turn({**ours, **others, **bare}, arguments.rounds)
        best = next(iter(ours))
        terminal.table(_rows(seconds, memory, found, exact, best), title=f"{len(probes)} probes x {len(gallery)} x {gallery.shape[1]}, the {K} best, {_processor()}")
        print(f"codes built in {built:.2f} s; not in the times above")
        one, reading = one_probe(probes, codes, arguments.rounds)
        print(f"one probe: {1000 * one:.1f} ms; reading the codes once: {1000 * reading:.1f} ms")
        print(f"devkit features gathered: {gather(Path(scratch), gallery):.0f} files a second")
        terminal.table(
            _claims(seconds, memory, best, all(_same(found[name], exact) for name in ours), one / reading, (codes.codes.nbytes + codes.about.nbytes) / 1e6),
            title="claims",
        )


def draw(path: Path, probes: int, rows: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """The gallery, written; probes [P, d] and the mate of each [P, d]. Half the probes have people of the gallery who look like them: they are of its groups."""
    random = np.random.default_rng(0)
    groups = random.normal(size=(32, d)).astype(np.float32)

    def photographs(people: np.ndarray, each: int) -> np.ndarray:
        vectors = np.repeat(people, each, axis=0)
        vectors += 0.9 * random.normal(size=vectors.shape).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def people(count: int) -> np.ndarray:
        return 0.5 * groups[random.integers(0, len(groups), count)] + random.normal(size=(count, d)).astype(np.float32)

    out = np.lib.format.open_memmap(path, "w+", np.dtype(np.float32), (rows, d))
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        out[start : start + size] = photographs(people(-(-size // 4)), 4)[:size]
    out.flush()
    pairs = photographs(people(probes), 2)
    return pairs[::2].copy(), pairs[1::2].copy()


def blocks(probes: np.ndarray, gallery: np.ndarray, mates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is usually written: float32 products, the best of each block, and how many reach the mate's score: right but for roundings."""
    rows, scores, above = np.zeros((len(probes), 0), np.int64), np.zeros((len(probes), 0), np.float32), np.zeros(len(probes), np.int64)
    for start in range(0, len(gallery), BLOCK):
        products = probes @ gallery[start : start + BLOCK].T
        above += np.count_nonzero(products >= mates.astype(np.float32)[:, None], axis=1)
        k = min(K, products.shape[1])
        best = np.argpartition(products, -k, axis=1)[:, -k:]
        rows, scores = np.concatenate([rows, start + best], axis=1), np.concatenate([scores, np.take_along_axis(products, best, axis=1)], axis=1)
        order = np.argsort(-scores, axis=1)[:, :K]
        rows, scores = np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
    return rows, above


def multiply_all(multiply: Multiply, probes: np.ndarray, codes: Codes) -> None:
    coded, _ = code_probes(probes)

    def tile(begin: int) -> None:
        part = codes.codes[begin : begin + WIDTH]
        products = np.empty((min(len(coded), GROUP), len(part)), np.int32)
        for first in range(0, len(coded), GROUP):
            some = coded[first : first + GROUP]
            multiply(some, part, products[: len(some)])

    with ThreadPoolExecutor(runtime.processors()) as pool:
        list(pool.map(tile, range(0, len(codes.rows), WIDTH)))


def one_probe(probes: np.ndarray, codes: Codes, rounds: int) -> tuple[float, float]:
    """Seconds of a search for one probe, and of reading all codes once, on all processors; medians of turns."""

    def read(start: int) -> int:
        return int(codes.codes[start : start + 2**14].max())

    def read_all() -> None:
        with ThreadPoolExecutor(runtime.processors()) as pool:
            list(pool.map(read, range(0, len(codes.codes), 2**14)))

    seconds, _, _ = in_turn({"one": lambda: search(probes[:1], codes, K), "reading": read_all}, 3 * rounds)
    return seconds["one"], seconds["reading"]


def gather(scratch: Path, gallery: np.ndarray) -> float:
    """Files of the devkit read into one array, in a second, just after they were written."""
    folder = scratch / "features"
    folder.mkdir()
    files = [folder / f"{number}.bin" for number in range(min(FEATURES, len(gallery)))]
    header = struct.pack("<4i", gallery.shape[1], 1, 4, 5)
    for file, row in zip(files, gallery, strict=False):
        file.write_bytes(header + row.tobytes())
    took, _ = _timed(lambda: megaface_devkit.gather_features(files, scratch / "features.npy"))
    return len(files) / took


def in_turn(works: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, float], dict[str, float], dict[str, Any]]:
    """Median seconds, most megabytes beyond what was there before, and what was found."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    memory, found = dict.fromkeys(works, 0.0), {}
    for _ in range(rounds):
        for name, work in works.items():
            with _Memory() as most:
                took, found[name] = _timed(work)
            seconds[name].append(took)
            memory[name] = max(memory[name], most.megabytes)
    return {name: statistics.median(each) for name, each in seconds.items()}, memory, found


class _Memory:
    """The most megabytes that this process had beyond those at the start, files that are mapped left out. 0 where there is no /proc."""

    def __enter__(self) -> "_Memory":
        self.megabytes, self._first, self._over = 0.0, self._now(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.megabytes = max(self.megabytes, self._now() - self._first)
            if self._over.wait(0.01):
                return

    def _now(self) -> float:
        status = Path("/proc/self/status")
        lines = status.read_text().splitlines() if status.exists() else []
        return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon")), 0.0)


def _multiplies() -> list[tuple[str, Multiply]]:
    return [(product.name, product.multiply) for product in _products() if product.multiply is not None]


def _products() -> list[Product]:
    """Ours by default first."""
    found = [best_product()]
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)  # tiles are spread over threads already

        def multiply(probes: np.ndarray, rows: np.ndarray, product: np.ndarray) -> None:
            torch._int_mm(torch.from_numpy(probes), torch.from_numpy((rows ^ ABOVE).view(np.int8)).T, out=torch.from_numpy(product))

        found.append(Product("int8 products of torch", multiply))
    return found


def _faiss(path: Path, probes: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """As installed, and with the threads, sizes of blocks, and kind of processor of its BLAS that are fastest on one row in TRIED."""
    if not importlib.util.find_spec("faiss"):
        return {}
    fast = ["SkylakeX"] if "avx512f" in _cpuinfo() else []  # its OpenBLAS is old, and takes newer processors for ones without
    processes = {core: _FaissProcess(core) for core in ("", *fast)}
    tried = {core: process.ask(_tune_faiss, path, probes) for core, process in processes.items()}
    core = min(tried, key=lambda core: tried[core][0])
    setting = tried[core][1]
    print(f"faiss at its best: {setting[0]} threads, blocks of {setting[1]} probes x {setting[2]} rows{f', OPENBLAS_CORETYPE={core}' if core else ''}")
    for used in {"", core}:
        processes[used].ask(_open_faiss, path, probes)
    return {"faiss, as installed": lambda: processes[""].ask(_ask_faiss, None), "faiss, tuned": lambda: processes[core].ask(_ask_faiss, setting)}


class _FaissProcess:
    """faiss in a process of its own: its BLAS asks the environment once, when it is loaded."""

    def __init__(self, core: str):
        before = os.environ.get(CORE)
        os.environ.update({CORE: core} if core else {})
        self.pool = ProcessPoolExecutor(1, get_context("spawn"))
        self.ask(int)  # starts it
        os.environ.pop(CORE, None)
        os.environ.update({} if before is None else {CORE: before})

    def ask(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool.submit(work, *arguments).result()


def _open_faiss(path: Path, probes: np.ndarray, every: int = 1) -> None:
    import faiss

    gallery = open_gallery(path)
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(np.ascontiguousarray(gallery[: max(1, len(gallery) // every)]))
    OPENED.update(index=index, probes=probes)


def _tune_faiss(path: Path, probes: np.ndarray) -> tuple[float, FaissSetting]:
    """(seconds on one row in TRIED, the setting) of the fastest."""
    import faiss

    _open_faiss(path, probes, TRIED)
    OPENED["installed"] = (faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_query_bs, faiss.cvar.distance_compute_blas_database_bs)
    sizes = (OPENED["installed"][1:], (1024, 4096), (4096, 4096), (4096, 16384), (512, 1024))
    settings = [(threads, *size) for threads in sorted({1, runtime.processors()}) for size in sizes]
    return min((min(_timed(lambda setting=setting: _ask_faiss(setting))[0] for _ in range(2)), setting) for setting in settings)


def _ask_faiss(setting: FaissSetting | None) -> np.ndarray:
    import faiss

    threads, probes_together, rows_together = setting or OPENED["installed"]
    faiss.omp_set_num_threads(threads)
    faiss.cvar.distance_compute_blas_query_bs, faiss.cvar.distance_compute_blas_database_bs = probes_together, rows_together
    return OPENED["index"].search(OPENED["probes"], K)[1]


def _usearch(probes: np.ndarray, gallery: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    if not importlib.util.find_spec("usearch"):
        return {}
    from usearch.index import MetricKind
    from usearch.index import search as search_exactly

    def search_all() -> np.ndarray:
        """Some probes at a time: it holds every score of them, and a million rows by all probes are beyond most memories."""
        parts = [probes[start : start + USEARCH] for start in range(0, len(probes), USEARCH)]
        return np.concatenate([search_exactly(gallery, part, K, MetricKind.IP, exact=True, threads=runtime.processors()).keys for part in parts])

    return {"usearch, exact": search_all}


def _rows(seconds: dict[str, float], memory: dict[str, float], found: dict[str, Any], exact: Found, best: str) -> list[Row]:
    rows = []
    for name, took in seconds.items():
        given = found[name].rows if isinstance(found[name], Found) else found[name][0] if isinstance(found[name], tuple) else found[name]
        right = None if given is None else round(float(np.mean(np.asarray(given, np.int64) == exact.rows)), 5)
        rows.append({"what": name, "seconds": round(took, 3), "of ours": round(took / seconds[best], 2), "megabytes": round(memory[name]), "rows as exact": right})
    return rows


def _claims(seconds: dict[str, float], memory: dict[str, float], best: str, same: bool, of_reading: float, codes_megabytes: float) -> list[Row]:
    of_product = seconds[best] / min(took for name, took in seconds.items() if name.startswith("bare"))
    megabytes = memory[best] + codes_megabytes
    rows: list[tuple[str, object, str, bool]] = [("ranks and the best are those of float32 products", "yes" if same else "no", "all", same)]
    if "faiss, tuned" in seconds:
        of_faiss = seconds["faiss, tuned"] / seconds[best]
        rows.append(("as fast as faiss tuned, times", round(of_faiss, 2), f"at least {LEAST_OF_FAISS}", of_faiss >= LEAST_OF_FAISS))
    rows += [
        ("of the bare int8 product", round(of_product, 2), f"at most {MOST_OF_PRODUCT}", of_product <= MOST_OF_PRODUCT),
        ("peak megabytes of a query, codes included", round(megabytes), f"at most {MOST_MEGABYTES}", megabytes <= MOST_MEGABYTES),
        ("one probe, of reading the codes once", round(of_reading, 2), f"at most {MOST_OF_READING}", of_reading <= MOST_OF_READING),
    ]
    return [{"claim": claim, "found": value, "claimed": claimed, "kept": "yes" if kept else "NO"} for claim, value, claimed, kept in rows]


def _same(one: Found, other: Found) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("rows", "scores", "above", "equal"))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def _processor() -> str:
    name = next((line.partition(":")[2].strip() for line in _cpuinfo().splitlines() if line.startswith("model name")), "an unnamed processor")
    return f"{name}, {runtime.processors()} processors"


def _cpuinfo() -> str:
    return Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What exact search costs, against others and against the bare product.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--probes", type=int, default=3530)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="a folder with room for the gallery; by default that of temporary files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
