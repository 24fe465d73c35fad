"""Many files of a bucket as one dump: those that a URL with a pattern, or a folder, stands for.

They are fetched one at a time, when they are read, and stay on the disk for the next reading while there is room: a
dump may be larger than the disk.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from vecstore.formats.dump import Batch, Dump

from vecstore.errors import FormatError
from vecstore.remote.objects import Objects

__all__ = ["MARKS", "RemoteFiles", "RemotePart"]

MARKS = "*?["  # of a pattern
MOST_FILES = 100_000
ROOM_SHARE = 0.5  # of what is free on the disk when a dump is opened


class RemoteFiles:
    """The files that a URL stands for.

    Parameters
    ----------
    url : str
        With a pattern such as ``part-*.parquet`` in its names, or of a folder, whose hidden files are left out.
    objects_at : function
        Returns the objects below a URL.

    Attributes
    ----------
    names : list of str
        Of the files, sorted, below `objects.url`.

    Raises
    ------
    FormatError
        No file matches, or too many do.
    """

    def __init__(self, url: str, objects_at: Callable[[str], Objects]) -> None:
        self.url, parts = url, url.rstrip("/").split("/")
        first = next((at for at, part in enumerate(parts) if at > 2 and any(mark in part for mark in MARKS)), None)
        pattern = ["[!._]*"] if first is None else parts[first:]
        self.objects = objects_at("/".join(parts[:first]))
        self.sizes = {name: about.size for name, about in self.objects.listed() if _matches(name, pattern)}
        self.names = sorted(self.sizes)
        if not self.names:
            raise FormatError("no file matches; check the pattern, or the folder", path=url)
        if len(self.names) > MOST_FILES:
            raise FormatError(f"has more than {MOST_FILES:,} files", path=url)
        self._folder = Path(tempfile.mkdtemp(prefix="vecstore-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._room = int(ROOM_SHARE * shutil.disk_usage(self._folder).free)
        self._kept: dict[str, Path] = {}  # what was used last is last
        self._used, self._lock = Counter[str](), threading.Lock()

    @contextmanager
    def held(self, name: str) -> Iterator[Path]:
        """Give a local copy of a file, which stays while the block lasts; raises as `Objects.download`."""
        with self._lock:
            self._kept[name] = self._kept.pop(name) if name in self._kept else self._fetched(name)
            self._used[name] += 1
        try:
            yield self._kept[name]
        finally:
            with self._lock:
                self._used[name] -= 1

    def _fetched(self, name: str) -> Path:
        """Fetch a file, in the place of those that were used longest ago where there is no room for all."""
        held = sum(self.sizes[other] for other in self._kept) + self.sizes[name]
        for other in [other for other in self._kept if not self._used[other]]:
            if held > self._room:
                held -= self.sizes[other]
                self._kept.pop(other).unlink()
        path = self._folder / str(self.names.index(name)) / PurePosixPath(name).name
        path.parent.mkdir(exist_ok=True)
        self.objects.download(name, path)
        return path


class RemotePart(Dump):
    """A file of a bucket that is one of several.

    Parameters
    ----------
    files : RemoteFiles
    name : str
    opened : function
        Opens a copy of it.
    """

    def __init__(self, files: RemoteFiles, name: str, opened: Callable[[Path], Dump]) -> None:
        self._files, self._name, self._opened = files, name, opened
        self.url = f"{files.objects.url}/{name}"
        with self._open() as dump:
            super().__init__(
                Path(self.url),
                format=dump.format,
                rows=dump.rows,
                dimensions=dump.dimensions,
                key_type=dump.key_type,
                dtype=dump.dtype,
            )
            self.left_out, self.columns, self.fields = dump.left_out, dump.columns, dump.fields
            self._digest = dump.digest()  # now that the file is here

    @property
    def source(self) -> str:
        return self.url

    @property
    def files(self) -> list[Path]:
        return [self.path]

    @property
    def size_bytes(self) -> int:
        return self._files.sizes[self._name]

    def digest(self) -> str:
        return self._digest

    def batches_from(self, first: int) -> Iterator[Batch]:
        with self._open() as dump:
            yield from dump.batches_from(first)

    def _batches(self, rows: int) -> Iterator[Batch]:
        with self._open() as dump:
            yield from dump.batches(rows)
            self.notes.update(dump.notes)

    @contextmanager
    def _open(self) -> Iterator[Dump]:
        """Give the dump in a copy of the file; errors name the URL."""
        with self._files.held(self._name) as copy:
            try:
                yield self._opened(copy)
            except FormatError as error:
                error.args, error.path = (str(error).replace(str(copy), self.url),), self.url
                raise


def _matches(name: str, pattern: list[str]) -> bool:
    parts = name.split("/")
    return len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))
