from __future__ import annotations

import gzip
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from vecstore.formats import open_dump

import vecstore as package
from vecstore.conversion.report import Front


def word2vec(rows: list[str]) -> str:
    return f"{len(rows)} {len(rows[0].split()) - 1}\n" + "".join(f"{row}\n" for row in rows)


def test_summary_and_store(good, keys):
    text = good("convert", "x.npy", "x.vecs", "--keys", "keys.txt").stderr
    assert "300 x 8, codec sq:8" in text and "bytes on disk: code 8, key" in text and "on average" in text
    with package.open("x.vecs") as store:
        assert list(store) == keys and store.info()["codec"] == "sq:8"


@pytest.mark.parametrize(
    ("taken", "shown"),
    [
        ((2, 1), "2 ms with bin and 1 ms with tcq:1 (estimated for 300 rows here): --codec tcq:1/sq:8 would be faster"),
        ((2, 1.9), "2 ms with bin and 1.9 ms with tcq:1 (estimated for 300 rows here)"),
    ],
)
def test_the_faster_layer_in_front_is_named(good, monkeypatch, taken, shown):
    found = [Front(coarse, 20, ms) for coarse, ms in zip(("bin", "tcq:1"), taken, strict=True)]
    monkeypatch.setattr("vecstore.conversion.conversion.compare_fronts", lambda *_: found)
    told = " ".join(good("convert", "x.npy", "x.vecs", "--codec", "bin/sq:8").stderr.split())
    assert shown in told and (shown.endswith("faster") or "would be" not in told)


@pytest.mark.slow
def test_workers(good):
    """Two processes encode shards of one file; and go on where there is nothing to go on from."""
    options = ["--keys", "keys.txt", "--codec", "f32", "--shard-size", "140kB"]
    good("convert", "x.npy", "a.vecs", *options)
    good("convert", "x.npy", "b.vecs", *options, "--workers", "2", "--resume")
    one, two = ({file.name: file.read_bytes() for file in Path(name).iterdir()} for name in ("a.vecs", "b.vecs"))
    assert one == two and not list(Path().glob(".*.partial"))


@pytest.mark.parametrize("keys", ["str", "int64", "hard", None])
def test_the_commands_that_a_summary_ends_with_work(good, keys):
    rows, options = np.arange(300), ["--keys", "keys.txt"]
    if keys == "int64":
        Path("keys.txt").write_text("".join(f"{row - 5}\n" for row in rows))
        options += ["--key-type", "int64"]
    if keys == "hard":
        Path("keys.txt").write_text("".join(f"--it's {row}; $x\n" for row in rows))
    name = "the store.vecs"
    text = good("convert", "x.npy", name, *(options if keys else [])).stderr
    printed = text.partition("\nNext\n")[2].splitlines()
    commands = [shlex.split(line) for line in printed]
    assert [words[:3] for words in commands] == [["vecstore", verb, name] for verb in ("info", "search", "verify")]
    outputs = [good(*words[1:]).stdout for words in commands]
    assert len(outputs[1].splitlines()) == 6  # a header and five neighbours


def test_quiet(good):
    result = good("convert", "x.npy", "x.vecs", "--quiet")
    assert result.output == "" and Path("x.vecs").exists()


def test_options_reach_the_store(good, x):
    Path("meta.json").write_text('{"model": {"name": "m", "layers": 6}}')
    options = ["--metric", "l2", "--norms", "--seed", 7, "--codec", "pca:4,sq:8", "--shard-size", "140kB"]
    good("convert", "x.npy", "x.vecs", *options, "--meta", "licence=MIT=x", "--meta", "@meta.json")
    with package.open("x.vecs") as store:
        about = store.info()
    assert (about["metric"], about["norms"], about["codec"]) == ("l2", True, "pca:4,sq:8")
    assert about["provenance"]["seed"] == 7 and Path("x.vecs").is_dir()
    assert about["user"] == {"licence": "MIT=x", "model": {"name": "m", "layers": 6}}


def test_text_formats(good, x):
    rows = [f"w{i} " + " ".join(map(str, row)) for i, row in enumerate(x.tolist())]
    Path("x.txt").write_text("".join(f"{row}\n" for row in rows))
    Path("x.vec.gz").write_bytes(gzip.compress(word2vec(rows).encode()))
    for dump in ("x.txt", "x.vec.gz"):
        good("convert", dump, "x.vecs", "--codec", "f32", "--force")
        with package.open("x.vecs") as store:
            np.testing.assert_array_equal(store["w299"], x[299])
    good("convert", "x.txt", "x.vecs", "--from", "glove", "--key-type", "bytes", "--force")
    assert json.loads(good("get", "x.vecs", "w1", "--json").stdout)[0]["key"] == "w1"


def test_parquet_columns(good, fails, x, keys):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"id": pa.array(range(300)), "title": pa.array(keys)}
    columns |= {name: pa.array(list(x), pa.list_(pa.float32())) for name in ("a", "b")}
    parquet.write_table(pa.table(columns), "x.parquet")
    fails("convert", "x.parquet", "x.vecs")
    good("convert", "x.parquet", "x.vecs", "--key-column", "id", "--vector-column", "b", "-c", "f32")
    assert json.loads(good("get", "x.vecs", "299", "--json").stdout) == [{"key": 299, "vector": pytest.approx(x[299])}]


@pytest.mark.parametrize(("policy", "rows", "line"), [("skip", 2, "bad rows left out"), ("zero", 3, "stored as zeros")])
def test_bad_rows(good, fails, policy, rows, line):
    np.save("bad.npy", np.array([[1, 2], [np.nan, 1], [3, 4]], np.float32))
    assert "row 1" in fails("convert", "bad.npy", "x.vecs") and not Path("x.vecs").exists()
    text = good("convert", "bad.npy", "x.vecs", "--on-bad", policy, "-c", "f32").stderr
    assert line in text and "row 1: NaN" in text
    assert len(package.open("x.vecs")) == rows
    for shown in (text, good("info", "x.vecs").stdout):
        assert ("in the dump's order, 1 left out" in shown) == (policy == "skip")
    np.save("some.npy", np.array([True, False, True]))
    search = ("search", "x.vecs", "--vector", "1,2", "--rows", "some.npy")
    if policy == "skip":
        assert "some.npy: rows here lie in the dump's order, 1 left out" in fails(*search)
    else:
        good(*search)


@pytest.mark.parametrize(("policy", "value"), [("first", 1), ("last", 3)])
def test_duplicate_keys(good, fails, policy, value):
    Path("twice.txt").write_text(word2vec(["a 1 1", "b 2 2", "a 3 3"]))
    assert "'a'" in fails("convert", "twice.txt", "x.vecs")
    text = good("convert", "twice.txt", "x.vecs", "--on-duplicate", policy, "-c", "f32").stderr
    assert "duplicate keys left out" in text
    assert package.open("x.vecs")["a"].tolist() == [value, value]


def test_bad_input(fails, words):
    assert "nothing.npy" in fails("convert", "nothing.npy", "x.vecs")
    assert "did you mean 'opq'" in fails("convert", "x.npy", "x.vecs", "--codec", "opqq:4")
    assert "'5XB' is not a size" in fails("convert", "x.npy", "x.vecs", "--shard-size", "5XB")
    assert "--force" in fails("convert", "x.npy", words)
    assert "did you mean 'npy'" in fails("convert", "x.npy", "x.vecs", "--from", "npyy")
    assert "expected 300" in fails("convert", "x.npy", "x.vecs", "--keys", _three_keys())
    assert "KEY=VALUE" in fails("convert", "x.npy", "x.vecs", "--meta", "novalue")
    assert "not JSON" in fails("convert", "x.npy", "x.vecs", "--meta", "@keys.txt")
    assert "seed" in fails("convert", "x.npy", "x.vecs", "--seed", -1)
    assert "no such directory" in fails("convert", "x.npy", "nowhere/x.vecs")
    assert not list(Path().glob(".*")) and not Path("x.vecs").exists()


@pytest.mark.parametrize(
    ("name", "options"), [("y.npy", ["--keys", "y.keys.txt"]), ("y.vec", []), ("y.parquet", []), ("y.fifu", [])]
)
def test_export_and_back(good, name, options, x, keys):
    keys = [key.replace(" ", "-") for key in keys]  # word2vec text cannot hold a space in a key
    Path("plain.txt").write_text("".join(f"{key}\n" for key in keys))
    good("convert", "x.npy", "plain.vecs", "--keys", "plain.txt", "-c", "f32")
    text = good("export", "plain.vecs", name).stderr
    assert "300 rows" in text
    good("convert", name, "again.vecs", "--codec", "f32", *options)
    with package.open("again.vecs") as store:
        assert list(store) == keys
        np.testing.assert_array_equal(np.asarray(store.vectors), x)


def test_export_keyless_and_int64(good, x):
    np.save("ids.npy", np.arange(300) * 10)
    good("convert", "x.npy", "ids.vecs", "--keys", "ids.npy")
    good("export", "ids.vecs", "y.parquet")
    batch = next(open_dump("y.parquet").batches())
    assert isinstance(batch.keys, np.ndarray) and batch.keys.tolist() == list(range(0, 10 * 300, 10))
    good("convert", "x.npy", "rows.vecs", "-c", "f32")
    good("export", "rows.vecs", "y.npy", "--quiet")
    np.testing.assert_array_equal(np.load("y.npy"), x)


@pytest.mark.parametrize("name", ["y.fifu", "y.vec"])
def test_export_leaves_deleted_rows_out(good, name, x):
    package.write("d.vecs", {f"k{row}": vector for row, vector in enumerate(x)}, codec="f32", shard_bytes=131_072)
    with package.edit("d.vecs") as edit:
        edit.delete(["k0", "k7"])
    good("export", "d.vecs", name)
    good("convert", name, "again.vecs", "--codec", "f32")
    with package.open("again.vecs") as again, package.open("d.vecs") as store:
        assert list(again) == list(store) == [f"k{row}" for row in range(300) if row not in (0, 7)]
        np.testing.assert_array_equal(again["k8"], x[8])


def test_export_refuses(fails, words):
    assert "the name does not tell the format" in fails("export", words, "y.dat")
    assert "'torch' can be read but not written" in fails("export", words, "y.dat", "--to", "torch")
    assert "--force" in fails("export", words, "x.npy")
    assert "is the store itself" in fails("export", words, words, "--to", "npy", "--force")


def _three_keys() -> str:
    Path("three.txt").write_text("a\nb\nc\n")
    return "three.txt"


def test_a_budget_chooses_the_codec(good, fails):
    text = good("convert", "x.npy", "x.vecs", "--budget", "12", "--queries", "x.npy").stderr
    with package.open("x.vecs") as store:
        certificate = store.info()["certificate"]
    assert certificate["bytes"]["row"] <= 12 and certificate["query_recall"]["queries"] == 300
    assert "recall" in text and "given queries" in text
    asked = "verify", "x.vecs", "--certificate", "x.npy"
    assert "give them with --queries" in good(*asked).stdout
    assert "recall@10 of the queries" in good(*asked, "--queries", "x.npy").stdout
    assert "smallest codec" in fails("convert", "x.npy", "y.vecs", "--budget", "0.01")
    assert "--codec and --budget" in fails("convert", "x.npy", "y.vecs", "--budget", "9", "--codec", "f16")


def test_the_codec_of_another_store(good):
    good("convert", "x.npy", "x.vecs", "--codec", "pq:4")
    good("convert", "x.npy", "y.vecs", "--like", "x.vecs")
    np.save("z.npy", np.load("x.npy") * 3 + 5)
    noted = good("convert", "z.npy", "z.vecs", "--like", "x.vecs").stderr
    assert "the codec's own data with" in noted
    with package.open("z.vecs") as store:
        assert store.info()["codec"] == "pq:4"


def test_tune_prints_what_was_tried(good, fails):
    assert "a seed is a number from 0" in fails("tune", "x.npy", "--budget", "12", "--seed", "-1")
    table = good("tune", "x.npy", "--budget", "12", "--budget", "4x").stdout
    assert "recall@10" in table and table.count("->") == 2 and "Gaussian limit" in table
    found = json.loads(good("tune", "x.npy", "--budget", "12", "--json").stdout)
    assert found[0]["chosen"] == found[0]["table"][0]["codec"] and len(found[0]["table"][0]["recall"]) == 3
