"""A gallery: faces as vectors in a folder, in shards that are checked whenever they are read.

DIR/gallery.json names the model, the detector, and every shard with its sha256. A shard, DIR/00000.npz, holds arrays, none of them pickled:

    names [n], faces int32 [n]      whose face each row is: the picture, and the number of the face on it, the foremost first
    boxes float32 [n, 4]            (x0, y0, x1, y1) in pixels of the upright picture;  scores float32 [n]: the detector's
    embeddings float32 [n, d]       of unit length
    pictures [p]                    all that were looked at;  refused [r] and reasons [r]: those of them that could not be read
    copies [c]                      those of them that have the bytes of an earlier one of the gallery, and so no faces of their own
    sha256 uint8 [p, 32]            of the bytes of each picture, zeros where they could not be read
    stamps int64 [p, 2]             size and time (`contents.Stamp`) of the file that each lay in
    network                         the network's sha256, without what is said of it (`card.network_sha256`)

A shard counts once gallery.json names it, which is written after it. Where pictures are taken out, or stamps change, it is written anew under another number, and the old
one deleted once gallery.json names the new one in its place. A picture that was refused and could be read later is in two shards, refused in the earlier.
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np

from polyface import files
from polyface.errors import RequestError
from polyface.images.detect import Detector
from polyface.inference.contents import Stamp
from polyface.inference.engine import Engine
from polyface.strict import strict
from polyface.tasks.kinds import Embedding

MANIFEST = "gallery.json"
VERSION = 3
"""The format of a gallery; raised when a reader of the old one would misread the new one."""

SHARDS, HALF_WRITTEN = re.compile(r"[0-9]{5,18}\.npz"), re.compile(r"\.([0-9]{5,18}\.npz|gallery\.json)\..+")
"""The names of shards, and of what was to become a file when a run was killed."""

UNIT = 1e-3
"""By how much the length of a vector may differ from 1."""


class ShardEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    file: str
    sha256: str
    pictures: int
    faces: int
    refused: int
    copies: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """gallery: the version of the format. model: as answers name it; network: its sha256, without what is said of it; detector_sha256:
    of the detector's file."""

    gallery: int = VERSION
    model: str
    network: str
    detector: str
    detector_sha256: str = ""
    dimension: int
    shards: tuple[ShardEntry, ...] = ()


@dataclass(frozen=True, eq=False)
class Shard:
    """The arrays of a shard."""

    names: np.ndarray
    faces: np.ndarray
    boxes: np.ndarray = field(repr=False)
    scores: np.ndarray = field(repr=False)
    embeddings: np.ndarray = field(repr=False)
    pictures: np.ndarray = field(repr=False)
    refused: np.ndarray
    reasons: np.ndarray
    copies: np.ndarray
    sha256: np.ndarray = field(repr=False)
    stamps: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class GalleryFace:
    """A face of a gallery: of which picture, its number on it, where, and how sure the detector was."""

    image: str
    face: int
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Gallery:
    folder: Path
    manifest: Manifest

    @property
    def faces(self) -> int:
        return sum(entry.faces for entry in self.manifest.shards)

    @property
    def pictures(self) -> int:
        """All that were looked at or refused, each once however many copies it has, and though it was refused before. Reads the shards only where any was refused."""
        if not any(entry.refused for entry in self.manifest.shards):
            return sum(entry.pictures - entry.copies for entry in self.manifest.shards)
        names, copies = set[str](), set[str]()
        for shard in self.shards():
            names.update(map(str, shard.pictures))
            copies.update(map(str, shard.copies))
        return len(names - copies)

    def shards(self) -> Iterator[Shard]:
        """Each shard, checked. Raises RequestError naming the file, and the row, that is not as it was written."""
        return (_read(self.folder / entry.file, entry, self.manifest) for entry in self.manifest.shards)

    def sha256_of(self, names: Set[str]) -> dict[str, bytes]:
        """Of the bytes of these pictures, as they were looked at."""
        pictures = ((str(name), digest) for shard in self.shards() for name, digest in zip(shard.pictures, shard.sha256, strict=True))
        return {name: digest.tobytes() for name, digest in pictures if name in names}

    def faces_at(self, rows: Iterable[int]) -> dict[int, GalleryFace]:
        """Faces by their rows, counted over all shards; no shard is read twice."""
        wanted, found, start = sorted(set(rows)), {}, 0
        for entry in self.manifest.shards:
            inside = [row for row in wanted if start <= row < start + entry.faces]
            if inside:
                faces = faces_of(_read(self.folder / entry.file, entry, self.manifest))
                found.update({row: faces[row - start] for row in inside})
            start += entry.faces
        return found


def open_gallery(folder: Path, engine: Engine) -> Gallery:
    """The gallery in a folder, of this network. Raises RequestError where there is none, a shard is missing, or another network or version made it."""
    gallery = Gallery(folder, read_manifest(folder / MANIFEST))
    made = gallery.manifest
    if (made.network, made.dimension) != (engine.network, embedding_task(engine).dimension):
        raise RequestError(f"{folder / MANIFEST}: made by the model {made.model}, whose vectors say nothing beside those of {engine.label}")
    for entry in made.shards:
        if not (folder / entry.file).is_file():
            raise RequestError(f"{folder / entry.file}: missing, of the {len(made.shards)} shards of this gallery")
    return gallery


def manifest_of(engine: Engine, detector: Detector) -> Manifest:
    """What a new gallery of this network and detector says. Raises RequestError for a model that does not answer who somebody is."""
    task = embedding_task(engine)
    return Manifest(model=engine.label, network=engine.network, detector=detector.name, detector_sha256=detector.sha256, dimension=task.dimension)


def label_of(detector: str, sha256: str) -> str:
    return f"{detector}@{sha256[:12]}" if sha256 else detector


def embedding_task(engine: Engine) -> Embedding:
    """Raises RequestError for a model that does not answer who somebody is."""
    task = next((task for task in engine.tasks if isinstance(task, Embedding)), None)
    if task is None:
        raise RequestError(f"the model {engine.card.name!r} does not answer who somebody is")
    return task


def add_shard(folder: Path, manifest: Manifest, shard: Shard) -> Manifest:
    """Write a shard, then the gallery.json that names it, which is returned. The same arrays give the same bytes."""
    entry = _write(folder, manifest, shard, _next_number(manifest))
    manifest = msgspec.structs.replace(manifest, shards=(*manifest.shards, entry))
    write_manifest(folder, manifest)
    return manifest


def without(gallery: Gallery, names: Set[str]) -> Gallery:
    """The gallery without pictures of these names, and without copies of them that no other picture of it is the original of. Shards that hold any are written anew, the
    others stay as they are.

    Killed at any moment it leaves the gallery of before or that of after; `sweep` then deletes the files of the other. Raises RequestError where a shard is not whole.
    """
    return _rewritten(gallery, names, {}, {})


def renewed(gallery: Gallery, replaced: Set[str], stamps: Mapping[str, Stamp]) -> Gallery:
    """The gallery without the pictures that were replaced, whose faces the first copy of each takes over, and with these stamps of others. Written as by `without`."""
    heirs = _heirs(gallery, replaced)
    return _rewritten(gallery, replaced, {original: name for original, (name, _) in heirs.items()}, {**dict(heirs.values()), **stamps})


def inherited(gallery: Gallery, gone: Set[str]) -> tuple[Gallery, dict[str, str]]:
    """The gallery in which the first copy that is not gone takes over the faces of each picture that is, and these copies by the names of the pictures. What has no copy
    stays as it is. Written as by `without`."""
    heirs = _heirs(gallery, gone)
    names = {original: name for original, (name, _) in heirs.items()}
    return _rewritten(gallery, names.keys(), names, dict(heirs.values())), names


def _heirs(gallery: Gallery, names: Set[str]) -> dict[str, tuple[str, Stamp]]:
    """For each original of these names that has a copy of another name: the first, and its stamp."""
    originals, heirs = dict[str, bytes](), dict[bytes, tuple[str, Stamp]]()
    for shard in gallery.shards() if names else ():
        originals.update((name, digest) for name, digest in originals_of(shard) if name in names)
        copies = set(map(str, shard.copies))
        for name, digest, (size, time) in zip(map(str, shard.pictures), shard.sha256, shard.stamps.tolist(), strict=True):
            if name in copies and name not in names:
                heirs.setdefault(digest.tobytes(), (name, (size, time)))
    return {name: heirs[digest] for name, digest in originals.items() if digest in heirs}


def _rewritten(gallery: Gallery, names: Set[str], heirs: Mapping[str, str], stamps: Mapping[str, Stamp]) -> Gallery:
    """What `without` and `renewed` promise. heirs: originals among the names -> the copy that takes the place of each."""
    if not (names or stamps):
        return gallery
    gone, moved = names - heirs.keys(), set(heirs.values())
    held = {digest for shard in gallery.shards() for name, digest in originals_of(shard) if name not in gone}
    entries, number = list[ShardEntry](), _next_number(gallery.manifest)
    for entry, shard in zip(gallery.manifest.shards, gallery.shards(), strict=True):
        copies, refused = set(map(str, shard.copies)), set(map(str, shard.refused))
        lost = {str(name) for name, digest in zip(shard.pictures, shard.sha256, strict=True) if str(name) in copies and digest.tobytes() not in held}
        out = lost.union(name for name in map(str, shard.pictures) if name in gone or name in moved or (name in heirs and name in refused))
        if not any(name in out or name in heirs or name in stamps for name in map(str, shard.pictures)):
            entries.append(entry)
            continue
        left = _named(_left(shard, out), heirs, stamps)
        if len(left.pictures):
            entries.append(_write(gallery.folder, gallery.manifest, left, number))
            number += 1
    manifest = msgspec.structs.replace(gallery.manifest, shards=tuple(entries))
    if manifest != gallery.manifest:
        write_manifest(gallery.folder, manifest)
        sweep(gallery.folder, manifest)
    return Gallery(gallery.folder, manifest)


def sweep(folder: Path, manifest: Manifest) -> None:
    """Delete what a killed run left half done: files half written, and shards that the gallery does not name, yet or any more."""
    named = {entry.file for entry in manifest.shards}
    for path in folder.iterdir():
        if HALF_WRITTEN.fullmatch(path.name) or (SHARDS.fullmatch(path.name) and path.name not in named):
            path.unlink()


def originals_of(shard: Shard) -> Iterator[tuple[str, bytes]]:
    """Name and sha256 of each picture that was looked at: none that was refused, or is a copy."""
    others = {*map(str, shard.refused), *map(str, shard.copies)}
    return ((name, digest.tobytes()) for name, digest in zip(map(str, shard.pictures), shard.sha256, strict=True) if name not in others)


def _left(shard: Shard, names: Set[str]) -> Shard:
    """A shard without pictures of these names. Words are stored anew: no array keeps the width of a name that is gone."""

    def kept(array: np.ndarray) -> np.ndarray:
        return np.array([str(name) not in names for name in array], bool)

    def words(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.array([str(word) for word in array[rows]], str)

    rows, pictures, refused, copies = kept(shard.names), kept(shard.pictures), kept(shard.refused), kept(shard.copies)
    return Shard(
        names=words(shard.names, rows),
        faces=shard.faces[rows],
        boxes=shard.boxes[rows],
        scores=shard.scores[rows],
        embeddings=shard.embeddings[rows],
        pictures=words(shard.pictures, pictures),
        refused=words(shard.refused, refused),
        reasons=words(shard.reasons, refused),
        copies=words(shard.copies, copies),
        sha256=shard.sha256[pictures],
        stamps=shard.stamps[pictures],
    )


def _named(shard: Shard, heirs: Mapping[str, str], stamps: Mapping[str, Stamp]) -> Shard:
    """A shard whose pictures have the names of their heirs, where they have any, and then these stamps."""
    pictures = [heirs.get(name, name) for name in map(str, shard.pictures)]
    return replace(
        shard,
        names=np.array([heirs.get(name, name) for name in map(str, shard.names)], str),
        pictures=np.array(pictures, str),
        stamps=np.array([stamps.get(name, stamp) for name, stamp in zip(pictures, shard.stamps.tolist(), strict=True)], np.int64).reshape(-1, 2),
    )


def _next_number(manifest: Manifest) -> int:
    return max((int(Path(entry.file).stem) + 1 for entry in manifest.shards), default=0)


def _write(folder: Path, manifest: Manifest, shard: Shard, number: int) -> ShardEntry:
    content = io.BytesIO()
    np.savez(content, **vars(shard), network=np.array(manifest.network))
    written, file = content.getvalue(), f"{number:05d}.npz"
    files.write_atomically(folder / file, written)
    counts = {"pictures": len(shard.pictures), "faces": len(shard.names), "refused": len(shard.refused), "copies": len(shard.copies)}
    return ShardEntry(file=file, sha256=hashlib.sha256(written).hexdigest(), **counts)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    files.write_atomically(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def faces_of(shard: Shard) -> list[GalleryFace]:
    rows = zip(shard.names, shard.faces, shard.boxes, shard.scores, strict=True)
    return [GalleryFace(str(name), int(face), tuple(round(float(side), 2) for side in box), round(float(score), 4)) for name, face, box, score in rows]  # type: ignore[arg-type]


def wrong_vector(embeddings: np.ndarray) -> tuple[int, str] | None:
    """The first row of [n, d] that is not of unit length, and what it is; None where all are."""
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    bad = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT))
    if not len(bad):
        return None
    row = int(bad[0])
    return row, "a vector that is not finite" if not np.isfinite(lengths[row]) else f"a vector of length {lengths[row]:.4g}, not 1"


def read_manifest(path: Path) -> Manifest:
    """Raises RequestError where there is none, one of another version, or one that names a shard that is none of its own, or twice."""
    try:
        tree = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); `polyface embed PATH... --out {path.parent}` makes a gallery") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: no JSON ({error})") from error
    version = tree.get("gallery") if isinstance(tree, dict) else None
    if type(version) is not int:
        raise RequestError(f"{path}: not of a gallery (its key 'gallery' must hold the version of the format)")
    if version != VERSION:
        raise RequestError(f"{path}: a gallery of format {version}; this polyface reads format {VERSION}; `polyface embed` makes it anew, into another folder")
    manifest, named = strict(tree, Manifest, str(path)), set[str]()
    for entry in manifest.shards:
        if not SHARDS.fullmatch(entry.file):
            raise RequestError(f"{path}: names the shard {entry.file!r}; a shard lies beside it, and is called by its number, such as 00000.npz")
        if entry.file in named:
            raise RequestError(f"{path}: names the shard {entry.file} twice")
        named.add(entry.file)
    return manifest


def _unlike(path: Path, manifest: Manifest, why: str) -> RequestError:
    """A shard is not what the manifest says: perhaps of before."""
    if read_manifest(path.parent / MANIFEST) != manifest:
        return RequestError(f"{path.parent}: another run has changed this gallery meanwhile; ask again")
    return RequestError(f"{path}: {why}; without its entry in {MANIFEST}, `polyface embed` looks at its pictures again")


KINDS = {"names": "U", "faces": "int32", "boxes": "float32", "scores": "float32", "embeddings": "float32"}
KINDS |= {"pictures": "U", "refused": "U", "reasons": "U", "copies": "U", "sha256": "uint8", "stamps": "int64"}
"""What each array of a shard holds; U: words."""


def _read(path: Path, entry: ShardEntry, manifest: Manifest) -> Shard:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unlike(path, manifest, f"cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise _unlike(path, manifest, f"not the bytes that {MANIFEST} names: cut, changed, or of another gallery ({len(content):,} bytes)")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in (*KINDS, "network")}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path}: not a shard of a gallery ({error})") from error
    network = str(found.pop("network"))
    if network != manifest.network:
        raise RequestError(f"{path}: made by the network {network[:12]}, the gallery by {manifest.network[:12]}")
    rows = {"pictures": entry.pictures, "refused": entry.refused, "reasons": entry.refused}
    rows |= {"copies": entry.copies, "sha256": entry.pictures, "stamps": entry.pictures}
    widths = {"boxes": (4,), "embeddings": (manifest.dimension,), "sha256": (32,), "stamps": (2,)}
    for name, array in found.items():
        expected = (rows.get(name, entry.faces), *widths.get(name, ()))
        if KINDS[name] not in (array.dtype.kind, array.dtype.name) or array.shape != expected:
            raise RequestError(f"{path}: {name} is {array.dtype} of shape {list(array.shape)}, {KINDS[name]} of {list(expected)} is needed")
    shard = Shard(**found)
    wrong = wrong_vector(shard.embeddings)
    if wrong is not None:
        row, what = wrong
        raise RequestError(f"{path}, row {row} ({shard.names[row]}, face {shard.faces[row]}): {what}")
    return shard
