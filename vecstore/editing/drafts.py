"""Drafts: shards of an edit that nobody sees yet, encoded with the codec that the store has."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import CodecError
from vecstore.measure.drift import Drift, DriftWarning, drift_of, reference_in, reference_of
from vecstore.shard.field import Coded
from vecstore.shard.models import beside_model, write_model
from vecstore.shard.shard import Shard
from vecstore.shard.writer import ShardWriter
from vecstore.store.fields import trained_fields_of
from vecstore.store.snapshot import Snapshot

__all__ = ["Drafts", "OnDrift"]

OnDrift: TypeAlias = Literal["warn", "error", "ignore", "refit"]

MEASURED_ROWS = 128  # of a shard, by which drift is measured: many small appends should not wait for it
COPIED = ("user", "certificate", "calibration", "reference")  # of the shard that has the codec


class Drafts:
    """New shards behind those of a snapshot.

    Attributes
    ----------
    shards : list of Shard
    fields : dict of names to TrainedField
        How rows are coded in each field of the store.
    """

    def __init__(self, workplace: Path, base: Snapshot, on_drift: OnDrift) -> None:
        self._workplace, self._base, self._on_drift = workplace, base, on_drift
        self.shards: list[Shard] = []
        self.fields = trained_fields_of(base.shards)
        self._like: Shard | None = None  # whose codec new rows get
        self._writer: ShardWriter | None = None
        self._written: tuple[Codec | None, str | None] = None, None  # a codec whose model has a file, and which

    def write(self, vectors: Floats, keys: list[Any] | None, columns: Any, fields: Mapping[str, Coded]) -> None:
        """Write rows as one more draft, with a table of columns and with fields where there are some."""
        like = self._like = self._like or _to_append_to(self._base)
        self._workplace.mkdir(exist_ok=True)
        path, codec = self._workplace / f"draft-{len(self.shards)}.vecs", like.codec
        told = {name: like.description[name] for name in COPIED if name in like.description}
        writer, drift = self._written_by(codec, path, like, (vectors, keys, columns, fields))
        if drift is not None and not drift.fits:
            if self._on_drift == "error":
                raise CodecError(f"{self._base.path}: {drift}; or accept them with on_drift=")
            if self._on_drift == "warn":
                warnings.warn(str(drift), DriftWarning, stacklevel=2)
            if self._on_drift == "refit":
                writer.abort()
                codec, reference = _refitted(codec, unit(vectors) if like.norms is not None else vectors)
                told = {name: told[name] for name in ("user",) if name in told} | {"reference": reference}
                writer, _ = self._written_by(codec, path, like, (vectors, keys, columns, fields))
                drift = None
        model, shared = self._model_of(like, codec, told)
        appended = {"rows": len(vectors), "drift": _shown(drift)}
        writer.close(beside_model(told, shared) | {"appended": appended}, model=model)
        self._writer = None
        shard = Shard(path, models=like.models)
        self.shards.append(shard)
        if codec is not like.codec:
            self._like = shard

    def abort(self) -> None:
        """Let go of a file that is not complete."""
        if self._writer is not None:
            self._writer.abort()
            self._writer = None

    def _written_by(
        self, codec: Codec, path: Path, like: Shard, rows: tuple[Floats, list[Any] | None, Any, Mapping[str, Coded]]
    ) -> tuple[ShardWriter, Drift | None]:
        """Return a writer to which rows were added, and how they differ from those that the codec was made for."""
        vectors, keys, columns, fields = rows
        base, reference = self._base.shards[0], reference_in(like.description, like.dimensions)
        self._writer = ShardWriter(
            path,
            codec,
            metric=base.metric,
            key_type=self._base.key_type,
            keep_norms=base.norms is not None,
            keep_order=not base.reordered,
            schema=None if columns is None else columns.schema,
            fields=self.fields,
            sampled=max(len(vectors) // MEASURED_ROWS, 1),
        )
        self._writer.add(vectors, keys, columns, fields)
        sample = self._writer.sample()
        return self._writer, None if reference is None else drift_of(reference, *sample)

    def _model_of(self, like: Shard, codec: Codec, told: dict[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
        """Return the file of the model of new rows, and what that tells of them.

        It is that of the shards that have it, or one that is written, with what is told of the rows.
        """
        if codec is like.codec and like.model is not None:
            return like.model, like.model_container.description
        if codec is not self._written[0]:
            self._written = codec, write_model(self._workplace, codec, told)
        return self._written[1], {} if self._written[1] is None else told


def _refitted(codec: Codec, coded: Floats) -> tuple[Codec, dict[str, Any]]:
    """Return the same codec trained on rows (n, d), and the reference of that."""
    found = codec.spec.fit(coded, seed=0, rows=len(coded))
    step = max(len(coded) // MEASURED_ROWS, 1)
    return found, reference_of(found, coded[::step][:MEASURED_ROWS]).to_dict()


def _shown(drift: Drift | None) -> dict[str, float] | None:
    """Return what a shard keeps of its drift."""
    if drift is None:
        return None
    return {name: round(float(value), 4) for name, value in vars(drift).items() if value is not None}


def _to_append_to(base: Snapshot) -> Shard:
    """Return the shard whose codec new rows get: the newest; raises `CodecError` for codecs that take no new rows."""
    *_, last = base.shards
    if any(shard.codec.shared for shard in base.shards):
        raise CodecError(
            f"{base.path}: rows of {last.codec.spec} share tables that were fitted to all of them, so that none can be "
            "added; convert the dump again with the new rows"
        )
    original = [shard.codec for shard in base.shards if "appended" not in shard.description]
    if len({id(codec) for codec in original}) > 1:
        raise CodecError(
            f"{base.path}: a mixed codec is for rows by importance, so that none can be added; convert the dump again "
            "with the new rows"
        )
    return last
