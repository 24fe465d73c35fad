"""What scores are: the metrics of a store."""

from __future__ import annotations

from typing import Literal, TypeAlias

from vecstore.errors import OptionError

__all__ = ["METRICS", "Metric", "check_metric"]

Metric: TypeAlias = Literal["cosine", "dot", "l2"]
METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")


def check_metric(metric: str) -> None:
    """Raise `OptionError` for what is no metric of a store."""
    if metric not in METRICS:
        raise OptionError(f"unknown metric {metric!r}; choose one of {', '.join(METRICS)}")
