"""What a store says of itself: shape, codec, the three byte counts, provenance, certificate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from vecstore.shard.certificate import Certificate, certificate_in
from vecstore.shard.shard import Shard
from vecstore.store import fields
from vecstore.store.columns import described
from vecstore.store.coverage import coverage_of
from vecstore.store.snapshot import Snapshot

__all__ = ["codec_text", "describe", "facts", "summary"]


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """Return the facts of an open store as a plain dictionary, ready for JSON.

    ``bytes`` holds three counts that are never mixed: ``resident`` (codes that a scan touches), ``stored`` (all
    files, with page slack) and ``per_vector`` (stored / rows); beside them what makes up the stored ones. ``rows``
    are those that live, ``deleted`` those whose bytes are still there.
    ``row_order`` says how rows are counted: as in the ``dump``, as they lie by ``cells``, or by falling
    ``importance``; ``left_out`` how many of the dump's rows are not there. ``columns`` lists name, type, nulls and
    bytes of what rows have beside their vectors, ``fields`` name, kind, bytes and facts of what is searched beside
    them. ``search`` says what a search for ten rows does: which layer it
    scans, whether that has to be decoded, and how many rows are scored again. ``certified`` counts the rows that the
    certificate speaks of, those that came since, and whether they are so many that it is ``stale``.
    """
    from vecstore.search.explain import explain  # what only looks up need not load

    shards, rows, stored = snapshot.shards, snapshot.living, _stored_bytes(snapshot)
    first = shards[0]
    parts: dict[str, int] = {}
    for file in (*(shard.container for shard in shards), *snapshot.models):
        for name in file.names():
            group = name.partition(".")[0] if not name.startswith("codes.") else name
            parts[group] = parts.get(group, 0) + int(file.part(name).sizes.sum())
    # What one of several says is not true of all.
    about = {} if snapshot.stores else first.description | snapshot.measured
    return {
        "path": snapshot.path,
        "format": ".".join(map(str, first.container.version)),
        "rows": rows,
        "deleted": snapshot.rows - rows,
        "dimensions": first.dimensions,
        "metric": first.metric,
        "codec": codec_text(shards),
        "key_type": first.keys.key_type if first.keys else None,
        "norms": first.norms is not None,
        "cells": _cells(first, parts),
        "row_order": snapshot.numbering.order,
        "left_out": snapshot.numbering.left_out,
        "columns": described(shards),
        "fields": fields.described(shards),
        "shards": len(shards),
        "search": explain(snapshot.prepared, first.metric).to_dict(),
        "bytes": {
            "resident": parts.get("codes.0", 0),
            "stored": stored,
            "per_vector": round(stored / max(rows, 1), 2),
            "code": _code_bytes(shards),
            "parts": parts,
        },
        "certificate": certificate_in(about).to_dict() or None,
        "certified": None if snapshot.stores else coverage_of(snapshot).to_dict(),
        "provenance": _object(about, "provenance"),
        "user": _object(about, "user") or {},
    }


def _object(about: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return a member that is for people, or None where it is none."""
    found = about.get(name)
    return found if isinstance(found, dict) else None


def facts(snapshot: Snapshot) -> dict[str, Any]:
    """Return the few facts that a notebook shows."""
    about = describe(snapshot)
    size = about["bytes"]
    return {
        "rows": f"{about['rows']:,} x {about['dimensions']}",
        "codec": about["codec"],
        "metric": about["metric"],
        "keys": about["key_type"] or "none: rows are found by number",
        "row order": str(snapshot.numbering),
        "bytes a row": size["per_vector"],
        "stored bytes": size["stored"],
    } | Certificate.from_dict(about["certificate"]).facts()


def summary(snapshot: Snapshot) -> str:
    """Return shape, codec and metric in a line."""
    cut = "" if snapshot.code_bytes is None else f", first {snapshot.code_bytes} bytes"
    cut = cut if snapshot.prefix is None else f", first {snapshot.prefix} dimensions"
    codec = codec_text(snapshot.shards) + cut
    order = "" if snapshot.numbering.of_dump else f", rows {snapshot.numbering}"
    return f"{snapshot.living} x {snapshot.dimensions}, {codec}, {snapshot.metric}{order}"


def codec_text(shards: Sequence[Shard]) -> str:
    """Return the specification of the codec; where blocks of rows have their own, all, with the rows that they end at.

    Such as ``sq:8@1000+tcq:10``: see `vecstore.codecs.mixed.mixed`.
    """
    ends: list[tuple[str, int]] = []
    row = 0
    for shard in shards:
        row += shard.rows
        spec = str(shard.codec.spec)
        if ends and ends[-1][0] == spec:
            ends.pop()
        ends.append((spec, row))
    return "+".join([*(f"{spec}@{end}" for spec, end in ends[:-1]), ends[-1][0]])


def _stored_bytes(snapshot: Snapshot) -> int:
    """Return the bytes of all files."""
    if snapshot.stores:
        return sum(map(_stored_bytes, snapshot.stores))
    if snapshot.manifest is None:
        return sum(len(shard.container.data) for shard in snapshot.shards)
    return sum(entry["bytes"] for entry in snapshot.manifest.every) + len(snapshot.manifest.to_bytes())


def _code_bytes(shards: Sequence[Shard]) -> list[int | float]:
    """Return the bytes of a row in each layer, on average where they differ."""
    rows = max(sum(shard.rows for shard in shards), 1)
    sizes = [[layer.layer.code_bytes * shard.rows for layer in shard.layers] for shard in shards]
    means = [sum(layer) / rows for layer in zip_longest(*sizes, fillvalue=0.0)]
    return [int(mean) if mean == int(mean) else round(mean, 2) for mean in means]


def _cells(first: Shard, parts: dict[str, int]) -> dict[str, int] | None:
    """Return how many cells a shard has, the bytes of its centroids, and those of the stored order of all shards."""
    if first.cells is None or first.codec.partition is None:
        return None
    centroids = sum(array.nbytes for array in first.codec.partition.arrays.values())
    return {
        "count": first.cells.count,
        "centroid_bytes": centroids,
        "order_bytes": parts.get("order", 0),
    }
