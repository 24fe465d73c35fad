"""The shards of a snapshot: mapped when it is opened, read and checked when they are touched first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vecstore.shard.shard import Shard

__all__ = ["ShardFile", "Shards"]

REQUESTS = 8  # at the same time


class ShardFile:
    """A file that holds a shard, which is read and checked when it is touched first; several threads may do that.

    Parameters
    ----------
    rows : int
        As the manifest says.
    read : function
        Returns the shard, or raises what is wrong with it: then the next touch asks again.
    far : bool
        It lies in a bucket, where reading it means to wait.
    """

    def __init__(self, rows: int, read: Callable[[], Shard], *, far: bool = False) -> None:
        self.rows, self._read, self._far = rows, read, far
        self._shard: Shard | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, shard: Shard) -> ShardFile:
        """Return the file of a shard that was read already."""
        file = cls(shard.rows, lambda: shard)
        file._shard = shard
        return file

    @property
    def awaited(self) -> bool:
        """Whether reading it means to wait for a bucket."""
        return self._far and self._shard is None

    @property
    def is_read(self) -> bool:
        """Whether it was touched already."""
        return self._shard is not None

    @property
    def shard(self) -> Shard:
        """The shard; raises `CorruptError` where it is damaged."""
        if self._shard is None:
            with self._lock:
                self._shard = self._shard or self._read()
        return self._shard


class Shards(Sequence[Shard]):
    """Shards, one behind the other. Each is read when it is asked for.

    Attributes
    ----------
    files : list of ShardFile
    rows : list of int
        Of each; no shard is read for them.
    """

    def __init__(self, files: Sequence[ShardFile]) -> None:
        self.files = list(files)
        self.rows = [file.rows for file in files]
        self._are_read = False

    @property
    def are_read(self) -> bool:
        """Whether all were touched already."""
        self._are_read = self._are_read or all(file.is_read for file in self.files)
        return self._are_read

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: Any) -> Any:
        return self.files[at].shard if isinstance(at, int) else [file.shard for file in self.files[at]]

    def __iter__(self) -> Iterator[Shard]:
        awaited = [file for file in self.files if file.awaited]
        if len(awaited) > 1:
            with ThreadPoolExecutor(REQUESTS) as pool:
                list(pool.map(lambda file: file.shard, awaited))
        return (file.shard for file in self.files)
