"""Descriptions, manifests and parts that no writer writes: refused by whatever opens them, and by `verify`."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vecstore.bench.scripts.mutations import reseal, reseal_bytes, reseal_manifest
from vecstore.formats.npy import read_npy

import vecstore
from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.container.container import Container
from vecstore.container.document import parse
from vecstore.errors import CodecError, CorruptError, FormatError, UnknownCodecError, VecstoreError

X = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
KEYS = [f"key {i}" for i in range(300)]


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "c": 2, "b": 3}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"a": ' + b"[" * 10_000_000 + b"]" * 10_000_000 + b"}",
        b'{"a": [' + b"{}," * 300_000 + b"{}]}",
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1' + b"0" * 309 + b"}",
        b'{"a": 1e400}',
        b"\xff{}",
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b"[]",
        b"",
        b'{"a": "' + b'\\"' * 1_000_000,
        b'{"a": "' + b'\\"' * 1_000_000 + b"\\",
    ],
    ids=lambda body: f"{body[:12]!r}",
)
def test_documents_that_are_refused(body: bytes) -> None:
    with pytest.raises(CorruptError, match="JSON"):
        parse(body, "a.vecs")


def test_documents_that_are_read() -> None:
    whole = {"a": ["[" * 1000, '"{,\\'], "b": "é 😀", "c": [[]] * 1000}
    for ascii_only in (True, False):
        assert parse(json.dumps(whole, ensure_ascii=ascii_only).encode(), "a.vecs") == whole


def sharded(path: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(12_000, 4)).astype(np.float32)
    vecstore.write(path, x, list(range(12_000)), "sq:8", shard_bytes=165_000)
    return path


def written(path: Path, spec: str, **options: Any) -> Path:
    vecstore.write(path, X, KEYS, spec, accept_dominated=True, **options)
    return path


@pytest.mark.parametrize(
    "lengths", [[0, 1e300], [0, 10**200], [2, 1], [-1, 1], [0], [0, True], {"0": 1}, "01", [0, "1"], [None, 1]]
)
def test_lengths_that_bound_nothing(lengths: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "a.vecs", "sq:6", keep_norms=True)
    reseal(path, {**Container(path).description, "lengths": lengths})
    with vecstore.open(path) as store, pytest.raises(CorruptError, match="lengths"):
        store.search(X[0], metric="l2")


def test_digits_without_end_as_numbers_of_bytes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.vecs", "tcq:8")
    about = Container(path).description
    size = {"9" * 1500: {"0.998": 1.0}}
    about["certificate"] = {"prefixes": {"bits": 3, "limits": size, "margins": size}}
    reseal(path, about)
    with vecstore.open(path) as store:
        assert store.info()["rows"] == len(X) and len(store.search(X[0])) == 10


@pytest.mark.parametrize(
    ("spec", "part", "members"),
    [
        ("sq:8", "codes.0", {"encoding": "mine"}),
        ("sq:8", "model.0.0.steps", {"encoding": "mine"}),
        ("sq:8", "model.0.0.steps", {"tile_rows": 2, "block_rows": 16}),
        ("sq:8", "keys.text", {"encoding": None}),
        ("sq:8", "keys.table", {"encoding": "mine"}),
        ("sq:8", "keys.table", {"dtype": "<i4"}),
        ("sq:8", "norms", {"encoding": "mine"}),
        ("sq:8", "norms", {"dtype": "<i4"}),
        ("bin/sq:8", "residuals", {"encoding": "mine"}),
        ("bin/sq:8", "residuals.scales", {"encoding": "mine"}),
        ("bin/sq:8", "codes.1", {"encoding": "packed"}),
        ("cells:4,sq:8", "cells.sizes", {"encoding": "mine"}),
        ("cells:4,sq:8", "order.row_of", {"encoding": "mine"}),
        ("f32,zstd", "codes.0", {"encoding": "mine"}),
    ],
)
def test_parts_of_another_kind_are_refused(spec: str, part: str, members: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path / "a.vecs", spec, keep_norms=part == "norms")
    about = Container(path).description
    about["parts"][part] |= members
    reseal(path, about)
    with pytest.raises(VecstoreError), vecstore.open(path) as store:
        store.verify()


@pytest.mark.parametrize(
    ("spec", "part", "at", "new"),
    [
        ("vaq:4", "model.0.0.widths", 0, struct.pack("<I", 0)),
        ("tcq:8", "model.0.0.bits", 0, b"\x09"),
        ("f32,zstd", "codes.0", 0, struct.pack("<Q", 1 << 63)),
        ("cells:4,sq:8", "model.cells.scales", 0, struct.pack("<f", np.inf)),
        ("bin/sq:8", "residuals.scales", 0, struct.pack("<f", np.inf)),
        ("anchor:9:2", "codes.0", 0, b"\xff\xff"),
        ("f32", "codes.0", 0, struct.pack("<f", np.nan)),
    ],
)
def test_verify_tells_what_cannot_be_decoded(spec: str, part: str, at: int, new: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "a.vecs", spec)
    reseal_bytes(path, part, 0, at, new)
    with pytest.raises(VecstoreError), vecstore.open(path) as store:
        store.verify()


def test_a_deep_verification_decodes_every_row(tmp_path: Path) -> None:
    path = written(tmp_path / "a.vecs", "f16/f32")
    with vecstore.open(path) as store:
        assert store.verify(deep=True) == store.verify()
    reseal_bytes(path, "codes.0", 0, 32 * 150, struct.pack("<e", np.inf))  # of the coarse layer
    with vecstore.open(path) as store:
        store.verify()
        with pytest.raises(CorruptError, match="no finite vectors"):
            store.verify(deep=True)


def test_files_name_no_codecs_of_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any) -> None:
        pytest.fail("code of another package ran")

    monkeypatch.setattr("vecstore.codecs.registry._plugins", lambda: {"mine": type("Mine", (), {"load": load})()})
    path = written(tmp_path / "a.vecs", "sq:8")
    about = Container(path).description
    reseal(path, {**about, "codec": [[{"name": "mine", "configuration": {"bits": 8}}]]})
    with vecstore.open(path) as store:
        for use in (store.info, store.verify, lambda: store.vectors[0], lambda: store.search(X[0])):
            with pytest.raises(UnknownCodecError, match="VECSTORE_CODECS=all"):
                use()


def refused(path: Path, use: Callable[[Any], Any], match: str) -> None:
    with pytest.raises(FormatError, match=match):
        use(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes in its file system")
def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.vecs"
    os.mkfifo(pipe)
    for use in (vecstore.open, read_npy):
        refused(pipe, use, "no regular file")
    refused(Path("/dev/zero"), vecstore.open, "no regular file")
    store = sharded(tmp_path / "s.vecs")
    shard = next(store.glob("shard-*.vecs"))
    shard.unlink()
    shard.symlink_to(pipe)
    refused(store, vecstore.open, "no regular file")
    (store / "manifest.json").unlink()
    (store / "manifest.json").symlink_to(pipe)
    refused(store, vecstore.open, "no regular file")


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["shards"].extend(manifest["shards"] * 3),
        lambda manifest: manifest["key_maps"].append({**manifest["key_maps"][0], "shards": [1, 2]}),
        lambda manifest: manifest["key_maps"][0].update(shards=[0, 2, 2]),
        lambda manifest: manifest["key_maps"][0].update(shards=[0]),
        lambda manifest: manifest["key_maps"][0].update(shards=[0, 1]),
        lambda manifest: manifest["key_maps"][0].update(shards=[1, 2]),
    ],
)
def test_manifests_that_contradict_themselves(change: Callable[[Any], None], tmp_path: Path) -> None:
    store = sharded(tmp_path / "s.vecs")
    document = json.loads((store / "manifest.json").read_bytes())
    assert len(document["shards"]) > 2
    change(document)
    reseal_manifest(store / "manifest.json", document)
    with pytest.raises(CorruptError):
        vecstore.open(store)


@pytest.mark.parametrize("value", [[1], "x", 7, [["a"]], {"a": [{}]}, None, True])
def test_members_for_people_may_be_anything(value: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "a.vecs", "sq:8")
    about = Container(path).description
    reseal(path, {**about, **dict.fromkeys(("user", "provenance", "certificate", "reference", "calibration"), value)})
    with vecstore.open(path) as store:
        found = store.info()
        assert isinstance(found["user"], dict) and isinstance(found["provenance"], dict | None)
        assert repr(store) and store._repr_html_()
        assert store.verify() > 0


def test_a_store_of_no_rows_tells_of_itself(tmp_path: Path) -> None:
    vecstore.write(tmp_path / "a.vecs", X, codec="hash:9", accept_dominated=True)
    about = Container(tmp_path / "a.vecs").description
    reseal(tmp_path / "a.vecs", {**about, "rows": 0, "parts": {**about["parts"]}})
    try:
        with vecstore.open(tmp_path / "a.vecs") as store:
            assert store.info()["rows"] == len(store) == 0
    except VecstoreError as error:
        assert "a.vecs" in str(error)


@pytest.mark.parametrize("text", ["9" * 5000, "0" * 5000, "-1", "1e9", "²"])
def test_numbers_in_text_of_a_codec_are_short(text: str) -> None:
    for name, configuration in (("qr", {"sizes": text}), ("residual", {"base": f"hashembed:{text}", "fine": "sq:8"})):
        with pytest.raises(CodecError):
            codec = CodecSpec.from_dict([[{"name": name, "configuration": configuration}]])
            Codec.restore(codec, 16, {})
