"""One class for each face: accuracy, mean recall and macro-F1, as expression sets are scored (papers.md D11)."""

from collections.abc import Sequence

import numpy as np

from polyface.evaluation.protocols.result import Result, row_draws, scored
from polyface.metrics import classification
from polyface.metrics.baselines import constant_accuracy
from polyface.metrics.intervals import Score, mean_score


def score_classes(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str], people: np.ndarray) -> Result:
    """truth, predicted int [N]: which of the classes; people [N]: whose face it is, any ids.

    A class that no face is labelled as has no recall, and is left out of the mean; one that nobody names either has no F1. Both are listed. Raises InputError naming the
    first bad row.
    """
    count = len(classes)
    pooled = classification.confusion(truth, predicted, count)
    right, labelled, named = truth == predicted, pooled.sum(axis=1), pooled.sum(axis=0)

    def statistic(times: np.ndarray) -> dict[str, float]:
        hits, of_truth, of_answer = (np.bincount(which, weights, count) for which, weights in ((truth, times * right), (truth, times), (predicted, times)))
        recall = classification.mean_over_present(classification.share(hits, of_truth))
        f1 = classification.mean_over_present(classification.share(2 * hits, of_truth + of_answer))
        each = {f"recall:{name}": value for name, value in zip(classes, recall.each, strict=True)}
        return {"mean_recall": recall.value, "macro_f1": f1.value, **each, **{f"f1:{name}": value for name, value in zip(classes, f1.each, strict=True)}}

    whose = {f"recall:{name}": len(np.unique(people[truth == at])) for at, name in enumerate(classes)}
    whose["mean_recall"] = min((people for people in whose.values() if people), default=0)
    n = {f"{score}:{name}": int(count) for score in ("recall", "f1") for name, count in zip(classes, labelled, strict=True)}
    chance = {"mean_recall": 1 / count, **{f"recall:{name}": 1 / count for name in classes}}
    blind = constant_accuracy(truth)
    scores = {"accuracy": mean_score(right, people, 1 / count), "accuracy_constant": Score(blind, np.nan, np.nan, len(truth))}
    scores |= scored(statistic, len(truth), row_draws(people), n, chance, whose)
    unlabelled = [name for name, faces in zip(classes, labelled, strict=True) if not faces]
    nowhere = [name for name, faces, answers in zip(classes, labelled, named, strict=True) if not faces and not answers]
    reasons = {f"recall:{name}": "no face is labelled so" for name in unlabelled}
    reasons |= {f"f1:{name}": "no face is labelled or answered so" for name in nowhere}
    notes = {"accuracy_constant": "of the most common class for every face"}
    notes |= {name: f"without {', '.join(absent)}" for name, absent in (("mean_recall", unlabelled), ("macro_f1", nowhere)) if absent}
    return Result("classification", scores, {"faces": len(truth), "people": len(np.unique(people)), "classes": count}, reasons, notes)
