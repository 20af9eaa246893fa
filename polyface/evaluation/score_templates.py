"""`polyface score ijb`: embeddings of pictures, and the lists of templates -> scores."""

from pathlib import Path

import numpy as np

from polyface.errors import InputError
from polyface.evaluation.arrays import Arrays, read_arrays
from polyface.evaluation.protocols.ijb import identify_templates, pool, verify_templates
from polyface.evaluation.protocols.result import Result
from polyface.evaluation.score import Scored, refusing, vectors_of
from polyface.evaluation.template_lists import People, Templates, read_detector_scores, read_templates


@refusing
def ijb(embeddings: Path, meta: Path, unit: bool = False, detector_scores: bool = False) -> Scored:
    """embeddings: arrays `names` [N], the pictures, and `embeddings` [N, d]; a .npy has them in the order of ..._face_tid_mid.txt. meta: see `template_lists`.

    Norms are kept, unless `unit` brings each embedding to length 1 before pooling; detector_scores multiplies each by ..._name_5pts_score.txt. The counts say
    what of both was done, for numbers with and without are not comparable.
    """
    listed, found = read_templates(meta), read_arrays(embeddings, "embeddings")
    vectors = vectors_of(found)
    rows = _rows(listed, found)
    inputs = {"embeddings": found.sha256, **listed.files}
    weight = None
    if detector_scores:
        weight, inputs["detector scores"] = read_detector_scores(meta, listed.picture)
    try:
        numbers, templates = pool(vectors, rows, np.array(listed.picture), listed.template, listed.media, weight, unit)
    except InputError as error:
        raise InputError(f"{found.path} by {listed.path}: {error}") from error
    counts = {
        "pictures": len(listed.picture),
        "templates": len(numbers),
        "media": np.unique(np.stack([listed.template, listed.media]), axis=1).shape[1],
        "dimensions": vectors.shape[1],
        "pictures_brought_to_unit_length": len(listed.picture) if unit else 0,
        "pictures_times_detector_score": len(listed.picture) if detector_scores else 0,
        "unused_embeddings": len(found.names) - len(np.unique(rows)),
    }
    counts |= {"repeated_pairs": listed.repeated} if listed.repeated else {}
    results = []
    if listed.left is not None and listed.right is not None and listed.same is not None:
        left, right = (np.searchsorted(numbers, side) for side in (listed.left, listed.right))
        results.append(verify_templates(templates, left, right, listed.same, _subjects(listed, numbers, left, right)))
    if listed.probes is not None:
        galleries = {name: (_vectors(gallery, numbers, templates), np.array(gallery.subject)) for name, gallery in listed.galleries.items()}
        results.append(identify_templates(galleries, _vectors(listed.probes, numbers, templates), np.array(listed.probes.subject)))
    merged = Result(
        "ijb",
        {name: score for result in results for name, score in result.scores.items()},
        {**{name: count for result in results for name, count in result.counts.items()}, **counts},
        {name: reason for result in results for name, reason in result.reasons.items()},
        {name: note for result in results for name, note in result.notes.items()},
        {name: curve for result in results for name, curve in result.curves.items()},
    )
    return Scored(merged, inputs)


def _rows(listed: Templates, found: Arrays) -> np.ndarray:
    if not found.path.lower().endswith(".npy") or found.names != tuple(map(str, range(len(found.names)))):  # those of a plain .npy, in the order of the list
        return listed.rows(found.names, found.path)
    if len(found.names) != len(listed.picture):
        raise InputError(f"{found.path}: {len(found.names)} rows, {listed.path} has {len(listed.picture)}")
    return np.arange(len(listed.picture))


def _subjects(listed: Templates, numbers: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """The person of each template, where the lists of 1:N know all that are in a pair. Raises InputError for a pair that they contradict."""
    known = {
        template: subject
        for people in (*listed.galleries.values(), *([listed.probes] if listed.probes else []))
        for template, subject in zip(people.template.tolist(), people.subject, strict=True)
    }
    subjects = np.array([known.get(template, "") for template in numbers.tolist()])
    paired = np.unique(np.concatenate([left, right]))
    if (subjects[paired] == "").any():
        return None
    ids = np.unique(subjects, return_inverse=True)[1]
    for pair in np.flatnonzero((ids[left] == ids[right]) != listed.same)[:1]:
        kind = "one person" if listed.same[pair] else "two people"  # type: ignore[index]
        raise InputError(f"{listed.pair_file}, pair {pair + 1}: labelled as {kind}, its templates are of subjects {subjects[left[pair]]} and {subjects[right[pair]]}")
    return ids


def _vectors(people: People, numbers: np.ndarray, templates: np.ndarray) -> np.ndarray:
    return templates[np.searchsorted(numbers, people.template)]
