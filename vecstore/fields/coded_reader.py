"""What readers of fields have in common whose vectors a codec of their own encodes."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property

from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.container.document import field, whole
from vecstore.fields.reader import FieldReader

__all__ = ["CodedReader"]

MOST_DIMENSIONS = 1 << 20


class CodedReader(FieldReader):
    """The vectors of a shard's field, in codes.

    Attributes
    ----------
    dimensions : int
        How wide they are.
    """

    @cached_property
    def dimensions(self) -> int:
        return whole(self.about, "dimensions", self._container.path, least=1, most=MOST_DIMENSIONS)

    @cached_property
    def codec(self) -> Codec:
        """The trained codec of one vector; the same object in shards that hold the same."""
        if self.likeness not in self._models:
            self._models[self.likeness] = self._restored()
        return self._models[self.likeness]

    def _restored(self) -> Codec:
        prefix = f"{self.prefix}model."
        layers = field(self.about, "codec", list, self._container.path)
        cells = self.about.get("cells")
        spec = CodecSpec.from_dict(layers if cells is None else {"cells": cells, "layers": layers})
        arrays = {
            name.removeprefix(prefix): self._container.expect(name).array() for name in self._container.names(prefix)
        }
        codec = Codec.restore(spec, self.dimensions, arrays)
        self._refuse(codec)
        return codec

    @abstractmethod
    def _refuse(self, codec: Codec) -> None:
        """Raise `CorruptError` where a field of this kind cannot have the codec."""
