"""What a shard takes beside the codes and the text of the keys, in bytes."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from vecstore.codecs.codec import Codec
from vecstore.shard.layer_distances import LAYER_DISTANCE_BYTES
from vecstore.shard.order import ORDER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vecstore.codecs.mixed.mixed import MixedCodec
    from vecstore.shard.field import TrainedField

__all__ = [
    "COLUMN_BYTES",
    "FIXED_BYTES",
    "KEY_BYTES",
    "NORM_BYTES",
    "bytes_beside",
    "field_bytes",
    "rows_of_a_shard",
]

FIXED_BYTES = 64 * 1024  # of a shard, beside codes and keys, at most
COLUMN_BYTES = 20 * 1024  # of a column, beside its values: pages of its parts that are not full
KEY_BYTES = 6  # of a row: what the index takes beside the key text, at most
NORM_BYTES = 4  # of a row whose length is kept


def field_bytes(fields: Iterable[TrainedField]) -> int:
    """Return what fields take beside their rows."""
    return sum(field.model_bytes + COLUMN_BYTES for field in fields)


def bytes_beside(codec: Codec | MixedCodec, *, keep_norms: bool, keep_order: bool) -> float:
    """Return how many bytes a row takes beside its code and its key."""
    cells = isinstance(codec, Codec) and codec.partition is not None
    return (
        (LAYER_DISTANCE_BYTES if len(codec.layers) > 1 else 0.0)
        + (NORM_BYTES if keep_norms else 0)
        + (ORDER_BYTES if keep_order and cells else 0)
    )


def rows_of_a_shard(total: int, row_bytes: float, shard_bytes: float) -> int:
    """Return how many of `total` rows share a model, about: keys take their part of a shard as well."""
    shards = ceil(total * row_bytes / max(shard_bytes - FIXED_BYTES, row_bytes))
    return int(max(total // max(shards, 1), 1))
