"""vecstore: compact, self-describing, memory-mapped stores for embeddings.

Convert a dump once, then look vectors up and search them from any number of processes::

    vecstore.convert("vectors.npy", "vectors.vecs", "opq:48")
    store = vecstore.open("vectors.vecs")
    store["key"], store.search(query, k=10)

Names are loaded at first use: opening a store and reading a vector imports little more than numpy.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vecstore.codecs.codec import Codec, CodecSpec, codec
    from vecstore.conversion.capacity import plan
    from vecstore.conversion.certifying.renewal import certify
    from vecstore.conversion.conversion import convert, write
    from vecstore.conversion.report import Report
    from vecstore.conversion.shards.writer import Writer
    from vecstore.editing.bucket import upload
    from vecstore.editing.cleaning import clean, restore, tag, untag
    from vecstore.editing.compaction import compact
    from vecstore.editing.edit import edit
    from vecstore.errors import VecstoreError
    from vecstore.fields.dense.dense import Dense
    from vecstore.fields.dense.muvera import Muvera
    from vecstore.fields.multi.multi import Multi
    from vecstore.fields.sparse.sparse import Sparse
    from vecstore.search.result import SearchResult
    from vecstore.store.store import Store
    from vecstore.store.store import open_store as open
    from vecstore.store.vectors import Vectors
    from vecstore.tuning.result import Tuned
    from vecstore.tuning.tuner import tune
    from vecstore.version import __version__

_HOMES = {
    "Codec": "vecstore.codecs.codec:Codec",
    "CodecSpec": "vecstore.codecs.codec:CodecSpec",
    "Dense": "vecstore.fields.dense.dense:Dense",
    "Multi": "vecstore.fields.multi.multi:Multi",
    "Muvera": "vecstore.fields.dense.muvera:Muvera",
    "Report": "vecstore.conversion.report:Report",
    "SearchResult": "vecstore.search.result:SearchResult",
    "Sparse": "vecstore.fields.sparse.sparse:Sparse",
    "Store": "vecstore.store.store:Store",
    "Tuned": "vecstore.tuning.result:Tuned",
    "VecstoreError": "vecstore.errors:VecstoreError",
    "Vectors": "vecstore.store.vectors:Vectors",
    "Writer": "vecstore.conversion.shards.writer:Writer",
    "__version__": "vecstore.version:__version__",
    "certify": "vecstore.conversion.certifying.renewal:certify",
    "clean": "vecstore.editing.cleaning:clean",
    "compact": "vecstore.editing.compaction:compact",
    "codec": "vecstore.codecs.codec:codec",
    "convert": "vecstore.conversion.conversion:convert",
    "edit": "vecstore.editing.edit:edit",
    "open": "vecstore.store.store:open_store",
    "plan": "vecstore.conversion.capacity:plan",
    "restore": "vecstore.editing.cleaning:restore",
    "tag": "vecstore.editing.cleaning:tag",
    "tune": "vecstore.tuning.tuner:tune",
    "untag": "vecstore.editing.cleaning:untag",
    "upload": "vecstore.editing.bucket:upload",
    "write": "vecstore.conversion.conversion:write",
}

__all__ = [
    "Codec",
    "CodecSpec",
    "Dense",
    "Multi",
    "Muvera",
    "Report",
    "SearchResult",
    "Sparse",
    "Store",
    "Tuned",
    "VecstoreError",
    "Vectors",
    "Writer",
    "__version__",
    "certify",
    "clean",
    "codec",
    "compact",
    "convert",
    "edit",
    "open",
    "plan",
    "restore",
    "tag",
    "tune",
    "untag",
    "upload",
    "write",
]


class _Beside:
    """Finds `formats` and `bench` in a checkout, where they lie beside this folder; the wheel has them in it."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        package, _, folder = name.rpartition(".")
        if package != __name__ or folder not in ("formats", "bench"):
            return None
        from importlib.util import spec_from_file_location

        place = os.path.join(os.path.dirname(os.path.dirname(__file__)), folder)
        return spec_from_file_location(name, os.path.join(place, "__init__.py"), submodule_search_locations=[place])


if not os.path.isdir(os.path.join(os.path.dirname(__file__), "formats")):
    sys.meta_path.insert(0, _Beside)  # before what an editable install of another checkout brings


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'vecstore' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
