"""The table of loaded models: a file in the state directory, which a start of the agent reads.

Needs no gRPC: how many workers a start needs is known before that is imported.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from edgeward.durable import replace_file

NAME = "models.json"
VERSION = 1
MOST_OPENING = 4  # models at once, at the start


@dataclass(frozen=True)
class Load:
    """What a client asked for."""

    alias: str
    url: str  # as it was written
    path: str  # where that was, absolute


def read(path: str) -> list[Load]:
    """What was written last; nothing where there is no file.

    Raises OSError, and ValueError for what no agent wrote.
    """
    try:
        with open(path, "rb") as file:
            document = json.load(file)
        if document["version"] != VERSION:
            raise ValueError(f"expected version {VERSION}, got {document['version']}")
        return [Load(row["alias"], row["url"], row["path"]) for row in document["models"]]
    except FileNotFoundError:
        return []
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected a table of models: {error}") from error


def write(path: str, loads: Iterable[Load]) -> None:
    """Returns when it is on the disk. Raises OSError."""
    rows = [
        {"alias": load.alias, "url": load.url, "path": load.path}
        for load in sorted(loads, key=lambda load: load.alias)
    ]
    document = {"version": VERSION, "models": rows}
    replace_file(path, json.dumps(document, indent=1).encode(), 0o600)
