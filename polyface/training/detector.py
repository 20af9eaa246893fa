"""The detector's recipe, its plan for the one training loop, and the file it becomes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from polyface import datasets
from polyface.datasets import apart, crops, scenes
from polyface.datasets.base import Split
from polyface.datasets.scene import Scene
from polyface.errors import InputError, RequestError
from polyface.evaluation.report import commit
from polyface.files import sha256_of_lines, write_atomically
from polyface.images.detect import ABOUT, BEST_SIZE, FILE, THRESHOLD
from polyface.inference.detector_card import DetectorCard, Learned, json_of
from polyface.models import detector_losses, detector_teacher
from polyface.models.detector import Detector, DetectorConfig, build, name_of, pictures_of, to_onnx
from polyface.models.detector_losses import Faces
from polyface.models.detector_teacher import Teacher
from polyface.models.sizes import parameters_of
from polyface.models.weights import read_tensors
from polyface.strict import Count, NonNegative, Positive, Share, strict
from polyface.training import batches, checkpoint, loop, parallel, views
from polyface.training.config import Method, Optimiser, Seed, Strict, settings_digest

NETWORK = "detector"
"""What such a recipe says of itself: `network = "detector"`."""

Side = Annotated[int, msgspec.Meta(ge=64, multiple_of=32)]


class SceneSet(Strict, frozen=True, kw_only=True):
    """A set of scenes, or a data set for its photographs; views of each batch are shared out by weight."""

    set: str
    weight: Positive = 1.0


class Losses(Strict, frozen=True, kw_only=True):
    """Weights of the losses (`models/detector_losses.py`)."""

    seen: NonNegative = 1.0
    fit: NonNegative = 1.0
    box: NonNegative = 5.0
    points: NonNegative = 10.0
    taught: NonNegative = 1.0
    taught_box: NonNegative = 2.5
    """Both only where a teacher is."""


class Recipe(Strict, frozen=True, kw_only=True, tag_field="network", tag=NETWORK):
    """A recipe, complete."""

    name: str
    data: tuple[SceneSet, ...]
    steps: Count
    batch: Count = 32
    seed: Seed = 1
    sides: Annotated[tuple[Side, ...], msgspec.Meta(min_length=1)] = (256, 192, 448, 256, 320)
    """Of the views of a step, in pixels; steps take turns. Large ones are for faces that fill a photograph, small ones are cheap."""
    last_sides: Annotated[tuple[Side, ...], msgspec.Meta(min_length=1)] = (640, 384)
    """The same of the last steps, and the first of them of validation: as large as photographs are looked at. A network that saw small views only takes much in a large
    picture for a face that fills it."""
    last: Share = 0.15
    """Which share of the steps they are."""
    model: DetectorConfig = DetectorConfig()
    teacher: str | None = None
    """A file with YuNet's inputs and outputs: what it says of every cell of a view is learned beside the labels (`models/detector_teacher.py`)."""
    look: views.Look = views.Look()
    trust: Share = 0.5
    """What points count that another detector found, against 1 for those that people clicked."""
    threshold: Share = THRESHOLD
    """The score from which a find is a face, where nobody says another; the file carries it. Chosen on validation: benchmarks/detector.py --validation."""
    best_size: Positive = BEST_SIZE
    """Of a face, in pixels of what the network is shown: where its points err least. The file carries it; a face seen much smaller or larger is looked at again."""
    losses: Losses = Losses()
    optimiser: Optimiser = Optimiser()
    limits: tuple[str, ...] = ()
    validate_every: Count = 500
    validation_rows: Count = 300
    """At most so many scenes of each set's validation split."""
    threads: Count = 1
    compute_threads: Count | None = None

    def __post_init__(self) -> None:
        if not self.data or len(self.data) > self.batch:
            raise ValueError(f"{len(self.data)} sets for batches of {self.batch}")

    def side(self, step: int) -> int:
        """Of the views of a step."""
        sides = self.sides if step < (1 - self.last) * self.steps else self.last_sides
        return sides[step % len(sides)]


class DetectorPlan:
    """Of several processes each draws and validates its share of the rows."""

    balance: Method = "fixed"
    own_statistics = True
    """A view has a thousand cells: those of half a batch say as much."""

    def __init__(self, recipe: Recipe, data: Path):
        self.recipe, self.steps, self.seed, self.optimiser = recipe, recipe.steps, recipe.seed, recipe.optimiser
        self.settings = settings_digest(recipe)
        if recipe.batch < parallel.count():
            raise RequestError(f"a batch of {recipe.batch} views cannot be shared by {parallel.count()} processes")
        self.weights: Mapping[str, float] = msgspec.structs.asdict(recipe.losses)
        self.teacher = Teacher(Path(recipe.teacher), recipe.compute_threads) if recipe.teacher else None
        self.validate_every, self.share = recipe.validate_every, batches.share_of(parallel.rank(), parallel.count())
        without = _reserved(recipe, data)
        pools = [_pool(entry, data, without) for entry in recipe.data]
        taught_by = (self.teacher.name, self.teacher.sha256) if self.teacher else None
        self.pools, self.learned = tuple(pool for pool, _ in pools), tuple(msgspec.structs.replace(said, taught_by=taught_by) for _, said in pools)
        self.validation = tuple(pool for entry in recipe.data for pool in _validation(entry, data, recipe.validation_rows, without))
        self.counts = batches.shares([pool.weight for pool in self.pools], recipe.batch)
        self.people: Mapping[str, str] = {each.name: each.sha256 for each in self.learned}  # a checkpoint goes on only with the same scenes

    def model(self) -> Detector:
        return build(self.recipe.model)

    def batches(self, steps: range) -> Iterator[views.Views]:
        return views.ahead(self.pools, self.counts, steps, self.recipe.side, self.recipe.look, self.seed, self.recipe.threads, self.share)

    def loss(self, model: nn.Module, batch: views.Views, device: torch.device) -> dict[str, Tensor]:
        images, side = torch.from_numpy(batch.images).to(device), batch.images.shape[1]
        answers = model(pictures_of(images))
        trust = np.where(batch.clicked, 1.0, self.recipe.trust).astype(np.float32)
        faces = Faces(*(torch.from_numpy(each).to(device) for each in (batch.boxes, batch.points, trust, batch.face, batch.ignored)))
        losses, of_faces = detector_losses.losses_of(answers, faces, side), {}
        of_faces["seen"] = float(len(losses["fit"]))
        if self.teacher:
            taught = self.teacher.of(images)
            losses |= detector_teacher.losses_of(answers, taught, side)
            of_faces["taught"] = float(taught.obj.sum())
        return losses | _by_cells_of_faces(losses, of_faces, len(images), model.training)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """The mean of each loss over the validation scenes, and their sum by the recipe's weights as `loss`."""
        seen = views.plain_batches(self.validation, self.recipe.last_sides[0], self.recipe.look, self.recipe.batch, self.share)
        return loop.mean_losses(self, model, seen, self.weights, device)

    def blame(self, batch: views.Views, name: str, row: int) -> dict[str, object]:
        """All pictures of the batch; rows of `seen` and `taught` are views, others are cells, which are not counted back."""
        return {"key": batch.keys[row] if name in ("seen", "taught") else "one of the batch", "batch": list(batch.keys)}

    def summary(self) -> str:
        """What is trained on, as JSON; in the end it knows what could not be read."""
        said = [
            msgspec.structs.replace(each, left_out=each.left_out | ({"could not be read": len(pool.broken)} if pool.broken else {}))
            for each, pool in zip(self.learned, self.pools, strict=True)
        ]
        return msgspec.json.format(msgspec.json.encode(said), indent=1).decode() + "\n"


def _by_cells_of_faces(losses: Mapping[str, Tensor], cells: Mapping[str, float], views: int, training: bool) -> dict[str, Tensor]:
    """The losses that are sums over all cells of a view, each divided by how many cells of faces a view has on average: in training, of the views of all processes."""
    *totals, views_in_all = parallel.summed([*cells.values(), views]) if training else [*cells.values(), views]
    return {name: losses[name] / max(total / views_in_all, 1.0) for name, total in zip(cells, totals, strict=True)}


def from_table(table: dict, name: str) -> Recipe:
    """The Recipe of a table as TOML gives it. Raises RequestError that begins with the name."""
    return strict(table, Recipe, name)


def write(model: Detector, recipe: Recipe, learned: Sequence[Learned], folder: Path) -> Path:
    """FOLDER/detector.onnx, for onnxruntime and FaceDetectorYN, and what must be known of it beside it. Returns the file."""
    name = name_of(model, recipe.name, recipe.threshold, recipe.best_size)
    write_atomically(folder / FILE, to_onnx(model, name, recipe.threshold, recipe.best_size))
    card = DetectorCard(
        name=name,
        created=datetime.now(UTC).date().isoformat(),
        commit=commit(),
        parameters=parameters_of(model),
        threshold=recipe.threshold,
        data=tuple(learned),
        limits=recipe.limits,
        licence="for research only, as the data it was trained on",
    )
    write_atomically(folder / ABOUT, json_of(card))
    return folder / FILE


def export(run: Path, recipe: Recipe, out: Path | None = None) -> Path:
    """The detector of a run folder, from its best checkpoint. Raises RequestError naming the file that is missing or of another network."""
    model = build(recipe.model)
    path = checkpoint.there(run / "checkpoints" / "best") / "averaged.safetensors"
    tensors = read_tensors(path)
    try:
        model.load_state_dict({name.removeprefix("module."): tensor for name, tensor in tensors.items() if name.startswith("module.")})
    except RuntimeError as error:
        raise RequestError(f"{path}: not of the network of config.toml ({str(error).splitlines()[0]})") from error
    try:
        learned = msgspec.json.decode((run / "data.json").read_bytes(), type=tuple[Learned, ...])
    except (OSError, msgspec.DecodeError) as error:
        raise RequestError(f"{run / 'data.json'}: cannot be read ({error})") from error
    return write(model, recipe, learned, out or run / "model")


@dataclass(frozen=True)
class _Without:
    """What training and validation do without: by split, what is measured later. faces: what `align` knows of each set."""

    faces: Mapping[str, crops.Faces]
    reserved: dict[Split, apart.Reserved]

    def photographs(self, name: str, data: Path, split: Split) -> dict[str, str]:
        """{photograph: why} of those of a split of a set that stay out, whichever of their faces says so."""
        dataset = scenes.as_dataset(name)
        records = apart.listed(dataset, data, split)
        why = apart.unfit(dataset.name, split, records, self.faces[dataset.name], self.reserved)
        return {str(record.source): why[record.key] for record in records if record.key in why}


def _reserved(recipe: Recipe, data: Path) -> _Without:
    own = [scenes.as_dataset(entry.set) for entry in recipe.data]
    faces = apart.faces_of(own, data)
    tests = apart.reserve(data, own, faces, "test", datasets.DATASETS)
    return _Without(faces, {"test": tests, "validation": apart.reserve(data, own, faces, "validation")})


UNKNOWN = "nobody knows where its faces are"
"""Why a photograph stays out that a detector should look at first."""


def _pool(entry: SceneSet, data: Path, without: _Without) -> tuple[views.Pool, Learned]:
    """The train scenes of a set, with what was found in them. Raises RequestError where a set needs that and it was never looked for."""
    listed, finds = scenes.list_scenes(entry.set, data, "train"), scenes.read_finds(data, entry.set)
    left_out: Counter = Counter({"absent": len(listed.absent), "refused": len(listed.problems)})
    why, kept = without.photographs(entry.set, data, "train"), []
    for scene in listed.items:
        if str(scene.source) in why:
            left_out[why[str(scene.source)]] += 1
        elif (known := _completed(scene, finds)) is None:
            left_out[UNKNOWN] += 1
        else:
            kept.append(known)
    if not kept and not left_out[UNKNOWN]:
        raise RequestError(f"{entry.set}: nothing is left to train on: " + ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count))
    if not kept:
        raise RequestError(f"{entry.set}: not all of its faces are labelled; find the others: polyface datasets scan {entry.set}")
    faces, clicked = sum(int((~scene.ignored).sum()) for scene in kept), sum(int((~scene.ignored & scene.clicked).sum()) for scene in kept)
    digest = sha256_of_lines([scene.key for scene in kept])
    thumbnails = without.faces[scenes.as_dataset(entry.set).name].thumbnails
    out, unchecked = {reason: count for reason, count in left_out.items() if count}, sum(scene.key not in thumbnails for scene in kept)
    said = Learned(entry.set, scenes.terms_of(entry.set), len(kept), faces, clicked, finds.detector, digest, out, unchecked)
    return views.Pool(entry.set, tuple(kept), entry.weight), said


def _validation(entry: SceneSet, data: Path, most: int, without: _Without) -> list[views.Pool]:
    try:
        listed, finds = scenes.list_scenes(entry.set, data, "validation").items, scenes.read_finds(data, entry.set)
    except (InputError, RequestError):
        return []  # the set has no such split, or nothing of it is here
    why = without.photographs(entry.set, data, "validation")
    known = [scene for scene in (_completed(scene, finds) for scene in listed if str(scene.source) not in why) if scene is not None]
    return [views.Pool(entry.set, tuple(known[:: -(-len(known) // most)]))] if known else []


def _completed(scene: Scene, finds: scenes.Finds) -> Scene | None:
    """With what was found in it; None where faces may be in it that nobody looked for, or none was found where one must be."""
    if scene.key in finds.faces:
        scene = scenes.with_finds(scene, finds.faces[scene.key])
    elif not scene.complete:
        return None
    return scene if scene.complete or not scene.ignored.all() else None
