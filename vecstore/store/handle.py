"""A handle on a store: the snapshot that is open, until another generation takes its place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from vecstore.errors import ClosedError, FormatError
from vecstore.remote.urls import is_url, place
from vecstore.store.joining import mark_of, opened
from vecstore.store.snapshot import Snapshot

if TYPE_CHECKING:
    from vecstore.store.history import Version

__all__ = ["Handle", "Paths", "snapshot_of"]

Paths: TypeAlias = str | Path | Sequence[str | Path]


class Handle:
    """What `vecstore.store.store.Store` is beside what it reads: opened, refreshed, pickled, closed."""

    def __init__(
        self,
        path: Paths,
        *,
        check: bool = True,
        safe: bool = False,
        generation: int | str | None = None,
        cache: str | os.PathLike[str] | None = None,
        **truncated: int | None,
    ) -> None:
        self._paths: str | list[str] = str(path) if isinstance(path, (str, Path)) else [str(each) for each in path]
        self._options: dict[str, Any] = {"check": check, "safe": safe, **truncated}
        if cache is not None:
            self._options["cache"] = os.fspath(cache)
        self._pinned = generation is not None
        self._mark = mark_of(self._paths)  # before opening: what comes later is seen by `refresh`
        pinned: dict[str, Any] = {"generation": generation} if self._pinned else {}
        self._held: Snapshot | None = opened(self._paths, **self._options, **pinned)
        snapshot = self._held
        self.path = snapshot.path
        self.dimensions, self.metric, self.key_type = snapshot.dimensions, snapshot.metric, snapshot.key_type
        if snapshot.truncated:
            _ = snapshot.shards[0].codec  # raises now when the codec does not allow it

    def _open(self) -> Snapshot:
        """Return what is open, or raise `ClosedError`."""
        return self._held or self._closed()

    @property
    def _snapshot(self) -> Snapshot:
        return self._open()

    @property
    def generation(self) -> int:
        """Which generation of the store this handle shows; 0 for a store of one file, and for several as one."""
        manifest = self._open().manifest
        return 0 if manifest is None else manifest.generation

    def refresh(self) -> bool:
        """Show the generation that is in force now; return whether it is another one.

        Searches and lookups of other threads that have begun go on with what they began with. A handle that was opened
        with `generation` stays with it. Raises `FormatError` where another store has taken the place of this one.
        """
        held, mark = self._open(), mark_of(self._paths)
        if self._pinned or mark == self._mark:
            return False
        known: dict[str, Any] = {} if held.stores else {"known": held}
        found = opened(self._paths, **self._options, **known)
        if any(map(is_url, [self._paths] if isinstance(self._paths, str) else self._paths)) and found.same_as(held):
            return False
        if (found.dimensions, found.metric, found.key_type) != (self.dimensions, self.metric, self.key_type):
            raise FormatError("another store is there now; open it again", path=self.path)
        self._held, self._mark = found, mark
        return True

    def versions(self) -> list[Version]:
        """Return the generations that can be opened, the oldest first; of a store of one file none."""
        from vecstore.store.history import versions

        return [] if self._open().manifest is None else versions(place(self.path, self._options.get("cache")))

    def close(self) -> None:
        """Let go of the files. Using the store afterwards raises `ClosedError`."""
        self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        generation = None if self._held is None or self._held.manifest is None else self._held.manifest.generation
        return partial(type(self), **self._options, generation=generation), (self._paths,)

    def _closed(self, *_: Any) -> Any:
        raise ClosedError(f"the store {self.path} is closed; open it again")


def snapshot_of(handle: Handle) -> Snapshot:
    """Return the snapshot that is open, for rooms above that read more of a store than its methods give."""
    return handle._snapshot
