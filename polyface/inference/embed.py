"""A heap of pictures -> a gallery, shard by shard: what one run has written, no later one does again.

A shard is a run of pictures in the order they were named, and is written whole or not at all; so a run that was killed at any moment, and then repeated, leaves the bytes
of one that was not. Pictures that the gallery knows are passed over, which is also how new ones are added. One whose bytes are others now is taken out, with its faces,
which the first copy of it takes over, and looked at as if it were new; of one that was only touched the new stamp is noted. A new one with the bytes of one that is there
is noted as a copy of it, without faces, which it takes over where that one is gone: it was moved. One that could not be read is listed, and whenever it is asked for
tried again after the new ones: its disk may be there now. For that reason, too, one that was deleted, and has no copy, is only named: `forget` takes it out.
"""

import os
import stat
import time
from collections.abc import Callable, Container, Generator, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from polyface.errors import InputError, RequestError, RunError
from polyface.files import alone
from polyface.images.read import Directory, Source
from polyface.images.sources import source_of
from polyface.inference.analyze import Analyzer, ImageAnswers
from polyface.inference.compare import vector_of
from polyface.inference.contents import UNREAD, Hashed, Stamp, sha256_of, stamps_of
from polyface.inference.gallery import (
    MANIFEST,
    SHARDS,
    Gallery,
    Manifest,
    Shard,
    add_shard,
    embedding_task,
    inherited,
    label_of,
    manifest_of,
    open_gallery,
    renewed,
    sweep,
    write_manifest,
    wrong_vector,
)
from polyface.terminal import Report

SHARD_PICTURES = 512
"""A shard is 1 MB at 512 dimensions, if each picture has one face; at most so many pictures are looked at again after a kill, on one machine."""

TOUCHED = 2**16
"""Pictures of another stamp that are read before what they are is written down; at most so many are read again after a kill."""


@dataclass(frozen=True)
class Embedded:
    """What a run did. pictures: that were looked at for the first time, or were replaced since, without those that could not be. faces: found on them. copies: of the
    pictures asked for, those that have the bytes of another. moved: pictures that took over the faces of one that is gone. refused: why any were. gone: pictures of the
    gallery that are there no more. rate: pictures a second."""

    pictures: int
    replaced: int
    copies: int
    moved: int
    faces: int
    refused: tuple[str, ...]
    gone: tuple[str, ...]
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
    with alone(out):
        gallery, stamps = Gallery(out, _started(out, analyzer)), stamps_of(pictures)  # before they are read: what is written to meanwhile is read again the next time
        known = _known(gallery, stamps)
        gallery, replaced, reasons = _compared(gallery, pictures, stamps, known, report)
        if replaced:
            known = _known(gallery, stamps)
        new = [picture for picture in pictures if str(picture) not in known.looked_at and str(picture) not in known.refused]
        again = [picture for picture in pictures if str(picture) in known.refused]
        batches = [part[start : start + shard_pictures] for part in (new, again) for start in range(0, len(part), shard_pictures)]
        todo, manifest = len(new) + len(again), gallery.manifest
        copies = known.copies.intersection(map(str, pictures))
        began, looked_at, faces, done = time.monotonic(), 0, 0, 0

        def tell(more: int) -> None:
            nonlocal done
            done += more
            report(done, todo, f"{done / max(time.monotonic() - began, 1e-9):.1f} pictures/s")

        with closing((look or partial(_look_here, known.held))(analyzer, batches, tell)) as looked:
            for found in looked:
                gathered = found.beside(known.held)
                reasons += gathered.reasons
                gathered = gathered.besides(known.refused)
                faces += len(gathered.names)
                copies.update(gathered.copies)
                looked_at += len(set(gathered.pictures) - set(gathered.copies) - set(gathered.refused))
                if gathered.pictures:
                    manifest = add_shard(out, manifest, gathered.shard(task.dimension, stamps))
        rate = done / max(time.monotonic() - began, 1e-9)
        gone = {name for name in (known.looked_at | known.refused).difference(stamps) if _is_gone(name)}
        gallery, heirs = inherited(Gallery(out, manifest), gone)
    copies.difference_update(heirs.values())
    return Embedded(looked_at, len(replaced), len(copies), len(heirs), faces, tuple(reasons), tuple(sorted(gone - heirs.keys())), rate, gallery)


def unread(gallery: Gallery) -> int:
    """How many pictures of a gallery were refused whenever they were asked for. Reads the shards only where any was refused."""
    return len(_known(gallery, {}).refused) if any(entry.refused for entry in gallery.manifest.shards) else 0


def gather(analyzer: Analyzer, pictures: Sequence[Source], tell: Callable[[int], None] = lambda more: None, held: Container[bytes] = frozenset()) -> "Gathered":
    """What is on the pictures of one shard, which depends on no other. tell(1) after each. held: sha256 of pictures that need not be looked at, and come out as refused.
    Raises RunError where the network gave a face no direction."""
    task, gathered, hashes = embedding_task(analyzer.engine), Gathered(), dict[str, bytes]()
    hashed = [Source(Hashed(picture.root, hashes, held), picture.name) for picture in pictures]
    for answers in analyzer.analyze_many(hashed, [task.name]):
        gathered.add(answers, task.name, hashes.get(answers.image, UNREAD))
        tell(1)
    return gathered


@dataclass(frozen=True)
class Gathered:
    """What is found on the pictures of a shard."""

    pictures: list[str] = field(default_factory=list)
    sha256: list[bytes] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    faces: list[int] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)

    def add(self, answers: ImageAnswers, task: str, sha256: bytes) -> None:
        """Raises RunError where the network gave a face no direction."""
        self.pictures.append(answers.image)
        self.sha256.append(sha256)
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

    def beside(self, held: set[bytes]) -> "Gathered":
        """Pictures whose bytes are held are copies: nothing is found on them, and none is refused. The bytes of others that could be read are held from now on."""
        refused, copies = set(self.refused), list[str]()
        for picture, sha256 in zip(self.pictures, self.sha256, strict=True):
            if sha256 in held:
                copies.append(picture)
            elif picture not in refused:
                held.add(sha256)
        return replace(self._without(set(copies)), pictures=self.pictures, sha256=self.sha256, copies=copies)

    def besides(self, before: Set[str]) -> "Gathered":
        """Without pictures that are refused and were before: the gallery has them already."""
        return self._without(before & set(self.refused))

    def _without(self, pictures: Set[str]) -> "Gathered":
        groups = {"pictures": ("sha256",), "refused": ("reasons",), "names": ("faces", "boxes", "scores", "vectors"), "copies": ()}
        kept = dict[str, list]()
        for name, others in groups.items():
            rows = [row for row, picture in enumerate(getattr(self, name)) if picture not in pictures]
            kept |= {each: [getattr(self, each)[row] for row in rows] for each in (name, *others)}
        return Gathered(**kept)

    def shard(self, dimension: int, stamps: Mapping[str, Stamp]) -> Shard:
        return Shard(
            names=np.array(self.names, str),
            faces=np.array(self.faces, np.int32),
            boxes=np.array(self.boxes, np.float32).reshape(-1, 4),
            scores=np.array(self.scores, np.float32),
            embeddings=np.array(self.vectors, np.float32).reshape(-1, dimension),
            pictures=np.array(self.pictures, str),
            refused=np.array(self.refused, str),
            reasons=np.array(self.reasons, str),
            copies=np.array(self.copies, str),
            sha256=np.frombuffer(b"".join(self.sha256), np.uint8).reshape(-1, 32),
            stamps=np.array([stamps[picture] for picture in self.pictures], np.int64).reshape(-1, 2),
        )


Look = Callable[[Analyzer, Sequence[Sequence[Source]], Callable[[int], None]], Generator[Gathered, None, None]]
"""look(analyzer, the pictures of each shard, tell) -> what is on them, shard by shard in this order; tell(so many more) as pictures get done."""


def _look_here(held: Container[bytes], analyzer: Analyzer, batches: Sequence[Sequence[Source]], tell: Callable[[int], None]) -> Generator[Gathered, None, None]:
    """held grows with the shards, so that copies of what an earlier one holds are only read."""
    return (gather(analyzer, batch, tell, held) for batch in batches)


def _started(out: Path, analyzer: Analyzer) -> Manifest:
    """What the gallery says of itself, without what a killed run left half done."""
    if not (out / MANIFEST).exists():
        shards = [path for path in out.iterdir() if SHARDS.fullmatch(path.name)]
        if shards:
            raise RequestError(f"{out}: holds {shards[0].name} and no {MANIFEST}; a gallery starts in an empty folder")
        manifest = manifest_of(analyzer.engine, analyzer.detector)
        write_manifest(out, manifest)
        sweep(out, manifest)
        return manifest
    manifest, detector = open_gallery(out, analyzer.engine).manifest, analyzer.detector
    if (manifest.detector, manifest.detector_sha256) != (detector.name, detector.sha256):
        then, now = label_of(manifest.detector, manifest.detector_sha256), label_of(detector.name, detector.sha256)
        raise RequestError(f"{out / MANIFEST}: its faces were found by {then}, not by {now}")
    sweep(out, manifest)  # what was written, but not named in time, is looked at again
    return manifest


@dataclass(frozen=True)
class Known:
    """The pictures of a gallery: looked at, copies among them, and refused whenever they were. held: the sha256 of those that were looked at and are no copies. touched:
    that of pictures whose file has another stamp now."""

    looked_at: set[str] = field(default_factory=set)
    copies: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    held: set[bytes] = field(default_factory=set)
    touched: dict[str, bytes] = field(default_factory=dict)


def _known(gallery: Gallery, stamps: Mapping[str, Stamp]) -> Known:
    """stamps: of today, of the pictures that are asked for."""
    known = Known()
    for shard in gallery.shards():
        refused, copies = set(map(str, shard.refused)), set(map(str, shard.copies))
        known.refused.update(refused)
        known.copies.update(copies)
        for name, digest, stamp in zip(map(str, shard.pictures), shard.sha256, map(tuple, shard.stamps.tolist()), strict=True):
            if name in refused:
                continue
            known.looked_at.add(name)
            if name not in copies:
                known.held.add(digest.tobytes())
            if stamps.get(name, stamp) != stamp:
                known.touched[name] = digest.tobytes()
    known.refused.difference_update(known.looked_at)
    return known


def _compared(gallery: Gallery, pictures: Sequence[Source], stamps: Mapping[str, Stamp], known: Known, report: Report) -> tuple[Gallery, set[str], list[str]]:
    """The gallery after the pictures that were touched were read: those whose bytes are others than when they were looked at, which it holds no more, and why any could
    not be read, which stay as they are."""
    touched, replaced, reasons = [picture for picture in pictures if str(picture) in known.touched], set[str](), list[str]()
    for start in range(0, len(touched), TOUCHED):
        others, unchanged = set[str](), dict[str, Stamp]()
        for number, picture in enumerate(touched[start : start + TOUCHED], start + 1):
            name = str(picture)
            try:
                if sha256_of(picture.read()) == known.touched[name]:
                    unchanged[name] = stamps[name]
                else:
                    others.add(name)
            except InputError as error:
                reasons.append(str(error))
            report(number, len(touched), "whose time has changed")
        gallery = renewed(gallery, others, unchanged)
        replaced |= others
    return gallery, replaced, reasons


def _is_gone(name: str) -> bool:
    """Whether the file of a picture, or its place in an archive, is there no more. What cannot be told counts as there."""
    try:
        picture = source_of(name)
        return not (stat.S_ISREG(os.stat(name).st_mode) if isinstance(picture.root, Directory) else picture.root.exists(picture.name))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (InputError, OSError, ValueError):
        return False
