"""A file read from start to end, decompressed on the way."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import FormatError

__all__ = ["Stream", "compression_of"]

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_PIECE_BYTES = 64 << 20
_DAMAGE = (
    EOFError,
    NotImplementedError,
    OSError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


class Stream:
    """Bytes of a file, decompressed (gzip, bzip2, xz, zstd, told by content; several members or frames in a row).

    Parameters
    ----------
    path : Path
        The file; named in errors.
    member : str, optional
        Read this member of the zip archive `path` instead of the file itself.
    """

    def __init__(self, path: Path, *, member: str | None = None) -> None:
        self.path, self._member = path, member
        self.compression: str | None = None
        self._owned: list[Any] = []
        try:
            self._raw: IO[bytes] = self._own(open(path, "rb"))  # noqa: SIM115
            self._size = path.stat().st_size
            self._source: _Readable = self._translated(self._open_source)
        except BaseException:
            self.close()
            raise

    def read(self, size: int = _PIECE_BYTES, /) -> bytes:
        """Return `size` bytes, or fewer only at the end."""
        pieces = []
        # In pieces: a size that a damaged header made up must not be allocated before it is read.
        while size > 0 and (piece := self._translated(partial(self._source.read, min(size, _PIECE_BYTES)))):
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_array(self, size: int) -> NDArray[np.uint8]:
        """Return `size` bytes, or fewer only at the end, as an array that may be written to."""
        if not self.is_plain or size > _PIECE_BYTES:
            return np.frombuffer(bytearray(self.read(size)), np.uint8)
        found = np.empty(size, np.uint8)
        return found[: self._translated(partial(self._raw.readinto, found))]  # type: ignore[attr-defined]

    @property
    def fraction_read(self) -> float:
        """How much of the file, as it lies on disk, has been read."""
        return self.file_position / self._size if self._size else 1.0

    @property
    def is_plain(self) -> bool:
        """Whether the bytes lie in the file as they are read."""
        return self.compression is None and self._member is None

    @property
    def file_position(self) -> int:
        """Where in the file the next byte is read; past it when what is read is compressed."""
        return self._raw.tell()

    def close(self) -> None:
        """Close the file."""
        while self._owned:
            self._owned.pop().close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_source(self) -> _Readable:
        if self._member is not None:
            archive = self._own(zipfile.ZipFile(self._raw))
            source: _Readable = self._own(archive.open(self._member))
            return source
        self.compression = compression_of(self._raw.read(8))
        self._raw.seek(0)
        match self.compression:
            case "gzip":
                opened: _Readable = self._own(gzip.GzipFile(fileobj=self._raw))
            case "bzip2":
                opened = self._own(bz2.BZ2File(self._raw))
            case "xz":
                opened = self._own(lzma.LZMAFile(self._raw))  # noqa: SIM115
            case "zstd":
                opened = _ZstdFrames(self._raw)
            case _:
                opened = self._raw
        return opened

    def _own(self, opened: Any) -> Any:
        self._owned.append(opened)
        return opened

    def _translated(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except _DAMAGE as error:
            # Other numbers are the disk's complaint, not the content's; EINVAL comes of seeking to a made-up place.
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise
            kind = "zip archive" if self._member else f"{self.compression} data"
            raise FormatError(
                f"the {kind} is truncated or damaged ({error}); fetch or write the file again",
                path=self.path,
                where=f"member {self._member!r}" if self._member else None,
            ) from error


def compression_of(head: bytes) -> str | None:
    """Return the name of the compression that data starting with `head` is in."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _ZstdFrames:
    """Zstandard frames, one after another. The library's own reader takes a truncated frame for the end of data."""

    # One compressed byte can stand for 32 KiB: small pieces keep what one of them expands to in bounds.
    _PIECE_BYTES = 2048

    def __init__(self, raw: IO[bytes]) -> None:
        import zstandard

        self._raw = raw
        self._error: type[Exception] = zstandard.ZstdError
        self._library = zstandard.ZstdDecompressor(max_window_size=2**31)
        self._frame: Any = None
        self._input = b""
        self._output = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        while not self._output:
            piece = self._input or self._raw.read(self._PIECE_BYTES)
            self._input = b""
            if not piece:
                if self._frame is not None:
                    raise EOFError("a frame ends early")
                return b""
            self._output = memoryview(self._decompress(piece))
        taken, self._output = self._output[:size], self._output[size:]
        return bytes(taken)

    def _decompress(self, piece: bytes) -> bytes:
        self._frame = self._frame or self._library.decompressobj()
        try:
            output: bytes = self._frame.decompress(piece)
        except self._error as error:
            raise EOFError(str(error)) from error
        if self._frame.eof:
            self._input, self._frame = self._frame.unused_data, None
        return output
