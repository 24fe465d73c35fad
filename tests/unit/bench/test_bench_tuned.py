"""What tuning picks, beside other libraries."""

from __future__ import annotations

from dataclasses import replace

from vecstore.bench.scripts.tuned import picked, section

from vecstore.codecs.codec import codec


def test_picks_fit_their_budget_and_are_kept(split, tmp_path, capsys) -> None:
    path = tmp_path / "set" / "picks.json"
    few = replace(split, train=split.train[:400, :32])
    picks = picked(few, [1, 12], path)
    assert list(picks) == [12] and "1 bytes: " in capsys.readouterr().out  # no codec takes a byte with its model
    assert codec(picks[12]).fit(few.train, seed=0).code_bytes <= 12
    assert picked(few, [1, 12], path) == picks
    assert capsys.readouterr().out == ""


def test_the_best_of_other_libraries_counts_with_its_model_and_without(done) -> None:
    line = next(line for line in done.summary.lines if line.label == "tcq:48")
    numbers = {"code": 32.0, "model": 40.0, "code + model": 72.0}
    rival = replace(line, label="large model", kind="peer", code_bytes=32.0, bytes=numbers)
    summary = replace(done.summary, lines=(*done.summary.lines, rival))
    budget = int(line.bytes["code + model"]) + 1
    text = section(summary, {budget: "tcq:48"})
    row = next(row for row in text.splitlines() if row.startswith(f"| {budget} |"))
    assert row.count("`large model`") == 1 + (budget >= 72) and row.count("none") == (budget < 72)
    larger = next(row for row in section(summary, {72: "tcq:48"}).splitlines() if row.startswith("| 72 |"))
    assert larger.count("`large model`") == 2 and "none" not in larger
    assert "large model" not in section(summary, {31: "tcq:48"})
    alone = replace(done.summary, lines=(line,))
    assert "best" not in section(alone, {budget: "tcq:48"}).split("| budget")[1].splitlines()[0]
