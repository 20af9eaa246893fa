"""What is being painted: a scene, its face in space, the cameras, and the canvas."""

from dataclasses import dataclass

import numpy as np

from polyface.synth.canvas import Camera, Canvas, mix, oval
from polyface.synth.people import Colour, Scene
from polyface.synth.shape import Shape

SKIN, NOSE, GLASSES, L_EYE, R_EYE, L_BROW, R_BROW, L_EAR, R_EAR, MOUTH, UPPER_LIP, LOWER_LIP, HAIR, HAT, EARRING, NECKLACE, NECK, CLOTH = range(1, 19)
MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Portrait:
    """What is being painted, where, and the colours that age and the person give it."""

    scene: Scene
    shape: Shape
    head: Camera
    body: Camera
    canvas: Canvas
    contour: np.ndarray  # the visible jaw line [65, 2], image left to image right
    face: np.ndarray  # the outline of the skin [n, 2]

    @property
    def skin(self) -> Colour:
        return mix(self.scene.person.skin, (214, 196, 184), 0.16 * self.shape.wrinkles)

    @property
    def hair(self) -> Colour:
        return mix(self.scene.person.hair, (206, 206, 208), self.shape.grey)

    @property
    def hairless(self) -> bool:
        return self.scene.age < 1 or self.shape.receding > 0.8

    @property
    def covered_ears(self) -> bool:
        return self.scene.person.hair_style in ("long", "bob") and not self.hairless and self.scene.age >= 5

    @property
    def bangs(self) -> bool:
        return self.scene.bangs and not self.hairless and self.scene.hat is None and self.scene.age >= 2

    @property
    def beard(self) -> str:
        return self.scene.person.beard if self.scene.age >= 19 else "none"

    def on(self, centre: np.ndarray, half_width: float, half_height: float, count: int = 20) -> np.ndarray:
        """An oval that faces forward on the head, in the picture."""
        return self.head.project(oval(centre, half_width, half_height, count))

    def pixels(self, length: float) -> float:
        return length * self.head.scale
