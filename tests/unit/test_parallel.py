"""Work shared out to threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vecstore import parallel


def test_what_no_thread_has_begun_the_caller_does(monkeypatch):
    release, pool, by = threading.Event(), ThreadPoolExecutor(1), []
    monkeypatch.setattr(parallel, "_pool", pool)
    monkeypatch.setenv("VECSTORE_THREADS", "3")
    blocker = pool.submit(release.wait)
    parallel.over_slices(lambda piece: by.append((piece.start, piece.stop, threading.get_ident())), 9, at_least=1)
    me = threading.get_ident()
    assert by == [(0, 3, me), (3, 6, me), (6, 9, me)]
    release.set()
    blocker.result()
    pool.shutdown()


def test_a_failure_reaches_the_caller_after_all_have_stopped(monkeypatch):
    monkeypatch.setenv("VECSTORE_THREADS", "2")
    done = []

    def work(item):
        done.append(item)
        if item == 1:
            raise KeyError(item)

    with pytest.raises(KeyError):
        parallel.over_items(work, range(8))
    count = len(done)
    parallel.over_items(lambda _: None, range(8))
    assert len(done) == count
