"""Objects through fsspec: all file systems that it knows, without conditional writes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from vecstore.errors import RemoteError, require
from vecstore.remote.objects import CHECK, Answer, NoRanges, Objects, Refused, traffic, translated

__all__ = ["FsspecObjects"]


class FsspecObjects(Objects):
    """Objects of a file system that fsspec knows; credentials are those of the library behind it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        fsspec = require("fsspec", purpose=f"reading {url.partition(':')[0]}://")
        with translated(url, requests=0, remedy=CHECK):
            self._fs, root = fsspec.core.url_to_fs(self.url)
        self._root = root.rstrip("/")

    def get(self, name: str, span: tuple[int, int] | None = None, *, mark: str | None = None) -> Answer:
        with translated(f"{self.url}/{name}"):
            found = self._about(name)
            if mark is not None and found.mark not in (None, mark):
                raise Refused(f"{self.url}/{name}: another one is there")
            start, stop = (0, found.size) if span is None else (span[0], min(span[1], found.size))
            data = bytes(self._fs.cat_file(self._path(name), start=start, end=stop))
        traffic.add(0, len(data))
        if len(data) == found.size > stop - start:
            raise NoRanges(f"{self.url}/{name}: the server gives no parts of files")
        return Answer(data, found.size, found.mark)

    def head(self, name: str) -> Answer:
        with translated(f"{self.url}/{name}"):
            self._fs.invalidate_cache(self._path(name))
            found = self._about(name)
        return found

    def download(self, name: str, path: Path) -> None:
        with translated(f"{self.url}/{name}"):
            self._fs.get_file(self._path(name), str(path))
        traffic.add(0, path.stat().st_size)

    def put(self, name: str, source: bytes | Path) -> None:
        with translated(f"{self.url}/{name}"):
            if isinstance(source, Path):
                self._fs.put_file(str(source), self._path(name))
            else:
                self._fs.pipe_file(self._path(name), source)

    def create(self, name: str, data: bytes) -> None:
        raise self._unconditional()

    def replace(self, name: str, data: bytes, mark: str) -> None:
        raise self._unconditional()

    def delete(self, name: str) -> None:
        try:
            with translated(f"{self.url}/{name}"):
                self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            pass

    def listed(self, prefix: str = "") -> Iterator[tuple[str, Answer]]:
        with translated(f"{self.url}/{prefix}"):
            self._fs.invalidate_cache()
            folder = self._path(prefix.rpartition("/")[0]).rstrip("/")
            for path, about in self._fs.find(folder, detail=True).items():
                name = path.removeprefix(self._root).lstrip("/")
                if name.startswith(prefix):
                    yield name, _told(about)

    def _about(self, name: str) -> Answer:
        about = self._fs.info(self._path(name))
        if about.get("type") == "directory":
            raise FileNotFoundError(name)
        if about.get("size") is None:
            raise RemoteError(f"{self.url}/{name}: the server does not say how long it is; download the file")
        return _told(about)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _unconditional(self) -> RemoteError:
        return RemoteError(f"{self.url}: fsspec cannot write conditionally, so no commit is safe: pip install obstore")


def _told(about: dict[str, Any]) -> Answer:
    return Answer(b"", about.get("size") or 0, about.get("ETag") or about.get("etag"), _seconds(about))


def _seconds(about: dict[str, Any]) -> float:
    """Return when something was written, as far as that is told."""
    for name in ("LastModified", "last_modified", "mtime", "created", "updated"):
        found = about.get(name)
        if isinstance(found, datetime):
            return found.timestamp()
        if isinstance(found, (int, float)):
            return float(found)
    return 0.0
