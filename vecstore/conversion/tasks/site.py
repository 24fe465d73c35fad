"""Where and by whom the tasks of a conversion are done, and what is remembered of those that are."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, Self, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.container.container import Container, ContainerWriter
from vecstore.distributed.crew import Crew
from vecstore.errors import FormatError
from vecstore.progress import Listener
from vecstore.version import __version__

__all__ = ["KEPT", "Saved", "Site", "appearing", "appearing_path", "digest", "read"]

KEPT, KIND = "result", "task-result"


class Saved(Protocol):
    """A result that can be kept in a file: as JSON, and as arrays by name."""

    def saved(self) -> tuple[dict[str, Any], Mapping[str, NDArray[Any]]]:
        """Return both."""

    @classmethod
    def restored(cls, document: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Undo `saved`."""


Work = TypeVar("Work")
Result = TypeVar("Result", bound=Saved)


@dataclass(frozen=True)
class Site:
    """A directory that all workers see, and the crew that works there.

    Attributes
    ----------
    directory : Path
        For files that tasks leave to each other.
    crew : Crew
    remembers : bool
        Results are kept in the directory as well, under the digest of what they were made of; so a conversion that is
        started again finds them there.
    """

    directory: Path
    crew: Crew = field(default_factory=Crew)
    remembers: bool = False

    def each(
        self,
        task: Callable[[Work, Listener], Result],
        works: Sequence[Work],
        report: Listener,
        *,
        form: type[Result],
        named: Callable[[Work], str],
        usable: Callable[[Work, Result], bool] = lambda work, result: True,
    ) -> Iterator[tuple[int, Result]]:
        """Yield the number and the result of each work, those that are remembered first.

        A result is remembered by what `named` says of its work: a digest, or "" for what cannot be known again.
        """
        left, names = [], [named(work) if self.remembers else "" for work in works]
        for number, (work, name) in enumerate(zip(works, names, strict=True)):
            found = self._remembered(name, form) if name else None
            if found is not None and usable(work, found):
                yield number, found
            else:
                left.append(number)
        for at, result in self.crew.each(task, [works[number] for number in left], report):
            if names[left[at]]:
                self.keep(names[left[at]], result)
            yield left[at], result

    def keep(self, name: str, result: Saved) -> Path:
        """Keep a result; return where."""
        document, arrays = result.saved()
        with tempfile.TemporaryDirectory(dir=self.directory, prefix=".", ignore_cleanup_errors=True) as folder:
            container = ContainerWriter(Path(folder, KEPT))
            for part, array in arrays.items():
                container.put_array(part, array)
            container.close({"kind": KIND, "result": document})
            path = self.directory / f"{name}.{KEPT}"
            os.replace(Path(folder, KEPT), path)
        return path

    def _remembered(self, name: str, form: type[Result]) -> Result | None:
        try:
            return read(self.directory / f"{name}.{KEPT}", form)
        except (FormatError, FileNotFoundError):  # never done, or the disk lost it with the power
            return None


def read(path: Path, form: type[Result]) -> Result:
    """Return a result that was kept."""
    held = Container(path)
    arrays = {name: np.array(held.part(name).array()) for name in held.names()}
    return form.restored(held.description["result"], arrays)


@contextmanager
def appearing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write that is there under its name when the block ends, whole; who is last wins."""
    with appearing_path(path) as own, open(own, "xb") as file:
        yield file


@contextmanager
def appearing_path(path: Path) -> Iterator[Path]:
    """As `appearing`, for who opens the file itself: yield the path where it is written."""
    own = path.with_name(f".{secrets.token_hex(8)}")
    try:
        yield own
        os.replace(own, path)
    except BaseException:
        own.unlink(missing_ok=True)
        raise


def digest(*things: Any) -> str:
    """Return the XXH3 (128 bits) of plain values and arrays, and of this version, in hexadecimal."""
    found = xxhash.xxh3_128(__version__.encode())
    for thing in things:
        if isinstance(thing, np.ndarray):
            found.update(f"{thing.shape}{thing.dtype}".encode())
            found.update(np.ascontiguousarray(thing))
        else:
            found.update(json.dumps(thing, sort_keys=True, default=str).encode())
    return found.hexdigest()
