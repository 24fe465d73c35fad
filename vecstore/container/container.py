"""A container: named arrays and one description in an LMDB file, mapped for reading, every byte under a checksum.

What the arrays mean is the shard's business; here they are parts, cut into blocks of rows, one LMDB value a block.
The library of LMDB is not needed: `vecstore.container.page_writer` writes the pages, and `vecstore.container.pages`
checks them before values are used where they are mapped. So a damaged file raises instead of crashing, two handles on
one file do not disturb each other, and a handle survives fork (the map is read-only and shared).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vecstore.container.block_buffer import BlockBuffer
from vecstore.container.document import field, parse, whole
from vecstore.container.mapped_file import MappedFile
from vecstore.container.page_writer import PageWriter
from vecstore.container.pages import PAGE_HEADER_BYTES, read_tree
from vecstore.container.part import CHUNK_BYTES, Part, checksum
from vecstore.errors import CorruptError, FormatError, UnsupportedVersionError

__all__ = ["BLOCK_BYTES", "FORMAT_VERSION", "ColumnWriter", "Container", "ContainerWriter", "rows_per_block"]

FORMAT_VERSION = (1, 3)
MAGIC = b"VECSTORE"
DESCRIPTION = b"vecstore"
CHECKSUMS = b"checksums"
BLOCK_BYTES = 512 * 1024 - PAGE_HEADER_BYTES  # header and value fill whole pages: no slack
TOUCHED_BYTES = 4096  # a page of memory, at least

_HEADER = struct.Struct("<8sHHIQ")  # magic, major, minor, length of the JSON, xxh3 of all before and after this field


def rows_per_block(row_bytes: int, tile_rows: int = 1, block_bytes: int = BLOCK_BYTES) -> int:
    """Return how many rows of `row_bytes` go into one block: whole tiles of rows, at least 32 rows."""
    unit = max(tile_rows, 32)
    return max(block_bytes // max(row_bytes, 1) // unit, 1) * unit


def _value_name(part: str, index: int) -> bytes:
    return f"{part}:{index:08x}".encode()


class ContainerWriter:
    """Write a container file, block by block, in bounded memory.

    The file appears under `path` at once and is complete only after `close`; whoever calls this renames it then.
    The same calls produce the same bytes.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._parts: dict[str, dict[str, Any]] = {}
        self._checksums: dict[str, list[bytes]] = {}
        self._pages = PageWriter(self.path)

    def declare(
        self,
        part: str,
        dtype: DTypeLike,
        shape: tuple[int, ...],
        *,
        block_rows: int = 0,
        tile_rows: int = 1,
        **more: Any,
    ) -> None:
        """Record what `part` is; its blocks may be put before or after.

        `block_rows` 0 means all rows in one block. A `tile_rows` above 1 says that rows are stored in transposed
        tiles (see `Part`). What else is given goes into the description as it is.
        """
        self._parts[part] = {
            "dtype": np.dtype(dtype).newbyteorder("<").str,
            "shape": list(shape),
            "block_rows": block_rows or max(shape[0] if shape else 1, 1),
            "tile_rows": tile_rows,
            **more,
        }

    def put_block(self, part: str, block: bytes | memoryview | NDArray[Any]) -> None:
        """Append the next block of `part`."""
        sums = self._checksums.setdefault(part, [])
        self._put(_value_name(part, len(sums)), sums, memoryview(block).cast("B") if len(block) else memoryview(b""))

    def put_array(self, part: str, array: NDArray[Any], **more: Any) -> None:
        """Declare `part` and write all of it, in blocks when it is large."""
        array = np.asarray(array, order="C")  # unlike ascontiguousarray, leaves zero dimensions alone
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        row_bytes = array.nbytes // max(len(array), 1) if array.ndim else array.nbytes
        block_rows = min(rows_per_block(row_bytes), max(len(array), 1)) if array.ndim else 1
        self.declare(part, array.dtype, array.shape, block_rows=block_rows, **more)
        raw = array.reshape(-1).view(np.uint8)
        step = block_rows * row_bytes
        for start in range(0, len(raw), max(step, 1)):
            self.put_block(part, raw[start : start + step])

    def read_block(self, part: str, index: int) -> bytes:
        """Return a block that was put before, padding included."""
        return self._pages.get(_value_name(part, index))

    def close(self, description: Mapping[str, Any]) -> str:
        """Write the description, make the file durable, and return its fingerprint."""
        at, sums = 0, []
        for part in sorted(self._parts):
            own = self._checksums.get(part, [])
            self._parts[part] |= {"blocks": len(own), "checksums_at": at}
            sums += own
            at += sum(map(len, own)) // 8
        every = b"".join(sums)
        self._put(CHECKSUMS, [], memoryview(every))
        document = {
            **description,
            "parts": self._parts,
            "checksums": {"chunk_bytes": CHUNK_BYTES, "count": at, "xxh3": f"{checksum(every):016x}"},
        }
        body = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        head = _HEADER.pack(MAGIC, *FORMAT_VERSION, len(body), 0)
        total = checksum(head[:-8] + body)
        self._put(DESCRIPTION, [], memoryview(_HEADER.pack(MAGIC, *FORMAT_VERSION, len(body), total) + body))
        self._pages.close()
        return f"{total:016x}"

    def abort(self) -> None:
        """Give up: release the file without completing it."""
        self._pages.abort()

    def _put(self, name: bytes, sums: list[bytes], block: memoryview) -> None:
        value = PageWriter.filled(block)
        self._pages.put(name, value)
        chunks = range(0, len(value), CHUNK_BYTES)
        sums.append(b"".join(struct.pack("<Q", checksum(value[at : at + CHUNK_BYTES])) for at in chunks))


class ColumnWriter:
    """Write a part of one number a row as the rows arrive."""

    def __init__(self, container: ContainerWriter, part: str, dtype: DTypeLike) -> None:
        self._container, self._part, self._dtype = container, part, np.dtype(dtype)
        self._buffer = BlockBuffer(np.empty(rows_per_block(self._dtype.itemsize), self._dtype))

    def add(self, values: NDArray[Any]) -> None:
        """Append the values of the next rows."""
        for block in self._buffer.add(values):
            self._put(block)

    def close(self) -> None:
        """Write the last block and declare the part."""
        self._put(self._buffer.rest())
        rows, block_rows = self._buffer.rows, len(self._buffer.block)
        self._container.declare(self._part, self._dtype, (rows,), block_rows=block_rows)

    def _put(self, block: NDArray[Any]) -> None:
        if len(block):
            self._container.put_block(self._part, block.view(np.uint8))


class Container:
    """A container file, mapped read-only.

    Attributes
    ----------
    path : str
    description : dict
        The JSON document of the file.
    version : (int, int)
        Format version the file was written in.
    fingerprint : str
        Checksum of the description, 16 hexadecimal digits. It covers the checksums of all parts, so it stands for
        the whole content of the file.
    data : (size,) uint8
        The whole file, up to its last whole word: a view on the map. Views of it stay valid as long as they are
        referenced, also after `close`.
    """

    def __init__(self, path: str | Path | MappedFile, *, check: bool = True, safe: bool = False) -> None:
        mapped = path if isinstance(path, MappedFile) else MappedFile(path, safe=safe)
        self.path, self.check = mapped.path, check
        mapped.advise("MADV_RANDOM")  # pages of the tree are far apart: what lies around them is not wanted yet
        self._extents = read_tree(mapped.data, self.path)
        self.data = mapped.data[: len(mapped.data) // 8 * 8]  # whole words, whatever a copy has added
        self.version, self.description, self.fingerprint = self._read_description()
        self._about = field(self.description, "parts", dict, self.path)
        self.checksums = self._read_checksums()
        mapped.advise("MADV_NORMAL")  # from here on what is read is read in runs
        self._parts: dict[str, Part] = {}
        self._identities: dict[str, tuple[Any, ...]] = {}

    def expect(
        self, name: str, dtype: str | None = None, shape: tuple[int, ...] | None = None, *, encoding: str | None = None
    ) -> Part:
        """Return a part of this type, shape and encoding, row after row; raises `CorruptError` for any other."""
        part = self.part(name)
        fits = (dtype is None or part.dtype == dtype) and (shape is None or part.shape == shape)
        if not fits or part.encoding != encoding or part.tile_rows != 1:
            expected = ", ".join(str(each) for each in (shape, dtype, encoding) if each is not None)
            found = f"{part.shape}, {part.dtype.str}" + (f", {part.encoding!r:.40}" if part.encoding else "")
            raise CorruptError(
                f"part {name!r} is malformed", path=self.path, expected=expected or "plain rows", found=found
            )
        return part

    def part(self, name: str) -> Part:
        """Return a part; raises `CorruptError` when the file lacks it or it lacks blocks.

        It may be anything: what reads it uses `expect`, or looks at its encoding itself.
        """
        if name not in self._parts:
            self._parts[name] = self._open_part(name)
        return self._parts[name]

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all parts that begin with `prefix`."""
        return [name for name in self._about if name.startswith(prefix)]

    def identity(self, prefix: str) -> tuple[Any, ...]:
        """Return what is equal for parts of two files whose names begin with `prefix` only if they hold the same.

        That is their names, types, shapes and checksums: no part is opened, and no value read.
        """
        if prefix not in self._identities:  # every shard asks for that of the model they share
            self._identities[prefix] = self._identity(prefix)
        return self._identities[prefix]

    def _identity(self, prefix: str) -> tuple[Any, ...]:
        told = []
        for name in sorted(self.names(prefix)):
            about = field(self._about, name, dict, self.path)
            sizes = self._extents_of(name, about)[:, 1].tolist()
            first = whole(about, "checksums_at", self.path)
            sums = self.checksums[first : first + sum(-(-size // CHUNK_BYTES) for size in sizes)]
            told.append((name, str(about.get("dtype")), str(about.get("shape")), *sizes, sums.tobytes()))
        return tuple(told)

    def span_of(self, name: bytes) -> tuple[int, int]:
        """Return where a value of the file begins and ends."""
        extent = self._extents[name]
        return extent.offset, extent.offset + extent.size

    def spans_of(self, part: str) -> list[tuple[int, int]]:
        """Return where the blocks of a part begin and end."""
        extents = self._extents_of(part, self._described(part))
        return [(offset, offset + size) for offset, size in extents.tolist()]

    @property
    def size_bytes(self) -> int:
        """Bytes of all parts, as `verify` checks them."""
        return sum(int(self.part(name).sizes.sum()) for name in self.names())

    def verify(self) -> int:
        """Check every block of every part; return the bytes checked or raise `CorruptError`."""
        return sum(self.checking())

    def checking(self) -> Iterator[int]:
        """Check every block of every part, and yield how many bytes are checked at a time; raises `CorruptError`."""
        for name in self.names():
            yield from self.part(name).checking()

    def _value(self, name: bytes) -> memoryview:
        extent = self._extents.get(name)
        if extent is None:
            raise FormatError(f"not a vecstore store: no entry {name.decode()!r}", path=self.path)
        return memoryview(self.data)[extent.offset : extent.offset + extent.size]

    def _read_description(self) -> tuple[tuple[int, int], dict[str, Any], str]:
        value = self._value(DESCRIPTION)
        if len(value) < _HEADER.size or bytes(value[:8]) != MAGIC:
            raise FormatError("not a vecstore store: no vecstore description", path=self.path)
        _, major, minor, length, expected = _HEADER.unpack_from(value)
        if major > FORMAT_VERSION[0]:
            raise UnsupportedVersionError(
                "written by a newer vecstore: upgrade this one",
                path=self.path,
                expected=f"format {FORMAT_VERSION[0]}.x",
                found=f"{major}.{minor}",
            )
        body = value[_HEADER.size : _HEADER.size + length]
        if len(body) != length or checksum(bytes(value[: _HEADER.size - 8]) + bytes(body)) != expected or not major:
            raise CorruptError("damaged description: restore the file from a copy", path=self.path)
        self._refuse_rest(value[_HEADER.size + length :])
        return (major, minor), parse(bytes(body), self.path), f"{expected:016x}"

    def _read_checksums(self) -> NDArray[np.uint64]:
        about = field(self.description, "checksums", dict, self.path)
        size = 8 * whole(about, "count", self.path)
        whole_value = self._value(CHECKSUMS)
        value = whole_value[:size]
        if len(value) != size or f"{checksum(value):016x}" != about.get("xxh3"):
            raise CorruptError("damaged checksums: restore the file from a copy", path=self.path)
        self._refuse_rest(whole_value[size:])
        if about.get("chunk_bytes") != CHUNK_BYTES:
            raise CorruptError("member 'chunk_bytes' is malformed", path=self.path, expected=str(CHUNK_BYTES))
        return np.frombuffer(value, "<u8")

    def _refuse_rest(self, rest: memoryview) -> None:
        """Raise `CorruptError` unless what fills up a value that no checksum covers is zeros."""
        if np.frombuffer(rest, np.uint8).any():
            raise CorruptError("what follows the description or checksums is not zeros", path=self.path)

    def warm(self) -> None:
        """Touch every page of the file, so that it is in memory."""
        np.bitwise_or.reduce(self.data[::TOUCHED_BYTES])

    def _open_part(self, name: str) -> Part:
        about = self._described(name)
        extents = self._extents_of(name, about)
        return Part(name, about, extents, data=self.data, checksums=self.checksums, path=self.path, check=self.check)

    def _described(self, name: str) -> dict[str, Any]:
        """Return what the description says of a part."""
        if name not in self._about:
            raise CorruptError(f"the store has no part {name!r}", path=self.path)
        return field(self._about, name, dict, self.path)

    def _extents_of(self, name: str, about: dict[str, Any]) -> NDArray[np.int64]:
        """Return where the blocks of a part lie: (blocks, 2), offsets and sizes."""
        blocks = whole(about, "blocks", self.path, most=len(self._extents))
        try:
            return self._extents.of(_value_name(name, index) for index in range(blocks))
        except KeyError:
            message = f"part {name!r} has lost blocks: restore the file from a copy"
            raise CorruptError(message, path=self.path) from None
