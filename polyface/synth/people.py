"""Who is drawn, and how: a person keeps a look, a photograph of that person changes age by some years, mood, pose, light, dress and place.

Everything is a pure function of (seed, person, photo) through numpy's PCG64, so that any machine draws the same pictures. The words gender, race and age move
colours, proportions and hair, so that a network has something to learn from them; the rules are a game for tests and say nothing about people.
"""

from dataclasses import dataclass

import numpy as np

from polyface import tasks

Colour = tuple[int, int, int]

OLDEST = 95


@dataclass(frozen=True)
class Person:
    """What stays the same on every photograph. Proportions are factors about 1; lengths are in units of the distance between the eyes' centres."""

    seed: int
    index: int
    gender: str
    race: str
    base_age: float
    skin: Colour
    iris: Colour
    hair: Colour
    hair_name: str  # Black, Brown, Blond
    hair_style: str  # short, crop, bob, long, curly, tied, shaved
    wavy: bool
    volume: float
    hair_length: float
    hairline: float
    parting: float
    beard: str  # none, stubble, mustache, goatee, full: what the person wears when old enough
    grey_from: float  # the age at which hair is half grey
    recedes_from: float  # the age at which the hairline is half gone
    face_width: float
    chin: float
    jaw: float  # -1 pointed, 1 square
    eye_spacing: float
    eye_size: float
    eye_tilt: float
    eye_height: float
    fold: float  # 1: the lid covers the inner corner
    brow_thickness: float
    brow_height: float
    brow_arch: float
    nose_length: float
    nose_width: float
    nose_tip: float
    mouth_width: float
    lips: float
    mouth_height: float
    ears: float
    mole: tuple[float, float] | None
    freckles: bool
    glasses: float  # how often they are worn
    frame: Colour
    round_lenses: bool
    earrings: float
    lipstick: float


@dataclass(frozen=True)
class Scene:
    """One photograph of a person. Angles in degrees with the project's signs (yaw > 0: nose to the image's right; pitch > 0: up; roll > 0: clockwise)."""

    person: Person
    age: int
    expression: str
    intensity: float
    mouth_open: float
    yaw: float
    pitch: float
    roll: float
    gaze: tuple[float, float]
    bangs: bool
    glasses: bool
    hat: str | None  # beanie, cap, brim
    hat_colour: Colour
    earrings: bool
    necklace: bool
    necktie: bool
    lipstick: Colour | None
    rosy: bool
    cloth: Colour
    background: np.ndarray  # uint8 [3, 3, 3], enlarged to the picture
    light: np.ndarray  # uint8 [2, 2, 3], 128 is neutral, enlarged to the picture
    blurry: bool
    eye_distance: float  # as a share of the picture's shorter side
    place: tuple[float, float]  # of the point between the eyes, as shares of width and height
    grain: int  # the seed of the noise


@dataclass(frozen=True)
class _Look:
    """What a race word moves in these drawings."""

    skins: tuple[Colour, Colour]  # a person's skin is a mixture of the two
    hairs: tuple[float, float, float]  # shares of Black, Brown, Blond
    eye_height: float
    eye_tilt: float
    fold: float
    nose_width: float
    lips: float
    brows: float
    light_eyes: float
    curly: float


_LOOKS = {
    "White": _Look(((250, 222, 204), (228, 184, 158)), (0.1, 0.45, 0.45), 1.05, 0.0, 0.0, 0.9, 0.85, 0.95, 0.65, 0.05),
    "Black": _Look(((122, 82, 60), (78, 50, 38)), (0.97, 0.03, 0.0), 1.05, 0.03, 0.0, 1.3, 1.45, 1.1, 0.0, 0.6),
    "Latino_Hispanic": _Look(((216, 170, 134), (190, 140, 104)), (0.45, 0.5, 0.05), 1.0, 0.03, 0.0, 1.05, 1.15, 1.1, 0.08, 0.08),
    "East Asian": _Look(((250, 222, 184), (236, 202, 160)), (0.95, 0.05, 0.0), 0.72, 0.16, 1.0, 1.0, 0.95, 0.85, 0.0, 0.0),
    "Southeast Asian": _Look(((208, 160, 112), (178, 128, 86)), (0.98, 0.02, 0.0), 0.8, 0.12, 0.7, 1.18, 1.15, 0.95, 0.0, 0.0),
    "Indian": _Look(((168, 118, 82), (132, 88, 60)), (0.97, 0.03, 0.0), 1.12, 0.04, 0.0, 1.0, 1.1, 1.25, 0.02, 0.02),
    "Middle Eastern": _Look(((236, 190, 150), (208, 160, 120)), (0.7, 0.28, 0.02), 1.08, -0.02, 0.0, 0.95, 0.95, 1.45, 0.2, 0.05),
}
_HAIRS: dict[str, tuple[Colour, Colour]] = {
    "Black": ((34, 29, 30), (20, 18, 22)),
    "Brown": ((116, 74, 44), (78, 48, 32)),
    "Blond": ((234, 200, 128), (208, 166, 92)),
}
_DARK_IRIS, _LIGHT_IRIS = ((74, 44, 26), (50, 32, 24)), ((86, 130, 170), (104, 136, 92))


def person(seed: int, index: int) -> Person:
    """The person of that index. seed and index are non-negative integers."""
    rng = np.random.default_rng([seed, index, 0])
    gender, race = str(rng.choice(tasks.gender.vocabulary)), str(rng.choice(tasks.race.vocabulary))
    look, male = _LOOKS[race], gender == "male"
    hair_name = ("Black", "Brown", "Blond")[rng.choice(3, p=look.hairs)]
    curly = rng.random() < look.curly
    if male:
        style = "curly" if curly else rng.choice(["short", "crop", "shaved", "bob"], p=[0.48, 0.34, 0.12, 0.06])
        beard = rng.choice(["none", "stubble", "mustache", "goatee", "full"], p=[0.48, 0.14, 0.11, 0.11, 0.16])
    else:
        style = "curly" if curly else rng.choice(["long", "bob", "tied", "crop"], p=[0.5, 0.24, 0.2, 0.06])
        beard = "none"
    light_eyes = rng.random() < look.light_eyes
    near = rng.normal  # near(mean, deviation)
    return Person(
        seed=seed,
        index=index,
        gender=gender,
        race=race,
        base_age=_base_age(rng),
        skin=_between(rng, *look.skins),
        iris=_between(rng, *(_LIGHT_IRIS if light_eyes else _DARK_IRIS)),
        hair=_between(rng, *_HAIRS[hair_name]),
        hair_name=hair_name,
        hair_style=str(style),
        wavy=bool(curly or rng.random() < 0.4),
        volume=float(rng.uniform(0.06, 0.2) if male else rng.uniform(0.12, 0.26)),
        hair_length=float(rng.uniform(1.9, 3.2)),
        hairline=float(near(1.0, 0.07)),
        parting=float(rng.uniform(-0.3, 0.3)),
        beard=str(beard),
        grey_from=float(near(56, 4)),
        recedes_from=float(rng.uniform(40, 100)) if male else 200.0,
        face_width=_within(near(1.03 if male else 0.98, 0.06), 0.88, 1.16),
        chin=_within(near(1.03 if male else 0.98, 0.05), 0.88, 1.16),
        jaw=_within(near(0.5 if male else -0.4, 0.5), -1.2, 1.4),
        eye_spacing=_within(near(1.0, 0.055), 0.88, 1.12),
        eye_size=_within(near(0.97 if male else 1.08, 0.08), 0.82, 1.3),
        eye_tilt=float(near(look.eye_tilt, 0.04)),
        eye_height=_within(near(look.eye_height, 0.07), 0.6, 1.3),
        fold=look.fold,
        brow_thickness=_within(look.brows * near(1.25 if male else 0.75, 0.2), 0.45, 2.2),
        brow_height=float(near(1.0 if male else 1.12, 0.08)),
        brow_arch=_within(near(0.6 if male else 1.2, 0.4), 0.0, 2.2),
        nose_length=_within(near(1.0, 0.07), 0.84, 1.2),
        nose_width=_within(look.nose_width * near(1.05 if male else 0.95, 0.1), 0.7, 1.6),
        nose_tip=float(near(1.0, 0.12)),
        mouth_width=_within(near(1.0, 0.09), 0.8, 1.25),
        lips=_within(look.lips * near(0.9 if male else 1.12, 0.13), 0.5, 2.0),
        mouth_height=float(near(1.0, 0.03)),
        ears=_within(near(1.0, 0.14), 0.7, 1.4),
        mole=(float(rng.uniform(0.3, 0.75) * rng.choice([-1, 1])), float(rng.uniform(0.45, 1.3))) if rng.random() < 0.3 else None,
        freckles=bool(race == "White" and rng.random() < 0.25),
        glasses=float(rng.choice([0.03, 0.5, 0.95], p=[0.65, 0.2, 0.15])),
        frame=((30, 28, 32), (120, 40, 40), (60, 70, 110), (150, 120, 60))[rng.integers(4)],
        round_lenses=bool(rng.random() < 0.5),
        earrings=float(rng.choice([0.1, 0.8])) if not male else 0.03,
        lipstick=float(rng.choice([0.1, 0.85])) if not male else 0.0,
    )


def photo_of(who: Person, seed: int, index: int) -> Scene:
    """Photograph number `index` of a person, as `seed` draws it: the same person under another seed is seen on other photographs."""
    rng = np.random.default_rng([seed, who.index, index + 1])
    age = round(_within(who.base_age + rng.normal(0, 3), 0, OLDEST))
    grown = age >= 16
    expression = str(rng.choice(tasks.expression.vocabulary, p=[0.2, 0.24, 0.1, 0.1, 0.08, 0.09, 0.1, 0.09]))
    pose = rng.normal(0, (17, 8, 6)) if rng.random() < 0.85 else rng.uniform((-65, -20, -20), (65, 20, 20))
    yaw, pitch, roll = np.clip(pose, (-65, -25, -30), (65, 25, 30))
    hat = str(rng.choice(["beanie", "cap", "brim"])) if rng.random() < 0.1 else None
    level, slope = rng.uniform(104, 140), rng.normal(0, 12, (2, 2))
    tint = rng.normal(0, 4, 3)
    distance = float(rng.uniform(0.155, 0.225))
    return Scene(
        person=who,
        age=age,
        expression=expression,
        intensity=float(rng.uniform(0.75, 1.15)),
        mouth_open=float(rng.uniform(0.06, 0.16)) if rng.random() < 0.2 else 0.0,
        yaw=float(yaw),
        pitch=float(pitch),
        roll=float(roll),
        gaze=(float(np.clip(rng.normal(0, 0.3), -0.7, 0.7)), float(np.clip(rng.normal(0, 0.2), -0.5, 0.5))),
        bangs=bool(who.hair_style in ("crop", "bob", "long") and rng.random() < (0.9 if who.index % 3 == 0 else 0.12)),
        glasses=bool(age >= 4 and rng.random() < who.glasses),
        hat=hat,
        hat_colour=_any_colour(rng),
        earrings=bool(age >= 8 and rng.random() < who.earrings),
        necklace=bool(who.gender == "female" and age >= 10 and rng.random() < 0.25),
        necktie=bool(who.gender == "male" and grown and rng.random() < 0.2),
        lipstick=_between(rng, (206, 30, 60), (170, 34, 84)) if grown and rng.random() < who.lipstick else None,
        rosy=bool(rng.random() < (0.25 if who.gender == "female" else 0.06)),
        cloth=_any_colour(rng),
        background=_background(rng),
        light=np.clip(level + slope[..., None] + tint, 70, 178).astype(np.uint8),
        blurry=bool(rng.random() < 0.05),
        eye_distance=distance,
        place=(float(rng.uniform(0.45, 0.55)), float(rng.uniform(0.44, 0.52))),
        grain=int(rng.integers(2**31)),
    )


def _base_age(rng: np.random.Generator) -> float:
    kind = rng.random()
    if kind < 0.18:
        return float(rng.uniform(0, 16))
    return float(rng.uniform(16, 50) if kind < 0.72 else rng.uniform(50, 90))


def _background(rng: np.random.Generator) -> np.ndarray:
    """Muted colours that flow into one another."""
    level, hue = rng.uniform(60, 215), rng.normal(0, 20, 3)
    return np.clip(level + hue + rng.normal(0, 16, (3, 3, 1)) + rng.normal(0, 8, (3, 3, 3)), 0, 255).astype(np.uint8)


def _between(rng: np.random.Generator, first: Colour, second: Colour) -> Colour:
    share = rng.random()
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _any_colour(rng: np.random.Generator) -> Colour:
    red, green, blue = (int(value) for value in rng.integers(40, 226, 3))
    return red, green, blue


def _within(value: float, low: float, high: float) -> float:
    return float(min(max(value, low), high))
