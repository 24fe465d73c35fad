"""The command line of a bench."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vecstore.cli import main


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def go(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return (int(ended.value.code or 0), *capsys.readouterr())

    return go


def test_bench_and_report(run, docs):
    np.save("x.npy", docs[:800])
    which = ["--codecs", "sq:8,pca:32,sq:8", "--budgets", "32,384", "--peers", "numpy"]
    status, out, err = run("bench", "x.npy", *which, "--quick")
    assert status == 0, err
    assert "measuring: 4 settings (sq:8)" in err  # a log is told what is at work
    assert "pca:32,sq:8" in out and "in 384 bytes" in out and "bench/index.html" in out
    Path("bench/index.html").unlink()
    status, again, _ = run("bench", "report", "bench")
    assert status == 0 and again == out and Path("bench/index.html").exists()


def test_workers(run, docs):
    np.save("x.npy", docs[:800])
    which = ["--codecs", "sq:8 tcq:48", "--budgets", "48", "--peers", "none", "--quick"]
    status, out, err = run("bench", "x.npy", *which, "--workers", "2")
    assert status == 0 and "measuring: 2 settings in" in err, err
    assert "sq:8‡" in out and "‡ measured beside other cells: for times, run one after the other" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.npy", "--budgets", "many"], "'many' is no budget"),
        (["x.npy", "--codecs", "nope:3"], "no codec 'nope'"),
        (["x.npy", "--peers", "fais"], "did you mean 'faiss'?"),
        (["x.npy", "--seeds", "one"], "--seeds 'one'"),
        (["nowhere.npy"], "nowhere.npy"),
        (["x.npy", "--qrels", "q.tsv"], "give them too (--queries)"),
        (["report", "nowhere"], "holds no bench"),
        (["generated:zpf"], "did you mean 'zipf'?"),
    ],
)
def test_mistakes_are_told_in_a_line(run, docs, arguments, message):
    np.save("x.npy", docs[:400])
    status, out, err = run("bench", *arguments)
    *notes, error = err.splitlines()
    assert (status, out) == (2, "") and message in error, err
    assert all(note.startswith("vecstore: note: not installed") for note in notes), err


def test_help_names_both_commands(run):
    for arguments in (["bench"], ["bench", "--help"], ["bench", "run", "--help"], ["bench", "report", "-h"]):
        _, out, err = run(*arguments)
        assert "bench" in out + err
    _, out, _ = run("bench", "--help")
    assert "run" in out and "report" in out


def test_module_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "vecstore.bench", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "report" in done.stdout
