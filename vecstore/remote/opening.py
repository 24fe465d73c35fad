"""An object while it is opened: a few pages of it, fetched as they are asked for."""

from __future__ import annotations

import mmap
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import FormatError, RemoteError
from vecstore.remote.heads import Head, Spans, merged
from vecstore.remote.path import RemotePath
from vecstore.remote.pieces import PAGE_BYTES, Pieces

__all__ = ["Opening"]

FIRST_BYTES, LAST_BYTES = 256 * 1024, 1 << 20  # of a file without head: where its tree begins, and most of it
FETCHED_BYTES = 64 * 1024  # at least, where another page is asked for
MOST_BYTES = 1 << 46  # of an object


class Opening:
    """The pages of one object that opening it reads.

    Parameters
    ----------
    path : RemotePath
    fresh : bool
        Take nothing from the cache, nor from the head in the bucket.

    Attributes
    ----------
    data : (size,) uint8
        The object; what `need` was called for is there, and zeros elsewhere.
    """

    def __init__(self, path: RemotePath, *, fresh: bool = False) -> None:
        self._path, self._here, self._touched = path, set[int](), set[int]()
        self._fetched: Spans = []
        head = None if fresh else path.head()
        if head is not None:
            self.size, self._parts = head.size, head.parts
            self._map()
            self._put(head.opening)
            return
        try:
            first = path.get(0, FIRST_BYTES)
        except RemoteError:
            if path.size() == 0:  # which has no part that could be asked for
                raise FormatError("not a vecstore store: the object is empty", path=path) from None
            raise
        self.size, self._parts = first.size, []
        self._map()
        self._take(0, first.data)
        if self.size > FIRST_BYTES:
            start = max(self.size - LAST_BYTES, FIRST_BYTES) // PAGE_BYTES * PAGE_BYTES
            self._take(start, path.get(start, self.size).data)

    def need(self, offset: int, length: int) -> None:
        """Have bytes of the object, which are inside of it, in `data`."""
        pages = range(offset // PAGE_BYTES, -(-(offset + length) // PAGE_BYTES))
        self._touched.update(pages)
        if self._here.issuperset(pages):
            return
        start = offset // FETCHED_BYTES * FETCHED_BYTES
        stop = min(-(-(offset + length) // FETCHED_BYTES) * FETCHED_BYTES, self.size)
        self._take(start, self._path.get(start, stop).data)

    def keep(self) -> None:
        """Keep what was read in the cache, so that nobody has to ask for it again."""
        spans = merged(
            ((page * PAGE_BYTES, (page + 1) * PAGE_BYTES) for page in self._touched),
            page_bytes=PAGE_BYTES,
            size=self.size,
        )
        opening = [(start, self.data[start:stop].tobytes()) for start, stop in spans]
        self._path.keep_head(Head(self.size, self._path.mark, opening, self._parts))

    def pieces(self, fingerprint: str, extents: Iterable[tuple[int, int]]) -> Pieces:
        """Return the local file for what lies at these places, each (offset, size), under this fingerprint."""
        return self._path.pieces(fingerprint, sorted(extents), self.size, [*self._parts, *self._fetched])

    def _map(self) -> None:
        if self.size > MOST_BYTES:
            raise FormatError("larger than any store", path=self._path, found=f"{self.size} bytes")
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)  # address space, no memory
        self.data: NDArray[np.uint8] = np.frombuffer(mmap.mmap(-1, self.size, flags=flags), np.uint8)

    def _take(self, start: int, body: bytes) -> None:
        self._fetched.append((start, body))
        self._put([(start, body)])

    def _put(self, spans: Spans) -> None:
        for start, body in spans:
            stop = start + len(body)
            self.data[start:stop] = np.frombuffer(body, np.uint8)
            whole = stop == self.size or not stop % PAGE_BYTES
            self._here.update(range(start // PAGE_BYTES, -(-stop // PAGE_BYTES) if whole else stop // PAGE_BYTES))
