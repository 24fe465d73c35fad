"""The codec contract: three kinds of step, and what each must be able to do.

A step comes in two states. Its *configuration* is a frozen dataclass: what the specification string says
(``PQ(m=48, bits=8)``). Its *trained* form, returned by ``fit``, holds named arrays and does the work. There is no
unfitted object that fails when used.

To add a codec:

1. Write one file: a configuration with ``fit`` and ``restore``, a trained form with ``encode``, ``decode``, ``arrays``.
2. Name it in `vecstore.codecs.registry`, or in another package under the entry-point group ``vecstore.codecs``.
3. Name a specification of it in ``tests/unit/codecs/test_codec_contract.py``: the contract is tested for it.
4. Name it in the table of ``docs/codecs.md``, which shows a whole codec in 30 lines.

What only codecs need whose rows share tables is in `vecstore.codecs.tables.table`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, ClassVar, Literal, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.members import allowed_members
from vecstore.errors import CodecError
from vecstore.kernels.arguments import Decoding

__all__ = [
    "Arrays",
    "ByteStep",
    "CodeKind",
    "Codes",
    "Floats",
    "Numbers",
    "Quantizer",
    "Step",
    "TrainedQuantizer",
    "TrainedTransform",
    "Transform",
    "frozen",
    "named",
]

CodeKind: TypeAlias = Literal["tables16", "tables256", "numbers", "trellis", "decoded"]
Floats: TypeAlias = NDArray[np.float32]
Codes: TypeAlias = NDArray[np.uint8]
Arrays: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Step(ABC):
    """One step's configuration; the dataclass fields are what the specification string and the JSON carry."""

    name: ClassVar[str]
    kind: ClassVar[Literal["transform", "quantizer", "bytes", "partition"]]
    summary: ClassVar[str]
    usage: ClassVar[str]

    def __post_init__(self) -> None:
        for name, allowed in allowed_members(type(self)).items():
            value = getattr(self, name)
            if not allowed.holds(value):
                raise CodecError(f"{self.name}: {name}={value!r:.40}; choose {allowed.described()} ({self.usage})")

    def check_width(self, dimensions: int) -> None:
        """Raise `CodecError` where a member asks for more than vectors of so many dimensions have."""
        for name, allowed in allowed_members(type(self)).items():
            value = getattr(self, name)
            if not allowed.holds(value, dimensions):
                choice = allowed.described(dimensions)
                raise CodecError(f"{self.name}: {name}={value} of {dimensions} dimensions; choose {choice}")

    @classmethod
    def from_arguments(cls, *arguments: str) -> Self:
        """Build from what stands behind the name in a specification string, split at the colons.

        By default each argument is an integer for the field of the same place.
        """
        names = [field.name for field in fields(cls)]
        if len(arguments) > len(names):
            raise CodecError(f"{cls.name} takes at most {len(names)} arguments, found {len(arguments)}: {cls.usage}")
        values = {name: cls.integer(text) for name, text in zip(names, arguments, strict=False)}
        try:
            return cls(**values)
        except TypeError:
            needed = [field.name for field in fields(cls) if field.default is MISSING]
            raise CodecError(f"{cls.name} needs {', '.join(needed)}: {cls.usage}") from None

    @classmethod
    def crossed(cls, arguments: tuple[str, ...], second: int) -> Self:
        """Build from the one argument ``AxB``, or from ``A``, which stands for A and `second`."""
        if len(arguments) != 1:
            raise CodecError(f"{cls.name} takes one argument: {cls.usage}")
        first, cross, other = arguments[0].partition("x")
        return cls(cls.integer(first), cls.integer(other) if cross else second)  # type: ignore[call-arg]  # a subclass has two

    @classmethod
    def integer(cls, text: str) -> int:
        """Return `text` as a whole number or raise `CodecError`."""
        if not (text.isascii() and text.isdecimal() and len(text) < 20):
            raise CodecError(f"{cls.name}: {text[:40]!r} is not a whole number: {cls.usage}")
        return int(text)

    def __str__(self) -> str:
        return ":".join([self.name, *(str(value) for value in asdict(self).values())])

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"name": ..., "configuration": {...}}``, as the file holds it."""
        return {"name": self.name, "configuration": asdict(self)}

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any]) -> Self:
        """Build from the configuration that `to_dict` gave; fields unknown here are an error."""
        try:
            for field in fields(cls):  # those whose values are declared are compared with them
                value = configuration.get(field.name, field.default)
                if field.type == "str" and not isinstance(value, str):
                    raise TypeError(f"{field.name} is not {field.type}")
            return cls(**configuration)
        except (AttributeError, TypeError) as error:
            raise CodecError(f"{cls.name}: configuration {configuration!r} does not fit: {error}") from None


class TrainedTransform(ABC):
    """A transform that has seen its data; maps (n, dimensions_in) to (n, dimensions)."""

    dimensions_in: int
    dimensions: int
    shifts: ClassVar[bool] = False  # whether `invert` adds the same vector to all, and does nothing else

    @abstractmethod
    def apply(self, x: Floats) -> Floats:
        """Map vectors to the space that the next step works in."""

    @abstractmethod
    def invert(self, z: Floats) -> Floats:
        """Map back: (n, dimensions) to (n, dimensions_in). Must be affine in `z`: scoring relies on it."""

    def prefix(self, dimensions: int) -> TrainedTransform | None:
        """Return the transform of the first dimensions alone; None when each output depends on all inputs."""
        return None

    @property
    @abstractmethod
    def arrays(self) -> Arrays:
        """Everything `Transform.restore` needs; little-endian, explicit dtypes."""


class Transform(Step):
    """Array to array."""

    kind: ClassVar[Literal["transform", "quantizer", "bytes", "partition"]] = "transform"

    @abstractmethod
    def fit(self, x: Floats, *, seed: int) -> TrainedTransform:
        """Train on a sample (n, d) float32."""

    @abstractmethod
    def restore(self, dimensions_in: int, arrays: Arrays) -> TrainedTransform:
        """Rebuild the trained form from what its `arrays` gave."""


@dataclass(frozen=True)
class Numbers:
    """Codes that are numbers side by side: z = offset + scale * number.

    Attributes
    ----------
    dtype : {"u1", "u6", "f2", "bf2", "f4"}
        bf2 is bfloat16; u6 are the six bits of `sq:6`, in its packing.
    scale, offset : (dimensions,) float32
    """

    dtype: Literal["u1", "u6", "f2", "bf2", "f4"]
    scale: Floats
    offset: Floats


class TrellisCode(Protocol):
    """What a scan of `tcq` codes works with: coefficients y along orthonormal axes, x = y @ axes + mean.

    Attributes
    ----------
    layout : CodeLayout
    states : int
    levels : (layout.starts[-1],) float32
    mean : (dimensions,) float32
    code_bytes : int
    axes : (coefficients, dimensions) float32
    decoding : kernels.arguments.Decoding
        How codes are decoded.
    """

    layout: Any
    states: int
    levels: Floats
    mean: Floats
    code_bytes: int

    @property
    def axes(self) -> Floats: ...

    @property
    def decoding(self) -> Decoding: ...

    def coefficients(self, codes: Codes) -> Floats:
        """Return the coefficients of codes: (n, coefficients)."""

    def with_levels(self, levels: Floats) -> TrellisCode:
        """Return the same with other levels."""


class TrainedQuantizer(ABC):
    """A quantizer that has seen its data; maps (n, dimensions) float32 to (n, code_bytes) uint8 and back.

    `tile_rows` says in which layout its codes lie in a file: 1 for row after row, T for transposed tiles of T rows.
    `code_kind` says what scans its codes: "tables16" and "tables256" add up entries of the tables that `tables` gives,
    "numbers" multiplies the numbers that `numbers` describes, "trellis" looks up bits of `tcq` codes, and "decoded"
    decodes blocks of them, which needs nothing more and is the slowest.
    `item_bytes` is the size of one number in a code, for byte steps that shuffle.
    `lossless` says that vectors come back as they were.
    """

    dimensions: int
    code_bytes: int
    tile_rows: int = 1
    code_kind: CodeKind = "decoded"
    item_bytes: int = 1
    lossless: bool = False

    @abstractmethod
    def encode(self, z: Floats) -> Codes:
        """Return the codes of vectors."""

    @abstractmethod
    def decode(self, codes: Codes) -> Floats:
        """Return the vectors that codes stand for; the array may share memory with `codes`."""

    def tables(self, linear: Floats, quadratic: Floats | None = None) -> Floats | None:
        """Return tables T, one set a query, whose entries picked by a code add up to a score: (q, tables, entries).

        linear is (q, dimensions), quadratic (dimensions,) or None. For query q and the vector z that `decode` gives for
        a code, sum_i linear[q, i] z[i] + quadratic[i] z[i]**2 is, with T of shape (q, code_bytes, 256),
        sum_j T[q, j, code[j]]; or, with T of shape (q, 2 * code_bytes, 16), the sum over the low and high halves of
        the bytes, T[q, 2 * j, code[j] & 15] + T[q, 2 * j + 1, code[j] >> 4]. Which of the two it is does not depend
        on the arguments. None says that the code is not additive (or that `quadratic` makes it so): such codes are
        scored by decoding blocks.
        """
        return None

    @property
    def facts(self) -> Mapping[str, Any]:
        """What training found out, to be written into a store for people; not kept with the codec."""
        return {}

    def hamming_tables(self, codes: Codes) -> Floats | None:
        """Return tables as `tables` does, that add up to minus the number of bits in which a code differs from these.

        None for codes whose bits are no numbers of one bit a dimension.
        """
        return None

    @property
    def rotated(self) -> tuple[TrainedQuantizer, Floats, Floats] | None:
        """A quantizer of the same codes, orthonormal rows (its dimensions, dimensions) and an offset, if there are.

        ``decode(codes) == quantizer.decode(codes) @ rows + offset``.
        """
        return None

    @property
    def numbers(self) -> Numbers | None:
        """What its codes are if they are plain numbers, one a dimension; else None."""
        return None

    @property
    def trellis(self) -> TrellisCode | None:
        """What a scan of codes of the kind "trellis" works with; None for other kinds."""
        return None

    def prefix(self, dimensions: int) -> TrainedQuantizer | None:
        """Return the quantizer whose codes are the first bytes of these and decode to the first dimensions, or None."""
        return None

    def first_bytes(self, size_bytes: int) -> TrainedQuantizer | None:
        """Return the quantizer that reads only the first bytes of codes, at most so many, for a coarser vector.

        None where the first bytes of a code do not stand for all of a vector. Raises `CodecError` for too few bytes.
        """
        return None

    @property
    @abstractmethod
    def arrays(self) -> Arrays:
        """Everything `Quantizer.restore` needs; little-endian, explicit dtypes."""


class Quantizer(Step):
    """Array to bytes."""

    kind: ClassVar[Literal["transform", "quantizer", "bytes", "partition"]] = "quantizer"

    @abstractmethod
    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        """Train on a sample (n, d) float32."""

    @abstractmethod
    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        """Rebuild the trained form from what its `arrays` gave."""


class ByteStep(Step):
    """Bytes to bytes, without loss; for archival layers, whose codes cannot be scanned where they lie.

    Attributes
    ----------
    of_codes : bool
        It takes codes as they are, so that it comes first: what it unpacks to are as many bytes as the codes have.
    """

    of_codes: ClassVar[bool] = False

    kind: ClassVar[Literal["transform", "quantizer", "bytes", "partition"]] = "bytes"

    def check(self, code_bytes: int) -> None:
        """Raise `CodecError` where codes of so many bytes are not what the step is for."""

    def require(self) -> None:
        """Raise `MissingExtraError` where the library that packs is not installed."""

    @abstractmethod
    def pack(self, block: bytes, item_bytes: int) -> bytes:
        """Return the packed form of a block whose items (numbers) have `item_bytes` bytes each."""

    @abstractmethod
    def unpack(self, packed: bytes, size: int, item_bytes: int) -> bytes:
        """Return the `size` bytes that `pack` was given."""


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` contiguous and read-only."""
    array = np.ascontiguousarray(array)
    if array.flags.writeable:
        array = array.copy() if array.base is not None else array
        array.flags.writeable = False
    return array


def named(arrays: Arrays, *, dtype: str = "<f4", **shapes: tuple[int, ...]) -> list[NDArray[Any]]:
    """Return the arrays of these names, which must have these shapes and the `dtype`, or raise `CodecError`."""
    missing = [name for name in shapes if name not in arrays]
    if missing:
        raise CodecError(f"the file lacks the codec's arrays {missing}")
    for name, shape in shapes.items():
        found = arrays[name]
        if found.shape != shape or found.dtype != dtype:
            raise CodecError(f"the codec's array {name!r} is {found.shape} {found.dtype}, expected {shape} {dtype}")
    return [arrays[name] for name in shapes]
