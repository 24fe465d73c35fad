"""What lies in a bucket, or behind a web server: objects with names, read in ranges, written whole.

The few things that stores need. `vecstore.remote.libraries` has the implementations.
"""

from __future__ import annotations

import errno
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vecstore.errors import RemoteError, VecstoreError

__all__ = [
    "CHECK",
    "Answer",
    "Denied",
    "NoRanges",
    "Objects",
    "Refused",
    "Traffic",
    "traffic",
    "translated",
]

AGAIN, CHECK = "try again when the network and the server answer", "check the URL"
FULL = (errno.ENOSPC, errno.EDQUOT)
DENIED = ("PermissionDeniedError", "UnauthenticatedError")  # of obstore


class Traffic:
    """What this process has asked for so far, from any thread: requests, and bytes that came."""

    def __init__(self) -> None:
        self.requests = self.received_bytes = 0
        self._lock = threading.Lock()

    def add(self, requests: int, received_bytes: int) -> None:
        """Count what was asked for, and what came."""
        with self._lock:
            self.requests += requests
            self.received_bytes += received_bytes


traffic = Traffic()


@dataclass(frozen=True)
class Answer:
    """Bytes of an object, how long the whole one is, the mark (ETag) of this version of it, and when it was written."""

    data: bytes
    size: int
    mark: str | None
    written_s: float = 0.0  # seconds since 1970


class Denied(RemoteError):
    """Credentials are missing, or do not allow it."""


class NoRanges(RemoteError):
    """The server only gives whole objects."""


class Refused(VecstoreError):
    """A conditional write whose condition did not hold."""


class Objects(ABC):
    """All objects whose names begin with that of one folder.

    Every method raises `FileNotFoundError` where an object is not there, `Refused` where a condition does not hold,
    and `RemoteError` for all else that goes wrong.

    Attributes
    ----------
    url : str
        Of the folder, for messages.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @abstractmethod
    def get(self, name: str, span: tuple[int, int] | None = None, *, mark: str | None = None) -> Answer:
        """Return an object, or bytes `span` of it, where the end may lie behind that of the object.

        With a `mark`, raises `Refused` where the object has another one now.
        """

    @abstractmethod
    def head(self, name: str) -> Answer:
        """Return what `get` does, without the bytes."""

    @abstractmethod
    def download(self, name: str, path: Path) -> None:
        """Write an object to a file."""

    @abstractmethod
    def put(self, name: str, source: bytes | Path) -> None:
        """Write an object, in the place of one that is there."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> None:
        """Write an object that must not be there: of several that try, one succeeds."""

    @abstractmethod
    def replace(self, name: str, data: bytes, mark: str) -> None:
        """Write an object in the place of one that has this mark: of several that try, one succeeds."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove an object; nothing happens where it is not there."""

    @abstractmethod
    def listed(self, prefix: str = "") -> Iterator[tuple[str, Answer]]:
        """List objects by the beginning of their names: yields name and what `head` returns."""

    def names(self, prefix: str = "") -> Iterator[str]:
        """List the names of objects by their beginning."""
        return (name for name, _ in self.listed(prefix))


@contextmanager
def translated(url: str, *, requests: int = 1, remedy: str = AGAIN) -> Iterator[None]:
    """Raise what libraries raise as a `RemoteError`, or as a `FileNotFoundError`; in one line. Counts requests."""
    traffic.add(requests, 0)
    try:
        yield
    except VecstoreError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "nothing is there", url) from error
    except Exception as error:  # every library has errors of its own
        if isinstance(error, OSError) and error.errno in FULL:  # the disk here is meant
            raise
        told = next(iter(str(error).splitlines()), "")[:300]
        told = f"{url}: {told or type(error).__name__}"
        if isinstance(error, PermissionError) or type(error).__name__ in DENIED:
            raise Denied(f"{told}; see that credentials are there, and may do this") from error
        if isinstance(error, NotImplementedError):
            remedy = "stores are written to buckets, not to web servers"
        elif "fork" in told.lower():
            remedy = "a forked process reads only what is in the cache: start processes by spawn or forkserver"
        raise RemoteError(f"{told}; {remedy}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        # Of obstore; such as by an endpoint without "http://".
        raise RemoteError(f"{url}: {error}; {CHECK}, and that of the endpoint in the environment") from error
