"""How `polyface reproduce ifan` is run, at each scale. What the paper leaves open (papers.md, section B) is a key here, its default marked [INF]."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from polyface import tasks
from polyface.errors import nearest
from polyface.images.align import Crop
from polyface.models.ifan import IfanConfig
from polyface.strict import Count, Positive
from polyface.tasks.derive import Derived
from polyface.training.config import Augment, CropConfig, Optimiser, Strict, load_scale

DRAWN = "drawn"
"""The set of drawn people whose every label is known (`ifan_worlds.py`)."""


REGIONS = Derived(
    of=tasks.parsing.name,
    words={
        "background": ("background", "hat", "neck", "neck_l", "cloth", "l_ear", "r_ear", "ear_r"),
        "skin": ("skin", "eye_g"),
        "brows": ("l_brow", "r_brow"),
        "eyes": ("l_eye", "r_eye"),
        "nose": "nose",
        "upper lip": "u_lip",
        "inner mouth": "mouth",
        "lower lip": "l_lip",
        "hair": "hair",
    },
    nothing=("eye_g", "ear_r", "neck_l"),
)
"""The first reading of Helen's nine classes (B1). What has no place of its own [INF]: ears, neck, clothes and hats are background, as in Helen, whose skin is that of the
face alone; glasses and jewellery say nothing, since some sets paint them and others what is behind them."""
POINTS = Derived(
    of=tasks.landmarks.name,
    question="Where are the eyes, the nose and the corners of the mouth?",
    words={"image-left eye": tuple(range(36, 42)), "image-right eye": tuple(range(42, 48)), "nose": (30,), "mouth left": (48,), "mouth right": (54,)},
)
"""MTFL's five points in its order; those of 68 as `images/geometry.py` has them."""
EMOTION = Derived(
    of=tasks.expression.name,
    question="Which of seven emotions does the face show?",
    words={word: word for word in tasks.expression.vocabulary if word != "contempt"},
)
"""Seven words; a face that shows contempt has no place among them."""

OVERALL = (("brows",), ("eyes",), ("nose",), ("upper lip", "inner mouth", "lower lip"))
"""The parts of Helen's overall F (B5): each the union of its regions in reading (u), its regions apart in reading (p)."""


class Pool(Strict, frozen=True, kw_only=True):
    """A set to train on, or the path of a user's .py or manifest .toml: at most so many pictures of it, evenly through its list; rows of a batch are shared by weight."""

    set: str
    weight: Positive = 1.0
    most: Count | None = None
    tasks: tuple[str, ...] | None = None
    """Finer tasks whose labels are used; all that the recipe has by default."""


class Test(Strict, frozen=True, kw_only=True):
    """A set to score on: about so many faces of its test split (all where nothing is said), and of its validation split, by which a row is chosen."""

    __test__ = False  # pytest takes it for a test case

    set: str
    most: Count | None = None
    validation: Annotated[int, msgspec.Meta(ge=0)] = 200
    true_boxes: bool = True
    """Of the test, points are also scored by boxes about the labelled ones."""
    tasks: tuple[str, ...] | None = None
    """Finer tasks to score; all that the recipe has by default."""


class Stage(Strict, frozen=True, kw_only=True):
    """So many steps of so many rows."""

    steps: Count
    batch: Count


class Drawn(Strict, frozen=True, kw_only=True):
    """People whose every label is known: for ground truth that is fed back, and for hybrid training at equal picture counts."""

    people: Count = 500
    photos: Count = 2
    size: Count = 128
    """Side of a picture in pixels."""
    sets: tuple[tuple[str, str, int, int], ...] = ()
    """Sets in public layouts to draw instead of real ones: (set, layout, people, photos)."""


class Plug(Strict, frozen=True, kw_only=True):
    """A fourth task that is plugged into a trained network: its set, and the set it is scored on."""

    name: str
    task: Derived
    data: tuple[Pool, ...]
    tests: tuple[Test, ...]
    stage: Stage


class Plan(Strict, frozen=True, kw_only=True):
    """What rows take by plan, on two cores that have nothing else to do: milliseconds of a training picture in the first pass and for each further one, the other tasks'
    predictions included (`through`: with gradients through the loop); minutes of scoring a row, for each pass."""

    first: Positive
    further: Positive
    through: Positive
    scoring: Positive


class IfanRecipe(Strict, frozen=True, kw_only=True):
    """One scale, complete."""

    name: str
    network: IfanConfig
    crop: CropConfig = CropConfig()
    tasks: dict[str, Derived] = msgspec.field(default_factory=lambda: {"regions": REGIONS, "points": POINTS, "emotion": EMOTION})
    overall: tuple[tuple[str, ...], ...] = OVERALL
    data: tuple[Pool, ...]
    tests: tuple[Test, ...]
    pretrain: dict[str, Stage]
    """{task: its stage}, of every task, one after the other in this order; the weights are where the rows of all seeds start. The trunk goes on from task to task, so
    that a head read early has to find its way back in the joint stage."""
    joint: Stage
    optimiser: Optimiser = Optimiser(ema=0.99)
    """The loop's own [INF]: the base network's RMSprop (B4) is none of the loop's algorithms."""
    losses: dict[str, Positive] = msgspec.field(default_factory=dict)
    """Weight of each task's loss; 1 where nothing is said [INF: B4]."""
    augment: Augment = Augment()
    rows: tuple[str, ...] = ()
    """Rows of the ablation to do; all where nothing is said."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """The first does all rows, the others those of part `seeds` and two of drawn people; all from one shared start."""
    drawn: Drawn = Drawn()
    plug: Plug | None = None
    two_labels: tuple[Pool, ...] = ()
    """A set whose pictures have two of the labels, to train on nothing else."""
    hundred: tuple[Pool, ...] = ()
    """As many pictures of sets that have one label each."""
    drawings: bool = False
    """Trained on drawings: every answer says so."""
    plan: Plan | None = None
    curve: Count = 5
    """How often the validation loss of a row is read."""
    curve_rows: Count = 64
    """Of so many pictures of each task."""
    pictures: Count = 60
    """Test faces of each measure whose answers are kept pass by pass, drawn at random."""
    threads: Count = 1
    compute_threads: Count | None = None
    """All processors where nothing is said."""

    def __post_init__(self) -> None:
        if self.crop.size != self.network.size:
            raise ValueError(f"crop.size {self.crop.size} is not network.size {self.network.size}")
        if self.pretrain.keys() != self.tasks.keys():
            raise ValueError(f"pretrain has a stage for each of {', '.join(self.tasks)}, and for nothing else: found {', '.join(self.pretrain)}")
        for name in self.losses:
            if name not in self.tasks and (self.plug is None or name != self.plug.name):
                raise ValueError(f"losses: no task {name!r}{nearest(name, self.tasks)}")

    @property
    def view(self) -> Crop:
        """What the network sees."""
        return Crop(self.crop.size, self.crop.eye_distance, self.crop.eyes)


def load(scale: str, settings: Sequence[str] = ()) -> IfanRecipe:
    """The recipe of a scale with some settings "key.key=value" of TOML. Raises RequestError naming the scale or the key."""
    return load_scale("ifan", scale, settings, IfanRecipe)
