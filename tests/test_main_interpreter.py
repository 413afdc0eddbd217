"""A subinterpreter is refused at once, where importing the core would never end."""


def test_importing_in_a_subinterpreter_is_an_import_error(run_child):
    program = """
import sys
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters
other = interpreters.create()
code = "try:\\n import edgeward\\nexcept ImportError as error:\\n print(error, flush=True)"
code = f"import sys; sys.path[:] = {sys.path!r}\\n" + code
result = interpreters.run_string(other, code)
assert result is None, result
"""
    assert run_child(program) == ("edgeward: expected the main interpreter, got a subinterpreter\n")
