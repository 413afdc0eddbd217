"""ARCHITECTURE.md is the map: its tables hold every file and arrow of the code, and no other."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "cpp"
LIBRARY = ROOT / "src" / "edgeward"

Arrows = dict[str, set[str]]


def table(title: str) -> Arrows:
    """The rows under the header `| title | noun | stands on |`."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    found = re.search(
        rf"^\| {title} \| noun \| stands on \|\n\|[-|]+\|\n((?:\|.*\|\n)+)", text, re.M
    )
    assert found, f"ARCHITECTURE.md has no table of a {title}"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]
    assert all(noun for _, noun, _ in rows)
    names = [name.strip("`") for name, _, _ in rows]
    assert len(set(names)) == len(names), "a file stands in the table twice"
    return {name.strip("`"): set(re.findall(r"`(\w+)`", arrows)) for name, _, arrows in rows}


def includes() -> Arrows:
    arrows: Arrows = {}
    for path in CORE.iterdir():
        assert path.suffix in {".h", ".cc"}, path
        found = set(re.findall(r'^#include "(\w+)\.h"', path.read_text(), re.M))
        arrows.setdefault(path.stem, set()).update(found - {path.stem})
    return arrows


def imports() -> Arrows:
    """The Python modules and what they import of each other, at the top or inside functions."""
    modules = {path.stem for path in LIBRARY.glob("*.py")} | {"_core"}
    # The core takes its error classes from here (set_error in bindings.cc).
    arrows: Arrows = {"_core": {"errors"}}
    for path in LIBRARY.rglob("*.py"):
        name = "edgeward" if path.stem == "__init__" else path.stem
        found = arrows.setdefault(name, set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                dotted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module == "edgeward":
                dotted = [f"edgeward.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                dotted = [node.module or ""]
            else:
                continue
            for module in dotted:
                first, _, second = module.partition(".")
                if first == "edgeward":
                    found.add(second if second in modules else "edgeward")
    return arrows


def ring(arrows: Arrows) -> list[str]:
    """Names that lead back to the first of them; empty when arrows point one way."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        for target in sorted(arrows[name]):
            if found := walk(target, [*path, name]):
                return found
        done.add(name)
        return []

    return next(filter(None, (walk(name, []) for name in sorted(arrows))), [])


@pytest.mark.parametrize(("title", "code"), [("file", includes), ("module", imports)])
def test_the_map_is_the_code(title, code):
    drawn, held = table(title), code()
    assert held, "no files found"
    assert sorted(drawn) == sorted(held)
    for name, arrows in held.items():
        assert arrows <= drawn[name], f"{name}: an arrow that is not on the map"
        assert drawn[name] <= arrows, f"{name}: an arrow on the map that the code does not hold"


@pytest.mark.parametrize(("title", "least"), [("file", 15), ("module", 8)])
def test_arrows_point_one_way(title, least):
    arrows = table(title)
    assert len(arrows) >= least
    assert ring(arrows) == []


def test_a_ring_is_found():
    assert ring({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_only_the_bindings_know_python():
    aware = {path.stem for path in CORE.iterdir() if "py::" in path.read_text()}
    assert aware == {"bindings", "capture_bindings", "hot_bindings", "package_bindings"}


def test_each_c_abi_is_known_to_one_file():
    opened = {path.stem for path in CORE.glob("*.cc") if ".symbol<" in path.read_text()}
    assert opened == {"litert", "onnx", "tflite"}
