"""The certificate as a file holds it: what is sound is read, and nothing that stands there raises."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vecstore
from vecstore.shard.certificate import Certificate, Interval, Recall, RowBytes, certificate_in

MEMBERS = st.sampled_from(
    ["rows", "seed", "cosine_mean", "recall", "query_recall", "bytes", "bound", "tables", "blocks", "held_out",
     "oversampling", "oversample", "prefixes", "weighted_r2", "more", "queries", "base", "at", "10", "code", "row"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(MEMBERS, inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.parametrize("codec", ["bin/sq:8", "tcq:12", "hash:100:2", "sq:8@500+pq:5"])
def test_what_a_conversion_writes_comes_back_as_it_was(tmp_path, words, codec):
    written = vecstore.write(tmp_path / "w.vecs", words[:1000], codec=codec, force=True).certificate
    read = Certificate.from_dict(json.loads(json.dumps(written)))
    assert json.dumps(read.to_dict()) == json.dumps(written)
    assert not read.more and read.recall is not None and read.recall.at[10].to_list() == written["recall"]["at"]["10"]
    assert read.bytes is not None and read.bytes.row == written["bytes"]["row"]


@given(JSON)
def test_nothing_raises(document):
    found = Certificate.from_dict(document)
    assert Certificate.from_dict(found.to_dict()) == found or "nan" in repr(document).lower()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"rows": -1, "seed": True, "cosine_mean": "1", "held_out": 1, "oversample": 10**30}, Certificate()),
        ({"relative_error": float("nan"), "cosine_p1": 10**400}, Certificate()),
        ({"recall": {"queries": 3, "base": 9, "at": {"1": [0.5, 0.4], "²": [0, 0, 0], "10": [0.5, 0.4, 0.6]}}},
         Certificate(recall=Recall(3, 9, {10: Interval(0.5, 0.4, 0.6)}))),
        ({"bytes": {"code": 3, "row": 4.5}, "oversampling": {"0.9": 0}, "blocks": [3]}, Certificate()),
        ({"bytes": {"code": 3, "model": 0, "row": 4.5}}, Certificate(bytes=RowBytes(3, 0, 4.5))),
        ({"recall@10": 0.98, "rows": 7}, Certificate(rows=7, more={"recall@10": 0.98})),
    ],
)  # fmt: skip
def test_what_is_malformed_is_left_out(document, expected):
    assert Certificate.from_dict(document) == expected


def test_older_files_call_it_fidelity():
    assert certificate_in({"fidelity": {"rows": 5}}).rows == 5 and certificate_in({}) == Certificate()
    assert certificate_in({"certificate": ["x"], "fidelity": {"rows": 5}}) == Certificate()
