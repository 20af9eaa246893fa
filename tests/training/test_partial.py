"""A classifier in two gloo processes is the whole one in one process when the sample is everything; else a sample of it is seen and changed. Its files go anywhere.

This file is also the program of each process: it computes, and saves what it found, which the tests compare with one process.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from polyface.errors import RequestError
from polyface.models.margins import Identity, People
from polyface.models.partial import Classifier, first_centres, take
from polyface.models.shards import bounds
from polyface.training import loop, parallel
from polyface.training.config import Method, Optimiser, from_table

PROCESSES = 2
CPU = torch.device("cpu")
LOSSES = ("cosface", "arcface", "adaface", "softmax")
ROWS = {"as in the plan": (4, 3), "none in one process": (0, 7)}
"""How many rows of a joined batch of seven each process has."""
PERSON = torch.tensor([0, 6, 3, 3, 2, 6, 5])
QUALITY = torch.tensor([0.0, 0.5, -0.5, 1.0, -1.0, 0.2, 0.1])


def identity(loss: str, sample: float = 1.0) -> Identity:
    return Identity(loss=loss, scale=4.0, margin=0.2, center=0.0, sample=sample)  # type: ignore[arg-type]


def classifier(loss: str = "cosface", people: int = 7, sample: float = 1.0, optimiser: Optimiser = Optimiser()) -> Classifier:  # noqa: B008
    return Classifier({"a": people, "nobody": 3}, 4, identity(loss, sample), partial(loop.optimiser_of_matrix, config=optimiser), 1, CPU)


def vectors() -> Tensor:
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(5))


def factors() -> Tensor:
    """What each row's loss counts, so that no row's gradient is taken for another's."""
    return torch.arange(1.0, 8.0)


class Toy:
    """People told apart by noise, with the classifier in shards."""

    steps, seed, validate_every = 6, 1, 2
    weights: Mapping[str, float] = {"who": 1.0}
    people: Mapping[str, str] = {}
    balance: Method = "fixed"

    def __init__(self, algorithm: str = "muon", die_at: int = -1):
        self.optimiser = Optimiser(algorithm=algorithm, rate=0.05, ema=0.5, clip=1e9)  # type: ignore[arg-type]
        self.die_at = die_at

    def model(self) -> nn.Module:
        self.classifier = classifier(optimiser=self.optimiser)
        return nn.Linear(5, 4)

    def batches(self, steps: range) -> Iterator[Any]:
        for step in steps:
            if step == self.die_at:
                raise KeyboardInterrupt
            generator = torch.Generator().manual_seed(step)
            own = slice(parallel.rank(), None, parallel.count())
            yield torch.randn(7, 5, generator=generator)[own], torch.randint(0, 7, (7,), generator=generator)[own]

    def loss(self, model: nn.Module, batch: Any, device: torch.device) -> dict[str, Tensor]:
        return {"who": self.classifier.loss(model(batch[0]), batch[1], "a")}

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        return {}

    def blame(self, batch: Any, name: str, row: int) -> dict[str, object]:
        return {}


class Whole(Toy):
    """The same with all centres in one process, as parameters of the model."""

    def model(self) -> nn.Module:
        self.whole = nn.ModuleDict({"linear": nn.Linear(5, 4), "people": People({"a": 7}, 4, identity("cosface"))})
        self.whole["people"].centres["a"].data = first_centres(0, 7, 4, 1_000)  # type: ignore[index,union-attr]
        return self.whole

    classifier: Classifier | None = None  # type: ignore[assignment]

    def loss(self, model: nn.Module, batch: Any, device: torch.device) -> dict[str, Tensor]:
        return {"who": model["people"].loss(model["linear"](batch[0]), batch[1], "a")}  # type: ignore[index]


# The program of each process


def program(folder: Path, rank: int) -> None:
    loop._has_bfloat16 = lambda device: False
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    for name, rows in ROWS.items():
        for loss in LOSSES:
            keep(folder, f"{name}, {loss}", gradients(loss, rows, rank))
    keep(folder, "sampled", sampled())
    for algorithm in ("muon", "sgd"):
        loop.run(Toy(algorithm), folder / algorithm)
    with contextlib.suppress(KeyboardInterrupt):
        loop.run(Toy(die_at=3), folder / "cut")
    parallel.wait()
    loop.run(Toy(), folder / "cut in one")
    dist.destroy_process_group()


def gradients(loss: str, rows: tuple[int, ...], rank: int) -> dict[str, Tensor]:
    own = slice(sum(rows[:rank]), sum(rows[: rank + 1]))
    mine, x = classifier(loss), vectors()[own].requires_grad_()
    losses = mine.loss(x, PERSON[own], "a", QUALITY[own] if loss == "adaface" else None)
    (losses * factors()[own]).sum().backward()
    ((_, index, centres),) = mine.taken
    assert x.grad is not None and centres.grad is not None
    return {"losses": losses.detach(), "vectors": x.grad, "index": index, "centres": centres.grad}


def sampled() -> dict[str, Tensor]:
    rank, processes = parallel.rank(), parallel.count()
    torch.manual_seed(rank)
    mine = classifier(people=41, sample=0.25)
    before = mine.shards["a"].centres.clone()
    person = torch.tensor([3, 40, 17, 3])[rank::processes]
    mine.loss(torch.randn(len(person), 4, requires_grad=True), person, "a").sum().backward()
    index = mine.taken[0][1]
    mine.step(1.0)
    return {"index": index, "before": before, "after": mine.shards["a"].centres}


def keep(folder: Path, name: str, tensors: dict[str, Tensor]) -> None:
    save_file({key: each.contiguous() for key, each in tensors.items()}, folder / f"{name} {parallel.rank()}.safetensors")


# One process, and the comparison


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_has_bfloat16", lambda device: False)
    monkeypatch.setattr(parallel, "device", lambda: CPU)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what two processes found; one process began the run `cut in one` that they ended."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "_has_bfloat16", lambda device: False)
        patch.setattr(parallel, "device", lambda: CPU)
        loop.run(Toy(die_at=3), folder / "cut in one")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    started = [subprocess.Popen([sys.executable, __file__, str(folder), str(rank)], env=environment, stderr=subprocess.PIPE, text=True) for rank in range(PROCESSES)]
    try:
        said = [process.communicate(timeout=350)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert not any(process.returncode for process in started), said
    return folder


def found_by_each(folder: Path, name: str) -> list[dict[str, Tensor]]:
    return [load_file(folder / f"{name} {rank}.safetensors") for rank in range(PROCESSES)]


def whole_gradients(loss: str) -> dict[str, Tensor]:
    people = People({"a": 7}, 4, identity(loss))
    people.centres["a"].data = first_centres(0, 7, 4, 1_000)
    x = vectors().requires_grad_()
    losses = people.loss(x, PERSON, "a", QUALITY)
    (losses * factors()).sum().backward()
    assert x.grad is not None and people.centres["a"].grad is not None
    return {"losses": losses.detach(), "vectors": x.grad, "centres": people.centres["a"].grad}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rows", ROWS)
def test_two_shards_give_the_gradients_of_the_whole_when_the_sample_is_everything(two: Path, rows: str, loss: str) -> None:
    each, wanted = found_by_each(two, f"{rows}, {loss}"), whole_gradients(loss)
    assert [found["index"].tolist() for found in each] == [[0, 1, 2, 3], [0, 1, 2]]
    for name, tensor in wanted.items():
        assert torch.allclose(torch.cat([found[name] for found in each]), tensor, atol=1e-5), name


def test_a_sample_is_all_people_of_the_joined_batch_and_strangers_and_only_they_change(two: Path) -> None:
    shares, theirs = [], ({3, 17}, {40 - 21})
    for found, people in zip(found_by_each(two, "sampled"), theirs, strict=True):
        index = found["index"].tolist()
        assert len(index) == 5 and people < set(index) and index == sorted(set(index))
        changed = (found["before"] != found["after"]).any(1).nonzero()[:, 0].tolist()
        assert changed == index
        shares.append(len(found["before"]))
    assert shares == [21, 20]


def centres_of(folder: Path, step: int) -> Tensor:
    return torch.cat([load_file(path)["a/centres"] for path in sorted((folder / f"checkpoints/classifier-{step}").iterdir())])


@pytest.mark.parametrize("algorithm", ["muon", "sgd"])
def test_a_run_in_shards_is_the_run_with_the_whole(two: Path, tmp_path: Path, algorithm: str) -> None:
    whole = Whole(algorithm)
    loop.run(whole, tmp_path)
    model = load_file(two / algorithm / "checkpoints/last/model.safetensors")
    assert torch.allclose(centres_of(two / algorithm, 6), whole.whole["people"].centres["a"], atol=1e-4)  # type: ignore[index,union-attr,arg-type]
    assert torch.allclose(model["weight"], whole.whole["linear"].weight, atol=1e-4)  # type: ignore[arg-type]
    assert sorted(path.name for path in (two / algorithm / "checkpoints").iterdir()) == ["best", "classifier-6", "last"]
    assert sorted(path.name for path in (two / algorithm / "checkpoints/classifier-6").iterdir()) == ["0-of-2.safetensors", "1-of-2.safetensors"]


def test_a_run_that_was_cut_off_goes_on_with_another_number_of_processes(two: Path) -> None:
    loop.run(Toy(), two / "cut")
    for name in ("cut", "cut in one"):
        assert torch.allclose(centres_of(two / name, 6), centres_of(two / "muon", 6), atol=1e-4), name
    assert [path.name for path in (two / "cut/checkpoints/classifier-6").iterdir()] == ["0-of-1.safetensors"]


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A run of one process, cut off after its second step, with its classifier as three processes would have written it."""
    with pytest.raises(KeyboardInterrupt):
        loop.run(Toy(die_at=3), tmp_path)
    folder = tmp_path / "checkpoints/classifier-2"
    whole = load_file(folder / "0-of-1.safetensors")
    for rank in range(3):
        held = {space: slice(*bounds(people, rank, 3)) for space, people in (("a", 7), ("nobody", 3))}
        save_file({name: each[held[name.split("/")[0]]].contiguous() if each.ndim else each for name, each in whole.items()}, folder / f"{rank}-of-3.safetensors")
    (folder / "0-of-1.safetensors").unlink()
    return tmp_path


def test_three_shards_are_read_by_one_process(cut: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    loop.run(Toy(), cut)
    straight = tmp_path_factory.mktemp("straight")
    loop.run(Toy(), straight)
    assert torch.equal(centres_of(cut, 6), centres_of(straight, 6))


@pytest.mark.parametrize("name", ["0-of-3", "1-of-3", "2-of-3"])
def test_a_missing_shard_is_named_and_refused(cut: Path, name: str) -> None:
    (cut / f"checkpoints/classifier-2/{name}.safetensors").unlink()
    with pytest.raises(RequestError, match=rf"classifier-2/{name}\.safetensors: this shard of the classifier is missing, one of 3"):
        loop.run(Toy(), cut)


def test_shards_that_cannot_be_trusted_are_refused(cut: Path) -> None:
    folder = cut / "checkpoints/classifier-2"
    path, content = folder / "1-of-3.safetensors", (folder / "1-of-3.safetensors").read_bytes()
    path.write_bytes(content[:-5])
    with pytest.raises(RequestError, match=r"1-of-3\.safetensors: cannot be read as safetensors"):
        loop.run(Toy(), cut)
    path.write_bytes((folder / "0-of-3.safetensors").read_bytes())
    with pytest.raises(RequestError, match=r"1-of-3\.safetensors: a/centres is \[3, 4\], this run's people make it \[2, 4\]"):
        loop.run(Toy(), cut)
    save_file({"b/centres": torch.zeros(2, 4)}, path)
    with pytest.raises(RequestError, match=r"1-of-3\.safetensors: holds no people of a"):
        loop.run(Toy(), cut)
    (folder / "0-of-2.safetensors").write_bytes(content)
    with pytest.raises(RequestError, match="classifier-2: shards of several classifiers are there"):
        loop.run(Toy(), cut)
    for each in folder.iterdir():
        each.unlink()
    with pytest.raises(RequestError, match="classifier-2: no shards of a classifier are there"):
        loop.run(Toy(), cut)


@pytest.mark.parametrize(("people", "processes"), [(10, 3), (3, 3), (2, 3), (1_000_000, 7)])
def test_shards_cover_all_people_and_differ_by_one_at_most(people: int, processes: int) -> None:
    each = [bounds(people, rank, processes) for rank in range(processes)]
    assert [first for first, _ in each] == [0, *(last for _, last in each[:-1])] and each[-1][1] == people
    assert {last - first for first, last in each} <= {people // processes, people // processes + 1}


def test_more_people_than_the_share_are_all_taken_and_no_stranger() -> None:
    index, column = take(torch.tensor([9, 5, 2, 9, 7]), first=4, count=6, share=0.4)
    assert index.tolist() == [1, 3, 5] and column.tolist() == [2, 0, -1, 2, 1]


def test_the_first_centres_are_those_of_a_person_in_any_shard() -> None:
    whole = first_centres(0, 2500, 3, 7)
    assert torch.equal(torch.cat([first_centres(*bounds(2500, rank, 3), 3, 7) for rank in range(3)]), whole)
    assert float(whole.std()) == pytest.approx(0.01, rel=0.05) and not torch.equal(whole[:5], first_centres(0, 5, 3, 8))


def test_a_sample_goes_without_the_means_of_the_center_loss() -> None:
    table = {"name": "x", "steps": 1, "data": [{"set": "pins"}], "identity": {"loss": "softmax", "sample": 0.1}}
    with pytest.raises(RequestError, match=r"identity\.sample and the softmax need center = 0"):
        from_table(table, "recipe")
    assert from_table({**table, "identity": {"loss": "softmax", "sample": 0.1, "center": 0}}, "recipe").identity.sample == 0.1


if __name__ == "__main__":
    program(Path(sys.argv[1]), int(sys.argv[2]))
