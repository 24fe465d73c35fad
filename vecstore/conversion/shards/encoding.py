"""The encoding of one shard, as a task: rows of a dump are read, cleaned, encoded and written to a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.codec import Codec
from vecstore.conversion.tasks.codec_file import SavedCodec
from vecstore.conversion.tasks.options import OnBad
from vecstore.conversion.tasks.rows import Rows, cleaned
from vecstore.conversion.tasks.site import appearing, appearing_path, digest, read
from vecstore.keys.kind import KeyType
from vecstore.measure.neighbours import Asking, Nearest, NearestFinder
from vecstore.metric import Metric
from vecstore.progress import Listener, Step
from vecstore.shard.attribute_types import conformed, raw_table
from vecstore.shard.field import TrainedField, coded_rows
from vecstore.shard.models import beside_model
from vecstore.shard.writer import ShardWriter

__all__ = ["Encoded", "ShardWork", "Source", "encode_shard"]


@dataclass(frozen=True)
class Source:
    """What the rows of all shards have in common.

    Attributes
    ----------
    rows : Rows
        Of the dump.
    on_bad : {"error", "skip", "zero"}
    metric : {"cosine", "dot", "l2"}
    key_type : {"str", "bytes", "int64"} or None
    keep_norms, keep_order : bool
    schema : pyarrow.Schema or None
    description : mapping
        Members that the description of every shard has.
    arrays : mapping
        Parts that every shard has.
    fields : mapping of names to TrainedField
        What rows have beside their vectors that is searched.
    content : str
        The digest of all that the survey read, where shards may be gone on with.
    """

    rows: Rows
    on_bad: OnBad
    metric: Metric
    key_type: KeyType | None
    keep_norms: bool
    keep_order: bool
    schema: Any
    description: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    fields: Mapping[str, TrainedField] = field(default_factory=dict)
    content: str = ""

    def digest(self) -> str:
        """Return what it is made of."""
        settings = (self.on_bad, self.metric, self.key_type, self.keep_norms, self.keep_order, str(self.schema))
        arrays = [thing for name, array in sorted(self.arrays.items()) for thing in (name, array)]
        return digest(self.content, settings, dict(self.description), list(self.rows.counts), *arrays)


@dataclass(frozen=True)
class ShardWork:
    """A task: encode a shard.

    Attributes
    ----------
    name : str
        A digest of all that the shard is made of; its files have it.
    source : Source
    directory : Path
        Where the files appear.
    codec : Codec or Path
        Trained; or the file that holds it.
    first, stop : int
        The rows of the dump that it covers.
    dropped : (n,) int64
        Those among them that it does not hold.
    first_row : int
        The number of its first row, as the codec counts them.
    done, total : int
        Rows of the shards before, and of all: for who is told how far it is.
    model : str or None
        The fingerprint of the file that holds the codec's arrays, where shards share one.
    asking : Path or None
        The file of who asks the rows while they are encoded.
    """

    name: str
    source: Source
    directory: Path
    codec: Codec | Path
    first: int
    stop: int
    dropped: NDArray[np.int64]
    first_row: int
    done: int
    total: int
    model: str | None
    asking: Path | None = None

    @property
    def path(self) -> Path:
        """The file of the shard."""
        return self.directory / f"{self.name}.vecs"

    @property
    def hashes_path(self) -> Path:
        """The file of the hashes of its keys, eight bytes each, sorted."""
        return self.directory / f"{self.name}.hashes"


@dataclass(frozen=True)
class Encoded:
    """A shard that was written: what a manifest says of it, and what was found in it by those who asked."""

    rows: int
    bytes: int
    fingerprint: str
    nearest: Nearest | None = None

    def saved(self) -> tuple[dict[str, Any], Mapping[str, NDArray[Any]]]:
        """Return it as JSON and arrays."""
        document = {"rows": self.rows, "bytes": self.bytes, "fingerprint": self.fingerprint}
        return document, {} if self.nearest is None else self.nearest.arrays()

    @classmethod
    def restored(cls, document: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Undo `saved`."""
        return cls(**document, nearest=Nearest(**arrays) if arrays else None)


def encode_shard(work: ShardWork, report: Listener) -> Encoded:
    """Write a shard and the hashes of its keys. Done twice, even at once, it leaves the same files."""
    codec = work.codec if isinstance(work.codec, Codec) else _codec_in(work.codec)
    asked = None if work.asking is None else NearestFinder(_asking_in(work.asking), work.done - work.first_row)
    with appearing_path(work.path) as path:
        rows, fingerprint, hashes = _written(work, codec, asked, path, report)
        with appearing(work.hashes_path) as file:
            file.write(np.sort(hashes).astype("<u8"))
    found = None if asked is None else asked.nearest()
    return Encoded(rows, work.path.stat().st_size, fingerprint, found)


def _written(
    work: ShardWork, codec: Codec, asked: NearestFinder | None, path: Path, report: Listener
) -> tuple[int, str, NDArray[np.uint64]]:
    source = work.source
    shard = ShardWriter(
        path,
        codec,
        metric=source.metric,
        key_type=source.key_type,
        keep_norms=source.keep_norms,
        keep_order=source.keep_order,
        first_row=work.first_row,
        schema=source.schema,
        fields=source.fields,
        watch=None if asked is None else asked.add,
    )
    try:
        for first, raw in source.rows.batches(work.first, work.stop, at_once=shard.block_rows):
            batch = cleaned(raw, first, work.dropped, source.on_bad)
            if not len(batch):
                continue
            table = None if source.schema is None else conformed(raw_table(batch.columns), source.schema)
            fields = coded_rows(batch.fields, source.fields, len(batch))
            shard.add(batch.vectors, batch.keys, table, fields)
            report(Step("encoding", work.done + shard.rows, work.total))
        told = source.description if work.model is None else beside_model(source.description, source.description)
        hashes = shard.close(told, source.arrays, model=work.model)
        return shard.rows, shard.fingerprint, hashes
    except BaseException:
        shard.abort()
        raise


@lru_cache(maxsize=2)
def _codec_in(path: Path) -> Codec:
    found = read(path, SavedCodec).codec
    assert isinstance(found, Codec)
    return found


@lru_cache(maxsize=1)
def _asking_in(path: Path) -> Asking:
    return read(path, Asking)
