"""The work of `embed` on a Ray cluster: each processor of it has a worker that holds the network and looks at the pictures of one shard after the other.

The run that asks writes all shards, in their order, as it does on one machine: so a gallery has the same bytes, and one that was killed goes on in the same way, on a
cluster or without. (The same bytes as far as onnxruntime gives the same numbers: machines whose processors have other instructions may differ in the last bits.)
A worker that dies is replaced, and its shard looked at again.
"""

import socket
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from polyface import runtime
from polyface.cluster import arrived, connected, require_ray
from polyface.errors import RunError
from polyface.images.read import Source
from polyface.images.sources import source_of
from polyface.inference.analyze import Analyzer
from polyface.inference.embed import Gathered, Look, gather

AHEAD = 4
"""Shards for each worker that are asked for before the oldest of them is there: so many may be lost when the run is killed."""
TRIES = 3
"""How often the pictures of a shard are looked at anew, where workers die of them."""


def on_ray(load: Callable[[], Analyzer]) -> Look:
    """What `embed` asks to look at pictures. load: picklable, gives each worker the analyzer that `embed` has, which is checked.

    Raises RequestError where Ray is not installed.
    """
    require_ray()

    def look(analyzer: Analyzer, batches: Sequence[Sequence[Source]], tell: Callable[[int], None]) -> Generator[Gathered, None, None]:
        if not batches:
            return
        with connected() as ray:
            count = max(1, min(len(batches), int(ray.available_resources().get("CPU", 1))))
            remote = ray.remote(num_cpus=1, max_restarts=TRIES, max_task_retries=TRIES)(Worker)
            workers = [remote.remote(load, _made_by(analyzer)) for _ in range(count)]
            try:
                yield from _in_order(ray, workers, batches, tell)
            finally:
                for worker in workers:
                    ray.kill(worker)

    return look


def _in_order(ray: ModuleType, workers: Sequence[Any], batches: Sequence[Sequence[Source]], tell: Callable[[int], None]) -> Generator[Gathered, None, None]:
    """What is on the pictures of each shard, whichever was done first."""
    idle, running, finished, asked = deque(workers), {}, dict[int, Gathered](), 0
    for number in range(len(batches)):
        while number not in finished:
            while idle and asked < min(len(batches), number + AHEAD * len(workers)):
                worker = idle.popleft()
                running[worker.look.remote([str(picture) for picture in batches[asked]])] = worker, asked
                asked += 1
            (reference,), _ = ray.wait(list(running), num_returns=1)
            worker, which = running.pop(reference)
            seen: Seen = arrived(ray, reference)
            _require_alike(seen, batches[which])
            finished[which] = seen.gathered
            idle.append(worker)
            tell(len(batches[which]))
        yield finished.pop(number)


@dataclass(frozen=True)
class Seen:
    """What a worker on a machine found; missing: pictures that are not there."""

    machine: str
    missing: tuple[str, ...]
    gathered: Gathered = field(repr=False)


class Worker:
    """Holds what it has loaded from one shard to the next."""

    def __init__(self, load: Callable[[], Analyzer], made_by: tuple[str, ...]):
        self.load, self.made_by = load, made_by
        self.analyzer: Analyzer | None = None

    def look(self, names: Sequence[str]) -> Seen:
        """At the pictures of these names. Raises RunError where this machine has another network or detector."""
        if self.analyzer is None:
            runtime.threads_for_opencv(1)
            self.analyzer = self.load()
            if _made_by(self.analyzer) != self.made_by:
                raise RunError(f"{socket.gethostname()}: has {' and '.join(_made_by(self.analyzer))}, this gallery is made by {' and '.join(self.made_by)}")
        pictures = [source_of(name) for name in names]
        missing = tuple(str(picture) for picture in pictures if not picture.root.exists(picture.name))
        return Seen(socket.gethostname(), missing, gather(self.analyzer, pictures))


def _made_by(analyzer: Analyzer) -> tuple[str, ...]:
    engine, detector = analyzer.engine, analyzer.detector
    return f"{engine.card.name}@{engine.network}", f"{detector.name}@{detector.sha256}"


def _require_alike(seen: Seen, batch: Sequence[Source]) -> None:
    """What is missing here too is refused like any picture; what only that machine does not see must not be."""
    for picture in batch:
        if str(picture) in seen.missing and picture.root.exists(picture.name):
            raise RunError(f"{picture}: not there on {seen.machine}; the machines of a cluster must see the pictures under the same paths")
