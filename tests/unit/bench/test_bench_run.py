"""A bench from end to end on real vectors: what it measures is true, what lies is found out, what is done is kept."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from vecstore.bench import worker
from vecstore.bench.plan import Plan, plan, run_all
from vecstore.bench.run import Record, Run
from vecstore.bench.running import bench, finish
from vecstore.bench.summary import disputes, summarise

import vecstore
from vecstore.errors import ExistsError, FormatError
from vecstore.measure.choice import keeps_as_much

HONEST = ["sq:8", "tcq:48", "cells:8,tcq:16", "bin/sq:8"]


def records(done):
    return {record.run.label: record for record in Record.read_all(done.out / "cells")}


@pytest.mark.parametrize("spec", HONEST)
def test_bytes_agree_with_the_files(done, split, spec, tmp_path):
    found = records(done)[spec].facts["bytes"]
    trained = vecstore.codec(spec).fit(split.train, seed=0)
    vecstore.write(tmp_path / "again.vecs", split.base, split.keys, trained)
    on_disk = (tmp_path / "again.vecs").stat().st_size
    page = 4096  # digits of a measured number may fill one more
    assert found["stored"] == pytest.approx(on_disk, rel=0.01, abs=page)
    assert found["amortised"] == pytest.approx(on_disk / len(split.base), rel=0.01, abs=page / len(split.base))
    assert found["code"] == trained.code_bytes + (4 if trained.partition else 0), "cells keep the number of each row"
    assert found["model"] == trained.model_bytes


@pytest.mark.parametrize("spec", ["sq:8", "tcq:48", "cells:8,tcq:16"])
def test_recall_agrees_with_faiss_on_decoded_vectors(done, split, spec):
    faiss = pytest.importorskip("faiss")
    trained = vecstore.codec(spec).fit(split.train, seed=0)
    decoded = trained.decode(trained.encode(split.base))
    decoded = decoded / np.linalg.norm(decoded, axis=1, keepdims=True)
    exact, index = faiss.IndexFlatIP(384), faiss.IndexFlatIP(384)
    exact.add(split.base)
    index.add(decoded)
    truth, found = exact.search(split.queries, 10)[1], index.search(split.queries, 10)[1]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth.tolist(), found.tolist(), strict=True)])
    line = next(line for line in done.summary.lines if line.label == spec)
    assert line.recall.value == pytest.approx(recall, abs=1e-6)


def test_honest_codecs_are_not_disputed(done):
    assert {line.label: line.facts["disputes"] for line in done.summary.lines if line.label in HONEST} == {
        spec: [] for spec in HONEST
    }


def test_a_codec_that_lies_about_recall_is_disputed(done):
    line = next(line for line in done.summary.lines if line.label == "boast")
    assert any(dispute.startswith("recall@10: ") for dispute in line.facts["disputes"])
    assert "DISPUTED" in (done.out / "table.md").read_text()


def test_a_codec_that_lies_about_bytes_does_not_get_through(done):
    failed = {one["label"]: one["error"] for one in done.summary.failed}
    assert "mise" in failed and "mise" not in {line.label for line in done.summary.lines}


@pytest.mark.parametrize(
    ("name", "value"),
    [("encoded_bytes", 49.0), ("stored_on_disk", 10**6), ("code_bytes_on_disk", 60.0), ("misplaced", 3)],
)
def test_each_lie_alone_is_disputed(done, name, value):
    honest = records(done)["tcq:48"]
    audit = honest.facts["audit"] | {name: value}
    if name == "misplaced":
        audit["recall"] += 2e-6
    assert len(disputes(Record("x", honest.facts | {"audit": audit}, honest.folder))) == 1


def test_all_metrics_are_there(done):
    line = next(line for line in done.summary.lines if line.label == "tcq:48")
    wanted = "recall@1 recall@10 recall@100 ndcg@10 mrr@10 evalrank tau@100 r2 weighted|r2 cosine|mean cosine|p1"
    wanted += " cosine|min weighted|cosine|mean dot|bias dot|error knn|overlap hubness isotropy effective|rank"
    wanted += " db|above|bound fit|s encode|rows/s queries/s,|batch|1 queries/s,|batch|64 lookup|p50|us lookup|p99|us"
    wanted += " cold|open|ms"
    assert {name.replace("|", " ") for name in wanted.split()} <= set(line.metrics)
    low_to_high = [line.metrics[name].value for name in ("cosine min", "cosine p1", "cosine mean")]
    assert low_to_high == sorted(low_to_high) and 0.7 < line.recall.value < 0.95
    assert line.metrics["r2"].value < 1 and 0 < line.metrics["bound"].value < 1 - line.metrics["r2"].value
    deeper = [recall for _, recall in line.facts["oversampling"]]
    assert deeper == sorted(deeper) and deeper[0] == pytest.approx(line.recall.value, abs=0.002)
    one = next(t for t in line.facts["thresholds"] if t["original"] == 0.5)
    assert one["low"] <= one["matched"] <= one["high"] and 0.4 < one["matched"] < 0.6


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="memory is weighed by Linux's smaps_rollup")
def test_memory_is_weighed(facts):
    memory = facts["sq:8"]["memory"]
    assert memory["pss_4"] < 4 * memory["rss_4"]  # the codes are shared
    assert memory["rss_1"] >= facts["sq:8"]["bytes"]["parts"]["codes.0"]


def test_the_parts_are_disjoint_and_training_saw_no_query(split):
    rows = [{row.tobytes() for row in np.asarray(part)} for part in (split.train, split.base, split.queries)]
    assert not (rows[0] & rows[1] or rows[0] & rows[2] or rows[1] & rows[2])
    assert len(rows[1]) == len(split.base)


def test_keys_of_runs_stay_as_they_were():
    """Or a bench of before would be measured anew."""
    settings = {"label": "float32", "dtype": "float32"}
    assert Run("codec", "sq:8", seed=1).key("abc") == "158e0ddbc3a3786d"
    assert Run("peer", "numpy", settings, 0, 0.2).key("abc") == "9d788440967c5c95"


def test_what_is_finished_is_not_measured_again(done, split, monkeypatch):
    def never(*_):
        raise AssertionError("a finished run was made again")

    monkeypatch.setattr("vecstore.bench.plan._made", never)
    planned = Plan(tuple(record.run for record in records(done).values()), (48,), {})
    assert len(run_all(split, planned, done.out)) == len(planned.runs)


def test_other_data_or_files_in_the_way_are_refused(done, docs, tmp_path):
    with pytest.raises(ExistsError, match="a bench of other data"):
        bench(docs[:600], done.out, codecs="sq:8", peers="none")
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ExistsError, match="holds no bench"):
        bench(docs[:600], tmp_path, codecs="sq:8", peers="none")
    with pytest.raises(FormatError, match="holds no bench"):
        summarise(tmp_path)


def test_failures_are_recorded_with_their_message(split, tmp_path):
    runs = (Run("codec", "pca:900,sq:8"), *(Run("codec", "f16", seed=seed, search_s=0.02) for seed in (0, 1)))
    found = finish(split, Plan(runs, (48,), {"scann": "install it"}), tmp_path / "out", limit_s=100)
    assert [one["label"] for one in found.failed] == ["pca:900,sq:8"] and "900" in found.failed[0]["error"]
    assert [(line.label, line.facts["seeds"]) for line in found.lines] == [("f16", [0, 1])]
    assert "`pca:900,sq:8`" in (tmp_path / "out/table.md").read_text()
    assert "Not installed: scann" in (tmp_path / "out/table.md").read_text()


def test_a_run_past_its_time_is_killed(split, tmp_path):
    planned = Plan((Run("codec", "sq:8"),), (48,), {})
    (record,) = run_all(split, planned, tmp_path / "out", limit_s=0.2)
    assert record.facts["status"] == "failed" and "took longer than 0.2 s" in record.facts["error"]
    assert not list((tmp_path / "out").glob("run-*"))


def test_raw_results_and_report_lie_in_the_folder(done):
    names = {path.name for path in done.out.iterdir()}
    pictures = {f"{name}.{kind}" for name in ("recall", "speed", "queries") for kind in ("svg", "png")}
    assert {"bench.json", "data", "cells", "summary.json", "table.md", "index.html", *pictures} == names
    kept = records(done)["tcq:48"].table("queries")
    assert kept["found"].shape == (100, 100) and kept["truth_ranks"].shape == (100, 10)
    about = json.loads((done.out / "summary.json").read_text())
    assert about["about"]["machine"] and about["about"]["versions"]["vecstore"] == vecstore.__version__


def test_the_choice_is_the_smaller_file_of_a_tie(done):
    lines = done.summary.lines
    chosen = done.summary.best(10**6)
    assert chosen is not None
    top = max(lines, key=lambda line: line.recall.value)
    tied = [one for one in lines if keeps_as_much(one.queries["recall@10"], top.queries["recall@10"])]
    assert lines[chosen].file_bytes <= 1.01 * min(one.file_bytes for one in tied)
    assert lines[chosen].file_bytes < top.file_bytes or lines[chosen] is top


def test_steps_are_told(split, tmp_path):
    told = []
    runs = (Run("codec", "pca:900,sq:8"), Run("codec", "pca:901,sq:8"))
    run_all(split, Plan(runs, (48,), {}), tmp_path / "out", limit_s=100, report=told.append)
    assert [str(step) for step in told] == [
        "measuring: 2 settings (pca:900,sq:8)",
        "measuring: 1 of 2 settings (pca:901,sq:8)",
        "measuring: 2 settings",
    ]


def test_fitting_is_timed_without_compilation(monkeypatch):
    from numba import njit

    class Codec:
        def __init__(self):
            self.fitted = 0
            self.kernel = njit(lambda x: x + 1)

        def fit(self, train, *, seed, rows):
            self.fitted += 1
            return self.kernel(1)

    codec = Codec()
    monkeypatch.setattr(worker.vecstore, "codec", lambda name: codec)
    worker._fitted(Run("codec", "any"), np.zeros((2, 2), np.float32), 2)
    assert codec.fitted == 2
    worker._fitted(Run("codec", "any"), np.zeros((2, 2), np.float32), 2)
    assert codec.fitted == 3


def test_plan_names_what_is_not_installed(monkeypatch):
    monkeypatch.setattr("vecstore.bench.plan.missing", lambda name: f"the peer {name} needs {name}")
    planned = plan(64, budgets="8", codecs="sq:8", peers="scann,usearch")
    assert set(planned.absent) == {"scann", "usearch"} and len(planned.runs) == 1
