"""agent.toml: the agent's own configuration file, one `key = value` a line."""

import sys
from typing import Any

from edgeward.agent.configuration import Configuration, from_table
from edgeward.errors import BadInput
from edgeward.paths import PathLike
from edgeward.regular_file import open_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read(path: PathLike) -> Configuration:
    """The settings of the file. Raises OSError, BadInput: key, expected, got."""
    with open_regular("configuration", path) as file:
        try:
            table: dict[str, Any] = tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"{path}: expected TOML: {error}") from None
    return from_table(table, str(path))
