"""The exception tree: one class for each code of the core, and nothing besides."""

import re
from pathlib import Path

import pytest

from edgeward import errors

HEADER = Path(__file__).parents[1] / "cpp" / "error.h"
CLASSES = errors.EdgewardError.__subclasses__()


def test_each_code_of_the_core_has_exactly_one_class():
    names = re.findall(r'case Code::(\w+): return "(\w+)";', HEADER.read_text())
    assert names, "no code found in cpp/error.h"
    assert sorted(error.code for error in CLASSES) == sorted(spelled for _, spelled in names)
    assert all(name == spelled for name, spelled in names)


def test_each_enumerator_of_the_core_is_spelled():
    enumeration = re.search(r"enum class Code[^{]*\{(.*?)\};", HEADER.read_text(), re.DOTALL)
    assert enumeration
    enumerators = re.findall(r"^\s*(\w+),", enumeration[1], re.MULTILINE)
    assert sorted(enumerators) == sorted(error.code for error in CLASSES)


def test_the_tree_is_one_level_deep():
    assert CLASSES
    assert [error for error in CLASSES if error.__subclasses__()] == []


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_a_class_is_named_after_its_code_and_says_when_it_is_raised(error):
    assert "".join(word.title() for word in error.code.split("_")) == error.__name__
    assert error.__doc__.startswith("Raised when ")
    assert error.exit_status in (2, 3, 4, 5, 6)


def test_bad_input_is_a_value_error():
    assert issubclass(errors.BadInput, ValueError)
