"""The rooms of the house: who may import whom, where torch may be loaded, and where tasks are named."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import polyface
from polyface.tasks import TASKS

PACKAGE = Path(polyface.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

ROOMS = [
    "errors", "files", "strict", "terminal", "runtime", "installed", "cluster", "page", "labels", "metrics", "images", "tasks", "datasets", "synth",
    "evaluation", "inference", "models", "training", "papers", "recipes", "demo", "cli", "__main__",
]  # fmt: skip
"""DESIGN.md, section 2: a module imports from rooms above its own, or from its own."""

MAY_LOAD_TORCH = {"models", "training", "papers"}
MAY_LOAD_TORCH_LAZILY = MAY_LOAD_TORCH | {"demo", "cli"}
NAME_NO_TASK = [PACKAGE / "models", PACKAGE / "training", PACKAGE / "inference" / "engine.py"]


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(tree: ast.Module) -> Iterator[tuple[str, bool, int]]:
    """(module, whether it is loaded with the file, line) of every import, those inside functions and of names of packages included; not those for type checkers only."""
    for node, lazily in _nodes(tree, False):
        if isinstance(node, ast.Import):
            yield from ((alias.name, not lazily, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((f"{node.module}.{alias.name}", not lazily, node.lineno) for alias in node.names)


def _nodes(node: ast.AST, lazily: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        inside = lazily or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield child, inside
        yield from _nodes(child, inside)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def where(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", [path for path in FILES if path != PACKAGE / "__init__.py"], ids=where)
def test_a_room_imports_only_from_rooms_above_it(path: Path) -> None:
    own = ROOMS.index(room(path))
    below = []
    for module, _, line in imports(parsed(path)):
        parts = module.split(".")
        if parts[0] == "polyface" and parts[1] in ROOMS and ROOMS.index(parts[1]) > own:
            below.append(f"line {line}: {module}")
        elif parts[0] == "polyface" and parts[1] not in ROOMS:
            assert hasattr(polyface, parts[1]), f"line {line}: {module} is in no room"
    assert not below, f"{where(path)} imports from below: {'; '.join(below)}"


@pytest.mark.parametrize("path", FILES, ids=where)
def test_torch_is_loaded_only_where_models_are_made(path: Path) -> None:
    allowed = {True: MAY_LOAD_TORCH, False: MAY_LOAD_TORCH_LAZILY}
    for module, with_the_file, line in imports(parsed(path)):
        if module.split(".")[0] == "torch":
            assert room(path) in allowed[with_the_file], f"{where(path)}, line {line}: {module}"


@pytest.mark.parametrize("path", [path for path in FILES if any(path.is_relative_to(place) for place in NAME_NO_TASK)], ids=where)
def test_no_task_is_spelled_where_code_serves_them_all(path: Path) -> None:
    names = {task.name for task in TASKS}
    spelled = [f"line {node.lineno}: {node.value!r}" for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant) and node.value in names]
    assert not spelled, f"{where(path)} names tasks: {'; '.join(spelled)}"


def test_the_tests_above_see_imports_of_every_form() -> None:
    source = "import polyface.cli\nfrom polyface import cli\nfrom polyface.cli import main\ndef f():\n    import torch.nn\nif TYPE_CHECKING:\n    import onnxruntime\n"
    assert list(imports(ast.parse(source))) == [
        ("polyface.cli", True, 1), ("polyface.cli", True, 2), ("polyface.cli.main", True, 3), ("torch.nn", False, 5),
    ]  # fmt: skip


@pytest.mark.parametrize("statement", ["import polyface", "from polyface.cli import run; run(['--help'])", "from polyface.cli import run; run(['analyze', '--help'])"])
def test_neither_the_package_nor_help_loads_numpy_or_torch(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint([name for name in ('numpy', 'cv2', 'torch', 'onnxruntime') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_using_a_model_loads_no_torch() -> None:
    code = "import polyface.inference.write, polyface.datasets, sys; polyface.load; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
