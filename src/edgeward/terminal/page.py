"""An HTML page of pictures: one file that loads nothing, in which every name is text."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import NamedTuple

from edgeward.terminal.picture import Tile
from edgeward.terminal.png import png
from edgeward.terminal.quoting import quoted

# The policy is a second lock: no name becomes markup, and markup would load and run nothing.
HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; color: #1c2430; margin: 2rem; }}
section {{ border-top: 1px solid #d5dae0; padding: .5rem 0 1rem; }}
h1 {{ font-size: 1.4rem; }}
h2 {{ font-size: 1rem; margin: .5rem 0; }}
p {{ font: 13px/1.4 ui-monospace, monospace; margin: .1rem 0; overflow-wrap: anywhere; }}
div {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
figure {{ margin: .5rem 0; width: 14rem; }}
figcaption {{ color: #7d8794; overflow-wrap: anywhere; }}
img {{ width: 14rem; image-rendering: pixelated; background: #000; }}
</style>
</head>
<body>
<h1>{title}</h1>
"""


class Section(NamedTuple):
    """Pictures below a heading and lines of text."""

    title: str
    lines: Sequence[str]
    tiles: Sequence[Tile]


def page(title: str, sections: Sequence[Section]) -> str:
    parts = [HEAD.format(title=_escaped(title))]
    for section in sections:
        parts.append(f"<section>\n<h2>{_escaped(section.title)}</h2>\n")
        parts += [f"<p>{_escaped(line)}</p>\n" for line in section.lines]
        parts += ["<div>\n", *map(_figure, section.tiles), "</div>\n</section>\n"]
    return "".join([*parts, "</body>\n</html>\n"])


def _figure(tile: Tile) -> str:
    data = base64.b64encode(png(tile.picture)).decode()
    caption = _escaped(tile.caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )


def _escaped(text: str) -> str:
    """Also what would turn the direction of text, or end the encoding of the file."""
    return html.escape(quoted(text))
