"""A heap of pictures -> a gallery, shard by shard: what one run has written, no later one does again.

A shard is a run of pictures in the order they were named, and is written whole or not at all; so a run that was killed at any moment, and then repeated, leaves the bytes
of one that was not. Pictures that the gallery knows are passed over, which is also how new ones are added. One that could not be read is listed, and whenever it is asked
for tried again after the new ones: its disk may be there now.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polyface.errors import RequestError, RunError
from polyface.images.read import Source
from polyface.inference.analyze import Analyzer, ImageAnswers
from polyface.inference.compare import vector_of
from polyface.inference.gallery import MANIFEST, Gallery, Manifest, Shard, add_shard, embedding_task, manifest_of, open_gallery, write_manifest, wrong_vector
from polyface.terminal import Report

SHARD_PICTURES = 512
"""A shard is 1 MB at 512 dimensions, if each picture has one face; at most so many pictures are looked at again after a kill."""

SHARDS, HALF_WRITTEN = re.compile(r"\d{5,}\.npz"), re.compile(r"\.(\d{5,}\.npz|gallery\.json)\..+")
"""The names of shards, and of what was to become a file when a run was killed."""
LOCK = ".lock"
"""While a run writes. A file of its own, because a network's file system locks files that can be written, and no folders."""


@dataclass(frozen=True)
class Embedded:
    """What a run did: pictures that were new, faces found on them and on those that were refused before, why any were refused; pictures a second; the whole gallery."""

    pictures: int
    faces: int
    refused: tuple[str, ...]
    rate: float
    gallery: Gallery


def embed(
    analyzer: Analyzer,
    pictures: Sequence[Source],
    out: Path,
    report: Report = lambda done, total=None, more="": None,
    shard_pictures: int = SHARD_PICTURES,
    look: "Look | None" = None,
) -> Embedded:
    """Find every face on the pictures, and write its vector into the gallery `out`, a new one or one of this model.

    report(new pictures done, of so many, how many a second in words). look: who looks at the pictures, by default this process (`embed_ray.on_ray`: a cluster).

    Raises RequestError for a gallery of another model or detector, or one that is not whole; RunError where it cannot be written, with all full shards in it.
    """
    task = embedding_task(analyzer.engine)
    with _alone(out):
        manifest = _started(out, analyzer)
        looked_at, refused = _known(Gallery(out, manifest))
        new = [picture for picture in pictures if str(picture) not in looked_at and str(picture) not in refused]
        again = [picture for picture in pictures if str(picture) in refused]
        batches = [part[start : start + shard_pictures] for part in (new, again) for start in range(0, len(part), shard_pictures)]
        todo, reasons = len(new) + len(again), list[str]()
        began, faces, done = time.monotonic(), 0, 0

        def tell(more: int) -> None:
            nonlocal done
            done += more
            report(done, todo, f"{done / max(time.monotonic() - began, 1e-9):.1f} pictures/s")

        with closing((look or _look_here)(analyzer, batches, tell)) as found:
            for gathered in found:
                reasons += gathered.reasons
                gathered.forget(refused)
                faces += len(gathered.names)
                if gathered.pictures:
                    manifest = add_shard(out, manifest, gathered.shard(task.dimension))
    return Embedded(len(new), faces, tuple(reasons), done / max(time.monotonic() - began, 1e-9), Gallery(out, manifest))


def gather(analyzer: Analyzer, pictures: Sequence[Source], tell: Callable[[int], None] = lambda more: None) -> "Gathered":
    """What is on the pictures of one shard, which depends on no other. tell(1) after each. Raises RunError where the network gave a face no direction."""
    task, gathered = embedding_task(analyzer.engine), Gathered()
    for answers in analyzer.analyze_many(pictures, [task.name]):
        gathered.add(answers, task.name)
        tell(1)
    return gathered


@dataclass(frozen=True)
class Gathered:
    """What is found on the pictures of a shard."""

    pictures: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    faces: list[int] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)

    def add(self, answers: ImageAnswers, task: str) -> None:
        """Raises RunError where the network gave a face no direction."""
        self.pictures.append(answers.image)
        if answers.error is not None:
            self.refused.append(answers.image)
            self.reasons.append(answers.error)
        for face in answers.faces:
            vector = vector_of(face.answers[task]).astype(np.float32)
            if wrong := wrong_vector(vector[None]):
                raise RunError(f"{answers.image}, face {face.index}: the network {face.model} gave it {wrong[1]}")
            self.names.append(answers.image)
            self.faces.append(face.index)
            self.boxes.append(face.box)
            self.scores.append(face.score)
            self.vectors.append(vector)

    def forget(self, before: set[str]) -> None:
        """Pictures that are refused and were before: the gallery has them already."""
        still = before.intersection(self.refused)
        self.pictures[:] = [picture for picture in self.pictures if picture not in still]
        self.reasons[:] = [reason for picture, reason in zip(self.refused, self.reasons, strict=True) if picture not in still]
        self.refused[:] = [picture for picture in self.refused if picture not in still]

    def shard(self, dimension: int) -> Shard:
        return Shard(
            names=np.array(self.names, str),
            faces=np.array(self.faces, np.int32),
            boxes=np.array(self.boxes, np.float32).reshape(-1, 4),
            scores=np.array(self.scores, np.float32),
            embeddings=np.array(self.vectors, np.float32).reshape(-1, dimension),
            pictures=np.array(self.pictures, str),
            refused=np.array(self.refused, str),
            reasons=np.array(self.reasons, str),
        )


Look = Callable[[Analyzer, Sequence[Sequence[Source]], Callable[[int], None]], Generator[Gathered, None, None]]
"""look(analyzer, the pictures of each shard, tell) -> what is on them, shard by shard in this order; tell(so many more) as pictures get done."""


def _look_here(analyzer: Analyzer, batches: Sequence[Sequence[Source]], tell: Callable[[int], None]) -> Generator[Gathered, None, None]:
    return (gather(analyzer, batch, tell) for batch in batches)


def _started(out: Path, analyzer: Analyzer) -> Manifest:
    """What the gallery says of itself, without what a killed run left half done."""
    for path in out.iterdir():
        if HALF_WRITTEN.fullmatch(path.name):
            path.unlink()
    shards = [path for path in out.iterdir() if SHARDS.fullmatch(path.name)]
    if not (out / MANIFEST).exists():
        if shards:
            raise RequestError(f"{out}: holds {shards[0].name} and no {MANIFEST}; a gallery starts in an empty folder")
        manifest = manifest_of(analyzer.engine, analyzer.detector)
        write_manifest(out, manifest)
        return manifest
    manifest, detector = open_gallery(out, analyzer.engine).manifest, analyzer.detector
    if (manifest.detector, manifest.detector_sha256) != (detector.name, detector.sha256):
        then, now = _named(manifest.detector, manifest.detector_sha256), _named(detector.name, detector.sha256)
        raise RequestError(f"{out / MANIFEST}: its faces were found by {then}, not by {now}")
    for path in shards:  # written, but not named in time: its pictures are looked at again
        if path.name not in {entry.file for entry in manifest.shards}:
            path.unlink()
    return manifest


def _known(gallery: Gallery) -> tuple[set[str], set[str]]:
    """The pictures of a gallery that were looked at, and those that were refused whenever they were."""
    looked_at: set[str] = set()
    refused: set[str] = set()
    for shard in gallery.shards():
        refused.update(map(str, shard.refused))
        looked_at.update(set(map(str, shard.pictures)) - set(map(str, shard.refused)))
    return looked_at, refused - looked_at


def _named(detector: str, sha256: str) -> str:
    return f"{detector}@{sha256[:12]}" if sha256 else detector


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """The folder, for this run only; the lock goes with the process, however it ends. Raises RequestError where another run has it, or it cannot be made."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{out}: cannot be written to ({error.strerror})") from error
    if sys.platform == "win32":
        yield
        return
    import fcntl

    file = out / LOCK
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise RequestError(f"{out}: cannot be written to ({error.strerror})") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RequestError(f"{out}: another run is writing to it") from error
        except OSError as error:
            raise RequestError(f"{out}: its file system knows no locks ({error.strerror}); choose another place, and copy the gallery") from error
        if not (file.exists() and os.path.samestat(os.fstat(handle), os.stat(file))):  # another run ended between the two
            raise RequestError(f"{out}: another run was writing to it just now")
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
    finally:
        os.close(handle)
