"""Recipes: what to train, on what, how. TOML in, a complete typed Config out; unknown keys are refused with the nearest known one."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from polyface.errors import RequestError, nearest
from polyface.files import sha256_of_lines
from polyface.models.margins import Identity
from polyface.models.polyface import ModelConfig
from polyface.strict import Count, NonNegative, Positive, Share, refuse_twice, strict

Seed = Annotated[int, msgspec.Meta(ge=0)]
Clip = Annotated[float, msgspec.Meta(gt=0)]
"""The longest gradient; inf clips none."""
Method = Literal["fixed", "uncertainty", "dwa"]
"""How weights of losses change while training: not at all, by uncertainty (Kendall et al. 2018), by how fast each loss falls (Liu et al. 2019)."""

SCALES = ("smoke", "small", "paper")
"""At which the papers' experiments are run."""


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all tables of a recipe share; those of the papers too."""


class Data(Strict, frozen=True, kw_only=True):
    """A data set of the mix: a listed name, or the path of a user's .py or manifest .toml; rows of each batch are shared out by weight."""

    set: str
    weight: Positive = 1.0
    tasks: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None
    """The answers to use; all that the set has by default."""
    even: str | None = None
    """A task whose labels are drawn by the square root of how many pictures have them, so that rare ones come more often; all pictures alike by default."""

    def __post_init__(self) -> None:
        refuse_twice("tasks", self.tasks or ())


class CropConfig(Strict, frozen=True, kw_only=True):
    """The crop every task reads: side in pixels, eye distance, and where the point between the eyes is."""

    size: Annotated[int, msgspec.Meta(ge=32, multiple_of=32)] = 128
    eye_distance: Positive = 30.0
    eyes: tuple[float, float] = (64.0, 60.0)

    def __post_init__(self) -> None:
        x, y = self.eyes
        if not (abs(x - self.size / 2) <= self.size / 10 and 0 < y < self.size):
            raise ValueError(f"eyes at {x:g}, {y:g} are not in the middle of a crop of {self.size} pixels: a crop of another size needs eyes and eye_distance of its own")


class Small(Strict, frozen=True, kw_only=True):
    """The first share of the steps sees the same view in fewer pixels, which is cheaper and costs little (Touvron et al. 2019)."""

    size: Annotated[int, msgspec.Meta(ge=32, multiple_of=32)] = 96
    share: Share = 0.0


class Augment(Strict, frozen=True, kw_only=True):
    """Strength of what varies a training picture; the shift matches the 9 % of the eye distance by which a detector's points are off."""

    degrees: NonNegative = 6.0
    scale: NonNegative = 0.08
    shift: NonNegative = 3.0
    """Standard deviations: degrees, log of the scale, pixels of the crop."""
    flip: Share = 0.5
    colour: NonNegative = 0.25
    grey: Share = 0.05
    blur: Share = 0.15
    """Share of pictures shrunk and enlarged again, or blurred."""
    blank: Share = 0.15
    """Share of pictures whose borders are blanked, as of pictures cut to the face."""
    erase: Share = 0.2
    """Share of pictures with a rectangle of one colour in them (Zhong et al. 2020); masks and points under it stay."""


class Optimiser(Strict, frozen=True, kw_only=True):
    """Muon for the kernels of convolutions, AdamW for all else; linear warm-up and a cosine to zero, gradients clipped by norm, an exponential mean of the weights.

    Or SGD with momentum and a rate that drops, as older papers have it.
    """

    algorithm: Literal["muon", "sgd"] = "muon"
    kernel_rate: Positive = 0.02
    rate: Positive = 2e-3
    weight_decay: NonNegative = 0.05
    warmup: Share = 0.03
    clip: Clip = 5.0
    ema: Share = 0.999
    momentum: Share = 0.9
    """Of SGD."""
    drops: tuple[Share, ...] = ()
    """Shares of the steps after which the rate falls to a tenth, in place of the cosine."""


class Config(Strict, frozen=True, kw_only=True):
    """A recipe, complete."""

    name: str
    data: tuple[Data, ...]
    steps: Count
    batch: Count = 96
    seed: Seed = 1
    crop: CropConfig = CropConfig()
    model: ModelConfig = ModelConfig()
    small: Small = Small()
    augment: Augment = Augment()
    optimiser: Optimiser = Optimiser()
    identity: Identity = Identity()
    losses: dict[str, NonNegative] = {}
    """Weight of each task's loss; 1 where nothing is said."""
    overlap: NonNegative = 0.0
    """Weight of the overlap of regions (`losses.overlap`) beside their surprise."""
    balance: Method = "fixed"
    """What becomes of these weights while training (`balance.py`)."""
    strangers: tuple[str, ...] = ()
    """Sets whose people of the test split carry no identity label in training, and whose test photographs leave it. Of `facescrub` that is this project's tenth,
    not the 80 people who are MegaFace's probes."""
    notes: dict[str, str] = {}
    """What must be known of a task's answers, for the card."""
    limits: tuple[str, ...] = ()
    """What the network was never shown and is not to be used for, for the card."""
    drawings: bool = False
    """Trained on drawings: every answer says so."""
    validate_every: Count = 500
    validation_rows: Count = 2000
    """At most so many pictures of each set's validation split."""
    threads: Count = 1
    """Threads that prepare batches."""
    compute_threads: Count | None = None
    """Threads that compute; all processors where nothing is said. A small network is faster with one, which waits for no other (LOG.md)."""

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("a recipe names at least one data set")
        if len(self.data) > self.batch:
            raise ValueError(f"{len(self.data)} data sets do not fit into a batch of {self.batch}")
        if self.identity.sample and self.model.interaction != "none":
            raise ValueError("identity.sample is for networks that answer once: set it to 0, or model.interaction to none")
        for key, size in {"crop.size": self.crop.size, **({"small.size": self.small.size} if self.small.share else {})}.items():
            if size % self.model.stride:
                raise ValueError(f"{key} {size} is not a multiple of {self.model.stride}, which a network of {len(self.model.widths)} model.widths needs")


def load(recipe: str, settings: list[str] | None = None) -> Config:
    """The Config of a recipe that comes with the package, by name, or of a TOML file, by path; settings are "key.key=value" in TOML's notation.

    Raises RequestError naming the file and the key.
    """
    table, name = read_table(recipe, settings or [])
    return from_table(table, name)


def read_table(recipe: str, settings: Sequence[str]) -> tuple[dict, str]:
    """The table of a recipe, of whatever network, after settings, and its name in errors."""
    path = Path(recipe)
    if path.suffix != ".toml":
        known = sorted(entry.name.removesuffix(".toml") for entry in resources.files("polyface.recipes").iterdir() if entry.name.endswith(".toml"))
        if recipe not in known:
            raise RequestError(f"no recipe {recipe!r}{nearest(recipe, known)}")
        text, name = resources.files("polyface.recipes").joinpath(f"{recipe}.toml").read_text(), f"recipe {recipe}"
    else:
        try:
            text, name = path.read_text("utf-8-sig"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(f"{recipe}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{name}: not TOML ({error})") from error
    return with_settings(table, settings), name


def from_table(table: dict, name: str) -> Config:
    """The Config of a table as TOML gives it. Raises RequestError that begins with the name."""
    return strict(table, Config, name)


def load_scale(paper: str, scale: str, settings: Sequence[str], kind: type) -> Any:
    """The recipe of a paper's scale, recipes/<paper>/<scale>.toml, with some settings "key.key=value" of TOML. Raises RequestError naming the scale or the key."""
    if scale not in SCALES:
        raise RequestError(f"no scale {scale!r}{nearest(scale, SCALES)}")
    table = tomllib.loads(resources.files("polyface.recipes").joinpath(paper).joinpath(f"{scale}.toml").read_text())
    return strict(with_settings(table, settings), kind, f"recipe {paper}/{scale}")


def with_settings(table: dict, settings: Sequence[str]) -> dict:
    """A recipe's table after "key.key=value" in TOML's notation, changed in place. Raises RequestError naming the setting."""
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise RequestError(f"--set {setting}: expected key=value")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value
        *parents, last = key.strip().split(".")
        inner = table
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise RequestError(f"--set {setting}: {parent} is no table")
        inner[last] = parsed
    return table


def to_toml(config: Strict) -> str:
    """The recipe with every default written."""
    import msgspec.toml

    return msgspec.toml.encode(_without_none(msgspec.to_builtins(config))).decode()


def settings_digest(config: Strict) -> str:
    """Of all that a run is set to but its length and its threads, which change no weight."""
    return sha256_of_lines([to_toml(msgspec.structs.replace(config, steps=0, threads=0, compute_threads=0))])


def _without_none(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    return [_without_none(each) for each in value] if isinstance(value, list | tuple) else value
