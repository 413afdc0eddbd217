"""Recipe files: a recipe as a person writes it, in JSON or TOML, to be sealed or tried."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from edgeward.errors import BadInput
from edgeward.inputs.array_file import refusing
from edgeward.packages.recipe import MOST_BYTES
from edgeward.regular_file import open_regular


def read_recipe(path: Path) -> dict[str, Any]:
    """The document in the file, of which nothing is checked yet. Raises BadInput or OSError."""
    suffix = path.suffix.lower()
    if suffix not in (".json", ".toml"):
        raise BadInput(f'{path}: expected a recipe in .json or .toml, got "{suffix}"')
    with open_regular("recipe", path) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise BadInput(f"{path}: expected at most {MOST_BYTES:,} bytes, got more")
    with refusing(path, f"a recipe in {suffix}"):
        document = _toml(content.decode()) if suffix == ".toml" else json.loads(content)
    if not isinstance(document, dict):
        raise BadInput(f"{path}: expected an object, got {type(document).__name__}")
    return document


def _toml(text: str) -> dict[str, Any]:
    try:
        tomllib = importlib.import_module("tomllib")
    except ImportError:
        raise BadInput("recipe: expected .json with Python 3.10, which reads no .toml") from None
    document: dict[str, Any] = tomllib.loads(text)
    return document
