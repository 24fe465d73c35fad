"""vecstore: compact, self-describing, memory-mapped stores for embeddings.

Convert a dump once, then look vectors up and search them from any number of processes::

    vecstore.convert("vectors.npy", "vectors.vecs", "opq:48")
    store = vecstore.open("vectors.vecs")
    store["key"], store.search(query, k=10)

Names are loaded at first use: opening a store and reading a vector imports little more than numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vecstore.codecs.codec import Codec
    from vecstore.codecs.spec import CodecSpec, codec
    from vecstore.conversion import Report, convert, write
    from vecstore.errors import VecstoreError
    from vecstore.search import SearchResult
    from vecstore.store import Store
    from vecstore.store import open_store as open
    from vecstore.tuning.result import Tuned
    from vecstore.tuning.tuner import tune
    from vecstore.vectors import Vectors
    from vecstore.version import __version__
    from vecstore.writer import Writer

_HOMES = {
    "Codec": "vecstore.codecs.codec:Codec",
    "CodecSpec": "vecstore.codecs.spec:CodecSpec",
    "Report": "vecstore.conversion:Report",
    "SearchResult": "vecstore.search:SearchResult",
    "Store": "vecstore.store:Store",
    "Tuned": "vecstore.tuning.result:Tuned",
    "VecstoreError": "vecstore.errors:VecstoreError",
    "Vectors": "vecstore.vectors:Vectors",
    "Writer": "vecstore.writer:Writer",
    "__version__": "vecstore.version:__version__",
    "codec": "vecstore.codecs.spec:codec",
    "convert": "vecstore.conversion:convert",
    "open": "vecstore.store:open_store",
    "tune": "vecstore.tuning.tuner:tune",
    "write": "vecstore.conversion:write",
}

__all__ = [
    "Codec",
    "CodecSpec",
    "Report",
    "SearchResult",
    "Store",
    "Tuned",
    "VecstoreError",
    "Vectors",
    "Writer",
    "__version__",
    "codec",
    "convert",
    "open",
    "tune",
    "write",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'vecstore' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
