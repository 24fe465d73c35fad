"""The parts of a bench: budgets, splits, sources, metrics and intervals, each against what can be said by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from vecstore.bench.budget import ALWAYS, FAMILIES, always_bytes, parse_budgets, specs_for, split_specs
from vecstore.bench.generated import FAMILIES as GENERATED
from vecstore.bench.generated import generate, parse_generated
from vecstore.bench.geometry import effective_rank, isotropy, occurrences, skewness
from vecstore.bench.metrics import kendall
from vecstore.bench.peers.peer import peer_class, remedy
from vecstore.bench.plan import plan
from vecstore.bench.resampling import Bootstrap
from vecstore.bench.running import bench, prepare
from vecstore.bench.sources import Judgement, Source, read_judgements, read_source, read_weights
from vecstore.bench.split import exact_scores, make_split
from vecstore.bench.thresholds import drifts

import vecstore
from vecstore.errors import BudgetError, CodecError, FormatError, OptionError, ShapeError

X = np.random.default_rng(0).standard_normal((600, 16)).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "wanted"), [("8, 16", [8, 16]), ("4x,32x", [48, 384]), ("5%", [76]), ([7, 7], [7]), ("48b", [48])]
)
def test_budgets(text, wanted):
    assert parse_budgets(text, 384) == wanted


@pytest.mark.parametrize("text", ["", "many", "-3", "0x", "0.01%", "0"])
def test_no_budgets(text):
    with pytest.raises(BudgetError):
        parse_budgets(text, 384)


@pytest.mark.parametrize("budget", [8, 48, 96, 200, 384, 800])
def test_codecs_of_a_budget_stay_inside_it(budget, docs):
    found = specs_for([budget], 384, "default")
    assert found and set(ALWAYS) <= set(found)
    found = [spec for spec in found if spec not in ALWAYS]
    assert set(specs_for([budget], 384, quick=True)) <= {*found, *ALWAYS}
    for spec in found:
        if vecstore.codec(spec).layers[0].quantizer.name in ("sq", "bin", "tcq", "f16"):
            assert vecstore.codec(spec).fit(docs[:300]).code_bytes <= budget, spec
    assert set(found) <= set(specs_for([budget], 384, "all"))


def test_the_default_codec_and_floats_are_always_measured():
    assert ALWAYS == ("sq:8", "f16") and always_bytes(384) == [384, 768]
    planned = plan(384, budgets="16", peers="numpy")
    assert planned.budgets == (16, 384, 768)
    assert {"sq:8", "f16", "numpy int8, one scale"} <= {run.label for run in planned.runs}
    assert plan(384, budgets="16", codecs="tcq:16", peers="none").budgets == (16,)


def test_quick_settings_of_faiss_train_in_seconds():
    labels = [own["label"] for size in (8, 16, 48, 128, 384, 768) for own in peer_class("faiss").quick(size, 384)]
    assert {"PQ16", "PQ96x4fs", "PQ128", "SQ8", "SQfp16"} <= set(labels)
    assert not [label for label in labels if label.startswith(("OPQ", "RQ", "LSQ", "PQ384"))]


def test_what_is_not_installed_is_told_in_a_line():
    assert remedy({"svs": "why", "usearch": "why"}) == (
        "not installed, and so not measured: svs, usearch; to add them: pip install scalable-vs usearch"
    )


def test_every_rule_of_the_table_speaks_for_all_sizes():
    for family in FAMILIES:
        for d in (1, 7, 50, 384, 1536):
            for budget in (1, 8, 33, 384, 6144):
                assert family.rule(budget, d) is None or isinstance(family.rule(budget, d), str)


def test_specifications_in_a_list():
    assert split_specs("sq:8,truncate:8,sq:4,bin/sq:8") == ["sq:8", "truncate:8,sq:4", "bin/sq:8"]
    assert specs_for([48], 384, "sq:8 sq:8") == ["sq:8"]
    with pytest.raises(CodecError, match="no codec 'foo'"):
        specs_for([48], 384, "foo:8")


@pytest.mark.parametrize("family", GENERATED)
def test_generated_families_are_what_their_seed_says(family):
    x = generate(family, 400, 24, seed=3)
    assert x.shape == (400, 24) and x.dtype == np.float32 and np.isfinite(x).all()
    assert np.array_equal(x, generate(family, 400, 24, seed=3)) and not np.array_equal(x, generate(family, 400, 24))


def test_generated_families_differ_in_shape():
    rank = {name: effective_rank(np.linalg.svd(generate(name, 500, 64))[1] ** 2) for name in GENERATED}
    assert rank["low-rank"] < rank["matryoshka"] < rank["gaussian"]


@pytest.mark.parametrize("text", ["generated:none", "generated:zipf:3by4", "generated:zipf:0x4"])
def test_generated_names_that_are_none(text):
    with pytest.raises(OptionError):
        read_source(text)
    assert parse_generated("zipf.npy") is None


def test_split_drops_repeats_and_keeps_parts_apart():
    x = np.concatenate([X, X[:50] * 2, np.zeros((3, 16)), np.full((2, 16), np.nan)]).astype(np.float32)
    split = make_split(Source("x", x), query_rows=40)
    assert split.about["dropped"] == {"duplicates": 50, "unsound": 5, "same_key": 0}
    assert len(split.queries) == 40 and len(split.train) + len(split.base) + 40 == 600
    parts = [{row.tobytes() for row in part} for part in (split.train, split.base, split.queries)]
    assert len(parts[0] | parts[1] | parts[2]) == 600
    again = make_split(Source("x", x), query_rows=40)
    assert again.about["fingerprint"] == split.about["fingerprint"]
    assert make_split(Source("x", x), query_rows=40, seed=1).about["fingerprint"] != split.about["fingerprint"]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_given_truth_is_cut_down_to_the_searched_rows(metric):
    queries = np.random.default_rng(1).standard_normal((20, 16)).astype(np.float32)
    nearest = np.argsort(-exact_scores(queries, X, metric), axis=1)[:, :200]
    scanned = make_split(Source("x", X, queries=queries), metric=metric)
    given = make_split(Source("x", X, queries=queries, truth=nearest), metric=metric)
    depth = given.truth.shape[1]
    assert depth >= 10 and np.array_equal(given.truth, scanned.truth[:, :depth])
    np.testing.assert_allclose(given.truth_scores, scanned.truth_scores[:, :depth], atol=1e-4)


def test_split_survives_the_disk(tmp_path):
    keys = [bytes([i % 256, i // 256]) for i in range(600)]
    split = make_split(Source("x", X, keys, weights=1 / np.arange(1, 601)))
    split.save(tmp_path)
    again = type(split).load(tmp_path)
    assert again.keys == split.keys and again.about == split.about
    assert np.array_equal(again.truth, split.truth) and np.array_equal(again.weights, split.weights)


def test_too_few_vectors_are_refused():
    with pytest.raises(ShapeError, match="give more rows"):
        make_split(Source("x", X[:60]))
    with pytest.raises(ShapeError, match="3 dimensions, the vectors 16"):
        make_split(Source("x", X, queries=X[:5, :3]))


def test_judgements_by_key_and_of_trec(tmp_path):
    source = Source("x", X, [f"doc {i}" for i in range(600)])
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n0\tdoc 5\t2\n1\tdoc 7\t0\n")
    assert read_judgements(tmp_path / "qrels.tsv", source) == [Judgement(0, 5, 2)]
    (tmp_path / "qrels.txt").write_text("0 0 12 1\n")
    assert read_judgements(tmp_path / "qrels.txt", Source("x", X)) == [Judgement(0, 12, 1)]
    np.save(tmp_path / "rows.npy", [3, 4])
    assert read_judgements(tmp_path / "rows.npy", source) == [Judgement(0, 3, 1), Judgement(1, 4, 1)]
    (tmp_path / "qrels.tsv").write_text("0\tdoc 9999\t1\n")
    with pytest.raises(FormatError, match="line 1: 'doc 9999' is not in the dump"):
        read_judgements(tmp_path / "qrels.tsv", source)


def test_relevant_rows_are_searched(tmp_path):
    judged = [Judgement(i, row, 1) for i, row in enumerate(range(0, 600, 20))]
    split = make_split(Source("x", X, queries=X[:30] + 1, judgements=judged))
    assert len(split.judgements) == 30


def test_weights(tmp_path):
    np.testing.assert_allclose(read_weights("rank", None, 3), np.array([6, 3, 2]) / 11)
    np.save(tmp_path / "w.npy", [1, 2, 1])
    np.testing.assert_allclose(read_weights(str(tmp_path / "w.npy"), None, 3), [0.25, 0.5, 0.25])
    with pytest.raises(OptionError, match="needs a parquet dump"):
        read_weights("count", None, 3)
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"count": [3, 1, 0]}), tmp_path / "w.parquet")
    np.testing.assert_allclose(read_weights("count", tmp_path / "w.parquet", 3), [0.75, 0.25, 0])


def test_options_that_do_not_exist_or_do_not_go_together():
    for call in (prepare, lambda source, **options: bench(source, "out", **options)):
        with pytest.raises(OptionError, match=r"no option 'budget'.*did you mean 'budgets'"):
            call(X, budget="48")
    with pytest.raises(OptionError, match="give them too"):
        prepare(X, qrels="judgements.tsv")


def test_ann_benchmarks_bring_their_truth(tmp_path):
    h5py = pytest.importorskip("h5py")
    queries = X[:20] + np.float32(0.1)
    nearest = np.argsort(-exact_scores(queries, X, "l2"), axis=1)[:, :100]
    with h5py.File(tmp_path / "set.hdf5", "w") as file:
        file["train"], file["test"], file["neighbors"] = X, queries, nearest
    split = prepare(tmp_path / "set.hdf5", metric="l2")
    assert (split.about["truth_from"], split.about["queries"]) == ("given", 20)
    (tmp_path / "no.hdf5").write_bytes(b"nothing of the kind")
    with pytest.raises(FormatError, match="HDF5"):
        read_source(tmp_path / "no.hdf5")


def test_digits_are_there(digits):
    pytest.importorskip("sklearn")
    assert read_source("digits").x.shape == digits.shape


def test_kendall_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((5, 30)), rng.standard_normal((5, 30))
    np.testing.assert_allclose(kendall(a, b), [stats.kendalltau(p, q).statistic for p, q in zip(a, b, strict=True)])


def test_intervals_cover_and_ties_are_ties():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        values = rng.binomial(10, 0.8, 300) / 10
        found = Bootstrap(300, samples=400, seed=seed).interval(values)
        covered += found.low <= 0.8 <= found.high
    assert 88 <= covered <= 100
    bootstrap, values = Bootstrap(300), rng.random(300)
    assert bootstrap.tied(values, values + rng.normal(0, 0.1, 300) * 0.01 - 0)
    assert not bootstrap.tied(values, values + 0.01)  # paired: what queries share cancels
    half = bootstrap.interval(np.where(np.arange(300) % 2, np.nan, 0.5))
    assert half.value == half.low == half.high == pytest.approx(0.5)


def test_geometry_of_known_clouds():
    assert effective_rank(np.array([1.0, 1, 1, 0])) == pytest.approx(3)
    round_cloud = generate("gaussian", 2000, 8)
    assert isotropy(round_cloud / 10) > 0.9 > 0.5 > isotropy(round_cloud / 10 + np.float32(1))
    assert occurrences(np.eye(4, dtype=np.float32) + 0.1, 1).sum() == 4
    assert skewness(np.array([0, 0, 0, 10])) > 1 and skewness(np.array([1, 2, 3])) == pytest.approx(0)


def test_thresholds_find_a_known_shift(split):
    truth, random = np.asarray(split.truth_scores), np.zeros((100, 100), np.float32)
    rows = np.take_along_axis(exact_scores(split.queries, split.base, "cosine"), split.random.astype(int), axis=1)
    tables = {"found": np.asarray(split.truth), "found_exact": truth, "found_scores": truth * 0.9}
    tables |= {"truth_scores": truth * 0.9, "random_exact": rows, "random_scores": rows * 0.9, "random": random}
    found = {round(one.original, 1): one for one in drifts(tables, split, Bootstrap(100))}
    assert found[0.5].matched == pytest.approx(0.45, abs=0.003) and found[0.5].drift < 0
    assert found[0.5].lost > 0.1 and found[0.5].gained == 0


def test_summary_is_plain_json(done):
    text = (done.out / "summary.json").read_text()
    assert "NaN" not in text and json.loads(text)["lines"]
