"""Stores whose vectors are those of another one, mapped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vecstore.codecs.base import Floats
from vecstore.container.container import Container, ContainerWriter
from vecstore.conversion.conversion import convert
from vecstore.conversion.shards.workplace import Workplace
from vecstore.formats import Batch, Dump
from vecstore.store.handle import snapshot_of
from vecstore.store.store import Store

__all__ = ["turnable", "write_mapped", "write_turned"]

STEP = re.compile(r"model\.(\d+)\.(\d+)\.(.+)")
OF_OTHER_VECTORS = ("reference", "parts", "checksums")  # members that do not hold any more
NAME = "shard-00000.vecs"


def turnable(store: Store) -> bool:
    """Return whether the codes of a store can be kept when its vectors are turned."""
    snapshot = snapshot_of(store)
    plain = len(snapshot.shards) == 1 and snapshot.manifest is None and not snapshot.truncated
    return plain and not {"cells", "model"} & snapshot.shards[0].description.keys()


def write_turned(store: Store, matrix: Floats, path: str | Path, *, force: bool) -> None:
    """Copy a store, with an orthogonal map before all steps of its codec: lookups undo it, searches map the query."""
    source = snapshot_of(store).shards[0].container
    workplace = Workplace(path, sharded=False, force=force)
    try:
        writer = ContainerWriter(workplace.path / NAME)
        try:
            _copy_parts(source, writer)
            about = {name: value for name, value in source.description.items() if name not in OF_OTHER_VECTORS}
            # Decoding multiplies by the transposed matrix, which is the map then.
            about["codec"] = [[{"name": "rotate", "configuration": {}}, *steps] for steps in about["codec"]]
            for layer in range(len(about["codec"])):
                writer.put_array(f"model.{layer}.0.matrix", matrix.T.astype("<f4"))
            writer.close(about)
        except BaseException:
            writer.abort()
            raise
        workplace.publish_file(NAME)
    except BaseException:
        workplace.discard()
        raise


def _copy_parts(source: Container, writer: ContainerWriter) -> None:
    for name in source.names():
        part, found = source.part(name), STEP.fullmatch(name)
        new = f"model.{found[1]}.{int(found[2]) + 1}.{found[3]}" if found else name
        told = {key: value for key, value in part.about.items() if key not in ("blocks", "checksums_at")}
        shape = tuple(told.pop("shape"))
        writer.declare(new, told.pop("dtype"), shape, **told)
        for block in range(part.blocks):
            part.check_block(block)
            at, size = int(part.offsets[block]), int(part.sizes[block])
            writer.put_block(new, part.data[at : at + size])


def write_mapped(store: Store, matrix: Floats, path: str | Path, codec: str, *, force: bool) -> None:
    """Convert the mapped vectors of a store."""
    convert(_Mapped(store, matrix), path, codec, metric=store.metric, force=force, accept_dominated=True)


class _Mapped(Dump):
    """The rows of a store, mapped as they are read."""

    def __init__(self, store: Store, matrix: Floats) -> None:
        rows, key_type = len(store), store.key_type
        path = Path(snapshot_of(store).shards[0].path)
        super().__init__(path, format="store", rows=rows, dimensions=matrix.shape[1], key_type=key_type)
        self._store, self._matrix, self._living = store, matrix, store.living_rows

    def _batches(self, rows: int) -> Iterator[Batch]:
        for start in range(0, len(self._living), rows):
            own = self._living[start : start + rows]
            keys = None if self.key_type is None else self._store.keys[own]
            share = (start + len(own)) / len(self._living)
            yield Batch(self._store.vectors[own] @ self._matrix, keys, {}, share)
