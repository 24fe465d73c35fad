"""Objects through obstore: S3, Google Cloud Storage, Azure, web servers, and memory for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vecstore.errors import require
from vecstore.remote.objects import CHECK, Answer, NoRanges, Objects, Refused, traffic, translated

__all__ = ["ObstoreObjects"]

# Answers that fail are asked for again by the library, so long.
RETRIES = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}
ATTEMPTS = 3  # at the bytes of an answer
STREAMED_BYTES = 8 << 20

_memory: dict[str, Any] = {}  # by name; in this process alone


class ObstoreObjects(Objects):
    """Objects of a store that obstore knows; credentials and endpoints are those of its environment variables."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._obstore = require("obstore", purpose=f"reading {url.partition(':')[0]}://")
        self._errors = require("obstore.exceptions", purpose="reading buckets")
        parts = urlsplit(self.url)
        self._prefix = ""
        self._versions: dict[str, Any] = {}  # what else tells the version of a mark: Google's service wants that
        with translated(url, requests=0, remedy=CHECK):
            if parts.scheme == "memory":
                self._prefix = parts.path.strip("/") + "/"
                self._store = _memory.setdefault(parts.netloc, self._obstore.store.MemoryStore())
            elif parts.scheme in ("http", "https"):
                options = {"allow_http": parts.scheme == "http"}
                self._store = self._obstore.store.from_url(self.url, retry_config=RETRIES, client_options=options)
            else:
                self._store = self._obstore.store.from_url(self.url, retry_config=RETRIES)

    def get(self, name: str, span: tuple[int, int] | None = None, *, mark: str | None = None) -> Answer:
        options: dict[str, Any] = {}
        if span is not None:
            options["range"] = span
        if mark is not None and not mark.startswith("W/"):  # a weak mark never matches
            options["if_match"] = mark
        for left in reversed(range(ATTEMPTS)):
            with self._told(name):
                found = self._obstore.get(self._store, self._prefix + name, options=options)
                try:
                    data = bytes(found.bytes())
                    break
                except self._errors.GenericError:  # broken off amid the answer, and again when asked for the rest
                    if not left:
                        raise
        traffic.add(0, len(data))
        meta = found.meta
        self._note(meta)
        return Answer(data, meta["size"], meta["e_tag"])

    def head(self, name: str) -> Answer:
        with self._told(name):
            meta = self._obstore.head(self._store, self._prefix + name)
        self._note(meta)
        return _about(meta)

    def download(self, name: str, path: Path) -> None:
        with self._told(name), open(path, "wb") as file:
            for piece in self._obstore.get(self._store, self._prefix + name).stream(min_chunk_size=STREAMED_BYTES):
                file.write(piece)
            traffic.add(0, file.tell())

    def put(self, name: str, source: bytes | Path) -> None:
        self._put(name, source)

    def create(self, name: str, data: bytes) -> None:
        self._put(name, data, mode="create")

    def replace(self, name: str, data: bytes, mark: str) -> None:
        self._put(name, data, mode={"e_tag": mark, **self._versions.get(mark, {})})

    def delete(self, name: str) -> None:
        try:
            with self._told(name):
                self._obstore.delete(self._store, self._prefix + name)
        except FileNotFoundError:
            pass

    def listed(self, prefix: str = "") -> Iterator[tuple[str, Answer]]:
        with self._told(prefix):
            # A listing goes by whole folders: what begins with the prefix is picked here.
            folder = prefix.rpartition("/")[0]
            for page in self._obstore.list(self._store, prefix=(self._prefix + folder).rstrip("/") or None):
                for each in page:
                    name = each["path"].removeprefix(self._prefix)
                    if name.startswith(prefix):
                        yield name, _about(each)

    def _note(self, meta: Any) -> None:
        if meta["version"] is not None:
            # One is enough: a commit replaces the manifest that was read last.
            self._versions = {meta["e_tag"]: {"version": meta["version"]}}

    def _put(self, name: str, source: bytes | Path, **mode: Any) -> None:
        with self._told(name):
            self._obstore.put(self._store, self._prefix + name, source, **mode)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        url = f"{self.url}/{name}"
        with translated(url):
            try:
                yield
            except (self._errors.AlreadyExistsError, self._errors.PreconditionError) as error:
                raise Refused(f"{url}: another one is there") from error
            except self._errors.NotSupportedError as error:
                raise NoRanges(f"{url}: the server gives no parts of files") from error


def _about(meta: Any) -> Answer:
    return Answer(b"", meta["size"], meta["e_tag"], meta["last_modified"].timestamp())
