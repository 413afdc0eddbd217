"""The exception tree: one class for each code of the core, and nothing besides."""

import pytest

from edgeward import _core, errors

CLASSES = errors.EdgewardError.__subclasses__()


def test_each_code_of_the_core_has_exactly_one_class():
    codes = _core.error_codes()
    assert codes, "the core fails in no way"
    assert sorted(errors.BY_CODE) == sorted(codes)
    assert len(set(codes)) == len(codes) == len(CLASSES)


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
