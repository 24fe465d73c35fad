"""Tables, digits and anchors that no writer writes, under right checksums: refused, or harmless."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vecstore.bench.scripts.mutations import reseal

import vecstore
from vecstore.codecs.codec import codec
from vecstore.container.container import Container, ContainerWriter
from vecstore.errors import CodecError, CorruptError, FormatError

ROWS, KEYS = 200, [f"key {i}" for i in range(200)]
Change = Callable[[np.ndarray], Any]


def written(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spec: str,
    name: str = "",
    change: Change = np.copy,
    keys: list[str] | None = KEYS,
) -> Path:
    """Write a store, one of whose parts is changed on its way into the file."""
    put_array, put_block = ContainerWriter.put_array, ContainerWriter.put_block

    def put(writer: ContainerWriter, part: str, array: np.ndarray, **more: Any) -> None:
        put_array(writer, part, change(array.copy()) if part == name else array, **more)

    def put_codes(writer: ContainerWriter, part: str, block: Any) -> None:
        put_block(writer, part, change(np.array(block)) if part == name == "codes.0" else block)

    with monkeypatch.context() as patch:
        patch.setattr(ContainerWriter, "put_array", put)
        patch.setattr(ContainerWriter, "put_block", put_codes)
        x = np.random.default_rng(0).normal(size=(ROWS, 12)).astype(np.float32)
        with suppress(CorruptError, CodecError):  # the report of the conversion reads the store
            vecstore.write(path / "a.vecs", x, keys, spec, accept_dominated=True)
    return path / "a.vecs"


def use(path: Path) -> None:
    with vecstore.open(path) as store:
        _ = store.vectors[:], store.vectors[5], store[KEYS[3]], store[KEYS[::3]]
        store.search(np.ones(12))
        store.verify()


def set_item(at: Any, value: Any) -> Change:
    def change(array: np.ndarray) -> np.ndarray:
        array[at] = value
        return array

    return change


@pytest.mark.parametrize(
    ("spec", "name", "change"),
    [
        ("hash:50", "table", lambda table: table[:-1]),
        ("hash:50", "table", lambda table: table[:, :-1]),
        ("hash:50", "table", lambda table: table[0]),
        ("hash:50", "table", lambda table: table.astype("<f8")),
        ("hash:50", "by_key", lambda by_key: by_key[:0]),
        ("hash:50", "by_key", lambda by_key: by_key.astype("<i8")),
        ("hash:50", "by_key", set_item(0, 2)),
        ("floret:50", "table", lambda table: table[:1]),
        ("floret:50", "by_key", set_item(0, 2)),
        ("fasttext:50", "table", lambda table: table[:1]),
        ("fasttext:50", "by_key", set_item(0, 255)),
        ("hashembed:50", "table", lambda table: table[:0]),
        ("hashembed:50", "by_key", set_item(0, 2)),
        ("qr:4", "sizes", set_item(0, 0)),
        ("qr:4", "sizes", set_item(0, -50)),
        ("qr:4", "sizes", set_item(0, 2**62)),
        ("qr:4", "sizes", set_item(1, 0)),
        ("qr:4", "sizes", lambda sizes: sizes[:1]),
        ("qr:4", "sizes", lambda sizes: sizes.astype("<i4")),
        ("qr:4", "table0", lambda table: table[:-1]),
        ("qr:4", "table0", lambda table: table[0, 0]),
        ("qr:4", "table1", lambda table: table[0]),
        ("qr:4:concat", "table1", lambda table: table[:, :-1]),
        ("qr:13x16:crt", "sizes", set_item(slice(None), 0)),
        ("qr:13x16:crt", "sizes", set_item(0, 12)),
        ("anchor:9:2", "anchors", lambda anchors: anchors[:-1]),
        ("anchor:9:2", "anchors", lambda anchors: anchors[:, 1:]),
        ("hash:50/pq:3", "base.table", lambda table: table[1:]),
        ("hash:50/pq:3", "base.by_key", set_item(0, 2)),
        ("hash:50/pq:3", "fine.codebooks", lambda books: books[1:]),
        ("subspace:3x8", "codebooks", lambda books: books[:, :-1]),
    ],
)
def test_arrays_that_make_no_sense_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, name: str, change: Change
) -> None:
    path = written(tmp_path, monkeypatch, spec, f"model.0.0.{name}", change)
    with pytest.raises((CorruptError, CodecError)) as raised:
        use(path)
    assert len(str(raised.value)) > 30


@pytest.mark.parametrize(
    "spec", ["qr:7:learned", "qr:7:mult:learned", "anchor:9:2", "anchor:9:2/pq:3", "qr:7:learned/pq:3"]
)
def test_codes_out_of_range_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    path = written(tmp_path, monkeypatch, spec, "codes.0", lambda block: np.full_like(block, 255))
    with vecstore.open(path) as store:
        for ask in (
            lambda: store.vectors[:],
            lambda: store.vectors[5],
            lambda: store[KEYS[3]],
            lambda: store[KEYS[::3]],
            lambda: store.search(np.ones(12)),
        ):
            with pytest.raises((CorruptError, CodecError)):
                ask()


@pytest.mark.parametrize(
    "change",
    [
        {"first_row": -1},
        {"first_row": True},
        {"first_row": "5"},
        {"first_row": 1},
        {"first_row": 2**62},
        {"first_row": 2**63 - 1},
        {"keys": None, "first_row": 2**63 - 100},
    ],
    ids=str,
)
def test_row_numbers_beyond_the_tables_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    path = written(tmp_path, monkeypatch, "qr:4")
    reseal(path, {**Container(path).description, **change})
    with pytest.raises((FormatError, CodecError)), vecstore.open(path) as store:
        _ = store.vectors[:]


@pytest.mark.parametrize("spec", ["qr:4", "qr:8x251:crt", "qr:4/anchor:9:2"])
@pytest.mark.parametrize("rows", [2009, 2**31, 2**32, 2**33, 2**63 - 1])
def test_more_rows_than_tables_tell_apart_are_refused_before_any_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, rows: int
) -> None:
    """Rows without bytes of their own cost the one who claims them nothing."""
    path = written(tmp_path, monkeypatch, spec, keys=None)
    description = Container(path).description
    description["rows"] = description["parts"]["codes.0"]["shape"][0] = rows
    reseal(path, description)
    for ask in (
        lambda store: store.vectors[:],
        lambda store: store.vectors[5],
        lambda store: store.search(np.ones(12)),
    ):
        with pytest.raises((CorruptError, CodecError)), vecstore.open(path) as store:
            ask(store)


def test_no_shard_has_more_rows_than_numbers_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, monkeypatch, "hash:50", keys=None)
    description = Container(path).description
    description["rows"] = description["parts"]["codes.0"]["shape"][0] = 2**32 + 1
    reseal(path, description)
    with pytest.raises(CorruptError, match="4294967296"):
        vecstore.open(path)


def test_numbers_wider_than_eight_bytes_are_refused() -> None:
    """Five tables of 65,536 entries tell 2**80 rows apart."""
    spec = codec("qr:65536x65536x65536x65536x65536:learned")
    tables = {f"0.0.table{j}": np.zeros((65536, 1), "<f4") for j in range(5)}
    with pytest.raises(CodecError, match="no learned numbers"):
        vecstore.Codec.restore(spec, 1, {"0.0.sizes": np.full(5, 65536, "<i8"), **tables})


# Specification -> members of the configuration, and values that they cannot have.
SENSELESS: dict[str, list[tuple[str, list[Any]]]] = {
    "hash:50": [
        ("entries", [0, 1e9, 51, None]),
        ("hashes", [0, "2"]),
        ("features", ["all", 3, "ngrams5-3"]),
        ("combine", ["max"]),
        ("more", [1]),
    ],
    "floret:50": [("least", [-1]), ("most", [10**9]), ("seed", [2**32, -1])],
    "qr:4": [
        ("sizes", ["0", "", 4, "5x4x1", "3"]),
        ("operation", ["max"]),
        ("scheme", ["crt", 1]),
        ("compat", [None]),
        ("order", ["learned"]),
    ],
    "anchor:9:2": [("taken", [0, 3]), ("anchors", [70_000, 8])],
    "hash:50/pq:3": [
        ("base", ["pq:3", "hash", "hash:0", None]),
        ("fine", ["zstd", 3, "", "pq:3/f16", "qr:4", "pq:4"]),
    ],
}


@pytest.mark.parametrize(
    ("spec", "member", "value"),
    [(spec, member, value) for spec, members in SENSELESS.items() for member, values in members for value in values],
)
def test_configurations_that_make_no_sense_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, member: str, value: Any
) -> None:
    path = written(tmp_path, monkeypatch, spec)
    description = Container(path).description
    description["codec"][0][0]["configuration"][member] = value
    reseal(path, description)
    with pytest.raises((FormatError, CodecError)):
        use(path)


def test_unchanged_stores_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(written(tmp_path, monkeypatch, "hash:50/pq:3"))


LONG = ["é" * 32_000, *KEYS[1:]]


@pytest.mark.parametrize(("spec", "change"), [("floret:90", {"least": 1, "most": 64}), ("fasttext:90", {"most": 64})])
def test_long_keys_have_no_n_grams_without_end(spec: str, change: dict[str, int], tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, np.random.default_rng(0).normal(size=(ROWS, 12)), LONG, spec, accept_dominated=True)
    about = Container(path).description
    about["codec"][0][0]["configuration"] |= change
    reseal(path, about)
    with vecstore.open(path) as store:
        for use in (lambda: store[LONG[0]], lambda: store[LONG], store.verify):
            with pytest.raises(CodecError, match="bytes with these"):
                use()
        _ = store[LONG[1]]


@pytest.mark.parametrize("spec", ["floret:90:1:4:3", "fasttext:90", "hash:90:2:word&ngrams1-3"])
def test_long_keys_are_the_same_by_themselves_as_among_others(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"{i} {'é' * (40 * i)}" for i in range(ROWS)]
    vecstore.write(
        tmp_path / "a.vecs", np.random.default_rng(0).normal(size=(ROWS, 12)), keys, spec, accept_dominated=True
    )
    with vecstore.open(tmp_path / "a.vecs") as store:
        alone = np.stack([store[key] for key in keys])
        np.testing.assert_array_equal(store[keys], alone)
        monkeypatch.setattr("vecstore.codecs.tables.hashed_table.NGRAMS_AT_ONCE", 1 << 14)
        np.testing.assert_array_equal(store[keys], alone)
        monkeypatch.setattr("vecstore.codecs.tables.incidence.KERNEL_ENTRIES", 1 << 30)
        np.testing.assert_array_equal(store[keys[150]], alone[150])


@pytest.mark.parametrize("spec", [f"qr:{'x'.join(['1'] * 65)}", f"hash:90:2:{'&'.join(['word'] * 17)}"])
def test_lists_in_members_are_short(spec: str) -> None:
    with pytest.raises(CodecError, match="at most"):
        codec(spec)
