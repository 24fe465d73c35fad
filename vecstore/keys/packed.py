"""Keys: their types, and many of them packed into one run of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import ShapeError

__all__ = ["KERNEL_KEYS", "Key", "KeyType", "PackedKeys", "key_from_bytes", "key_type_of"]

Key: TypeAlias = str | bytes | int
KeyType: TypeAlias = Literal["str", "bytes", "int64"]

KERNEL_KEYS = 256  # from this many keys on, a compiled lookup pays for itself


def key_type_of(keys: Sequence[Any] | NDArray[Any]) -> KeyType:
    """Return the type that all `keys` have; raises `ShapeError` when they mix or have another one."""
    if isinstance(keys, np.ndarray) and keys.dtype.kind in "iu":
        if keys.dtype.kind == "u" and len(keys) and int(keys.max()) > np.iinfo(np.int64).max:
            raise ShapeError("integer keys go up to 2**63 - 1; store larger ones as strings")
        return "int64"
    kinds = {type(key) for key in keys}
    names: dict[KeyType, tuple[type, ...]] = {"str": (str, np.str_), "bytes": (bytes, np.bytes_)}
    for name, types in names.items():
        if kinds and kinds <= set(types):
            return name
    if kinds and all(issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds):
        return "int64"
    found = ", ".join(sorted(kind.__name__ for kind in kinds)) or "none"
    raise ShapeError(f"keys must be all str, all bytes or all int, found {found}")


def key_from_bytes(raw: bytes, key_type: KeyType) -> Key:
    """Return the key that was packed as `raw`; raises `UnicodeDecodeError` for a str that is no UTF-8."""
    if key_type == "str":
        return raw.decode()
    return raw if key_type == "bytes" else int.from_bytes(raw, "little", signed=True)


class PackedKeys:
    """Keys as one run of bytes: key i is text[starts[i] : starts[i + 1] - gap].

    Integers are packed as 8 bytes each, little-endian.
    """

    gap = 0

    def __init__(self, keys: Sequence[Any] | NDArray[Any], key_type: KeyType) -> None:
        self.key_type = key_type
        if key_type == "int64":
            given = np.asarray(keys)
            # Nothing is converted: 1.5 must not become the key 1, nor 2**64 - 1 the key -1.
            whole = given.ndim == 1 and (not len(given) or given.dtype.kind in "iu")
            if not whole or (len(given) and given.max() > np.iinfo(np.int64).max):
                raise ShapeError("integer keys go from -2**63 to 2**63 - 1; store larger ones as strings")
            self.integers = np.ascontiguousarray(given, "<i8")
            self.text: NDArray[np.uint8] = self.integers.view(np.uint8)
            self.starts = np.arange(0, 8 * len(keys) + 1, 8, dtype=np.int64)
            return
        try:
            joined = "\0".join(keys).encode() if key_type == "str" else b"\0".join(keys)
        except UnicodeEncodeError as error:
            bad = error.object[max(error.start - 20, 0) : error.end]
            raise ShapeError(f"a key cannot be written as UTF-8, at {bad!r}; pass bytes keys instead") from None
        self.text = np.frombuffer(joined, np.uint8)
        zeros = np.flatnonzero(self.text == 0)
        if len(zeros) == len(keys) - 1:  # the zeros are the separators: no key has one
            self.gap = 1
            self.starts = np.concatenate([[0], zeros + 1, [len(joined) + 1]])
            return
        encoded = [key.encode() for key in keys] if key_type == "str" else keys
        self.text = np.frombuffer(b"".join(encoded), np.uint8)
        self.starts = np.zeros(len(keys) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(keys)), out=self.starts[1:])

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each key: (n,) int64."""
        return np.diff(self.starts) - self.gap

    @classmethod
    def of_text(cls, text: NDArray[np.uint8], lengths: NDArray[Any], key_type: KeyType) -> PackedKeys:
        """Return the keys that lie one after the other in `text`, of these lengths."""
        packed = cls.__new__(cls)
        packed.key_type, packed.text = key_type, text
        packed.starts = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=packed.starts[1:])
        if key_type == "int64":
            packed.integers = text.view("<i8")
        return packed

    @classmethod
    def joined(cls, several: Sequence[PackedKeys]) -> PackedKeys:
        """Return all keys of one or more, in order; none of them may have gaps, which `take` does away with."""
        lengths = np.concatenate([keys.lengths for keys in several])
        return cls.of_text(np.concatenate([keys.text for keys in several]), lengths, several[0].key_type)

    def take(self, chosen: NDArray[np.int64]) -> PackedKeys:
        """Return the keys of these places."""
        lengths = self.lengths[chosen]
        starts = np.cumsum(lengths) - lengths
        places = np.repeat(self.starts[chosen] - starts, lengths) + np.arange(int(lengths.sum()))
        return PackedKeys.of_text(self.text[places], lengths, self.key_type)

    def hashes(self, seed: int = 0) -> NDArray[np.uint64]:
        """Return the XXH64 of each key: (n,) uint64."""
        from vecstore.kernels.hashing import xxh64_packed

        return xxh64_packed(self.text, self.starts, gap=self.gap, seed=seed)
