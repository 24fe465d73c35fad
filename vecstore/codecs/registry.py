"""Codec names: those built in, and those that other packages bring under the entry-point group vecstore.codecs."""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import TYPE_CHECKING

from vecstore.codecs.base import Step
from vecstore.errors import CodecError, UnknownCodecError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["ALIASES", "codec_names", "step_class", "step_class_in_file"]

# Loaded when named, so that opening a store imports only what its codec needs.
BUILT_IN = {
    "normalize": "vecstore.codecs.transforms.normalize:Normalize",
    "center": "vecstore.codecs.transforms.center:Center",
    "pca": "vecstore.codecs.transforms.pca:PCA",
    "whiten": "vecstore.codecs.transforms.pca:Whiten",
    "truncate": "vecstore.codecs.transforms.truncate:Truncate",
    "rotate": "vecstore.codecs.transforms.rotate:Rotate",
    "f32": "vecstore.codecs.scalar.floats:F32",
    "f16": "vecstore.codecs.scalar.floats:F16",
    "bf16": "vecstore.codecs.scalar.floats:BF16",
    "sq": "vecstore.codecs.scalar.sq:SQ",
    "pq": "vecstore.codecs.product.pq:PQ",
    "opq": "vecstore.codecs.product.opq:OPQ",
    "tcq": "vecstore.codecs.trellis.tcq:TCQ",
    "vaq": "vecstore.codecs.product.vaq:VAQ",
    "lloyd": "vecstore.codecs.scalar.lloyd:Lloyd",
    "lvq": "vecstore.codecs.scalar.lvq:LVQ",
    "rabitq": "vecstore.codecs.scalar.rabitq:RaBitQ",
    "rq": "vecstore.codecs.product.rq:RQ",
    "lsq": "vecstore.codecs.product.lsq:LSQ",
    "uniform": "vecstore.codecs.scalar.uniform:Uniform",
    "bin": "vecstore.codecs.scalar.binary:Binary",
    "hash": "vecstore.codecs.tables.hashing:Hash",
    "qr": "vecstore.codecs.tables.qr:QR",
    "floret": "vecstore.codecs.tables.subword:Floret",
    "fasttext": "vecstore.codecs.tables.subword:FastText",
    "hashembed": "vecstore.codecs.tables.hash_embed:HashEmbed",
    "subspace": "vecstore.codecs.tables.subspace:Subspace",
    "anchor": "vecstore.codecs.tables.anchor:Anchor",
    "residual": "vecstore.codecs.tables.residual:Residual",
    "zstd": "vecstore.codecs.bytes.zstd:Zstd",
    "rans": "vecstore.codecs.bytes.rans:Rans",
    "pco": "vecstore.codecs.bytes.pco:Pco",
    "archive": "vecstore.codecs.bytes.archive:Archive",
}
ALIASES = {"mrl": "truncate"}


ELSEWHERE = ("cells", "mixed")  # what is written like a step, but stands before all of a codec's steps or for all of it


_asked: set[str] = set()  # codecs of other packages that a specification of this process has named


def step_class_in_file(name: str) -> type[Step]:
    """Return the class of a step that a file names, which must not make any installed package run.

    Raises `UnknownCodecError` for a codec of another package, unless this process has named it by itself before, or
    `VECSTORE_CODECS` is ``all``.
    """
    if name in BUILT_IN or name in _asked or os.environ.get("VECSTORE_CODECS") == "all":
        return step_class(name)
    raise UnknownCodecError(
        f"no codec {name[:40]!r} is built in; if you trust the file, and a package that has this one, call "
        f"vecstore.codec({name[:40]!r}) before, or set VECSTORE_CODECS=all"
    )


@cache
def _plugins() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # 20 ms, which opening a store with built-in codecs need not pay

    return {entry.name: entry for entry in entry_points(group="vecstore.codecs")}


def codec_names() -> list[str]:
    """Return all known names, built-in ones first."""
    return [*BUILT_IN, *sorted(set(_plugins()) - set(BUILT_IN))]


@cache
def step_class(name: str) -> type[Step]:
    """Return the class of the step called `name`; raises `UnknownCodecError` naming the nearest."""
    name = ALIASES.get(name, name)
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        found = getattr(importlib.import_module(module), attribute)
    elif name in _plugins():
        found = _plugins()[name].load()
        _asked.add(name)
    else:
        known = [*codec_names(), *ALIASES, *ELSEWHERE]
        raise UnknownCodecError(f"no codec {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}")
    if not (isinstance(found, type) and issubclass(found, Step)):
        raise CodecError(f"codec {name!r} is not a vecstore.codecs.base.Step; its package is at fault")
    return found
