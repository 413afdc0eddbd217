"""Raises ImportError in a subinterpreter: the core belongs to the main one, and hangs in others."""

import importlib
import sys


def is_main() -> bool:
    """Whether this is the main interpreter; a Python that cannot tell has no other."""
    try:
        name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
        interpreters = importlib.import_module(name)
    except ImportError:
        return True
    # From 3.13 on pairs, whose second member says how the interpreter came to be.
    return str(interpreters.get_current()) == str(interpreters.get_main())


if not is_main():
    raise ImportError("edgeward: expected the main interpreter, got a subinterpreter")
