"""What scores are: the metrics of a store."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["METRICS", "Metric"]

Metric: TypeAlias = Literal["cosine", "dot", "l2"]
METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")
