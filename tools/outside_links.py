"""A hook of MkDocs: links that lead out of docs/ become the words that they stand on.

The site has the pages of docs/ alone. Where these links lead in a checkout is checked by
tests/house/test_docs.py.
"""

import re
from typing import Any


def on_page_markdown(markdown: str, *, page: Any, **kwargs: Any) -> str:
    up = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\[([^\]]+)\]\({re.escape(up)}[^)]*\)", r"\1", markdown)
