"""What differs by the type of keys: how one becomes bytes and back, how many are packed, what people call them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import OptionError, ShapeError

__all__ = ["KINDS", "Key", "KeyKind", "KeyType", "Run", "as_keys", "is_single", "key_type_of"]

Key: TypeAlias = str | bytes | int
KeyType: TypeAlias = Literal["str", "bytes", "int64"]
Run: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64], int]  # text, starts and gap of `PackedKeys`

INT64 = np.iinfo(np.int64)


class KeyKind(ABC):
    """One type of keys."""

    name: KeyType
    label: str  # as people are told

    @abstractmethod
    def raw(self, key: Any) -> bytes | None:
        """Return the bytes under which a key is hashed and compared; None when it is no key of this type."""

    @abstractmethod
    def decoded(self, raw: bytes) -> Key:
        """Return the key that was packed as `raw`; raises `UnicodeDecodeError` for a str that is no UTF-8."""

    @abstractmethod
    def packed(self, keys: Sequence[Any] | NDArray[Any]) -> Run:
        """Return many keys as one run of bytes; raises `OptionError` for those that cannot be stored."""

    @abstractmethod
    def typed(self, text: str) -> Key:
        """Return the key that an argument of the command line means; raises `ValueError` when it is none."""

    def column(self, keys: Sequence[Any] | NDArray[Any]) -> Any:
        """Return keys of this type as a batch of a dump carries them: a list, or (n,) int64."""
        return list(keys)


class _StrKeys(KeyKind):
    name, label = "str", "strings"

    def raw(self, key: Any) -> bytes | None:
        try:
            return str.encode(key)
        except (TypeError, UnicodeEncodeError):
            return None

    def decoded(self, raw: bytes) -> str:
        return raw.decode()

    def packed(self, keys: Sequence[Any] | NDArray[Any]) -> Run:
        try:
            joined = "\0".join(keys).encode()
        except UnicodeEncodeError as error:
            bad = error.object[max(error.start - 20, 0) : error.end]
            raise OptionError(f"a key cannot be written as UTF-8, at {bad!r}; pass bytes keys instead") from None
        return _split(joined, len(keys)) or _run([key.encode() for key in keys])

    def typed(self, text: str) -> str:
        return text


class _BytesKeys(KeyKind):
    name, label = "bytes", "bytes"

    def raw(self, key: Any) -> bytes | None:
        return bytes(key) if isinstance(key, bytes) else None

    def decoded(self, raw: bytes) -> bytes:
        return raw

    def packed(self, keys: Sequence[Any] | NDArray[Any]) -> Run:
        return _split(b"\0".join(keys), len(keys)) or _run(keys)

    def typed(self, text: str) -> bytes:
        return os.fsencode(text)


class _IntegerKeys(KeyKind):
    name, label = "int64", "integers (int64)"

    def raw(self, key: Any) -> bytes | None:
        if not isinstance(key, (int, np.integer)) or isinstance(key, bool):
            return None
        try:
            return int(key).to_bytes(8, "little", signed=True)
        except OverflowError:
            return None

    def decoded(self, raw: bytes) -> int:
        return int.from_bytes(raw, "little", signed=True)

    def packed(self, keys: Sequence[Any] | NDArray[Any]) -> Run:
        given = np.asarray(keys)
        # Nothing is converted: 1.5 must not become the key 1, nor 2**64 - 1 the key -1.
        whole = given.ndim == 1 and (not len(given) or given.dtype.kind in "iu")
        if not whole or (len(given) and given.max() > INT64.max):
            raise OptionError("integer keys go from -2**63 to 2**63 - 1; store larger ones as strings")
        text = np.ascontiguousarray(given, "<i8").view(np.uint8)
        return text, np.arange(0, 8 * len(given) + 1, 8, dtype=np.int64), 0

    def typed(self, text: str) -> int:
        return int(text)

    def column(self, keys: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        return np.asarray(keys, np.int64)


KINDS: dict[KeyType, KeyKind] = {kind.name: kind for kind in (_StrKeys(), _BytesKeys(), _IntegerKeys())}


def is_single(key: Any) -> bool:
    """Return whether `key` is one key, or nothing that holds several."""
    return isinstance(key, (str, bytes, int, np.integer)) or not hasattr(key, "__iter__")


def as_keys(keys: Any) -> Sequence[Any] | NDArray[Any]:
    """Return several keys as a list or an array (n,).

    Raises `OptionError` for a single key: a string would be read as its letters. `ShapeError` for other dimensions.
    """
    if is_single(keys) or (isinstance(keys, np.ndarray) and not keys.ndim):
        raise OptionError(f"several keys are a list; for the single key {keys!r} write [{keys!r}]")
    if isinstance(keys, np.ndarray) and keys.ndim != 1:
        raise ShapeError(f"keys are a one-dimensional list, found shape {keys.shape}")
    return keys if isinstance(keys, (list, tuple, np.ndarray)) else list(keys)


def key_type_of(keys: Sequence[Any] | NDArray[Any]) -> KeyType:
    """Return the type that all `keys` have; raises `OptionError` when they mix or have another one."""
    if isinstance(keys, np.ndarray) and keys.dtype.kind in "iu":
        if keys.dtype.kind == "u" and len(keys) and int(keys.max()) > INT64.max:
            raise OptionError("integer keys go up to 2**63 - 1; store larger ones as strings")
        return "int64"
    kinds = {type(key) for key in keys}
    names: dict[KeyType, tuple[type, ...]] = {"str": (str, np.str_), "bytes": (bytes, np.bytes_)}
    for name, types in names.items():
        if kinds and kinds <= set(types):
            return name
    if kinds and all(issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds):
        return "int64"
    found = ", ".join(sorted(kind.__name__ for kind in kinds)) or "none"
    raise OptionError(f"keys must be all str, all bytes or all int, found {found}")


def _split(joined: bytes, count: int) -> Run | None:
    """Return the run of keys joined by zeros, or None when one of them holds a zero itself."""
    text = np.frombuffer(joined, np.uint8)
    zeros = np.flatnonzero(text == 0)
    if len(zeros) != count - 1:
        return None
    return text, np.concatenate([[0], zeros + 1, [len(joined) + 1]]), 1


def _run(encoded: Sequence[bytes] | NDArray[Any]) -> Run:
    starts = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=starts[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), starts, 0
