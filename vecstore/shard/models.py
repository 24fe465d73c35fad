"""Models: what codecs were trained to, in files of their own that shards refer to, and the codecs made of them.

docs/format.md, section 8 (Sharded stores), has the bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.container.container import Container, ContainerWriter
from vecstore.container.document import refuse_features
from vecstore.container.mapped_file import MappedFile
from vecstore.container.opener import open_container
from vecstore.errors import CorruptError, FormatError
from vecstore.remote.urls import Place

__all__ = ["MODEL", "MODEL_MEMBERS", "Models", "beside_model", "model_file", "put_model", "write_model"]

KIND = "model"
MODEL = "model."  # what names of the codec's arrays begin with
MODEL_MEMBERS = ("calibration", "certificate", "reference")  # what a model file tells in the place of its shards
KNOWN_FEATURES: frozenset[str] = frozenset()  # what a model file may require of its reader; none yet
_FINGERPRINT = re.compile("[0-9a-f]{16}")


def model_file(fingerprint: str) -> str:
    """Return the name of the file that holds a model."""
    return f"model-{fingerprint}.vecs"


def write_model(directory: Path, codec: Codec, told: Mapping[str, Any]) -> str | None:
    """Write the file of a codec's model into a directory, and return its fingerprint; None where it has no arrays.

    Of what is `told` of shards, it has those of `MODEL_MEMBERS`. The same gives the same file, under the same name.
    """
    arrays = codec.arrays
    if not arrays:
        return None
    cells = {} if codec.spec.cells is None else {"cells": codec.spec.cells.to_dict()}
    layers = CodecSpec(codec.spec.layers).to_dict()
    members = {name: told[name] for name in MODEL_MEMBERS if name in told}
    about = {"kind": KIND, "features": [], "dimensions": codec.dimensions, "codec": layers, **cells, **members}
    partial = directory / f".{KIND}.partial"
    container = ContainerWriter(partial)
    put_model(container, codec)
    fingerprint = container.close(about)
    os.replace(partial, directory / model_file(fingerprint))
    return fingerprint


def beside_model(told: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a shard's members it has to tell itself, beside a model with this description."""
    return {name: each for name, each in told.items() if name not in MODEL_MEMBERS or model.get(name) != each}


def put_model(container: ContainerWriter, codec: Codec) -> None:
    """Write the arrays of a codec."""
    for name, array in codec.arrays.items():
        container.put_array(f"{MODEL}{name}", array)


class Models(dict[Any, Codec]):
    """The models of a store, or of several: trained codecs by what they are made of, and the files that hold them.

    Shards that are given the same ones restore a codec once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, MappedFile | Place] = {}
        self._containers: dict[str, Container] = {}

    def hold(self, fingerprint: str, file: MappedFile | Place) -> None:
        """Know the file of a model, which is read when a shard needs it; a mapped one stays, whatever is removed."""
        self._files.setdefault(fingerprint, file)

    def container(self, about: dict[str, Any], shard: str | Place, *, check: bool, safe: bool) -> Container:
        """Return the file of the model that the description of a shard names: a known one, or one beside the shard.

        Raises `CorruptError` where it is another one, or not there.
        """
        fingerprint = about.get(KIND)
        if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
            raise CorruptError("member 'model' names no model", path=str(shard), found=str(fingerprint)[:40])
        if fingerprint not in self._containers:
            beside = Path(shard) if isinstance(shard, str) else shard
            file = self._files.get(fingerprint, beside.with_name(model_file(fingerprint)))
            try:
                found = open_container(file, check=check, safe=safe)
            except FileNotFoundError:
                raise CorruptError(
                    f"its model is missing: bring {model_file(fingerprint)} back, beside it", path=str(shard)
                ) from None
            _require_model(found, fingerprint)
            self._containers[fingerprint] = found
        container = self._containers[fingerprint]
        if any(container.description.get(name) != about.get(name) for name in ("codec", "cells", "dimensions")):
            raise CorruptError("its model is that of another codec: restore both from a copy", path=str(shard))
        return container


def _require_model(container: Container, fingerprint: str) -> None:
    if container.description.get("kind") != KIND:
        raise FormatError("no model of a store", path=container.path)
    refuse_features(container.description, KNOWN_FEATURES, container.path)
    if container.fingerprint != fingerprint:
        raise CorruptError("another model than its name says: restore it from a copy", path=container.path)
