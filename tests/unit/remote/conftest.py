"""Stores in obstore's memory and in moto's S3, each test with a folder and a cache of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from faulty_server import Proxy, moto_server

from vecstore.remote import obstore_objects
from vecstore.remote.objects import traffic


class Requests:
    """Counts what is asked for in a block."""

    def __enter__(self) -> Requests:
        self._before = traffic.requests, traffic.received_bytes
        return self

    def __exit__(self, *error: object) -> None:
        self.count = traffic.requests - self._before[0]
        self.received_bytes = traffic.received_bytes - self._before[1]


@pytest.fixture
def requests() -> type[Requests]:
    return Requests


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of an empty bucket; what is fetched from it is cached in a folder of its own."""
    pytest.importorskip("obstore")
    monkeypatch.setenv("VECSTORE_STORE_CACHE", str(tmp_path / "cache"))
    return f"memory://{uuid.uuid4().hex}/data"


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Return the URL of an S3 server."""
    with moto_server() as url:
        yield url


@pytest.fixture
def proxy(moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Return a proxy before the S3 server, which is what ``s3://`` means in the test."""
    monkeypatch.setenv("VECSTORE_STORE_CACHE", str(tmp_path / "cache"))
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    soon = {"init_backoff": timedelta(milliseconds=2), "max_backoff": timedelta(milliseconds=20), "base": 2}
    monkeypatch.setitem(obstore_objects.RETRIES, "backoff", soon)
    proxy = Proxy(moto)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.close()


@pytest.fixture
def s3(proxy: Proxy) -> str:
    """Return the URL of an empty folder in a bucket of S3, asked through `proxy`."""
    return f"s3://tests/{uuid.uuid4().hex}"
