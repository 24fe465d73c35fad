"""A budget in, a codec out: budgets as written, what is tried, what is chosen and what is refused."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import vecstore
from vecstore.codecs.codec import CodecSpec, codec
from vecstore.errors import BudgetError, OptionError, ShapeError
from vecstore.measure.spectrum import distortion_bound
from vecstore.search.decoded_scanner import DecodedScanner
from vecstore.search.kinds import scanner_of
from vecstore.search.number_scanner import NumberScanner
from vecstore.search.ranking import Ranking
from vecstore.search.table_scanner import TableScanner
from vecstore.search.trellis import Trellis
from vecstore.shard.shard import Shard
from vecstore.tuning.budget import parse_budget, parse_target
from vecstore.tuning.candidates import CENTROID_BYTES, FAMILIES, Family, cell_counts, known
from vecstore.tuning.evaluation import SuccessiveHalving, scan_class


@pytest.fixture(scope="module")
def tuned(words):
    return vecstore.tune(words[:3000], 24, rows=100_000)


@pytest.mark.parametrize(
    ("given", "stored", "scanned"),
    [
        (64, 64, None),
        ("64", 64, None),
        ("64B", 64, None),
        (1.5, 1.5, None),
        ("32x", 48, None),
        ("5%", 76.8, None),
        ("24/200", 200, 24),
        (" 64x / 8x ", 192, 24),
        (".5", 0.5, None),
    ],
)
def test_budgets_as_people_write_them(given, stored, scanned):
    found = parse_budget(given, 384)
    assert found.stored == pytest.approx(stored) and found.scanned == (scanned and pytest.approx(scanned))
    assert parse_budget(found, 384) is found


@pytest.mark.parametrize("given", ["", "x", "-3", "0", "1e3", "64 apples", "200/24", "24/24", "1/2/3", "nan", True])
def test_budgets_that_are_none(given):
    with pytest.raises(BudgetError, match="budget"):
        parse_budget(given, 384)


def test_targets():
    assert parse_target("recall@10=0.95") == parse_target(0.95) == parse_target(" recall@10 = 0.95") == 0.95
    for given in ("recall@1=0.9", "95%", 0, 1.2, "high"):
        with pytest.raises(OptionError, match="target"):
            parse_target(given)


@pytest.mark.filterwarnings("ignore::vecstore.codecs.transforms.truncate.TruncationWarning")
@pytest.mark.parametrize("limit", [3, 12, 50])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_families_write_codes_of_the_size_they_say(family, limit, words):
    options = [(size, spec) for size, spec in family.sizes(limit, 50) if known(spec)]
    assert [size for size, _ in options] == sorted((size for size, _ in options), reverse=True)
    for size, spec in options[:1]:
        assert size <= limit
        if spec != "lsq:50":
            assert size <= codec(spec).fit(words[:300]).code_bytes <= limit + 8  # some have factors beside


@pytest.mark.slow  # it solves 12,800 equations, several times
def test_the_largest_size_of_lsq_is_what_it_says(words):
    assert codec("lsq:50").fit(words[:300]).code_bytes == 50


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize(
    ("spec", "speed"),
    [
        *(("pq:8x4", 0), ("bin", 0), ("sq:4", 0), ("opq:8", 2), ("vaq:8", 2), ("tcq:8", 1), ("sq:8", 1), ("f16", 1)),
        *(("rabitq:2", 3), ("lvq:4", 3), ("rotate,lloyd:7", 3), ("rq:2", {"cosine": 3, "dot": 2})),
    ],
)
def test_scan_classes_are_what_searches_do(tmp_path, words, spec, speed, metric):
    speed = speed[metric] if isinstance(speed, dict) else speed
    x = words[:400]
    vecstore.write(tmp_path / "a.vecs", x, codec=spec, metric=metric)
    shard = Shard(tmp_path / "a.vecs")
    assert scan_class(shard.codec, metric) == speed
    scanner = scanner_of(shard.layers[0], Ranking.of(metric, x[:1], unit_rows=False), shard.bounds[0])
    expected = {0: TableScanner, 1: NumberScanner, 2: TableScanner, 3: DecodedScanner}[speed]
    assert isinstance(scanner, expected) or (spec.startswith("tcq") and Trellis.of(shard.layers[0]).serves(metric))


@pytest.mark.parametrize("spec", ["tcq:16", "tcq:130", "opq:60x4", "opq:50", "pq:50"])
def test_guesses_of_models_are_near(spec, docs):
    """Each miss costs a candidate's training: it is trained again with a byte less, or more."""
    trained = codec(spec).fit(docs[:600], rows=40_000)
    guesses = [
        family.model(size, 384) for family in FAMILIES for size, named in family.sizes(384, 384) if named == spec
    ]
    assert len(guesses) == 1
    assert guesses[0] / 40_000 == pytest.approx(trained.model_bytes / 40_000, abs=1, rel=0.1)


@pytest.mark.filterwarnings("ignore::vecstore.codecs.transforms.truncate.TruncationWarning")
def test_floors_are_below_what_codecs_reach(words):
    """A family must not be passed over that could have won."""
    train, held_out = words[:4000], words[4000:]
    variances = np.linalg.eigvalsh(np.cov(held_out.T))[::-1]
    for family in FAMILIES:
        options = [(size, spec) for size, spec in family.sizes(25, 50) if known(spec)]
        if family.floor is None or not options:
            continue
        size, spec = options[0]
        trained = codec(spec).fit(train)
        error = ((trained.decode(trained.encode(held_out)) - held_out) ** 2).sum(axis=1).mean()
        assert distortion_bound(variances, size) <= family.floor(variances, size) * 1.01 <= error * 1.05, spec


def test_cells_take_a_share_of_the_budget_at_most():
    for size, rows in ((16, 60_000), (64, 1_000_000)):
        for count in cell_counts(size, rows, 384):
            assert CENTROID_BYTES * 384 * count / rows <= 0.1 * size
    assert cell_counts(16, 1000, 384) == []


def test_what_is_chosen_keeps_to_the_budget_and_works_alone(tuned, words):
    entry = tuned.entry
    assert isinstance(tuned, vecstore.Codec) and entry.row_bytes <= 24
    assert entry.row_bytes == tuned.code_bytes + tuned.model_bytes / 100_000
    codes = tuned.encode(words[:7])
    assert codes.shape[1] >= tuned.code_bytes and tuned.decode(codes).shape == (7, 50)
    assert [other for other in tuned.table if other.chosen] == [entry]
    assert entry.codec in tuned.summary and "Gaussian limit" in tuned.summary
    assert entry.recall.low < entry.recall.mean < entry.recall.high


def test_what_is_chosen_is_best_on_rows_that_tuning_did_not_see(tuned, words):
    """Held against the others of the table, on vectors that were in no part of it."""
    base, queries = words[3000:4700], words[4700:]

    def recall(trained):
        wanted, found = (
            np.argsort(-(queries @ (x / np.linalg.norm(x, axis=1, keepdims=True)).T), axis=1)[:, :10]
            for x in (base, trained.decode(trained.encode(base)))
        )
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), wanted.tolist(), strict=True)])

    own = recall(tuned)
    assert own > 0.6
    others = [entry.codec for entry in tuned.table if not entry.chosen and entry.role == "stored"]
    assert len(others) >= 3
    for spec in others:
        assert recall(codec(spec).fit(words[:3000])) <= own + 0.02, spec


def test_the_table(tuned):
    rows = tuned.table.to_list()
    assert len(rows) == len(tuned.table) and all(row["row_bytes"] <= 24 for row in rows)
    assert all(row["decibels"] > -0.5 for row in rows)
    assert tuned.table.pareto and str(tuned.table).count("<-") == 1


def test_the_same_seed_gives_the_same_codec(words):
    one, two = (vecstore.tune(words[:800], 10, rows=10_000, seed=4) for _ in range(2))
    assert one.entry == two.entry
    assert all((one.arrays[name] == two.arrays[name]).all() for name in one.arrays)


class Sending(ThreadPoolExecutor):
    """Threads that are sent what processes would be sent."""

    def submit(self, task, /, *arguments):
        return super().submit(lambda: pickle.loads(pickle.dumps(task(*pickle.loads(pickle.dumps(arguments))))))


def test_candidates_tried_side_by_side(words):
    with Sending(2) as executor:
        found = vecstore.tune(words[:800], 24, executor=executor)
    alone = vecstore.tune(words[:800], 24)
    assert found.table.to_list() == alone.table.to_list() and len(alone.table) > 5
    np.testing.assert_array_equal(found.encode(words[:50]), alone.encode(words[:50]))
    with pytest.raises(OptionError, match=r"executor= is a concurrent.futures.Executor, found int"):
        vecstore.tune(words[:800], 24, executor=2)


def test_the_model_counts(words):
    many, few = (vecstore.tune(words[:1000], 20, rows=rows).entry for rows in (10**9, 3000))
    assert many.code_bytes > few.code_bytes and few.row_bytes <= 20


def test_two_layers(tmp_path, words):
    tuned = vecstore.tune(words[:1000], "8/40", rows=100_000)
    assert len(tuned.layers) == 2 and tuned.layers[0].code_bytes <= 8 and tuned.entry.row_bytes <= 40
    assert {entry.role for entry in tuned.table} == {"scanned", "stored"}
    assert tuned.entry.recall.mean > max(entry.recall.mean for entry in tuned.table if entry.role == "scanned")
    vecstore.write(tmp_path / "w.vecs", words[:1000], codec=tuned)
    assert vecstore.open(tmp_path / "w.vecs").search(words[5], 1).rows.tolist() == [5]


def test_a_target_is_reached_with_few_bytes(words):
    tuned = vecstore.tune(words[:1000], target="recall@10=0.8", rows=100_000)
    assert tuned.entry.recall.low >= 0.8 and tuned.entry.row_bytes < 50
    exact = vecstore.tune(words[:500], target=1.0)
    assert exact.entry.recall.low == 1.0 and exact.entry.row_bytes <= 201


def test_impossible_budgets_say_what_is_reachable(words):
    with pytest.raises(BudgetError, match=r"budget of 0.01 bytes a row: the smallest codec .* with \d+\.\d+ bytes"):
        vecstore.tune(words[:500], 0.01)

    with pytest.raises(BudgetError, match=r"budget of 20/21 .* beside \S+, which .* give 20/2\d or more"):
        vecstore.tune(words[:500], "20/21", rows=10**6)


def test_a_budget_counts_all_that_a_row_takes(tmp_path, monkeypatch, words, word_keys):
    """In cells rows keep their numbers, unless told otherwise, and shards share the model."""
    quick = tuple(family for family in FAMILIES if family.name not in ("rq", "lsq"))
    monkeypatch.setattr("vecstore.tuning.tuner.FAMILIES", quick)
    free, paid = (vecstore.tune(words[:2000], 12, rows=10**5, **order) for order in ({"keep_order": False}, {}))
    assert free.partition is not None and free.table[0].row_bytes <= 12
    for entry in paid.table:
        order = 4 if entry.codec.startswith("cells") else 0
        assert entry.row_bytes == pytest.approx(entry.code_bytes + entry.model_bytes / 10**5 + order)
    keyed = {"keys": word_keys[:2000], "codec": free}
    for name, options, order in (("a", keyed, 4), ("b", keyed | {"keep_order": False}, 0), ("c", {"codec": free}, 4)):
        stated = vecstore.write(tmp_path / name, words[:2000], **options).certificate["bytes"]
        assert stated["row"] == pytest.approx(stated["code"] + stated["model"] / 2000 + order, abs=0.01)
    large = codec("tcq:40").fit(words[:2000])
    options = {"codec": large, "shard_bytes": 2**17}
    report = vecstore.write(tmp_path / "d", words[:5000], word_keys[:5000], **options)
    shards, stated = vecstore.open(tmp_path / "d").info()["shards"], report.certificate["bytes"]
    assert shards > 1 and stated["row"] == pytest.approx(40 + stated["model"] / 5000, abs=0.01)
    both = vecstore.write(tmp_path / "e", words[:2000], codec="bin/sq:8").certificate["bytes"]
    assert both["row"] == pytest.approx(both["code"] + both["model"] / 2000 + 1, abs=0.01)


def test_few_rows_of_many_dimensions():
    x = np.random.default_rng(1).standard_normal((150, 160)).astype(np.float32)
    for spec in ("rq:2", "lsq:2"):
        assert codec(spec).fit(x).code_bytes == 2
    assert vecstore.tune(x, 8, rows=10**6).entry.row_bytes <= 8


def test_wrong_questions(words):
    for options, error, message in (
        ({"rows": 0}, OptionError, "rows is how many"),
        ({"queries": words[:0]}, ShapeError, "queries=: there are none"),
    ):
        with pytest.raises(error, match=message):
            vecstore.tune(words[:500], 10, **options)
    with pytest.raises(OptionError, match="a seed is"):
        vecstore.tune(words[:500], 10, seed=-1)
    with pytest.raises(BudgetError, match="write bytes a row"):
        vecstore.tune(words[:500], "")
    for options in ({}, {"budget": 10, "target": 0.9}):
        with pytest.raises(OptionError, match="a budget"):
            vecstore.tune(words[:500], **options)
    with pytest.raises(ShapeError, match="too few"):
        vecstore.tune(words[:50], 10)
    with pytest.raises(OptionError, match="unknown metric"):
        vecstore.tune(words[:500], 10, metric="manhattan")


def test_codecs_that_are_not_registered_are_passed_over(words):
    assert not known("no-such-codec:8") and not known("pq:0")
    assert all(isinstance(family, Family) for family in FAMILIES)


def test_a_store_for_a_budget(tmp_path, words, word_keys):
    report = vecstore.write(tmp_path / "w.vecs", words[:3000], word_keys[:3000], budget="4x", keep_norms=True)
    bytes_ = report.certificate["bytes"]
    assert bytes_["row"] <= 50 and report.table is not None and report.codec == report.table[0].codec
    assert str(vecstore.open(tmp_path / "w.vecs").codec.spec) == report.codec
    with pytest.raises(OptionError, match="codec= and budget="):
        vecstore.write(tmp_path / "x.vecs", words[:300], codec="sq:8", budget=10)


def test_candidates_are_trained_for_the_rows_to_come(words, monkeypatch):
    """So many centroids are afforded, which have so many bits."""
    fit, seen = CodecSpec.fit, set()

    def noted(self, x, **options):
        seen.add(options.get("rows"))
        return fit(self, x, **options)

    monkeypatch.setattr(CodecSpec, "fit", noted)
    vecstore.tune(words[:600], budget=12, rows=7000)
    vecstore.tune(words[:600], budget="8/30", rows=7000)
    assert seen == {7000}


@pytest.mark.parametrize(("name", "limit"), [("tcq", 30.0), ("pca, sq:8", 24.0), ("pca, bin", 40.0), ("sq", 400.0)])
def test_the_largest_size_that_fits_is_found_in_few_trainings(monkeypatch, name, limit):
    x = (np.random.default_rng(5).standard_normal((700, 400)) * np.linspace(1, 0.1, 400)).astype(np.float32)
    halving = SuccessiveHalving(
        x, 100, None, metric="cosine", rows=1000, keep_order=False, seed=0, report=lambda *_: None
    )
    (family,) = (family for family in FAMILIES if family.name == name)
    tried, train = [], SuccessiveHalving._trained
    monkeypatch.setattr(
        SuccessiveHalving, "_trained", lambda self, spec, rows: tried.append(spec) or train(self, spec, rows)
    )
    found = halving.fitted(family, 0, x[100:], limit)
    sizes = [spec for _, spec in family.sizes(int(limit), 400)]
    larger = train(halving, sizes[max(sizes.index(str(found.spec)) - 1, 0)], x[100:])
    assert halving.row_bytes(found) <= limit < halving.row_bytes(larger) or larger.spec == found.spec
    assert len(tried) == len(set(tried)) <= 5
