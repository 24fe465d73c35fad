"""Progress: one contract for all that takes long."""

import io
import sys
import time

import numpy as np
import pytest

import vecstore
from vecstore import progress
from vecstore.conversion.certifying.recertification import recertify
from vecstore.errors import OptionError
from vecstore.progress import Step, reported

X = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose only number is the time."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def stages(calls):
    return list(dict.fromkeys(step.stage for step in calls))


def test_everything_that_takes_long_tells_steps(tmp_path):
    path, dump = tmp_path / "x.vecs", tmp_path / "x.npy"
    np.save(dump, X)
    told = {}
    for name, run in {
        "write": lambda tell: vecstore.write(path, X, codec="sq:8", progress=tell),
        "convert": lambda tell: vecstore.convert(dump, path, budget=4, force=True, progress=tell),
        "tune": lambda tell: vecstore.tune(X, "6/20", progress=tell),
        "target": lambda tell: vecstore.tune(X, target=0.5, progress=tell),
        "verify": lambda tell: vecstore.open(path).verify(progress=tell),
        "recertify": lambda tell: recertify(vecstore.open(path), dump, progress=tell),
    }.items():
        calls = told.setdefault(name, [])
        run(calls.append)
        for stage in stages(calls):
            own = [step for step in calls if step.stage == stage]
            assert [step.done for step in own] == sorted(step.done for step in own), name
            assert own[-1].finished and not any(step.finished for step in own[:-1]), name
    assert stages(told["write"]) == ["reading", "training", "measuring", "encoding"]
    assert stages(told["convert"]) == ["reading", "tuning", "measuring", "encoding"]
    assert stages(told["tune"]) == stages(told["target"]) == ["tuning"]
    assert stages(told["verify"]) == ["checking", "checking keys"]
    assert stages(told["recertify"]) == ["reading", "measuring"]
    assert any(step.detail.startswith("tcq, on ") for step in told["tune"])


def test_how_a_step_reads():
    assert str(Step("training", 0, 42_000)) == "training: 42,000 rows"
    assert str(Step("tuning", 3, 17, "codecs", "opq")) == "tuning: 3 of 17 codecs (opq)"
    assert str(Step("reading", 8192)) == "reading: 8,192 rows"
    assert str(Step("reading", 9, 9)) == "reading: 9 rows"
    assert str(Step("reading", 0)) == "reading: 0 rows"
    assert Step.of_share("reading", 50, 0.25).total == 200
    assert Step.of_share("reading", 50, 0.0).total is None
    assert Step.of_share("reading", 50, 1.0).finished


def test_silence_and_what_is_no_progress(capsys):
    with reported(False) as report:
        report(Step("training", 0, 5))
    assert capsys.readouterr().err == ""
    with pytest.raises(OptionError, match="True, False or a function of a step, found 'yes'"):
        vecstore.tune(X, 8, progress="yes")


def test_lines_where_nothing_can_be_drawn(capsys, clock):
    with reported(True) as report:

        def at(seconds, *step):
            clock[0] = seconds
            report(Step(*step))
            return capsys.readouterr().err

        assert at(0.5, "reading", 100, 100) == "", "over in no time"
        assert at(0.5, "training", 0, 100) == "training: 100 rows\n"
        assert at(9.0, "training", 100, 100) == "training: 100 rows in 8.5 s\n"
        assert at(9.0, "tuning", 0, 3, "codecs", "pq") == "tuning: 3 codecs (pq)\n"
        assert at(9.2, "tuning", 1, 3, "codecs", "opq") == "", "a line a second is enough"
        assert at(11.0, "tuning", 2, 3, "codecs", "tcq") == "tuning: 2 of 3 codecs (tcq), 2 s, about 1 s left\n"
        assert at(11.5, "tuning", 3, 3, "codecs") == "tuning: 3 codecs in 2.5 s\n"
        assert at(12.0, "encoding", 10, 100) == ""
        assert at(21.0, "encoding", 50, 100) == ""
        assert at(22.0, "encoding", 60, 100) == "encoding: 60 of 100 rows, 10 s, about 7 s left\n"
        assert at(23.0, "encoding", 100, 100) == "encoding: 100 rows in 11.5 s\n"


def test_bars_on_a_terminal(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with reported(True) as report:
        report(Step("training", 0, 1_000))
        report(Step("training", 1_000, 1_000))
        report(Step("tuning", 1, 2, "codecs", "tcq [4]"))
    shown = screen.getvalue()
    assert "training" in shown and "1,000 rows" in shown and "1 codecs" in shown and "tcq [4]" in shown


def test_a_notebook_without_ipywidgets_gets_lines(monkeypatch, capsys):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    with reported(True) as report:
        report(Step("training", 0, 5))
    assert capsys.readouterr().err == "training: 5 rows\n"


def test_silence_is_broken(capsys, monkeypatch):
    monkeypatch.setattr(progress._Lines, "SHORT_S", 0.02)
    monkeypatch.setattr(progress._Lines, "SILENCE_S", 0.05)
    with reported(True) as report:
        report(Step("training", 0, 100))
        time.sleep(0.3)
        report(Step("training", 100, 100))
    assert "training: 100 rows, at work for 0 s" in capsys.readouterr().err
