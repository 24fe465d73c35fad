"""Cells on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np


def test_convert_info_and_search(good, keys, x):
    good("convert", "x.npy", "a.vecs", "--keys", "keys.txt", "--codec", "cells:5,sq:8")
    about = good("info", "a.vecs").stdout
    assert "cells:5,sq:8" in about and "for the order of the rows" in about and "the dump's" in about
    every = json.loads(good("search", "a.vecs", "--key", keys[3], "-k", "20", "--json").stdout)
    near = json.loads(good("search", "a.vecs", "--key", keys[3], "-k", "20", "--nprobe", "2", "--json").stdout)
    found, some = ([n["key"] for n in answer["results"][0]["neighbours"]] for answer in (every, near))
    assert len(found) == 20 and found != some and len(set(found) & set(some)) > 5
    within = good("search", "a.vecs", "--key", keys[3], "--min-score", "0.5", "--all", "--nprobe", "2", "--json").stdout
    assert {n["key"] for n in json.loads(within)["results"][0]["neighbours"]} <= {keys[3], *keys}


def test_rows_have_the_numbers_of_the_dump(good, keys, x):
    summary = good("convert", "x.npy", "a.vecs", "--keys", "keys.txt", "--codec", "cells:5,f16").stderr
    assert "the dump's order, for 4 bytes a row: --any-order saves them" in summary and "row number 4.0" in summary
    about = json.loads(good("info", "a.vecs", "--json").stdout)["cells"]
    assert about["count"] == 5 and about["order_bytes"] >= 4 * len(x)
    assert "for the order of the rows" in good("info", "a.vecs").stdout
    rows = json.loads(good("search", "a.vecs", "--key", keys[7], "-k", "3", "--json").stdout)["results"][0][
        "neighbours"
    ]
    assert all(keys[n["row"]] == n["key"] for n in rows)
    good("export", "a.vecs", "out.npy")
    np.testing.assert_allclose(np.load("out.npy"), x, atol=0.01)


def test_any_order(good, fails, keys):
    summary = good("convert", "x.npy", "a.vecs", "--keys", "keys.txt", "--codec", "cells:5,f16", "--any-order").stderr
    about = good("info", "a.vecs").stdout
    assert all("in the order of cells, not the dump's: rows have other" in text for text in (summary, about))
    assert "row number" not in summary and json.loads(good("info", "a.vecs", "--json").stdout)["row_order"] == "cells"
    np.save("rows.npy", np.arange(9))
    message = fails("search", "a.vecs", "--key", keys[7], "--rows", "rows.npy")
    assert "rows.npy: " in message and "a key a line" in message and "no --any-order" in message
    Path("rows.txt").write_text("".join(f"{key}\n" for key in keys[:9]))
    found = good("search", "a.vecs", "--key", keys[7], "--rows", "rows.txt", "-k", "20", "--json").stdout
    assert {n["key"] for n in json.loads(found)["results"][0]["neighbours"]} == {*keys[:9]} - {keys[7]}


def test_without_keys_any_order_changes_nothing(good):
    summary = good("convert", "x.npy", "a.vecs", "--codec", "cells:5,f16", "--any-order").stderr
    assert "row order" in summary and re.search(r"the dump's order *\n", summary)


def test_what_does_not_go_together(good, fails):
    good("convert", "x.npy", "a.vecs")
    assert "cells first in the codec" in fails("search", "a.vecs", "--vector", ",".join("1" * 8), "--nprobe", "3")
    assert "cells stand before everything" in fails("convert", "x.npy", "b.vecs", "--codec", "sq:8,cells:3")
    assert "cells:" in fails("convert", "x.npy", "b.vecs", "--codec", "cells:3000,sq:8")


def test_the_list_of_codecs_explains_cells(good):
    assert "cells:K" in good("codecs").stdout
