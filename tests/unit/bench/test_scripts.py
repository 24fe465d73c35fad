"""The scripts behind the documentation start, and the documentation calls them by the names that they have."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
from vecstore.bench.scripts.growth import exponent

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "bench" / "scripts"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").rglob("*.py"), ROOT / "justfile"]
CALLED = re.compile(r"python\S* -m vecstore\.(bench(?:\.\w+)*)")
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if "\ndef main(" in path.read_text(encoding="utf-8"))


def test_what_the_documentation_calls_is_there():
    names = {name for page in PAGES for name in CALLED.findall(page.read_text(encoding="utf-8"))}
    assert len(names) > 10
    for name in names:
        place = ROOT.joinpath(*name.split("."))
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), name


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_start(name, monkeypatch, capsys):
    script = importlib.import_module(f"vecstore.bench.scripts.{name}")
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0 and "usage" in capsys.readouterr().out


def run(name, monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
    importlib.import_module(f"vecstore.bench.scripts.{name}").main()
    return capsys.readouterr().out


def test_growth_of_costs(tmp_path, monkeypatch, capsys):
    sizes = ["--rows", 300, 600, 1200, "--sharded", 600, "--shards", 1, 3]
    text = run("growth", monkeypatch, capsys, "--quick", *sizes, "--json", tmp_path / "costs.json")
    costs = json.loads((tmp_path / "costs.json").read_text())["sq:8"]
    assert set(costs["rows"]["open"]) == {"300", "600", "1200"} and set(costs["shards"]["open"]) == {"1", "3"}
    assert all(cost >= 0 for by in costs.values() for each in by.values() for cost in each.values())
    for name, each in costs["rows"].items():
        assert f"| {name} |" in text and len(each) == 3
    assert (
        "| times the search of all | 300 | 600 | 1,200 |" in text and "| `sq:8`, 600 rows in shards | 1 | 3 |" in text
    )


def test_exponents():
    assert exponent({10: 3.0, 100: 3.0}) == pytest.approx(0)
    assert exponent({10: 1.0, 100: 10.0, 1000: 100.0}) == pytest.approx(1)
    assert exponent({10: 0.0, 100: 1.0}) != exponent({10: 0.0, 100: 1.0})  # nothing read: no exponent


def test_batches_beside_single_queries(monkeypatch, capsys):
    text = run("scan_batches", monkeypatch, capsys, "--rows", 3000, "--codecs", "sq:8", "--runs", 1)
    assert "| `sq:8` |" in text and "of numpy's product" in text
