"""Trained codecs as results that are kept in files, and as workers read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from numpy.typing import NDArray

from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.codecs.mixed.mixed import MixedCodec, MixedSpec
from vecstore.conversion.tasks.options import TrainedCodec

__all__ = ["SavedCodec"]


@dataclass(frozen=True)
class SavedCodec:
    """A trained codec, or those of a mixed one."""

    codec: TrainedCodec

    def saved(self) -> tuple[dict[str, Any], Mapping[str, NDArray[Any]]]:
        """Return it as JSON and arrays."""
        each = [self.codec] if isinstance(self.codec, Codec) else self.codec.codecs
        document: dict[str, Any] = {
            "dimensions": self.codec.dimensions,
            "specs": [codec.spec.to_dict() for codec in each],
        }
        if isinstance(self.codec, MixedCodec):
            document |= {"stops": list(self.codec.spec.stops), "measured": self.codec.measured}
        arrays = {f"{number}/{name}": a for number, codec in enumerate(each) for name, a in codec.arrays.items()}
        return document, arrays

    @classmethod
    def restored(cls, document: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Undo `saved`."""
        each = []
        for number, about in enumerate(document["specs"]):
            own = {name.partition("/")[2]: a for name, a in arrays.items() if name.startswith(f"{number}/")}
            each.append(Codec.restore(CodecSpec.from_dict(about), document["dimensions"], own))
        if "stops" not in document:
            return cls(each[0])
        spec = MixedSpec.joined([codec.spec for codec in each], document["stops"])
        return cls(MixedCodec(spec, each, document["measured"]))
