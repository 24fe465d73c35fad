"""Codec names: those built in, and those that other packages bring under the entry-point group vecstore.codecs."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING

from vecstore.codecs.base import Step
from vecstore.errors import CodecError, UnknownCodecError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["ALIASES", "codec_names", "step_class"]

# Loaded when named, so that opening a store imports only what its codec needs.
BUILT_IN = {
    "normalize": "vecstore.codecs.normalize:Normalize",
    "center": "vecstore.codecs.center:Center",
    "pca": "vecstore.codecs.pca:PCA",
    "whiten": "vecstore.codecs.pca:Whiten",
    "truncate": "vecstore.codecs.truncate:Truncate",
    "rotate": "vecstore.codecs.rotate:Rotate",
    "f32": "vecstore.codecs.floats:F32",
    "f16": "vecstore.codecs.floats:F16",
    "bf16": "vecstore.codecs.floats:BF16",
    "sq": "vecstore.codecs.sq:SQ",
    "pq": "vecstore.codecs.pq:PQ",
    "opq": "vecstore.codecs.opq:OPQ",
    "tcq": "vecstore.codecs.tcq:TCQ",
    "vaq": "vecstore.codecs.vaq:VAQ",
    "lloyd": "vecstore.codecs.lloyd:Lloyd",
    "lvq": "vecstore.codecs.lvq:LVQ",
    "rabitq": "vecstore.codecs.rabitq:RaBitQ",
    "rq": "vecstore.codecs.rq:RQ",
    "lsq": "vecstore.codecs.lsq:LSQ",
    "uniform": "vecstore.codecs.uniform:Uniform",
    "bin": "vecstore.codecs.binary:Binary",
    "hash": "vecstore.codecs.hashing:Hash",
    "qr": "vecstore.codecs.qr:QR",
    "floret": "vecstore.codecs.subword:Floret",
    "fasttext": "vecstore.codecs.subword:FastText",
    "hashembed": "vecstore.codecs.hash_embed:HashEmbed",
    "subspace": "vecstore.codecs.subspace:Subspace",
    "anchor": "vecstore.codecs.anchor:Anchor",
    "residual": "vecstore.codecs.residual:Residual",
    "zstd": "vecstore.codecs.zstd:Zstd",
    "rans": "vecstore.codecs.rans:Rans",
    "pco": "vecstore.codecs.pco:Pco",
    "archive": "vecstore.codecs.archive:Archive",
}
ALIASES = {"mrl": "truncate"}


ELSEWHERE = ("cells", "mixed")  # what is written like a step, but stands before all of a codec's steps or for all of it


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
    else:
        known = [*codec_names(), *ALIASES, *ELSEWHERE]
        raise UnknownCodecError(f"no codec {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}")
    if not (isinstance(found, type) and issubclass(found, Step)):
        raise CodecError(f"codec {name!r} is not a vecstore.codecs.base.Step; its package is at fault")
    return found
