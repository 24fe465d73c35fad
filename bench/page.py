"""One page for the browser that holds a whole bench: data, style, program and chart library, and asks no network."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from typing import Any

from vecstore.bench.pictures import colour_of
from vecstore.bench.summary import Summary

__all__ = ["page"]

# uPlot 1.6 (MIT, Leon Sorokin) draws the charts; its licence lies beside it and goes into the page.
PARTS = {
    "chart_style": "uplot.min.css",
    "style": "page.css",
    "chart_program": "uplot.min.js",
    "program": "page.js",
}


def page(summary: Summary) -> str:
    """Return the report as one HTML file."""
    here = files("vecstore.bench")
    text = (here / "page.html").read_text(encoding="utf-8")
    parts = {name: (here / file).read_text(encoding="utf-8") for name, file in PARTS.items()}
    parts["title"] = html.escape(f"{summary.about['split']['name']}: what each byte buys")
    parts["chart_licence"] = (here / "uplot.LICENSE").read_text(encoding="utf-8").strip()
    parts["data"] = _inert(json.dumps(summary.to_dict() | {"colours": colour_of(summary)}))
    for name, part in parts.items():
        text = text.replace(f"@@{name}@@", part)
    return text


def _inert(text: Any) -> str:
    """Return JSON that cannot end the script element that it stands in."""
    return str(text).replace("<", "\\u003c").replace("@@", "@\\u0040")
