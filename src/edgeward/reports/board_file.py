"""The file of a board's document, read as one that anybody may have written."""

from __future__ import annotations

import json
from typing import Any

from edgeward.errors import BadInput
from edgeward.paths import PathLike
from edgeward.regular_file import open_regular
from edgeward.reports import board_report
from edgeward.reports.board_document import KIND, VERSION
from edgeward.reports.inspection import size

MOST_BYTES = 64 << 20


def read(path: PathLike) -> dict[str, Any]:
    """The document in the file. Raises OSError, BadInput for any other file."""
    expected = f"{path}: expected a document of edgeward bench --board"
    with open_regular("document", path) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise BadInput(f"{expected}, got more than {size(MOST_BYTES)}")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise BadInput(f"{expected}, got a file that is no JSON") from None
    if not isinstance(document, dict) or KIND not in document:
        raise BadInput(f'{expected}, got JSON without "{KIND}"')
    if document[KIND] != VERSION:
        raise BadInput(f"{expected} of version {VERSION}, got version {document[KIND]!r}")
    try:
        board_report.text(document)  # it names everything that pages and comparisons use
    except KeyError as error:
        raise BadInput(f'{expected}, got one without "{error.args[0]}"') from None
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError):
        raise BadInput(f"{expected}, got one whose parts are of other kinds") from None
    return document
