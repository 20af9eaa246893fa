"""How `polyface reproduce fusion` is run, at each scale. What the paper leaves open (papers.md, section A) is a key here, its default marked [INF]."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from polyface.errors import nearest
from polyface.files import write_atomically
from polyface.images.align import Crop
from polyface.models.fusion import MERGES, NetworkConfig
from polyface.strict import Count, NonNegative, Positive, Share
from polyface.training.config import Clip, Strict, load_scale

SplitName = Literal["paper", "image", "person"]
WORLDS = ("celeba", "pins", "drawn", "strangers")


class Training(Strict, frozen=True, kw_only=True):
    """SGD, 'large at first, then gradually reduced'; batch and steps as published (A2), the rest [INF]."""

    steps: Count = 20_000
    batch: Count = 200
    algorithm: Literal["sgd", "muon"] = "sgd"
    """What the paper says, or the loop's own."""
    rate: Positive = 0.01
    momentum: Share = 0.9
    weight_decay: NonNegative = 0.0
    drops: tuple[Share, ...] = (0.5, 0.75)
    """Shares of the steps after which the rate falls to a tenth."""
    clip: Clip = 5.0
    curve: Count = 10
    """How many points a curve of test accuracy has; each is a checkpoint too."""


class Heads(Training, frozen=True, kw_only=True):
    """The two new layers on frozen features."""

    hidden: tuple[Count, ...] = (256, 128)
    """[INF]; the wording '2-layered' also allows one hidden layer."""
    width: Count = 128
    """Of features that are projected before they are merged."""
    seeds: Count = 3
    """Tables and merging algorithms are means over so many; in split `person` each fold has one. Late fusion, subsets and controls have one."""


class Variation(Strict, frozen=True, kw_only=True):
    """What the ten variants of a picture differ in ('image filters and affine transforms', the rest [INF]), at strength 1."""

    degrees: NonNegative = 8.0
    scale: NonNegative = 0.08
    shift: NonNegative = 0.04
    """Standard deviations: degrees, log of the scale, share of the crop's side."""
    light: NonNegative = 0.2
    blur: NonNegative = 0.8
    noise: NonNegative = 6.0
    """Standard deviations of grey levels."""


class Celeba(Strict, frozen=True, kw_only=True):
    people: Count = 200
    pictures: Count = 30


class Pins(Strict, frozen=True, kw_only=True):
    people: Count = 77
    pictures: Count = 170
    voter: str = "fusion-voter"
    """The recipe of the network that votes, trained on FairFace alone."""
    voter_steps: Count | None = None
    """The recipe's where nothing is said."""


class Drawn(Strict, frozen=True, kw_only=True):
    people: Count = 77
    pictures: Count = 300
    seed: int = 7
    tries: Annotated[int, msgspec.Meta(ge=0, le=5)] = 5
    """Networks that may be trained to find the strength of variation at which identity is as hard as in the paper; with none the strength is 1. Each is trained as the
    world's own are: a shorter training would find the strength for another network."""


class Strangers(Strict, frozen=True, kw_only=True):
    pictures: Count = 6000
    """At most so many of each set's training split, and a third as many of its test."""


class FusionConfig(Strict, frozen=True, kw_only=True):
    """One scale, complete."""

    name: str
    network: NetworkConfig = NetworkConfig(size=32)
    """32 pixels on two cores [INF]."""
    identity_length: Count = 200
    other_length: Count = 50
    networks: Training = Training()
    heads: Heads = Heads(steps=2000)
    person_steps: Count | None = None
    """Steps of a network in split `person`, which has one for each fold; as the others where nothing is said."""
    balanced: bool = False
    """Draw classes evenly in training; the paper says its groups are not balanced."""
    variants: Count = 10
    variation: Variation = Variation()
    strength: NonNegative = 1.0
    eye_distance: Positive = 0.36
    eyes: tuple[float, float] = (0.5, 0.42)
    """The face in its crop, as shares of the crop's side [INF: a detector's crop]."""
    train_share: Share = 0.7
    splits: tuple[SplitName, ...] = ("paper", "image", "person")
    controls: SplitName = "image"
    """The split in which the controls are made; random groups are in all."""
    folds: Annotated[int, msgspec.Meta(ge=2)] = 5
    fewest_people: Count = 5
    """Classes with fewer people are left out of split `person`."""
    merges: tuple[str, ...] = tuple(MERGES)
    ensemble: tuple[str, ...] | None = None
    """Tasks whose own network is trained from four seeds; all where nothing is said."""
    worlds: tuple[str, ...] = ("celeba", "pins", "drawn", "strangers")
    celeba: Celeba = Celeba()
    pins: Pins = Pins()
    drawn: Drawn = Drawn()
    strangers: Strangers = Strangers()
    compute_threads: Count | None = None
    """All processors where nothing is said."""
    test_rows: Count = 2000
    """Test rows that points of a curve are measured on; tables use all."""
    seed: int = 1

    def __post_init__(self) -> None:
        for world in self.worlds:
            if world not in WORLDS:
                raise ValueError(f"no world {world!r}{nearest(world, WORLDS)}")
        for merge in self.merges:
            if merge not in MERGES:
                raise ValueError(f"no merge {merge!r}{nearest(merge, MERGES)}")
        if not 0.1 <= self.train_share <= 0.9:
            raise ValueError(f"train_share {self.train_share} leaves too little of one side")

    @property
    def crop(self) -> Crop:
        """What a network sees."""
        size = self.network.size
        return Crop(size, self.eye_distance * size, (self.eyes[0] * size, self.eyes[1] * size))

    @property
    def wide(self) -> Crop:
        """The crop with a quarter of its side around it, from which variants are cut."""
        size = self.network.size
        return Crop(size + 2 * (size // 4), self.crop.eye_distance, (self.crop.eyes[0] + size // 4, self.crop.eyes[1] + size // 4))

    def length(self, task: str, identity: str) -> int:
        return self.identity_length if task == identity else self.other_length


def load(scale: str, settings: Sequence[str] = ()) -> FusionConfig:
    """The recipe of a scale with some settings "key.key=value" of TOML. Raises RequestError naming the scale or the key."""
    return load_scale("fusion", scale, settings, FusionConfig)


def kept(file: Path, made_with: str, make: Callable[[], Any]) -> Any:
    """What a JSON file holds, if it was made as it is now asked for; else made anew, and kept."""
    if file.exists():
        said = json.loads(file.read_text())
        if isinstance(said, dict) and said.get("made_with") == made_with:
            return said["held"]
    held = make()
    write_atomically(file, json.dumps({"made_with": made_with, "held": held}, indent=1) + "\n")
    return held


def digest(*parts: object) -> str:
    """A hash of JSON and arrays by which cached things know that they were made as is now asked for."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else msgspec.json.encode(part))
    return whole.hexdigest()[:16]
