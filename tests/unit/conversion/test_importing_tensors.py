"""Tables of DLRM, thinc and spaCy: read from safetensors and torch files, looked up bit for bit as there."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from vecstore.formats.safetensors import read_safetensors
from vecstore.formats.torch_zip import read_torch_zip

import vecstore
from vecstore.codecs.tables.qr import Digits
from vecstore.conversion.importing import import_hash_embed, import_quotient_remainder
from vecstore.errors import FormatError, OptionError, ShapeError


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def tensor(storage: str, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    """Return the instructions by which torch.save describes a tensor."""
    described = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(storage) + text("cpu") + number(99) + b"tQ"
    both = [b"(" + b"".join(map(number, numbers)) + b"t" for numbers in (shape, strides)]
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + described + number(offset) + both[0] + both[1]
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def torch_file(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write arrays as torch.save does a state dictionary inside a dictionary."""
    program = b"\x80\x02}" + text("state_dict") + b"ccollections\nOrderedDict\n)Rq\x01("
    for at, (name, array) in enumerate(arrays.items()):
        program += text(name) + tensor(str(at), array.shape, (array.shape[1], 1)) + b"q\x02"
    program += b"us" + b"."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/byteorder", "little")
        for at, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{at}", array.astype("<f4").tobytes())
    return path


@pytest.fixture
def tables() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "emb_l.3.weight_q": random.normal(size=(2600, 8)).astype(np.float32),
        "emb_l.3.weight_r": random.normal(size=(4, 8)).astype(np.float32),
        "bot_l.0.weight": random.normal(size=(3, 5)).astype(np.float32),
    }


@pytest.mark.parametrize("kind", ["torch", "safetensors"])
@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
def test_quotient_remainder_tables(tmp_path, tables, kind, operation):
    source = tmp_path / "model"
    if kind == "torch":
        torch_file(source, tables)
    else:
        pytest.importorskip("safetensors.numpy").save_file(tables, str(source))
    rows = import_quotient_remainder(source, tmp_path / "s.vecs", table="emb_l.3", operation=operation, rows=10_001)
    ids = np.arange(10_001)
    q, r = tables["emb_l.3.weight_q"][ids // 4], tables["emb_l.3.weight_r"][ids % 4]
    expected = {"mult": q * r, "add": q + r, "concat": np.concatenate([q, r], axis=1)}[operation]
    with vecstore.open(tmp_path / "s.vecs") as store:
        assert rows == len(store) == 10_001 and store.info()["bytes"]["code"] == [0]
        np.testing.assert_array_equal(np.asarray(store.vectors), expected)
        np.testing.assert_array_equal(store[10_000], expected[10_000])


def test_quotients_by_float32_are_those_of_dlrm():
    """DLRM divides in float32: what that gives, computed as it does, also where it is wrong."""
    ids = np.concatenate([np.arange(1000), 2**24 + np.arange(-500, 5000), 2**31 - 1 - np.arange(5000)])
    collisions = 1024 * 3
    sizes = (2**31 // collisions + 2, collisions)
    digits = Digits(sizes, float32=True).of(ids)
    quotients = (ids.astype(np.float32) / np.float32(collisions)).astype(np.int64)
    np.testing.assert_array_equal(digits, np.stack([quotients, ids % collisions], axis=1))
    exact = Digits(sizes).of(ids)
    np.testing.assert_array_equal(exact, np.stack([ids // collisions, ids % collisions], axis=1))
    assert (digits != exact).any() and not (digits != exact)[:1000].any()


def test_importing_says_what_is_wrong(tmp_path, tables):
    source = torch_file(tmp_path / "m.pt", tables)
    with pytest.raises(FormatError, match=r"holds 0 tensors 'emb_l.0.weight_q'; it has: state_dict"):
        import_quotient_remainder(source, tmp_path / "s")
    with pytest.raises(OptionError, match="tell 10,400 apart"):
        import_quotient_remainder(source, tmp_path / "s", table="emb_l.3", rows=10_401)
    torch_file(source, {**tables, "emb_l.3.weight_r": np.full((4, 8), np.nan, np.float32)})
    with pytest.raises(ShapeError, match="NaN"):
        import_quotient_remainder(source, tmp_path / "s", table="emb_l.3")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(" + text("touch /tmp/was-run") + b"tR.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93(" + text("touch /tmp/was-run") + b"tR.",
        b"(" + text("x") + b"ios\nsystem\n.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ccollections\nOrderedDict\n(" + number(1) + b"tR.",
        b"}(" + text("a") + b"u.",
        b"t.", b"h\x05.", b"", b"}", b"R.", b"\x85.", b"Ns.", b"]Na.",
    ],
)  # fmt: skip
def test_pickles_are_never_run(tmp_path, program):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("archive/data.pkl", program)
    if program == b"]Na.":
        assert read_torch_zip(tmp_path / "m.pt") == {}
        return
    with pytest.raises(FormatError):
        read_torch_zip(tmp_path / "m.pt")
    assert not Path("/tmp/was-run").exists()


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((9, 9), (9, 1), 0), ((2, 2), (2, 1), 3), ((2, 2), (1 << 40, 1), 0), ((-1, 2), (2, 1), 0), ((2, 2), (2,), 0),
     ((0, 2), (2, 1), 0)],
)  # fmt: skip
def test_tensors_outside_of_their_bytes_are_refused(tmp_path, shape, strides, offset):
    strides = tuple(min(stride, 2**31 - 1) for stride in strides)
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"}" + text("a") + tensor("0", shape, strides, offset) + b"s.")
        archive.writestr("archive/data/0", bytes(16))
    with pytest.raises(FormatError):
        read_torch_zip(tmp_path / "m.pt")


def test_transposed_tensors_are_read_as_they_are_meant(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"}" + text("a") + tensor("0", (3, 2), (1, 3)) + b"s.")
        archive.writestr("archive/data/0", np.arange(6, dtype="<f4").tobytes())
    np.testing.assert_array_equal(read_torch_zip(tmp_path / "m.pt")["a"], np.arange(6).reshape(2, 3).T)


def test_damaged_files_are_refused(tmp_path, tables):
    """Whatever byte of a file is changed, reading raises FormatError or succeeds."""
    import json

    header = json.dumps({"__metadata__": {}, "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    whole = len(header).to_bytes(8, "little") + header + np.arange(4, dtype="<f4").tobytes()
    files = {
        read_safetensors: whole,
        read_torch_zip: torch_file(tmp_path / "t", {"a": tables["bot_l.0.weight"]}).read_bytes(),
    }
    for read, data in files.items():
        path = tmp_path / "damaged"
        path.write_bytes(data)
        assert len(read(path)) == 1
        for at in range(0, len(data), 1 if read is read_safetensors else 3):
            for changed in (data[:at], data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]):
                path.write_bytes(changed)
                try:
                    read(path)
                except FormatError as error:
                    assert str(path) in str(error)


@pytest.mark.parametrize("seed", [0, 8, 4_000_000_000])
def test_hash_embed_layers_of_thinc(tmp_path, seed):
    api = pytest.importorskip("thinc.api")
    random = np.random.default_rng(seed)
    layer = api.HashEmbed(24, 1500, seed=seed)
    layer.initialize()
    table = layer.get_param("E")
    numbers = np.concatenate([np.arange(10_000), random.integers(0, 2**63, 10_000)]).astype(np.uint64)
    import_hash_embed(table, tmp_path / "s", seed=seed, keys=numbers[:10_000].astype(np.int64))
    with vecstore.open(tmp_path / "s") as store:
        found = store.lookup(numbers.astype(np.int64))
        assert found.known[:10_000].all() and not found.known[10_000:].any()
        np.testing.assert_array_equal(found.vectors, layer.predict(numbers))
    words = [f"wörd{number}" * (number % 4 + 1) for number in range(20_000)]
    import_hash_embed(table, tmp_path / "w", seed=seed, keys=[*words[:10_000], "coffee"])
    with vecstore.open(tmp_path / "w") as store:
        found = store.lookup([*words, "coffee"])
        assert found.known.sum() == 10_001
        # The number of "coffee" is that of spaCy's documentation; the library is not needed to know it.
        own = layer.predict(np.array([3197928453018144401], np.uint64))[0]
        np.testing.assert_array_equal(found.vectors[-1], own)


def test_hash_embed_from_files(tmp_path):
    table = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    np.save(tmp_path / "e.npy", table)
    pytest.importorskip("safetensors.numpy").save_file({"E": table, "other": table}, str(tmp_path / "e.safetensors"))
    import_hash_embed(tmp_path / "e.npy", tmp_path / "a", seed=3, keys=["x", "y"])
    import_hash_embed(tmp_path / "e.safetensors", tmp_path / "b", seed=3, keys=["x", "y"], tensor="E")
    with vecstore.open(tmp_path / "a") as one, vecstore.open(tmp_path / "b") as other:
        np.testing.assert_array_equal(one["x"], other["x"])
    with pytest.raises(FormatError, match="name one of its tensors: E, other"):
        import_hash_embed(tmp_path / "e.safetensors", tmp_path / "c", seed=3, keys=["x"])
