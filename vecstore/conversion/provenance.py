"""Where a store comes from, as the store says it."""

from __future__ import annotations

from typing import Any

from vecstore.conversion.survey.survey import Survey
from vecstore.conversion.tasks.options import ConversionOptions
from vecstore.formats import Dump
from vecstore.version import __version__

__all__ = ["provenance"]


def provenance(dump: Dump, survey: Survey, options: ConversionOptions) -> dict[str, Any]:
    """Return where the store comes from; nothing in it depends on when or where the conversion ran."""
    return {
        "source": dump.name,
        "format": dump.format,
        "xxh3_128": survey.digest,
        "bytes": dump.size_bytes,
        "rows": survey.rows,
        "bad": survey.bad,
        "zeroed": survey.zeroed,
        "duplicates": survey.duplicates,
        "examples": survey.examples,
        "vecstore": __version__,
        "seed": options.seed,
        "on_bad": options.on_bad,
        "on_duplicate": options.on_duplicate,
        **({} if options.importance is None else {"order": "importance"}),
    }
