"""A run of the bench: one codec or one peer, at one seed. Its key follows from its settings; its record is files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.replacement import Replacement

from vecstore.errors import CorruptError, require

__all__ = ["RECORDS", "Record", "Run", "read_table", "write_table"]

RECORDS = "cells"  # the folder of records; they call a run by its older name, too
RECORD_VERSION = 1  # part of a key: a bench of older records measures again


@dataclass(frozen=True)
class Run:
    """What is measured.

    Attributes
    ----------
    kind : {"codec", "peer"}
    name : str
        The specification, or the peer's name.
    settings : dict
        Of a peer: what it is built with.
    seed : int
    search_s : float
        How long each timing of searches may take.
    """

    kind: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    search_s: float = 0.5

    def key(self, fingerprint: str) -> str:
        """Return what its record is called, on data of this fingerprint."""
        text = json.dumps([RECORD_VERSION, fingerprint, self.to_dict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            "settings": dict(self.settings),
            "seed": self.seed,
            "search_s": self.search_s,
        }

    @property
    def label(self) -> str:
        """What tables and pictures call it."""
        label = self.settings.get("label", "")
        return f"{self.name} {label}".strip()


@dataclass(frozen=True, eq=False)
class Record:
    """A finished run, as it was kept.

    Attributes
    ----------
    key : str
    facts : dict
        ``cell`` (the run), ``status`` ("done" or "failed"), ``error``, bytes, seconds, versions, machine; see
        docs/bench.md.
    folder : Path
        Where its tables are.
    """

    key: str
    facts: dict[str, Any]
    folder: Path

    @property
    def run(self) -> Run:
        """What was measured."""
        return Run(**self.facts["cell"])

    @property
    def done(self) -> bool:
        """Whether it was measured, rather than failed."""
        return bool(self.facts["status"] == "done")

    @property
    def beside(self) -> bool:
        """Whether other runs were made meanwhile, by the workers of an executor: its times are not its own."""
        return bool(self.facts.get("beside"))

    def table(self, name: str) -> dict[str, NDArray[Any]]:
        """Return a table of raw results: ``queries``, ``rows`` or ``asked``; empty where there is none."""
        path = self.folder / f"{self.key}.{name}.parquet"
        return read_table(path) if path.exists() else {}

    @classmethod
    def read(cls, folder: Path, key: str) -> Record | None:
        """Return a record, or None where there is none."""
        path = folder / f"{key}.json"
        if not path.exists():
            return None
        try:
            return cls(key, json.loads(path.read_text()), folder)
        except ValueError:
            raise CorruptError("not JSON; delete it, and the run is made again", path=path) from None

    @classmethod
    def read_all(cls, folder: Path) -> list[Record]:
        """Return all records of a bench, in the order of their keys."""
        found = [cls.read(folder, path.stem) for path in sorted(folder.glob("*.json"))]
        return [record for record in found if record is not None]

    def write(self, tables: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Keep it. The JSON comes last and at once, so that a record that is there is whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, columns in (tables or {}).items():
            if columns:
                write_table(self.folder / f"{self.key}.{name}.parquet", columns)
        with Replacement(self.folder / f"{self.key}.json", force=True) as file:
            file.write(json.dumps(self.facts, indent=1).encode())


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns of numbers, or of one list of numbers a row, as parquet."""
    pyarrow: Any = require("pyarrow", purpose="keeping raw results")
    parquet: Any = require("pyarrow.parquet", purpose="keeping raw results")
    made = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and values.ndim == 2:
            flat = pyarrow.array(np.ascontiguousarray(values).ravel())
            made[name] = pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
        elif isinstance(values, np.ndarray):
            made[name] = pyarrow.array(values)
        else:
            made[name] = pyarrow.array(values, pyarrow.list_(pyarrow.int64()))
    parquet.write_table(pyarrow.table(made), path, compression="zstd")


def read_table(path: Path) -> dict[str, NDArray[Any]]:
    """Read what `write_table` wrote; lists of unequal length come as an array of arrays."""
    parquet: Any = require("pyarrow.parquet", purpose="reading raw results")
    table = parquet.read_table(path)
    found: dict[str, NDArray[Any]] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        width = getattr(column.type, "list_size", None)
        if width is not None:
            found[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        elif str(column.type).startswith("list"):
            lists = np.empty(len(column), object)
            lists[:] = [np.asarray(one, np.int64) for one in column.to_pylist()]
            found[name] = lists
        else:
            found[name] = column.to_numpy(zero_copy_only=False)
    return found
