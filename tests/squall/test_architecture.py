"""The house holds: imports run downwards only, without circles, and run time needs no training library."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BELOW = {
    "bus": set(),
    "model": {"bus"},
    "ingest": {"bus", "model"},
    "stream_worker": {"bus", "model"},
    "alerts": {"bus", "model"},
    "dashboards": {"bus"},
    "squall": {"bus", "model", "ingest", "stream_worker", "alerts", "dashboards"},
}
"""For each room, the rooms that it may import."""

MODULES = sorted(path for room in BELOW for path in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downwards_only(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    rooms = {module.partition(".")[0] for module in imports(path)} & set(BELOW)
    assert rooms - {room} <= BELOW[room]


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
    graph = {
        name: {each for each in _top_level(path) if each in names and each != name} for name, path in names.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import circle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name not in done:
            for each in sorted(graph[name]):
                visit(each, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def _top_level(path: Path) -> set[str]:
    """What a module imports when it is loaded: names from packages count as their modules where they are modules."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            folder = ROOT / Path(*node.module.split("."))
            inside = {each for each in submodules if (ROOT / Path(*each.split("."))).with_suffix(".py").exists()}
            found |= inside
            if not folder.is_dir() or len(inside) < len(node.names):
                found.add(node.module)
    return found


@pytest.mark.parametrize(
    "module", ["squall.cli", "stream_worker.worker", "stream_worker.trends", "alerts.service", "ingest.service"]
)
def test_run_time_needs_no_training_library(module: str) -> None:
    heavy = "{'torch', 'transformers', 'pandas', 'sklearn', 'onnx', 'matplotlib'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
