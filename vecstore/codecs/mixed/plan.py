"""Specifications of one codec for all rows, or of several."""

from __future__ import annotations

import re

from vecstore.codecs.codec import CodecSpec, codec
from vecstore.codecs.mixed.budget import MixedBudget
from vecstore.codecs.mixed.mixed import MixedSpec

__all__ = ["plan"]


def plan(spec: str | CodecSpec | MixedSpec | MixedBudget) -> CodecSpec | MixedSpec | MixedBudget:
    """Parse a specification of one codec for all rows, or of several.

    Examples
    --------
    >>> plan("sq:8@1000 + pq:25@10000 + pq:10")
    plan('sq:8@1000+pq:25@10000+pq:10')
    >>> plan("mixed:12"), plan("sq:8")
    (plan('mixed:12'), codec('sq:8'))
    """
    if isinstance(spec, str) and spec.strip().startswith("mixed"):
        return MixedBudget.parse(spec.strip())
    if isinstance(spec, str) and re.search(r"[@+]", spec):
        return MixedSpec.parse(spec)
    return codec(spec) if isinstance(spec, (str, CodecSpec)) else spec
