"""Stores by ``gs://`` and ``az://``: what obstore asks for is what these services document.

Written from their reference pages (Google's XML API, Azure's Blob service); none of their own servers is asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import numpy as np
import pytest
from faulty_server import QuietHandler, Server

import vecstore
from vecstore.errors import ConflictError
from vecstore.remote.libraries import objects_at
from vecstore.remote.objects import Refused

X = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
KEYS = [f"key {i}" for i in range(300)]
WRITTEN = "Sat, 28 Nov 2026 10:00:00 GMT"


class Cloud:
    """Objects by name: bytes and generation. `kind` is "gs" or "az"."""

    def __init__(self, kind: str) -> None:
        self.kind, self.objects, self.lock = kind, dict[str, tuple[bytes, int]](), threading.Lock()
        self.generations = 1000

    def refused(self, name: str, headers: Any) -> bool:
        """Return whether the condition of a request does not hold."""
        held = self.objects.get(name)
        wanted = headers.get("x-goog-if-generation-match") if self.kind == "gs" else None
        if wanted is not None:
            return int(wanted) != (0 if held is None else held[1])
        if headers.get("If-None-Match") == "*" and held is not None:
            return self.kind == "az"
        match = headers.get("If-Match")
        return match is not None and (held is None or match != tag(held[0]))

    def listing(self, prefix: str) -> str:
        """Return the XML of a listing."""
        found = [(name, body) for name, (body, _) in sorted(self.objects.items()) if name.startswith(prefix)]
        if self.kind == "gs":
            each = "".join(
                f"<Contents><Key>{escape(name)}</Key><LastModified>2026-11-28T10:00:00Z</LastModified>"
                f"<ETag>{escape(tag(body))}</ETag><Size>{len(body)}</Size></Contents>"
                for name, body in found
            )
            return f"<ListBucketResult>{each}</ListBucketResult>"
        each = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{WRITTEN}</Last-Modified>"
            f"<Content-Length>{len(body)}</Content-Length><Content-Type>x</Content-Type>"
            f"<Etag>{escape(tag(body))}</Etag></Properties></Blob>"
            for name, body in found
        )
        return f"<EnumerationResults><Blobs>{each}</Blobs><NextMarker /></EnumerationResults>"


def tag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def handler_of(cloud: Cloud) -> type[QuietHandler]:
    """Return what answers for it; names come after the bucket, or after account and container."""

    class Handler(QuietHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            name = unquote(parts.path).split("/", 2 if cloud.kind == "gs" else 3)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with cloud.lock:
                if self.command == "POST":
                    self._batch(body.decode())
                elif len(name) == (2 if cloud.kind == "gs" else 3):
                    self.send(200, {}, cloud.listing(parse_qs(parts.query).get("prefix", [""])[0]).encode())
                else:
                    self._object(name[-1], body)

        do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _answer

        def _object(self, name: str, body: bytes) -> None:
            if cloud.refused(name, self.headers):
                self.send(412, {}, b"<Error/>")
            elif self.command == "PUT":
                cloud.generations += 1
                cloud.objects[name] = body, cloud.generations
                told = {"ETag": tag(body), "x-goog-generation": str(cloud.generations), "Last-Modified": WRITTEN}
                self.send(201 if cloud.kind == "az" else 200, told, b"")
            elif name not in cloud.objects:
                self.send(404, {}, b"<Error/>")
            elif self.command == "DELETE":
                del cloud.objects[name]
                self.send(202 if cloud.kind == "az" else 204, {}, b"")
            else:
                self._get(*cloud.objects[name])

        def _batch(self, body: str) -> None:
            """Remove the blobs of an Azure batch."""
            answers = ""
            for number, path in enumerate(re.findall(r"DELETE (\S+) HTTP", body)):
                known = cloud.objects.pop(unquote(urlsplit(path).path).partition("/tests/")[2], None)
                status = "404 Not Found" if known is None else "202 Accepted"
                answers += f"--batch\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
                answers += f"HTTP/1.1 {status}\r\nx-ms-version: 1\r\n\r\n"
            self.send(202, {"Content-Type": "multipart/mixed; boundary=batch"}, f"{answers}--batch--\r\n".encode())

        def _get(self, body: bytes, generation: int) -> None:
            told = {"ETag": tag(body), "Last-Modified": WRITTEN}
            if cloud.kind == "gs":
                told["x-goog-generation"] = str(generation)
            asked = self.headers.get("Range") or self.headers.get("x-ms-range") or ""
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
            if self.command == "HEAD":
                self.send(200, told, b"", length=len(body))
            elif wanted is None:
                self.send(200, told, body)
            else:
                start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(body))
                self.send(206, {**told, "Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"}, body[start:stop])

    return Handler


@pytest.fixture(params=["gs", "az"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("VECSTORE_STORE_CACHE", str(tmp_path / "cache"))
    server = Server(handler_of(Cloud(request.param)))
    if request.param == "gs":
        account = {"gcs_base_url": server.url, "disable_oauth": True, "client_email": "", "private_key": ""}
        (tmp_path / "account.json").write_text(json.dumps({**account, "private_key_id": ""}))
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
    else:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "me")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(b"key").decode())
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{server.url}/me")
        monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    yield f"{request.param}://tests/data"
    server.close()


def test_conditions_are_sent_as_the_service_wants_them(url: str) -> None:
    objects = objects_at(url)
    objects.create("x", b"one")
    with pytest.raises(Refused):
        objects.create("x", b"two")
    mark = objects.get("x").mark
    assert mark is not None
    objects.replace("x", b"three", mark)
    with pytest.raises(Refused):
        objects.replace("x", b"four", mark)
    assert objects.get("x", (1, 3)).data == b"hr"
    assert [(name, found.size) for name, found in objects.listed()] == [("x", 5)]
    objects.delete("x")
    with pytest.raises(FileNotFoundError):
        objects.head("x")


def test_a_store_is_written_read_and_changed(url: str, tmp_path: Path) -> None:
    path = f"{url}/x.vecs"
    vecstore.write(path, X, KEYS, "f32")
    with vecstore.edit(path) as e:
        e.append(-X[:1], ["new"])
    with (
        pytest.raises(ConflictError),
        vecstore.edit(path) as late,
    ):
        late.append(X[:1], ["late"])
        with vecstore.edit(path, cache=tmp_path / "another") as first:
            first.append(X[:1], ["first"])
    with vecstore.open(path, cache=tmp_path / "fresh") as store:
        assert store.generation == 2 and "first" in store and "late" not in store
        np.testing.assert_array_equal(store[KEYS], X)
        np.testing.assert_array_equal(store["new"], -X[0])
        assert store.verify()
    assert vecstore.clean(path, older_than=0, keep=1).generations == 2
    assert not [name for name in objects_at(path).names() if name.startswith("manifest-")]
    assert "first" in vecstore.open(path)
