"""A place in a bucket, used as `pathlib.Path` is by those who open stores."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.errors import CorruptError, RemoteError
from vecstore.remote.cache import Cache
from vecstore.remote.heads import HEAD_SUFFIX, Head, Spans
from vecstore.remote.libraries import objects_at
from vecstore.remote.objects import Answer, NoRanges, Objects, Refused
from vecstore.remote.pieces import Pieces

__all__ = ["RemotePath", "remote_path"]

MANIFEST = "manifest.json"
WHOLE = ".whole"  # what is added to names of copies, of servers that give no parts
ATTEMPTS = 3


def remote_path(url: str, cache: str | os.PathLike[str] | None = None) -> RemotePath:
    """Return what a URL names; `cache` is the folder for files of buckets."""
    url = url.rstrip("/")
    parent, _, name = url.rpartition("/")
    if not urlsplit(url).path.strip("/"):
        raise RemoteError(f"{url}: names no store; the URL of one is like s3://bucket/docs.vecs")
    return RemotePath(objects_at(parent), name, Cache(cache))


class RemotePath:
    """An object in a bucket, or a folder of objects.

    Attributes
    ----------
    objects : Objects
    key : str
        Its name there.
    cache : Cache
    name : str
        The last part of it.
    mark : str or None
        The ETag that it had when it was read first; of a folder, that of its manifest.
    """

    def __init__(
        self,
        objects: Objects,
        key: str,
        cache: Cache,
        folder: RemotePath | None = None,
        listed: Answer | None = None,
    ) -> None:
        self.objects, self.key, self.cache, self._folder = objects, key, cache, folder
        self.name = key.rpartition("/")[2]
        self.mark: str | None = None
        self._whole: NDArray[np.uint8] | None = None  # a local copy, where the server gives no parts
        self._listed = listed  # what a listing said of it
        self._manifest: bytes | None = None  # read, and not asked for yet
        self._known: dict[str, str] = {}  # by file: what stands for its content

    def __str__(self) -> str:
        return f"{self.objects.url}/{self.key}"

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.objects, f"{self.key}/{name}", self.cache, self)

    def is_dir(self) -> bool:
        """Return whether it is the folder of a store: there is a manifest in it."""
        manifest = self / MANIFEST
        try:
            self._manifest, self.mark = manifest._read(), manifest.mark
        except FileNotFoundError:
            return False
        except RemoteError:
            # S3 denies what is missing to those who may not list a bucket.
            with suppress(FileNotFoundError, RemoteError):
                self.mark = self.objects.head(self.key).mark
                return False
            raise
        return True

    def exists(self) -> bool:
        """Return whether there is an object of this name."""
        return self.size() is not None

    def size(self) -> int | None:
        """Return how long the object is, None where there is none."""
        try:
            return self.objects.head(self.key).size
        except FileNotFoundError:
            return None

    def sibling(self, suffix: str) -> RemotePath:
        """Return the object of this name and a suffix."""
        return RemotePath(self.objects, self.key + suffix, self.cache, self._folder)

    def with_name(self, name: str) -> RemotePath:
        """Return the object of another name in the same folder."""
        return RemotePath(self.objects, f"{self.key.rpartition('/')[0]}/{name}".lstrip("/"), self.cache, self._folder)

    def put(self, source: bytes | Path) -> None:
        """Write the object."""
        self.objects.put(self.key, source)

    def unlink(self) -> None:
        """Remove the object; nothing happens where it is not there."""
        self.objects.delete(self.key)

    def iterdir(self) -> Iterator[RemotePath]:
        """Yield the objects in this folder; what the listing says of each is what its `stat` returns."""
        for key, about in self.objects.listed(f"{self.key}/"):
            if "/" not in key.removeprefix(f"{self.key}/"):
                yield RemotePath(self.objects, key, self.cache, self, about)

    def stat(self) -> Any:
        """Return what is known of an object, as `os.stat` does: when it was written."""
        found = self._listed or self.objects.head(self.key)
        return os.stat_result((0, 0, 0, 0, 0, 0, found.size, *[found.written_s] * 3))

    def open(self) -> IO[bytes]:
        """Return the whole object as a file."""
        folder = self._folder
        body, held = None, folder is not None and self.name == MANIFEST
        if held and folder is not None:
            body, folder._manifest = folder._manifest, None
        body = self._read() if body is None else body
        if folder is not None and self.name.endswith(".json"):
            folder._learn(body)
        return io.BytesIO(body)

    def get(self, start: int, stop: int) -> Answer:
        """Return bytes `start` to `stop`, or to the end; raises as `Objects.get`.

        Of a server that only gives whole objects one copy is kept in the cache, and read.
        """
        if self._whole is None:
            held = self._stands_for is not None and (self.cache.folder / self._cached_name(WHOLE)).exists()
            try:
                if not held:
                    return self._get(start, stop)
            except NoRanges:
                pass
            copy = self.cache.whole(self._cached_name(WHOLE), partial(self.objects.download, self.key))
            self._whole = np.memmap(copy, np.uint8, "r") if copy.stat().st_size else np.empty(0, np.uint8)
        return Answer(self._whole[start:stop].tobytes(), len(self._whole), self.mark)

    def _get(self, start: int, stop: int) -> Answer:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                found = self.objects.get(self.key, (start, stop), mark=self.mark)
            except Refused:
                raise RemoteError(f"{self}: another object was put in its place; open the store again") from None
            if len(found.data) == min(stop, found.size) - start:
                break
            if attempt == ATTEMPTS:
                raise RemoteError(f"{self}: answers of the server are cut off; try again")
        self.mark = found.mark
        return found

    def head(self) -> Head | None:
        """Return what opening reads, from the cache or from the object beside this one; None where there is none."""
        found = Head.of_bytes(self.cache.read(self._head_name))
        if found is not None and self._stands_for is None:  # only the object tells whether it is still that of the head
            now = self.objects.head(self.key)
            self.mark = now.mark
            found = found if (now.size, now.mark) == (found.size, found.mark) and now.mark is not None else None
        if found is None:
            self.forget_head()
            if self._stands_for is not None:
                with suppress(FileNotFoundError, RemoteError):
                    found = Head.of_bytes(self.objects.get(self.key + HEAD_SUFFIX).data)
        return found

    def keep_head(self, head: Head) -> None:
        """Keep a head in the cache."""
        self.cache.whole(self._head_name, lambda path: path.write_bytes(head.to_bytes()))

    def forget_head(self) -> None:
        """Remove the head in the cache."""
        self.cache.forget(self._head_name)

    def pieces(self, fingerprint: str, extents: Sequence[tuple[int, int]], size: int, held: Spans) -> Pieces:
        """Return the local file of this object, whose values lie at `extents`."""
        layout = _digest(np.array(extents, "<i8").tobytes())
        name = f"{fingerprint}-{layout}.pieces"

        def fetch(start: int, stop: int) -> bytes:
            return self.get(start, stop).data

        return Pieces(str(self), self.cache, name, size, fetch=fetch, held=held)

    def download(self, verified: Callable[[Path], str]) -> Path:
        """Return a local copy of the whole object, from the cache where it is there.

        `verified` returns the fingerprint of a copy, or raises.
        """

        def write(path: Path) -> None:
            self.objects.download(self.key, path)
            self.require(verified(path))

        return self.cache.whole(self._cached_name(".vecs"), write)

    def _cached_name(self, suffix: str) -> str:
        """Return what a whole copy of the object is called in the cache, as it is there now."""
        if self._stands_for is not None:
            return self._stands_for + suffix
        now = self.objects.head(self.key)
        return _digest(f"{self}\0{now.mark}\0{now.size}\0{now.written_s}") + suffix

    def require(self, fingerprint: str) -> None:
        """Raise `CorruptError` for the fingerprint of another file than the manifest means, where there is one."""
        if self._stands_for is not None and self._stands_for.partition("-")[0] != fingerprint:
            raise CorruptError("is not the file that the manifest means: restore it from a copy", path=self)

    @property
    def _stands_for(self) -> str | None:
        """What stands for the content, where a manifest says it: fingerprint and length."""
        return None if self._folder is None else self._folder._known.get(self.name)

    @property
    def lock_name(self) -> str:
        """The name of the file in the cache that writers lock."""
        return f".{_digest(str(self))}.lock"

    @property
    def _head_name(self) -> str:
        return f"{self._stands_for or _digest(str(self))}{HEAD_SUFFIX}"

    def _read(self) -> bytes:
        found = self.objects.get(self.key)
        if len(found.data) != found.size:
            raise RemoteError(f"{self}: answers of the server are cut off; try again")
        self.mark = found.mark
        return found.data

    def _learn(self, manifest: bytes) -> None:
        """Note what a manifest says of files; whether it is one is seen by who reads it."""
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            document = json.loads(manifest)
            entries = [*document["shards"], *document["key_maps"], *document.get("models", [])]
            entries += [entry["tombstones"] for entry in entries if "tombstones" in entry]
            for entry in entries:
                name, told = str(entry["file"]), f"{entry['fingerprint']}-{int(entry['bytes'])}"
                if told.replace("-", "").isalnum():
                    self._known[name] = told


def _digest(told: str | bytes) -> str:
    return xxhash.xxh3_64_hexdigest(told.encode() if isinstance(told, str) else told)
