"""The name by which clients call a model that is loaded: chosen by who loads it."""

import re

MOST_CHARACTERS = 63
PATTERN = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")


def alias_of(name: str, handle: str) -> str:
    """What a request calls its model, in either of its fields. Raises Refusal INVALID_ARGUMENT."""
    from edgeward.agent.refusal import invalid  # needs gRPC, which is_name's callers may not have

    if name and handle and name != handle:
        raise invalid("name and handle", "one alias", f'"{name}" and "{handle}"')
    alias = name or handle
    if len(alias) > MOST_CHARACTERS:
        raise invalid("alias", f"at most {MOST_CHARACTERS} characters", f"{len(alias)}")
    if not is_name(alias):
        expected = "letters and digits, with - between them"
        raise invalid("alias", expected, f'"{alias}"' if alias else "none")
    return alias


def is_name(text: str) -> bool:
    return PATTERN.fullmatch(text) is not None
