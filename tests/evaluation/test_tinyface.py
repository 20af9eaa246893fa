"""TinyFace: against slow and obvious arithmetic, negative controls, and what must be refused."""

import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from polyface import cli
from polyface.errors import RequestError
from polyface.evaluation.score_tinyface import tinyface

Files = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("few_draws")


def drawn(seed: int = 0, people: int = 15) -> dict[str, np.ndarray]:
    """Two probes and one to three mates of each person, 60 distractors; rounded, so that some scores are tied."""
    random = np.random.default_rng(seed)
    centres, made = random.normal(size=(people, 4)), {}

    def near(person: int) -> np.ndarray:
        return np.round(centres[person] + random.normal(size=4), 0) + 0.25

    for person in range(people):
        made |= {f"Testing_Set/Probe/{person}_{at}.jpg": near(person) for at in range(2)}
        made |= {f"Testing_Set/Gallery_Match/{person}_{at}.jpg": near(person) for at in range(2, 3 + random.integers(1, 4))}
    return made | {f"Testing_Set/Gallery_Distractor/img_{at}.jpg": np.round(random.normal(size=4), 0) + 0.25 for at in range(60)}


def scored(npz: Files, made: dict[str, np.ndarray], meta: Path | None = None):
    return tinyface(npz("E", names=list(made), embeddings=list(made.values())), meta)


def lists(folder: Path, made: dict[str, np.ndarray], off: int = 0) -> Path:
    """The set's two .mat files: cells of names, columns of numbers."""
    for part, file, names, ids in (("Probe", "probe", "probe_set", "probe_ids"), ("Gallery_Match", "gallery_match", "gallery_set", "gallery_ids")):
        files = [name.rpartition("/")[2] for name in made if f"/{part}/" in name]
        cells = np.empty((len(files), 1), object)
        cells[:, 0] = files
        savemat(folder / f"{file}_img_ID_pairs.mat", {names: cells, ids: np.array([[int(file.partition("_")[0]) + off] for file in files])})
    return folder


@pytest.mark.parametrize("seed", [0, 1])
def test_tinyface_is_what_counting_down_the_list_gives(npz: Files, tmp_path: Path, seed: int) -> None:
    made = drawn(seed)
    result = scored(npz, made, lists(tmp_path, made)).result
    unit = {name: np.float32(vector / np.sqrt((vector**2).sum())).astype(np.float64) for name, vector in made.items()}  # float32 is what is ranked
    gallery = {name: int(name.rpartition("/")[2].partition("_")[0]) if "Match" in name else None for name in made if "Gallery" in name}
    ranks, precisions, ties = [], [], 0
    for name in made:
        if "/Probe/" in name:
            person = int(name.rpartition("/")[2].partition("_")[0])
            entries = [(round(float((unit[name] * unit[other]).sum()), 12), whose == person) for other, whose in gallery.items()]
            listed = [hit for _, hit in sorted(entries, key=lambda entry: (-entry[0], entry[1]))]  # among equals, mates come last
            ties += listed != [hit for _, hit in sorted(entries, key=lambda entry: (-entry[0], not entry[1]))]
            ranks.append(1 + listed.index(True))
            found = [at for at, hit in enumerate(listed) if hit]
            precisions.append(statistics.fmean((number + 1) / (at + 1) for number, at in enumerate(found)))
    assert ties, "no probe has a tie, and the rule for ties is not tested"
    for k in (1, 5, 20):
        assert result.scores[f"rank{k}"].value == pytest.approx(statistics.fmean(rank <= k for rank in ranks))
        assert result.scores[f"rank{k}_ties_by_lot"].value >= result.scores[f"rank{k}"].value
    assert result.scores["map"].value == pytest.approx(statistics.fmean(precisions))
    assert result.counts == {"probes": 30, "people": 15, "gallery": len(gallery), "mates": sum(whose is not None for whose in gallery.values())}


def test_no_score_depends_on_order_or_length(npz: Files) -> None:
    made = drawn(3)
    names = np.random.default_rng(0).permutation(list(made)).tolist()
    before, after = (scored(npz, each).result for each in (made, {name: 7 * made[name] for name in names}))
    assert {name: score.value for name, score in before.scores.items()} == pytest.approx({name: score.value for name, score in after.scores.items()})


def test_a_collapsed_model_finds_nobody_whatever_the_order(npz: Files) -> None:
    made = dict.fromkeys(drawn(), np.array([0.3, 0.1, -2.0, 1.0]))
    for order in (1, -1):
        found = scored(npz, dict(list(made.items())[::order])).result.scores
        assert [found[f"rank{k}"].value for k in (1, 5, 20)] == [0, 0, 0]
        assert [found[f"rank{k}_ties_by_lot"].value for k in (1, 5, 20)] == pytest.approx([found[f"rank{k}"].chance for k in (1, 5, 20)])


def test_a_perfect_model_finds_everybody(npz: Files) -> None:
    made = drawn()
    for name in made:
        person = name.rpartition("/")[2].partition("_")[0]
        made[name] = np.eye(16)[int(person) if person.isdecimal() else 15]
    found = scored(npz, made).result.scores
    assert all(found[name].value == 1 for name in ("rank1", "rank5", "rank20", "rank1_ties_by_lot", "map"))
    assert found["rank1"].low < 1


def test_what_cannot_be_scored_is_refused_by_file_and_row(npz: Files, tmp_path: Path) -> None:
    made = drawn()

    def refused(made: dict[str, np.ndarray], meta: Path | None = None) -> str:
        with pytest.raises(RequestError) as caught:
            scored(npz, made, meta)
        return str(caught.value)

    vector = np.ones(4)
    assert "row 0 (1_1.jpg): is not in Probe/" in refused({"1_1.jpg": vector})
    assert "does not begin with a person's number" in refused({"Probe/x.jpg": vector})
    assert "does not begin with a person's number, of at most 18 digits" in refused({f"Probe/{10**20}_1.jpg": vector})
    assert "is the picture of row 0" in refused({"Probe/1_1.jpg": vector, "a/Probe/1_1.jpg": vector})
    assert "no name in Gallery_Distractor/" in refused({name: each for name, each in made.items() if "Distractor" not in name})
    assert "person 99 has nobody in Gallery_Match" in refused(made | {"Probe/99_0.jpg": vector})
    assert "has length 0" in refused(made | {"Probe/1_7.jpg": 0 * vector})
    assert "nan is not finite" in refused(made | {"Probe/1_7.jpg": np.nan * vector})
    assert "probe_img_ID_pairs.mat: no such file" in refused(made, tmp_path)
    lists(tmp_path, made)
    assert "is not in " in refused(made | {"Probe/1_7.jpg": vector}, tmp_path)
    assert "has no 'Probe/0_0.jpg'" in refused({name: each for name, each in made.items() if "Probe/0_0" not in name}, tmp_path)
    assert "person 0 by its name, " in refused(made, lists(tmp_path, made, off=1))
    (tmp_path / "probe_img_ID_pairs.mat").write_bytes(b"no mat")
    assert "probe_img_ID_pairs.mat: cannot be read" in refused(made, tmp_path)
    lists(tmp_path, made)
    whole = (tmp_path / "probe_img_ID_pairs.mat").read_bytes()
    (tmp_path / "probe_img_ID_pairs.mat").write_bytes(whole[:150] + bytes(20) + whole[170:])
    assert "probe_img_ID_pairs.mat: cannot be read" in refused(made, tmp_path)
    savemat(tmp_path / "probe_img_ID_pairs.mat", {"probe_set": np.array(["a"], object)})
    assert "no array 'probe_ids'" in refused(made, tmp_path)


def test_tinyface_runs_from_the_command_line(npz: Files, capsys: pytest.CaptureFixture) -> None:
    made = drawn()
    assert cli.run(["score", "tinyface", "--embeddings", str(npz("E", names=list(made), embeddings=list(made.values())))]) == 0
    assert "rank20" in capsys.readouterr().out
