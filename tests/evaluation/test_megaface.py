"""MegaFace against the slow and obvious in float64, and the devkit's files as the devkit writes them."""

import csv
import errno
import json
import os
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from polyface import cli
from polyface.errors import InputError, RequestError, RunError
from polyface.evaluation import megaface_devkit, search, search_codes, search_gallery, search_scan
from polyface.evaluation.protocols.megaface import Identified, identify, score_megaface
from polyface.evaluation.score_megaface import megaface
from polyface.evaluation.search import Found

Files = Callable[..., Path]


def people_and_distractors(photographs=(2, 3, 1, 4), rows=40, d=8, seed=0, noise=0.8):
    """probes [P, d], people [P], distractors [rows, d]: float32, not of unit length; some photographs are much better than others."""
    random = np.random.default_rng(seed)
    people = np.repeat(np.arange(len(photographs)), photographs)
    probes = random.normal(size=(len(photographs), d))[people] + noise * random.random((len(people), 1)) ** 3 * random.normal(size=(len(people), d))
    return probes.astype(np.float32), people, random.normal(size=(rows, d)).astype(np.float32)


def unit(vectors):
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True))


def run_every_trial(probes, people, distractors, ranks=(1, 10), far=1e-6):
    """(trials, shares of hits, TAR): each photograph joins the distractors, the person's others look for it; every impostor is looked at."""
    probes, distractors = (unit(side).astype(np.float32).astype(np.float64) for side in (probes, distractors))
    impostors = probes @ distractors.T
    everybody = np.sort(impostors.ravel())
    places, accepted = [], []
    for joining in range(len(probes)):
        for probe in range(len(probes)):
            if probe != joining and people[probe] == people[joining]:
                score = float(np.dot(probes[probe], probes[joining]))
                places.append(1 + np.count_nonzero(impostors[probe] >= score))
                accepted.append(len(everybody) - np.searchsorted(everybody, score) <= far * len(everybody) + 1e-9)
    return len(places), [np.mean([place <= rank for place in places]) for rank in ranks], np.mean(accepted)


@pytest.mark.parametrize(("seed", "coded_from"), [(0, 1), (1, 256)])
def test_hits_and_accepts_are_those_of_comparing_everything(seed, coded_from, monkeypatch):
    monkeypatch.setattr(search, "ENOUGH", coded_from)
    probes, people, distractors = people_and_distractors((2, 3, 1, 4), 300_000, 4, seed)  # 3,000,000 impostors: three may be accepted
    sizes = {"10": 10, "500": 500, "some": np.arange(7, 4000, 13), "300000": 300_000}
    trials = identify(unit(probes).astype(np.float32), people, unit(distractors).astype(np.float32), sizes, len(distractors))
    result = score_megaface(trials, "uncleaned", draws=20)
    for name, rows in sizes.items():
        part = distractors[:rows] if isinstance(rows, int) else distractors[rows]
        count, (first, tenth), tar = run_every_trial(probes, people, part)
        assert result.counts["trials"] == count == 2 + 6 + 12 and result.counts[f"distractors@{name}"] == len(part)
        assert (result.scores[f"rank1@{name}"].value, result.scores[f"rank10@{name}"].value) == (first, tenth)
        assert result.scores[f"rank1@{name}"].chance == 1 / (len(part) + 1)
        if len(part) * len(probes) < 10**6:
            assert np.isnan(result.scores[f"tar@1e-6@{name}"].value) and "needs 1000000 impostor pairs" in result.reasons[f"tar@1e-6@{name}"]
        else:
            assert 0 < result.scores[f"tar@1e-6@{name}"].value == tar < 1
            assert 0 < result.scores[f"far@1e-6@{name}"].value <= 1e-6
        ranks, rates = trials.cmc(name)
        assert ranks[0] == 0 and rates[0] == first and ranks[-1] == len(part) and rates[-1] == 1 and (np.diff(ranks) > 0).all()
        assert rates[np.searchsorted(ranks, 9, side="right") - 1] == tenth


def test_the_curve_has_the_rates_of_every_threshold():
    probes, people, distractors = people_and_distractors((3, 3, 3), 8000, 4, 5)
    units = unit(probes).astype(np.float32), unit(distractors).astype(np.float32)
    trials = identify(units[0], people, units[1], {"all": 8000}, 8000)
    far, tar = trials.roc("all")
    impostors = (units[0].astype(float) @ units[1].astype(float).T).ravel()
    assert far[0] == 0 and tar[0] == np.mean(trials.genuine > impostors.max()) and 5e-5 < far[-1] <= 1e-4 + 1 / impostors.size
    for rate, accepted in zip(far[1:], tar[1:], strict=True):
        threshold = np.sort(impostors)[-round(rate * impostors.size)]
        assert accepted == np.mean(trials.genuine >= threshold - 1e-12)


def test_people_with_two_and_three_photographs_are_eight_trials():
    probes, people, distractors = people_and_distractors((2, 3))
    assert len(identify(probes, people, distractors, {"all": 40}, 40).person) == 8


def found(genuine, impostors, size="all", total=None):
    """A search of one probe that found these impostors."""
    genuine, falling = np.asarray(genuine, float), -np.sort(-np.asarray(impostors, float))
    above, equal = (np.array([[int(side)] for side in sides]) for sides in (((falling > g).sum() for g in genuine), ((falling == g).sum() for g in genuine)))
    nothing = np.zeros((1, 0))
    count = len(falling)
    return Found(nothing.astype(int), nothing, above, equal, (falling,), (count,), np.array([total or count]), (size,), count, 0, count, "hand")


def test_worked_rates_of_accepted_pairs():
    """papers.md D15; a target that allows no impostor is refused."""
    genuine = np.array([0.9, 0.8, 0.4])
    of_pairs = found(genuine, [0.7, 0.5, 0.3, 0.1])
    assert np.mean(genuine >= of_pairs.threshold("all", 0.25)[0]) == 2 / 3
    assert np.mean(genuine >= of_pairs.threshold("all", 0.5)[0]) == 1
    with pytest.raises(InputError, match=r"FAR 0\.2 needs 5 impostor pairs, all has 4"):
        of_pairs.threshold("all", 0.2)


def test_a_collapsed_model_hits_and_accepts_nothing(npz: Files, capsys: pytest.CaptureFixture) -> None:
    trials = Identified(np.array([0, 0, 1, 1]), np.ones(4), found(np.ones(4), np.ones(102), total=10**6), 1)
    scores = score_megaface(trials, "uncleaned", draws=5).scores
    assert scores["tar@1e-6@all"].value == scores["far@1e-6@all"].value == scores["rank1@all"].value == scores["rank10@all"].value == 0
    same = np.tile(np.float32([0.3, -0.4, 0.5]), (50, 1))
    files = npz("P", names=list("abcd"), identities=[1, 1, 2, 2], embeddings=same[:4]), npz("D", names=np.arange(46), embeddings=same[4:])
    result = megaface(*files).result
    assert [result.scores[f"{name}@46"].value for name in ("rank1", "rank10")] == [0, 0]
    assert result.scores["rank1_by_lot@46"].value == pytest.approx(1 / 47) == result.scores["rank1_by_lot@46"].chance
    perfect = np.eye(3, dtype=np.float32)[[0, 0, 1, 1]]
    result = megaface(npz("Q", names=list("abcd"), identities=[1, 1, 2, 2], embeddings=perfect), npz("E", names=np.arange(46), embeddings=np.eye(3)[[2] * 46])).result
    assert result.scores["rank1@46"].value == 1


@hypothesis_settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_order_length_and_names_of_people_do_not_matter(seed):
    random = np.random.default_rng(seed)
    probes, people, distractors = people_and_distractors(seed=seed)
    expected = score_megaface(identify(probes, people, distractors, {"all": 40}, 40), "uncleaned", draws=0).scores
    order = random.permutation(len(probes))
    probes, people, distractors = probes[order] * np.float32(4), np.array([f"person {9 - number}" for number in people])[order], distractors[random.permutation(40)] * 4
    scores = score_megaface(identify(probes, people, distractors, {"all": 40}, 40), "uncleaned", draws=0).scores
    assert {name: score.value for name, score in scores.items() if name.startswith("rank")} == {
        name: score.value for name, score in expected.items() if name.startswith("rank")
    }


# The command.

PHOTOGRAPHS = ["A/A_1.png", "A/A_2.png", "B/B_1.png", "B/B_2.png", "B/B_3.png"]


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """A devkit of five probes and 100 distractors, with features of the model `net`, some of float64."""
    probes, _, distractors = people_and_distractors((2, 3), 100)
    root = tmp_path / "devkit"
    strangers = [f"{row % 3}/{row % 7}/{row}.jpg" for row in range(100)]
    for folder, names, vectors in (("facescrub", PHOTOGRAPHS, probes), ("megaface", strangers, distractors)):
        for row, (name, vector) in enumerate(zip(names, vectors, strict=True)):
            path = root / folder / f"{name}_net.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(feature(vector, 5 + row % 2))
    (root / "templatelists").mkdir()
    for probe_set, ids in (("facescrub", ["A", "A", "B", "B", "B"]), ("fgnet", [1, 1, 2, 2, 2])):
        (root / "templatelists" / f"{probe_set}_features_list.json").write_text(json.dumps({"path": PHOTOGRAPHS, "id": ids}))
    for size, rows in ((10, slice(90, 100)), (100, slice(0, 100))):
        (root / "templatelists" / f"megaface_features_list.json_{size}_1").write_text(json.dumps({"path": strangers[rows]}))
    return root


def test_the_devkits_own_files_are_scored_and_its_results_written(devkit: Path, npz: Files, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    probes, people, distractors = people_and_distractors((2, 3), 100)
    out, results = tmp_path / "scores.json", tmp_path / "results"
    assert cli.run(["score", "megaface", "--devkit", str(devkit), "--json", str(out), "--results", str(results), "--cache", str(tmp_path / "cache")]) == 0
    printed, said = capsys.readouterr()
    assert re.search(r"seconds: reading \d+\.\d, coding \d+\.\d, search \d+\.\d, intervals \d+\.\d", said)
    report = json.loads(out.read_text())
    assert "megaface, uncleaned" in printed and "rank1@100" in printed and report["protocol"] == "megaface, uncleaned"
    for size, rows in (("10", slice(90, 100)), ("100", slice(0, 100))):
        _, (first, tenth), _ = run_every_trial(probes, people, distractors[rows])
        assert (report["scores"][f"rank1@{size}"]["value"], report["scores"][f"rank10@{size}"]["value"]) == (first, tenth)
        written = json.loads((results / f"cmc_facescrub_megaface_net-uncleaned_{size}_1.json").read_text())
        assert sorted(written) == ["cmc", "roc"]
        assert written["cmc"][0][0] == 0 and written["cmc"][1][0] == first and written["cmc"][0][-1] == int(size) and written["roc"][0][0] == 0
    assert set(report["inputs"]) == {"probes", "distractors", "probe_list", "distractor_list_10", "distractor_list_100"}
    assert report["counts"]["trials"] == 8 and report["scores"]["tar@1e-6@100"]["value"] is None
    fgnet = megaface(probes=devkit / "facescrub", devkit=devkit, probe_set="fgnet", sizes=[100], cache=tmp_path / "cache")
    assert fgnet.result.scores["rank1@100"].value == report["scores"]["rank1@100"]["value"]
    lists = json.loads((devkit / "templatelists" / "megaface_features_list.json_100_1").read_text())["path"]
    shuffled = np.random.default_rng(0).permutation(100)  # arrays are found by their names
    arrays = npz("P", names=PHOTOGRAPHS[::-1], embeddings=probes[::-1]), npz("D", names=np.array(lists)[shuffled], embeddings=distractors[shuffled])
    assert megaface(*arrays, devkit=devkit).result.scores["rank1@10"].value == report["scores"]["rank1@10"]["value"]


def test_scores_are_written_though_nobody_reads_what_is_printed(devkit: Path, tmp_path: Path, run_unread: Callable[[list[str]], int]) -> None:
    out = tmp_path / "scores.json"
    assert run_unread(["score", "megaface", "--devkit", str(devkit), "--sizes", "10", "--json", str(out)]) == cli.BROKEN_PIPE
    assert "rank1@10" in json.loads(out.read_text())["scores"]


def test_a_plot_holds_the_curves_of_every_size(npz: Files, tmp_path: Path) -> None:
    probes, people, distractors = people_and_distractors((2, 3, 3), 6000, 4)
    looking, others = npz("P", names=list("abcdefgh"), identities=people, embeddings=probes), npz("D", names=np.arange(6000), embeddings=distractors)
    files = ["--probes", str(looking), "--distractors", str(others)]
    assert cli.run(["score", "megaface", *files, "--sizes", "10,6000", "--plot", str(tmp_path / "m.png")]) == 0
    with open(tmp_path / "m.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["protocol"] for row in rows} == {"megaface, uncleaned"}
    assert list(dict.fromkeys(row["curve"] for row in rows)) == ["cmc 10", "cmc 6000", "roc 6000"], "80 impostors are no curve up to FAR 1e-4"
    for size, last in ((10, 11), (6000, 50)):
        cmc = [float(row["found"]) for row in rows if row["curve"] == f"cmc {size}"]
        assert cmc == pytest.approx(run_every_trial(probes, people, distractors[:size], range(1, last + 1))[1], rel=1e-4)
    roc = np.array([(row["far"], row["tar"]) for row in rows if row["curve"] == "roc 6000"], float)
    expected = identify(unit(probes).astype(np.float32), people, unit(distractors).astype(np.float32), {"all": 6000}, 6000).roc("all")
    assert len(roc) > 1
    np.testing.assert_allclose(roc.T, expected, rtol=1e-4)


def test_noises_are_left_out_and_the_protocol_says_so(devkit: Path, tmp_path: Path) -> None:
    probes, people, distractors = people_and_distractors((2, 3), 100)
    of_probes, of_distractors = tmp_path / "facescrub_noises.txt", tmp_path / "megaface_noises.txt"
    of_probes.write_text("# noises\nB_2.png\nC_9.png\n")
    of_distractors.write_text("# noises\n686\t0/5/96.jpg\n0/2/9.jpg\n")
    (devkit / "megaface" / "0/5/96.jpg_net.bin").write_bytes(feature(np.zeros(8)))
    scored = megaface(devkit=devkit, probe_noises=of_probes, distractor_noises=of_distractors)
    assert scored.result.protocol == "megaface, cleaned"
    counts = scored.result.counts
    assert (counts["trials"], counts["noisy_probes"], counts["noisy_distractors"], counts["distractors@10"], counts["distractors@100"]) == (4, 1, 2, 9, 98)
    kept = [0, 1, 2, 4]
    _, (first, tenth), _ = run_every_trial(probes[kept], people[kept], np.delete(distractors, [96, 9], axis=0))
    assert (scored.result.scores["rank1@100"].value, scored.result.scores["rank10@100"].value) == (first, tenth)
    with pytest.raises(RequestError, match=r"0/5/96\.jpg_net\.bin: has length 0"):
        megaface(devkit=devkit, probe_noises=of_probes)
    (devkit / "megaface" / "0/5/96.jpg_net.bin").write_bytes(feature(np.ones(8)))
    assert megaface(devkit=devkit, probe_noises=of_probes).result.protocol == "megaface, probes cleaned"
    of_distractors.write_text("0/2/9.jpg\n")  # none of the ten
    assert megaface(devkit=devkit, sizes=[10], distractor_noises=of_distractors).result.counts["noisy_distractors"] == 0


def test_a_list_of_noises_that_names_nobody_or_cannot_be_read_is_refused(devkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would be cleaned, and the protocol would be named so."""
    noises = tmp_path / "noises.txt"
    for content, option, words in (
        ("B_2.jpg\n", "probe_noises", r"noises\.txt: names no photograph of .*facescrub, where no 'B_2\.jpg' is; did you mean 'B_2\.png'\?"),
        ("9\t0/5/96.png\n", "distractor_noises", r"noises\.txt: names no photograph of .*megaface, where no '0/5/96\.png' is; did you mean '0/5/96\.jpg'\?"),
        ("A_1.png\n", "distractor_noises", r"noises\.txt: names no photograph of .*megaface, where no 'A_1\.png' is"),
    ):
        noises.write_text(content)
        with pytest.raises(RequestError, match=words):
            megaface(devkit=devkit, **{option: noises})

    def broken(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(InputError, match=r"noises\.txt: cannot be read \(Input/output error\)"):
        megaface_devkit.read_noises(noises)


def test_a_cache_that_is_a_file_is_refused_by_name(npz: Files, tmp_path: Path) -> None:
    probes, people, distractors = people_and_distractors((2, 2), 12)
    files = npz("P", names=list("abcd"), identities=people, embeddings=probes), npz("D", names=np.arange(12), embeddings=distractors)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(RunError, match=r"cache/unit\.npy: cannot be written"):
        megaface(*files, cache=tmp_path / "cache")


def test_a_search_that_was_broken_off_goes_on_from_the_cache(npz: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a row is coded, nor a chunk compared, a second time; of other distractors nothing is taken."""
    monkeypatch.setattr(search, "SAVE_SECONDS", 0)
    for module in (search_gallery, search_scan):
        monkeypatch.setattr(module, "BLOCK", 32)
    monkeypatch.setattr(search_gallery, "FIRST", 8)
    probes, people, distractors = people_and_distractors((2, 2), 100)
    files = npz("P", names=list("abcd"), identities=people, embeddings=probes), npz("D", names=np.arange(100), embeddings=distractors)
    cache, expected = tmp_path / "cache", megaface(*files).result

    def stop(done: int, total: int | None = None, words: str = "") -> None:
        if words.startswith("by") and done >= 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        megaface(*files, cache=cache, report=stop)
    assert (cache / "search.npz").exists()
    seen: list[tuple[int, str]] = []
    monkeypatch.setattr(search_gallery, "code_rows", lambda rows: pytest.fail("coded again") if len(rows) > 4 else search_codes.code_rows(rows))
    again = megaface(*files, cache=cache, report=lambda done, total=None, words="": seen.append((done, words)))
    assert min(done for done, words in seen) > 32 and not (cache / "search.npz").exists()
    assert {name: score.value for name, score in again.result.scores.items()} == pytest.approx(
        {name: score.value for name, score in expected.scores.items()}, nan_ok=True
    )
    (cache / "unit.json").write_text("{")
    with pytest.raises(RequestError, match=r"unit\.npy: of other distractors than .*D\.npz, or changed since"):
        megaface(*files, cache=cache)
    (cache / "unit.json").write_text("{}")
    with pytest.raises(RequestError, match=r"unit\.npy: of other distractors than .*E\.npz"):
        megaface(files[0], npz("E", names=np.arange(100), embeddings=distractors[::-1]), cache=cache)


def test_distractors_that_are_probes_by_name_and_numbers_are_counted_and_said(npz: Files) -> None:
    probes, people, distractors = people_and_distractors((2, 2), 12)
    files = npz("P", names=list("abcd"), identities=people, embeddings=probes), npz("D", names=[*"abx", *range(9)], embeddings=[*probes[:1], *distractors[1:]])
    result = megaface(*files).result
    assert result.counts["probes_among_distractors"] == 1
    assert result.notes["rank1@10"].endswith("distractors with the name and the numbers of a probe, which count against the model: 1")
    assert "probes_among_distractors" not in megaface(files[0], npz("E", names=np.arange(12), embeddings=distractors)).result.counts


def test_a_npy_of_float64_is_scored_as_the_same_numbers_in_a_npz(npz: Files, tmp_path: Path) -> None:
    probes, people, distractors = people_and_distractors((2, 2), 12)
    np.save(tmp_path / "D.npy", distractors.astype(np.float64))
    files = npz("P", names=list("abcd"), identities=people, embeddings=probes), npz("D", names=np.arange(12), embeddings=distractors.astype(np.float64))
    one, other = (megaface(files[0], distractors).result for distractors in (tmp_path / "D.npy", files[1]))
    assert one.to_json({}) == other.to_json({})


def test_a_csv_is_scored_as_the_same_numbers_in_a_npz(npz: Files, tmp_path: Path) -> None:
    probes, people, distractors = people_and_distractors((2, 2), 12)

    def table(file: str, vectors: np.ndarray, **columns: list) -> Path:
        with open(tmp_path / file, "w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow([*columns, *(f"embeddings.{at}" for at in range(vectors.shape[1]))])
            rows.writerows([*beside, *map(float, vector)] for *beside, vector in zip(*columns.values(), vectors, strict=True))
        return tmp_path / file

    of_tables = megaface(table("P.csv", probes, names=list("abcd"), identities=people.tolist()), table("D.csv", distractors, names=list(range(12))))
    of_arrays = megaface(npz("P", names=list("abcd"), identities=people, embeddings=probes), npz("D", names=np.arange(12), embeddings=distractors))
    assert of_tables.result.to_json({}) == of_arrays.result.to_json({})


def test_a_structured_npy_is_scored_as_the_same_arrays_in_a_npz(npz: Files, tmp_path: Path) -> None:
    probes, people, distractors = people_and_distractors()
    names = [f"p{row}" for row in range(len(people))]
    whole = megaface(npz("P", names=names, identities=people, embeddings=probes), npz("D", names=np.arange(40), embeddings=distractors)).result
    fields = [("names", "U4"), ("identities", int), ("embeddings", np.float32, 8)]
    np.save(tmp_path / "P.npy", np.array(list(zip(names, people, probes, strict=True)), fields))
    np.save(tmp_path / "D.npy", np.array([(row,) for row in distractors], fields[2:]))
    assert megaface(tmp_path / "P.npy", tmp_path / "D.npy").result.to_json({}) == whole.to_json({})


def test_whole_numbers_are_scored_as_the_same_floats(npz: Files) -> None:
    probes, people, distractors = (np.round(16 * side).astype(np.int16) for side in people_and_distractors())
    scores = []
    for kind in (np.int16, np.float32):
        files = (npz("P", names=np.arange(10), identities=people, embeddings=probes.astype(kind)), npz("D", names=np.arange(40), embeddings=distractors.astype(kind)))
        scores.append(megaface(*files).result.to_json({}))
    assert scores[0] == scores[1]


def test_columns_that_were_sorted_as_text_are_read_by_number(tmp_path: Path) -> None:
    """10 stands before 2 there. Each probe has a distractor that is nearly itself, which is not found where numbers are taken by their place."""
    probes, people, _ = people_and_distractors(d=12)
    distractors = probes + np.float32(1e-3)

    def table(file: str, rows: np.ndarray, order: Sequence[int], **columns: object) -> Path:
        parquet.write_table(pa.table({**columns, **{f"embeddings.{at}": rows[:, at] for at in order}}), tmp_path / file)
        return tmp_path / file

    probe_names, names = ([f"{letter}{row}" for row in range(len(people))] for letter in "pd")
    as_text = table("P.parquet", probes, sorted(range(12), key=str), names=probe_names, identities=people)
    assert megaface(as_text, table("D.parquet", distractors, range(12), names=names)).result.scores["rank1@10"].value == 0


def test_a_folder_of_two_models_features_is_refused_by_file(npz: Files, tmp_path: Path) -> None:
    probes, people, distractors = people_and_distractors((2, 2), 12)
    for at, vector in enumerate(distractors):
        (tmp_path / "D" / f"{at}").mkdir(parents=True)
        (tmp_path / "D" / f"{at}" / f"a.b_{at}.jpg_net.bin").write_bytes(feature(vector))
    files = npz("P", names=list("abcd"), identities=people, embeddings=probes), tmp_path / "D"
    megaface(*files, results=tmp_path / "results")
    assert (tmp_path / "results" / "cmc_facescrub_megaface_net-uncleaned_12_1.json").exists(), "the model is known by the ending"
    (tmp_path / "D" / "3" / "a.b_3.jpg_other.bin").write_bytes(feature(distractors[3]))
    with pytest.raises(RequestError, match=r"a\.b_3\.jpg_other\.bin: of another model than a\.b_0\.jpg_net\.bin"):
        megaface(*files)


def test_arrays_that_cannot_be_scored_are_refused_by_file_row_and_name(npz: Files, tmp_path: Path) -> None:
    probes, people, distractors = people_and_distractors((2, 2), 12)
    good = {"names": list("abcd"), "identities": people, "embeddings": probes}

    def refused(words: str, one: dict | None = None, other: dict | np.ndarray | None = None, **options: object) -> None:
        if isinstance(other, np.ndarray):
            file = tmp_path / "D.npy"
            np.save(file, other)
        else:
            file = npz("D", **{"names": np.arange(12), "embeddings": distractors, **(other or {})})
        with pytest.raises(RequestError, match=words):
            megaface(npz("P", **{**good, **(one or {})}), file, **options)

    (noises := tmp_path / "noises.txt").write_text("a.jpg\n")
    broken, empty = distractors.copy(), distractors.copy()
    broken[7, 2], empty[5] = np.nan, 0
    refused(r"D\.npz, embeddings, row 7 \(7\): is not finite", other={"embeddings": broken})
    refused(r"D\.npy, embeddings, row 7: is not finite", other=broken)
    refused(r"D\.npz, embeddings, row 5 \(5\): has length 0", other={"embeddings": empty})
    refused(r"P\.npz, embeddings, row 1 \(b\): is not finite", {"embeddings": np.where(np.arange(4)[:, None] == 1, np.inf, probes)})
    refused(r"D\.npy: embeddings of 7 numbers, .*P\.npz has 8", other=distractors[:, :7].copy())
    refused(r"D\.npy: no rows", other=distractors[:0])
    refused(r"D\.npy: .*big-endian", other=distractors.astype(">f4"))
    refused(r"D\.npz: embeddings has 11 rows, there are 12 names", other={"embeddings": distractors[:11]})
    refused(r"D\.npz, names, row 11: '0' is there already", other={"names": [*range(11), 0]})
    refused(r"D\.npz: embeddings of complex128", other={"embeddings": np.ones((12, 8), complex)})
    refused(r"D\.npz, embeddings, row 3 \(3\): shows '1', who is a probe", other={"identities": [5, 6, 7, 1, *range(8, 16)]})
    refused("nobody has two photographs", {"identities": [1, 2, 3, 4]})
    refused(r"D\.npz: 12 distractors, 13 are asked for", sizes=[13])
    refused("0 distractors are none", sizes=[0])
    refused(r"D\.npy: has no names, by which noises are known", other=distractors, distractor_noises=noises)
    marked = np.pad(distractors, ((0, 0), (0, 1)))
    marked[4, -1] = 100
    refused(r"row 4 \(4\): marked as a noise by a last number of 100", {"embeddings": np.pad(probes, ((0, 0), (0, 1)))}, {"embeddings": marked})
    nameless = npz("N", names=list("abcd"), embeddings=probes)
    with pytest.raises(RequestError, match=r"N\.npz: no array 'identities'"):
        megaface(nameless, npz("D", names=np.arange(12), embeddings=distractors))
    with pytest.raises(RequestError, match="both --probes and --distractors are needed, or --devkit"):
        megaface(nameless)
    np.save(tmp_path / "cut.npy", distractors)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-5])
    with pytest.raises(RequestError, match=r"cut\.npy: cut short"):
        megaface(npz("P", **good), tmp_path / "cut.npy")
    with pytest.raises(RequestError, match=r"none\.npy: no such file"):
        megaface(npz("P", **good), tmp_path / "none.npy")


def test_lists_that_lie_are_refused_by_file_and_row(devkit: Path) -> None:
    lists = devkit / "templatelists"
    probes, tens = lists / "facescrub_features_list.json", lists / "megaface_features_list.json_10_1"
    whole = {path: path.read_text() for path in (probes, tens)}

    def refused(path: Path, content: object, words: str, **options: object) -> None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(RequestError, match=words):
            megaface(devkit=devkit, **options)
        path.write_text(whole[path])

    names = json.loads(whole[tens])["path"]
    refused(tens, {"path": names[:9]}, r"_10_1: 9 paths, its name promises 10")
    refused(tens, {"path": [*names[:9], names[2]]}, r"_10_1, path 9: .* is there already, path 2")
    refused(tens, {"path": [*names[:9], "0/0/none.jpg"]}, r"0/0/none\.jpg_net\.bin: No such file")
    refused(tens, '{"path": [', r"_10_1: not a list of the devkit")
    refused(tens, {"paths": names}, r"_10_1: not a list of the devkit")
    refused(probes, {"path": PHOTOGRAPHS}, r"facescrub_features_list\.json: 5 paths and no ids")
    refused(probes, {"path": PHOTOGRAPHS, "id": ["A"]}, r"5 paths and 1 ids")
    refused(probes, whole[probes], r"megaface_features_list\.json_1000_1: no such file", sizes=[1000])
    refused(probes, whole[probes], r"uncropped_features_list\.json: no such file", probe_set="uncropped")
    (devkit / "facescrub" / "A" / "A_1.png_other.bin").write_bytes(feature([1, 2]))
    refused(probes, whole[probes], r"A_1\.png: features of several models: _net\.bin, _other\.bin")


# The devkit's files.

WORKED = bytes.fromhex("02000000 01000000 04000000 05000000 0000803f 000000c0")


def feature(vector, kind=5, step=None, order="<"):
    size, letter = {5: (4, "f"), 6: (8, "d")}[kind]
    return struct.pack(f"{order}4i{len(vector)}{letter}", len(vector), 1, step or size, kind, *vector)


def test_features_of_the_devkit_are_read_as_it_writes_them(tmp_path):
    path = tmp_path / "x.jpg_alg.bin"
    for content in (WORKED, feature([1, -2]), feature([1, -2], 6), feature([1, -2], 6, step=4)):
        path.write_bytes(content)
        assert megaface_devkit.read_feature(path).tolist() == [1, -2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (WORKED[:-1], "its header promises 2 x 1 float32 in rows of 4 bytes, 7 bytes follow"),
        (WORKED + b"0", "9 bytes follow"),
        (WORKED[:10], "cut short: 10 bytes"),
        (feature([1, 2], order=">"), "big-endian"),
        (struct.pack("<4i", 2, 1, 4, 7) + WORKED[16:], "not a feature of the devkit"),
        (struct.pack("<4i", 2, 1, 9, 5) + WORKED[16:], "in rows of 9 bytes"),
        (struct.pack("<4i", 2**30, 1, 4, 5) + WORKED[16:], "promises 1073741824 x 1"),
        (struct.pack("<4i4f", 2, 2, 8, 5, 1, 2, 3, 4), "a matrix of 2 x 2"),
        (feature([1, np.nan]), "number 1 is not finite"),
        (feature([1, 1e300], 6), "number 1 is not finite"),
    ],
)
def test_a_feature_that_is_not_what_it_says_is_refused_by_name(content, words, tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.bin: .*{words}"):
        megaface_devkit.read_feature(path)


def test_features_are_gathered_once(tmp_path, monkeypatch):
    gallery = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    files = [tmp_path / "features" / f"{number}.bin" for number in range(50)]
    files[0].parent.mkdir()
    for file, row in zip(files, gallery, strict=True):
        file.write_bytes(feature(row))
    out = tmp_path / "all.npy"
    monkeypatch.setattr(megaface_devkit, "TOGETHER", 16)
    good = files[20].read_bytes()
    files[20].write_bytes(feature(gallery[20, 1:]))
    with pytest.raises(InputError, match=r"20\.bin: 15 numbers, .*0\.bin has 16"):
        megaface_devkit.gather_features(files, out)
    assert os.listdir(tmp_path) == ["features"]
    files[20].write_bytes(good)
    np.testing.assert_array_equal(megaface_devkit.gather_features(files, out), gallery)
    monkeypatch.setattr(megaface_devkit, "read_feature", None)
    np.testing.assert_array_equal(megaface_devkit.gather_features(files, out), gallery)
    with pytest.raises(RequestError, match=r"all\.npy: of other features"):
        megaface_devkit.gather_features(files[::-1], out)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"3\.bin: listed twice"):
        megaface_devkit.gather_features([*files, files[3]], tmp_path / "more.npy")
    files[20].write_bytes(feature(gallery[20] + 1))  # of another model
    with pytest.raises(RequestError, match=r"all\.npy: of other features, or changed"):
        megaface_devkit.gather_features(files, out)
    files[20].unlink()
    with pytest.raises(InputError, match=r"20\.bin: No such file"):
        megaface_devkit.gather_features(files, tmp_path / "more.npy")
