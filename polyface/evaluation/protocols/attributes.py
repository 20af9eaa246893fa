"""Yes-or-no attributes, as CelebA and LFWA are scored (papers.md D6): means over attributes, plain and balanced."""

from collections.abc import Sequence

import numpy as np

from polyface.errors import InputError
from polyface.evaluation.protocols.result import Result, row_draws, scored
from polyface.metrics import traits
from polyface.metrics.baselines import constant_trait_accuracy
from polyface.metrics.intervals import Score


def score_attributes(labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str], people: np.ndarray, of: int | None = None) -> Result:
    """labels int8 [N, A] of 0, 1 and -1 (unknown), probabilities [N, A]; people [N]: whose face it is, any ids.

    of: out of so many attributes these were chosen; the means are then named `..._subset`. An attribute without a yes or without a no has no balanced accuracy. Raises
    InputError naming the first bad row.
    """
    counts = traits.trait_counts(labels, probabilities)
    outside = (probabilities < 0) | (probabilities > 1)
    if outside.any():
        row, at = np.argwhere(outside)[0]
        raise InputError(f"probabilities: row {row} holds {probabilities[row, at]:g} for {names[at]}, outside 0 to 1; a logit x is 1 / (1 + exp(-x))")
    flat = counts.reshape(len(counts), -1).astype(np.float32)
    end = "" if of is None else "_subset"

    def statistic(times: np.ndarray) -> dict[str, float]:
        sums = (times.astype(np.float32) @ flat).astype(np.float64).reshape(-1, 4)  # counts: exact in float32 up to 16 million
        plain, balanced = traits.accuracy_of_counts(sums), traits.balanced_accuracy_of_counts(sums)
        found = {f"mean_accuracy{end}": plain.value, f"mean_balanced_accuracy{end}": balanced.value}
        for score, each in (("accuracy", plain.each), ("balanced_accuracy", balanced.each)):
            found |= {f"{score}:{name}": value for name, value in zip(names, each, strict=True)}
        return found

    known = (labels != -1).sum(axis=0)
    n = {f"{score}:{name}": int(rows) for score in ("accuracy", "balanced_accuracy") for name, rows in zip(names, known, strict=True)}
    whose = {f"accuracy:{name}": len(np.unique(people[labels[:, at] != -1])) for at, name in enumerate(names)}
    whose[f"mean_accuracy{end}"] = min((people for people in whose.values() if people), default=0)
    chance = {f"mean_accuracy{end}": 0.5, f"mean_balanced_accuracy{end}": 0.5, **dict.fromkeys(n, 0.5)}
    scores = scored(statistic, len(labels), row_draws(people), n, chance, whose)
    blind = f"mean_accuracy{end}_constant"
    scores[blind] = Score(constant_trait_accuracy(labels).value, np.nan, np.nan, len(labels))

    one_sided = [name for name, sides in zip(names, [(labels[:, at] == 1).any() and (labels[:, at] == 0).any() for at in range(len(names))], strict=True) if not sides]
    unknown = [name for name, rows in zip(names, known, strict=True) if not rows]
    reasons = {f"balanced_accuracy:{name}": "no face is known to show it, or none not to" for name in one_sided}
    reasons |= {f"accuracy:{name}": "no face is labelled" for name in unknown}
    reasons |= {name: "no attribute is labelled" for name in (f"mean_accuracy{end}", blind) if len(unknown) == len(names)}
    reasons |= {f"mean_balanced_accuracy{end}": "no attribute has both a yes and a no"} if len(one_sided) == len(names) else {}
    notes = {blind: "of the more common answer to each"}
    for name, absent in ((f"mean_accuracy{end}", unknown), (f"mean_balanced_accuracy{end}", one_sided)):
        few = [f"{len(names)} of {of} attributes"] if of is not None else []
        notes[name] = "; ".join(few + ([f"without {', '.join(absent)}"] if absent else []))
    said = {"labels_yes": int((labels == 1).sum()), "labels_no": int((labels == 0).sum()), "labels_unknown": int((labels == -1).sum())}
    return Result("attributes", scores, {"faces": len(labels), "people": len(np.unique(people)), "attributes": len(names), **said}, reasons, notes)
