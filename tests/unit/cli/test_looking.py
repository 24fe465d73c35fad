"""info, get, search and verify."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import vecstore as package


def test_info(good, words):
    text = good("info", words).stdout
    for piece in ("300 x 8", "resident", "stored", "per vector", "certificate", "x.npy", "strings"):
        assert piece in text
    assert json.loads(good("info", words, "--json").stdout) == package.open(words).info()


def test_info_of_many_parts(good):
    good("convert", "x.npy", "x.vecs", "-c", "bin/sq:8", "--shard-size", "140kB", "--meta", "licence=MIT", "--norms")
    text = good("info", "x.vecs").stdout
    for piece in (
        "bin/sq:8",
        "bytes on disk: code 1 + 8, ",
        "rescoring",
        "licence",
        "MIT",
        "kept beside",
        "row",
        "least",
    ):
        assert piece in text


def test_get_lines(good, words, x):
    lines = good("get", words, "key 7", "key 3").stdout.splitlines()
    assert [line.rsplit(" ", 8)[0] for line in lines] == ["key 7", "key 3"]
    np.testing.assert_array_equal(np.array(lines[1].split()[2:], np.float32), x[3])


def test_get_json_and_file(good, fails, words, x):
    found = json.loads(good("get", words, "key 7", "key 3", "--json").stdout)
    assert [one["key"] for one in found] == ["key 7", "key 3"]
    np.testing.assert_array_equal(np.array(found[0]["vector"], np.float32), x[7])
    assert good("get", words, "key 7", "key 3", "--output", "two.npy").stdout == ""
    np.testing.assert_array_equal(np.load("two.npy"), x[[7, 3]])
    assert "--force" in fails("get", words, "key 7", "--output", "two.npy")
    good("get", words, "key 7", "--output", "two.npy", "--force")
    assert np.load("two.npy").shape == (1, 8)


def test_get_missing_keys(fails, words):
    assert "no key 'a', 'b' in words.vecs\n" in fails("get", words, "a", "key 1", "b")
    assert "'e' and 2 more" in fails("get", words, *"abcdefg")


def test_numbers_as_keys(good, fails, x):
    np.save("ids.npy", np.arange(300) - 100)
    good("convert", "x.npy", "ids.vecs", "--keys", "ids.npy", "-c", "f32")
    found = json.loads(good("get", "ids.vecs", "--json", "--", "-100", "199").stdout)
    assert [one["key"] for one in found] == [-100, 199] and found[0]["vector"] == pytest.approx(x[0])
    assert "its keys are integers" in fails("get", "ids.vecs", "one")
    assert "no key '9223372036854775808'" in fails("get", "ids.vecs", 2**63)
    assert "no key '-9223372036854775808'" in fails("get", "ids.vecs", "--", -(2**63))


def test_row_numbers(good, fails, x):
    good("convert", "x.npy", "rows.vecs", "-c", "f32")
    assert json.loads(good("get", "rows.vecs", "5", "--json").stdout)[0]["vector"] == pytest.approx(x[5])
    assert "rows are 0 to 299" in fails("get", "rows.vecs", 300)
    assert "found by their number" in fails("get", "rows.vecs", "king")


def test_bytes_keys(good):
    Path("raw.txt").write_bytes(b"2 1\na\xff 1\nb 2\n")
    good("convert", "raw.txt", "raw.vecs", "--key-type", "bytes", "-c", "f32")
    found = json.loads(good("search", "raw.vecs", "--key", "b", "--json").stdout)
    assert [one["key"] for one in found["results"][0]["neighbours"]] == ["a\\xff"]


def neighbours(result) -> list[list[str]]:
    return [[one["key"] for one in answer["neighbours"]] for answer in json.loads(result.stdout)["results"]]


def test_search_by_key_leaves_it_out(good, words, x, keys):
    cosines = (x @ x[7]) / np.linalg.norm(x, axis=1)
    nearest = [keys[row] for row in np.argsort(-cosines)[1:4]]
    found = good("search", words, "--key", "key 7", "-k", 3, "--json")
    assert neighbours(found) == [nearest] and json.loads(found.stdout)["results"][0]["query"] == "key 7"
    text = good("search", words, "--key", "key 7", "--key", "key 8", "-k", 3).stdout
    assert all(word in text for word in [*nearest, "key 7", "key 8", "cosine"])


def test_search_by_vector(good, words, x):
    np.save("queries.npy", x[[3, 5]])
    found = good("search", words, "--vector", "queries.npy", "-k", 1, "--metric", "l2", "--json")
    assert neighbours(found) == [["key 3"], ["key 5"]] and json.loads(found.stdout)["metric"] == "l2"
    numbers = ",".join(map(str, x[9].tolist()))
    assert neighbours(good("search", words, "--vector", numbers, "-k", 1, "--json")) == [["key 9"]]
    lines = "".join(f"{row}\n\n" for row in x[[1, 2]].tolist())
    assert neighbours(good("search", words, "--vector", "-", "-k", 1, "--json", input=lines)) == [["key 1"], ["key 2"]]


def test_search_rescored(good, x):
    good("convert", "x.npy", "x.vecs", "-c", "bin/f32")
    np.save("one.npy", x[3])
    assert neighbours(good("search", "x.vecs", "--vector", "one.npy", "-k", 1, "--rescore", 300, "--json")) == [[3]]


def test_search_exactly(good, fails, x, words):
    good("convert", "x.npy", "x.vecs", "-c", "bin/f32")
    np.save("one.npy", x[3])
    cosines = (x @ x[3]) / np.linalg.norm(x, axis=1)
    nearest = np.argsort(-cosines)[:5].tolist()
    assert neighbours(good("search", "x.vecs", "--vector", "one.npy", "-k", 5, "--exact", "--json")) == [nearest]
    assert neighbours(good("search", "x.vecs", "--vector", "one.npy", "-k", 1, "--recall", 0.9, "--json")) == [[3]]
    assert "for recall 0.95" in good("info", "x.vecs").stdout
    assert "--exact is for two-layer stores" in fails("search", words, "--key", "key 1", "--exact")
    assert "recall is a share up to 0.999" in fails("search", "x.vecs", "--key", "1", "--recall", 2)


def test_search_of_some_rows(good, fails, words, x, keys):
    cosines = (x @ x[7]) / np.linalg.norm(x, axis=1)
    order = [row for row in np.argsort(-cosines).tolist() if row != 7]
    Path("some.txt").write_text("\n".join(keys[row] for row in order[1:3]) + "\n")
    np.save("some.npy", np.array(order[1:3]))
    for file in ("some.txt", "some.npy"):
        assert neighbours(good("search", words, "--key", "key 7", "--rows", file, "--json")) == [
            [keys[row] for row in order[1:3]]
        ]
        left = neighbours(good("search", words, "--key", "key 7", "--exclude", file, "-k", 2, "--json"))
        assert left == [[keys[order[0]], keys[order[3]]]]
    Path("wrong.txt").write_text("nobody\n")
    assert "no key 'nobody'" in fails("search", words, "--key", "key 7", "--rows", "wrong.txt")
    assert "missing.npy: no such file" in fails("search", words, "--key", "key 7", "--rows", "missing.npy")


def test_search_within_a_limit(good, fails, words, x, keys):
    with package.open(words) as store:
        within = store.range_search(store["key 7"], min_score=0.3, exclude=[7]).keys
    assert len(within) > 5
    assert neighbours(good("search", words, "--key", "key 7", "--min-score", 0.3, "--all", "--json")) == [within]
    assert neighbours(good("search", words, "--key", "key 7", "--min-score", 0.3, "-k", 4, "--json")) == [within[:4]]
    assert neighbours(good("search", words, "--key", "key 7", "--min-score", 2, "--json")) == [[]]
    assert "--min-score" in fails("search", words, "--key", "key 7", "--all")
    assert "--max-distance" in fails("search", words, "--key", "key 7", "--min-score", 1, "--metric", "l2")
    assert "--all misses nothing" in fails("search", words, "--key", "key 7", "--min-score", 1, "--all", "--exact")


def test_search_bad_input(fails, words):
    assert "say what to search for" in fails("search", words)
    assert "say what to search for" in fails("search", words, "--key", "key 1", "--vector", "1,2")
    assert "could not convert" in fails("search", words, "--vector", "1,two")
    assert "lines of 2 and of 3 numbers" in fails("search", words, "--vector", "-", input="1 2\n1 2 3\n")
    assert "stdin holds no query" in fails("search", words, "--vector", "-", input="\n")
    assert "8 dimensions" in fails("search", words, "--vector", "1,2")
    assert "no key 'nobody'" in fails("search", words, "--key", "nobody")
    assert "nowhere.npy: no such file" in fails("search", words, "--vector", "nowhere.npy")
    Path("fake.npy").write_text("not an array")
    assert "fake.npy" in fails("search", words, "--vector", "fake.npy")
    assert "-k" in fails("search", words, "--key", "key 1", "-k", 0)


def test_verify(good, fails, words, x):
    assert "sound; 300 rows" in good("verify", words).stdout
    damaged = bytearray(Path(words).read_bytes())
    at = damaged.find(x[150].tobytes())
    assert at > 0
    damaged[at] ^= 1
    Path(words).write_bytes(damaged)
    assert words in fails("verify", words, status=1)
    assert words in fails("get", words, "key 150", status=1)


def test_no_store(fails):
    assert "nothing.vecs: no such file" in fails("info", "nothing.vecs")
    assert "not a vecstore store" in fails("verify", "x.npy")
    assert "manifest.json" in fails("get", ".", "key")


def test_a_certificate_is_measured_again(good, vecstore):
    good("convert", "x.npy", "x.vecs", "--keys", "keys.txt", "--codec", "pq:4")
    text = good("verify", "x.vecs", "--certificate", "x.npy", "--keys", "keys.txt").stdout
    assert text.count("holds") == 7
    np.save("y.npy", np.load("x.npy")[::-1])
    other = vecstore("verify", "x.vecs", "--certificate", "y.npy", "--keys", "keys.txt")
    assert other.exit_code == 1 and "does not hold" in other.stdout and "does not hold for this dump" in other.stderr


def test_calibrated_scores(good):
    good("convert", "x.npy", "x.vecs", "--codec", "pq:2")
    plain, calibrated = (
        json.loads(good("search", "x.vecs", "--vector", "x.npy", "--json", *more).stdout)["results"]
        for more in ([], ["--calibrated"])
    )
    assert [one["row"] for one in plain[0]["neighbours"]] == [one["row"] for one in calibrated[0]["neighbours"]]
    assert plain != calibrated


def test_warm(good, words):
    assert "kernels for" in good("warm").stderr
    assert f"{words}: 300 rows are ready" in good("warm", words).stderr


def test_fields(good):
    x = np.random.default_rng(0).normal(size=(100, 4))
    fields = {
        "tokens": package.Multi(x[:, None], codec="sq:8"),
        "terms": package.Sparse([{i: 1.0} for i in range(100)]),
    }
    fields |= {"image": package.Dense(x, codec="sq:8"), "fde": package.Muvera(repetitions=1, codec="sq:8")}
    package.write("x.vecs", x, codec="sq:8", fields=fields)
    text = good("info", "x.vecs").stdout
    for piece in ("multi, sq:8, 100 vectors", "sparse, 8 bits a weight", "dense, sq:8, 4 dimensions", "made of tokens"):
        assert piece in text
    assert "sound" in good("verify", "x.vecs").stdout
    assert "not exported: tokens, terms, image, fde" in good("export", "x.vecs", "y.npy").stderr
