"""What of the house style can be counted: lengths of functions, parameters, names that say nothing.

A function above a limit is listed here with the reason why it is better in one piece.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = {"src": 60, "cpp": 80}
MAX_PARAMETERS = 8
EMPTY_NAMES = {"one", "place", "found", "given", "told", "made"}

# By "path: function": why it may be longer, or take more, than the limits say.
LONG: dict[str, str] = {}
WIDE = {
    "src/edgeward/captures/capture.py: __init__": "the public options of Capture, by keyword only",
    "src/edgeward/packages/package.py: seal": "the public API: ten arguments, five by keyword only",
}


class Function(NamedTuple):
    name: str  # "path: function"
    lines: int
    parameters: int


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def cpp_files(*folders: str) -> list[Path]:
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*.*"))
    return sorted(path for path in paths if path.suffix in {".h", ".cc"})


def python_functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            count = sum(name.arg not in {"self", "cls"} for name in names)
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(f"{path.relative_to(ROOT)}: {node.name}", lines, count)


def without_comments_and_strings(text: str) -> str:
    """The same lines, each comment and string literal replaced by nothing."""
    pattern = r'//[^\n]*|/\*.*?\*/|R"\((.*?)\)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\''
    return re.sub(pattern, lambda match: "\n" * match[0].count("\n"), text, flags=re.S)


def cpp_functions(path: Path) -> Iterator[Function]:
    """Definitions and declarations as clang-format lays them out."""
    text = without_comments_and_strings(path.read_text())
    head = re.compile(
        r"^( *)(?! |return|throw|else|using|namespace|#)([\w:&*<>,~\[\] ]*?)\b([\w:~]+)\(", re.M
    )
    for match in head.finditer(text):
        if match[3] in {"if", "for", "while", "switch", "catch", "sizeof", "defined"}:
            continue
        close = closing(text, match.end() - 1, "()")
        rest = re.match(r"[^;{}()=]*(?:\([^)]*\)[^;{}()=]*)?(?::[^;{}]*)?([;{])", text[close + 1 :])
        if not rest or not (match[2].strip() or rest[1] == "{"):
            continue
        arguments = text[match.end() : close]
        lines = 0
        if rest[1] == "{":
            end = closing(text, close + rest.end(), "{}")
            lines = text.count("\n", match.start(), end) + 1
        yield Function(f"{path.relative_to(ROOT)}: {match[3]}", lines, parameters(arguments))


def closing(text: str, start: int, pair: str) -> int:
    """Where the bracket at `start` is closed."""
    depth = 0
    for match in re.compile(f"[{re.escape(pair)}]").finditer(text, start):
        depth += 1 if match[0] == pair[0] else -1
        if depth == 0:
            return match.start()
    raise ValueError(f"a bracket is not closed: {text[start : start + 60]!r}")


def parameters(arguments: str) -> int:
    """How many parameters a list holds; commas in brackets part none."""
    while (inner := re.sub(r"\([^()<>]*\)|<[^()<>]*>|\{[^{}]*\}", "", arguments)) != arguments:
        arguments = inner
    return arguments.count(",") + 1 if arguments.strip() else 0


def empty_names(path: Path) -> list[str]:
    """Where a variable, parameter, function or attribute gets a name that says nothing."""
    name = path.relative_to(ROOT)
    if path.suffix != ".py":
        lines = without_comments_and_strings(path.read_text()).splitlines()
        pattern = re.compile(rf"\b({'|'.join(sorted(EMPTY_NAMES))})_?\b")
        return [f"{name}:{number}" for number, line in enumerate(lines, 1) if pattern.search(line)]
    wheres = []
    for node in ast.walk(ast.parse(path.read_text())):
        spelled = (
            node.id
            if isinstance(node, ast.Name)
            else node.arg
            if isinstance(node, ast.arg)
            else node.name
            if isinstance(node, ast.FunctionDef)
            else node.attr.strip("_")
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            else None
        )
        if spelled in EMPTY_NAMES:
            wheres.append(f"{name}:{node.lineno}")
    return wheres


def all_functions() -> list[Function]:
    functions = [item for path in python_files("src") for item in python_functions(path)]
    return functions + [item for path in cpp_files("cpp") for item in cpp_functions(path)]


def test_the_counting_sees_the_code():
    functions = all_functions()
    assert sum(item.name.startswith("src/") for item in functions) >= 300
    assert sum(item.name.startswith("cpp/") for item in functions) >= 600
    assert sum(item.lines >= 30 for item in functions if item.name.startswith("cpp/")) >= 15


def test_functions_are_short():
    over = {
        item.name: item.lines
        for item in all_functions()
        if item.lines > MAX_LINES[item.name.partition("/")[0]] and item.name not in LONG
    }
    assert over == {}


def test_parameter_lists_are_short():
    over = {
        item.name: item.parameters
        for item in all_functions()
        if item.parameters > MAX_PARAMETERS and item.name not in WIDE
    }
    assert over == {}


@pytest.mark.parametrize("listed", [LONG, WIDE], ids=["long", "wide"])
def test_each_exception_is_needed_and_has_a_reason(listed):
    names = {item.name for item in all_functions()}
    assert listed.keys() <= names
    assert all(listed.values())
    over = {
        item.name
        for item in all_functions()
        if item.lines > MAX_LINES[item.name.partition("/")[0]] or item.parameters > MAX_PARAMETERS
    }
    assert listed.keys() <= over


def test_names_say_what_they_name():
    paths = python_files("src", "tests", "benchmarks") + cpp_files("cpp", "tests")
    assert len(paths) >= 150
    assert [where for path in paths for where in empty_names(path)] == []


PYTHON = (
    """
def short(self, a, *, b):
    return a


def long(a, b, c, d, e, f, g, h, i):
"""
    + "    a += 1\n" * 60
)
CPP = """
struct S {
  void declared(std::span<const int, 3> a, void (*act)(int, int), std::map<int, int> b = {});
};
// One comment (of two, commas).
void S::defined(int a) {
  call(a, a, a, a, a, a, a, a, a, a);
  throw Error(a, a, a, a, a, a, a, a, a, a);
}
"""


def test_functions_of_python_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "a.py"
    path.write_text(PYTHON)
    assert list(python_functions(path)) == [("a.py: short", 2, 2), ("a.py: long", 61, 9)]


def test_functions_of_cpp_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "a.cc"
    path.write_text(CPP)
    assert list(cpp_functions(path)) == [("a.cc: declared", 0, 3), ("a.cc: S::defined", 4, 1)]


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.py", 'one = 1\nother = "one"\n# one\n', [1]),
        ("a.py", "def f(place):\n    x.found = [made for made in y]\n", [1, 2, 2, 2]),
        ("a.cc", '// one\nint a = "one";\nint given_ = 1;\n', [3]),
    ],
)
def test_a_name_that_says_nothing_is_seen(tmp_path, monkeypatch, name, text, lines):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / name
    path.write_text(text)
    assert sorted(int(where.rpartition(":")[2]) for where in empty_names(path)) == lines
