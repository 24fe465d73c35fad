"""The head of a container file: what opening it reads, to be put beside it in a bucket."""

from __future__ import annotations

from pathlib import Path

from vecstore.container.container import CHECKSUMS, DESCRIPTION, Container
from vecstore.container.pages import read_tree
from vecstore.remote.heads import Head, merged

__all__ = ["head_of"]

FIRST_READ = ("model.", "cells.sizes", "segments")  # what names of parts begin with that the first lookup reads
MOST_PART_BYTES = 8 << 20  # of them together; what is larger is fetched by itself
PAGE_BYTES = 4096


def head_of(path: Path, *, models: bool = True) -> Head:
    """Return the head of a file; without `models` where another file of the store has the same codec."""
    container = Container(path)
    opening: list[tuple[int, int]] = []
    read_tree(container.data, str(path), need=lambda offset, length: opening.append((offset, offset + length)))
    for name in (DESCRIPTION, CHECKSUMS):
        opening.append(container.span_of(name))
    names = [name for prefix in FIRST_READ[0 if models else 1 :] for name in container.names(prefix)]
    parts = [span for name in names for span in container.spans_of(name)]
    if sum(stop - start for start, stop in parts) > MOST_PART_BYTES:
        parts = []
    size, data = len(container.data), container.data
    spans = [
        [(start, data[start:stop].tobytes()) for start, stop in merged(each, page_bytes=PAGE_BYTES, size=size)]
        for each in (opening, parts)
    ]
    return Head(size, None, *spans)
