"""Servers for tests of buckets: moto's S3, a folder over HTTP, and a proxy before either that does what networks do."""

from __future__ import annotations

import http.client
import logging
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

__all__ = ["FAULTS", "Asked", "Proxy", "QuietHandler", "Server", "folder_server", "moto_server"]

DELAY_S = 0.05
FAULTS = ("delay", "cut", "short", "long", "flip", "stale", "whole", "twice", "lost", "drop", "busy", "broken")


@dataclass(frozen=True)
class Asked:
    """A request that came to a proxy, and how many came before it."""

    number: int
    method: str
    path: str
    headers: dict[str, str]


_OF_BODIES = ("transfer-encoding", "content-length")  # told anew
Plan = Callable[[Asked], "str | None"]


class QuietHandler(BaseHTTPRequestHandler):
    """Answers in one call, and tells nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def send(self, status: int, headers: dict[str, str], body: bytes, *, length: int | None = None) -> None:
        """Answer; `length` is what the header says where that is not true."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Proxy:
    """Forwards requests to a server on this machine, and does to them what a plan says.

    ========  ==================================================================================
    delay     answers late
    cut       closes the connection within the body
    short     half of the body, with headers that fit the half
    long      more bytes than the server gave, with headers that fit them
    flip      another byte in the middle
    stale     the body of the answer before, of whatever it was
    whole     the whole object, as of a server that knows no ranges
    twice     asks the server twice, and gives the second answer
    lost      asks the server, and closes the connection without an answer
    drop      closes the connection
    busy      503 without asking the server
    broken    asks the server, and answers 500
    denied    403 without asking the server; not among FAULTS
    ========  ==================================================================================

    Attributes
    ----------
    url : str
    plan : function
        Returns a fault for a request, or None; may be exchanged at any time.
    asked : list of Asked
    """

    def __init__(self, target: str, plan: Plan = lambda asked: None) -> None:
        self.plan, self.asked = plan, list[Asked]()
        self._target = urlsplit(target).netloc
        self._last, self._lock = b"nothing came before", threading.Lock()
        proxy = self

        class Handler(QuietHandler):
            def _forward(self) -> None:
                proxy._answer(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward

        self._server = Server(Handler)
        self.url = self._server.url

    def close(self) -> None:
        self._server.close()

    def _answer(self, handler: QuietHandler) -> None:
        body = _body(handler)
        with self._lock:
            asked = Asked(len(self.asked), handler.command, handler.path, dict(handler.headers))
            self.asked.append(asked)
        fault = self.plan(asked)
        if fault == "drop":
            handler.close_connection = True
            return
        if fault == "busy":
            handler.send(503, {}, b"<Error><Code>SlowDown</Code></Error>")
            return
        if fault == "denied":
            handler.send(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
            return
        headers = dict(handler.headers)
        if fault == "whole":
            headers = {name: value for name, value in headers.items() if name.lower() != "range"}
        status, told, data = self._forwarded(asked, headers, body)
        if fault == "twice":
            status, told, data = self._forwarded(asked, headers, body)
        if fault == "delay":
            time.sleep(DELAY_S)
        if fault == "broken":
            status, told, data = 500, {}, b"<Error><Code>InternalError</Code></Error>"
        if fault == "lost":
            handler.close_connection = True
            return
        sent, length = self._spoiled(fault, data), None
        if asked.method == "HEAD":
            length = int(told.pop("content-length", 0))
        elif fault == "cut":
            length, handler.close_connection = len(data), True
        handler.send(status, told, sent, length=length)

    def _spoiled(self, fault: str | None, data: bytes) -> bytes:
        """Return what is sent for a body, and keep it for the next one that is stale."""
        with self._lock:
            before, self._last = self._last, data or self._last
        match fault:
            case "cut" | "short":
                return data[: len(data) // 2]
            case "long":
                return data + b"and more"
            case "flip" if data:
                at = len(data) // 2
                return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
            case "stale":
                return before
        return data

    def _forwarded(self, asked: Asked, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._target, timeout=60)
        headers = {name: value for name, value in headers.items() if name.lower() not in _OF_BODIES}
        try:
            connection.request(asked.method, asked.path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            told = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
        for name in ("connection", "transfer-encoding", "date", "server", "keep-alive"):
            told.pop(name, None)
        if asked.method != "HEAD":
            told.pop("content-length", None)
        return answer.status, told, data


class Server:
    """A server in a thread, until it is closed.

    Attributes
    ----------
    url : str
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler], *, certificate: Path | None = None) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *about: None  # type: ignore[method-assign]  # clients that went away
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def folder_server(
    folder: Path, *, ranges: bool = True, lengths: bool = True, certificate: Path | None = None
) -> Iterator[str]:
    """Serve the files of a folder over HTTP; without `ranges` whole, without `lengths` in chunks of untold number.

    With a `certificate`, a file that holds its key, too, it is HTTPS.
    """

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            path = folder / unquote(urlsplit(self.path).path).lstrip("/")
            if not path.is_file():
                self.send(404, {}, b"not here")
                return
            about, data = path.stat(), path.read_bytes()
            told = {"ETag": f'"{about.st_mtime_ns}-{about.st_size}"', "Last-Modified": self.date_time_string()}
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if ranges:
                told["Accept-Ranges"] = "bytes"
            if ranges and wanted is not None:
                start, stop = int(wanted[1]), min(int(wanted[2] or len(data)) + 1, len(data))
                told["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
                self.send(206, told, data[start:stop])
            elif lengths:
                self.send(200, told, data)
            else:
                self._chunked(told, data)

        do_HEAD = do_GET

        def _chunked(self, told: dict[str, str], data: bytes) -> None:
            self.send_response(200)
            for name, value in {**told, "Transfer-Encoding": "chunked"}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                for start in range(0, len(data), 10_000):
                    piece = data[start : start + 10_000]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")

    server = Server(Handler, certificate=certificate)
    try:
        yield server.url
    finally:
        server.close()


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto's S3, with a bucket of the name ``tests``; yields its URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # which tells every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        urlopen(Request(f"{url}/tests", b"", method="PUT")).close()
        yield url
    finally:
        server.stop()


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    """Return the body of a request, whose length is told or which comes in chunks."""
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    pieces = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        pieces.append(handler.rfile.read(size))
        handler.rfile.readline()
    with suppress(OSError):
        handler.rfile.readline()
    return b"".join(pieces)
