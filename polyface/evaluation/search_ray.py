"""Exact search where one machine is not enough: the gallery's parts, each searched by a free processor of a Ray cluster, put together exactly (`search.merge`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyface.cluster import arrived, connected
from polyface.errors import InputError
from polyface.evaluation.search import Found, Mates, merge, search
from polyface.evaluation.search_gallery import open_gallery


def search_on_ray(
    probes: np.ndarray,
    parts: Sequence[Path],
    k: int = 10,
    mates: Mates | None = None,
    least: float = -np.inf,
    skip: tuple[np.ndarray, np.ndarray] | None = None,
    subsets: Mapping[str, int | np.ndarray | None] | None = None,
    largest: int | Mapping[str, int] = 0,
) -> Found:
    """As `search` of the parts one after the other: `.npy` files that all machines see under the same paths. More parts than processors keep all of them busy.

    Raises what `search` does, and RunError where a machine is lost more often than Ray tries.
    """
    if not parts:
        raise InputError("a gallery of no parts")
    sizes = [len(open_gallery(path)) for path in parts]
    asked = dict(k=k, mates=mates, least=least, skip=skip, subsets=subsets, largest=largest)
    with connected() as ray:
        everyone, everything = ray.put(probes), ray.put(asked)
        remote = ray.remote(num_cpus=1)(_search_part)
        begins = np.cumsum([0, *sizes[:-1]]).tolist()
        coming = [remote.remote(everyone, str(path), everything, (begin, sum(sizes))) for path, begin in zip(parts, begins, strict=True)]
        return merge([arrived(ray, reference) for reference in coming])


def _search_part(probes: np.ndarray, path: str, asked: dict[str, Any], part: tuple[int, int]) -> Found:
    return search(probes, open_gallery(Path(path)), **asked, part=part, threads=1)
