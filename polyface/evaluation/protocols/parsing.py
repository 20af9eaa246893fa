"""Class maps of faces, as Helen, LaPa and CelebAMask-HQ are scored (papers.md D9, B5): pixels of all pictures pooled, then F1 and IoU of each class, then means, each
named by what it is a mean of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from polyface.errors import RequestError, nearest
from polyface.evaluation.protocols.result import Result, row_draws, scored
from polyface.metrics.classification import f1_of_confusion, mean_over_present
from polyface.metrics.regions import merged_f1
from polyface.tasks import parsing

ELEVEN = ("background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "nose", "u_lip", "mouth", "l_lip", "hair")
"""In the order of Helen's layers and of LaPa's numbers; `mouth` is its inside. `l` and `r` are as the set has them."""

HELEN_PARTS = (("l_eye", "r_eye"), ("l_brow", "r_brow"), ("nose",), ("u_lip", "mouth", "l_lip"))
"""What Helen's `overall` is over: skin, hair and background are not in it."""


@dataclass(frozen=True)
class Benchmark:
    """classes in the order of the masks' numbers, the first of them background; subsets {size: classes} of which a mean is usual too; parts: of `overall`."""

    classes: tuple[str, ...]
    subsets: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    parts: tuple[tuple[str, ...], ...] = ()


BENCHMARKS = {
    "helen": Benchmark(ELEVEN, parts=HELEN_PARTS),
    "lapa": Benchmark(ELEVEN),
    "celebamask-hq": Benchmark(parsing.vocabulary, {10: ELEVEN[1:]}),
}


def benchmark_named(name: str) -> Benchmark:
    if name not in BENCHMARKS:
        raise RequestError(f"no benchmark {name!r}{nearest(name, BENCHMARKS)}")
    return BENCHMARKS[name]


def score_masks(confusions: np.ndarray, benchmark: Benchmark, people: np.ndarray) -> Result:
    """confusions int [N, C, C] of each picture (`metrics.regions.region_confusion`): row truth, column prediction; people [N]: whose face it is, any ids.

    `f1_18_classes` and `miou_18_classes` are without background, `..._19_classes_with_background` with it. A class in neither truth nor prediction is left out of every
    mean and listed. Helen's overall: `one_region` takes all its parts for a single region, as the public evaluator does; `union` each of the four for one; `pooled` adds
    up the hits and errors of the single classes.
    """
    names, flat = benchmark.classes, confusions.reshape(len(confusions), -1).astype(np.float64)
    subsets = {f"{len(names) - 1}_classes": names[1:], **{f"{size}_classes": chosen for size, chosen in benchmark.subsets.items()}}
    subsets[f"{len(names)}_classes_with_background"] = names
    places = {name: names.index(name) for name in names}
    parts = [[places[name] for name in part] for part in benchmark.parts]
    single = [at for part in parts for at in part]
    overall = {"one_region": [single], "union": parts, "pooled": [[at] for at in single]} if parts else {}
    merged = {"+".join(part): places_of for part, places_of in zip(benchmark.parts, parts, strict=True) if len(part) > 1}

    def statistic(times: np.ndarray) -> dict[str, float]:
        pooled = (times @ flat).reshape(len(names), len(names))
        f1 = f1_of_confusion(pooled)
        found = {f"f1_overall_{reading}": merged_f1(pooled, regions) for reading, regions in overall.items()}
        for score, each in (("f1", f1), ("miou", f1 / (2 - f1))):
            found |= {f"{score}_{subset}": _mean(each, [places[name] for name in chosen]) for subset, chosen in subsets.items()}
        found |= {f"f1:{name}": merged_f1(pooled, [places_of]) for name, places_of in merged.items()}
        found |= {f"f1:{name}": value for name, value in zip(names, f1, strict=True)}
        return found | {f"iou:{name}": value for name, value in zip(names, f1 / (2 - f1), strict=True)}

    scores = scored(statistic, len(confusions), row_draws(people))
    pooled = confusions.sum(axis=0)
    absent = [name for at, name in enumerate(names) if not pooled[at].sum() and not pooled[:, at].sum()]
    nowhere = "in no picture and no answer"
    reasons = {name: nowhere if ":" in name else f"{nowhere}: {', '.join(absent)}" for name, score in scores.items() if np.isnan(score.value)}
    notes: dict[str, str] = {}
    for subset, chosen in subsets.items():
        left = [name for name in chosen if name in absent]
        notes |= {f"{score}_{subset}": f"without {', '.join(left)}, {nowhere}" for score in ("f1", "miou") if left}
    if parts:
        notes["f1_overall_one_region"] = "eyes, brows, nose, mouth as a single region, as insightface's dml_csr has it: a brow that is called an eye is no error"
        notes["f1_overall_union"] = "eyes, brows, nose, mouth as one region each"
        notes["f1_overall_pooled"] = "hits and errors of the single classes of eyes, brows, nose, mouth"
    pixels = {f"pixels:{name}": int(count) for name, count in zip(names, pooled.sum(axis=1), strict=True)}
    return Result("parsing", scores, {"pictures": len(confusions), "people": len(np.unique(people)), **pixels}, reasons, notes)


def _mean(each: np.ndarray, chosen: Sequence[int]) -> float:
    return mean_over_present(each[list(chosen)]).value
