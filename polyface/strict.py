"""Trees of JSON or TOML into typed structures: unknown keys are refused, with the nearest known one; and the numbers that such structures are of."""

import re
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from polyface.errors import RequestError, nearest

LARGEST = sys.float_info.max
"""Numbers have it as their limit, since msgspec takes infinity for none."""
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=LARGEST)]
NonNegative = Annotated[float, msgspec.Meta(ge=0, le=LARGEST)]
Count = Annotated[int, msgspec.Meta(ge=1)]


def strict(tree: Any, kind: type, name: str) -> Any:
    """A tree of JSON or TOML as a Struct or dataclass. Raises RequestError with the first thing that is wrong, where it is, and the nearest known key."""
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at ")
        path = place.strip("`").removeprefix("$").removeprefix(".")
        unknown, other = re.search(r"unknown field `(.*)`", problem), problem.startswith("Invalid enum value")
        known = _types_at(msgspec.inspect.type_info(kind), path)
        hint = nearest(unknown[1], _keys_of(known)) if unknown else f"; known are {', '.join(_words_of(known))}" if other else ""
        problem = f"unknown key {unknown[1]!r}" if unknown else problem[:1].lower() + problem[1:].replace("`", "'").replace(f"<= {LARGEST}", "< inf")
        raise RequestError(f"{name}: {problem}{f' in {path}' if path else ''}{hint}") from error


def refuse_twice(key: str, names: Iterable[str]) -> None:
    """For a Struct's __post_init__. Raises ValueError with the first name that comes twice."""
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"{key} names {name!r} more than once")


def _types_at(node: Any, path: str) -> list[Any]:
    """What may stand at a path such as data[1].terms, given what msgspec knows of the type of its root."""
    for step in re.findall(r"\[[^]]*\]|[^.\[]+", path):
        options = [option for option in getattr(node, "types", (node,)) if not isinstance(option, msgspec.inspect.NoneType)]
        node = options[0]
        if isinstance(node, msgspec.inspect.StructType):
            node = next((field.type for field in node.fields if field.encode_name == step), node)
        else:
            node = getattr(node, "value_type", None) or getattr(node, "item_type", node)
    return list(getattr(node, "types", (node,)))


def _keys_of(types: list[Any]) -> list[str]:
    return [field.encode_name for option in types if isinstance(option, msgspec.inspect.StructType) for field in option.fields]


def _words_of(types: list[Any]) -> list[str]:
    return [str(word) for option in types if isinstance(option, msgspec.inspect.LiteralType) for word in option.values]
