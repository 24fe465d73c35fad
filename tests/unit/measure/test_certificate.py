"""The certificate: what it says is what searches show, and it can be measured again."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.codecs.dataset import Block
from vecstore.conversion.certifying.recertification import recertify
from vecstore.conversion.sources.arrays import ArrayDump
from vecstore.errors import FormatError, OptionError
from vecstore.measure.calibration import OTHERS
from vecstore.measure.certificate import measure_certificate, measure_decoded
from vecstore.measure.decoded_rows import DecodedRows
from vecstore.measure.sample import Sample


def test_recall_is_what_searches_show(tmp_path, words, word_keys):
    report = vecstore.write(tmp_path / "w.vecs", words[:4000], word_keys[:4000], "tcq:12", queries=words[4000:4300])
    recall = report.certificate["query_recall"]
    store = vecstore.open(tmp_path / "w.vecs")
    queries = words[4000:4300]
    unit = words[:4000] / np.linalg.norm(words[:4000], axis=1, keepdims=True)
    wanted = np.argsort(-(queries @ unit.T), axis=1)[:, :10]
    found = store.search(queries, 10).rows
    shown = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), wanted.tolist(), strict=True)])
    mean, low, high = recall["at"]["10"]
    # Real queries search all rows; rows as queries those that do not ask, nine in ten.
    assert (recall["queries"], recall["base"], recall["by"]) == (300, 4000, "real queries")
    assert low < mean < high and mean == pytest.approx(shown, abs=0.005)
    by_rows = report.certificate["recall"]
    assert (by_rows["queries"], by_rows["base"], by_rows["by"]) == (400, 3600, "rows as queries")
    assert list(by_rows["at"]) == ["1", "10", "100"] and "extrapolated" not in by_rows
    assert store.info()["certificate"] == report.certificate


def test_what_comes_back_as_it_was_is_found_by_construction(tmp_path, words, monkeypatch):
    monkeypatch.setattr("vecstore.measure.certificate.GroundTruth", None)  # nothing is searched
    exact = vecstore.write(tmp_path / "f.vecs", words, codec="f32", queries=words[:20]).certificate
    assert [exact[asked]["at"]["10"] for asked in ("recall", "query_recall")] == [[1.0, 1.0, 1.0]] * 2
    halves = words.astype(np.float16)  # the sample comes back as it was; of other rows nobody knows
    found = vecstore.write(tmp_path / "h.vecs", halves, codec="f16").certificate["recall"]["at"]
    assert found["1"][0] == 1 and found["1"][1] < 1
    store = vecstore.open(tmp_path / "f.vecs")
    plain, calibrated = (store.search(words[0], 5, calibrated=on) for on in (False, True))
    np.testing.assert_allclose(calibrated.scores, plain.scores)


def test_bytes_count_the_model_and_the_bound_is_below(tmp_path, docs):
    found = vecstore.write(tmp_path / "d.vecs", docs, codec="tcq:32").certificate
    model = vecstore.open(tmp_path / "d.vecs").codec.model_bytes
    assert found["bytes"] == {"code": 32, "model": model, "row": round(32 + model / 2000, 2)}
    assert 0 < found["bound"]["relative_error"] < found["relative_error"] and 0 < found["bound"]["decibels"] < 6


def test_a_store_larger_than_its_sample_is_searched_in_part_and_the_rest_extrapolated(tmp_path, words, monkeypatch):
    whole = vecstore.write(tmp_path / "w.vecs", words, codec="pq:10").certificate["recall"]
    monkeypatch.setattr("vecstore.conversion.survey.sampler.SAMPLE_ROWS", 1500)
    monkeypatch.setattr("vecstore.conversion.survey.sampler.SEARCHED_ROWS", 2000)
    found = vecstore.write(tmp_path / "p.vecs", words, codec="pq:10").certificate
    # 150 ask, 900 of the others train, and 950 of 2,000 do neither: 900 / 5,000 of those searched have trained.
    part = found["recall"]
    assert found["training_rows"] == 900 and part["queries"] == 150 and 950 < part["base"] < 1200
    assert part["extrapolated"] == 5000 and whole["base"] == 4500
    assert part["at"]["10"][1] <= whole["at"]["10"][0] <= part["at"]["10"][2]
    findings = recertify(vecstore.open(tmp_path / "p.vecs"), ArrayDump(words))
    assert all(finding.holds for finding in findings)


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("norms", [True, False])
def test_a_certificate_holds_for_its_own_dump(tmp_path, words, word_keys, keyed, norms):
    dump = ArrayDump(words[:2000], word_keys[:2000] if keyed else None)
    vecstore.convert(dump, tmp_path / "w.vecs", "tcq:12", keep_norms=norms, seed=3)
    findings = recertify(vecstore.open(tmp_path / "w.vecs"), dump)
    assert [finding.name for finding in findings] == [
        "cosine_mean", "cosine_p1", "relative_error", "recall@1", "recall@10", "recall@100", "cosine of stored rows"
    ]  # fmt: skip
    assert all(finding.holds for finding in findings)


def test_the_recall_of_queries_is_measured_again_with_these(tmp_path, words):
    dump, queries = ArrayDump(words[:2000]), words[2000:2100]
    with_queries = vecstore.convert(dump, tmp_path / "q.vecs", "tcq:12", queries=queries).path
    findings = recertify(vecstore.open(with_queries), dump, queries=queries)
    assert [f.name for f in findings if "queries" in f.name] == [f"recall@{k} of the queries" for k in (1, 10, 100)]
    assert all(finding.holds for finding in findings)
    assert not all(finding.holds for finding in recertify(vecstore.open(with_queries), dump, queries=-queries))
    vecstore.convert(dump, tmp_path / "w.vecs", "tcq:12")
    with pytest.raises(OptionError, match="tells nothing of queries"):
        recertify(vecstore.open(tmp_path / "w.vecs"), dump, queries=queries)


def test_and_not_for_another(tmp_path, words, word_keys):
    vecstore.write(tmp_path / "w.vecs", words[:2000], word_keys[:2000], "tcq:12")
    store = vecstore.open(tmp_path / "w.vecs")
    shuffled = ArrayDump(words[:2000][::-1], word_keys[:2000])
    assert not recertify(store, shuffled)[-1].holds
    with pytest.raises(FormatError, match="keys are missing"):
        recertify(store, ArrayDump(words[:2000], word_keys[2000:4000]))
    with pytest.raises(FormatError, match="expected 2,000 rows, found 1,999"):
        recertify(store, ArrayDump(words[:1999], word_keys[:1999]))
    with pytest.raises(FormatError, match="50 dimensions"):
        recertify(store, ArrayDump(words[:2000, :20], word_keys[:2000]))
    with pytest.raises(FormatError, match="keys="):
        recertify(store, ArrayDump(words[:2000]))


def test_stores_written_row_by_row_have_none(tmp_path, words):
    codec = vecstore.codec("sq:8").fit(words[:100])
    with vecstore.Writer(tmp_path / "w.vecs", codec) as writer:
        writer.add(words[:100])
    with pytest.raises(OptionError, match="no certificate"):
        recertify(vecstore.open(tmp_path / "w.vecs"), ArrayDump(words[:100]))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_rows_are_decoded_as_they_are_searched_never_all_at_once(words, metric, monkeypatch):
    asked = []
    decode = DecodedRows.__getitem__

    def counted(self, chosen):
        found = decode(self, chosen)
        asked.append(len(found))
        return found

    monkeypatch.setattr(DecodedRows, "__getitem__", counted)
    monkeypatch.setattr("vecstore.measure.nearest.ROWS_AT_ONCE", 300)
    sample = Sample(Block(np.arange(2000), words[:2000]), held_out=100, train=words[:0], total=2000)
    codec = vecstore.codec("sq:4").fit(words)
    given = {"metric": metric, "seed": 0}
    found, calibration = measure_certificate(codec, sample, keep_norms=False, rows=2000, **given)
    assert max(asked) == 300 and sum(asked) == 100 + 1900 + 2 * OTHERS  # asking, searched, compared at random
    again, whole = measure_decoded(sample, DecodedRows(codec, sample.rows, False).whole(), **given)
    assert (again.recall, again.relative_error) == (found.recall, found.relative_error)
    np.testing.assert_allclose(calibration.original, whole.original, rtol=1e-5)
