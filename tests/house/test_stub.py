"""_core.pyi says of the core what it says of itself: names, parameters, defaults, properties."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgeward import _core

ROOT = Path(__file__).parents[2]
STUB = ROOT / "src" / "edgeward" / "_core.pyi"
TREE = ast.parse(STUB.read_text())
CLASSES = {node.name: node for node in TREE.body if isinstance(node, ast.ClassDef)}
FUNCTIONS = {node.name: node for node in TREE.body if isinstance(node, ast.FunctionDef)}
CONSTANTS = {
    node.target.id: ast.unparse(node.annotation)
    for node in TREE.body
    if isinstance(node, ast.AnnAssign)
}
DUNDERS = {"__enter__", "__exit__"}  # the only ones whose presence is part of the interface

PROPERTY, SETTER, METHOD = "property", "property that can be set", "method"
STATIC = "static method"
OPAQUE = {"ContentKey", "Policy"}  # held and handed on, never looked into
SMALL = {"Opening", "Payload", "Sealed", "Signer"}  # two members are all they have


def is_told(name):
    return not name.startswith("_") or name in DUNDERS


def stub_members(node):
    """Each member of a class in the stub: what it is."""
    members = {}
    for function in node.body:
        if node.name in OPAQUE:
            assert ast.unparse(function) == "..."
            continue
        if isinstance(function, ast.AnnAssign):  # a field, to be read and set
            members[function.target.id] = SETTER
            continue
        assert isinstance(function, ast.FunctionDef), ast.unparse(function)
        if function.name == "__init__":  # every live class has one; its parameters are held below
            continue
        decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
        if decorators == ["property"]:
            members[function.name] = PROPERTY
        elif decorators == [f"{function.name}.setter"]:
            assert members[function.name] == PROPERTY
            members[function.name] = SETTER
        elif decorators == ["staticmethod"]:
            members[function.name] = STATIC
        else:
            assert not decorators
            members[function.name] = METHOD
    return members


def live_members(live):
    members = {}
    for name, member in vars(live).items():
        if isinstance(member, property):
            members[name] = SETTER if member.fset else PROPERTY
        elif isinstance(member, staticmethod):
            members[name] = STATIC
        elif is_told(name):
            members[name] = METHOD
    return members


def stub_parameters(function):
    """The parameters of a stub's function, without types, as they are written in Python."""
    for node in ast.walk(function.args):
        if isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(function.args)


def live_parameters(live):
    """The same of a function of the module, which tells them in C's way or in pybind11's."""
    text = getattr(live, "__text_signature__", None)
    if text:
        return text.strip("()").replace("$self", "self")
    head = live.__doc__.splitlines()[0]
    inside = re.fullmatch(r"\w+\((.*)\) -> .+", head)
    assert inside, head
    function = ast.parse(f"def f({inside[1].replace('::', '.')}): ...").body[0]
    return stub_parameters(function)


def test_the_stub_has_the_names_of_the_module():
    live = {name for name in vars(_core) if not name.startswith("_")}
    assert {*CLASSES, *FUNCTIONS, *CONSTANTS} == live
    assert len(live) >= 9


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_has_the_type_of_the_live_one(name):
    assert name.isupper()
    value = getattr(_core, name)
    assert type(value).__name__ == CONSTANTS[name].partition("[")[0]
    if isinstance(value, tuple):
        assert CONSTANTS[name] == "tuple[str, ...]"
        assert {type(item) for item in value} == {str}


def test_there_are_constants():
    assert len(CONSTANTS) >= 6


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_the_members_of_the_live_one(name):
    members = stub_members(CLASSES[name])
    assert members == live_members(getattr(_core, name))
    assert len(members) >= (0 if name in OPAQUE else 2 if name in SMALL else 3)


METHODS = [
    (class_name, function)
    for class_name, node in CLASSES.items()
    for function in node.body
    if isinstance(function, ast.FunctionDef) and not function.decorator_list
]


@pytest.mark.parametrize(
    ("class_name", "function"), METHODS, ids=[f"{name}.{node.name}" for name, node in METHODS]
)
def test_a_method_has_the_parameters_of_the_live_one(class_name, function):
    live = vars(getattr(_core, class_name))[function.name]
    in_stub = stub_parameters(function).replace("*error", "*args")
    assert in_stub == live_parameters(live)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_parameters_of_the_live_one(name):
    assert stub_parameters(FUNCTIONS[name]) == live_parameters(getattr(_core, name))


def test_everything_public_says_what_it_is_for():
    silent = []
    for name in (*CLASSES, *FUNCTIONS):
        if not inspect.getdoc(getattr(_core, name)):
            silent.append(name)
    assert silent == []


def test_no_docstring_shows_a_c_plus_plus_type():
    texts = {}
    for name in (*CLASSES, *FUNCTIONS):
        live = getattr(_core, name)
        texts[name] = live.__doc__ or ""
        for member, value in vars(live).items() if isinstance(live, type) else ():
            getter = value.fget if isinstance(value, property) else value
            texts[f"{name}.{member}"] = getattr(getter, "__doc__", None) or ""
    assert [name for name, text in texts.items() if "::" in text] == []


def test_the_library_is_clean_under_mypy_strict():
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "src/edgeward"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
