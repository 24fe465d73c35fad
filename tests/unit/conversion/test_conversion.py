"""From a dump or arrays to a store: policies, report, provenance, fidelity."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from vecstore.formats import open_dump

import vecstore
from vecstore import codec
from vecstore.conversion.certification import RescoringWarning
from vecstore.conversion.shards import shards
from vecstore.conversion.sources.arrays import ArrayDump
from vecstore.errors import DuplicateKeyError, ExistsError, FormatError, OptionError, ShapeError
from vecstore.measure.fidelity import measure_fidelity
from vecstore.measure.oversampling import measure_oversampling
from vecstore.progress import Step
from vecstore.store import manifest

LAYOUTS = {"file": {}, "shards": {"shard_bytes": 160_000}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.vecs"


@pytest.fixture
def messy(words, word_keys):
    """Return vectors and keys with two bad rows, an empty key and three duplicates."""
    x, keys = words[:2000].copy(), list(word_keys[:2000])
    x[100, 3], x[200] = np.nan, np.inf
    keys[300], keys[1400], keys[1500], keys[1600] = "", keys[7], keys[7], keys[8]
    return x, keys


def counted(report, path):
    """Return the counts of a report, having held the store's provenance against them."""
    with vecstore.open(path) as store:
        provenance = store.info()["provenance"]
        counts = report.rows_read, report.bad, report.zeroed, report.duplicates
        assert counts == tuple(provenance[name] for name in ("rows", "bad", "zeroed", "duplicates"))
        assert provenance["examples"] == report.examples
        assert len(store) == report.rows == report.rows_read - report.bad - report.duplicates
        assert store.verify() > 0
    return counts


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("on_bad", ["skip", "zero"])
@pytest.mark.parametrize("on_duplicate", ["first", "last"])
def test_policies(path, messy, words, layout, on_bad, on_duplicate):
    x, keys = messy
    options = {"on_bad": on_bad, "on_duplicate": on_duplicate}
    report = vecstore.write(path, x, keys, "f32", **options, **LAYOUTS[layout])
    bad, zeroed = (3, 0) if on_bad == "skip" else (1, 2)
    assert counted(report, path) == (2000, bad, zeroed, 3)
    assert report.examples == ["row 100: NaN or infinity", "row 200: NaN or infinity", "row 300: empty key"]
    store = vecstore.open(path)
    assert store.info()["provenance"].items() >= options.items()
    np.testing.assert_array_equal(store[keys[7]], words[7 if on_duplicate == "first" else 1500])
    assert (keys[100] in store) == (on_bad == "zero") and store.get(keys[100], np.zeros(1)).max() == 0
    expected = {key for key in keys if key} - ({keys[100], keys[200]} if on_bad == "skip" else set())
    assert set(store) == expected
    for key in keys[:100:7]:
        assert key in (keys[7], keys[8]) or (store[key] == words[keys.index(key)]).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, FormatError, 'row 100: NaN or infinity; leave such rows out with on_bad="skip"'),
        (
            {"on_bad": "skip"},
            DuplicateKeyError,
            "have the same key '.*'; keep one of them with on_duplicate=",
        ),
    ],
)
def test_policies_by_default_are_errors(path, messy, options, error, message):
    with pytest.raises(error, match=message):
        vecstore.write(path, *messy, "f32", **options)
    assert list(path.parent.iterdir()) == []


def test_rows_of_a_text_dump_that_cannot_be_read(path):
    """What the reader found wrong with a row counts as bad too, and is quoted with its place."""
    dump = path.with_name("w.txt")
    dump.write_bytes(b"good 1 2 3\nshort 1 2\nalso 4 5 6\n\xff\xfe 7 8 9\nnan nan 1 2\nlast 7 8 9\n")
    with pytest.raises(FormatError, match='on_bad="skip"'):
        vecstore.convert(dump, path, "f32")
    report = vecstore.convert(dump, path, "f32", on_bad="skip")
    assert counted(report, path) == (6, 3, 0, 0) and len(report.examples) == 3
    assert list(vecstore.open(path)) == ["good", "also", "last"]
    np.testing.assert_array_equal(vecstore.open(path).vectors, np.float32([[1, 2, 3], [4, 5, 6], [7, 8, 9]]))


def test_zeros_for_rows_of_a_text_dump_that_cannot_be_read(path):
    dump = path.with_name("w.txt")
    dump.write_bytes(b"good 1 2 3\nshort 1 2\nnan nan 1 2\nlast 7 8 9\n")
    report = vecstore.convert(dump, path, "f32", on_bad="zero")
    assert counted(report, path) == (4, 0, 2, 0)
    store = vecstore.open(path)
    assert list(store) == ["good", "short", "nan", "last"]
    np.testing.assert_array_equal(store[["short", "nan"]], 0)


def test_null_keys_of_a_column_of_integers(path):
    """A key that is not there must not become the key 0."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"id": pa.array([5, None, None, 7]), "vector": pa.array([[1.0, 2]] * 4)})
    parquet.write_table(table, path.with_name("t.parquet"))
    for on_bad in ("skip", "zero"):
        report = vecstore.convert(path.with_name("t.parquet"), path, "f32", on_bad=on_bad, force=True)
        assert counted(report, path) == (4, 2, 0, 0)
        assert list(vecstore.open(path)) == [5, 7]


@pytest.mark.parametrize("spec", ["f16", "sq:8", "opq:10x4", "bin/sq:8", "pca:20,sq:8"])
def test_dumps_and_arrays_become_the_same_store(tmp_path, words, word_keys, spec):
    np.savez(tmp_path / "dump.npz", vectors=words[:1000], keys=np.array(word_keys[:1000]))
    with open(tmp_path / "glove.txt", "w", encoding="utf-8") as file:
        for key, row in zip(word_keys[:1000], words[:1000].tolist(), strict=True):
            print(key, *row, file=file)
    stores = []
    for source in (ArrayDump(words[:1000], word_keys[:1000]), tmp_path / "dump.npz", tmp_path / "glove.txt"):
        vecstore.convert(source, tmp_path / "out.vecs", spec, seed=3, force=True)
        stores.append(vecstore.open(tmp_path / "out.vecs"))
    for store in stores[1:]:
        np.testing.assert_array_equal(store.vectors, stores[0].vectors)
        assert list(store) == list(stores[0])
        assert store.info()["certificate"] == stores[0].info()["certificate"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spec", ["opq:5x4", "bin/sq:8", "rotate,sq:4"])
def test_same_input_and_seed_same_bytes(tmp_path, words, word_keys, spec, layout):
    def build(name, seed):
        path = tmp_path / name / "out.vecs"
        path.parent.mkdir()
        vecstore.write(path, words, word_keys, spec, seed=seed, **LAYOUTS[layout])
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return [(file.name, file.read_bytes()) for file in files]

    assert build("a", 1) == build("b", 1) != build("c", 2)


def test_report(path, words, word_keys):
    report = vecstore.write(path, words, word_keys, "sq:8", user={"note": "ü"})
    assert (report.path, report.rows, report.codec, report.dump_bytes) == (str(path), 5000, "sq:8", words.nbytes)
    assert report.store_bytes == path.stat().st_size
    info = vecstore.open(path).info()
    assert info["certificate"] == report.certificate and info["user"] == {"note": "ü"}
    fidelity = report.certificate
    assert fidelity["held_out"] is True and (fidelity["rows"], fidelity["training_rows"]) == (500, 4500)
    assert 0.998 < fidelity["cosine_min"] <= fidelity["cosine_p1"] <= fidelity["cosine_mean"] <= 1
    assert 0 < fidelity["relative_error"] < 1e-3


def test_provenance(path, words):
    source = path.with_name("dump.npy")
    np.save(source, words[:100])
    vecstore.convert(source, path, "f32", seed=9)
    told = vecstore.open(path).info()["provenance"]
    assert (told["source"], told["format"], told["seed"], told["rows"]) == ("dump.npy", "npy", 9, 100)
    assert told["bytes"] == source.stat().st_size and len(told["xxh3_128"]) == 32
    assert told["vecstore"] == vecstore.__version__ and str(path.parent) not in json.dumps(told)


def test_fidelity_is_what_lookups_show(path, words, word_keys):
    report = vecstore.write(path, words, word_keys, "pq:10")
    decoded = np.asarray(vecstore.open(path).vectors)
    cosines = (decoded * words).sum(axis=1) / np.linalg.norm(decoded, axis=1) / np.linalg.norm(words, axis=1)
    assert cosines.mean() == pytest.approx(report.certificate["cosine_mean"], abs=0.02)
    error = ((words - decoded) ** 2).sum() / ((words - words.mean(axis=0)) ** 2).sum()
    # Nine rows of ten here were trained on, so they lie nearer than the held-out ones of the report.
    assert 0.7 * report.certificate["relative_error"] < error < report.certificate["relative_error"]


def test_fidelity_of_exact_and_of_degenerate_data(words):
    for x in (words[:50], np.zeros((5, 50), np.float32), np.ones((1, 50), np.float32)):
        found = measure_fidelity(codec("f32").fit(x), x, keep_norms=False, seed=0)
        assert found.relative_error == 0 and found.rows == len(x)
        assert found.cosine_mean == (1 if x.any() else 0)


def test_kept_lengths_are_measured_too(words):
    trained = codec("bin").fit(words)
    lost, kept = (measure_fidelity(trained, words, keep_norms=keep, seed=0) for keep in (False, True))
    assert kept.relative_error < 1 and kept.cosine_mean > 0.5 and lost.rows == kept.rows


def test_oversampling_grows_as_the_coarse_layer_worsens(words):
    base = words[:3000]
    needed = [
        measure_oversampling(codec(spec).fit(base), words[3000:], base, rows=3000, metric="cosine")["0.999"]
        for spec in ("sq:8/f32", "sq:4/f32", "bin/f32")
    ]
    assert needed == sorted(needed) and needed[0] <= 4 < needed[-1]
    x = words[:3]
    factors = measure_oversampling(codec("bin/f32").fit(x), x, x, rows=3, metric="dot")
    assert list(factors.values()) == sorted(factors.values()) and min(factors.values()) >= 1


@pytest.mark.parametrize("rows", [1, 2, 9, 10, 11])
@pytest.mark.parametrize("spec", ["sq:8", "pq:5", "bin/sq:8", "pca:3,f16"])
def test_few_rows(path, words, rows, spec):
    report = vecstore.write(path, words[:rows], codec=spec)
    assert report.rows == rows and report.certificate["held_out"] is (rows >= 10)
    with vecstore.open(path) as store:
        assert np.isfinite(store.vectors).all() and len(store.search(words[0], k=3).rows) == min(rows, 3)


def test_only_zero_vectors(path):
    x = np.full((4, 6), np.nan)
    report = vecstore.write(path, x, list("abcd"), "sq:8", on_bad="zero")
    assert report.zeroed == 4 and not np.asarray(vecstore.open(path).vectors).any()


def test_a_trained_codec_is_taken_as_it_is(path, words, docs):
    trained = codec("pq:5").fit(words[3000:])
    vecstore.write(path, words[:500], codec=trained)
    np.testing.assert_array_equal(vecstore.open(path).vectors, trained.decode(trained.encode(words[:500])))
    with pytest.raises(ShapeError, match="50 dimensions"):
        vecstore.write(path, docs[:20], codec=trained, force=True)


def test_keys_and_vectors_of_many_types(path, words):
    for vectors in (
        words[:20].astype(np.float16),
        words[:20].astype(">f8"),
        words[:20].tolist(),
        words[:20].T.copy().T,
    ):
        vecstore.write(path, vectors, codec="f32", force=True)
        np.testing.assert_array_equal(vecstore.open(path).vectors, np.asarray(vectors, np.float32))
    for keys in (
        range(3),
        np.array([5, 6, 7], np.uint8),
        ("a", "b", "c"),
        np.array(["a", "b", "c"]),
        [b"a", b"b", b"c"],
    ):
        vecstore.write(path, words[:3], keys, "f32", force=True)
        assert list(vecstore.open(path)) == list(keys)


def test_progress(path, words):
    calls = []
    vecstore.write(path, words, codec="bin/sq:8", progress=calls.append)
    assert list(dict.fromkeys(step.stage for step in calls)) == ["reading", "training", "measuring", "encoding"]
    assert calls[-1] == Step("encoding", 5000, 5000)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"vectors": np.zeros(3)}, ShapeError, r"an \(n, d\) array of numbers, found shape \(3,\)"),
        ({"vectors": [["a"]]}, ShapeError, "numbers"),
        ({"vectors": np.zeros((2, 0))}, FormatError, "usable width"),
        ({"vectors": np.zeros((0, 3))}, ShapeError, "no rows to store"),
        ({"keys": ["a"]}, ShapeError, "1 keys for 2 vectors"),
        ({"keys": ["a", 1]}, OptionError, "all str, all bytes or all int"),
        ({"codec": "sq:9"}, ValueError, "choose 4, 6 or 8"),
        ({"codec": "pca:9,f32"}, ValueError, "choose 1 to 3"),
        ({"metric": "l1"}, OptionError, "unknown metric 'l1'"),
        ({"on_bad": "ignore"}, OptionError, "on_bad is error, skip or zero, found 'ignore'"),
        ({"on_duplicate": "any"}, OptionError, "on_duplicate is error, first or last, found 'any'"),
        ({"seed": -1}, OptionError, "a seed is a number from 0"),
        ({"shard_bytes": 10}, ValueError, "a shard of 10 bytes"),
    ],
)
def test_what_cannot_be_converted(path, arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        vecstore.write(path, **{"vectors": np.ones((2, 3)), "codec": "f32", **arguments})
    assert isinstance(caught.value, vecstore.VecstoreError)
    assert list(path.parent.iterdir()) == []


def test_a_dump_is_not_its_own_store(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 3)))
    with pytest.raises(ExistsError, match="is the dump itself"):
        vecstore.convert(tmp_path / "x.npy", tmp_path / "x.npy", force=True)
    np.save(tmp_path / "y.npy", np.ones((3, 3)))
    with pytest.raises(ExistsError, match="or a file of it"):
        vecstore.convert(tmp_path / "*.npy", tmp_path / "y.npy", force=True)
    assert open_dump(tmp_path / "*.npy").rows == 6


@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
def test_a_file_that_is_replaced_between_the_passes(tmp_path, monkeypatch, options):
    for part in "ab":
        np.save(tmp_path / f"{part}.npy", np.ones((900, 64)))
        os.utime(tmp_path / f"{part}.npy", ns=(0, 0))
    encode = shards.encode_shard

    def encode_another(work, report):
        np.save(tmp_path / "b.npy", -np.ones((900, 64)))
        return encode(work, report)

    with monkeypatch.context() as patched:
        patched.setattr(shards, "encode_shard", encode_another)
        with pytest.raises(FormatError, match=r"b\.npy: the dump changed while it was read; convert it again"):
            vecstore.convert(tmp_path / "*.npy", tmp_path / "x.vecs", "sq:8", **options)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.npy", "b.npy"]
    assert vecstore.convert(tmp_path / "*.npy", tmp_path / "x.vecs", "sq:8", **options).rows == 1800


def test_a_link_to_a_file_that_is_not_there_is_not_left_out(tmp_path):
    (tmp_path / "dumps" / "folder.npy").mkdir(parents=True)
    np.save(tmp_path / "dumps" / "a.npy", np.ones((3, 3)))
    (tmp_path / "dumps" / "b.npy").symlink_to("nowhere")
    for source in ("dumps", "dumps/*.npy"):
        with pytest.raises(FormatError, match=r"b\.npy: is no regular file; check the name"):
            vecstore.convert(tmp_path / source, tmp_path / "x.vecs")


def test_more_shards_than_a_store_has(path, words, monkeypatch):
    monkeypatch.setattr(manifest, "MOST_SHARDS", 2)
    with pytest.raises(OptionError, match="3 shards: a store has at most 2; give a larger shard_bytes="):
        vecstore.write(path, np.ones((1500, 64)), codec="f32", shard_bytes=200_000)
    assert list(path.parent.iterdir()) == []
    vecstore.write(path, np.ones((1000, 64)), codec="f32", shard_bytes=200_000)
    with pytest.raises(OptionError, match="3 shards"), vecstore.edit(path) as e:
        e.append(np.ones((5, 64)))
    assert len(vecstore.open(path)) == 1000


def test_a_failing_reader_leaves_the_old_store(path, words):
    vecstore.write(path, words[:20], codec="f32")

    class Failing(ArrayDump):
        def _batches(self, rows):
            yield from super()._batches(7)
            raise FormatError("the disk is on fire")

    before = path.read_bytes()
    with pytest.raises(FormatError, match="on fire"):
        vecstore.convert(Failing(words), path, "f32", force=True)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_a_coarse_layer_that_hides_neighbours_is_named(words, word_keys, path, monkeypatch):
    monkeypatch.setattr("vecstore.conversion.certification.DEEP_ROWS", 1000)
    with pytest.warns(RescoringWarning, match=r"bin orders .* rescores [\d,]+ of 5,000 rows .* sq:8 alone"):
        vecstore.write(path, words, word_keys, "bin/sq:8")
