"""`polyface embed --on ray` on a local cluster of two workers; where Ray is not installed, only what is said then."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from polyface import cli
from polyface.errors import RunError
from polyface.evaluation.search import mates_in_gallery, search
from polyface.evaluation.search_ray import search_on_ray
from polyface.images.sources import find_sources
from polyface.inference.embed import Embedded, embed
from polyface.inference.embed_ray import Worker, _require_alike, on_ray

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)

import test_embed  # noqa: E402


@pytest.fixture(scope="module")
def two_workers() -> Iterator[str]:
    """The address of a cluster of two processors, which sends nothing to anybody, and writes no token into the home folder."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("RAY_USAGE_STATS_ENABLED", "0"), ("RAY_AUTH_MODE", "disabled")):
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", HERE, prepend=os.pathsep)  # where workers find the drawn network
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


def run_on_ray(folder: Path, out: Path, load: Callable = test_embed.looking, **asked: object) -> Embedded:
    return embed(test_embed.looking(), find_sources([folder])[0], out, shard_pictures=4, look=on_ray(load), **asked)  # type: ignore[arg-type]


def test_a_cluster_writes_the_bytes_of_one_machine(two_workers: str, tmp_path: Path) -> None:
    test_embed.draw(tmp_path / "p", 30)
    (tmp_path / "p" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    shutil.copy(tmp_path / "p" / "002.png", tmp_path / "p" / "z.png")
    alone = test_embed.run(tmp_path / "p", tmp_path / "alone")
    told = []
    done = run_on_ray(tmp_path / "p", tmp_path / "shared", report=lambda done, total, more: told.append((done, total)))
    assert test_embed.contents(tmp_path / "shared") == test_embed.contents(tmp_path / "alone")
    assert (done.pictures, done.copies, done.faces, done.refused) == (alone.pictures, 1, alone.faces, alone.refused)
    assert told[-1] == (32, 32) and len(told) == 8
    assert run_on_ray(tmp_path / "p", tmp_path / "shared").pictures == 0


CHILD = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_embed  # noqa: E402
from polyface.images.sources import find_sources
from polyface.inference.embed import embed
from polyface.inference.embed_ray import on_ray
def report(done, total=None, more=""): print(done, flush=True)
embed(test_embed.looking(), find_sources([sys.argv[2]])[0], Path(sys.argv[3]), report, 4, on_ray(test_embed.looking))
"""


def test_a_run_on_a_cluster_that_is_killed_goes_on(two_workers: str, tmp_path: Path) -> None:
    test_embed.draw(tmp_path / "p", 60)
    test_embed.run(tmp_path / "p", tmp_path / "whole")
    out, command = tmp_path / "g", [sys.executable, "-c", CHILD, HERE, str(tmp_path / "p"), str(tmp_path / "g")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "RAY_ADDRESS": two_workers})
    assert child.stdout is not None
    for _ in range(4):
        child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    before = {path.name: path.stat().st_ino for path in out.glob("0*.npz")}
    run_on_ray(tmp_path / "p", out)
    assert test_embed.contents(out) == test_embed.contents(tmp_path / "whole")
    kept = sum((out / name).stat().st_ino == inode for name, inode in before.items())
    assert kept >= len(before) - 1  # the last may not have been named in time


@pytest.mark.parametrize(
    ("otherwise", "said"),
    [
        ({"length": 2.0}, r"\d\.png, face 0: the network colours@c+ gave it a vector of length 2, not 1"),
        ({"network": "e" * 64}, "has colours@e+ and quarters@d+, this gallery is made by colours@c+"),
    ],
)
def test_what_fails_on_a_worker_is_said_in_one_line(two_workers: str, tmp_path: Path, otherwise: dict, said: str) -> None:
    test_embed.draw(tmp_path / "p", 6)
    with pytest.raises(RunError, match=said) as error:
        run_on_ray(tmp_path / "p", tmp_path / "g", partial(test_embed.looking, **otherwise))
    assert "\n" not in str(error.value) and not list((tmp_path / "g").glob("0*.npz"))


def test_a_worker_that_dies_is_replaced(two_workers: str, tmp_path: Path) -> None:
    test_embed.draw(tmp_path / "p", 20)
    died = tmp_path / "died"

    def die_once() -> object:
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return test_embed.looking()

    run_on_ray(tmp_path / "p", tmp_path / "shared", die_once)
    test_embed.run(tmp_path / "p", tmp_path / "alone")
    assert died.exists() and test_embed.contents(tmp_path / "shared") == test_embed.contents(tmp_path / "alone")


def test_a_worker_that_does_not_see_a_picture_refuses_none(tmp_path: Path) -> None:
    test_embed.draw(tmp_path / "p", 3)
    pictures, _ = find_sources([tmp_path / "p"])
    names = [str(picture) for picture in pictures]
    made_by = (f"colours@{'c' * 64}", f"quarters@{'d' * 64}")
    (tmp_path / "p").rename(tmp_path / "q")
    seen = Worker(test_embed.looking, made_by).look(names)
    assert list(seen.missing) == names
    _require_alike(seen, pictures)  # gone here too
    (tmp_path / "q").rename(tmp_path / "p")
    with pytest.raises(RunError, match=r"000\.png: not there on .*; the machines of a cluster must see"):
        _require_alike(seen, pictures)


def test_parts_of_a_gallery_searched_by_two_workers_are_one_search(two_workers: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gallery = rng.integers(-2, 3, (900, 8)).astype(np.float32)  # with many ties, within parts and across
    probes = gallery[:300:7].copy()
    for number, begin in enumerate((0, 250, 251)):
        np.save(tmp_path / f"{number}.npy", gallery[begin : (250, 251, 900)[number]])
    mates = mates_in_gallery(probes, gallery, np.arange(len(probes)), np.arange(len(probes)) * 20)
    asked = dict(k=5, mates=mates, least=3.0, skip=(np.arange(len(probes)), np.arange(len(probes)) * 7), subsets={"all": None, "some": np.arange(0, 900, 11)}, largest=40)
    found, expected = search_on_ray(probes, [tmp_path / f"{number}.npy" for number in range(3)], **asked), search(probes, gallery, **asked)
    for name in ("rows", "scores", "above", "equal", "impostors"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert [each.tolist() for each in found.largest] == [each.tolist() for each in expected.largest]
    assert (found.gallery, found.subsets) == (900, expected.subsets)


def test_without_ray_the_command_says_how_to_get_it(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    test_embed.draw(tmp_path / "p", 1)
    assert cli.run(["embed", str(tmp_path / "p"), "--out", str(tmp_path / "g"), "--model", str(model), "--on", "ray"]) == 2
    assert "pip install 'polyface[ray]'" in capsys.readouterr().err and not (tmp_path / "g").exists()
    assert cli.run(["embed", str(tmp_path / "p"), "--out", str(tmp_path / "g"), "--model", str(model), "--on", "spark"]) == 2
