"""A file of a bucket on the local disk, filled piece by piece: a mapped file with holes, and what is there already.

Behind the bytes of the object, rounded up to whole pages, the file has one byte for each page: 1 where the piece that
begins in the page is there. Bytes are compared with their checksum before they are written, so that nobody who has
the file mapped ever sees a wrong one in a place that was right; the mark is only a hint, since each reader compares
again what it touches first.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.errors import CorruptError
from vecstore.remote.cache import Cache

__all__ = ["Piece", "Pieces"]

PAGE_BYTES = 512  # the least of a file: no two pieces begin in the same page
GAP_BYTES = 64 * 1024  # between pieces: fewer bytes than a request of their own would cost time
REQUEST_BYTES = 8 << 20
REQUESTS = 8  # at the same time
ATTEMPTS = 3
ROOM_EVERY_BYTES = 256 << 20

Fetch: TypeAlias = Callable[[int, int], bytes]


class Piece(NamedTuple):
    """Bytes `start` to `stop` of the object, and their XXH3."""

    start: int
    stop: int
    checksum: int


class Pieces:
    """The local file of an object, mapped.

    Parameters
    ----------
    url : str
        Of the object, for messages.
    cache : Cache
    name : str
        Of the local file; it stands for the content.
    size : int
        Of the object.
    fetch : function
        Returns bytes `start` to `stop` of the object.
    held : sequence of (int, bytes)
        Bytes that came with the opening, and where they begin.

    Attributes
    ----------
    data : (size,) uint8
        The object, of which pieces may be read that `bring` brought; a view on the map.
    """

    def __init__(
        self, url: str, cache: Cache, name: str, size: int, *, fetch: Fetch, held: Sequence[tuple[int, bytes]] = ()
    ) -> None:
        self._url, self._cache, self._fetch, self._held = url, cache, fetch, list(held)
        pages = -(-size // PAGE_BYTES)
        self._file = _File(cache, name, pages * (PAGE_BYTES + 1))
        mapped = mmap.mmap(self._file.number, pages * (PAGE_BYTES + 1), access=mmap.ACCESS_READ)
        whole = np.frombuffer(mapped, np.uint8)
        self.data: NDArray[np.uint8] = whole[: size // 8 * 8]
        self._marks_at, self._present = pages * PAGE_BYTES, whole[pages * PAGE_BYTES :]
        self._since_room, self._lock = 0, threading.Lock()

    def hold(self, pieces: Iterable[Piece]) -> bool:
        """Return whether pieces seem to be there."""
        return all(self._present[piece.start // PAGE_BYTES] for piece in pieces)

    def bring(self, pieces: Iterable[Piece], *, again: bool = False) -> None:
        """Have pieces fetched that are not there; with `again`, those that seem to be, too.

        Raises
        ------
        CorruptError
            What comes does not have its checksum, time after time.
        RemoteError
            The bucket cannot be read, or the cache not written.
        """
        wanted = [piece for piece in pieces if again or not self._present[piece.start // PAGE_BYTES]]
        if not wanted:
            return
        runs = _runs(sorted({piece for piece in wanted if again or not self._take_held(piece)}))
        if len(runs) < 2:
            for run in runs:
                self._bring_run(run)
            return
        with ThreadPoolExecutor(min(len(runs), REQUESTS)) as pool:
            list(pool.map(self._bring_run, runs))

    def _bring_run(self, run: list[Piece]) -> None:
        for _ in range(ATTEMPTS):
            start, stop = run[0].start, run[-1].stop
            body = memoryview(self._fetch(start, stop))
            run = self._written(run, start, body)
            if not run:
                return
        raise CorruptError(
            "what comes is not what was opened: the object is damaged, or another one was put in its place; "
            "open the store again",
            path=self._url,
            where=f"bytes {run[0].start} to {run[0].stop}",
        )

    def _written(self, run: Sequence[Piece], start: int, body: memoryview) -> list[Piece]:
        """Write the pieces of a run that have their checksum; return the others."""
        wrong, size = [], 0
        for piece in run:
            own = body[piece.start - start : piece.stop - start]
            if len(own) != piece.stop - piece.start or xxhash.xxh3_64_intdigest(own) != piece.checksum:
                wrong.append(piece)
                continue
            try:
                self._file.write(piece.start, own)
                self._file.write(self._marks_at + piece.start // PAGE_BYTES, memoryview(b"\x01"))
            except OSError as error:
                raise self._cache.unusable(error) from None
            size += len(own)
        with self._lock:
            self._since_room += size
            due = self._since_room > ROOM_EVERY_BYTES
            self._since_room = 0 if due else self._since_room
        if due:
            self._cache.make_room()
        return wrong

    def _take_held(self, piece: Piece) -> bool:
        """Write a piece from bytes that came with the opening; return whether it was there, and right."""
        for start, body in self._held:
            if start <= piece.start and piece.stop <= start + len(body):
                return not self._written([piece], start, memoryview(body))
        return False


class _File:
    """A file of the cache, locked as long as it is open, so that it is not dropped."""

    def __init__(self, cache: Cache, name: str, size: int) -> None:
        path = cache.folder / name
        cache.make_folder()
        try:
            self.number = self._opened(path, size)
        except OSError as error:
            raise cache.unusable(error) from None
        cache.make_room()

    @staticmethod
    def _opened(path: os.PathLike[str], size: int) -> int:
        while True:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(number, fcntl.LOCK_SH)
                found = os.fstat(number)
                if found.st_nlink and not found.st_size:
                    os.ftruncate(number, size)  # several may do that: the name stands for the size, too
                if found.st_nlink and found.st_size in (0, size):
                    os.utime(path)
                    return number
                if found.st_nlink:
                    os.unlink(path)  # somebody cut it off, or wrote something else there
            except FileNotFoundError:
                pass  # dropped in between
            except BaseException:
                os.close(number)
                raise
            os.close(number)

    def write(self, at: int, body: memoryview) -> None:
        """Write bytes where they belong."""
        while len(body):
            done = os.pwrite(self.number, body, at)
            at, body = at + done, body[done:]

    def __del__(self) -> None:
        number, self.number = getattr(self, "number", -1), -1
        if number >= 0:
            os.close(number)


def _runs(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Return pieces, which are sorted, in runs that one request brings."""
    runs: list[list[Piece]] = []
    for piece in pieces:
        near = runs and piece.start - runs[-1][-1].stop <= GAP_BYTES
        if near and piece.stop - runs[-1][0].start <= REQUEST_BYTES:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs
