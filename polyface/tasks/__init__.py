"""The nine questions. Adding one is a file beside these and a line in TASKS; CONTRIBUTING.md shows it."""

from polyface.errors import RequestError, nearest
from polyface.tasks.age import age
from polyface.tasks.attributes import attributes
from polyface.tasks.derive import derive, retell
from polyface.tasks.expression import expression
from polyface.tasks.gender import gender
from polyface.tasks.identity import identity
from polyface.tasks.kinds import Angles, Category, Embedding, Points, Regions, Scale, Task, Traits
from polyface.tasks.landmarks import landmarks
from polyface.tasks.parsing import parsing
from polyface.tasks.pose import pose
from polyface.tasks.race import race

TASKS: tuple[Task, ...] = (identity, age, gender, race, expression, attributes, landmarks, parsing, pose)


def named(name: str) -> Task:
    """The task of a name. Raises RequestError with the nearest known one."""
    for task in TASKS:
        if task.name == name:
            return task
    raise RequestError(f"no task {name!r}{nearest(name, [task.name for task in TASKS])}")


__all__ = [
    "TASKS", "Angles", "Category", "Embedding", "Points", "Regions", "Scale", "Task", "Traits", "age", "attributes", "derive", "expression", "gender",
    "identity", "landmarks", "named", "parsing", "pose", "race", "retell",
]  # fmt: skip
