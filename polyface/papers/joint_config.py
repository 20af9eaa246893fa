"""How `polyface reproduce joint` is run, at each scale. What the paper leaves open (papers.md, section C) is a key here, its default marked [INF]."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from polyface import tasks
from polyface.datasets.base import Split
from polyface.images.align import Crop
from polyface.models.joint import LEVELS, JointConfig, Level
from polyface.models.margins import Identity
from polyface.strict import Count, Positive, Share
from polyface.training.config import Augment, CropConfig, Optimiser, Strict, load_scale

STABLE = (
    "Male", "Young", "Big_Nose", "Big_Lips", "Oval_Face", "Pointy_Nose", "Narrow_Eyes", "High_Cheekbones", "Bushy_Eyebrows", "Chubby", "Bald", "Black_Hair",
    "Blond_Hair", "Brown_Hair", "Gray_Hair", "No_Beard", "Mustache", "Goatee", "Eyeglasses", "Double_Chin",
)  # fmt: skip
"""Attributes that belong to a person rather than to a photograph (papers.md, C2) [INF: the paper's own subset is not known]."""


class View(CropConfig, frozen=True, kw_only=True):
    """As the project's crop, in sizes that need not be multiples of 32: the paper's time had 112 pixels."""

    size: Annotated[int, msgspec.Meta(ge=32, multiple_of=16)] = 64
    eye_distance: Positive = 20.0
    eyes: tuple[float, float] = (32.0, 29.5)
    """ArcFace's template, by which LFW's pictures at hand are cut."""


class Stage(Strict, frozen=True, kw_only=True):
    """So many steps of so many rows."""

    steps: Count
    batch: Count = 96


class Pool(Strict, frozen=True, kw_only=True):
    """A recognition set, or the path of a user's .py or manifest: people with several pictures; rows of a batch are shared by weight."""

    set: str
    weight: Positive = 1.0
    most: Count | None = None
    """At most so many pictures, evenly through its list."""


class Attributes(Strict, frozen=True, kw_only=True):
    """The attribute network (MOON), and what becomes of its predictions."""

    set: str = "celeba"
    stage: Stage
    loss: Literal["squared", "logistic"] = "squared"
    """Of +-1, or logistic; weighed by MOON's domain-adapted weights either way (papers.md, C4)."""
    target: Annotated[float, msgspec.Meta(gt=0, lt=1)] | Literal["source"] = 0.5
    """T+, the rate of yes that training is to count as, of every attribute; `source` leaves the rates as they are."""
    folds: Annotated[int, msgspec.Meta(ge=2)] = 2
    """Networks that each leave out a part of the people, so that nobody's attributes are predicted by a network that was trained on that person."""
    stable_only: bool = True
    least_agreement: Share = 0.8
    """An attribute is dropped whose predictions agree less within a person, on average over the people of any recognition set, or over those of them
    who have five pictures or more: of two that answer by lot it is 0.75."""
    vote: Literal["hard", "soft"] = "hard"
    """A person's label is what most of its pictures say, or the share of them that says yes; attributes alone, which knows nobody, always learns the hard ones."""


class Screen(Strict, frozen=True, kw_only=True):
    """Training people who may be probe people, where a set has no names: a network that knows who it is alone compares the centres of people."""

    stage: Stage
    far: Positive = 1e-4
    """On people who are known to be different."""
    photos: Count = 4
    """Of each person, for the centre."""


class People(Strict, frozen=True, kw_only=True):
    """Held-out people: photographs of a split, at most so many of each person."""

    set: str
    split: Split = "test"
    photos: Count = 4


class Distractors(Strict, frozen=True, kw_only=True):
    """Faces of a set, about so many, evenly through all its splits."""

    set: str
    most: Count


class Synthetic(Strict, frozen=True, kw_only=True):
    """Embeddings drawn from a mixture of Gaussians that was fitted to one half of the real distractors'."""

    sizes: tuple[int, ...] = (10, 100, 1000, 10_000, 100_000, 1_000_000)
    clusters: Count = 64


class Drawn(Strict, frozen=True, kw_only=True):
    """Sets to draw instead of real ones."""

    people: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)
    """{set: (people, photographs of each)}: people in folders."""
    sets: tuple[tuple[str, str, int, int], ...] = ()
    """(set, layout, people, photographs of each)."""


class JointRecipe(Strict, frozen=True, kw_only=True):
    """One scale, complete."""

    name: str
    network: JointConfig
    crop: View = View()
    dimension: Count = tasks.identity.dimension
    data: tuple[Pool, ...]
    attributes: Attributes
    screen: Screen
    joint: Stage
    weight: Positive = 0.1
    """Lambda, of the attribute loss beside identity's."""
    identity: Identity = Identity()
    optimiser: Optimiser = Optimiser(ema=0.99)
    augment: Augment = Augment(shift=1.5)
    fewest: Annotated[int, msgspec.Meta(ge=2)] = 2
    """Pictures that a person of a recognition set has at least."""
    strangers: tuple[str, ...] = ("lfw",)
    """Sets whose people carry no name in training, beside those of the probes."""
    levels: tuple[Level, ...] = LEVELS
    seeds: tuple[int, ...] = (1, 2, 3)
    """The first does every row, the others identity alone, attributes alone, and the best level and its control."""
    probes: tuple[People, ...]
    validation: tuple[People, ...]
    """By these people the best level is chosen, before any test."""
    pairs: str = "lfw"
    """The set whose list of pairs is scored."""
    attribute_test: People
    distractors: tuple[Distractors, ...]
    sizes: tuple[int, ...] = (10, 100, 1000, 10_000)
    """Numbers of real distractors; all that there are besides."""
    synthetic: Synthetic = Synthetic()
    drawn: Drawn = Drawn()
    drawings: bool = False
    """Trained on drawings: every answer says so."""
    saves: Count = 3
    """Checkpoints of a run."""
    threads: Count = 1
    compute_threads: Count | None = None
    """All processors where nothing is said."""

    def __post_init__(self) -> None:
        for name in ("data", "levels", "seeds", "probes", "validation", "distractors"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty")
        if self.crop.size % self.network.stride:
            raise ValueError(f"crop.size {self.crop.size} is not a multiple of {self.network.stride}, which a trunk of {len(self.network.maps)} maps needs")
        if self.identity.sample:
            raise ValueError("identity.sample: these networks know few people, and are trained in one process")
        if len(self.data) > self.joint.batch or len(self.data) > self.screen.stage.batch:
            raise ValueError(f"{len(self.data)} recognition sets do not fit into a batch of {min(self.joint.batch, self.screen.stage.batch)}")

    @property
    def view(self) -> Crop:
        """What the networks see."""
        return Crop(self.crop.size, self.crop.eye_distance, self.crop.eyes)


def load(scale: str, settings: Sequence[str] = ()) -> JointRecipe:
    """The recipe of a scale with some settings "key.key=value" of TOML. Raises RequestError naming the scale or the key."""
    return load_scale("joint", scale, settings, JointRecipe)
