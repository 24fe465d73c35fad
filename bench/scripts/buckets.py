"""What lookups and searches in a bucket ask for: ``python -m vecstore.bench.scripts.buckets --rows 1000000``.

A store is laid out as in a bucket, and served on this machine over HTTP, in ranges, each answer some milliseconds late.
What is counted is what the client asks for; S3 is asked for the same. Prints a table as Markdown.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.bench.timing import add_page, show, table

import vecstore
from vecstore.remote.libraries import objects_at
from vecstore.remote.objects import traffic

__all__ = ["main", "measured"]

LOOKUPS, QUERIES = 1_000, 10
SAMPLE = 20_000  # rows that codecs are trained on


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.buckets", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of Gaussian vectors")
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--codec", default="f32")
    parser.add_argument("--lookups", type=int, default=LOOKUPS)
    parser.add_argument("--delay-ms", type=float, default=20.0, help="of each answer")
    add_page(parser)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.vecs")
        _write(path, given.rows, given.dimensions, given.codec)
        size = path.stat().st_size
        _lay_out(path, Path(folder, "bucket"))
        with served(Path(folder, "bucket"), given.delay_ms / 1e3) as url:
            lines = measured(f"{url}/x.vecs", given.rows, given.dimensions, given.lookups, Path(folder))
    shape = f"`{given.codec}`, {given.rows:,} x {given.dimensions}, {size / 1e6:,.0f} MB"
    header = [shape, "requests", "received", f"time at {given.delay_ms:g} ms an answer"]
    show(table(header, lines), "buckets", page=given.write)


def measured(url: str, rows: int, dimensions: int, lookups: int, folder: Path) -> list[list[str]]:
    """Return what is asked for, and how long it takes: lines of what, requests, bytes, time."""
    rng = np.random.default_rng(1)
    keys = [_key(row) for row in rng.integers(0, rows, lookups).tolist()]
    queries = rng.normal(size=(QUERIES, dimensions)).astype(np.float32)

    def singly(store: vecstore.Store) -> None:
        for key in keys:
            store[key]

    lines = []
    for name, cache, ask in (
        ("open, and one lookup", "a", lambda store: store[keys[0]]),
        ("the same again", "a", lambda store: store[keys[0]]),
        (f"{lookups:,} lookups, one by one", "b", singly),
        ("the same again", "b", singly),
        (f"{lookups:,} lookups at once", "c", lambda store: store[keys]),
        ("a search", "d", lambda store: store.search(queries[0])),
        (f"{QUERIES} searches after it", "d", lambda store: [store.search(query) for query in queries]),
    ):
        lines.append([name, *_asked(url, folder / cache, ask)])
    return lines


def _asked(url: str, cache: Path, ask: Callable[[vecstore.Store], Any]) -> list[str]:
    requests, received, began = traffic.requests, traffic.received_bytes, time.perf_counter()
    with vecstore.open(url, cache=cache) as store:
        ask(store)
    elapsed_s = time.perf_counter() - began
    size = (traffic.received_bytes - received) / 1e3
    shown = f"{size:,.0f} kB" if size < 1e4 else f"{size / 1e3:,.0f} MB"
    return [f"{traffic.requests - requests:,}", shown, f"{elapsed_s * 1e3:,.0f} ms"]


def _write(path: Path, rows: int, dimensions: int, codec: str) -> None:
    rng = np.random.default_rng(0)
    trained = vecstore.codec(codec).fit(rng.normal(size=(min(rows, SAMPLE), dimensions)).astype(np.float32))
    with vecstore.Writer(path, trained) as writer:
        for start in range(0, rows, SAMPLE):
            count = min(SAMPLE, rows - start)
            x = rng.standard_normal((count, dimensions), np.float32)
            writer.add(x, [_key(row) for row in range(start, start + count)])


def _lay_out(path: Path, folder: Path) -> None:
    """Upload a store to memory, and copy what is there into a folder."""
    objects = objects_at(f"memory://{uuid.uuid4().hex}")
    vecstore.upload(path, f"{objects.url}/x.vecs")
    path.unlink()
    for name in list(objects.names()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        objects.download(name, folder / name)
        objects.delete(name)


def _key(row: int) -> str:
    return f"document {row:09}"


@contextmanager
def served(folder: Path, delay_s: float) -> Iterator[str]:
    """Serve the files of a folder over HTTP, in ranges; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(delay_s)
            path = folder / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            size = path.stat().st_size
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            start, stop = (int(wanted[1]), min(int(wanted[2]) + 1, size)) if wanted else (0, size)
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            told = {"ETag": f'"{size}"', "Last-Modified": self.date_time_string(0), "Content-Length": stop - start}
            for header, value in told.items():
                self.send_header(header, str(value))
            self.end_headers()
            if self.command == "GET":
                with open(path, "rb") as file:
                    file.seek(start)
                    self.wfile.write(file.read(stop - start))

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
