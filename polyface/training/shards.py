"""Files of a classifier that is split among processes: checkpoints/classifier-STEP/RANK-of-PROCESSES.safetensors, each written by its process, read by any number.

They are whole before the checkpoint that needs them is written, and those of earlier steps go after it: a run killed at any moment has those of its last checkpoint.
"""

import os
import re
import shutil
from pathlib import Path

import safetensors
from safetensors.torch import save_file
from torch import Tensor

from polyface.errors import RequestError, RunError
from polyface.models.partial import Classifier, Shard
from polyface.models.shards import bounds
from polyface.training import parallel

NAME = re.compile(r"(\d+)-of-(\d+)\.safetensors")


def save(checkpoints: Path, step: int, classifier: Classifier) -> None:
    """Write this process's shard, and wait for those of the others. Raises RunError naming the file that cannot be written."""
    path = _folder(checkpoints, step) / _name(parallel.rank(), parallel.count())
    if parallel.rank() == 0:
        shutil.rmtree(path.parent, ignore_errors=True)  # of a run that was killed here, and went on with another number of processes
    parallel.wait()
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({f"{space}/{name}": tensor.contiguous() for space, shard in classifier.shards.items() for name, tensor in _tensors(shard).items()}, partial)
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"{path}: this shard of the classifier cannot be written ({error}); the checkpoint before is whole") from error
    parallel.wait()


def forget_others(checkpoints: Path, step: int) -> None:
    """Remove the shards of other steps."""
    for folder in checkpoints.glob("classifier-*"):
        if folder != _folder(checkpoints, step):
            shutil.rmtree(folder, ignore_errors=True)


def load(checkpoints: Path, step: int, classifier: Classifier) -> None:
    """Fill this process's shard, whatever number of processes wrote. Raises RequestError naming the shard that is missing, cut short or of other people."""
    folder = _folder(checkpoints, step)
    numbers = {int(found[2]) for path in folder.glob("*") if (found := NAME.fullmatch(path.name))}
    if len(numbers) != 1:
        raise RequestError(
            f"{folder}: {'no shards of a classifier are' if not numbers else 'shards of several classifiers are'} there; this run cannot go on with identity.sample"
        )
    processes = numbers.pop()
    paths = [folder / _name(rank, processes) for rank in range(processes)]
    for path in paths:
        if not path.is_file():
            raise RequestError(f"{path}: this shard of the classifier is missing, one of {processes}")
    for rank, path in enumerate(paths):
        try:
            with safetensors.safe_open(path, "pt") as file:
                for space, shard in classifier.shards.items():
                    _fill(shard, file, space, bounds(shard.people, rank, processes), path)
        except (OSError, safetensors.SafetensorError) as error:
            raise RequestError(f"{path}: cannot be read as safetensors ({error})") from error


def _fill(shard: Shard, file: safetensors.safe_open, space: str, held: tuple[int, int], path: Path) -> None:
    """From one file, which holds the people of `held` of a space, what this shard has of them."""
    first, last = held
    start, end = max(first, shard.first), min(last, shard.first + len(shard.centres))
    names = [key.removeprefix(f"{space}/") for key in file.keys() if key.startswith(f"{space}/")]  # noqa: SIM118
    if "centres" not in names:
        raise RequestError(f"{path}: holds no people of {space}")
    for name in names:
        part = file.get_slice(f"{space}/{name}")
        if not part.get_shape():
            shard.moments[name] = file.get_tensor(f"{space}/{name}")
            continue
        if list(part.get_shape()) != [last - first, shard.centres.shape[1]]:
            raise RequestError(f"{path}: {space}/{name} is {list(part.get_shape())}, this run's people make it {[last - first, shard.centres.shape[1]]}")
        if start < end:
            whole = shard.centres if name == "centres" else shard.moment(name)
            whole[start - shard.first : end - shard.first] = part[start - first : end - first].to(whole.device)


def _tensors(shard: Shard) -> dict[str, Tensor]:
    return {"centres": shard.centres, **shard.moments}


def _folder(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"classifier-{step}"


def _name(rank: int, processes: int) -> str:
    return f"{rank}-of-{processes}.safetensors"
