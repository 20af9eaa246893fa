"""Pictures out of a gallery, for whoever withdraws consent: what was found on them is deleted, and not only marked."""

import fnmatch
import glob
import itertools
import os
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from polyface.errors import RequestError
from polyface.files import alone
from polyface.inference.gallery import MANIFEST, Gallery, originals_of, read_manifest, sweep, without


@dataclass(frozen=True)
class Forgotten:
    """What was taken out of a gallery: pictures by name, and how many faces they had. copies: names of pictures that have the bytes of one of them, and are new when they
    are asked for. originals: names of pictures that one of them was a copy of, and that stay, with the faces. unmatched: patterns that no picture matches."""

    pictures: tuple[str, ...]
    faces: int
    copies: tuple[str, ...]
    originals: tuple[str, ...]
    unmatched: tuple[str, ...]
    gallery: Gallery


def forget(out: Path, patterns: Sequence[str]) -> Forgotten:
    """Take the pictures that match out of a gallery, and all that is known of them: its files hold their names and vectors no more. It takes no model.

    patterns: paths, there any more or not: of a picture, of one in an archive, of a folder or an archive for all below; or globs, whose `*` stands for any letters, `/`
    too, and which match all that `embed` takes them for. Killed at any moment it leaves the gallery of before or that of after; repeated, or by `embed`, what is left of
    the other is deleted.

    Raises RequestError where there is no gallery, or one that is not whole, and for an empty pattern; RunError where it cannot be written.
    """
    if not all(patterns):
        raise RequestError("an empty pattern names no picture")
    read_manifest(out / MANIFEST)
    with alone(out):
        gallery = Gallery(out, read_manifest(out / MANIFEST))
        sweep(out, gallery.manifest)
        before = _pictures_of(gallery)
        names, unmatched = _matching(before, patterns)
        originals = _originals(gallery, names)
        left = without(gallery, names) if names else gallery
        copies = before - names - _pictures_of(left)
    return Forgotten(tuple(sorted(names)), gallery.faces - left.faces, tuple(sorted(copies)), tuple(sorted(originals)), unmatched, left)


def _pictures_of(gallery: Gallery) -> set[str]:
    return {str(name) for shard in gallery.shards() for name in shard.pictures}


def _originals(gallery: Gallery, names: Set[str]) -> set[str]:
    """The pictures of other names that those of these names are copies of."""
    if not names:
        return set()
    held = {digest: name for shard in gallery.shards() for name, digest in originals_of(shard)}
    return {held[digest] for digest in gallery.sha256_of(names).values() if digest in held} - names


def _matching(names: Iterable[str], patterns: Sequence[str]) -> tuple[set[str], tuple[str, ...]]:
    """The names that match a pattern, and the patterns that match none."""
    names, paths = list(names), {pattern: os.path.abspath(pattern) for pattern in patterns}
    places = {place for name in names for place in (name, *map(str, Path(name).parents))}
    magic = {path: pattern for pattern, path in paths.items() if glob.has_magic(pattern) and path not in places}  # a[1].jpg, where it is there, is itself
    globs = {path: re.compile("|".join(map(fnmatch.translate, _spelled_out(_absolute(pattern))))) for path, pattern in magic.items()}
    wanted, matching, used = set(paths.values()), set(), set()
    for name in names:
        by = wanted.intersection((name, *map(str, Path(name).parents))) | {path for path, matches in globs.items() if matches.match(name)}
        used |= by
        if by:
            matching.add(name)
    return matching, tuple(pattern for pattern, path in paths.items() if path not in used)


def _absolute(pattern: str) -> str:
    """A glob from the root on. The folder we are in is itself, whatever letters are in its name."""
    return os.path.normpath(os.path.join(glob.escape(os.getcwd()), pattern))


def _spelled_out(pattern: str) -> list[str]:
    """The pattern with each folder `**` and without it, since it may stand for none."""
    first, *others = pattern.split("/**/")
    return ["".join(parts) for parts in itertools.product([first], *(("/**/" + other, "/" + other) for other in others))]
