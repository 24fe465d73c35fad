"""Stores in obstore's memory, each test with a bucket and a cache of its own."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

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
