"""An HTML page of pictures, plots and tables: it loads nothing, and every name in it is text."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import NamedTuple

from edgeward.terminal.picture import Tile
from edgeward.terminal.plot import Plot, svg
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
:root {{ color-scheme: light dark; --ink: #1c2430; --faint: #6b7580; --pale: #d5dae0;
  --paper: #fff; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e4e8ee; --faint: #9aa5b1; --pale: #39424d; --paper: #14181d; }}
}}
body {{ font: 15px/1.4 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: clamp(1rem, 4vw, 2rem); }}
section {{ border-top: 1px solid var(--pale); padding: .5rem 0 1rem; }}
h1 {{ font-size: 1.4rem; }}
h2 {{ font-size: 1rem; margin: .5rem 0; }}
p {{ font: 13px/1.4 ui-monospace, monospace; margin: .1rem 0; overflow-wrap: anywhere; }}
div {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
figure {{ margin: .5rem 0; width: 14rem; }}
figcaption {{ color: var(--faint); overflow-wrap: anywhere; }}
img {{ width: 14rem; image-rendering: pixelated; background: #000; }}
figure.plot {{ width: auto; max-width: 100%; }}
figure.plot figcaption {{ color: var(--ink); font-weight: 600; max-width: 22rem; }}
svg {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; margin: .5rem 0; font-size: 13px; display: block;
  overflow-x: auto; }}
th, td {{ text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; }}
tr {{ border-bottom: 1px solid var(--pale); }}
</style>
</head>
<body>
<h1>{title}</h1>
"""


class Section(NamedTuple):
    """Pictures and plots below a heading, lines of text and a table."""

    title: str
    lines: Sequence[str]
    tiles: Sequence[Tile] = ()
    table: Sequence[Sequence[str]] = ()  # the first row is its head
    plots: Sequence[Plot] = ()


def page(title: str, sections: Sequence[Section]) -> str:
    parts = [HEAD.format(title=_escaped(title))]
    for section in sections:
        parts.append(f"<section>\n<h2>{_escaped(section.title)}</h2>\n")
        parts += [f"<p>{_escaped(line)}</p>\n" for line in section.lines]
        parts += _table(section.table)
        parts += ["<div>\n", *map(_figure, section.tiles)]
        parts += map(_plotted, section.plots)
        parts.append("</div>\n</section>\n")
    return "".join([*parts, "</body>\n</html>\n"])


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    parts = ["<table>\n"]
    for index, row in enumerate(rows):
        cell = "td" if index else "th"
        parts.append("<tr>" + "".join(f"<{cell}>{_escaped(text)}</{cell}>" for text in row))
        parts.append("</tr>\n")
    return [*parts, "</table>\n"]


def _plotted(plot: Plot) -> str:
    if not plot.title:
        return f"{svg(plot)}\n"
    caption = f"<figcaption>{_escaped(plot.title)}</figcaption>"
    return f'<figure class="plot">{caption}{svg(plot)}</figure>\n'


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
