"""The scripts behind the documentation start, and the documentation calls them by the names that they have."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

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
