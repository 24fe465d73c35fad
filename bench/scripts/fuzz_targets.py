"""What the fuzzers feed: for each reader of bytes some whole ones to begin with, and what is done with changed ones."""

from __future__ import annotations

import gzip
import io
import json
import struct
import warnings
import zipfile
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
from vecstore.bench.scripts.conformance_changes import write_body
from vecstore.bench.scripts.damage import Subject
from vecstore.bench.scripts.forgery import FORGED
from vecstore.bench.scripts.mutations import adopt, reseal_bytes, stored_files
from vecstore.formats.fasttext import is_subword_model, read_fasttext, read_floret_text
from vecstore.formats.opener import open_dump

from vecstore.codecs.base import ByteStep
from vecstore.codecs.mixed.plan import plan
from vecstore.codecs.registry import step_class
from vecstore.container.container import Container
from vecstore.container.part import checksum
from vecstore.conversion.importing import read_arrays
from vecstore.errors import VecstoreError

__all__ = ["TARGETS", "Target"]

ROWS, DIMENSIONS = 60, 8


class Target(ABC):
    """One reader of bytes.

    Attributes
    ----------
    seeds : dict of bytes
        Whole ones, which are changed; by name.
    """

    seeds: dict[str, bytes]

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @abstractmethod
    def use(self, name: str, data: bytes) -> None:
        """Do with changed bytes all that is done with whole ones; raises `VecstoreError` at most."""


class OfStores(Target):
    """Stores of several kinds, of which something is changed under right checksums."""

    kinds: ClassVar[tuple[str, ...]] = (
        "cells-order",
        "bin",
        "sq4",
        "residual",
        "sharded-int64",
        "pq",
        "fields",
        "edited",
    )

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.subjects = {kind: Subject(kind, directory, FORGED[kind]) for kind in self.kinds}
        self.whole = {file: file.read_bytes() for kind in self.kinds for file in self.files(kind)}

    def files(self, kind: str) -> list[Path]:
        """Return the files of a store."""
        return stored_files(self.subjects[kind].path)

    def containers(self, kind: str) -> list[Path]:
        """Return those that have parts: all of a store that was edited, else one that has codes."""
        found = [file for file in self.files(kind) if file.suffix == ".vecs"]
        return found if self.subjects[kind].edited else found[-1:]

    def asked(self, kind: str) -> None:
        """Ask a store in every way, with what `Subject.observe` lets through."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                self.subjects[kind].observe(self.subjects[kind].path)
        finally:
            for file in self.files(kind):
                if file not in self.whole:  # a model that got another name
                    file.unlink()
            for file, data in self.whole.items():
                if file.is_relative_to(self.subjects[kind].path):
                    _replace(file, data)


class Pages(OfStores):
    """The pages of a file, without checksums of their own."""

    kinds = ("pq", "sq4")

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.seeds = {kind: subject.path.read_bytes() for kind, subject in self.subjects.items()}

    def use(self, name: str, data: bytes) -> None:
        _replace(self.subjects[name].path, data)
        self.asked(name)


class Descriptions(OfStores):
    """The JSON of a file: of shards, of deleted rows, of a model."""

    kinds = ("cells-order", "bin", "residual", "fields", "edited")

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.seeds = {f"{kind} {file.name}": _body(file) for kind in self.kinds for file in self.containers(kind)}

    def use(self, name: str, data: bytes) -> None:
        kind, own = name.split()
        file = next(file for file in self.containers(kind) if file.name == own)
        room = Container(file)._extents[b"vecstore"].size - 24
        write_body(file, data[:room])
        with suppress(VecstoreError, LookupError, TypeError, AttributeError):  # where little is left of it
            adopt(self.subjects[kind].path, file, Container(file).fingerprint)
        self.asked(kind)


class Manifests(OfStores):
    """The JSON of a directory of shards: in force, kept, and with a tag."""

    kinds = ("sharded-int64", "edited")

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.places = {f"{k} {f.name}": f for k in self.kinds for f in self.files(k) if f.suffix == ".json"}
        self.seeds = {name: file.read_bytes()[:-32] for name, file in self.places.items()}

    def use(self, name: str, data: bytes) -> None:
        body = data + b',\n "xxh3": "0000000000000000"\n}\n'
        _replace(self.places[name], data + f',\n "xxh3": "{checksum(body):016x}"\n}}\n'.encode())
        self.asked(name.split()[0])


class Parts(OfStores):
    """The first block of each part: codes, trained arrays, keys, cells, deleted rows."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.seeds, self.places = {}, dict[str, tuple[str, Path, str]]()
        for kind in self.kinds:
            for file in self.containers(kind):
                container = Container(file)
                for part in map(container.part, container.names()):
                    if part.blocks:
                        name = f"{kind} {file.name} {part.name}"
                        self.seeds[name] = bytes(part.block_bytes(0))
                        self.places[name] = kind, file, part.name

    def use(self, name: str, data: bytes) -> None:
        kind, file, part = self.places[name]
        fingerprint = reseal_bytes(file, part, 0, 0, data[: len(self.seeds[name])])
        adopt(self.subjects[kind].path, file, fingerprint)
        self.asked(kind)


class Dumps(Target):
    """Files of vectors that other programs wrote."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        x = np.random.default_rng(0).normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
        lines = [f"w{i} " + " ".join(f"{value:.4f}" for value in row) for i, row in enumerate(x)]
        text, head = "\n".join(lines).encode() + b"\n", f"{ROWS} {DIMENSIONS}\n".encode()
        binary = head + b"".join(f"w{i} ".encode() + row.tobytes() + b"\n" for i, row in enumerate(x))
        npy, npz, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
        np.save(npy, x)
        np.savez(npz, vectors=x, keys=np.array([f"w{i}" for i in range(ROWS)]))
        np.savez_compressed(packed, vectors=x)
        self.seeds = {
            "a.npy": npy.getvalue(),
            "b.npz": npz.getvalue(),
            "c.npz": packed.getvalue(),
            "d.vec": head + text,
            "e.bin": binary,
            "f.txt": text,
            "g.txt.gz": gzip.compress(text),
            "h.npy.gz": gzip.compress(npy.getvalue()),
        }

    def use(self, name: str, data: bytes) -> None:
        path = self.directory / name
        path.write_bytes(data)
        for _ in open_dump(path).batches():
            pass


class Models(Target):
    """Trained models and arrays of other libraries."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        table = np.arange(14, dtype="<f4")
        head = struct.pack("<14id", 793712314, 12, 2, 5, 1, 1, 5, 1, 2, 1, 4, 3, 5, 100, 1e-4)
        words = b"".join(word + b"\0" + struct.pack("<qb", 3, 0) for word in (b"</s>", b"one", b"two"))
        fasttext = head + struct.pack("<3iqq", 3, 3, 0, 9, -1) + words + b"\0" + struct.pack("<qq", 7, 2)
        about = {"a": {"dtype": "F32", "shape": [7, 2], "data_offsets": [0, 56]}, "__metadata__": {"format": "pt"}}
        header = json.dumps(about).encode()
        self.seeds = {
            "m.bin": fasttext + table.tobytes(),
            "m.floret": b"2 2 1 2 1 0 < >\n0 1 2\n1 2 3\n",
            "m.safetensors": struct.pack("<Q", len(header)) + header + table.tobytes(),
            "m.pt": _torch(table.tobytes()),
        }

    def use(self, name: str, data: bytes) -> None:
        path = self.directory / name
        path.write_bytes(data)
        if name in ("m.pt", "m.safetensors"):
            for array in read_arrays(path).values():
                float(np.asarray(array).astype(np.float64).sum())
        elif is_subword_model(path) and name == "m.floret":
            read_floret_text(path)
        else:
            read_fasttext(path)


class Packed(Target):
    """Blocks behind byte steps."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        block = np.random.default_rng(0).normal(size=500).astype("<f2").tobytes()
        self.steps: dict[str, ByteStep] = {}
        for name, configuration in (("zstd", {}), ("rans", {"columns": 4}), ("pco", {}), ("archive", {})):
            step = step_class(name).from_configuration(configuration)
            assert isinstance(step, ByteStep)
            self.steps[name] = step
        self.seeds = {name: step.pack(block, 2) for name, step in self.steps.items()}

    def use(self, name: str, data: bytes) -> None:
        assert len(self.steps[name].unpack(data, 1000, 2)) == 1000


class Specifications(Target):
    """What people write for a codec."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        specs = {str(options["codec"]) for options in FORGED.values()}
        self.seeds = {spec: spec.encode() for spec in sorted(specs)}

    def use(self, name: str, data: bytes) -> None:
        spec = plan(data.decode(errors="replace"))
        assert str(plan(str(spec))) == str(spec)


TARGETS: dict[str, type[Target]] = {
    "pages": Pages,
    "descriptions": Descriptions,
    "manifests": Manifests,
    "parts": Parts,
    "dumps": Dumps,
    "models": Models,
    "packed": Packed,
    "specifications": Specifications,
}


def _replace(file: Path, data: bytes) -> None:
    file.unlink(missing_ok=True)  # which leaves it to whoever has it mapped
    file.write_bytes(data)


def _body(path: Path) -> bytes:
    return json.dumps(Container(path).description, ensure_ascii=False, separators=(",", ":")).encode()


def _torch(storage: bytes) -> bytes:
    """Return a zip of torch.save that holds {"a": a tensor (7, 2)}."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    stored = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x0etQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + stored + b"K\x00K\x07K\x02\x86K\x02K\x01\x86\x89NtR"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}" + text("a") + tensor + b"s.")
        archive.writestr("a/data/0", storage)
    return out.getvalue()
